/* world.h - the library, an operating system that is played to it, and what must hold at the end.
 *
 * Owns:    the memory that the library gets, the clock, the list of blocks and runs in use.
 * Always:  all of it is put back before each execution, as is the state of the library.
 *
 * A page, a slice and a heap here are the library's own; only os/unix.c is missing. The audit looks
 * at them when all threads have stopped, so it may read everything.
 */
#ifndef INTERLEAVE_WORLD_H
#define INTERLEAVE_WORLD_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "engine.h"
#include <sys/mman.h>

/* Never a single thread, whatever the C library says of this process. */
#define __libc_single_threaded engine_single_threaded

/* The compiler tells the engine of loads and stores, not of these. */
#include <string.h>
#define UNSEEN __attribute__((no_sanitize("thread")))
static inline void* seen_memset(void* p, int c, size_t n) {
  engine_write(p, n);
  return __builtin_memset(p, c, n);
}
static inline void* seen_memcpy(void* p, const void* q, size_t n) {
  engine_read(q, n);
  engine_write(p, n);
  return __builtin_memcpy(p, q, n);
}
#define memset seen_memset
#define memcpy seen_memcpy

/* all.c without os/, and without the top floor, which only reads. */
#include "base/bitmap.c"
#include "runtime/log.c"
#include "runtime/options.c"
#include "runtime/random.c"
#include "memory/usage.c"
#include "memory/meta.c"
#include "memory/page_map.c"
#include "memory/arena_list.c"
#include "memory/page_search.c"
#include "memory/slice_count.c"
#include "memory/slice_reuse.c"
#include "memory/thp.c"
#include "memory/arena.c"
#include "memory/arena_open.c"
#include "memory/purge_pace.c"
#include "memory/arena_purge.c"
#include "memory/arena_reserve.c"
#include "memory/limit.c"
#include "page/violation.c"
#include "page/page.c"
#include "page/block_state.c"
#include "page/canary.c"
#include "page/checked_block.c"
#include "page/abandoned.c"
#include "page/holes.c"
#include "heap/current.c"
#include "heap/page_queue.c"
#include "heap/heap_refill.c"
#include "heap/heap.c"
#include "heap/keep.c"
#include "heap/sparse.c"
#include "heap/quarantine.c"
#include "heap/heap_check.c"
#include "heap/guard_sampling.c"
#include "heap/kept_runs.c"
#include "heap/large.c"
#include "heap/large_move.c"
#include "heap/heap_free.c"
#include "thread/heap_registry.c"
#include "thread/purger.c"
#include "thread/fork.c"
#include "thread/init.c"
#include "thread/tick.c"
#include "thread/malloc_slow.c"
#include "api/malloc.c"
#include "api/free.c"
#include "api/block_size.c"
#include "api/aligned.c"
#include "api/realloc.c"
#include "api/heap_api.c"
#include "api/options_api.c"

/* ---- the operating system ---- */

#ifndef POOL_SIZE
#define POOL_SIZE (256 * MiB)
#endif
#define STRETCHES_MAX (POOL_SIZE / THP_SIZE)
#define SLICES_MAX (POOL_SIZE / SLICE_SIZE)

static struct {
  char* pool;
  size_t used;
  uint64_t clock_ms;
  bool advised[STRETCHES_MAX]; /* to use huge pages */
  bool shut[SLICES_MAX];       /* inaccessible */
} os;

UNSEEN static void set_shut(const void* p, size_t size, bool shut) {
  size_t i = (size_t)((const char*)p - os.pool) / SLICE_SIZE;
  for (size_t n = size / SLICE_SIZE; n > 0; n--) os.shut[i++] = shut;
}

static os_info_t os_info;
INTERNAL void os_init(void) {
  os_info = (os_info_t){.page_size = 4 * KiB, .ahead_max = GiB, .overcommits = true};
}

INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access) {
  char* p = (char*)round_up((uintptr_t)os.pool + os.used, align);
  if (size > POOL_SIZE - (size_t)(p - os.pool)) engine_violation("the pool is used up");
  os.used = (size_t)(p - os.pool) + size;
  if (access == OS_INACCESSIBLE) set_shut(p, size, true);
  return p;
}
INTERNAL void* os_reserve_large(size_t size, size_t align, bool* non_purgeable) {
  *non_purgeable = false;
  return os_reserve(size, align, OS_LAZY);
}
INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms) {
  (void)pages, (void)numa_node, (void)timeout_ms;
  return (os_huge_t){NULL, 0, true};
}
INTERNAL size_t os_numa_nodes(void) { return 1; }

