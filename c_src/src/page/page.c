/* page.c - blocks inside one page, and the remote word; see page.h for the protocol.
 *
 * Owns:    nothing; works on descriptors.
 * Threads: functions marked "Owner": only the owner of the page. The others: any thread.
 */
#include "page.h"
#include "../memory/arena_purge.h"
#include "../memory/arena_reserve.h"
#include "../memory/page_map.h"
#include "../memory/slice_reuse.h"
#include "../base/checker.h"

/* ---- the remote word ---- */

INTERNAL push_t page_push_remote(page_t* page, block_t* block, bool reclaim) {
  _Atomic(uint64_t)* remote = map_remote(page->slice);
  size_t enough = page->reserved - page_claimable_count(page); /* outstanding at the threshold */
  size_t sparse = MI_HOLES ? sparse_max(page->reserved) : 0;
  uint64_t word = load_acquire(remote), pushed;
  push_t result;
  for (;;) {
    block_link(page, block, remote_list(word));
    pushed = (word & ~REMOTE_ADDRESS) - REMOTE_ONE;
    result = PUSH_QUEUED;
    uint64_t next = pushed | (uint64_t)(uintptr_t)block;
    if (!remote_is_owned(word)) {
      size_t out = remote_outstanding(pushed);
      if (out == 0)
        result = PUSH_LAST;
      else if (out <= sparse)
        result = PUSH_SPARSE;
      else if (reclaim && out <= enough)
        result = PUSH_TAKEN;
      else if (out == enough)
        result = PUSH_CLAIMABLE;
      if (result == PUSH_LAST || result == PUSH_TAKEN) next = REMOTE_OWNED;
    }
    if (os_is_single_threaded()) { /* no other thread to race with or to publish to */
      store_relaxed(remote, next);
      break;
    }
    /* Release: publishes the block's link with the word; pairs with the acquire of the thread that
     * takes the list (here, page_claim, page_take_remote). Acquire: a thread that claims the page,
     * or finds it worth claiming, needs what the previous owner and earlier pushes wrote. */
    if (cas_weak_acq_rel(remote, &word, next)) break;
  }
  if (result == PUSH_TAKEN)
    page_return_list(page, block, page_live(page) - remote_outstanding(pushed));
  return result;
}

INTERNAL bool page_claim(uint32_t slice) {
  _Atomic(uint64_t)* remote = map_remote(slice);
  uint64_t word = load_relaxed(remote); /* the exchange checks it */
  do {
    if (remote_is_owned(word) || word == 0) return false;
    /* Acquire: the descriptor and the list, from the releases of page_try_abandon and the pushes.
     */
  } while (!cas_weak_acq_rel(remote, &word, REMOTE_OWNED));
  page_t* page = map_descriptor_of_slice(slice);
  page_return_list(page, remote_list(word), page_live(page) - remote_outstanding(word));
  return true;
}

INTERNAL block_t* page_take_remote(page_t* page, size_t* count) {
  _Atomic(uint64_t)* remote = map_remote(page->slice);
  *count = 0;
  /* Relaxed: no link is followed if the list is empty. */
  if (remote_list(load_relaxed(remote)) == NULL) return NULL;
  /* Acquire: the links of the list, from the pushes. */
  uint64_t word = swap_acq_rel(remote, REMOTE_OWNED);
  mi_assert_internal(remote_is_owned(word));
  *count = remote_count(word);
  return remote_list(word);
}

INTERNAL bool page_try_abandon(page_t* page) {
  uintptr_t owner = load_relaxed(&page->owner);
  uint64_t expected = REMOTE_OWNED;
  uint64_t abandoned = (uint64_t)page_live(page) << 48;
  mi_assert_internal(page_live(page) > 0 && page_live(page) <= UINT16_MAX);
  /* Before the exchange, while this thread may still write the owner word. Relaxed: the word only
   * keeps this thread's own frees off the fast path. */
  store_relaxed(&page->owner, owner_id(owner) | OWNER_ABANDONED);
  /* Release: publishes the descriptor to the thread that claims the page. */
  if (cas_acq_rel(map_remote(page->slice), &expected, abandoned)) return true;
  store_relaxed(&page->owner, owner);
  return false;
}

INTERNAL size_t page_list_length(const page_t* page, const block_t* list) {
  size_t n = 0;
  for (; list != NULL; list = block_next(page, list)) n++;
  return n;
}

