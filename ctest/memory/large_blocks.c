/* large_blocks.c - blocks that grow and shrink by reallocation: peak memory, time, contents; large
 * blocks that come and go.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static void doubling_to_1_gib_needs_at_most_a_tenth_more(void) {
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    char* p = NULL;
    size_t old = 0;
    double start = now_seconds();
    for (size_t size = MIB; size <= GIB; size *= 2) {
      p = (char*)mi_realloc(p, size);
      REQUIRE(p != NULL);
      memset(p + old, 1, size - old);
      pages_mark(p, old, size);
      CHECK(pages_hold(p, 0, size, size < 64 * MIB ? 1 : 1001));
      old = size;
    }
    check_note("doubling took %.2f s\n", now_seconds() - start);
    CHECK(pages_hold(p, 0, GIB, 1));
    mi_free(p);
    _exit(check_end());
  }
  int status = 0;
  struct rusage usage;
  REQUIRE(wait4(pid, &status, 0, &usage) == pid);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  double peak = (double)usage.ru_maxrss * (double)KIB;
  check_note("peak resident / final size %.3f\n", peak / (double)GIB);
  CHECK_LE_DOUBLE(peak, 1.1 * (double)GIB);
  CHECK_LE_DOUBLE((double)GIB, peak);
}

static void growing_by_64_kib_ten_thousand_times_is_linear(void) {
  enum { STEPS = 10000 };
  const size_t step = 64 * KIB;
  char* p = NULL;
  double start = now_seconds();
  double half = 0;
  for (size_t i = 1; i <= STEPS; i++) {
    p = (char*)mi_realloc(p, i * step);
    REQUIRE(p != NULL);
    pages_mark(p, (i - 1) * step, i * step);
    if (i % 500 == 0) CHECK(pages_hold(p, 0, i * step, 97));
    if (i == STEPS / 2) half = now_seconds();
  }
  double end = now_seconds();
  CHECK(pages_hold(p, 0, STEPS * step, 1));
  check_note("first half %.3f s, second half %.3f s\n", half - start, end - half);
  CHECK_LE_DOUBLE(end - half, 3 * (half - start) + 0.1);
  CHECK_LE_DOUBLE(end - start, 8.0);
  mi_free(p);
}

static void growing_by_one_element_ten_million_times_is_linear(void) {
  enum { STEPS = 10000000 };
  uint64_t* p = NULL;
  double start = now_seconds();
  double half = 0;
  for (size_t i = 0; i < STEPS; i++) {
    p = (uint64_t*)mi_realloc(p, (i + 1) * sizeof *p);
    REQUIRE(p != NULL);
    p[i] = i;
    if (i == STEPS / 2) half = now_seconds();
  }
  double end = now_seconds();
  check_note("first half %.3f s, second half %.3f s\n", half - start, end - half);
  size_t wrong = 0;
  for (size_t i = 0; i < STEPS; i++) wrong += p[i] != i;
  CHECK_EQ(wrong, 0);
  CHECK_LE_DOUBLE(end - half, 4 * (half - start) + 0.1);
  CHECK_LE_DOUBLE(end - start, 10.0);
  mi_free(p);
}

static void shrinking_gives_memory_back(void) {
  size_t before = rss_bytes();
  char* p = (char*)mi_malloc(512 * MIB);
  REQUIRE(p != NULL);
  memset(p, 1, 512 * MIB);
  pages_mark(p, 0, 512 * MIB);
  for (size_t size = 256 * MIB; size >= 64 * KIB; size /= 2) {
    p = (char*)mi_realloc(p, size);
    REQUIRE(p != NULL);
    CHECK(pages_hold(p, 0, size, 1));
  }
  mi_collect(true);
  size_t after = rss_bytes();
  check_note("resident after shrinking 512 MiB to 64 KiB: %zu KiB more\n", (after - before) / KIB);
  CHECK_LE(after, before + 16 * MIB);
  mi_free(p);
}

/* Cut off by less than half: what is cut off goes back at once. */
static void shrinking_to_just_over_half_gives_memory_back(void) {
  enum { COUNT = 4 };
  static char* blocks[COUNT];
  size_t before = rss_bytes();
  for (size_t i = 0; i < COUNT; i++) {
    REQUIRE((blocks[i] = (char*)mi_malloc(40 * MIB)) != NULL);
    pages_mark(blocks[i], 0, 40 * MIB);
    char* p = (char*)mi_realloc(blocks[i], 21 * MIB);
    CHECK_SAME(p, blocks[i]);
    CHECK(pages_hold(p, 0, 21 * MIB, 1));
  }
  if (MI_TEST_SECURE > 0) mi_collect(true); /* secure builds wait for the purge */
  size_t after = rss_bytes();
  check_note("resident for %d MiB: %zu MiB\n", COUNT * 21, (after - before) / MIB);
  CHECK_LE(after - before, COUNT * 21 * MIB + 12 * MIB);
  /* Less than an eighth stays with the block. */
  CHECK_SAME(mi_realloc(blocks[0], 20 * MIB), blocks[0]);
  CHECK_GE(mi_usable_size(blocks[0]), 21 * MIB);
  for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
}

