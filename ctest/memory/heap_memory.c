/* heap_memory.c - the memory of a first-class heap, and that the heap gives it back: when
 * destroyed, deleted, collected, or only emptied. */
#include "arena_blocks.h"
#include "heap_blocks.h"
#include <mimalloc-stats.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- costs -------------------------------------------------------------------------- */

static void* fill_heap(mi_heap_t* heap, size_t size, size_t total) {
  void** last = NULL;
  for (size_t bytes = 0; bytes < total; bytes += size) {
    void** p = (void**)mi_heap_malloc(heap, size);
    REQUIRE(p != NULL);
    *p = (void*)last;
    last = p;
  }
  return (void*)last;
}

/* "in time proportional to its pages" */
static void destroying_costs_pages_not_blocks(void) {
  const size_t total = 64 * MIB;
  double least[2] = {1e9, 1e9};
  for (int round = 0; round < 7; round++) {
    for (int kind = 0; kind < 2; kind++) {
      mi_heap_t* heap = heap_make();
      fill_heap(heap, kind == 0 ? 8 : 1024, total);
      double start = now_seconds();
      mi_heap_destroy(heap);
      double took = now_seconds() - start;
      if (took < least[kind]) least[kind] = took;
    }
  }
  check_note("destroying 64 MiB: %.0f us in blocks of 8 bytes, %.0f us in blocks of 1 KiB\n",
             least[0] * 1e6, least[1] * 1e6);
  /* 128 times as many blocks, in about as many pages. */
  if (!MI_TEST_DEBUG_FULL) CHECK_LE_DOUBLE(least[0], least[1] * 8 + 0.0005);
}

static void destroyed_and_deleted_heaps_give_memory_back(void) {
  size_t rounds = 1000;
  size_t peak = 0;
  size_t settled = 0;
  for (size_t i = 0; i < rounds; i++) {
    mi_heap_t* heap = heap_make();
    void** small = (void**)fill_heap(heap, 48 + i % 5 * 100, MIB);
    void** large = (void**)fill_heap(heap, 150000, MIB);
    if (i % 2 == 0) {
      mi_heap_destroy(heap);
    } else {
      mi_heap_delete(heap);
      while (small != NULL) {
        void** next = (void**)*small;
        mi_free((void*)small);
        small = next;
      }
      while (large != NULL) {
        void** next = (void**)*large;
        mi_free((void*)large);
        large = next;
      }
    }
    size_t now = rss_bytes();
    if (i < rounds / 5) {
      if (now > settled) settled = now;
    } else if (now > peak) {
      peak = now;
    }
  }
  check_note("resident: %zu KiB at most in the first fifth, %zu KiB later\n", settled / KIB,
             peak / KIB);
  CHECK_LE(peak, settled + 2 * MIB);
  mi_collect(true);
  CHECK_LE(rss_bytes(), settled);
}

/* Other heaps can use the memory of a destroyed heap without a collect. */
static void memory_of_a_destroyed_heap_is_for_all(void) {
  mi_heap_t* a = heap_make();
  fill_heap(a, 500, 40 * MIB);
  memset(mi_heap_malloc(a, 20 * MIB), 1, 20 * MIB);
  mi_heap_destroy(a);
  rss_peak_reset();
  mi_heap_t* b = heap_make();
  fill_heap(b, 40, 40 * MIB);
  memset(mi_heap_malloc(b, 20 * MIB), 1, 20 * MIB);
  mi_heap_destroy(b);
  check_note("peak: %zu MiB\n", rss_peak_bytes() / MIB);
  CHECK_LE(rss_peak_bytes(), 85 * MIB);
}

static void collecting_a_heap_gives_its_free_pages_back(void) {
  mi_heap_t* heap = heap_make();
  size_t before = rss_bytes();
  void** p = (void**)fill_heap(heap, 100, 30 * MIB);
  CHECK(RSS_IS_MEANINGFUL == 0 || rss_bytes() >= before + 30 * MIB);
  while (p != NULL) {
    void** next = (void**)*p;
    mi_free((void*)p);
    p = next;
  }
  mi_heap_collect(heap, true);
  CHECK_LE(rss_bytes(), before + 3 * MIB);
  CHECK_EQ(live_blocks(heap), 0);
  p = (void**)mi_heap_malloc(heap, 100);
  CHECK(owned_by(heap, p));
  mi_heap_destroy(heap);
}

/* mi_collect_reduce(0): the thread keeps almost no memory, and its heaps still work. */
static void collect_reduce_keeps_blocks_and_heaps(void) {
  static char* held[20000];
  mi_heap_t* heap = heap_make();
  for (size_t target = 0; target <= 8 * MIB; target = target * 4 + 64 * KIB) {
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = (char*)mi_heap_malloc(i % 2 == 0 ? heap : NULL, 100 + i % 1000);
      REQUIRE(held[i] != NULL);
      pattern_fill(held[i], 100, (unsigned)i);
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      if (i % 16 != 0) {
        mi_free(held[i]);
        held[i] = NULL;
      }
    }
    mi_collect_reduce(target);
    CHECK_SAME(mi_heap_get_default(), mi_heap_get_backing());
    for (size_t i = 0; i < COUNT_OF(held); i += 16) {
      CHECK(pattern_holds(held[i], 100, (unsigned)i));
      CHECK_SAME(mi_heap_of(held[i]), i % 2 == 0 ? heap : mi_heap_get_backing());
      mi_free(held[i]);
    }
  }
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_destroy(heap);
}

