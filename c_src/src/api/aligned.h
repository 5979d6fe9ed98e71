/* aligned.h - allocation at a given alignment, beside the fast paths of malloc.h. */
#pragma once

#include "malloc.h"

/* Allocates a block p with p + offset a multiple of `align`; NULL if `align` is not a power of
 * two. */
INTERNAL void* malloc_aligned_in(heap_t* heap, size_t size, size_t align, size_t offset, bool zero);

/* The class of such a block; CLASS_LARGE where it is a page of its own. */
INTERNAL size_t class_of_aligned(size_t size, size_t align, size_t offset);

/* Pops a block for the common request: the alignment is a power of two and the rounded size is
 * small. NULL: the caller takes the slow path. A sum that wraps round to 0 is not small, for 0 - 1
 * is not. */
static inline void* pop_aligned(heap_t* heap, size_t size, size_t align) {
  size_t mask = (align - 1) | (DEFAULT_ALIGN - 1);
  size_t rounded = (size + CANARY_SIZE + mask) & ~mask;
  if (unlikely((align & (align - 1)) != 0 || size - POP_MIN >= SMALL_MAX ||
               rounded - 1 >= SMALL_MAX))
    return NULL;
  return pop_block(heap, rounded / 8, size);
}

static inline void* malloc_aligned(heap_t* heap, size_t size, size_t align) {
  void* p = pop_aligned(heap, size, align);
  return likely(p != NULL) ? p : malloc_aligned_in(heap, size, align, 0, false);
}
