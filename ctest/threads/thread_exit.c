/* thread_exit.c - allocation at the ends of threads and of the process: destructors of
 * thread-specific data that run before and after the allocator's own, a main
 * thread that ends first, each way of ending the process while others allocate (20
 * times each, 1,000 with CTEST_SCALE=50), waves of threads.
 */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#define KEYS_LATE 4

/* ThreadSanitizer ends its own record of a thread in the last rounds and crashes when
 * instrumented code runs after that. */
#if UNDER_THREAD_SANITIZER
#define DESTRUCTOR_ROUNDS (PTHREAD_DESTRUCTOR_ITERATIONS - 2)
#else
#define DESTRUCTOR_ROUNDS 4 /* POSIX and every system grant so many */
#endif

static pthread_key_t key_early; /* made before the library can have made its own */
static pthread_key_t keys_late[KEYS_LATE];
static size_t destructor_runs;

typedef struct local_s {
  unsigned round;
  size_t key;  /* index, 0 the early one */
  char* block; /* made by the thread itself, with a pattern */
  char* own;   /* made in the round before */
  size_t own_size;
} local_t;

static pthread_key_t key_of(size_t index) { return index == 0 ? key_early : keys_late[index - 1]; }

/* Allocates and frees in each of the rounds that POSIX grants; the last ones come after the
 * allocator's own destructor whatever the order of keys is. */
static void on_thread_end(void* value) {
  local_t* l = (local_t*)value;
  __atomic_fetch_add(&destructor_runs, 1, __ATOMIC_RELAXED);
  CHECK(pattern_holds(l->block, 500, (unsigned)l->key));
  if (l->own != NULL) {
    CHECK(pattern_holds(l->own, l->own_size, l->round));
    mi_free(l->own);
    l->own = NULL;
  }
  for (size_t size = 1; size <= 300000; size *= 5) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 7, size);
    p = (char*)mi_realloc(p, size * 3);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, size, 7));
    mi_free(p);
    p = (char*)mi_zalloc(size);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, size, 0));
    mi_free(p);
  }
  l->round++;
  if (l->round < DESTRUCTOR_ROUNDS) {
    l->own_size = 100 * l->round;
    l->own = (char*)mi_malloc(l->own_size);
    REQUIRE(l->own != NULL);
    pattern_fill(l->own, l->own_size, l->round);
    pthread_setspecific(key_of(l->key), l);
    return;
  }
  mi_free(l->block);
  mi_free(l);
}

__attribute__((constructor(101))) static void make_early_key(void) {
  if (pthread_key_create(&key_early, &on_thread_end) != 0) abort();
}

static void local_make(size_t key) {
  local_t* l = (local_t*)mi_zalloc(sizeof *l);
  REQUIRE(l != NULL);
  l->key = key;
  l->block = (char*)mi_malloc(500);
  REQUIRE(l->block != NULL);
  pattern_fill(l->block, 500, (unsigned)key);
  REQUIRE(pthread_setspecific(key_of(key), l) == 0);
}

static void* thread_with_destructors(void* arg) {
  (void)arg;
  for (size_t key = 0; key <= KEYS_LATE; key++) local_make(key);
  void* p = mi_malloc(1000);
  REQUIRE(p != NULL);
  mi_free(p);
  return NULL;
}

/* The thread allocates nothing before its destructors run. */
static void* thread_with_a_gift(void* arg) {
  local_t* l = (local_t*)arg;
  pthread_setspecific(key_of(l->key), l);
  return NULL;
}

static void destructors_may_allocate_after_the_allocators_own(void) {
  for (size_t i = 0; i < KEYS_LATE; i++) {
    REQUIRE(pthread_key_create(&keys_late[i], &on_thread_end) == 0);
  }
  size_t before = 0;
  size_t threads = check_scaled(2000);
  for (size_t i = 0; i < threads; i++) {
    thread_join(thread_start(&thread_with_destructors, NULL));
    if (i == 200) before = rss_bytes();
  }
  size_t after = rss_bytes();
  CHECK_EQ(destructor_runs, threads * (KEYS_LATE + 1) * DESTRUCTOR_ROUNDS);
  check_note("resident after 200 threads %zu KiB, after %zu threads %zu KiB\n", before / KIB,
             threads, after / KIB);
  CHECK_LE(after, before + 4 * MIB);
}

