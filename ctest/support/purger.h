/* purger.h - what remains of the purger, a thread of the library, in statistics.
 *
 * With the stack of a thread that has ended the C library keeps one block, for the next thread.
 */
#pragma once
#include "check.h"
#include <stdint.h>
#include <stdlib.h>

#define KEPT_FOR_PURGER 512 /* bytes of the block, at most; one page then has a block in use */

static bool purger_is_allowed(void) {
  const char* value = getenv("MIMALLOC_PURGER");
  return value == NULL || strcmp(value, "0") != 0;
}
/* `bytes`: how much more is in use than before. */
CHECK_UNUSED static bool is_kept_for_purger(int64_t bytes) {
  return bytes > 0 && bytes <= KEPT_FOR_PURGER && purger_is_allowed();
}
