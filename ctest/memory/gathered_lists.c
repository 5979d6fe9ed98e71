/* gathered_lists.c - blocks that a thread has freed in several pages become one list. The library
 * is part of this program, so the cases can look at the lists. */
#include "all.c"

#include "support/check.h"

#define SIZE (4 * KiB)
#define PER_PAGE (SLICE_SIZE / SIZE)
#define PAGES 6
#define FREED 3 /* blocks of each page but the last, which is the active one */

static const size_t cls = FIRST_GEOMETRIC + 8 + 7;
static void* block[PAGES * PER_PAGE];
static bool is_gathered(const heap_t* heap) {
  return (heap->queue[cls].list & LIST_GATHERED) != 0 && heap->free_list[cls] != NULL;
}

/* All pages are full; then some blocks of each but the last are free. */
static void fill_and_free_some(heap_t* heap) {
  REQUIRE(class_block_size(cls) == SIZE);
  for (size_t i = 0; i < PAGES * PER_PAGE; i++)
    REQUIRE((block[i] = mi_heap_malloc(heap, SIZE)) != NULL);
  for (size_t p = 0; p < PAGES - 1; p++)
    for (size_t i = 0; i < FREED; i++) mi_free(block[p * PER_PAGE + i]);
}
static void free_the_rest(void) {
  for (size_t i = 0; i < PAGES * PER_PAGE; i++)
    if (i / PER_PAGE == PAGES - 1 || i % PER_PAGE >= FREED) mi_free(block[i]);
}

/* Where the freed block was; PAGES * PER_PAGE if it is another block. */
static size_t index_of(const void* p) {
  size_t i = 0;
  while (i < PAGES * PER_PAGE && block[i] != p) i++;
  return i;
}

static void freed_blocks_of_several_pages_make_one_list(void) {
  if (!GATHERS(cls)) return;
  heap_t* heap = mi_heap_new(); /* a heap that keeps all its pages */
  REQUIRE(heap != NULL);
  fill_and_free_some(heap);
  bool gathered = false;
  void* again[FREED * (PAGES - 1)];
  for (size_t i = 0; i < FREED * (PAGES - 1); i++) {
    again[i] = mi_heap_malloc(heap, SIZE);
    CHECK(index_of(again[i]) % PER_PAGE < FREED && index_of(again[i]) < (PAGES - 1) * PER_PAGE);
    for (size_t k = 0; k < i; k++) CHECK(again[k] != again[i]);
    gathered = gathered || is_gathered(heap);
  }
  CHECK(gathered);
  check_heap(heap);
  for (size_t i = 0; i < FREED * (PAGES - 1); i++) mi_free(again[i]);
  free_the_rest();
  mi_heap_delete(heap);
}

static void a_gathered_list_goes_back_to_its_pages(void) {
  if (!GATHERS(cls)) return;
  heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  fill_and_free_some(heap);
  void* p = NULL;
  for (int i = 0; i < FREED * (PAGES - 1) && !is_gathered(heap); i++) {
    mi_free(p);
    p = mi_heap_malloc(heap, SIZE);
  }
  CHECK(is_gathered(heap));
  mi_free(p);
  free_the_rest();
  mi_heap_collect(heap, true);
  CHECK(heap->free_list[cls] == NULL && heap->queue[cls].active == NULL);
  CHECK(heap->queue[cls].first == NULL);
  mi_heap_delete(heap);
}

/* Others may use the pages meanwhile: their blocks in the list are in use for everybody else. */
static void blocks_of_a_gathered_list_count_as_used(void) {
  if (!GATHERS(cls)) return;
  heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  fill_and_free_some(heap);
  void* p = mi_heap_malloc(heap, SIZE);
  for (void* q; !is_gathered(heap) && (q = mi_heap_malloc(heap, SIZE)) != NULL;) {
    mi_free(p);
    p = q;
  }
  for (const block_t* b = heap->free_list[cls]; b != NULL; b = b->next) {
    page_t* page = map_descriptor(b);
    CHECK(page_has_flag(page, PAGE_FULL) || page_used(page) == page->capacity);
  }
  check_heap(heap);
  mi_heap_destroy(heap);
}

static const check_case_t cases[] = {
    CASE(freed_blocks_of_several_pages_make_one_list),
    CASE(a_gathered_list_goes_back_to_its_pages),
    CASE(blocks_of_a_gathered_list_count_as_used),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
