/* purging.c - how much one call gives back to the system, and how much waits. The program counts
 * the library's own system calls, so nothing here depends on the speed of the machine.
 */
#include "probe.h"
#include <mimalloc.h>

#define STEP_MAX (8 * MIB)

static _Thread_local size_t purged; /* bytes that this thread has given back */

int __real_madvise(void* p, size_t size, int advice);
int __wrap_madvise(void* p, size_t size, int advice);
int __wrap_madvise(void* p, size_t size, int advice) {
  if (advice == MADV_DONTNEED) purged += size;
  return __real_madvise(p, size, advice);
}

/* ---- one call ---- */

#define BLOCKS_MAX 4096
static char* block[BLOCKS_MAX];

/* Blocks of 64 KiB to 1 MiB. They are not touched, and count all the same. */
static size_t blocks_fill(size_t bytes) {
  rng_t rng = {5};
  size_t n = 0;
  for (size_t size; bytes > 0; n++, bytes -= size < bytes ? size : bytes) {
    size = 64 * KIB + rng_below(&rng, MIB - 64 * KIB);
    REQUIRE(n < BLOCKS_MAX && (block[n] = (char*)mi_malloc(size)) != NULL);
  }
  return n;
}

typedef struct longest_s {
  size_t bytes, total;
} longest_t;

/* To be called after each call of the library. */
static void call_ended(longest_t* longest) {
  if (purged > longest->bytes) longest->bytes = purged;
  longest->total += purged;
  purged = 0;
}

/* Level 4 gives the memory of a freed block back at once, in other ways. */
#define FREED_MEMORY_WAITS (MI_TEST_SECURE < 4)

static void no_call_purges_more_than_8_mib(void) {
  longest_t longest = {0, 0};
  size_t n = blocks_fill(GIB);
  for (size_t i = 0; i < n; i++) mi_free(block[i]), call_ended(&longest);
  sleep_ms(250);
  double end = now_seconds() + 30;
  /* Small blocks, so that little is allocated again. */
  for (size_t i = 0; longest.total < GIB - 16 * MIB && now_seconds() < end; i++) {
    char* p = (char*)mi_malloc(1 + i % 2000);
    call_ended(&longest);
    p = (char*)mi_realloc(p, 3000 + i % 2000);
    call_ended(&longest);
    mi_free(p);
    call_ended(&longest);
  }
  check_note("%zu MiB purged, %zu KiB by one call\n", longest.total / MIB, longest.bytes / KIB);
  CHECK_GE(longest.total, GIB - 16 * MIB);
  CHECK_LE(longest.bytes, STEP_MAX);
}

/* The same while the free memory is in use again and again, so that rounds begin in the middle. */
static void rounds_of_several_calls_forget_nothing(void) {
  longest_t longest = {0, 0};
  size_t n = blocks_fill(GIB);
  rng_t rng = {9};
  double end = now_seconds() + 0.7;
  while (now_seconds() < end) {
    size_t i = rng_below(&rng, n);
    mi_free(block[i]);
    call_ended(&longest);
    block[i] = (char*)mi_malloc(64 * KIB + rng_below(&rng, MIB - 64 * KIB));
    call_ended(&longest);
  }
  CHECK_LE(longest.bytes, STEP_MAX);
  longest.total = 0;
  for (size_t i = 0; i < n; i++) mi_free(block[i]), call_ended(&longest);
  end = now_seconds() + 30;
  while (longest.total < GIB * 9 / 10 && now_seconds() < end)
    mi_free(mi_malloc(100000)), call_ended(&longest);
  CHECK_GE(longest.total, GIB * 9 / 10);
  CHECK_LE(longest.bytes, STEP_MAX);
}

/* Asked for, all goes back by one call. */
static void collect_purges_all(void) {
  size_t n = blocks_fill(GIB);
  purged = 0;
  for (size_t i = 0; i < n; i++) mi_free(block[i]);
  mi_collect(true);
  CHECK_GE(purged, GIB - 16 * MIB);
}

/* ---- what waits ---- */

static void blocks_touch(size_t n) {
  for (size_t i = 0; i < n; i++) touch_pages(block[i], mi_usable_size(block[i]));
}

/* The program is silent after it has freed: only the frees themselves can give memory back. */
static void one_thread_keeps_16_mib_or_an_eighth(void) {
  size_t before = rss_bytes();
  size_t n = blocks_fill(300 * MIB);
  blocks_touch(n);
  size_t full = rss_bytes();
  for (size_t i = 0; i < n; i++) mi_free(block[i]);
  size_t after = rss_bytes();
  check_note("resident: before %zu, full %zu, freed %zu MiB\n", before / MIB, full / MIB,
             after / MIB);
  CHECK_GE(full - before, 300 * MIB);
  CHECK_LE(after - before, (full - before) / 8 + 4 * MIB);
}

static size_t page_faults(void) {
  struct rusage usage;
  REQUIRE(getrusage(RUSAGE_SELF, &usage) == 0);
  return (size_t)usage.ru_minflt;
}

static size_t faults_of_rounds(size_t rounds, size_t bytes) {
  size_t before = page_faults();
  for (size_t k = 0; k < rounds; k++) {
    size_t n = blocks_fill(bytes);
    blocks_touch(n);
    for (size_t i = 0; i < n; i++) mi_free(block[i]);
  }
  return page_faults() - before;
}

/* After the first rounds the library has learnt that the memory is wanted again. */
static void memory_that_is_soon_allocated_again_stays(void) {
  const size_t bytes = 200 * MIB;
  size_t first = faults_of_rounds(3, bytes), later = faults_of_rounds(12, bytes);
  check_note("page faults: %zu in 3 rounds, %zu in 12 later ones\n", first, later);
  CHECK_GE(first, bytes / OS_PAGE);
  CHECK_LE(later, 12 * bytes / OS_PAGE / 20);
}

/* Pauses of 0.5, 2 and 20 delays: from the seventh round on most memory stays. A round is not
 * judged that a busy machine makes much longer: the allocator remembers a purge for 32 delays. */
static void memory_stays_for_programs_that_pause(void) {
  static const unsigned pauses_ms[] = {5, 20, 200};
  const size_t bytes = 100 * MIB;
  mi_option_set(mi_option_purge_delay, 1); /* in arenas 10 ms */
  for (size_t i = 0; i < COUNT_OF(pauses_ms); i++) {
    size_t all = 0, judged = 0, late = 0;
    double freed = now_seconds();
    for (size_t round = 0; round < 12; round++) {
      size_t faults = faults_of_rounds(1, bytes);
      double now = now_seconds();
      all += faults;
      if (round >= 6 && now - freed < pauses_ms[i] * 1e-3 + 0.1) late += faults, judged++;
      freed = now;
      sleep_ms(pauses_ms[i]);
    }
    check_note("pause %u ms: %zu page faults in 12 rounds, %zu in %zu late ones\n", pauses_ms[i],
               all, late, judged);
    CHECK_LE(late, judged * bytes / OS_PAGE / 4);
  }
}

static const check_case_t cases[] = {
    CASE(one_thread_keeps_16_mib_or_an_eighth),
#if FREED_MEMORY_WAITS
    CASE(no_call_purges_more_than_8_mib),
    CASE(rounds_of_several_calls_forget_nothing),
    CASE(collect_purges_all),
    CASE(memory_that_is_soon_allocated_again_stays),
    CASE(memory_stays_for_programs_that_pause),
#endif
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
