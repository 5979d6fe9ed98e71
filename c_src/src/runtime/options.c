/* options.c - the values of the options, and where they come from.
 *
 * Owns:    the values of all options.
 * Always:  a value from the program overrides the environment, which overrides the program's
 *          default string, which overrides the default of the build. An option accepts only values
 *          in its range. Any other value is reported and changes nothing.
 * Threads: any; each value is independent of the others, so all accesses are relaxed.
 */
#include "option_list.h"
#include "options.h"
#include "../base/atomic.h"
#include "log.h"

#define OPTION_NAMES 3

typedef struct option_s {
  long min, max;
  const char* names[OPTION_NAMES]; /* those after the first, of other versions, raise a warning */
  unsigned flags;
  _Atomic(int) source;  /* a source_t */
  _Atomic(int) refused; /* 1: a value from the program was refused and reported */
  _Atomic(long) value;
} option_t;

/* The compiler checks the defaults, which a build may set. */
#define IN_RANGE(value, min, max, flags)                                                           \
  ((long)(value) + 0 * (long)sizeof(struct {                                                       \
                     _Static_assert(((value) >= (min) && (value) <= (max)) ||                      \
                                        (((flags)&OR_ZERO) != 0 && (value) == 0),                  \
                                    "a build-time default is out of its range");                   \
                     int unused;                                                                   \
                   }))

