/* guard_sampling.c - one of N allocations ends at a guard page, and blocks that are in use at exit
 * are reported on request.
 */
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static const size_t sizes[] = {1, 8, 24, 40, 200, 1000, 1500, 5000, 20000, 60000, 300000, 5 * MIB};
#define SIZES COUNT_OF(sizes)

/* From the next allocation on. The thread notices at its next tick: a collection is one. */
static void guard_one_of(long rate) {
  mi_option_set(mi_option_guarded_sample_rate, rate);
  mi_collect(true);
}

static size_t guarded_so_far(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return (size_t)stats.malloc_guarded_count.total;
}

/* What an access after the block does, in a child. A secure build may have bytes of its own there
 * first. */
static bool end_is_guarded(char* p, size_t room) {
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    /* From level 3 on the room is the requested size, and the rest of its class follows. */
    size_t behind = MI_TEST_SECURE >= 3 ? room / 8 + 128 : 16;
    for (size_t i = 0; i < behind; i++) ((volatile char*)p)[room + i] = 1;
    _exit(0);
  }
  int status = check_wait(child);
  return WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGBUS);
}

/* ---- where the guards are -------------------------------------------------------- */

static void an_access_after_any_block_is_a_fault_at_rate_1(void) {
  guard_one_of(1);
  mi_heap_t* heap = mi_heap_new();
  for (size_t i = 0; i < SIZES; i++) {
    size_t size = sizes[i];
    char* blocks[] = {(char*)mi_malloc(size),
                      (char*)mi_zalloc(size),
                      (char*)mi_calloc(size, 1),
                      (char*)mi_malloc_aligned(size, 64),
                      (char*)mi_heap_malloc(heap, size),
                      (char*)mi_realloc(NULL, size),
                      (char*)mi_realloc(mi_malloc(3), size),
                      (char*)mi_malloc_small(size < 128 ? size : 128)};
    for (size_t k = 0; k < COUNT_OF(blocks); k++) {
      REQUIRE(blocks[k] != NULL);
      if (!CHECK(end_is_guarded(blocks[k], mi_usable_size(blocks[k]))))
        check_note("entry %zu, size %zu\n", k, size);
      mi_free(blocks[k]);
    }
  }
  mi_heap_destroy(heap);
}

static void without_the_option_nothing_is_guarded(void) {
  char* p = (char*)mi_malloc(40);
  REQUIRE(p != NULL);
  CHECK(!end_is_guarded(p, mi_usable_size(p)));
  CHECK_EQ(guarded_so_far(), 0);
  mi_free(p);
}

/* ---- which allocations ------------------------------------------------------------ */

/* Guarded ones among `count` of all sizes of small and medium blocks, some of which are freed. */
static size_t guarded_among(size_t count, size_t from, size_t to) {
  enum { LIVE = 64 };
  void* live[LIVE] = {NULL};
  rng_t rng = {1};
  size_t before = guarded_so_far();
  for (size_t i = 0; i < count; i++) {
    size_t k = rng_below(&rng, LIVE);
    mi_free(live[k]);
    live[k] = mi_malloc(from + rng_below(&rng, to - from + 1));
    REQUIRE(live[k] != NULL);
  }
  for (size_t k = 0; k < LIVE; k++) mi_free(live[k]);
  return guarded_so_far() - before;
}

static void one_of_n_is_guarded(void) {
  static const long rates[] = {1, 2, 3, 10, 97, 1000};
  for (size_t i = 0; i < COUNT_OF(rates); i++) {
    guard_one_of(rates[i]);
    size_t count = 20000, expected = count / (size_t)rates[i];
    size_t guarded = guarded_among(count, 1, 3000);
    check_note("1 of %ld: %zu of %zu\n", rates[i], guarded, count);
    /* Lists that exist already, and those that are put back, count too early. */
    CHECK_GE(guarded, expected - expected / 20 - 1);
    CHECK_LE(guarded, expected + expected / 20 + 1);
  }
  guard_one_of(0);
  CHECK_EQ(guarded_among(20000, 1, 3000), 0);
}

