/* arenas_api.c - arenas that the program adds: ids and areas, memory of the program and its stated
 * properties, memory from the OS, and the printed map. os_pages.c counts the calls of the library
 * to the system. */
#include "arenas.h"
#include "os_pages.h"

/* ---- ids --------------------------------------------------------------------------------- */

static void arena_ids_count_from_one(void) {
  range_t a = range_new(MIB, PROT_READ | PROT_WRITE);
  range_t b = range_new(2 * MIB, PROT_READ | PROT_WRITE);
  CHECK_EQ(manage(a, false), 1);
  CHECK_EQ(manage(b, true), 2);
  size_t size = 1;
  CHECK_SAME(mi_arena_area(1, &size), a.start);
  CHECK_EQ(size, a.size);
  CHECK_SAME(mi_arena_area(2, &size), b.start);
  CHECK_EQ(size, b.size);
  CHECK_SAME(mi_arena_area(2, NULL), b.start);
  CHECK(mi_arena_contains(1, a.start));
  CHECK(mi_arena_contains(1, a.start + a.size - 1));
  CHECK(!mi_arena_contains(1, a.start - 1));
  CHECK(!mi_arena_contains(1, a.start + a.size));
  CHECK(!mi_arena_contains(1, b.start));
  CHECK(mi_arena_contains(2, b.start));
  CHECK(!mi_arena_contains(1, NULL));
  CHECK(!mi_arena_contains(1, (void*)UINTPTR_MAX));
}

static void unknown_ids_are_no_arena(void) {
  range_t a = range_new(MIB, PROT_READ | PROT_WRITE);
  static const int ids[] = {0, 1, -1, 256, 257, 100000, INT32_MAX, INT32_MIN};
  for (int known = 0; known < 2; known++) {
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
      if (known && ids[i] == 1) continue;
      size_t size = 1;
      CHECK_NULL(mi_arena_area(ids[i], &size));
      CHECK_EQ(size, 0);
      CHECK_NULL(mi_arena_area(ids[i], NULL));
      CHECK(!mi_arena_contains(ids[i], a.start));
      CHECK(!mi_arena_contains(ids[i], NULL));
      if (ids[i] != 0) CHECK_NULL(mi_heap_new_in_arena(ids[i]));
    }
    CHECK_EQ(manage(a, false), 1 + known);
    a = range_new(MIB, PROT_READ | PROT_WRITE);
  }
}

static void least_arena_has_the_documented_size(void) {
  CHECK_EQ(mi_arena_min_size(), UNIT);
  CHECK_EQ(mi_arena_min_alignment(), UNIT);
  range_t r = range_new(MIB, PROT_READ | PROT_WRITE);
  mi_arena_id_t id = 99;
  CHECK(!mi_manage_os_memory_ex(r.start, UNIT - 1, true, false, true, -1, false, &id));
  CHECK_EQ(id, 0);
  CHECK(mi_manage_os_memory_ex(r.start, mi_arena_min_size(), true, false, true, -1, false, &id));
  CHECK_EQ(id, 1);
  CHECK_EQ(area_of(1).size, UNIT);
  /* Narrowed at both ends. */
  CHECK(mi_manage_os_memory_ex(r.start + 3 * UNIT - 1, 2 * UNIT + 2, true, false, true, -1, false,
                               &id));
  CHECK_SAME(area_of(id).start, r.start + 3 * UNIT);
  CHECK_EQ(area_of(id).size, 2 * UNIT);
}

