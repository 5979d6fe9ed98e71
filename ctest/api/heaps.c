/* heaps.c - first-class heaps in one thread: each function that allocates from one, who owns
 * what, the life cycle, many heaps, what a heap costs and gives back, the questions about
 * addresses, and the heartbeat of the deferred-free callback. Several threads: heap_threads.c.
 */
#include "probe.h"
#include <mimalloc.h>

#ifndef MI_TEST_DEBUG_FULL
#define MI_TEST_DEBUG_FULL 0
#endif

/* ---- helpers ------------------------------------------------------------------------ */

typedef struct seen_s {
  size_t areas;
  size_t used; /* the sum of what the areas say */
  size_t blocks;
  size_t bytes;
} seen_t;

static bool on_visit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  seen_t* seen = (seen_t*)arg;
  (void)heap;
  if (block == NULL) {
    seen->areas++;
    seen->used += area->used;
  } else {
    seen->blocks++;
    seen->bytes += size;
  }
  return true;
}
static size_t live_blocks(const mi_heap_t* heap) {
  seen_t seen = {0, 0, 0, 0};
  mi_heap_visit_blocks(heap, true, &on_visit, &seen);
  CHECK_EQ(seen.used, seen.blocks);
  return seen.blocks;
}

static bool owned_by(mi_heap_t* heap, const void* p) {
  return mi_heap_contains_block(heap, p) && mi_heap_of(p) == heap && mi_heap_contains(heap, p) &&
         mi_heap_check_owned(heap, p) && mi_any_heap_contains(p);
}

static mi_heap_t* heap_make(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  return heap;
}

/* From 8 bytes to a block that has an arena to itself. */
static const size_t all_sizes[] = {
    0,     1,     8,      9,      16,     24,   40,      48,      100,      128,     500,
    1000,  1024,  1025,   2048,   3000,   4096, 5000,    8192,    10000,    16384,   30000,
    65536, 70000, 131072, 200000, 600000, MIB,  MIB + 1, 5 * MIB, 16 * MIB, 40 * MIB};

/* ---- each function that allocates --------------------------------------------------- */

typedef void* maker_fun(mi_heap_t* heap, size_t size);

static void* by_malloc(mi_heap_t* h, size_t n) { return mi_heap_malloc(h, n); }
static void* by_zalloc(mi_heap_t* h, size_t n) { return mi_heap_zalloc(h, n); }
static void* by_calloc(mi_heap_t* h, size_t n) { return mi_heap_calloc(h, n, 1); }
static void* by_calloc_1(mi_heap_t* h, size_t n) { return mi_heap_calloc(h, 1, n); }
static void* by_mallocn(mi_heap_t* h, size_t n) { return mi_heap_mallocn(h, n, 1); }
static void* by_malloc_small(mi_heap_t* h, size_t n) { return mi_heap_malloc_small(h, n); }
static void* by_zalloc_small(mi_heap_t* h, size_t n) { return mi_heap_zalloc_small(h, n); }
static void* by_realloc(mi_heap_t* h, size_t n) { return mi_heap_realloc(h, NULL, n); }
static void* by_reallocn(mi_heap_t* h, size_t n) { return mi_heap_reallocn(h, NULL, n, 1); }
static void* by_reallocf(mi_heap_t* h, size_t n) { return mi_heap_reallocf(h, NULL, n); }
static void* by_rezalloc(mi_heap_t* h, size_t n) { return mi_heap_rezalloc(h, NULL, n); }
static void* by_recalloc(mi_heap_t* h, size_t n) { return mi_heap_recalloc(h, NULL, 1, n); }
static void* by_alloc_new(mi_heap_t* h, size_t n) { return mi_heap_alloc_new(h, n); }
static void* by_alloc_new_n(mi_heap_t* h, size_t n) { return mi_heap_alloc_new_n(h, 1, n); }
static void* by_aligned(mi_heap_t* h, size_t n) { return mi_heap_malloc_aligned(h, n, 64); }
static void* by_zaligned(mi_heap_t* h, size_t n) { return mi_heap_zalloc_aligned(h, n, 64); }
static void* by_caligned(mi_heap_t* h, size_t n) { return mi_heap_calloc_aligned(h, n, 1, 64); }
static void* by_realigned(mi_heap_t* h, size_t n) {
  return mi_heap_realloc_aligned(h, NULL, n, 64);
}
static void* by_rezaligned(mi_heap_t* h, size_t n) {
  return mi_heap_rezalloc_aligned(h, NULL, n, 64);
}
static void* by_recaligned(mi_heap_t* h, size_t n) {
  return mi_heap_recalloc_aligned(h, NULL, n, 1, 64);
}
static void* by_aligned_at(mi_heap_t* h, size_t n) {
  return mi_heap_malloc_aligned_at(h, n, 64, 16);
}
static void* by_zaligned_at(mi_heap_t* h, size_t n) {
  return mi_heap_zalloc_aligned_at(h, n, 64, 16);
}
static void* by_caligned_at(mi_heap_t* h, size_t n) {
  return mi_heap_calloc_aligned_at(h, 1, n, 64, 16);
}
static void* by_realigned_at(mi_heap_t* h, size_t n) {
  return mi_heap_realloc_aligned_at(h, NULL, n, 64, 16);
}
static void* by_rezaligned_at(mi_heap_t* h, size_t n) {
  return mi_heap_rezalloc_aligned_at(h, NULL, n, 64, 16);
}
static void* by_recaligned_at(mi_heap_t* h, size_t n) {
  return mi_heap_recalloc_aligned_at(h, NULL, 1, n, 64, 16);
}

typedef struct maker_s {
  const char* name;
  maker_fun* make;
  size_t largest;
  size_t alignment;
  size_t offset;
  bool zero;
} maker_t;

static const maker_t makers[] = {
    {"malloc", &by_malloc, SIZE_MAX, 16, 0, false},
    {"zalloc", &by_zalloc, SIZE_MAX, 16, 0, true},
    {"calloc", &by_calloc, SIZE_MAX, 16, 0, true},
    {"calloc of one", &by_calloc_1, SIZE_MAX, 16, 0, true},
    {"mallocn", &by_mallocn, SIZE_MAX, 16, 0, false},
    {"malloc_small", &by_malloc_small, MI_SMALL_SIZE_MAX, 16, 0, false},
    {"zalloc_small", &by_zalloc_small, MI_SMALL_SIZE_MAX, 16, 0, true},
    {"realloc", &by_realloc, SIZE_MAX, 16, 0, false},
    {"reallocn", &by_reallocn, SIZE_MAX, 16, 0, false},
    {"reallocf", &by_reallocf, SIZE_MAX, 16, 0, false},
    {"rezalloc", &by_rezalloc, SIZE_MAX, 16, 0, true},
    {"recalloc", &by_recalloc, SIZE_MAX, 16, 0, true},
    {"alloc_new", &by_alloc_new, SIZE_MAX, 16, 0, false},
    {"alloc_new_n", &by_alloc_new_n, SIZE_MAX, 16, 0, false},
    {"malloc_aligned", &by_aligned, SIZE_MAX, 64, 0, false},
    {"zalloc_aligned", &by_zaligned, SIZE_MAX, 64, 0, true},
    {"calloc_aligned", &by_caligned, SIZE_MAX, 64, 0, true},
    {"realloc_aligned", &by_realigned, SIZE_MAX, 64, 0, false},
    {"rezalloc_aligned", &by_rezaligned, SIZE_MAX, 64, 0, true},
    {"recalloc_aligned", &by_recaligned, SIZE_MAX, 64, 0, true},
    {"malloc_aligned_at", &by_aligned_at, SIZE_MAX, 64, 16, false},
    {"zalloc_aligned_at", &by_zaligned_at, SIZE_MAX, 64, 16, true},
    {"calloc_aligned_at", &by_caligned_at, SIZE_MAX, 64, 16, true},
    {"realloc_aligned_at", &by_realigned_at, SIZE_MAX, 64, 16, false},
    {"rezalloc_aligned_at", &by_rezaligned_at, SIZE_MAX, 64, 16, true},
    {"recalloc_aligned_at", &by_recaligned_at, SIZE_MAX, 64, 16, true},
};

/* `heap` is what is passed, `owner` whose the block must be. */
static void make_and_check(const maker_t* m, mi_heap_t* heap, mi_heap_t* owner) {
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    size_t size = all_sizes[i];
    if (size > m->largest) continue;
    /* The second block is made of memory that was written before. */
    for (int again = 0; again < 2; again++) {
      char* p = (char*)m->make(heap, size);
      REQUIRE(p != NULL);
      size_t alignment = m->alignment == 16 && size == 0 ? 8 : m->alignment;
      bool ok = CHECK(is_aligned(p + m->offset, alignment));
      ok = CHECK_GE(mi_usable_size(p), size) && ok;
      ok = CHECK(owned_by(owner, p)) && ok;
      if (m->zero) ok = CHECK(all_bytes_are(p, mi_usable_size(p), 0)) && ok;
      if (!ok) check_note("mi_heap_%s of %zu bytes\n", m->name, size);
      memset(p, 0xEE, mi_usable_size(p) < 2 * MIB ? mi_usable_size(p) : 2 * MIB);
      mi_free(p);
    }
  }
}

static void each_function_gives_a_good_block_of_its_heap(void) {
  mi_heap_t* backing = mi_heap_get_backing();
  mi_heap_t* heap = heap_make();
  for (size_t i = 0; i < COUNT_OF(makers); i++) {
    make_and_check(&makers[i], heap, heap);
    make_and_check(&makers[i], backing, backing);
  }
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_destroy(heap);
}

/* "A NULL heap means the calling thread's default heap". */
static void null_heap_is_the_default_heap(void) {
  mi_heap_t* heap = heap_make();
  for (size_t i = 0; i < COUNT_OF(makers); i++) {
    make_and_check(&makers[i], NULL, mi_heap_get_backing());
  }
  CHECK_SAME(mi_heap_set_default(heap), mi_heap_get_backing());
  for (size_t i = 0; i < COUNT_OF(makers); i++) make_and_check(&makers[i], NULL, heap);
  char* s = mi_heap_strdup(NULL, "text");
  char* t = mi_heap_strndup(NULL, "text", 2);
  char* path = mi_heap_realpath(NULL, "/", NULL);
  CHECK(owned_by(heap, s) && owned_by(heap, t) && owned_by(heap, path));
  s = (char*)mi_heap_realloc(NULL, s, 100000);
  CHECK(owned_by(heap, s));
  mi_heap_collect(NULL, true);
  mi_heap_collect(NULL, false);
  mi_free(s);
  mi_free(t);
  mi_free(path);
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_delete(heap);
}

