/* heap_registry.c - see heap_registry.h.
 *
 * Owns:    the list of live heaps, unused heap structs, the fallback heap.
 * Always:  a heap struct is in one list; an unused one owns no page.
 * Threads: heap_lock guards the lists, fallback_lock the fallback heap.
 */
#include "heap_registry.h"
#include "../base/list.h"
#include "../heap/guard_sampling.h"
#include "../heap/heap_check.h"
#include "../heap/heap_free.h"
#include "../heap/keep.h"
#include "../heap/large.h"
#include "../memory/meta.h"

static os_lock_t heap_lock = OS_LOCK_INIT;
static os_lock_t fallback_lock = OS_LOCK_INIT;

static struct {
  heap_list_t live;         /* all live heaps; heap_lock guards this and the fields up to `main` */
  uint32_t generation;      /* forks from the first ancestor to this process; see fork.c */
  _Atomic(heap_t*) orphans; /* no heap in `live` before this one is an orphan; relaxed: a hint */
  heap_t* unused[2];        /* heap structs: of backing heaps, of first-class heaps */
  heap_t *lost, *kept;      /* never reused: those that a fork left busy, and the main heap's */
  _Atomic(size_t) threads;
  thread_stats_t stats;  /* but `threads` and `large`; `allocated` by heaps that have ended */
  _Atomic(heap_t*) main; /* the first backing heap */
  heap_t* fallback;      /* guarded by fallback_lock */
} registry;

/* ---- heap structs ---- */

/* Each TICK_EVERY-th entry into the slow path is a tick. With guarded allocations each entry is
 * one, for the next allocation may be guarded. */
INTERNAL size_t tick_mask_without_callback(void) { return guarded_is_on() ? 0 : TICK_EVERY - 1; }

/* Caller holds heap_lock. */
static heap_t* heap_struct_new(bool is_first_class) {
  heap_t* heap = registry.unused[is_first_class];
  if (heap != NULL) {
    registry.unused[is_first_class] = heap->next;
    mi_assert_internal(heap_owns_nothing(heap) && heap_backing(heap) == NULL);
  } else {
    heap = meta_alloc(sizeof(heap_t));
    if (heap == NULL) return NULL;
    heap->is_first_class = is_first_class; /* never changes: other threads read it at any time */
  }
  store_relaxed(&heap->generation, registry.generation);
  heap->heartbeat = 0;
  heap->in_deferred = heap->asks_program = false;
  heap->no_destroy = false;
  store_relaxed(&heap->keeps_all, is_first_class);
  store_relaxed(&heap->limit, 0);
  store_relaxed(&heap->large_bytes, 0);
  heap->tag = 0;
  heap->affinity = AFFINITY_ANY;
  heap->thread_heaps = (heap_list_t){NULL, NULL};
  heap->thread_next = heap->thread_prev = NULL;
  heap->tick_mask = tick_mask_without_callback(); /* the first tick finds a callback */
  heap->guarded_in = GUARDED_NEVER_YET;
  keep_begin(heap);
  LIST_PUSH_FRONT(&registry.live, heap, next, prev);
  return heap;
}

/* Adds the counts of a heap that ends to the process's. Caller holds heap_lock. */
static void heap_struct_count(heap_t* heap) {
  FOR_CLASSES(heap, cls) {
    registry.stats.allocated[cls] += load_relaxed(&heap->queue[cls].allocated);
    store_relaxed(&heap->queue[cls].allocated, 0);
    heap->queue[cls].keeps = heap->queue[cls].keeps_next = heap->queue[cls].may_keep = 0;
  }
  memset(heap->classes, 0, sizeof(heap->classes));
  keep_end(heap);
  large_count_ended(heap);
}

/* Where a heap struct goes that owns nothing any more. */
static heap_t** list_after(heap_t* heap) {
  return heap == load_relaxed(&registry.main) ? &registry.kept
                                              : &registry.unused[heap->is_first_class];
}

