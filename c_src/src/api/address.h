/* address.h - which heap an address belongs to. */
#pragma once

#include "../thread/heap_registry.h"

/* The live heap that the owner word names; NULL if that heap has ended, or the word names none. */
static inline heap_t* live_heap_of(uintptr_t owner) {
  heap_t* heap = owner_heap_or_null(owner);
  return heap != NULL && heap_lives(heap) ? heap : NULL;
}