static void strings_come_from_the_heap(void) {
  mi_heap_t* heap = heap_make();
  char* s = mi_heap_strdup(heap, "a heap of one's own");
  char* t = mi_heap_strndup(heap, "a heap of one's own", 6);
  char* u = mi_heap_strndup(heap, "short", 600);
  char* v = mi_heap_strdup(heap, "");
  char* path = mi_heap_realpath(heap, "/proc/self/../self", NULL);
  char root[4096];
  CHECK_TEXT(s, "a heap of one's own");
  CHECK_TEXT(t, "a heap");
  CHECK_TEXT(u, "short");
  CHECK_TEXT(v, "");
  CHECK(path != NULL && (ON_WINDOWS || path[0] == '/'));
  CHECK(owned_by(heap, s) && owned_by(heap, t) && owned_by(heap, u) && owned_by(heap, v) &&
        owned_by(heap, path));
  CHECK_SAME(mi_heap_realpath(heap, "/", root), root);
  if (!ON_WINDOWS) CHECK_TEXT(root, "/");
  errno = 0;
  CHECK_NULL(mi_heap_realpath(heap, "/no/such/file", NULL));
  CHECK_EQ(errno, ENOENT);
  CHECK_NULL(mi_heap_strdup(heap, NULL));
  CHECK_NULL(mi_heap_strndup(heap, NULL, 5));
  CHECK_EQ(live_blocks(heap), 5);
  mi_heap_destroy(heap);
}

static void on_error_ignore(int code, void* arg) {
  (void)code;
  (void)arg;
}

/* D5.38, D5.44 */
static void impossible_requests_give_null_and_keep_the_block(void) {
  mi_register_error(&on_error_ignore, NULL);
  mi_heap_t* heap = heap_make();
  mi_heap_t* other = heap_make();
  mi_heap_t* const heaps[] = {heap, NULL, mi_heap_get_backing()};
  size_t half = opaque_size((size_t)1 << (sizeof(size_t) * 4 + 1));
  size_t huge = opaque_size(SIZE_MAX - 100);
  char* p = (char*)mi_heap_malloc(other, 5000);
  REQUIRE(p != NULL);
  pattern_fill(p, 5000, 3);
  for (size_t i = 0; i < COUNT_OF(heaps); i++) {
    mi_heap_t* h = heaps[i];
    CHECK_NULL(mi_heap_malloc(h, huge));
    CHECK_NULL(mi_heap_zalloc(h, huge));
    CHECK_NULL(mi_heap_calloc(h, half, half));
    CHECK_NULL(mi_heap_mallocn(h, half, half));
    CHECK_NULL(mi_heap_realloc(h, p, huge));
    CHECK_NULL(mi_heap_reallocn(h, p, half, half));
    CHECK_NULL(mi_heap_rezalloc(h, p, huge));
    CHECK_NULL(mi_heap_recalloc(h, p, half, half));
    CHECK_NULL(mi_heap_malloc_aligned(h, huge, 64));
    CHECK_NULL(mi_heap_malloc_aligned_at(h, huge, 64, 16));
    CHECK_NULL(mi_heap_zalloc_aligned(h, huge, 64));
    CHECK_NULL(mi_heap_zalloc_aligned_at(h, huge, 64, 16));
    CHECK_NULL(mi_heap_calloc_aligned(h, half, half, 64));
    CHECK_NULL(mi_heap_calloc_aligned_at(h, half, half, 64, 16));
    CHECK_NULL(mi_heap_realloc_aligned(h, p, huge, 64));
    CHECK_NULL(mi_heap_realloc_aligned_at(h, p, huge, 64, 16));
    CHECK_NULL(mi_heap_rezalloc_aligned(h, p, huge, 64));
    CHECK_NULL(mi_heap_rezalloc_aligned_at(h, p, huge, 64, 16));
    CHECK_NULL(mi_heap_recalloc_aligned(h, p, half, half, 64));
    CHECK_NULL(mi_heap_recalloc_aligned_at(h, p, half, half, 64, 16));
    static const size_t no_alignments[] = {0, 3, 24, 1000, SIZE_MAX, SIZE_MAX / 2};
    for (size_t a = 0; a < COUNT_OF(no_alignments); a++) {
      size_t alignment = opaque_size(no_alignments[a]);
      CHECK_NULL(opaque(mi_heap_malloc_aligned(h, 100, alignment)));
      CHECK_NULL(opaque(mi_heap_malloc_aligned_at(h, 100, alignment, 8)));
      CHECK_NULL(opaque(mi_heap_zalloc_aligned(h, 100, alignment)));
      CHECK_NULL(opaque(mi_heap_zalloc_aligned_at(h, 100, alignment, 8)));
      CHECK_NULL(opaque(mi_heap_calloc_aligned(h, 10, 10, alignment)));
      CHECK_NULL(opaque(mi_heap_calloc_aligned_at(h, 10, 10, alignment, 8)));
      CHECK_NULL(opaque(mi_heap_realloc_aligned(h, p, 9000, alignment)));
      CHECK_NULL(opaque(mi_heap_realloc_aligned_at(h, p, 9000, alignment, 8)));
      CHECK_NULL(opaque(mi_heap_rezalloc_aligned(h, p, 9000, alignment)));
      CHECK_NULL(opaque(mi_heap_rezalloc_aligned_at(h, p, 9000, alignment, 8)));
      CHECK_NULL(opaque(mi_heap_recalloc_aligned(h, p, 900, 10, alignment)));
      CHECK_NULL(opaque(mi_heap_recalloc_aligned_at(h, p, 900, 10, alignment, 8)));
    }
  }
  CHECK(owned_by(other, p));
  CHECK(pattern_holds(p, 5000, 3));
  CHECK_EQ(live_blocks(heap), 0);
  CHECK_EQ(live_blocks(other), 1);
  /* mi_heap_reallocf releases it. */
  CHECK_NULL(mi_heap_reallocf(heap, p, huge));
  CHECK_EQ(live_blocks(other), 0);
  mi_heap_delete(heap);
  mi_heap_delete(other);
}

/* Alignments up to more than an arena's unit, with and without offset. */
static void every_alignment_holds_in_a_heap(void) {
  static const size_t sizes[] = {0, 1, 24, 100, 4096, 100000, 3 * MIB};
  mi_heap_t* heap = heap_make();
  void* held[200];
  size_t count = 0;
  for (size_t alignment = 1; alignment <= 64 * MIB; alignment *= 2) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      static const size_t offsets[] = {0, 8, 40, 4096};
      for (size_t o = 0; o < COUNT_OF(offsets); o++) {
        size_t size = sizes[i];
        size_t offset = offsets[o];
        if (alignment > 2 * MIB && (i > 3 || o > 1)) continue;
        char* p =
            (char*)opaque(o % 2 == 0 ? mi_heap_zalloc_aligned_at(heap, size, alignment, offset)
                                     : mi_heap_malloc_aligned_at(heap, size, alignment, offset));
        if (p == NULL) {
          /* "bigger alignments use a dedicated block and need offset 0" */
          if (alignment <= 16 * MIB || offset == 0) {
            CHECK_NOT_NULL(p);
            check_note("%zu bytes, alignment %zu, offset %zu\n", size, alignment, offset);
          }
          continue;
        }
        bool ok = CHECK(is_aligned(p + offset, alignment));
        ok = CHECK_GE(mi_usable_size(p), size) && ok;
        ok = CHECK(owned_by(heap, p)) && ok;
        if (size > 0)
          ok = CHECK(owned_by(heap, p + size - 1) || ((uintptr_t)p + size - 1) % 8) && ok;
        if (o % 2 == 0) ok = CHECK(all_bytes_are(p, mi_usable_size(p), 0)) && ok;
        if (!ok) check_note("%zu bytes, alignment %zu, offset %zu\n", size, alignment, offset);
        memset(p, 0xAB, size);
        held[count++] = p;
        if (count == COUNT_OF(held)) {
          CHECK_EQ(live_blocks(heap), count);
          while (count > 0) mi_free(held[--count]);
        }
      }
    }
  }
  CHECK_EQ(live_blocks(heap), count);
  while (count > 0) mi_free(held[--count]);
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_destroy(heap);
}

/* ---- reallocation between heaps (D4.32) --------------------------------------------- */

typedef void* resizer_fun(mi_heap_t* heap, void* p, size_t size);
static void* re_realloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_realloc(h, p, n); }
static void* re_reallocn(mi_heap_t* h, void* p, size_t n) { return mi_heap_reallocn(h, p, 1, n); }
static void* re_reallocf(mi_heap_t* h, void* p, size_t n) { return mi_heap_reallocf(h, p, n); }
static void* re_aligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_realloc_aligned(h, p, n, 32);
}
static void* re_aligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_realloc_aligned_at(h, p, n, 32, 8);
}
static void* re_rezalloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_rezalloc(h, p, n); }
static void* re_recalloc(mi_heap_t* h, void* p, size_t n) { return mi_heap_recalloc(h, p, n, 1); }
static void* re_rezaligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_rezalloc_aligned(h, p, n, 32);
}
static void* re_rezaligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_rezalloc_aligned_at(h, p, n, 32, 8);
}
static void* re_recaligned(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_recalloc_aligned(h, p, n, 1, 32);
}
static void* re_recaligned_at(mi_heap_t* h, void* p, size_t n) {
  return mi_heap_recalloc_aligned_at(h, p, n, 1, 32, 8);
}
static const struct {
  const char* name;
  resizer_fun* resize;
  bool zero;
} resizers[] = {
    {"realloc", &re_realloc, false},
    {"reallocn", &re_reallocn, false},
    {"reallocf", &re_reallocf, false},
    {"realloc_aligned", &re_aligned, false},
    {"realloc_aligned_at", &re_aligned_at, false},
    {"rezalloc", &re_rezalloc, true},
    {"recalloc", &re_recalloc, true},
    {"rezalloc_aligned", &re_rezaligned, true},
    {"rezalloc_aligned_at", &re_rezaligned_at, true},
    {"recalloc_aligned", &re_recaligned, true},
    {"recalloc_aligned_at", &re_recaligned_at, true},
};

