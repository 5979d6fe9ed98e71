/* large.c - blocks that are pages of their own.
 *
 * Owns:    the list of blocks that came directly from the OS.
 * Always:  the descriptor of the first slice says OWNER_LARGE while the block lives; the block
 *          belongs to whoever holds it, so no heap is involved.
 * Threads: any; large_lock guards the list.
 * Uses:    arena.h, thread.h (out-of-memory collection), log.h, os.h.
 *          Used by: alloc, aligned, realloc, free.
 *
 * Growing: in place into free slices behind; else to a new place with room to grow by half, so
 * that growing by small steps moves a logarithmic number of times. Moving moves OS pages where
 * the OS can, else copies from the end and purges the source behind the copy.
 *
 * A moved range is a mapping of its own for the kernel, and a move must not span two mappings.
 * So a block knows its pieces: `piece` of the first descriptor is the length of the first piece
 * in slices (0: one piece), `piece` of the descriptor where that ends is the length of the next,
 * and so on. They are few, for a block with many is copied instead; when it is freed its range is
 * mapped anew and merges with its neighbours.
 */
#include "large.h"
#include "arena.h"
#include "log.h"
#include "options.h"
#include "page.h"
#include "thread.h"

#define MOVE_MIN (256 * KiB) /* below, copying is cheaper than the system call */
#define PIECES_MAX 16
#define COPY_STEP MiB

INTERNAL_DEF os_lock_t large_lock = OS_LOCK_INIT;

static struct {
  page_t* first; /* blocks directly from the OS, linked by next and prev */
  size_t reserved;
} large;

static size_t page_span(const page_t* page) { return (size_t)page->slice_count * SLICE_SIZE; }

/* ---- new and free ---- */

static void direct_link(page_t* page) {
  os_lock(&large_lock);
  page->prev = NULL;
  page->next = large.first;
  if (large.first != NULL) large.first->prev = page;
  large.first = page;
  large.reserved += page_span(page);
  os_unlock(&large_lock);
}

static void direct_unlink(page_t* page) {
  os_lock(&large_lock);
  if (page->prev != NULL)
    page->prev->next = page->next;
  else
    large.first = page->next;
  if (page->next != NULL) page->next->prev = page->prev;
  large.reserved -= page_span(page);
  os_unlock(&large_lock);
}

