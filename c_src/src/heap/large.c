/* large.c - blocks that are pages of their own.
 *
 * Owns:    the list of OS-mapped blocks, and the lists of large blocks of heaps that keep all.
 * Always:  while the block lives, the owner word of its first slice has OWNER_LARGE and the id of
 *          the heap that the block was allocated from. The thread that holds the block owns it.
 * Threads: any; large_lock guards the lists.
 *
 * Owner word. The holder of the block may free it at any time: an exchange makes the word 0, and
 * only the thread whose exchange succeeds returns the memory. The end of a heap changes the owner
 * id of its blocks by an exchange of the same word, so a free repeats its exchange if the word has
 * changed. A block leaves its heap's list after its word became 0 and before its memory is
 * returned. A thread that walks the list holds the lock, and may find blocks with the word 0 in it.
 *
 * Readers. Other threads that read a block (visitors, statistics) never make its holder wait, and
 * never wait themselves. They read the owner word, then the size, then the owner word again. The
 * size is one word: the remote word, which a large block does not need for frees. So a reader sees
 * the size before or after a resize, never a mixture. Each life of a block stores its size after
 * the life before made the owner word 0, and before its own owner word. Each of these stores
 * releases. So if both reads of the owner word agree, the size is that of a life with this owner
 * word; else the reader starts again. It starts again only after another thread has freed a block,
 * made one, or changed its owner id.
 */
#include "large.h"
#include "../base/list.h"
#include "../base/checker.h"
#include "../memory/arena.h"
#include "../memory/arena_list.h"
#include "../memory/arena_purge.h"
#include "../memory/arena_reserve.h"
#include "../memory/page_map.h"
#include "../memory/slice_reuse.h"
#include "../memory/thp.h"
#include "../memory/usage.h"
#include "../page/page.h"
#include "../runtime/log.h"
#include "../runtime/options.h"
#include "current.h"
#include "kept_runs.h"
#include <errno.h>

static os_lock_t large_lock = OS_LOCK_INIT;

static struct {
  page_list_t os_mapped;             /* list of OS-mapped blocks */
  _Atomic(size_t) reserved, guarded; /* relaxed: statistics */
  _Atomic(size_t) mappings;          /* of moved blocks; relaxed: a budget that is kept roughly */
  _Atomic(uint32_t)
      dense_slices; /* of the last OS-mapped block, if it was dense; relaxed: a hint */
} large_state;

/* ---- the owner word ---- */

/* Stores the size in the remote word; REMOTE_OWNED makes late claims of a small page fail. */
INTERNAL void set_usable(page_t* page, size_t usable) {
  page->block_size = usable;
  /* Release: after the owner word of the life before became 0, see above. */
  store_release(map_remote(page->slice), usable | REMOTE_LARGE | REMOTE_OWNED);
}

/* ---- counts ---- */

/* Of heaps that have ended, and of threads without one. */
static large_counts_t ended_counts;

/* Only its thread writes the counts of a heap. */
static void add_to_count(heap_t* heap, _Atomic(size_t)* count, size_t n) {
  if (likely(heap_is_real(heap)))
    bump_counter(count, n);
  else
    add_relaxed(count, n);
}
static large_counts_t* counts_of(heap_t* heap) {
  return likely(heap_is_real(heap)) ? &heap->large_counts : &ended_counts;
}
static void count_allocated(heap_t* heap, size_t blocks, size_t bytes) {
  add_to_count(heap, &counts_of(heap)->allocated, blocks);
  add_to_count(heap, &counts_of(heap)->bytes_allocated, bytes);
}
static void count_freed(size_t blocks, size_t bytes) {
  add_to_count(heap_default, &counts_of(heap_default)->freed, blocks);
  add_to_count(heap_default, &counts_of(heap_default)->bytes_freed, bytes);
}
static void add_counts(large_counts_t* to, const large_counts_t* from) {
  add_relaxed(&to->allocated, load_relaxed(&from->allocated));
  add_relaxed(&to->freed, load_relaxed(&from->freed));
  add_relaxed(&to->bytes_allocated, load_relaxed(&from->bytes_allocated));
  add_relaxed(&to->bytes_freed, load_relaxed(&from->bytes_freed));
}
INTERNAL void large_count_ended(heap_t* heap) {
  add_counts(&ended_counts, &heap->large_counts);
  memset(&heap->large_counts, 0, sizeof(heap->large_counts));
}
INTERNAL void large_add_counts(large_counts_t* sum, const heap_t* heap) {
  add_counts(sum, heap == NULL ? &ended_counts : &heap->large_counts);
}

