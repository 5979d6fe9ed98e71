/* calls.h - the functions that allocate and resize, by number, and what each of them takes.
 *
 * What it gives is checked by fuzz_api.c; here only what the call itself shows.
 */
#pragma once

#include "model.h"

/* The parameters and the result of a function. */
enum {
  ZERO = 1,
  SMALL = 2,
  PRODUCT = 4,
  ALIGN = 8,
  OFFSET = 16,
  HEAP = 32,
  ALIGN8 = 64,   /* needs no more than that */
  OS_PAGE = 128, /* aligned to one */
  MODEST = 256,  /* would throw: only gets requests that can succeed */
  TEXT = 512     /* see alloc_text */
};

#define ALLOCATIONS(X)                                                                             \
  X(MALLOC, 0)                                                                                     \
  X(ZALLOC, ZERO)                                                                                  \
  X(CALLOC, ZERO | PRODUCT)                                                                        \
  X(MALLOCN, PRODUCT)                                                                              \
  X(MALLOC_SMALL, SMALL)                                                                           \
  X(ZALLOC_SMALL, SMALL | ZERO)                                                                    \
  X(MALLOC_ALIGN8, ALIGN8)                                                                         \
  X(ZALLOC_ALIGN8, ALIGN8 | ZERO)                                                                  \
  X(UMALLOC, 0)                                                                                    \
  X(UCALLOC, ZERO | PRODUCT)                                                                       \
  X(UMALLOC_SMALL, SMALL)                                                                          \
  X(UZALLOC_SMALL, SMALL | ZERO)                                                                   \
  X(UMALLOC_ALIGNED, ALIGN)                                                                        \
  X(UZALLOC_ALIGNED, ALIGN | ZERO)                                                                 \
  X(MALLOC_ALIGNED, ALIGN)                                                                         \
  X(ZALLOC_ALIGNED, ALIGN | ZERO)                                                                  \
  X(CALLOC_ALIGNED, ALIGN | ZERO | PRODUCT)                                                        \
  X(MALLOC_ALIGNED_AT, ALIGN | OFFSET)                                                             \
  X(ZALLOC_ALIGNED_AT, ALIGN | OFFSET | ZERO)                                                      \
  X(CALLOC_ALIGNED_AT, ALIGN | OFFSET | ZERO | PRODUCT)                                            \
  X(POSIX_MEMALIGN, ALIGN)                                                                         \
  X(MEMALIGN, ALIGN)                                                                               \
  X(ALIGNED_ALLOC, ALIGN)                                                                          \
  X(VALLOC, OS_PAGE)                                                                               \
  X(PVALLOC, OS_PAGE)                                                                              \
  X(NEW_ALIGNED_NOTHROW, ALIGN)                                                                    \
  X(NEW_NOTHROW, 0)                                                                                \
  X(NEW, MODEST)                                                                                   \
  X(NEW_N, MODEST | PRODUCT)                                                                       \
  X(NEW_ALIGNED, MODEST | ALIGN)                                                                   \
  X(STRDUP, TEXT)                                                                                  \
  X(STRNDUP, TEXT)                                                                                 \
  X(MBSDUP, TEXT)                                                                                  \
  X(WCSDUP, TEXT)                                                                                  \
  X(REALPATH, TEXT)                                                                                \
  X(DUPENV, TEXT)                                                                                  \
  X(HEAP_MALLOC, HEAP)                                                                             \
  X(HEAP_ZALLOC, HEAP | ZERO)                                                                      \
  X(HEAP_CALLOC, HEAP | ZERO | PRODUCT)                                                            \
  X(HEAP_MALLOCN, HEAP | PRODUCT)                                                                  \
  X(HEAP_MALLOC_SMALL, HEAP | SMALL)                                                               \
  X(HEAP_ZALLOC_SMALL, HEAP | SMALL | ZERO)                                                        \
  X(HEAP_STRDUP, HEAP | TEXT)                                                                      \
  X(HEAP_STRNDUP, HEAP | TEXT)                                                                     \
  X(HEAP_REALPATH, HEAP | TEXT)                                                                    \
  X(HEAP_MALLOC_ALIGNED, HEAP | ALIGN)                                                             \
  X(HEAP_MALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET)                                                 \
  X(HEAP_ZALLOC_ALIGNED, HEAP | ALIGN | ZERO)                                                      \
  X(HEAP_ZALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET | ZERO)                                          \
  X(HEAP_CALLOC_ALIGNED, HEAP | ALIGN | ZERO | PRODUCT)                                            \
  X(HEAP_CALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET | ZERO | PRODUCT)                                \
  X(HEAP_ALLOC_NEW, HEAP | MODEST)                                                                 \
  X(HEAP_ALLOC_NEW_N, HEAP | MODEST | PRODUCT)

