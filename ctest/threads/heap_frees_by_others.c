/* heap_frees_by_others.c - other threads free and resize blocks of first-class heaps while the
 * owner uses, collects, deletes or destroys the heap. CTEST_SCALE multiplies the rounds.
 */
#include "heap_threads.h"

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- blocks that say what they are -------------------------------------------------- */

/* A new heap has no blocks, even if its heap struct is reused. */
static void check_is_empty(mi_heap_t* heap) {
  size_t visited = 0;
  CHECK(!mi_heap_visit_blocks(heap, true, &count_visited, &visited));
  CHECK_EQ(visited, 0);
}

/* ---- others free and resize while a heap is deleted ------------------------- */

static void others_release_blocks_while_their_heap_is_deleted(void) {
  pthread_t threads[4];
  for (size_t i = 0; i < 3; i++) threads[i] = thread_start(&free_and_resize, (void*)(i + 1));
  threads[3] = thread_start(&ask_about_blocks, (void*)4);
  rng_t rng = {99};
  for (size_t round = 0; round < check_scaled(400); round++) {
    mi_heap_t* heap = round % 5 == 4 ? mi_heap_new_ex(0, false, 0) : heap_make();
    REQUIRE(heap != NULL);
    check_is_empty(heap);
    if (round % 3 == 0) mi_heap_set_default(heap);
    head_t* mine[40];
    for (size_t i = 0; i < 400; i++) {
      head_t* h = block_make(heap, &rng, NULL);
      if (i % 10 == 0) {
        mine[i / 10] = h;
      } else {
        block_free(slot_swap(rng_below(&rng, SLOTS), h));
      }
    }
    if (round % 5 == 4) {
      mi_heap_destroy(heap);
    } else {
      mi_heap_delete(heap);
    }
    CHECK_SAME(mi_heap_get_default(), mi_heap_get_backing());
    for (size_t i = 0; i < COUNT_OF(mine); i++) {
      block_check(mine[i], SIZE_MAX);
      CHECK(mi_any_heap_contains(mine[i])); /* another thread may have reclaimed its page */
      block_free(i % 4 == 0 ? block_resize(mine[i], &rng) : mine[i]);
    }
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  slots_clear();
}

/* Large blocks only: their owner word changes while other threads use them. The test writes only
 * the head of each, so that it spends most of its time in resizing. */
#define LARGE_SLOTS 8

#define LARGE_HEAD 2000

static head_t* large_make(mi_heap_t* heap, rng_t* rng) {
  head_t* h = (head_t*)mi_heap_malloc(heap, 70000 + rng_below(rng, MIB));
  REQUIRE(h != NULL);
  block_fill(h, LARGE_HEAD, (unsigned)rng_next(rng), NULL);
  return h;
}

static void* resize_large_blocks(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  if ((uintptr_t)arg % 2 == 0) mi_heap_set_default(heap_make());
  while (!stopped()) {
    size_t at = rng_below(&rng, LARGE_SLOTS);
    head_t* h = slot_swap(at, NULL);
    if (h == NULL) {
      sched_yield();
      continue;
    }
    for (size_t i = rng_below(&rng, 24); i > 0; i--) {
      /* To less than half, which gives memory back, and then larger again. */
      h = (head_t*)mi_realloc(h, 70000 + (i % 2) * rng_below(&rng, MIB));
      REQUIRE(h != NULL);
      block_check(h, SIZE_MAX);
    }
    if (rng_below(&rng, 2) == 0) h = slot_swap(at, h);
    block_free(h);
  }
  return NULL;
}

static void others_resize_large_blocks_while_their_heap_is_deleted(void) {
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++) threads[i] = thread_start(&resize_large_blocks, (void*)(i + 1));
  rng_t rng = {7};
  double end = now_seconds() + 0.5 * check_scale(); /* time enough for the others to take part */
  for (size_t round = 0; now_seconds() < end; round++) {
    mi_heap_t* heap = heap_make();
    check_is_empty(heap);
    for (size_t i = 0; i < LARGE_SLOTS; i++) {
      if (round % 4 != 0 && i % 4 != 0) continue;
      block_free(slot_swap(i, large_make(heap, &rng)));
    }
    for (size_t spins = rng_below(&rng, 2000); spins > 0; spins--) __asm__ volatile("");
    mi_heap_delete(heap);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  slots_clear();
}

/* Small blocks that carry their identity twice; the threads do little but free them. */
typedef struct stamp_s {
  size_t number;
  size_t same;
} stamp_t;

#define STAMP_SLOTS 64

static stamp_t* stamps[STAMP_SLOTS]; /* exchanged atomically */

static void stamp_free(stamp_t* s) {
  if (s == NULL) return;
  REQUIRE(s->number == s->same && s->number != 0);
  s->number = 0; /* a block that is allocated twice would show */
  mi_free(s);
}

static void stamp_hand_over(stamp_t* s, size_t at) {
  stamp_free(__atomic_exchange_n(&stamps[at], s, __ATOMIC_ACQ_REL));
}

static void* free_stamps(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  mi_heap_t* own = heap_make();
  CHECK_NOT_NULL(mi_heap_malloc(own, sizeof(stamp_t)));
  while (!stopped()) stamp_hand_over(NULL, rng_below(&rng, STAMP_SLOTS));
  return NULL;
}

static void others_free_small_blocks_while_their_heap_is_deleted(void) {
  enum { KEPT = 200 };
  pthread_t threads[2];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&free_stamps, (void*)(i + 1));
  }
  rng_t rng = {3};
  size_t number = 1;
  double end = now_seconds() + 0.5 * check_scale();
  for (size_t round = 0; now_seconds() < end; round++) {
    static stamp_t* kept[KEPT];
    mi_heap_t* heap = heap_make();
    size_t size = sizeof(stamp_t) << rng_below(&rng, 4);
    for (size_t i = 0; i < 5 * KEPT; i++) {
      stamp_t* s = (stamp_t*)mi_heap_malloc(heap, size);
      REQUIRE(s != NULL);
      s->number = s->same = number++;
      if (i % 5 == 0) {
        kept[i / 5] = s;
      } else {
        stamp_hand_over(s, rng_below(&rng, STAMP_SLOTS));
      }
    }
    if (round % 2 == 0) mi_heap_delete(heap);
    for (size_t i = 0; i < KEPT; i++) stamp_free(kept[i]);
    if (round % 2 == 1) mi_heap_delete(heap);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  for (size_t i = 0; i < STAMP_SLOTS; i++) stamp_hand_over(NULL, i);
}

