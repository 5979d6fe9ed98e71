/* realloc.c - contents survive each change of size, alignment holds, the zeroing forms zero
 * what they add, and failure leaves the old block alone.
 */
#include "probe.h"
#include <mimalloc.h>

#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

/* Small, medium, large and huge, on both sides of likely limits. */
static const size_t sizes[] = {
    1,         8,      16,        17,     24,   100,      112,       113,        500,       1000,
    1024,      1025,   4096,      4097,   8192, 16 * KIB, 16384 + 1, 64 * KIB,   65536 + 1, 100000,
    128 * KIB, 131073, 512 * KIB, 524289, MIB,  MIB + 1,  2 * MIB,   4 * MIB + 1};
static const size_t huge_sizes[] = {100,      64 * KIB,     600 * KIB, 8 * MIB,
                                    16 * MIB, 16 * MIB + 1, 33 * MIB,  64 * MIB + 8};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void realloc_pairs(const size_t* list, size_t count) {
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < count; j++) {
      unsigned seed = (unsigned)(i * 64 + j);
      char* p = (char*)mi_malloc(list[i]);
      REQUIRE(p != NULL);
      pattern_fill(p, list[i], seed);
      char* q = (char*)opaque(mi_realloc(p, list[j]));
      REQUIRE(q != NULL);
      CHECK(is_aligned(q, 16));
      CHECK_GE(mi_usable_size(q), list[j]);
      if (!CHECK(pattern_holds(q, least(list[i], list[j]), seed))) {
        check_note("from %zu to %zu\n", list[i], list[j]);
      }
      ((volatile char*)q)[mi_usable_size(q) - 1] = 1;
      mi_free(q);
    }
  }
}

static void contents_survive_every_change_of_size(void) { realloc_pairs(sizes, COUNT_OF(sizes)); }
/* realloc-never-gives-back: a vector that shrinks to fit does not keep its old memory. */
static void block_that_becomes_much_smaller_keeps_at_most_twice_its_size(void) {
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    for (size_t newsize = sizes[i] / 3; newsize >= 64; newsize /= 3) {
      void* p = mi_malloc(sizes[i]);
      void* z = mi_zalloc(sizes[i]);
      void* a = mi_malloc_aligned(sizes[i], 64);
      REQUIRE(p != NULL && z != NULL && a != NULL);
      REQUIRE((p = mi_realloc(p, newsize)) != NULL);
      REQUIRE((z = mi_rezalloc(z, newsize)) != NULL);
      REQUIRE((a = mi_realloc_aligned(a, newsize, 64)) != NULL);
      size_t most = newsize > 64 * KIB ? newsize + (IS_WASM ? 64 * KIB : OS_PAGE) : 2 * newsize;
      CHECK_LE(mi_usable_size(p), most);
      CHECK_LE(mi_usable_size(z), most);
      CHECK_LE(mi_usable_size(a), most);
      mi_free(p);
      mi_free(z);
      mi_free(a);
    }
  }
}

/* True if both sizes round up to the same usable size. */
static bool is_same_class(size_t a, size_t b) { return mi_good_size(a) == mi_good_size(b); }

/* True if the block has not moved; `q` is the block now. */
static bool stays(void** p, void* q) {
  bool same = opaque(q) == *p;
  *p = q;
  return same;
}

static void resize_within_a_class_stays(void) {
  for (size_t from = 0; from <= 400; from++) {
    for (size_t to = 0; to <= from + 20; to++) {
      if (!is_same_class(from, to)) continue;
      void* p = mi_malloc(from);
      void* z = mi_zalloc(from);
      void* c = mi_calloc(from, 1);
      void* n = mi_malloc(from);
      REQUIRE(p != NULL && z != NULL && c != NULL && n != NULL);
      bool same = stays(&p, mi_realloc(p, to));
      same &= stays(&z, mi_rezalloc(z, to));
      same &= stays(&c, mi_recalloc(c, to, 1));
      same &= stays(&n, mi_reallocarray(n, to, 1));
      if (!CHECK(same)) {
        check_note("from %zu to %zu\n", from, to);
        return;
      }
      mi_free(p);
      mi_free(z);
      mi_free(c);
      mi_free(n);
    }
  }
  for (size_t from = 500; from <= 70000; from += from / 7) {
    void* p = mi_malloc(from);
    REQUIRE(p != NULL);
    for (size_t to = from - from / 9; to <= from + from / 9; to++) {
      if (is_same_class(from, to) && !CHECK(stays(&p, mi_realloc(p, to)))) return;
    }
    mi_free(p);
  }
}

