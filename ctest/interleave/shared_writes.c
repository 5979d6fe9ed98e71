/* shared_writes.c - how often the library writes to a cache line that another thread wrote last.
 *
 * Why: such a write takes the line from another processor, so programs with many threads are as
 * slow as the words that all threads write. The figures here do not depend on the machine: 1 to 128
 * simulated threads take turns, one operation each, see writes.h. The code is the library's own,
 * see world.h.
 *
 *   shared_writes [--threads N]... [PROGRAM...]
 *   shared_writes --gate        compares the counts of a few programs with `bounds`
 *
 * The first prints for each program, number of threads and kind of operation: the operations, the
 * shared writes by atomics and locks, those by plain stores; then for each word: its writes, and
 * how many of them found that the other thread had written another word of the line.
 *
 * Not counted: reads of what another thread wrote; writes by the system and by the program.
 * Variables lie in the lines that this build gives them.
 */
#define THREADS_MAX 128
#define POOL_SIZE (4 * GiB)
#include "world.h"
#include "writes.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* ---- the names of words ---- */

typedef struct named_s {
  uintptr_t start;
  size_t size;
  const char* name;
} named_t;

#define VARIABLE(v)                                                                                \
  { (uintptr_t) & (v), sizeof(v), #v }
#define SIMULATION(v)                                                                              \
  { (uintptr_t) & (v), sizeof(v), NULL }
static named_t variables[64];
UNSEEN static void name_variables(void) {
  const named_t all[] = {
      SIMULATION(turn),
      SIMULATION(os),
      SIMULATION(live),
      SIMULATION(runs),
      SIMULATION(variables),
      VARIABLE(in_flight),
      VARIABLE(purge_at),
      VARIABLE(purge_state),
      VARIABLE(pages_total),
      VARIABLE(large_lock),
      VARIABLE(large_state.os_mapped),
      VARIABLE(large_state.reserved),
      VARIABLE(heap_lock),
      VARIABLE(fallback_lock),
      VARIABLE(start_lock),
      VARIABLE(arena_lock),
      VARIABLE(meta_lock),
      VARIABLE(log_lock),
      VARIABLE(registry),
      VARIABLE(process_state),
      VARIABLE(arena_list),
      VARIABLE(meta),
  };
  __builtin_memcpy(variables, all, sizeof(all));
}

#define FIELD(type, field)                                                                         \
  { offsetof(type, field), sizeof(((type*)0)->field), #type "." #field }
static const named_t arena_fields[] = {FIELD(arena_t, free_count),
                                       FIELD(arena_t, hint),
                                       FIELD(arena_t, freed_ms),
                                       FIELD(arena_t, abandoned_summary),
                                       {0, sizeof(arena_t), "arena_t"}};
static const named_t page_fields[] = {FIELD(page_t, owner),
                                      FIELD(page_t, countdown),
                                      FIELD(page_t, local),
                                      {0, sizeof(page_t), "page_t"}};
static const named_t heap_fields[] = {FIELD(heap_t, free_list),
                                      FIELD(heap_t, queue),
                                      FIELD(heap_t, thread_heaps),
                                      {0, sizeof(heap_t), "heap_t"}};

UNSEEN static const char* find_name(const named_t* list, uintptr_t offset) {
  while (offset - list->start >= list->size) list++;
  return list->name;
}

UNSEEN static bool is_in(uintptr_t address, const void* start, size_t size) {
  return address - (uintptr_t)start < size;
}

UNSEEN static const char* name_in_arena(arena_t* a, uintptr_t address) {
  size_t bytes = bitmap_words(a->slices) * sizeof(bitword_t);
  if (is_in(address, a, sizeof(*a))) return find_name(arena_fields, address - (uintptr_t)a);
  if (is_in(address, a->free, bytes)) return "bits: free";
  if (is_in(address, a->dirty, bytes)) return "bits: dirty";
  if (is_in(address, a->purge, bytes)) return "bits: purge";
  if (is_in(address, a->second_chance, bytes)) return "bits: second_chance";
  if (a->huge != NULL && is_in(address, a->huge, bytes / THP_SLICES)) return "bits: huge";
  if (is_in(address, a->abandoned,
            (a->slices + CHUNK_SLICES - 1) / CHUNK_SLICES * CLASS_COUNT * sizeof(*a->abandoned)))
    return "bits: abandoned";
  const page_t* first = map_descriptor_of_slice(a->first_slice);
  if (is_in(address, first, a->slices * sizeof(page_t)))
    return find_name(page_fields, (address - (uintptr_t)first) % sizeof(page_t));
  if (is_in(address, slice_address(a->first_slice), a->slices * SLICE_SIZE)) return "block";
  return NULL;
}

/* The page of 512 words that has the remote word of a slice. */
UNSEEN static bool is_remote(uintptr_t address) {
  for (size_t w = map_window_of((uintptr_t)os.pool);
       w <= map_window_of((uintptr_t)os.pool + POOL_SIZE - 1); w++) {
    uint32_t slice = (uint32_t)(w << (WINDOW_SHIFT - SLICE_SHIFT));
    if (map_covers(slice_address(slice)) &&
        is_in(address, map_remote(slice), WINDOW_SLICES * sizeof(uint64_t)))
      return true;
  }
  return false;
}

UNSEEN const char* world_name(uintptr_t address) {
  for (size_t i = 0; variables[i].size != 0; i++)
    if (address - variables[i].start < variables[i].size) return variables[i].name;
  if (!is_in(address, os.pool, POOL_SIZE)) return "another variable";
  for (size_t i = 0; i < load_relaxed(&arena_list.count); i++) {
    const char* name = name_in_arena(load_relaxed(&arena_list.list[i]), address);
    if (name != NULL) return name;
  }
  if (is_remote(address)) return "remote word";
  for (heap_t* heap = registry.live.first; heap != NULL; heap = heap->next)
    if (is_in(address, heap, sizeof(*heap)))
      return find_name(heap_fields, address - (uintptr_t)heap);
  for (heap_t* heap = registry.unused[0]; heap != NULL; heap = heap->next)
    if (is_in(address, heap, sizeof(*heap)))
      return find_name(heap_fields, address - (uintptr_t)heap);
  return "other metadata";
}

/* ---- operations ---- */

enum {
  MALLOC,        /* from a list of the active page */
  MALLOC_REFILL, /* a malloc that took the slow path, but set up no page */
  MALLOC_PAGE,   /* a malloc that set up a fresh page */
  FREE,          /* into a page that stays */
  FREE_PAGE,     /* a free that released slices */
  MALLOC_LARGE,
  FREE_LARGE,
  THREAD_START, /* with its first malloc */
  THREAD_END,
  KINDS
};
static const char* const kind_name[KINDS] = {"malloc",      "malloc, refill", "malloc, fresh page",
                                             "free",        "free, release",  "malloc, large",
                                             "free, large", "thread start",   "thread end"};

UNSEEN static size_t fresh_pages(void) {
  size_t n = 0;
  for (size_t cls = 0; cls < CLASS_COUNT; cls++) n += page_total(cls);
  return n;
}
UNSEEN static size_t free_slices(void) {
  size_t n = 0;
  for (size_t i = 0; i < load_relaxed(&arena_list.count); i++)
    n += load_relaxed(&load_relaxed(&arena_list.list[i])->free_count);
  return n;
}

static int now; /* the thread that has its turn */

/* The program writes to its block: from then on its lines are this thread's. */
UNSEEN static char* fill(char* p, size_t size) {
  writes_begin(now);
  engine_write(p, size < 256 ? size : 256);
  writes_end(-1);
  return p;
}

UNSEEN static char* make(size_t size, int kind) {
  size_t pages = fresh_pages();
  unsigned long long heartbeat = heap_default->heartbeat;
  writes_begin(now);
  char* p = mi_malloc(size);
  if (p == NULL) engine_violation("no memory");
  if (kind == MALLOC && fresh_pages() != pages) kind = MALLOC_PAGE;
  if (kind == MALLOC && heap_default->heartbeat != heartbeat) kind = MALLOC_REFILL;
  writes_end(kind);
  return fill(p, size);
}

UNSEEN static void drop(char* p, int kind) {
  size_t slices = free_slices();
  writes_begin(now);
  mi_free(p);
  writes_end(kind != FREE ? kind : free_slices() > slices ? FREE_PAGE : FREE);
}

/* ---- programs: what one thread does in its turn ---- */

#define SLOTS 512
typedef struct actor_s {
  uint64_t random;
  size_t step, size;
  char* slot[SLOTS];
} actor_t;
static actor_t* actors;
static int threads;

UNSEEN static size_t draw(actor_t* a, size_t n) {
  a->random ^= a->random << 13;
  a->random ^= a->random >> 7;
  a->random ^= a->random << 17;
  return (size_t)(a->random >> 11) % n;
}

/* Each thread replaces small blocks of its own (batches, mixed). */
UNSEEN static void own_turn(actor_t* a) {
  size_t i = draw(a, 64);
  if (a->slot[i] != NULL) drop(a->slot[i], FREE);
  a->slot[i] = a->slot[i] == NULL ? make(16 + draw(a, 240), MALLOC) : NULL;
}

/* Each thread frees what its neighbour made (exchange, relay). */
UNSEEN static void relay_turn(actor_t* a) {
  actor_t* next = &actors[(now + 1) % threads];
  size_t i = a->step++ % SLOTS;
  if (a->slot[i] != NULL) drop(a->slot[i], FREE);
  a->slot[i] = NULL;
  if (next->slot[i] == NULL) next->slot[i] = make(16 + draw(a, 240), MALLOC);
}

/* All threads replace blocks of one table (server, scatter). */
UNSEEN static void cache_turn(actor_t* a) {
  actor_t* table = &actors[draw(a, (size_t)threads)];
  size_t i = draw(a, SLOTS);
  if (table->slot[i] != NULL) drop(table->slot[i], FREE);
  table->slot[i] = make(64 + draw(a, 960), MALLOC);
}

/* Threads start, work and end (threads, visits). */
#define LIFE 32
UNSEEN static void threads_turn(actor_t* a) {
  size_t step = a->step++ % (2 * LIFE + 1), i = step % LIFE;
  if (step < LIFE) {
    a->slot[i] = make(16 + draw(a, 240), step == 0 ? THREAD_START : MALLOC);
  } else if (step < 2 * LIFE) {
    drop(a->slot[i], FREE);
  } else {
    writes_begin(now);
    mi_thread_done();
    writes_end(THREAD_END);
    heap_default = &heap_empty;
  }
}

/* Each thread fills pages and empties them (rounds, ordered). */
UNSEEN static void pages_turn(actor_t* a) {
  size_t step = a->step++ % (2 * SLOTS);
  if (step == 0) a->size = (size_t)512 << draw(a, 4);
  if (step < SLOTS)
    a->slot[step] = make(a->size, MALLOC);
  else
    drop(a->slot[step - SLOTS], FREE);
}

/* Each thread replaces large blocks. */
UNSEEN static void large_turn(actor_t* a) {
  size_t i = draw(a, 8);
  if (a->slot[i] != NULL) drop(a->slot[i], FREE_LARGE);
  a->slot[i] = a->slot[i] == NULL ? make((256 + draw(a, 768)) * KiB, MALLOC_LARGE) : NULL;
}

typedef struct program_s {
  const char* name;
  void (*turn)(actor_t*);
  size_t warm, rounds; /* turns of each thread: before it is counted, and then */
} program_t;
static const program_t programs[] = {
    {"own", &own_turn, 500, 1000},      {"relay", &relay_turn, 1100, 1000},
    {"cache", &cache_turn, 1000, 1000}, {"threads", &threads_turn, 130, 650},
    {"pages", &pages_turn, 2048, 2048}, {"large", &large_turn, 50, 200},
};
#define PROGRAMS (sizeof(programs) / sizeof(programs[0]))
#define ROUNDS_PER_MS 50

UNSEEN static void run_rounds(const program_t* program, size_t rounds) {
  for (size_t r = 0; r < rounds; r++) {
    if (r % ROUNDS_PER_MS == 0) pass_ms(1);
    for (int t = 0; t < threads; t++) {
      writes_begin(t);
      as(t);
      now = t;
      program->turn(&actors[t]);
    }
  }
}

UNSEEN static void print_counts(const program_t* program) {
  for (int kind = 0; kind < KINDS; kind++) {
    const counts_t* c = writes_of(kind);
    if (c->operations == 0) continue;
    printf("%s\t%d\t%s\t%zu\t%zu\t%zu", program->name, threads, kind_name[kind], c->operations,
           c->atomic, c->plain);
    for (size_t i = 0; i < HOT_MAX && c->hot[i].name != NULL; i++)
      printf("\t%s=%zu,%zu", c->hot[i].name, c->hot[i].writes, c->hot[i].of_neighbour);
    putchar('\n');
  }
}

UNSEEN static void run_program(const program_t* program, int n) {
  extern char __data_start, end;
  threads = n;
  actors = mmap(NULL, (size_t)n * sizeof(actor_t), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int t = 0; t < n; t++) actors[t].random = (uint64_t)t * 0x9e3779b97f4a7c15 + 1;
  for (int t = 0; t <= THREADS_MAX; t++) turn.heap[t] = &heap_empty;
  name_variables();
  writes_watch(&__data_start, (size_t)(&end - &__data_start));
  world_begin(0, 10);
  run_rounds(program, program->warm);
  writes_reset();
  run_rounds(program, program->rounds);
}

/* ---- the gate ---- */

/* What an operation may write at most, in 1,000 of them: what was measured, and a tenth of a line
 * more where pages of several threads lie in one line by chance. A further word that all threads
 * write adds 1,000. Plain stores count where the bound is small. */
#define SMALL_BOUND 5
typedef struct bound_s {
  const char* program;
  int threads, kind;
  size_t most;
} bound_t;
static const bound_t bounds[] = {
    {"own", 1, MALLOC, 0},
    {"own", 1, FREE, 0},
    {"own", 64, MALLOC, 0},
    {"own", 64, MALLOC_REFILL, SMALL_BOUND}, /* a tick may give a page back */
    {"own", 64, FREE, 0},
    {"pages", 16, MALLOC, 0},
    {"pages", 16, MALLOC_PAGE, 6500},
    {"pages", 16, FREE_PAGE, 3250},
    {"threads", 16, MALLOC, 0},
    {"threads", 16, FREE, 50}, /* a heap that begins draws its credit, see keep.h */
    {"threads", 16, MALLOC_PAGE, 7000},
    {"large", 16, MALLOC_LARGE, 8100},
    {"large", 16, FREE_LARGE, 5500},
};

UNSEEN static int check_bounds(const program_t* program) {
  int failed = 0;
  for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
    const bound_t* b = &bounds[i];
    if (b->threads != threads || strcmp(b->program, program->name) != 0) continue;
    const counts_t* c = writes_of(b->kind);
    size_t writes = c->atomic + (b->most <= SMALL_BOUND ? c->plain : 0);
    bool ok = c->operations > 0 && writes * 1000 <= b->most * c->operations;
    failed += !ok;
    printf("%s: %s, %d threads: %s: %zu operations, %zu shared writes; at most %zu in 1,000\n",
           ok ? "ok" : "FAILED", program->name, threads, kind_name[b->kind], c->operations, writes,
           b->most);
    for (size_t k = 0; !ok && k < HOT_MAX && c->hot[k].name != NULL; k++)
      printf("    %s: %zu\n", c->hot[k].name, c->hot[k].writes);
  }
  return failed;
}

/* ---- all of them ---- */

/* In a process of its own, so that each begins with the same memory. */
UNSEEN static bool run_apart(const program_t* program, int n, bool gate) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int failed = 0;
    run_program(program, n);
    if (gate)
      failed = check_bounds(program);
    else
      print_counts(program);
    fflush(stdout);
    _exit(failed);
  }
  int status = 1;
  return waitpid(pid, &status, 0) == pid && status == 0;
}

UNSEEN static bool is_bounded(const program_t* program, int n) {
  for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
    if (bounds[i].threads == n && strcmp(bounds[i].program, program->name) == 0) return true;
  return false;
}

UNSEEN static bool is_wanted(const char* name, char** words) {
  if (*words == NULL) return true;
  for (; *words != NULL; words++)
    if (strcmp(*words, name) == 0) return true;
  return false;
}

UNSEEN int main(int argc, char** argv) {
  int count[16] = {1, 2, 4, 8, 16, 32, 64, 128}, counts = 8, i = 1, given = 0;
  bool ok = true, gate = argc > 1 && strcmp(argv[1], "--gate") == 0;
  for (; i + 1 < argc && given < 16 && strcmp(argv[i], "--threads") == 0; i += 2) {
    count[given] = atoi(argv[i + 1]);
    if (count[given] < 1 || count[given] > THREADS_MAX) return 2;
    counts = ++given;
  }
  for (size_t p = 0; p < PROGRAMS; p++)
    for (int c = 0; c < counts; c++)
      if (gate ? is_bounded(&programs[p], count[c]) : is_wanted(programs[p].name, argv + i))
        ok &= run_apart(&programs[p], count[c], gate);
  return ok ? 0 : 1;
}
