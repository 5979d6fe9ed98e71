/* stats.c - gathers the figures that the other rooms keep, as a struct and as JSON.
 *
 * Owns:    the peaks that were seen, and where totals began at the last reset.
 * Always:  malloc and free count nothing for this room: what is live is found by a look at every
 *          page when somebody asks.
 * Threads: any. Of pages that others own only atomics are read: the owner word, the class, `used`
 *          and the remote word. Each figure is true at some moment while we look, but not all of
 *          them at the same. Everything is relaxed, for no figure leads to memory.
 * Uses:    arena.h, page.h, large.h, thread.h, log.h.          Used by: report, the program.
 *
 * Live blocks of a page: of an unowned one the remote word has their number. Of an owned one it is
 * what is carved and not on the local list, less what others have queued. That includes the
 * detached list of the class, so lists are put back first where that is ours to do: those of the
 * calling thread's heaps, and those of the late heap, under its lock.
 */
#include "stats.h"
#include "arena.h"
#include "large.h"
#include "log.h"
#include "page.h"
#include "thread.h"

/* ---- bins ---- */

#define BIN_COUNT (MI_BIN_HUGE + 1)
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

/* The bin of each class. Classes are in the order of their sizes; class 0 and class 1 have the same
 * size, and a bin each. */
static void bins_of_classes(uint8_t* bin_of) {
  size_t bin = 0;
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    if (class == 1) bin = 1;
    while (mi_stats_get_bin_size(bin) < class_block_size(class)) bin++;
    bin_of[class] = (uint8_t)bin;
  }
}

/* What a page of the bin takes; 0 where each block has a page to itself. */
static size_t bin_page_size(size_t bin) {
  size_t size = mi_stats_get_bin_size(bin);
  if (size > MEDIUM_MAX) return 0;
  return slices_for(size) * SLICE_SIZE;
}

/* ---- what is live ---- */

static uintptr_t owner_name(uintptr_t owner) { return owner & ~(uintptr_t)OWNER_FLAGS; }

/* The backing heap of the thread whose heap an owner word names; NULL if it names none that lives.
 * A tag is no record; a record may be looked at for ever. */
static heap_t* backing_of(uintptr_t owner) {
  uintptr_t name = owner_name(owner);
  if (name <= OWNER_TAG(OWNER_TAG_MAX) || !heap_lives((heap_t*)name)) return NULL;
  return heap_backing((heap_t*)name);
}

/* Whose pages, by the names in their owner words. */
typedef struct scope_s {
  heap_t* heap;   /* of this heap; or, with NULL, */
  heap_t* thread; /* of the heaps of the thread with this backing heap; or, with NULL, of all */
} scope_t;

static bool is_in_scope(const scope_t* scope, uintptr_t owner) {
  if (scope->heap != NULL) return owner_name(owner) == (uintptr_t)scope->heap;
  return scope->thread == NULL || backing_of(owner) == scope->thread;
}

typedef struct figures_s {
  size_t pages[CLASS_COUNT], live[CLASS_COUNT]; /* of small blocks */
  size_t abandoned;                             /* those of the pages that an ended heap left */
  size_t large, large_bytes;                    /* large blocks */
  size_t span;                                  /* bytes that all of these lie in */
} figures_t;

static size_t page_live(page_t* page, uint32_t slice) {
  size_t used = page_used(page);
  uint64_t word = load_relaxed(map_remote(slice));
  if (!remote_is_owned(word)) return remote_balance(word);
  size_t queued = remote_count(word);
  return used > queued ? used - queued : 0; /* its owner may work between the two looks */
}

static void add_large(const scope_t* scope, const large_view_t* view, figures_t* f) {
  if (!is_in_scope(scope, view->heap)) return;
  f->large++;
  f->large_bytes += view->usable;
  f->span += view->reserved;
}

/* All large blocks together are counted elsewhere. */
static bool is_of_all(const scope_t* scope) { return scope->heap == NULL && scope->thread == NULL; }

static void add_page(const scope_t* scope, page_t* page, uint32_t slice, figures_t* f) {
  uintptr_t owner = load_relaxed(&page->owner);
  large_view_t view;
  if (owner == 0 || !is_in_scope(scope, owner)) return;
  if ((owner & OWNER_LARGE) != 0) {
    if (!is_of_all(scope) && large_view(slice, &view)) add_large(scope, &view, f);
    return;
  }
  size_t class = page_class(page);
  if (class >= CLASS_COUNT) return; /* just now it became a large block */
  f->pages[class]++;
  f->live[class] += page_live(page, slice);
  f->span += class_slices(class) * SLICE_SIZE;
  if ((owner & OWNER_UNOWNED) != 0 && backing_of(owner) == NULL) f->abandoned++;
}

