/* purge_pace.c - see purge_pace.h.
 *
 * Owns:    the peak of the slices in use, and what the refaults taught.
 * Always:  the delay grows to 32 times that of the options at most; the bound, by the peak.
 * Threads: any. All words are relaxed hints: a lost update makes a purge earlier or later.
 *
 * A refault is a slice that was allocated a short time after its purge: the purge and the page
 * faults were in vain. Two answers: many refaults raise the bound, by twice their number, and
 * double the delay if they are a quarter of what was purged. Without refaults both go back, slowly:
 * a program that comes back each 20 delays purges in vain once in many rounds only.
 */
#include "purge_pace.h"
#include "arena.h"
#include "arena_list.h"

#define WAITING_SHARE 8                               /* or so large a part of the peak: 1/8 */
#define STRETCH_MAX 5                                 /* the delay is doubled so often at most */
#define STRETCH_FROM ((size_t)(8 * MiB / SLICE_SIZE)) /* refaults that are worth a longer delay */
#define STRETCH_DELAYS 512                            /* and so long it stays without refaults */
#define EXTRA_DELAYS 256 /* the raised bound loses a part of so many in each delay */

static struct {
  _Atomic(size_t) peak;              /* slices in use; seen when slices are freed */
  _Atomic(size_t) extra;             /* slices that may wait besides */
  _Atomic(size_t) learnt;            /* refaults that were taken into account */
  _Atomic(size_t) purged, refaulted; /* slices, since the delay changed or might have */
  _Atomic(unsigned) stretch;
  _Atomic(uint64_t) extra_ms, stretch_ms; /* when they were last lowered or raised */
} pace;

INTERNAL long pace_delay(long delay) {
  unsigned stretch = load_relaxed(&pace.stretch);
  return delay <= 0 || delay > LONG_MAX >> STRETCH_MAX ? delay : delay << stretch;
}

INTERNAL void pace_count_purged(size_t slices) { add_relaxed(&pace.purged, slices); }

static void learn_extra(uint64_t now, uint64_t delay, size_t fresh) {
  size_t extra = load_relaxed(&pace.extra);
  uint64_t delays = (now - load_relaxed(&pace.extra_ms)) / delay;
  if (fresh == 0 && (extra == 0 || delays == 0)) return;
  if (delays > 0) {
    extra -=
        delays >= EXTRA_DELAYS ? extra : (extra * (size_t)delays + EXTRA_DELAYS - 1) / EXTRA_DELAYS;
    store_relaxed(&pace.extra_ms, now);
  }
  store_relaxed(&pace.extra, min_size(extra + 2 * fresh, load_relaxed(&pace.peak)));
}

static void learn_stretch(uint64_t now, uint64_t delay, size_t fresh) {
  unsigned stretch = load_relaxed(&pace.stretch);
  size_t refaulted = load_relaxed(&pace.refaulted) + fresh, purged = load_relaxed(&pace.purged);
  bool longer = refaulted >= STRETCH_FROM && refaulted >= purged / 4;
  bool shorter = now - load_relaxed(&pace.stretch_ms) > delay * STRETCH_DELAYS;
  store_relaxed(&pace.refaulted, refaulted);
  if (!longer && !shorter) return;
  if (longer && stretch < STRETCH_MAX) store_relaxed(&pace.stretch, stretch + 1);
  if (!longer && stretch > 0) store_relaxed(&pace.stretch, stretch - 1);
  store_relaxed(&pace.refaulted, 0);
  store_relaxed(&pace.purged, 0);
  store_relaxed(&pace.stretch_ms, now);
}

INTERNAL void pace_learn(uint64_t now, long delay) {
  if (delay <= 0) return;
  size_t total = load_relaxed(&refaults), fresh = total - load_relaxed(&pace.learnt);
  store_relaxed(&pace.learnt, total);
  learn_extra(now, (uint64_t)delay, fresh);
  learn_stretch(now, (uint64_t)delay, fresh);
}

INTERNAL size_t pace_excess(void) {
  size_t in_use = 0, waiting = 0;
  FOR_ARENAS(a) {
    in_use += arena_slices_used(a);
    waiting += load_relaxed(&a->waiting);
  }
  size_t peak = load_relaxed(&pace.peak);
  if (in_use > peak) store_relaxed(&pace.peak, peak = in_use);
  size_t bound = max_size(WAITING_MIN, peak / WAITING_SHARE) + load_relaxed(&pace.extra);
  return waiting > bound ? waiting - bound : 0;
}

INTERNAL void pace_clear(void) { memset(&pace, 0, sizeof(pace)); }
