/* fuzz_api.c - random sequences of the C API against a model of what they promise.
 *
 * The model knows each live block: where it lies, what was asked for, what is written in it, and
 * which heap it belongs to. It is held against the allocator at each step: blocks do not overlap,
 * are aligned, keep their contents, are zero where that is documented, belong to their heap, and
 * are what visits and statistics tell of.
 *
 * Several threads take turns: one has the baton, reads the next operation and does it; an
 * operation of its own hands the baton on. So an input is the same sequence each time, and what
 * one thread does to the blocks of another is in it, though not what happens at the same moment.
 *
 * The first two bytes choose options, see run(). Each operation is a byte and its arguments.
 */
#include "calls.h"
#include "fuzz.h"
#include "mimalloc-stats.h"
#include "mimalloc.h"
#include "model.h"
#include <pthread.h>
#include <semaphore.h>

#ifndef FUZZ_OVERRIDE /* the C library's allocations are in the same heaps */
#define FUZZ_OVERRIDE 0
#endif
#ifndef MI_DEBUG
#define MI_DEBUG 0
#endif

enum { THREADS = 3, HEAPS = 6, WORK_MAX = 20000 };

static struct {
  mi_heap_t* heap; /* NULL: an empty slot */
  int thread, tag;
  bool no_destroy;
} heaps[HEAPS];

static struct {
  pthread_t handle;
  sem_t turn;
  bool running;
  int default_heap; /* slot; -1: the backing heap */
} threads[THREADS];

static int wanted, left_thread; /* for thread 0: start this one; join that one */
static bool over;
static bool deferred_on, freeing_deferred;
static int bad_errors; /* reported since the operation began */
static size_t work;
static uint32_t visits;

/* Memory may run out. */
static void on_error(int code, void* arg) {
  (void)arg;
  if (code != ENOMEM && code != EOVERFLOW) bad_errors++;
}

static int default_owner(int me) {
  return threads[me].default_heap >= 0 ? threads[me].default_heap : OF_BACKING + me;
}

/* A heap of this thread as an argument, and who owns what comes from it. */
static mi_heap_t* take_heap(int me, int* owner) {
  int i = take8(&input) % (HEAPS + 2);
  if (i < HEAPS && heaps[i].heap != NULL && heaps[i].thread == me) {
    *owner = i;
    return heaps[i].heap;
  }
  if (i == HEAPS) {
    *owner = OF_BACKING + me;
    return mi_heap_get_backing();
  }
  *owner = default_owner(me);
  return NULL;
}

/* A new block enters the model. */
static block_t* record(void* p, const request_t* r, int owner) {
  size_t usable = mi_usable_size(p);
  if (usable < r->size) FUZZ_FAIL("block %p has %zu bytes, %zu asked for", p, usable, r->size);
  block_t* b = &blocks[free_ids[--free_count]];
  *b = (block_t){.p = p, .asked = r->size, .usable = usable, .align = r->align, .owner = owner};
  b->offset = offset_matters(r) ? r->offset : 0;
  sorted_add(b);
  live_add(b);
  live_bytes += usable;
  return b;
}

/* ---- allocation ------------------------------------------------------------------ */

static void alloc_one(int me, alloc_t kind, request_t r) {
  if (free_count == 0) return;
  unsigned flags = alloc_flags[kind];
  int owner = default_owner(me);
  mi_heap_t* heap = (flags & HEAP) != 0 ? take_heap(me, &owner) : NULL;
  size_t told = SIZE_MAX;
  if ((flags & SMALL) != 0) r.size %= MI_SMALL_SIZE_MAX + 1;
  if ((flags & MODEST) != 0) r.size = r.each = r.size % (100 * KIB);
  if ((flags & PRODUCT) != 0) take_product(&r);
  if ((flags & ALIGN) != 0) r.align = take_align();
  if ((flags & OFFSET) != 0) r.offset = take_offset();
  if ((flags & OS_PAGE) != 0) r.align = (size_t)sysconf(_SC_PAGESIZE);
  if ((flags & MODEST) != 0 && must_fail(&r)) r = (request_t){1, 1, 1, 16, 0, false};
  if ((flags & (MODEST | ALIGN)) == (MODEST | ALIGN) && r.align > MIB) r.align = MIB;
  /* A block of size 0 is aligned to 8, unless an alignment was requested. */
  if ((flags & ALIGN8) != 0 || (r.size == 0 && (flags & (ALIGN | OS_PAGE)) == 0)) r.align = 8;
  void* p = launder(call_alloc(kind, heap, &r, &told));
  if (p != NULL && told != SIZE_MAX) FUZZ_CHECK(told == mi_usable_size(p));
  TRACE("  alloc kind %d, %zu bytes, align %zu, offset %zu: %p of %d\n", kind, r.size, r.align,
        r.offset, p, owner);
  check_result(&r, p);
  if (p == NULL) return;
  /* From level 3 on what was asked for is what may be used. */
  size_t good = MI_SECURE >= 3 ? r.size : mi_good_size(r.size);
  if ((kind == A_MALLOC || kind == A_HEAP_MALLOC) && mi_usable_size(p) != good)
    FUZZ_FAIL("%zu bytes: usable %zu, good %zu", r.size, mi_usable_size(p), good);
  block_t* b = record(p, &r, owner);
  b->small = (flags & SMALL) != 0;
  if ((flags & ZERO) != 0) check_zero(b->p, 0, b->usable);
  if (b->usable > EASY && live_bytes > 2 * GIB) { /* seen often enough */
    mi_free(b->p);
    forget(b);
  } else {
    fill(b);
  }
}

