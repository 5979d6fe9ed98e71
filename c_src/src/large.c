/* large.c - blocks that are pages of their own.
 *
 * Owns:    the list of blocks that came directly from the OS, and the lists of the first-class
 *          heaps' large blocks.
 * Always:  the descriptor of the first slice says OWNER_LARGE, and which heap the block was
 *          allocated from, while the block lives; the block belongs to whoever holds it.
 * Threads: any; large_lock guards the lists.
 * Uses:    arena.h, slices.h, stretch.h, thread.h (out-of-memory collection), log.h, os.h.
 *          Used by: alloc, aligned, realloc, free.
 *
 * Growing: in place into free slices behind; else to a new place with room to grow by half, so
 * that growing by small steps moves a logarithmic number of times. Moving moves OS pages where
 * the OS can, else copies from the end and purges the source behind the copy.
 *
 * Owner word. The holder of the block may free it at any time: one exchange makes the word 0, and
 * only the thread that succeeds in it gives the memory back. The end of a heap gives its blocks
 * another name by an exchange of the same word, so a free repeats its exchange when it finds the
 * word changed. A block leaves its heap's list after its word became 0 and before its memory is
 * given back; a thread that walks the list holds the lock and may find blocks of word 0 in it.
 *
 * Others who want to know a block (visitors, statistics) never make its holder wait, and never wait
 * themselves. They read the owner word, then the size, then the owner word again. The size is one
 * word, the block's remote word, of which a large block has no other use; so it is the size before
 * or after a resize, never a mixture. A life of the block stores its size before its owner word,
 * and after the life before it made the owner word 0; each of these stores releases. So if the
 * owner word is the same in both looks, the size is that of a life with this owner word; else the
 * look is repeated. It repeats only after another thread has freed, renamed or made a block.
 *
 * A moved range is a mapping of its own for the kernel, and a move must not span two mappings.
 * So a block knows its pieces: `piece` of the first descriptor is the length of the first piece
 * in slices (0: one piece), `piece` of the descriptor where that ends is the length of the next,
 * and so on. They are few, for a block with many is copied instead; when it is freed its range is
 * mapped anew and merges with its neighbours.
 */
#include "large.h"
#include "arena.h"
#include "guarded.h"
#include "log.h"
#include "options.h"
#include "page.h"
#include "slices.h"
#include "stretch.h"
#include "thread.h"
#include "track.h"

#define MOVE_MIN (256 * KiB) /* below, copying is cheaper than the system call */
#define PIECES_MAX 16
#define COPY_STEP MiB

INTERNAL_DEF os_lock_t large_lock = OS_LOCK_INIT;

static struct {
  page_t* first;                                                 /* blocks directly from the OS */
  _Atomic(size_t) reserved, blocks, bytes, total_bytes, guarded; /* relaxed: statistics */
} large;

static size_t page_span(const page_t* page) { return (size_t)page_slices(page) * SLICE_SIZE; }

/* ---- the owner word ---- */

static heap_t* owner_heap(uintptr_t owner) { return (heap_t*)(owner & ~(uintptr_t)OWNER_FLAGS); }

static bool is_large_owner(uintptr_t owner) {
  return (owner & OWNER_LARGE) != 0 && (owner & OWNER_INTERIOR) == 0;
}

/* The size lies in the remote word; the flags keep away those who would claim a small page. */
static void set_usable(page_t* page, size_t usable) {
  page->block_size = usable;
  /* Release: the owner word before this life, see above. */
  store_release(map_remote(page->slice), usable | REMOTE_LARGE | REMOTE_OWNED);
}

/* ---- lists ---- */

static void direct_link(page_t* page) {
  os_lock(&large_lock);
  page->direct_prev = NULL;
  page->direct_next = large.first;
  if (large.first != NULL) large.first->direct_prev = page;
  large.first = page;
  add_relaxed(&large.reserved, page_span(page));
  os_unlock(&large_lock);
}

