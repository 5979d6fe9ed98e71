/* secure.c - which mistakes of a program a secure build (MI_SECURE 1 to 4) finds, how it reports
 * them, and that a correct program is not reported. Built only with MI_SECURE; the level comes from
 * the library. A mistake runs in a process of its own, which must end with SIGABRT after one line
 * that begins as documented.
 */
#include "probe.h"
#include "refuse.h"
#include <mimalloc.h>
#include <sys/resource.h>

#define DOUBLE_FREE "mimalloc: error: double free"
#define INVALID_FREE "mimalloc: error: invalid free"
#define OVERFLOW_FOUND "mimalloc: error: overflow"
#define WRITE_AFTER_FREE "mimalloc: error: write after free"
#define SIZE_MISMATCH "mimalloc: error: size mismatch"
#define FOREIGN_HEAP "mimalloc: error: heap 0x"

static const size_t sizes[] = {1,    8,     24,    40,     200,     1000,
                               5000, 20000, 60000, 300000, 5 * MIB, 600 * MIB};
#define SIZES COUNT_OF(sizes)

static void on_options(const char* text, void* arg) {
  const char* at = strstr(text, "secure level ");
  if (at != NULL) *(int*)arg = atoi(at + 13);
}
static int level(void) {
  int found = 0;
  mi_options_print_out(&on_options, &found);
  return found;
}

/* ---- mistakes ---------------------------------------------------------------------------------
 */

/* The block that the report must name. */
static void announce(const void* p) {
  char text[32];
  int n = snprintf(text, sizeof text, "BLOCK 0x%zx\n", (size_t)(uintptr_t)p);
  REQUIRE(write(STDERR_FILENO, text, (size_t)n) == n);
}

static char* block_new(size_t size) {
  char* p = (char*)mi_malloc(size);
  REQUIRE(p != NULL);
  p[0] = p[size - 1] = 1;
  return p;
}

static void twice(size_t size) {
  char* p = block_new(size);
  announce(p);
  mi_free(p);
  mi_free(p);
}
static void twice_with_others_between(size_t size) {
  char* p = block_new(size);
  char* q = block_new(size);
  char* r = block_new(size);
  announce(p);
  mi_free(r);
  mi_free(p);
  mi_free(q);
  mi_free(p);
}
/* The block lives again under another name: the second free of that is one too many. */
static void twice_after_reuse(size_t size) {
  static void* again[5000];
  char* p = block_new(size);
  size_t n = size > MIB ? 4 : COUNT_OF(again);
  mi_free(p);
  size_t found = n;
  for (size_t i = 0; i < n; i++) {
    again[i] = block_new(size);
    if (again[i] == p) found = i;
  }
  announce(p);
  mi_free(p); /* the new block, if there is one there */
  if (found < n) mi_free(again[found]);
}
static void* free_it(void* p) {
  mi_free(p);
  return NULL;
}
static void by_another_thread_and_then_by_us(size_t size) {
  char* p = block_new(size);
  announce(p);
  thread_join(thread_start(&free_it, p));
  mi_free(p);
}
static void by_us_and_then_by_another_thread(size_t size) {
  char* p = block_new(size);
  announce(p);
  mi_free(p);
  thread_join(thread_start(&free_it, p));
}
static void by_two_others(size_t size) {
  char* p = block_new(size);
  announce(p);
  thread_join(thread_start(&free_it, p));
  thread_join(thread_start(&free_it, p));
}
static void after_the_end_of_the_owner(size_t size) {
  void* p = block_new(size);
  announce(p);
  thread_join(thread_start(&free_it, p));
  mi_collect(true);
  mi_free(p);
}
static pthread_barrier_t both;
static void* free_at_once(void* p) {
  pthread_barrier_wait(&both);
  mi_free(p);
  return NULL;
}
static void by_two_at_the_same_time(size_t size) {
  REQUIRE(pthread_barrier_init(&both, NULL, 2) == 0);
  for (int i = 0; i < 500; i++) { /* the first time it is noticed is the last */
    void* p = block_new(size);
    pthread_t a = thread_start(&free_at_once, p);
    pthread_t b = thread_start(&free_at_once, p);
    thread_join(a);
    thread_join(b);
  }
}
static void resized_after_free(size_t size) {
  char* p = block_new(size);
  announce(p);
  mi_free(p);
  mi_free(mi_realloc(p, size * 2));
}

