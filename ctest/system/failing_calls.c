/* failing_calls.c - the n-th mmap, mremap, mprotect or madvise of the library fails, for each n:
 * nothing crashes, a request gives NULL or a good block, contents stay,
 * and once the system works again so does everything. The calls are refused by os_fault.c.
 */
#include "os_fault.h"
#include "probe.h"
#include "refuse.h"
#include <mimalloc.h>

#define HELD 60
#define HELD_STEP (32 * OS_PAGE)

typedef struct held_s {
  unsigned char* block;
  size_t size;
  unsigned seed;
} held_t;

/* Only the ends and some bytes of large blocks: the runs are many. */
static void held_fill(held_t* h) {
  if (h->size <= 2 * OS_PAGE) {
    pattern_fill(h->block, h->size, h->seed);
    return;
  }
  for (size_t i = 0; i < h->size; i += HELD_STEP) h->block[i] = pattern_at(i, h->seed);
  h->block[h->size - 1] = pattern_at(h->size - 1, h->seed);
}
static bool held_is_intact(const held_t* h, size_t size) {
  if (h->block == NULL || size == 0) return true;
  bool ok = true;
  if (h->size <= 2 * OS_PAGE) {
    ok = pattern_holds(h->block, size, h->seed);
  } else {
    for (size_t i = 0; i < size && ok; i += HELD_STEP) {
      ok = CHECK_EQ(h->block[i], pattern_at(i, h->seed));
    }
  }
  if (!ok) check_note("block of %zu bytes, seed %u\n", h->size, h->seed);
  return ok;
}

typedef struct work_s {
  held_t held[HELD];
  size_t nulls;
  rng_t rng;
} work_t;

static size_t work_size(work_t* w) {
  static const size_t upto[] = {1000, 20000, 200000, 200000, 600000, 600000, MIB, MIB};
  if (rng_below(&w->rng, 50) == 0) return 20 * MIB + rng_below(&w->rng, 20 * MIB);
  return rng_size(&w->rng, upto[rng_below(&w->rng, COUNT_OF(upto))]);
}

static void work_drop(held_t* h) {
  held_is_intact(h, h->size);
  mi_free(h->block);
  memset(h, 0, sizeof *h);
}

static void work_step(work_t* w, size_t step) {
  held_t* h = &w->held[rng_below(&w->rng, HELD)];
  size_t size = work_size(w);
  switch (rng_below(&w->rng, 6)) {
  case 0:
  case 1: { /* change size, plain */
    held_is_intact(h, h->size);
    unsigned char* p = (unsigned char*)mi_realloc(h->block, size);
    if (p == NULL) {
      w->nulls++;
      held_is_intact(h, h->size);
      return;
    }
    held_t moved = {p, h->size, h->seed};
    if (h->block != NULL) {
      /* The pattern kind depends on the old size: read it as such. */
      held_is_intact(&moved, h->size < size ? h->size : size);
    }
    h->block = p;
    break;
  }
  case 2: { /* zeroed */
    work_drop(h);
    h->block = (unsigned char*)mi_zalloc(size);
    if (h->block != NULL && size <= 100 * KIB) CHECK(all_bytes_are(h->block, size, 0));
    break;
  }
  case 3: { /* aligned */
    work_drop(h);
    size_t alignment = (size_t)1 << rng_below(&w->rng, 22);
    h->block = (unsigned char*)mi_malloc_aligned(size, alignment);
    if (h->block != NULL) CHECK(is_aligned(h->block, alignment));
    break;
  }
  default:
    work_drop(h);
    h->block = (unsigned char*)mi_malloc(size);
    break;
  }
  if (h->block == NULL) {
    w->nulls++;
    h->size = 0;
    return;
  }
  h->size = size;
  h->seed = (unsigned)step;
  held_fill(h);
}

static void work_end(work_t* w) {
  for (size_t i = 0; i < HELD; i++) work_drop(&w->held[i]);
}

static work_t* work_new(unsigned seed) {
  static work_t works[3];
  static size_t used;
  work_t* w = &works[__atomic_fetch_add(&used, 1, __ATOMIC_RELAXED) % COUNT_OF(works)];
  memset(w, 0, sizeof *w);
  w->rng.state = seed;
  return w;
}

static void* work_in_a_thread(void* arg) {
  work_t* w = (work_t*)arg;
  for (size_t step = 0; step < 60; step++) work_step(w, step);
  return NULL; /* its blocks stay for the main thread */
}

