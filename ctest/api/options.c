/* options.c - options from the environment and through the API. Their messages: messages.c. Each
 * row of a table runs in a process of its own, because the environment is read once. The default
 * string of a program: options_string.c. */
#include "helpers.h"
#include "messages.h"
#include <limits.h>
#include <sys/prctl.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

#define LARGEST_KIB ((long)((size_t)65536 * (((size_t)1 << 32) - 2) / 1024))

/* ---- what there is ---------------------------------------------------------------- */

enum { CLAMPED = 1, SIZE_IN_KIB = 2, OR_ZERO = 4 };

typedef struct option_s {
  mi_option_t option;
  const char* name;
  int number; /* in the interface: 2.1.7 has 0..28, 2.4.1 adds 29..37 */
  long value; /* by default */
  long min, max;
  int kind;
  const char* sample; /* a value for the environment, not the default */
} option_t;

#define OPTION(name, number, value, min, max, kind, sample)                                        \
  { mi_option_##name, #name, number, value, min, max, kind, sample }

#define MORE LONG_MAX

static const option_t options[] = {
    OPTION(show_errors, 0, MI_TEST_DEBUG_FULL, 0, 1, 0, MI_TEST_DEBUG_FULL ? "0" : "1"),
    OPTION(show_stats, 1, 0, 0, 1, 0, "1"),
    OPTION(verbose, 2, 0, 0, MORE, 0, "3"),
    OPTION(eager_commit, 3, 1, 0, 1, 0, "0"),
    OPTION(arena_eager_commit, 4, 2, 0, 2, 0, "1"),
    OPTION(purge_decommits, 5, 1, 0, 1, 0, "0"),
    OPTION(allow_large_os_pages, 6, 0, 0, 1, 0, "1"),
    OPTION(reserve_huge_os_pages, 7, 0, 0, 131072, CLAMPED, "1"),
    OPTION(reserve_huge_os_pages_at, 8, -1, -1, INT_MAX, 0, "2"),
    OPTION(reserve_os_memory, 9, 0, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "3M"),
    OPTION(deprecated_segment_cache, 10, 0, LONG_MIN, MORE, 0, "7"),
    OPTION(deprecated_page_reset, 11, 0, 0, 1, 0, "1"),
    OPTION(abandoned_page_purge, 12, 0, 0, 1, 0, "1"),
    OPTION(deprecated_segment_reset, 13, 0, LONG_MIN, MORE, 0, "7"),
    OPTION(eager_commit_delay, 14, 1, 0, MORE, 0, "7"),
    OPTION(purge_delay, 15, 10, -1, MORE, CLAMPED, "7"),
    OPTION(use_numa_nodes, 16, 0, 0, INT_MAX, 0, "2"),
    OPTION(disallow_os_alloc, 17, 0, 0, 1, 0, "1"),
    OPTION(os_tag, 18, 100, 100, 255, 0, "101"),
    OPTION(max_errors, 19, 32, -1, MORE, CLAMPED, "7"),
    OPTION(max_warnings, 20, 32, -1, MORE, CLAMPED, "7"),
    OPTION(max_segment_reclaim, 21, 10, 0, 100, CLAMPED, "7"),
    OPTION(destroy_on_exit, 22, 0, 0, MORE, 0, "2"),
    OPTION(arena_reserve, 23, 1048576, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "7M"),
    OPTION(arena_purge_mult, 24, 10, 0, MORE, 0, "7"),
    OPTION(purge_extend_delay, 25, 1, 0, MORE, 0, "7"),
    OPTION(abandoned_reclaim_on_free, 26, 1, 0, 1, 0, "0"),
    OPTION(disallow_arena_alloc, 27, 0, 0, 1, 0, "1"),
    OPTION(retry_on_oom, 28, 400, 0, 2000, CLAMPED, "7"),
    OPTION(visit_abandoned, 29, 0, 0, 1, 0, "1"),
    OPTION(guarded_min, 30, 0, 0, MORE, 0, "7"),
    OPTION(guarded_max, 31, 1073741824, 0, MORE, 0, "7"),
    OPTION(guarded_precise, 32, 0, 0, 1, 0, "1"),
    OPTION(guarded_sample_rate, 33, 0, 0, MORE, 0, "7"),
    OPTION(guarded_sample_seed, 34, 0, LONG_MIN, MORE, 0, "7"),
    OPTION(target_segments_per_thread, 35, 0, 0, 1024, CLAMPED, "7"),
    OPTION(generic_collect, 36, 10000, 1, 1000000, CLAMPED, "7"),
    OPTION(allow_thp, 37, 1, 0, 2, 0, "2"),
    OPTION(page_reclaim_on_free, 38, 0, -1, 1, 0, "-1"),
    OPTION(page_full_retain, 39, 2, -1, 32, CLAMPED, "7"),
    OPTION(page_max_candidates, 40, 4, 0, MORE, 0, "7"),
    OPTION(max_vabits, 41, 0, 32, 64, OR_ZERO, "47"),
    OPTION(pagemap_commit, 42, 0, 0, 1, 0, "1"),
    OPTION(page_commit_on_demand, 43, 0, 0, 2, 0, "2"),
    OPTION(page_max_reclaim, 44, -1, -1, MORE, CLAMPED, "7"),
    OPTION(page_cross_thread_max_reclaim, 45, 32, -1, MORE, CLAMPED, "7"),
    OPTION(minimal_purge_size, 46, 0, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "7M"),
    OPTION(arena_max_object_size, 47, 2097152, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "7M"),
    OPTION(arena_is_numa_local, 48, 0, 0, 1, 0, "1"),

    OPTION(limit_hard, 49, 0, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "7M"),
    OPTION(limit_soft, 50, 0, 0, LARGEST_KIB, CLAMPED | SIZE_IN_KIB, "6M"),
    OPTION(limit_container, 51, 0, 0, 100, 0, "90"),
};

static void numbers_are_those_of_the_interface(void) {
  CHECK_EQ(COUNT_OF(options), _mi_option_last);
  CHECK_EQ(_mi_option_last, 52);
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    CHECK_EQ(options[i].number, i);
    if (!CHECK_EQ(options[i].option, options[i].number)) check_note("%s\n", options[i].name);
  }
  CHECK_EQ(mi_option_large_os_pages, 6);
  CHECK_EQ(mi_option_eager_region_commit, 4);
  CHECK_EQ(mi_option_reset_decommits, 5);
  CHECK_EQ(mi_option_reset_delay, 15);
  CHECK_EQ(mi_option_abandoned_page_reset, 12);
  CHECK_EQ(mi_option_limit_os_alloc, 17);
  CHECK_EQ(mi_option_deprecated_eager_commit, 3);
  CHECK_EQ(mi_option_deprecated_abandoned_page_purge, 12);
  CHECK_EQ(mi_option_deprecated_eager_commit_delay, 14);
  CHECK_EQ(mi_option_deprecated_max_segment_reclaim, 21);
  CHECK_EQ(mi_option_deprecated_purge_extend_delay, 25);
}

