/* own_malloc.c - programs with a malloc of their own, run with our library in LD_PRELOAD or linked
 * with it: each function of the C library that allocates returns a block of the program's malloc.
 *
 * Built once per set of own functions, see own_parts.cmake. OWN_POOL is an allocator: its blocks
 * have a mark in front, and its free ends the program when it gets another block. OWN_WRAPPER
 * counts calls and passes them on to the next malloc, which is ours. OWN_MADE says how one of the
 * wrapper's functions gets its memory instead: from a function of the C library that calls no
 * malloc there.
 */
#include "probe.h"
#include <dlfcn.h>
#include <malloc.h>

#ifndef OWN_POOL
#define OWN_POOL 0
#endif
#ifndef OWN_WRAPPER
#define OWN_WRAPPER 0
#endif
/* Functions beside malloc, calloc, realloc and free, which every replacement has. */
#ifndef OWN_MEMALIGN
#define OWN_MEMALIGN 0
#endif
#ifndef OWN_POSIX_MEMALIGN
#define OWN_POSIX_MEMALIGN 0
#endif
#ifndef OWN_ALIGNED_ALLOC
#define OWN_ALIGNED_ALLOC 0
#endif
#define MALLOC_BY_MEMALIGN 1
#define MALLOC_BY_ALIGNED_ALLOC 2
#define MALLOC_BY_POSIX_MEMALIGN 3
#define MEMALIGN_BY_ALIGNED_ALLOC 4
#define MEMALIGN_BY_POSIX_MEMALIGN 5
#ifndef OWN_MADE
#define OWN_MADE 0
#endif
#define OWN_ALIGNED (OWN_MEMALIGN || OWN_POSIX_MEMALIGN || OWN_ALIGNED_ALLOC)

static size_t handed_out, taken_back;

static void count(size_t* counter) { __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

/* ---- a pool that never reuses memory ---- */

#if OWN_POOL
#define MARK ((size_t)0x706f6f6c)
#define DEAD ((size_t)0x64656164)
typedef struct front_s {
  size_t size;
  size_t mark;
} front_t;
static char pool[64 * 1024 * 1024];
static size_t pool_used;

static front_t* front_of(void* p) { return (front_t*)p - 1; }

static bool is_in_pool(const void* p) {
  return (const char*)p >= pool && (const char*)p < pool + sizeof pool;
}

static void* pool_get(size_t alignment, size_t size) {
  if (alignment < 16) alignment = 16;
  if (size > sizeof pool / 4 || alignment > sizeof pool / 4) {
    errno = ENOMEM;
    return NULL;
  }
  size_t step = sizeof(front_t) + alignment + size;
  size_t start = __atomic_fetch_add(&pool_used, step, __ATOMIC_RELAXED);
  if (start + step > sizeof pool) abort();
  char* p = (char*)round_up((size_t)(pool + start + sizeof(front_t)), alignment);
  *front_of(p) = (front_t){size, MARK};
  count(&handed_out);
  return p;
}

static void stop(const char* text) {
  check_fail("%s\n", text);
  _exit(1);
}

void* malloc(size_t size) { return pool_get(16, size); }
void* calloc(size_t n, size_t size) { return pool_get(16, n * size); } /* the pool is zero */
void free(void* p) {
  if (p == NULL) return;
  if (!is_in_pool(p) || front_of(p)->mark != MARK)
    stop("free of a block that is not the program's");
  front_of(p)->mark = DEAD;
  count(&taken_back);
}
void* realloc(void* p, size_t size) {
  if (p == NULL) return malloc(size);
  if (!is_in_pool(p) || front_of(p)->mark != MARK)
    stop("realloc of a block that is not the program's");
  if (size == 0) {
    free(p);
    return NULL;
  }
  void* q = malloc(size);
  if (q == NULL) return NULL;
  memcpy(q, p, front_of(p)->size < size ? front_of(p)->size : size);
  free(p);
  return q;
}
#if OWN_MEMALIGN
void* memalign(size_t alignment, size_t size) { return pool_get(alignment, size); }
size_t malloc_usable_size(void* p) { return p == NULL ? 0 : front_of(p)->size; }
#endif
#if OWN_POSIX_MEMALIGN
int posix_memalign(void** p, size_t alignment, size_t size) {
  void* q = pool_get(alignment, size);
  if (q != NULL) *p = q;
  return q != NULL ? 0 : ENOMEM;
}
#endif
#if OWN_ALIGNED_ALLOC
void* aligned_alloc(size_t alignment, size_t size) {
  if (size % alignment != 0) stop("aligned_alloc wants a multiple of the alignment, by C11");
  return pool_get(alignment, size);
}
#endif
static bool is_right(void* p) { return is_in_pool(p); }
#endif

/* ---- a wrapper ---- */

#if OWN_WRAPPER
static void* next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (found == NULL) abort();
  return found;
}
#define NEXT(function) ((__typeof__(&function))next(#function))

