/* arena_reserve.h - new arenas: from the system, from the program, and on demand. */
#pragma once

#include "arena_purge.h"
#include "arena_types.h"

/* Memory for a new arena, at a multiple of the slice size. */
typedef struct arena_memory_s {
  void* start;
  size_t size;
  bool committed;     /* accessible now */
  bool charged;       /* if not: the system counts memory from when it becomes accessible */
  bool non_purgeable; /* never purged */
  bool zero;
  bool from_user;
  bool exclusive;
  bool huge;      /* at a multiple of THP_SIZE; may get transparent huge pages */
  bool on_demand; /* reserved on demand, for a request that found no room */
  int numa_node;
} arena_memory_t;
/* Makes the memory an arena. NULL if the list is full, the page map cannot cover the addresses,
 * some of them belong to an arena already, or metadata cannot be allocated. The caller holds
 * arena_lock. */
INTERNAL arena_t* arena_add(const arena_memory_t* memory);
#define ARENAS_KEPT_BACK 64 /* places in the list that only arenas reserved on demand may take */

/* An arena of `size` bytes, rounded up to slices, from the system; NULL after a warning. */
INTERNAL arena_t* arena_reserve_memory(size_t size, bool commit, bool allow_large, bool exclusive);
/* An arena of at most `pages` huge OS pages; see os_reserve_huge. `numa_node` is taken modulo the
 * number of nodes. NULL after a warning. */
INTERNAL arena_t* arena_reserve_huge(size_t pages, long numa_node, size_t timeout_ms,
                                     bool exclusive);
/* The same spread evenly over `nodes` nodes (0: all); false as soon as a node has none. */
INTERNAL bool arena_reserve_huge_interleave(size_t pages, size_t nodes, size_t timeout_ms);
/* Reserves what the options ask for. */
INTERNAL void arena_reserve_at_start(void);

/* Allocates `count` slices by `affinity` at a multiple of `align` slices (a power of two). If
 * there is no room it opens more of an arena, or reserves one. The run's slice is 0 if there is no
 * memory. */
INTERNAL run_t arena_alloc(affinity_t affinity, uint32_t count, uint32_t align,
                           placement_t placement);

/* Unmaps the free slices of all arenas, and forgets the arenas. */
INTERNAL void arena_unload(void);

typedef struct arena_stats_s {
  size_t reserved;  /* bytes of address space */
  size_t committed; /* bytes that may be resident: in use, or free and not purged */
  size_t in_use;
  purge_stats_t purging;
  size_t arenas;
} arena_stats_t;
INTERNAL void arena_stats(arena_stats_t* stats);

#define ARENA_RUN_MAX ((uint32_t)(512 * MiB / SLICE_SIZE))
