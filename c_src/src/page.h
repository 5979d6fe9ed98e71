/* page.h - size classes, and the blocks inside one page.
 *
 * A page is owned by one heap, or unowned. The remote word says which, and carries what other
 * threads freed; both change in one compare-and-swap:
 *
 *    63       48 47                            3  2 1 0
 *   +-----------+--------------------------------+-----+
 *   |  balance  |  first remotely freed block    |    O|     O: owned
 *   +-----------+--------------------------------+-----+
 *
 * Each push puts a block on the list and takes 1 from the balance (modulo 2^16). While the page
 * is owned the balance starts at 0; when it becomes unowned the balance is set to the number of
 * blocks that are out, so that the push that makes it 0 is the one of the last block.
 *
 *   state     who may change      ends by
 *   owned     the owner: all      disown: owned, nothing queued -> unowned
 *             others: push
 *   unowned   anybody: push       last push, or claim, or re-claim by a free of the former
 *                                 owner: unowned -> owned, list taken over
 *   free      the arena           page_fresh
 *
 * Why no wake-up is lost: disown expects an empty list, so a block that was pushed before it is
 * seen by the owner, and a block that comes after it finds the page unowned. Why the last block
 * is noticed once: pushes are totally ordered by the word, and only one makes the balance 0.
 * Why ABA is harmless: whoever pushes holds a block, so the page cannot go away; whoever claims
 * re-reads the class afterwards, for descriptors are type-stable and never unmapped. While a page
 * is free its word says owned, so that late claims fail.
 *
 * Order: each push and each disown releases, each take-over acquires, so the links of the list
 * and the descriptor's fields travel with the word.
 */
#ifndef MI_PAGE_H
#define MI_PAGE_H

#include "arena.h"
#include "base.h"
#include "map.h"
#include "secure.h"

/* ---- size classes ----
 *
 * Up to SMALL_MAX a class is its block size / 8: multiples of 16, and below ALIGN8_MAX all
 * multiples of 8 for requests that need no more alignment than that. Above, eight classes per
 * doubling. Class 0 is for requests of size 0. With seals there is a class more, so that a request
 * of 64 KiB, which is a common one, is not the first large one. */
#define SMALL_MAX ((size_t)1024)
#define ALIGN8_MAX ((size_t)128)
#define MEDIUM_MAX ((size_t)(SECURE_SEALS ? 72 : 64) * KiB)
#define FIRST_GEOMETRIC 129 /* class of the first block size above SMALL_MAX */
#define LOG2_SMALL_MAX 10
_Static_assert(FIRST_GEOMETRIC == SMALL_MAX / 8 + 1, "classes follow each other");
_Static_assert(CLASS_COUNT == FIRST_GEOMETRIC + 8 * 6 + (SECURE_SEALS ? 1 : 0),
               "six doublings from 1 KiB to 64 KiB");

/* Class of a request above SMALL_MAX and up to MEDIUM_MAX. */
static inline size_t class_of_medium(size_t size) {
  size_t w = size - 1;
  size_t log2 = log2_of(w);
  return FIRST_GEOMETRIC + (log2 - LOG2_SMALL_MAX) * 8 + ((w >> (log2 - 3)) & 7);
}

static inline size_t class_block_size(size_t class) {
  if (class == 0) return 8;
  if (class < FIRST_GEOMETRIC) return class * 8;
  size_t g = class - FIRST_GEOMETRIC;
  return (9 + g % 8) << (g / 8 + LOG2_SMALL_MAX - 3);
}

/* Slices of a page: single ones for small blocks, whose frees then never meet an interior slice;
 * for the others two to sixteen, so that a page holds at least eight blocks and at most sixteen. */
#define SINGLE_SLICE_MAX ((size_t)8 * KiB)
#define FIRST_MEDIUM (FIRST_GEOMETRIC + 8 * 3) /* class of the first block size above it */
static inline uint32_t slices_for(size_t block_size) {
  uint32_t slices = 1;
  while (slices * SINGLE_SLICE_MAX < block_size) slices *= 2;
  return slices;
}
static inline uint32_t class_slices(size_t class) { return slices_for(class_block_size(class)); }

/* ---- the remote word ---- */

#define REMOTE_OWNED ((uint64_t)1)
#define REMOTE_LARGE ((uint64_t)2) /* of a large block: the word is its size, see large.c */
#define REMOTE_ADDRESS ((((uint64_t)1 << 48) - 1) & ~(uint64_t)7)
#define REMOTE_ONE ((uint64_t)1 << 48) /* one in the balance */

static inline block_t* remote_list(uint64_t word) {
  return (block_t*)(uintptr_t)(word & REMOTE_ADDRESS);
}
static inline size_t remote_balance(uint64_t word) { return (size_t)(word >> 48); }
static inline bool remote_is_owned(uint64_t word) { return (word & REMOTE_OWNED) != 0; }
/* Blocks on the list of an owned page. */
static inline size_t remote_count(uint64_t word) { return (0 - remote_balance(word)) & 0xffff; }

