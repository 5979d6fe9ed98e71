/* check.h - the checks of the C and C++ tests, and the runner of a test program.
 *
 * A test program is a table of cases, each named after the behaviour it proves. Without
 * arguments it runs each case in a fresh process of its own, so that a crash is
 * reported with its signal and no case sees the heap of another; with arguments it runs
 * the named cases in this process (for a debugger). Environment: CTEST_SCALE multiplies
 * the work of the long cases (default 1); CTEST_EXCEPT names cases that are left out, with a comma
 * after each.
 *
 * CHECK_RUNNER, where set, is the emulator that starts our programs, with its arguments. Systems
 * without processes (WASI) run all cases in one.
 *
 * Nothing here allocates or uses stdio, so the test makes the first allocation of its process, and
 * a failure can be printed when memory has run out.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#if !defined(__wasm__)
#include <signal.h>
#endif
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#include <process.h>
#include "windows.h"
#elif !defined(__wasm__)
#include <sys/wait.h>
#endif

#define CHECK_UNUSED __attribute__((unused))
#if defined(__MINGW32__) && !defined(__clang__)
#define CHECK_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#else
#define CHECK_PRINTF(text, first) __attribute__((format(printf, text, first)))
#endif

#if defined(_WIN32)
#define ON_WINDOWS 1
#else
#define ON_WINDOWS 0
#endif

/* The secure level of the library, and what it changes on purpose: a guard after a large block
 * takes one of its slices where the block would fill them, and blocks of size 0 are
 * inaccessible. */
#ifndef MI_TEST_SECURE
#define MI_TEST_SECURE 0
#endif
#define LARGE_BLOCKS_END_AT_GUARDS (MI_TEST_SECURE >= 1)
#define SIZE_0_IS_INACCESSIBLE (MI_TEST_SECURE >= 2)
/* The usable size of an address that is no live block is reported like a free of it. */
#define WRONG_ADDRESSES_ARE_REPORTED (MI_TEST_SECURE >= 1)
#define FOREIGN_HEAPS_ARE_REPORTED (MI_TEST_SECURE >= 4)
/* From level 3 on the usable size is the requested size, to the byte. The bytes after it are the
 * library's, and a smaller size fills what it cuts off. */
#define USABLE_IS_EXACT (MI_TEST_SECURE >= 3)
#define SEAL_BYTES (USABLE_IS_EXACT ? 8 : 0)

#define CHECK_PRINTED_MAX 20 /* failures printed per process; all are counted */
#define CHECK_ARGS_MAX 16

static int check_failures; /* changed with __atomic builtins only */

/* ---- printing ------------------------------------------------------------ */

CHECK_UNUSED CHECK_PRINTF(2, 0) static void check_vprint(int fd, const char* format, va_list args) {
  char line[1024];
  int length = vsnprintf(line, sizeof line, format, args);
  if (length < 0) return;
  if ((size_t)length >= sizeof line) length = (int)sizeof line - 1;
  for (int done = 0; done < length;) {
    int wrote = (int)write(fd, line + done, (size_t)(length - done));
    if (wrote <= 0) break;
    done += wrote;
  }
}

/* A number or a remark of a test, on standard output. */
CHECK_UNUSED CHECK_PRINTF(1, 2) static void check_note(const char* format, ...) {
  va_list args;
  va_start(args, format);
  check_vprint(STDOUT_FILENO, format, args);
  va_end(args);
}

CHECK_UNUSED CHECK_PRINTF(1, 2) static void check_fail(const char* format, ...) {
  int before = __atomic_fetch_add(&check_failures, 1, __ATOMIC_RELAXED);
  if (before >= CHECK_PRINTED_MAX) return;
  va_list args;
  va_start(args, format);
  check_vprint(STDERR_FILENO, format, args);
  va_end(args);
}

/* ---- checks: they count and go on ------------------------------------------ */

CHECK_UNUSED static bool check_true(bool ok, const char* what, const char* file, int line) {
  if (!ok) check_fail("%s:%d: failed: %s\n", file, line, what);
  return ok;
}

