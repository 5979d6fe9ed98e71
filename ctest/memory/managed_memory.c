/* managed_memory.c - memory from the program through mi_manage_os_memory, as the only memory: the
 * program runs with MIMALLOC_DISALLOW_OS_ALLOC=1. Two arenas lie within one GiB of addresses. */
#include "chain.h"

#define UNIT (64 * KIB)
#define SIZE_A (256 * MIB)
#define SIZE_B (128 * MIB)

typedef struct range_s {
  char* start;
  size_t size;
} range_t;

static bool range_has(const range_t* r, const void* p, size_t size) {
  const char* at = (const char*)opaque(p);
  return at >= r->start && at + size <= r->start + r->size;
}

/* Two GiB of addresses, aligned to one GiB, all inaccessible. */
static char* window_reserve(void) {
  char* map =
      (char*)mmap(NULL, 3 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(map != MAP_FAILED);
  return (char*)round_up((uintptr_t)map, GIB);
}

static range_t range_make(char* start, size_t size, int protection) {
  char* map = (char*)mmap(start, size, protection,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  REQUIRE(map == start);
  range_t r = {map, size};
  return r;
}

/* Allocates blocks of `size` until NULL; checks that each lies in `where`. */
static size_t fill(chain_t* c, size_t size, const range_t* where, size_t ranges) {
  size_t bytes = 0;
  for (;;) {
    void* p = mi_malloc(size);
    if (p == NULL) return bytes;
    bool inside = false;
    for (size_t i = 0; i < ranges; i++) inside = inside || range_has(&where[i], p, size);
    if (!inside) {
      check_fail("block %p of %zu bytes lies outside of the arenas\n", p, size);
      return bytes;
    }
    memset(p, 0x22, size);
    chain_add(c, p);
    bytes += size;
  }
}

static void without_an_arena_there_is_no_memory(void) {
  CHECK_EQ(mi_option_get(mi_option_disallow_os_alloc), 1);
  CHECK_NULL(mi_malloc(100));
  CHECK_NULL(mi_malloc(64 * MIB));
  CHECK_NULL(mi_calloc(10, 10));
  CHECK_NULL(mi_malloc_aligned(100, 4096));
}

static void two_arenas_within_one_gib_serve_blocks(void) {
  char* window = window_reserve();
  range_t r[2];
  r[0] = range_make(window + 64 * MIB, SIZE_A, PROT_READ | PROT_WRITE);
  r[1] = range_make(window + 512 * MIB, SIZE_B, PROT_READ | PROT_WRITE);
  static const size_t kinds[] = {48, 3000, 100000, 5 * MIB};

  CHECK(mi_manage_os_memory(r[0].start, r[0].size, true, false, true, -1));
  chain_t chain = {0};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    size_t got = fill(&chain, kinds[k], r, 1);
    check_note("arena A of %zu MiB holds %zu KiB in blocks of %zu bytes\n", SIZE_A / MIB, got / KIB,
               kinds[k]);
    /* 70 %: a block just above 64 KiB takes two units of address space. */
    CHECK_GE(got, SIZE_A / 10 * 7);
    chain_free(&chain);
    mi_collect(true);
  }
  char* large = (char*)mi_malloc(64 * MIB);
  REQUIRE(large != NULL);
  CHECK(range_has(&r[0], large, 64 * MIB));
  memset(large, 1, 64 * MIB);

  CHECK(mi_manage_os_memory(r[1].start, r[1].size, true, false, true, -1));
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    size_t got = fill(&chain, kinds[k], r, 2);
    CHECK_GE(got, (SIZE_A + SIZE_B - 64 * MIB) / 10 * 7);
    bool seen[2] = {false, false};
    for (void* p = chain.last; p != NULL; p = chain_next(p)) {
      seen[range_has(&r[1], p, kinds[k])] = true;
    }
    CHECK(seen[0] && seen[1]);
    chain_free(&chain);
    mi_collect(true);
  }
  CHECK(all_bytes_are(large, 64 * MIB, 1));
  CHECK(mi_is_in_heap_region(large));
  CHECK(mi_is_in_heap_region(r[1].start + SIZE_B / 2));
  CHECK(!mi_is_in_heap_region(window));             /* the same GiB, but in no arena */
  CHECK(!mi_is_in_heap_region(window + 400 * MIB)); /* between the two */
  CHECK(!mi_is_in_heap_region(window + 900 * MIB));
  mi_free(large);
}

