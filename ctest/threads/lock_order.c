/* lock_order.c - no thread takes a lock of the library twice, and all threads take the locks in one
 * order. So they never wait for each other in a circle. The linker option --wrap sends the
 * library's locking here.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

#define LOCKS 16

static struct {
  int guard; /* a spin lock: the locks under test must not be taken here */
  void* lock[LOCKS];
  size_t count;
  bool after[LOCKS][LOCKS]; /* [a][b]: b was taken while a was held */
  size_t reentered, circles, taken;
} seen;

static __thread int held[LOCKS];
static __thread size_t held_count;

static void guard_take(void) {
  while (__atomic_exchange_n(&seen.guard, 1, __ATOMIC_ACQUIRE)) sched_yield();
}
static void guard_drop(void) { __atomic_store_n(&seen.guard, 0, __ATOMIC_RELEASE); }

static int number_of(void* lock) {
  for (size_t i = 0; i < seen.count; i++)
    if (seen.lock[i] == lock) return (int)i;
  if (seen.count == LOCKS) abort();
  seen.lock[seen.count] = lock;
  return (int)seen.count++;
}

static bool leads_to(int from, int to) {
  bool reached[LOCKS] = {false};
  reached[from] = true;
  for (size_t round = 0; round < seen.count; round++)
    for (size_t a = 0; a < seen.count; a++)
      for (size_t b = 0; b < seen.count; b++) reached[b] |= reached[a] && seen.after[a][b];
  return reached[to];
}

/* False: the thread holds it already, and would wait for itself. */
static bool note_taking(void* lock) {
  guard_take();
  int n = number_of(lock);
  bool again = false;
  for (size_t i = 0; i < held_count; i++) again |= held[i] == n;
  seen.reentered += again;
  seen.taken++;
  for (size_t i = 0; i < held_count && !again; i++) {
    if (seen.after[held[i]][n]) continue;
    seen.circles += leads_to(n, held[i]);
    seen.after[held[i]][n] = true;
  }
  guard_drop();
  if (!again) held[held_count++] = n;
  return !again;
}
static void note_dropping(void* lock) {
  guard_take();
  int n = number_of(lock);
  guard_drop();
  for (size_t i = 0; i < held_count; i++) {
    if (held[i] != n) continue;
    held[i] = held[--held_count];
    return;
  }
}

/* A child of a fork has one thread. It resets the locks that the fork took before any handler of
 * this test runs. Another thread may have held the guard. */
static void notice_fork(void) {
  static int process;
  int here = (int)getpid(), before = __atomic_exchange_n(&process, here, __ATOMIC_RELAXED);
  if (before == here || before == 0) return;
  held_count = 0;
  guard_drop();
}

int __real_pthread_mutex_lock(pthread_mutex_t* lock);
int __real_pthread_mutex_unlock(pthread_mutex_t* lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t* lock);
int __wrap_pthread_mutex_unlock(pthread_mutex_t* lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t* lock) {
  notice_fork();
  return note_taking(lock) ? __real_pthread_mutex_lock(lock) : EDEADLK;
}
int __wrap_pthread_mutex_unlock(pthread_mutex_t* lock) {
  note_dropping(lock);
  return __real_pthread_mutex_unlock(lock);
}

/* ---- all that takes locks -------------------------------------------------- */

static bool visit_nothing(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                          size_t size, void* arg) {
  (void)heap, (void)area, (void)block, (void)size, (void)arg;
  return true;
}
static void print_and_allocate(const char* text, void* arg) {
  (void)arg;
  mi_free(mi_strdup(text));
}
static void defer(bool force, unsigned long long beat, void* arg) {
  (void)force, (void)beat, (void)arg;
  mi_free(mi_malloc(300000));
}
static void on_error(int code, void* arg) {
  (void)code, (void)arg;
  mi_free(mi_malloc(5000));
}

/* Too large for an arena; with 32 bits four threads and their moves must find room for it. */
#define DIRECT ((size_t)(sizeof(void*) == 8 ? 600 : 150) * MIB)

static volatile size_t too_large = SIZE_MAX / 2 + 1; /* compilers warn of the constant */

static void* passing[64];
static void* work(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  for (int i = 0; i < 300; i++) {
    mi_heap_t* heap = mi_heap_new();
    for (int k = 0; k < 30; k++) {
      size_t size = rng_size(&rng, k == 0 ? 3 * MIB : 20000);
      void* p = k % 2 ? mi_malloc(size) : mi_heap_malloc(heap, size);
      mi_free(
          __atomic_exchange_n(&passing[rng_below(&rng, COUNT_OF(passing))], p, __ATOMIC_ACQ_REL));
    }
    if (i % 20 == 0) {
      void* direct = mi_heap_malloc(heap, DIRECT);
      CHECK(mi_heap_contains_block(heap, direct));
      CHECK(mi_is_in_heap_region(direct));
      direct = mi_realloc(direct, DIRECT / 6 * 7);
      mi_free(direct);
      CHECK_NULL(mi_malloc(too_large)); /* a message, and the error function */
      mi_stats_print_out(&print_and_allocate, NULL);
      mi_stats_t_decl(stats);
      CHECK(mi_stats_get(&stats));
      (void)mi_heap_visit_blocks(heap, true, &visit_nothing, NULL);
      (void)mi_abandoned_visit_blocks(NULL, -1, true, &visit_nothing, NULL);
      mi_collect(true);
      mi_process_info_print_out(&print_and_allocate, NULL);
    }
    mi_heap_delete(heap); /* blocks in the slots stay in use */
  }
  return NULL;
}

static void check_order(void) {
  CHECK_EQ(seen.reentered, 0);
  CHECK_EQ(seen.circles, 0);
  size_t pairs = 0;
  for (size_t a = 0; a < LOCKS; a++)
    for (size_t b = 0; b < LOCKS; b++) pairs += seen.after[a][b];
  check_note("%zu locks taken %zu times, %zu pairs one inside the other\n", seen.count, seen.taken,
             pairs);
  CHECK_GE(seen.count, 4);
  CHECK_GE(pairs, 3);
}

static void locks_are_taken_in_one_order_and_once(void) {
  mi_option_set(mi_option_max_errors, 10000);
  mi_register_error(&on_error, NULL);
  mi_register_output(&print_and_allocate, NULL);
  mi_register_deferred_free(&defer, NULL);
  mi_option_enable(mi_option_show_errors);
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++) threads[i] = thread_start(&work, (void*)(i + 1));
  for (int i = 0; i < 5; i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      alarm(30);
      work((void*)9);
      check_order();
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  check_order();
}

/* ---- the checks can fail --------------------------------------------------- */

static void two_orders_are_noticed(void) {
  static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER, b = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&a), pthread_mutex_lock(&b);
  pthread_mutex_unlock(&b), pthread_mutex_unlock(&a);
  CHECK_EQ(seen.circles, 0);
  pthread_mutex_lock(&b), pthread_mutex_lock(&a);
  pthread_mutex_unlock(&a), pthread_mutex_unlock(&b);
  CHECK_EQ(seen.circles, 1);
}
static void lock_taken_twice_is_noticed(void) {
  static pthread_mutex_t a = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&a);
  CHECK_EQ(pthread_mutex_lock(&a), EDEADLK);
  CHECK_EQ(seen.reentered, 1);
}

static const check_case_t cases[] = {
    CASE(locks_are_taken_in_one_order_and_once),
    CASE(two_orders_are_noticed),
    CASE(lock_taken_twice_is_noticed),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
