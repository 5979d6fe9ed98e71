/* cxx.c - allocation by the C++ protocol, from C.
 *
 * Owns:    nothing.
 * Always:  the C++ runtime is looked up through weak references: where it is present the
 *          program's new-handler is called and std::bad_alloc is thrown (this file is compiled with
 *          -fexceptions, so it can pass through), else the program aborts with a message.
 * Threads: any.
 * Uses:    aligned.h, log.h.          Used by: the program, override.
 */
#include "aligned.h"
#include "alloc.h"
#include "log.h"

typedef void (*new_handler_t)(void);
#if defined(__ELF__)
extern new_handler_t _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void _ZSt17__throw_bad_allocv(void) __attribute__((weak));
static new_handler_t get_new_handler(void) {
  return &_ZSt15get_new_handlerv != NULL ? _ZSt15get_new_handlerv() : NULL;
}
static void throw_bad_alloc(void) {
  if (&_ZSt17__throw_bad_allocv != NULL) _ZSt17__throw_bad_allocv();
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

static COLD void* new_retry(size_t size, size_t align, bool nothrow) {
  while (new_failed(nothrow)) {
    void* p = align == 0 ? alloc_any(size) : alloc_aligned(size, align, 0, false);
    if (p != NULL) return p;
  }
  return NULL;
}

void* mi_new(size_t size) {
  void* p = alloc_any(size);
  return likely(p != NULL) ? p : new_retry(size, 0, false);
}
void* mi_new_nothrow(size_t size) mi_attr_noexcept {
  void* p = alloc_any(size);
  return likely(p != NULL) ? p : new_retry(size, 0, true);
}
void* mi_new_aligned(size_t size, size_t alignment) {
  void* p = alloc_aligned(size, alignment, 0, false);
  return likely(p != NULL) ? p : new_retry(size, alignment, false);
}
void* mi_new_aligned_nothrow(size_t size, size_t alignment) mi_attr_noexcept {
  void* p = alloc_aligned(size, alignment, 0, false);
  return likely(p != NULL) ? p : new_retry(size, alignment, true);
}