static void large_blocks_count_too(void) {
  guard_one_of(4);
  size_t before = guarded_so_far();
  for (int i = 0; i < 40; i++) mi_free(mi_malloc(200000 + (size_t)i));
  CHECK_GE(guarded_so_far() - before, 9);
  CHECK_LE(guarded_so_far() - before, 11);
}

static void sizes_out_of_bounds_are_not_guarded(void) {
  mi_option_set(mi_option_guarded_min, 500);
  mi_option_set(mi_option_guarded_max, 1000);
  guard_one_of(1);
  CHECK_EQ(guarded_among(2000, 1, 400), 0);
  CHECK_EQ(guarded_among(2000, 1100, 3000), 0);
  CHECK_EQ(guarded_among(2000, 520, 900), 2000);
}

static void* count_in_thread(void* arg) {
  *(size_t*)arg = guarded_among(1000, 1, 100);
  return NULL;
}

static void threads_that_start_later_guard_too(void) {
  guard_one_of(1);
  size_t guarded = 0;
  thread_join(thread_start(&count_in_thread, &guarded));
  CHECK_EQ(guarded, 1000);
}

/* ---- a guarded block is a block like any other -------------------------------------- */

static void sizes_are_those_of_other_blocks(void) {
  size_t usable[SIZES];
  for (int guarded = 0; guarded < 2; guarded++) {
    if (guarded) guard_one_of(1);
    for (size_t i = 0; i < SIZES && sizes[i] <= 60000; i++) {
      void* p = mi_malloc(sizes[i]);
      REQUIRE(p != NULL);
      if (guarded) CHECK_EQ(mi_usable_size(p), usable[i]);
      usable[i] = mi_usable_size(p);
      CHECK_LE(usable[i], mi_good_size(sizes[i]));
      mi_free(p);
    }
  }
}

/* Contents, alignment, zeroing and resizing, while some blocks are guarded and some are not. */
static void churn(long rate) {
  enum { LIVE = 100 };
  struct {
    char* p;
    size_t size, align;
    unsigned seed;
  } live[LIVE];
  memset(live, 0, sizeof live);
  rng_t rng = {(uint64_t)rate};
  guard_one_of(rate);
  mi_heap_t* heap = mi_heap_new();
  for (size_t i = 0; i < check_scaled(4000); i++) {
    size_t k = rng_below(&rng, LIVE), size = rng_size(&rng, 200000);
    if (live[k].p != NULL) CHECK(pattern_holds(live[k].p, live[k].size, live[k].seed));
    if (live[k].p != NULL && rng_below(&rng, 2) == 0) {
      size_t kept = size < live[k].size ? size : live[k].size;
      live[k].p = (char*)mi_realloc_aligned(live[k].p, size, live[k].align);
      REQUIRE(live[k].p != NULL);
      CHECK(pattern_holds(live[k].p, kept, live[k].seed));
    } else {
      mi_free(live[k].p);
      live[k].align = (size_t)16 << rng_below(&rng, 10);
      switch (rng_below(&rng, 4)) {
      case 0:
        live[k].p = (char*)mi_zalloc_aligned(size, live[k].align);
        CHECK(all_bytes_are(live[k].p, size, 0));
        break;
      case 1:
        live[k].p = (char*)mi_heap_malloc_aligned(heap, size, live[k].align);
        break;
      default:
        live[k].p = (char*)mi_malloc_aligned(size, live[k].align);
      }
    }
    REQUIRE(live[k].p != NULL);
    CHECK(is_aligned(live[k].p, live[k].align));
    CHECK_GE(mi_usable_size(live[k].p), size);
    live[k].size = size;
    live[k].seed = (unsigned)i;
    pattern_fill(live[k].p, size, live[k].seed);
  }
  for (size_t k = 0; k < LIVE; k++) mi_free(live[k].p);
  mi_heap_delete(heap);
}
static void contents_hold_at_rate_1(void) { churn(1); }
static void contents_hold_at_rate_3(void) { churn(3); }