/* ---- lists ---- */

static void os_mapped_link(page_t* page) {
  os_lock(&large_lock);
  LIST_PUSH_FRONT(&large_state.os_mapped, page, os_mapped_next, os_mapped_prev);
  add_relaxed(&large_state.reserved, page_span(page));
  os_unlock(&large_lock);
}

static void os_mapped_unlink(page_t* page) {
  os_lock(&large_lock);
  LIST_REMOVE(&large_state.os_mapped, page, os_mapped_next, os_mapped_prev);
  sub_relaxed(&large_state.reserved, page_span(page));
  os_unlock(&large_lock);
}

static void heap_link(heap_t* heap, page_t* page) {
  os_lock(&large_lock);
  LIST_PUSH_FRONT(&heap->large, page, next, prev);
  add_relaxed(&heap->large_bytes, page_span(page));
  os_unlock(&large_lock);
}

/* Caller holds large_lock. A block that large_abandon has unlinked is in no list. */
static void heap_unlink(heap_t* heap, page_t* page) {
  if (!LIST_HAS(&heap->large, page, prev)) return;
  LIST_REMOVE(&heap->large, page, next, prev);
  sub_relaxed(&heap->large_bytes, page_span(page));
}

INTERNAL bool large_may_grow(page_t* page, size_t slices) {
  heap_t* heap = owner_heap_or_null(load_relaxed(&page->owner));
  size_t limit = heap == NULL ? 0 : load_relaxed(&heap->limit);
  if (likely(limit == 0)) return true;
  if (heap_backing(heap) == heap_backing(heap_default)) return heap_has_room(heap, slices);
  return load_relaxed(&heap->large_bytes) + slices * SLICE_SIZE <= limit; /* another thread's */
}

/* The holder of the block has changed its span. */
INTERNAL void large_count_span(page_t* page, size_t before) {
  heap_t* heap = owner_heap_or_null(load_relaxed(&page->owner));
  if (heap == NULL || !heap_keeps_all(heap) || page_span(page) == before) return;
  os_lock(&large_lock);
  if (LIST_HAS(&heap->large, page, prev)) add_relaxed(&heap->large_bytes, page_span(page) - before);
  os_unlock(&large_lock);
}

/* ---- new and free ---- */

static void os_mapped_release(void* p, size_t size) {
  os_release(p, size);
  usage_discharge(size);
}

/* Maps a run of slices of its own; `slice` is 0 if the kernel refuses. */
static run_t os_mapped_alloc(uint32_t slices, size_t align) {
  run_t run = {0, ARENA_NONE, true, false, false};
  if (option_value(mi_option_disallow_os_alloc) != 0) return run;
  size_t size = (size_t)slices * SLICE_SIZE;
  if (!usage_charge(size)) return run;
  void* p = os_reserve(size, max_size(align, THP_SIZE), OS_COMMITTED);
  if (p == NULL) p = os_reserve(size, max_size(align, SLICE_SIZE), OS_COMMITTED);
  if (p == NULL) {
    usage_discharge(size);
    return run;
  }
  os_lock(&arena_lock);
  bool mapped = map_extend(p, size);
  os_unlock(&arena_lock);
  if (mapped)
    run.slice = (uint32_t)((uintptr_t)p >> SLICE_SHIFT);
  else
    os_mapped_release(p, size);
  if (mapped && option_value(mi_option_allow_thp) != 2) os_advise_huge(p, size, false);
  return run;
}

