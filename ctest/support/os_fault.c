/* os_fault.c - stands between the library and the system.
 *
 * The linker option --wrap sends the calls of the static library here, and the n-th of them fails
 * with ENOMEM. The plan comes from the environment, so that calls before main() are covered:
 * OS_FAULT_FIRST=<n> is the first call that fails. With OS_FAULT_ALL=1 all later calls fail too.
 * OS_FAULT_KIND=<k> limits this to one kind of os_call_t. With OS_FAULT_CHANCE=<n> one call of n
 * fails at random. Where such a call works OS page by OS page, it has done half of its work, as in
 * the kernel when a range consists of several mappings. With OS_FAULT_LIE=1 a call that is planned
 * to fail reports success. No library can work on such a system; it shows that a test notices.
 * With OS_FAULT_NO_GUARDS=1 the system does not know the advice for guards.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "os_fault.h"
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>

static size_t fault_calls;
static size_t fault_refused;
static size_t fault_first;
static int fault_all;
static int fault_kind;
static int fault_lies;
static size_t fault_chance;
static int fault_ready;

static int mremap_mode;
static size_t mremap_failures;
static size_t mremap_successes;

extern char** environ;

/* Does not use getenv: before main() libc may not be ready for it. */
static size_t number_from_environment(const char* name) {
  for (char** e = environ; e != NULL && *e != NULL; e++) {
    size_t i = 0;
    while (name[i] != 0 && (*e)[i] == name[i]) i++;
    if (name[i] != 0 || (*e)[i] != '=') continue;
    size_t n = 0;
    for (const char* c = *e + i + 1; *c >= '0' && *c <= '9'; c++) n = n * 10 + (size_t)(*c - '0');
    return n;
  }
  return 0;
}

static uint64_t scrambled(uint64_t z) {
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return z ^ (z >> 31);
}

static int call_is_refused(os_call_t kind) {
  if (!__atomic_load_n(&fault_ready, __ATOMIC_ACQUIRE)) {
    __atomic_store_n(&fault_first, number_from_environment("OS_FAULT_FIRST"), __ATOMIC_RELAXED);
    __atomic_store_n(&fault_all, (int)number_from_environment("OS_FAULT_ALL"), __ATOMIC_RELAXED);
    __atomic_store_n(&fault_kind, (int)number_from_environment("OS_FAULT_KIND"), __ATOMIC_RELAXED);
    __atomic_store_n(&fault_lies, (int)number_from_environment("OS_FAULT_LIE"), __ATOMIC_RELAXED);
    __atomic_store_n(&fault_chance, number_from_environment("OS_FAULT_CHANCE"), __ATOMIC_RELAXED);
    __atomic_store_n(&fault_ready, 1, __ATOMIC_RELEASE);
  }
  int wanted = __atomic_load_n(&fault_kind, __ATOMIC_RELAXED);
  if (wanted == OS_CALL_ANY ? kind == OS_CALL_RELEASE : (int)kind != wanted) return 0;
  size_t number = __atomic_add_fetch(&fault_calls, 1, __ATOMIC_RELAXED);
  size_t first = __atomic_load_n(&fault_first, __ATOMIC_RELAXED);
  int refused =
      first != 0 &&
      (number == first || (number > first && __atomic_load_n(&fault_all, __ATOMIC_RELAXED) != 0));
  size_t chance = __atomic_load_n(&fault_chance, __ATOMIC_RELAXED);
  if (chance != 0) refused = scrambled(number) % chance == 0;
  if (refused) {
    __atomic_fetch_add(&fault_refused, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
  }
  return refused;
}

os_fault_t os_fault_state(void) {
  os_fault_t state = {__atomic_load_n(&fault_calls, __ATOMIC_RELAXED),
                      __atomic_load_n(&fault_refused, __ATOMIC_RELAXED)};
  return state;
}

void os_fault_set(size_t first, bool all) {
  __atomic_store_n(&fault_ready, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&fault_all, all, __ATOMIC_RELAXED);
  __atomic_store_n(&fault_chance, 0, __ATOMIC_RELAXED);
  __atomic_store_n(&fault_first, first, __ATOMIC_RELAXED);
}

void os_fault_mremap(os_mremap_t mode) {
  __atomic_store_n(&mremap_mode, (int)mode, __ATOMIC_RELAXED);
}

size_t os_fault_mremap_failures(void) {
  return __atomic_load_n(&mremap_failures, __ATOMIC_RELAXED);
}

size_t os_fault_mremap_successes(void) {
  return __atomic_load_n(&mremap_successes, __ATOMIC_RELAXED);
}

void* __real_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset);
void* __real_mremap(void* old, size_t old_size, size_t new_size, int flags, ...);
int __real_munmap(void* addr, size_t size);
int __real_mprotect(void* addr, size_t size, int prot);
int __real_madvise(void* addr, size_t size, int advice);
void* __wrap_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset);
void* __wrap_mremap(void* old, size_t old_size, size_t new_size, int flags, ...);
int __wrap_munmap(void* addr, size_t size);
int __wrap_mprotect(void* addr, size_t size, int prot);
int __wrap_madvise(void* addr, size_t size, int advice);

