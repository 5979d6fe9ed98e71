/* free_default.h - mi_free of all builds but the secure ones. Debug builds, and builds for a memory
 * checker, check the block first. */
#pragma once

#include "../base/checker.h"
#include "../heap/heap_free.h"
#include "../page/holes.h"
#include "../page/page.h"
#include "../runtime/log.h"

static bool list_has(const page_t* page, const block_t* list, const block_t* block) {
  size_t most = 8 * page->capacity; /* in a gathered list; a damaged list may be a circle */
  for (; list != NULL && most-- > 0; list = list->next)
    if (list == block) return true;
  return false;
}

/* True when the block is free already, as far as the calling thread can know: it sees only its own
 * pages and their lists. A live block rarely begins with a word that could be a link, so the lists
 * are rarely walked. */
static bool is_free_already(page_t* page, const void* p) {
  if (page_class(page) == CLASS_LARGE) return false; /* large_free detects it */
  uintptr_t owner = owner_of(page);
  heap_t* heap = owner_is_abandoned(owner) ? NULL : own_heap(heap_default, owner);
  if (heap == NULL) return false;
  const block_t* block = (const block_t*)page_block_of(page, p);
  const char* link = (const char*)block->next;
  const page_t* at = map_page_checked(link);
  if (link != NULL && (at == NULL || page_class(at) != page_class(page))) return false;
  /* Acquire: reads the links; pairs with the release of each push. Blocks stay on the list until
   * this thread takes them. */
  return list_has(page, page->local, block) || block_is_in_hole(page, block) ||
         list_has(page, heap->free_list[page_class(page)], block) ||
         list_has(page, remote_list(load_acquire(map_remote(page->slice))), block);
}

/* False: the pointer was reported, and must not be freed. */
static inline bool free_is_valid(const void* p) {
  if (MI_DEBUG == 0 || p == NULL) return true;
  page_t* page = map_page_checked(p);
  if (page == NULL) {
    invalid_pointer(p, "free");
    return false;
  }
  size_t blocks = page_class(page) == CLASS_LARGE ? 1 : page->reserved;
  if (!page_has_flag(page, PAGE_INTERIOR) && /* else issued pointers may point into blocks */
      (page_block_of(page, p) != p || p >= (void*)(page_start(page) + blocks * page->block_size))) {
    log_error(EINVAL, "free: pointer is not the start of a block: %p\n", p);
    return false;
  }
  if (is_free_already(page, p)) {
    log_error(EAGAIN, "free: block is free already: %p of %zu bytes\n", p, page->block_size);
    return false;
  }
  return true;
}

static inline void free_entry(void* p) {
  if (!free_is_valid(p) || !free_tracked(p)) return;
  track_enter();
  free_block(p);
  track_leave();
}
