/* latency.c - how long single calls of malloc and free take, the rare slow ones above all.
 *
 * Usage:  latency THREADS STEPS      (STEPS per thread)
 * Output: for malloc and for free one line "NAME p50 p90 p99 p99.9 p99.99 max", nanoseconds.
 * Each thread replaces random ones of its blocks, from 16 bytes to 64 KiB; every fourth one is
 * handed to the neighbour, who frees it. Each call is timed on its own. The times go into a
 * histogram with 64 steps for each doubling, which is outside of what is allocated; they contain
 * the clock itself, about twenty nanoseconds, for every allocator alike.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>
/* The fence keeps the call from beginning before the clock is read, and the clock from being read
 * before the call has ended. */
static inline uint64_t ticks(void) {
  _mm_lfence();
  uint64_t now = __rdtsc();
  _mm_lfence();
  return now;
}
#else
static inline uint64_t ticks(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
#endif

enum { LIVE = 2000, MOST_THREADS = 16, MAILBOX = 256, SMALLEST_LOG2 = 4, LARGEST_LOG2 = 16 };
enum { STEPS_LOG2 = 6, STEP_COUNT = 1 << STEPS_LOG2, BUCKETS = (64 - STEPS_LOG2 + 1) * STEP_COUNT };

struct histogram {
  uint64_t count[BUCKETS];
  uint64_t all;
  uint64_t max;
};

struct worker {
  struct histogram of_malloc;
  struct histogram of_free;
  /* A ring with one writer, the neighbour on the left, and one reader, the worker. */
  void* mail[MAILBOX];
  atomic_size_t sent;
  atomic_size_t taken;
  struct worker* neighbour;
  size_t number;
  size_t steps;
  pthread_t thread;
};

static struct worker workers[MOST_THREADS];

static size_t bucket_of(uint64_t value) {
  if (value < STEP_COUNT) return (size_t)value;
  unsigned log2 = 63u - (unsigned)__builtin_clzll(value);
  return ((size_t)(log2 - STEPS_LOG2) << STEPS_LOG2) + (size_t)(value >> (log2 - STEPS_LOG2));
}

/* The smallest value of a bucket. */
static uint64_t value_of(size_t bucket) {
  if (bucket < 2 * STEP_COUNT) return bucket;
  size_t shift = (bucket >> STEPS_LOG2) - 1;
  return (uint64_t)(STEP_COUNT + bucket % STEP_COUNT) << shift;
}

static void note(struct histogram* h, uint64_t value) {
  h->count[bucket_of(value)]++;
  h->all++;
  if (value > h->max) h->max = value;
}

static void timed_free(struct worker* w, void* block) {
  uint64_t begin = ticks();
  free(block);
  note(&w->of_free, ticks() - begin);
}

static void* timed_malloc(struct worker* w, size_t bytes) {
  uint64_t begin = ticks();
  unsigned char* block = malloc(bytes);
  uint64_t end = ticks();
  if (block == NULL) bench_die("out of memory");
  note(&w->of_malloc, end - begin);
  block[0] = (unsigned char)bytes;
  block[bytes - 1] = (unsigned char)bytes;
  return block;
}

/* Each doubling half as likely as the one before. */
static size_t random_bytes(struct rng* rng) {
  unsigned log2 = SMALLEST_LOG2;
  uint32_t coin = rng_next(rng);
  while (log2 < LARGEST_LOG2 - 1 && (coin & 1)) {
    log2++;
    coin >>= 1;
  }
  return rng_between(rng, (size_t)1 << log2, (size_t)2 << log2);
}

static void free_mail(struct worker* w) {
  size_t taken = atomic_load_explicit(&w->taken, memory_order_relaxed); /* only written here */
  /* Acquire: the blocks in the ring, from the release in send(). */
  size_t sent = atomic_load_explicit(&w->sent, memory_order_acquire);
  for (; taken != sent; taken++) timed_free(w, w->mail[taken % MAILBOX]);
  /* Release: the places of the ring are read; pairs with the acquire in send(). */
  atomic_store_explicit(&w->taken, taken, memory_order_release);
}

/* False if the ring is full: the thread does not wait here, because no call would measure the wait.
 */
static int send(struct worker* to, void* block) {
  size_t sent = atomic_load_explicit(&to->sent, memory_order_relaxed); /* only written here */
  /* Acquire: the reader is done with the place; pairs with the release in free_mail(). */
  if (sent - atomic_load_explicit(&to->taken, memory_order_acquire) == MAILBOX) return 0;
  to->mail[sent % MAILBOX] = block;
  /* Release: the block travels with the count. */
  atomic_store_explicit(&to->sent, sent + 1, memory_order_release);
  return 1;
}

static void* work(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->number);
  static _Thread_local void* live[LIVE];
  for (size_t i = 0; i < LIVE; i++) live[i] = timed_malloc(w, random_bytes(&rng));
  for (size_t i = 0; i < w->steps; i++) {
    void** at = &live[rng_between(&rng, 0, LIVE - 1)];
    if (i % 4 != 0 || !send(w->neighbour, *at)) timed_free(w, *at);
    if (i % 64 == 0) free_mail(w);
    *at = timed_malloc(w, random_bytes(&rng));
  }
  for (size_t i = 0; i < LIVE; i++) timed_free(w, live[i]);
  return NULL;
}

static uint64_t percentile(const struct histogram* h, double share) {
  uint64_t wanted = (uint64_t)((double)h->all * share);
  uint64_t below = 0;
  for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
    below += h->count[bucket];
    if (below > wanted) return value_of(bucket);
  }
  return h->max;
}

static void print(const char* name, const struct histogram* h, double ns_per_tick) {
  static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
  printf("%s", name);
  for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
    printf(" %.1f", (double)percentile(h, shares[i]) * ns_per_tick);
  printf(" %.1f\n", (double)h->max * ns_per_tick);
}

static void add(struct histogram* to, const struct histogram* from) {
  for (size_t i = 0; i < BUCKETS; i++) to->count[i] += from->count[i];
  to->all += from->all;
  if (from->max > to->max) to->max = from->max;
}

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 2);
  size_t steps = bench_arg(argc, argv, 2, 1000000);
  if (threads > MOST_THREADS) bench_die("too many threads");
  double begin_ns = now_ns();
  uint64_t begin = ticks();
  for (size_t i = 0; i < threads; i++) {
    /* Touched before the first call is timed: its page faults are not the allocator's. */
    memset(&workers[i].of_malloc, 0, sizeof workers[i].of_malloc);
    memset(&workers[i].of_free, 0, sizeof workers[i].of_free);
    workers[i].neighbour = &workers[(i + 1) % threads];
    workers[i].number = i;
    workers[i].steps = steps;
  }
  for (size_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
  for (size_t i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  double ns_per_tick = (now_ns() - begin_ns) / (double)(ticks() - begin);
  for (size_t i = 1; i < threads; i++) {
    add(&workers[0].of_malloc, &workers[i].of_malloc);
    add(&workers[0].of_free, &workers[i].of_free);
  }
  print("malloc", &workers[0].of_malloc, ns_per_tick);
  print("free", &workers[0].of_free, ns_per_tick);
  return 0;
}
