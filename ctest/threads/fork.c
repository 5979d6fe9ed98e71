/* fork.c - fork while other threads allocate and make heaps: the child goes on, starts threads and
 * forks again. A child that hangs is ended by its alarm (SIGALRM) and counted as a
 * failure. CTEST_SCALE=34 makes it 10,200 forks.
 */
#include "probe.h"
#include <mimalloc.h>

#define BUSY_THREADS 8
#define CHILD_SECONDS 30

static int busy_stop;

static void* busy_run(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  static __thread void* held[200];
  while (!__atomic_load_n(&busy_stop, __ATOMIC_RELAXED)) {
    for (int i = 0; i < 500; i++) {
      size_t at = rng_below(&rng, COUNT_OF(held));
      mi_free(held[at]);
      held[at] = mi_malloc(rng_size(&rng, i == 0 ? 2 * MIB : 10000));
      REQUIRE(held[at] != NULL);
      *(char*)held[at] = 1;
    }
    if (rng_below(&rng, 50) == 0) mi_collect(rng_below(&rng, 4) == 0);
    if (rng_below(&rng, 4) == 0) {
      mi_heap_t* heap = mi_heap_new();
      REQUIRE(heap != NULL);
      for (size_t i = 0; i < 30; i++) REQUIRE(mi_heap_malloc(heap, i * i * i) != NULL);
      mi_heap_destroy(heap);
    }
    sleep_ms(1); /* leaves the child some of the processor */
  }
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  return NULL;
}

static void* child_thread(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  for (int i = 0; i < 200; i++) {
    size_t size = rng_size(&rng, 30000);
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    pattern_fill(p, size, 1);
    CHECK(pattern_holds(p, size, 1));
    mi_free(p);
  }
  return NULL;
}

#define SHARED 300
typedef struct shared_s {
  void* blocks[SHARED];
  size_t sizes[SHARED];
} shared_t;
static shared_t shared;

static void shared_fill(rng_t* rng) {
  for (size_t i = 0; i < SHARED; i++) {
    shared.sizes[i] = rng_size(rng, i % 50 == 0 ? 3 * MIB : 8000);
    shared.blocks[i] = mi_malloc(shared.sizes[i]);
    REQUIRE(shared.blocks[i] != NULL);
    pattern_fill(shared.blocks[i], shared.sizes[i] < 5000 ? shared.sizes[i] : 5000, (unsigned)i);
  }
}
static void shared_check_and_free(void) {
  for (size_t i = 0; i < SHARED; i++) {
    CHECK(pattern_holds(shared.blocks[i], shared.sizes[i] < 5000 ? shared.sizes[i] : 5000,
                        (unsigned)i));
    mi_free(shared.blocks[i]);
  }
}

static void allocate_all_sizes(void) {
  for (size_t size = 1; size <= 2 * MIB; size = size * 4 + 3) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p[0] = 1;
    p[size - 1] = 1;
    p = (char*)mi_realloc(p, size * 2);
    REQUIRE(p != NULL);
    mi_free(p);
    p = (char*)mi_zalloc(size);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, size, 0));
    memset(p, 0xFF, size);
    mi_free(p);
  }
}

static void child_work(unsigned depth) {
  alarm(CHILD_SECONDS);
  allocate_all_sizes();
  shared_check_and_free();
  pthread_t threads[2];
  /* ThreadSanitizer cannot follow a child of several threads that starts threads, and the
   * malloc of AddressSanitizer, which every thread start uses, is not made for fork. */
  bool sanitizer = UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER;
  size_t count = sanitizer ? 0 : COUNT_OF(threads);
  for (size_t i = 0; i < count; i++) threads[i] = thread_start(&child_thread, (void*)(i + 1));
  rng_t rng = {depth + 77};
  shared_fill(&rng);
  if (depth > 0) {
    /* With two threads of its own running. */
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      child_work(depth - 1);
      _exit(check_end());
    }
    check_wait_ok(pid, "grandchild");
  }
  shared_check_and_free();
  for (size_t i = 0; i < count; i++) thread_join(threads[i]);
  mi_collect(true);
}

static void child_of_a_busy_process_allocates_frees_and_forks_again(void) {
  pthread_t threads[BUSY_THREADS];
  for (size_t i = 0; i < BUSY_THREADS; i++) threads[i] = thread_start(&busy_run, (void*)(i + 1));
  rng_t rng = {1};
  shared_fill(&rng);
  for (size_t i = 0; i < check_scaled(300); i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      child_work(i % 3 == 0 ? 1 : 0);
      _exit(check_end());
    }
    if (check_wait_ok(pid, "child") != 0) {
      check_note("in fork number %zu\n", i);
      break;
    }
  }
  __atomic_store_n(&busy_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < BUSY_THREADS; i++) thread_join(threads[i]);
  shared_check_and_free();
}

static void* fork_from_here(void* arg) {
  (void)arg;
  for (size_t i = 0; i < check_scaled(60); i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      alarm(CHILD_SECONDS);
      allocate_all_sizes();
      _exit(check_end());
    }
    if (check_wait_ok(pid, "child of a thread") != 0) break;
  }
  return NULL;
}

