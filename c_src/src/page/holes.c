/* holes.c - gives back the OS pages inside partly used pages, and uses their blocks again.
 *
 * Owns:    the `holes` bits of each page.
 * Always:  a page has up to PAGE_UNITS units of equal size, each at least an OS page. A unit is a
 *          hole if its bit is set; its memory went back to the system. A block that overlaps a hole
 *          is free. It lies below the capacity of the page, is on no list, and counts as used, so
 *          the local list has `capacity - used` blocks as without holes. page_live leaves these
 *          blocks out.
 * Threads: any; each page has one owner at a time.
 *
 * Which pages. The countdown of a page in a partial list ends when few of its blocks are live
 * (page_watch). Its heap then abandons it. abandon_page publishes each sparse page, and so does
 * each remote free that finds an abandoned page sparse. A thread here takes the bit, claims the
 * page as an allocation would, makes holes, and abandons the page again. Between claim and abandon
 * it is the owner, so the argument in page.h covers it: frees by other threads meanwhile stay on
 * the remote list, and the abandon finds them and publishes the page again. A free that publishes
 * the page earlier was pushed before the bit was set, so the claim sees its block.
 *
 * An allocation that claims a page with holes takes the free blocks that have memory first, then
 * the blocks of one hole after the other, then never-used blocks. So holes lie only in active and
 * in abandoned pages.
 *
 * Forks. Only one thread at a time has a page claimed here (`busy`), for a few dozen system calls
 * at most. A fork waits for that moment to pass, so that the child finds no claimed page. It does
 * not wait for ever: that thread may be stopped. Then the child loses this one page. A collection
 * that finds the same turn for a tenth of a second takes over. The stopped thread still owns its
 * page, and goes on with it some day; nothing else depends on the turn.
 *
 * Only in builds with MI_HOLES. The pages of first-class heaps get no holes: such a heap abandons
 * none. Neither do those in memory that the program provided or that cannot be purged.
 */
#include "holes.h"
#include "../memory/arena.h"
#include "../memory/arena_list.h"
#include "../memory/arena_purge.h"
#include "../memory/thp.h"
#include "../runtime/options.h"
#include "abandoned.h"

/* ---- one thread at a time ---- */

#define BUSY_NAPS 200
#define BUSY_NAP_US 500 /* a tenth of a second in all */

static _Atomic(uint32_t) busy;  /* the turn of the thread that has claimed a page; 0: none has */
static _Atomic(uint32_t) turns; /* relaxed: makes each turn another number */
#define TURN_STOP 1u            /* holes_stop was called: no thread takes over */

/* Acquire and release: the next thread finds what the last one did. The turn; 0: it is another
 * thread's. */
static uint32_t turn_begin(uint32_t after, uint32_t flag) {
  uint32_t turn = 4 * add_relaxed(&turns, 1) + 2 + flag;
  return cas_acq_rel(&busy, &after, turn) ? turn : 0;
}
/* No effect if another thread has taken over. */
static void turn_end(uint32_t turn) { (void)cas_acq_rel(&busy, &turn, 0); }

static uint32_t turn_wait(uint32_t flag) {
  uint32_t turn = turn_begin(0, flag), other = load_relaxed(&busy); /* the exchange checks it */
  for (int i = 0; turn == 0 && i < BUSY_NAPS; i++) {
    os_nap(BUSY_NAP_US);
    turn = turn_begin(0, flag);
  }
  if (turn == 0 && other != 0 && (other & TURN_STOP) == 0) turn = turn_begin(other, flag);
  return turn;
}

INTERNAL uint32_t holes_stop(void) { return MI_HOLES ? turn_wait(TURN_STOP) : 0; }
INTERNAL void holes_go_on(uint32_t turn) {
  if (turn != 0) turn_end(turn);
}
INTERNAL void holes_reset_after_fork(void) {
  store_relaxed(&busy, 0); /* the child has a single thread */
}

/* ---- making holes ---- */