/* The valid values as docs/guide.md writes them. */
static void print_range(const option_t* row, char* text, size_t size) {
  const char* zero = (row->kind & OR_ZERO) != 0 ? "0, " : "";
  const char* clamped = (row->kind & CLAMPED) != 0 ? ", clamped" : "";
  if ((row->kind & SIZE_IN_KIB) != 0)
    snprintf(text, size, "a size");
  else if (row->min == LONG_MIN)
    snprintf(text, size, "any");
  else if (row->max == MORE || row->max == INT_MAX)
    snprintf(text, size, "%ld..%s", row->min, clamped);
  else
    snprintf(text, size, "%s%ld..%ld%s", zero, row->min, row->max, clamped);
}

/* One line for each: number, name, value, valid values. ctest/docs/options.cmake reads it. */
static void helper_list(const char* unused) {
  (void)unused;
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    char range[64];
    print_range(&options[i], range, sizeof range);
    check_note("%zu %s %ld %s\n", i, options[i].name, mi_option_get(options[i].option), range);
  }
}

static void defaults_are_those_of_the_interface(void) {
  static char list[16 * KIB];
  const char* args[] = {"helper_list", "-", NULL};
  int status = check_capture_self(args, false, list, sizeof list);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const char* at = list;
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    unsigned number = 0;
    char name[64] = "";
    long value = 0;
    if (!CHECK_EQ(sscanf(at, "%u %63s %ld", &number, name, &value), 3)) return;
    CHECK_EQ(number, i);
    if (!CHECK_EQ(value, options[i].value)) check_note("%s\n", name);
    at = strchr(at, '\n');
    REQUIRE(at != NULL);
    at++;
  }
}