/* Twice the same requests: a request that failed once works later. */
static void helper_workload(void) {
  work_t* w = work_new(1);
  work_t* other = work_new(2);
  for (size_t step = 0; step < 500; step++) {
    work_step(w, step);
    if (step == 100) {
      pthread_t thread;
      if (pthread_create(&thread, NULL, &work_in_a_thread, other) == 0) thread_join(thread);
    }
    if (step % 60 == 59) mi_collect(step % 120 == 119);
  }
  os_fault_t state = os_fault_state();
  os_fault_set(0, false);
  work_end(other);
  /* The system works again: nothing may fail now. */
  size_t nulls = w->nulls;
  for (size_t step = 0; step < 200; step++) work_step(w, step);
  if (!CHECK_EQ(w->nulls, nulls)) check_note("requests fail although the system works again\n");
  size_t other_nulls = other->nulls;
  thread_join(thread_start(&work_in_a_thread, other));
  CHECK_EQ(other->nulls, other_nulls);
  work_end(other);
  work_end(w);
  mi_collect(true);
  check_note("calls %zu refused %zu nulls %zu\n", state.calls, state.refused, nulls);
}

/* False when the workload made fewer than `first` calls. */
static bool run_with(size_t first, bool all, bool print) {
  char text[32];
  snprintf(text, sizeof text, "%zu", first);
  setenv("OS_FAULT_FIRST", text, 1);
  setenv("OS_FAULT_ALL", all ? "1" : "0", 1);
  const char* args[] = {"helper_workload", NULL};
  char output[4096];
  int status = check_capture_self(args, false, output, sizeof output);
  if (print) check_note("%s", output);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return first == 0 || strstr(output, "refused 0 ") == NULL;
  }
  if (WIFSIGNALED(status)) {
    check_fail("OS_FAULT_FIRST=%zu OS_FAULT_ALL=%d: died of signal %d (%s)\n", first, all,
               WTERMSIG(status), strsignal(WTERMSIG(status)));
  } else {
    check_fail("OS_FAULT_FIRST=%zu OS_FAULT_ALL=%d: failed\n%s", first, all, output);
  }
  return true;
}

static void run_all(bool all) {
  setenv("MIMALLOC_PURGE_DELAY", "0", 1); /* many calls early */
  run_with(0, false, true);
  size_t n = 1;
  while (n <= check_scaled(300) && run_with(n, all, n == 1 || n == 20)) n++;
  check_note("%zu runs\n", n - 1);
  CHECK_GE(n, check_scaled(100));
}

static void each_single_failing_call_is_survived(void) { run_all(false); }
static void the_system_failing_from_each_call_on_is_survived(void) { run_all(true); }

/* One call of `chance`, from the first one on, also calls that undo the work of another call. */
static void run_with_chance(size_t chance) {
  char text[32], output[4096];
  snprintf(text, sizeof text, "%zu", chance);
  setenv("OS_FAULT_CHANCE", text, 1);
  const char* args[] = {"helper_workload", NULL};
  int status = check_capture_self(args, false, output, sizeof output);
  if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0))
    check_note("OS_FAULT_CHANCE=%zu: status 0x%x\n%s", chance, status, output);
  else if (chance <= 3)
    check_note("one of %zu: %s", chance, output);
}
static void run_with_chances(void) {
  setenv("MIMALLOC_PURGE_DELAY", "0", 1);
  for (size_t chance = 2; chance < 40; chance++) run_with_chance(chance);
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  for (size_t chance = 2; chance < 40; chance++) run_with_chance(chance);
}
static void calls_that_fail_now_and_then_are_survived(void) { run_with_chances(); }
static void they_are_survived_with_guards_that_are_mappings(void) {
  refuse(REFUSE_LIGHT_GUARDS);
  run_with_chances();
}

/* Without this the cases above might test nothing. */
static void workload_makes_the_calls_that_can_fail(void) {
  setenv("OS_FAULT_FIRST", "0", 1);
  setenv("MIMALLOC_PURGE_DELAY", "0", 1);
  const char* args[] = {"helper_workload", NULL};
  char output[4096];
  int status = check_capture_self(args, false, output, sizeof output);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const char* text = strstr(output, "calls ");
  REQUIRE(text != NULL);
  CHECK_GE(strtoul(text + 6, NULL, 10), 50);
}

