/* cxx.c - allocation by the C++ protocol, from C.
 *
 * Always:  a failed request calls the new-handler of the caller's C++ runtime. Without a handler it
 *          throws std::bad_alloc through that runtime; this file is compiled with -fexceptions, so
 *          the exception can pass. Without a runtime the program aborts with a message.
 *          An exception from a handler also passes through the nothrow functions of this file. The
 *          operators of override_cxx.c and mimalloc-new-delete.h catch it and return NULL, as C++
 *          requires.
 * Threads: any.
 */
#include "cxx.h"
#include "cxx_runtime.h"

/* One step after a failure: true to try again. */
static COLD bool new_failed(bool nothrow, const void* caller) {
  new_handler_t handler = runtime_new_handler(caller);
  if (handler != NULL) {
    handler(); /* may throw */
    return true;
  }
  log_error(ENOMEM, "out of memory in new\n");
  if (nothrow) return false;
  runtime_throw_bad_alloc(caller);
  log_print(NULL, NULL, "mimalloc: error: out of memory in new, and no C++ runtime to throw\n");
  os_abort();
}

static inline void* new_attempt(heap_t* heap, size_t size, size_t align) {
  return align == 0 ? malloc_in(heap, size) : malloc_aligned_in(heap, size, align, 0, false);
}

INTERNAL COLD void* new_retry(heap_t* heap, size_t size, size_t align, bool nothrow,
                              const void* caller) {
  while (new_failed(nothrow, caller)) {
    void* p = new_attempt(heap, size, align);
    if (p != NULL) return p;
  }
  return NULL;
}

INTERNAL NOINLINE void* new_slow(heap_t* heap, size_t size, size_t align, const void* caller) {
  void* p = new_attempt(heap, size, align);
  return likely(p != NULL) ? p : new_retry(heap, size, align, false, caller);
}

void* mi_new(size_t size) { return new_in(heap_default, size, CALLER); }
void* mi_new_nothrow(size_t size) mi_attr_noexcept {
  void* p = malloc_in(heap_default, size);
  return likely(p != NULL) ? p : new_retry(heap_default, size, 0, true, CALLER);
}
void* mi_new_aligned(size_t size, size_t alignment) {
  return new_aligned_in(heap_default, size, alignment, CALLER);
}
void* mi_new_aligned_nothrow(size_t size, size_t alignment) mi_attr_noexcept {
  void* p = malloc_aligned(heap_default, size, alignment);
  return likely(p != NULL) ? p : new_retry(heap_default, size, alignment, true, CALLER);
}

/* ---- arrays, and reallocation ---- */

/* A handler cannot make an overflowing product fit, so it is called once. */
static COLD void* new_overflow(size_t count, size_t size, const void* caller) {
  (void)array_overflow(count, size);
  (void)new_failed(false, caller);
  return NULL;
}

static inline void* new_n_in(heap_t* heap, size_t count, size_t size, const void* caller) {
  size_t total;
  return likely(multiply(count, size, &total)) ? new_in(heap, total, caller)
                                               : new_overflow(count, size, caller);
}

void* mi_new_n(size_t count, size_t size) { return new_n_in(heap_default, count, size, CALLER); }

static void* new_realloc_from(void* p, size_t newsize, const void* caller) {
  void* q;
  do {
    q = mi_realloc(p, newsize);
  } while (unlikely(q == NULL) && new_failed(false, caller));
  return q;
}

void* mi_new_realloc(void* p, size_t newsize) { return new_realloc_from(p, newsize, CALLER); }

void* mi_new_reallocn(void* p, size_t newcount, size_t size) {
  size_t total;
  return likely(multiply(newcount, size, &total)) ? new_realloc_from(p, total, CALLER)
                                                  : new_overflow(newcount, size, CALLER);
}

/* ---- from a heap that the caller names ---- */

void* mi_heap_alloc_new(mi_heap_t* heap, size_t size) {
  return new_in(heap_named(heap), size, CALLER);
}

void* mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size) {
  return new_n_in(heap_named(heap), count, size, CALLER);
}
