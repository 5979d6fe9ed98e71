/* thread.c - start and end of threads and of the process; fork.
 *
 * Owns:    the list of live heaps, unused heap records, the late heap, the start-up state.
 * Always:  a heap record is in one list; an unused record owns no page.
 * Threads: heap_lock guards the lists, late_lock the late heap. Rank of locks, outermost first:
 *          heap_lock, late_lock, large_lock, arena_lock, meta_lock, log_lock.
 * Uses:    heap.h, check.h, large.h, slices.h, options.h, log.h, os.h.
 *          Used by: large, alloc, free, report.
 *
 * A thread after its own end still allocates and frees (destructors of other libraries): it
 * frees like a stranger, and allocates from the late heap, which belongs to no thread and is
 * used under a lock.
 *
 * Fork: prepare takes the locks in rank order, so the child finds every structure that is guarded
 * by one in order. A heap of another thread is in order too unless that thread was inside a slow
 * path (`busy`): the copy holds a prefix of each thread's writes (a write to an OS page that was
 * copied already either still goes to the shared one or waits until the copy is complete), and the
 * fast paths write in an order in which every prefix makes sense, but for what page_settle mends.
 *
 * The child handler does no work for other threads' heaps: it starts a new generation, and a heap
 * of an older one is an orphan. Orphans are recovered later, a bounded number of pages at a tick:
 * their pages become abandoned, as at the end of a thread. Until then a page of an orphan is owned,
 * so frees into it wait on its remote list. What a busy thread left is leaked.
 */
#include "thread.h"
#include "heaps.h"
#include "callback.h"
#include "guarded.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "large.h"
#include "check.h"
#include "slices.h"
#include "track.h"

INTERNAL_DEF heap_t heap_empty CACHE_ALIGNED APART;
INTERNAL_DEF heap_t heap_ended CACHE_ALIGNED APART;
#if !OS_THREAD_WORD
INTERNAL_TLS heap_t* heap_default;
#if defined(MI_ONE_UNIT)
static
#endif
    _Thread_local heap_t* heap_default = &heap_empty;
#endif

static struct {
  _Atomic(bool) ready;        /* started, or as good as: allocation works */
  _Atomic(uintptr_t) starter; /* thread that is starting the process; under start_lock */
  heap_t* live;               /* guarded by heap_lock, as is all up to `late` */
  uint32_t generation;        /* forks of this process's ancestors and its own; see above */
  _Atomic(heap_t*) orphans;   /* those in `live` before it are none; relaxed: NULL is a hint */
  heap_t* unused[2];          /* records: of backing heaps, of first-class heaps */
  heap_t* lost;
  size_t threads, threads_total, heaps, heaps_lost;
  size_t detached[CLASS_COUNT]; /* by heaps that have ended */
  _Atomic(heap_t*) main;        /* the first backing heap */
  heap_t* late;                 /* guarded by late_lock */
  _Atomic(size_t) large;        /* by heaps that have ended and by threads without one */
  _Atomic(size_t) ending;       /* threads inside thread_end */
  callback_t deferred;
  uint64_t started_ms;
} process;

static os_lock_t heap_lock = OS_LOCK_INIT;
static os_lock_t late_lock = OS_LOCK_INIT;
static os_lock_t start_lock = OS_LOCK_INIT; /* before all others, and never across a fork */

static void thread_end(void* backing);
static void fork_prepare(void);
static void fork_parent(void);
static void fork_child(void);

/* ---- the process ---- */

static void process_start(void) {
  os_init();
  random_init();
  secure_init();
  process.started_ms = os_clock_ms();
  options_init();
  random_warn();
  (void)os_thread_hook(&thread_end);
  /* Release: a thread that sees it sees all of the above. From here on allocation works, so what
   * follows may allocate. */
  store_release(&process.ready, true);
  os_fork_hooks(&fork_prepare, &fork_parent, &fork_child);
  arena_reserve_at_start();
}

