/* stats.c - gathers statistics from the other rooms.
 *
 * Owns:    the peaks seen so far, and the totals at the last reset.
 * Always:  malloc and free count nothing for statistics. Each request for statistics scans all
 *          pages to find what is live.
 * Threads: any. Of pages that other threads own only atomics are read: the owner word, the class,
 *          `used` and the remote word. Each number is true at some moment during the scan, but not
 *          all at the same moment. Relaxed throughout: no number leads to memory.
 *
 * Live blocks of a page: for an abandoned page the remote word holds their number. For an owned
 * page it is `used`, less the blocks on the remote list. `used` includes the active free list of
 * the class. So lists are put back into their pages before the scan, where this thread may do it:
 * the lists of its own heaps, and those of the fallback heap, under its lock.
 */
#include "stats.h"
#include "address.h"
#include "../thread/init.h"
#include "../memory/arena_reserve.h"

/* ---- bins ---- */

#define FIRST_BIN_BY_16 2     /* from here on sizes are multiples of 16 */
#define FIRST_GEOMETRIC_BIN 5 /* 64 bytes; from here on there are four bins per doubling */
#define LOG2_FIRST_GEOMETRIC 6

size_t mi_stats_get_bin_size(size_t bin) mi_attr_noexcept {
  if (bin > MI_BIN_HUGE) return 0;
  if (bin == MI_BIN_HUGE) return ALLOC_MAX;
  if (bin < FIRST_BIN_BY_16) return 8;
  if (bin < FIRST_GEOMETRIC_BIN) return (bin - FIRST_BIN_BY_16 + 1) * 16;
  size_t g = bin - FIRST_GEOMETRIC_BIN;
  return (4 + g % 4) << (g / 4 + LOG2_FIRST_GEOMETRIC - 2);
}

/* The least bin whose size is at least that of the class; classes 0 and 1 have one each. */
static size_t bin_of_class(size_t cls) {
  if (cls < FIRST_BIN_BY_16) return cls;
  size_t w = class_block_size(cls) - 1, log2 = log2_of(w);
  if (log2 < LOG2_FIRST_GEOMETRIC) return FIRST_BIN_BY_16 + w / 16;
  return FIRST_GEOMETRIC_BIN + 1 + (log2 - LOG2_FIRST_GEOMETRIC) * 4 + ((w >> (log2 - 2)) & 3);
}

INTERNAL size_t bin_page_size(size_t bin) {
  size_t size = mi_stats_get_bin_size(bin);
  if (size > MEDIUM_MAX) return 0;
  return slices_for(size) * SLICE_SIZE;
}

/* ---- what is live ---- */

/* The backing heap of the thread whose heap the owner word names; NULL if it names no live heap. */
static heap_t* backing_of(uintptr_t owner) {
  heap_t* heap = live_heap_of(owner);
  return heap == NULL ? NULL : heap_backing(heap);
}

/* Which pages count, by the owner ids in their owner words. */
typedef struct scope_s {
  heap_t* heap;   /* those of this heap; NULL: see `thread` */
  heap_t* thread; /* those of the heaps of the thread with this backing heap; NULL: all */
} scope_t;

static bool is_in_scope(const scope_t* scope, uintptr_t owner) {
  if (scope->heap != NULL) return owner_id(owner) == (uintptr_t)scope->heap;
  return scope->thread == NULL || backing_of(owner) == scope->thread;
}

typedef struct counts_s {
  scope_t scope;
  size_t pages[CLASS_COUNT], live[CLASS_COUNT]; /* of small blocks */
  size_t abandoned;                             /* pages that an ended heap left */
  size_t large, large_bytes;                    /* large blocks */
  size_t span;                                  /* bytes of all these pages */
} counts_t;

static size_t live_blocks(page_t* page, uint32_t slice) {
  uint64_t word = load_relaxed(map_remote(slice));
  if (!remote_is_owned(word)) return remote_outstanding(word);
  size_t used = page_used(page), free = remote_count(word) + page_in_holes(page);
  return used > free ? used - free : 0; /* the owner may change all between the loads */
}

