/* bounds.c - what the heaps of all threads together keep to themselves beyond live blocks: the
 * formula of c_src/src/heap/keep.h, at 1 to 64 threads that sleep afterwards.
 */
#include "printed.h"
#include "probe.h"
#include <mimalloc.h>

#ifndef MI_TEST_SECURE
#define MI_TEST_SECURE 0
#endif

#define THREADS_MAX 64
#define TOTAL (64 * MIB) /* in all threads together */
#define LEAST (4 * MIB)  /* KEEP_LEAST */
#define PART 16          /* KEEP_PART */

static const size_t sizes[] = {64, 240, 1000, 4000};
#define SIZES COUNT_OF(sizes)
#define SIZE_MEAN ((64 + 240 + 1000 + 4000) / 4)

typedef struct worker_s {
  pthread_t thread;
  void** blocks; /* in memory of the test */
  size_t count;
} worker_t;

static worker_t worker[THREADS_MAX];
static size_t workers;
static pthread_barrier_t step, turned;

static bool freed_by_others, calls_idle;

static void* map_table(size_t bytes) {
  void* p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(p != MAP_FAILED);
  return p;
}

static void* block_of(mi_heap_t* heap, size_t i) {
  size_t size = sizes[i % SIZES];
  void* p = heap != NULL ? mi_heap_malloc(heap, size) : mi_malloc(size);
  REQUIRE(p != NULL);
  memset(p, 1, size);
  return p;
}

/* Each thread replaces its own blocks, or those that other threads have allocated. */
static void turn_over(size_t self) {
  rng_t rng = {self};
  for (size_t turn = 1; turn <= 4; turn++) {
    worker_t* w = &worker[(self + (freed_by_others ? turn : 0)) % workers];
    for (size_t i = 0; i < w->count; i++) {
      size_t k = rng_below(&rng, w->count);
      mi_free(w->blocks[k]);
      w->blocks[k] = block_of(NULL, k);
    }
    pthread_barrier_wait(&turned);
  }
}

/* Nine of ten blocks, at random places. */
static void free_most(worker_t* w, uint64_t seed) {
  rng_t rng = {seed};
  for (size_t i = 0; i < w->count; i++) {
    if (rng_below(&rng, 10) == 0) continue;
    mi_free(w->blocks[i]);
    w->blocks[i] = NULL;
  }
}

/* Goes through the slow path of malloc often enough for all pages to be looked at. */
static void work_a_little(void) {
  enum { BLOCKS = 8 };
  void* p[BLOCKS];
  for (size_t round = 0; round < 20000 / workers + 500; round++) {
    for (size_t i = 0; i < BLOCKS; i++) REQUIRE((p[i] = mi_malloc(16000)) != NULL);
    for (size_t i = 0; i < BLOCKS; i++) mi_free(p[i]);
  }
}

static void* worker_run(void* arg) {
  worker_t* w = arg;
  size_t self = (size_t)(w - worker);
  for (size_t i = 0; i < w->count; i++) w->blocks[i] = block_of(NULL, i);
  pthread_barrier_wait(&step); /* all have filled */
  turn_over(self);
  free_most(freed_by_others ? &worker[(self + 5) % workers] : w, self);
  pthread_barrier_wait(&step); /* all have freed */
  if (calls_idle)
    mi_thread_idle();
  else
    work_a_little();
  pthread_barrier_wait(&step); /* all sleep */
  pthread_barrier_wait(&step);
  return NULL;
}

/* Bytes that the process grows by when the main thread allocates as much as the sleeping threads
 * have freed, of the same sizes: the free memory that it could not use. */
