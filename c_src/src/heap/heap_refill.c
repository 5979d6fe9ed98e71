/* heap_refill.c - see heap_refill.h.
 *
 * The order in which a heap looks for blocks of a class:
 *   1. the active page: its local list, then the blocks that other threads freed
 *   2. if the active page can still be extended: the fullest of the first pages of the partial list
 *   3. a hole of the active page, or an extension of it
 *   4. other pages of the partial list
 *   5. an abandoned page (not for first-class heaps)
 *   6. a new page
 *
 * A heap whose blocks others free may then abandon the page, and the list is loose, see keep.h.
 *
 * Always:  an active free list belongs to the active page of its class, or is loose. A page with
 *          holes is active or abandoned, and in no partial list.
 * Threads: the heap's own; for the fallback heap, the thread that holds its lock.
 */
#include "heap_refill.h"
#include "../page/abandoned.h"
#include "../page/holes.h"
#include "page_queue.h"

/* Makes a list the active free list of its class, and pops its first block. */
static void* heap_activate_list(heap_t* heap, size_t cls, queue_t* q, block_t* list, size_t count,
                                uint8_t kind) {
  q->list = kind;
  bump_counter(&q->allocated, count);
  /* It has no link: page_extend. */
  if (MI_SECURE == 0 && (kind & LIST_EXTENDED) != 0 && count == 1) return list;
  return heap_allocate(heap, cls, list);
}

/* Takes never-used blocks of the active page, which has no other free ones; NULL if there are none.
 */
static void* refill_by_extension(heap_t* heap, size_t cls, queue_t* q, page_t* page) {
  size_t count;
  block_t* list = page_extend(page, &count);
  if (list == NULL) return NULL;
  q->ahead = blocks_ahead(q) & 15;
  q->looks = LOOKS_MAX;
  /* All but the first block, which is allocated now. */
  if (MI_RELEASES_EMPTY) page_set_bias(page, count - 1);
  return heap_activate_list(heap, cls, q, list, count,
                            (uint8_t)((SECURE_ORDER ? 0 : LIST_EXTENDED) |
                                      (page_has_flag(page, PAGE_ZERO) ? LIST_ZERO : 0)));
}

/* Whether the page may be extended if it has no free block. */
typedef enum fresh_e { FRESH_NEVER, FRESH_IF_NONE_FREE } fresh_t;

/* Makes the page the active one and takes its local list, else the blocks that other threads freed,
 * else the blocks of a hole, else never-used blocks. NULL if there are none. */
static void* refill_from_page(heap_t* heap, size_t cls, queue_t* q, page_t* page, fresh_t fresh) {
  size_t count, added;
  q->active = page;
  q->ahead = 0;
  page_set_bias(page, 0);
  set_refill_if_busy(q);
  if (states_order_is_old(page)) page_shuffle(page);
  block_t* list = page->local;
  if (list != NULL) {
    count = page->capacity - page_used(page);
    heap->keep.by_owner += count;
    page->local = NULL;
    page_set_used(page, page->capacity);
    if (count < LIST_MIN && page_refills_short_lists(page)) {
      block_t* more = page_extend(page, &added);
      if (more != NULL) {
        if (added == 1) block_relink(page, more, NULL); /* it is not allocated at once */
        page_append(page, list, more);
        count += added;
      }
    }
  } else if ((list = page_take_remote(page, &count)) != NULL) {
    heap->keep.by_others += count;
  } else if (fresh != FRESH_NEVER && (list = hole_fill(page, &count)) == NULL) {
    return refill_by_extension(heap, cls, q, page);
  }
  return list == NULL ? NULL : heap_activate_list(heap, cls, q, list, count, 0);
}

/* Tries up to `probes` pages of the partial list: the fullest of the first ones, else the oldest,
 * in which other threads had the longest time to free blocks. Full pages are abandoned, so that the
 * threads that free their blocks can use them. First-class heaps move them to the end instead. */
static void* refill_from_queue(heap_t* heap, size_t cls, queue_t* q, size_t probes) {
  page_t* last = q->last;
  for (page_t* page = NULL; page != last && q->first != NULL && probes > 0; probes--) {
    page = queue_fullest(q);
    if (page == NULL) page = q->first;
    queue_remove(heap, q, page);
    void* block = refill_from_page(heap, cls, q, page, FRESH_IF_NONE_FREE);
    if (block != NULL) {
      if (page_has_flag(page, PAGE_FULL)) mark_full(heap, page, false);
      return block;
    }
    if (heap_keeps_all(heap))
      queue_push_full(heap, q, page);
    else
      abandon_page(page);
  }
  return NULL;
}

static void* refill_from_abandoned(heap_t* heap, size_t cls, queue_t* q) {
  page_t* page = abandoned_claim(cls);
  if (page == NULL) return NULL;
  store_relaxed(&page->owner, page_owner_word(page, (uintptr_t)heap));
  heap->keep.claimed += page->capacity - page_used(page);
  void* block = refill_from_page(heap, cls, q, page, FRESH_IF_NONE_FREE);
  if (block == NULL) abandon_page(page); /* its bit was stale: full after all */
  return block;
}

static void* refill_from_new_page(heap_t* heap, size_t cls, queue_t* q, bool first) {
  q->active = NULL;
  page_t* page = page_fresh(heap->affinity, cls, (uintptr_t)heap, first);
  if (page != NULL) return refill_from_page(heap, cls, q, page, FRESH_IF_NONE_FREE);
  return refill_from_queue(heap, cls, q, SIZE_MAX); /* no memory: try all pages that the heap has */
}

/* From a page that the heap does not own yet; it has another page of the class, in no list, unless
 * this is the first. */
