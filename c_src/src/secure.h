/* secure.h - what secure builds know of each block, out of reach of whoever writes past one.
 *
 * Levels, each with all of the one before:
 *   1  the links of free lists lie in a side table, two bytes for each block, that says of each
 *      whether it is live: a free of anything but the start of a live block is found at that free.
 *      Large blocks end at a guard page. Arenas lie at random addresses.
 *   2  pages end with a guard page, their blocks are handed out in random order, blocks of size 0
 *      are inaccessible, freed large blocks too.
 *   3  blocks end with a canary: bytes that an overflow changes, and the size that was asked for.
 *      Freed blocks wait for random later frees, see quarantine.h.
 *   4  freed blocks are zero, and still so when they are handed out again; of two threads that free
 *      a block at the same time one is reported.
 *
 * Side table: an entry of a page is SIDE_LIVE, a state, or the offset of the next block in the free
 * list that the block is on, in units that 13 bits suffice for; two bits more say of a block that
 * was carved and not handed out yet what its memory is. Who frees turns SIDE_LIVE into SIDE_HELD,
 * and then owns the entry as it owns the block: links are written before the push that publishes
 * them, see page.h, so relaxed accesses suffice. Below level 4 the owner of a page frees by a load
 * and a store: a free of the same block in another thread between the two is found when the block
 * is handed out twice.
 *
 * Owns:    the pattern that fills what is behind a block; the key of a page's canaries is in its
 *          descriptor.
 * Uses:    map.h, slices.h, log.h, os.h, random.h.          Used by: page and all floors above.
 */
#ifndef MI_SECURE_H
#define MI_SECURE_H

#include "map.h"
#include "os/os.h"
#include "random.h"

/* Bytes at the end of each block that are ours. */
#define SEAL_SIZE ((size_t)(SECURE_SEALS ? 8 : 0))

/* At the end of a page of small blocks: not where that would be most of it. */
static inline size_t guard_size(void) {
  return SECURE_GUARDS && os_info.page_size <= SLICE_SIZE / 4 ? os_info.page_size : 0;
}
static inline size_t large_guard_size(void) { return MI_SECURE > 0 ? os_info.page_size : 0; }

#if MI_SECURE > 0

enum {
  SIDE_LIVE = 0xffff,
  SIDE_NONE = 0xfffe, /* never handed out */
  SIDE_HELD = 0xfffd, /* freed, and in no list yet */
  SIDE_LINKS = 32768, /* below: where the next block starts, see link_shift, */
  SIDE_END = 8191,    /* or the end of the list, where no block starts; */
  SIDE_FRESH = 8192,  /* a bit: the block's memory was never handed out, and so is zero */
  SIDE_ABSENT = 16384 /* a bit: it was, but went back to the system and is not resident */
};

#define RECIPROCAL_SHIFT 40 /* exact where offset times size is less than 2^40 */

static inline size_t block_index(const page_t* page, const void* p) {
  uint64_t offset = (uint64_t)((const char*)p - page->start);
  return (size_t)((offset * page->reciprocal) >> RECIPROCAL_SHIFT);
}
static inline side_t* block_side(const page_t* page, const void* p) {
  return &page->side[block_index(page, p)];
}
/* For any address in the page. */
static inline bool is_block_start(const page_t* page, const void* p) {
  return page->start + block_index(page, p) * page->block_size == p;
}
static inline bool block_is_live(const page_t* page, const void* p) {
  return likely(is_block_start(page, p)) && load_relaxed(block_side(page, p)) == SIDE_LIVE;
}
/* The list of `page` goes on at a block that is in no list: reported. NULL. */
INTERNAL block_t* secure_bad_list(const page_t* page, const block_t* block);
static inline block_t* block_of_link(const page_t* page, const block_t* block, uint16_t entry) {
  size_t link = entry & SIDE_END;
  if (unlikely(entry >= SIDE_LINKS)) return secure_bad_list(page, block);
  return likely(link != SIDE_END) ? (block_t*)(void*)(page->start + (link << page->link_shift))
                                  : NULL;
}
static inline block_t* block_next(const page_t* page, const block_t* block) {
  return block_of_link(page, block, load_relaxed(block_side(page, block)));
}
static inline uint16_t link_to(const page_t* page, const block_t* next) {
  size_t link = (size_t)((const char*)next - page->start) >> page->link_shift;
  return next == NULL ? SIDE_END : (uint16_t)link;
}
/* Of a block that was freed. */
static inline void block_link(page_t* page, block_t* block, block_t* next) {
  store_relaxed(block_side(page, block), link_to(page, next));
}
/* Of one that is in a list, and was perhaps never handed out. */
static inline void block_relink(page_t* page, block_t* block, block_t* next) {
  side_t* side = block_side(page, block);
  uint16_t bits = load_relaxed(side) & (SIDE_FRESH | SIDE_ABSENT);
  store_relaxed(side, link_to(page, next) | bits);
}
/* Level 4: a block that is handed out is zero: what is not was written by a stale pointer. */
INTERNAL void secure_look_through(page_t* page, block_t* block, uint16_t entry);
/* The block, the first of a list, is the program's from now on; the rest of the list goes to
 * `*list` first, for a fork between the two may find a block in no list, but none that is live in
 * one. Level 4 does not look through memory that was never handed out: to read it would fault the
 * page in, and the first write would fault again. */
