/* map_limit.c - the system limits the mappings of a process (vm.max_map_count).
 * The limit is the real one: a range whose pages differ from their neighbours takes all mappings
 * but a few. Then a new arena, a guard page, advice for huge pages, a move, and giving back a part
 * of a range may each be refused, and the library goes on with what it has. Afterwards everything
 * is as before.
 */
#include "load.h"

#define LIMIT_MAX 300000 /* above it takes long to get there */

static char* filler;
static size_t filler_size;

static size_t mapping_limit(void) {
  char text[64];
  read_file("/proc/sys/vm/max_map_count", text, sizeof text);
  return strtoul(text, NULL, 10);
}

/* Gives every second page another protection until the system refuses. Returns how many. */
static size_t take_all_mappings(size_t limit) {
  filler_size = (limit + 2) * 2 * OS_PAGE;
  filler =
      (char*)mmap(NULL, filler_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(filler != MAP_FAILED);
  size_t n = 0;
  while (mprotect(filler + (2 * n + 1) * OS_PAGE, OS_PAGE, PROT_READ) == 0) n++;
  REQUIRE(errno == ENOMEM && n > limit / 4);
  return n;
}

/* As many mappings less as `pairs`, twice. */
static void give_back(size_t taken, size_t pairs) {
  for (size_t i = 0; i < pairs; i++)
    REQUIRE(mprotect(filler + (2 * (taken - 1 - i) + 1) * OS_PAGE, OS_PAGE, PROT_NONE) == 0);
}

/* The range of a moved block that cannot be mapped anew is lost (docs/guarantees.md, Mappings):
 * this many pairs of mappings suffice for all that the workload does at a time. */
#define PAIRS_ENOUGH 1000

static void work_with_few_mappings(size_t taken, size_t pairs, bool warm, size_t* nulls) {
  give_back(taken, pairs);
  load_begin();
  unsigned round = 0;
  for (; round < 8; round++) one_round(round);
  for (size_t i = 0; i < COUNT_OF(workers); i++) *nulls += workers[i].nulls;
  REQUIRE(munmap(filler, filler_size) == 0);
  size_t lost = load_end(round);
  if (pairs >= PAIRS_ENOUGH) CHECK_EQ(lost, 0);
  /* Otherwise the limit does nothing. An arena with room may be all that the workload needs. */
  if (pairs == 0 && !warm && of_others.bytes == 0) CHECK_GE(*nulls, 1);
  if (lost > 0) check_note("%zu pairs of mappings: %zu KiB lost\n", pairs, lost / KIB);
}

/* `warm`: the library has its first arena before the mappings are gone. */
static void run_at_the_limit(bool warm) {
  size_t limit = mapping_limit();
  if (limit > LIMIT_MAX) {
    check_note("skipped: this system allows %zu mappings\n", limit);
    return;
  }
  if (warm) {
    load_begin();
    one_round(0);
    free_all();
  }
  size_t taken = take_all_mappings(limit), refused = 0;
  static const size_t pairs[] = {0, 2, 5, 13, 1000};
  for (size_t i = 0; i < COUNT_OF(pairs); i++) {
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      check_failures = 0; /* the parent's are its own */
      size_t nulls = 0;
      work_with_few_mappings(taken, pairs[i], warm, &nulls);
      REQUIRE(write(ends[1], &nulls, sizeof nulls) == sizeof nulls);
      _exit(check_end());
    }
    close(ends[1]);
    if (check_wait_ok(pid, "child with few mappings") != 0) check_note("%zu pairs\n", pairs[i]);
    size_t nulls = 0;
    REQUIRE(read(ends[0], &nulls, sizeof nulls) == sizeof nulls);
    close(ends[0]);
    check_note("%3zu pairs of mappings left: %zu requests refused\n", pairs[i], nulls);
    refused += nulls;
    if (pairs[i] >= PAIRS_ENOUGH) CHECK_EQ(nulls, 0);
  }
  CHECK_GE(refused, 1); /* else the limit does nothing */
}

static void library_starts_with_few_mappings_left(void) { run_at_the_limit(false); }
static void library_goes_on_with_few_mappings_left(void) { run_at_the_limit(true); }

static const check_case_t cases[] = {
    CASE(library_starts_with_few_mappings_left),
    CASE(library_goes_on_with_few_mappings_left),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
