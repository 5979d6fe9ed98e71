/* current.h - the heap that the calling thread allocates from. */
#pragma once

#include "heap_types.h"

/* The calling thread's default heap. A thread without a heap gets heap_empty or heap_ended, which
 * own no blocks, so the fast paths need no test for it. */
#if OS_THREAD_WORD
#define heap_default heap_default_get()
#else
static _Thread_local heap_t* heap_default;
#endif

/* The default heap before a thread's first allocation, and after the thread's end. */
static heap_t heap_empty;
static heap_t heap_ended;

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
