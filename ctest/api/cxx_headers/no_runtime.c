/* no_runtime.c - mi_new and related functions in a program without C++: instead of an exception,
 * the library prints a message and aborts the program. */
#include "probe.h"
#include <mimalloc.h>

#define TOO_MUCH ((size_t)1 << 47)

static void helper_new(void) { (void)opaque(mi_new(opaque_size(TOO_MUCH))); }
static void helper_new_aligned(void) { (void)opaque(mi_new_aligned(opaque_size(TOO_MUCH), 64)); }
static void helper_new_n(void) { (void)opaque(mi_new_n(opaque_size(TOO_MUCH), 8)); }
static void helper_new_n_overflow(void) { (void)opaque(mi_new_n(opaque_size(SIZE_MAX / 2), 3)); }
static void helper_new_realloc(void) {
  (void)opaque(mi_new_realloc(mi_malloc(10), opaque_size(TOO_MUCH)));
}
static void helper_new_reallocn_overflow(void) {
  (void)opaque(mi_new_reallocn(mi_malloc(10), opaque_size(SIZE_MAX / 2), 3));
}
static void helper_heap_alloc_new(void) {
  (void)opaque(mi_heap_alloc_new(mi_heap_get_default(), opaque_size(TOO_MUCH)));
}
static void helper_heap_alloc_new_n(void) {
  (void)opaque(mi_heap_alloc_new_n(mi_heap_get_default(), opaque_size(SIZE_MAX / 2), 3));
}
static const check_case_t helpers[] = {
    CASE(helper_new),
    CASE(helper_new_aligned),
    CASE(helper_new_n),
    CASE(helper_new_n_overflow),
    CASE(helper_new_realloc),
    CASE(helper_new_reallocn_overflow),
    CASE(helper_heap_alloc_new),
    CASE(helper_heap_alloc_new_n),
};

static void out_of_memory_aborts_with_a_message(void) {
  for (size_t i = 0; i < COUNT_OF(helpers); i++) {
    const char* args[] = {helpers[i].name, NULL};
    char text[1000];
    int status = check_capture_self(args, true, text, sizeof text);
    if (!CHECK(WIFSIGNALED(status)) || !CHECK_EQ(WTERMSIG(status), SIGABRT) ||
        !CHECK(strstr(text, "out of memory in new") != NULL))
      check_fail("%s: %s\n", helpers[i].name, text);
  }
}

static void nothrow_forms_return_null(void) {
  CHECK_NULL(mi_new_nothrow(opaque_size(TOO_MUCH)));
  CHECK_NULL(mi_new_aligned_nothrow(opaque_size(TOO_MUCH), 64));
}

static void all_work_while_there_is_memory(void) {
  void* p[] = {mi_new(100),
               mi_new_aligned(100, 512),
               mi_new_n(10, 10),
               mi_new_realloc(NULL, 100),
               mi_new_reallocn(NULL, 10, 10),
               mi_new_nothrow(100),
               mi_new_aligned_nothrow(100, 512),
               mi_heap_alloc_new(mi_heap_get_default(), 100),
               mi_heap_alloc_new_n(mi_heap_get_default(), 10, 10)};
  for (size_t i = 0; i < COUNT_OF(p); i++) {
    CHECK(mi_is_in_heap_region(p[i]));
    CHECK_GE(mi_usable_size(p[i]), 100);
    mi_free(p[i]);
  }
}

static const check_case_t cases[] = {
    CASE(out_of_memory_aborts_with_a_message),
    CASE(nothrow_forms_return_null),
    CASE(all_work_while_there_is_memory),
};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