static void direct_unlink(page_t* page) {
  os_lock(&large_lock);
  if (page->direct_prev != NULL)
    page->direct_prev->direct_next = page->direct_next;
  else
    large.first = page->direct_next;
  if (page->direct_next != NULL) page->direct_next->direct_prev = page->direct_prev;
  sub_relaxed(&large.reserved, page_span(page));
  os_unlock(&large_lock);
}

/* In the list of a first-class heap `prev` of the first block is the block itself, so that a block
 * whose `prev` is NULL is in no list. */
static void heap_link(heap_t* heap, page_t* page) {
  os_lock(&large_lock);
  page->prev = page;
  page->next = heap->large;
  if (heap->large != NULL) heap->large->prev = page;
  heap->large = page;
  os_unlock(&large_lock);
}

/* Caller holds the lock. */
static void heap_unlink(heap_t* heap, page_t* page) {
  if (page->prev == NULL) return;
  if (page->prev != page)
    page->prev->next = page->next;
  else
    heap->large = page->next;
  if (page->next != NULL) page->next->prev = page->prev == page ? page->next : page->prev;
  page->next = page->prev = NULL;
}

/* ---- new and free ---- */

/* A range directly from the OS. */
static run_t direct_alloc(uint32_t slices, size_t align) {
  run_t run = {0, ARENA_NONE, true, false, false};
  if (option_value(mi_option_disallow_os_alloc) != 0) return run;
  size_t size = (size_t)slices * SLICE_SIZE;
  void* p = os_reserve(size, max_size(align, STRETCH_SIZE), OS_COMMITTED);
  if (p == NULL) p = os_reserve(size, max_size(align, SLICE_SIZE), OS_COMMITTED);
  if (p == NULL) return run;
  os_lock(&arena_lock);
  bool mapped = map_extend(p, size);
  os_unlock(&arena_lock);
  if (mapped)
    run.slice = (uint32_t)((uintptr_t)p >> SLICE_SHIFT);
  else
    os_release(p, size);
  return run;
}

/* Blocks from here on, in slices, are served by huge pages in the stretches that they have to
 * themselves. */
#define LARGE_HUGE (2 * STRETCH_SLICES)
static void large_advise(page_t* page) {
  uint32_t slices = (uint32_t)slices_of(page->block_size);
  if (slices < LARGE_HUGE) return;
  if (page->arena != ARENA_NONE)
    stretch_advise(page->arena, page->slice, slices);
  else if (stretch_is_wanted())
    os_advise_huge(page_start(page), slices / STRETCH_SLICES * STRETCH_SIZE, true);
}

/* See arena_is_plain. */
static bool is_plain(const page_t* page) {
  return page->arena == ARENA_NONE || arena_is_plain(arena_at(page->arena));
}

/* Secure builds, and blocks that are guarded on request: the first bytes behind a block are
 * inaccessible, as far as its slices go. */
static size_t large_guard_span(const page_t* page) {
  return min_size(page_span(page) - page->block_size, SLICE_SIZE);
}
static void large_guard(page_t* page, bool wanted) {
  if (!wanted || large_guard_span(page) == 0 || !is_plain(page)) return;
  char* end = page_start(page) + page->block_size;
  page_set_flag(page, PAGE_GUARDED, guard_set(end, large_guard_span(page)));
}
/* True: there is none (any more). */
static bool large_unguard(page_t* page) {
  if (!page_has_flag(page, PAGE_GUARDED)) return true;
  if (!guard_remove(page_start(page) + page->block_size, large_guard_span(page))) return false;
  page_set_flag(page, PAGE_GUARDED, false);
  return true;
}

/* Secure builds: larger ones come directly from the OS, each from a random place that hardly ever
 * serves twice. */
#define LARGE_APART CLOSE_LIGHTLY_MAX