CHECK_UNUSED static bool check_relation(bool ok, long long a, long long b, const char* what,
                                        const char* file, int line) {
  if (!ok) {
    check_fail("%s:%d: failed: %s, with left %lld (0x%llx) and right %lld (0x%llx)\n", file, line,
               what, a, (unsigned long long)a, b, (unsigned long long)b);
  }
  return ok;
}

CHECK_UNUSED static bool check_relation_double(bool ok, double a, double b, const char* what,
                                               const char* file, int line) {
  if (!ok) check_fail("%s:%d: failed: %s, with left %g and right %g\n", file, line, what, a, b);
  return ok;
}

CHECK_UNUSED static bool check_same_text(const char* a, const char* b, const char* what,
                                         const char* file, int line) {
  bool ok = a != NULL && b != NULL && strcmp(a, b) == 0;
  if (!ok) {
    check_fail("%s:%d: failed: %s, with left \"%s\" and right \"%s\"\n", file, line, what,
               a != NULL ? a : "(null)", b != NULL ? b : "(null)");
  }
  return ok;
}

/* Integers and sizes are compared as long long: the tests keep ordered values below 2^63. */
#define CHECK(condition) check_true(!!(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) check_eq_((long long)(a), (long long)(b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_NE(a, b) check_ne_((long long)(a), (long long)(b), #a " != " #b, __FILE__, __LINE__)
#define CHECK_LE(a, b) check_le_((long long)(a), (long long)(b), #a " <= " #b, __FILE__, __LINE__)
#define CHECK_GE(a, b) check_ge_((long long)(a), (long long)(b), #a " >= " #b, __FILE__, __LINE__)
#define CHECK_LE_DOUBLE(a, b) check_le_double_((a), (b), #a " <= " #b, __FILE__, __LINE__)
#define CHECK_SAME(p, q)                                                                           \
  check_eq_((long long)(uintptr_t)(p), (long long)(uintptr_t)(q), #p " is " #q, __FILE__, __LINE__)
#define CHECK_NULL(p) check_eq_((long long)(uintptr_t)(p), 0, #p " is NULL", __FILE__, __LINE__)
#define CHECK_NOT_NULL(p)                                                                          \
  check_ne_((long long)(uintptr_t)(p), 0, #p " is not NULL", __FILE__, __LINE__)
#define CHECK_TEXT(a, b) check_same_text((a), (b), #a " is " #b, __FILE__, __LINE__)

#define CHECK_DEFINE_OP_(name, op)                                                                 \
  CHECK_UNUSED static bool name(long long a, long long b, const char* what, const char* file,      \
                                int line) {                                                        \
    return check_relation(a op b, a, b, what, file, line);                                         \
  }
CHECK_DEFINE_OP_(check_eq_, ==)
CHECK_DEFINE_OP_(check_ne_, !=)
CHECK_DEFINE_OP_(check_le_, <=)
CHECK_DEFINE_OP_(check_ge_, >=)
#undef CHECK_DEFINE_OP_

CHECK_UNUSED static bool check_le_double_(double a, double b, const char* what, const char* file,
                                          int line) {
  return check_relation_double(a <= b, a, b, what, file, line);
}

/* For a condition that the test cannot go on without: ends the process. */
#define REQUIRE(condition)                                                                         \
  do {                                                                                             \
    if (!CHECK(condition)) {                                                                       \
      check_fail("%s:%d: cannot go on\n", __FILE__, __LINE__);                                     \
      _exit(1);                                                                                    \
    }                                                                                              \
  } while (0)

/* ---- child processes -------------------------------------------------------- */

#if defined(_WIN32)
/* Starts this program again with `args` (NULL-terminated, without the program name, none of them
 * with white space) and returns a handle of its process. Its output goes to the given descriptors
 * where those are not negative. */
CHECK_UNUSED static intptr_t check_start_self(const char* const* args, int out_fd, int err_fd) {
  const char* argv[CHECK_ARGS_MAX + 2];
  size_t count = 0;
  argv[count++] = _pgmptr;
  while (*args != NULL && count <= CHECK_ARGS_MAX) argv[count++] = *args++;
  argv[count] = NULL;
  int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
  if (out_fd >= 0) dup2(out_fd, STDOUT_FILENO);
  if (err_fd >= 0) dup2(err_fd, STDERR_FILENO);
  intptr_t process = _spawnv(_P_NOWAIT, argv[0], argv);
  dup2(out, STDOUT_FILENO), dup2(err, STDERR_FILENO);
  close(out), close(err);
  REQUIRE(process != -1);
  return process;
}

/* The exit status, or the number of an exception. */
CHECK_UNUSED static int check_wait(intptr_t process) {
  int status = -1;
  (void)_cwait(&status, process, 0);
  return status;
}
CHECK_UNUSED static int check_wait_ok(intptr_t process, const char* what) {
  int status = check_wait(process);
  if (status != 0) check_fail("%s: ended with status %d (0x%x)\n", what, status, (unsigned)status);
  return status != 0;
}
#define WIFEXITED(status) ((status) >= 0 && (status) != 3) /* abort() ends with 3 */
#define WEXITSTATUS(status) (status)
#define WIFSIGNALED(status) (!WIFEXITED(status))
#define WTERMSIG(status) ((status) == 3 ? SIGABRT : SIGSEGV)
typedef intptr_t check_process_t;
#define check_pipe(ends) _pipe((ends), 4096, _O_BINARY | _O_NOINHERIT)
#elif !defined(__wasm__)
/* Starts this program again with `args` (NULL-terminated, without the program name) and
 * returns its process id. Its output goes to
 * the given descriptors where those are not negative. */
CHECK_UNUSED static pid_t check_start_self(const char* const* args, int out_fd, int err_fd) {
  const char* argv[2 * CHECK_ARGS_MAX + 2];
  char words[512], self[1024];
  size_t count = 0;
  const char* runner = getenv("CHECK_RUNNER");
  if (runner != NULL && *runner != 0) { /* the emulator cannot run its own name for the program */
    REQUIRE(strlen(runner) < sizeof words);
    strcpy(words, runner);
    char* rest = words;
    for (char* word; (word = strtok_r(rest, " ", &rest)) != NULL && count < CHECK_ARGS_MAX;)
      argv[count++] = word;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    REQUIRE(length > 0);
    self[length] = 0;
    argv[count++] = self;
  } else {
    argv[count++] = "/proc/self/exe";
  }
  for (size_t i = 0; *args != NULL && i < CHECK_ARGS_MAX; i++) argv[count++] = *args++;
  argv[count] = NULL;
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    if (out_fd >= 0) dup2(out_fd, STDOUT_FILENO);
    if (err_fd >= 0) dup2(err_fd, STDERR_FILENO);
    execv(argv[0], (char* const*)argv);
    _exit(126);
  }
  return pid;
}

/* Waits for `pid`; 0 for a clean exit with status 0. Anything else is a counted failure
 * that says how the child ended. */
CHECK_UNUSED static int check_wait_ok(pid_t pid, const char* what) {
  int status = 0;
  pid_t got;
  do {
    got = waitpid(pid, &status, 0);
  } while (got < 0 && errno == EINTR);
  if (got != pid) {
    check_fail("%s: waitpid failed with errno %d\n", what, errno);
    return 1;
  }
  if (WIFSIGNALED(status)) {
    check_fail("%s: died of signal %d (%s)\n", what, WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 1;
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    check_fail("%s: ended with status %d\n", what, WEXITSTATUS(status));
    return 1;
  }
  return 0;
}

typedef pid_t check_process_t;
#define check_pipe(ends) pipe(ends)
CHECK_UNUSED static int check_wait(pid_t pid) {
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}
#endif

#if !defined(__wasm__)
/* Runs this program with `args`, collects what it writes to standard error (or output)
 * in `text`, and returns the wait status. */
CHECK_UNUSED static int check_capture_self(const char* const* args, bool err, char* text,
                                           size_t size) {
  int ends[2];
  REQUIRE(check_pipe(ends) == 0);
  check_process_t process = check_start_self(args, err ? -1 : ends[1], err ? ends[1] : -1);
  close(ends[1]);
  size_t used = 0;
  char spill[256];
  for (;;) {
    bool full = used + 1 >= size;
    int got = (int)(full ? read(ends[0], spill, sizeof spill)
                         : read(ends[0], text + used, size - 1 - used));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (!full) used += (size_t)got;
  }
  text[used] = 0;
  close(ends[0]);
  return check_wait(process);
}
#endif

/* ---- the runner --------------------------------------------------------------- */

typedef struct check_case_s {
  const char* name;
  void (*run)(void);
} check_case_t;

#define CASE(function)                                                                             \
  { #function, function }

CHECK_UNUSED static double check_scale(void) {
  const char* text = getenv("CTEST_SCALE");
  double scale = text != NULL ? strtod(text, NULL) : 1.0;
  return scale > 0 ? scale : 1.0;
}

CHECK_UNUSED static size_t check_scaled(size_t count) {
  double scaled = (double)count * check_scale();
  return scaled < 1 ? 1 : (size_t)scaled;
}

CHECK_UNUSED static int check_end(void) {
  int failures = __atomic_load_n(&check_failures, __ATOMIC_RELAXED);
  if (failures > CHECK_PRINTED_MAX) {
    check_note("... %d failures more\n", failures - CHECK_PRINTED_MAX);
  }
  return failures == 0 ? 0 : 1;
}

CHECK_UNUSED static const check_case_t* check_find(const check_case_t* cases, size_t count,
                                                   const char* name) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(cases[i].name, name) == 0) return &cases[i];
  }
  return NULL;
}

