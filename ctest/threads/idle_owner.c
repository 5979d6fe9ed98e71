/* idle_owner.c - a thread fills 300 MiB and sleeps. The blocks that other threads free there can be
 * used by them at once, and the memory goes back to the system after the purge delay, while the
 * owner sleeps.
 */
#include "chain.h"

#define FILL_BYTES (300 * MIB)
#define AGAIN_BYTES (270 * MIB)
#define HELPERS 3

static const size_t sizes[] = {64, 512, 4096, 100000};
#define SIZES COUNT_OF(sizes)

static chain_t filled[SIZES];
static pthread_mutex_t asleep = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static bool is_full;
static bool may_end;

static void chain_fill(chain_t* chain, size_t size, size_t bytes) {
  while (chain->count * size < bytes) {
    void* p = mi_malloc(size);
    REQUIRE(p != NULL);
    memset(p, 1, size);
    chain_add(chain, p);
  }
}

static void* sleeper_run(void* arg) {
  (void)arg;
  for (size_t i = 0; i < SIZES; i++) chain_fill(&filled[i], sizes[i], FILL_BYTES / SIZES);
  pthread_mutex_lock(&asleep);
  is_full = true;
  pthread_cond_broadcast(&wake);
  while (!may_end) pthread_cond_wait(&wake, &asleep);
  pthread_mutex_unlock(&asleep);
  return NULL;
}

static pthread_t sleeper_start(void) {
  pthread_t sleeper = thread_start(&sleeper_run, NULL);
  pthread_mutex_lock(&asleep);
  while (!is_full) pthread_cond_wait(&wake, &asleep);
  pthread_mutex_unlock(&asleep);
  return sleeper;
}

static void sleeper_end(pthread_t sleeper) {
  pthread_mutex_lock(&asleep);
  may_end = true;
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&asleep);
  thread_join(sleeper);
}

static void* free_every_second(void* arg) {
  size_t first = (size_t)(uintptr_t)arg;
  for (size_t i = first; i < SIZES; i += 2) chain_free(&filled[i]);
  return NULL;
}

static void others_free_all(void) {
  pthread_t a = thread_start(&free_every_second, (void*)0);
  pthread_t b = thread_start(&free_every_second, (void*)1);
  thread_join(a);
  thread_join(b);
}

static pthread_barrier_t all_done;

static void* allocate_share(void* arg) {
  (void)arg;
  chain_t mine[SIZES];
  memset(mine, 0, sizeof mine);
  for (size_t i = 0; i < SIZES; i++) chain_fill(&mine[i], sizes[i], AGAIN_BYTES / HELPERS / SIZES);
  pthread_barrier_wait(&all_done); /* no thread frees before all have allocated */
  for (size_t i = 0; i < SIZES; i++) chain_free(&mine[i]);
  return NULL;
}

static void nine_tenths_can_be_used_by_others_at_once(void) {
  /* The test measures reuse, not memory that was purged and allocated anew. */
  mi_option_set(mi_option_purge_delay, -1);
  size_t before = rss_bytes();
  pthread_t sleeper = sleeper_start();
  size_t full = rss_bytes();
  rss_peak_reset();
  others_free_all();
  pthread_barrier_init(&all_done, NULL, HELPERS);
  pthread_t helpers[HELPERS];
  for (size_t i = 0; i < HELPERS; i++) helpers[i] = thread_start(&allocate_share, NULL);
  for (size_t i = 0; i < HELPERS; i++) thread_join(helpers[i]);
  size_t peak = rss_peak_bytes();
  check_note("resident: before %zu, full %zu, peak after others allocated %zu MiB again: %zu MiB\n",
             before / MIB, full / MIB, AGAIN_BYTES / MIB, peak / MIB);
  CHECK_GE(full, before + FILL_BYTES * 95 / 100);
  CHECK_LE(peak, full + FILL_BYTES * 15 / 100);
  sleeper_end(sleeper);
}