static void memory_that_cannot_be_named_is_refused(void) {
  static const struct {
    uintptr_t start;
    size_t size;
  } wrong[] = {{0, MIB},
               {0, SIZE_MAX},
               {(uintptr_t)1 << 48, MIB},
               {((uintptr_t)1 << 48) - MIB, 2 * MIB},
               {(uintptr_t)1 << 52, GIB},
               {UINTPTR_MAX - MIB + 1, MIB},
               {UINTPTR_MAX - MIB + 1, MIB - 1},
               {(uintptr_t)UNIT, SIZE_MAX},
               {UINTPTR_MAX, 0},
               {1, UNIT}};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    mi_arena_id_t id = 99;
    void* start = (void*)wrong[i].start;
    CHECK(!mi_manage_os_memory_ex(start, wrong[i].size, true, false, true, -1, false, &id));
    CHECK_EQ(id, 0);
    CHECK(!mi_manage_os_memory_ex(start, wrong[i].size, false, true, false, 3, true, NULL));
    CHECK(!mi_manage_os_memory(start, wrong[i].size, true, false, true, -1));
  }
  CHECK_NULL(mi_arena_area(1, NULL));
}

static void memory_is_taken_once(void) {
  range_t r = range_new(16 * UNIT, PROT_READ | PROT_WRITE);
  range_t middle = {r.start + 4 * UNIT, 4 * UNIT};
  CHECK_EQ(manage(middle, false), 1);
  static const size_t wrong[][2] = {{4, 4}, {3, 2}, {7, 2}, {5, 1}, {0, 16}, {4, 12}, {0, 5}};
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    mi_arena_id_t id = 99;
    bool added = mi_manage_os_memory_ex(r.start + wrong[i][0] * UNIT, wrong[i][1] * UNIT, true,
                                        false, true, -1, false, &id);
    if (!CHECK(!added)) check_note("%zu units from unit %zu\n", wrong[i][1], wrong[i][0]);
    CHECK_EQ(id, 0);
  }
  range_t before = {r.start, 4 * UNIT};
  range_t behind = {r.start + 8 * UNIT, 8 * UNIT};
  CHECK_EQ(manage(before, false), 2);
  CHECK_EQ(manage(behind, false), 3);
  CHECK(mi_arena_contains(2, middle.start - 1));
  CHECK(mi_arena_contains(1, middle.start));
  /* The same for an arena of this program. */
  mi_arena_id_t own;
  REQUIRE(mi_reserve_os_memory_ex(MIB, true, false, false, &own) == 0);
  CHECK(!mi_manage_os_memory(area_of(own).start + UNIT, UNIT, true, false, true, -1));
}

static void helper_live_block(void) {
  char* block = (char*)mi_malloc(700 * MIB); /* OS-mapped */
  REQUIRE(block != NULL);
  CHECK(!mi_manage_os_memory(block, 700 * MIB, true, false, false, -1));
  CHECK(!mi_manage_os_memory(block + 300 * MIB, MIB, true, false, false, -1));
  CHECK(!mi_manage_os_memory(block - MIB, 2 * MIB, true, false, false, -1));
  CHECK_EQ(mi_usable_size(block), 700 * MIB);
  block[650 * MIB] = 1;
  mi_free(block);
  char* small = (char*)mi_malloc(10 * MIB);
  REQUIRE(small != NULL);
  CHECK(!mi_manage_os_memory(small, 10 * MIB, true, false, false, -1));
  mi_free(small);
}
static void live_blocks_are_not_taken_as_memory(void) {
  RUN_HELPER(helper_live_block, "MIMALLOC_DISALLOW_OS_ALLOC=0");
}

static void helper_many_arenas(void) {
  mi_free(mi_malloc(100));
  range_t r = range_new(300 * UNIT, PROT_READ | PROT_WRITE);
  size_t added = 0;
  mi_arena_id_t id = 0, last = 0;
  while (added < 300 &&
         mi_manage_os_memory_ex(r.start + added * UNIT, UNIT, true, false, true, -1, false, &id)) {
    CHECK(id > last);
    last = id;
    added++;
  }
  check_note("%zu arenas\n", added);
  CHECK_GE(added, 150);
  CHECK_LE(added, 299);
  CHECK_EQ(id, 0);
  mi_arena_id_t none = 99;
  size_t mapped = mapped_bytes();
  CHECK_EQ(mi_reserve_os_memory_ex(MIB, true, false, false, &none), ENOMEM);
  CHECK_EQ(none, 0);
  CHECK_EQ(mapped_bytes(), mapped);
  /* The program can still grow. */
  chain_t c = {0};
  for (size_t i = 0; i < 10000; i++)
    if (!CHECK(chain_add(&c, mi_malloc(10000)))) break;
  chain_free(&c);
}
static void a_full_list_of_arenas_does_not_starve_the_program(void) {
  RUN_HELPER(helper_many_arenas, "MIMALLOC_DISALLOW_OS_ALLOC=0", "MIMALLOC_ARENA_RESERVE=16MiB");
}

