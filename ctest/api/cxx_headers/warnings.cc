// warnings.cc - the headers give no warning, whatever a program's compiler is asked to warn of, and
// need neither exceptions nor run-time types. Nothing is linked or run.
#include <mimalloc-new-delete.h>

template struct mi_stl_allocator<int>;
template struct mi_stl_allocator<const char*>;
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
template struct mi_heap_stl_allocator<int>;
template struct mi_heap_destroy_stl_allocator<int>;
template struct mi_heap_stl_allocator<mi_heap_stl_allocator<int>>;
bool use();
bool use() {
  mi_heap_stl_allocator<int> a, b(a), c(mi_heap_stl_allocator<char>{});
  mi_heap_destroy_stl_allocator<int> d(nullptr), e(d), f(mi_heap_destroy_stl_allocator<char>{});
  b = a;
  e = d;
  d.collect(true);
  return a == b && a != c && d == e && d != f;
}
#endif

#include <mimalloc-override.h>
