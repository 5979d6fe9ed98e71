/* large.h - blocks that are pages of their own: above MEDIUM_MAX, or aligned above a slice. */
#ifndef MI_LARGE_H
#define MI_LARGE_H

#include "heap.h"
#include "map.h"
#include "os/os.h"

INTERNAL_DATA os_lock_t large_lock;

/* A block of at least `size` bytes at a multiple of `align` (a power of two), for `heap`. NULL
 * after a report. */
INTERNAL void* large_alloc(heap_t* heap, size_t size, size_t align, bool zero);
/* The same with a guard page right behind it, as near as the alignment allows; NULL, without a
 * report, if there is no memory. Always zero. */
INTERNAL void* large_alloc_guarded(heap_t* heap, size_t size, size_t align);
/* The block that `p` points into is given back. */
INTERNAL void large_free(page_t* page, void* p);
/* Lets pointers at `p`, in a slice other than the block's first, find the block. */
INTERNAL void large_mark(page_t* page, void* p);
/* Makes the block `newsize` bytes long where it is, or returns false. */
INTERNAL bool large_resize(page_t* page, size_t newsize);
/* Moves a block that starts at its page to a new place of `newsize` bytes, for `heap`, without
 * having both copies resident at a time; NULL after a report, with the block as it was. */
INTERNAL void* large_move(heap_t* heap, page_t* page, size_t newsize, size_t align);

/* At most `*blocks` large blocks of a first-class heap, which it counts down, go to `to` (NULL: to
 * no heap); true when there are none left. Or all of them are freed. */
INTERNAL bool large_leave(heap_t* heap, heap_t* to, size_t* blocks);
INTERNAL void large_destroy(heap_t* heap);
/* Forgets the blocks that came directly from the OS, which stay where they are. */
INTERNAL void large_unload(void);
/* Secure builds: the addresses of freed blocks that are held back are free from now on. */
INTERNAL void large_let_held_go(void);

/* What can be known of a large block while another thread may free it. */
typedef struct large_view_s {
  uintptr_t heap; /* address of its heap, or a tag */
  char* start;
  size_t reserved, usable; /* bytes */
} large_view_t;
/* Of the block that starts at this slice; false if there is none (any more). Waits for no thread.
 */
INTERNAL bool large_view(uint32_t slice, large_view_t* view);
/* The block that came directly from the OS with the least address at or above `from`; false behind
 * the last. */
INTERNAL bool large_next_direct(const char* from, large_view_t* view);
/* True when `p` lies in a block that came directly from the OS. */
INTERNAL bool large_contains(const void* p);

typedef struct large_stats_s {
  size_t reserved; /* bytes directly from the OS */
  size_t blocks;   /* live large blocks, and their usable bytes */
  size_t bytes;
  size_t total_bytes; /* over time */
  size_t guarded;     /* blocks that were guarded, over time */
} large_stats_t;
INTERNAL void large_stats(large_stats_t* stats);

#endif
