/* usable_variants.c - the variants that also return the usable size, and mi_free_small. */
#include "probe.h"
#include <mimalloc.h>

#define UNTOUCHED ((size_t)0x5a5a5a5a5a5a)

static const size_t all_sizes[] = {0,     1,     8,     15,     16,   17,      24,
                                   100,   1000,  1024,  1025,   5000, 8192,    30000,
                                   65536, 65537, 70000, 600000, MIB,  5 * MIB, 40 * MIB};

static void told_is_right(const void* p, size_t told, size_t size, bool zero, const char* what) {
  REQUIRE(p != NULL);
  bool ok = CHECK_EQ(told, mi_usable_size(p));
  ok = CHECK_GE(told, size) && ok;
  if (zero) ok = CHECK(all_bytes_are(p, told, 0)) && ok;
  if (!ok) check_fail("%s of %zu bytes\n", what, size);
  memset(opaque(p), 0xC7, told < 2 * MIB ? told : 2 * MIB); /* all of it may be used */
}

static void returned_size_is_the_usable_size(void) {
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (int again = 0; again < 2; again++) { /* then from memory that was used */
      size_t size = all_sizes[i];
      void* held[10];
      size_t count = 0;
      size_t told = UNTOUCHED;
      held[count++] = mi_umalloc(size, &told);
      told_is_right(held[count - 1], told, size, false, "mi_umalloc");
      held[count++] = mi_ucalloc(1, size, &told);
      told_is_right(held[count - 1], told, size, true, "mi_ucalloc");
      held[count++] = mi_ucalloc(size, 1, &told);
      told_is_right(held[count - 1], told, size, true, "mi_ucalloc");
      if (size <= MI_SMALL_SIZE_MAX) {
        held[count++] = mi_umalloc_small(size, &told);
        told_is_right(held[count - 1], told, size, false, "mi_umalloc_small");
        held[count++] = mi_uzalloc_small(size, &told);
        told_is_right(held[count - 1], told, size, true, "mi_uzalloc_small");
      }
      for (size_t k = 0; k < count; k++) {
        size_t released = UNTOUCHED;
        size_t usable = mi_usable_size(held[k]);
        mi_ufree(held[k], &released);
        CHECK_EQ(released, usable);
      }
    }
  }
}

static void returned_size_of_aligned_blocks_is_usable(void) {
  for (size_t alignment = 1; alignment <= 8 * MIB; alignment *= 2) {
    for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
      size_t size = all_sizes[i];
      if (size > 5 * MIB) continue;
      size_t told = UNTOUCHED;
      void* p = mi_umalloc_aligned(size, alignment, &told);
      CHECK(is_aligned(p, alignment));
      told_is_right(p, told, size, false, "mi_umalloc_aligned");
      size_t zeroed = UNTOUCHED;
      void* q = mi_uzalloc_aligned(size, alignment, &zeroed);
      CHECK(is_aligned(q, alignment));
      told_is_right(q, zeroed, size, true, "mi_uzalloc_aligned");
      size_t released = UNTOUCHED;
      mi_ufree(p, &released);
      CHECK_EQ(released, told);
      mi_ufree(q, NULL);
    }
  }
  /* With an offset the pointer lies inside its block. */
  void* p = mi_malloc_aligned_at(1000, 256, 40);
  size_t usable = mi_usable_size(p);
  size_t released = UNTOUCHED;
  CHECK_GE(usable, 1000);
  mi_ufree(p, &released);
  CHECK_GE(released, usable);
}

static void resizing_returns_both_sizes(void) {
  for (size_t i = 0; i < COUNT_OF(all_sizes); i++) {
    for (size_t k = 0; k < COUNT_OF(all_sizes); k++) {
      size_t told = UNTOUCHED;
      size_t pre = UNTOUCHED;
      size_t post = UNTOUCHED;
      char* p = (char*)mi_umalloc(all_sizes[i], &told);
      REQUIRE(p != NULL);
      size_t filled = all_sizes[i] < 100000 ? all_sizes[i] : 100000;
      pattern_fill(p, filled, 6);
      p = (char*)mi_urealloc(p, all_sizes[k], &pre, &post);
      REQUIRE(p != NULL);
      CHECK_EQ(pre, told);
      CHECK_EQ(post, mi_usable_size(p));
      CHECK_GE(post, all_sizes[k]);
      CHECK(pattern_holds(p, filled < all_sizes[k] ? filled : all_sizes[k], 6));
      mi_ufree(p, &told);
      CHECK_EQ(told, post);
    }
  }
  size_t pre = UNTOUCHED;
  size_t post = UNTOUCHED;
  void* p = mi_urealloc(NULL, 500, &pre, &post);
  CHECK_EQ(pre, 0);
  told_is_right(p, post, 500, false, "mi_urealloc");
  p = mi_urealloc(p, 5000, NULL, &post);
  told_is_right(p, post, 5000, false, "mi_urealloc");
  p = mi_urealloc(p, 50, &pre, NULL);
  CHECK_EQ(pre, post);
  p = mi_urealloc(p, 60000, NULL, NULL);
  CHECK_NOT_NULL(p);
  mi_ufree(p, NULL);
}

