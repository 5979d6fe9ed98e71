/* visit.c - visits of all blocks.
 *
 * Always:  only the owner reads the fields of a page: the calling thread owns it, or claims it for
 *          the time of the visit. Of a large block only large_view is used. So a visit is safe
 *          while other threads free and allocate.
 * Threads: any; a heap is visited by its own thread.
 */
#include "address.h"
#include "../base/checker.h"
#include "../memory/page_map.h"
#include "../page/abandoned.h"
#include "../runtime/log.h"
#include "../thread/init.h"

typedef struct visit_s {
  heap_t* heap;    /* visits its pages; NULL: the pages that no live heap owns */
  int tag;         /* with `heap` NULL: of this tag; -1: of any */
  heap_t* shown;   /* the heap that is passed to the visitor */
  heap_t* visitor; /* backing heap of the visiting thread; busy during our own work */
  mi_block_visit_fun* fun;
  void* arg;
  bool blocks;
  size_t areas; /* visited so far */
} visit_t;

static bool is_wanted(const visit_t* v, uintptr_t name) {
  if (v->heap != NULL) return name == (uintptr_t)v->heap;
  if (live_heap_of(name) != NULL) return false;
  return v->tag < 0 || v->tag == owner_tag(name);
}

static bool visit_one(visit_t* v, const mi_heap_area_t* area, void* block) {
  track_leave();
  bool go_on = v->fun(v->shown, area, block, area->block_size, v->arg);
  track_enter();
  return go_on;
}

/* Visits a small page that the calling thread owns. Its active free list is back in the page. */
static bool visit_owned(visit_t* v, page_t* page) {
  uint64_t free[PAGE_BLOCKS_MAX / 64];
  size_t capacity = page->capacity, size = page->block_size;
  char* start = page_start(page);
  heap_enter(v->visitor);
  page_reclaim(page);
  page_mark_free(page, free);
  size_t used = SECURE_QUARANTINE ? 0 : page_live(page); /* blocks in quarantine are not in use */
  for (size_t i = 0; SECURE_QUARANTINE && i < capacity; i++) {
    bool live = block_is_live(page, start + i * size);
    free[i / 64] |= (uint64_t)!live << (i % 64);
    used += live;
  }
  /* The canary at the end of a block is not usable. */
  size_t usable = size - (page_class(page) == 0 ? 0 : CANARY_SIZE);
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

/* Claims the page for the time of the visit. Blocks that other threads free meanwhile stay on the
 * remote list. */
static bool visit_abandoned(visit_t* v, uint32_t slice) {
  page_t* page = map_descriptor_of_slice(slice);
  bool go_on = true;
  heap_enter(v->visitor);
  heap_return_lists(v->visitor); /* loose ones */
  bool claimed = page_claim(slice);
  heap_leave(v->visitor);
  if (!claimed) return true; /* another thread was faster */
  /* The page may have been released and set up anew since the caller looked. */
  if (page_class(page) < CLASS_COUNT && is_wanted(v, owner_id(load_relaxed(&page->owner))))
    go_on = visit_owned(v, page);
  heap_enter(v->visitor);
  abandon_page(page);
  heap_leave(v->visitor);
  return go_on;
}

static bool visit_large(void* arg, const large_view_t* view) {
  visit_t* v = arg;
  if (!is_wanted(v, view->heap)) return true;
  size_t usable = view->usable - CANARY_SIZE;
  mi_heap_area_t area = {view->start, view->reserved, view->usable, 1, usable, view->usable};
  v->areas++;
  return visit_one(v, &area, NULL) && (!v->blocks || visit_one(v, &area, view->start));
}

static bool visit_page(void* arg, page_t* page, uint32_t slice, uintptr_t owner) {
  visit_t* v = arg;
  if (!is_wanted(v, owner_id(owner))) return true;
  if (owner_is_abandoned(owner)) return visit_abandoned(v, slice);
  if (v->heap == NULL) return true; /* of the fallback heap, or about to change its owner */
  heap_enter(v->visitor);
  heap_return_lists(v->heap); /* a visitor that allocates may fill them again */
  heap_leave(v->visitor);
  return visit_owned(v, page);
}

static bool visit_all(visit_t* v) {
  int cancel = os_cancel_off(); /* a cancelled thread would not give back a claimed page */
  bool all = untracked(pages_walk(&visit_page, &visit_large, v)); /* which reads free blocks */
  os_cancel_restore(cancel);
  return all;
}

bool mi_heap_visit_blocks(const mi_heap_t* heap, bool visit_all_blocks, mi_block_visit_fun* visitor,
                          void* arg) {
  heap_t* h = (heap_t*)(uintptr_t)heap; /* not const: lists move between the page and its heap */
  heap_t* backing = thread_backing();
  if (h == NULL || visitor == NULL || backing == NULL) return false;
  if (!heap_belongs_here(h, "is visited by")) return false;
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