static void op_alloc(int me) {
  alloc_t kind = (alloc_t)(take8(&input) % ALLOC_KINDS);
  alloc_one(me, kind, take_request());
}

/* As many as it takes to fill pages. */
static void op_alloc_many(int me) {
  alloc_t kind = take8(&input) % 2 == 0 ? A_MALLOC : A_HEAP_MALLOC;
  size_t count = (size_t)1 << take8(&input) % 13, size = take_size() % (128 * KIB);
  if (count * size > 4 * MIB) count = 4 * MIB / size;
  const uint8_t* argument = input.at; /* the same heap for all */
  for (size_t i = 0; i < count && work < WORK_MAX && live_bytes < LIVE_MAX / 2; i++, work++) {
    input.at = argument;
    alloc_one(me, kind, (request_t){.size = size, .align = 16});
  }
}

/* ---- release ---------------------------------------------------------------------- */

static void free_one(block_t* b, int kind) {
  char* p = b->p;
  size_t told = 0;
  TRACE("  free %p of %zu bytes, kind %d\n", (void*)p, b->usable, kind);
  check_block(b);
  errno = 55;
  switch (kind) {
  default:
    mi_free(p);
    break;
  case 1:
    mi_cfree(p);
    break;
  case 2:
    mi_free_size(p, b->asked);
    break;
  case 3:
    if (b->offset == 0)
      mi_free_size_aligned(p, b->asked, b->align);
    else
      mi_free_size(p, b->asked);
    break;
  case 4:
    if (b->offset == 0)
      mi_free_aligned(p, b->align);
    else
      mi_free(p);
    break;
  case 5:
    if (b->small)
      mi_free_small(p);
    else
      mi_free(p);
    break;
  case 6:
    mi_ufree(p, &told);
    FUZZ_CHECK(told == b->usable);
    break;
  case 7: {
    void* holder = p;
    FUZZ_CHECK(mi_reallocarr(&holder, 0, 8) == 0 && holder == NULL);
    break;
  }
  }
  FUZZ_CHECK(errno == 55);
  forget(b);
}

static void op_free(void) {
  int kind = take8(&input) % 8;
  block_t* b = pick();
  if (b != NULL) free_one(b, kind);
}

/* Every `step`-th of those that are live. */
static void op_free_many(void) {
  size_t step = 1 + take8(&input) % 5, from = take16(&input);
  if (live_count == 0) return;
  for (size_t i = from % live_count; i < live_count && work < WORK_MAX; i += step, work++)
    free_one(&blocks[live[i]], 0);
}

/* Addresses that are not ours are reported and left alone. */
static void op_free_foreign(void) {
  static char object[64];
  char local[64];
  void* addresses[] = {local + 16,
                       object + 16,
                       (void*)(uintptr_t)8,
                       (void*)(uintptr_t)0x10001,
                       (void*)~(uintptr_t)15,
                       (void*)(uintptr_t)0x7ffffffff000};
  size_t which = take8(&input) % 6;
  uint8_t kind = take8(&input) % 5;
  /* Release builds read past their table for addresses that no process can have: a fault, no
   * report. */
  if (kind > 2 && which == 4 && MI_DEBUG == 0 && MI_SECURE == 0) which = 0;
  void* p = launder(addresses[which]);
  TRACE("  foreign %p, kind %d\n", p, kind);
  errno = 44;
  switch (kind) {
  case 0:
    mi_cfree(p); /* may be anything */
    FUZZ_CHECK(bad_errors == 0 && errno == 44);
    break;
  case 1:
    FUZZ_CHECK(mi_usable_size(p) == 0);
    break;
  case 2:
    FUZZ_CHECK(launder(mi_realloc(p, 100)) == NULL && bad_errors > 0);
    break;
  default:
    mi_free(p);
    FUZZ_CHECK(bad_errors > 0 && errno == 44);
    break;
  }
  bad_errors = 0;
}

