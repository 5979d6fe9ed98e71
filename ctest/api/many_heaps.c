/* many_heaps.c - ten thousand first-class heaps: the cost to create, keep and remove one. */
#include "heap_blocks.h"

/* ---- many heaps ------------------------------------------------------------- */

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
  /* A third is destroyed, a third deleted, a third kept for a while, in mixed order. */
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
  size_t before = rss_bytes(); /* with the heap structs, which are reused */
  many_heaps_live(10000, false);
  many_heaps_live(10000, false);
  CHECK_LE(rss_bytes(), before + 4 * MIB);
}

/* A heap that was created and removed leaves nothing. */
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
  seconds_to_remove(MANY); /* creates the heap structs */
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
  /* Many heaps do not fit into the caches. A search through the list took 33 us. */
  CHECK_LE_DOUBLE(many, few * 3 + 1e-5);
}

static const check_case_t cases[] = {
    CASE(ten_thousand_heaps_live_at_the_same_time),
    CASE(heaps_made_and_removed_cost_nothing_in_the_end),
    CASE(removing_a_heap_costs_the_same_among_many),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
