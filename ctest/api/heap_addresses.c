/* heap_addresses.c - questions about addresses: which heap has a block, whether there can
 * be one, and whether its page is nearly empty.
 */
#include "heap_blocks.h"

/* ---- questions about addresses ---------------------------------------------- */

static void nowhere(const void* p, const char* what) {
  bool ok = CHECK_NULL(mi_heap_of(p));
  ok = CHECK(!mi_any_heap_contains(p)) && ok;
  ok = CHECK(!mi_heap_contains(NULL, p)) && ok;
  ok = CHECK(!mi_heap_contains(mi_heap_get_backing(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(mi_heap_get_backing(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(mi_heap_main(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(NULL, p)) && ok;
  ok = CHECK(!mi_unsafe_heap_page_is_under_utilized(NULL, opaque(p), 100)) && ok;
  if (!ok) check_note("%s: %p\n", what, p);
}

static char in_data[64] = "data";

static void addresses_outside_of_blocks(void) {
  char on_stack[64] = "stack";
  char* mapped = (char*)mmap(NULL, 64 * KIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(mapped != MAP_FAILED);
  static const uintptr_t numbers[] = {1,
                                      7,
                                      8,
                                      4096,
                                      65536,
                                      65535,
                                      (uintptr_t)(UINT64_C(1) << 32),
                                      (uintptr_t)(UINT64_C(1) << 46),
                                      (uintptr_t)(UINT64_C(1) << 47),
                                      ((uintptr_t)(UINT64_C(1) << 47)) - 8,
                                      ((uintptr_t)(UINT64_C(1) << 48)) - 8,
                                      (uintptr_t)(UINT64_C(1) << 48),
                                      (uintptr_t)(UINT64_C(1) << 55),
                                      (uintptr_t)(UINT64_C(1) << 56),
                                      ((uintptr_t)(UINT64_C(1) << 56)) + 8,
                                      (uintptr_t)(UINT64_C(1) << 57),
                                      (uintptr_t)(UINT64_C(1) << 63),
                                      UINTPTR_MAX,
                                      UINTPTR_MAX - 7,
                                      UINTPTR_MAX - 65535,
                                      (uintptr_t)0xffff800000000000u,
                                      (uintptr_t)0xffffffff80000000u,
                                      (uintptr_t)0xdeadbeefdeadbeefu,
                                      (uintptr_t)0x8000000000000001u};
  for (int started = 0; started < 2; started++) {
    nowhere(NULL, "NULL");
    nowhere(on_stack, "stack");
    nowhere(on_stack + 3, "stack, odd");
    nowhere(in_data, "data");
    nowhere(opaque((void*)(uintptr_t)&nowhere), "code");
    nowhere(mapped, "mapped");
    nowhere(mapped + 64 * KIB - 1, "mapped, last byte");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
      nowhere((void*)numbers[i], "number");
      CHECK(!mi_heap_check_owned(mi_heap_get_backing(), (void*)numbers[i]));
      CHECK(!mi_check_owned((void*)numbers[i]));
    }
    CHECK(!mi_check_owned(NULL));
    CHECK(!mi_check_owned(on_stack));
    CHECK(!mi_heap_check_owned(NULL, mapped));
    /* Addresses near those in use, and from any part of the address space. */
    rng_t rng = {(uint64_t)started + 5};
    for (int i = 0; i < 100000; i++) {
      const void* p = (const void*)(uintptr_t)(rng_next(&rng) >> rng_below(&rng, 40));
      mi_heap_t* of = mi_heap_of(p);
      CHECK(mi_any_heap_contains(p) == (of != NULL));
      CHECK(mi_heap_contains_block(of, p) == (of != NULL));
    }
    mi_heap_t* heap = heap_make();
    blocks_t blocks;
    blocks_fill(&blocks, heap);
    /* A heap lies in no heap: its heap struct is no block. */
    CHECK_NULL(mi_heap_of(heap));
    CHECK_NULL(mi_heap_of(mi_heap_get_backing()));
    mi_heap_delete(heap);
    blocks_free(&blocks);
  }
  munmap(mapped, 64 * KIB);
}

/* Start, inside, last usable byte and one past, for each kind of block. */
static void any_address_of_a_block_tells_its_heap(void) {
  mi_heap_t* a = heap_make();
  mi_heap_t* b = heap_make();
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (int kind = 0; kind < 3; kind++) {
      size_t size = all_sizes[i];
      char* p = (char*)(kind == 0   ? mi_heap_malloc(a, size)
                        : kind == 1 ? mi_heap_malloc_aligned_at(a, size, 1024, 24)
                                    : mi_heap_malloc_aligned(a, size, 256 * KIB));
      REQUIRE(p != NULL);
      size_t usable = mi_usable_size(p);
      size_t places[] = {0,
                         1,
                         7,
                         8,
                         usable / 2,
                         usable / 2 + 8,
                         usable - 8,
                         usable - 1,
                         size / 3,
                         size / 2,
                         4096,
                         65536,
                         MIB,
                         4 * MIB,
                         32 * MIB,
                         usable - 4096,
                         usable - 65536};
      for (size_t k = 0; k < COUNT_OF(places); k++) {
        if (places[k] >= usable) continue;
        const char* at = p + places[k];
        bool ok = CHECK(mi_heap_contains_block(a, at));
        ok = CHECK(!mi_heap_contains_block(b, at)) && ok;
        ok = CHECK(!mi_heap_contains_block(NULL, at)) && ok;
        ok = CHECK(!mi_heap_contains_block(mi_heap_get_backing(), at)) && ok;
        ok = CHECK_SAME(mi_heap_of(at), a) && ok;
        ok = CHECK(mi_heap_contains(a, at)) && ok;
        ok = CHECK(!mi_heap_contains(b, at)) && ok;
        ok = CHECK(!mi_heap_contains(NULL, at)) && ok; /* the main heap */
        ok = CHECK(mi_any_heap_contains(at)) && ok;
        ok = CHECK_EQ(mi_heap_check_owned(a, at), (uintptr_t)at % sizeof(void*) == 0) && ok;
        ok = CHECK(!mi_heap_check_owned(b, at)) && ok;
        ok = CHECK(!mi_check_owned(at)) && ok;
        if (!ok) check_note("kind %d, %zu bytes, byte %zu of %zu\n", kind, size, places[k], usable);
      }
      CHECK(!mi_heap_contains_block(b, p + usable));
      mi_heap_set_default(a);
      CHECK(mi_check_owned(p) == ((uintptr_t)p % sizeof(void*) == 0));
      mi_heap_set_default(mi_heap_get_backing());
      mi_free(p);
    }
  }
  mi_heap_destroy(a);
  mi_heap_destroy(b);
}

static struct {
  mi_heap_area_t areas[64];
  size_t count;
} listed;

static bool on_list_area(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                         size_t size, void* arg) {
  (void)heap;
  (void)block;
  (void)size;
  (void)arg;
  if (listed.count < COUNT_OF(listed.areas)) listed.areas[listed.count++] = *area;
  return true;
}

/* Memory that a heap has given back, and the end of a page after its last block, belong to no
 * heap. */
static void where_no_block_can_be_there_is_nothing(void) {
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (int aligned = 0; aligned < 2; aligned++) {
      mi_heap_t* heap = heap_make();
      size_t size = all_sizes[i];
      char* p = (char*)(aligned ? mi_heap_malloc_aligned_at(heap, size, 512, 8)
                                : mi_heap_malloc(heap, size));
      REQUIRE(p != NULL);
      size_t usable = mi_usable_size(p);
      bool ok = true;
      if (size > 64 * KIB && !USABLE_IS_EXACT) { /* such a block stands alone, up to its end */
        ok = CHECK(!mi_heap_contains_block(heap, p + usable)) && ok;
        ok = CHECK(!mi_heap_check_owned(heap, p + round_up(usable, 8))) && ok;
        ok = CHECK(!mi_heap_contains(heap, p + usable)) && ok;
        mi_free(p);
        ok = CHECK(!mi_heap_contains_block(heap, p)) && ok;
        ok = CHECK(!mi_heap_check_owned(heap, p)) && ok;
        ok = CHECK_NULL(mi_heap_of(p)) && ok;
        ok = CHECK(!mi_any_heap_contains(p)) && ok;
      }
      mi_heap_destroy(heap);
      ok = CHECK_NULL(mi_heap_of(p)) && ok;
      ok = CHECK_NULL(mi_heap_of(p + usable / 2)) && ok;
      ok = CHECK(!mi_any_heap_contains(p)) && ok;
      if (!ok) check_note("%zu bytes, aligned %d, usable %zu\n", size, aligned, usable);
    }
  }
  /* Each byte of some pages: in a block of the size that is there, or in none. */
  mi_heap_t* heap = heap_make();
  static const size_t sizes[] = {48, 1000, 5120, 40000};
  for (size_t k = 0; k < COUNT_OF(sizes); k++) {
    for (int i = 0; i < 40; i++) CHECK_NOT_NULL(mi_heap_malloc(heap, sizes[k]));
  }
  mi_heap_visit_blocks(heap, false, &on_list_area, NULL);
  CHECK_GE(listed.count, COUNT_OF(sizes));
  for (size_t i = 0; i < listed.count; i++) {
    const mi_heap_area_t* area = &listed.areas[i];
    size_t in_blocks = area->reserved / area->full_block_size * area->full_block_size;
    const char* start = (const char*)area->blocks;
    for (size_t at = 0; at < area->reserved; at++) {
      bool expected = at < in_blocks;
      if (mi_heap_contains_block(heap, start + at) != expected ||
          mi_heap_check_owned(heap, start + at) != (expected && at % sizeof(void*) == 0)) {
        check_fail("byte %zu of an area of %zu, blocks of %zu\n", at, area->reserved,
                   area->full_block_size);
        break;
      }
    }
  }
  mi_heap_destroy(heap);
}

/* ---- costs -------------------------------------------------------------------------- */

/* A block of 600 MiB is OS-mapped. */
static void huge_blocks_belong_to_a_heap(void) {
  size_t size = 600 * MIB;
  for (int destroy = 0; destroy < 3; destroy++) {
    mi_heap_t* heap = heap_make();
    char* p = (char*)mi_heap_calloc(heap, 1, size);
    REQUIRE(p != NULL);
    p[0] = 1;
    p[size - 1] = 1;
    CHECK(owned_by(heap, p));
    CHECK(mi_heap_contains_block(heap, p + size - 1));
    CHECK(mi_heap_contains_block(heap, p + 300 * MIB));
    CHECK_NULL(mi_heap_of(p + mi_good_size(size) + SEAL_BYTES));
    CHECK_EQ(live_blocks(heap), 1);
    if (destroy == 0) {
      mi_free(p);
      CHECK_EQ(live_blocks(heap), 0);
      mi_heap_destroy(heap);
    } else if (destroy == 1) {
      mi_heap_destroy(heap);
    } else {
      mi_heap_delete(heap);
      CHECK(owned_by(mi_heap_get_backing(), p));
      CHECK(p[0] == 1 && p[size - 1] == 1);
      mi_free(p);
    }
    CHECK_NULL(mi_heap_of(p));
    CHECK(!mi_is_in_heap_region(p));
    CHECK_EQ(munmap(p, 0) == 0, 0);
  }
}

/* ---- moving objects together -------------------------------------------------------- */

static void under_utilized_pages_are_reported(void) {
  static char* held[100000];
  const size_t size = 128;
  mi_heap_t* heap = heap_make();
  mi_heap_t* other = heap_make();
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    held[i] = (char*)mi_heap_malloc(heap, size);
    REQUIRE(held[i] != NULL);
  }
  size_t told = 0;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    told += mi_unsafe_heap_page_is_under_utilized(heap, held[i], 99);
  }
  CHECK_EQ(told, 0); /* all are full, except the active page */
  /* Of the first half one block in ten stays, of the second nine in ten. */
  size_t half = COUNT_OF(held) / 2;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    bool keep = i < half ? i % 10 == 0 : i % 10 != 0;
    if (keep) continue;
    mi_free(held[i]);
    held[i] = NULL;
  }
  mi_heap_collect(heap, false);
  size_t low = 0;
  size_t high = 0;
  size_t low_all = 0;
  size_t high_all = 0;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    if (held[i] == NULL) continue;
    bool is_told = mi_unsafe_heap_page_is_under_utilized(heap, held[i], 50);
    CHECK(is_told == mi_unsafe_heap_page_is_under_utilized(NULL, held[i], 50));
    CHECK(!mi_unsafe_heap_page_is_under_utilized(other, held[i], 100));
    CHECK(!mi_unsafe_heap_page_is_under_utilized(heap, held[i], 1));
    if (is_told) CHECK(mi_unsafe_heap_page_is_under_utilized(heap, held[i], 100));
    if (i < half) {
      low += is_told;
      low_all++;
    } else {
      high += is_told;
      high_all++;
    }
  }
  check_note("told: %zu of %zu blocks in nearly empty pages, %zu of %zu in nearly full ones\n", low,
             low_all, high, high_all);
  CHECK_GE(low, low_all * 8 / 10);
  CHECK_LE(high, high_all / 100);
  CHECK(!mi_unsafe_heap_page_is_under_utilized(heap, NULL, 100));
  CHECK(!mi_unsafe_heap_page_is_under_utilized(NULL, NULL, 100));
  mi_heap_destroy(heap);
  mi_heap_destroy(other);
}

static const check_case_t cases[] = {
    CASE(addresses_outside_of_blocks),
    CASE(any_address_of_a_block_tells_its_heap),
    CASE(where_no_block_can_be_there_is_nothing),
    CASE(huge_blocks_belong_to_a_heap),
    CASE(under_utilized_pages_are_reported),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
