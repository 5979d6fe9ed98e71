/* sizes.c - sizes as the library reports them: the alignment of a block, its usable size, which
 * sizes are good ones, and 0 for an address that the library does not manage. */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

#define WALK_END (1 * MIB) /* sizes walked one by one */

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

static void null_has_no_size(void) {
  CHECK_EQ(mi_usable_size(NULL), 0);
  CHECK_EQ(mi_malloc_size(NULL), 0);
  CHECK_EQ(mi_malloc_usable_size(NULL), 0);
  CHECK(!mi_is_in_heap_region(NULL));
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

/* A block of an 8-byte class must not stay in place in a function that promises 16. */
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
  /* Both ends of the usable part are writable. */
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

/* The boundaries are found through the API; the test does not know the classes. */
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

/* Around each power of two. */
static void sizes_around_powers_of_two_work(void) {
  for (unsigned bit = 0; bit <= (IS_64_BIT ? 33 : 29); bit++) {
    for (int delta = -1; delta <= 1; delta++) check_size(((size_t)1 << bit) + (size_t)delta);
  }
}

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

static const check_case_t cases[] = {
    CASE(null_has_no_size),
    CASE(blocks_are_aligned_to_16_from_size_1_on),
    CASE(align8_blocks_are_aligned_to_8),
    CASE(realloc_of_an_align8_block_is_aligned_to_16),
    CASE(good_size_is_monotonic_and_stable),
    CASE(usable_size_is_good_size_around_each_class_boundary),
    CASE(sizes_around_powers_of_two_work),
    CASE(good_size_never_overflows),
    CASE(odd_huge_size_works),
    CASE(foreign_addresses_are_recognised),
    CASE(foreign_addresses_have_no_size_and_are_not_freed_by_cfree),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
