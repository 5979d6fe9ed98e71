/* arena.c - hands out runs of slices from reserved address space.
 *
 * Owns:    the list of arenas and the slice bitmaps of each; the purge schedule.
 * Always:  a slice is in exactly one place: free, in one page, or being purged; a free one may
 *          wait for purge.
 * Threads: any; a run is claimed in the bitmap, see there. arena_lock only guards new arenas.
 * Uses:    stretch.h, slices.h, map.h, meta.h, bitmap.h, options.h, log.h, os.h.
 *          Used by: page, large, unowned, reserve, report.
 *
 * Zero: `dirty` is set for every slice that is handed out and cleared only by a purge that says
 * so, while the purger holds the slice.
 *
 * Purge: who frees slices sets `purge` bits while it still holds them, then sets the free bits,
 * then looks whether a time is set. Who purges takes the time away first, then looks at the bits.
 * All four are sequentially consistent, so one of the two sees the other and no slice waits
 * without a time. The purger claims free runs like an allocator, so nobody can use a slice that
 * is being purged, and a slice that was handed out in between is simply not there to claim.
 */
#include "arena.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "slices.h"
#include "stretch.h"
#include <errno.h>

INTERNAL_DEF os_lock_t arena_lock = OS_LOCK_INIT;

static struct {
  _Atomic(arena_t*) list[ARENA_MAX];
  _Atomic(size_t) count;
  _Atomic(arena_t*) shared[ARENA_MAX]; /* those of `list` that are not exclusive */
  _Atomic(size_t) shared_count;
  size_t reserve_size;            /* what the OS gave last; guarded by arena_lock */
  _Atomic(uint64_t) purge_at;     /* ms; 0: nothing waits */
  _Atomic(size_t) in_transit;     /* slices in the hands of purgers, or of claims that may fail */
  _Atomic(size_t) purges, purged; /* counters for the statistics */
} arenas;

INTERNAL arena_t* arena_at(size_t index) {
  /* Acquire, pairs with the release in arena_add: the arena behind the count is complete. */
  return index < load_acquire(&arenas.count) ? load_relaxed(&arenas.list[index]) : NULL;
}

INTERNAL size_t arena_shared_count(void) {
  return load_acquire(&arenas.shared_count); /* pairs with the release in arena_add, as above */
}

INTERNAL arena_t* arena_shared_at(size_t index) {
  return index < arena_shared_count() ? load_relaxed(&arenas.shared[index]) : NULL;
}

INTERNAL size_t arena_slices_in_use(void) {
  size_t total = 0;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    total += a->slices - min_size(load_relaxed(&a->free_count), a->slices);
  return total;
}

INTERNAL arena_t* arena_of(const void* p) {
  uintptr_t slice = (uintptr_t)p >> SLICE_SHIFT;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    if (slice >= a->first_slice && slice - a->first_slice < a->slices) return a;
  return NULL;
}

INTERNAL page_t* arena_next_page(arena_t* a, size_t* i) {
  while (*i < a->slices) {
    /* Relaxed: the caller decides what a page is by other means. */
    if (*i % 64 == 0 && load_relaxed(&a->free[*i / 64]) == ~UINT64_C(0)) {
      *i += 64;
      continue;
    }
    page_t* page = map_slot_of_slice(a->first_slice + (uint32_t)(*i)++);
    uintptr_t owner = load_relaxed(&page->owner);
    if (owner != 0 && (owner & OWNER_INTERIOR) == 0) return page;
  }
  return NULL;
}

/* ---- new arenas ---- */

/* The parts of an arena with huge pages, in sixteenths: further small pages, what is partly
 * touched, large blocks, first pages. Who finds no room in a part looks in the others. */
enum { PARTS = 16, PARTLY_PART = 5, LARGE_PART = 8, FIRST_PART = 14 };

