/* mutant_gaps.c - what the other programs did not notice when ci/mutants planted a fault. Each
 * case names the mutant of ctest/mutants that it is there for.
 */
#include "arenas.h"
#include <mimalloc-stats.h>
#include <sched.h>

/* Without a limit of its own a case may take all memory that there is. */
static void allow_os(void) { mi_option_set(mi_option_disallow_os_alloc, 0); }

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(s);
  CHECK(mi_stats_get(&s));
  return s;
}

/* ---- slices --------------------------------------------------------------------------------- */

#define TWO_SLICES (100 * KIB)

static size_t fill_arena(mi_heap_t* heap, void** blocks, size_t most, size_t size) {
  size_t n = 0;
  while (n < most && (blocks[n] = mi_heap_malloc(heap, size)) != NULL) n++;
  return n;
}
static void free_all(void** blocks, size_t n, size_t from, size_t step) {
  for (size_t i = from; i < n; i += step) {
    mi_free(blocks[i]);
    blocks[i] = NULL;
  }
}

/* bitmap-claim-not-undone: growing in place asks for slices of which the first are free and the
 * next are not; that must cost none. */
static void growing_that_fails_loses_no_memory(void) {
  enum { SLICES = 256, MOST = SLICES };
  static void* blocks[MOST];
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(SLICES * UNIT, true));
  REQUIRE(heap != NULL);
  size_t n = fill_arena(heap, blocks, MOST, TWO_SLICES);
  CHECK_GE(n, SLICES / 2 - 2);
  free_all(blocks, n, 1, 2); /* a hole of two slices behind each block, and then the next block */
  for (size_t i = 0; i < n; i += 2) {
    CHECK_NULL(mi_heap_realloc(heap, blocks[i], 5 * UNIT));
    CHECK(mi_heap_contains_block(heap, blocks[i]));
  }
  free_all(blocks, n, 0, 2);
  CHECK_EQ(fill_arena(heap, blocks, MOST, TWO_SLICES), n);
  free_all(blocks, n, 0, 1);
  mi_heap_delete(heap);
}

/* arena-commit-not-undone: memory that cannot be made accessible now may be so later. */
static void memory_that_becomes_accessible_later_is_all_used(void) {
  enum { SLICES = 64, MOST = SLICES };
  static void* blocks[MOST];
  /* A mapping of a file that is open for reading only cannot become writable. */
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  range_t r = range_new(SLICES * UNIT, PROT_NONE);
  REQUIRE(fd >= 0 && mmap(r.start, r.size, PROT_NONE, MAP_SHARED | MAP_FIXED, fd, 0) == r.start);
  mi_arena_id_t id = 0;
  REQUIRE(mi_manage_os_memory_ex(r.start, r.size, false, false, true, -1, true, &id));
  mi_heap_t* heap = mi_heap_new_in_arena(id);
  REQUIRE(heap != NULL);
  for (size_t size = 16; size <= r.size; size *= 2) CHECK_NULL(mi_heap_malloc(heap, size));
  REQUIRE(mmap(r.start, r.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
          r.start);
  CHECK_EQ(fill_arena(heap, blocks, MOST, TWO_SLICES), SLICES / 2);
  free_all(blocks, MOST, 0, 1);
  mi_heap_delete(heap);
  close(fd);
}

/* arena-purge-bit-not-cleared */
static void memory_in_use_does_not_wait_for_purge(void) {
  enum { SLICES = 64, MOST = SLICES };
  static void* blocks[MOST];
  mi_option_set(mi_option_purge_delay, 1000000);
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(SLICES * UNIT, true));
  REQUIRE(heap != NULL);
  size_t n = fill_arena(heap, blocks, MOST, TWO_SLICES);
  CHECK_EQ(n, SLICES / 2);
  free_all(blocks, n, 0, 1);
  print_start();
  mi_debug_show_arenas(false, false, false);
  CHECK_EQ(occurrences(printed, " 0 in use, 64 waiting for purge"), 1);
  CHECK_EQ(fill_arena(heap, blocks, MOST, TWO_SLICES), n);
  print_start();
  mi_debug_show_arenas(false, false, false);
  CHECK_EQ(occurrences(printed, " 64 in use, 0 waiting for purge"), 1);
  free_all(blocks, n, 0, 1);
  mi_heap_delete(heap);
}

