/* heap_visit.c - visits of heaps in one thread: each live block once, areas with correct numbers,
 * visitors that end the visit, allocate, or start a visit. */
#include "visit_audit.h"

/* ---- a visitor that checks everything ------------------------------------------------ */

/* The heap has the blocks of the table; the backing heap has others as well. */
static void audit_heap_among_others(mi_heap_t* heap, table_t* t) {
  audit_t a;
  audit_begin(&a, t, heap);
  CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &a));
  audit_end(&a);
  CHECK_EQ(a.blocks - a.strange, t->count);
}

/* ---- random contents ---------------------------------------------------------------- */

static void each_live_block_is_visited_once(void) {
  rng_t rng = {17};
  for (int round = 0; round < 6; round++) {
    mi_heap_t* heap = mi_heap_new();
    REQUIRE(heap != NULL);
    table.count = 0;
    for (int step = 0; step < 6; step++) {
      fill_randomly(heap, &table, 3000, &rng);
      table_sort(&table);
      audit_heap(heap, &table);
      free_part(&table, step % 3 == 2 ? 2 : 20, (step + round) % 2 == 0, &rng);
      table_sort(&table);
      audit_heap(heap, &table);
    }
    if (round % 3 == 0) {
      free_part(&table, 1, true, &rng);
      CHECK_EQ(table.count, 0);
      audit_heap(heap, &table);
    }
    mi_heap_destroy(heap);
  }
}

static void full_pages_of_one_size_are_visited(void) {
  rng_t rng = {3};
  const size_t sizes[] = {8, 16, 48, 1000, 5000, 8192, 9000, 60000, 65536};
  for (size_t k = 0; k < COUNT_OF(sizes); k++) {
    mi_heap_t* heap = mi_heap_new();
    REQUIRE(heap != NULL);
    table.count = 0;
    size_t count = sizes[k] > 2000 ? 1000 : 40000;
    for (size_t i = 0; i < count; i++) table_add(&table, mi_heap_malloc(heap, sizes[k]), sizes[k]);
    table_sort(&table);
    audit_heap(heap, &table);
    free_part(&table, 3, k % 2 == 0, &rng);
    table_sort(&table);
    audit_heap(heap, &table);
    /* Allocation still works. */
    for (size_t i = 0; i < 1000; i++) table_add(&table, mi_heap_malloc(heap, sizes[k]), sizes[k]);
    table_sort(&table);
    audit_heap(heap, &table);
    mi_heap_destroy(heap);
  }
}

/* A full page that the backing heap has abandoned still counts as its own until another thread
 * reclaims it. */
static void backing_heap_is_visited_with_its_full_pages(void) {
  rng_t rng = {4};
  mi_heap_t* backing = mi_heap_get_backing();
  table.count = 0;
  for (size_t i = 0; i < 30000; i++) table_add(&table, mi_malloc(64), 64);
  fill_randomly(backing, &table, 3000, &rng);
  table_sort(&table);
  audit_heap_among_others(backing, &table);
  free_part(&table, 4, true, &rng);
  table_sort(&table);
  audit_heap_among_others(backing, &table);
  /* The blocks of deleted heaps join it. */
  for (int k = 0; k < 3; k++) {
    mi_heap_t* heap = mi_heap_new();
    REQUIRE(heap != NULL);
    fill_randomly(heap, &table, 3000, &rng);
    for (size_t i = 0; i < 4000; i++) table_add(&table, mi_heap_malloc(heap, 100), 100);
    if (k == 1) mi_heap_set_default(heap);
    mi_heap_delete(heap);
    table_sort(&table);
    audit_heap_among_others(backing, &table);
    free_part(&table, 3, k % 2 == 0, &rng);
    table_sort(&table);
    audit_heap_among_others(backing, &table);
  }
  free_part(&table, 1, false, &rng);
}

static void blocks_that_come_from_the_system_are_visited(void) {
  NEEDS_64_BITS("blocks of 5 GiB in all");
  mi_heap_t* heap = mi_heap_new();
  mi_heap_t* other = mi_heap_new();
  REQUIRE(heap != NULL && other != NULL);
  table.count = 0;
  for (size_t i = 0; i < 4; i++) {
    table_add(&table, mi_heap_malloc(heap, 600 * MIB), 600 * MIB);
    CHECK_NOT_NULL(mi_heap_malloc(other, 520 * MIB));
  }
  table_add(&table, mi_heap_malloc_aligned(heap, 100, GIB), 100);
  table_add(&table, mi_heap_malloc_aligned_at(heap, 600 * MIB, 4096, 8), 600 * MIB);
  table_add(&table, mi_heap_malloc(heap, 100), 100);
  table_sort(&table);
  audit_heap(heap, &table);
  free_list[0] = table_take(&table, 2);
  free_count = 1;
  free_the_list(NULL);
  table_sort(&table);
  audit_heap(heap, &table);
  mi_heap_destroy(other);
  audit_heap(heap, &table);
  mi_heap_destroy(heap);
}

/* ---- nothing to visit, and stopping ----------------------------------- */

static size_t calls;

static size_t calls_allowed;

static bool on_count(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  (void)heap;
  (void)area;
  (void)block;
  (void)size;
  (void)arg;
  return ++calls != calls_allowed;
}

