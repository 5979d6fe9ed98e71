/* heap_check.c - the walker that checks every invariant of a heap.
 *
 * Owns:    nothing.
 * Always:  a block of an owned page is in use, or in exactly one of three lists: the active free
 *          list, the page's local list, the page's remote list. The counts match the lists.
 * Threads: the heap's own.
 */
#include "heap_check.h"

#if MI_DEBUG >= 3

#define BLOCKS_MAX (SLICE_SIZE / 8)

/* Marks the blocks of a list; each must lie below the capacity, and be in no other list. */
static size_t mark_list(const page_t* page, const block_t* list, uint64_t* seen) {
  size_t n = 0;
  for (const block_t* b = list; b != NULL; b = block_next(page, b), n++) {
    size_t offset = (size_t)((const char*)b - page_start(page));
    size_t i = offset / page->block_size;
    mi_assert(i < page->capacity && i * page->block_size == offset);
    mi_assert((seen[i / 64] & (UINT64_C(1) << (i % 64))) == 0);
    seen[i / 64] |= UINT64_C(1) << (i % 64);
  }
  return n;
}

static void check_page(heap_t* heap, page_t* page, size_t cls, const block_t* active_list) {
  uint64_t seen[BLOCKS_MAX / 64];
  memset(seen, 0, sizeof(seen));
  mi_assert(load_relaxed(&page->owner) == page_owner_word(page, (uintptr_t)heap));
  mi_assert(map_descriptor(page_start(page)) == page);
  mi_assert(page_class(page) == cls && page->block_size == class_block_size(cls));
  mi_assert(page_slices(page) == class_slices(cls));
  mi_assert(page->capacity <= page->reserved && page_used(page) <= page->capacity);
  mi_assert(page->reserved * page->block_size <= page_slices(page) * SLICE_SIZE);
  for (uint32_t i = 1; i < page_slices(page); i++)
    mi_assert(map_page_checked(page_start(page) + i * SLICE_SIZE) == page);
  uint64_t word = load_acquire(map_remote(page->slice)); /* links of the list, from the pushes */
  mi_assert(remote_is_owned(word));
  size_t local = mark_list(page, page->local, seen);
  mi_assert(local == page->capacity - page_used(page));
  size_t in_holes = page_in_holes(page);
  mi_assert(in_holes == 0 || page == heap->queue[cls].active);
  mi_assert(page == heap->queue[cls].active || load_relaxed(&page->bias) == 0 ||
            page_used(page) > load_relaxed(&page->bias));
  size_t others = mark_list(page, active_list, seen) + mark_list(page, remote_list(word), seen);
  mi_assert(others + in_holes <= page_used(page));
  mi_assert(remote_count(word) <= page_used(page));
}

INTERNAL void check_heap(heap_t* heap) {
  size_t slices = 0;
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) {
    queue_t* q = &heap->queue[cls];
    mi_assert(heap->free_list[cls] == NULL || q->active != NULL || !heap_keeps_all(heap));
    bool gathered = (q->list & LIST_GATHERED) != 0;
    if (q->active != NULL) check_page(heap, q->active, cls, gathered ? NULL : heap->free_list[cls]);
    page_t* last = NULL;
    for (page_t* page = q->first; page != NULL; last = page, page = page->next) {
      mi_assert(page != q->active && page->prev == last);
      check_page(heap, page, cls, NULL);
      slices += page_slices(page);
    }
    mi_assert(q->last == last);
  }
  mi_assert(slices == heap->queued_slices);
}

#endif
