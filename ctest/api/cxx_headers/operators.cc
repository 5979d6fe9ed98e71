// operators.cc - mimalloc-new-delete.h: a program that includes it has all of its operators from
// there, in each language version, though the library itself overrides nothing.
//
// Compiled for each compiler, C++ library and standard from C++98 on, and without exceptions.
#include <mimalloc-new-delete.h>

#include "probe.h"
#include <dlfcn.h>
#include <list>
#include <string>
#include <vector>

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define EXCEPTIONS 1
#else
#define EXCEPTIONS 0
#endif

// The standard's rules once more; the compiler's options decide the rest.
#if __cplusplus >= 201402L
#define SIZED 1
#else
#define SIZED 0
#endif
#if __cplusplus >= 201703L
#define ALIGNED 1
#else
#define ALIGNED 0
#endif

namespace {

bool is_ours(const void* p) { return mi_is_in_heap_region(p); }

const size_t TOO_MUCH = size_t(1) << 47;

// ---- each operator is the program's own ----

// A function of the C++ library would lie in another object than the program.
template <class F> bool lies_in_program(F* function) {
  Dl_info program, found;
  REQUIRE(dladdr(reinterpret_cast<void*>(&is_ours), &program) != 0);
  REQUIRE(dladdr(reinterpret_cast<void*>(function), &found) != 0);
  return program.dli_fbase == found.dli_fbase;
}

void all_operators_are_defined_in_the_program() {
  typedef void* new_t(size_t);
  typedef void* new_nothrow_t(size_t, const std::nothrow_t&);
  typedef void delete_t(void*);
  typedef void delete_nothrow_t(void*, const std::nothrow_t&);
  CHECK(!lies_in_program(&strtod)); // the check can fail
  CHECK(lies_in_program(static_cast<new_t*>(&::operator new)));
  CHECK(lies_in_program(static_cast<new_t*>(&::operator new[])));
  CHECK(lies_in_program(static_cast<new_nothrow_t*>(&::operator new)));
  CHECK(lies_in_program(static_cast<new_nothrow_t*>(&::operator new[])));
  CHECK(lies_in_program(static_cast<delete_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_t*>(&::operator delete[])));
  CHECK(lies_in_program(static_cast<delete_nothrow_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_nothrow_t*>(&::operator delete[])));
#if SIZED
  typedef void delete_sized_t(void*, size_t);
  CHECK(lies_in_program(static_cast<delete_sized_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_sized_t*>(&::operator delete[])));
#endif
#if ALIGNED
  typedef void* new_aligned_t(size_t, std::align_val_t);
  typedef void* new_aligned_nothrow_t(size_t, std::align_val_t, const std::nothrow_t&);
  typedef void delete_aligned_t(void*, std::align_val_t);
  typedef void delete_sized_aligned_t(void*, size_t, std::align_val_t);
  typedef void delete_aligned_nothrow_t(void*, std::align_val_t, const std::nothrow_t&);
  CHECK(lies_in_program(static_cast<new_aligned_t*>(&::operator new)));
  CHECK(lies_in_program(static_cast<new_aligned_t*>(&::operator new[])));
  CHECK(lies_in_program(static_cast<new_aligned_nothrow_t*>(&::operator new)));
  CHECK(lies_in_program(static_cast<new_aligned_nothrow_t*>(&::operator new[])));
  CHECK(lies_in_program(static_cast<delete_aligned_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_aligned_t*>(&::operator delete[])));
  CHECK(lies_in_program(static_cast<delete_sized_aligned_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_sized_aligned_t*>(&::operator delete[])));
  CHECK(lies_in_program(static_cast<delete_aligned_nothrow_t*>(&::operator delete)));
  CHECK(lies_in_program(static_cast<delete_aligned_nothrow_t*>(&::operator delete[])));
#endif
}

// ---- and works ----

void every_form_of_new_and_delete_works() {
  static const size_t sizes[] = {0, 1, 24, 1000, 70000, 5 * MIB};
  void* from_libc = opaque(malloc(100));
  CHECK(!is_ours(from_libc)); // the library was built without the override
  free(from_libc);
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t size = sizes[i];
    void* p[] = {::operator new(size), ::operator new[](size), ::operator new(size, std::nothrow),
                 ::operator new[](size, std::nothrow)};
    for (size_t j = 0; j < COUNT_OF(p); j++) {
      CHECK(is_ours(opaque(p[j])));
      CHECK_GE(mi_usable_size(p[j]), size);
      memset(p[j], 1, size);
    }
    ::operator delete(p[0]);
    ::operator delete[](p[1]);
    ::operator delete(p[2], std::nothrow);
    ::operator delete[](p[3], std::nothrow);
#if SIZED
    ::operator delete(opaque(::operator new(size)), size);
    ::operator delete[](opaque(::operator new[](size)), size);
#endif
#if ALIGNED
    const std::align_val_t al = std::align_val_t(256);
    void* q[] = {::operator new(size, al),
                 ::operator new[](size, al),
                 ::operator new(size, al, std::nothrow),
                 ::operator new[](size, al, std::nothrow),
                 ::operator new(size, al),
                 ::operator new[](size, al)};
    for (size_t j = 0; j < COUNT_OF(q); j++) {
      CHECK(is_ours(opaque(q[j])));
      CHECK(is_aligned(q[j], 256));
      memset(q[j], 1, size);
    }
    ::operator delete(q[0], al);
    ::operator delete[](q[1], al);
    ::operator delete(q[2], al, std::nothrow);
    ::operator delete[](q[3], al, std::nothrow);
    ::operator delete(q[4], size, al);
    ::operator delete[](q[5], size, al);
#endif
  }
  void* none = opaque(NULL);
  ::operator delete(none);
  ::operator delete[](none);
  ::operator delete(none, std::nothrow);
}

