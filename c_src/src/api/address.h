/* address.h - which heap an address belongs to. */
#pragma once

#include "../thread/heap_registry.h"

/* True if the heap belongs to the calling thread. Debug builds and level 4 report a heap of another
 * thread, which `what` it. */
INTERNAL bool heap_belongs_here(heap_t* heap, const char* what);

/* The live heap that the owner word names; NULL if that heap has ended, or the word names none. */
static inline heap_t* live_heap_of(uintptr_t owner) {
  heap_t* heap = owner_heap_or_null(owner);
  return heap != NULL && heap_lives(heap) ? heap : NULL;
}