/* arena-hint-not-lowered: what was freed is used again before what was never touched. */
static void released_memory_is_used_before_fresh_memory(void) {
  enum { BLOCKS = 4096 }; /* of 1 KiB: 64 pages */
  static void* blocks[BLOCKS];
  mi_option_set(mi_option_purge_delay, -1);
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(256 * MIB, true));
  REQUIRE(heap != NULL);
  uintptr_t least = UINTPTR_MAX, largest = 0;
  for (int round = 0; round < 40; round++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = mi_heap_malloc(heap, 1024);
      REQUIRE(blocks[i] != NULL);
      if (i < BLOCKS / 64) continue; /* in the first page, which has a place of its own */
      if ((uintptr_t)blocks[i] < least) least = (uintptr_t)blocks[i];
      if ((uintptr_t)blocks[i] > largest) largest = (uintptr_t)blocks[i];
    }
    free_all(blocks, BLOCKS, 0, 1);
    mi_heap_collect(heap, true);
  }
  CHECK_LE(largest - least, 4 * BLOCKS * KIB);
  mi_heap_destroy(heap);
}

/* ---- several threads at once ---------------------------------------------------------------- */

#define STARTERS 8
static struct {
  pthread_barrier_t barrier;
  void* blocks[STARTERS];
} together;

static void* allocate_together(void* arg) {
  void** block = (void**)arg;
  mi_free(mi_malloc(100)); /* the thread has its heap */
  pthread_barrier_wait(&together.barrier);
  *block = mi_malloc(20 * MIB);
  REQUIRE(*block != NULL);
  return NULL;
}

/* arena-no-second-look: threads that find no room at the same time get one new arena together. */
static void threads_that_find_no_room_share_a_new_arena(void) {
  enum { ROUNDS = 15 };
  static void* rest[2000];
  size_t n = 0;
  int64_t most = 0;
  mi_option_set(mi_option_arena_reserve, 256 * 1024); /* KiB */
  for (int round = 0; round < ROUNDS; round++) {
    /* Takes all that there is; in a thousandth of the time that it takes to use
     * it. */
    mi_option_set(mi_option_disallow_os_alloc, 1);
    while (n < COUNT_OF(rest) && (rest[n] = mi_malloc(20 * MIB)) != NULL) n++;
    REQUIRE(n < COUNT_OF(rest));
    mi_option_set(mi_option_disallow_os_alloc, 0);
    int64_t before = stats_now().arena_count.total;
    REQUIRE(pthread_barrier_init(&together.barrier, NULL, STARTERS) == 0);
    pthread_t threads[STARTERS];
    for (size_t i = 0; i < STARTERS; i++)
      threads[i] = thread_start(&allocate_together, &together.blocks[i]);
    for (size_t i = 0; i < STARTERS; i++) thread_join(threads[i]);
    pthread_barrier_destroy(&together.barrier);
    int64_t added = stats_now().arena_count.total - before;
    if (added > most) most = added;
  }
  CHECK_EQ(most, 1);
}

static int ended;

/* Stops when another thread says so. */
static void* purge_all_the_time(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) mi_collect(true);
  return NULL;
}

static void* use_blocks_of_whole_slices(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  for (size_t i = 0; i < check_scaled(20000); i++) {
    size_t size = TWO_SLICES + rng_below(&rng, 3 * UNIT);
    char* p = (char*)mi_malloc(size);
    REQUIRE(p != NULL);
    pages_mark(p, 0, size);
    if (i % 16 == 0) sched_yield();
    bool ok = pages_hold(p, 0, size, 1);
    mi_free(p);
    if (!CHECK(ok)) break;
  }
  return NULL;
}

/* arena-purge-without-claim: what is purged is in nobody's hands. */
static void blocks_keep_their_contents_while_others_purge(void) {
  allow_os();
  pthread_t purger = thread_start(&purge_all_the_time, NULL);
  pthread_t users[2];
  for (size_t i = 0; i < COUNT_OF(users); i++)
    users[i] = thread_start(&use_blocks_of_whole_slices, (void*)(i + 1));
  for (size_t i = 0; i < COUNT_OF(users); i++) thread_join(users[i]);
  __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
  thread_join(purger);
}

#define HEAPS_EACH 300
#define MAKERS 2
static struct {
  pthread_barrier_t made;
  mi_heap_t* heaps[MAKERS][HEAPS_EACH];
} making;