UNSEEN static bool is_all_zero(const char* p, size_t size) {
  const uint64_t* words = (const uint64_t*)(const void*)p;
  for (size_t i = 0; i < size / 8; i++)
    if (words[i] != 0) return false;
  return true;
}

static bool reads_zero(const char* p, size_t size) {
  if (!engine_is_touched(p, size)) return true;
  for (size_t i = 0; i < size; i += 4 * KiB)
    if (engine_is_touched(p + i, 1) && !is_all_zero(p + i, 4 * KiB)) return false;
  return true;
}

static void zero_pages(char* p, size_t size) {
  for (; size > 0; p += 4 * KiB, size -= 4 * KiB) {
    if (!engine_is_touched(p, 1)) continue;
    engine_write(p, 8);
    engine_write(p + 4 * KiB - 8, 8);
    __builtin_memset(p, 0, 4 * KiB);
  }
}

INTERNAL void os_release(void* p, size_t size) { zero_pages(p, size); }
INTERNAL bool os_commit(void* p, size_t size) {
  set_shut(p, size, false);
  return true;
}
INTERNAL bool os_decommit(void* p, size_t size) {
  zero_pages(p, size);
  set_shut(p, size, true);
  return true;
}
INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero) {
  if (decommits) zero_pages(p, size);
  *zero = decommits;
  return true;
}
INTERNAL bool os_protect(void* p, size_t size) {
  (void)p, (void)size;
  return true;
}
INTERNAL bool os_guard(void* p, size_t size) {
  (void)p, (void)size;
  return false;
}
INTERNAL bool os_unguard(void* p, size_t size) { return (void)p, (void)size, true; }
INTERNAL bool os_shut(void* p, size_t size) { return (void)p, (void)size, false; }
INTERNAL bool os_open(void* p, size_t size) { return (void)p, (void)size, true; }
INTERNAL bool os_guards_are_mappings(void) { return false; }
INTERNAL bool os_guards_are_light(void) { return false; }
#if MI_SECURE > 0
INTERNAL uint64_t os_random(void) { return UINT64_C(0x9e3779b97f4a7c15); }
#endif
INTERNAL bool os_remap(void* p, size_t size) {
  zero_pages(p, size);
  return true;
}
INTERNAL bool os_move(void* dst, void* src, size_t size) {
  (void)dst, (void)src, (void)size;
  return false;
}
INTERNAL void* os_reserve_unlocked(size_t size) { return (void)size, NULL; }
INTERNAL bool os_munlock(void* p, size_t size) { return (void)p, (void)size, false; }
INTERNAL void os_disable_huge_pages(void) {}
INTERNAL void os_split_huge(void* p, size_t size) { (void)p, (void)size; }
INTERNAL size_t os_mapping_limit(void) { return SIZE_MAX; }
static bool* os_region(const void* p) {
  return &os.advised[(size_t)((const char*)p - os.pool) / THP_SIZE];
}
/* The system has a lock of its own here, so this is no race of ours. */
UNSEEN INTERNAL void os_advise_huge(void* p, size_t size, bool use) {
  for (size_t i = 0; i + THP_SIZE <= size; i += THP_SIZE) *os_region((char*)p + i) = use;
}
INTERNAL void os_advise_dump(void* p, size_t size, bool dump) { (void)p, (void)size, (void)dump; }
INTERNAL size_t os_resident(const void* p, size_t size) {
  (void)p;
  return size;
}