/* True if the unit can become a hole: it has blocks, and all of them are free. Not at level 4 if a
 * stale pointer has written there: that is found when the block is allocated again. */
static bool unit_is_free(const page_t* page, const uint64_t* free, size_t u) {
  size_t first, end;
  if ((u + 1) * page_unit(page) > page_slices(page) * SLICE_SIZE - guard_size()) return false;
  page_unit_blocks(page, u, u + 1, &first, &end);
  if (first >= end || end > page->capacity) return false;
  for (size_t i = first; i < end; i++)
    if ((free[i / 64] & (UINT64_C(1) << (i % 64))) == 0) return false;
  return !SECURE_ZERO || is_zero(page_start(page) + u * page_unit(page), page_unit(page));
}

/* Takes the blocks in holes off the local list. */
static void unlink_blocks(page_t* page, uint32_t holes) {
  block_t *first = NULL, *last = NULL;
  size_t n = 0;
  for (block_t *b = page->local, *next; b != NULL; b = next) {
    next = block_next(page, b);
    if (block_overlaps(page, b, holes)) {
      block_unlink(page, b);
      n++;
      continue;
    }
    if (last == NULL)
      first = b;
    else
      block_relink(page, last, b);
    last = b;
  }
  if (last != NULL) block_relink(page, last, NULL);
  page->local = first;
  page_set_used(page, page_used(page) + n);
}

/* Returns the units to the system, run by run; the bytes that went back. A unit that stays resident
 * is a hole as well. */
static size_t purge_units(arena_t* a, page_t* page, uint32_t units) {
  size_t region = (page->slice - a->first_slice) / THP_SLICES, unit = page_unit(page), bytes = 0;
  bool decommits = option_value(mi_option_purge_decommits) != 0, zero;
  /* Otherwise the kernel might make the region one huge page again, see arena_purge.c. */
  if (region < a->thp_regions && bitmap_any(a->huge, region, 1))
    thp_withdraw(a, region, region + 1);
  while (units != 0) {
    size_t from = lowest_bit(units), n = lowest_bit(~(units >> from));
    units &= ~(((1u << n) - 1) << from);
    if (!os_purge(page_start(page) + from * unit, n * unit, decommits, &zero)) continue;
    purge_count(n * unit);
    bytes += n * unit;
  }
  return bytes;
}

/* Owner of a page that no thread allocates from. */
static size_t make_holes(arena_t* a, page_t* page) {
  uint64_t free[PAGE_BLOCKS_MAX / 64];
  uint32_t old = load_relaxed(&page->holes), holes = old; /* only the owner writes it */
  if (SECURE_GUARDS && page_class(page) == 0) return 0;   /* inaccessible */
  page_mark_free(page, free);
  for (size_t u = 0; u < PAGE_UNITS; u++)
    if ((old & 1u << u) == 0 && unit_is_free(page, free, u)) holes |= 1u << u;
  if (holes == old) return 0;
  unlink_blocks(page, holes);
  store_relaxed(&page->holes, (uint16_t)holes); /* relaxed: published with the remote word */
  return purge_units(a, page, holes & ~old);
}

/* The bytes that went back. */
static size_t purge_page(arena_t* a, uint32_t slice) {
  size_t bytes = 0;
  if (!page_claim(slice)) return 0; /* owned, or free */
  page_t* page = map_descriptor_of_slice(slice);
  if (page_is_sparse(page)) bytes = make_holes(a, page);
  abandon_page_as(page, false);
  return bytes;
}

/* ---- finding pages ---- */

static _Atomic(bool) unfinished; /* relaxed, a hint: the budget ended in the middle of a round */

/* Purges the pages of one word: all, or those that were published in the last round too. The others
 * are due in the next round. False if `*bytes` is used up, or another thread is at it. */
