/* thread.h - start and end of threads and of the process; the default heap. */
#ifndef MI_THREAD_H
#define MI_THREAD_H

#include "heap.h"
#include "mimalloc.h"

/* The calling thread's default heap; a heap without blocks while the thread has none of its own,
 * so that the fast paths need no test for it. */
INTERNAL_TLS heap_t* heap_default;

/* What heap_default points to before a thread's first allocation, and after its end. */
INTERNAL_DATA heap_t heap_empty;
INTERNAL_DATA heap_t heap_ended;

static inline bool heap_is_real(const heap_t* heap) {
  return heap != &heap_empty && heap != &heap_ended;
}

/* The generic path: all that an allocation of one block may need. NULL after an error report. */
INTERNAL void* heap_generic(heap_t* heap, size_t class);
/* Frees all that can be freed, for a second try of a failed allocation. */
INTERNAL void thread_relieve(void);
/* Reports ENOMEM; NULL. */
INTERNAL void* thread_out_of_memory(size_t size);
/* One allocation that is a page of its own. */
INTERNAL void thread_count_large(void);

INTERNAL uint64_t process_started_ms(void);

typedef struct thread_stats_s {
  size_t threads;     /* with a heap now */
  size_t allocations; /* blocks; a lower bound while lists are detached */
  size_t large;
  size_t heaps_lost; /* to a fork, in the middle of a slow path */
} thread_stats_t;
INTERNAL void thread_stats(thread_stats_t* stats);

#endif
