/* posix.c - the POSIX, Unix and Microsoft names that allocation.c and error_reports.c do not cover:
 * reallocarr, _expand, the recalloc names, the copies of strings and of the environment, and which
 * of two numbers is the size. */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif
#ifndef MI_TEST_OVERRIDE
#define MI_TEST_OVERRIDE 0
#endif
#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

/* ---- reallocarr ------------------------------------------------------------ */

static void reallocarr_resizes_through_the_address_and_keeps_errno(void) {
  int* numbers = NULL; /* not a void*: any pointer may be passed by its address */
  errno = 4711;
  CHECK_EQ(mi_reallocarr(&numbers, 25, sizeof *numbers), 0);
  REQUIRE(numbers != NULL);
  CHECK_GE(mi_usable_size(numbers), 100);
  pattern_fill(numbers, 100, 1);
  CHECK_EQ(mi_reallocarr(&numbers, 100000, sizeof *numbers), 0);
  REQUIRE(numbers != NULL);
  CHECK_GE(mi_usable_size(numbers), 400000);
  CHECK(pattern_holds(numbers, 100, 1));
  CHECK_EQ(mi_reallocarr(&numbers, 5, sizeof *numbers), 0);
  CHECK(pattern_holds(numbers, 20, 1));
  CHECK_LE(mi_usable_size(numbers), 1000);
  CHECK_EQ(errno, 4711);
  mi_free(numbers);
}

static void reallocarr_of_nothing_releases_the_block(void) {
  const size_t products[][2] = {{0, 8}, {8, 0}, {0, 0}, {SIZE_MAX, 0}, {0, SIZE_MAX}};
  size_t before = 0;
  for (size_t round = 0; round < 1000; round++) {
    void* p = mi_malloc(MIB);
    REQUIRE(p != NULL);
    touch_pages(p, MIB);
    const size_t* product = products[round % COUNT_OF(products)];
    errno = 4711;
    CHECK_EQ(mi_reallocarr(&p, opaque_size(product[0]), opaque_size(product[1])), 0);
    CHECK_NULL(p);
    CHECK_EQ(mi_reallocarr(&p, opaque_size(product[0]), opaque_size(product[1])), 0);
    CHECK_NULL(p);
    CHECK_EQ(errno, 4711);
    if (round == 20) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 64 * MIB); /* 1 GiB were they kept */
}

static void reallocarr_failure_leaves_the_pointer_and_its_block(void) {
  const size_t half = SIZE_MAX / 2 + 1;
  const struct {
    size_t count, size;
    int error;
  } wrong[] = {{half, 2, EOVERFLOW},
               {2, half, EOVERFLOW},
               {SIZE_MAX, SIZE_MAX, EOVERFLOW},
               {1, SIZE_MAX, ENOMEM},
               {SIZE_MAX, 1, ENOMEM},
               {1, TOO_LARGE, ENOMEM},
               {(size_t)1 << 24, (size_t)1 << (IS_64_BIT ? 23 : 7), ENOMEM}};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    void* p = NULL;
    errno = 0;
    CHECK_EQ(mi_reallocarr(&p, opaque_size(wrong[i].count), opaque_size(wrong[i].size)),
             wrong[i].error);
    CHECK_EQ(errno, wrong[i].error);
    CHECK_NULL(p);
    p = mi_malloc(100);
    REQUIRE(p != NULL);
    pattern_fill(p, 100, 2);
    void* old = p;
    errno = 0;
    CHECK_EQ(mi_reallocarr(&p, opaque_size(wrong[i].count), opaque_size(wrong[i].size)),
             wrong[i].error);
    CHECK_EQ(errno, wrong[i].error);
    CHECK_SAME(p, old);
    CHECK(pattern_holds(p, 100, 2));
    mi_free(p);
  }
  errno = 0;
  CHECK_EQ(mi_reallocarr(NULL, 1, 8), EINVAL);
  CHECK_EQ(errno, EINVAL);
}

/* As in the other array functions: a debug build reports the overflow once. */
static void on_error(int code, void* arg) { *(size_t*)arg += code == EOVERFLOW ? 1 : 1000; }
static void overflowing_arrays_are_reported_in_debug_builds_only(void) {
  const size_t half = opaque_size(SIZE_MAX / 2 + 1);
  size_t reports = 0;
  void* p = NULL;
  mi_register_error(&on_error, &reports);
  CHECK_NULL(mi_reallocarray(NULL, half, 2));
  CHECK_EQ(reports, MI_TEST_DEBUG_FULL);
  CHECK_EQ(mi_reallocarr(&p, half, 2), EOVERFLOW);
  CHECK_EQ(reports, 2 * MI_TEST_DEBUG_FULL);
  mi_register_error(NULL, NULL);
}

