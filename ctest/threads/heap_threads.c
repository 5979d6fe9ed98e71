/* heap_threads.c - first-class heaps and several threads: blocks are released and resized by
 * others while their heap is used, deleted, or ends with its thread; heaps and forks; destructors
 * of threads (D2.11, D2.14, D2.18, D3.24, D7.54, D7.55). CTEST_SCALE multiplies the rounds.
 */
#include "probe.h"
#include <mimalloc.h>
#include <sched.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- blocks that say what they are -------------------------------------------------- */

typedef struct head_s {
  size_t size;
  int* out; /* counts the blocks of its heap that are in the hands of others; may be NULL */
  unsigned seed;
  unsigned check;
} head_t;

static unsigned head_checksum(const head_t* h) {
  return (unsigned)(h->size * 2654435761u) ^ h->seed ^ 0x2545f491u;
}
static void block_fill(head_t* h, size_t size, unsigned seed, int* out) {
  h->size = size;
  h->out = out;
  h->seed = seed;
  h->check = head_checksum(h);
  unsigned char* bytes = (unsigned char*)h;
  size_t step = size > 2000 ? 257 : 1;
  for (size_t i = sizeof *h; i < size; i += step) bytes[i] = pattern_at(i, seed);
  if (size > sizeof *h) bytes[size - 1] = pattern_at(size - 1, seed);
}
static void block_check(const head_t* h, size_t kept) {
  REQUIRE(h->check == head_checksum(h));
  const unsigned char* bytes = (const unsigned char*)h;
  size_t step = h->size > 2000 ? 257 : 1;
  for (size_t i = sizeof *h; i < h->size && i < kept; i += step) {
    if (bytes[i] == pattern_at(i, h->seed)) continue;
    check_fail("block %p of %zu bytes: byte %zu is 0x%02x, not 0x%02x\n", (const void*)h, h->size,
               i, bytes[i], pattern_at(i, h->seed));
    _exit(1);
  }
}
static void block_free(head_t* h) {
  if (h == NULL) return;
  block_check(h, SIZE_MAX);
  REQUIRE(mi_usable_size(h) >= h->size);
  int* out = h->out;
  h->check = 0;
  mi_free(h);
  if (out != NULL) __atomic_fetch_sub(out, 1, __ATOMIC_RELEASE);
}
static size_t block_size(rng_t* rng) {
  size_t kind = rng_below(rng, 200);
  size_t size = rng_size(rng, kind == 0 ? MIB : kind < 6 ? 200000 : 2500);
  return size < sizeof(head_t) ? sizeof(head_t) : size;
}
static head_t* block_make(mi_heap_t* heap, rng_t* rng, int* out) {
  size_t size = block_size(rng);
  head_t* h;
  switch (rng_below(rng, 8)) {
  case 0:
    h = (head_t*)mi_heap_malloc_aligned_at(heap, size, 256, 16);
    break;
  case 1:
    h = (head_t*)mi_heap_zalloc(heap, size);
    REQUIRE(h != NULL && all_bytes_are(h, size, 0));
    break;
  default:
    h = (head_t*)mi_heap_malloc(heap, size);
    break;
  }
  REQUIRE(h != NULL);
  block_fill(h, size, (unsigned)rng_next(rng), out);
  return h;
}
/* Into the calling thread's default heap, if it moves. */
static head_t* block_resize(head_t* h, rng_t* rng) {
  block_check(h, SIZE_MAX);
  size_t size = block_size(rng);
  size_t kept = h->size < size ? h->size : size;
  h = (head_t*)(rng_below(rng, 4) == 0 ? mi_realloc_aligned(h, size, 64) : mi_realloc(h, size));
  REQUIRE(h != NULL);
  block_check(h, kept);
  block_fill(h, size, (unsigned)rng_next(rng), h->out);
  return h;
}

static mi_heap_t* heap_make(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  return heap;
}

#define SLOTS 512
static head_t* slots[SLOTS]; /* exchanged atomically */

static head_t* slot_swap(size_t i, head_t* h) {
  return __atomic_exchange_n(&slots[i], h, __ATOMIC_ACQ_REL);
}
static void slots_clear(void) {
  for (size_t i = 0; i < SLOTS; i++) block_free(slot_swap(i, NULL));
}

