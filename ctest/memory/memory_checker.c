/* memory_checker.c - what a memory checker must find in blocks of the library, and what it must not
 * report. memory_checker.cmake runs it under the checker that the library was built for
 * (MI_TRACK_VALGRIND, MI_TRACK_ASAN), once for each name below: "clean" must end without a finding,
 * every other one with a finding. */
#include <mimalloc.h>
#include <stdio.h>
#include <string.h>

static volatile char sink;

static int clean(void) {
  char* keep[200];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < 200; i++) {
      size_t size = i * i * 7 + 1;
      keep[i] = i % 3 == 0   ? mi_zalloc(size)
                : i % 3 == 1 ? mi_malloc_aligned(size, 64)
                             : mi_malloc(size);
      for (size_t k = 0; i % 3 == 0 && k < size; k += 97) sink = keep[i][k];
      memset(keep[i], 1, size);
    }
    for (size_t i = 0; i < 200; i++) {
      size_t old = i * i * 7 + 1;
      keep[i] = mi_realloc(keep[i], old * 3);
      if (keep[i][old - 1] != 1) return 1;
      memset(keep[i], 2, old * 3);
    }
    for (size_t i = 0; i < 200; i++) {
      size_t usable = mi_usable_size(keep[i]); /* the caller may use the whole usable size */
      memset(keep[i], 3, usable);
      mi_free(keep[i]);
    }
  }
  mi_heap_t* heap = mi_heap_new();
  for (size_t i = 1; i < 1000; i++) memset(mi_heap_malloc(heap, i), 4, i);
  mi_heap_destroy(heap);
  mi_collect(true);
  return 0;
}

static void overflow(size_t size) {
  char* p = mi_malloc(size);
  ((volatile char*)p)[size] = 1;
  mi_free(p);
}

static int leak(void) {
  void** p = mi_malloc(100);
  p[0] = NULL;
  p = NULL;
  char stack[4096];
  memset(stack, 0, sizeof(stack)); /* no copy of the pointer may remain */
  sink = stack[sizeof(stack) - 1];
  return 0;
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "clean";
  if (strcmp(what, "clean") == 0) return clean();
  if (strcmp(what, "overflow-1") == 0) overflow(100);
  if (strcmp(what, "overflow-medium") == 0) overflow(5000);
  if (strcmp(what, "overflow-large") == 0) overflow(100000);
  if (strcmp(what, "overflow-zeroed") == 0) {
    char* p = mi_calloc(10, 10);
    ((volatile char*)p)[100] = 1;
  }
  if (strcmp(what, "overflow-aligned") == 0) {
    char* p = mi_malloc_aligned(100, 32);
    ((volatile char*)p)[100] = 1;
  }
  if (strcmp(what, "overflow-realloc") == 0) {
    char* p = mi_realloc(mi_malloc(50), 60);
    ((volatile char*)p)[60] = 1;
  }
  if (strcmp(what, "use-after-free") == 0) {
    char* p = mi_malloc(100);
    mi_free(p);
    sink = ((volatile char*)p)[50];
  }
  if (strcmp(what, "double-free") == 0) {
    char* p = mi_malloc(100);
    mi_free(p);
    mi_free(p);
  }
  if (strcmp(what, "uninitialised") == 0) {
    char* p = mi_malloc(100);
    if (((volatile char*)p)[3] == 1) puts("one");
  }
  if (strcmp(what, "leak") == 0) return leak();
  return 0;
}