/* Part of the range belongs to an arena. */
static bool arena_overlaps(const void* start, size_t size) {
  uintptr_t first = (uintptr_t)start >> SLICE_SHIFT, slices = size >> SLICE_SHIFT;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++)
    if (first < (uintptr_t)a->first_slice + a->slices && a->first_slice < first + slices)
      return true;
  return false;
}

INTERNAL arena_t* arena_add(const arena_memory_t* memory) {
  size_t index = load_relaxed(&arenas.count); /* only changed under arena_lock, which is held */
  void* start = memory->start;
  size_t size = memory->size;
  if (index >= (memory->by_need ? ARENA_MAX : ARENA_MAX - ARENA_KEPT)) return NULL;
  if (arena_overlaps(start, size) || !map_extend(start, size)) return NULL;
  size_t slices = size / SLICE_SIZE, words = bitmap_words(slices);
  size_t chunks = (slices + CHUNK_SLICES - 1) / CHUNK_SLICES;
  arena_t* a = meta_alloc(sizeof(arena_t));
  size_t stretches = memory->huge ? slices / PARTS * FIRST_PART / STRETCH_SLICES : 0;
  size_t stretch_words = bitmap_words(stretches);
  bitword_t* bits = meta_alloc((5 * words + stretch_words) * sizeof(bitword_t));
  unowned_line_t* lines = meta_reserve(chunks * CLASS_COUNT * sizeof(unowned_line_t));
  if (a == NULL || bits == NULL || lines == NULL) return NULL; /* metadata is never given back */
  if (MI_SECURE > 0) {
    a->side = meta_reserve(slices * (SIDE_WIDE + SIDE_DENSE));
    a->guarded = meta_alloc(4 * words * sizeof(bitword_t));
    if (a->side == NULL || a->guarded == NULL) return NULL;
    a->guarded_end = a->guarded + words;
    a->shut = a->guarded_end + words;
    a->stale = a->shut + words;
  }
  a->first_slice = (uint32_t)((uintptr_t)start >> SLICE_SHIFT);
  a->slices = (uint32_t)slices;
  a->index = (uint16_t)index;
  a->from_user = memory->from_user;
  a->exclusive = memory->exclusive;
  a->pinned = memory->pinned;
  a->commit_by_need = !memory->committed;
  a->numa_node = memory->numa_node;
  a->free = bits;
  a->dirty = bits + words;
  a->committed = bits + 2 * words;
  a->purge = bits + 3 * words;
  a->aged = bits + 4 * words;
  a->huge = bits + 5 * words;
  a->stretches = stretches;
  a->unowned = lines;
  bitmap_set(a->free, 0, slices);
  if (!memory->zero) bitmap_set(a->dirty, 0, slices);
  store_relaxed(&a->free_count, slices);
  store_relaxed(&arenas.list[index], a);
  /* Release, pairs with the acquire in arena_at: the arena travels with the count. */
  store_release(&arenas.count, index + 1);
  if (!a->exclusive) {
    size_t shared = load_relaxed(&arenas.shared_count); /* under the lock, like `count` */
    store_relaxed(&arenas.shared[shared], a);
    store_release(&arenas.shared_count, shared + 1);
  }
  return a;
}

/* ---- memory from the OS ---- */

#define HUGE_ARENA_MIN (64 * MiB) /* smaller arenas get no huge pages */

static bool is_large_allowed(void) { return option_value(mi_option_allow_large_os_pages) != 0; }

static bool is_eager_commit(void) {
  long eager = option_value(mi_option_arena_eager_commit);
  return eager == 1 || (eager != 0 && (os_info.overcommits || is_large_allowed()));
}

