/* page.h - the blocks inside one page, and the word by which other threads free them.
 *
 * A page is owned by one heap, or it is abandoned. The remote word says which, and holds the list
 * of the blocks that other threads freed. Both change in one compare-and-swap:
 *
 *    63         48 47                          3  2 1 0
 *   +-------------+------------------------------+-----+
 *   | outstanding |  first remotely freed block  |    O|     O: owned
 *   +-------------+------------------------------+-----+
 *
 * Each push puts a block on the list and subtracts 1 from the outstanding count (modulo 2^16).
 * While the page is owned the count starts at 0. When the owner abandons the page it sets the count
 * to the number of blocks in use, so the push of the last block makes it 0.
 *
 *   state       who may change it   ends by
 *   owned       the owner: all      abandon (expects an empty list): owned -> abandoned
 *               others: push
 *   abandoned   any thread: push    push of the last block, or claim, or reclaim by a free of the
 *                                   previous owner: abandoned -> owned, list adopted
 *   free        the arena           page_fresh
 *
 * Why no block is forgotten: abandon expects an empty list. The owner sees a block that was pushed
 * before, and a later push finds the page abandoned. Why the last block is noticed once: the word
 * orders all pushes, and only one of them makes the count 0. Why ABA is harmless: a thread that
 * pushes holds a block, so the page cannot be released. A thread that claims reads the class
 * afterwards, because descriptors are type-stable and never unmapped. While a page is free its word
 * says owned, so late claims fail.
 *
 * Order: each push and each abandon releases, and each adoption of the list acquires. So the links
 * of the list and the fields of the descriptor are published with the word.
 */
#pragma once

#include "../base/size_class.h"
#include "../memory/arena_types.h"
#include "../base/base.h"
#include "../memory/page_map.h"
#include "block_state.h"
#include "canary.h"
#include "checked_block.h"

/* ---- the remote word ---- */

#define REMOTE_LARGE ((uint64_t)2) /* a large block: the word holds its size, see large.c */
#define REMOTE_ADDRESS ((((uint64_t)1 << 48) - 1) & ~(uint64_t)7)
#define REMOTE_ONE ((uint64_t)1 << 48) /* 1 in the outstanding count */

static inline block_t* remote_list(uint64_t word) {
  return (block_t*)(uintptr_t)(word & REMOTE_ADDRESS);
}
static inline size_t remote_outstanding(uint64_t word) { return (size_t)(word >> 48); }
static inline bool remote_is_owned(uint64_t word) { return (word & REMOTE_OWNED) != 0; }
/* Blocks on the list of an owned page. */
static inline size_t remote_count(uint64_t word) { return (0 - remote_outstanding(word)) & 0xffff; }

/* Free blocks that make an abandoned page worth claiming. */
#define CLAIMABLE_MAX 32
static inline size_t page_claimable_count(const page_t* page) {
  size_t eighth = page->reserved / 8u;
  return eighth < 1 ? 1 : min_size(eighth, CLAIMABLE_MAX);
}

typedef enum push_e {
  PUSH_QUEUED,    /* the block is on the list */
  PUSH_CLAIMABLE, /* and the page has just become worth claiming */
  PUSH_SPARSE,    /* and the page is abandoned and may be sparse */
  PUSH_LAST,      /* it was the last block: the caller owns the page now, and it is empty */
  PUSH_TAKEN      /* the caller owns the page now, with all blocks that were freed in it */
} push_t;

/* Frees a block of a page that this thread's heap does not own. With `reclaim` the caller claims
 * the page as soon as it is worth it: PUSH_TAKEN. It does not claim a sparse page, which it may
 * have abandoned only to get holes. */
INTERNAL push_t page_push_remote(page_t* page, block_t* block, bool reclaim);
/* Claims the abandoned page that starts at `slice`, with all blocks that were freed in it; false if
 * the page is owned or free. */
INTERNAL bool page_claim(uint32_t slice);
/* Owner: other threads have pushed blocks. Relaxed: no link is followed. */
static inline bool page_has_remote(const page_t* page) {
  return remote_list(load_relaxed(map_remote(page->slice))) != NULL;
}
/* Owner: takes the list that other threads have pushed; NULL if it is empty. */
INTERNAL block_t* page_take_remote(page_t* page, size_t* count);
/* Owner: abandons the page; false, and still owned, if other threads have pushed a block. */
INTERNAL bool page_try_abandon(page_t* page);

/* ---- blocks ---- */

/* A new page of the class, owned by the caller, not extended yet; NULL if there is no memory.
 * `first`: the caller has no other page of the class, and may never fill this one. */
INTERNAL page_t* page_fresh(affinity_t affinity, size_t cls, uintptr_t owner, bool first);
/* Owner: returns an empty page to its arena. */
INTERNAL void page_release(page_t* page);
/* The same for a page with live blocks, which are freed with it. */
INTERNAL void page_release_full(page_t* page);
/* Owner: extends the page by never-used blocks; returns them as a list of `*count`. The list is in
 * address order, with SECURE_ORDER in random order. The blocks count as used. NULL if the capacity
 * is reached. Outside secure builds a single block is not touched: it has no link yet. */
