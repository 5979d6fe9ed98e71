/* visits.c - a server whose threads hand their open requests on to a successor.
 *
 * Usage:  visits THREADS GENERATIONS LIVE REQUESTS     (REQUESTS per generation)
 * Each request of 10 to 1000 bytes is written, kept for a while, read again and replaced by
 * another. After REQUESTS of them a thread starts the next one and ends: most blocks are freed by a
 * thread that did not allocate them. Unlike server.c it reads and writes what it allocates.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST = 10, LARGEST = 1000, HEADER = 8, READ_MOST = 256 };

struct request {
  unsigned char* bytes;
  size_t count;
};

struct desk {
  pthread_mutex_t lock;
  pthread_cond_t closed;
  int done;
  struct rng rng;
  size_t generations_left;
  size_t live;
  size_t requests;
  struct request* open;
  uint64_t sum;
};

static void request_open(struct request* r, struct rng* rng) {
  r->count = rng_between(rng, SMALLEST, LARGEST);
  r->bytes = bench_alloc(r->count);
  memset(r->bytes, (int)(rng_next(rng) & 0xff), r->count);
  uint64_t stamp = rng_next(rng);
  memcpy(r->bytes, &stamp, HEADER);
}

/* The start of the request, and one byte of the rest. */
static uint64_t request_close(struct request* r) {
  uint64_t hash = r->bytes[r->count - 1];
  size_t most = r->count < READ_MOST ? r->count : READ_MOST;
  for (size_t i = 0; i + HEADER <= most; i += HEADER) {
    uint64_t part;
    memcpy(&part, r->bytes + i, HEADER);
    hash = (hash ^ part) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  free(r->bytes);
  return hash;
}

static void* generation(void* arg) {
  struct desk* d = arg;
  for (size_t i = 0; i < d->requests; i++) {
    struct request* r = &d->open[rng_between(&d->rng, 0, d->live - 1)];
    d->sum = d->sum * 31 + request_close(r);
    request_open(r, &d->rng);
  }
  if (--d->generations_left > 0) {
    pthread_t next;
    if (pthread_create(&next, NULL, generation, d) != 0) bench_die("no thread");
    pthread_detach(next);
    return NULL;
  }
  pthread_mutex_lock(&d->lock);
  d->done = 1;
  pthread_cond_signal(&d->closed);
  pthread_mutex_unlock(&d->lock);
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  size_t threads = bench_arg(argc, argv, 1, 2);
  size_t generations = bench_arg(argc, argv, 2, 10);
  size_t live = bench_arg(argc, argv, 3, 1000);
  size_t requests = bench_arg(argc, argv, 4, 10000);
  struct desk* desks = bench_zeroed(threads, sizeof *desks);
  for (size_t i = 0; i < threads; i++) {
    struct desk* d = &desks[i];
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->closed, NULL);
    d->rng = rng_new(i);
    d->generations_left = generations;
    d->live = live;
    d->requests = requests;
    d->open = bench_alloc(live * sizeof *d->open);
    for (size_t k = 0; k < live; k++) request_open(&d->open[k], &d->rng);
  }
  for (size_t i = 0; i < threads; i++) {
    pthread_t first;
    if (pthread_create(&first, NULL, generation, &desks[i]) != 0) bench_die("no thread");
    pthread_detach(first);
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) {
    struct desk* d = &desks[i];
    pthread_mutex_lock(&d->lock);
    while (!d->done) pthread_cond_wait(&d->closed, &d->lock);
    pthread_mutex_unlock(&d->lock);
    sum += d->sum;
    for (size_t k = 0; k < live; k++) sum += request_close(&d->open[k]);
    free(d->open);
  }
  free(desks);
  bench_finish("visits", sum);
  return 0;
}
