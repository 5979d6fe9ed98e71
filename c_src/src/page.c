/* page.c - blocks inside one page, and the remote word; see page.h for the protocol.
 *
 * Owns:    nothing; works on descriptors.
 * Threads: the functions marked "Owner" only by the owner, the others by any.
 * Uses:    arena.h, slices.h, map.h.          Used by: unowned, heap, free.
 */
#include "page.h"
#include "slices.h"
#include "track.h"

/* ---- the remote word ---- */

INTERNAL push_t page_push_remote(page_t* page, block_t* block, bool reclaim) {
  _Atomic(uint64_t)* remote = map_remote(page->slice);
  size_t enough = page->reserved - page_claimable_count(page); /* balance at the threshold */
  uint64_t word = load_acquire(remote), pushed;
  push_t result;
  for (;;) {
    block_link(page, block, remote_list(word));
    pushed = (word & ~REMOTE_ADDRESS) - REMOTE_ONE;
    result = PUSH_QUEUED;
    uint64_t next = pushed | (uint64_t)(uintptr_t)block;
    if (!remote_is_owned(word)) {
      size_t out = remote_balance(pushed);
      if (out == 0)
        result = PUSH_LAST;
      else if (reclaim && out <= enough)
        result = PUSH_TAKEN;
      else if (out == enough)
        result = PUSH_CLAIMABLE;
      if (result == PUSH_LAST || result == PUSH_TAKEN) next = REMOTE_OWNED;
    }
    if (os_is_single_threaded()) { /* nobody to race with, and nothing to publish to */
      store_relaxed(remote, next);
      break;
    }
    /* Release: the block's link travels with the word; pairs with the acquire of whoever takes
     * the list (here, page_claim, page_take_remote). Acquire: taking the page over, or telling
     * that it is worth claiming, needs what its former owner and earlier pushes wrote. */
    if (cas_weak_acq_rel(remote, &word, next)) break;
  }
  if (result == PUSH_TAKEN) page_return_list(page, block, page_used(page) - remote_balance(pushed));
  return result;
}

INTERNAL bool page_claim(uint32_t slice) {
  _Atomic(uint64_t)* remote = map_remote(slice);
  uint64_t word = load_relaxed(remote); /* decided by the exchange */
  do {
    if (remote_is_owned(word) || word == 0) return false;
    /* Acquire: the descriptor and the list, from the releases of page_disown and the pushes. */
  } while (!cas_weak_acq_rel(remote, &word, REMOTE_OWNED));
  page_t* page = map_slot_of_slice(slice);
  page_return_list(page, remote_list(word), page_used(page) - remote_balance(word));
  return true;
}

INTERNAL block_t* page_take_remote(page_t* page, size_t* count) {
  _Atomic(uint64_t)* remote = map_remote(page->slice);
  *count = 0;
  /* Relaxed: an empty list gives nothing to follow. */
  if (remote_list(load_relaxed(remote)) == NULL) return NULL;
  /* Acquire: the links of the list, from the pushes. */
  uint64_t word = swap_acq_rel(remote, REMOTE_OWNED);
  mi_assert_internal(remote_is_owned(word));
  *count = remote_count(word);
  return remote_list(word);
}

