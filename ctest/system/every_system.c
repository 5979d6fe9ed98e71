/* every_system.c - what must hold on each system, also on those without processes, without threads
 * or with little memory. The hook at the end of a thread fires.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

/* ---- one thread ---------------------------------------------------------------- */

static void blocks_of_all_sizes_keep_their_contents(void) {
  static char* blocks[600];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
      size_t size = i < 300 ? i * 7 : i * i;
      blocks[i] = (char*)mi_malloc(size);
      REQUIRE(blocks[i] != NULL);
      CHECK_GE(mi_usable_size(blocks[i]), size);
      CHECK(is_aligned(blocks[i], size >= 16 ? 16 : 8));
      pattern_fill(blocks[i], size, (unsigned)i);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
      size_t size = i < 300 ? i * 7 : i * i;
      CHECK(pattern_holds(blocks[i], size, (unsigned)i));
      mi_free(blocks[i]);
    }
  }
}

static void zeroed_memory_is_zero_when_it_was_used_before(void) {
  for (int round = 0; round < 20; round++) {
    for (size_t size = 1; size < 3 * MIB; size = size * 5 + 3) {
      char* p = (char*)mi_zalloc(size);
      REQUIRE(p != NULL);
      CHECK(all_bytes_are(p, size, 0));
      memset(p, 0xA5, size);
      mi_free(p);
    }
    if (round % 7 == 0) mi_collect(true);
  }
}

/* Too large for arenas: the system's own memory, again and again. */
static void zeroed_memory_of_the_system_is_zero_when_it_was_used_before(void) {
  enum { SIZE = 20 * MIB };
  mi_option_set(mi_option_arena_max_object_size, 1024); /* KiB */
  for (int round = 0; round < 3; round++) {
    char* p = (char*)mi_zalloc(SIZE);
    REQUIRE(p != NULL);
    for (size_t i = 0; i < SIZE; i += 4000) CHECK_EQ(p[i], 0);
    for (size_t i = 0; i < SIZE; i += 4000) p[i] = 1;
    mi_free(p);
  }
}

static void growing_block_keeps_its_contents(void) {
  char* p = NULL;
  size_t old = 0;
  for (size_t size = 10; size < 12 * MIB; size = size * 3 / 2) {
    p = (char*)mi_realloc(p, size);
    REQUIRE(p != NULL);
    CHECK(pattern_holds(p, old, 3));
    pattern_fill(p, size, 3);
    old = size;
  }
  mi_free(p);
}

/* Blocks that are freed make room: a system that cannot give memory back must use it again. */
static void memory_is_used_again(void) {
  size_t first = 0, rss = 0;
  for (int i = 0; i < 100; i++) {
    void* blocks[8];
    for (size_t k = 0; k < COUNT_OF(blocks); k++) {
      blocks[k] = mi_malloc(MIB + k * 300 * KIB);
      REQUIRE(blocks[k] != NULL);
      touch_pages(blocks[k], MIB);
    }
    for (size_t k = 0; k < COUNT_OF(blocks); k++) mi_free(blocks[k]);
    mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
    if (i == 10) first = rss;
  }
#if !defined(MI_TEST_EMULATED)
  CHECK_LE(rss, first + 16 * MIB);
#endif
}

static void impossible_request_gives_null(void) {
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX)));
  CHECK_NULL(mi_malloc(opaque_size(SIZE_MAX / 2 + 1)));
  CHECK_NULL(mi_calloc(opaque_size(SIZE_MAX / 2), 3));
  CHECK_NULL(mi_malloc_aligned(opaque_size(SIZE_MAX - 4096), 4096));
}

static bool count_blocks(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                         size_t size, void* arg) {
  (void)heap, (void)area, (void)size;
  if (block != NULL) ++*(size_t*)arg;
  return true;
}

static void heap_is_visited_and_destroyed(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (size_t i = 0; i < 5000; i++) REQUIRE(mi_heap_malloc(heap, i % 2000) != NULL);
  REQUIRE(mi_heap_malloc(heap, 500 * KIB) != NULL);
  size_t count = 0;
  CHECK(mi_heap_visit_blocks(heap, true, &count_blocks, &count));
  CHECK_EQ(count, 5001);
  mi_heap_destroy(heap);
}

/* ---- several threads ------------------------------------------------------------ */

