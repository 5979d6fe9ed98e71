/* preload.c - a program that knows nothing of the library, run with it in LD_PRELOAD: the C
 * library's names behave as POSIX and C23 say, errno included, and are really ours.
 */
#include "probe.h"
#include <dlfcn.h>
#include <malloc.h>

#define TOO_LARGE ((size_t)PTRDIFF_MAX + 1)

static void* symbol(const char* name) { return dlsym(RTLD_DEFAULT, name); }

/* ISO C has no conversion from object to function pointer. */
#define GET(variable, name)                                                                        \
  do {                                                                                             \
    void* found = symbol(name);                                                                    \
    REQUIRE(found != NULL);                                                                        \
    memcpy(&variable, &found, sizeof found);                                                       \
  } while (0)

static bool is_ours(const void* p) {
  bool (*ask)(const void*);
  GET(ask, "mi_is_in_heap_region");
  return ask(p);
}

/* The names on Linux, and the additions. */
static const char* const names[] = {"malloc",
                                    "calloc",
                                    "realloc",
                                    "free",
                                    "strdup",
                                    "strndup",
                                    "reallocf",
                                    "malloc_size",
                                    "malloc_usable_size",
                                    "valloc",
                                    "vfree",
                                    "malloc_good_size",
                                    "posix_memalign",
                                    "aligned_alloc",
                                    "cfree",
                                    "pvalloc",
                                    "memalign",
                                    "_aligned_malloc",
                                    "reallocarray",
                                    "reallocarr",
                                    "__libc_malloc",
                                    "__libc_calloc",
                                    "__libc_realloc",
                                    "__libc_free",
                                    "__libc_cfree",
                                    "__libc_valloc",
                                    "__libc_pvalloc",
                                    "__libc_memalign",
                                    "__posix_memalign",
                                    "free_sized",
                                    "free_aligned_sized",
                                    "malloc_trim",
                                    "mallinfo",
                                    "mallinfo2",
                                    "malloc_info",
                                    "malloc_stats",
                                    "mallopt",
                                    "_ZdlPv",
                                    "_ZdaPv",
                                    "_ZdlPvm",
                                    "_ZdaPvm",
                                    "_ZdlPvSt11align_val_t",
                                    "_ZdaPvSt11align_val_t",
                                    "_ZdlPvmSt11align_val_t",
                                    "_ZdaPvmSt11align_val_t",
                                    "_ZdlPvRKSt9nothrow_t",
                                    "_ZdaPvRKSt9nothrow_t",
                                    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                                    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
                                    "_Znwm",
                                    "_Znam",
                                    "_ZnwmRKSt9nothrow_t",
                                    "_ZnamRKSt9nothrow_t",
                                    "_ZnwmSt11align_val_t",
                                    "_ZnamSt11align_val_t",
                                    "_ZnwmSt11align_val_tRKSt9nothrow_t",
                                    "_ZnamSt11align_val_tRKSt9nothrow_t"};

static void every_name_is_found_in_our_library(void) {
  Dl_info ours;
  REQUIRE(dladdr(symbol("mi_malloc"), &ours) != 0);
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    Dl_info info;
    void* found = symbol(names[i]);
    if (found == NULL) {
      check_fail("%s is nowhere\n", names[i]);
    } else if (dladdr(found, &info) == 0 || info.dli_fbase != ours.dli_fbase) {
      check_fail("%s is found in %s\n", names[i], info.dli_fname);
    }
  }
}

