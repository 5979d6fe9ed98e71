/* os/unix_common.h - what the sources for Unix share, and the functions of os.h that wasi.c has
 * too. */
#pragma once

#include "os.h"
#include <unistd.h>

#if OS_UNIX && defined(__linux__)
/* Reads a small file without the C library's buffers, which would allocate, and ends the text.
 * Returns its length, 0 if the file cannot be read. May change errno. */
INTERNAL size_t read_file(const char* path, char* buf, size_t size);
#endif

#if OS_UNIX
/* True if the calling thread is between os_fork_begin and os_fork_end. */
INTERNAL bool is_forking(void);
#endif
/* False: the range ends above ADDRESS_BITS. */
static inline bool is_addressable(const void* p, size_t size) {
  return (((uintptr_t)p + size - 1) >> (ADDRESS_BITS - 1) >> 1) == 0;
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