/* One heap is destroyed while others free the blocks of its neighbours. */
static void other_heaps_are_destroyed_meanwhile(void) {
  pthread_t threads[3];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&free_and_resize, (void*)(i + 1));
  }
  rng_t rng = {5};
  mi_heap_t* shared = heap_make();
  for (size_t round = 0; round < check_scaled(300); round++) {
    mi_heap_t* own = heap_make();
    for (size_t i = 0; i < 300; i++) {
      block_check(block_make(own, &rng, NULL), SIZE_MAX);
      if (i % 2 == 0) {
        block_free(slot_swap(rng_below(&rng, SLOTS), block_make(shared, &rng, NULL)));
      }
    }
    mi_heap_destroy(own);
    if (round % 16 == 15) {
      mi_heap_delete(shared);
      shared = heap_make();
    }
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  slots_clear();
  mi_heap_destroy(shared);
}

/* ---- made by A, used by B, destroyed by A ----------------------------------- */

#define CYCLE_THREADS 32

#define CYCLE_BLOCKS 12

static size_t cycle_rounds;

static int cycle_out[CYCLE_THREADS][4]; /* atomic: blocks of a heap that others have */

static void* cycles(void* arg) {
  size_t number = (size_t)(uintptr_t)arg;
  rng_t rng = {number + 1};
  size_t destroyed = 0;
  for (size_t round = 0; round < cycle_rounds; round++) {
    int* out = &cycle_out[number][round % 4];
    /* Others may still have blocks of an earlier heap. */
    if (__atomic_load_n(out, __ATOMIC_ACQUIRE) != 0) out = NULL;
    mi_heap_t* heap = heap_make();
    head_t* left[CYCLE_BLOCKS / 3];
    for (size_t i = 0; i < CYCLE_BLOCKS; i++) {
      head_t* h = block_make(heap, &rng, NULL);
      left[i / 3] = h;
      if (i % 3 == 0) {
        if (out != NULL) __atomic_fetch_add(out, 1, __ATOMIC_RELAXED);
        h->out = out;
        block_free(slot_swap(rng_below(&rng, SLOTS), h));
      } else if (i % 3 == 1) {
        block_free(h);
      }
    }
    block_free(slot_swap(rng_below(&rng, SLOTS), NULL));
    if (round % 4 ==
        3) { /* frees all blocks, and waits a little for those that other threads hold */
      for (size_t i = 0; i < SLOTS; i++) block_free(slot_swap(i, NULL));
      for (int tries = 0; out != NULL && tries < 100 && __atomic_load_n(out, __ATOMIC_ACQUIRE) != 0;
           tries++) {
        sched_yield();
      }
    }
    if (out != NULL && __atomic_load_n(out, __ATOMIC_ACQUIRE) == 0) {
      mi_heap_destroy(heap); /* with what is left in it */
      destroyed++;
    } else {
      mi_heap_delete(heap);
      for (size_t i = 0; i < COUNT_OF(left); i++) block_free(left[i]);
    }
  }
  return (void*)(uintptr_t)destroyed;
}