/* A page of one block of `usable` bytes, with `slices` of address space; NULL without a report. */
static page_t* large_new(heap_t* heap, size_t usable, size_t slices, size_t align, bool* zero) {
  if (slices > UINT32_MAX >> 1) return NULL;
  place_t place = heap_is_real(heap) ? heap->place : PLACE_ANY;
  size_t align_slices = max_size(align >> SLICE_SHIFT, 1);
  run_t run = {0, ARENA_NONE, true, false, false};
  /* Very large runs come directly from the OS, so that arenas stay useful for others; but rather
   * from the other side than not at all. */
  bool any = place.arena == ARENA_NONE;
  size_t most = mi_option_get_size(mi_option_arena_max_object_size) / SLICE_SIZE;
  bool direct = any && slices > min_size(most, ARENA_RUN_MAX);
  direct |= any && align_slices > ARENA_RUN_MAX;
  direct |= SECURE_GUARDS && any && slices > LARGE_APART;
  if (direct) run = direct_alloc((uint32_t)slices, align);
  if (run.slice == 0)
    run = arena_alloc(place, (uint32_t)slices, (uint32_t)align_slices,
                      slices < LARGE_HUGE ? USE_BLOCK : USE_LARGE);
  if (run.slice == 0 && any && !direct) run = direct_alloc((uint32_t)slices, align);
  if (run.slice == 0) return NULL;
  page_t* page = map_slot_of_slice(run.slice);
  page->next = page->prev = NULL;
  page->slice = run.slice;
  page_set_slices(page, slices);
  set_usable(page, usable);
  page->arena = run.arena;
  store_relaxed(&page->class, CLASS_LARGE);
  page->piece = 0;
  store_relaxed(&page->flags, 0);
#if MI_SECURE > 0
  store_relaxed(&page->given, (uintptr_t)page_start(page));
#endif
  secure_page_key(page);
  if (run.arena == ARENA_NONE) direct_link(page);
  large_advise(page);
  large_guard(page, MI_SECURE > 0);
  /* Release, pairs with the acquire in large_view: the size. */
  store_release(&page->owner, (heap_is_real(heap) ? (uintptr_t)heap : 0) | OWNER_LARGE);
  if (heap->keeps) heap_link(heap, page);
  track_hide(page_start(page), page_span(page));
  thread_count_large(heap);
  add_relaxed(&large.blocks, 1);
  add_relaxed(&large.bytes, usable);
  add_relaxed(&large.total_bytes, usable);
  *zero = run.zero;
  return page;
}

static void hold_run(uint16_t arena, uint32_t slice, uint32_t count) {
#if SECURE_HOLDS
  quarantine_put_run(arena, slice, count);
#else
  arena_free(arena, slice, count);
#endif
}
INTERNAL void large_let_held_go(void) {
#if SECURE_HOLDS
  quarantine_leave_runs();
#endif
}

/* Slices that hold mappings that were moved here are mapped anew. False: they may be unmapped now,
 * and are lost rather than handed out; not their memory. */
static bool renew(uint16_t arena, uint32_t slice, uint32_t count) {
  int saved = errno;
  bool zero, renewed = stretch_renew(arena, slice, count);
  if (!renewed) (void)os_purge(slice_address(slice), count * SLICE_SIZE, true, &zero);
  errno = saved;
  return renewed;
}

/* Slices of a block, all or the last ones, leave it. */
static void leave_block(uint16_t arena, uint32_t slice, uint32_t count, size_t used) {
  if (!slices_leave(arena, slice, count, used)) return;
  if (count <= LARGE_APART)
    hold_run(arena, slice, count);
  else
    arena_free(arena, slice, count);
}

static void large_release(page_t* page) {
  char* start = page_start(page);
  size_t span = page_span(page);
  /* A light guard goes with its mapping, or becomes a part of the closed slices. */
  bool stays = SECURE_GUARDS && os_guards_are_light();
  bool accessible = stays ? !page_has_flag(page, PAGE_GUARDED) : large_unguard(page);
  if (page->arena == ARENA_NONE) {
    direct_unlink(page);
    track_open(start, span); /* whoever maps these addresses next is not us */
    int saved = errno;
    os_release(start, span);
    errno = saved;
    return;
  }
  if (page_has_flag(page, PAGE_MOVED) && !renew(page->arena, page->slice, page_slices(page)))
    return;
  if (!accessible) {
    if (MI_SECURE == 0) return;                                 /* lost rather than handed out */
    uint32_t first = (uint32_t)(page->block_size / SLICE_SIZE); /* a guard meets two at most */
    uint32_t count = (uint32_t)min_size(page_slices(page) - first, 2);
    guard_note(page->arena, page->slice + first, count);
  }
  leave_block(page->arena, page->slice, page_slices(page), page->block_size);
}

