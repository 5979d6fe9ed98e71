/* stats.c - what the library tells about itself: as a struct, as JSON, as text (D10.84, D11.86 to
 * D11.88), and what happens when the process ends (D3.21, D3.23).
 *
 * Under MI_TEST_OVERRIDE the C library allocates from us as well, so figures are compared with
 * those before, and what a first thread start leaves behind is made before that.
 */
#include "probe.h"
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
_Static_assert(offsetof(mi_stats_t, pages) == 2 * sizeof(size_t), "behind size and version");
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

static void declared_struct_is_empty_and_says_what_it_is(void) {
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

/* A program that was compiled with another struct is refused, and nothing is written. */
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

/* All the sizes of small blocks, and two large ones; several blocks of each. */
#define KINDS_MAX 200
#define BLOCKS_PER_KIND 10
#define LARGE_KINDS 2

typedef struct blocks_s {
  size_t kinds;
  size_t size[KINDS_MAX]; /* usable */
  size_t bin[KINDS_MAX];
  void* block[KINDS_MAX][BLOCKS_PER_KIND];
} blocks_t;

static size_t bin_of(size_t usable) {
  size_t bin = 1;
  if (usable > 64 * KIB) return MI_BIN_HUGE;
  while (mi_stats_get_bin_size(bin) < usable) bin++;
  return bin;
}

/* No block is made here: sizes, and the bin that each is to be counted in. */
static void blocks_plan(blocks_t* b) {
  b->kinds = 0;
  for (size_t size = 8; size <= 128; size += 16) b->size[b->kinds++] = size; /* align8 only */
  for (size_t size = 1; size <= 64 * KIB; size = b->size[b->kinds - 1] + 1)
    b->size[b->kinds++] = mi_good_size(size);
  b->size[b->kinds++] = mi_good_size(100000);
  b->size[b->kinds++] = mi_good_size(3 * MIB);
  REQUIRE(b->kinds > 100 && b->kinds <= KINDS_MAX);
  for (size_t k = 0; k < b->kinds; k++) b->bin[k] = bin_of(b->size[k]);
}

static void blocks_allocate(blocks_t* b) {
  for (size_t k = 0; k < b->kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++) {
      bool by8 = b->size[k] % 16 != 0;
      b->block[k][i] = by8 ? mi_malloc_align8(b->size[k]) : mi_malloc(b->size[k]);
      REQUIRE(b->block[k][i] != NULL && mi_usable_size(b->block[k][i]) == b->size[k]);
    }
}

/* Of each kind the blocks from the `from`-th to before the `to`-th. */
static void blocks_free_part(blocks_t* b, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    for (size_t k = 0; k < b->kinds; k++) mi_free(b->block[k][i]);
}
static void blocks_free(blocks_t* b) { blocks_free_part(b, 0, BLOCKS_PER_KIND); }

/* `each` blocks of each kind are live more than before: per bin, and in bytes. */
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
static bool owner_tells; /* the owner puts its lists back before the figures are asked for */

static void* owner_run(void* arg) {
  blocks_t* b = (blocks_t*)arg;
  blocks_allocate(b);
  if (owner_tells) {
    mi_stats_merge();
    pthread_barrier_wait(&step); /* allocated */
    pthread_barrier_wait(&step); /* freed */
    mi_stats_merge();
    pthread_barrier_wait(&step); /* told */
    pthread_barrier_wait(&step); /* figures taken */
  }
  return NULL;
}
static void* freer_run(void* arg) {
  blocks_free_part((blocks_t*)arg, 3, BLOCKS_PER_KIND);
  return NULL;
}

static blocks_t blocks;

/* The first round makes what thread starts leave behind; the second one counts. */
#define ROUNDS 2

/* D11.86: of threads that have ended, freed by another one. */
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
    CHECK_LE(more, count + 100); /* beside them there is what the C library needs */
  }
}

/* D11.86: freed by others while their thread goes on and allocates nothing. */
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

/* The destructor of a key that was made after the library's runs behind the end of the thread's
 * heap: what it allocates comes from the heap of late threads. */
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

/* D11.86: by threads that have no heap any more. */
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

/* ---- what belongs to nobody, and threads ---- */

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
  /* The live blocks of a deleted heap are the thread's. */
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

/* ---- JSON ---- */

/* Where the value that starts at `s` ends; NULL if it is none. What JSON has, but for the parts
 * that numbers and strings of ours never have. */