/* Free blocks that make an unowned page worth claiming. */
#define CLAIMABLE_MAX 32
static inline size_t page_claimable_count(const page_t* page) {
  size_t eighth = page->reserved / 8u;
  return eighth < 1 ? 1 : min_size(eighth, CLAIMABLE_MAX);
}

typedef enum push_e {
  PUSH_QUEUED,    /* the block is on the list */
  PUSH_CLAIMABLE, /* and the page has just become worth claiming */
  PUSH_LAST,      /* it was the last block: the page is the caller's now, and empty */
  PUSH_TAKEN      /* the page was claimed for the caller, with all that was freed in it */
} push_t;

/* Frees a block of a page that this thread's heap does not own. With `reclaim` the caller wants
 * the page for itself when it becomes worth claiming: PUSH_TAKEN. */
INTERNAL push_t page_push_remote(page_t* page, block_t* block, bool reclaim);
/* Claims the unowned page that starts at `slice`, with all that was freed in it; false if it is
 * owned or free. */
INTERNAL bool page_claim(uint32_t slice);
/* Owner: takes the list that others have pushed; NULL if there is none. */
INTERNAL block_t* page_take_remote(page_t* page, size_t* count);
/* Owner: gives the page up; false (and still owned) if something is queued. */
INTERNAL bool page_disown(page_t* page);

/* ---- blocks ---- */

/* A page for `class`, owned by the caller, nothing carved; NULL if there is no memory. `first`: the
 * caller has no other page of the class, and may never fill this one. */
INTERNAL page_t* page_fresh(place_t place, size_t class, uintptr_t owner, bool first);
/* Gives an empty page that the caller owns back to its arena. */
INTERNAL void page_release(page_t* page);
/* The same for a page with blocks, which go with it. */
INTERNAL void page_release_full(page_t* page);
/* Owner: carves more blocks, in address order; returns them as a list, `*count` of them. They
 * count as used. NULL if the page is fully carved. */
INTERNAL block_t* page_carve(page_t* page, size_t* count);
/* Owner: takes carving back, from the block `first` up to the capacity. */
INTERNAL void page_uncarve(page_t* page, block_t* first);
/* Owner: puts a list of `count` blocks that counted as used onto the local list. */
INTERNAL void page_return_list(page_t* page, block_t* list, size_t count);
/* Owner, in the child of a fork: the thread that the page belonged to may have been stopped between
 * a change of the local list and that of the count. Makes the page safe to use, in constant time.
 */
INTERNAL void page_settle(page_t* page);
/* Owner: the same for what others have pushed. */
INTERNAL void page_take_back(page_t* page);
/* Owner: puts all free blocks on the local list, in a new random order. */
INTERNAL void page_shuffle(page_t* page);
/* Owner: `more` follows the last block of `list`. */
INTERNAL void page_append(page_t* page, block_t* list, block_t* more);
INTERNAL size_t page_list_length(const page_t* page, const block_t* list);

static inline void page_set_flag(page_t* page, uint8_t flag, bool on) {
  uint8_t f = load_relaxed(&page->flags); /* only the owner writes */
  store_relaxed(&page->flags, (uint8_t)(on ? f | flag : f & ~flag));
}
static inline bool page_has_flag(page_t* page, uint8_t flag) {
  return (load_relaxed(&page->flags) & flag) != 0;
}
/* The owner word of a page of `heap`, with what must divert its frees. */
static inline uintptr_t page_owner_word(page_t* page, uintptr_t heap) {
  return heap | (page_has_flag(page, PAGE_INTERIOR | PAGE_FULL) ? OWNER_GENERIC : 0);
}
static inline size_t page_class(const page_t* page) {
  return load_relaxed(&((page_t*)(uintptr_t)page)->class); /* set before a block is handed out */
}
/* Only the owner writes it, so relaxed serves for the others' statistics. */
static inline uint32_t page_used(const page_t* page) {
  return load_relaxed(&((page_t*)(uintptr_t)page)->used);
}
static inline void page_set_used(page_t* page, size_t used) {
  store_relaxed(&page->used, (uint32_t)used);
}
/* Start of the block that `p` lies in. */
static inline char* page_block_of(page_t* page, const void* p) {
  if (page_class(page) == CLASS_LARGE) return page_start(page);
  size_t offset = (size_t)((const char*)p - page_start(page));
  return page_start(page) + offset / page->block_size * page->block_size;
}
static inline size_t page_free_count(const page_t* page) {
  return page->reserved - page_used(page);
}
/* Pages that were set up since the start, of one class. */
INTERNAL size_t page_total(size_t class);

#endif
