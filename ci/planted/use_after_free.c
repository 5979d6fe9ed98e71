/* use_after_free.c - wrong on purpose: ci/gates shows that the address sanitizer reports it. */
#include <stdlib.h>

int main(void) {
  int* volatile block = malloc(sizeof(int));
  if (block == NULL) return 1;
  *block = 0;
  free(block);
  return *block;
}
