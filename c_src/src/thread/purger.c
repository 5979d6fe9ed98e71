/* purger.c - see purger.h.
 *
 * Owns:    the state of the purger.
 * Always:  there is a purger only if the process has two threads with heaps, or is about to end it.
 * Threads: any. The thread that has made the state BUSY starts or ends the purger; no thread waits
 *          for it, because the others leave the matter to it.
 *
 * The purger has no heap, takes no lock and allocates nothing. It holds at most the 64 slices that
 * it purges at the moment. If it does not run (frozen, starved, stopped by a debugger), the ticks
 * and frees of other threads purge instead, one delay later, and an allocation that needs these
 * slices takes others after about a second.
 *
 * Threads without a heap (they never allocate) do not count.
 *
 * A thread that starts counts itself before it looks at the state; a thread that ends counts itself
 * out, then looks. If a thread that starts the purger overlaps with the end of the others, it looks
 * at the count again.
 *
 * The child of a vfork and of a bare clone share or copy the state, but have no purger: their
 * process id differs from the one that purger_allow noted. They neither start nor end one.
 */
#include "purger.h"
#include "heap_registry.h"
#include "../memory/arena_purge.h"
#include "../page/holes.h"
#include "../runtime/options.h"

typedef enum purger_state_e {
  PURGER_NONE,
  PURGER_BUSY, /* one thread starts or ends it */
  PURGER_RUNS,
  PURGER_STUCK, /* told to end, and has not yet */
  PURGER_FORBIDDEN
} purger_state_t;

static struct {
  _Atomic(int) state; /* a purger_state_t; who changes it to BUSY acquires, and releases after */
  _Atomic(uintptr_t) process;
  _Atomic(uint64_t) refused_ms; /* relaxed: a hint */
} purger;

#define REFUSED_MS 1000 /* between attempts that the system refuses */

/* Programs below get nothing: so much may stay in any case. */
#define PURGER_FROM ((size_t)(16 * MiB / SLICE_SIZE))

INTERNAL void purger_allow(void) {
  store_relaxed(&purger.process, os_process_id());
  store_relaxed(&purger.state, PURGER_NONE);
  arena_purge_listen(false);
}

static bool is_this_process(void) { return load_relaxed(&purger.process) == os_process_id(); }

static bool purger_take(int from) {
  return load_relaxed(&purger.state) == from && cas_acquire(&purger.state, &from, PURGER_BUSY);
}

#define HOLES_STEP ((size_t)2 * MiB) /* of each turn, so that the purger can end soon */

static void purger_run(void) {
  for (size_t bytes; arena_purge_serve(); (void)holes_purge_due(&bytes)) bytes = HOLES_STEP;
}

/* The caller has made the state BUSY. Returns the next state. */
static int purger_end(unsigned ms) {
  arena_purge_listen(false);
  return os_helper_join(ms) ? PURGER_NONE : PURGER_STUCK;
}

static int purger_start(void) {
  arena_purge_listen(true);
  if (os_helper_start(&purger_run)) return PURGER_RUNS;
  arena_purge_listen(false);
  store_relaxed(&purger.refused_ms, os_clock_ms());
  return PURGER_NONE;
}

static bool purger_is_wanted(void) {
  return registry_threads() > 1 && option_value(mi_option_purger) != 0 &&
         option_value(mi_option_purge_delay) > 0;
}

INTERNAL void purger_thread_ended(void) {
  if (registry_threads() > 1 || load_relaxed(&purger.state) != PURGER_RUNS) return;
  if (is_this_process() && purger_take(PURGER_RUNS))
    store_release(&purger.state, purger_end(PURGER_WAIT_MS));
}

INTERNAL void purger_tend(void) {
  int state = load_relaxed(&purger.state);
  if (state != PURGER_NONE && state != PURGER_STUCK) return;
  if (!purger_is_wanted() || !arena_purge_is_large(PURGER_FROM)) return;
  uint64_t refused = load_relaxed(&purger.refused_ms);
  if (refused != 0 && os_clock_ms() - refused < REFUSED_MS) return;
  if (!is_this_process() || !purger_take(state)) return;
  if (state == PURGER_STUCK && !os_helper_join(0)) {
    store_release(&purger.state, PURGER_STUCK);
    return;
  }
  store_release(&purger.state, purger_start());
  purger_thread_ended();
}

INTERNAL void purger_forbid(unsigned ms) {
  int state = load_relaxed(&purger.state);
  if (state == PURGER_FORBIDDEN || !is_this_process()) return;
  if (state == PURGER_BUSY || !purger_take(state)) return;
  bool lives = state == PURGER_RUNS || state == PURGER_STUCK;
  if (lives) (void)purger_end(ms);
  store_release(&purger.state, PURGER_FORBIDDEN);
}