/* With an alignment, sizes that round up to the same multiple share a class. */
static void resize_within_an_aligned_class_stays(void) {
  for (size_t alignment = 32; alignment <= 512; alignment *= 2) {
    for (size_t from = 1; from <= 2 * alignment; from += 5) {
      for (size_t to = 1; to <= from; to += 3) {
        if (round_up(from + SEAL_BYTES, alignment) != round_up(to + SEAL_BYTES, alignment))
          continue;
        void* p = mi_malloc_aligned(from, alignment);
        REQUIRE(p != NULL);
        if (!CHECK(stays(&p, mi_realloc_aligned(p, to, alignment)))) {
          check_note("from %zu to %zu, alignment %zu\n", from, to, alignment);
          return;
        }
        mi_free(p);
      }
    }
  }
  void* p = mi_malloc_aligned(5000, 256 * KIB); /* a page of its own, as each such block */
  REQUIRE(p != NULL);
  CHECK(stays(&p, mi_realloc_aligned(p, 10, 256 * KIB)));
  mi_free(p);
  for (size_t to = 2; to <= 17; to++) { /* with the room for the offset: 65 to 80 bytes */
    void* q = mi_malloc_aligned_at(17, 64, 8);
    REQUIRE(q != NULL);
    if (MI_TEST_SECURE == 0) CHECK(stays(&q, mi_realloc_aligned_at(q, to, 64, 8)));
    mi_free(q);
  }
  for (size_t to = 1; to <= 8; to++) { /* the smallest class of both functions */
    void* q = mi_malloc_align8(8);
    REQUIRE(q != NULL);
    CHECK(stays(&q, mi_realloc_align8(q, to)));
    CHECK(stays(&q, mi_realloc(q, to)));
    mi_free(q);
  }
}

static void contents_survive_every_change_of_huge_size(void) {
  realloc_pairs(huge_sizes, COUNT_OF(huge_sizes));
}

/* A chain of changes on one block, with neighbours that must not be touched. */
/* realloc-growth-without-slack: a buffer that grows by small steps is not copied in each class. */
static void growth_by_small_steps_moves_rarely(void) {
  size_t moves = 0;
  char* p = (char*)mi_malloc(64);
  REQUIRE(p != NULL);
  memset(p, 64 >> 6, 64);
  for (size_t size = 128; size <= 8 * KIB; size += 64) {
    void* old = p;
    p = (char*)opaque(mi_realloc(p, size));
    REQUIRE(p != NULL);
    if (!stays(&old, p)) moves++;
    CHECK_EQ(p[size - 65], (size - 64) >> 6 & 0x7F);
    memset(p + size - 64, (int)(size >> 6 & 0x7F), 64);
    CHECK_LE(mi_usable_size(p), size + size / 2);
  }
  if (MI_TEST_SECURE == 0) CHECK_LE(moves, 24); /* 40 classes */
  mi_free(p);
}

static void contents_survive_a_chain_of_changes(void) {
  rng_t rng = {11};
  enum { BLOCKS = 50, STEPS = 4000 };
  char* blocks[BLOCKS] = {0};
  size_t size[BLOCKS] = {0};
  for (size_t step = 0; step < check_scaled(STEPS); step++) {
    size_t i = rng_below(&rng, BLOCKS);
    size_t next = rng_size(&rng, rng_below(&rng, 20) == 0 ? 6 * MIB : 100 * KIB);
    CHECK(pattern_holds(blocks[i], least(size[i], 100 * KIB), (unsigned)i));
    blocks[i] = (char*)mi_realloc(blocks[i], next);
    REQUIRE(blocks[i] != NULL);
    if (!CHECK(pattern_holds(blocks[i], least(size[i], next), (unsigned)i))) return;
    size[i] = next;
    pattern_fill(blocks[i], next, (unsigned)i);
  }
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
}

