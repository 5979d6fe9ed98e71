/* heap.c - the pages that one owner allocates from.
 *
 * Owns:    heap records' slots and queues.
 * Always:  a page that a heap owns is `current` of its class or in its class's queue, never both;
 *          a detached list belongs to the current page of its class.
 * Threads: only the heap's own (the late heap: under its lock). Other threads look at the owner
 *          words of its pages, at `backing`, and at what is atomic in queues, for statistics.
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
  heap->queued_slices += page_slices(page);
}

static void queue_push_front(heap_t* heap, queue_t* q, page_t* page) {
  page->prev = NULL;
  page->next = q->first;
  if (q->first != NULL)
    q->first->prev = page;
  else
    q->last = page;
  q->first = page;
  heap->queued_slices += page_slices(page);
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
  heap->queued_slices -= page_slices(page);
}

/* Of the first few pages that have free blocks enough to be worth the change, the one with the most
 * in use, so that the others may become empty. NULL: none has. */
static page_t* queue_fullest(const queue_t* q) {
  page_t* best = NULL;
  size_t probes = QUEUE_PROBES;
  for (page_t* page = q->first; page != NULL && probes > 0; page = page->next, probes--)
    if (page->capacity - page_used(page) >= page_claimable_count(page) &&
        (best == NULL || page_used(page) > page_used(best)))
      best = page;
  return best;
}

static void heap_mark_class(heap_t* heap, size_t class) {
  heap->classes[class / 64] |= UINT64_C(1) << (class % 64);
}

/* ---- full pages of first-class heaps ---- */

/* They stay with the heap, at the end of their queue, and wait there until their owner has
 * freed enough in them, or until a search or a trim comes by and finds what others have freed. */
static void mark_full(heap_t* heap, page_t* page, bool full) {
  page_set_flag(page, PAGE_FULL, full);
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
}

static void queue_push_full(heap_t* heap, queue_t* q, page_t* page) {
  mark_full(heap, page, true);
  queue_push(heap, q, page);
}

INTERNAL void heap_page_not_full(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page_class(page)];
  mi_assert_internal(page != q->current);
  mark_full(heap, page, false);
  queue_remove(heap, q, page);
  queue_push_front(heap, q, page);
}

/* ---- giving pages up ---- */

INTERNAL NOINLINE void heap_page_emptied(heap_t* heap, page_t* page) {
  queue_t* q = &heap->queue[page_class(page)];
  mi_assert_internal(page_used(page) == 0);
  if (page == q->current) return; /* kept for the next allocation; heap_trim has an eye on it */
  heap_enter(heap);
  queue_remove(heap, q, page);
  page_release(page);
  heap_leave(heap);
}

INTERNAL void heap_adopt(heap_t* heap, page_t* page) {
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
  mi_assert_internal(page_used(page) > 0);
  size_t class = page_class(page);
  heap_mark_class(heap, class);
  queue_push(heap, &heap->queue[class], page);
}

/* ---- the generic path ---- */

/* Detaches a list into the heap's slot and pops its first block. */
static void* heap_detach(heap_t* heap, size_t class, queue_t* q, block_t* list, size_t count,
                         uint8_t kind) {
  q->list = kind;
  bump_counter(&q->detached, count);
  return heap_hand_out(heap, class, list);
}

/* Short lists of a busy class are topped up with carved blocks, so that the generic path is entered
 * more rarely; but a page is not carved beyond this only for that, bytes. A class from which fewer
 * blocks were taken so far is not worth the memory. */
#define TOP_UP_MAX (16 * KiB)
#define BUSY_BLOCKS 8192
static void top_up_if_busy(queue_t* q) {
  page_t* page = q->current;
  if (page->topped_up == 0 && load_relaxed(&q->detached) >= BUSY_BLOCKS)
    page->topped_up = (uint32_t)min_size(page->reserved, TOP_UP_MAX / page->block_size);
}

/* Takes blocks of the page that is, or becomes, current: its local list, what others freed, or,
 * with `carve`, fresh ones. NULL if there are none. */
