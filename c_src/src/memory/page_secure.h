/* page_secure.h - what secure builds add to the descriptor of a page.
 *
 * Owns:    nothing.
 * Always:  the fields are the last of the descriptor; with pointers of 64 bits they are one cache
 *          line.
 * Threads: the thread that sets the page up writes them. `issued` is read by any thread, relaxed.
 */
#pragma once

#include "../base/base.h"

typedef _Atomic(uint16_t) block_state_t; /* see block_state.h */
/* Bytes of block-state tables for each slice: a wide table for blocks below STATES_DENSE_FROM
 * bytes, a dense one for the others. The dense tables of several slices share an OS page. */
#define STATES_WIDE ((size_t)8192 * sizeof(block_state_t))
#define STATES_DENSE ((size_t)512 * sizeof(block_state_t))
#define STATES_DENSE_FROM (SLICE_SIZE / 512)

/* The line ends with a spare word: an aligned type would not do, because the address that is
 * computed for an empty window is not aligned. */
#if MI_SECURE > 0
#define SECURE_PAGE_FIELDS                                                                         \
  block_state_t* states; /* of the blocks of a page; set up with the page */                       \
  char* start;                                                                                     \
  uint64_t reciprocal;                                                                             \
  uint32_t link_shift;                                                                             \
  uint32_t epoch;            /* of the random order of its blocks, see random.h */                 \
  _Atomic(uintptr_t) issued; /* of large blocks: the pointer that the program got */               \
  uint64_t key[2];           /* of its canaries, see canary.c */                                   \
  uint64_t unused;
#else
#define SECURE_PAGE_FIELDS
#endif
