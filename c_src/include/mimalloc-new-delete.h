/* mimalloc-new-delete.h - the global operators new and delete, with memory from mimalloc.
 *
 * Include this in exactly one source file of a C++ program; C programs do not need it. It serves
 * programs whose mimalloc was built without the override of these symbols (on Windows the static
 * library always is). If the library or object has the override too, the operators of this header
 * are used: the definitions of a program come before those of a library.
 *
 * The header defines the operators of the language version: sized delete from C++14 on, the forms
 * with an alignment from C++17 on. Both are also defined where the compiler enables them earlier.
 *
 * The nothrow forms return NULL also when the new-handler throws, as C++ requires. This header
 * catches the exception, because C cannot do it: with direct calls of mi_new_nothrow and
 * mi_new_aligned_nothrow the handler must not throw. Without exceptions (-fno-exceptions) the same
 * holds for the operators.
 *
 * Clang's AddressSanitizer poisons the first word of an array of objects with a destructor and
 * unpoisons it only in its own delete[]: ASAN_OPTIONS=poison_array_cookie=0 is needed.
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

/* mi_new finds the C++ runtime on ELF systems only; elsewhere it calls no handler. The first catch
 * names the type so that a static C++ runtime is linked with what mi_new needs to throw it. */
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

/* The language version is not enough: -fno-aligned-new turns these forms off in C++17. */
#if defined(__cpp_aligned_new)
mi_decl_new(n) void* operator new(std::size_t n, std::align_val_t al) {
  return mi_new_aligned(n, static_cast<std::size_t>(al));
}
mi_decl_new(n) void* operator new[](std::size_t n, std::align_val_t al) {
  return mi_new_aligned(n, static_cast<std::size_t>(al));
}
mi_decl_new_nothrow(n) void* operator new(std::size_t n, std::align_val_t al, const std::nothrow_t&)
    mi_attr_noexcept {
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
