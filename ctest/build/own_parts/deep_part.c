/* deep_part.c - a library that deepbind.c opens so that it finds the C library first. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

/* What the C library allocates, freed here. */
int deep_frees_what_the_c_library_made(void);
int deep_frees_what_the_c_library_made(void) {
  char* s = strdup("a string");
  char* path = realpath("/.", NULL);
  void* p = malloc(100);
  int right = s != NULL && path != NULL && strcmp(path, "/") == 0 && p != NULL;
  free(s);
  free(path);
  free(p);
  return right;
}

void* deep_malloc(size_t size);
void* deep_malloc(size_t size) { return malloc(size); }
void* deep_realloc(void* p, size_t size);
void* deep_realloc(void* p, size_t size) { return realloc(p, size); }
void deep_free(void* p);
void deep_free(void* p) { free(p); }
size_t deep_usable_size(void* p);
size_t deep_usable_size(void* p) { return malloc_usable_size(p); }
