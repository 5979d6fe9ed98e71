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
 * Blocks that came directly from the system, and their ends, are unmapped. Whoever adds a way adds
 * it here, and to the cases of ctest/secure.c that try each of them.
 *
 * Levels 2 to 4: slices of large blocks are closed, that is inaccessible until they are handed out
 * again, where the system has guards. Guards drop what was there.
 *
 * Level 4: what cannot be closed is made zero before it is given back, so what is not zero later
 * was written by a stale pointer. The blocks of pages are looked through as they are handed out
 * (see secure.h), everything else here. What is known of a slice, as bits of its arena:
 *
 *   dirty  stale  guarded
 *     0      0       0     never handed out: zero
 *     0      0       1     closed: zero, and no stale pointer reaches it
 *     1      0       0     holds what the program left in memory that it gave us
 *    0, 1    1     0, 1    handed out before, and within reach of stale pointers: to be looked
 *                          through; `guarded` is then about a part of it
 *
 * Owns:    the count of guards where they are mappings of their own; the write after free that was
 *          found last.
 * Always:  the bits of a slice are changed by the one who holds it.
 * Threads: any.
 * Uses:    arena.h, log.h, os.h.          Used by: arena, page, secure, large, thread.
 */
#ifndef MI_SLICES_H
#define MI_SLICES_H

#include "arena.h"

typedef enum leave_e {
  LEAVE_EMPTY, /* freed blocks only, which level 4 has cleared */
  LEAVE_FULL   /* with what the program left in them */
} leave_t;

/* Slices leave their block. True: they are closed, and the caller may hold them back before
 * arena_free; else they are given back. Keeps errno. */
INTERNAL bool slices_leave(uint16_t arena, uint32_t slice, uint32_t count, leave_t what);
#if MI_SECURE >= 4
/* Makes OS pages zero that a block does not use any more, while it keeps their slices. */
INTERNAL void slices_wipe(void* p, size_t size);
#endif

/* ---- for arena.c, which holds the slices [i, i + n) ---- */

/* They are handed out: accessible from now on. Level 4 sets `run->zero`, for a page only if they
 * never were handed out before. `run->guarded`: a page has the guard already that the one before
 * left. False: not possible, and nothing has changed. */
INTERNAL bool slices_enter(arena_t* a, size_t i, size_t n, bool is_page, run_t* run);
#if MI_SECURE >= 4
/* Around a purge, which drops what stale pointers have written. */
INTERNAL void slices_before_purge(arena_t* a, size_t i, size_t n);
INTERNAL void slices_after_purge(arena_t* a, size_t i, size_t n);
#endif

/* ---- guards ---- */

/* The bytes at the end of a page or a block are inaccessible from now on, and what was there is
 * lost; false where that cannot be had. */
INTERNAL bool guard_set(void* p, size_t size);
/* False: it stays, and is to be noted before its slices are given back. */
INTERNAL bool guard_remove(void* p, size_t size);
INTERNAL void guard_note(uint16_t arena, uint32_t slice, uint32_t count);
#if MI_SECURE > 0
/* One that was not removed, as the next page will want it at the end of this slice. */
INTERNAL void guard_note_end(uint16_t arena, uint32_t slice);
#endif

#if MI_SECURE >= 4
/* Reports a write after free that was found while the caller could not, for locks were held. */
INTERNAL void slices_report(void);
#else
static inline void slices_report(void) {}
#endif

#endif
