/* heap_refill.h - refills the active free list of a class when malloc finds it empty. */
#pragma once

#include "../base/checker.h"
#include "heap_types.h"

/* Refills an empty active free list and pops a block. NULL without a report if there is no memory.
 */
INTERNAL void* heap_refill(heap_t* heap, size_t cls);

/* The common cases, in fewer steps: never-used blocks of the active page, or a gathered list.
 * NULL: heap_refill must search, or a tick is due.
 *
 * Gathered lists, in classes whose pages have few blocks. The blocks that the thread has freed in
 * the first pages of the partial list become the active free list, and these pages move to its end.
 * The blocks count as used there, as if the program held them. Pages of which more than half is
 * free may become empty, so one of them is used only if there are no others. */
INTERNAL void* heap_refill_usual(heap_t* heap, size_t cls);
/* Secure and tracking builds need to know the page of a block. */
#define GATHERS(cls) (MI_SECURE == 0 && !MI_TRACK && (cls) >= FIRST_GEOMETRIC)

#define TICK_EVERY 32 /* entries into the slow path; a power of two */
#define LIST_MIN 40   /* a shorter list is refilled with never-used blocks */

/* Short lists of a busy class are refilled with never-used blocks, so that the slow path runs more
 * rarely, until a page is extended to this many bytes. */
#define SHORT_REFILL_MAX (16 * KiB)
static inline bool page_refills_short_lists(page_t* page) {
  return page_has_flag(page, PAGE_BUSY) && page->capacity < page->reserved &&
         (page->capacity + (size_t)1) * page->block_size <= SHORT_REFILL_MAX;
}

/* In a class above SMALL_MAX so many never-used blocks follow the extension of a page one by one,
 * before the heap searches again. They are in no list, so none is touched before it is allocated.
 * Many if the heap has no other page to search. Else a few, if many bytes were taken from the class
 * and the memory was used before: there it costs no page fault to take them before the free blocks
 * of other pages. */
#define AHEAD_MAX 15
#define AHEAD_SOME 3
#define AHEAD_FROM ((size_t)8 * MiB)
static inline uint8_t blocks_ahead(const queue_t* q) {
  size_t size = q->active->block_size;
  if (MI_SECURE > 0 || size <= SMALL_MAX) return 0;
  if (q->first == NULL) return AHEAD_MAX;
  bool used = !page_has_flag(q->active, PAGE_ZERO);
  return used && load_relaxed(&q->allocated) * size >= AHEAD_FROM ? AHEAD_SOME : 0;
}

/* The next never-used block of the active page; NULL if there is none, or the heap must search. */
static inline void* heap_take_ahead(queue_t* q, page_t* page) {
  size_t capacity = page->capacity;
  if (q->ahead == 0 || capacity == page->reserved || page_has_remote(page)) return NULL;
  q->ahead--;
  page->capacity = (uint16_t)(capacity + 1);
  compiler_fence(); /* a fork must not find a used block above the capacity */
  page_set_used(page, page_used(page) + 1);
  q->list = 0;
  bump_counter(&q->allocated, 1);
  return page_start(page) + capacity * page->block_size;
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
  if (count == 0) return heap_take_ahead(q, page);
  if (unlikely(count < LIST_MIN) && page_refills_short_lists(page)) return NULL;
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