/* ---- life of a page ---- */

static _Atomic(size_t) pages_total[CLASS_COUNT]; /* relaxed: statistics */

INTERNAL size_t page_total(size_t cls) { return load_relaxed(&pages_total[cls]); }

static placement_t page_placement(size_t cls, bool first) {
  size_t home = class_home(cls);
  if (first && home < HOME_SLOTS) return (placement_t){ZONE_HOME, (uint16_t)home, true};
  return (placement_t){cls < FIRST_MEDIUM ? ZONE_SMALL : ZONE_PARTLY, 0, true};
}

INTERNAL page_t* page_fresh(affinity_t affinity, size_t cls, uintptr_t owner, bool first) {
  uint32_t slices = class_slices(cls);
  run_t run = arena_alloc(affinity, slices, 1, page_placement(cls, first));
  if (run.slice == 0) return NULL;
  add_relaxed(&pages_total[cls], 1);
  page_t* page = map_descriptor_of_slice(run.slice);
  page->local = NULL;
  page->capacity = 0;
  page->block_size = class_block_size(cls);
  page->reserved = (uint16_t)((slices * SLICE_SIZE - guard_size()) / page->block_size);
  store_relaxed(&page->bias, 0); /* relaxed: as the owner word below */
  store_relaxed(&page->holes, 0);
  page->next = page->prev = NULL;
  page->slice = run.slice;
  page_set_slices(page, slices);
  page->arena = run.arena;
  store_relaxed(&page->cls, (uint8_t)cls);
  store_relaxed(&page->flags, run.zero ? PAGE_ZERO : run.absent ? PAGE_ABSENT : 0);
  page_set_used(page, 0);
  if (run.guarded) page_set_flag(page, PAGE_GUARDED, true);
  states_begin(page);
  canary_new_key(page);
  store_relaxed(map_remote(run.slice), REMOTE_OWNED);
  if (slices > 1) map_mark_interior(page, 1, slices - 1);
  track_hide(page_start(page), slices * SLICE_SIZE);
  /* Relaxed: a thread frees a block of this page only after the block was allocated. */
  store_relaxed(&page->owner, owner);
  return page;
}

INTERNAL void page_release(page_t* page) {
  mi_assert_internal(load_relaxed(map_remote(page->slice)) == REMOTE_OWNED);
  states_end(page);
  map_clear(page->slice, page_slices(page));
  (void)slices_leave(page->arena, page->slice, page_slices(page), 0);
  arena_free(page->arena, page->slice, page_slices(page));
}

INTERNAL void page_release_full(page_t* page) {
  states_clear_live(page);
  page_release(page);
}

#define EXTEND_MIN ((size_t)4 * KiB)  /* bytes per extension, for the first ones */
#define EXTEND_MAX ((size_t)32 * KiB) /* and at most */

/* How many blocks are to be linked next. Extending touches memory, so a page grows with its use, by
 * a quarter at a time. Of memory that was never touched the first block of each OS page is handed
 * out alone, without a link: so the program takes the page fault when it writes to its block, not
 * inside malloc. The next call links the rest of the OS page. */
static size_t extend_count(page_t* page) {
  size_t size = page->block_size, begin = page->capacity * size;
  size_t bytes = max_size(EXTEND_MIN, min_size(EXTEND_MAX, begin / 4));
  size_t os_page = os_info.page_size;
  if (MI_SECURE == 0 && page_has_flag(page, PAGE_ZERO))
    bytes = begin % os_page < size ? size : round_up(begin, os_page) - begin + size - 1;
  /* Random order needs a batch of at least 16. It does not touch the blocks. */
  return min_size((size_t)page->reserved - page->capacity,
                  max_size(SECURE_ORDER ? 16 : 1, bytes / size));
}

INTERNAL block_t* page_extend(page_t* page, size_t* count) {
  size_t n = extend_count(page);
  *count = n;
  if (n == 0) return NULL;
#if MI_SECURE > 0
  block_t* list = states_extend(page, page->capacity, n);
#else
  size_t size = page->block_size;
  char* first = page_start(page) + page->capacity * size;
  char* last = first + (n - 1) * size;
  for (char* b = first; b < last; b += size) ((block_t*)b)->next = (block_t*)(b + size);
  if (n > 1) ((block_t*)last)->next = NULL;
  block_t* list = (block_t*)first;
#endif
  page->capacity = (uint16_t)(page->capacity + n);
  page_set_used(page, page_used(page) + n);
  return list;
}