INTERNAL bool page_disown(page_t* page) {
  uintptr_t owner = load_relaxed(&page->owner);
  uint64_t expected = REMOTE_OWNED;
  uint64_t unowned = (uint64_t)page_used(page) << 48;
  mi_assert_internal(page_used(page) > 0 && page_used(page) <= UINT16_MAX);
  /* Before the exchange, while the word is still ours to write. Relaxed: it only matters to this
   * thread, whose own frees must not take the fast path any more. */
  store_relaxed(&page->owner, (owner & ~(uintptr_t)OWNER_FLAGS) | OWNER_UNOWNED);
  /* Release: all of the descriptor travels with the word to whoever claims the page. */
  if (cas_acq_rel(map_remote(page->slice), &expected, unowned)) return true;
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

INTERNAL size_t page_total(size_t class) { return load_relaxed(&pages_total[class]); }

/* Where in a row the first page of a class lies: one slice for each class that has single ones, of
 * which above ALIGN8_MAX there is none for odd multiples of 8; then the others. */
#define SINGLE_PLACES (ALIGN8_MAX / 16 + SMALL_MAX / 16 + FIRST_MEDIUM - FIRST_GEOMETRIC + 1)
_Static_assert(FIRST_ROW == SINGLE_PLACES + 8 * (2 + 4 + 8),
               "each class of up to 64 KiB has its place");
static size_t class_place(size_t class) {
  if (class <= ALIGN8_MAX / 8) return class;
  if (class < FIRST_GEOMETRIC) return ALIGN8_MAX / 16 + class / 2;
  if (class < FIRST_MEDIUM) return ALIGN8_MAX / 16 + SMALL_MAX / 16 + 1 + class - FIRST_GEOMETRIC;
  size_t g = (class - FIRST_MEDIUM) / 8, r = (class - FIRST_MEDIUM) % 8;
  return SINGLE_PLACES + 16 * (((size_t)1 << g) - 1) + (r * 2 << g);
}

static use_t page_use(size_t class, bool first) {
  size_t place = class_place(class);
  if (first && place < FIRST_ROW) return place;
  return class < FIRST_MEDIUM ? USE_PAGE : USE_PAGES;
}

INTERNAL page_t* page_fresh(place_t place, size_t class, uintptr_t owner, bool first) {
  uint32_t slices = class_slices(class);
  run_t run = arena_alloc(place, slices, 1, page_use(class, first));
  if (run.slice == 0) return NULL;
  add_relaxed(&pages_total[class], 1);
  page_t* page = map_slot_of_slice(run.slice);
  page->local = NULL;
  page_set_used(page, 0);
  page->capacity = 0;
  page->block_size = class_block_size(class);
  page->reserved = (uint16_t)((slices * SLICE_SIZE - guard_size()) / page->block_size);
  page->topped_up = 0;
  page->next = page->prev = NULL;
  page->slice = run.slice;
  page_set_slices(page, slices);
  page->arena = run.arena;
  store_relaxed(&page->class, (uint8_t) class);
  store_relaxed(&page->flags, run.zero ? PAGE_ZERO : run.absent ? PAGE_ABSENT : 0);
  if (run.guarded) page_set_flag(page, PAGE_GUARDED, true);
  secure_page_begin(page);
  store_relaxed(map_remote(run.slice), REMOTE_OWNED);
  if (slices > 1) map_mark_interior(page, 1, slices - 1);
  track_hide(page_start(page), slices * SLICE_SIZE);
  /* Relaxed: frees of blocks in this page come after the blocks were handed out. */
  store_relaxed(&page->owner, owner);
  return page;
}

INTERNAL void page_release(page_t* page) {
  mi_assert_internal(load_relaxed(map_remote(page->slice)) == REMOTE_OWNED);
  secure_page_end(page);
  map_clear(page->slice, page_slices(page));
  (void)slices_leave(page->arena, page->slice, page_slices(page), 0);
}

INTERNAL void page_release_full(page_t* page) {
  secure_clear_live(page);
  page_release(page);
}

#define CARVE_MIN ((size_t)4 * KiB)  /* bytes carved at a time, at the beginning */
#define CARVE_MAX ((size_t)32 * KiB) /* and at most */

INTERNAL block_t* page_carve(page_t* page, size_t* count) {
  size_t left = (size_t)page->reserved - page->capacity;
  size_t size = page->block_size;
  *count = 0;
  if (left == 0) return NULL;
  /* Memory is touched as it is carved, so a page grows with its use, by a quarter at a time. */
  size_t bytes = max_size(CARVE_MIN, min_size(CARVE_MAX, page->capacity * size / 4));
  /* Where the order is random there must be some to choose from; it touches none of them. */
  size_t n = min_size(left, max_size(SECURE_ORDER ? 16 : 1, bytes / size));
#if MI_SECURE > 0
  block_t* list = secure_carve(page, page->capacity, n);
#else
  char* first = page_start(page) + page->capacity * size;
  char* last = first + (n - 1) * size;
  for (char* b = first; b < last; b += size) ((block_t*)b)->next = (block_t*)(b + size);
  ((block_t*)last)->next = NULL;
  block_t* list = (block_t*)first;
#endif
  page->capacity = (uint16_t)(page->capacity + n);
  page_set_used(page, page_used(page) + n);
  *count = n;
  return list;
}

INTERNAL void page_uncarve(page_t* page, block_t* first) {
  size_t kept = (size_t)((char*)first - page_start(page)) / page->block_size;
  page_set_used(page, page_used(page) - (page->capacity - kept));
  page->capacity = (uint16_t)kept;
}

INTERNAL void page_append(page_t* page, block_t* list, block_t* more) {
  for (block_t* next; (next = block_next(page, list)) != NULL;) list = next;
  block_relink(page, list, more);
}

/* A walk is a cache miss for each block, so only the shorter list is walked, and often none: a page
 * that was given up full has no other list. */
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

/* Two places in the program order matter. A thread that takes the local list over makes it empty
 * and then counts its blocks as used: an empty list says that all are. A thread that frees puts the
 * block on the list and then counts it: a list where all count as used has that one block. If the
 * list had others before, the count stays too high by one until a heap takes the list over and sets
 * the count anew; to know it the list would have to be walked. */
INTERNAL void page_settle(page_t* page) {
  size_t used = page_used(page), capacity = page->capacity;
  if (page->local == NULL)
    used = capacity;
  else if (used == capacity || MI_DEBUG > 0) /* the walker of debug builds wants exact counts */
    used = capacity - page_list_length(page, page->local);
  page_set_used(page, used);
}

INTERNAL void page_shuffle(page_t* page) {
#if MI_SECURE > 0
  page_take_back(page);
  page->local = secure_shuffle(page, page->local);
#else
  (void)page;
#endif
}

INTERNAL void page_take_back(page_t* page) {
  size_t count;
  block_t* list = page_take_remote(page, &count);
  page_return_list(page, list, count);
}