/* The block goes from `from` to `to` if it moves and stays where it is if not; then the heap that
 * it is not in is destroyed, and the block must not feel it. */
static void resize_between_heaps(size_t r, size_t old, size_t size, bool destroy) {
  mi_heap_t* from = heap_make();
  mi_heap_t* to = heap_make();
  char* p = (char*)(resizers[r].zero ? mi_heap_zalloc(from, old) : mi_heap_malloc(from, old));
  REQUIRE(p != NULL);
  size_t filled = old < 3 * MIB ? old : 3 * MIB;
  size_t kept = filled < size ? filled : size;
  pattern_fill(p, filled, 5);
  if (resizers[r].zero) memset(p + old, 0x77, mi_usable_size(p) - old); /* "old usable size" */
  size_t old_usable = mi_usable_size(p);
  void* before = opaque(p);
  char* q = (char*)opaque(resizers[r].resize(to, p, size));
  REQUIRE(q != NULL);
  bool ok = CHECK(owned_by(q == before ? from : to, q));
  ok = CHECK(!mi_heap_contains_block(q == before ? to : from, q)) && ok;
  ok = CHECK_GE(mi_usable_size(q), size) && ok;
  ok = CHECK(pattern_holds(q, kept, 5)) && ok;
  if (resizers[r].zero && size > old_usable) {
    ok = CHECK(all_bytes_are(q + old_usable, mi_usable_size(q) - old_usable, 0)) && ok;
  }
  ok = CHECK_EQ(live_blocks(from), q == before) && ok;
  ok = CHECK_EQ(live_blocks(to), q != before) && ok;
  mi_heap_t* not_its = q == before ? to : from;
  mi_heap_t* its = q == before ? from : to;
  if (destroy) {
    mi_heap_destroy(not_its);
  } else {
    mi_heap_delete(not_its);
  }
  ok = CHECK(owned_by(its, q)) && ok;
  ok = CHECK(pattern_holds(q, kept, 5)) && ok;
  mi_free(q);
  ok = CHECK_EQ(live_blocks(its), 0) && ok;
  mi_heap_destroy(its);
  if (!ok) check_note("mi_heap_%s from %zu to %zu bytes\n", resizers[r].name, old, size);
}

static void reallocation_moves_a_block_to_the_heap_that_is_named(void) {
  static const size_t sizes[] = {1, 30, 100, 1000, 5000, 60000, 200000, 3 * MIB, 20 * MIB};
  for (size_t r = 0; r < COUNT_OF(resizers); r++) {
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
      for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        if (sizes[i] + sizes[k] > 20 * MIB + 300000 && r % 4 != 0) continue;
        resize_between_heaps(r, sizes[i], sizes[k], (i + k) % 2 == 0);
      }
    }
  }
}

/* Large blocks move by address rather than by copy; their heap must follow. */
static void large_blocks_that_grow_change_their_heap(void) {
  mi_heap_t* a = heap_make();
  mi_heap_t* b = heap_make();
  mi_heap_t* heaps[2] = {a, b};
  for (int round = 0; round < 3; round++) {
    char* p = (char*)mi_heap_malloc(a, 200000);
    REQUIRE(p != NULL);
    pages_mark(p, 0, 200000);
    size_t size = 200000;
    mi_heap_t* owner = a;
    for (int i = 1; size < 200 * MIB; i++) {
      size_t next = size + size / 2 + (size_t)i * 4096;
      mi_heap_t* to = heaps[i % 2];
      /* Something that may stand in its way. */
      void* blocker = mi_heap_malloc(heaps[(i + round) % 2], 100000);
      char* q = (char*)opaque(mi_heap_realloc(to, p, next));
      REQUIRE(q != NULL);
      if (q != p) owner = to;
      CHECK(owned_by(owner, q));
      CHECK(owned_by(owner, q + next - 8 - next % 8));
      CHECK(pages_hold(q, 0, size, 7));
      pages_mark(q, size / OS_PAGE * OS_PAGE, next);
      p = q;
      size = next;
      mi_free(blocker);
      CHECK_EQ(live_blocks(owner), 1);
    }
    mi_heap_t** gone = owner == a ? &b : &a;
    mi_heap_destroy(*gone);
    CHECK(owned_by(owner, p));
    CHECK(pages_hold(p, 0, size, 3));
    if (round % 2 == 0) {
      mi_free(p);
    } else {
      mi_heap_destroy(owner);
      if (owner == a) {
        a = heap_make();
      } else {
        b = heap_make();
      }
    }
    *gone = heap_make();
    heaps[0] = a;
    heaps[1] = b;
  }
  mi_heap_destroy(a);
  mi_heap_destroy(b);
}

static void plain_realloc_moves_to_the_default_heap(void) {
  mi_heap_t* heap = heap_make();
  void* p = mi_heap_malloc(heap, 100);
  memset(p, 4, 100);
  CHECK_SAME(mi_expand(p, USABLE_IS_EXACT ? 100 : 90), p);
  CHECK(owned_by(heap, p));
  p = mi_realloc(p, 100000);
  REQUIRE(p != NULL);
  CHECK(owned_by(mi_heap_get_backing(), p));
  mi_heap_destroy(heap);
  CHECK(all_bytes_are(p, 100, 4));
  mi_free(p);
}

/* ---- life cycle --------------------------------------------------------------------- */

/* D1.1: each of these is the first call in a process. */
#define FIRST_CALLS 18
static void first_call(int which) {
  static char local;
  mi_heap_t* heap = NULL;
  mi_heap_area_t* none = NULL;
  seen_t seen = {0, 0, 0, 0};
  (void)none;
  switch (which) {
  case 0:
    heap = mi_heap_new();
    CHECK_NOT_NULL(heap);
    break;
  case 1:
    CHECK_NOT_NULL(mi_heap_get_default());
    break;
  case 2:
    CHECK_NOT_NULL(mi_heap_get_backing());
    break;
  case 3:
    CHECK_NOT_NULL(mi_heap_main());
    break;
  case 4:
    mi_heap_delete(NULL);
    break;
  case 5:
    mi_heap_destroy(NULL);
    break;
  case 6:
    CHECK_NULL(mi_heap_set_default(NULL));
    break;
  case 7:
    mi_heap_collect(NULL, true);
    break;
  case 8:
    CHECK_NULL(mi_heap_of(&local));
    break;
  case 9:
    CHECK(!mi_any_heap_contains(&local));
    break;
  case 10:
    CHECK(!mi_heap_contains(NULL, &local));
    break;
  case 11:
    CHECK(!mi_check_owned(&local));
    break;
  case 12:
    mi_heap_visit_blocks(NULL, true, &on_visit, &seen);
    CHECK_EQ(seen.areas, 0);
    break;
  case 13:
    CHECK(mi_abandoned_visit_blocks(NULL, -1, true, &on_visit, &seen));
    CHECK_EQ(seen.areas, 0);
    break;
  case 14:
    CHECK(mi_heap_visit_abandoned_blocks(NULL, true, &on_visit, &seen));
    CHECK_EQ(seen.areas, 0);
    break;
  case 15:
    heap = mi_heap_new_ex(3, false, 0);
    CHECK_NOT_NULL(heap);
    break;
  case 16:
    mi_free(mi_heap_malloc(NULL, 100));
    break;
  case 17:
    CHECK(!mi_unsafe_heap_page_is_under_utilized(NULL, &local, 50));
    break;
  default:
    break;
  }
  if (heap == NULL) heap = heap_make();
  char* p = (char*)mi_heap_malloc(heap, 1000);
  char* q = (char*)mi_malloc(1000);
  CHECK(p != NULL && q != NULL);
  CHECK(owned_by(heap, p));
  CHECK(owned_by(mi_heap_get_backing(), q));
  CHECK_SAME(mi_heap_main(), mi_heap_get_backing());
  CHECK_SAME(mi_heap_get_default(), mi_heap_get_backing());
  memset(p, 1, 1000);
  mi_heap_delete(heap);
  mi_free(p);
  mi_free(q);
}

static void* first_call_of_a_thread(void* arg) {
  int which = (int)(intptr_t)arg;
  if (which == 3 || which == 10) return NULL; /* about the first thread */
  mi_heap_t* heap = NULL;
  switch (which) {
  case 0:
    heap = mi_heap_new();
    CHECK_NOT_NULL(heap);
    break;
  case 1:
    CHECK_NOT_NULL(mi_heap_get_default());
    break;
  case 2:
    CHECK_NOT_NULL(mi_heap_get_backing());
    break;
  case 6:
    CHECK_NULL(mi_heap_set_default(NULL));
    break;
  case 7:
    mi_heap_collect(NULL, true);
    break;
  case 11:
    CHECK(!mi_check_owned(&which));
    break;
  default:
    heap = mi_heap_new_ex(which, true, 0);
    break;
  }
  CHECK(mi_heap_get_backing() != mi_heap_main());
  CHECK_SAME(mi_heap_get_default(), mi_heap_get_backing());
  if (heap != NULL) {
    void* p = mi_heap_zalloc(heap, 200);
    CHECK(owned_by(heap, p));
    mi_heap_destroy(heap);
  }
  return NULL;
}

static void any_function_may_be_the_first_call(void) {
  mi_free(mi_malloc(1)); /* this is the first thread */
  for (int i = 0; i < FIRST_CALLS; i++) {
    char number[16];
    snprintf(number, sizeof number, "%d", i);
    const char* args[] = {"first", number, NULL};
    check_wait_ok(check_start_self(args, -1, -1), number);
    thread_join(thread_start(&first_call_of_a_thread, (void*)(intptr_t)i));
  }
}

