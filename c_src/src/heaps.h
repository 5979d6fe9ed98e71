/* heaps.h - first-class heaps: their life. */
#ifndef MI_HEAPS_H
#define MI_HEAPS_H

#include "heap.h"

/* Ends a first-class heap of the calling thread; its live blocks go to `to`, the thread's backing
 * heap, or with NULL to nobody. */
INTERNAL void heap_end(heap_t* heap, heap_t* to);

#endif
