/* zeroed_memory.c - zeroed memory is zero in every former state of the memory: fresh, recycled,
 * purged, reset. Memory from the program is in managed_memory.c. */
#include "probe.h"
#include <mimalloc.h>

#define ROUND_BYTES (24 * MIB) /* filled and freed per size and round */
#define ROUND_BLOCKS_MAX 4096

static const size_t sizes[] = {1,       8,       16,          24,      100,    112,    113,
                               256,     1000,    1024,        1025,    4096,   8192,   16384,
                               16385,   40000,   65536,       65537,   100000, 131073, 524289,
                               MIB + 1, 4 * MIB, 8 * MIB + 1, 17 * MIB};

typedef enum between_e { KEEP, COLLECT, COLLECT_FORCED, OTHER_THREAD_FREES } between_t;

typedef struct batch_s {
  void* blocks[ROUND_BLOCKS_MAX];
  size_t count;
} batch_t;

static batch_t batch;

static void* batch_free(void* arg) {
  batch_t* b = (batch_t*)arg;
  for (size_t i = 0; i < b->count; i++) mi_free(b->blocks[i]);
  return NULL;
}

static void fill_free_and_check(size_t size, between_t between) {
  batch.count = ROUND_BYTES / size;
  if (batch.count > ROUND_BLOCKS_MAX) batch.count = ROUND_BLOCKS_MAX;
  for (size_t i = 0; i < batch.count; i++) {
    batch.blocks[i] = mi_malloc(size);
    REQUIRE(batch.blocks[i] != NULL);
    memset(batch.blocks[i], 0xFF, mi_usable_size(batch.blocks[i]));
  }
  if (between == OTHER_THREAD_FREES) {
    thread_join(thread_start(&batch_free, &batch));
  } else {
    batch_free(&batch);
  }
  if (between == COLLECT) mi_collect(false);
  if (between == COLLECT_FORCED) mi_collect(true);
  for (size_t i = 0; i < batch.count; i++) {
    void* p = i % 3 == 0   ? mi_zalloc(size)
              : i % 3 == 1 ? mi_calloc(1, size)
                           : mi_zalloc_aligned(size, 64);
    REQUIRE(p != NULL);
    if (!CHECK(all_bytes_are(p, mi_usable_size(p), 0))) {
      check_note("size %zu, between %d, block %zu\n", size, (int)between, i);
      return;
    }
    batch.blocks[i] = p;
  }
  for (size_t i = 0; i < batch.count; i++) {
    memset(batch.blocks[i], 0xFF, mi_usable_size(batch.blocks[i]));
  }
  batch_free(&batch);
}

static void check_all(between_t between) {
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) fill_free_and_check(sizes[i], between);
  }
}

static void recycled_memory_is_zeroed(void) { check_all(KEEP); }
static void collected_memory_is_zeroed(void) { check_all(COLLECT); }
static void purged_memory_is_zeroed(void) { check_all(COLLECT_FORCED); }
static void memory_freed_by_another_thread_is_zeroed(void) { check_all(OTHER_THREAD_FREES); }

static void memory_purged_at_once_is_zeroed(void) {
  mi_option_set(mi_option_purge_delay, 0);
  check_all(KEEP);
}
static void memory_never_purged_is_zeroed(void) {
  mi_option_set(mi_option_purge_delay, -1);
  check_all(COLLECT);
}
/* Reset memory keeps its old contents until the system needs it. */
static void reset_memory_is_zeroed(void) {
  mi_option_disable(mi_option_purge_decommits);
  mi_option_set(mi_option_purge_delay, 0);
  check_all(COLLECT_FORCED);
}
static void memory_purged_by_the_timer_is_zeroed(void) {
  mi_option_set(mi_option_purge_delay, 1);
  mi_option_set(mi_option_arena_purge_mult, 1);
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    fill_free_and_check(sizes[i], KEEP);
    sleep_ms(5);
  }
}