static void zeroed_blocks_are_zero(void) {
  guard_one_of(2);
  for (size_t i = 0; i < 2000; i++) {
    size_t size = sizes[i % SIZES];
    char* p = (char*)mi_zalloc(size);
    REQUIRE(p != NULL);
    CHECK(all_bytes_are(p, mi_usable_size(p), 0));
    memset(p, 0xee, size);
    mi_free(p);
  }
}

static bool count_blocks(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                         size_t block_size, void* arg) {
  (void)heap, (void)area, (void)block_size;
  *(size_t*)arg += block != NULL;
  return true;
}

static void a_heap_of_guarded_blocks_is_visited_and_destroyed(void) {
  guard_one_of(1);
  for (int round = 0; round < 20; round++) {
    mi_heap_t* heap = mi_heap_new();
    for (size_t i = 0; i < 100; i++) {
      char* p = (char*)mi_heap_malloc(heap, sizes[i % SIZES]);
      REQUIRE(p != NULL);
      p[0] = 1;
      CHECK(mi_heap_contains_block(heap, p));
    }
    size_t blocks = 0;
    mi_heap_visit_blocks(heap, true, &count_blocks, &blocks);
    CHECK_EQ(blocks, 100);
    mi_heap_destroy(heap);
  }
}

static void* free_in_thread(void* arg) {
  void** blocks = (void**)arg;
  for (size_t i = 0; i < 100; i++) mi_free(blocks[i]);
  return NULL;
}

static void other_threads_free_guarded_blocks(void) {
  guard_one_of(1);
  for (int round = 0; round < 20; round++) {
    void* blocks[100];
    for (size_t i = 0; i < 100; i++) REQUIRE((blocks[i] = mi_malloc(sizes[i % SIZES])) != NULL);
    thread_join(thread_start(&free_in_thread, blocks));
  }
}

/* ---- when the system refuses -------------------------------------------------------- */

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

int __real_mprotect(void* addr, size_t size, int prot);
int __real_madvise(void* addr, size_t size, int advice);
int __wrap_mprotect(void* addr, size_t size, int prot);
int __wrap_madvise(void* addr, size_t size, int advice);

static bool refuse; /* from now on the system has no guards */
static bool refuse_removal;
static size_t refused;

int __wrap_mprotect(void* addr, size_t size, int prot) {
  if (!refuse || prot != PROT_NONE) return __real_mprotect(addr, size, prot);
  refused++;
  errno = ENOMEM;
  return -1;
}
int __wrap_madvise(void* addr, size_t size, int advice) {
  bool refuses =
      (refuse && advice == MADV_GUARD_INSTALL) || (refuse_removal && advice == MADV_GUARD_REMOVE);
  if (!refuses) return __real_madvise(addr, size, advice);
  refused++;
  errno = EINVAL;
  return -1;
}

static void a_refused_guard_costs_nothing_but_the_guard(void) {
  refuse = true;
  guard_one_of(1);
  char* blocks[200];
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    size_t size = sizes[i % (SIZES - 1)];
    REQUIRE((blocks[i] = (char*)mi_malloc(size)) != NULL);
    pattern_fill(blocks[i], size, (unsigned)i);
  }
  CHECK_GE(refused, COUNT_OF(blocks));
  CHECK_EQ(guarded_so_far(), 0);
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    CHECK(pattern_holds(blocks[i], sizes[i % (SIZES - 1)], (unsigned)i));
    mi_free(blocks[i]);
  }
}

/* Before Linux 6.13 it is not asked for. */
static void a_guard_that_cannot_be_removed_is_met_by_no_later_block(void) {
  enum { COUNT = 100, SIZE = 200000 };
  char* blocks[COUNT];
  guard_one_of(2);
  for (size_t i = 0; i < COUNT; i++) REQUIRE((blocks[i] = (char*)mi_malloc(SIZE + i)) != NULL);
  CHECK_GE(guarded_so_far(), COUNT / 4);
  refuse_removal = true;
  for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
  for (size_t i = 0; i < COUNT; i++) {
    REQUIRE((blocks[i] = (char*)mi_malloc(SIZE + SIZE / 4)) != NULL);
    memset(blocks[i], 1, SIZE + SIZE / 4); /* a fault ends us */
  }
  for (size_t i = 0; i < COUNT; i++) mi_free(blocks[i]);
}