/* Two threads fork at the same time. */
static void threads_fork_at_the_same_time(void) {
  pthread_t busy = thread_start(&busy_run, (void*)5);
  pthread_t a = thread_start(&fork_from_here, NULL);
  pthread_t b = thread_start(&fork_from_here, NULL);
  thread_join(a);
  thread_join(b);
  __atomic_store_n(&busy_stop, 1, __ATOMIC_RELAXED);
  thread_join(busy);
}

/* The child gives back what it frees, as a parent does. */
static void child_gives_memory_back(void) {
  enum { COUNT = 2000 };
  static void* blocks[COUNT];
  size_t before = rss_bytes();
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = mi_malloc(40000);
    REQUIRE(blocks[i] != NULL);
    memset(blocks[i], 1, 40000);
  }
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(CHILD_SECONDS);
    for (size_t i = 0; i < COUNT; i++) {
      memset(blocks[i], 2, 40000);
      mi_free(blocks[i]);
    }
    mi_collect(true);
    CHECK_LE(rss_bytes(), before + 16 * MIB);
    for (size_t i = 0; i < COUNT; i++) {
      blocks[i] = mi_malloc(30000);
      REQUIRE(blocks[i] != NULL);
      memset(blocks[i], 3, 30000);
    }
    for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
    sleep_ms(300);
    for (int i = 0; i < 40000; i++) { /* a call purges a few MiB */
      if (i % 400 == 0) sleep_ms(4);
      mi_free(opaque(mi_malloc((size_t)(i % 400) * 3)));
    }
    CHECK_LE(rss_bytes(), before + 24 * MIB);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
  for (size_t i = 0; i < COUNT; i++) {
    CHECK(all_bytes_are(blocks[i], 40000, 1)); /* the parent's memory is its own */
    mi_free(blocks[i]);
  }
}

/* ---- what others have in the child ---- */

#define HOLDERS 2
#define HELD_BYTES 48
#if defined(MI_TEST_DEBUG_FULL) /* each free looks through lists */
#define HELD_BLOCKS (4 * MIB / HELD_BYTES)
#else
#define HELD_BLOCKS                                                                                \
  ((UNDER_THREAD_SANITIZER || UNDER_ADDRESS_SANITIZER ? 8 : 64) * MIB / HELD_BYTES)
#endif

static pthread_barrier_t holders_ready, holders_done;

/* Owns pages of which nine in ten blocks are free, in random order. */
static void* hold_free_blocks(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void** blocks = (void**)mi_malloc(HELD_BLOCKS * sizeof *blocks);
  for (size_t i = 0; i < HELD_BLOCKS; i++) {
    blocks[i] = mi_malloc(HELD_BYTES);
    REQUIRE(blocks[i] != NULL);
  }
  for (size_t i = HELD_BLOCKS; i-- > 1;) {
    size_t k = rng_below(&rng, i + 1);
    void* block = blocks[i];
    blocks[i] = blocks[k];
    blocks[k] = block;
  }
  for (size_t i = HELD_BLOCKS / 10; i < HELD_BLOCKS; i++) mi_free(blocks[i]);
  pthread_barrier_wait(&holders_ready);
  pthread_barrier_wait(&holders_done);
  for (size_t i = 0; i < HELD_BLOCKS / 10; i++) mi_free(blocks[i]);
  mi_free(blocks);
  return NULL;
}

static void with_holders(void (*run)(void)) {
  pthread_t threads[HOLDERS];
  pthread_barrier_init(&holders_ready, NULL, HOLDERS + 1);
  pthread_barrier_init(&holders_done, NULL, HOLDERS + 1);
  for (size_t i = 0; i < HOLDERS; i++) threads[i] = thread_start(&hold_free_blocks, (void*)(i + 1));
  pthread_barrier_wait(&holders_ready);
  run();
  pthread_barrier_wait(&holders_done);
  for (size_t i = 0; i < HOLDERS; i++) thread_join(threads[i]);
}

/* Processor time that a child has used when it returns from fork, in milliseconds. */
static double child_start_ms(void) {
  int ends[2];
  double ms = -1;
  REQUIRE(pipe(ends) == 0);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    ms = (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
    _exit(write(ends[1], &ms, sizeof ms) == sizeof ms ? 0 : 1);
  }
  check_wait_ok(pid, "child");
  CHECK_EQ(read(ends[0], &ms, sizeof ms), sizeof ms);
  close(ends[0]), close(ends[1]);
  return ms;
}

static void measure_child_start(void) {
  double least = 1e9;
  for (int i = 0; i < 10; i++) {
    double ms = child_start_ms();
    if (ms < least) least = ms;
  }
  check_note("a child returns from fork after %.3f ms\n", least);
  /* The sanitizers have handlers of their own. */
  if (!UNDER_THREAD_SANITIZER && !UNDER_ADDRESS_SANITIZER) CHECK_LE_DOUBLE(least, 2.0);
}

static void a_child_starts_at_once_whatever_the_heaps_hold(void) {
  with_holders(&measure_child_start);
}

