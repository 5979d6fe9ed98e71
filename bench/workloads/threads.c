/* threads.c - many short threads: the cost to start and end one.
 *
 * Usage:  threads THREADS BLOCKS      (BLOCKS per thread, two threads at a time)
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST = 16, LARGEST = 512, MOST_BLOCKS = 4096 };

struct task {
  size_t number;
  size_t blocks;
  uint64_t sum;
};

static void* work(void* arg) {
  struct task* t = arg;
  struct rng rng = rng_new(t->number);
  unsigned char* blocks[MOST_BLOCKS];
  for (size_t i = 0; i < t->blocks; i++) {
    blocks[i] = bench_alloc(rng_between(&rng, SMALLEST, LARGEST));
    blocks[i][0] = (unsigned char)rng_next(&rng);
  }
  for (size_t i = 0; i < t->blocks; i++) {
    t->sum = t->sum * 31 + blocks[i][0];
    free(blocks[i]);
  }
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 1000);
  size_t blocks = bench_arg(argc, argv, 2, 100);
  if (blocks > MOST_BLOCKS) bench_die("too many blocks per thread");
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < threads; i += 2) {
    struct task tasks[2] = {{i, blocks, 0}, {i + 1, blocks, 0}};
    pthread_t ids[2];
    for (int k = 0; k < 2; k++)
      if (pthread_create(&ids[k], NULL, work, &tasks[k]) != 0) bench_die("no thread");
    for (int k = 0; k < 2; k++) {
      pthread_join(ids[k], NULL);
      sum += tasks[k].sum;
    }
  }
  bench_finish("threads", sum);
  return 0;
}
