/* stats_while_others_work.c - statistics are asked for while threads allocate, free, start and end,
 * and by the child of such a process.
 */
#include "json.h"
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

/* ---- all at once ---- */

static int stop;

static bool stopped(void) { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }

static void* short_life(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  static void* exchange[256]; /* blocks that any thread may free */
  for (int i = 0; i < 3000; i++) {
    size_t size = rng_size(&rng, i % 100 == 0 ? 2 * MIB : 20000);
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p[0] = p[size - 1] = 1;
    mi_free(__atomic_exchange_n(&exchange[rng_below(&rng, COUNT_OF(exchange))], (void*)p,
                                __ATOMIC_ACQ_REL));
  }
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (int i = 0; i < 300; i++) REQUIRE(mi_heap_malloc(heap, rng_size(&rng, 100000)) != NULL);
  if (rng_below(&rng, 2) == 0)
    mi_heap_destroy(heap);
  else
    mi_heap_delete(heap);
  return NULL;
}

static void* lives_run(void* arg) {
  for (uintptr_t seed = (uintptr_t)arg; !stopped(); seed += 16)
    thread_join(thread_start(&short_life, (void*)seed));
  return NULL;
}

static void on_lines(const char* message, void* arg) {
  size_t length = strlen(message);
  CHECK(length > 1 && length < 500 && message[length - 1] == '\n');
  *(size_t*)arg += 1;
}

static size_t looks;

static void* looks_run(void* arg) {
  for (uintptr_t i = (uintptr_t)arg; !stopped(); i++) {
    mi_stats_t s = stats_now();
    CHECK_GE(s.malloc_normal.current, 0);
    CHECK_LE(s.malloc_normal.current, s.reserved.current);
    CHECK_GE(s.malloc_normal.peak, s.malloc_normal.current);
    CHECK_GE(s.malloc_normal.total, 0);
    CHECK_GE(s.threads.current, 0);
    CHECK_LE(s.threads.current, 20);
    for (size_t bin = 0; bin < MI_BIN_HUGE; bin++) {
      CHECK_GE(s.malloc_bins[bin].current, 0);
      if (s.page_bins[bin].current == 0) CHECK_EQ(s.malloc_bins[bin].current, 0);
    }
    size_t lines = 0;
    mi_stats_print_out(&on_lines, &lines);
    CHECK_GE(lines, 16);
    lines = 0;
    mi_thread_stats_print_out(&on_lines, &lines);
    CHECK_GE(lines, 5);
    char* text = i % 2 == 0 ? mi_stats_get_json(0, NULL) : mi_heap_stats_get_json(NULL, 0, NULL);
    REQUIRE(text != NULL);
    CHECK(is_json(text));
    mi_free(text);
    if (i % 8 == 0) mi_stats_reset();
    if (i % 3 == 0) mi_stats_merge();
    __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void statistics_may_be_read_while_threads_allocate_free_and_end(void) {
  NEEDS_64_BITS("threads leave 4 GiB behind");
  pthread_t threads[6];
  mi_option_set(mi_option_purge_delay, 1);
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(i < 4 ? &lives_run : &looks_run, (void*)(i + 1));
  sleep_ms((unsigned)check_scaled(1000));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  check_note("%zu looks\n", looks);
  CHECK_GE(looks, 5);
}

/* The child of a fork finds every figure, whatever the other threads were doing. */
static void child_of_a_busy_process_may_ask(void) {
  NEEDS_64_BITS("threads leave 4 GiB behind");
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(i < 2 ? &lives_run : &looks_run, (void*)(i + 1));
  for (size_t i = 0; i < check_scaled(30); i++) {
    sleep_ms(5);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      alarm(30); /* ends a child that hangs */
      mi_stats_t s = stats_now();
      CHECK_LE(s.threads.current, 1);
      CHECK_GE(s.malloc_normal.current, 0);
      size_t lines = 0;
      mi_stats_print_out(&on_lines, &lines);
      CHECK_GE(lines, 16);
      char* text = mi_stats_get_json(0, NULL);
      CHECK(text != NULL && is_json(text));
      mi_free(text);
      mi_stats_reset();
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
}

static const check_case_t cases[] = {
    CASE(statistics_may_be_read_while_threads_allocate_free_and_end),
    CASE(child_of_a_busy_process_may_ask),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