void mi_process_init(void) mi_attr_noexcept {
  /* Acquire, pairs with the release in process_start. */
  if (likely(load_acquire(&process.ready))) return;
  /* Called back from inside the start, which must not wait for itself. Relaxed: a thread finds its
   * own id here only if it wrote it. */
  if (load_relaxed(&process.starter) == os_thread_id()) return;
  os_lock(&start_lock);
  if (!load_relaxed(&process.ready)) { /* written under the lock */
    store_relaxed(&process.starter, os_thread_id());
    process_start();
  }
  os_unlock(&start_lock);
}

INTERNAL uint64_t process_started_ms(void) { return process.started_ms; }

/* ---- threads ---- */

/* With a callback each entry into the generic path is a tick, as its users expect; and where some
 * allocations are guarded each is a look whether this is one. */
static size_t wanted_tick_mask(mi_deferred_free_fun* fun) {
  return fun != NULL || guarded_is_on() ? 0 : TICK_EVERY - 1;
}

/* Caller holds heap_lock. */
static heap_t* record_new(bool keeps) {
  heap_t* heap = process.unused[keeps];
  if (heap != NULL) {
    process.unused[keeps] = heap->next;
    mi_assert_internal(heap_owns_nothing(heap) && heap_backing(heap) == NULL);
  } else {
    heap = meta_alloc(sizeof(heap_t));
    if (heap == NULL) return NULL;
    heap->keeps = keeps; /* for ever: others may read it at any time */
  }
  store_relaxed(&heap->generation, process.generation);
  heap->heartbeat = 0;
  heap->in_deferred = heap->asks_program = false;
  heap->no_destroy = false;
  heap->tag = 0;
  heap->place = PLACE_ANY;
  heap->own = heap->own_next = heap->own_prev = NULL;
  heap->tick_mask = wanted_tick_mask(NULL); /* a callback is noticed at the first tick */
  heap->guarded_in = GUARDED_NEVER_YET;
  heap->queued_max = QUEUED_MIN;
  heap->prev = NULL;
  heap->next = process.live;
  if (process.live != NULL) process.live->prev = heap;
  process.live = heap;
  return heap;
}

/* The counts of a heap that ends stay in the process's. Caller holds heap_lock. */
static void record_counts(heap_t* heap) {
  FOR_CLASSES(heap, class) {
    process.detached[class] += load_relaxed(&heap->queue[class].detached);
    store_relaxed(&heap->queue[class].detached, 0);
  }
  memset(heap->classes, 0, sizeof(heap->classes));
  add_relaxed(&process.large, load_relaxed(&heap->large_count));
  store_relaxed(&heap->large_count, 0);
}

/* Caller holds heap_lock. */
static void record_retire(heap_t* heap, heap_t** list) {
  record_counts(heap);
  if (load_relaxed(&process.orphans) == heap) store_relaxed(&process.orphans, heap->next);
  if (heap->prev != NULL)
    heap->prev->next = heap->next;
  else
    process.live = heap->next;
  if (heap->next != NULL) heap->next->prev = heap->prev;
  /* Relaxed: who reuses the record does so after taking the lock that we hold. */
  store_relaxed(&heap->backing, NULL);
  heap->prev = NULL;
  heap->next = *list;
  *list = heap;
}

INTERNAL heap_t* heap_record_get(heap_t* backing) {
  os_lock(&heap_lock);
  heap_t* heap = record_new(true);
  if (heap != NULL) {
    process.heaps++;
    store_relaxed(&heap->backing, backing);
  }
  os_unlock(&heap_lock);
  if (heap == NULL) return NULL;
  heap->tick_mask = backing->tick_mask;
  heap->own_next = backing->own;
  if (backing->own != NULL) backing->own->own_prev = heap;
  backing->own = heap;
  return heap;
}

INTERNAL void heap_record_put(heap_t* heap) {
  if (heap->own_prev != NULL)
    heap->own_prev->own_next = heap->own_next;
  else
    heap_backing(heap)->own = heap->own_next;
  if (heap->own_next != NULL) heap->own_next->own_prev = heap->own_prev;
  os_lock(&heap_lock);
  process.heaps--;
  record_retire(heap, &process.unused[true]);
  os_unlock(&heap_lock);
}

