/* thread.h - start and end of threads and of the process; the default heap. */
#ifndef MI_THREAD_H
#define MI_THREAD_H

#include "heap.h"
#include "mimalloc.h"

/* The calling thread's default heap; a heap without blocks while the thread has none of its own,
 * so that the fast paths need no test for it. */
#if OS_THREAD_WORD
#define heap_default heap_default_get()
#else
INTERNAL_TLS heap_t* heap_default;
#endif

/* What heap_default points to before a thread's first allocation, and after its end. */
INTERNAL_DATA heap_t heap_empty;
INTERNAL_DATA heap_t heap_ended;

#if OS_THREAD_WORD
static inline heap_t* heap_default_get(void) {
  heap_t* heap = os_thread_word();
  return likely(heap != NULL) ? heap : &heap_empty;
}
static inline void heap_default_set(heap_t* heap) { os_set_thread_word(heap); }
#else
static inline void heap_default_set(heap_t* heap) { heap_default = heap; }
#endif

static inline bool heap_is_real(const heap_t* heap) {
  return heap != &heap_empty && heap != &heap_ended;
}

/* The generic path: all that an allocation of one block may need. NULL after an error report. */
INTERNAL void* heap_generic(heap_t* heap, size_t class);
/* The calling thread's backing heap, made if there is none yet; NULL when memory runs out, and
 * after the thread's end. */
INTERNAL heap_t* thread_backing(void);
/* Frees all that can be freed, for a second try of a failed allocation. */
INTERNAL void thread_relieve(void);
/* Reports ENOMEM; NULL. */
INTERNAL void* thread_out_of_memory(size_t size);
/* One allocation from `heap` that is a page of its own is counted; one is about to begin, which is
 * an entry into the generic path too. */
INTERNAL void thread_count_large(heap_t* heap);
INTERNAL void thread_large_tick(heap_t* heap);
/* mi_collect for the given heap of this thread, or with NULL for all of them. */
INTERNAL void thread_collect(heap_t* heap, bool force);

/* The record of a heap that lives: it has not ended, and its thread is not one that a fork left
 * behind. For any record. */
INTERNAL bool heap_lives(heap_t* heap);
/* In the child of a fork: gives up all that the heaps of other threads still own, so that it can be
 * seen and counted. */
INTERNAL void heaps_recover(void);

/* When the image that we are part of is unloaded, after all that is in it has been destroyed: takes
 * back what was registered, and gives the memory that is not in use back to the system. Blocks that
 * are in use stay where they are. No other thread may be inside the library. */
INTERNAL void process_unload(void);

/* The backing heap of the first thread; its record is never used for another one. */
INTERNAL heap_t* process_main_heap(void);
INTERNAL uint64_t process_started_ms(void);

/* A record for a first-class heap of the thread of `backing`, in the lists of live heaps and of
 * the thread's own; NULL when memory runs out. */
INTERNAL heap_t* heap_record_get(heap_t* backing);
/* Out of the lists; the record may be another heap from now on. It owns nothing any more. */
INTERNAL void heap_record_put(heap_t* heap);

/* Calls `visit` for each live heap, and the late one, while none can come or go. Their fields are
 * their threads': only what is atomic may be read. Visitors take no lock but large_lock and those
 * of higher rank. */
INTERNAL void heaps_for_each(void (*visit)(heap_t* heap, void* arg), void* arg);

typedef struct thread_stats_s {
  size_t threads;       /* with a heap now */
  size_t threads_total; /* over time */
  size_t heaps;         /* first-class ones that are live */
  size_t large;         /* allocations that are pages of their own, over time */
  size_t
      detached[CLASS_COUNT]; /* blocks allocated, over time; a few more while lists are detached */
  size_t heaps_lost;         /* to a fork, in the middle of a slow path */
} thread_stats_t;
INTERNAL void thread_stats(thread_stats_t* stats);

#endif
