/* compiler.h - what the compiler offers beyond C11: attributes, hints, bit scans, wide products.
 *
 * A new compiler needs a branch here only. Atomics are C11's, see atomic.h. Assembler stands where
 * it is used, each time beside a plain C form (free_fast, os/system.h).
 */
#pragma once

/* All that the C library has, in every file: each includes this one first. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 1 under a sanitizer, which must see each memory access. */
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
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* For large objects of which the library touches few bytes. They lie away from the small objects,
 * which then share OS pages. */
#if defined(__ELF__)
#define APART __attribute__((section(".bss.apart")))
#else
#define APART
#endif
#define CACHE_ALIGNED __attribute__((aligned(64)))

/* The library is one translation unit, all.c, so functions shared between files are static. The
 * check that compiles each file alone defines it as nothing. */
#ifndef INTERNAL
#define INTERNAL static
#endif

/* ---- bits ---- */

/* Index of the lowest set bit; `x` is not 0. */
static inline size_t lowest_bit(uint64_t x) { return (size_t)__builtin_ctzll(x); }
static inline size_t count_bits(uint64_t x) { return (size_t)__builtin_popcountll(x); }
/* Set bits above the highest bit that is not set; `x` has one of these. */
static inline size_t leading_ones(uint64_t x) { return (size_t)__builtin_clzll(~x); }
/* Index of the highest set bit; `x` is not 0. */
static inline size_t log2_of(size_t x) {
  return SIZE_MAX > UINT32_MAX ? 63 - (size_t)__builtin_clzll(x)
                               : 31 - (size_t)__builtin_clz((unsigned)x);
}

/* ---- arithmetic ---- */

/* `*result` becomes the sum or the product; false if it does not fit. */
#define add_fits(a, b, result) (!__builtin_add_overflow((a), (b), (result)))
#define multiply_fits(a, b, result) (!__builtin_mul_overflow((a), (b), (result)))

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
/* The exclusive or of both halves of the product: no bit of it depends on low bits alone. */
static inline uint64_t multiply_fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
  wide_t product = (wide_t)a * b; /* one instruction computes both halves */
  return (uint64_t)(product >> 64) ^ (uint64_t)product;
#else
  return multiply_high(a, b) ^ a * b;
#endif
}