static void* make_heaps(void* arg) {
  mi_heap_t** heaps = (mi_heap_t**)arg;
  static __thread void* blocks[HEAPS_EACH];
  for (size_t i = 0; i < HEAPS_EACH; i++) {
    REQUIRE((heaps[i] = mi_heap_new()) != NULL);
    REQUIRE((blocks[i] = mi_heap_malloc(heaps[i], 64)) != NULL);
  }
  pthread_barrier_wait(&making.made);
  for (size_t i = 0; i < HEAPS_EACH; i++) CHECK(mi_heap_contains_block(heaps[i], blocks[i]));
  pthread_barrier_wait(&making.made);
  for (size_t i = 0; i < HEAPS_EACH; i++) mi_heap_destroy(heaps[i]);
  return NULL;
}
static void* make_arenas(void* arg) {
  (void)arg;
  for (size_t i = 0; i < 150; i++) (void)arena_new(4 * UNIT, true);
  return NULL;
}

/* meta-lock-not-taken: arenas and heaps get their records from one place, under other locks. */
static void arenas_and_heaps_are_made_at_the_same_time(void) {
  allow_os();
  REQUIRE(pthread_barrier_init(&making.made, NULL, MAKERS) == 0);
  pthread_t arenas = thread_start(&make_arenas, NULL);
  pthread_t threads[MAKERS];
  for (size_t i = 0; i < MAKERS; i++) threads[i] = thread_start(&make_heaps, making.heaps[i]);
  for (size_t i = 0; i < MAKERS; i++) thread_join(threads[i]);
  thread_join(arenas);
  size_t same = 0;
  for (size_t i = 0; i < HEAPS_EACH; i++)
    for (size_t k = 0; k < HEAPS_EACH; k++) same += making.heaps[0][i] == making.heaps[1][k];
  CHECK_EQ(same, 0);
}

/* ---- what the system is asked for ----------------------------------------------------------- */

/* os-tail-not-released */
static void aligned_reservations_give_all_back(void) {
  allow_os();
  size_t before = mapped_bytes();
  for (int i = 0; i < 8; i++) {
    void* p = mi_malloc_aligned(3 * GIB, GIB); /* larger than what arenas serve */
    REQUIRE(p != NULL);
    CHECK(is_aligned(p, GIB));
    mi_free(p);
  }
  CHECK_LE(mapped_bytes(), before + 256 * MIB); /* descriptors stay */
}

/* arena-purge-errno-lost: the system does not take back what is locked. */
static void free_keeps_errno_when_the_system_refuses(void) {
  allow_os();
  mi_option_set(mi_option_purge_delay, 0);
  char* p = (char*)mi_malloc(TWO_SLICES);
  REQUIRE(p != NULL && mlock(p, OS_PAGE) == 0);
  errno = 4711;
  mi_free(p);
  CHECK_EQ(errno, 4711);
  REQUIRE(munlock(p, OS_PAGE) == 0);
}

/* meta-second-guard-lost: the records lie between pages that nobody may touch. */
static void records_lie_between_guards(void) {
  static char maps[256 * 1024];
  uintptr_t record = (uintptr_t)mi_heap_get_backing();
  read_file("/proc/self/maps", maps, sizeof maps);
  uintptr_t before_end = 0;
  bool before_is_guard = false, found = false;
  for (char* line = maps; *line != 0; line = strchr(line, '\n') + 1) {
    char* rest;
    uintptr_t start = strtoul(line, &rest, 16);
    uintptr_t end = strtoul(rest + 1, &rest, 16);
    bool is_guard = strncmp(rest, " ---p", 5) == 0;
    if (found) {
      CHECK(is_guard);
      CHECK_EQ(start, before_end);
      return;
    }
    if (record >= start && record < end) {
      found = true;
      CHECK(before_is_guard);
      CHECK_EQ(before_end, start);
    }
    before_end = end;
    before_is_guard = is_guard;
  }
  CHECK(!"no mapping behind the records");
}

/* ---- messages ------------------------------------------------------------------------------- */

static size_t outputs;
static int foreign;

static void output_that_changes_errno(const char* text, void* arg) {
  (void)text, (void)arg;
  outputs++;
  errno = 77;
}

/* A secure build ends the program otherwise. */
static void ignore_error(int code, void* arg) { (void)code, (void)arg; }
static void go_on_after_errors(void) { mi_register_error(&ignore_error, NULL); }

