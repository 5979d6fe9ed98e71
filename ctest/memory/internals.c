/* internals.c - bitmaps, size classes and the page map, against simple models. The library is part
 * of this program, so the cases can call its internal functions. ci/faults plants faults here (01
 * to 03, 16, 17, 32). */
#include "all.c"

#include "support/check.h"
#include <sys/mman.h>

static uint64_t random_state = 1;
static size_t random_below(size_t bound) {
  random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (size_t)(random_state >> 33) % bound;
}

/* ---- bitmaps
 * --------------------------------------------------------------------------- */

#define BITS_MAX 260
#define WORDS_MAX (BITS_MAX / 64 + 2)

typedef struct model_s {
  bool bit[WORDS_MAX * 64];
} model_t;

static void bits_write(bitword_t* words, const model_t* m) {
  for (size_t w = 0; w < WORDS_MAX; w++) {
    uint64_t word = 0;
    for (size_t b = 0; b < 64; b++) word |= (uint64_t)m->bit[w * 64 + b] << b;
    store_relaxed(&words[w], word);
  }
}
static bool bits_equal(bitword_t* words, const model_t* m) {
  for (size_t i = 0; i < WORDS_MAX * 64; i++)
    if ((((load_relaxed(&words[i / 64]) >> (i % 64)) & 1) != 0) != m->bit[i]) return false;
  return true;
}
static bool all_set(const model_t* m, size_t i, size_t n) {
  for (size_t k = i; k < i + n; k++)
    if (!m->bit[k]) return false;
  return true;
}
static bool any_set(const model_t* m, size_t i, size_t n) {
  for (size_t k = i; k < i + n; k++)
    if (m->bit[k]) return true;
  return false;
}
static void model_set(model_t* m, size_t i, size_t n, bool value) {
  for (size_t k = i; k < i + n; k++) m->bit[k] = value;
}
static size_t model_claim(const model_t* words, const model_t* wanted, size_t bits, size_t from,
                          size_t n, size_t align, size_t phase) {
  for (size_t i = from; i + n <= bits; i++)
    if ((i + phase) % align == 0 && all_set(words, i, n) && all_set(wanted, i, n)) return i;
  return BITMAP_NONE;
}

/* Runs and gaps of many lengths; few of each leave room for long claims. */
static void model_random(model_t* m, size_t bits) {
  memset(m, 0, sizeof *m);
  size_t longest = 1 + random_below(100);
  bool value = random_below(2) != 0;
  for (size_t i = 0; i < bits; value = !value) {
    size_t n = min_size(bits - i, 1 + random_below(value ? longest : 1 + longest / 8));
    model_set(m, i, n, value);
    i += n;
  }
}

static void every_operation_at_every_offset_is_right(void) {
  static bitword_t words[WORDS_MAX];
  model_t before;
  for (size_t n = 1; n <= 140; n++) {
    for (size_t i = 0; i + n <= 200; i++) {
      model_random(&before, 200);
      if (random_below(2) != 0) model_set(&before, i, n, true); /* else claims rarely succeed */
      model_t after = before;
      bits_write(words, &before);
      CHECK_EQ(bitmap_any(words, i, n), any_set(&before, i, n));
      CHECK_EQ(bitmap_all(words, i, n), all_set(&before, i, n));
      bool claimed = bitmap_claim_at(words, i, n);
      CHECK_EQ(claimed, all_set(&before, i, n));
      if (claimed) model_set(&after, i, n, false);
      if (!CHECK(bits_equal(words, &after))) return; /* took all bits, or changed none */
      size_t set = 0;
      for (size_t k = i; k < i + n; k++) set += after.bit[k];
      CHECK_EQ(bitmap_clear(words, i, n), set);
      model_set(&after, i, n, false);
      CHECK(bits_equal(words, &after));
      bitmap_set(words, i, n);
      model_set(&after, i, n, true);
      if (!CHECK(bits_equal(words, &after))) return;
      size_t count = 0;
      for (size_t k = 0; k < 200; k++) count += after.bit[k];
      CHECK_EQ(bitmap_count(words, 200), count);
    }
  }
}

