/* huge_page_advice.c - which memory the library advises the system to back with transparent huge
 * pages: memory whose use was dense, and small blocks of a program that is large already; never
 * memory that would only make a small program larger. The advice is read from /proc/self/smaps: the
 * flag "hg" of a mapping. Most cases do not check whether the system follows it. */
#include "probe.h"
#include <mimalloc.h>
#include <stdlib.h>
#include <unistd.h>

#define REGION (2 * MIB)
#define SLICE (64 * KIB)

static char text[8 * 1024 * 1024];

/* Bytes of [start, start + size) in mappings that have the flag. */
static size_t flagged_in(const char* flag, const void* start, size_t size) {
  size_t length = read_file("/proc/self/smaps", text, sizeof text - 1);
  REQUIRE(length > 0 && length < sizeof text - 1);
  text[length] = 0;
  uintptr_t low = (uintptr_t)start, high = low + size, from = 0, to = 0;
  size_t total = 0;
  for (char* line = text; line != NULL && *line != 0;) {
    char* next = strchr(line, '\n');
    if (next != NULL) *next++ = 0;
    char* end;
    unsigned long first = strtoul(line, &end, 16);
    if (*end == '-' && end > line) {
      from = first;
      to = strtoul(end + 1, NULL, 16);
    } else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, flag) != NULL) {
      uintptr_t a = from > low ? from : low, b = to < high ? to : high;
      if (a < b) total += b - a;
    }
    line = next;
  }
  return total;
}
static size_t advised_in(const void* start, size_t size) { return flagged_in(" hg", start, size); }
static size_t advised(void) { return advised_in(NULL, (size_t)1 << 47); }

static void* chain_of(size_t size, size_t total) {
  void** last = NULL;
  for (size_t done = 0; done < total; done += size) {
    void** p = (void**)mi_malloc(size);
    REQUIRE(p != NULL);
    *p = (void*)last;
    last = p;
  }
  return (void*)last;
}
static void chain_free(void* chain) {
  for (void** p = (void**)chain; p != NULL;) {
    void** next = (void**)*p;
    mi_free((void*)p);
    p = next;
  }
}

static void small_program_gets_no_advice(void) {
  size_t before = advised();
  void* chain = chain_of(48, 4 * MIB);
  CHECK_EQ(advised(), before);
  chain_free(chain);
}

static void small_blocks_of_a_large_program_are_advised(void) {
  size_t before = advised();
  void* chain = chain_of(48, 64 * MIB);
  size_t gained = advised() - before;
  CHECK_GE(gained, 40 * MIB);
  CHECK_LE(gained, 64 * MIB);
  chain_free(chain);
}

/* The library measures a block that comes and goes at one address once in a moment. */
static void pass_a_moment(void) { sleep_ms(20); }

/* A table of which little is touched: the program may leave the rest alone for ever. */
static void fresh_large_block_costs_what_is_touched(void) {
  const size_t sizes[] = {4 * MIB, 40 * MIB, 300 * MIB, 600 * MIB + 70000};
  for (size_t i = 0; i < COUNT_OF(sizes); i++)
    for (int zeroed = 0; zeroed < 2; zeroed++) {
      char* p = (char*)(zeroed ? mi_calloc(1, sizes[i]) : mi_malloc(sizes[i]));
      REQUIRE(p != NULL);
      CHECK_EQ(advised_in(p, sizes[i]), 0);
      size_t before = rss_bytes();
      for (size_t at = 5 * OS_PAGE; at < sizes[i]; at += REGION) p[at] = 1;
      CHECK_LE(rss_bytes(), before + sizes[i] / REGION * 3 * OS_PAGE + MIB);
      mi_free(p);
    }
}

/* Of each stack only the top is used, round after round. */
static void stacks_cost_what_is_touched(void) {
  enum { STACKS = 40 };
  static char* stacks[STACKS];
  size_t before = rss_bytes();
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < STACKS; i++) {
      REQUIRE((stacks[i] = (char*)mi_malloc(8 * MIB)) != NULL);
      memset(stacks[i] + 8 * MIB - 8 * KIB, 1, 8 * KIB);
    }
    CHECK_EQ(advised(), 0);
    CHECK_LE(rss_bytes(), before + 4 * MIB);
    for (size_t i = 0; i < STACKS; i++) mi_free(stacks[i]);
    mi_collect(true);
  }
}