/* ---- the environment ------------------------------------------------------------------ */

typedef struct row_s {
  const char* variable;
  const char* value;
  mi_option_t option;
  long expected;
} row_t;

/* The rules of docs/guide.md; booleans are strict, as from 2.4.1 on. */
static const row_t parsed[] = {
    {"MIMALLOC_SHOW_STATS", "1", mi_option_show_stats, 1},
    {"MIMALLOC_SHOW_STATS", "0", mi_option_show_stats, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "0", mi_option_purge_decommits, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "NO", mi_option_purge_decommits, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "no", mi_option_purge_decommits, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "off", mi_option_purge_decommits, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "OFF", mi_option_purge_decommits, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "False", mi_option_purge_decommits, 0},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "on", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "TRUE", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "yes", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "YeS", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "5", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "-1", mi_option_purge_decommits, 1},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "T", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "RUE", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "E", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "ON;", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_ABANDONED_PAGE_PURGE", ";", mi_option_abandoned_page_purge, 0},
    {"MIMALLOC_PURGE_DECOMMITS", "F", mi_option_purge_decommits, 1},
    {"MIMALLOC_PURGE_DECOMMITS", "A", mi_option_purge_decommits, 1},
    {"MIMALLOC_PURGE_DELAY", "25", mi_option_purge_delay, 25},
    {"MIMALLOC_PURGE_DELAY", "0", mi_option_purge_delay, 0},
    {"MIMALLOC_PURGE_DELAY", "1", mi_option_purge_delay, 1},
    {"MIMALLOC_PURGE_DELAY", "-1", mi_option_purge_delay, -1},
    {"MIMALLOC_PURGE_DELAY", "+7", mi_option_purge_delay, 7},
    {"MIMALLOC_PURGE_DELAY", "  7", mi_option_purge_delay, 7},
    {"MIMALLOC_PURGE_DELAY", "007", mi_option_purge_delay, 7},
    {"MIMALLOC_PURGE_DELAY", "2147483647", mi_option_purge_delay, 2147483647},
    {"MIMALLOC_PURGE_DELAY", "7x", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "7 ", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "0x10", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "1e9", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "ten", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "-", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "1.5", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELAY", "4K", mi_option_purge_delay, 10},
    {"mimalloc_purge_delay", "26", mi_option_purge_delay, 26},
    {"MiMalloc_Purge_Delay", "27", mi_option_purge_delay, 27},
    {"MIMALLOC_RESET_DELAY", "33", mi_option_purge_delay, 33},
    {"MIMALLOC_RESET_DECOMMITS", "0", mi_option_purge_decommits, 0},
    {"MIMALLOC_LARGE_OS_PAGES", "0", mi_option_allow_large_os_pages, 0},
    {"MIMALLOC_EAGER_REGION_COMMIT", "0", mi_option_arena_eager_commit, 0},
    {"MIMALLOC_ABANDONED_PAGE_RESET", "1", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_DECOMMIT_EXTEND_DELAY", "9", mi_option_purge_extend_delay, 9},
    {"MIMALLOC_LIMIT_OS_ALLOC", "0", mi_option_disallow_os_alloc, 0},
    {"MIMALLOC_DEPRECATED_EAGER_COMMIT", "0", mi_option_eager_commit, 0},
    {"MIMALLOC_DEPRECATED_ABANDONED_PAGE_PURGE", "1", mi_option_abandoned_page_purge, 1},
    {"MIMALLOC_DEPRECATED_EAGER_COMMIT_DELAY", "5", mi_option_eager_commit_delay, 5},
    {"MIMALLOC_DEPRECATED_MAX_SEGMENT_RECLAIM", "5", mi_option_max_segment_reclaim, 5},
    {"MIMALLOC_DEPRECATED_PURGE_EXTEND_DELAY", "5", mi_option_purge_extend_delay, 5},
    {"MIMALLOC_ABANDONED_RECLAIM_ON_FREE", "0", mi_option_abandoned_reclaim_on_free, 0},
    {"MIMALLOC_ABANDONED_RECLAIM_ON_FREE", "1", mi_option_page_reclaim_on_free, 0},
    {"MIMALLOC_PURGE_DELAYS", "3", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELA", "3", mi_option_purge_delay, 10},
    {"XMIMALLOC_PURGE_DELAY", "3", mi_option_purge_delay, 10},
    {"MIMALLOC_RESERVE_HUGE_OS_PAGES_AT", "2", mi_option_reserve_huge_os_pages_at, 2},
    {"MIMALLOC_RESERVE_HUGE_OS_PAGES_AT", "2", mi_option_reserve_huge_os_pages, 0},
    {"MIMALLOC_EAGER_COMMIT_DELAY", "7", mi_option_eager_commit, 1},
    /* out of range: ignored, or clamped where the interface says so */
    {"MIMALLOC_PURGE_DELAY", "-7", mi_option_purge_delay, -1},
    {"MIMALLOC_ARENA_EAGER_COMMIT", "3", mi_option_arena_eager_commit, 2},
    {"MIMALLOC_ARENA_EAGER_COMMIT", "-1", mi_option_arena_eager_commit, 2},
    {"MIMALLOC_OS_TAG", "99", mi_option_os_tag, 100},
    {"MIMALLOC_OS_TAG", "255", mi_option_os_tag, 255},
    {"MIMALLOC_OS_TAG", "256", mi_option_os_tag, 100},
    {"MIMALLOC_OS_TAG", "on", mi_option_os_tag, 100},
    {"MIMALLOC_MAX_VABITS", "0", mi_option_max_vabits, 0},
    {"MIMALLOC_MAX_VABITS", "31", mi_option_max_vabits, 0},
    {"MIMALLOC_MAX_VABITS", "32", mi_option_max_vabits, 32},
    {"MIMALLOC_MAX_VABITS", "64", mi_option_max_vabits, 64},
    {"MIMALLOC_MAX_VABITS", "65", mi_option_max_vabits, 0},
    {"MIMALLOC_MAX_SEGMENT_RECLAIM", "101", mi_option_max_segment_reclaim, 100},
    {"MIMALLOC_MAX_SEGMENT_RECLAIM", "-1", mi_option_max_segment_reclaim, 0},
    {"MIMALLOC_RETRY_ON_OOM", "100000", mi_option_retry_on_oom, 2000},
    {"MIMALLOC_GENERIC_COLLECT", "0", mi_option_generic_collect, 1},
    {"MIMALLOC_GENERIC_COLLECT", "-99999999999999999999", mi_option_generic_collect, 1},
    {"MIMALLOC_PAGE_RECLAIM_ON_FREE", "-2", mi_option_page_reclaim_on_free, 0},
    {"MIMALLOC_ARENA_PURGE_MULT", "-1", mi_option_arena_purge_mult, 10},
    {"MIMALLOC_USE_NUMA_NODES", "-1", mi_option_use_numa_nodes, 0},
    {"MIMALLOC_USE_NUMA_NODES", "99999999999", mi_option_use_numa_nodes, 0},
    /* KiB-valued */
    {"MIMALLOC_ARENA_RESERVE", "512m", mi_option_arena_reserve, 524288},
    {"MIMALLOC_ARENA_RESERVE", "512M", mi_option_arena_reserve, 524288},
    {"MIMALLOC_ARENA_RESERVE", "2GiB", mi_option_arena_reserve, 2097152},
    {"MIMALLOC_ARENA_RESERVE", "8GiB", mi_option_arena_reserve, 8388608},
    {"MIMALLOC_ARENA_RESERVE", "1Gb", mi_option_arena_reserve, 1048576},
    {"MIMALLOC_ARENA_RESERVE", "1t", mi_option_arena_reserve, 1073741824},
    {"MIMALLOC_ARENA_RESERVE", "64k", mi_option_arena_reserve, 64},
    {"MIMALLOC_ARENA_RESERVE", "64KiB", mi_option_arena_reserve, 64},
    {"MIMALLOC_ARENA_RESERVE", "65536", mi_option_arena_reserve, 64},
    {"MIMALLOC_ARENA_RESERVE", "4096B", mi_option_arena_reserve, 4},
    {"MIMALLOC_ARENA_RESERVE", "4097", mi_option_arena_reserve, 5},
    {"MIMALLOC_ARENA_RESERVE", "1", mi_option_arena_reserve, 1},
    {"MIMALLOC_ARENA_RESERVE", "0", mi_option_arena_reserve, 0},
    {"MIMALLOC_ARENA_RESERVE", "-5", mi_option_arena_reserve, 0},
    {"MIMALLOC_ARENA_RESERVE", "-1", mi_option_arena_reserve, 0},
    {"MIMALLOC_ARENA_RESERVE", "1e9", mi_option_arena_reserve, 1048576},
    {"MIMALLOC_ARENA_RESERVE", "12Q", mi_option_arena_reserve, 1048576},
    {"MIMALLOC_ARENA_RESERVE", "12MM", mi_option_arena_reserve, 1048576},
    {"MIMALLOC_ARENA_RESERVE", "12MiBx", mi_option_arena_reserve, 1048576},
    {"MIMALLOC_ARENA_RESERVE", "9999999T", mi_option_arena_reserve, LARGEST_KIB},
    {"MIMALLOC_ARENA_RESERVE", "9223372036854775807", mi_option_arena_reserve, LARGEST_KIB},
    {"MIMALLOC_ARENA_RESERVE", "9223372036854775807T", mi_option_arena_reserve, LARGEST_KIB},
    {"MIMALLOC_RESERVE_OS_MEMORY", "64k", mi_option_reserve_os_memory, 64},
    {"MIMALLOC_MINIMAL_PURGE_SIZE", "2MiB", mi_option_minimal_purge_size, 2048},
    {"MIMALLOC_ARENA_MAX_OBJECT_SIZE", "1T", mi_option_arena_max_object_size, 1073741824},
    {"MIMALLOC_ARENA_MAX_OBJECT_SIZE", "-1", mi_option_arena_max_object_size, 0},
    {"MIMALLOC_GUARDED_MAX", "4K", mi_option_guarded_max, 1073741824}, /* counts bytes */
};

/* Argument: the number of an option. Prints its value. */
static void helper_print_option(const char* number) {
  check_note("%ld", mi_option_get((mi_option_t)atoi(number)));
}

static void check_row(const row_t* row) {
  setenv(row->variable, row->value, 1);
  char number[16];
  snprintf(number, sizeof number, "%d", (int)row->option);
  const char* args[] = {"helper_print_option", number, NULL};
  char text[256];
  /* Some options make the child print; other cases check that. */
  int saved = dup(STDERR_FILENO);
  int quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(saved >= 0 && quiet >= 0);
  dup2(quiet, STDERR_FILENO);
  int status = check_capture_self(args, false, text, sizeof text);
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(quiet);
  unsetenv(row->variable);
  bool ok = CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ok = CHECK_EQ(strtol(text, NULL, 10), row->expected) && ok;
  if (!ok) {
    check_note("with %s=\"%s\": option %d is \"%s\", expected %ld\n", row->variable, row->value,
               (int)row->option, text, row->expected);
  }
}

/* A sample as parsed in the environment; the sizes among them are in MiB. */
static long sample_value(const option_t* row) {
  return strtol(row->sample, NULL, 10) * ((row->kind & SIZE_IN_KIB) != 0 ? 1024 : 1);
}

static void each_option_is_read_by_its_name(void) {
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    char variable[64] = "MIMALLOC_";
    size_t n = strlen(variable);
    for (const char* c = options[i].name; *c != 0; c++)
      variable[n++] = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    variable[n] = 0;
    long expected = sample_value(&options[i]);
    REQUIRE(expected != options[i].value);
    row_t row = {variable, options[i].sample, options[i].option, expected};
    check_row(&row);
  }
}

static void environment_is_parsed_by_the_rules(void) {
  for (size_t i = 0; i < COUNT_OF(parsed); i++) check_row(&parsed[i]);
}

static void current_name_wins_over_the_legacy_name(void) {
  setenv("MIMALLOC_RESET_DELAY", "33", 1);
  row_t row = {"MIMALLOC_PURGE_DELAY", "44", mi_option_purge_delay, 44};
  check_row(&row);
}

/* The current name is set, so the legacy name is not read. */
static void invalid_current_name_does_not_make_way_for_the_legacy_name(void) {
  setenv("MIMALLOC_RESET_DELAY", "33", 1);
  row_t row = {"MIMALLOC_PURGE_DELAY", "junk", mi_option_purge_delay, 10};
  check_row(&row);
}

/* A number that does not fit into a long is refused, or becomes the largest one. */
static void numbers_beyond_long_do_not_wrap(void) {
  setenv("MIMALLOC_PURGE_DELAY", "99999999999999999999", 1);
  char number[16];
  snprintf(number, sizeof number, "%d", (int)mi_option_purge_delay);
  const char* args[] = {"helper_print_option", number, NULL};
  char text[256];
  check_capture_self(args, false, text, sizeof text);
  long value = strtol(text, NULL, 10);
  CHECK(value == 10 || value == LONG_MAX);
}

/* ---- API ------------------------------------------------------------------------ */

static void values_can_be_set_and_read(void) {
  mi_option_set(mi_option_purge_delay, 55);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 55);
  CHECK(mi_option_is_enabled(mi_option_purge_delay));
  CHECK_EQ(mi_option_get_clamp(mi_option_purge_delay, 0, 100), 55);
  CHECK_EQ(mi_option_get_clamp(mi_option_purge_delay, 60, 100), 60);
  CHECK_EQ(mi_option_get_clamp(mi_option_purge_delay, 0, 50), 50);
  mi_option_disable(mi_option_purge_delay);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 0);
  CHECK(!mi_option_is_enabled(mi_option_purge_delay));
  mi_option_enable(mi_option_purge_delay);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 1);
  mi_option_set_enabled(mi_option_show_stats, true);
  CHECK_EQ(mi_option_get(mi_option_show_stats), 1);
  mi_option_set_enabled(mi_option_show_stats, false);
  CHECK_EQ(mi_option_get(mi_option_show_stats), 0);
  mi_option_set(mi_option_purge_delay, LONG_MIN); /* all negative delays mean the same */
  CHECK_EQ(mi_option_get(mi_option_purge_delay), -1);
  mi_option_set(mi_option_purge_delay, LONG_MAX);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), LONG_MAX);
}