static void scan(const scope_t* scope, figures_t* f) {
  memset(f, 0, sizeof(*f));
  arena_t* a;
  for (size_t k = 0; (a = arena_at(k)) != NULL; k++) {
    page_t* page;
    for (size_t i = 0; (page = arena_next_page(a, &i)) != NULL;)
      add_page(scope, page, a->first_slice + (uint32_t)(i - 1), f);
  }
  large_view_t view;
  if (is_of_all(scope)) return;
  for (const char* from = NULL; large_next_direct(from, &view); from = view.start + 1)
    add_large(scope, &view, f);
}

/* ---- detached lists ---- */

static void return_lists(heap_t* heap) {
  heap_enter(heap);
  heap_return_lists(heap);
  heap_leave(heap);
}

/* Those of the calling thread, if it has a heap. */
static void return_own_lists(void) {
  if (!heap_is_real(heap_default)) return;
  heap_t* backing = heap_backing(heap_default);
  return_lists(backing);
  for (heap_t* h = backing->own; h != NULL; h = h->own_next) return_lists(h);
}

/* The late heap is visited with its lock held; it is the one that belongs to no thread. */
static void return_late_lists(heap_t* heap, void* arg) {
  (void)arg;
  if (heap_backing(heap) == NULL) heap_return_lists(heap);
}

void mi_stats_merge(void) mi_attr_noexcept { return_own_lists(); }

/* ---- from figures to fields ---- */

static void add_count(mi_stat_count_t* c, size_t total, size_t current) {
  c->total += (int64_t)total;
  c->current += (int64_t)current;
  c->peak = c->current;
}

/* What one heap or all have: pages and blocks that are there now, blocks of all classes over time
 * and large ones over time. Totals that are not known here stay 0. */
static void fill_blocks(mi_stats_t* s, const figures_t* f, const size_t* blocks,
                        size_t large_blocks) {
  uint8_t bin_of[CLASS_COUNT];
  bins_of_classes(bin_of);
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    size_t size = class_block_size(class);
    add_count(&s->malloc_bins[bin_of[class]], blocks[class], f->live[class]);
    add_count(&s->page_bins[bin_of[class]], 0, f->pages[class]);
    add_count(&s->malloc_normal, blocks[class] * size, f->live[class] * size);
    add_count(&s->pages, 0, f->pages[class]);
    s->malloc_normal_count.total += (int64_t)blocks[class];
  }
  add_count(&s->malloc_bins[MI_BIN_HUGE], large_blocks, f->large);
  add_count(&s->page_bins[MI_BIN_HUGE], large_blocks, f->large);
  add_count(&s->malloc_huge, 0, f->large_bytes);
  add_count(&s->pages, 0, f->large);
  add_count(&s->page_committed, 0, f->span);
  add_count(&s->pages_abandoned, 0, f->abandoned);
  s->malloc_huge_count.total = (int64_t)large_blocks;
}

static size_t committed_now(const arena_stats_t* from_arenas, const large_stats_t* direct) {
  return from_arenas->committed + direct->reserved;
}

typedef struct rooms_s {
  arena_stats_t arenas;
  large_stats_t large;
  thread_stats_t threads;
} rooms_t;

static void ask_rooms(rooms_t* r) {
  arena_stats(&r->arenas);
  large_stats(&r->large);
  thread_stats(&r->threads);
}

/* What only the process has. */
static void fill_process(mi_stats_t* s, const rooms_t* r) {
  uint8_t bin_of[CLASS_COUNT];
  bins_of_classes(bin_of);
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    add_count(&s->page_bins[bin_of[class]], page_total(class), 0);
    add_count(&s->pages, page_total(class), 0);
  }
  s->pages_retire.total = s->pages.total - (s->pages.current - s->page_bins[MI_BIN_HUGE].current);
  add_count(&s->pages, r->threads.large, 0);
  add_count(&s->malloc_huge, r->large.total_bytes, 0);
  s->malloc_guarded_count.total = (int64_t)r->large.guarded;
  add_count(&s->reserved, 0, r->arenas.reserved + r->large.reserved);
  add_count(&s->committed, 0, committed_now(&r->arenas, &r->large));
  add_count(&s->threads, r->threads.threads_total, r->threads.threads);
  s->purged.total = (int64_t)r->arenas.purged;
  s->purge_calls.total = s->arena_purges.total = (int64_t)r->arenas.purges;
  s->arena_count.total = (int64_t)r->arenas.arenas;
}