static void heaps_come_and_go_in_32_threads(void) {
  cycle_rounds = check_scaled(MI_TEST_DEBUG_FULL || !RSS_IS_MEANINGFUL ? 100 : 1000);
  size_t before = rss_bytes();
  pthread_t threads[CYCLE_THREADS];
  for (size_t i = 0; i < CYCLE_THREADS; i++) threads[i] = thread_start(&cycles, (void*)i);
  size_t destroyed = 0;
  for (size_t i = 0; i < CYCLE_THREADS; i++) {
    void* result;
    REQUIRE(pthread_join(threads[i], &result) == 0);
    destroyed += (size_t)(uintptr_t)result;
  }
  slots_clear();
  mi_collect(true);
  check_note("%zu heaps destroyed, %zu deleted; resident %zu KiB more\n", destroyed,
             CYCLE_THREADS * cycle_rounds - destroyed, (rss_bytes() - before) / KIB);
  CHECK_GE(destroyed, 1);
  CHECK_LE(rss_bytes(), before + 48 * MIB);
}

/* ---- threads that end --------------------------------------------------------------- */

/* Many threads only free, while the owner of the heap sleeps or works. */
static void* free_everything(void* arg) {
  head_t** list = (head_t**)arg;
  for (size_t i = 0; list[i] != NULL; i++) block_free(list[i]);
  return NULL;
}

/* mi_collect: "takes back what other threads freed, ... releases empty pages of the calling
 * thread", of all its heaps. */
static void collect_returns_remote_frees_of_every_heap(void) {
  enum { COUNT = 40000 };
  static head_t* list[COUNT + 1];
  mi_heap_t* heap = heap_make();
  for (int kind = 0; kind < 3; kind++) {
    size_t before = rss_bytes();
    for (size_t i = 0; i < COUNT; i++) {
      list[i] = (head_t*)mi_heap_malloc(heap, 700);
      REQUIRE(list[i] != NULL);
      block_fill(list[i], 700, 1, NULL);
    }
    if (kind == 1) mi_heap_set_default(heap); /* the backing heap is not the default then */
    if (kind == 2) {
      mi_heap_set_default(mi_heap_get_backing());
      mi_heap_delete(heap);
    }
    thread_join(thread_start(&free_everything, list));
    if (kind == 2) mi_heap_set_default(heap = heap_make());
    mi_collect(true);
    check_note("kind %d: %zu KiB before, %zu after\n", kind, before / KIB, rss_bytes() / KIB);
    CHECK_LE(rss_bytes(), before + 5 * MIB);
  }
}