/* A block that grows and shrinks in turn keeps its memory: no page faults from the second time on.
 */
static void growing_and_shrinking_in_turn_does_not_fault(void) {
  char* p = (char*)mi_malloc(40 * MIB);
  REQUIRE(p != NULL);
  touch_pages(p, 40 * MIB);
  struct rusage before;
  struct rusage after;
  for (int i = 0; i < 20; i++) {
    if (i == 2) getrusage(RUSAGE_SELF, &before);
    p = (char*)mi_realloc(p, 21 * MIB);
    p = (char*)mi_realloc(p, 40 * MIB);
    REQUIRE(p != NULL);
    touch_pages(p, 40 * MIB);
  }
  getrusage(RUSAGE_SELF, &after);
  size_t faults = (size_t)(after.ru_minflt - before.ru_minflt);
  check_note("%zu page faults in 18 rounds of %zu pages\n", faults, 19 * MIB / OS_PAGE);
  /* A purge costs a fault for each huge page. Secure builds close what they do not use. */
  CHECK_LE(faults, MI_TEST_SECURE > 0 ? 18 * (19 * MIB / OS_PAGE) : 18);
  mi_free(p);
}

static size_t mappings(void) {
  static char text[8 * MIB];
  size_t n = 0, length = read_file("/proc/self/maps", text, sizeof text - 1);
  for (size_t i = 0; i < length; i++) n += text[i] == '\n';
  return n;
}

/* A moved block holds mappings, of which a process may have only so many. Beyond a budget blocks
 * are copied. A copy leaves out pages that were never touched. */
static void many_vectors_that_grow_need_few_mappings(void) {
  NEEDS_64_BITS("more addresses than there are");
  enum { VECTORS = 3000 };
  static char* vectors[VECTORS];
  size_t before = rss_bytes(), old = 0;
  for (size_t size = 128 * KIB; size <= 640 * KIB; size += 128 * KIB) {
    for (size_t i = 0; i < VECTORS; i++) {
      char* p = (char*)mi_realloc(vectors[i], size);
      REQUIRE(p != NULL);
      vectors[i] = p;
      for (size_t at = 0; at < old; at += 64 * KIB)
        if (!CHECK_EQ(p[at], (char)(i + at / KIB + 1))) return;
      for (size_t at = old; at < size; at += 64 * KIB) p[at] = (char)(i + at / KIB + 1);
    }
    old = size;
  }
  size_t now = mappings();
  size_t resident = rss_bytes() - before;
  check_note("%d vectors: %zu mappings, %zu MiB\n", VECTORS, now, resident / MIB);
  if (now > 0) CHECK_LE(now, 2000);
  CHECK_LE(resident, VECTORS * 640 * KIB / 3); /* each was touched in ten places of 4 KiB */
  for (size_t i = 0; i < VECTORS; i++) mi_free(vectors[i]);
  mi_collect(true);
  if (now > 0) CHECK_LE(mappings(), 300);
}

