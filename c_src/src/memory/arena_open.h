/* arena_open.h - the frontiers of an arena: how its reserved addresses become accessible. */
#pragma once

#include "arena.h"

/* Divides a new arena into zones. `open`: all of its memory is accessible now. */
INTERNAL void arena_set_frontiers(arena_t* a, bool open);
/* Allocates like arena_alloc_existing, and opens memory for the request: of its own zone in any
 * arena first, then of other zones. False: no arena has room, or the system refuses. The caller
 * holds arena_lock. */
INTERNAL bool arena_alloc_opening(affinity_t affinity, uint32_t count, uint32_t align,
                                  placement_t placement, run_t* run);
/* Allocates the `count` slices from `slice` on if nothing holds them. `*zero`: all of them read as
 * zero. */
INTERNAL bool arena_extend(uint16_t arena, uint32_t slice, uint32_t count, bool* zero);
/* Closes open memory at the ends of the zones that is free and whose purge is not pending. For an
 * arena that recedes. */
INTERNAL void arena_recede(arena_t* a);
