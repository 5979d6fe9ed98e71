/* state.h - what the engine knows: of the scenario, of this execution, of all so far.
 *
 * engine.c is one unit with memory.h, order.h and clocks.h, which share this.
 */
#ifndef INTERLEAVE_STATE_H
#define INTERLEAVE_STATE_H

#include "engine.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define OS_PAGE ((size_t)4096)
#define STACK_SIZE ((size_t)1 << 20)
#define NODES_MAX 4096
#define STEPS_MAX 20000 /* atomic accesses of one execution */
#define READS_MAX 128
#define RANGES_MAX 4
#define TOUCHED_MAX 8192
#define LOCKS_MAX 16
#define STORES_MAX 4                 /* values of a word that are remembered */
#define TABLE_SIZE ((size_t)1 << 15) /* places of a hash table; a power of two */

enum { READ, ADD, WRITE };

typedef struct access_s {
  uintptr_t address; /* 0: an access that no other thread can notice */
  int kind;
  bool is_lock;
} access_t;

typedef struct thread_s {
  void (*run)(void);
  jmp_buf entry; /* where each execution begins */
  jmp_buf at;
  bool live;
  access_t next; /* what it does when it goes on */
  bool waits;    /* for a write to what it has read */
  bool woken;
  size_t read_count;
  uintptr_t reads[READS_MAX];
  uint32_t clock[THREADS_MAX];
  uint32_t order[THREADS_MAX]; /* numbers of the points that its next one comes after */
  uint32_t woken_by[THREADS_MAX];
} thread_t;

/* A point of the execution, and what was tried there. The bounded search has one only where there
 * is a choice, and uses the first three fields; masks of threads are the other one's. */
typedef struct node_s {
  uint8_t options[THREADS_MAX];
  uint8_t count, index;
  uint8_t enabled, wanted, done, asleep;
  uint8_t chosen;
  access_t access;             /* of the thread that was chosen */
  size_t before;               /* number of the last point before with the same address; 0: none */
  uint32_t order[THREADS_MAX]; /* numbers of the last points of each thread that come before */
} node_t;

/* A word that was accessed atomically, over all executions. */
typedef struct word_s {
  uintptr_t address;
  uint8_t by[3]; /* masks of threads: by kind */
  bool shared;   /* a point */
  bool found;    /* to be one from the next execution on */
  size_t last;   /* number of its last point in this execution */
  uint64_t execution;
} word_t;

/* A value that a word had in this execution. */
typedef struct store_s {
  uint64_t value;
  int thread;                     /* who wrote it; DRIVER: it was there at the start */
  uint32_t when;                  /* by that thread's clock */
  uint32_t released[THREADS_MAX]; /* what travels to who reads it and acquires */
} store_t;

/* What was released into a word or a lock in this execution, and the last values of the word. */
typedef struct sync_s {
  uintptr_t address;
  uint64_t execution;
  uint32_t clock[THREADS_MAX];
  size_t stores;            /* numbered from 1 */
  size_t seen[THREADS_MAX]; /* number of the last store that the thread has seen */
  size_t last_seq_cst;      /* and of the last one that all agree on */
  store_t store[STORES_MAX];
} sync_t;

/* The last accesses of each thread to eight bytes of memory in this execution. */
typedef struct seen_s {
  uint32_t clock;
  uint8_t bytes; /* mask */
} seen_t;
enum { PLAIN_READ, PLAIN_WRITE, ATOMIC_READ, ATOMIC_WRITE, ACCESS_KINDS };
typedef struct shadow_s {
  uintptr_t address;
  uint64_t execution;
  seen_t by[ACCESS_KINDS][THREADS_MAX];
} shadow_t;

typedef struct step_s {
  uint8_t thread;
  bool shared;
  void* pc;
} step_t;

typedef struct range_s {
  char *start, *end;
} range_t;

/* Accesses whose memory order is weaker than in the source. */
#define WEAK_MAX 32
typedef struct weak_s {
  int order, failed; /* the latter of a compare-and-swap that fails; -1: as it is */
  size_t count;
  const void* pc[WEAK_MAX];
} weak_t;

typedef struct limits_s {
  weak_t weak;
  int bound;    /* preemptions */
  uint64_t all; /* executions of the search for all orders; 0: none */
  int deep;     /* preemptions where that is not complete */
  int stale;    /* loads of an old value, in a search of its own with `bound` preemptions */
  bool naive;   /* without partial order reduction: to compare the numbers of executions */
} limits_t;

