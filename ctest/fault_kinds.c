/* fault_kinds.c - of each kind of system call the n-th fails, for each n (D8.65, D8.66, D8.76):
 * nothing crashes, blocks keep their contents, everything can be freed, and then no memory of an
 * arena is in use. Several threads and heaps work meanwhile. The calls are refused by os_fault.c;
 * fault.c does the same for calls of any kind in one thread.
 *
 * A run ends soon after the failure. Each kind has the options under which its calls are many.
 * CTEST_SCALE multiplies how far n goes: 12 at 1, 408 at 34.
 */
#include "os_fault.h"
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

#define HELD 24
#define THREADS 2
#define ROUNDS 400 /* at most; the failure ends them */
#define ROUNDS_AFTER 2

typedef struct kind_s {
  const char* name;
  os_call_t call;
  const char* options[4]; /* NAME=value */
  size_t reach;           /* the workload makes at least so many of these calls */
} kind_t;

static const kind_t kinds[] = {
    {"reserve", OS_CALL_RESERVE, {"MIMALLOC_ARENA_RESERVE=0"}, 400},
    {"commit", OS_CALL_COMMIT, {"MIMALLOC_ARENA_EAGER_COMMIT=0", "MIMALLOC_PURGE_DELAY=0"}, 400},
    {"decommit",
     OS_CALL_DECOMMIT,
     {"MIMALLOC_ARENA_EAGER_COMMIT=0", "MIMALLOC_PURGE_DELAY=0"},
     400},
    {"renew", OS_CALL_RENEW, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"purge", OS_CALL_PURGE, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"purge lazily", OS_CALL_PURGE, {"MIMALLOC_PURGE_DELAY=0", "MIMALLOC_PURGE_DECOMMITS=0"}, 400},
    {"protect", OS_CALL_PROTECT, {"MIMALLOC_ARENA_RESERVE=0"}, 40},
    {"move", OS_CALL_MOVE, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"advise", OS_CALL_ADVISE, {"MIMALLOC_PURGE_DELAY=1", "MIMALLOC_ARENA_PURGE_MULT=1"}, 400},
    {"release", OS_CALL_RELEASE, {NULL}, 400},
    {"any", OS_CALL_ANY, {"MIMALLOC_PURGE_DELAY=0"}, 400},
};

/* ---- the workload ------------------------------------------------------------------------- */

typedef struct held_s {
  char* block;
  size_t size;
  unsigned seed;
} held_t;

/* Of a large block few OS pages carry marks: the runs are many. */
#define STEP (40 * OS_PAGE + 64)
static void held_fill(held_t* h) {
  if (h->size <= OS_PAGE) {
    pattern_fill(h->block, h->size, h->seed);
    return;
  }
  for (size_t i = 0; i < h->size; i += STEP) h->block[i] = (char)pattern_at(i, h->seed);
  h->block[h->size - 1] = (char)pattern_at(h->size - 1, h->seed);
}
static void held_check(const held_t* h, const char* block, size_t size) {
  if (block == NULL) return;
  if (h->size <= OS_PAGE) {
    (void)pattern_holds(block, size, h->seed);
    return;
  }
  for (size_t i = 0; i < size; i += STEP) {
    if (!CHECK_EQ((unsigned char)block[i], pattern_at(i, h->seed))) {
      check_note("byte %zu of a block of %zu\n", i, h->size);
      return;
    }
  }
}
static void held_free(held_t* h) {
  held_check(h, h->block, h->size);
  mi_free(h->block);
  memset(h, 0, sizeof *h);
}

typedef struct worker_s {
  held_t held[HELD];
  rng_t rng;
  mi_heap_t* heap;
  size_t nulls;
} worker_t;

static worker_t workers[1 + THREADS];

static size_t some_size(rng_t* rng) {
  switch (rng_below(rng, 10)) {
  case 0:
    return 550 * MIB + rng_below(rng, 100 * MIB); /* directly from the system; little is touched */
  case 1:
  case 2:
    return 4 * MIB + rng_below(rng, 4 * MIB);
  case 3:
  case 4:
  case 5:
    return 300 * KIB + rng_below(rng, MIB);
  default:
    return rng_size(rng, 40000);
  }
}

/* Touched at its ends only. */
static bool is_direct(size_t size) { return size > 512 * MIB; }

