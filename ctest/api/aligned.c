/* aligned.c - every alignment with every kind of size: the address, the usable size, the
 * ends of the block, release by mi_free. Reallocation is in realloc.c.
 */
#include "probe.h"
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* Writes both ends of the usable part. */
static void block_write_ends(void* p) {
  size_t usable = mi_usable_size(p);
  if (usable == 0) return;
  ((volatile char*)p)[0] = 1;
  ((volatile char*)p)[usable - 1] = 1;
}

static bool block_is_right(void* p, size_t size, size_t alignment, size_t offset) {
  bool ok = CHECK_NOT_NULL(p);
  if (ok) {
    ok = CHECK(is_aligned((char*)p + offset, alignment));
    ok = CHECK_GE(mi_usable_size(p), size) && ok;
    ok = CHECK(mi_is_in_heap_region(p)) && ok;
    if (ok) block_write_ends(p);
  }
  if (!ok)
    check_note("size %zu, alignment %zu, offset %zu, block %p\n", size, alignment, offset, p);
  return ok;
}

static void every_alignment_up_to_1_gib_with_every_kind_of_size(void) {
  for (size_t alignment = 1; alignment <= (IS_64_BIT ? GIB : 64 * MIB); alignment *= 2) {
    size_t sizes[] = {0,
                      1,
                      8,
                      512,
                      alignment - 1,
                      alignment,
                      alignment + 1,
                      MIB,
                      16 * MIB,
                      16 * MIB + 1,
                      32 * MIB,
                      128 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      void* p = mi_malloc_aligned(sizes[i], alignment);
      block_is_right(p, sizes[i], alignment, 0);
      void* q = mi_memalign(alignment, sizes[i]);
      block_is_right(q, sizes[i], alignment, 0);
      mi_free(p);
      mi_free_aligned(q, alignment);
    }
  }
}

static void zeroed_for_every_alignment_up_to_128_mib(void) {
  const size_t sizes[] = {0, 8, 512, MIB, 4 * MIB + 1};
  for (size_t alignment = 1; alignment <= 128 * MIB; alignment *= 2) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      char* p = (char*)mi_zalloc_aligned(sizes[i], alignment);
      if (!block_is_right(p, sizes[i], alignment, 0)) continue;
      if (mi_usable_size(p) != 0) p[0] = p[mi_usable_size(p) - 1] = 0;
      CHECK(all_bytes_are(p, mi_usable_size(p), 0));
      memset(p, 0xFF, sizes[i]);
      mi_free(p);
      p = (char*)mi_calloc_aligned(sizes[i], 1, alignment);
      if (p == NULL) {
        CHECK_NOT_NULL(p);
        continue;
      }
      CHECK(is_aligned(p, alignment));
      CHECK(all_bytes_are(p, mi_usable_size(p), 0));
      mi_free(p);
    }
  }
}

/* Several live at once, so that more than the first block of a page is checked. */
static void thirteen_fold_sizes_eight_alive_at_once(void) {
  for (size_t alignment = 1; alignment <= 16 * MIB; alignment *= 2) {
    void* blocks[8];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
      blocks[i] = mi_malloc_aligned(13 * alignment, alignment);
      block_is_right(blocks[i], 13 * alignment, alignment, 0);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
  }
}

/* The full table with CTEST_SCALE of 10 or more. */
static void sizes_up_to_1_mib_with_alignments_up_to_64_kib(void) {
  bool full = check_scale() >= 10;
  for (size_t alignment = 1; alignment <= 64 * KIB; alignment *= 2) {
    for (size_t size = 0; size <= MIB;) {
      void* p = mi_malloc_aligned(size, alignment);
      if (p == NULL || !is_aligned(p, alignment) || mi_usable_size(p) < size) {
        block_is_right(p, size, alignment, 0);
        return;
      }
      block_write_ends(p);
      mi_free(p);
      size += full || size < 2048 ? 1 : 1 + size / 61;
    }
  }
}

static void sizes_up_to_2048_ten_alive_at_once(void) {
  for (size_t size = 1; size <= 2048; size++) {
    for (size_t alignment = 1; alignment <= size; alignment *= 2) {
      void* blocks[10];
      for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = mi_malloc_aligned(size, alignment);
        if (!block_is_right(blocks[i], size, alignment, 0)) return;
      }
      for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
    }
  }
}

static void offsets_are_honoured(void) {
  const size_t sizes[] = {0, 1, 7, 48, 50, 100, 1000, 4097, 70000, 300000, 5000000};
  for (size_t alignment = 1; alignment <= 16 * MIB; alignment *= 4) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      size_t size = sizes[i];
      size_t offsets[] = {0, 1, 8, 16, 24, size / 2, size, size + 8, alignment, 3 * alignment + 8};
      for (size_t j = 0; j < COUNT_OF(offsets); j++) {
        void* held[3];
        for (size_t k = 0; k < COUNT_OF(held); k++) {
          held[k] = mi_malloc_aligned_at(size, alignment, offsets[j]);
          block_is_right(held[k], size, alignment, offsets[j]);
        }
        for (size_t k = 0; k < COUNT_OF(held); k++) mi_free(held[k]);
        if (size > 400000) continue;
        char* z = (char*)mi_zalloc_aligned_at(size, alignment, offsets[j]);
        char* c = (char*)mi_calloc_aligned_at(size, 1, alignment, offsets[j]);
        if (!CHECK(z != NULL && c != NULL)) return;
        CHECK(is_aligned(z + offsets[j], alignment));
        CHECK(is_aligned(c + offsets[j], alignment));
        CHECK(all_bytes_are(z, mi_usable_size(z), 0));
        CHECK(all_bytes_are(c, mi_usable_size(c), 0));
        memset(z, 0xFF, mi_usable_size(z));
        memset(c, 0xFF, mi_usable_size(c));
        mi_free(z);
        mi_free(c);
      }
    }
  }
}

