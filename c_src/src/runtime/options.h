/* options.h - the values of the options, from the build, the environment and the program. */
#pragma once

#include "../base/base.h"
#include "mimalloc.h"

/* Reads the program's default string and the environment once; a privileged process ignores the
 * environment. Allocates nothing. */
INTERNAL void options_init(void);
INTERNAL void options_print(mi_output_fun* out, void* arg);
/* The value. Unlike mi_option_get it never starts the process, so any path may call it. */
INTERNAL long option_value(mi_option_t option);
/* The value in bytes of an option that counts KiB. */
INTERNAL size_t option_size(mi_option_t option);

/* Options of this library only. The environment and the default string may set them. They are no
 * mi_option_t of the interface, because other versions give the next numbers to other options. */
#define mi_option_show_leaks _mi_option_last
#define mi_option_purger ((mi_option_t)(_mi_option_last + 1))
#define OPTION_COUNT (_mi_option_last + 2)

typedef enum source_e { FROM_BUILD, FROM_STRING, FROM_ENVIRONMENT, FROM_PROGRAM } source_t;

INTERNAL bool is_option(mi_option_t option);
INTERNAL source_t option_source(mi_option_t option);
/* The value `x` in bytes if the option counts KiB, else `x`; never below 0. */
INTERNAL size_t option_size_of(mi_option_t option, long x);
/* Sets an option for the program. The first refused value of each option is reported, so that a
 * loop does not flood the log. */
INTERNAL void option_ask(mi_option_t option, long value, source_t source);
