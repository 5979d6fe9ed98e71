/* large_move.h - resizes large blocks, in place or by moving. */
#pragma once

#include "large.h"

/* Resizes the block in place to `newsize` bytes; false if that is not possible. */
INTERNAL bool large_resize(page_t* page, size_t newsize);
/* Moves a block that starts at its page to a new block of `newsize` bytes, for `heap`. Where
 * possible the old memory returns to the kernel step by step, so that the two are not fully
 * resident at once. NULL without a report if there is no memory; the block is then unchanged. */
INTERNAL void* large_move(heap_t* heap, page_t* page, size_t newsize, size_t align);
