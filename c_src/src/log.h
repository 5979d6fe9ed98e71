/* log.h - messages, errors and what happens after them. Allocates nothing. */
#ifndef MI_LOG_H
#define MI_LOG_H

#include "base.h"
#include "mimalloc.h"
#include "os/os.h"
#include <errno.h>
#include <stdarg.h>

/* What the options say about messages; floor 2's options.c keeps it up to date. */
typedef struct log_config_s {
  _Atomic(long) show_errors;  /* print errors and warnings */
  _Atomic(long) verbose;      /* print everything */
  _Atomic(long) max_errors;   /* negative: no limit */
  _Atomic(long) max_warnings; /* negative: no limit */
} log_config_t;
INTERNAL_DATA log_config_t log_config;
INTERNAL_DATA os_lock_t log_lock; /* the last in rank; taken across a fork, see thread.c */
INTERNAL void log_reset_after_fork(void);

/* Formats know %s %d %u %x %p %zu %zx %ld %lu %llu and %%, with width and '-' for %s. */
INTERNAL size_t format_text(char* buf, size_t size, const char* format, ...);
INTERNAL void log_print(mi_output_fun* out, void* arg, const char* format, ...);
INTERNAL void log_warning(const char* format, ...);
/* Prints (if enabled), then calls the registered error function or the default reaction. */
INTERNAL void log_error(int code, const char* format, ...);

#endif
