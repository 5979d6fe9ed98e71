/* quarantine.h - freed blocks that wait before they are handed out again (levels 3 and 4).
 *
 * A thread holds small blocks (up to SINGLE_SLICE_MAX bytes): those it frees take the places of
 * random ones, which are freed for good. So of the blocks that wait each one is as likely to be the
 * next, whatever the program does: with n places a block is let go by a certain later free with a
 * chance of 1 in n, log2(n) bits that an attacker has to guess, and it waits for n frees in the
 * mean.
 *
 * How many places: as many as the thread's blocks leave room for in its credit, up to
 * QUARANTINE_PLACES. Each thread that frees has QUARANTINE_BASE bytes of credit. More is drawn from
 * the process, by QUARANTINE_STEP, up to a share of QUARANTINE_BYTES that all threads could have; a
 * thread with more than its share gives some back when it frees next after a tick of its heap. So,
 * but for the moment in which a thread gives some back,
 *
 *   all that waits  <=  QUARANTINE_BYTES + threads * QUARANTINE_BASE
 *                       + QUARANTINE_MEDIUM blocks of up to MEDIUM_MAX bytes
 *
 * and freeing writes to nothing that threads share but when credit is drawn. Blocks above
 * SINGLE_SLICE_MAX are few: they wait at QUARANTINE_MEDIUM places of the process. Of large blocks
 * only the addresses wait, at QUARANTINE_RUNS places, inaccessible: they cost eight bytes of page
 * tables for each OS page, so there are QUARANTINE_SLICES of them at most.
 */
#ifndef MI_QUARANTINE_H
#define MI_QUARANTINE_H

#include "page.h"
#include "random.h"

#if SECURE_HOLDS

#define QUARANTINE_PLACES ((size_t)(MI_SECURE >= 4 ? 512 : 64))
#define QUARANTINE_MEDIUM ((size_t)(MI_SECURE >= 4 ? 32 : 16))
#define QUARANTINE_BYTES ((MI_SECURE >= 4 ? 8 : 4) * MiB)
#define QUARANTINE_RUNS ((size_t)64)
#define QUARANTINE_SLICES ((ADDRESS_BITS > 32 ? 256 : 64) * MiB / SLICE_SIZE)
#define QUARANTINE_BASE (16 * KiB)
#define QUARANTINE_STEP (16 * KiB)

/* Of one thread. A fork may stop another thread anywhere: a block then is in one place at most. */
typedef struct quarantine_s {
  random_t random;
  size_t count;  /* blocks that wait */
  size_t credit; /* bytes that may; 0: nothing was freed yet */
  size_t room;   /* credit that is left; wraps below 0 */
  size_t enough; /* with less room than this a block comes for each that goes */
  void* block[QUARANTINE_PLACES];
} quarantine_t;

/* After quarantine_put: begins, adds a place or draws credit. The block that is to be freed, or
 * NULL. */
INTERNAL void* quarantine_adjust(quarantine_t* q, void* out);
/* The same for a heap that has no quarantine: the block that was put there. */
static inline void* quarantine_withdraw(quarantine_t* q) {
  void* p = q->block[0];
  q->block[0] = NULL;
  q->room = 0;
  return p;
}
/* A block that must go because the credit does not suffice; NULL: none. */
INTERNAL void* quarantine_excess(quarantine_t* q);

/* `p`, of `size` bytes, waits; returns a block that goes instead, and its page. If an adjustment is
 * due then, that decides what becomes of it. NULL for the first block of a thread; then one is. */
static inline void* quarantine_put(quarantine_t* q, void* p, size_t size, page_t** page) {
  size_t i = random_below(random_next(&q->random), q->count);
  void* out = q->block[i];
  q->block[i] = p;
  size_t room = q->room - size;
  if (likely(out != NULL)) {
    *page = map_slot(out); /* small blocks lie in pages of one slice */
    room += (*page)->block_size;
  }
  q->room = room;
  return out;
}
static inline bool quarantine_is_due(const quarantine_t* q) { return q->room >= q->enough; }

/* A block above SINGLE_SLICE_MAX waits; the one to be freed instead, or NULL. */
INTERNAL void* quarantine_put_medium(quarantine_t* q, void* p);
/* At a tick: the thread's share may be another one by now. */
INTERNAL void quarantine_look(quarantine_t* q);
/* The next of the thread's blocks, all of which are let go; NULL behind the last: then the thread
 * has no quarantine any more, until it frees again. */
INTERNAL void* quarantine_leave(quarantine_t* q);
/* The same for the blocks that it put at the places of the process. */
INTERNAL void* quarantine_leave_medium(const quarantine_t* q);
/* A run of slices waits, and another one may be given back to its arena. */
INTERNAL void quarantine_put_run(uint16_t arena, uint32_t slice, uint32_t count);
INTERNAL void quarantine_leave_runs(void);
/* In the child of a fork: the heap is lost with what waits there, but not its credit. */
INTERNAL void quarantine_lose(quarantine_t* q);
/* In the child of a fork, for the thread that is left. The others keep their credit until their
 * heaps are recovered. */
INTERNAL void quarantine_after_fork(quarantine_t* mine);

#endif
#endif
