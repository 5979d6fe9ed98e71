/* stats.h - gathers the figures that the other rooms keep. */
#ifndef MI_STATS_H
#define MI_STATS_H

#include "base.h"
#include "heap.h"
#include "mimalloc-stats.h"

/* Fills all of `stats`: of the process; of one live heap; of the heaps of the calling thread. */
INTERNAL void stats_of_process(mi_stats_t* stats);
INTERNAL void stats_of_heap(heap_t* heap, mi_stats_t* stats);
INTERNAL void stats_of_thread(mi_stats_t* stats);

#if MI_MALLOC_OVERRIDE
/* What is in blocks now, as a look at every page tells. */
typedef struct block_stats_s {
  size_t live_bytes; /* of blocks in arenas */
  size_t unused;     /* blocks that pages of small blocks have room for beside the live ones */
  size_t direct, direct_bytes; /* blocks directly from the OS, and what they take */
} block_stats_t;
INTERNAL void stats_blocks(block_stats_t* stats);
#endif

/* What the OS tells about the process, and the bytes that may be resident in arenas and in blocks
 * directly from the OS: now, and the most that anybody has asked for. */
typedef struct process_info_s {
  size_t elapsed_ms, user_ms, system_ms;
  size_t rss, peak_rss, commit, peak_commit; /* bytes */
  size_t page_faults;
} process_info_t;
INTERNAL void stats_process_info(process_info_t* info);

#endif
