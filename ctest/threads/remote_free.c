/* remote_free.c - blocks freed by other threads, threads that end, memory that must come back.
 */
#include "probe.h"
#include <mimalloc.h>

#define LIST_MAX 200000

typedef struct list_s {
  void* blocks[LIST_MAX];
  size_t count;
  size_t size;  /* of each block */
  size_t bytes; /* to allocate */
} list_t;

static void* list_fill(void* arg) {
  list_t* l = (list_t*)arg;
  l->count = l->bytes / l->size;
  if (l->count > LIST_MAX) l->count = LIST_MAX;
  for (size_t i = 0; i < l->count; i++) {
    l->blocks[i] = mi_malloc(l->size);
    REQUIRE(l->blocks[i] != NULL);
    memset(l->blocks[i], (int)(i & 0x7F), l->size);
  }
  return NULL;
}

static void* list_check_and_free(void* arg) {
  list_t* l = (list_t*)arg;
  for (size_t i = 0; i < l->count; i++) {
    unsigned char* p = (unsigned char*)l->blocks[i];
    CHECK_EQ(p[0], i & 0x7F);
    CHECK_EQ(p[l->size - 1], i & 0x7F);
    mi_free(p);
  }
  return NULL;
}

static list_t list;

static const size_t kinds[] = {16, 200, 3000, 20000, 100000, 3 * MIB, 40 * MIB};

/* The rounds do not add up: peaks are compared, because what is resident after a round depends on
 * how much was purged meanwhile. */
static void blocks_of_an_ended_thread_come_back(void) {
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    list.size = kinds[k];
    list.bytes = 80 * MIB;
    size_t first = 0;
    rss_peak_reset();
    for (int round = 0; round < 8; round++) {
      thread_join(thread_start(&list_fill, &list));
      if (round % 2 == 0) {
        list_check_and_free(&list);
      } else {
        thread_join(thread_start(&list_check_and_free, &list));
      }
      if (round != 1) continue;
      first = rss_peak_bytes();
      rss_peak_reset();
    }
    size_t last = rss_peak_bytes();
    if (!CHECK_LE(last, first + 16 * MIB)) check_note("blocks of %zu bytes\n", list.size);
    mi_collect(true);
    size_t after = rss_bytes();
    check_note("%8zu bytes: at most %zu MiB resident, after collect %zu MiB\n", list.size,
               last / MIB, after / MIB);
    CHECK_LE(after, 24 * MIB);
  }
}

typedef struct handover_s {
  list_t* list;
  pthread_barrier_t* barrier;
} handover_t;

static void* fill_then_outlive(void* arg) {
  handover_t* h = (handover_t*)arg;
  list_fill(h->list);
  pthread_barrier_wait(h->barrier); /* others free now */
  pthread_barrier_wait(h->barrier);
  /* The owner goes on and finds the memory again. */
  list_fill(h->list);
  list_check_and_free(h->list);
  return NULL;
}

static void blocks_of_a_living_thread_come_back(void) {
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    list.size = kinds[k];
    list.bytes = 80 * MIB;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    handover_t h = {&list, &barrier};
    rss_peak_reset();
    size_t before = rss_bytes();
    pthread_t owner = thread_start(&fill_then_outlive, &h);
    pthread_barrier_wait(&barrier);
    list_check_and_free(&list);
    pthread_barrier_wait(&barrier);
    thread_join(owner);
    size_t peak = rss_peak_bytes();
    if (!CHECK_LE(peak, before + 80 * MIB * 13 / 10 + 8 * MIB)) {
      check_note("blocks of %zu bytes\n", list.size);
    }
    pthread_barrier_destroy(&barrier);
  }
}

static void* allocate_a_little(void* arg) {
  (void)arg;
  for (size_t size = 16; size <= 4096; size *= 2) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    mi_free(p);
  }
  return NULL;
}

/* thread_exit.c has them in waves. */
static void ten_thousand_threads_leave_memory_flat(void) {
  size_t before = 0;
  for (int i = 0; i < 10000; i++) {
    thread_join(thread_start(&allocate_a_little, NULL));
    if (i == 2000) before = rss_bytes();
  }
  size_t after = rss_bytes();
  check_note("resident after 2000 threads %zu KiB, after 10000 %zu KiB\n", before / KIB,
             after / KIB);
  /* Of so little the system's count is inexact by some OS pages for each processor. */
  CHECK_LE(after, before + before / 10 + 256 * KIB);
}

