/* arena_purge.c - see arena_purge.h.
 *
 * Owns:    the `purge` and `second_chance` bits of each arena, and the time of the next purge.
 * Always:  if the purge of a slice is pending, a time is set or a purge is running. Exception:
 *          slices of a huge-page region may wait until more of the region is freed. A call that
 *          is not forced purges at most PURGE_STEP slices, and the next call goes on.
 * Threads: any.
 *
 * Argument: a thread that frees slices sets their `purge` bits while it still holds them, then sets
 * the free bits, then checks whether a time is set. A thread that purges clears the time first,
 * then reads the bits. All four accesses are sequentially consistent, so one of the two threads
 * sees the other, and no slice is pending without a time. This holds for a round of several calls
 * too: a call that stops early sets the time anew, and so does one that began in the middle.
 *
 * Kept runs (heap/kept_runs.h). A thread that keeps a run writes its remote word, then reads its
 * `kept` bit, and sets it if it is clear, with a time as above. A thread that purges takes the
 * time, clears the bits, then reads the remote words. So it finds the run, or the other thread
 * finds the bit clear. Bits stay when a heap takes its run again: they are hints. The exchange of
 * the remote word decides who takes a run.
 *
 * The purger claims free runs like an allocation. So no other thread can use a slice that is being
 * purged, and the purger cannot claim a slice that was allocated in the meantime.
 */
#include "arena_purge.h"
#include "arena.h"
#include "arena_list.h"
#include "arena_open.h"
#include "../runtime/options.h"
#include "page_map.h"
#include "page_search.h"
#include "purge_pace.h"
#include "slice_count.h"
#include "slice_reuse.h"
#include "thp.h"
#include <errno.h>

static struct {
  _Atomic(size_t) purges, purged; /* relaxed: statistics */
  _Atomic(uint64_t) cursor;       /* where the round goes on: arena << 32 | word; 0: it begins */
  _Atomic(uint64_t) excess;       /* the same for purge_excess */
  _Atomic(uint64_t) stepped_ms;   /* when a round last spent its budget */
  _Atomic(uint64_t) forgot_ms;    /* when the marks of purged slices were last cleared */
} purge_state;

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
  /* With a limit, memory must be given back now, not when the system needs it. */
  bool decommits = option_value(mi_option_purge_decommits) != 0 || load_relaxed(&a->counts);
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
  if (zero && !a->from_user) slices_are_clean(a, i, n);
#if MI_SECURE >= 4
  slices_after_purge(a, i, n);
#endif
  purge_count(n * SLICE_SIZE);
}

/* ---- for the child of a fork ---- */

/* The run that a thread is purging or about to claim: arena << 40 | slices << 32 | first slice; 0:
 * none. The child of a fork returns it, because that thread does not exist there. If several
 * threads purge at once, the others' runs are lost to the child. */
static _Atomic(uint64_t) purged_run;

static bool run_publish(const arena_t* a, size_t i, size_t n) {
  uint64_t none = 0, run = (uint64_t)a->index << 40 | (uint64_t)n << 32 | i;
  return cas_seq_cst(&purged_run, &none, run);
}

/* The slice is allocated and has no owner word. The first slice after the large block or kept run
 * that it is inside of; `i` if it is inside of none. */
static size_t block_end(arena_t* a, size_t i) {
  size_t first = page_first_slice(a, i, true);
  if (first == SIZE_MAX) return i;
  uint32_t slice = a->first_slice + (uint32_t)first;
  page_t* page = map_descriptor_of_slice(slice);
  bool is_block = owner_is_large(load_relaxed(&page->owner)) ||
                  (load_relaxed(map_remote(slice)) & REMOTE_KEPT) != 0;
  return is_block ? max_size(i, first + page_slices(page)) : i;
}

/* The run may be a part of what others have allocated: before its thread claimed it, or after it
 * was returned. Slices of it that are neither free nor in use were claimed by a thread that is
 * gone. Secure builds keep such slices elsewhere too, so there the run is lost. */
static void run_return(void) {
  uint64_t run = load_relaxed(&purged_run);
  store_relaxed(&purged_run, 0);
  arena_t* a = arena_at(run >> 40);
  if (MI_SECURE > 0 || run == 0 || a == NULL) return;
  for (size_t i = (uint32_t)run, end = i + (run >> 32 & 0xff); i < end; i++) {
    page_t* page = map_descriptor_of_slice(a->first_slice + (uint32_t)i);
    if (arena_closed_end(a, i) != i || bitmap_any(a->free, i, 1) || load_relaxed(&page->owner) != 0)
      continue;
    size_t after = block_end(a, i);
    if (after > i) {
      i = after - 1;
      continue;
    }
    /* It may be inaccessible by now. */
    if (a->commit_on_demand) (void)bitmap_clear(a->committed, i, 1);
    bitmap_set(a->purge, i, 1);
    bitmap_set(a->free, i, 1);
  }
}