UNSEEN INTERNAL uint64_t os_clock_ms(void) { return os.clock_ms; }
UNSEEN static void pass_ms(uint64_t ms) { os.clock_ms += ms; }
INTERNAL uintptr_t os_thread_id(void) { return (uintptr_t)engine_thread() + 1; }
INTERNAL void os_nap(unsigned us) {
  (void)us;
  engine_wait();
}
INTERNAL _Noreturn void os_abort(void) { engine_violation("the library ends the program"); }
INTERNAL bool os_is_privileged(void) { return true; }
INTERNAL const char* os_environment(size_t i) {
  (void)i;
  return NULL;
}
INTERNAL void os_write_error(const char* text, size_t length) {
  engine_violation("the library says: %.*s", (int)length, text);
}
INTERNAL size_t os_container_limit(const char* root) { return (void)root, SIZE_MAX; }
INTERNAL void os_process(os_process_t* info) { *info = (os_process_t){0, 0, 0, 0, 0}; }
INTERNAL void os_lock(os_lock_t* lock) { engine_lock(lock); }
INTERNAL void os_unlock(os_lock_t* lock) { engine_unlock(lock); }
INTERNAL void os_lock_reset(os_lock_t* lock) { (void)lock; }
INTERNAL void os_thread_hook_remove(void) {}
INTERNAL int os_cancel_off(void) { return 0; }
INTERNAL void os_cancel_restore(int state) { (void)state; }
INTERNAL bool os_thread_hook(void (*hook)(void*)) { return hook != NULL; }
INTERNAL void os_thread_hook_set(void* value) { (void)value; }
INTERNAL void os_fork_begin(void) {}
INTERNAL void os_fork_end(void) {}
#if OS_HAS_HELPER
/* No purger: its words are never asked for. */
INTERNAL bool os_helper_start(void (*run)(void)) { return (void)run, false; }
INTERNAL bool os_helper_join(unsigned ms) { return (void)ms, true; }
INTERNAL void os_wait(_Atomic(uint32_t)* word, uint32_t value, unsigned ms) {
  (void)word, (void)value, (void)ms;
}
INTERNAL void os_wake(_Atomic(uint32_t)* word) { (void)word; }
INTERNAL uintptr_t os_process_id(void) { return 1; }
#endif
INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  (void)prepare, (void)parent, (void)child;
}

/* ---- whose turn it is ---- */

static struct {
  heap_t* heap[THREADS_MAX + 1]; /* each thread's default heap while it does not run */
  int now;                       /* before and after the threads run */
} turn = {{&heap_empty, &heap_empty, &heap_empty, &heap_empty}, DRIVER};

UNSEEN void world_leave(int thread) { turn.heap[thread] = heap_default; }
UNSEEN void world_enter(int thread) { heap_default = turn.heap[thread]; }
/* What follows is done by this thread; in the set-up and in the end only. */
static void as(int thread) {
  world_leave(turn.now);
  turn.now = thread;
  world_enter(thread);
}

/* ---- blocks and runs in use ---- */

#define LIVE_MAX 80

typedef struct live_s {
  char* start;
  size_t size;
} live_t;
static live_t live[LIVE_MAX]; /* blocks */
static live_t runs[LIVE_MAX]; /* slices that a thread has claimed itself */

UNSEEN static void hold(live_t* list, void* p, size_t size) {
  size_t at = LIVE_MAX;
  for (size_t i = 0; i < size; i += SLICE_SIZE)
    if (os.shut[(size_t)((char*)p + i - os.pool) / SLICE_SIZE])
      engine_violation("%p of %zu bytes is not accessible", p, size);
  for (size_t i = 0; i < LIVE_MAX; i++) {
    if (list[i].start == NULL) {
      if (at == LIVE_MAX) at = i;
    } else if ((char*)p < list[i].start + list[i].size && list[i].start < (char*)p + size) {
      engine_violation("%p of %zu bytes is allocated twice", p, size);
    }
  }
  if (at == LIVE_MAX) engine_violation("too many blocks");
  list[at] = (live_t){p, size};
}
UNSEEN static void unhold(live_t* list, void* p) {
  for (size_t i = 0; i < LIVE_MAX; i++)
    if (list[i].start == p) {
      list[i].start = NULL;
      return;
    }
  engine_violation("%p is given back and was not in use", p);
}

static uint64_t mark_of(const void* p) { return ~(uint64_t)(uintptr_t)p; }
static void mark(void* p, size_t size) {
  *(uint64_t*)p = *(uint64_t*)(void*)((char*)p + size - 8) = mark_of(p);
}
static void check_mark(void* p, size_t size) {
  if (*(uint64_t*)p != mark_of(p) || *(uint64_t*)(void*)((char*)p + size - 8) != mark_of(p))
    engine_violation("%p of %zu bytes was written to by another thread", p, size);
}