/* A large zeroed block in pages that small blocks have dirtied, and the reverse. */
static void changing_sizes_share_memory_and_stay_zeroed(void) {
  rng_t rng = {5};
  enum { HELD = 300 };
  static void* held[HELD];
  for (size_t step = 0; step < check_scaled(6000); step++) {
    size_t i = rng_below(&rng, HELD);
    if (held[i] != NULL) mi_free(held[i]);
    size_t size = rng_size(&rng, rng_below(&rng, 50) == 0 ? 4 * MIB : 60 * KIB);
    held[i] = mi_zalloc(size);
    REQUIRE(held[i] != NULL);
    if (!CHECK(all_bytes_are(held[i], mi_usable_size(held[i]), 0))) return;
    memset(held[i], 0xDD, mi_usable_size(held[i]));
    if (step % 500 == 0) mi_collect(step % 1000 == 0);
  }
  for (size_t i = 0; i < HELD; i++) mi_free(held[i]);
}

/* ---- size 0 ---------------------------------------------------------------- */

static void* zalloc_0(void) { return mi_zalloc(0); }
static void* zalloc_small_0(void) { return mi_zalloc_small(0); }
static void* zalloc_align8_0(void) { return mi_zalloc_align8(0); }
static void* calloc_of_no_elements(void) { return mi_calloc(0, 24); }
static void* calloc_of_no_bytes(void) { return mi_calloc(5, 0); }
static void* zalloc_aligned_0(void) { return mi_zalloc_aligned(0, 64); }
static void* zalloc_aligned_at_0(void) { return mi_zalloc_aligned_at(0, 64, 8); }
static void* calloc_aligned_0(void) { return mi_calloc_aligned(3, 0, 32); }
static void* calloc_aligned_at_0(void) { return mi_calloc_aligned_at(0, 3, 32, 16); }
static void* uzalloc_small_0(void) { return mi_uzalloc_small(0, NULL); }
static void* ucalloc_0(void) { return mi_ucalloc(0, 7, NULL); }
static void* uzalloc_aligned_0(void) { return mi_uzalloc_aligned(0, 16, NULL); }
static void* heap_zalloc_0(void) { return mi_heap_zalloc(mi_heap_get_default(), 0); }
static void* heap_zalloc_small_0(void) { return mi_heap_zalloc_small(mi_heap_get_default(), 0); }
static void* heap_calloc_0(void) { return mi_heap_calloc(mi_heap_get_default(), 9, 0); }
static void* heap_zalloc_aligned_0(void) {
  return mi_heap_zalloc_aligned(mi_heap_get_default(), 0, 128);
}
static void* heap_zalloc_aligned_at_0(void) {
  return mi_heap_zalloc_aligned_at(mi_heap_get_default(), 0, 64, 8);
}
static void* heap_calloc_aligned_0(void) {
  return mi_heap_calloc_aligned(mi_heap_get_default(), 2, 0, 16);
}
static void* heap_calloc_aligned_at_0(void) {
  return mi_heap_calloc_aligned_at(mi_heap_get_default(), 0, 2, 16, 0);
}
static void* rezalloc_of_null_0(void) { return mi_rezalloc(NULL, 0); }
static void* rezalloc_to_0(void) { return mi_rezalloc(mi_malloc(40), 0); }
static void* rezalloc_of_nothing_to_0(void) { return mi_rezalloc(mi_malloc(0), 0); }
static void* recalloc_to_0(void) { return mi_recalloc(mi_malloc(40), 0, 8); }
static void* rezalloc_aligned_to_0(void) { return mi_rezalloc_aligned(mi_malloc(40), 0, 32); }
static void* rezalloc_aligned_at_to_0(void) {
  return mi_rezalloc_aligned_at(mi_malloc(40), 0, 32, 8);
}
static void* recalloc_aligned_to_0(void) { return mi_recalloc_aligned(mi_malloc(40), 8, 0, 16); }
static void* recalloc_aligned_at_to_0(void) {
  return mi_recalloc_aligned_at(mi_malloc(40), 8, 0, 16, 8);
}
static void* heap_rezalloc_to_0(void) {
  return mi_heap_rezalloc(mi_heap_get_default(), mi_malloc(40), 0);
}
static void* heap_recalloc_to_0(void) {
  return mi_heap_recalloc(mi_heap_get_default(), mi_malloc(40), 0, 3);
}
static void* heap_rezalloc_aligned_to_0(void) {
  return mi_heap_rezalloc_aligned(mi_heap_get_default(), mi_malloc(40), 0, 64);
}
static void* heap_rezalloc_aligned_at_to_0(void) {
  return mi_heap_rezalloc_aligned_at(mi_heap_get_default(), mi_malloc(40), 0, 64, 8);
}
static void* heap_recalloc_aligned_to_0(void) {
  return mi_heap_recalloc_aligned(mi_heap_get_default(), mi_malloc(40), 0, 5, 64);
}
static void* heap_recalloc_aligned_at_to_0(void) {
  return mi_heap_recalloc_aligned_at(mi_heap_get_default(), mi_malloc(40), 0, 5, 64, 8);
}

