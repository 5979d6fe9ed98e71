/* tick.c - see tick.h.
 *
 * Owns:    the callbacks for deferred frees and for the soft limit.
 * Threads: any, each for its own heaps.
 */
#include "tick.h"
#include "heap_registry.h"
#include "init.h"
#include "purger.h"
#include "../base/checker.h"
#include "../heap/heap.h"
#include "../heap/heap_check.h"
#include "../heap/heap_free.h"
#include "../heap/keep.h"
#include "../heap/large.h"
#include "../heap/sparse.h"
#include "../memory/arena.h"
#include "../memory/arena_purge.h"
#include "../memory/limit.h"
#include "../memory/slice_reuse.h"
#include "../page/holes.h"
#include "../runtime/callback.h"
#include "../runtime/log.h"

static callback_t deferred;

/* ---- the callback for deferred frees ---- */

/* With a callback each entry into the slow path is a tick, as its users expect. */
static size_t wanted_tick_mask(mi_deferred_free_fun* fun) {
  return fun != NULL ? 0 : tick_mask_without_callback();
}

/* Sets the mask of all heaps of the thread. */
static void set_tick_mask(heap_t* backing, size_t mask) {
  if (backing->tick_mask == mask) return;
  FOR_HEAPS_OF(backing, h) h->tick_mask = mask;
}

void mi_register_deferred_free(mi_deferred_free_fun* fun, void* arg) mi_attr_noexcept {
  os_lock(&log_lock);
  callback_set(&deferred, (uintptr_t)fun, arg);
  os_unlock(&log_lock);
  heap_t* backing =
      heap_backing(heap_default); /* other threads find the callback at their next tick */
  if (backing != NULL) set_tick_mask(backing, wanted_tick_mask(fun));
}

static void run_deferred(heap_t* heap, bool force) {
  void* arg;
  mi_deferred_free_fun* fun = (mi_deferred_free_fun*)callback_get(&deferred, &arg);
  heap = heap_backing(heap);
  set_tick_mask(heap, wanted_tick_mask(fun));
  if (fun == NULL || heap->in_deferred) return;
  int cancel = os_cancel_off();
  heap->in_deferred = true;
  fun(force, ++heap->heartbeat, arg); /* strictly growing on a thread, whichever heap is used */
  heap->in_deferred = false;
  os_cancel_restore(cancel);
}

/* ---- the soft limit ---- */

static callback_t soft_limit;

void mi_register_limit(mi_limit_fun* fun, void* arg) mi_attr_noexcept {
  os_lock(&log_lock);
  callback_set(&soft_limit, (uintptr_t)fun, arg);
  os_unlock(&log_lock);
}

/* A crossing inside a callback waits until the callback has returned. A thread after its end only
 * purges. */
INTERNAL COLD void soft_limit_handle(uintptr_t thread) {
  heap_t* heap = heap_backing(heap_default);
  if ((heap != NULL && heap->in_deferred) || !usage_take_crossing(thread)) return;
  void* arg;
  mi_limit_fun* fun = (mi_limit_fun*)callback_get(&soft_limit, &arg);
  if (fun != NULL && heap != NULL) {
    int cancel = os_cancel_off();
    heap->in_deferred = true;
    fun(usage_count(), usage_soft_limit(), arg);
    heap->in_deferred = false;
    os_cancel_restore(cancel);
  }
  arena_purge_due(true);
}

/* ---- a tick ---- */

#define TRIM_EVERY 64
#define TRIM_CLASSES 8

/* Trims a few classes at a time: an empty page that the heap no longer allocates from must not stay
 * only because it is the active one. */