/* ---- a round ---- */

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
    bool published = run_publish(a, i, n);
    if (bitmap_claim_at(a->free, i, n)) {
      sub_relaxed(&a->free_count, n);
      (void)arena_wait_no_more(a, i, n);
      arena_purge_run(a, i, n);
      arena_return(a, i, n);
    } else if (n > 1) { /* a part was allocated in the meantime: claim the rest one by one */
      for (size_t k = i; k < i + n; k++) {
        if (!bitmap_claim_at(a->free, k, 1)) continue;
        sub_relaxed(&a->free_count, 1);
        (void)arena_wait_no_more(a, k, 1);
        arena_purge_run(a, k, 1);
        arena_return(a, k, 1);
      }
    }
    if (published) store_release(&purged_run, 0);
    flight_end(n);
  }
}

/* A huge-page region with fewer free slices is not purged: to purge a part of a huge page splits
 * the rest into small pages, and costs about 0.1 ms. */
#define PURGE_FROM (THP_SLICES / 4)

/* Adjusts the due slices of one word to the huge-page regions. A region with the advice either
 * waits, or all of its free slices are purged, because all of it may be resident. Then the advice
 * is withdrawn too. Otherwise the kernel might make it one huge page again; with allow_thp = 2 it
 * may. If a slice is in use the huge page is split first: the kernel would drop the other parts
 * from the process, but keep the whole huge page until memory is short. */
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
      if (free != mask) {
        size_t used = word * BITS_PER_WORD + lowest_bit(~free & mask);
        os_split_huge(slice_address(a->first_slice + (uint32_t)used), SLICE_SIZE);
      }
    }
  }
  return due;
}

/* A call purges at most 8 MiB: two words of slices. */
#define PURGE_STEP ((size_t)2 * BITS_PER_WORD)
_Static_assert(PURGE_STEP* SLICE_SIZE == 8 * MiB, "the bound that docs/guarantees.md states");

/* A round looks at all words of all arenas, in several calls if it finds much. */
typedef struct purge_round_s {
  size_t budget; /* slices that this call may still purge */
  size_t least;  /* it stops when it may purge less */
  bool force;
  bool all;   /* of this arena: pending slices get no second chance */
  bool waits; /* a purge is still pending, or may be */
} purge_round_t;

static uint64_t first_bits(uint64_t bits, size_t n) {
  uint64_t rest = bits;
  for (; n > 0; n--) rest &= rest - 1;
  return bits & ~rest;
}

/* Purges the slices that have waited long enough, from the `*word`-th word on. False: the budget is
 * spent, and the round goes on at `*word`. */
static bool arena_purge(arena_t* a, size_t* word, purge_round_t* round) {
  for (size_t w; (w = *word) < bitmap_words(a->slices); ++*word) {
    uint64_t bits = load_seq_cst(&a->purge[w]);
    if (bits == 0) continue;
    if (round->budget < round->least) return false;
    if (count_bits(bits) > round->budget) bits = first_bits(bits, round->budget);
    uint64_t second_chance = round->all ? bits : bits & load_relaxed(&a->second_chance[w]);
    uint64_t due = purge_by_regions(a, w, second_chance, round->force);
    if (due != 0) {
      arena_purge_word(a, w, due);
      if (!round->force) {
        or_relaxed(&a->second_chance[w], due); /* relaxed, a hint: see count_refaults */
        pace_count_purged(count_bits(due));
        round->budget -= min_size(round->budget, count_bits(due));
      }
      /* A claim may have failed only because of another claim that failed and undid itself. */
      round->waits |= (load_relaxed(&a->purge[w]) & due) != 0;
    }
    if (second_chance != bits) {
      /* Relaxed, a hint: at worst the purge comes one round too early or too late. */
      or_relaxed(&a->second_chance[w], bits & ~second_chance);
      round->waits = true;
    } /* slices that wait for their region are checked when more of it is freed */
  }
  return true;
}

/* ---- the time, and the purger ---- */

enum { BELL_OFF, BELL_AWAKE, BELL_ASLEEP };
static _Atomic(uint32_t) purge_bell; /* BELL_OFF: there is no purger, or it must end */

