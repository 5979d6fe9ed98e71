/* probe.h - what the tests measure and fill: resident memory, time, patterns, numbers.
 *
 * Like check.h it never allocates.
 */
#pragma once
#include "check.h"
#include <fcntl.h>
#include <time.h>
#if !defined(__wasm__)
#include <pthread.h>
#endif
#if !defined(_WIN32) && !defined(__wasm__)
#include <sys/mman.h>
#include <sys/resource.h>
#endif

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define OS_PAGE ((size_t)4096)
#define IS_64_BIT (SIZE_MAX > UINT32_MAX)
#if defined(__wasm__)
#define IS_WASM 1 /* whose OS pages have 64 KiB */
#else
#define IS_WASM 0
#endif
/* For a case that needs more addresses, or larger sizes, than 32 bits can hold. */
#define NEEDS_64_BITS(what)                                                                        \
  do {                                                                                             \
    if (!IS_64_BIT) {                                                                              \
      check_note("skipped: needs 64 bits: %s\n", what);                                            \
      return;                                                                                      \
    }                                                                                              \
  } while (0)
/* For a case about features that Windows lacks. */
#define NOT_ON_WINDOWS(what)                                                                       \
  do {                                                                                             \
    if (ON_WINDOWS) {                                                                              \
      check_note("skipped: not on Windows: %s\n", what);                                           \
      return;                                                                                      \
    }                                                                                              \
  } while (0)
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Hides from the compiler where a pointer or a size comes from. With the attributes of the header
 * the compiler could answer alignment questions without the call. */
CHECK_UNUSED static inline void* opaque(const void* p) {
  void* q = (void*)(uintptr_t)p;
  __asm__ volatile("" : "+r"(q) : : "memory");
  return q;
}
CHECK_UNUSED static inline size_t opaque_size(size_t n) {
  __asm__ volatile("" : "+r"(n));
  return n;
}
CHECK_UNUSED static bool is_aligned(const void* p, size_t alignment) {
  return (uintptr_t)opaque(p) % alignment == 0;
}
CHECK_UNUSED static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/* ---- memory of the process ----------------------------------------------------- */

/* Under a sanitizer resident memory is mostly shadow memory. The functions below then return 0, so
 * upper bounds hold. Programs with lower bounds are not part of such builds. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_THREAD_SANITIZER 1
#endif
#if __has_feature(address_sanitizer)
#define UNDER_ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define UNDER_THREAD_SANITIZER 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ADDRESS_SANITIZER 1
#endif
/* In an emulator the numbers are those of the emulator; other systems than Linux have no such
 * /proc. */
#if defined(UNDER_ADDRESS_SANITIZER) || defined(UNDER_THREAD_SANITIZER) ||                         \
    defined(MI_TEST_EMULATED) || !defined(__linux__)
#define RSS_IS_MEANINGFUL 0
#endif
#ifndef UNDER_ADDRESS_SANITIZER
#define UNDER_ADDRESS_SANITIZER 0
#endif
#ifndef UNDER_THREAD_SANITIZER
#define UNDER_THREAD_SANITIZER 0
#endif
#ifndef RSS_IS_MEANINGFUL
#define RSS_IS_MEANINGFUL 1
#endif

#if defined(_WIN32) || defined(__wasm__)
CHECK_UNUSED static size_t rss_bytes(void) { return 0; }
CHECK_UNUSED static size_t rss_peak_bytes(void) { return 0; }
CHECK_UNUSED static void rss_peak_reset(void) {}
#else
CHECK_UNUSED static size_t read_file(const char* path, char* text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  size_t used = 0;
  ssize_t got;
  while (used + 1 < size && (got = read(fd, text + used, size - 1 - used)) > 0) used += (size_t)got;
  text[used] = 0;
  close(fd);
  return used;
}

CHECK_UNUSED static size_t rss_bytes(void) {
  if (!RSS_IS_MEANINGFUL) return 0;
  char text[256];
  read_file("/proc/self/statm", text, sizeof text);
  char* second = strchr(text, ' ');
  REQUIRE(second != NULL);
  return strtoul(second, NULL, 10) * OS_PAGE;
}

/* The highest resident size so far, in bytes. */
CHECK_UNUSED static size_t rss_peak_bytes(void) {
  if (!RSS_IS_MEANINGFUL) return 0;
  char text[4096];
  read_file("/proc/self/status", text, sizeof text);
  char* line = strstr(text, "VmHWM:");
  REQUIRE(line != NULL);
  return strtoul(line + 6, NULL, 10) * KIB;
}

/* Restarts rss_peak_bytes. */
CHECK_UNUSED static void rss_peak_reset(void) {
  int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  REQUIRE(write(fd, "5", 1) == 1);
  close(fd);
}

/* How many OS pages of the mapped range are resident. */
CHECK_UNUSED static size_t resident_pages(const void* start, size_t size) {
  uintptr_t first = (uintptr_t)start / OS_PAGE * OS_PAGE;
  uintptr_t end = round_up((uintptr_t)start + size, OS_PAGE);
  size_t resident = 0;
  unsigned char map[1024];
  for (uintptr_t at = first; at < end; at += COUNT_OF(map) * OS_PAGE) {
    size_t pages = (end - at) / OS_PAGE;
    if (pages > COUNT_OF(map)) pages = COUNT_OF(map);
    REQUIRE(mincore((void*)at, pages * OS_PAGE, (unsigned char*)map) == 0);
    for (size_t i = 0; i < pages; i++) resident += map[i] & 1;
  }
  return resident;
}

#endif

/* ---- time and chance ------------------------------------------------------------ */

CHECK_UNUSED static double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

