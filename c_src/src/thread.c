/* thread.c - start and end of threads and of the process; fork.
 *
 * Owns:    the list of live heaps, unused heap records, the late heap, the start-up state.
 * Always:  a heap record is in one list; an unused record owns no page.
 * Threads: heap_lock guards the lists, late_lock the late heap. Rank of locks, outermost first:
 *          heap_lock, late_lock, large_lock, arena_lock, meta_lock, log_lock.
 * Uses:    heap.h, check.h, large.h, options.h, log.h, os.h.
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
 * fast paths write in an order in which every prefix makes sense, but for one: a block may be on
 * its page's local list before `used` is counted down, so the child counts anew. Heaps that were
 * busy are leaked.
 */
#include "thread.h"
#include "callback.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "large.h"
#include "check.h"

INTERNAL_DEF heap_t heap_empty CACHE_ALIGNED;
INTERNAL_DEF heap_t heap_ended CACHE_ALIGNED;
INTERNAL_TLS heap_t* heap_default;
#if defined(MI_ONE_UNIT)
static
#endif
    _Thread_local heap_t* heap_default = &heap_empty;

enum { PROCESS_NEW, PROCESS_STARTING, PROCESS_READY };

static struct {
  _Atomic(int) state;
  _Atomic(uintptr_t) starter; /* thread that is starting the process */
  heap_t* live;               /* guarded by heap_lock, as are the next four */
  heap_t* unused;
  heap_t* lost;
  size_t threads, heaps_lost;
  heap_t* late;                /* guarded by late_lock */
  _Atomic(size_t) allocations; /* of ended threads */
  _Atomic(size_t) large;       /* of ended threads and threads without a heap */
  callback_t deferred;
  uint64_t started_ms;
} process;

static os_lock_t heap_lock = OS_LOCK_INIT;
static os_lock_t late_lock = OS_LOCK_INIT;

static void thread_end(void* heap);
static void fork_prepare(void);
static void fork_parent(void);
static void fork_child(void);

/* ---- the process ---- */

static void process_start(void) {
  os_init();
  process.started_ms = os_clock_ms();
  options_init();
  (void)os_thread_hook(&thread_end);
  /* Release: whoever sees READY sees all of the above. From here on allocation works, so what
   * follows may allocate. */
  store_release(&process.state, PROCESS_READY);
  os_fork_hooks(&fork_prepare, &fork_parent, &fork_child);
  size_t reserve = mi_option_get_size(mi_option_reserve_os_memory);
  if (reserve > 0) {
    size_t size = round_up(min_size(reserve, ALLOC_MAX), SLICE_SIZE);
    os_lock(&arena_lock);
    void* p = os_reserve(size, SLICE_SIZE, OS_LAZY);
    if (p != NULL && !arena_add(p, size, true, false, true, -1, false)) os_release(p, size);
    os_unlock(&arena_lock);
    if (p == NULL) log_warning("cannot reserve %zu bytes as asked for\n", size);
  }
}

void mi_process_init(void) mi_attr_noexcept {
  /* Acquire, pairs with the release in process_start. */
  if (likely(load_acquire(&process.state) == PROCESS_READY)) return;
  int expected = PROCESS_NEW;
  if (cas_acquire(&process.state, &expected, PROCESS_STARTING)) {
    store_relaxed(&process.starter, os_thread_id());
    process_start();
  } else if (load_relaxed(&process.starter) != os_thread_id()) {
    while (load_acquire(&process.state) != PROCESS_READY) os_yield();
  } /* else: called back from inside the start, which must not wait for itself */
}

INTERNAL uint64_t process_started_ms(void) { return process.started_ms; }

/* ---- threads ---- */

static heap_t* heap_record_new(void) {
  heap_t* heap = process.unused;
  if (heap != NULL) {
    process.unused = heap->next;
    mi_assert_internal(heap_owns_nothing(heap));
    heap->heartbeat = 0;
    heap->in_deferred = false;
    heap->next = heap->prev = NULL;
  } else {
    heap = meta_alloc(sizeof(heap_t));
  }
  return heap;
}

static heap_t* thread_start(void) {
  mi_process_init();
  if (heap_is_real(heap_default)) {   /* the start of the process has allocated */
    os_thread_hook_set(heap_default); /* there was no hook yet */
    return heap_default;
  }
  os_lock(&heap_lock);
  heap_t* heap = heap_record_new();
  if (heap != NULL) {
    heap->tick_mask = TICK_EVERY - 1;
    heap->next = process.live;
    if (process.live != NULL) process.live->prev = heap;
    process.live = heap;
    process.threads++;
  }
  os_unlock(&heap_lock);
  if (heap == NULL) return NULL;
  heap_default = heap;
  os_thread_hook_set(heap); /* may allocate; the thread has its heap by now */
  return heap;
}

static void thread_end(void* arg) {
  heap_t* heap = arg;
  if (heap_default == heap) heap_default = &heap_ended;
  heap_enter(heap);
  check_heap(heap);
  heap_abandon(heap);
  heap_leave(heap);
  add_relaxed(&process.allocations, load_relaxed(&heap->allocations));
  add_relaxed(&process.large, load_relaxed(&heap->large_count));
  os_lock(&heap_lock);
  store_relaxed(&heap->allocations, 0);
  store_relaxed(&heap->large_count, 0);
  if (heap->prev != NULL)
    heap->prev->next = heap->next;
  else
    process.live = heap->next;
  if (heap->next != NULL) heap->next->prev = heap->prev;
  heap->next = process.unused;
  heap->prev = NULL;
  process.unused = heap;
  process.threads--;
  os_unlock(&heap_lock);
  arena_purge_due(false);
}

