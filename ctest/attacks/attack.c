/* attack.c - one attack on the preloaded allocator, made in this process.
 *
 *   attack cells                             the product: a line for each cell, with what prevents
 * it attack KIND SIZE THREAD MOMENT ENTRY     one cell; its end is the result
 *
 * Owns:    the cell, what is live, the second thread, the other operations.
 * Always:  the second thread lives until the process ends: an attack that goes through a thread's
 *          cache must not be undone by the end of that thread.
 */
#include "attack.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * 1024, HANG_SECONDS = 20 };

static const size_t sizes[] = {16, 48, KIB, 24 * KIB, MIB, 200 * (size_t)MIB};
static const char* const threads[] = {"same", "other"};
static const size_t moments[] = {0, 1, 200, 100000};

cell_t cell;

/* ---- how it ends ---- */

static const char* aim;

void reached(const char* what) {
  if (aim == NULL) aim = what;
}

static _Noreturn void end(int status, const char* what) {
  (void)!write(STDOUT_FILENO, what, strlen(what));
  _exit(status);
}

void broken(const char* what) { end(ENDED_BROKEN, what); }

/* ---- the second thread ---- */

static struct {
  sem_t wanted, done;
  void (*step)(void);
  int ready; /* of both(): how many stand at the start */
} second;

static void* second_main(void* unused) {
  for (;;) {
    while (sem_wait(&second.wanted) != 0) {
    }
    second.step();
    sem_post(&second.done);
  }
  return unused;
}

static void second_start(void) {
  pthread_t thread;
  sem_init(&second.wanted, 0, 0);
  sem_init(&second.done, 0, 0);
  if (pthread_create(&thread, NULL, second_main, NULL) != 0) broken("no thread");
}

static void second_begin(void (*step)(void)) {
  second.step = step;
  sem_post(&second.wanted);
}

static void second_end(void) {
  while (sem_wait(&second.done) != 0) {
  }
}

void act(void (*step)(void)) {
  if (!cell.other) {
    step();
    return;
  }
  second_begin(step);
  second_end();
}

static void (*race_step)(void);

static void race(void) {
  __atomic_add_fetch(&second.ready, 1, __ATOMIC_ACQ_REL);
  while (__atomic_load_n(&second.ready, __ATOMIC_ACQUIRE) < 2) {
  }
  race_step();
}

void both(void (*step)(void)) {
  race_step = step;
  second_begin(race);
  race();
  second_end();
}

/* ---- other operations ---- */

enum { OTHER_BLOCKS = 64, OTHER_SIZE_MAX = 2048 };

static struct {
  void* p[OTHER_BLOCKS];
  size_t size[OTHER_BLOCKS];
  uint64_t random;
} others;

static size_t others_random(size_t below) {
  others.random ^= others.random << 13;
  others.random ^= others.random >> 7;
  others.random ^= others.random << 17;
  return (size_t)(others.random % below);
}

static void others_step(size_t i) {
  if (others.p[i] != NULL) {
    cell.entry->release(others.p[i], others.size[i]);
    others.p[i] = NULL;
    return;
  }
  size_t size, least = cell.entry->alignment; /* sizes below it share a class */
  size_t low = cell.size > least ? cell.size : 0, high = cell.size > least ? cell.size : least;
  do {
    size = 1 + others_random(OTHER_SIZE_MAX);
  } while (size > low / 2 && size < high * 2);
  others.p[i] = cell.entry->allocate(size);
  others.size[i] = size;
}

/* Half of them are there before the attack begins, so that what comes after it needs no pages. */
void others_start(void) {
  others.random = UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = 0; i < OTHER_BLOCKS; i++) others_step(i);
  for (size_t i = 0; i < OTHER_BLOCKS; i += 2) others_step(i);
}

void others_run(void) {
  for (size_t i = 0; i < cell.moment; i++) others_step(others_random(OTHER_BLOCKS));
}

/* ---- what is live ---- */

enum { LIVE_MAX = 256, TAKEN_MAX = 16384 };

static struct {
  const char* p[LIVE_MAX];
  size_t size[LIVE_MAX];
  size_t count;
} live;

void live_add(void* p, size_t size) {
  if (live.count == LIVE_MAX) broken("too many blocks");
  live.p[live.count] = p;
  live.size[live.count++] = size;
}

void live_remove(void* p) {
  for (size_t i = live.count; i-- > 0;) {
    if (live.p[i] != p) continue;
    live.count--;
    live.p[i] = live.p[live.count];
    live.size[i] = live.size[live.count];
    return;
  }
}

/* The addresses that hunt() got: one table per process, never emptied. */
static bool taken_before(const void* p) {
  static const void* taken[TAKEN_MAX];
  size_t i = (uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15) >> 32;
  for (;; i++) {
    const void** slot = &taken[i % TAKEN_MAX];
    if (*slot == p) return true;
    if (*slot != NULL) continue;
    *slot = p;
    return false;
  }
}