static void size_of_kib_options_is_in_bytes(void) {
  CHECK_EQ(mi_option_get_size(mi_option_arena_reserve), GIB);
  mi_option_set(mi_option_arena_reserve, 64);
  CHECK_EQ(mi_option_get_size(mi_option_arena_reserve), 64 * KIB);
  mi_option_set(mi_option_reserve_os_memory, 3);
  CHECK_EQ(mi_option_get_size(mi_option_reserve_os_memory), 3 * KIB);
  mi_option_set(mi_option_arena_reserve, -3);
  CHECK_EQ(mi_option_get_size(mi_option_arena_reserve), 0);
  if (!MI_TEST_DEBUG_FULL) {
    mi_option_set(mi_option_purge_delay, 77);
    CHECK_EQ(mi_option_get_size(mi_option_purge_delay), 77);
  }
  mi_option_set(mi_option_arena_reserve, LONG_MAX); /* does not wrap */
  CHECK(mi_option_get_size(mi_option_arena_reserve) >= (size_t)1 << 47);
}

static void default_applies_only_to_an_option_that_is_not_set(void) {
  mi_option_set_default(mi_option_purge_delay, 61);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 61);
  mi_option_set_default(mi_option_purge_delay, 62);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 62);
  mi_option_set(mi_option_purge_delay, 63);
  mi_option_set_default(mi_option_purge_delay, 64);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 63);
  mi_option_set_enabled_default(mi_option_show_stats, true);
  CHECK_EQ(mi_option_get(mi_option_show_stats), 1);
  mi_option_set_enabled_default(mi_option_show_stats, false);
  CHECK_EQ(mi_option_get(mi_option_show_stats), 0);
}

