/* quarantine.c - see quarantine.h for which blocks are in quarantine, where, and for how long.
 *
 * Owns:    the credit that threads have drawn, the number of threads with a quarantine, the places
 *          of medium and large blocks.
 * Always:  `room` is `credit` minus the sizes of the blocks in quarantine. The credits of all
 *          threads above QUARANTINE_BASE add up to `drawn`.
 * Threads: a quarantine is its thread's; the rest: any.
 */
#include "quarantine.h"
#include "../memory/arena_purge.h"

#if SECURE_QUARANTINE

_Static_assert(SINGLE_SLICE_MAX <= QUARANTINE_BASE / 2, "two of the largest fit at any time");

static struct {
  _Atomic(size_t) drawn, threads;              /* relaxed: they publish nothing */
  _Atomic(uint64_t) medium[QUARANTINE_MEDIUM]; /* thread tag << 48 | address */
} quarantines;

/* ---- credit ---- */

/* The most credit that a thread may have. */
static size_t share(void) {
  size_t threads = max_size(load_relaxed(&quarantines.threads), 1);
  return QUARANTINE_BASE + round_down(QUARANTINE_BYTES / threads, QUARANTINE_STEP);
}

/* A thread draws at most a quarter of what is left, so that new threads find some. */
static bool may_draw(const quarantine_t* q) {
  size_t drawn = load_relaxed(&quarantines.drawn);
  size_t left = QUARANTINE_BYTES - min_size(drawn, QUARANTINE_BYTES);
  return q->credit < share() && q->credit - QUARANTINE_BASE + QUARANTINE_STEP <= left / 4;
}

static bool draw(quarantine_t* q) {
  if (!may_draw(q)) return false;
  size_t before = add_relaxed(&quarantines.drawn, QUARANTINE_STEP);
  compiler_fence(); /* see give_back */
  if (before + QUARANTINE_STEP > QUARANTINE_BYTES) {
    sub_relaxed(&quarantines.drawn, QUARANTINE_STEP);
    return false;
  }
  q->credit += QUARANTINE_STEP;
  q->room += QUARANTINE_STEP;
  return true;
}

/* A fork between the stores leaves too much drawn in the child, never too little. */
static void give_back(quarantine_t* q, size_t credit) {
  size_t less = q->credit - credit;
  q->room -= less;
  q->credit = credit;
  compiler_fence();
  sub_relaxed(&quarantines.drawn, less);
}

/* Some blocks must leave the quarantine. */
static bool is_overdrawn(const quarantine_t* q) { return (ptrdiff_t)q->room < 0; }

/* ---- places ---- */

/* Starts the thread's quarantine; quarantine_put has stored the first block in place 0. */
static void quarantine_begin(quarantine_t* q) {
  add_relaxed(&quarantines.threads, 1);
  compiler_fence();
  q->random = random_start();
  q->credit = QUARANTINE_BASE;
  q->room = QUARANTINE_BASE - map_descriptor(q->block[0])->block_size;
  q->count = 1;
}

/* Puts the block at a new place. The count is written last: a fork never finds it too high. */
static void add_place(quarantine_t* q, void* p, size_t size) {
  q->room -= size;
  q->block[q->count] = p;
  compiler_fence();
  q->count++;
}

static void* remove_place(quarantine_t* q, size_t i) {
  void *out = q->block[i], *last = q->block[q->count - 1];
  q->block[--q->count] = NULL;
  compiler_fence(); /* a fork never finds a block at two places */
  if (i < q->count) q->block[i] = last;
  q->room += map_descriptor(out)->block_size;
  return out;
}

/* Sets when quarantine_adjust is due: never if all places are in use, at each free while the thread
 * can draw credit, else while the largest small block fits in the room. */
static void set_enough(quarantine_t* q, bool grows) {
  if (q->count == QUARANTINE_PLACES)
    q->enough = SIZE_MAX / 2 + 1;
  else
    q->enough = grows ? 0 : SINGLE_SLICE_MAX;
}

INTERNAL void* quarantine_adjust(quarantine_t* q, void* out) {
  if (unlikely(q->credit == 0)) quarantine_begin(q);
  size_t most = share();
  if (unlikely(q->credit > most)) give_back(q, most);
  bool grows = true;
  while (is_overdrawn(q) && grows) grows = draw(q);
  if (out != NULL && !is_overdrawn(q) && q->count < QUARANTINE_PLACES) {
    size_t size = map_descriptor(out)->block_size;
    if (q->room < size) grows = draw(q);
    if (q->room >= size) {
      add_place(q, out, size);
      out = NULL;
    }
  }
  set_enough(q, grows);
  return out;
}

