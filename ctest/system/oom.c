/* oom.c - running out of address space: under RLIMIT_AS the library starts, allocates a good part
 * of what the limit allows, returns NULL, frees everything and can allocate it again.
 */
#include "chain.h"

static const size_t limits_mib[] = {64, 96, 128, 256};
static const size_t block_sizes[] = {64, 1000, 20000, 300000, 5 * MIB};

static void limit_address_space(size_t bytes) {
  struct rlimit limit = {bytes, bytes};
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* Allocates blocks of `size` until NULL; the number of bytes got. */
static size_t fill(chain_t* c, size_t size) {
  size_t bytes = 0;
  void* p;
  while ((p = mi_malloc(size)) != NULL) {
    memset(p, 0x11, size);
    chain_add(c, p);
    bytes += size;
  }
  return bytes;
}

/* What the address space limit leaves for blocks: all but what is mapped at the start. */
static void helper_fill_twice(void) {
  size_t limit = strtoul(getenv("TEST_LIMIT_MIB"), NULL, 10) * MIB;
  for (size_t i = 0; i < COUNT_OF(block_sizes); i++) {
    chain_t chain = {0};
    size_t first = fill(&chain, block_sizes[i]);
    chain_free(&chain);
    size_t second = fill(&chain, block_sizes[i]);
    chain_free(&chain);
    check_note("limit %3zu MiB, blocks of %7zu bytes: %zu MiB, then %zu MiB\n", limit / MIB,
               block_sizes[i], first / MIB, second / MIB);
    CHECK_GE(first, limit / 4);
    CHECK_GE(second, first - first / 10);
  }
  /* After the last exhaustion ordinary work goes on. */
  for (int i = 0; i < 1000; i++) {
    char* p = (char*)mi_zalloc((size_t)i * 10);
    CHECK_NOT_NULL(p);
    p = (char*)mi_rezalloc(p, (size_t)i * 20 + 1);
    CHECK_NOT_NULL(p);
    mi_free(p);
  }
}

static void run_limited(const char* helper, size_t limit_mib) {
  char text[32];
  snprintf(text, sizeof text, "%zu", limit_mib);
  setenv("TEST_LIMIT_MIB", text, 1);
  const char* args[] = {helper, NULL};
  fflush(NULL);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    limit_address_space(limit_mib * MIB);
    check_wait_ok(check_start_self(args, -1, -1), helper);
    _exit(check_end());
  }
  if (check_wait_ok(pid, helper) != 0) check_note("under a limit of %zu MiB\n", limit_mib);
}

static void library_starts_and_works_under_a_limit(void) {
  for (size_t i = 0; i < COUNT_OF(limits_mib); i++) run_limited("helper_fill_twice", limits_mib[i]);
}

/* The limit comes after start: address space that was reserved before may be used up. */
static void limit_set_after_start(void) {
  for (size_t i = 0; i < COUNT_OF(limits_mib); i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      chain_t chain = {0};
      void* early = mi_malloc(1000);
      REQUIRE(early != NULL);
      pattern_fill(early, 1000, 1);
      char text[256];
      read_file("/proc/self/statm", text, sizeof text);
      limit_address_space(strtoul(text, NULL, 10) * OS_PAGE + limits_mib[i] * MIB);
      size_t block = 40 * MIB; /* 1 GiB of reserved space is used up quickly with this */
      size_t bytes = 0;
      for (;;) {
        if (!chain_add(&chain, mi_malloc(block))) break;
        bytes += block;
        REQUIRE(bytes <= 8 * GIB); /* the limit did nothing */
      }
      size_t small = fill(&chain, 1 * MIB);
      chain_free(&chain);
      CHECK_GE(bytes + small, limits_mib[i] * MIB / 4);
      size_t again = 0;
      for (;;) {
        if (!chain_add(&chain, mi_malloc(block))) break;
        again += block;
      }
      chain_free(&chain);
      CHECK_GE(again + block, bytes);
      CHECK(pattern_holds(early, 1000, 1));
      mi_free(early);
      _exit(check_end());
    }
    check_wait_ok(pid, "child with a late limit");
  }
}