static void* allocate_and_leave_one(void* arg) {
  void** slot = (void**)arg;
  void* p[20];
  for (size_t i = 0; i < COUNT_OF(p); i++) {
    p[i] = mi_malloc(64);
    REQUIRE(p[i] != NULL);
    memset(p[i], 0x3C, 64);
  }
  for (size_t i = 1; i < COUNT_OF(p); i++) mi_free(p[i]);
  *slot = p[0];
  return NULL;
}

/* Later threads use the memory of ended threads. */
static void ten_thousand_threads_each_leave_one_block(void) {
  static void* left[10000];
  size_t before = 0;
  for (size_t i = 0; i < COUNT_OF(left); i++) {
    thread_join(thread_start(&allocate_and_leave_one, (void*)&left[i]));
    if (i == 500) before = rss_bytes();
  }
  size_t after = rss_bytes();
  check_note("10000 blocks of 64 bytes are alive: resident grew by %zu KiB\n",
             (after - before) / KIB);
  CHECK_LE(after, before + 8 * MIB);
  for (size_t i = 0; i < COUNT_OF(left); i++) {
    CHECK(all_bytes_are(left[i], 64, 0x3C));
    mi_free(left[i]);
  }
  mi_collect(true);
  CHECK_LE(rss_bytes(), before + 2 * MIB);
}

/* ---- a thread that only frees -------------------------------------------------- */

#define PRODUCERS 16
#define RING 32768
/* Enough that one partly used page per heap and size class does not decide the figure. */
#define LIVE_PER_PRODUCER (16 * MIB)

typedef struct ring_s {
  void* blocks[RING]; /* NULL: empty; accessed atomically */
  size_t live;        /* usable bytes in the ring, atomic */
  unsigned number;
} ring_t;

static ring_t rings[PRODUCERS];
static int producers_stop;
static size_t live_now, live_peak; /* of all rings, atomic */
/* Else the test shows nothing. */
#define FREED_MIN 10000
#define LIVE_PEAK_MIN (64 * MIB)

