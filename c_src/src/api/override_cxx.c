/* override_cxx.c - the operators new and delete of C++, by their mangled names, on ELF systems.
 *
 * Always:  each form does what C++ requires of it, [new.delete]. A program may replace any of them.
 *          The forms that it does not replace forward to the visible ones:
 *
 *            new[](n)              -> new(n)               delete[](p)          -> delete(p)
 *            new(n, nothrow)       -> new(n)               delete(p, n)         -> delete(p)
 *            new[](n, nothrow)     -> new[](n)             delete[](p, n)       -> delete[](p)
 *                                                          delete(p, nothrow)   -> delete(p)
 *                                                          delete[](p, nothrow) -> delete[](p)
 *
 *          and the same with an alignment in each. The other four are new(n) and delete(p), without
 *          and with an alignment. They use our functions and not the visible malloc and free: a
 *          block from new goes back by delete.
 * Threads: any.
 */
#include "override.h"

#if MI_MALLOC_OVERRIDE && defined(__ELF__)

#include "cxx.h"
#include "cxx_catch.h"
#include "cxx_runtime.h"

typedef struct {
  int x;
} nothrow_t; /* std::nothrow_t, passed by reference */

#if UINTPTR_MAX > UINT32_MAX
#define SZ m
#else
#define SZ j
#endif
#define CAT3(a, b, c) a##b##c
#define MANGLE(a, sz, c) CAT3(a, sz, c)

#define NEW MANGLE(_Znw, SZ, )
#define NEW_ARRAY MANGLE(_Zna, SZ, )
#define NEW_NOTHROW MANGLE(_Znw, SZ, RKSt9nothrow_t)
#define NEW_ARRAY_NOTHROW MANGLE(_Zna, SZ, RKSt9nothrow_t)
#define NEW_ALIGNED MANGLE(_Znw, SZ, St11align_val_t)
#define NEW_ARRAY_ALIGNED MANGLE(_Zna, SZ, St11align_val_t)
#define NEW_ALIGNED_NOTHROW MANGLE(_Znw, SZ, St11align_val_tRKSt9nothrow_t)
#define NEW_ARRAY_ALIGNED_NOTHROW MANGLE(_Zna, SZ, St11align_val_tRKSt9nothrow_t)
#define DELETE _ZdlPv
#define DELETE_ARRAY _ZdaPv
#define DELETE_SIZED MANGLE(_ZdlPv, SZ, )
#define DELETE_ARRAY_SIZED MANGLE(_ZdaPv, SZ, )
#define DELETE_ALIGNED _ZdlPvSt11align_val_t
#define DELETE_ARRAY_ALIGNED _ZdaPvSt11align_val_t
#define DELETE_SIZED_ALIGNED MANGLE(_ZdlPv, SZ, St11align_val_t)
#define DELETE_ARRAY_SIZED_ALIGNED MANGLE(_ZdaPv, SZ, St11align_val_t)
#define DELETE_NOTHROW _ZdlPvRKSt9nothrow_t
#define DELETE_ARRAY_NOTHROW _ZdaPvRKSt9nothrow_t
#define DELETE_ALIGNED_NOTHROW _ZdlPvSt11align_val_tRKSt9nothrow_t
#define DELETE_ARRAY_ALIGNED_NOTHROW _ZdaPvSt11align_val_tRKSt9nothrow_t

/* ---- the four that do not forward ---- */

ALIAS(mi_new) NOPLT WEAK void* NEW(size_t n);
ALIAS(mi_new_aligned) NOPLT WEAK void* NEW_ALIGNED(size_t n, size_t al);
ALIAS(mi_free) NOPLT WEAK void DELETE(void* p);
ALIAS(mi_free_aligned) NOPLT WEAK void DELETE_ALIGNED(void* p, size_t al);

EXPORT NOPLT WEAK void* NEW_ARRAY(size_t n);
EXPORT NOPLT WEAK void* NEW_ARRAY_ALIGNED(size_t n, size_t al);
EXPORT NOPLT WEAK void DELETE_ARRAY(void* p);
EXPORT NOPLT WEAK void DELETE_ARRAY_ALIGNED(void* p, size_t al);

/* ---- our definitions, and whether they are visible ---- */

OWN(NEW) void* own_NEW(size_t n);
OWN(NEW_ARRAY) void* own_NEW_ARRAY(size_t n);
OWN(NEW_ALIGNED) void* own_NEW_ALIGNED(size_t n, size_t al);
OWN(NEW_ARRAY_ALIGNED) void* own_NEW_ARRAY_ALIGNED(size_t n, size_t al);
OWN(DELETE) void own_DELETE(void* p);
OWN(DELETE_ARRAY) void own_DELETE_ARRAY(void* p);
OWN(DELETE_ALIGNED) void own_DELETE_ALIGNED(void* p, size_t al);
OWN(DELETE_ARRAY_ALIGNED) void own_DELETE_ARRAY_ALIGNED(void* p, size_t al);