static void contents_survive_in_the_other_forms(void) {
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    for (size_t j = 0; j < COUNT_OF(sizes); j += 3) {
      size_t kept = least(sizes[i], sizes[j]);
      void* p = mi_malloc(sizes[i]);
      REQUIRE(p != NULL);
      pattern_fill(p, sizes[i], 1);
      p = mi_reallocn(p, sizes[j], 1);
      CHECK(p != NULL && pattern_holds(p, kept, 1));
      pattern_fill(p, sizes[j], 2);
      p = mi_reallocf(p, sizes[i]);
      CHECK(p != NULL && pattern_holds(p, kept, 2));
      pattern_fill(p, sizes[i], 3);
      p = mi_reallocarray(p, 1, sizes[j]);
      CHECK(p != NULL && pattern_holds(p, kept, 3));
      pattern_fill(p, sizes[j], 4);
      p = mi_realloc_align8(p, sizes[i]);
      CHECK(p != NULL && pattern_holds(p, kept, 4));
      mi_free(p);
    }
  }
}

static void realloc_aligned_always_aligns_the_result(void) {
  const size_t few[] = {1, 40, 1000, 5000, 70000, 600000, 5000000};
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    for (size_t i = 0; i < COUNT_OF(few); i++) {
      for (size_t j = 0; j < COUNT_OF(few); j++) {
        /* The old block lies 8 bytes off the requested alignment. */
        char* p = (char*)mi_malloc_aligned_at(few[i], alignment < 16 ? 16 : alignment, 8);
        REQUIRE(p != NULL);
        pattern_fill(p, few[i], 6);
        char* q = (char*)mi_realloc_aligned(p, few[j], alignment);
        REQUIRE(q != NULL);
        if (!CHECK(is_aligned(q, alignment))) {
          check_note("from %zu to %zu, alignment %zu\n", few[i], few[j], alignment);
        }
        CHECK_GE(mi_usable_size(q), few[j]);
        CHECK(pattern_holds(q, least(few[i], few[j]), 6));
        q = (char*)mi_realloc_aligned(q, few[i], alignment);
        REQUIRE(q != NULL);
        CHECK(is_aligned(q, alignment));
        CHECK(pattern_holds(q, least(few[i], few[j]), 6));
        mi_free(q);
      }
    }
  }
}

/* Found by fuzzing: the header declares the alignment to compilers, also for size 0. */
static void aligned_block_that_becomes_empty_is_aligned(void) {
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    for (int i = 0; i < 20; i++) { /* some are an odd multiple of 8 apart */
      void* p = mi_realloc_aligned(mi_malloc(100), opaque_size(0), alignment);
      REQUIRE(p != NULL);
      CHECK(is_aligned(p, alignment));
      void* q = mi_recalloc_aligned(mi_malloc(100), opaque_size(0), 10, alignment);
      REQUIRE(q != NULL);
      CHECK(is_aligned(q, alignment));
      if (i % 2 == 0) mi_free(p);
      if (i % 3 == 0) mi_free(q);
    }
  }
}

/* A block at an odd address, from an aligned offset, once stayed in place although the request or
 * the function required an alignment. */
static void block_at_an_odd_address_does_not_stay_there(void) {
  for (size_t size = 1; size < 16; size++) {
    for (size_t alignment = 2; alignment <= 8; alignment *= 2) {
      for (int kind = 0; kind < 4; kind++) {
        char* p = (char*)opaque(mi_malloc_aligned_at(15, alignment, alignment - 1));
        REQUIRE(p != NULL);
        pattern_fill(p, 15, 8);
        void* q = kind == 0   ? mi_realloc_aligned(p, size, alignment)
                  : kind == 1 ? mi_rezalloc_aligned(p, size, alignment)
                  : kind == 2 ? mi_realloc(p, size)
                              : mi_rezalloc(p, size);
        q = opaque(q); /* hides the alignment from the compiler */
        REQUIRE(q != NULL);
        CHECK(is_aligned(q, kind < 2 ? alignment : 8));
        CHECK(pattern_holds(q, size, 8));
        mi_free(q);
      }
    }
  }
}

