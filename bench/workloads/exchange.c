/* exchange.c - some threads only allocate, others only free; one pile lies between them.
 *
 * Usage:  exchange PAIRS BATCHES     (BATCHES per pair)
 * Batches of 120 blocks of 16 to 128 bytes. A consumer takes the newest batch of any producer, so
 * that the blocks of one thread come back from several. At most 100 batches lie on the pile.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { BATCH = 120, MOST = 100, SMALLEST = 16, LARGEST = 128 };

struct batch {
  struct batch* below;
  uint64_t* blocks[BATCH];
};

static struct {
  pthread_mutex_t lock;
  pthread_cond_t grown;
  pthread_cond_t shrunk;
  struct batch* top;
  size_t height;
  size_t expected; /* batches that consumers have not taken yet */
} pile = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0, 0};

struct worker {
  pthread_t thread;
  size_t number;
  size_t batches;
  uint64_t sum;
};

static void pile_put(struct batch* b) {
  pthread_mutex_lock(&pile.lock);
  while (pile.height == MOST) pthread_cond_wait(&pile.shrunk, &pile.lock);
  b->below = pile.top;
  pile.top = b;
  pile.height++;
  pthread_cond_signal(&pile.grown);
  pthread_mutex_unlock(&pile.lock);
}

/* NULL when no more will come. */
static struct batch* pile_take(void) {
  pthread_mutex_lock(&pile.lock);
  while (pile.top == NULL && pile.expected > 0) pthread_cond_wait(&pile.grown, &pile.lock);
  struct batch* b = pile.top;
  if (b != NULL) {
    pile.top = b->below;
    pile.height--;
    if (--pile.expected == 0) pthread_cond_broadcast(&pile.grown);
    pthread_cond_signal(&pile.shrunk);
  }
  pthread_mutex_unlock(&pile.lock);
  return b;
}

static void* produce(void* arg) {
  struct worker* w = arg;
  struct rng rng = rng_new(w->number);
  for (size_t i = 0; i < w->batches; i++) {
    struct batch* b = bench_alloc(sizeof *b);
    for (size_t k = 0; k < BATCH; k++) {
      size_t bytes = rng_between(&rng, SMALLEST, LARGEST);
      b->blocks[k] = bench_alloc(bytes);
      for (size_t word = 0; word < bytes / sizeof(uint64_t); word++) b->blocks[k][word] = i ^ bytes;
    }
    pile_put(b);
  }
  return NULL;
}

static void* consume(void* arg) {
  struct worker* w = arg;
  struct batch* b = NULL;
  while ((b = pile_take()) != NULL) {
    for (size_t k = 0; k < BATCH; k++) {
      w->sum += b->blocks[k][0] + b->blocks[k][1];
      free(b->blocks[k]);
    }
    free(b);
  }
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t pairs = bench_arg(argc, argv, 1, 1);
  size_t batches = bench_arg(argc, argv, 2, 1000);
  struct worker* workers = bench_zeroed(2 * pairs, sizeof *workers);
  pile.expected = pairs * batches;
  for (size_t i = 0; i < 2 * pairs; i++) {
    workers[i].number = i;
    workers[i].batches = batches;
    if (pthread_create(&workers[i].thread, NULL, i < pairs ? produce : consume, &workers[i]) != 0)
      bench_die("no thread");
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < 2 * pairs; i++) {
    pthread_join(workers[i].thread, NULL);
    sum += workers[i].sum;
  }
  free(workers);
  bench_finish("exchange", sum);
  return 0;
}
