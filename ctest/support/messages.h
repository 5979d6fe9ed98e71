/* messages.h - what this program prints as a helper: a case with an argument, in a process of its
 * own. */
#pragma once
#include "probe.h"
#include <mimalloc.h>

CHECK_UNUSED static void helper_do_nothing(const char* unused) {
  (void)unused;
  mi_free(mi_malloc(10));
}

CHECK_UNUSED static size_t count_of(const char* text, const char* part) {
  size_t count = 0;
  for (const char* at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) count++;
  return count;
}

CHECK_UNUSED static void messages_of(const char* helper, char* text, size_t size) {
  const char* args[] = {helper, "-", NULL};
  int status = check_capture_self(args, true, text, size);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

CHECK_UNUSED static char messages[256 * 1024];