/* The last word on a block: true for the one who may give its memory back. */
static bool large_take(page_t* page, uintptr_t* owner) {
  *owner = load_relaxed(&page->owner);
  do {
    if (!is_large_owner(*owner)) return false;
    /* Acquire, pairs with the release in large_leave. */
  } while (!cas_acquire(&page->owner, owner, 0));
  sub_relaxed(&large.blocks, 1);
  sub_relaxed(&large.bytes, page->block_size);
  return true;
}

INTERNAL void large_free(page_t* page, void* p) {
  uintptr_t owner;
  if (!large_take(page, &owner)) {
#if MI_SECURE > 0
    secure_freed_twice(page, p);
#else
    log_error(EAGAIN, "double free detected of large block %p\n", p);
#endif
    return;
  }
  heap_t* heap = owner > OWNER_TAG(OWNER_TAG_MAX) + OWNER_FLAGS ? owner_heap(owner) : NULL;
  if (heap != NULL && heap->keeps) { /* a record keeps its kind, whatever happens to the heap */
    os_lock(&large_lock);
    heap_unlink(heap, page);
    os_unlock(&large_lock);
  }
  uint32_t slice = (uint32_t)((uintptr_t)p >> SLICE_SHIFT);
  if (slice != page->slice) map_clear(slice, 1);
  large_release(page);
}

/* ---- the end of a heap ---- */

INTERNAL bool large_leave(heap_t* heap, heap_t* to, size_t* blocks) {
  uintptr_t name = to != NULL ? (uintptr_t)to : OWNER_TAG(heap->tag);
  os_lock(&large_lock);
  for (page_t* page; (page = heap->large) != NULL && *blocks > 0; (*blocks)--) {
    heap_unlink(heap, page);
    uintptr_t owner = (uintptr_t)heap | OWNER_LARGE;
    /* Fails if the block is being freed. Release, pairs with the acquire in large_take: the links
     * of the block, which the page that comes after it writes. */
    (void)cas_acq_rel(&page->owner, &owner, name | OWNER_LARGE);
  }
  bool none = heap->large == NULL;
  os_unlock(&large_lock);
  return none;
}

INTERNAL void large_destroy(heap_t* heap) {
  for (;;) {
    os_lock(&large_lock);
    page_t* page = heap->large;
    uintptr_t owner;
    bool taken = false;
    if (page != NULL) {
      heap_unlink(heap, page);
      taken = large_take(page, &owner);
    }
    os_unlock(&large_lock);
    if (page == NULL) return;
    if (!taken) continue;
    /* Where pointers into the block were given out, one of its slices is marked. */
    if (page_has_flag(page, PAGE_INTERIOR)) map_clear(page->slice, page_slices(page));
    large_release(page);
  }
}

INTERNAL void large_unload(void) { memset(&large, 0, sizeof(large)); }

INTERNAL void large_mark(page_t* page, void* p) {
  uint32_t distance = (uint32_t)((uintptr_t)p >> SLICE_SHIFT) - page->slice;
  page_set_flag(page, PAGE_INTERIOR, true);
#if MI_SECURE > 0
  store_relaxed(&page->given, (uintptr_t)p);
#endif
  if (distance > 0) map_mark_interior(page, distance, 1);
}

static size_t usable_for(size_t size) {
  return round_up(max_size(size + SEAL_SIZE, 1), os_info.page_size);
}

/* That a block of so many usable bytes takes, with its guard. */
static size_t large_slices(size_t usable) { return slices_of(usable + large_guard_size()); }