static void arenas_may_touch_each_other(void) {
  char* window = window_reserve();
  range_t both = range_make(window, 128 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(window, 64 * MIB, true, false, true, -1));
  CHECK(mi_manage_os_memory(window + 64 * MIB, 64 * MIB, true, false, true, -1));
  chain_t chain = {0};
  size_t got = fill(&chain, 2 * MIB, &both, 1);
  CHECK_GE(got, 128 * MIB / 8 * 7);
  for (void* p = chain.last; p != NULL; p = chain_next(p)) {
    /* No block lies across two arenas. */
    bool low = (char*)p < window + 64 * MIB;
    CHECK(low == ((char*)p + 2 * MIB <= window + 64 * MIB));
  }
  chain_free(&chain);
}

static void arena_across_a_gib_boundary_works(void) {
  char* middle = window_reserve() + GIB;
  range_t r = range_make(middle - 32 * MIB, 64 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  char* across = (char*)mi_malloc(48 * MIB);
  REQUIRE(across != NULL);
  CHECK(range_has(&r, across, 48 * MIB));
  CHECK(mi_is_in_heap_region(across + 47 * MIB));
  memset(across, 1, 48 * MIB);
  mi_free(across);
  chain_t chain = {0};
  CHECK_GE(fill(&chain, 1000, &r, 1), r.size / 8 * 7);
  chain_free(&chain);
}

/* The bytes around the narrowed range stay unchanged. */
static void unaligned_range_is_narrowed(void) {
  char* window = window_reserve();
  range_t whole = range_make(window, 4 * MIB, PROT_READ | PROT_WRITE);
  memset(whole.start, 0x99, whole.size);
  range_t given = {window + 4096 + 16, 2 * MIB};
  CHECK(mi_manage_os_memory(given.start, given.size, true, false, false, -1));
  range_t inner = {window + UNIT, 2 * MIB - UNIT};
  chain_t chain = {0};
  size_t got = fill(&chain, 40, &inner, 1);
  CHECK_GE(got, inner.size / 2);
  chain_free(&chain);
  got = fill(&chain, 60000, &inner, 1);
  CHECK_GE(got, inner.size / 2);
  chain_free(&chain);
  mi_collect(true);
  CHECK(all_bytes_are(window, UNIT, 0x99));
  CHECK(all_bytes_are(window + 2 * MIB, whole.size - 2 * MIB, 0x99));
}

static void too_small_or_unnameable_memory_is_refused(void) {
  char* window = window_reserve();
  range_make(window, MIB, PROT_READ | PROT_WRITE);
  CHECK(!mi_manage_os_memory(window, 0, true, false, true, -1));
  CHECK(!mi_manage_os_memory(window, UNIT - 1, true, false, true, -1));
  CHECK(!mi_manage_os_memory(window + 1, UNIT, true, false, true, -1));
  CHECK(!mi_manage_os_memory(window + 1, 2 * UNIT - 2, true, false, true, -1));
  CHECK(!mi_manage_os_memory(NULL, MIB, true, false, true, -1));
  CHECK(!mi_manage_os_memory((void*)((uintptr_t)1 << 56), MIB, true, false, true, -1));
  CHECK(!mi_manage_os_memory((void*)(UINTPTR_MAX - MIB + 1), MIB, true, false, true, -1));
  CHECK(!mi_manage_os_memory(window, SIZE_MAX, true, false, true, -1));
  CHECK_NULL(mi_malloc(100)); /* none of it was taken */
}

static void smallest_arena_serves_a_block(void) {
  char* window = window_reserve();
  range_t r = range_make(window, UNIT, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  void* p = mi_malloc(100);
  CHECK(p != NULL && range_has(&r, p, 100));
  mi_free(p);
}

static void dirty_memory_gives_zeroed_blocks(void) {
  char* window = window_reserve();
  range_t r = range_make(window, 64 * MIB, PROT_READ | PROT_WRITE);
  memset(r.start, 0xFF, r.size);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, false, -1));
  const size_t kinds[] = {16, 100, 1000, 5000, 70000, 600000, 20 * MIB};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    void* held[3];
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = i == 1 ? mi_zalloc_aligned(kinds[k] / 2, 64) : mi_calloc(1, kinds[k]);
      REQUIRE(held[i] != NULL);
      CHECK(all_bytes_are(held[i], mi_usable_size(held[i]), 0));
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
    memset(held, 0, sizeof held);
  }
}