static size_t committed(void) {
  size_t commit = 0;
  mi_process_info(NULL, NULL, NULL, NULL, NULL, &commit, NULL, NULL);
  return commit;
}

/* A child that only allocates gets the free blocks of threads that are not there. */
static void allocate_in_child(void) {
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(CHILD_SECONDS);
    size_t before = committed(), free_bytes = HOLDERS * HELD_BLOCKS / 10 * 9 * HELD_BYTES;
    for (size_t bytes = 0; bytes < free_bytes / 10 * 8; bytes += HELD_BYTES)
      REQUIRE(mi_malloc(HELD_BYTES) != NULL);
    /* Before the first tick the child may use as many new pages as one list has blocks. Blocks in
     * use stay in use. */
    if (MI_TEST_SECURE < 3) CHECK_LE(committed(), before + 8 * MIB);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
}

static void a_child_uses_what_other_threads_left(void) { with_holders(&allocate_in_child); }

/* The walker of debug builds looks at each page that a heap of the child gets. */
static void collect_in_child(void) {
  for (int i = 0; i < 5; i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      alarm(CHILD_SECONDS);
      if (i == 4) mi_collect(true);
      for (int k = 0; k < 100000; k++) REQUIRE(mi_malloc(HELD_BYTES) != NULL);
      pid_t grandchild = fork(); /* while some are recovered and some are not */
      REQUIRE(grandchild >= 0);
      for (int k = 0; k < 100000; k++) REQUIRE(mi_malloc(HELD_BYTES) != NULL);
      mi_collect(true);
      if (grandchild != 0) check_wait_ok(grandchild, "grandchild");
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
  }
}

static void a_grandchild_goes_on_with_what_is_left(void) { with_holders(&collect_in_child); }

/* ---- fork handlers of others ---------------------------------------------------------- */

#define FORK_SECONDS 20
#define HANDLERS 2 /* one registered before the allocator is first called, one after */

typedef struct handler_s {
  void* block; /* from before the fork; parent and child free it */
  size_t runs;
} handler_t;
static handler_t handlers[HANDLERS];
static bool handlers_work;

static void handler_allocates(handler_t* h) {
  const size_t sizes[] = {1000, 100000, (size_t)700000000};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    char* p = (char*)mi_malloc(sizes[i]);
    REQUIRE(p != NULL);
    p[0] = 1;
    p[sizes[i] - 1] = 1;
    mi_free(p);
  }
  h->runs++;
}

static void handler_before(handler_t* h) {
  if (!handlers_work) return;
  handler_allocates(h);
  h->block = mi_malloc(5000);
  REQUIRE(h->block != NULL);
  pattern_fill(h->block, 5000, 9);
}
static void handler_after(handler_t* h) {
  if (!handlers_work) return;
  alarm(FORK_SECONDS); /* a child starts without one */
  handler_allocates(h);
  CHECK(pattern_holds(h->block, 5000, 9));
  mi_free(h->block);
}

static void early_before(void) { handler_before(&handlers[0]); }
static void early_after(void) { handler_after(&handlers[0]); }
static void late_before(void) { handler_before(&handlers[1]); }
static void late_after(void) { handler_after(&handlers[1]); }

__attribute__((constructor(101))) static void early_register(void) {
  pthread_atfork(&early_before, &early_after, &early_after);
}

static void fork_with_handlers(size_t forks) {
  mi_free(mi_malloc(100));
  REQUIRE(pthread_atfork(&late_before, &late_after, &late_after) == 0);
  handlers_work = true;
  for (size_t i = 0; i < forks; i++) {
    memset(handlers, 0, sizeof handlers);
    alarm(FORK_SECONDS);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    for (size_t h = 0; h < HANDLERS; h++) CHECK_EQ(handlers[h].runs, 2);
    if (pid == 0) {
      allocate_all_sizes();
      _exit(check_end());
    }
    allocate_all_sizes();
    if (check_wait_ok(pid, "child after fork handlers") != 0) break;
  }
  handlers_work = false;
  alarm(0);
}

/* The handlers of others run while the library is held for the fork. */
static void fork_handlers_of_others_may_allocate(void) { fork_with_handlers(20); }

static void fork_handlers_may_allocate_while_other_threads_do(void) {
  pthread_t threads[BUSY_THREADS];
  for (size_t i = 0; i < BUSY_THREADS; i++) threads[i] = thread_start(&busy_run, (void*)(i + 1));
  fork_with_handlers(check_scaled(100));
  __atomic_store_n(&busy_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < BUSY_THREADS; i++) thread_join(threads[i]);
}

static const check_case_t cases[] = {
    CASE(child_of_a_busy_process_allocates_frees_and_forks_again),
    CASE(threads_fork_at_the_same_time),
    CASE(child_gives_memory_back),
    CASE(a_child_starts_at_once_whatever_the_heaps_hold),
    CASE(a_child_uses_what_other_threads_left),
    CASE(a_grandchild_goes_on_with_what_is_left),
    CASE(fork_handlers_of_others_may_allocate),
    CASE(fork_handlers_may_allocate_while_other_threads_do),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
