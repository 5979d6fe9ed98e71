/* process.c - the library and its process: its release, the figures of the process against those of
 * the system, and what happens when the process ends.
 */
#include "helpers.h"
#include "json.h"
#include "probe.h"
#include "live_blocks.h"
#include "text_page.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

static pthread_barrier_t step;

static bool owner_tells; /* the owner puts its lists back before the figures are asked for */

static void* owner_run(void* arg) {
  blocks_t* b = (blocks_t*)arg;
  blocks_allocate(b);
  if (owner_tells) {
    mi_stats_merge();
    pthread_barrier_wait(&step); /* allocated */
    pthread_barrier_wait(&step); /* freed */
    mi_stats_merge();
    pthread_barrier_wait(&step); /* told */
    pthread_barrier_wait(&step); /* figures taken */
  }
  return NULL;
}

static blocks_t blocks;

/* ---- text ---- */

/* ---- the OS ---- */

/* The figure is that of statm, without memory that was never touched. */
static void resident_memory_is_that_of_the_os(void) {
  size_t rss, peak, commit, peak_commit;
  char* p = (char*)mi_malloc(64 * MIB);
  REQUIRE(p != NULL);
  p[0] = 1;
  mi_process_info(NULL, NULL, NULL, &rss, &peak, &commit, &peak_commit, NULL);
  CHECK_GE(commit, 64 * MIB);
  CHECK_GE(peak_commit, commit);
  CHECK_GE(peak, rss);
  if (!RSS_IS_MEANINGFUL) return;
  CHECK_LE(rss, 32 * MIB);
  touch_pages(p, 64 * MIB);
  size_t before = rss_bytes();
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
  /* The query may touch memory itself, and the kernel's count is inexact by some OS pages for each
   * processor. */
  const size_t slack = 128 * OS_PAGE;
  CHECK_LE(before, rss + slack);
  CHECK_LE(rss, rss_bytes() + slack);
  char text[KIB * 16];
  CHECK_SAME(mi_stats_get_json(sizeof text, text), text);
  CHECK_GE(json_find(text, "process", "rss_current") + slack, before);
  mi_free(p);
  mi_process_info(NULL, NULL, NULL, NULL, NULL, NULL, &peak_commit, NULL);
  CHECK_GE(peak_commit, 64 * MIB);
}

/* Bytes of [start, start + size) that may be read and written, by the kernel's list of mappings. */
static size_t writable_bytes(const char* maps, uintptr_t start, size_t size) {
  size_t bytes = 0;
  for (const char* line = maps; line != NULL && *line != 0;) {
    char* at;
    uintptr_t from = strtoul(line, &at, 16);
    REQUIRE(*at == '-');
    uintptr_t to = strtoul(at + 1, &at, 16);
    if (from < start) from = start;
    if (to > start + size) to = start + size;
    if (from < to && at[1] == 'r' && at[2] == 'w') bytes += to - from;
    line = strchr(at, '\n');
    if (line != NULL) line++;
  }
  return bytes;
}

static size_t writable_in_arenas(void) {
  static char maps[4 * MIB];
  size_t bytes = 0, size;
  REQUIRE(read_file("/proc/self/maps", maps, sizeof maps) + 1 < sizeof maps);
  for (mi_arena_id_t id = 1;; id++) {
    void* start = mi_arena_area(id, &size);
    if (start == NULL) return bytes;
    bytes += writable_bytes(maps, (uintptr_t)start, size);
  }
}

static void* mixed_run(void* arg) {
  enum { HELD = 400 };
  void* held[HELD] = {NULL};
  rng_t rng = {(uintptr_t)arg};
  for (int i = 0; i < 20000; i++) {
    size_t at = rng_below(&rng, HELD), size = rng_size(&rng, i % 50 == 0 ? 8 * MIB : 60000);
    if (held[at] != NULL && i % 7 == 0) {
      held[at] = mi_realloc(held[at], size);
    } else {
      mi_free(held[at]);
      held[at] = mi_malloc(size);
    }
    REQUIRE(held[at] != NULL);
    *(char*)held[at] = 1;
    if (i % 2000 == 0) mi_collect(i % 4000 == 0);
  }
  for (size_t i = 0; i < HELD; i += 2) mi_free(held[i]); /* the others stay */
  return NULL;
}

