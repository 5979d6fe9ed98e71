/* touch.c - the cost of memory without any allocator: one fresh mapping, every page written.
 *
 * Usage:  touch MEBIBYTES [huge]      (huge: with MADV_HUGEPAGE)
 * The reference for `vector`, which writes as many pages and asks an allocator for them.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/mman.h>

enum { STRIDE = 4096, MEBIBYTE = 1 << 20 };
static const size_t huge_page = (size_t)2 << 20;

int main(int argc, char** argv) {
  size_t bytes = bench_arg(argc, argv, 1, 64) * MEBIBYTE;
  int huge = argc > 2 && strcmp(argv[2], "huge") == 0;
  /* As much more as it takes to begin at a huge page: what is not touched costs nothing. */
  unsigned char* all = mmap(NULL, bytes + huge_page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) bench_die("no mapping");
  unsigned char* p = all + (huge_page - (uintptr_t)all % huge_page) % huge_page;
  if (huge && madvise(p, bytes, MADV_HUGEPAGE) != 0) bench_die("no huge pages");
  for (size_t at = 0; at < bytes; at += STRIDE) p[at] = (unsigned char)(at >> 12);
  uint64_t sum = 0;
  for (size_t at = 0; at < bytes; at += STRIDE) sum = sum * 31 + p[at];
  munmap(all, bytes + huge_page);
  bench_finish("touch", sum);
  return 0;
}