static void* held(void* p, size_t size) {
  if (p == NULL) engine_violation("no memory for %zu bytes", size);
  hold(live, p, size);
  mark(p, size);
  return p;
}
static void* take(size_t size) { return held(mi_malloc(size), size); }
static void* take_from(heap_t* heap, size_t size) { return held(mi_heap_malloc(heap, size), size); }
UNSEEN static size_t live_size(const void* p) {
  for (size_t i = 0; i < LIVE_MAX; i++)
    if (live[i].start == p) return live[i].size;
  engine_violation("%p is not in use", p);
}
static void give(void* p) {
  check_mark(p, live_size(p));
  unhold(live, p);
  mi_free(p);
}

/* A run of slices without a page; slice 0 if there is none. */
#define FOR_BLOCK ((placement_t){ZONE_PARTLY, 0, false})
#define FOR_PAGE ((placement_t){ZONE_SMALL, 0, true})
#define FOR_LARGE ((placement_t){ZONE_LARGE, 0, false})
static run_t take_run(uint32_t count, uint32_t align, placement_t use) {
  run_t run = arena_alloc(AFFINITY_ANY, count, align, use);
  if (run.slice == 0) return run;
  char* p = slice_address(run.slice);
  hold(runs, p, count * SLICE_SIZE);
  for (uint32_t i = 0; i < count; i++) {
    engine_read(p + i * SLICE_SIZE, 8);
    if (run.zero && !reads_zero(p + i * SLICE_SIZE, SLICE_SIZE))
      engine_violation("slices that should be zero are not");
    mark(p + i * SLICE_SIZE, SLICE_SIZE);
  }
  return run;
}
static void give_run(run_t run, uint32_t count) {
  char* p = slice_address(run.slice);
  for (uint32_t i = 0; i < count; i++) check_mark(p + i * SLICE_SIZE, SLICE_SIZE);
  unhold(runs, p);
  arena_free(run.arena, run.slice, count);
}

/* ---- what must hold when no thread runs ---- */

#define BLOCKS_PER_PAGE (SLICE_SIZE / 8)
static size_t owned_pages; /* that the walk over the slices met */
static size_t kept_slices; /* the same */

static size_t audit_list(page_t* page, const block_t* list, uint8_t* seen, const char* name) {
  size_t n = 0;
  for (const block_t* b = list; b != NULL; b = block_next(page, b), n++) {
    size_t offset = (size_t)((const char*)b - page_start(page)), i = offset / page->block_size;
    if ((const char*)b < page_start(page) || i >= page->capacity || i * page->block_size != offset)
      engine_violation("the %s list has %p, which is no block of the page", name, (const void*)b);
    if (seen[i]++ != 0)
      engine_violation("block %p of the %s list is in another place too", (const void*)b, name);
  }
  return n;
}

static void audit_owner(page_t* page, uintptr_t owner) {
  heap_t* heap = (heap_t*)(owner & ~(uintptr_t)OWNER_FLAGS);
  size_t places = 0;
  owned_pages++;
  if (heap != registry.fallback && heap_backing(heap) == NULL)
    engine_violation("a page belongs to a heap that has ended");
  const queue_t* q = &heap->queue[page_class(page)];
  if (q->active == page) places++;
  for (const page_t* p = q->first; p != NULL; p = p->next) places += p == page;
  if (places != 1) engine_violation("a page is in %zu places of its heap", places);
  if (page_in_holes(page) != 0 && q->active != page)
    engine_violation("a page of a partial list has holes");
  if ((owner & OWNER_FLAGS) != (page_has_flag(page, PAGE_INTERIOR | PAGE_FULL) ? OWNER_SLOW : 0))
    engine_violation("the owner word of a page has the flags %zu", (size_t)(owner & OWNER_FLAGS));
}