static void allocating_names_give_our_blocks(void) {
  void* p = NULL;
  void* blocks[16];
  size_t n = 0;
  blocks[n++] = malloc(100);
  blocks[n++] = calloc(10, 10);
  blocks[n++] = realloc(NULL, 100);
  blocks[n++] = aligned_alloc(64, 128);
  CHECK_EQ(posix_memalign(&p, 64, 100), 0);
  blocks[n++] = p;
  blocks[n++] = memalign(64, 100);
  blocks[n++] = valloc(100);
  blocks[n++] = pvalloc(100);
  blocks[n++] = strdup("a string");
  blocks[n++] = strndup("a string", 3);
  blocks[n++] = reallocarray(NULL, 10, 10);
  blocks[n++] = realpath(".", NULL); /* the C library's own function */
  for (size_t i = 0; i < n; i++) {
    CHECK_NOT_NULL(blocks[i]);
    if (!CHECK(is_ours(blocks[i]))) check_note("block %zu\n", i);
    CHECK_GE(malloc_usable_size(blocks[i]), 4);
    free(blocks[i]);
  }
}

static void failing_names_set_errno_to_enomem(void) {
  const size_t sizes[] = {SIZE_MAX, TOO_LARGE, (size_t)PTRDIFF_MAX, (size_t)1 << 47};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    size_t size = opaque_size(sizes[i]);
    errno = 0;
    CHECK_NULL(malloc(size));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(calloc(size, 1));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(realloc(NULL, size));
    CHECK_EQ(errno, ENOMEM);
    char* p = (char*)malloc(40);
    REQUIRE(p != NULL);
    pattern_fill(p, 40, 1);
    errno = 0;
    CHECK_NULL(realloc(p, size));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(reallocarray(p, size, 1));
    CHECK_EQ(errno, ENOMEM);
    CHECK(pattern_holds(p, 40, 1));
    free(p);
    errno = 0;
    CHECK_NULL(aligned_alloc(64, size));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(memalign(64, size));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(valloc(size));
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK_NULL(pvalloc(size));
    CHECK_EQ(errno, ENOMEM);
    void* q = &p;
    errno = 4711;
    CHECK_EQ(posix_memalign(&q, 64, size), ENOMEM);
    CHECK_EQ(errno, 4711);
    CHECK_SAME(q, &p);
  }
  errno = 0;
  CHECK_NULL(calloc(opaque_size(SIZE_MAX / 2 + 1), 2));
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK_NULL(reallocarray(NULL, opaque_size(SIZE_MAX / 2 + 1), 2));
  CHECK_EQ(errno, ENOMEM);
}

static void wrong_alignment_is_einval(void) {
  const size_t wrong[] = {0, 3, 24, 48, 4097, SIZE_MAX};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    size_t a = opaque_size(wrong[i]);
    errno = 0;
    CHECK_NULL(aligned_alloc(a, 64));
    CHECK_EQ(errno, EINVAL);
    void* q = &q;
    errno = 4711;
    CHECK_EQ(posix_memalign(&q, a, 64), EINVAL);
    CHECK_EQ(errno, 4711);
    CHECK_SAME(q, &q);
  }
  void* q = &q;
  CHECK_EQ(posix_memalign(&q, 4, 64), EINVAL); /* no multiple of sizeof(void*) */
  CHECK_SAME(q, &q);
}

static void success_and_free_keep_errno(void) {
  for (size_t size = 0; size <= 64 * MIB; size = size * 4 + 1) {
    errno = 4711;
    void* p = malloc(size);
    CHECK_NOT_NULL(p);
    CHECK_EQ(errno, 4711);
    p = realloc(p, size * 2 + 1);
    CHECK_NOT_NULL(p);
    CHECK_EQ(errno, 4711);
    free(p);
    CHECK_EQ(errno, 4711);
    p = calloc(1, size);
    CHECK_EQ(errno, 4711);
    free(p);
    CHECK_EQ(errno, 4711);
  }
  free(NULL);
  CHECK_EQ(errno, 4711);
}

