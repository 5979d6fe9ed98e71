/* heap_blocks.h - what the tests of first-class heaps share: which heap a block belongs to, how
 * many blocks of a heap are live, and a set of blocks of all sizes. */
#pragma once
#include "probe.h"
#include <mimalloc.h>

typedef struct seen_s {
  size_t areas;
  size_t used; /* the sum over all areas */
  size_t blocks;
  size_t bytes;
} seen_t;

CHECK_UNUSED static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                                  size_t size, void* arg) {
  seen_t* seen = (seen_t*)arg;
  (void)heap;
  if (block == NULL) {
    seen->areas++;
    seen->used += area->used;
  } else {
    seen->blocks++;
    seen->bytes += size;
  }
  return true;
}

CHECK_UNUSED static size_t live_blocks(const mi_heap_t* heap) {
  seen_t seen = {0, 0, 0, 0};
  mi_heap_visit_blocks(heap, true, &on_visit, &seen);
  CHECK_EQ(seen.used, seen.blocks);
  return seen.blocks;
}

CHECK_UNUSED static bool owned_by(mi_heap_t* heap, const void* p) {
  return mi_heap_contains_block(heap, p) && mi_heap_of(p) == heap && mi_heap_contains(heap, p) &&
         mi_heap_check_owned(heap, p) && mi_any_heap_contains(p);
}

CHECK_UNUSED static mi_heap_t* heap_make(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  return heap;
}

/* From 8 bytes to an OS-mapped block. */
CHECK_UNUSED static const size_t all_sizes[] = {
    0,     1,     8,      9,      16,     24,   40,      48,      100,      128,     500,
    1000,  1024,  1025,   2048,   3000,   4096, 5000,    8192,    10000,    16384,   30000,
    65536, 70000, 131072, 200000, 600000, MIB,  MIB + 1, 5 * MIB, 16 * MIB, 40 * MIB};

typedef struct blocks_s {
  char* at[64];
  size_t size[64];
  size_t count;
} blocks_t;

CHECK_UNUSED static void blocks_fill(blocks_t* b, mi_heap_t* heap) {
  b->count = 0;
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    if (all_sizes[i] == 0 || all_sizes[i] > 5 * MIB) continue;
    for (int k = 0; k < 2; k++) {
      char* p = (char*)(k == 0 ? mi_heap_malloc(heap, all_sizes[i])
                               : mi_heap_malloc_aligned_at(heap, all_sizes[i], 256, 8));
      REQUIRE(p != NULL && b->count < COUNT_OF(b->at));
      pattern_fill(p, all_sizes[i] < 70000 ? all_sizes[i] : 70000, (unsigned)b->count);
      b->at[b->count] = p;
      b->size[b->count++] = all_sizes[i];
    }
  }
}

CHECK_UNUSED static void blocks_check(const blocks_t* b, mi_heap_t* owner) {
  for (size_t i = 0; i < b->count; i++) {
    CHECK(pattern_holds(b->at[i], b->size[i] < 70000 ? b->size[i] : 70000, (unsigned)i));
    CHECK(owned_by(owner, b->at[i]));
    CHECK_GE(mi_usable_size(b->at[i]), b->size[i]);
  }
}

CHECK_UNUSED static void blocks_free(blocks_t* b) {
  for (size_t i = 0; i < b->count; i++) mi_free(b->at[i * 7 % b->count]);
}
