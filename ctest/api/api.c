/* api.c - the contract of each function of the header: ordinary calls, size 0, NULL,
 * overflow, wrong alignment. What fails and how it is reported is in error_reports.c, alignment in
 * aligned.c, contents over reallocation in realloc.c.
 */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif
#define WALK_END (1 * MIB)       /* sizes walked one by one */
#define LARGEST_CLASS (64 * MIB) /* boundaries of classes are looked for up to here */
#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

static const void* const foreign_addresses[] = {(void*)1,
                                                (void*)8,
                                                (void*)4096,
                                                (void*)65536,
                                                (void*)0x10000000,
                                                (void*)0x3fffffffff,
                                                (void*)0x7ffffffff000,
                                                (void*)0x7fffffffffff,
                                                (void*)0x800000000000,
                                                (void*)0xffff800000000000,
                                                (void*)0xffffffffff600000,
                                                (void*)(UINTPTR_MAX - 7),
                                                (void*)UINTPTR_MAX};

static int some_global = 1;

/* ---- size 0 and NULL --------------------------------------------------------- */

static void malloc_zero_gives_distinct_blocks(void) {
  void* blocks[100];
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    blocks[i] = opaque(mi_malloc(0));
    CHECK_NOT_NULL(blocks[i]);
    CHECK(is_aligned(blocks[i], 8));
    CHECK_LE(mi_usable_size(blocks[i]), 16);
    for (size_t j = 0; j < i; j++) CHECK(blocks[i] != blocks[j]);
  }
  for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
}

static void zero_sized_forms_give_blocks(void) {
  void* blocks[] = {mi_calloc(0, 8),
                    mi_calloc(8, 0),
                    mi_calloc(0, 0),
                    mi_calloc(0, 1000),
                    mi_zalloc(0),
                    mi_malloc_small(0),
                    mi_zalloc_small(0),
                    mi_mallocn(0, 16),
                    mi_mallocn(16, 0),
                    mi_malloc_align8(0),
                    mi_zalloc_align8(0),
                    mi_realloc(NULL, 0),
                    mi_realloc_align8(NULL, 0),
                    mi_reallocn(NULL, 0, 16),
                    mi_reallocf(NULL, 0),
                    mi_rezalloc(NULL, 0),
                    mi_recalloc(NULL, 0, 8),
                    mi_new(0),
                    mi_new_nothrow(0),
                    mi_memalign(32, 0),
                    mi_aligned_alloc(32, 0),
                    mi_malloc_aligned(0, 64),
                    mi_zalloc_aligned(0, 64),
                    mi_calloc_aligned(0, 8, 64),
                    mi_valloc(0),
                    mi_pvalloc(0),
                    mi_new_aligned(0, 32),
                    mi_new_aligned_nothrow(0, 32)};
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    blocks[i] = opaque(blocks[i]);
    CHECK_NOT_NULL(blocks[i]);
    for (size_t j = 0; j < i; j++) CHECK(blocks[i] != blocks[j]);
  }
  CHECK_LE(mi_usable_size(blocks[3]), 16);
  for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
}

static void free_of_null_is_ignored_and_keeps_errno(void) {
  errno = 4711;
  mi_free(NULL);
  mi_cfree(NULL);
  mi_free_size(NULL, 0);
  mi_free_size(NULL, 100);
  mi_free_size_aligned(NULL, 100, 16);
  mi_free_aligned(NULL, 16);
  CHECK_EQ(errno, 4711);
}

static void free_keeps_errno_for_all_sizes(void) {
  for (size_t size = 1; size <= 256 * MIB; size *= 4) {
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    touch_pages(p, size < MIB ? size : MIB);
    errno = 4711;
    mi_free(p);
    CHECK_EQ(errno, 4711);
  }
}

static void null_has_no_size(void) {
  CHECK_EQ(mi_usable_size(NULL), 0);
  CHECK_EQ(mi_malloc_size(NULL), 0);
  CHECK_EQ(mi_malloc_usable_size(NULL), 0);
  CHECK(!mi_is_in_heap_region(NULL));
}

static void expand_of_null_is_null(void) {
  CHECK_NULL(mi_expand(NULL, 0));
  CHECK_NULL(mi_expand(NULL, 10));
}

/* ---- sizes -------------------------------------------------------------------- */

static void blocks_are_aligned_to_16_from_size_1_on(void) {
  for (size_t size = 1; size <= 4096; size++) {
    void* blocks[3];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
      blocks[i] = mi_malloc(size);
      if (!CHECK(is_aligned(blocks[i], 16))) check_note("size %zu\n", size);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) mi_free(blocks[i]);
  }
}