static void empty_and_null_heaps_give_false(void) {
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  calls_allowed = 0;
  CHECK(!mi_heap_visit_blocks(heap, true, &on_count, NULL));
  CHECK(!mi_heap_visit_blocks(heap, false, &on_count, NULL));
  CHECK(!mi_heap_visit_blocks(NULL, true, &on_count, NULL));
  CHECK(!mi_heap_visit_blocks(NULL, true, NULL, NULL));
  CHECK_EQ(calls, 0);
  void* p = mi_heap_malloc(heap, 100);
  CHECK(!mi_heap_visit_blocks(heap, true, NULL, NULL));
  CHECK(!mi_heap_visit_abandoned_blocks(NULL, true, NULL, NULL));
  CHECK(!mi_abandoned_visit_blocks(NULL, -1, true, NULL, NULL));
  CHECK_EQ(calls, 0);
  CHECK(mi_heap_visit_blocks(heap, true, &on_count, NULL));
  CHECK_EQ(calls, 2);
  mi_free(p);
  mi_heap_collect(heap, true);
  calls = 0;
  CHECK(!mi_heap_visit_blocks(heap, true, &on_count, NULL));
  CHECK_EQ(calls, 0);
  mi_heap_delete(heap);
}

static void visitor_ends_the_visit(void) {
  rng_t rng = {5};
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  table.count = 0;
  fill_randomly(heap, &table, 400, &rng);
  table_add(&table, mi_heap_malloc(heap, 600 * MIB), 600 * MIB);
  calls = calls_allowed = 0;
  CHECK(mi_heap_visit_blocks(heap, true, &on_count, NULL));
  size_t all = calls;
  for (size_t n = 1; n <= all; n++) {
    calls = 0;
    calls_allowed = n;
    CHECK(!mi_heap_visit_blocks(heap, true, &on_count, NULL));
    CHECK_EQ(calls, n);
  }
  /* The heap is unchanged. */
  table_sort(&table);
  audit_heap(heap, &table);
  fill_randomly(heap, &table, 400, &rng);
  table_sort(&table);
  audit_heap(heap, &table);
  mi_heap_destroy(heap);
}

/* ---- visitors that allocate --------------------------------------------------------- */

typedef struct busy_visit_s {
  audit_t audit;
  mi_heap_t* others[2];
  void* held[64];
  size_t step;
} busy_visit_t;

static bool on_busy(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                    void* arg) {
  busy_visit_t* b = (busy_visit_t*)arg;
  size_t at = b->step++ % COUNT_OF(b->held);
  mi_free(b->held[at]);
  mi_heap_t* from = b->step % 3 == 2 ? mi_heap_get_backing() : b->others[b->step % 3];
  b->held[at] = mi_heap_malloc(from, b->step % 1000 == 0 ? 200000 : b->step % 2000);
  REQUIRE(b->held[at] != NULL);
  if (b->step % 500 == 0) {
    mi_heap_t* short_lived = mi_heap_new();
    REQUIRE(short_lived != NULL);
    CHECK_NOT_NULL(mi_heap_malloc(short_lived, 64));
    if (b->step % 1000 == 0) {
      mi_heap_destroy(short_lived);
    } else {
      mi_heap_delete(short_lived);
    }
    mi_heap_collect(b->others[0], true);
  }
  return on_audit(heap, area, block, size, &b->audit);
}

static void visitor_may_use_other_heaps(void) {
  static busy_visit_t b;
  rng_t rng = {6};
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  table.count = 0;
  fill_randomly(heap, &table, 5000, &rng);
  free_part(&table, 3, true, &rng);
  table_sort(&table);
  for (int round = 0; round < 5; round++) {
    memset(&b, 0, sizeof b);
    b.others[0] = mi_heap_new();
    b.others[1] = mi_heap_new();
    audit_begin(&b.audit, &table, heap);
    CHECK(mi_heap_visit_blocks(heap, true, &on_busy, &b));
    audit_end(&b.audit);
    CHECK_EQ(b.audit.strange, 0);
    CHECK_EQ(b.audit.blocks, table.count);
    for (size_t i = 0; i < COUNT_OF(b.held); i++) mi_free(b.held[i]);
    mi_heap_delete(b.others[0]);
    mi_heap_destroy(b.others[1]);
  }
  mi_heap_destroy(heap);
}

/* A visit within a visit, of the same heap and of another. */
static bool on_nested(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                      void* arg) {
  audit_t* outer = (audit_t*)arg;
  if (block == NULL && outer->areas % 10 == 0) {
    audit_t inner;
    memset(&inner, 0, sizeof inner);
    inner.heap = heap;
    inner.with_blocks = true;
    mi_heap_visit_blocks(heap, true, &on_audit, &inner);
    CHECK_EQ(inner.blocks, table.count);
  }
  return on_audit(heap, area, block, size, arg);
}

static void visits_may_be_nested(void) {
  rng_t rng = {8};
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  table.count = 0;
  fill_randomly(heap, &table, 3000, &rng);
  table_sort(&table);
  audit_t a;
  audit_begin(&a, &table, heap);
  CHECK(mi_heap_visit_blocks(heap, true, &on_nested, &a));
  audit_end(&a);
  mi_heap_destroy(heap);
}

static const check_case_t cases[] = {
    CASE(each_live_block_is_visited_once),
    CASE(full_pages_of_one_size_are_visited),
    CASE(backing_heap_is_visited_with_its_full_pages),
    CASE(blocks_that_come_from_the_system_are_visited),
    CASE(empty_and_null_heaps_give_false),
    CASE(visitor_ends_the_visit),
    CASE(visitor_may_use_other_heaps),
    CASE(visits_may_be_nested),
};

int main(int argc, char** argv) {
  mi_free(mi_malloc(1)); /* the first thread has a heap of its own before any other ends */
  return CHECK_MAIN(argc, argv, cases);
}