INTERNAL bool heap_lives(heap_t* heap) {
  /* The generation changes in the child of a fork only, while it has a single thread. */
  return heap_backing(heap) != NULL && load_relaxed(&heap->generation) == process.generation;
}

static heap_t* thread_start(void) {
  mi_process_init();
  if (heap_is_real(heap_default)) {   /* the start of the process has allocated */
    os_thread_hook_set(heap_default); /* there was no hook yet */
    return heap_default;
  }
  os_lock(&heap_lock);
  heap_t* heap = record_new(false);
  if (heap != NULL) {
    process.threads++;
    process.threads_total++;
    store_relaxed(&heap->backing, heap);
    /* Release, pairs with the acquire in process_main_heap. */
    if (load_relaxed(&process.main) == NULL) store_release(&process.main, heap);
  }
  os_unlock(&heap_lock);
  if (heap == NULL) return NULL;
  heap_default_set(heap);
  os_thread_hook_set(heap); /* may allocate; the thread has its heap by now */
  return heap;
}

static void thread_end(void* backing) {
  add_relaxed(&process.ending, 1);
  track_enter();
  heap_t* heap = backing;
  heap_let_held_go(heap);
  if (heap_backing(heap_default) == heap) heap_default_set(&heap_ended);
  while (heap->own != NULL) heap_end(heap->own, NULL);
  heap_enter(heap);
  check_heap(heap);
  heap_abandon(heap, NULL);
  heap_leave(heap);
  os_lock(&heap_lock);
  process.threads--;
  heap_t* kept = NULL; /* the main heap is a name for ever, and in no list */
  record_retire(heap, heap == load_relaxed(&process.main) ? &kept : &process.unused[false]);
  os_unlock(&heap_lock);
  arena_purge_due(false);
  track_leave();
  sub_release(&process.ending, 1); /* pairs with the acquire in process_unload */
}

INTERNAL heap_t* thread_backing(void) {
  heap_t* heap = heap_default;
  if (unlikely(heap == &heap_empty)) heap = thread_start();
  return heap == NULL || !heap_is_real(heap) ? NULL : heap_backing(heap);
}

INTERNAL heap_t* process_main_heap(void) {
  /* Acquire: the record is complete. */
  if (load_acquire(&process.main) == NULL) (void)thread_backing();
  return load_acquire(&process.main);
}

void mi_thread_init(void) mi_attr_noexcept {
  /* A thread that has ended gets no second heap, for nobody would end that. */
  if (heap_default == &heap_empty && thread_start() == NULL) (void)thread_out_of_memory(0);
}

void mi_thread_done(void) mi_attr_noexcept {
  if (!heap_is_real(heap_default)) return;
  heap_t* heap = heap_backing(heap_default);
  if (heap->in_deferred) return; /* not from inside the generic path */
  os_thread_hook_set(NULL);
  thread_end(heap);
  heap_default_set(&heap_empty);
}

/* ---- heaps that a fork left behind ---- */

/* Caller holds heap_lock, and the heap owns nothing any more or is lost. */
static void orphan_end(heap_t* heap) {
  heap_t* kept = NULL; /* the main heap is a name for ever, and in no list */
  heap_t** list = heap == load_relaxed(&process.main) ? &kept : &process.unused[heap->keeps];
  if (load_relaxed(&heap->busy) != 0) {
    store_relaxed(&heap->busy, 0);
    heap_lose_quarantine(heap);
    process.heaps_lost++;
    list = &process.lost;
  }
  record_retire(heap, list);
}

/* True if it owns nothing any more, or is lost. */
static bool orphan_leave(heap_t* heap, size_t* pages) {
  if (load_relaxed(&heap->busy) != 0) return true;
  heap_let_held_go(heap);
  return heap_abandon_some(heap, NULL, pages) && large_leave(heap, NULL, pages);
}

/* Gives up to about so many pages of orphans up. */
static void orphans_recover(size_t pages) {
  if (likely(load_relaxed(&process.orphans) == NULL)) return;
  os_lock(&heap_lock);
  for (heap_t* heap; pages > 0 && (heap = load_relaxed(&process.orphans)) != NULL; pages--) {
    if (load_relaxed(&heap->generation) == process.generation)
      store_relaxed(&process.orphans, heap->next);
    else if (orphan_leave(heap, &pages))
      orphan_end(heap);
    if (pages == 0) break;
  }
  os_unlock(&heap_lock);
}

