/* arena_open.c - see arena_open.h.
 *
 * Owns:    the frontiers of each arena.
 * Always:  the open part of a zone is a prefix of it, and one mapping but for what splits it inside
 *          (advice, moved blocks, guards). Holes are purged and stay open.
 * Threads: any, under arena_lock.
 *
 * Argument: closed slices are not free, so no search finds them. Slices become accessible before
 * their free bits are set, and a claim acquires what bitmap_set releases. A frontier that goes back
 * claims the slices like an allocation first, and never sets their bits. So a thread that holds a
 * slice holds an open one. Other threads read `open` as a hint: at worst they take arena_lock once
 * too often, or use another zone. The fork handlers hold arena_lock, so the child of a fork finds
 * no frontier on its way.
 */
#include "arena_open.h"
#include "arena_list.h"
#include "slice_count.h"
#include "slice_reuse.h"
#include "thp.h"
#include "../runtime/options.h"

/* A frontier moves by what is open already, but at least and at most by: */
#define STEP_MIN (MiB / SLICE_SIZE)
#define STEP_MAX (64 * MiB / SLICE_SIZE)
/* Home slots are touched in part and in no order, so the steps stay small. */
#define STEP_MAX_HOME (4 * MiB / SLICE_SIZE)

/* Smaller arenas have one zone. */
#define ZONES_MIN (64 * MiB / SLICE_SIZE)

static char* address_in(const arena_t* a, size_t i) {
  return slice_address(a->first_slice + (uint32_t)i);
}

/* ---- zones ---- */

/* Where open memory is charged there are no home slots, because they lie far apart. */
INTERNAL void arena_set_frontiers(arena_t* a, bool open) {
  size_t part = a->slices / ZONES;
  size_t home = a->recedes || a->slices < ZONES_MIN ? a->slices : part * HOME_ZONE;
  size_t large = a->thp_regions > 0 ? part * LARGE_ZONE : home;
  size_t partly = a->thp_regions > 0 ? part * PARTLY_ZONE : home;
  size_t from[ZONE_COUNT] = {[ZONE_PARTLY] = partly, [ZONE_LARGE] = large, [ZONE_HOME] = home};
  size_t end[ZONE_COUNT] = {
      [ZONE_SMALL] = partly, [ZONE_PARTLY] = large, [ZONE_LARGE] = home, [ZONE_HOME] = a->slices};
  for (size_t z = 0; z < ZONE_COUNT; z++) {
    frontier_t* f = &a->frontier[z];
    f->from = (uint32_t)from[z];
    f->end = (uint32_t)end[z];
    store_relaxed(&f->open, open ? f->end : f->from);
  }
  if (!open) return;
  store_relaxed(&a->opened, a->slices);
  arena_return(a, 0, a->slices);
}

/* ---- opening ---- */

static size_t frontier_granule(const arena_t* a) {
  return a->thp_regions > 0 ? THP_SLICES : STEP_MIN;
}

/* Where a filter of system calls refuses a change of access, a new mapping serves too. */
static bool open_up_to(arena_t* a, frontier_t* f, size_t end) {
  size_t open = load_relaxed(&f->open), size = (end - open) * SLICE_SIZE;
  if (!os_commit(address_in(a, open), size) &&
      (a->from_user || !os_remap(address_in(a, open), size)))
    return false;
  if (!a->from_user) os_advise_dump(address_in(a, open), size, true);
  store_relaxed(&f->open, (uint32_t)end);
  add_relaxed(&a->opened, end - open);
  arena_return(a, open, end - open);
  return true;
}

/* Opens the zone up to slice `end` at least, and `most` slices ahead at most. */
static bool frontier_open(arena_t* a, frontier_t* f, size_t end, size_t most) {
  size_t open = load_relaxed(&f->open), granule = frontier_granule(a);
  size_t ahead = round_up(max_size(end, open + min_size(open - f->from, most)), granule);
  /* Where the system has no more to give, what is needed may do. */
  return open_up_to(a, f, min_size(ahead, f->end)) || open_up_to(a, f, end);
}

/* The number of slices from `i` on, up to `count`, that nothing holds. */
static size_t length_of_room(arena_t* a, size_t i, size_t count) {
  for (size_t at = i, end = i + count; at < end;) {
    size_t next = arena_closed_end(a, at);
    if (next == at)
      next = bitmap_next(a->free, end, at, false); /* free bits of closed slices are 0 */
    if (next == at) return at - i;
    at = next;
  }
  return count;
}

/* The first slice from `i` on that nothing holds; the end of the arena if there is none. */
static size_t next_room(arena_t* a, size_t i) {
  if (arena_closed_end(a, i) > i) return i;
  size_t next = bitmap_next(a->free, a->slices, i, true);
  for (size_t z = 0; z < ZONE_COUNT; z++) {
    size_t open = load_relaxed(&a->frontier[z].open);
    if (open >= i && open < a->frontier[z].end) next = min_size(next, open);
  }
  return next;
}

/* Finds the first room for the run in [from, end), open or closed. */
static size_t find_room(arena_t* a, size_t from, size_t end, size_t count, size_t align) {
  size_t phase = a->first_slice & (align - 1);
  for (size_t i = from, n;; i += n) {
    i = i < end ? next_room(a, i) : end;
    i = round_up(i + phase, align) - phase;
    if (i >= end || end - i < count) return BITMAP_NONE;
    n = length_of_room(a, i, count);
    if (n == count) return i;
    n = max_size(n, 1);
  }
}

static size_t find_home(arena_t* a, size_t count, size_t home) {
  frontier_t* f = &a->frontier[ZONE_HOME];
  for (size_t i = f->from + home; i + count <= f->end; i += HOME_SLOTS)
    if (length_of_room(a, i, count) == count) return i;
  return BITMAP_NONE;
}

