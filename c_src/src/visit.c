/* visit.c - questions about any address, and visits of all blocks.
 *
 * Owns:    nothing.
 * Always:  fields of a page are read by its owner, who is the caller, or who claims the page for
 *          the time being; of a large block only what large_view tells. So a visit is safe while
 *          other threads free and allocate.
 * Threads: any; visits of a heap by its own thread.
 * Uses:    arena.h, large.h, page.h, unowned.h, thread.h.          Used by: the program.
 */
#include "arena.h"
#include "large.h"
#include "log.h"
#include "page.h"
#include "thread.h"
#include "track.h"
#include "unowned.h"

static uintptr_t name_of(uintptr_t owner) { return owner & ~(uintptr_t)OWNER_FLAGS; }

/* The live heap of this name; NULL when it has ended, or never was one. */
static heap_t* heap_of_name(uintptr_t name) {
  if (name <= OWNER_TAG(OWNER_TAG_MAX)) return NULL;
  return heap_lives((heap_t*)name) ? (heap_t*)name : NULL;
}

/* ---- where an address lies ---- */

typedef struct area_s {
  uintptr_t name;    /* address of a heap's record, or a tag */
  char* start;       /* of the blocks */
  size_t block_size; /* of a large block: what may be used */
  size_t blocks;     /* that fit */
} area_t;

static area_t area_of_view(const large_view_t* view) {
  return (area_t){view->heap, view->start, view->usable, 1};
}

/* The page whose first slice this is; false if there is none (any more). What is told of a small
 * page is true as long as it lives. */
static bool area_of_page(size_t slice, area_t* area) {
  page_t* page = map_slot_of_slice((uint32_t)slice);
  uintptr_t owner = load_relaxed(&page->owner);
  if (owner == 0 || (owner & OWNER_INTERIOR) != 0) return false;
  if ((owner & OWNER_LARGE) != 0) {
    large_view_t view;
    if (!large_view((uint32_t)slice, &view)) return false;
    *area = area_of_view(&view);
    return true;
  }
  size_t class = page_class(page);
  if (class >= CLASS_COUNT) return false; /* just now it became a large block */
  size_t size = class_block_size(class);
  *area =
      (area_t){name_of(owner), slice_address(slice), size, class_slices(class) * SLICE_SIZE / size};
  return true;
}

/* The first slice of the page around this one; 0: none. Slices in the middle of a large block have
 * no mark, so the way leads back to the first that has one. */
static size_t first_slice_of(size_t slice) {
  uintptr_t owner = 0;
  arena_t* a = arena_of(slice_address(slice));
  if (map_covers(slice_address(slice)))
    owner = load_relaxed(&map_slot_of_slice((uint32_t)slice)->owner);
  while (owner == 0 && a != NULL && slice > a->first_slice &&
         !bitmap_any(a->free, slice - a->first_slice, 1))
    owner = load_relaxed(&map_slot_of_slice((uint32_t)--slice)->owner);
  if (owner == 0) return 0;
  return (owner & OWNER_INTERIOR) != 0 ? slice - (owner >> 6) : slice;
}

static bool is_inside(const void* p, const area_t* area) {
  return (uintptr_t)p - (uintptr_t)area->start < area->block_size * area->blocks;
}

/* The area that any address lies in; false when it lies in no memory for blocks. */
static bool area_around(const void* p, area_t* area) {
  size_t slice = p == NULL ? 0 : first_slice_of((uintptr_t)p >> SLICE_SHIFT);
  if (slice != 0) return area_of_page(slice, area) && is_inside(p, area);
  if (p == NULL || arena_contains(p)) return false;
  large_view_t view;
  for (const char* from = NULL; large_next_direct(from, &view); from = view.start + 1) {
    *area = area_of_view(&view);
    if (is_inside(p, area)) return true;
  }
  return false;
}

bool mi_heap_contains_block(mi_heap_t* heap, const void* p) {
  area_t area;
  return heap != NULL && area_around(p, &area) && area.name == (uintptr_t)heap;
}

bool mi_heap_check_owned(mi_heap_t* heap, const void* p) {
  return ((uintptr_t)p & (sizeof(void*) - 1)) == 0 && mi_heap_contains_block(heap, p);
}

