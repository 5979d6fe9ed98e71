/* guarded.c - which allocations get a guard page behind them.
 *
 * Owns:    nothing; the count is the heap's.
 * Always:  a guarded block is a large block (a page of its own), whatever its size, with the room
 *          of its class, which ends where the guard page begins.
 * Threads: the heap's own.
 * Uses:    large.h, thread.h, options.h.          Used by: thread, large.
 */
#include "guarded.h"
#include "large.h"
#include "thread.h"

/* Sizes out of the bounds are not guarded, and do not count. */
static bool counts(size_t size) {
  size_t min = (size_t)option_value(mi_option_guarded_min);
  size_t max = (size_t)option_value(mi_option_guarded_max);
  return size >= min && size <= max;
}

/* Differs between runs and threads. */
static uint64_t any_number(heap_t* heap) {
#if MI_SECURE > 0
  (void)heap;
  random_t random = random_start();
  return random_next(&random);
#else
  return ((uintptr_t)heap / sizeof(heap_t) + os_clock_ms()) * 2654435761u >> 7;
#endif
}

static bool is_due(heap_t* heap, size_t size) {
  if (!heap_is_real(heap) || !counts(size)) return false;
  long rate = option_value(mi_option_guarded_sample_rate);
  if (heap->guarded_in == GUARDED_NEVER_YET) {
    uint64_t seed = (uint64_t)option_value(mi_option_guarded_sample_seed);
    if (seed == 0) seed = any_number(heap);
    heap->guarded_in = (long)(seed % (uint64_t)rate);
  }
  if (heap->guarded_in >= rate) heap->guarded_in = rate - 1; /* the option was set lower */
  if (heap->guarded_in > 0) return false;
  heap->guarded_in = rate - 1;
  return true;
}

INTERNAL void* guarded_alloc_class(heap_t* heap, size_t class) {
  size_t size = class_block_size(class);
  if (class == 0 || !is_due(heap, size)) return NULL; /* what has no bytes ends nowhere */
  /* It ends at the end of an OS page, as a block of the class may, so it is as aligned. */
  return large_alloc_guarded(heap, size - SEAL_SIZE, 1);
}

INTERNAL void* guarded_alloc_large(heap_t* heap, size_t size, size_t align) {
  if (is_due(heap, size)) return large_alloc_guarded(heap, size, max_size(align, DEFAULT_ALIGN));
  if (heap_is_real(heap) && counts(size)) heap->guarded_in--;
  return NULL;
}

INTERNAL void guarded_after_fork(heap_t* heap) {
  if (MI_SECURE > 0 && option_value(mi_option_guarded_sample_seed) == 0)
    heap->guarded_in = GUARDED_NEVER_YET;
}

INTERNAL size_t guarded_pass(heap_t* heap, size_t class, size_t count) {
  if (class == 0 || !counts(class_block_size(class))) return count;
  count = max_size(min_size(count, (size_t)heap->guarded_in), 1);
  heap->guarded_in -= heap->guarded_in > 0 ? (long)count : 0;
  return count;
}
