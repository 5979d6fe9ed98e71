/* zeroed.c - zeroed blocks that are used in part, and aligned ones.
 *
 * Usage:  zeroed LIVE REPLACEMENTS
 * Three of four requests are calloc of 64 bytes to 32 KiB, of which one half is read and written,
 * as programs do with tables that are never full; the fourth is aligned to 32, 64 or 4096 bytes.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { SMALLEST_LOG2 = 6, LARGEST_LOG2 = 15, LINE = 64, PAGE = 4096 };

struct slot {
  unsigned char* block;
  size_t bytes;
  uint64_t sum;
};

static size_t random_bytes(struct rng* rng) {
  size_t low = (size_t)1 << rng_between(rng, SMALLEST_LOG2, LARGEST_LOG2 - 1);
  return rng_between(rng, low, 2 * low);
}

static void slot_zeroed(struct slot* s, struct rng* rng) {
  s->bytes = random_bytes(rng);
  size_t width = (size_t)8 << (rng_next(rng) >> 30);
  s->block = bench_zeroed(s->bytes / width, width);
  s->sum = 0;
  size_t start = rng_between(rng, 0, s->bytes / 2);
  size_t end = start + s->bytes / 2;
  if (end > s->bytes / width * width) end = s->bytes / width * width;
  for (size_t i = start; i < end; i += sizeof(uint64_t)) {
    if (s->block[i] != 0) bench_die("a zeroed block is not zero");
    s->block[i] = (unsigned char)i;
    s->sum += i & 0xff;
  }
}

static void slot_aligned(struct slot* s, struct rng* rng) {
  static const size_t alignments[] = {32, 32, LINE, LINE, LINE, LINE, LINE, PAGE};
  size_t alignment = alignments[rng_next(rng) >> 29];
  s->bytes = alignment == PAGE ? PAGE * rng_between(rng, 1, 4) : rng_between(rng, 32, 2048);
  void* p = NULL;
  if (posix_memalign(&p, alignment, s->bytes) != 0) bench_die("out of memory");
  if ((uintptr_t)p % alignment != 0) bench_die("a block is not aligned");
  s->block = p;
  s->sum = 0;
  memset(s->block, 0, s->bytes < LINE * 4 ? s->bytes : LINE * 4);
}

static uint64_t slot_free(struct slot* s) {
  uint64_t sum = s->sum + s->block[0];
  free(s->block);
  return sum;
}

int main(int argc, char** argv) {
  bench_start();
  size_t live = bench_arg(argc, argv, 1, 100);
  size_t replacements = bench_arg(argc, argv, 2, 10000);
  struct rng rng = rng_new(0);
  struct slot* slots = bench_zeroed(live, sizeof *slots);
  uint64_t sum = 0;
  for (size_t i = 0; i < replacements; i++) {
    struct slot* s = &slots[rng_between(&rng, 0, live - 1)];
    if (s->block != NULL) sum = sum * 31 + slot_free(s);
    if (i % 4 == 0)
      slot_aligned(s, &rng);
    else
      slot_zeroed(s, &rng);
  }
  for (size_t i = 0; i < live; i++)
    if (slots[i].block != NULL) sum += slot_free(&slots[i]);
  free(slots);
  bench_finish("zeroed", sum);
  return 0;
}