/* Nobody knows what was asked for: as much as was given. */
static void fill_requested(mi_stats_t* s) {
  s->malloc_requested.total = s->malloc_normal.total + s->malloc_huge.total;
  s->malloc_requested.peak = s->malloc_requested.current =
      s->malloc_normal.current + s->malloc_huge.current;
}

/* ---- since the last reset ---- */

#define MI_STAT_COUNT(x) FIELD_##x,
#define MI_STAT_COUNTER(x) FIELD_##x,
enum { MI_STAT_FIELDS() FIELD_COUNT };
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER

typedef struct field_s {
  const char* name;
  size_t offset;
  bool is_count;
} field_t;

#define MI_STAT_COUNT(x) {#x, offsetof(mi_stats_t, x), true},
#define MI_STAT_COUNTER(x) {#x, offsetof(mi_stats_t, x), false},
static const field_t fields[FIELD_COUNT] = {MI_STAT_FIELDS()};
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER

/* Relaxed: one number each. Whoever gathers while another thread resets may see some of it. */
typedef struct since_s {
  _Atomic(int64_t) total; /* at the last reset */
  _Atomic(int64_t) peak;  /* the highest current value that was seen since */
} since_t;

#define MALLOC_BINS FIELD_COUNT
#define PAGE_BINS (MALLOC_BINS + BIN_COUNT)
static since_t since[PAGE_BINS + BIN_COUNT];

static int64_t peak_of(since_t* at, int64_t current) {
  int64_t peak = load_relaxed(&at->peak);
  while (current > peak && !cas_weak_relaxed(&at->peak, &peak, current)) {
  }
  return current > peak ? current : peak;
}

static int64_t total_since(since_t* at, int64_t total) {
  total -= load_relaxed(&at->total);
  return total > 0 ? total : 0; /* blocks that were put back since count as never taken */
}

static void see_count(since_t* at, mi_stat_count_t* c) {
  c->total = total_since(at, c->total);
  c->peak = peak_of(at, c->current);
}

static void reset_count(since_t* at, mi_stat_count_t* c) {
  store_relaxed(&at->total, c->total);
  store_relaxed(&at->peak, c->current);
}

static void for_each_count(mi_stats_t* s, void (*count)(since_t* at, mi_stat_count_t* c)) {
  for (size_t i = 0; i < FIELD_COUNT; i++)
    if (fields[i].is_count) count(&since[i], (void*)((char*)s + fields[i].offset));
  for (size_t bin = 0; bin < BIN_COUNT; bin++) {
    count(&since[MALLOC_BINS + bin], &s->malloc_bins[bin]);
    count(&since[PAGE_BINS + bin], &s->page_bins[bin]);
  }
}

static mi_stat_counter_t* counter_of(mi_stats_t* s, size_t i) {
  return fields[i].is_count ? NULL : (void*)((char*)s + fields[i].offset);
}

/* ---- the gathering ---- */

/* All lists are put back that are ours to put back, then every page is looked at. */
static void gather_figures(figures_t* f) {
  const scope_t all = {NULL, NULL};
  mi_process_init();
  heaps_recover();
  return_own_lists();
  heaps_for_each(&return_late_lists, NULL);
  scan(&all, f);
}

/* Since the start, and with present values for peaks. */
static void gather_process(mi_stats_t* s) {
  figures_t figures;
  rooms_t rooms;
  mi_stats_init(s);
  gather_figures(&figures);
  ask_rooms(&rooms);
  figures.large = rooms.large.blocks;
  figures.large_bytes = rooms.large.bytes;
  figures.span = rooms.arenas.in_use + rooms.large.reserved;
  fill_blocks(s, &figures, rooms.threads.detached, rooms.threads.large);
  fill_process(s, &rooms);
  fill_requested(s);
}

#if MI_MALLOC_OVERRIDE
INTERNAL void stats_blocks(block_stats_t* stats) {
  figures_t figures;
  large_stats_t large;
  large_view_t view;
  size_t direct_live = 0;
  memset(stats, 0, sizeof(*stats));
  gather_figures(&figures);
  for (size_t class = 0; class < CLASS_COUNT; class ++) {
    size_t size = class_block_size(class);
    size_t room = figures.pages[class] * (class_slices(class) * SLICE_SIZE / size);
    stats->live_bytes += figures.live[class] * size;
    if (room > figures.live[class]) stats->unused += room - figures.live[class];
  }
  large_stats(&large);
  for (const char* from = NULL; large_next_direct(from, &view); from = view.start + 1) {
    stats->direct++;
    stats->direct_bytes += view.reserved;
    direct_live += view.usable;
  }
  if (large.bytes > direct_live) stats->live_bytes += large.bytes - direct_live;
}
#endif

