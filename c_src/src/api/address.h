/* address.h - which heap an address belongs to. */
#pragma once

#include "../heap/large.h"
#include "../thread/heap_registry.h"

/* The live heap that the owner word names; NULL if that heap has ended, or the word names none. */
static inline heap_t* live_heap_of(uintptr_t owner) {
  heap_t* heap = owner_heap_or_null(owner);
  return heap != NULL && heap_lives(heap) ? heap : NULL;
}

/* False ends a walk. */
typedef bool page_fun(void* arg, page_t* page, uint32_t slice, uintptr_t owner);
typedef bool large_fun(void* arg, const large_view_t* view);
/* Calls `on_page` for each page of blocks, with its first slice and its owner word, and `on_large`
 * (NULL: none) for each large block. Each existed at some moment of the walk, and may be freed by
 * now. False if a call returned false. */
INTERNAL bool pages_walk(page_fun* on_page, large_fun* on_large, void* arg);
