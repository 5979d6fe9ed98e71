/* heap_allocation.c - each function that allocates from a first-class heap: a valid block of that
 * heap, NULL for an impossible request, and the old block kept. Reallocation: heap_reallocation.c.
 */
#include "heap_blocks.h"

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

/* `heap` is the argument, `owner` the heap that the block must belong to. */
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

/* An alignment that every block has changes nothing: with 32 bits, 8 once took another path. */
static void resized_blocks_are_of_the_heap_at_every_alignment(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    void* p = NULL;
    for (size_t size = 100; size <= 1000000; size *= 10) { /* each in another class */
      p = mi_heap_realloc_aligned(heap, p, size, opaque_size(alignment));
      REQUIRE(p != NULL);
      if (!CHECK(is_aligned(p, alignment) && mi_heap_contains_block(heap, p)))
        check_note("%zu bytes at a multiple of %zu\n", size, alignment);
    }
  }
  mi_heap_destroy(heap);
}

static const check_case_t cases[] = {
    CASE(resized_blocks_are_of_the_heap_at_every_alignment),
    CASE(each_function_gives_a_good_block_of_its_heap),
    CASE(null_heap_is_the_default_heap),
    CASE(strings_come_from_the_heap),
    CASE(impossible_requests_give_null_and_keep_the_block),
    CASE(every_alignment_holds_in_a_heap),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
