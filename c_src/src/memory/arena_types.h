/* arena_types.h - an arena, a run of its slices, and the hints of a request. */
#pragma once

#include "../base/bitmap.h"
#include "../os/os.h"
#include "page_descriptor.h"

#define CHUNK_SLICES 512 /* slices that share a line of each bitmap of abandoned pages: 32 MiB */
#define THP_SLICES 32    /* slices of a huge-page region: 2 MiB, one transparent huge page */
#define THP_SIZE (THP_SLICES * SLICE_SIZE)

/* One class and one chunk: which pages are abandoned and have free blocks. One cache line. */
typedef struct abandoned_line_s {
  bitword_t bits[CHUNK_SLICES / 64];
} abandoned_line_t;

/* ---- placement ----
 *
 * An arena has zones, one for each kind of use. Some kinds touch all of their memory, and only
 * those profit from huge OS pages. A heap that touches little of its memory should not get slices
 * that another heap has touched as a whole. */
typedef enum zone_e {
  ZONE_HOME,   /* an initial page of a heap, at the home slot of its class */
  ZONE_SMALL,  /* a further page of small blocks: one slice */
  ZONE_PARTLY, /* pages of medium blocks, and large blocks: some will never be touched */
  ZONE_LARGE   /* a block of several huge-page regions */
} zone_t;
#define ZONE_COUNT 4
typedef struct placement_s {
  zone_t zone;
  uint16_t home; /* ZONE_HOME: see class_home */
  bool is_page;  /* for a page of small or medium blocks; else for a large block */
} placement_t;

/* The slices of a zone, which are [from, end). Those before `open` are accessible; the others are
 * closed: reserved addresses without access. A closed slice is neither free nor held. */
typedef struct frontier_s {
  uint32_t from, end;
  _Atomic(uint32_t) open; /* changes under arena_lock */
} frontier_t;

typedef struct arena_s {
  uint32_t first_slice;
  uint32_t slices;
  frontier_t frontier[ZONE_COUNT]; /* by zone; empty where the arena lacks the zone */
  _Atomic(size_t) opened;          /* slices that are not closed */
  uint16_t index;
  bool from_user;              /* the program reserved it, and the library never unmaps it */
  bool exclusive;              /* only for heaps that are bound to it */
  bool non_purgeable;          /* never purged */
  bool commit_on_demand;       /* open slices are inaccessible until committed one by one */
  bool recedes;                /* the system charges open memory: frontiers go back, too */
  int numa_node;               /* a hint; -1: any */
  _Atomic(size_t) free_count;  /* slices; a hint that saves searches */
  _Atomic(size_t) waiting;     /* slices with a pending purge; beside free_count, see arena.c */
  _Atomic(size_t) hint;        /* no free slice lies before this one; a hint as well */
  _Atomic(uint64_t) freed_ms;  /* when slices were last freed */
  bitword_t* free;             /* open, and no thread holds it */
  bitword_t* dirty;            /* not known to be zero */
  bitword_t* counted;          /* with `counts`: in the count of usage.h */
  _Atomic(uint32_t) counts;    /* a limit was set: changes of `dirty` change the count, too */
  bitword_t* committed;        /* only with commit_on_demand */
  bitword_t* purge;            /* pending purge: free, and to be purged */
  bitword_t* second_chance;    /* pending purge: was pending in the last round too; free and not
                                * pending: was purged a short time ago */
  bitword_t* sparse;           /* an abandoned page that may get holes starts here, a hint */
  bitword_t* sparse_before;    /* and it was so in the last round too */
  bitword_t* kept;             /* a run that a heap keeps may start here, see heap/kept_runs.h */
  size_t thp_regions;          /* huge-page regions before the home zone; 0: no huge pages */
  bitword_t* huge;             /* by region: the system was advised to use huge pages */
  bitword_t* dense;            /* by region: the last large block there was touched as a whole */
  abandoned_line_t* abandoned; /* [chunk][class], see abandoned.c */
  block_state_t* states;       /* secure builds: the block-state tables of its pages */
  bitword_t* guarded;          /* secure builds: free and (partly) inaccessible; slice_reuse.h */
  bitword_t* guarded_end;      /* of these: only the guard at the end of a page of blocks */
  bitword_t* shut;             /* of these: inaccessible by a mapping of its own */
  bitword_t* stale;            /* level 4: allocated before, and stale pointers may reach it */
  _Atomic(uint64_t) abandoned_summary[CLASS_COUNT]; /* bit c % 64: chunk c may have bits */
} arena_t;

/* Each arena, by rising index; see arena_list.h. */
#define FOR_ARENAS(a) for (arena_t* a = arena_at(0); a != NULL; a = arena_at(a->index + (size_t)1))

/* Movable: the memory is private, comes from the system and may be given back at any time. So OS
 * pages of it may be moved and guarded. */
static inline bool arena_is_movable(const arena_t* a) { return !a->from_user && !a->non_purgeable; }

/* The end of the closed slices that slice `i` is one of; `i` if it is open. Relaxed: a thread that
 * was told of a page or a free slice sees that it is open. */
static inline size_t arena_closed_end(arena_t* a, size_t i) {
  for (size_t z = 0; z < ZONE_COUNT; z++) {
    frontier_t* f = &a->frontier[z];
    if (i < f->end && i >= load_relaxed(&f->open)) return f->end;
  }
  return i;
}

/* The slice belongs to a page or a block, or a purge holds it. */
static inline bool arena_is_held(arena_t* a, size_t i) {
  return !bitmap_any(a->free, i, 1) && arena_closed_end(a, i) == i;
}

typedef struct run_s {
  uint32_t slice; /* number of the first slice; 0: none could be allocated */
  uint16_t arena;
  bool zero;        /* all of it reads as zero */
  bool guarded : 1; /* it ends with the guard of the page that was there before */
  bool absent : 1;  /* level 4: allocated before, and its memory was given back */
} run_t;

/* Where the memory of a heap comes from. */
typedef struct affinity_s {
  uint16_t arena;    /* index; ARENA_NONE: any that is not exclusive */
  int16_t numa_node; /* arenas of this node first; -1: no preference */
} affinity_t;
#define AFFINITY_ANY ((affinity_t){ARENA_NONE, -1})