static void audit_unowned(arena_t* a, page_t* page, size_t out) {
  size_t i = page->slice - a->first_slice, chunk = i / CHUNK_SLICES, cls = page_class(page);
  if (out == 0)
    engine_violation("all blocks of an abandoned page are free, and no thread released it");
  if (page->reserved - out < page_claimable_count(page) || !may_be_claimed(page)) return;
  if (!bitmap_any(line_of(a, chunk, cls)->bits, i % CHUNK_SLICES, 1) ||
      (load_relaxed(&a->abandoned_summary[cls]) & (UINT64_C(1) << (chunk % 64))) == 0)
    engine_violation("an abandoned page with free blocks cannot be found");
}

/* A sparse page with a unit that could be a hole is published, with a time. */
static void audit_holes(arena_t* a, page_t* page, const uint8_t* in_use, size_t out) {
  if (out > sparse_max(page->capacity) || page->capacity * page->block_size < 4 * page_unit(page))
    return;
  for (size_t u = 0; u < PAGE_UNITS; u++) {
    size_t first, end;
    page_unit_blocks(page, u, u + 1, &first, &end);
    bool busy_unit = first >= end || end > page->capacity || (page->holes >> u & 1) != 0;
    for (size_t i = first; i < end; i++) busy_unit |= in_use[i] != 0;
    if (busy_unit || option_value(mi_option_purge_delay) < 0) continue;
    if (!bitmap_any(a->sparse, page->slice - a->first_slice, 1) || load_relaxed(&sparse_at) == 0)
      engine_violation("unit %zu of a sparse page has memory, and no thread finds it to purge", u);
  }
}

static void audit_page(arena_t* a, page_t* page, uintptr_t owner) {
  static uint8_t seen[BLOCKS_PER_PAGE];
  __builtin_memset(seen, 0, page->capacity);
  uint64_t word = load_relaxed(map_remote(page->slice));
  heap_t* heap = (heap_t*)(owner & ~(uintptr_t)OWNER_FLAGS);
  size_t local = audit_list(page, page->local, seen, "local");
  size_t remote = audit_list(page, remote_list(word), seen, "remote");
  static uint8_t used_here[BLOCKS_PER_PAGE];
  __builtin_memset(used_here, 0, sizeof used_here);
  size_t detached = 0, in_use = 0, holes = page_in_holes(page);
  if (remote_is_owned(word) && heap->queue[page_class(page)].active == page)
    detached = audit_list(page, heap->free_list[page_class(page)], seen, "detached");
  for (size_t i = 0; i < LIVE_MAX; i++) {
    if (live[i].start == NULL || live[i].start < page_start(page) ||
        live[i].start >= page_start(page) + page_slices(page) * SLICE_SIZE)
      continue;
    size_t k = (size_t)(live[i].start - page_start(page)) / page->block_size;
    if (seen[k]++ != 0) engine_violation("block %p is in use, and free", (void*)live[i].start);
    used_here[k] = 1;
    in_use++;
  }
  if (local + remote + detached + in_use + holes != page->capacity)
    engine_violation(
        "of %u blocks %zu are local, %zu remote, %zu detached, %zu in use, %zu in holes",
        page->capacity, local, remote, detached, in_use, holes);
  if (page_used(page) != page->capacity - local)
    engine_violation("%u blocks count as used, and %zu of %u are local", page_used(page), local,
                     page->capacity);
  if (remote_is_owned(word) == ((owner & OWNER_ABANDONED) != 0))
    engine_violation("owner word and remote word do not agree");
  if (remote_is_owned(word)) {
    if (remote_count(word) != remote)
      engine_violation("%zu blocks count as queued, and there are %zu", remote_count(word), remote);
    audit_owner(page, owner);
  } else {
    if (remote_outstanding(word) != in_use)
      engine_violation("%zu blocks count as out, and %zu are", remote_outstanding(word), in_use);
    audit_unowned(a, page, in_use);
    audit_holes(a, page, used_here, in_use);
  }
}

static void audit_large(page_t* page, uintptr_t owner) {
  size_t places = 0;
  for (size_t i = 0; i < LIVE_MAX; i++) places += live[i].start == page_start(page);
  if (places != 1) engine_violation("a large block that is not in use has a page");
  heap_t* heap = owner_heap_or_null(owner);
  if (owner <= OWNER_TAG(OWNER_TAG_MAX) + OWNER_FLAGS) heap = NULL;
  if (heap != NULL && heap_backing(heap) == NULL)
    engine_violation("a large block belongs to a heap that has ended");
  if (heap == NULL || !heap->is_first_class) return;
  places = 0;
  for (const page_t* p = heap->large.first; p != NULL; p = p->next) places += p == page;
  if (places != 1) engine_violation("a large block is %zu times in its heap's list", places);
}