void mi_thread_init(void) mi_attr_noexcept {
  /* A thread that has ended gets no second heap, for nobody would end that. */
  if (heap_default == &heap_empty && thread_start() == NULL) (void)thread_out_of_memory(0);
}

void mi_thread_done(void) mi_attr_noexcept {
  heap_t* heap = heap_default;
  if (!heap_is_real(heap) || heap->in_deferred) return; /* not from inside the generic path */
  os_thread_hook_set(NULL);
  thread_end(heap);
  heap_default = &heap_empty;
}

/* ---- the generic path ---- */

void mi_register_deferred_free(mi_deferred_free_fun* fun, void* arg) mi_attr_noexcept {
  callback_set(&process.deferred, (uintptr_t)fun, arg);
}

static void run_deferred(heap_t* heap, bool force) {
  void* arg;
  mi_deferred_free_fun* fun = (mi_deferred_free_fun*)callback_get(&process.deferred, &arg);
  /* With a callback each entry into the generic path is a tick, as its users expect. */
  heap->tick_mask = fun != NULL ? 0 : TICK_EVERY - 1;
  if (fun == NULL || heap->in_deferred) return;
  heap->in_deferred = true;
  fun(force, ++heap->heartbeat, arg); /* strictly growing, whoever calls */
  heap->in_deferred = false;
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
  }
  heap_leave(heap);
}

static COLD void heap_tick(heap_t* heap) {
  run_deferred(heap, false);
  arena_purge_due(false);
  if ((heap->heartbeat & (TRIM_EVERY - 1)) < TICK_EVERY) heap_trim(heap);
}

/* An allocation of a thread that has ended. */
static void* late_alloc(size_t class) {
  os_lock(&late_lock);
  if (process.late == NULL) process.late = meta_alloc(sizeof(heap_t));
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

static NOINLINE void* heap_generic_slow(heap_t* heap, size_t class) {
  if (unlikely(!heap_is_real(heap))) return heap_generic_start(heap, class);
  /* heap_take_local has counted this entry if it found a page to look at. */
  if (heap->queue[class].current == NULL) heap->heartbeat++;
  if (unlikely((heap->heartbeat & heap->tick_mask) == 0)) {
    heap_tick(heap);
    void* block = heap_pop(heap, class);
    if (block != NULL) return block; /* the callback has allocated or freed */
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

INTERNAL void thread_relieve(void) {
  heap_t* heap = heap_default;
  if (!heap_is_real(heap)) return;
  run_deferred(heap, true);
  heap_enter(heap);
  heap_collect(heap);
  heap_leave(heap);
}

INTERNAL COLD void* thread_out_of_memory(size_t size) {
  log_error(ENOMEM, "unable to allocate %zu bytes\n", size);
  errno = ENOMEM;
  return NULL;
}

INTERNAL void thread_count_large(void) {
  heap_t* heap = heap_default;
  if (heap_is_real(heap))
    bump_counter(&heap->large_count, 1);
  else
    add_relaxed(&process.large, 1);
}

void mi_collect(bool force) mi_attr_noexcept {
  heap_t* heap = heap_default;
  if (heap == &heap_empty) heap = thread_start(); /* for the callback, which needs a heartbeat */
  if (heap != NULL && heap_is_real(heap)) {
    run_deferred(heap, force);
    heap_enter(heap);
    heap_collect(heap);
    check_heap(heap);
    heap_leave(heap);
  }
  if (force) {
    os_lock(&late_lock);
    if (process.late != NULL) heap_collect(process.late);
    os_unlock(&late_lock);
  }
  arena_purge_due(force);
}

INTERNAL void thread_stats(thread_stats_t* stats) {
  os_lock(&heap_lock);
  stats->threads = process.threads;
  stats->heaps_lost = process.heaps_lost;
  stats->allocations = load_relaxed(&process.allocations);
  stats->large = load_relaxed(&process.large);
  for (heap_t* h = process.live; h != NULL; h = h->next) {
    stats->allocations += load_relaxed(&h->allocations);
    stats->large += load_relaxed(&h->large_count);
  }
  os_unlock(&heap_lock);
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
  os_fork_end();
  for (size_t i = LOCK_COUNT; i > 0; i--) os_unlock(ranked_locks[i - 1]);
}

static void fork_child(void) {
  os_fork_end();
  for (size_t i = 0; i < LOCK_COUNT; i++) os_lock_reset(ranked_locks[i]);
  log_reset_after_fork();
  callback_reset_after_fork(&process.deferred);
  arena_reset_after_fork();
  heap_t* mine = heap_default;
  heap_t* kept = NULL;
  for (heap_t *h = process.live, *next; h != NULL; h = next) {
    next = h->next;
    heap_t** list = &kept;
    if (h != mine) {
      if (load_relaxed(&h->busy) == 0) {
        heap_recount(h);
        heap_abandon(h);
        list = &process.unused;
      } else {
        store_relaxed(&h->busy, 0);
        list = &process.lost;
        process.heaps_lost++;
      }
    }
    h->prev = NULL;
    h->next = *list;
    *list = h;
  }
  process.live = kept;
  process.threads = kept != NULL;
}
