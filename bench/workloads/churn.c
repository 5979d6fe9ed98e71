/* churn.c - one thread replaces random blocks of 16 to 400 bytes.
 *
 * Usage:  churn LIVE REPLACEMENTS
 * With 64 live blocks it measures the fast paths, with 4096 the order in which blocks are reused.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { SMALLEST = 16, LARGEST = 400 };

struct slot {
  unsigned char* block;
  size_t bytes;
};

static unsigned char* filled(size_t bytes, uint32_t mark) {
  unsigned char* p = bench_alloc(bytes);
  p[0] = (unsigned char)mark;
  p[bytes - 1] = (unsigned char)(mark >> 8);
  return p;
}

int main(int argc, char** argv) {
  bench_start();
  size_t live = bench_arg(argc, argv, 1, 64);
  size_t replacements = bench_arg(argc, argv, 2, 1000000);
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  struct slot* slots = bench_alloc(live * sizeof *slots);
  for (size_t i = 0; i < live; i++) {
    slots[i].bytes = rng_between(&rng, SMALLEST, LARGEST);
    slots[i].block = filled(slots[i].bytes, (uint32_t)i);
  }
  for (size_t i = 0; i < replacements; i++) {
    struct slot* s = &slots[rng_between(&rng, 0, live - 1)];
    sum = sum * 31 + s->block[0] + s->block[s->bytes - 1];
    free(s->block);
    s->bytes = rng_between(&rng, SMALLEST, LARGEST);
    s->block = filled(s->bytes, (uint32_t)i);
  }
  for (size_t i = 0; i < live; i++) free(slots[i].block);
  free(slots);
  bench_finish("churn", sum);
  return 0;
}
