/* engine.c - see engine.h.
 *
 * Owns:    the schedule, the clocks of the race detector, the pages that executions wrote to.
 * Always:  the same choices lead to the same execution: nothing here depends on time or addresses
 *          that change.
 *
 * Points. Threads change only at a lock and before an atomic access to a word for which two threads
 * were seen to conflict (one writes, another reads or writes; additions whose result nobody looks
 * at do not conflict with each other). An access to any other word commutes with all that the other
 * threads do, and so does a plain access in a program without data races; so orders that differ
 * in these alone end in the same state. When an execution shows a new conflict the exploration
 * begins again with it, until one shows none.
 *
 * Search. Depth first without stored states: an execution follows the choices of the one before up
 * to the last point at which there is another choice. Two ways to limit the choices:
 *   bounded    a thread that could go on is left at most so many times (preemptions). All orders
 *              within the bound are tried; if none was left out the search was complete.
 *   all        any number of times, but of orders that differ only in steps that commute one is
 *              enough (dynamic partial order reduction, see there).
 *
 * Waiting. A thread that finds nothing to do (os_yield) goes on when another one has written to a
 * word that it has read since it last waited: before that it could only find the same again. If
 * nobody can go on, the threads wait for each other for ever.
 *
 * Races. Each thread has a vector clock, each atomic word the clocks that were released into it, by
 * the orders that the source names: a release that is only relaxed carries nothing. Two plain
 * accesses, or a plain and an atomic one, of which one writes and which are not ordered by that,
 * are a race. So orders too weak to carry what a plain access needs are found although the machine
 * that this runs on would forgive them. What relaxed atomics themselves may return is not: they
 * return the last value written.
 *
 * Memory. All that the library can write to is write-protected after the set-up. The first write to
 * an OS page saves it, and from then on it is put back before each execution.
 */
#define _GNU_SOURCE
#include "engine.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
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
  uintptr_t address; /* 0: nothing that anybody could care about */
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