static void* thread_under_limit(void* arg) {
  (void)arg;
  for (int i = 0; i < 300; i++) {
    void* p = mi_malloc((size_t)(i % 30) * 5000 + 1);
    if (p != NULL) *(char*)p = 1;
    mi_free(p);
  }
  return NULL;
}

/* Threads that start when memory is out get NULL, and recover. */
static void helper_threads_when_memory_is_out(void) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * KIB);
  pthread_t threads[4];
  bool started[4] = {false};
  chain_t chain = {0};
  /* Freed blocks go back to the library, but a stack comes from the system; if no thread can start
   * below, there is no stack to reuse. */
  void* room = mmap(NULL, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(room != MAP_FAILED);
  fill(&chain, MIB);
  fill(&chain, 64 * KIB);
  /* Room for some stacks, not for the library. */
  for (int i = 0; i < 2 && chain.last != NULL; i++) {
    void* next = chain_next(chain.last);
    mi_free(chain.last);
    chain.last = next;
  }
  fill(&chain, 100);
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    started[i] = pthread_create(&threads[i], &attributes, &thread_under_limit, NULL) == 0;
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    if (started[i]) thread_join(threads[i]);
  }
  chain_free(&chain);
  mi_collect(true);
  REQUIRE(munmap(room, MIB) == 0);
  pthread_t late;
  REQUIRE(pthread_create(&late, &attributes, &thread_under_limit, NULL) == 0);
  thread_join(late);
  void* p = mi_malloc(100000);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

static void threads_start_when_memory_is_out(void) {
  for (size_t i = 0; i < COUNT_OF(limits_mib); i++) {
    run_limited("helper_threads_when_memory_is_out", limits_mib[i]);
  }
}

/* Growing under a limit fails cleanly and keeps the contents. */
static void helper_grow_until_it_fails(void) {
  size_t limit = strtoul(getenv("TEST_LIMIT_MIB"), NULL, 10) * MIB;
  size_t size = 100000;
  char* p = (char*)mi_malloc(size);
  REQUIRE(p != NULL);
  pattern_fill(p, size, 1);
  for (;;) {
    size_t next = size + size / 4;
    char* q = (char*)mi_realloc(p, next);
    if (q == NULL) break;
    REQUIRE(next < 2 * limit);
    p = q;
    CHECK(pattern_holds(p, size < MIB ? size : MIB, 1));
    pattern_fill(p, next, 1);
    size = next;
  }
  CHECK(pattern_holds(p, size, 1));
  CHECK_GE(size, limit / 6);
  mi_free(p);
  p = (char*)mi_malloc(size);
  CHECK_NOT_NULL(p);
  mi_free(p);
}

static void growing_under_a_limit_fails_cleanly(void) {
  for (size_t i = 0; i < COUNT_OF(limits_mib); i++) {
    run_limited("helper_grow_until_it_fails", limits_mib[i]);
  }
}

/* ---- a shortage that ends --------------------------------------------------------------- */

/* Address space without memory: of each block only the start is written. */
static size_t fill_untouched(chain_t* c, size_t size, size_t wanted) {
  size_t bytes = 0;
  while (bytes < wanted && chain_add(c, mi_malloc(size))) bytes += size;
  return bytes;
}

