/* lines.c - do two threads get blocks in one cache line?
 *
 * Usage:  lines given|own THREADS OBJECTS WRITES BYTES     (OBJECTS per thread)
 * Each thread writes WRITES times to each of the BYTES bytes of a block, frees it and allocates
 * the next one. With "own" all its blocks are of its own: lines are shared if the allocator serves
 * threads in turn from one place. With "given" its first block is of the main thread, which
 * allocated those of all threads one after the other: whoever reuses it in the thread that freed
 * it goes on sharing.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

struct worker {
  pthread_t thread;
  pthread_barrier_t* start;
  unsigned char* first; /* NULL: own */
  size_t objects;
  size_t writes;
  size_t bytes;
  uint64_t sum;
};

static void* work(void* arg) {
  struct worker* w = arg;
  uint64_t sum = 0;
  pthread_barrier_wait(w->start);
  volatile unsigned char* block = w->first;
  for (size_t i = 0; i < w->objects; i++) {
    if (block == NULL) block = bench_alloc(w->bytes);
    for (size_t k = 0; k < w->bytes; k++) block[k] = (unsigned char)k;
    for (size_t round = 0; round < w->writes; round++)
      for (size_t k = 0; k < w->bytes; k++) block[k] = (unsigned char)(block[k] + 1);
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
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, (unsigned)threads);
  struct worker* workers = bench_zeroed(threads, sizeof *workers);
  for (size_t i = 0; i < threads; i++)
    workers[i] =
        (struct worker){.start = &start, .objects = objects, .writes = writes, .bytes = bytes};
  for (size_t i = 0; given && i < threads; i++) workers[i].first = bench_alloc(bytes);
  for (size_t i = 0; i < threads; i++)
    if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) bench_die("no thread");
  uint64_t sum = 0;
  for (size_t i = 0; i < threads; i++) {
    pthread_join(workers[i].thread, NULL);
    sum += workers[i].sum;
  }
  free(workers);
  bench_finish("lines", sum);
  return 0;
}