typedef struct limits_s {
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

/* ---- what is told about a violation ---- */

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

/* ---- memory ---- */

void engine_add_memory(void* start, size_t size) {
  range_t* r = &e->ranges[e->range_count];
  r->start = (char*)((uintptr_t)start & ~(OS_PAGE - 1));
  r->end = (char*)(((uintptr_t)start + size + OS_PAGE - 1) & ~(OS_PAGE - 1));
  e->is_touched[e->range_count++] = os_memory((size_t)(r->end - r->start) / OS_PAGE);
}

static uint8_t* touched_flag(const void* p) {
  for (size_t i = 0; i < e->range_count; i++)
    if ((char*)p >= e->ranges[i].start && (char*)p < e->ranges[i].end)
      return &e->is_touched[i][(size_t)((char*)p - e->ranges[i].start) / OS_PAGE];
  return NULL;
}

bool engine_is_touched(const void* p, size_t size) {
  uint8_t* flag = touched_flag(p);
  return memchr(flag, 1, ((uintptr_t)p % OS_PAGE + size + OS_PAGE - 1) / OS_PAGE) != NULL;
}

static void page_touch(char* page, uint8_t* flag) {
  if (e->touched_count == TOUCHED_MAX) {
    fputs("interleave: too much memory is written to\n", stderr);
    _exit(2);
  }
  char* saved = e->saved + e->touched_count * OS_PAGE;
  memcpy(saved, page, OS_PAGE);
  *flag = 1;
  e->touched[e->touched_count++] = (struct touched_s){page, saved};
}

static void fault(int number, siginfo_t* info, void* context) {
  (void)number, (void)context;
  char* page = (char*)((uintptr_t)info->si_addr & ~(OS_PAGE - 1));
  uint8_t* flag = touched_flag(page);
  if (!e->ready || flag == NULL || *flag != 0) {
    signal(SIGSEGV, SIG_DFL);
    engine_violation("access to %p", info->si_addr);
  }
  page_touch(page, flag);
  mprotect(page, OS_PAGE, PROT_READ | PROT_WRITE);
}

static void memory_protect(void) {
  e->saved = os_memory(TOUCHED_MAX * OS_PAGE);
  for (size_t i = 0; i < e->range_count; i++) {
    range_t* r = &e->ranges[i];
    /* What the set-up wrote to is resident. (The first range is the program's own data.) */
    size_t pages = (size_t)(r->end - r->start) / OS_PAGE;
    unsigned char* resident = os_memory(pages);
    if (i > 0 && mincore(r->start, pages * OS_PAGE, resident) == 0)
      for (size_t k = 0; k < pages; k++)
        if ((resident[k] & 1) != 0) page_touch(r->start + k * OS_PAGE, &e->is_touched[i][k]);
    munmap(resident, pages);
    if (mprotect(r->start, (size_t)(r->end - r->start), PROT_READ) != 0) {
      perror("interleave: mprotect");
      _exit(2);
    }
  }
  for (size_t i = 0; i < e->touched_count; i++)
    mprotect(e->touched[i].page, OS_PAGE, PROT_READ | PROT_WRITE);
  e->ready = true;
}

static void memory_restore(void) {
  for (size_t i = 0; i < e->touched_count; i++)
    memcpy(e->touched[i].page, e->touched[i].saved, OS_PAGE);
}

/* ---- who goes on ---- */

int engine_thread(void) { return e->exploring ? e->current : DRIVER; }

static struct lock_s* lock_of(void* lock) {
  size_t i = 0;
  while (e->locks[i].lock != NULL && e->locks[i].lock != lock) i++;
  if (e->locks[i].lock == NULL) e->locks[i] = (struct lock_s){lock, -1, {0}};
  return &e->locks[i];
}

bool engine_is_locked(void) {
  for (size_t i = 0; i < LOCKS_MAX && e->locks[i].lock != NULL; i++)
    if (e->locks[i].holder >= 0) return true;
  return false;
}

static bool is_enabled(int t) {
  thread_t* thread = &e->thread[t];
  if (!thread->live) return false;
  if (thread->waits) return thread->woken;
  return !thread->next.is_lock || lock_of((void*)thread->next.address)->holder < 0;
}

static bool depend(const access_t* a, const access_t* b) {
  return a->address != 0 && a->address == b->address && (a->kind == WRITE || a->kind != b->kind);
}

static uint8_t bit(int t) { return (uint8_t)(1u << t); }

/* The choice at this point: as before, or the first one of a new node. */
static uint8_t choose_among(const uint8_t* options, uint8_t count) {
  if (count == 1) return options[0];
  if (e->depth == NODES_MAX) engine_violation("more than %d choices", NODES_MAX);
  node_t* node = &e->nodes[e->depth++];
  if (e->depth > e->length) {
    node->index = 0;
    node->count = count;
    memcpy(node->options, options, sizeof(node->options));
    e->length = e->depth;
  } else if (node->count != count || memcmp(node->options, options, count) != 0) {
    engine_violation("the engine does not meet the same choices again");
  }
  return node->options[node->index];
}

/* ---- all orders but for steps that commute ----
 *
 * Two points of an execution are ordered if they are one thread's, depend on each other, or are
 * linked by others that do. An order that keeps this one is the same execution. So another choice
 * is wanted at a point only where a later one of another thread depends on it and is not ordered
 * behind it otherwise: there the later one, or what must come before it, is tried first (dynamic
 * partial order reduction with source sets). What was tried sleeps until something happens that it
 * depends on. Points are numbered from 1. */

static void join(uint32_t* into, const uint32_t* from) {
  for (int t = 0; t < THREADS_MAX; t++)
    if (into[t] < from[t]) into[t] = from[t];
}

static node_t* node_at(size_t number) { return &e->nodes[number - 1]; }

/* Point `i` depends on the earlier point `j` and might come first. */
static void want_before(size_t j, size_t i) {
  node_t *early = node_at(j), *late = node_at(i);
  uint8_t initials = 0;
  size_t first[THREADS_MAX] = {0}; /* of each thread, of the points behind j that do not need j */
  for (size_t k = j + 1; k <= i; k++) {
    node_t* node = node_at(k);
    int t = node->chosen;
    if ((k < i && node->order[early->chosen] >= j) || first[t] != 0) continue;
    first[t] = k;
    bool is_initial = true;
    for (int other = 0; other < e->threads; other++)
      if (other != t && first[other] != 0 && node->order[other] >= first[other]) is_initial = false;
    if (is_initial) initials |= bit(t);
  }
  initials &= early->enabled;
  if ((early->enabled & bit(late->chosen)) == 0 || initials == 0)
    early->wanted |= early->enabled; /* it cannot simply go first: anything may be needed */
  else if ((initials & early->wanted) == 0)
    early->wanted |=
        (initials & bit(late->chosen)) != 0 ? bit(late->chosen) : initials & (uint8_t)-initials;
}

/* The order of the point that was just chosen, and what is wanted because of it. */
static void order_point(size_t i) {
  node_t* node = node_at(i);
  thread_t* thread = &e->thread[node->chosen];
  size_t races[NODES_MAX], count = 0;
  word_t* w = word_of(node->access.address);
  if (w->execution != e->execution) w->last = 0;
  w->execution = e->execution;
  node->before = w->last;
  w->last = i;
  for (size_t j = node->before; j != 0; j = node_at(j)->before) {
    node_t* other = node_at(j);
    if (other->chosen == node->chosen || !depend(&other->access, &node->access)) continue;
    if (thread->order[other->chosen] < j) races[count++] = j;
    join(thread->order, other->order);
  }
  if (node->access.is_lock) join(thread->order, lock_of((void*)node->access.address)->order);
  thread->order[node->chosen] = (uint32_t)i;
  memcpy(node->order, thread->order, sizeof(node->order));
  for (size_t k = 0; k < count; k++) want_before(races[k], i);
}

static int choose_all(uint8_t enabled) {
  if (e->depth == NODES_MAX) engine_violation("more than %d points", NODES_MAX);
  node_t* node = &e->nodes[e->depth];
  if (e->depth == e->length) {
    uint8_t awake = (uint8_t)(enabled & ~e->sleeping);
    if (awake == 0) _longjmp(e->driver, END_REDUNDANT);
    bool goes_on = e->running >= 0 && (awake & bit(e->running)) != 0;
    node->chosen = (uint8_t)(goes_on ? e->running : __builtin_ctz(awake));
    node->enabled = enabled;
    node->wanted = e->naive ? enabled : bit(node->chosen);
    node->done = 0;
    e->length++;
  } else if (node->enabled != enabled) {
    engine_violation("the engine does not meet the same choices again");
  }
  e->depth++;
  node->asleep = e->sleeping;
  node->access = e->thread[node->chosen].next;
  uint8_t sleeping = e->sleeping | node->done;
  e->sleeping = 0;
  for (int t = 0; t < e->threads; t++)
    if ((sleeping & bit(t)) != 0 && !depend(&e->thread[t].next, &node->access))
      e->sleeping |= bit(t);
  order_point(e->depth);
  return node->chosen;
}

/* The current thread's last point ends the wait of `thread`: what comes behind that is ordered
 * behind it, and another point might have ended it. */
static void order_wake(thread_t* thread) {
  if (!e->all || e->depth == 0) return;
  memcpy(thread->woken_by, e->thread[e->current].order, sizeof(thread->woken_by));
  node_at(e->depth)->wanted |= node_at(e->depth)->enabled;
}

static int choose(void) {
  uint8_t enabled = 0, options[THREADS_MAX] = {0}, count = 0;
  for (int t = 0; t < e->threads; t++)
    if (is_enabled(t)) enabled |= bit(t);
  if (enabled == 0) {
    for (int t = 0; t < e->threads; t++)
      if (e->thread[t].live) engine_violation("the threads wait for each other for ever");
    _longjmp(e->driver, END_DONE);
  }
  /* Up to its first point a thread does nothing that others could notice. */
  for (int t = 0; t < e->threads; t++)
    if ((enabled & bit(t)) != 0 && e->thread[t].next.address == 0) return t;
  int c = e->running, next;
  bool goes_on = c >= 0 && (enabled & bit(c)) != 0;
  if (e->all) {
    next = choose_all(enabled);
  } else {
    if (goes_on) options[count++] = (uint8_t)c;
    for (int t = 0; t < e->threads; t++) {
      if (t == c || (enabled & bit(t)) == 0) continue;
      if (goes_on && e->preemptions >= e->bound)
        e->left_out = true;
      else
        options[count++] = (uint8_t)t;
    }
    next = choose_among(options, count);
  }
  if (goes_on && next != c) e->preemptions++;
  e->running = next;
  e->points++;
  return next;
}

static void go_on(int next) {
  world_enter(next);
  e->current = next;
  _longjmp(e->thread[next].at, 1);
}

/* The current thread stands before e->thread[].next, or has nothing left to do. */
static void reschedule(void) {
  int self = e->current, next = choose();
  if (next == self) return;
  world_leave(self);
  if (_setjmp(e->thread[self].at) == 0) go_on(next);
}

static void thread_main(void) {
  int me = e->current;
  (void)_setjmp(e->thread[me].entry);
  if (!e->exploring) _longjmp(e->driver, END_DONE); /* made, not run */
  me = e->current;
  e->thread[me].run();
  me = e->current;
  e->thread[me].live = false;
  world_leave(me);
  go_on(choose());
}

/* On a stack of its own, up to the place where its executions begin. */
static void thread_make(int t) {
  ucontext_t context;
  e->thread[t].run = e->scenario->thread[t];
  e->current = t;
  getcontext(&context);
  context.uc_stack.ss_sp = os_memory(STACK_SIZE);
  context.uc_stack.ss_size = STACK_SIZE;
  context.uc_link = NULL;
  makecontext(&context, &thread_main, 0);
  if (_setjmp(e->driver) == 0) setcontext(&context);
}

/* ---- waiting, locks, atomic accesses ---- */

static void note_step(void* pc, bool shared) {
  if (e->steps >= STEPS_MAX) engine_violation("more than %d accesses: does not end", STEPS_MAX);
  e->trace[e->steps++] = (step_t){(uint8_t)e->current, shared, pc};
}

static bool is_one(uint8_t mask) { return (mask & (mask - 1)) == 0; }

static void find_conflict(word_t* w) {
  uint8_t all = w->by[READ] | w->by[ADD] | w->by[WRITE];
  if (is_one(all)) return;
  if (w->by[WRITE] != 0 || (w->by[ADD] != 0 && w->by[READ] != 0)) w->found = e->grown = true;
}

static bool has_read(const thread_t* thread, uintptr_t address) {
  if (thread->read_count >= READS_MAX) return true;
  for (size_t i = 0; i < thread->read_count; i++)
    if (thread->reads[i] == address) return true;
  return false;
}

static void wake(uintptr_t address) {
  for (int t = 0; t < e->threads; t++) {
    thread_t* other = &e->thread[t];
    if (t == e->current || other->woken || !has_read(other, address)) continue;
    other->woken = true;
    order_wake(other);
  }
}

/* Before the access. `reads`: its result depends on what is there. */
static void touch(uintptr_t address, int kind, bool reads, void* pc) {
  thread_t* self = &e->thread[e->current];
  word_t* w = word_of(address);
  w->by[kind] |= bit(e->current);
  if (!w->shared) {
    if (!w->found) find_conflict(w);
  } else {
    self->next = (access_t){address, kind, false};
    reschedule();
    self->next.address = 0;
  }
  note_step(pc, w->shared);
  if (kind != READ) wake(address);
  if (reads) {
    if (self->read_count < READS_MAX) self->reads[self->read_count] = address;
    self->read_count++;
  }
}

void engine_wait(void) {
  if (!e->exploring) engine_violation("waits, and nobody else is there");
  thread_t* self = &e->thread[e->current];
  if (!self->woken) {
    self->waits = true;
    reschedule();
    self->waits = false;
  }
  if (e->all) join(self->order, self->woken_by);
  self->woken = false;
  self->read_count = 0;
}

/* ---- clocks ---- */

static sync_t* sync_of(uintptr_t address) {
  size_t i = hash(address);
  while (e->syncs[i].execution == e->execution && e->syncs[i].address != address)
    i = (i + 1) % TABLE_SIZE;
  sync_t* s = &e->syncs[i];
  if (s->execution != e->execution) {
    memset(s, 0, sizeof(*s));
    s->execution = e->execution;
    s->address = address;
  }
  return s;
}

static bool acquires(int order) {
  return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order >= __ATOMIC_ACQ_REL;
}
static bool releases(int order) { return order >= __ATOMIC_RELEASE; }

static void sync_load(uintptr_t address, int order) {
  if (acquires(order)) join(e->thread[e->current].clock, sync_of(address)->clock);
}

/* `exchange`: what was released before travels on, whatever the order. */
static void sync_store(uintptr_t address, int order, bool exchange) {
  sync_t* s = sync_of(address);
  uint32_t* clock = e->thread[e->current].clock;
  if (!exchange) memset(s->clock, 0, sizeof(s->clock));
  if (!releases(order)) return;
  join(s->clock, clock);
  clock[e->current]++;
}

static store_t* store_at(sync_t* s, size_t number) { return &s->store[number % STORES_MAX]; }

static void add_store(sync_t* s, uint64_t value, int thread, uint32_t when) {
  store_t* store = store_at(s, ++s->stores);
  *store = (store_t){value, thread, when, {0}};
  memcpy(store->released, s->clock, sizeof(store->released));
}

/* Behind each store and each exchange, which see the last value. `when`: the clock before it. */
static void note_store(uintptr_t address, uint64_t was, uint64_t value, int order, uint32_t when) {
  if (e->stale == 0) return;
  sync_t* s = sync_of(address);
  if (s->stores == 0) add_store(s, was, DRIVER, 0);
  add_store(s, value, e->current, when);
  s->seen[e->current] = s->stores;
  if (order == __ATOMIC_SEQ_CST) s->last_seq_cst = s->stores;
}

/* A load sees the last value, or an older one if nothing tells the thread that there is a newer
 * one: no store that comes before it, nothing that it has seen itself, and for loads in the one
 * order of sequentially consistent accesses no such store. */
static uint64_t load_some(uintptr_t address, uint64_t last, int order) {
  thread_t* self = &e->thread[e->current];
  sync_t* s = e->stale == 0 ? NULL : sync_of(address);
  if (s == NULL || s->stores == 0 || e->stale_left == 0) {
    if (s != NULL) s->seen[e->current] = s->stores;
    sync_load(address, order);
    return last;
  }
  size_t oldest = s->stores;
  while (oldest > 1 && s->stores - oldest + 1 < THREADS_MAX && oldest > s->seen[e->current] &&
         !(order == __ATOMIC_SEQ_CST && oldest == s->last_seq_cst)) {
    const store_t* store = store_at(s, oldest);
    if (store->thread == DRIVER || store->when <= self->clock[store->thread]) break;
    oldest--;
  }
  static const uint8_t ages[THREADS_MAX] = {0, 1, 2};
  size_t number = s->stores - choose_among(ages, (uint8_t)(s->stores - oldest + 1));
  if (number < s->stores) {
    e->stale_left--;
    self->woken = true; /* should it wait: there is something new to see */
  }
  s->seen[e->current] = number;
  if (acquires(order)) join(self->clock, store_at(s, number)->released);
  return store_at(s, number)->value;
}

static uint32_t own_clock(void) { return e->thread[e->current].clock[e->current]; }

bool engine_is_weak(void) { return e->stale != 0; }

void engine_lock(void* lock) {
  if (!e->exploring) return;
  thread_t* self = &e->thread[e->current];
  self->next = (access_t){(uintptr_t)lock, WRITE, true};
  reschedule();
  self->next.address = 0;
  self->next.is_lock = false;
  note_step(__builtin_return_address(0), true);
  lock_of(lock)->holder = e->current;
  sync_load((uintptr_t)lock, __ATOMIC_ACQUIRE);
}

void engine_unlock(void* lock) {
  if (!e->exploring) return;
  if (lock_of(lock)->holder != e->current) engine_violation("unlocks what it has not locked");
  lock_of(lock)->holder = -1;
  memcpy(lock_of(lock)->order, e->thread[e->current].order, sizeof(lock_of(lock)->order));
  sync_store((uintptr_t)lock, __ATOMIC_RELEASE, false);
}

/* ---- races ---- */

static shadow_t* shadow_of(uintptr_t address) {
  size_t i = hash(address), probes = 0;
  while (e->shadows[i].execution == e->execution && e->shadows[i].address != address) {
    i = (i + 1) % TABLE_SIZE;
    if (++probes > TABLE_SIZE / 2) engine_violation("too many accesses for the race detector");
  }
  shadow_t* s = &e->shadows[i];
  if (s->execution != e->execution) {
    memset(s, 0, sizeof(*s));
    s->execution = e->execution;
    s->address = address;
  }
  return s;
}

/* True when another thread did this to these bytes and the current one cannot know. */
static bool is_unordered(const shadow_t* s, int kind, uint8_t bytes) {
  for (int t = 0; t < e->threads; t++)
    if (t != e->current && (s->by[kind][t].bytes & bytes) != 0 &&
        s->by[kind][t].clock > e->thread[e->current].clock[t])
      return true;
  return false;
}

static const char* const access_name[ACCESS_KINDS] = {"read", "write", "atomic read",
                                                      "atomic write"};

static void check_race(uintptr_t address, size_t size, int kind, void* pc) {
  while (size > 0) {
    size_t offset = address & 7, n = size < 8 - offset ? size : 8 - offset;
    uint8_t bytes = (uint8_t)(((1u << n) - 1) << offset);
    shadow_t* s = shadow_of(address - offset);
    bool writes = kind == PLAIN_WRITE || kind == ATOMIC_WRITE;
    bool plain = kind == PLAIN_READ || kind == PLAIN_WRITE;
    for (int other = 0; other < ACCESS_KINDS; other++) {
      bool other_writes = other == PLAIN_WRITE || other == ATOMIC_WRITE;
      bool other_plain = other == PLAIN_READ || other == PLAIN_WRITE;
      if ((writes || other_writes) && (plain || other_plain) && is_unordered(s, other, bytes)) {
        note_step(pc, true);
        engine_violation("data race: thread %d's %s of %zu bytes at %p and another's %s",
                         e->current, access_name[kind], n, (void*)address, access_name[other]);
      }
    }
    seen_t* mine = &s->by[kind][e->current];
    uint32_t clock = e->thread[e->current].clock[e->current];
    *mine = (seen_t){clock, mine->clock == clock ? mine->bytes | bytes : bytes};
    address += n;
    size -= n;
  }
}

static void plain(const void* p, size_t size, int kind, void* pc) {
  /* The stacks are each thread's own. */
  if (e != NULL && e->exploring && touched_flag(p) != NULL)
    check_race((uintptr_t)p, size, kind, pc);
}

void engine_read(const void* p, size_t size) {
  plain(p, size, PLAIN_READ, __builtin_return_address(0));
}
void engine_write(void* p, size_t size) {
  plain(p, size, PLAIN_WRITE, __builtin_return_address(0));
}

/* ---- what the compiler calls ---- */

#define HERE __builtin_return_address(0)
#define IS_EXPLORING (e != NULL && e->exploring && touched_flag((void*)(uintptr_t)a) != NULL)

void __tsan_init(void);
void __tsan_func_entry(void*);
void __tsan_func_exit(void);
void __tsan_atomic_signal_fence(int);
void __tsan_init(void) {}
void __tsan_func_entry(void* pc) { (void)pc; }
void __tsan_func_exit(void) {}
void __tsan_atomic_signal_fence(int order) { (void)order; }

#define PLAIN(n)                                                                                   \
  void __tsan_read##n(void*);                                                                      \
  void __tsan_write##n(void*);                                                                     \
  void __tsan_unaligned_read##n(void*);                                                            \
  void __tsan_unaligned_write##n(void*);                                                           \
  void __tsan_read##n(void* p) { plain(p, n, PLAIN_READ, HERE); }                                  \
  void __tsan_write##n(void* p) { plain(p, n, PLAIN_WRITE, HERE); }                                \
  void __tsan_unaligned_read##n(void* p) { plain(p, n, PLAIN_READ, HERE); }                        \
  void __tsan_unaligned_write##n(void* p) { plain(p, n, PLAIN_WRITE, HERE); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void*, size_t);
void __tsan_write_range(void*, size_t);
void __tsan_read_range(void* p, size_t n) { plain(p, n, PLAIN_READ, HERE); }
void __tsan_write_range(void* p, size_t n) { plain(p, n, PLAIN_WRITE, HERE); }

/* The thread's clock before the exchange, or 0 while no threads run. */
static uint32_t before_exchange(uintptr_t a, size_t size, int order, int kind, void* pc) {
  if (!IS_EXPLORING) return 0;
  touch(a, kind, kind == WRITE, pc);
  check_race(a, size, ATOMIC_WRITE, pc);
  uint32_t when = own_clock();
  sync_load(a, order);
  sync_store(a, order, true);
  return when;
}

/* The result of a relaxed addition or union is hardly ever looked at; where it is, `touch` is told
 * by and_acquire and the like, which are writes. */
#define ADDS(order) ((order) == __ATOMIC_RELAXED ? ADD : WRITE)

#define FETCH(type, bits, name, kind)                                                              \
  type __tsan_atomic##bits##_fetch_##name(volatile type*, type, int);                              \
  type __tsan_atomic##bits##_fetch_##name(volatile type* a, type v, int order) {                   \
    uint32_t when = before_exchange((uintptr_t)a, sizeof(type), order, kind, HERE);                \
    type was = __atomic_fetch_##name(a, v, __ATOMIC_SEQ_CST);                                      \
    if (when != 0) note_store((uintptr_t)a, was, *a, order, when);                                 \
    return was;                                                                                    \
  }

