/* stats_figures.c - the figures that the library tells of itself, as a struct: exact for live
 * blocks, whichever thread frees them, and for heaps.
 *
 * Under MI_TEST_OVERRIDE the C library allocates from us as well, so figures are compared with
 * earlier ones, and a first thread is started before those are taken.
 */
#include "probe.h"
#include "live_blocks.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

/* ---- the struct ---- */

/* The layout of 2.4.1: 13 counts and 20 counters, and what is reserved, in 64-bit numbers. */
_Static_assert(sizeof(mi_stat_count_t) == 24 && sizeof(mi_stat_counter_t) == 8, "plain numbers");

_Static_assert(offsetof(mi_stats_t, pages) == 2 * sizeof(size_t), "after size and version");

_Static_assert(offsetof(mi_stats_t, segments) - offsetof(mi_stats_t, pages) == 9 * 24 + 16 * 8,
               "up to the segments");

_Static_assert(offsetof(mi_stats_t, malloc_bins) - offsetof(mi_stats_t, pages) ==
                   (13 + 4) * 24 + (20 + 4) * 8,
               "fields and reserve");

_Static_assert(sizeof(mi_stats_t) ==
                   offsetof(mi_stats_t, malloc_bins) + sizeof(mi_stat_count_t) * 2 * 74,
               "two times 74 bins");

_Static_assert(MI_HAS_STATS == 1 && MI_STAT_VERSION == 4 && MI_BIN_HUGE == 73, "of 2.4.1");

#define MI_STAT_COUNT(name) #name,

#define MI_STAT_COUNTER(name) #name,

static const char* const field_names[] = {MI_STAT_FIELDS()};

#undef MI_STAT_COUNT

#undef MI_STAT_COUNTER

static void declared_struct_is_empty_and_has_size_and_version(void) {
  mi_stats_t_decl(stats);
  CHECK_EQ(stats.size, sizeof(mi_stats_t));
  CHECK_EQ(stats.version, MI_STAT_VERSION);
  CHECK(all_bytes_are(&stats.pages, sizeof stats - offsetof(mi_stats_t, pages), 0));
  memset(&stats, 0x11, sizeof stats);
  mi_stats_header_init(&stats);
  CHECK_EQ(stats.size, sizeof(mi_stats_t));
  CHECK_EQ(stats.version, MI_STAT_VERSION);
  CHECK_EQ(stats.pages.total, 0x1111111111111111);
  CHECK_EQ(COUNT_OF(field_names), 33);
  CHECK_TEXT(field_names[0], "pages");
  CHECK_TEXT(field_names[3], "reset");
  CHECK_TEXT(field_names[25], "segments");
  CHECK_TEXT(field_names[32], "pages_unabandon_busy_wait");
}

/* A program that was compiled with another struct gets an error, and nothing is written. */
static void struct_of_another_size_or_version_is_refused(void) {
  mi_heap_t* heap = mi_heap_get_default();
  CHECK(!mi_stats_get(NULL));
  CHECK(!mi_heap_stats_get(heap, NULL));
  CHECK_NULL(mi_stats_as_json(NULL, 0, NULL));
  for (int i = 0; i < 4; i++) {
    mi_stats_t stats;
    memset(&stats, 0x22, sizeof stats);
    stats.size = sizeof stats + (i == 0 ? 8 : i == 1 ? (size_t)0 - 8 : 0);
    stats.version = MI_STAT_VERSION + (i == 2 ? 1 : i == 3 ? (size_t)0 - 1 : 0);
    CHECK(!mi_stats_get(&stats));
    CHECK(!mi_heap_stats_get(heap, &stats));
    CHECK_NULL(mi_stats_as_json(&stats, 0, NULL));
    CHECK(all_bytes_are(&stats.pages, sizeof stats - offsetof(mi_stats_t, pages), 0x22));
  }
}

static void bins_are_four_per_doubling(void) {
  static const size_t first[] = {8, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320};
  for (size_t bin = 0; bin < COUNT_OF(first); bin++)
    CHECK_EQ(mi_stats_get_bin_size(bin), first[bin]);
  for (size_t bin = 5; bin + 4 < MI_BIN_HUGE; bin++)
    CHECK_EQ(mi_stats_get_bin_size(bin + 4), 2 * mi_stats_get_bin_size(bin));
  CHECK_GE(mi_stats_get_bin_size(MI_BIN_HUGE), mi_stats_get_bin_size(MI_BIN_HUGE - 1));
  CHECK_EQ(mi_stats_get_bin_size(MI_BIN_HUGE + 1), 0);
  CHECK_EQ(mi_stats_get_bin_size(SIZE_MAX), 0);
}

/* ---- live blocks ---- */

