/* options.c - what the environment and the program ask for.
 *
 * Owns:    the values of all options.
 * Always:  a value set by the program beats the environment, which beats the program's default
 *          string, which beats the default of the build. A value is one that makes sense for its
 *          option; any other is reported and leaves the option as it was.
 * Threads: any; each value stands for itself, so relaxed is enough throughout.
 * Uses:    log.h, os.h.          Used by: every floor above.
 */
#include "options.h"
#include "atomic.h"
#include "log.h"
#include "os/os.h"

typedef enum source_e { FROM_BUILD, FROM_STRING, FROM_ENVIRONMENT, FROM_PROGRAM } source_t;

enum {
  CLAMPED = 1, /* a number out of range becomes the nearest one that is not */
  KIB = 2,     /* counts KiB; in texts a size */
  OR_ZERO = 4  /* 0 is allowed besides the range */
};

#define LEGACY_MAX 2

typedef struct option_s {
  const char* name;
  const char* legacy[LEGACY_MAX]; /* names of other versions: accepted with a warning */
  long min, max;
  unsigned flags;
  _Atomic(int) source;  /* a source_t */
  _Atomic(int) refused; /* 1: a value from the program was, and that was reported */
  _Atomic(long) value;
} option_t;

#define ANY_MIN LONG_MIN
#define ANY_MAX LONG_MAX
#define KIB_MAX (ALLOC_MAX / KiB < LONG_MAX ? (long)(ALLOC_MAX / KiB) : LONG_MAX)

/* A default that a build has given is checked by the compiler. */
#define IN_RANGE(value, min, max, flags)                                                           \
  ((long)(value) + 0 * (long)sizeof(struct {                                                       \
                     _Static_assert(((value) >= (min) && (value) <= (max)) ||                      \
                                        (((flags)&OR_ZERO) != 0 && (value) == 0),                  \
                                    "a build-time default is out of its range");                   \
                     int unused;                                                                   \
                   }))
#define OPTION_OLD(name, value, min, max, flags, legacy1, legacy2)                                 \
  [mi_option_##name] = {#name, {legacy1, legacy2}, min, max,                                       \
                        flags, FROM_BUILD,         0,   IN_RANGE(value, min, max, flags)}
#define OPTION(name, value, min, max, flags) OPTION_OLD(name, value, min, max, flags, NULL, NULL)

/* What the values mean, and which have an effect here, stands in docs/options.md. CLAMPED is what
 * the interface documents as clamped, and every negative number where all of them mean the same.
 * The later name of abandoned_reclaim_on_free, which 3.4.3 reads as page_reclaim_on_free, is not
 * among the legacy names: it is the current name of an option of its own. */
