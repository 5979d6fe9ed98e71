// preload_new.cc - a C++ program that knows nothing of the library, run with it in
// LD_PRELOAD: operator new and delete are ours, and throw as C++ demands.
#include "probe.h"
#include <dlfcn.h>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

bool is_ours(const void* p) {
  void* found = dlsym(RTLD_DEFAULT, "mi_is_in_heap_region");
  REQUIRE(found != nullptr);
  return reinterpret_cast<bool (*)(const void*)>(found)(p);
}

template <class F> bool throws_bad_alloc(F f) {
  try {
    f();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

const size_t HUGE_REQUEST = size_t(1) << 47;

void every_form_gives_our_blocks() {
  const std::align_val_t alignment{512};
  void* p[] = {::operator new(100),
               ::operator new[](100),
               ::operator new(100, std::nothrow),
               ::operator new[](100, std::nothrow),
               ::operator new(100, alignment),
               ::operator new[](100, alignment),
               ::operator new(100, alignment, std::nothrow),
               ::operator new[](100, alignment, std::nothrow)};
  for (size_t i = 0; i < COUNT_OF(p); i++) {
    CHECK(is_ours(p[i]));
    if (i >= 4) CHECK(is_aligned(p[i], 512));
  }
  ::operator delete(p[0]);
  ::operator delete[](p[1], size_t(100));
  ::operator delete(p[2], std::nothrow);
  ::operator delete[](p[3], std::nothrow);
  ::operator delete(p[4], alignment);
  ::operator delete[](p[5], size_t(100), alignment);
  ::operator delete(p[6], alignment, std::nothrow);
  ::operator delete[](p[7], alignment, std::nothrow);
}

void too_large_new_throws_bad_alloc() {
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(HUGE_REQUEST))); }));
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(SIZE_MAX))); }));
  CHECK(throws_bad_alloc([] { opaque(::operator new[](opaque_size(HUGE_REQUEST))); }));
  CHECK(throws_bad_alloc(
      [] { opaque(::operator new(opaque_size(HUGE_REQUEST), std::align_val_t(64))); }));
  CHECK(throws_bad_alloc(
      [] { opaque(::operator new[](opaque_size(HUGE_REQUEST), std::align_val_t(64))); }));
  CHECK_NULL(::operator new(opaque_size(HUGE_REQUEST), std::nothrow));
  CHECK_NULL(::operator new[](opaque_size(HUGE_REQUEST), std::nothrow));
  CHECK_NULL(::operator new(opaque_size(HUGE_REQUEST), std::align_val_t(64), std::nothrow));
  CHECK_NULL(::operator new[](opaque_size(HUGE_REQUEST), std::align_val_t(64), std::nothrow));
}

int handler_calls;
void handler() {
  if (++handler_calls == 2) std::set_new_handler(nullptr);
}
void new_handler_of_the_program_is_called() {
  std::set_new_handler(&handler);
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(HUGE_REQUEST))); }));
  CHECK_EQ(handler_calls, 2);
}

void handler_that_throws() { throw 42; }
void nothrow_forms_return_null_when_the_handler_throws() {
  std::set_new_handler(&handler_that_throws);
  CHECK_NULL(::operator new(opaque_size(HUGE_REQUEST), std::nothrow));
  CHECK_NULL(::operator new[](opaque_size(HUGE_REQUEST), std::nothrow));
  CHECK_NULL(::operator new(opaque_size(HUGE_REQUEST), std::align_val_t(64), std::nothrow));
  CHECK_NULL(::operator new[](opaque_size(HUGE_REQUEST), std::align_val_t(64), std::nothrow));
}

void containers_and_threads_work() {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([]() {
      std::vector<std::string> words;
      for (int i = 0; i < 20000; i++) words.push_back(std::string(size_t(i % 200), 'x'));
      for (int i = 0; i < 20000; i++) CHECK_EQ(words[size_t(i)].size(), i % 200);
      CHECK(is_ours(words.data()));
    });
  }
  for (auto& t : threads) t.join();
}

const check_case_t cases[] = {
    CASE(every_form_gives_our_blocks),
    CASE(too_large_new_throws_bad_alloc),
    CASE(new_handler_of_the_program_is_called),
    CASE(nothrow_forms_return_null_when_the_handler_throws),
    CASE(containers_and_threads_work),
};

} // namespace

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
