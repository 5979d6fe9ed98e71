/* large.h - blocks that are pages of their own: above MEDIUM_MAX, or aligned above a slice. */
#ifndef MI_LARGE_H
#define MI_LARGE_H

#include "map.h"
#include "os/os.h"

INTERNAL_DATA os_lock_t large_lock;

/* A block of at least `size` bytes at a multiple of `align` (a power of two). NULL after a report.
 */
INTERNAL void* large_alloc(size_t size, size_t align, bool zero);
/* The block that `p` points into is given back. */
INTERNAL void large_free(page_t* page, void* p);
/* Lets pointers at `p`, in a slice other than the block's first, find the block. */
INTERNAL void large_mark(page_t* page, void* p);
/* Makes the block `newsize` bytes long where it is, or returns false. */
INTERNAL bool large_resize(page_t* page, size_t newsize);
/* Moves a block that starts at its page to a new place of `newsize` bytes, without having both
 * copies resident at a time; NULL after a report, with the block as it was. */
INTERNAL void* large_move(page_t* page, size_t newsize, size_t align);
/* True when `p` lies in a block that came directly from the OS. */
INTERNAL bool large_contains(const void* p);

typedef struct large_stats_s {
  size_t reserved; /* bytes directly from the OS */
} large_stats_t;
INTERNAL void large_stats(large_stats_t* stats);

#endif
