/* os_pages.c - stands between the library and the system: the linker option --wrap sends the calls
 * of the static library here. Ordinary memory that is never touched stands for huge pages, and
 * files that only the library sees describe the nodes. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "os_pages.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, missing in older headers */
#define HUGE_SHIFT 30
#define LARGE_SHIFT 21

os_pages_t os_pages = {.huge_touch = SIZE_MAX};

void* __real_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void* addr, size_t size);
int __real_mprotect(void* addr, size_t size, int prot);
int __real_madvise(void* addr, size_t size, int advice);
int __real_open(const char* path, int flags, ...);
long __real_syscall(long number, ...);
void* __wrap_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void* addr, size_t size);
int __wrap_mprotect(void* addr, size_t size, int prot);
int __wrap_madvise(void* addr, size_t size, int advice);
int __wrap_open(const char* path, int flags, ...);
long __wrap_syscall(long number, ...);

static size_t count(size_t* counter) { return __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED); }

/* Does not use getenv: before main() libc may not be ready for it. */
static const char* environment(const char* name) {
  size_t n = strlen(name);
  for (char** e = environ; e != NULL && *e != NULL; e++)
    if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') return *e + n + 1;
  return NULL;
}

static void plan_from_environment(void) {
  static bool done;
  if (done) return;
  done = true; /* the library makes the first call, before there is a second thread */
  const char* huge = environment("OS_PAGES_HUGE");
  const char* large = environment("OS_PAGES_LARGE");
  if (huge == NULL && large == NULL) return;
  os_pages.active = true;
  os_pages.huge_pages = huge != NULL ? strtoul(huge, NULL, 10) : 0;
  os_pages.large_pages = large != NULL ? strtoul(large, NULL, 10) : 0;
  os_pages.nodes = environment("OS_PAGES_NODES");
}

static void sleep_some_ms(unsigned ms) {
  struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000L};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
}

static void somebody_maps(char* at) {
  void* p = __real_mmap(at, 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p == MAP_FAILED || os_pages.taken_count == OS_PAGES_KEPT) return;
  memset(p, 0x5A, 4096);
  os_pages.taken[os_pages.taken_count++] = (char*)p;
}

static void* map_pages(void* addr, size_t size, int prot, int flags) {
  int shift = (flags >> MAP_HUGE_SHIFT) & 63;
  size_t pages = size >> shift;
  size_t* pool = shift == HUGE_SHIFT ? &os_pages.huge_pages : &os_pages.large_pages;
  if (shift == HUGE_SHIFT)
    count(&os_pages.huge_asked);
  else
    count(&os_pages.large_asked);
  if ((shift != HUGE_SHIFT && shift != LARGE_SHIFT) || size == 0 ||
      (size & (((size_t)1 << shift) - 1)) != 0 ||
      ((uintptr_t)addr & (((size_t)1 << shift) - 1)) != 0) {
    errno = EINVAL;
    return MAP_FAILED;
  }
  if (*pool < pages) {
    /* As in the kernel: it removes the old mapping before it finds that pages are missing. */
    if ((flags & MAP_FIXED) != 0) __real_munmap(addr, size);
    if (addr != NULL && os_pages.hole_is_taken) somebody_maps((char*)addr);
    errno = ENOMEM;
    return MAP_FAILED;
  }
  if (shift == HUGE_SHIFT && os_pages.huge_ms > 0) sleep_some_ms(os_pages.huge_ms);
  int plain =
      (flags & (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_FIXED_NOREPLACE)) | MAP_NORESERVE;
  char* at = (char*)addr;
  if (addr == NULL) { /* at a multiple of the page's size */
    size_t align = (size_t)1 << shift;
    char* wide = (char*)__real_mmap(NULL, size + align, PROT_NONE, plain, -1, 0);
    if (wide == MAP_FAILED) return wide;
    at = wide + (align - (uintptr_t)wide % align) % align;
    __real_munmap(wide, size + align);
  }
  void* p = __real_mmap(at, size, prot, plain, -1, 0);
  if (p == MAP_FAILED) return p;
  *pool -= pages;
  if (os_pages.map_count < OS_PAGES_KEPT) {
    os_page_map_t map = {(char*)p, size, flags, 0};
    os_pages.map[os_pages.map_count++] = map;
  }
  return p;
}