/* A large block that fits in place moves if its address is not aligned. */
static void large_blocks_are_aligned_above_64_kib(void) {
  const size_t next[] = {210000, 200000, 150000, 140000, 900000, 7 * MIB};
  for (size_t alignment = 128 * KIB; alignment <= 16 * MIB; alignment *= 2) {
    for (size_t i = 0; i < COUNT_OF(next); i++) {
      void* held[4];
      for (size_t j = 0; j < COUNT_OF(held); j++) { /* not all are aligned by chance */
        char* p = (char*)mi_malloc(200000);
        REQUIRE(p != NULL);
        pattern_fill(p, 200000, (unsigned)j);
        char* q = (char*)mi_realloc_aligned(p, next[i], alignment);
        REQUIRE(q != NULL);
        if (!CHECK(is_aligned(q, alignment))) {
          check_note("from 200000 to %zu, alignment %zu\n", next[i], alignment);
        }
        CHECK_GE(mi_usable_size(q), next[i]);
        CHECK(pattern_holds(q, least(200000, next[i]), (unsigned)j));
        q = (char*)mi_realloc_aligned(q, 200000, alignment * 2);
        REQUIRE(q != NULL);
        CHECK(is_aligned(q, alignment * 2));
        CHECK(pattern_holds(q, least(200000, next[i]), (unsigned)j));
        held[j] = q;
      }
      for (size_t j = 0; j < COUNT_OF(held); j++) mi_free(held[j]);
    }
  }
}

static void realloc_aligned_of_null_allocates(void) {
  for (size_t alignment = 1; alignment <= 64 * MIB; alignment *= 8) {
    void* p = mi_realloc_aligned(NULL, 100, alignment);
    void* q = mi_realloc_aligned_at(NULL, 100, alignment <= 16 * MIB ? alignment : 16, 8);
    void* r = mi_rezalloc_aligned(NULL, 100, alignment);
    void* s = mi_recalloc_aligned(NULL, 10, 10, alignment);
    REQUIRE(p != NULL && q != NULL && r != NULL && s != NULL);
    CHECK(is_aligned(p, alignment));
    CHECK(is_aligned((char*)q + 8, alignment <= 16 * MIB && alignment > 8 ? alignment : 8));
    CHECK(is_aligned(r, alignment) && all_bytes_are(r, mi_usable_size(r), 0));
    CHECK(is_aligned(s, alignment) && all_bytes_are(s, mi_usable_size(s), 0));
    mi_free(p);
    mi_free(q);
    mi_free(r);
    mi_free(s);
  }
}

/* The offset also holds where the block could stay in place. */
static void realloc_aligned_at_keeps_the_given_offset(void) {
  const size_t few[] = {40, 100, 1000, 5000, 70000, 600000};
  for (size_t alignment = 16; alignment <= 64 * KIB; alignment *= 2) {
    for (size_t offset = 0; offset <= 32; offset += 8) {
      for (size_t i = 0; i < COUNT_OF(few); i++) {
        size_t size = few[i];
        char* p = (char*)mi_malloc_aligned(size, alignment); /* aligned at offset 0 */
        REQUIRE(p != NULL);
        pattern_fill(p, size, 8);
        size_t steps[] = {size, size - size / 8, size * 2, size / 3 + 1};
        size_t kept = size;
        for (size_t j = 0; j < COUNT_OF(steps); j++) {
          p = (char*)mi_realloc_aligned_at(p, steps[j], alignment, offset);
          REQUIRE(p != NULL);
          if (!CHECK(is_aligned(p + offset, alignment))) {
            check_note("step %zu from %zu to %zu, alignment %zu, offset %zu\n", j, size, steps[j],
                       alignment, offset);
          }
          kept = least(kept, steps[j]);
          CHECK(pattern_holds(p, kept, 8));
        }
        mi_free(p);
      }
    }
  }
}