typedef enum end_e { END_DONE = 1, END_REDUNDANT } end_t;

/* In memory of its own, which is not put back. */
static struct engine_s {
  const scenario_t* scenario;
  int threads;
  weak_t weak;
  bool exploring; /* the threads run */
  bool ready;     /* the set-up is done and its memory protected */
  int current, running;
  thread_t thread[THREADS_MAX];
  jmp_buf driver;

  bool all, naive;
  int bound, preemptions;
  bool left_out, grown;
  int stale, stale_left; /* loads that may return an old value, of an execution */
  uint8_t sleeping;      /* mask */
  node_t nodes[NODES_MAX];
  size_t depth, length;
  size_t most_points, steps, points;
  uint64_t execution, executions, redundant, seen_by_watch, total;
  uint64_t cap;

  struct lock_s {
    void* lock;
    int holder;
    uint32_t order[THREADS_MAX]; /* of the last unlock */
  } locks[LOCKS_MAX];

  range_t ranges[RANGES_MAX];
  size_t range_count;
  struct touched_s {
    char* page;
    char* saved;
  } touched[TOUCHED_MAX];
  size_t touched_count;
  char* saved;
  uint8_t* is_touched[RANGES_MAX];

  word_t words[TABLE_SIZE];
  sync_t syncs[TABLE_SIZE];
  shadow_t shadows[TABLE_SIZE];
  step_t trace[STEPS_MAX + 1];
} * e;

/* What the library takes for the C library's word that there is one thread only. */
char engine_single_threaded;

static void* os_memory(size_t size) {
  void* p =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    fputs("interleave: no memory\n", stderr);
    _exit(2);
  }
  return p;
}

static size_t hash(uintptr_t address) {
  return (size_t)((address >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (TABLE_SIZE - 1);
}

static word_t* word_of(uintptr_t address) {
  size_t i = hash(address);
  while (e->words[i].address != 0 && e->words[i].address != address) i = (i + 1) % TABLE_SIZE;
  e->words[i].address = address;
  return &e->words[i];
}

/* ---- the report of a violation ---- */

static void print_trace(void) {
  char exe[256], command[17000], addresses[16000];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
  exe[n < 0 ? 0 : n] = 0;
  printf("  the schedule, thread: access, before which another thread might go on\n");
  for (size_t i = 0; i < e->steps;) { /* one call for what a thread does in one go */
    int t = e->trace[i].thread;
    size_t used = 0;
    for (; i < e->steps && e->trace[i].thread == t && used < sizeof(addresses) - 40; i++)
      if (e->trace[i].shared)
        used += (size_t)snprintf(addresses + used, sizeof(addresses) - used, " %p",
                                 (void*)((char*)e->trace[i].pc - 1));
    if (used == 0) continue;
    snprintf(
        command, sizeof(command),
        "addr2line -e '%s' -f -i -p -s%s |"
        " sed 's/ (discriminator.*//; /^ /s/^ (inlined by) /         in /; /^ /!s/^/    %d: /'",
        exe, addresses, t);
    fflush(stdout);
    if (system(command) != 0) printf("    %d: %s\n", t, addresses);
  }
}

void engine_violation(const char* format, ...) {
  static bool again;
  va_list args;
  if (e->scenario->shows != NULL) {
    char text[256];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (strstr(text, e->scenario->shows) != NULL) {
      printf("%-17s found: %s\n", e->scenario->name, text);
      fflush(stdout);
      _exit(0);
    }
  }
  va_start(args, format);
  printf("VIOLATION in %s, execution %llu%s: ", e->scenario->name, (unsigned long long)e->total + 1,
         e->exploring ? "" : ", afterwards");
  vprintf(format, args);
  putchar('\n');
  va_end(args);
  fflush(stdout);
  if (!again) {
    again = true;
    e->exploring = false;
    if (e->ready) print_trace();
  }
  fflush(stdout);
  _exit(1);
}

static void watch(int number) {
  (void)number;
  if (e->seen_by_watch == e->execution) engine_violation("does not end");
  e->seen_by_watch = e->execution;
}

static void note_step(void* pc, bool shared) {
  if (e->steps >= STEPS_MAX) engine_violation("more than %d accesses: does not end", STEPS_MAX);
  e->trace[e->steps++] = (step_t){(uint8_t)e->current, shared, pc};
}

#endif