static void align8_blocks_are_aligned_to_8(void) {
  for (size_t size = 0; size <= 4096; size++) {
    void* p = mi_malloc_align8(size);
    void* z = mi_zalloc_align8(size);
    CHECK_NOT_NULL(p);
    CHECK(is_aligned(p, 8));
    CHECK(is_aligned(z, 8));
    CHECK_GE(mi_usable_size(p), size);
    CHECK(all_bytes_are(z, mi_usable_size(z), 0));
    memset(p, 0xA5, mi_usable_size(p));
    memset(z, 0xA5, mi_usable_size(z));
    mi_free(p);
    mi_free(z);
  }
}

/* D4.27's cousin: a block of the 8-byte classes must not stay in place in a function
 * that promises 16. */
static void realloc_of_an_align8_block_is_aligned_to_16(void) {
  for (size_t size = 16; size <= 512; size += 8) {
    void* held[8];
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = mi_malloc_align8(size);
      REQUIRE(held[i] != NULL);
      pattern_fill(held[i], size, 3);
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = opaque(mi_realloc(held[i], size - 4));
      CHECK(is_aligned(held[i], 16));
      CHECK(pattern_holds(held[i], size - 4, 3));
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = mi_realloc_align8(held[i], size + 40);
      CHECK(is_aligned(held[i], 8));
      CHECK(pattern_holds(held[i], size - 4, 3));
      mi_free(held[i]);
    }
  }
}

static void good_size_is_monotonic_and_stable(void) {
  size_t last = mi_good_size(0);
  CHECK_LE(last, 16);
  for (size_t size = 1; size <= WALK_END; size++) {
    size_t good = mi_good_size(size);
    CHECK_GE(good, size);
    CHECK_GE(good, last);
    last = good;
    if (!MI_TEST_DEBUG_FULL) CHECK_EQ(mi_good_size(good), good);
  }
}

static void check_size(size_t size) {
  void* p = mi_malloc(size);
  if (!CHECK_NOT_NULL(p)) return;
  size_t usable = mi_usable_size(p);
  CHECK_GE(usable, size);
  CHECK_EQ(mi_malloc_size(p), usable);
  CHECK_EQ(mi_malloc_usable_size(p), usable);
  size_t expected = USABLE_IS_EXACT ? size : mi_good_size(size);
  if (!MI_TEST_DEBUG_FULL && !CHECK_EQ(usable, expected)) {
    check_note("for a request of %zu bytes\n", size);
  }
  CHECK_EQ(mi_malloc_good_size(size), mi_good_size(size));
  /* The ends of the usable part really are ours. */
  bool is_accessible = usable != 0 || !SIZE_0_IS_INACCESSIBLE;
  if (is_accessible) ((volatile char*)p)[0] = 1;
  if (usable != 0) ((volatile char*)p)[usable - 1] = 2;
  void* q = mi_malloc(size);
  CHECK_NOT_NULL(q);
  if (q != NULL && usable != 0) ((volatile char*)q)[mi_usable_size(q) - 1] = 3;
  if (is_accessible) CHECK_EQ(((volatile char*)p)[0], usable == 1 ? 2 : 1);
  mi_free(q);
  mi_free(p);
}

/* The boundaries are found by asking, so the test knows nothing of the classes. */
static void usable_size_is_good_size_around_each_class_boundary(void) {
  size_t boundaries = 0;
  for (size_t size = 1; size <= LARGEST_CLASS;) {
    size_t good = mi_good_size(size);
    if (!CHECK_GE(good, size)) return;
    check_size(good - 1);
    check_size(good);
    check_size(good + 1);
    boundaries++;
    /* Above 64 KiB a class is an OS page wide: look at some of them only. */
    size_t step = good < 128 * KIB ? 1 : good / 37;
    size = good + step;
  }
  check_note("%zu class boundaries\n", boundaries);
  CHECK_GE(boundaries, 30);
}

/* D7.59: around each power of two. */
static void sizes_around_powers_of_two_work(void) {
  for (unsigned bit = 0; bit <= (IS_64_BIT ? 33 : 29); bit++) {
    for (int delta = -1; delta <= 1; delta++) check_size(((size_t)1 << bit) + (size_t)delta);
  }
}

