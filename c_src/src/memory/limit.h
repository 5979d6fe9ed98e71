/* limit.h - the memory limits of the process, from the options and from its container.
 *
 * Threads: any.
 */
#pragma once

#include "../base/base.h"

/* Puts into force what the options say. Reads the container's limit if the options ask for it.
 * Keeps errno. */
INTERNAL void limit_apply(void);
/* The same, at most once a second, if the container's limit counts. */
INTERNAL void limit_tick(void);
/* The bytes that are counted, or would be if there were a limit. */
INTERNAL size_t limit_used(void);
/* In the child of a fork: counts anew. `os_mapped`: bytes of OS-mapped blocks. */
INTERNAL void limit_after_fork(size_t os_mapped);
