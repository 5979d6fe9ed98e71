/* arena.h - claims runs of slices in the existing arenas, and returns them. */
#pragma once

#include "arena_types.h"

/* Where the zones of an arena with huge pages begin, in sixteenths of the arena: further small
 * pages first, then memory that is touched in part, large blocks, home slots. A request that finds
 * no room in its zone searches the others. */
enum { ZONES = 16, PARTLY_ZONE = 5, LARGE_ZONE = 8, HOME_ZONE = 14 };

/* The time of the next purge, ms; 0: no purge is pending. See arena_purge.c. */
static _Atomic(uint64_t) purge_at;
/* When sparse pages are due to get holes, ms; 0: none is published. See page/holes.h. */
static _Atomic(uint64_t) sparse_at;

/* Slices that were allocated a short time after their purge, over time. Relaxed: a hint that tells
 * arena_purge.c that it purges too early. */
static _Atomic(size_t) refaults;
/* The slices [i, i + n), which the caller holds, wait for a purge from now on, or no longer.
 * Returns how many slices of the arena wait now, and how many of these have waited. */
INTERNAL size_t arena_wait(arena_t* a, size_t i, size_t n);
INTERNAL size_t arena_wait_no_more(arena_t* a, size_t i, size_t n);

/* The frontier of the zone in which the arena serves such requests. */
INTERNAL frontier_t* arena_frontier(arena_t* a, zone_t zone);
/* The alignment that such a request gets there, in slices. */
INTERNAL size_t arena_zone_align(const arena_t* a, zone_t zone, size_t align);
/* Allocates `count` slices at a multiple of `align` slices (a power of two) in the open memory of
 * an existing arena. False if no arena has them in the zone of the request, and in those zones all
 * of whose memory is open. */
INTERNAL bool arena_alloc_existing(affinity_t affinity, uint32_t count, uint32_t align,
                                   placement_t placement, run_t* run);
/* Allocates the `count` slices from the `i`-th on if they are free. */
INTERNAL bool arena_alloc_at(arena_t* a, size_t i, uint32_t count, placement_t placement,
                             run_t* run);
/* The same for the growth of a block in place. `*zero`: all of them read as zero. */
INTERNAL bool arena_extend_open(arena_t* a, size_t i, uint32_t count, bool* zero);

/* Frees the slices [i, i + n), which the caller holds. */
INTERNAL void arena_return(arena_t* a, size_t i, size_t n);
/* Between the two calls the caller may claim slices and return them: they are in flight. A thread
 * that finds no slices searches again afterwards. A claim over two words of bits takes the bits of
 * the first word before it knows whether the second has the others. */
INTERNAL void flight_begin(size_t slices);
INTERNAL void flight_end(size_t slices);
/* Waits a moment if slices are in flight. False if none are, or if the threads that hold them have
 * not returned them in about a second. It sleeps in the kernel, so that threads of any priority can
 * go on. */
INTERNAL bool wait_for_flight(unsigned round);
/* For the child of a fork, where no other thread returns slices. */
INTERNAL void flight_reset(void);
