/* heap.h - a heap as a whole: collects it, abandons its pages, ends it.
 *
 * Threads: the heap's own, unless a comment says otherwise.
 */
#pragma once

#include "heap_types.h"

/* Abandons pages until the partial lists have at most `slices` slices. */
INTERNAL void heap_release_excess_to(heap_t* heap, size_t slices);
/* Truncates the active free list of a class to `keep` blocks; the others return to their page. */
INTERNAL void heap_truncate_list(heap_t* heap, size_t cls, size_t keep);
/* Returns all active free lists to their pages, so that all counts are exact. */
INTERNAL void heap_return_lists(heap_t* heap);
/* Reclaims the blocks that other threads freed, and releases empty pages. */
INTERNAL void heap_collect(heap_t* heap);
/* Backing heaps: collects, then abandons all pages. The heap owns no page afterwards, and may
 * reclaim them later. */
INTERNAL void heap_rest(heap_t* heap);
/* Returns an unused active free list of a class, and releases the active page if it is empty. */
INTERNAL void heap_trim_class(heap_t* heap, size_t cls);
/* Gives each page to the heap `to` (may be NULL) if it wants it, and abandons the others. The heap
 * owns no page afterwards. */
INTERNAL void heap_abandon(heap_t* heap, heap_t* to);
/* The same for about `*pages` pages, which it counts down; true if the heap owns no page any more.
 * In the child of a fork any thread may call it for the heap of a thread that does not exist there.
 */
INTERNAL bool heap_abandon_some(heap_t* heap, heap_t* to, size_t* pages);
/* Releases every page of a first-class heap, with the blocks in it. */
INTERNAL void heap_release_pages(heap_t* heap);
/* Reclaims the blocks that other threads freed in a page; releases it if it is empty. */
INTERNAL void heap_collect_page(heap_t* heap, queue_t* q, page_t* page);
#if MI_DEBUG >= 2
INTERNAL bool heap_owns_nothing(const heap_t* heap);
#endif
