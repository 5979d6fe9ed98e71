/* server.c - threads die and leave their blocks to a successor.
 *
 * Usage:  server CHAINS GENERATIONS LIVE REPLACEMENTS     (REPLACEMENTS per generation)
 * Each chain has one thread at a time. Before it ends it starts the next one, which frees and
 * replaces what its predecessor allocated: pages of dead threads must be found again.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST = 10, LARGEST = 500 };

struct chain {
  pthread_mutex_t lock;
  pthread_cond_t ended;
  int done;
  struct rng rng;
  size_t generations_left;
  size_t live;
  size_t replacements;
  unsigned char** blocks;
  uint64_t sum;
};

static void* generation(void* arg);

static void chain_next(struct chain* c) {
  pthread_attr_t attr;
  pthread_t thread;
  pthread_attr_init(&attr);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  if (pthread_create(&thread, &attr, generation, c) != 0) bench_die("no thread");
  pthread_attr_destroy(&attr);
}

static void* generation(void* arg) {
  struct chain* c = arg;
  for (size_t i = 0; i < c->replacements; i++) {
    unsigned char** at = &c->blocks[rng_between(&c->rng, 0, c->live - 1)];
    c->sum = c->sum * 31 + **at;
    free(*at);
    *at = bench_alloc(rng_between(&c->rng, SMALLEST, LARGEST));
    **at = (unsigned char)i;
  }
  if (--c->generations_left > 0) {
    chain_next(c);
  } else {
    pthread_mutex_lock(&c->lock);
    c->done = 1;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
  }
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t chains = bench_arg(argc, argv, 1, 4);
  size_t generations = bench_arg(argc, argv, 2, 10);
  size_t live = bench_arg(argc, argv, 3, 1000);
  size_t replacements = bench_arg(argc, argv, 4, 10000);
  struct chain* all = calloc(chains, sizeof *all);
  if (all == NULL) bench_die("out of memory");
  for (size_t i = 0; i < chains; i++) {
    struct chain* c = &all[i];
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->ended, NULL);
    c->rng = rng_new(i);
    c->generations_left = generations;
    c->live = live;
    c->replacements = replacements;
    c->blocks = bench_alloc(live * sizeof *c->blocks);
    for (size_t k = 0; k < live; k++) {
      c->blocks[k] = bench_alloc(rng_between(&c->rng, SMALLEST, LARGEST));
      c->blocks[k][0] = (unsigned char)k;
    }
  }
  for (size_t i = 0; i < chains; i++) chain_next(&all[i]);
  uint64_t sum = 0;
  for (size_t i = 0; i < chains; i++) {
    struct chain* c = &all[i];
    pthread_mutex_lock(&c->lock);
    while (!c->done) pthread_cond_wait(&c->ended, &c->lock);
    pthread_mutex_unlock(&c->lock);
    sum += c->sum;
    for (size_t k = 0; k < live; k++) free(c->blocks[k]);
    free(c->blocks);
  }
  free(all);
  bench_finish("server", sum);
  return 0;
}