static void* reserve_in_a_thread(void* arg) {
  mi_arena_id_t* ids = (mi_arena_id_t*)arg;
  for (size_t i = 0; i < 20; i++)
    CHECK_EQ(mi_reserve_os_memory_ex(MIB, i % 2 == 0, false, true, &ids[i]), 0);
  return NULL;
}
static void threads_reserve_at_the_same_time(void) {
  arena_new(MIB, false); /* for the memory of the threads themselves */
  mi_arena_id_t ids[4][20];
  pthread_t threads[4];
  for (size_t t = 0; t < 4; t++) threads[t] = thread_start(&reserve_in_a_thread, ids[t]);
  for (size_t t = 0; t < 4; t++) thread_join(threads[t]);
  bool seen[100] = {false};
  for (size_t i = 0; i < 80; i++) {
    mi_arena_id_t id = ids[i / 20][i % 20];
    REQUIRE(id >= 2 && id <= 81);
    CHECK(!seen[id]);
    seen[id] = true;
    for (mi_arena_id_t other = 1; other <= 81; other++)
      if (other != id) CHECK(!mi_arena_contains(other, area_of(id).start + MIB - 1));
  }
}

/* ---- stated properties of managed memory --------------------------------------------------- */

static void accessible_memory_is_left_as_it_is(void) {
  range_t r = range_new(16 * MIB, PROT_READ | PROT_WRITE);
  size_t before = os_pages.protects;
  REQUIRE(mi_manage_os_memory_ex(r.start, r.size, true, false, true, -1, false, NULL));
  before = os_pages.protects - before; /* guards of our metadata */
  size_t protects = os_pages.protects;
  for (size_t size = 16; size <= 8 * MIB; size *= 4) use_and_release(size, 0xEE);
  CHECK_LE(os_pages.protects - protects, 4); /* the metadata of a thread may need guards as well */
  CHECK(is_readable(r.start + r.size - 1));
}

static void inaccessible_memory_is_made_accessible_on_demand(void) {
  range_t r = range_new(16 * MIB, PROT_NONE);
  REQUIRE(mi_manage_os_memory_ex(r.start, r.size, false, false, true, -1, false, NULL));
  char* p = (char*)mi_zalloc(4 * MIB);
  REQUIRE(p != NULL && range_has(r, p, 4 * MIB));
  CHECK(all_bytes_are(p, 4 * MIB, 0));
  memset(p, 1, 4 * MIB);
  size_t open = 0;
  for (size_t i = 0; i < r.size; i += UNIT) open += is_readable(r.start + i);
  CHECK_GE(open, 4 * MIB / UNIT);
  CHECK_LE(open, 5 * MIB / UNIT);
  mi_free(p);
  mi_collect(true);
  for (size_t size = 16; size <= 8 * MIB; size *= 4) use_and_release(size, 0xEE);
}

/* Memory that cannot be made accessible is not allocated. */
static void memory_that_stays_inaccessible_is_not_used(void) {
  int fd = memfd_create("sealed", MFD_CLOEXEC);
  REQUIRE(fd >= 0 && ftruncate(fd, 4 * MIB) == 0);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int reader = open(path, O_RDONLY | O_CLOEXEC);
  REQUIRE(reader >= 0);
  range_t r = range_new(4 * MIB, PROT_NONE);
  REQUIRE(mmap(r.start, r.size, PROT_READ, MAP_SHARED | MAP_FIXED, reader, 0) == r.start);
  REQUIRE(mi_manage_os_memory(r.start, r.size, false, false, true, -1));
  CHECK_NULL(mi_malloc(100));
  CHECK_NULL(mi_malloc(MIB));
  mi_arena_id_t id = arena_new(8 * MIB, false);
  char* p = (char*)mi_malloc(MIB);
  REQUIRE(p != NULL);
  CHECK(mi_arena_contains(id, p));
  memset(p, 1, MIB);
  mi_free(p);
}