/* A range directly from the OS. */
static run_t direct_alloc(uint32_t slices, size_t align) {
  run_t run = {0, ARENA_NONE, true};
  if (option_value(mi_option_disallow_os_alloc) != 0) return run;
  size_t size = (size_t)slices * SLICE_SIZE;
  void* p = os_reserve(size, max_size(align, SLICE_SIZE), OS_COMMITTED);
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

/* A page of one block of `usable` bytes, with `slices` of address space; NULL without a report. */
static page_t* large_new(size_t usable, size_t slices, size_t align, bool* zero) {
  if (slices > UINT32_MAX >> 1) return NULL;
  size_t align_slices = max_size(align >> SLICE_SHIFT, 1);
  run_t run = {0, ARENA_NONE, true};
  /* Very large runs come directly from the OS, so that arenas stay useful for others; but rather
   * from the other side than not at all. */
  bool direct = slices > ARENA_RUN_MAX || align_slices > ARENA_RUN_MAX;
  if (direct) run = direct_alloc((uint32_t)slices, align);
  if (run.slice == 0) run = arena_alloc((uint32_t)slices, (uint32_t)align_slices, CLASS_LARGE);
  if (run.slice == 0 && !direct) run = direct_alloc((uint32_t)slices, align);
  if (run.slice == 0) return NULL;
  page_t* page = map_slot_of_slice(run.slice);
  page->local = NULL;
  page->used = page->capacity = page->reserved = 1;
  page->block_size = usable;
  page->next = page->prev = NULL;
  page->slice = run.slice;
  page->slice_count = (uint32_t)slices;
  page->arena = run.arena;
  page->class = CLASS_LARGE;
  page->piece = 0;
  store_relaxed(&page->flags, 0);
  if (run.arena == ARENA_NONE) direct_link(page);
  /* Relaxed: the block's address, handed out after this, carries it. */
  store_relaxed(&page->owner, OWNER_LARGE);
  *zero = run.zero;
  return page;
}

static void large_release(page_t* page) {
  char* start = page_start(page);
  size_t span = page_span(page);
  if (page->arena == ARENA_NONE) {
    direct_unlink(page);
    int saved = errno;
    os_release(start, span);
    errno = saved;
    return;
  }
  if (page_has_flag(page, PAGE_MOVED)) {
    int saved = errno;
    bool renewed = os_renew(start, span);
    errno = saved;
    if (!renewed) return; /* the range may be unmapped now: lost rather than handed out */
  }
  arena_free(page->arena, page->slice, page->slice_count);
}

INTERNAL void large_free(page_t* page, void* p) {
  uintptr_t expected = OWNER_LARGE;
  if (!cas_acquire(&page->owner, &expected, 0)) {
    log_error(EAGAIN, "double free detected of large block %p\n", p);
    return;
  }
  uint32_t slice = (uint32_t)((uintptr_t)p >> SLICE_SHIFT);
  if (slice != page->slice) map_clear(slice, 1);
  large_release(page);
}

INTERNAL void large_mark(page_t* page, void* p) {
  uint32_t distance = (uint32_t)((uintptr_t)p >> SLICE_SHIFT) - page->slice;
  page_set_flag(page, PAGE_INTERIOR, true);
  if (distance > 0) map_mark_interior(page, distance, 1);
}

INTERNAL void* large_alloc(size_t size, size_t align, bool zero) {
  if (size > ALLOC_MAX || align > ALLOC_MAX) {
    log_error(EOVERFLOW, "allocation request is too large: %zu bytes\n", size);
    return thread_out_of_memory(size);
  }
  mi_process_init(); /* a large block may be the first of all */
  size_t usable = round_up(max_size(size, 1), os_info.page_size);
  size_t slices = slices_of(usable);
  bool is_zero;
  page_t* page = large_new(usable, slices, align, &is_zero);
  if (page == NULL) {
    thread_relieve();
    page = large_new(usable, slices, align, &is_zero);
    if (page == NULL) return thread_out_of_memory(size);
  }
  thread_count_large();
  void* p = page_start(page);
  if (zero && !is_zero) memset(p, 0, usable);
  return p;
}

/* ---- resizing in place ---- */

static void large_trim(page_t* page, size_t usable) {
  uint32_t keep = (uint32_t)slices_of(usable), drop = page->slice_count - keep;
  if (drop == 0) return;
  char* tail = page_start(page) + (size_t)keep * SLICE_SIZE;
  if (page_has_flag(page, PAGE_MOVED)) { /* its range is given back as a whole, its memory now */
    bool zero;
    int saved = errno;
    (void)os_purge(tail, (size_t)drop * SLICE_SIZE, true, &zero);
    errno = saved;
    return;
  }
  if (page->arena == ARENA_NONE) {
    os_lock(&large_lock);
    large.reserved -= (size_t)drop * SLICE_SIZE;
    page->slice_count = keep;
    os_unlock(&large_lock);
    int saved = errno;
    os_release(tail, (size_t)drop * SLICE_SIZE);
    errno = saved;
  } else {
    page->slice_count = keep;
    arena_free(page->arena, page->slice + keep, drop);
  }
}

INTERNAL bool large_resize(page_t* page, size_t newsize) {
  if (newsize > ALLOC_MAX) return false;
  size_t usable = round_up(newsize, os_info.page_size);
  if (usable < page->block_size) {
    page->block_size = usable;
    large_trim(page, usable);
    return true;
  }
  size_t span = page_span(page);
  if (usable > span) {
    if (page->arena == ARENA_NONE) return false;
    size_t more = slices_of(usable - span);
    bool zero;
    if (more > UINT32_MAX >> 1 ||
        !arena_extend(page->arena, page->slice + page->slice_count, (uint32_t)more, &zero))
      return false;
    if (page_has_flag(page, PAGE_MOVED)) /* what follows is a piece that ends with the block */
      map_slot_of_slice(page->slice + page->slice_count)->piece = 0;
    page->slice_count += (uint32_t)more;
  }
  page->block_size = usable;
  return true;
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

static bool is_movable(const page_t* page) {
  if (page->arena == ARENA_NONE) return true;
  arena_t* a = arena_at(page->arena);
  return !a->from_user && !a->pinned;
}

/* Copies from the end, giving the source back behind the copy. */
static void copy_and_purge(char* dst, char* src, size_t size, bool purge) {
  while (size > 0) {
    size_t n = size % COPY_STEP == 0 ? COPY_STEP : size % COPY_STEP;
    size -= n;
    memcpy(dst + size, src + size, n);
    bool zero;
    size_t whole = round_down(n, os_info.page_size);
    if (purge && whole > 0) (void)os_purge(src + size, whole, true, &zero);
  }
}

/* Moves the first `slices` slices piece by piece; the new block has the same pieces and, behind
 * them, one of fresh memory. */
static void move_pieces(page_t* to, page_t* from, uint32_t slices) {
  page_set_flag(to, PAGE_MOVED, true);
  page_set_flag(from, PAGE_MOVED, true);
  for (uint32_t i = 0, n; i < slices; i += n) {
    n = piece_length(from, i, slices);
    char* dst = page_start(to) + (size_t)i * SLICE_SIZE;
    char* src = page_start(from) + (size_t)i * SLICE_SIZE;
    if (!os_move(dst, src, n * SLICE_SIZE)) copy_and_purge(dst, src, n * SLICE_SIZE, true);
    map_slot_of_slice(to->slice + i)->piece = n;
  }
  if (slices < to->slice_count) map_slot_of_slice(to->slice + slices)->piece = 0;
}

/* Room to grow by half, if it can be had. */
static page_t* large_new_roomy(size_t usable, size_t align, bool* zero) {
  size_t slices = slices_of(usable);
  page_t* page = large_new(usable, slices + slices / 2, align, zero);
  return page != NULL ? page : large_new(usable, slices, align, zero);
}

INTERNAL void* large_move(page_t* page, size_t newsize, size_t align) {
  if (newsize > ALLOC_MAX) return large_alloc(newsize, align, false); /* reports */
  size_t usable = round_up(newsize, os_info.page_size);
  bool zero;
  page_t* to = large_new_roomy(usable, align, &zero);
  if (to == NULL) {
    thread_relieve();
    to = large_new_roomy(usable, align, &zero);
    if (to == NULL) return thread_out_of_memory(newsize);
  }
  thread_count_large();
  size_t bytes = min_size(page->block_size, usable);
  uint32_t slices = (uint32_t)slices_of(bytes);
  bool movable = is_movable(page) && is_movable(to);
  int saved = errno;
  if (movable && os_info.can_move && bytes >= MOVE_MIN && piece_count(page, slices) < PIECES_MAX)
    move_pieces(to, page, slices);
  else
    copy_and_purge(page_start(to), page_start(page), bytes, movable && bytes >= 2 * COPY_STEP);
  errno = saved;
  large_free(page, page_start(page));
  return page_start(to);
}

/* ---- queries ---- */

INTERNAL bool large_contains(const void* p) {
  bool found = false;
  os_lock(&large_lock);
  for (page_t* page = large.first; page != NULL && !found; page = page->next)
    found = (uintptr_t)p - (uintptr_t)page_start(page) < page_span(page);
  os_unlock(&large_lock);
  return found;
}

INTERNAL void large_stats(large_stats_t* stats) {
  os_lock(&large_lock);
  stats->reserved = large.reserved;
  os_unlock(&large_lock);
}