#define NAME_OF(name, flags) A_##name,
#define FLAGS_OF(name, flags) flags,
typedef enum alloc_e { ALLOCATIONS(NAME_OF) ALLOC_KINDS } alloc_t;
static const unsigned alloc_flags[] = {ALLOCATIONS(FLAGS_OF)};

/* A copy of one of `text`'s tails, or of something else that has an end. */
static char* alloc_text(alloc_t kind, mi_heap_t* heap, request_t* r) {
  static const char text[] = "a string that has some length, but not too much of it; text text";
  static const unsigned short wide[] = {0x100, 0x200, 0x300, 0x400, 0x500, 0x600, 0x700, 0};
  size_t length = take8(&input) % sizeof text, limit = take8(&input) % (sizeof text + 4);
  const char* s = text + sizeof text - 1 - length;
  size_t kept = limit < length ? limit : length;
  char* p = NULL;
  switch (kind) {
  case A_STRDUP:
    p = launder(mi_strdup(s));
    kept = length;
    break;
  case A_HEAP_STRDUP:
    p = launder(mi_heap_strdup(heap, s));
    kept = length;
    break;
  case A_MBSDUP:
    p = launder(mi_mbsdup((const unsigned char*)s));
    kept = length;
    break;
  case A_STRNDUP:
    p = launder(mi_strndup(s, limit));
    break;
  case A_HEAP_STRNDUP:
    p = launder(mi_heap_strndup(heap, s, limit));
    break;
  case A_WCSDUP: {
    const unsigned short* w = wide + limit % 8;
    r->size = sizeof wide - limit % 8 * sizeof *w;
    p = launder(mi_wcsdup(w));
    FUZZ_CHECK(p != NULL && memcmp(p, w, r->size) == 0);
    return p;
  }
  default: { /* the root's path */
    size_t size = 2;
    if (kind == A_REALPATH) p = launder(mi_realpath("/.", NULL));
    if (kind == A_HEAP_REALPATH) p = launder(mi_heap_realpath(heap, "/..", NULL));
    if (kind == A_DUPENV) {
      FUZZ_CHECK(mi_dupenv_s(&p, &size, "FUZZ_NO_SUCH_VARIABLE") == 0 && p == NULL && size == 0);
      FUZZ_CHECK(mi_dupenv_s(&p, &size, "FUZZ_VARIABLE") == 0 && size == 2);
      p = launder(p);
    }
    s = "/";
    kept = 1;
    break;
  }
  }
  FUZZ_CHECK(p != NULL && strlen(p) == kept && memcmp(p, s, kept) == 0);
  r->size = kept + 1;
  return p;
}

static void* posix_memalign_checked(request_t* r) {
  void* before = &before;
  void* p = before;
  errno = 77;
  int e = mi_posix_memalign(&p, r->align, r->size);
  FUZZ_CHECK(errno == 77);
  if (e == 0) return p;
  bool valid = is_power_of_two(r->align) && r->align >= sizeof(void*);
  FUZZ_CHECK(p == before && e == (valid ? ENOMEM : EINVAL));
  if (!valid) r->align = 0; /* has to fail */
  return NULL;
}