/* `start` is NULL if the OS refuses. Large pages are always accessible. */
static arena_memory_t memory_from_os(size_t size, size_t align, bool commit, bool allow_large) {
  arena_memory_t memory = {.size = size, .committed = commit, .zero = true, .numa_node = -1};
  if (commit && allow_large && is_large_allowed()) {
    memory.start = os_reserve_large(size, align, &memory.pinned);
    return memory;
  }
  if (commit && size >= HUGE_ARENA_MIN && stretch_is_wanted()) {
    memory.start = os_reserve(size, max_size(align, STRETCH_SIZE), OS_LAZY);
    memory.huge = memory.start != NULL;
  }
  if (memory.start == NULL)
    memory.start = os_reserve(size, align, commit ? OS_LAZY : OS_INACCESSIBLE);
  /* What is not advised gets none, so that a small program stays small whatever the system does. */
  if (memory.start != NULL && option_value(mi_option_allow_thp) == 1)
    os_advise_huge(memory.start, size, false);
  return memory;
}

/* Under the lock; the memory goes back to the OS if it cannot be an arena. */
static arena_t* arena_add_or_release(const arena_memory_t* memory) {
  arena_t* a = arena_add(memory);
  if (a == NULL) os_release(memory->start, memory->size);
  return a;
}

/* Of the option that counts, before it is doubled. */
#define RESERVE_MAX (ADDRESS_BITS > 32 ? 16 * GiB : GiB)

/* Reserves an arena that can hold `count` slices. Caller holds the lock. */
static bool arena_reserve_by_need(uint32_t count, uint32_t align) {
  if (option_value(mi_option_disallow_os_alloc) != 0) return false;
  size_t need = (size_t)count * SLICE_SIZE;
  size_t wanted = mi_option_get_size(mi_option_arena_reserve);
  /* Programs that grow very large get larger arenas, so that there are never many. */
  size_t doublings = min_size(load_relaxed(&arenas.count) / 8, 4);
  wanted = min_size(min_size(wanted, RESERVE_MAX), ALLOC_MAX >> doublings) << doublings;
  wanted = round_up(min_size(wanted, os_info.ahead_max), SLICE_SIZE);
  /* After the OS has refused (a limit, a small address space) in small steps, not all that is
   * left, and growing again with each success; but never so small that the list of arenas ends
   * before the address space does. The same small steps serve when the option is 0, "nothing ahead
   * of need": all our memory lies in arenas, so there is no way around one. */
  size_t whole = wanted;
  if (arenas.reserve_size != 0) wanted = min_size(wanted, arenas.reserve_size);
  wanted = max_size(wanted, MiB << (load_relaxed(&arenas.count) / 16));
  for (size_t size = wanted;; size /= 4) {
    bool last = size <= max_size(need, MiB);
    if (last) size = max_size(need, MiB);
    arena_memory_t memory =
        memory_from_os(size, (size_t)align * SLICE_SIZE, is_eager_commit(), true);
    memory.by_need = true;
    /* Where there is room for the memory but not for its descriptors, less may be had. */
    if (memory.start != NULL && arena_add_or_release(&memory) != NULL) {
      arenas.reserve_size = size >= whole ? 0 : size * 4;
      return true;
    }
    if (last) return false;
    size = round_up(size, 4 * SLICE_SIZE); /* quarters stay whole slices */
  }
}

static arena_t* arena_add_locked(const arena_memory_t* memory) {
  os_lock(&arena_lock);
  arena_t* a = arena_add_or_release(memory);
  os_unlock(&arena_lock);
  return a;
}

/* The OS is asked without the lock, for it may take long: others go on meanwhile. */
INTERNAL arena_t* arena_reserve_memory(size_t size, bool commit, bool allow_large, bool exclusive) {
  arena_t* a = NULL;
  if (size > 0 && size <= ALLOC_MAX) {
    arena_memory_t memory =
        memory_from_os(round_up(size, SLICE_SIZE), SLICE_SIZE, commit, allow_large);
    memory.exclusive = exclusive;
    if (memory.start != NULL) a = arena_add_locked(&memory);
  }
  if (a == NULL) log_warning("cannot reserve an arena of %zu bytes\n", size);
  return a;
}

static size_t numa_node_count(void) {
  long nodes = option_value(mi_option_use_numa_nodes);
  return nodes > 0 ? (size_t)nodes : os_numa_nodes();
}