/* Cases of CTEST_EXCEPT; each must exist, so that such lists do not outlive their reasons. */
CHECK_UNUSED static bool check_is_excepted(const char* name) {
  const char* except = getenv("CTEST_EXCEPT");
  size_t length = strlen(name);
  for (const char* at = except; at != NULL && *at != 0; at += strcspn(at, ",") + 1)
    if (strncmp(at, name, length) == 0 && at[length] == ',') return true;
  return false;
}
CHECK_UNUSED static size_t check_excepted_count(void) {
  size_t count = 0;
  const char* except = getenv("CTEST_EXCEPT");
  for (; except != NULL && *except != 0; except++) count += *except == ',';
  return count;
}

CHECK_UNUSED static int check_main(int argc, char** argv, const check_case_t* cases, size_t count) {
  if (argc > 1) {
    for (int i = 1; i < argc; i++) {
      const check_case_t* found = check_find(cases, count, argv[i]);
      if (found == NULL) {
        check_fail("no case named %s\n", argv[i]);
      } else {
        found->run();
      }
    }
    return check_end();
  }
  size_t failed = 0;
  size_t excepted = 0;
  for (size_t i = 0; i < count; i++) {
    if (check_is_excepted(cases[i].name)) {
      check_note("except %s\n", cases[i].name);
      excepted++;
      continue;
    }
#if defined(__wasm__)
    int before = check_failures;
    cases[i].run();
    int wrong = check_failures != before;
#else
    const char* args[] = {cases[i].name, NULL};
    int wrong = check_wait_ok(check_start_self(args, -1, -1), cases[i].name);
#endif
    check_note("%s %s\n", wrong ? "FAILED" : "ok    ", cases[i].name);
    failed += wrong != 0;
  }
  check_note("%zu of %zu cases passed\n", count - failed - excepted, count);
  if (excepted != check_excepted_count()) {
    check_fail("CTEST_EXCEPT names a case that does not exist\n");
    return 1;
  }
  return failed == 0 ? 0 : 1;
}

#define CHECK_MAIN(argc, argv, cases)                                                              \
  check_main((argc), (argv), (cases), sizeof(cases) / sizeof((cases)[0]))
