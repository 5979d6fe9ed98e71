/* freed_memory.c - memory that leaves a block in secure builds: each way to leave, each level, also
 * on systems without guards.
 *
 * Levels 2 to 4 promise that memory that left a large block is inaccessible until it is allocated
 * again. Level 4 promises that it keeps no contents, and that a write by a stale pointer is found
 * at the latest when the memory is allocated again. Zeroed memory is zero in any case.
 */
#include "probe.h"
#include "refuse.h"
#include <mimalloc.h>

#define LEVEL MI_TEST_SECURE
#define SECRET 'S'

/* What the system refuses in this process: REFUSE_ bits. */
static int bits_from(const char* name) {
  const char* text = getenv(name);
  return text == NULL ? 0 : atoi(text);
}
static int refused(void) { return bits_from("TEST_REFUSED"); }
/* What it refuses once it has set the first guard. */
static int refused_later(void) { return bits_from("TEST_REFUSED_LATER"); }
static bool has_guards(void) {
  return (refused() & REFUSE_PROTECTIONS) == 0 && (refused_later() & REFUSE_LIGHT_GUARDS) == 0;
}

static int reports;
static void on_error(int code, void* arg) {
  (void)arg;
  CHECK_EQ(code, EFAULT);
  reports++;
}

/* The system looks, so that we may. */
static bool is_accessible(const void* p) {
  static int ends[2];
  char byte;
  if (ends[1] == 0) REQUIRE(pipe(ends) == 0);
  if (write(ends[1], p, 1) == 1) return read(ends[0], &byte, 1) == 1;
  CHECK_EQ(errno, EFAULT);
  return false;
}

/* ---- ways by which memory leaves a block
 * --------------------------------------------------------- */

/* Ranges that were full of the secret and have left their blocks. */
enum { LEFT_MAX = 4096 };
typedef struct left_s {
  char* p;
  size_t size;
  bool kept; /* a live block keeps the slice: no other block gets it */
} left_t;
static left_t left[LEFT_MAX];
static size_t left_count;

static void note(char* p, char* end, bool kept) {
  if (p >= end) return;
  REQUIRE(left_count < LEFT_MAX);
  left[left_count++] = (left_t){p, (size_t)(end - p), kept};
}
static void note_left(char* p, size_t size) { note(p, p + size, false); }

static char* fill(void* p, size_t size) {
  REQUIRE(p != NULL);
  return (char*)memset(p, SECRET, size);
}

enum { SMALL_COUNT = 1000, MEDIUM_COUNT = 100, LARGE_COUNT = 8 };
static char* blocks[SMALL_COUNT];

static void free_blocks(size_t count, size_t size) {
  for (size_t i = 0; i < count; i++) {
    note_left(blocks[i], size);
    mi_free(blocks[i]);
  }
}
static void fill_blocks(mi_heap_t* heap, size_t count, size_t size) {
  for (size_t i = 0; i < count; i++) blocks[i] = fill(mi_heap_malloc(heap, size), size);
}
static void free_many(size_t count, size_t size) {
  fill_blocks(mi_heap_get_default(), count, size);
  free_blocks(count, size);
}
static void small_blocks_are_freed(void) { free_many(SMALL_COUNT, 1000); }
static void blocks_beside_live_ones_are_freed(void) {
  fill_blocks(mi_heap_get_default(), SMALL_COUNT, 1000);
  for (size_t i = 0; i < SMALL_COUNT; i++) {
    if (i % 30 == 0) continue;
    note_left(blocks[i], 1000);
    mi_free(blocks[i]);
  }
}
static void medium_blocks_are_freed(void) { free_many(MEDIUM_COUNT, 20000); }
static void large_blocks_are_freed(void) { free_many(LARGE_COUNT, 300000); }
static void a_block_of_mebibytes_is_freed(void) { free_many(1, 2 * MIB); }
static void a_block_from_the_system_is_freed(void) { free_many(1, 40 * MIB); }

static void* free_large_blocks(void* arg) {
  (void)arg;
  free_blocks(LARGE_COUNT, 300000);
  return NULL;
}
static void another_thread_frees_large_blocks(void) {
  fill_blocks(mi_heap_get_default(), LARGE_COUNT, 300000);
  thread_join(thread_start(&free_large_blocks, NULL));
}

