/* arena.c - claims runs of slices in an arena, and returns them.
 *
 * Owns:    the slice bitmaps of each arena, except the purge bits.
 * Always:  a slice is closed, free, in one page, or being purged. The purge of a free slice may be
 *          pending. `dirty` is set for each allocated slice. Only a thread that holds the slice
 *          clears it, when the slice reads as zero.
 * Threads: any; a thread claims a run in the bitmap, see bitmap.h.
 */
#include "arena.h"
#include "arena_list.h"
#include "slice_count.h"
#include "slice_reuse.h"
#include "thp.h"

static _Atomic(size_t) in_flight; /* slices that a purge, or a claim that may fail, holds */
static _Atomic(uint64_t) purge_at;
static _Atomic(uint64_t) sparse_at;
static _Atomic(size_t) refaults;

/* ---- slices in flight ---- */

#define FLIGHT_NAPS 1000
#define FLIGHT_NAP_US 1000 /* about a second in all */

INTERNAL void flight_begin(size_t slices) { add_seq_cst(&in_flight, slices); }
INTERNAL void flight_end(size_t slices) { sub_release(&in_flight, slices); }

INTERNAL bool wait_for_flight(unsigned round) {
  /* An exchange, for it sees the last value: a load may miss the thread that holds the slices which
   * the caller found taken. Acquire, pairs with the release in flight_end: the bits. */
  if (round >= FLIGHT_NAPS || add_seq_cst(&in_flight, 0) == 0) return false;
  os_nap(round < FLIGHT_NAPS / 10 ? FLIGHT_NAP_US / 10 : FLIGHT_NAP_US);
  return true;
}

INTERNAL void flight_reset(void) { store_relaxed(&in_flight, 0); }

/* ---- zones ---- */

/* Claims all slices of [i, i + count) or none. */
static bool claim_at(arena_t* a, size_t i, uint32_t count) {
  /* Within a word the claim fails before it takes a bit. */
  if (i % BITS_PER_WORD + count <= BITS_PER_WORD) return bitmap_claim_at(a->free, i, count);
  flight_begin(count);
  bool claimed = bitmap_claim_at(a->free, i, count);
  flight_end(count);
  return claimed;
}

/* Claims the first home slot of the class that is free. `*closed`: there are closed slots. */
static size_t claim_home(arena_t* a, uint32_t count, size_t home, bool* closed) {
  frontier_t* f = &a->frontier[ZONE_HOME];
  size_t i = f->from + home, open = load_relaxed(&f->open);
  for (; i + count <= open; i += HOME_SLOTS)
    if (claim_at(a, i, count)) return i;
  *closed = i + count <= f->end;
  return BITMAP_NONE;
}

INTERNAL size_t arena_zone_align(const arena_t* a, zone_t zone, size_t align) {
  return zone == ZONE_LARGE && a->thp_regions > 0 ? max_size(align, THP_SLICES) : align;
}

INTERNAL frontier_t* arena_frontier(arena_t* a, zone_t zone) {
  frontier_t* f = &a->frontier[zone];
  return &a->frontier[f->from < f->end ? zone : ZONE_SMALL];
}

/* Claims a run in [from, to) whose bits are set in `wanted` too. */
static size_t claim_between(arena_t* a, bitword_t* wanted, size_t from, size_t to, uint32_t count,
                            size_t align) {
  size_t phase = a->first_slice & (align - 1);
  if (count == 1) return bitmap_claim(a->free, wanted, to, from, count, align, phase);
  flight_begin(count);
  size_t i = bitmap_claim(a->free, wanted, to, from, count, align, phase);
  flight_end(count);
  return i;
}

/* Claims slices with a pending purge in a zone, whose closed part is not searched. */
static size_t claim_pending_in(arena_t* a, zone_t zone, uint32_t count, size_t align) {
  frontier_t* f = &a->frontier[zone];
  return claim_between(a, a->purge, f->from, load_relaxed(&f->open), count, align);
}

/* They are resident: to use them again saves the purge and page faults. */
static size_t claim_pending(arena_t* a, uint32_t count, uint32_t align, zone_t zone) {
  if (a->thp_regions == 0 || load_relaxed(&a->waiting) < count) return BITMAP_NONE; /* a hint */
  if (zone == ZONE_LARGE)
    return claim_pending_in(a, ZONE_LARGE, count, max_size(align, THP_SLICES));
  static const zone_t order[2][3] = {{ZONE_SMALL, ZONE_PARTLY, ZONE_LARGE},
                                     {ZONE_PARTLY, ZONE_LARGE, ZONE_SMALL}};
  size_t i = BITMAP_NONE;
  for (size_t z = 0; z < 3 && i == BITMAP_NONE; z++)
    i = claim_pending_in(a, order[zone == ZONE_PARTLY][z], count, align);
  return i;
}

/* BITMAP_NONE as well if the request's own zone has closed memory: to open that is better than to
 * use memory of another zone. */