/* log-errno-lost */
static void output_function_does_not_change_errno(void) {
  mi_register_output(&output_that_changes_errno, NULL);
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  outputs = 0;
  errno = 4711;
  mi_free(&foreign);
  CHECK_EQ(errno, 4711);
  CHECK_GE(outputs, 1);
}

static size_t depth, deepest;

static void output_that_causes_a_message(const char* text, void* arg) {
  (void)text, (void)arg;
  outputs++;
  if (++depth > deepest) deepest = depth;
  if (depth < 20) mi_free(&foreign);
  depth--;
}

/* log-message-inside-a-message */
static void messages_inside_an_output_function_are_dropped(void) {
  mi_register_output(&output_that_causes_a_message, NULL);
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  outputs = 0;
  mi_free(&foreign);
  CHECK_EQ(deepest, 1);
  CHECK_EQ(outputs, 1);
}

/* log-early-text-goes-on: only the first registration is told what came before. */
static void second_output_function_is_told_no_history(void) {
  mi_option_enable(mi_option_show_errors);
  go_on_after_errors();
  print_start();
  mi_register_output(NULL, NULL);
  int saved = dup(STDERR_FILENO);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  REQUIRE(saved >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0);
  mi_free(&foreign); /* to standard error */
  REQUIRE(dup2(saved, STDERR_FILENO) >= 0);
  print_start();
  CHECK_TEXT(printed, "");
}

static struct {
  size_t wrong, right;
  char first, second; /* what the functions are registered with */
} registrations;

static void first_error_function(int code, void* arg) {
  (void)code;
  __atomic_fetch_add(arg == &registrations.first ? &registrations.right : &registrations.wrong, 1,
                     __ATOMIC_RELAXED);
}
static void second_error_function(int code, void* arg) {
  (void)code;
  __atomic_fetch_add(arg == &registrations.second ? &registrations.right : &registrations.wrong, 1,
                     __ATOMIC_RELAXED);
}

static void* register_all_the_time(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
    mi_register_error(&first_error_function, &registrations.first);
    mi_register_error(&second_error_function, &registrations.second);
  }
  return NULL;
}
static void* fail_all_the_time(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) mi_free(&foreign);
  return NULL;
}
static void stop_for_a_while(int signal) {
  (void)signal;
  int saved = errno;
  sleep_ms(1);
  errno = saved;
}

/* callback-odd-sequence-not-seen: a function is called with its own argument, also when the thread
 * that registers stops in the middle. A signal makes it stop, and often there. */
static void error_function_and_argument_belong_together(void) {
  struct sigaction action = {.sa_handler = &stop_for_a_while, .sa_flags = SA_RESTART};
  allow_os();
  REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
  mi_register_error(&first_error_function, &registrations.first);
  pthread_t writer = thread_start(&register_all_the_time, NULL);
  pthread_t reader = thread_start(&fail_all_the_time, NULL);
  for (size_t i = 0; i < check_scaled(500); i++) {
    sleep_ms(2);
    REQUIRE(pthread_kill(writer, SIGUSR1) == 0);
  }
  __atomic_store_n(&ended, 1, __ATOMIC_RELAXED);
  thread_join(writer);
  thread_join(reader);
  CHECK_EQ(registrations.wrong, 0);
  CHECK_GE(registrations.right, 100);
}

/* report-unit-too-small */
static void whole_units_are_told_in_that_unit(void) {
  allow_os();
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL && mi_heap_malloc(heap, MIB) != NULL);
  print_start();
  mi_heap_stats_print_out(heap, &print_collect, NULL);
  char* row = strstr(printed, "large blocks:");
  REQUIRE(row != NULL);
  *strchr(row, '\n') = 0;
  CHECK_EQ(occurrences(row, "1.0 MiB"), 3);
  mi_heap_destroy(heap);
}

/* ---- what a heap keeps ---------------------------------------------------------------------- */

/* heap-trim-mark-not-set: a page is given back when its heap has not used it for a while, although
 * it is the current one of its class. Nobody may look meanwhile: that puts blocks back too. */