INTERNAL arena_t* arena_reserve_huge(size_t pages, long numa_node, size_t timeout_ms,
                                     bool exclusive) {
  int node = numa_node < 0 ? -1 : (int)((size_t)numa_node % numa_node_count());
  os_huge_t huge = os_reserve_huge(pages, node, timeout_ms);
  arena_t* a = NULL;
  if (huge.pages > 0) {
    arena_memory_t memory = {.start = huge.start,
                             .size = huge.pages * OS_HUGE_SIZE,
                             .committed = true,
                             .pinned = true,
                             .zero = true,
                             .exclusive = exclusive,
                             .numa_node = node};
    a = arena_add_locked(&memory);
  }
  if (!huge.bound) log_warning("huge pages may lie on other nodes than node %d\n", node);
  if (a == NULL || huge.pages < pages)
    log_warning("reserved %zu of %zu huge pages\n", a == NULL ? 0 : huge.pages, pages);
  return a;
}

INTERNAL bool arena_reserve_huge_interleave(size_t pages, size_t nodes, size_t timeout_ms) {
  if (nodes == 0) nodes = numa_node_count();
  if (timeout_ms != 0) timeout_ms = timeout_ms / nodes + 50;
  for (size_t node = 0; node < nodes && pages > 0; node++) {
    /* Rounded up, so that the first nodes have those that are left over. */
    size_t share = pages / (nodes - node) + (pages % (nodes - node) != 0);
    if (arena_reserve_huge(share, (long)node, timeout_ms, false) == NULL) return false;
    pages -= share;
  }
  return true;
}

INTERNAL void arena_reserve_at_start(void) {
  long pages = option_value(mi_option_reserve_huge_os_pages);
  if (pages > 0) {
    size_t n = (size_t)pages, timeout_ms = n * 500;
    long node = option_value(mi_option_reserve_huge_os_pages_at);
    if (node < 0)
      (void)arena_reserve_huge_interleave(n, 0, timeout_ms);
    else
      (void)arena_reserve_huge(n, node, timeout_ms, false);
  }
  size_t size = mi_option_get_size(mi_option_reserve_os_memory);
  if (size > 0) (void)arena_reserve_memory(size, true, true, false);
}

/* ---- handing out ---- */

#define TRANSIT_NAPS 1000
#define TRANSIT_NAP_US 1000 /* about a second in all */

/* The slices are ours by their free bits; makes them usable. */
static bool arena_prepare(arena_t* a, size_t i, size_t n, bool is_page, run_t* run) {
  if (a->commit_by_need && !bitmap_all(a->committed, i, n)) {
    if (!os_commit(slice_address(a->first_slice + (uint32_t)i), n * SLICE_SIZE)) return false;
    bitmap_set(a->committed, i, n);
  }
  run->guarded = run->absent = false;
  run->zero = !bitmap_any(a->dirty, i, n);
  if (MI_SECURE > 0 && !slices_enter(a, i, n, is_page, run)) return false;
  (void)bitmap_clear(a->purge, i, n);
  bitmap_set(a->dirty, i, n);
  return true;
}

static void arena_return(arena_t* a, size_t i, size_t n) {
  add_relaxed(&a->free_count, n); /* before the bits, so that a search is never skipped wrongly */
  bitmap_set(a->free, i, n);
  size_t hint = load_relaxed(&a->hint);
  while (i < hint && !cas_weak_relaxed(&a->hint, &hint, i)) {
  }
}

/* Between the two calls slices may be taken and put back: a thread that finds none looks again
 * afterwards. A claim over two words of bits takes those of the first before it knows of the
 * second. */
static void transit_begin(size_t slices) { add_seq_cst(&arenas.in_transit, slices); }
static void transit_end(size_t slices) { sub_release(&arenas.in_transit, slices); }

