/* heap_free.c - the slow path of free; see heap_free.h. */
#include "heap_free.h"
#include "../page/abandoned.h"
#include "large.h"
#include "../runtime/log.h"

INTERNAL COLD void invalid_pointer(const void* p, const char* what) {
#if MI_SECURE > 0
  violation_foreign(p, what);
#else
  log_error(EINVAL, "%s: pointer does not point to a block of this allocator: %p\n", what, p);
#endif
}

/* Frees into an abandoned page that this heap owned last. */
static void free_abandoned(heap_t* heap, page_t* page, block_t* block) {
  heap->keep.claimed--;
  size_t cls = page_class(page); /* read now: after the free another thread may release the page */
  push_t result = remote_free(page, block, heap_may_adopt(heap, page));
  if (result != PUSH_TAKEN && (result != PUSH_SPARSE || !heap_active_may_be_sparse(heap, cls)))
    return;
  heap_enter(heap);
  if (result == PUSH_TAKEN)
    heap_adopt(heap, page);
  else
    heap_abandon_sparse_active(heap, cls);
  heap_leave(heap);
}

INTERNAL heap_t* own_heap(heap_t* heap, uintptr_t owner) {
  heap_t* named = (heap_t*)owner_id(owner);
  if (named == heap) return heap;
  heap_t* backing = heap_backing(heap);
  /* A thread without first-class heaps need not read another heap's struct. */
  if (backing == NULL || (backing == heap && heap->thread_heaps.first == NULL)) return NULL;
  return heap_backing(named) == backing ? named : NULL;
}

INTERNAL NOINLINE void free_slow(heap_t* heap, void* p, page_t* page) {
  if (p == NULL) return;
  if (unlikely(!map_covers(p))) {
    invalid_pointer(p, "free");
    return;
  }
  uintptr_t owner = owner_of(page);
  if (owner_is_interior(owner)) {
    page = page_of_interior(p, owner);
    owner = owner_of(page);
  }
  if (owner_is_large(owner)) {
    large_free(page, p);
    return;
  }
  if (unlikely(owner == 0)) {
    invalid_pointer(p, "free");
    return;
  }
  block_t* block = page_has_flag(page, PAGE_INTERIOR) ? (block_t*)page_block_of(page, p) : p;
  if (owner_is_abandoned(owner)) { /* this thread's backing heap may reclaim its page */
    heap_t* backing = heap_backing(heap);
    if (backing != NULL && owner == ((uintptr_t)backing | OWNER_ABANDONED))
      free_abandoned(backing, page, block);
    else
      (void)remote_free(page, block, false);
    return;
  }
  heap = own_heap(heap, owner);
  if (heap == NULL) {
    (void)remote_free(page, block, false);
    return;
  }
  bool emptied = push_local(page, block);
  if (page_has_flag(page, PAGE_FULL) && page_free_count(page) >= page_claimable_count(page)) {
    heap_enter(heap);
    heap_page_not_full(heap, page);
    heap_leave(heap);
  }
  if (emptied) heap_page_counted_down(heap, page);
}

INTERNAL NOINLINE void free_other(heap_t* heap, void* p, page_t* page) {
  uintptr_t owner = owner_of(page); /* of a foreign address: 0, or an entry of the page map */
  if (owner_is_interior(owner)) {
    page_t* first = page_of_interior(p, owner);
    if (likely(owner_of(first) == (uintptr_t)heap)) {
      if (unlikely(push_local(first, p))) heap_page_counted_down(heap, first);
      return;
    }
  }
  free_slow(heap, p, page);
}

#if SECURE_QUARANTINE
INTERNAL void heap_flush_quarantine(heap_t* heap) {
  quarantine_t* q = &heap->quarantine;
  for (void* p; (p = quarantine_leave(q)) != NULL;) free_block(p);
  for (void* p; (p = quarantine_leave_medium(q)) != NULL;) free_block(p);
}
#endif
