/* bench.h - what every workload shares: arguments, random numbers, the closing line.
 *
 * Always:  same arguments, same answer, whatever allocator serves and however threads interleave.
 * Threads: the generator is a value, each thread has its own.
 * Uses:    libc.                     Used by: every workload.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first include"
#endif

#include <dlfcn.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BENCH_SEED = 20240521 };

struct rng {
  uint64_t state;
};

/* One multiplication apart, so that neighbouring streams do not start alike. */
static inline struct rng rng_new(uint64_t stream) {
  struct rng r = {((uint64_t)BENCH_SEED + stream) * 0x9e3779b97f4a7c15u | 1u};
  return r;
}

/* Marsaglia's xorshift with a multiplication at the end; the high bits are the good ones. */
static inline uint32_t rng_next(struct rng* r) {
  uint64_t x = r->state;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  r->state = x;
  return (uint32_t)((x * 0x2545f4914f6cdd1du) >> 32);
}

/* Uniform enough in [low, high]: a multiplication instead of a division, as the loop is hot. */
static inline size_t rng_between(struct rng* r, size_t low, size_t high) {
  return low + (size_t)(((uint64_t)rng_next(r) * (high - low + 1)) >> 32);
}

static inline void bench_die(const char* what) {
  fprintf(stderr, "bench: %s\n", what);
  exit(2);
}

static inline size_t bench_arg(int argc, char** argv, int at, size_t fallback) {
  if (at >= argc) return fallback;
  char* end = NULL;
  unsigned long value = strtoul(argv[at], &end, 10);
  if (end == argv[at] || *end != 0 || value == 0) bench_die("an argument is not a positive number");
  return value;
}

static inline void* bench_alloc(size_t bytes) {
  void* p = malloc(bytes);
  if (p == NULL) bench_die("out of memory");
  return p;
}

static inline void* bench_zeroed(size_t count, size_t bytes) {
  void* p = calloc(count, bytes);
  if (p == NULL) bench_die("out of memory");
  return p;
}

static inline void* bench_resize(void* old, size_t bytes) {
  void* p = realloc(old, bytes);
  if (p == NULL) bench_die("out of memory");
  return p;
}

/* The runner says which library it preloaded; this checks that no other one serves. */
static inline void bench_start(void) {
  const char* expected = getenv("BENCH_LIBRARY");
  if (expected == NULL) return;
  Dl_info info;
  void* entry = dlsym(RTLD_DEFAULT, "malloc");
  if (entry == NULL || dladdr(entry, &info) == 0) bench_die("malloc has no address");
  if (strcmp(info.dli_fname, expected) != 0)
    bench_die("malloc is not of the library that was asked for");
}

static inline void bench_finish(const char* name, uint64_t checksum) {
  printf("%s seed=%d checksum=%016llx\n", name, BENCH_SEED, (unsigned long long)checksum);
}

#endif
