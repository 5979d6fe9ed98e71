/* heap_registry.h - all heaps: of threads, of the program, of no thread.
 *
 * Always:  a heap struct is never unmapped: it is reused for heaps of its kind.
 *
 * Rank of locks, outermost first: heap_lock, fallback_lock, large_lock, arena_lock, meta_lock,
 * log_lock.
 */
#pragma once

#include "../heap/heap_refill.h"
#include "../heap/current.h"

static os_lock_t heap_lock, fallback_lock;

/* Makes the backing heap of a thread that starts; NULL if there is no memory. */
INTERNAL heap_t* registry_add_thread(void);
/* Retires the backing heap of a thread that ends; the heap must own nothing any more. */
INTERNAL void registry_remove_thread(heap_t* heap);
/* The number of threads with a heap. Sequentially consistent with a change of the number. */
INTERNAL size_t registry_threads(void);
/* The backing heap of the first thread, whose heap struct is never reused; NULL before the first
 * thread has one. */
INTERNAL heap_t* registry_main(void);

/* Each heap of the thread with this backing heap, which comes first. */
#define FOR_HEAPS_OF(backing, h)                                                                   \
  for (heap_t* h = (backing); h != NULL;                                                           \
       h = h == (backing) ? (backing)->thread_heaps.first : h->thread_next)

/* A heap struct for a first-class heap of the thread of `backing`, linked into the list of live
 * heaps and the thread's heap list; NULL if there is no memory. */
INTERNAL heap_t* heap_struct_get(heap_t* backing);
/* Unlinks the heap struct, which may be another heap from now on. The heap must own nothing. */
INTERNAL void heap_struct_put(heap_t* heap);

/* heap_struct_put for a heap that may be the calling thread's default heap. */
INTERNAL void heap_forget(heap_t* heap);
/* Ends a first-class heap of the calling thread. Its live blocks go to `to`, the thread's backing
 * heap; with NULL its pages are abandoned. */
INTERNAL void heap_end(heap_t* heap, heap_t* to);

/* The `tick_mask` of heaps while no deferred-free callback is registered. */
INTERNAL size_t tick_mask_without_callback(void);

/* Allocates from the fallback heap, which serves threads that have ended; NULL without a report if
 * there is no memory. */
INTERNAL void* fallback_alloc(size_t cls);
INTERNAL void fallback_collect(void);

/* True if the heap has not ended and is no orphan of a fork. `heap`: any heap struct. */
INTERNAL bool heap_lives(heap_t* heap);
/* In the child of a fork: abandons all pages of the orphans, so that visitors and statistics find
 * them. */
INTERNAL void heaps_recover(void);

/* The same for about `pages` pages. */
INTERNAL void orphans_recover(size_t pages);
/* In the child of a fork: `mine` (may be NULL) is the backing heap of the thread that goes on. */
INTERNAL void registry_after_fork(heap_t* mine);
/* For unloading: all heaps that are not busy abandon their pages. */
INTERNAL void registry_abandon_all(void);
/* For unloading: forgets all heaps. */
INTERNAL void registry_clear(void);

/* Calls `visit` for each live heap and the fallback heap, under the locks, so that no heap starts
 * or ends meanwhile. A visitor may read only atomic fields, for the heaps' threads write the
 * others. It may take only large_lock and the locks after it in rank. */
INTERNAL void heaps_for_each(void (*visit)(heap_t* heap, void* arg), void* arg);

typedef struct thread_stats_s {
  size_t threads;       /* threads with a heap now */
  size_t threads_total; /* over time */
  size_t heaps;         /* live first-class heaps */
  large_counts_t large;
  size_t allocated[CLASS_COUNT]; /* blocks allocated, over time, and those in active free lists */
  size_t heaps_lost;             /* heaps that a fork found inside a slow path */
} thread_stats_t;
INTERNAL void thread_stats(thread_stats_t* stats);
/* Adds `large` and `allocated` of a heap to `stats`, a thread_stats_t. */
INTERNAL void thread_stats_add(heap_t* heap, void* stats);