/* D5.41 */
static void good_size_never_overflows(void) {
  const size_t sizes[] = {SIZE_MAX,      SIZE_MAX - 1,           SIZE_MAX - 4095,
                          SIZE_MAX / 2,  (size_t)PTRDIFF_MAX,    TOO_LARGE,
                          SIZE_MAX - 15, SIZE_MAX - 64 * KIB + 1};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    CHECK(mi_good_size(sizes[i]) == sizes[i]);
    CHECK(mi_malloc_good_size(sizes[i]) == sizes[i]);
  }
}

/* The block of 64 MiB and 8 bytes that once failed. */
static void odd_huge_size_works(void) { check_size(67108872); }

/* ---- the other allocating forms ------------------------------------------------- */

static void calloc_is_zero_over_its_usable_size(void) {
  for (size_t size = 1; size <= 4 * MIB; size = size * 3 / 2 + 1) {
    for (int round = 0; round < 3; round++) {
      void* p = mi_calloc(size, 3);
      REQUIRE(p != NULL);
      CHECK_GE(mi_usable_size(p), size * 3);
      CHECK(all_bytes_are(p, mi_usable_size(p), 0));
      memset(p, 0xFF, mi_usable_size(p));
      mi_free(p);
    }
  }
}

static void small_forms_work_up_to_their_limit(void) {
  for (size_t size = 0; size <= MI_SMALL_SIZE_MAX; size++) {
    void* p = mi_malloc_small(size);
    void* z = mi_zalloc_small(size);
    REQUIRE(p != NULL && z != NULL);
    CHECK_GE(mi_usable_size(p), size);
    CHECK(is_aligned(p, size == 0 ? 8 : 16));
    CHECK(all_bytes_are(z, mi_usable_size(z), 0));
    memset(p, 0xFF, mi_usable_size(p));
    memset(z, 0xFF, mi_usable_size(z));
    mi_free(p);
    mi_free(z);
  }
}

/* D5.38, D5.44: products that do not fit give NULL and leave the old block alone. */
static void overflowing_products_give_null(void) {
  size_t half = opaque_size(SIZE_MAX / 2 + 1);
  size_t root = opaque_size((size_t)1 << (sizeof(size_t) * 4));
  const size_t products[][2] = {{half, 2},     {2, half},        {root, root}, {SIZE_MAX, SIZE_MAX},
                                {SIZE_MAX, 2}, {3, SIZE_MAX / 2}};
  for (size_t i = 0; i < COUNT_OF(products); i++) {
    size_t count = products[i][0];
    size_t size = products[i][1];
    CHECK_NULL(mi_calloc(count, size));
    CHECK_NULL(mi_mallocn(count, size));
    CHECK_NULL(mi_calloc_aligned(count, size, 64));
    CHECK_NULL(mi_calloc_aligned_at(count, size, 64, 8));
    CHECK_NULL(mi_reallocn(NULL, count, size));
    CHECK_NULL(mi_recalloc(NULL, count, size));
    char* p = (char*)mi_zalloc(100);
    REQUIRE(p != NULL);
    pattern_fill(p, 100, 5);
    CHECK_NULL(mi_reallocn(p, count, size));
    CHECK_NULL(mi_recalloc(p, count, size));
    CHECK_NULL(mi_recalloc_aligned(p, count, size, 64));
    CHECK_NULL(mi_recalloc_aligned_at(p, count, size, 64, 8));
    errno = 0;
    CHECK_NULL(mi_reallocarray(p, count, size));
    CHECK_EQ(errno, EOVERFLOW);
    CHECK(pattern_holds(p, 100, 5));
    mi_free(p);
  }
}

static void reallocarray_sets_errno_on_failure_only(void) {
  errno = 0;
  void* p = mi_reallocarray(NULL, 0, 16);
  CHECK_NOT_NULL(p);
  CHECK_EQ(errno, 0);
  p = mi_reallocarray(p, 10, 16);
  CHECK_NOT_NULL(p);
  CHECK_EQ(errno, 0);
  CHECK_GE(mi_usable_size(p), 160);
  pattern_fill(p, 160, 9);
  CHECK_NULL(mi_reallocarray(p, opaque_size(TOO_LARGE), 1));
  CHECK_EQ(errno, ENOMEM);
  CHECK(pattern_holds(p, 160, 9));
  mi_free(p);
}