CHECK_UNUSED static void* by_posix_memalign(size_t alignment, size_t size) {
  void* p = NULL;
  int error = posix_memalign(&p, alignment, size);
  if (error != 0) errno = error;
  return error == 0 ? p : NULL;
}

void* malloc(size_t size) {
  count(&handed_out);
#if OWN_MADE == MALLOC_BY_MEMALIGN
  return memalign(16, size);
#elif OWN_MADE == MALLOC_BY_ALIGNED_ALLOC
  return aligned_alloc(16, size);
#elif OWN_MADE == MALLOC_BY_POSIX_MEMALIGN
  return by_posix_memalign(16, size);
#else
  return NEXT(malloc)(size);
#endif
}
void* calloc(size_t n, size_t size) {
  count(&handed_out);
  return NEXT(calloc)(n, size);
}
void* realloc(void* p, size_t size) {
  if (p == NULL) count(&handed_out);
  return NEXT(realloc)(p, size);
}
void free(void* p) {
  if (p != NULL) count(&taken_back);
  NEXT(free)(p);
}
#if OWN_MEMALIGN
void* memalign(size_t alignment, size_t size) {
  count(&handed_out);
#if OWN_MADE == MEMALIGN_BY_ALIGNED_ALLOC
  return aligned_alloc(alignment, size);
#elif OWN_MADE == MEMALIGN_BY_POSIX_MEMALIGN
  return by_posix_memalign(alignment, size);
#else
  return NEXT(memalign)(alignment, size);
#endif
}
#endif
static bool is_right(void* p) {
  bool (*ask)(const void*);
  void* found = dlsym(RTLD_DEFAULT, "mi_is_in_heap_region");
  REQUIRE(found != NULL);
  memcpy(&ask, &found, sizeof ask);
  return ask(p);
}
#endif

/* ---- functions of the library that no header declares ---- */

#define GET(variable, name)                                                                        \
  do {                                                                                             \
    void* found = dlsym(RTLD_DEFAULT, name);                                                       \
    REQUIRE(found != NULL);                                                                        \
    memcpy(&variable, &found, sizeof found);                                                       \
  } while (0)

static size_t before;
static void watch(void) { before = handed_out; }

/* A function of the program that calls one of ours, which calls the program's again: it may count a
 * block twice, and not more often. */
static bool handed_out_since(size_t blocks) {
  size_t calls = handed_out - before;
  return OWN_MADE != 0 ? calls >= blocks && calls <= 2 * blocks : calls == blocks;
}

/* The block came from the program's functions, and goes back to them. */
static void check_block(void* p, const char* what) {
  if (!CHECK(p != NULL && is_right(p) && handed_out_since(1))) check_note("%s\n", what);
  size_t freed = taken_back;
  free(p);
  if (!CHECK_EQ(taken_back, freed + 1)) check_note("%s\n", what);
}

static void strings_are_blocks_of_the_program(void) {
  watch();
  char* s = strdup("a string");
  CHECK_TEXT(s, "a string");
  check_block(s, "strdup");
  watch();
  s = strndup("a string", 3);
  CHECK_TEXT(s, "a s");
  check_block(s, "strndup");
  watch();
  s = strndup("a string", 300);
  CHECK_TEXT(s, "a string");
  check_block(s, "strndup");
  watch();
  check_block(realpath("/", NULL), "realpath");
}

