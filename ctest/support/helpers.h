/* helpers.h - functions of a test program that it runs in a process of their own: it starts itself
 * with the function's name, which begins with "helper_", and one argument.
 */
#pragma once
#include "check.h"

typedef struct helper_s {
  const char* name;
  void (*run)(const char* argument);
} helper_t;

/* The exit status of the process: of the helper that argv names, 125 if there is none. */
static int helper_run(const helper_t* helpers, size_t count, char** argv) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(helpers[i].name, argv[1]) != 0) continue;
    helpers[i].run(argv[2]);
    return check_end();
  }
  return 125;
}
#define IS_HELPER(argc, argv) ((argc) == 3 && strncmp((argv)[1], "helper_", 7) == 0)
#define HELPER_RUN(helpers, argv) helper_run(helpers, COUNT_OF(helpers), argv)
