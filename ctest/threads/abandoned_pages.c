/* abandoned_pages.c - pages that threads fill, leave with gaps, or leave when they end: other
 * threads use the gaps, and empty pages are released without their thread. Each case names the
 * planted faults that it must catch.
 */
#include "arena_blocks.h"
#include <mimalloc-stats.h>

/* ---- slices --------------------------------------------------------------------------------- */

/* ---- what a heap keeps ---------------------------------------------------------------------- */

#define LEFT_BLOCKS 6000

#define LEFT_SIZE 1000 /* 64 in a page */

static struct {
  pthread_barrier_t ready, go;
  void* blocks[LEFT_BLOCKS];
} left;

static void* fill_pages_and_park(void* arg) {
  (void)arg;
  for (size_t i = 0; i < LEFT_BLOCKS / 2; i++)
    REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
  pthread_barrier_wait(&left.ready);
  pthread_barrier_wait(&left.go);
  return NULL;
}

/* heap-full-page-kept: a thread abandons full pages, so blocks that others free in them are given
 * back without its help. */
static void full_pages_need_no_help_of_their_thread(void) {
  allow_os();
  mi_free(mi_malloc(LEFT_SIZE));
  int64_t before = stats_now().page_committed.current;
  REQUIRE(pthread_barrier_init(&left.ready, NULL, 2) == 0);
  REQUIRE(pthread_barrier_init(&left.go, NULL, 2) == 0);
  pthread_t thread = thread_start(&fill_pages_and_park, NULL);
  pthread_barrier_wait(&left.ready);
  CHECK_GE(stats_now().page_committed.current, before + LEFT_BLOCKS / 2 * LEFT_SIZE);
  free_all(left.blocks, LEFT_BLOCKS / 2, 0, 1);
  CHECK_LE(stats_now().page_committed.current, before + LEFT_BLOCKS / 2 * LEFT_SIZE / 3);
  pthread_barrier_wait(&left.go);
  thread_join(thread);
}

/* realloc-frees-into-a-foreign-page: the old place of a block that another thread moves is freed.
 */
static void pages_whose_blocks_move_away_are_given_back(void) {
  allow_os();
  mi_free(mi_malloc(2 * LEFT_SIZE));
  int64_t before = stats_now().page_committed.current;
  REQUIRE(pthread_barrier_init(&left.ready, NULL, 2) == 0);
  REQUIRE(pthread_barrier_init(&left.go, NULL, 2) == 0);
  pthread_t thread = thread_start(&fill_pages_and_park, NULL);
  pthread_barrier_wait(&left.ready);
  for (size_t i = 0; i < LEFT_BLOCKS / 2; i++) {
    REQUIRE((left.blocks[i] = mi_realloc(left.blocks[i], 2 * LEFT_SIZE)) != NULL);
    mi_free(left.blocks[i]);
  }
  CHECK_LE(stats_now().page_committed.current, before + LEFT_BLOCKS / 2 * LEFT_SIZE / 3);
  pthread_barrier_wait(&left.go);
  thread_join(thread);
}

#define SHIFTED 500

/* Many of the pointers lie inside of their blocks, at multiples of 16. */
static void* leave_shifted_blocks(void* arg) {
  (void)arg;
  for (size_t i = 0; i < SHIFTED; i++)
    REQUIRE((left.blocks[i] = mi_malloc_aligned_at(LEFT_SIZE, 64, 16)) != NULL);
  return NULL;
}

/* realloc-forgets-interior-pointers: in an abandoned page, too, a block ends where it ends. */
static void shifted_block_of_an_ended_thread_grows_within_its_block(void) {
  allow_os();
  thread_join(thread_start(&leave_shifted_blocks, NULL));
  for (size_t i = 0; i < SHIFTED; i++) {
    size_t size = mi_usable_size(left.blocks[i]) + 1;
    memset(left.blocks[i], (int)(i & 0x7F), size - 1);
    REQUIRE((left.blocks[i] = mi_realloc(left.blocks[i], size)) != NULL);
    CHECK_GE(mi_usable_size(left.blocks[i]), size);
    CHECK(all_bytes_are((char*)left.blocks[i], size - 1, (int)(i & 0x7F)));
  }
  free_all(left.blocks, SHIFTED, 0, 1);
}