static void claim_finds_the_first_place_that_fits_and_takes_exactly_that(void) {
  static const size_t lengths[] = {1, 2, 63, 64, 65, 127, 128, 129, 200, 256, BITS_MAX};
  static bitword_t words[WORDS_MAX], wanted[WORDS_MAX];
  for (size_t round = 0; round < 20000; round++) {
    size_t bits = lengths[random_below(sizeof lengths / sizeof lengths[0])];
    model_t free, marked;
    model_random(&free, bits);
    model_random(&marked, bits);
    size_t n = 1 + random_below(random_below(2) != 0 ? bits : min_size(bits, 8));
    size_t from = random_below(bits), align = (size_t)1 << random_below(7);
    size_t phase = random_below(align);
    bool same = round % 2 == 0;
    bits_write(words, &free);
    bits_write(wanted, &marked);
    size_t found = bitmap_claim(words, same ? words : wanted, bits, from, n, align, phase);
    size_t right = model_claim(&free, same ? &free : &marked, bits, from, n, align, phase);
    if (found != BITMAP_NONE) model_set(&free, found, n, false);
    if (!CHECK_EQ((long long)found, (long long)right) || !CHECK(bits_equal(words, &free))) {
      check_note("%zu of %zu bits from %zu, align %zu, phase %zu\n", n, bits, from, align, phase);
      return;
    }
  }
}

/* ---- zeros are counted right --------------------------------------- */

static void bits_are_found_in_every_word(void) {
  static bitword_t words[4];
  for (size_t i = 0; i < 256; i++) {
    for (size_t w = 0; w < 4; w++)
      store_relaxed(&words[w], i / 64 == w ? UINT64_C(1) << i % 64 : 0);
    for (size_t from = 0; from < 256; from++) {
      CHECK_EQ(bitmap_next(words, 256, from, true), from <= i ? i : 256);
      CHECK_EQ(bitmap_next(words, 256, from, false), from == i ? i + 1 : from);
    }
    CHECK_EQ(bitmap_count(words, 256), 1);
  }
  for (size_t w = 0; w < 4; w++) store_relaxed(&words[w], 0);
  CHECK_EQ(bitmap_next(words, 256, 0, true), 256);
  CHECK_EQ(bitmap_count(words, 256), 0);
  for (size_t w = 0; w < 4; w++) store_relaxed(&words[w], ~UINT64_C(0));
  CHECK_EQ(bitmap_next(words, 256, 0, false), 256);
  CHECK_EQ(bitmap_next(words, 200, 0, false), 200);
  CHECK_EQ(bitmap_count(words, 256), 256);
}

static void every_size_has_the_smallest_class_that_holds_it(void) {
  for (size_t cls = 1; cls + 1 < CLASS_COUNT; cls++)
    CHECK_LE(class_block_size(cls) + 1, class_block_size(cls + 1));
  for (size_t size = SMALL_MAX + 1; size <= MEDIUM_MAX; size++) {
    size_t cls = class_of_medium(size);
    if (!CHECK(cls >= FIRST_GEOMETRIC && cls < CLASS_COUNT) ||
        !CHECK_LE(size, class_block_size(cls)) || !CHECK_LE(class_block_size(cls - 1) + 1, size))
      return;
  }
}

/* ---- the map ----------------------------------------- */

/* Unused address space: the map needs only the number. */
#define FAR_WINDOW ((uintptr_t)0x3210 << WINDOW_SHIFT)

static void registration_covers_exactly_its_range(void) {
  char* start = (char*)(FAR_WINDOW - 64 * SLICE_SIZE);
  REQUIRE(map_extend(start, 128 * SLICE_SIZE)); /* two windows */
  uint32_t first = (uint32_t)((uintptr_t)start >> SLICE_SHIFT);
  for (uint32_t at = 1; at < 120; at++) {
    for (uint32_t count = 1; count <= 8 && at + count < 127; count++) {
      page_t* page = map_descriptor_of_slice(first + at);
      page->slice = first + at;
      page_set_slices(page, count);
      store_relaxed(&page->owner, (uintptr_t)64);
      map_mark_interior(page, 1, count - 1);
      for (uint32_t s = 0; s < 128; s++) {
        char* p = start + s * SLICE_SIZE;
        page_t* here = s >= at && s < at + count ? page : NULL;
        CHECK_SAME(map_page_checked(p), here);
        CHECK_SAME(map_page_checked(p + SLICE_SIZE - 1), here);
      }
      map_clear(first + at, count);
      for (uint32_t s = 0; s < 128; s++) CHECK_NULL(map_page_checked(start + s * SLICE_SIZE));
      if (check_failures > 0) return;
    }
  }
}

