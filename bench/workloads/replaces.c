/* replaces.c - the programs whose instructions are counted by kind of replace.
 *
 * Usage:  replaces KIND LIVE COUNT SMALLEST LARGEST
 * KIND is what happens COUNT times, to blocks of SMALLEST to LARGEST bytes:
 *   malloc   a random one of LIVE blocks is freed and another one allocated
 *   calloc   the same, zeroed
 *   realloc  a random one of LIVE blocks changes its size
 *   grow     one of LIVE blocks in turn grows by SMALLEST bytes, up to LARGEST, then starts anew
 *   batch    a block is made and freed: LIVE are made, then all are freed
 * Two runs that differ only in COUNT differ only in the replaces: start and end cancel out.
 */
#define _GNU_SOURCE
#include "bench.h"

static size_t live, count, smallest, largest;
static unsigned char** blocks;
static size_t* sizes;
static struct rng rng;
static uint64_t sum;

static size_t random_size(void) { return rng_between(&rng, smallest, largest); }
static unsigned char** random_block(void) { return &blocks[rng_between(&rng, 0, live - 1)]; }

static void by_malloc(void) {
  for (size_t i = 0; i < count; i++) {
    unsigned char** at = random_block();
    sum += **at;
    free(*at);
    *at = bench_alloc(random_size());
    **at = (unsigned char)i;
  }
}

static void by_calloc(void) {
  for (size_t i = 0; i < count; i++) {
    unsigned char** at = random_block();
    sum += **at;
    free(*at);
    *at = bench_zeroed(1, random_size());
    **at = (unsigned char)i;
  }
}

static void by_realloc(void) {
  for (size_t i = 0; i < count; i++) {
    unsigned char** at = random_block();
    *at = bench_resize(*at, random_size());
    sum += **at;
    **at = (unsigned char)i;
  }
}

static void by_growth(void) {
  for (size_t i = 0, b = 0; i < count; i++, b = b + 1 < live ? b + 1 : 0) {
    sizes[b] += smallest;
    if (sizes[b] > largest) {
      free(blocks[b]);
      blocks[b] = bench_alloc(sizes[b] = smallest);
      *blocks[b] = (unsigned char)i;
    } else {
      blocks[b] = bench_resize(blocks[b], sizes[b]);
    }
    sum += *blocks[b];
  }
}

static void by_batch(void) {
  for (size_t i = 0; i < count; i += live) {
    for (size_t b = 0; b < live; b++) {
      blocks[b] = bench_alloc(random_size());
      *blocks[b] = (unsigned char)b;
    }
    for (size_t b = 0; b < live; b++) {
      sum += *blocks[b];
      free(blocks[b]);
    }
  }
}

static const struct {
  const char* name;
  void (*run)(void);
} kinds[] = {{"malloc", by_malloc},
             {"calloc", by_calloc},
             {"realloc", by_realloc},
             {"grow", by_growth},
             {"batch", by_batch}};

int main(int argc, char** argv) {
  bench_start();
  live = bench_arg(argc, argv, 2, 64);
  count = bench_arg(argc, argv, 3, 1000000);
  smallest = bench_arg(argc, argv, 4, 16);
  largest = bench_arg(argc, argv, 5, 400);
  rng = rng_new(0);
  blocks = bench_alloc(live * sizeof *blocks);
  sizes = bench_alloc(live * sizeof *sizes);
  void (*run)(void) = NULL;
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
    if (argc > 1 && strcmp(argv[1], kinds[k].name) == 0) run = kinds[k].run;
  if (run == NULL) bench_die("no such kind of replace");
  for (size_t i = 0; i < live && run != by_batch; i++) {
    sizes[i] = run == by_growth ? smallest : random_size();
    blocks[i] = bench_alloc(sizes[i]);
    blocks[i][0] = (unsigned char)i;
  }
  run();
  for (size_t i = 0; i < live && run != by_batch; i++) free(blocks[i]);
  free(sizes);
  free(blocks);
  bench_finish("replaces", sum);
  return 0;
}