INTERNAL void* quarantine_excess(quarantine_t* q) {
  if (likely(!is_overdrawn(q))) return NULL;
  void* out = remove_place(q, random_below(random_next(&q->random), q->count));
  set_enough(q, false);
  return out;
}

INTERNAL void quarantine_look(quarantine_t* q) {
  if (q->credit == 0) return;
  if (q->credit > share() || (q->count < QUARANTINE_PLACES && may_draw(q))) q->enough = 0;
}

INTERNAL void quarantine_lose(quarantine_t* q) {
  if (q->credit == 0) return;
  give_back(q, QUARANTINE_BASE);
  q->credit = q->room = q->enough = 0;
  compiler_fence();
  sub_relaxed(&quarantines.threads, 1);
}

INTERNAL void* quarantine_leave(quarantine_t* q) {
  while (q->count > 0) {
    void* out = q->block[--q->count];
    q->block[q->count] = NULL;
    if (out != NULL) return out;
  }
  quarantine_lose(q);
  return NULL;
}

/* ---- medium blocks ---- */

/* Names the thread that put a block at a place. Two threads with the same tag also take out each
 * other's blocks when they flush. */
static uint64_t tag_of(const quarantine_t* q) {
  return (uint64_t)(uint16_t)((uintptr_t)q / sizeof(void*) / 8) << 48;
}
static void* block_of(uint64_t word) { return (void*)(uintptr_t)(word & ~(UINT64_MAX << 48)); }

/* Release: publishes the block; acquire: the thread that takes it out frees it for the thread that
 * put it in. */
INTERNAL void* quarantine_put_medium(quarantine_t* q, void* p) {
  if (unlikely(q->random.key == 0)) q->random = random_start();
  size_t i = random_below(random_next(&q->random), QUARANTINE_MEDIUM);
  return block_of(swap_acq_rel(&quarantines.medium[i], tag_of(q) | (uintptr_t)p));
}

INTERNAL void* quarantine_leave_medium(const quarantine_t* q) {
  for (size_t i = 0; i < QUARANTINE_MEDIUM; i++) {
    uint64_t word = load_relaxed(&quarantines.medium[i]);
    if (word != 0 && (word & UINT64_MAX << 48) == tag_of(q) &&
        cas_acq_rel(&quarantines.medium[i], &word, 0))
      return block_of(word);
  }
  return NULL;
}

/* ---- runs of slices ---- */

static struct {
  _Atomic(uint64_t) run[QUARANTINE_RUNS]; /* arena << 48 | slices << 32 | first slice; 0: empty */
  _Atomic(size_t) slices;                 /* relaxed: may be a little late */
} quarantine_runs;

/* Acquire and release: as for medium blocks. */
static void exchange_run(size_t i, uint64_t run) {
  run = swap_acq_rel(&quarantine_runs.run[i], run);
  if (run == 0) return;
  sub_relaxed(&quarantine_runs.slices, (uint16_t)(run >> 32));
  arena_free((uint16_t)(run >> 48), (uint32_t)run, (uint16_t)(run >> 32));
}

INTERNAL void quarantine_put_run(uint16_t arena, uint32_t slice, uint32_t count) {
  mi_assert_internal(count <= UINT16_MAX);
  uint64_t run = (uint64_t)arena << 48 | (uint64_t)count << 32 | slice;
  random_t random = random_start();
  add_relaxed(&quarantine_runs.slices, count);
  exchange_run(random_below(random_next(&random), QUARANTINE_RUNS), run);
  size_t tries = QUARANTINE_RUNS; /* bounded: other threads may have emptied the places */
  while (load_relaxed(&quarantine_runs.slices) > QUARANTINE_SLICES && tries-- > 0)
    exchange_run(random_below(random_next(&random), QUARANTINE_RUNS), 0);
}

INTERNAL void quarantine_leave_runs(void) {
  for (size_t i = 0; i < QUARANTINE_RUNS; i++)
    if (load_relaxed(&quarantine_runs.run[i]) != 0) exchange_run(i, 0);
}

INTERNAL void quarantine_after_fork(quarantine_t* mine) { mine->random = random_start(); }

#endif
