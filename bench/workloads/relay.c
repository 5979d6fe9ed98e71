/* relay.c - producers allocate, consumers free: every free is remote.
 *
 * Usage:  relay PAIRS BLOCKS        (BLOCKS per pair)
 * Blocks travel in crates of 256 through a queue of eight crates, so that the lock of the queue
 * is not what is measured.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { CRATE = 256, QUEUE = 8, SMALLEST = 16, LARGEST = 256 };

struct crate {
  size_t count;
  uint64_t* blocks[CRATE];
};

struct relay {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  struct crate queue[QUEUE];
  size_t head; /* crates taken so far */
  size_t tail; /* crates put so far */
  size_t blocks;
  size_t number;
  uint64_t sum;
};

static void relay_put(struct relay* r, const struct crate* c) {
  pthread_mutex_lock(&r->lock);
  while (r->tail - r->head == QUEUE) pthread_cond_wait(&r->changed, &r->lock);
  r->queue[r->tail++ % QUEUE] = *c;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static void relay_take(struct relay* r, struct crate* c) {
  pthread_mutex_lock(&r->lock);
  while (r->tail == r->head) pthread_cond_wait(&r->changed, &r->lock);
  *c = r->queue[r->head++ % QUEUE];
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static void* produce(void* arg) {
  struct relay* r = arg;
  struct rng rng = rng_new(r->number);
  struct crate c = {0};
  for (size_t i = 0; i < r->blocks; i++) {
    uint64_t* block = bench_alloc(rng_between(&rng, SMALLEST, LARGEST));
    *block = i;
    c.blocks[c.count++] = block;
    if (c.count == CRATE) {
      relay_put(r, &c);
      c.count = 0;
    }
  }
  relay_put(r, &c); /* less than full, perhaps empty: the sign of the end */
  return NULL;
}

static void* consume(void* arg) {
  struct relay* r = arg;
  struct crate c;
  do {
    relay_take(r, &c);
    for (size_t i = 0; i < c.count; i++) {
      r->sum = r->sum * 31 + *c.blocks[i];
      free(c.blocks[i]);
    }
  } while (c.count == CRATE);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t pairs = bench_arg(argc, argv, 1, 1);
  size_t blocks = bench_arg(argc, argv, 2, 1000000);
  struct relay* relays = calloc(pairs, sizeof *relays);
  pthread_t* threads = bench_alloc(2 * pairs * sizeof *threads);
  if (relays == NULL) bench_die("out of memory");
  for (size_t i = 0; i < pairs; i++) {
    relays[i].blocks = blocks;
    relays[i].number = i;
    pthread_mutex_init(&relays[i].lock, NULL);
    pthread_cond_init(&relays[i].changed, NULL);
    if (pthread_create(&threads[2 * i], NULL, produce, &relays[i]) != 0 ||
        pthread_create(&threads[2 * i + 1], NULL, consume, &relays[i]) != 0)
      bench_die("no thread");
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < pairs; i++) {
    pthread_join(threads[2 * i], NULL);
    pthread_join(threads[2 * i + 1], NULL);
    sum += relays[i].sum;
  }
  free(threads);
  free(relays);
  bench_finish("relay", sum);
  return 0;
}
