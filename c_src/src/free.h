/* free.h - what the entry points need to know about a block. */
#ifndef MI_FREE_H
#define MI_FREE_H

#include "map.h"
#include "page.h"

/* The page of a live block, or NULL after a report that names `what`. */
INTERNAL page_t* block_page(const void* p, const char* what);
/* Bytes from `p` to the end of its block. */
static inline size_t block_usable(page_t* page, const void* p) {
  size_t size = page->block_size;
  if (likely(!page_has_flag(page, PAGE_INTERIOR))) return size;
  return size - (size_t)((const char*)p - page_block_of(page, p));
}

#endif