/* Waits a moment if slices are out of reach only because they are in transit; false if none are, or
 * if the threads that have them do not go on. It sleeps in the kernel, so that a thread of any
 * priority lets them go on. */
static bool wait_for_transit(unsigned round) {
  if (round >= TRANSIT_NAPS || load_acquire(&arenas.in_transit) == 0) return false;
  os_nap(round < TRANSIT_NAPS / 10 ? TRANSIT_NAP_US / 10 : TRANSIT_NAP_US);
  return true;
}

/* The slices [i, i + count), which is all or nothing. */
static bool claim_at(arena_t* a, size_t i, uint32_t count) {
  transit_begin(count);
  bool claimed = bitmap_claim_at(a->free, i, count);
  transit_end(count);
  return claimed;
}

/* The first row in which the place is free. */
static size_t arena_claim_first(arena_t* a, uint32_t count, size_t place) {
  for (size_t i = a->slices / PARTS * FIRST_PART + place; i + count <= a->slices; i += FIRST_ROW)
    if (claim_at(a, i, count)) return i;
  return BITMAP_NONE;
}

/* In [from, to), of those that are set in `wanted`. */
static size_t claim_between(arena_t* a, bitword_t* wanted, size_t from, size_t to, uint32_t count,
                            size_t align) {
  size_t phase = a->first_slice & (align - 1);
  if (count == 1) return bitmap_claim(a->free, wanted, to, from, count, align, phase);
  transit_begin(count);
  size_t i = bitmap_claim(a->free, wanted, to, from, count, align, phase);
  transit_end(count);
  return i;
}

static bool is_partly(use_t use) { return use == USE_PAGES || use == USE_BLOCK; }

/* Slices that wait for purge are resident: to use them again saves the purge and the faults of
 * others. */
static size_t arena_claim_waiting(arena_t* a, uint32_t count, uint32_t align, use_t use) {
  if (a->stretches == 0 || load_relaxed(&arenas.purge_at) == 0) return BITMAP_NONE;
  size_t part = a->slices / PARTS, from = is_partly(use) ? part * PARTLY_PART : 0;
  if (use == USE_LARGE)
    return claim_between(a, a->purge, part * LARGE_PART, part * FIRST_PART, count,
                         max_size(align, STRETCH_SLICES));
  size_t i = claim_between(a, a->purge, from, part * FIRST_PART, count, align);
  return i != BITMAP_NONE ? i : claim_between(a, a->purge, 0, from, count, align);
}

static size_t arena_claim(arena_t* a, uint32_t count, uint32_t align, use_t use) {
  size_t i = use < FIRST_ROW ? arena_claim_first(a, count, use)
                             : arena_claim_waiting(a, count, align, use);
  if (i != BITMAP_NONE) return i;
  size_t hint = load_relaxed(&a->hint), from = hint; /* no free slice lies before that */
  size_t part = a->slices / PARTS, end = part * FIRST_PART;
  if (a->stretches > 0 && is_partly(use)) from = part * PARTLY_PART;
  if (a->stretches > 0 && use == USE_LARGE) {
    from = part * LARGE_PART;
    i = claim_between(a, a->free, from, end, count, max_size(align, STRETCH_SLICES));
  }
  if (i == BITMAP_NONE) i = claim_between(a, a->free, from, end, count, align);
  if (i == BITMAP_NONE) i = claim_between(a, a->free, 0, a->slices, count, align);
  /* Only a single slice found in the first gap tells that all before it is taken. */
  if (i != BITMAP_NONE && use == USE_PAGE && i >= hint)
    (void)cas_weak_relaxed(&a->hint, &hint, i + 1);
  return i;
}

static bool arena_alloc_in(arena_t* a, uint32_t count, uint32_t align, use_t use, run_t* run) {
  if (load_relaxed(&a->free_count) < count) return false; /* a hint: retried before failing */
  size_t i = arena_claim(a, count, align, use);
  if (i == BITMAP_NONE) return false;
  sub_relaxed(&a->free_count, count);
  if (use == USE_PAGE) stretch_advise_page(a, i);
  if (!arena_prepare(a, i, count, use <= USE_PAGES, run)) {
    arena_return(a, i, count);
    return false;
  }
  run->slice = a->first_slice + (uint32_t)i;
  run->arena = a->index;
  return true;
}