/* A block that was moved is several mappings; the addresses that it no longer needs serve others.
 */
static void moved_block_that_shrinks_gives_addresses_back(void) {
  NEEDS_64_BITS("more addresses than there are");
  enum { BLOCKS = 60 };
  char* blocks[BLOCKS];
  char* fences[BLOCKS];
  size_t moves = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    char* p = (char*)mi_malloc(MIB);
    fences[i] = (char*)mi_malloc(MIB); /* after the block, so that it cannot grow in place */
    REQUIRE(p != NULL && fences[i] != NULL);
    pages_mark(p, 0, MIB);
    blocks[i] = (char*)mi_realloc(p, 48 * MIB);
    REQUIRE(blocks[i] != NULL);
    moves += blocks[i] != p;
    blocks[i] = (char*)mi_realloc(blocks[i], MIB);
    REQUIRE(blocks[i] != NULL);
    CHECK(pages_hold(blocks[i], 0, MIB, 1));
  }
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  size_t reserved = (size_t)stats.reserved.current;
  check_note("%zu moves, %zu MiB reserved\n", moves, reserved / MIB);
  CHECK_GE(moves, BLOCKS / 2);
  CHECK_LE(reserved, 2 * GIB); /* it was three and more */
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]), mi_free(fences[i]);
}

static void growing_mixed_with_other_allocations_keeps_contents(void) {
  enum { VECTORS = 6 };
  char* vectors[VECTORS] = {0};
  size_t sizes[VECTORS] = {0};
  void* others[1000] = {0};
  rng_t rng = {21};
  for (size_t step = 0; step < check_scaled(3000); step++) {
    size_t v = rng_below(&rng, VECTORS);
    size_t next = sizes[v] < 256 * KIB      ? sizes[v] + 70000
                  : rng_below(&rng, 8) == 0 ? sizes[v] / 2
                  : rng_below(&rng, 3) == 0 ? sizes[v] + sizes[v] / 2
                                            : sizes[v] + 100000;
    if (next > 48 * MIB) next = 100000;
    char* p = (char*)mi_realloc(vectors[v], next);
    REQUIRE(p != NULL);
    size_t kept = next < sizes[v] ? next : sizes[v];
    if (!CHECK(pages_hold(p, 0, kept / OS_PAGE * OS_PAGE, 3))) {
      check_note("step %zu: from %zu to %zu\n", step, sizes[v], next);
      return;
    }
    pages_mark(p, kept / OS_PAGE * OS_PAGE, next);
    vectors[v] = p;
    sizes[v] = next;
    for (int i = 0; i < 5; i++) {
      size_t at = rng_below(&rng, COUNT_OF(others));
      mi_free(others[at]);
      others[at] = mi_malloc(rng_size(&rng, i == 0 ? 2 * MIB : 5000));
      REQUIRE(others[at] != NULL);
      *(char*)others[at] = 1;
    }
  }
  for (size_t i = 0; i < VECTORS; i++) mi_free(vectors[i]);
  for (size_t i = 0; i < COUNT_OF(others); i++) mi_free(others[i]);
}

static void growing_zeroed_vector_is_zero_after_its_contents(void) {
  char* p = NULL;
  size_t old = 0;
  for (size_t size = 100000; size <= 256 * MIB; size = size * 3 / 2) {
    p = (char*)mi_rezalloc(p, size);
    REQUIRE(p != NULL);
    CHECK(pages_hold(p, 0, old / OS_PAGE * OS_PAGE, 7));
    size_t usable = mi_usable_size(p);
    if (old != 0) CHECK(all_bytes_are(p + old, usable - old, 0));
    memset(p, 0x5A, usable);
    pages_mark(p, 0, usable);
    old = usable;
  }
  mi_free(p);
}

