/* checked_block.c - see checked_block.h.
 *
 * Always:  nothing here allocates.
 * Threads: any. The thread that changes a block's entry from STATE_LIVE to STATE_FREED owns it.
 */
#include "checked_block.h"

#if MI_SECURE > 0

/* ---- frees ---- */

static page_t* live_large(page_t* page, const void* p, const char* what) {
  if (load_relaxed(&page->issued) == (uintptr_t)p) return page;
  return violation_invalid_free(p, "is inside a large block", what);
}

/* The page of the live block that starts at `p`; NULL after a report. `*side` is the block's entry;
 * NULL for a large block. */
static page_t* find_live(const void* p, const char* what, block_state_t** side) {
  page_t* page = map_page_checked(p);
  *side = NULL;
  if (unlikely(page == NULL)) return violation_foreign(p, what);
  if (page_class(page) == CLASS_LARGE) return live_large(page, p, what);
  if (unlikely(!is_block_start(page, p)))
    return violation_invalid_free(p, "is inside a block", what);
  *side = block_state(page, p);
  uint16_t state = load_relaxed(*side);
  if (likely(state == STATE_LIVE)) return page;
  if (state == STATE_NEVER) return violation_invalid_free(p, "was never allocated", what);
  violation_report(EAGAIN, "double free", what, page, p);
  return NULL;
}

INTERNAL page_t* checked_live(const void* p, const char* what) {
  block_state_t* side;
  page_t* page = find_live(p, what, &side);
  return page != NULL && canary_check(page, p) ? page : NULL;
}

/* Changes STATE_LIVE to STATE_FREED; false if another thread did so first. `own`: the block is in a
 * page of the calling thread. */
static inline bool take(block_state_t* side, bool own) {
  uint16_t live = STATE_LIVE;
  if (os_is_single_threaded() || (!SECURE_EXACT && own)) {
    store_relaxed(side, STATE_FREED);
    return true;
  }
  /* Relaxed: only one thread succeeds, and its push publishes what it writes afterwards. */
  return cas_relaxed(side, &live, STATE_FREED);
}

INTERNAL page_t* checked_take(void* p, uintptr_t own) {
  block_state_t* side;
  page_t* page = find_live(p, "free", &side);
  if (unlikely(page == NULL || !canary_check(page, p))) return NULL;
  if (side == NULL) return page; /* large_free decides who frees it */
  if (unlikely(!take(side, load_relaxed(&page->owner) == own))) {
    violation_freed_twice(page, p);
    return NULL;
  }
  if (SECURE_ZERO && page_class(page) != 0) memset(p, 0, page->block_size);
  return page;
}

#if SECURE_CANARIES
/* ---- short paths of levels 3 and 4 ---- */

/* The rare cases of checked_new. A tail call: calls in the middle would cost registers. */
static NOINLINE void* new_slowly(page_t* page, block_t* block, block_t** list, size_t size) {
  block_allocate(page, block, list);
  write_canary(page, small_canary_address(page, block), block, size);
  return block;
}

INTERNAL void* checked_new(page_t* page, block_t* block, block_t** list, size_t size) {
  block_state_t* side = block_state(page, block);
  uint16_t entry = load_relaxed(side);
  size_t whole = page->block_size, padding = whole - CANARY_SIZE - size;
  if (unlikely(entry >= STATE_ABSENT || padding > PADDING_SHORT))
    return new_slowly(page, block, list, size);
  if (SECURE_ZERO && (entry & STATE_FRESH) == 0 && unlikely(!is_zero(block, whole)))
    return new_slowly(page, block, list, size); /* which reports it */
  *list = block_of_link(page, block, entry);    /* as in block_allocate */
  compiler_fence();
  store_relaxed(side, STATE_LIVE);
  write_short_canary(page, (char*)block + whole - CANARY_SIZE, padding);
  return block;
}

INTERNAL NOINLINE void* checked_new_tiny(page_t* page, block_t* block, block_t** list,
                                         size_t size) {
  char *p = (void*)block, *at = p + CANARY_SIZE;
  size_t padding = CANARY_SIZE - size;
  block_state_t* side = block_state(page, block);
  uint16_t entry = load_relaxed(side);
  bool fresh = !SECURE_ZERO || (entry & STATE_FRESH) != 0;
  if (unlikely(entry >= STATE_ABSENT || (!fresh && (load_word(p) | load_word(at)) != 0)))
    return new_slowly(page, block, list, size);
  *list = block_of_link(page, block, entry); /* as in block_allocate */
  compiler_fence();
  store_relaxed(side, STATE_LIVE);
  store_word(at, canary_of(page, at, padding));
  fill_part(p, tiny_mask(padding), pattern_of(at));
  return block;
}

INTERNAL take_t checked_take_own(page_t* page, void* p, size_t size) {
  block_state_t* side = block_state(page, p);
  if (unlikely(!is_block_start(page, p) || load_relaxed(side) != STATE_LIVE)) return TAKE_OTHER;
  char* at = (char*)p + size - CANARY_SIZE;
  size_t padding;
  padding_t s;
  if (unlikely(!read_canary(page, at, &padding))) return TAKE_OTHER;
  if (unlikely(padding > PADDING_SHORT)) return TAKE_LONG;
  find_short_padding(at, padding, &s);
  const loose_pair_t changed = (*before(at) ^ s.filled) & s.mask;
  if (unlikely((changed[0] | changed[1]) != 0 || !take(side, true))) return TAKE_OTHER;
  if (SECURE_ZERO) clear_small(p, size);
  return TAKE_DONE;
}

INTERNAL bool checked_take_tiny(page_t* page, void* p) {
  block_state_t* side = block_state(page, p);
  if (unlikely(!is_block_start(page, p) || load_relaxed(side) != STATE_LIVE)) return false;
  char *block = p, *at = block + CANARY_SIZE;
  size_t padding;
  if (unlikely(!read_canary_of(page, at, p, &padding))) return false;
  uint64_t changed = (load_word(block) ^ pattern_of(at)) & tiny_mask(padding);
  if (unlikely(changed != 0 || !take(side, true))) return false;
  if (SECURE_ZERO) store_word(block, 0), store_word(at, 0);
  return true;
}

INTERNAL bool checked_take_long(page_t* page, void* p, size_t size) {
  char* at = (char*)p + size - CANARY_SIZE;
  size_t padding = (uint32_t)load_word(at); /* checked_take_own has checked the hash */
  if (unlikely(padding > (size_t)(at - (char*)p) || !long_is_filled(at, padding, pattern_of(at)) ||
               !take(block_state(page, p), true)))
    return false;
  if (SECURE_ZERO) memset(p, 0, size);
  return true;
}
#endif

#endif