static bool arena_alloc_existing(place_t place, uint32_t count, uint32_t align, use_t use,
                                 run_t* run) {
  arena_t* a;
  if (unlikely(place.arena != ARENA_NONE))
    return (a = arena_at(place.arena)) != NULL && arena_alloc_in(a, count, align, use, run);
  if (unlikely(place.numa_node >= 0))
    for (size_t i = 0; (a = arena_shared_at(i)) != NULL; i++)
      if (a->numa_node == place.numa_node && arena_alloc_in(a, count, align, use, run)) return true;
  for (size_t i = 0; (a = arena_shared_at(i)) != NULL; i++)
    if (arena_alloc_in(a, count, align, use, run)) return true;
  return false;
}

INTERNAL run_t arena_alloc(place_t place, uint32_t count, uint32_t align, use_t use) {
  run_t run = {0, ARENA_NONE, false, false, false};
  if (arena_alloc_existing(place, count, align, use, &run)) return run;
  bool found = false;
  if (place.arena == ARENA_NONE) {
    os_lock(&arena_lock);
    /* Somebody may have added an arena while we waited. */
    found = arena_alloc_existing(place, count, align, use, &run) ||
            (arena_reserve_by_need(count, align) &&
             arena_alloc_existing(place, count, align, use, &run));
    os_unlock(&arena_lock);
  }
  /* Once more after each wait: what was in transit may have come back just now. */
  for (unsigned round = 0; !found; round++) {
    bool waited = wait_for_transit(round);
    found = arena_alloc_existing(place, count, align, use, &run);
    if (!waited) break;
  }
  return run;
}

INTERNAL bool arena_extend(uint16_t arena, uint32_t slice, uint32_t count, bool* zero) {
  arena_t* a = arena_at(arena);
  if (a == NULL) return false;
  size_t i = slice - a->first_slice;
  if (i + count > a->slices || !claim_at(a, i, count)) return false;
  sub_relaxed(&a->free_count, count);
  run_t run;
  if (!arena_prepare(a, i, count, false, &run)) {
    arena_return(a, i, count);
    return false;
  }
  *zero = run.zero;
  return true;
}

/* ---- taking back and purging ---- */

static long purge_delay_ms(void) {
  long delay = option_value(mi_option_purge_delay);
  if (delay <= 0) return delay;
  long mult = option_value(mi_option_arena_purge_mult);
  long product;
  if (mult < 1) mult = 1;
  if (__builtin_mul_overflow(delay, mult, &product)) return LONG_MAX;
  return product;
}

/* Of the side tables the wide ones, whose blocks are small; of the others a slice has 1 KiB. */
static void purge_side(arena_t* a, size_t i, size_t n) {
  bool zero;
  char* wide = (char*)a->side + a->slices * SIDE_DENSE;
  if (SIDE_WIDE % os_info.page_size != 0 || (uintptr_t)wide % os_info.page_size != 0) return;
  (void)os_purge(wide + i * SIDE_WIDE, n * SIDE_WIDE, true, &zero);
}

