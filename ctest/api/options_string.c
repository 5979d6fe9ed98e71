/* options_string.c - options from the default string of a program, mi_default_options, and from
 * the build, MI_DEFAULT_<NAME>. Built twice: with a library of its own that was given other
 * defaults, see CMakeLists.txt, and (TEST_SHARED) with the shared library, which has to find the
 * string in the program.
 */
#include "helpers.h"
#include "probe.h"
#include <mimalloc.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#ifndef TEST_SHARED
#define TEST_SHARED 0
#endif
#if TEST_SHARED
#define PURGE_DELAY 10 /* by default */
#else
#define PURGE_DELAY 0 /* as the build has it */
#endif

/* Not const: filled before all other code runs, so that each process has the string that it needs.
 * The library reads it at its first call. */
char mi_default_options[16 * KIB];
static void choose_string(int argc, char** argv, char** environment) {
  (void)argc, (void)argv;
  for (; *environment != NULL; environment++) {
    if (strncmp(*environment, "TEST_STRING=", 12) != 0) continue;
    strncpy(mi_default_options, *environment + 12, sizeof mi_default_options - 1);
  }
}
__attribute__((section(".preinit_array"), used)) static void (*first)(int, char**,
                                                                      char**) = choose_string;

typedef struct row_s {
  const char* string; /* NULL: none */
  const char* variable;
  const char* value;
  mi_option_t option;
  long expected;
} row_t;

/* Argument: the number of an option. Prints its value. */
static void helper_print_option(const char* number) {
  check_note("%ld", mi_option_get((mi_option_t)atoi(number)));
}

static void check_row(const row_t* row) {
  setenv("TEST_STRING", row->string, 1);
  if (row->variable != NULL) setenv(row->variable, row->value, 1);
  char number[16];
  snprintf(number, sizeof number, "%d", (int)row->option);
  const char* args[] = {"helper_print_option", number, NULL};
  char text[256];
  int status = check_capture_self(args, false, text, sizeof text);
  if (row->variable != NULL) unsetenv(row->variable);
  unsetenv("TEST_STRING");
  bool ok = CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ok = CHECK_EQ(strtol(text, NULL, 10), row->expected) && ok;
  if (!ok) {
    check_note("with the string \"%.100s\" and %s=%s: option %d is \"%s\", expected %ld\n",
               row->string, row->variable != NULL ? row->variable : "nothing",
               row->value != NULL ? row->value : "", (int)row->option, text, row->expected);
  }
}

/* ---- defaults of the build --------------------------------------------------------------- */

static const struct {
  mi_option_t option;
  long value;
} built[] = {{mi_option_purge_delay, PURGE_DELAY},
#if !TEST_SHARED
             {mi_option_arena_reserve, 65536},     {mi_option_page_reclaim_on_free, -1},
             {mi_option_max_vabits, 48},           {mi_option_guarded_sample_seed, -7},
#endif
             {mi_option_arena_purge_mult, 10}};

static void defaults_of_the_build_apply(void) {
  for (size_t i = 0; i < COUNT_OF(built); i++) {
    CHECK_EQ(mi_option_get(built[i].option), built[i].value);
  }
}

static void environment_beats_the_default_of_the_build(void) {
  row_t row = {"", "MIMALLOC_PURGE_DELAY", "5", mi_option_purge_delay, 5};
  check_row(&row);
  row.value = "junk"; /* is refused, the default stays */
  row.expected = PURGE_DELAY;
  check_row(&row);
}

/* ---- the string ------------------------------------------------------------------------------ */