/* ---- arrays ---- */

/* A tail call is a jump, so new finds the return address of our caller. Debug builds make no tail
 * calls, so they pass the address on. */
EXPORT WEAK void* NEW_ARRAY(size_t n) {
  return MI_DEBUG > 0 && is_ours(NEW) ? new_in(heap_default, n, CALLER) : NEW(n);
}
EXPORT WEAK void* NEW_ARRAY_ALIGNED(size_t n, size_t al) {
  return MI_DEBUG > 0 && is_ours(NEW_ALIGNED) ? new_aligned_in(heap_default, n, al, CALLER)
                                              : NEW_ALIGNED(n, al);
}
EXPORT WEAK void DELETE_ARRAY(void* p) { DELETE(p); }
EXPORT WEAK void DELETE_ARRAY_ALIGNED(void* p, size_t al) { DELETE_ALIGNED(p, al); }

/* ---- new without exceptions ---- */

static void* new_again_or_null(size_t size, size_t align, const void* caller) {
  return new_retry(heap_default, size, align, true, caller);
}

/* Defines a form. `ours`: no form that it forwards to is the program's; `call`: these forms. Our
 * functions throw only what a new-handler throws. */
#define DEFINE_NOTHROW(name, parameters, align, ours, by_us, call)                                 \
  static void* attempt_##name(size_t n, size_t al, const void* caller) {                           \
    return (void)al, (void)caller, call;                                                           \
  }                                                                                                \
  EXPORT WEAK void* name(WITHOUT_PARENTHESES parameters, const nothrow_t* t) {                     \
    (void)t;                                                                                       \
    if (unlikely(!(ours))) return exception_catch(&attempt_##name, n, align, CALLER);              \
    void* p = by_us;                                                                               \
    return likely(p != NULL) ? p : exception_catch(&new_again_or_null, n, align, CALLER);          \
  }
DEFINE_NOTHROW(NEW_NOTHROW, (size_t n), 0, is_ours(NEW), malloc_in(heap_default, n), NEW(n))
DEFINE_NOTHROW(NEW_ARRAY_NOTHROW, (size_t n), 0, is_ours(NEW_ARRAY) && is_ours(NEW),
               malloc_in(heap_default, n), NEW_ARRAY(n))
DEFINE_NOTHROW(NEW_ALIGNED_NOTHROW, (size_t n, size_t al), al, is_ours(NEW_ALIGNED),
               malloc_aligned(heap_default, n, al), NEW_ALIGNED(n, al))
DEFINE_NOTHROW(NEW_ARRAY_ALIGNED_NOTHROW, (size_t n, size_t al), al,
               is_ours(NEW_ARRAY_ALIGNED) && is_ours(NEW_ALIGNED),
               malloc_aligned(heap_default, n, al), NEW_ARRAY_ALIGNED(n, al))

/* ---- delete with a size or an alignment ---- */

/* Debug and secure builds compare the size and the alignment with the block. Where the program has
 * its own delete, the block may not be ours, and nothing is compared. */
EXPORT WEAK void DELETE_SIZED(void* p, size_t n) {
  (MI_CHECKED && is_ours(DELETE)) ? mi_free_size(p, n) : DELETE(p);
}
EXPORT WEAK void DELETE_ARRAY_SIZED(void* p, size_t n) {
  (MI_CHECKED && is_ours(DELETE_ARRAY) && is_ours(DELETE)) ? mi_free_size(p, n) : DELETE_ARRAY(p);
}
EXPORT WEAK void DELETE_SIZED_ALIGNED(void* p, size_t n, size_t al) {
  (MI_CHECKED && is_ours(DELETE_ALIGNED)) ? mi_free_size_aligned(p, n, al) : DELETE_ALIGNED(p, al);
}
EXPORT WEAK void DELETE_ARRAY_SIZED_ALIGNED(void* p, size_t n, size_t al) {
  (MI_CHECKED && is_ours(DELETE_ARRAY_ALIGNED) && is_ours(DELETE_ALIGNED))
      ? mi_free_size_aligned(p, n, al)
      : DELETE_ARRAY_ALIGNED(p, al);
}

EXPORT WEAK void DELETE_NOTHROW(void* p, const nothrow_t* t) { (void)t, DELETE(p); }
EXPORT WEAK void DELETE_ARRAY_NOTHROW(void* p, const nothrow_t* t) { (void)t, DELETE_ARRAY(p); }
EXPORT WEAK void DELETE_ALIGNED_NOTHROW(void* p, size_t al, const nothrow_t* t) {
  (void)t, DELETE_ALIGNED(p, al);
}
EXPORT WEAK void DELETE_ARRAY_ALIGNED_NOTHROW(void* p, size_t al, const nothrow_t* t) {
  (void)t, DELETE_ARRAY_ALIGNED(p, al);
}

#endif
