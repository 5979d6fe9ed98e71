/* aligned.h - allocation at a stated alignment. */
#ifndef MI_ALIGNED_H
#define MI_ALIGNED_H

#include "alloc.h"

/* A block p with p + offset a multiple of `align`; NULL if `align` is no power of two. */
INTERNAL void* alloc_aligned_in(heap_t* heap, size_t size, size_t align, size_t offset, bool zero);

/* The class of such a block; CLASS_LARGE where it is a page of its own. */
INTERNAL size_t alloc_aligned_class(size_t size, size_t align, size_t offset);

/* The usual request, at a power of two and small with it, if its class has a list. NULL: the long
 * way decides. What is rounded up to 0 or beyond is more than small, for 0 - 1 is. */
static inline void* alloc_aligned_pop(size_t size, size_t align) {
  size_t mask = (align - 1) | (DEFAULT_ALIGN - 1);
  size_t rounded = (size + SEAL_SIZE + mask) & ~mask;
  if (unlikely((align & (align - 1)) != 0 || size - ALLOC_POP_MIN >= SMALL_MAX ||
               rounded - 1 >= SMALL_MAX))
    return NULL;
  return alloc_pop(heap_default, rounded / 8, size);
}

static inline void* alloc_aligned(size_t size, size_t align) {
  void* p = alloc_aligned_pop(size, align);
  return likely(p != NULL) ? p : alloc_aligned_in(heap_default, size, align, 0, false);
}

#endif