static bool has_purger(void) { return load_relaxed(&purge_bell) != BELL_OFF; }

/* The purger writes BELL_ASLEEP, then reads the times. All are sequentially consistent, so it does
 * not sleep through a time. */
INTERNAL bool purge_schedule(_Atomic(uint64_t)* time, uint64_t* expected, uint64_t at) {
  if (!cas_seq_cst(time, expected, at)) return false;
  uint32_t asleep = BELL_ASLEEP;
  if (load_seq_cst(&purge_bell) == BELL_ASLEEP && cas_seq_cst(&purge_bell, &asleep, BELL_AWAKE))
    os_wake(&purge_bell);
  return true;
}

/* A later call goes on: after the next step of the clock, because one call of the program may free
 * several pages, and each of them may purge. */
static void purge_soon(uint64_t now) {
  uint64_t at = load_relaxed(&purge_at); /* a hint, the exchange checks it */
  while ((at == 0 || at > now + 1) && !purge_schedule(&purge_at, &at, now + 1)) {
  }
}

/* Begins a round, or goes on with one. The caller has taken the time. */
static void purge_round(bool force, uint64_t now, long delay) {
  /* Relaxed, a hint: a call that does not begin at the first word sets a time when it ends. */
  uint64_t from = force ? 0 : load_relaxed(&purge_state.cursor);
  purge_round_t round = {PURGE_STEP, BITS_PER_WORD, force, true, from != 0};
  size_t word = (uint32_t)from;
  arena_t* a;
  for (size_t i = from >> 32; (a = arena_at(i)) != NULL; i++, word = 0) {
    /* Slices that were pending in the last round are due. If nothing was freed for a whole delay,
     * all are. */
    uint64_t freed = load_relaxed(&a->freed_ms);
    round.all = force || delay <= 0 || (freed <= now && now - freed >= (uint64_t)delay);
    if (!arena_purge(a, &word, &round)) {
      store_relaxed(&purge_state.cursor, (uint64_t)i << 32 | word);
      store_relaxed(&purge_state.stepped_ms, now);
      purge_soon(now);
      return;
    }
    if (a->recedes) arena_recede(a);
  }
  if (!force) store_relaxed(&purge_state.cursor, 0);
  if (round.waits) {
    uint64_t none = 0;
    (void)purge_schedule(&purge_at, &none, now + (uint64_t)delay);
  }
}

/* ---- kept runs go back ---- */

#define PUBLISHED_MAX 255 /* of one run, as run_publish can say; a stale bit may lead to more */

/* Acquire, pairs with the exchange in arena_keep: the descriptor. */
static bool kept_take(uint32_t slice, uint64_t word) {
  return cas_acquire(map_remote(slice), &word, REMOTE_OWNED);
}

#define REMEMBERED_DELAYS 32

/* Clears the marks of purged slices: what is allocated from here on is no refault. */
static void forget_purged(uint64_t now, long delay) {
  uint64_t last = load_relaxed(&purge_state.forgot_ms);
  bool is_time = delay > 0 && (now - last) / (uint64_t)delay >= REMEMBERED_DELAYS;
  if (last != 0 && !is_time) return;
  store_relaxed(&purge_state.forgot_ms, now); /* relaxed: at worst two threads do it */
  if (last == 0) return;                      /* the first round */
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    for (size_t w = 0; w < bitmap_words(a->slices); w++)
      if ((load_relaxed(&a->second_chance[w]) & ~load_relaxed(&a->purge[w])) != 0)
        (void)and_acquire(&a->second_chance[w], load_relaxed(&a->purge[w]));
}

/* A kept run of the caller, or of a heap that is not asked, waits like other slices from now on. */
static void kept_return(arena_t* a, size_t i) {
  size_t n = page_slices(map_descriptor_of_slice(a->first_slice + (uint32_t)i));
  (void)bitmap_clear(a->second_chance, i, n);
  bitmap_set(a->purge, i, n); /* `waiting` counts it already */
  arena_return(a, i, n);
}

/* Returns the run that starts at slice `i`, if it is kept. The child of a fork that meets this
 * finds the run published: either it is still kept, or it was taken by a thread that is gone. */