static void interior(size_t size) {
  char* p = block_new(size < 64 ? 64 : size);
  mi_free(p + 16);
}
static void misaligned(size_t size) { mi_free(block_new(size) + 1); }
static void foreign(size_t size) {
  static char global[64];
  (void)size;
  mi_free(opaque(global + 16));
}
static void beyond_all_addresses(size_t size) {
  (void)size;
  mi_free(opaque((void*)(UINTPTR_MAX - 0xfff)));
}
static void on_the_stack(size_t size) {
  char local[64] __attribute__((aligned(16)));
  (void)size;
  mi_free(opaque(local + 16));
}

static void one_byte_too_many(size_t size) {
  char* p = block_new(size);
  announce(p);
  ((volatile char*)p)[size] ^= 0x5A;
  mi_free(p);
}
static void one_byte_too_many_resized(size_t size) {
  char* p = block_new(size);
  announce(p);
  ((volatile char*)p)[size] ^= 0x5A;
  mi_free(mi_realloc(p, size + 1000));
}
static void wrong_size(size_t size) {
  char* p = block_new(size);
  announce(p);
  mi_free_size(p, size + 1);
}
static void written_after_free(size_t size) {
  char* p = block_new(size < 16 ? 16 : size);
  announce(p);
  mi_free(p);
  ((volatile char*)p)[8] = 0x77;
  /* The freed block may wait in quarantine; the library checks it before it allocates it again. */
  static char* later[200];
  for (size_t round = 0; round < 500; round++) {
    for (size_t i = 0; i < COUNT_OF(later); i++) {
      later[i] = block_new(size < 16 ? 16 : size);
      if (later[i] == p) return; /* without a report */
    }
    for (size_t i = 0; i < COUNT_OF(later); i++) mi_free(later[i]);
  }
}

/* The usable size of an address that is no live block. */
static void ask(void* p) { check_note("%zu bytes\n", mi_usable_size(p)); }
static void asked_after_free(size_t size) {
  char* p = block_new(size);
  announce(p);
  mi_free(p);
  ask(p);
}
static void asked_inside(size_t size) { ask(block_new(size < 64 ? 64 : size) + 16); }
static void asked_misaligned(size_t size) { ask(block_new(size) + 1); }
static void asked_of_a_foreign_address(size_t size) {
  static char global[64];
  (void)size;
  ask(opaque(global + 16));
}
static void asked_beyond_all_addresses(size_t size) {
  (void)size;
  ask(opaque((void*)(UINTPTR_MAX - 0xfff)));
}

static void* allocate_from(void* heap) { return mi_heap_malloc((mi_heap_t*)heap, 100); }
static void heap_of_another_thread(size_t size) {
  (void)size;
  thread_join(thread_start(&allocate_from, mi_heap_new()));
}
static void* end_heap(void* heap) {
  mi_heap_destroy((mi_heap_t*)heap);
  return NULL;
}
static void heap_ended_by_another_thread(size_t size) {
  (void)size;
  thread_join(thread_start(&end_heap, mi_heap_new()));
}

typedef struct mistake_s {
  const char* name;
  void (*make)(size_t size);
  const char* report;
  int level;   /* from which it is found */
  size_t from; /* sizes for which it is made */
  size_t upto;
  bool announced;
} mistake_t;

