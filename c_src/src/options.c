/* options.c - what the environment and the program ask for.
 *
 * Owns:    the values of all options.
 * Always:  a value set by the program beats the environment, which beats the default.
 * Threads: any; each value stands for itself, so relaxed is enough throughout.
 * Uses:    log.h, os.h.          Used by: every floor above.
 */
#include "options.h"
#include "atomic.h"
#include "log.h"
#include "os/os.h"

enum { FROM_DEFAULT, FROM_ENVIRONMENT, FROM_PROGRAM };

typedef struct option_s {
  const char* name;
  const char* legacy_name; /* accepted with a warning; NULL if there is none */
  _Atomic(long) value;
  _Atomic(int) source;
} option_t;

#define OPTION(name, value)                                                                        \
  { #name, NULL, value, FROM_DEFAULT }
#define OPTION_OLD(name, legacy, value)                                                            \
  { #name, #legacy, value, FROM_DEFAULT }

/* In the order of mi_option_t. docs/options.md says which have an effect here. */
static option_t options[_mi_option_last] = {
    OPTION(show_errors, MI_SHOW_ERRORS || MI_DEBUG > 0),
    OPTION(show_stats, 0),
    OPTION(verbose, 0),
    OPTION(eager_commit, 1),
    OPTION_OLD(arena_eager_commit, eager_region_commit, 2),
    OPTION_OLD(purge_decommits, reset_decommits, 1),
    OPTION_OLD(allow_large_os_pages, large_os_pages, 0),
    OPTION(reserve_huge_os_pages, 0),
    OPTION(reserve_huge_os_pages_at, -1),
    OPTION(reserve_os_memory, 0),
    OPTION(deprecated_segment_cache, 0),
    OPTION(deprecated_page_reset, 0),
    OPTION_OLD(abandoned_page_purge, abandoned_page_reset, 0),
    OPTION(deprecated_segment_reset, 0),
    OPTION(eager_commit_delay, 1),
    OPTION_OLD(purge_delay, reset_delay, 10),
    OPTION(use_numa_nodes, 0),
    OPTION_OLD(disallow_os_alloc, limit_os_alloc, 0),
    OPTION(os_tag, 100),
    OPTION(max_errors, 32),
    OPTION(max_warnings, 32),
    OPTION(max_segment_reclaim, 10),
    OPTION(destroy_on_exit, 0),
    OPTION(arena_reserve, sizeof(void*) >= 8 ? 1024L * 1024 : 128L * 1024),
    OPTION(arena_purge_mult, 10),
    OPTION_OLD(purge_extend_delay, decommit_extend_delay, 1),
    OPTION(abandoned_reclaim_on_free, 1),
    OPTION(disallow_arena_alloc, 0),
    OPTION(retry_on_oom, 400),
};

static bool is_counted_in_kib(mi_option_t o) {
  return o == mi_option_reserve_os_memory || o == mi_option_arena_reserve;
}

static bool is_option(mi_option_t o) { return (unsigned)o < (unsigned)_mi_option_last; }

/* Options that other rooms keep a copy of. */
static void option_published(mi_option_t o, long value, bool at_start) {
  switch (o) {
  case mi_option_show_errors:
    store_relaxed(&log_config.show_errors, value);
    break;
  case mi_option_verbose:
    store_relaxed(&log_config.verbose, value);
    break;
  /* The limits are latched at start-up. */
  case mi_option_max_errors:
    if (at_start) store_relaxed(&log_config.max_errors, value);
    break;
  case mi_option_max_warnings:
    if (at_start) store_relaxed(&log_config.max_warnings, value);
    break;
  default:
    break;
  }
}

/* ---- parsing ---- */

static char to_upper(char c) { return (c >= 'a' && c <= 'z') ? (char)(c - 'a' + 'A') : c; }

static bool equals_ignoring_case(const char* a, const char* b) {
  while (*a != 0 && to_upper(*a) == to_upper(*b)) a++, b++;
  return *a == 0 && *b == 0;
}

static bool parse_bool(const char* s, long* value) {
  static const char* const yes[] = {"", "1", "TRUE", "YES", "ON"};
  static const char* const no[] = {"0", "FALSE", "NO", "OFF"};
  for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
    if (equals_ignoring_case(s, yes[i])) return *value = 1, true;
  for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
    if (equals_ignoring_case(s, no[i])) return *value = 0, true;
  return false;
}

/* A decimal integer with sign; saturates. `*rest` is what follows it. */
static bool parse_integer(const char* s, long long* value, const char** rest) {
  while (*s == ' ' || *s == '\t') s++;
  bool negative = (*s == '-');
  if (*s == '-' || *s == '+') s++;
  if (*s < '0' || *s > '9') return false;
  long long x = 0;
  for (; *s >= '0' && *s <= '9'; s++)
    if (__builtin_mul_overflow(x, 10LL, &x) || __builtin_add_overflow(x, (long long)(*s - '0'), &x))
      x = LLONG_MAX;
  *value = negative ? -x : x;
  *rest = s;
  return true;
}

/* Bytes with an optional suffix K, M, G or T, itself optionally followed by IB or B; to KiB. */
static bool parse_kib(const char* s, long* value) {
  long long x;
  if (!parse_integer(s, &x, &s)) return false;
  static const char suffixes[] = "KMGT";
  int shift = 0; /* of KiB; -1: the number counts bytes */
  const char* suffix = (*s != 0) ? strchr(suffixes, to_upper(*s)) : NULL;
  if (suffix != NULL) {
    shift = (int)(suffix - suffixes) * 10;
    s++;
  } else {
    shift = -1;
  }
  if (suffix != NULL && to_upper(s[0]) == 'I' && to_upper(s[1]) == 'B')
    s += 2;
  else if (to_upper(s[0]) == 'B')
    s += 1;
  if (*s != 0) return false;
  if (x < 0) x = 0;
  unsigned long long limit = ALLOC_MAX / KiB;
  unsigned long long kib = (unsigned long long)x;
  if (shift < 0)
    kib = kib / 1024 + (kib % 1024 != 0);
  else if (kib > (limit >> shift))
    kib = limit;
  else
    kib <<= shift;
  if (kib > limit) kib = limit;
  *value = kib > LONG_MAX ? LONG_MAX : (long)kib;
  return true;
}

static bool parse_value(mi_option_t o, const char* s, long* value) {
  if (parse_bool(s, value)) return true;
  if (is_counted_in_kib(o)) return parse_kib(s, value);
  long long x;
  if (!parse_integer(s, &x, &s) || *s != 0) return false;
  *value = x > LONG_MAX ? LONG_MAX : x < LONG_MIN ? LONG_MIN : (long)x;
  return true;
}

/* ---- environment ---- */

#define ENVIRONMENT_MAX 10000 /* entries looked at */
#define VALUE_MAX 64          /* characters of a value that count */

/* The value in "MIMALLOC_<name>=value" when `entry` names it, ignoring case; else NULL. */
static const char* value_in_entry(const char* entry, const char* name) {
  static const char prefix[] = "MIMALLOC_";
  for (const char* c = prefix; *c != 0; c++, entry++)
    if (to_upper(*entry) != *c) return NULL;
  for (; *name != 0; name++, entry++)
    if (to_upper(*entry) != to_upper(*name)) return NULL;
  return *entry == '=' ? entry + 1 : NULL;
}

static bool looks_like_ours(const char* entry) {
  return to_upper(entry[0]) == 'M' && to_upper(entry[1]) == 'I' && to_upper(entry[2]) == 'M';
}

/* One look at each entry spares nearly every program a search for each option. */
static bool environment_has_ours(void) {
  const char* entry;
  for (size_t i = 0; i < ENVIRONMENT_MAX && (entry = os_environment(i)) != NULL; i++)
    if (looks_like_ours(entry)) return true;
  return false;
}

static void option_from_environment(mi_option_t o, const char* text, const char* legacy) {
  option_t* opt = &options[o];
  char value[VALUE_MAX + 1];
  size_t n = 0;
  while (n < VALUE_MAX && text[n] != 0) value[n] = text[n], n++;
  value[n] = 0;
  if (legacy != NULL)
    log_warning("environment option MIMALLOC_%s is deprecated, use MIMALLOC_%s\n", legacy,
                opt->name);
  long x;
  if (parse_value(o, value, &x)) {
    store_relaxed(&opt->value, x);
    store_relaxed(&opt->source, FROM_ENVIRONMENT);
    option_published(o, x, true);
  } else {
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, 1);
    log_warning("environment option MIMALLOC_%s has an invalid value: %s\n", opt->name, value);
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, 0);
  }
}