static void default_and_backing_heap_are_told_apart(void) {
  mi_heap_t* backing = mi_heap_get_backing();
  CHECK_SAME(mi_heap_get_default(), backing);
  mi_heap_t* a = heap_make();
  mi_heap_t* b = heap_make();
  CHECK(a != b && a != backing && b != backing);
  CHECK_SAME(mi_heap_get_default(), backing); /* a new heap is not the default */
  CHECK_SAME(mi_heap_set_default(a), backing);
  CHECK_SAME(mi_heap_set_default(b), a);
  CHECK_SAME(mi_heap_get_default(), b);
  CHECK_SAME(mi_heap_get_backing(), backing);
  CHECK_NULL(mi_heap_set_default(NULL));
  CHECK_SAME(mi_heap_get_default(), b);
  CHECK_SAME(mi_heap_set_default(b), b);
  CHECK_SAME(mi_heap_set_default(backing), b);
  CHECK_SAME(mi_heap_get_default(), backing);
  mi_heap_delete(a);
  mi_heap_delete(b);
  CHECK_SAME(mi_heap_get_default(), backing);
}

typedef struct blocks_s {
  char* at[64];
  size_t size[64];
  size_t count;
} blocks_t;

static void blocks_fill(blocks_t* b, mi_heap_t* heap) {
  b->count = 0;
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    if (all_sizes[i] == 0 || all_sizes[i] > 5 * MIB) continue;
    for (int k = 0; k < 2; k++) {
      char* p = (char*)(k == 0 ? mi_heap_malloc(heap, all_sizes[i])
                               : mi_heap_malloc_aligned_at(heap, all_sizes[i], 256, 8));
      REQUIRE(p != NULL && b->count < COUNT_OF(b->at));
      pattern_fill(p, all_sizes[i] < 70000 ? all_sizes[i] : 70000, (unsigned)b->count);
      b->at[b->count] = p;
      b->size[b->count++] = all_sizes[i];
    }
  }
}
static void blocks_check(const blocks_t* b, mi_heap_t* owner) {
  for (size_t i = 0; i < b->count; i++) {
    CHECK(pattern_holds(b->at[i], b->size[i] < 70000 ? b->size[i] : 70000, (unsigned)i));
    CHECK(owned_by(owner, b->at[i]));
    CHECK_GE(mi_usable_size(b->at[i]), b->size[i]);
  }
}
static void blocks_free(blocks_t* b) {
  for (size_t i = 0; i < b->count; i++) mi_free(b->at[i * 7 % b->count]);
}

/* The count must have no divisor 7 for the order above. */
static void deleting_moves_live_blocks_to_the_backing_heap(void) {
  for (int as_default = 0; as_default < 2; as_default++) {
    mi_heap_t* backing = mi_heap_get_backing();
    mi_heap_t* heap = heap_make();
    blocks_t blocks;
    size_t before = live_blocks(backing);
    if (as_default != 0) mi_heap_set_default(heap);
    blocks_fill(&blocks, heap);
    REQUIRE(blocks.count % 7 != 0);
    blocks_check(&blocks, heap);
    CHECK_EQ(live_blocks(heap), blocks.count);
    mi_heap_delete(heap);
    CHECK_SAME(mi_heap_get_default(), backing);
    blocks_check(&blocks, backing);
    CHECK_EQ(live_blocks(backing), before + blocks.count);
    /* They can be resized and released, and others stay apart from them. */
    blocks_t more;
    blocks_fill(&more, backing);
    blocks_check(&blocks, backing);
    blocks_check(&more, backing);
    blocks_free(&blocks);
    blocks_check(&more, backing);
    blocks_free(&more);
    CHECK_EQ(live_blocks(backing), before);
  }
}

/* D7.52 */
static void destroying_the_default_heap_makes_the_backing_heap_default(void) {
  mi_heap_t* backing = mi_heap_get_backing();
  char* mine = (char*)mi_malloc(3000);
  REQUIRE(mine != NULL);
  pattern_fill(mine, 3000, 8);
  for (int i = 0; i < 50; i++) {
    mi_heap_t* heap = heap_make();
    mi_heap_set_default(heap);
    blocks_t blocks;
    blocks_fill(&blocks, NULL);
    void* p = mi_malloc(100);
    CHECK(owned_by(heap, p));
    CHECK(pattern_holds(mine, 3000, 8));
    mi_heap_destroy(heap);
    CHECK_SAME(mi_heap_get_default(), backing);
    p = mi_malloc(100);
    CHECK(owned_by(backing, p));
    mi_free(p);
    CHECK(pattern_holds(mine, 3000, 8));
    CHECK(owned_by(backing, mine));
  }
  mi_free(mine);
}

static void null_and_backing_heaps_cannot_be_removed(void) {
  mi_heap_t* backing = mi_heap_get_backing();
  blocks_t blocks;
  blocks_fill(&blocks, backing);
  mi_heap_delete(NULL);
  mi_heap_destroy(NULL);
  mi_heap_delete(backing);
  mi_heap_destroy(backing);
  CHECK_SAME(mi_heap_get_backing(), backing);
  CHECK_SAME(mi_heap_get_default(), backing);
  blocks_check(&blocks, backing);
  mi_heap_t* heap = heap_make();
  mi_heap_set_default(heap);
  mi_heap_delete(backing);
  mi_heap_destroy(backing);
  blocks_check(&blocks, backing);
  CHECK_SAME(mi_heap_get_default(), heap); /* "no effect" */
  blocks_free(&blocks);
  mi_heap_destroy(heap);
}

/* The default heap is that of malloc and of new as well. */
static void default_heap_serves_all_plain_functions(void) {
  mi_heap_t* heap = heap_make();
  mi_heap_set_default(heap);
  void* given[40];
  size_t count = 0;
  given[count++] = mi_malloc(100);
  given[count++] = mi_zalloc(100);
  given[count++] = mi_calloc(3, 100);
  given[count++] = mi_malloc_small(100);
  given[count++] = mi_zalloc_small(100);
  given[count++] = mi_mallocn(3, 100);
  given[count++] = mi_realloc(NULL, 100);
  given[count++] = mi_rezalloc(NULL, 100);
  given[count++] = mi_recalloc(NULL, 2, 100);
  given[count++] = mi_malloc_aligned(100, 64);
  given[count++] = mi_malloc_aligned_at(100, 64, 8);
  given[count++] = mi_memalign(64, 100);
  given[count++] = mi_aligned_alloc(64, 128);
  given[count++] = mi_valloc(100);
  given[count++] = mi_malloc_align8(24);
  given[count++] = mi_zalloc_align8(24);
  given[count++] = mi_strdup("default");
  given[count++] = mi_new(100);
  given[count++] = mi_new_n(10, 10);
  given[count++] = mi_new_nothrow(100);
  given[count++] = mi_new_aligned(100, 64);
  given[count++] = mi_umalloc(100, NULL);
  given[count++] = mi_malloc(500000);
  given[count++] = mi_malloc(5 * MIB);
#ifdef MI_TEST_OVERRIDE
  given[count++] = malloc(100);
  given[count++] = calloc(10, 10);
  given[count++] = strdup("default");
  given[count++] = aligned_alloc(64, 128);
#endif
  for (size_t i = 0; i < count; i++) {
    if (!CHECK(owned_by(heap, given[i]))) check_note("block number %zu\n", i);
  }
  CHECK_EQ(live_blocks(heap), count);
  for (size_t i = 0; i < count; i += 2) mi_free(given[i]);
  mi_heap_set_default(mi_heap_get_backing());
  void* p = mi_malloc(100);
  CHECK(owned_by(mi_heap_get_backing(), p));
  mi_free(p);
  for (size_t i = 1; i < count; i += 2) mi_free(given[i]);
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_delete(heap);
}

static void tags_and_undestroyable_heaps(void) {
  CHECK_NULL(mi_heap_new_ex(-1, true, 0));
  CHECK_NULL(mi_heap_new_ex(256, true, 0));
  CHECK_NULL(mi_heap_new_ex(0x7fffffff, false, 0));
  CHECK_NULL(mi_heap_new_ex(0, true, 1000));
  CHECK_NULL(mi_heap_new_ex(0, true, -1));
  CHECK_NULL(mi_heap_new_in_arena(1000));
  CHECK_NULL(mi_heap_new_in_arena(-1));
  static const int tags[] = {0, 1, 7, 255};
  for (size_t i = 0; i < COUNT_OF(tags); i++) {
    mi_heap_t* backing = mi_heap_get_backing();
    mi_heap_t* heap = mi_heap_new_ex(tags[i], false, 0);
    REQUIRE(heap != NULL);
    blocks_t blocks;
    blocks_fill(&blocks, heap);
    mi_heap_destroy(heap); /* "treated as by mi_heap_delete" */
    for (size_t k = 0; k < blocks.count; k++) {
      CHECK(pattern_holds(blocks.at[k], blocks.size[k] < 70000 ? blocks.size[k] : 70000,
                          (unsigned)k));
      CHECK(mi_any_heap_contains(blocks.at[k]));
    }
    if (tags[i] == 0) blocks_check(&blocks, backing);
    blocks_t more;
    blocks_fill(&more, backing);
    blocks_free(&blocks);
    blocks_check(&more, backing);
    blocks_free(&more);
    heap = mi_heap_new_ex(tags[i], true, 0);
    REQUIRE(heap != NULL);
    blocks_fill(&blocks, heap);
    blocks_check(&blocks, heap);
    mi_heap_destroy(heap);
    for (size_t k = 0; k < blocks.count; k++) CHECK(!mi_any_heap_contains(blocks.at[k]));
  }
}

/* ---- many heaps (D7.51) ------------------------------------------------------------- */

