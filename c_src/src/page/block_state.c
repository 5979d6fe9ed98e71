/* block_state.c - see block_state.h.
 *
 * Threads: the owner of the page.
 */
#include "block_state.h"
#include "../memory/arena_list.h"
#include "../memory/slice_reuse.h"
#include "block_words.h"

#if MI_SECURE > 0

/* ---- pages ---- */

/* The guarded end of a page. For blocks of size 0 it is the whole page: no access is valid. */
static char* guard_of(page_t* page, size_t* size) {
  size_t span = page_slices(page) * SLICE_SIZE;
  *size = page_class(page) == 0 ? span : guard_size();
  return page_start(page) + span - *size;
}

/* The previous page at these slices left its guard. Blocks of size 0 need a larger one. */
static bool has_its_guard(page_t* page) {
  return page_has_flag(page, PAGE_GUARDED) && page_class(page) != 0;
}

INTERNAL void states_begin(page_t* page) {
  arena_t* a = arena_at(page->arena);
  size_t i = page->slice - a->first_slice, size;
  char* tables = (char*)a->states;
  char* dense = tables + i * STATES_DENSE;
  char* wide = tables + a->slices * STATES_DENSE + i * STATES_WIDE;
  page->states = (block_state_t*)(void*)(page->block_size >= STATES_DENSE_FROM ? dense : wide);
  page->start = page_start(page);
  page->link_shift = page_slices(page) == 1 ? 3 : 10; /* larger sizes are multiples of 1 KiB */
  page->reciprocal = (UINT64_C(1) << RECIPROCAL_SHIFT) / page->block_size + 1;
  page->epoch = load_relaxed(&random_epoch);
  /* One entry more for the rest of the page, which no block fits in. */
  size_t entries = (page_slices(page) * SLICE_SIZE - 1) / page->block_size + 1;
  for (size_t k = 0; k < entries; k++) store_relaxed(&page->states[k], STATE_NEVER);
  char* guard = guard_of(page, &size);
  /* If the kernel refuses the guard, the page works without it. */
  if (SECURE_GUARDS && size > 0 && arena_is_movable(a) && !has_its_guard(page) &&
      guard_set(guard, size))
    page_set_flag(page, PAGE_GUARDED, true);
}

INTERNAL void states_end(page_t* page) {
  size_t size;
  char* guard = guard_of(page, &size);
  if (!page_has_flag(page, PAGE_GUARDED)) return;
  uint32_t last = page->slice + page_slices(page) - 1;
  /* The guard stays: the next page here usually holds small blocks and needs it again. */
  if (os_guards_are_light() && page_class(page) != 0)
    guard_note_end(page->arena, last);
  else if (!guard_remove(guard, size))
    guard_note(page->arena, last, 1);
}

INTERNAL void states_clear_live(page_t* page) {
  if (!SECURE_ZERO || page_class(page) == 0) return;
  for (size_t k = 0; k < page->capacity; k++)
    if (load_relaxed(&page->states[k]) == STATE_LIVE)
      memset(page->start + k * page->block_size, 0, page->block_size);
}

INTERNAL block_t* states_extend(page_t* page, size_t from, size_t n) {
  block_state_t* side = page->states + from;
  size_t unit = page->block_size >> page->link_shift, last = n - 1;
  uint16_t bits = 0;
  if (SECURE_ZERO && page_has_flag(page, PAGE_ZERO)) bits = STATE_FRESH;
  if (SECURE_ZERO && page_has_flag(page, PAGE_ABSENT)) bits = STATE_ABSENT;
  for (size_t i = 0; i < n; i++)
    store_relaxed(&side[i], (uint16_t)((from + (SECURE_ORDER ? i : i + 1)) * unit) | bits);
  size_t first = from * unit;
  if (SECURE_ORDER) {
    /* Swapping each link with a random earlier one makes one random cycle of all blocks. It is cut
     * at a random place. */
    random_t random = random_start();
    for (size_t i = n - 1; i > 0; i--) {
      size_t k = random_below(random_next(&random), i);
      uint16_t link = load_relaxed(&side[i]);
      store_relaxed(&side[i], load_relaxed(&side[k]));
      store_relaxed(&side[k], link);
    }
    last = random_below(random_next(&random), n);
    first = load_relaxed(&side[last]) & STATE_END;
  }
  store_relaxed(&side[last], STATE_END | bits);
  return (block_t*)(void*)(page->start + (first << page->link_shift));
}

/* One pass of a radix sort by 4 random bits: moves the blocks to random piles, then joins the
 * piles. Three passes sort the list by random numbers of twelve bits. */
#define PILES 16
static block_t* deal(page_t* page, block_t* list, random_t* random) {
  block_t *first[PILES] = {NULL}, *last[PILES], *all = NULL;
  for (block_t* next; list != NULL; list = next) {
    next = block_next(page, list);
    size_t pile = random_below(random_next(random), PILES);
    if (first[pile] == NULL)
      first[pile] = list;
    else
      block_relink(page, last[pile], list);
    last[pile] = list;
  }
  for (size_t pile = 0; pile < PILES; pile++) {
    if (first[pile] == NULL) continue;
    block_relink(page, last[pile], all);
    all = first[pile];
  }
  return all;
}
INTERNAL block_t* states_shuffle(page_t* page, block_t* list) {
  random_t random = random_start();
  for (int i = 0; i < 3; i++) list = deal(page, list, &random);
  return list;
}

/* ---- writes after free ---- */

static COLD void written_to(page_t* page, block_t* block) {
  violation_report(EFAULT, "write after free", "found as the block was to be used again", page,
                   block);
  memset(block, 0, page->block_size);
}

/* Faults in each OS page of the block by a write that changes nothing. Without it the zero check
 * would take one fault for a read, and the first write to the page another. */
static void make_resident(block_t* block, size_t size) {
  char *at = (char*)block, *end = at + size;
  for (; at < end; at = (char*)round_up((uintptr_t)at + 1, os_info.page_size)) {
    uintptr_t zero = 0;
    (void)cas_relaxed((_Atomic(uintptr_t)*)(void*)at, &zero, 0);
  }
}

/* Except for size 0, a block is at least two words, and whole words. */
INTERNAL void states_check_zero(page_t* page, block_t* block, uint16_t entry) {
  if (page_class(page) == 0) return;
  if ((entry & STATE_ABSENT) != 0) make_resident(block, page->block_size);
  if (unlikely(!is_zero(block, page->block_size))) written_to(page, block);
}

#endif