INTERNAL void heaps_recover(void) { orphans_recover(SIZE_MAX); }

/* ---- the generic path ---- */

/* All heaps of the thread learn of it at once. */
static void set_tick_mask(heap_t* backing, size_t mask) {
  if (backing->tick_mask == mask) return;
  backing->tick_mask = mask;
  for (heap_t* h = backing->own; h != NULL; h = h->own_next) h->tick_mask = mask;
}

void mi_register_deferred_free(mi_deferred_free_fun* fun, void* arg) mi_attr_noexcept {
  os_lock(&log_lock);
  callback_set(&process.deferred, (uintptr_t)fun, arg);
  os_unlock(&log_lock);
  heap_t* backing = heap_backing(heap_default); /* other threads notice at their next tick */
  if (backing != NULL) set_tick_mask(backing, wanted_tick_mask(fun));
}

static void run_deferred(heap_t* heap, bool force) {
  void* arg;
  mi_deferred_free_fun* fun = (mi_deferred_free_fun*)callback_get(&process.deferred, &arg);
  heap = heap_backing(heap);
  set_tick_mask(heap, wanted_tick_mask(fun));
  if (fun == NULL || heap->in_deferred) return;
  int cancel = os_cancel_off();
  heap->in_deferred = true;
  fun(force, ++heap->heartbeat, arg); /* strictly growing on a thread, whichever heap is used */
  heap->in_deferred = false;
  os_cancel_restore(cancel);
}

#define TRIM_EVERY 64
#define TRIM_CLASSES 8

/* Looks after a few classes at a time: a page that nobody allocates from any more must not stay
 * only because it is current. */
static void heap_trim(heap_t* heap) {
  heap_enter(heap);
  heap_shed(heap);
  for (int i = 0; i < TRIM_CLASSES; i++) {
    if (++heap->trim_class >= CLASS_COUNT) heap->trim_class = 0;
    queue_t* q = &heap->queue[heap->trim_class];
    if (q->current != NULL) heap_trim_class(heap, heap->trim_class);
    if (heap->keeps) heap_trim_kept(heap, heap->trim_class);
  }
  heap_leave(heap);
}

#define RECOVER_PAGES 64 /* of orphans, at a tick */

static COLD void heap_tick(heap_t* heap) {
  run_deferred(heap, false);
  orphans_recover(RECOVER_PAGES);
  arena_purge_due(false);
  heap_look_at_quarantine(heap_backing(heap));
  /* The callback counts as well, so that the heartbeat may be odd here whenever there is one. */
  if ((heap->heartbeat & (TRIM_EVERY - 1)) < 2) heap_trim(heap);
}

INTERNAL void thread_large_tick(heap_t* heap) {
  if (heap_is_real(heap) && (++heap->heartbeat & heap->tick_mask) == 0) heap_tick(heap);
}

/* An allocation of a thread that has ended. */
static void* late_alloc(size_t class) {
  os_lock(&late_lock);
  if (process.late == NULL && (process.late = meta_alloc(sizeof(heap_t))) != NULL)
    process.late->place = PLACE_ANY, process.late->queued_max = QUEUED_MIN;
  heap_t* heap = process.late;
  block_t* block = NULL;
  if (heap != NULL) {
    block = heap_pop(heap, class);
    if (block == NULL) block = heap_alloc_slow(heap, class);
  }
  os_unlock(&late_lock);
  return block != NULL ? block : thread_out_of_memory(class_block_size(class));
}

/* Behind the first failure: free what can be freed, try once more, report. */
static COLD void* heap_generic_retry(heap_t* heap, size_t class) {
  thread_relieve();
  void* block = heap_pop(heap, class);
  if (block != NULL) return block; /* the deferred-free callback came back with something */
  heap_enter(heap);
  block = heap_alloc_slow(heap, class);
  heap_leave(heap);
  return block != NULL ? block : thread_out_of_memory(class_block_size(class));
}