static void many_heaps_live(size_t heap_count, bool large) {
  enum { PER_HEAP = 3 };
  mi_heap_t** heaps = (mi_heap_t**)mmap(NULL, heap_count * sizeof *heaps, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char*(*blocks)[PER_HEAP] =
      (char*(*)[PER_HEAP])mmap(NULL, heap_count * sizeof *blocks, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE((void*)heaps != MAP_FAILED && (void*)blocks != MAP_FAILED);
  size_t before = rss_bytes();
  double start = now_seconds();
  for (size_t i = 0; i < heap_count; i++) {
    heaps[i] = heap_make();
    for (size_t k = 0; k < PER_HEAP; k++) {
      size_t size = k == 0 ? 24 : k == 1 ? 100 : large && i % 16 == 0 ? 200000 : 24;
      char* p = (char*)(k == 2 ? mi_heap_zalloc(heaps[i], size) : mi_heap_malloc(heaps[i], size));
      REQUIRE(p != NULL);
      memcpy(p, &i, sizeof i);
      blocks[i][k] = p;
    }
  }
  check_note("%zu heaps: %zu bytes resident each, %.1f us to make and use\n", heap_count,
             (rss_bytes() - before) / heap_count,
             (now_seconds() - start) * 1e6 / (double)heap_count);
  /* Distinct, and each block is in its heap alone. */
  for (size_t i = 0; i < heap_count; i++) {
    for (size_t k = 0; k < PER_HEAP; k++) {
      size_t number;
      memcpy(&number, blocks[i][k], sizeof number);
      CHECK_EQ(number, i);
      CHECK_SAME(mi_heap_of(blocks[i][k]), heaps[i]);
      CHECK(mi_heap_contains_block(heaps[i], blocks[i][k]));
      CHECK(!mi_heap_contains_block(heaps[(i + 1) % heap_count], blocks[i][k]));
      CHECK(!mi_heap_contains_block(mi_heap_get_backing(), blocks[i][k]));
    }
  }
  /* Each third is destroyed, deleted, and kept for a while; in no order. */
  size_t step = 7919;
  for (size_t n = 0; n < heap_count; n++) {
    size_t i = n * step % heap_count;
    if (n % 3 == 0) {
      mi_heap_destroy(heaps[i]);
      heaps[i] = NULL;
    } else if (n % 3 == 1) {
      mi_heap_set_default(heaps[i]);
      mi_heap_delete(heaps[i]);
      heaps[i] = mi_heap_get_backing();
    }
  }
  for (size_t i = 0; i < heap_count; i++) {
    if (heaps[i] == NULL) continue;
    for (size_t k = 0; k < PER_HEAP; k++) {
      size_t number;
      memcpy(&number, blocks[i][k], sizeof number);
      CHECK_EQ(number, i);
      CHECK_SAME(mi_heap_of(blocks[i][k]), heaps[i]);
      mi_free(blocks[i][k]);
    }
    if (heaps[i] != mi_heap_get_backing()) mi_heap_destroy(heaps[i]);
  }
  mi_collect(true);
  munmap((void*)heaps, heap_count * sizeof *heaps);
  munmap((void*)blocks, heap_count * sizeof *blocks);
}

static void ten_thousand_heaps_live_at_the_same_time(void) {
  many_heaps_live(1050, true);
  many_heaps_live(10000, false);
  size_t before = rss_bytes(); /* with the records, which are used again */
  many_heaps_live(10000, false);
  many_heaps_live(10000, false);
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

/* A heap that is made and removed leaves nothing. */
static void heaps_made_and_removed_cost_nothing_in_the_end(void) {
  size_t before = 0;
  for (size_t round = 0; round < 2; round++) {
    for (int i = 0; i < 20000; i++) {
      mi_heap_t* heap = heap_make();
      if (i % 4 == 1) mi_heap_set_default(heap);
      void* p = i % 4 < 3 ? mi_heap_malloc(heap, 100) : NULL;
      if (i % 8 < 4) {
        mi_heap_destroy(heap);
      } else {
        mi_heap_delete(heap);
        mi_free(p);
      }
    }
    if (round == 0) before = rss_bytes();
  }
  CHECK_LE(rss_bytes(), before + 2 * MIB);
}

/* Heaps are removed in any order, in a time that does not grow with their number. */
static double seconds_to_remove(size_t heap_count) {
  size_t bytes = heap_count * sizeof(mi_heap_t*);
  mi_heap_t** heaps =
      (mi_heap_t**)mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE((void*)heaps != MAP_FAILED);
  for (size_t i = 0; i < heap_count; i++) heaps[i] = heap_make();
  double start = now_seconds();
  for (size_t i = 0; i < heap_count; i++) mi_heap_delete(heaps[i]); /* the oldest first */
  double took = now_seconds() - start;
  munmap((void*)heaps, bytes);
  return took;
}
static void removing_a_heap_costs_the_same_among_many(void) {
  enum { FEW = 1000, MANY = 8000 };
  seconds_to_remove(MANY); /* makes the records */
  double few = 1e9;
  double many = 1e9;
  for (int i = 0; i < 3; i++) {
    double t = seconds_to_remove(FEW) / FEW;
    if (t < few) few = t;
    t = seconds_to_remove(MANY) / MANY;
    if (t < many) many = t;
  }
  check_note("removing a heap: %.2f us among %d, %.2f us among %d\n", few * 1e6, FEW, many * 1e6,
             MANY);
  /* Many do not fit into the caches. A search through the list took 33 us. */
  CHECK_LE_DOUBLE(many, few * 3 + 1e-5);
}

/* ---- mixed work --------------------------------------------------------------------- */

#define MIX_HEAPS 5
#define MIX_BLOCKS 3000

typedef struct mix_block_s {
  char* p;
  size_t size;
  unsigned seed;
  unsigned heap; /* MIX_HEAPS: the backing heap */
} mix_block_t;

static mix_block_t mix_blocks[MIX_BLOCKS];
static mi_heap_t* mix_heaps[MIX_HEAPS + 1];

static size_t mix_bytes(const mix_block_t* b) { return b->size < 9000 ? b->size : 9000; }

static void mix_make(mix_block_t* b, rng_t* rng) {
  b->heap = (unsigned)rng_below(rng, MIX_HEAPS + 1);
  b->seed = (unsigned)rng_next(rng);
  b->size = rng_size(rng, rng_below(rng, 300) == 0 ? 4 * MIB : 6000);
  mi_heap_t* heap = mix_heaps[b->heap];
  bool zero = false;
  switch (rng_below(rng, 6)) {
  case 0:
    b->p = (char*)mi_heap_zalloc(heap, b->size);
    zero = true;
    break;
  case 1:
    b->p = (char*)mi_heap_malloc_aligned_at(heap, b->size, (size_t)8 << rng_below(rng, 10), 8);
    break;
  case 2:
    b->p = (char*)mi_heap_calloc_aligned(heap, b->size, 1, (size_t)8 << rng_below(rng, 10));
    zero = true;
    break;
  default:
    b->p = (char*)mi_heap_malloc(heap, b->size);
    break;
  }
  REQUIRE(b->p != NULL);
  if (zero) REQUIRE(all_bytes_are(b->p, mi_usable_size(b->p), 0));
  pattern_fill(b->p, mix_bytes(b), b->seed);
}

/* What follows a mistake is of no interest: REQUIRE. */
static void mix_check(const mix_block_t* b) {
  REQUIRE(mi_heap_of(b->p) == mix_heaps[b->heap]);
  REQUIRE(pattern_holds(b->p, mix_bytes(b), b->seed));
}
static void mix_free(mix_block_t* b) {
  if (b->p == NULL) return;
  mix_check(b);
  mi_free(b->p);
  b->p = NULL;
}

static void blocks_of_several_heaps_are_used_in_any_order(void) {
  rng_t rng = {2024};
  mix_heaps[MIX_HEAPS] = mi_heap_get_backing();
  size_t others = live_blocks(mi_heap_get_backing());
  for (size_t i = 0; i < MIX_HEAPS; i++) {
    mix_heaps[i] = i % 2 == 0 ? heap_make() : mi_heap_new_ex(0, false, 0);
  }
  for (size_t step = 0; step < check_scaled(200000); step++) {
    mix_block_t* b = &mix_blocks[rng_below(&rng, MIX_BLOCKS)];
    switch (rng_below(&rng, 8)) {
    case 0:
    case 1: { /* resize, perhaps into another heap */
      if (b->p == NULL) break;
      mix_check(b);
      size_t size = rng_size(&rng, rng_below(&rng, 300) == 0 ? 4 * MIB : 6000);
      unsigned to = (unsigned)rng_below(&rng, MIX_HEAPS + 1);
      void* before = opaque(b->p);
      b->p = (char*)opaque(rng_below(&rng, 2) == 0
                               ? mi_heap_realloc(mix_heaps[to], b->p, size)
                               : mi_heap_realloc_aligned(mix_heaps[to], b->p, size, 64));
      REQUIRE(b->p != NULL);
      if (b->p != before) b->heap = to;
      size_t kept = mix_bytes(b) < size ? mix_bytes(b) : size;
      REQUIRE(pattern_holds(b->p, kept, b->seed));
      b->size = size;
      pattern_fill(b->p, mix_bytes(b), b->seed);
      mix_check(b);
      break;
    }
    case 2:
      if (rng_below(&rng, 400) == 0) {
        unsigned gone = (unsigned)rng_below(&rng, MIX_HEAPS);
        bool destroy = rng_below(&rng, 2) == 0 && gone % 2 == 0;
        for (size_t i = 0; i < MIX_BLOCKS; i++) {
          mix_block_t* other = &mix_blocks[i];
          if (other->p == NULL || other->heap != gone) continue;
          mix_check(other);
          other->heap = MIX_HEAPS;
          if (destroy) other->p = NULL;
        }
        if (rng_below(&rng, 3) == 0) mi_heap_set_default(mix_heaps[gone]);
        if (destroy || rng_below(&rng, 2) == 0) {
          if (gone % 2 == 0 && !destroy) {
            mi_heap_delete(mix_heaps[gone]);
          } else {
            mi_heap_destroy(mix_heaps[gone]);
          }
        } else {
          mi_heap_delete(mix_heaps[gone]);
        }
        mix_heaps[gone] = gone % 2 == 0 ? heap_make() : mi_heap_new_ex(0, false, 0);
      } else if (rng_below(&rng, 400) == 0) {
        mi_heap_collect(mix_heaps[rng_below(&rng, MIX_HEAPS + 1)], rng_below(&rng, 2) == 0);
      } else if (rng_below(&rng, 2000) == 0) {
        mi_collect_reduce(rng_below(&rng, 4 * MIB));
      }
      break;
    default:
      mix_free(b);
      if (rng_below(&rng, 5) != 0) mix_make(b, &rng);
      break;
    }
    if (step % 20000 == 0) {
      size_t expected[MIX_HEAPS + 1] = {0};
      for (size_t i = 0; i < MIX_BLOCKS; i++) {
        if (mix_blocks[i].p != NULL) expected[mix_blocks[i].heap]++;
      }
      expected[MIX_HEAPS] += others;
      for (size_t i = 0; i <= MIX_HEAPS; i++) CHECK_EQ(live_blocks(mix_heaps[i]), expected[i]);
    }
  }
  for (size_t i = 0; i < MIX_BLOCKS; i++) mix_free(&mix_blocks[i]);
  for (size_t i = 0; i < MIX_HEAPS; i++) {
    CHECK_EQ(live_blocks(mix_heaps[i]), 0);
    mi_heap_delete(mix_heaps[i]);
  }
  CHECK_EQ(live_blocks(mi_heap_get_backing()), others);
}

/* ---- questions about addresses (D7.62) ---------------------------------------------- */

static void nowhere(const void* p, const char* what) {
  bool ok = CHECK_NULL(mi_heap_of(p));
  ok = CHECK(!mi_any_heap_contains(p)) && ok;
  ok = CHECK(!mi_heap_contains(NULL, p)) && ok;
  ok = CHECK(!mi_heap_contains(mi_heap_get_backing(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(mi_heap_get_backing(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(mi_heap_main(), p)) && ok;
  ok = CHECK(!mi_heap_contains_block(NULL, p)) && ok;
  ok = CHECK(!mi_unsafe_heap_page_is_under_utilized(NULL, opaque(p), 100)) && ok;
  if (!ok) check_note("%s: %p\n", what, p);
}

static char in_data[64] = "data";

static void addresses_that_are_nobodys(void) {
  char on_stack[64] = "stack";
  char* mapped = (char*)mmap(NULL, 64 * KIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(mapped != MAP_FAILED);
  static const uintptr_t numbers[] = {1,
                                      7,
                                      8,
                                      4096,
                                      65536,
                                      65535,
                                      (uintptr_t)(UINT64_C(1) << 32),
                                      (uintptr_t)(UINT64_C(1) << 46),
                                      (uintptr_t)(UINT64_C(1) << 47),
                                      ((uintptr_t)(UINT64_C(1) << 47)) - 8,
                                      ((uintptr_t)(UINT64_C(1) << 48)) - 8,
                                      (uintptr_t)(UINT64_C(1) << 48),
                                      (uintptr_t)(UINT64_C(1) << 55),
                                      (uintptr_t)(UINT64_C(1) << 56),
                                      ((uintptr_t)(UINT64_C(1) << 56)) + 8,
                                      (uintptr_t)(UINT64_C(1) << 57),
                                      (uintptr_t)(UINT64_C(1) << 63),
                                      UINTPTR_MAX,
                                      UINTPTR_MAX - 7,
                                      UINTPTR_MAX - 65535,
                                      (uintptr_t)0xffff800000000000u,
                                      (uintptr_t)0xffffffff80000000u,
                                      (uintptr_t)0xdeadbeefdeadbeefu,
                                      (uintptr_t)0x8000000000000001u};
  for (int started = 0; started < 2; started++) {
    nowhere(NULL, "NULL");
    nowhere(on_stack, "stack");
    nowhere(on_stack + 3, "stack, odd");
    nowhere(in_data, "data");
    nowhere(opaque((void*)(uintptr_t)&nowhere), "code");
    nowhere(mapped, "mapped");
    nowhere(mapped + 64 * KIB - 1, "mapped, last byte");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
      nowhere((void*)numbers[i], "number");
      CHECK(!mi_heap_check_owned(mi_heap_get_backing(), (void*)numbers[i]));
      CHECK(!mi_check_owned((void*)numbers[i]));
    }
    CHECK(!mi_check_owned(NULL));
    CHECK(!mi_check_owned(on_stack));
    CHECK(!mi_heap_check_owned(NULL, mapped));
    /* Addresses around those in use, from whatever part of the address space. */
    rng_t rng = {(uint64_t)started + 5};
    for (int i = 0; i < 100000; i++) {
      const void* p = (const void*)(uintptr_t)(rng_next(&rng) >> rng_below(&rng, 40));
      mi_heap_t* of = mi_heap_of(p);
      CHECK(mi_any_heap_contains(p) == (of != NULL));
      CHECK(mi_heap_contains_block(of, p) == (of != NULL));
    }
    mi_heap_t* heap = heap_make();
    blocks_t blocks;
    blocks_fill(&blocks, heap);
    /* A heap is not in a heap: its record is nobody's block. */
    CHECK_NULL(mi_heap_of(heap));
    CHECK_NULL(mi_heap_of(mi_heap_get_backing()));
    mi_heap_delete(heap);
    blocks_free(&blocks);
  }
  munmap(mapped, 64 * KIB);
}

/* Start, inside, last usable byte and one past, for each kind of block. */
static void any_address_of_a_block_tells_its_heap(void) {
  mi_heap_t* a = heap_make();
  mi_heap_t* b = heap_make();
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (int kind = 0; kind < 3; kind++) {
      size_t size = all_sizes[i];
      char* p = (char*)(kind == 0   ? mi_heap_malloc(a, size)
                        : kind == 1 ? mi_heap_malloc_aligned_at(a, size, 1024, 24)
                                    : mi_heap_malloc_aligned(a, size, 256 * KIB));
      REQUIRE(p != NULL);
      size_t usable = mi_usable_size(p);
      size_t places[] = {0,
                         1,
                         7,
                         8,
                         usable / 2,
                         usable / 2 + 8,
                         usable - 8,
                         usable - 1,
                         size / 3,
                         size / 2,
                         4096,
                         65536,
                         MIB,
                         4 * MIB,
                         32 * MIB,
                         usable - 4096,
                         usable - 65536};
      for (size_t k = 0; k < COUNT_OF(places); k++) {
        if (places[k] >= usable) continue;
        const char* at = p + places[k];
        bool ok = CHECK(mi_heap_contains_block(a, at));
        ok = CHECK(!mi_heap_contains_block(b, at)) && ok;
        ok = CHECK(!mi_heap_contains_block(NULL, at)) && ok;
        ok = CHECK(!mi_heap_contains_block(mi_heap_get_backing(), at)) && ok;
        ok = CHECK_SAME(mi_heap_of(at), a) && ok;
        ok = CHECK(mi_heap_contains(a, at)) && ok;
        ok = CHECK(!mi_heap_contains(b, at)) && ok;
        ok = CHECK(!mi_heap_contains(NULL, at)) && ok; /* the main heap */
        ok = CHECK(mi_any_heap_contains(at)) && ok;
        ok = CHECK_EQ(mi_heap_check_owned(a, at), (uintptr_t)at % sizeof(void*) == 0) && ok;
        ok = CHECK(!mi_heap_check_owned(b, at)) && ok;
        ok = CHECK(!mi_check_owned(at)) && ok;
        if (!ok) check_note("kind %d, %zu bytes, byte %zu of %zu\n", kind, size, places[k], usable);
      }
      CHECK(!mi_heap_contains_block(b, p + usable));
      mi_heap_set_default(a);
      CHECK(mi_check_owned(p) == ((uintptr_t)p % sizeof(void*) == 0));
      mi_heap_set_default(mi_heap_get_backing());
      mi_free(p);
    }
  }
  mi_heap_destroy(a);
  mi_heap_destroy(b);
}

static struct {
  mi_heap_area_t areas[64];
  size_t count;
} listed;
static bool on_list_area(const mi_heap_t* heap, const mi_heap_area_t* area, void* block,
                         size_t size, void* arg) {
  (void)heap;
  (void)block;
  (void)size;
  (void)arg;
  if (listed.count < COUNT_OF(listed.areas)) listed.areas[listed.count++] = *area;
  return true;
}

/* Memory that was a heap's, and the rest of a page behind its last block, are nobody's. */
static void where_no_block_can_be_there_is_nothing(void) {
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (int aligned = 0; aligned < 2; aligned++) {
      mi_heap_t* heap = heap_make();
      size_t size = all_sizes[i];
      char* p = (char*)(aligned ? mi_heap_malloc_aligned_at(heap, size, 512, 8)
                                : mi_heap_malloc(heap, size));
      REQUIRE(p != NULL);
      size_t usable = mi_usable_size(p);
      bool ok = true;
      if (size > 64 * KIB && !USABLE_IS_EXACT) { /* such a block stands alone, up to its end */
        ok = CHECK(!mi_heap_contains_block(heap, p + usable)) && ok;
        ok = CHECK(!mi_heap_check_owned(heap, p + round_up(usable, 8))) && ok;
        ok = CHECK(!mi_heap_contains(heap, p + usable)) && ok;
        mi_free(p);
        ok = CHECK(!mi_heap_contains_block(heap, p)) && ok;
        ok = CHECK(!mi_heap_check_owned(heap, p)) && ok;
        ok = CHECK_NULL(mi_heap_of(p)) && ok;
        ok = CHECK(!mi_any_heap_contains(p)) && ok;
      }
      mi_heap_destroy(heap);
      ok = CHECK_NULL(mi_heap_of(p)) && ok;
      ok = CHECK_NULL(mi_heap_of(p + usable / 2)) && ok;
      ok = CHECK(!mi_any_heap_contains(p)) && ok;
      if (!ok) check_note("%zu bytes, aligned %d, usable %zu\n", size, aligned, usable);
    }
  }
  /* Each byte of some pages: in a block of the size that is there, or in none. */
  mi_heap_t* heap = heap_make();
  static const size_t sizes[] = {48, 1000, 5120, 40000};
  for (size_t k = 0; k < COUNT_OF(sizes); k++) {
    for (int i = 0; i < 40; i++) CHECK_NOT_NULL(mi_heap_malloc(heap, sizes[k]));
  }
  mi_heap_visit_blocks(heap, false, &on_list_area, NULL);
  CHECK_GE(listed.count, COUNT_OF(sizes));
  for (size_t i = 0; i < listed.count; i++) {
    const mi_heap_area_t* area = &listed.areas[i];
    size_t in_blocks = area->reserved / area->full_block_size * area->full_block_size;
    const char* start = (const char*)area->blocks;
    for (size_t at = 0; at < area->reserved; at++) {
      bool expected = at < in_blocks;
      if (mi_heap_contains_block(heap, start + at) != expected ||
          mi_heap_check_owned(heap, start + at) != (expected && at % sizeof(void*) == 0)) {
        check_fail("byte %zu of an area of %zu, blocks of %zu\n", at, area->reserved,
                   area->full_block_size);
        break;
      }
    }
  }
  mi_heap_destroy(heap);
}

/* ---- costs -------------------------------------------------------------------------- */

/* A block of 600 MiB comes from the system itself. */
static void huge_blocks_belong_to_a_heap(void) {
  size_t size = 600 * MIB;
  for (int destroy = 0; destroy < 3; destroy++) {
    mi_heap_t* heap = heap_make();
    char* p = (char*)mi_heap_calloc(heap, 1, size);
    REQUIRE(p != NULL);
    p[0] = 1;
    p[size - 1] = 1;
    CHECK(owned_by(heap, p));
    CHECK(mi_heap_contains_block(heap, p + size - 1));
    CHECK(mi_heap_contains_block(heap, p + 300 * MIB));
    CHECK_NULL(mi_heap_of(p + mi_good_size(size) + SEAL_BYTES));
    CHECK_EQ(live_blocks(heap), 1);
    if (destroy == 0) {
      mi_free(p);
      CHECK_EQ(live_blocks(heap), 0);
      mi_heap_destroy(heap);
    } else if (destroy == 1) {
      mi_heap_destroy(heap);
    } else {
      mi_heap_delete(heap);
      CHECK(owned_by(mi_heap_get_backing(), p));
      CHECK(p[0] == 1 && p[size - 1] == 1);
      mi_free(p);
    }
    CHECK_NULL(mi_heap_of(p));
    CHECK(!mi_is_in_heap_region(p));
    CHECK_EQ(munmap(p, 0) == 0, 0);
  }
}

static void* fill_heap(mi_heap_t* heap, size_t size, size_t total) {
  void** last = NULL;
  for (size_t bytes = 0; bytes < total; bytes += size) {
    void** p = (void**)mi_heap_malloc(heap, size);
    REQUIRE(p != NULL);
    *p = (void*)last;
    last = p;
  }
  return (void*)last;
}

/* "in time proportional to its pages" */
static void destroying_costs_pages_not_blocks(void) {
  const size_t total = 64 * MIB;
  double least[2] = {1e9, 1e9};
  for (int round = 0; round < 7; round++) {
    for (int kind = 0; kind < 2; kind++) {
      mi_heap_t* heap = heap_make();
      fill_heap(heap, kind == 0 ? 8 : 1024, total);
      double start = now_seconds();
      mi_heap_destroy(heap);
      double took = now_seconds() - start;
      if (took < least[kind]) least[kind] = took;
    }
  }
  check_note("destroying 64 MiB: %.0f us in blocks of 8 bytes, %.0f us in blocks of 1 KiB\n",
             least[0] * 1e6, least[1] * 1e6);
  /* 128 times as many blocks, in about as many pages. */
  if (!MI_TEST_DEBUG_FULL) CHECK_LE_DOUBLE(least[0], least[1] * 8 + 0.0005);
}

static void destroyed_and_deleted_heaps_give_memory_back(void) {
  size_t rounds = 1000;
  size_t peak = 0;
  size_t settled = 0;
  for (size_t i = 0; i < rounds; i++) {
    mi_heap_t* heap = heap_make();
    void** small = (void**)fill_heap(heap, 48 + i % 5 * 100, MIB);
    void** large = (void**)fill_heap(heap, 150000, MIB);
    if (i % 2 == 0) {
      mi_heap_destroy(heap);
    } else {
      mi_heap_delete(heap);
      while (small != NULL) {
        void** next = (void**)*small;
        mi_free((void*)small);
        small = next;
      }
      while (large != NULL) {
        void** next = (void**)*large;
        mi_free((void*)large);
        large = next;
      }
    }
    size_t now = rss_bytes();
    if (i < rounds / 5) {
      if (now > settled) settled = now;
    } else if (now > peak) {
      peak = now;
    }
  }
  check_note("resident: %zu KiB at most in the first fifth, %zu KiB later\n", settled / KIB,
             peak / KIB);
  CHECK_LE(peak, settled + 2 * MIB);
  mi_collect(true);
  CHECK_LE(rss_bytes(), settled);
}

/* Without a collect: other heaps can use what a destroyed one had. */
static void memory_of_a_destroyed_heap_is_for_all(void) {
  mi_heap_t* a = heap_make();
  fill_heap(a, 500, 40 * MIB);
  memset(mi_heap_malloc(a, 20 * MIB), 1, 20 * MIB);
  mi_heap_destroy(a);
  rss_peak_reset();
  mi_heap_t* b = heap_make();
  fill_heap(b, 40, 40 * MIB);
  memset(mi_heap_malloc(b, 20 * MIB), 1, 20 * MIB);
  mi_heap_destroy(b);
  check_note("peak: %zu MiB\n", rss_peak_bytes() / MIB);
  CHECK_LE(rss_peak_bytes(), 85 * MIB);
}

static void collecting_a_heap_gives_its_free_pages_back(void) {
  mi_heap_t* heap = heap_make();
  size_t before = rss_bytes();
  void** p = (void**)fill_heap(heap, 100, 30 * MIB);
  CHECK(RSS_IS_MEANINGFUL == 0 || rss_bytes() >= before + 30 * MIB);
  while (p != NULL) {
    void** next = (void**)*p;
    mi_free((void*)p);
    p = next;
  }
  mi_heap_collect(heap, true);
  CHECK_LE(rss_bytes(), before + 3 * MIB);
  CHECK_EQ(live_blocks(heap), 0);
  p = (void**)mi_heap_malloc(heap, 100);
  CHECK(owned_by(heap, p));
  mi_heap_destroy(heap);
}

/* mi_collect_reduce(0): the thread keeps next to nothing, and all goes on. */
static void collect_reduce_keeps_blocks_and_heaps(void) {
  static char* held[20000];
  mi_heap_t* heap = heap_make();
  for (size_t target = 0; target <= 8 * MIB; target = target * 4 + 64 * KIB) {
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      held[i] = (char*)mi_heap_malloc(i % 2 == 0 ? heap : NULL, 100 + i % 1000);
      REQUIRE(held[i] != NULL);
      pattern_fill(held[i], 100, (unsigned)i);
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) {
      if (i % 16 != 0) {
        mi_free(held[i]);
        held[i] = NULL;
      }
    }
    mi_collect_reduce(target);
    CHECK_SAME(mi_heap_get_default(), mi_heap_get_backing());
    for (size_t i = 0; i < COUNT_OF(held); i += 16) {
      CHECK(pattern_holds(held[i], 100, (unsigned)i));
      CHECK_SAME(mi_heap_of(held[i]), i % 2 == 0 ? heap : mi_heap_get_backing());
      mi_free(held[i]);
    }
  }
  CHECK_EQ(live_blocks(heap), 0);
  mi_heap_destroy(heap);
}

/* ---- the heartbeat ------------------------------------------------------------------ */

#define BEAT_FIRST 262144 /* "262,144 until a thread first notices it" */
#define BEAT_LATER 8192

typedef struct beats_s {
  unsigned long long last;
  size_t calls;
  size_t backwards;
  size_t since;    /* allocations since the last call */
  size_t longest;  /* of them between two calls */
  size_t to_first; /* before the first call */
} beats_t;
static beats_t beats;

static void on_beat(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  CHECK_SAME(arg, &beats);
  if (beats.calls > 0 && heartbeat <= beats.last) beats.backwards++;
  if (beats.calls == 0) {
    beats.to_first = beats.since;
  } else if (beats.since > beats.longest) {
    beats.longest = beats.since;
  }
  beats.last = heartbeat;
  beats.calls++;
  beats.since = 0;
}

/* The bound is for each heap and block size in use. */
static void beats_check(const char* what, size_t heaps) {
  bool ok = CHECK_GE(beats.calls, 3);
  ok = CHECK_EQ(beats.backwards, 0) && ok;
  ok = CHECK_LE(beats.to_first, BEAT_FIRST + 64) && ok;
  ok = CHECK_LE(beats.longest, BEAT_LATER * heaps + 64) && ok;
  ok = CHECK_LE(beats.since, BEAT_LATER * heaps + 64) && ok;
  check_note("%s: %zu calls, first after %zu, then at most %zu apart\n", what, beats.calls,
             beats.to_first, beats.longest);
  if (!ok) check_note("^ wrong\n");
}

typedef void beat_work_fun(size_t step);
static mi_heap_t* beat_heaps[512];
static void* beat_blocks[512];

static void work_one_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 64)));
}
static void work_one_large_block(size_t step) {
  if (step % 8 != 0) return; /* they take longer */
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 300000)));
}
static void work_aligned_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_malloc_aligned_at(beat_heaps[0], 100, 64, 8)));
}
static void work_zeroed_block(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_heap_calloc(beat_heaps[0], 1, 2000)));
}
static void work_many_sizes(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[0], 16 + step % 100 * 16)));
}
static void work_ten_blocks(size_t step) {
  beats.since++;
  mi_free(beat_blocks[step % 10]);
  beat_blocks[step % 10] = mi_heap_malloc(beat_heaps[0], 40);
}
static void work_two_heaps(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step % 2], 64)));
}
static void work_heap_and_backing(size_t step) {
  beats.since++;
  mi_free(opaque(step % 2 == 0 ? mi_heap_malloc(beat_heaps[0], 64) : mi_malloc(64)));
}
static void work_default_heap(size_t step) {
  (void)step;
  beats.since++;
  mi_free(opaque(mi_malloc(64)));
}
static void work_heap_after_heap(size_t step) { /* each for a good while */
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step / 4000 % 512], 64)));
}
static void work_many_heaps(size_t step) {
  beats.since++;
  mi_free(opaque(mi_heap_malloc(beat_heaps[step % 512], 64)));
}
static void work_short_lived_heaps(size_t step) {
  static mi_heap_t* heap;
  if (step % 1000 == 0 || heap == NULL) {
    mi_heap_destroy(heap);
    heap = heap_make();
  }
  beats.since++;
  CHECK_NOT_NULL(mi_heap_malloc(heap, 64));
}
static void work_realloc(size_t step) {
  beats.since++;
  beat_blocks[0] = mi_heap_realloc(beat_heaps[0], beat_blocks[0], step % 2 == 0 ? 40 : 400);
}