static void addresses_of_any_width_can_be_looked_up(void) {
  for (unsigned bits = 0; bits < 64; bits++) {
    for (int step = -1; step <= 1; step++) {
      uintptr_t a = ((uintptr_t)1 << bits) + (uintptr_t)(intptr_t)step;
      CHECK_NULL(map_page_checked((void*)a));
      if (bits > 48) CHECK(!map_extend((void*)a, 1));
    }
  }
  CHECK_NULL(map_page_checked(NULL));
  CHECK_NULL(map_page_checked((void*)UINTPTR_MAX));
  CHECK(!map_extend((void*)((uintptr_t)1 << 48), 1));
}

/* Memory of the program below 2 GiB, and where 39, 42 and 47 bits end. */
static void memory_at_low_and_high_addresses_serves(void) {
  static const unsigned widths[] = {31, 32, 39, 42, 47};
  const size_t size = 64 * MiB;
  size_t served = 0;
  for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
    uintptr_t hint = ((uintptr_t)1 << widths[i]) - 4 * size;
    char* at = mmap((void*)hint, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    mi_arena_id_t id;
    if (!CHECK(mi_manage_os_memory_ex(at, size, true, false, true, -1, true, &id))) continue;
    mi_heap_t* heap = mi_heap_new_in_arena(id);
    REQUIRE(heap != NULL);
    for (size_t n = 1; n < 4 * MiB; n = n * 3 + 1) {
      char* p = mi_heap_malloc(heap, n);
      if (!CHECK(p >= at && p < at + size)) break;
      memset(p, 1, n);
      CHECK(map_page_checked(p) != NULL);
      mi_free(p);
    }
    served += (uintptr_t)at >> widths[i] == 0 && (uintptr_t)at >> (widths[i] - 1) != 0;
    mi_heap_destroy(heap);
  }
  CHECK_GE(served, MI_WATCHED ? 1 : 3); /* a sanitizer uses some of them itself */
}

static void words_for_atomics_are_aligned(void) {
  mi_free(mi_malloc(1));
  arena_t* a = arena_at(0);
  REQUIRE(a != NULL);
  bitword_t* const fields[] = {a->free,  a->dirty,         a->committed,
                               a->purge, a->second_chance, a->huge};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    CHECK_EQ((uintptr_t)fields[i] % sizeof(uint64_t), 0);
  CHECK_EQ((uintptr_t)a->abandoned % 64, 0);
  CHECK_EQ((uintptr_t)a % 64, 0);
  CHECK_EQ((uintptr_t)&map.word[0] % 64, 0);
  for (uint32_t i = 0; i < 600 && i < a->slices; i++) {
    CHECK_EQ((uintptr_t)map_descriptor_of_slice(a->first_slice + i) % 64, 0);
    CHECK_EQ((uintptr_t)map_remote(a->first_slice + i) % sizeof(uint64_t), 0);
  }
}

/* ---- a thread that a fork interrupts ---- */

/* The page of new blocks; their list is back in the page. */
static page_t* page_of_blocks(void** blocks, size_t count) {
  mi_collect(true);
  for (size_t i = 0; i < count; i++) REQUIRE((blocks[i] = mi_malloc(48)) != NULL);
  page_t* page = map_page_checked(blocks[0]);
  heap_return_lists(heap_default); /* from here on `used` counts the blocks of the program */
  return page;
}

static void a_page_of_a_stopped_thread_is_settled(void) {
  enum { COUNT = 20, FREED = 5 };
  void* blocks[COUNT];
  page_t* page = page_of_blocks(blocks, COUNT);
  for (size_t i = COUNT - FREED; i < COUNT; i++) mi_free(blocks[i]);
  size_t capacity = page->capacity, free = capacity - page_used(page);
  REQUIRE(free >= FREED);

  /* Consistent state: nothing changes. */
  page_settle(page);
  CHECK_EQ(page_used(page), capacity - free);

  /* Stopped after taking the local list and before counting its blocks: they are lost, and count as
   * used. */
  block_t* list = page->local;
  page->local = NULL;
  page_settle(page);
  CHECK_EQ(page_used(page), capacity);

  /* Stopped after putting the first block on the list and before counting it. */
  page_set_used(page, capacity);
  block_link(page, blocks[0], NULL);
  page->local = blocks[0];
  page_settle(page);
  CHECK_EQ(page_used(page), capacity - 1);

  /* The same for a list that had blocks: never fewer on the list than the count says. */
  block_link(page, blocks[1], page->local);
  page->local = blocks[1];
  page_settle(page);
  CHECK_LE(capacity - page_used(page), page_list_length(page, page->local));
  CHECK_GE(capacity - page_used(page), 1);
  page->local = list;
  page_set_used(page, capacity - free);
  for (size_t i = 0; i < COUNT - FREED; i++) mi_free(blocks[i]);
}