static void reallocf_frees_the_block_when_it_fails(void) {
  size_t before = 0;
  for (int round = 0; round < 2000; round++) {
    void* p = mi_malloc(MIB);
    REQUIRE(p != NULL);
    touch_pages(p, MIB);
    CHECK_NULL(mi_reallocf(p, opaque_size(TOO_LARGE)));
    if (round == 20) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 64 * MIB); /* 2 GiB were it kept */
  void* p = mi_reallocf(NULL, 100);
  CHECK_NOT_NULL(p);
  p = mi_reallocf(p, 1000);
  CHECK_GE(mi_usable_size(p), 1000);
  mi_free(p);
}

static void realloc_in_place_between_half_and_all_of_the_block(void) {
  if (MI_TEST_DEBUG_FULL) return;
  for (size_t size = 16; size <= 64 * KIB; size = size * 2 - size / 4) {
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    size_t usable = mi_usable_size(p);
    CHECK_SAME(mi_realloc(p, usable), p);
    if (!USABLE_IS_EXACT) { /* there a block is not kept for what leaves much of it unused */
      CHECK_SAME(mi_realloc(p, usable - usable / 4), p);
      CHECK_SAME(mi_realloc(p, (usable + 1) / 2), p);
      CHECK_EQ(mi_usable_size(p), usable);
    }
    mi_free(p);
  }
}

/* 2.1.7 pins the first byte; a program may take the block for an empty string. */
static void realloc_to_zero_gives_a_small_block_that_starts_with_zero(void) {
  for (size_t size = 1; size <= 32 * MIB; size *= 8) {
    for (int round = 0; round < 10; round++) {
      char* p = (char*)mi_malloc(size);
      REQUIRE(p != NULL);
      memset(p, 0xFF, size < MIB ? size : MIB);
      char* q = (char*)mi_realloc(p, opaque_size(0));
      REQUIRE(q != NULL);
      if (!SIZE_0_IS_INACCESSIBLE) CHECK_EQ(q[0], 0);
      CHECK_LE(mi_usable_size(q), 16);
      mi_free(q);
    }
  }
}

/* D4.34 */
static void expand_never_moves_and_keeps_the_block(void) {
  for (size_t size = 1; size <= 64 * MIB; size = size * 5 + 3) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    size_t usable = mi_usable_size(p);
    pattern_fill(p, usable, 2);
    CHECK_NULL(mi_expand(p, opaque_size(TOO_LARGE)));
    CHECK_NULL(mi_expand(p, opaque_size(SIZE_MAX)));
    if (!MI_TEST_DEBUG_FULL) {
      CHECK_SAME(mi_expand(p, usable), p);
      if (!USABLE_IS_EXACT) CHECK_SAME(mi_expand(p, 1), p);
    }
    /* Growing where it lies is allowed for what can grow; moving is not. */
    void* grown = mi_expand(p, usable + 1);
    CHECK(grown == NULL || grown == p);
    if (grown == NULL) CHECK_EQ(mi_usable_size(p), usable);
    CHECK(pattern_holds(p, usable, 2));
    mi_free(p);
  }
}

/* ---- strings ------------------------------------------------------------------------ */

static void strings_are_copied(void) {
  CHECK_NULL(mi_strdup(NULL));
  CHECK_NULL(mi_strndup(NULL, 5));
  char* s = mi_strdup("");
  CHECK_TEXT(s, "");
  mi_free(s);
  s = mi_strdup("four and twenty blackbirds");
  CHECK_TEXT(s, "four and twenty blackbirds");
  mi_free(s);
  s = mi_strndup("four and twenty", 4);
  CHECK_TEXT(s, "four");
  mi_free(s);
  s = mi_strndup("four", 400);
  CHECK_TEXT(s, "four");
  mi_free(s);
  s = mi_strndup("four", 0);
  CHECK_TEXT(s, "");
  mi_free(s);
  s = mi_strndup("four", SIZE_MAX);
  CHECK_TEXT(s, "four");
  mi_free(s);
}

/* D5.39: the source ends at an inaccessible page and has no terminator. */
static void strndup_reads_no_more_than_n_bytes(void) {
  char* map =
      (char*)mmap(NULL, 2 * OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED);
  REQUIRE(mprotect(map + OS_PAGE, OS_PAGE, PROT_NONE) == 0);
  memcpy(map + OS_PAGE - 5, "abcde", 5);
  char* s = mi_strndup(map + OS_PAGE - 5, 5);
  CHECK_TEXT(s, "abcde");
  mi_free(s);
  s = mi_strndup(map + OS_PAGE - 5, 3);
  CHECK_TEXT(s, "abc");
  mi_free(s);
  munmap(map, 2 * OS_PAGE);
}