static void resized_blocks_are_blocks_of_the_program(void) {
  void* (*reallocf_)(void*, size_t);
  int (*reallocarr_)(void*, size_t, size_t);
  GET(reallocf_, "reallocf");
  GET(reallocarr_, "reallocarr");
  watch();
  check_block(reallocarray(NULL, 10, 10), "reallocarray");
  char* p = (char*)malloc(40);
  pattern_fill(p, 40, 1);
  watch();
  if (OWN_WRAPPER) before--; /* resizing is not counted */
  p = (char*)reallocarray(p, 10, 10);
  CHECK(pattern_holds(p, 40, 1));
  check_block(p, "reallocarray of a block");
  errno = 0;
  CHECK_NULL(reallocarray(NULL, opaque_size(SIZE_MAX / 2), 3));
  CHECK_EQ(errno, ENOMEM);
  watch();
  check_block(reallocf_(NULL, 100), "reallocf");
  p = (char*)malloc(40);
  size_t freed = taken_back;
  CHECK_NULL(reallocf_(p, opaque_size(SIZE_MAX / 4)));
  CHECK_EQ(taken_back, freed + 1);
  if (OWN_POOL) { /* whose realloc frees then: once */
    p = (char*)malloc(40);
    freed = taken_back;
    CHECK_NULL(reallocf_(p, opaque_size(0)));
    CHECK_EQ(taken_back, freed + 1);
  }
  p = NULL;
  watch();
  CHECK_EQ(reallocarr_(&p, 10, 10), 0);
  check_block(p, "reallocarr");
  p = (char*)malloc(40);
  freed = taken_back;
  CHECK_EQ(reallocarr_(&p, 0, 10), 0);
  CHECK_NULL(p);
  CHECK_EQ(taken_back, freed + 1);
}

static void every_name_that_frees_gets_to_the_program(void) {
  void (*cfree_)(void*);
  void (*vfree_)(void*);
  void (*free_sized_)(void*, size_t);
  void (*free_aligned_sized_)(void*, size_t, size_t);
  GET(cfree_, "cfree");
  GET(vfree_, "vfree");
  GET(free_sized_, "free_sized");
  GET(free_aligned_sized_, "free_aligned_sized");
  size_t freed = taken_back;
  cfree_(malloc(100));
  vfree_(malloc(100));
  free_sized_(malloc(100), 100);
  free_aligned_sized_(malloc(100), 16, 100);
  CHECK_EQ(taken_back, freed + 4);
}

/* Every malloc can give malloc's own alignment. */
static void small_alignments_are_blocks_of_the_program(void) {
  for (size_t alignment = sizeof(void*); alignment <= 16; alignment *= 2) {
    for (size_t size = 0; size < 100; size += 7) {
      void* p = NULL;
      watch();
      CHECK_EQ(posix_memalign(&p, alignment, size), 0);
      CHECK(is_aligned(p, alignment));
      check_block(p, "posix_memalign");
      watch();
      check_block(memalign(alignment, size), "memalign");
      watch();
      check_block(aligned_alloc(alignment, round_up(size, alignment)), "aligned_alloc");
    }
  }
}

/* If the program has one of them, the others lead there. A wrapper without any gets ours. */
static void aligned_blocks_are_blocks_of_the_program(void) {
  void* (*aligned_malloc)(size_t, size_t);
  void* (*pvalloc_)(size_t); /* not every C library has it */
  GET(aligned_malloc, "_aligned_malloc");
  GET(pvalloc_, "pvalloc");
  if (!OWN_ALIGNED && !OWN_WRAPPER) return;
  for (size_t alignment = 32; alignment <= 65536; alignment *= 4) {
    void* p[6] = {NULL};
    watch();
    CHECK_EQ(posix_memalign(&p[0], alignment, 100), 0);
    p[1] = memalign(alignment, 100);
    p[2] = aligned_alloc(alignment, alignment);
    p[3] = aligned_malloc(100, alignment);
    CHECK(handed_out_since(OWN_ALIGNED ? 4 : 0));
    size_t freed = taken_back;
    for (size_t i = 0; i < 4; i++) {
      CHECK(p[i] != NULL && is_right(p[i]) && is_aligned(p[i], alignment));
      free(p[i]);
    }
    CHECK_EQ(taken_back, freed + 4);
  }
  watch();
  void* p = valloc(100);
  void* q = pvalloc_(100);
  CHECK(is_right(p) && is_aligned(p, OS_PAGE) && is_right(q) && is_aligned(q, OS_PAGE));
  CHECK(handed_out_since(OWN_ALIGNED ? 2 : 0));
  free(p);
  free(q);
}

static void wrong_alignments_are_refused(void) {
  void* p = &p;
  CHECK_EQ(posix_memalign(&p, opaque_size(24), 100), OWN_POSIX_MEMALIGN ? 0 : EINVAL);
  if (!OWN_ALIGNED_ALLOC) {
    errno = 0;
    CHECK_NULL(aligned_alloc(opaque_size(24), 96));
    CHECK_EQ(errno, EINVAL);
  }
}