/* Inaccessible memory is made accessible before it is used. */
static void uncommitted_memory_is_committed(void) {
  char* window = window_reserve();
  range_t r = range_make(window, 64 * MIB, PROT_NONE);
  CHECK(mi_manage_os_memory(r.start, r.size, false, false, true, -1));
  chain_t chain = {0};
  const size_t kinds[] = {100, 5000, 300000, 10 * MIB};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    CHECK_GE(fill(&chain, kinds[k], &r, 1), r.size / 8 * 6);
    chain_free(&chain);
    mi_collect(true);
    void* z = mi_zalloc(kinds[k]);
    CHECK(z != NULL && all_bytes_are(z, kinds[k], 0));
    mi_free(z);
  }
}

static void large_page_memory_is_never_purged_other_memory_is(void) {
  char* window = window_reserve();
  range_t non_purgeable = range_make(window, 32 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(non_purgeable.start, non_purgeable.size, true, true, true, -1));
  chain_t chain = {0};
  fill(&chain, MIB - 100, &non_purgeable, 1);
  chain_free(&chain);
  size_t before = resident_pages(non_purgeable.start, non_purgeable.size);
  mi_collect(true);
  CHECK_EQ(resident_pages(non_purgeable.start, non_purgeable.size), before);
  CHECK_GE(before, 24 * MIB / OS_PAGE);
  void* z = mi_zalloc(MIB); /* non-purgeable memory that was used is not zero by itself */
  CHECK(z != NULL && all_bytes_are(z, MIB, 0));
  mi_free(z);

  /* Keeps the non-purgeable arena full, so that the next blocks come from the other one. */
  chain_t keep = {0};
  fill(&keep, MIB - 100, &non_purgeable, 1);
  fill(&keep, 60 * KIB, &non_purgeable, 1);
  range_t other = range_make(window + 256 * MIB, 32 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(other.start, other.size, true, false, true, -1));
  range_t both[2];
  both[0] = non_purgeable;
  both[1] = other;
  fill(&chain, MIB - 100, both, 2);
  CHECK_GE(resident_pages(other.start, other.size), 24 * MIB / OS_PAGE);
  chain_free(&chain);
  mi_collect(true);
  CHECK_LE(resident_pages(other.start, other.size), 4 * MIB / OS_PAGE);
  chain_free(&keep);
}

/* The library never unmaps it: every page can still be touched when all is free. */
static void managed_memory_stays_mapped(void) {
  char* window = window_reserve();
  range_t r = range_make(window, 32 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  chain_t chain = {0};
  fill(&chain, 3 * MIB, &r, 1);
  chain_free(&chain);
  mi_collect(true);
  resident_pages(r.start, r.size); /* fails for unmapped memory */
}

static void* fill_in_a_thread(void* arg) {
  range_t* r = (range_t*)arg;
  for (int i = 0; i < 20; i++) {
    chain_t chain = {0};
    rng_t rng = {(uint64_t)i};
    for (int n = 0; n < 1000; n++) {
      size_t size = 8 + rng_below(&rng, 8000);
      void* p = mi_malloc(size);
      if (p == NULL) break;
      CHECK(range_has(r, p, size));
      memset(p, 1, size);
      chain_add(&chain, p);
    }
    chain_free(&chain);
  }
  return NULL;
}
static void threads_share_an_arena(void) {
  char* window = window_reserve();
  range_t r = range_make(window, 64 * MIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  pthread_t threads[4];
  for (size_t i = 0; i < COUNT_OF(threads); i++) threads[i] = thread_start(&fill_in_a_thread, &r);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  chain_t chain = {0};
  CHECK_GE(fill(&chain, 100000, &r, 1), r.size / 2);
  chain_free(&chain);
}

/* ---- memory that is not anonymous --------------------------------------------------------- */

static int file_make(size_t size, unsigned char contents) {
  int fd = memfd_create("arena", MFD_CLOEXEC);
  REQUIRE(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
  if (contents != 0) {
    void* map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    REQUIRE(map != MAP_FAILED);
    memset(map, contents, size);
    munmap(map, size);
  }
  return fd;
}

static void zeroed_blocks_are_zero_when_memory_comes_back(const range_t* r) {
  static const size_t kinds[] = {100, 5000, 300000, 4 * MIB, 20 * MIB};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    chain_t chain = {0};
    CHECK_GE(fill(&chain, kinds[k], r, 1), r->size / 2);
    chain_free(&chain);
    mi_collect(true);
    size_t bytes = 0;
    for (;;) { /* all of it */
      void* z = mi_calloc(1, kinds[k]);
      if (z == NULL) break;
      if (!CHECK(all_bytes_are(z, kinds[k], 0))) {
        check_note("blocks of %zu bytes, after %zu bytes\n", kinds[k], bytes);
        return;
      }
      chain_add(&chain, z);
      bytes += kinds[k];
    }
    CHECK_GE(bytes, r->size / 2);
    chain_free(&chain);
    mi_collect(true);
  }
}

/* Giving shared memory back to the system does not zero it. */
static void shared_memory_gives_zeroed_blocks(void) {
  for (int committed = 0; committed < 2; committed++) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      range_t r = {window_reserve(), 64 * MIB};
      int fd = file_make(r.size, 0);
      REQUIRE(mmap(r.start, r.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
              r.start);
      CHECK(mi_manage_os_memory(r.start, r.size, committed != 0, false, true, -1));
      zeroed_blocks_are_zero_when_memory_comes_back(&r);
      /* The memory is still shared: the other mapping sees what is written here. */
      char* p = (char*)mi_malloc(10 * MIB);
      REQUIRE(p != NULL && range_has(&r, p, 10 * MIB));
      memset(p, 0x77, 10 * MIB);
      char* view = (char*)mmap(NULL, r.size, PROT_READ, MAP_SHARED, fd, 0);
      REQUIRE(view != MAP_FAILED);
      CHECK(all_bytes_are(view + (p - r.start), 10 * MIB, 0x77));
      mi_free(p);
      _exit(check_end());
    }
    if (check_wait_ok(pid, "child") != 0) check_note("is_committed %d\n", committed);
  }
}

/* A purge of a private file mapping brings the file's bytes back. */
static void private_file_mapping_gives_zeroed_blocks(void) {
  range_t r = {window_reserve(), 64 * MIB};
  int fd = file_make(r.size, 0x99);
  REQUIRE(mmap(r.start, r.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == r.start);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, false, -1));
  zeroed_blocks_are_zero_when_memory_comes_back(&r);
}