static void* produce(void* arg) {
  ring_t* r = (ring_t*)arg;
  rng_t rng = {r->number + 100};
  size_t at = 0;
  while (!__atomic_load_n(&producers_stop, __ATOMIC_RELAXED)) {
    size_t size = 16 + rng_below(&rng, 1500);
    if (__atomic_load_n(&r->blocks[at], __ATOMIC_ACQUIRE) != NULL ||
        __atomic_load_n(&r->live, __ATOMIC_RELAXED) > LIVE_PER_PRODUCER) {
      sched_yield();
      continue;
    }
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    size_t usable = mi_usable_size(p);
    __atomic_fetch_add(&r->live, usable, __ATOMIC_RELAXED);
    size_t live = __atomic_add_fetch(&live_now, usable, __ATOMIC_RELAXED);
    size_t peak = __atomic_load_n(&live_peak, __ATOMIC_RELAXED);
    while (live > peak && !__atomic_compare_exchange_n(&live_peak, &peak, live, true,
                                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    __atomic_store_n(&r->blocks[at], p, __ATOMIC_RELEASE);
    at = (at + 1) % RING;
  }
  return NULL;
}

static void* only_free(void* arg) {
  (void)arg;
  size_t at[PRODUCERS] = {0};
  size_t freed = 0;
  double end = now_seconds() + 2.0 * check_scale();
  /* Longer where the producers get little time. */
  for (double now;
       (now = now_seconds()) < end ||
       (now < end + 60 &&
        (freed < FREED_MIN || __atomic_load_n(&live_peak, __ATOMIC_RELAXED) < LIVE_PEAK_MIN));) {
    for (size_t i = 0; i < PRODUCERS; i++) {
      for (size_t n = 0; n < 1000; n++) {
        void* p = __atomic_exchange_n(&rings[i].blocks[at[i]], NULL, __ATOMIC_ACQUIRE);
        if (p == NULL) break;
        at[i] = (at[i] + 1) % RING;
        size_t usable = mi_usable_size(p);
        __atomic_fetch_sub(&rings[i].live, usable, __ATOMIC_RELAXED);
        __atomic_fetch_sub(&live_now, usable, __ATOMIC_RELAXED);
        mi_free(p);
        freed++;
      }
    }
  }
  check_note("%zu blocks freed by a thread that allocates nothing\n", freed);
  CHECK_GE(freed, FREED_MIN);
  return NULL;
}

static void thread_that_only_frees_pins_no_memory(void) {
  pthread_t threads[PRODUCERS];
  memset(rings, 0, sizeof rings);
  rss_peak_reset();
  size_t before = rss_bytes();
  for (unsigned i = 0; i < PRODUCERS; i++) {
    rings[i].number = i;
    threads[i] = thread_start(&produce, &rings[i]);
  }
  pthread_t freer = thread_start(&only_free, NULL);
  thread_join(freer);
  size_t peak = rss_peak_bytes() - before;
  __atomic_store_n(&producers_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < PRODUCERS; i++) thread_join(threads[i]);
  check_note("peak live %zu KiB, peak resident growth %zu KiB\n", live_peak / KIB, peak / KIB);
  CHECK_GE(live_peak, LIVE_PEAK_MIN);
  /* 8 MiB: stacks of 17 threads and the partly used pages of 16 heaps. A shorter run, which other
   * targets make, does not reach what it would keep. */
  if (check_scale() >= 1) CHECK_LE(peak, live_peak * 13 / 10 + 8 * MIB);
  for (size_t i = 0; i < PRODUCERS; i++) {
    for (size_t j = 0; j < RING; j++) mi_free(rings[i].blocks[j]);
  }
}

/* ---- owners end while others free -------------------------------------------------------- */

#define RACE_BLOCKS 2000
static void* race_blocks[RACE_BLOCKS]; /* atomic */

static void* race_owner(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  for (size_t i = 0; i < RACE_BLOCKS; i++) {
    size_t size = rng_size(&rng, i % 100 == 0 ? 2 * MIB : 8000);
    unsigned char* p = (unsigned char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p[0] = 0x77;
    p[size - 1] = 0x77;
    __atomic_store_n(&race_blocks[i], (void*)p, __ATOMIC_RELEASE);
  }
  return NULL; /* ends while the others still free */
}

static void* race_freer(void* arg) {
  size_t* freed = (size_t*)arg;
  while (__atomic_load_n(freed, __ATOMIC_RELAXED) < RACE_BLOCKS) {
    for (size_t i = 0; i < RACE_BLOCKS; i++) {
      void* p = __atomic_exchange_n(&race_blocks[i], NULL, __ATOMIC_ACQ_REL);
      if (p == NULL) continue;
      CHECK_EQ(((unsigned char*)p)[0], 0x77);
      mi_free(p);
      __atomic_fetch_add(freed, 1, __ATOMIC_RELAXED);
    }
  }
  return NULL;
}

/* Thread ids are reused in each round. */
static void owner_ends_while_two_others_free(void) {
  size_t before = 0;
  for (size_t round = 0; round < check_scaled(300); round++) {
    size_t freed = 0;
    pthread_t owner = thread_start(&race_owner, (void*)(round + 1));
    pthread_t a = thread_start(&race_freer, &freed);
    pthread_t b = thread_start(&race_freer, &freed);
    thread_join(owner);
    thread_join(a);
    thread_join(b);
    if (round == 30) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 32 * MIB);
}

/* Many threads on few cores. */
static void* busy_thread(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[100] = {0};
  for (size_t i = 0; i < 2000; i++) {
    size_t at = rng_below(&rng, COUNT_OF(held));
    mi_free(held[at]);
    held[at] = mi_malloc(rng_size(&rng, 2000));
    REQUIRE(held[at] != NULL);
  }
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  return NULL;
}
static void many_threads_on_few_cores_end_in_time(void) {
  static pthread_t threads[256];
  double start = now_seconds();
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&busy_thread, (void*)(i + 1));
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  CHECK_LE_DOUBLE(now_seconds() - start, 20.0);
}

static const check_case_t cases[] = {
    CASE(blocks_of_an_ended_thread_come_back),    CASE(blocks_of_a_living_thread_come_back),
    CASE(ten_thousand_threads_leave_memory_flat), CASE(ten_thousand_threads_each_leave_one_block),
    CASE(thread_that_only_frees_pins_no_memory),  CASE(owner_ends_while_two_others_free),
    CASE(many_threads_on_few_cores_end_in_time),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