static void heap_trim(heap_t* heap) {
  heap_enter(heap);
  for (int i = 0; i < TRIM_CLASSES; i++) {
    if (++heap->trim_class >= CLASS_COUNT) heap->trim_class = 0;
    queue_t* q = &heap->queue[heap->trim_class];
    if (q->active != NULL || heap->free_list[heap->trim_class] != NULL)
      heap_trim_class(heap, heap->trim_class);
    if (!heap_keeps_all(heap)) heap_trim_sparse(heap, heap->trim_class);
  }
  heap_leave(heap);
}

#define RECOVER_PAGES 64 /* of orphans, at a tick */

#define HOLES_TICK ((size_t)2 * MiB)

INTERNAL COLD void heap_tick(heap_t* heap) {
  size_t bytes = HOLES_TICK;
  run_deferred(heap, false);
  limit_tick();
  orphans_recover(RECOVER_PAGES);
  purger_tend();
  arena_purge_due(false);
  (void)holes_purge_due(&bytes);
  heap_adjust_quarantine(heap_backing(heap));
  heap_enter(heap);
  keep_tick(heap);
  heap_leave(heap);
  /* `< 2`: a callback increments the heartbeat too, so an exact value may be skipped. */
  if ((heap->heartbeat & (TRIM_EVERY - 1)) < 2) heap_trim(heap);
}

INTERNAL void large_tick(heap_t* heap) {
  if (heap_is_real(heap) && (++heap->heartbeat & heap->tick_mask) == 0) heap_tick(heap);
}

/* ---- collecting ---- */

static void collect_one(heap_t* heap, bool force) {
  heap_enter(heap);
  heap_collect(heap);
  keep_collect(heap);
  if (force) heap_abandon_sparse(heap);
  check_heap(heap);
  heap_leave(heap);
}

#define PURGE_NAPS 50 /* 5 ms in all */

INTERNAL void thread_collect_for_oom(void) {
  heap_t* heap = heap_default;
  large_flush_quarantine();
  heaps_recover();
  if (heap_is_real(heap)) {
    run_deferred(heap, true);
    heap = heap_backing(heap);
    heap_flush_quarantine(heap);
    FOR_HEAPS_OF(heap, h) collect_one(h, false);
  }
  holes_go_on(holes_stop()); /* waits for a page that another thread has claimed */
  if (likely(!usage_is_on())) return;
  arena_purge_due(true);
  /* What other threads purge now counts until they are done. */
  for (unsigned round = 0; round < PURGE_NAPS && wait_for_flight(round);) round++;
}

#define COLLECT_STEP ((size_t)8 * MiB)

/* Each hole belongs to a page that was published before the call or by it, so this ends. */
static void purge_all_holes(void) {
  size_t bytes;
  do bytes = COLLECT_STEP;
  while (holes_purge(&bytes));
}

INTERNAL void thread_collect(heap_t* heap, bool force) {
  track_enter();
  heaps_recover();
  heap_t* backing = thread_backing(); /* the callback needs a heartbeat */
  if (backing != NULL) {
    run_deferred(backing, force);
    if (force) heap_flush_quarantine(backing);
    FOR_HEAPS_OF(backing, h) {
      if (heap == NULL || heap == h) collect_one(h, force);
    }
  }
  if (force) {
    large_flush_quarantine();
    fallback_collect();
    purge_all_holes();
  }
  arena_purge_due(force);
  track_leave();
  slices_report();
}

void mi_thread_idle(void) mi_attr_noexcept {
  if (!heap_is_real(heap_default)) return; /* the thread owns nothing */
  heap_t* heap = heap_backing(heap_default);
  track_enter();
  run_deferred(heap, true);
  heap_flush_quarantine(heap);
  for (heap_t* h = heap->thread_heaps.first; h != NULL; h = h->thread_next) collect_one(h, true);
  heap_enter(heap);
  heap_rest(heap);
  keep_collect(heap);
  check_heap(heap);
  heap_leave(heap);
  purge_all_holes();
  arena_purge_due(true);
  track_leave();
  slices_report();
}

void mi_collect(bool force) mi_attr_noexcept { thread_collect(NULL, force); }