/* Opens what is closed of the slices [i, i + count), and what lies before it in its zones. */
static bool open_run(arena_t* a, size_t i, size_t count, size_t most) {
  for (size_t z = 0; z < ZONE_COUNT; z++) {
    frontier_t* f = &a->frontier[z];
    size_t end = min_size(i + count, f->end);
    if (i < f->end && end > load_relaxed(&f->open) && !frontier_open(a, f, end, most)) return false;
  }
  return true;
}

/* ---- requests ---- */

typedef struct request_s {
  uint32_t count, align;
  placement_t placement;
  bool anywhere; /* in any zone */
} request_t;

/* True if the request could open memory of the arena. */
static bool has_closed(arena_t* a, const request_t* r) {
  frontier_t* f = arena_frontier(a, r->placement.zone);
  return r->anywhere ? load_relaxed(&a->opened) < a->slices : load_relaxed(&f->open) < f->end;
}

static size_t find_for(arena_t* a, const request_t* r) {
  if (r->anywhere) return find_room(a, 0, a->slices, r->count, r->align);
  zone_t zone = r->placement.zone;
  if (zone == ZONE_HOME) return find_home(a, r->count, r->placement.home);
  frontier_t* f = arena_frontier(a, zone);
  return find_room(a, f->from, f->end, r->count, arena_zone_align(a, zone, r->align));
}

static bool open_in(arena_t* a, const request_t* r, run_t* run) {
  if (!has_closed(a, r)) return false;
  size_t i, most = r->placement.zone == ZONE_HOME ? STEP_MAX_HOME : STEP_MAX;
  while ((i = find_for(a, r)) != BITMAP_NONE) {
    if (!open_run(a, i, r->count, most)) return false;
    if (arena_alloc_at(a, i, r->count, r->placement, run)) return true;
    /* Another thread has taken some of them, and others may be left. If none has, the system
     * refuses the slices. */
    if (length_of_room(a, i, r->count) == r->count) return false;
  }
  return false;
}

static bool open_in_some(affinity_t affinity, const request_t* r, run_t* run) {
  arena_t* a;
  if (affinity.arena != ARENA_NONE)
    return (a = arena_at(affinity.arena)) != NULL && open_in(a, r, run);
  for (size_t i = 0; affinity.numa_node >= 0 && (a = arena_shared_at(i)) != NULL; i++)
    if (a->numa_node == affinity.numa_node && open_in(a, r, run)) return true;
  for (size_t i = 0; (a = arena_shared_at(i)) != NULL; i++)
    if (open_in(a, r, run)) return true;
  return false;
}

INTERNAL bool arena_alloc_opening(affinity_t affinity, uint32_t count, uint32_t align,
                                  placement_t placement, run_t* run) {
  request_t r = {count, align, placement, false};
  if (open_in_some(affinity, &r, run)) return true;
  if (placement.zone == ZONE_HOME) { /* like a further page, then */
    r.placement.zone = ZONE_SMALL;
    if (arena_alloc_existing(affinity, count, align, r.placement, run) ||
        open_in_some(affinity, &r, run))
      return true;
  }
  r.anywhere = true;
  return open_in_some(affinity, &r, run);
}

INTERNAL bool arena_extend(uint16_t arena, uint32_t slice, uint32_t count, bool* zero) {
  arena_t* a = arena_at(arena);
  if (a == NULL) return false;
  size_t i = slice - a->first_slice;
  if (i + count > a->slices) return false;
  if (arena_extend_open(a, i, count, zero)) return true;
  if (load_relaxed(&a->opened) == a->slices || length_of_room(a, i, count) < count) return false;
  os_lock(&arena_lock);
  bool opened = length_of_room(a, i, count) == count && open_run(a, i, count, STEP_MAX);
  os_unlock(&arena_lock);
  return opened && arena_extend_open(a, i, count, zero);
}

/* ---- closing ---- */

/* Closes the slices [from, open) of the zone, which the caller has claimed. */
static bool frontier_close(arena_t* a, frontier_t* f, size_t from, size_t n) {
  char* start = address_in(a, from);
#if MI_SECURE >= 4
  slices_before_purge(a, from, n);
#endif
  if (!os_decommit(start, n * SLICE_SIZE)) return false;
  /* The advice of a new arena, so that closed memory is one mapping. */
  if (option_value(mi_option_allow_thp) == 1) os_advise_huge(start, n * SLICE_SIZE, false);
  os_advise_dump(start, n * SLICE_SIZE, false);
  slices_are_clean(a, from, n);
#if MI_SECURE > 0
  (void)bitmap_clear(a->guarded, from, n);
  (void)bitmap_clear(a->guarded_end, from, n);
  (void)bitmap_clear(a->shut, from, n);
#endif
  store_relaxed(&f->open, (uint32_t)from);
  sub_relaxed(&a->opened, n);
  return true;
}

static void frontier_recede(arena_t* a, frontier_t* f) {
  size_t open = load_relaxed(&f->open), from = open, granule = frontier_granule(a);
  while (from > f->from && bitmap_any(a->free, from - 1, 1) && !bitmap_any(a->purge, from - 1, 1))
    from--;
  from = round_up(from, granule);
  if (from >= open) return;
  size_t n = open - from;
  flight_begin(n);
  if (bitmap_claim_at(a->free, from, n)) {
    sub_relaxed(&a->free_count, n);
    if (!frontier_close(a, f, from, n)) arena_return(a, from, n);
  }
  flight_end(n);
}

INTERNAL void arena_recede(arena_t* a) {
  os_lock(&arena_lock);
  for (size_t z = 0; z < ZONE_COUNT; z++) frontier_recede(a, &a->frontier[z]);
  os_unlock(&arena_lock);
}
