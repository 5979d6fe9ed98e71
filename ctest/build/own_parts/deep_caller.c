/* deep_caller.c - a library that opens another one by a name that only its own search path
 * (RUNPATH) leads to: the C library must see that this library is the caller. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

#if defined(__x86_64__)
/* The name as programs have it that were linked before glibc 2.34. */
extern void* old_dlopen(const char* file, int mode);
__asm__(".symver old_dlopen, dlopen@GLIBC_2.2.5");
#else
#define old_dlopen dlopen
#endif

void* caller_dlopen(const char* file, int mode);
void* caller_dlopen(const char* file, int mode) {
  void* found = dlopen(file, mode);
  return found; /* no jump */
}
void* caller_old_dlopen(const char* file, int mode);
void* caller_old_dlopen(const char* file, int mode) {
  void* found = old_dlopen(file, mode);
  return found;
}
void* caller_dlmopen(long space, const char* file, int mode);
void* caller_dlmopen(long space, const char* file, int mode) {
  void* found = dlmopen((Lmid_t)space, file, mode);
  return found;
}
