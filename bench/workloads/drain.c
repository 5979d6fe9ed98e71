/* drain.c - one thread allocates, then stands idle while the others free all of it.
 *
 * Usage:  drain CONSUMERS PHASES BLOCKS     (BLOCKS per phase)
 * Each phase: the main thread builds BLOCKS records, the consumers read and free every
 * CONSUMERS-th of them, and only then does the next phase begin. A part of the records, with
 * sizes of its own in each phase, stays for one phase more.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <pthread.h>

enum { SMALLEST = 24, LARGEST = 600, STAY_ONE_IN = 10, STEP = 64 };

struct record {
  size_t bytes;
  uint64_t words[];
};

static struct {
  pthread_barrier_t built;
  pthread_barrier_t drained;
  struct record** records;
  size_t count;
  size_t consumers;
  size_t phases;
} line;

struct consumer {
  pthread_t thread;
  size_t number;
  uint64_t sum;
};

static struct record* record_new(struct rng* rng, size_t phase) {
  size_t bytes = rng_between(rng, SMALLEST, LARGEST - STEP * (phase % 4));
  struct record* r = bench_alloc(bytes);
  r->bytes = bytes;
  for (size_t i = 0; i < (bytes - sizeof *r) / sizeof r->words[0]; i++) r->words[i] = bytes ^ i;
  return r;
}

static uint64_t record_free(struct record* r) {
  uint64_t sum = 0;
  for (size_t i = 0; i < (r->bytes - sizeof *r) / sizeof r->words[0]; i++) sum += r->words[i];
  free(r);
  return sum;
}

static void* consume(void* arg) {
  struct consumer* c = arg;
  for (size_t p = 0; p < line.phases; p++) {
    pthread_barrier_wait(&line.built);
    for (size_t i = c->number; i < line.count; i += line.consumers)
      c->sum = c->sum * 31 + record_free(line.records[i]);
    pthread_barrier_wait(&line.drained);
  }
  return NULL;
}

int main(int argc, char** argv) {
  bench_start();
  line.consumers = bench_arg(argc, argv, 1, 2);
  line.phases = bench_arg(argc, argv, 2, 4);
  size_t blocks = bench_arg(argc, argv, 3, 10000);
  struct rng rng = rng_new(0);
  pthread_barrier_init(&line.built, NULL, (unsigned)line.consumers + 1);
  pthread_barrier_init(&line.drained, NULL, (unsigned)line.consumers + 1);
  line.records = bench_alloc(blocks * sizeof *line.records);
  struct record** staying = bench_zeroed(blocks / STAY_ONE_IN + 1, sizeof *staying);
  struct consumer* consumers = bench_zeroed(line.consumers, sizeof *consumers);
  for (size_t i = 0; i < line.consumers; i++) {
    consumers[i].number = i;
    if (pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]) != 0)
      bench_die("no thread");
  }
  for (size_t p = 0; p < line.phases; p++) {
    line.count = 0;
    for (size_t i = 0; i < blocks; i++) {
      struct record* r = record_new(&rng, p);
      if (i % STAY_ONE_IN == 0) {
        struct record* old = staying[i / STAY_ONE_IN];
        staying[i / STAY_ONE_IN] = r;
        r = old;
      }
      if (r != NULL) line.records[line.count++] = r;
    }
    pthread_barrier_wait(&line.built);
    pthread_barrier_wait(&line.drained);
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < line.consumers; i++) {
    pthread_join(consumers[i].thread, NULL);
    sum += consumers[i].sum;
  }
  for (size_t i = 0; i <= blocks / STAY_ONE_IN; i++)
    if (staying[i] != NULL) sum += record_free(staying[i]);
  free(staying);
  free(consumers);
  free(line.records);
  bench_finish("drain", sum);
  return 0;
}
