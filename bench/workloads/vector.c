/* vector.c - one vector grown by doubling, every new page written.
 *
 * Usage:  vector MEBIBYTES
 * A few small blocks are allocated between the steps, as programs do.
 */
#define _GNU_SOURCE
#include "bench.h"

enum { FIRST = 4096, STRIDE = 4096, MEBIBYTE = 1 << 20, SMALL = 64, MOST_STEPS = 64 };

int main(int argc, char** argv) {
  bench_start();
  size_t last = bench_arg(argc, argv, 1, 64) * MEBIBYTE;
  uint64_t sum = 0;
  unsigned char* small[MOST_STEPS];
  size_t smalls = 0;
  size_t had = 0;
  unsigned char* vector = NULL;
  for (size_t bytes = FIRST; bytes <= last; bytes *= 2) {
    vector = realloc(vector, bytes);
    if (vector == NULL) bench_die("out of memory");
    for (size_t at = had; at < bytes; at += STRIDE) vector[at] = (unsigned char)(at >> 12);
    had = bytes;
    if (smalls < MOST_STEPS) {
      small[smalls] = bench_alloc(SMALL);
      small[smalls][0] = (unsigned char)smalls;
      smalls++;
    }
  }
  for (size_t at = 0; at < had; at += STRIDE) sum = sum * 31 + vector[at];
  for (size_t i = 0; i < smalls; i++) {
    sum += small[i][0];
    free(small[i]);
  }
  free(vector);
  bench_finish("vector", sum);
  return 0;
}