static void arena_purge_run(arena_t* a, size_t i, size_t n) {
  if (MI_SECURE > 0 && !bitmap_any(a->dirty, i, n)) return; /* closed slices have no memory */
#if MI_SECURE >= 4
  slices_before_purge(a, i, n);
#endif
  char* start = slice_address(a->first_slice + (uint32_t)i);
  bool zero = false, done;
  int saved = errno;
  bool decommits = option_value(mi_option_purge_decommits) != 0;
  if (decommits && a->commit_by_need && !a->from_user) {
    done = zero = os_decommit(start, n * SLICE_SIZE);
    if (done) (void)bitmap_clear(a->committed, i, n);
    if (MI_SECURE > 0 && done) (void)bitmap_clear(a->guarded_end, i, n); /* it is mapped anew */
  } else {
    done = os_purge(start, n * SLICE_SIZE, decommits, &zero);
  }
  if (MI_SECURE > 0) purge_side(a, i, n);
  errno = saved;
  if (!done) return;
  /* The user's memory may be a file or shared: what comes back is not ours to know. */
  if (zero && !a->from_user) (void)bitmap_clear(a->dirty, i, n);
#if MI_SECURE >= 4
  slices_after_purge(a, i, n);
#endif
  add_relaxed(&arenas.purges, 1);
  add_relaxed(&arenas.purged, n * SLICE_SIZE);
}

INTERNAL void arena_free(uint16_t arena, uint32_t slice, uint32_t count) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice;
  long delay = purge_delay_ms();
  if (delay < 0 || a->pinned) {
    arena_return(a, i, count);
  } else if (delay == 0) {
    arena_purge_run(a, i, count);
    arena_return(a, i, count);
  } else {
    (void)bitmap_clear(a->aged, i, count);
    bitmap_set(a->purge, i, count);
    arena_return(a, i, count);
    uint64_t now = os_clock_ms();
    store_relaxed(&a->freed_ms, now);
    uint64_t at = load_seq_cst(&arenas.purge_at);
    if (at == 0) {
      (void)cas_seq_cst(&arenas.purge_at, &at, now + (uint64_t)delay);
    } else if (now >= at) {
      arena_purge_due(false);
    }
  }
}

/* Claims and purges the slices of one word of bits, run by run. */
static void arena_purge_word(arena_t* a, size_t word, uint64_t bits) {
  while (bits != 0) {
    size_t b = (size_t)__builtin_ctzll(bits);
    uint64_t rest = ~(bits >> b);
    size_t n = rest == 0 ? 64 - b : min_size(64 - b, (size_t)__builtin_ctzll(rest));
    size_t i = word * 64 + b;
    uint64_t run = (n == 64 ? ~UINT64_C(0) : ((UINT64_C(1) << n) - 1)) << b;
    bits &= ~run;
    transit_begin(n); /* until after the return */
    if (bitmap_claim_at(a->free, i, n)) {
      sub_relaxed(&a->free_count, n);
      (void)bitmap_clear(a->purge, i, n);
      arena_purge_run(a, i, n);
      arena_return(a, i, n);
    } else if (n > 1) { /* a part was handed out meanwhile: take the rest one by one */
      for (size_t k = i; k < i + n; k++) {
        if (!bitmap_claim_at(a->free, k, 1)) continue;
        sub_relaxed(&a->free_count, 1);
        (void)bitmap_clear(a->purge, k, 1);
        arena_purge_run(a, k, 1);
        arena_return(a, k, 1);
      }
    }
    transit_end(n);
  }
}

/* A stretch with huge pages of which fewer slices are free is not purged in parts: taking a part of
 * a huge page away makes small ones of the rest. */
#define PURGE_FROM (STRETCH_SLICES / 4)

/* The due slices of one word as they are to be purged. A stretch with huge pages either waits, or
 * gives up everything that is free in it, for all of it may be resident, and the advice too, or the
 * system might make it one huge page again (as with allow_thp = 2 it may). */
static uint64_t purge_by_stretches(arena_t* a, size_t word, uint64_t due, bool force) {
  for (size_t half = 0; half < BITS_PER_WORD / STRETCH_SLICES; half++) {
    size_t s = word * (BITS_PER_WORD / STRETCH_SLICES) + half;
    uint64_t mask = ((UINT64_C(1) << STRETCH_SLICES) - 1) << (half * STRETCH_SLICES);
    if ((due & mask) == 0 || s >= a->stretches || !bitmap_any(a->huge, s, 1)) continue;
    uint64_t free = load_relaxed(&a->free[word]) & mask; /* a hint, the claim decides */
    if (!force && __builtin_popcountll(free) < PURGE_FROM) {
      due &= ~mask;
    } else {
      stretch_withdraw(a, s, s + 1);
      due |= free;
    }
  }
  return due;
}

