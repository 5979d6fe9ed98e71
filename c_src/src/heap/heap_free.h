/* heap_free.h - the core of free: from the owner word of a page to the list that takes the block.
 *
 * Always:  a free of the thread's own small block is one look-up, one compare and a push onto the
 *          page's local list. NULL, foreign, remote, large and interior pointers all fail the
 *          compare. errno is kept: a function here that changes it restores it.
 * Threads: any.
 */
#pragma once

#include "../runtime/log.h"
#include "../base/checker.h"
#include "current.h"
#include "../memory/page_map.h"
#include "sparse.h"
#include "page_queue.h"

/* Relaxed: if the word names this thread's heap, this thread wrote it. */
static inline uintptr_t owner_of(page_t* page) { return load_relaxed(&page->owner); }

/* Owner: puts a block on the local list; true if the countdown of the page ends. */
static inline bool push_local(page_t* page, block_t* block) {
  block_link(page, block, page->local);
  compiler_fence(); /* a fork between the two stores must find the link written */
  page->local = block;
  compiler_fence();
  uint32_t countdown = load_relaxed(&page->countdown) - 1; /* only the owner writes it */
  store_relaxed(&page->countdown, countdown);
  return countdown == 0;
}

/* The heap of the calling thread that owns the page with this owner word; NULL if the page belongs
 * to another thread. The page must be owned: only then is the owner id the address of a heap
 * struct, which may be read at any time. A heap struct whose `backing` is this thread's backing
 * heap was made by this thread. */
INTERNAL heap_t* own_heap(heap_t* heap, uintptr_t owner);

/* Reports a pointer that is in no block; `what` names the call. */
INTERNAL void invalid_pointer(const void* p, const char* what);

/* Frees a block that the fast path rejects; `page`: the descriptor of the slice of `p`. */
INTERNAL void free_slow(heap_t* heap, void* p, page_t* page);

/* The same, but first tries a block of the heap that begins in a later slice of its page. It calls
 * nothing unless as its last step, so it saves no registers. */
INTERNAL void free_other(heap_t* heap, void* p, page_t* page);

/* The fast free: look up, compare, push, count. The result says what is left to do. */
typedef enum free_e { FREE_DONE, FREE_EMPTIED, FREE_OTHER } free_t;

#if defined(__x86_64__) && defined(__LP64__) && !MI_WATCHED && !defined(MI_NO_ASM) && MI_SECURE == 0
/* The same as below in fewer instructions: 17 instead of 20 for the whole of free. A memory operand
 * is as atomic as a separate load, but compilers do not fold atomic loads into operands. They also
 * compute the descriptor's address in a register, although indexed operands suffice. */
_Static_assert(offsetof(page_t, owner) == 0 && offsetof(page_t, local) == MAP_BIAS &&
                   offsetof(page_t, countdown) == 2 * MAP_BIAS,
               "the displacements below");
static inline free_t free_fast(heap_t* heap, void* p, page_t** slot_of_p) {
  uintptr_t base = (uintptr_t)map_table();
  uintptr_t slot = ((uintptr_t)(uint32_t)(uintptr_t)p >> SLICE_SHIFT) * sizeof(page_t);
  __asm__("addq (%0,%1,8), %0" : "+r"(base) : "r"(map_window_of((uintptr_t)p)) : "cc");
  __asm__ goto("cmpq %0, -8(%1,%2)\n\t" /* owner */
               "jne %l[other]\n\t"
               "movq (%1,%2), %%rsi\n\t" /* local */
               "movq %%rsi, (%3)\n\t"    /* the block's link */
               "movq %3, (%1,%2)\n\t"
               "subl $1, 8(%1,%2)\n\t" /* countdown */
               "je %l[emptied]"
               :
               : "r"(heap), "r"(base), "r"(slot), "r"(p)
               : "rsi", "cc", "memory"
               : other, emptied);
  return FREE_DONE;
emptied:
  *slot_of_p = (page_t*)(base + slot - MAP_BIAS);
  return FREE_EMPTIED;
other:
  *slot_of_p = (page_t*)(base + slot - MAP_BIAS);
  return FREE_OTHER;
}
#else
static inline free_t free_fast(heap_t* heap, void* p, page_t** slot_of_p) {
  page_t* page = *slot_of_p = map_descriptor(p);
  if (unlikely(owner_of(page) != (uintptr_t)heap)) return FREE_OTHER;
  return unlikely(push_local(page, p)) ? FREE_EMPTIED : FREE_DONE;
}
#endif

static inline void free_block(void* p) {
  heap_t* heap = heap_default;
  page_t* page;
  switch (free_fast(heap, p, &page)) {
  case FREE_DONE:
    return;
  case FREE_EMPTIED:
    heap_page_counted_down(heap, page);
    return;
  case FREE_OTHER:
    free_other(heap, p, page);
    return;
  }
}
/* Frees all blocks that the heap's thread has in quarantine. */
#if SECURE_QUARANTINE
INTERNAL void heap_flush_quarantine(heap_t* heap);
static inline void heap_adjust_quarantine(heap_t* backing) {
  quarantine_look(&backing->quarantine);
}
static inline void heap_lose_quarantine(heap_t* heap) { quarantine_lose(&heap->quarantine); }
static inline void heap_quarantine_after_fork(heap_t* backing) {
  quarantine_after_fork(&backing->quarantine);
}
#else
static inline void heap_flush_quarantine(heap_t* heap) { (void)heap; }
static inline void heap_adjust_quarantine(heap_t* backing) { (void)backing; }
static inline void heap_lose_quarantine(heap_t* heap) { (void)heap; }
static inline void heap_quarantine_after_fork(heap_t* backing) { (void)backing; }
#endif

#if MI_TRACK
/* False: the block is not live. The checker or this function has reported it. */
static inline bool free_tracked(void* p) {
  page_t* page = map_page_checked(p);
  if (p == NULL || track_free(p, page == NULL ? 0 : block_usable(page, p))) return true;
  log_error(EFAULT, "free: block %p is free already\n", p);
  return false;
}
#else
static inline bool free_tracked(void* p) { return (void)p, true; }
#endif