static void zero_sizes_give_distinct_blocks(void) {
  void* a = opaque(malloc(0));
  void* b = opaque(calloc(0, 5));
  void* c = opaque(realloc(NULL, 0));
  CHECK(a != NULL && b != NULL && c != NULL);
  CHECK(a != b && b != c && a != c);
  void* d = opaque(valloc(opaque_size(0)));
  void* e = opaque(pvalloc(opaque_size(0)));
  CHECK(d != NULL && is_aligned(d, OS_PAGE) && e != NULL && is_aligned(e, OS_PAGE) && d != e);
  void* f = NULL;
  CHECK_EQ(posix_memalign(&f, 64, 0), 0);
  CHECK(f != NULL && is_aligned(f, 64));
  free(a);
  free(b);
  free(c);
  free(d);
  free(e);
  free(f);
}

/* The names of the C library follow its manual where POSIX leaves the choice; the mi_ functions do
 * not change.
 */
static void realloc_to_zero_frees_with_glibc(void) {
  void* (*mi_realloc_)(void*, size_t);
  void* (*libc_realloc)(void*, size_t);
  void* (*reallocf_)(void*, size_t);
  GET(mi_realloc_, "mi_realloc");
  GET(libc_realloc, "__libc_realloc");
  GET(reallocf_, "reallocf");
  size_t before = 0;
  for (int i = 0; i < 20000; i++) {
    for (size_t size = 0; size <= 100000; size = size * 100 + 10) {
      void* p[5];
      for (size_t k = 0; k < COUNT_OF(p); k++) {
        p[k] = malloc(size);
        REQUIRE(p[k] != NULL);
      }
      errno = 4711;
      CHECK_NULL(realloc(p[0], opaque_size(0)));
      CHECK_NULL(reallocarray(p[1], opaque_size(0), 10));
      CHECK_NULL(reallocarray(p[2], 10, opaque_size(0)));
      CHECK_NULL(libc_realloc(p[3], opaque_size(0)));
      CHECK_NULL(reallocf_(p[4], opaque_size(0)));
      CHECK_EQ(errno, 4711);
    }
    if (i == 2000) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 8 * MIB);
  void* p = opaque(mi_realloc_(malloc(100), opaque_size(0)));
  CHECK_NOT_NULL(p);
  free(p);
}

static void memalign_rounds_its_alignment_up_with_glibc(void) {
  void* (*libc_memalign)(size_t, size_t);
  GET(libc_memalign, "__libc_memalign");
  const size_t wrong[] = {0, 3, 24, 48, 4097, 100000};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    size_t up = 1;
    while (up < wrong[i]) up *= 2;
    void* p = memalign(opaque_size(wrong[i]), 100);
    void* q = libc_memalign(opaque_size(wrong[i]), 100);
    CHECK(is_ours(p) && is_aligned(p, up) && is_ours(q) && is_aligned(q, up));
    CHECK_GE(malloc_usable_size(p), 100);
    free(p);
    free(q);
  }
  const size_t too_large[] = {SIZE_MAX, SIZE_MAX / 2 + 2};
  for (size_t i = 0; i < COUNT_OF(too_large); i++) {
    errno = 0;
    CHECK_NULL(memalign(opaque_size(too_large[i]), 100));
    CHECK_EQ(errno, EINVAL);
  }
}

static int some_global;
static void usable_size_of_null_and_foreign_addresses_is_0(void) {
  int local = 0;
  char* map = (char*)mmap(NULL, OS_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED);
  CHECK_EQ(malloc_usable_size(NULL), 0);
  if (WRONG_ADDRESSES_ARE_REPORTED) return;
  CHECK_EQ(malloc_usable_size(opaque(&local)), 0);
  CHECK_EQ(malloc_usable_size(opaque(&some_global)), 0);
  CHECK_EQ(malloc_usable_size(map), 0);
  CHECK_EQ(malloc_usable_size(map + 24), 0);
  munmap(map, OS_PAGE);
}