static void total_is_peak(mi_stat_count_t* c) { c->total = c->peak; }

INTERNAL void stats_of_process(mi_stats_t* s) {
  mi_stat_counter_t* counter;
  gather_process(s);
  for_each_count(s, &see_count);
  for (size_t i = 0; i < FIELD_COUNT; i++)
    if ((counter = counter_of(s, i)) != NULL)
      counter->total = total_since(&since[i], counter->total);
  total_is_peak(&s->reserved);
  total_is_peak(&s->committed);
  total_is_peak(&s->page_committed);
  total_is_peak(&s->pages_abandoned);
}

void mi_stats_reset(void) mi_attr_noexcept {
  mi_stats_t s;
  mi_stat_counter_t* counter;
  gather_process(&s);
  for_each_count(&s, &reset_count);
  for (size_t i = 0; i < FIELD_COUNT; i++)
    if ((counter = counter_of(&s, i)) != NULL) store_relaxed(&since[i].total, counter->total);
}

INTERNAL void stats_process_info(process_info_t* info) {
  os_process_t os;
  arena_stats_t from_arenas;
  large_stats_t direct;
  mi_process_init();
  os_process(&os);
  arena_stats(&from_arenas);
  large_stats(&direct);
  info->elapsed_ms = (size_t)(os_clock_ms() - process_started_ms());
  info->user_ms = os.user_ms;
  info->system_ms = os.system_ms;
  info->rss = os.rss;
  info->peak_rss = os.peak_rss;
  info->page_faults = os.page_faults;
  info->commit = committed_now(&from_arenas, &direct);
  info->peak_commit = (size_t)peak_of(&since[FIELD_committed], (int64_t)info->commit);
}

static void add_allocated(heap_t* heap, size_t* blocks, size_t* large_blocks) {
  *large_blocks += load_relaxed(&heap->large_count);
  for (size_t class = 0; class < CLASS_COUNT; class ++)
    blocks[class] += load_relaxed(&heap->queue[class].detached);
}

/* Of one heap, or with NULL of the calling thread's. */
static void gather_heaps(heap_t* heap, mi_stats_t* s) {
  figures_t figures;
  size_t blocks[CLASS_COUNT] = {0}, large_blocks = 0;
  mi_stats_init(s);
  heap_t* backing = heap_is_real(heap_default) ? heap_backing(heap_default) : NULL;
  if (heap == NULL && backing == NULL) return;
  scope_t scope = {heap, heap == NULL ? backing : NULL};
  return_own_lists();
  scan(&scope, &figures);
  if (heap != NULL) {
    add_allocated(heap, blocks, &large_blocks);
  } else {
    add_allocated(backing, blocks, &large_blocks);
    for (heap_t* h = backing->own; h != NULL; h = h->own_next)
      add_allocated(h, blocks, &large_blocks);
  }
  fill_blocks(s, &figures, blocks, large_blocks);
  total_is_peak(&s->pages);
  total_is_peak(&s->page_committed);
  total_is_peak(&s->pages_abandoned);
  total_is_peak(&s->malloc_huge);
  for (size_t bin = 0; bin < BIN_COUNT; bin++) total_is_peak(&s->page_bins[bin]);
  fill_requested(s);
}

INTERNAL void stats_of_heap(heap_t* heap, mi_stats_t* s) { gather_heaps(heap, s); }
INTERNAL void stats_of_thread(mi_stats_t* s) { gather_heaps(NULL, s); }

/* ---- as a struct ---- */

static bool is_ours(const mi_stats_t* s) {
  return s != NULL && s->size == sizeof(*s) && s->version == MI_STAT_VERSION;
}

bool mi_stats_get(mi_stats_t* stats) mi_attr_noexcept {
  if (!is_ours(stats)) return false;
  stats_of_process(stats);
  return true;
}

bool mi_heap_stats_get(mi_heap_t* heap, mi_stats_t* stats) mi_attr_noexcept {
  if (!is_ours(stats)) return false;
  if (heap == NULL) heap = process_main_heap();
  if (heap == NULL) return false;
  stats_of_heap(heap, stats);
  return true;
}