/* ---- huge pages and mappings ---- */

/* An OS-mapped block has no address that was used before. One of the same size as the last is
 * likely the same buffer again. */
INTERNAL void large_advise(page_t* page, uint32_t from, bool dense) {
  uint32_t slices = (uint32_t)slices_of(page->block_size);
  if (slices < LARGE_HUGE) return;
  if (page->arena != ARENA_NONE)
    thp_advise(page->arena, page->slice + from, slices - from, dense);
  else if (thp_is_wanted() && (dense || slices == load_relaxed(&large_state.dense_slices)))
    os_advise_huge(page_start(page), slices / THP_SLICES * THP_SIZE, true);
}

INTERNAL bool large_note_use(page_t* page) {
  uint32_t slices = (uint32_t)slices_of(page->block_size);
  if (page->arena != ARENA_NONE) return thp_note_use(page->arena, page->slice, slices);
  bool dense = thp_is_dense(page_start(page), page->block_size);
  store_relaxed(&large_state.dense_slices, dense ? slices : 0);
  return dense;
}

/* A page of an OS-mapped block has no field for the count. There are few such blocks. */
INTERNAL void large_set_mappings(page_t* page, size_t count) {
  if (page->arena == ARENA_NONE) return;
  add_relaxed(&large_state.mappings, count - page->mappings);
  page->mappings = (uint16_t)count;
}

/* Moved blocks may hold so many mappings, and one more for so many bytes in use: so the
 * larger blocks are moved, where a copy costs more. In all a quarter of the system's limit. */
#define MAPPINGS_FREE 1024
#define MAPPING_BYTES (16 * MiB)

INTERNAL bool large_may_move(void) {
  size_t most = MAPPINGS_FREE + arena_slices_in_use() / (MAPPING_BYTES / SLICE_SIZE);
  return load_relaxed(&large_state.mappings) < min_size(most, os_mapping_limit() / 4);
}

/* See arena_is_movable. */
INTERNAL bool is_movable(const page_t* page) {
  return page->arena == ARENA_NONE || arena_is_movable(arena_at(page->arena));
}
INTERNAL void large_guard(page_t* page, bool wanted) {
  if (!wanted || large_guard_span(page) == 0 || !is_movable(page)) return;
  char* end = page_start(page) + page->block_size;
  page_set_flag(page, PAGE_GUARDED, guard_set(end, large_guard_span(page)));
}
INTERNAL bool large_unguard(page_t* page) {
  if (!page_has_flag(page, PAGE_GUARDED)) return true;
  if (!guard_remove(page_start(page) + page->block_size, large_guard_span(page))) return false;
  page_set_flag(page, PAGE_GUARDED, false);
  return true;
}

/* Secure builds: larger blocks, in slices, are OS-mapped, each at a random address that is hardly
 * ever used twice. */
#define LARGE_APART CLOSE_LIGHTLY_MAX

/* A run of slices from an arena. A very large run is OS-mapped instead, so that it does not use up
 * the arenas. If one source fails the other is tried; `slice` is 0 if both fail. */
static run_t large_reserve(heap_t* heap, size_t slices, size_t align) {
  affinity_t affinity = heap_is_real(heap) ? heap->affinity : AFFINITY_ANY;
  size_t align_slices = max_size(align >> SLICE_SHIFT, 1);
  size_t most = option_size(mi_option_arena_max_object_size) / SLICE_SIZE;
  bool any = affinity.arena == ARENA_NONE;
  bool os_mapped = any && (slices > min_size(most, ARENA_RUN_MAX) || align_slices > ARENA_RUN_MAX ||
                           (SECURE_GUARDS && slices > LARGE_APART));
  run_t run = {0, ARENA_NONE, true, false, false};
  if (os_mapped) run = os_mapped_alloc((uint32_t)slices, align);
  if (run.slice == 0)
    run = arena_alloc(affinity, (uint32_t)slices, (uint32_t)align_slices,
                      (placement_t){slices < LARGE_HUGE ? ZONE_PARTLY : ZONE_LARGE, 0, false});
  if (run.slice == 0 && any && !os_mapped) run = os_mapped_alloc((uint32_t)slices, align);
  return run;
}