static void failure_leaves_the_block_alone(void) {
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    char* p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    pattern_fill(p, sizes[i], 12);
    const size_t impossible[] = {TOO_LARGE, SIZE_MAX, SIZE_MAX / 2 - (SIZE_MAX >> 17)};
    for (size_t j = 0; j < COUNT_OF(impossible); j++) {
      CHECK_NULL(mi_realloc(p, opaque_size(impossible[j])));
      CHECK_NULL(mi_realloc_aligned(p, opaque_size(impossible[j]), 64));
      CHECK_NULL(mi_rezalloc(p, opaque_size(impossible[j])));
      CHECK_NULL(mi_realloc_align8(p, opaque_size(impossible[j])));
    }
    CHECK(pattern_holds(p, sizes[i], 12));
    mi_free(p);
  }
}

/* The same for the reallocating forms, also below the size of a pointer. */
static void wrong_alignment_leaves_the_block_alone(void) {
  const size_t wrong[] = {0, 3, 5, 6, 7, 12, 24, 48, 100, 4097};
  char* p = (char*)mi_malloc(100);
  REQUIRE(p != NULL);
  pattern_fill(p, 100, 13);
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    size_t a = opaque_size(wrong[i]);
    const size_t few[] = {1, 100, 5000, 300000};
    for (size_t j = 0; j < COUNT_OF(few); j++) {
      size_t size = few[j];
      errno = 0;
      if (!CHECK_NULL(mi_realloc_aligned(p, size, a))) return; /* p is gone */
      CHECK_EQ(errno, EINVAL);
      errno = 0;
      if (!CHECK_NULL(mi_realloc_aligned_at(p, size, a, 8))) return;
      CHECK_EQ(errno, EINVAL);
      errno = 0;
      if (!CHECK_NULL(mi_rezalloc_aligned(p, size, a))) return;
      CHECK_EQ(errno, EINVAL);
      errno = 0;
      if (!CHECK_NULL(mi_recalloc_aligned(p, size, 1, a))) return;
      CHECK_EQ(errno, EINVAL);
    }
  }
  CHECK(pattern_holds(p, 100, 13));
  mi_free(p);
}

/* ---- zeroing forms ------------------------------------------------------------- */

typedef void* rezalloc_t(void* p, size_t newsize);
static void* rezalloc_recalloc(void* p, size_t n) { return mi_recalloc(p, n, 1); }
static void* rezalloc_aligned_64(void* p, size_t n) { return mi_rezalloc_aligned(p, n, 64); }
static void* rezalloc_recalloc_aligned_64(void* p, size_t n) {
  return mi_recalloc_aligned(p, n, 1, 64);
}
static void* rezalloc_aligned_at_64_8(void* p, size_t n) {
  return mi_rezalloc_aligned_at(p, n, 64, 8);
}
static void* rezalloc_recalloc_aligned_at_64_8(void* p, size_t n) {
  return mi_recalloc_aligned_at(p, n, 1, 64, 8);
}

/* Makes recycled memory of many sizes dirty, so that it is not zero by chance. */
static void dirty_memory(void) {
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    void* held[8];
    for (size_t j = 0; j < COUNT_OF(held); j++) {
      held[j] = mi_malloc(sizes[i]);
      REQUIRE(held[j] != NULL);
      memset(held[j], 0xEE, mi_usable_size(held[j]));
    }
    for (size_t j = 0; j < COUNT_OF(held); j++) mi_free(held[j]);
  }
}

/* Zero from the old usable size on, up to the new usable size. */
static void check_rezalloc(rezalloc_t* rezalloc) {
  dirty_memory();
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    for (size_t j = i; j < COUNT_OF(sizes); j++) {
      if (sizes[j] > MIB && (i + j) % 3 != 0) continue;
      char* p = (char*)rezalloc(NULL, sizes[i]);
      REQUIRE(p != NULL);
      size_t old_usable = mi_usable_size(p);
      CHECK(all_bytes_are(p, old_usable, 0));
      memset(p, 0xAA, old_usable);
      char* q = (char*)rezalloc(p, sizes[j]);
      REQUIRE(q != NULL);
      size_t usable = mi_usable_size(q);
      CHECK_GE(usable, sizes[j]);
      size_t kept = least(old_usable, sizes[j]);
      bool ok = CHECK(all_bytes_are(q, kept, 0xAA));
      if (usable > old_usable) {
        ok = CHECK(all_bytes_are(q + old_usable, usable - old_usable, 0)) && ok;
      }
      if (!ok) check_note("from %zu (usable %zu) to %zu\n", sizes[i], old_usable, sizes[j]);
      memset(q, 0xBB, usable);
      mi_free(q);
    }
  }
}