static void* refill_from_outside(heap_t* heap, size_t cls, queue_t* q, bool first) {
  if (unlikely(load_relaxed(&heap->limit) != 0) &&
      !heap_has_room(heap, class_slices(cls) * (first ? 1 : 2)))
    return refill_from_queue(heap, cls, q, SIZE_MAX);
  void* block = heap->is_first_class ? NULL : refill_from_abandoned(heap, cls, q);
  return block != NULL ? block : refill_from_new_page(heap, cls, q, first);
}

/* Puts away the page that was active, after another page, or none, became active. */
static void replace_active(heap_t* heap, queue_t* q, page_t* old) {
  if (old == NULL) return;
  if (q->active == NULL)
    q->active = old; /* no block was found */
  else if (heap_keeps_all(heap))
    queue_push_full(heap, q, old);
  else if (heap_wants(heap))
    queue_push(heap, q, old);
  else
    abandon_page(old);
}

static void* refill_from_other(heap_t* heap, size_t cls, queue_t* q) {
  heap_mark_class(heap, cls);
  page_t* old = q->active;
  q->active = NULL;
  void* block = refill_from_queue(heap, cls, q, QUEUE_PROBES);
  if (block == NULL) block = refill_from_outside(heap, cls, q, old == NULL);
  if (block == NULL) q->active = NULL;
  replace_active(heap, q, old);
  return block;
}

/* Tried before the active page is extended, which would touch fresh memory. */
static void* refill_from_fullest(heap_t* heap, size_t cls, queue_t* q) {
  page_t* old = q->active;
  if (page_in_holes(old) > 0) return NULL; /* it may be in no partial list */
  page_t* page = queue_fullest(q);
  if (page == NULL) return NULL;
  queue_remove(heap, q, page);
  if (page_has_flag(page, PAGE_FULL)) mark_full(heap, page, false);
  queue_push(heap, q, old);
  return refill_from_page(heap, cls, q, page, FRESH_NEVER);
}

#define GATHER_PAGES 4
#define GATHER_BYTES (128 * KiB)

/* Takes the local list of a page of the partial list; the number of its blocks. */
static size_t take_local_list(page_t* page, block_t** list) {
  size_t count = page->capacity - page_used(page);
  if (*list != NULL) page_append(page, page->local, *list);
  *list = page->local;
  page->local = NULL;
  page_set_used(page, page->capacity);
  return count;
}

/* Gathers from the first pages of the partial list. */
static void* refill_by_gathering(heap_t* heap, size_t cls, queue_t* q) {
  page_t *page = q->first, *emptier = NULL;
  size_t count = 0, most = GATHER_BYTES / class_block_size(cls);
  block_t* list = NULL;
  for (int probes = GATHER_PAGES; page != NULL && probes > 0 && count <= most; probes--) {
    size_t capacity = page->capacity, used = page_used(page);
    if (used != capacity && used * 2 >= capacity)
      count += take_local_list(page, &list);
    else if (used != capacity && (emptier == NULL || used > page_used(emptier)))
      emptier = page;
    page = page->next;
  }
  if (list == NULL && emptier != NULL) count = take_local_list(emptier, &list);
  if (list == NULL) return NULL;
  /* The full pages of a heap that keeps all stay at the end. */
  if (page != NULL && !heap_keeps_all(heap)) queue_rotate(q, page);
  heap->keep.by_owner += count;
  return heap_activate_list(heap, cls, q, list, count, LIST_GATHERED);
}

INTERNAL NOINLINE void* heap_refill_usual(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  page_t* page = q->active;
  if (page == NULL || (heap->heartbeat & heap->tick_mask) == 0 || heap->keep.loose) return NULL;
  if (q->first != NULL && !GATHERS(cls)) return NULL;
  heap_enter(heap);
  void* block = q->first == NULL ? NULL : refill_by_gathering(heap, cls, q);
  if (block == NULL && page->capacity < page->reserved && page->local == NULL &&
      load_relaxed(&page->holes) == 0 && !page_has_remote(page))
    block = refill_by_extension(heap, cls, q, page);
  heap_leave(heap);
  return block;
}

#define LOOSE_SAMPLE 8 /* one of so many pages stays active, which shows who frees its blocks */

/* Abandons the active page; the active free list becomes loose. So other threads can use what is
 * freed in the page while this thread sleeps, or needs no block of the class. */
static NOINLINE void loosen(heap_t* heap, queue_t* q) {
  page_t* page = q->active;
  if (heap_keeps_all(heap) || os_is_single_threaded() || ++heap->keep.refills % LOOSE_SAMPLE == 0)
    return;
  q->active = NULL;
  abandon_page(page);
}

INTERNAL void* heap_refill(heap_t* heap, size_t cls) {
  queue_t* q = &heap->queue[cls];
  mi_assert_internal(heap->free_list[cls] == NULL);
  page_t* page = q->active;
  void* block = NULL;
  bool own = false; /* the thread has freed these blocks itself */
  if (likely(page != NULL)) {
    own = page->local != NULL;
    fresh_t fresh = q->first == NULL ? FRESH_IF_NONE_FREE : FRESH_NEVER;
    block = refill_from_page(heap, cls, q, page, fresh);
    if (unlikely(block == NULL) && fresh == FRESH_NEVER &&
        (page->capacity < page->reserved || page_in_holes(page) > 0)) {
      block = refill_from_fullest(heap, cls, q);
      if (block == NULL) block = refill_from_page(heap, cls, q, page, FRESH_IF_NONE_FREE);
    }
  }
  if (unlikely(block == NULL)) block = refill_from_other(heap, cls, q);
  if (unlikely(heap->keep.loose) && !own && block != NULL) loosen(heap, q);
  return block;
}
