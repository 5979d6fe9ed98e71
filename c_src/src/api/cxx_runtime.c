/* cxx_runtime.c - the C++ runtime of the calling code: its new-handler, its exceptions.
 *
 * Always:  nothing is looked up before an allocation has failed. The look-up does not take the
 *          loader's lock and does not allocate. A library that is loaded later may bring a runtime
 *          that only this library sees, and a process may have two runtimes (libstdc++, libc++abi).
 *          So the first choice is the runtime that the calling object contains or uses.
 * Threads: any.
 */
#include "cxx_runtime.h"
#include "../os/os.h"

#if defined(__ELF__)

/* Bound when this library was loaded or linked; a static program has no other source. A static
 * program contains the parts of `throw std::bad_alloc()` if it catches this exception, while the
 * function of the runtime that throws it may not be linked. */
extern new_handler_t _ZSt15get_new_handlerv(void) __attribute__((weak));
extern void* __cxa_allocate_exception(size_t size) __attribute__((weak));
extern void __cxa_throw(void* object, const void* type, void (*destroy)(void*))
    __attribute__((weak));
extern const void* const _ZTVSt9bad_alloc[] __attribute__((weak)); /* functions from word 2 on */
extern const char _ZTISt9bad_alloc[] __attribute__((weak));
extern void _ZNSt9bad_allocD1Ev(void* object) __attribute__((weak));

typedef struct runtime_s {
  new_handler_t (*get_new_handler)(void);
  void* (*allocate_exception)(size_t size);
  void (*throw_exception)(void* object, const void* type, void (*destroy)(void*));
  const void* const* vtable;
  const void* type;
  void (*destroy)(void*);
} runtime_t;

static bool runtime_can_throw(const runtime_t* r) {
  return r->allocate_exception != NULL && r->throw_exception != NULL && r->vtable != NULL &&
         r->type != NULL && r->destroy != NULL;
}

/* In C a function pointer may differ from a data pointer; on ELF systems they are the same. */
#define FIND(field, name)                                                                          \
  do {                                                                                             \
    void* found = os_symbol(OS_DEFINED_AT, address, name);                                         \
    memcpy(&r->field, &found, sizeof(found));                                                      \
  } while (0)

/* The runtime that the object at `address` is, or contains. */
static bool runtime_at(const void* address, runtime_t* r) {
  FIND(throw_exception, "__cxa_throw");
  if (r->throw_exception == NULL) return false;
  FIND(get_new_handler, "_ZSt15get_new_handlerv");
  FIND(allocate_exception, "__cxa_allocate_exception");
  FIND(vtable, "_ZTVSt9bad_alloc");
  FIND(type, "_ZTISt9bad_alloc");
  FIND(destroy, "_ZNSt9bad_allocD1Ev");
  return runtime_can_throw(r);
}

/* The symbol that all code with exceptions takes from its runtime. */
#define PERSONALITY "__gxx_personality_v0"

static void runtime_find(const void* caller, runtime_t* r) {
  if (runtime_at(caller, r) || runtime_at(os_symbol(OS_BOUND_AT, caller, PERSONALITY), r)) return;
  *r = (runtime_t){&_ZSt15get_new_handlerv, &__cxa_allocate_exception, &__cxa_throw,
                   _ZTVSt9bad_alloc,        _ZTISt9bad_alloc,          &_ZNSt9bad_allocD1Ev};
  /* The caller may be C code, or the return address may be that of its own caller, after a tail
   * call. */
  runtime_t any;
  if (!runtime_can_throw(r) && runtime_at(os_symbol(OS_ANYWHERE, NULL, PERSONALITY), &any))
    *r = any;
}

INTERNAL new_handler_t runtime_new_handler(const void* caller) {
  runtime_t r;
  runtime_find(caller, &r);
  return r.get_new_handler != NULL ? r.get_new_handler() : NULL;
}

INTERNAL void runtime_throw_bad_alloc(const void* caller) {
  runtime_t r;
  runtime_find(caller, &r);
  if (!runtime_can_throw(&r)) return;
  const void** object = r.allocate_exception(sizeof(void*));
  *object = &r.vtable[2];
  r.throw_exception(object, r.type, r.destroy);
}

#else

INTERNAL new_handler_t runtime_new_handler(const void* caller) {
  (void)caller;
  return NULL;
}
INTERNAL void runtime_throw_bad_alloc(const void* caller) { (void)caller; }

#endif
