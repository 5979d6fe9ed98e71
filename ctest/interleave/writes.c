/* writes.c - see writes.h.
 *
 * Owns:    the last writer of each cache line, and the counts.
 * Always:  a line counts once for each operation, atomic writes and plain ones apart.
 *
 * A failed compare-and-swap counts as a write: the processor takes the line for writing first.
 */
#define _GNU_SOURCE
#include "writes.h"
#include "engine.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LINES ((size_t)1 << 22) /* places of the table; a power of two */
#define RANGES_MAX 4
#define EVENTS_MAX 65536 /* of one operation */

typedef struct line_s {
  uint64_t number;
  uint16_t writer; /* thread + 1; 0: none yet */
  uint8_t word;    /* of the line, that it wrote */
} line_t;

typedef struct event_s {
  uint64_t line;
  const char* name;
  bool atomic, of_neighbour;
} event_t;

static struct {
  line_t* lines;
  struct {
    uintptr_t start, end;
  } range[RANGES_MAX];
  size_t ranges;
  int thread;
  event_t event[EVENTS_MAX];
  size_t events;
  counts_t counts[KINDS_MAX];
} w;

void writes_watch(const void* start, size_t size) {
  w.range[w.ranges].start = (uintptr_t)start;
  w.range[w.ranges++].end = (uintptr_t)start + size;
}

