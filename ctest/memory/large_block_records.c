/* large_block_records.c - what the library records about blocks above 64 KiB: their list, the
 * issued pointers into them, their slices, bytes and mappings. Each case names the planted faults
 * that it must catch. */
#include "arena_blocks.h"

/* ---- large blocks --------------------------------------------------------------------------- */

/* large-back-link-lost: OS-mapped blocks leave their list in any order. */
static void direct_blocks_leave_in_any_order(void) {
  enum { MOST = 12 };
  static char* blocks[MOST];
  allow_os();
  mi_option_set(mi_option_arena_max_object_size, 1024); /* KiB */
  rng_t rng = {5};
  for (size_t i = 0; i < 3000; i++) {
    size_t at = rng_below(&rng, MOST);
    if (blocks[at] != NULL) {
      mi_free(blocks[at]);
      blocks[at] = NULL;
    } else {
      REQUIRE((blocks[at] = (char*)mi_malloc(2 * MIB)) != NULL);
    }
    for (size_t k = 0; k < MOST; k++)
      if (blocks[k] != NULL && !CHECK(mi_is_in_heap_region(blocks[k] + MIB))) return;
  }
  for (size_t k = 0; k < MOST; k++) mi_free(blocks[k]);
}

/* large-mark-not-cleared: issued pointers into a freed block leave no trace in the next block at
 * the same place. */
static void new_block_is_known_everywhere_inside(void) {
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(64 * UNIT, true));
  REQUIRE(heap != NULL);
  for (size_t offset = 8; offset <= 4 * UNIT; offset *= 2) {
    char* first = (char*)mi_heap_malloc(heap, 5 * UNIT);
    char* second = (char*)mi_heap_malloc_aligned_at(heap, 4 * UNIT, 8 * UNIT, offset);
    REQUIRE(first != NULL && second != NULL);
    CHECK(is_aligned(second + offset, 8 * UNIT));
    mi_free(first);
    mi_free(second);
    size_t slices = LARGE_BLOCKS_END_AT_GUARDS ? 63 : 64;
    char* all = (char*)mi_heap_malloc(heap, slices * UNIT);
    if (!CHECK_NOT_NULL(all)) return;
    for (size_t at = 0; at < slices; at++)
      if (!CHECK(mi_heap_contains_block(heap, all + at * UNIT + 100)))
        check_note("slice %zu, offset %zu\n", at, offset);
    mi_free(all);
  }
  mi_heap_delete(heap);
}

/* large-slices-not-counted-down: a block that shrank does not free the slices again that it gave up
 * before. */
static void slices_of_a_shrunk_block_are_freed_once(void) {
  enum { SLICES = 64, MOST = SLICES };
  static void* blocks[MOST];
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(SLICES * UNIT, true));
  REQUIRE(heap != NULL);
  size_t kept = 4 * UNIT - (LARGE_BLOCKS_END_AT_GUARDS ? OS_PAGE : 0);
  void* p = mi_heap_malloc(heap, 40 * UNIT);
  REQUIRE(p != NULL && mi_heap_realloc(heap, p, kept) == p);
  size_t n = fill_arena(heap, blocks, MOST, TWO_SLICES);
  CHECK_EQ(n, (SLICES - 4) / 2);
  mi_free(p);
  CHECK_EQ(fill_arena(heap, blocks + n, MOST - n, TWO_SLICES), 2);
  free_all(blocks, n + 2, 0, 1);
  mi_heap_delete(heap);
}

/* large-bytes-not-counted: blocks that are resized in place count with their new size. */
static void resized_blocks_are_counted_as_they_are(void) {
  allow_os();
  int64_t before = stats_now().malloc_huge.current;
  char* p = (char*)mi_malloc(4 * MIB);
  REQUIRE(p != NULL);
  CHECK_EQ(stats_now().malloc_huge.current, before + 4 * (int64_t)MIB);
  static const size_t sizes[] = {1, 3, 2, 5, 5};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    REQUIRE((p = (char*)mi_realloc(p, sizes[i] * MIB)) != NULL);
    CHECK_EQ(stats_now().malloc_huge.current, before + (int64_t)mi_usable_size(p));
  }
  mi_free(p);
  CHECK_EQ(stats_now().malloc_huge.current, before);
}

static size_t mapping_count(void) {
  static char maps[4 * 1024 * 1024];
  size_t n = 0, size = read_file("/proc/self/maps", maps, sizeof maps);
  for (size_t i = 0; i < size; i++) n += maps[i] == '\n';
  return n;
}

/* large-moved-flag-not-set: a moved range is a mapping of its own. After a free it merges with its
 * neighbours, for the system allows a limited number of mappings. */
static void blocks_that_grow_leave_no_mappings(void) {
  enum { VECTORS = 40, STEPS = 30 };
  static char* vectors[VECTORS];
  allow_os();
  size_t before = mapping_count();
  for (int round = 0; round < 10; round++) {
    for (size_t step = 1; step <= STEPS; step++)
      for (size_t i = 0; i < VECTORS; i++) {
        vectors[i] = (char*)mi_realloc(vectors[i], step * 300 * KIB + i * UNIT);
        REQUIRE(vectors[i] != NULL);
        touch_pages(vectors[i], 300 * KIB);
      }
    for (size_t i = 0; i < VECTORS; i++) {
      mi_free(vectors[i]);
      vectors[i] = NULL;
    }
  }
  size_t after = mapping_count();
  check_note("%zu mappings before, %zu after\n", before, after);
  CHECK_LE(after, before + 50);
}

static const check_case_t cases[] = {
    CASE(direct_blocks_leave_in_any_order),        CASE(new_block_is_known_everywhere_inside),
    CASE(slices_of_a_shrunk_block_are_freed_once), CASE(resized_blocks_are_counted_as_they_are),
    CASE(blocks_that_grow_leave_no_mappings),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), cases, 0);
}