static void on_error_ignore(int code, void* arg) {
  (void)code;
  (void)arg;
}

/* "written on success only" */
static void a_failure_tells_nothing(void) {
  mi_register_error(&on_error_ignore, NULL);
  size_t huge = opaque_size(SIZE_MAX - 100);
  size_t half = opaque_size((size_t)1 << (sizeof(size_t) * 4 + 1));
  size_t told = UNTOUCHED;
  size_t post = UNTOUCHED;
  CHECK_NULL(mi_umalloc(huge, &told));
  CHECK_NULL(mi_umalloc(huge, NULL));
  CHECK_NULL(mi_ucalloc(half, half, &told));
  CHECK_NULL(mi_ucalloc(1, huge, &told));
  CHECK_NULL(opaque(mi_umalloc_aligned(100, opaque_size(24), &told)));
  CHECK_NULL(opaque(mi_umalloc_aligned(huge, opaque_size(64), &told)));
  CHECK_NULL(opaque(mi_uzalloc_aligned(100, opaque_size(0), &told)));
  char* p = (char*)mi_malloc(3000);
  REQUIRE(p != NULL);
  pattern_fill(p, 3000, 1);
  CHECK_NULL(mi_urealloc(p, huge, &told, &post));
  CHECK_NULL(mi_urealloc(NULL, huge, &told, &post));
  CHECK_EQ(told, UNTOUCHED);
  CHECK_EQ(post, UNTOUCHED);
  CHECK(pattern_holds(p, 3000, 1));
  mi_free(p);
  mi_ufree(NULL, &told);
  CHECK_EQ(told, UNTOUCHED);
  mi_ufree(NULL, NULL);
}

/* Blocks of other threads and other heaps, too. */
static void* make_for_another(void* arg) {
  void** blocks = (void**)arg;
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  for (int i = 0; i < 100; i++) {
    blocks[i] = i % 2 == 0 ? mi_malloc((size_t)i * 50) : mi_heap_malloc(heap, (size_t)i * 5000);
    REQUIRE(blocks[i] != NULL);
  }
  return NULL;
}
static void blocks_of_others_are_sized_and_released(void) {
  void* blocks[100];
  thread_join(thread_start(&make_for_another, blocks));
  for (size_t i = 0; i < COUNT_OF(blocks); i++) {
    size_t released = UNTOUCHED;
    size_t usable = mi_usable_size(blocks[i]);
    CHECK_GE(usable, i % 2 == 0 ? i * 50 : i * 5000);
    mi_ufree(blocks[i], &released);
    CHECK_EQ(released, usable);
  }
}

static void free_small_releases_small_blocks(void) {
  void* first = mi_malloc_small(100);
  bool again = false;
  mi_free_small(first);
  for (int i = 0; i < 20000 && !again; i++) {
    void* p = mi_zalloc_small(100);
    REQUIRE(p != NULL);
    again = p == first;
    mi_free_small(p);
  }
  CHECK(again); /* released memory is used again */
  for (size_t size = 0; size <= MI_SMALL_SIZE_MAX; size++) {
    mi_free_small(mi_umalloc_small(size, NULL));
    mi_free_small(mi_heap_malloc_small(NULL, size));
  }
  mi_free_small(NULL);
}

static const check_case_t cases[] = {
    CASE(returned_size_is_the_usable_size),
    CASE(returned_size_of_aligned_blocks_is_usable),
    CASE(resizing_returns_both_sizes),
    CASE(a_failure_tells_nothing),
    CASE(blocks_of_others_are_sized_and_released),
    CASE(free_small_releases_small_blocks),
};
int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
