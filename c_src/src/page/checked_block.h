/* checked_block.h - allocates and frees blocks with the checks of a secure build.
 *
 * Threads: any; checked_new and checked_new_tiny: the owner of the page.
 *
 * Which path is taken:
 *   levels 1, 2   allocation   block_allocate
 *                 free         the block-state table, in free_secure.h
 *                              anything unusual: checked_take
 *   levels 3, 4   allocation   9 bytes or more: checked_new
 *                              1 to 8 bytes: checked_new_tiny
 *                              aligned and rare sizes: block_allocate and canary_write
 *                 free         own block, short padding: checked_take_own
 *                              own block, long padding: checked_take_long
 *                              own block of two words: checked_take_tiny
 *                              any other: checked_take
 */
#pragma once

#include "../memory/page_map.h"
#include "canary.h"

#if MI_SECURE > 0
/* The page of the live block that starts at `p`; else NULL after a report that names `what`. */
INTERNAL page_t* checked_live(const void* p, const char* what);
/* The same, and marks the block as freed; the caller must then free it. `own`: the owner word of
 * the calling thread's pages. */
INTERNAL page_t* checked_take(void* p, uintptr_t own);
#else
static inline page_t* checked_live(const void* p, const char* what) {
  return (void)what, map_page_checked(p);
}
#endif

#define CHECKED_NEW_MIN ((size_t)9) /* a smaller request has one word before the canary */
#if SECURE_CANARIES
/* block_allocate and canary_write in one, for a request of at least CHECKED_NEW_MIN bytes. */
INTERNAL void* checked_new(page_t* page, block_t* block, block_t** list, size_t size);
/* The same for a request of 1 to 8 bytes, whose block is two words. */
INTERNAL void* checked_new_tiny(page_t* page, block_t* block, block_t** list, size_t size);
/* checked_take for a block of `size` bytes, from TAKE_OWN_MIN to TAKE_OWN_MAX, in a page of the
 * calling thread. TAKE_OTHER, without a report: checked_take decides. */
typedef enum take_e { TAKE_DONE, TAKE_LONG, TAKE_OTHER } take_t;
INTERNAL take_t checked_take_own(page_t* page, void* p, size_t size);
#define TAKE_OWN_MIN ((size_t)24) /* two words before the canary */
#define TAKE_OWN_MAX (SECURE_ZERO ? SMALL_MAX : SINGLE_SLICE_MAX)
/* After TAKE_LONG: the padding is longer than PADDING_SHORT. False: checked_take decides. */
INTERNAL bool checked_take_long(page_t* page, void* p, size_t size);
/* checked_take_own for a block of two words. False, without a report: checked_take decides. */
INTERNAL bool checked_take_tiny(page_t* page, void* p);
#define TINY_SIZE ((size_t)16)
#endif
