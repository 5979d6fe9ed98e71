/* base.h - sizes, checked arithmetic, assertions: what every file uses. */
#pragma once

#include "compiler.h"
#include "config.h"
#include <limits.h>
#include <string.h>

/* ---- sizes ---- */

#define KiB ((size_t)1024)
#define MiB (1024 * KiB)
#define GiB (1024 * MiB)

#define SLICE_SHIFT 16
#define SLICE_SIZE ((size_t)1 << SLICE_SHIFT)

/* The library's mappings lie below 2 to the power of ADDRESS_BITS. The page map and the remote word
 * rely on it. ALLOC_MAX is the largest request, a constant of the interface; a larger one fails
 * with EOVERFLOW. It lies so far below the end of the address space that rounding up cannot wrap.
 */
#if UINTPTR_MAX > UINT32_MAX
#define ADDRESS_BITS 48
#define ALLOC_MAX (SLICE_SIZE * (UINT32_MAX - 1))
#else
#define ADDRESS_BITS 32
#define ALLOC_MAX ((size_t)PTRDIFF_MAX - 64 * MiB)
#endif

#define DEFAULT_ALIGN ((size_t)16)

static inline bool is_power_of_two(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* `a` must be a power of two. */
static inline size_t round_up(size_t x, size_t a) { return (x + a - 1) & ~(a - 1); }
static inline size_t round_down(size_t x, size_t a) { return x & ~(a - 1); }

static inline size_t slices_of(size_t bytes) {
  return (bytes >> SLICE_SHIFT) + ((bytes & (SLICE_SIZE - 1)) != 0);
}

/* `*total` becomes the size of the array; false if it does not fit. */
static inline bool multiply(size_t count, size_t size, size_t* total) {
  return multiply_fits(count, size, total);
}

static inline size_t min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t max_size(size_t a, size_t b) { return a > b ? a : b; }

/* ---- assertions ---- */

#if MI_DEBUG >= 1
/* Defined on a higher floor, in log.c. */
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
