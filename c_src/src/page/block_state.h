/* block_state.h - what secure builds know of each block, kept where an overflow cannot reach it.
 *
 * The block-state table has one entry for each block of a page. An entry is one of the states below
 * (live, never allocated, freed), or it is the link of a block in a free list: the offset of the
 * next block, in units that make it fit 13 bits. Two more bits of a link describe the memory of a
 * block that was not allocated yet in this life of the page.
 *
 * Threads: the thread that holds a block may read its entry and free it; all else: the owner of the
 *          page.
 *
 * The thread that changes STATE_LIVE to STATE_FREED owns the block and its entry. It writes the
 * link before the push that publishes it (see page.h), so relaxed accesses suffice. Below level 4
 * the owner of a page frees with a load and a store instead of a compare-and-swap. If another
 * thread frees the same block between the two, the fault is found when the block is allocated
 * twice.
 */
#pragma once

#include "../memory/page_descriptor.h"
#include "../os/os.h"
#include "../runtime/random.h"
#include "violation.h"

/* Bytes of the guard at the end of a page of blocks; 0 if an OS page is more than a quarter of a
 * slice. */
static inline size_t guard_size(void) {
  return SECURE_GUARDS && os_info.page_size <= SLICE_SIZE / 4 ? os_info.page_size : 0;
}
static inline size_t large_guard_size(void) { return MI_SECURE > 0 ? os_info.page_size : 0; }

#if MI_SECURE > 0

enum {
  STATE_LIVE = 0xffff,
  STATE_NEVER = 0xfffe, /* never allocated */
  STATE_FREED = 0xfffd, /* freed, and in no list yet, or in a hole */
  STATE_LINKS = 32768,  /* entries below are links: the next block's offset >> link_shift, */
  STATE_END = 8191,     /* or the end of the list, at which no block starts; */
  STATE_FRESH = 8192,   /* link bit: the block's memory was never used, so it is zero */
  STATE_ABSENT = 16384  /* link bit: it was used, but returned to the kernel and is not resident */
};

#define RECIPROCAL_SHIFT 40 /* exact if offset times size is less than 2^40 */

static inline size_t block_index(const page_t* page, const void* p) {
  uint64_t offset = (uint64_t)((const char*)p - page->start);
  return (size_t)((offset * page->reciprocal) >> RECIPROCAL_SHIFT);
}
static inline block_state_t* block_state(const page_t* page, const void* p) {
  return &page->states[block_index(page, p)];
}
/* `p`: any address in the page. */
static inline bool is_block_start(const page_t* page, const void* p) {
  return page->start + block_index(page, p) * page->block_size == p;
}
static inline bool block_is_live(const page_t* page, const void* p) {
  return likely(is_block_start(page, p)) && load_relaxed(block_state(page, p)) == STATE_LIVE;
}
static inline block_t* block_of_link(const page_t* page, const block_t* block, uint16_t entry) {
  size_t link = entry & STATE_END;
  if (unlikely(entry >= STATE_LINKS)) return violation_bad_list(page, block);
  return likely(link != STATE_END) ? (block_t*)(void*)(page->start + (link << page->link_shift))
                                   : NULL;
}
static inline block_t* block_next(const page_t* page, const block_t* block) {
  return block_of_link(page, block, load_relaxed(block_state(page, block)));
}
static inline uint16_t link_to(const page_t* page, const block_t* next) {
  size_t link = (size_t)((const char*)next - page->start) >> page->link_shift;
  return next == NULL ? STATE_END : (uint16_t)link;
}
/* Links a block that was freed. */
static inline void block_link(page_t* page, block_t* block, block_t* next) {
  store_relaxed(block_state(page, block), link_to(page, next));
}
/* Links a block that is in a list already; keeps the bits that tell what its memory is. */
static inline void block_relink(page_t* page, block_t* block, block_t* next) {
  block_state_t* side = block_state(page, block);
  uint16_t bits = load_relaxed(side) & (STATE_FRESH | STATE_ABSENT);
  store_relaxed(side, link_to(page, next) | bits);
}
/* Takes a free block off its list, because its memory goes back to the system while other blocks of
 * the page are live; and links it again. */
static inline void block_unlink(page_t* page, block_t* block) {
  store_relaxed(block_state(page, block), STATE_FREED);
}
static inline void block_link_again(page_t* page, block_t* block, block_t* next) {
  uint16_t bits = SECURE_ZERO ? STATE_ABSENT : 0;
  store_relaxed(block_state(page, block), link_to(page, next) | bits);
}
/* Level 4: reports a write after free if the block is not zero. */
INTERNAL void states_check_zero(page_t* page, block_t* block, uint16_t entry);
/* Allocates the first block of a list; the rest of the list goes to `*list`. The list is written
 * first: a fork between the two stores may leave a block in no list, but never a live block in one.
 * Level 4 skips the zero check for never-used blocks: reading them would fault the page in, and the
 * first write would fault again. */
static inline void block_allocate(page_t* page, block_t* block, block_t** list) {
  block_state_t* side = block_state(page, block);
  uint16_t entry = load_relaxed(side);
  *list = block_of_link(page, block, entry);
  compiler_fence();
  if (SECURE_ZERO && (entry & STATE_FRESH) == 0) states_check_zero(page, block, entry);
  store_relaxed(side, STATE_LIVE);
}

/* Clears the table of a new page, and guards the page's end. */
INTERNAL void states_begin(page_t* page);
INTERNAL void states_end(page_t* page);
/* Level 4: clears the live blocks of a page that is released with its blocks. */
INTERNAL void states_clear_live(page_t* page);
/* Links the blocks [from, from + n) to a list; with SECURE_ORDER in random order. */
INTERNAL block_t* states_extend(page_t* page, size_t from, size_t n);
/* True if the page's order is from before a fork: the parent and its other children know it. */
static inline bool states_order_is_old(const page_t* page) {
  return SECURE_ORDER && unlikely(page->epoch != load_relaxed(&random_epoch));
}
/* Puts a list of the page in a new random order. */
INTERNAL block_t* states_shuffle(page_t* page, block_t* list);

#else
static inline block_t* block_next(const page_t* page, const block_t* block) {
  (void)page;
  return block->next;
}
static inline void block_link(page_t* page, block_t* block, block_t* next) {
  (void)page;
  block->next = next;
}
static inline void block_relink(page_t* page, block_t* block, block_t* next) {
  block_link(page, block, next);
}
static inline void block_unlink(page_t* page, block_t* block) { (void)page, (void)block; }
static inline bool block_is_live(const page_t* page, const void* p) {
  return (void)page, (void)p, true;
}
static inline void block_link_again(page_t* page, block_t* block, block_t* next) {
  block_link(page, block, next);
}
static inline void block_allocate(page_t* page, block_t* block, block_t** list) {
  *list = block_next(page, block);
}
static inline block_t* states_shuffle(page_t* page, block_t* list) { return (void)page, list; }
static inline bool states_order_is_old(const page_t* page) { return (void)page, false; }
static inline void states_begin(page_t* page) { (void)page; }
static inline void states_end(page_t* page) { (void)page; }
static inline void states_clear_live(page_t* page) { (void)page; }
#endif
