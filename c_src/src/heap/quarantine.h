/* quarantine.h - keeps freed blocks for a while before they are allocated again (levels 3 and 4).
 *
 * Each thread has a quarantine for small blocks (up to SINGLE_SLICE_MAX bytes). A block that the
 * thread frees replaces the block at a random place, and that block is freed for good. So each
 * block in quarantine is equally likely to be the next to leave, whatever the program does. With n
 * places a given later free releases a block with a chance of 1 in n. An attacker must guess
 * log2(n) bits. In the mean a block stays for n frees.
 *
 * The number of places: as many as the thread's blocks leave room for in its credit, up to
 * QUARANTINE_PLACES. Each thread that frees has QUARANTINE_BASE bytes of credit. It draws more from
 * the process, by QUARANTINE_STEP, up to its share of QUARANTINE_BYTES. A thread with more than its
 * share gives some back at its first free after a tick of its heap. So, except for the moment in
 * which a thread gives some back,
 *
 *   bytes in quarantine  <=  QUARANTINE_BYTES + threads * QUARANTINE_BASE
 *                            + QUARANTINE_MEDIUM blocks of up to MEDIUM_MAX bytes
 *
 * and a free writes to memory that threads share only when it draws credit. Blocks above
 * SINGLE_SLICE_MAX are few: they go to QUARANTINE_MEDIUM places of the process. Of large blocks
 * only the addresses are in quarantine, at QUARANTINE_RUNS places, inaccessible. They cost eight
 * bytes of page tables for each OS page, so they are at most QUARANTINE_SLICES slices.
 */
#pragma once

#include "../page/page.h"
#include "../runtime/random.h"

#if SECURE_QUARANTINE

#define QUARANTINE_PLACES ((size_t)(MI_SECURE >= 4 ? 512 : 64))
#define QUARANTINE_MEDIUM ((size_t)(MI_SECURE >= 4 ? 32 : 16))
#define QUARANTINE_BYTES ((MI_SECURE >= 4 ? 8 : 4) * MiB)
#define QUARANTINE_RUNS ((size_t)64)
#define QUARANTINE_SLICES ((ADDRESS_BITS > 32 ? 256 : 64) * MiB / SLICE_SIZE)
#define QUARANTINE_BASE (16 * KiB)
#define QUARANTINE_STEP (16 * KiB)

/* The quarantine of one thread. A fork may stop the thread anywhere: a block is then at one place
 * at most. */
typedef struct quarantine_s {
  random_t random;
  size_t count;  /* places in use */
  size_t credit; /* bytes that the blocks may have; 0: nothing was freed yet */
  size_t room;   /* credit that is left; wraps below 0 */
  size_t enough; /* from this room on an adjustment is due, else each free replaces one block */
  void* block[QUARANTINE_PLACES];
} quarantine_t;

/* After quarantine_put, if it is due: starts the quarantine, draws credit or adds a place for
 * `out`. Returns the block that the caller must free, or NULL. */
INTERNAL void* quarantine_adjust(quarantine_t* q, void* out);
/* Instead of it, for a heap that has no quarantine: takes the block out again. */
static inline void* quarantine_withdraw(quarantine_t* q) {
  void* p = q->block[0];
  q->block[0] = NULL;
  q->room = 0;
  return p;
}
/* A block that the caller must free because the credit does not suffice; NULL if there is none. */
INTERNAL void* quarantine_excess(quarantine_t* q);

/* Puts `p`, of `size` bytes, into quarantine; returns the block that it replaces, and its page. If
 * quarantine_is_due is true afterwards, the caller passes that block to quarantine_adjust instead
 * of freeing it. For the first block of a thread returns NULL, and an adjustment is due. */
static inline void* quarantine_put(quarantine_t* q, void* p, size_t size, page_t** page) {
  size_t i = random_below(random_next(&q->random), q->count);
  void* out = q->block[i];
  q->block[i] = p;
  size_t room = q->room - size;
  if (likely(out != NULL)) {
    *page = map_descriptor(out); /* small blocks lie in pages of one slice */
    room += (*page)->block_size;
  }
  q->room = room;
  return out;
}
static inline bool quarantine_is_due(const quarantine_t* q) { return q->room >= q->enough; }

/* Puts a block above SINGLE_SLICE_MAX into quarantine; returns the block that the caller must free
 * instead, or NULL. */
INTERNAL void* quarantine_put_medium(quarantine_t* q, void* p);
/* At a tick: makes an adjustment due if the thread's share has changed. */
INTERNAL void quarantine_look(quarantine_t* q);
/* Takes the next of the thread's blocks out, for the caller to free. NULL after the last: then the
 * thread has no quarantine until it frees again. */
INTERNAL void* quarantine_leave(quarantine_t* q);
/* The same for the thread's blocks at the places of the process. */
INTERNAL void* quarantine_leave_medium(const quarantine_t* q);
/* Puts a run of slices into quarantine; may return other runs to their arenas. */
INTERNAL void quarantine_put_run(uint16_t arena, uint32_t slice, uint32_t count);
/* Returns all runs to their arenas. */
INTERNAL void quarantine_leave_runs(void);
/* In the child of a fork, for a heap that is leaked with its quarantine: gives the credit back. */
INTERNAL void quarantine_lose(quarantine_t* q);
/* In the child of a fork, for the thread that goes on. The other threads' credit stays drawn until
 * their heaps are recovered. */
INTERNAL void quarantine_after_fork(quarantine_t* mine);

#endif
