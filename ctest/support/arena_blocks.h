/* arena_blocks.h - fills arenas with blocks, in a program that may not use memory of the OS. */
#pragma once
#include "arenas.h"
#include <mimalloc-stats.h>

/* Lifts the limit of this program: the case may use memory of the OS. */
CHECK_UNUSED static void allow_os(void) { mi_option_set(mi_option_disallow_os_alloc, 0); }

CHECK_UNUSED static mi_stats_t stats_now(void) {
  mi_stats_t_decl(s);
  CHECK(mi_stats_get(&s));
  return s;
}

#define TWO_SLICES (100 * KIB)

CHECK_UNUSED static size_t fill_arena(mi_heap_t* heap, void** blocks, size_t most, size_t size) {
  size_t n = 0;
  while (n < most && (blocks[n] = mi_heap_malloc(heap, size)) != NULL) n++;
  return n;
}

CHECK_UNUSED static void free_all(void** blocks, size_t n, size_t from, size_t step) {
  for (size_t i = from; i < n; i += step) {
    mi_free(blocks[i]);
    blocks[i] = NULL;
  }
}