INTERNAL void options_init(void) {
  for (int o = 0; o < _mi_option_last; o++)
    option_published((mi_option_t)o, load_relaxed(&options[o].value), true);
  if (os_is_privileged() || !environment_has_ours()) return;
  /* Current names first, so that a legacy name counts only where the current one is absent;
   * show_errors and verbose come before what they make visible. */
  for (int legacy = 0; legacy <= 1; legacy++) {
    for (int o = 0; o < _mi_option_last; o++) {
      option_t* opt = &options[o];
      const char* name = legacy ? opt->legacy_name : opt->name;
      if (name == NULL || load_relaxed(&opt->source) != FROM_DEFAULT) continue;
      const char* entry;
      for (size_t i = 0; i < ENVIRONMENT_MAX && (entry = os_environment(i)) != NULL; i++) {
        if (!looks_like_ours(entry)) continue;
        const char* text = value_in_entry(entry, name);
        if (text != NULL) {
          option_from_environment((mi_option_t)o, text, legacy ? name : NULL);
          break;
        }
      }
    }
  }
}

INTERNAL void options_print(mi_output_fun* out, void* arg) {
  for (int o = 0; o < _mi_option_last; o++)
    log_print(out, arg, "mimalloc: option %s: %ld%s\n", options[o].name,
              load_relaxed(&options[o].value), is_counted_in_kib((mi_option_t)o) ? " KiB" : "");
}