/* Moves a heap struct from the live heaps to `list`. Caller holds heap_lock. */
static void heap_struct_retire(heap_t* heap, heap_t** list) {
  heap_struct_count(heap);
  if (load_relaxed(&registry.orphans) == heap) store_relaxed(&registry.orphans, heap->next);
  LIST_REMOVE(&registry.live, heap, next, prev);
  /* Relaxed: a thread reuses the heap struct only after it has taken heap_lock. */
  store_relaxed(&heap->backing, NULL);
  heap->next = *list;
  *list = heap;
}

/* ---- threads ---- */

INTERNAL size_t registry_threads(void) { return load_seq_cst(&registry.threads); }

INTERNAL heap_t* registry_main(void) { return load_acquire(&registry.main); }

INTERNAL heap_t* registry_add_thread(void) {
  os_lock(&heap_lock);
  heap_t* heap = heap_struct_new(false);
  if (heap != NULL) {
    add_seq_cst(&registry.threads, 1);
    registry.stats.threads_total++;
    store_relaxed(&heap->backing, heap);
    /* Release, pairs with the acquire in registry_main: the heap is complete. */
    if (load_relaxed(&registry.main) == NULL) store_release(&registry.main, heap);
  }
  os_unlock(&heap_lock);
  return heap;
}

INTERNAL void registry_remove_thread(heap_t* heap) {
  os_lock(&heap_lock);
  add_seq_cst(&registry.threads, (size_t)-1);
  heap_struct_retire(heap, list_after(heap));
  os_unlock(&heap_lock);
}

/* ---- first-class heaps ---- */

INTERNAL heap_t* heap_struct_get(heap_t* backing) {
  os_lock(&heap_lock);
  heap_t* heap = heap_struct_new(true);
  if (heap != NULL) {
    registry.stats.heaps++;
    store_relaxed(&heap->backing, backing);
  }
  os_unlock(&heap_lock);
  if (heap == NULL) return NULL;
  heap->tick_mask = backing->tick_mask;
  LIST_PUSH_FRONT(&backing->thread_heaps, heap, thread_next, thread_prev);
  return heap;
}

INTERNAL void heap_struct_put(heap_t* heap) {
  LIST_REMOVE(&heap_backing(heap)->thread_heaps, heap, thread_next, thread_prev);
  os_lock(&heap_lock);
  registry.stats.heaps--;
  heap_struct_retire(heap, list_after(heap));
  os_unlock(&heap_lock);
}

INTERNAL bool heap_lives(heap_t* heap) {
  /* The generation changes in the child of a fork only, while it has a single thread. */
  return heap_backing(heap) != NULL && load_relaxed(&heap->generation) == registry.generation;
}

INTERNAL void heap_forget(heap_t* heap) {
  mi_assert_internal(heap_owns_nothing(heap));
  if (heap_default == heap) heap_default_set(heap_backing(heap));
  heap_struct_put(heap);
}

INTERNAL void heap_end(heap_t* heap, heap_t* to) {
  heap_enter(heap);
  if (to != NULL) heap_enter(to);
  check_heap(heap);
  heap_abandon(heap, to);
  size_t all = SIZE_MAX;
  (void)large_abandon(heap, to, &all);
  if (to != NULL) heap_leave(to);
  heap_leave(heap);
  heap_forget(heap);
}

/* ---- the fallback heap ---- */

INTERNAL void* fallback_alloc(size_t cls) {
  os_lock(&fallback_lock);
  if (registry.fallback == NULL && (registry.fallback = meta_alloc(sizeof(heap_t))) != NULL)
    registry.fallback->affinity = AFFINITY_ANY, registry.fallback->keep.credit = KEEP_FALLBACK;
  heap_t* heap = registry.fallback;
  block_t* block = NULL;
  if (heap != NULL) {
    block = heap_pop(heap, cls);
    if (block == NULL) block = heap_refill(heap, cls);
  }
  os_unlock(&fallback_lock);
  return block;
}

INTERNAL void fallback_collect(void) {
  os_lock(&fallback_lock);
  if (registry.fallback != NULL) heap_collect(registry.fallback);
  os_unlock(&fallback_lock);
}