static void helper_default_after_environment(const char* unused) {
  (void)unused;
  mi_option_set_default(mi_option_purge_delay, 71);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 70);
  mi_option_set(mi_option_purge_delay, 72);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 72);
}

static void default_does_not_override_the_environment_but_set_does(void) {
  setenv("MIMALLOC_PURGE_DELAY", "70", 1);
  const char* args[] = {"helper_default_after_environment", "-", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

static void options_out_of_range_read_as_0_and_ignore_being_set(void) {
  const int wrong[] = {-1, (int)_mi_option_last, (int)_mi_option_last + 1, 10000, INT_MAX, INT_MIN};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    mi_option_t option = (mi_option_t)wrong[i];
    CHECK_EQ(mi_option_get(option), 0);
    CHECK_EQ(mi_option_get_size(option), 0);
    CHECK(!mi_option_is_enabled(option));
    mi_option_set(option, 5);
    mi_option_set_default(option, 5);
    mi_option_enable(option);
    mi_option_disable(option);
    mi_option_set_enabled(option, true);
    mi_option_set_enabled_default(option, true);
    CHECK_EQ(mi_option_get(option), 0);
  }
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    CHECK_EQ(mi_option_get(options[i].option), options[i].value);
  }
}

static size_t reports;

static char last_report[1024];