#if !defined(__wasm__)
static size_t threads_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return (size_t)stats.threads.current;
}

static void* allocate_and_leave(void* arg) {
  void** box = (void**)arg;
  for (size_t i = 0; i < 200; i++) mi_free(mi_malloc(i * 50));
  *box = mi_malloc(1000);
  pattern_fill(*box, 1000, 9);
  return NULL;
}

static void check_box(void* box) {
  CHECK(box != NULL && pattern_holds(box, 1000, 9));
  mi_free(box);
}

/* Each thread that ends is counted, and what it left can be freed. */
static void end_of_a_thread_is_noticed(void) {
  mi_free(mi_malloc(1));
  size_t before = threads_now();
  for (int i = 0; i < 100; i++) {
    void* box = NULL;
    thread_join(thread_start(&allocate_and_leave, &box));
    CHECK_EQ(threads_now(), before);
    check_box(box);
  }
}

static void* free_what_comes(void* arg) {
  void** blocks = (void**)arg;
  for (size_t i = 0; i < 2000; i++) mi_free(blocks[i]);
  return NULL;
}
static void blocks_may_be_freed_by_other_threads(void) {
  static void* blocks[4][2000];
  for (int round = 0; round < 5; round++) {
    pthread_t threads[4];
    for (size_t t = 0; t < COUNT_OF(threads); t++) {
      for (size_t i = 0; i < 2000; i++) {
        blocks[t][i] = mi_malloc(i);
        REQUIRE(blocks[t][i] != NULL);
      }
      threads[t] = thread_start(&free_what_comes, blocks[t]);
    }
    for (size_t t = 0; t < COUNT_OF(threads); t++) thread_join(threads[t]);
  }
}
#endif

#if defined(_WIN32)
static DWORD WINAPI system_thread(LPVOID box) { return allocate_and_leave(box), 0; }
static unsigned __stdcall crt_thread(void* box) { return allocate_and_leave(box), 0; }

/* However a thread was started: by the system, by the C library, or (above) by pthreads. */
static void end_of_each_kind_of_thread_is_noticed(void) {
  mi_free(mi_malloc(1));
  size_t before = threads_now();
  for (int i = 0; i < 50; i++) {
    void* box = NULL;
    HANDLE thread = i % 2 == 0 ? CreateThread(NULL, 0, &system_thread, &box, 0, NULL)
                               : (HANDLE)_beginthreadex(NULL, 0, &crt_thread, &box, 0, NULL);
    REQUIRE(thread != NULL);
    REQUIRE(WaitForSingleObject(thread, INFINITE) == WAIT_OBJECT_0);
    CloseHandle(thread);
    CHECK_EQ(threads_now(), before);
    check_box(box);
  }
}

/* A fiber that ends is no thread that ends. */
static void* main_fiber;
static void CALLBACK fiber(LPVOID box) {
  allocate_and_leave(box);
  SwitchToFiber(main_fiber);
}
static void end_of_a_fiber_is_none_of_the_thread(void) {
  mi_free(mi_malloc(1));
  size_t before = threads_now();
  main_fiber = ConvertThreadToFiber(NULL);
  REQUIRE(main_fiber != NULL);
  for (int i = 0; i < 20; i++) {
    void* box = NULL;
    void* other = CreateFiber(64 * 1024, &fiber, &box);
    REQUIRE(other != NULL);
    SwitchToFiber(other);
    DeleteFiber(other);
    CHECK_EQ(threads_now(), before);
    check_box(box);
  }
}
#endif

static const check_case_t cases[] = {
    CASE(blocks_of_all_sizes_keep_their_contents),
    CASE(zeroed_memory_is_zero_when_it_was_used_before),
    CASE(zeroed_memory_of_the_system_is_zero_when_it_was_used_before),
    CASE(growing_block_keeps_its_contents),
    CASE(memory_is_used_again),
    CASE(impossible_request_gives_null),
    CASE(heap_is_visited_and_destroyed),
#if !defined(__wasm__)
    CASE(end_of_a_thread_is_noticed),
    CASE(blocks_may_be_freed_by_other_threads),
#endif
#if defined(_WIN32)
    CASE(end_of_each_kind_of_thread_is_noticed),
    CASE(end_of_a_fiber_is_none_of_the_thread),
#endif
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
