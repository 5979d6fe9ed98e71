/* tick.h - work that a thread does at intervals in its slow path, and when the program asks for it:
 * the callback for deferred frees, purging, trimming, collecting. */
#ifndef MI_TICK_H
#define MI_TICK_H

#include "../heap/heap_types.h"

/* The work of a tick. */
INTERNAL void heap_tick(heap_t* heap);
/* Counts a large allocation from `heap` as an entry into the slow path. */
INTERNAL void large_tick(heap_t* heap);
/* Frees all that can be freed, for a second try of a failed allocation. */
INTERNAL void thread_collect_for_oom(void);
/* mi_collect for the given heap of this thread; with NULL for all of its heaps. */
INTERNAL void thread_collect(heap_t* heap, bool force);

#endif
