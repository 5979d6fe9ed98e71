/* buffers.c - large buffers replaced in a loop, each one filled.
 *
 * Usage:  buffers LIVE REPLACEMENTS
 * 5 to 25 MiB each: too large for most caches of freed memory, so that this measures how often
 * memory goes back to the system and returns.
 */
#define _GNU_SOURCE
#include "bench.h"

static const size_t smallest = (size_t)5 << 20;
static const size_t largest = (size_t)25 << 20;

int main(int argc, char** argv) {
  bench_start();
  size_t live = bench_arg(argc, argv, 1, 8);
  size_t replacements = bench_arg(argc, argv, 2, 100);
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  unsigned char** buffers = calloc(live, sizeof *buffers);
  if (buffers == NULL) bench_die("out of memory");
  for (size_t i = 0; i < replacements; i++) {
    unsigned char** at = &buffers[rng_between(&rng, 0, live - 1)];
    if (*at != NULL) sum = sum * 31 + **at;
    free(*at);
    size_t bytes = rng_between(&rng, smallest, largest);
    *at = bench_alloc(bytes);
    memset(*at, (int)(i & 0xff), bytes);
  }
  for (size_t i = 0; i < live; i++) free(buffers[i]);
  free(buffers);
  bench_finish("buffers", sum);
  return 0;
}
