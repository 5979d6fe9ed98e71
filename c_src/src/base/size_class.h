/* size_class.h - which sizes share a class, and how large a page of each class is.
 *
 *   class            blocks of                                      a page is
 *   0                8 bytes, for requests of size 0                1 slice
 *   1 to 128         8 to 1024 bytes: class times 8                 1 slice
 *   129 to 152       above 1 KiB to 8 KiB, 8 classes per doubling   1 slice
 *   153 to 176       above 8 KiB to 64 KiB, 8 per doubling          2 to 16 slices
 *   177              72 KiB, only where blocks end with a canary    16 slices
 *   CLASS_LARGE      one block of any size                          as many slices as it needs
 *
 * A request gets a class whose blocks are a multiple of 16 bytes. The odd multiples of 8 below
 * ALIGN8_MAX are for requests that need an alignment of 8 only.
 */
#pragma once

#include "base.h"

#define SMALL_MAX ((size_t)1024)
#define ALIGN8_MAX ((size_t)128)
/* With canaries there is one more class, so that the common request of 64 KiB is not large. */
#define MEDIUM_MAX ((size_t)(SECURE_CANARIES ? 72 : 64) * KiB)
#define FIRST_GEOMETRIC 129 /* class of the first block size above SMALL_MAX */
#define LOG2_SMALL_MAX 10
#define CLASS_COUNT (SECURE_CANARIES ? 178 : 177)
#define CLASS_LARGE 255
_Static_assert(FIRST_GEOMETRIC == SMALL_MAX / 8 + 1, "classes follow each other");
_Static_assert(CLASS_COUNT == FIRST_GEOMETRIC + 8 * 6 + (SECURE_CANARIES ? 1 : 0),
               "six doublings from 1 KiB to 64 KiB");

/* Bytes of the canary at the end of each block. */
#define CANARY_SIZE ((size_t)(SECURE_CANARIES ? 8 : 0))
/* The size of a request with its canary; a request of size 0 has none. */
static inline size_t with_canary(size_t size) { return size == 0 ? 0 : size + CANARY_SIZE; }

/* The class of a request up to SMALL_MAX, whose blocks are a multiple of 16 bytes. */
static inline size_t class_of_small(size_t size) { return round_up(size, DEFAULT_ALIGN) / 8; }

/* The class of a request above SMALL_MAX and up to MEDIUM_MAX. */
static inline size_t class_of_medium(size_t size) {
  size_t w = size - 1;
  size_t log2 = log2_of(w);
  return FIRST_GEOMETRIC + (log2 - LOG2_SMALL_MAX) * 8 + ((w >> (log2 - 3)) & 7);
}

static inline size_t class_block_size(size_t cls) {
  if (cls == 0) return 8;
  if (cls < FIRST_GEOMETRIC) return cls * 8;
  size_t g = cls - FIRST_GEOMETRIC;
  return (9 + g % 8) << (g / 8 + LOG2_SMALL_MAX - 3);
}

/* Up to this block size a page is one slice, so a free never meets an interior slice. A page of
 * larger blocks has two to sixteen slices and holds eight to sixteen blocks. */
#define SINGLE_SLICE_MAX ((size_t)8 * KiB)
/* The class of the first block size above SINGLE_SLICE_MAX. */
#define FIRST_MEDIUM (FIRST_GEOMETRIC + 8 * 3)
static inline uint32_t slices_for(size_t block_size) {
  uint32_t slices = 1;
  while (slices * SINGLE_SLICE_MAX < block_size) slices *= 2;
  return slices;
}
static inline uint32_t class_slices(size_t cls) { return slices_for(class_block_size(cls)); }

/* ---- home slots ----
 *
 * The home zone at the end of an arena is a sequence of groups of HOME_SLOTS slices. A heap's
 * initial page of a class lies at the home slot of the class in one of the groups. A heap may need
 * little of its initial pages; there their descriptors share OS pages.
 *
 * A group begins with one slot for each class of one slice. Above ALIGN8_MAX the odd multiples of
 * 8 have none. The classes of 2 to 8 slices follow. Classes of 16 slices have no home slot. */
#define SINGLE_HOMES (ALIGN8_MAX / 16 + SMALL_MAX / 16 + FIRST_MEDIUM - FIRST_GEOMETRIC + 1)
#define HOME_SLOTS (SINGLE_HOMES + 8 * (2 + 4 + 8))
static inline size_t class_home(size_t cls) {
  if (cls <= ALIGN8_MAX / 8) return cls;
  if (cls < FIRST_GEOMETRIC) return ALIGN8_MAX / 16 + cls / 2;
  if (cls < FIRST_MEDIUM) return ALIGN8_MAX / 16 + SMALL_MAX / 16 + 1 + cls - FIRST_GEOMETRIC;
  size_t g = (cls - FIRST_MEDIUM) / 8, r = (cls - FIRST_MEDIUM) % 8;
  return SINGLE_HOMES + 16 * (((size_t)1 << g) - 1) + (r * 2 << g);
}
