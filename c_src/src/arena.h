/* arena.h - hands out runs of slices from reserved address space. */
#ifndef MI_ARENA_H
#define MI_ARENA_H

#include "base.h"
#include "bitmap.h"
#include "map.h"
#include "os/os.h"

#define ARENA_MAX 256
#define ARENA_KEPT 64 /* places that only arenas reserved by need may take */
/* Larger runs come directly from the OS (large.c), so that arenas stay useful for others. */
#define ARENA_RUN_MAX ((uint32_t)(512 * MiB / SLICE_SIZE))
#define CHUNK_SLICES 512 /* slices that share one line of each unowned-page bitmap: 32 MiB */
#define CLASS_COUNT (MI_SECURE >= 3 ? 178 : 177) /* size classes, see page.h */
#define STRETCH_SLICES 32 /* what a transparent huge page of 2 MiB can take the place of */
#define STRETCH_SIZE (STRETCH_SLICES * SLICE_SIZE)

/* Bits of one class and one chunk: which pages are unowned and have free blocks. One cache line. */
typedef struct unowned_line_s {
  bitword_t bits[CHUNK_SLICES / 64];
} unowned_line_t;

typedef struct arena_s {
  uint32_t first_slice;
  uint32_t slices;
  uint16_t index;
  bool from_user;             /* never unmapped, and reserved by somebody else */
  bool exclusive;             /* only for heaps that are bound to it */
  bool pinned;                /* never purged */
  bool commit_by_need;        /* slices are inaccessible until committed */
  int numa_node;              /* a hint; -1: any */
  _Atomic(size_t) free_count; /* slices; a hint that saves searches */
  _Atomic(size_t) hint;       /* no free slice lies before this one; a hint as well */
  _Atomic(uint64_t) freed_ms; /* when slices were last given back */
  bitword_t* free;            /* in nobody's hands */
  bitword_t* dirty;           /* not known to be zero */
  bitword_t* committed;       /* only with commit_by_need */
  bitword_t* purge;           /* free and waiting for purge */
  bitword_t* aged;            /* waiting since before the last look */
  size_t stretches;           /* before the part of first pages; 0: no huge pages here */
  bitword_t* huge;            /* by stretch: the system was advised to use huge pages */
  unowned_line_t* unowned;    /* [chunk][class], see unowned.c */
  side_t* side;               /* secure builds: the side tables of its pages */
  bitword_t* guarded;         /* secure builds: free and inaccessible, or in part; see slices.h */
  bitword_t* guarded_end;     /* of those: only the guard that pages of blocks end with */
  bitword_t* shut;            /* of those: by a mapping of its own */
  bitword_t* stale;           /* level 4: handed out before, and within reach since */
  _Atomic(uint64_t) unowned_summary[CLASS_COUNT]; /* bit c % 64: chunk c may have bits */
} arena_t;

/* Its memory is private, from the system and given back at will: it may be moved, and guarded. */
static inline bool arena_is_plain(const arena_t* a) { return !a->from_user && !a->pinned; }

typedef struct run_s {
  uint32_t slice; /* number of the first slice; 0: none could be had */
  uint16_t arena;
  bool zero;        /* all of it reads as zero */
  bool guarded : 1; /* it ends with the guard that the page before had there */
  bool absent : 1;  /* level 4: not `zero`, and not resident, as far as the library's doing goes */
} run_t;

/* Where a heap's memory comes from. */
typedef struct place_s {
  uint16_t arena;    /* index; ARENA_NONE: any that is not exclusive */
  int16_t numa_node; /* arenas of this node first; -1: no preference */
} place_t;
#define PLACE_ANY ((place_t){ARENA_NONE, -1})

INTERNAL_DATA os_lock_t arena_lock;

/* What slices are for decides in which part of an arena they are looked for. Parts that are used
 * to the last byte can have huge OS pages, and where a heap touches little of what it gets it
 * should not meet slices that others have touched as a whole. */
