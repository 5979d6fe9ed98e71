/* block_overhead.c - the memory of a block beyond the request. Prints a table and checks the
 * limits: below 113 bytes at most 15 bytes (7 for requests with a stated alignment of 8), from
 * there on at most an eighth of the block, above 64 KiB less than an OS page. Also checks that
 * resident memory agrees with the usable sizes. */
#include "probe.h"
#include <mimalloc.h>
#include <sys/resource.h>

#ifndef RUSAGE_THREAD /* not on Linux */
#define RUSAGE_THREAD RUSAGE_SELF
#endif

#ifndef MI_TEST_SECURE
#define MI_TEST_SECURE 0
#endif

#define SMALL_END 113
#define WALK_END (128 * KIB)
#define PAGED_FROM (64 * KIB)

typedef void* allocate_t(size_t size);

static size_t waste_of(allocate_t* allocate, size_t size) {
  void* p = allocate(size);
  REQUIRE(p != NULL);
  size_t usable = mi_usable_size(p);
  mi_free(p);
  if (!CHECK_GE(usable, size)) return 0;
  return usable - size;
}

static void check_waste(size_t size, size_t waste, size_t small_max) {
  bool ok;
  if (size < SMALL_END) {
    ok = CHECK_LE(waste, small_max);
  } else {
    ok = CHECK_LE_DOUBLE((double)waste / (double)(size + waste), 0.125);
  }
  if (size > PAGED_FROM) ok = CHECK_LE(size + waste, round_up(size, OS_PAGE)) && ok;
  if (!ok) check_note("for a request of %zu bytes\n", size);
}

static void table_of(allocate_t* allocate, const char* name, size_t small_max) {
  check_note("%s: worst share of a block that is not used\n", name);
  for (size_t from = 1; from < WALK_END; from *= 2) {
    double worst = -1;
    double total = 0;
    size_t worst_size = 0;
    for (size_t size = from; size < 2 * from; size++) {
      size_t waste = waste_of(allocate, size);
      check_waste(size, waste, small_max);
      double share = (double)waste / (double)(size + waste);
      total += share;
      if (share > worst) {
        worst = share;
        worst_size = size;
      }
    }
    check_note("  %7zu .. %7zu: %5.1f %% (at %zu), mean %5.1f %%\n", from, 2 * from - 1,
               100 * worst, worst_size, 100 * total / (double)from);
  }
  for (size_t power = WALK_END; power <= 64 * MIB; power *= 2) {
    for (int delta = -1; delta <= 1; delta++) {
      size_t size = power + (size_t)delta;
      check_waste(size, waste_of(allocate, size), small_max);
    }
  }
}

static void malloc_wastes_at_most_15_bytes_then_an_eighth_then_a_page(void) {
  table_of(&mi_malloc, "mi_malloc", 15);
}
static void malloc_align8_wastes_at_most_7_bytes_then_an_eighth_then_a_page(void) {
  table_of(&mi_malloc_align8, "mi_malloc_align8", 7);
}

/* Fills each block fully and compares resident memory with the sum of requests. */
static void check_resident(size_t size, size_t total, double most) {
  size_t count = total / size;
  void** blocks = (void**)mmap(NULL, round_up(count * sizeof(void*), OS_PAGE),
                               PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(blocks != MAP_FAILED);
  memset((void*)blocks, 0, count * sizeof(void*));
  size_t before = rss_bytes();
  for (size_t i = 0; i < count; i++) {
    blocks[i] = mi_malloc(size);
    REQUIRE(blocks[i] != NULL);
    memset(blocks[i], 1, size);
  }
  size_t grown = rss_bytes() - before;
  double ratio = (double)grown / (double)(count * size);
  check_note("%8zu bytes: resident / requested %.4f (limit %.4f)\n", size, ratio, most);
  CHECK_LE_DOUBLE(ratio, most);
  CHECK_LE_DOUBLE(0.97, ratio); /* less would mean that the measurement is wrong */
  for (size_t i = 0; i < count; i++) mi_free(blocks[i]);
  munmap((void*)blocks, round_up(count * sizeof(void*), OS_PAGE));
  mi_collect(true);
}

static void resident_memory_agrees_with_usable_sizes(void) {
  const size_t sizes[] = {16, 48, 112, 113, 1000, 1025, 8000, 20000, 65536};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    double block = (double)mi_good_size(sizes[i]);
    /* Plus the last huge page, of which little may be used: 2 of 64 MiB. */
    check_resident(sizes[i], 64 * MIB, block / (double)sizes[i] * 1.02 + 0.005 + 2.0 / 64);
  }
}

static void resident_memory_above_64_kib_is_the_request_in_os_pages(void) {
  const size_t sizes[] = {64 * KIB + 1,  68 * KIB, 70000,       100000,  128 * KIB + 1,
                          300 * KIB + 1, MIB + 1,  3 * MIB + 5, 5000000, 17 * MIB + 1};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    double pages = (double)round_up(sizes[i], OS_PAGE);
    check_resident(sizes[i], 128 * MIB, pages / (double)sizes[i] * 1.01 + 0.002);
  }
}

/* One block alone: no page beyond the request is resident. */
static void untouched_tail_of_a_block_is_not_resident(void) {
  const size_t sizes[] = {64 * KIB + 1, 100000, 5 * MIB + 1, 40 * MIB + 1};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    char* p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    memset(p, 1, sizes[i]);
    size_t first = (size_t)((uintptr_t)p % OS_PAGE);
    CHECK_LE(resident_pages(p, mi_usable_size(p)), round_up(first + sizes[i], OS_PAGE) / OS_PAGE);
    mi_free(p);
  }
}

#define FRESH_BLOCKS 2000

static long thread_faults(void) {
  struct rusage usage;
  REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
  return usage.ru_minflt;
}

/* page-extend-touches-more-pages: the faults that malloc takes on memory that was never used. */
static void malloc_takes_few_page_faults_at_a_time(void) {
  static void* blocks[FRESH_BLOCKS];
  const size_t sizes[] = {48, 200, 5000, 12000};
  for (size_t s = 0; s < COUNT_OF(sizes); s++) {
    size_t with_several = 0;
    long inside = 0;
    for (size_t i = 0; i < FRESH_BLOCKS; i++) {
      long before = thread_faults();
      REQUIRE((blocks[i] = mi_malloc(sizes[s])) != NULL);
      long faults = thread_faults() - before;
      if (faults > 1) with_several++;
      inside += faults;
      memset(blocks[i], 1, sizes[s]);
    }
    check_note("%zu bytes: %ld faults in malloc, %zu calls with several\n", sizes[s], inside,
               with_several);
    if (MI_TEST_SECURE == 0) CHECK_LE(with_several, FRESH_BLOCKS / 300);
    if (MI_TEST_SECURE == 0 && sizes[s] >= 4 * KIB) CHECK_LE(inside, FRESH_BLOCKS / 4);
    for (size_t i = 0; i < FRESH_BLOCKS; i++) mi_free(blocks[i]);
  }
}

static const check_case_t cases[] = {
    CASE(malloc_takes_few_page_faults_at_a_time),
    CASE(malloc_wastes_at_most_15_bytes_then_an_eighth_then_a_page),
    CASE(malloc_align8_wastes_at_most_7_bytes_then_an_eighth_then_a_page),
    CASE(resident_memory_agrees_with_usable_sizes),
    CASE(resident_memory_above_64_kib_is_the_request_in_os_pages),
    CASE(untouched_tail_of_a_block_is_not_resident),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