static void* take_gaps(void* arg) {
  for (size_t i = 0; i < 3500; i++) REQUIRE(mi_malloc(1000) != NULL);
  return arg;
}

/* heap-slices-not-counted-down: mi_collect_reduce leaves as many pages as it may: of the
 * gaps in 8 MiB another thread can use those in 4 MiB, and needs new pages then. */
static void collect_reduce_leaves_what_it_may(void) {
  static void* p[8000]; /* in 128 pages or so */
  allow_os();
  rng_t rng = {2};
  for (size_t round = 0; round < 200000; round++) {
    void** at = &p[rng_below(&rng, COUNT_OF(p))];
    mi_free(*at);
    REQUIRE((*at = mi_malloc(1000)) != NULL);
  }
  for (size_t i = 0; i < COUNT_OF(p); i++)
    if (rng_below(&rng, 2) == 0) {
      mi_free(p[i]);
      p[i] = NULL;
    }
  mi_collect_reduce(4 * MIB);
  int64_t before = stats_now().page_committed.current;
  thread_join(thread_start(&take_gaps, NULL));
  int64_t grown = stats_now().page_committed.current - before;
  check_note("%lld KiB grown\n", (long long)grown / 1024);
  CHECK_GE(grown, 512 * 1024);
  CHECK_LE(grown, 3 * 1024 * 1024);
  free_all(p, COUNT_OF(p), 0, 1);
}

/* ---- moving objects together -------------------------------------------------------- */

/* Blocks come and go in a heap full of others that stay. Freed blocks are reused, although their
 * page was full. */
static void room_between_blocks_that_stay_is_found(void) {
  enum { STAY = 500000, LEAST = 20000, MOST = 60000, SIZE = 64 };
  static void* p[MOST];
  mi_heap_t* heap = heap_make();
  rng_t rng = {4};
  size_t n = 0;
  for (size_t i = 0; i < STAY; i++) memset(mi_heap_malloc(heap, SIZE), 1, SIZE);
  size_t before = rss_bytes();
  for (int round = 0; round < 20; round++) {
    while (n < MOST) memset(p[n++] = mi_heap_malloc(heap, SIZE), 1, SIZE);
    while (n > LEAST) {
      size_t i = rng_below(&rng, n);
      mi_free(p[i]);
      p[i] = p[--n];
    }
  }
  size_t grown = rss_bytes() - before;
  check_note("%zu KiB for at most %zu KiB\n", grown / KIB, (size_t)MOST * SIZE / KIB);
  if (RSS_IS_MEANINGFUL) CHECK_LE(grown, (size_t)MOST * SIZE * 2);
  mi_heap_destroy(heap);
}

/* ---- slices --------------------------------------------------------------------------------- */

/* ---- what a heap keeps ---------------------------------------------------------------------- */

/* heap-trim-mark-not-set: a heap gives back a page that it has not used for a while, although the
 * page is the active one of its class. The case takes no statistics meanwhile, because that puts
 * blocks back too. */
static void active_pages_are_given_back_when_unused(void) {
  static void* blocks[20000];
  size_t classes = 0;
  allow_os();
  int64_t before = stats_now().pages.current;
  for (size_t size = 16; size <= 64 * KIB; size += size < 1024 ? 16 : size / 8, classes++)
    mi_free(opaque(mi_malloc(size)));
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < COUNT_OF(blocks); i++) REQUIRE((blocks[i] = mi_malloc(100)) != NULL);
    free_all(blocks, COUNT_OF(blocks), 0, 1);
  }
  CHECK_LE(stats_now().pages.current, before + (int64_t)classes / 2);
}

/* free-interior-owner-not-read: the owner frees blocks of pages of several slices like all others,
 * at any place in the page. The pages are given back without a collect. */
static void pages_of_several_slices_are_given_back_by_free(void) {
  enum { BLOCKS = 2000 }; /* 20 in a page of eight slices */
  static void* blocks[BLOCKS];
  allow_os();
  mi_heap_t* heap = mi_heap_new(); /* keeps its full pages, so all frees are by the owner */
  REQUIRE(heap != NULL);
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE((blocks[i] = mi_heap_malloc(heap, 25000)) != NULL);
  int64_t before = stats_now().pages.current;
  free_all(blocks, BLOCKS, 0, 1);
  CHECK_LE(stats_now().pages.current, before - BLOCKS / 20 + 5);
  mi_heap_destroy(heap);
}

static const check_case_t cases[] = {
    CASE(destroying_costs_pages_not_blocks),
    CASE(destroyed_and_deleted_heaps_give_memory_back),
    CASE(memory_of_a_destroyed_heap_is_for_all),
    CASE(collecting_a_heap_gives_its_free_pages_back),
    CASE(collect_reduce_keeps_blocks_and_heaps),
    CASE(collect_reduce_leaves_what_it_may),
    CASE(room_between_blocks_that_stay_is_found),
    CASE(active_pages_are_given_back_when_unused),
    CASE(pages_of_several_slices_are_given_back_by_free),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
