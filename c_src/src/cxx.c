/* cxx.c - allocation by the C++ protocol, from C.
 *
 * Owns:    nothing.
 * Always:  the C++ runtime is looked up through weak references: where it is present the
 *          program's new-handler is called and std::bad_alloc is thrown (this file is compiled with
 *          -fexceptions, so it can pass through), else the program aborts with a message.
 *          A handler that throws leaves the nothrow forms by its exception, which C cannot catch;
 *          the operators of override.c and mimalloc-new-delete.h return NULL, as C++ has it.
 * Threads: any.
 * Uses:    alloc.h, aligned.h, log.h.          Used by: the program, override.
 */
#include "aligned.h"
#include "alloc.h"
#include "log.h"

typedef void (*new_handler_t)(void);
#if defined(__ELF__)
extern new_handler_t _ZSt15get_new_handlerv(void) __attribute__((weak));
/* The parts of `throw std::bad_alloc()`. A static C++ runtime has all of them in a program that
 * catches this exception; its function that throws it may not be linked. */
extern void* __cxa_allocate_exception(size_t size) __attribute__((weak));
extern void __cxa_throw(void* object, const void* type, void (*destroy)(void*))
    __attribute__((weak));
extern const void* const _ZTVSt9bad_alloc[] __attribute__((weak)); /* functions from word 2 on */
extern const char _ZTISt9bad_alloc[] __attribute__((weak));
extern void _ZNSt9bad_allocD1Ev(void* object) __attribute__((weak));
static new_handler_t get_new_handler(void) {
  return &_ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
}
static void throw_bad_alloc(void) {
  if (&__cxa_allocate_exception == NULL || &__cxa_throw == NULL || _ZTVSt9bad_alloc == NULL ||
      _ZTISt9bad_alloc == NULL || &_ZNSt9bad_allocD1Ev == NULL)
    return;
  const void** object = __cxa_allocate_exception(sizeof(void*));
  *object = &_ZTVSt9bad_alloc[2];
  __cxa_throw(object, _ZTISt9bad_alloc, &_ZNSt9bad_allocD1Ev);
}
#else
static new_handler_t get_new_handler(void) { return NULL; }
static void throw_bad_alloc(void) {}
#endif

/* One step after a failure: true to try again. */
static COLD bool new_failed(bool nothrow) {
  new_handler_t handler = get_new_handler();
  if (handler != NULL) {
    handler(); /* may throw */
    return true;
  }
  log_error(ENOMEM, "out of memory in new\n");
  if (nothrow) return false;
  throw_bad_alloc();
  log_print(NULL, NULL, "mimalloc: error: out of memory in new, and no C++ runtime to throw\n");
  os_abort();
}

static COLD void* new_retry(heap_t* heap, size_t size, size_t align, bool nothrow) {
  while (new_failed(nothrow)) {
    void* p = align == 0 ? alloc_any_in(heap, size) : alloc_aligned_in(heap, size, align, 0, false);
    if (p != NULL) return p;
  }
  return NULL;
}

void* mi_new(size_t size) {
  void* p = alloc_any(size);
  return likely(p != NULL) ? p : new_retry(heap_default, size, 0, false);
}
void* mi_new_nothrow(size_t size) mi_attr_noexcept {
  void* p = alloc_any(size);
  return likely(p != NULL) ? p : new_retry(heap_default, size, 0, true);
}
void* mi_new_aligned(size_t size, size_t alignment) {
  void* p = alloc_aligned(size, alignment);
  return likely(p != NULL) ? p : new_retry(heap_default, size, alignment, false);
}
void* mi_new_aligned_nothrow(size_t size, size_t alignment) mi_attr_noexcept {
  void* p = alloc_aligned(size, alignment);
  return likely(p != NULL) ? p : new_retry(heap_default, size, alignment, true);
}

/* ---- arrays, and reallocation ---- */

/* No handler can cure a product that overflows, so there is one step only. */
static COLD void* new_overflow(size_t count, size_t size) {
  (void)alloc_overflow(count, size);
  (void)new_failed(false);
  return NULL;
}

void* mi_new_n(size_t count, size_t size) {
  size_t total;
  return likely(multiply(count, size, &total)) ? mi_new(total) : new_overflow(count, size);
}
void* mi_new_realloc(void* p, size_t newsize) {
  void* q;
  do {
    q = mi_realloc(p, newsize);
  } while (unlikely(q == NULL) && new_failed(false));
  return q;
}
void* mi_new_reallocn(void* p, size_t newcount, size_t size) {
  size_t total;
  return likely(multiply(newcount, size, &total)) ? mi_new_realloc(p, total)
                                                  : new_overflow(newcount, size);
}

/* ---- from a heap that the caller names ---- */

void* mi_heap_alloc_new(mi_heap_t* heap, size_t size) {
  heap = heap_named(heap);
  void* p = alloc_any_in(heap, size);
  return likely(p != NULL) ? p : new_retry(heap, size, 0, false);
}
void* mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size) {
  size_t total;
  return likely(multiply(count, size, &total)) ? mi_heap_alloc_new(heap, total)
                                               : new_overflow(count, size);
}
