/* options.h - what the environment and the program ask for. */
#ifndef MI_OPTIONS_H
#define MI_OPTIONS_H

#include "base.h"
#include "mimalloc.h"

/* Reads the environment once; a privileged process ignores it. */
INTERNAL void options_init(void);
INTERNAL void options_print(mi_output_fun* out, void* arg);
/* The value, without a look at the environment: for paths that run often. */
INTERNAL long option_value(mi_option_t option);

#endif
