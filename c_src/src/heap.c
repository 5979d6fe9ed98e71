/* heap.c - the pages that one owner allocates from.
 *
 * Owns:    heap records' slots and queues.
 * Always:  a page that a heap owns is `current` of its class or in its class's queue, never both;
 *          a detached list belongs to the current page of its class.
 * Threads: only the heap's own (the late heap: under its lock).
 * Uses:    page.h, unowned.h.          Used by: thread, alloc, free.
 */
#include "heap.h"

#define QUEUE_PROBES 4

/* ---- queues ---- */

static void queue_push(heap_t* heap, queue_t* q, page_t* page) {
  page->next = NULL;
  page->prev = q->last;
  if (q->last != NULL)
    q->last->next = page;
  else
    q->first = page;
  q->last = page;
  heap->queued_slices += page->slice_count;
}

static void queue_remove(heap_t* heap, queue_t* q, page_t* page) {
  if (page->prev != NULL)
    page->prev->next = page->next;
  else
    q->first = page->next;
  if (page->next != NULL)
    page->next->prev = page->prev;
  else
    q->last = page->prev;
  page->next = page->prev = NULL;
  heap->queued_slices -= page->slice_count;
}

/* ---- giving pages up ---- */

INTERNAL NOINLINE void heap_page_emptied(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page->class];
  mi_assert_internal(page->used == 0);
  if (page == q->current) return; /* kept for the next allocation; heap_trim has an eye on it */
  heap_enter(heap);
  queue_remove(heap, q, page);
  page_release(page);
  heap_leave(heap);
}

INTERNAL void heap_adopt(heap_t* heap, page_t* page, block_t* list) {
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
  page_return_list(page, list);
  mi_assert_internal(page->used > 0);
  queue_push(heap, &heap->queue[page->class], page);
}

/* ---- the generic path ---- */

/* Detaches a list into the heap's slot and pops its first block. */
static void* heap_detach(heap_t* heap, size_t class, queue_t* q, block_t* list, size_t count,
                         bool fresh) {
  q->fresh = fresh;
  bump_counter(&heap->allocations, count);
  heap->slot[class] = list->next;
  return list;
}

/* Takes blocks of the page that is, or becomes, current: its local list, what others freed, or
 * freshly carved ones. NULL if it is full. */
static void* heap_take_from(heap_t* heap, size_t class, queue_t* q, page_t* page) {
  size_t count, carved;
  bool fresh = false;
  q->current = page;
  block_t* list = page->local;
  if (list != NULL) {
    count = page->capacity - page->used;
    page->local = NULL;
    page->used = page->capacity;
    if (count < LIST_MIN && page->capacity < page->topped_up) {
      block_t* more = page_carve(page, &carved);
      if (more != NULL) {
        block_t* last = list;
        while (last->next != NULL) last = last->next;
        last->next = more;
        count += carved;
      }
    }
  } else if ((list = page_take_remote(page, &count)) == NULL) {
    list = page_carve(page, &count);
    fresh = page_has_flag(page, PAGE_ZERO);
  }
  return list == NULL ? NULL : heap_detach(heap, class, q, list, count, fresh);
}

static void* heap_take_other(heap_t* heap, size_t class, queue_t* q) {
  page_t* old = q->current;
  void* block = NULL;
  q->current = NULL;
  /* Pages of our own, oldest first: those that were full when they were put there had the longest
   * time to get blocks back. Full ones are given up, so that whoever frees their blocks can use
   * them without us; the one that has just become full stays for a while. */
  for (int probes = QUEUE_PROBES; block == NULL && q->first != NULL && probes > 0; probes--) {
    page_t* page = q->first;
    queue_remove(heap, q, page);
    block = heap_take_from(heap, class, q, page);
    if (block == NULL) {
      unowned_let_go(page);
    }
  }
  if (block == NULL) {
    block_t* list;
    page_t* page = unowned_claim(class, &list);
    if (page != NULL) {
      store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
      page_return_list(page, list);
      block = heap_take_from(heap, class, q, page);
      if (block == NULL) unowned_let_go(page); /* its bit was stale: full after all */
    }
    if (block == NULL) {
      q->current = NULL;
      page = page_fresh(class, (uintptr_t)heap, old == NULL);
      if (page != NULL) block = heap_take_from(heap, class, q, page);
    }
  }
  if (old != NULL) {
    if (q->current == NULL)
      q->current = old; /* out of memory: everything stays as it was */
    else if (heap_wants(heap, old))
      queue_push(heap, q, old);
    else
      unowned_let_go(old);
  }
  return block;
}