static const struct {
  const char* name;
  beat_work_fun* work;
  size_t steps;
} beat_works[] = {
    {"one block again and again", &work_one_block, 400000},
    {"one large block", &work_one_large_block, 1200000},
    {"one aligned block", &work_aligned_block, 400000},
    {"one zeroed block", &work_zeroed_block, 400000},
    {"many sizes in turn", &work_many_sizes, 400000},
    {"ten blocks", &work_ten_blocks, 400000},
    {"two heaps in turn", &work_two_heaps, 400000},
    {"a heap and the backing heap", &work_heap_and_backing, 400000},
    {"the default heap", &work_default_heap, 400000},
    {"one heap after the other", &work_heap_after_heap, 400000},
    {"512 heaps in turn", &work_many_heaps, 2000000},
    {"short-lived heaps", &work_short_lived_heaps, 400000},
    {"resizing", &work_realloc, 400000},
};

static void beat_run(size_t which) {
  for (size_t i = 0; i < COUNT_OF(beat_heaps); i++) beat_heaps[i] = heap_make();
  if (beat_works[which].work == &work_default_heap) mi_heap_set_default(beat_heaps[0]);
  mi_register_deferred_free(&on_beat, &beats);
  for (size_t step = 0; step < beat_works[which].steps; step++) beat_works[which].work(step);
  /* In 512 heaps, a first list is 4 KiB: 64 blocks. */
  beats_check(beat_works[which].name, beat_works[which].work == &work_many_heaps ? 4 : 1);
  /* Strictly growing in whatever way it is called. */
  for (int i = 0; i < 50; i++) {
    mi_heap_collect(beat_heaps[i % 3], i % 2 == 0);
    mi_collect(false);
    mi_heap_destroy(beat_heaps[i + 100]);
  }
  CHECK_EQ(beats.backwards, 0);
  mi_register_deferred_free(NULL, NULL);
}

