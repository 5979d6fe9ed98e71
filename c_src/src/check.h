/* check.h - the walker that checks every invariant of a heap. Debug builds only. */
#ifndef MI_CHECK_H
#define MI_CHECK_H

#include "heap.h"

#if MI_DEBUG >= 3
/* By the heap's own thread. Aborts with a message at the first thing that is wrong. */
INTERNAL void check_heap(heap_t* heap);
#else
static inline void check_heap(heap_t* heap) { (void)heap; }
#endif

#endif
