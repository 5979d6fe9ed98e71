/* probe.c - says which library serves malloc in this process, and its version.
 *
 * Output: one line per function, "symbol NAME PATH", then at most one line "version TEXT".
 * The runner starts it under each preload before a race and refuses a library that does not
 * serve all of the functions: a block of one allocator that another one frees is a crash at best.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <gnu/libc-version.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char* const functions[] = {
    "malloc",   "free",          "calloc",         "realloc",
    "memalign", "aligned_alloc", "posix_memalign", "malloc_usable_size"};

/* dlsym gives an object pointer; ISO C has no cast from it to a function pointer. */
static int found(const char* name, void* function_pointer) {
  void* address = dlsym(RTLD_DEFAULT, name);
  memcpy(function_pointer, &address, sizeof address);
  return address != NULL;
}

static void print_version(const char* malloc_path) {
  int (*mi_version)(void);
  int (*mallctl)(const char*, void*, size_t*, void*, size_t);
  const char* (*tc_version)(int*, int*, const char**);
  if (found("mi_version", &mi_version)) {
    /* 217 is 2.1.7; from 2.2 on there are two digits for each of the last two: 20302 is 2.3.2. */
    int v = mi_version();
    if (v < 10000) {
      printf("version mimalloc %d.%d.%d\n", v / 100, v / 10 % 10, v % 10);
    } else {
      printf("version mimalloc %d.%d.%d\n", v / 10000, v / 100 % 100, v % 100);
    }
  } else if (found("mallctl", &mallctl)) {
    const char* text = NULL;
    size_t bytes = sizeof text;
    if (mallctl("version", &text, &bytes, NULL, 0) == 0) printf("version jemalloc %s\n", text);
  } else if (found("tc_version", &tc_version)) {
    int major = 0;
    int minor = 0;
    const char* patch = "";
    tc_version(&major, &minor, &patch);
    printf("version gperftools %d.%d%s\n", major, minor, patch);
  } else if (strstr(malloc_path, "libc.so") != NULL) {
    printf("version glibc %s\n", gnu_get_libc_version());
  }
}

/* One round through the functions: a library that exports them and cannot serve fails here. */
static int serves(void) {
  unsigned char* p = malloc(100);
  unsigned char* q = calloc(10, 10);
  void* r = NULL;
  if (p == NULL || q == NULL || posix_memalign(&r, 256, 100) != 0 || (uintptr_t)r % 256 != 0)
    return 0;
  for (int i = 0; i < 100; i++)
    if (q[i] != 0) return 0;
  memset(p, 7, 100);
  p = realloc(p, 100000);
  if (p == NULL || p[99] != 7) return 0;
  free(p);
  free(q);
  free(r);
  return 1;
}

int main(void) {
  const char* malloc_path = "";
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    Dl_info info;
    void* address = dlsym(RTLD_DEFAULT, functions[i]);
    if (address == NULL || dladdr(address, &info) == 0) {
      printf("symbol %s -\n", functions[i]);
      continue;
    }
    printf("symbol %s %s\n", functions[i], info.dli_fname);
    if (i == 0) malloc_path = info.dli_fname;
  }
  if (!serves()) {
    fprintf(stderr, "probe: the functions are there and do not work\n");
    return 1;
  }
  print_version(malloc_path);
  return 0;
}
