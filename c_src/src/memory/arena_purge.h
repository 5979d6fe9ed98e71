/* arena_purge.h - frees slices, and gives memory that stays free back to the system. */
#pragma once

#include "arena_types.h"

/* Purges the due slices; cheap if there are none. With `force` purges all pending slices. */
INTERNAL void arena_purge_due(bool force);
/* Frees slices. Call slices_leave first, see slice_reuse.h. */
INTERNAL void arena_free(uint16_t arena, uint32_t slice, uint32_t count);

/* ---- runs that heaps keep, see heap/kept_runs.h ---- */

/* The caller holds a run of `n` slices, whose descriptor is that of a large block. It waits for its
 * purge from now on. `owner`: the heap struct. */
INTERNAL void arena_keep(uint16_t arena, uint32_t slice, size_t n, uintptr_t owner);
/* Takes a kept run, and returns its slices; 0 if another thread has taken it. */
INTERNAL size_t arena_take_kept(uint32_t slice, uintptr_t owner);
/* Frees a kept run, if no other thread has taken it. */
INTERNAL void arena_unkeep(uint32_t slice, uintptr_t owner);
/* Frees all kept runs; false if there are none. */
INTERNAL bool arena_return_kept(void);

/* ---- the purger: a thread that does nothing else ---- */

/* True if at least so many slices are in use or wait. */
INTERNAL bool arena_purge_is_large(size_t slices);
/* A purger is about to start, or must end: no thread leaves work to it any more. */
INTERNAL void arena_purge_listen(bool starts);
/* Sets `*time`, which is purge_at or sparse_at, if it is `*expected`, and wakes the purger. */
INTERNAL bool purge_schedule(_Atomic(uint64_t)* time, uint64_t* expected, uint64_t at);
/* For the purger: purges if a purge is due, and sleeps until one is or sparse pages are. False: it
 * must end. */
INTERNAL bool arena_purge_serve(void);

/* For the child of a fork, where purges of other threads do not end. */
INTERNAL void arena_reset_after_fork(void);

typedef struct purge_stats_s {
  size_t purges; /* system calls */
  size_t purged; /* bytes, all purges together */
} purge_stats_t;
/* Counts a system call that gave `bytes` back. */
INTERNAL void purge_count(size_t bytes);
INTERNAL void arena_purge_stats(purge_stats_t* stats);
/* Forgets the pending purges and the statistics. */
INTERNAL void arena_purge_clear(void);
