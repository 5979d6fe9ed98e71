/* page_search.c - see page_search.h. */
#include "page_search.h"
#include "page_map.h"

INTERNAL size_t page_first_slice(arena_t* a, size_t i, bool or_kept) {
  for (; arena_is_held(a, i); i--) {
    uint32_t slice = a->first_slice + (uint32_t)i;
    uintptr_t owner = load_relaxed(&map_descriptor_of_slice(slice)->owner);
    if (owner != 0) return owner_is_interior(owner) ? i - owner_distance(owner) : i;
    if (or_kept && (load_relaxed(map_remote(slice)) & REMOTE_KEPT) != 0) return i;
    if (i == 0) break;
  }
  return SIZE_MAX;
}
