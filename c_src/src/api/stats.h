/* stats.h - gathers statistics from the other rooms. */
#pragma once

#include "../heap/heap.h"
#include "mimalloc-stats.h"

#define BIN_COUNT (MI_BIN_HUGE + 1)
/* Bytes of a page with blocks of this bin; 0 for large blocks. */
INTERNAL size_t bin_page_size(size_t bin);

/* Fills `stats` completely, for the heaps of the calling thread. */
INTERNAL void stats_of_thread(mi_stats_t* stats);

#if MI_MALLOC_OVERRIDE
/* The blocks that exist now, by a scan of all pages. */
typedef struct block_stats_s {
  size_t live_bytes;                 /* of blocks in arenas */
  size_t unused;                     /* free blocks in pages of small blocks, used before or not */
  size_t os_mapped, os_mapped_bytes; /* OS-mapped blocks, and their bytes */
} block_stats_t;
INTERNAL void stats_blocks(block_stats_t* stats);
#endif

/* What the OS reports about the process. Commit: bytes that may be resident in arenas and OS-mapped
 * blocks, now and the highest value that a request for statistics has seen. */
typedef struct process_info_s {
  os_process_t os;
  size_t elapsed_ms;
  size_t commit, peak_commit; /* bytes */
} process_info_t;
INTERNAL void stats_process_info(process_info_t* info);

INTERNAL bool stats_is_ours(const mi_stats_t* s);

/* ---- the fields of mi_stats_t, by the list of mimalloc-stats.h ---- */

#define MI_STAT_COUNT(x) FIELD_##x,
#define MI_STAT_COUNTER(x) FIELD_##x,
enum { MI_STAT_FIELDS() FIELD_COUNT };
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER

typedef struct field_s {
  const char* name;
  size_t offset;
  bool is_count;
} field_t;

#define MI_STAT_COUNT(x) {#x, offsetof(mi_stats_t, x), true},
#define MI_STAT_COUNTER(x) {#x, offsetof(mi_stats_t, x), false},
static const field_t fields[FIELD_COUNT] = {MI_STAT_FIELDS()};
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER
