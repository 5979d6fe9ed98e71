/* syscalls.c - the library makes the system calls that docs/guarantees.md lists, and no others.
 *
 * A helper installs a seccomp filter before anything can have allocated, and runs a workload. A
 * call that is not allowed ends it with SIGSYS and a line that names the call. The filter allows
 * what the document's table lists for a mode, and what the workload itself needs to start and end
 * threads, whose stacks are static.
 *
 * Environment: TEST_SYSCALLS, the path of the document. TEST_MODE: which rows count beside
 * "always". TEST_WITHOUT: a row that does not count.
 */
#include "probe.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <mimalloc-stats.h>
#include <mimalloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#if defined(__x86_64__)
#define AUDIT_HERE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define AUDIT_HERE AUDIT_ARCH_AARCH64
#endif

typedef struct call_s {
  const char* name;
  int number;
} call_t;

/* Names that the document may use. */
static const call_t calls[] = {
    {"openat", SYS_openat},
    {"read", SYS_read},
    {"close", SYS_close},
    {"mmap", SYS_mmap},
    {"munmap", SYS_munmap},
    {"mprotect", SYS_mprotect},
    {"madvise", SYS_madvise},
    {"mremap", SYS_mremap},
    {"munlock", SYS_munlock},
    {"futex", SYS_futex},
    {"clock_nanosleep", SYS_clock_nanosleep},
    {"clock_gettime", SYS_clock_gettime},
    {"prctl", SYS_prctl},
    {"mbind", SYS_mbind},
    {"getrusage", SYS_getrusage},
    {"mincore", SYS_mincore},
    {"write", SYS_write},
    {"gettid", SYS_gettid},
    {"getpid", SYS_getpid},
    {"sched_getscheduler", SYS_sched_getscheduler},
    {"sched_setscheduler", SYS_sched_setscheduler},
    {"getpriority", SYS_getpriority},
    {"setpriority", SYS_setpriority},
    {"sched_getaffinity", SYS_sched_getaffinity},
    {"sched_setaffinity", SYS_sched_setaffinity},
    {"tgkill", SYS_tgkill},
    {"rt_sigprocmask", SYS_rt_sigprocmask},
    {"getrandom", SYS_getrandom},
};

/* The workload's own: threads, and the end. */
static const int own_calls[] = {
    SYS_exit_group, SYS_exit,         SYS_clone,        SYS_rseq,           SYS_set_robust_list,
    SYS_futex,      SYS_rt_sigreturn, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_writev,
#if defined(SYS_clone3)
    SYS_clone3,
#endif
#if !defined(MI_TEST_OVERRIDE)
    SYS_brk, /* the C library's own malloc, called by pthread_create */
#endif
};

/* ---- the document ---------------------------------------------------------- */

/* One row: | `call` | mode | ... */
typedef struct row_s {
  int number;
  char name[32];
  char mode[48];
} row_t;

static row_t rows[64];
static size_t row_count;

static char document[64 * KIB];

static const char* cell(const char* at, char* text, size_t size) {
  size_t n = 0;
  for (; *at != 0 && *at != '|' && *at != '\n'; at++)
    if (*at != '`' && n + 1 < size) text[n++] = *at;
  while (n > 0 && text[n - 1] == ' ') n--;
  text[n] = 0;
  memmove(text, text + strspn(text, " "), n + 1 - strspn(text, " "));
  return *at == '|' ? at + 1 : at;
}

static void rows_read(void) {
  const char* path = getenv("TEST_SYSCALLS");
  REQUIRE(path != NULL);
  read_file(path, document, sizeof document);
  char* appendix = strstr(document, "\n## Appendix: system calls\n");
  REQUIRE(appendix != NULL);
  char* next = strstr(appendix + 1, "\n## ");
  if (next != NULL) *next = 0;
  for (const char* at = strstr(appendix, "\n| `"); at != NULL; at = strstr(at + 1, "\n| `")) {
    row_t* row = &rows[row_count];
    cell(cell(at + 2, row->name, sizeof row->name), row->mode, sizeof row->mode);
    row->number = -1;
    for (size_t i = 0; i < COUNT_OF(calls); i++)
      if (strcmp(calls[i].name, row->name) == 0) row->number = calls[i].number;
    if (row->number < 0) check_fail("docs/guarantees.md: no call is named %s\n", row->name);
    REQUIRE(row->number >= 0 && ++row_count < COUNT_OF(rows));
  }
  REQUIRE(row_count >= 10); /* otherwise the table has another form */
}

