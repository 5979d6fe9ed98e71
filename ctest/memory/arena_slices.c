/* arena_slices.c - the slices of arenas: none is lost, used ones are reused before fresh ones, and
 * threads that allocate, purge and reserve at the same time do not disturb each other. Each case
 * names the planted faults that it must catch. */
#include "arena_blocks.h"

/* ---- slices ---- */

/* bitmap-claim-not-undone: growth in place asks for slices of which the first are free and the next
 * are not. The failed claim must lose none of them. */
static void growing_that_fails_loses_no_memory(void) {
  enum { SLICES = 256, MOST = SLICES };
  static void* blocks[MOST];
  mi_heap_t* heap = mi_heap_new_in_arena(arena_new(SLICES * UNIT, true));
  REQUIRE(heap != NULL);
  size_t n = fill_arena(heap, blocks, MOST, TWO_SLICES);
  CHECK_GE(n, SLICES / 2 - 2);
  free_all(blocks, n, 1, 2); /* a hole of two slices after each block, and then the next block */
  for (size_t i = 0; i < n; i += 2) {
    CHECK_NULL(mi_heap_realloc(heap, blocks[i], 5 * UNIT));
    CHECK(mi_heap_contains_block(heap, blocks[i]));
  }
  free_all(blocks, n, 0, 2);
  CHECK_EQ(fill_arena(heap, blocks, MOST, TWO_SLICES), n);
  free_all(blocks, n, 0, 1);
  mi_heap_delete(heap);
}

/* arena-commit-not-undone: memory that cannot be made accessible now may become accessible
 * later. */
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

/* arena-hint-not-lowered: freed memory is reused before fresh memory. */
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
      if (i < BLOCKS / 64) continue; /* in the first page, which lies at the home slot */
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

/* arena-no-second-look: threads that find no room at the same time share one new arena. */
static void threads_that_find_no_room_share_a_new_arena(void) {
  enum { ROUNDS = 15 };
  static void* rest[2000];
  size_t n = 0;
  int64_t most = 0;
  mi_option_set(mi_option_arena_reserve, 256 * 1024); /* KiB */
  for (int round = 0; round < ROUNDS; round++) {
    /* Takes all memory in large blocks, in a thousandth of the time of filling it. */
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

/* Runs until another thread ends it. */
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

/* arena-purge-without-claim: the purge takes only slices that it has claimed. */
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

/* meta-lock-not-taken: arenas and heaps get their structs from the same allocator, under different
 * locks. */
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

/* ---- calls to the system -------------------------------------------------------------------- */

/* os-tail-not-released */
static void aligned_reservations_give_all_back(void) {
  allow_os();
  size_t before = mapped_bytes();
  for (int i = 0; i < 8; i++) {
    void* p = mi_malloc_aligned(3 * GIB, GIB); /* larger than an arena block may be */
    REQUIRE(p != NULL);
    CHECK(is_aligned(p, GIB));
    mi_free(p);
  }
  CHECK_LE(mapped_bytes(), before + 256 * MIB); /* descriptors stay */
}

/* arena-purge-errno-lost: the system refuses to take back locked memory. */
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

/* meta-second-guard-lost: the metadata lies between two inaccessible pages. */
static void metadata_lies_between_guards(void) {
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
    CASE(metadata_lies_between_guards),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), cases, 0);
}