static void a_large_block_at_an_alignment_is_freed(void) {
  char* p = fill(mi_malloc_aligned(300000, MIB), 300000);
  note_left(p, 300000);
  mi_free(p);
  p = fill(mi_malloc_aligned_at(300000, 4096, 64), 300000);
  note_left(p, 300000);
  mi_free(p);
}

static void sampled_blocks_are_freed(void) {
  mi_option_set(mi_option_guarded_sample_rate, 1);
  mi_collect(true);
  free_many(LARGE_COUNT, 1000);
  free_many(LARGE_COUNT, 100000);
  mi_option_set(mi_option_guarded_sample_rate, 0);
  mi_collect(true);
}

/* The bytes that a block of `before` bytes has given up. The rest of its last OS page still belongs
 * to it, with its canary. Below level 3 a block may stay as long as it was. */
static void note_cut_off(char* p, size_t before) {
  char* end = p + before;
  char* pages = (char*)round_up((size_t)(p + mi_usable_size(p) + SEAL_BYTES), OS_PAGE);
  char* slices = (char*)round_up((size_t)(pages + OS_PAGE), 64 * KIB); /* its guard is between */
  note(pages, slices < end ? slices : end, true);
  note(slices, end, false);
}

/* The block stays where it is, and live. */
static void shrink_in_place(size_t from, size_t to) {
  char* p = fill(mi_malloc(from), from);
  CHECK_SAME(mi_realloc(p, to), p);
  note_cut_off(p, from);
}
static void a_large_block_shrinks(void) { shrink_in_place(8 * MIB, MIB); }
static void a_large_block_shrinks_within_its_slices(void) { shrink_in_place(190000, 140000); }
static void a_block_from_the_system_shrinks(void) { shrink_in_place(100 * MIB, 40 * MIB); }

/* Too large for its place, so that the pages of the block move. */
static char* move_by_growing(size_t from, size_t to) {
  char* p = fill(mi_malloc(from), from);
  char* behind = fill(mi_malloc(from), from);
  char* q = (char*)mi_realloc(p, to);
  REQUIRE(q != NULL && q != p);
  mi_free(behind);
  note_left(p, from);
  return fill(q, to);
}
static void a_large_block_moves_as_it_grows(void) { (void)move_by_growing(2 * MIB, 6 * MIB); }
static void a_large_block_is_copied_as_it_grows(void) { (void)move_by_growing(100000, 200000); }
static void a_moved_block_shrinks(void) {
  char* p = move_by_growing(2 * MIB, 6 * MIB);
  CHECK_SAME(mi_realloc(p, MIB), p);
  note_cut_off(p, 6 * MIB);
}
static void a_moved_block_is_freed(void) {
  char* p = move_by_growing(2 * MIB, 6 * MIB);
  note_left(p, 6 * MIB);
  mi_free(p);
}
static void a_large_block_becomes_small(void) {
  char* p = fill(mi_malloc(300000), 300000);
  REQUIRE(mi_realloc(p, 100) != NULL);
  note_left(p, 300000);
}
/* To an alignment that the block does not have. Whole slices move, so the last one holds contents
 * outside of the block. */
static void a_large_block_shrinks_by_a_move(void) {
  enum { FROM = 5 * 1024 * 1024, TO = 1024 * 1024 + 100 };
  char* p = fill(mi_malloc(FROM), FROM);
  size_t alignment = 64 * KIB;
  while (is_aligned(p, alignment)) alignment *= 2;
  char* q = (char*)mi_realloc_aligned(p, TO, alignment);
  REQUIRE(q != NULL && q != p);
  note_left(p, FROM);
  note_cut_off(q, round_up(TO, 64 * KIB));
}
static void small_blocks_grow(void) {
  fill_blocks(mi_heap_get_default(), SMALL_COUNT, 100);
  for (size_t i = 0; i < SMALL_COUNT; i++) {
    note_left(blocks[i], 100);
    blocks[i] = fill(mi_realloc(blocks[i], 5000), 5000);
  }
}

