/* load.h - a workload for a system that refuses calls: small, large and OS-mapped blocks, aligned
 * and zeroed ones, realloc, several threads and heaps. A request that fails returns NULL and is
 * counted; live blocks keep their contents; at the end every block can be freed. */
#pragma once
#include "probe.h"
#include "purger.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

#define HELD 24
#define THREADS 2

typedef struct held_s {
  char* block;
  size_t size;
  unsigned seed;
} held_t;

/* Only few OS pages of a large block carry marks, for there are many runs. */
#define STEP (40 * OS_PAGE + 64)
static void held_fill(held_t* h) {
  if (h->size <= OS_PAGE) {
    pattern_fill(h->block, h->size, h->seed);
    return;
  }
  for (size_t i = 0; i < h->size; i += STEP) h->block[i] = (char)pattern_at(i, h->seed);
  h->block[h->size - 1] = (char)pattern_at(h->size - 1, h->seed);
}
static void held_check(const held_t* h, const char* block, size_t size) {
  if (block == NULL) return;
  if (h->size <= OS_PAGE) {
    (void)pattern_holds(block, size, h->seed);
    return;
  }
  for (size_t i = 0; i < size; i += STEP) {
    if (!CHECK_EQ((unsigned char)block[i], pattern_at(i, h->seed))) {
      check_note("byte %zu of a block of %zu\n", i, h->size);
      return;
    }
  }
}
static void held_free(held_t* h) {
  held_check(h, h->block, h->size);
  mi_free(h->block);
  memset(h, 0, sizeof *h);
}

typedef struct worker_s {
  held_t held[HELD];
  rng_t rng;
  mi_heap_t* heap;
  size_t nulls;
} worker_t;

static worker_t workers[1 + THREADS];

static size_t some_size(rng_t* rng) {
  switch (rng_below(rng, 10)) {
  case 0:
    return 550 * MIB + rng_below(rng, 100 * MIB); /* OS-mapped; little of it is touched */
  case 1:
  case 2:
    return 4 * MIB + rng_below(rng, 4 * MIB);
  case 3:
  case 4:
  case 5:
    return 300 * KIB + rng_below(rng, MIB);
  default:
    return rng_size(rng, 40000);
  }
}

/* Touched at its ends only. */
static bool is_direct(size_t size) { return size > 512 * MIB; }

static void work_step(worker_t* w, unsigned step) {
  held_t* h = &w->held[rng_below(&w->rng, HELD)];
  size_t size = some_size(&w->rng);
  unsigned what = (unsigned)rng_below(&w->rng, 8);
  char* p;
  if (is_direct(size)) {
    p = what % 2 == 0 ? (char*)mi_malloc(size) : (char*)mi_malloc_aligned(size, 8 * MIB);
    if (p == NULL) {
      w->nulls++;
      return;
    }
    p[0] = p[size - 1] = 1;
    mi_free(p);
    return;
  }
  if (what <= 2) {
    p = (char*)mi_realloc(h->block, size);
    if (p == NULL) { /* the old block stays */
      w->nulls++;
      held_check(h, h->block, h->size);
      return;
    }
    held_check(h, h->block == NULL ? NULL : p, h->size < size ? h->size : size);
  } else {
    held_free(h);
    p = what == 3                      ? (char*)mi_zalloc(size)
        : what == 4                    ? (char*)mi_malloc_aligned(size, (size_t)64 << (step % 16))
        : what == 5 && w->heap != NULL ? (char*)mi_heap_malloc(w->heap, size)
        : what == 6 && w->heap != NULL ? (char*)mi_heap_zalloc(w->heap, size)
                                       : (char*)mi_malloc(size);
    if (p == NULL) {
      w->nulls++;
      return;
    }
    if (what == 4) CHECK(is_aligned(p, (size_t)64 << (step % 16)));
    if (what == 3 || (what == 6 && w->heap != NULL))
      for (size_t i = 0; i < size; i += size < 2 * OS_PAGE ? 1 : 10 * OS_PAGE - 8)
        if (!CHECK_EQ(p[i], 0)) break;
  }
  *h = (held_t){p, size, step};
  held_fill(h);
}

