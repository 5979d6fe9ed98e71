/* small_machine.c - systems that have less than this one: OS pages of 16 and 64 KiB from the same
 * binary, 64 MiB of addresses, no /proc and no /sys, no madvise, no fixed mappings.
 *
 * The linker sends the system calls of the library here, see CMakeLists.txt. With a larger page
 * they are refused as the kernel of such a machine would: a range that is not made of whole pages
 * is EINVAL. What is simulated is in the environment, so that it holds from the first call on.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

void* __real_mmap(void* at, size_t size, int prot, int flags, int fd, off_t offset);
int __real_munmap(void* at, size_t size);
int __real_mprotect(void* at, size_t size, int prot);
int __real_madvise(void* at, size_t size, int advice);
int __real_open(const char* path, int flags, ...);
long __real_sysconf(int name);
void* __wrap_mmap(void* at, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_munmap(void* at, size_t size);
int __wrap_mprotect(void* at, size_t size, int prot);
int __wrap_madvise(void* at, size_t size, int advice);
int __wrap_open(const char* path, int flags, ...);
long __wrap_sysconf(int name);

static size_t refused_pages, refused_advice, refused_fixed, refused_files;

/* getenv does not work before the C library is ready. */
static size_t setting(const char* name) {
  extern char** environ;
  size_t length = strlen(name);
  for (char** e = environ; e != NULL && *e != NULL; e++)
    if (strncmp(*e, name, length) == 0 && (*e)[length] == '=')
      return strtoul(*e + length + 1, 0, 10);
  return 0;
}

static size_t page_size(void) {
  size_t page = setting("SMALL_PAGE");
  return page != 0 ? page : OS_PAGE;
}

static bool is_whole(const void* at, size_t size) {
  size_t page = page_size();
  if ((uintptr_t)at % page == 0 && size % page == 0) return true;
  __atomic_fetch_add(&refused_pages, 1, __ATOMIC_RELAXED);
  errno = EINVAL;
  return false;
}

void* __wrap_mmap(void* at, size_t size, int prot, int flags, int fd, off_t offset) {
  size_t page = page_size();
  if (!is_whole(at, 0)) return MAP_FAILED;
  size = round_up(size, page);
  if (at != NULL) {
    if (setting("SMALL_NO_FIXED") != 0) {
      __atomic_fetch_add(&refused_fixed, 1, __ATOMIC_RELAXED);
      errno = ENOMEM;
      return MAP_FAILED;
    }
    return __real_mmap(at, size, prot, flags, fd, offset);
  }
  /* At a multiple of the larger page, like that kernel. */
  char* p = (char*)__real_mmap(NULL, size + page - OS_PAGE, prot, flags, fd, offset);
  if (p == MAP_FAILED) return p;
  char* start = (char*)round_up((uintptr_t)p, page);
  if (start > p) __real_munmap(p, (size_t)(start - p));
  if (start - p < (ptrdiff_t)(page - OS_PAGE))
    __real_munmap(start + size, page - OS_PAGE - (size_t)(start - p));
  return start;
}
int __wrap_munmap(void* at, size_t size) { return is_whole(at, 0) ? __real_munmap(at, size) : -1; }
int __wrap_mprotect(void* at, size_t size, int prot) {
  return is_whole(at, size) ? __real_mprotect(at, size, prot) : -1;
}
int __wrap_madvise(void* at, size_t size, int advice) {
  if (setting("SMALL_NO_MADVISE") != 0) {
    __atomic_fetch_add(&refused_advice, 1, __ATOMIC_RELAXED);
    errno = ENOSYS;
    return -1;
  }
  return is_whole(at, size) ? __real_madvise(at, size, advice) : -1;
}
int __wrap_open(const char* path, int flags, ...) {
  if (setting("SMALL_NO_FILES") != 0) {
    __atomic_fetch_add(&refused_files, 1, __ATOMIC_RELAXED);
    errno = ENOENT;
    return -1;
  }
  return __real_open(path, flags);
}
long __wrap_sysconf(int name) {
  return name == _SC_PAGESIZE ? (long)page_size() : __real_sysconf(name);
}

/* ---- work ------------------------------------------------------------------------ */

enum { SLOTS = 600 };

static void* work(void* seed) {
  rng_t rng = {(uintptr_t)seed};
  char* blocks[SLOTS] = {0};
  size_t sizes[SLOTS] = {0};
  for (size_t i = 0; i < check_scaled(20000); i++) {
    size_t k = rng_below(&rng, SLOTS);
    if (blocks[k] != NULL && !pattern_holds(blocks[k], sizes[k], (unsigned)k)) CHECK(false);
    if (blocks[k] != NULL && i % 3 == 0) {
      size_t size = rng_size(&rng, 60000);
      blocks[k] = (char*)mi_realloc(blocks[k], size);
      REQUIRE(blocks[k] != NULL);
      CHECK(pattern_holds(blocks[k], size < sizes[k] ? size : sizes[k], (unsigned)k));
      sizes[k] = size;
    } else {
      mi_free(blocks[k]);
      sizes[k] = rng_size(&rng, i % 50 == 0 ? 900000 : 6000);
      blocks[k] = (char*)(i % 2 ? mi_malloc(sizes[k]) : mi_zalloc(sizes[k]));
      REQUIRE(blocks[k] != NULL);
      if (i % 2 == 0) CHECK(all_bytes_are(blocks[k], sizes[k], 0));
    }
    pattern_fill(blocks[k], sizes[k], (unsigned)k);
    if (i % 2000 == 0) mi_collect(true);
  }
  for (size_t k = 0; k < SLOTS; k++) mi_free(blocks[k]);
  return NULL;
}

