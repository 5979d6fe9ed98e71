/* overflow.c - wrong on purpose: a signed sum that does not fit. ci/gates shows that the
 * undefined-behaviour sanitizer's job fails, rather than print a line and go on. */
#include <limits.h>

int main(void) {
  volatile int most = INT_MAX;
  volatile int sum = most + 1;
  return sum == 0;
}
