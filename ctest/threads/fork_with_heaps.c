/* fork_with_heaps.c - a fork while threads use first-class heaps: the child goes on with the heaps
 * that it inherits, and a heap that the fork interrupts belongs to no thread. CTEST_SCALE
 * multiplies the rounds. The linker option --wrap sends mprotect here.
 */
#include "heap_threads.h"

/* ---- fork ------------------------------------------------------------------- */

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
  /* See fork.c for the sanitizers. New threads first: they use the heap structs of threads that are
   * gone.
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

/* A thread that a fork interrupts inside the allocator: madvise is wrapped (see the linker's
 * option) and stops the thread there, in the middle of a change of its heap. */
int __real_madvise(void* start, size_t size, int advice);

int __wrap_madvise(void* start, size_t size, int advice);

static int stopper_armed; /* atomic, as the others */

static int stopper_stopped;

static int stopper_released;

int __wrap_madvise(void* start, size_t size, int advice) {
  if (__atomic_load_n(&stopper_armed, __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&stopper_stopped, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&stopper_released, __ATOMIC_ACQUIRE)) sched_yield();
  }
  return __real_madvise(start, size, advice);
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
  /* Without a delay a page is purged when it becomes empty. */
  enum { OTHERS = 500, OTHER_SIZE = 1000 };
  static void* others[OTHERS];
  for (size_t i = 0; i < OTHERS; i++)
    REQUIRE((others[i] = mi_heap_malloc(heap, OTHER_SIZE)) != NULL);
  mi_option_set(mi_option_purge_delay, 0);
  __atomic_store_n(&stopper_armed, 1, __ATOMIC_RELEASE);
  for (size_t i = 0; i < OTHERS; i++) mi_free(others[i]);
  CHECK(__atomic_load_n(&stopper_stopped, __ATOMIC_ACQUIRE));
  return NULL;
}

/* The child reuses the heap structs of threads that are gone. The blocks that the fork
 * interrupted belong to the main heap. */
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

static void heap_that_a_fork_interrupts_has_no_owner(void) {
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

static const check_case_t cases[] = {
    CASE(child_of_a_process_busy_with_heaps_goes_on),
    CASE(heap_that_a_fork_interrupts_has_no_owner),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