/* `small` blocks of the heap and a large one. */
static void fill_heap(mi_heap_t* heap, size_t count, size_t size, size_t large) {
  REQUIRE(heap != NULL);
  fill_blocks(heap, count, size);
  for (size_t i = 0; i < count; i++) note_left(blocks[i], size);
  if (large != 0) note_left(fill(mi_heap_malloc(heap, large), large), large);
}
static void destroy(mi_heap_t* heap, size_t count, size_t size, size_t large) {
  fill_heap(heap, count, size, large);
  mi_heap_destroy(heap);
}
static void a_heap_with_small_blocks_is_destroyed(void) {
  destroy(mi_heap_new(), SMALL_COUNT, 1000, 0);
}
static void a_heap_with_medium_blocks_is_destroyed(void) {
  destroy(mi_heap_new(), MEDIUM_COUNT, 20000, 0);
}
static void a_heap_with_large_blocks_is_destroyed(void) {
  destroy(mi_heap_new(), 0, 0, 3 * MIB);
  destroy(mi_heap_new(), LARGE_COUNT, 300000, 40 * MIB);
}

/* Heaps in an exclusive arena: only they allocate its memory again. */
static mi_arena_id_t arenas[8];
static size_t arena_count;
static mi_heap_t* heap_in(mi_arena_id_t arena) {
  REQUIRE(arena_count < COUNT_OF(arenas));
  arenas[arena_count++] = arena;
  return mi_heap_new_in_arena(arena);
}

/* In an arena the large ones are slices, whatever their size. */
static mi_heap_t* heap_in_arena_of_the_library(void) {
  mi_arena_id_t arena;
  REQUIRE(mi_reserve_os_memory_ex(128 * MIB, true, false, true, &arena) == 0);
  return heap_in(arena);
}
static void blocks_in_an_arena_are_freed(void) {
  mi_heap_t* heap = heap_in_arena_of_the_library();
  fill_blocks(heap, LARGE_COUNT, 300000);
  free_blocks(LARGE_COUNT, 300000);
  fill_blocks(heap, 1, 40 * MIB);
  free_blocks(1, 40 * MIB);
}
static void a_heap_in_an_arena_is_destroyed(void) {
  destroy(heap_in_arena_of_the_library(), LARGE_COUNT, 300000, 40 * MIB);
}

/* The program's own memory, which was full of something before. `non_purgeable`: it is never
 * purged. */
