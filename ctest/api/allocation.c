/* allocation.c - the contract of the functions that allocate, resize and release: ordinary calls,
 * size 0, NULL, overflow, wrong alignment; strings; the set-up of process and thread. What fails
 * and how it is reported is in error_reports.c, alignment in aligned.c, contents over reallocation
 * in realloc.c.
 */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

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

static void expand_of_null_is_null(void) {
  CHECK_NULL(mi_expand(NULL, 0));
  CHECK_NULL(mi_expand(NULL, 10));
}

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

/* Overflowing products return NULL and leave the old block alone. */
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
    if (!USABLE_IS_EXACT) { /* with canaries a block is not kept if much of it would be unused */
      CHECK_SAME(mi_realloc(p, usable - usable / 4), p);
      CHECK_SAME(mi_realloc(p, (usable + 1) / 2), p);
      CHECK_EQ(mi_usable_size(p), usable);
    }
    mi_free(p);
  }
}

/* The first byte is 0, as in 2.1.7: a program may use the block as an empty string. */
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
    /* Growing in place is allowed where it is possible; moving is not. */
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

/* The source ends at an inaccessible page and has no terminator. */
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
  /* Visible to the compiler: a declaration that promises a new block would fail here. */
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

static void sized_frees_work_like_free(void) {
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

static void process_info_reports_resident_memory(void) {
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

static const check_case_t cases[] = {
    CASE(malloc_zero_gives_distinct_blocks),
    CASE(zero_sized_forms_give_blocks),
    CASE(free_of_null_is_ignored_and_keeps_errno),
    CASE(free_keeps_errno_for_all_sizes),
    CASE(expand_of_null_is_null),
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
    CASE(cfree_frees_our_blocks),
    CASE(sized_frees_work_like_free),
    CASE(posix_memalign_follows_posix),
    CASE(alignment_that_is_no_power_of_two_gives_null),
    CASE(page_aligned_forms),
    CASE(aligned_alloc_takes_any_size),
    CASE(new_forms_allocate),
    CASE(version_is_that_of_the_header),
    CASE(process_and_thread_set_up_may_be_repeated),
    CASE(thread_done_keeps_blocks_and_the_thread_starts_anew),
    CASE(process_info_reports_resident_memory),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