/* `*told` is the usable size where the function tells it. */
static void* call_alloc(alloc_t kind, mi_heap_t* heap, request_t* r, size_t* told) {
  size_t n = r->size, count = r->count, each = r->each, align = r->align, offset = r->offset;
  switch (kind) {
  case A_MALLOC:
    return mi_malloc(n);
  case A_ZALLOC:
    return mi_zalloc(n);
  case A_CALLOC:
    return mi_calloc(count, each);
  case A_MALLOCN:
    return mi_mallocn(count, each);
  case A_MALLOC_SMALL:
    return mi_malloc_small(n);
  case A_ZALLOC_SMALL:
    return mi_zalloc_small(n);
  case A_MALLOC_ALIGN8:
    return mi_malloc_align8(n);
  case A_ZALLOC_ALIGN8:
    return mi_zalloc_align8(n);
  case A_UMALLOC:
    return mi_umalloc(n, told);
  case A_UCALLOC:
    return mi_ucalloc(count, each, told);
  case A_UMALLOC_SMALL:
    return mi_umalloc_small(n, told);
  case A_UZALLOC_SMALL:
    return mi_uzalloc_small(n, told);
  case A_UMALLOC_ALIGNED:
    return mi_umalloc_aligned(n, align, told);
  case A_UZALLOC_ALIGNED:
    return mi_uzalloc_aligned(n, align, told);
  case A_MALLOC_ALIGNED:
    return mi_malloc_aligned(n, align);
  case A_ZALLOC_ALIGNED:
    return mi_zalloc_aligned(n, align);
  case A_CALLOC_ALIGNED:
    return mi_calloc_aligned(count, each, align);
  case A_MALLOC_ALIGNED_AT:
    return mi_malloc_aligned_at(n, align, offset);
  case A_ZALLOC_ALIGNED_AT:
    return mi_zalloc_aligned_at(n, align, offset);
  case A_CALLOC_ALIGNED_AT:
    return mi_calloc_aligned_at(count, each, align, offset);
  case A_POSIX_MEMALIGN:
    return posix_memalign_checked(r);
  case A_MEMALIGN:
    return mi_memalign(align, n);
  case A_ALIGNED_ALLOC:
    return mi_aligned_alloc(align, n);
  case A_VALLOC:
    return mi_valloc(n);
  case A_PVALLOC:
    if (n <= LARGEST) r->size = (n + align - 1) & ~(align - 1);
    return mi_pvalloc(n);
  case A_NEW_ALIGNED_NOTHROW:
    return mi_new_aligned_nothrow(n, align);
  case A_NEW_NOTHROW:
    return mi_new_nothrow(n);
  case A_NEW:
    return mi_new(n);
  case A_NEW_N:
    return mi_new_n(count, each);
  case A_NEW_ALIGNED:
    return mi_new_aligned(n, align);
  case A_HEAP_MALLOC:
    return mi_heap_malloc(heap, n);
  case A_HEAP_ZALLOC:
    return mi_heap_zalloc(heap, n);
  case A_HEAP_CALLOC:
    return mi_heap_calloc(heap, count, each);
  case A_HEAP_MALLOCN:
    return mi_heap_mallocn(heap, count, each);
  case A_HEAP_MALLOC_SMALL:
    return mi_heap_malloc_small(heap, n);
  case A_HEAP_ZALLOC_SMALL:
    return mi_heap_zalloc_small(heap, n);
  case A_HEAP_MALLOC_ALIGNED:
    return mi_heap_malloc_aligned(heap, n, align);
  case A_HEAP_MALLOC_ALIGNED_AT:
    return mi_heap_malloc_aligned_at(heap, n, align, offset);
  case A_HEAP_ZALLOC_ALIGNED:
    return mi_heap_zalloc_aligned(heap, n, align);
  case A_HEAP_ZALLOC_ALIGNED_AT:
    return mi_heap_zalloc_aligned_at(heap, n, align, offset);
  case A_HEAP_CALLOC_ALIGNED:
    return mi_heap_calloc_aligned(heap, count, each, align);
  case A_HEAP_CALLOC_ALIGNED_AT:
    return mi_heap_calloc_aligned_at(heap, count, each, align, offset);
  case A_HEAP_ALLOC_NEW:
    return mi_heap_alloc_new(heap, n);
  case A_HEAP_ALLOC_NEW_N:
    return mi_heap_alloc_new_n(heap, count, each);
  default:
    return alloc_text(kind, heap, r);
  }
}