static const char* skip_blank(const char* s) { return s + strspn(s, " \n\r\t"); }
static const char* json_string(const char* s) {
  if (*s++ != '"') return NULL;
  s += strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
  return *s == '"' ? s + 1 : NULL;
}
static const char* json_number(const char* s) {
  if (*s == '-') s++;
  size_t digits = strspn(s, "0123456789");
  return digits == 0 || (digits > 1 && *s == '0') ? NULL : s + digits;
}
static const char* json_value(const char* s) { /* NOLINT(misc-no-recursion): two levels deep */
  char open = *s, close = open == '{' ? '}' : ']';
  if (open == '"') return json_string(s);
  if (open != '{' && open != '[') return json_number(s);
  s = skip_blank(s + 1);
  if (*s == close) return s + 1;
  for (;;) {
    if (open == '{') {
      if ((s = json_string(s)) == NULL || *(s = skip_blank(s)) != ':') return NULL;
      s = skip_blank(s + 1);
    }
    if ((s = json_value(s)) == NULL) return NULL;
    s = skip_blank(s);
    if (*s == close) return s + 1;
    if (*s != ',') return NULL;
    s = skip_blank(s + 1);
  }
}
static bool is_json(const char* text) {
  const char* end = *text == '{' ? json_value(text) : NULL;
  return end != NULL && *skip_blank(end) == 0;
}

/* The number behind `"name":` in the object behind `"within": `; within may be NULL. */
static long long json_find(const char* text, const char* within, const char* name) {
  char key[64];
  if (within != NULL) {
    snprintf(key, sizeof key, "\"%s\": ", within);
    text = strstr(text, key);
    REQUIRE(text != NULL);
  }
  snprintf(key, sizeof key, "\"%s\": ", name);
  text = strstr(text, key);
  REQUIRE(text != NULL);
  return strtoll(text + strlen(key), NULL, 10);
}

static void checker_of_json_knows_what_is_wrong(void) {
  CHECK(is_json("{}"));
  CHECK(is_json("{ \"a\": [ { \"b\": -1 }, 20, \"c\" ], \"d\": { } }\n"));
  static const char* const wrong[] = {"",
                                      "[]",
                                      "{",
                                      "{ \"a\" }",
                                      "{ \"a\": 1, }",
                                      "{ \"a\": }",
                                      "{} {}",
                                      "{ \"a\": 01 }",
                                      "{ a: 1 }",
                                      "{ \"a\": [1 2] }",
                                      "{ \"a\": - }",
                                      "{ \"a\": [1 }",
                                      "{ \"a\": 1",
                                      "{ \"a\": 1 \"b\": 2 }",
                                      "{ \"a: 1 }",
                                      "{ \"a\": 1.}"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++)
    if (is_json(wrong[i])) check_fail("taken for JSON: %s\n", wrong[i]);
}

