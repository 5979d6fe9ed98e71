/* version.c - the release, and functions with a constant answer. */
#include "mimalloc.h"

/* The release of this implementation. A test compares it with that of the crate. */
#define MAJOR 2
#define MINOR 3
#define PATCH 0
#define RELEASE (MAJOR * 10000 + MINOR * 100 + PATCH)
#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)

int mi_version(void) mi_attr_noexcept { return MI_MALLOC_VERSION; }
int mi_release(void) mi_attr_noexcept { return RELEASE; }
const char* mi_release_text(void) mi_attr_noexcept {
  return TEXT_OF(MAJOR) "." TEXT_OF(MINOR) "." TEXT_OF(PATCH) "+2.1.7"; /* and the interface */
}

bool mi_is_redirected(void) mi_attr_noexcept { return false; }
void mi_thread_set_in_threadpool(void) mi_attr_noexcept {}
