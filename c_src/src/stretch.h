/* stretch.h - advice to use transparent huge pages. */
#ifndef MI_STRETCH_H
#define MI_STRETCH_H

#include "arena.h"

/* Huge pages may be advised: not where memory is to be as little as possible (no purge delay), nor
 * where a huge page is something else than 2 MiB. */
INTERNAL bool stretch_is_wanted(void);
/* The slices, in use, will be touched as a whole: huge pages may serve the stretches among them. */
INTERNAL void stretch_advise(uint16_t arena, uint32_t slice, uint32_t count);
/* The `i`-th slice of the arena, ours since just now, is for small blocks. */
INTERNAL void stretch_advise_page(arena_t* a, size_t i);
/* Takes the advice for the stretches [s, end) of the arena back. */
INTERNAL void stretch_withdraw(arena_t* a, size_t s, size_t end);
/* Maps the slices, which hold moved mappings, anew; false: they may be unmapped now. */
INTERNAL bool stretch_renew(uint16_t arena, uint32_t slice, uint32_t count);

#endif
