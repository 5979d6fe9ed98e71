// cxx.cc - the library used from C++: operator new in all its forms, exceptions, new-handlers,
// containers, thread_local objects and static objects that free at the very end.
// With MI_OVERRIDE the operators are ours; without it the cases that need this only see
// the C functions.
#include "probe.h"
#include <cstdlib>
#include <map>
#include <memory>
#include <mimalloc.h>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#ifndef MI_TEST_OVERRIDE
#define MI_TEST_OVERRIDE 0
#endif

namespace {

bool is_ours(const void* p) { return mi_is_in_heap_region(p); }

// An allocator for containers that uses the C functions.
template <class T> struct our_allocator {
  using value_type = T;
  our_allocator() = default;
  template <class U> our_allocator(const our_allocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(mi_new_aligned(n * sizeof(T), alignof(T))); }
  void deallocate(T* p, std::size_t n) { mi_free_size_aligned(p, n * sizeof(T), alignof(T)); }
  template <class U> bool operator==(const our_allocator<U>&) const { return true; }
  template <class U> bool operator!=(const our_allocator<U>&) const { return false; }
};

struct alignas(128) wide {
  char bytes[256];
};

void containers_work_on_our_functions() {
  std::vector<int, our_allocator<int>> numbers;
  for (int i = 0; i < 100000; i++) numbers.push_back(i);
  long long sum = 0;
  for (int n : numbers) sum += n;
  CHECK_EQ(sum, 4999950000LL);
  CHECK(is_ours(numbers.data()));
  std::map<int, std::string, std::less<int>, our_allocator<std::pair<const int, std::string>>>
      names;
  for (int i = 0; i < 1000; i++) names[i] = std::string(static_cast<size_t>(i), 'x');
  CHECK_EQ(names[999].size(), 999);
  std::vector<wide, our_allocator<wide>> wides(10);
  CHECK(is_aligned(wides.data(), 128));
}

void containers_work_on_the_operators() {
  std::unordered_map<std::string, std::vector<std::string>> words;
  for (int i = 0; i < 20000; i++) {
    words[std::to_string(i % 777)].push_back("value number " + std::to_string(i));
  }
  size_t total = 0;
  for (auto& w : words) total += w.second.size();
  CHECK_EQ(total, 20000);
  auto shared = std::make_shared<std::string>(1000, 'y');
  std::thread([shared]() { CHECK_EQ(shared->size(), 1000); }).join();
  auto wides = std::make_unique<wide[]>(7);
  CHECK(is_aligned(wides.get(), 128));
#if MI_TEST_OVERRIDE
  CHECK(is_ours(words.begin()->second.data()));
  CHECK(is_ours(wides.get()));
#endif
}

template <class F> bool throws_bad_alloc(F f) {
  try {
    f();
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

// The compiler must not remove a pair of new and delete.
CHECK_UNUSED void* hidden_new(size_t size) { return opaque(::operator new(opaque_size(size))); }

void every_form_of_new_and_delete_works() {
  const std::align_val_t wide_alignment{256};
  for (size_t size : {size_t(0), size_t(1), size_t(24), size_t(1000), size_t(70000), 5 * MIB}) {
    void* p[] = {::operator new(size),
                 ::operator new[](size),
                 ::operator new(size, std::nothrow),
                 ::operator new[](size, std::nothrow),
                 ::operator new(size, wide_alignment),
                 ::operator new[](size, wide_alignment),
                 ::operator new(size, wide_alignment, std::nothrow),
                 ::operator new[](size, wide_alignment, std::nothrow),
                 ::operator new(size),
                 ::operator new[](size),
                 ::operator new(size, wide_alignment),
                 ::operator new[](size, wide_alignment)};
    for (size_t i = 0; i < COUNT_OF(p); i++) {
      CHECK_NOT_NULL(opaque(p[i]));
      memset(p[i], 1, size);
#if MI_TEST_OVERRIDE
      CHECK(is_ours(p[i]));
      CHECK(mi_usable_size(p[i]) >= size);
#endif
      for (size_t j = 0; j < i; j++) CHECK(opaque(p[i]) != opaque(p[j]));
    }
    for (size_t i : {4u, 5u, 6u, 7u, 10u, 11u}) CHECK(is_aligned(p[i], 256));
    ::operator delete(p[0]);
    ::operator delete[](p[1]);
    ::operator delete(p[2], std::nothrow);
    ::operator delete[](p[3], std::nothrow);
    ::operator delete(p[4], wide_alignment);
    ::operator delete[](p[5], wide_alignment);
    ::operator delete(p[6], wide_alignment, std::nothrow);
    ::operator delete[](p[7], wide_alignment, std::nothrow);
    ::operator delete(p[8], size);
    ::operator delete[](p[9], size);
    ::operator delete(p[10], size, wide_alignment);
    ::operator delete[](p[11], size, wide_alignment);
  }
  ::operator delete(nullptr);
  ::operator delete[](nullptr);
  ::operator delete(nullptr, size_t(8));
}

void new_throws_bad_alloc_when_memory_is_out() {
  const size_t huge = size_t(1) << 47;
#if MI_TEST_OVERRIDE
  CHECK(throws_bad_alloc([] { hidden_new(size_t(1) << 47); }));
  CHECK(throws_bad_alloc([] { hidden_new(SIZE_MAX); }));
  CHECK(throws_bad_alloc([=] { opaque(::operator new[](opaque_size(huge))); }));
  CHECK(throws_bad_alloc([=] { opaque(::operator new(opaque_size(huge), std::align_val_t(64))); }));
  CHECK_NULL(::operator new(opaque_size(huge), std::nothrow));
  CHECK_NULL(::operator new[](opaque_size(huge), std::nothrow));
  CHECK_NULL(::operator new(opaque_size(huge), std::align_val_t(64), std::nothrow));
  CHECK(throws_bad_alloc([] {
    std::vector<char> v;
    v.reserve(opaque_size(size_t(1) << 46) * 2 - 1);
  }));
#endif
  // The C entry points throw as well where there is a C++ runtime.
  CHECK(throws_bad_alloc([=] { opaque(mi_new(opaque_size(huge))); }));
  CHECK(throws_bad_alloc([=] { opaque(mi_new_aligned(opaque_size(huge), 64)); }));
  CHECK(throws_bad_alloc([] { opaque(mi_new(opaque_size(SIZE_MAX))); }));
  CHECK(mi_limit_set(0, size_t(64) << 20));
#if MI_TEST_OVERRIDE
  CHECK(throws_bad_alloc([] { opaque(::operator new(opaque_size(size_t(100) << 20))); }));
#endif
  CHECK(throws_bad_alloc([] { opaque(mi_new(opaque_size(size_t(100) << 20))); }));
  CHECK(mi_limit_set(0, 0));
  mi_free(mi_new(opaque_size(size_t(100) << 20)));
  CHECK_NULL(mi_new_nothrow(opaque_size(huge)));
  CHECK_NULL(mi_new_aligned_nothrow(opaque_size(huge), 64));
  void* p = mi_new(100);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

int handler_calls;
void handler_that_gives_up() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}
void handler_that_throws() {
  handler_calls++;
  throw std::bad_alloc();
}

void new_handler_is_called_until_it_gives_up() {
  handler_calls = 0;
  std::set_new_handler(&handler_that_gives_up);
  CHECK(throws_bad_alloc([] { opaque(mi_new(opaque_size(size_t(1) << 47))); }));
  CHECK_EQ(handler_calls, 3);
  handler_calls = 0;
  std::set_new_handler(&handler_that_gives_up);
  CHECK_NULL(mi_new_nothrow(opaque_size(size_t(1) << 47)));
  CHECK_EQ(handler_calls, 3);
  handler_calls = 0;
  std::set_new_handler(&handler_that_throws);
  CHECK(throws_bad_alloc([] { opaque(mi_new_aligned(opaque_size(size_t(1) << 47), 64)); }));
  CHECK_EQ(handler_calls, 1);
  std::set_new_handler(nullptr);
}

void exceptions_pass_through_with_memory_freed() {
  size_t before = 0;
  for (int i = 0; i < 20000; i++) {
    try {
      std::vector<std::string> v(10, std::string(2000, 'z'));
      throw std::string(3000, 'e');
    } catch (const std::string& s) {
      CHECK_EQ(s.size(), 3000);
    }
    if (i == 2000) before = rss_bytes();
  }
#if MI_TEST_OVERRIDE
  CHECK_LE(rss_bytes(), before + 8 * MIB);
#endif
  (void)before;
}

// thread_local objects are destroyed before and while keys are.
struct local_object {
  std::string text{std::string(100, 'a')};
  std::vector<void*> blocks;
  ~local_object() {
    for (void* p : blocks) mi_free(p);
    std::vector<std::string> more(20, std::string(500, 'b'));
    void* p = mi_malloc(100000);
    if (p == nullptr || text.size() != 100 || more.size() != 20) std::abort();
    mi_free(p);
  }
};
thread_local local_object local;

void thread_local_objects_may_allocate_and_free() {
  for (int i = 0; i < 1000; i++) {
    std::thread([]() {
      for (size_t size = 1; size < 100000; size *= 3) local.blocks.push_back(mi_malloc(size));
    }).join();
  }
}

struct static_object {
  std::vector<std::string> words{std::vector<std::string>(100, std::string(200, 'w'))};
  void* block = mi_malloc(1000);
  ~static_object() {
    mi_free(block);
    void* p = mi_malloc(50000);
    if (p == nullptr || words.size() != 100) std::abort();
    mi_free(p);
  }
};
static_object global_object;

void helper_static_objects() {
  static static_object inside;
  local.blocks.push_back(mi_malloc(500));
  CHECK_EQ(inside.words.size(), global_object.words.size());
  std::exit(check_end() == 0 ? 45 : 1);
}

void static_objects_may_free_at_the_end() {
  const char* args[] = {"helper_static_objects", nullptr};
  int status = check_wait(check_start_self(args, -1, -1));
  CHECK_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 45);
}

const check_case_t cases[] = {
    CASE(containers_work_on_our_functions),
    CASE(containers_work_on_the_operators),
    CASE(every_form_of_new_and_delete_works),
    CASE(new_throws_bad_alloc_when_memory_is_out),
    CASE(new_handler_is_called_until_it_gives_up),
    CASE(exceptions_pass_through_with_memory_freed),
    CASE(thread_local_objects_may_allocate_and_free),
    CASE(static_objects_may_free_at_the_end),
};
const check_case_t helpers[] = {CASE(helper_static_objects)};

} // namespace

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
