/* rounds.c - threads that come and go in rounds and swap blocks through shared places.
 *
 * Usage:  rounds THREADS ROUNDS BLOCKS      (BLOCKS per thread and round)
 * Most blocks are small, a few large. A thread keeps a part of them to its end, frees others at
 * once, and swaps others with what lies in one of the shared places: that block is of any thread,
 * perhaps of one that has ended. Every fourth round all places are emptied by the main thread.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>

enum { PLACES = 1000, EMPTY_EVERY = 4, KEEP_IN_8 = 3, SWAP_IN_8 = 2 };

struct block {
  size_t words;
  uint64_t cookies[];
};

struct worker {
  pthread_t thread;
  size_t stream;
  size_t blocks;
  uint64_t sum;
};

static _Atomic(struct block*) places[PLACES];

/* Words: one of a hundred is a large block, one of ten a medium one. */
static size_t random_words(struct rng* rng) {
  uint32_t pick = rng_next(rng) % 1000;
  if (pick == 0) return rng_between(rng, 4096, 16384);
  if (pick < 10) return rng_between(rng, 512, 4096);
  if (pick < 100) return rng_between(rng, 64, 512);
  return rng_between(rng, 1, 64);
}

static struct block* block_new(struct rng* rng) {
  size_t words = random_words(rng);
  struct block* b = bench_alloc(sizeof *b + words * sizeof b->cookies[0]);
  b->words = words;
  uint64_t cookie = rng_next(rng);
  for (size_t i = 0; i < words; i++) b->cookies[i] = cookie ^ i;
  return b;
}

/* The sum does not depend on which thread frees a block, or when. */
static uint64_t block_free(struct block* b) {
  if (b == NULL) return 0;
  uint64_t cookie = b->cookies[0];
  for (size_t i = 0; i < b->words; i++)
    if (b->cookies[i] != (cookie ^ i)) bench_die("a block was overwritten");
  free(b);
  return cookie;
}

static void* work(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->stream);
  struct block** kept = NULL;
  size_t count = 0;
  size_t capacity = 0;
  for (size_t i = 0; i < w->blocks; i++) {
    struct block* b = block_new(&rng);
    uint32_t pick = rng_next(&rng) >> 29;
    size_t at = rng_between(&rng, 0, PLACES - 1);
    if (pick < KEEP_IN_8) {
      if (count == capacity) {
        capacity = capacity == 0 ? 16 : capacity * 2;
        kept = bench_resize(kept, capacity * sizeof *kept);
      }
      kept[count++] = b;
    } else if (pick < KEEP_IN_8 + SWAP_IN_8) {
      /* What the block holds travels with it, both ways. */
      w->sum += block_free(atomic_exchange_explicit(&places[at], b, memory_order_acq_rel));
    } else {
      w->sum += block_free(b);
      if (count > 0 && (pick & 1) != 0) {
        size_t old = at % count;
        w->sum += block_free(kept[old]);
        kept[old] = kept[--count];
      }
    }
  }
  while (count > 0) w->sum += block_free(kept[--count]);
  free(kept);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 2);
  size_t rounds = bench_arg(argc, argv, 2, 4);
  size_t blocks = bench_arg(argc, argv, 3, 10000);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  uint64_t sum = 0;
  for (size_t r = 0; r < rounds; r++) {
    for (size_t i = 0; i < threads; i++) {
      workers[i].stream = r * threads + i;
      workers[i].blocks = blocks;
      workers[i].sum = 0;
      if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
    }
    for (size_t i = 0; i < threads; i++) {
      pthread_join(workers[i].thread, NULL);
      sum += workers[i].sum;
    }
    if (r % EMPTY_EVERY != EMPTY_EVERY - 1 && r + 1 < rounds) continue;
    for (size_t i = 0; i < PLACES; i++) sum += block_free(atomic_exchange(&places[i], NULL));
  }
  free(workers);
  bench_finish("rounds", sum);
  return 0;
}