static void nine_tenths_are_given_back_after_the_purge_delay(void) {
  size_t before = rss_bytes();
  pthread_t sleeper = sleeper_start();
  size_t full = rss_bytes();
  others_free_all();
  size_t freed = rss_bytes();
  sleep_ms(1500); /* the default delay is 10 ms, times 10 for arenas */
  rng_t rng = {3};
  for (int i = 0; i < 40000; i++) { /* a call purges a few MiB */
    if (i % 400 == 0) sleep_ms(4);
    void* p = mi_malloc(rng_size(&rng, 2000));
    REQUIRE(p != NULL);
    mi_free(p);
  }
  size_t after = rss_bytes();
  check_note("resident: before %zu, full %zu, freed %zu, after the delay %zu MiB\n", before / MIB,
             full / MIB, freed / MIB, after / MIB);
  CHECK_GE(full, before + FILL_BYTES * 95 / 100);
  CHECK_LE(after, before + (full - before) / 10);
  sleeper_end(sleeper);
}

/* The same without any thread but the one that frees: mi_collect(true) reaches it all. */
static void forced_collect_by_another_thread_gives_it_back(void) {
  size_t before = rss_bytes();
  pthread_t sleeper = sleeper_start();
  size_t full = rss_bytes();
  for (size_t i = 0; i < SIZES; i++) chain_free(&filled[i]);
  mi_collect(true);
  size_t after = rss_bytes();
  check_note("resident: before %zu, full %zu, after collect %zu MiB\n", before / MIB, full / MIB,
             after / MIB);
  CHECK_LE(after, before + (full - before) / 10);
  sleeper_end(sleeper);
}

/* Activity must not postpone the purge for ever. */
static void purge_happens_while_another_thread_is_busy(void) {
  size_t before = rss_bytes();
  pthread_t sleeper = sleeper_start();
  size_t full = rss_bytes();
  others_free_all();
  rng_t rng = {9};
  double end = now_seconds() + 1.5;
  while (now_seconds() < end) {
    for (int i = 0; i < 1000; i++) {
      void* p = mi_malloc(rng_size(&rng, 200000));
      REQUIRE(p != NULL);
      mi_free(p);
    }
  }
  size_t after = rss_bytes();
  check_note("resident: before %zu, full %zu, after 1.5 s of work %zu MiB\n", before / MIB,
             full / MIB, after / MIB);
  CHECK_LE(after, before + (full - before) / 10 + 4 * MIB);
  sleeper_end(sleeper);
}

/* Blocks of one size only, and nothing freed: the purge must not depend on which entries into
 * the slow path happen to come first, so each start is shifted by blocks of other sizes. */
static void check_purge_by_allocating(size_t shift) {
  size_t before = rss_bytes();
  pthread_t sleeper = sleeper_start();
  size_t full = rss_bytes();
  others_free_all();
  sleep_ms(500);
  for (size_t i = 0; i < shift; i++) REQUIRE(mi_malloc(1000 + 500 * i) != NULL);
  enum { BLOCKS = 300000 };
  for (size_t i = 0; i < BLOCKS; i++) {
    if (i % 3000 == 0) sleep_ms(4); /* a call purges a few MiB */
    char* p = (char*)mi_malloc(48); /* kept: the process ends soon */
    REQUIRE(p != NULL);
    *p = 1;
  }
  size_t after = rss_bytes();
  check_note("shift %zu: resident before %zu, full %zu, after allocating %zu MiB\n", shift,
             before / MIB, full / MIB, after / MIB);
  CHECK_LE(after, before + (full - before) / 10 + BLOCKS * 48);
  sleeper_end(sleeper);
}

static void purge_is_done_by_a_thread_that_only_allocates(void) { check_purge_by_allocating(0); }
static void purge_is_done_by_a_thread_that_only_allocates_shifted_by_1(void) {
  check_purge_by_allocating(1);
}
static void purge_is_done_by_a_thread_that_only_allocates_shifted_by_2(void) {
  check_purge_by_allocating(2);
}
static void purge_is_done_by_a_thread_that_only_allocates_shifted_by_3(void) {
  check_purge_by_allocating(3);
}

static const check_case_t cases[] = {
    CASE(purge_is_done_by_a_thread_that_only_allocates),
    CASE(purge_is_done_by_a_thread_that_only_allocates_shifted_by_1),
    CASE(purge_is_done_by_a_thread_that_only_allocates_shifted_by_2),
    CASE(purge_is_done_by_a_thread_that_only_allocates_shifted_by_3),
    CASE(nine_tenths_can_be_used_by_others_at_once),
    CASE(nine_tenths_are_given_back_after_the_purge_delay),
    CASE(forced_collect_by_another_thread_gives_it_back),
    CASE(purge_happens_while_another_thread_is_busy),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
