/* typical.c - sizes and lifetimes as real programs have them.
 *
 * Usage:  typical ALLOCATIONS
 * The table was measured with a small preloaded library that noted for each block its size and how
 * many other blocks were allocated until it was freed, in three programs: the C compiler proper of
 * gcc 12 at -O2 on one of these files (134,000 blocks), CPython 3.11 with PYTHONMALLOC=malloc on
 * script.py (832,000), and "git log --stat" over a hundred commits (29,000). Each program weighs a
 * third; realloc counts as a free and an allocation. Blocks that were alive at the end are among
 * the longest lifetimes here.
 * One in 200 requests is aligned to 16 to 4096 bytes, which was not measured.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { LIVES = 5, CARDS_LOG2 = 16, TICKS = 1 << 18, ALIGN_ONE_IN = 200, NONE = 0 };

/* Lifetimes below 4, 64, 1024, 16384 and TICKS allocations. */
static const unsigned lives_log2[LIVES + 1] = {0, 2, 6, 10, 14, 18};

/* Of 100,000 blocks: those above the size of the row before, up to this one. */
static const struct {
  size_t largest;
  unsigned blocks[LIVES];
  unsigned zeroed_percent;
} rows[] = {
    {8, {937, 2080, 164, 27, 113}, 15},     {16, {3146, 2196, 709, 157, 755}, 21},
    {24, {3210, 1458, 722, 706, 88}, 16},   {32, {5944, 2736, 85, 35, 2694}, 5},
    {48, {5742, 3877, 743, 102, 293}, 5},   {64, {5588, 1090, 891, 2362, 9955}, 9},
    {96, {2150, 1753, 430, 292, 972}, 8},   {128, {4600, 1574, 383, 896, 1066}, 65},
    {192, {1914, 1264, 338, 314, 167}, 15}, {256, {1583, 1451, 367, 27, 151}, 41},
    {512, {756, 2102, 570, 62, 118}, 34},   {1024, {547, 2727, 151, 31, 94}, 17},
    {2048, {247, 2783, 107, 19, 67}, 15},   {4096, {298, 3126, 118, 10, 93}, 13},
    {8192, {2423, 1560, 79, 4, 59}, 5},     {16384, {44, 714, 13, 5, 78}, 7},
    {65536, {376, 223, 16, 14, 43}, 3},     {1048576, {0, 17, 1, 3, 7}, 5},
};
enum { ROWS = sizeof rows / sizeof rows[0], OF_BLOCKS = 100000 };

struct life {
  unsigned char* block;
  size_t bytes;
  uint32_t next; /* that ends in the same tick; or the next unused one */
};

static struct {
  uint32_t ends[TICKS]; /* number of the first life that ends in this tick */
  struct life* lives;   /* from 1: 0 is NONE */
  uint32_t count;
  uint32_t capacity;
  uint32_t unused;
} wheel;

/* A row and a lifetime on each card, as often as the table has it. */
static unsigned char cards[1 << CARDS_LOG2];

static void cards_fill(void) {
  size_t blocks = 0;
  size_t card = 0;
  for (unsigned cell = 0; cell < ROWS * LIVES; cell++) {
    blocks += rows[cell / LIVES].blocks[cell % LIVES];
    size_t end = (blocks << CARDS_LOG2) / OF_BLOCKS;
    while (card < end && card < sizeof cards) cards[card++] = (unsigned char)cell;
  }
  while (card < sizeof cards) cards[card++] = LIVES * 3; /* what rounding left over */
}

static uint32_t life_new(void) {
  uint32_t number = wheel.unused;
  if (number != NONE) {
    wheel.unused = wheel.lives[number].next;
    return number;
  }
  if (wheel.count + 1 >= wheel.capacity) {
    wheel.capacity = wheel.capacity == 0 ? 1024 : 2 * wheel.capacity;
    wheel.lives = bench_resize(wheel.lives, wheel.capacity * sizeof *wheel.lives);
  }
  return ++wheel.count;
}

static unsigned char* block_new(struct rng* rng, size_t bytes, unsigned zeroed_percent) {
  if (rng_next(rng) % ALIGN_ONE_IN == 0) {
    void* p = NULL;
    if (posix_memalign(&p, (size_t)16 << rng_between(rng, 0, 8), bytes) != 0)
      bench_die("out of memory");
    return memset(p, (int)(bytes & 0xff), bytes);
  }
  if (rng_next(rng) % 100 >= zeroed_percent)
    return memset(bench_alloc(bytes), (int)(bytes & 0xff), bytes);
  unsigned char* p = bench_zeroed(1, bytes);
  memset(p, (int)(bytes & 0xff), bytes / 2);
  return p;
}

static void allocate(struct rng* rng, size_t now) {
  unsigned cell = cards[rng_next(rng) >> (32 - CARDS_LOG2)];
  unsigned row = cell / LIVES;
  size_t above = row == 0 ? 0 : rows[row - 1].largest;
  size_t low = lives_log2[cell % LIVES];
  size_t doublings = lives_log2[cell % LIVES + 1] - low;
  size_t shortest = (size_t)1 << (low + rng_between(rng, 0, doublings - 1));
  size_t end = now + rng_between(rng, shortest, 2 * shortest - 1);
  uint32_t number = life_new();
  struct life* l = &wheel.lives[number];
  l->bytes = rng_between(rng, above + 1, rows[row].largest);
  l->block = block_new(rng, l->bytes, rows[row].zeroed_percent);
  l->next = wheel.ends[end % TICKS];
  wheel.ends[end % TICKS] = number;
}

static uint64_t tick(size_t now) {
  uint64_t sum = 0;
  uint32_t number = wheel.ends[now % TICKS];
  wheel.ends[now % TICKS] = NONE;
  while (number != NONE) {
    struct life* l = &wheel.lives[number];
    uint32_t next = l->next;
    sum = sum * 31 + l->block[l->bytes / 2] + l->block[l->bytes - 1];
    free(l->block);
    l->next = wheel.unused;
    wheel.unused = number;
    number = next;
  }
  return sum;
}

int main(int argc, char** argv) {
  bench_start();
  size_t allocations = bench_arg(argc, argv, 1, 100000);
  struct rng rng = rng_new(0);
  uint64_t sum = 0;
  cards_fill();
  for (size_t now = 0; now < allocations; now++) {
    sum = sum * 31 + tick(now);
    allocate(&rng, now);
  }
  for (size_t now = allocations; now < allocations + TICKS; now++) sum = sum * 31 + tick(now);
  free(wheel.lives);
  bench_finish("typical", sum);
  return 0;
}