/* ---- what is in use at exit ------------------------------------------------------------ */

static char* note_new(mi_heap_t* heap, const char* text) {
  char* p = (char*)mi_heap_zalloc(heap, 100);
  REQUIRE(p != NULL);
  memcpy(p, text, strlen(text));
  return p;
}
static void* leak_in_thread(void* arg) {
  note_new(mi_heap_get_backing(), "thread's note");
  return arg;
}

static void helper_leak(void) {
  note_new(mi_heap_get_backing(), "forgotten note");
  note_new(mi_heap_new(), "heap's note");
  mi_free(note_new(mi_heap_get_backing(), "freed note"));
  thread_join(thread_start(&leak_in_thread, NULL));
  char* big = (char*)mi_zalloc(300000);
  REQUIRE(big != NULL);
  memcpy(big, "large note", 10);
}

static const char* told_at_exit(const char* lines) {
  static char text[1 << 16];
  const char* args[] = {"helper_leak", NULL};
  REQUIRE(lines == NULL ? unsetenv("MIMALLOC_SHOW_LEAKS") == 0
                        : setenv("MIMALLOC_SHOW_LEAKS", lines, 1) == 0);
  CHECK_EQ(check_capture_self(args, true, text, sizeof text), 0);
  return text;
}
static size_t lines_with(const char* text, const char* what) {
  size_t n = 0;
  for (; (text = strstr(text, what)) != NULL; text++) n++;
  return n;
}

#define TOLD "mimalloc: in use at exit: "

static void blocks_in_use_are_reported_at_exit(void) {
  const char* text = told_at_exit("1000");
  CHECK_EQ(lines_with(text, "bytes: forgotten note.."), 1);
  CHECK_EQ(lines_with(text, "bytes: heap's note....."), 1);
  CHECK_EQ(lines_with(text, "bytes: thread's note..."), 1);
  CHECK_EQ(lines_with(text, "bytes: large note......"), 1);
  CHECK_EQ(lines_with(text, "freed note"), 0);
  size_t blocks = lines_with(text, " bytes: "), told = 0;
  const char* sum = text;
  for (const char* at = text; (at = strstr(at, TOLD)) != NULL; at++) sum = at;
  CHECK(sscanf(sum, TOLD "%zu blocks", &told) == 1);
  CHECK_EQ(told, blocks);
  CHECK_GE(blocks, 4);
}

static void no_more_blocks_are_listed_than_requested(void) {
  CHECK_EQ(lines_with(told_at_exit("2"), TOLD), 3);
  CHECK_EQ(lines_with(told_at_exit(NULL), TOLD), 0);
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "helper_leak") == 0) return helper_leak(), 0;
  static const check_case_t cases[] = {
      CASE(an_access_after_any_block_is_a_fault_at_rate_1),
      CASE(without_the_option_nothing_is_guarded),
      CASE(one_of_n_is_guarded),
      CASE(large_blocks_count_too),
      CASE(sizes_out_of_bounds_are_not_guarded),
      CASE(threads_that_start_later_guard_too),
      CASE(sizes_are_those_of_other_blocks),
      CASE(contents_hold_at_rate_1),
      CASE(contents_hold_at_rate_3),
      CASE(zeroed_blocks_are_zero),
      CASE(a_heap_of_guarded_blocks_is_visited_and_destroyed),
      CASE(other_threads_free_guarded_blocks),
      CASE(a_refused_guard_costs_nothing_but_the_guard),
      CASE(a_guard_that_cannot_be_removed_is_met_by_no_later_block),
      CASE(blocks_in_use_are_reported_at_exit),
      CASE(no_more_blocks_are_listed_than_requested),
  };
  return CHECK_MAIN(argc, argv, cases);
}