/* ---- the filter ------------------------------------------------------------ */

/* The library never uses writev, so the workload's words need no write. */
static void say(const char* text) {
  struct iovec part = {(void*)(uintptr_t)text, strlen(text)};
  (void)!writev(STDERR_FILENO, &part, 1);
}

#define NEED(condition)                                                                            \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      say("failed under the filter: " #condition "\n");                                            \
      _exit(1);                                                                                    \
    }                                                                                              \
  } while (0)

#define STATUS_TRAPPED 77

static void on_trap(int signal, siginfo_t* info, void* context) {
  (void)signal, (void)context;
  const char* name = "of no name here";
  for (size_t i = 0; i < COUNT_OF(calls); i++)
    if (calls[i].number == info->si_syscall) name = calls[i].name;
  char line[100];
  snprintf(line, sizeof line, "system call %d (%s) is not listed\n", info->si_syscall, name);
  say(line);
  _exit(STATUS_TRAPPED);
}

static void filter_install(const char* mode, const char* without) {
  struct sock_filter code[3 * COUNT_OF(rows) + 8];
  unsigned short n = 0;
  code[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_HERE, 1, 0);
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[n++] =
      (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
#define ALLOW(number)                                                                              \
  (code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(number), 0, 1),  \
   code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW))
  for (size_t i = 0; i < COUNT_OF(own_calls); i++) ALLOW(own_calls[i]);
  for (size_t i = 0; i < row_count; i++) {
    if (without != NULL && strcmp(rows[i].name, without) == 0) continue;
    if (strcmp(rows[i].mode, "always") == 0 || strstr(mode, rows[i].mode) != NULL)
      ALLOW(rows[i].number);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
  REQUIRE(n <= COUNT_OF(code));
  struct sock_fprog program = {n, code};
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = &on_trap;
  REQUIRE(sigaction(SIGSYS, &action, NULL) == 0);
  REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Before any constructor, and so before anything can have allocated. */
static void install_first(int argc, char** argv, char** environment) {
  (void)argc, (void)argv;
  environ = environment; /* the C library has not started either */
  const char* mode = getenv("TEST_MODE");
  if (mode == NULL) return;
  rows_read();
  filter_install(mode, getenv("TEST_WITHOUT"));
}
__attribute__((section(".preinit_array"),
               used)) static void (*const first)(int, char**, char**) = &install_first;

/* ---- the workload ---------------------------------------------------------- */

#define THREADS 4
static char stacks[THREADS][256 * KIB] __attribute__((aligned(64)));

/* Blocks of every kind, some of which outlive the thread. */
static void* work(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[100] = {0};
  mi_heap_t* heap = mi_heap_new();
  NEED(heap != NULL);
  for (size_t i = 0; i < 2000; i++) {
    size_t at = rng_below(&rng, COUNT_OF(held));
    size_t size = rng_size(&rng, i % 50 == 0 ? 8 * MIB : 40000);
    if (i % 3 == 0) {
      held[at] = mi_realloc(held[at], size);
    } else {
      mi_free(held[at]);
      held[at] = i % 7 == 0   ? mi_heap_malloc(heap, size)
                 : i % 7 == 1 ? mi_zalloc(size)
                 : i % 7 == 2 ? mi_malloc_aligned(size, (size_t)1 << rng_below(&rng, 21))
                              : mi_malloc(size);
    }
    NEED(held[at] != NULL);
    memset(held[at], 1, size);
    if (i % 500 == 499) mi_collect(true);
  }
  for (size_t i = 0; i < COUNT_OF(held); i += 2) mi_free(held[i]);
  mi_heap_delete(heap);
  return NULL;
}

static void work_in_threads(void) {
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    pthread_attr_t attributes;
    NEED(pthread_attr_init(&attributes) == 0);
    NEED(pthread_attr_setstack(&attributes, stacks[i], sizeof stacks[i]) == 0);
    NEED(pthread_create(&threads[i], &attributes, &work, (void*)(i + 1)) == 0);
  }
  for (size_t i = 0; i < THREADS; i++) NEED(pthread_join(threads[i], NULL) == 0);
}