static void work_begin(worker_t* w) {
  if (w->heap == NULL) w->heap = mi_heap_new();
  if (w->heap == NULL) w->nulls++;
}
static void work_some(worker_t* w, unsigned round) {
  for (unsigned i = 0; i < 20; i++) work_step(w, round * 20 + i);
}
static void heap_end(worker_t* w) {
  if (w->heap != NULL) mi_heap_delete(w->heap); /* its blocks live on */
  w->heap = NULL;
}

static void* work_in_a_thread(void* arg) {
  worker_t* w = (worker_t*)arg;
  work_begin(w);
  for (unsigned round = 0; round < 2; round++) work_some(w, round);
  heap_end(w);
  return NULL; /* its blocks stay */
}

/* The stacks are static: a stack that the C library keeps for the next thread would hold blocks of
 * this allocator. */
static char stacks[THREADS][256 * KIB] __attribute__((aligned(64)));

static void one_round(unsigned round) {
  pthread_t threads[THREADS];
  bool started[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstack(&attributes, stacks[i], sizeof stacks[i]) == 0);
    started[i] = pthread_create(&threads[i], &attributes, &work_in_a_thread, &workers[1 + i]) == 0;
  }
  work_begin(&workers[0]);
  work_some(&workers[0], round);
  heap_end(&workers[0]);
  for (size_t i = 0; i < THREADS; i++)
    if (started[i]) thread_join(threads[i]);
  if (round % 4 == 3) mi_collect(round % 8 == 7);
}

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

static void free_all(void) {
  for (size_t i = 0; i < COUNT_OF(workers); i++)
    for (size_t k = 0; k < HELD; k++) held_free(&workers[i].held[k]);
}

static size_t in_use(const mi_stats_t* stats) {
  return (size_t)(stats->malloc_normal.current + stats->malloc_huge.current);
}

/* Bytes that the C library itself has allocated, as musl does in a program that is linked with the
 * library. Measured before any load, so that they are not mistaken for a loss. */
static struct {
  bool known;
  size_t bytes, committed;
  int64_t pages;
} of_others;

static void note_what_others_have(void) {
  if (of_others.known) return;
  mi_collect(true);
  mi_stats_t stats = stats_now();
  of_others.known = true;
  of_others.bytes = in_use(&stats);
  of_others.pages = stats.pages.current;
  of_others.committed = (size_t)stats.page_committed.current;
}

/* The system works again, so every call must work. Returns the bytes that are in use although no
 * block is live. */
static size_t load_end(unsigned round) {
  size_t nulls = 0;
  for (size_t i = 0; i < COUNT_OF(workers); i++) nulls += workers[i].nulls;
  for (unsigned i = 0; i < 2; i++) one_round(round + i);
  for (size_t i = 0; i < COUNT_OF(workers); i++) nulls -= workers[i].nulls;
  CHECK_EQ(nulls, 0);
  free_all();
  mi_collect(true);
  mi_stats_t stats = stats_now();
  size_t lost = (size_t)stats.page_committed.current - of_others.committed;
  bool kept = is_kept_for_purger((int64_t)(in_use(&stats) - of_others.bytes));
  if (!kept) CHECK_EQ(in_use(&stats), of_others.bytes);
  if (!kept || stats.pages.current != of_others.pages + 1) {
    CHECK_EQ(stats.pages.current, of_others.pages);
    return lost;
  }
  return lost >= 64 * KIB ? lost - 64 * KIB : lost;
}

static void load_begin(void) {
  note_what_others_have();
  for (size_t i = 0; i < COUNT_OF(workers); i++) workers[i].rng.state = i + 1;
}