/* ---- the API ---- */

INTERNAL long option_value(mi_option_t option) { return load_relaxed(&options[option].value); }

long mi_option_get(mi_option_t option) mi_attr_noexcept {
  if (!is_option(option)) return 0;
  mi_process_init(); /* a getter may be the first call of all */
  return option_value(option);
}

long mi_option_get_clamp(mi_option_t option, long min, long max) mi_attr_noexcept {
  long x = mi_option_get(option);
  return x < min ? min : x > max ? max : x;
}

size_t mi_option_get_size(mi_option_t option) mi_attr_noexcept {
  long x = mi_option_get(option);
  size_t size = x < 0 ? 0 : (size_t)x;
  if (!is_option(option) || !is_counted_in_kib(option)) return size;
  return size > ALLOC_MAX / KiB ? ALLOC_MAX : size * KiB;
}

bool mi_option_is_enabled(mi_option_t option) mi_attr_noexcept {
  return mi_option_get(option) != 0;
}

void mi_option_set(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init(); /* else the environment would be read later and win */
  store_relaxed(&options[option].value, value);
  store_relaxed(&options[option].source, FROM_PROGRAM);
  option_published(option, value, false);
}

void mi_option_set_default(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init();
  if (load_relaxed(&options[option].source) != FROM_DEFAULT) return;
  store_relaxed(&options[option].value, value);
  option_published(option, value, false);
}

void mi_option_enable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 1); }
void mi_option_disable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 0); }
void mi_option_set_enabled(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set(option, enable ? 1 : 0);
}
void mi_option_set_enabled_default(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set_default(option, enable ? 1 : 0);
}