static void work_on_this_machine(void) {
  size_t page = page_size();
  CHECK_EQ(mi_good_size(5 * MIB + 1) + SEAL_BYTES, round_up(5 * MIB + 1, page));
  char* p = (char*)mi_valloc(10);
  CHECK(p != NULL && is_aligned(p, page));
  mi_free(p);
  work((void*)1);
  pthread_t threads[2];
  for (size_t i = 0; i < COUNT_OF(threads); i++) threads[i] = thread_start(&work, (void*)(i + 2));
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  p = NULL;
  for (size_t size = MIB; size <= 8 * MIB; size += MIB) {
    p = (char*)mi_realloc(p, size);
    REQUIRE(p != NULL);
    pages_mark(p, size - MIB, size);
    CHECK(pages_hold(p, 0, size, 1));
  }
  mi_free(p);
  mi_collect(true);
  mi_stats_t_decl(stats);
  CHECK(mi_stats_get(&stats));
  CHECK_EQ(refused_pages, 0); /* every call was made of whole pages */
  CHECK_EQ(refused_fixed > 0, setting("SMALL_NO_FIXED") != 0);
  CHECK_EQ(refused_advice > 0, setting("SMALL_NO_MADVISE") != 0);
  CHECK_EQ(refused_files > 0, setting("SMALL_NO_FILES") != 0);
  check_note("refused: %zu fixed mappings, %zu advices, %zu files\n", refused_fixed, refused_advice,
             refused_files);
}

/* ---- the machines ---------------------------------------------------------------- */

static void machine(const char* name, const char* value) {
  setenv(name, value, 1);
  const char* args[] = {"work_on_this_machine", NULL};
  check_wait_ok(check_start_self(args, -1, -1), name);
}

static void pages_of_16_kib(void) { machine("SMALL_PAGE", "16384"); }
static void pages_of_64_kib(void) { machine("SMALL_PAGE", "65536"); }
static void no_proc_and_no_sys(void) { machine("SMALL_NO_FILES", "1"); }
static void no_madvise(void) { machine("SMALL_NO_MADVISE", "1"); }
/* To give back slices made accessible on demand, the library maps new memory over them. */
static void no_mapping_where_it_is_wanted(void) {
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  machine("SMALL_NO_FIXED", "1");
}
static void nothing_of_all_that_and_pages_of_64_kib(void) {
  setenv("SMALL_NO_FILES", "1", 1);
  setenv("SMALL_NO_MADVISE", "1", 1);
  setenv("SMALL_NO_FIXED", "1", 1);
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  machine("SMALL_PAGE", "65536");
}
/* With the program, the C library, the stacks of two threads, and our records in it. */
static void addresses_of_64_mib(void) {
  struct rlimit limit = {64 * MIB, 64 * MIB};
  setenv("CTEST_SCALE", "0.2", 1);
  REQUIRE(setrlimit(RLIMIT_STACK, &(struct rlimit){MIB, MIB}) == 0);
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
  machine("SMALL_PAGE", "4096");
}
/* The test can fail: a call for half of such a page is refused and counted. */
static void half_a_page_is_refused(void) {
  setenv("SMALL_PAGE", "65536", 1);
  char* p = (char*)__wrap_mmap(NULL, 4 * 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                               -1, 0);
  REQUIRE(p != MAP_FAILED);
  CHECK(is_aligned(p, 65536));
  CHECK_EQ(__wrap_mprotect(p, 65536, PROT_NONE), 0);
  CHECK_EQ(refused_pages, 0);
  CHECK_EQ(__wrap_mprotect(p + OS_PAGE, 65536, PROT_NONE), -1);
  CHECK_EQ(__wrap_madvise(p, OS_PAGE, MADV_DONTNEED), -1);
  CHECK_EQ(refused_pages, 2);
}

static const check_case_t cases[] = {
    CASE(pages_of_16_kib),
    CASE(pages_of_64_kib),
    CASE(no_proc_and_no_sys),
    CASE(no_madvise),
    CASE(no_mapping_where_it_is_wanted),
    CASE(nothing_of_all_that_and_pages_of_64_kib),
    CASE(addresses_of_64_mib),
    CASE(half_a_page_is_refused),
};
static const check_case_t helpers[] = {CASE(work_on_this_machine)};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "work_", 5) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
