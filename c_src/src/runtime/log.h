/* log.h - messages, errors, and the reaction to errors. Allocates nothing. */
#pragma once

#include "mimalloc.h"
#include "../os/os.h"
#include <errno.h>
#include <stdarg.h>

/* A copy of the options for messages; options.c keeps it up to date. */
typedef struct log_config_s {
  _Atomic(long) show_errors;  /* print errors and warnings */
  _Atomic(long) verbose;      /* print everything */
  _Atomic(long) max_errors;   /* negative: no limit */
  _Atomic(long) max_warnings; /* negative: no limit */
} log_config_t;
static log_config_t log_config;
static os_lock_t log_lock; /* the last in rank; held across a fork, see fork.c */
INTERNAL void log_reset_after_fork(void);

/* Formats know %s %d %u %x %p %zu %zx %ld %lu %llu and %%, with width and '-' for %s. */
INTERNAL size_t format_text(char* buf, size_t size, const char* format, ...);
INTERNAL void log_print(mi_output_fun* out, void* arg, const char* format, ...);
INTERNAL void log_warning(const char* format, ...);
/* Prints the message if that is enabled. Then it calls the registered error function. If there is
 * none, a fatal error ends the program. */
INTERNAL void log_error(int code, const char* format, ...);

/* Reports that `size` bytes could not be allocated, sets errno to ENOMEM, and returns NULL. */
INTERNAL void* log_out_of_memory(size_t size);