/* ---- Microsoft names ------------------------------------------------------------------ */

static void expand_never_moves_and_says_enomem(void) {
  for (size_t size = 1; size <= 4 * MIB; size = size * 3 + 1) {
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, 3);
    errno = 4711;
    if (!MI_TEST_DEBUG_FULL) {
      CHECK_SAME(mi__expand(p, mi_usable_size(p)), p);
      if (!USABLE_IS_EXACT) CHECK_SAME(mi__expand(p, 1), p);
      CHECK_EQ(errno, 4711);
    }
    CHECK_NULL(mi__expand(p, opaque_size(mi_good_size(size) + 1)));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(mi__expand(p, opaque_size(SIZE_MAX)));
    CHECK_EQ(errno, ENOMEM);
    CHECK(pattern_holds(p, size, 3));
    mi_free(p);
  }
  errno = 0;
  CHECK_NULL(mi__expand(NULL, 1));
  CHECK_EQ(errno, ENOMEM);
}

/* The values tell the parameters apart: 96 is not an alignment, and 8 times 512 is not 1000
 * elements. */
static void recalloc_names_take_count_size_alignment_offset(void) {
  char* p = (char*)mi_aligned_recalloc(NULL, 1000, 96, 512);
  REQUIRE(p != NULL);
  CHECK(is_aligned(p, 512));
  CHECK_GE(mi_usable_size(p), 96000);
  CHECK(all_bytes_are(p, mi_usable_size(p), 0));
  pattern_fill(p, 96000, 4);
  size_t usable = mi_usable_size(p);
  p = (char*)mi_aligned_recalloc(p, 3000, 96, 1024);
  REQUIRE(p != NULL);
  CHECK(is_aligned(p, 1024));
  CHECK_GE(mi_usable_size(p), 288000);
  CHECK(pattern_holds(p, 96000, 4));
  CHECK(all_bytes_are(p + usable, mi_usable_size(p) - usable, 0));
  CHECK_NULL(mi_aligned_recalloc(p, opaque_size(SIZE_MAX / 2 + 1), 2, 64));
  CHECK_NULL(mi_aligned_recalloc(p, 10, 64, opaque_size(96)));
  CHECK(pattern_holds(p, 96000, 4));
  mi_free(p);

  p = (char*)mi_aligned_offset_recalloc(NULL, 1000, 96, 512, 40);
  REQUIRE(p != NULL);
  CHECK(is_aligned(p + 40, 512));
  CHECK_GE(mi_usable_size(p), 96000);
  CHECK(all_bytes_are(p, mi_usable_size(p), 0));
  pattern_fill(p, 96000, 5);
  p = (char*)mi_aligned_offset_recalloc(p, 3000, 96, 512, 24);
  REQUIRE(p != NULL);
  CHECK(is_aligned(p + 24, 512));
  CHECK(pattern_holds(p, 96000, 5));
  CHECK_NULL(mi_aligned_offset_recalloc(p, opaque_size(SIZE_MAX / 2 + 1), 2, 64, 8));
  CHECK(pattern_holds(p, 96000, 5));
  mi_free(p);
}

/* ---- which number is the size --------------------------------------------------- */

#if MI_TEST_OVERRIDE
void* aligned_alloc(size_t alignment, size_t size);
void* memalign(size_t alignment, size_t size);
void* _aligned_malloc(size_t size, size_t alignment);
#endif

static void check_order(void* p, const char* name) {
  bool ok = CHECK(p != NULL && is_aligned(p, 256));
  ok = CHECK_GE(mi_usable_size(p), 1000) && ok;
  ok = CHECK_LE(mi_usable_size(p), 4000) && ok;
  if (!ok) check_note("in %s\n", name);
  mi_free(p);
}

static void size_and_alignment_have_their_documented_order(void) {
  void* p = NULL;
  CHECK_EQ(mi_posix_memalign(&p, 256, 1000), 0);
  check_order(p, "mi_posix_memalign");
  check_order(mi_memalign(256, 1000), "mi_memalign");
  check_order(mi_aligned_alloc(256, 1000), "mi_aligned_alloc");
  check_order(mi_malloc_aligned(1000, 256), "mi_malloc_aligned");
  check_order(mi_new_aligned_nothrow(1000, 256), "mi_new_aligned_nothrow");
#if MI_TEST_OVERRIDE
  check_order(aligned_alloc(256, 1000), "aligned_alloc");
  check_order(memalign(256, 1000), "memalign");
  check_order(_aligned_malloc(1000, 256), "_aligned_malloc");
#endif
}