static COLD void* heap_generic_start(heap_t* heap, size_t class) {
  if (heap == &heap_ended) return late_alloc(class);
  heap = thread_start();
  if (heap == NULL) return thread_out_of_memory(class_block_size(class));
  void* block = heap_pop(heap, class); /* the start may have allocated already */
  return block != NULL ? block : heap_generic(heap, class);
}

/* Some allocations are guarded: lists are no longer than until the next one. */
static COLD void* heap_generic_guarded(heap_t* heap, size_t class) {
  void* block = guarded_alloc_class(heap, class);
  if (block != NULL) return block;
  heap_enter(heap);
  size_t before = load_relaxed(&heap->queue[class].detached);
  block = heap_alloc_slow(heap, class);
  size_t count = load_relaxed(&heap->queue[class].detached) - before;
  if (block != NULL) heap_cut_list(heap, class, guarded_pass(heap, class, count) - 1);
  heap_leave(heap);
  return likely(block != NULL) ? block : heap_generic_retry(heap, class);
}

static NOINLINE void* heap_generic_slow(heap_t* heap, size_t class) {
  if (unlikely(!heap_is_real(heap))) return heap_generic_start(heap, class);
  slices_report();
  /* heap_take_local has counted this entry if it found a page to look at. */
  if (heap->queue[class].current == NULL) heap->heartbeat++;
  if (unlikely((heap->heartbeat & heap->tick_mask) == 0)) {
    heap_tick(heap);
    void* block = heap_pop(heap, class);
    if (block != NULL) return block; /* the callback has allocated or freed */
    if (guarded_is_on()) return heap_generic_guarded(heap, class);
  }
  heap_enter(heap);
  void* block = heap_alloc_slow(heap, class);
  heap_leave(heap);
  return likely(block != NULL) ? block : heap_generic_retry(heap, class);
}

INTERNAL NOINLINE void* heap_generic(heap_t* heap, size_t class) {
  /* What nearly always happens: the blocks that were freed in the current page are taken over.
   * A fork in the middle loses them in the child, where the thread is gone anyway. */
  block_t* block = heap_take_local(heap, class);
  return likely(block != NULL) ? block : heap_generic_slow(heap, class);
}

static void collect_one(heap_t* heap) {
  heap_enter(heap);
  heap_collect(heap);
  check_heap(heap);
  heap_leave(heap);
}

INTERNAL void thread_relieve(void) {
  heap_t* heap = heap_default;
  large_let_held_go();
  heaps_recover();
  if (!heap_is_real(heap)) return;
  run_deferred(heap, true);
  heap = heap_backing(heap);
  heap_let_held_go(heap);
  collect_one(heap);
  for (heap_t* h = heap->own; h != NULL; h = h->own_next) collect_one(h);
}

INTERNAL COLD void* thread_out_of_memory(size_t size) {
  log_error(ENOMEM, "unable to allocate %zu bytes\n", size);
  errno = ENOMEM;
  return NULL;
}

INTERNAL void thread_count_large(heap_t* heap) {
  if (heap_is_real(heap))
    bump_counter(&heap->large_count, 1);
  else
    add_relaxed(&process.large, 1);
}

INTERNAL void thread_collect(heap_t* heap, bool force) {
  track_enter();
  heaps_recover();
  heap_t* backing = thread_backing(); /* the callback needs a heartbeat */
  if (backing != NULL) {
    run_deferred(backing, force);
    if (force) heap_let_held_go(backing);
    collect_one(heap != NULL ? heap : backing);
    for (heap_t* h = heap != NULL ? NULL : backing->own; h != NULL; h = h->own_next) collect_one(h);
  }
  if (force) {
    large_let_held_go();
    os_lock(&late_lock);
    if (process.late != NULL) heap_collect(process.late);
    os_unlock(&late_lock);
  }
  arena_purge_due(force);
  track_leave();
  slices_report();
}

void mi_collect(bool force) mi_attr_noexcept { thread_collect(NULL, force); }