/* ---- change of size ----------------------------------------------------------------- */

/* The least alignment that the result has: a block that stays where it is keeps the one that it
 * had, unless the function names one. */
static size_t resized_align(unsigned flags, const block_t* old, const void* q, const request_t* r) {
  if ((flags & ALIGN) != 0) return r->align;
  if (old != NULL && q == old->p) return 8;
  return r->size == 0 || (flags & ALIGN8) != 0 ? 8 : 16;
}

static void op_resize(int me) {
  resize_t kind = (resize_t)(take8(&input) % RESIZE_KINDS);
  unsigned flags = resize_flags[kind];
  block_t* b = take8(&input) % 8 == 0 ? NULL : pick();
  if (b == NULL && free_count == 0) return;
  request_t r = take_request();
  bool zero = (flags & ZERO) != 0, copies = zero || (flags & OFFSET) != 0;
  if (copies) r.size = r.each = tamed(r.size, 16 * MIB);
  if ((flags & PRODUCT) != 0) take_product(&r);
  if (copies && r.size > 16 * MIB && !must_fail(&r)) r.size = r.each = 100, r.count = 1;
  if ((flags & ALIGN) != 0) r.align = take_align();
  if ((flags & OFFSET) != 0) r.offset = take_offset();
  int owner = default_owner(me);
  mi_heap_t* heap = (flags & HEAP) != 0 ? take_heap(me, &owner) : NULL;
  block_t old = {0};
  if (b != NULL) {
    check_block(b);
    old = *b;
  }
  bool freed = false;
  char* q = launder(call_resize(kind, heap, old.p, &r, &freed));
  TRACE("  resize kind %d: %p of %zu to %zu bytes, align %zu, offset %zu: %p\n", kind, (void*)old.p,
        old.usable, r.size, r.align, r.offset, (void*)q);
  if (q != NULL && !must_fail(&r)) r.align = resized_align(flags, b, q, &r);
  check_result(&r, q);
  if (q == NULL) {
    if (b != NULL && freed)
      forget(b);
    else if (b != NULL)
      check_block(b);
    return;
  }
  if (b != NULL) forget(b);
  if (b != NULL && q == old.p) { /* it stays where it is */
    owner = old.owner;
    if ((flags & ALIGN) == 0) r.align = old.align, r.offset = old.offset;
  }
  b = record(q, &r, owner);
  check_contents(q, old.seed, old.usable, old.usable < r.size ? old.usable : r.size);
  if (zero && b->usable > old.usable) check_zero(q, old.usable, b->usable);
  fill(b);
}

static void op_expand(void) {
  block_t* b = pick();
  uint8_t kind = take8(&input);
  size_t size = take_size();
  if (b == NULL) return;
  if (kind % 4 == 0) size = b->usable + kind / 4 % 2;
  char* p = launder(kind % 2 == 0 ? mi_expand(b->p, size) : mi__expand(b->p, size));
  TRACE("  expand %p of %zu bytes to %zu: %p\n", (void*)b->p, b->usable, size, (void*)p);
  FUZZ_CHECK(p == NULL || p == b->p);
  if (size <= b->usable) FUZZ_CHECK(p != NULL);
  if (p == NULL) {
    check_block(b);
    return;
  }
  size_t usable = mi_usable_size(p);
  FUZZ_CHECK(usable >= size);
  check_contents(p, b->seed, b->usable, usable < b->usable ? usable : b->usable);
  live_bytes += usable - b->usable;
  sorted_remove(b);
  b->usable = usable;
  b->asked = usable; /* right in any case */
  sorted_add(b);
  fill(b);
}

/* ---- questions ------------------------------------------------------------------------ */

static int owner_of_heap(const mi_heap_t* heap) {
  for (int i = 0; i < HEAPS; i++)
    if (heaps[i].heap == heap) return i;
  return -1;
}

static void check_membership(int me, const block_t* b, const char* p) {
  mi_heap_t* of = mi_heap_of(p);
  FUZZ_CHECK(of != NULL && mi_any_heap_contains(p) && mi_is_in_heap_region(p));
  FUZZ_CHECK(mi_heap_contains(of, p));
  if (b->owner < HEAPS) {
    FUZZ_CHECK(of == heaps[b->owner].heap);
    FUZZ_CHECK(mi_heap_contains_block(of, p));
  } else {
    FUZZ_CHECK(owner_of_heap(of) < 0);
    if (b->owner >= OF_TAG) FUZZ_CHECK(of == mi_heap_main());
  }
  for (int i = 0; i < HEAPS; i++) {
    mi_heap_t* h = heaps[i].heap;
    if (h == NULL) continue;
    FUZZ_CHECK(mi_heap_contains_block(h, p) == (b->owner == i));
    FUZZ_CHECK(mi_heap_check_owned(h, p) == (b->owner == i && (uintptr_t)p % sizeof(void*) == 0));
  }
  if (threads[me].default_heap >= 0)
    FUZZ_CHECK(mi_check_owned(p) ==
               (b->owner == threads[me].default_heap && (uintptr_t)p % sizeof(void*) == 0));
  (void)mi_unsafe_heap_page_is_under_utilized(NULL, b->p, take8(&input));
}

