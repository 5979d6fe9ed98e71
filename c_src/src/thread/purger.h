/* purger.h - a thread of the library that gives memory back when the program makes no call. */
#pragma once

#include "../base/base.h"

#define PURGER_WAIT_MS 100 /* a thread that ends the purger waits so long at most */

/* The process may have a purger from now on; called at its start and in the child of a fork. */
INTERNAL void purger_allow(void);
/* Starts or ends the purger, as the number of threads and the memory want it. For callers inside
 * malloc, outside all locks and slow paths of a heap; see os/unix_helper.c. */
INTERNAL void purger_tend(void);
/* Ends the purger if the process has no second thread any more. */
INTERNAL void purger_thread_ended(void);
/* Ends it for good. Waits `ms` milliseconds at most; OS_NO_LIMIT: until it has ended. */
INTERNAL void purger_forbid(unsigned ms);
