/* raw_clone.c - threads that the C library did not make and does not know.
 *
 * To the allocator a thread is its thread-local storage. A bare clone without storage counts as its
 * caller, which must wait meanwhile. A clone with storage of its own is a thread like any other,
 * but the C library does not report its end. Two threads that run at the same time on the same
 * storage cannot work.
 */
#include "probe.h"
#include "purger.h"
#include <dlfcn.h>
#include <linux/futex.h>
#include <mimalloc-stats.h>
#include <mimalloc.h>
#include <sched.h>
#include <sys/syscall.h>

#define STACK_SIZE (256 * KIB)
#define THREADS 4

static const size_t sizes[] = {8, 100, 1000, 5000, 40 * KIB, 200 * KIB, 3 * MIB};
#define SIZES COUNT_OF(sizes)
#define EACH 50
#define BLOCKS (SIZES * EACH)

typedef struct raw_s {
  void (*run)(struct raw_s* self);
  int alive; /* the kernel sets it to 0 and wakes the waiting thread */
  unsigned number;
  char* stack;
  void* storage;
  mi_heap_t* heap;
  struct raw_s* neighbour;
  void* blocks[BLOCKS];
} raw_t;

static raw_t threads[THREADS];
static pthread_barrier_t step;

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

static int raw_main(void* arg) {
  raw_t* self = (raw_t*)arg;
  self->run(self);
  return 0;
}

/* With `storage` NULL the new thread has the caller's. */
static void raw_start(raw_t* t, void (*run)(raw_t*), void* storage) {
  int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
              CLONE_CHILD_CLEARTID | (storage != NULL ? CLONE_SETTLS : 0);
  if (t->stack == NULL) {
    t->stack = (char*)mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    REQUIRE(t->stack != MAP_FAILED);
  }
  t->run = run;
  t->alive = 1;
  REQUIRE(clone(&raw_main, t->stack + STACK_SIZE, flags, t, NULL, storage, &t->alive) > 0);
}

/* Does nothing that needs thread-local storage before the other thread has ended: both may have the
 * same storage. */
static void raw_join(raw_t* t) {
  while (__atomic_load_n(&t->alive, __ATOMIC_ACQUIRE) != 0)
    (void)syscall(SYS_futex, &t->alive, FUTEX_WAIT, 1, NULL, NULL, 0);
}

static void allocate_all(raw_t* t) {
  for (size_t i = 0; i < BLOCKS; i++) {
    size_t size = sizes[i % SIZES];
    REQUIRE((t->blocks[i] = mi_malloc(size)) != NULL);
    pattern_fill(t->blocks[i], size < 5000 ? size : 5000, t->number);
  }
}
static void free_every_second(raw_t* t, size_t from) {
  for (size_t i = from; i < BLOCKS; i += 2) {
    size_t size = sizes[i % SIZES];
    CHECK(pattern_holds(t->blocks[i], size < 5000 ? size : 5000, t->number));
    mi_free(t->blocks[i]);
    t->blocks[i] = NULL;
  }
}
static void free_all(raw_t* t) {
  free_every_second(t, 0);
  free_every_second(t, 1);
}

static void check_live_as(const mi_stats_t* before) {
  mi_stats_t now = stats_now();
  if (!is_kept_for_purger(now.malloc_normal.current - before->malloc_normal.current))
    CHECK_EQ(now.malloc_normal.current, before->malloc_normal.current);
  CHECK_EQ(now.malloc_huge.current, before->malloc_huge.current);
}

/* ---- on the storage of the thread that waits ---- */

static void free_and_allocate(raw_t* self) {
  self->heap = mi_heap_get_backing();
  free_all(&threads[1]);
  allocate_all(self);
  free_every_second(self, 0);
}

static void one_without_storage_is_its_caller_that_waits(void) {
  mi_heap_t* heap = mi_heap_get_backing();
  mi_stats_t before = stats_now();
  for (unsigned round = 0; round < 20; round++) {
    threads[0].number = round;
    threads[1].number = round + 100;
    allocate_all(&threads[1]);
    raw_start(&threads[0], &free_and_allocate, NULL);
    raw_join(&threads[0]);
    CHECK_SAME(threads[0].heap, heap);
    CHECK(mi_heap_contains_block(heap, threads[0].blocks[1]));
    free_every_second(&threads[0], 1);
    check_live_as(&before);
  }
  mi_stats_t now = stats_now();
  CHECK_EQ(now.threads.current, before.threads.current);
  CHECK_EQ(now.threads.total, before.threads.total);
}

/* ---- on storage of their own ---- */

#if defined(__GLIBC__) && defined(__x86_64__)
#include <sys/single_threaded.h>

static void* (*storage_allocate)(void*);
static void (*storage_deallocate)(void*, bool);

static void* storage_new(void) {
  void** block = (void**)storage_allocate(NULL);
  REQUIRE(block != NULL);
  block[0] = (void*)block; /* by which code finds its storage, */
  block[2] = (void*)block; /* and the C library its record of the thread */
  return (void*)block;
}

static void* do_nothing(void* arg) { return arg; }

/* What the dynamic linker does for threads of the C library; private to both. */
static void storage_begin(void) {
  void* allocate = dlsym(RTLD_DEFAULT, "_dl_allocate_tls");
  void* deallocate = dlsym(RTLD_DEFAULT, "_dl_deallocate_tls");
  REQUIRE(allocate != NULL && deallocate != NULL);
  memcpy((void*)&storage_allocate, &allocate, sizeof allocate);
  memcpy((void*)&storage_deallocate, &deallocate, sizeof deallocate);
  /* Until the C library makes a thread itself, it reports one thread. */
  thread_join(thread_start(&do_nothing, NULL));
  REQUIRE(__libc_single_threaded == 0);
  for (unsigned i = 0; i < THREADS; i++) {
    threads[i].number = i;
    threads[i].neighbour = &threads[(i + 1) % THREADS];
    threads[i].storage = storage_new();
  }
}