static void audit_free_slice(arena_t* a, size_t i) {
  page_t* slot = map_descriptor_of_slice(a->first_slice + (uint32_t)i);
  if (load_relaxed(&slot->owner) != 0) engine_violation("free slice %zu is in a page", i);
  if (!bitmap_any(a->dirty, i, 1) &&
      !reads_zero(slice_address(a->first_slice + (uint32_t)i), SLICE_SIZE))
    engine_violation("free slice %zu should be zero and is not", i);
  if (bitmap_any(a->purge, i, 1) && a->thp_regions == 0 && load_relaxed(&purge_at) == 0)
    engine_violation("free slice %zu is pending, and no purge is scheduled", i);
}

/* Slices that a page or a run takes: none is free too. */
static void audit_taken(arena_t* a, size_t i, size_t n) {
  if (i + n > a->slices || bitmap_any(a->free, i, n))
    engine_violation("slices from %zu on, %zu of them, are in use and free", i, n);
  if (bitmap_any(a->purge, i, n)) engine_violation("slices in use are pending");
}

/* A run that a heap keeps: a purge finds it, and will come. Returns its slices. */
static size_t audit_kept(arena_t* a, page_t* page, size_t i) {
  audit_taken(a, i, page_slices(page));
  if (!bitmap_any(a->kept, i, 1) || load_relaxed(&purge_at) == 0)
    engine_violation("the run at slice %zu is kept, and no purge finds it", i);
  kept_slices += page_slices(page);
  return page_slices(page);
}

/* The length of what begins at slice `i`, which is not free. */
static size_t audit_used_slice(arena_t* a, size_t i) {
  uint32_t slice = a->first_slice + (uint32_t)i;
  for (size_t k = 0; k < LIVE_MAX; k++)
    if (runs[k].start == slice_address(slice)) {
      audit_taken(a, i, runs[k].size / SLICE_SIZE);
      return runs[k].size / SLICE_SIZE;
    }
  page_t* page = map_descriptor_of_slice(slice);
  uintptr_t owner = load_relaxed(&page->owner);
  if (owner == 0 && (load_relaxed(map_remote(slice)) & REMOTE_KEPT) != 0)
    return audit_kept(a, page, i);
  if (owner == 0) engine_violation("slice %zu is lost", i);
  if ((owner & OWNER_INTERIOR) != 0) engine_violation("slice %zu is inside of no page", i);
  if (page->slice != slice) engine_violation("the page of slice %zu begins elsewhere", i);
  audit_taken(a, i, page_slices(page));
  if ((owner & OWNER_LARGE) != 0) {
    audit_large(page, owner);
  } else {
    for (uint32_t k = 1; k < page_slices(page); k++)
      if (load_relaxed(&map_descriptor_of_slice(slice + k)->owner) != ((k << 6) | OWNER_INTERIOR))
        engine_violation("slice %zu is not marked as inside of its page", i + k);
    audit_page(a, page, owner);
  }
  return page_slices(page);
}

static void audit_arena(arena_t* a) {
  size_t free = 0;
  kept_slices = 0;
  for (size_t i = 0; (i = arena_closed_end(a, i)) < a->slices;) {
    if (bitmap_any(a->free, i, 1)) {
      audit_free_slice(a, i++);
      free++;
    } else {
      i += audit_used_slice(a, i);
    }
  }
  if (free != load_relaxed(&a->free_count))
    engine_violation("%zu slices count as free, and %zu are", load_relaxed(&a->free_count), free);
  size_t waiting = bitmap_count(a->purge, a->slices) + kept_slices;
  if (waiting != load_relaxed(&a->waiting))
    engine_violation("%zu slices count as waiting, and %zu are", load_relaxed(&a->waiting),
                     waiting);
  for (size_t s = 0; s < a->thp_regions; s++)
    if (bitmap_any(a->huge, s, 1) && !*os_region(thp_address(a, s)))
      engine_violation("huge-page region %zu counts as advised, and is not", s);
}

