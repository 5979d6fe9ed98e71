/* options.c - options from the environment and through the API, and the messages they
 * control. Each row of the table is a process of its own, for the environment is read once.
 */
#include "probe.h"
#include <limits.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif
#define LARGEST_KIB ((long)((size_t)65536 * (((size_t)1 << 32) - 2) / 1024))

typedef struct row_s {
  const char* variable; /* NULL: nothing set */
  const char* value;
  mi_option_t option;
  long expected;
} row_t;

static const row_t defaults[] = {
    {NULL, NULL, mi_option_show_errors, MI_TEST_DEBUG_FULL},
    {NULL, NULL, mi_option_show_stats, 0},
    {NULL, NULL, mi_option_verbose, 0},
    {NULL, NULL, mi_option_eager_commit, 1},
    {NULL, NULL, mi_option_arena_eager_commit, 2},
    {NULL, NULL, mi_option_purge_decommits, 1},
    {NULL, NULL, mi_option_allow_large_os_pages, 0},
    {NULL, NULL, mi_option_reserve_huge_os_pages, 0},
    {NULL, NULL, mi_option_reserve_huge_os_pages_at, -1},
    {NULL, NULL, mi_option_reserve_os_memory, 0},
    {NULL, NULL, mi_option_deprecated_segment_cache, 0},
    {NULL, NULL, mi_option_deprecated_page_reset, 0},
    {NULL, NULL, mi_option_abandoned_page_purge, 0},
    {NULL, NULL, mi_option_deprecated_segment_reset, 0},
    {NULL, NULL, mi_option_eager_commit_delay, 1},
    {NULL, NULL, mi_option_purge_delay, 10},
    {NULL, NULL, mi_option_use_numa_nodes, 0},
    {NULL, NULL, mi_option_disallow_os_alloc, 0},
    {NULL, NULL, mi_option_os_tag, 100},
    {NULL, NULL, mi_option_max_errors, 32},
    {NULL, NULL, mi_option_max_warnings, 32},
    {NULL, NULL, mi_option_max_segment_reclaim, 10},
    {NULL, NULL, mi_option_destroy_on_exit, 0},
    {NULL, NULL, mi_option_arena_reserve, 1048576},
    {NULL, NULL, mi_option_arena_purge_mult, 10},
    {NULL, NULL, mi_option_purge_extend_delay, 1},
    {NULL, NULL, mi_option_abandoned_reclaim_on_free, 1},
    {NULL, NULL, mi_option_disallow_arena_alloc, 0},
    {NULL, NULL, mi_option_retry_on_oom, 400},
};

/* D5.42 and the rules of options.tsv; booleans are strict, as from 2.4.1 on. */
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
    {"MIMALLOC_ABANDONED_PAGE_PURGE", "5", mi_option_abandoned_page_purge, 5},
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
    {"MIMALLOC_PURGE_DELAYS", "3", mi_option_purge_delay, 10},
    {"MIMALLOC_PURGE_DELA", "3", mi_option_purge_delay, 10},
    {"XMIMALLOC_PURGE_DELAY", "3", mi_option_purge_delay, 10},
    {"MIMALLOC_RESERVE_HUGE_OS_PAGES_AT", "2", mi_option_reserve_huge_os_pages_at, 2},
    {"MIMALLOC_RESERVE_HUGE_OS_PAGES_AT", "2", mi_option_reserve_huge_os_pages, 0},
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
};

/* Argument: the number of an option. Prints its value. */
static void helper_print_option(const char* number) {
  check_note("%ld", mi_option_get((mi_option_t)atoi(number)));
}

static void check_row(const row_t* row) {
  if (row->variable != NULL) setenv(row->variable, row->value, 1);
  char number[16];
  snprintf(number, sizeof number, "%d", (int)row->option);
  const char* args[] = {"helper_print_option", number, NULL};
  char text[256];
  int status = check_capture_self(args, false, text, sizeof text);
  if (row->variable != NULL) unsetenv(row->variable);
  bool ok = CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ok = CHECK_EQ(strtol(text, NULL, 10), row->expected) && ok;
  if (!ok) {
    check_note("with %s=\"%s\": option %d is \"%s\", expected %ld\n",
               row->variable != NULL ? row->variable : "nothing",
               row->value != NULL ? row->value : "", (int)row->option, text, row->expected);
  }
}