/* ---- a set-up that fails ------------------------------------------- */

static bool refuse;
static size_t changes_of_access;
int __real_mprotect(void* addr, size_t size, int prot);
int __wrap_mprotect(void* addr, size_t size, int prot);
int __wrap_mprotect(void* addr, size_t size, int prot) {
  if (refuse && prot != PROT_NONE) {
    errno = ENOMEM;
    return -1;
  }
  changes_of_access += prot != PROT_NONE;
  return __real_mprotect(addr, size, prot);
}

/* As on a system where each slice can be committed by itself. */
static void failed_setup_registers_nothing(void) {
  mi_option_set(mi_option_arena_eager_commit, 0);
  os_info.holes_are_mappings = false;
  mi_option_set(mi_option_arena_reserve, 64 * 1024);
  void* first = mi_malloc(100);
  REQUIRE(first != NULL);
  arena_t* a = arena_at(0);
  size_t free = load_relaxed(&a->free_count);
  page_t* page = map_page_checked(first);
  mi_option_enable(mi_option_disallow_os_alloc); /* otherwise large blocks would be OS-mapped */
  refuse = true;
  for (size_t cls = 1; cls < CLASS_COUNT; cls++)
    CHECK_NULL(page_fresh(AFFINITY_ANY, cls, 64, cls % 2 == 0));
  CHECK_NULL(mi_malloc(300000));
  CHECK_NULL(mi_malloc(20 * MiB));
  refuse = false;
  CHECK_EQ(load_relaxed(&a->free_count), free);
  CHECK_EQ(bitmap_count(a->free, a->slices), free);
  for (uint32_t s = 0; s < a->slices; s++) {
    page_t* here = map_page_checked(slice_address(a->first_slice + s));
    if (!CHECK(here == NULL || here == page)) return;
  }
  void* p = mi_malloc(300000);
  CHECK_NOT_NULL(p);
  mi_free(p);
  mi_free(first);
}

/* ---- frontiers -------------------------------------------------------------------- */

static void check_frontiers(arena_t* a) {
  size_t opened = 0, at = 0;
  const zone_t order[] = {ZONE_SMALL, ZONE_PARTLY, ZONE_LARGE, ZONE_HOME};
  for (size_t z = 0; z < sizeof order / sizeof order[0]; z++) {
    frontier_t* f = &a->frontier[order[z]];
    size_t open = load_relaxed(&f->open);
    CHECK_EQ(f->from, at);
    CHECK(open >= f->from && open <= f->end);
    for (size_t i = open; i < f->end; i++) {
      if (!CHECK(!bitmap_any(a->free, i, 1) && !arena_is_held(a, i))) return;
      if (!CHECK_NULL(map_page_checked(slice_address(a->first_slice + (uint32_t)i)))) return;
    }
    opened += open - f->from;
    at = f->end;
  }
  CHECK_EQ(at, a->slices);
  CHECK_EQ(load_relaxed(&a->opened), opened);
  CHECK_EQ(load_relaxed(&a->free_count), bitmap_count(a->free, a->slices));
}