static int stop; /* atomic */
static bool count_visited(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                          size_t size, void* arg) {
  (void)heap;
  (void)area;
  (void)size;
  if (block != NULL) ++*(size_t*)arg;
  return true;
}
/* A new heap has no blocks, whatever heap its record was before. */
static void check_is_empty(mi_heap_t* heap) {
  size_t visited = 0;
  CHECK(!mi_heap_visit_blocks(heap, true, &count_visited, &visited));
  CHECK_EQ(visited, 0);
}

static bool stopped(void) { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }

/* ---- others free and resize while a heap is deleted (D7.55) ------------------------- */

/* Takes blocks out of the slots, frees them or puts them back at another size. */
static void* free_and_resize(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  mi_heap_t* own = heap_make(); /* whoever has heaps looks whose the block is */
  CHECK_NOT_NULL(mi_heap_malloc(own, 100));
  if ((uintptr_t)arg % 2 == 0) mi_heap_set_default(own);
  while (!stopped()) {
    head_t* h = slot_swap(rng_below(&rng, SLOTS), NULL);
    if (h == NULL) {
      if (rng_below(&rng, 64) == 0) sched_yield();
      continue;
    }
    if (rng_below(&rng, 3) == 0) {
      h = block_resize(h, &rng);
      h = slot_swap(rng_below(&rng, SLOTS), h);
    }
    block_free(h);
  }
  return NULL;
}

static void* ask_about_blocks(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  size_t known = 0;
  while (!stopped()) {
    /* Whatever becomes of it: any address may be asked about at any time. */
    head_t* h = __atomic_load_n(&slots[rng_below(&rng, SLOTS)], __ATOMIC_RELAXED);
    const void* p = (const void*)((uintptr_t)h + rng_below(&rng, 100000));
    mi_heap_t* heap = mi_heap_of(p);
    known += heap != NULL;
    known += mi_any_heap_contains(p);
    known += mi_heap_contains_block(heap, p);
    known += mi_heap_contains(NULL, p);
    known += mi_is_in_heap_region(p);
  }
  void* mine = mi_malloc(10); /* the slots may have been empty whenever we looked */
  known += mi_any_heap_contains(mine);
  mi_free(mine);
  CHECK_GE(known, 1);
  return NULL;
}

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
      CHECK(mi_any_heap_contains(mine[i])); /* another thread may have taken over its page */
      block_free(i % 4 == 0 ? block_resize(mine[i], &rng) : mine[i]);
    }
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  slots_clear();
}

/* Large blocks only: the word that names their heap changes while others hold them. Only the head
 * of each is written, so that most of the time is spent in resizing. */
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
      /* To less than half, which gives memory back, and into what was given back. */
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

/* Small blocks that say twice who they are, and little else to do than to free them. */
typedef struct stamp_s {
  size_t number;
  size_t same;
} stamp_t;
#define STAMP_SLOTS 64
static stamp_t* stamps[STAMP_SLOTS]; /* exchanged atomically */