#define STRING(text, option, expected)                                                             \
  { text, NULL, NULL, mi_option_##option, expected }

static const row_t strings[] = {
    STRING("purge_delay=5", purge_delay, 5),
    STRING("PURGE_DELAY=5", purge_delay, 5),
    STRING("mimalloc_purge_delay=5", purge_delay, 5),
    STRING("MIMALLOC_Purge_Delay=5", purge_delay, 5),
    STRING("MIMALLOC_MIMALLOC_PURGE_DELAY=5", purge_delay, PURGE_DELAY),
    STRING("reset_delay=5", purge_delay, 5),
    STRING("MIMALLOC_RESET_DELAY=5", purge_delay, 5),
    STRING("deprecated_purge_extend_delay=5", purge_extend_delay, 5),
    STRING("purge_delays=5", purge_delay, PURGE_DELAY),
    STRING("purge_dela=5", purge_delay, PURGE_DELAY),
    STRING("purge_extend_delay=5", purge_delay, PURGE_DELAY),
    STRING("purge_delay=5,purge_delay=6", purge_delay, 6),
    STRING("purge_delay=5,purge_delay=junk", purge_delay, 5),
    STRING("purge_delay", purge_delay, 1),
    STRING("purge_delay=", purge_delay, 1),
    STRING("purge_delay=,os_tag=120", purge_delay, 1),
    STRING("purge_delay=,os_tag=120", os_tag, 120),
    STRING("purge_delay os_tag=120", purge_delay, 1),
    STRING("purge_delay os_tag=120", os_tag, 120),
    STRING(" ;,\t\nos_tag=120;;  purge_delay=5 , ", purge_delay, 5),
    STRING(" ;,\t\nos_tag=120;;  purge_delay=5 , ", os_tag, 120),
    STRING("os_tag=120\rpurge_delay=5", purge_delay, 5),
    STRING("purge_delay = 5", purge_delay, 1), /* no blanks inside an entry */
    STRING("purge_delay=5=6", purge_delay, PURGE_DELAY),
    STRING("=5", purge_delay, PURGE_DELAY),
    STRING("MIMALLOC_=5", purge_delay, PURGE_DELAY),
    STRING("", purge_delay, PURGE_DELAY),
    STRING("purge_decommits=off", purge_decommits, 0),
    STRING("purge_decommits=2", purge_decommits, 1),
    STRING("max_segment_reclaim=7777", max_segment_reclaim, 100),
    STRING("arena_reserve=256MiB", arena_reserve, 262144),
    STRING("arena_reserve=65536", arena_reserve, 64),
    STRING("junk,purge_delay=5", purge_delay, 5),
    STRING("arena_is_numa_local", arena_is_numa_local, 1),
    STRING("guarded_min=2000000000", guarded_max, 2000000000),
    /* 64 characters of a value count */
    STRING("purge_delay=00000000000000000000000000000000000000000000000000000000000000072222",
           purge_delay, 7),
};

static void string_is_parsed_by_the_rules(void) {
  for (size_t i = 0; i < COUNT_OF(strings); i++) check_row(&strings[i]);
}

static void string_may_be_long(void) {
  static char text[16 * KIB];
  size_t used = 0;
  for (int i = 0; i < 500; i++) {
    used += (size_t)snprintf(text + used, sizeof text - used, "use_numa_nodes=%d,", i);
  }
  row_t row = {text, NULL, NULL, mi_option_use_numa_nodes, 499};
  check_row(&row);
}

static void environment_beats_the_string(void) {
  const row_t rows[] = {
      {"purge_delay=91", "MIMALLOC_PURGE_DELAY", "92", mi_option_purge_delay, 92},
      {"purge_delay=91", "MIMALLOC_RESET_DELAY", "93", mi_option_purge_delay, 93},
      {"purge_delay=91", "MIMALLOC_PURGE_DELAY", "junk", mi_option_purge_delay, 91},
      {"purge_delay=91", "MIMALLOC_OS_TAG", "120", mi_option_purge_delay, 91},
      /* one of a pair that limit each other */
      {"guarded_min=500", "MIMALLOC_GUARDED_MAX", "400", mi_option_guarded_min, 400},
  };
  for (size_t i = 0; i < COUNT_OF(rows); i++) check_row(&rows[i]);
}

static void helper_set(const char* before) {
  mi_option_set_default(mi_option_purge_delay, 71);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), strtol(before, NULL, 10));
  mi_option_set(mi_option_purge_delay, 72);
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 72);
}

