/* unload.c - the shared library loaded and unloaded at run time, beside another malloc:
 * blocks and threads outlive dlclose, no thread-specific key is lost.
 * Environment: TEST_LIBRARY, the path of the library.
 */
#include "probe.h"
#include <dlfcn.h>

static const char* library_path;

typedef struct library_s {
  void* handle;
  void* (*mi_malloc)(size_t);
  void (*mi_free)(void*);
} library_t;

static library_t library_open(void) {
  library_t l = {NULL, NULL, NULL};
  l.handle = dlopen(library_path, RTLD_NOW | RTLD_LOCAL);
  if (l.handle == NULL) check_fail("%s\n", dlerror());
  REQUIRE(l.handle != NULL);
  void* found = dlsym(l.handle, "mi_malloc");
  REQUIRE(found != NULL);
  memcpy(&l.mi_malloc, &found, sizeof found);
  found = dlsym(l.handle, "mi_free");
  REQUIRE(found != NULL);
  memcpy(&l.mi_free, &found, sizeof found);
  return l;
}

static library_t library;
static pthread_barrier_t used;
static pthread_barrier_t closed;

static void* outlive_the_library(void* arg) {
  (void)arg;
  char* p = (char*)library.mi_malloc(1000);
  REQUIRE(p != NULL);
  pattern_fill(p, 1000, 1);
  pthread_barrier_wait(&used);
  pthread_barrier_wait(&closed);
  CHECK(pattern_holds(p, 1000, 1));
  return NULL; /* the exit hook of the library runs now */
}

static void unloading_is_survived_by_threads_and_blocks(void) {
  pthread_barrier_init(&used, NULL, 2);
  pthread_barrier_init(&closed, NULL, 2);
  for (size_t i = 0; i < check_scaled(1000); i++) {
    library = library_open();
    pthread_t thread = thread_start(&outlive_the_library, NULL);
    char* p = (char*)library.mi_malloc(5000);
    REQUIRE(p != NULL);
    pattern_fill(p, 5000, 2);
    pthread_barrier_wait(&used);
    REQUIRE(dlclose(library.handle) == 0);
    CHECK(pattern_holds(p, 5000, 2));
    pthread_barrier_wait(&closed);
    thread_join(thread);
    library = library_open();
    library.mi_free(p);
    REQUIRE(dlclose(library.handle) == 0);
  }
  /* If each of 1,000 rounds lost a key, none of the 1,024 keys would be left. */
  pthread_key_t key;
  CHECK_EQ(pthread_key_create(&key, NULL), 0);
}

/* ---- threads at work meanwhile ------------------------------------------------------ */

#define WORKERS 3
static int workers_stop;

static void* work_without_pause(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[50] = {0};
  size_t sizes[50] = {0};
  while (!__atomic_load_n(&workers_stop, __ATOMIC_RELAXED)) {
    size_t at = rng_below(&rng, COUNT_OF(held));
    if (held[at] != NULL) CHECK(pattern_holds(held[at], sizes[at], (unsigned)at));
    library.mi_free(held[at]);
    sizes[at] = rng_size(&rng, 20000);
    held[at] = library.mi_malloc(sizes[at]);
    REQUIRE(held[at] != NULL);
    pattern_fill(held[at], sizes[at], (unsigned)at);
  }
  for (size_t i = 0; i < COUNT_OF(held); i++) library.mi_free(held[i]);
  return NULL;
}

/* These threads do not know that the library is closed and opened again. */
static void threads_allocate_while_the_library_is_opened_and_closed(void) {
  pthread_t threads[WORKERS];
  library = library_open();
  REQUIRE(dlclose(library.handle) == 0);
  for (size_t i = 0; i < WORKERS; i++)
    threads[i] = thread_start(&work_without_pause, (void*)(i + 1));
  for (size_t i = 0; i < check_scaled(1000); i++) {
    library_t again = library_open();
    CHECK(again.mi_malloc == library.mi_malloc); /* it never went away */
    char* p = (char*)again.mi_malloc(3000);
    REQUIRE(p != NULL);
    memset(p, 1, 3000);
    REQUIRE(dlclose(again.handle) == 0);
    again.mi_free(p);
  }
  __atomic_store_n(&workers_stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < WORKERS; i++) thread_join(threads[i]);
}

static void the_programs_own_malloc_stays(void) {
  library = library_open();
  void* ours = library.mi_malloc(100);
  void* theirs = malloc(100);
  CHECK(ours != NULL && theirs != NULL);
  bool (*is_in_heap_region)(const void*);
  void* found = dlsym(library.handle, "mi_is_in_heap_region");
  REQUIRE(found != NULL);
  memcpy(&is_in_heap_region, &found, sizeof found);
  CHECK(is_in_heap_region(ours));
  CHECK(!is_in_heap_region(theirs));
  library.mi_free(ours);
  free(theirs);
}

static const check_case_t cases[] = {
    CASE(unloading_is_survived_by_threads_and_blocks),
    CASE(threads_allocate_while_the_library_is_opened_and_closed),
    CASE(the_programs_own_malloc_stays),
};

int main(int argc, char** argv) {
  library_path = getenv("TEST_LIBRARY");
  if (library_path == NULL) {
    check_fail("TEST_LIBRARY must name the shared library\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
