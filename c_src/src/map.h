/* map.h - from any address to the descriptor of the page it lies in.
 *
 * Owns:    the table of windows; the page descriptors.
 * Always:  descriptors are type-stable and never unmapped; what belongs to no page of ours has an
 *          owner word that equals no heap.
 * Threads: any may look up at any time; windows are added under the arena lock.
 * Uses:    meta.h, atomic.h.          Used by: arena and all floors above.
 *
 *   address   47      32 31      16 15        0
 *            +----------+----------+-----------+
 *            |  window  |  slice   |  offset   |
 *            +----------+----------+-----------+
 *                 |          |
 *   table[window] = distance from the table to the window's descriptors, plus 8
 *   descriptor    = table + table[window] + slice * 64 - 8
 *
 * A window without memory of ours has the entry 0; the computation then ends inside the table,
 * which is made long enough, on a word that is either 0 or an entry. Entries are 8 modulo 64 and
 * heap records are 0 modulo 64, so the one compare of the fast free fails for NULL and for every
 * foreign address, without a test of its own.
 *
 * Addresses of 32 bits have one window: its descriptors take the place of the table, and those of
 * foreign slices are zero.
 */
#ifndef MI_MAP_H
#define MI_MAP_H

#include "base.h"
#include "atomic.h"

typedef struct block_s {
  struct block_s* next;
} block_t;

typedef _Atomic(uint16_t) side_t; /* secure builds: what is known of one block, see secure.h */
/* Bytes of side tables for each slice: a wide one for blocks below SIDE_DENSE_FROM bytes, a dense
 * one for the others, so that these share OS pages. */
#define SIDE_WIDE ((size_t)8192 * sizeof(side_t))
#define SIDE_DENSE ((size_t)512 * sizeof(side_t))
#define SIDE_DENSE_FROM (SLICE_SIZE / 512)

/* One page: one or more adjacent slices with blocks of one size. 64 bytes, one cache line: what
 * its owner touches on each local free. The word that others write by compare-and-swap lies
 * elsewhere, see map_remote().
 *
 *  field                   written by                     read by
 *  owner                   owner (or who releases it)     anybody, relaxed
 *  local, capacity         owner only                     owner only
 *  used                    owner only                     owner; others for statistics
 *  next, prev              owner only                     owner only
 *  flags                   owner                          anybody, relaxed
 *  class                   who sets the page up           anybody, relaxed
 *  the rest                who sets the page up           anybody who holds a block of it
 *
 * A large block is a page that belongs to whoever holds the block. `next` and `prev` link it into
 * the list of a first-class heap, `direct_next` and `direct_prev` into the list of blocks that
 * came directly from the OS; both lists are under large_lock.
 */
typedef struct page_s {
  _Atomic(uintptr_t) owner; /* heap record and OWNER_ flags; 0: not the first slice of a page */
  union {
    block_t* local; /* free blocks, pushed by the owner */
    struct page_s* direct_next;
  };
  union {
    struct {
      _Atomic(uint32_t) used; /* carved blocks that are not in `local`; counts detached ones too */
      uint16_t capacity;      /* blocks carved so far */
      uint16_t reserved;      /* blocks that fit */
    };
    struct page_s* direct_prev;
  };
  size_t block_size;   /* bytes; for a large block what may be used */
  struct page_s* next; /* in a queue of its heap */
  struct page_s* prev;
  uint32_t slice; /* number of the first slice: address >> SLICE_SHIFT */
  _Atomic(uint32_t) slice_count;
  uint16_t arena;         /* index; ARENA_NONE for memory directly from the OS */
  _Atomic(uint8_t) class; /* size class; CLASS_LARGE for a page of one block */
  _Atomic(uint8_t) flags; /* PAGE_ flags */
  union {
    uint32_t topped_up; /* small blocks: short lists are topped up to this capacity */
    uint32_t piece;     /* large blocks: length of a piece, see large.c */
  };
#if MI_SECURE > 0 /* see secure.h */
  side_t* side;   /* of small pages, set up with the page */
  char* start;
  uint64_t reciprocal;
  uint32_t link_shift;
  uint32_t epoch;           /* of the random order of its blocks, see random.h */
  _Atomic(uintptr_t) given; /* of large blocks: the address that was given out */
  uint64_t key[2];          /* of its canaries, see secure.c */
#if UINTPTR_MAX > UINT32_MAX
  /* Not by an alignment of the type, which slots of empty windows do not have. */
  uint64_t unused;
#endif
#endif
} page_t;

#if UINTPTR_MAX > UINT32_MAX
_Static_assert(sizeof(page_t) == (MI_SECURE > 0 ? 128 : 64), "a descriptor is whole cache lines");
#endif

/* Low bits of the owner word; heap records are aligned to 64 bytes. The upper bits name the heap:
 * of an owned page the one that may allocate from it, else the one that it belonged to last. What
 * a heap left behind when it ended has the heap's tag in the place of its address: a number below
 * 256, where no record lies. */
enum {
  OWNER_GENERIC = 1,  /* the owner's frees take the slow path: PAGE_INTERIOR or PAGE_FULL */
  OWNER_UNOWNED = 2,  /* no heap may allocate from it */
  OWNER_INTERIOR = 4, /* slice 2..n of a page: distance to the first << 6 | OWNER_INTERIOR */
  OWNER_LARGE = 8,    /* page of one block, owned by whoever holds the block */
  OWNER_FLAGS = 63
};
#define OWNER_TAG(tag) ((uintptr_t)(tag) << 6)
#define OWNER_TAG_MAX 255