/* `each` more blocks of each kind are live than in `before`: per bin, and in bytes. */
static void check_live(const mi_stats_t* before, const blocks_t* b, size_t each) {
  mi_stats_t now = stats_now();
  size_t expected[MI_BIN_HUGE + 1] = {0}, small = 0, large = 0;
  for (size_t k = 0; k < b->kinds; k++) {
    expected[b->bin[k]] += each;
    *(b->bin[k] == MI_BIN_HUGE ? &large : &small) += each * b->size[k];
  }
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    long long more = now.malloc_bins[bin].current - before->malloc_bins[bin].current;
    if (more != (long long)expected[bin])
      check_fail("bin %zu (%zu bytes) has %lld blocks more than before, not %zu\n", bin,
                 mi_stats_get_bin_size(bin), more, expected[bin]);
  }
  CHECK_EQ(now.malloc_normal.current - before->malloc_normal.current, small);
  CHECK_EQ(now.malloc_huge.current - before->malloc_huge.current, large);
  CHECK_EQ(now.malloc_requested.current, now.malloc_normal.current + now.malloc_huge.current);
}

static pthread_barrier_t step;

static bool owner_tells; /* the owner puts its lists back before the statistics are requested */

static void* owner_run(void* arg) {
  blocks_t* b = (blocks_t*)arg;
  blocks_allocate(b);
  if (owner_tells) {
    mi_stats_merge();
    pthread_barrier_wait(&step); /* allocated */
    pthread_barrier_wait(&step); /* freed */
    mi_stats_merge();
    pthread_barrier_wait(&step); /* owner has merged */
    pthread_barrier_wait(&step); /* statistics taken */
  }
  return NULL;
}

static void* freer_run(void* arg) {
  blocks_free_part((blocks_t*)arg, 3, BLOCKS_PER_KIND);
  return NULL;
}

static blocks_t blocks;

/* The first round makes the allocations that thread starts keep; the second round counts. */
#define ROUNDS 2

/* Blocks of ended threads, freed by another thread. */
static void live_bytes_of_ended_threads_return_to_zero(void) {
  blocks_plan(&blocks);
  for (int round = 0; round < ROUNDS; round++) {
    mi_stats_t before = stats_now();
    thread_join(thread_start(&owner_run, &blocks));
    if (round > 0) check_live(&before, &blocks, BLOCKS_PER_KIND);
    blocks_free_part(&blocks, 0, 3);
    if (round > 0) check_live(&before, &blocks, BLOCKS_PER_KIND - 3);
    blocks_free_part(&blocks, 3, BLOCKS_PER_KIND);
    if (round > 0) check_live(&before, &blocks, 0);
  }
}

static void blocks_of_ended_threads_stay_counted(void) {
  blocks_plan(&blocks);
  int64_t count = (int64_t)(blocks.kinds * BLOCKS_PER_KIND);
  for (int round = 0; round < ROUNDS; round++) {
    mi_stats_t before = stats_now();
    thread_join(thread_start(&owner_run, &blocks));
    blocks_free(&blocks);
    mi_stats_t now = stats_now();
    int64_t more = now.malloc_normal_count.total + now.malloc_huge_count.total -
                   before.malloc_normal_count.total - before.malloc_huge_count.total;
    CHECK_GE(more, count);
    CHECK_LE(more, count + 100); /* the C library allocates some more */
  }
}

/* Freed by others while their thread goes on and allocates nothing. */
static void live_bytes_freed_by_other_threads_return_to_zero(void) {
  blocks_plan(&blocks);
  owner_tells = true;
  pthread_barrier_init(&step, NULL, 2);
  for (int round = 0; round < ROUNDS; round++) {
    mi_stats_t before = stats_now();
    pthread_t owner = thread_start(&owner_run, &blocks);
    pthread_barrier_wait(&step);
    if (round > 0) check_live(&before, &blocks, BLOCKS_PER_KIND);
    blocks_free_part(&blocks, 0, 3);
    if (round > 0) check_live(&before, &blocks, BLOCKS_PER_KIND - 3); /* still queued there */
    thread_join(thread_start(&freer_run, &blocks));
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    if (round > 0) check_live(&before, &blocks, 0);
    pthread_barrier_wait(&step);
    thread_join(owner);
  }
}

/* The destructor of a key that was created after the library's runs after the end of the thread's
 * heap: it allocates from the fallback heap. */
static pthread_key_t late_key;

static bool late_allocates;

static void late_run(void* arg) {
  blocks_t* b = (blocks_t*)arg;
  if (late_allocates)
    blocks_allocate(b);
  else
    blocks_free(b);
}

static void* late_thread(void* arg) {
  mi_free(mi_malloc(opaque_size(100)));
  REQUIRE(pthread_setspecific(late_key, arg) == 0);
  return NULL;
}