static void large_page_memory_is_never_given_back(void) {
  range_t r = range_new(32 * MIB, PROT_READ | PROT_WRITE);
  /* is_large implies accessible, regardless of is_committed. */
  REQUIRE(mi_manage_os_memory_ex(r.start, r.size, false, true, true, -1, false, NULL));
  size_t protects = os_pages.protects;
  for (size_t i = 0; i < 3; i++) {
    for (size_t size = 16; size <= 16 * MIB; size *= 4) use_and_release(size, 0xEE);
    mi_collect(true);
  }
  size_t resident = RSS_IS_MEANINGFUL ? resident_pages(r.start, r.size) : 0;
  if (RSS_IS_MEANINGFUL) CHECK_GE(resident, 16 * MIB / OS_PAGE);
  CHECK_EQ(os_pages.purges, 0);
  CHECK_LE(os_pages.protects - protects, 4);
  void* z = mi_zalloc(16 * MIB); /* dirty by now, and never purged */
  CHECK(z != NULL && all_bytes_are(z, 16 * MIB, 0));
  mi_free(z);
}

static void zero_memory_is_not_cleared_again(void) {
  range_t r = range_new(128 * MIB, PROT_READ | PROT_WRITE);
  REQUIRE(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  char* p = (char*)mi_zalloc(100 * MIB);
  REQUIRE(p != NULL && range_has(r, p, 100 * MIB));
  CHECK_LE(resident_pages(p, 100 * MIB), 8);
  CHECK_EQ(p[50 * MIB], 0);
  mi_free(p);
}

/* Fill, free, purge, zalloc, scan. The memory was dirty when the library received it. */
static void dirty_memory_is_cleared(void) {
  for (int committed = 0; committed < 2; committed++) {
    range_t r = range_new(32 * MIB, PROT_READ | PROT_WRITE);
    memset(r.start, 0xFF, r.size);
    mi_arena_id_t id;
    REQUIRE(mi_manage_os_memory_ex(r.start, r.size, committed != 0, false, false, -1, true, &id));
    mi_heap_t* heap = mi_heap_new_in_arena(id);
    REQUIRE(heap != NULL);
    static const size_t kinds[] = {8, 100, 3000, 40000, 300000, 4 * MIB};
    for (int round = 0; round < 3; round++) {
      for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        void* held[4];
        for (size_t i = 0; i < COUNT_OF(held); i++) {
          held[i] = mi_heap_zalloc(heap, kinds[k]);
          REQUIRE(held[i] != NULL);
          CHECK(range_has(r, held[i], kinds[k]));
          CHECK(all_bytes_are(held[i], kinds[k], 0));
        }
        for (size_t i = 0; i < COUNT_OF(held); i++) {
          memset(held[i], 0xEE, kinds[k]);
          mi_free(held[i]);
        }
        if (round == 1) mi_collect(true);
      }
    }
    mi_heap_delete(heap);
  }
}

static void a_large_block_in_managed_memory_needs_no_system_call(void) {
  range_t r = range_new(256 * MIB, PROT_READ | PROT_WRITE);
  REQUIRE(mi_manage_os_memory(r.start, r.size, true, false, true, -1));
  mi_free(mi_malloc(100)); /* the thread has its heap now */
  size_t maps = os_pages.maps, protects = os_pages.protects;
  char* p = (char*)mi_malloc(64 * MIB);
  char* q = (char*)mi_malloc_aligned(64 * MIB, 32 * MIB);
  CHECK_EQ(os_pages.maps, maps);
  CHECK_EQ(os_pages.protects, protects);
  CHECK(p != NULL && range_has(r, p, 64 * MIB));
  CHECK(q != NULL && range_has(r, q, 64 * MIB) && is_aligned(q, 32 * MIB));
  CHECK_NULL(mi_malloc(256 * MIB)); /* and nothing besides */
  mi_free(p);
  mi_free(q);
}