enum {
  PAGE_INTERIOR = 1, /* pointers into the middle of blocks were given out */
  PAGE_ZERO = 2,     /* its memory was zero when it was set up */
  PAGE_MOVED = 4,    /* its range holds mappings that were moved here */
  PAGE_FULL = 8, /* in a queue, and nothing was free in it: its owner's next free is of interest */
  PAGE_GUARDED = 16, /* its guard is in place */
  PAGE_ABSENT = 32   /* secure level 4: its memory was not resident when it was set up */
};

#define CLASS_LARGE 255
#define ARENA_NONE UINT16_MAX

/* ---- the table ---- */

#define WINDOW_SHIFT 32
#define WINDOW_SLICES ((size_t)1 << (WINDOW_SHIFT - SLICE_SHIFT))
/* Words of neighbouring pages lie in different cache lines (within groups of 512 words, one OS
 * page). */
static inline size_t map_spread(size_t i) {
  return (i & ~(size_t)511) | ((i & 63) << 3) | ((i >> 6) & 7);
}

#if ADDRESS_BITS > 32
#define WINDOW_BYTES (WINDOW_SLICES * sizeof(page_t))
#define WINDOW_COUNT ((size_t)1 << (ADDRESS_BITS - WINDOW_SHIFT))
#define MAP_BIAS ((uintptr_t)8)
#define MAP_WORDS (WINDOW_BYTES / sizeof(uintptr_t))
_Static_assert(WINDOW_COUNT <= MAP_WORDS, "the table holds an entry for each window");

/* A free of secure builds looks up twice; the compiler would make a call of it. */
#if MI_SECURE > 0
#define MAP_INLINE static inline __attribute__((always_inline))
#else
#define MAP_INLINE static inline
#endif

typedef struct map_s {
  _Atomic(uintptr_t) before[8]; /* so that slice 0 of an empty window reads a word of ours */
  _Atomic(uintptr_t) word[MAP_WORDS];
} map_t;
INTERNAL_DATA map_t map CACHE_ALIGNED;

static inline size_t map_window_of(uintptr_t a) { return a >> WINDOW_SHIFT; }

/* The empty instruction keeps the compiler from computing two addresses from the symbol where one
 * register and a displacement will do: it saves two instructions in every free. */
static inline _Atomic(uintptr_t)* map_table(void) {
  _Atomic(uintptr_t)* table = &map.word[0];
  __asm__("" : "+r"(table));
  return table;
}

/* The descriptor of the slice that `p` lies in; meaningful only if its owner word says so.
 * Relaxed: whoever holds a block got it after the window was set up; for a foreign address any
 * answer is "not ours", and the descriptors behind a new entry are reached through its value. */
MAP_INLINE page_t* map_slot(const void* p) {
  uintptr_t a = (uintptr_t)p;
  _Atomic(uintptr_t)* table = map_table();
  uintptr_t base = (uintptr_t)table + load_relaxed(&table[map_window_of(a)]);
  return (page_t*)(base + ((uintptr_t)(uint32_t)a >> SLICE_SHIFT) * sizeof(page_t) - MAP_BIAS);
}

/* True when map_slot may be asked about an address of this value. */
static inline bool map_reaches(const void* p) { return ((uintptr_t)p >> ADDRESS_BITS) == 0; }
/* True when there may be something of ours there. */
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
INTERNAL_DATA map_t map CACHE_ALIGNED;

static inline page_t* map_slot(const void* p) { return &map.page[(uintptr_t)p >> SLICE_SHIFT]; }
static inline bool map_reaches(const void* p) { return (void)p, true; }
static inline bool map_covers(const void* p) { return (void)p, true; }
static inline _Atomic(uint64_t)* map_remote(uint32_t slice) {
  return &map.remote[map_spread(slice)];
}
#endif

static inline char* slice_address(size_t slice) { return (char*)((uintptr_t)slice << SLICE_SHIFT); }
static inline page_t* map_slot_of_slice(uint32_t slice) { return map_slot(slice_address(slice)); }

/* The page that the address lies in, or NULL when it is not ours. For any value. */
INTERNAL page_t* map_page_checked(const void* p);
/* Sets up the windows that [start, start + size) touches. Under the arena lock. */
INTERNAL bool map_extend(const void* start, size_t size);
/* Forgets all windows, whose descriptors are gone. */
INTERNAL void map_unload(void);
/* Marks `count` slices from the `from`-th on as inside the page, or clears any marks. */
INTERNAL void map_mark_interior(page_t* page, uint32_t from, uint32_t count);
INTERNAL void map_clear(uint32_t slice, uint32_t count);

/* The page of an address whose own slot has this interior owner word. By number, not by pointer:
 * a page may cross from one window into the next. */
static inline page_t* page_of_interior(const void* p, uintptr_t owner) {
  return map_slot((const char*)p - ((owner >> 6) << SLICE_SHIFT));
}

static inline char* page_start(const page_t* page) { return slice_address(page->slice); }

/* Written by whoever sets the page up, and by a resize of a large block; relaxed serves the others,
 * who only want to know: see large.c. */
static inline uint32_t page_slices(const page_t* page) {
  return load_relaxed(&((page_t*)(uintptr_t)page)->slice_count);
}
static inline void page_set_slices(page_t* page, size_t count) {
  store_relaxed(&page->slice_count, (uint32_t)count);
}

#endif
