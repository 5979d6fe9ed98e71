/* heaps_of_ended_threads.c - threads that end with live heaps, and destructors of thread-specific
 * data that release blocks of heaps after the library's own. CTEST_SCALE multiplies the
 * rounds.
 */
#include "heap_threads.h"

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

/* Heap structs, ids and stacks are reused while blocks stay in use. */
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

static const check_case_t cases[] = {
    CASE(destructors_after_ours_release_blocks_of_heaps),
    CASE(threads_end_with_live_heaps),
};

int main(int argc, char** argv) {
  make_late_key();
  return CHECK_MAIN(argc, argv, cases);
}
