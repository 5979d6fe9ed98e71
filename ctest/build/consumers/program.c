/* program.c - a small program of another project that uses the library.
 *
 * `program ours` or `program system` names the allocator that must serve malloc here; the program
 * prints which one did, and its status is 0 only if that is right and the mi_* functions work. The
 * other arguments show the effect of a build option: program option VALUE   the default of the
 * runtime option OPTION, given by the compiler program overflow       a size that is too large
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mimalloc.h>

/* The compiler may not drop an allocation whose address is stored here. */
static void* volatile block;

static int library_works(void) {
  if (mi_version() != MI_MALLOC_VERSION) return 0; /* the header of another library */
  block = mi_zalloc(1000);
  int works = block != NULL && mi_is_in_heap_region(block) && mi_usable_size(block) >= 1000;
  mi_free(block);
  block = mi_malloc_aligned(100, 256);
  works = works && (uintptr_t)block % 256 == 0;
  mi_free(block);
  return works;
}

static int malloc_is(const char* expected) {
  block = malloc(1000);
  if (block == NULL) return 0;
  memset(block, 1, 1000);
  const char* served = mi_is_in_heap_region(block) ? "ours" : "system";
  free(block);
  printf("malloc: %s\n", served);
  return strcmp(served, expected) == 0;
}

#ifndef OPTION
#define OPTION mi_option_verbose
#endif

static int option_is(long value) {
  long found = mi_option_get(OPTION);
  printf("option: %ld\n", found);
  return found == value;
}

/* NULL and ENOMEM or EOVERFLOW, unless the library was built to abort. */
static int overflow_is_an_error(void) {
  volatile size_t too_large = SIZE_MAX - 100; /* the compiler would complain */
  errno = 0;
  block = mi_malloc(too_large);
  return block == NULL && errno != 0;
}

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "option") == 0) return !option_is(strtol(argv[2], NULL, 10));
  if (argc != 2) return 2;
  if (strcmp(argv[1], "overflow") == 0) return !overflow_is_an_error();
  return !(library_works() && malloc_is(argv[1]));
}