static size_t arena_claim(arena_t* a, uint32_t count, uint32_t align, placement_t placement) {
  zone_t zone = placement.zone;
  bool closed = false;
  size_t i = zone == ZONE_HOME ? claim_home(a, count, placement.home, &closed)
                               : claim_pending(a, count, align, zone);
  if (i != BITMAP_NONE || closed) return i;
  frontier_t* f = arena_frontier(a, zone == ZONE_HOME ? ZONE_SMALL : zone);
  size_t hint = load_relaxed(&a->hint), from = max_size(hint, f->from); /* none free before it */
  i = claim_between(a, a->free, from, f->end, count, arena_zone_align(a, zone, align));
  if (i == BITMAP_NONE && load_relaxed(&f->open) < f->end) return BITMAP_NONE;
  if (i == BITMAP_NONE)
    i = claim_between(a, a->free, from, a->slices / ZONES * HOME_ZONE, count, align);
  if (i == BITMAP_NONE) i = claim_between(a, a->free, 0, a->slices, count, align);
  /* A further small page is one slice, and the search began at the hint: so all slices before `i`
   * are taken. */
  if (i != BITMAP_NONE && zone == ZONE_SMALL && i >= hint)
    (void)cas_weak_relaxed(&a->hint, &hint, i + 1);
  return i;
}

/* ---- claim and return ---- */

INTERNAL void arena_return(arena_t* a, size_t i, size_t n) {
  add_relaxed(&a->free_count, n); /* before the bits, so that no search is skipped by mistake */
  bitmap_set(a->free, i, n);
  size_t hint = load_relaxed(&a->hint);
  while (i < hint && !cas_weak_relaxed(&a->hint, &hint, i)) {
  }
}

/* The count is exact where no thread holds slices. A thread that returns or claims slices
 * writes free_count too, which lies in the same cache line. */
INTERNAL size_t arena_wait(arena_t* a, size_t i, size_t n) {
  bitmap_set(a->purge, i, n);
  return add_relaxed(&a->waiting, n) + n;
}

INTERNAL size_t arena_wait_no_more(arena_t* a, size_t i, size_t n) {
  size_t waited = bitmap_clear(a->purge, i, n);
  if (waited > 0) sub_relaxed(&a->waiting, waited);
  return waited;
}

/* The caller has claimed slices of which `waited` had a pending purge. */
static void count_refaults(arena_t* a, size_t i, size_t n, size_t waited) {
  if (waited == n || !bitmap_any(a->second_chance, i, n)) return;
  add_relaxed(&refaults, min_size(bitmap_clear(a->second_chance, i, n), n - waited));
}

/* Makes slices usable that the caller has claimed. */
static bool arena_prepare(arena_t* a, size_t i, size_t n, bool is_page, run_t* run) {
  /* Relaxed: the second look below decides. */
  bool counts = load_relaxed(&a->counts);
  if (unlikely(counts) && !slices_count(a, i, n, is_page)) return false;
  if (a->commit_on_demand && !bitmap_all(a->committed, i, n)) {
    if (!os_commit(slice_address(a->first_slice + (uint32_t)i), n * SLICE_SIZE)) return false;
    bitmap_set(a->committed, i, n);
  }
  run->guarded = run->absent = false;
  run->zero = !bitmap_any(a->dirty, i, n);
  if (MI_SECURE > 0 && !slices_enter(a, i, n, is_page, run)) return false;
  count_refaults(a, i, n, arena_wait_no_more(a, i, n));
  bitmap_set(a->dirty, i, n);
  /* A limit that was set meanwhile begins with these slices in the count, see limit.c. */
  if (unlikely(!counts && load_seq_cst(&a->counts))) slices_count_anyway(a, i, n);
  return true;
}

/* Prepares slices for the request that has claimed them, or returns them. */
static bool arena_take(arena_t* a, size_t i, uint32_t count, placement_t placement, run_t* run) {
  sub_relaxed(&a->free_count, count);
  if (placement.zone == ZONE_SMALL) thp_advise_page(a, i);
  if (!arena_prepare(a, i, count, placement.is_page, run)) {
    arena_return(a, i, count);
    return false;
  }
  run->slice = a->first_slice + (uint32_t)i;
  run->arena = a->index;
  return true;
}

static bool arena_alloc_in(arena_t* a, uint32_t count, uint32_t align, placement_t placement,
                           run_t* run) {
  if (load_relaxed(&a->free_count) < count) return false; /* a hint: callers retry */
  size_t i = arena_claim(a, count, align, placement);
  return i != BITMAP_NONE && arena_take(a, i, count, placement, run);
}

INTERNAL bool arena_alloc_at(arena_t* a, size_t i, uint32_t count, placement_t placement,
                             run_t* run) {
  return claim_at(a, i, count) && arena_take(a, i, count, placement, run);
}

INTERNAL bool arena_alloc_existing(affinity_t affinity, uint32_t count, uint32_t align,
                                   placement_t placement, run_t* run) {
  arena_t* a;
  if (unlikely(affinity.arena != ARENA_NONE))
    return (a = arena_at(affinity.arena)) != NULL &&
           arena_alloc_in(a, count, align, placement, run);
  if (unlikely(affinity.numa_node >= 0))
    for (size_t i = 0; (a = arena_shared_at(i)) != NULL; i++)
      if (a->numa_node == affinity.numa_node && arena_alloc_in(a, count, align, placement, run))
        return true;
  for (size_t i = 0; (a = arena_shared_at(i)) != NULL; i++)
    if (arena_alloc_in(a, count, align, placement, run)) return true;
  return false;
}

INTERNAL bool arena_extend_open(arena_t* a, size_t i, uint32_t count, bool* zero) {
  if (!claim_at(a, i, count)) return false;
  run_t run;
  bool done = arena_take(a, i, count, (placement_t){ZONE_PARTLY, 0, false}, &run);
  if (done) *zero = run.zero;
  return done;
}
