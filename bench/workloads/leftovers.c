/* leftovers.c - threads that end and leave blocks.
 *
 * Usage:  leftovers THREADS BLOCKS     (two threads at a time, BLOCKS that each allocates)
 * A thread works with BLOCKS blocks, frees all but one in 32 and ends; the main thread keeps what
 * is left for a while, then frees it. Memory of ended threads must be of use to later ones.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST = 16, LARGEST = 1024, LEAVE_EVERY = 32, KEEP = 100, AT_A_TIME = 2 };

struct visit {
  pthread_t thread;
  size_t number;
  size_t blocks;
  uint64_t** left;
  size_t left_count;
  uint64_t sum;
};

static void* work(void* arg) {
  struct visit* v = arg;
  struct rng rng = rng_new(v->number);
  uint64_t** blocks = bench_alloc(v->blocks * sizeof *blocks);
  for (size_t i = 0; i < v->blocks; i++) {
    size_t words = rng_between(&rng, SMALLEST, LARGEST) / sizeof(uint64_t);
    blocks[i] = bench_alloc(words * sizeof(uint64_t));
    blocks[i][0] = words;
    for (size_t k = 1; k < words; k++) blocks[i][k] = i ^ k;
  }
  for (size_t i = 0; i < v->blocks; i++) {
    size_t words = blocks[i][0];
    for (size_t k = 1; k < words; k++) v->sum = v->sum * 31 + blocks[i][k];
    if (i % LEAVE_EVERY == 0)
      v->left[v->left_count++] = blocks[i];
    else
      free(blocks[i]);
  }
  free(blocks);
  return NULL;
}

static uint64_t visit_forget(struct visit* v) {
  uint64_t sum = v->sum;
  for (size_t i = 0; i < v->left_count; i++) {
    sum += v->left[i][1];
    free(v->left[i]);
  }
  free(v->left);
  return sum;
}

static void visit_begin(struct visit* v, size_t number, size_t blocks) {
  *v = (struct visit){.number = number, .blocks = blocks};
  v->left = bench_alloc((blocks / LEAVE_EVERY + 1) * sizeof *v->left);
  if (pthread_create(&v->thread, NULL, work, v) != 0) bench_die("no thread");
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 100);
  size_t blocks = bench_arg(argc, argv, 2, 100);
  struct visit* visits = bench_zeroed(KEEP, sizeof *visits);
  uint64_t sum = 0;
  size_t begun = 0;
  for (; begun + AT_A_TIME <= threads; begun += AT_A_TIME) {
    struct visit* now = &visits[begun % KEEP];
    for (size_t i = 0; i < AT_A_TIME; i++) {
      if (begun >= KEEP) sum = sum * 31 + visit_forget(&now[i]);
      visit_begin(&now[i], begun + i, blocks);
    }
    for (size_t i = 0; i < AT_A_TIME; i++) pthread_join(now[i].thread, NULL);
  }
  for (size_t i = 0; i < KEEP && i < begun; i++) sum += visit_forget(&visits[i]);
  free(visits);
  bench_finish("leftovers", sum);
  return 0;
}