#if MI_TEST_OVERRIDE
/* Two strong definitions would not link: the one of the library is weak. preload.c tests it. */
int reallocarr(void* p, size_t count, size_t size);
int reallocarr(void* p, size_t count, size_t size) {
  (void)p, (void)count, (void)size;
  return 4711;
}
static void program_may_have_its_own_reallocarr(void) {
  void* p = NULL;
  CHECK_EQ(reallocarr(&p, 1, 8), 4711);
}
#endif

/* ---- copies ---------------------------------------------------------------------------------- */

/* The last page of a mapping before one that cannot be read: reads beyond the terminator die. */
static char* last_page(void) {
  char* map =
      (char*)mmap(NULL, 2 * OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED && mprotect(map + OS_PAGE, OS_PAGE, PROT_NONE) == 0);
  return map;
}

static void wcsdup_copies_units_of_16_bits(void) {
  CHECK_NULL(mi_wcsdup(NULL));
  static const unsigned short text[] = {0x0100, 0x0001, 0xFFFF, 0xD800, 0x4100, 0x0041, 0};
  char* page = last_page();
  for (size_t n = 0; n < COUNT_OF(text); n++) {
    size_t size = (COUNT_OF(text) - n) * sizeof text[0];
    memcpy(page + OS_PAGE - size, text + n, size);
    unsigned short* copy = mi_wcsdup((unsigned short*)(page + OS_PAGE - size));
    REQUIRE(copy != NULL);
    CHECK(mi_is_in_heap_region(copy));
    CHECK_GE(mi_usable_size(copy), size);
    CHECK(memcmp(copy, text + n, size) == 0);
    mi_free(copy);
  }
  static unsigned short units[300001];
  for (size_t i = 0; i + 1 < COUNT_OF(units); i++) units[i] = (unsigned short)(i % 0xFFFF + 1);
  unsigned short* copy = mi_wcsdup(units);
  REQUIRE(copy != NULL);
  CHECK_GE(mi_usable_size(copy), sizeof units);
  CHECK(memcmp(copy, units, sizeof units) == 0);
  mi_free(copy);
}

static void mbsdup_copies_bytes(void) {
  CHECK_NULL(mi_mbsdup(NULL));
  unsigned char all[256];
  for (size_t i = 0; i < 255; i++) all[i] = (unsigned char)(i + 1);
  all[255] = 0;
  char* page = last_page();
  for (size_t n = 0; n < sizeof all; n++) {
    size_t size = sizeof all - n;
    memcpy(page + OS_PAGE - size, all + n, size);
    unsigned char* copy = mi_mbsdup((unsigned char*)(page + OS_PAGE - size));
    REQUIRE(copy != NULL);
    CHECK(mi_is_in_heap_region(copy));
    CHECK(memcmp(copy, all + n, size) == 0);
    mi_free(copy);
  }
}

static void dupenv_s_tells_the_length_with_the_terminator(void) {
  char* copy = NULL;
  size_t size = 99;
  setenv("TEST_POSIX_VALUE", "seven 7", 1);
  CHECK_EQ(mi_dupenv_s(&copy, &size, "TEST_POSIX_VALUE"), 0);
  CHECK_TEXT(copy, "seven 7");
  CHECK_EQ(size, 8);
  CHECK(mi_is_in_heap_region(copy));
  setenv("TEST_POSIX_VALUE", "changed", 1);
  CHECK_TEXT(copy, "seven 7");
  mi_free(copy);

  setenv("TEST_POSIX_VALUE", "", 1);
  copy = NULL;
  CHECK_EQ(mi_dupenv_s(&copy, &size, "TEST_POSIX_VALUE"), 0);
  CHECK_TEXT(copy, "");
  CHECK_EQ(size, 1);
  mi_free(copy);

  copy = NULL;
  CHECK_EQ(mi_dupenv_s(&copy, NULL, "TEST_POSIX_VALUE"), 0);
  CHECK_TEXT(copy, "");
  mi_free(copy);

  static char marker;
  copy = &marker;
  size = 99;
  CHECK_EQ(mi_dupenv_s(&copy, &size, "TEST_POSIX_NO_SUCH_VARIABLE"), 0);
  CHECK_NULL(copy);
  CHECK_EQ(size, 0);
}