/* The memory was used as a whole before, so the next block is likely to do that again. Whole
 * huge-page regions are advised, not the tail, which would make more pages resident. */
static void second_dense_block_is_advised_but_for_its_tail(void) {
  const size_t sizes[] = {4 * MIB, 5 * MIB + 1, 17 * MIB + 1, 40 * MIB - 1, 520 * MIB + 70000};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    char* p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    touch_pages(p, sizes[i]);
    pass_a_moment();
    mi_free(p);
    mi_collect(true);
    p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    size_t got = advised_in(p, round_up(sizes[i], REGION));
    size_t used = round_up(sizes[i], SLICE);
    CHECK_LE(got, used);
    CHECK_GE(got + REGION, sizes[i] / REGION * REGION);
    size_t before = rss_bytes();
    p[sizes[i] - 1] = 1;
    if (used % REGION != 0) CHECK_LE(rss_bytes(), before + SLICE);
    pass_a_moment();
    mi_free(p); /* little of it was touched: the next one is not advised */
    mi_collect(true);
    p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    if (sizes[i] > 3 * REGION) CHECK_EQ(advised_in(p, sizes[i]), 0);
    mi_free(p);
    mi_collect(true);
  }
}

static void sparse_vector_that_grows_is_not_advised(void) {
  char* p = NULL;
  for (size_t size = 2 * MIB; size <= 128 * MIB; size *= 2) {
    p = (char*)mi_realloc(p, size);
    void* between = mi_malloc(100 * KIB);
    REQUIRE(p != NULL && between != NULL);
    p[size - 1] = 1;
    CHECK_EQ(advised_in(p, size), 0);
    mi_free(between);
  }
  mi_free(p);
}

static void block_with_an_untouched_end_is_not_advised(void) {
  void* chain = chain_of(48, 64 * MIB);
  enum { BLOCKS = 300 };
  static char* blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = (char*)mi_malloc(68 * KIB);
    REQUIRE(blocks[i] != NULL);
    CHECK_EQ(advised_in(blocks[i], 68 * KIB), 0);
  }
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
  chain_free(chain);
}

/* The advice grows with the block, so that all of it stays one mapping per kind and can be
 * moved. */
static void block_that_grows_is_advised_and_keeps_its_contents(void) {
  char* p = NULL;
  void* between[16];
  size_t n = 0;
  for (size_t size = MIB; size <= 256 * MIB; size *= 2) {
    p = (char*)mi_realloc(p, size);
    REQUIRE(p != NULL);
    for (size_t at = size == MIB ? 0 : size / 2; at < size; at += OS_PAGE)
      *(size_t*)(void*)(p + at) = at;
    for (size_t at = 0; at < size; at += OS_PAGE)
      if (*(size_t*)(void*)(p + at) != at) {
        check_fail("at %zu of %zu: %zu\n", at, size, *(size_t*)(void*)(p + at));
        return;
      }
    if (size >= 8 * MIB) CHECK_GE(advised_in(p, size) + 2 * REGION, size);
    between[n++] = mi_malloc(6 * MIB); /* blocks growth in place: the next step has to move */
  }
  mi_free(p);
  while (n > 0) mi_free(between[--n]);
}

/* Memory that was purged, and memory that was mapped anew after a move, gets the advice again with
 * the next block. A fresh block gets none. */
static void advice_comes_again_with_the_next_block(void) {
  for (int moved = 0; moved < 2; moved++)
    for (int round = 0; round < 3; round++) {
      char* p = (char*)mi_malloc(moved ? 8 * MIB : 40 * MIB);
      void* behind = moved ? mi_malloc(8 * MIB) : NULL; /* so that growing has to move */
      if (moved) memset(p, 1, 8 * MIB);
      if (moved) p = (char*)mi_realloc(p, 40 * MIB);
      REQUIRE(p != NULL);
      if (moved || round > 0) CHECK_GE(advised_in(p, 40 * MIB) + 10 * MIB, 40 * MIB);
      memset(p, 1, 40 * MIB);
      pass_a_moment();
      mi_free(p);
      mi_free(behind);
      mi_collect(true);
      CHECK_EQ(advised(), 0);
    }
}