static void realpath_gives_our_block_or_fills_the_buffer(void) {
  NOT_ON_WINDOWS("paths that begin with /");
  char expected[PATH_MAX];
  REQUIRE(realpath(".", expected) == expected);
  char* path = mi_realpath(".", NULL);
  CHECK_TEXT(path, expected);
  CHECK(mi_is_in_heap_region(path));
  mi_free(path);
  char buffer[PATH_MAX];
  /* Not hidden from the compiler: a declaration that promises a new block fails here. */
  CHECK_SAME(mi_realpath("/proc/../", buffer), buffer);
  CHECK_TEXT(buffer, "/");
  errno = 0;
  CHECK_NULL(mi_realpath("/no/such/file/anywhere", NULL));
  CHECK_EQ(errno, ENOENT);
  errno = 0;
  CHECK_NULL(mi_realpath("/no/such/file/anywhere", buffer));
  CHECK_EQ(errno, ENOENT);
  errno = 0;
  CHECK_NULL(mi_realpath(NULL, NULL));
  CHECK_EQ(errno, EINVAL);
}

/* ---- addresses that are not ours ------------------------------------------------------ */

static void foreign_addresses_are_recognised(void) {
  int local = 0;
  CHECK(!mi_is_in_heap_region(&local));
  CHECK(!mi_is_in_heap_region(&some_global));
  CHECK(!mi_is_in_heap_region((void*)(uintptr_t)&foreign_addresses_are_recognised));
  for (size_t i = 0; i < COUNT_OF(foreign_addresses); i++) {
    if (!CHECK(!mi_is_in_heap_region(foreign_addresses[i]))) {
      check_note("address %p\n", foreign_addresses[i]);
    }
  }
  for (size_t size = 1; size <= 256 * MIB; size *= 4) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    CHECK(mi_is_in_heap_region(p));
    CHECK(mi_is_in_heap_region(p + size / 2));
    CHECK(mi_is_in_heap_region(p + size - 1));
    mi_free(p);
  }
}

/* D5.45 */
static void ignore_error(int code, void* arg) { (void)code, (void)arg; }

static void foreign_addresses_have_no_size_and_are_not_freed_by_cfree(void) {
  int local = 7;
  if (WRONG_ADDRESSES_ARE_REPORTED) mi_register_error(&ignore_error, NULL);
  void* map = mmap(NULL, OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED);
  const void* ours_not[] = {&local, &some_global, map};
  for (size_t i = 0; i < COUNT_OF(ours_not); i++) {
    CHECK_EQ(mi_usable_size(opaque(ours_not[i])), 0);
    CHECK_EQ(mi_malloc_size(opaque(ours_not[i])), 0);
    CHECK_EQ(mi_malloc_usable_size(opaque(ours_not[i])), 0);
    mi_cfree(opaque(ours_not[i]));
  }
  for (size_t i = 0; i < COUNT_OF(foreign_addresses); i++) mi_cfree(opaque(foreign_addresses[i]));
  CHECK_EQ(local, 7);
  CHECK_EQ(some_global, 1);
  munmap(map, OS_PAGE);
}

static void cfree_frees_our_blocks(void) {
  size_t before = 0;
  for (int round = 0; round < 2000; round++) {
    void* p = mi_malloc(MIB);
    REQUIRE(p != NULL);
    touch_pages(p, MIB);
    mi_cfree(p);
    if (round == 20) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 64 * MIB);
}

static void told_sizes_free_like_free(void) {
  size_t before = 0;
  for (int round = 0; round < 200000; round++) {
    size_t size = 1 + (size_t)round % 3000;
    void* p = mi_malloc(size);
    void* a = mi_malloc_aligned(size, 64);
    void* b = mi_malloc_aligned(size, 32);
    REQUIRE(p != NULL && a != NULL && b != NULL);
    mi_free_size(p, size);
    mi_free_size_aligned(a, size, 64);
    mi_free_aligned(b, 32);
    if (round == 20000) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 16 * MIB);
}

/* ---- POSIX names ------------------------------------------------------------------------ */

