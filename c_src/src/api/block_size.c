/* block_size.c - see block_size.h.
 *
 * Threads: any.
 */
#include "block_size.h"
#include "../base/checker.h"
#include "../heap/heap_free.h"
#include "mimalloc.h"

INTERNAL page_t* block_page(const void* p, const char* what) {
  page_t* page = checked_live(p, what);
  if (MI_SECURE == 0 && unlikely(page == NULL)) invalid_pointer(p, what);
  return page;
}

size_t mi_usable_size(const void* p) mi_attr_noexcept {
  page_t* page = p == NULL ? NULL : checked_live(p, "usable size");
  if (page == NULL) return 0;
  size_t usable = block_usable(page, p);
  track_open(p, usable); /* the caller may use all of it from now on */
  return usable;
}

INTERNAL size_t usable_if_live(const void* p) {
  page_t* page = map_page_checked(p);
  return page != NULL && canary_is_sound(page, p) ? block_usable(page, p) : 0;
}

size_t mi_good_size(size_t size) mi_attr_noexcept {
  size_t whole = with_canary(size);
  if (size <= SMALL_MAX - CANARY_SIZE) {
    size_t cls = class_of_small(whole);
    if (cls == 0) return SECURE_GUARDS ? 0 : class_block_size(0);
    return class_block_size(cls) - CANARY_SIZE;
  }
  if (size <= MEDIUM_MAX - CANARY_SIZE)
    return class_block_size(class_of_medium(whole)) - CANARY_SIZE;
  if (size > ALLOC_MAX) return size;
  mi_process_init(); /* before it the size of an OS page is a guess */
  return round_up(whole, os_info.page_size) - CANARY_SIZE;
}