static void aligned_vector_stays_aligned_while_it_grows(void) {
  for (size_t alignment = 64; alignment <= 4 * MIB; alignment *= 16) {
    char* p = NULL;
    size_t old = 0;
    for (size_t size = 60000; size <= 64 * MIB; size = size * 2 - size / 5) {
      p = (char*)mi_realloc_aligned(p, size, alignment);
      REQUIRE(p != NULL);
      CHECK(is_aligned(p, alignment));
      CHECK(pages_hold(p, 0, old / OS_PAGE * OS_PAGE, 3));
      pages_mark(p, old / OS_PAGE * OS_PAGE, size);
      old = size;
    }
    mi_free(p);
  }
}

/* A system call of the program on a part of its block splits the mapping that moves. */
typedef enum part_e { PART_LOCKED, PART_NOT_FORKED, PART_NOT_DUMPED, PART_KINDS } part_t;

static bool part_change(char* part, size_t size, part_t kind) {
  switch (kind) {
  case PART_LOCKED:
    return mlock(part, size) == 0;
  case PART_NOT_FORKED:
    return madvise(part, size, MADV_DONTFORK) == 0;
  default:
    return madvise(part, size, MADV_DONTDUMP) == 0;
  }
}
static void part_restore(char* part, size_t size) {
  munlock(part, size);
  madvise(part, size, MADV_DOFORK);
  madvise(part, size, MADV_DODUMP);
}

static void block_with_a_part_treated_otherwise_keeps_its_contents(void) {
  const size_t sizes[] = {400 * KIB, 4 * MIB, 40 * MIB};
  const size_t part_size = 64 * KIB;
  for (int kind = 0; kind < PART_KINDS; kind++) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      /* In the middle, and at either end. */
      size_t places[] = {sizes[i] / 4, 0, sizes[i] - part_size};
      for (size_t j = 0; j < COUNT_OF(places); j++) {
        char* p = (char*)mi_malloc(sizes[i]);
        void* behind = mi_malloc(MIB); /* so that it has to move */
        REQUIRE(p != NULL && behind != NULL);
        pages_mark(p, 0, sizes[i]);
        char* part = (char*)round_up((uintptr_t)p + places[j], OS_PAGE);
        size_t whole = (uintptr_t)part + part_size <= (uintptr_t)p + sizes[i] ? part_size : OS_PAGE;
        if (!part_change(part, whole, (part_t)kind)) {
          check_note("not possible here: errno %d\n", errno);
        }
        char* q = p;
        for (size_t size = sizes[i] * 2; size <= sizes[i] * 8; size *= 2) {
          q = (char*)mi_realloc(q, size);
          REQUIRE(q != NULL);
          if (!CHECK(pages_hold(q, 0, sizes[i], 1))) {
            check_note("kind %d, from %zu to %zu, part at %zu\n", kind, sizes[i], size, places[j]);
          }
          memset(q + sizes[i], 1, size - sizes[i]);
        }
        part_restore(q + (part - p), whole);
        mi_free(q);
        mi_free(behind);
      }
    }
  }
  /* Other blocks can use the memory that a shrunk block gave up. */
  char* p = (char*)mi_zalloc(300 * MIB);
  REQUIRE(p != NULL);
  CHECK(all_bytes_are(p, 300 * MIB, 0));
  memset(p, 1, 300 * MIB);
  mi_free(p);
}

static void buffers_replaced_in_a_loop_do_not_fault_each_time(void) {
  char* held[4] = {0};
  rng_t rng = {2};
  struct rusage before;
  struct rusage after;
  size_t rounds = 400;
  size_t pages = 0;
  for (size_t i = 0; i < rounds; i++) {
    if (i == 100) getrusage(RUSAGE_SELF, &before);
    size_t at = rng_below(&rng, COUNT_OF(held));
    mi_free(held[at]);
    size_t size = 5 * MIB + rng_below(&rng, 20) * MIB;
    held[at] = (char*)mi_malloc(size);
    REQUIRE(held[at] != NULL);
    touch_pages(held[at], size);
    if (i >= 100) pages += size / OS_PAGE;
  }
  getrusage(RUSAGE_SELF, &after);
  double share = (double)(after.ru_minflt - before.ru_minflt) / (double)pages;
  check_note("page faults per page touched: %.3f\n", share);
  CHECK_LE_DOUBLE(share, 0.7);
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
}