/* Blocks of all kinds, until nothing of the arena is closed. Then nothing is lost. */
static void fill_by_frontiers(size_t reserve_mib) {
  enum { MOST = 8192 };
  static void* blocks[MOST];
  const size_t sizes[] = {60000, 300000, 3 * MiB, 5 * MiB, 200000};
  mi_option_set(mi_option_arena_reserve, (long)(reserve_mib * 1024));
  mi_option_set(mi_option_purge_delay, 1000000);
  size_t n = 0;
  blocks[n++] = mi_malloc(100);
  arena_t* a = arena_at(0);
  CHECK_LE(load_relaxed(&a->opened) * SLICE_SIZE, 2 * MiB);
  mi_option_enable(mi_option_disallow_os_alloc);
  refuse = true; /* then a new mapping opens the memory */
  void* large = mi_malloc(5 * MiB);
  CHECK_NOT_NULL(large);
  memset(large, 1, 5 * MiB);
  check_frontiers(a);
  mi_free(large);
  refuse = false;
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
    while (n < MOST && (blocks[n] = mi_malloc(sizes[s])) != NULL) {
      *(char*)blocks[n++] = 1;
      if (n % 100 == 0) check_frontiers(a);
    }
  REQUIRE(n < MOST);
  check_frontiers(a);
  CHECK_EQ(load_relaxed(&a->opened), a->slices);
  for (size_t i = 0; i < n; i++) mi_free(blocks[i]);
  mi_collect(true);
  CHECK_EQ(load_relaxed(&a->opened), a->recedes ? 0 : a->slices);
  check_frontiers(a);
  CHECK_EQ(arena_count(), 1);
}

static void frontiers_reach_the_ends_of_their_zones(void) { fill_by_frontiers(256); }

static void opening_a_gigabyte_takes_few_calls(void) {
  enum { MOST = 20000 };
  static void* blocks[MOST];
  size_t n = 0;
  mi_free(mi_malloc(100));
  size_t before = changes_of_access;
  while (n < MOST && arena_count() == 1) REQUIRE((blocks[n++] = mi_malloc(60000)) != NULL);
  CHECK_GE(n * 60000, 900 * MiB);
  CHECK_LE(changes_of_access - before, 40);
  for (size_t i = 0; i < n; i++) mi_free(blocks[i]);
}
static void frontier_of_an_arena_with_one_zone(void) { fill_by_frontiers(32); }
static void frontiers_go_back_where_open_memory_is_charged(void) {
  mi_option_set(mi_option_arena_eager_commit, 0);
  fill_by_frontiers(256);
}

/* A block that no zone has room for goes over several. */
static void block_that_needs_several_zones(void) {
  mi_option_set(mi_option_arena_reserve, 1024 * 1024);
  mi_free(mi_malloc(100));
  mi_option_enable(mi_option_disallow_os_alloc);
  void* p = mi_malloc(500 * MiB);
  CHECK_NOT_NULL(p);
  check_frontiers(arena_at(0));
  mi_free(p);
  CHECK_EQ(arena_count(), 1);
}

/* ---- guards that the system grants in part --------------------------------------------------- */

#define OS_PAGES 4

static char* pages_new(void) {
  size_t size = OS_PAGES * os_info.page_size;
  char* p = (char*)os_reserve(size, os_info.page_size, OS_LAZY);
  REQUIRE(p != NULL);
  memset(p, 1, size);
  return p;
}

/* As for a block whose guard could not be removed: an inaccessible part is zero after it is made
 * accessible. */
static void memory_that_is_locked_and_in_part_inaccessible_is_closed(void) {
  size_t page = os_info.page_size;
  char* p = pages_new();
  if (mlock(p, OS_PAGES * page) != 0) return; /* the process may not lock memory */
  REQUIRE(os_protect(p + page, page));
  REQUIRE(os_shut(p, OS_PAGES * page));
  REQUIRE(os_open(p, OS_PAGES * page));
  for (size_t i = 0; i < OS_PAGES * page; i++) REQUIRE(p[i] == 0);
  os_release(p, OS_PAGES * page);
}

/* The kernel guards the mapped part of a range and reports a failure if another part is not
 * mapped. */
static void guard_half(void) {
  size_t page = os_info.page_size;
  char* p = pages_new();
  os_release(p + 2 * page, 2 * page);
  if (!os_guard(p, OS_PAGES * page)) memset(p, 1, 2 * page); /* a guard would kill us */
}
static void a_guard_that_fails_half_way_is_taken_away(void) {
  guard_half(); /* first call: the library does not know yet which kind of guard the system has */
}
static void a_later_guard_that_fails_half_way_is_taken_away(void) {
  char* p = pages_new();
  REQUIRE(os_guard(p, os_info.page_size));
  guard_half();
}

/* ---- the purger in the child of a fork --------------------------------------------------- */