static page_t* large_init(run_t run, size_t usable, size_t slices) {
  page_t* page = map_descriptor_of_slice(run.slice);
  page->next = page->prev = NULL;
  page->slice = run.slice;
  page_set_slices(page, slices);
  set_usable(page, usable);
  page->arena = run.arena;
  store_relaxed(&page->cls, CLASS_LARGE);
  store_relaxed(&page->fragment, 0);
  store_relaxed(&page->flags, 0);
#if MI_SECURE > 0
  store_relaxed(&page->issued, (uintptr_t)page_start(page));
#endif
  canary_new_key(page);
  if (run.arena == ARENA_NONE)
    os_mapped_link(page);
  else
    page->mappings = 0;
  large_advise(page, 0, false);
  large_guard(page, MI_SECURE > 0);
  return page;
}

/* Makes the block visible to other threads, and counts it. */
static void large_publish(heap_t* heap, page_t* page) {
  /* Release, pairs with the acquire in large_view: the size. */
  store_release(&page->owner, (heap_is_real(heap) ? (uintptr_t)heap : 0) | OWNER_LARGE);
  if (heap_keeps_all(heap)) heap_link(heap, page);
  count_allocated(heap, 1, page->block_size);
}

INTERNAL page_t* large_new(heap_t* heap, size_t usable, size_t slices, size_t align, bool* zero) {
  run_t run = {0, ARENA_NONE, false, false, false};
  bool room = likely(load_relaxed(&heap->limit) == 0) || heap_has_room(heap, slices);
  if (slices <= UINT32_MAX >> 1 && room &&
      (align > SLICE_SIZE || !heap_is_real(heap) || !run_take(heap, &slices, &run)))
    run = large_reserve(heap, slices, align);
  if (run.slice == 0) return NULL;
  page_t* page = large_init(run, usable, slices);
  large_publish(heap, page);
  track_hide(page_start(page), page_span(page));
  *zero = run.zero;
  return page;
}

static void quarantine_run(uint16_t arena, uint32_t slice, uint32_t count) {
#if SECURE_QUARANTINE
  quarantine_put_run(arena, slice, count);
#else
  arena_free(arena, slice, count);
#endif
}
INTERNAL void large_flush_quarantine(void) {
#if SECURE_QUARANTINE
  quarantine_leave_runs();
#endif
}

INTERNAL bool remap_slices(uint16_t arena, uint32_t slice, uint32_t count) {
  bool zero, remapped = thp_remap(arena, slice, count);
  if (!remapped) (void)os_purge(slice_address(slice), count * SLICE_SIZE, true, &zero);
  return remapped;
}

INTERNAL void return_slices(uint16_t arena, uint32_t slice, uint32_t count, size_t used) {
  if (slices_leave(arena, slice, count, used) && count <= LARGE_APART)
    quarantine_run(arena, slice, count);
  else
    arena_free(arena, slice, count);
}

