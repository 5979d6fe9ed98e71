/* heap_refill.h - refills the active free list of a class when malloc finds it empty. */
#pragma once

#include "heap_types.h"

/* Refills an empty active free list and pops a block. NULL without a report if there is no memory.
 */
INTERNAL void* heap_refill(heap_t* heap, size_t cls);

#define TICK_EVERY 32 /* entries into the slow path; a power of two */
#define LIST_MIN 40   /* a shorter list is refilled with never-used blocks */

/* Short lists of a busy class are refilled with never-used blocks, so that the slow path runs more
 * rarely, until a page is extended to this many bytes. */
#define SHORT_REFILL_MAX (16 * KiB)
static inline bool page_refills_short_lists(page_t* page) {
  return page_has_flag(page, PAGE_BUSY) && page->capacity < page->reserved &&
         (page->capacity + (size_t)1) * page->block_size <= SHORT_REFILL_MAX;
}

/* The shortest way: adopts the local list of the active page. NULL if the list is empty or too
 * short, or if a tick is due. */
static inline void* heap_take_local(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  /* The page is tested first: heap_empty and heap_ended have none, and are never written to. */
  if (unlikely(page == NULL || (++heap->heartbeat & heap->tick_mask) == 0)) return NULL;
  if (states_order_is_old(page)) return NULL;
  uint32_t capacity = page->capacity, count = capacity - page_used(page);
  if (unlikely(count < LIST_MIN) && (count == 0 || page_refills_short_lists(page))) return NULL;
  block_t* list = page->local;
  page->local = NULL;
  compiler_fence();              /* a fork must not find the blocks in both lists */
  store_relaxed(&page->bias, 0); /* see heap_page_counted_down */
  store_relaxed(&page->countdown, capacity);
  q->list = 0;
  bump_counter(&q->allocated, count);
  heap->keep.by_owner += count;
  compiler_fence(); /* a fork must not find the new list with the old list's LIST_ bits */
  return heap_allocate(heap, cls, list);
}

#define BUSY_BLOCKS 8192 /* a class is busy once so many blocks were taken from it */
static inline void set_refill_if_busy(queue_t* q) {
  page_t* page = q->active;
  if (!page_has_flag(page, PAGE_BUSY) && load_relaxed(&q->allocated) >= BUSY_BLOCKS)
    page_set_flag(page, PAGE_BUSY, true);
}