/* Such requests either fail with NULL or return a correct block. */
static void offsets_with_very_large_alignments_fail_or_are_right(void) {
  block_is_right(mi_malloc_aligned_at(48, 32, 0), 48, 32, 0);
  block_is_right(mi_malloc_aligned_at(50, 32, 8), 50, 32, 8);
  for (size_t alignment = 32 * MIB; alignment <= 256 * MIB; alignment *= 2) {
    char* p = (char*)mi_malloc_aligned_at(1000, alignment, 24);
    if (p == NULL) continue;
    block_is_right(p, 1000, alignment, 24);
    mi_free(p);
  }
}

/* A block of size 0 with an offset must not start at the end of its block. */
static void size_zero_with_offset_stays_inside_its_block(void) {
  for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
    void* held[50];
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = mi_malloc_aligned_at(0, alignment, 8);
      REQUIRE(held[i] != NULL);
      if (!USABLE_IS_EXACT) CHECK_GE(mi_usable_size(held[i]), 1);
      CHECK(is_aligned((char*)held[i] + 8, alignment));
      for (size_t j = 0; j < i; j++) CHECK(held[i] != held[j]);
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  }
}

static size_t errors_reported;
static void on_error(int code, void* arg) {
  (void)code;
  (void)arg;
  errors_reported++;
}

/* An offset smaller than the default alignment makes pointers that no plain request returns. */
static void odd_pointers_are_freed_like_others(void) {
  mi_register_error(&on_error, NULL);
  size_t before = 0;
  for (size_t i = 0; i < 100000; i++) {
    size_t alignment = (size_t)2 << (i % 4); /* 2 to 16 */
    size_t offset = 1 + i / 4 % (alignment - 1);
    size_t size = i % 100 == 0 ? 300000 : 100;
    char* p = (char*)mi_malloc_aligned_at(size, alignment, offset);
    REQUIRE(p != NULL);
    if (!CHECK(is_aligned(p + offset, alignment))) {
      check_note("size %zu, alignment %zu, offset %zu, block %p\n", size, alignment, offset, p);
      return;
    }
    CHECK_GE(mi_usable_size(p), size);
    block_write_ends(p);
    mi_free(p);
    mi_free(mi_malloc_aligned_at(100, 4, 1));
    if (i == 5000) before = rss_bytes();
  }
  CHECK_EQ(errors_reported, 0);
  CHECK_LE(rss_bytes(), before + 2 * MIB);
  mi_register_error(NULL, NULL);
}

static void alignments_up_to_16_cost_nothing(void) {
  if (MI_TEST_DEBUG_FULL) return;
  for (size_t size = 16; size <= 1024; size += 16) {
    for (size_t alignment = 1; alignment <= 16; alignment *= 2) {
      void* p = mi_malloc_aligned(size, alignment);
      void* q = mi_malloc(size);
      CHECK_EQ(mi_usable_size(p), mi_usable_size(q));
      mi_free(p);
      mi_free(q);
    }
  }
  void* p = mi_malloc_aligned(48, 16);
  CHECK_EQ(mi_usable_size(p), 48);
  mi_free(p);
}

static void page_aligned_block_wastes_at_most_three_pages(void) {
  void* p = mi_malloc_aligned(4097, 4096);
  block_is_right(p, 4097, 4096, 0);
  CHECK_LE(mi_usable_size(p), 15999);
  mi_free(p);
}

static void contents_stay_apart(void) {
  enum { COUNT = 2000 };
  static void* blocks[COUNT];
  static size_t sizes[COUNT];
  rng_t rng = {7};
  for (size_t i = 0; i < COUNT; i++) {
    size_t alignment = (size_t)1 << rng_below(&rng, 14);
    sizes[i] = rng_size(&rng, 20000);
    blocks[i] = mi_malloc_aligned(sizes[i], alignment);
    REQUIRE(blocks[i] != NULL && is_aligned(blocks[i], alignment));
    pattern_fill(blocks[i], sizes[i], (unsigned)i);
  }
  for (size_t i = 0; i < COUNT; i++) {
    CHECK(pattern_holds(blocks[i], sizes[i], (unsigned)i));
    mi_free(blocks[i]);
  }
}

static const check_case_t cases[] = {
    CASE(every_alignment_up_to_1_gib_with_every_kind_of_size),
    CASE(zeroed_for_every_alignment_up_to_128_mib),
    CASE(thirteen_fold_sizes_eight_alive_at_once),
    CASE(sizes_up_to_1_mib_with_alignments_up_to_64_kib),
    CASE(sizes_up_to_2048_ten_alive_at_once),
    CASE(offsets_are_honoured),
    CASE(offsets_with_very_large_alignments_fail_or_are_right),
    CASE(size_zero_with_offset_stays_inside_its_block),
    CASE(odd_pointers_are_freed_like_others),
    CASE(alignments_up_to_16_cost_nothing),
    CASE(page_aligned_block_wastes_at_most_three_pages),
    CASE(contents_stay_apart),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