static void thread_whose_first_request_comes_from_a_destructor(void) {
  for (size_t i = 0; i < KEYS_LATE; i++) {
    REQUIRE(pthread_key_create(&keys_late[i], &on_thread_end) == 0);
  }
  size_t before = 0;
  size_t threads = check_scaled(1000);
  for (size_t i = 0; i < threads; i++) {
    local_t* l = (local_t*)mi_zalloc(sizeof *l);
    REQUIRE(l != NULL);
    l->key = i % (KEYS_LATE + 1);
    l->block = (char*)mi_malloc(500);
    REQUIRE(l->block != NULL);
    pattern_fill(l->block, 500, (unsigned)l->key);
    thread_join(thread_start(&thread_with_a_gift, l));
    if (i == 100) before = rss_bytes();
  }
  CHECK_EQ(destructor_runs, threads * DESTRUCTOR_ROUNDS);
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

/* A thread calls mi_thread_done, goes on, and ends. */
static void* thread_done_and_on(void* arg) {
  (void)arg;
  for (int i = 0; i < 5; i++) {
    char* p = (char*)mi_malloc(1000);
    REQUIRE(p != NULL);
    memset(p, 1, 1000);
    mi_thread_done();
    mi_free(p);
    p = (char*)mi_malloc(20000);
    REQUIRE(p != NULL);
    memset(p, 1, 20000);
    mi_free(p);
    if (i == 4) mi_thread_done();
  }
  return NULL;
}
static void thread_done_may_be_called_by_the_program(void) {
  size_t before = 0;
  for (size_t i = 0; i < check_scaled(2000); i++) {
    thread_join(thread_start(&thread_done_and_on, NULL));
    if (i == 200) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

/* How many threads use the library, by its statistics. */
static void on_statistics(const char* message, void* arg) {
  const char* at = strstr(message, "threads: ");
  if (at != NULL && (at == message || at[-1] == '\n')) *(size_t*)arg = strtoul(at + 9, NULL, 10);
}
static size_t threads_counted(void) {
  size_t threads = SIZE_MAX;
  mi_stats_print_out(&on_statistics, &threads);
  return threads;
}

static bool done_alone; /* no other thread comes and goes */

static void done_in_deferred_free(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  (void)heartbeat;
  __atomic_fetch_add((size_t*)arg, 1, __ATOMIC_RELAXED);
  mi_free(mi_malloc(3000));
  mi_thread_done();
  if (done_alone) CHECK_EQ(threads_counted(), 1);
  mi_free(mi_malloc(100));
}
static void* allocate_with_deferred_free(void* arg) {
  (void)arg;
  enum { COUNT = 20000 };
  void** last = NULL;
  for (size_t i = 0; i < COUNT; i++) {
    size_t size = 16 + i % 700 + (i % 1000 == 0 ? 200000 : 0);
    void** p = (void**)mi_malloc(size);
    REQUIRE(p != NULL);
    pattern_fill((void*)(p + 1), size - sizeof *p, (unsigned)i);
    *p = (void*)last;
    last = p;
    if (i % 5000 == 0) mi_collect(i % 10000 == 0);
  }
  for (size_t i = COUNT; i-- > 0;) {
    size_t size = 16 + i % 700 + (i % 1000 == 0 ? 200000 : 0);
    if (!CHECK(pattern_holds((void*)(last + 1), size - sizeof *last, (unsigned)i))) return NULL;
    void** next = (void**)*last;
    mi_free((void*)last);
    last = next;
  }
  return NULL;
}
/* The callback runs inside an allocation: the heap in use must not go away. */
static void thread_done_inside_deferred_free_is_ignored(void) {
  size_t calls = 0;
  mi_register_deferred_free(&done_in_deferred_free, &calls);
  done_alone = true;
  allocate_with_deferred_free(NULL);
  done_alone = false;
  size_t in_main = __atomic_load_n(&calls, __ATOMIC_RELAXED);
  CHECK_GE(in_main, 5);
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&allocate_with_deferred_free, NULL);
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  CHECK_GE(__atomic_load_n(&calls, __ATOMIC_RELAXED), in_main + 5);
  mi_register_deferred_free(NULL, NULL);
  allocate_with_deferred_free(NULL);
}

/* ---- waves of threads ------------------------------------------------------------- */

#define WAVE 200
#define WAVES 50

static pthread_barrier_t wave_is_up;

static void* allocate_in_a_wave(void* arg) {
  bool* leaks = (bool*)arg;
  void* held[40];
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    size_t size = i * i * 3 + 1;
    held[i] = mi_malloc(size);
    REQUIRE(held[i] != NULL);
    memset(held[i], 1, size);
  }
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (int i = 0; i < 10; i++) REQUIRE(mi_heap_malloc(heap, 100) != NULL);
  mi_heap_destroy(heap);
  pthread_barrier_wait(
      &wave_is_up); /* so that each wave holds as much, whatever the machine does */
  for (size_t i = *leaks ? 1 : 0; i < COUNT_OF(held); i++) mi_free(held[COUNT_OF(held) - 1 - i]);
  return NULL;
}

/* Resident after 2,000 threads and after 10,000. */
static bool waves_are_flat(bool leaks) {
  size_t early = 0;
  pthread_t threads[WAVE];
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, 128 * KIB) == 0);
  REQUIRE(pthread_barrier_init(&wave_is_up, NULL, WAVE) == 0);
  for (int wave = 0; wave < WAVES; wave++) {
    for (size_t i = 0; i < WAVE; i++)
      REQUIRE(pthread_create(&threads[i], &attributes, &allocate_in_a_wave, &leaks) == 0);
    for (size_t i = 0; i < WAVE; i++) thread_join(threads[i]);
    if (wave + 1 != WAVES / 5 && wave + 1 != WAVES) continue;
    mi_collect(true);
    if (wave + 1 < WAVES) early = rss_bytes();
  }
  size_t late = rss_bytes();
  check_note("resident after %d threads %zu KiB, after %d threads %zu KiB\n", WAVES / 5 * WAVE,
             early / KIB, WAVES * WAVE, late / KIB);
  return late <= early + early / 10 + 256 * KIB; /* inexact by some OS pages per processor */
}

