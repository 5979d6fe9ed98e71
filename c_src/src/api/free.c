/* free.c - free and related functions.
 *
 * Each kind of build has its own entry point, in a file of its own. heap_free.h has what they
 * share.
 *
 * Threads: any.
 */
#include "../base/checker.h"
#include "../runtime/log.h"

#if MI_SECURE > 0
#include "free_secure.h"
#else
#include "free_default.h"
#endif

void mi_free(void* p) mi_attr_noexcept { free_entry(p); }

/* ---- with the requested size or alignment ---- */

static inline void check_sized(void* p, size_t size, size_t alignment) {
  if (!MI_CHECKED || p == NULL) return;
  page_t* page = map_page_checked(p);
  bool live = page != NULL && canary_is_sound(page, p);
  if (MI_SECURE > 0 && !live) return; /* mi_free reports it */
  bool exact = SECURE_CANARIES && size != 0 && page_class(page) != 0;
  if (MI_SECURE == 0 && size > (live ? block_usable(page, p) : 0))
    log_error(EFAULT, "sized free: block %p has fewer than %zu bytes\n", p, size);
  if (MI_SECURE > 0 && (exact ? size != block_usable(page, p) : size > block_room(page, p)))
    violation_size_mismatch(page, p, size);
  if (alignment != 0 && ((uintptr_t)p & (alignment - 1)) != 0)
    log_error(EFAULT, "sized free: block %p is not aligned to %zu\n", p, alignment);
}

void mi_free_size(void* p, size_t size) mi_attr_noexcept {
  check_sized(p, size, 0);
  mi_free(p);
}
void mi_free_size_aligned(void* p, size_t size, size_t alignment) mi_attr_noexcept {
  check_sized(p, size, alignment);
  mi_free(p);
}
void mi_free_aligned(void* p, size_t alignment) mi_attr_noexcept {
  check_sized(p, 0, alignment);
  mi_free(p);
}
