/* large_move.c - large blocks grow and shrink, where they are or by moving.
 *
 * Owns:    the fragment lengths of blocks that were moved.
 * Threads: the holder of the block.
 *
 * A block grows in place into free slices after it. Else it moves to new slices with room to grow
 * by half, so that growth by small steps moves it a logarithmic number of times. A move remaps OS
 * pages if the OS can; else it copies from the end, and purges the source after each step. A block
 * shrinks where it is, if an eighth of it or more is cut off.
 *
 * For the kernel a moved range is a mapping of its own, and a move must not span two mappings. So a
 * block records its fragments: `fragment` of the first descriptor is the length of the first
 * fragment in slices (0: the rest of the block). `fragment` of the descriptor after it is the
 * length of the next one, and so on. A block with FRAGMENTS_MAX fragments or more is copied, and
 * so are blocks beyond the budget of mappings, see large_may_move(). When a moved block is freed
 * its range is remapped, and merges with its neighbours.
 */
#include "large_move.h"
#include "../memory/arena_open.h"
#include "../memory/thp.h"
#include "../memory/page_map.h"
#include "../memory/slice_reuse.h"
#include "../base/checker.h"
#include "../runtime/options.h"
#include <errno.h>

#define MOVE_MIN (256 * KiB) /* below this size copying is cheaper than the system call */
#define FRAGMENTS_MAX 16
#define COPY_STEP MiB

/* ---- fragments ---- */

static void set_fragment(page_t* page, uint32_t i, uint32_t length) {
  store_relaxed(&map_descriptor_of_slice(page->slice + i)->fragment, length);
}

/* Length of the fragment that starts at slice `i` of the block, cut at slice `end`. */
static uint32_t fragment_length(page_t* page, uint32_t i, uint32_t end) {
  uint32_t length = load_relaxed(&map_descriptor_of_slice(page->slice + i)->fragment);
  return (length == 0 || length > end - i) ? end - i : length;
}

static size_t fragment_count(page_t* page, uint32_t end) {
  size_t n = 0;
  for (uint32_t i = 0; i < end; i += fragment_length(page, i, end)) n++;
  return n;
}

/* The slice at which the last fragment starts: what was moved lies before it. */
static uint32_t last_fragment(page_t* page) {
  uint32_t end = page_slices(page), last = 0;
  if (!page_has_flag(page, PAGE_MOVED)) return 0;
  for (uint32_t i = 0; i < end; i += fragment_length(page, i, end)) last = i;
  return last;
}

/* ---- resizing in place ---- */

/* The program has cut off so much: the memory goes back at once, not after the purge delay. Not if
 * the block has shrunk before: it may grow and shrink in turn. */
static void purge_tail(page_t* page, uint32_t slice, uint32_t slices) {
  bool zero, first = !page_has_flag(page, PAGE_SHRUNK);
  page_set_flag(page, PAGE_SHRUNK, true);
  if (slices < LARGE_HUGE || !is_movable(page) || option_value(mi_option_purge_delay) < 0) return;
  (void)thp_note_use(page->arena, slice, slices);
  uint32_t part = (0 - slice) % THP_SLICES; /* of a huge page that the block still uses */
  if (first && slices > part)
    (void)os_purge(slice_address(slice + part), (slices - part) * SLICE_SIZE, true, &zero);
}

static void large_trim(page_t* page, size_t usable) {
  uint32_t keep = (uint32_t)large_slices(usable), drop = page_slices(page) - keep;
  if (drop == 0) return;
  char* tail = page_start(page) + (size_t)keep * SLICE_SIZE;
  bool moved = page_has_flag(page, PAGE_MOVED);
  /* A small tail is only purged: the block's free returns its addresses. */
  if (moved && !SECURE_GUARDS && drop < LARGE_HUGE) {
    bool zero;
    (void)os_purge(tail, (size_t)drop * SLICE_SIZE, true, &zero);
    return;
  }
  if (page->arena == ARENA_NONE) {
    page_set_slices(page, keep);
    os_release(tail, (size_t)drop * SLICE_SIZE);
    large_count_unmapped((size_t)drop * SLICE_SIZE);
  } else {
    page_set_slices(page, keep);
    if (MI_SECURE == 0 && !moved) purge_tail(page, page->slice + keep, drop);
    if (!moved || remap_slices(page->arena, page->slice + keep, drop))
      return_slices(page->arena, page->slice + keep, drop, (size_t)drop * SLICE_SIZE);
  }
}

static bool resize_unguarded(page_t* page, size_t newsize) {
  size_t usable = usable_for(newsize);
  if (usable < page->block_size) {
    if (!SECURE_CANARIES && page->block_size - usable < page->block_size / 8) return true;
    set_usable(page, usable);
    large_trim(page, usable);
    return true;
  }
  size_t span = page_span(page), whole = usable + large_guard_size();
  if (whole > span) {
    if (page->arena == ARENA_NONE) return false;
    size_t more = slices_of(whole - span);
    bool zero;
    if (more > UINT32_MAX >> 1 || !large_may_grow(page, more) ||
        !arena_extend(page->arena, page->slice + page_slices(page), (uint32_t)more, &zero))
      return false;
    if (page_has_flag(page, PAGE_MOVED)) /* the new slices are the last fragment */
      set_fragment(page, page_slices(page), 0);
    page_set_slices(page, page_slices(page) + (uint32_t)more);
  }
  bool dense = usable >= LARGE_HUGE * SLICE_SIZE &&
               usable / THP_SIZE != page->block_size / THP_SIZE &&
               thp_is_dense(page_start(page), page->block_size);
  set_usable(page, usable);
  if (dense) large_advise(page, last_fragment(page), true);
  return true;
}

