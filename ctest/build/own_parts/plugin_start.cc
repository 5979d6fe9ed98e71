// plugin_start.cc - a library in C++ whose constructor waits for a thread whose request fails:
// the loader holds its lock meanwhile, so the thread must not need it.
#include "probe.h"
#include <new>

namespace {

bool caught;

void* ask_for_too_much(void*) {
  try {
    opaque(::operator new(opaque_size(SIZE_MAX / 2)));
  } catch (const std::bad_alloc&) {
    caught = true;
  }
  return nullptr;
}

struct start_t {
  start_t() {
    alarm(30); // a thread that waits for us would wait for ever
    thread_join(thread_start(&ask_for_too_much, nullptr));
    alarm(0);
  }
} start;

} // namespace

extern "C" int start_has_caught() { return caught ? 1 : 0; }