/* ---- as JSON ---- */

/* Writes what there is room for, and counts what there would be. */
typedef struct json_s {
  char* to;
  size_t room, length;
} json_t;

static void json_text(json_t* j, const char* text) {
  size_t n = strlen(text);
  if (j->length + n <= j->room) memcpy(j->to + j->length, text, n);
  j->length += n;
}

#define JSON_PIECE_MAX 256 /* no piece is longer */
#define json_print(j, ...)                                                                         \
  do {                                                                                             \
    char piece[JSON_PIECE_MAX];                                                                    \
    (void)format_text(piece, sizeof(piece), __VA_ARGS__);                                          \
    json_text((j), piece);                                                                         \
  } while (0)

/* The members of a count, without braces. */
static void json_count(json_t* j, const mi_stat_count_t* c) {
  json_print(j, "\"total\": %lld, \"peak\": %lld, \"current\": %lld", (long long)c->total,
             (long long)c->peak, (long long)c->current);
}

static void json_bins(json_t* j, const char* name, const mi_stat_count_t* bins) {
  json_print(j, ",\n  \"%s\": [", name);
  for (size_t bin = 0; bin < BIN_COUNT; bin++) {
    json_text(j, bin == 0 ? "\n    { " : ",\n    { ");
    json_count(j, &bins[bin]);
    json_print(j, ", \"block_size\": %zu, \"page_size\": %zu }", mi_stats_get_bin_size(bin),
               bin_page_size(bin));
  }
  json_text(j, "\n  ]");
}

static void json_process(json_t* j, const process_info_t* p) {
  json_print(j, ",\n  \"process\": { \"elapsed_msecs\": %zu, \"user_msecs\": %zu", p->elapsed_ms,
             p->user_ms);
  json_print(j, ", \"system_msecs\": %zu, \"page_faults\": %zu", p->system_ms, p->page_faults);
  json_print(j, ", \"rss_current\": %zu, \"rss_peak\": %zu", p->rss, p->peak_rss);
  json_print(j, ", \"commit_current\": %zu, \"commit_peak\": %zu }", p->commit, p->peak_commit);
}

static void json_stats(json_t* j, const mi_stats_t* s, const process_info_t* process) {
  json_print(j, "{\n  \"stat_version\": %d,\n  \"mimalloc_version\": %d", MI_STAT_VERSION,
             MI_MALLOC_VERSION);
  json_process(j, process);
  for (size_t i = 0; i < FIELD_COUNT; i++) {
    const char* at = (const char*)s + fields[i].offset;
    json_print(j, ",\n  \"%s\": ", fields[i].name);
    if (fields[i].is_count) {
      json_text(j, "{ ");
      json_count(j, (const void*)at);
      json_text(j, " }");
    } else {
      json_print(j, "%lld", (long long)((const mi_stat_counter_t*)(const void*)at)->total);
    }
  }
  json_bins(j, "malloc_bins", s->malloc_bins);
  json_bins(j, "page_bins", s->page_bins);
  json_text(j, "\n}\n");
}

/* Twice the same: once to know the length, so that nothing is allocated in between. */
static char* json_of(const mi_stats_t* s, size_t size, char* buf) {
  process_info_t p;
  stats_process_info(&p);
  json_t j = {NULL, 0, 0};
  json_stats(&j, s, &p);
  size_t length = j.length;
  if (buf == NULL)
    buf = mi_malloc(length + 1);
  else if (size <= length)
    buf = NULL;
  if (buf == NULL) return NULL;
  j = (json_t){buf, length, 0};
  json_stats(&j, s, &p);
  buf[length] = 0;
  return buf;
}

char* mi_stats_as_json(mi_stats_t* stats, size_t buf_size, char* buf) mi_attr_noexcept {
  return is_ours(stats) ? json_of(stats, buf_size, buf) : NULL;
}

char* mi_stats_get_json(size_t buf_size, char* buf) mi_attr_noexcept {
  mi_stats_t stats;
  stats_of_process(&stats);
  return json_of(&stats, buf_size, buf);
}

char* mi_heap_stats_get_json(mi_heap_t* heap, size_t buf_size, char* buf) mi_attr_noexcept {
  mi_stats_t stats;
  if (heap == NULL) heap = process_main_heap();
  if (heap == NULL) return NULL;
  stats_of_heap(heap, &stats);
  return json_of(&stats, buf_size, buf);
}