static bool add_large(void* arg, const large_view_t* view) {
  counts_t* f = arg;
  bool counts = is_in_scope(&f->scope, view->heap);
  if (counts) {
    f->large++;
    f->large_bytes += view->usable;
    f->span += view->reserved;
  }
  return true;
}

/* Of large blocks, at about the same moment: the heaps are read one after the other. */
static size_t large_live(const large_counts_t* n) {
  size_t allocated = load_relaxed(&n->allocated);
  return allocated - min_size(allocated, load_relaxed(&n->freed));
}
static size_t large_live_bytes(const large_counts_t* n) {
  size_t allocated = load_relaxed(&n->bytes_allocated);
  return allocated - min_size(allocated, load_relaxed(&n->bytes_freed));
}

static bool add_page(void* arg, page_t* page, uint32_t slice, uintptr_t owner) {
  counts_t* f = arg;
  size_t cls = page_class(page);
  /* It may have become a large block meanwhile. */
  if (cls >= CLASS_COUNT || !is_in_scope(&f->scope, owner)) return true;
  f->pages[cls]++;
  f->live[cls] += live_blocks(page, slice);
  f->span += class_slices(cls) * SLICE_SIZE;
  if (owner_is_abandoned(owner) && backing_of(owner) == NULL) f->abandoned++;
  return true;
}

static void scan(scope_t scope, counts_t* f) {
  *f = (counts_t){.scope = scope};
  /* large.c counts the large blocks of the whole process. */
  bool is_of_all = scope.heap == NULL && scope.thread == NULL;
  (void)pages_walk(&add_page, is_of_all ? NULL : &add_large, f);
}

/* ---- active free lists ---- */

static void return_lists(heap_t* heap) {
  heap_enter(heap);
  heap_return_lists(heap);
  heap_leave(heap);
}

/* Those of the heaps of the calling thread, if it has any. */
static void return_own_lists(void) {
  if (!heap_is_real(heap_default)) return;
  heap_t* backing = heap_backing(heap_default);
  FOR_HEAPS_OF(backing, h) return_lists(h);
}

/* heaps_for_each holds the lock of the fallback heap, the only heap that belongs to no thread. */
static void return_fallback_lists(heap_t* heap, void* arg) {
  (void)arg;
  if (heap_backing(heap) == NULL) heap_return_lists(heap);
}

void mi_stats_merge(void) mi_attr_noexcept { return_own_lists(); }

/* ---- from counts to fields ---- */

static void add_count(mi_stat_count_t* c, size_t total, size_t current) {
  c->total += (int64_t)total;
  c->current += (int64_t)current;
  c->peak = c->current;
}

/* Fills in what one heap has, or all together: the pages and blocks that exist now, and allocations
 * over time. Totals that are not known here stay 0. */
static void fill_blocks(mi_stats_t* s, const counts_t* f, const thread_stats_t* over_time) {
  const size_t *blocks = over_time->allocated, large_blocks = over_time->large.allocated;
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) {
    size_t size = class_block_size(cls), bin = bin_of_class(cls);
    add_count(&s->malloc_bins[bin], blocks[cls], f->live[cls]);
    add_count(&s->page_bins[bin], 0, f->pages[cls]);
    add_count(&s->malloc_normal, blocks[cls] * size, f->live[cls] * size);
    add_count(&s->pages, 0, f->pages[cls]);
    s->malloc_normal_count.total += (int64_t)blocks[cls];
  }
  add_count(&s->malloc_bins[MI_BIN_HUGE], large_blocks, f->large);
  add_count(&s->page_bins[MI_BIN_HUGE], large_blocks, f->large);
  add_count(&s->malloc_huge, 0, f->large_bytes);
  add_count(&s->pages, 0, f->large);
  add_count(&s->page_committed, 0, f->span);
  add_count(&s->pages_abandoned, 0, f->abandoned);
  s->malloc_huge_count.total = (int64_t)large_blocks;
}

static size_t committed_now(const arena_stats_t* from_arenas, const large_stats_t* os_mapped) {
  return from_arenas->committed + os_mapped->reserved;
}

typedef struct snapshot_s {
  arena_stats_t arenas;
  large_stats_t large;
  thread_stats_t threads;
} snapshot_t;