/* A heap that was deleted: its full pages need no owner. */
static void full_pages_of_a_deleted_heap_do_not_wait_for_their_thread(void) {
  enum { COUNT = 40000 };
  static head_t* list[COUNT + 1];
  size_t before = rss_bytes();
  mi_heap_t* heap = heap_make();
  for (size_t i = 0; i < COUNT; i++) {
    list[i] = (head_t*)mi_heap_malloc(heap, 700);
    REQUIRE(list[i] != NULL);
    block_fill(list[i], 700, 1, NULL);
  }
  mi_heap_delete(heap);
  thread_join(thread_start(&free_everything, list));
  /* The test does not collect: allocations purge pending memory after its delay. */
  for (int i = 0; i < 50; i++) {
    sleep_ms(20);
    for (int k = 0; k < 2000; k++) mi_free(opaque(mi_malloc(3000)));
  }
  check_note("%zu KiB before, %zu after\n", before / KIB, rss_bytes() / KIB);
  CHECK_LE(rss_bytes(), before + 8 * MIB);
}

/* ---- what is forbidden is reported -------------------------------------------------- */

#if MI_TEST_DEBUG_FULL || FOREIGN_HEAPS_ARE_REPORTED
static int codes[8]; /* by position */
static int code_count;
static void on_error(int code, void* arg) {
  (void)arg;
  if (code_count < (int)COUNT_OF(codes)) codes[code_count] = code;
  code_count++;
}
static void expect_efault(const char* what) {
  if (!CHECK(code_count >= 1 && codes[0] == EFAULT)) check_note("%s: %d codes\n", what, code_count);
  code_count = 0;
}
static void* use_the_heap_of_another(void* arg) {
  mi_heap_t* heap = (mi_heap_t*)arg;
  mi_free(mi_malloc(1));
  void* p = mi_heap_malloc(heap, 100); /* of a heap of our own, so that no two threads use one */
  expect_efault("mi_heap_malloc");
  CHECK_SAME(mi_heap_of(p), mi_heap_get_default());
  mi_free(p);
  mi_free(mi_heap_zalloc(heap, 100));
  expect_efault("mi_heap_zalloc");
  mi_free(mi_heap_malloc_aligned(heap, 100, 64));
  expect_efault("mi_heap_malloc_aligned");
  mi_free(mi_heap_realloc(heap, mi_malloc(10), 5000));
  expect_efault("mi_heap_realloc");
  mi_free(mi_heap_strdup(heap, "text"));
  expect_efault("mi_heap_strdup");
  mi_heap_t* before = mi_heap_get_default();
  mi_heap_set_default(heap);
  expect_efault("mi_heap_set_default");
  CHECK_SAME(mi_heap_get_default(), before);
  mi_heap_delete(heap);
  expect_efault("mi_heap_delete");
  mi_heap_destroy(heap);
  expect_efault("mi_heap_destroy");
  return NULL;
}
static void use_by_another_thread_is_reported(void) {
  mi_register_error(&on_error, NULL);
  mi_heap_t* heap = heap_make();
  head_t* h = (head_t*)mi_heap_malloc(heap, 100);
  thread_join(thread_start(&use_the_heap_of_another, heap));
  CHECK_SAME(mi_heap_of(h), heap);
  code_count = 0;
  mi_free(h);
  mi_free(mi_heap_malloc(heap, 100));
  mi_heap_destroy(heap);
  CHECK_EQ(code_count, 0);
}
#endif

static const check_case_t cases[] = {
    CASE(others_release_blocks_while_their_heap_is_deleted),
    CASE(others_resize_large_blocks_while_their_heap_is_deleted),
    CASE(others_free_small_blocks_while_their_heap_is_deleted),
    CASE(other_heaps_are_destroyed_meanwhile),
    CASE(heaps_come_and_go_in_32_threads),
    CASE(collect_returns_remote_frees_of_every_heap),
    CASE(full_pages_of_a_deleted_heap_do_not_wait_for_their_thread),
#if MI_TEST_DEBUG_FULL || FOREIGN_HEAPS_ARE_REPORTED
    CASE(use_by_another_thread_is_reported),
#endif
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