CHECK_UNUSED static void sleep_ms(unsigned ms) {
  struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
}

typedef struct rng_s {
  uint64_t state;
} rng_t;

CHECK_UNUSED static uint64_t rng_next(rng_t* r) {
  uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
CHECK_UNUSED static size_t rng_below(rng_t* r, size_t bound) {
  return (size_t)(rng_next(r) % bound);
}
/* Sizes like those of programs: all powers of two up to `max` are about equally likely. */
CHECK_UNUSED static size_t rng_size(rng_t* r, size_t max) {
  unsigned bits = 1;
  while (bits < 63 && ((size_t)1 << bits) < max) bits++;
  size_t size = 1 + rng_below(r, (size_t)1 << (1 + rng_below(r, bits)));
  return size > max ? max : size;
}

/* ---- contents --------------------------------------------------------------------- */

/* Each byte depends on its position and on `seed`, so a test sees moved or swapped bytes. */
CHECK_UNUSED static unsigned char pattern_at(size_t i, unsigned seed) {
  return (unsigned char)((i * 31u + (i >> 8) * 17u + (i >> 16) * 7u + seed * 101u + 1u) & 0xFF);
}
/* The same for 256 bytes at a time, because sanitizers watch each access of a loop. Such a piece is
 * a part of a table, since 31 * 223 is 1 modulo 256. */
#define PATTERN_4(i)                                                                               \
  (unsigned char)(31 * (i)), (unsigned char)(31 * ((i) + 1)), (unsigned char)(31 * ((i) + 2)),     \
      (unsigned char)(31 * ((i) + 3))
#define PATTERN_16(i) PATTERN_4(i), PATTERN_4((i) + 4), PATTERN_4((i) + 8), PATTERN_4((i) + 12)
#define PATTERN_64(i)                                                                              \
  PATTERN_16(i), PATTERN_16((i) + 16), PATTERN_16((i) + 32), PATTERN_16((i) + 48)
#define PATTERN_256 PATTERN_64(0), PATTERN_64(64), PATTERN_64(128), PATTERN_64(192)
CHECK_UNUSED static const unsigned char* pattern_piece(size_t at, unsigned seed) {
  static const unsigned char table[512] = {PATTERN_256, PATTERN_256};
  return table + ((at >> 8) * 17u + (at >> 16) * 7u + seed * 101u + 1u) * 223u % 256;
}
CHECK_UNUSED static size_t pattern_piece_size(size_t at, size_t size) {
  return size - at < 256 ? size - at : 256;
}
CHECK_UNUSED static void pattern_fill(void* p, size_t size, unsigned seed) {
  for (size_t at = 0; at < size; at += 256)
    memcpy((char*)p + at, pattern_piece(at, seed), pattern_piece_size(at, size));
}
CHECK_UNUSED static bool pattern_holds(const void* p, size_t size, unsigned seed) {
  const unsigned char* bytes = (const unsigned char*)opaque(p);
  for (size_t at = 0; at < size; at += 256) {
    const unsigned char* piece = pattern_piece(at, seed);
    if (memcmp(bytes + at, piece, pattern_piece_size(at, size)) == 0) continue;
    size_t i = 0;
    while (bytes[at + i] == piece[i]) i++;
    check_fail("byte %zu of %zu of block %p is 0x%02x, not 0x%02x\n", at + i, size, p,
               bytes[at + i], piece[i]);
    return false;
  }
  return true;
}
CHECK_UNUSED static bool all_bytes_are(const void* p, size_t size, unsigned char value) {
  const unsigned char* bytes = (const unsigned char*)opaque(p);
  if (size == 0) return true;
  if (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0) return true;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != value) {
      check_fail("byte %zu of %zu of block %p is 0x%02x, not 0x%02x\n", i, size, p, bytes[i],
                 value);
      return false;
    }
  }
  return true;
}
/* A cheap pattern for large blocks: each OS page holds its own number at both ends. */
CHECK_UNUSED static void pages_mark(char* p, size_t from, size_t to) {
  for (size_t at = round_up(from, OS_PAGE); at + OS_PAGE <= to; at += OS_PAGE) {
    size_t number = at / OS_PAGE + 1;
    memcpy(p + at, &number, sizeof number);
    memcpy(p + at + OS_PAGE - sizeof number, &number, sizeof number);
  }
}
CHECK_UNUSED static bool pages_hold(const char* p, size_t from, size_t to, size_t step) {
  for (size_t at = round_up(from, OS_PAGE); at + OS_PAGE <= to; at += step * OS_PAGE) {
    size_t number = at / OS_PAGE + 1;
    size_t first;
    size_t second;
    memcpy(&first, p + at, sizeof first);
    memcpy(&second, p + at + OS_PAGE - sizeof number, sizeof second);
    if (first != number || second != number) {
      check_fail("page %zu of %p holds %zu and %zu\n", number, (const void*)p, first, second);
      return false;
    }
  }
  return true;
}
/* Makes each OS page of the range resident without writing all of it. */
CHECK_UNUSED static void touch_pages(void* p, size_t size) {
  volatile char* bytes = (volatile char*)p;
  for (size_t i = 0; i < size; i += OS_PAGE) bytes[i] = 1;
  if (size != 0) bytes[size - 1] = 1;
}

/* ---- threads ------------------------------------------------------------------------ */

#if !defined(__wasm__)
CHECK_UNUSED static pthread_t thread_start(void* (*run)(void*), void* arg) {
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run, arg);
  REQUIRE(error == 0);
  return thread;
}
CHECK_UNUSED static void thread_join(pthread_t thread) { REQUIRE(pthread_join(thread, NULL) == 0); }
#endif
