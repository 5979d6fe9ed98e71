/* page_queue.c - see page_queue.h.
 *
 * Owns:    the partial lists of each heap.
 * Always:  a page that a heap owns is the active page of its class or in its class's partial list,
 *          never both.
 * Threads: the heap's own; for the fallback heap, the thread that holds its lock.
 */
#include "page_queue.h"
#include "../base/list.h"
#include "../page/holes.h"

static void count_in(heap_t* heap, const page_t* page) {
  heap->queued_slices += page_slices(page);
  heap->keep.bytes += page_charge(heap, page, 0);
}

INTERNAL void queue_push(heap_t* heap, queue_t* q, page_t* page) {
  mi_assert_internal(page_in_holes(page) == 0);
  if (!heap_keeps_all(heap)) page_watch(page); /* else it keeps its sparse pages */
  LIST_PUSH_BACK(q, page, next, prev);
  count_in(heap, page);
}

INTERNAL void queue_push_front(heap_t* heap, queue_t* q, page_t* page) {
  LIST_PUSH_FRONT(q, page, next, prev);
  count_in(heap, page);
}

INTERNAL void queue_remove(heap_t* heap, queue_t* q, page_t* page) {
  if (heap->keep.sweep_page == page) heap->keep.sweep_page = page->next;
  if (heap->keep.sparse == page) heap->keep.sparse = NULL;
  page_set_bias(page, 0);
  LIST_REMOVE(q, page, next, prev);
  size_t before = heap->queued_slices;
  heap->queued_slices = before - page_slices(page);
  /* Frees since the push have changed the charge, so the average goes; see sweep in keep.c. */
  heap->keep.bytes -= heap->keep.bytes * page_slices(page) / before;
}

INTERNAL page_t* queue_fullest(const queue_t* q) {
  page_t* best = NULL;
  size_t probes = QUEUE_PROBES;
  for (page_t* page = q->first; page != NULL && probes > 0; page = page->next, probes--)
    if (page->capacity - page_used(page) >= page_claimable_count(page) &&
        (best == NULL || page_used(page) > page_used(best)))
      best = page;
  return best;
}

INTERNAL void heap_mark_class(heap_t* heap, size_t cls) {
  heap->classes[cls / 64] |= UINT64_C(1) << (cls % 64);
}

INTERNAL void mark_full(heap_t* heap, page_t* page, bool full) {
  page_set_flag(page, PAGE_FULL, full);
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
}

INTERNAL void queue_push_full(heap_t* heap, queue_t* q, page_t* page) {
  mark_full(heap, page, true);
  queue_push(heap, q, page);
}

INTERNAL void heap_page_not_full(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page_class(page)];
  mi_assert_internal(page != q->active);
  mark_full(heap, page, false);
  queue_remove(heap, q, page);
  queue_push_front(heap, q, page);
}

INTERNAL void heap_adopt(heap_t* heap, page_t* page) {
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
  heap->keep.claimed += page->capacity - page_used(page);
  holes_fill(page);
  mi_assert_internal(page_used(page) > 0);
  size_t cls = page_class(page);
  heap_mark_class(heap, cls);
  queue_push(heap, &heap->queue[cls], page);
}
