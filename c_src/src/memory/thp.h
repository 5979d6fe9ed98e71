/* thp.h - advice to use transparent huge pages. */
#pragma once

#include "arena_types.h"

/* True if huge pages may be advised. False if the program wants the least memory (no purge delay),
 * or if a huge page is not 2 MiB. */
INTERNAL bool thp_is_wanted(void);
/* The slices are in use: advises huge pages for the regions that lie inside them and were dense
 * before; with `dense`, for all that lie inside them. */
INTERNAL void thp_advise(uint16_t arena, uint32_t slice, uint32_t count, bool dense);
/* True if huge pages may be advised, and the system tells which memory is resident. */
INTERNAL bool thp_can_measure(void);
/* True if that can be measured, and most of the range is resident, by samples. */
INTERNAL bool thp_is_dense(const char* start, size_t size);
/* The caller's use of the slices ends, or is complete: returns whether it was dense. The next large
 * block there is advised accordingly. */
INTERNAL bool thp_note_use(uint16_t arena, uint32_t slice, uint32_t count);
/* The caller has claimed the `i`-th slice of the arena for small blocks: advises huge pages for its
 * region, if that pays. */
INTERNAL void thp_advise_page(arena_t* a, size_t i);
/* Withdraws the advice for the regions [s, end) of the arena. */
INTERNAL void thp_withdraw(arena_t* a, size_t s, size_t end);
/* Maps slices anew that hold moved fragments. False: the slices may be unmapped now. */
INTERNAL bool thp_remap(uint16_t arena, uint32_t slice, uint32_t count);