static mi_heap_t* heap_in_memory_of_the_program(bool zero, bool non_purgeable) {
  enum { SIZE = 16 * 1024 * 1024 };
  char* p =
      (char*)mmap(NULL, SIZE + 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(p != MAP_FAILED);
  p = (char*)round_up((size_t)p, 65536);
  if (!zero) memset(p, 'P', SIZE);
  mi_arena_id_t arena;
  REQUIRE(mi_manage_os_memory_ex(p, SIZE, true, non_purgeable, zero, -1, true, &arena));
  return heap_in(arena);
}
static void free_in_memory_of_the_program(bool zero, bool non_purgeable) {
  mi_heap_t* heap = heap_in_memory_of_the_program(zero, non_purgeable);
  fill_blocks(heap, 1, 2 * MIB);
  free_blocks(1, 2 * MIB);
  fill_blocks(heap, LARGE_COUNT, 300000);
  free_blocks(LARGE_COUNT, 300000);
  fill_blocks(heap, 500, 3000);
  free_blocks(500, 3000);
}
static void blocks_in_memory_of_the_program_are_freed(void) {
  free_in_memory_of_the_program(true, false);
  free_in_memory_of_the_program(false, false);
}
static void blocks_in_non_purgeable_memory_are_freed(void) {
  free_in_memory_of_the_program(true, true);
  free_in_memory_of_the_program(false, true);
}
static void a_block_in_memory_of_the_program_shrinks(void) {
  mi_heap_t* heap = heap_in_memory_of_the_program(false, true);
  char* p = fill(mi_heap_malloc(heap, 5 * MIB), 5 * MIB);
  char* q = fill(mi_heap_malloc(heap, 190000), 190000);
  CHECK_SAME(mi_heap_realloc(heap, p, MIB), p);
  note_cut_off(p, 5 * MIB);
  CHECK_SAME(mi_heap_realloc(heap, q, 140000), q); /* it keeps its slices */
  note_cut_off(q, 190000);
}
static void heaps_in_memory_of_the_program_are_destroyed(void) {
  destroy(heap_in_memory_of_the_program(true, true), SMALL_COUNT, 1000, 3 * MIB);
  destroy(heap_in_memory_of_the_program(false, true), SMALL_COUNT, 1000, 3 * MIB);
  destroy(heap_in_memory_of_the_program(false, false), MEDIUM_COUNT, 20000, 3 * MIB);
}

typedef enum memory_e { PAGES, LARGE, GIVEN } memory_t; /* GIVEN: by the program, never guarded */
typedef struct way_s {
  const char* name;
  void (*leave)(void);
  memory_t memory;
} way_t;
#define WAY(function, memory)                                                                      \
  { #function, function, memory }
static const way_t ways[] = {
    WAY(small_blocks_are_freed, PAGES),
    WAY(blocks_beside_live_ones_are_freed, PAGES),
    WAY(medium_blocks_are_freed, PAGES),
    WAY(large_blocks_are_freed, LARGE),
    WAY(a_block_of_mebibytes_is_freed, LARGE),
    WAY(a_block_from_the_system_is_freed, LARGE),
    WAY(another_thread_frees_large_blocks, LARGE),
    WAY(a_large_block_at_an_alignment_is_freed, LARGE),
    WAY(sampled_blocks_are_freed, LARGE),
    WAY(a_large_block_shrinks, LARGE),
    WAY(a_large_block_shrinks_within_its_slices, LARGE),
    WAY(a_block_from_the_system_shrinks, LARGE),
    WAY(a_large_block_moves_as_it_grows, LARGE),
    WAY(a_large_block_is_copied_as_it_grows, LARGE),
    WAY(a_moved_block_shrinks, LARGE),
    WAY(a_moved_block_is_freed, LARGE),
    WAY(a_large_block_becomes_small, LARGE),
    WAY(a_large_block_shrinks_by_a_move, LARGE),
    WAY(small_blocks_grow, PAGES),
    WAY(a_heap_with_small_blocks_is_destroyed, PAGES),
    WAY(a_heap_with_medium_blocks_is_destroyed, PAGES),
    WAY(a_heap_with_large_blocks_is_destroyed, LARGE),
    WAY(blocks_in_an_arena_are_freed, LARGE),
    WAY(a_heap_in_an_arena_is_destroyed, LARGE),
    WAY(blocks_in_memory_of_the_program_are_freed, GIVEN),
    WAY(blocks_in_non_purgeable_memory_are_freed, GIVEN),
    WAY(a_block_in_memory_of_the_program_shrinks, GIVEN),
    WAY(heaps_in_memory_of_the_program_are_destroyed, GIVEN),
};

/* ---- what is checked afterwards
 * ------------------------------------------------------------------
 */

/* Each OS page that lies in the range as a whole. */
#define FOR_PAGES(p, range)                                                                        \
  for (char* p = (char*)round_up((size_t)(range).p, OS_PAGE);                                      \
       p + OS_PAGE <= (range).p + (range).size; p += OS_PAGE)

static void nothing_of_it_is_accessible(const char* way) {
  for (size_t i = 0; i < left_count; i++) FOR_PAGES(p, left[i]) {
      if (!is_accessible(p)) continue;
      check_fail("%s: byte %td of %zu is accessible\n", way, p - left[i].p, left[i].size);
      return;
    }
}

/* As stale pointers see it. */
static void all_of_it_is_zero_or_inaccessible(const char* way, const char* when) {
  for (size_t i = 0; i < left_count; i++) {
    char *end = left[i].p + left[i].size, *next;
    for (char* p = left[i].p; p < end; p = next) {
      next = (char*)round_up((size_t)p + 1, OS_PAGE);
      if (next > end) next = end;
      if (!is_accessible(p) || all_bytes_are(p, (size_t)(next - p), 0)) continue;
      check_fail("%s, %s: from byte %td of %zu on\n", way, when, p - left[i].p, left[i].size);
      return;
    }
  }
}

/* ---- the memory is allocated again
 * ---------------------------------------------------------------
 */

static const size_t later_sizes[] = {16,    100,   1000,   1500,   3000,    5000,
                                     20000, 65000, 100000, 300000, 3 * MIB, 5 * MIB};

/* What was seen in blocks; half of them were requested as zeroed. */
static struct {
  size_t blocks, secret, not_zero; /* blocks that show a secret; small or zeroed ones with any */
} seen;

static void look_at(const char* p, size_t size, bool zeroed) {
  seen.blocks++;
  seen.secret += memchr(p, SECRET, size) != NULL;
  if (zeroed || (LEVEL >= 4 && size <= 65536))
    seen.not_zero += p[0] != 0 || memcmp(p, p + 1, size - 1) != 0;
}

/* More blocks of the size than can have left their place. */
static void take_again(mi_heap_t* heap, size_t size) {
  REQUIRE(heap != NULL);
  for (size_t k = 0, bytes = 0; bytes < 3 * MIB; k++, bytes += size) {
    bool zeroed = k % 2 == 1;
    char* p = (char*)(zeroed ? mi_heap_zalloc(heap, size) : mi_heap_malloc(heap, size));
    if (p == NULL) break; /* the arena is full */
    look_at(p, size, zeroed);
  }
}

static void take_all_again(void) {
  memset(&seen, 0, sizeof seen);
  for (size_t i = 0; i < COUNT_OF(later_sizes); i++) {
    take_again(mi_heap_get_default(), later_sizes[i]);
    for (size_t k = 0; k < arena_count; k++) {
      mi_heap_t* heap = mi_heap_new_in_arena(arenas[k]);
      take_again(heap, later_sizes[i]);
      mi_heap_destroy(heap); /* makes room for the next size */
    }
  }
  CHECK_GE(seen.blocks, 1000);
}

/* ---- one way, in a process of its own
 * ------------------------------------------------------------- */

static const way_t* way_named(const char* name) {
  for (size_t i = 0; i < COUNT_OF(ways); i++)
    if (strcmp(ways[i].name, name) == 0) return &ways[i];
  REQUIRE(!"a way of this name");
  return NULL;
}

/* Without a mistake of the program. */
static void helper_leave(const way_t* way) {
  way->leave();
  if (LEVEL >= 3) CHECK_GE(left_count, 1); /* below, blocks stay longer */
  if (LEVEL >= 2 && way->memory == LARGE && has_guards()) nothing_of_it_is_accessible(way->name);
  if (LEVEL >= 4) all_of_it_is_zero_or_inaccessible(way->name, "at once");
  mi_collect(true); /* blocks in quarantine are freed, and purged */
  if (LEVEL >= 4) all_of_it_is_zero_or_inaccessible(way->name, "after a collection");
  take_all_again();
  if (LEVEL >= 4) CHECK_EQ(seen.secret, 0);
  CHECK_EQ(seen.not_zero, 0);
  CHECK_EQ(reports, 0);
}

/* Stale pointers write a byte into what they reach: one each, or one in each OS page. */
static size_t write_stale(bool each_os_page) {
  size_t written = 0;
  for (size_t i = 0; i < left_count; i++) {
    if (left[i].kept) continue;
    bool in_steps = each_os_page && left[i].size > OS_PAGE;
    size_t step = in_steps ? OS_PAGE : left[i].size;
    for (size_t k = step / 2; k < left[i].size; k += step) {
      if (!is_accessible(left[i].p + k)) continue;
      left[i].p[k] = 'X';
      written++;
    }
  }
  return written;
}

typedef enum when_e { WRITE_AT_ONCE, WRITE_BEFORE_PURGE, WRITE_AFTER_PURGE } when_t;
static const char* const whens[] = {"at_once", "before_purge", "after_purge"};

static void helper_write(const way_t* way, when_t when) {
  way->leave();
  if (when == WRITE_AFTER_PURGE) mi_collect(true);
  size_t written = write_stale(way->memory != PAGES);
  if (when == WRITE_BEFORE_PURGE) mi_collect(true);
  if (way->memory == PAGES) take_again(mi_heap_get_default(), left[0].size);
  /* Otherwise some blocks are still in quarantine; and a purge reports only the first write that it
   * finds.
   */
  if (way->memory == PAGES && when == WRITE_AFTER_PURGE) CHECK_EQ(reports, written);
  take_all_again();
  CHECK_EQ(seen.not_zero, 0);
  CHECK_EQ(seen.secret, 0);
  /* Memory of the program that was purged may hold anything. */
  bool unknown = way->memory == GIVEN && when == WRITE_AFTER_PURGE;
  if (written > 0 && !unknown) CHECK_GE(reports, 1);
  if (written == 0) CHECK_EQ(reports, 0);
}

static int helper(int argc, char** argv) {
  REQUIRE(argc == 3);
  const way_t* way = way_named(argv[2]);
  mi_register_error(&on_error, NULL);
  if (refused_later() != 0) {
    mi_free(mi_malloc(200000)); /* the first guard */
    refuse(refused_later());
  }
  if (strcmp(argv[1], "helper_leave") == 0) {
    helper_leave(way);
  } else {
    size_t when = 0;
    while (strcmp(argv[1] + strlen("helper_write_"), whens[when]) != 0)
      REQUIRE(++when < COUNT_OF(whens));
    helper_write(way, (when_t)when);
  }
  return check_end();
}

/* ---- guards that are mappings
 * ---------------------------------------------------------------------
 */

static size_t mapping_count(void) {
  static char text[65536];
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  size_t lines = 0;
  ssize_t got;
  while ((got = read(fd, text, sizeof text)) > 0)
    for (ssize_t i = 0; i < got; i++) lines += text[i] == '\n';
  close(fd);
  return lines;
}

/* Their number is bounded, even if runs of slices are closed as a whole and opened one by one. */
static void guards_that_are_mappings_stay_few(void) {
  enum { ROUNDS = 12, LARGE_BLOCKS = 4, PAGES_EACH = 7000, BLOCKS = 20000, GUARDS_MAX = 8192 };
  static char* pages[PAGES_EACH];
  if ((refused() & REFUSE_PROTECTIONS) != 0 || (refused() & REFUSE_LIGHT_GUARDS) == 0) return;
  mi_arena_id_t arena; /* so small that pages get memory of large blocks */
  REQUIRE(mi_reserve_os_memory_ex(68 * MIB, true, false, true, &arena) == 0);
  mi_heap_t* heap = mi_heap_new_in_arena(arena);
  REQUIRE(heap != NULL);
  for (int round = 0; round < ROUNDS; round++) {
    for (size_t i = 0; i < LARGE_BLOCKS; i++) {
      blocks[i] = (char*)mi_heap_malloc(heap, 16 * MIB);
      REQUIRE(blocks[i] != NULL);
    }
    for (size_t i = 0; i < LARGE_BLOCKS; i++) mi_free(blocks[i]);
    mi_collect(true);
    for (size_t i = 0; i < PAGES_EACH; i++) {
      pages[i] = (char*)mi_heap_malloc(heap, 8000);
      REQUIRE(pages[i] != NULL);
    }
    for (size_t i = 0; i < PAGES_EACH; i++) mi_free(pages[i]);
    mi_collect(true);
  }
  size_t before = mapping_count();
  for (size_t i = 0; i < BLOCKS; i++) REQUIRE(mi_malloc(100000) != NULL);
  size_t after = mapping_count();
  check_note("mappings: %zu, with %d large blocks %zu\n", before, BLOCKS, after);
  CHECK_LE(after, 2 * GUARDS_MAX + 1000);
}

/* ---- a sandbox that comes later ---- */

/* Blocks of pages and large ones, each of which takes guards away and sets new ones: all bytes of
 * each are the program's. */
static void use_blocks_in_turn(void) {
  enum { COUNT = 300, SIZE = 200000 };
  static char* some[COUNT];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < COUNT; i++) { /* a fault ends us */
      size_t size = i % 2 == 0 ? SIZE : 8000;
      some[i] = fill(mi_malloc(size), size);
    }
    for (size_t i = 0; i < COUNT; i++) mi_free(some[i * 7 % COUNT]);
    mi_free(fill(mi_malloc(SIZE + SIZE / 4), SIZE + SIZE / 4));
    mi_free(fill(mi_zalloc(MIB), MIB));
    mi_collect(round % 2 == 0);
  }
}