/* Fills in what only the process has. */
static void fill_process(mi_stats_t* s, const snapshot_t* r) {
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) {
    add_count(&s->page_bins[bin_of_class(cls)], page_total(cls), 0);
    add_count(&s->pages, page_total(cls), 0);
  }
  s->pages_retire.total = s->pages.total - (s->pages.current - s->page_bins[MI_BIN_HUGE].current);
  add_count(&s->pages, r->threads.large.allocated, 0);
  add_count(&s->malloc_huge, r->threads.large.bytes_allocated, 0);
  s->malloc_guarded_count.total = (int64_t)r->large.guarded;
  add_count(&s->reserved, 0, r->arenas.reserved + r->large.reserved);
  add_count(&s->committed, 0, committed_now(&r->arenas, &r->large));
  add_count(&s->threads, r->threads.threads_total, r->threads.threads);
  s->purged.total = (int64_t)r->arenas.purging.purged;
  s->purge_calls.total = s->arena_purges.total = (int64_t)r->arenas.purging.purges;
  s->arena_count.total = (int64_t)r->arenas.arenas;
}

/* Requested sizes are not recorded; usable sizes stand for them. */
static void fill_requested(mi_stats_t* s) {
  s->malloc_requested.total = s->malloc_normal.total + s->malloc_huge.total;
  s->malloc_requested.peak = s->malloc_requested.current =
      s->malloc_normal.current + s->malloc_huge.current;
}

/* ---- since the last reset ---- */

/* Relaxed: each is one number. A request for statistics during a reset by another thread may see a
 * part of the reset. */
typedef struct baseline_s {
  _Atomic(int64_t) total; /* at the last reset */
  _Atomic(int64_t) peak;  /* the highest current value seen since */
} baseline_t;

#define MALLOC_BINS FIELD_COUNT
#define PAGE_BINS (MALLOC_BINS + BIN_COUNT)
static baseline_t baseline[PAGE_BINS + BIN_COUNT];

static int64_t peak_of(baseline_t* at, int64_t current) {
  int64_t peak = load_relaxed(&at->peak);
  while (current > peak && !cas_weak_relaxed(&at->peak, &peak, current)) {
  }
  return current > peak ? current : peak;
}

static int64_t total_since(baseline_t* at, int64_t total) {
  total -= load_relaxed(&at->total);
  return total > 0 ? total : 0; /* a block that was put back counts as never allocated */
}

/* `c` is NULL for a counter, which has a total only. */
typedef void field_fun(baseline_t* at, int64_t* total, mi_stat_count_t* c);

static void see_field(baseline_t* at, int64_t* total, mi_stat_count_t* c) {
  *total = total_since(at, *total);
  if (c != NULL) c->peak = peak_of(at, c->current);
}

static void reset_field(baseline_t* at, int64_t* total, mi_stat_count_t* c) {
  store_relaxed(&at->total, *total);
  if (c != NULL) store_relaxed(&at->peak, c->current);
}

static void for_each_field(mi_stats_t* s, field_fun* visit) {
  for (size_t i = 0; i < FIELD_COUNT; i++) {
    void* field = (char*)s + fields[i].offset; /* begins with the total */
    visit(&baseline[i], field, fields[i].is_count ? field : NULL);
  }
  for (size_t bin = 0; bin < BIN_COUNT; bin++) {
    mi_stat_count_t *blocks = &s->malloc_bins[bin], *pages = &s->page_bins[bin];
    visit(&baseline[MALLOC_BINS + bin], &blocks->total, blocks);
    visit(&baseline[PAGE_BINS + bin], &pages->total, pages);
  }
}

/* ---- the gathering ---- */

/* Puts back the lists that this thread may put back, then scans all pages. */
static void gather_counts(counts_t* f) {
  mi_process_init();
  heaps_recover();
  return_own_lists();
  heaps_for_each(&return_fallback_lists, NULL);
  scan((scope_t){NULL, NULL}, f);
}