INTERNAL void* heap_alloc_slow(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  mi_assert_internal(heap->slot[class] == NULL);
  page_t* page = q->current;
  if (likely(page != NULL)) {
    void* block = heap_take_from(heap, class, q, page);
    if (likely(block != NULL)) return block;
  }
  return heap_take_other(heap, class, q);
}

#define SHED_PAGES 16 /* at a time */

INTERNAL void heap_shed(heap_t* heap) {
  if (heap->queued_slices <= QUEUED_MAX || os_is_single_threaded()) return;
  int pages = SHED_PAGES;
  for (size_t class = 0; class < CLASS_COUNT && pages > 0; class ++) {
    queue_t* q = &heap->queue[class];
    for (page_t* page; pages > 0 && heap->queued_slices > QUEUED_MAX && (page = q->first) != NULL;
         pages--) {
      queue_remove(heap, q, page);
      unowned_let_go(page);
    }
  }
}

/* ---- collecting ---- */

static void heap_return_list(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  block_t* list = heap->slot[class];
  if (list != NULL) {
    size_t before = q->current->used;
    heap->slot[class] = NULL;
    page_return_list(q->current, list);
    store_relaxed(&heap->allocations,
                  load_relaxed(&heap->allocations) - (before - q->current->used));
  }
}

INTERNAL void heap_return_lists(heap_t* heap) {
  for (size_t class = 0; class < CLASS_COUNT; class ++) heap_return_list(heap, class);
}

static void heap_collect_page(heap_t* heap, queue_t* q, page_t* page) {
  size_t count;
  page_return_list(page, page_take_remote(page, &count));
  if (page->used != 0) return;
  if (page == q->current)
    q->current = NULL;
  else
    queue_remove(heap, q, page);
  page_release(page);
}

INTERNAL void heap_collect(heap_t* heap) {
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    queue_t* q = &heap->queue[class];
    heap_return_list(heap, class);
    if (q->current != NULL) heap_collect_page(heap, q, q->current);
    for (page_t *page = q->first, *next; page != NULL; page = next) {
      next = page->next;
      heap_collect_page(heap, q, page);
    }
  }
}

INTERNAL void heap_trim_class(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  page_t* page = q->current;
  if (heap->slot[class] != NULL) {
    /* A list in use is not worth the walk: only one that was not touched since the last time. */
    if (q->trim_mark != (uint32_t)(uintptr_t)heap->slot[class]) {
      q->trim_mark = (uint32_t)(uintptr_t)heap->slot[class];
      return;
    }
    heap_return_list(heap, class);
  }
  heap_collect_page(heap, q, page);
}

static void page_recount(page_t* page) {
  size_t n = 0;
  for (block_t* b = page->local; b != NULL; b = b->next) n++;
  page->used = (uint32_t)(page->capacity - n);
}

INTERNAL void heap_recount(heap_t* heap) {
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    queue_t* q = &heap->queue[class];
    if (q->current != NULL) page_recount(q->current);
    for (page_t* page = q->first; page != NULL; page = page->next) page_recount(page);
  }
}

INTERNAL void heap_abandon(heap_t* heap) {
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    queue_t* q = &heap->queue[class];
    heap_return_list(heap, class);
    page_t* page = q->current;
    q->current = NULL;
    if (page != NULL) unowned_let_go(page);
    while ((page = q->first) != NULL) {
      queue_remove(heap, q, page);
      unowned_let_go(page);
    }
  }
}

#if MI_DEBUG >= 2
INTERNAL bool heap_owns_nothing(const heap_t* heap) {
  for (size_t class = 0; class < CLASS_COUNT; class ++)
    if (heap->slot[class] != NULL || heap->queue[class].current != NULL ||
        heap->queue[class].first != NULL)
      return false;
  return true;
}
#endif
