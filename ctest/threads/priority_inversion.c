/* priority_inversion.c - a thread of high priority never waits for one of low priority that is not
 * running.
 *
 * Both threads share one processor, and the first one is a real-time thread: if it waited by
 * spinning, the other one would never go on, and the kernel would end that only after about a
 * second. The interleaving engine shows the same for each order of steps (ctest/interleave).
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>
#include <sched.h>

#define SECONDS 3
#define LONGEST_MS 200 /* a busy machine may take the processor away for so long */

static void* box; /* a block that one thread allocates and the other one frees */
static int stop;

static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  (void)heap, (void)area, (void)block, (void)size, (void)arg;
  return true;
}

static void no_output(const char* text, void* arg) { (void)text, (void)arg; }

static void look_at_all(mi_heap_t* heap) {
  mi_stats_t_decl(stats);
  mi_heap_visit_blocks(heap, true, &on_visit, NULL);
  mi_heap_stats_get(heap, &stats);
  mi_register_output(&no_output, NULL);
}

/* Low priority: asks about the block until the other thread takes it. */
static void* look(void* arg) {
  (void)arg;
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
    void* p = mi_heap_malloc(heap, MIB);
    REQUIRE(p != NULL);
    __atomic_store_n(&box, p, __ATOMIC_RELEASE);
    while (__atomic_load_n(&box, __ATOMIC_ACQUIRE) != NULL &&
           !__atomic_load_n(&stop, __ATOMIC_RELAXED))
      look_at_all(heap);
  }
  return NULL;
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The longest call that the real-time thread makes, in milliseconds. */
static double longest_call(void (*call)(void* p)) {
  rng_t rng = {1};
  double longest = 0, end = now_ms() + SECONDS * 1e3;
  for (double now; (now = now_ms()) < end;) {
    struct timespec nap = {0, 20000 + (long)rng_below(&rng, 200000)};
    nanosleep(&nap, NULL);
    void* p = __atomic_exchange_n(&box, NULL, __ATOMIC_ACQ_REL);
    if (p == NULL) continue;
    now = now_ms();
    call(p);
    double took = now_ms() - now;
    if (took > longest) longest = took;
  }
  return longest;
}

static void beside_a_reader(void (*call)(void* p)) {
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
    cpu_set_t all;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  pthread_t thread;
  REQUIRE(pthread_create(&thread, NULL, &look, NULL) == 0);
  struct sched_param priority = {.sched_priority = 10};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0) {
    check_note("skipped: no permission for a real-time thread\n");
  } else {
    double longest = longest_call(call);
    check_note("longest call: %.1f ms\n", longest);
    CHECK_LE_DOUBLE(longest, LONGEST_MS);
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  priority.sched_priority = 0;
  (void)sched_setscheduler(0, SCHED_OTHER, &priority);
  pthread_join(thread, NULL);
}

static void call_free(void* p) { mi_free(p); }
static void call_realloc(void* p) {
  void* q = mi_realloc(p, 300 * KIB);
  REQUIRE(q != NULL);
  mi_free(q);
}
static void call_message(void* p) {
  mi_options_print_out(NULL, NULL); /* reads the registration that the other one changes */
  mi_free(p);
}

static void a_free_does_not_wait_for_a_reader(void) { beside_a_reader(&call_free); }
static void a_resize_does_not_wait_for_a_reader(void) { beside_a_reader(&call_realloc); }
static void a_message_does_not_wait_for_a_registration(void) { beside_a_reader(&call_message); }

static const check_case_t cases[] = {
    CASE(a_free_does_not_wait_for_a_reader),
    CASE(a_resize_does_not_wait_for_a_reader),
    CASE(a_message_does_not_wait_for_a_registration),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