static void audit_heap(heap_t* heap, size_t* pages) {
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) {
    queue_t* q = &heap->queue[cls];
    *pages += q->active != NULL;
    for (page_t* p = q->first; p != NULL; p = p->next) ++*pages;
  }
  for (page_t* p = heap->large.first; p != NULL; p = p->next)
    if (load_relaxed(&p->owner) != ((uintptr_t)heap | OWNER_LARGE))
      engine_violation("a heap's list has a large block that is not the heap's");
}

static void audit(void) {
  if (engine_is_locked()) engine_violation("a lock is still held");
  if (load_relaxed(&in_flight) != 0) engine_violation("slices stay in transit");
  if (load_relaxed(&busy)) engine_violation("a thread still makes holes");
  size_t pages = 0;
  owned_pages = 0;
  for (size_t i = 0; arena_at(i) != NULL; i++) audit_arena(arena_at(i));
  for (heap_t* heap = registry.live.first; heap != NULL; heap = heap->next)
    audit_heap(heap, &pages);
  if (registry.fallback != NULL) audit_heap(registry.fallback, &pages);
  if (pages != owned_pages)
    engine_violation("heaps have %zu pages, and %zu belong to heaps", pages, owned_pages);
}

/* Everything is freed, and then nothing is left. */
static void world_end(void) {
  audit();
  for (size_t i = 0; i < LIVE_MAX; i++)
    if (live[i].start != NULL) give(live[i].start);
  for (size_t i = 0; i < LIVE_MAX; i++)
    if (runs[i].start != NULL) {
      uint32_t slice = (uint32_t)((uintptr_t)runs[i].start >> SLICE_SHIFT);
      give_run((run_t){.slice = slice, .arena = arena_of(runs[i].start)->index},
               (uint32_t)(runs[i].size / SLICE_SIZE));
    }
  for (int t = 0; t < THREADS_MAX; t++) {
    as(t);
    mi_thread_done();
  }
  as(DRIVER);
  mi_collect(true);
  audit();
  for (size_t i = 0; arena_at(i) != NULL; i++) {
    arena_t* a = arena_at(i);
    size_t left = load_relaxed(&a->opened) - bitmap_count(a->free, a->slices);
    if (left != 0) engine_violation("%zu slices do not come back", left);
    if (option_value(mi_option_purge_delay) >= 0 && bitmap_any(a->dirty, 0, a->slices))
      engine_violation("slices are not purged");
  }
  thread_stats_t stats;
  thread_stats(&stats);
  size_t blocks = load_relaxed(&stats.large.allocated) - load_relaxed(&stats.large.freed);
  size_t bytes =
      load_relaxed(&stats.large.bytes_allocated) - load_relaxed(&stats.large.bytes_freed);
  if (blocks != 0 || bytes != 0 || load_relaxed(&large_state.reserved) != 0)
    engine_violation("%zu large blocks of %zu bytes are left", blocks, bytes);
  if (registry.threads != 1 || registry.stats.heaps != 0)
    engine_violation("%zu threads and %zu heaps are left", registry.threads, registry.stats.heaps);
}

/* ---- the beginning ---- */

static void on_error(int code, void* arg) {
  (void)arg;
  engine_violation("the library reports error %d", code);
}

/* Memory, and nothing else. */
static void world_memory(void) {
  char* p = mmap((void*)(UINTPTR_MAX / 65536 / 4 + 1), POOL_SIZE + THP_SIZE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) engine_violation("no memory");
  os.pool = (char*)round_up((uintptr_t)p, THP_SIZE);
  os.clock_ms = 1000;
  engine_add_memory(os.pool, POOL_SIZE);
  mi_register_error(&on_error, NULL);
}

/* One arena, and no other if `slices` is not 0. The driver has a heap; the threads have none. */
static void world_begin(size_t slices, long purge_delay) {
  world_memory();
  mi_process_init();
  mi_option_set(mi_option_purge_delay, purge_delay);
  mi_thread_init();
  if (slices == 0) return;
  if (arena_reserve_memory(slices * SLICE_SIZE, true, false, false) == NULL)
    engine_violation("no arena");
  mi_option_set(mi_option_disallow_os_alloc, 1);
}

#endif