static void rezalloc_zeroes_what_it_adds(void) { check_rezalloc(&mi_rezalloc); }
static void recalloc_zeroes_what_it_adds(void) { check_rezalloc(&rezalloc_recalloc); }
static void rezalloc_aligned_zeroes_what_it_adds(void) { check_rezalloc(&rezalloc_aligned_64); }
static void recalloc_aligned_zeroes_what_it_adds(void) {
  check_rezalloc(&rezalloc_recalloc_aligned_64);
}
static void rezalloc_aligned_at_zeroes_what_it_adds(void) {
  check_rezalloc(&rezalloc_aligned_at_64_8);
}
static void recalloc_aligned_at_zeroes_what_it_adds(void) {
  check_rezalloc(&rezalloc_recalloc_aligned_at_64_8);
}

/* A block that grew to three times its size is zero as a whole. */
static void tripled_zero_blocks_are_zero(void) {
  dirty_memory();
  for (size_t size = 1; size <= 8 * MIB; size = size * 2 + 5) {
    char* p = (char*)mi_zalloc(size);
    REQUIRE(p != NULL);
    p = (char*)mi_rezalloc(p, size * 3);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, mi_usable_size(p), 0));
    p = (char*)mi_recalloc(p, size * 2, 3);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, mi_usable_size(p), 0));
    memset(p, 0xEE, mi_usable_size(p));
    mi_free(p);
  }
}

/* A block that shrinks by moving and grows again must not show old contents. */
static void shrunk_and_grown_again_is_zero_after_the_old_contents(void) {
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t large = sizes[i] * 4;
    char* p = (char*)mi_zalloc(large);
    REQUIRE(p != NULL);
    p = (char*)mi_rezalloc(p, sizes[i]);
    REQUIRE(p != NULL);
    size_t middle = mi_usable_size(p);
    memset(p, 0xCC, middle);
    p = (char*)mi_rezalloc(p, large);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, least(middle, large), 0xCC));
    size_t usable = mi_usable_size(p);
    if (usable > middle) CHECK(all_bytes_are(p + middle, usable - middle, 0));
    memset(p, 0xEE, usable);
    mi_free(p);
  }
}

static const check_case_t cases[] = {
    CASE(contents_survive_every_change_of_size),
    CASE(contents_survive_every_change_of_huge_size),
    CASE(block_that_becomes_much_smaller_keeps_at_most_twice_its_size),
    CASE(resize_within_a_class_stays),
    CASE(resize_within_an_aligned_class_stays),
    CASE(growth_by_small_steps_moves_rarely),
    CASE(contents_survive_a_chain_of_changes),
    CASE(contents_survive_in_the_other_forms),
    CASE(realloc_aligned_always_aligns_the_result),
    CASE(aligned_block_that_becomes_empty_is_aligned),
    CASE(block_at_an_odd_address_does_not_stay_there),
    CASE(large_blocks_are_aligned_above_64_kib),
    CASE(realloc_aligned_of_null_allocates),
    CASE(realloc_aligned_at_keeps_the_given_offset),
    CASE(failure_leaves_the_block_alone),
    CASE(wrong_alignment_leaves_the_block_alone),
    CASE(rezalloc_zeroes_what_it_adds),
    CASE(recalloc_zeroes_what_it_adds),
    CASE(rezalloc_aligned_zeroes_what_it_adds),
    CASE(recalloc_aligned_zeroes_what_it_adds),
    CASE(rezalloc_aligned_at_zeroes_what_it_adds),
    CASE(recalloc_aligned_at_zeroes_what_it_adds),
    CASE(tripled_zero_blocks_are_zero),
    CASE(shrunk_and_grown_again_is_zero_after_the_old_contents),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