static void freed_huge_blocks_are_given_back(void) {
  size_t first = 0;
  for (int i = 0; i < 200; i++) {
    size_t size = (64 + (size_t)i % 37) * MIB;
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    for (size_t at = 0; at < size; at += 16 * OS_PAGE) p[at] = 1;
    mi_free(p);
    if (i == 20) first = rss_bytes();
  }
  CHECK_LE(rss_bytes(), first + 32 * MIB);
  mi_collect(true);
  CHECK_LE(rss_bytes(), 24 * MIB);
}

/* Address space is found for more than a few arenas, without touching it. */
static void many_huge_blocks_are_found_room_for(void) {
  NEEDS_64_BITS("more addresses than there are");
  enum { COUNT = 400 };
  static char* blocks[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    size_t size = 200 * MIB + i;
    blocks[i] = (char*)mi_malloc(size);
    REQUIRE(blocks[i] != NULL);
    blocks[i][0] = (char)i;
    blocks[i][size - 1] = (char)(i + 1);
  }
  for (size_t i = 0; i < COUNT; i++) {
    CHECK_EQ(blocks[i][0], (char)i);
    CHECK_EQ(blocks[i][200 * MIB + i - 1], (char)(i + 1));
    mi_free(blocks[i]);
  }
}

/* One block over 4 GiB, written at ends and around each 4 GiB boundary. */
static void block_above_4_gib_works(void) {
  NEEDS_64_BITS("a block above 4 GiB");
  size_t size = 9 * GIB + 12345;
  char* p = (char*)mi_malloc(size);
  REQUIRE(p != NULL);
  CHECK_GE(mi_usable_size(p), size);
  const size_t places[] = {0, 4 * GIB - 1, 4 * GIB, 8 * GIB - 1, 8 * GIB, 9 * GIB + 12344};
  for (size_t i = 0; i < COUNT_OF(places); i++) p[places[i]] = (char)(i + 1);
  p = (char*)mi_realloc(p, size + 5 * GIB);
  REQUIRE(p != NULL);
  for (size_t i = 0; i < COUNT_OF(places); i++) CHECK_EQ(p[places[i]], i + 1);
  CHECK(mi_is_in_heap_region(p + 8 * GIB));
  mi_free(p);
  char* z = (char*)mi_zalloc(5 * GIB);
  REQUIRE(z != NULL);
  CHECK_EQ(z[4 * GIB + 7], 0);
  mi_free(z);
}

static const check_case_t cases[] = {
    CASE(doubling_to_1_gib_needs_at_most_a_tenth_more),
    CASE(growing_by_64_kib_ten_thousand_times_is_linear),
    CASE(growing_by_one_element_ten_million_times_is_linear),
    CASE(shrinking_gives_memory_back),
    CASE(shrinking_to_just_over_half_gives_memory_back),
    CASE(growing_and_shrinking_in_turn_does_not_fault),
    CASE(many_vectors_that_grow_need_few_mappings),
    CASE(growing_mixed_with_other_allocations_keeps_contents),
    CASE(moved_block_that_shrinks_gives_addresses_back),
    CASE(growing_zeroed_vector_is_zero_after_its_contents),
    CASE(aligned_vector_stays_aligned_while_it_grows),
    CASE(block_with_a_part_treated_otherwise_keeps_its_contents),
    CASE(buffers_replaced_in_a_loop_do_not_fault_each_time),
    CASE(freed_huge_blocks_are_given_back),
    CASE(many_huge_blocks_are_found_room_for),
    CASE(block_above_4_gib_works),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