static pthread_barrier_t sleeper_may_end;
static void* sleeper(void* arg) {
  mi_thread_init();
  pthread_barrier_wait(&sleeper_may_end);
  return arg;
}

/* Slices that are neither free nor in a page. */
static size_t lost_slices(void) {
  size_t lost = 0;
  arena_t* a;
  for (size_t k = 0; (a = arena_at(k)) != NULL; k++)
    for (size_t i = 0; i < a->slices; i++)
      lost += arena_is_held(a, i) &&
              load_relaxed(&map_descriptor_of_slice(a->first_slice + (uint32_t)i)->owner) == 0;
  return lost;
}

static void free_some_mib(void) {
  enum { BLOCKS = 64 };
  void* block[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    REQUIRE((block[i] = mi_malloc(512 * KiB)) != NULL);
    memset(block[i], 1, 128 * KiB);
  }
  for (size_t i = 0; i < BLOCKS; i++) mi_free(block[i]);
}

/* A fork meets a thread that has counted memory and maps it now, or has unmapped it. */
static void a_child_counts_what_it_has(void) {
  REQUIRE(mi_limit_set(0, 4 * GiB));
  void *mapped = mi_malloc(600 * MiB), *large = mi_malloc(MiB);
  REQUIRE(mapped != NULL && large != NULL);
  size_t used = usage_count();
  for (int given_back = 0; given_back < 2; given_back++) {
    if (given_back)
      usage_add(GiB);
    else
      REQUIRE(usage_charge(GiB));
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      CHECK_EQ(usage_count(), used);
      mi_free(mapped);
      CHECK_LE(usage_count(), used - 600 * MiB);
      _exit(check_end());
    }
    check_wait_ok(pid, "child");
    usage_discharge(GiB);
  }
  mi_free(mapped);
  mi_free(large);
}

/* ---- a thread that stops while it makes holes ---- */

static uint32_t stopped_turn;
static void* stop_in_a_turn(void* arg) {
  stopped_turn = turn_begin(0, 0);
  CHECK_NE(stopped_turn, 0);
  pthread_barrier_wait(&sleeper_may_end);
  pthread_barrier_wait(&sleeper_may_end);
  turn_end(stopped_turn);
  return arg;
}
static uint64_t clock_of(void (*call)(void)) {
  uint64_t start = os_clock_ms();
  call();
  return os_clock_ms() - start;
}
static void collect(void) { mi_collect(true); }
static void fork_and_collect(void) {
  pid_t pid = fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    mi_collect(true);
    _exit(check_end());
  }
  check_wait_ok(pid, "child");
}

static void a_thread_that_stops_at_a_page_stops_no_collection(void) {
  enum { BLOCKS = 16384, EACH = 512 };
  static void* block[BLOCKS];
  pthread_t thread;
  pthread_barrier_init(&sleeper_may_end, NULL, 2);
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE((block[i] = mi_malloc(EACH)) != NULL);
  REQUIRE(pthread_create(&thread, NULL, &stop_in_a_turn, NULL) == 0);
  pthread_barrier_wait(&sleeper_may_end);
  for (size_t i = 0; i < BLOCKS; i++)
    if (i % 64 != 0) mi_free(block[i]);
  size_t before = load_relaxed(&purge_state.purged);
  CHECK_LE(clock_of(&collect), 1000); /* a tenth of a second, and a slow machine */
  CHECK_GE(load_relaxed(&purge_state.purged) - before, (size_t)BLOCKS * EACH / 2);
  CHECK_LE(clock_of(&fork_and_collect), 1000);
  pthread_barrier_wait(&sleeper_may_end);
  REQUIRE(pthread_join(thread, NULL) == 0);
  CHECK_EQ(load_relaxed(&busy), 0);
  for (size_t i = 0; i < BLOCKS; i += 64) mi_free(block[i]);
}