/* ---- memory from the OS -------------------------------------------------------------------- */

static void reserved_memory_serves_blocks(void) {
  mi_arena_id_t id = 99;
  CHECK_EQ(mi_reserve_os_memory_ex(10 * MIB + 1, true, false, false, &id), 0);
  CHECK_EQ(id, 1);
  range_t a = area_of(id);
  CHECK_EQ(a.size, 10 * MIB + UNIT);
  CHECK(is_aligned(a.start, UNIT));
  CHECK(is_readable(a.start) && is_readable(a.start + a.size - 1));
  char* p = (char*)mi_malloc(8 * MIB);
  CHECK(p != NULL && range_has(a, p, 8 * MIB));
  CHECK_NULL(mi_malloc(8 * MIB));

  size_t whole = 8 * MIB + (LARGE_BLOCKS_END_AT_GUARDS ? UNIT : 0);
  CHECK_EQ(mi_reserve_os_memory(whole, false, false), 0);
  range_t b = area_of(2);
  CHECK_EQ(b.size, whole);
  CHECK(!is_readable(b.start) && !is_readable(b.start + b.size - 1));
  char* q = (char*)mi_zalloc(8 * MIB);
  REQUIRE(q != NULL && range_has(b, q, 8 * MIB));
  CHECK(all_bytes_are(q, 8 * MIB, 0));
  memset(q, 1, 8 * MIB);
  mi_free(q);
  mi_collect(true);
  CHECK(!is_readable(b.start)); /* given back as a whole */
  mi_free(p);
}

static void impossible_sizes_give_enomem(void) {
  static const size_t wrong[] = {0, SIZE_MAX, SIZE_MAX - UNIT, (size_t)1 << 60, (size_t)1 << 48};
  size_t mapped = mapped_bytes();
  for (size_t i = 0; i < COUNT_OF(wrong); i++) {
    for (int flags = 0; flags < 4; flags++) {
      mi_arena_id_t id = 99;
      bool commit = (flags & 1) != 0, large = (flags & 2) != 0;
      CHECK_EQ(mi_reserve_os_memory_ex(wrong[i], commit, large, true, &id), ENOMEM);
      CHECK_EQ(id, 0);
      CHECK_EQ(mi_reserve_os_memory(wrong[i], commit, large), ENOMEM);
      CHECK_EQ(mi_reserve_os_memory_ex(wrong[i], commit, large, true, NULL), ENOMEM);
    }
  }
  CHECK_EQ(mapped_bytes(), mapped);
  CHECK_NULL(mi_arena_area(1, NULL));
}

static void helper_no_reserve(void) {
  void* p = mi_malloc(100);
  REQUIRE(p != NULL);
  CHECK_LE(area_of(1).size, MIB);
  void* held[40];
  for (size_t i = 0; i < COUNT_OF(held); i++) CHECK_NOT_NULL(held[i] = mi_malloc(20 * MIB));
  size_t total = 0;
  for (mi_arena_id_t id = 1; mi_arena_area(id, NULL) != NULL; id++) total += area_of(id).size;
  check_note("%zu MiB of arenas for %zu MiB\n", total / MIB, COUNT_OF(held) * 20);
  CHECK_LE(total, COUNT_OF(held) * 20 * MIB * 5 / 4);
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  mi_free(p);
}
static void nothing_is_reserved_ahead_if_the_option_says_so(void) {
  RUN_HELPER(helper_no_reserve, "MIMALLOC_DISALLOW_OS_ALLOC=0", "MIMALLOC_ARENA_RESERVE=0");
}

/* ---- what is printed ------------------------------------------------------------------------- */

