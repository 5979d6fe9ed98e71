/* page_descriptor.h - the descriptor of a page: 64 bytes at a fixed address for each slice, 128 in
 * secure builds.
 *
 * Owns:    nothing.
 * Always:  a descriptor is whole cache lines; in the default build a local free touches one. The
 *          word that other threads change lies elsewhere, see map_remote().
 * Threads: see the table at page_t.
 */
#pragma once

#include "../base/atomic.h"
#include "../base/size_class.h"
#include "owner.h"
#include "page_secure.h"

typedef struct block_s {
  struct block_s* next;
} block_t;

/* A page: one or more adjacent slices with blocks of one size.
 *
 *  field                   written by                     read by
 *  owner                   see owner.h                    any thread, relaxed
 *  local, capacity         the owner                      the owner
 *  countdown, bias, holes  the owner                      the owner; any thread for statistics
 *  next, prev              the owner                      the owner
 *  flags                   the owner                      any thread, relaxed
 *  cls                     the thread that sets it up     any thread, relaxed
 *  the rest                the thread that sets it up     a thread that holds a block of it
 *
 * The thread that holds a large block owns its page. `next` and `prev` link the page into the list
 * of a first-class heap, `os_mapped_next` and `os_mapped_prev` into the list of OS-mapped blocks.
 * large_lock guards both lists.
 */
typedef struct page_s {
  _Atomic(uintptr_t) owner; /* owner id and OWNER_ flags, see owner.h; 0: in no page */
  union {
    block_t* local; /* the local free list: blocks that the owner freed */
    struct page_s* os_mapped_next;
  };
  union {
    struct {
      _Atomic(uint32_t) countdown; /* see page_used; the free that makes it 0 is not done yet */
      uint16_t capacity;           /* blocks that the page was extended by so far */
      union {
        uint16_t reserved; /* blocks that fit */
        uint16_t mappings; /* large block of an arena that was moved: its mappings, as counted */
      };
    };
    struct page_s* os_mapped_prev;
  };
  size_t block_size;   /* bytes; of a large block its usable size */
  struct page_s* next; /* in a partial list of its heap */
  struct page_s* prev;
  uint32_t slice; /* number of the first slice: address >> SLICE_SHIFT */
  _Atomic(uint32_t) slice_count;
  uint16_t arena;         /* index; ARENA_NONE for an OS-mapped block */
  _Atomic(uint8_t) cls;   /* size class; CLASS_LARGE for a page of one block */
  _Atomic(uint8_t) flags; /* PAGE_ flags */
  union {
    struct {
      _Atomic(uint16_t) bias;  /* small blocks: see page_used */
      _Atomic(uint16_t) holes; /* small blocks: bit u: unit u is a hole, see holes.c */
    };
    _Atomic(uint32_t) fragment; /* large blocks: length of a fragment, see large_move.c. Relaxed:
                                   statistics may still take it for `bias` and `holes` */
  };
  SECURE_PAGE_FIELDS /* see page_secure.h */
} page_t;

_Static_assert(sizeof(page_t) == (MI_SECURE > 0 ? 128 : 64) || UINTPTR_MAX == UINT32_MAX,
               "a descriptor is whole cache lines");
#if MI_SECURE > 0
_Static_assert(offsetof(page_t, states) % 64 == 0 || UINTPTR_MAX == UINT32_MAX,
               "the fields of secure builds are a cache line of their own");
#endif

enum {
  PAGE_INTERIOR = 1, /* the program has pointers into the middle of blocks */
  PAGE_ZERO = 2,     /* its memory was zero when it was set up */
  PAGE_MOVED = 4,    /* its range holds fragments that were moved here */
  PAGE_FULL = 8,     /* in a partial list, had no free block; the owner's next free is slow */
  PAGE_GUARDED = 16, /* its guard is in place */
  PAGE_ABSENT = 32,  /* secure level 4: its memory was not resident when it was set up */
  PAGE_BUSY = 64,    /* pages of blocks: short lists are refilled with never-used blocks */
  PAGE_LEFT = 64,    /* a large block whose contents have moved to another block */
  PAGE_SHRUNK = 128  /* a large block that has shrunk before */
};
#define ARENA_NONE UINT16_MAX
#define PAGE_UNITS 16 /* equal parts of a page that can be holes */

static inline char* slice_address(size_t slice) { return (char*)((uintptr_t)slice << SLICE_SHIFT); }

static inline char* page_start(const page_t* page) { return slice_address(page->slice); }

/* The thread that sets the page up writes it, and a resize of a large block. Relaxed: for the other
 * threads it is a hint, see large.c. */
static inline uint32_t page_slices(const page_t* page) { return load_relaxed(&page->slice_count); }
static inline void page_set_slices(page_t* page, size_t count) {
  store_relaxed(&page->slice_count, (uint32_t)count);
}

static inline void page_set_flag(page_t* page, uint8_t flag, bool on) {
  uint8_t f = load_relaxed(&page->flags); /* only the owner writes */
  store_relaxed(&page->flags, (uint8_t)(on ? f | flag : f & ~flag));
}
static inline bool page_has_flag(page_t* page, uint8_t flag) {
  return (load_relaxed(&page->flags) & flag) != 0;
}
static inline size_t page_class(const page_t* page) {
  return load_relaxed(&page->cls); /* set before the first block is allocated */
}
/* A page of this many blocks may be sparse if at most so many are live: an eighth of them, or six
 * if that is not more than three sixteenths; and at most one for each unit. */
static inline uint32_t sparse_max(uint32_t blocks) {
  uint32_t eighth = blocks / 8, more = blocks * 3 / 16;
  return eighth > PAGE_UNITS ? PAGE_UNITS : eighth > 6 ? eighth : more < 6 ? more : 6;
}
/* The extended blocks that are not in `local`: live blocks, the active free list, and blocks in
 * holes. Each free of the owner counts down `countdown`, and notices when that is 0. With a bias
 * that is the moment when as many blocks as the bias are used. Only the owner writes the two.
 * Relaxed: other threads read them for statistics. */
static inline uint32_t page_used(const page_t* page) {
  return load_relaxed(&page->countdown) + load_relaxed(&page->bias);
}
static inline void page_set_used(page_t* page, size_t used) {
  store_relaxed(&page->countdown, (uint32_t)used - load_relaxed(&page->bias));
}
static inline void page_set_bias(page_t* page, size_t bias) {
  if (bias == load_relaxed(&page->bias)) return;
  uint32_t used = page_used(page);
  store_relaxed(&page->bias, (uint16_t)bias);
  store_relaxed(&page->countdown, used - (uint32_t)bias);
}