/* From here on it is the system that clears memory, as it is touched. */
#define ZERO_BY_SYSTEM (32 * MiB)
static void zero_memory(page_t* page, size_t size) {
  char* p = page_start(page);
  int saved = errno;
  bool zero = false;
  track_open(p, size);
  bool dropped = size >= ZERO_BY_SYSTEM && is_plain(page) && os_purge(p, size, true, &zero);
  errno = saved;
  if (!dropped || !zero) memset(p, 0, size);
}

INTERNAL void* large_alloc(heap_t* heap, size_t size, size_t align, bool zero) {
  if (size > ALLOC_MAX || align > ALLOC_MAX) {
    log_error(EOVERFLOW, "allocation request is too large: %zu bytes\n", size);
    return thread_out_of_memory(size);
  }
  if (heap == &heap_empty) { /* a large block may be the first of all */
    (void)thread_backing();
    heap = heap_default;
  }
  thread_large_tick(heap);
  if (unlikely(guarded_is_on())) {
    void* p = guarded_alloc_large(heap, size, align);
    if (p != NULL) return p;
  }
  size_t usable = usable_for(size);
  size_t slices = large_slices(usable);
  bool is_zero;
  page_t* page = large_new(heap, usable, slices, align, &is_zero);
  if (page == NULL) {
    thread_relieve();
    page = large_new(heap, usable, slices, align, &is_zero);
    if (page == NULL) return thread_out_of_memory(size);
  }
  slices_report();
  void* p = page_start(page);
  if (zero && !is_zero) zero_memory(page, usable);
  return p;
}

INTERNAL void* large_alloc_guarded(heap_t* heap, size_t size, size_t align) {
  size_t usable = usable_for(size);
  bool is_zero;
  page_t* page = large_new(heap, usable, slices_of(usable + os_info.page_size), align, &is_zero);
  if (page == NULL) return NULL;
  large_guard(page, !page_has_flag(page, PAGE_GUARDED));
  if (page_has_flag(page, PAGE_GUARDED)) add_relaxed(&large.guarded, 1);
  if (!is_zero) zero_memory(page, usable);
  char* p = page_start(page) + round_down(usable - SEAL_SIZE - size, align);
  if (p != page_start(page)) large_mark(page, p);
  return p;
}

/* ---- resizing in place ---- */

static void large_trim(page_t* page, size_t usable) {
  uint32_t keep = (uint32_t)large_slices(usable), drop = page_slices(page) - keep;
  if (drop == 0) return;
  char* tail = page_start(page) + (size_t)keep * SLICE_SIZE;
  bool moved = page_has_flag(page, PAGE_MOVED);
  if (moved && !SECURE_GUARDS) { /* its range is given back as a whole, its memory now */
    bool zero;
    int saved = errno;
    (void)os_purge(tail, (size_t)drop * SLICE_SIZE, true, &zero);
    errno = saved;
    return;
  }
  if (page->arena == ARENA_NONE) {
    sub_relaxed(&large.reserved, (size_t)drop * SLICE_SIZE);
    page_set_slices(page, keep);
    int saved = errno;
    os_release(tail, (size_t)drop * SLICE_SIZE);
    errno = saved;
  } else {
    page_set_slices(page, keep);
    if (!moved || renew(page->arena, page->slice + keep, drop))
      leave_block(page->arena, page->slice + keep, drop, (size_t)drop * SLICE_SIZE);
  }
}

static bool resize_unguarded(page_t* page, size_t newsize) {
  size_t usable = usable_for(newsize);
  if (usable < page->block_size) {
    set_usable(page, usable);
    large_trim(page, usable);
    return true;
  }
  size_t span = page_span(page), whole = usable + large_guard_size();
  if (whole > span) {
    if (page->arena == ARENA_NONE) return false;
    size_t more = slices_of(whole - span);
    bool zero;
    if (more > UINT32_MAX >> 1 ||
        !arena_extend(page->arena, page->slice + page_slices(page), (uint32_t)more, &zero))
      return false;
    if (page_has_flag(page, PAGE_MOVED)) /* what follows is a piece that ends with the block */
      map_slot_of_slice(page->slice + page_slices(page))->piece = 0;
    page_set_slices(page, page_slices(page) + (uint32_t)more);
  }
  bool more_stretches = usable / STRETCH_SIZE != page->block_size / STRETCH_SIZE;
  set_usable(page, usable);
  if (more_stretches) large_advise(page);
  return true;
}