void* __wrap_mmap(void* addr, size_t size, int prot, int flags, int fd, off_t offset) {
  plan_from_environment();
  count(&os_pages.maps);
  if (os_pages.active && (flags & MAP_HUGETLB) != 0) return map_pages(addr, size, prot, flags);
  return __real_mmap(addr, size, prot, flags, fd, offset);
}

int __wrap_munmap(void* addr, size_t size) {
  count(&os_pages.unmaps);
  int result = __real_munmap(addr, size);
  if (size == (size_t)1 << HUGE_SHIFT && os_pages.gap_taken > 0 && --os_pages.gap_taken == 0)
    somebody_maps((char*)addr);
  return result;
}

int __wrap_mprotect(void* addr, size_t size, int prot) {
  count(&os_pages.protects);
  return __real_mprotect(addr, size, prot);
}

int __wrap_madvise(void* addr, size_t size, int advice) {
  if (os_pages.active && advice == MADV_POPULATE_WRITE) {
    size_t n = count(&os_pages.populated);
    errno = os_pages.old_populate ? EINVAL : EFAULT;
    return (os_pages.old_populate || n > os_pages.huge_touch) ? -1 : 0;
  }
  /* A guard gives back the memory under it. */
  if (advice == MADV_DONTNEED || advice == MADV_FREE || advice == GUARD_INSTALL)
    count(&os_pages.purges);
  if (advice == MADV_HUGEPAGE) __atomic_fetch_add(&os_pages.advised, size, __ATOMIC_RELAXED);
  return __real_madvise(addr, size, advice);
}

/* A file with this text, or none. */
static int open_text(const char* text) {
  if (text == NULL) {
    errno = ENOENT;
    return -1;
  }
  int fd = memfd_create("nodes", MFD_CLOEXEC);
  if (fd >= 0 && write(fd, text, strlen(text)) >= 0) lseek(fd, 0, SEEK_SET);
  return fd;
}

int __wrap_open(const char* path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  int mode = (flags & O_CREAT) != 0 ? va_arg(args, int) : 0;
  va_end(args);
  plan_from_environment();
  static const char folder[] = "/sys/devices/system/node/";
  if (os_pages.active && strncmp(path, folder, sizeof folder - 1) == 0) {
    const char* name = path + sizeof folder - 1;
    return open_text(strcmp(name, "has_memory") == 0 ? os_pages.nodes
                     : strcmp(name, "online") == 0   ? os_pages.online
                                                     : NULL);
  }
  return __real_open(path, flags, mode);
}

static long bind_pages(char* at, size_t size, int mode, const unsigned long* mask,
                       unsigned long bits) {
  count(&os_pages.binds);
  /* 1: preferred. With a binding policy the kernel would kill a thread that touches a page for
   * which its node has no memory. */
  if (os_pages.bind_error != 0 || mode != 1 || bits != 1025 || mask == NULL) {
    errno = os_pages.bind_error != 0 ? os_pages.bind_error : EINVAL;
    return -1;
  }
  for (size_t i = 0; i < os_pages.map_count; i++)
    if (os_pages.map[i].at == at && os_pages.map[i].size == size) os_pages.map[i].nodes = *mask;
  return 0;
}

/* Reads six arguments, also where a caller passes fewer. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long number, ...) {
  long arg[6];
  va_list args;
  va_start(args, number);
  for (int i = 0; i < 6; i++) arg[i] = va_arg(args, long);
  va_end(args);
#if defined(SYS_mbind)
  if (os_pages.active && number == SYS_mbind)
    return bind_pages((char*)arg[0], (size_t)arg[1], (int)arg[2], (const unsigned long*)arg[3],
                      (unsigned long)arg[4]);
#endif
  return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
