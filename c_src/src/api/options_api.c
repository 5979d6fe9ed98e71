/* options_api.c - the program reads and sets options, and memory limits of the process.
 *
 * Threads: any.
 */
#include "../memory/limit.h"
#include "../runtime/options.h"

long mi_option_get(mi_option_t option) mi_attr_noexcept {
  if (!is_option(option)) return 0;
  mi_process_init(); /* a getter may be the first call into the library */
  return option_value(option);
}

long mi_option_get_clamp(mi_option_t option, long min, long max) mi_attr_noexcept {
  long x = mi_option_get(option);
  return x < min ? min : x > max ? max : x;
}

size_t mi_option_get_size(mi_option_t option) mi_attr_noexcept {
  return option_size_of(option, mi_option_get(option));
}

/* A new limit comes into force at once. */
static void ask(mi_option_t option, long value, source_t source) {
  option_ask(option, value, source);
  if (option >= mi_option_limit_hard && option <= mi_option_limit_container) limit_apply();
}

bool mi_option_is_enabled(mi_option_t option) mi_attr_noexcept {
  return mi_option_get(option) != 0;
}

void mi_option_set(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init(); /* otherwise the environment, read later, would win */
  ask(option, value, FROM_PROGRAM);
}

void mi_option_set_default(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init();
  /* A value from the default string of the program counts as set by the program. */
  if (option_source(option) == FROM_BUILD) ask(option, value, FROM_BUILD);
}

void mi_option_enable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 1); }

void mi_option_disable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 0); }

void mi_option_set_enabled(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set(option, enable ? 1 : 0);
}

void mi_option_set_enabled_default(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set_default(option, enable ? 1 : 0);
}

/* ---- limits ---- */

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
