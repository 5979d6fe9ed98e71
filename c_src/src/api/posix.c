/* posix.c - the POSIX, Unix and Microsoft names of the API.
 *
 * Threads: any.
 */
#include "aligned.h"
#include "realloc.h"
#include <stdlib.h>

void mi_cfree(void* p) mi_attr_noexcept {
  if (map_page_checked(p) != NULL) mi_free(p);
}

size_t mi_malloc_size(const void* p) mi_attr_noexcept { return mi_usable_size(p); }
size_t mi_malloc_usable_size(const void* p) mi_attr_noexcept { return mi_usable_size(p); }
size_t mi_malloc_good_size(size_t size) mi_attr_noexcept { return mi_good_size(size); }

int mi_posix_memalign(void** p, size_t alignment, size_t size) mi_attr_noexcept {
  if (p == NULL || alignment % sizeof(void*) != 0 || !is_power_of_two(alignment)) return EINVAL;
  void* q = pop_aligned(heap_default, size, alignment);
  if (unlikely(q == NULL)) {
    int saved = errno;
    q = malloc_aligned_in(heap_default, size, alignment, 0, false);
    errno = saved;
    if (q == NULL) return ENOMEM;
  }
  *p = q;
  return 0;
}

void* mi_memalign(size_t alignment, size_t size) mi_attr_noexcept {
  return malloc_aligned(heap_default, size, alignment);
}

void* mi_aligned_alloc(size_t alignment, size_t size) mi_attr_noexcept {
  return malloc_aligned(heap_default, size, alignment);
}

void* mi_valloc(size_t size) mi_attr_noexcept {
  mi_process_init(); /* before it the size of an OS page is a guess */
  return malloc_aligned(heap_default, size, os_info.page_size);
}

void* mi_pvalloc(size_t size) mi_attr_noexcept {
  mi_process_init();
  size_t page = os_info.page_size;
  if (size >= SIZE_MAX - page) {
    errno = ENOMEM;
    return NULL;
  }
  return malloc_aligned(heap_default, round_up(size, page), page);
}

void* mi_reallocarray(void* p, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (!multiply(count, size, &total)) {
    (void)array_overflow(count, size); /* reports in debug builds */
    errno = EOVERFLOW;
    return NULL;
  }
  void* q = mi_realloc(p, total);
  if (q == NULL) errno = ENOMEM;
  return q;
}

INTERNAL int reallocarr_by(void* p, size_t count, size_t size, void* (*reallocate)(void*, size_t),
                           void (*release)(void*)) {
  void *old, *resized = NULL;
  size_t total;
  if (p == NULL) return EINVAL;
  memcpy(&old, p, sizeof(old)); /* any pointer type: reading it as void* would break aliasing */
  if (count == 0 || size == 0) {
    release(old);
  } else if (!multiply(count, size, &total)) {
    (void)array_overflow(count, size); /* reports in debug builds */
    return EOVERFLOW;
  } else if ((resized = reallocate(old, total)) == NULL) {
    return ENOMEM;
  }
  memcpy(p, &resized, sizeof(resized));
  return 0;
}

int mi_reallocarr(void* p, size_t count, size_t size) mi_attr_noexcept {
  int error = reallocarr_by(p, count, size, &mi_realloc, &mi_free);
  if (error != 0) errno = error;
  return error;
}

static char* real_path(heap_t* heap, const char* fname, char* resolved_name) {
  if (resolved_name != NULL) return os_real_path(fname, resolved_name);
  char buf[OS_PATH_MAX];
  return strdup_in(heap, os_real_path(fname, buf));
}
DEFINE_BOTH(char*, realpath, (const char* fname, char* resolved_name),
            real_path(heap, fname, resolved_name))

/* ---- Microsoft names ---- */

void* mi__expand(void* p, size_t newsize) mi_attr_noexcept {
  void* q = mi_expand(p, newsize);
  if (q == NULL) errno = ENOMEM;
  return q;
}

void* mi_aligned_recalloc(void* p, size_t newcount, size_t size, size_t alignment)
    mi_attr_noexcept {
  return mi_recalloc_aligned(p, newcount, size, alignment);
}

void* mi_aligned_offset_recalloc(void* p, size_t newcount, size_t size, size_t alignment,
                                 size_t offset) mi_attr_noexcept {
  return mi_recalloc_aligned_at(p, newcount, size, alignment, offset);
}

/* The sizes below cannot overflow: the source string lies in memory with its terminator. */
unsigned short* mi_wcsdup(const unsigned short* s) mi_attr_noexcept {
  if (s == NULL) return NULL;
  size_t n = 0;
  while (s[n] != 0) n++;
  size_t size = (n + 1) * sizeof(*s);
  unsigned short* copy = mi_malloc(size);
  return copy == NULL ? NULL : memcpy(copy, s, size);
}

unsigned char* mi_mbsdup(const unsigned char* s) mi_attr_noexcept {
  return (unsigned char*)mi_strdup((const char*)s);
}

int mi_dupenv_s(char** buf, size_t* size, const char* name) mi_attr_noexcept {
  if (size != NULL) *size = 0;
  if (buf != NULL) *buf = NULL;
  if (buf == NULL || name == NULL) return EINVAL;
  const char* value = getenv(name);
  if (value == NULL) return 0;
  *buf = mi_strdup(value);
  if (*buf == NULL) return ENOMEM;
  if (size != NULL) *size = strlen(*buf) + 1; /* of the copy: the program may change the original */
  return 0;
}

int mi_wdupenv_s(unsigned short** buf, size_t* size, const unsigned short* name) mi_attr_noexcept {
  (void)name;
  if (size != NULL) *size = 0;
  if (buf != NULL) *buf = NULL;
  return EINVAL; /* the environment has no wide form on these systems */
}
