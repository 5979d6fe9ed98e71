/* cxx.h - what the C++ operators share with the C functions of the same protocol. */
#pragma once

#include "aligned.h"

/* After a failed request of `caller` (`align` 0: default alignment): calls the new-handler and
 * tries again, as long as there is a handler. A handler may throw. Without a handler throws, or
 * returns NULL if `nothrow`. */
INTERNAL void* new_retry(heap_t* heap, size_t size, size_t align, bool nothrow, const void* caller);
/* A request that the fast path could not serve. */
INTERNAL void* new_slow(heap_t* heap, size_t size, size_t align, const void* caller);

/* mi_new and mi_new_aligned on behalf of `caller`. The fast path calls no function, so it saves no
 * registers. The return address is read only on the way to the slow path. */
static inline void* new_in(heap_t* heap, size_t size, const void* caller) {
  void* p = pop_small(heap, size);
  return likely(p != NULL) ? p : new_slow(heap, size, 0, caller);
}
static inline void* new_aligned_in(heap_t* heap, size_t size, size_t align, const void* caller) {
  void* p = pop_aligned(heap, size, align);
  return likely(p != NULL) ? p : new_slow(heap, size, align, caller);
}
