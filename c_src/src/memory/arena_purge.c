/* arena_purge.c - see arena_purge.h.
 *
 * Owns:    the `purge` and `second_chance` bits of each arena, and the time of the next purge.
 * Always:  if the purge of a slice is pending, a time is set or a purge is running. Exception:
 *          slices of a huge-page region may wait until more of the region is freed.
 * Threads: any.
 *
 * Argument: a thread that frees slices sets their `purge` bits while it still holds them, then sets
 * the free bits, then checks whether a time is set. A thread that purges clears the time first,
 * then reads the bits. All four accesses are sequentially consistent, so one of the two threads
 * sees the other, and no slice is pending without a time.
 *
 * The purger claims free runs like an allocation. So no other thread can use a slice that is being
 * purged, and the purger cannot claim a slice that was allocated in the meantime.
 */
#include "arena_purge.h"
#include "arena.h"
#include "arena_list.h"
#include "../runtime/options.h"
#include "slice_reuse.h"
#include "thp.h"
#include <errno.h>

static struct { _Atomic(size_t) purges, purged; /* relaxed: statistics */ } purge_state;

INTERNAL void purge_count(size_t bytes) {
  add_relaxed(&purge_state.purges, 1);
  add_relaxed(&purge_state.purged, bytes);
}

static long purge_delay_ms(void) {
  long delay = option_value(mi_option_purge_delay);
  if (delay <= 0) return delay;
  long mult = option_value(mi_option_arena_purge_mult);
  long product;
  if (mult < 1) mult = 1;
  return multiply_fits(delay, mult, &product) ? product : LONG_MAX;
}

/* Purges the wide block-state tables only. A dense one has 1 KiB for each slice. */
static void purge_states(arena_t* a, size_t i, size_t n) {
  bool zero;
  char* wide = (char*)a->states + a->slices * STATES_DENSE;
  if (STATES_WIDE % os_info.page_size != 0 || (uintptr_t)wide % os_info.page_size != 0) return;
  (void)os_purge(wide + i * STATES_WIDE, n * STATES_WIDE, true, &zero);
}

static void arena_purge_run(arena_t* a, size_t i, size_t n) {
  if (MI_SECURE > 0 && !bitmap_any(a->dirty, i, n)) return; /* closed slices have no memory */
#if MI_SECURE >= 4
  slices_before_purge(a, i, n);
#endif
  char* start = slice_address(a->first_slice + (uint32_t)i);
  bool zero = false, done;
  bool decommits = option_value(mi_option_purge_decommits) != 0;
  if (decommits && a->commit_on_demand && !a->from_user) {
    done = zero = os_decommit(start, n * SLICE_SIZE);
    if (done) (void)bitmap_clear(a->committed, i, n);
    if (MI_SECURE > 0 && done) (void)bitmap_clear(a->guarded_end, i, n); /* the guard is gone */
  } else {
    done = os_purge(start, n * SLICE_SIZE, decommits, &zero);
  }
  if (MI_SECURE > 0) purge_states(a, i, n);
  if (!done) return;
  /* The program's memory may be a file or shared, so its contents after a purge are unknown. */
  if (zero && !a->from_user) (void)bitmap_clear(a->dirty, i, n);
#if MI_SECURE >= 4
  slices_after_purge(a, i, n);
#endif
  purge_count(n * SLICE_SIZE);
}

INTERNAL void arena_free(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice;
  long delay = purge_delay_ms();
  if (delay < 0 || a->non_purgeable) {
    arena_return(a, i, count);
  } else if (delay == 0) {
    arena_purge_run(a, i, count);
    arena_return(a, i, count);
  } else {
    (void)bitmap_clear(a->second_chance, i, count);
    bitmap_set(a->purge, i, count);
    arena_return(a, i, count);
    uint64_t now = os_clock_ms();
    store_relaxed(&a->freed_ms, now);
    uint64_t at = load_seq_cst(&purge_at);
    if (at == 0) {
      (void)cas_seq_cst(&purge_at, &at, now + (uint64_t)delay);
    } else if (now >= at) {
      arena_purge_due(false);
    }
  }
}

