/* malloc_slow.h - malloc when the active free list of a class is empty, and for large blocks. */
#pragma once

#include "../heap/heap_types.h"

/* The slow path: all that an allocation of one block may need. NULL after a report. */
INTERNAL void* malloc_slow(heap_t* heap, size_t cls);

/* A block of at least `size` bytes at a multiple of `align` (a power of two), for `heap`. NULL
 * after a report. */
INTERNAL void* large_malloc(heap_t* heap, size_t size, size_t align, bool zero);
