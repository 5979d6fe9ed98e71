/* free_secure.h - mi_free of secure builds: frees the block if its block state allows it, and from
 * level 3 on puts it into quarantine. */
#pragma once

#include "../base/checker.h"
#include "../heap/heap_free.h"
#include "../thread/init.h"
#include "../page/checked_block.h"
#include "../page/block_state.h"

#if MI_SECURE > 0

#if SECURE_QUARANTINE
static NOINLINE void free_adjusting(heap_t* heap, void* p) {
  quarantine_t* q = &heap->quarantine;
  if (unlikely(heap->is_first_class)) { /* it has no quarantine: the program may destroy it */
    p = quarantine_withdraw(q);
    free_block(p);
    return;
  }
  p = quarantine_adjust(q, p);
  if (p != NULL) free_block(p);
  while ((p = quarantine_excess(q)) != NULL) free_block(p);
}
/* Puts the block into quarantine, and frees the block that it replaces there. */
static NOINLINE void free_later(heap_t* heap, void* p, size_t size) {
  quarantine_t* q = &heap->quarantine;
  page_t* page = NULL;
  p = quarantine_put(q, p, size, &page);
  if (unlikely(quarantine_is_due(q)))
    free_adjusting(heap, p);
  else if (unlikely(owner_of(page) != (uintptr_t)heap))
    free_slow(heap, p, page);
  else if (unlikely(push_local(page, p)))
    heap_page_counted_down(heap, page);
}

/* The calling thread's backing heap, which holds its quarantine; NULL if blocks of this page are
 * not quarantined. A thread without a heap gets one. */
static heap_t* heap_of_quarantine(page_t* page) {
  if (page_class(page) == CLASS_LARGE) return NULL;
  /* The program may destroy a first-class heap with its blocks at any time. */
  const heap_t* owner = owner_heap_or_null(owner_of(page));
  if (owner != NULL && owner->is_first_class) return NULL;
  int saved = errno; /* creating the heap may fail */
  heap_t* heap = thread_backing();
  errno = saved;
  return heap;
}
#endif

static NOINLINE void free_secure(void* p) {
  heap_t* heap = heap_default;
  if (p == NULL) return;
  page_t* page = checked_take(p, (uintptr_t)heap);
  if (MI_TRACK && (page == NULL || !free_tracked(p))) return;
#if SECURE_QUARANTINE
  heap_t* owner = page == NULL ? NULL : heap_of_quarantine(page);
  if (owner != NULL && page->block_size <= SINGLE_SLICE_MAX) {
    free_later(owner, p, page->block_size);
    return;
  }
  if (owner != NULL) p = quarantine_put_medium(&owner->quarantine, p);
#endif
  if (page != NULL && p != NULL) free_block(p);
}

#if SECURE_QUARANTINE
static NOINLINE void free_long(heap_t* heap, void* p, size_t size) {
  if (likely(checked_take_long(map_descriptor(p), p, size)))
    free_later(heap, p, size);
  else
    free_secure(p);
}
static NOINLINE void free_unusual(heap_t* heap, void* p, size_t size) {
  if (likely(size == TINY_SIZE && checked_take_tiny(map_descriptor(p), p)))
    free_later(heap, p, size);
  else
    free_secure(p);
}
/* A block in a page of the thread's default heap. Each call is a tail call, so hardly any register
 * is saved. */
static inline void free_own(heap_t* heap, page_t* page, void* p) {
  size_t size = page->block_size;
  if (unlikely(size - TAKE_OWN_MIN > TAKE_OWN_MAX - TAKE_OWN_MIN)) {
    free_unusual(heap, p, size);
    return;
  }
  switch (checked_take_own(page, p, size)) {
  case TAKE_DONE:
    free_later(heap, p, size);
    return;
  case TAKE_LONG:
    free_long(heap, p, size);
    return;
  case TAKE_OTHER:
    free_secure(p);
    return;
  }
}
#else
/* Levels 1 and 2: as many steps as in the default build. */
static inline void free_own(heap_t* heap, page_t* page, void* p) {
  if (unlikely(!block_is_live(page, p)))
    free_secure(p);
  else if (unlikely(push_local(page, p)))
    heap_page_counted_down(heap, page);
}
#endif

ALWAYS_INLINE void free_entry(void* p) {
  heap_t* heap = heap_default;
  if (!MI_TRACK && likely(map_reaches(p))) {
    page_t* page = map_descriptor(p);
    if (likely(owner_of(page) == (uintptr_t)heap)) {
      free_own(heap, page, p);
      return;
    }
  }
  free_secure(p);
}
#endif
