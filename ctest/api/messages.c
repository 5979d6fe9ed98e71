/* messages.c - the messages of the library: which options control them, what an invalid environment
 * causes, and which function gets them, with which argument and how often. */
#include "helpers.h"
#include "arena_blocks.h"
#include "messages.h"
#include "printed.h"
#include <limits.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- messages ---------------------------------------------------------------------- */

static void helper_fail_ten_times(const char* unused) {
  (void)unused;
  for (int i = 0; i < 10; i++) CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
}

static void errors_are_silent_by_default(void) {
  if (MI_TEST_DEBUG_FULL) setenv("MIMALLOC_SHOW_ERRORS", "0", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_TEXT(messages, "");
}

static void show_errors_prints_them(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  messages_of("helper_fail_ten_times", messages, sizeof messages);
  CHECK_GE(count_of(messages, "mimalloc: error: "), 10);
  CHECK_EQ(count_of(messages, "thread 0x"), 0); /* only in threads other than the first */
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

static void value_out_of_range_gives_one_warning_with_the_range(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_OS_TAG", "7", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "mimalloc: warning: "), 1);
  CHECK_EQ(count_of(messages, "os_tag"), 1);
  CHECK_EQ(count_of(messages, "\"7\""), 1);
  CHECK_EQ(count_of(messages, "valid is 100 to 255\n"), 1);
  unsetenv("MIMALLOC_OS_TAG");
  setenv("MIMALLOC_MAX_VABITS", "31", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "valid is 0 or 32 to 64\n"), 1);
  unsetenv("MIMALLOC_MAX_VABITS");
  setenv("MIMALLOC_ARENA_PURGE_MULT", "-1", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "valid is at least 0\n"), 1);
  unsetenv("MIMALLOC_ARENA_PURGE_MULT");
  setenv("MIMALLOC_MAX_SEGMENT_RECLAIM", "7777", 1); /* clamped */
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_TEXT(messages, "");
}

static void longer_name_is_not_taken_for_a_shorter_one(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOC_PURGE_DELAYS", "junk", 1);
  setenv("MIMALLOC_EAGER_COMMIT_DELAY", "7", 1);
  messages_of("helper_do_nothing", messages, sizeof messages);
  CHECK_EQ(count_of(messages, "invalid value"), 0);
}

/* A name that a user may write, and the nearest option; NULL: no name is similar. */
static const struct {
  const char *written, *meant;
} misspelt[] = {
    {"MIMALLOC_PURGE_DELY", "purge_delay"},
    {"MIMALLOC_PURGE_DEALY", "purge_delay"},
    {"MIMALLOC_PURGEDELAY", "purge_delay"},
    {"MIMALLOC_SHOW_ERROR", "show_errors"},
    {"MIMALLOC_VERBOES", "verbose"},
    {"mimalloc_arena_resrve", "arena_reserve"},
    {"MIMALLOC_RESET_DELAYS", "purge_delay"}, /* of an older version */
    {"MIMALLOC_SHOW_LEAK", "show_leaks"},
    {"MIMALLOC_PAGE_CROSS_THREAD_MAX_RECLAIMS", "page_cross_thread_max_reclaim"},
    {"MIMALLOC_COLOUR", NULL},
    {"MIMALLOC_", NULL},
    {"MIMALLOC_A_NAME_THAT_IS_LONGER_THAN_THAT_OF_ANY_OPTION_THERE_IS", NULL},
};

static void misspelt_variable_is_named_once_with_the_nearest_name(void) {
  for (size_t i = 0; i < COUNT_OF(misspelt); i++) {
    setenv(misspelt[i].written, "1", 1);
    setenv("MIMALLOC_SHOW_ERRORS", "0", 1);
    messages_of("helper_do_nothing", messages, sizeof messages);
    CHECK_TEXT(messages, "");
    setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
    messages_of("helper_do_nothing", messages, sizeof messages);
    char expected[200];
    const char* meant = misspelt[i].meant;
    int n =
        snprintf(expected, sizeof expected,
                 "mimalloc: warning: environment: no such option: \"%.64s\"", misspelt[i].written);
    if (meant != NULL)
      n += snprintf(expected + n, sizeof expected - (size_t)n, "; did you mean %s?", meant);
    snprintf(expected + n, sizeof expected - (size_t)n, "\n");
    CHECK_TEXT(messages, expected);
    unsetenv(misspelt[i].written);
  }
}

static void variables_of_others_are_ignored(void) {
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1);
  setenv("MIMALLOCATOR", "1", 1);
  setenv("MIMIC_PURGE_DELY", "1", 1);
  setenv("MI_PURGE_DELAY", "1", 1);
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

