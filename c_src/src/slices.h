/* slices.h - what becomes of slices between two blocks: how they leave one, and what is known of
 * them when they are handed out again.
 *
 * Every way by which memory leaves a block ends in slices_leave, so that what a level promises of
 * freed memory holds for all of them:
 *
 *   a page whose blocks were all freed                  page_release
 *   a page that goes with its blocks (heap destroyed)   page_release_full
 *   a large block that is freed, moved away from, left  large_release
 *     by realloc or destroyed; a sampled guarded one
 *   the end of a large block that shrinks               large_trim
 *
 * Blocks that came directly from the system, and their ends, are unmapped. A new way belongs in
 * this list, and in the one of ctest/freed_memory.c, which tries each of them.
 *
 * Levels 2 to 4: slices of large blocks are closed, where the system can do that: inaccessible
 * until they are handed out again. What was there is dropped.
 *
 * Level 4: slices that are not closed are zero when they are given back. What is not zero later was
 * written by a stale pointer. The blocks of pages are looked through as they are handed out (see
 * secure.h), everything else here. What is known of a slice, as bits of its arena:
 *
 *   dirty  stale  guarded
 *     0      0       0     never handed out: zero
 *     0      0       1     closed: zero, and no stale pointer reaches it (in arenas that commit
 *                          slices when they are handed out, closed slices stay dirty and stale)
 *     1      0       0     holds what the program left in memory that it gave us
 *    0, 1    1     0, 1    handed out before, and within reach of stale pointers: it is looked
 *                          through; `guarded` says that a part of it is inaccessible
 *
 * Owns:    the count of guards where they are mappings of their own; the write after free that was
 *          found last.
 * Always:  the bits of a slice are changed by the thread that holds it.
 * Threads: any.
 * Uses:    arena.h, log.h, os.h.          Used by: arena, page, secure, large, thread.
 */
#ifndef MI_SLICES_H
#define MI_SLICES_H

#include "arena.h"

/* More slices are closed by a mapping of their own: guards would cost page tables. */
#define CLOSE_LIGHTLY_MAX ((uint32_t)(32 * MiB / SLICE_SIZE))

/* Slices leave their block. `used`: bytes at their start that hold what the program left there; 0
 * for a page, whose blocks level 4 has cleared. What follows is zero, or behind a guard, if the
 * memory is the library's. True: they are closed, and the caller gives them back by arena_free, now
 * or later; false: they are given back. Keeps errno. */
INTERNAL bool slices_leave(uint16_t arena, uint32_t slice, uint32_t count, size_t used);
#if MI_SECURE >= 4
/* Makes OS pages zero that a block does not use any more, while it keeps their slices. */
INTERNAL void slices_wipe(void* p, size_t size);
#endif

/* ---- for arena.c, which holds the slices [i, i + n) ---- */

/* They are handed out: accessible from now on. Sets `run->guarded`, and at level 4 `run->zero`, for
 * a page only if they were never handed out before. False: the system refuses, and they are as they
 * were. */
INTERNAL bool slices_enter(arena_t* a, size_t i, size_t n, bool is_page, run_t* run);
#if MI_SECURE >= 4
/* Around a purge, which drops what stale pointers have written. */
INTERNAL void slices_before_purge(arena_t* a, size_t i, size_t n);
INTERNAL void slices_after_purge(arena_t* a, size_t i, size_t n);
#endif

/* ---- guards ---- */

/* The bytes at the end of a page or a block are inaccessible from now on, and what was there is
 * lost; false: the system refuses, or there are too many guards. */
INTERNAL bool guard_set(void* p, size_t size);
/* False: the system refuses. The guard must be noted before its slices are given back. */
INTERNAL bool guard_remove(void* p, size_t size);
INTERNAL void guard_note(uint16_t arena, uint32_t slice, uint32_t count);
#if MI_SECURE > 0
/* The guard at the end of a page stays, for the next page that ends with this slice. */
INTERNAL void guard_note_end(uint16_t arena, uint32_t slice);
#endif

#if MI_SECURE >= 4
/* Reports a write after free that was found where locks were held, or lists half changed. */
INTERNAL void slices_report(void);
#else
static inline void slices_report(void) {}
#endif

#endif