static void* heap_take_from(heap_t* heap, size_t class, queue_t* q, page_t* page, bool carve) {
  size_t count, carved;
  uint8_t kind = 0;
  q->current = page;
  top_up_if_busy(q);
  if (secure_order_is_old(page)) page_shuffle(page);
  block_t* list = page->local;
  if (list != NULL) {
    count = page->capacity - page_used(page);
    page->local = NULL;
    page_set_used(page, page->capacity);
    if (count < LIST_MIN && page->capacity < page->topped_up) {
      block_t* more = page_carve(page, &carved);
      if (more != NULL) {
        page_append(page, list, more);
        count += carved;
      }
    }
  } else if ((list = page_take_remote(page, &count)) == NULL && carve) {
    list = page_carve(page, &count);
    kind = (uint8_t)((SECURE_ORDER ? 0 : LIST_CARVED) |
                     (page_has_flag(page, PAGE_ZERO) ? LIST_ZERO : 0));
  }
  return list == NULL ? NULL : heap_detach(heap, class, q, list, count, kind);
}

/* Tries up to `probes` pages of the queue: the fullest of the first ones, else oldest first, for
 * those that were full when they were put there had the longest time to get blocks back. Full ones
 * are given up, so that whoever frees their blocks can use them without us, or go to the end if the
 * heap keeps its pages. */
static void* heap_take_queued(heap_t* heap, size_t class, queue_t* q, size_t probes) {
  page_t* last = q->last;
  for (page_t* page = NULL; page != last && q->first != NULL && probes > 0; probes--) {
    page = queue_fullest(q);
    if (page == NULL) page = q->first;
    queue_remove(heap, q, page);
    void* block = heap_take_from(heap, class, q, page, true);
    if (block != NULL) {
      if (page_has_flag(page, PAGE_FULL)) mark_full(heap, page, false);
      return block;
    }
    if (heap->keeps)
      queue_push_full(heap, q, page);
    else
      unowned_let_go(page);
  }
  return NULL;
}

/* Claims a page that nobody owns. */
static void* heap_take_unowned(heap_t* heap, size_t class, queue_t* q) {
  page_t* page = unowned_claim(class);
  if (page == NULL) return NULL;
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
  void* block = heap_take_from(heap, class, q, page, true);
  if (block == NULL) unowned_let_go(page); /* its bit was stale: full after all */
  return block;
}

static void* heap_take_other(heap_t* heap, size_t class, queue_t* q) {
  heap_mark_class(heap, class);
  page_t* old = q->current;
  q->current = NULL;
  void* block = heap_take_queued(heap, class, q, QUEUE_PROBES);
  if (block == NULL && !heap->keeps) block = heap_take_unowned(heap, class, q);
  if (block == NULL) {
    q->current = NULL;
    page_t* page = page_fresh(heap->place, class, (uintptr_t)heap, old == NULL);
    if (page != NULL)
      block = heap_take_from(heap, class, q, page, true);
    else /* out of memory: then all that we have */
      block = heap_take_queued(heap, class, q, SIZE_MAX);
    if (block == NULL) q->current = NULL;
  }
  if (old != NULL) {
    if (q->current == NULL)
      q->current = old; /* everything stays as it was */
    else if (heap->keeps)
      queue_push_full(heap, q, old);
    else if (heap_wants(heap, old))
      queue_push(heap, q, old);
    else
      unowned_let_go(old);
  }
  return block;
}

/* Before fresh memory is touched. */
static void* heap_take_instead(heap_t* heap, size_t class, queue_t* q) {
  page_t* old = q->current;
  page_t* page = queue_fullest(q);
  if (page == NULL || old->capacity == old->reserved) return NULL;
  queue_remove(heap, q, page);
  if (page_has_flag(page, PAGE_FULL)) mark_full(heap, page, false);
  queue_push(heap, q, old);
  return heap_take_from(heap, class, q, page, false);
}

INTERNAL void* heap_alloc_slow(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  mi_assert_internal(heap->slot[class] == NULL);
  page_t* page = q->current;
  if (likely(page != NULL)) {
    void* block = heap_take_from(heap, class, q, page, false);
    if (likely(block != NULL)) return block;
    block = heap_take_instead(heap, class, q);
    if (block == NULL) block = heap_take_from(heap, class, q, page, true);
    if (likely(block != NULL)) return block;
  }
  return heap_take_other(heap, class, q);
}

#define SHED_PAGES 16 /* at a time */

/* Lets up to `pages` queued pages go while more than `slices` are queued. */
static void shed(heap_t* heap, size_t slices, size_t pages) {
  FOR_CLASSES(heap, class) {
    queue_t* q = &heap->queue[class];
    for (page_t* page; (page = q->first) != NULL; pages--) {
      if (pages == 0 || heap->queued_slices <= slices) return;
      queue_remove(heap, q, page);
      unowned_let_go(page);
    }
  }
}

