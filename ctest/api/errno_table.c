/* errno_table.c - how each function of the headers fails: what it returns, what is in errno
 * afterwards, and what the registered error function gets.
 *
 * Each case is one row of the table in docs/guarantees.md. The program runs the rows. With the
 * argument --markdown it prints them, and a test compares the document with them. --functions lists
 * the functions that have a row, or are listed as unable to fail. Debug builds report some errors
 * that release builds answer without a report; the table has both.
 */
#include "probe.h"
#include <limits.h>
#include <mimalloc-stats.h>
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- a row ------------------------------------------------------------------------------ */

#define UNTOUCHED 7777 /* an errno that no call sets */
#define CODES_MAX 4

enum { KEPT = 0, ANY_ERROR = -1 };

typedef struct row_s {
  const char* situation;
  const char* returns;
  uintptr_t value; /* the same */
  int error;       /* in errno; KEPT: as it was; ANY_ERROR: may have changed */
  int codes[CODES_MAX];
  int debug_codes[CODES_MAX]; /* of debug builds, when these report something else */
  const char* instead;        /* printed in place of errno and codes */
} row_t;

static const row_t* row; /* the one that is printed or checked */
static bool printing, listing;
static const char* names[200]; /* of the row that is printed */
static size_t name_count;
static struct {
  int list[CODES_MAX];
  size_t count;
} codes;

static void on_error(int code, void* arg) {
  (void)arg;
  if (codes.count < CODES_MAX) codes.list[codes.count] = code;
  codes.count++;
}

static const char* error_name(int code) {
  switch (code) {
  case EAGAIN:
    return "`EAGAIN`";
  case EFAULT:
    return "`EFAULT`";
  case EINVAL:
    return "`EINVAL`";
  case ENOENT:
    return "`ENOENT`";
  case ENOMEM:
    return "`ENOMEM`";
  case EOVERFLOW:
    return "`EOVERFLOW`";
  default:
    return "?";
  }
}

static void print_codes(const int* list) {
  if (list[0] == 0) check_note("nothing");
  for (size_t i = 0; i < CODES_MAX && list[i] != 0; i++) {
    check_note("%s%s", i == 0 ? "" : ", ", error_name(list[i]));
  }
}

/* False: the table is printed, and the row is not run. */
static bool row_begin(const row_t* begun) {
  row = begun;
  name_count = 0;
  if (!printing) mi_register_error(&on_error, NULL);
  return !printing;
}

/* Finds the function `head` `tail` `end` in the row and takes it out if `take`. */
static bool name_find(const char* head, const char* tail, const char* end, bool take) {
  char name[64];
  snprintf(name, sizeof name, "%s%s%s", head, tail, end);
  for (size_t i = 0; i < name_count; i++) {
    if (names[i] == NULL || strcmp(names[i], name) != 0) continue;
    if (take) names[i] = NULL;
    return true;
  }
  return false;
}

/* `mi_[heap_]malloc_aligned[_at]` stands for four functions. */
static void print_names(void) {
  static const char* const heads[] = {"mi_", "mi_heap_"};
  static const char* const ends[] = {"", "_at"};
  const char* comma = "";
  for (size_t i = 0; i < name_count; i++) {
    if (names[i] == NULL) continue;
    const char* tail = names[i] + 3;
    bool heap = name_find(heads[1], tail, "", false);
    bool at = name_find(heads[0], tail, ends[1], false);
    if (heap && at && !name_find(heads[1], tail, ends[1], false)) at = false;
    check_note("%s`mi_%s%s%s`", comma, heap ? "[heap_]" : "", tail, at ? "[_at]" : "");
    for (size_t k = 0; k < 4; k++) {
      if (k / 2 <= heap && k % 2 <= at) name_find(heads[k / 2], tail, ends[k % 2], true);
    }
    comma = ", ";
  }
}

static void row_end(void) {
  if (!printing) mi_register_error(NULL, NULL);
  if (!printing || listing) return;
  check_note("| %s | ", row->situation);
  print_names();
  check_note(" | %s | ", row->returns);
  if (row->instead != NULL) {
    check_note("%s |\n", row->instead);
    return;
  }
  check_note("%s | ", row->error == KEPT        ? "kept"
                      : row->error == ANY_ERROR ? "may change"
                                                : error_name(row->error));
  print_codes(row->codes);
  if (row->debug_codes[0] != 0) {
    check_note("; debug builds: ");
    print_codes(row->debug_codes);
  }
  check_note(" |\n");
}

static bool call_begin(const char* name) {
  if (printing) {
    REQUIRE(name_count < COUNT_OF(names));
    names[name_count++] = name;
    if (listing) check_note("%s\n", name);
    return false;
  }
  memset(&codes, 0, sizeof codes);
  errno = UNTOUCHED;
  return true;
}

static void call_end(const char* name, uintptr_t value, int error) {
  const int* expected = row->codes;
  if (MI_TEST_DEBUG_FULL && row->debug_codes[0] != 0) expected = row->debug_codes;
  bool ok = CHECK_EQ(value, row->value);
  if (row->error != ANY_ERROR) {
    ok = CHECK_EQ(error, row->error == KEPT ? UNTOUCHED : row->error) && ok;
  }
  size_t count = 0;
  while (count < CODES_MAX && expected[count] != 0) count++;
  ok = CHECK_EQ(codes.count, count) && ok;
  for (size_t i = 0; i < count; i++) ok = CHECK_EQ(codes.list[i], expected[i]) && ok;
  if (!ok) check_note("in %s, %s\n", name, row->situation);
}

/* One function of the row, and a call in this situation. A call may be followed by others of the
 * same function, see AGAIN. */
