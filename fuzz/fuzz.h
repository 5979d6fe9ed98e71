/* fuzz.h - what the fuzz targets share: reading an input, checks, a process for each input.
 *
 * A target is an LLVMFuzzerTestOneInput that libFuzzer calls, or the main() of replay.c. It reads
 * its input as a list of operations, and knows what each has to give. A fault ends the process by
 * abort(), after a line that names it.
 */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
/* The library's, see fuzz/CMakeLists.txt; CTest calls it otherwise. */
#if !defined(MI_SECURE) && defined(MI_TEST_SECURE)
#define MI_SECURE MI_TEST_SECURE
#elif !defined(MI_SECURE)
#define MI_SECURE 0
#endif
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUZZ_UNUSED __attribute__((unused))

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/* ---- failures ------------------------------------------------------------------ */

/* Nothing here allocates, because the malloc of this process may be under test. */
FUZZ_UNUSED __attribute__((format(printf, 1, 2))) static void fuzz_say(const char* format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (n < 0) return;
  if ((size_t)n >= sizeof line) n = (int)sizeof line - 1;
  if (write(STDERR_FILENO, line, (size_t)n) != n) abort();
}

#define FUZZ_FAIL(...)                                                                             \
  do {                                                                                             \
    fuzz_say("%s:%d: ", __FILE__, __LINE__);                                                       \
    fuzz_say(__VA_ARGS__);                                                                         \
    fuzz_say("\n");                                                                                \
    abort();                                                                                       \
  } while (0)

#define FUZZ_CHECK(condition)                                                                      \
  do {                                                                                             \
    if (!(condition)) FUZZ_FAIL("failed: %s", #condition);                                         \
  } while (0)

/* ---- the input ----------------------------------------------------------------- */

typedef struct input_s {
  const uint8_t* at;
  const uint8_t* end;
} input_t;

FUZZ_UNUSED static bool input_ended(const input_t* in) { return in->at == in->end; }

/* After its end an input reads as zeros. */
FUZZ_UNUSED static uint8_t take8(input_t* in) { return in->at < in->end ? *in->at++ : 0; }
FUZZ_UNUSED static uint16_t take16(input_t* in) {
  uint16_t low = take8(in);
  return (uint16_t)(low | take8(in) << 8);
}
FUZZ_UNUSED static uint64_t take64(input_t* in) {
  uint64_t x = 0;
  for (int i = 0; i < 64; i += 8) x |= (uint64_t)take8(in) << i;
  return x;
}

/* ---- what is seen, and what is not ----------------------------------------------- */

FUZZ_UNUSED static bool trace; /* FUZZ_TRACE in the environment: each operation is printed */

#define TRACE(...)                                                                                 \
  do {                                                                                             \
    if (trace) fuzz_say(__VA_ARGS__);                                                              \
  } while (0)

/* The library's messages: of interest is why an assertion has failed. */
FUZZ_UNUSED static void on_output(const char* text, void* arg) {
  (void)arg;
  if (trace || strstr(text, "assertion failed") != NULL) fuzz_say("%s", text);
}

/* The attributes of the library's header let a compiler assume what is to be checked. */
FUZZ_UNUSED static void* launder(void* p) {
  __asm__ volatile("" : "+r"(p) : : "memory");
  return p;
}

/* ---- one process for each input ------------------------------------------------- */

/* An allocator remembers. So that an input does the same each time, whatever was run before it,
 * each runs in a child. What the child has covered is carried over to the parent's counters, which
 * are libFuzzer's; without libFuzzer there are none. */
#if defined(__has_feature)
#if __has_feature(coverage_sanitizer)
#define FUZZ_COUNTERS 1
uint8_t* fuzz_counters(size_t* count);
#endif
#endif
#ifndef FUZZ_COUNTERS
#define FUZZ_COUNTERS 0
#endif

#define FUZZ_STUCK_SECONDS 100 /* a child that takes longer has deadlocked */

typedef void (*fuzz_run_t)(const uint8_t* data, size_t size);

FUZZ_UNUSED static void fuzz_apart(fuzz_run_t run, const uint8_t* data, size_t size) {
#if FUZZ_COUNTERS
  static uint8_t* shared;
  size_t size_of_counters;
  uint8_t* counters = fuzz_counters(&size_of_counters);
  if (shared == NULL) {
    shared =
        mmap(NULL, size_of_counters, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FUZZ_CHECK(shared != MAP_FAILED);
  }
#endif
  trace = getenv("FUZZ_TRACE") != NULL;
  if (getenv("FUZZ_TOGETHER") != NULL) { /* for a debugger: this process, this one input */
    run(data, size);
    return;
  }
  pid_t parent = getpid();
  pid_t child = fork();
  FUZZ_CHECK(child >= 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    alarm(FUZZ_STUCK_SECONDS);
    run(data, size);
#if FUZZ_COUNTERS
    memcpy(shared, counters, size_of_counters);
#endif
    _exit(0);
  }
  int status = 0;
  pid_t got;
  while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  FUZZ_CHECK(got == child);
  if (WIFSIGNALED(status)) FUZZ_FAIL("the input ended with signal %d", WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) FUZZ_FAIL("the input ended with status %d", WEXITSTATUS(status));
#if FUZZ_COUNTERS
  memcpy(counters, shared, size_of_counters);
#endif
}

/* ---- JSON ------------------------------------------------------------------------ */

FUZZ_UNUSED static const char* json_space(const char* s) {
  while (*s == ' ' || *s == '\n' || *s == '\r' || *s == '\t') s++;
  return s;
}

FUZZ_UNUSED static const char* json_string(const char* s) {
  if (*s++ != '"') return NULL;
  while (*s != '"') {
    if ((unsigned char)*s < ' ') return NULL;
    if (*s == '\\' && *++s == 0) return NULL;
    s++;
  }
  return s + 1;
}

/* The end of the value at `s`; NULL if there is none. Statistics have no text, no fraction, and no
 * negative number. */
FUZZ_UNUSED static const char* json_value(const char* s, int depth) {
  if (depth > 4) return NULL;
  s = json_space(s);
  if (*s >= '0' && *s <= '9') {
    if (*s == '0') return s + 1;
    while (*s >= '0' && *s <= '9') s++;
    return s;
  }
  char close = *s == '{' ? '}' : *s == '[' ? ']' : 0;
  if (close == 0) return NULL;
  s = json_space(s + 1);
  if (*s == close) return s + 1;
  for (;;) {
    if (close == '}') {
      if ((s = json_string(json_space(s))) == NULL) return NULL;
      s = json_space(s);
      if (*s++ != ':') return NULL;
    }
    if ((s = json_value(s, depth + 1)) == NULL) return NULL;
    s = json_space(s);
    if (*s == close) return s + 1;
    if (*s++ != ',') return NULL;
  }
}

FUZZ_UNUSED static bool json_is_valid(const char* s) {
  s = json_value(s, 0);
  return s != NULL && *json_space(s) == 0;
}
