/* fork.c - see fork.h.
 *
 * Owns:    the list of the locks, in rank order.
 * Always:  in the child no lock is held, and each structure that a lock guards is consistent.
 * Threads: the one that forks.
 *
 * fork_prepare takes the locks in rank order, so the child finds every structure that a lock guards
 * consistent. The heap of another thread is consistent too, unless that thread was inside a slow
 * path (`busy`). The child has a prefix of each thread's writes: while the kernel copies the page
 * tables, a write to an OS page that it has copied goes to the shared page, or waits until the copy
 * is complete. And the fast paths write in an order of which every prefix is consistent, except for
 * what page_settle repairs.
 *
 * The child handler does no work for other threads' heaps. It starts a new generation, and the
 * heaps of older generations are orphans. Later each tick recovers a bounded number of their pages:
 * these become abandoned, as at the end of a thread. Until then an orphan's pages are owned, so
 * blocks that are freed there stay on the remote lists. The pages of a busy heap are leaked.
 */
#include "fork.h"
#include "heap_registry.h"
#include "../heap/large.h"
#include "../memory/arena_list.h"
#include "../memory/arena_purge.h"
#include "../memory/limit.h"
#include "../memory/meta.h"
#include "../page/holes.h"
#include "../runtime/log.h"
#include "../runtime/random.h"
#include "purger.h"

static os_lock_t* const ranked_locks[] = {&heap_lock,  &fallback_lock, &large_lock,
                                          &arena_lock, &meta_lock,     &log_lock};
#define LOCK_COUNT (sizeof(ranked_locks) / sizeof(ranked_locks[0]))

static uint32_t holes_turn; /* under all locks */

INTERNAL void fork_prepare(void) {
  uint32_t turn = holes_stop();
  for (size_t i = 0; i < LOCK_COUNT; i++) os_lock(ranked_locks[i]);
  holes_turn = turn;
  os_fork_begin();
}

INTERNAL void fork_parent(void) {
  uint32_t turn = holes_turn;
  random_after_fork(false);
  os_fork_end();
  for (size_t i = LOCK_COUNT; i > 0; i--) os_unlock(ranked_locks[i - 1]);
  holes_go_on(turn);
}

INTERNAL void fork_child(void) {
  os_fork_end();
  for (size_t i = 0; i < LOCK_COUNT; i++) os_lock_reset(ranked_locks[i]);
  log_reset_after_fork();
  random_after_fork(true);
  purger_allow(); /* the child has none */
  arena_reset_after_fork();
  large_stats_t large;
  large_stats(&large);
  limit_after_fork(large.reserved);
  holes_reset_after_fork();
  registry_after_fork(heap_backing(heap_default)); /* NULL: the thread has none */
}