static void op_check(int me) {
  block_t* b = pick();
  if (b == NULL) return;
  check_block(b);
  check_membership(me, b, b->p);
  if (b->usable > 0) check_membership(me, b, b->p + take16(&input) % b->usable);
}

static void op_ask(void) {
  uintptr_t address = (uintptr_t)take64(&input);
  block_t* b = pick();
  if (b != NULL && address % 4 == 0) address = (uintptr_t)b->p + (address >> 56) * 1000;
  if (address % 4 == 1) address &= ((uintptr_t)1 << 47) - 1;
  const void* p = (const void*)address;
  bool ours = mi_is_in_heap_region(p);
  bool block = mi_any_heap_contains(p);
  FUZZ_CHECK(block == (mi_heap_of(p) != NULL));
  FUZZ_CHECK(ours || !block);
  if (!ours) FUZZ_CHECK(mi_usable_size(p) == 0);
  for (int i = 0; i < HEAPS; i++)
    if (heaps[i].heap != NULL && mi_heap_contains_block(heaps[i].heap, p)) FUZZ_CHECK(block);
  FUZZ_CHECK(!mi_heap_contains_block(NULL, p) && !mi_heap_check_owned(NULL, p));
  size_t size = take_size(), good = mi_good_size(size);
  FUZZ_CHECK(good >= size);
  if (size > 0 && size <= EASY) FUZZ_CHECK(mi_good_size(good) == good);
  bad_errors = 0; /* secure builds may tell of the question */
}

/* ---- visits ----------------------------------------------------------------------------- */

typedef struct visit_s {
  int owner; /* the only one whose blocks may come; -1: any that is no first-class heap */
  size_t seen, stop_after;
  size_t area_used, area_seen;
  bool in_area, ended;
  const char *blocks, *end;
} visit_t;

static void end_area(const visit_t* v) {
  if (v->in_area && v->area_seen != v->area_used)
    FUZZ_FAIL("an area has %zu blocks in use, %zu were visited", v->area_used, v->area_seen);
}

static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  visit_t* v = arg;
  (void)heap;
  FUZZ_CHECK(!v->ended);
  if (block == NULL) {
    end_area(v);
    v->in_area = true;
    v->area_used = area->used;
    v->area_seen = 0;
    v->blocks = area->blocks;
    v->end = v->blocks + area->committed;
    FUZZ_CHECK(area->committed <= area->reserved && area->block_size <= area->full_block_size);
    return true;
  }
  v->area_seen++;
  const char* p = block;
  FUZZ_CHECK(v->in_area && p >= v->blocks && p < v->end && size <= area->full_block_size);
  FUZZ_CHECK((size_t)(p - v->blocks) % area->full_block_size == 0);
  block_t* b = block_within(p, size);
  if (b == NULL) {
    if (v->owner >= 0 || !FUZZ_OVERRIDE) FUZZ_FAIL("block %p is visited and not live", block);
    return true;
  }
  if (b->visited == visits) FUZZ_FAIL("block %p is visited twice", block);
  b->visited = visits;
  if (v->owner >= 0 ? b->owner != v->owner : b->owner < HEAPS)
    FUZZ_FAIL("block %p of %d is visited with those of %d", block, b->owner, v->owner);
  v->seen++;
  if (v->seen == v->stop_after) v->ended = true;
  return !v->ended;
}

static size_t blocks_of(int owner) {
  size_t n = 0;
  for (size_t i = 0; i < sorted_count; i++) n += blocks[sorted[i]].owner == owner;
  return n;
}

static void visit_done(const visit_t* v, int owner, bool result) {
  if (v->ended) {
    FUZZ_CHECK(!result);
    return;
  }
  end_area(v);
  if (v->owner < 0) return;
  size_t there = blocks_of(owner);
  if (v->seen != there) FUZZ_FAIL("%zu blocks of %d, %zu were visited", there, owner, v->seen);
}

static void visit_heap(int me, int i, size_t stop_after) {
  visit_t v = {.owner = i, .stop_after = stop_after};
  visits++;
  bool result;
  if (i >= 0) {
    result = mi_heap_visit_blocks(heaps[i].heap, true, &on_visit, &v);
  } else {
    result = mi_heap_visit_blocks(mi_heap_get_backing(), true, &on_visit, &v);
  }
  TRACE("  visit %d by %d: %zu blocks\n", i, me, v.seen);
  visit_done(&v, i, result);
  if (i >= 0 && v.seen > 0 && !v.ended) FUZZ_CHECK(result);
}