/* Claims and purges the slices `bits` of one word, run by run. */
static void arena_purge_word(arena_t* a, size_t word, uint64_t bits) {
  while (bits != 0) {
    size_t b = lowest_bit(bits);
    uint64_t rest = ~(bits >> b);
    size_t n = rest == 0 ? 64 - b : min_size(64 - b, lowest_bit(rest));
    size_t i = word * 64 + b;
    uint64_t run = (n == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << n) - 1)) << b;
    bits &= ~run;
    flight_begin(n); /* until after the return */
    if (bitmap_claim_at(a->free, i, n)) {
      sub_relaxed(&a->free_count, n);
      (void)bitmap_clear(a->purge, i, n);
      arena_purge_run(a, i, n);
      arena_return(a, i, n);
    } else if (n > 1) { /* a part was allocated in the meantime: claim the rest one by one */
      for (size_t k = i; k < i + n; k++) {
        if (!bitmap_claim_at(a->free, k, 1)) continue;
        sub_relaxed(&a->free_count, 1);
        (void)bitmap_clear(a->purge, k, 1);
        arena_purge_run(a, k, 1);
        arena_return(a, k, 1);
      }
    }
    flight_end(n);
  }
}

/* A huge-page region with fewer free slices is not purged: to purge a part of a huge page splits
 * the rest into small pages. */
#define PURGE_FROM (THP_SLICES / 4)

/* Adjusts the due slices of one word to the huge-page regions. A region with the advice either
 * waits, or all of its free slices are purged, because all of it may be resident. Then the advice
 * is withdrawn too. Otherwise the kernel might make it one huge page again; with allow_thp = 2 it
 * may. */
static uint64_t purge_by_regions(arena_t* a, size_t word, uint64_t due, bool force) {
  for (size_t half = 0; half < BITS_PER_WORD / THP_SLICES; half++) {
    size_t s = word * (BITS_PER_WORD / THP_SLICES) + half;
    uint64_t mask = ((UINT64_C(1) << THP_SLICES) - 1) << (half * THP_SLICES);
    if ((due & mask) == 0 || s >= a->thp_regions || !bitmap_any(a->huge, s, 1)) continue;
    uint64_t free = load_relaxed(&a->free[word]) & mask; /* a hint, the claim decides */
    if (!force && count_bits(free) < PURGE_FROM) {
      due &= ~mask;
    } else {
      thp_withdraw(a, s, s + 1);
      due |= free;
    }
  }
  return due;
}

/* Purges the slices that have waited long enough; true if a purge is still pending. */
static bool arena_purge(arena_t* a, bool all, bool force) {
  bool waits = false;
  for (size_t w = 0; w < bitmap_words(a->slices); w++) {
    uint64_t bits = load_seq_cst(&a->purge[w]);
    if (bits == 0) continue;
    uint64_t second_chance = all ? bits : bits & load_relaxed(&a->second_chance[w]);
    uint64_t due = purge_by_regions(a, w, second_chance, force);
    if (due != 0) {
      arena_purge_word(a, w, due);
      /* A claim may have failed only because of another claim that failed and undid itself. */
      waits |= (load_relaxed(&a->purge[w]) & due) != 0;
    }
    if (second_chance != bits) {
      /* Relaxed, a hint: at worst the purge comes one round too early or too late. */
      or_relaxed(&a->second_chance[w], bits & ~second_chance);
      waits = true;
    } /* slices that wait for their region are checked when more of it is freed */
  }
  return waits;
}

INTERNAL void arena_purge_due(bool force) {
  uint64_t at = load_relaxed(&purge_at); /* a hint, the exchange below decides */
  if (!force && at == 0) return;
  uint64_t now = os_clock_ms();
  if (!force && now < at) return;
  long delay = purge_delay_ms();
  if (swap_seq_cst(&purge_at, 0) == 0 && !force) return;
  bool waits = false;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) {
    /* Slices that were pending in the last round are due. If nothing was freed for a whole delay,
     * all are. */
    uint64_t freed = load_relaxed(&a->freed_ms);
    bool all = force || delay <= 0 || (freed <= now && now - freed >= (uint64_t)delay);
    waits |= arena_purge(a, all, force);
  }
  if (waits) {
    uint64_t none = 0;
    (void)cas_seq_cst(&purge_at, &none, now + (uint64_t)delay);
  }
}

INTERNAL void arena_reset_after_fork(void) {
  /* Slices that another thread was purging stay claimed in the child: a bounded leak. */
  flight_reset();
  store_relaxed(&purge_at, os_clock_ms());
}

INTERNAL void arena_purge_stats(purge_stats_t* stats) {
  stats->purges = load_relaxed(&purge_state.purges);
  stats->purged = load_relaxed(&purge_state.purged);
}

INTERNAL void arena_purge_clear(void) {
  store_relaxed(&purge_at, 0);
  memset(&purge_state, 0, sizeof(purge_state));
}
