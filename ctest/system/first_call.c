/* first_call.c - the first call of a process, one process each: from main(), from a constructor
 * that runs before all ordinary ones, and from two threads at once. Linked twice: with the library
 * that replaces malloc, and with one that does not, where nothing in the process has called the
 * allocator before the test does.
 *
 * Case names are given with an optional prefix "early_", which makes the call happen in a
 * constructor of priority 101.
 */
#include "probe.h"
#include <mimalloc.h>

/* How often the C library's malloc was called. Start-up code of ours that calls functions which
 * allocate would call itself in a process whose malloc is ours. Here it is not. */
static size_t foreign_calls;
#if defined(TEST_PLAIN) && defined(__GLIBC__)
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* p, size_t size);
static void count_call(void) { __atomic_fetch_add(&foreign_calls, 1, __ATOMIC_RELAXED); }
void* malloc(size_t size) {
  count_call();
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  count_call();
  return __libc_calloc(count, size);
}
void* realloc(void* p, size_t size) {
  count_call();
  return __libc_realloc(p, size);
}
#endif

static void use_it(void) {
  char* p = (char*)mi_malloc(1000);
  REQUIRE(p != NULL);
  memset(p, 1, 1000);
  p = (char*)mi_realloc(p, 100000);
  REQUIRE(p != NULL);
  CHECK(all_bytes_are(p, 1000, 1));
  mi_free(p);
}

static void first_free_of_null(void) { mi_free(NULL); }
static void first_cfree_of_foreign(void) {
  int local = 1;
  mi_cfree(&local);
}
static void first_usable_size_of_null(void) { CHECK_EQ(mi_usable_size(NULL), 0); }
static void ignore_error(int code, void* arg) {
  (void)code;
  (void)arg;
}
static void first_usable_size_of_foreign(void) {
  int local = 1;
  if (WRONG_ADDRESSES_ARE_REPORTED) mi_register_error(&ignore_error, NULL);
  CHECK_EQ(mi_usable_size(opaque(&local)), 0);
}
static void first_is_in_heap_region(void) {
  int local = 1;
  CHECK(!mi_is_in_heap_region(&local));
}
static void first_realloc_of_null(void) {
  void* p = mi_realloc(NULL, 100);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_realloc_of_null_to_zero(void) {
  void* p = mi_realloc(NULL, 0);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_expand_of_null(void) { CHECK_NULL(mi_expand(NULL, 1)); }
static void first_malloc(void) {
  void* p = mi_malloc(1);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_malloc_zero(void) {
  void* p = mi_malloc(0);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_malloc_small(void) {
  void* p = mi_malloc_small(16);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_malloc_align8(void) {
  void* p = mi_malloc_align8(24);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_malloc_huge(void) {
  char* p = (char*)mi_malloc(GIB + 1);
  REQUIRE(p != NULL);
  p[GIB] = 1;
  mi_free(p);
}
static void first_malloc_too_large(void) { CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX))); }
static void first_calloc(void) {
  void* p = mi_calloc(10, 10);
  CHECK(p != NULL && all_bytes_are(p, 100, 0));
  mi_free(p);
}
static void first_malloc_aligned_large(void) {
  char* p = (char*)mi_malloc_aligned(64 * MIB, MIB);
  REQUIRE(p != NULL);
  CHECK(is_aligned(p, MIB));
  p[64 * MIB - 1] = 1;
  mi_free(p);
}
static void first_malloc_aligned_beyond(void) {
  char* p = (char*)mi_malloc_aligned(100, 256 * MIB);
  CHECK(p != NULL && is_aligned(p, 256 * MIB));
  mi_free(p);
}
static void first_posix_memalign(void) {
  void* p = NULL;
  CHECK_EQ(mi_posix_memalign(&p, 64, 100), 0);
  CHECK(p != NULL && is_aligned(p, 64));
  mi_free(p);
}
static void first_strdup(void) {
  char* s = mi_strdup("first");
  CHECK_TEXT(s, "first");
  mi_free(s);
}
static void first_realpath(void) {
  char* s = mi_realpath("/", NULL);
  if (!ON_WINDOWS) CHECK_TEXT(s, "/");
  mi_free(s);
}
static void first_new(void) {
  void* p = mi_new(100);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void first_rezalloc(void) {
  void* p = mi_rezalloc(NULL, 100);
  CHECK(p != NULL && all_bytes_are(p, 100, 0));
  mi_free(p);
}
static void first_collect(void) { mi_collect(false); }
static void first_collect_forced(void) { mi_collect(true); }
static void first_thread_done(void) { mi_thread_done(); }
static void first_thread_init(void) { mi_thread_init(); }
static void first_process_init(void) { mi_process_init(); }
static void first_good_size(void) { CHECK_GE(mi_good_size(100), 100); }
static void first_version(void) { CHECK_EQ(mi_version(), MI_MALLOC_VERSION); }
static void first_process_info(void) {
  size_t rss = 0;
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
  CHECK_GE(rss, 4096);
}
static size_t printed;
static void count_output(const char* message, void* arg) {
  (void)arg;
  printed += strlen(message);
}
static void first_stats_print(void) {
  mi_stats_print_out(&count_output, NULL);
  CHECK_GE(printed, 1);
}
static void first_register_output(void) {
  mi_register_output(&count_output, NULL);
  mi_register_output(NULL, NULL);
}
static void first_register_error(void) { mi_register_error(&ignore_error, NULL); }
static void ignore_deferred(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  (void)heartbeat;
  (void)arg;
}
static void first_register_deferred_free(void) {
  mi_register_deferred_free(&ignore_deferred, NULL);
}
/* Each option, by each getter, is the first one in some process: the process number is
 * taken as the choice, so that all come up over time, and each getter in each run. */
static void first_option_get(void) {
  for (int i = 0; i < (int)_mi_option_last; i++) {
    long value = mi_option_get((mi_option_t)((i + getpid()) % (int)_mi_option_last));
    CHECK_GE(value, -1);
  }
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 10);
}
static void first_option_is_enabled(void) { CHECK(!mi_option_is_enabled(mi_option_verbose)); }
static void first_option_get_size(void) {
  CHECK_EQ(mi_option_get_size(mi_option_arena_reserve), IS_64_BIT ? GIB : 128 * MIB);
}
static void first_option_get_clamp(void) {
  CHECK_EQ(mi_option_get_clamp(mi_option_purge_delay, 11, 20), 11);
}
static void first_option_set(void) {
  mi_option_set(mi_option_purge_delay, 123);
  use_it();
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 123);
}
static void first_option_set_default(void) {
  mi_option_set_default(mi_option_purge_delay, 123);
  use_it();
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 123);
}
static void first_manage_os_memory(void) {
  void* map = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED);
  CHECK(mi_manage_os_memory(map, 64 * MIB, true, false, true, -1));
}