/* While the system refuses everything, live blocks stay untouched and requests return NULL. */
static void blocks_keep_their_contents_while_the_system_refuses_everything(void) {
  work_t* w = work_new(3);
  for (size_t step = 0; step < 200; step++) work_step(w, step);
  os_fault_set(1, true);
  size_t nulls = w->nulls;
  for (size_t i = 0; i < 30; i++) {
    void* p = mi_malloc(700 * MIB);
    void* q = mi_malloc(600 * MIB);
    void* r = mi_zalloc(500 * MIB);
    nulls += (p == NULL) + (q == NULL) + (r == NULL);
    mi_free(p);
    mi_free(q);
    mi_free(r);
  }
  CHECK_GE(nulls, w->nulls + 1);
  for (size_t step = 0; step < 500; step++) work_step(w, step);
  mi_collect(true);
  for (size_t i = 0; i < HELD; i++) held_is_intact(&w->held[i], w->held[i].size);
  os_fault_set(0, false);
  nulls = w->nulls;
  for (size_t step = 0; step < 500; step++) work_step(w, step);
  CHECK_EQ(w->nulls, nulls);
  work_end(w);
}

/* ---- a move that fails ------------------------------------------------------------------- */

/* Vectors that grow and shrink beside each other, so that most steps move them. */
static void move_vectors(unsigned seed) {
  enum { VECTORS = 12 };
  char* vectors[VECTORS] = {0};
  size_t sizes[VECTORS] = {0};
  rng_t rng = {seed};
  for (size_t step = 0; step < 600; step++) {
    size_t v = rng_below(&rng, VECTORS);
    size_t next = rng_below(&rng, 10) == 0 ? 100000 + rng_below(&rng, MIB)
                                           : sizes[v] + 100000 + rng_below(&rng, 2 * MIB);
    if (next > 16 * MIB) next = 300000;
    bool zero = v % 3 == 0;
    char* p = (char*)(zero ? mi_rezalloc(vectors[v], next)
                           : mi_realloc_aligned(vectors[v], next, v % 3 == 1 ? 16 : 256 * KIB));
    REQUIRE(p != NULL);
    size_t kept = (next < sizes[v] ? next : sizes[v]) / OS_PAGE * OS_PAGE;
    if (!CHECK(pages_hold(p, 0, kept, 1))) {
      check_note("step %zu: from %zu to %zu\n", step, sizes[v], next);
      return;
    }
    if (zero && next > sizes[v]) CHECK(all_bytes_are(p + sizes[v], next - sizes[v], 0));
    if (!zero || next > sizes[v]) pages_mark(p, kept, next);
    vectors[v] = p;
    sizes[v] = zero ? mi_usable_size(p) : next;
    if (zero) pages_mark(p, kept, sizes[v]);
    if (step % 50 == 49) { /* a vector that ends: others use its addresses */
      mi_free(vectors[v]);
      vectors[v] = NULL;
      sizes[v] = 0;
    }
    if (step % 100 == 99) mi_collect(true);
  }
  for (size_t v = 0; v < VECTORS; v++) mi_free(vectors[v]);
}

/* The system moves one mapping at a time, and a moved block consists of several. A block that does
 * not know its fragments is copied instead. */
static void moved_blocks_are_moved_again_by_fragments(void) {
  move_vectors(1);
  CHECK_GE(os_fault_mremap_successes(), 100);
  /* Where the advice for huge pages came at different times, the system has several mappings for
   * one fragment: a few moves are tried again in halves. */
  check_note("%zu moves, %zu refused\n", (size_t)os_fault_mremap_successes(),
             (size_t)os_fault_mremap_failures());
  CHECK_LE(os_fault_mremap_failures(), os_fault_mremap_successes() / 10);
}

static void check_moves_in_mode(os_mremap_t mode) {
  move_vectors(1); /* leaves memory that consists of several mappings */
  os_fault_mremap(mode);
  move_vectors(2);
  CHECK_GE(os_fault_mremap_failures(), 20);
  os_fault_mremap(OS_MREMAP_WORKS);
  move_vectors(3);
}

static void contents_survive_a_move_that_the_system_refuses(void) {
  check_moves_in_mode(OS_MREMAP_FAILS);
}
static void contents_survive_a_move_that_fails_and_unmaps_its_target(void) {
  check_moves_in_mode(OS_MREMAP_FIXED_FAILS);
}

static const check_case_t cases[] = {
    CASE(workload_makes_the_calls_that_can_fail),
    CASE(each_single_failing_call_is_survived),
    CASE(the_system_failing_from_each_call_on_is_survived),
    CASE(calls_that_fail_now_and_then_are_survived),
    CASE(they_are_survived_with_guards_that_are_mappings),
    CASE(blocks_keep_their_contents_while_the_system_refuses_everything),
    CASE(moved_blocks_are_moved_again_by_fragments),
    CASE(contents_survive_a_move_that_the_system_refuses),
    CASE(contents_survive_a_move_that_fails_and_unmaps_its_target),
};
static const check_case_t helpers[] = {CASE(helper_workload)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
