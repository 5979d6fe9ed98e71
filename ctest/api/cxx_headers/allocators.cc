// allocators.cc - the allocators of mimalloc.h in the containers of the C++ library.
//
// Compiled for each compiler, C++ library and standard from C++98 on, and without exceptions. The
// library overrides nothing, so that a block is ours only if the allocator got it from us, and the
// linker counts what the allocators call (--wrap).
#include <mimalloc.h>

#include "probe.h"
#include <deque>
#include <list>
#include <map>
#include <new>
#include <set>
#include <string>
#include <vector>
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
#include <forward_list>
#include <memory>
#include <type_traits>
#include <unordered_map>
#include <utility>
#endif

#if defined(MI_HAS_HEAP_STL_ALLOCATOR) != (__cplusplus >= 201103L)
#error "MI_HAS_HEAP_STL_ALLOCATOR tells of C++11"
#endif
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#define EXCEPTIONS 1
#else
#define EXCEPTIONS 0
#endif

// ---- what the allocators call ----

static int new_n_calls, new_aligned_calls, free_calls;
static int heap_new_calls, heap_delete_calls, heap_destroy_calls;
static int heap_alloc_calls, heap_aligned_calls;
static mi_heap_t* last_heap; // of mi_heap_new
static bool no_heaps;        // mi_heap_new returns NULL

extern "C" {
void* __real_mi_new_n(size_t count, size_t size);
void* __wrap_mi_new_n(size_t count, size_t size);
void* __real_mi_new_aligned(size_t size, size_t alignment);
void* __wrap_mi_new_aligned(size_t size, size_t alignment);
void __real_mi_free(void* p);
void __wrap_mi_free(void* p);
mi_heap_t* __real_mi_heap_new();
mi_heap_t* __wrap_mi_heap_new();
void __real_mi_heap_delete(mi_heap_t* heap);
void __wrap_mi_heap_delete(mi_heap_t* heap);
void __real_mi_heap_destroy(mi_heap_t* heap);
void __wrap_mi_heap_destroy(mi_heap_t* heap);
void* __real_mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size);
void* __wrap_mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size);
void* __real_mi_heap_malloc_aligned(mi_heap_t* heap, size_t size, size_t alignment);
void* __wrap_mi_heap_malloc_aligned(mi_heap_t* heap, size_t size, size_t alignment);
}
void* __wrap_mi_new_n(size_t count, size_t size) {
  new_n_calls++;
  return __real_mi_new_n(count, size);
}
void* __wrap_mi_new_aligned(size_t size, size_t alignment) {
  new_aligned_calls++;
  return __real_mi_new_aligned(size, alignment);
}
void __wrap_mi_free(void* p) {
  free_calls++;
  __real_mi_free(p);
}
mi_heap_t* __wrap_mi_heap_new() {
  heap_new_calls++;
  return last_heap = no_heaps ? NULL : __real_mi_heap_new();
}
void __wrap_mi_heap_delete(mi_heap_t* heap) {
  heap_delete_calls++;
  __real_mi_heap_delete(heap);
}
void __wrap_mi_heap_destroy(mi_heap_t* heap) {
  heap_destroy_calls++;
  __real_mi_heap_destroy(heap);
}
void* __wrap_mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size) {
  heap_alloc_calls++;
  return __real_mi_heap_alloc_new_n(heap, count, size);
}
void* __wrap_mi_heap_malloc_aligned(mi_heap_t* heap, size_t size, size_t alignment) {
  heap_aligned_calls++;
  return __real_mi_heap_malloc_aligned(heap, size, alignment);
}

