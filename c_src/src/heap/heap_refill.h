/* heap_refill.h - refills the active free list of a class when malloc finds it empty. */
#ifndef MI_HEAP_REFILL_H
#define MI_HEAP_REFILL_H

#include "heap_types.h"

/* Refills an empty active free list and pops a block. NULL without a report if there is no memory.
 */
INTERNAL void* heap_refill(heap_t* heap, size_t cls);

#define TICK_EVERY 32 /* entries into the slow path; a power of two */
#define LIST_MIN 40   /* a shorter list is refilled with never-used blocks */

/* The shortest way: adopts the local list of the active page. NULL if the list is empty or too
 * short, or if a tick is due. */
static inline void* heap_take_local(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  /* The page is tested first: heap_empty and heap_ended have none, and are never written to. */
  if (unlikely(page == NULL || (++heap->heartbeat & heap->tick_mask) == 0)) return NULL;
  if (states_order_is_old(page)) return NULL;
  /* The active page is not watched, so its countdown is page_used. */
  uint32_t capacity = page->capacity, count = capacity - load_relaxed(&page->countdown);
  if (unlikely(count < LIST_MIN) && (count == 0 || capacity < page->refill_to)) return NULL;
  block_t* list = page->local;
  page->local = NULL;
  compiler_fence(); /* a fork must not find the blocks in both lists */
  store_relaxed(&page->countdown, capacity);
  q->list = 0;
  bump_counter(&q->allocated, count);
  compiler_fence(); /* a fork must not find the new list with the old list's LIST_ bits */
  return heap_allocate(heap, cls, list);
}

INTERNAL void set_refill_if_busy(queue_t* q);

#endif