INTERNAL void page_unextend(page_t* page, block_t* first) {
  size_t kept = (size_t)((char*)first - page_start(page)) / page->block_size;
  page_set_used(page, page_used(page) - (page->capacity - kept));
  page->capacity = (uint16_t)kept;
}

INTERNAL void page_append(page_t* page, block_t* list, block_t* more) {
  for (block_t* next; (next = block_next(page, list)) != NULL;) list = next;
  block_relink(page, list, more);
}

/* A walk costs a cache miss for each block, so only the shorter list is walked. Often there is no
 * walk: a page that was abandoned full has no local list. */
INTERNAL void page_return_list(page_t* page, block_t* list, size_t count) {
  if (list == NULL) return;
  block_t* local = page->local;
  size_t used = page_used(page);
  mi_assert_internal(count <= used && count == page_list_length(page, list));
  if (local != NULL && count <= page->capacity - used) {
    page_append(page, list, local);
  } else if (local != NULL) {
    page_append(page, local, list);
    list = local;
  }
  page->local = list;
  page_set_used(page, used - count);
}

/* A fork may have stopped the owner between two stores at two points:
 *   1. Adopting the local list: the owner empties the list, then counts its blocks as used. So an
 *      empty list means that all blocks are used.
 *   2. A free: the owner puts the block on the list, then counts it. So if all blocks count as used
 *      and the list is not empty, the list has that one block.
 * If at point 2 the list had other blocks before, the count stays too high by one until a heap
 * adopts the list and sets the count anew. To find this out the list would have to be walked. */
INTERNAL void page_settle(page_t* page) {
  size_t used = page_used(page), capacity = page->capacity;
  if (page->local == NULL)
    used = capacity;
  else if (used == capacity || MI_DEBUG > 0) /* heap_check.c of debug builds needs exact counts */
    used = capacity - page_list_length(page, page->local);
  page_set_used(page, used);
}

INTERNAL void page_shuffle(page_t* page) {
#if MI_SECURE > 0
  page_reclaim(page);
  page->local = states_shuffle(page, page->local);
  page->epoch = load_relaxed(&random_epoch);
#else
  (void)page;
#endif
}

INTERNAL void page_reclaim(page_t* page) {
  size_t count;
  block_t* list = page_take_remote(page, &count);
  if (list == NULL) return;
  page_set_bias(page, 0); /* else the countdown may be past its end */
  page_return_list(page, list, count);
}

/* ---- sparse pages and holes ---- */

INTERNAL void page_watch(page_t* page) {
  uint32_t most = sparse_max(page->reserved), used = page_used(page);
  bool watch = MI_HOLES && page->capacity == page->reserved && used > most;
  if (!os_is_single_threaded() && used / 2 > most) most = used / 2;
  page_set_bias(page, watch ? most : 0);
}

/* The next run of holes from unit `*to` on: the blocks [*first, *end). A block between two runs may
 * overlap both; it belongs to the first. */
static bool next_hole(const page_t* page, uint32_t holes, size_t* to, size_t* first, size_t* end) {
  if (holes >> *to == 0) return false;
  size_t from = *to + lowest_bit(holes >> *to), before = *end;
  *to = from + lowest_bit(~(holes >> from));
  page_unit_blocks(page, from, *to, first, end);
  *first = max_size(*first, before);
  return true;
}

INTERNAL size_t page_count_in_holes(const page_t* page) {
  size_t n = 0, first, end = 0;
  uint32_t holes = load_relaxed(&page->holes);
  for (size_t to = 0; next_hole(page, holes, &to, &first, &end);) n += end - first;
  return n;
}

INTERNAL void page_mark_free(const page_t* page, uint64_t* free) {
  size_t size = page->block_size, first, end = 0;
  memset(free, 0, PAGE_BLOCKS_MAX / 8);
  for (const block_t* b = page->local; b != NULL; b = block_next(page, b)) {
    size_t i = (size_t)((const char*)b - page_start(page)) / size;
    free[i / 64] |= UINT64_C(1) << (i % 64);
  }
  uint32_t holes = load_relaxed(&page->holes);
  for (size_t to = 0; MI_HOLES && next_hole(page, holes, &to, &first, &end);)
    for (size_t i = first; i < end; i++) free[i / 64] |= UINT64_C(1) << (i % 64);
}