static void stamp_free(stamp_t* s) {
  if (s == NULL) return;
  REQUIRE(s->number == s->same && s->number != 0);
  s->number = 0; /* given out twice, it would be noticed */
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

/* ---- made by A, used by B, destroyed by A (D7.54) ----------------------------------- */

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
    if (round % 4 == 3) { /* take all blocks back, and wait a little for those in others' hands */
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

static size_t end_rounds;

static void* end_with_live_heaps(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  mi_heap_t* heaps[4];
  for (size_t i = 0; i < COUNT_OF(heaps); i++) {
    heaps[i] = i == 3 ? mi_heap_new_ex((int)((uintptr_t)arg % 256), true, 0) : heap_make();
    REQUIRE(heaps[i] != NULL);
  }
  if ((uintptr_t)arg % 3 == 0) mi_heap_set_default(heaps[(uintptr_t)arg % 4]);
  for (size_t i = 0; i < 200; i++) {
    head_t* h = block_make(i % 5 == 4 ? NULL : heaps[i % 4], &rng, NULL);
    block_free(slot_swap(rng_below(&rng, SLOTS), h));
  }
  if ((uintptr_t)arg % 4 == 1) mi_heap_delete(heaps[1]);
  if ((uintptr_t)arg % 4 == 2) {
    mi_thread_done(); /* and the thread starts anew */
    mi_heap_t* heap = heap_make();
    for (size_t i = 0; i < 50; i++) {
      block_free(slot_swap(rng_below(&rng, SLOTS), block_make(heap, &rng, NULL)));
    }
  }
  return NULL;
}
static void* ends(void* arg) {
  for (size_t i = 0; i < end_rounds; i++) {
    thread_join(thread_start(&end_with_live_heaps, (void*)((uintptr_t)arg + i)));
  }
  return NULL;
}

/* D2.11, D2.14, D2.18: records, ids and stacks are used again while blocks live on. */
static void threads_end_with_live_heaps(void) {
  size_t after_first = 0;
  end_rounds = check_scaled(RSS_IS_MEANINGFUL ? 150 : 40);
  for (int half = 0; half < 2; half++) {
    __atomic_store_n(&stop, 0, __ATOMIC_RELAXED);
    pthread_t threads[5];
    threads[0] = thread_start(&free_and_resize, (void*)1);
    threads[1] = thread_start(&ask_about_blocks, (void*)2);
    for (size_t i = 2; i < COUNT_OF(threads); i++)
      threads[i] = thread_start(&ends, (void*)(i * 1000));
    for (size_t i = 2; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 2; i++) thread_join(threads[i]);
    slots_clear();
    mi_collect(true);
    check_note("resident: %zu KiB\n", rss_bytes() / KIB);
    if (half == 0) after_first = rss_bytes();
  }
  CHECK_LE(rss_bytes(), after_first + 4 * MIB);
}

/* A large share of threads frees only, while the owner of the heap sleeps or works. */
static void* free_everything(void* arg) {
  head_t** list = (head_t**)arg;
  for (size_t i = 0; list[i] != NULL; i++) block_free(list[i]);
  return NULL;
}

/* mi_collect: "takes back what other threads freed, ... releases empty pages of the calling
 * thread", of all its heaps. */
static void collect_takes_back_what_others_freed_in_any_heap(void) {
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

/* D2.16 for a heap that was deleted: its full pages need no owner. */
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
  /* Nothing is called that collects: memory that waits for purge is given back within its delay
   * when somebody allocates. */
  for (int i = 0; i < 50; i++) {
    sleep_ms(20);
    for (int k = 0; k < 2000; k++) mi_free(opaque(mi_malloc(3000)));
  }
  check_note("%zu KiB before, %zu after\n", before / KIB, rss_bytes() / KIB);
  CHECK_LE(rss_bytes(), before + 8 * MIB);
}

/* ---- thread-specific data that is destroyed late ------------------------------------ */

static pthread_key_t early_key;
static pthread_key_t late_key;
static int destructor_runs; /* atomic */

typedef struct late_s {
  mi_heap_t* heap;
  head_t* of_heap;
  head_t* of_backing;
  int rounds_left;
  pthread_key_t key;
} late_t;

static void late_work(void* arg) {
  late_t* l = (late_t*)arg;
  rng_t rng = {(uint64_t)l->rounds_left};
  __atomic_fetch_add(&destructor_runs, 1, __ATOMIC_RELAXED);
  /* The heap of the thread may be gone; its blocks are not. */
  if (l->of_heap != NULL) {
    block_check(l->of_heap, SIZE_MAX);
    if (l->rounds_left % 2 == 0) {
      l->of_heap = block_resize(l->of_heap, &rng);
    } else {
      block_free(l->of_heap);
      l->of_heap = NULL;
    }
  }
  block_check(l->of_backing, SIZE_MAX);
  block_free(l->of_backing);
  l->of_backing = block_make(NULL, &rng, NULL);
  /* A heap may be refused to a thread that has ended; if it is not it must work. */
  mi_heap_t* heap = mi_heap_new();
  head_t* h = NULL;
  if (heap != NULL) {
    for (int i = 0; i < 100; i++) {
      block_free(h);
      h = block_make(heap, &rng, NULL);
    }
    CHECK_SAME(mi_heap_of(h), heap);
    mi_heap_delete(heap);
  }
  block_free(h);
  mi_heap_collect(NULL, true);
  mi_heap_delete(NULL);
  CHECK_NULL(mi_heap_set_default(NULL));
  (void)mi_heap_get_default();
  (void)mi_check_owned(l);
  CHECK(mi_any_heap_contains(l->of_backing));
  CHECK_NOT_NULL(mi_heap_of(l->of_backing));
  if (--l->rounds_left > 0) {
    pthread_setspecific(l->key, l);
  } else {
    block_free(l->of_heap);
    block_free(l->of_backing);
    mi_free(l);
  }
}

static void* thread_with_destructors(void* arg) {
  rng_t rng = {(uintptr_t)arg + 3};
  pthread_key_t keys[2] = {early_key, late_key};
  mi_heap_t* heap = heap_make();
  for (size_t i = 0; i < COUNT_OF(keys); i++) {
    late_t* l = (late_t*)mi_zalloc(sizeof *l);
    REQUIRE(l != NULL);
    l->heap = heap;
    l->of_heap = block_make(heap, &rng, NULL);
    l->of_backing = block_make(NULL, &rng, NULL);
    l->rounds_left = 3;
    l->key = keys[i];
    pthread_setspecific(keys[i], l);
  }
  if ((uintptr_t)arg % 2 == 0) mi_heap_set_default(heap);
  if ((uintptr_t)arg % 8 == 7) mi_heap_delete(heap);
  return NULL;
}

static void on_error_ignore(int code, void* arg) {
  (void)code;
  (void)arg;
}

/* D2.12 */
static void destructors_after_ours_release_blocks_of_heaps(void) {
  mi_register_error(&on_error_ignore, NULL); /* a refused heap is reported */
  for (size_t i = 0; i < 100; i++) {
    thread_join(thread_start(&thread_with_destructors, (void*)i));
  }
  CHECK_EQ(destructor_runs, 600);
}

__attribute__((constructor(101))) static void make_early_key(void) {
  pthread_key_create(&early_key, &late_work); /* before the allocator's own */
}
static void make_late_key(void) {
  mi_free(mi_malloc(1));
  pthread_key_create(&late_key, &late_work);
}

/* ---- fork (D3.24) ------------------------------------------------------------------- */

#define BUSY_THREADS 4
#define PUBLISHED 300
#define CHILD_SHARES 4 /* threads of the child, the forking one included */

/* Written by one thread each; the child of a fork finds what was written before. */
static head_t* published[BUSY_THREADS][PUBLISHED];

static void* busy_with_heaps(void* arg) {
  size_t number = (size_t)(uintptr_t)arg;
  rng_t rng = {number};
  mi_heap_t* heaps[3];
  for (size_t i = 0; i < COUNT_OF(heaps); i++) heaps[i] = heap_make();
  while (!stopped()) {
    for (int i = 0; i < 400; i++) {
      head_t** place = &published[number][rng_below(&rng, PUBLISHED)];
      head_t* old = *place;
      __atomic_store_n(place, NULL, __ATOMIC_RELEASE);
      __atomic_signal_fence(__ATOMIC_SEQ_CST);
      block_free(old);
      head_t* h = block_make(i % 5 == 4 ? NULL : heaps[rng_below(&rng, 3)], &rng, NULL);
      __atomic_signal_fence(__ATOMIC_SEQ_CST);
      __atomic_store_n(place, h, __ATOMIC_RELEASE);
    }
    if (rng_below(&rng, 4) == 0) {
      size_t gone = rng_below(&rng, 3);
      mi_heap_delete(heaps[gone]);
      heaps[gone] = heap_make();
    }
    mi_heap_t* short_lived = heap_make();
    for (int i = 0; i < 20; i++) (void)block_make(short_lived, &rng, NULL);
    mi_heap_destroy(short_lived);
    sleep_ms(1); /* leaves the child some of the processor */
  }
  for (size_t i = 0; i < PUBLISHED; i++) {
    block_free(published[number][i]);
    published[number][i] = NULL;
  }
  return NULL;
}

/* Blocks of threads that are gone: half of them are released, then memory is allocated and filled,
 * then the other half must be what it was. With heaps of its own. `share`: of CHILD_SHARES. */
static void child_uses_inherited_blocks(size_t share, rng_t* rng) {
  enum { MADE = 400 };
  static __thread head_t* made[MADE];
  mi_heap_t* heaps[3];
  for (size_t i = 0; i < COUNT_OF(heaps); i++) heaps[i] = heap_make();
  mi_heap_set_default(heaps[0]);
  for (size_t pass = 0; pass < 2; pass++) {
    for (size_t t = 0; t < BUSY_THREADS; t++) {
      for (size_t i = share + pass * CHILD_SHARES; i < PUBLISHED; i += 2 * CHILD_SHARES) {
        head_t* h = published[t][i];
        published[t][i] = NULL;
        if (h != NULL && rng_below(rng, 4) == 0) h = block_resize(h, rng);
        block_free(h);
      }
    }
    for (size_t i = 0; i < MADE; i++) {
      made[i] = block_make(i % 4 == 3 ? NULL : heaps[i % 3], rng, NULL);
    }
    for (size_t t = 0; t < BUSY_THREADS; t++) {
      for (size_t i = share; i < PUBLISHED; i += CHILD_SHARES) {
        if (published[t][i] != NULL) block_check(published[t][i], SIZE_MAX);
      }
    }
    size_t visited = 0;
    CHECK(mi_heap_visit_blocks(heaps[1], true, &count_visited, &visited));
    CHECK_GE(visited, MADE / 4);
    CHECK(mi_abandoned_visit_blocks(NULL, -1, true, &count_visited, &visited));
    for (size_t i = 0; i < MADE; i++) block_free(made[i]);
    mi_heap_collect(heaps[2], true);
  }
  mi_heap_destroy(heaps[0]);
  mi_heap_delete(heaps[1]);
  mi_heap_destroy(heaps[2]);
}

static void* child_thread(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  child_uses_inherited_blocks((uintptr_t)arg, &rng);
  return NULL;
}

static void child_work(mi_heap_t* parents, unsigned depth) {
  alarm(30);
  rng_t rng = {depth};
  /* The forking thread's own heap goes on. */
  for (int i = 0; i < 200; i++) block_free(block_make(parents, &rng, NULL));
  head_t* kept = block_make(parents, &rng, NULL);
  CHECK_SAME(mi_heap_of(kept), parents);
  if (depth > 0) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      child_work(parents, depth - 1);
      _exit(check_end());
    }
    check_wait_ok(pid, "grandchild");
  }
  /* See fork.c for the sanitizers. New threads first: they use the records of those that are gone.
   */
  bool sanitizer = UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER;
  if (!sanitizer) {
    pthread_t threads[CHILD_SHARES - 1];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
      threads[i] = thread_start(&child_thread, (void*)(i + 1));
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  }
  child_uses_inherited_blocks(0, &rng);
  block_free(kept);
  mi_heap_destroy(parents);
  mi_collect(true);
}