static void work_step(worker_t* w, unsigned step) {
  held_t* h = &w->held[rng_below(&w->rng, HELD)];
  size_t size = some_size(&w->rng);
  unsigned what = (unsigned)rng_below(&w->rng, 8);
  char* p;
  if (is_direct(size)) {
    p = what % 2 == 0 ? (char*)mi_malloc(size) : (char*)mi_malloc_aligned(size, 8 * MIB);
    if (p == NULL) {
      w->nulls++;
      return;
    }
    p[0] = p[size - 1] = 1;
    mi_free(p);
    return;
  }
  if (what <= 2) {
    p = (char*)mi_realloc(h->block, size);
    if (p == NULL) { /* what was there stays */
      w->nulls++;
      held_check(h, h->block, h->size);
      return;
    }
    held_check(h, h->block == NULL ? NULL : p, h->size < size ? h->size : size);
  } else {
    held_free(h);
    p = what == 3                      ? (char*)mi_zalloc(size)
        : what == 4                    ? (char*)mi_malloc_aligned(size, (size_t)64 << (step % 16))
        : what == 5 && w->heap != NULL ? (char*)mi_heap_malloc(w->heap, size)
        : what == 6 && w->heap != NULL ? (char*)mi_heap_zalloc(w->heap, size)
                                       : (char*)mi_malloc(size);
    if (p == NULL) {
      w->nulls++;
      return;
    }
    if (what == 4) CHECK(is_aligned(p, (size_t)64 << (step % 16)));
    if (what == 3 || (what == 6 && w->heap != NULL))
      for (size_t i = 0; i < size; i += size < 2 * OS_PAGE ? 1 : 10 * OS_PAGE - 8)
        if (!CHECK_EQ(p[i], 0)) break;
  }
  *h = (held_t){p, size, step};
  held_fill(h);
}

static void work_begin(worker_t* w) {
  if (w->heap == NULL) w->heap = mi_heap_new();
  if (w->heap == NULL) w->nulls++;
}
static void work_some(worker_t* w, unsigned round) {
  for (unsigned i = 0; i < 20; i++) work_step(w, round * 20 + i);
}
static void heap_end(worker_t* w) {
  if (w->heap != NULL) mi_heap_delete(w->heap); /* its blocks live on */
  w->heap = NULL;
}

static void* work_in_a_thread(void* arg) {
  worker_t* w = (worker_t*)arg;
  work_begin(w);
  for (unsigned round = 0; round < 2; round++) work_some(w, round);
  heap_end(w);
  return NULL; /* its blocks stay */
}

/* A stack that the C library keeps for the next thread comes with blocks of ours. */
static char stacks[THREADS][256 * KIB] __attribute__((aligned(64)));

static void one_round(unsigned round) {
  pthread_t threads[THREADS];
  bool started[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstack(&attributes, stacks[i], sizeof stacks[i]) == 0);
    started[i] = pthread_create(&threads[i], &attributes, &work_in_a_thread, &workers[1 + i]) == 0;
  }
  work_begin(&workers[0]);
  work_some(&workers[0], round);
  heap_end(&workers[0]);
  for (size_t i = 0; i < THREADS; i++)
    if (started[i]) thread_join(threads[i]);
  if (round % 4 == 3) mi_collect(round % 8 == 7);
}

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

static void free_all(void) {
  for (size_t i = 0; i < COUNT_OF(workers); i++)
    for (size_t k = 0; k < HELD; k++) held_free(&workers[i].held[k]);
}

static void helper_workload(void) {
  for (size_t i = 0; i < COUNT_OF(workers); i++) workers[i].rng.state = i + 1;
  unsigned round = 0;
  for (unsigned after = 0; round < ROUNDS && after < ROUNDS_AFTER; round++) {
    one_round(round);
    after += os_fault_state().refused > 0;
  }
  os_fault_t state = os_fault_state();
  os_fault_set(0, false);
  size_t nulls = 0;
  for (size_t i = 0; i < COUNT_OF(workers); i++) nulls += workers[i].nulls;
  /* The system works again: so does everything else. */
  for (unsigned i = 0; i < 2; i++) one_round(round + i);
  for (size_t i = 0; i < COUNT_OF(workers); i++) nulls -= workers[i].nulls;
  CHECK_EQ(nulls, 0);
  free_all();
  mi_collect(true);
  mi_stats_t stats = stats_now();
  CHECK_EQ(stats.malloc_normal.current + stats.malloc_huge.current, 0);
  CHECK_EQ(stats.pages.current, 0);
  size_t lost = (size_t)stats.page_committed.current;
  check_note("calls %zu refused %zu lost %zu\n", state.calls, state.refused, lost);
  if (getenv("TEST_LEAK") != NULL) CHECK_NOT_NULL(mi_malloc(100));
  if (getenv("TEST_LEAK") != NULL) CHECK_EQ(stats_now().page_committed.current, 0);
}

