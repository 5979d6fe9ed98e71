/* lines.c - do two threads get blocks in one cache line?
 *
 * Usage:  lines given|own THREADS OBJECTS WRITES BYTES     (OBJECTS per thread)
 * Each thread writes WRITES times to the BYTES bytes of a block, in the order of a table of random
 * numbers that all threads read, frees the block and allocates the next one. With "own" all its
 * blocks are of its own: lines are shared if the allocator serves threads in turn from one place.
 * With "given" its first block is of the main thread, which allocated those of all threads one
 * after the other: an allocator that reuses it in the thread that freed it goes on sharing.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { ORDER = 1 << 21 };

struct worker {
  pthread_t thread;
  pthread_barrier_t* start;
  const unsigned char* order;
  unsigned char* first; /* NULL: own */
  size_t objects;
  size_t writes;
  size_t bytes;
  uint64_t sum;
};

static void* work(void* arg) {
  struct worker* w = arg;
  uint64_t sum = 0;
  size_t mask = w->bytes - 1;
  pthread_barrier_wait(w->start);
  volatile unsigned char* block = w->first;
  for (size_t i = 0; i < w->objects; i++) {
    if (block == NULL) block = bench_alloc(w->bytes);
    for (size_t k = 0; k < w->bytes; k++) block[k] = (unsigned char)k;
    for (size_t k = 0; k < w->writes; k++) {
      volatile unsigned char* at = &block[w->order[(i + k) % ORDER] & mask];
      *at = (unsigned char)(*at + 1);
    }
    sum = sum * 31 + block[0] + block[w->bytes - 1];
    free((void*)block);
    block = NULL;
  }
  w->sum = sum;
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  if (argc < 2) bench_die("'given' or 'own'?");
  int given = strcmp(argv[1], "given") == 0;
  size_t threads = bench_arg(argc, argv, 2, 1);
  size_t objects = bench_arg(argc, argv, 3, 1000);
  size_t writes = bench_arg(argc, argv, 4, 1000);
  size_t bytes = bench_arg(argc, argv, 5, 8);
  struct rng rng = rng_new(0);
  unsigned char* order = bench_alloc(ORDER);
  for (size_t i = 0; i < ORDER; i++) order[i] = (unsigned char)(rng_next(&rng) >> 24);
  if ((bytes & (bytes - 1)) != 0) bench_die("the number of bytes is no power of two");
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  for (size_t i = 0; i < threads; i++)
    workers[i] = (struct worker){
        .start = &start, .order = order, .objects = objects, .writes = writes, .bytes = bytes};
  for (size_t i = 0; given && i < threads; i++) workers[i].first = bench_alloc(bytes);
  for (size_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    sum += workers[i].sum;
  }
  free(workers);
  free(order);
  bench_finish("lines", sum);
  return 0;
}