static void child_of_a_process_busy_with_heaps_goes_on(void) {
  pthread_t threads[BUSY_THREADS];
  for (size_t i = 0; i < BUSY_THREADS; i++) threads[i] = thread_start(&busy_with_heaps, (void*)i);
  mi_heap_t* heap = heap_make();
  rng_t rng = {1};
  head_t* mine = block_make(heap, &rng, NULL);
  for (size_t i = 0; i < check_scaled(40); i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      child_work(heap, i % 3 == 0 ? 1 : 0);
      _exit(check_end());
    }
    if (check_wait_ok(pid, "child") != 0) {
      check_note("in fork number %zu\n", i);
      break;
    }
  }
  block_free(mine);
  mi_heap_delete(heap);
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < BUSY_THREADS; i++) thread_join(threads[i]);
}

/* A thread that a fork finds in the middle of the allocator: mprotect is wrapped (see the linker's
 * option), so that it stops there, with a heap in whatever state. */
int __real_mprotect(void* start, size_t size, int protection);
int __wrap_mprotect(void* start, size_t size, int protection);
static int stopper_armed; /* atomic, as the others */
static int stopper_stopped;
static int stopper_released;

int __wrap_mprotect(void* start, size_t size, int protection) {
  if (__atomic_load_n(&stopper_armed, __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&stopper_stopped, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&stopper_released, __ATOMIC_ACQUIRE)) sched_yield();
  }
  return __real_mprotect(start, size, protection);
}

