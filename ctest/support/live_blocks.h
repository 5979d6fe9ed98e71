/* live_blocks.h - blocks of all sizes, and the bin of the statistics that counts each. */
#pragma once
#include "probe.h"
#include <mimalloc-stats.h>

/* All the sizes of small blocks, and two large ones; several blocks of each. */
#define KINDS_MAX 200

#define BLOCKS_PER_KIND 10

typedef struct blocks_s {
  size_t kinds;
  size_t size[KINDS_MAX]; /* usable */
  size_t bin[KINDS_MAX];
  void* block[KINDS_MAX][BLOCKS_PER_KIND];
} blocks_t;

CHECK_UNUSED static size_t bin_of(size_t usable) {
  size_t bin = 1;
  if (usable > 64 * KIB) return MI_BIN_HUGE;
  while (mi_stats_get_bin_size(bin) < usable) bin++;
  return bin;
}

/* Plans the sizes, and the bin that counts each; allocates nothing. */
CHECK_UNUSED static void blocks_plan(blocks_t* b) {
  b->kinds = 0;
  for (size_t size = 8; size <= 128; size += 16) b->size[b->kinds++] = size; /* align8 only */
  for (size_t size = 1; size <= 64 * KIB; size = b->size[b->kinds - 1] + 1)
    b->size[b->kinds++] = mi_good_size(size);
  b->size[b->kinds++] = mi_good_size(100000);
  b->size[b->kinds++] = mi_good_size(3 * MIB);
  REQUIRE(b->kinds > 100 && b->kinds <= KINDS_MAX);
  for (size_t k = 0; k < b->kinds; k++) b->bin[k] = bin_of(b->size[k]);
}

CHECK_UNUSED static void blocks_allocate(blocks_t* b) {
  for (size_t k = 0; k < b->kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++) {
      bool by8 = b->size[k] % 16 != 0;
      b->block[k][i] = by8 ? mi_malloc_align8(b->size[k]) : mi_malloc(b->size[k]);
      REQUIRE(b->block[k][i] != NULL && mi_usable_size(b->block[k][i]) == b->size[k]);
    }
}

/* Frees the blocks `from` to `to` - 1 of each kind. */
CHECK_UNUSED static void blocks_free_part(blocks_t* b, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    for (size_t k = 0; k < b->kinds; k++) mi_free(b->block[k][i]);
}

CHECK_UNUSED static void blocks_free(blocks_t* b) { blocks_free_part(b, 0, BLOCKS_PER_KIND); }
