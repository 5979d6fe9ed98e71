/* init.c - start and end of the process, and of each thread.
 *
 * Owns:    the state of the start.
 * Threads: any.
 *
 * A thread still allocates and frees after thread_end, in destructors of other libraries. It frees
 * like a thread that owns no page, and allocates from the fallback heap, under a lock.
 */
#include "init.h"
#include "fork.h"
#include "heap_registry.h"
#include "purger.h"
#include "../base/checker.h"
#include "../heap/heap_check.h"
#include "../heap/heap_free.h"
#include "../heap/kept_runs.h"
#include "../heap/large.h"
#include "../memory/arena_purge.h"
#include "../memory/arena_reserve.h"
#include "../memory/limit.h"
#include "../memory/meta.h"
#include "../runtime/log.h"
#include "../runtime/options.h"

static struct {
  _Atomic(bool) ready;        /* allocation works; the rest of the start may still run */
  _Atomic(uintptr_t) starter; /* thread that is starting the process; under start_lock */
  _Atomic(size_t) ending;     /* threads inside thread_end */
  uint64_t started_ms;
} process_state;
static os_lock_t start_lock = OS_LOCK_INIT; /* outermost in rank; a fork does not take it */

static void thread_end(void* backing);

/* ---- the process ---- */

static void process_start(void) {
  os_init();
  random_init();
  canary_init();
  process_state.started_ms = os_clock_ms();
  options_init();
  random_warn();
  limit_apply();
  purger_allow();
  (void)os_thread_hook(&thread_end);
  /* Release: a thread that sees `ready` sees all of the above. What follows may allocate. */
  store_release(&process_state.ready, true);
  os_fork_hooks(&fork_prepare, &fork_parent, &fork_child);
  arena_reserve_at_start();
}

void mi_process_init(void) mi_attr_noexcept {
  /* Acquire, pairs with the release in process_start. */
  if (likely(load_acquire(&process_state.ready))) return;
  /* The start may call this function again, and must not wait for itself. Relaxed: a thread finds
   * its own id here only if it wrote it. */
  if (load_relaxed(&process_state.starter) == os_thread_id()) return;
  os_lock(&start_lock);
  if (!load_relaxed(&process_state.ready)) { /* relaxed: written under start_lock */
    store_relaxed(&process_state.starter, os_thread_id());
    process_start();
  }
  os_unlock(&start_lock);
}

INTERNAL uint64_t process_started_ms(void) { return process_state.started_ms; }

/* ---- threads ---- */

INTERNAL heap_t* thread_start(void) {
  mi_process_init();
  if (heap_is_real(heap_default)) {   /* the start of the process has allocated */
    os_thread_hook_set(heap_default); /* before the start there was no hook */
    return heap_default;
  }
  heap_t* heap = registry_add_thread();
  if (heap == NULL) return NULL;
  heap_default_set(heap);
  os_thread_hook_set(heap); /* may allocate, so the thread's heap is set first */
  purger_tend();            /* allocates too */
  return heap;
}

static void thread_end(void* backing) {
  add_relaxed(&process_state.ending, 1);
  track_enter();
  heap_t* heap = backing;
  heap_flush_quarantine(heap);
  if (heap_backing(heap_default) == heap) heap_default_set(&heap_ended);
  while (heap->thread_heaps.first != NULL) heap_end(heap->thread_heaps.first, NULL);
  heap_enter(heap);
  check_heap(heap);
  heap_abandon(heap, NULL);
  runs_return(heap);
  size_t all = SIZE_MAX;
  if (heap_keeps_all(heap)) (void)large_abandon(heap, NULL, &all);
  heap_leave(heap);
  registry_remove_thread(heap);
  purger_thread_ended();
  arena_purge_due(false);
  track_leave();
  sub_release(&process_state.ending, 1); /* pairs with the acquire in process_unload */
}

INTERNAL heap_t* thread_backing(void) {
  heap_t* heap = heap_default;
  if (unlikely(heap == &heap_empty)) heap = thread_start();
  return heap == NULL || !heap_is_real(heap) ? NULL : heap_backing(heap);
}

INTERNAL bool heap_belongs_here(heap_t* heap, const char* what) {
  heap_t* backing = heap_backing(heap);
  if (backing != NULL && backing == thread_backing()) return true;
  if (MI_CHECKS_HEAPS)
    log_error(EFAULT, "heap %p %s a thread that did not create it\n", (void*)heap, what);
  return false;
}

INTERNAL heap_t* process_main_heap(void) {
  if (registry_main() == NULL) (void)thread_backing();
  return registry_main();
}

void mi_thread_init(void) mi_attr_noexcept {
  /* A thread that has ended gets no second heap: no hook would end that heap. */
  if (heap_default == &heap_empty && thread_start() == NULL) (void)log_out_of_memory(0);
}

void mi_thread_done(void) mi_attr_noexcept {
  if (!heap_is_real(heap_default)) return;
  heap_t* heap = heap_backing(heap_default);
  if (heap->in_deferred) return; /* the slow path that called the callback still uses the heap */
  os_thread_hook_set(NULL);
  thread_end(heap);
  heap_default_set(&heap_empty);
}

/* ---- unloading ---- */

#define UNLOAD_NAPS 1000 /* milliseconds to wait for threads inside thread_end */

INTERNAL void process_unload(void) {
  os_thread_hook_remove();
  if (!load_acquire(&process_state.ready)) return;
  purger_forbid(OS_NO_LIMIT); /* its code is about to be unmapped */
  for (int i = 0; i < UNLOAD_NAPS && load_acquire(&process_state.ending) != 0; i++) os_nap(1000);
  heap_default_set(&heap_ended); /* frees below are remote: the heaps are about to be abandoned */
  large_flush_quarantine();
  registry_abandon_all(); /* no other thread is inside the library */
  arena_unload();
  large_unload();
  map_unload();
  meta_unload();
  random_unload();
  /* A later call starts the process anew. */
  registry_clear();
  memset(&process_state, 0, sizeof(process_state));
  heap_default_set(&heap_empty);
}