#define INTERRUPTED_BLOCKS 3000
static head_t* interrupted[INTERRUPTED_BLOCKS];
static mi_arena_id_t interrupted_arena;

static void* allocate_until_stopped(void* arg) {
  (void)arg;
  mi_heap_t* heap = mi_heap_new_in_arena(interrupted_arena);
  REQUIRE(heap != NULL);
  for (size_t i = 0; i < INTERRUPTED_BLOCKS; i++) {
    interrupted[i] = (head_t*)mi_heap_malloc(heap, 64);
    REQUIRE(interrupted[i] != NULL);
    block_fill(interrupted[i], 64, (unsigned)i, NULL);
  }
  __atomic_store_n(&stopper_armed, 1, __ATOMIC_RELEASE);
  while (!__atomic_load_n(&stopper_released, __ATOMIC_ACQUIRE)) {
    CHECK_NOT_NULL(mi_heap_malloc(heap, 60000));
  }
  return NULL;
}

/* The records of threads that are gone are used again; what was left as it was is nobody's. */
static void* child_with_a_record_of_before(void* arg) {
  mi_heap_t* heaps[2] = {heap_make(), heap_make()};
  (void)arg;
  for (size_t i = 0; i < INTERRUPTED_BLOCKS; i++) {
    block_check(interrupted[i], SIZE_MAX);
    mi_heap_t* heap = mi_heap_of(interrupted[i]);
    if (!CHECK_SAME(heap, mi_heap_main())) {
      size_t visited = 0;
      CHECK(!mi_heap_visit_blocks(heap, true, &count_visited, &visited));
      break;
    }
  }
  for (size_t i = 0; i < INTERRUPTED_BLOCKS; i++) block_free(interrupted[i]);
  mi_heap_destroy(heaps[0]);
  mi_heap_delete(heaps[1]);
  return NULL;
}