static void posix_memalign_follows_posix(void) {
  void* const marker = &some_global;
  const size_t wrong[] = {0,  1,  2,  3,   sizeof(void*) / 2, 7,
                          12, 24, 48, 100, SIZE_MAX,          SIZE_MAX - 7};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    void* p = marker;
    errno = 4711;
    CHECK_EQ(mi_posix_memalign(&p, opaque_size(wrong[i]), 16), EINVAL);
    CHECK_SAME(p, marker);
    CHECK_EQ(errno, 4711);
  }
  CHECK_EQ(mi_posix_memalign(NULL, 16, 16), EINVAL);
  void* p = marker;
  errno = 4711;
  CHECK_EQ(mi_posix_memalign(&p, 16, opaque_size(SIZE_MAX)), ENOMEM);
  CHECK_SAME(p, marker);
  CHECK_EQ(mi_posix_memalign(&p, 4096, opaque_size(TOO_LARGE)), ENOMEM);
  CHECK_SAME(p, marker);
  CHECK_EQ(errno, 4711);
  for (size_t alignment = 8; alignment <= 64 * KIB; alignment *= 2) {
    p = NULL;
    CHECK_EQ(mi_posix_memalign(&p, alignment, 0), 0);
    CHECK_NOT_NULL(p);
    CHECK(is_aligned(p, alignment));
    mi_free(p);
    CHECK_EQ(mi_posix_memalign(&p, alignment, 77), 0);
    CHECK(is_aligned(p, alignment));
    CHECK_GE(mi_usable_size(p), 77);
    mi_free(p);
  }
}

/* D4.37 */
static void alignment_that_is_no_power_of_two_gives_null(void) {
  const size_t wrong[] = {0, 3, 6, 12, 24, 4097, SIZE_MAX, TOO_LARGE + 1};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    size_t a = opaque_size(wrong[i]);
    CHECK_NULL(mi_malloc_aligned(64, a));
    CHECK_NULL(mi_malloc_aligned_at(64, a, 8));
    CHECK_NULL(mi_zalloc_aligned(64, a));
    CHECK_NULL(mi_zalloc_aligned_at(64, a, 8));
    CHECK_NULL(mi_calloc_aligned(8, 8, a));
    CHECK_NULL(mi_calloc_aligned_at(8, 8, a, 8));
    CHECK_NULL(mi_memalign(a, 64));
    CHECK_NULL(mi_aligned_alloc(a, 64));
    CHECK_NULL(mi_new_aligned_nothrow(64, a));
  }
}

static void page_aligned_forms(void) {
  const size_t sizes[] = {1, 100, 4095, 4096, 4097, 100000};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    void* v = mi_valloc(sizes[i]);
    void* w = mi_pvalloc(sizes[i]);
    CHECK(v != NULL && is_aligned(v, OS_PAGE));
    CHECK(w != NULL && is_aligned(w, OS_PAGE));
    CHECK_GE(mi_usable_size(v), sizes[i]);
    CHECK_GE(mi_usable_size(w), round_up(sizes[i], OS_PAGE));
    mi_free(v);
    mi_free(w);
  }
  CHECK_NULL(mi_pvalloc(opaque_size(SIZE_MAX)));
  CHECK_NULL(mi_pvalloc(opaque_size(SIZE_MAX - OS_PAGE)));
  CHECK_NULL(mi_valloc(opaque_size(SIZE_MAX)));
}

static void aligned_alloc_takes_any_size(void) {
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    void* p = mi_aligned_alloc(alignment, 3);
    void* q = mi_memalign(alignment, alignment + 1);
    CHECK(p != NULL && is_aligned(p, alignment));
    CHECK(q != NULL && is_aligned(q, alignment));
    CHECK_GE(mi_usable_size(q), alignment + 1);
    mi_free(p);
    mi_free(q);
  }
}

static void new_forms_allocate(void) {
  for (size_t size = 1; size <= MIB; size *= 4) {
    void* p = mi_new(size);
    void* q = mi_new_nothrow(size);
    void* r = mi_new_aligned(size, 128);
    void* s = mi_new_aligned_nothrow(size, 128);
    CHECK(p != NULL && q != NULL && r != NULL && s != NULL);
    CHECK(is_aligned(r, 128) && is_aligned(s, 128));
    CHECK_GE(mi_usable_size(r), size);
    mi_free(p);
    mi_free(q);
    mi_free(r);
    mi_free(s);
  }
}

/* ---- process -------------------------------------------------------------------------------- */

static void version_is_that_of_the_header(void) {
  CHECK_EQ(MI_MALLOC_VERSION, 217);
  CHECK_EQ(mi_version(), MI_MALLOC_VERSION);
}