static option_t options[OPTION_COUNT] = {
    OPTION(show_errors, MI_DEFAULT_SHOW_ERRORS, 0, 1, 0),
    OPTION(show_stats, MI_DEFAULT_SHOW_STATS, 0, 1, 0),
    OPTION(verbose, MI_DEFAULT_VERBOSE, 0, ANY_MAX, 0),
    OPTION_OLD(eager_commit, MI_DEFAULT_EAGER_COMMIT, 0, 1, 0, "deprecated_eager_commit", NULL),
    OPTION_OLD(arena_eager_commit, MI_DEFAULT_ARENA_EAGER_COMMIT, 0, 2, 0, "eager_region_commit",
               NULL),
    OPTION_OLD(purge_decommits, MI_DEFAULT_PURGE_DECOMMITS, 0, 1, 0, "reset_decommits", NULL),
    OPTION_OLD(allow_large_os_pages, MI_DEFAULT_ALLOW_LARGE_OS_PAGES, 0, 1, 0, "large_os_pages",
               NULL),
    OPTION(reserve_huge_os_pages, MI_DEFAULT_RESERVE_HUGE_OS_PAGES, 0, 131072, CLAMPED),
    OPTION(reserve_huge_os_pages_at, MI_DEFAULT_RESERVE_HUGE_OS_PAGES_AT, -1, INT_MAX, 0),
    OPTION(reserve_os_memory, MI_DEFAULT_RESERVE_OS_MEMORY, 0, KIB_MAX, CLAMPED | KIB),
    OPTION(deprecated_segment_cache, MI_DEFAULT_DEPRECATED_SEGMENT_CACHE, ANY_MIN, ANY_MAX, 0),
    OPTION(deprecated_page_reset, MI_DEFAULT_DEPRECATED_PAGE_RESET, 0, 1, 0),
    OPTION_OLD(abandoned_page_purge, MI_DEFAULT_ABANDONED_PAGE_PURGE, 0, 1, 0,
               "abandoned_page_reset", "deprecated_abandoned_page_purge"),
    OPTION(deprecated_segment_reset, MI_DEFAULT_DEPRECATED_SEGMENT_RESET, ANY_MIN, ANY_MAX, 0),
    OPTION_OLD(eager_commit_delay, MI_DEFAULT_EAGER_COMMIT_DELAY, 0, ANY_MAX, 0,
               "deprecated_eager_commit_delay", NULL),
    OPTION_OLD(purge_delay, MI_DEFAULT_PURGE_DELAY, -1, ANY_MAX, CLAMPED, "reset_delay", NULL),
    OPTION(use_numa_nodes, MI_DEFAULT_USE_NUMA_NODES, 0, INT_MAX, 0),
    OPTION_OLD(disallow_os_alloc, MI_DEFAULT_DISALLOW_OS_ALLOC, 0, 1, 0, "limit_os_alloc", NULL),
    OPTION(os_tag, MI_DEFAULT_OS_TAG, 100, 255, 0),
    OPTION(max_errors, MI_DEFAULT_MAX_ERRORS, -1, ANY_MAX, CLAMPED),
    OPTION(max_warnings, MI_DEFAULT_MAX_WARNINGS, -1, ANY_MAX, CLAMPED),
    OPTION_OLD(max_segment_reclaim, MI_DEFAULT_MAX_SEGMENT_RECLAIM, 0, 100, CLAMPED,
               "deprecated_max_segment_reclaim", NULL),
    OPTION(destroy_on_exit, MI_DEFAULT_DESTROY_ON_EXIT, 0, ANY_MAX, 0),
    OPTION(arena_reserve, MI_DEFAULT_ARENA_RESERVE, 0, KIB_MAX, CLAMPED | KIB),
    OPTION(arena_purge_mult, MI_DEFAULT_ARENA_PURGE_MULT, 0, ANY_MAX, 0),
    OPTION_OLD(purge_extend_delay, MI_DEFAULT_PURGE_EXTEND_DELAY, 0, ANY_MAX, 0,
               "decommit_extend_delay", "deprecated_purge_extend_delay"),
    OPTION(abandoned_reclaim_on_free, MI_DEFAULT_ABANDONED_RECLAIM_ON_FREE, 0, 1, 0),
    OPTION(disallow_arena_alloc, MI_DEFAULT_DISALLOW_ARENA_ALLOC, 0, 1, 0),
    OPTION(retry_on_oom, MI_DEFAULT_RETRY_ON_OOM, 0, 2000, CLAMPED),
    OPTION(visit_abandoned, MI_DEFAULT_VISIT_ABANDONED, 0, 1, 0),
    OPTION(guarded_min, MI_DEFAULT_GUARDED_MIN, 0, ANY_MAX, 0),
    OPTION(guarded_max, MI_DEFAULT_GUARDED_MAX, 0, ANY_MAX, 0),
    OPTION(guarded_precise, MI_DEFAULT_GUARDED_PRECISE, 0, 1, 0),
    OPTION(guarded_sample_rate, MI_DEFAULT_GUARDED_SAMPLE_RATE, 0, ANY_MAX, 0),
    OPTION(guarded_sample_seed, MI_DEFAULT_GUARDED_SAMPLE_SEED, ANY_MIN, ANY_MAX, 0),
    OPTION(target_segments_per_thread, MI_DEFAULT_TARGET_SEGMENTS_PER_THREAD, 0, 1024, CLAMPED),
    OPTION(generic_collect, MI_DEFAULT_GENERIC_COLLECT, 1, 1000000, CLAMPED),
    OPTION(allow_thp, MI_DEFAULT_ALLOW_THP, 0, 2, 0),
    OPTION(page_reclaim_on_free, MI_DEFAULT_PAGE_RECLAIM_ON_FREE, -1, 1, 0),
    OPTION(page_full_retain, MI_DEFAULT_PAGE_FULL_RETAIN, -1, 32, CLAMPED),
    OPTION(page_max_candidates, MI_DEFAULT_PAGE_MAX_CANDIDATES, 0, ANY_MAX, 0),
    OPTION(max_vabits, MI_DEFAULT_MAX_VABITS, 32, 64, OR_ZERO),
    OPTION(pagemap_commit, MI_DEFAULT_PAGEMAP_COMMIT, 0, 1, 0),
    OPTION(page_commit_on_demand, MI_DEFAULT_PAGE_COMMIT_ON_DEMAND, 0, 2, 0),
    OPTION(page_max_reclaim, MI_DEFAULT_PAGE_MAX_RECLAIM, -1, ANY_MAX, CLAMPED),
    OPTION(page_cross_thread_max_reclaim, MI_DEFAULT_PAGE_CROSS_THREAD_MAX_RECLAIM, -1, ANY_MAX,
           CLAMPED),
    OPTION(minimal_purge_size, MI_DEFAULT_MINIMAL_PURGE_SIZE, 0, KIB_MAX, CLAMPED | KIB),
    OPTION(arena_max_object_size, MI_DEFAULT_ARENA_MAX_OBJECT_SIZE, 0, KIB_MAX, CLAMPED | KIB),
    OPTION(arena_is_numa_local, MI_DEFAULT_ARENA_IS_NUMA_LOCAL, 0, 1, 0),
    OPTION(show_leaks, MI_DEFAULT_SHOW_LEAKS, 0, ANY_MAX, 0),
};
_Static_assert(MI_DEFAULT_GUARDED_MIN <= MI_DEFAULT_GUARDED_MAX, "two build-time defaults clash");