INTERNAL void heaps_for_each(void (*visit)(heap_t* heap, void* arg), void* arg) {
  os_lock(&heap_lock);
  for (heap_t* h = process.live; h != NULL; h = h->next) visit(h, arg);
  os_lock(&late_lock);
  if (process.late != NULL) visit(process.late, arg);
  os_unlock(&late_lock);
  os_unlock(&heap_lock);
}

/* ---- the end of the image that we are part of ---- */

#define UNLOAD_NAPS 1000 /* milliseconds that a thread which ends just now is waited for */

/* No thread has business here any more but the one that unloads. */
static void abandon_all(void) {
  large_let_held_go();
  for (heap_t* h = process.live; h != NULL; h = h->next)
    if (load_relaxed(&h->busy) == 0) heap_let_held_go(h);
  for (heap_t* h = process.live; h != NULL; h = h->next)
    if (load_relaxed(&h->busy) == 0) heap_abandon(h, NULL);
  if (process.late != NULL) heap_abandon(process.late, NULL);
}

INTERNAL void process_unload(void) {
  os_thread_hook_remove();
  if (!load_acquire(&process.ready)) return;
  for (int i = 0; i < UNLOAD_NAPS && load_acquire(&process.ending) != 0; i++) os_nap(1000);
  heap_default_set(&heap_ended); /* what is freed on the way is another heap's */
  abandon_all();
  arena_unload();
  large_unload();
  map_unload();
  meta_unload();
  random_unload();
  /* As before the first call, should there be one more. */
  memset(&process, 0, sizeof(process));
  heap_default_set(&heap_empty);
}

static void add_heap(heap_t* heap, void* arg) {
  thread_stats_t* stats = arg;
  stats->large += load_relaxed(&heap->large_count);
  for (size_t class = 0; class < CLASS_COUNT; class ++)
    stats->detached[class] += load_relaxed(&heap->queue[class].detached);
}

INTERNAL void thread_stats(thread_stats_t* stats) {
  heaps_recover();
  os_lock(&heap_lock);
  stats->threads = process.threads;
  stats->threads_total = process.threads_total;
  stats->heaps = process.heaps;
  stats->heaps_lost = process.heaps_lost;
  stats->large = load_relaxed(&process.large);
  memcpy(stats->detached, process.detached, sizeof(stats->detached));
  os_unlock(&heap_lock);
  heaps_for_each(&add_heap, stats);
}

/* ---- fork ---- */

static os_lock_t* const ranked_locks[] = {&heap_lock,  &late_lock, &large_lock,
                                          &arena_lock, &meta_lock, &log_lock};
#define LOCK_COUNT (sizeof(ranked_locks) / sizeof(ranked_locks[0]))

static void fork_prepare(void) {
  for (size_t i = 0; i < LOCK_COUNT; i++) os_lock(ranked_locks[i]);
  os_fork_begin();
}

static void fork_parent(void) {
  random_after_fork(false);
  os_fork_end();
  for (size_t i = LOCK_COUNT; i > 0; i--) os_unlock(ranked_locks[i - 1]);
}

/* A heap of the thread that goes on. */
static void heap_after_fork(heap_t* heap) {
  store_relaxed(&heap->generation, process.generation);
  /* What was put in random order in the parent is put in another one when it is taken next. */
  if (SECURE_ORDER) heap_return_lists(heap);
  guarded_after_fork(heap);
}

static void fork_child(void) {
  os_fork_end();
  for (size_t i = 0; i < LOCK_COUNT; i++) os_lock_reset(ranked_locks[i]);
  log_reset_after_fork();
  random_after_fork(true);
  arena_reset_after_fork();
  heap_t* mine = heap_backing(heap_default); /* NULL: the thread has none */
  process.threads = mine != NULL;
  process.heaps = 0;
  process.generation++;
  store_relaxed(&process.orphans, process.live);
  if (mine == NULL) return;
  heap_after_fork(mine);
  heap_quarantine_after_fork(mine);
  for (heap_t* h = mine->own; h != NULL; h = h->own_next) {
    heap_after_fork(h);
    process.heaps++;
  }
}