/* Level 4: clears what a block that shrank left in the slices it keeps, unless its guard covers it.
 */
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
  if (!owner_is_large(load_relaxed(&page->owner)))
    return false; /* not live: the caller reports it */
  size_t old = page->block_size, span = page_span(page);
  bool done = resize_guarded(page, newsize);
  large_count_span(page, span);
  large_count_resized(old, page->block_size);
  return done;
}

/* ---- moving ---- */

/* Copies `size` bytes. If dst is zero, OS pages that are zero are left out: they may never have
 * been touched, and need no memory in dst either. */
static void copy_pages(char* dst, const char* src, size_t size, bool zero) {
  if (!zero || MI_TRACK) {
    memcpy(dst, src, size);
    return;
  }
  for (size_t n; size > 0; dst += n, src += n, size -= n) {
    n = min_size(size, os_info.page_size);
    if (*src != 0 || !is_zero(src, n)) memcpy(dst, src, n);
  }
}

/* Copies from the end in steps; with `purge` returns the source of each step to the kernel. `zero`:
 * dst reads as zero. */
static void copy_and_purge(char* dst, char* src, size_t size, bool purge, bool zero) {
  track_open(dst, size);
  track_open(src, size);
  while (size > 0) {
    size_t n = size % COPY_STEP == 0 ? COPY_STEP : size % COPY_STEP;
    size -= n;
    copy_pages(dst + size, src + size, n, zero);
    bool purged_to_zero;
    size_t whole = round_down(n, os_info.page_size);
    if (purge && whole > 0) (void)os_purge(src + size, whole, true, &purged_to_zero);
  }
}

/* A sparse block stays sparse: its copy must not make untouched memory resident. */
static void copy_contents(page_t* to, page_t* from, size_t bytes, bool movable, bool zero) {
  bool sparse = bytes >= MOVE_MIN && thp_can_measure() && !thp_is_dense(page_start(from), bytes);
  if (sparse && movable && !zero) (void)os_purge(page_start(to), bytes, true, &zero);
  copy_and_purge(page_start(to), page_start(from), bytes, movable && bytes >= 2 * COPY_STEP, zero);
}

/* Moves the first `slices` slices fragment by fragment. The new block records each one, and one
 * more for the fresh memory after them. If they exceed FRAGMENTS_MAX the next move copies. */
static void move_fragments(page_t* to, page_t* from, uint32_t slices, bool zero) {
  page_set_flag(to, PAGE_MOVED, true);
  page_set_flag(from, PAGE_MOVED, true);
  for (uint32_t i = 0, n; i < slices; i += n) {
    n = fragment_length(from, i, slices);
    /* Whole huge-page regions are moved on their own. Their advice may differ from that of the
     * slices beside them, which makes them separate mappings. And the kernel moves huge pages whole
     * only between congruent addresses. */
    uint32_t head = (0 - (from->slice + i)) % THP_SLICES;
    if (head != 0 && n > head)
      n = head;
    else if (n > THP_SLICES)
      n = (uint32_t)round_down(n, THP_SLICES);
    char* dst = page_start(to) + (size_t)i * SLICE_SIZE;
    char* src = page_start(from) + (size_t)i * SLICE_SIZE;
    /* Regions that were advised at different times may still be separate mappings. */
    bool moved;
    while (!(moved = os_move(dst, src, n * SLICE_SIZE)) && n > THP_SLICES)
      n = (uint32_t)round_up(n / 2, THP_SLICES);
    if (!moved) copy_and_purge(dst, src, n * SLICE_SIZE, true, zero);
    set_fragment(to, i, n);
  }
  if (slices < page_slices(to)) set_fragment(to, slices, 0);
  large_set_mappings(to, fragment_count(to, page_slices(to)) + 1); /* and the arena after it */
}

/* A block with room to grow by half; without that room if there is not enough memory. */
static page_t* large_new_roomy(heap_t* heap, size_t usable, size_t align, bool* zero) {
  size_t slices = large_slices(usable);
  page_t* page = large_new(heap, usable, slices + slices / 2, align, zero);
  return page != NULL ? page : large_new(heap, usable, slices, align, zero);
}

INTERNAL void* large_move(heap_t* heap, page_t* page, size_t newsize, size_t align) {
  size_t usable = usable_for(newsize);
  bool zero;
  page_t* to = large_new_roomy(heap, usable, align, &zero);
  if (to == NULL) return NULL;
  size_t bytes = min_size(page->block_size, usable);
  uint32_t slices = (uint32_t)slices_of(bytes);
  /* A move takes whole slices, and would take the guards along. */
  bool movable = is_movable(page) && is_movable(to) && large_unguard(page) && large_unguard(to);
  /* A block that is larger than before, and was used as a whole, will be used as a whole. */
  if (usable >= LARGE_HUGE * SLICE_SIZE && large_note_use(page) && usable > page->block_size)
    large_advise(to, 0, true);
  page_set_flag(page, PAGE_LEFT, true);
  if (movable && os_info.can_move && bytes >= MOVE_MIN &&
      fragment_count(page, slices) < FRAGMENTS_MAX && large_may_move())
    move_fragments(to, page, slices, zero);
  else
    copy_contents(to, page, bytes, movable, zero);
  large_guard(to, MI_SECURE > 0 && !page_has_flag(to, PAGE_GUARDED));
  large_wipe(to, (size_t)slices * SLICE_SIZE); /* whole slices were moved */
  large_free(page, page_start(page));
  return page_start(to);
}
