/* json.h - reads the JSON that the library prints: whether a text is JSON, and the number of a key.
 */
#pragma once
#include "check.h"

/* The end of the value that starts at `s`; NULL if it is no value. Covers JSON without the forms of
 * numbers and strings that the library never prints. */
CHECK_UNUSED static const char* skip_blank(const char* s) { return s + strspn(s, " \n\r\t"); }

CHECK_UNUSED static const char* json_string(const char* s) {
  if (*s++ != '"') return NULL;
  s += strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
  return *s == '"' ? s + 1 : NULL;
}

CHECK_UNUSED static const char* json_number(const char* s) {
  if (*s == '-') s++;
  size_t digits = strspn(s, "0123456789");
  return digits == 0 || (digits > 1 && *s == '0') ? NULL : s + digits;
}

CHECK_UNUSED static const char*
json_value(const char* s) { /* NOLINT(misc-no-recursion): two levels deep */
  char open = *s, close = open == '{' ? '}' : ']';
  if (open == '"') return json_string(s);
  if (open != '{' && open != '[') return json_number(s);
  s = skip_blank(s + 1);
  if (*s == close) return s + 1;
  for (;;) {
    if (open == '{') {
      if ((s = json_string(s)) == NULL || *(s = skip_blank(s)) != ':') return NULL;
      s = skip_blank(s + 1);
    }
    if ((s = json_value(s)) == NULL) return NULL;
    s = skip_blank(s);
    if (*s == close) return s + 1;
    if (*s != ',') return NULL;
    s = skip_blank(s + 1);
  }
}

CHECK_UNUSED static bool is_json(const char* text) {
  const char* end = *text == '{' ? json_value(text) : NULL;
  return end != NULL && *skip_blank(end) == 0;
}

/* The number after `"name":` in the object after `"within": `; `within` may be NULL. */
CHECK_UNUSED static long long json_find(const char* text, const char* within, const char* name) {
  char key[64];
  if (within != NULL) {
    snprintf(key, sizeof key, "\"%s\": ", within);
    text = strstr(text, key);
    REQUIRE(text != NULL);
  }
  snprintf(key, sizeof key, "\"%s\": ", name);
  text = strstr(text, key);
  REQUIRE(text != NULL);
  return strtoll(text + strlen(key), NULL, 10);
}
