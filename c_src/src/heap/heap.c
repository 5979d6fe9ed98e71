/* heap.c - see heap.h.
 *
 * Threads: only the heap's own (for the fallback heap, the thread that holds its lock). Other
 *          threads read the owner words of its pages, `backing`, and the atomic fields of queues
 *          for statistics.
 */
#include "heap.h"
#include "../page/abandoned.h"
#include "heap_refill.h"
#include "page_queue.h"

INTERNAL void heap_release_excess_to(heap_t* heap, size_t slices) {
  if (heap->is_first_class) return;
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    for (page_t* page; (page = q->first) != NULL && heap->queued_slices > slices;) {
      queue_remove(heap, q, page);
      abandon_page(page);
    }
  }
}

/* ---- collecting ---- */

INTERNAL void heap_truncate_list(heap_t* heap, size_t cls, size_t keep) {
  queue_t* q = &heap->queue[cls];
  block_t *list = heap->free_list[cls], *last = NULL;
  for (; keep > 0 && list != NULL; keep--) {
    last = list;
    list = block_next(q->active, list);
  }
  if (list == NULL) return;
  page_set_bias(q->active, 0);
  size_t before = page_used(q->active);
  if (last == NULL)
    heap->free_list[cls] = NULL;
  else
    block_relink(q->active, last, NULL);
  if ((q->list & LIST_EXTENDED) != 0)
    page_unextend(q->active, list);
  else
    page_return_list(q->active, list, page_list_length(q->active, list));
  size_t back = before - page_used(q->active);
  store_relaxed(&q->allocated, load_relaxed(&q->allocated) - back);
}
static void heap_return_list(heap_t* heap, size_t cls) { heap_truncate_list(heap, cls, 0); }

INTERNAL void heap_return_lists(heap_t* heap) {
  FOR_CLASSES(heap, cls) heap_return_list(heap, cls);
}

INTERNAL void heap_collect_page(heap_t* heap, queue_t* q, page_t* page) {
  page_reclaim(page);
  if (page_live(page) != 0) {
    if (page != q->active && !heap_keeps_all(heap)) page_watch(page);
    if (page_has_flag(page, PAGE_FULL) && page_free_count(page) >= page_claimable_count(page))
      heap_page_not_full(heap, page);
    return;
  }
  if (page == q->active)
    q->active = NULL;
  else
    queue_remove(heap, q, page);
  page_release(page);
}

INTERNAL void heap_collect(heap_t* heap) {
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    heap_return_list(heap, cls);
    if (q->active != NULL) heap_collect_page(heap, q, q->active);
    for (page_t *page = q->first, *next; page != NULL; page = next) {
      next = page->next;
      heap_collect_page(heap, q, page);
    }
  }
}

INTERNAL void heap_rest(heap_t* heap) {
  heap_collect(heap);
  FOR_CLASSES(heap, cls) {
    page_t* page = heap->queue[cls].active;
    heap->queue[cls].active = NULL;
    if (page != NULL) abandon_page(page);
  }
  heap_release_excess_to(heap, 0);
}

/* ---- sparse pages ---- */

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
  if (page == NULL || page->capacity * page->block_size < 4 * page_unit(page) ||
      page_live(page) > PAGE_UNITS + active_list_length(heap, cls))
    return;
  heap_return_list(heap, cls);
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

/* While the process has a single thread its pages stay with their heap: an abandoned page makes
 * each free in it slower, and the thread itself can make the holes when it is asked to. So do the
 * pages of a heap that keeps all. */
static void heap_page_sparse(heap_t* heap, queue_t* q, page_t* page) {
  queue_remove(heap, q, page);
  if (os_is_single_threaded() || heap_keeps_all(heap)) {
    queue_push(heap, q, page);
    return;
  }
  size_t cls = page_class(page);
  abandon_page(page);
  if (heap_active_may_be_sparse(heap, cls)) heap_abandon_sparse_active(heap, cls);
}

/* The active free list counts as used. When it is made of never-used blocks, heap_refill sets the
 * bias to its length: the countdown ends when as many blocks were freed as were live then. If more
 * were allocated from the list meanwhile, it starts again with what is left of the list, a few
 * times for each list. Other lists are not watched.
 *
 * An empty page is released, because a thread that sleeps has no trims. If the class needs a page
 * again, then the next empty one is kept, after that one of four, of eight, and so on: a thread
 * that empties its page again and again keeps it. */
