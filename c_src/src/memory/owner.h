/* owner.h - the owner word of a page: which heap may allocate from it.
 *
 *    63                                6 5          0
 *   +-----------------------------------+------------+
 *   |  owner id                         |   flags    |     0: the slice belongs to no page
 *   +-----------------------------------+------------+
 *
 * The owner id is the address of a heap struct, a multiple of 64:
 *
 *   an owned page        the heap that may allocate from it
 *   an abandoned page    the previous owner
 *   a large block        the heap that allocated it
 *
 * When a heap ends, its pages and blocks get the heap's tag as owner id instead: a number up to
 * OWNER_TAG_MAX, which is no address of a heap struct. The word of slice 2 to n of a page is the
 * distance to the first slice, with OWNER_INTERIOR.
 *
 * Threads: any thread reads it, relaxed. The owner writes it, or the thread that abandons the page
 *          (page_try_abandon), or the thread that claims it. For large blocks see large.c.
 */
#pragma once

#include "../base/base.h"

enum {
  OWNER_SLOW = 1,      /* frees by the owner take the slow path: PAGE_INTERIOR or PAGE_FULL */
  OWNER_ABANDONED = 2, /* abandoned: no heap may allocate from it */
  OWNER_INTERIOR = 4,  /* slice 2 to n of a page */
  OWNER_LARGE = 8,     /* large block: the thread that holds it owns the page */
  OWNER_FLAGS = 63
};
#define OWNER_TAG(tag) ((uintptr_t)(tag) << 6)
#define OWNER_TAG_MAX 255

struct mi_heap_s;

static inline uintptr_t owner_id(uintptr_t owner) { return owner & ~(uintptr_t)OWNER_FLAGS; }
/* The heap of the owner id; NULL if the id is a tag. Any thread may read the heap struct at any
 * time, but the heap may have ended. */
static inline struct mi_heap_s* owner_heap_or_null(uintptr_t owner) {
  uintptr_t id = owner_id(owner);
  return id > OWNER_TAG(OWNER_TAG_MAX) ? (struct mi_heap_s*)id : NULL;
}
/* The tag of the heap that has ended; 0 if the owner id is a heap. */
static inline int owner_tag(uintptr_t owner) {
  return owner_heap_or_null(owner) != NULL ? 0 : (int)(owner_id(owner) >> 6);
}
static inline bool owner_is_abandoned(uintptr_t owner) { return (owner & OWNER_ABANDONED) != 0; }
static inline bool owner_is_interior(uintptr_t owner) { return (owner & OWNER_INTERIOR) != 0; }
/* True for a live large block. */
static inline bool owner_is_large(uintptr_t owner) {
  return (owner & OWNER_LARGE) != 0 && (owner & OWNER_INTERIOR) == 0;
}
/* True for the first slice of a page of blocks. */
static inline bool owner_is_of_blocks(uintptr_t owner) {
  return owner != 0 && (owner & (OWNER_INTERIOR | OWNER_LARGE)) == 0;
}
/* The word of a slice inside a page, and the distance that it holds. */
static inline uintptr_t owner_of_interior(size_t distance) {
  return ((uintptr_t)distance << 6) | OWNER_INTERIOR;
}
static inline size_t owner_distance(uintptr_t owner) { return owner >> 6; }
