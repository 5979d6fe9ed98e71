/* os/posix.h - the functions of os.h that unix.c and wasi.c have in common.
 *
 * Owns:    nothing.
 * Uses:    os.h, <unistd.h>.          Used by: unix.c, wasi.c, of which all but one are empty.
 */
#ifndef MI_OS_POSIX_H
#define MI_OS_POSIX_H

#include "os.h"
#include <unistd.h>

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

#endif