static void ten_thousand_threads_in_waves_leave_memory_flat(void) { CHECK(waves_are_flat(false)); }
static void waves_that_leave_blocks_are_noticed(void) {
  if (RSS_IS_MEANINGFUL) CHECK(!waves_are_flat(true));
}

/* ---- the main thread ends first --------------------------------------------------- */

static void* work_on_and_exit(void* arg) {
  pthread_t main_thread = *(pthread_t*)arg;
  pthread_join(main_thread, NULL);
  for (int i = 0; i < 20000; i++) {
    size_t size = 1 + (size_t)i % 5000;
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p[0] = 1;
    p[size - 1] = 1;
    mi_free(p);
  }
  mi_collect(true);
  exit(check_end() == 0 ? 42 : 1);
}

static void helper_main_thread_ends(void) {
  static pthread_t main_thread;
  main_thread = pthread_self();
  static void* left[100];
  for (size_t i = 0; i < COUNT_OF(left); i++) left[i] = mi_malloc(i * 1000);
  thread_start(&work_on_and_exit, &main_thread);
  pthread_exit(NULL);
}

static void main_thread_may_end_before_the_process(void) {
  if (UNDER_THREAD_SANITIZER) {
    check_note("skipped: ThreadSanitizer cannot join the main thread\n");
    return;
  }
  const char* args[] = {"helper_main_thread_ends", NULL};
  for (int i = 0; i < 10; i++) {
    int status = check_wait(check_start_self(args, -1, -1));
    CHECK(WIFEXITED(status));
    CHECK_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 42);
  }
}

/* ---- exit while others allocate ------------------------------------------------------ */

static void* allocate_until_exit(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[100] = {0};
  while (opaque(arg) != NULL) { /* always */
    size_t at = rng_below(&rng, COUNT_OF(held));
    mi_free(held[at]);
    held[at] = mi_malloc(rng_size(&rng, 100000));
    if (held[at] != NULL) *(char*)held[at] = 1;
  }
  return NULL;
}

/* For the end that waits for all threads. */
static void* allocate_for_a_while(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[100] = {0};
  double end = now_seconds() + 0.004;
  while (now_seconds() < end) {
    size_t at = rng_below(&rng, COUNT_OF(held));
    mi_free(held[at]);
    held[at] = mi_malloc(rng_size(&rng, 100000));
    if (held[at] != NULL) *(char*)held[at] = 1;
  }
  return NULL;
}

#define EXIT_STATUS 43
#define EXIT_THREADS 4

static void end_crashes(void) { raise(SIGSEGV); }