static void use_all_kinds(void) {
  char* vector = (char*)mi_malloc(MIB);
  void* last = NULL;
  for (size_t size = MIB; size <= 64 * MIB; size *= 2) {
    vector = (char*)mi_realloc(vector, size);
    NEED(vector != NULL);
    memset(vector, 1, size);
    void* between = mi_malloc(MIB); /* so that the vector must move */
    NEED(between != NULL);
    mi_free(last);
    last = between;
  }
  mi_free(vector);
  mi_free(last);
  void* huge = mi_malloc(600 * MIB);
  NEED(huge != NULL);
  *(char*)huge = 1;
  mi_free(huge);
  NEED((huge = mi_malloc_aligned(700 * MIB, 64 * MIB)) != NULL);
  mi_free(huge);
  work((void*)9);
  work_in_threads();
  mi_collect(true);
}

static void helper_default(void) {
  use_all_kinds();
  exit(0);
}

static void drop_text(const char* text, void* arg) { (void)text, (void)arg; }

static void helper_statistics(void) {
  size_t rss;
  mi_free(mi_malloc(1)); /* else there is no metadata to ask about */
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
  NEED(rss > 0);
  mi_stats_print_out(&drop_text, NULL);
  char* json = mi_stats_get_json(0, NULL);
  NEED(json != NULL);
  mi_free(json);
  helper_default();
}

static void helper_messages(void) { helper_default(); }

/* The process has a limit. */
static void helper_refusal(void) {
  while (mi_malloc(5 * MIB) != NULL) {
  }
  exit(0);
}

/* Found in a debug build, or in a secure one. */
static void helper_violation(void) {
  void* p = mi_malloc(1000);
  mi_free_size(p, 2000);
  mi_free(p);
  exit(0);
}

static void helper_unlisted(void) {
  (void)syscall(SYS_getppid);
  exit(0);
}

/* ---- the cases ------------------------------------------------------------- */

static char output[4096];

static void on_options(const char* text, void* arg) {
  const char* at = strstr(text, "secure level ");
  if (at != NULL) *(int*)arg = atoi(at + 13);
}
static bool is_secure(void) {
  int level = 0;
  mi_options_print_out(&on_options, &level);
  return level > 0;
}

static int run_under(const char* mode, const char* without, const char* helper) {
  char text[100];
  snprintf(text, sizeof text, "%s%s", mode, is_secure() ? " secure" : "");
  setenv("TEST_MODE", text, 1);
  if (without != NULL)
    setenv("TEST_WITHOUT", without, 1);
  else
    unsetenv("TEST_WITHOUT");
  const char* args[] = {helper, NULL};
  return check_capture_self(args, true, output, sizeof output);
}

