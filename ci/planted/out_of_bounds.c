/* out_of_bounds.c - wrong on purpose: a write past an array, as a slip in our tables would be.
 * ci/gates shows that the address sanitizer's job reports it. */
#include <stddef.h>

static int table[8];

int main(void) {
  volatile size_t index = sizeof table / sizeof table[0];
  int* volatile start = table;
  start[index] = 1;
  return table[0];
}