#define COMPARE_EXCHANGE(type, bits)                                                               \
  static bool compare_exchange_##bits(volatile type* a, type* expected, type v, int order,         \
                                      int failed, void* pc) {                                      \
    bool exploring = IS_EXPLORING;                                                                 \
    if (exploring) touch((uintptr_t)a, WRITE, true, pc);                                           \
    type was = __atomic_load_n(a, __ATOMIC_SEQ_CST);                                               \
    bool ok = was == *expected;                                                                    \
    if (exploring) {                                                                               \
      check_race((uintptr_t)a, sizeof(type), ok ? ATOMIC_WRITE : ATOMIC_READ, pc);                 \
      uint32_t when = own_clock();                                                                 \
      sync_load((uintptr_t)a, ok ? order : failed);                                                \
      if (ok) sync_store((uintptr_t)a, order, true);                                               \
      if (ok) note_store((uintptr_t)a, was, v, order, when);                                       \
    }                                                                                              \
    if (ok) __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                              \
    *expected = was;                                                                               \
    return ok;                                                                                     \
  }

#define EXCHANGE_IF(type, bits, name)                                                              \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type*, type*, type, int, int);        \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type* a, type* expected, type v,      \
                                                    int order, int failed) {                       \
    return compare_exchange_##bits(a, expected, v, order, failed, HERE);                           \
  }