static void visit_left(int tag, size_t stop_after) {
  visit_t v = {.owner = tag > 0 ? OF_TAG + tag : -1, .stop_after = stop_after};
  visits++;
  bool result = mi_abandoned_visit_blocks(NULL, tag > 0 ? tag : -1, true, &on_visit, &v);
  TRACE("  visit what is left, tag %d: %zu blocks\n", tag, v.seen);
  visit_done(&v, v.owner, result);
}

static void op_visit(int me) {
  uint8_t k = take8(&input);
  size_t stop_after = take8(&input) % 4 == 0 ? take8(&input) : SIZE_MAX;
  int i = k % (HEAPS + 4);
  if (i >= HEAPS) {
    if (i == HEAPS)
      visit_heap(me, -1, stop_after);
    else
      visit_left(k / (HEAPS + 4) % 4, stop_after);
  } else if (heaps[i].heap != NULL && heaps[i].thread == me) {
    visit_heap(me, i, stop_after);
  } else if (heaps[i].heap != NULL) { /* another thread's: debug builds tell */
    visit_t v = {.owner = i, .stop_after = SIZE_MAX};
    FUZZ_CHECK(!mi_heap_visit_blocks(heaps[i].heap, true, &on_visit, &v) && v.seen == 0);
    bad_errors = 0;
  }
}

/* ---- statistics --------------------------------------------------------------------------- */

static void heap_stats(int i) {
  mi_stats_t_decl(stats);
  FUZZ_CHECK(mi_heap_stats_get(heaps[i].heap, &stats));
  int64_t count = 0, bytes = 0, small = 0;
  bool offsets = false;
  for (size_t k = 0; k < sorted_count; k++) {
    const block_t* b = &blocks[sorted[k]];
    if (b->owner != i) continue;
    count++;
    bytes += (int64_t)b->usable;
    offsets = offsets || b->offset != 0;
  }
  for (int k = 0; k <= MI_BIN_HUGE; k++) small += stats.malloc_bins[k].current;
  int64_t told = stats.malloc_normal.current + stats.malloc_huge.current;
  if (small != count)
    FUZZ_FAIL("heap %d has %lld blocks, statistics tell %lld", i, (long long)count,
              (long long)small);
  if (told < bytes || (told > bytes && !offsets && MI_SECURE == 0))
    FUZZ_FAIL("heap %d has %lld bytes, statistics tell %lld", i, (long long)bytes, (long long)told);
}

static char json[64 * 1024];

static void op_stats(int me) {
  uint8_t k = take8(&input) % 14;
  int owner;
  TRACE("  statistics, kind %d\n", k);
  switch (k) {
  case 0: {
    mi_stats_t_decl(stats);
    FUZZ_CHECK(mi_stats_get(&stats));
    FUZZ_CHECK(stats.malloc_normal.current + stats.malloc_huge.current >= (int64_t)live_bytes);
    FUZZ_CHECK(stats.committed.current <= stats.reserved.current);
    FUZZ_CHECK(mi_stats_as_json(&stats, sizeof json, json) == json && json_is_valid(json));
    stats.size -= take8(&input) % 2, stats.version += take8(&input) % 2;
    bool right = stats.size == sizeof stats && stats.version == MI_STAT_VERSION;
    FUZZ_CHECK(mi_stats_get(&stats) == right);
    break;
  }
  case 1:
  case 2: {
    int i = take8(&input) % HEAPS;
    if (heaps[i].heap != NULL && heaps[i].thread == me) heap_stats(i);
    break;
  }
  case 3: {
    size_t size = take16(&input);
    memset(json, 'x', size + 1);
    char* s = mi_stats_get_json(size, json);
    FUZZ_CHECK(s == NULL ? json[0] == 'x' : s == json && json_is_valid(json));
    FUZZ_CHECK(json[size] == 'x' && (s != NULL || size < 40000));
    break;
  }
  case 4: {
    char* s = launder(mi_stats_get_json(0, NULL));
    FUZZ_CHECK(s != NULL && json_is_valid(s));
    mi_free(s);
    break;
  }
  case 5: {
    char* s = mi_heap_stats_get_json(take_heap(me, &owner), sizeof json, json);
    FUZZ_CHECK(s == json && json_is_valid(json));
    break;
  }
  case 6:
    mi_stats_print_out(&on_output, NULL);
    break;
  case 7:
    mi_thread_stats_print_out(&on_output, NULL);
    break;
  case 8:
    mi_heap_stats_print_out(take_heap(me, &owner), &on_output, NULL);
    break;
  case 9:
    mi_arenas_print();
    break;
  case 10:
    mi_stats_reset();
    break;
  case 11:
    mi_stats_merge();
    break;
  case 12: {
    size_t n[8];
    mi_process_info(&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]);
    mi_process_info_print_out(&on_output, NULL);
    FUZZ_CHECK(n[3] <= n[4] && n[5] <= n[6]);
    break;
  }
  default:
    mi_options_print_out(&on_output, NULL);
    FUZZ_CHECK(mi_stats_get_bin_size(take8(&input)) <= LARGEST);
    break;
  }
}