static size_t kept_while_asleep(size_t threads) {
  mi_option_set(mi_option_purge_delay, -1); /* free memory stays resident */
  workers = threads;
  REQUIRE(pthread_barrier_init(&step, NULL, (unsigned)threads + 1) == 0);
  REQUIRE(pthread_barrier_init(&turned, NULL, (unsigned)threads) == 0);
  size_t count = TOTAL / SIZE_MEAN / threads;
  for (size_t i = 0; i < threads; i++) {
    worker[i] = (worker_t){.count = count, .blocks = map_table(count * sizeof(void*))};
    worker[i].thread = thread_start(&worker_run, &worker[i]);
  }
  for (int i = 0; i < 3; i++) pthread_barrier_wait(&step);
  size_t again = count * threads * 9 / 10;
  void** mine = map_table(again * sizeof(void*));
  memset(mine, 1, again * sizeof(void*));
  size_t before = rss_bytes();
  for (size_t i = 0; i < again; i++) mine[i] = block_of(NULL, i);
  size_t after = rss_bytes();
  for (size_t i = 0; i < again; i++) mi_free(mine[i]);
  pthread_barrier_wait(&step);
  for (size_t i = 0; i < threads; i++) {
    thread_join(worker[i].thread);
  }
  return after > before ? after - before : 0;
}

/* Beside what heaps keep: in each thread an active page of each class; and of each abandoned page
 * up to an eighth, and what the main thread's own last pages have left. */
static size_t rest(size_t threads) {
  return calls_idle ? MIB : threads * (SIZES + 1) * 64 * KIB + TOTAL / 32;
}

static void check_kept(size_t threads) {
  size_t allowance = TOTAL / PART > LEAST ? TOTAL / PART : LEAST;
  if (calls_idle) allowance = 0;
  size_t kept = kept_while_asleep(threads), most = allowance + rest(threads);
  check_note("%zu threads: %zu KiB of %zu MiB free memory could not be used; bound %zu KiB\n",
             threads, kept / KIB, TOTAL * 9 / 10 / MIB, most / KIB);
  if (RSS_IS_MEANINGFUL) CHECK_LE(kept, most);
}

static void blocks_freed_by_others(size_t threads) {
  freed_by_others = true;
  check_kept(threads);
}
static void blocks_freed_by_their_thread(size_t threads) {
  freed_by_others = false;
  check_kept(threads);
}

static void one_thread_that_frees_keeps_little(void) { blocks_freed_by_their_thread(1); }
static void four_threads_that_free_keep_little(void) { blocks_freed_by_their_thread(4); }
static void sixteen_threads_that_free_keep_little(void) { blocks_freed_by_their_thread(16); }
static void sixty_four_threads_that_free_keep_little(void) { blocks_freed_by_their_thread(64); }
static void four_threads_keep_little_of_what_others_freed(void) { blocks_freed_by_others(4); }
static void sixteen_threads_keep_little_of_what_others_freed(void) { blocks_freed_by_others(16); }
static void sixty_four_threads_keep_little_of_what_others_freed(void) {
  blocks_freed_by_others(64);
}

/* ---- a cache that all threads share ---- */

enum { ENTRIES = 120000, OPERATIONS = 3000000, LARGEST = 1000 };
static void* cache[ENTRIES]; /* atomic */

/* Any thread replaces any entry, so nearly all frees are of other threads' blocks. */
static void* use_cache(void* arg) {
  rng_t rng = {(uintptr_t)arg + 1};
  for (size_t n = 0; n < OPERATIONS / workers; n++) {
    size_t size = 32 + rng_below(&rng, LARGEST);
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    mi_free(__atomic_exchange_n(&cache[rng_below(&rng, ENTRIES)], p, __ATOMIC_ACQ_REL));
  }
  pthread_barrier_wait(&step); /* all sleep */
  pthread_barrier_wait(&step);
  return NULL;
}

