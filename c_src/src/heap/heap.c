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
  if (heap_keeps_all(heap)) return;
  FOR_CLASSES(heap, cls) {
    queue_t* q = &heap->queue[cls];
    for (page_t* page; (page = q->first) != NULL && heap->queued_slices > slices;) {
      queue_remove(heap, q, page);
      abandon_page(page);
    }
  }
}

/* ---- collecting ---- */

/* Puts back the rest of an active free list; the number of blocks. */
static size_t return_blocks(const queue_t* q, page_t* page, block_t* list) {
  size_t count = 0;
  if (q->active == NULL || (q->list & LIST_GATHERED) != 0) {
    for (block_t* next; list != NULL; list = next, count++) {
      next = block_next(page, list);
      (void)remote_free(map_page_checked(list), list, false);
    }
    return count;
  }
  page_set_bias(page, 0);
  size_t before = page_used(page);
  if ((q->list & LIST_EXTENDED) != 0)
    page_unextend(page, list);
  else
    page_return_list(page, list, page_list_length(page, list));
  return before - page_used(page);
}

INTERNAL void heap_truncate_list(heap_t* heap, size_t cls, size_t keep) {
  queue_t* q = &heap->queue[cls];
  block_t *list = heap->free_list[cls], *last = NULL;
  if (list == NULL) return;
  page_t* page = q->active != NULL ? q->active : map_page_checked(list);
  for (; keep > 0 && list != NULL; keep--) {
    last = list;
    list = block_next(page, list);
  }
  if (list == NULL) return;
  if (last == NULL)
    heap->free_list[cls] = NULL;
  else
    block_relink(page, last, NULL);
  size_t back = return_blocks(q, page, list);
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
  if (page == q->active) {
    q->active = NULL;
    heap_active_released(heap, q, page);
  } else {
    queue_remove(heap, q, page);
  }
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

/* ---- trimming ---- */

INTERNAL void heap_trim_class(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  if (page != NULL) set_refill_if_busy(q);
  if (heap->free_list[cls] != NULL) {
    /* Only a list that was not used since the last trim is returned: the walk over it is slow. */
    if (q->trim_mark != (uint32_t)(uintptr_t)heap->free_list[cls]) {
      q->trim_mark = (uint32_t)(uintptr_t)heap->free_list[cls];
      return;
    }
    heap_return_list(heap, cls);
  }
  if (page != NULL) heap_collect_page(heap, q, page);
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
    if (page != NULL) page_settle(page);
    heap_return_list(heap, cls);
    if (page != NULL) {
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