#define KEEPS_MAX 127
static void active_page_counted_down(heap_t* heap, queue_t* q, page_t* page) {
  size_t cls = page_class(page);
  page_set_bias(page, 0);
  q->looks--;
  if (!MI_HOLES || (heap->free_list[cls] != NULL && (q->list & LIST_EXTENDED) == 0)) return;
  size_t rest = active_list_length(heap, cls);
  if (page_live(page) > rest) {
    page_set_bias(page, rest);
  } else if (q->keeps > 0) {
    q->keeps--;
    q->looks = 0;
  } else {
    q->keeps = q->keeps_next;
    q->keeps_next = (uint8_t)min_size(q->keeps_next * 2u + 1, KEEPS_MAX);
    heap_return_list(heap, cls);
    q->active = NULL;
    page_release(page);
  }
}

static NOINLINE void counted_down(heap_t* heap, queue_t* q, page_t* page) {
  heap_enter(heap);
  heap->keep.by_owner += page->capacity - page_used(page);
  if (page == q->active) {
    active_page_counted_down(heap, q, page);
  } else if (page_used(page) != 0) {
    heap_page_sparse(heap, q, page);
  } else {
    queue_remove(heap, q, page);
    page_release(page);
  }
  heap_leave(heap);
}

/* Two functions, so that the common case saves no registers. */
INTERNAL NOINLINE void heap_page_counted_down(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page_class(page)];
  if (page != q->active || q->looks > 0) counted_down(heap, q, page); /* else kept */
}

/* ---- trimming ---- */

INTERNAL void heap_trim_class(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  set_refill_if_busy(q);
  if (heap->free_list[cls] != NULL) {
    /* Only a list that was not used since the last trim is returned: the walk over it is slow. */
    if (q->trim_mark != (uint32_t)(uintptr_t)heap->free_list[cls]) {
      q->trim_mark = (uint32_t)(uintptr_t)heap->free_list[cls];
      return;
    }
    heap_return_list(heap, cls);
  }
  heap_collect_page(heap, q, page);
}

/* Gives a page that is in no list to the heap `to`, or abandons it with `id` as owner word. */
static void heap_give_page(page_t* page, uintptr_t id, heap_t* to) {
  page_set_flag(page, PAGE_FULL, false);
  page_settle(page);
  page_reclaim(page);
  if (page_live(page) == 0) {
    page_release(page);
  } else if (to != NULL && page_free_count(page) > 0 && page_in_holes(page) == 0 &&
             heap_may_adopt(to, page)) {
    store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)to));
    heap_mark_class(to, page_class(page));
    queue_push(to, &to->queue[page_class(page)], page);
  } else {
    store_relaxed(&page->owner, id);
    abandon_page(page);
  }
}

INTERNAL bool heap_abandon_some(heap_t* heap, heap_t* to, size_t* pages) {
  /* Not this heap's own id: its heap struct may soon be another heap. */
  uintptr_t id = (to != NULL ? (uintptr_t)to : OWNER_TAG(heap->tag)) | OWNER_ABANDONED;
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    page_t* page = q->active;
    if (page != NULL) {
      page_settle(page);
      heap_return_list(heap, cls);
      q->active = NULL;
      heap_give_page(page, id, to);
    }
    for (; (page = q->first) != NULL; (*pages)--) {
      if (*pages == 0) return false;
      queue_remove(heap, q, page);
      heap_give_page(page, id, to);
    }
  }
  return true;
}

INTERNAL void heap_abandon(heap_t* heap, heap_t* to) {
  size_t pages = SIZE_MAX;
  (void)heap_abandon_some(heap, to, &pages);
}

/* Drops the blocks that other threads have pushed: they are freed with the page. */
static void release_with_blocks(page_t* page) {
  size_t count;
  (void)page_take_remote(page, &count);
  page_release_full(page);
}

INTERNAL void heap_release_pages(heap_t* heap) {
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    heap->free_list[cls] = NULL;
    page_t* page = q->active;
    q->active = NULL;
    if (page != NULL) release_with_blocks(page);
    while ((page = q->first) != NULL) {
      queue_remove(heap, q, page);
      release_with_blocks(page);
    }
  }
}

#if MI_DEBUG >= 2
INTERNAL bool heap_owns_nothing(const heap_t* heap) {
  for (size_t cls = 0; cls < CLASS_COUNT; cls++)
    if (heap->free_list[cls] != NULL || heap->queue[cls].active != NULL ||
        heap->queue[cls].first != NULL)
      return false;
  return true;
}
#endif
