/* deepbind.c - libraries that are opened with RTLD_DEEPBIND, so that they find the C library before
 * the program, in a program whose malloc is ours. They get the malloc that all others have, and the
 * C library still sees which library opens them.
 *
 * Environment: LD_PRELOAD, our library, unless we are linked with it; TEST_PARTS, the folder of the
 * libraries.
 */
#include "probe.h"
#include <dlfcn.h>
#include <malloc.h>

static void* get(void* part, const char* name) {
  void* found = dlsym(part, name);
  if (found == NULL) check_fail("%s\n", dlerror());
  REQUIRE(found != NULL);
  return found;
}
#define GET(variable, part, name)                                                                  \
  do {                                                                                             \
    void* found_ = get(part, name);                                                                \
    memcpy(&variable, &found_, sizeof found_);                                                     \
  } while (0)

static bool is_ours(const void* p) {
  bool (*ask)(const void*);
  GET(ask, RTLD_DEFAULT, "mi_is_in_heap_region");
  return ask(p);
}

static const char* path_of(const char* name) {
  static char path[1024];
  const char* folder = getenv("TEST_PARTS");
  REQUIRE(folder != NULL);
  REQUIRE(snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path);
  return path;
}

static void* checked(void* part) {
  if (part == NULL) check_fail("%s\n", dlerror());
  REQUIRE(part != NULL);
  return part;
}

/* The library's malloc is that of the program: blocks travel both ways. */
static void check_shares_our_blocks(void* part) {
  int (*frees_what_the_c_library_made)(void);
  void* (*deep_malloc)(size_t);
  void* (*deep_realloc)(void*, size_t);
  void (*deep_free)(void*);
  size_t (*deep_usable_size)(void*);
  GET(frees_what_the_c_library_made, part, "deep_frees_what_the_c_library_made");
  GET(deep_malloc, part, "deep_malloc");
  GET(deep_realloc, part, "deep_realloc");
  GET(deep_free, part, "deep_free");
  GET(deep_usable_size, part, "deep_usable_size");
  CHECK(frees_what_the_c_library_made());
  char* p = (char*)deep_malloc(100);
  CHECK(is_ours(p));
  CHECK_EQ(malloc_usable_size(p), deep_usable_size(p));
  pattern_fill(p, 100, 1);
  p = (char*)realloc(p, 100000);
  REQUIRE(p != NULL);
  p = (char*)deep_realloc(p, 200);
  CHECK(is_ours(p) && pattern_holds(p, 100, 1));
  free(p);
  deep_free(malloc(1000));
}

static const int modes[] = {RTLD_NOW | RTLD_DEEPBIND, RTLD_LAZY | RTLD_DEEPBIND,
                            RTLD_NOW | RTLD_DEEPBIND | RTLD_GLOBAL, RTLD_NOW};

static void library_that_finds_the_c_library_first_shares_our_blocks(void) {
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    void* part = checked(dlopen(path_of("deep_part.so"), modes[i]));
    check_shares_our_blocks(part);
    CHECK_EQ(dlclose(part), 0);
  }
}

static void so_does_one_opened_by_the_older_name(void) {
  void* (*old_dlopen)(const char*, int);
  void* caller = checked(dlopen(path_of("deep_caller.so"), RTLD_NOW));
  GET(old_dlopen, caller, "caller_old_dlopen");
  check_shares_our_blocks(checked(old_dlopen(path_of("deep_part.so"), RTLD_NOW | RTLD_DEEPBIND)));
}

static void so_does_one_opened_by_dlmopen_among_the_others(void) {
  check_shares_our_blocks(
      checked(dlmopen(LM_ID_BASE, path_of("deep_part.so"), RTLD_NOW | RTLD_DEEPBIND)));
}