static bool kept_return_one(arena_t* a, size_t i) {
  uint32_t slice = a->first_slice + (uint32_t)i;
  size_t most = min_size(page_slices(map_descriptor_of_slice(slice)), PUBLISHED_MAX);
  bool published = run_publish(a, i, most), done = false;
  (void)and_seq_cst(&a->kept[i / BITS_PER_WORD], ~(UINT64_C(1) << i % BITS_PER_WORD));
  uint64_t word = load_seq_cst(map_remote(slice));
  if ((word & REMOTE_KEPT) != 0 && kept_take(slice, word)) {
    kept_return(a, i);
    store_relaxed(&a->freed_ms, os_clock_ms());
    done = true;
  }
  if (published) store_release(&purged_run, 0);
  return done;
}

INTERNAL bool arena_return_kept(void) {
  bool any = false;
  arena_t* a;
  for (size_t k = 0; (a = arena_at(k)) != NULL; k++)
    for (size_t w = 0; w < bitmap_words(a->slices); w++) {
      uint64_t bits = load_seq_cst(&a->kept[w]);
      if (bits == 0) continue;
      flight_begin(1); /* the runs whose bits are cleared */
      for (; bits != 0; bits &= bits - 1)
        any |= kept_return_one(a, w * BITS_PER_WORD + lowest_bit(bits));
      flight_end(1);
    }
  return any;
}

/* In the child of a fork: the published run may still be kept, without its bit. */
static void kept_mark_published(void) {
  uint64_t run = load_relaxed(&purged_run);
  arena_t* a = arena_at(run >> 40);
  size_t i = (uint32_t)run;
  if (run != 0 && a != NULL &&
      (load_relaxed(map_remote(a->first_slice + (uint32_t)i)) & REMOTE_KEPT) != 0)
    bitmap_set(a->kept, i, 1);
}

static void purge_now(bool force, uint64_t now) {
  long delay = purge_delay_ms();
  if (swap_seq_cst(&purge_at, 0) == 0 && !force) return;
  pace_learn(now, delay);
  forget_purged(now, delay);
  (void)arena_return_kept();
  purge_round(force, now, pace_delay(delay));
}

INTERNAL void arena_purge_due(bool force) {
  uint64_t at = load_relaxed(&purge_at); /* a hint, the exchange decides */
  if (!force && at == 0) return;
  uint64_t now = os_clock_ms();
  /* The purger may not run: then the others do its work, one delay later. */
  if (!force && now < at + (has_purger() ? (uint64_t)purge_delay_ms() : 0)) return;
  purge_now(force, now);
}

INTERNAL void arena_purge_listen(bool starts) {
  uint32_t before = swap_seq_cst(&purge_bell, starts ? BELL_AWAKE : BELL_OFF);
  if (before == BELL_ASLEEP) os_wake(&purge_bell);
}

/* A free may set a time, and a caller may end the purger, at any point here. */
static void purger_sleep(uint64_t now) {
  uint32_t bell = BELL_AWAKE;
  if (!cas_seq_cst(&purge_bell, &bell, BELL_ASLEEP)) return;
  uint64_t at = load_seq_cst(&purge_at), sparse = load_seq_cst(&sparse_at);
  if (at == 0 || (sparse != 0 && sparse < at)) at = sparse;
  uint64_t ms = at == 0 ? OS_NO_LIMIT : at <= now ? 0 : at - now;
  if (ms > 0) os_wait(&purge_bell, BELL_ASLEEP, (unsigned)(ms < OS_NO_LIMIT ? ms : OS_NO_LIMIT));
  bell = BELL_ASLEEP;
  (void)cas_seq_cst(&purge_bell, &bell, BELL_AWAKE);
}

INTERNAL bool arena_purge_serve(void) {
  /* Relaxed: purger_sleep reads both again. */
  uint64_t now = os_clock_ms(), at = load_relaxed(&purge_at), sparse = load_relaxed(&sparse_at);
  bool sparse_is_due = sparse != 0 && sparse <= now;
  if (at != 0 && at <= now)
    purge_now(false, now);
  else if (!sparse_is_due)
    purger_sleep(now);
  return has_purger();
}

INTERNAL bool arena_purge_is_large(size_t slices) {
  size_t total = arena_slices_in_use();
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) total += load_relaxed(&a->waiting);
  return total >= slices;
}

/* ---- freeing ---- */

/* Looks for an excess once in so many freed slices: 1 MiB, and 4 MiB where heaps keep runs, which
 * they often take again. */
#define EXCESS_SLICES ((size_t)16)
#define KEPT_EXCESS (4 * EXCESS_SLICES)