static void large_release(page_t* page) {
  char* start = page_start(page);
  size_t span = page_span(page);
  if (page->block_size >= LARGE_HUGE * SLICE_SIZE && !page_has_flag(page, PAGE_LEFT))
    (void)large_note_use(page);
  /* A light guard is unmapped with its block, or becomes part of the closed slices. */
  bool stays = SECURE_GUARDS && os_guards_are_light();
  bool accessible = stays ? !page_has_flag(page, PAGE_GUARDED) : large_unguard(page);
  if (page->arena == ARENA_NONE) {
    os_mapped_unlink(page);
    track_open(start, span); /* other code may map these addresses next */
    os_mapped_release(start, span);
    return;
  }
  if (page_has_flag(page, PAGE_MOVED)) {
    if (!remap_slices(page->arena, page->slice, page_slices(page))) return;
    large_set_mappings(page, 0);
  }
  if (!accessible) {
    if (MI_SECURE == 0) return;                                 /* leaked instead of reused */
    uint32_t first = (uint32_t)(page->block_size / SLICE_SIZE); /* a guard is in two at most */
    uint32_t count = (uint32_t)min_size(page_slices(page) - first, 2);
    guard_note(page->arena, page->slice + first, count);
  }
  return_slices(page->arena, page->slice, page_slices(page), page->block_size);
}

/* Ends the block's life; true for the one caller that must return its memory. */
static bool large_take(page_t* page, uintptr_t* owner) {
  *owner = load_relaxed(&page->owner);
  do {
    if (!owner_is_large(*owner)) return false;
    /* Acquire, pairs with the release in large_abandon. */
  } while (!cas_acquire(&page->owner, owner, 0));
  count_freed(1, page->block_size);
  return true;
}

INTERNAL void large_free(page_t* page, void* p) {
  uintptr_t owner;
  if (!large_take(page, &owner)) {
#if MI_SECURE > 0
    violation_freed_twice(page, p);
#else
    log_error(EAGAIN, "double free detected of large block %p\n", p);
#endif
    return;
  }
  heap_t* heap = owner_heap_or_null(owner);
  if (heap != NULL && heap_keeps_all(heap)) { /* may be read after the heap's end */
    os_lock(&large_lock);
    heap_unlink(heap, page);
    os_unlock(&large_lock);
  }
  uint32_t slice = (uint32_t)((uintptr_t)p >> SLICE_SHIFT);
  if (slice != page->slice) map_clear(slice, 1);
  if ((heap != NULL && heap_keeps_all(heap)) || !run_keep(page)) large_release(page);
}

/* ---- the end of a heap ---- */

INTERNAL bool large_abandon(heap_t* heap, heap_t* to, size_t* blocks) {
  uintptr_t id = to != NULL ? (uintptr_t)to : OWNER_TAG(heap->tag);
  os_lock(&large_lock);
  for (page_t* page; (page = heap->large.first) != NULL && *blocks > 0; (*blocks)--) {
    heap_unlink(heap, page);
    uintptr_t owner = (uintptr_t)heap | OWNER_LARGE;
    /* Fails if another thread is freeing the block. Release, pairs with the acquire in large_take:
     * the links of the block, which the next page at these slices writes. */
    (void)cas_acq_rel(&page->owner, &owner, id | OWNER_LARGE);
  }
  bool none = heap->large.first == NULL;
  os_unlock(&large_lock);
  return none;
}

INTERNAL void large_destroy(heap_t* heap) {
  for (;;) {
    os_lock(&large_lock);
    page_t* page = heap->large.first;
    uintptr_t owner;
    bool taken = false;
    if (page != NULL) {
      heap_unlink(heap, page);
      taken = large_take(page, &owner);
    }
    os_unlock(&large_lock);
    if (page == NULL) return;
    if (!taken) continue;
    /* If the block was issued at an interior pointer, one of its slices is marked. */
    if (page_has_flag(page, PAGE_INTERIOR)) map_clear(page->slice, page_slices(page));
    large_release(page);
  }
}

INTERNAL void large_unload(void) { memset(&large_state, 0, sizeof(large_state)); }

INTERNAL void large_mark(page_t* page, void* p) {
  uint32_t distance = (uint32_t)((uintptr_t)p >> SLICE_SHIFT) - page->slice;
  page_set_flag(page, PAGE_INTERIOR, true);
#if MI_SECURE > 0
  store_relaxed(&page->issued, (uintptr_t)p);
#endif
  if (distance > 0) map_mark_interior(page, distance, 1);
}

