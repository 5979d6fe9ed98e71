/* holes.h - gives back the OS pages inside partly used pages, and uses their blocks again. */
#pragma once

#include "page.h"

/* Makes holes in published sparse pages until about `*bytes` bytes went back; counts `*bytes` down.
 * True if more pages wait. Any thread; holds no lock. */
INTERNAL bool holes_purge(size_t* bytes);
/* The same for the published pages that are due, see `sparse_at`. It does not wait for another
 * thread that is at it. */
INTERNAL bool holes_purge_due(size_t* bytes);
/* Owner: the blocks of one hole as a list of `*count`; NULL if the page has no hole. They count as
 * used. */
INTERNAL block_t* hole_fill_one(page_t* page, size_t* count);
static inline block_t* hole_fill(page_t* page, size_t* count) {
  return MI_HOLES && unlikely(load_relaxed(&page->holes) != 0) ? hole_fill_one(page, count) : NULL;
}
/* Owner: puts the blocks of all holes onto the local list. */
INTERNAL void holes_fill(page_t* page);
/* Owner: the block overlaps a hole, so it is free. */
static inline bool block_overlaps(const page_t* page, const block_t* block, uint32_t holes) {
  size_t offset = (size_t)((const char*)block - page_start(page)), unit = page_unit(page);
  size_t first = offset / unit, last = (offset + page->block_size - 1) / unit;
  return ((holes >> first) & ((2u << (last - first)) - 1)) != 0;
}
static inline bool block_is_in_hole(const page_t* page, const block_t* block) {
  return MI_HOLES && block_overlaps(page, block, load_relaxed(&page->holes));
}
/* Between the two calls no thread claims a page to make holes in it. The first waits for the thread
 * that has claimed one, a tenth of a second at most; the second gets its result. */
INTERNAL uint32_t holes_stop(void);
INTERNAL void holes_go_on(uint32_t turn);
/* In the child of a fork, instead of holes_go_on. */
INTERNAL void holes_reset_after_fork(void);