namespace {

// Where the containers below must have their elements.
mi_heap_t* expected_heap;
bool is_ours(const void* p) {
  return mi_is_in_heap_region(p) &&
         (expected_heap == NULL || mi_heap_contains_block(expected_heap, p));
}

void the_check_for_our_memory_can_fail() {
  std::vector<int> numbers(1000);
  std::list<int> list(10);
  CHECK(!is_ours(&numbers[0]));
  CHECK(!is_ours(&list.front()));
}

template <class T, class U> struct same { static const bool value = false; };
template <class T> struct same<T, T> { static const bool value = true; };

// ---- work for a container of each kind, with any allocator of int ----

template <class A> void work_in_sequences(const A& a) {
  std::vector<int, A> v(a);
  for (int i = 0; i < 20000; i++) v.push_back(i);
  CHECK_EQ(v[19999], 19999);
  CHECK(is_ours(&v[0]));
  std::vector<int, A> copy(v);
  CHECK(copy == v);
  CHECK(is_ours(&copy[0]) && &copy[0] != &v[0]);
  copy.resize(10);
  v.swap(copy);
  v = copy;
  CHECK_EQ(v.size(), 20000);
  std::list<int, A> list(v.begin(), v.begin() + 1000, a);
  CHECK(is_ours(&list.front()));
  std::list<int, A> more(10, 5, a);
  list.splice(list.begin(), more);
  CHECK(list.front() == 5 && list.back() == 999);
  std::deque<int, A> d(a);
  for (int i = 0; i < 5000; i++) {
    if (i % 2 == 0)
      d.push_back(i);
    else
      d.push_front(i);
  }
  CHECK_EQ(d.front(), 4999);
  CHECK(is_ours(&d.front()));
}

template <class A> void work_in_trees(const A& a) {
  typedef std::pair<const int, int> pair_t;
  typedef typename A::template rebind<pair_t>::other pair_a;
  typedef std::map<int, int, std::less<int>, pair_a> map_t;
  const std::less<int> less = std::less<int>();
  map_t map(less, pair_a(a));
  for (int i = 0; i < 2000; i++) map[i] = i * 2;
  CHECK_EQ(map[1999], 3998);
  CHECK(is_ours(&map.begin()->second));
  map_t copy(map);
  copy.erase(0);
  CHECK_EQ(map.size(), copy.size() + 1);
  std::set<int, std::less<int>, A> set(less, a);
  for (int i = 0; i < 100; i++) set.insert(i % 10);
  CHECK_EQ(set.size(), 10);
}

template <class A> void work_in_strings(const A& a) {
  typedef typename A::template rebind<char>::other char_a;
  typedef std::basic_string<char, std::char_traits<char>, char_a> string_t;
  typedef typename A::template rebind<string_t>::other string_a;
  std::vector<string_t, string_a> words((string_a(a)));
  for (size_t i = 0; i < 500; i++) words.push_back(string_t(i, 'x', char_a(a)));
  CHECK_EQ(words[499].size(), 499);
  CHECK(is_ours(words[499].data()));
  string_t all((char_a(a)));
  for (size_t i = 0; i < 500; i++) all += words[i];
  CHECK_EQ(all.size(), 499 * 500 / 2);
  CHECK(is_ours(all.data()));
}

#if defined(MI_HAS_HEAP_STL_ALLOCATOR)

struct alignas(1024) wide {
  char bytes[1024];
};

template <class A> void work_in_containers_of_cxx11(const A& a) {
  typedef typename A::template rebind<std::pair<const int, int>>::other pair_a;
  std::unordered_map<int, int, std::hash<int>, std::equal_to<int>, pair_a> map(
      7, std::hash<int>(), std::equal_to<int>(), pair_a(a));
  for (int i = 0; i < 2000; i++) map[i] = i * 3;
  CHECK_EQ(map[1999], 5997);
  CHECK(is_ours(&map.find(5)->second));
  typedef typename A::template rebind<std::unique_ptr<int>>::other owner_a;
  std::forward_list<std::unique_ptr<int>, owner_a> owners((owner_a(a)));
  for (int i = 0; i < 100; i++) owners.emplace_front(new int(i));
  CHECK_EQ(*owners.front(), 99);
  CHECK(is_ours(&owners.front()));
  std::vector<std::unique_ptr<int>, owner_a> vector((owner_a(a)));
  for (int i = 0; i < 100; i++) vector.emplace_back(new int(i));
  auto moved = std::move(vector);
  CHECK_EQ(*moved[99], 99);
  std::shared_ptr<std::pair<int, int>> shared = std::allocate_shared<std::pair<int, int>>(a, 3, 4);
  CHECK_EQ(shared->second, 4);
  CHECK(is_ours(shared.get()));
}

// More than the alignment that every block has.
template <class A> void work_with_wide_alignment(const A& a) {
  typedef typename A::template rebind<wide>::other wide_a;
  std::vector<wide, wide_a> wides((wide_a(a)));
  for (size_t i = 0; i < 100; i++) {
    wides.resize(i + 1);
    CHECK(is_aligned(wides.data(), alignof(wide)));
  }
  CHECK(is_ours(wides.data()));
  std::map<int, wide, std::less<int>,
           typename A::template rebind<std::pair<const int, wide>>::other>
      map((std::less<int>()), a);
  for (int i = 0; i < 100; i++) CHECK(is_aligned(&map[i], alignof(wide)));
  wide_a direct(a);
  wide* none = direct.allocate(0);
  direct.deallocate(none, 0);
}

#endif

template <class A> void work_in_all(const A& a) {
  work_in_sequences(a);
  work_in_trees(a);
  work_in_strings(a);
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  work_in_containers_of_cxx11(a);
  work_with_wide_alignment(a);
#endif
}

// ---- the interface that all three have in common ----

struct unusual { // its operator & does not return its address
  int value;
  explicit unusual(int v) : value(v) {}
  unusual* operator&() { return NULL; }
  const unusual* operator&() const { return NULL; }
};

int living;
struct counted {
  int value;
  counted(int v) : value(v) { living++; }
  counted(const counted& x) : value(x.value) { living++; }
  ~counted() { living--; }
};

template <class A> void interface_is_complete(A a) {
  typedef typename A::value_type T;
  CHECK((same<typename A::size_type, std::size_t>::value));
  CHECK((same<typename A::difference_type, std::ptrdiff_t>::value));
  CHECK((same<typename A::pointer, T*>::value));
  CHECK((same<typename A::const_pointer, const T*>::value));
  CHECK((same<typename A::reference, T&>::value));
  CHECK((same<typename A::const_reference, const T&>::value));
  CHECK((same<typename A::template rebind<T>::other, A>::value));
  typedef typename A::template rebind<counted>::other counted_a;
  CHECK((same<typename counted_a::value_type, counted>::value));
  CHECK((same<typename counted_a::template rebind<T>::other, A>::value));
  CHECK_EQ(a.max_size(), PTRDIFF_MAX / sizeof(T));

  counted_a b(a);
  CHECK(b == a && a == b && !(b != a));
  CHECK(A(b) == a);
  CHECK(a.select_on_container_copy_construction() == a);
  counted* p = b.allocate(3);
  CHECK(is_ours(p));
  CHECK_GE(mi_usable_size(p), 3 * sizeof(counted));
  living = 0;
  b.construct(p, 17);
  b.construct(p + 1, *p);
  CHECK_EQ(p[1].value, 17);
  CHECK_EQ(living, 2);
  b.destroy(p);
  b.destroy(p + 1);
  CHECK_EQ(living, 0);
  const counted* constant = p;
  CHECK_SAME(b.address(*p), p);
  CHECK_SAME(b.address(*constant), p);
  b.deallocate(p, 3);
  counted* near = b.allocate(2, p); // a hint
  CHECK(is_ours(near));
  b.deallocate(near, 2);

#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  typedef std::allocator_traits<A> traits;
  CHECK(traits::propagate_on_container_copy_assignment::value);
  CHECK(traits::propagate_on_container_move_assignment::value);
  CHECK(traits::propagate_on_container_swap::value);
  CHECK((std::is_same<typename traits::template rebind_alloc<counted>, counted_a>::value));
  CHECK(traits::select_on_container_copy_construction(a) == a);
  CHECK_EQ(traits::max_size(a), a.max_size());
  CHECK(std::is_nothrow_copy_constructible<A>::value);
  CHECK(std::is_nothrow_move_constructible<A>::value);
  CHECK(std::is_nothrow_copy_assignable<A>::value);
  CHECK((std::is_nothrow_constructible<A, const counted_a&>::value));
  CHECK(noexcept(a.deallocate(nullptr, 0)));

  typedef typename A::template rebind<unusual>::other unusual_a;
  unusual_a c(a);
  unusual* u = c.allocate(1);
  c.construct(u, 5);
  CHECK_SAME(c.address(*u), u);
  CHECK_SAME(c.address(const_cast<const unusual&>(*u)), u);
  c.destroy(u);
  c.deallocate(u, 1);
  typedef std::pair<const int, std::unique_ptr<int>> pair;
  typename A::template rebind<pair>::other d(a);
  pair* q = d.allocate(1);
  d.construct(q, 1, std::unique_ptr<int>(new int(2)));
  CHECK(q->first == 1 && *q->second == 2);
  d.destroy(q);
  d.deallocate(q, 1);

  // A container gets the allocator of the container that is assigned to it.
  typedef std::vector<int, typename A::template rebind<int>::other> vector_t;
  vector_t one(10, 1, a);
  vector_t two(one);
  CHECK(two.get_allocator() == one.get_allocator());
  const int* elements = one.data();
  vector_t three(std::move(one));
  CHECK_SAME(three.data(), elements);
  // A container that was moved from can still be used.
  CHECK(one.get_allocator() == three.get_allocator());
  one.assign(50, 3);
  CHECK(is_ours(one.data()));
#endif
}

// ---- mi_stl_allocator ----

void stl_allocator_has_the_interface() {
  interface_is_complete(mi_stl_allocator<double>());
  CHECK(mi_stl_allocator<int>() == mi_stl_allocator<char>());
  CHECK(!(mi_stl_allocator<int>() != mi_stl_allocator<char>()));
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  CHECK(mi_stl_allocator<int>::is_always_equal::value);
  CHECK(std::is_nothrow_default_constructible<mi_stl_allocator<int>>::value);
  CHECK(std::is_empty<mi_stl_allocator<int>>::value);
#endif
}

void stl_allocator_serves_containers_and_gets_all_back() {
  new_n_calls = new_aligned_calls = free_calls = 0;
  work_in_all(mi_stl_allocator<int>());
  CHECK_GE(new_n_calls, 5000);
  CHECK_EQ(new_n_calls + new_aligned_calls, free_calls);
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  CHECK_GE(new_aligned_calls, 100);
#endif
}

void stl_allocator_takes_nothing_for_a_count() {
  mi_stl_allocator<int> a;
  int* p = a.allocate(0);
  CHECK(is_ours(p));
  a.deallocate(p, 0);
  a.deallocate(NULL, 0);
}

#if EXCEPTIONS
template <class A> bool allocate_throws(A a, size_t count) {
  try {
    a.deallocate(a.allocate(opaque_size(count)), count);
  } catch (const std::bad_alloc&) {
    return true;
  }
  return false;
}

void stl_allocator_throws_bad_alloc() {
  CHECK(allocate_throws(mi_stl_allocator<int>(), size_t(1) << 46));
  CHECK(allocate_throws(mi_stl_allocator<int>(), SIZE_MAX / 4));
  CHECK(allocate_throws(mi_stl_allocator<int>(), SIZE_MAX / 4 + 2)); // overflows to 4 bytes
  CHECK(!allocate_throws(mi_stl_allocator<int>(), 1000));
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  CHECK(allocate_throws(mi_stl_allocator<wide>(), size_t(1) << 37));
  CHECK(allocate_throws(mi_stl_allocator<wide>(), SIZE_MAX / sizeof(wide) + 2));
#endif
}
#endif

#if defined(MI_HAS_HEAP_STL_ALLOCATOR)

// ---- the allocators with a heap: A is one of them, for int ----

struct deletes {
  template <class T> using type = mi_heap_stl_allocator<T>;
};
struct destroys {
  template <class T> using type = mi_heap_destroy_stl_allocator<T>;
};

template <class K> void serves_containers_from_a_given_heap() {
  typedef typename K::template type<int> A;
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  heap_new_calls = 0;
  expected_heap = heap;
  interface_is_complete(A(heap));
  work_in_all(A(heap));
  CHECK_GE(heap_alloc_calls, 5000);
  CHECK_GE(heap_aligned_calls, 100);
  CHECK_EQ(new_n_calls + new_aligned_calls, 0);
  bool destroy = std::is_same<K, destroys>::value;
  CHECK_EQ(free_calls, destroy ? 0 : heap_alloc_calls + heap_aligned_calls);
  // The heap is the program's.
  CHECK_EQ(heap_new_calls + heap_delete_calls + heap_destroy_calls, 0);
  A implicit = heap;
  implicit.collect(true);
  void* p = mi_heap_malloc(heap, 100);
  CHECK(mi_heap_contains_block(heap, p));
  mi_heap_destroy(heap);
}

template <class K> void owned_heap_goes_with_the_last_copy() {
  typedef typename K::template type<int> A;
  bool destroy = std::is_same<K, destroys>::value;
  {
    std::vector<long, typename K::template type<long>> outlives;
    CHECK_EQ(heap_new_calls, 1);
    typename K::template type<long>* rebound;
    {
      A a;
      CHECK_EQ(heap_new_calls, 2);
      expected_heap = last_heap;
      interface_is_complete(a);
      work_in_all(a);
      A copy(a), moved(std::move(copy));
      CHECK(copy == a && moved == a);
      moved = std::move(copy);
      CHECK(copy == a && moved == a);
      rebound = new typename K::template type<long>(moved);
      std::vector<int, A> v(10000, 7, a);
      CHECK_EQ(heap_new_calls, 2); // all of them shared one
    }
    // The heap is still there: it can allocate.
    CHECK_EQ(heap_delete_calls + heap_destroy_calls, 0);
    long* p = rebound->allocate(10);
    CHECK(is_ours(p));
    rebound->deallocate(p, 10);
    delete rebound;
    CHECK_EQ(heap_delete_calls, destroy ? 0 : 1);
    CHECK_EQ(heap_destroy_calls, destroy ? 1 : 0);
    expected_heap = NULL;
    outlives.assign(100, 3);
    CHECK(is_ours(outlives.data()));
  }
  CHECK_EQ(heap_delete_calls, destroy ? 0 : 2);
  CHECK_EQ(heap_destroy_calls, destroy ? 2 : 0);
}

template <class K> void equality_is_that_of_the_heaps() {
  typedef typename K::template type<int> A;
  typedef typename K::template type<char> B;
  CHECK(!A::is_always_equal::value);
  A a, b;
  CHECK(a != b && !(a == b));
  CHECK(B(a) == a && B(a) != b);
  CHECK(a.is_equal(B(a)) && !a.is_equal(b));
  mi_heap_t* heap = mi_heap_new();
  CHECK(A(heap) == B(heap) && A(heap) != a);
  // Containers exchange their heaps with their elements.
  std::vector<int, A> one(10, 1, a), two(20, 2, b);
  const int* elements = one.data();
  one.swap(two);
  CHECK_SAME(two.data(), elements);
  CHECK(one.get_allocator() == b && two.get_allocator() == a);
  two = one;
  CHECK(two.get_allocator() == b && two.size() == 20);
  std::vector<int, A> three(30, 3, a);
  elements = three.data();
  two = std::move(three);
  CHECK(two.get_allocator() == a);
  CHECK_SAME(two.data(), elements);
  mi_heap_delete(heap);
}

#if EXCEPTIONS
int handler_calls;
void handler_that_gives_up() {
  if (++handler_calls == 3) std::set_new_handler(nullptr);
}
void handler_that_finds_memory() {
  if (++handler_calls == 2) no_heaps = false;
}

template <class K> void throws_bad_alloc_when_memory_is_out() {
  typedef typename K::template type<int> A;
  typedef typename K::template type<wide> W;
  A a;
  CHECK(allocate_throws(a, size_t(1) << 46));
  CHECK(allocate_throws(a, SIZE_MAX / 4 + 2));
  CHECK(allocate_throws(W(a), size_t(1) << 37));
  CHECK(allocate_throws(W(a), SIZE_MAX / sizeof(wide) + 2));
  std::set_new_handler(&handler_that_gives_up);
  CHECK(allocate_throws(W(a), size_t(1) << 37));
  CHECK_EQ(handler_calls, 3);
  no_heaps = true;
  bool caught = false;
  try {
    A b;
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
  handler_calls = 0;
  std::set_new_handler(&handler_that_finds_memory);
  A b;
  CHECK_EQ(handler_calls, 2);
  CHECK(is_ours(std::vector<int, A>(10, 1, b).data()));
}
#endif

// Blocks that an owned heap still holds at its end: kept, or freed.

void blocks_stay_valid_when_an_owned_heap_is_deleted() {
  int* p;
  {
    mi_heap_stl_allocator<int> a;
    p = a.allocate(1000);
    pattern_fill(p, 1000 * sizeof(int), 3);
    CHECK(mi_heap_contains_block(last_heap, p));
  }
  CHECK_EQ(heap_delete_calls, 1);
  CHECK(pattern_holds(p, 1000 * sizeof(int), 3));
  CHECK(mi_heap_contains_block(mi_heap_get_backing(), p));
  mi_free(p);
}

struct kilobyte {
  char bytes[1024];
};
void blocks_are_released_when_an_owned_heap_is_destroyed() {
  typedef std::list<kilobyte, mi_heap_destroy_stl_allocator<kilobyte>> list_t;
  size_t before = rss_bytes();
  for (int round = 0; round < 20; round++) {
    std::vector<list_t> lists(10);
    for (auto& list : lists) list.resize(500);
  }
  CHECK_EQ(free_calls, 0);
  CHECK_EQ(heap_destroy_calls, 200);
  // 20 rounds of 10 lists with 500 nodes of a KiB: 100 MiB, 5 of which live at once.
  CHECK_LE(rss_bytes(), before + 25 * MIB);
}

#define FOR_BOTH(name)                                                                             \
  void name##_deleting() { name<deletes>(); }                                                      \
  void name##_destroying() { name<destroys>(); }
FOR_BOTH(serves_containers_from_a_given_heap)
FOR_BOTH(owned_heap_goes_with_the_last_copy)
FOR_BOTH(equality_is_that_of_the_heaps)
#if EXCEPTIONS
FOR_BOTH(throws_bad_alloc_when_memory_is_out)
#endif

#endif // MI_HAS_HEAP_STL_ALLOCATOR

#define CASE_BOTH(name) CASE(name##_deleting), CASE(name##_destroying)
const check_case_t cases[] = {
    CASE(the_check_for_our_memory_can_fail),
    CASE(stl_allocator_has_the_interface),
    CASE(stl_allocator_serves_containers_and_gets_all_back),
    CASE(stl_allocator_takes_nothing_for_a_count),
#if EXCEPTIONS
    CASE(stl_allocator_throws_bad_alloc),
#endif
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
    CASE_BOTH(serves_containers_from_a_given_heap),
    CASE_BOTH(owned_heap_goes_with_the_last_copy),
    CASE_BOTH(equality_is_that_of_the_heaps),
#if EXCEPTIONS
    CASE_BOTH(throws_bad_alloc_when_memory_is_out),
#endif
    CASE(blocks_stay_valid_when_an_owned_heap_is_deleted),
    CASE(blocks_are_released_when_an_owned_heap_is_destroyed),
#endif
};

} // namespace

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
