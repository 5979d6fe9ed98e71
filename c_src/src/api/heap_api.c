/* heap_api.c - first-class heaps: creation, end, the default heap of a thread.
 *
 * Always:  when a heap ends, it owns no page and no owner word names it before its heap struct is
 *          reused.
 * Threads: the heap's own. Other threads may free its blocks at any time. Only the heap's thread
 *          changes the owner of a page, and blocks that others push meanwhile stay on its remote
 *          list. The owner word of a large block changes by one exchange, see large.c.
 */
#include "../memory/arena_list.h"
#include "../heap/heap_check.h"
#include "../heap/large.h"
#include "../runtime/log.h"
#include "../thread/init.h"
#include "../base/checker.h"
#include "../thread/heap_registry.h"
#include "../thread/tick.h"

static mi_heap_t* heap_new(affinity_t affinity, int tag, bool no_destroy) {
  heap_t* backing = thread_backing();
  heap_t* heap = backing == NULL ? NULL : heap_struct_get(backing);
  if (heap == NULL) return log_out_of_memory(sizeof(heap_t));
  heap->affinity = affinity;
  heap->tag = (uint8_t)tag;
  heap->no_destroy = no_destroy;
  return heap;
}

mi_heap_t* mi_heap_new(void) { return heap_new(AFFINITY_ANY, 0, false); }

mi_heap_t* mi_heap_new_ex(int heap_tag, bool allow_destroy, mi_arena_id_t arena_id) {
  mi_process_init();
  affinity_t affinity = AFFINITY_ANY;
  if (heap_tag < 0 || heap_tag > OWNER_TAG_MAX) return NULL;
  if (arena_id != 0) {
    if (arena_id < 0 || arena_at((size_t)arena_id - 1) == NULL) return NULL;
    affinity.arena = (uint16_t)(arena_id - 1);
  }
  return heap_new(affinity, heap_tag, !allow_destroy);
}

mi_heap_t* mi_heap_new_in_arena(mi_arena_id_t arena_id) {
  return mi_heap_new_ex(0, true, arena_id);
}

static bool may_end(heap_t* heap) {
  return heap != NULL && heap->is_first_class && heap_belongs_here(heap, "is ended by");
}

void mi_heap_delete(mi_heap_t* heap) {
  if (!may_end(heap)) return;
  /* The pages of an exclusive arena and of a tagged heap do not join the backing heap. */
  arena_t* arena = heap->affinity.arena == ARENA_NONE ? NULL : arena_at(heap->affinity.arena);
  bool apart = heap->tag != 0 || (arena != NULL && arena->exclusive);
  track_enter();
  heap_end(heap, apart ? NULL : heap_backing(heap));
  track_leave();
}

static bool tell_freed(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                       size_t block_size, void* arg) {
  (void)heap, (void)area, (void)arg;
  if (block != NULL) (void)track_free(block, block_size);
  return true;
}

void mi_heap_destroy(mi_heap_t* heap) {
  if (!may_end(heap)) return;
  if (heap->no_destroy) {
    mi_heap_delete(heap);
    return;
  }
  if (MI_TRACK) (void)mi_heap_visit_blocks(heap, true, &tell_freed, NULL);
  track_enter();
  heap_enter(heap);
  check_heap(heap);
  heap_release_pages(heap);
  large_destroy(heap);
  heap_leave(heap);
  heap_forget(heap);
  track_leave();
}

/* ---- which heap a thread uses ---- */

mi_heap_t* mi_heap_get_backing(void) { return thread_backing(); }

mi_heap_t* mi_heap_get_default(void) { return thread_backing() == NULL ? NULL : heap_default; }

mi_heap_t* mi_heap_set_default(mi_heap_t* heap) {
  heap_t* backing = thread_backing();
  if (heap == NULL || backing == NULL || !heap_belongs_here(heap, "becomes the default of"))
    return NULL;
  heap_t* before = heap_default;
  heap_default_set(heap);
  return before;
}

mi_heap_t* mi_heap_main(void) { return process_main_heap(); }

void mi_heap_collect(mi_heap_t* heap, bool force) mi_attr_noexcept {
  if (heap == NULL) {
    mi_collect(force);
    return;
  }
  heap_t* backing = thread_backing();
  if (backing != NULL && heap_backing(heap) == backing) thread_collect(heap, force);
}

void mi_collect_reduce(size_t target_thread_owned) mi_attr_noexcept {
  mi_collect(true);
  heap_t* heap = thread_backing();
  if (heap == NULL) return;
  heap_enter(heap);
  heap_release_excess_to(heap, target_thread_owned / SLICE_SIZE);
  heap_leave(heap);
}

bool mi_heap_set_limit(mi_heap_t* heap, size_t bytes) mi_attr_noexcept {
  if (thread_backing() == NULL) return false;
  if (heap == NULL) heap = heap_default;
  if (!heap_belongs_here(heap, "is limited by")) return false;
  if (bytes != 0) store_relaxed(&heap->keeps_all, true);
  store_relaxed(&heap->limit, bytes);
  return true;
}

void mi_heap_set_numa_affinity(mi_heap_t* heap, int numa_node) mi_attr_noexcept {
  if (thread_backing() == NULL) return;
  if (heap == NULL) heap = heap_default;
  heap->affinity.numa_node = (int16_t)(numa_node < 0 ? -1 : numa_node & INT16_MAX);
}
