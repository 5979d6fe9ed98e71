/* heap_life.c - the life of a first-class heap in one thread: the first call, the default and the
 * backing heap, deleting and destroying, tags. Many heaps: many_heaps.c. Several threads:
 * heap_frees_by_others.c.
 */
#include "heap_blocks.h"

/* ---- life cycle --------------------------------------------------------------------- */

/* Each of these is the first call in a process. */
#define FIRST_CALLS 18

/* The heap that the call made, or NULL. */
static mi_heap_t* make_call(int which) {
  static char local;
  mi_heap_t* heap = NULL;
  seen_t seen = {0, 0, 0, 0};
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
  return heap;
}

static void first_call(int which) {
  mi_heap_t* heap = make_call(which);
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
  mi_heap_t* heap = make_call((int)(intptr_t)arg);
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

static void default_and_backing_heap_differ(void) {
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
    /* They can be resized and released, and new blocks do not overlap them. */
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

/* malloc and new use the default heap as well. */
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

static const check_case_t cases[] = {
    CASE(default_and_backing_heap_differ),
    CASE(deleting_moves_live_blocks_to_the_backing_heap),
    CASE(destroying_the_default_heap_makes_the_backing_heap_default),
    CASE(null_and_backing_heaps_cannot_be_removed),
    CASE(default_heap_serves_all_plain_functions),
    CASE(tags_and_undestroyable_heaps),
    CASE(any_function_may_be_the_first_call),
};

int main(int argc, char** argv) {
  if (argc == 3 && strcmp(argv[1], "first") == 0) {
    first_call(atoi(argv[2]));
    return check_end();
  }
  return CHECK_MAIN(argc, argv, cases);
}