/* Clang calls this one. */
#define EXCHANGE_VALUE(type, bits)                                                                 \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type*, type, type, int, int);           \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* a, type expected, type v,         \
                                                  int order, int failed) {                         \
    (void)compare_exchange_##bits(a, &expected, v, order, failed, HERE);                           \
    return expected;                                                                               \
  }

#define ATOMIC(type, bits)                                                                         \
  type __tsan_atomic##bits##_load(const volatile type*, int);                                      \
  type __tsan_atomic##bits##_load(const volatile type* a, int order) {                             \
    if (IS_EXPLORING) {                                                                            \
      touch((uintptr_t)a, READ, true, HERE);                                                       \
      check_race((uintptr_t)a, sizeof(type), ATOMIC_READ, HERE);                                   \
      return (type)load_some((uintptr_t)a, *a, order);                                             \
    }                                                                                              \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile type*, type, int);                                     \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int order) {                          \
    if (IS_EXPLORING) {                                                                            \
      touch((uintptr_t)a, WRITE, false, HERE);                                                     \
      check_race((uintptr_t)a, sizeof(type), ATOMIC_WRITE, HERE);                                  \
      uint32_t when = own_clock();                                                                 \
      sync_store((uintptr_t)a, order, false);                                                      \
      note_store((uintptr_t)a, *a, v, order, when);                                                \
    }                                                                                              \
    __atomic_store_n(a, v, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  type __tsan_atomic##bits##_exchange(volatile type*, type, int);                                  \
  type __tsan_atomic##bits##_exchange(volatile type* a, type v, int order) {                       \
    uint32_t when = before_exchange((uintptr_t)a, sizeof(type), order, WRITE, HERE);               \
    type was = __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST);                                        \
    if (when != 0) note_store((uintptr_t)a, was, v, order, when);                                  \
    return was;                                                                                    \
  }                                                                                                \
  FETCH(type, bits, add, ADDS(order))                                                              \
  FETCH(type, bits, sub, ADDS(order))                                                              \
  FETCH(type, bits, or, ADDS(order))                                                               \
  FETCH(type, bits, and, WRITE)                                                                    \
  COMPARE_EXCHANGE(type, bits)                                                                     \
  EXCHANGE_VALUE(type, bits)                                                                       \
  EXCHANGE_IF(type, bits, strong)                                                                  \
  EXCHANGE_IF(type, bits, weak)