static void check_cache(size_t threads) {
  enum { LIVE = ENTRIES * (32 + LARGEST / 2) };
  workers = threads;
  REQUIRE(pthread_barrier_init(&step, NULL, (unsigned)threads + 1) == 0);
  memset(cache, 0, sizeof cache);
  size_t before = rss_bytes();
  for (size_t i = 0; i < threads; i++)
    worker[i].thread = thread_start(&use_cache, (void*)(uintptr_t)i);
  pthread_barrier_wait(&step);
  size_t more = rss_bytes() - before, most = LIVE + LIVE / 4 + (16 + threads * 3 / 2) * MIB;
  check_note("%zu threads: %zu KiB for %d KiB; bound %zu KiB\n", threads, more / KIB,
             (int)(LIVE / KIB), most / KIB);
  if (RSS_IS_MEANINGFUL && MI_TEST_SECURE == 0) CHECK_LE(more, most);
  pthread_barrier_wait(&step);
  for (size_t i = 0; i < threads; i++) {
    thread_join(worker[i].thread);
  }
  for (size_t i = 0; i < ENTRIES; i++) mi_free(cache[i]);
  mi_collect(true);
  size_t after = rss_bytes() - before; /* the ended threads have given back all their free blocks */
  check_note("%zu KiB when all is freed\n", after / KIB);
  if (RSS_IS_MEANINGFUL && MI_TEST_SECURE == 0) CHECK_LE(after, 8 * MIB);
}

static void two_threads_share_a_cache_in_little_memory(void) { check_cache(2); }
static void sixteen_threads_share_a_cache_in_little_memory(void) { check_cache(16); }
static void sixty_four_threads_share_a_cache_in_little_memory(void) { check_cache(64); }

/* ---- first-class heaps ---- */

/* What the statistics print on this line, in bytes. */
static size_t printed_bytes(const char* name) {
  print_start();
  mi_stats_print_out(&print_collect, NULL);
  const char* line = strstr(printed, name);
  REQUIRE(line != NULL);
  char* unit;
  double number = strtod(line + strlen(name), &unit);
  size_t factor = strncmp(unit, " MiB", 4) == 0 ? MIB : strncmp(unit, " KiB", 4) == 0 ? KIB : 1;
  return (size_t)(number * (double)factor);
}

/* The free bytes of a first-class heap are in the sum, although it cannot give its pages up; they
 * leave it with the heap. */
static void free_memory_of_first_class_heaps_counts(void) {
  size_t count = TOTAL / SIZE_MEAN;
  worker_t w = {.count = count, .blocks = map_table(count * sizeof(void*))};
  CHECK_EQ(printed_bytes("heaps may keep:"), LEAST);
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (size_t i = 0; i < count; i++) w.blocks[i] = block_of(heap, i);
  mi_heap_collect(heap, true);
  size_t full = printed_bytes("heaps keep:");
  free_most(&w, 3);
  mi_heap_collect(heap, true);
  size_t sparse = printed_bytes("heaps keep:");
  mi_heap_destroy(heap);
  size_t gone = printed_bytes("heaps keep:");
  check_note("full %zu, sparse %zu, destroyed %zu KiB\n", full / KIB, sparse / KIB, gone / KIB);
  CHECK_LE(full, MIB);
  CHECK_GE(sparse, TOTAL / 2);
  CHECK_LE(gone, MIB);
}

/* ---- mi_thread_idle ---- */

static void* call_idle(void* arg) {
  (void)arg;
  size_t before = printed_bytes("threads:");
  mi_thread_idle();
  CHECK_EQ(printed_bytes("threads:"), before);
  return NULL;
}

/* A thread that has no heap may call it, and gets none by it. */
static void idle_threads_need_no_heap(void) { thread_join(thread_start(&call_idle, NULL)); }

/* The blocks and heaps of a thread stay valid, and it goes on as before. */
static void a_thread_goes_on_after_idle(void) {
  enum { BLOCKS = 20000 };
  static unsigned char* p[BLOCKS];
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (size_t round = 0; round < 5; round++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      if (p[i] != NULL) continue;
      p[i] = i % 3 == 0 ? mi_heap_malloc(heap, 8 + i % 900) : mi_malloc(8 + i % 900);
      REQUIRE(p[i] != NULL);
      memset(p[i], (int)(i % 251), 8 + i % 900);
    }
    mi_thread_idle();
    for (size_t i = round % 2; i < BLOCKS; i += 2) {
      CHECK(p[i][0] == i % 251 && p[i][7 + i % 900] == i % 251);
      CHECK_EQ(mi_heap_contains_block(heap, p[i]), i % 3 == 0);
      mi_free(p[i]);
      p[i] = NULL;
    }
    mi_thread_idle();
    mi_thread_idle();
  }
  for (size_t i = 0; i < BLOCKS; i++) mi_free(p[i]);
  mi_heap_destroy(heap);
}