/* Totals since the start; peaks are present values. */
static void gather_process(mi_stats_t* s) {
  counts_t counts;
  snapshot_t snapshot;
  mi_stats_init(s);
  gather_counts(&counts);
  arena_stats(&snapshot.arenas);
  large_stats(&snapshot.large);
  thread_stats(&snapshot.threads);
  counts.large = large_live(&snapshot.threads.large);
  counts.large_bytes = large_live_bytes(&snapshot.threads.large);
  counts.span = snapshot.arenas.in_use + snapshot.large.reserved;
  fill_blocks(s, &counts, &snapshot.threads);
  fill_process(s, &snapshot);
  fill_requested(s);
}

#if MI_MALLOC_OVERRIDE
INTERNAL void stats_blocks(block_stats_t* stats) {
  counts_t counts;
  thread_stats_t threads;
  large_view_t view;
  size_t os_mapped_live = 0;
  memset(stats, 0, sizeof(*stats));
  gather_counts(&counts);
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) {
    size_t size = class_block_size(cls);
    size_t room = counts.pages[cls] * (class_slices(cls) * SLICE_SIZE / size);
    stats->live_bytes += counts.live[cls] * size;
    if (room > counts.live[cls]) stats->unused += room - counts.live[cls];
  }
  thread_stats(&threads);
  for (const char* from = NULL; large_next_os_mapped(from, &view); from = view.start + 1) {
    stats->os_mapped++;
    stats->os_mapped_bytes += view.reserved;
    os_mapped_live += view.usable;
  }
  size_t live = large_live_bytes(&threads.large);
  if (live > os_mapped_live) stats->live_bytes += live - os_mapped_live;
}
#endif

INTERNAL bool stats_is_ours(const mi_stats_t* s) {
  return s != NULL && s->size == sizeof(*s) && s->version == MI_STAT_VERSION;
}

static void total_is_peak(mi_stat_count_t* c) { c->total = c->peak; }
static void totals_are_peaks(mi_stats_t* s) {
  total_is_peak(&s->reserved);
  total_is_peak(&s->committed);
  total_is_peak(&s->page_committed);
  total_is_peak(&s->pages_abandoned);
}

bool mi_stats_get(mi_stats_t* s) mi_attr_noexcept {
  if (!stats_is_ours(s)) return false;
  gather_process(s);
  for_each_field(s, &see_field);
  totals_are_peaks(s);
  return true;
}

void mi_stats_reset(void) mi_attr_noexcept {
  mi_stats_t s;
  gather_process(&s);
  for_each_field(&s, &reset_field);
}

INTERNAL void stats_process_info(process_info_t* info) {
  arena_stats_t from_arenas;
  large_stats_t os_mapped;
  mi_process_init();
  os_process(&info->os);
  arena_stats(&from_arenas);
  large_stats(&os_mapped);
  info->elapsed_ms = (size_t)(os_clock_ms() - process_started_ms());
  info->commit = committed_now(&from_arenas, &os_mapped);
  info->peak_commit = (size_t)peak_of(&baseline[FIELD_committed], (int64_t)info->commit);
}

/* Statistics of one heap; with NULL, of the heaps of the calling thread. */
static void gather_heaps(heap_t* heap, mi_stats_t* s) {
  counts_t counts;
  thread_stats_t own = {0};
  mi_stats_init(s);
  heap_t* backing = heap_is_real(heap_default) ? heap_backing(heap_default) : NULL;
  if (heap == NULL && backing == NULL) return;
  return_own_lists();
  scan((scope_t){heap, heap == NULL ? backing : NULL}, &counts);
  if (heap != NULL)
    thread_stats_add(heap, &own);
  else
    FOR_HEAPS_OF(backing, h) thread_stats_add(h, &own);
  fill_blocks(s, &counts, &own);
  totals_are_peaks(s);
  total_is_peak(&s->pages);
  total_is_peak(&s->malloc_huge);
  for (size_t bin = 0; bin < BIN_COUNT; bin++) total_is_peak(&s->page_bins[bin]);
  fill_requested(s);
}

INTERNAL void stats_of_thread(mi_stats_t* s) { gather_heaps(NULL, s); }

bool mi_heap_stats_get(mi_heap_t* heap, mi_stats_t* stats) mi_attr_noexcept {
  if (!stats_is_ours(stats)) return false;
  if (heap == NULL) heap = process_main_heap();
  if (heap == NULL) return false;
  gather_heaps(heap, stats);
  return true;
}