static bool lies(void) { return __atomic_load_n(&fault_lies, __ATOMIC_RELAXED) != 0; }

static os_call_t kind_of_mmap(int prot, int flags) {
  if ((flags & MAP_FIXED) == 0) return OS_CALL_RESERVE;
  return prot == PROT_NONE ? OS_CALL_DECOMMIT : OS_CALL_REMAP;
}

void* __wrap_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset) {
  if (call_is_refused(kind_of_mmap(prot, flags)))
    return lies() ? (addr != NULL ? addr : (void*)((uintptr_t)1 << 40)) : MAP_FAILED;
  return __real_mmap(addr, size, prot, flags, fd, offset);
}

void* __wrap_mremap(void* old, size_t old_size, size_t new_size, int flags, ...) {
  va_list args;
  va_start(args, flags);
  void* target = (flags & MREMAP_FIXED) != 0 ? va_arg(args, void*) : NULL;
  va_end(args);
  if (call_is_refused(OS_CALL_MOVE)) return lies() ? (target != NULL ? target : old) : MAP_FAILED;
  bool fixed = (flags & MREMAP_FIXED) != 0;
  int mode = __atomic_load_n(&mremap_mode, __ATOMIC_RELAXED);
  if (mode == OS_MREMAP_FAILS || (mode == OS_MREMAP_FIXED_FAILS && fixed)) {
    if (fixed) __real_munmap(target, new_size);
    __atomic_fetch_add(&mremap_failures, 1, __ATOMIC_RELAXED);
    errno = mode == OS_MREMAP_FAILS ? EFAULT : ENOMEM;
    return MAP_FAILED;
  }
  void* moved = __real_mremap(old, old_size, new_size, flags, target);
  __atomic_fetch_add(moved == MAP_FAILED ? &mremap_failures : &mremap_successes, 1,
                     __ATOMIC_RELAXED);
  return moved;
}

int __wrap_munmap(void* addr, size_t size) {
  if (call_is_refused(OS_CALL_RELEASE)) return lies() ? 0 : -1;
  return __real_munmap(addr, size);
}

/* The part of the range that a randomly failing call has worked on. */
static size_t half_of(size_t size) {
  if (__atomic_load_n(&fault_chance, __ATOMIC_RELAXED) == 0) return 0;
  return size / 2 & ~(size_t)65535; /* whole OS pages of any size up to 64 KiB */
}

int __wrap_mprotect(void* addr, size_t size, int prot) {
  if (call_is_refused(prot == PROT_NONE ? OS_CALL_PROTECT : OS_CALL_COMMIT)) {
    if (half_of(size) != 0) (void)__real_mprotect(addr, half_of(size), prot);
    errno = ENOMEM;
    return lies() ? 0 : -1;
  }
  return __real_mprotect(addr, size, prot);
}

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

int __wrap_madvise(void* addr, size_t size, int advice) {
  if (advice == MADV_GUARD_INSTALL && number_from_environment("OS_FAULT_NO_GUARDS") != 0) {
    errno = EINVAL;
    return -1;
  }
  bool advises = advice == MADV_HUGEPAGE || advice == MADV_NOHUGEPAGE;
  if (call_is_refused(advises ? OS_CALL_ADVISE : OS_CALL_PURGE)) {
    if (half_of(size) != 0) (void)__real_madvise(addr, half_of(size), advice);
    errno = ENOMEM;
    return lies() ? 0 : -1;
  }
  return __real_madvise(addr, size, advice);
}