ATOMIC(uint8_t, 8)
ATOMIC(uint16_t, 16)
ATOMIC(uint32_t, 32)
ATOMIC(uint64_t, 64)

/* ---- exploring ---- */

static void execute(void) {
  memory_restore();
  e->execution++;
  e->depth = e->steps = e->points = 0;
  e->preemptions = 0;
  e->stale_left = e->stale;
  e->sleeping = 0;
  e->running = -1;
  for (size_t i = 0; i < LOCKS_MAX; i++) {
    e->locks[i].holder = -1;
    memset(e->locks[i].order, 0, sizeof(e->locks[i].order));
  }
  for (int t = 0; t < e->threads; t++) {
    thread_t* thread = &e->thread[t];
    thread->live = true;
    thread->next = (access_t){0, READ, false};
    thread->waits = thread->woken = false;
    thread->read_count = 0;
    memset(thread->clock, 0, sizeof(thread->clock));
    memset(thread->order, 0, sizeof(thread->order));
    thread->clock[t] = 1;
    memcpy(thread->at, thread->entry, sizeof(jmp_buf));
  }
  world_enter(DRIVER);
  world_leave(DRIVER);
  end_t end = (end_t)_setjmp(e->driver);
  if (end == 0) {
    e->exploring = true;
    go_on(choose());
  }
  e->exploring = false;
  if (e->points > e->most_points) e->most_points = e->points;
  if (end == END_REDUNDANT) {
    e->redundant++;
    return;
  }
  world_enter(DRIVER);
  e->scenario->finish();
  e->executions++;
  e->total++;
}

