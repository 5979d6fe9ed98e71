/* random.h - unpredictable numbers for secure builds.
 *
 * Two generators. random_words is a pseudorandom function of a counter, under a key of 128 bits
 * from the system: some of its numbers tell nothing of the others. Keys come from it. A random_t
 * starts with two such words and takes ten instructions for a number: it chooses among blocks,
 * where the numbers themselves are never seen.
 *
 * A child process has another key than its parent and than the other children, and `random_epoch`
 * is another number there: what was put in random order before is put in a new one, see page.c.
 */
#ifndef MI_RANDOM_H
#define MI_RANDOM_H

#include "atomic.h"
#include "base.h"

#if MI_SECURE > 0

typedef struct random_s {
  uint64_t ready, state, key; /* the next number, so that nobody waits for its multiplication */
} random_t;

/* At the start of the process. */
INTERNAL void random_init(void);
/* At the end of the image. */
INTERNAL void random_unload(void);
/* Warns, once, of numbers that did not come from the system. */
INTERNAL void random_warn(void);
INTERNAL void random_words(uint64_t words[2]);
INTERNAL random_t random_start(void);
/* Under the locks of a fork; in the child a new epoch begins. */
INTERNAL void random_after_fork(bool child);

/* Relaxed: only the process's own thread that makes a new one must see it at once. */
INTERNAL_DATA _Atomic(uint32_t) random_epoch;

static inline uint64_t random_next(random_t* random) {
  uint64_t number = random->ready, state = random->state + UINT64_C(0x9e3779b97f4a7c15);
  random->state = state;
  random->ready = multiply_fold(state, state ^ random->key);
  return number;
}
/* By the upper bits of a random number. */
static inline size_t random_below(uint64_t random, size_t n) {
  return (size_t)multiply_high(random, n);
}

#else
static inline void random_init(void) {}
static inline void random_unload(void) {}
static inline void random_warn(void) {}
static inline void random_after_fork(bool child) { (void)child; }
#endif

#endif