static void deferred_free_is_called_whatever_a_program_reuses(void) {
  for (size_t i = 0; i < COUNT_OF(beat_works); i++) {
    char number[16];
    snprintf(number, sizeof number, "%zu", i);
    const char* args[] = {"beat", number, NULL};
    check_wait_ok(check_start_self(args, -1, -1), beat_works[i].name);
  }
}

/* The callback frees what it has put aside, from any heap, makes heaps and removes them. */
typedef struct aside_s {
  struct aside_s* next;
} aside_t;
static aside_t* aside;
static size_t aside_count;
static mi_heap_t* aside_heap;

static void on_aside(bool force, unsigned long long heartbeat, void* arg) {
  (void)force;
  (void)heartbeat;
  (void)arg;
  while (aside != NULL) {
    aside_t* next = aside->next;
    mi_free(aside);
    aside_count--;
    aside = next;
  }
  mi_heap_t* heap = heap_make();
  CHECK_NOT_NULL(mi_heap_malloc(heap, 1000));
  void* p = mi_heap_malloc(aside_heap, 200);
  CHECK_NOT_NULL(p);
  mi_heap_destroy(heap);
  mi_heap_collect(aside_heap, false);
  mi_free(p);
}

static void callback_may_use_all_heaps(void) {
  aside_heap = heap_make();
  mi_heap_t* other = heap_make();
  mi_register_deferred_free(&on_aside, NULL);
  for (size_t i = 0; i < 500000; i++) {
    aside_t* a = (aside_t*)mi_heap_malloc(i % 3 == 0   ? aside_heap
                                          : i % 3 == 1 ? other
                                                       : NULL,
                                          16 + i % 50 * 16);
    REQUIRE(a != NULL);
    a->next = aside;
    aside = a;
    aside_count++;
    REQUIRE(aside_count < 200000);
  }
  mi_heap_collect(aside_heap, true);
  CHECK_EQ(aside_count, 0);
  mi_register_deferred_free(NULL, NULL);
  CHECK_EQ(live_blocks(aside_heap), 0);
  CHECK_EQ(live_blocks(other), 0);
  mi_heap_destroy(aside_heap);
  mi_heap_delete(other);
}