/* Where the library makes memory accessible on demand, its count is that of the kernel. */
static void helper_commit(const char* unused) {
  (void)unused;
  CHECK_EQ(mi_option_get(mi_option_arena_eager_commit), 0);
  size_t most = 0;
  for (uintptr_t round = 1; round <= 3; round++) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
      threads[i] = thread_start(&mixed_run, (void*)(round * 10 + i));
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    if (round == 3) mi_collect(true);
    mi_stats_t s = stats_now();
    size_t writable = writable_in_arenas();
    check_note("%lld bytes committed, %zu writable, %lld purged\n", (long long)s.committed.current,
               writable, (long long)s.purged.total);
    CHECK_LE(writable, (size_t)s.committed.current + OS_PAGE);
    CHECK_GE(writable + OS_PAGE, s.committed.current);
    CHECK_GE(s.committed.current, s.page_committed.current);
    CHECK_GE(s.reserved.current, s.committed.current);
    if (writable > most) most = writable;
  }
  mi_stats_t s = stats_now();
  CHECK_GE(s.committed.peak, most);
  CHECK_GE(s.purged.total, MIB); /* or the run was not mixed */
  CHECK_GE(s.purge_calls.total, 1);
}

static void committed_bytes_are_those_of_the_os(void) {
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  setenv("MIMALLOC_PURGE_DELAY", "1", 1);
  const char* args[] = {"helper_commit", "-", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

/* ---- release and build ---- */

static void release_is_that_of_the_crate(void) {
  static char cargo[64 * KIB];
  char path[1000];
  const char* file = strrchr(__FILE__, '/');
  REQUIRE(file != NULL);
  snprintf(path, sizeof path, "%.*s/../../Cargo.toml", (int)(file - __FILE__), __FILE__);
  read_file(path, cargo, sizeof cargo);
  char* version = strstr(cargo, "\nversion = \"");
  REQUIRE(version != NULL);
  version += strlen("\nversion = \"");
  *strchr(version, '"') = 0;
  CHECK_TEXT(mi_release_text(), version);
  char number[32];
  int release = mi_release(), interface = mi_version();
  snprintf(number, sizeof number, "%d.%d.%d+%d.%d.%d", release / 10000, release / 100 % 100,
           release % 100, interface / 100, interface / 10 % 10, interface % 10);
  CHECK_TEXT(version, number);
  CHECK(!mi_is_redirected());
  mi_thread_set_in_threadpool();
}

/* ---- the end of the process ---- */

static char messages[64 * KIB];

static size_t reports_of(const char* helper, const char* how) {
  const char* args[] = {helper, how, NULL};
  int status = check_capture_self(args, true, messages, sizeof messages);
  if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) check_note("%s\n", messages);
  size_t count = 0;
  for (const char* at = messages; (at = strstr(at, "\nmetadata:")) != NULL; at++) count++;
  return count;
}

static void helper_done(const char* how) {
  if (strcmp(how, "never") == 0) return;
  mi_process_done();
  mi_process_done();
  if (strcmp(how, "and_on") != 0) return;
  blocks_plan(&blocks); /* allocation goes on */
  blocks_allocate(&blocks);
  blocks_free(&blocks);
  thread_join(thread_start(&owner_run, &blocks));
}

static void process_is_done_once(void) {
  setenv("MIMALLOC_SHOW_STATS", "1", 1);
  CHECK_EQ(reports_of("helper_done", "never"), 1);
  CHECK_EQ(reports_of("helper_done", "twice"), 1);
  CHECK_EQ(reports_of("helper_done", "and_on"), 1);
  setenv("MIMALLOC_DESTROY_ON_EXIT", "1", 1);
  CHECK_EQ(reports_of("helper_done", "never"), 1);
  CHECK_EQ(reports_of("helper_done", "and_on"), 1);
  setenv("MIMALLOC_DESTROY_ON_EXIT", "2", 1); /* left to the program */
  CHECK_EQ(reports_of("helper_done", "never"), 0);
  CHECK_EQ(reports_of("helper_done", "twice"), 1);
  setenv("MIMALLOC_SHOW_STATS", "0", 1);
  CHECK_EQ(reports_of("helper_done", "twice"), 0);
}

/* A destructor of another library that runs after ours: it still has blocks, allocates more, and
 * other threads still run. */
static bool later_is_wanted;

static bool is_debug;

static size_t rss_at_exit;

static void* allocate_for_ever(void* arg) {
  (void)arg;
  for (size_t i = 0;; i++) mi_free(mi_malloc(i * 997 % 2000));
  return NULL;
}

__attribute__((destructor(102))) static void later_destructor(void) {
  if (!later_is_wanted) return;
  long destroy = mi_option_get(mi_option_destroy_on_exit);
  /* Debug builds collect at the end in any case. */
  bool expected = is_debug ? destroy <= 1 : destroy == 1;
  bool released = rss_bytes() + 48 * MIB <= rss_at_exit;
  /* From level 2 on large blocks are given back when they are freed. */
  if (RSS_IS_MEANINGFUL && MI_TEST_SECURE < 2) CHECK_EQ(released, expected);
  for (size_t k = 0; k < blocks.kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++)
      CHECK(pattern_holds(blocks.block[k][i], 8, (unsigned)(k + i)));
  blocks_free(&blocks);
  blocks_allocate(&blocks);
  mi_stats_t s = stats_now();
  CHECK_GE(s.malloc_normal.current, 64 * KIB * BLOCKS_PER_KIND);
  mi_collect(true);
  blocks_free(&blocks);
  if (check_end() != 0) _exit(1);
}

static void helper_later(const char* how) {
  later_is_wanted = true;
  mi_options_print_out(&on_text, &page);
  is_debug = strstr(page.text, "debug level 0,") == NULL;
  mi_option_set(mi_option_purge_delay, 100000); /* nothing is released before the end */
  blocks_plan(&blocks);
  if (strcmp(how, "ended") == 0)
    thread_join(thread_start(&owner_run, &blocks));
  else
    blocks_allocate(&blocks);
  for (size_t k = 0; k < blocks.kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++)
      pattern_fill(blocks.block[k][i], 8, (unsigned)(k + i));
  if (strcmp(how, "threads") == 0)
    for (int i = 0; i < 3; i++) (void)thread_start(&allocate_for_ever, NULL);
  void* big = mi_malloc(64 * MIB);
  REQUIRE(big != NULL);
  touch_pages(big, 64 * MIB);
  mi_free(big);
  if (strcmp(how, "done") == 0) mi_thread_done();
  rss_at_exit = rss_bytes();
}

static void later_destructors_may_allocate_after_the_release_of_all_memory(void) {
  static const char* const hows[] = {"plain", "ended", "threads", "done"};
  static const char* const values[] = {"0", "1", "2"};
  for (size_t v = 0; v < COUNT_OF(values); v++) {
    setenv("MIMALLOC_DESTROY_ON_EXIT", values[v], 1);
    for (size_t i = 0; i < COUNT_OF(hows); i++) {
      const char* args[] = {"helper_later", hows[i], NULL};
      check_wait_ok(check_start_self(args, -1, -1), hows[i]);
    }
  }
}

static const helper_t helpers[] = {CASE(helper_commit), CASE(helper_done), CASE(helper_later)};

static const check_case_t cases[] = {
    CASE(resident_memory_is_that_of_the_os),
    CASE(committed_bytes_are_those_of_the_os),
    CASE(release_is_that_of_the_crate),
    CASE(process_is_done_once),
    CASE(later_destructors_may_allocate_after_the_release_of_all_memory),
};

int main(int argc, char** argv) {
  if (IS_HELPER(argc, argv)) return HELPER_RUN(helpers, argv);
  return CHECK_MAIN(argc, argv, cases);
}