static void empty_memory_of_an_idle_thread_goes_back(void) {
  static void* p[TOTAL / SIZE_MEAN];
  mi_free(mi_malloc(10));
  memset(p, 1, sizeof p);
  size_t before = rss_bytes();
  for (size_t i = 0; i < COUNT_OF(p); i++) p[i] = block_of(NULL, i);
  for (size_t i = 0; i < COUNT_OF(p); i++) mi_free(p[i]);
  mi_thread_idle();
  size_t after = rss_bytes();
  check_note("%zu KiB before, %zu KiB after\n", before / KIB, after / KIB);
  /* Secure builds have tables of block states too, and keep them. */
  CHECK_LE(after, before + MIB + (MI_TEST_SECURE > 0 ? TOTAL / 32 : 0));
}

static void four_idle_threads_keep_nothing(void) {
  calls_idle = true;
  blocks_freed_by_others(4);
}
static void sixty_four_idle_threads_keep_nothing(void) {
  calls_idle = true;
  blocks_freed_by_their_thread(64);
}

#if MI_TEST_SECURE == 0
#define SERVERS 200
#define EMPTY_ALL (64 * MIB) /* KEEP_EMPTY_ALL */
#define EMPTY_EACH MIB       /* KEEP_EMPTY */

/* Three blocks of each class of several slices at the same time, again and again. */
static void* serve(void* arg) {
  enum { CLASSES = 24, EACH = 3 };
  void* p[CLASSES * EACH];
  for (size_t round = 0; round < 10; round++) {
    for (size_t i = 0; i < COUNT_OF(p); i++) {
      size_t base = (8 * KIB) << i % CLASSES / 8, size = base + (i % 8 + 1) * base / 8;
      REQUIRE((p[i] = mi_malloc(size)) != NULL);
      touch_pages(p[i], size);
    }
    for (size_t i = 0; i < COUNT_OF(p); i++) mi_free(p[i]);
  }
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  return arg;
}

static void sleeping_threads_keep_little_of_large_classes(void) {
  static pthread_t server[SERVERS];
  REQUIRE(pthread_barrier_init(&step, NULL, SERVERS + 1) == 0);
  size_t before = rss_bytes(), after, most = EMPTY_ALL + SERVERS * EMPTY_EACH;
  for (size_t i = 0; i < SERVERS; i++) server[i] = thread_start(&serve, NULL);
  pthread_barrier_wait(&step);
  double end = now_seconds() + 5;
  do sleep_ms(100);
  while ((after = rss_bytes() - before) > most && now_seconds() < end);
  check_note("%d sleeping threads keep %zu MiB\n", SERVERS, after / MIB);
  CHECK_LE(after, most);
  pthread_barrier_wait(&step);
  for (size_t i = 0; i < SERVERS; i++) thread_join(server[i]);
}
#endif

static const check_case_t cases[] = {
    CASE(one_thread_that_frees_keeps_little),
    CASE(four_threads_that_free_keep_little),
    CASE(sixteen_threads_that_free_keep_little),
    CASE(sixty_four_threads_that_free_keep_little),
    CASE(four_threads_keep_little_of_what_others_freed),
    CASE(sixteen_threads_keep_little_of_what_others_freed),
    CASE(sixty_four_threads_keep_little_of_what_others_freed),
    CASE(two_threads_share_a_cache_in_little_memory),
    CASE(sixteen_threads_share_a_cache_in_little_memory),
    CASE(sixty_four_threads_share_a_cache_in_little_memory),
    CASE(free_memory_of_first_class_heaps_counts),
    CASE(four_idle_threads_keep_nothing),
    CASE(sixty_four_idle_threads_keep_nothing),
    CASE(idle_threads_need_no_heap),
    CASE(a_thread_goes_on_after_idle),
    CASE(empty_memory_of_an_idle_thread_goes_back),
#if MI_TEST_SECURE == 0
    CASE(sleeping_threads_keep_little_of_large_classes),
#endif
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