/* Each way to end a program, while threads allocate. */
static int helper_end(const char* way) {
  bool waits = strcmp(way, "pthread_exit") == 0;
  for (size_t i = 0; i < EXIT_THREADS; i++)
    thread_start(waits ? &allocate_for_a_while : &allocate_until_exit, (void*)(i + 1));
  sleep_ms(3);
  if (strcmp(way, "exit") == 0) exit(EXIT_STATUS);
  if (strcmp(way, "_exit") == 0) _exit(EXIT_STATUS);
  if (strcmp(way, "quick_exit") == 0) quick_exit(EXIT_STATUS);
  if (waits) pthread_exit(NULL); /* the process ends with 0 after the last thread */
  if (strcmp(way, "crash") == 0) {
    atexit(&end_crashes);
    exit(EXIT_STATUS);
  }
  return EXIT_STATUS; /* from main */
}

static int status_of_end(const char* way) {
  const char* args[] = {"helper_end", way, NULL};
  return check_wait(check_start_self(args, -1, -1));
}

static bool ended_with(int status, int wanted) {
  return WIFEXITED(status) && WEXITSTATUS(status) == wanted;
}

static void check_end_of_process(const char* way, int wanted) {
  for (size_t i = 0; i < check_scaled(20); i++) {
    int status = status_of_end(way);
    if (!CHECK(ended_with(status, wanted))) {
      check_note("run %zu, %s: status 0x%x\n", i, way, status);
      return;
    }
  }
}
static void exit_while_others_allocate(void) { check_end_of_process("exit", EXIT_STATUS); }
static void immediate_exit_while_others_allocate(void) {
  check_end_of_process("_exit", EXIT_STATUS);
}
static void quick_exit_while_others_allocate(void) {
  check_end_of_process("quick_exit", EXIT_STATUS);
}
static void return_from_main_while_others_allocate(void) {
  check_end_of_process("return", EXIT_STATUS);
}
static void end_of_the_main_thread_while_others_allocate(void) {
  if (UNDER_THREAD_SANITIZER) {
    check_note("skipped: ThreadSanitizer cannot do without the main thread\n");
    return;
  }
  check_end_of_process("pthread_exit", 0);
}
static void crash_at_the_end_is_noticed(void) {
  CHECK(!ended_with(status_of_end("crash"), EXIT_STATUS));
}

/* Allocation works from exit handlers. */
static char* exit_block;
static void at_exit_allocate(void) {
  CHECK(pattern_holds(exit_block, 300, 3));
  mi_free(exit_block);
  for (size_t size = 1; size < MIB; size *= 7) {
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    mi_free(p);
  }
  if (check_end() != 0) _exit(1);
}
__attribute__((destructor(101))) static void allocate_in_the_last_destructor(void) {
  void* p = mi_malloc(5000);
  if (p == NULL) abort();
  memset(p, 1, 5000);
  mi_free(p);
}
static void helper_exit_handler(void) {
  exit_block = (char*)mi_malloc(300);
  REQUIRE(exit_block != NULL);
  pattern_fill(exit_block, 300, 3);
  atexit(&at_exit_allocate);
  exit(44);
}
static void exit_handlers_and_destructors_may_allocate(void) {
  const char* args[] = {"helper_exit_handler", NULL};
  int status = check_wait(check_start_self(args, -1, -1));
  CHECK_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 44);
}

static const check_case_t cases[] = {
    CASE(destructors_may_allocate_after_the_allocators_own),
    CASE(thread_whose_first_request_comes_from_a_destructor),
    CASE(thread_done_may_be_called_by_the_program),
    CASE(thread_done_inside_deferred_free_is_ignored),
    CASE(ten_thousand_threads_in_waves_leave_memory_flat),
    CASE(waves_that_leave_blocks_are_noticed),
    CASE(main_thread_may_end_before_the_process),
    CASE(exit_while_others_allocate),
    CASE(immediate_exit_while_others_allocate),
    CASE(quick_exit_while_others_allocate),
    CASE(return_from_main_while_others_allocate),
    CASE(end_of_the_main_thread_while_others_allocate),
    CASE(crash_at_the_end_is_noticed),
    CASE(exit_handlers_and_destructors_may_allocate),
};
static const check_case_t helpers[] = {
    CASE(helper_main_thread_ends),
    CASE(helper_exit_handler),
};

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "helper_end") == 0) return helper_end(argv[2]);
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
