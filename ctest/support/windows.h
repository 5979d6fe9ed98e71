/* windows.h - the few POSIX calls that the portable tests make, on Windows. */
#pragma once

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <windows.h>

#define WINDOWS_UNUSED __attribute__((unused))

#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_PRIVATE 1
#define MAP_ANONYMOUS 2
#define MAP_NORESERVE 0
#define MAP_FAILED ((void*)-1)
/* Anonymous memory only. */
WINDOWS_UNUSED static void* mmap(void* at, size_t size, int prot, int flags, int fd, long offset) {
  (void)flags, (void)fd, (void)offset;
  void* p = VirtualAlloc(at, size, prot == PROT_NONE ? MEM_RESERVE : MEM_RESERVE | MEM_COMMIT,
                         prot == PROT_NONE ? PAGE_NOACCESS : PAGE_READWRITE);
  return p != NULL ? p : MAP_FAILED;
}
WINDOWS_UNUSED static int munmap(void* p, size_t size) {
  (void)size;
  return VirtualFree(p, 0, MEM_RELEASE) ? 0 : -1;
}
WINDOWS_UNUSED static int mprotect(void* p, size_t size, int prot) {
  DWORD before;
  return VirtualProtect(p, size, prot == PROT_NONE ? PAGE_NOACCESS : PAGE_READWRITE, &before) ? 0
                                                                                              : -1;
}

WINDOWS_UNUSED static int setenv(const char* name, const char* value, int overwrite) {
  if (!overwrite && getenv(name) != NULL) return 0;
  return _putenv_s(name, value);
}
WINDOWS_UNUSED static int unsetenv(const char* name) { return _putenv_s(name, ""); }
WINDOWS_UNUSED static char* realpath(const char* path, char* resolved) {
  return _fullpath(resolved, path, 4096);
}
/* msvcrt has no quick_exit; without handlers _exit does the same */
#define quick_exit(status) _exit(status)