/* From this size on the kernel clears the memory, when it is touched. Below, if little of the
 * memory is resident: so a sparse table stays sparse. */
#define ZERO_BY_SYSTEM (32 * MiB)
static bool is_zeroed_by_system(const char* p, size_t size) {
  return size >= ZERO_BY_SYSTEM ||
         (size >= LARGE_HUGE * SLICE_SIZE && thp_can_measure() && !thp_is_dense(p, size));
}

INTERNAL void zero_memory(page_t* page, size_t size) {
  char* p = page_start(page);
  bool zero = false;
  track_open(p, size);
  bool dropped = is_movable(page) && is_zeroed_by_system(p, size) && os_purge(p, size, true, &zero);
  if (!dropped || !zero) memset(p, 0, size);
}

INTERNAL void* large_new_guarded(heap_t* heap, size_t size, size_t align) {
  size_t usable = usable_for(size);
  bool is_zero;
  page_t* page = large_new(heap, usable, slices_of(usable + os_info.page_size), align, &is_zero);
  if (page == NULL) return NULL;
  large_guard(page, !page_has_flag(page, PAGE_GUARDED));
  if (page_has_flag(page, PAGE_GUARDED)) add_relaxed(&large_state.guarded, 1);
  if (!is_zero) zero_memory(page, usable);
  char* p = page_start(page) + round_down(usable - CANARY_SIZE - size, align);
  if (p != page_start(page)) large_mark(page, p);
  return p;
}

/* ---- queries ---- */

INTERNAL bool large_view(uint32_t slice, large_view_t* view) {
  page_t* page = map_descriptor_of_slice(slice);
  for (;;) {
    /* Acquire, pairs with the releases in large_publish and set_usable, see above. */
    uintptr_t owner = load_acquire(&page->owner);
    if (!owner_is_large(owner)) return false;
    uint64_t size = load_acquire(map_remote(slice));
    size_t span = page_span(page);
    /* Relaxed: the acquires keep the second read after the first ones. */
    if (load_relaxed(&page->owner) != owner || (size & REMOTE_LARGE) == 0) continue;
    view->heap = owner_id(owner);
    view->start = slice_address(slice);
    view->usable = (size_t)(size & REMOTE_ADDRESS);
    /* `span` may be from before or after a resize, or from the next block at this slice. */
    view->reserved = max_size(span, round_up(view->usable, SLICE_SIZE));
    return true;
  }
}

INTERNAL bool large_next_os_mapped(const char* from, large_view_t* view) {
  page_t* next = NULL;
  bool found = false;
  os_lock(&large_lock);
  for (page_t* page = large_state.os_mapped.first; page != NULL; page = page->os_mapped_next)
    if (page_start(page) >= from && (next == NULL || page->slice < next->slice) &&
        load_relaxed(&page->owner) != 0)
      next = page;
  if (next != NULL) found = large_view(next->slice, view);
  os_unlock(&large_lock);
  if (next == NULL) return false;
  return found || large_next_os_mapped(from, view); /* freed just now: try the next one */
}

INTERNAL bool large_contains(const void* p) {
  bool found = false;
  os_lock(&large_lock);
  for (page_t* page = large_state.os_mapped.first; page != NULL && !found;
       page = page->os_mapped_next) {
    large_view_t view;
    found = large_view(page->slice, &view) && (size_t)((const char*)p - view.start) < view.reserved;
  }
  os_unlock(&large_lock);
  return found;
}

INTERNAL void large_stats(large_stats_t* stats) {
  stats->reserved = load_relaxed(&large_state.reserved);
  stats->guarded = load_relaxed(&large_state.guarded);
}

INTERNAL void large_count_resized(size_t before, size_t after) {
  if (after > before)
    count_allocated(heap_default, 0, after - before);
  else
    count_freed(0, before - after);
}

INTERNAL void large_count_unmapped(size_t size) {
  sub_relaxed(&large_state.reserved, size);
  usage_discharge(size);
}
