/* mimalloc-new-delete.h - the global operators new and delete, with memory from mimalloc.
 *
 * Include this in exactly one source file of a C++ program; nothing is needed in C. It serves
 * programs whose mimalloc was built without the override of these symbols (on Windows the static
 * library always is). Where the library or the object that it is linked with has the override,
 * these are used all the same: a program's forms come before ours.
 *
 * Defined are the operators of the language version: sized delete from C++14 on, the forms with
 * an alignment from C++17 on, both also where the compiler was told to have them earlier.
 *
 * The nothrow forms return NULL also when the new-handler throws, as C++ has it. That takes a
 * catch here, because C cannot do it: called directly, mi_new_nothrow and mi_new_aligned_nothrow
 * must not meet a handler that throws. Without exceptions (-fno-exceptions) the same holds for
 * the operators.
 *
 * Clang's AddressSanitizer forbids the first word of an array of objects with a destructor and
 * allows it again only in its own delete[]: ASAN_OPTIONS=poison_array_cookie=0 is needed.
 */
#pragma once
#ifndef MIMALLOC_NEW_DELETE_H
#define MIMALLOC_NEW_DELETE_H

#if defined(__cplusplus)

#include <new>
#include "mimalloc.h"

#if (__cplusplus >= 201103L) || (defined(_MSC_VER) && _MSC_VER >= 1900)
#define mi_throws_bad_alloc
#else
#define mi_throws_bad_alloc throw(std::bad_alloc)
#endif

#if defined(_MSC_VER) && defined(_Ret_notnull_) && defined(_Post_writable_byte_size_)
#define mi_decl_new(n) _Ret_notnull_ _Post_writable_byte_size_(n)
#define mi_decl_new_nothrow(n)                                                                     \
  _Ret_maybenull_ _Success_(return != NULL) _Post_writable_byte_size_(n)
#else
#define mi_decl_new(n)
#define mi_decl_new_nothrow(n)
#endif

/* Only on ELF systems does mi_new know the C++ runtime; elsewhere it calls no handler. The first
 * catch has no effect of its own: by naming the type it has a static C++ runtime linked with what
 * mi_new needs to throw it. */
#if defined(__ELF__) && (defined(__cpp_exceptions) || defined(__EXCEPTIONS))
#define mi_null_on_throw(call, call_nothrow)                                                       \
  try {                                                                                            \
    return call;                                                                                   \
  } catch (const std::bad_alloc&) {                                                                \
  } catch (...) {                                                                                  \
  }                                                                                                \
  return NULL
#else
#define mi_null_on_throw(call, call_nothrow) return call_nothrow
#endif

/* ---- plain ------------------------------------------------------------------ */

mi_decl_new(n) void* operator new(std::size_t n) mi_throws_bad_alloc { return mi_new(n); }
mi_decl_new(n) void* operator new[](std::size_t n) mi_throws_bad_alloc { return mi_new(n); }
mi_decl_new_nothrow(n) void* operator new(std::size_t n, const std::nothrow_t&) mi_attr_noexcept {
  mi_null_on_throw(mi_new(n), mi_new_nothrow(n));
}
mi_decl_new_nothrow(n) void* operator new[](std::size_t n, const std::nothrow_t&) mi_attr_noexcept {
  mi_null_on_throw(mi_new(n), mi_new_nothrow(n));
}

void operator delete(void* p) mi_attr_noexcept { mi_free(p); }
void operator delete[](void* p) mi_attr_noexcept { mi_free(p); }
void operator delete(void* p, const std::nothrow_t&) mi_attr_noexcept { mi_free(p); }
void operator delete[](void* p, const std::nothrow_t&) mi_attr_noexcept { mi_free(p); }

/* ---- with the size ---------------------------------------------------------- */

#if (__cplusplus >= 201402L) || (defined(_MSC_VER) && _MSC_VER >= 1916) ||                         \
    defined(__cpp_sized_deallocation)
void operator delete(void* p, std::size_t n) mi_attr_noexcept { mi_free_size(p, n); }
void operator delete[](void* p, std::size_t n) mi_attr_noexcept { mi_free_size(p, n); }
#endif

/* ---- with an alignment ------------------------------------------------------ */

/* The language version alone does not tell: C++17 can be had without them (-fno-aligned-new). */
#if defined(__cpp_aligned_new)
mi_decl_new(n) void* operator new(std::size_t n, std::align_val_t al) {
  return mi_new_aligned(n, static_cast<std::size_t>(al));
}
mi_decl_new(n) void* operator new[](std::size_t n, std::align_val_t al) {
  return mi_new_aligned(n, static_cast<std::size_t>(al));
}
mi_decl_new_nothrow(n) void* operator new(std::size_t n, std::align_val_t al,
                                          const std::nothrow_t&) mi_attr_noexcept {
  mi_null_on_throw(mi_new_aligned(n, static_cast<std::size_t>(al)),
                   mi_new_aligned_nothrow(n, static_cast<std::size_t>(al)));
}
mi_decl_new_nothrow(n) void* operator new[](std::size_t n, std::align_val_t al,
                                            const std::nothrow_t&) mi_attr_noexcept {
  mi_null_on_throw(mi_new_aligned(n, static_cast<std::size_t>(al)),
                   mi_new_aligned_nothrow(n, static_cast<std::size_t>(al)));
}

void operator delete(void* p, std::align_val_t al) mi_attr_noexcept {
  mi_free_aligned(p, static_cast<std::size_t>(al));
}
void operator delete[](void* p, std::align_val_t al) mi_attr_noexcept {
  mi_free_aligned(p, static_cast<std::size_t>(al));
}
void operator delete(void* p, std::size_t n, std::align_val_t al) mi_attr_noexcept {
  mi_free_size_aligned(p, n, static_cast<std::size_t>(al));
}
void operator delete[](void* p, std::size_t n, std::align_val_t al) mi_attr_noexcept {
  mi_free_size_aligned(p, n, static_cast<std::size_t>(al));
}
void operator delete(void* p, std::align_val_t al, const std::nothrow_t&) mi_attr_noexcept {
  mi_free_aligned(p, static_cast<std::size_t>(al));
}
void operator delete[](void* p, std::align_val_t al, const std::nothrow_t&) mi_attr_noexcept {
  mi_free_aligned(p, static_cast<std::size_t>(al));
}
#endif

#undef mi_null_on_throw
#undef mi_decl_new_nothrow
#undef mi_decl_new
#undef mi_throws_bad_alloc

#endif /* __cplusplus */
#endif /* MIMALLOC_NEW_DELETE_H */