/* Level 4: what a block leaves in slices that it keeps is behind its guard, or cleared. */
static void large_wipe(page_t* page, size_t old) {
#if MI_SECURE >= 4
  size_t end = min_size(old, page_span(page));
  if (page->block_size < end && !page_has_flag(page, PAGE_GUARDED))
    slices_wipe(page_start(page) + page->block_size, end - page->block_size);
#else
  (void)page, (void)old;
#endif
}

static bool resize_guarded(page_t* page, size_t newsize) {
  bool guarded = MI_SECURE > 0 || page_has_flag(page, PAGE_GUARDED);
  size_t old = page->block_size;
  if (!large_unguard(page)) return false;
  bool done = resize_unguarded(page, newsize);
  large_guard(page, guarded);
  large_wipe(page, old);
  return done;
}

INTERNAL bool large_resize(page_t* page, size_t newsize) {
  if (newsize > ALLOC_MAX) return false;
  if (!is_large_owner(load_relaxed(&page->owner)))
    return false; /* not live: the caller finds out */
  size_t old = page->block_size;
  bool done = resize_guarded(page, newsize);
  add_relaxed(&large.bytes, page->block_size - old);
  if (page->block_size > old) add_relaxed(&large.total_bytes, page->block_size - old);
  return done;
}

/* ---- moving ---- */

/* The piece that starts at slice `i` of the block: its length, at most up to `end`. */
static uint32_t piece_length(page_t* page, uint32_t i, uint32_t end) {
  uint32_t length = map_slot_of_slice(page->slice + i)->piece;
  return (length == 0 || length > end - i) ? end - i : length;
}

static size_t piece_count(page_t* page, uint32_t end) {
  size_t n = 0;
  for (uint32_t i = 0; i < end; i += piece_length(page, i, end)) n++;
  return n;
}

/* Copies from the end, giving the source back behind the copy. */
static void copy_and_purge(char* dst, char* src, size_t size, bool purge) {
  track_open(dst, size);
  track_open(src, size);
  while (size > 0) {
    size_t n = size % COPY_STEP == 0 ? COPY_STEP : size % COPY_STEP;
    size -= n;
    memcpy(dst + size, src + size, n);
    bool zero;
    size_t whole = round_down(n, os_info.page_size);
    if (purge && whole > 0) (void)os_purge(src + size, whole, true, &zero);
  }
}

/* Moves the first `slices` slices piece by piece; the new block knows each as a piece and, behind
 * them, one of fresh memory. They may become more than PIECES_MAX: then it is copied the next time.
 */
static void move_pieces(page_t* to, page_t* from, uint32_t slices) {
  page_set_flag(to, PAGE_MOVED, true);
  page_set_flag(from, PAGE_MOVED, true);
  for (uint32_t i = 0, n; i < slices; i += n) {
    n = piece_length(from, i, slices);
    /* Whole stretches by themselves: they may have another advice than what is beside them, and so
     * be a mapping apart; and huge pages go along only between places that are congruent. */
    uint32_t head = (0 - (from->slice + i)) % STRETCH_SLICES;
    if (head != 0 && n > head)
      n = head;
    else if (n > STRETCH_SLICES)
      n = (uint32_t)round_down(n, STRETCH_SLICES);
    char* dst = page_start(to) + (size_t)i * SLICE_SIZE;
    char* src = page_start(from) + (size_t)i * SLICE_SIZE;
    /* Stretches that were advised at different times may still be mappings of their own. */
    bool moved;
    while (!(moved = os_move(dst, src, n * SLICE_SIZE)) && n > STRETCH_SLICES)
      n = (uint32_t)round_up(n / 2, STRETCH_SLICES);
    if (!moved) copy_and_purge(dst, src, n * SLICE_SIZE, true);
    map_slot_of_slice(to->slice + i)->piece = n;
  }
  if (slices < page_slices(to)) map_slot_of_slice(to->slice + slices)->piece = 0;
}