/* ---- moving objects together -------------------------------------------------------- */

/* Blocks that come and go in a heap full of others that stay: what is freed is used again, although
 * the page it lies in was full. */
static void room_between_blocks_that_stay_is_found(void) {
  enum { STAY = 500000, LEAST = 20000, MOST = 60000, SIZE = 64 };
  static void* p[MOST];
  mi_heap_t* heap = heap_make();
  rng_t rng = {4};
  size_t n = 0;
  for (size_t i = 0; i < STAY; i++) memset(mi_heap_malloc(heap, SIZE), 1, SIZE);
  size_t before = rss_bytes();
  for (int round = 0; round < 20; round++) {
    while (n < MOST) memset(p[n++] = mi_heap_malloc(heap, SIZE), 1, SIZE);
    while (n > LEAST) {
      size_t i = rng_below(&rng, n);
      mi_free(p[i]);
      p[i] = p[--n];
    }
  }
  size_t grown = rss_bytes() - before;
  check_note("%zu KiB for at most %zu KiB\n", grown / KIB, (size_t)MOST * SIZE / KIB);
  if (RSS_IS_MEANINGFUL) CHECK_LE(grown, (size_t)MOST * SIZE * 2);
  mi_heap_destroy(heap);
}

static void under_utilized_pages_are_told(void) {
  static char* held[100000];
  const size_t size = 128;
  mi_heap_t* heap = heap_make();
  mi_heap_t* other = heap_make();
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    held[i] = (char*)mi_heap_malloc(heap, size);
    REQUIRE(held[i] != NULL);
  }
  size_t told = 0;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    told += mi_unsafe_heap_page_is_under_utilized(heap, held[i], 99);
  }
  CHECK_EQ(told, 0); /* all full, but for the last, which is allocated from */
  /* Of the first half one block in ten stays, of the second nine in ten. */
  size_t half = COUNT_OF(held) / 2;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    bool keep = i < half ? i % 10 == 0 : i % 10 != 0;
    if (keep) continue;
    mi_free(held[i]);
    held[i] = NULL;
  }
  mi_heap_collect(heap, false);
  size_t low = 0;
  size_t high = 0;
  size_t low_all = 0;
  size_t high_all = 0;
  for (size_t i = 0; i < COUNT_OF(held); i++) {
    if (held[i] == NULL) continue;
    bool is_told = mi_unsafe_heap_page_is_under_utilized(heap, held[i], 50);
    CHECK(is_told == mi_unsafe_heap_page_is_under_utilized(NULL, held[i], 50));
    CHECK(!mi_unsafe_heap_page_is_under_utilized(other, held[i], 100));
    CHECK(!mi_unsafe_heap_page_is_under_utilized(heap, held[i], 1));
    if (is_told) CHECK(mi_unsafe_heap_page_is_under_utilized(heap, held[i], 100));
    if (i < half) {
      low += is_told;
      low_all++;
    } else {
      high += is_told;
      high_all++;
    }
  }
  check_note("told: %zu of %zu blocks in nearly empty pages, %zu of %zu in nearly full ones\n", low,
             low_all, high, high_all);
  CHECK_GE(low, low_all * 8 / 10);
  CHECK_LE(high, high_all / 100);
  CHECK(!mi_unsafe_heap_page_is_under_utilized(heap, NULL, 100));
  CHECK(!mi_unsafe_heap_page_is_under_utilized(NULL, NULL, 100));
  mi_heap_destroy(heap);
  mi_heap_destroy(other);
}

static const check_case_t cases[] = {
    CASE(each_function_gives_a_good_block_of_its_heap),
    CASE(null_heap_is_the_default_heap),
    CASE(strings_come_from_the_heap),
    CASE(impossible_requests_give_null_and_keep_the_block),
    CASE(every_alignment_holds_in_a_heap),
    CASE(reallocation_moves_a_block_to_the_heap_that_is_named),
    CASE(large_blocks_that_grow_change_their_heap),
    CASE(plain_realloc_moves_to_the_default_heap),
    CASE(any_function_may_be_the_first_call),
    CASE(default_and_backing_heap_are_told_apart),
    CASE(deleting_moves_live_blocks_to_the_backing_heap),
    CASE(destroying_the_default_heap_makes_the_backing_heap_default),
    CASE(null_and_backing_heaps_cannot_be_removed),
    CASE(default_heap_serves_all_plain_functions),
    CASE(tags_and_undestroyable_heaps),
    CASE(ten_thousand_heaps_live_at_the_same_time),
    CASE(heaps_made_and_removed_cost_nothing_in_the_end),
    CASE(removing_a_heap_costs_the_same_among_many),
    CASE(blocks_of_several_heaps_are_used_in_any_order),
    CASE(addresses_that_are_nobodys),
    CASE(any_address_of_a_block_tells_its_heap),
    CASE(where_no_block_can_be_there_is_nothing),
    CASE(huge_blocks_belong_to_a_heap),
    CASE(destroying_costs_pages_not_blocks),
    CASE(destroyed_and_deleted_heaps_give_memory_back),
    CASE(memory_of_a_destroyed_heap_is_for_all),
    CASE(collecting_a_heap_gives_its_free_pages_back),
    CASE(collect_reduce_keeps_blocks_and_heaps),
    CASE(deferred_free_is_called_whatever_a_program_reuses),
    CASE(callback_may_use_all_heaps),
    CASE(under_utilized_pages_are_told),
    CASE(room_between_blocks_that_stay_is_found),
};

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "first") == 0) {
    first_call(atoi(argv[2]));
    return check_end();
  }
  if (argc == 3 && strcmp(argv[1], "beat") == 0) {
    beat_run((size_t)atoi(argv[2]));
    return check_end();
  }
  return CHECK_MAIN(argc, argv, cases);
}
