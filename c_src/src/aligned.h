/* aligned.h - allocation at a stated alignment. */
#ifndef MI_ALIGNED_H
#define MI_ALIGNED_H

#include "alloc.h"

/* A block p with p + offset a multiple of `align`; NULL if `align` is no power of two. */
INTERNAL void* alloc_aligned_in(heap_t* heap, size_t size, size_t align, size_t offset, bool zero);
static inline void* alloc_aligned(size_t size, size_t align, size_t offset, bool zero) {
  return alloc_aligned_in(heap_default, size, align, offset, zero);
}

#endif
