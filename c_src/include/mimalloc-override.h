/* mimalloc-override.h - the allocation functions of C, Unix and Microsoft as macros for ours.
 *
 * For sources that use mimalloc where the symbols themselves cannot be overridden. Only calls in
 * files that include this header change, so all files that pass blocks to each other must include
 * it. Such a file must not free blocks that a library allocates (getline, asprintf, ...), unless
 * the library has the override as well.
 *
 * Include it last. It includes the headers of the C library that declare these functions. In any
 * header after it, calls and declarations of these names would change, those of member functions
 * too. In C++ a qualified call such as std::malloc does not compile.
 */
#pragma once
#ifndef MIMALLOC_OVERRIDE_H
#define MIMALLOC_OVERRIDE_H

#include "mimalloc.h"

/* All headers that declare these names. After the macros such a header would declare our functions
 * instead, and <cstdlib> would remove the macros. */
#if defined(__cplusplus)
#include <cstdlib>
#include <cstring>
#endif
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#if defined(__linux__) || defined(_WIN32)
#include <malloc.h>
#elif defined(__APPLE__)
#include <malloc/malloc.h>
#endif

/* A C library may have macros of its own for them. */
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef strdup
#undef strndup
#undef realpath
#undef reallocf
#undef malloc_size
#undef malloc_usable_size
#undef malloc_good_size
#undef cfree
#undef valloc
#undef pvalloc
#undef reallocarray
#undef reallocarr
#undef memalign
#undef aligned_alloc
#undef posix_memalign
#undef _posix_memalign
#undef _expand
#undef _msize
#undef _recalloc
#undef _strdup
#undef _strndup
#undef _wcsdup
#undef _mbsdup
#undef _dupenv_s
#undef _wdupenv_s
#undef _aligned_malloc
#undef _aligned_realloc
#undef _aligned_recalloc
#undef _aligned_msize
#undef _aligned_free
#undef _aligned_offset_malloc
#undef _aligned_offset_realloc
#undef _aligned_offset_recalloc

/* C and POSIX. */
#define malloc(n) mi_malloc(n)
#define calloc(n, c) mi_calloc(n, c)
#define realloc(p, n) mi_realloc(p, n)
#define free(p) mi_free(p)
#define strdup(s) mi_strdup(s)
#define strndup(s, n) mi_strndup(s, n)
#define realpath(f, n) mi_realpath(f, n)

/* Unix. */
#define reallocf(p, n) mi_reallocf(p, n)
#define malloc_size(p) mi_usable_size(p)
#define malloc_usable_size(p) mi_usable_size(p)
#define malloc_good_size(sz) mi_malloc_good_size(sz)
#define cfree(p) mi_free(p)
#define valloc(n) mi_valloc(n)
#define pvalloc(n) mi_pvalloc(n)
#define reallocarray(p, s, n) mi_reallocarray(p, s, n)
#define reallocarr(p, s, n) mi_reallocarr(p, s, n)
#define memalign(a, n) mi_memalign(a, n)
#define aligned_alloc(a, n) mi_aligned_alloc(a, n)
#define posix_memalign(p, a, n) mi_posix_memalign(p, a, n)
#define _posix_memalign(p, a, n) mi_posix_memalign(p, a, n)

/* Microsoft. The wide forms are right only where wchar_t has 16 bits, as on Windows. */
#define _expand(p, n) mi_expand(p, n)
#define _msize(p) mi_usable_size(p)
#define _recalloc(p, n, c) mi_recalloc(p, n, c)
#define _strdup(s) mi_strdup(s)
#define _strndup(s, n) mi_strndup(s, n)
#define _wcsdup(s) ((wchar_t*)mi_wcsdup((const unsigned short*)(s)))
#define _mbsdup(s) mi_mbsdup(s)
#define _dupenv_s(b, n, v) mi_dupenv_s(b, n, v)
#define _wdupenv_s(b, n, v) mi_wdupenv_s((unsigned short**)(b), n, (const unsigned short*)(v))
#define _aligned_malloc(n, a) mi_malloc_aligned(n, a)
#define _aligned_realloc(p, n, a) mi_realloc_aligned(p, n, a)
#define _aligned_recalloc(p, s, n, a) mi_aligned_recalloc(p, s, n, a)
#define _aligned_msize(p, a, o) mi_usable_size(p)
#define _aligned_free(p) mi_free(p)
#define _aligned_offset_malloc(n, a, o) mi_malloc_aligned_at(n, a, o)
#define _aligned_offset_realloc(p, n, a, o) mi_realloc_aligned_at(p, n, a, o)
#define _aligned_offset_recalloc(p, s, n, a, o) mi_recalloc_aligned_at(p, s, n, a, o)

#endif /* MIMALLOC_OVERRIDE_H */
