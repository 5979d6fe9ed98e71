/* kept_runs.h - a heap keeps a few runs of slices of freed large blocks for its next ones.
 *
 * Always:  a kept run belongs to no page: its owner word is 0. Its descriptor is still that of the
 *          block before, so a block that takes it needs no search and no bitmap. The remote word of
 *          its first slice says which heap keeps it.
 * Threads: the heap's own. The notes in the heap struct are hints. An exchange of the remote word
 *          decides who takes the run: the heap, or a thread that purges or needs memory.
 *
 * Kept runs are freed memory that waits for its purge. Each round of a purge returns all of them to
 * their arenas, where they wait for one delay more, and so does a thread before it opens more
 * memory. A heap returns its own at a tick, if it has used none since the last one: pages can use
 * them then. What all heaps keep is at most KEPT_SLICES.
 *
 * Not in secure builds, where freed blocks are closed, and not under memory checkers.
 */
#pragma once

#include "heap_types.h"

#define KEPT_SLICES (8 * MiB / SLICE_SIZE)

/* Keeps the run of a block that the caller has freed; false: the caller returns it. */
INTERNAL bool run_keep(page_t* page);
/* Takes a run of `*slices` slices, or of up to a quarter more, and sets `*slices`. */
INTERNAL bool run_take(heap_t* heap, size_t* slices, run_t* run);
/* Returns all runs, at the end of the thread. */
INTERNAL void runs_return(heap_t* heap);
/* At a tick: there are so many heaps, of which more than four keep nothing. Returns the runs if
 * none was used since the last tick. */
INTERNAL void runs_tick(heap_t* heap, size_t heaps);