static void dupenv_s_without_buffer_or_name_is_einval(void) {
  static char marker;
  char* copy = &marker;
  size_t size = 99;
  CHECK_EQ(mi_dupenv_s(NULL, &size, "PATH"), EINVAL);
  CHECK_EQ(size, 0);
  size = 99;
  CHECK_EQ(mi_dupenv_s(&copy, &size, NULL), EINVAL);
  CHECK_NULL(copy);
  CHECK_EQ(size, 0);
  CHECK_EQ(mi_dupenv_s(NULL, NULL, NULL), EINVAL);
}

static void wdupenv_s_is_einval_here(void) {
  static const unsigned short name[] = {'P', 'A', 'T', 'H', 0};
  unsigned short marker = 0;
  unsigned short* copy = &marker;
  size_t size = 99;
  CHECK_EQ(mi_wdupenv_s(&copy, &size, name), EINVAL);
  CHECK_NULL(copy);
  CHECK_EQ(size, 0);
  CHECK_EQ(mi_wdupenv_s(NULL, NULL, NULL), EINVAL);
}

static void realpath_that_is_too_long_fails(void) {
  static char name[4 * PATH_MAX];
  memset(name, 'x', sizeof name - 1);
  errno = 0;
  CHECK_NULL(mi_realpath(name, NULL));
  CHECK_EQ(errno, ENAMETOOLONG);
  /* The result is no larger than necessary. */
  char* path = mi_realpath("/", NULL);
  CHECK_TEXT(path, "/");
  CHECK_LE(mi_usable_size(path), 64);
  mi_free(path);
}

/* ---- out of memory: 8 MiB in all, set aside at start
 * ------------------------------------------- */

static char text_of_32_mib[32 * MIB];

static void helper_copies_without_memory(void) {
  static const char name[] = "TEST_POSIX_LARGE=";
  memset(text_of_32_mib, 'a', sizeof text_of_32_mib - 2); /* and two zero bytes: one wide zero */
  CHECK_NULL(mi_strdup(text_of_32_mib));
  CHECK_NULL(mi_strndup(text_of_32_mib, sizeof text_of_32_mib));
  CHECK_NULL(mi_mbsdup((unsigned char*)text_of_32_mib));
  CHECK_NULL(mi_wcsdup((unsigned short*)(void*)text_of_32_mib));
  memcpy(text_of_32_mib, name, sizeof name - 1);
  REQUIRE(putenv(text_of_32_mib) == 0);
  static char marker;
  char* copy = &marker;
  size_t size = 99;
  CHECK_EQ(mi_dupenv_s(&copy, &size, "TEST_POSIX_LARGE"), ENOMEM);
  CHECK_NULL(copy);
  CHECK_EQ(size, 0);
  void* p = mi_malloc(100); /* the remaining memory can still be allocated */
  REQUIRE(p != NULL);
  pattern_fill(p, 100, 6);
  void* old = p;
  CHECK_EQ(mi_reallocarr(&p, 32, MIB), ENOMEM);
  CHECK_SAME(p, old);
  CHECK_NULL(mi_aligned_recalloc(p, 32, MIB, 64));
  CHECK(pattern_holds(p, 100, 6));
  mi_free(p);
}

static void copies_fail_cleanly_when_memory_is_out(void) {
  setenv("MIMALLOC_DISALLOW_OS_ALLOC", "1", 1);
  setenv("MIMALLOC_RESERVE_OS_MEMORY", "8M", 1);
  const char* args[] = {"helper_copies_without_memory", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

static const check_case_t cases[] = {
    CASE(reallocarr_resizes_through_the_address_and_keeps_errno),
    CASE(reallocarr_of_nothing_releases_the_block),
    CASE(reallocarr_failure_leaves_the_pointer_and_its_block),
    CASE(overflowing_arrays_are_reported_in_debug_builds_only),
    CASE(expand_never_moves_and_says_enomem),
    CASE(recalloc_names_take_count_size_alignment_offset),
    CASE(size_and_alignment_have_their_documented_order),
#if MI_TEST_OVERRIDE
    CASE(program_may_have_its_own_reallocarr),
#endif
    CASE(wcsdup_copies_units_of_16_bits),
    CASE(mbsdup_copies_bytes),
    CASE(dupenv_s_tells_the_length_with_the_terminator),
    CASE(dupenv_s_without_buffer_or_name_is_einval),
    CASE(wdupenv_s_is_einval_here),
    CASE(realpath_that_is_too_long_fails),
    CASE(copies_fail_cleanly_when_memory_is_out),
};

static const check_case_t helpers[] = {CASE(helper_copies_without_memory)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
