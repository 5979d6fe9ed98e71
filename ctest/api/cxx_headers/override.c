/* override.c - mimalloc-override.h: each of its 37 macros gives our memory where the library
 * itself overrides nothing.
 *
 * Compiled as C11 and as C++ of each standard; wide characters have 16 bits (-fshort-wchar), as
 * the wide functions need it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include "probe.h"

/* The functions of these names, before the names are macros. */
static void* libc_malloc(size_t size) { return malloc(size); }
static void libc_free(void* p) { free(p); }

#include <mimalloc-override.h>

/* Headers that come later change nothing. */
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
#include <wchar.h>
#ifdef __cplusplus
#include <cstdlib>
#include <cstring>
#endif

static bool is_ours(const void* p) { return mi_is_in_heap_region(p); }

/* A block with `size` bytes to use, which is released by the caller. */
static void* checked(void* p, size_t size, const char* what) {
  p = opaque(p);
  if (!is_ours(p)) check_fail("%s: %p is not ours\n", what, p);
  if (mi_usable_size(p) < size) check_fail("%s: no %zu bytes\n", what, size);
  memset(p, 7, size);
  return p;
}
static void* checked_aligned(void* p, size_t size, size_t alignment, size_t offset,
                             const char* what) {
  p = checked(p, size, what);
  if (((uintptr_t)p + offset) % alignment != 0) check_fail("%s: alignment of %p\n", what, p);
  return p;
}
#define CHECKED(call, size) checked(call, size, #call)
#define CHECKED_ALIGNED(call, size, alignment, offset)                                             \
  checked_aligned(call, size, alignment, offset, #call)

static void only_calls_are_replaced(void) {
  void* (*function)(size_t) = malloc; /* no parenthesis follows: the function of libc */
  void* p = opaque(function(10));
  CHECK(!is_ours(p));
  libc_free(p);
  p = opaque(libc_malloc(10));
  CHECK(!is_ours(p));
  libc_free(p);
}

static void macros_of_c(void) {
  free(CHECKED(malloc(100), 100));
  char* p = (char*)CHECKED(calloc(10, 10), 100);
  p = (char*)CHECKED(realloc(p, 1000), 1000);
  CHECK_EQ(p[99], 7);
  free(p);
  void* none = NULL;
  free(none);
  p = (char*)opaque(calloc(10, 10));
  CHECK(all_bytes_are(p, 100, 0));
  free(p);
  char* copy = strdup("abc");
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "abc");
  free(copy);
  copy = strndup("abc", 2);
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "ab");
  free(copy);
  copy = realpath("/", NULL);
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "/");
  free(copy);
}

static void macros_of_unix(void) {
  void* p = CHECKED(reallocf(NULL, 100), 100);
  CHECK_GE(malloc_size(p), 100);
  CHECK_GE(malloc_usable_size(p), 100);
  CHECK_GE(malloc_good_size(100), 100);
  cfree(p);
  free(CHECKED_ALIGNED(valloc(100), 100, OS_PAGE, 0));
  free(CHECKED_ALIGNED(pvalloc(100), OS_PAGE, OS_PAGE, 0));
  free(CHECKED(reallocarray(NULL, 10, 10), 100));
  p = NULL;
  CHECK_EQ(reallocarr(&p, 10, 10), 0);
  free(CHECKED(p, 100));
  free(CHECKED_ALIGNED(memalign(512, 100), 100, 512, 0));
  free(CHECKED_ALIGNED(aligned_alloc(512, 1024), 1024, 512, 0));
  CHECK_EQ(posix_memalign(&p, 512, 100), 0);
  free(CHECKED_ALIGNED(p, 100, 512, 0));
  CHECK_EQ(_posix_memalign(&p, 512, 100), 0);
  free(CHECKED_ALIGNED(p, 100, 512, 0));
}

static void macros_of_microsoft(void) {
  void* p = malloc(100);
  CHECK_SAME(_expand(p, 50), p);
  CHECK_NULL(_expand(p, 50000));
  CHECK_GE(_msize(p), 100);
  free(p);
  free(CHECKED(_recalloc(NULL, 10, 10), 100));
  char* copy = _strdup("abc");
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "abc");
  free(copy);
  copy = _strndup("abc", 2);
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "ab");
  free(copy);
  unsigned char* bytes = _mbsdup((const unsigned char*)"abc");
  CHECK(is_ours(bytes));
  CHECK_TEXT((const char*)bytes, "abc");
  free(bytes);

  const wchar_t text[] = L"wide text";
  wchar_t* wide = _wcsdup(text);
  CHECK(is_ours(wide));
  CHECK_EQ(sizeof(wchar_t), 2);
  CHECK(memcmp(wide, text, sizeof text) == 0);
  free(wide);

  setenv("MIMALLOC_TEST_VARIABLE", "value", 1);
  size_t size = 0;
  copy = NULL;
  CHECK_EQ(_dupenv_s(&copy, &size, "MIMALLOC_TEST_VARIABLE"), 0);
  CHECK(is_ours(copy));
  CHECK_TEXT(copy, "value");
  CHECK_EQ(size, 6);
  free(copy);
  /* Outside Windows the wide form has no environment. */
  wide = (wchar_t*)&size;
  CHECK_EQ(_wdupenv_s(&wide, &size, text), EINVAL);
  CHECK_NULL(wide);
}

static void macros_of_microsoft_with_alignment(void) {
  void* p = CHECKED_ALIGNED(_aligned_malloc(100, 512), 100, 512, 0);
  CHECK_GE(_aligned_msize(p, 512, 0), 100);
  p = CHECKED_ALIGNED(_aligned_realloc(p, 5000, 512), 5000, 512, 0);
  _aligned_free(p);
  p = CHECKED_ALIGNED(_aligned_recalloc(NULL, 10, 10, 512), 100, 512, 0);
  _aligned_free(p);
  p = CHECKED_ALIGNED(_aligned_offset_malloc(100, 512, 8), 100, 512, 8);
  p = CHECKED_ALIGNED(_aligned_offset_realloc(p, 5000, 512, 8), 5000, 512, 8);
  _aligned_free(p);
  p = CHECKED_ALIGNED(_aligned_offset_recalloc(NULL, 10, 10, 512, 8), 100, 512, 8);
  _aligned_free(p);
}

static const check_case_t cases[] = {
    CASE(only_calls_are_replaced),
    CASE(macros_of_c),
    CASE(macros_of_unix),
    CASE(macros_of_microsoft),
    CASE(macros_of_microsoft_with_alignment),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