static void* leave_pages_with_gaps(void* arg) {
  (void)arg;
  for (size_t i = 0; i < LEFT_BLOCKS; i++) REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
  for (size_t i = 0; i < LEFT_BLOCKS; i++)
    if (i % 4 != 0) mi_free(left.blocks[i]);
  return NULL;
}

/* abandoned-summary-not-restored: all pages of an ended thread are found. */
static void gaps_that_a_thread_left_are_filled(void) {
  allow_os();
  mi_free(mi_malloc(LEFT_SIZE));
  thread_join(thread_start(&leave_pages_with_gaps, NULL));
  int64_t before = stats_now().page_committed.current;
  for (size_t i = 0; i < LEFT_BLOCKS; i++)
    if (i % 4 != 0) REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
  CHECK_LE(stats_now().page_committed.current, before + 512 * 1024);
  free_all(left.blocks, LEFT_BLOCKS, 0, 1);
}

static void* churn_and_park(void* arg) {
  (void)arg;
  rng_t rng = {5};
  for (size_t i = 0; i < LEFT_BLOCKS / 2; i++)
    REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
  for (size_t i = 0; i < 40 * LEFT_BLOCKS; i++) { /* so the thread frees its own blocks */
    void** p = &left.blocks[rng_below(&rng, LEFT_BLOCKS / 2)];
    mi_free(*p);
    REQUIRE((*p = mi_malloc(LEFT_SIZE)) != NULL);
  }
  free_all(left.blocks, LEFT_BLOCKS / 2, 0, 4);
  pthread_barrier_wait(&left.ready);
  pthread_barrier_wait(&left.go);
  return NULL;
}

static bool share_a_page(const void* a, const void* b) {
  return (uintptr_t)a / UNIT == (uintptr_t)b / UNIT;
}

/* heap-old-page-lost: a thread that frees its own blocks keeps its pages: none is for others. */
static void few_pages_stay_with_their_thread_after_many(void) {
  enum { MINE = 1000 };
  static void* mine[MINE];
  allow_os();
  REQUIRE(pthread_barrier_init(&left.ready, NULL, 2) == 0);
  REQUIRE(pthread_barrier_init(&left.go, NULL, 2) == 0);
  pthread_t thread = thread_start(&churn_and_park, NULL);
  pthread_barrier_wait(&left.ready);
  size_t shared = 0;
  for (size_t i = 0; i < MINE; i++) {
    REQUIRE((mine[i] = mi_malloc(LEFT_SIZE)) != NULL);
    for (size_t k = 1; k < LEFT_BLOCKS / 2; k += 2) shared += share_a_page(mine[i], left.blocks[k]);
  }
  CHECK_EQ(shared, 0);
  free_all(mine, MINE, 0, 1);
  pthread_barrier_wait(&left.go);
  thread_join(thread);
}

/* free-page-not-published: no thread owns full pages, and every thread may use the blocks freed
 * there. */
static void gaps_in_full_pages_of_a_parked_thread_are_filled(void) {
  enum { FREED = LEFT_BLOCKS / 2 / 4 * 3 };
  static void* mine[FREED];
  allow_os();
  mi_free(mi_malloc(LEFT_SIZE));
  REQUIRE(pthread_barrier_init(&left.ready, NULL, 2) == 0);
  REQUIRE(pthread_barrier_init(&left.go, NULL, 2) == 0);
  pthread_t thread = thread_start(&fill_pages_and_park, NULL);
  pthread_barrier_wait(&left.ready);
  for (size_t i = 0; i < LEFT_BLOCKS / 2; i++)
    if (i % 4 != 0) mi_free(left.blocks[i]);
  size_t shared = 0;
  for (size_t i = 0; i < FREED; i++) {
    REQUIRE((mine[i] = mi_malloc(LEFT_SIZE)) != NULL);
    for (size_t k = 0; k < LEFT_BLOCKS / 2; k += 4)
      if (share_a_page(mine[i], left.blocks[k])) {
        shared++;
        break;
      }
  }
  CHECK_GE(shared, FREED / 2);
  free_all(mine, FREED, 0, 1);
  free_all(left.blocks, LEFT_BLOCKS / 2, 0, 4);
  pthread_barrier_wait(&left.go);
  thread_join(thread);
}

