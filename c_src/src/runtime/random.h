/* random.h - unpredictable numbers for secure builds.
 *
 * There are two generators. random_words is a pseudorandom function of a counter, under a key of
 * 128 bits from the system: its numbers reveal nothing about each other. Keys come from it. A
 * random_t starts with two such words and needs ten instructions for a number. It chooses among
 * blocks, and the program never sees its numbers.
 *
 * A child process has a key of its own, and changes `random_epoch`. A page with an older epoch puts
 * its blocks in a new random order, see block_state.c.
 */
#pragma once

#include "../base/atomic.h"
#include "../base/base.h"

#if MI_SECURE > 0

typedef struct random_s {
  uint64_t ready, state, key; /* `ready`: the next number, computed ahead of demand */
} random_t;

/* At the start of the process. */
INTERNAL void random_init(void);
/* At the end of the image. */
INTERNAL void random_unload(void);
/* Warns if the key did not come from the system. */
INTERNAL void random_warn(void);
INTERNAL void random_words(uint64_t words[2]);
INTERNAL random_t random_start(void);
/* The caller holds the locks of a fork. In the child a new epoch begins. */
INTERNAL void random_after_fork(bool child);

/* Relaxed: only the thread that begins a new epoch must see it at once. */
static _Atomic(uint32_t) random_epoch;

static inline uint64_t random_next(random_t* random) {
  uint64_t number = random->ready, state = random->state + UINT64_C(0x9e3779b97f4a7c15);
  random->state = state;
  random->ready = multiply_fold(state, state ^ random->key);
  return number;
}
/* A number below `n`, from the upper bits of a random number. */
static inline size_t random_below(uint64_t random, size_t n) {
  return (size_t)multiply_high(random, n);
}

#else
static inline void random_init(void) {}
static inline void random_unload(void) {}
static inline void random_warn(void) {}
static inline void random_after_fork(bool child) { (void)child; }
#endif
