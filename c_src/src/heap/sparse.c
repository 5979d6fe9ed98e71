/* sparse.c - see sparse.h.
 *
 * Owns:    the biases of the pages of a heap; which empty active pages are kept.
 * Threads: the heap's own; for the fallback heap, the thread that holds its lock.
 */
#include "sparse.h"
#include "../page/abandoned.h"
#include "heap.h"
#include "keep.h"
#include "page_queue.h"

/* The free blocks of the active free list, without a walk if it is never-used blocks. */
static size_t active_list_length(const heap_t* heap, size_t cls) {
  const queue_t* q = &heap->queue[cls];
  const block_t* list = heap->free_list[cls];
  if (list == NULL || (q->list & LIST_EXTENDED) == 0) return page_list_length(q->active, list);
  return q->active->capacity -
         (size_t)((char*)list - page_start(q->active)) / q->active->block_size;
}

INTERNAL void heap_abandon_sparse_active(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  if (page == NULL || heap_keeps_all(heap)) return;
  if (page->capacity * page->block_size < 4 * page_unit(page) ||
      page_live(page) > PAGE_UNITS + active_list_length(heap, cls))
    return;
  heap_truncate_list(heap, cls, 0);
  if (!page_is_sparse(page)) return;
  q->active = NULL;
  abandon_page(page);
}

INTERNAL void heap_abandon_sparse(heap_t* heap) {
  if (!MI_HOLES || heap_keeps_all(heap)) return;
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    heap_abandon_sparse_active(heap, cls);
    for (page_t *page = q->first, *next; page != NULL; page = next) {
      next = page->next;
      if (!page_is_sparse(page)) continue;
      queue_remove(heap, q, page);
      abandon_page(page);
    }
  }
}

INTERNAL void heap_trim_sparse(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->last;
  if (!MI_HOLES || page == NULL || os_is_single_threaded() || !page_is_sparse(page)) return;
  queue_remove(heap, q, page);
  abandon_page(page);
}

/* Counts what was freed in the page, because a thread that only frees has no ticks. */
static void heap_page_halved(heap_t* heap, queue_t* q, page_t* page) {
  heap->keep.bytes += page_used(page) * page->block_size; /* as much was freed */
  if (heap_wants(heap)) {
    page_watch(page);
    return;
  }
  queue_remove(heap, q, page);
  abandon_page(page);
}

/* The page that became sparse before this one is abandoned. So a thread that frees its blocks in
 * order empties each page before the next becomes sparse, and no free in it is slow.
 *
 * While the process has a single thread its pages stay with their heap: an abandoned page makes
 * each free in it slower, and the thread itself can make the holes when it is asked to. So do the
 * pages of a heap that keeps all. */
static void heap_page_sparse(heap_t* heap, page_t* page) {
  page_set_bias(page, 0);
  if (os_is_single_threaded() || heap_keeps_all(heap)) return;
  page_t* before = heap->keep.sparse;
  heap->keep.sparse = page;
  if (before == NULL) return;
  size_t cls = page_class(before);
  queue_remove(heap, &heap->queue[cls], before);
  abandon_page(before);
  if (heap_active_may_be_sparse(heap, cls)) heap_abandon_sparse_active(heap, cls);
}

/* The active free list counts as used. When it is made of never-used blocks, heap_refill sets the
 * bias to its length: the countdown ends when as many blocks were freed as were live then. If more
 * were allocated from the list meanwhile, it starts again with what is left of the list, a few
 * times for each list. Other lists are not watched.
 *
 * An empty page is released, because a thread that sleeps has no trims. If the class needs a page
 * again, then the next empty one is kept, after that one of four, of eight, and so on: a thread
 * that empties its page again and again keeps it. Pages of several slices, which have 10 MiB
 * together, only within the allowance of keep.h. */
#define KEEPS_MAX 127
static bool may_keep_empty(heap_t* heap, queue_t* q, const page_t* page) {
  size_t slices = page_slices(page);
  if (slices == 1 || q->may_keep) return true;
  if (heap->keep.empty + slices > keep_empty_max()) return false;
  heap->keep.empty += (uint32_t)slices;
  q->may_keep = 1;
  return true;
}

static void active_page_counted_down(heap_t* heap, queue_t* q, page_t* page) {
  size_t cls = page_class(page);
  page_set_bias(page, 0);
  q->looks--;
  if (!MI_RELEASES_EMPTY || (heap->free_list[cls] != NULL && (q->list & LIST_EXTENDED) == 0))
    return;
  size_t rest = active_list_length(heap, cls);
  if (page_live(page) > rest) {
    page_set_bias(page, rest);
  } else if (q->keeps > 0 && may_keep_empty(heap, q, page)) {
    q->keeps--;
    q->looks = 0;
  } else {
    q->keeps = q->keeps_next;
    q->keeps_next = (uint8_t)min_size(q->keeps_next * 2u + 1, KEEPS_MAX) & KEEPS_MAX;
    heap_truncate_list(heap, cls, 0);
    heap_active_released(heap, q, page);
    q->active = NULL;
    page_release(page);
  }
}

#define TICK_EVERY_PAGES 8

/* A thread that only frees has no ticks. Other threads may have emptied its pages meanwhile. */
static void look_after_others(heap_t* heap) {
  if (++heap->keep.events % TICK_EVERY_PAGES == 0 && !os_is_single_threaded()) keep_tick(heap);
}

static NOINLINE void counted_down(heap_t* heap, queue_t* q, page_t* page) {
  heap_enter(heap);
  heap->keep.by_owner += page->capacity - page_used(page);
  if (page == q->active) {
    active_page_counted_down(heap, q, page);
  } else if (page_used(page) > sparse_max(page->reserved)) {
    heap_page_halved(heap, q, page);
  } else if (page_used(page) != 0) {
    heap_page_sparse(heap, page);
  } else {
    queue_remove(heap, q, page);
    page_release(page);
  }
  look_after_others(heap);
  heap_leave(heap);
}

/* Two functions, so that the common case saves no registers. */
INTERNAL NOINLINE void heap_page_counted_down(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page_class(page)];
  if (page != q->active || q->looks > 0) counted_down(heap, q, page); /* else kept */
}
