/* data_race.c - wrong on purpose: two threads write one plain variable. ci/gates shows that the
 * thread sanitizer's job reports it. */
#include <pthread.h>
#include <stddef.h>

static int shared;

static void* count(void* unused) {
  (void)unused;
  for (int i = 0; i < 10000; i++) shared++;
  return NULL;
}

int main(void) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, count, NULL) != 0) return 1;
  count(NULL);
  return pthread_join(thread, NULL);
}