static void raise_address_space(void) {
  struct rlimit limit;
  REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = limit.rlim_max;
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

static void lower_address_space(size_t more) {
  char text[256];
  read_file("/proc/self/statm", text, sizeof text);
  struct rlimit limit;
  REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
  limit.rlim_cur = strtoul(text, NULL, 10) * OS_PAGE + more;
  REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
}

/* A shortage that has ended leaves no trace. */
static void shortage_that_has_ended_leaves_no_trace(void) {
  const size_t rooms[] = {3 * MIB / 2, 20 * MIB, 300 * MIB};
  for (size_t i = 0; i < COUNT_OF(rooms); i++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      chain_t chain = {0};
      mi_free(mi_malloc(10));
      for (int round = 0; round < 3; round++) {
        lower_address_space(rooms[i]);
        size_t short_of = fill_untouched(&chain, MIB, 8 * GIB);
        CHECK_LE(short_of, 8 * GIB - 1); /* else the limit did nothing */
        fill_untouched(&chain, 64, GIB);
        fill_untouched(&chain, 5 * MIB, GIB);
        chain_free(&chain);
        raise_address_space();
      }
      CHECK_GE(fill_untouched(&chain, MIB, 6 * GIB), 6 * GIB);
      CHECK_GE(fill_untouched(&chain, 100000, 64 * MIB), 64 * MIB);
      CHECK_GE(fill_untouched(&chain, 1000, 64 * MIB), 64 * MIB);
      CHECK_GE(fill_untouched(&chain, 16, 16 * MIB), 16 * MIB);
      CHECK_GE(fill_untouched(&chain, 700 * MIB, GIB), GIB);
      chain_free(&chain);
      _exit(check_end());
    }
    if (check_wait_ok(pid, "child after a shortage") != 0) {
      check_note("with %zu KiB of room during the shortage\n", rooms[i] / KIB);
    }
  }
}

static void helper_fill_6_gib(void) {
  chain_t chain = {0};
  CHECK_GE(fill_untouched(&chain, MIB, 6 * GIB), 6 * GIB);
  CHECK_GE(fill_untouched(&chain, 1000, 16 * MIB), 16 * MIB);
  chain_free(&chain);
}
static void small_reserve_does_not_limit_what_can_be_allocated(void) {
  const char* const reserves[] = {"0", "1M", "1"};
  for (size_t i = 0; i < COUNT_OF(reserves); i++) {
    setenv("MIMALLOC_ARENA_RESERVE", reserves[i], 1);
    const char* args[] = {"helper_fill_6_gib", NULL};
    if (check_wait_ok(check_start_self(args, -1, -1), args[0]) != 0) {
      check_note("with MIMALLOC_ARENA_RESERVE=%s\n", reserves[i]);
    }
  }
}

/* What the first arena needs besides itself is part of what the limit must leave. */
static void first_requests_find_room_whatever_the_limit_leaves(void) {
  const size_t requests[] = {100, 5 * MIB};
  for (size_t room = 8 * MIB; room < 1100 * MIB; room += room < 80 * MIB ? 256 * KIB : 2 * MIB) {
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
      if (room < (MI_TEST_SECURE > 0 ? 20 : 12) * MIB + 3 * requests[i]) continue;
      pid_t pid = fork();
      REQUIRE(pid >= 0);
      if (pid == 0) {
        lower_address_space(room);
        if (!CHECK_NOT_NULL(mi_malloc(requests[i])))
          check_note("%zu bytes with %zu KiB of room\n", requests[i], room / KIB);
        _exit(check_end());
      }
      check_wait_ok(pid, "child whose first request comes under a limit");
    }
  }
}

static const check_case_t cases[] = {
    CASE(first_requests_find_room_whatever_the_limit_leaves),
    CASE(library_starts_and_works_under_a_limit),
    CASE(limit_set_after_start),
    CASE(threads_start_when_memory_is_out),
    CASE(growing_under_a_limit_fails_cleanly),
    CASE(shortage_that_has_ended_leaves_no_trace),
    CASE(small_reserve_does_not_limit_what_can_be_allocated),
};
static const check_case_t helpers[] = {
    CASE(helper_fill_twice),
    CASE(helper_threads_when_memory_is_out),
    CASE(helper_grow_until_it_fails),
    CASE(helper_fill_6_gib),
};

int main(int argc, char** argv) {
  if (argc == 2 && strncmp(argv[1], "helper_", 7) == 0) return CHECK_MAIN(argc, argv, helpers);
  return CHECK_MAIN(argc, argv, cases);
}