static void wait_for_purge(void) {
  for (int i = 0; i < 50; i++) {
    sleep_ms(4);
    mi_collect(false);
  }
}

/* A huge-page region of which little is free keeps its huge page. With force, or with more free
 * slices, it gives up all free slices. */
static void purge_leaves_mostly_used_regions_whole(void) {
  enum { BLOCKS = 8192 };
  static char* blocks[BLOCKS];
  mi_option_set(mi_option_purge_delay, 1);
  void* chain = chain_of(48, 32 * MIB);
  for (size_t i = 0; i < BLOCKS; i++) {
    REQUIRE((blocks[i] = (char*)mi_malloc(8 * KIB)) != NULL);
    memset(blocks[i], 1, 8 * KIB);
  }
  size_t full = rss_bytes();
  for (size_t eighth = 0; eighth < 3; eighth++) { /* of the slices, evenly spread */
    for (size_t i = 0; i < BLOCKS; i++)
      if (blocks[i] != NULL && ((uintptr_t)blocks[i] / SLICE) % 8 == eighth) {
        mi_free(blocks[i]);
        blocks[i] = NULL;
      }
    wait_for_purge();
    size_t now = rss_bytes();
    check_note("%zu of 8 slices free: %zu of %zu MiB resident\n", eighth + 1, now / MIB,
               full / MIB);
    if (eighth == 0) {
      CHECK_GE(now + 2 * MIB, full);
      mi_collect(true);
      CHECK_LE(rss_bytes(), full - 5 * MIB);
    } else {
      CHECK_LE(now, full - (eighth + 1) * 5 * MIB);
    }
  }
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
  chain_free(chain);
  wait_for_purge(); /* all of it is free: no force needed */
  CHECK_LE(rss_bytes(), full / 4);
}

/* The kernel keeps a huge page of which parts were dropped, until memory is short. It counts these
 * for the whole system. */
static size_t partly_dropped(void) {
  char number[32];
  size_t length = read_file(
      "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/nr_anon_partially_mapped", number,
      sizeof number - 1);
  number[length] = 0;
  return length == 0 ? SIZE_MAX : strtoul(number, NULL, 10);
}

static void purged_part_of_a_huge_page_goes_back_to_the_system(void) {
  enum { BLOCKS = 16384 };
  static char* blocks[BLOCKS];
  mi_option_set(mi_option_purge_delay, 1);
  size_t before = partly_dropped();
  if (before == SIZE_MAX) {
    check_note("skipped: this system does not tell\n");
    return;
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    REQUIRE((blocks[i] = (char*)mi_malloc(8 * KIB)) != NULL);
    memset(blocks[i], 1, 8 * KIB);
  }
  size_t full = rss_bytes();
  for (size_t i = 0; i < BLOCKS; i++)
    if ((uintptr_t)blocks[i] / SLICE % 4 != 0) {
      mi_free(blocks[i]);
      blocks[i] = NULL;
    }
  wait_for_purge();
  CHECK_LE(rss_bytes(), full - 70 * MIB);
  size_t after = partly_dropped();
  check_note("huge pages kept for a part: %zu before, %zu after\n", before, after);
  CHECK_LE(after, before + 8);
  for (size_t i = 0; i < BLOCKS; i++) mi_free(blocks[i]);
}

static const check_case_t cases[] = {
    CASE(small_program_gets_no_advice),
    CASE(small_blocks_of_a_large_program_are_advised),
    CASE(fresh_large_block_costs_what_is_touched),
    CASE(stacks_cost_what_is_touched),
    CASE(second_dense_block_is_advised_but_for_its_tail),
    CASE(sparse_vector_that_grows_is_not_advised),
    CASE(block_with_an_untouched_end_is_not_advised),
    CASE(block_that_grows_is_advised_and_keeps_its_contents),
    CASE(advice_comes_again_with_the_next_block),
    CASE(purge_leaves_mostly_used_regions_whole),
    CASE(purged_part_of_a_huge_page_goes_back_to_the_system),
};

int main(int argc, char** argv) {
  if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) {
    check_note("this system has no transparent huge pages: nothing to test\n");
    return 0;
  }
  return CHECK_MAIN(argc, argv, cases);
}