static bool is_option(mi_option_t o) { return (unsigned)o < (unsigned)_mi_option_last; }
static bool is_counted_in_kib(mi_option_t o) { return (options[o].flags & KIB) != 0; }

INTERNAL long option_value(mi_option_t option) { return load_relaxed(&options[option].value); }

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

/* ---- setting ---- */

/* Brings the number into range where that is documented; false: it makes no sense. */
static bool option_accepts(const option_t* opt, long* value) {
  if (*value >= opt->min && *value <= opt->max) return true;
  if ((opt->flags & OR_ZERO) != 0 && *value == 0) return true;
  if ((opt->flags & CLAMPED) == 0) return false;
  *value = *value < opt->min ? opt->min : opt->max;
  return true;
}

static void option_store(mi_option_t o, long value, source_t source) {
  store_relaxed(&options[o].value, value);
  store_relaxed(&options[o].source, (int)source);
  option_published(o, value, source == FROM_STRING || source == FROM_ENVIRONMENT);
}

static source_t option_source(mi_option_t o) { return (source_t)load_relaxed(&options[o].source); }

/* `value` is one that the option accepts. Of the two that limit sizes, one drags the other along,
 * so that the least is never above the largest; but a default stops at what somebody has set. */
static void option_set(mi_option_t o, long value, source_t source) {
  if (o == mi_option_guarded_min || o == mi_option_guarded_max) {
    bool is_min = (o == mi_option_guarded_min);
    mi_option_t other = is_min ? mi_option_guarded_max : mi_option_guarded_min;
    long limit = option_value(other);
    if (is_min ? value > limit : value < limit) {
      if (option_source(other) > source)
        value = limit;
      else
        option_store(other, value, source);
    }
  }
  option_store(o, value, source);
}