/* ---- heaps ---------------------------------------------------------------------------------- */

/* The blocks of heap `i` belong to `owner` from now on. */
static void heap_gone(int i, int owner) {
  for (size_t k = 0; k < sorted_count; k++)
    if (blocks[sorted[k]].owner == i) blocks[sorted[k]].owner = owner;
  int thread = heaps[i].thread;
  if (threads[thread].default_heap == i) threads[thread].default_heap = -1;
  heaps[i].heap = NULL;
}

static int left_to(int i) { return heaps[i].tag != 0 ? OF_TAG + heaps[i].tag : OF_NOBODY; }

static void put_by_forget(const block_t* b);

static void heap_destroyed(int i) {
  for (size_t k = 0; k < sorted_count;) {
    block_t* b = &blocks[sorted[k]];
    if (b->owner != i) {
      k++;
      continue;
    }
    if (b->put_by) put_by_forget(b);
    forget(b);
  }
  heap_gone(i, OF_NOBODY);
}

static void heap_new(int me, int i) {
  uint8_t k = take8(&input);
  int tag = 0;
  bool destroy = true;
  mi_heap_t* h;
  if (k < 100) {
    h = mi_heap_new();
  } else if (k < 110) {
    h = mi_heap_new_in_arena(0);
  } else if (k < 115) {
    FUZZ_CHECK(mi_heap_new_ex(256 + k, true, 0) == NULL && mi_heap_new_ex(-1, true, 0) == NULL);
    FUZZ_CHECK(mi_heap_new_in_arena(1000 + k) == NULL && mi_heap_new_in_arena(-k) == NULL);
    return;
  } else {
    tag = k % 4;
    destroy = k % 3 != 0;
    h = mi_heap_new_ex(tag, destroy, 0);
  }
  FUZZ_CHECK(h != NULL && owner_of_heap(h) < 0);
  heaps[i].heap = h;
  heaps[i].thread = me;
  heaps[i].tag = tag;
  heaps[i].no_destroy = !destroy;
  FUZZ_CHECK(blocks_of(i) == 0);
}

static void heap_remove(int me, int i, bool destroy) {
  for (size_t k = 0; k < sorted_count; k++)
    if (blocks[sorted[k]].owner == i) check_block(&blocks[sorted[k]]);
  mi_heap_t* h = heaps[i].heap;
  if (destroy) {
    mi_heap_destroy(h);
    if (!heaps[i].no_destroy) {
      heap_destroyed(i);
      return;
    }
  } else {
    mi_heap_delete(h);
  }
  heap_gone(i, heaps[i].tag != 0 ? left_to(i) : OF_BACKING + me);
}

static void op_heap(int me) {
  uint8_t k = take8(&input) % 10;
  int i = take8(&input) % HEAPS;
  mi_heap_t* h = heaps[i].heap;
  TRACE("  heap %d (%p), kind %d\n", i, (void*)h, k);
  if (h == NULL) {
    if (k < 6) heap_new(me, i);
    if (k == 9) {
      mi_heap_delete(mi_heap_get_backing());
      mi_heap_destroy(NULL);
      FUZZ_CHECK(mi_heap_set_default(NULL) == NULL);
    }
    return;
  }
  if (heaps[i].thread != me) { /* has no effect; debug builds tell */
    if (k < 4) mi_heap_destroy(h);
    if (k == 4) mi_heap_delete(h);
    if (k == 5) FUZZ_CHECK(mi_heap_set_default(h) == NULL);
    if (k == 6) mi_heap_collect(h, true);
    bad_errors = 0;
    return;
  }
  mi_heap_t* before = mi_heap_get_default();
  switch (k) {
  case 0:
  case 1:
    heap_remove(me, i, false);
    break;
  case 2:
  case 3:
    heap_remove(me, i, true);
    break;
  case 4:
  case 5:
    FUZZ_CHECK(mi_heap_set_default(h) == before && mi_heap_get_default() == h);
    threads[me].default_heap = i;
    break;
  case 6:
    FUZZ_CHECK(mi_heap_set_default(mi_heap_get_backing()) == before);
    threads[me].default_heap = -1;
    break;
  case 7:
  case 8:
    mi_heap_collect(h, k == 7);
    break;
  default:
    mi_heap_set_numa_affinity(h, (int)take16(&input) - 100);
    break;
  }
}