static void new_output_function_gets_earlier_text(void) {
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

/* Runs before the library starts, so that its first message comes during the start. */
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

/* The thread is set up once, also when a message of its set-up leads to an allocation. */
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

static int ended;

/* ---- messages ------------------------------------------------------------------------------- */

static size_t outputs;

static int foreign;

static void output_that_changes_errno(const char* text, void* arg) {
  (void)text, (void)arg;
  outputs++;
  errno = 77;
}

/* Without this a secure build ends the program. */
static void ignore_error(int code, void* arg) { (void)code, (void)arg; }

static void go_on_after_errors(void) { mi_register_error(&ignore_error, NULL); }

/* log-errno-lost */
static void output_function_does_not_change_errno(void) {
  mi_register_output(&output_that_changes_errno, NULL);
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  outputs = 0;
  errno = 4711;
  mi_free(&foreign);
  CHECK_EQ(errno, 4711);
  CHECK_GE(outputs, 1);
}

static size_t depth, deepest;

static void output_that_causes_a_message(const char* text, void* arg) {
  (void)text, (void)arg;
  outputs++;
  if (++depth > deepest) deepest = depth;
  if (depth < 20) mi_free(&foreign);
  depth--;
}

/* log-message-inside-a-message */
static void messages_inside_an_output_function_are_dropped(void) {
  mi_register_output(&output_that_causes_a_message, NULL);
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  outputs = 0;
  mi_free(&foreign);
  CHECK_EQ(deepest, 1);
  CHECK_EQ(outputs, 1);
}

/* log-early-text-goes-on: only the first registered function gets the earlier messages. */
static void second_output_function_gets_no_history(void) {
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  print_start();
  mi_register_output(NULL, NULL);
  int saved = dup(STDERR_FILENO);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(saved >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
  mi_free(&foreign); /* to standard error */
  REQUIRE(dup2(saved, STDERR_FILENO) >= 0);
  print_start();
  CHECK_TEXT(printed, "");
}

static struct {
  size_t wrong, right;
  char first, second; /* the arguments of the registered functions */
} registrations;

static void first_error_function(int code, void* arg) {
  (void)code;
  __atomic_fetch_add(arg == &registrations.first ? &registrations.right : &registrations.wrong, 1,
                     __ATOMIC_RELAXED);
}

static void second_error_function(int code, void* arg) {
  (void)code;
  __atomic_fetch_add(arg == &registrations.second ? &registrations.right : &registrations.wrong, 1,
                     __ATOMIC_RELAXED);
}

static void* register_all_the_time(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
    mi_register_error(&first_error_function, &registrations.first);
    mi_register_error(&second_error_function, &registrations.second);
  }
  return NULL;
}

static void* fail_all_the_time(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) mi_free(&foreign);
  return NULL;
}

static void stop_for_a_while(int signal) {
  (void)signal;
  int saved = errno;
  sleep_ms(1);
  errno = saved;
}

/* callback-odd-sequence-not-seen: a function gets its own argument, also when the registering
 * thread stops in the middle. A signal stops it, often there. */
static void error_function_and_argument_belong_together(void) {
  struct sigaction action = {.sa_handler = &stop_for_a_while, .sa_flags = SA_RESTART};
  allow_os();
  REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
  mi_register_error(&first_error_function, &registrations.first);
  pthread_t writer = thread_start(&register_all_the_time, NULL);
  pthread_t reader = thread_start(&fail_all_the_time, NULL);
  for (size_t i = 0; i < check_scaled(500); i++) {
    sleep_ms(2);
    REQUIRE(pthread_kill(writer, SIGUSR1) == 0);
  }
  __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
  thread_join(writer);
  thread_join(reader);
  CHECK_EQ(registrations.wrong, 0);
  CHECK_GE(registrations.right, 100);
}

static const helper_t helpers[] = {
    CASE(helper_fail_ten_times),
    CASE(helper_do_nothing),
    CASE(helper_register_output),
    CASE(helper_output_allocates),
};

static const check_case_t cases[] = {
    CASE(errors_are_silent_by_default),
    CASE(show_errors_prints_them),
    CASE(max_errors_limits_them),
    CASE(invalid_value_gives_one_warning),
    CASE(value_out_of_range_gives_one_warning_with_the_range),
    CASE(longer_name_is_not_taken_for_a_shorter_one),
    CASE(misspelt_variable_is_named_once_with_the_nearest_name),
    CASE(variables_of_others_are_ignored),
    CASE(legacy_name_gives_a_warning),
    CASE(invalid_verbose_gives_only_its_warning),
    CASE(show_stats_prints_statistics_at_exit),
    CASE(new_output_function_gets_earlier_text),
    CASE(output_that_allocates_during_the_first_call_sees_one_thread),
    CASE(output_function_does_not_change_errno),
    CASE(messages_inside_an_output_function_are_dropped),
    CASE(second_output_function_gets_no_history),
    CASE(error_function_and_argument_belong_together),
};

int main(int argc, char** argv) {
  if (IS_HELPER(argc, argv)) return HELPER_RUN(helpers, argv);
  return CHECK_MAIN(argc, argv, cases);
}
