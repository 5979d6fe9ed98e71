/* slice_reuse.h - slices between two uses: how they leave a block, and what is known of them when
 * they are allocated again.
 *
 * Owns:    the count of guards that are mappings; the last write after free that was found.
 * Always:  the thread that holds a slice changes its bits. Memory leaves a block only through
 *          slices_leave, so that what a level promises of freed memory holds in all these cases:
 *
 *   a page whose blocks are all free                    page_release
 *   a page that is freed with its blocks (the program   page_release_full
 *     destroys the heap)
 *   a large block that is freed, moved, copied by       large_release
 *     realloc or destroyed; a sampled guarded block
 *   the end of a large block that shrinks               large_trim
 *
 * Threads: any.
 *
 * OS-mapped blocks and their ends are unmapped instead. A new case belongs in this list and in
 * ctest/secure/freed_memory.c, which tests each of them.
 *
 * Levels 2 to 4: slices of large blocks are closed, where the system can do that: they are
 * inaccessible until they are allocated again, and their contents are dropped.
 *
 * Level 4: slices that are not closed are zero when they are freed. A byte that is not zero later
 * was written through a stale pointer. Blocks of pages are checked when they are allocated (see
 * block_state.h), everything else here. Bits of the arena say what is known of a slice:
 *
 *   dirty  stale  guarded
 *     0      0       0     never allocated: zero
 *     0      0       1     closed: zero, and no stale pointer reaches it. In arenas that commit
 *                          slices on demand, closed slices stay dirty and stale
 *     1      0       0     holds what the program left in memory that it gave to the library
 *    0, 1    1     0, 1    allocated before, and stale pointers may reach it: it is checked;
 *                          `guarded`: a part of it is inaccessible
 */
#pragma once

#include "arena_types.h"

/* Longer runs are closed by a mapping of their own, because light guards need page tables. */
#define CLOSE_LIGHTLY_MAX ((uint32_t)(32 * MiB / SLICE_SIZE))

/* Slices leave their block. The first `used` bytes hold what the program left there; 0 for a page,
 * whose blocks level 4 has cleared. If the memory comes from the system, the rest is zero or
 * guarded. True: the slices are closed, and the caller may keep them for a while before it calls
 * arena_free. False: it calls arena_free now. Keeps errno. */
INTERNAL bool slices_leave(uint16_t arena, uint32_t slice, uint32_t count, size_t used);
/* Zeroes OS pages that a block does not use any more, although it keeps their slices. */
INTERNAL void slices_wipe(void* p, size_t size);

/* ---- for arena.c and arena_purge.c, which hold the slices [i, i + n) ---- */

/* The slices are allocated: makes them accessible. Sets `run->guarded`, and at level 4 `run->zero`;
 * for a page that is true only if the slices were never allocated before. False: the system
 * refuses, and the slices are as they were. */
INTERNAL bool slices_enter(arena_t* a, size_t i, size_t n, bool is_page, run_t* run);
#if MI_SECURE >= 4
/* To be called before and after a purge, which drops what stale pointers have written. */
INTERNAL void slices_before_purge(arena_t* a, size_t i, size_t n);
INTERNAL void slices_after_purge(arena_t* a, size_t i, size_t n);
#endif

/* ---- guards ---- */

/* Makes the bytes at the end of a page or a block inaccessible and drops their contents. False: the
 * system refuses, or there are too many guards. */
INTERNAL bool guard_set(void* p, size_t size);
/* Removes a guard. False: the system refuses, and the caller must record the guard with guard_note
 * before it frees the slices. guard_note records (partly) protected slices; the next allocation
 * unprotects them. */
INTERNAL bool guard_remove(void* p, size_t size);
INTERNAL void guard_note(uint16_t arena, uint32_t slice, uint32_t count);
#if MI_SECURE > 0
/* Keeps the guard at the end of a page for the next page that ends with this slice. */
INTERNAL void guard_note_end(uint16_t arena, uint32_t slice);
#endif

/* Level 4: reports a write after free. The check that found it could not, because it ran under
 * locks or in the middle of a change. */
INTERNAL void slices_report(void);