#define MISTAKE(function, report, level, from, upto, announced)                                    \
  { #function, function, report, level, from, upto, announced }
static const mistake_t mistakes[] = {
    MISTAKE(twice, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(twice_with_others_between, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(twice_after_reuse, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(by_another_thread_and_then_by_us, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(by_us_and_then_by_another_thread, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(by_two_others, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(after_the_end_of_the_owner, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(by_two_at_the_same_time, DOUBLE_FREE, 4, 1, 1000, false),
    MISTAKE(resized_after_free, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(interior, INVALID_FREE, 1, 1, SIZE_MAX, false),
    MISTAKE(misaligned, INVALID_FREE, 1, 8, SIZE_MAX, false),
    MISTAKE(foreign, INVALID_FREE, 1, 1, 1, false),
    MISTAKE(beyond_all_addresses, INVALID_FREE, 1, 1, 1, false),
    MISTAKE(on_the_stack, INVALID_FREE, 1, 1, 1, false),
    MISTAKE(asked_after_free, DOUBLE_FREE, 1, 1, SIZE_MAX, true),
    MISTAKE(asked_inside, INVALID_FREE, 1, 1, SIZE_MAX, false),
    MISTAKE(asked_misaligned, INVALID_FREE, 1, 8, SIZE_MAX, false),
    MISTAKE(asked_of_a_foreign_address, INVALID_FREE, 1, 1, 1, false),
    MISTAKE(asked_beyond_all_addresses, INVALID_FREE, 1, 1, 1, false),
    MISTAKE(heap_of_another_thread, FOREIGN_HEAP, 4, 1, 1, false),
    MISTAKE(heap_ended_by_another_thread, FOREIGN_HEAP, 4, 1, 1, false),
    MISTAKE(one_byte_too_many, OVERFLOW_FOUND, 3, 1, 60000, true),
    MISTAKE(one_byte_too_many_resized, OVERFLOW_FOUND, 3, 1, 60000, true),
    MISTAKE(wrong_size, SIZE_MISMATCH, 3, 1, SIZE_MAX, true),
    MISTAKE(written_after_free, WRITE_AFTER_FREE, 4, 8, 5000, true),
};

/* ---- the reports ------------------------------------------------------------------------------
 */

static char output[4096];

/* A freed block may have been given back as a whole by the time of the second free: then it is no
 * block any more. And a large one lies beyond reach from level 2 on. */
static bool is_reported(const mistake_t* m, int status) {
  bool again = strcmp(m->report, DOUBLE_FREE) == 0;
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT) return false;
  if (strstr(output, m->report) == NULL && !(again && strstr(output, INVALID_FREE) != NULL))
    return false;
  if (!m->announced) return true;
  /* It names the block. */
  const char* block = strstr(output, "BLOCK 0x");
  if (block == NULL) return false;
  char address[32];
  snprintf(address, sizeof address, "%.*s", (int)strcspn(block + 6, "\n"), block + 6);
  return strstr(block + 6 + strlen(address), address) != NULL;
}

static void each_mistake_is_reported(void) {
  int here = level();
  CHECK_GE(here, 1);
  for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
    const mistake_t* m = &mistakes[i];
    if (here < m->level) {
      check_note("level %d does not promise: %s\n", here, m->name);
      continue;
    }
    for (size_t k = 0; k < SIZES; k++) {
      if (sizes[k] < m->from || sizes[k] > m->upto) continue;
      char size[32];
      snprintf(size, sizeof size, "%zu", sizes[k]);
      const char* args[] = {"helper_mistake", m->name, size, NULL};
      int status = check_capture_self(args, true, output, sizeof output);
      if (!CHECK(is_reported(m, status)))
        check_note("%s, %zu bytes: status 0x%x, %s\n", m->name, sizes[k], status, output);
    }
  }
}

/* "mistake" is one of the table, made in this process. */
static int helper_mistake(const char* name, const char* size) {
  for (size_t i = 0; i < COUNT_OF(mistakes); i++)
    if (strcmp(mistakes[i].name, name) == 0) mistakes[i].make(strtoul(size, NULL, 10));
  return 0;
}

/* ---- the program's own reaction -------------------------------------------- */

static int last_code;
static int code_count;
static void on_error(int code, void* arg) {
  (void)arg;
  last_code = code;
  code_count++;
}

/* With an error function the free is ignored, and no two blocks overlap. */
static void error_function_is_called_and_blocks_stay_apart(void) {
  mi_register_error(&on_error, NULL);
  static char* blocks[4000];
  for (size_t k = 0; k < SIZES && sizes[k] <= 60000; k++) {
    size_t size = sizes[k] < sizeof(size_t) ? sizeof(size_t) : sizes[k];
    for (int round = 0; round < 20; round++) {
      char* p = block_new(size);
      code_count = 0;
      mi_free(p);
      mi_free(p);
      CHECK_EQ(code_count, 1);
      CHECK_EQ(last_code, EAGAIN);
    }
    size_t count = size > 5000 ? 400 : COUNT_OF(blocks);
    for (size_t i = 0; i < count; i++) {
      blocks[i] = block_new(size);
      memcpy(blocks[i], &i, sizeof i);
    }
    for (size_t i = 0; i < count; i++) {
      if (!CHECK(memcmp(blocks[i], &i, sizeof i) == 0)) break; /* another block overlaps it */
    }
    for (size_t i = 0; i < count; i++) mi_free(blocks[i]);
  }
  code_count = 0;
  static char foreign_bytes[64];
  mi_free(opaque(foreign_bytes + 16));
  CHECK_EQ(code_count, 1);
  CHECK_EQ(last_code, EINVAL);
}

/* A function that asks for the size and frees reports a wrong address once, as mi_free does. */
static void a_wrong_address_is_reported_once(void) {
  size_t told = 1, after;
  mi_register_error(&on_error, NULL);
  for (size_t k = 0; k < SIZES && sizes[k] <= 60000; k++) {
    char* p = block_new(sizes[k]);
    mi_free(p);
    code_count = 0;
    mi_ufree(p, &told);
    CHECK_EQ(code_count, 1);
    CHECK_EQ(told, 0);
    CHECK_NULL(mi_urealloc(p, 2 * sizes[k], &told, &after));
    CHECK_EQ(code_count, 2);
    mi_free_size(p, sizes[k]);
    CHECK_EQ(code_count, 3);
    CHECK_EQ(mi_usable_size(p), 0);
    CHECK_EQ(mi_malloc_size(p), 0);
    CHECK_EQ(mi_malloc_usable_size(p), 0);
    CHECK_EQ(code_count, 6);
    CHECK_EQ(last_code, EAGAIN);
  }
  CHECK_EQ(mi_usable_size(NULL), 0);
  mi_ufree(NULL, &told);
  CHECK_EQ(mi_malloc_usable_size(NULL), 0);
  code_count = 0;
}

/* One byte, written at each place from the end of the block up to the canary. The padding of one
 * block differs from that of another, and from place to place, so no byte value passes everywhere.
 */
static void one_byte_over_all_of_the_slack_is_found(void) {
  enum { SIZE = 17, PADDING = 7, TRIES = 40 }; /* 8 more are the canary, and 32 the block */
  if (!USABLE_IS_EXACT) return;
  mi_register_error(&on_error, NULL);
  for (int byte = 0; byte <= 0xff; byte++) {
    code_count = 0;
    for (int i = 0; i < TRIES; i++) {
      char* p = block_new(SIZE);
      memset(opaque(p) + SIZE, byte, PADDING);
      mi_free(p);
    }
    if (!CHECK_EQ(code_count, TRIES)) check_note("byte %d\n", byte);
  }
  CHECK_EQ(last_code, EFAULT);
}

/* ---- a correct program is not reported ---------------------------------------- */

static void use_all_of(char* p, size_t size) {
  REQUIRE(p != NULL);
  CHECK_GE(mi_usable_size(p), size);
  memset(p, 0xA5, mi_usable_size(p));
}

/* All that mi_usable_size tells may be written. */
static void helper_legal(void) {
  for (size_t size = 0; size <= 70000; size += size < 2100 ? 1 : 517) {
    char* p = (char*)mi_malloc(size);
    use_all_of(p, size);
    p = (char*)mi_realloc(p, size + size / 3 + 1);
    use_all_of(p, size);
    p = (char*)mi_realloc(p, size / 2);
    use_all_of(p, size / 2);
    mi_free(p);
    p = (char*)mi_zalloc(size);
    use_all_of(p, size);
    mi_free_size(p, size);
    p = (char*)mi_malloc_aligned(size, 256);
    use_all_of(p, size);
    mi_free_aligned(p, 256);
    p = (char*)mi_malloc_aligned_at(size, 128, 8);
    use_all_of(p, size);
    mi_free(p);
    p = (char*)mi_expand(mi_malloc(size), size);
    if (p != NULL) mi_free(p);
  }
  for (size_t k = 0; k < SIZES - 1; k++) {
    char* p = (char*)mi_calloc(1, sizes[k]);
    use_all_of(p, sizes[k]);
    thread_join(thread_start(&free_it, p));
  }
}
static void legal_program_is_not_reported(void) {
  const char* args[] = {"helper_legal", NULL};
  int status = check_capture_self(args, true, output, sizeof output);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK_TEXT(output, "");
  /* Nor is it reported as a mistake. */
  for (size_t i = 0; i < COUNT_OF(mistakes); i++) CHECK(!is_reported(&mistakes[i], status));
}

/* What was free does not tell where anything lies. */
static void fresh_blocks_hold_no_addresses(void) {
  enum { COUNT = 3000 };
  static void* blocks[COUNT];
  for (size_t k = 1; k < SIZES && sizes[k] <= 5000; k++) {
    size_t size = sizes[k];
    for (int round = 0; round < 3; round++) {
      for (size_t i = 0; i < COUNT; i++) {
        void** p = (void**)mi_malloc(size);
        REQUIRE(p != NULL);
        for (size_t w = 0; w < size / sizeof *p; w++)
          if (!CHECK(p[w] == NULL || !mi_is_in_heap_region(p[w]))) return;
        memset((void*)p, 0, size);
        blocks[i] = (void*)p;
      }
      for (size_t i = 0; i < COUNT; i++) mi_free(blocks[(i * 7) % COUNT]);
    }
  }
}

static size_t faults_so_far(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (size_t)usage.ru_minflt;
}

/* A level that checks blocks before it hands them out must not read memory that was never used:
 * each read of an OS page would cause a fault, and the first write another one. */
static void never_used_blocks_are_not_touched(void) {
  enum { COUNT = 400, SIZE = 60000 };
  size_t before = faults_so_far();
  for (int i = 0; i < COUNT; i++) REQUIRE(mi_malloc(SIZE) != NULL);
  double faults = (double)(faults_so_far() - before) / COUNT;
  check_note("page faults per block of %d bytes: %.2f\n", SIZE, faults);
  CHECK_LE_DOUBLE(faults, 4.0); /* the canary, our tables; 15 and more if the blocks are read */
}

/* A request of 64 KiB, where vectors and buffers that double pass by, is not so large that its
 * memory would go back to the system at each free. */
static void blocks_of_64_kib_keep_their_memory(void) {
  enum { ROUNDS = 400, WARM = 100, SIZE = 65536 };
  size_t before = 0;
  for (int i = 0; i < ROUNDS; i++) {
    if (i == WARM) before = faults_so_far();
    char* p = (char*)mi_malloc(SIZE);
    REQUIRE(p != NULL);
    memset(opaque(p), 1, SIZE);
    mi_free(p);
  }
  double faults = (double)(faults_so_far() - before) / (ROUNDS - WARM);
  check_note("page faults per round of %d bytes: %.2f\n", SIZE, faults);
  CHECK_LE_DOUBLE(faults, 2.0); /* 16 and more where the memory goes back */
}

/* Level 4 hands blocks out zero, also where others have left something else: what the blocks of a
 * destroyed heap held is no write after free, whatever happens to the lists meanwhile. */
static void memory_of_destroyed_heaps_is_allocated_zero(void) {
  enum { COUNT = 300, ROUNDS = 12 };
  static unsigned char* blocks[COUNT];
  if (level() < 4) return;
  mi_register_error(&on_error, NULL);
  code_count = 0;
  for (size_t k = 1; k < SIZES && sizes[k] <= 60000; k++) {
    size_t size = sizes[k];
    for (int round = 0; round < ROUNDS; round++) {
      mi_heap_t* heap = mi_heap_new();
      REQUIRE(heap != NULL);
      for (size_t i = 0; i < COUNT; i++) {
        void* p = mi_heap_malloc(heap, size);
        REQUIRE(p != NULL);
        memset(p, 0xA5, size);
      }
      mi_heap_destroy(heap);
      for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = (unsigned char*)mi_malloc(size);
        REQUIRE(blocks[i] != NULL);
        for (size_t b = 0; b < size; b++)
          if (!CHECK_EQ(blocks[i][b], 0)) return;
        memset(blocks[i], 0x5A, size);
        if (i % 7 == 3) { /* lists are put back, with what is left of them and with what is freed */
          mi_free(blocks[i - 1]);
          blocks[i - 1] = NULL;
          mi_collect(false);
        }
      }
      for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
      mi_collect(true);
      if (!CHECK_EQ(code_count, 0)) return;
    }
  }
}

/* The system looks, so that we may. */
static bool is_accessible(const void* p) {
  static int ends[2];
  char byte;
  if (ends[1] == 0) REQUIRE(pipe(ends) == 0);
  if (write(ends[1], p, 1) == 1) return read(ends[0], &byte, 1) == 1;
  CHECK_EQ(errno, EFAULT);
  return false;
}

/* The guard at the end of a page stays for the next page when the page is empty. Any other use of
 * the memory can use all of it. */
static void guards_stay_in_an_arena(bool commit) {
  enum { SMALL = 4000, COUNT = 400, SLICE = 65536, ROUNDS = 20, GROWN = 180000 };
  static const size_t others[] = {40, 12000, 60000, 65536, 200000, MIB};
  static char* blocks[COUNT];
  /* So small that one kind of block gets the memory of another one. */
  mi_arena_id_t arena;
  REQUIRE(mi_reserve_os_memory_ex(40 * MIB, commit, false, true, &arena) == 0);
  mi_heap_t* heap = mi_heap_new_in_arena(arena);
  REQUIRE(heap != NULL);
  for (int round = 0; round < ROUNDS; round++) {
    char* grown = (char*)mi_heap_malloc(heap, GROWN / 2);
    for (size_t i = 0; i < COUNT; i++) {
      blocks[i] = (char*)mi_heap_malloc(heap, SMALL);
      REQUIRE(blocks[i] != NULL);
      uintptr_t end = ((uintptr_t)blocks[i] | (SLICE - 1)) + 1;
      if (!CHECK(!is_accessible((void*)(end - 1)))) return;
    }
    for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
    mi_heap_collect(heap, false);
    grown = (char*)mi_heap_realloc(heap, grown, GROWN); /* a slice more, which was such a page */
    REQUIRE(grown != NULL);
    memset(grown, 1, GROWN); /* a fault ends us */
    grown = (char*)mi_heap_realloc(heap, grown, GROWN / 2);
    REQUIRE(grown != NULL);
    size_t size = others[(size_t)round % COUNT_OF(others)], count = 0;
    while (count < COUNT && count * size < 2 * MIB) {
      char* p = (char*)mi_heap_malloc(heap, size);
      REQUIRE(p != NULL);
      memset(p, 1, size);
      blocks[count++] = p;
    }
    while (count > 0) mi_free(blocks[--count]);
    mi_free(grown);
    if (round % 2 == 1) mi_collect(true);
  }
  mi_heap_delete(heap);
}
static void guards_stay_for_the_next_page_alone(void) {
  if (level() < 2 || sysconf(_SC_PAGESIZE) > 16384) return;
  guards_stay_in_an_arena(true);
  guards_stay_in_an_arena(false);
}

/* ---- blocks of gigabytes ---- */

/* A canary has 32 bits for the length of the padding. */
static void a_block_of_gigabytes_that_gets_a_smaller_size_is_no_overflow(void) {
  NEEDS_64_BITS("a block of more than 4 GiB");
  static const size_t wanted[] = {100, MIB, 4 * GIB, 4 * GIB + 60 * MIB};
  mi_register_error(&on_error, NULL);
  code_count = 0;
  for (size_t i = 0; i < COUNT_OF(wanted); i++) {
    char* p = (char*)mi_malloc(4 * GIB + 64 * MIB);
    if (p == NULL) return; /* the machine is too small */
    char* q = (char*)mi_expand(p, wanted[i]);
    if (q != NULL) {
      CHECK_SAME(q, p);
      CHECK_GE(mi_usable_size(q), wanted[i]);
      memset(opaque(q), 1, 100);
    }
    p = (char*)mi_realloc(p, wanted[i]);
    REQUIRE(p != NULL);
    mi_free(p);
    if (!CHECK_EQ(code_count, 0)) check_note("to %zu bytes\n", wanted[i]);
  }
}

/* What a smaller size cuts off is filled only as far as it stays in the block. */
static void a_block_of_gigabytes_that_shrinks_a_little_is_not_touched(void) {
  NEEDS_64_BITS("a block of 8 GiB");
  char* p = (char*)mi_calloc(1, 8 * GIB);
  if (p == NULL) return; /* the machine is too small */
  size_t before = rss_bytes();
  p = (char*)mi_realloc(p, 8 * GIB / 10 * 9);
  REQUIRE(p != NULL);
  size_t after = rss_bytes();
  check_note("resident: %zu KiB, then %zu KiB\n", before / KIB, after / KIB);
  CHECK_LE(after, before + MIB);
  mi_free(p);
}

/* ---- threads that only free ---- */

enum { ONLY_FREE = 64 };
static pthread_barrier_t memory_is_out, all_freed;

static void* free_as_first_call(void* p) {
  pthread_barrier_wait(&memory_is_out);
  errno = 4711;
  mi_free(p);
  CHECK_EQ(errno, 4711);
  pthread_barrier_wait(&all_freed);
  return NULL;
}

/* Such a thread gets a heap for its quarantine, if there is memory for one. */
static void a_free_as_the_first_call_of_a_thread_keeps_errno(void) {
  pthread_t threads[ONLY_FREE];
  struct rlimit before, none;
  pthread_barrier_init(&memory_is_out, NULL, ONLY_FREE + 1);
  pthread_barrier_init(&all_freed, NULL, ONLY_FREE + 1);
  for (size_t i = 0; i < ONLY_FREE; i++)
    threads[i] = thread_start(&free_as_first_call, mi_malloc(100));
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  none = (struct rlimit){MIB, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  pthread_barrier_wait(&memory_is_out);
  pthread_barrier_wait(&all_freed);
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  for (size_t i = 0; i < ONLY_FREE; i++) thread_join(threads[i]);
}

enum { WRITTEN_COUNT = 401, WRITTEN_STEP = 3 };
/* A block in quarantine keeps its page from being given back. */
static bool is_page_kept(char* const* blocks, size_t i) {
  for (size_t k = 0; k < WRITTEN_COUNT; k++)
    if (k % WRITTEN_STEP != 0 && (uintptr_t)blocks[k] >> 16 == (uintptr_t)blocks[i] >> 16)
      return true;
  return false;
}

/* Level 4 finds one byte, wherever in a freed block it was written. */
static void one_byte_after_free_is_found_anywhere(void) {
  enum { COUNT = WRITTEN_COUNT, STEP = WRITTEN_STEP };
  static char *blocks[COUNT], *more[16 * COUNT];
  if (level() < 4) return;
  mi_register_error(&on_error, NULL);
  for (size_t size = 8; size <= 3000; size += size < 600 ? 16 : 200) {
    for (size_t i = 0; i < COUNT; i++) blocks[i] = block_new(size);
    int written = 0;
    for (size_t i = 0; i < COUNT; i += STEP) {
      mi_free(blocks[i]);
      if (!is_page_kept(blocks, i)) continue;
      ((char*)opaque(blocks[i]))[i / STEP * 7 % size] = 1;
      written++;
    }
    CHECK_GE(written, COUNT / STEP / 2);
    mi_collect(true); /* none is in quarantine any more */
    code_count = 0;
    size_t count = 0;
    while (count < COUNT_OF(more) && code_count < written) more[count++] = block_new(size);
    if (!CHECK_EQ(code_count, written)) check_note("blocks of %zu bytes\n", size);
    CHECK_EQ(last_code, EFAULT);
    for (size_t i = 0; i < COUNT; i++)
      if (i % STEP != 0) mi_free(blocks[i]);
    while (count > 0) mi_free(more[--count]);
  }
}

/* Before Linux 6.13 guards are mappings of their own, and as good. */
static void all_of_it_holds_with_guards_that_are_mappings(void) {
  const char* args[] = {"with_guards_that_are_mappings", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

static const check_case_t cases[] = {
    CASE(never_used_blocks_are_not_touched),
    CASE(blocks_of_64_kib_keep_their_memory),
    CASE(memory_of_destroyed_heaps_is_allocated_zero),
    CASE(guards_stay_for_the_next_page_alone),
    CASE(fresh_blocks_hold_no_addresses),
    CASE(each_mistake_is_reported),
    CASE(error_function_is_called_and_blocks_stay_apart),
    CASE(a_wrong_address_is_reported_once),
    CASE(one_byte_over_all_of_the_slack_is_found),
    CASE(one_byte_after_free_is_found_anywhere),
    CASE(a_block_of_gigabytes_that_gets_a_smaller_size_is_no_overflow),
    CASE(a_block_of_gigabytes_that_shrinks_a_little_is_not_touched),
    CASE(a_free_as_the_first_call_of_a_thread_keeps_errno),
    CASE(legal_program_is_not_reported),
    CASE(
        all_of_it_holds_with_guards_that_are_mappings), /* the last one: it runs the others again */
};
static const check_case_t helpers[] = {CASE(helper_legal)};

int main(int argc, char** argv) {
  if (argc == 4 && strcmp(argv[1], "helper_mistake") == 0) return helper_mistake(argv[2], argv[3]);
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  if (argc == 2 && strcmp(argv[1], "with_guards_that_are_mappings") == 0) {
    refuse(REFUSE_LIGHT_GUARDS);
    return check_main(1, argv, cases, COUNT_OF(cases) - 1);
  }
  return CHECK_MAIN(argc, argv, cases);
}
