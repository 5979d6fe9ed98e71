/* guard_sampling.c - chooses the allocations that get a guard page after them.
 *
 * Owns:    nothing; the heap has the count.
 * Always:  a guarded block is a large block (a page of its own), whatever its size. It has the size
 *          of its class, and ends where the guard page begins.
 * Threads: the heap's own.
 */
#include "guard_sampling.h"
#include "current.h"

INTERNAL bool guarded_counts(size_t size) {
  size_t min = (size_t)option_value(mi_option_guarded_min);
  size_t max = (size_t)option_value(mi_option_guarded_max);
  return size >= min && size <= max;
}

/* A seed that differs between runs and threads. */
static uint64_t any_number(heap_t* heap) {
#if MI_SECURE > 0
  (void)heap;
  random_t random = random_start();
  return random_next(&random);
#else
  return ((uintptr_t)heap / sizeof(heap_t) + os_clock_ms()) * 2654435761u >> 7;
#endif
}

INTERNAL bool guarded_is_due(heap_t* heap, size_t size) {
  if (!heap_is_real(heap) || !guarded_counts(size)) return false;
  long rate = option_value(mi_option_guarded_sample_rate);
  if (heap->guarded_in == GUARDED_NEVER_YET) {
    uint64_t seed = (uint64_t)option_value(mi_option_guarded_sample_seed);
    if (seed == 0) seed = any_number(heap);
    heap->guarded_in = (long)(seed % (uint64_t)rate);
  }
  if (heap->guarded_in >= rate) heap->guarded_in = rate - 1; /* the program lowered the option */
  if (heap->guarded_in > 0) return false;
  heap->guarded_in = rate - 1;
  return true;
}

INTERNAL void guarded_after_fork(heap_t* heap) {
  if (MI_SECURE > 0 && option_value(mi_option_guarded_sample_seed) == 0)
    heap->guarded_in = GUARDED_NEVER_YET;
}

INTERNAL size_t guarded_pass(heap_t* heap, size_t cls, size_t count) {
  if (cls == 0 || !guarded_counts(class_block_size(cls))) return count;
  count = max_size(min_size(count, (size_t)heap->guarded_in), 1);
  heap->guarded_in -= heap->guarded_in > 0 ? (long)count : 0;
  return count;
}