static void a_child_returns_what_the_purger_holds(void) {
  size_t rounds = check_scaled(20), hits = 0, forks = 0;
  pthread_t thread;
  mi_thread_init();
  mi_option_set(mi_option_purge_delay, 1);
  mi_option_set(mi_option_arena_purge_mult, 1);
  pthread_barrier_init(&sleeper_may_end, NULL, 2);
  REQUIRE(pthread_create(&thread, NULL, &sleeper, NULL) == 0);
  while (registry_threads() < 2) os_nap(1000);
  /* On a machine with much other work the purger may not run while this thread does. */
  for (size_t i = 0; i < rounds || (hits < rounds / 10 && i < 20 * rounds); i++) {
    store_relaxed(&pace.stretch, 0); /* else it learns not to purge at all */
    free_some_mib();
    CHECK_EQ(load_relaxed(&purger.state), PURGER_RUNS);
    for (int k = 0; k < 100 && load_relaxed(&purge_at) != 0 && load_relaxed(&purged_run) == 0; k++)
      os_nap(1);
    for (int k = 0; k < 10; k++) {
      hits += load_relaxed(&purged_run) != 0;
      forks++;
      pid_t pid = fork();
      REQUIRE(pid >= 0);
      if (pid == 0) {
        CHECK_EQ(lost_slices(), 0);
        free_some_mib();
        mi_collect(true);
        CHECK_EQ(pace_excess(), 0);
        _exit(check_end());
      }
      check_wait_ok(pid, "child");
    }
  }
  check_note("%zu of %zu forks met a purge\n", hits, forks);
  if (MI_SECURE == 0) CHECK_GE(hits, rounds / 10);
  pthread_barrier_wait(&sleeper_may_end);
  REQUIRE(pthread_join(thread, NULL) == 0);
}

/* The fork met a purge whose slices another thread had allocated before, or after. */
static void a_child_keeps_the_blocks_that_a_purge_met(void) {
  char* p = mi_malloc(20 * SLICE_SIZE);
  REQUIRE(p != NULL);
  page_t* page = map_descriptor(p);
  arena_t* a = arena_at(page->arena);
  size_t i = page->slice - a->first_slice + 3; /* inside: without an owner word */
  CHECK(run_publish(a, i, 8));
  run_return();
  CHECK(!bitmap_any(a->free, i, 8));
  mi_free(p);
}

/* The fork met a thread that was about to return a kept run: its bit is clear. */
static void a_child_returns_a_run_that_was_on_its_way_back(void) {
  if (MI_SECURE > 0 || MI_TRACK) return; /* these keep no runs */
  mi_thread_init();
  const kept_runs_t* runs = &heap_default->runs;
  for (int i = 0; i < 1000 && runs->slices == 0; i++) mi_free(mi_malloc(512 * KiB));
  if (!CHECK(runs->slices > 0)) return;
  size_t k = 0;
  while (runs->count[k] == 0) k++;
  arena_t* a = arena_at(map_descriptor_of_slice(runs->slice[k])->arena);
  size_t i = runs->slice[k] - a->first_slice, n = runs->count[k];
  CHECK(run_publish(a, i, n));
  CHECK_EQ(bitmap_clear(a->kept, i, 1), 1);
  arena_reset_after_fork();
  CHECK(bitmap_all(a->free, i, n));
  CHECK_EQ(lost_slices(), 0);
}

static const check_case_t cases[] = {
    CASE(every_operation_at_every_offset_is_right),
    CASE(claim_finds_the_first_place_that_fits_and_takes_exactly_that),
    CASE(bits_are_found_in_every_word),
    CASE(every_size_has_the_smallest_class_that_holds_it),
    CASE(registration_covers_exactly_its_range),
    CASE(addresses_of_any_width_can_be_looked_up),
    CASE(memory_at_low_and_high_addresses_serves),
    CASE(words_for_atomics_are_aligned),
    CASE(a_page_of_a_stopped_thread_is_settled),
    CASE(failed_setup_registers_nothing),
    CASE(frontiers_reach_the_ends_of_their_zones),
    CASE(opening_a_gigabyte_takes_few_calls),
    CASE(frontier_of_an_arena_with_one_zone),
    CASE(frontiers_go_back_where_open_memory_is_charged),
    CASE(block_that_needs_several_zones),
    CASE(memory_that_is_locked_and_in_part_inaccessible_is_closed),
    CASE(a_guard_that_fails_half_way_is_taken_away),
    CASE(a_later_guard_that_fails_half_way_is_taken_away),
    CASE(a_child_counts_what_it_has),
    CASE(a_thread_that_stops_at_a_page_stops_no_collection),
    CASE(a_child_returns_what_the_purger_holds),
    CASE(a_child_keeps_the_blocks_that_a_purge_met),
    CASE(a_child_returns_a_run_that_was_on_its_way_back),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
