/* holes.c - OS pages inside partly used pages go back to the system, and their blocks are used
 * again.
 */
#include "heap_blocks.h"
#include <mimalloc-stats.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif
#define CHECKED (MI_TEST_DEBUG_FULL || MI_TEST_SECURE > 0)

static uint64_t next_random(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

typedef struct piece_s {
  unsigned char* p;
  size_t size;
  unsigned char fill;
} piece_t;

static void piece_new(piece_t* piece, size_t size, uint64_t number) {
  piece->p = (unsigned char*)mi_malloc(size);
  REQUIRE(piece->p != NULL);
  piece->size = size;
  piece->fill = (unsigned char)(number % 251 + 1);
  memset(piece->p, piece->fill, size);
}
static void piece_check(const piece_t* piece) {
  for (size_t i = 0; i < piece->size; i++)
    if (piece->p[i] != piece->fill) {
      check_fail("byte %zu of a block of %zu bytes was changed\n", i, piece->size);
      return;
    }
}
static void piece_free(piece_t* piece) {
  piece_check(piece);
  mi_free(piece->p);
  piece->p = NULL;
}
static void shuffle(piece_t* pieces, size_t count, uint64_t* random) {
  for (size_t i = count - 1; i > 0; i--) {
    size_t k = (size_t)(next_random(random) % (i + 1));
    piece_t piece = pieces[i];
    pieces[i] = pieces[k];
    pieces[k] = piece;
  }
}
static size_t os_pages_of(const piece_t* piece) {
  uintptr_t first = (uintptr_t)piece->p / OS_PAGE;
  return ((uintptr_t)piece->p + piece->size - 1) / OS_PAGE - first + 1;
}

/* What secure builds have besides: block-state tables, and from level 3 on the quarantine. */
#define TABLES (MI_TEST_SECURE > 0 ? MIB : 0)
#define QUARANTINE (MI_TEST_SECURE >= 4 ? 9 * MIB : MI_TEST_SECURE == 3 ? 5 * MIB : 0)

/* ---- four threads free 19 of 20 blocks at random -------------------------------------- */

#define THREADS 4
#define BLOCKS ((size_t)18750)
#define LEFT (BLOCKS / 20)

static piece_t scattered[THREADS][BLOCKS];
static pthread_barrier_t step;

static void* scatter(void* arg) {
  size_t number = (size_t)(uintptr_t)arg;
  piece_t* mine = scattered[number];
  uint64_t random = number * 7919 + 1;
  for (size_t i = 0; i < BLOCKS; i++)
    piece_new(&mine[i], 512 + (size_t)(next_random(&random) % 1537), i);
  shuffle(mine, BLOCKS, &random);
  for (size_t i = LEFT; i < BLOCKS; i++) piece_free(&mine[i]);
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  for (size_t i = 0; i < LEFT; i++) piece_free(&mine[i]);
  return NULL;
}

/* `give_back` is called while the four threads sleep. What stays differs by 7 MiB from run to run,
 * with the order in which the threads come. */
static void check_scattered(void (*give_back)(void)) {
  memset(scattered, 1, sizeof scattered); /* so that it is resident before */
  pthread_barrier_init(&step, NULL, THREADS + 1);
  size_t before = rss_bytes();
  pthread_t threads[THREADS];
  for (size_t t = 0; t < THREADS; t++) threads[t] = thread_start(&scatter, (void*)(uintptr_t)t);
  pthread_barrier_wait(&step);
  size_t freed = rss_bytes(), live = 0, os_pages = 0;
  give_back();
  size_t after = rss_bytes();
  for (size_t t = 0; t < THREADS; t++)
    for (size_t i = 0; i < LEFT; i++) {
      live += scattered[t][i].size;
      os_pages += os_pages_of(&scattered[t][i]);
    }
  check_note("live %zu KiB, in %zu KiB of OS pages; resident %zu KiB after the frees, then %zu\n",
             live / KIB, os_pages * OS_PAGE / KIB, (freed - before) / KIB, (after - before) / KIB);
  /* Besides OS pages with live blocks: what the threads themselves need, and active pages. */
  CHECK_LE(after, before + os_pages * OS_PAGE * 66 / 57 + 10 * MIB + TABLES + QUARANTINE);
  pthread_barrier_wait(&step);
  for (size_t t = 0; t < THREADS; t++) thread_join(threads[t]);
  mi_collect(true);
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

static void collect(void) { mi_collect(true); }
static void collecting_gives_back_all_but_os_pages_with_live_blocks(void) {
  check_scattered(&collect);
}

/* At each 32nd entry into the slow path the thread does work that is due. */
static void allocate_for_a_while(void) {
  for (int i = 0; i < 60; i++) {
    sleep_ms(15);
    void* p[4096];
    for (int round = 0; round < 10; round++) {
      for (size_t k = 0; k < COUNT_OF(p); k++) p[k] = mi_malloc(64);
      for (size_t k = 0; k < COUNT_OF(p); k++) mi_free(p[k]);
    }
  }
}
static void ticks_of_another_thread_do_it_too(void) {
  mi_option_set(mi_option_purge_delay, 10);
  check_scattered(&allocate_for_a_while);
}

/* ---- threads that used many sizes once, and sleep --------------------------------------- */

#define SLEEPERS 128
#define SIZES 200

/* `arg`: how many blocks of each size; they are freed in the order of allocation or in another. */
static void* use_once(void* arg) {
  size_t each = (size_t)(uintptr_t)arg;
  static __thread void* blocks[SIZES * 3];
  size_t count = SIZES * each;
  for (size_t i = 0; i < count; i++) {
    size_t size = (i / each + 1) * 8 * KIB / SIZES;
    REQUIRE((blocks[i] = mi_malloc(size)) != NULL);
    memset(blocks[i], 1, size);
  }
  for (size_t i = 0; i < count; i++) mi_free(blocks[each == 1 ? i : i * 73 % count]);
  pthread_barrier_wait(&step);
  pthread_barrier_wait(&step);
  return NULL;
}

static void check_sleepers(size_t each) {
  if (CHECKED) {
    check_note("skipped: checked builds keep empty active pages\n");
    return;
  }
  pthread_t threads[SLEEPERS];
  pthread_barrier_init(&step, NULL, SLEEPERS + 1);
  mi_collect(true);
  size_t before = rss_bytes();
  for (size_t t = 0; t < SLEEPERS; t++)
    threads[t] = thread_start(&use_once, (void*)(uintptr_t)each);
  pthread_barrier_wait(&step);
  size_t asleep = rss_bytes();
  mi_collect(true);
  size_t after = rss_bytes();
  check_note("%d threads asleep: %zu KiB each, %zu after a collect\n", SLEEPERS,
             (asleep - before) / KIB / SLEEPERS, (after - before) / KIB / SLEEPERS);
  /* 40 MiB for 512 threads, with their stacks. */
  CHECK_LE(after, before + SLEEPERS * 80 * KIB);
  pthread_barrier_wait(&step);
  for (size_t t = 0; t < SLEEPERS; t++) thread_join(threads[t]);
}
static void sleeping_threads_hold_no_empty_pages(void) { check_sleepers(1); }
static void nor_if_they_used_more_of_each_size(void) { check_sleepers(3); }

static void* nothing(void* arg) { return arg; }
/* A process with a single thread, and one that was such a process when it freed. */
static void check_alone(bool with_thread) {
  static piece_t mine[BLOCKS];
  uint64_t random = 5;
  memset(mine, 1, sizeof mine);
  size_t before = rss_bytes(), os_pages = 0;
  for (size_t i = 0; i < BLOCKS; i++) piece_new(&mine[i], 600 + i % 8 * 100, i);
  shuffle(mine, BLOCKS, &random);
  for (size_t i = LEFT; i < BLOCKS; i++) piece_free(&mine[i]);
  for (size_t i = 0; i < LEFT; i++) os_pages += os_pages_of(&mine[i]);
  if (with_thread) thread_join(thread_start(&nothing, NULL));
  mi_collect(true);
  size_t after = rss_bytes();
  check_note("%zu KiB of OS pages with live blocks, %zu KiB resident\n", os_pages * OS_PAGE / KIB,
             (after - before) / KIB);
  CHECK_LE(after, before + os_pages * OS_PAGE * 66 / 57 + TABLES);
  for (size_t i = 0; i < LEFT; i++) piece_free(&mine[i]);
}
static void a_single_thread_gives_back_its_own(void) { check_alone(false); }
static void so_does_the_first_of_several(void) { check_alone(true); }

/* ---- the blocks of holes are used again ------------------------------------------------ */

static int by_address(const void* a, const void* b) {
  uintptr_t p = (uintptr_t)((const piece_t*)a)->p, q = (uintptr_t)((const piece_t*)b)->p;
  return p < q ? -1 : p > q;
}

#define AGAIN_MAX ((size_t)20000)
static piece_t again[AGAIN_MAX], old[AGAIN_MAX];

/* 64 slices of blocks of one size: most are freed, their memory goes back, all come again. */
static void check_again(size_t size) {
  size_t count = 64 * 64 * KIB / size, kept = 0, same = 0;
  /* At least one block of each page is kept, and less than a fifth of them. */
  size_t stride = size > 8 * KIB ? 8 : 64 * KIB / size < 40 ? 64 * KIB / size : 40;
  uint64_t random = size;
  REQUIRE(count <= AGAIN_MAX);
  for (size_t i = 0; i < count; i++) piece_new(&again[i], size, i);
  qsort(again, count, sizeof *again, &by_address);
  memcpy(old, again, count * sizeof *again);
  for (size_t i = 0; i < count; i += stride) {
    piece_t piece = again[kept];
    again[kept++] = again[i];
    again[i] = piece;
  }
  shuffle(again + kept, count - kept, &random);
  for (size_t i = kept; i < count; i++) piece_free(&again[i]);
  mi_collect(true);
  for (size_t i = kept; i < count; i++) {
    piece_new(&again[i], size, i * 3);
    same += bsearch(&again[i], old, count, sizeof *old, &by_address) != NULL;
  }
  /* Pages with a random order have never-used blocks between the others. */
  CHECK_GE(same, (count - kept) - (count - kept) / (MI_TEST_SECURE >= 2 ? 4 : 8));
  for (size_t i = 0; i < count; i++) piece_check(&again[i]); /* so no two overlap */
  for (size_t i = 0; i < count; i++) piece_free(&again[i]);
}

static void all_blocks_come_again_once(void) {
  static const size_t sizes[] = {256,  272,  512,  528,   640,   1008,  1024,  1280, 2048,
                                 3072, 5120, 8192, 10240, 20480, 40960, 57344, 65536};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) check_again(sizes[i]);
  thread_join(thread_start(&nothing, NULL)); /* several threads from here on */
  for (size_t i = 0; i < COUNT_OF(sizes); i++) check_again(sizes[i]);
}

/* ---- blocks in holes count as free ----------------------------------------------------- */

#define BLOCK ((size_t)1024)
#define SIZE (BLOCK - (MI_TEST_SECURE >= 3 ? 8 : 0)) /* without a canary */
#define COUNT ((size_t)8192)
static piece_t pieces[COUNT];

/* Leaves every 20th block, and makes holes. */
static void make_holes(void) {
  for (size_t i = 0; i < COUNT; i++) piece_new(&pieces[i], SIZE, i);
  for (size_t i = 0; i < COUNT; i++)
    if (i % 20 != 0) piece_free(&pieces[i]);
  mi_collect(true);
}
#define KEPT ((COUNT + 19) / 20)

static void visits_see_live_blocks_only(void) {
  mi_heap_t* main_heap = mi_heap_get_default();
  size_t before = live_blocks(main_heap);
  make_holes();
  CHECK_EQ(live_blocks(main_heap), before + KEPT);
  void* p = mi_malloc(SIZE); /* a page with holes is active now */
  CHECK_EQ(live_blocks(main_heap), before + KEPT + 1);
  mi_free(p);
  CHECK_EQ(live_blocks(main_heap), before + KEPT);
  for (size_t i = 0; i < COUNT; i += 20) {
    CHECK_EQ(mi_usable_size(pieces[i].p) >= SIZE, true);
    piece_free(&pieces[i]);
  }
  CHECK_EQ(live_blocks(main_heap), before);
}

static size_t live_of_size(void) {
  mi_stats_t stats;
  stats.size = sizeof stats;
  stats.version = MI_STAT_VERSION;
  REQUIRE(mi_stats_get(&stats));
  for (size_t bin = 1; bin < MI_BIN_HUGE; bin++)
    if (mi_stats_get_bin_size(bin) >= SIZE) return (size_t)stats.malloc_bins[bin].current;
  return 0;
}
static void statistics_count_live_blocks_only(void) {
  size_t before = live_of_size();
  make_holes();
  CHECK_EQ(live_of_size(), before + KEPT);
  void* p = mi_malloc(SIZE);
  CHECK_EQ(live_of_size(), before + KEPT + 1);
  mi_free(p);
}

static int reported;
static void on_error(int error, void* arg) {
  (void)arg;
  reported = error;
}
static void a_second_free_is_reported(void) {
  make_holes();
  void* p = mi_malloc(SIZE); /* makes the page of the block the active one, with its other holes */
  mi_register_error(&on_error, NULL);
  unsigned char* page = (unsigned char*)((uintptr_t)p & ~(64 * KIB - 1));
  size_t free = 0, found = 0, blocks = MI_TEST_SECURE >= 2 ? 60 : 64; /* then a guard */
  for (size_t i = 0; CHECKED && i < blocks; i++) {
    bool live = page + i * BLOCK == p;
    for (size_t k = 0; k < COUNT; k += 20) live |= pieces[k].p == page + i * BLOCK;
    if (live) continue;
    reported = 0;
    mi_free(page + i * BLOCK);
    free++;
    found += reported == EAGAIN;
  }
  CHECK_EQ(found, free);
}

/* The last frees of a page with holes release it. */
static void the_last_free_releases_the_page(void) {
  thread_join(thread_start(&nothing, NULL));
  make_holes();
  size_t with_holes = rss_bytes();
  for (size_t i = 0; i < COUNT; i += 20) piece_free(&pieces[i]);
  mi_collect(true);
  if (RSS_IS_MEANINGFUL) CHECK_LE(rss_bytes(), with_holes - KEPT * OS_PAGE / 2);
}

static void the_child_of_a_fork_goes_on(void) {
  NOT_ON_WINDOWS("fork");
  make_holes();
  CHECK_NOT_NULL(mi_malloc(SIZE));
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (size_t i = 0; i < COUNT; i++) {
      if (i % 20 != 0) piece_new(&pieces[i], SIZE, i * 5);
    }
    for (size_t i = 0; i < COUNT; i++) piece_free(&pieces[i]);
    mi_collect(true);
    _exit(check_end());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}

/* ---- while other threads work ----------------------------------------------------------- */

#define WORKERS 3
#define WORK_BLOCKS ((size_t)2000)
#define WORK_ROUNDS 8
static int working;
/* Blocks that a thread leaves to the others. Each begins with its size. */
static unsigned char* left[256];

static unsigned char* block_new(size_t size) {
  unsigned char* p = (unsigned char*)mi_malloc(size);
  REQUIRE(p != NULL);
  memcpy(p, &size, sizeof size);
  memset(p + sizeof size, (int)(size % 251), size - sizeof size);
  return p;
}
static void block_free(unsigned char* p) {
  size_t size;
  if (p == NULL) return;
  memcpy(&size, p, sizeof size);
  piece_t rest = {p + sizeof size, size - sizeof size, (unsigned char)(size % 251)};
  piece_check(&rest);
  mi_free(p);
}

/* Allocates, frees most of it in a random order, and leaves the rest in exchange for blocks of
 * others. */
static void* work(void* arg) {
  uint64_t random = (uintptr_t)arg + 11;
  unsigned char** mine = (unsigned char**)mi_malloc(WORK_BLOCKS * sizeof *mine);
  for (int round = 0; round < WORK_ROUNDS; round++) {
    for (size_t i = 0; i < WORK_BLOCKS; i++)
      mine[i] = block_new(500 + (size_t)(next_random(&random) % 4) * 500);
    for (size_t i = 0; i < WORK_BLOCKS; i++) {
      size_t k = (size_t)(next_random(&random) % WORK_BLOCKS);
      unsigned char* p = mine[k];
      mine[k] = NULL;
      if (next_random(&random) % 16 == 0)
        p = __atomic_exchange_n(&left[next_random(&random) % COUNT_OF(left)], p, __ATOMIC_ACQ_REL);
      block_free(p);
    }
    for (size_t i = 0; i < WORK_BLOCKS; i++) block_free(mine[i]);
  }
  mi_free((void*)mine);
  __atomic_fetch_sub(&working, 1, __ATOMIC_RELEASE);
  return NULL;
}

static void work_beside(void (*other)(void)) {
  pthread_t threads[WORKERS];
  mi_option_set(mi_option_purge_delay, 1);
  working = WORKERS;
  for (size_t t = 0; t < WORKERS; t++) threads[t] = thread_start(&work, (void*)(uintptr_t)t);
  while (__atomic_load_n(&working, __ATOMIC_ACQUIRE) > 0) other();
  for (size_t t = 0; t < WORKERS; t++) thread_join(threads[t]);
  for (size_t i = 0; i < COUNT_OF(left); i++) block_free(left[i]);
  mi_collect(true);
}

static void threads_work_while_another_makes_holes(void) { work_beside(&collect); }

/* In the child no page is lost: what it frees is all that the parent's threads had left. */
static void collect_and_fork(void) {
  mi_collect(true);
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    for (size_t i = 0; i < COUNT_OF(left); i++) block_free(left[i]);
    for (size_t i = 0; i < 500; i++) block_free(block_new(500 + i % 4 * 500));
    mi_collect(true);
    _exit(check_end());
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK_EQ(status, 0);
}
static void processes_fork_while_another_thread_makes_holes(void) {
  NOT_ON_WINDOWS("fork");
  work_beside(&collect_and_fork);
}

static const check_case_t cases[] = {
    CASE(collecting_gives_back_all_but_os_pages_with_live_blocks),
    CASE(ticks_of_another_thread_do_it_too),
    CASE(sleeping_threads_hold_no_empty_pages),
    CASE(nor_if_they_used_more_of_each_size),
    CASE(a_single_thread_gives_back_its_own),
    CASE(so_does_the_first_of_several),
    CASE(all_blocks_come_again_once),
    CASE(visits_see_live_blocks_only),
    CASE(statistics_count_live_blocks_only),
    CASE(a_second_free_is_reported),
    CASE(the_last_free_releases_the_page),
    CASE(the_child_of_a_fork_goes_on),
    CASE(threads_work_while_another_makes_holes),
    CASE(processes_fork_while_another_thread_makes_holes),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
