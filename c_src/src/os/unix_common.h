/* os/unix_common.h - what the sources for Unix share, and the functions of os.h that wasi.c has
 * too. */
#pragma once

#include "os.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>

#if OS_UNIX && defined(__linux__)
/* Reads a small file without the C library's buffers, which would allocate, and ends the text.
 * Returns its length, 0 if the file cannot be read. Keeps errno. */
INTERNAL size_t read_file(const char* path, char* buf, size_t size);
#endif

#if OS_UNIX
/* True if the calling thread is between os_fork_begin and os_fork_end. */
INTERNAL bool is_forking(void);
#endif
/* The value of `call`; errno stays what it was before. */
#define keeping_errno(call)                                                                        \
  __extension__({                                                                                  \
    int saved_ = errno;                                                                            \
    __typeof__(call) result_ = (call);                                                             \
    errno = saved_;                                                                                \
    result_;                                                                                       \
  })

INTERNAL uint64_t os_clock_ms(void) {
  struct timespec t;
#if OS_UNIX && defined(CLOCK_MONOTONIC_COARSE)
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
#endif
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

extern char** environ;
INTERNAL const char* os_environment(size_t i) { return environ == NULL ? NULL : environ[i]; }

INTERNAL void os_write_error(const char* text, size_t length) {
  while (length > 0) {
    ssize_t n = write(STDERR_FILENO, text, length);
    if (n <= 0) return;
    text += n;
    length -= (size_t)n;
  }
}