#if ALIGNED
struct alignas(128) wide {
  wide() : value(7) {}
  char value;
};
#endif

int alive;
struct counted {
  counted() { alive++; }
  counted(const counted&) { alive++; }
  ~counted() { alive--; }
  char bytes[40];
};

// Expressions and the standard library: what calls the operators in practice.
void expressions_and_containers_use_the_operators() {
  counted* one = new counted;
  counted* many = new counted[100];
  CHECK(is_ours(one));
  CHECK(is_ours(many));
  CHECK_EQ(alive, 101);
  delete one;
  delete[] many;
  std::string text(1000, 'x');
  CHECK(is_ours(text.data()));
  std::vector<counted> counts(1000);
  CHECK(is_ours(&counts[0]));
  std::list<std::string> words(100, text);
  CHECK(is_ours(&words.front()));
  counts.clear();
  CHECK_EQ(alive, 0);
#if ALIGNED
  wide* w = new wide[9];
  CHECK(is_ours(w) && is_aligned(w, 128) && w[8].value == 7);
  delete[] w;
  wide* single = new (std::nothrow) wide;
  CHECK(is_ours(single) && is_aligned(single, 128));
  delete single;
#endif
}

void nothrow_forms_return_null_when_memory_is_out() {
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), std::nothrow)));
  CHECK_NULL(opaque(::operator new[](opaque_size(TOO_MUCH), std::nothrow)));
#if ALIGNED
  const std::align_val_t al = std::align_val_t(64);
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), al, std::nothrow)));
  CHECK_NULL(opaque(::operator new[](opaque_size(TOO_MUCH), al, std::nothrow)));
#endif
}

int handler_calls;
void handler_that_gives_up() {
  if (++handler_calls == 3) std::set_new_handler(NULL);
}

void new_handler_is_called_until_it_gives_up() {
  handler_calls = 0;
  std::set_new_handler(&handler_that_gives_up);
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), std::nothrow)));
  CHECK_EQ(handler_calls, 3);
}

#if EXCEPTIONS

int destroyed;
struct on_the_way {
  ~on_the_way() { destroyed++; }
};

enum form_t { PLAIN, ARRAY, PLAIN_ALIGNED, ARRAY_ALIGNED };
void* allocate(form_t form) {
  on_the_way object;
  size_t size = opaque_size(TOO_MUCH);
  switch (form) {
  case PLAIN:
    return ::operator new(size);
  case ARRAY:
    return ::operator new[](size);
#if ALIGNED
  case PLAIN_ALIGNED:
    return ::operator new(size, std::align_val_t(64));
  case ARRAY_ALIGNED:
    return ::operator new[](size, std::align_val_t(64));
#endif
  default:
    return NULL;
  }
}
const int FORMS = ALIGNED ? 4 : 2;

void throwing_forms_throw_bad_alloc_when_memory_is_out() {
  for (int form = 0; form < FORMS; form++) {
    bool caught = false;
    destroyed = 0;
    try {
      CHECK_NULL(opaque(allocate(form_t(form))));
    } catch (const std::bad_alloc& e) {
      caught = strstr(e.what(), "bad_alloc") != NULL;
    }
    CHECK(caught);
    CHECK_EQ(destroyed, 1);
  }
}

// C++98 allows what derives from std::bad_alloc only.
struct handler_gave_up : std::bad_alloc {};
void handler_that_throws() {
  handler_calls++;
  throw handler_gave_up();
}

void throwing_forms_pass_on_exceptions_of_the_handler() {
  std::set_new_handler(&handler_that_throws);
  for (int form = 0; form < FORMS; form++) {
    handler_calls = 0;
    bool caught = false;
    try {
      CHECK_NULL(opaque(allocate(form_t(form))));
    } catch (const handler_gave_up&) {
      caught = true;
    }
    CHECK(caught);
    CHECK_EQ(handler_calls, 1);
  }
}

void handler_that_throws_anything() {
  handler_calls++;
  throw 42;
}

// In C this would end the program: C code cannot catch an exception.
void nothrow_forms_return_null_when_the_handler_throws() {
  std::set_new_handler(&handler_that_throws_anything);
  handler_calls = 0;
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), std::nothrow)));
  CHECK_NULL(opaque(::operator new[](opaque_size(TOO_MUCH), std::nothrow)));
  CHECK_EQ(handler_calls, 2);
#if ALIGNED
  const std::align_val_t al = std::align_val_t(64);
  CHECK_NULL(opaque(::operator new(opaque_size(TOO_MUCH), al, std::nothrow)));
  CHECK_NULL(opaque(::operator new[](opaque_size(TOO_MUCH), al, std::nothrow)));
  CHECK_EQ(handler_calls, 4);
#endif
}

#endif // EXCEPTIONS

const check_case_t cases[] = {
    CASE(all_operators_are_defined_in_the_program),
    CASE(every_form_of_new_and_delete_works),
    CASE(expressions_and_containers_use_the_operators),
    CASE(nothrow_forms_return_null_when_memory_is_out),
    CASE(new_handler_is_called_until_it_gives_up),
#if EXCEPTIONS
    CASE(throwing_forms_throw_bad_alloc_when_memory_is_out),
    CASE(throwing_forms_pass_on_exceptions_of_the_handler),
    CASE(nothrow_forms_return_null_when_the_handler_throws),
#endif
};

} // namespace

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
