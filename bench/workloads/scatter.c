/* scatter.c - random replacement in a large table: every block is far from the one before.
 *
 * Usage:  scatter THREADS LIVE REPLACEMENTS     (both per thread)
 * 8 bytes to 8 KiB; small sizes are frequent, large ones rare.
 * A block is written when it is allocated and read before it is freed, so that cache and TLB
 * misses are a large part of the time, as in a program with a large heap.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST_LOG2 = 3, LARGEST_LOG2 = 13, LINE = 64 };

struct slot {
  unsigned char* block;
  size_t bytes;
};

struct worker {
  pthread_t thread;
  size_t number;
  size_t live;
  size_t replacements;
  uint64_t sum;
};

/* A product of two numbers makes small powers of two frequent: a third is below 16 bytes, the
 * average is near 200. */
static size_t random_bytes(struct rng* rng) {
  uint64_t doublings = LARGEST_LOG2 - SMALLEST_LOG2;
  uint32_t skewed = (uint32_t)(((uint64_t)rng_next(rng) * rng_next(rng)) >> 32);
  size_t low = (size_t)1 << (SMALLEST_LOG2 + ((skewed * doublings) >> 32));
  return rng_between(rng, low, 2 * low - 1);
}

static void slot_fill(struct slot* s, struct rng* rng) {
  s->bytes = random_bytes(rng);
  s->block = bench_alloc(s->bytes);
  memset(s->block, (int)(s->bytes & 0xff), s->bytes);
}

static uint64_t slot_empty(struct slot* s) {
  uint64_t sum = 0;
  for (size_t i = 0; i < s->bytes; i += LINE) sum += s->block[i];
  free(s->block);
  return sum;
}

static void* work(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->number);
  struct slot* slots = bench_alloc(w->live * sizeof *slots);
  for (size_t i = 0; i < w->live; i++) slot_fill(&slots[i], &rng);
  for (size_t i = 0; i < w->replacements; i++) {
    struct slot* s = &slots[rng_between(&rng, 0, w->live - 1)];
    w->sum = w->sum * 31 + slot_empty(s);
    slot_fill(s, &rng);
  }
  for (size_t i = 0; i < w->live; i++) w->sum += slot_empty(&slots[i]);
  free(slots);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 1);
  size_t live = bench_arg(argc, argv, 2, 10000);
  size_t replacements = bench_arg(argc, argv, 3, 100000);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  for (size_t i = 0; i < threads; i++) {
    workers[i].number = i;
    workers[i].live = live;
    workers[i].replacements = replacements;
  }
  uint64_t sum = 0;
  if (threads == 1) {
    work(&workers[0]); /* a process without a second thread is a case of its own */
    sum = workers[0].sum;
  } else {
    for (size_t i = 0; i < threads; i++)
      if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
    for (size_t i = 0; i < threads; i++) {
      pthread_join(workers[i].thread, NULL);
      sum += workers[i].sum;
    }
  }
  free(workers);
  bench_finish("scatter", sum);
  return 0;
}
