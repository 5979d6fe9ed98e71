/* chain.h - blocks that a test links through their first words. The links are complements: a debug
 * build takes a block that begins with an address of its own page for one that may be free, and
 * searches the free lists of the page at each mi_free.
 */
#pragma once
#include "probe.h"
#include <mimalloc.h>

typedef struct chain_s {
  void* last;
  size_t count;
} chain_t;

/* The block that was added before this one. */
CHECK_UNUSED static void* chain_next(const void* p) { return (void*)~*(const uintptr_t*)p; }

CHECK_UNUSED static bool chain_add(chain_t* c, void* p) {
  if (p == NULL) return false;
  *(uintptr_t*)p = ~(uintptr_t)c->last;
  c->last = p;
  c->count++;
  return true;
}
CHECK_UNUSED static void chain_free(chain_t* c) {
  for (void *p = c->last, *next; p != NULL; p = next) {
    next = chain_next(p);
    mi_free(p);
  }
  c->last = NULL;
  c->count = 0;
}