static void pages_that_a_heap_used_last_are_given_back(void) {
  static void* blocks[20000];
  size_t classes = 0;
  allow_os();
  int64_t before = stats_now().pages.current;
  for (size_t size = 16; size <= 64 * KIB; size += size < 1024 ? 16 : size / 8, classes++)
    mi_free(opaque(mi_malloc(size)));
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < COUNT_OF(blocks); i++) REQUIRE((blocks[i] = mi_malloc(100)) != NULL);
    free_all(blocks, COUNT_OF(blocks), 0, 1);
  }
  CHECK_LE(stats_now().pages.current, before + (int64_t)classes / 2);
}

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

/* heap-full-page-kept: a thread gives up pages that are full, so what others free in them is given
 * back without its help, also when it keeps few. */
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

static void* leave_pages_with_gaps(void* arg) {
  (void)arg;
  for (size_t i = 0; i < LEFT_BLOCKS; i++) REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
  for (size_t i = 0; i < LEFT_BLOCKS; i++)
    if (i % 4 != 0) mi_free(left.blocks[i]);
  return NULL;
}

/* unowned-summary-not-restored: all pages that an ended thread has left are found. */
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
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < LEFT_BLOCKS / 2; i++)
      REQUIRE((left.blocks[i] = mi_malloc(LEFT_SIZE)) != NULL);
    if (round < 19) free_all(left.blocks, LEFT_BLOCKS / 2, 0, 1);
  }
  free_all(left.blocks, LEFT_BLOCKS / 2, 0, 2);
  pthread_barrier_wait(&left.ready);
  pthread_barrier_wait(&left.go);
  return NULL;
}

static bool share_a_page(const void* a, const void* b) {
  return (uintptr_t)a / UNIT == (uintptr_t)b / UNIT;
}

/* heap-slices-not-counted-down: what a thread may keep does not become less with the time: of fewer
 * pages than that none is for others. */
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

/* free-page-not-offered: full pages belong to nobody, and what others free in them is for all. */
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

/* free-interior-owner-not-read: blocks of pages of several slices are freed by their thread like
 * all others, wherever in the page they lie: it needs no collecting to give the pages back. */
