/* canary.c - see canary.h.
 *
 * Owns:    the pad pattern. The key of a page's canaries is in its descriptor.
 * Threads: any.
 */
#include "canary.h"

#if MI_SECURE > 0

static bool is_live(page_t* page, const void* p) {
  if (page_class(page) != CLASS_LARGE) return block_is_live(page, p);
  return load_relaxed(&page->issued) == (uintptr_t)p && owner_is_large(load_relaxed(&page->owner));
}

#if SECURE_CANARIES

INTERNAL void canary_init(void) {
  random_words(pattern);
  pattern[0] |= UINT64_C(0x8080808080808080);
  pattern[1] = pattern[0];
}

INTERNAL void canary_new_key(page_t* page) { random_words(page->key); }

/* Address of the block's canary; NULL for blocks of size 0, which have none. */
static char* canary_address(page_t* page, const void* p) {
  size_t cls = page_class(page);
  if (cls == CLASS_LARGE) return page_start(page) + page->block_size - CANARY_SIZE;
  return cls == 0 ? NULL : small_canary_address(page, p);
}

static void fill_long(char* at, size_t padding, uint64_t bytes) {
  const loose_pair_t two = {bytes, bytes};
  for (; padding >= sizeof(two); padding -= sizeof(two))
    *(loose_pair_t*)(void*)(at -= sizeof(two)) = two;
  for (; padding >= sizeof(bytes); padding -= sizeof(bytes)) store_word(at -= sizeof(bytes), bytes);
  /* The word that ends here is inside the block: a block has at least a word before its canary. */
  if (padding > 0) fill_part(at - sizeof(bytes), last_bytes(padding), bytes);
}

INTERNAL void write_canary(const page_t* page, char* at, void* p, size_t size) {
  mi_assert_internal((char*)p + size <= at);
  size_t padding = (size_t)(at - (char*)p) - size;
  store_word(at, canary_of(page, at, padding));
  fill_long(at, padding, pattern_of(at));
}

INTERNAL void canary_write(page_t* page, void* p, size_t size) {
  char* at = canary_address(page, p);
  if (at != NULL) write_canary(page, at, p, size);
}

INTERNAL void canary_clear(page_t* page, void* p) {
  char* at = canary_address(page, p);
  if (at != NULL) store_word(at, 0);
}

INTERNAL void canary_rewrite(page_t* page, void* p, size_t size) {
  char* at = canary_address(page, p);
  size_t padding;
  if (at == NULL) return;
  if (read_canary_of(page, at, p, &padding)) {
    size_t before = (size_t)(at - (char*)p) - padding;
    if (size > before) memset((char*)p + before, 0, size - before);
  }
  write_canary(page, at, p, size);
}

INTERNAL bool long_is_filled(const char* at, size_t padding, uint64_t bytes) {
  const loose_pair_t two = {bytes, bytes};
  loose_pair_t changed = {0, 0};
  for (; padding >= sizeof(two); padding -= sizeof(two))
    changed |= *(const loose_pair_t*)(const void*)(at -= sizeof(two)) ^ two;
  for (; padding >= sizeof(bytes); padding -= sizeof(bytes))
    changed[0] |= load_word(at -= sizeof(bytes)) ^ bytes;
  if (padding > 0) changed[0] |= (load_word(at - sizeof(bytes)) ^ bytes) & last_bytes(padding);
  return (changed[0] | changed[1]) == 0;
}

static bool has_canary(const page_t* page, const char* at, const void* p) {
  size_t padding;
  return read_canary_of(page, at, p, &padding) && long_is_filled(at, padding, pattern_of(at));
}

/* If two threads free a block at once, one of them may find that the other cleared the canary. That
 * is a double free, not an overflow. */
static COLD bool broken(page_t* page, const void* p) {
  if (is_live(page, p))
    violation_report(EFAULT, "overflow", "the bytes after it have changed", page, p);
  else
    violation_freed_twice(page, p);
  return false;
}

INTERNAL bool canary_is_sound(page_t* page, const void* p) {
  char* at = canary_address(page, p);
  return is_live(page, p) && (at == NULL || has_canary(page, at, p));
}

INTERNAL bool canary_check(page_t* page, const void* p) {
  char* at = canary_address(page, p);
  return at == NULL || likely(has_canary(page, at, p)) || broken(page, p);
}

INTERNAL size_t canary_size(page_t* page, const void* p) {
  const char* at = canary_address(page, p);
  if (at == NULL) return 0;
  size_t padding;
  if (read_canary_of(page, at, p, &padding)) return (size_t)(at - (const char*)p) - padding;
  (void)broken(page, p);
  return 0;
}
#else
INTERNAL bool canary_is_sound(page_t* page, const void* p) { return is_live(page, p); }
#endif

#endif