INTERNAL void heap_shed(heap_t* heap) {
  heap->queued_max = max_size(QUEUED_MIN, arena_slices_in_use() / 2);
  if (heap->queued_slices > heap->queued_max && !heap->keeps && !os_is_single_threaded())
    shed(heap, heap->queued_max, SHED_PAGES);
}

INTERNAL void heap_shed_to(heap_t* heap, size_t slices) {
  if (!heap->keeps) shed(heap, slices, SIZE_MAX);
}

/* ---- collecting ---- */

INTERNAL void heap_cut_list(heap_t* heap, size_t class, size_t keep) {
  queue_t* q = &heap->queue[class];
  block_t *list = heap->slot[class], *last = NULL;
  for (; keep > 0 && list != NULL; keep--) {
    last = list;
    list = block_next(q->current, list);
  }
  if (list == NULL) return;
  size_t before = page_used(q->current);
  if (last == NULL)
    heap->slot[class] = NULL;
  else
    block_relink(q->current, last, NULL);
  if ((q->list & LIST_CARVED) != 0)
    page_uncarve(q->current, list);
  else
    page_return_list(q->current, list, page_list_length(q->current, list));
  size_t back = before - page_used(q->current);
  store_relaxed(&q->detached, load_relaxed(&q->detached) - back);
}
static void heap_return_list(heap_t* heap, size_t class) { heap_cut_list(heap, class, 0); }

INTERNAL void heap_return_lists(heap_t* heap) {
  FOR_CLASSES(heap, class) heap_return_list(heap, class);
}

static void heap_collect_page(heap_t* heap, queue_t* q, page_t* page) {
  page_take_back(page);
  if (page_used(page) != 0) {
    if (page_has_flag(page, PAGE_FULL) && page_free_count(page) >= page_claimable_count(page))
      heap_page_not_full(heap, page);
    return;
  }
  if (page == q->current)
    q->current = NULL;
  else
    queue_remove(heap, q, page);
  page_release(page);
}

INTERNAL void heap_collect(heap_t* heap) {
  FOR_CLASSES(heap, class) {
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
  top_up_if_busy(q);
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

/* A page in no queue any more goes to `to`, or to nobody; `name` is what it is called then. */
static void heap_give_page(page_t* page, uintptr_t name, heap_t* to) {
  page_set_flag(page, PAGE_FULL, false);
  page_settle(page);
  page_take_back(page);
  if (page_used(page) == 0) {
    page_release(page);
  } else if (to != NULL && page_free_count(page) > 0 && heap_wants(to, page)) {
    store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)to));
    heap_mark_class(to, page_class(page));
    queue_push(to, &to->queue[page_class(page)], page);
  } else {
    store_relaxed(&page->owner, name);
    unowned_let_go(page);
  }
}

INTERNAL bool heap_abandon_some(heap_t* heap, heap_t* to, size_t* pages) {
  /* Not with our own name, which may soon be another heap's. */
  uintptr_t name = (to != NULL ? (uintptr_t)to : OWNER_TAG(heap->tag)) | OWNER_UNOWNED;
  FOR_CLASSES(heap, class) {
    queue_t* q = &heap->queue[class];
    page_t* page = q->current;
    if (page != NULL) {
      page_settle(page);
      heap_return_list(heap, class);
      q->current = NULL;
      heap_give_page(page, name, to);
    }
    for (; (page = q->first) != NULL; (*pages)--) {
      if (*pages == 0) return false;
      queue_remove(heap, q, page);
      heap_give_page(page, name, to);
    }
  }
  return true;
}

INTERNAL void heap_abandon(heap_t* heap, heap_t* to) {
  size_t pages = SIZE_MAX;
  (void)heap_abandon_some(heap, to, &pages);
}

/* What others have pushed meanwhile goes with the page. */
static void release_with_blocks(page_t* page) {
  size_t count;
  (void)page_take_remote(page, &count);
  page_release_full(page);
}

INTERNAL void heap_release_pages(heap_t* heap) {
  FOR_CLASSES(heap, class) {
    queue_t* q = &heap->queue[class];
    heap->slot[class] = NULL;
    page_t* page = q->current;
    q->current = NULL;
    if (page != NULL) release_with_blocks(page);
    while ((page = q->first) != NULL) {
      queue_remove(heap, q, page);
      release_with_blocks(page);
    }
  }
}

INTERNAL void heap_trim_kept(heap_t* heap, size_t class) {
  queue_t* q = &heap->queue[class];
  page_t* page = q->first;
  if (page == NULL) return;
  queue_remove(heap, q, page);
  queue_push(heap, q, page);
  heap_collect_page(heap, q, page);
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