static void* leave_one_block(void* arg) {
  *(void**)arg = mi_malloc(300);
  return NULL;
}

/* The number of lines of the map. Checks that each has at most 64 characters, all of the known
 * ones. */
static size_t map_lines(const char* text, const char* known) {
  size_t lines = 0;
  for (const char* s = strchr(text, '|'); s != NULL; s = strchr(s, '|')) {
    size_t n = strspn(++s, known);
    CHECK(n >= 1 && n <= 64);
    CHECK(s[n] == '|' && s[n + 1] == '\n');
    s += n + 1;
    lines++;
  }
  return lines;
}
static bool map_shows(const char* text, char what) {
  for (const char* s = strchr(text, '|'); s != NULL; s = strchr(s, '|')) {
    const char* end = strchr(++s, '|');
    REQUIRE(end != NULL);
    if (memchr(s, what, (size_t)(end - s)) != NULL) return true;
    s = end + 1;
  }
  return false;
}

static const char* shown(bool inuse, bool abandoned, bool purge) {
  print_start();
  mi_debug_show_arenas(inuse, abandoned, purge);
  return printed;
}

static void arenas_are_shown(void) {
  mi_option_set(mi_option_purge_delay, 100000); /* free memory stays pending */
  range_t r = range_new(16 * MIB, PROT_READ | PROT_WRITE);
  REQUIRE(mi_manage_os_memory(r.start, r.size, true, false, true, 5));
  arena_new(MIB, true);
  os_pages.active = true;
  os_pages.huge_pages = 1;
  REQUIRE(mi_reserve_huge_os_pages_at(1, -1, 0) == 0);
  void* held = mi_malloc(MIB);
  mi_free(mi_malloc(8 * MIB));

  mi_option_disable(mi_option_verbose); /* the map is printed regardless of verbose */
  const char* text = shown(true, true, true);
  CHECK_LE(printed_longest, 500);
  CHECK_EQ(occurrences(text, "arena "), 3);
  char name[64];
  snprintf(name, sizeof name, "arena 1 at %p: %zu KiB, node 5, given by the program\n",
           (void*)r.start, r.size / KIB);
  CHECK(strstr(text, name) != NULL);
  CHECK(strstr(text, "arena 2 at ") != NULL && strstr(text, ", exclusive") != NULL);
  CHECK(strstr(text, ", non-purgeable") != NULL);
  CHECK(strstr(text, "256 slices: ") != NULL);
  CHECK_EQ(map_lines(text, "#+ap."), 4 + 1 + 16);
  CHECK(map_shows(text, '#') && map_shows(text, 'p') && map_shows(text, '.'));
  CHECK(!map_shows(text, 'a'));
  CHECK(strstr(text, " 0 abandoned pages") != NULL);

  /* Full pages of a live heap are not shown as abandoned, pages of an ended thread are. */
  chain_t c = {0};
  for (int i = 0; i < 3000; i++) chain_add(&c, mi_malloc(1000));
  CHECK(!map_shows(shown(true, true, true), 'a'));
  void* left;
  thread_join(thread_start(&leave_one_block, &left));
  text = shown(true, true, true);
  CHECK(map_shows(text, 'a'));
  CHECK_EQ(occurrences(text, " 0 abandoned pages"), 2);
  mi_arenas_print();
  CHECK_EQ(occurrences(printed, "arena "), 6);
  CHECK_EQ(map_lines(printed, "#+ap."), 2 * (4 + 1 + 16));
  CHECK(strlen(printed) == 2 * (size_t)(strstr(printed + 1, "arenas:") - printed));

  /* Each flag shows its own slices. */
  text = shown(false, true, false);
  CHECK_EQ(map_lines(text, "a."), 21);
  CHECK(map_shows(text, 'a'));
  text = shown(false, false, true);
  CHECK_EQ(map_lines(text, "p."), 21);
  CHECK(map_shows(text, 'p'));
  text = shown(true, false, false);
  CHECK_EQ(map_lines(text, "#+."), 21);
  CHECK(map_shows(text, '#'));
  text = shown(false, false, false);
  CHECK_EQ(map_lines(text, ""), 0);
  CHECK_EQ(occurrences(text, "arena "), 3);

  mi_free(left);
  chain_free(&c);
  mi_free(held);
}