#define CALL(function, call)                                                                       \
  do {                                                                                             \
    if (call_begin(#function)) AGAIN(function, call);                                              \
  } while (0)
#define AGAIN(function, call)                                                                      \
  do {                                                                                             \
    memset(&codes, 0, sizeof codes);                                                               \
    errno = UNTOUCHED;                                                                             \
    uintptr_t value_ = (uintptr_t)(call);                                                          \
    call_end(#function, value_, errno);                                                            \
  } while (0)

#define TOO_LARGE opaque_size(SIZE_MAX / 2)
#define HALF opaque_size(SIZE_MAX / 2 + 2) /* twice this overflows */
#define NO_ALIGNMENT opaque_size(48)

static char* block; /* for the reallocating forms: must survive */
static char foreign[64];
static size_t told;

static void block_make(void) {
  block = (char*)mi_malloc(50);
  REQUIRE(block != NULL);
  pattern_fill(block, 50, 1);
}
static void block_check(void) {
  CHECK(pattern_holds(block, 50, 1));
  mi_free(block);
}

/* ---- functions that fail alike ----
 *
 * Those that allocate `count` times `size` bytes, and those that resize `old` to as much.
 */

static void allocate(size_t count, size_t size) {
  CALL(mi_malloc, mi_malloc(count * size));
  CALL(mi_zalloc, mi_zalloc(count * size));
  CALL(mi_calloc, mi_calloc(count, size));
  CALL(mi_mallocn, mi_mallocn(count, size));
  CALL(mi_malloc_align8, mi_malloc_align8(count * size));
  CALL(mi_zalloc_align8, mi_zalloc_align8(count * size));
  CALL(mi_reallocf, mi_reallocf(NULL, count * size));
  CALL(mi_valloc, mi_valloc(count * size));
  CALL(mi_pvalloc, mi_pvalloc(count * size));
  CALL(mi_umalloc, mi_umalloc(count * size, &told));
  CALL(mi_ucalloc, mi_ucalloc(count, size, &told));
  CALL(mi_heap_malloc, mi_heap_malloc(NULL, count * size));
  CALL(mi_heap_zalloc, mi_heap_zalloc(NULL, count * size));
  CALL(mi_heap_calloc, mi_heap_calloc(NULL, count, size));
  CALL(mi_heap_mallocn, mi_heap_mallocn(NULL, count, size));
  CALL(mi_heap_reallocf, mi_heap_reallocf(NULL, NULL, count * size));
}

static void resize(void* old, size_t count, size_t size) {
  CALL(mi_realloc, mi_realloc(old, count * size));
  CALL(mi_realloc_align8, mi_realloc_align8(old, count * size));
  CALL(mi_reallocn, mi_reallocn(old, count, size));
  CALL(mi_rezalloc, mi_rezalloc(old, count * size));
  CALL(mi_recalloc, mi_recalloc(old, count, size));
  CALL(mi_urealloc, mi_urealloc(old, count * size, &told, &told));
  CALL(mi_heap_realloc, mi_heap_realloc(NULL, old, count * size));
  CALL(mi_heap_reallocn, mi_heap_reallocn(NULL, old, count, size));
  CALL(mi_heap_rezalloc, mi_heap_rezalloc(NULL, old, count * size));
  CALL(mi_heap_recalloc, mi_heap_recalloc(NULL, old, count, size));
}

static void allocate_aligned(size_t count, size_t size, size_t align) {
  CALL(mi_malloc_aligned, mi_malloc_aligned(count * size, align));
  CALL(mi_zalloc_aligned, mi_zalloc_aligned(count * size, align));
  CALL(mi_calloc_aligned, mi_calloc_aligned(count, size, align));
  CALL(mi_memalign, mi_memalign(align, count * size));
  CALL(mi_aligned_alloc, mi_aligned_alloc(align, count * size));
  CALL(mi_umalloc_aligned, mi_umalloc_aligned(count * size, align, &told));
  CALL(mi_uzalloc_aligned, mi_uzalloc_aligned(count * size, align, &told));
  CALL(mi_heap_malloc_aligned, mi_heap_malloc_aligned(NULL, count * size, align));
  CALL(mi_heap_zalloc_aligned, mi_heap_zalloc_aligned(NULL, count * size, align));
  CALL(mi_heap_calloc_aligned, mi_heap_calloc_aligned(NULL, count, size, align));
}

static void resize_aligned(void* old, size_t count, size_t size, size_t align) {
  CALL(mi_realloc_aligned, mi_realloc_aligned(old, count * size, align));
  CALL(mi_rezalloc_aligned, mi_rezalloc_aligned(old, count * size, align));
  CALL(mi_recalloc_aligned, mi_recalloc_aligned(old, count, size, align));
  CALL(mi_aligned_recalloc, mi_aligned_recalloc(old, count, size, align));
  CALL(mi_heap_realloc_aligned, mi_heap_realloc_aligned(NULL, old, count * size, align));
  CALL(mi_heap_rezalloc_aligned, mi_heap_rezalloc_aligned(NULL, old, count * size, align));
  CALL(mi_heap_recalloc_aligned, mi_heap_recalloc_aligned(NULL, old, count, size, align));
}

/* With an offset of 8. */
static void allocate_aligned_at(size_t count, size_t size, size_t align) {
  CALL(mi_malloc_aligned_at, mi_malloc_aligned_at(count * size, align, 8));
  CALL(mi_zalloc_aligned_at, mi_zalloc_aligned_at(count * size, align, 8));
  CALL(mi_calloc_aligned_at, mi_calloc_aligned_at(count, size, align, 8));
  CALL(mi_heap_malloc_aligned_at, mi_heap_malloc_aligned_at(NULL, count * size, align, 8));
  CALL(mi_heap_zalloc_aligned_at, mi_heap_zalloc_aligned_at(NULL, count * size, align, 8));
  CALL(mi_heap_calloc_aligned_at, mi_heap_calloc_aligned_at(NULL, count, size, align, 8));
}

static void resize_aligned_at(void* old, size_t count, size_t size, size_t align) {
  CALL(mi_realloc_aligned_at, mi_realloc_aligned_at(old, count * size, align, 8));
  CALL(mi_rezalloc_aligned_at, mi_rezalloc_aligned_at(old, count * size, align, 8));
  CALL(mi_recalloc_aligned_at, mi_recalloc_aligned_at(old, count, size, align, 8));
  CALL(mi_aligned_offset_recalloc, mi_aligned_offset_recalloc(old, count, size, align, 8));
  CALL(mi_heap_realloc_aligned_at, mi_heap_realloc_aligned_at(NULL, old, count * size, align, 8));
  CALL(mi_heap_rezalloc_aligned_at, mi_heap_rezalloc_aligned_at(NULL, old, count * size, align, 8));
  CALL(mi_heap_recalloc_aligned_at, mi_heap_recalloc_aligned_at(NULL, old, count, size, align, 8));
}

/* All of them. */
static void allocate_and_resize(void* old, size_t count, size_t size) {
  allocate(count, size);
  resize(old, count, size);
  CALL(mi_reallocarray, mi_reallocarray(old, count, size));
  allocate_aligned(count, size, 64);
  allocate_aligned_at(count, size, 64);
  resize_aligned(old, count, size, 64);
  resize_aligned_at(old, count, size, 64);
}

/* ---- sizes and products ------------------------------------------------------------------ */

static void size_above_the_largest(void) {
  static const row_t r = {"the size is above the largest there can be",
                          "NULL",
                          0,
                          ENOMEM,
                          {EOVERFLOW, ENOMEM},
                          {0},
                          NULL};
  if (row_begin(&r)) block_make();
  allocate_and_resize(block, 1, TOO_LARGE);
  if (!printing) block_check();
  row_end();
}

static mi_stats_t* stats_of_now(void) {
  static mi_stats_t stats;
  mi_stats_init(&stats);
  REQUIRE(mi_stats_get(&stats));
  return &stats;
}

/* Uses up all memory, so that a request of any size fails. */
static void use_up_memory(void) {
  mi_option_enable(mi_option_disallow_os_alloc);
  for (size_t size = 64 * MIB; size > 1024; size -= size / 16) {
    while (mi_malloc(opaque_size(size)) != NULL) {
    }
  }
  for (size_t size = 1024; size > 0; size -= 8) {
    while (mi_malloc(opaque_size(size)) != NULL) {
    }
    while (mi_malloc_align8(opaque_size(size)) != NULL) {
    }
  }
}

static void memory_runs_out(void) {
  static const row_t r = {"memory runs out", "NULL", 0, ENOMEM, {ENOMEM}, {0}, NULL};
  static const unsigned short wide[] = {'a', 'b', 0};
  if (row_begin(&r)) use_up_memory();
  allocate_and_resize(NULL, 10, 10);
  if (!printing) AGAIN(mi_malloc, mi_malloc(MIB));
  CALL(mi_malloc_small, mi_malloc_small(100));
  CALL(mi_zalloc_small, mi_zalloc_small(100));
  CALL(mi_strdup, mi_strdup("a name"));
  CALL(mi_strndup, mi_strndup("a name", 3));
  CALL(mi_mbsdup, mi_mbsdup((const unsigned char*)"a name"));
  CALL(mi_wcsdup, mi_wcsdup(wide));
  CALL(mi_realpath, mi_realpath("/", NULL));
  CALL(mi_umalloc_small, mi_umalloc_small(100, &told));
  CALL(mi_uzalloc_small, mi_uzalloc_small(100, &told));
  CALL(mi_heap_malloc_small, mi_heap_malloc_small(NULL, 100));
  CALL(mi_heap_zalloc_small, mi_heap_zalloc_small(NULL, 100));
  CALL(mi_heap_strdup, mi_heap_strdup(NULL, "a name"));
  CALL(mi_heap_strndup, mi_heap_strndup(NULL, "a name", 3));
  CALL(mi_heap_realpath, mi_heap_realpath(NULL, "/", NULL));
  CALL(mi_stats_get_json, mi_stats_get_json(0, NULL));
  CALL(mi_stats_as_json, mi_stats_as_json(stats_of_now(), 0, NULL));
  CALL(mi_heap_stats_get_json, mi_heap_stats_get_json(mi_heap_get_default(), 0, NULL));
  row_end();
}

static void product_overflows(void) {
  static const row_t r = {
      "the product of count and size overflows", "NULL", 0, ENOMEM, {0}, {EOVERFLOW}, NULL};
  if (row_begin(&r)) block_make();
  CALL(mi_calloc, mi_calloc(HALF, 2));
  CALL(mi_mallocn, mi_mallocn(HALF, 2));
  CALL(mi_reallocn, mi_reallocn(block, HALF, 2));
  CALL(mi_recalloc, mi_recalloc(block, HALF, 2));
  CALL(mi_calloc_aligned, mi_calloc_aligned(HALF, 2, 64));
  CALL(mi_calloc_aligned_at, mi_calloc_aligned_at(HALF, 2, 64, 8));
  CALL(mi_recalloc_aligned, mi_recalloc_aligned(block, HALF, 2, 64));
  CALL(mi_recalloc_aligned_at, mi_recalloc_aligned_at(block, HALF, 2, 64, 8));
  CALL(mi_aligned_recalloc, mi_aligned_recalloc(block, HALF, 2, 64));
  CALL(mi_aligned_offset_recalloc, mi_aligned_offset_recalloc(block, HALF, 2, 64, 8));
  CALL(mi_ucalloc, mi_ucalloc(HALF, 2, &told));
  CALL(mi_heap_calloc, mi_heap_calloc(NULL, HALF, 2));
  CALL(mi_heap_mallocn, mi_heap_mallocn(NULL, HALF, 2));
  CALL(mi_heap_reallocn, mi_heap_reallocn(NULL, block, HALF, 2));
  CALL(mi_heap_recalloc, mi_heap_recalloc(NULL, block, HALF, 2));
  CALL(mi_heap_calloc_aligned, mi_heap_calloc_aligned(NULL, HALF, 2, 64));
  CALL(mi_heap_calloc_aligned_at, mi_heap_calloc_aligned_at(NULL, HALF, 2, 64, 8));
  CALL(mi_heap_recalloc_aligned, mi_heap_recalloc_aligned(NULL, block, HALF, 2, 64));
  CALL(mi_heap_recalloc_aligned_at, mi_heap_recalloc_aligned_at(NULL, block, HALF, 2, 64, 8));
  if (!printing) block_check();
  row_end();
}

static void product_of_reallocarray_overflows(void) {
  static const row_t r = {
      "the product of count and size overflows", "NULL", 0, EOVERFLOW, {0}, {EOVERFLOW}, NULL};
  if (row_begin(&r)) block_make();
  CALL(mi_reallocarray, mi_reallocarray(block, HALF, 2));
  if (!printing) block_check();
  row_end();
}

/* ---- alignments -------------------------------------------------------------------------- */

static void alignment_is_no_power_of_two(void) {
  static const row_t r = {
      "the alignment is no power of two", "NULL", 0, EINVAL, {0}, {EOVERFLOW}, NULL};
  if (row_begin(&r)) block_make();
  allocate_aligned(5, 10, NO_ALIGNMENT);
  allocate_aligned_at(5, 10, NO_ALIGNMENT);
  resize_aligned(block, 10, 10, NO_ALIGNMENT);
  resize_aligned_at(block, 10, 10, NO_ALIGNMENT);
  if (!printing) {
    AGAIN(mi_malloc_aligned, mi_malloc_aligned(50, opaque_size(0)));
    AGAIN(mi_realloc_aligned, mi_realloc_aligned(block, 100, opaque_size(0)));
  }
  if (!printing) block_check();
  row_end();
}

static void large_alignment_with_an_offset(void) {
  static const row_t r = {"the alignment is above 16 MiB, and the offset no multiple of it",
                          "NULL",
                          0,
                          EINVAL,
                          {0},
                          {EOVERFLOW},
                          NULL};
  const size_t large = opaque_size(32 * MIB);
  if (row_begin(&r)) block_make();
  allocate_aligned_at(5, 10, large);
  resize_aligned_at(block, 10, 10, large);
  if (!printing) block_check();
  row_end();
}

/* ---- pointers that are not ours ----------------------------------------------------------- */

static void pointer_to_resize_is_foreign(void) {
  static const row_t r = {
      "the pointer is not to memory of ours", "NULL", 0, KEPT, {EINVAL}, {0}, NULL};
  (void)row_begin(&r);
  resize(opaque(foreign), 10, 10);
  CALL(mi_expand, mi_expand(opaque(foreign), 1));
  resize_aligned(opaque(foreign), 10, 10, 64);
  resize_aligned_at(opaque(foreign), 10, 10, 64);
  row_end();
}

static void pointer_to_resize_is_foreign_and_errno_is_set(void) {
  static const row_t r = {
      "the pointer is not to memory of ours", "NULL", 0, ENOMEM, {EINVAL}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_reallocarray, mi_reallocarray(opaque(foreign), 10, 10));
  CALL(mi__expand, mi__expand(opaque(foreign), 1));
  row_end();
}

/* The library reports both the request and the release of the block in the same call. */
static void pointer_to_resize_or_release_is_foreign(void) {
  static const row_t r = {
      "the pointer is not to memory of ours", "NULL", 0, KEPT, {EINVAL, EINVAL}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_reallocf, mi_reallocf(opaque(foreign), 100));
  CALL(mi_heap_reallocf, mi_heap_reallocf(NULL, opaque(foreign), 100));
  row_end();
}

static void pointer_to_release_is_foreign(void) {
  static const row_t r = {
      "the pointer is not to memory of ours", "(ignored)", 0, KEPT, {EINVAL}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_free, (mi_free(opaque(foreign)), 0));
  CALL(mi_free_small, (mi_free_small(opaque(foreign)), 0));
  CALL(mi_free_size, (mi_free_size(opaque(foreign), 0), 0));
  CALL(mi_free_size_aligned, (mi_free_size_aligned(opaque(foreign), 0, 1), 0));
  CALL(mi_free_aligned, (mi_free_aligned(opaque(foreign), 1), 0));
  CALL(mi_ufree, (mi_ufree(opaque(foreign), &told), 0));
  row_end();
}

static void large_block_is_released_twice(void) {
  static const row_t r = {
      "a block above 64 KiB was released already", "(ignored)", 0, KEPT, {EINVAL}, {0}, NULL};
  void* p[6] = {NULL};
  if (row_begin(&r)) {
    for (size_t i = 0; i < COUNT_OF(p); i++) {
      p[i] = mi_malloc(300000 + i * 100000);
      REQUIRE(p[i] != NULL);
    }
    for (size_t i = 0; i < COUNT_OF(p); i++) mi_free(p[i]);
  }
  CALL(mi_free, (mi_free(opaque(p[0])), 0));
  CALL(mi_free_small, (mi_free_small(opaque(p[1])), 0));
  CALL(mi_free_size, (mi_free_size(opaque(p[2]), 0), 0));
  CALL(mi_free_size_aligned, (mi_free_size_aligned(opaque(p[3]), 0, 1), 0));
  CALL(mi_free_aligned, (mi_free_aligned(opaque(p[4]), 1), 0));
  CALL(mi_ufree, (mi_ufree(opaque(p[5]), &told), 0));
  row_end();
}

/* ---- growing in place ----------------------------------------------------------------------- */

static void block_cannot_grow_where_it_is(void) {
  static const row_t r = {"the block is too small, or NULL", "NULL", 0, KEPT, {0}, {0}, NULL};
  if (row_begin(&r)) block_make();
  CALL(mi_expand, mi_expand(block, 100000));
  if (!printing) AGAIN(mi_expand, mi_expand(NULL, 1));
  if (!printing) block_check();
  row_end();
}

static void block_cannot_grow_where_it_is_and_errno_is_set(void) {
  static const row_t r = {"the block is too small, or NULL", "NULL", 0, ENOMEM, {0}, {0}, NULL};
  if (row_begin(&r)) block_make();
  CALL(mi__expand, mi__expand(block, 100000));
  if (!printing) AGAIN(mi__expand, mi__expand(NULL, 1));
  if (!printing) block_check();
  row_end();
}

/* ---- functions that return an error ---- */

static void posix_memalign_has_a_wrong_argument(void) {
  static const row_t r = {
      "the address is NULL, or the alignment no power of two, or no multiple of a pointer's size",
      "`EINVAL`",
      EINVAL,
      KEPT,
      {0},
      {0},
      NULL};
  static void* p;
  if (row_begin(&r)) p = foreign;
  CALL(mi_posix_memalign, mi_posix_memalign(opaque(NULL), 64, 50));
  if (!printing) {
    AGAIN(mi_posix_memalign, mi_posix_memalign(&p, NO_ALIGNMENT, 50));
    AGAIN(mi_posix_memalign, mi_posix_memalign(&p, opaque_size(4), 50));
    AGAIN(mi_posix_memalign, mi_posix_memalign(&p, opaque_size(0), 50));
    CHECK_SAME(p, foreign);
  }
  row_end();
}

static void posix_memalign_size_is_too_large(void) {
  static const row_t r = {"the size is above the largest there can be",
                          "`ENOMEM`",
                          ENOMEM,
                          KEPT,
                          {EOVERFLOW, ENOMEM},
                          {0},
                          NULL};
  static void* p;
  if (row_begin(&r)) p = foreign;
  CALL(mi_posix_memalign, mi_posix_memalign(&p, 64, TOO_LARGE));
  if (!printing) CHECK_SAME(p, foreign);
  row_end();
}

static void posix_memalign_finds_no_memory(void) {
  static const row_t r = {"memory runs out", "`ENOMEM`", ENOMEM, KEPT, {ENOMEM}, {0}, NULL};
  static void* p;
  if (row_begin(&r)) use_up_memory();
  if (!printing) p = foreign;
  CALL(mi_posix_memalign, mi_posix_memalign(&p, 64, 50));
  if (!printing) CHECK_SAME(p, foreign);
  row_end();
}

static void reallocarr_has_no_address(void) {
  static const row_t r = {"the address is NULL", "`EINVAL`", EINVAL, EINVAL, {0}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_reallocarr, mi_reallocarr(opaque(NULL), 10, 10));
  row_end();
}

static void reallocarr_overflows(void) {
  static const row_t r = {"the product of count and size overflows",
                          "`EOVERFLOW`",
                          EOVERFLOW,
                          EOVERFLOW,
                          {0},
                          {EOVERFLOW},
                          NULL};
  if (row_begin(&r)) block_make();
  char* same = block;
  CALL(mi_reallocarr, mi_reallocarr(&same, HALF, 2));
  if (!printing) {
    CHECK_SAME(same, block);
    block_check();
  }
  row_end();
}

static void reallocarr_size_is_too_large(void) {
  static const row_t r = {"the size is above the largest there can be",
                          "`ENOMEM`",
                          ENOMEM,
                          ENOMEM,
                          {EOVERFLOW, ENOMEM},
                          {0},
                          NULL};
  if (row_begin(&r)) block_make();
  char* same = block;
  CALL(mi_reallocarr, mi_reallocarr(&same, 1, TOO_LARGE));
  if (!printing) {
    CHECK_SAME(same, block);
    block_check();
  }
  row_end();
}

static void reallocarr_finds_no_memory(void) {
  static const row_t r = {"memory runs out", "`ENOMEM`", ENOMEM, ENOMEM, {ENOMEM}, {0}, NULL};
  char* same = NULL;
  if (row_begin(&r)) use_up_memory();
  CALL(mi_reallocarr, mi_reallocarr(&same, 10, 10));
  if (!printing) CHECK_NULL(same);
  row_end();
}

static void variable_has_no_name_or_no_place(void) {
  static const row_t r = {"the buffer or the name is NULL; the wide form always, but on Windows",
                          "`EINVAL`",
                          EINVAL,
                          KEPT,
                          {0},
                          {0},
                          NULL};
  char* copy;
  unsigned short* wide_copy;
  static const unsigned short wide[] = {'P', 0};
  (void)row_begin(&r);
  CALL(mi_dupenv_s, mi_dupenv_s(&copy, &told, NULL));
  if (!printing) AGAIN(mi_dupenv_s, mi_dupenv_s(NULL, &told, "PATH"));
  CALL(mi_wdupenv_s, mi_wdupenv_s(&wide_copy, &told, wide));
  row_end();
}

static void variable_finds_no_memory(void) {
  static const row_t r = {"memory runs out", "`ENOMEM`", ENOMEM, ENOMEM, {ENOMEM}, {0}, NULL};
  char* copy;
  if (row_begin(&r)) {
    REQUIRE(setenv("ERRNO_TABLE", "a value", 1) == 0);
    use_up_memory();
  }
  CALL(mi_dupenv_s, mi_dupenv_s(&copy, &told, "ERRNO_TABLE"));
  row_end();
}

static void path_cannot_be_resolved(void) {
  static const row_t r = {"the path cannot be resolved, for example because it does not exist",
                          "NULL",
                          0,
                          ENOENT,
                          {0},
                          {0},
                          NULL};
  static char resolved[PATH_MAX];
  (void)row_begin(&r);
  CALL(mi_realpath, mi_realpath("/no/such/file", NULL));
  if (!printing) AGAIN(mi_realpath, mi_realpath("/no/such/file", resolved));
  CALL(mi_heap_realpath, mi_heap_realpath(NULL, "/no/such/file", NULL));
  row_end();
}

static void there_is_no_string(void) {
  static const row_t r = {"the string is NULL", "NULL", 0, KEPT, {0}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_strdup, mi_strdup(opaque(NULL)));
  CALL(mi_strndup, mi_strndup(opaque(NULL), 5));
  CALL(mi_mbsdup, mi_mbsdup(opaque(NULL)));
  CALL(mi_wcsdup, mi_wcsdup(opaque(NULL)));
  CALL(mi_heap_strdup, mi_heap_strdup(NULL, opaque(NULL)));
  CALL(mi_heap_strndup, mi_heap_strndup(NULL, opaque(NULL), 5));
  row_end();
}

/* ---- the C++ protocol, without a new-handler
 * ---------------------------------------------------- */

static void nothrow_size_is_too_large(void) {
  static const row_t r = {"the size is above the largest there can be, no new-handler",
                          "NULL",
                          0,
                          ENOMEM,
                          {EOVERFLOW, ENOMEM, ENOMEM},
                          {0},
                          NULL};
  (void)row_begin(&r);
  CALL(mi_new_nothrow, mi_new_nothrow(TOO_LARGE));
  CALL(mi_new_aligned_nothrow, mi_new_aligned_nothrow(TOO_LARGE, 64));
  row_end();
}

static void nothrow_finds_no_memory(void) {
  static const row_t r = {
      "memory runs out, no new-handler", "NULL", 0, ENOMEM, {ENOMEM, ENOMEM}, {0}, NULL};
  if (row_begin(&r)) use_up_memory();
  CALL(mi_new_nothrow, mi_new_nothrow(100));
  CALL(mi_new_aligned_nothrow, mi_new_aligned_nothrow(100, 64));
  row_end();
}

static void nothrow_has_no_alignment(void) {
  static const row_t r = {"the alignment is no power of two, no new-handler",
                          "NULL",
                          0,
                          EINVAL,
                          {ENOMEM},
                          {EOVERFLOW, ENOMEM},
                          NULL};
  (void)row_begin(&r);
  CALL(mi_new_aligned_nothrow, mi_new_aligned_nothrow(50, NO_ALIGNMENT));
  row_end();
}

/* The last code of the error function, in memory that a child shares. */
static int* last_code;
static void on_error_shared(int code, void* arg) {
  (void)arg;
  *last_code = code;
}

/* 1 when the call ends the process with SIGABRT after ENOMEM was reported. */
#define ABORTS(call) (abort_begin() ? (_exit(opaque(call) == NULL), 0) : abort_end())
static pid_t abort_child;
static bool abort_begin(void) {
  *last_code = 0;
  abort_child = fork();
  REQUIRE(abort_child >= 0);
  if (abort_child != 0) return false;
  int nowhere = open("/dev/null", O_WRONLY);
  if (nowhere >= 0) dup2(nowhere, STDERR_FILENO); /* the message */
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  mi_register_error(&on_error_shared, NULL);
  return true;
}
static int abort_end(void) {
  int status;
  REQUIRE(waitpid(abort_child, &status, 0) == abort_child);
  errno = UNTOUCHED; /* irrelevant: the process does not go on */
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && *last_code == ENOMEM;
}

static void new_ends_the_program(void) {
  static const row_t r = {"a request fails in any way, no new-handler; for those with a count "
                          "also: the product overflows",
                          "(throws `std::bad_alloc`; without a C++ runtime `abort`)",
                          1,
                          KEPT,
                          {0},
                          {0},
                          "as the nothrow forms | as the nothrow forms"};
  if (row_begin(&r)) {
    last_code = (int*)mmap(NULL, sizeof *last_code, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(last_code != MAP_FAILED);
    mi_register_error(NULL, NULL);
  }
  CALL(mi_new, ABORTS(mi_new(TOO_LARGE)));
  CALL(mi_new_aligned, ABORTS(mi_new_aligned(TOO_LARGE, 64)));
  if (!printing) AGAIN(mi_new_aligned, ABORTS(mi_new_aligned(50, NO_ALIGNMENT)));
  CALL(mi_new_realloc, ABORTS(mi_new_realloc(NULL, TOO_LARGE)));
  CALL(mi_heap_alloc_new, ABORTS(mi_heap_alloc_new(NULL, TOO_LARGE)));
  CALL(mi_new_n, ABORTS(mi_new_n(HALF, 2)));
  CALL(mi_new_reallocn, ABORTS(mi_new_reallocn(NULL, HALF, 2)));
  CALL(mi_heap_alloc_new_n, ABORTS(mi_heap_alloc_new_n(NULL, HALF, 2)));
  row_end();
}

/* ---- heaps ---- */

static void* wait_and_start(void* arg) {
  pthread_barrier_t* barriers = (pthread_barrier_t*)arg;
  pthread_barrier_wait(&barriers[0]);
  pthread_barrier_wait(&barriers[1]);
  CALL(mi_thread_init, (mi_thread_init(), 0));
  return NULL;
}

/* No address space is left for heap structs. The runtime of a sanitizer needs some. */
#define CAN_USE_UP_ADDRESSES (!UNDER_ADDRESS_SANITIZER && !UNDER_THREAD_SANITIZER)
static void use_up_addresses(void) {
  struct rlimit none = {0, 0};
  REQUIRE(mi_heap_get_default() != NULL);
  REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  while (mi_heap_new() != NULL) {
  }
}

static void there_is_no_room_for_a_heap(void) {
  if (!printing && !CAN_USE_UP_ADDRESSES) return;
  static const row_t r = {"memory runs out", "NULL", 0, ENOMEM, {ENOMEM}, {0}, NULL};
  if (row_begin(&r)) use_up_addresses();
  CALL(mi_heap_new, mi_heap_new());
  CALL(mi_heap_new_ex, mi_heap_new_ex(0, true, 0));
  CALL(mi_heap_new_in_arena, mi_heap_new_in_arena(0));
  row_end();
}

static void there_is_no_room_for_a_thread(void) {
  if (!printing && !CAN_USE_UP_ADDRESSES) return;
  static const row_t r = {
      "memory runs out", "(the next allocation tries again)", 0, ENOMEM, {ENOMEM}, {0}, NULL};
  pthread_barrier_t barriers[2];
  if (row_begin(&r)) {
    for (size_t i = 0; i < 2; i++) pthread_barrier_init(&barriers[i], NULL, 2);
    pthread_t thread = thread_start(&wait_and_start, barriers);
    pthread_barrier_wait(&barriers[0]);
    use_up_addresses();
    pthread_barrier_wait(&barriers[1]);
    thread_join(thread);
  } else {
    CALL(mi_thread_init, 0);
  }
  row_end();
}

static void* ask_for_heaps(void* arg) {
  pthread_barrier_t* barriers = (pthread_barrier_t*)arg;
  pthread_barrier_wait(&barriers[0]);
  pthread_barrier_wait(&barriers[1]);
  CALL(mi_heap_get_default, mi_heap_get_default());
  CALL(mi_heap_get_backing, mi_heap_get_backing());
  return NULL;
}

static void there_is_no_room_for_a_threads_heap(void) {
  if (!printing && !CAN_USE_UP_ADDRESSES) return;
  static const row_t r = {
      "memory runs out at the first call of a thread", "NULL", 0, ANY_ERROR, {0}, {0}, NULL};
  pthread_barrier_t barriers[2];
  if (row_begin(&r)) {
    for (size_t i = 0; i < 2; i++) pthread_barrier_init(&barriers[i], NULL, 2);
    pthread_t thread = thread_start(&ask_for_heaps, barriers);
    pthread_barrier_wait(&barriers[0]);
    use_up_addresses();
    pthread_barrier_wait(&barriers[1]);
    thread_join(thread);
  } else {
    CALL(mi_heap_get_default, 0);
    CALL(mi_heap_get_backing, 0);
  }
  row_end();
}

static void there_is_no_room_for_the_first_heap(void) {
  static const row_t r = {
      "memory runs out before anything was allocated", "NULL", 0, ANY_ERROR, {0}, {0}, NULL};
  if (!printing && !CAN_USE_UP_ADDRESSES) return;
  struct rlimit none = {0, 0};
  if (row_begin(&r)) REQUIRE(setrlimit(RLIMIT_AS, &none) == 0);
  CALL(mi_heap_main, mi_heap_main());
  row_end();
}

static void tag_or_arena_does_not_exist(void) {
  static const row_t r = {
      "the tag is out of range, or there is no such arena", "NULL", 0, KEPT, {0}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_heap_new_ex, mi_heap_new_ex(256, true, 0));
  if (!printing) AGAIN(mi_heap_new_ex, mi_heap_new_ex(-1, true, 0));
  if (!printing) AGAIN(mi_heap_new_ex, mi_heap_new_ex(0, true, 99));
  CALL(mi_heap_new_in_arena, mi_heap_new_in_arena(99));
  if (!printing) AGAIN(mi_heap_new_in_arena, mi_heap_new_in_arena(-1));
  CALL(mi_arena_area, mi_arena_area(99, &told));
  row_end();
}

static bool see_nothing(const mi_heap_t* heap, const mi_heap_area_t* area, void* at, size_t size,
                        void* arg) {
  (void)heap, (void)area, (void)at, (void)size, (void)arg;
  return true;
}

static void heap_or_visitor_is_null(void) {
  static const row_t r = {"the heap (of `mi_heap_visit_abandoned_blocks`: the visitor) is NULL",
                          "NULL, false",
                          0,
                          KEPT,
                          {0},
                          {0},
                          NULL};
  (void)row_begin(&r);
  CALL(mi_heap_set_default, mi_heap_set_default(NULL));
  CALL(mi_heap_visit_blocks, mi_heap_visit_blocks(NULL, true, &see_nothing, NULL));
  if (!printing) {
    AGAIN(mi_heap_visit_blocks, mi_heap_visit_blocks(mi_heap_get_default(), true, NULL, NULL));
  }
  CALL(mi_abandoned_visit_blocks, mi_abandoned_visit_blocks(NULL, -1, true, NULL, NULL));
  if (!printing) {
    AGAIN(mi_abandoned_visit_blocks,
          mi_abandoned_visit_blocks(foreign, -1, true, &see_nothing, NULL));
  }
  CALL(mi_heap_visit_abandoned_blocks, mi_heap_visit_abandoned_blocks(NULL, true, NULL, NULL));
  row_end();
}

/* ---- heaps of other threads ---- */

static void* use_the_heap_of_another(void* arg) {
  mi_heap_t* heap = (mi_heap_t*)arg;
  CALL(mi_heap_set_default, mi_heap_set_default(heap));
  CALL(mi_heap_visit_blocks, mi_heap_visit_blocks(heap, true, &see_nothing, NULL));
  CALL(mi_heap_delete, (mi_heap_delete(heap), 0));
  CALL(mi_heap_destroy, (mi_heap_destroy(heap), 0));
  CALL(mi_heap_set_limit, mi_heap_set_limit(heap, MIB));
  return NULL;
}

static void heap_is_of_another_thread(void) {
  const int reported = FOREIGN_HEAPS_ARE_REPORTED && !printing ? EFAULT : 0;
  const row_t r = {"the heap is another thread's",
                   "NULL, false, (ignored)",
                   0,
                   KEPT,
                   {reported},
                   {EFAULT},
                   NULL};
  if (row_begin(&r)) {
    mi_heap_t* heap = mi_heap_new();
    void* p = mi_heap_malloc(heap, 10);
    REQUIRE(heap != NULL && p != NULL);
    thread_join(thread_start(&use_the_heap_of_another, heap));
    CHECK(mi_heap_contains_block(heap, p));
  } else {
    use_the_heap_of_another(NULL);
  }
  row_end();
}

/* ---- arenas ---- */

static void memory_cannot_be_an_arena(void) {
  static const row_t r = {"less than 64 KiB remain, or the addresses cannot be named or are in use",
                          "false",
                          0,
                          ANY_ERROR,
                          {0},
                          {0},
                          NULL};
  mi_arena_id_t id = 77;
  (void)row_begin(&r);
  CALL(mi_manage_os_memory, mi_manage_os_memory(foreign, sizeof foreign, true, false, false, -1));
  if (!printing) AGAIN(mi_manage_os_memory, mi_manage_os_memory(NULL, MIB, true, false, false, -1));
  CALL(mi_manage_os_memory_ex,
       mi_manage_os_memory_ex(foreign, sizeof foreign, true, false, false, -1, true, &id));
  if (!printing) CHECK_EQ(id, 0);
  row_end();
}

static void memory_cannot_be_reserved(void) {
  static const row_t r = {"the size is 0, or the system has no such memory",
                          "`ENOMEM`",
                          ENOMEM,
                          ANY_ERROR,
                          {0},
                          {0},
                          NULL};
  mi_arena_id_t id = 77;
  size_t reserved = 77;
  const size_t pages = opaque_size(16); /* more huge pages than a machine has set aside */
  (void)row_begin(&r);
  CALL(mi_reserve_os_memory, mi_reserve_os_memory(0, true, false));
  if (!printing) {
    AGAIN(mi_reserve_os_memory, mi_reserve_os_memory(TOO_LARGE, true, false));
    AGAIN(mi_reserve_os_memory, mi_reserve_os_memory(opaque_size((size_t)1 << 47), false, false));
  }
  CALL(mi_reserve_os_memory_ex, mi_reserve_os_memory_ex(0, true, false, true, &id));
  if (!printing) CHECK_EQ(id, 0);
  /* A machine that has them returns 0, and the case checks nothing. */
  bool has_huge_pages = !printing && mi_reserve_huge_os_pages_at(1, -1, 10) == 0;
  if (has_huge_pages) check_note("this machine has huge pages\n");
  if (!has_huge_pages) {
    CALL(mi_reserve_huge_os_pages_at, mi_reserve_huge_os_pages_at(pages, -1, 10));
    id = 77;
    CALL(mi_reserve_huge_os_pages_at_ex, mi_reserve_huge_os_pages_at_ex(pages, -1, 10, true, &id));
    if (!printing) CHECK_EQ(id, 0);
    CALL(mi_reserve_huge_os_pages_interleave, mi_reserve_huge_os_pages_interleave(pages, 0, 10));
    CALL(mi_reserve_huge_os_pages, mi_reserve_huge_os_pages(pages, 0.01, &reserved));
    if (!printing) CHECK_EQ(reserved, 0);
  }
  row_end();
}

/* ---- options and statistics ---- */

static void option_does_not_exist(void) {
  static const row_t r = {
      "there is no such option", "0, false, (ignored)", 0, KEPT, {0}, {0}, NULL};
  mi_option_t none = (mi_option_t)opaque_size(1000);
  (void)row_begin(&r);
  CALL(mi_option_is_enabled, mi_option_is_enabled(none));
  CALL(mi_option_get, mi_option_get(none));
  CALL(mi_option_get_clamp, mi_option_get_clamp(none, -5, 5));
  CALL(mi_option_get_size, mi_option_get_size(none));
  CALL(mi_option_enable, (mi_option_enable(none), 0));
  CALL(mi_option_disable, (mi_option_disable(none), 0));
  CALL(mi_option_set_enabled, (mi_option_set_enabled(none, true), 0));
  CALL(mi_option_set_enabled_default, (mi_option_set_enabled_default(none, true), 0));
  CALL(mi_option_set, (mi_option_set(none, 1), 0));
  CALL(mi_option_set_default, (mi_option_set_default(none, 1), 0));
  row_end();
}

static void value_makes_no_sense(void) {
  static const row_t r = {
      "the option cannot have this value", "(ignored, with a warning)", 0, KEPT, {0}, {0}, NULL};
  if (row_begin(&r)) REQUIRE(mi_option_get(mi_option_os_tag) == 100);
  CALL(mi_option_set, (mi_option_set(mi_option_os_tag, 1), 0));
  CALL(mi_option_set_default, (mi_option_set_default(mi_option_os_tag, 1), 0));
  CALL(mi_option_enable, (mi_option_enable(mi_option_os_tag), 0));
  CALL(mi_option_disable, (mi_option_disable(mi_option_os_tag), 0));
  CALL(mi_option_set_enabled, (mi_option_set_enabled(mi_option_os_tag, true), 0));
  CALL(mi_option_set_enabled_default, (mi_option_set_enabled_default(mi_option_os_tag, true), 0));
  if (!printing) CHECK_EQ(mi_option_get(mi_option_os_tag), 100);
  row_end();
}

static void soft_limit_is_above_the_hard_one(void) {
  static const row_t r = {"the soft limit is above the hard one", "false", 0, KEPT, {0}, {0}, NULL};
  (void)row_begin(&r);
  CALL(mi_limit_set, mi_limit_set(2 * MIB, MIB));
  if (!printing) CHECK_EQ(mi_option_get(mi_option_limit_hard), 0);
  row_end();
}

static void statistics_have_another_shape(void) {
  static const row_t r = {
      "the structure is NULL, or its size or version is another one; the buffer is too small",
      "false, NULL",
      0,
      KEPT,
      {0},
      {0},
      NULL};
  static mi_stats_t stats;
  static char text[100];
  if (row_begin(&r)) {
    mi_stats_init(&stats);
    stats.version++;
  }
  CALL(mi_stats_get, mi_stats_get(&stats));
  if (!printing) AGAIN(mi_stats_get, mi_stats_get(NULL));
  CALL(mi_heap_stats_get, mi_heap_stats_get(NULL, &stats));
  if (!printing) AGAIN(mi_heap_stats_get, mi_heap_stats_get(NULL, NULL));
  CALL(mi_stats_as_json, mi_stats_as_json(&stats, 0, NULL));
  if (!printing) AGAIN(mi_stats_as_json, mi_stats_as_json(NULL, 0, NULL));
  if (!printing) AGAIN(mi_stats_as_json, mi_stats_as_json(stats_of_now(), sizeof text, text));
  CALL(mi_stats_get_json, mi_stats_get_json(sizeof text, text));
  CALL(mi_heap_stats_get_json, mi_heap_stats_get_json(NULL, sizeof text, text));
  row_end();
}

/* ---- the program ---- */

static const check_case_t cases[] = {
    CASE(size_above_the_largest),
    CASE(memory_runs_out),
    CASE(product_overflows),
    CASE(product_of_reallocarray_overflows),
    CASE(alignment_is_no_power_of_two),
    CASE(large_alignment_with_an_offset),
    CASE(pointer_to_resize_is_foreign),
    CASE(pointer_to_resize_is_foreign_and_errno_is_set),
    CASE(pointer_to_resize_or_release_is_foreign),
    CASE(pointer_to_release_is_foreign),
    CASE(large_block_is_released_twice),
    CASE(block_cannot_grow_where_it_is),
    CASE(block_cannot_grow_where_it_is_and_errno_is_set),
    CASE(posix_memalign_has_a_wrong_argument),
    CASE(posix_memalign_size_is_too_large),
    CASE(posix_memalign_finds_no_memory),
    CASE(reallocarr_has_no_address),
    CASE(reallocarr_overflows),
    CASE(reallocarr_size_is_too_large),
    CASE(reallocarr_finds_no_memory),
    CASE(variable_has_no_name_or_no_place),
    CASE(variable_finds_no_memory),
    CASE(path_cannot_be_resolved),
    CASE(there_is_no_string),
    CASE(nothrow_size_is_too_large),
    CASE(nothrow_finds_no_memory),
    CASE(nothrow_has_no_alignment),
    CASE(new_ends_the_program),
    CASE(there_is_no_room_for_a_heap),
    CASE(there_is_no_room_for_a_threads_heap),
    CASE(there_is_no_room_for_a_thread),
    CASE(there_is_no_room_for_the_first_heap),
    CASE(tag_or_arena_does_not_exist),
    CASE(heap_or_visitor_is_null),
    CASE(heap_is_of_another_thread),
    CASE(memory_cannot_be_an_arena),
    CASE(memory_cannot_be_reserved),
    CASE(option_does_not_exist),
    CASE(value_makes_no_sense),

    CASE(soft_limit_is_above_the_hard_one),
    CASE(statistics_have_another_shape),
};

static const char* const never_fail[] = {
    "mi_usable_size",
    "mi_malloc_size",
    "mi_malloc_usable_size",
    "mi_good_size",
    "mi_malloc_good_size",
    "mi_cfree",
    "mi_collect",
    "mi_collect_reduce",

    "mi_limit_used",
    "mi_register_limit",

    "mi_version",
    "mi_release",
    "mi_release_text",
    "mi_register_deferred_free",
    "mi_register_output",
    "mi_register_error",
    "mi_process_init",
    "mi_process_done",
    "mi_process_info",
    "mi_thread_done",
    "mi_thread_idle",
    "mi_thread_set_in_threadpool",
    "mi_is_redirected",
    "mi_is_in_heap_region",
    "mi_stats_print_out",
    "mi_stats_print",
    "mi_thread_stats_print_out",
    "mi_stats_reset",
    "mi_stats_merge",
    "mi_stats_get_bin_size",
    "mi_heap_stats_print_out",
    "mi_options_print",
    "mi_options_print_out",
    "mi_process_info_print",
    "mi_process_info_print_out",
    "mi_arenas_print",
    "mi_debug_show_arenas",
    "mi_heap_collect",
    "mi_heap_contains_block",
    "mi_heap_check_owned",
    "mi_check_owned",
    "mi_heap_of",
    "mi_heap_contains",
    "mi_any_heap_contains",
    "mi_unsafe_heap_page_is_under_utilized",
    "mi_heap_set_numa_affinity",
    "mi_arena_min_alignment",
    "mi_arena_min_size",
    "mi_arena_contains",
};

static int print_table(void) {
  printing = true;
  check_note("| situation | functions | returns | `errno` | error function gets |\n");
  check_note("|---|---|---|---|---|\n");
  for (size_t i = 0; i < COUNT_OF(cases); i++) cases[i].run();
  check_note("\nThese functions cannot fail:");
  for (size_t i = 0; i < COUNT_OF(never_fail); i++) {
    check_note("%s`%s`", i == 0 ? "\n" : i % 3 == 0 ? ",\n" : ", ", never_fail[i]);
  }
  check_note(".\n");
  return 0;
}

static int list_functions(void) {
  printing = listing = true;
  for (size_t i = 0; i < COUNT_OF(cases); i++) cases[i].run();
  for (size_t i = 0; i < COUNT_OF(never_fail); i++) check_note("%s\n", never_fail[i]);
  return 0;
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[1], "--functions") == 0) return list_functions();
  if (argc == 2 && strcmp(argv[1], "--markdown") == 0) return print_table();
  return CHECK_MAIN(argc, argv, cases);
}
