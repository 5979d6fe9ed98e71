/* usage.h - counts the memory that the library has opened, and compares it with the limits.
 *
 * Owns:    the count, and the limits in force.
 * Always:  while a limit is in force, memory is counted before it is touched, and uncounted after
 *          it was given back. So what is resident of it is never more than the count.
 * Threads: any.
 *
 * Counted are slices that may be resident (arena_types.h: `counted`), OS-mapped blocks, and the
 * metadata that is resident. Quarantine lies in slices. OS-mapped blocks are always counted: each
 * costs system calls. The other counting begins with the first limit (limit.c) and goes on until
 * the process ends. Before that no thread writes the count on its way to a fresh page.
 *
 * Argument: the count is one word. A charge reads it, compares the sum with the limit, and stores
 * the sum by compare-and-swap, so no two threads can share the same room, and no charge that fails
 * takes room from another. All accesses are relaxed: the word publishes nothing.
 *
 * Metadata is touched a little at a time by code that does not count. So it is measured, each time
 * that the uses since the last time may have touched half of USAGE_ALLOWANCE. The limit in force is
 * less than the given one by that allowance. Its other half is for threads that touch metadata
 * during a measurement: each of them up to three OS pages, but most touch none, because
 * descriptors of 64 slices share one.
 */
#pragma once

#include "../base/atomic.h"
#include "../os/os.h"

#define USAGE_ALLOWANCE ((MI_SECURE > 0 ? 64 : 16) * os_info.page_size)

/* True from the first limit on. */
INTERNAL bool usage_is_on(void);
INTERNAL void usage_start(void);
/* Counts `bytes`; false, and nothing is counted, if the sum would exceed the hard limit. */
INTERNAL bool usage_charge(size_t bytes);
/* Counts `bytes` in any case: they are resident already. */
INTERNAL void usage_add(size_t bytes);
INTERNAL void usage_discharge(size_t bytes);
/* A hint: usage_charge(bytes) would succeed now. */
INTERNAL bool usage_has_room(size_t bytes);
INTERNAL size_t usage_count(void);

/* Up to `bytes` of metadata will be touched. True if a measurement is due: see meta_measure. */
INTERNAL bool usage_touches(size_t bytes);
/* `bytes` of metadata are resident. The caller holds meta_lock. */
INTERNAL void usage_measured(size_t bytes);

/* Limits in bytes; 0: none. */
INTERNAL void usage_set_limits(size_t soft, size_t hard);
INTERNAL size_t usage_soft_limit(void);

/* Each time that the count rises above the soft limit, one thread takes the crossing. The next one
 * counts after the count has fallen by a sixteenth of the limit below it. Zero: none waits.
 * Relaxed: a thread finds its own id here only if it wrote it. */
INTERNAL uintptr_t usage_crossed_by(void);
/* True for the one caller that may handle the crossing of `thread`. */
INTERNAL bool usage_take_crossing(uintptr_t thread);

/* In the child of a fork: `bytes` without metadata are in use. */
INTERNAL void usage_recount(size_t bytes);
INTERNAL void usage_clear(void);