static bool purge_word(arena_t* a, size_t w, bool all, size_t* bytes) {
  /* Sequentially consistent, see abandoned.c. */
  uint64_t bits = load_seq_cst(&a->sparse[w]), bit;
  if (bits == 0) return true;
  uint64_t due = all ? bits : bits & load_relaxed(&a->sparse_before[w]);
  /* Relaxed, a hint: at worst the page is purged one round too early or too late. */
  if (due != bits && !load_relaxed(&unfinished)) or_relaxed(&a->sparse_before[w], bits & ~due);
  for (; due != 0; due -= bit) {
    bit = due & (0 - due);
    uint32_t turn = *bytes == 0 ? 0 : all ? turn_wait(0) : turn_begin(0, 0);
    if (turn == 0) return false;
    if ((and_acquire(&a->sparse[w], ~bit) & bit) != 0) {
      uint32_t slice = a->first_slice + (uint32_t)(w * BITS_PER_WORD + lowest_bit(bit));
      /* A page without a hole costs time as well. */
      size_t cost = max_size(purge_page(a, slice), os_info.page_size);
      *bytes -= min_size(*bytes, cost);
    }
    turn_end(turn);
  }
  return true;
}

/* True if `*bytes` did not suffice, or another thread is at it. */
static bool purge_pages(bool all, size_t* bytes, bool* waits) {
  FOR_ARENAS(a) {
    for (size_t w = 0; w < bitmap_words(a->slices); w++) {
      if (!purge_word(a, w, all, bytes)) return true;
      *waits |= load_relaxed(&a->sparse[w]) != 0; /* what is published later sets the time itself */
    }
  }
  return false;
}

static void purge_again_at(uint64_t at) {
  uint64_t none = 0;
  (void)purge_schedule(&sparse_at, &none, at);
}

INTERNAL bool holes_purge(size_t* bytes) {
  bool waits = false;
  if (!MI_HOLES) return false;
  /* No time is set while another thread makes holes, and that one may leave pages for later. */
  (void)swap_seq_cst(&sparse_at, 0);
  if (!purge_pages(true, bytes, &waits)) return false;
  purge_again_at(os_clock_ms());
  return *bytes == 0; /* if another thread holds a page for long, the caller does not wait again */
}

INTERNAL bool holes_purge_due(size_t* bytes) {
  uint64_t at = load_relaxed(&sparse_at), now; /* a hint, the exchange decides */
  bool waits = false, more = false;
  if (!MI_HOLES || at == 0 || (now = os_clock_ms()) < at || swap_seq_cst(&sparse_at, 0) == 0)
    return false;
  more = purge_pages(false, bytes, &waits);
  store_relaxed(&unfinished, more);
  /* If another thread holds a page for long, this one does not look again and again. */
  long delay = option_value(mi_option_purge_delay);
  uint64_t next = now + (delay > 0 ? (uint64_t)delay : 1);
  if (more || waits) purge_again_at(more && *bytes == 0 ? now : next);
  return more && *bytes == 0;
}

/* ---- using their blocks again ---- */

INTERNAL block_t* hole_fill_one(page_t* page, size_t* count) {
  *count = 0;
  for (uint32_t holes; (holes = load_relaxed(&page->holes)) != 0;) {
    size_t u = lowest_bit(holes), i, end;
    page_unit_blocks(page, u, u + 1, &i, &end);
    holes &= holes - 1;
    store_relaxed(&page->holes, (uint16_t)holes); /* only the owner writes it */
    block_t *first = NULL, *last = NULL;
    for (; i < end; i++) {
      block_t* b = (block_t*)(void*)(page_start(page) + i * page->block_size);
      if (block_overlaps(page, b, holes)) continue;
      if (last == NULL)
        first = b;
      else
        block_link_again(page, last, b);
      last = b;
      ++*count;
    }
    if (last == NULL) continue; /* a block that overlaps another hole as well */
    block_link_again(page, last, NULL);
    return SECURE_ORDER ? states_shuffle(page, first) : first;
  }
  return NULL;
}

INTERNAL void holes_fill(page_t* page) {
  size_t count;
  for (block_t* list; (list = hole_fill(page, &count)) != NULL;)
    page_return_list(page, list, count);
}