static bool ends_well(int status) { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
static bool is_trapped(int status) {
  return WIFEXITED(status) && WEXITSTATUS(status) == STATUS_TRAPPED;
}

static void check_mode(const char* mode, const char* helper) {
  int status = run_under(mode, NULL, helper);
  if (!CHECK(ends_well(status))) check_note("mode %s: status 0x%x, %s\n", mode, status, output);
}

static void default_mode_makes_the_listed_calls_only(void) {
  check_mode("always", "helper_default");
}

static void purge_settings_add_no_calls(void) {
  const char* const delays[] = {"0", "1", "100", "-1"};
  for (size_t i = 0; i < COUNT_OF(delays); i++) {
    for (int decommits = 0; decommits <= 1; decommits++) {
      setenv("MIMALLOC_PURGE_DELAY", delays[i], 1);
      setenv("MIMALLOC_PURGE_DECOMMITS", decommits ? "1" : "0", 1);
      check_mode("always", "helper_default");
    }
  }
}

static void other_options_add_no_calls(void) {
  const char* const options[] = {"MIMALLOC_ARENA_EAGER_COMMIT=0",
                                 "MIMALLOC_ALLOW_LARGE_OS_PAGES=1",
                                 "MIMALLOC_ALLOW_THP=2",
                                 "MIMALLOC_ALLOW_THP=0",
                                 "MIMALLOC_DESTROY_ON_EXIT=1",
                                 "MIMALLOC_ARENA_RESERVE=0",
                                 "MIMALLOC_RESERVE_OS_MEMORY=262144"};
  for (size_t i = 0; i < COUNT_OF(options); i++) {
    char name[64];
    snprintf(name, sizeof name, "%s", options[i]);
    char* value = strchr(name, '=');
    *value++ = 0;
    setenv(name, value, 1);
    check_mode("always", "helper_default");
    unsetenv(name);
  }
}

static void further_modes_make_their_calls_only(void) {
  check_mode("statistics", "helper_statistics");
  setenv("MIMALLOC_VERBOSE", "1", 1);
  check_mode("statistics messages", "helper_messages");
  unsetenv("MIMALLOC_VERBOSE");
  setenv("MIMALLOC_RESERVE_HUGE_OS_PAGES", "1", 1); /* there may be none */
  check_mode("reserve_huge_os_pages messages", "helper_default");
}

static void limit_addresses(void) {
  struct rlimit limit = {GIB, GIB};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void refused_memory_makes_the_listed_calls_only(void) {
  limit_addresses();
  setenv("MIMALLOC_SHOW_ERRORS", "0", 1); /* debug builds would print one */
  check_mode("always refusal", "helper_refusal");
}

static void violation_aborts_with_the_listed_calls_only(void) {
#if MI_TEST_DEBUG_FULL
  bool found = true;
#else
  bool found = is_secure();
#endif
  if (!found) {
    check_note("skipped: other builds do not look\n");
    return;
  }
  int status = run_under("messages abort", NULL, "helper_violation");
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* ---- the filter notices ---------------------------------------------------- */

static void unlisted_call_is_noticed(void) {
  CHECK(is_trapped(run_under("always", NULL, "helper_unlisted")));
  CHECK(strstr(output, "is not listed") != NULL);
}

static void check_missed(const char* mode, const char* row, const char* helper) {
  int status = run_under(mode, row, helper);
  if (!CHECK(is_trapped(status)) || !CHECK(strstr(output, row) != NULL))
    check_note("mode %s without %s: status 0x%x, %s\n", mode, row, status, output);
}

/* So each row is needed. Rows that need another thread at the same moment, other hardware, or a
 * system without vDSO are left out. */
static void row_that_is_missing_is_noticed(void) {
  setenv("MIMALLOC_PURGE_DELAY", "1", 1);
  rows_read();
  size_t missed = 0;
  static const char* const by_chance[] = {"futex", "clock_nanosleep", "clock_gettime"};
  for (size_t i = 0; i < row_count; i++) {
    if (strcmp(rows[i].mode, "always") != 0) continue;
    bool skip = false;
    for (size_t k = 0; k < COUNT_OF(by_chance); k++)
      skip |= strcmp(by_chance[k], rows[i].name) == 0;
    if (skip) continue;
    check_missed("always", rows[i].name, "helper_default");
    missed++;
  }
  CHECK_EQ(missed, 14); /* so that no row is lost by a change of the table's form */
  if (is_secure()) check_missed("always", "getrandom", "helper_default");
  check_missed("statistics", "getrusage", "helper_statistics");
  setenv("MIMALLOC_VERBOSE", "1", 1);
  check_missed("statistics messages", "write", "helper_messages");
  unsetenv("MIMALLOC_VERBOSE");
  limit_addresses();
  check_missed("refusal", "munlock", "helper_refusal");
}

static const check_case_t cases[] = {
    CASE(default_mode_makes_the_listed_calls_only),
    CASE(purge_settings_add_no_calls),
    CASE(other_options_add_no_calls),
    CASE(further_modes_make_their_calls_only),
    CASE(refused_memory_makes_the_listed_calls_only),
    CASE(violation_aborts_with_the_listed_calls_only),
    CASE(unlisted_call_is_noticed),
    CASE(row_that_is_missing_is_noticed),
};
static const check_case_t helpers[] = {
    CASE(helper_default), CASE(helper_statistics), CASE(helper_messages),
    CASE(helper_refusal), CASE(helper_violation),  CASE(helper_unlisted),
};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