static void strings_are_copied(void) {
  char* s = strdup("to be copied");
  CHECK_TEXT(s, "to be copied");
  free(s);
  s = strndup("to be cut", 5);
  CHECK_TEXT(s, "to be");
  free(s);
  char* map =
      (char*)mmap(NULL, 2 * OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(map != MAP_FAILED && mprotect(map + OS_PAGE, OS_PAGE, PROT_NONE) == 0);
  memcpy(map + OS_PAGE - 3, "xyz", 3);
  s = strndup(map + OS_PAGE - 3, 3);
  CHECK_TEXT(s, "xyz");
  free(s);
  munmap(map, 2 * OS_PAGE);
}

static void sized_frees_work(void) {
  void (*free_sized)(void*, size_t);
  void (*free_aligned_sized)(void*, size_t, size_t);
  GET(free_sized, "free_sized");
  GET(free_aligned_sized, "free_aligned_sized");
  size_t before = 0;
  for (int i = 0; i < 20000; i++) {
    void* p = malloc(5000);
    void* q = aligned_alloc(256, 5120);
    REQUIRE(p != NULL && q != NULL);
    memset(p, 1, 5000);
    memset(q, 1, 5120);
    free_sized(p, 5000);
    free_aligned_sized(q, 256, 5120);
    if (i == 1000) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 8 * MIB);
  errno = 4711;
  free_sized(NULL, 0);
  free_aligned_sized(NULL, 16, 0);
  CHECK_EQ(errno, 4711);
}

static void bsd_and_other_names_work(void) {
  void (*cfree_)(void*);
  void (*vfree_)(void*);
  size_t (*malloc_size_)(const void*);
  size_t (*good_size)(size_t);
  void* (*reallocf_)(void*, size_t);
  int (*reallocarr_)(void*, size_t, size_t);
  void* (*aligned_malloc)(size_t, size_t);
  GET(cfree_, "cfree");
  GET(vfree_, "vfree");
  GET(malloc_size_, "malloc_size");
  GET(good_size, "malloc_good_size");
  GET(reallocf_, "reallocf");
  GET(reallocarr_, "reallocarr");
  GET(aligned_malloc, "_aligned_malloc");
  void* p = malloc(100);
  CHECK_GE(malloc_size_(p), 100);
  CHECK_EQ(malloc_size_(p), malloc_usable_size(p));
  CHECK_EQ(malloc_size_(NULL), 0);
  CHECK_GE(good_size(1000), 1000);
  p = reallocf_(p, 1000);
  CHECK_NOT_NULL(p);
  CHECK_NULL(reallocf_(p, opaque_size(SIZE_MAX))); /* and p is gone */
  p = malloc(100);
  cfree_(p);
  p = valloc(100);
  vfree_(p);
  cfree_(NULL);
  vfree_(NULL);
  /* The size comes first, as with Microsoft and in 2.4.1. */
  p = aligned_malloc(1000, 256);
  CHECK(p != NULL && is_aligned(p, 256));
  CHECK_GE(malloc_usable_size(p), 1000);
  free(p);
  /* Reallocarr as in NetBSD: 0 or an error number, the pointer by reference. */
  p = NULL;
  errno = 4711;
  CHECK_EQ(reallocarr_(&p, 10, 10), 0);
  CHECK_NOT_NULL(p);
  pattern_fill(p, 100, 1);
  void* old = p;
  CHECK_EQ(reallocarr_(&p, opaque_size(SIZE_MAX / 2 + 1), 2), EOVERFLOW);
  CHECK_SAME(p, old);
  CHECK_EQ(reallocarr_(&p, opaque_size(TOO_LARGE), 1), ENOMEM);
  CHECK_SAME(p, old);
  CHECK(pattern_holds(p, 100, 1));
  CHECK_EQ(reallocarr_(&p, 30, 10), 0);
  CHECK(pattern_holds(p, 100, 1));
  CHECK_EQ(errno, 4711);
  free(p);
}

static void glibc_names_work(void) {
  void* (*libc_malloc)(size_t);
  void* (*libc_calloc)(size_t, size_t);
  void* (*libc_realloc)(void*, size_t);
  void* (*libc_memalign)(size_t, size_t);
  void* (*libc_valloc)(size_t);
  void* (*libc_pvalloc)(size_t);
  int (*posix_memalign_)(void**, size_t, size_t);
  void (*libc_free)(void*);
  void (*libc_cfree)(void*);
  GET(libc_malloc, "__libc_malloc");
  GET(libc_calloc, "__libc_calloc");
  GET(libc_realloc, "__libc_realloc");
  GET(libc_memalign, "__libc_memalign");
  GET(libc_valloc, "__libc_valloc");
  GET(libc_pvalloc, "__libc_pvalloc");
  GET(posix_memalign_, "__posix_memalign");
  GET(libc_free, "__libc_free");
  GET(libc_cfree, "__libc_cfree");
  void* p = libc_malloc(100);
  CHECK(is_ours(p));
  p = libc_realloc(p, 1000);
  CHECK(is_ours(p));
  libc_free(p);
  p = libc_calloc(10, 100);
  CHECK(is_ours(p) && all_bytes_are(p, 1000, 0));
  libc_cfree(p);
  p = libc_memalign(128, 100);
  CHECK(is_ours(p) && is_aligned(p, 128));
  free(p);
  p = libc_valloc(100);
  CHECK(is_ours(p) && is_aligned(p, OS_PAGE));
  free(p);
  p = libc_pvalloc(100);
  CHECK(is_ours(p) && is_aligned(p, OS_PAGE) && malloc_usable_size(p) >= OS_PAGE);
  free(p);
  p = NULL;
  CHECK_EQ(posix_memalign_(&p, 128, 100), 0);
  CHECK(is_ours(p) && is_aligned(p, 128));
  libc_free(p);
}

/* Blocks from arenas are those of glibc's heap, those above 512 MiB those that it maps one by one.
 */
static void mallinfo_counts_blocks(void) {
  const size_t few[] = {1, 100, 5000, 100000, 5 * MIB};
  struct mallinfo (*mallinfo_)(void); /* newer headers call it deprecated */
  GET(mallinfo_, "mallinfo");
  for (size_t i = 0; i < COUNT_OF(few); i++) {
    void* blocks[30];
    size_t usable = 0, count = few[i] > MIB ? 3 : COUNT_OF(blocks);
    struct mallinfo2 before = mallinfo2();
    for (size_t k = 0; k < count; k++) {
      blocks[k] = malloc(few[i]);
      REQUIRE(blocks[k] != NULL);
      usable += malloc_usable_size(blocks[k]);
    }
    struct mallinfo2 info = mallinfo2();
    CHECK_GE(info.uordblks - before.uordblks, usable);
    CHECK_LE(info.uordblks - before.uordblks, usable + usable / 4 + count * 32);
    CHECK_EQ(info.arena, info.uordblks + info.fordblks);
    CHECK_EQ(mallinfo_().uordblks, (int)info.uordblks);
    CHECK_EQ(info.hblks, before.hblks);
    for (size_t k = 0; k < count; k++) free(blocks[k]);
    if (!USABLE_IS_EXACT) CHECK_EQ(mallinfo2().uordblks, before.uordblks); /* else some wait */
  }
  struct mallinfo2 before = mallinfo2();
  void* p = malloc(600 * MIB);
  REQUIRE(p != NULL);
  struct mallinfo2 info = mallinfo2();
  CHECK_EQ(info.hblks, before.hblks + 1);
  CHECK_GE(info.hblkhd - before.hblkhd, 600 * MIB);
  CHECK_EQ(info.uordblks, before.uordblks);
  free(p);
  CHECK_EQ(mallinfo2().hblks, before.hblks);
}

/* They must exist and not touch glibc's own heap. */
static void tuning_names_are_harmless(void) {
  void* held = malloc(100000);
  REQUIRE(held != NULL);
  pattern_fill(held, 100000, 1);
  malloc_trim(0);
  struct mallinfo2 info = mallinfo2();
  CHECK_LE(info.uordblks, (size_t)1 << 40);
  mallopt(M_MMAP_THRESHOLD, 100000);
  errno = 0;
  FILE* file = fopen("/dev/null", "w");
  REQUIRE(file != NULL);
  CHECK_EQ(malloc_info(0, file), 0);
  errno = 0;
  CHECK_EQ(malloc_info(1, file), -1);
  CHECK_EQ(errno, EINVAL);
  fclose(file);
  int saved = dup(STDERR_FILENO);
  int quiet = open("/dev/null", O_WRONLY);
  dup2(quiet, STDERR_FILENO);
  malloc_stats();
  dup2(saved, STDERR_FILENO);
  close(quiet);
  close(saved);
  CHECK(pattern_holds(held, 100000, 1));
  free(held);
}

static void libc_functions_that_allocate_work(void) {
  char* text = NULL;
  CHECK_EQ(asprintf(&text, "%d and %s", 5, "six"), 9);
  CHECK_TEXT(text, "5 and six");
  CHECK(is_ours(text));
  free(text);
  FILE* file = fopen("/proc/self/status", "r");
  REQUIRE(file != NULL);
  char* line = NULL;
  size_t size = 0;
  size_t lines = 0;
  while (getline(&line, &size, file) > 0) lines++;
  CHECK_GE(lines, 10);
  CHECK(is_ours(line));
  free(line);
  fclose(file);
  char* memory = NULL;
  size_t length = 0;
  file = open_memstream(&memory, &length);
  REQUIRE(file != NULL);
  for (int i = 0; i < 10000; i++) fprintf(file, "%d,", i);
  fclose(file);
  CHECK_EQ(length, 48890);
  free(memory);
  setenv("SOME_VARIABLE_OF_THE_TEST", "value", 1);
  CHECK_TEXT(getenv("SOME_VARIABLE_OF_THE_TEST"), "value");
  void* handle = dlopen("libm.so.6", RTLD_NOW);
  CHECK_NOT_NULL(handle);
  if (handle != NULL) dlclose(handle);
}

static void* allocate_in_thread(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  void* held[50] = {0};
  for (int i = 0; i < 20000; i++) {
    size_t at = rng_below(&rng, COUNT_OF(held));
    free(held[at]);
    held[at] = malloc(rng_size(&rng, 20000));
    REQUIRE(held[at] != NULL);
    *(char*)held[at] = 1;
  }
  for (size_t i = 0; i < COUNT_OF(held); i++) free(held[i]);
  return NULL;
}
static void threads_work(void) {
  for (int round = 0; round < 20; round++) {
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
      threads[i] = thread_start(&allocate_in_thread, (void*)(i + 1));
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  }
}

static void child_after_fork_works(void) {
  void* p = malloc(1000);
  REQUIRE(p != NULL);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    alarm(20);
    free(p);
    p = malloc(5 * MIB);
    _exit(p != NULL ? check_end() : 1);
  }
  check_wait_ok(pid, "child");
  free(p);
}

static const check_case_t cases[] = {
    CASE(every_name_is_found_in_our_library),
    CASE(allocating_names_give_our_blocks),
    CASE(failing_names_set_errno_to_enomem),
    CASE(wrong_alignment_is_einval),
    CASE(success_and_free_keep_errno),
    CASE(zero_sizes_give_distinct_blocks),
#if defined(__GLIBC__)
    CASE(realloc_to_zero_frees_with_glibc),
    CASE(memalign_rounds_its_alignment_up_with_glibc),
    CASE(mallinfo_counts_blocks),
#endif
    CASE(usable_size_of_null_and_foreign_addresses_is_0),
    CASE(strings_are_copied),
    CASE(sized_frees_work),
    CASE(bsd_and_other_names_work),
    CASE(glibc_names_work),
    CASE(tuning_names_are_harmless),
    CASE(libc_functions_that_allocate_work),
    CASE(threads_work),
    CASE(child_after_fork_works),
};

int main(int argc, char** argv) {
  if (symbol("mi_version") == NULL) {
    check_fail("run this with the library in LD_PRELOAD\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