/* What the names of options are written with, by source. */
static const char* const prefixes[] = {"mi_option_set_default: ", "mi_default_options: ",
                                       "environment option MIMALLOC_", "mi_option_set: "};

static void report_refused(mi_option_t o, const char* text, source_t source) {
  const option_t* opt = &options[o];
  char range[64];
  const char* zero = (opt->flags & OR_ZERO) != 0 ? "0 or " : "";
  if ((opt->flags & KIB) != 0)
    format_text(range, sizeof(range), "a size, as in 64MiB");
  else if ((opt->flags & CLAMPED) != 0 || opt->min == ANY_MIN)
    format_text(range, sizeof(range), "a number"); /* whichever */
  else if (opt->max == ANY_MAX)
    format_text(range, sizeof(range), "at least %ld", opt->min);
  else
    format_text(range, sizeof(range), "%s%ld to %ld", zero, opt->min, opt->max);
  log_warning("%s%s: invalid value ignored: \"%s\"; valid is %s\n", prefixes[source], opt->name,
              text, range);
}

/* ---- names ---- */

#define VALUE_MAX 64       /* characters of a value that count */
#define NAME_MAX_LENGTH 40 /* that of every option is below */

static bool is_name(const char* text, size_t n, const char* name) {
  size_t i = 0;
  while (i < n && name[i] != 0 && to_upper(text[i]) == to_upper(name[i])) i++;
  return i == n && name[i] == 0;
}

/* The option of this name; `*legacy` is the name if it is one of another version, else NULL.
 * OPTION_COUNT: there is none. */
static mi_option_t option_by_name(const char* text, size_t n, const char** legacy) {
  for (int o = 0; o < OPTION_COUNT; o++) {
    *legacy = NULL;
    if (is_name(text, n, options[o].name)) return (mi_option_t)o;
    for (int k = 0; k < LEGACY_MAX && options[o].legacy[k] != NULL; k++) {
      *legacy = options[o].legacy[k];
      if (is_name(text, n, *legacy)) return (mi_option_t)o;
    }
  }
  return (mi_option_t)OPTION_COUNT;
}

/* How many characters must be inserted, removed or replaced to make one of the other. */
static size_t name_distance(const char* text, size_t n, const char* name) {
  unsigned char
      row[NAME_MAX_LENGTH + 1]; /* of the first i characters of text to each start of name */
  size_t length = strlen(name);
  mi_assert_internal(n <= NAME_MAX_LENGTH && length <= NAME_MAX_LENGTH);
  for (size_t k = 0; k <= length; k++) row[k] = (unsigned char)k;
  for (size_t i = 1; i <= n; i++) {
    size_t diagonal = row[0];
    row[0] = (unsigned char)i;
    for (size_t k = 1; k <= length; k++) {
      size_t replaced = diagonal + (to_upper(text[i - 1]) != to_upper(name[k - 1]));
      diagonal = row[k];
      row[k] = (unsigned char)min_size(replaced, min_size(row[k], row[k - 1]) + 1);
    }
  }
  return row[length];
}

/* The option whose name is most like the text; NULL if none is like it. */
static const char* similar_name(const char* text, size_t n) {
  const char* best = NULL;
  size_t least = 2 + n / 4; /* below it: one wrong character, one more for each four */
  if (n > NAME_MAX_LENGTH) return NULL;
  for (int o = 0; o < OPTION_COUNT; o++) {
    size_t distance = name_distance(text, n, options[o].name);
    for (int k = 0; k < LEGACY_MAX && options[o].legacy[k] != NULL; k++)
      distance = min_size(distance, name_distance(text, n, options[o].legacy[k]));
    if (distance >= least) continue;
    least = distance;
    best = options[o].name;
  }
  return best;
}

