/* page_map.h - from any address to the descriptor of the page it lies in.
 *
 * Owns:    the table of windows; the page descriptors.
 * Always:  descriptors are type-stable and never unmapped. For an address in no page of the library
 *          the lookup finds an owner word that equals no heap.
 * Threads: any thread looks up at any time; windows are added under arena_lock.
 *
 *   address   47      32 31      16 15        0
 *            +----------+----------+-----------+
 *            |  window  |  slice   |  offset   |
 *            +----------+----------+-----------+
 *                 |          |
 *   table[window] = distance from the table to the window's descriptors, plus 8
 *   descriptor    = table + table[window] + slice * 64 - 8
 *
 * A window without memory of the library has the entry 0. The computation then ends inside the
 * table, which is long enough for that, on a word that is either 0 or an entry. Entries are 8
 * modulo 64 and heap structs are 0 modulo 64. So the one compare of the fast free fails for NULL
 * and for every foreign address, and needs no extra test.
 *
 * Addresses of 32 bits have one window. Its descriptors replace the table, and the descriptors of
 * foreign slices are zero.
 */
#pragma once

#include "page_descriptor.h"

/* ---- the table ---- */

#define WINDOW_SHIFT 32
#define WINDOW_SLICES ((size_t)1 << (WINDOW_SHIFT - SLICE_SHIFT))
/* Puts the remote words of neighbouring pages in different cache lines, within groups of 512 words,
 * one OS page. */
static inline size_t map_spread(size_t i) {
  return (i & ~(size_t)511) | ((i & 63) << 3) | ((i >> 6) & 7);
}

/* The remote word of a page that has an owner, and of a run of slices that a heap keeps, with the
 * address of the heap struct: see page.h and heap/kept_runs.h. */
#define REMOTE_OWNED ((uint64_t)1)
#define REMOTE_KEPT ((uint64_t)4)

#if ADDRESS_BITS > 32
#define WINDOW_BYTES (WINDOW_SLICES * sizeof(page_t))
#define WINDOW_COUNT ((size_t)1 << (ADDRESS_BITS - WINDOW_SHIFT))
#define MAP_BIAS ((uintptr_t)8)
#define MAP_WORDS (WINDOW_BYTES / sizeof(uintptr_t))
_Static_assert(WINDOW_COUNT <= MAP_WORDS, "the table holds an entry for each window");

/* A free in secure builds looks up twice, so the compiler would not inline the lookup by itself. */
#if MI_SECURE > 0
#define MAP_INLINE static inline __attribute__((always_inline))
#else
#define MAP_INLINE static inline
#endif

typedef struct map_s {
  _Atomic(uintptr_t) before[8]; /* slice 0 of an empty window reads a word in here */
  _Atomic(uintptr_t) word[MAP_WORDS];
} map_t;
static map_t map CACHE_ALIGNED;

static inline size_t map_window_of(uintptr_t a) { return a >> WINDOW_SHIFT; }

/* The empty assembler hides the symbol. Otherwise the compiler computes two addresses from it where
 * one register and a displacement suffice: two instructions more in each free. */
static inline _Atomic(uintptr_t)* map_table(void) {
  _Atomic(uintptr_t)* table = &map.word[0];
  __asm__("" : "+r"(table));
  return table;
}

/* The descriptor of the slice that contains `p`; its owner word says whether the slice is in a
 * page. Relaxed: a thread that holds a block got it after the window was set up. For a foreign
 * address both values of the entry lead to "no page", and a thread reaches the descriptors of a new
 * entry through its value. */
MAP_INLINE page_t* map_descriptor(const void* p) {
  uintptr_t a = (uintptr_t)p;
  _Atomic(uintptr_t)* table = map_table();
  uintptr_t base = (uintptr_t)table + load_relaxed(&table[map_window_of(a)]);
  return (page_t*)(base + ((uintptr_t)(uint32_t)a >> SLICE_SHIFT) * sizeof(page_t) - MAP_BIAS);
}

/* True if the caller may pass the address to map_descriptor. */
static inline bool map_reaches(const void* p) { return ((uintptr_t)p >> ADDRESS_BITS) == 0; }
/* True if the address lies in a window that is set up. */
static inline bool map_covers(const void* p) {
  return map_reaches(p) && load_relaxed(&map.word[map_window_of((uintptr_t)p)]) != 0;
}

/* The remote word of the page whose first slice is `slice`: see page.h. */
static inline _Atomic(uint64_t)* map_remote(uint32_t slice) {
  size_t spread = map_spread(slice & (WINDOW_SLICES - 1));
  uintptr_t a = (uintptr_t)slice << SLICE_SHIFT;
  uintptr_t base = (uintptr_t)&map.word[0] + load_relaxed(&map.word[map_window_of(a)]) - MAP_BIAS;
  return (_Atomic(uint64_t)*)(base + WINDOW_BYTES + spread * sizeof(uint64_t));
}
#else
typedef struct map_s {
  page_t page[WINDOW_SLICES];
  _Atomic(uint64_t) remote[WINDOW_SLICES];
} map_t;
static map_t map CACHE_ALIGNED;

static inline page_t* map_descriptor(const void* p) {
  return &map.page[(uintptr_t)p >> SLICE_SHIFT];
}
static inline bool map_reaches(const void* p) { return (void)p, true; }
static inline bool map_covers(const void* p) { return (void)p, true; }
static inline _Atomic(uint64_t)* map_remote(uint32_t slice) {
  return &map.remote[map_spread(slice)];
}
#endif
static inline page_t* map_descriptor_of_slice(uint32_t slice) {
  return map_descriptor(slice_address(slice));
}

/* The page that contains the address; NULL if there is none. For any value of `p`. */
INTERNAL page_t* map_page_checked(const void* p);
/* Sets up the windows that overlap [start, start + size). The caller holds arena_lock. */
INTERNAL bool map_extend(const void* start, size_t size);
/* Unlocks the table, see os_munlock: it counts as a whole, although few of its OS pages are used.
 * False if that was done before. The caller holds arena_lock. */
INTERNAL bool map_unlock_table(void);
/* Forgets all windows, after their descriptors were unmapped. */
INTERNAL void map_unload(void);
/* Marks `count` slices from the `from`-th on as interior slices of the page. map_clear sets the
 * owner words of `count` slices to 0. */
INTERNAL void map_mark_interior(page_t* page, uint32_t from, uint32_t count);
INTERNAL void map_clear(uint32_t slice, uint32_t count);

/* The page of an address whose own descriptor has this interior owner word. By the number of the
 * slice, because the descriptors of a page that crosses a window are not adjacent. */
static inline page_t* page_of_interior(const void* p, uintptr_t owner) {
  return map_descriptor((const char*)p - (owner_distance(owner) << SLICE_SHIFT));
}