/* Purges what has waited long enough; true if something still waits. */
static bool arena_purge(arena_t* a, bool all, bool force) {
  bool waits = false;
  for (size_t w = 0; w < bitmap_words(a->slices); w++) {
    uint64_t bits = load_seq_cst(&a->purge[w]);
    if (bits == 0) continue;
    uint64_t aged = all ? bits : bits & load_relaxed(&a->aged[w]);
    uint64_t due = purge_by_stretches(a, w, aged, force);
    if (due != 0) {
      arena_purge_word(a, w, due);
      /* A claim may have failed only because another one was being taken back. */
      waits |= (load_relaxed(&a->purge[w]) & due) != 0;
    }
    if (aged != bits) {
      or_relaxed(&a->aged[w], bits & ~aged); /* a hint: at worst purged one look earlier or later */
      waits = true;
    } /* what waits for its stretch is looked at when more of that is freed */
  }
  return waits;
}

INTERNAL void arena_purge_due(bool force) {
  uint64_t at = load_relaxed(&arenas.purge_at); /* a hint, decided by the exchange below */
  if (!force && at == 0) return;
  uint64_t now = os_clock_ms();
  if (!force && now < at) return;
  long delay = purge_delay_ms();
  if (swap_seq_cst(&arenas.purge_at, 0) == 0 && !force) return;
  bool waits = false;
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) {
    /* Slices freed before the last look are old enough; if nothing was freed since, all are. */
    uint64_t freed = load_relaxed(&a->freed_ms);
    bool all = force || delay <= 0 || (freed <= now && now - freed >= (uint64_t)delay);
    waits |= arena_purge(a, all, force);
  }
  if (waits) {
    uint64_t none = 0;
    (void)cas_seq_cst(&arenas.purge_at, &none, now + (uint64_t)delay);
  }
}

INTERNAL void arena_reset_after_fork(void) {
  /* Slices in the hands of a purger that is gone stay claimed: a bounded leak. */
  store_relaxed(&arenas.in_transit, 0);
  store_relaxed(&arenas.purge_at, os_clock_ms());
}

/* ---- the end of the image that we are part of ---- */

/* Gives the runs of free slices back, and keeps those in use where they are. The program's own
 * memory is not ours to give, and huge OS pages go as a whole. */
static void release_free(arena_t* a) {
  size_t n;
  if (a->from_user || (a->pinned && !bitmap_all(a->free, 0, a->slices))) return;
  for (size_t i = 0; i < a->slices; i += max_size(n, 1)) {
    for (n = 0; i + n < a->slices && bitmap_any(a->free, i + n, 1);) n++;
    os_release(slice_address(a->first_slice + (uint32_t)i), n * SLICE_SIZE);
  }
}

INTERNAL void arena_unload(void) {
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) release_free(a);
  memset(&arenas, 0, sizeof(arenas));
}

/* ---- statistics ---- */

INTERNAL void arena_stats(arena_stats_t* stats) {
  memset(stats, 0, sizeof(*stats));
  arena_t* a;
  for (size_t i = 0; (a = arena_at(i)) != NULL; i++) {
    size_t free = bitmap_count(a->free, a->slices);
    stats->reserved += (size_t)a->slices * SLICE_SIZE;
    stats->in_use += (a->slices - free) * SLICE_SIZE;
    /* The OS has set aside all of a pinned one. */
    stats->committed += (a->pinned ? a->slices : bitmap_count(a->dirty, a->slices)) * SLICE_SIZE;
    stats->arenas++;
  }
  stats->purges = load_relaxed(&arenas.purges);
  stats->purged = load_relaxed(&arenas.purged);
}