static void process_and_thread_set_up_may_be_repeated(void) {
  mi_process_init();
  mi_process_init();
  mi_thread_init();
  mi_thread_init();
  void* p = mi_malloc(100);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

static void thread_done_keeps_blocks_and_the_thread_starts_anew(void) {
  char* held[100];
  for (int round = 0; round < 100; round++) {
    held[round] = (char*)mi_malloc(1000);
    REQUIRE(held[round] != NULL);
    pattern_fill(held[round], 1000, (unsigned)round);
    mi_thread_done();
    mi_thread_done();
    if (round % 2 == 1) mi_free(held[round - 1]); /* freed by a thread without a heap */
  }
  for (int round = 0; round < 100; round++) {
    if (round % 2 == 0) continue;
    CHECK(pattern_holds(held[round], 1000, (unsigned)round));
    mi_free(held[round]);
  }
}

/* D11.87 */
static void process_info_tells_resident_memory(void) {
  mi_process_info(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
  if (!RSS_IS_MEANINGFUL) return;
  enum { SIZE = 64 << 20 };
  char* p = (char*)mi_malloc(SIZE);
  REQUIRE(p != NULL);
  memset(p, 1, SIZE);
  size_t elapsed = 12345678;
  size_t user = 12345678;
  size_t system = 12345678;
  size_t rss = 0;
  size_t peak = 0;
  size_t commit = 0;
  size_t peak_commit = 0;
  size_t faults = SIZE_MAX / 2;
  mi_process_info(&elapsed, &user, &system, &rss, &peak, &commit, &peak_commit, &faults);
  size_t real = rss_bytes();
  CHECK_LE(rss, real + 4 * MIB);
  CHECK_GE(rss + 4 * MIB, real);
  CHECK_GE(peak + 4 * MIB, real);
  CHECK_GE(commit, SIZE);
  CHECK_GE(peak_commit, commit);
  CHECK_LE(elapsed, 600000);
  CHECK_LE(user, 600000);
  CHECK_LE(system, 600000);
  CHECK_LE(faults, 100000000);
  mi_free(p);
  mi_collect(true);
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
  CHECK_LE(rss, rss_bytes() + 4 * MIB);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

typedef struct calls_s {
  size_t count;
  size_t forced;
  size_t out_of_order;
  unsigned long long heartbeat;
  bool inside;
  size_t nested;
} calls_t;

static void on_deferred_free(bool force, unsigned long long heartbeat, void* arg) {
  calls_t* calls = (calls_t*)arg;
  if (calls->inside) {
    calls->nested++;
    return;
  }
  calls->inside = true;
  calls->count++;
  calls->forced += force;
  if (calls->count > 1 && heartbeat <= calls->heartbeat) calls->out_of_order++;
  calls->heartbeat = heartbeat;
  /* May allocate and free, even enough to need the slow path. */
  void* p[64];
  for (size_t i = 0; i < COUNT_OF(p); i++) p[i] = mi_malloc(3000 + i);
  for (size_t i = 0; i < COUNT_OF(p); i++) mi_free(p[i]);
  calls->inside = false;
}

static void deferred_free_is_called_on_collect_with_its_force(void) {
  calls_t calls = {0};
  mi_free(mi_malloc(10));
  mi_register_deferred_free(&on_deferred_free, &calls);
  mi_collect(false);
  CHECK_GE(calls.count, 1);
  CHECK_EQ(calls.forced, 0);
  mi_collect(true);
  CHECK_GE(calls.forced, 1);
  CHECK_EQ(calls.out_of_order, 0);
  CHECK_EQ(calls.nested, 0);
  size_t before = calls.count;
  mi_register_deferred_free(NULL, NULL);
  mi_collect(true);
  CHECK_EQ(calls.count, before);
}

static void deferred_free_is_called_while_a_program_only_allocates(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  enum { BLOCKS = 200000 };
  void** last = NULL;
  for (int i = 0; i < BLOCKS; i++) {
    void** p = (void**)mi_malloc(48);
    REQUIRE(p != NULL);
    *p = (void*)last;
    last = p;
  }
  check_note("%zu calls in %d allocations\n", calls.count, BLOCKS);
  CHECK_GE(calls.count, 10);
  CHECK_EQ(calls.out_of_order, 0);
  CHECK_EQ(calls.nested, 0);
  mi_register_deferred_free(NULL, NULL);
  while (last != NULL) {
    void** next = (void**)*last;
    mi_free((void*)last);
    last = next;
  }
}

/* The bound on allocations between two calls holds also when each block is freed at once. */
static void deferred_free_is_called_while_a_program_allocates_and_frees_one_block(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  for (int i = 0; i < 1000000; i++) mi_free(opaque(mi_malloc(48)));
  check_note("%zu calls\n", calls.count);
  CHECK_GE(calls.count, 10);
  mi_register_deferred_free(NULL, NULL);
}

typedef struct sink_s {
  size_t lines;
  size_t used;
  char text[64 * 1024];
} sink_t;

static void on_output(const char* message, void* arg) {
  sink_t* sink = (sink_t*)arg;
  sink->lines++;
  size_t length = strlen(message);
  if (length > sizeof sink->text - 1 - sink->used) length = sizeof sink->text - 1 - sink->used;
  memcpy(sink->text + sink->used, message, length);
  sink->used += length;
  sink->text[sink->used] = 0;
}

static void statistics_go_to_the_given_or_the_registered_sink(void) {
  static sink_t given;
  static sink_t registered;
  mi_stats_print_out(&on_output, &given);
  CHECK_GE(given.used, 20);
  CHECK(strstr(given.text, "metadata:") != NULL);
  CHECK(given.used > 0 && given.text[given.used - 1] == '\n');
  mi_register_output(&on_output, &registered);
  size_t before = registered.used;
  mi_stats_print_out(NULL, NULL);
  CHECK_GE(registered.used, before + 20);
  CHECK(strstr(registered.text, "metadata:") != NULL);
  size_t after = registered.used;
  mi_register_output(NULL, NULL);
  static sink_t again;
  mi_stats_print_out(&on_output, &again);
  CHECK_GE(again.used, 20);
  CHECK_EQ(registered.used, after);
}

static void deferred_free_is_called_by_a_collect_that_is_the_first_call(void) {
  calls_t calls = {0};
  mi_register_deferred_free(&on_deferred_free, &calls);
  mi_collect(true);
  CHECK_GE(calls.forced, 1);
  mi_register_deferred_free(NULL, NULL);
}

static const check_case_t cases[] = {
    CASE(deferred_free_is_called_by_a_collect_that_is_the_first_call),
    CASE(malloc_zero_gives_distinct_blocks),
    CASE(zero_sized_forms_give_blocks),
    CASE(free_of_null_is_ignored_and_keeps_errno),
    CASE(free_keeps_errno_for_all_sizes),
    CASE(null_has_no_size),
    CASE(expand_of_null_is_null),
    CASE(blocks_are_aligned_to_16_from_size_1_on),
    CASE(align8_blocks_are_aligned_to_8),
    CASE(realloc_of_an_align8_block_is_aligned_to_16),
    CASE(good_size_is_monotonic_and_stable),
    CASE(usable_size_is_good_size_around_each_class_boundary),
    CASE(sizes_around_powers_of_two_work),
    CASE(good_size_never_overflows),
    CASE(odd_huge_size_works),
    CASE(calloc_is_zero_over_its_usable_size),
    CASE(small_forms_work_up_to_their_limit),
    CASE(overflowing_products_give_null),
    CASE(reallocarray_sets_errno_on_failure_only),
    CASE(reallocf_frees_the_block_when_it_fails),
    CASE(realloc_in_place_between_half_and_all_of_the_block),
    CASE(realloc_to_zero_gives_a_small_block_that_starts_with_zero),
    CASE(expand_never_moves_and_keeps_the_block),
    CASE(strings_are_copied),
    CASE(strndup_reads_no_more_than_n_bytes),
    CASE(realpath_gives_our_block_or_fills_the_buffer),
    CASE(foreign_addresses_are_recognised),
    CASE(foreign_addresses_have_no_size_and_are_not_freed_by_cfree),
    CASE(cfree_frees_our_blocks),
    CASE(told_sizes_free_like_free),
    CASE(posix_memalign_follows_posix),
    CASE(alignment_that_is_no_power_of_two_gives_null),
    CASE(page_aligned_forms),
    CASE(aligned_alloc_takes_any_size),
    CASE(new_forms_allocate),
    CASE(version_is_that_of_the_header),
    CASE(process_and_thread_set_up_may_be_repeated),
    CASE(thread_done_keeps_blocks_and_the_thread_starts_anew),
    CASE(process_info_tells_resident_memory),
    CASE(deferred_free_is_called_on_collect_with_its_force),
    CASE(deferred_free_is_called_while_a_program_only_allocates),
    CASE(deferred_free_is_called_while_a_program_allocates_and_frees_one_block),
    CASE(statistics_go_to_the_given_or_the_registered_sink),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
