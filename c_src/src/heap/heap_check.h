/* heap_check.h - the walker that checks every invariant of a heap. Debug builds only. */
#pragma once

#include "heap.h"

#if MI_DEBUG >= 3
/* Called by the heap's own thread. Aborts with a message at the first violation. */
INTERNAL void check_heap(heap_t* heap);
#else
static inline void check_heap(heap_t* heap) { (void)heap; }
#endif