static void on_report(const char* message, void* arg) {
  (void)arg;
  if (strncmp(message, "mimalloc: warning: ", 19) != 0) return;
  reports++;
  snprintf(last_report, sizeof last_report, "%s", message);
}

/* Asks for `value`, which is out of range on one side, with `valid` on that side. */
static void check_out_of_range(const option_t* row, long value, long valid) {
  bool first = reports == 0;
  mi_option_set(row->option, value);
  mi_option_set(row->option, value);
  mi_option_set_default(row->option, value);
  bool ok;
  if ((row->kind & CLAMPED) != 0) {
    ok = CHECK_EQ(mi_option_get(row->option), valid);
    ok = CHECK_EQ(reports, 0) && ok;
  } else {
    ok = CHECK_EQ(mi_option_get(row->option), row->max); /* the last value that was set */
    ok = CHECK_EQ(reports, 1) && ok;                     /* once for an option */
    if (first) ok = CHECK(strstr(last_report, row->name) != NULL) && ok;
  }
  if (!ok) check_note("%s set to %ld\n", row->name, value);
}

static void program_cannot_set_what_makes_no_sense(void) {
  mi_register_output(&on_report, NULL);
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    const option_t* row = &options[i];
    mi_option_set(row->option, row->min);
    bool ok = CHECK_EQ(mi_option_get(row->option), row->min);
    if ((row->kind & OR_ZERO) != 0) {
      mi_option_set(row->option, 0);
      ok = CHECK_EQ(mi_option_get(row->option), 0) && ok;
    }
    mi_option_set(row->option, row->max);
    ok = CHECK_EQ(mi_option_get(row->option), row->max) && ok;
    if (!ok) check_note("%s\n", row->name);
    mi_option_set(mi_option_verbose, row->option == mi_option_verbose ? row->max : 1);
    reports = 0;
    if (row->min > LONG_MIN) check_out_of_range(row, row->min - 1, row->min);
    if (row->max < LONG_MAX) check_out_of_range(row, row->max + 1, row->max);
    if (row->min == LONG_MIN && row->max == LONG_MAX) CHECK_EQ(reports, 0);
    mi_option_set(row->option, row->value);
  }
  mi_option_set(mi_option_verbose, 0);
  mi_register_output(NULL, NULL);
}