static void heap_that_a_fork_interrupts_is_nobodys(void) {
  size_t size = 64 * MIB;
  char* memory = (char*)mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(mi_manage_os_memory_ex(memory, size, false, false, true, -1, true, &interrupted_arena));
  mi_free(mi_malloc(1));
  pthread_t thread = thread_start(&allocate_until_stopped, NULL);
  while (!__atomic_load_n(&stopper_stopped, __ATOMIC_ACQUIRE)) sched_yield();
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(30);
    __atomic_store_n(&stopper_armed, 0, __ATOMIC_RELAXED);
    if (UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER) {
      child_with_a_record_of_before(NULL);
    } else {
      thread_join(thread_start(&child_with_a_record_of_before, NULL));
    }
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
  __atomic_store_n(&stopper_armed, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&stopper_released, 1, __ATOMIC_RELEASE);
  thread_join(thread);
  for (size_t i = 0; i < INTERRUPTED_BLOCKS; i++) block_free(interrupted[i]);
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
    CASE(threads_end_with_live_heaps),
    CASE(collect_takes_back_what_others_freed_in_any_heap),
    CASE(full_pages_of_a_deleted_heap_do_not_wait_for_their_thread),
    CASE(destructors_after_ours_release_blocks_of_heaps),
    CASE(child_of_a_process_busy_with_heaps_goes_on),
    CASE(heap_that_a_fork_interrupts_is_nobodys),
#if MI_TEST_DEBUG_FULL || FOREIGN_HEAPS_ARE_REPORTED
    CASE(use_by_another_thread_is_reported),
#endif
};

int main(int argc, char** argv) {
  make_late_key();
  return CHECK_MAIN(argc, argv, cases);
}
