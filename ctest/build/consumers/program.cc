// The same as program.c in C++: `program ours` or `program system` names the allocator of malloc
// and operator new.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <mimalloc.h>

// The compiler may not drop an allocation whose address is stored here.
static void* volatile block;

static bool library_works() {
  if (mi_version() != MI_MALLOC_VERSION) return false;
  block = mi_new(1000);
  bool works = mi_is_in_heap_region(block);
  mi_free(block);
  return works;
}

static const char* who(const void* p) { return mi_is_in_heap_region(p) ? "ours" : "system"; }

int main(int argc, char** argv) {
  if (argc != 2 || !library_works()) return 2;
  block = std::malloc(1000);
  std::string by_malloc = who(block);
  std::free(block);
  std::vector<std::string> strings(100, std::string(100, 'x'));
  std::string by_new = who(strings.data());
  std::printf("malloc: %s, operator new: %s\n", by_malloc.c_str(), by_new.c_str());
  return !(by_malloc == argv[1] && by_new == argv[1]);
}
