/* slice_count.h - which slices are in the count of usage.h.
 *
 * Owns:    the `counted` bits of each arena.
 * Always:  with `counts`, each slice that may be resident is counted.
 * Threads: the one that holds the slices [i, i + n). The switch of limit.c counts slices, too.
 */
#pragma once

#include "arena_types.h"

/* Counts slices that the caller is about to use; false if a limit forbids it. */
INTERNAL bool slices_count(arena_t* a, size_t i, size_t n, bool is_page);
/* The same for slices that are in use already. */
INTERNAL void slices_count_anyway(arena_t* a, size_t i, size_t n);
INTERNAL void slices_uncount(arena_t* a, size_t i, size_t n);
/* The slices read as zero and have no memory. */
INTERNAL void slices_are_clean(arena_t* a, size_t i, size_t n);
