/* engine.c - see engine.h.
 *
 * Owns:    the threads, and what the compiler calls at their accesses.
 * Always:  the same choices lead to the same execution: nothing here depends on time, or on
 *          addresses that change.
 *
 * Points. Threads change only at a lock, and before an atomic access to a word for which two
 * threads were seen to conflict (one writes, another reads or writes; additions whose result no
 * thread reads do not conflict with each other). An access to any other word commutes with all that
 * the other threads do, and so does a plain access in a program without data races; so orders that
 * differ in these alone end in the same state. When an execution shows a new conflict the
 * exploration begins again with it, until one shows none.
 */
#define _GNU_SOURCE
#include "clocks.h"
#include "engine.h"
#include "memory.h"
#include "order.h"
#include "state.h"
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- threads ---- */

static void go_on(int next) {
  world_enter(next);
  e->current = next;
  _longjmp(e->thread[next].at, 1);
}

/* The current thread is about to do e->thread[].next, or has ended. */
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
  if (!e->exploring) engine_violation("waits, and there is no other thread");
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

#define ON_READ(p, n) plain(p, n, PLAIN_READ, HERE)
#define ON_WRITE(p, n) plain(p, n, PLAIN_WRITE, HERE)
#include "plain.h"

/* The order that this access has: the source's, or a weaker one (--weaken). */
static int weakened(int order, bool failed, const void* pc) {
  for (size_t i = 0; i < e->weak.count; i++)
    if (e->weak.pc[i] == pc) {
      int weaker = failed ? e->weak.failed : e->weak.order;
      return weaker < 0 ? order : weaker;
    }
  return order;
}

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

/* The result of a relaxed addition or union is rarely used; where it is, `touch` is called
 * by and_acquire and the like, which are writes. */
#define ADDS(order) ((order) == __ATOMIC_RELAXED ? ADD : WRITE)

#define FETCH(type, bits, name, kind)                                                              \
  type __tsan_atomic##bits##_fetch_##name(volatile type*, type, int);                              \
  type __tsan_atomic##bits##_fetch_##name(volatile type* a, type v, int order) {                   \
    int weak = IS_EXPLORING ? weakened(order, false, HERE) : order;                                \
    uint32_t when = before_exchange((uintptr_t)a, sizeof(type), weak, kind, HERE);                 \
    type was = __atomic_fetch_##name(a, v, __ATOMIC_SEQ_CST);                                      \
    if (when != 0) note_store((uintptr_t)a, was, *a, weak, when);                                  \
    return was;                                                                                    \
  }

#define COMPARE_EXCHANGE(type, bits)                                                               \
  static bool compare_exchange_##bits(volatile type* a, type* expected, type v, int order,         \
                                      int failed, void* pc) {                                      \
    bool exploring = IS_EXPLORING;                                                                 \
    if (exploring) order = weakened(order, false, pc), failed = weakened(failed, true, pc);        \
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
      order = weakened(order, false, HERE);                                                        \
      touch((uintptr_t)a, READ, true, HERE);                                                       \
      check_race((uintptr_t)a, sizeof(type), ATOMIC_READ, HERE);                                   \
      return (type)load_some((uintptr_t)a, *a, order);                                             \
    }                                                                                              \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile type*, type, int);                                     \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int order) {                          \
    if (IS_EXPLORING) {                                                                            \
      order = weakened(order, false, HERE);                                                        \
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
    if (IS_EXPLORING) order = weakened(order, false, HERE);                                        \
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
    e->weak = limits->weak;
    explore_scenario(scenario, limits);
    fflush(stdout);
    _exit(0);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) == pid && status == 0) return 0;
  printf("FAILED            %s (status 0x%x)\n", scenario->name, (unsigned)status);
  return 1;
}

/* ORDER,FAILED:PC,PC...: the orders as numbers of the compiler's, -1 for as it is; addresses behind
 * the call of an access. */
static weak_t read_weak(const char* text) {
  weak_t weak = {.order = -1, .failed = -1};
  char* end;
  weak.order = (int)strtol(text, &end, 10);
  weak.failed = (int)strtol(end + 1, &end, 10);
  while (*end != 0 && weak.count < WEAK_MAX)
    weak.pc[weak.count++] = (void*)strtoull(end + 1, &end, 16);
  return weak;
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
    else if (strcmp(argv[i], "--weaken") == 0)
      limits.weak = read_weak(value), i++;
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