bool mi_check_owned(const void* p) { return mi_heap_check_owned(mi_heap_get_default(), p); }

mi_heap_t* mi_heap_of(const void* p) {
  area_t area;
  if (!area_around(p, &area)) return NULL;
  heap_t* heap = heap_of_name(area.name);
  return heap != NULL ? heap : process_main_heap();
}

bool mi_heap_contains(const mi_heap_t* heap, const void* p) {
  if (heap == NULL) heap = process_main_heap();
  return heap != NULL && mi_heap_of(p) == heap;
}

bool mi_any_heap_contains(const void* p) {
  area_t area;
  return area_around(p, &area);
}

bool mi_is_in_heap_region(const void* p) mi_attr_noexcept {
  return p != NULL && (arena_contains(p) || large_contains(p));
}

bool mi_unsafe_heap_page_is_under_utilized(mi_heap_t* heap, void* p,
                                           size_t perc_threshold) mi_attr_noexcept {
  page_t* page = p == NULL ? NULL : map_page_checked(p);
  if (page == NULL || page_class(page) == CLASS_LARGE) return false;
  uintptr_t name = name_of(load_relaxed(&page->owner));
  if (heap != NULL && name != (uintptr_t)heap) return false;
  heap_t* owner = heap_of_name(name);
  if (owner != NULL && owner->queue[page_class(page)].current == page) return false;
  if (page->capacity < page->reserved || page_used(page) == page->reserved) return false;
  return perc_threshold >= 100 || page_used(page) * 100u <= perc_threshold * page->reserved;
}

/* ---- visits ---- */

typedef struct visit_s {
  heap_t* heap;    /* whose pages; NULL: those that no live heap has */
  int tag;         /* with `heap` NULL: of this tag; -1: of any */
  heap_t* shown;   /* what the visitor is told */
  heap_t* visitor; /* backing heap of the visiting thread: busy while we work */
  mi_block_visit_fun* fun;
  void* arg;
  bool blocks;
  size_t areas; /* visited so far */
} visit_t;

static bool is_wanted(const visit_t* v, uintptr_t name) {
  if (v->heap != NULL) return name == (uintptr_t)v->heap;
  if (heap_of_name(name) != NULL) return false;
  return v->tag < 0 || v->tag == (name > OWNER_TAG(OWNER_TAG_MAX) ? 0 : (int)(name >> 6));
}

static bool visit_one(visit_t* v, const mi_heap_area_t* area, void* block) {
  track_leave();
  bool go_on = v->fun(v->shown, area, block, area->block_size, v->arg);
  track_enter();
  return go_on;
}

#define PAGE_BLOCKS_MAX (SLICE_SIZE / 8)
_Static_assert(2 * SLICE_SIZE / SINGLE_SLICE_MAX <= PAGE_BLOCKS_MAX, "any page's blocks");

/* A small page that the caller owns; what is detached is back in it. */
static bool visit_owned(visit_t* v, page_t* page) {
  uint64_t free[PAGE_BLOCKS_MAX / 64];
  size_t capacity = page->capacity, size = page->block_size;
  char* start = page_start(page);
  heap_enter(v->visitor);
  memset(free, 0, sizeof(free));
  page_take_back(page);
  for (block_t* b = page->local; b != NULL; b = block_next(page, b)) {
    size_t i = (size_t)((char*)b - start) / size;
    free[i / 64] |= UINT64_C(1) << (i % 64);
  }
  size_t used = page_used(page);
#if SECURE_HOLDS
  used = 0; /* without those that are held back, now or in a moment */
  for (size_t i = 0; i < capacity; i++) {
    bool live = block_is_live(page, start + i * size);
    free[i / 64] |= (uint64_t)!live << (i % 64);
    used += live;
  }
#endif
  /* What is ours at the end of a block is not the visitor's. */
  size_t usable = size - (page_class(page) == 0 ? 0 : SEAL_SIZE);
  mi_heap_area_t area = {start, page_slices(page) * SLICE_SIZE, capacity * size, used, usable,
                         size};
  heap_leave(v->visitor);
  v->areas++;
  if (!visit_one(v, &area, NULL)) return false;
  for (size_t i = 0; v->blocks && i < capacity; i++) {
    if ((free[i / 64] & (UINT64_C(1) << (i % 64))) == 0 && !visit_one(v, &area, start + i * size))
      return false;
  }
  return true;
}