static void* take_over_live(size_t size) {
  char* p = cell.entry->allocate(size);
  for (size_t i = 0; p != NULL && i < live.count; i++) {
    bool apart = (uintptr_t)p + size <= (uintptr_t)live.p[i] ||
                 (uintptr_t)live.p[i] + live.size[i] <= (uintptr_t)p;
    if (!apart) reached("a block was allocated over a live one");
  }
  return p;
}

void* take(size_t size) {
  void* p = take_over_live(size);
  if (p != NULL) live_add(p, size);
  return p;
}

/* ---- more allocations ---- */

size_t crowd(void) {
  if (cell.size <= KIB) return 64;
  if (cell.size < MIB) return 16;
  return cell.size == MIB ? 6 : 3;
}

enum { HUNT_MAX = 4096 };

static struct {
  void* p[2 * HUNT_MAX];
  size_t count;
} hunted;

/* As many as a free list has. The attack keeps them: a block that comes twice shows. */
static void hunt_step(void) {
  size_t count = cell.size < MIB ? 2 * MIB / cell.size : 2 * crowd();
  for (size_t i = 0; i < count && i < HUNT_MAX; i++) {
    void* p = take_over_live(cell.size);
    if (p == NULL) break;
    if (taken_before(p)) reached("a block was allocated twice");
    hunted.p[hunted.count++] = p;
  }
}

void hunt(void) {
  act(hunt_step);
  if (cell.other) hunt_step();
}

void hunt_release(void) {
  if (aim != NULL) return; /* this address is no block */
  for (size_t i = 0; i < hunted.count; i++) cell.entry->release(hunted.p[i], cell.size);
  hunted.count = 0;
}

static struct {
  const void* wanted;
  bool (*look)(const void* p);
  bool found;
} chase;

/* Allocates `drain` blocks, more than hunt() may have released, so that every page with free blocks
 * has its turn; then keeps these in a ring, each step releasing the oldest, so that blocks leave a
 * quarantine too. */
static void chase_step(void) {
  enum { RING = HUNT_MAX + 512 };
  static _Thread_local void* ring[RING];
  bool small = cell.size <= KIB;
  size_t drain = small ? RING : 4 * crowd();
  size_t steps = small ? 20000 : cell.size < MIB ? 2000 : 100;
  for (size_t i = 0; i < drain + steps && !chase.found; i++) {
    void** slot = &ring[i % drain];
    if (*slot != NULL) cell.entry->release(*slot, cell.size);
    void* p = *slot = cell.entry->allocate(cell.size);
    if (p == NULL) break;
    chase.found = (chase.wanted == NULL || p == chase.wanted) && chase.look(p);
    if (p == chase.wanted) break;
  }
}

void hunt_for(const void* wanted, bool (*look)(const void* p)) {
  chase.wanted = wanted;
  chase.look = look;
  act(chase_step);
  if (cell.other) chase_step();
}

/* ---- main ---- */

static const kind_t* kind_named(const char* name) {
  for (size_t i = 0; i < kind_count; i++)
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  broken("no such kind");
}

static const entry_t* entry_named(const char* name) {
  for (size_t i = 0; i < ENTRY_COUNT; i++)
    if (strcmp(entries[i].name, name) == 0) return &entries[i];
  broken("no such entry");
}

static const char* why_impossible(const kind_t* kind) {
  if (cell.entry->absent != NULL) return cell.entry->absent;
  return kind->impossible != NULL ? kind->impossible() : NULL;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void print_cells(void) {
  for (size_t k = 0; k < kind_count; k++)
    for (size_t s = 0; s < COUNT(sizes); s++)
      for (size_t t = 0; t < COUNT(threads); t++)
        for (size_t m = 0; m < COUNT(moments); m++)
          for (size_t e = 0; e < ENTRY_COUNT; e++) {
            cell = (cell_t){kinds[k].name, sizes[s], t == 1, moments[m], &entries[e]};
            const char* why = why_impossible(&kinds[k]);
            printf("%s %zu %s %zu %s%s%s\n", cell.kind, cell.size, threads[t], cell.moment,
                   cell.entry->name, why != NULL ? " " : "", why != NULL ? why : "");
          }
}

int main(int argc, char** argv) {
  entries_find();
  if (argc == 2 && strcmp(argv[1], "cells") == 0) {
    print_cells();
    return 0;
  }
  if (argc != 6) broken("usage: attack cells | attack KIND SIZE THREAD MOMENT ENTRY");
  alarm(HANG_SECONDS);
  const kind_t* kind = kind_named(argv[1]);
  cell = (cell_t){kind->name, strtoul(argv[2], NULL, 10), strcmp(argv[3], threads[1]) == 0,
                  strtoul(argv[4], NULL, 10), entry_named(argv[5])};
  const char* why = why_impossible(kind);
  if (why != NULL) end(ENDED_IMPOSSIBLE, why);
  second_start();
  others_start();
  kind->attack();
  if (aim != NULL) end(ENDED_MISSED, aim);
  end(ENDED_HARMLESS, "");
}