/* ---- resizing ------------------------------------------------------------------------ */

#define RESIZES(X)                                                                                 \
  X(REALLOC, 0)                                                                                    \
  X(REALLOCN, PRODUCT)                                                                             \
  X(REALLOCF, 0)                                                                                   \
  X(REALLOCARRAY, PRODUCT)                                                                         \
  X(REALLOCARR, PRODUCT)                                                                           \
  X(UREALLOC, 0)                                                                                   \
  X(NEW_REALLOC, 0)                                                                                \
  X(NEW_REALLOCN, PRODUCT)                                                                         \
  X(HEAP_REALLOC, HEAP)                                                                            \
  X(HEAP_REALLOCN, HEAP | PRODUCT)                                                                 \
  X(HEAP_REALLOCF, HEAP)                                                                           \
  X(REALLOC_ALIGN8, ALIGN8)                                                                        \
  X(REZALLOC, ZERO)                                                                                \
  X(RECALLOC, ZERO | PRODUCT)                                                                      \
  X(HEAP_REZALLOC, HEAP | ZERO)                                                                    \
  X(HEAP_RECALLOC, HEAP | ZERO | PRODUCT)                                                          \
  X(REALLOC_ALIGNED, ALIGN)                                                                        \
  X(REALLOC_ALIGNED_AT, ALIGN | OFFSET)                                                            \
  X(HEAP_REALLOC_ALIGNED, HEAP | ALIGN)                                                            \
  X(HEAP_REALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET)                                                \
  X(REZALLOC_ALIGNED, ALIGN | ZERO)                                                                \
  X(REZALLOC_ALIGNED_AT, ALIGN | OFFSET | ZERO)                                                    \
  X(HEAP_REZALLOC_ALIGNED, HEAP | ALIGN | ZERO)                                                    \
  X(HEAP_REZALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET | ZERO)                                        \
  X(RECALLOC_ALIGNED, ALIGN | ZERO | PRODUCT)                                                      \
  X(RECALLOC_ALIGNED_AT, ALIGN | OFFSET | ZERO | PRODUCT)                                          \
  X(HEAP_RECALLOC_ALIGNED, HEAP | ALIGN | ZERO | PRODUCT)                                          \
  X(HEAP_RECALLOC_ALIGNED_AT, HEAP | ALIGN | OFFSET | ZERO | PRODUCT)                              \
  X(ALIGNED_RECALLOC, ALIGN | ZERO | PRODUCT)                                                      \
  X(ALIGNED_OFFSET_RECALLOC, ALIGN | OFFSET | ZERO | PRODUCT)

typedef enum resize_e {
#define RESIZE_NAME(name, flags) R_##name,
  RESIZES(RESIZE_NAME) RESIZE_KINDS
} resize_t;
static const unsigned resize_flags[] = {RESIZES(FLAGS_OF)};

static void* reallocarr_checked(void* p, const request_t* r) {
  void* holder = p;
  if (r->count == 0 || r->each == 0) return mi_realloc(p, r->size); /* that would be a free */
  int e = mi_reallocarr(&holder, r->count, r->each);
  if (e == 0) return holder;
  FUZZ_CHECK(holder == p && e == errno && (e == ENOMEM || e == EOVERFLOW));
  return NULL;
}