static void program_beats_the_string_and_its_default_does_not(void) {
  setenv("TEST_STRING", "purge_delay=91", 1);
  const char* args[] = {"helper_set", "91", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

/* A value that was refused leaves the option unset. */
static void default_applies_where_the_string_makes_no_sense(void) {
  setenv("TEST_STRING", "purge_delay=junk", 1);
  const char* args[] = {"helper_set", "71", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

/* ---- reports
 * ----------------------------------------------------------------------------------- */

static void helper_do_nothing(const char* unused) {
  (void)unused;
  mi_free(mi_malloc(10));
}

static size_t count_of(const char* text, const char* part) {
  size_t count = 0;
  for (const char* at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) count++;
  return count;
}

static char messages[64 * KIB];
static void messages_with(const char* string) {
  setenv("TEST_STRING", string, 1);
  const char* args[] = {"helper_do_nothing", "-", NULL};
  int status = check_capture_self(args, true, messages, sizeof messages);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void nonsense_in_the_string_is_reported_once(void) {
  static const char string[] = "purge_delay=junk, os_tag=7; nonsense=1 use_numa_nodes=3 =4";
  messages_with(string);
  CHECK_TEXT(messages, "");
  setenv("MIMALLOC_SHOW_ERRORS", "1", 1); /* known only after the string was read */
  messages_with(string);
  CHECK_EQ(count_of(messages, "mimalloc: warning: mi_default_options: "), 4);
  CHECK_EQ(count_of(messages, "\n"), 4);
  CHECK_EQ(count_of(messages, "mi_default_options: purge_delay"), 1);
  CHECK_EQ(count_of(messages, "mi_default_options: os_tag"), 1);
  CHECK_EQ(count_of(messages, "\"nonsense=1\""), 1);
  CHECK_EQ(count_of(messages, "\"=4\""), 1);
}

static void misspelt_name_in_the_string_is_reported_with_the_nearest(void) {
  messages_with("show_errors, MIMALLOC_purge_dely=5");
  CHECK_TEXT(
      messages,
      "mimalloc: warning: mi_default_options: no such option: \"MIMALLOC_purge_dely=5\"; did "
      "you mean purge_delay?\n");
}

static void legacy_name_in_the_string_gives_a_warning(void) {
  messages_with("show_errors, reset_delay=5");
  CHECK_EQ(count_of(messages, "\n"), 1);
  CHECK_EQ(count_of(messages, "mi_default_options: reset_delay is deprecated"), 1);
}

static void invalid_verbose_in_the_string_gives_only_its_warning(void) {
  messages_with("verbose=junk, purge_delay=junk");
  CHECK_EQ(count_of(messages, "\n"), 1);
  CHECK_EQ(count_of(messages, "mi_default_options: verbose"), 1);
}

/* ---- a privileged process ignores the environment and reads the string
 * -------------------------- */

/* Argument: an option. Prints whether the process is privileged, and the option. */
static void helper_print_privileged(const char* number) {
  check_note("%d %ld", getauxval(AT_SECURE) != 0, mi_option_get((mi_option_t)atoi(number)));
}

/* Starts a set-uid copy of this program; false where this is not possible. (The leak check of a
 * sanitizer cannot inspect one.) */
static bool print_as_privileged(mi_option_t option, long* value) {
  char path[4096];
  ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
  REQUIRE(n > 0);
  strcpy(path + n, ".setuid");
  static char copy[256 * KIB];
  int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
  REQUIRE(from >= 0 && to >= 0);
  while ((n = read(from, copy, sizeof copy)) > 0) REQUIRE(write(to, copy, (size_t)n) == n);
  bool made = !UNDER_ADDRESS_SANITIZER && geteuid() == 0 && fchown(to, 65534, (gid_t)-1) == 0 &&
              fchmod(to, 04755) == 0;
  close(from);
  close(to);
  char number[16];
  char text[64] = "";
  snprintf(number, sizeof number, "%d", (int)option);
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  pid_t pid = made ? fork() : -1;
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execl(path, path, "helper_print_privileged", number, (char*)NULL);
    _exit(126);
  }
  close(ends[1]);
  if (pid > 0) {
    CHECK_GE(read(ends[0], text, sizeof text - 1), 3);
    check_wait_ok(pid, "privileged copy");
  }
  close(ends[0]);
  unlink(path);
  int secure = 0;
  if (sscanf(text, "%d %ld", &secure, value) == 2 && secure != 0) return true;
  check_note("not tried: no set-uid program can be made here\n");
  return false;
}

static void privileged_process_reads_the_string_and_not_the_environment(void) {
  long value = 0;
  setenv("MIMALLOC_ARENA_PURGE_MULT", "70", 1);
  if (print_as_privileged(mi_option_arena_purge_mult, &value)) CHECK_EQ(value, 10);
  setenv("TEST_STRING", "arena_purge_mult=60", 1);
  if (print_as_privileged(mi_option_arena_purge_mult, &value)) CHECK_EQ(value, 60);
}

static const check_case_t cases[] = {
    CASE(defaults_of_the_build_apply),
    CASE(environment_beats_the_default_of_the_build),
    CASE(string_is_parsed_by_the_rules),
    CASE(string_may_be_long),
    CASE(environment_beats_the_string),
    CASE(program_beats_the_string_and_its_default_does_not),
    CASE(default_applies_where_the_string_makes_no_sense),
    CASE(nonsense_in_the_string_is_reported_once),
    CASE(misspelt_name_in_the_string_is_reported_with_the_nearest),
    CASE(legacy_name_in_the_string_gives_a_warning),
    CASE(invalid_verbose_in_the_string_gives_only_its_warning),
    CASE(privileged_process_reads_the_string_and_not_the_environment),
};

static const helper_t helpers[] = {CASE(helper_print_option), CASE(helper_set),
                                   CASE(helper_do_nothing), CASE(helper_print_privileged)};

int main(int argc, char** argv) {
  if (IS_HELPER(argc, argv)) return HELPER_RUN(helpers, argv);
  return CHECK_MAIN(argc, argv, cases);
}