static void defaults_are_those_of_2_1_7(void) {
  CHECK_EQ(COUNT_OF(defaults), _mi_option_last);
  for (size_t i = 0; i < COUNT_OF(defaults); i++) check_row(&defaults[i]);
}
static void environment_is_parsed_by_the_rules(void) {
  for (size_t i = 0; i < COUNT_OF(parsed); i++) check_row(&parsed[i]);
}
static void current_name_wins_over_the_legacy_name(void) {
  setenv("MIMALLOC_RESET_DELAY", "33", 1);
  row_t row = {"MIMALLOC_PURGE_DELAY", "44", mi_option_purge_delay, 44};
  check_row(&row);
}
/* D5.42, D8.64: a number that no long holds is either refused or the largest one. */
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
  mi_option_set(mi_option_purge_delay, LONG_MIN);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), LONG_MIN);
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

static void default_applies_only_while_nobody_has_set_the_option(void) {
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
  for (size_t i = 0; i < COUNT_OF(defaults); i++) {
    CHECK_EQ(mi_option_get(defaults[i].option), defaults[i].expected);
  }
}

/* ---- messages ---------------------------------------------------------------------- */

static void helper_fail_ten_times(const char* unused) {
  (void)unused;
  for (int i = 0; i < 10; i++) CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
}
static void helper_do_nothing(const char* unused) {
  (void)unused;
  mi_free(mi_malloc(10));
}

static size_t count_of(const char* text, const char* part) {
  size_t count = 0;
  for (const char* at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) count++;
  return count;
}