static void json_has_all_figures_of_the_struct(void) {
  void* kept = mi_malloc(100000);
  mi_stats_t stats = stats_now();
  char* text = mi_stats_as_json(&stats, 0, NULL);
  REQUIRE(text != NULL);
  CHECK(is_json(text));
  CHECK_EQ(json_find(text, NULL, "stat_version"), MI_STAT_VERSION);
  CHECK_EQ(json_find(text, NULL, "mimalloc_version"), MI_MALLOC_VERSION);
  static const char* const process[] = {"elapsed_msecs",  "user_msecs",  "system_msecs",
                                        "page_faults",    "rss_current", "rss_peak",
                                        "commit_current", "commit_peak"};
  for (size_t i = 0; i < COUNT_OF(process); i++)
    CHECK_GE(json_find(text, "process", process[i]), 0);
  CHECK_GE(json_find(text, "process", "rss_peak"), json_find(text, "process", "rss_current"));
  CHECK_GE(json_find(text, "process", "rss_current"), (long long)(100 * KIB));
#define MI_STAT_COUNT(name)                                                                        \
  CHECK_EQ(json_find(text, #name, "total"), stats.name.total);                                     \
  CHECK_EQ(json_find(text, #name, "peak"), stats.name.peak);                                       \
  CHECK_EQ(json_find(text, #name, "current"), stats.name.current);
#define MI_STAT_COUNTER(name) CHECK_EQ(json_find(text, NULL, #name), stats.name.total);
  MI_STAT_FIELDS()
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER
  const char* at = strstr(text, "\"malloc_bins\": ");
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    at = strchr(at + 1, '{');
    REQUIRE(at != NULL);
    CHECK_EQ(json_find(at, NULL, "total"), stats.malloc_bins[bin].total);
    CHECK_EQ(json_find(at, NULL, "peak"), stats.malloc_bins[bin].peak);
    CHECK_EQ(json_find(at, NULL, "current"), stats.malloc_bins[bin].current);
    CHECK_EQ(json_find(at, NULL, "block_size"), mi_stats_get_bin_size(bin));
    size_t size = mi_stats_get_bin_size(bin);
    size_t page_size = size > 64 * KIB ? 0 : 64 * KIB; /* more than one slice above 8 KiB */
    while (page_size > 0 && page_size < 8 * size) page_size *= 2;
    CHECK_EQ(json_find(at, NULL, "page_size"), page_size);
  }
  at = strstr(text, "\"page_bins\": ");
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    at = strchr(at + 1, '{');
    REQUIRE(at != NULL);
    CHECK_EQ(json_find(at, NULL, "current"), stats.page_bins[bin].current);
  }
  CHECK_NULL(strchr(at + 1, '{'));
  mi_free(text);
  mi_free(kept);
  text = mi_stats_get_json(0, NULL);
  CHECK(text != NULL && is_json(text));
  mi_free(text);
  text = mi_heap_stats_get_json(NULL, 0, NULL);
  CHECK(text != NULL && is_json(text));
  mi_free(text);
}

/* Numbers of any kind give valid text: the struct is the program's. */
static void json_of_a_struct_with_extreme_numbers_is_valid(void) {
  for (int fill = 0; fill < 2; fill++) {
    mi_stats_t stats;
    memset(&stats, fill == 0 ? 0x80 : 0x7F, sizeof stats);
    mi_stats_header_init(&stats);
    char* text = mi_stats_as_json(&stats, 0, NULL);
    REQUIRE(text != NULL);
    CHECK(is_json(text));
    CHECK_EQ(json_find(text, "pages", "peak"), stats.pages.peak);
    CHECK_EQ(json_find(text, NULL, "pages_retire"), stats.pages_retire.total);
    mi_free(text);
  }
}

/* Nothing or everything, and never a byte behind the buffer. The length changes a little from call
 * to call: the time that went by is part of the text. */
static void json_goes_into_a_buffer_whole_or_not_at_all(void) {
  enum { SLACK = 64, GUARD = 16 };
  static char buf[64 * KIB];
  mi_stats_t stats = stats_now();
  char* text = mi_stats_as_json(&stats, 0, NULL);
  REQUIRE(text != NULL);
  size_t length = strlen(text), given = 0;
  mi_free(text);
  REQUIRE(length + SLACK + GUARD < sizeof buf);
  /* Sanitizers are too slow for all of them. */
  size_t stride = RSS_IS_MEANINGFUL ? 1 : 97;
  for (size_t size = 0; size <= length + SLACK; size++) {
    if (size > 200 && size + 2 * SLACK < length && size % stride != 0) continue;
    memset(buf, 0x5A, size + GUARD);
    char* got = mi_stats_as_json(&stats, size, buf);
    if (got == NULL) {
      CHECK_LE(size, length + SLACK / 2);
      CHECK(all_bytes_are(buf, size + GUARD, 0x5A));
    } else {
      given++;
      CHECK_SAME(got, buf);
      CHECK_GE(size + SLACK, length);
      CHECK_LE(strlen(buf), size - 1);
      CHECK(all_bytes_are(buf + size, GUARD, 0x5A));
      CHECK(is_json(buf));
    }
  }
  CHECK_GE(given, SLACK / 2);
  CHECK_LE(given, 2 * SLACK);
  CHECK_NULL(mi_stats_get_json(0, buf));
  CHECK_NULL(mi_stats_get_json(100, buf));
  CHECK_SAME(mi_stats_get_json(sizeof buf, buf), buf);
  CHECK(is_json(buf));
  CHECK_NULL(mi_heap_stats_get_json(NULL, 100, buf));
  CHECK_SAME(mi_heap_stats_get_json(NULL, sizeof buf, buf), buf);
  CHECK(is_json(buf));
}

/* What is JSON for a reader that is not ours. */
static void json_is_read_by_python(void) {
  if (system("python3 -c pass 2>/dev/null") != 0) {
    check_note("python3 is not there\n");
    return;
  }
  static const char script[] =
      "python3 -c 'import json, sys; j = json.load(sys.stdin); "
      "assert len(j[\"malloc_bins\"]) == 74 and len(j[\"page_bins\"]) == 74, len(j); "
      "assert j[\"malloc_normal\"][\"current\"] >= 5000, j[\"malloc_normal\"]; "
      "assert all(set(b) == {\"total\", \"peak\", \"current\", \"block_size\", \"page_size\"} "
      "for b in j[\"malloc_bins\"] + j[\"page_bins\"]); "
      "assert len(j[\"process\"]) == 8 and len(j) == 3 + 33 + 2, list(j)'";
  void* kept = mi_malloc(5000);
  char* text = mi_stats_get_json(0, NULL);
  REQUIRE(text != NULL);
  FILE* python = popen(script, "w");
  REQUIRE(python != NULL);
  CHECK_EQ(fwrite(text, 1, strlen(text), python), strlen(text));
  CHECK_EQ(pclose(python), 0);
  mi_free(text);
  mi_free(kept);
}

/* ---- text ---- */

typedef struct page_s {
  size_t used;
  char text[32 * KIB];
} page_t;

static void on_text(const char* message, void* arg) {
  page_t* page = (page_t*)arg;
  size_t length = strlen(message);
  REQUIRE(page->used + length < sizeof page->text);
  memcpy(page->text + page->used, message, length + 1);
  page->used += length;
}
static page_t page;

static bool has_line(const char* name) {
  size_t length = strlen(name);
  for (const char* at = page.text; (at = strstr(at, name)) != NULL; at += length)
    if (at == page.text || at[-1] == '\n') return true;
  return false;
}
static void check_lines(const char* const* names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!has_line(names[i])) check_fail("no line %s in\n%s", names[i], page.text);
  CHECK(page.used > 0 && page.text[page.used - 1] == '\n');
  CHECK_NULL(strstr(page.text, " \n"));
}

static void statistics_of_the_process_are_a_table(void) {
  static const char* const names[] = {
      "process ",   "small blocks: ",    "large blocks: ", "pages: ",
      "in pages: ", "abandoned pages: ", "committed: ",    "reserved: ",
      "threads: ",  "heaps: ",           "arenas: ",       "allocations: ",
      "metadata: ", "resident: ",        "page faults: ",  "purged: "};
  void* kept = mi_malloc(40 * MIB);
  mi_stats_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  CHECK_NULL(strstr(page.text, "blocks of size"));
  mi_free(kept);
  /* By size only for those who want to see everything. */
  page.used = 0;
  mi_option_set(mi_option_verbose, 1);
  kept = mi_malloc(3000);
  mi_stats_print_out(&on_text, &page);
  CHECK(has_line("blocks of size "));
  CHECK(has_line("  3072: "));
  mi_free(kept);
  mi_option_set(mi_option_verbose, 0);
}

static void statistics_of_threads_and_heaps_are_a_table(void) {
  static const char* const names[] = {"small blocks: ", "large blocks: ", "pages: ", "in pages: "};
  void* kept = mi_malloc(40 * MIB);
  mi_thread_stats_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(has_line("thread "));
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  page.used = 0;
  mi_heap_t* heap = mi_heap_new();
  mi_heap_stats_print_out(heap, &on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(has_line("heap "));
  CHECK_NULL(strstr(page.text, "40.0 MiB"));
  page.used = 0;
  mi_heap_stats_print_out(NULL, &on_text, &page);
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  mi_heap_delete(heap);
  mi_free(kept);
}

static void* print_without_a_heap(void* arg) {
  mi_thread_stats_print_out(&on_text, arg);
  return NULL;
}
static void thread_that_never_allocated_has_nothing(void) {
#if !defined(MI_TEST_OVERRIDE)
  void* kept = mi_malloc(40 * MIB);
  thread_join(thread_start(&print_without_a_heap, &page));
  CHECK(has_line("small blocks:                0 B"));
  CHECK(has_line("large blocks:                0 B"));
  mi_free(kept);
#else
  thread_join(thread_start(&print_without_a_heap, &page)); /* the start of a thread allocates */
  CHECK(has_line("small blocks: "));
#endif
}

static void on_text_without_argument(const char* message, void* arg) {
  CHECK_NULL(arg);
  on_text(message, &page);
}
static void old_form_takes_a_function_or_a_handle(void) {
  mi_register_output(&on_text, &page);
  page.used = 0;
  mi_stats_print(NULL);
  CHECK(has_line("small blocks: "));
  page.used = 0;
  mi_stats_print(stdout);
  CHECK(has_line("small blocks: "));
  page.used = 0;
  mi_stats_print(stderr);
  CHECK(has_line("small blocks: "));
  mi_register_output(NULL, NULL);
  page.used = 0;
  mi_stats_print((void*)(uintptr_t)&on_text_without_argument);
  CHECK(has_line("small blocks: "));
}

static void options_and_process_are_printed(void) {
  static const char* const names[] = {
      "process ", "committed: ", "resident: ", "page faults: ", "elapsed: ", "user: ", "system: "};
  char first[200];
  mi_options_print_out(&on_text, &page);
  snprintf(first, sizeof first, "mimalloc: version %d, release %d, debug level ", MI_MALLOC_VERSION,
           mi_release());
  CHECK_EQ(strncmp(page.text, first, strlen(first)), 0);
  char* end = strchr(page.text, '\n');
  REQUIRE(end != NULL);
  *end = 0;
  CHECK(strstr(page.text, ", secure level ") != NULL);
#if defined(MI_TEST_OVERRIDE)
  CHECK(strstr(page.text, ", override 1") != NULL);
#else
  CHECK(strstr(page.text, ", override 0") != NULL);
#endif
  *end = '\n';
  CHECK(has_line("mimalloc: option purge_delay: "));
  size_t length = page.used;
  mi_register_output(&on_text, &page);
  page.used = 0;
  mi_options_print();
  CHECK_EQ(page.used, length);
  page.used = 0;
  mi_process_info_print();
  check_lines(names, COUNT_OF(names));
  mi_register_output(NULL, NULL);
  page.used = 0;
  mi_process_info_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
}

/* A sink that does all that a program may do, in the middle of a report. */
static size_t busy_calls;
static void on_text_busy(const char* message, void* arg) {
  void** held = (void**)arg;
  mi_stats_t_decl(stats);
  REQUIRE(message[0] != 0);
  for (size_t i = 0; i < 64; i++) {
    mi_free(held[i]);
    held[i] = mi_malloc((busy_calls * 977 + i * 131) % 200000);
    REQUIRE(held[i] != NULL);
  }
  CHECK(mi_stats_get(&stats));
  mi_free(mi_stats_get_json(0, NULL));
  mi_stats_print_out(&on_text_busy, arg); /* from inside a sink nothing is printed */
  mi_stats_merge();
  if (busy_calls++ % 4 == 0) mi_stats_reset();
  mi_collect(busy_calls % 5 == 0);
}
static void output_function_may_allocate_and_ask(void) {
  static void* held[64];
  mi_option_set(mi_option_verbose, 1);
  for (int i = 0; i < 5; i++) mi_stats_print_out(&on_text_busy, held);
  CHECK_GE(busy_calls, 5 * 16);
  CHECK_LE(busy_calls, 5 * 100);
  mi_thread_stats_print_out(&on_text_busy, held);
  mi_heap_stats_print_out(NULL, &on_text_busy, held);
  mi_process_info_print_out(&on_text_busy, held);
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  mi_option_set(mi_option_verbose, 0);
}

/* ---- all at once (D10.84) ---- */

static int stop;
static bool stopped(void) { return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0; }

static void* short_life(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  static void* exchange[256]; /* blocks that any thread may free */
  for (int i = 0; i < 3000; i++) {
    size_t size = rng_size(&rng, i % 100 == 0 ? 2 * MIB : 20000);
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    p[0] = p[size - 1] = 1;
    mi_free(__atomic_exchange_n(&exchange[rng_below(&rng, COUNT_OF(exchange))], (void*)p,
                                __ATOMIC_ACQ_REL));
  }
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (int i = 0; i < 300; i++) REQUIRE(mi_heap_malloc(heap, rng_size(&rng, 100000)) != NULL);
  if (rng_below(&rng, 2) == 0)
    mi_heap_destroy(heap);
  else
    mi_heap_delete(heap);
  return NULL;
}
static void* lives_run(void* arg) {
  for (uintptr_t seed = (uintptr_t)arg; !stopped(); seed += 16)
    thread_join(thread_start(&short_life, (void*)seed));
  return NULL;
}

static void on_lines(const char* message, void* arg) {
  size_t length = strlen(message);
  CHECK(length > 1 && length < 500 && message[length - 1] == '\n');
  *(size_t*)arg += 1;
}

static size_t looks;
static void* looks_run(void* arg) {
  for (uintptr_t i = (uintptr_t)arg; !stopped(); i++) {
    mi_stats_t s = stats_now();
    CHECK_GE(s.malloc_normal.current, 0);
    CHECK_LE(s.malloc_normal.current, s.reserved.current);
    CHECK_GE(s.malloc_normal.peak, s.malloc_normal.current);
    CHECK_GE(s.malloc_normal.total, 0);
    CHECK_GE(s.threads.current, 0);
    CHECK_LE(s.threads.current, 20);
    for (size_t bin = 0; bin < MI_BIN_HUGE; bin++) {
      CHECK_GE(s.malloc_bins[bin].current, 0);
      if (s.page_bins[bin].current == 0) CHECK_EQ(s.malloc_bins[bin].current, 0);
    }
    size_t lines = 0;
    mi_stats_print_out(&on_lines, &lines);
    CHECK_GE(lines, 16);
    lines = 0;
    mi_thread_stats_print_out(&on_lines, &lines);
    CHECK_GE(lines, 5);
    char* text = i % 2 == 0 ? mi_stats_get_json(0, NULL) : mi_heap_stats_get_json(NULL, 0, NULL);
    REQUIRE(text != NULL);
    CHECK(is_json(text));
    mi_free(text);
    if (i % 8 == 0) mi_stats_reset();
    if (i % 3 == 0) mi_stats_merge();
    __atomic_fetch_add(&looks, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void figures_may_be_asked_for_while_threads_allocate_free_and_end(void) {
  NEEDS_64_BITS("threads leave 4 GiB behind");
  pthread_t threads[6];
  mi_option_set(mi_option_purge_delay, 1);
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(i < 4 ? &lives_run : &looks_run, (void*)(i + 1));
  sleep_ms((unsigned)check_scaled(1000));
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  check_note("%zu looks\n", looks);
  CHECK_GE(looks, 5);
}

/* The child of a fork finds every figure, whatever the other threads were doing. */
static void child_of_a_busy_process_may_ask(void) {
  NEEDS_64_BITS("threads leave 4 GiB behind");
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++)
    threads[i] = thread_start(i < 2 ? &lives_run : &looks_run, (void*)(i + 1));
  for (size_t i = 0; i < check_scaled(30); i++) {
    sleep_ms(5);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      alarm(30); /* ends a child that hangs */
      mi_stats_t s = stats_now();
      CHECK_LE(s.threads.current, 1);
      CHECK_GE(s.malloc_normal.current, 0);
      size_t lines = 0;
      mi_stats_print_out(&on_lines, &lines);
      CHECK_GE(lines, 16);
      char* text = mi_stats_get_json(0, NULL);
      CHECK(text != NULL && is_json(text));
      mi_free(text);
      mi_stats_reset();
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
  }
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
}

/* ---- the OS ---- */

/* D11.87: what statm says, and memory that was never touched is no part of it. */
static void resident_memory_is_that_of_the_os(void) {
  size_t rss, peak, commit, peak_commit;
  char* p = (char*)mi_malloc(64 * MIB);
  REQUIRE(p != NULL);
  p[0] = 1;
  mi_process_info(NULL, NULL, NULL, &rss, &peak, &commit, &peak_commit, NULL);
  CHECK_GE(commit, 64 * MIB);
  CHECK_GE(peak_commit, commit);
  CHECK_GE(peak, rss);
  if (!RSS_IS_MEANINGFUL) return;
  CHECK_LE(rss, 32 * MIB);
  touch_pages(p, 64 * MIB);
  size_t before = rss_bytes();
  mi_process_info(NULL, NULL, NULL, &rss, NULL, NULL, NULL, NULL);
  /* The look may touch memory itself, and the kernel counts in small heaps per processor. */
  const size_t slack = 128 * OS_PAGE;
  CHECK_LE(before, rss + slack);
  CHECK_LE(rss, rss_bytes() + slack);
  char text[KIB * 16];
  CHECK_SAME(mi_stats_get_json(sizeof text, text), text);
  CHECK_GE(json_find(text, "process", "rss_current") + slack, before);
  mi_free(p);
  mi_process_info(NULL, NULL, NULL, NULL, NULL, NULL, &peak_commit, NULL);
  CHECK_GE(peak_commit, 64 * MIB);
}

/* Bytes of [start, start + size) that may be read and written, by the kernel's list of mappings. */
static size_t writable_bytes(const char* maps, uintptr_t start, size_t size) {
  size_t bytes = 0;
  for (const char* line = maps; line != NULL && *line != 0;) {
    char* at;
    uintptr_t from = strtoul(line, &at, 16);
    REQUIRE(*at == '-');
    uintptr_t to = strtoul(at + 1, &at, 16);
    if (from < start) from = start;
    if (to > start + size) to = start + size;
    if (from < to && at[1] == 'r' && at[2] == 'w') bytes += to - from;
    line = strchr(at, '\n');
    if (line != NULL) line++;
  }
  return bytes;
}

static size_t writable_in_arenas(void) {
  static char maps[4 * MIB];
  size_t bytes = 0, size;
  REQUIRE(read_file("/proc/self/maps", maps, sizeof maps) + 1 < sizeof maps);
  for (mi_arena_id_t id = 1;; id++) {
    void* start = mi_arena_area(id, &size);
    if (start == NULL) return bytes;
    bytes += writable_bytes(maps, (uintptr_t)start, size);
  }
}

static void* mixed_run(void* arg) {
  enum { HELD = 400 };
  void* held[HELD] = {NULL};
  rng_t rng = {(uintptr_t)arg};
  for (int i = 0; i < 20000; i++) {
    size_t at = rng_below(&rng, HELD), size = rng_size(&rng, i % 50 == 0 ? 8 * MIB : 60000);
    if (held[at] != NULL && i % 7 == 0) {
      held[at] = mi_realloc(held[at], size);
    } else {
      mi_free(held[at]);
      held[at] = mi_malloc(size);
    }
    REQUIRE(held[at] != NULL);
    *(char*)held[at] = 1;
    if (i % 2000 == 0) mi_collect(i % 4000 == 0);
  }
  for (size_t i = 0; i < HELD; i += 2) mi_free(held[i]); /* the others stay */
  return NULL;
}

/* D11.88: where memory is made accessible by need, the count is what the kernel has. */
static void helper_commit(const char* unused) {
  (void)unused;
  CHECK_EQ(mi_option_get(mi_option_arena_eager_commit), 0);
  size_t most = 0;
  for (uintptr_t round = 1; round <= 3; round++) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
      threads[i] = thread_start(&mixed_run, (void*)(round * 10 + i));
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    if (round == 3) mi_collect(true);
    mi_stats_t s = stats_now();
    size_t writable = writable_in_arenas();
    check_note("%lld bytes committed, %zu writable, %lld purged\n", (long long)s.committed.current,
               writable, (long long)s.purged.total);
    CHECK_LE(writable, (size_t)s.committed.current + OS_PAGE);
    CHECK_GE(writable + OS_PAGE, s.committed.current);
    CHECK_GE(s.committed.current, s.page_committed.current);
    CHECK_GE(s.reserved.current, s.committed.current);
    if (writable > most) most = writable;
  }
  mi_stats_t s = stats_now();
  CHECK_GE(s.committed.peak, most);
  CHECK_GE(s.purged.total, MIB); /* or the run was not mixed */
  CHECK_GE(s.purge_calls.total, 1);
}
static void committed_bytes_are_those_of_the_os(void) {
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  setenv("MIMALLOC_PURGE_DELAY", "1", 1);
  const char* args[] = {"helper_commit", "-", NULL};
  check_wait_ok(check_start_self(args, -1, -1), args[0]);
}

/* ---- release and build ---- */

static void release_is_that_of_the_crate(void) {
  static char cargo[64 * KIB];
  char path[1000];
  const char* file = strrchr(__FILE__, '/');
  REQUIRE(file != NULL);
  snprintf(path, sizeof path, "%.*s/../../Cargo.toml", (int)(file - __FILE__), __FILE__);
  read_file(path, cargo, sizeof cargo);
  char* version = strstr(cargo, "\nversion = \"");
  REQUIRE(version != NULL);
  version += strlen("\nversion = \"");
  *strchr(version, '"') = 0;
  CHECK_TEXT(mi_release_text(), version);
  char number[32];
  int release = mi_release(), interface = mi_version();
  snprintf(number, sizeof number, "%d.%d.%d+%d.%d.%d", release / 10000, release / 100 % 100,
           release % 100, interface / 100, interface / 10 % 10, interface % 10);
  CHECK_TEXT(version, number);
  CHECK(!mi_is_redirected());
  mi_thread_set_in_threadpool();
}

/* ---- the end of the process ---- */

static char messages[64 * KIB];
static size_t reports_of(const char* helper, const char* how) {
  const char* args[] = {helper, how, NULL};
  int status = check_capture_self(args, true, messages, sizeof messages);
  if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) check_note("%s\n", messages);
  size_t count = 0;
  for (const char* at = messages; (at = strstr(at, "\nmetadata:")) != NULL; at++) count++;
  return count;
}

static void helper_done(const char* how) {
  if (strcmp(how, "never") == 0) return;
  mi_process_done();
  mi_process_done();
  if (strcmp(how, "and_on") != 0) return;
  blocks_plan(&blocks); /* allocation goes on */
  blocks_allocate(&blocks);
  blocks_free(&blocks);
  thread_join(thread_start(&owner_run, &blocks));
}

/* D3.21 */
static void process_is_done_once(void) {
  setenv("MIMALLOC_SHOW_STATS", "1", 1);
  CHECK_EQ(reports_of("helper_done", "never"), 1);
  CHECK_EQ(reports_of("helper_done", "twice"), 1);
  CHECK_EQ(reports_of("helper_done", "and_on"), 1);
  setenv("MIMALLOC_DESTROY_ON_EXIT", "1", 1);
  CHECK_EQ(reports_of("helper_done", "never"), 1);
  CHECK_EQ(reports_of("helper_done", "and_on"), 1);
  setenv("MIMALLOC_DESTROY_ON_EXIT", "2", 1); /* left to the program */
  CHECK_EQ(reports_of("helper_done", "never"), 0);
  CHECK_EQ(reports_of("helper_done", "twice"), 1);
  setenv("MIMALLOC_SHOW_STATS", "0", 1);
  CHECK_EQ(reports_of("helper_done", "twice"), 0);
}

/* A destructor of another library that comes behind ours: it still has blocks, allocates more, and
 * other threads still run (D3.23). */
static bool later_is_wanted;
static bool is_debug;
static size_t rss_at_exit;
static void* allocate_for_ever(void* arg) {
  (void)arg;
  for (size_t i = 0;; i++) mi_free(mi_malloc(i * 997 % 2000));
  return NULL;
}
__attribute__((destructor(102))) static void later_destructor(void) {
  if (!later_is_wanted) return;
  long destroy = mi_option_get(mi_option_destroy_on_exit);
  /* Debug builds collect at the end in any case. */
  bool expected = is_debug ? destroy <= 1 : destroy == 1;
  bool released = rss_bytes() + 48 * MIB <= rss_at_exit;
  /* From level 2 on large blocks are given back when they are freed. */
  if (RSS_IS_MEANINGFUL && MI_TEST_SECURE < 2) CHECK_EQ(released, expected);
  for (size_t k = 0; k < blocks.kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++)
      CHECK(pattern_holds(blocks.block[k][i], 8, (unsigned)(k + i)));
  blocks_free(&blocks);
  blocks_allocate(&blocks);
  mi_stats_t s = stats_now();
  CHECK_GE(s.malloc_normal.current, 64 * KIB * BLOCKS_PER_KIND);
  mi_collect(true);
  blocks_free(&blocks);
  if (check_end() != 0) _exit(1);
}

static void helper_later(const char* how) {
  later_is_wanted = true;
  mi_options_print_out(&on_text, &page);
  is_debug = strstr(page.text, "debug level 0,") == NULL;
  mi_option_set(mi_option_purge_delay, 100000); /* nothing is released before the end */
  blocks_plan(&blocks);
  if (strcmp(how, "ended") == 0)
    thread_join(thread_start(&owner_run, &blocks));
  else
    blocks_allocate(&blocks);
  for (size_t k = 0; k < blocks.kinds; k++)
    for (size_t i = 0; i < BLOCKS_PER_KIND; i++)
      pattern_fill(blocks.block[k][i], 8, (unsigned)(k + i));
  if (strcmp(how, "threads") == 0)
    for (int i = 0; i < 3; i++) (void)thread_start(&allocate_for_ever, NULL);
  void* big = mi_malloc(64 * MIB);
  REQUIRE(big != NULL);
  touch_pages(big, 64 * MIB);
  mi_free(big);
  if (strcmp(how, "done") == 0) mi_thread_done();
  rss_at_exit = rss_bytes();
}

static void later_destructors_may_allocate_after_the_release_of_all_memory(void) {
  static const char* const hows[] = {"plain", "ended", "threads", "done"};
  static const char* const values[] = {"0", "1", "2"};
  for (size_t v = 0; v < COUNT_OF(values); v++) {
    setenv("MIMALLOC_DESTROY_ON_EXIT", values[v], 1);
    for (size_t i = 0; i < COUNT_OF(hows); i++) {
      const char* args[] = {"helper_later", hows[i], NULL};
      check_wait_ok(check_start_self(args, -1, -1), hows[i]);
    }
  }
}

static const check_case_t cases[] = {
    CASE(declared_struct_is_empty_and_says_what_it_is),
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
    CASE(checker_of_json_knows_what_is_wrong),
    CASE(json_has_all_figures_of_the_struct),
    CASE(json_of_a_struct_with_extreme_numbers_is_valid),
    CASE(json_goes_into_a_buffer_whole_or_not_at_all),
    CASE(json_is_read_by_python),
    CASE(statistics_of_the_process_are_a_table),
    CASE(statistics_of_threads_and_heaps_are_a_table),
    CASE(thread_that_never_allocated_has_nothing),
    CASE(old_form_takes_a_function_or_a_handle),
    CASE(options_and_process_are_printed),
    CASE(output_function_may_allocate_and_ask),
    CASE(figures_may_be_asked_for_while_threads_allocate_free_and_end),
    CASE(child_of_a_busy_process_may_ask),
    CASE(resident_memory_is_that_of_the_os),
    CASE(committed_bytes_are_those_of_the_os),
    CASE(release_is_that_of_the_crate),
    CASE(process_is_done_once),
    CASE(later_destructors_may_allocate_after_the_release_of_all_memory),
};

static const struct {
  const char* name;
  void (*run)(const char*);
} helpers[] = {CASE(helper_commit), CASE(helper_done), CASE(helper_later)};

int main(int argc, char** argv) {
  if (argc == 3 && strncmp(argv[1], "helper_", 7) == 0) {
    for (size_t i = 0; i < COUNT_OF(helpers); i++) {
      if (strcmp(helpers[i].name, argv[1]) != 0) continue;
      helpers[i].run(argv[2]);
      return check_end();
    }
    return 125;
  }
  return CHECK_MAIN(argc, argv, cases);
}
