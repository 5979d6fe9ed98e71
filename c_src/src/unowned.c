/* unowned.c - finds unowned pages that have free blocks.
 *
 * Owns:    the unowned bits of each arena: one line of 512 bits per chunk and class, and per
 *          class a summary word of chunks.
 * Always:  bits are hints. Whoever clears a bit tries to claim the page; whoever makes a page
 *          worth claiming sets its bit.
 * Threads: any.
 * Uses:    page.h, arena.h.          Used by: heap, free.
 *
 * Argument: a bit that stays set for a page that is owned or free costs one failed claim. A page
 * worth claiming without a bit would be lost to others until its last block is freed: the bit is
 * set after the page became unowned and worth it, and a bit cleared by somebody who then could
 * not claim was cleared before that or belongs to the one who did claim. A summary bit is set
 * after its line and cleared before the line is looked at once more.
 */
#include "unowned.h"

#define PROBE_ARENAS ((size_t)4)
#define PROBE_PAGES 8

static unowned_line_t* line_of(arena_t* a, size_t chunk, size_t class) {
  return &a->unowned[chunk * CLASS_COUNT + class];
}

INTERNAL void unowned_offer(uint16_t arena, size_t class, uint32_t slice) {
  arena_t* a = arena_at(arena);
  size_t i = slice - a->first_slice, chunk = i / CHUNK_SLICES;
  bitmap_set(line_of(a, chunk, class)->bits, i % CHUNK_SLICES, 1);
  or_release(&a->unowned_summary[class], UINT64_C(1) << (chunk % 64));
}

/* What a heap with a tag left behind is for nobody else. */
static bool may_be_claimed(page_t* page) {
  uintptr_t name = load_relaxed(&page->owner) & ~(uintptr_t)OWNER_FLAGS; /* the page is ours */
  return name == 0 || name > OWNER_TAG(OWNER_TAG_MAX);
}

INTERNAL void unowned_let_go(page_t* page) {
  for (;;) {
    if (page_used(page) == 0) {
      page_release(page);
      return;
    }
    /* What others need to offer the page, before it can be claimed and change hands. */
    uint16_t arena = page->arena;
    size_t class = page_class(page);
    uint32_t slice = page->slice;
    bool offer = page_free_count(page) >= page_claimable_count(page) && may_be_claimed(page);
    if (page_disown(page)) {
      if (offer) unowned_offer(arena, class, slice);
      return;
    }
    page_take_back(page);
  }
}

/* Tries the pages of one line; counts down `*probes`. */
static page_t* claim_in_line(arena_t* a, size_t chunk, size_t class, int* probes) {
  unowned_line_t* line = line_of(a, chunk, class);
  for (size_t w = 0; w < CHUNK_SLICES / 64; w++) {
    uint64_t bits;
    while (*probes > 0 && (bits = load_relaxed(&line->bits[w])) != 0) {
      uint64_t bit = bits & (0 - bits);
      if ((and_acquire(&line->bits[w], ~bit) & bit) == 0) continue; /* somebody else has it */
      (*probes)--;
      size_t i = chunk * CHUNK_SLICES + w * 64 + (size_t)__builtin_ctzll(bit);
      uint32_t slice = a->first_slice + (uint32_t)i;
      if (!page_claim(slice)) continue;
      page_t* page = map_slot_of_slice(slice);
      if (page_class(page) == class && may_be_claimed(page)) return page;
      unowned_let_go(page); /* another life of the same slice, or not for us */
    }
  }
  return NULL;
}

/* Tries the pages of one arena; counts down `*probes`. */
static page_t* claim_in_arena(arena_t* a, size_t class, int* probes) {
  uint64_t summary = load_relaxed(&a->unowned_summary[class]);
  while (summary != 0 && *probes > 0) {
    size_t s = (size_t)__builtin_ctzll(summary);
    summary &= summary - 1;
    /* Clear first, then look: who sets a bit meanwhile sets the summary bit again. */
    (void)and_acquire(&a->unowned_summary[class], ~(UINT64_C(1) << s));
    page_t* page = NULL;
    bool left = false;
    for (size_t chunk = s; chunk * CHUNK_SLICES < a->slices && page == NULL; chunk += 64) {
      page = claim_in_line(a, chunk, class, probes);
      left |= page != NULL || bitmap_any(line_of(a, chunk, class)->bits, 0, CHUNK_SLICES);
    }
    if (left) or_release(&a->unowned_summary[class], UINT64_C(1) << s);
    if (page != NULL) return page;
  }
  return NULL;
}

/* Only heaps that belong to no arena claim pages, so exclusive arenas are not searched. Where there
 * are more arenas than one search looks at, the next search begins where this one ended. */
INTERNAL page_t* unowned_claim(size_t class) {
  static _Atomic(size_t) next_arena; /* relaxed: a hint */
  int probes = PROBE_PAGES;
  size_t count = arena_shared_count(), i = 0;
  if (count > PROBE_ARENAS) i = load_relaxed(&next_arena) % count;
  for (size_t k = min_size(count, PROBE_ARENAS); k > 0 && probes > 0; k--) {
    page_t* page = claim_in_arena(arena_shared_at(i), class, &probes);
    if (page != NULL) return page;
    i = (i + 1) % count;
  }
  if (count > PROBE_ARENAS) store_relaxed(&next_arena, i);
  return NULL;
}
