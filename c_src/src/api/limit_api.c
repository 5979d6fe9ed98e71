/* limit_api.c - the program sets memory limits of the process.
 *
 * Threads: any.
 */
#include "../memory/limit.h"
#include "../runtime/options.h"

/* Rounded down, so that the limit is never above the given one; but 0 would be no limit. */
static long limit_kib(size_t bytes) {
  if (bytes == 0) return 0;
  return (long)min_size(max_size(bytes / KiB, 1), ALLOC_MAX / KiB);
}

bool mi_limit_set(size_t soft, size_t hard) mi_attr_noexcept {
  if (hard != 0 && soft > hard) return false;
  mi_process_init();
  option_ask(mi_option_limit_soft, limit_kib(soft), FROM_PROGRAM);
  option_ask(mi_option_limit_hard, limit_kib(hard), FROM_PROGRAM);
  limit_apply();
  return true;
}

size_t mi_limit_used(void) mi_attr_noexcept {
  mi_process_init();
  return limit_used();
}
