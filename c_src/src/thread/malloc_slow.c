/* malloc_slow.c - see malloc_slow.h.
 *
 * Threads: the heap's own.
 *
 * The steps, in this order:
 *   1. adopt the local list of the active page (heap_take_local), else heap_refill_usual
 *   2. make a heap for the thread, if it has none
 *   3. do the work of a tick, if one is due
 *   4. search (heap_refill.c)
 *   5. collect all that can be freed, and search once more
 *   6. report that there is no memory
 */
#include "malloc_slow.h"
#include "heap_registry.h"
#include "init.h"
#include "tick.h"
#include "../heap/current.h"
#include "../heap/guard_sampling.h"
#include "../heap/heap.h"
#include "../heap/heap_refill.h"
#include "../heap/large.h"
#include "../memory/slice_reuse.h"
#include "../runtime/log.h"

/* ---- guarded allocations ---- */

INTERNAL void* guarded_alloc_class(heap_t* heap, size_t cls) {
  size_t size = class_block_size(cls);
  if (cls == 0 || !guarded_is_due(heap, size))
    return NULL; /* a block of size 0 has no end to guard */
  /* The block ends at the end of an OS page, as a block of the class may, so it is as aligned. */
  return large_new_guarded(heap, size - CANARY_SIZE, 1);
}

INTERNAL void* guarded_alloc_large(heap_t* heap, size_t size, size_t align) {
  if (guarded_is_due(heap, size))
    return large_new_guarded(heap, size, max_size(align, DEFAULT_ALIGN));
  if (heap_is_real(heap) && guarded_counts(size)) heap->guarded_in--;
  return NULL;
}

/* ---- a block of a class ---- */

/* After the first failure: frees what can be freed, tries once more, reports. */
static COLD void* malloc_slow_retry(heap_t* heap, size_t cls) {
  thread_collect_for_oom();
  void* block = heap_pop(heap, cls);
  if (block != NULL) return block; /* the deferred-free callback has freed or allocated */
  heap_enter(heap);
  block = heap_refill(heap, cls);
  heap_leave(heap);
  return block != NULL ? block : log_out_of_memory(class_block_size(cls));
}

static COLD void* malloc_slow_start(heap_t* heap, size_t cls) {
  if (heap == &heap_ended) {
    void* p = fallback_alloc(cls);
    soft_limit_check();
    return p != NULL ? p : log_out_of_memory(class_block_size(cls));
  }
  heap = thread_start();
  if (heap == NULL) {
    thread_collect_for_oom();
    heap = thread_start();
  }
  if (heap == NULL) return log_out_of_memory(class_block_size(cls));
  void* block = heap_pop(heap, cls); /* the start may have filled the list */
  return block != NULL ? block : malloc_slow(heap, cls);
}

/* With guarded allocations: truncates the list to the blocks before the next guarded one. */
static COLD void* malloc_slow_guarded(heap_t* heap, size_t cls) {
  void* block = guarded_alloc_class(heap, cls);
  if (block != NULL) return block;
  heap_enter(heap);
  size_t before = load_relaxed(&heap->queue[cls].allocated);
  block = heap_refill(heap, cls);
  size_t count = load_relaxed(&heap->queue[cls].allocated) - before;
  if (block != NULL) heap_truncate_list(heap, cls, guarded_pass(heap, cls, count) - 1);
  heap_leave(heap);
  return likely(block != NULL) ? block : malloc_slow_retry(heap, cls);
}

static NOINLINE void* malloc_slow_search(heap_t* heap, size_t cls) {
  if (unlikely(!heap_is_real(heap))) return malloc_slow_start(heap, cls);
  slices_report();
  /* If there is an active page heap_take_local has counted this entry. */
  if (heap->queue[cls].active == NULL) heap->heartbeat++;
  if (unlikely((heap->heartbeat & heap->tick_mask) == 0)) {
    heap_tick(heap);
    void* block = heap_pop(heap, cls);
    if (block != NULL) return block; /* the callback has allocated or freed */
    if (guarded_is_on()) return malloc_slow_guarded(heap, cls);
  }
  heap_enter(heap);
  void* block = heap_refill(heap, cls);
  heap_leave(heap);
  soft_limit_check();
  return likely(block != NULL) ? block : malloc_slow_retry(heap, cls);
}

static NOINLINE void* malloc_slow_usual(heap_t* heap, size_t cls) {
  void* block = heap_refill_usual(heap, cls);
  return likely(block != NULL) ? block : malloc_slow_search(heap, cls);
}

INTERNAL NOINLINE void* malloc_slow(heap_t* heap, size_t cls) {
  /* The common case. A fork in the middle leaks the list in the child, where this thread does not
   * exist. */
  block_t* block = heap_take_local(heap, cls);
  return likely(block != NULL) ? block : malloc_slow_usual(heap, cls);
}

/* ---- a large block ---- */

INTERNAL void* large_malloc(heap_t* heap, size_t size, size_t align, bool zero) {
  if (size > ALLOC_MAX || align > ALLOC_MAX) {
    log_error(EOVERFLOW, "allocation request is too large: %zu bytes\n", size);
    return log_out_of_memory(size);
  }
  if (heap == &heap_empty) { /* the thread's first allocation */
    (void)thread_backing();
    heap = heap_default;
  }
  large_tick(heap);
  if (unlikely(guarded_is_on())) {
    void* p = guarded_alloc_large(heap, size, align);
    if (p != NULL) return p;
  }
  size_t usable = usable_for(size);
  size_t slices = large_slices(usable);
  bool is_zero;
  page_t* page = large_new(heap, usable, slices, align, &is_zero);
  if (page == NULL) {
    thread_collect_for_oom();
    page = large_new(heap, usable, slices, align, &is_zero);
    if (page == NULL) return log_out_of_memory(size);
  }
  slices_report();
  soft_limit_check();
  void* p = page_start(page);
  if (zero && !is_zero) zero_memory(page, usable);
  return p;
}