static void impossible_sizes_fail(void) {
  void* (*pvalloc_)(size_t);
  GET(pvalloc_, "pvalloc");
  void* p = &p;
  if (OWN_POOL && !OWN_POSIX_MEMALIGN) {
    errno = 4711;
    CHECK_EQ(posix_memalign(&p, 16, opaque_size(SIZE_MAX - 3)), ENOMEM);
    CHECK_SAME(p, &p);
    CHECK_EQ(errno, 4711);
  }
  errno = 0;
  if (!OWN_ALIGNED_ALLOC) CHECK_NULL(aligned_alloc(16, opaque_size(SIZE_MAX - 3)));
  if (!OWN_ALIGNED_ALLOC) CHECK_EQ(errno, ENOMEM);
  CHECK_NULL(pvalloc_(opaque_size(SIZE_MAX - 3)));
}

static void sizes_are_those_of_the_program(void) {
  size_t (*malloc_size_)(const void*);
  GET(malloc_size_, "malloc_size");
  void* p = malloc(100);
  CHECK_EQ(malloc_size_(p), malloc_usable_size(p));
  if (OWN_MEMALIGN && OWN_POOL) CHECK_EQ(malloc_usable_size(p), 100);
  if (OWN_WRAPPER) CHECK_GE(malloc_usable_size(p), 100);
  free(p);
}

static void* allocate_in_thread(void* arg) {
  (void)arg;
  for (int i = 0; i < 1000; i++) {
    char* s = strdup("of a thread");
    char* t = NULL;
    CHECK_EQ(asprintf(&t, "%s %d", s, i), 12 + (i < 10 ? 1 : i < 100 ? 2 : 3));
    free(s);
    free(t);
  }
  return NULL;
}
static void the_c_library_and_threads_work(void) {
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(&allocate_in_thread, NULL);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  FILE* file = fopen("/proc/self/status", "r");
  REQUIRE(file != NULL);
  char* line = NULL;
  size_t size = 0;
  CHECK_GE(getline(&line, &size, file), 1);
  free(line);
  fclose(file);
}

/* An alignment at which the program's free accepts blocks of our functions. */
#define SERVED ((size_t)(OWN_ALIGNED || OWN_WRAPPER ? 256 : 16))

/* As with the C library: our functions do not call the program's endlessly. */
static void functions_of_the_program_may_be_made_of_others(void) {
  for (size_t i = 0; i < 1000; i++) {
    void* p[5] = {malloc(i), memalign(16, i), aligned_alloc(16, round_up(i, 16)),
                  memalign(SERVED, i)};
    CHECK_EQ(posix_memalign(&p[4], SERVED, i), 0);
    for (size_t k = 0; k < COUNT_OF(p); k++) {
      REQUIRE(p[k] != NULL);
      memset(p[k], 1, i);
      free(p[k]);
    }
  }
}

static pthread_key_t end_key;

/* After the library's own function has ended the thread's heap. */
static void allocate_at_the_end(void* round) {
  free(memalign(SERVED, 100));
  free(malloc(100));
  if ((size_t)round < 4) pthread_setspecific(end_key, (char*)round + 1);
}
static void* set_end(void* arg) {
  free(malloc(100));
  CHECK_EQ(pthread_setspecific(end_key, (void*)1), 0);
  return arg;
}
static void threads_that_end_may_allocate(void) {
  REQUIRE(pthread_key_create(&end_key, &allocate_at_the_end) == 0);
  for (int i = 0; i < 20; i++) thread_join(thread_start(&set_end, NULL));
}

static const check_case_t cases[] = {
    CASE(strings_are_blocks_of_the_program),
    CASE(resized_blocks_are_blocks_of_the_program),
    CASE(every_name_that_frees_gets_to_the_program),
    CASE(small_alignments_are_blocks_of_the_program),
    CASE(aligned_blocks_are_blocks_of_the_program),
    CASE(wrong_alignments_are_refused),
    CASE(impossible_sizes_fail),
    CASE(sizes_are_those_of_the_program),
    CASE(the_c_library_and_threads_work),
    CASE(functions_of_the_program_may_be_made_of_others),
    CASE(threads_that_end_may_allocate),
};

int main(int argc, char** argv) {
  if (dlsym(RTLD_DEFAULT, "mi_version") == NULL) {
    check_fail("this program has no library of ours\n");
    return 1;
  }
  return CHECK_MAIN(argc, argv, cases);
}