/* So many slices wait in the arena, and the last `count` do so since now. */
static bool may_be_excess(size_t waiting, size_t count, size_t step) {
  return waiting >= WAITING_MIN && waiting / step != (waiting - count) / step && !has_purger();
}

/* Purges about as much as was freed if more waits than may. A round that has just spent its budget
 * has done the work of this call of the program. */
static void purge_excess(size_t freed, uint64_t now, long delay) {
  if (load_relaxed(&purge_state.stepped_ms) == now) return;
  pace_learn(now, delay);
  size_t excess = pace_excess();
  if (excess == 0) return;
  size_t budget = min_size(PURGE_STEP, min_size(excess, freed));
  purge_round_t round = {.budget = budget, .least = 1, .all = true};
  uint64_t from = load_relaxed(&purge_state.excess); /* a hint, as in purge_round */
  size_t i = from >> 32, word = (uint32_t)from;
  arena_t* a;
  for (int pass = 0; pass < 2; pass++, i = 0, word = 0)
    for (; (a = arena_at(i)) != NULL; i++, word = 0)
      if (!arena_purge(a, &word, &round)) {
        store_relaxed(&purge_state.excess, (uint64_t)i << 32 | word);
        return;
      }
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
    if (a->recedes) arena_recede(a);
  } else {
    (void)bitmap_clear(a->second_chance, i, count);
    size_t waiting = arena_wait(a, i, count);
    arena_return(a, i, count);
    uint64_t now = os_clock_ms();
    store_relaxed(&a->freed_ms, now);
    uint64_t at = load_seq_cst(&purge_at);
    if (at == 0) {
      (void)purge_schedule(&purge_at, &at, now + (uint64_t)pace_delay(delay));
    } else if (now >= at) {
      arena_purge_due(false);
    }
    if (may_be_excess(waiting, count, EXCESS_SLICES))
      purge_excess(max_size(count, EXCESS_SLICES), now, delay);
  }
}

/* ---- kept runs ---- */

static void schedule_if_none(void) {
  uint64_t at = load_seq_cst(&purge_at);
  if (at == 0)
    (void)purge_schedule(&purge_at, &at, os_clock_ms() + (uint64_t)pace_delay(purge_delay_ms()));
}

INTERNAL void arena_keep(uint16_t arena, uint32_t slice, size_t n, uintptr_t owner) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, waiting = add_relaxed(&a->waiting, n) + n;
  (void)swap_seq_cst(map_remote(slice), owner | REMOTE_KEPT | REMOTE_OWNED);
  if ((load_seq_cst(&a->kept[i / BITS_PER_WORD]) >> i % BITS_PER_WORD & 1) == 0) {
    bitmap_set(a->kept, i, 1);
    schedule_if_none();
  }
  if (may_be_excess(waiting, n, KEPT_EXCESS))
    purge_excess(KEPT_EXCESS, os_clock_ms(), purge_delay_ms());
}

INTERNAL size_t arena_take_kept(uint32_t slice, uintptr_t owner) {
  if (!kept_take(slice, owner | REMOTE_KEPT | REMOTE_OWNED)) return 0;
  page_t* page = map_descriptor_of_slice(slice);
  size_t n = page_slices(page);
  sub_relaxed(&arena_at(page->arena)->waiting, n);
  return n;
}

INTERNAL void arena_unkeep(uint32_t slice, uintptr_t owner) {
  flight_begin(1); /* the run was free before */
  if (kept_take(slice, owner | REMOTE_KEPT | REMOTE_OWNED)) {
    arena_t* a = arena_at(map_descriptor_of_slice(slice)->arena);
    kept_return(a, slice - a->first_slice);
    schedule_if_none();
  }
  flight_end(1);
}

INTERNAL void arena_reset_after_fork(void) {
  kept_mark_published();
  (void)arena_return_kept();
  run_return();
  flight_reset();
  arena_t* a; /* threads that are gone may have changed bits and not counted them */
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) {
    store_relaxed(&a->waiting, bitmap_count(a->purge, a->slices));
    store_relaxed(&a->free_count, bitmap_count(a->free, a->slices));
  }
  store_relaxed(&purge_at, os_clock_ms());
}

INTERNAL void arena_purge_stats(purge_stats_t* stats) {
  stats->purges = load_relaxed(&purge_state.purges);
  stats->purged = load_relaxed(&purge_state.purged);
}

INTERNAL void arena_purge_clear(void) {
  store_relaxed(&purge_at, 0);
  store_relaxed(&sparse_at, 0);
  memset(&purge_state, 0, sizeof(purge_state));
  pace_clear();
}
