/* violation.c - see violation.h. */
#include "violation.h"
#include "../runtime/log.h"

#if MI_SECURE > 0

INTERNAL COLD void violation_report(int code, const char* kind, const char* what,
                                    const page_t* page, const void* block) {
  log_error(code, "%s: block %p, class %zu bytes, thread %zu (%s)\n", kind, block, page->block_size,
            (size_t)os_thread_id(), what);
}

INTERNAL COLD page_t* violation_invalid_free(const void* p, const char* why, const char* what) {
  log_error(EINVAL, "invalid free: %p %s, thread %zu (%s)\n", p, why, (size_t)os_thread_id(), what);
  return NULL;
}

INTERNAL COLD page_t* violation_foreign(const void* p, const char* what) {
  return violation_invalid_free(p, "is no block of this allocator", what);
}

INTERNAL COLD void violation_freed_twice(const page_t* page, const void* p) {
  violation_report(EAGAIN, "double free", "free", page, p);
}

INTERNAL COLD block_t* violation_bad_list(const page_t* page, const block_t* block) {
  violation_report(EAGAIN, "double free", "found in a free list", page, block);
  return NULL;
}

#endif

INTERNAL COLD void violation_size_mismatch(const page_t* page, const void* p, size_t size) {
  log_error(EFAULT, "size mismatch: block %p, class %zu bytes, thread %zu, freed as %zu bytes\n", p,
            page->block_size, (size_t)os_thread_id(), size);
}
