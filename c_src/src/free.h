/* free.h - what the entry points need to know about a block. */
#ifndef MI_FREE_H
#define MI_FREE_H

#include "map.h"
#include "page.h"

/* The page of a live block, or NULL after a report that names `what`. */
INTERNAL page_t* block_page(const void* p, const char* what);
/* What mi_usable_size tells of a block that is to be freed or resized, which finds what is wrong
 * with it; 0, without a report, for anything else. */
INTERNAL size_t usable_if_live(const void* p);
/* Bytes from `p` to the end of its block. */
static inline size_t block_room(page_t* page, const void* p) {
  if (SECURE_GUARDS && page_class(page) == 0) return 0; /* inaccessible */
  size_t size = page->block_size - SEAL_SIZE;
  if (likely(!page_has_flag(page, PAGE_INTERIOR))) return size;
  return size - (size_t)((const char*)p - page_block_of(page, p));
}
/* Those that the program may use: with seals, as many as it asked for. */
static inline size_t block_usable(page_t* page, const void* p) {
#if SECURE_SEALS
  return secure_size(page, p);
#else
  return block_room(page, p);
#endif
}
/* A block with this much room may serve for `size` bytes, without wasting more than half; with
 * seals little is wasted, for the rest is filled: that much of a large block goes back instead, and
 * a canary has 32 bits for it. */
#define FILLED_MAX SLICE_SIZE
static inline bool block_serves(size_t room, size_t size) {
  if (SECURE_SEALS)
    return size <= room && room - size <= min_size(room / 8, FILLED_MAX) + DEFAULT_ALIGN;
  return size <= room && size >= room / 2;
}

#endif