/* Room to grow by half, if it can be had. */
static page_t* large_new_roomy(heap_t* heap, size_t usable, size_t align, bool* zero) {
  size_t slices = large_slices(usable);
  page_t* page = large_new(heap, usable, slices + slices / 2, align, zero);
  return page != NULL ? page : large_new(heap, usable, slices, align, zero);
}

INTERNAL void* large_move(heap_t* heap, page_t* page, size_t newsize, size_t align) {
  if (newsize > ALLOC_MAX) return large_alloc(heap, newsize, align, false); /* reports */
  size_t usable = usable_for(newsize);
  bool zero;
  page_t* to = large_new_roomy(heap, usable, align, &zero);
  if (to == NULL) {
    thread_relieve();
    to = large_new_roomy(heap, usable, align, &zero);
    if (to == NULL) return thread_out_of_memory(newsize);
  }
  size_t bytes = min_size(page->block_size, usable);
  uint32_t slices = (uint32_t)slices_of(bytes);
  int saved = errno;
  /* Whole slices are moved, and guards would go along. */
  bool movable = is_plain(page) && is_plain(to) && large_unguard(page) && large_unguard(to);
  if (movable && os_info.can_move && bytes >= MOVE_MIN && piece_count(page, slices) < PIECES_MAX)
    move_pieces(to, page, slices);
  else
    copy_and_purge(page_start(to), page_start(page), bytes, movable && bytes >= 2 * COPY_STEP);
  large_guard(to, MI_SECURE > 0 && !page_has_flag(to, PAGE_GUARDED));
  large_wipe(to, (size_t)slices * SLICE_SIZE); /* whole slices were moved */
  errno = saved;
  large_free(page, page_start(page));
  return page_start(to);
}

/* ---- queries ---- */

INTERNAL bool large_view(uint32_t slice, large_view_t* view) {
  page_t* page = map_slot_of_slice(slice);
  for (;;) {
    /* Acquire, pairs with the releases in large_new and set_usable, see above. */
    uintptr_t owner = load_acquire(&page->owner);
    if (!is_large_owner(owner)) return false;
    uint64_t size = load_acquire(map_remote(slice));
    size_t span = page_span(page);
    /* Relaxed: the acquires keep the second look after the first ones. */
    if (load_relaxed(&page->owner) != owner || (size & REMOTE_LARGE) == 0) continue;
    view->heap = owner & ~(uintptr_t)OWNER_FLAGS;
    view->start = slice_address(slice);
    view->usable = (size_t)(size & REMOTE_ADDRESS);
    /* It may be resized between the two looks, or may be another block's by now. */
    view->reserved = max_size(span, round_up(view->usable, SLICE_SIZE));
    return true;
  }
}

INTERNAL bool large_next_direct(const char* from, large_view_t* view) {
  page_t* next = NULL;
  bool found = false;
  os_lock(&large_lock);
  for (page_t* page = large.first; page != NULL; page = page->direct_next)
    if (page_start(page) >= from && (next == NULL || page->slice < next->slice) &&
        load_relaxed(&page->owner) != 0)
      next = page;
  if (next != NULL) found = large_view(next->slice, view);
  os_unlock(&large_lock);
  if (next == NULL) return false;
  return found || large_next_direct(from, view); /* freed just now: the next one */
}

INTERNAL bool large_contains(const void* p) {
  bool found = false;
  os_lock(&large_lock);
  for (page_t* page = large.first; page != NULL && !found; page = page->direct_next) {
    large_view_t view;
    found = large_view(page->slice, &view) && (size_t)((const char*)p - view.start) < view.reserved;
  }
  os_unlock(&large_lock);
  return found;
}

INTERNAL void large_stats(large_stats_t* stats) {
  stats->reserved = load_relaxed(&large.reserved);
  stats->blocks = load_relaxed(&large.blocks);
  stats->bytes = load_relaxed(&large.bytes);
  stats->total_bytes = load_relaxed(&large.total_bytes);
  stats->guarded = load_relaxed(&large.guarded);
}
