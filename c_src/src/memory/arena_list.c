/* arena_list.c - see arena_list.h.
 *
 * Owns:    the list of arenas.
 * Always:  arenas are appended under arena_lock, and never removed while the library is in use.
 * Threads: any.
 */
#include "arena_list.h"
#include "page_map.h"

static os_lock_t arena_lock = OS_LOCK_INIT;

static struct {
  _Atomic(arena_t*) list[ARENA_MAX];
  _Atomic(size_t) count;
  _Atomic(arena_t*) shared[ARENA_MAX]; /* the arenas of `list` that are not exclusive */
  _Atomic(size_t) shared_count;
} arena_list;

INTERNAL arena_t* arena_at(size_t index) {
  /* Acquire, pairs with the release in arena_list_add: each arena below the count is complete. */
  return index < load_acquire(&arena_list.count) ? load_relaxed(&arena_list.list[index]) : NULL;
}

INTERNAL size_t arena_count(void) { return load_relaxed(&arena_list.count); }

INTERNAL size_t arena_shared_count(void) {
  return load_acquire(
      &arena_list.shared_count); /* pairs with the release in arena_list_add, as above */
}

INTERNAL arena_t* arena_shared_at(size_t index) {
  return index < arena_shared_count() ? load_relaxed(&arena_list.shared[index]) : NULL;
}

INTERNAL void arena_list_add(arena_t* a) {
  store_relaxed(&arena_list.list[a->index], a);
  /* Release, pairs with the acquire in arena_at: the count publishes the arena. */
  store_release(&arena_list.count, a->index + (size_t)1);
  if (a->exclusive) return;
  size_t shared = load_relaxed(&arena_list.shared_count); /* under the lock, like `count` */
  store_relaxed(&arena_list.shared[shared], a);
  store_release(&arena_list.shared_count, shared + 1); /* as above */
}

INTERNAL void arena_list_clear(void) { memset(&arena_list, 0, sizeof(arena_list)); }

INTERNAL size_t arena_slices_used(arena_t* a) {
  size_t opened = load_relaxed(&a->opened);
  return opened - min_size(load_relaxed(&a->free_count), opened);
}

INTERNAL size_t arena_slices_in_use(void) {
  size_t total = 0;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) total += arena_slices_used(a);
  return total;
}

INTERNAL arena_t* arena_of(const void* p) {
  uintptr_t slice = (uintptr_t)p >> SLICE_SHIFT;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    if (slice >= a->first_slice && slice - a->first_slice < a->slices) return a;
  return NULL;
}

INTERNAL bool arena_overlaps(const void* start, size_t size) {
  uintptr_t first = (uintptr_t)start >> SLICE_SHIFT, slices = size >> SLICE_SHIFT;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    if (first < (uintptr_t)a->first_slice + a->slices && a->first_slice < first + slices)
      return true;
  return false;
}

INTERNAL page_t* arena_next_page(arena_t* a, size_t* i) {
  while (*i < a->slices) {
    /* Relaxed: the caller checks in other ways what the page is. */
    if (*i % 64 == 0 && load_relaxed(&a->free[*i / 64]) == ~UINT64_C(0)) {
      *i += 64;
      continue;
    }
    size_t closed_end = arena_closed_end(a, *i);
    if (closed_end > *i) {
      *i = closed_end;
      continue;
    }
    page_t* page = map_descriptor_of_slice(a->first_slice + (uint32_t)(*i)++);
    uintptr_t owner = load_relaxed(&page->owner);
    if (owner != 0 && !owner_is_interior(owner)) return page;
  }
  return NULL;
}