/* ---- the runs ----------------------------------------------------------------------------------
 */

static char output[4096];

static int run_with(const kind_t* kind, size_t n) {
  char text[32];
  snprintf(text, sizeof text, "%zu", n);
  setenv("OS_FAULT_FIRST", text, 1);
  snprintf(text, sizeof text, "%d", (int)kind->call);
  setenv("OS_FAULT_KIND", text, 1);
  for (size_t i = 0; i < COUNT_OF(kind->options) && kind->options[i] != NULL; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s", kind->options[i]);
    char* value = strchr(name, '=');
    *value++ = 0;
    setenv(name, value, 1);
  }
  const char* args[] = {"helper_workload", NULL};
  int status = check_capture_self(args, false, output, sizeof output);
  for (size_t i = 0; i < COUNT_OF(kind->options) && kind->options[i] != NULL; i++) {
    char name[64];
    snprintf(name, sizeof name, "%s", kind->options[i]);
    *strchr(name, '=') = 0;
    unsetenv(name);
  }
  return status;
}

static bool is_fine(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }

static size_t figure(const char* name) {
  const char* at = strstr(output, name);
  return at != NULL ? strtoul(at + strlen(name), NULL, 10) : SIZE_MAX;
}

/* A range that cannot be mapped anew is lost (docs/guarantees.md, Mappings); one block has at most
 * half as much again as it asked for. */
#define LOST_MAX (12 * MIB)

static void check_kind(const kind_t* kind, size_t upto) {
  size_t n = 1;
  for (; n <= upto; n++) {
    int status = run_with(kind, n);
    if (!CHECK(is_fine(status))) {
      check_note("%s, call %zu fails: status 0x%x\n%s", kind->name, n, status, output);
      return;
    }
    if (figure("refused ") == 0) break; /* the workload makes no more of them */
    bool may_lose = kind->call == OS_CALL_RENEW || kind->call == OS_CALL_ANY;
    if (!CHECK_LE(figure("lost "), may_lose ? LOST_MAX : 0))
      check_note("%s, call %zu failed: %s", kind->name, n, output);
  }
  check_note("%-13s %3zu runs\n", kind->name, n - 1);
  CHECK_GE(n - 1, upto < kind->reach ? upto : kind->reach);
}

static void each_call_of_each_kind_may_fail(void) {
  for (size_t i = 0; i < COUNT_OF(kinds); i++) check_kind(&kinds[i], check_scaled(12));
}

/* ---- it can fail --------------------------------------------------------------------------------
 */

/* A call that says it has worked, and has not: contents, or the process, are lost. */
static void call_that_lies_is_noticed(void) {
  setenv("OS_FAULT_LIE", "1", 1);
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    os_call_t call = kinds[i].call;
    if (call != OS_CALL_RESERVE && call != OS_CALL_COMMIT && call != OS_CALL_DECOMMIT &&
        call != OS_CALL_MOVE)
      continue;
    bool noticed = false;
    for (size_t n = 1; n <= 8 && !noticed; n++) noticed = !is_fine(run_with(&kinds[i], n));
    if (!CHECK(noticed)) check_note("%s\n", kinds[i].name);
  }
}

static void memory_that_is_lost_is_noticed(void) {
  setenv("TEST_LEAK", "1", 1);
  CHECK(!is_fine(run_with(&kinds[COUNT_OF(kinds) - 1], 1)));
}

static const check_case_t cases[] = {
    CASE(each_call_of_each_kind_may_fail),
    CASE(call_that_lies_is_noticed),
    CASE(memory_that_is_lost_is_noticed),
};
static const check_case_t helpers[] = {CASE(helper_workload)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
