/* guarded.h - one of so many allocations gets a guard page behind it (option guarded_sample_rate).
 *
 * Costs nothing while it is off: the fast paths do not know of it. While it is on each entry into
 * the generic path looks whether the next allocation is a guarded one, and takes no longer list
 * than until then; so each allocation counts, and none is looked at twice.
 */
#ifndef MI_GUARDED_H
#define MI_GUARDED_H

#include "heap.h"
#include "options.h"

#define GUARDED_NEVER_YET (-1) /* of `guarded_in`: nothing counted yet */

static inline bool guarded_is_on(void) { return option_value(mi_option_guarded_sample_rate) > 0; }

/* A guarded block, zero, if it is this allocation's turn; else NULL. */
INTERNAL void* guarded_alloc_class(heap_t* heap, size_t class);
INTERNAL void* guarded_alloc_large(heap_t* heap, size_t size, size_t align);
/* In the child of a fork, where others are guarded than in the next child. */
INTERNAL void guarded_after_fork(heap_t* heap);
/* It was not: how many of `count` blocks of the class, at least 1, may be handed out before one is
 * guarded. They count as handed out. */
INTERNAL size_t guarded_pass(heap_t* heap, size_t class, size_t count);

#endif
