/* cxx_plugin.c - libraries in C++ that a program in C opens at run time: their C++ runtime is
 * loaded after our library, and only they see it.
 *
 * Environment: LD_PRELOAD, our library; TEST_PARTS, the folder of the libraries. One of them is
 * built with another C++ library, where there is one.
 */
#include "probe.h"
#include <dlfcn.h>

#define FIRST "plugin_part.so"
#define SECOND "plugin_part_libcxx.so" /* need not be there */

static void* open_part(const char* name) {
  char path[1024];
  const char* folder = getenv("TEST_PARTS");
  REQUIRE(folder != NULL);
  REQUIRE(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
  if (strcmp(name, SECOND) == 0 && access(path, R_OK) != 0) return NULL;
  void* part = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (part == NULL) check_fail("%s\n", dlerror());
  REQUIRE(part != NULL);
  return part;
}

static int call(void* part, const char* name) {
  int (*function)(void);
  void* found = dlsym(part, name);
  REQUIRE(found != NULL);
  memcpy(&function, &found, sizeof found);
  return function();
}

static const char* const parts[] = {FIRST, SECOND};

static void call_in_each(const char* function) {
  for (size_t i = 0; i < COUNT_OF(parts); i++) {
    void* part = open_part(parts[i]);
    if (part == NULL)
      check_note("skipped: %s is not there\n", parts[i]);
    else if (!CHECK_EQ(call(part, function), 0))
      check_note("%s\n", parts[i]);
  }
}

static void the_runtime_is_not_here_at_first(void) {
  CHECK_NULL(dlsym(RTLD_DEFAULT, "__cxa_throw"));
  CHECK_NOT_NULL(dlsym(RTLD_DEFAULT, "mi_new"));
  (void)open_part(FIRST);
  CHECK_NULL(dlsym(RTLD_DEFAULT, "__cxa_throw"));
}

static void operator_new_of_a_plug_in_throws_bad_alloc(void) {
  call_in_each("part_catches_bad_alloc");
}

static void new_handler_of_a_plug_in_is_called(void) {
  call_in_each("part_has_its_handler_called");
}

static void* new_in_c(size_t size) {
  void* (*mi_new_)(size_t);
  void* found = dlsym(RTLD_DEFAULT, "mi_new");
  REQUIRE(found != NULL);
  memcpy(&mi_new_, &found, sizeof found);
  void* volatile p = mi_new_(size); /* no jump */
  return p;
}
static void request_of_c_throws_by_the_runtime_that_is_there(void) {
  int (*function)(void* (*)(size_t));
  void* found = dlsym(open_part(FIRST), "part_catches_what_passes_through_c");
  REQUIRE(found != NULL);
  memcpy(&function, &found, sizeof found);
  CHECK_EQ(function(&new_in_c), 0);
}

/* Both are loaded, and each gets exceptions of its own type. In this order: with any malloc, GCC's
 * unwinder would be bound to functions of LLVM's if it was loaded after that. */
static void each_of_two_runtimes_throws_its_own_exceptions(void) {
  void* first = open_part(FIRST);
  void* second = open_part(SECOND);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(call(first, "part_catches_bad_alloc"), 0);
    CHECK_EQ(call(first, "part_has_its_handler_called"), 0);
    if (second == NULL) continue;
    CHECK_EQ(call(second, "part_catches_bad_alloc"), 0);
    CHECK_EQ(call(second, "part_has_its_handler_called"), 0);
  }
}

static void operator_new_throws_when_nothing_is_left(void) {
  void* part = open_part(FIRST);
  struct rlimit limit = {256 * MIB, 256 * MIB};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK_EQ(call(part, "part_runs_out_of_memory"), 0);
}

static void operator_new_throws_while_a_constructor_waits(void) {
  CHECK_EQ(call(open_part("plugin_start.so"), "start_has_caught"), 1);
}

/* The same library may be loaded and unloaded repeatedly. */
static void plug_ins_may_be_closed(void) {
  for (int i = 0; i < 20; i++) {
    void* part = open_part(FIRST);
    CHECK_EQ(call(part, "part_catches_bad_alloc"), 0);
    CHECK_EQ(dlclose(part), 0);
  }
}

static const check_case_t cases[] = {
    CASE(the_runtime_is_not_here_at_first),
    CASE(operator_new_of_a_plug_in_throws_bad_alloc),
    CASE(new_handler_of_a_plug_in_is_called),
    CASE(request_of_c_throws_by_the_runtime_that_is_there),
    CASE(each_of_two_runtimes_throws_its_own_exceptions),
    CASE(operator_new_throws_when_nothing_is_left),
    CASE(operator_new_throws_while_a_constructor_waits),
    CASE(plug_ins_may_be_closed),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