/* Another choice at this point, if there is one. */
static bool next_choice(node_t* node) {
  if (!e->all) return ++node->index < node->count;
  node->done |= bit(node->chosen);
  uint8_t left = (uint8_t)(node->wanted & ~node->done & ~node->asleep);
  if (left != 0) node->chosen = (uint8_t)__builtin_ctz(left);
  return left != 0;
}

/* To the last point with another choice; false when there is none. */
static bool next_schedule(void) {
  e->length = e->depth;
  while (e->length > 0) {
    if (next_choice(&e->nodes[e->length - 1])) return true;
    e->length--;
  }
  return false;
}

/* True when nothing was left out. */
static bool explore(bool all, int bound) {
  e->all = all;
  e->bound = bound;
  for (;;) {
    e->executions = e->redundant = 0;
    e->most_points = 0;
    e->length = 0;
    e->left_out = e->grown = false;
    bool more;
    do {
      execute();
      more = next_schedule();
      if (e->cap != 0 && e->executions + e->redundant >= e->cap && more) {
        e->left_out = true;
        return false;
      }
    } while (more && !e->grown);
    if (!e->grown) return !e->left_out;
    for (size_t i = 0; i < TABLE_SIZE; i++) e->words[i].shared |= e->words[i].found;
  }
}

static void prepare(const scenario_t* scenario) {
  extern char __data_start, end;
  e->scenario = scenario;
  while (e->threads < THREADS_MAX && scenario->thread[e->threads] != NULL) e->threads++;
  setvbuf(stdout, NULL, _IOLBF, 0);
  struct sigaction act = {.sa_sigaction = &fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &act, NULL);
  sigaction(SIGBUS, &act, NULL);
  signal(SIGVTALRM, &watch);
  struct itimerval every = {{3, 0}, {3, 0}};
  setitimer(ITIMER_VIRTUAL, &every, NULL);
  engine_add_memory(&__data_start, (size_t)(&end - &__data_start));
  scenario->setup();
  world_leave(DRIVER);
  for (int t = 0; t < e->threads; t++) thread_make(t);
  memory_protect();
}