static void pages_of_several_slices_are_given_back_by_free(void) {
  enum { BLOCKS = 2000 }; /* 20 in a page of eight slices */
  static void* blocks[BLOCKS];
  allow_os();
  mi_heap_t* heap = mi_heap_new(); /* keeps its full pages, so that all frees are its own */
  REQUIRE(heap != NULL);
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE((blocks[i] = mi_heap_malloc(heap, 25000)) != NULL);
  int64_t before = stats_now().pages.current;
  free_all(blocks, BLOCKS, 0, 1);
  CHECK_LE(stats_now().pages.current, before - BLOCKS / 20 + 5);
  mi_heap_destroy(heap);
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

/* unowned-class-not-looked-at-again: pages that were offered, emptied and made into pages of
 * another class, which ended up unowned too, are not taken for what they were. */
static void pages_that_changed_their_class_are_taken_for_what_they_are(void) {
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
  /* It has as many pages as it may keep; now full ones of another size come. */
  for (size_t i = 0; i < OTHER_BLOCKS; i++) REQUIRE((other_blocks[i] = mi_malloc(2000)) != NULL);
  return NULL;
}

/* heap-old-page-lost: whatever pages a thread has no room for, all of them are there for others
 * when it has ended. */
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

/* heap-adopted-class-not-marked: a thread that only frees wins the page of blocks that its record's
 * last thread had filled, and gives it up at its end like one that it allocated from. */
enum { ADOPTED_SIZE = 528, ADOPTED_BLOCKS = 20 * 65536 / ADOPTED_SIZE };
static void* adopted[ADOPTED_BLOCKS];

static void* fill_for_others(void* arg) {
  for (size_t i = 0; i < ADOPTED_BLOCKS; i++)
    REQUIRE((adopted[i] = mi_malloc(ADOPTED_SIZE)) != NULL);
  return arg;
}
static void* free_half_of_them(void* arg) {
  mi_free(mi_malloc(2000)); /* the thread has its record, and no page of that class */
  for (size_t i = 0; i < ADOPTED_BLOCKS; i += 2) mi_free(adopted[i]);
  return arg;
}
static void pages_that_a_thread_only_took_over_are_given_up(void) {
  allow_os();
  int64_t before = stats_now().page_committed.current;
  for (int round = 0; round < 4; round++) {
    thread_join(thread_start(&fill_for_others, NULL));
    thread_join(thread_start(&free_half_of_them, NULL));
    for (size_t i = 1; i < ADOPTED_BLOCKS; i += 2) mi_free(adopted[i]);
  }
  CHECK_LE(stats_now().page_committed.current, before + 5 * 65536);
}

/* heap-recount-takes-all-for-used, thread-child-counts-parents-threads: the child counts what other
 * threads of its parent have left, and can give it back. */
static void child_knows_what_other_threads_left(void) {
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

/* ---- large blocks --------------------------------------------------------------------------- */

/* large-back-link-lost: blocks that come directly from the system leave their list in any order. */
static void direct_blocks_leave_in_any_order(void) {
  enum { MOST = 12 };
  static char* blocks[MOST];
  allow_os();
  mi_option_set(mi_option_arena_max_object_size, 1024); /* KiB */
  rng_t rng = {5};
  for (size_t i = 0; i < 3000; i++) {
    size_t at = rng_below(&rng, MOST);
    if (blocks[at] != NULL) {
      mi_free(blocks[at]);
      blocks[at] = NULL;
    } else {
      REQUIRE((blocks[at] = (char*)mi_malloc(2 * MIB)) != NULL);
    }
    for (size_t k = 0; k < MOST; k++)
      if (blocks[k] != NULL && !CHECK(mi_is_in_heap_region(blocks[k] + MIB))) return;
  }
  for (size_t k = 0; k < MOST; k++) mi_free(blocks[k]);
}

/* large-mark-not-cleared: nothing is left of the pointers that were given out into a block when
 * another block lies there. */
static void new_block_is_known_everywhere_inside(void) {
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(64 * UNIT, true));
  REQUIRE(heap != NULL);
  for (size_t offset = 8; offset <= 4 * UNIT; offset *= 2) {
    char* first = (char*)mi_heap_malloc(heap, 5 * UNIT);
    char* second = (char*)mi_heap_malloc_aligned_at(heap, 4 * UNIT, 8 * UNIT, offset);
    REQUIRE(first != NULL && second != NULL);
    CHECK(is_aligned(second + offset, 8 * UNIT));
    mi_free(first);
    mi_free(second);
    size_t slices = LARGE_BLOCKS_END_AT_GUARDS ? 63 : 64;
    char* all = (char*)mi_heap_malloc(heap, slices * UNIT);
    if (!CHECK_NOT_NULL(all)) return;
    for (size_t at = 0; at < slices; at++)
      if (!CHECK(mi_heap_contains_block(heap, all + at * UNIT + 100)))
        check_note("slice %zu, offset %zu\n", at, offset);
    mi_free(all);
  }
  mi_heap_delete(heap);
}

/* large-slices-not-counted-down: what a block gave up when it shrank is another's when it is freed.
 */
static void slices_of_a_shrunk_block_are_given_up_once(void) {
  enum { SLICES = 64, MOST = SLICES };
  static void* blocks[MOST];
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(SLICES * UNIT, true));
  REQUIRE(heap != NULL);
  size_t kept = 4 * UNIT - (LARGE_BLOCKS_END_AT_GUARDS ? OS_PAGE : 0);
  void* p = mi_heap_malloc(heap, 40 * UNIT);
  REQUIRE(p != NULL && mi_heap_realloc(heap, p, kept) == p);
  size_t n = fill_arena(heap, blocks, MOST, TWO_SLICES);
  CHECK_EQ(n, (SLICES - 4) / 2);
  mi_free(p);
  CHECK_EQ(fill_arena(heap, blocks + n, MOST - n, TWO_SLICES), 2);
  free_all(blocks, n + 2, 0, 1);
  mi_heap_delete(heap);
}

/* large-bytes-not-counted: blocks that are resized where they are count with their size. */
static void resized_blocks_are_counted_as_they_are(void) {
  allow_os();
  int64_t before = stats_now().malloc_huge.current;
  char* p = (char*)mi_malloc(4 * MIB);
  REQUIRE(p != NULL);
  CHECK_EQ(stats_now().malloc_huge.current, before + 4 * (int64_t)MIB);
  static const size_t sizes[] = {1, 3, 2, 5, 5};
  for (size_t i = 0; i < COUNT_OF(sizes); i++) {
    REQUIRE((p = (char*)mi_realloc(p, sizes[i] * MIB)) != NULL);
    CHECK_EQ(stats_now().malloc_huge.current, before + (int64_t)mi_usable_size(p));
  }
  mi_free(p);
  CHECK_EQ(stats_now().malloc_huge.current, before);
}

