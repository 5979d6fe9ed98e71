// protocol.cc - what mi_new and related functions do when memory is out: they call the new-handler
// of the program again and again until there is memory, let its exceptions through, and without a
// handler throw std::bad_alloc. (cxx.cc and preload_new.cc have the cases with a handler that gives
// up.)
//
// Linked with the static library, which overrides nothing, and with the shared one.
#include "probe.h"
#include <mimalloc.h>
#include <new>

namespace {

const size_t TOO_MUCH = size_t(1) << 47;

enum form_t {
  NEW,
  NEW_ALIGNED,
  NEW_N,
  NEW_REALLOC,
  NEW_REALLOCN,
  HEAP_NEW,
  HEAP_NEW_N,
  THROWING_FORMS,
  NEW_NOTHROW = THROWING_FORMS,
  NEW_ALIGNED_NOTHROW,
  FORMS
};
const char* const form_names[FORMS] = {"mi_new",
                                       "mi_new_aligned",
                                       "mi_new_n",
                                       "mi_new_realloc",
                                       "mi_new_reallocn",
                                       "mi_heap_alloc_new",
                                       "mi_heap_alloc_new_n",
                                       "mi_new_nothrow",
                                       "mi_new_aligned_nothrow"};

// `size` is a multiple of 4. `old` is for the reallocating forms.
void* allocate(int form, size_t size, void* old) {
  size = opaque_size(size);
  switch (form) {
  case NEW:
    return mi_new(size);
  case NEW_ALIGNED:
    return mi_new_aligned(size, 256);
  case NEW_N:
    return mi_new_n(size / 4, 4);
  case NEW_REALLOC:
    return mi_new_realloc(old, size);
  case NEW_REALLOCN:
    return mi_new_reallocn(old, size / 4, 4);
  case HEAP_NEW:
    return mi_heap_alloc_new(mi_heap_get_default(), size);
  case HEAP_NEW_N:
    return mi_heap_alloc_new_n(mi_heap_get_default(), size / 4, 4);
  case NEW_NOTHROW:
    return mi_new_nothrow(size);
  case NEW_ALIGNED_NOTHROW:
    return mi_new_aligned_nothrow(size, 256);
  default:
    return NULL;
  }
}

bool form_reallocates(int form) { return form == NEW_REALLOC || form == NEW_REALLOCN; }

// ---- memory that comes back ----

// Address space that only the handler gives to the allocator.
const size_t REQUEST = 3 * GIB;
const size_t BALLAST = 6 * GIB;
void* ballast;
int handler_calls;
void handler_that_frees_at_its_third_call() {
  if (++handler_calls == 3) REQUIRE(munmap(ballast, BALLAST) == 0);
}

void limit_address_space_to_what_is_in_use() {
  char text[256];
  read_file("/proc/self/statm", text, sizeof text);
  rlim_t bytes = strtoul(text, NULL, 10) * OS_PAGE;
  struct rlimit limit = {bytes, bytes};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

void memory_that_the_handler_frees_is_used(int form) {
  ballast = mmap(NULL, BALLAST, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(ballast != MAP_FAILED);
  void* old = mi_malloc(50000);
  pattern_fill(old, 50000, 1);
  limit_address_space_to_what_is_in_use();
  REQUIRE(mi_malloc(REQUEST) == NULL);
  std::set_new_handler(&handler_that_frees_at_its_third_call);
  char* p = static_cast<char*>(allocate(form, REQUEST, old));
  CHECK_NOT_NULL(p);
  CHECK_EQ(handler_calls, 3);
  p[REQUEST - 1] = 1;
  CHECK(pattern_holds(form_reallocates(form) ? p : old, 50000, 1));
  if (!form_reallocates(form)) mi_free(old);
  mi_free(p);
}

void handler_is_called_until_memory_comes_back() {
  for (int form = 0; form < FORMS; form++) {
    fflush(NULL);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      memory_that_the_handler_frees_is_used(form);
      _exit(check_end());
    }
    check_wait_ok(pid, form_names[form]);
  }
}

// ---- exceptions ----

int destroyed;
struct on_the_way {
  ~on_the_way() { destroyed++; }
};

template <class E> bool throws(int form, size_t size, void* old) {
  destroyed = 0;
  try {
    on_the_way object;
    CHECK_NULL(opaque(allocate(form, size, old)));
  } catch (const E&) {
    return destroyed == 1;
  }
  return false;
}

void all_throw_bad_alloc_without_a_handler() {
  for (int form = 0; form < THROWING_FORMS; form++) {
    void* old = mi_malloc(1000);
    pattern_fill(old, 1000, 2);
    if (!throws<std::bad_alloc>(form, TOO_MUCH, old)) check_fail("%s\n", form_names[form]);
    if (!throws<std::bad_alloc>(form, SIZE_MAX - 3, old)) check_fail("%s\n", form_names[form]);
    CHECK(pattern_holds(old, 1000, 2)); // kept by the reallocating forms, too
    mi_free(old);
  }
  try {
    opaque(mi_new(opaque_size(TOO_MUCH)));
  } catch (const std::exception& e) {
    CHECK_TEXT(e.what(), std::bad_alloc().what());
  }
}

struct of_the_program {
  int value;
};
void handler_that_throws() {
  handler_calls++;
  throw of_the_program();
}
void exceptions_of_the_handler_pass_through() {
  std::set_new_handler(&handler_that_throws);
  for (int form = 0; form < THROWING_FORMS; form++) {
    handler_calls = 0;
    if (!throws<of_the_program>(form, TOO_MUCH, NULL)) check_fail("%s\n", form_names[form]);
    CHECK_EQ(handler_calls, 1);
  }
}

void exceptions_are_released() {
  size_t before = 0;
  for (int i = 0; i < 20000; i++) {
    CHECK(throws<std::bad_alloc>(i % THROWING_FORMS, TOO_MUCH, NULL));
    if (i == 1000) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

// ---- a product that overflows ----

void handler_that_returns() { handler_calls++; }

void* allocate_overflowing(int form, void* old) {
  size_t count = opaque_size(SIZE_MAX / 8 + 2); // the product wraps to 8
  switch (form) {
  case NEW_N:
    return mi_new_n(count, 8);
  case NEW_REALLOCN:
    return mi_new_reallocn(old, count, 8);
  default:
    return mi_heap_alloc_new_n(mi_heap_get_default(), count, 8);
  }
}

void overflow_calls_the_handler_once() {
  const int forms[] = {NEW_N, NEW_REALLOCN, HEAP_NEW_N};
  for (size_t i = 0; i < COUNT_OF(forms); i++) {
    void* old = mi_malloc(1000);
    pattern_fill(old, 1000, 3);
    std::set_new_handler(&handler_that_returns);
    handler_calls = 0;
    CHECK_NULL(allocate_overflowing(forms[i], old));
    CHECK_EQ(handler_calls, 1);
    std::set_new_handler(NULL);
    bool caught = false;
    try {
      opaque(allocate_overflowing(forms[i], old));
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    CHECK(caught);
    CHECK(pattern_holds(old, 1000, 3));
    mi_free(old);
  }
}

void arrays_and_reallocation_work_as_usual() {
  char* p = static_cast<char*>(mi_new_n(100, 30));
  CHECK_GE(mi_usable_size(p), 3000);
  pattern_fill(p, 3000, 4);
  p = static_cast<char*>(mi_new_realloc(p, 100000));
  CHECK(pattern_holds(p, 3000, 4));
  p = static_cast<char*>(mi_new_reallocn(p, 50, 10));
  CHECK(pattern_holds(p, 500, 4));
  mi_free(p);
  p = static_cast<char*>(mi_new_realloc(NULL, 10));
  CHECK_GE(mi_usable_size(p), 10);
  p = static_cast<char*>(mi_new_reallocn(p, 0, 10));
  CHECK_NOT_NULL(p);
  mi_free(p);
  p = static_cast<char*>(mi_new_n(0, 8));
  CHECK_NOT_NULL(p);
  mi_free(p);
}

const check_case_t cases[] = {
    CASE(handler_is_called_until_memory_comes_back), CASE(all_throw_bad_alloc_without_a_handler),
    CASE(exceptions_of_the_handler_pass_through),    CASE(exceptions_are_released),
    CASE(overflow_calls_the_handler_once),           CASE(arrays_and_reallocation_work_as_usual),
};

} // namespace

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
