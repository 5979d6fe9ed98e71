/* page_map.c - see page_map.h. */
#include "page_map.h"
#include "meta.h"

static map_t map CACHE_ALIGNED APART;

INTERNAL bool map_extend(const void* start, size_t size) {
#if ADDRESS_BITS > 32
  size_t first = map_window_of((uintptr_t)start);
  size_t last = map_window_of((uintptr_t)start + size - 1);
  if (last >= WINDOW_COUNT) return false;
  for (size_t w = first; w <= last; w++) {
    if (load_relaxed(&map.word[w]) != 0) continue; /* changes only under the caller's lock */
    char* descriptors = meta_reserve(WINDOW_BYTES + WINDOW_SLICES * sizeof(uint64_t));
    if (descriptors == NULL) return false;
    mi_assert_internal(((uintptr_t)descriptors & 63) == 0);
    /* Release, for the only reader without other synchronisation: the lookup of a foreign address.
     * It reaches the descriptors through the value it loads. */
    store_release(&map.word[w], (uintptr_t)descriptors - (uintptr_t)&map.word[0] + MAP_BIAS);
  }
#else
  (void)start, (void)size; /* the one window always exists */
#endif
  return true;
}

INTERNAL bool map_unlock_table(void) {
  static bool unlocked;
  if (unlocked) return false;
  unlocked = true;
  return os_munlock(&map, sizeof(map));
}

INTERNAL void map_unload(void) {
#if ADDRESS_BITS > 32
  /* Only entries that are set: a write to any other would fault its OS page in. */
  for (size_t w = 0; w < WINDOW_COUNT; w++)
    if (load_relaxed(&map.word[w]) != 0) store_relaxed(&map.word[w], 0);
#else
  memset(&map, 0, sizeof(map));
#endif
}

INTERNAL page_t* map_page_checked(const void* p) {
  if (!map_covers(p)) return NULL;
  page_t* descriptor = map_descriptor(p);
  uintptr_t owner = load_relaxed(&descriptor->owner);
  if (owner == 0) return NULL;
  return owner_is_interior(owner) ? page_of_interior(p, owner) : descriptor;
}

INTERNAL void map_mark_interior(page_t* page, uint32_t from, uint32_t count) {
  for (uint32_t i = from; i < from + count; i++) {
    page_t* descriptor = map_descriptor_of_slice(page->slice + i);
    /* Relaxed: the block is allocated after this, and a thread that gets its address sees it. */
    store_relaxed(&descriptor->owner, owner_of_interior(i));
  }
}

INTERNAL void map_clear(uint32_t slice, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) store_relaxed(&map_descriptor_of_slice(slice + i)->owner, 0);
}