static pthread_barrier_t together;
static void* first_in_a_thread(void* arg) {
  pthread_barrier_wait(&together);
  size_t size = (size_t)(uintptr_t)arg;
  char* p = (char*)mi_calloc(size, 1);
  REQUIRE(p != NULL);
  CHECK(all_bytes_are(p, size, 0));
  CHECK_EQ(mi_option_get(mi_option_purge_delay), 10);
  memset(p, 1, size);
  use_it();
  CHECK(all_bytes_are(p, size, 1));
  mi_free(p);
  return NULL;
}
static void first_in_threads_at_once(void) {
  pthread_t threads[4];
  pthread_barrier_init(&together, NULL, COUNT_OF(threads));
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&first_in_a_thread, (void*)(i % 2 == 0 ? 100 : 300000 * i));
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
}

static const check_case_t calls[] = {
    CASE(first_free_of_null),
    CASE(first_cfree_of_foreign),
    CASE(first_usable_size_of_null),
    CASE(first_usable_size_of_foreign),
    CASE(first_is_in_heap_region),
    CASE(first_realloc_of_null),
    CASE(first_realloc_of_null_to_zero),
    CASE(first_expand_of_null),
    CASE(first_malloc),
    CASE(first_malloc_zero),
    CASE(first_malloc_small),
    CASE(first_malloc_align8),
    CASE(first_malloc_huge),
    CASE(first_malloc_too_large),
    CASE(first_calloc),
    CASE(first_malloc_aligned_large),
    CASE(first_malloc_aligned_beyond),
    CASE(first_posix_memalign),
    CASE(first_strdup),
    CASE(first_realpath),
    CASE(first_new),
    CASE(first_rezalloc),
    CASE(first_collect),
    CASE(first_collect_forced),
    CASE(first_thread_done),
    CASE(first_thread_init),
    CASE(first_process_init),
    CASE(first_good_size),
    CASE(first_version),
    CASE(first_process_info),
    CASE(first_stats_print),
    CASE(first_register_output),
    CASE(first_register_error),
    CASE(first_register_deferred_free),
    CASE(first_option_get),
    CASE(first_option_is_enabled),
    CASE(first_option_get_size),
    CASE(first_option_get_clamp),
    CASE(first_option_set),
    CASE(first_option_set_default),
    CASE(first_manage_os_memory),
    CASE(first_in_threads_at_once),
};

static void run_and_use(const char* name) {
  const check_case_t* found = check_find(calls, COUNT_OF(calls), name);
  if (found == NULL) {
    check_fail("no case named %s\n", name);
    return;
  }
  size_t before = foreign_calls;
  found->run();
  use_it();
  if (found->run != &first_in_threads_at_once) CHECK_EQ(foreign_calls, before);
}

static bool ran_early;
/* Glibc gives constructors the arguments of main. */
#if defined(__GLIBC__)
#define EARLY_CALLS 1
__attribute__((constructor(101))) static void run_early(int argc, char** argv) {
  if (argc != 2 || strncmp(argv[1], "early_", 6) != 0) return;
  ran_early = true;
  run_and_use(argv[1] + 6);
}
#else
#define EARLY_CALLS 0
#endif

int main(int argc, char** argv) {
  if (argc == 2) {
    if (strncmp(argv[1], "early_", 6) == 0) {
      CHECK(ran_early);
    } else {
      run_and_use(argv[1]);
    }
    use_it();
    return check_end();
  }
  int failed = 0;
  for (size_t i = 0; i < COUNT_OF(calls); i++) {
    char early[128];
    snprintf(early, sizeof early, "early_%s", calls[i].name);
    const char* plain_args[] = {calls[i].name, NULL};
    const char* early_args[] = {early, NULL};
    failed += check_wait_ok(check_start_self(plain_args, -1, -1), calls[i].name);
    if (EARLY_CALLS) failed += check_wait_ok(check_start_self(early_args, -1, -1), early);
  }
  /* A race needs more than one try. */
  for (int i = 0; i < 100; i++) {
    const char* args[] = {"first_in_threads_at_once", NULL};
    failed += check_wait_ok(check_start_self(args, -1, -1), args[0]);
  }
  check_note("%zu calls, from main and from a constructor: %d failures\n", COUNT_OF(calls), failed);
  return failed == 0 ? 0 : 1;
}
