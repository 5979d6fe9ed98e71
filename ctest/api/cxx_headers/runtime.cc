// runtime.cc - operator new throws in a program that has nothing of the C++ library but what new
// itself and catching std::bad_alloc need.
//
// Linked with the static library, which overrides the operators, and with a static C++ runtime:
// from that a linker takes only what the program refers to, and what mi_new refers to is weak.
#include "probe.h"
#include <mimalloc.h>
#include <new>

namespace {

void new_gives_our_memory() {
  int* p = new int[100];
  CHECK(mi_is_in_heap_region(opaque(p)));
  delete[] p;
}

void new_throws_bad_alloc_when_memory_is_out() {
  bool caught = false;
  try {
    opaque(new char[opaque_size(size_t(1) << 47)]);
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  CHECK(caught);
}

const check_case_t cases[] = {
    CASE(new_gives_our_memory),
    CASE(new_throws_bad_alloc_when_memory_is_out),
};

} // namespace

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