static size_t mapping_count(void) {
  static char maps[4 * 1024 * 1024];
  size_t n = 0, size = read_file("/proc/self/maps", maps, sizeof maps);
  for (size_t i = 0; i < size; i++) n += maps[i] == '\n';
  return n;
}

/* large-moved-flag-not-set: moved memory is a mapping of its own; when it is freed it becomes one
 * with its neighbours, of which the system allows only so many. */
static void blocks_that_grow_leave_no_mappings(void) {
  enum { VECTORS = 40, STEPS = 30 };
  static char* vectors[VECTORS];
  allow_os();
  size_t before = mapping_count();
  for (int round = 0; round < 10; round++) {
    for (size_t step = 1; step <= STEPS; step++)
      for (size_t i = 0; i < VECTORS; i++) {
        vectors[i] = (char*)mi_realloc(vectors[i], step * 300 * KIB + i * UNIT);
        REQUIRE(vectors[i] != NULL);
        touch_pages(vectors[i], 300 * KIB);
      }
    for (size_t i = 0; i < VECTORS; i++) {
      mi_free(vectors[i]);
      vectors[i] = NULL;
    }
  }
  size_t after = mapping_count();
  check_note("%zu mappings before, %zu after\n", before, after);
  CHECK_LE(after, before + 50);
}

/* ---- C++ ------------------------------------------------------------------------------------ */

/* The library looks here for the program's new-handler; a C program has none. */
static void (*new_handler)(void);
void (*_ZSt15get_new_handlerv(void))(void);
void (*_ZSt15get_new_handlerv(void))(void) { return new_handler; }

static size_t handler_calls;
static void allow_more(void) {
  handler_calls++;
  allow_os();
}

/* cxx-retry-forgets-alignment */
static void what_the_new_handler_made_possible_is_aligned(void) {
  new_handler = &allow_more;
  mi_option_set(mi_option_disallow_os_alloc, 1);
  void* p = mi_new_aligned(3 * GIB, GIB);
  CHECK_EQ(handler_calls, 1);
  CHECK(p != NULL && is_aligned(p, GIB));
  mi_free(p);
  mi_option_set(mi_option_disallow_os_alloc, 1);
  p = mi_new_aligned_nothrow(3 * GIB, GIB);
  CHECK_EQ(handler_calls, 2);
  CHECK(p != NULL && is_aligned(p, GIB));
  mi_free(p);
}

static const check_case_t cases[] = {
    CASE(growing_that_fails_loses_no_memory),
    CASE(memory_that_becomes_accessible_later_is_all_used),
    CASE(memory_in_use_does_not_wait_for_purge),
    CASE(released_memory_is_used_before_fresh_memory),
    CASE(threads_that_find_no_room_share_a_new_arena),
    CASE(blocks_keep_their_contents_while_others_purge),
    CASE(arenas_and_heaps_are_made_at_the_same_time),
    CASE(aligned_reservations_give_all_back),
    CASE(free_keeps_errno_when_the_system_refuses),
    CASE(records_lie_between_guards),
    CASE(output_function_does_not_change_errno),
    CASE(messages_inside_an_output_function_are_dropped),
    CASE(second_output_function_is_told_no_history),
    CASE(error_function_and_argument_belong_together),
    CASE(whole_units_are_told_in_that_unit),
    CASE(pages_that_a_heap_used_last_are_given_back),
    CASE(full_pages_need_no_help_of_their_thread),
    CASE(gaps_that_a_thread_left_are_filled),
    CASE(few_pages_stay_with_their_thread_after_many),
    CASE(gaps_in_full_pages_of_a_parked_thread_are_filled),
    CASE(pages_of_several_slices_are_given_back_by_free),
    CASE(pages_that_changed_their_class_are_taken_for_what_they_are),
    CASE(ended_threads_pages_are_all_released),
    CASE(pages_that_a_thread_only_took_over_are_given_up),
    CASE(child_knows_what_other_threads_left),
    CASE(direct_blocks_leave_in_any_order),
    CASE(new_block_is_known_everywhere_inside),
    CASE(slices_of_a_shrunk_block_are_given_up_once),
    CASE(resized_blocks_are_counted_as_they_are),
    CASE(blocks_that_grow_leave_no_mappings),
    CASE(what_the_new_handler_made_possible_is_aligned),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), cases, 0);
}
