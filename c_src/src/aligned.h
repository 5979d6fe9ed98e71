/* aligned.h - allocation at a stated alignment. */
#ifndef MI_ALIGNED_H
#define MI_ALIGNED_H

#include "alloc.h"

/* A block p with p + offset a multiple of `align`; NULL if `align` is no power of two. */
INTERNAL void* alloc_aligned(size_t size, size_t align, size_t offset, bool zero);

#endif
