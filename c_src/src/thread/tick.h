/* tick.h - work that a thread does at intervals in its slow path, and when the program asks for it:
 * the callback for deferred frees, purging, trimming, collecting. */
#pragma once

#include "../heap/heap_types.h"
#include "../memory/usage.h"

/* The work of a tick. */
INTERNAL void heap_tick(heap_t* heap);
/* Counts a large allocation from `heap` as an entry into the slow path. */
INTERNAL void large_tick(heap_t* heap);
/* If the calling thread has crossed the soft limit: calls the program's function, then purges. To
 * be called without locks, outside the heap. */
INTERNAL void soft_limit_handle(uintptr_t thread);
static inline void soft_limit_check(void) {
  if (likely(usage_crossed_by() == 0)) return;
  soft_limit_handle(os_thread_id());
}
/* Frees all that can be freed, for a second try of a failed allocation. */
INTERNAL void thread_collect_for_oom(void);
/* mi_collect for the given heap of this thread; with NULL for all of its heaps. */
INTERNAL void thread_collect(heap_t* heap, bool force);
