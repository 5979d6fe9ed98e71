/* ordered.c - batches of small messages, freed in the order of allocation or backwards.
 *
 * Usage:  ordered THREADS BYTES BLOCKS      (BLOCKS per thread and length of batch)
 * Batches of 25, 100, 400, 1600, 6400 and 25600 blocks; a quarter of each is kept until the next
 * one is there, so that the lists of free blocks do not stay as tidy as they begin.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SHORTEST = 25, LONGEST = 25600, TIMES = 4 };

struct worker {
  pthread_t thread;
  size_t words;
  size_t blocks;
  uint64_t sum;
};

/* A message: words that depend on each other, so that neither end is free of work. */
static uint64_t* block_new(size_t words, uint64_t mark) {
  uint64_t* p = bench_alloc(words * sizeof *p);
  for (size_t i = 0; i < words; i++) {
    p[i] = mark;
    mark = mark * 0x100000001b3u + i;
  }
  return p;
}

static uint64_t block_free(uint64_t* p, size_t words) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < words; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
  free(p);
  return hash;
}

/* `blocks` has room for two batches: the kept quarter of the last one follows the new one. */
static uint64_t batch_run(uint64_t** blocks, size_t length, size_t words, int backwards) {
  uint64_t sum = 0;
  uint64_t** kept = blocks + length;
  for (size_t i = 0; i < length; i++) blocks[i] = block_new(words, i);
  for (size_t i = 0; i < length / 4; i++) {
    if (kept[i] != NULL) sum = sum * 31 + block_free(kept[i], words);
    kept[i] = blocks[4 * i];
    blocks[4 * i] = NULL;
  }
  for (size_t i = 0; i < length; i++) {
    uint64_t* p = blocks[backwards ? length - 1 - i : i];
    if (p != NULL) sum = sum * 31 + block_free(p, words);
  }
  return sum;
}

static void* work(void* arg) {
  struct worker* w = arg;
  uint64_t** blocks = bench_zeroed(2 * LONGEST, sizeof *blocks);
  for (size_t length = SHORTEST; length <= LONGEST; length *= TIMES) {
    for (size_t i = 0; i < 2 * length; i++) blocks[i] = NULL;
    for (size_t done = 0; done < w->blocks; done += length)
      w->sum = w->sum * 31 + batch_run(blocks, length, w->words, done / length % 2 == 0);
    for (size_t i = 0; i < length / 4; i++)
      if (blocks[length + i] != NULL) w->sum += block_free(blocks[length + i], w->words);
  }
  free(blocks);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 1);
  size_t bytes = bench_arg(argc, argv, 2, 16);
  if (bytes < sizeof(uint64_t)) bench_die("a block has no room for a word");
  size_t blocks = bench_arg(argc, argv, 3, 100000);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) {
    /* The main thread works too, so that one thread means a process with one. */
    workers[i].words = bytes / sizeof(uint64_t);
    workers[i].blocks = blocks;
    if (i > 0 && pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
      bench_die("no thread");
  }
  work(&workers[0]);
  for (size_t i = 0; i < threads; i++) {
    if (i > 0) pthread_join(workers[i].thread, NULL);
    sum += workers[i].sum;
  }
  free(workers);
  bench_finish("ordered", sum);
  return 0;
}
