/* abandoned.c - finds abandoned pages that have free blocks.
 *
 * Owns:    the bits for abandoned pages of each arena: one line of 512 bits per chunk and class,
 *          and one summary word of chunks per class; the bits for sparse pages, and their time.
 * Always:  bits are hints. The thread that clears a bit tries to claim the page. The thread that
 *          makes a page worth claiming sets its bit.
 * Threads: any.
 *
 * Argument: a bit that stays set for an owned or free page costs one failed claim. A page that is
 * worth claiming but has no bit would be unusable until its last block is freed. This does not
 * happen: the bit is set after the page became abandoned and worth claiming. If a thread clears the
 * bit and its claim fails, then it cleared the bit before the page was abandoned, or another thread
 * claimed the page. A summary bit is set after the bit in its line. It is cleared before the search
 * reads the line again.
 *
 * A sparse page is published in the same way, and the time when such pages are due like that of the
 * purges in arena_purge.c: bit, then time; the thread that makes holes takes the time, then reads
 * the bits. All four accesses are sequentially consistent.
 */
#include "abandoned.h"
#include "../memory/arena.h"
#include "../memory/arena_list.h"
#include "../memory/arena_purge.h"
#include "../runtime/options.h"

#define PROBE_ARENAS ((size_t)4)
#define PROBE_PAGES 8

static abandoned_line_t* line_of(arena_t* a, size_t chunk, size_t cls) {
  return &a->abandoned[chunk * CLASS_COUNT + cls];
}

INTERNAL void abandoned_publish(uint16_t arena, size_t cls, uint32_t slice) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, chunk = i / CHUNK_SLICES;
  bitmap_set(line_of(a, chunk, cls)->bits, i % CHUNK_SLICES, 1);
  or_release(&a->abandoned_summary[cls], UINT64_C(1) << (chunk % 64));
}

/* False for the page of a tagged heap that has ended: no heap may claim it. */
static bool may_be_claimed(page_t* page) {
  return owner_tag(load_relaxed(&page->owner)) == 0; /* relaxed: this thread owns the page */
}

static NOINLINE void sparse_publish_now(arena_t* a, size_t i) {
  long delay = option_value(mi_option_purge_delay);
  if (!arena_is_movable(a) || delay < 0) return;
  (void)bitmap_clear(a->sparse_before, i, 1);
  bitmap_set(a->sparse, i, 1);
  uint64_t at = load_seq_cst(&sparse_at);
  if (at == 0) (void)purge_schedule(&sparse_at, &at, os_clock_ms() + (uint64_t)delay);
}

INTERNAL void sparse_publish(uint16_t arena, uint32_t slice) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, w = i / BITS_PER_WORD;
  /* Relaxed loads suffice: if a purge has cleared the bit and abandoned the page before this thread
   * pushed its block, then the push has acquired that. Else the claim finds the block. */
  uint64_t fresh = load_relaxed(&a->sparse[w]) & ~load_relaxed(&a->sparse_before[w]);
  if ((fresh >> i % BITS_PER_WORD & 1) == 0) sparse_publish_now(a, i);
}

INTERNAL void abandon_page_as(page_t* page, bool sparse) {
  page_set_bias(page, 0);
  for (;;) {
    if (page_live(page) == 0) {
      page_release(page);
      return;
    }
    /* Read now: after page_try_abandon another thread may claim the page. */
    uint16_t arena = page->arena;
    size_t cls = page_class(page);
    uint32_t slice = page->slice;
    bool claimable = page_free_count(page) >= page_claimable_count(page) && may_be_claimed(page);
    if (page_try_abandon(page)) {
      if (claimable) abandoned_publish(arena, cls, slice);
      if (sparse) sparse_publish(arena, slice);
      return;
    }
    page_reclaim(page);
    sparse = page_is_sparse(page);
  }
}

INTERNAL NOINLINE push_t remote_free(page_t* page, block_t* block, bool reclaim) {
  /* Read now: after the push another thread may release the page. */
  uint16_t arena = page->arena;
  size_t cls = page_class(page);
  uint32_t slice = page->slice;
  push_t result = page_push_remote(page, block, reclaim);
  if (result == PUSH_CLAIMABLE)
    abandoned_publish(arena, cls, slice);
  else if (result == PUSH_SPARSE)
    sparse_publish(arena, slice);
  else if (result == PUSH_LAST)
    page_release(page);
  return result;
}

/* Tries the pages of one line; counts down `*probes`. */
static page_t* claim_in_line(arena_t* a, size_t chunk, size_t cls, int* probes) {
  abandoned_line_t* line = line_of(a, chunk, cls);
  for (size_t w = 0; w < CHUNK_SLICES / 64; w++) {
    uint64_t bits;
    while (*probes > 0 && (bits = load_relaxed(&line->bits[w])) != 0) {
      uint64_t bit = bits & (0 - bits);
      if ((and_acquire(&line->bits[w], ~bit) & bit) == 0) continue; /* another thread took it */
      (*probes)--;
      size_t i = chunk * CHUNK_SLICES + w * 64 + lowest_bit(bit);
      uint32_t slice = a->first_slice + (uint32_t)i;
      if (!page_claim(slice)) continue;
      page_t* page = map_descriptor_of_slice(slice);
      if (page_class(page) == cls && may_be_claimed(page)) return page;
      abandon_page(
          page); /* the bit was from an earlier page at this slice, or the heap is tagged */
    }
  }
  return NULL;
}

/* Tries the pages of one arena; counts down `*probes`. */
static page_t* claim_in_arena(arena_t* a, size_t cls, int* probes) {
  uint64_t summary = load_relaxed(&a->abandoned_summary[cls]);
  while (summary != 0 && *probes > 0) {
    size_t s = lowest_bit(summary);
    summary &= summary - 1;
    /* Clear first, then look: a thread that sets a bit meanwhile sets the summary bit again. */
    (void)and_acquire(&a->abandoned_summary[cls], ~(UINT64_C(1) << s));
    page_t* page = NULL;
    bool left = false;
    for (size_t chunk = s; chunk * CHUNK_SLICES < a->slices && page == NULL; chunk += 64) {
      page = claim_in_line(a, chunk, cls, probes);
      left |= page != NULL || bitmap_any(line_of(a, chunk, cls)->bits, 0, CHUNK_SLICES);
    }
    if (left) or_release(&a->abandoned_summary[cls], UINT64_C(1) << s);
    if (page != NULL) return page;
  }
  return NULL;
}

/* Only heaps that are bound to no arena claim pages, so exclusive arenas are not searched. If there
 * are more arenas than one search looks at, the next search begins where this one ended. */
INTERNAL page_t* abandoned_claim(size_t cls) {
  static _Atomic(size_t) next_arena; /* relaxed: a hint */
  int probes = PROBE_PAGES;
  size_t count = arena_shared_count(), i = 0;
  if (count > PROBE_ARENAS) i = load_relaxed(&next_arena) % count;
  for (size_t k = min_size(count, PROBE_ARENAS); k > 0 && probes > 0; k--) {
    page_t* page = claim_in_arena(arena_shared_at(i), cls, &probes);
    if (page != NULL) return page;
    i = (i + 1) % count;
  }
  if (count > PROBE_ARENAS) store_relaxed(&next_arena, i);
  return NULL;
}