#define SMALL_BLOCKS 200000

static void* small_blocks[SMALL_BLOCKS];

static void* leave_small_blocks_with_gaps(void* arg) {
  (void)arg;
  for (size_t i = 0; i < SMALL_BLOCKS; i++) REQUIRE((small_blocks[i] = mi_malloc(16)) != NULL);
  for (size_t i = 0; i < SMALL_BLOCKS; i++)
    if (i % 4 != 0) mi_free(small_blocks[i]);
  return NULL;
}

/* abandoned-class-not-looked-at-again: a published page was emptied, became a page of another
 * class, and was abandoned again. No thread claims it for its old class. */
static void pages_that_changed_their_class_are_not_mistaken(void) {
  static void* mine[LEFT_BLOCKS];
  size_t same_place = 0;
  allow_os();
  thread_join(thread_start(&leave_pages_with_gaps, NULL));
  for (size_t i = 0; i < LEFT_BLOCKS; i += 4) mi_free(left.blocks[i]);
  thread_join(thread_start(&leave_small_blocks_with_gaps, NULL));
  for (size_t i = 0; i < SMALL_BLOCKS; i += 4 * UNIT / 16)
    for (size_t k = 0; k < LEFT_BLOCKS; k += 4)
      if (share_a_page(small_blocks[i], left.blocks[k])) {
        same_place++;
        break;
      }
  CHECK_GE(same_place, 5); /* else there is nothing to mistake */
  for (size_t i = 0; i < LEFT_BLOCKS; i++) {
    REQUIRE((mine[i] = mi_malloc(LEFT_SIZE)) != NULL);
    if (!CHECK_GE(mi_usable_size(mine[i]), LEFT_SIZE)) return;
  }
  free_all(mine, LEFT_BLOCKS, 0, 1);
  free_all(small_blocks, SMALL_BLOCKS, 0, 4);
}

#define OTHER_BLOCKS 1000

static void* other_blocks[OTHER_BLOCKS];

static void* keep_as_much_as_possible(void* arg) {
  (void)leave_pages_with_gaps(arg);
  /* The thread has as many pages as it may keep. Now it fills pages of another size. */
  for (size_t i = 0; i < OTHER_BLOCKS; i++) REQUIRE((other_blocks[i] = mi_malloc(2000)) != NULL);
  return NULL;
}

/* heap-old-page-lost: other threads find all pages of an ended thread, also those that it could not
 * keep. */
static void ended_threads_pages_are_all_released(void) {
  allow_os();
  mi_free(mi_malloc(LEFT_SIZE));
  int64_t before = stats_now().page_committed.current;
  thread_join(thread_start(&keep_as_much_as_possible, NULL));
  CHECK_GE(stats_now().page_committed.current, before + LEFT_BLOCKS * LEFT_SIZE);
  for (size_t i = 0; i < LEFT_BLOCKS; i += 4) mi_free(left.blocks[i]);
  free_all(other_blocks, OTHER_BLOCKS, 0, 1);
  mi_collect(true);
  CHECK_LE(stats_now().page_committed.current, before + 512 * 1024);
}

/* ---- fork ----------------------------------------------------------------------------------- */

#define PARKED 4

#define PARKED_BLOCKS 2000

#define PARKED_SIZE 4000

static struct {
  pthread_barrier_t ready, go;
  void* blocks[PARKED][PARKED_BLOCKS];
} parked;

static void* leave_gaps_and_park(void* arg) {
  void** blocks = (void**)arg;
  for (size_t i = 0; i < PARKED_BLOCKS; i++) {
    REQUIRE((blocks[i] = mi_malloc(PARKED_SIZE)) != NULL);
    memset(blocks[i], 1, PARKED_SIZE);
  }
  free_all(blocks, PARKED_BLOCKS, 0, 2);
  pthread_barrier_wait(&parked.ready);
  pthread_barrier_wait(&parked.go);
  return NULL;
}