static void* urealloc_checked(void* p, size_t n) {
  size_t before = mi_usable_size(p), pre = SIZE_MAX, post = SIZE_MAX;
  void* q = launder(mi_urealloc(p, n, &pre, &post));
  if (q != NULL) FUZZ_CHECK(pre == before && post == mi_usable_size(q));
  return q;
}

static void* call_resize(resize_t kind, mi_heap_t* heap, void* p, const request_t* r, bool* freed) {
  size_t n = r->size, count = r->count, each = r->each, align = r->align, offset = r->offset;
  switch (kind) {
  case R_REALLOC:
    return mi_realloc(p, n);
  case R_REALLOCN:
    return mi_reallocn(p, count, each);
  case R_REALLOCF:
    *freed = true; /* if it fails */
    return mi_reallocf(p, n);
  case R_REALLOCARRAY:
    return mi_reallocarray(p, count, each);
  case R_REALLOCARR:
    return reallocarr_checked(p, r);
  case R_UREALLOC:
    return urealloc_checked(p, n);
  case R_NEW_REALLOC:
    return n > EASY ? mi_realloc(p, n) : mi_new_realloc(p, n);
  case R_NEW_REALLOCN:
    if (r->overflow || n > EASY) return mi_reallocn(p, count, each);
    return mi_new_reallocn(p, count, each);
  case R_HEAP_REALLOC:
    return mi_heap_realloc(heap, p, n);
  case R_HEAP_REALLOCN:
    return mi_heap_reallocn(heap, p, count, each);
  case R_HEAP_REALLOCF:
    *freed = true;
    return mi_heap_reallocf(heap, p, n);
  case R_REALLOC_ALIGN8:
    return mi_realloc_align8(p, n);
  case R_REZALLOC:
    return mi_rezalloc(p, n);
  case R_RECALLOC:
    return mi_recalloc(p, count, each);
  case R_HEAP_REZALLOC:
    return mi_heap_rezalloc(heap, p, n);
  case R_HEAP_RECALLOC:
    return mi_heap_recalloc(heap, p, count, each);
  case R_REALLOC_ALIGNED:
    return mi_realloc_aligned(p, n, align);
  case R_REALLOC_ALIGNED_AT:
    return mi_realloc_aligned_at(p, n, align, offset);
  case R_HEAP_REALLOC_ALIGNED:
    return mi_heap_realloc_aligned(heap, p, n, align);
  case R_HEAP_REALLOC_ALIGNED_AT:
    return mi_heap_realloc_aligned_at(heap, p, n, align, offset);
  case R_REZALLOC_ALIGNED:
    return mi_rezalloc_aligned(p, n, align);
  case R_REZALLOC_ALIGNED_AT:
    return mi_rezalloc_aligned_at(p, n, align, offset);
  case R_HEAP_REZALLOC_ALIGNED:
    return mi_heap_rezalloc_aligned(heap, p, n, align);
  case R_HEAP_REZALLOC_ALIGNED_AT:
    return mi_heap_rezalloc_aligned_at(heap, p, n, align, offset);
  case R_RECALLOC_ALIGNED:
    return mi_recalloc_aligned(p, count, each, align);
  case R_RECALLOC_ALIGNED_AT:
    return mi_recalloc_aligned_at(p, count, each, align, offset);
  case R_HEAP_RECALLOC_ALIGNED:
    return mi_heap_recalloc_aligned(heap, p, count, each, align);
  case R_HEAP_RECALLOC_ALIGNED_AT:
    return mi_heap_recalloc_aligned_at(heap, p, count, each, align, offset);
  case R_ALIGNED_RECALLOC:
    return mi_aligned_recalloc(p, count, each, align);
  case R_ALIGNED_OFFSET_RECALLOC:
    return mi_aligned_offset_recalloc(p, count, each, align, offset);
  default:
    FUZZ_FAIL("no such function");
  }
}
