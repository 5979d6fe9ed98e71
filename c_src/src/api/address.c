/* address.c - questions about any address.
 *
 * Always:  of a page that the caller does not own, an answer holds as long as the page lives; of a
 *          large block, it is what large_view returns.
 * Threads: any.
 */
#include "address.h"
#include "../memory/arena_list.h"
#include "../memory/page_search.h"
#include "../thread/init.h"
#include "mimalloc.h"

/* The page that starts at this slice; false if no page starts there now. The answer for a small
 * page, whose blocks it takes for one, holds as long as the page lives. */
static bool area_of_page(size_t slice, large_view_t* area) {
  page_t* page = map_descriptor_of_slice((uint32_t)slice);
  uintptr_t owner = load_relaxed(&page->owner);
  if (owner == 0 || owner_is_interior(owner)) return false;
  if (owner_is_large(owner)) return large_view((uint32_t)slice, area);
  size_t cls = page_class(page);
  if (cls >= CLASS_COUNT) return false; /* it became a large block meanwhile */
  size_t span = class_slices(cls) * SLICE_SIZE;
  *area = (large_view_t){owner_id(owner), slice_address(slice), span,
                         span - span % class_block_size(cls)};
  return true;
}

/* The first slice of the page that contains this slice; 0: none. */
static size_t first_slice_of(size_t slice) {
  const char* p = slice_address(slice);
  arena_t* a = arena_of(p);
  if (a != NULL) {
    size_t i = page_first_slice(a, slice - a->first_slice, false);
    return i == SIZE_MAX ? 0 : a->first_slice + i;
  }
  uintptr_t owner = map_covers(p) ? load_relaxed(&map_descriptor(p)->owner) : 0;
  if (owner == 0) return 0;
  return owner_is_interior(owner) ? slice - owner_distance(owner) : slice;
}

static bool is_inside(const void* p, const large_view_t* area) {
  return (uintptr_t)p - (uintptr_t)area->start < area->usable;
}

/* The area that contains the address; false when no area does. Any address may be passed. */
static bool area_around(const void* p, large_view_t* area) {
  size_t slice = p == NULL ? 0 : first_slice_of((uintptr_t)p >> SLICE_SHIFT);
  if (slice != 0) return area_of_page(slice, area) && is_inside(p, area);
  if (p == NULL || arena_contains(p)) return false;
  for (const char* from = NULL; large_next_os_mapped(from, area); from = area->start + 1)
    if (is_inside(p, area)) return true;
  return false;
}

INTERNAL bool pages_walk(page_fun* on_page, large_fun* on_large, void* arg) {
  large_view_t view;
  FOR_ARENAS(a) {
    page_t* page;
    for (size_t i = 0; (page = arena_next_page(a, &i)) != NULL;) {
      uint32_t slice = a->first_slice + (uint32_t)(i - 1);
      uintptr_t owner = load_relaxed(&page->owner);
      if (owner_is_of_blocks(owner) && !on_page(arg, page, slice, owner)) return false;
      if (on_large == NULL || !owner_is_large(owner)) continue;
      if (large_view(slice, &view) && !on_large(arg, &view)) return false;
    }
  }
  if (on_large == NULL) return true;
  for (const char* from = NULL; large_next_os_mapped(from, &view); from = view.start + 1)
    if (!on_large(arg, &view)) return false;
  return true;
}

bool mi_heap_contains_block(mi_heap_t* heap, const void* p) {
  large_view_t area;
  return heap != NULL && area_around(p, &area) && area.heap == (uintptr_t)heap;
}

bool mi_heap_check_owned(mi_heap_t* heap, const void* p) {
  return ((uintptr_t)p & (sizeof(void*) - 1)) == 0 && mi_heap_contains_block(heap, p);
}

bool mi_check_owned(const void* p) {
  return thread_backing() != NULL && mi_heap_check_owned(heap_default, p);
}

mi_heap_t* mi_heap_of(const void* p) {
  large_view_t area;
  if (!area_around(p, &area)) return NULL;
  heap_t* heap = live_heap_of(area.heap);
  return heap != NULL ? heap : process_main_heap();
}

bool mi_heap_contains(const mi_heap_t* heap, const void* p) {
  if (heap == NULL) heap = process_main_heap();
  return heap != NULL && mi_heap_of(p) == heap;
}

bool mi_any_heap_contains(const void* p) {
  large_view_t area;
  return area_around(p, &area);
}

bool mi_is_in_heap_region(const void* p) mi_attr_noexcept {
  return p != NULL && (arena_contains(p) || large_contains(p));
}

bool mi_unsafe_heap_page_is_under_utilized(mi_heap_t* heap, void* p, size_t perc_threshold)
    mi_attr_noexcept {
  page_t* page = p == NULL ? NULL : map_page_checked(p);
  if (page == NULL || page_class(page) == CLASS_LARGE) return false;
  uintptr_t name = owner_id(load_relaxed(&page->owner));
  if (heap != NULL && name != (uintptr_t)heap) return false;
  heap_t* owner = live_heap_of(name);
  if (owner != NULL && owner->queue[page_class(page)].active == page) return false;
  if (page->capacity < page->reserved || page_live(page) == page->reserved) return false;
  return perc_threshold >= 100 || page_live(page) * 100u <= perc_threshold * page->reserved;
}