/* Freed by threads that have no heap any more. */
static void live_bytes_of_threads_without_a_heap_return_to_zero(void) {
  blocks_plan(&blocks);
  mi_process_init();
  REQUIRE(pthread_key_create(&late_key, &late_run) == 0);
  for (int round = 0; round < ROUNDS; round++) {
    mi_stats_t before = stats_now();
    late_allocates = true;
    thread_join(thread_start(&late_thread, &blocks));
    if (round > 0) check_live(&before, &blocks, BLOCKS_PER_KIND);
    late_allocates = false;
    thread_join(thread_start(&late_thread, &blocks));
    if (round > 0) check_live(&before, &blocks, 0);
  }
}

static void own_live_bytes_are_exact_at_any_time(void) {
  blocks_plan(&blocks);
  mi_stats_t before = stats_now();
  blocks_allocate(&blocks);
  check_live(&before, &blocks, BLOCKS_PER_KIND);
  static blocks_t more;
  blocks_plan(&more);
  blocks_allocate(&more);
  check_live(&before, &blocks, 2 * BLOCKS_PER_KIND);
  blocks_free(&more);
  check_live(&before, &blocks, BLOCKS_PER_KIND);
  blocks_free(&blocks);
  check_live(&before, &blocks, 0);
  mi_stats_t now = stats_now();
  size_t count = 2 * blocks.kinds * BLOCKS_PER_KIND;
  CHECK_EQ(now.malloc_normal_count.total + now.malloc_huge_count.total -
               before.malloc_normal_count.total - before.malloc_huge_count.total,
           count);
  CHECK_GE(now.malloc_normal.peak, before.malloc_normal.current + 2 * 64 * (long long)KIB);
  CHECK_GE(now.pages_retire.total, before.pages_retire.total + 1);
}

/* ---- abandoned pages, and threads ---- */

static void pages_of_ended_threads_are_abandoned_until_they_are_empty(void) {
  blocks_plan(&blocks);
  thread_join(thread_start(&owner_run, &blocks));
  blocks_free(&blocks);
  mi_stats_t before = stats_now();
  thread_join(thread_start(&owner_run, &blocks));
  mi_stats_t left = stats_now();
  CHECK_GE(left.pages_abandoned.current, before.pages_abandoned.current + 100);
  CHECK_EQ(left.threads.total, before.threads.total + 1);
  CHECK_EQ(left.threads.current, before.threads.current);
  blocks_free(&blocks);
  mi_stats_t after = stats_now();
  CHECK_EQ(after.pages_abandoned.current, before.pages_abandoned.current);
  CHECK_EQ(after.pages_abandoned.peak, left.pages_abandoned.current);
}

/* ---- reset ---- */

static void reset_starts_totals_and_peaks_anew(void) {
  blocks_plan(&blocks);
  blocks_allocate(&blocks);
  static blocks_t kept;
  blocks_plan(&kept);
  blocks_allocate(&kept);
  CHECK_GE(stats_now().malloc_normal.peak, 1);
  blocks_free(&blocks);
  mi_stats_reset();
  mi_stats_t s = stats_now();
  CHECK_EQ(s.malloc_normal.total, 0);
  CHECK_EQ(s.malloc_huge.total, 0);
  CHECK_EQ(s.malloc_normal_count.total, 0);
  CHECK_EQ(s.malloc_huge_count.total, 0);
  CHECK_EQ(s.arena_count.total, 0);
  CHECK_EQ(s.threads.total, 0);
  CHECK_EQ(s.pages.total, 0);
  CHECK_GE(s.malloc_normal.current, 10 * 64 * KIB);
  CHECK_EQ(s.malloc_normal.peak, s.malloc_normal.current);
  CHECK_EQ(s.malloc_huge.peak, s.malloc_huge.current);
  CHECK_EQ(s.committed.peak, s.committed.current);
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    CHECK_EQ(s.malloc_bins[bin].total, 0);
    CHECK_EQ(s.malloc_bins[bin].peak, s.malloc_bins[bin].current);
    CHECK_EQ(s.page_bins[bin].total, 0);
  }
  for (int i = 0; i < 3; i++) mi_free(mi_malloc(opaque_size(1000)));
  mi_free(mi_malloc(opaque_size(MIB)));
  s = stats_now();
  CHECK_EQ(s.malloc_normal_count.total, 3);
  CHECK_EQ(s.malloc_normal.total, 3 * mi_good_size(1000));
  CHECK_EQ(s.malloc_bins[bin_of(mi_good_size(1000))].total, 3);
  CHECK_EQ(s.malloc_huge_count.total, 1);
  CHECK_EQ(s.malloc_huge.total, MIB);
  blocks_free(&kept);
}

/* ---- heaps ---- */