static inline void block_hand_out(page_t* page, block_t* block, block_t** list) {
  side_t* side = block_side(page, block);
  uint16_t entry = load_relaxed(side);
  *list = block_of_link(page, block, entry);
  compiler_fence();
  if (SECURE_ZERO && (entry & SIDE_FRESH) == 0) secure_look_through(page, block, entry);
  store_relaxed(side, SIDE_LIVE);
}

INTERNAL void secure_init(void);
/* A key for the canaries of a page, or of a large block, from now on. */
INTERNAL void secure_page_key(page_t* page);
/* A page that was set up: its table is cleared, its end guarded. */
INTERNAL void secure_page_begin(page_t* page);
INTERNAL void secure_page_end(page_t* page);
/* Level 4: the live blocks of a page that goes with them are zero from now on. */
INTERNAL void secure_clear_live(page_t* page);
/* The blocks [from, from + n) as a list, in random order where the level says so. */
INTERNAL block_t* secure_carve(page_t* page, size_t from, size_t n);
/* True for a page of this process's parent, whose lists are in an order that the other children
 * know. */
static inline bool secure_order_is_old(const page_t* page) {
  return SECURE_ORDER && unlikely(page->epoch != load_relaxed(&random_epoch));
}
/* Puts all of a list of the page in a new random order; that of the page is a new one. */
INTERNAL block_t* secure_shuffle(page_t* page, block_t* list);

/* The page of the live block that starts at `p`; else NULL after a report that names `what`. */
INTERNAL page_t* secure_live(const void* p, const char* what);
/* The same, and the block counts as freed: the caller must free it. */
INTERNAL page_t* secure_take(void* p, uintptr_t own);

/* The same without a report, for an address in the page: a live block whose canary is whole. */
INTERNAL bool secure_is_sound(page_t* page, const void* p);
/* Reports an address that is in no block, or a second free of a large one. */
INTERNAL page_t* secure_foreign(const void* p, const char* what);
INTERNAL void secure_freed_twice(const page_t* page, const void* p);

/* False after a report: the canary of the block has changed, or the block has just been freed. */
INTERNAL bool secure_check_seal(page_t* page, const void* p);
#if SECURE_SEALS
/* Writes the canary of a new block of `size` bytes. */
INTERNAL void secure_seal(page_t* page, void* p, size_t size);
/* The block has another size from now on: what it gains is zero. Nothing of a canary, nor of the
 * bytes before one, may ever be read in a live block. */
INTERNAL void secure_reseal(page_t* page, void* p, size_t size);
/* The canary is gone, and zero; for a block that was taken, and for one that is to be resized. */
INTERNAL void secure_unseal(page_t* page, void* p);
/* block_hand_out and secure_seal in one, for a request of at least SECURE_NEW_MIN bytes. */
#define SECURE_NEW_MIN ((size_t)9) /* else the block has one word before the canary */
INTERNAL void* secure_new(page_t* page, block_t* block, block_t** list, size_t size);
/* The same for a request of 1 to 8 bytes, whose block is two words. */
INTERNAL void* secure_new_tiny(page_t* page, block_t* block, block_t** list, size_t size);
/* secure_take for a block of `size` bytes, from SECURE_OWN_MIN to SECURE_OWN_MAX, in a page of the
 * calling thread. TAKE_OTHER, without a report: secure_take decides. */
typedef enum take_e { TAKE_DONE, TAKE_LONG, TAKE_OTHER } take_t;
INTERNAL take_t secure_take_own(page_t* page, void* p, size_t size);
#define SECURE_OWN_MIN ((size_t)24) /* two words before the canary */
#define SECURE_OWN_MAX (SECURE_ZERO ? SMALL_MAX : SINGLE_SLICE_MAX)
/* After TAKE_LONG: much was not asked for. False: secure_take decides. */
INTERNAL bool secure_take_long(page_t* page, void* p, size_t size);
/* The same for a block of two words. */
INTERNAL bool secure_take_tiny(page_t* page, void* p);
#define SECURE_TINY ((size_t)16)
/* The size that the canary tells; 0 for a broken one, after a report. */
INTERNAL size_t secure_size(page_t* page, const void* p);
#else
static inline void secure_seal(page_t* page, void* p, size_t size) {
  (void)page, (void)p, (void)size;
}
static inline void secure_unseal(page_t* page, void* p) { (void)page, (void)p; }
#endif
INTERNAL void secure_size_mismatch(page_t* page, const void* p, size_t size);

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
static inline void block_hand_out(page_t* page, block_t* block, block_t** list) {
  *list = block_next(page, block);
}
static inline bool secure_order_is_old(const page_t* page) { return (void)page, false; }
static inline void secure_seal(page_t* page, void* p, size_t size) {
  (void)page, (void)p, (void)size;
}
static inline void secure_unseal(page_t* page, void* p) { (void)page, (void)p; }
static inline void secure_init(void) {}
static inline void secure_page_key(page_t* page) { (void)page; }
static inline void secure_page_begin(page_t* page) { (void)page; }
static inline void secure_page_end(page_t* page) { (void)page; }
static inline void secure_clear_live(page_t* page) { (void)page; }
#endif

#endif
