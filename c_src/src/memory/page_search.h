/* page_search.h - from a slice back to the page that it is in. */
#pragma once

#include "arena_types.h"

/* The index of the first slice of the page, or with `or_kept` of the kept run, that the slice is
 * in; SIZE_MAX if there is none. Slices inside a large block or a kept run may have no owner word,
 * so the search goes back to the nearest slice that has one, or begins a kept run. */
INTERNAL size_t page_first_slice(arena_t* a, size_t i, bool or_kept);
