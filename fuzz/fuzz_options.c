/* fuzz_options.c - texts and numbers as options, against docs/guide.md written down once more.
 *
 * Contains the library, so that the environment can be read for each input, not once a process.
 * An input has three parts: the environment, an entry on each line; after a 0 the default string;
 * after another 0 calls, see run_calls(). A byte from 0x80 on stands for an option's name.
 */
#include "all.c"
#include "fuzz.h"

#define TEXT_MAX 8192
#define ENTRIES_MAX 64
#define SOURCES (FROM_PROGRAM + 1)

static option_t pristine[OPTION_COUNT];
static log_config_t pristine_log;

/* What the library should have. */
static long expected[OPTION_COUNT];
static int expected_source[OPTION_COUNT];

/* ---- names ---------------------------------------------------------------------- */

#define NAMES_MAX 128
static const char* names[NAMES_MAX]; /* all of them, older ones last */
static size_t name_count;

static void names_init(void) {
  for (int i = 0; i < OPTION_COUNT; i++) names[name_count++] = option_table[i].names[0];
  for (int i = 0; i < OPTION_COUNT; i++)
    for (int k = 1; k < OPTION_NAMES; k++)
      if (option_table[i].names[k] != NULL) names[name_count++] = option_table[i].names[k];
  FUZZ_CHECK(name_count <= NAMES_MAX);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool same_ignoring_case(const char* a, const char* b, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

/* ---- the rules ------------------------------------------------------------------- */

static bool rule_word(const char* s, size_t n, long* value) {
  static const char* const words[] = {"", "1", "true", "yes", "on", "0", "false", "no", "off"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == n && same_ignoring_case(s, words[i], n)) return *value = i < 5, true;
  return false;
}

/* Bytes or a number with so many digits that they overflow anything are all the same. */
static bool rule_number(const char* s, size_t n, bool is_size, long* value) {
  size_t i = 0;
  while (i < n && (s[i] == ' ' || s[i] == '\t')) i++;
  bool negative = i < n && s[i] == '-';
  if (i < n && (s[i] == '-' || s[i] == '+')) i++;
  size_t first = i;
  __extension__ unsigned __int128 x = 0;
  for (; i < n && s[i] >= '0' && s[i] <= '9'; i++)
    if (x < (UINT64_MAX >> 1)) x = x * 10 + (unsigned)(s[i] - '0');
  if (i == first) return false;
  if (x > LONG_MAX) x = LONG_MAX;
  if (!is_size) {
    if (i != n) return false;
    *value = negative ? -(long)x : (long)x;
    return true;
  }
  int power = 0;
  static const char letters[] = "kmgt";
  const char* letter = i < n ? strchr(letters, lower(s[i])) : NULL;
  if (letter != NULL) power = 1 + (int)(letter - letters), i++;
  if (power > 0 && n - i >= 2 && same_ignoring_case(s + i, "ib", 2))
    i += 2;
  else if (n - i >= 1 && lower(s[i]) == 'b')
    i++;
  if (i != n) return false;
  for (int k = 1; k < power; k++) x *= 1024;
  if (power == 0) x = (x + 1023) / 1024;
  if (x > ALLOC_MAX / 1024) x = ALLOC_MAX / 1024;
  *value = negative ? 0 : (long)x;
  return true;
}

/* In range, or brought into it; false: it makes no sense. */
static bool rule_range(int o, long* value) {
  const option_t* row = &option_table[o];
  if ((row->flags & OR_ZERO) != 0 && *value == 0) return true;
  if (*value >= row->min && *value <= row->max) return true;
  if ((row->flags & CLAMPED) == 0) return false;
  *value = *value < row->min ? row->min : row->max;
  return true;
}

static void rule_set(int o, long value, int source) {
  if (!rule_range(o, &value)) return;
  int other = o == mi_option_guarded_min   ? mi_option_guarded_max
              : o == mi_option_guarded_max ? mi_option_guarded_min
                                           : -1;
  bool crossed = other >= 0 &&
                 (o == mi_option_guarded_min ? value > expected[other] : value < expected[other]);
  if (crossed && expected_source[other] > source) {
    value = expected[other];
  } else if (crossed) {
    expected[other] = value;
    expected_source[other] = source;
  }
  expected[o] = value;
  expected_source[o] = source;
}

static void rule_text(int o, const char* s, size_t n, int source) {
  long value;
  if (n > 64) n = 64;
  if (rule_word(s, n, &value) || rule_number(s, n, (option_table[o].flags & KIB) != 0, &value))
    rule_set(o, value, source);
}

static const char prefix[] = "mimalloc_";

/* The value of the first entry with this name; NULL: there is none. */
static const char* rule_find(char** entries, const char* name) {
  size_t p = sizeof prefix - 1, n = strlen(name);
  for (; *entries != NULL; entries++) {
    const char* e = *entries;
    if (strlen(e) > p + n && same_ignoring_case(e, prefix, p) &&
        same_ignoring_case(e + p, name, n) && e[p + n] == '=')
      return e + p + n + 1;
  }
  return NULL;
}

static void rule_environment(char** entries) {
  for (int o = 0; o < OPTION_COUNT; o++) {
    const char* value = NULL;
    for (int k = 0; value == NULL && k < OPTION_NAMES && option_table[o].names[k] != NULL; k++)
      value = rule_find(entries, option_table[o].names[k]);
    if (value != NULL) rule_text(o, value, strlen(value), FROM_ENVIRONMENT);
  }
}

static void rule_entry(const char* entry, size_t n) {
  size_t p = sizeof prefix - 1;
  if (n >= p && same_ignoring_case(entry, prefix, p)) entry += p, n -= p;
  const char* equals = memchr(entry, '=', n);
  size_t name = equals != NULL ? (size_t)(equals - entry) : n;
  for (int o = 0; o < OPTION_COUNT; o++) {
    const char* const* all = option_table[o].names;
    for (int k = 0; k < OPTION_NAMES; k++) {
      if (all[k] == NULL || strlen(all[k]) != name || !same_ignoring_case(entry, all[k], name))
        continue;
      if (equals != NULL)
        rule_text(o, equals + 1, n - name - 1, FROM_STRING);
      else
        rule_text(o, "", 0, FROM_STRING);
      return;
    }
  }
}

static void rule_string(const char* s) {
  static const char between[] = ",; \t\n\v\f\r";
  for (s += strspn(s, between); *s != 0; s += strspn(s, between)) {
    size_t n = strcspn(s, between);
    rule_entry(s, n);
    s += n;
  }
}

/* ---- a run ------------------------------------------------------------------------ */

static void on_message(const char* message, void* arg) {
  (void)arg;
  size_t n = strlen(message);
  FUZZ_CHECK(n < MESSAGE_MAX && strncmp(message, "mimalloc: ", 10) == 0);
  TRACE("%s", message);
}

static void check_all(const char* when) {
  for (int o = 0; o < _mi_option_last; o++) {
    long value = mi_option_get((mi_option_t)o);
    if (value != expected[o] || option_table[o].source != expected_source[o])
      FUZZ_FAIL("%s: %s is %ld from %d, not %ld from %d", when, option_table[o].names[0], value,
                (int)option_table[o].source, expected[o], expected_source[o]);
    FUZZ_CHECK(mi_option_is_enabled((mi_option_t)o) == (value != 0));
    __extension__ unsigned __int128 size = value < 0 ? 0 : (unsigned long)value;
    if ((option_table[o].flags & KIB) != 0) size *= 1024;
    if ((option_table[o].flags & KIB) != 0 && size > ALLOC_MAX) size = ALLOC_MAX;
    FUZZ_CHECK(mi_option_get_size((mi_option_t)o) == size);
  }
  FUZZ_CHECK(expected[mi_option_guarded_min] <= expected[mi_option_guarded_max]);
  FUZZ_CHECK(log_config.show_errors == expected[mi_option_show_errors]);
  FUZZ_CHECK(log_config.verbose == expected[mi_option_verbose]);
}

/* A part of the input as text, names written out. */
static void take_part(input_t* in, char* text, const char* before_name, char after_name) {
  size_t n = 0;
  uint8_t c;
  while (!input_ended(in) && (c = take8(in)) != 0) {
    if (n > TEXT_MAX - 100) continue;
    if (c < 0x80) {
      text[n++] = (char)c;
    } else {
      const char* name = names[(c & 0x7f) % name_count];
      n += (size_t)snprintf(text + n, 90, "%s%s%c", before_name, name, after_name);
    }
  }
  text[n] = 0;
}

static void split(char* text, char** entries) {
  size_t n = 0;
  while (*text != 0 && n < ENTRIES_MAX) {
    entries[n++] = text;
    text += strcspn(text, "\n");
    if (*text != 0) *text++ = 0;
  }
  entries[n] = NULL;
}

static long take_long(input_t* in) {
  uint8_t k = take8(in);
  if (k < 128) return (long)k - 64;
  if (k < 192) return (long)(((uint64_t)1 << (k & 63)) - (take8(in) & 3));
  return (long)take64(in);
}

/* An option that may be none, and what is done to it. */
static void run_calls(input_t* in) {
  while (!input_ended(in)) {
    uint8_t call = take8(in), which = take8(in);
    int o = which < 200   ? which % (_mi_option_last + 1)
            : which < 228 ? (int)(which - 228)
                          : (int)take64(in);
    bool valid = o >= 0 && o < _mi_option_last;
    mi_option_t option = (mi_option_t)o;
    long value = take_long(in);
    bool by_default = false, sets = true;
    switch (call % 8) {
    case 0:
      mi_option_set(option, value);
      break;
    case 1:
      mi_option_set_default(option, value);
      by_default = true;
      break;
    case 2:
      mi_option_enable(option);
      value = 1;
      break;
    case 3:
      mi_option_disable(option);
      value = 0;
      break;
    case 4:
      value = value != 0;
      mi_option_set_enabled(option, value);
      break;
    case 5:
      value = value != 0;
      mi_option_set_enabled_default(option, value);
      by_default = true;
      break;
    default: {
      long min = value, max = take_long(in), x = valid ? expected[o] : 0;
      long clamped = mi_option_get_clamp(option, min, max);
      FUZZ_CHECK(clamped == (x < min ? min : x > max ? max : x));
      sets = false;
      break;
    }
    }
    if (!valid) {
      FUZZ_CHECK(mi_option_get(option) == 0 && mi_option_get_size(option) == 0);
      FUZZ_CHECK(!mi_option_is_enabled(option));
    } else if (sets && (!by_default || expected_source[o] == FROM_BUILD)) {
      rule_set(o, value, by_default ? FROM_BUILD : FROM_PROGRAM);
    }
  }
}

static void run(const uint8_t* data, size_t size) {
  static char environment[TEXT_MAX], string[TEXT_MAX];
  char* entries[ENTRIES_MAX + 1];
  input_t in = {data, data + size};
  memcpy(option_table, pristine, sizeof option_table);
  log_config = pristine_log;
  for (int o = 0; o < OPTION_COUNT; o++) {
    expected[o] = option_table[o].value;
    expected_source[o] = FROM_BUILD;
  }
  take_part(&in, environment, "MIMALLOC_", '=');
  take_part(&in, string, "", '=');
  rule_string(string);

  split(environment, entries);
  rule_environment(entries);
  char** own = environ;
  environ = entries; /* what options_init does, but for the kernel */
  options_from_string(string, APPLY);
  if (environment_has_ours()) options_from_environment();
  options_from_string(string, REPORT);
  environ = own;
  check_all("texts");
  FUZZ_CHECK(log_config.max_errors == (expected_source[mi_option_max_errors] == FROM_BUILD
                                           ? pristine_log.max_errors
                                           : expected[mi_option_max_errors]));
  run_calls(&in);
  check_all("calls");
  options_print(&on_message, NULL);
  memcpy(option_table, pristine, sizeof option_table); /* the end of the process looks at them */
  log_config = pristine_log;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (name_count == 0) {
    trace = getenv("FUZZ_TRACE") != NULL;
    mi_process_init();
    mi_register_output(&on_message, NULL);
    memcpy(pristine, option_table, sizeof option_table);
    pristine_log = log_config;
    for (int o = 0; o < OPTION_COUNT; o++) {
      /* Whatever is in the environment of this process. */
      FUZZ_CHECK(option_table[o].source == FROM_BUILD);
    }
    names_init();
  }
  run(data, size);
  return 0;
}
