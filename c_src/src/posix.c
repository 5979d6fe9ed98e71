/* posix.c - the POSIX and Unix names of the API.
 *
 * Owns:    nothing.
 * Threads: any.
 * Uses:    aligned.h, free.h.          Used by: the program, override.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* realpath, PATH_MAX */
#endif
#include "aligned.h"
#include "alloc.h"
#include "free.h"
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

void mi_cfree(void* p) mi_attr_noexcept {
  if (map_page_checked(p) != NULL) mi_free(p);
}

size_t mi_malloc_size(const void* p) mi_attr_noexcept { return mi_usable_size(p); }
size_t mi_malloc_usable_size(const void* p) mi_attr_noexcept { return mi_usable_size(p); }
size_t mi_malloc_good_size(size_t size) mi_attr_noexcept { return mi_good_size(size); }

int mi_posix_memalign(void** p, size_t alignment, size_t size) mi_attr_noexcept {
  if (p == NULL || alignment % sizeof(void*) != 0 || !is_power_of_two(alignment)) return EINVAL;
  int saved = errno;
  void* q = alloc_aligned(size, alignment, 0, false);
  errno = saved;
  if (q == NULL) return ENOMEM;
  *p = q;
  return 0;
}

void* mi_memalign(size_t alignment, size_t size) mi_attr_noexcept {
  return alloc_aligned(size, alignment, 0, false);
}

void* mi_aligned_alloc(size_t alignment, size_t size) mi_attr_noexcept {
  return alloc_aligned(size, alignment, 0, false);
}

void* mi_valloc(size_t size) mi_attr_noexcept {
  mi_process_init(); /* else the size of an OS page is a guess */
  return alloc_aligned(size, os_info.page_size, 0, false);
}

void* mi_pvalloc(size_t size) mi_attr_noexcept {
  mi_process_init();
  size_t page = os_info.page_size;
  if (size >= SIZE_MAX - page) {
    errno = ENOMEM;
    return NULL;
  }
  return alloc_aligned(round_up(size, page), page, 0, false);
}

void* mi_reallocarray(void* p, size_t count, size_t size) mi_attr_noexcept {
  size_t total;
  if (!multiply(count, size, &total)) {
    errno = EOVERFLOW;
    return NULL;
  }
  void* q = mi_realloc(p, total);
  if (q == NULL) errno = ENOMEM;
  return q;
}

char* mi_realpath(const char* fname, char* resolved_name) mi_attr_noexcept {
  if (resolved_name != NULL) return realpath(fname, resolved_name);
  char* buf = mi_malloc(PATH_MAX);
  if (buf == NULL) return NULL;
  char* found = realpath(fname, buf);
  char* copy = found == NULL ? NULL : mi_strdup(found);
  mi_free(buf);
  return copy;
}
