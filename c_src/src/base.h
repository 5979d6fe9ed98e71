/* base.h - words that every room uses: attributes, sizes, checked arithmetic, assertions.
 *
 * Owns:    nothing.
 * Uses:    the C library's freestanding headers.          Used by: everybody.
 */
#ifndef MI_BASE_H
#define MI_BASE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- knobs: 0, 1 or a number; given by build.rs and CMake under the same names ---- */

#ifndef MI_DEBUG /* 1: assertions; 2: internal assertions; 3: the heap walker too */
#define MI_DEBUG 0
#endif
#ifndef MI_SECURE /* 1 to 4: frees are checked, and a violation of memory safety ends the program  \
                   */
#define MI_SECURE 0
#endif
#ifndef MI_XMALLOC /* running out of memory ends the program */
#define MI_XMALLOC 0
#endif
#ifndef MI_SHOW_ERRORS /* default of the option show_errors */
#define MI_SHOW_ERRORS 0
#endif
#ifndef MI_MALLOC_OVERRIDE /* define the libc and C++ allocation symbols */
#define MI_MALLOC_OVERRIDE 0
#endif
#ifndef MI_DEEPBIND_OVERRIDE /* define dlopen: only in a library that stands before the C library  \
                              */
#define MI_DEEPBIND_OVERRIDE 0
#endif
#ifndef MI_SKIP_COLLECT_ON_EXIT
#define MI_SKIP_COLLECT_ON_EXIT 0
#endif
#if MI_DEBUG < 0 || MI_DEBUG > 3
#error "MI_DEBUG is 0 to 3"
#endif
#if MI_SECURE < 0 || MI_SECURE > 4
#error "MI_SECURE is 0 to 4"
#endif
#ifndef MI_TRACK_VALGRIND /* blocks are made known to memcheck */
#define MI_TRACK_VALGRIND 0
#endif
#ifndef MI_TRACK_ASAN /* and to AddressSanitizer */
#define MI_TRACK_ASAN 0
#endif
/* A memory checker watches blocks itself, and what lies behind the size that was asked for. */
#if (MI_TRACK_VALGRIND || MI_TRACK_ASAN) && MI_SECURE > 1
#undef MI_SECURE
#define MI_SECURE 1
#endif
#define MI_CHECKED (MI_DEBUG > 0 || MI_SECURE > 0)
/* What the levels switch on, see secure.h. */
#define SECURE_ORDER (MI_SECURE >= 2)
#define SECURE_GUARDS (MI_SECURE >= 2)
#define SECURE_SEALS (MI_SECURE >= 3)
#define SECURE_HOLDS (MI_SECURE >= 3)
#define SECURE_ZERO (MI_SECURE >= 4)
#define SECURE_EXACT (MI_SECURE >= 4)
/* A heap that another thread than its own uses is reported. */
#define MI_CHECKS_HEAPS (MI_DEBUG > 0 || MI_SECURE >= 4)

/* A sanitizer watches memory accesses: each must be one that it can see. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MI_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define MI_WATCHED 1
#endif
#endif
#ifndef MI_WATCHED
#define MI_WATCHED 0
#endif

/* ---- attributes ---- */

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NOINLINE __attribute__((noinline))
#define COLD __attribute__((noinline, cold))
/* Large objects of which few bytes are touched: apart from the small ones, which then share OS
 * pages. */
#if defined(__ELF__)
#define APART __attribute__((section(".bss.apart")))
#else
#define APART
#endif
#define CACHE_ALIGNED __attribute__((aligned(64)))

/* Everything inside the library is static in the one translation unit that is shipped;
 * compiled one by one (a check of ours), the same names are hidden symbols. */
#if defined(MI_ONE_UNIT)
#define INTERNAL static
#define INTERNAL_DATA static
#define INTERNAL_TLS static _Thread_local
#else
#define INTERNAL __attribute__((visibility("hidden")))
#define INTERNAL_DATA extern __attribute__((visibility("hidden")))
#define INTERNAL_TLS extern _Thread_local __attribute__((visibility("hidden")))
#endif
#if defined(MI_ONE_UNIT)
#define INTERNAL_DEF static
#else
#define INTERNAL_DEF
#endif

/* ---- sizes ---- */

#define KiB ((size_t)1024)
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)

#define SLICE_SHIFT 16
#define SLICE_SIZE ((size_t)1 << SLICE_SHIFT)

/* No mapping of ours lies above this many bits: the map and the remote word rely on it. */
#if UINTPTR_MAX > UINT32_MAX
#define ADDRESS_BITS 48
#else
#define ADDRESS_BITS 32
#endif

/* The largest request, a constant of the interface; anything above is EOVERFLOW. Far enough below
 * the end of the address space that rounding up cannot wrap. */
#if UINTPTR_MAX > UINT32_MAX
#define ALLOC_MAX (SLICE_SIZE * (UINT32_MAX - 1))
#else
#define ALLOC_MAX ((size_t)PTRDIFF_MAX - 64 * MiB)
#endif

#define DEFAULT_ALIGN ((size_t)16)

static inline bool is_power_of_two(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* `a` must be a power of two. */
static inline size_t round_up(size_t x, size_t a) { return (x + a - 1) & ~(a - 1); }
static inline size_t round_down(size_t x, size_t a) { return x & ~(a - 1); }

/* Of the highest bit; `x` is not 0. */
static inline size_t log2_of(size_t x) {
#if SIZE_MAX > UINT32_MAX
  return 63 - (size_t)__builtin_clzll(x);
#else
  return 31 - (size_t)__builtin_clz(x);
#endif
}

static inline size_t slices_of(size_t bytes) {
  return (bytes >> SLICE_SHIFT) + ((bytes & (SLICE_SIZE - 1)) != 0);
}

/* True and the product in `*total`, or false when it does not fit. */
static inline bool multiply(size_t count, size_t size, size_t* total) {
  return !__builtin_mul_overflow(count, size, total);
}

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 wide_t;
#endif
/* The upper half of the product. */
static inline uint64_t multiply_high(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  return (uint64_t)(((wide_t)a * b) >> 64);
#else
  uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  uint64_t one = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)one;
  return a1 * b1 + (one >> 32) + (other >> 32);
#endif
}
/* The two halves, exclusive-or-ed: no bit of it depends on low bits alone. */
static inline uint64_t multiply_fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  wide_t product = (wide_t)a * b; /* one instruction for both */
  return (uint64_t)(product >> 64) ^ (uint64_t)product;
#else
  return multiply_high(a, b) ^ a * b;
#endif
}

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* ---- assertions ---- */

#if MI_DEBUG >= 1
/* Reported through the log, which lies above; see log.c. */
INTERNAL _Noreturn void assert_failed(const char* what, const char* file, int line);
#define mi_assert(cond) ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__))
#else
#define mi_assert(cond) ((void)0)
#endif
#if MI_DEBUG >= 2
#define mi_assert_internal(cond) mi_assert(cond)
#else
#define mi_assert_internal(cond) ((void)0)
#endif

#endif