/* ---- deferred frees ---------------------------------------------------------------------------
 */

static void put_by_forget(const block_t* b) {
  for (size_t i = 0; i < put_by_count; i++)
    if (&blocks[put_by[i]] == b) {
      put_by[i] = put_by[--put_by_count];
      return;
    }
  FUZZ_FAIL("block %p was not put by", (void*)b->p);
}

static unsigned long long last_beat[THREADS];
static _Thread_local int my_number; /* of the thread */

static void on_deferred(bool force, unsigned long long heartbeat, void* arg) {
  FUZZ_CHECK(arg == &deferred_on && !freeing_deferred);
  if (over) return;
  freeing_deferred = true;
  FUZZ_CHECK(heartbeat > last_beat[my_number]);
  last_beat[my_number] = heartbeat;
  for (int i = 0; put_by_count > 0 && (i < 3 || force); i++) {
    block_t* b = &blocks[put_by[--put_by_count]];
    check_block(b);
    mi_free(b->p);
    forget(b);
  }
  mi_free(launder(mi_malloc(24)));
  freeing_deferred = false;
}

static void op_deferred(void) {
  uint8_t k = take8(&input);
  if (k % 4 == 0) {
    deferred_on = !deferred_on;
    mi_register_deferred_free(deferred_on ? &on_deferred : NULL, &deferred_on);
    return;
  }
  for (int i = 0; i < k % 16; i++) {
    block_t* b = pick();
    if (b == NULL) return;
    live_remove(b);
    b->put_by = true;
    put_by[put_by_count++] = (uint16_t)(b - blocks);
  }
}

/* ---- threads
 * -------------------------------------------------------------------------------------- */

/* Its heaps are gone, its blocks left to all. */
static void thread_gone(int me) {
  for (int i = 0; i < HEAPS; i++)
    if (heaps[i].heap != NULL && heaps[i].thread == me) heap_gone(i, left_to(i));
  for (size_t k = 0; k < sorted_count; k++)
    if (blocks[sorted[k]].owner == OF_BACKING + me) blocks[sorted[k]].owner = OF_NOBODY;
  last_beat[me] = 0;
}

static void op_process(void) {
  uint8_t k = take8(&input) % 8;
  TRACE("  process, kind %d\n", k);
  switch (k) {
  case 0:
  case 1:
    mi_collect(true);
    break;
  case 2:
    mi_collect(false);
    break;
  case 3:
    mi_collect_reduce((size_t)take16(&input) << 8);
    break;
  case 4:
    mi_thread_init();
    break;
  case 5:
    mi_process_init();
    break;
  case 6:
    mi_thread_set_in_threadpool();
    mi_thread_idle();
    break;
  default:
    FUZZ_CHECK(mi_version() == MI_MALLOC_VERSION && !mi_is_redirected());
    break;
  }
}

static void* work_of_thread(void* arg);

/* What the C library allocates for a thread stays out of the heaps that the model knows. */
static void thread_start(int to) {
  mi_heap_t* before = mi_heap_set_default(mi_heap_get_backing());
  FUZZ_CHECK(pthread_create(&threads[to].handle, NULL, &work_of_thread, (void*)(intptr_t)to) == 0);
  mi_heap_set_default(before);
  threads[to].running = true;
  threads[to].default_heap = -1;
}

typedef enum turn_e { KEEPS, PASSED, LEFT, OVER } turn_t;

/* Hands the baton on. From here on other threads may run: this thread reads nothing any more. Only
 * the first thread starts others, so it may get the baton on the way. */
static turn_t pass(int me, int to) {
  if (to == me) return KEEPS;
  TRACE("thread %d\n", to);
  if (to != 0 && !threads[to].running) {
    if (me != 0) {
      wanted = to;
      to = 0;
    } else {
      thread_start(to);
    }
  }
  sem_post(&threads[to].turn);
  return PASSED;
}

