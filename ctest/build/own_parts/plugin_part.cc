// plugin_part.cc - a library in C++ that plugin.c opens: its requests fail.
//
// Built once with each installed C++ library. Functions return how many of their checks failed.
#include "probe.h"
#include <exception>
#include <new>
#include <string>
#include <vector>

namespace {

const size_t TOO_MUCH = SIZE_MAX / 2;

template <class F> bool throws_bad_alloc(F f) {
  try {
    f();
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) { // by the type of another C++ library
  }
  return false;
}

int handler_calls;
void handler_that_gives_up() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}
void handler_that_throws() {
  handler_calls++;
  throw 42;
}

// So that the caller of operator new is the standard library, which may be elsewhere.
bool string_throws() {
  return throws_bad_alloc([] {
    std::string s;
    s.reserve(opaque_size(s.max_size() / 4)); // not more than a string may have
  });
}

} // namespace

extern "C" {

int part_catches_bad_alloc() {
  int before = check_failures;
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(TOO_MUCH))); }));
  CHECK(throws_bad_alloc([] { opaque(::operator new[](opaque_size(TOO_MUCH))); }));
  CHECK(throws_bad_alloc(
      [] { opaque(::operator new (opaque_size(TOO_MUCH), std::align_val_t{64})); }));
  CHECK(throws_bad_alloc([] {
    std::vector<char> v;
    v.resize(opaque_size(v.max_size() / 4));
  }));
  CHECK(string_throws());
  CHECK_NULL(::operator new(opaque_size(TOO_MUCH), std::nothrow));
  CHECK_EQ(std::uncaught_exceptions(), 0);
  return check_failures - before;
}

int part_has_its_handler_called() {
  int before = check_failures;
  handler_calls = 0;
  std::set_new_handler(&handler_that_gives_up);
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(TOO_MUCH))); }));
  CHECK_EQ(handler_calls, 3);
  handler_calls = 0;
  std::set_new_handler(&handler_that_gives_up);
  CHECK_NULL(::operator new[](opaque_size(TOO_MUCH), std::nothrow));
  CHECK_EQ(handler_calls, 3);
  handler_calls = 0;
  std::set_new_handler(&handler_that_throws);
  CHECK_NULL(::operator new(opaque_size(TOO_MUCH), std::nothrow));
  CHECK_EQ(handler_calls, 1);
  CHECK_EQ(std::uncaught_exceptions(), 0);
  std::set_new_handler(nullptr);
  return check_failures - before;
}

// The request is made by a function in C, which knows no runtime.
int part_catches_what_passes_through_c(void* (*new_in_c)(size_t)) {
  int before = check_failures;
  CHECK(throws_bad_alloc([new_in_c] { opaque(new_in_c(opaque_size(TOO_MUCH))); }));
  return check_failures - before;
}

// Allocates until no memory is left, then frees all.
int part_runs_out_of_memory() {
  int before = check_failures;
  struct link_t {
    link_t* next;
    char room[1000];
  };
  link_t* list = nullptr;
  bool caught = false;
  for (size_t size = sizeof(link_t); size >= sizeof(link_t*); size /= 2) {
    caught = throws_bad_alloc([&list, size] {
      for (;;) {
        link_t* link = static_cast<link_t*>(::operator new(size));
        link->next = list;
        list = link;
      }
    });
    if (!CHECK(caught)) break;
  }
  while (list != nullptr) {
    link_t* next = list->next;
    ::operator delete(list);
    list = next;
  }
  CHECK_EQ(std::string(1000, 'x').size(), 1000);
  return check_failures - before;
}
}