/* The library has set guards already, and knows that the system has light ones. */
static void guards_that_cannot_be_removed_are_met_by_no_block(void) {
  use_blocks_in_turn();
  refuse(REFUSE_GUARD_REMOVAL);
  use_blocks_in_turn();
}

static bool system_has_light_guards(void) {
  void* p = mmap(NULL, OS_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(p != MAP_FAILED);
  bool has = madvise(p, OS_PAGE, 102) == 0;
  munmap(p, OS_PAGE);
  return has;
}

/* Each takes protection, not one of the mappings that a process may have. */
static void guards_that_are_refused_later_cost_no_mappings(void) {
  enum { COUNT = 4000 };
  if (!system_has_light_guards()) return; /* then they are mappings from the start */
  use_blocks_in_turn();
  refuse(REFUSE_LIGHT_GUARDS);
  size_t before = mapping_count();
  for (size_t i = 0; i < COUNT; i++) (void)fill(mi_malloc(i % 2 == 0 ? 100000 : 8000), 1);
  size_t after = mapping_count();
  check_note("mappings: %zu, with %d blocks %zu\n", before, COUNT, after);
  CHECK_LE(after, before + 100);
}

/* ---- very large blocks ---- */

static size_t page_table_bytes(void) {
  char text[8192];
  read_file("/proc/self/status", text, sizeof text);
  char* line = strstr(text, "VmPTE:");
  REQUIRE(line != NULL);
  return strtoul(line + 6, NULL, 10) * KIB;
}

/* Closing them and checking them costs only the touched pages. */
static void untouched_memory_of_a_block_costs_nothing(void) {
  if ((refused() & REFUSE_PURGES) != 0) {
    check_note("skipped: where the system drops nothing the library clears all\n");
    return;
  }
  NEEDS_64_BITS("gigabytes of addresses");
  mi_arena_id_t arena;
  REQUIRE(mi_reserve_os_memory_ex(9 * GIB, true, false, true, &arena) == 0);
  mi_heap_t* heap = mi_heap_new_in_arena(arena);
  REQUIRE(heap != NULL);
  size_t before = page_table_bytes();
  for (int round = 0; round < 3; round++) {
    char* p = (char*)(round == 1 ? mi_heap_zalloc(heap, 8 * GIB) : mi_heap_malloc(heap, 8 * GIB));
    REQUIRE(p != NULL);
    if (LEVEL >= 4 || round == 1) CHECK_EQ(p[GIB], 0);
    p[GIB] = SECRET;
    mi_free(p);
    if (LEVEL >= 2 && has_guards()) CHECK(!is_accessible(p + GIB));
    if (LEVEL >= 4 && is_accessible(p + GIB)) CHECK_EQ(p[GIB], 0);
  }
  size_t after = page_table_bytes();
  check_note("page tables: %zu KiB, then %zu KiB\n", before / KIB, after / KIB);
  CHECK_LE(after, before + MIB); /* 16 MiB with an entry for each OS page */
}

/* ---- the cases ---- */

static void run_each_way(const char* helper_name) {
  for (size_t i = 0; i < COUNT_OF(ways); i++) {
    const char* args[] = {helper_name, ways[i].name, NULL};
    check_wait_ok(check_start_self(args, -1, -1), ways[i].name);
  }
}

static void memory_that_leaves_a_block_keeps_no_contents(void) { run_each_way("helper_leave"); }
static void nothing_is_left_where_memory_is_purged_at_once(void) {
  setenv("MIMALLOC_PURGE_DELAY", "0", 1);
  run_each_way("helper_leave");
}
static void nothing_is_left_where_memory_is_never_purged(void) {
  setenv("MIMALLOC_PURGE_DELAY", "-1", 1);
  run_each_way("helper_leave");
}
static void nothing_is_left_where_memory_is_committed_on_demand(void) {
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  run_each_way("helper_leave");
}

/* Only a collection purges, unless the case says otherwise. */
static void run_each_write(const char* helper_name) {
  setenv("MIMALLOC_PURGE_DELAY", "1000000", 0);
  if (LEVEL >= 4) run_each_way(helper_name);
}
static void writes_after_free_are_found(void) { run_each_write("helper_write_at_once"); }
static void writes_before_a_purge_are_found(void) { run_each_write("helper_write_before_purge"); }
static void writes_after_a_purge_are_found(void) { run_each_write("helper_write_after_purge"); }
static void writes_into_memory_that_was_reset_are_found(void) {
  setenv("MIMALLOC_PURGE_DECOMMITS", "0", 1);
  run_each_write("helper_write_after_purge");
}
static void writes_into_memory_that_was_decommitted_are_found(void) {
  setenv("MIMALLOC_ARENA_EAGER_COMMIT", "0", 1);
  run_each_write("helper_write_after_purge");
}
static void writes_into_memory_that_is_never_purged_are_found(void) {
  setenv("MIMALLOC_PURGE_DELAY", "-1", 1);
  run_each_write("helper_write_after_purge");
}

static const check_case_t refused_cases[] = {
    CASE(untouched_memory_of_a_block_costs_nothing),
    CASE(guards_that_are_mappings_stay_few),
    CASE(memory_that_leaves_a_block_keeps_no_contents),
    CASE(writes_after_free_are_found),
    CASE(writes_after_a_purge_are_found),
};

static void set_bits(const char* name, int bits) {
  char text[16];
  snprintf(text, sizeof text, "%d", bits);
  setenv(name, text, 1);
}

/* The whole program on a system that refuses `what`. */
static void run_refused(int what) {
  set_bits("TEST_REFUSED", what);
  const char* args[] = {"refused", NULL};
  check_wait_ok(check_start_self(args, -1, -1), "on a system that refuses guards");
}
static void all_of_it_holds_with_guards_that_are_mappings(void) {
  run_refused(REFUSE_LIGHT_GUARDS);
}
static void contents_go_also_where_there_are_no_guards(void) {
  run_refused(REFUSE_LIGHT_GUARDS | REFUSE_PROTECTIONS);
}
static void contents_go_also_where_memory_is_locked(void) {
  run_refused(REFUSE_LIGHT_GUARDS | REFUSE_PURGES);
}
static void contents_are_cleared_without_the_kernel(void) {
  run_refused(REFUSE_LIGHT_GUARDS | REFUSE_PROTECTIONS | REFUSE_PURGES);
}

/* A sandbox that starts after the first guard, or a program that locks its memory after it. */
static void contents_go_also_where_guards_are_refused_later(void) {
  set_bits("TEST_REFUSED_LATER", REFUSE_LIGHT_GUARDS);
  run_each_way("helper_leave");
}
static void contents_go_also_where_guards_cannot_be_removed(void) {
  set_bits("TEST_REFUSED_LATER", REFUSE_GUARD_REMOVAL);
  run_each_way("helper_leave");
}

static void contents_go_also_where_memory_is_locked_later(void) {
  set_bits("TEST_REFUSED_LATER", REFUSE_PURGES);
  run_each_way("helper_leave");
}
static void contents_are_cleared_without_the_kernel_later(void) {
  set_bits("TEST_REFUSED_LATER", REFUSE_LIGHT_GUARDS | REFUSE_PURGES);
  run_each_way("helper_leave");
}

static const check_case_t cases[] = {
    CASE(memory_that_leaves_a_block_keeps_no_contents),
    CASE(nothing_is_left_where_memory_is_purged_at_once),
    CASE(nothing_is_left_where_memory_is_never_purged),
    CASE(nothing_is_left_where_memory_is_committed_on_demand),
    CASE(writes_after_free_are_found),
    CASE(writes_before_a_purge_are_found),
    CASE(writes_after_a_purge_are_found),
    CASE(writes_into_memory_that_was_reset_are_found),
    CASE(writes_into_memory_that_was_decommitted_are_found),
    CASE(writes_into_memory_that_is_never_purged_are_found),
    CASE(untouched_memory_of_a_block_costs_nothing),
    CASE(all_of_it_holds_with_guards_that_are_mappings),
    CASE(contents_go_also_where_there_are_no_guards),
    CASE(contents_go_also_where_memory_is_locked),
    CASE(contents_are_cleared_without_the_kernel),
    CASE(contents_go_also_where_guards_are_refused_later),
    CASE(contents_go_also_where_guards_cannot_be_removed),
    CASE(contents_go_also_where_memory_is_locked_later),
    CASE(contents_are_cleared_without_the_kernel_later),
    CASE(guards_that_cannot_be_removed_are_met_by_no_block),
    CASE(guards_that_are_refused_later_cost_no_mappings),
};

int main(int argc, char** argv) {
  if (argc > 1 && strncmp(argv[1], "helper_", 7) == 0) return helper(argc, argv);
  if (argc == 2 && strcmp(argv[1], "refused") == 0) {
    refuse(refused());
    return CHECK_MAIN(1, argv, refused_cases);
  }
  if (refused() != 0) return CHECK_MAIN(argc, argv, refused_cases);
  return CHECK_MAIN(argc, argv, cases);
}