/* Few preemptions first, for they make the schedule of a violation short. True: that was all. */
static bool explore_bounded(int from, int to) {
  bool complete = false;
  for (int b = from; b <= to && !complete; b++) complete = explore(false, b);
  return complete;
}

static void explore_scenario(const scenario_t* scenario, const limits_t* limits) {
  prepare(scenario);
  e->naive = limits->naive;
  bool complete = explore_bounded(0, limits->bound);
  char text[256] = "all orders";
  if (!complete) snprintf(text, sizeof(text), "up to %d preemptions", limits->bound);
  size_t used = strlen(text);
#define TELL(...) used += (size_t)snprintf(text + used, sizeof(text) - used, __VA_ARGS__)
  TELL(": %llu executions", (unsigned long long)e->executions);
  if (!complete && limits->all > 0) {
    e->cap = limits->all;
    complete = explore(true, 0);
    e->cap = 0;
    TELL("; %s that do not commute: %llu", complete ? "all" : "some",
         (unsigned long long)e->executions);
    if (!complete && limits->deep > limits->bound) {
      (void)explore_bounded(limits->bound + 1, limits->deep);
      TELL("; up to %d preemptions: %llu", limits->deep, (unsigned long long)e->executions);
    }
  }
  if (limits->stale > 0) {
    e->stale = limits->stale;
    (void)explore_bounded(limits->bound, limits->bound);
    TELL("; %d stale loads: %llu", limits->stale, (unsigned long long)e->executions);
  }
  if (scenario->shows != NULL) {
    printf("MISSED            %s: %s\n", scenario->name, scenario->shows);
    _exit(1);
  }
  printf("%-17s %d threads, %3zu points; %s\n", scenario->name, e->threads, e->most_points, text);
}

