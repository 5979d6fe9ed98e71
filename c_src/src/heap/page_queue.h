/* page_queue.h - the partial list: the pages of one class that a heap owns beside the active one.
 */
#pragma once

#include "heap_types.h"

/* The page's part of heap->keep.bytes, see keep.h; `remote`: free blocks that the owner has not
 * taken yet. */
static inline size_t page_charge(const heap_t* heap, const page_t* page, size_t remote) {
  size_t used = page_used(page) - remote, free = page->capacity - used;
  free -= min_size(free, page->capacity / 8u);
  return (free * SHARE_ONE + used * heap->keep.share) / SHARE_ONE * page->block_size;
}

/* Adds the page at the end of the list, or at its front; or removes it. */
INTERNAL void queue_push(heap_t* heap, queue_t* q, page_t* page);
INTERNAL void queue_push_front(heap_t* heap, queue_t* q, page_t* page);
INTERNAL void queue_remove(heap_t* heap, queue_t* q, page_t* page);
/* Moves the pages before `first`, which is not the first one, to the end. */
static inline void queue_rotate(queue_t* q, page_t* first) {
  q->last->next = q->first;
  q->first->prev = q->last;
  q->last = first->prev;
  q->last->next = NULL;
  q->first = first;
  first->prev = NULL;
}

/* Of the first QUEUE_PROBES pages, the one with the most blocks in use that still has enough free
 * ones to be worth the switch. So the others may become empty. NULL if no page has enough. */
INTERNAL page_t* queue_fullest(const queue_t* q);
#define QUEUE_PROBES 4

/* Records that the class has got a page in the heap. */
INTERNAL void heap_mark_class(heap_t* heap, size_t cls);

/* Full pages of first-class heaps stay at the end of their partial list. They leave that state when
 * the owner has freed enough blocks in them, or when a search or a trim finds blocks that other
 * threads freed. mark_full sets or clears the state. */
INTERNAL void mark_full(heap_t* heap, page_t* page, bool full);
INTERNAL void queue_push_full(heap_t* heap, queue_t* q, page_t* page);
/* Adopts a page that a free of this heap has claimed. */
INTERNAL void heap_adopt(heap_t* heap, page_t* page);
/* Moves a page of a first-class heap that is no longer full to the front of its list. */
INTERNAL void heap_page_not_full(heap_t* heap, page_t* page);