typedef size_t use_t;
/* Below FIRST_ROW: a heap's first page of a class, of which it may need only a little. The number
 * is the place of the class in a row of slices. A heap has most of its first pages in one row, so
 * that their descriptors share OS pages. */
#define FIRST_ROW ((size_t)209)
#define USE_PAGE FIRST_ROW       /* one slice, a further page of small blocks */
#define USE_PAGES (USE_PAGE + 1) /* several, of medium blocks; some will never be touched */
#define USE_BLOCK (USE_PAGE + 2) /* a large block; the same */
#define USE_LARGE (USE_PAGE + 3) /* a block of several stretches */

/* `count` slices in `place` at a multiple of `align` slices (a power of two). */
INTERNAL run_t arena_alloc(place_t place, uint32_t count, uint32_t align, use_t use);
/* Takes the `count` slices right behind `slice` if they are free; `*zero` as above. */
INTERNAL bool arena_extend(uint16_t arena, uint32_t slice, uint32_t count, bool* zero);
/* Slices that leave a block come here by slices_leave, see slices.h. */
INTERNAL void arena_free(uint16_t arena, uint32_t slice, uint32_t count);
/* Purges what is due; cheap when nothing is. With `force` all that is free, now. */
INTERNAL void arena_purge_due(bool force);
/* Gives back what is free in all arenas, and forgets them. */
INTERNAL void arena_unload(void);
/* In the child of a fork: purges of other threads will not end. */
INTERNAL void arena_reset_after_fork(void);
INTERNAL arena_t* arena_at(size_t index); /* NULL from the count on */
/* The same among those that every heap may use, and how many there are. */
INTERNAL arena_t* arena_shared_at(size_t index);
INTERNAL size_t arena_shared_count(void);
INTERNAL arena_t* arena_of(const void* p); /* NULL: in none */
static inline bool arena_contains(const void* p) { return arena_of(p) != NULL; }

/* Memory for a new arena, at a multiple of the slice size. */
typedef struct arena_memory_s {
  void* start;
  size_t size;
  bool committed; /* accessible now */
  bool pinned;    /* never purged */
  bool zero;
  bool from_user;
  bool exclusive;
  bool huge;    /* starts with a stretch, and may get transparent huge pages */
  bool by_need; /* asked for by a request that found no room */
  int numa_node;
} arena_memory_t;
/* NULL when there is no room for one more, the addresses cannot be named, or some belong to an
 * arena already. Under arena_lock. */
INTERNAL arena_t* arena_add(const arena_memory_t* memory);

/* An arena of `size` bytes, rounded up to slices, from the OS; NULL behind a warning. */
INTERNAL arena_t* arena_reserve_memory(size_t size, bool commit, bool allow_large, bool exclusive);
/* An arena of at most `pages` huge OS pages; see os_reserve_huge. `numa_node` is taken modulo the
 * number of nodes. NULL behind a warning. */
INTERNAL arena_t* arena_reserve_huge(size_t pages, long numa_node, size_t timeout_ms,
                                     bool exclusive);
/* The same spread evenly over `nodes` nodes (0: all); false as soon as a node has none. */
INTERNAL bool arena_reserve_huge_interleave(size_t pages, size_t nodes, size_t timeout_ms);
/* What the options ask for. */
INTERNAL void arena_reserve_at_start(void);

/* The first page of the arena whose first slice is the `*i`-th or a later one, with `*i` behind
 * its first slice; NULL behind the last. What is known of the page is only that it was one. */
INTERNAL page_t* arena_next_page(arena_t* a, size_t* i);

INTERNAL size_t arena_slices_in_use(void); /* about as many */

typedef struct arena_stats_s {
  size_t reserved;  /* bytes of address space */
  size_t committed; /* bytes that may be resident: in use, or free and not purged */
  size_t in_use;
  size_t purges; /* system calls */
  size_t purged; /* bytes, over time */
  size_t arenas;
} arena_stats_t;
INTERNAL void arena_stats(arena_stats_t* stats);

#endif