INTERNAL block_t* page_extend(page_t* page, size_t* count);
/* Owner: undoes the extension from the block `first` up to the capacity. */
INTERNAL void page_unextend(page_t* page, block_t* first);
/* Owner: puts a list of `count` blocks that counted as used onto the local list. */
INTERNAL void page_return_list(page_t* page, block_t* list, size_t count);
/* Owner, in the child of a fork: the fork may have stopped the previous owner between its change of
 * the local list and its change of the count. Makes the page safe to use, in constant time. */
INTERNAL void page_settle(page_t* page);
/* Owner: puts the blocks that other threads have pushed onto the local list. */
INTERNAL void page_reclaim(page_t* page);
/* Owner: puts all free blocks onto the local list, in a new random order. */
INTERNAL void page_shuffle(page_t* page);
/* Owner: appends the list `more` to `list`. */
INTERNAL void page_append(page_t* page, block_t* list, block_t* more);
INTERNAL size_t page_list_length(const page_t* page, const block_t* list);
/* The owner word of a page of `heap`, with the flag that sends its frees to the slow path. */
static inline uintptr_t page_owner_word(page_t* page, uintptr_t heap) {
  return heap | (page_has_flag(page, PAGE_INTERIOR | PAGE_FULL) ? OWNER_SLOW : 0);
}
/* Start of the block that `p` lies in. */
static inline char* page_block_of(page_t* page, const void* p) {
  if (page_class(page) == CLASS_LARGE) return page_start(page);
  size_t offset = (size_t)((const char*)p - page_start(page));
  return page_start(page) + offset / page->block_size * page->block_size;
}

/* ---- holes: see holes.c ---- */

/* Bytes of a unit: a sixteenth of the page, but at least an OS page. */
static inline size_t page_unit(const page_t* page) {
  return max_size(page_slices(page) * SLICE_SIZE / PAGE_UNITS, os_info.page_size);
}
/* The blocks that overlap the units [from, to) are [*first, *end). By the class, which any thread
 * may read: statistics look at pages that their owner may release meanwhile. */
static inline void page_unit_blocks(const page_t* page, size_t from, size_t to, size_t* first,
                                    size_t* end) {
  size_t unit = page_unit(page), size = class_block_size(page_class(page));
  *first = from * unit / size;
  *end = min_size(page_slices(page) * SLICE_SIZE / size, (to * unit - 1) / size + 1);
}
/* Blocks that overlap a hole. They are free, and on no list. */
INTERNAL size_t page_count_in_holes(const page_t* page);
static inline size_t page_in_holes(const page_t* page) {
  return !MI_HOLES || likely(load_relaxed(&page->holes) == 0) ? 0 : page_count_in_holes(page);
}
static inline size_t page_live(const page_t* page) { return page_used(page) - page_in_holes(page); }
/* True if it pays to look for holes: few blocks are live, and several units were touched. */
static inline bool page_is_sparse(const page_t* page) {
  return MI_HOLES && page_live(page) <= sparse_max(page->capacity) &&
         page->capacity * page->block_size >= 4 * page_unit(page);
}
/* Owner of a page in a partial list: from now on the countdown ends when half of the blocks in use
 * are freed or the page is sparse; or, if the page is sparse already or not fully extended, when it
 * is empty. While the process has a single thread, it does not end at the half. */
INTERNAL void page_watch(page_t* page);
/* Owner: sets bit i of `free` for each block i that is in the local list or in a hole. */
#define PAGE_BLOCKS_MAX (SLICE_SIZE / 8)
_Static_assert(2 * SLICE_SIZE / SINGLE_SLICE_MAX <= PAGE_BLOCKS_MAX, "any page's blocks");
INTERNAL void page_mark_free(const page_t* page, uint64_t* free);

static inline size_t page_free_count(const page_t* page) {
  return page->reserved - page_live(page);
}
/* Pages of the class that were allocated since the process started. */
INTERNAL size_t page_total(size_t cls);
/* Bytes from `p` to the end of its block. */
static inline size_t block_room(page_t* page, const void* p) {
  if (SECURE_GUARDS && page_class(page) == 0) return 0; /* inaccessible */
  size_t size = page->block_size - CANARY_SIZE;
  if (likely(!page_has_flag(page, PAGE_INTERIOR))) return size;
  return size - (size_t)((const char*)p - page_block_of(page, p));
}
/* Bytes that the program may use; with canaries, as many as it asked for. */
static inline size_t block_usable(page_t* page, const void* p) {
#if SECURE_CANARIES
  return canary_size(page, p);
#else
  return block_room(page, p);
#endif
}
/* True if a block with this much room may keep serving for `size` bytes. Without canaries half of
 * the room may be wasted, up to SHRINK_FROM; a larger block is shrunk. With canaries the rest
 * becomes padding, which takes time to write. So little may be wasted: a large block is shrunk
 * instead, and a canary has only 32 bits for the length. */
#define FILLED_MAX SLICE_SIZE
#define SHRINK_FROM (256 * KiB)
static inline bool block_serves(size_t room, size_t size) {
  if (SECURE_CANARIES)
    return size <= room && room - size <= min_size(room / 8, FILLED_MAX) + DEFAULT_ALIGN;
  size_t waste = room - size; /* above `room` if the size does not fit */
  return waste <= room / 2 && waste < SHRINK_FROM;
}