typedef struct zeroing_s {
  const char* name;
  void* (*allocate)(void);
} zeroing_t;
#define ZEROING(function)                                                                          \
  { #function, function }
static const zeroing_t zeroing[] = {
    ZEROING(zalloc_0),
    ZEROING(zalloc_small_0),
    ZEROING(zalloc_align8_0),
    ZEROING(calloc_of_no_elements),
    ZEROING(calloc_of_no_bytes),
    ZEROING(zalloc_aligned_0),
    ZEROING(zalloc_aligned_at_0),
    ZEROING(calloc_aligned_0),
    ZEROING(calloc_aligned_at_0),
    ZEROING(uzalloc_small_0),
    ZEROING(ucalloc_0),
    ZEROING(uzalloc_aligned_0),
    ZEROING(heap_zalloc_0),
    ZEROING(heap_zalloc_small_0),
    ZEROING(heap_calloc_0),
    ZEROING(heap_zalloc_aligned_0),
    ZEROING(heap_zalloc_aligned_at_0),
    ZEROING(heap_calloc_aligned_0),
    ZEROING(heap_calloc_aligned_at_0),
    ZEROING(rezalloc_of_null_0),
    ZEROING(rezalloc_to_0),
    ZEROING(rezalloc_of_nothing_to_0),
    ZEROING(recalloc_to_0),
    ZEROING(rezalloc_aligned_to_0),
    ZEROING(rezalloc_aligned_at_to_0),
    ZEROING(recalloc_aligned_to_0),
    ZEROING(recalloc_aligned_at_to_0),
    ZEROING(heap_rezalloc_to_0),
    ZEROING(heap_recalloc_to_0),
    ZEROING(heap_rezalloc_aligned_to_0),
    ZEROING(heap_rezalloc_aligned_at_to_0),
    ZEROING(heap_recalloc_aligned_to_0),
    ZEROING(heap_recalloc_aligned_at_to_0),
};

/* All usable bytes of a block of size 0 are zero: just before, blocks of the same class were filled
 * to the last usable byte and freed. */
static void blocks_of_size_0_are_zeroed(void) {
  enum { COUNT = 300 };
  static void* blocks[COUNT];
  static const size_t before[] = {0, 1, 8, 16, 60};
  for (size_t i = 0; i < COUNT_OF(zeroing); i++) {
    for (size_t k = 0; k < COUNT_OF(before); k++) {
      for (size_t n = 0; n < COUNT; n++) {
        blocks[n] = mi_malloc(before[k]);
        REQUIRE(blocks[n] != NULL);
        memset(blocks[n], 0xFF, mi_usable_size(blocks[n]));
      }
      for (size_t n = 0; n < COUNT; n++) mi_free(blocks[n]);
    }
    size_t zeroed = 0;
    for (size_t n = 0; n < COUNT; n++) {
      blocks[n] = zeroing[i].allocate();
      REQUIRE(blocks[n] != NULL);
      /* Prints the first nonzero block byte by byte; counts the others. */
      if (zeroed == n) zeroed += all_bytes_are(blocks[n], mi_usable_size(blocks[n]), 0);
    }
    if (!CHECK_EQ(zeroed, COUNT)) check_note("%s\n", zeroing[i].name);
    for (size_t n = 0; n < COUNT; n++) mi_free(blocks[n]);
  }
}

static const check_case_t cases[] = {
    CASE(recycled_memory_is_zeroed),
    CASE(collected_memory_is_zeroed),
    CASE(purged_memory_is_zeroed),
    CASE(memory_freed_by_another_thread_is_zeroed),
    CASE(memory_purged_at_once_is_zeroed),
    CASE(memory_never_purged_is_zeroed),
    CASE(reset_memory_is_zeroed),
    CASE(memory_purged_by_the_timer_is_zeroed),
    CASE(changing_sizes_share_memory_and_stay_zeroed),
    CASE(blocks_of_size_0_are_zeroed),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