/* `length` characters of `written` are shown; the name in them has `n`. */
static void report_unknown(const char* where, const char* written, size_t length, const char* name,
                           size_t n) {
  char text[VALUE_MAX + 1];
  length = min_size(length, VALUE_MAX);
  memcpy(text, written, length);
  text[length] = 0;
  const char* similar = similar_name(name, n);
  if (similar != NULL)
    log_warning("%s: no such option: \"%s\"; did you mean %s?\n", where, text, similar);
  else
    log_warning("%s: no such option: \"%s\"\n", where, text);
}

/* ---- texts: the environment and the program's default string ---- */

#define ENVIRONMENT_MAX 10000 /* entries looked at */

typedef enum step_e { APPLY = 1, REPORT = 2 } step_t;

static const char name_prefix[] = "MIMALLOC_";

/* What follows `name` in `text`, ignoring case; NULL if the text begins otherwise. */
static const char* skip_name(const char* text, const char* name) {
  for (; *name != 0; name++, text++)
    if (to_upper(*text) != to_upper(*name)) return NULL;
  return text;
}

static bool is_separator(char c) {
  return c == ',' || c == ';' || c == ' ' || (c >= '\t' && c <= '\r');
}

/* The text of a value: up to its terminator, or also to a separator. */
static void option_from_text(mi_option_t o, const char* text, const char* legacy, source_t source,
                             unsigned steps) {
  char value[VALUE_MAX + 1];
  size_t n = 0;
  for (; n < VALUE_MAX && text[n] != 0; n++) {
    if (source == FROM_STRING && is_separator(text[n])) break;
    value[n] = text[n];
  }
  value[n] = 0;
  if (legacy != NULL && (steps & REPORT) != 0)
    log_warning("%s%s is deprecated, use %s\n", prefixes[source], legacy, options[o].name);
  long x;
  if (parse_value(o, value, &x) && option_accepts(&options[o], &x)) {
    if ((steps & APPLY) != 0) option_set(o, x, source);
  } else if ((steps & REPORT) != 0) {
    /* Somebody wanted to see messages; the least is to show this one. */
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, 1);
    report_refused(o, value, source);
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, option_value(o));
  }
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

/* The value of the first entry "MIMALLOC_<name>=value"; NULL if there is none. */
static const char* environment_value(const char* name) {
  const char* entry;
  for (size_t i = 0; i < ENVIRONMENT_MAX && (entry = os_environment(i)) != NULL; i++) {
    if (!looks_like_ours(entry)) continue;
    const char* rest = skip_name(entry, name_prefix);
    if (rest != NULL) rest = skip_name(rest, name);
    if (rest != NULL && *rest == '=') return rest + 1;
  }
  return NULL;
}

/* In the order of the options: show_errors and verbose come before what they make visible. */
static void options_from_environment(void) {
  for (int i = 0; i < OPTION_COUNT; i++) {
    mi_option_t o = (mi_option_t)i;
    const char* legacy = NULL;
    const char* text = environment_value(options[o].name);
    for (int k = 0; text == NULL && k < LEGACY_MAX && options[o].legacy[k] != NULL; k++) {
      legacy = options[o].legacy[k];
      text = environment_value(legacy);
    }
    if (text != NULL) option_from_text(o, text, legacy, FROM_ENVIRONMENT, APPLY | REPORT);
  }
}

/* A variable with our prefix that no option has is misspelt, or meant for another version. Only
 * where messages are shown is it worth looking for. */
static void report_unknown_variables(void) {
  if (load_relaxed(&log_config.show_errors) == 0 && load_relaxed(&log_config.verbose) == 0) return;
  const char *entry, *legacy;
  for (size_t i = 0; i < ENVIRONMENT_MAX && (entry = os_environment(i)) != NULL; i++) {
    const char* name = looks_like_ours(entry) ? skip_name(entry, name_prefix) : NULL;
    const char* end = name != NULL ? strchr(name, '=') : NULL;
    if (end == NULL) continue;
    size_t n = (size_t)(end - name);
    if (option_by_name(name, n, &legacy) == OPTION_COUNT)
      report_unknown("environment", entry, (size_t)(end - entry), name, n);
  }
}