/* Owned by us while we look; whoever frees a block of it meanwhile leaves it on the remote list. */
static bool visit_unowned(visit_t* v, uint32_t slice) {
  page_t* page = map_slot_of_slice(slice);
  bool go_on = true;
  heap_enter(v->visitor);
  bool claimed = page_claim(slice);
  heap_leave(v->visitor);
  if (!claimed) return true; /* somebody else's now */
  /* It may have had another life since we looked. */
  if (page_class(page) < CLASS_COUNT && is_wanted(v, name_of(load_relaxed(&page->owner))))
    go_on = visit_owned(v, page);
  heap_enter(v->visitor);
  unowned_let_go(page);
  heap_leave(v->visitor);
  return go_on;
}

static bool visit_large(visit_t* v, const large_view_t* view) {
  if (!is_wanted(v, view->heap)) return true;
  size_t usable = view->usable - SEAL_SIZE;
  mi_heap_area_t area = {view->start, view->reserved, view->usable, 1, usable, view->usable};
  v->areas++;
  return visit_one(v, &area, NULL) && (!v->blocks || visit_one(v, &area, view->start));
}

static bool visit_page(visit_t* v, uint32_t slice) {
  page_t* page = map_slot_of_slice(slice);
  uintptr_t owner = load_relaxed(&page->owner);
  if (owner == 0 || !is_wanted(v, name_of(owner))) return true;
  if ((owner & OWNER_LARGE) != 0) {
    large_view_t view;
    return !large_view(slice, &view) || visit_large(v, &view);
  }
  if ((owner & OWNER_UNOWNED) != 0) return visit_unowned(v, slice);
  if (v->heap == NULL) return true; /* the late heap's, or about to change hands */
  heap_enter(v->visitor);
  heap_return_lists(v->heap); /* a visitor that allocates detaches some again */
  heap_leave(v->visitor);
  return visit_owned(v, page);
}

static bool visit_untracked(visit_t* v) {
  arena_t* a;
  for (size_t k = 0; (a = arena_at(k)) != NULL; k++)
    for (size_t i = 0; i < a->slices;) {
      if (arena_next_page(a, &i) == NULL) break;
      if (!visit_page(v, a->first_slice + (uint32_t)(i - 1))) return false;
    }
  large_view_t view;
  for (const char* from = NULL; large_next_direct(from, &view); from = view.start + 1)
    if (!visit_large(v, &view)) return false;
  return true;
}

static bool visit_all(visit_t* v) {
  int cancel = os_cancel_off(); /* a page that is claimed for the visitor must come back */
  track_enter();                /* free blocks are read */
  bool all = visit_untracked(v);
  track_leave();
  os_cancel_restore(cancel);
  return all;
}

bool mi_heap_visit_blocks(const mi_heap_t* heap, bool visit_all_blocks, mi_block_visit_fun* visitor,
                          void* arg) {
  heap_t* h = (heap_t*)(uintptr_t)heap; /* lists move between a page and its heap */
  heap_t* backing = thread_backing();
  if (h == NULL || visitor == NULL || backing == NULL) return false;
  if (heap_backing(h) != backing) {
#if MI_CHECKS_HEAPS
    log_error(EFAULT, "heap %p is visited by a thread that did not create it\n", (void*)h);
#endif
    return false;
  }
  visit_t v = {h, -1, h, backing, visitor, arg, visit_all_blocks, 0};
  return visit_all(&v) && v.areas > 0;
}

bool mi_abandoned_visit_blocks(mi_subproc_id_t subproc_id, int heap_tag, bool visit_blocks,
                               mi_block_visit_fun* visitor, void* arg) {
  heap_t* backing = thread_backing();
  if (subproc_id != NULL || visitor == NULL || backing == NULL) return false;
  heaps_recover();
  visit_t v = {NULL, heap_tag, process_main_heap(), backing, visitor, arg, visit_blocks, 0};
  return visit_all(&v);
}

bool mi_heap_visit_abandoned_blocks(mi_heap_t* heap, bool visit_blocks, mi_block_visit_fun* visitor,
                                    void* arg) {
  (void)heap;
  return mi_abandoned_visit_blocks(NULL, -1, visit_blocks, visitor, arg);
}
