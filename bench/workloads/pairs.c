/* pairs.c - the program whose instructions are counted: malloc and free, and little else.
 *
 * Usage:  pairs LIVE PAIRS [SMALLEST LARGEST]
 * Each pair frees a random one of LIVE blocks and allocates another of SMALLEST to LARGEST bytes,
 * 16 to 400 unless given. Two runs that differ only in PAIRS differ only in the pairs: start and
 * end cancel out.
 */
#define _GNU_SOURCE
#include "bench.h"

int main(int argc, char** argv) {
  bench_start();
  size_t live = bench_arg(argc, argv, 1, 64);
  size_t pairs = bench_arg(argc, argv, 2, 1000000);
  size_t smallest = bench_arg(argc, argv, 3, 16);
  size_t largest = bench_arg(argc, argv, 4, 400);
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  unsigned char** blocks = bench_alloc(live * sizeof *blocks);
  for (size_t i = 0; i < live; i++) {
    blocks[i] = bench_alloc(rng_between(&rng, smallest, largest));
    blocks[i][0] = (unsigned char)i;
  }
  for (size_t i = 0; i < pairs; i++) {
    unsigned char** at = &blocks[rng_between(&rng, 0, live - 1)];
    sum = sum * 31 + **at;
    free(*at);
    *at = bench_alloc(rng_between(&rng, smallest, largest));
    **at = (unsigned char)i;
  }
  for (size_t i = 0; i < live; i++) free(blocks[i]);
  free(blocks);
  bench_finish("pairs", sum);
  return 0;
}