static bool is_named(const char* name, int argc, char** argv, int first) {
  for (int i = first; i < argc; i++)
    if (strcmp(argv[i], name) == 0) return true;
  return first >= argc;
}

static int run_scenario(const scenario_t* scenario, const limits_t* limits) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    e = os_memory(sizeof(*e));
    explore_scenario(scenario, limits);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) == pid && status == 0) return 0;
  printf("FAILED            %s (status 0x%x)\n", scenario->name, (unsigned)status);
  return 1;
}

int engine_main(int argc, char** argv, const scenario_t* scenarios, size_t count, int stale) {
  limits_t limits = {.bound = 2, .stale = stale};
  int i = 1, failed = 0;
  size_t run = 0;
  for (; i < argc && argv[i][0] == '-'; i++) {
    const char* value = i + 1 < argc ? argv[i + 1] : "0";
    if (strcmp(argv[i], "--list") == 0) {
      for (size_t k = 0; k < count; k++) puts(scenarios[k].name);
      return 0;
    }
    if (strcmp(argv[i], "--naive") == 0)
      limits.naive = true;
    else if (strcmp(argv[i], "--bound") == 0)
      limits.bound = atoi(value), i++;
    else if (strcmp(argv[i], "--all") == 0)
      limits.all = strtoull(value, NULL, 10), i++;
    else if (strcmp(argv[i], "--deep") == 0)
      limits.deep = atoi(value), i++;
    else if (strcmp(argv[i], "--stale") == 0)
      limits.stale = atoi(value), i++;
  }
  for (size_t k = 0; k < count; k++) {
    if (!is_named(scenarios[k].name, argc, argv, i)) continue;
    run++;
    failed += run_scenario(&scenarios[k], &limits);
  }
  if (run == 0) printf("no scenario of that name\n");
  return failed != 0 || run == 0;
}
