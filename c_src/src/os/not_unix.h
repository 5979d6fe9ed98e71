/* os/not_unix.h - the functions of os.h for what neither Windows nor WebAssembly has: huge pages
 * that the library chooses, moves and locks of memory, cancellation, forks, unloading. */
#pragma once

#include "os.h"
#include <stdlib.h>

/* Windows has large pages, but they need a privilege that programs rarely have. */
INTERNAL void* os_reserve_large(size_t size, size_t align, bool* non_purgeable) {
  *non_purgeable = false;
  return os_reserve(size, align, OS_LAZY);
}
INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms) {
  (void)pages, (void)numa_node, (void)timeout_ms;
  return (os_huge_t){NULL, 0, true};
}
INTERNAL void os_disable_huge_pages(void) {}
INTERNAL void os_advise_huge(void* p, size_t size, bool use) { (void)p, (void)size, (void)use; }
INTERNAL void os_advise_dump(void* p, size_t size, bool dump) { (void)p, (void)size, (void)dump; }
INTERNAL void os_split_huge(void* p, size_t size) { (void)p, (void)size; }

INTERNAL void* os_reserve_unlocked(size_t size) { return (void)size, NULL; }
INTERNAL bool os_guard(void* p, size_t size) { return os_shut(p, size); }
INTERNAL bool os_unguard(void* p, size_t size) { return os_open(p, size); }
INTERNAL bool os_guards_are_light(void) { return false; }
INTERNAL bool os_guards_are_mappings(void) { return false; }
INTERNAL bool os_remap(void* p, size_t size) { return os_decommit(p, size) && os_commit(p, size); }
INTERNAL bool os_munlock(void* p, size_t size) { return (void)p, (void)size, false; }
INTERNAL bool os_move(void* dst, void* src, size_t size) {
  return (void)dst, (void)src, (void)size, false;
}
INTERNAL size_t os_mapping_limit(void) { return SIZE_MAX; }

INTERNAL bool os_is_privileged(void) { return false; } /* no program gains rights by its start */
INTERNAL _Noreturn void os_abort(void) { abort(); }
INTERNAL int os_cancel_off(void) { return 0; }
INTERNAL void os_cancel_restore(int state) { (void)state; }
INTERNAL void os_fork_begin(void) {}
INTERNAL void os_fork_end(void) {}
INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  (void)prepare, (void)parent, (void)child;
}
#if MI_SECURE > 0
INTERNAL _Atomic(uint64_t)* os_word_of_process(void) { return NULL; }
#endif

/* A DLL that is unloaded does not give its memory back. */
INTERNAL void os_at_unload(void (*unload)(void)) { (void)unload; }
INTERNAL void os_image_ends(void) {}