/* heap-adopted-class-not-marked: a thread that only frees reclaims a page of the former thread of
 * its heap struct, and abandons it at its end like a page that it allocated from. */
enum { ADOPTED_SIZE = 528, ADOPTED_BLOCKS = 20 * 65536 / ADOPTED_SIZE };

static void* adopted[ADOPTED_BLOCKS];

static void* fill_for_others(void* arg) {
  for (size_t i = 0; i < ADOPTED_BLOCKS; i++)
    REQUIRE((adopted[i] = mi_malloc(ADOPTED_SIZE)) != NULL);
  return arg;
}

static void* free_half_of_them(void* arg) {
  mi_free(mi_malloc(2000)); /* the thread has its heap struct, and no page of that class */
  for (size_t i = 0; i < ADOPTED_BLOCKS; i += 2) mi_free(adopted[i]);
  return arg;
}

static void pages_that_a_thread_only_reclaimed_are_abandoned(void) {
  allow_os();
  int64_t before = stats_now().page_committed.current;
  for (int round = 0; round < 4; round++) {
    thread_join(thread_start(&fill_for_others, NULL));
    thread_join(thread_start(&free_half_of_them, NULL));
    for (size_t i = 1; i < ADOPTED_BLOCKS; i += 2) mi_free(adopted[i]);
  }
  CHECK_LE(stats_now().page_committed.current, before + 5 * 65536);
}

/* heap-recount-takes-all-for-used, thread-child-counts-parents-threads: the child counts the memory
 * of other threads of its parent, and can give it back. */
static void child_counts_memory_that_other_threads_left(void) {
#if !defined(__GLIBC__)
  check_note(
      "skipped: musl's pthread_atfork calls malloc, for which this program allows no memory\n");
  return;
#endif
  allow_os();
  mi_free(mi_malloc(100));
  REQUIRE(pthread_barrier_init(&parked.ready, NULL, PARKED + 1) == 0);
  REQUIRE(pthread_barrier_init(&parked.go, NULL, PARKED + 1) == 0);
  mi_stats_t before = stats_now();
  pthread_t threads[PARKED];
  for (size_t i = 0; i < PARKED; i++)
    threads[i] = thread_start(&leave_gaps_and_park, parked.blocks[i]);
  pthread_barrier_wait(&parked.ready);
  CHECK_EQ(stats_now().threads.current, before.threads.current + PARKED);
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    mi_stats_t in_child = stats_now();
    CHECK_EQ(in_child.threads.current, 1);
    for (size_t i = 0; i < PARKED; i++) free_all(parked.blocks[i], PARKED_BLOCKS, 1, 2);
    mi_collect(true);
    /* Beside it there is only what the C library needs for threads. */
    CHECK_LE(stats_now().malloc_normal.current, before.malloc_normal.current + 64 * 1024);
    CHECK_LE(stats_now().page_committed.current, before.page_committed.current + 2 * 1024 * 1024);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
  pthread_barrier_wait(&parked.go);
  for (size_t i = 0; i < PARKED; i++) thread_join(threads[i]);
  for (size_t i = 0; i < PARKED; i++) free_all(parked.blocks[i], PARKED_BLOCKS, 1, 2);
}

static const check_case_t cases[] = {
    CASE(full_pages_need_no_help_of_their_thread),
    CASE(pages_whose_blocks_move_away_are_given_back),
    CASE(shifted_block_of_an_ended_thread_grows_within_its_block),
    CASE(gaps_that_a_thread_left_are_filled),
    CASE(few_pages_stay_with_their_thread_after_many),
    CASE(gaps_in_full_pages_of_a_parked_thread_are_filled),
    CASE(pages_that_changed_their_class_are_not_mistaken),
    CASE(ended_threads_pages_are_all_released),
    CASE(pages_that_a_thread_only_reclaimed_are_abandoned),
    CASE(child_counts_memory_that_other_threads_left),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), cases, 0);
}