/* Blocks above half a GiB and alignments of one GiB fit into it as well. */
static void very_large_blocks_fit_into_2_gib(void) {
  range_t r = range_make(window_reserve(), 2 * GIB, PROT_READ | PROT_WRITE);
  CHECK(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  static const size_t wanted[][2] = {
      {600 * MIB, 16},  {128 * KIB, GIB},   {512 * MIB, 16},        {513 * MIB, 64}, {100, GIB},
      {MIB, 512 * MIB}, {1536 * MIB, 4096}, {300 * MIB, 256 * MIB}, {GIB, 16}};
  for (size_t i = 0; i < COUNT_OF(wanted); i++) {
    char* p = (char*)mi_malloc_aligned(wanted[i][0], wanted[i][1]);
    if (!CHECK(p != NULL && is_aligned(p, wanted[i][1]) && range_has(&r, p, wanted[i][0]))) {
      check_note("%zu KiB, alignment %zu: %p\n", wanted[i][0] / KIB, wanted[i][1], (void*)p);
    }
    mi_free(p);
  }
  /* One after the other. */
  char* p = (char*)mi_malloc(600 * MIB);
  char* q = (char*)mi_malloc_aligned(128 * KIB, GIB);
  char* s = (char*)mi_malloc(600 * MIB);
  CHECK(p != NULL && range_has(&r, p, 600 * MIB));
  CHECK(q != NULL && range_has(&r, q, 128 * KIB) && is_aligned(q, GIB));
  CHECK(s != NULL && range_has(&r, s, 600 * MIB));
  if (p != NULL) p[600 * MIB - 1] = 1;
  mi_free(p);
  mi_free(q);
  mi_free(s);
}

static const check_case_t cases[] = {
    CASE(without_an_arena_there_is_no_memory),
    CASE(two_arenas_within_one_gib_serve_blocks),
    CASE(arenas_may_touch_each_other),
    CASE(arena_across_a_gib_boundary_works),
    CASE(unaligned_range_is_narrowed),
    CASE(too_small_or_unnameable_memory_is_refused),
    CASE(smallest_arena_serves_a_block),
    CASE(dirty_memory_gives_zeroed_blocks),
    CASE(uncommitted_memory_is_committed),
    CASE(large_page_memory_is_never_purged_other_memory_is),
    CASE(managed_memory_stays_mapped),
    CASE(threads_share_an_arena),
    CASE(shared_memory_gives_zeroed_blocks),
    CASE(private_file_mapping_gives_zeroed_blocks),
    CASE(very_large_blocks_fit_into_2_gib),
};

int main(int argc, char** argv) {
  /* Read by the library at start, so it must be there before this process begins. */
  if (getenv("MIMALLOC_DISALLOW_OS_ALLOC") == NULL) {
    setenv("MIMALLOC_DISALLOW_OS_ALLOC", "1", 1);
    execv("/proc/self/exe", argv);
    return 126;
  }
  return CHECK_MAIN(argc, argv, cases);
}
