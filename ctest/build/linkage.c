/* linkage.c - a program that does not name our functions gets its memory from us, however it is
 * linked: with the shared library, the static one, the single object, or wholly static.
 *
 * Built once per way of linking. The library's own functions only answer whose memory a block is;
 * the blocks come from malloc and from inside the C library.
 */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mimalloc.h"

static void malloc_and_its_family_are_ours(void) {
  void* volatile blocks[] = {malloc(100), calloc(3, 100), realloc(NULL, 1000),
                             aligned_alloc(64, 640), strdup("a string")};
  for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
    CHECK(blocks[i] != NULL);
    CHECK(mi_is_in_heap_region(blocks[i]));
    free(blocks[i]);
  }
}

static void memory_that_the_c_library_allocates_is_ours(void) {
  char* line = NULL;
  size_t capacity = 0;
  FILE* file = fopen("/proc/self/status", "r");
  CHECK(file != NULL);
  CHECK(getline(&line, &capacity, file) > 0);
  fclose(file);
  CHECK(mi_is_in_heap_region(line));
  free(line);
  char* path = realpath("/", NULL);
  CHECK(path != NULL && strcmp(path, "/") == 0);
  CHECK(mi_is_in_heap_region(path));
  free(path);
  char* text = NULL;
  CHECK(asprintf(&text, "%d", 12345) == 5);
  CHECK(mi_is_in_heap_region(text));
  free(text);
}

static void errno_is_as_posix_has_it(void) {
  volatile size_t huge = (size_t)1 << 62, three = 3; /* no warning about the tested call */
  errno = 0;
  CHECK(malloc(huge) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(aligned_alloc(three, 100) == NULL && errno == EINVAL);
}

static const check_case_t cases[] = {
    CASE(malloc_and_its_family_are_ours),
    CASE(memory_that_the_c_library_allocates_is_ours),
    CASE(errno_is_as_posix_has_it),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
