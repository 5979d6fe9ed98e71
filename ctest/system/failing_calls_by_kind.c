/* failing_calls_by_kind.c - of each kind of system call the n-th fails, for each n:
 * nothing crashes, blocks keep their contents, everything can be freed, and then no memory
 * of an arena is in use. Several threads and heaps work meanwhile. The calls are refused by
 * os_fault.c; failing_calls.c does the same for calls of any kind in one thread.
 *
 * A run ends soon after the failure. Each kind has the options under which its calls are many.
 * CTEST_SCALE multiplies how far n goes: 12 at 1, 408 at 34.
 */
#include "load.h"
#include "os_fault.h"

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
    {"remap", OS_CALL_REMAP, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"purge", OS_CALL_PURGE, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"purge lazily", OS_CALL_PURGE, {"MIMALLOC_PURGE_DELAY=0", "MIMALLOC_PURGE_DECOMMITS=0"}, 400},
    {"protect", /* the block that the C library keeps with a purger may be guarded, too */
     OS_CALL_PROTECT,
     {"MIMALLOC_GUARDED_SAMPLE_RATE=10", "OS_FAULT_NO_GUARDS=1", "MIMALLOC_PURGER=0"},
     40},
    {"move", OS_CALL_MOVE, {"MIMALLOC_PURGE_DELAY=0"}, 400},
    {"advise", OS_CALL_ADVISE, {"MIMALLOC_PURGE_DELAY=1", "MIMALLOC_ARENA_PURGE_MULT=1"}, 400},
    {"release", OS_CALL_RELEASE, {NULL}, 400},
    {"any", OS_CALL_ANY, {"MIMALLOC_PURGE_DELAY=0"}, 400},
};

/* ---- one run --------------------------------------------------------------- */

static void helper_workload(void) {
  load_begin();
  unsigned round = 0;
  for (unsigned after = 0; round < ROUNDS && after < ROUNDS_AFTER; round++) {
    one_round(round);
    after += os_fault_state().refused > 0;
  }
  os_fault_t state = os_fault_state();
  os_fault_set(0, false);
  size_t lost = load_end(round);
  check_note("calls %zu refused %zu lost %zu\n", state.calls, state.refused, lost);
  if (getenv("TEST_LEAK") != NULL) {
    CHECK_NOT_NULL(mi_malloc(100));
    CHECK_EQ(stats_now().page_committed.current, 0);
  }
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

/* A range that cannot be mapped anew is lost (docs/guarantees.md, Mappings); a block has at most
 * half as much again as its request. */
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
    bool may_lose = kind->call == OS_CALL_REMAP || kind->call == OS_CALL_ANY;
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

/* A call that reports success and did nothing: contents, or the process, are lost. */
static void false_success_is_noticed(void) {
  setenv("OS_FAULT_LIE", "1", 1);
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    os_call_t call = kinds[i].call;
    /* A false reservation cannot be opened; other lies show only by chance. */
    if (call != OS_CALL_COMMIT && call != OS_CALL_MOVE) continue;
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
    CASE(false_success_is_noticed),
    CASE(memory_that_is_lost_is_noticed),
};
static const check_case_t helpers[] = {CASE(helper_workload)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
