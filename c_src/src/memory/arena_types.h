/* arena_types.h - an arena, a run of its slices, and the hints of a request. */
#ifndef MI_ARENA_TYPES_H
#define MI_ARENA_TYPES_H

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

typedef struct arena_s {
  uint32_t first_slice;
  uint32_t slices;
  uint16_t index;
  bool from_user;              /* the program reserved it, and the library never unmaps it */
  bool exclusive;              /* only for heaps that are bound to it */
  bool non_purgeable;          /* never purged */
  bool commit_on_demand;       /* slices are inaccessible until committed */
  int numa_node;               /* a hint; -1: any */
  _Atomic(size_t) free_count;  /* slices; a hint that saves searches */
  _Atomic(size_t) hint;        /* no free slice lies before this one; a hint as well */
  _Atomic(uint64_t) freed_ms;  /* when slices were last freed */
  bitword_t* free;             /* no thread holds it */
  bitword_t* dirty;            /* not known to be zero */
  bitword_t* committed;        /* only with commit_on_demand */
  bitword_t* purge;            /* pending purge: free, and to be purged */
  bitword_t* second_chance;    /* pending purge: was pending in the last round too */
  bitword_t* sparse;           /* an abandoned page that may get holes starts here, a hint */
  bitword_t* sparse_before;    /* and it was so in the last round too */
  size_t thp_regions;          /* huge-page regions before the home zone; 0: no huge pages */
  bitword_t* huge;             /* by region: the system was advised to use huge pages */
  abandoned_line_t* abandoned; /* [chunk][class], see abandoned.c */
  block_state_t* states;       /* secure builds: the block-state tables of its pages */
  bitword_t* guarded;          /* secure builds: free and (partly) inaccessible; slice_reuse.h */
  bitword_t* guarded_end;      /* of these: only the guard at the end of a page of blocks */
  bitword_t* shut;             /* of these: inaccessible by a mapping of its own */
  bitword_t* stale;            /* level 4: allocated before, and stale pointers may reach it */
  _Atomic(uint64_t) abandoned_summary[CLASS_COUNT]; /* bit c % 64: chunk c may have bits */
} arena_t;

/* Movable: the memory is private, comes from the system and may be given back at any time. So OS
 * pages of it may be moved and guarded. */
static inline bool arena_is_movable(const arena_t* a) { return !a->from_user && !a->non_purgeable; }

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
typedef struct placement_s {
  zone_t zone;
  uint16_t home; /* ZONE_HOME: see class_home */
  bool is_page;  /* for a page of small or medium blocks; else for a large block */
} placement_t;

#endif
