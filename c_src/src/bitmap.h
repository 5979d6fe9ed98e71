/* bitmap.h - runs of bits that threads claim and give back without a lock.
 *
 * Owns:    nothing; a bitmap is an array of 64-bit words, bit i in word i / 64.
 * Always:  a claim either takes all of its bits or leaves all as they were.
 * Threads: any.
 * Uses:    atomic.h.          Used by: arena, unowned.
 *
 * Argument: a bit that is set means "free", and only the one whose fetch-and or compare-and-swap
 * cleared it may set it again. A run over several words is claimed word by word in rising order;
 * when a word does not hold all bits wanted, those cleared so far are set again. Between those
 * two moments another claim may miss bits that end up free: callers retry before they give up.
 */
#ifndef MI_BITMAP_H
#define MI_BITMAP_H

#include "base.h"
#include "atomic.h"

typedef _Atomic(uint64_t) bitword_t;

#define BITMAP_NONE SIZE_MAX
#define BITS_PER_WORD ((size_t)64)

static inline size_t bitmap_words(size_t bits) {
  return (bits + BITS_PER_WORD - 1) / BITS_PER_WORD;
}

/* Claims bits [i, i + n) if all are set. Acquire, pairs with the release in bitmap_set. */
INTERNAL bool bitmap_claim_at(bitword_t* words, size_t i, size_t n);
/* Claims the first run of `n` bits at or after `from`, within `bits`, that are set in `wanted` too
 * (which may be `words` itself) and whose first index plus `phase` is a multiple of `align` (a
 * power of two). BITMAP_NONE if there is none. */
INTERNAL size_t bitmap_claim(bitword_t* words, bitword_t* wanted, size_t bits, size_t from,
                             size_t n, size_t align, size_t phase);
/* Sets [i, i + n). Release: what was written to the memory travels with the bits. */
INTERNAL void bitmap_set(bitword_t* words, size_t i, size_t n);
/* Clears [i, i + n) and tells whether any was set. */
INTERNAL bool bitmap_clear(bitword_t* words, size_t i, size_t n);
INTERNAL bool bitmap_any(bitword_t* words, size_t i, size_t n);
INTERNAL bool bitmap_all(bitword_t* words, size_t i, size_t n);
INTERNAL size_t bitmap_count(bitword_t* words, size_t bits);

#endif