/* With a C library of its own, and the malloc of that library. */
static void library_in_a_namespace_of_its_own_keeps_to_itself(void) {
  const int own_modes[] = {RTLD_NOW, RTLD_NOW | RTLD_DEEPBIND};
  for (size_t i = 0; i < COUNT_OF(own_modes); i++) {
    int (*frees_what_the_c_library_made)(void);
    void* (*deep_malloc)(size_t);
    void (*deep_free)(void*);
    void* part = checked(dlmopen(LM_ID_NEWLM, path_of("deep_part.so"), own_modes[i]));
    Lmid_t space = LM_ID_BASE;
    REQUIRE(dlinfo(part, RTLD_DI_LMID, &space) == 0);
    CHECK_NE(space, LM_ID_BASE);
    GET(frees_what_the_c_library_made, part, "deep_frees_what_the_c_library_made");
    GET(deep_malloc, part, "deep_malloc");
    GET(deep_free, part, "deep_free");
    CHECK(frees_what_the_c_library_made());
    void* p = deep_malloc(100);
    CHECK(p != NULL && !is_ours(p));
    deep_free(p);
    CHECK_EQ(dlclose(part), 0);
  }
}

/* The C library takes the search path from the library that its caller's address lies in. */
static void search_path_is_that_of_the_library_that_asks(void) {
  void* (*open_there)(const char*, int);
  void* (*open_there_by_the_older_name)(const char*, int);
  void* (*open_there_by_dlmopen)(long, const char*, int);
  void* caller = checked(dlopen(path_of("deep_caller.so"), RTLD_NOW));
  GET(open_there, caller, "caller_dlopen");
  GET(open_there_by_the_older_name, caller, "caller_old_dlopen");
  GET(open_there_by_dlmopen, caller, "caller_dlmopen");
  CHECK_NULL(dlopen("deep_needed.so", RTLD_NOW)); /* we do not find it */
  for (size_t i = 0; i < COUNT_OF(modes); i++) {
    void* parts[3] = {open_there("deep_needed.so", modes[i]),
                      open_there_by_the_older_name("deep_needed.so", modes[i]),
                      open_there_by_dlmopen(LM_ID_BASE, "deep_needed.so", modes[i])};
    for (size_t k = 0; k < COUNT_OF(parts); k++) {
      int (*answer)(void);
      GET(answer, checked(parts[k]), "needed_answer");
      CHECK_EQ(answer(), 42);
      CHECK_EQ(dlclose(parts[k]), 0);
    }
  }
}

static void failures_are_reported_as_before(void) {
  errno = 0;
  CHECK_NULL(dlopen("no-such-library.so", RTLD_NOW | RTLD_DEEPBIND));
  const char* text = dlerror();
  CHECK(text != NULL && strstr(text, "no-such-library.so") != NULL);
  CHECK_NULL(dlerror());
  CHECK_NULL(dlopen(path_of("deep_part.so"), RTLD_NOLOAD | RTLD_NOW | RTLD_DEEPBIND));
  void* self = checked(dlopen(NULL, RTLD_NOW));
  CHECK_NOT_NULL(dlsym(self, "malloc"));
  CHECK_NULL(dlopen(path_of("deep_part.so"), 0)); /* no mode at all */
}

static void* open_and_close(void* arg) {
  for (int i = 0; i < 50; i++)
    CHECK_EQ(dlclose(checked(dlopen((const char*)arg, RTLD_NOW | RTLD_DEEPBIND))), 0);
  return NULL;
}
static void several_threads_may_open_at_once(void) {
  char path[1024];
  strcpy(path, path_of("deep_part.so"));
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++) threads[i] = thread_start(&open_and_close, path);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
}

static const check_case_t cases[] = {
    CASE(library_that_finds_the_c_library_first_shares_our_blocks),
    CASE(so_does_one_opened_by_the_older_name),
    CASE(so_does_one_opened_by_dlmopen_among_the_others),
    CASE(library_in_a_namespace_of_its_own_keeps_to_itself),
    CASE(search_path_is_that_of_the_library_that_asks),
    CASE(failures_are_reported_as_before),
    CASE(several_threads_may_open_at_once),
};

int main(int argc, char** argv) {
  if (dlsym(RTLD_DEFAULT, "mi_version") == NULL) {
    check_fail("this program has no library of ours\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