static line_t* line_at(uintptr_t address) {
  uint64_t number = address / LINE_SIZE + 1;
  size_t i = (size_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (LINES - 1);
  if (w.lines == NULL)
    w.lines = mmap(NULL, LINES * sizeof(line_t), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  for (size_t probes = 0; w.lines[i].number != number && w.lines[i].number != 0; probes++) {
    if (probes > LINES / 2) engine_violation("too many cache lines");
    i = (i + 1) & (LINES - 1);
  }
  w.lines[i].number = number;
  return &w.lines[i];
}

/* What the library takes for the C library's word that there is one thread only. */
char engine_single_threaded;

static bool is_watched(uintptr_t address) {
  for (size_t i = 0; i < w.ranges; i++)
    if (address >= w.range[i].start && address < w.range[i].end) return true;
  return false;
}

static void write_line(uintptr_t address, bool atomic) {
  const char* name;
  if (!is_watched(address) || (name = world_name(address)) == NULL) return;
  line_t* line = line_at(address);
  uint16_t self = (uint16_t)(w.thread + 1);
  uint8_t word = (uint8_t)(address % LINE_SIZE / 8);
  if (line->writer != 0 && line->writer != self) {
    if (w.events == EVENTS_MAX) engine_violation("too many writes in one operation");
    w.event[w.events++] = (event_t){address / LINE_SIZE, name, atomic, line->word != word};
  }
  line->writer = self;
  line->word = word;
}

static void write_range(const void* p, size_t size, bool atomic) {
  uintptr_t from = (uintptr_t)p;
  for (uintptr_t a = from; a < from + size; a = a / LINE_SIZE * LINE_SIZE + LINE_SIZE)
    write_line(a, atomic);
}

static void count(counts_t* c, const event_t* event) {
  size_t i = 0;
  if (event->atomic) c->atomic++;
  if (!event->atomic) c->plain++;
  while (i < HOT_MAX - 1 && c->hot[i].name != NULL && c->hot[i].name != event->name) i++;
  c->hot[i].name = event->name;
  c->hot[i].writes++;
  c->hot[i].of_neighbour += event->of_neighbour;
}

void writes_begin(int thread) {
  w.thread = thread;
  w.events = 0;
}

/* Within an operation no other thread runs, so each line has at most one event. */
void writes_end(int kind) {
  if (kind < 0) return;
  w.counts[kind].operations++;
  for (size_t i = 0; i < w.events; i++) count(&w.counts[kind], &w.event[i]);
}

void writes_reset(void) { __builtin_memset(w.counts, 0, sizeof(w.counts)); }

counts_t* writes_of(int kind) { return &w.counts[kind]; }

/* ---- what the world calls ---- */

void engine_violation(const char* format, ...) {
  va_list args;
  va_start(args, format);
  printf("VIOLATION: ");
  vprintf(format, args);
  va_end(args);
  putchar('\n');
  fflush(stdout);
  _Exit(1);
}

/* Each lock is a word that the thread writes twice. */
int engine_thread(void) { return w.thread; }
void engine_lock(void* lock) { write_range(lock, 1, true); }
void engine_unlock(void* lock) { write_range(lock, 1, true); }
bool engine_is_locked(void) { return false; }
void engine_wait(void) { engine_violation("waits, and no other thread runs"); }
void engine_read(const void* p, size_t size) { (void)p, (void)size; }
void engine_write(void* p, size_t size) { write_range(p, size, false); }
void engine_add_memory(void* start, size_t size) { writes_watch(start, size); }

/* An OS page that is not resident was not written to. */
bool engine_is_touched(const void* p, size_t size) {
  (void)size;
  unsigned char resident = 0;
  return mincore((void*)((uintptr_t)p & ~(uintptr_t)4095), 4096, &resident) != 0 ||
         (resident & 1) != 0;
}

/* ---- what the compiler calls ---- */

#define ON_READ(p, n) ((void)(p), (void)(n))
#define ON_WRITE(p, n) write_range(p, n, false)
#include "plain.h"

#define CHANGE(type, bits, name, result)                                                           \
  type __tsan_atomic##bits##_##name(volatile type*, type, int);                                    \
  type __tsan_atomic##bits##_##name(volatile type* a, type v, int order) {                         \
    (void)order;                                                                                   \
    write_line((uintptr_t)a, true);                                                                \
    return result;                                                                                 \
  }

#define EXCHANGE_IF(type, bits, name)                                                              \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type*, type*, type, int, int);        \
  int __tsan_atomic##bits##_compare_exchange_##name(volatile type* a, type* expected, type v,      \
                                                    int order, int failed) {                       \
    (void)order, (void)failed;                                                                     \
    write_line((uintptr_t)a, true);                                                                \
    return __atomic_compare_exchange_n(a, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }

#define ATOMIC(type, bits)                                                                         \
  type __tsan_atomic##bits##_load(const volatile type*, int);                                      \
  type __tsan_atomic##bits##_load(const volatile type* a, int order) {                             \
    (void)order;                                                                                   \
    return *a;                                                                                     \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile type*, type, int);                                     \
  void __tsan_atomic##bits##_store(volatile type* a, type v, int order) {                          \
    (void)order;                                                                                   \
    write_line((uintptr_t)a, true);                                                                \
    *a = v;                                                                                        \
  }                                                                                                \
  CHANGE(type, bits, exchange, __atomic_exchange_n(a, v, __ATOMIC_SEQ_CST))                        \
  CHANGE(type, bits, fetch_add, __atomic_fetch_add(a, v, __ATOMIC_SEQ_CST))                        \
  CHANGE(type, bits, fetch_sub, __atomic_fetch_sub(a, v, __ATOMIC_SEQ_CST))                        \
  CHANGE(type, bits, fetch_or, __atomic_fetch_or(a, v, __ATOMIC_SEQ_CST))                          \
  CHANGE(type, bits, fetch_and, __atomic_fetch_and(a, v, __ATOMIC_SEQ_CST))                        \
  EXCHANGE_IF(type, bits, strong)                                                                  \
  EXCHANGE_IF(type, bits, weak)                                                                    \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type*, type, type, int, int);           \
  type __tsan_atomic##bits##_compare_exchange_val(volatile type* a, type expected, type v,         \
                                                  int order, int failed) {                         \
    (void)__tsan_atomic##bits##_compare_exchange_strong(a, &expected, v, order, failed);           \
    return expected;                                                                               \
  }

ATOMIC(uint8_t, 8)
ATOMIC(uint16_t, 16)
ATOMIC(uint32_t, 32)
ATOMIC(uint64_t, 64)