static turn_t step(int me) {
  if (input_ended(&input) || work >= WORK_MAX) {
    over = true;
    return me == 0 ? OVER : pass(me, 0);
  }
  work++;
  bad_errors = 0;
  uint8_t op = take8(&input) % 32;
  turn_t turn = KEEPS;
  switch (op) {
  default:
    op_alloc(me);
    break;
  case 6:
    op_alloc_many(me);
    break;
  case 7:
  case 8:
  case 9:
  case 10:
  case 11:
    op_free();
    break;
  case 12:
    op_free_many();
    break;
  case 13:
    op_free_foreign();
    break;
  case 14:
  case 15:
  case 16:
  case 17:
  case 18:
    op_resize(me);
    break;
  case 19:
    op_expand();
    break;
  case 20:
    op_check(me);
    break;
  case 21:
    op_ask();
    break;
  case 22:
    op_visit(me);
    break;
  case 23:
    op_stats(me);
    break;
  case 24:
  case 25:
    op_heap(me);
    break;
  case 26:
    op_deferred();
    break;
  case 27:
    op_process();
    break;
  case 28:
  case 29:
    turn = pass(me, take8(&input) % THREADS);
    break;
  case 30:
    TRACE("  end of thread\n");
    if (me == 0 || take8(&input) % 2 == 0) {
      mi_thread_done();
      threads[me].default_heap = -1;
      thread_gone(me);
    } else {
      left_thread = me;
      (void)pass(me, 0);
      return LEFT;
    }
    break;
  }
  if (turn == KEEPS && bad_errors != 0) FUZZ_FAIL("%d errors were reported", bad_errors);
  return turn;
}

static void* work_of_thread(void* arg) {
  int me = (int)(intptr_t)arg;
  my_number = me;
  for (;;) {
    while (sem_wait(&threads[me].turn) != 0) {
    }
    if (over) return NULL;
    turn_t turn;
    do {
      turn = step(me);
    } while (turn == KEEPS);
    if (turn == LEFT) return NULL;
  }
}

static void thread_join(int which) {
  FUZZ_CHECK(pthread_join(threads[which].handle, NULL) == 0);
  threads[which].running = false;
  thread_gone(which);
}

/* The first thread, which starts and joins the others. */
static void serve(void) {
  while (!over) {
    turn_t turn = step(0);
    if (turn != PASSED) continue;
    do {
      while (sem_wait(&threads[0].turn) != 0) {
      }
      if (left_thread != 0) thread_join(left_thread);
      left_thread = 0;
      int to = wanted;
      wanted = 0; /* before the baton goes on */
      turn = to != 0 ? pass(0, to) : KEEPS;
    } while (turn == PASSED);
  }
}

static void end_threads(void) {
  for (int i = 1; i < THREADS; i++) {
    if (!threads[i].running) continue;
    sem_post(&threads[i].turn);
    thread_join(i);
  }
}

static void free_all(void) {
  while (put_by_count > 0) {
    block_t* b = &blocks[put_by[--put_by_count]];
    b->put_by = false;
    live_add(b);
  }
  while (live_count > 0) free_one(&blocks[live[live_count / 2]], 0);
  FUZZ_CHECK(sorted_count == 0 && live_bytes == 0 && free_count == BLOCKS);
}

static void run(const uint8_t* data, size_t size) {
  static const long delays[] = {10, 0, -1, 1};
  input = (input_t){data, data + size};
  uint16_t options = take16(&input);
  for (size_t i = 0; i < BLOCKS; i++) free_ids[i] = (uint16_t)(BLOCKS - 1 - i);
  free_count = BLOCKS;
  for (int i = 0; i < THREADS; i++) {
    FUZZ_CHECK(sem_init(&threads[i].turn, 0, 0) == 0);
    threads[i].default_heap = -1;
  }
  setenv("FUZZ_VARIABLE", "/", 1);
  mi_register_error(&on_error, NULL);
  mi_register_output(&on_output, NULL);
  mi_option_set(mi_option_purge_delay, delays[options % 4]);
  if ((options & 4) != 0) mi_option_set(mi_option_arena_eager_commit, 0);
  if ((options & 8) != 0) mi_option_set(mi_option_arena_reserve, 1024);
  if ((options & 16) != 0) mi_option_set(mi_option_purge_decommits, 0);
  if ((options & 32) != 0) mi_option_set(mi_option_arena_max_object_size, 1024);
  if ((options & 64) != 0) mi_option_set(mi_option_arena_purge_mult, 0);

  serve();

  bad_errors = 0;
  if ((options & 256) != 0) free_all();
  end_threads();
  free_all();
  for (int i = 0; i < HEAPS; i++)
    if (heaps[i].heap != NULL) heap_remove(0, i, i % 2 == 0);
  mi_collect(true);
  FUZZ_CHECK(bad_errors == 0);
  mi_stats_t_decl(stats);
  FUZZ_CHECK(mi_stats_get(&stats));
  FUZZ_CHECK(mi_stats_get_json(sizeof json, json) == json && json_is_valid(json));
  /* Nothing is left, except blocks of the C library. */
  if (!FUZZ_OVERRIDE && stats.malloc_normal.current + stats.malloc_huge.current != 0)
    FUZZ_FAIL("%lld bytes are left", (long long)stats.malloc_normal.current);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz_apart(&run, data, size);
  return 0;
}