static mi_stats_t heap_stats(mi_heap_t* heap) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_heap_stats_get(heap, &stats));
  return stats;
}

static void figures_of_a_heap_are_of_its_blocks(void) {
  enum { SMALL = 500, LARGE = 3 };
  mi_heap_t* heap = mi_heap_new();
  mi_heap_t* other = mi_heap_new();
  REQUIRE(heap != NULL && other != NULL);
  void* small[SMALL];
  for (size_t i = 0; i < SMALL; i++) {
    small[i] = mi_heap_malloc(heap, 200);
    mi_free(mi_heap_malloc(other, 200));
  }
  for (size_t i = 0; i < LARGE; i++) REQUIRE(mi_heap_malloc(heap, MIB) != NULL);
  size_t bin = bin_of(mi_good_size(200));
  mi_stats_t s = heap_stats(heap);
  CHECK_EQ(s.malloc_bins[bin].current, SMALL);
  CHECK_EQ(s.malloc_bins[bin].total, SMALL);
  CHECK_EQ(s.malloc_normal.current, SMALL * mi_good_size(200));
  CHECK_EQ(s.malloc_normal_count.total, SMALL);
  CHECK_EQ(s.malloc_huge.current, LARGE * MIB);
  CHECK_EQ(s.malloc_huge_count.total, LARGE);
  CHECK_EQ(s.malloc_bins[MI_BIN_HUGE].current, LARGE);
  CHECK_GE(s.page_committed.current, LARGE * MIB + 64 * KIB);
  CHECK_EQ(s.committed.current, 0);
  for (size_t i = 0; i < SMALL / 2; i++) mi_free(small[i]);
  s = heap_stats(heap);
  CHECK_EQ(s.malloc_bins[bin].current, SMALL / 2);
  CHECK_EQ(s.malloc_bins[bin].total, SMALL);
  s = heap_stats(other);
  CHECK_EQ(s.malloc_normal.current, 0);
  CHECK_EQ(s.malloc_normal_count.total, SMALL);
  mi_heap_delete(other);
  /* The live blocks of a deleted heap join the thread's backing heap. */
  mi_stats_t before = heap_stats(mi_heap_get_backing());
  mi_heap_delete(heap);
  s = heap_stats(mi_heap_get_backing());
  CHECK_EQ(s.malloc_bins[bin].current - before.malloc_bins[bin].current, SMALL / 2);
  CHECK_EQ(s.malloc_huge.current - before.malloc_huge.current, LARGE * MIB);
  CHECK_EQ(s.malloc_bins[bin].total, before.malloc_bins[bin].total);
  for (size_t i = SMALL / 2; i < SMALL; i++) mi_free(small[i]);
  /* The first thread is this one. */
  s = heap_stats(NULL);
  before = heap_stats(mi_heap_get_backing());
  CHECK_EQ(s.malloc_bins[bin].total, before.malloc_bins[bin].total);
  CHECK_EQ(s.malloc_bins[bin].current, before.malloc_bins[bin].current);
}

static void blocks_of_a_destroyed_heap_are_gone(void) {
  mi_free(mi_heap_malloc(mi_heap_get_backing(), 300));
  mi_stats_t before = stats_now();
  mi_heap_t* heap = mi_heap_new();
  for (size_t i = 0; i < 1000; i++) REQUIRE(mi_heap_malloc(heap, 300) != NULL);
  REQUIRE(mi_heap_malloc(heap, MIB) != NULL);
  mi_stats_t s = stats_now();
  CHECK_EQ(s.malloc_normal.current - before.malloc_normal.current, 1000 * mi_good_size(300));
  CHECK_EQ(s.malloc_huge.current - before.malloc_huge.current, MIB);
  mi_heap_destroy(heap);
  s = stats_now();
  CHECK_EQ(s.malloc_normal.current, before.malloc_normal.current);
  CHECK_EQ(s.malloc_huge.current, before.malloc_huge.current);
}

static const check_case_t cases[] = {
    CASE(declared_struct_is_empty_and_has_size_and_version),
    CASE(struct_of_another_size_or_version_is_refused),
    CASE(bins_are_four_per_doubling),
    CASE(own_live_bytes_are_exact_at_any_time),
    CASE(blocks_of_ended_threads_stay_counted),
    CASE(live_bytes_of_ended_threads_return_to_zero),
    CASE(live_bytes_freed_by_other_threads_return_to_zero),
    CASE(live_bytes_of_threads_without_a_heap_return_to_zero),
    CASE(pages_of_ended_threads_are_abandoned_until_they_are_empty),
    CASE(reset_starts_totals_and_peaks_anew),
    CASE(figures_of_a_heap_are_of_its_blocks),
    CASE(blocks_of_a_destroyed_heap_are_gone),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