static void messages_of(const char* helper, char* text, size_t size) {
  const char* args[] = {helper, "-", NULL};
  int status = check_capture_self(args, true, text, size);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static char messages[256 * 1024];

static void errors_are_silent_by_default(void) {
  if (MI_TEST_DEBUG_FULL) setenv("MIMALLOC_SHOW_ERRORS", "0", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_TEXT(messages, "");
}
static void show_errors_prints_them(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_GE(count_of(messages, "mimalloc: error: "), 10);
  CHECK_EQ(count_of(messages, "thread 0x"), 0); /* only for other threads than the first */
  size_t length = strlen(messages);
  CHECK(length > 0 && messages[length - 1] == '\n');
}
static void max_errors_limits_them(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_MAX_ERRORS", "2", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "mimalloc: error: "), 2);
  setenv("MIMALLOC_MAX_ERRORS", "-1", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_GE(count_of(messages, "mimalloc: error: "), 10);
}
static void invalid_value_gives_one_warning(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_PURGE_DELAY", "junk", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "mimalloc: warning: "), 1);
  if (strstr(messages, "purge_delay") == NULL && strstr(messages, "PURGE_DELAY") == NULL) {
    check_fail("the warning does not name the option: %s\n", messages);
  }
  setenv("MIMALLOC_SHOW_ERRORS", "0", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_TEXT(messages, "");
}
static void legacy_name_gives_a_warning(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_RESET_DELAY", "12", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "mimalloc: warning: "), 1);
}
static void invalid_verbose_gives_only_its_warning(void) {
  setenv("MIMALLOC_VERBOSE", "junk", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "mimalloc: warning: "), 1);
  CHECK_EQ(count_of(messages, "\n"), 1);
}
static void verbose_lists_the_options(void) {
  setenv("MIMALLOC_VERBOSE", "1", 1);
  setenv("MIMALLOC_PURGE_DELAY", "123", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_GE(count_of(messages, "mimalloc: "), 29);
  CHECK(strstr(messages, "purge_delay") != NULL);
  CHECK(strstr(messages, "123") != NULL);
}
static void show_stats_prints_statistics_at_exit(void) {
  setenv("MIMALLOC_SHOW_STATS", "1", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "metadata:"), 1);
}

static size_t replayed;
static void on_output(const char* message, void* arg) {
  (void)arg;
  replayed += strlen(message);
}
static void helper_register_output(const char* unused) {
  (void)unused;
  mi_register_output(&on_output, NULL);
  CHECK_GE(replayed, 100); /* the list of options was printed before */
  CHECK_LE(replayed, 32 * KIB);
  size_t before = replayed;
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
  CHECK_GE(replayed, before + 10);
  mi_register_output(NULL, NULL);
}
static void new_sink_receives_what_was_printed_before(void) {
  setenv("MIMALLOC_VERBOSE", "1", 1);
  const char* args[] = {"helper_register_output", "-", NULL};
  int quiet = open("/dev/null", O_WRONLY);
  check_wait_ok(check_start_self(args, -1, quiet), args[0]);
  close(quiet);
}

/* ---- an output function that allocates -------------------------------------------------- */

static size_t allocating_calls;
static void on_output_allocate(const char* message, void* arg) {
  (void)message;
  (void)arg;
  allocating_calls++;
  for (size_t size = 10; size <= 10000; size *= 10) {
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    mi_free(p);
  }
}

/* Before the library has begun, so that its first message comes while it begins. */
__attribute__((constructor(101))) static void early_output(void) {
  if (getenv("TEST_EARLY_OUTPUT") == NULL) return;
  mi_register_output(&on_output_allocate, NULL);
  mi_free(mi_malloc(10));
}

static char statistics[64 * KIB];
static void on_statistics(const char* message, void* arg) {
  (void)arg;
  size_t used = strlen(statistics);
  snprintf(statistics + used, sizeof statistics - used, "%s", message);
}
static size_t statistic(const char* name) {
  statistics[0] = 0;
  mi_stats_print_out(&on_statistics, NULL);
  const char* at = strstr(statistics, name);
  REQUIRE(at != NULL);
  at += strlen(name);
  return strtoul(at + strspn(at, " "), NULL, 10);
}

static void helper_output_allocates(const char* unused) {
  (void)unused;
  mi_register_output(NULL, NULL);
  CHECK_GE(allocating_calls, 1);
  CHECK_EQ(statistic("\nthreads:"), 1);
}

/* D1.1: the thread is set up once, also when a message of its set-up leads to an allocation. */
static void output_that_allocates_during_the_first_call_sees_one_thread(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_PURGE_DELAY", "junk", 1);
  setenv("TEST_EARLY_OUTPUT", "1", 1);
  const char* args[] = {"helper_output_allocates", "-", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
  setenv("MIMALLOC_VERBOSE", "1", 1);
  int quiet = open("/dev/null", O_WRONLY);
  check_wait_ok(check_start_self(args, -1, quiet), args[0]);
  close(quiet);
}

static const check_case_t cases[] = {
    CASE(defaults_are_those_of_2_1_7),
    CASE(environment_is_parsed_by_the_rules),
    CASE(current_name_wins_over_the_legacy_name),
    CASE(numbers_beyond_long_do_not_wrap),
    CASE(values_can_be_set_and_read),
    CASE(size_of_kib_options_is_in_bytes),
    CASE(default_applies_only_while_nobody_has_set_the_option),
    CASE(default_does_not_override_the_environment_but_set_does),
    CASE(options_out_of_range_read_as_0_and_ignore_being_set),
    CASE(errors_are_silent_by_default),
    CASE(show_errors_prints_them),
    CASE(max_errors_limits_them),
    CASE(invalid_value_gives_one_warning),
    CASE(legacy_name_gives_a_warning),
    CASE(invalid_verbose_gives_only_its_warning),
    CASE(verbose_lists_the_options),
    CASE(show_stats_prints_statistics_at_exit),
    CASE(new_sink_receives_what_was_printed_before),
    CASE(output_that_allocates_during_the_first_call_sees_one_thread),
};

static const struct {
  const char* name;
  void (*run)(const char*);
} helpers[] = {CASE(helper_print_option),    CASE(helper_default_after_environment),
               CASE(helper_fail_ten_times),  CASE(helper_do_nothing),
               CASE(helper_register_output), CASE(helper_output_allocates)};

int main(int argc, char** argv) {
  if (argc == 3 && strncmp(argv[1], "helper_", 7) == 0) {
    for (size_t i = 0; i < COUNT_OF(helpers); i++) {
      if (strcmp(helpers[i].name, argv[1]) != 0) continue;
      helpers[i].run(argv[2]);
      return check_end();
    }
    return 125;
  }
  return CHECK_MAIN(argc, argv, cases);
}
