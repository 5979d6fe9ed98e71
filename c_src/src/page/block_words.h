/* block_words.h - tests blocks for zero and clears them, two words at a time. */
#pragma once

#include "../base/size_class.h"

/* Two words in one load, if the processor has vectors. No function takes or returns this type: the
 * calling convention for it differs between processors with and without vectors. */
typedef uint64_t pair_t __attribute__((vector_size(16), may_alias));
typedef uint64_t loose_pair_t __attribute__((vector_size(16), aligned(1), may_alias));

/* The words of a block, or-ed together. Loads from the end may overlap those from the start. */
static inline uint64_t few_words(const void* start, size_t size) {
  const loose_pair_t *first = start, *last = (const void*)((const char*)start + size);
  const loose_pair_t two = first[0] | last[-1];
  if (size <= 2 * sizeof(two)) return two[0] | two[1];
  const loose_pair_t four = first[1] | last[-2] | two;
  if (size <= 4 * sizeof(four)) return four[0] | four[1];
  const loose_pair_t eight = first[2] | first[3] | last[-4] | last[-3] | four;
  return eight[0] | eight[1];
}
/* For blocks above ALIGN8_MAX: their addresses and sizes are multiples of 16. */
static inline uint64_t many_words(const void* start, size_t size) {
  const pair_t *first = start, *last = (const void*)((const char*)start + size);
  pair_t all = last[-1] | last[-2] | last[-3] | last[-4];
  pair_t more = last[-5] | last[-6] | last[-7] | last[-8];
  for (; first < last - 8; first += 8) {
    all |= first[0] | first[1] | first[2] | first[3];
    more |= first[4] | first[5] | first[6] | first[7];
  }
  all |= more;
  return all[0] | all[1];
}
static inline bool is_zero(const void* block, size_t size) {
  return (size <= ALIGN8_MAX ? few_words(block, size) : many_words(block, size)) == 0;
}

/* Clears a block of up to SMALL_MAX bytes; shorter than a call of memset. */
static inline void clear_small(void* start, size_t size) {
  const loose_pair_t zero = {0, 0};
  loose_pair_t *first = start, *last = (void*)((char*)start + size);
  first[0] = last[-1] = zero;
  if (size <= 2 * sizeof(zero)) return;
  first[1] = last[-2] = zero;
  if (size <= 4 * sizeof(zero)) return;
  first[2] = first[3] = last[-3] = last[-4] = zero;
  if (size <= 8 * sizeof(zero)) return;
  last[-5] = last[-6] = last[-7] = last[-8] = zero;
  for (; first < last - 8; first += 8) {
    first[0] = first[1] = first[2] = first[3] = zero;
    first[4] = first[5] = first[6] = first[7] = zero;
  }
}