static void very_large_arenas_are_shown_in_few_lines(void) {
  mi_arena_id_t id;
  REQUIRE(mi_reserve_os_memory_ex(64 * GIB + 5 * UNIT, false, false, false, &id) == 0);
  void* p = mi_malloc(5 * MIB);
  const char* text = shown(true, true, true);
  CHECK_LE(map_lines(text, "#+ap."), 16);
  CHECK_GE(map_lines(text, "#+ap."), 8);
  CHECK(map_shows(text, '+') || map_shows(text, '#'));
  CHECK(strstr(text, ", committed on demand") != NULL);
  mi_free(p);
}

static void print_and_allocate(const char* text, void* arg) {
  size_t* calls = (size_t*)arg;
  (*calls)++;
  void* p = mi_malloc(strlen(text) + 1);
  CHECK_NOT_NULL(p);
  mi_free(p);
}
static void the_output_function_may_allocate(void) {
  arena_new(16 * MIB, false);
  size_t calls = 0;
  mi_register_output(&print_and_allocate, &calls);
  mi_arenas_print();
  CHECK_GE(calls, 5);
}

static _Atomic(bool) showing;
static void* allocate_while_showing(void* arg) {
  rng_t rng = {(uint64_t)(uintptr_t)arg};
  while (showing) {
    chain_t c = {0};
    for (int i = 0; i < 100; i++) {
      void* p = mi_malloc(8 + rng_size(&rng, 200000));
      if (p != NULL) chain_add(&c, p);
    }
    chain_free(&c);
  }
  return NULL;
}
static void arenas_can_be_shown_while_others_allocate(void) {
  arena_new(64 * MIB, false);
  showing = true;
  pthread_t threads[2];
  for (size_t i = 0; i < 2; i++) threads[i] = thread_start(&allocate_while_showing, (void*)(i + 1));
  for (size_t i = 0; i < check_scaled(300); i++) {
    print_start();
    mi_arenas_print();
    CHECK_EQ(map_lines(printed, "#+ap."), 16);
    if (i % 20 == 0) thread_join(thread_start(&leave_one_block, &(void*){NULL}));
  }
  showing = false;
  for (size_t i = 0; i < 2; i++) thread_join(threads[i]);
}

static const check_case_t cases[] = {
    CASE(arena_ids_count_from_one),
    CASE(unknown_ids_are_no_arena),
    CASE(least_arena_has_the_documented_size),
    CASE(memory_that_cannot_be_named_is_refused),
    CASE(memory_is_taken_once),
    CASE(live_blocks_are_not_taken_as_memory),
    CASE(a_full_list_of_arenas_does_not_starve_the_program),
    CASE(threads_reserve_at_the_same_time),
    CASE(accessible_memory_is_left_as_it_is),
    CASE(inaccessible_memory_is_made_accessible_on_demand),
    CASE(memory_that_stays_inaccessible_is_not_used),
    CASE(large_page_memory_is_never_given_back),
    CASE(zero_memory_is_not_cleared_again),
    CASE(dirty_memory_is_cleared),
    CASE(a_large_block_in_managed_memory_needs_no_system_call),
    CASE(reserved_memory_serves_blocks),
    CASE(impossible_sizes_give_enomem),
    CASE(nothing_is_reserved_ahead_if_the_option_says_so),
    CASE(arenas_are_shown),
    CASE(very_large_arenas_are_shown_in_few_lines),
    CASE(the_output_function_may_allocate),
    CASE(arenas_can_be_shown_while_others_allocate),
};
static const check_case_t helpers[] = {
    CASE(helper_live_block),
    CASE(helper_many_arenas),
    CASE(helper_no_reserve),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), helpers, COUNT_OF(helpers));
}