/* As in 2.4.1: the minimum never exceeds the maximum. */
static void guarded_sizes_drag_each_other(void) {
  mi_option_set(mi_option_guarded_max, 1000);
  mi_option_set(mi_option_guarded_min, 500);
  CHECK_EQ(mi_option_get(mi_option_guarded_max), 1000);
  mi_option_set(mi_option_guarded_min, 2000);
  CHECK_EQ(mi_option_get(mi_option_guarded_min), 2000);
  CHECK_EQ(mi_option_get(mi_option_guarded_max), 2000);
  mi_option_set(mi_option_guarded_max, 300);
  CHECK_EQ(mi_option_get(mi_option_guarded_min), 300);
  CHECK_EQ(mi_option_get(mi_option_guarded_max), 300);
}

static void default_of_a_guarded_size_stops_at_the_set_value(void) {
  mi_option_set(mi_option_guarded_max, 1000);
  mi_option_set_default(mi_option_guarded_min, 2000);
  CHECK_EQ(mi_option_get(mi_option_guarded_min), 1000);
  CHECK_EQ(mi_option_get(mi_option_guarded_max), 1000);
}

static void guarded_sizes_drag_each_other_in_the_environment_too(void) {
  row_t row = {"MIMALLOC_GUARDED_MIN", "2000000000", mi_option_guarded_max, 2000000000};
  check_row(&row);
  setenv("MIMALLOC_GUARDED_MAX", "500", 1);
  row.expected = 500;
  check_row(&row);
  row.option = mi_option_guarded_min;
  check_row(&row);
}