static void check_new_heap(raw_t* self) {
  mi_stats_t_decl(mine);
  self->heap = mi_heap_get_backing();
  REQUIRE(self->heap != NULL);
  CHECK(mi_heap_stats_get(self->heap, &mine));
  CHECK_EQ(mine.pages.current, 0);
  CHECK_EQ(mine.malloc_normal.current + mine.malloc_huge.current, 0);
  CHECK_EQ(mine.malloc_normal_count.total + mine.malloc_huge_count.total, 0);
}

static void use_and_exchange(raw_t* self) {
  check_new_heap(self);
  allocate_all(self);
  pthread_barrier_wait(&step);
  free_every_second(self->neighbour, 0); /* while that one goes on allocating */
  raw_t* more = (raw_t*)mi_malloc(sizeof(raw_t));
  REQUIRE(more != NULL);
  more->number = self->number + 10;
  for (int i = 0; i < 5; i++) {
    allocate_all(more);
    free_all(more);
  }
  mi_free(more);
  pthread_barrier_wait(&step);
  mi_thread_done();
}

/* In each round the threads get heaps that earlier threads left, and must find them clean. */
static void those_with_storage_have_a_clean_heap_each(void) {
  enum { ROUNDS = 5 };
  storage_begin();
  REQUIRE(pthread_barrier_init(&step, NULL, THREADS) == 0);
  mi_stats_t before = stats_now();
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t i = 0; i < THREADS; i++)
      raw_start(&threads[i], &use_and_exchange, threads[i].storage);
    for (size_t i = 0; i < THREADS; i++) raw_join(&threads[i]);
    for (size_t i = 0; i < THREADS; i++) {
      CHECK(threads[i].heap != mi_heap_get_backing());
      for (size_t k = 0; k < i; k++) CHECK(threads[i].heap != threads[k].heap);
      free_every_second(&threads[i], 1);
    }
    mi_collect(true);
    check_live_as(&before);
  }
  mi_stats_t now = stats_now();
  CHECK_EQ(now.threads.current, before.threads.current);
  CHECK_EQ(now.threads.total, before.threads.total + ROUNDS * THREADS);
  CHECK_LE(now.pages.current, before.pages.current + (purger_is_allowed() ? 1 : 0));
}

static void only_free(raw_t* self) { free_all(self->neighbour); }

static void those_that_only_free_need_no_heap(void) {
  storage_begin();
  mi_stats_t before = stats_now();
  for (int round = 0; round < 5; round++) {
    for (size_t i = 0; i < THREADS; i++) allocate_all(&threads[i]);
    for (size_t i = 0; i < THREADS; i++) raw_start(&threads[i], &only_free, threads[i].storage);
    for (size_t i = 0; i < THREADS; i++) raw_join(&threads[i]);
    check_live_as(&before);
  }
  mi_stats_t now = stats_now();
  CHECK_EQ(now.threads.total, before.threads.total);
}

static void leave_blocks(raw_t* self) {
  check_new_heap(self);
  allocate_all(self);
}
static void go_on(raw_t* self) {
  CHECK_SAME(mi_heap_get_backing(), self->heap);
  CHECK(mi_heap_contains_block(self->heap, self->neighbour->blocks[0]));
  free_every_second(self->neighbour, 0);
}
static void go_on_and_tell(raw_t* self) {
  CHECK_SAME(mi_heap_get_backing(), self->heap);
  mi_thread_done();
}

/* A thread whose end is not reported leaves valid blocks. A thread that gets its storage unchanged
 * goes on with its heap; a thread with new storage, at the same address or not, begins anew. */
static void one_that_ends_without_a_word_leaves_valid_blocks(void) {
  storage_begin();
  raw_t* first = &threads[0];
  raw_t* second = &threads[1];
  second->neighbour = first;
  mi_stats_t before = stats_now();
  raw_start(first, &leave_blocks, first->storage);
  raw_join(first);
  CHECK_EQ(stats_now().threads.current, before.threads.current + 1);
  second->heap = first->heap;
  raw_start(second, &go_on, first->storage);
  raw_join(second);
  CHECK_EQ(stats_now().threads.total, before.threads.total + 1);
  free_every_second(first, 1);
  mi_heap_t* abandoned = first->heap;
  raw_start(first, &leave_blocks, second->storage);
  raw_join(first);
  CHECK(first->heap != abandoned);
  CHECK_EQ(stats_now().threads.current, before.threads.current + 2);
  free_all(first);
  /* A later thread with the same storage can still report the end. */
  second->heap = first->heap;
  raw_start(second, &go_on_and_tell, second->storage);
  raw_join(second);
  second->heap = abandoned;
  raw_start(second, &go_on_and_tell, first->storage);
  raw_join(second);
  CHECK_EQ(stats_now().threads.current, before.threads.current);
  check_live_as(&before);
  for (size_t i = 0; i < THREADS; i++) storage_deallocate(threads[i].storage, true);
}
#endif

static const check_case_t cases[] = {
    CASE(one_without_storage_is_its_caller_that_waits),
#if defined(__GLIBC__) && defined(__x86_64__)
    CASE(those_with_storage_have_a_clean_heap_each),
    CASE(those_that_only_free_need_no_heap),
    CASE(one_that_ends_without_a_word_leaves_valid_blocks),
#endif
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