/* ---- orphans: heaps of threads that a fork did not copy ---- */

/* Caller holds heap_lock; the heap owns nothing any more, or is busy and lost. */
static void orphan_end(heap_t* heap) {
  heap_t** list = list_after(heap);
  if (load_relaxed(&heap->busy) != 0) {
    store_relaxed(&heap->busy, 0);
    heap_lose_quarantine(heap);
    registry.stats.heaps_lost++;
    list = &registry.lost;
  }
  heap_struct_retire(heap, list);
}

/* Abandons about `*pages` pages of an orphan; true if it owns nothing any more, or is lost. */
static bool orphan_leave(heap_t* heap, size_t* pages) {
  if (load_relaxed(&heap->busy) != 0) return true;
  heap_flush_quarantine(heap);
  return heap_abandon_some(heap, NULL, pages) && large_abandon(heap, NULL, pages);
}

INTERNAL void orphans_recover(size_t pages) {
  if (likely(load_relaxed(&registry.orphans) == NULL)) return;
  os_lock(&heap_lock);
  for (heap_t* heap; pages > 0 && (heap = load_relaxed(&registry.orphans)) != NULL; pages--) {
    if (load_relaxed(&heap->generation) == registry.generation)
      store_relaxed(&registry.orphans, heap->next);
    else if (orphan_leave(heap, &pages))
      orphan_end(heap);
    if (pages == 0) break;
  }
  os_unlock(&heap_lock);
}

INTERNAL void heaps_recover(void) { orphans_recover(SIZE_MAX); }

/* In the child of a fork: keeps a heap of the thread that goes on. */
static void heap_keep(heap_t* heap) {
  store_relaxed(&heap->generation, registry.generation);
  /* The parent knows the order of the lists: the next refill puts the blocks in a new one. */
  if (SECURE_ORDER) heap_return_lists(heap);
  guarded_after_fork(heap);
}

INTERNAL void registry_after_fork(heap_t* mine) {
  store_relaxed(&registry.threads, mine != NULL);
  registry.stats.heaps = 0;
  registry.generation++;
  store_relaxed(&registry.orphans, registry.live.first);
  if (mine == NULL) return;
  FOR_HEAPS_OF(mine, h) {
    heap_keep(h);
    registry.stats.heaps += h->is_first_class;
  }
  heap_quarantine_after_fork(mine);
}

/* ---- unloading ---- */

INTERNAL void registry_abandon_all(void) {
  for (heap_t* h = registry.live.first; h != NULL; h = h->next)
    if (load_relaxed(&h->busy) == 0) heap_flush_quarantine(h);
  for (heap_t* h = registry.live.first; h != NULL; h = h->next)
    if (load_relaxed(&h->busy) == 0) heap_abandon(h, NULL);
  if (registry.fallback != NULL) heap_abandon(registry.fallback, NULL);
}

INTERNAL void registry_clear(void) {
  keep_clear();
  memset(&registry, 0, sizeof(registry));
}

/* ---- all heaps ---- */

INTERNAL void heaps_for_each(void (*visit)(heap_t* heap, void* arg), void* arg) {
  os_lock(&heap_lock);
  for (heap_t* h = registry.live.first; h != NULL; h = h->next) visit(h, arg);
  os_lock(&fallback_lock);
  if (registry.fallback != NULL) visit(registry.fallback, arg);
  os_unlock(&fallback_lock);
  os_unlock(&heap_lock);
}

INTERNAL void thread_stats_add(heap_t* heap, void* arg) {
  thread_stats_t* stats = arg;
  large_add_counts(&stats->large, heap);
  for (size_t cls = 0; cls < CLASS_COUNT; cls++)
    stats->allocated[cls] += load_relaxed(&heap->queue[cls].allocated);
}

INTERNAL void thread_stats(thread_stats_t* stats) {
  heaps_recover();
  os_lock(&heap_lock);
  *stats = registry.stats;
  large_add_counts(&stats->large, NULL);
  os_unlock(&heap_lock);
  stats->threads = registry_threads();
  heaps_for_each(&thread_stats_add, stats);
}
