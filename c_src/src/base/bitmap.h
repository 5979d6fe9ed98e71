/* bitmap.h - runs of bits that threads claim and return without a lock.
 *
 * Owns:    nothing; a bitmap is an array of 64-bit words, bit i in word i / 64.
 * Always:  a claim clears all of its bits or leaves all of them as they were.
 * Threads: any.
 *
 * Argument: a set bit means "free". Only the thread whose fetch-and or compare-and-swap cleared a
 * bit may set it again. A claim takes a run over several words word by word, in rising order. If
 * a word lacks a wanted bit, the claim sets the bits again that it has cleared so far. Until then
 * another claim may miss bits that end up free, so callers retry before they give up.
 */
#pragma once

#include "base.h"
#include "atomic.h"

typedef _Atomic(uint64_t) bitword_t;

#define BITMAP_NONE SIZE_MAX
#define BITS_PER_WORD ((size_t)64)

static inline size_t bitmap_words(size_t bits) {
  return (bits + BITS_PER_WORD - 1) / BITS_PER_WORD;
}

/* Claims [i, i + n) if all of its bits are set. Acquire: pairs with the release in bitmap_set. */
INTERNAL bool bitmap_claim_at(bitword_t* words, size_t i, size_t n);
/* Claims the first run of `n` bits in [from, bits) that are set in `words` and in `wanted`, which
 * may be `words` itself. The run's first index plus `phase` is a multiple of `align`, a power of
 * two. BITMAP_NONE if there is no such run. */
INTERNAL size_t bitmap_claim(bitword_t* words, bitword_t* wanted, size_t bits, size_t from,
                             size_t n, size_t align, size_t phase);
/* Sets [i, i + n). Release: the next claim sees what this thread wrote to the memory. */
INTERNAL void bitmap_set(bitword_t* words, size_t i, size_t n);
/* Clears [i, i + n), and returns how many bits were set. */
INTERNAL size_t bitmap_clear(bitword_t* words, size_t i, size_t n);
/* Sets or clears [i, i + n); returns how many bits it changed. Sequentially consistent. */
INTERNAL size_t bitmap_change(bitword_t* words, size_t i, size_t n, bool value);
/* The first bit at or after `i` that has this value; `bits` if there is none before that. */
INTERNAL size_t bitmap_next(bitword_t* words, size_t bits, size_t i, bool value);
INTERNAL bool bitmap_any(bitword_t* words, size_t i, size_t n);
INTERNAL bool bitmap_all(bitword_t* words, size_t i, size_t n);
/* How many bits of [i, i + n) are set, and of [0, bits). */
INTERNAL size_t bitmap_count_run(bitword_t* words, size_t i, size_t n);
INTERNAL size_t bitmap_count(bitword_t* words, size_t bits);