/* ---- messages ---------------------------------------------------------------------- */

static void verbose_lists_the_options(void) {
  setenv("MIMALLOC_VERBOSE", "1", 1);
  setenv("MIMALLOC_PURGE_DELAY", "123", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_GE(count_of(messages, "mimalloc: "), COUNT_OF(options));
  CHECK(strstr(messages, "purge_delay") != NULL);
  CHECK(strstr(messages, "123") != NULL);
}

/* ---- the system ------------------------------------------------------------------------------ */

/* True if the mapping of `p` is advised not to use huge pages. */
static bool is_without_huge_pages(const void* p) {
  FILE* maps = fopen("/proc/self/smaps", "r");
  if (maps == NULL) return false;
  char line[512];
  bool here = false, found = false;
  while (fgets(line, sizeof line, maps) != NULL) {
    char* end;
    uintptr_t from = strtoul(line, &end, 16);
    if (*end == '-' && end > line)
      here = from <= (uintptr_t)p && (uintptr_t)p < strtoul(end + 1, NULL, 16);
    else if (here && strncmp(line, "VmFlags:", 8) == 0)
      found = strstr(line, " nh") != NULL;
  }
  fclose(maps);
  return found;
}

static void helper_print_huge_pages(const char* unused) {
  (void)unused;
  void* blocks[] = {mi_malloc(10), mi_malloc(40 * MIB), mi_malloc(600 * MIB)};
  bool none = true;
  for (size_t i = 0; i < COUNT_OF(blocks); i++) none &= is_without_huge_pages(blocks[i]);
  check_note("%d %d", none, prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
}

/* A choice for the process would go on in programs that it starts. */
static void allow_thp_0_keeps_huge_pages_from_our_memory_only(void) {
  if (prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) != 0 ||
      access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK) != 0) {
    check_note("not tried: they are disabled already, or this system cannot tell\n");
    return;
  }
  const char* args[] = {"helper_print_huge_pages", "-", NULL};
  char text[64];
  setenv("MIMALLOC_ALLOW_THP", "0", 1);
  for (int eager = 0; eager < 2; eager++) {
    setenv("MIMALLOC_ARENA_EAGER_COMMIT", eager ? "1" : "0", 1);
    check_capture_self(args, false, text, sizeof text);
    CHECK_TEXT(text, "1 0");
  }
  setenv("MIMALLOC_ALLOW_THP", "2", 1);
  check_capture_self(args, false, text, sizeof text);
  CHECK_TEXT(text, "0 0");
}

static const helper_t helpers[] = {
    CASE(helper_print_option), CASE(helper_default_after_environment), CASE(helper_do_nothing),
    CASE(helper_list),         CASE(helper_print_huge_pages),
};

static const check_case_t cases[] = {
    CASE(numbers_are_those_of_the_interface),
    CASE(defaults_are_those_of_the_interface),
    CASE(each_option_is_read_by_its_name),
    CASE(program_cannot_set_what_makes_no_sense),
    CASE(options_out_of_range_read_as_0_and_ignore_being_set),
    CASE(environment_is_parsed_by_the_rules),
    CASE(current_name_wins_over_the_legacy_name),
    CASE(invalid_current_name_does_not_make_way_for_the_legacy_name),
    CASE(numbers_beyond_long_do_not_wrap),
    CASE(values_can_be_set_and_read),
    CASE(size_of_kib_options_is_in_bytes),
    CASE(default_applies_only_to_an_option_that_is_not_set),
    CASE(default_does_not_override_the_environment_but_set_does),
    CASE(guarded_sizes_drag_each_other),
    CASE(default_of_a_guarded_size_stops_at_the_set_value),
    CASE(guarded_sizes_drag_each_other_in_the_environment_too),
    CASE(verbose_lists_the_options),
    CASE(allow_thp_0_keeps_huge_pages_from_our_memory_only),
};

int main(int argc, char** argv) {
  if (IS_HELPER(argc, argv)) return HELPER_RUN(helpers, argv);
  return CHECK_MAIN(argc, argv, cases);
}