#define TABLE_ENTRY(name, NAME, value, min, max, flags, legacy1, legacy2)                          \
  [mi_option_##name] = {min,                                                                       \
                        max,                                                                       \
                        {#name, legacy1, legacy2},                                                 \
                        flags,                                                                     \
                        FROM_BUILD,                                                                \
                        0,                                                                         \
                        IN_RANGE(OPTION_DEFAULT(NAME), min, max, flags)},
static option_t option_table[OPTION_COUNT] = {OPTION_LIST(TABLE_ENTRY)};
_Static_assert(OPTION_DEFAULT(GUARDED_MIN) <= OPTION_DEFAULT(GUARDED_MAX),
               "two build-time defaults clash");

INTERNAL bool is_option(mi_option_t o) { return (unsigned)o < (unsigned)_mi_option_last; }
/* Each name of the option, by its index `k`. */
#define FOR_NAMES(o, k) for (int k = 0; k < OPTION_NAMES && option_table[o].names[k] != NULL; k++)

static bool is_counted_in_kib(mi_option_t o) { return (option_table[o].flags & KIB) != 0; }

INTERNAL long option_value(mi_option_t option) { return load_relaxed(&option_table[option].value); }

/* The copies that the log keeps of some options. */
static _Atomic(long)* const copies[OPTION_COUNT] = {
    [mi_option_show_errors] = &log_config.show_errors,
    [mi_option_verbose] = &log_config.verbose,
    [mi_option_max_errors] = &log_config.max_errors,
    [mi_option_max_warnings] = &log_config.max_warnings,
};

static void option_published(mi_option_t o, long value, bool at_start) {
  /* The limits are fixed at the start of the process. */
  bool is_limit = o == mi_option_max_errors || o == mi_option_max_warnings;
  if (copies[o] != NULL && (at_start || !is_limit)) store_relaxed(copies[o], value);
}

/* ---- parsing ---- */

static char to_upper(char c) { return (c >= 'a' && c <= 'z') ? (char)(c - 'a' + 'A') : c; }

/* The rest of `text` after `name`, ignoring case; NULL if `text` does not begin with `name`. */
static const char* skip_name(const char* text, const char* name) {
  for (; *name != 0; name++, text++)
    if (to_upper(*text) != to_upper(*name)) return NULL;
  return text;
}

/* True if the first `n` characters of `text` are the name. */
static bool is_name(const char* text, size_t n, const char* name) {
  return strlen(name) == n && skip_name(text, name) != NULL;
}

static bool parse_bool(const char* s, long* value) {
  static const char* const words[] = {"0", "1", "FALSE", "TRUE", "NO", "YES", "OFF", "ON"};
  *value = 1;
  if (*s == 0) return true;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
    if (is_name(s, strlen(s), words[i])) return *value = i % 2, true;
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
    if (!multiply_fits(x, 10LL, &x) || !add_fits(x, (long long)(*s - '0'), &x)) x = LLONG_MAX;
  *value = negative ? -x : x;
  *rest = s;
  return true;
}

/* A number of bytes, or a number with a unit K, M, G or T, which IB or B may follow. `*value`
 * becomes the size in KiB. */
static bool parse_kib(const char* s, long* value) {
  static const char units[] = "KMGT";
  long long x;
  if (!parse_integer(s, &x, &s)) return false;
  const char* unit = *s != 0 ? strchr(units, to_upper(*s)) : NULL;
  if (unit != NULL) s++;
  if (unit != NULL && to_upper(s[0]) == 'I' && to_upper(s[1]) == 'B') s++;
  if (to_upper(*s) == 'B') s++;
  if (*s != 0) return false;
  unsigned long long kib = x < 0 ? 0 : (unsigned long long)x;
  int shift = unit != NULL ? (int)(unit - units) * 10 : 0;
  if (unit == NULL) kib = kib / 1024 + (kib % 1024 != 0); /* the number counts bytes */
  *value = kib > (unsigned long long)KIB_MAX >> shift ? KIB_MAX : (long)(kib << shift);
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

/* True if the option accepts the number, which is clamped where the option says so. */
static bool option_accepts(const option_t* opt, long* value) {
  if (*value >= opt->min && *value <= opt->max) return true;
  if ((opt->flags & OR_ZERO) != 0 && *value == 0) return true;
  if ((opt->flags & CLAMPED) == 0) return false;
  *value = *value < opt->min ? opt->min : opt->max;
  return true;
}

static void option_store(mi_option_t o, long value, source_t source) {
  store_relaxed(&option_table[o].value, value);
  store_relaxed(&option_table[o].source, (int)source);
  option_published(o, value, source == FROM_STRING || source == FROM_ENVIRONMENT);
}

INTERNAL source_t option_source(mi_option_t o) {
  return (source_t)load_relaxed(&option_table[o].source);
}

/* Sets a value that the option accepts. guarded_min is never above guarded_max: a new value of one
 * moves the other too, but only if the other's value comes from a source that does not override
 * this one. Otherwise the new value stops at the other's. */
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

/* By source: the text before the name of an option in a message. */
static const char* const prefixes[] = {"mi_option_set_default: ", "mi_default_options: ",
                                       "environment option MIMALLOC_", "mi_option_set: "};

static void report_refused(mi_option_t o, const char* text, source_t source) {
  const option_t* opt = &option_table[o];
  char range[64];
  const char* zero = (opt->flags & OR_ZERO) != 0 ? "0 or " : "";
  if ((opt->flags & KIB) != 0)
    format_text(range, sizeof(range), "a size, as in 64MiB");
  else if ((opt->flags & CLAMPED) != 0 || opt->min == ANY_MIN)
    format_text(range, sizeof(range), "a number"); /* any number */
  else if (opt->max == ANY_MAX)
    format_text(range, sizeof(range), "at least %ld", opt->min);
  else
    format_text(range, sizeof(range), "%s%ld to %ld", zero, opt->min, opt->max);
  log_warning("%s%s: invalid value ignored: \"%s\"; valid is %s\n", prefixes[source], opt->names[0],
              text, range);
}

/* ---- names ---- */

#define VALUE_MAX 64       /* further characters of a value are ignored */
#define NAME_MAX_LENGTH 40 /* above the length of every name */

/* The option with this name; OPTION_COUNT if there is none. `*legacy` becomes the name if it comes
 * from another version, else NULL. */
static mi_option_t option_by_name(const char* text, size_t n, const char** legacy) {
  for (int o = 0; o < OPTION_COUNT; o++) {
    FOR_NAMES(o, k) {
      *legacy = k == 0 ? NULL : option_table[o].names[k];
      if (is_name(text, n, option_table[o].names[k])) return (mi_option_t)o;
    }
  }
  return (mi_option_t)OPTION_COUNT;
}

/* How many characters must be inserted, removed or replaced to turn one text into the other. */
static size_t name_distance(const char* text, size_t n, const char* name) {
  unsigned char
      row[NAME_MAX_LENGTH + 1]; /* from the first i characters of `text` to each prefix of `name` */
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

/* The name of the option most like the text; NULL if none is like it. */
static const char* similar_name(const char* text, size_t n) {
  const char* best = NULL;
  size_t least = 2 + n / 4; /* allows one wrong character, and one more for each four */
  if (n > NAME_MAX_LENGTH) return NULL;
  for (int o = 0; o < OPTION_COUNT; o++) {
    FOR_NAMES(o, k) {
      size_t distance = name_distance(text, n, option_table[o].names[k]);
      if (distance >= least) continue;
      least = distance;
      best = option_table[o].names[0];
    }
  }
  return best;
}

static void copy_text(char* to, const char* text, size_t n) {
  n = min_size(n, VALUE_MAX);
  memcpy(to, text, n);
  to[n] = 0;
}

/* Shows `length` characters of `written`. The name has `n` characters. */
static void report_unknown(const char* where, const char* written, size_t length, const char* name,
                           size_t n) {
  char text[VALUE_MAX + 1];
  copy_text(text, written, length);
  const char* similar = similar_name(name, n);
  if (similar != NULL)
    log_warning("%s: no such option: \"%s\"; did you mean %s?\n", where, text, similar);
  else
    log_warning("%s: no such option: \"%s\"\n", where, text);
}

/* ---- texts: the environment and the program's default string ---- */

#define ENVIRONMENT_MAX 10000 /* further entries are ignored */

typedef enum step_e { APPLY = 1, REPORT = 2 } step_t;

static const char name_prefix[] = "MIMALLOC_";

#define SEPARATORS ",; \t\n\v\f\r" /* of entries of the default string */

/* The value ends at the terminator; in the default string it also ends at a separator. */
static void option_from_text(mi_option_t o, const char* text, const char* legacy, source_t source,
                             unsigned steps) {
  char value[VALUE_MAX + 1];
  copy_text(value, text, source == FROM_STRING ? strcspn(text, SEPARATORS) : strlen(text));
  if (legacy != NULL && (steps & REPORT) != 0)
    log_warning("%s%s is deprecated, use %s\n", prefixes[source], legacy, option_table[o].names[0]);
  long x;
  if (parse_value(o, value, &x) && option_accepts(&option_table[o], &x)) {
    if ((steps & APPLY) != 0) option_set(o, x, source);
  } else if ((steps & REPORT) != 0) {
    /* An invalid value of `verbose` is itself reported, even if messages are off. */
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, 1);
    report_refused(o, value, source);
    if (o == mi_option_verbose) store_relaxed(&log_config.verbose, option_value(o));
  }
}

/* The next entry of the environment from `*i` on that begins with the prefix, without it; NULL if
 * there is none. */
static const char* next_of_ours(size_t* i) {
  const char *entry, *rest;
  while (*i < ENVIRONMENT_MAX && (entry = os_environment((*i)++)) != NULL)
    if ((rest = skip_name(entry, name_prefix)) != NULL) return rest;
  return NULL;
}

/* Nearly every program sets no option in its environment. One pass finds that out, without a search
 * for each option. */
static bool environment_has_ours(void) {
  size_t i = 0;
  return next_of_ours(&i) != NULL;
}

/* The value of the first entry "MIMALLOC_<name>=value"; NULL if there is none. */
static const char* environment_value(const char* name) {
  const char *entry, *rest;
  for (size_t i = 0; (entry = next_of_ours(&i)) != NULL;)
    if ((rest = skip_name(entry, name)) != NULL && *rest == '=') return rest + 1;
  return NULL;
}

/* In the order of the list: show_errors and verbose come before the options whose messages they
 * enable. */
static void options_from_environment(void) {
  for (int i = 0; i < OPTION_COUNT; i++) {
    mi_option_t o = (mi_option_t)i;
    FOR_NAMES(o, k) {
      const char *name = option_table[o].names[k], *text = environment_value(name);
      if (text == NULL) continue;
      option_from_text(o, text, k == 0 ? NULL : name, FROM_ENVIRONMENT, APPLY | REPORT);
      break;
    }
  }
}

/* Reports variables with the prefix MIMALLOC_ that name no option: they are misspelt, or meant for
 * another version. The search runs only if messages are shown. */
static void report_unknown_variables(void) {
  if (load_relaxed(&log_config.show_errors) == 0 && load_relaxed(&log_config.verbose) == 0) return;
  const char *name, *legacy;
  for (size_t i = 0; (name = next_of_ours(&i)) != NULL;) {
    size_t n = strcspn(name, "="), prefix = sizeof(name_prefix) - 1;
    if (name[n] != 0 && option_by_name(name, n, &legacy) == OPTION_COUNT)
      report_unknown("environment", name - prefix, prefix + n, name, n);
  }
}

#if defined(__ELF__)
extern const char mi_default_options[] __attribute__((weak, visibility("default")));
static const char* default_string(void) {
  const char* text = mi_default_options;
  /* A compiler may assume that an array is never NULL, but a weak one may be. */
  __asm__("" : "+r"(text));
  return text;
}
#else
static const char* default_string(void) { return NULL; }
#endif

static void option_from_entry(const char* entry, size_t length, unsigned steps) {
  const char* name = skip_name(entry, name_prefix);
  if (name == NULL) name = entry;
  size_t n = strcspn(name, "=" SEPARATORS);
  const char* legacy;
  mi_option_t o = option_by_name(name, n, &legacy);
  /* A name alone has an empty value, which means 1. */
  if (o != OPTION_COUNT)
    option_from_text(o, name + n + (name[n] == '='), legacy, FROM_STRING, steps);
  else if ((steps & REPORT) != 0)
    report_unknown("mi_default_options", entry, length, name, n);
}

/* Entries "name=value" or "name"; a later entry overrides an earlier one. */
static void options_from_string(const char* s, step_t step) {
  for (size_t n; *(s += strspn(s, SEPARATORS)) != 0; s += n) {
    n = strcspn(s, SEPARATORS);
    option_from_entry(s, n, step);
  }
}

INTERNAL void options_init(void) {
  const char* string = default_string();
  for (int o = 0; o < OPTION_COUNT; o++)
    option_published((mi_option_t)o, load_relaxed(&option_table[o].value), true);
  if (string != NULL) options_from_string(string, APPLY);
  bool is_given = !os_is_privileged() && environment_has_ours();
  if (is_given) options_from_environment();
  /* Reports come last, because the environment may enable them. */
  if (is_given) report_unknown_variables();
  if (string != NULL) options_from_string(string, REPORT);
  if (option_value(mi_option_allow_thp) == 0) os_disable_huge_pages();
}

INTERNAL void options_print(mi_output_fun* out, void* arg) {
  for (int o = 0; o < OPTION_COUNT; o++)
    log_print(out, arg, "mimalloc: option %s: %ld%s\n", option_table[o].names[0],
              load_relaxed(&option_table[o].value),
              is_counted_in_kib((mi_option_t)o) ? " KiB" : "");
}

INTERNAL size_t option_size_of(mi_option_t option, long x) {
  size_t size = x < 0 ? 0 : (size_t)x;
  if (!is_option(option) || !is_counted_in_kib(option)) return size;
  return size > ALLOC_MAX / KiB ? ALLOC_MAX : size * KiB;
}

INTERNAL size_t option_size(mi_option_t option) {
  return option_size_of(option, option_value(option));
}

INTERNAL void option_ask(mi_option_t o, long value, source_t source) {
  option_t* opt = &option_table[o];
  long accepted = value;
  if (option_accepts(opt, &accepted)) {
    option_set(o, accepted, source);
  } else if (or_relaxed(&opt->refused, 1) == 0) {
    char text[24];
    format_text(text, sizeof(text), "%ld", value);
    report_refused(o, text, source);
  }
}
