/* guard_sampling.h - one of every n allocations gets a guard page after it (option
 * guarded_sample_rate).
 *
 * It costs nothing while it is off: the fast paths do not test for it. While it is on, each entry
 * into the slow path checks whether the next allocation is a guarded one. If not, it truncates the
 * active free list to the blocks before the next guarded one. So each allocation counts once.
 */
#pragma once

#include "heap_types.h"
#include "../runtime/options.h"

#define GUARDED_NEVER_YET (-1) /* value of `guarded_in` before the first count */

static inline bool guarded_is_on(void) { return option_value(mi_option_guarded_sample_rate) > 0; }
/* In the child of a fork: starts the count anew, so that each child guards other allocations. */
INTERNAL void guarded_after_fork(heap_t* heap);
/* After guarded_is_due was false: how many of `count` blocks of the class, at least 1, may be
 * allocated before a guarded one. They count as allocated. */
INTERNAL size_t guarded_pass(heap_t* heap, size_t cls, size_t count);

/* False for sizes outside the bounds of the options: they are not guarded, and do not count. */
INTERNAL bool guarded_counts(size_t size);
/* True if the next allocation, of `size` bytes, is a guarded one; then it is counted. */
INTERNAL bool guarded_is_due(heap_t* heap, size_t size);