#if defined(__ELF__)
extern const char mi_default_options[] __attribute__((weak, visibility("default")));
static const char* default_string(void) {
  const char* text = mi_default_options;
  __asm__("" : "+r"(text)); /* compilers know that no array lies at NULL */
  return text;
}
#else
static const char* default_string(void) { return NULL; }
#endif

static void option_from_entry(const char* entry, size_t length, unsigned steps) {
  const char* name = skip_name(entry, name_prefix);
  if (name == NULL) name = entry;
  size_t n = 0;
  while (name[n] != 0 && name[n] != '=' && !is_separator(name[n])) n++;
  const char* legacy;
  mi_option_t o = option_by_name(name, n, &legacy);
  /* A name alone has an empty value, which means 1. */
  if (o != OPTION_COUNT)
    option_from_text(o, name + n + (name[n] == '='), legacy, FROM_STRING, steps);
  else if ((steps & REPORT) != 0)
    report_unknown("mi_default_options", entry, length, name, n);
}

/* Entries "name=value" or "name"; the later of two wins. */
static void options_from_string(const char* s, step_t step) {
  while (*s != 0) {
    const char* entry = s;
    while (*s != 0 && !is_separator(*s)) s++;
    if (s != entry) option_from_entry(entry, (size_t)(s - entry), step);
    if (*s != 0) s++;
  }
}

INTERNAL void options_init(void) {
  const char* string = default_string();
  for (int o = 0; o < OPTION_COUNT; o++)
    option_published((mi_option_t)o, load_relaxed(&options[o].value), true);
  if (string != NULL) options_from_string(string, APPLY);
  bool is_given = !os_is_privileged() && environment_has_ours();
  if (is_given) options_from_environment();
  /* Only now, because the environment may say whether and where reports are shown. */
  if (is_given) report_unknown_variables();
  if (string != NULL) options_from_string(string, REPORT);
  if (option_value(mi_option_allow_thp) == 0 && !os_disable_huge_pages())
    log_warning("cannot disable transparent huge pages\n");
}

INTERNAL void options_print(mi_output_fun* out, void* arg) {
  for (int o = 0; o < OPTION_COUNT; o++)
    log_print(out, arg, "mimalloc: option %s: %ld%s\n", options[o].name,
              load_relaxed(&options[o].value), is_counted_in_kib((mi_option_t)o) ? " KiB" : "");
}

/* ---- the API ---- */

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

/* The program asks. What makes no sense is reported once, lest a loop floods the log. */
static void option_ask(mi_option_t o, long value, source_t source) {
  option_t* opt = &options[o];
  long accepted = value;
  if (option_accepts(opt, &accepted)) {
    option_set(o, accepted, source);
  } else if (or_relaxed(&opt->refused, 1) == 0) {
    char text[24];
    format_text(text, sizeof(text), "%ld", value);
    report_refused(o, text, source);
  }
}

void mi_option_set(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init(); /* else the environment would be read later and win */
  option_ask(option, value, FROM_PROGRAM);
}

void mi_option_set_default(mi_option_t option, long value) mi_attr_noexcept {
  if (!is_option(option)) return;
  mi_process_init();
  /* The default string is the program's own word: it counts as set. */
  if (option_source(option) == FROM_BUILD) option_ask(option, value, FROM_BUILD);
}

void mi_option_enable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 1); }
void mi_option_disable(mi_option_t option) mi_attr_noexcept { mi_option_set(option, 0); }
void mi_option_set_enabled(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set(option, enable ? 1 : 0);
}
void mi_option_set_enabled_default(mi_option_t option, bool enable) mi_attr_noexcept {
  mi_option_set_default(option, enable ? 1 : 0);
}
