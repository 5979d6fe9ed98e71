/* sparse.h - what a heap does with pages that become sparse or empty.
 *
 * Threads: the heap's own.
 */
#pragma once

#include "heap_types.h"

/* The countdown of a page has ended. An empty page is released, but an active one only now and
 * then. A sparse page is abandoned when the next one becomes sparse, so that any thread can make
 * holes in it. A page half of which was freed is abandoned if the heap is above its credit. */
INTERNAL void heap_page_counted_down(heap_t* heap, page_t* page);
/* Abandons the active page of a class if it is sparse. It has no countdown for this; it is often as
 * empty as the other pages, so it is looked at when these become sparse or emptier. */
INTERNAL void heap_abandon_sparse_active(heap_t* heap, size_t cls);
static inline bool heap_active_may_be_sparse(const heap_t* heap, size_t cls) {
  const page_t* page = heap->queue[cls].active;
  return page != NULL && page_used(page) <= page->capacity / 2u && !os_is_single_threaded();
}
/* Abandons the sparse pages of the partial lists, and of the active pages. */
INTERNAL void heap_abandon_sparse(heap_t* heap);
/* Not for first-class heaps: abandons the last page of the class's partial list if it is sparse. It
 * became so while the process had a single thread. */
INTERNAL void heap_trim_sparse(heap_t* heap, size_t cls);
