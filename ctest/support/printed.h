/* printed.h - collects the output of the library through an output function of the test. */
#pragma once
#include "check.h"
#include <mimalloc.h>

static char printed[64 * 1024];
static size_t printed_used;
static size_t printed_longest;
CHECK_UNUSED static void print_collect(const char* text, void* arg) {
  (void)arg;
  size_t n = strlen(text);
  if (n > printed_longest) printed_longest = n;
  if (n >= sizeof printed - printed_used) n = sizeof printed - printed_used - 1;
  memcpy(printed + printed_used, text, n);
  printed_used += n;
  printed[printed_used] = 0;
}
CHECK_UNUSED static void print_start(void) {
  printed_used = 0;
  printed_longest = 0;
  printed[0] = 0;
  mi_register_output(&print_collect, NULL);
  mi_option_enable(mi_option_show_errors);
}

CHECK_UNUSED static size_t occurrences(const char* text, const char* what) {
  size_t n = 0;
  for (const char* s = strstr(text, what); s != NULL; s = strstr(s + 1, what)) n++;
  return n;
}
