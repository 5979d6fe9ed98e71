/* visit.c - visits of heaps and of what ended threads left (D7.60, D7.61): each live block once,
 * areas that say what is true, alone and in the company of threads that free, allocate, start and
 * end.
 */
#include "probe.h"
#include <mimalloc.h>

/* ---- a table of the blocks that should be seen -------------------------------------- */

#define TABLE_MAX 60000

typedef struct entry_s {
  char* p;
  size_t size;
  size_t seen;
  bool may_go; /* another thread may release it at any time */
} entry_t;

typedef struct table_s {
  entry_t entries[TABLE_MAX];
  size_t count;
} table_t;
static table_t table;

static void table_add(table_t* t, void* p, size_t size) {
  REQUIRE(p != NULL && t->count < TABLE_MAX);
  entry_t e = {(char*)p, size, 0, false};
  t->entries[t->count++] = e;
}

static int by_address(const void* a, const void* b) {
  const char* p = ((const entry_t*)a)->p;
  const char* q = ((const entry_t*)b)->p;
  return p < q ? -1 : p > q;
}
/* qsort may allocate; a heap sort does not, and is quick enough. */
static void table_sort(table_t* t) {
  size_t n = t->count;
  entry_t* e = t->entries;
  for (size_t i = n / 2; n > 1;) {
    entry_t moving;
    if (i > 0) {
      moving = e[--i];
    } else {
      moving = e[--n];
      e[n] = e[0];
    }
    size_t at = i;
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
      if (child + 1 < n && by_address(&e[child], &e[child + 1]) < 0) child++;
      if (by_address(&moving, &e[child]) >= 0) break;
      e[at] = e[child];
    }
    e[at] = moving;
  }
  for (size_t k = 1; k < t->count; k++) REQUIRE(e[k - 1].p < e[k].p);
}
/* The entry in [start, start + size); the table is sorted. */
static entry_t* table_find(table_t* t, const char* start, size_t size) {
  size_t low = 0;
  size_t high = t->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (t->entries[middle].p < start) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < t->count && t->entries[low].p < start + size ? &t->entries[low] : NULL;
}

/* ---- a visitor that believes nothing ------------------------------------------------ */

typedef struct audit_s {
  table_t* table;
  const mi_heap_t* heap; /* what the visitor must be told */
  mi_heap_area_t area;
  size_t areas;
  size_t area_blocks; /* seen in this area */
  size_t blocks;
  size_t used;    /* what the areas say together */
  size_t strange; /* blocks that are not in the table */
  bool with_blocks;
  bool moving; /* other threads release: `used` may be more than what is seen */
} audit_t;

static void audit_area_end(audit_t* a) {
  if (a->areas == 0 || !a->with_blocks) return;
  if (a->area_blocks != a->area.used) {
    check_fail("area of %zu bytes per block says %zu in use, %zu seen\n", a->area.block_size,
               a->area.used, a->area_blocks);
  }
}

static bool on_audit(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                     void* arg) {
  audit_t* a = (audit_t*)arg;
  CHECK_SAME(heap, a->heap);
  CHECK_EQ(size, area->block_size);
  if (block == NULL) {
    audit_area_end(a);
    a->area = *area;
    a->areas++;
    a->area_blocks = 0;
    a->used += area->used;
    bool ok = CHECK_GE(area->reserved, area->committed);
    ok = CHECK_GE(area->committed, area->used * area->block_size) && ok;
    ok = CHECK_GE(area->full_block_size, area->block_size) && ok;
    ok = CHECK_GE(area->block_size, 8) && ok;
    ok = CHECK_NOT_NULL(area->blocks) && ok;
    if (!ok) {
      check_note("area %p: reserved %zu, committed %zu, used %zu, block %zu of %zu\n", area->blocks,
                 area->reserved, area->committed, area->used, area->block_size,
                 area->full_block_size);
    }
    return true;
  }
  a->blocks++;
  a->area_blocks++;
  if (!CHECK(a->areas > 0 && a->with_blocks)) return true;
  CHECK_SAME(area->blocks, a->area.blocks);
  size_t offset = (size_t)((char*)block - (char*)area->blocks);
  CHECK_EQ(offset % area->full_block_size, 0);
  CHECK_LE(offset + size, area->reserved);
  entry_t* e = a->table == NULL ? NULL : table_find(a->table, (char*)block, size);
  if (e == NULL) {
    a->strange++;
  } else {
    e->seen++;
    CHECK_LE(e->size, size);
  }
  return true;
}

static void audit_begin(audit_t* a, table_t* t, const mi_heap_t* heap) {
  memset(a, 0, sizeof *a);
  a->table = t;
  a->heap = heap;
  a->with_blocks = true;
  for (size_t i = 0; t != NULL && i < t->count; i++) t->entries[i].seen = 0;
}

/* Each block that stays was seen once, the others at most once. */
static void audit_end(audit_t* a) {
  audit_area_end(a);
  size_t missed = 0;
  size_t twice = 0;
  for (size_t i = 0; i < a->table->count; i++) {
    const entry_t* e = &a->table->entries[i];
    missed += e->seen == 0 && !e->may_go;
    twice += e->seen > 1;
  }
  CHECK_EQ(missed, 0);
  CHECK_EQ(twice, 0);
}

/* All of the heap, nothing but the table's blocks. */
static void audit_heap(mi_heap_t* heap, table_t* t) {
  audit_t a;
  audit_begin(&a, t, heap);
  bool done = mi_heap_visit_blocks(heap, true, &on_audit, &a);
  CHECK_EQ(done, a.areas > 0);
  audit_end(&a);
  CHECK_EQ(a.strange, 0);
  CHECK_EQ(a.blocks, t->count);
  CHECK_EQ(a.used, t->count);
  /* The same areas without blocks. */
  audit_t b;
  audit_begin(&b, NULL, heap);
  b.with_blocks = false;
  mi_heap_visit_blocks(heap, false, &on_audit, &b);
  CHECK_EQ(b.areas, a.areas);
  CHECK_EQ(b.used, a.used);
  CHECK_EQ(b.blocks, 0);
}

/* The table's blocks are in there; the backing heap has others as well. */
static void audit_heap_among_others(mi_heap_t* heap, table_t* t) {
  audit_t a;
  audit_begin(&a, t, heap);
  CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &a));
  audit_end(&a);
  CHECK_EQ(a.blocks - a.strange, t->count);
}

/* ---- random contents ---------------------------------------------------------------- */

static void fill_randomly(mi_heap_t* heap, table_t* t, size_t count, rng_t* rng) {
  for (size_t i = 0; i < count; i++) {
    size_t size = rng_size(rng, rng_below(rng, 200) == 0 ? 3 * MIB : 3000);
    void* p;
    switch (rng_below(rng, 6)) {
    case 0:
      p = mi_heap_malloc_aligned_at(heap, size, (size_t)8 << rng_below(rng, 12), 8);
      break;
    case 1:
      p = mi_heap_malloc_aligned(heap, size, (size_t)8 << rng_below(rng, 15));
      break;
    case 2:
      p = mi_heap_zalloc(heap, size);
      break;
    default:
      p = mi_heap_malloc(heap, size);
      break;
    }
    table_add(t, p, size);
  }
}

/* Removes from the table; the caller releases. */
static void* table_take(table_t* t, size_t i) {
  void* p = t->entries[i].p;
  t->entries[i] = t->entries[--t->count];
  return p;
}

static void* free_list[TABLE_MAX];
static size_t free_count;
static void* free_the_list(void* arg) {
  (void)arg;
  for (size_t i = 0; i < free_count; i++) mi_free(free_list[i]);
  return NULL;
}

static void free_part(table_t* t, size_t one_in, bool by_others, rng_t* rng) {
  free_count = 0;
  for (size_t i = 0; i < t->count;) {
    if (rng_below(rng, one_in) == 0) {
      free_list[free_count++] = table_take(t, i);
    } else {
      i++;
    }
  }
  if (by_others) {
    thread_join(thread_start(&free_the_list, NULL));
  } else {
    free_the_list(NULL);
  }
}

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
    /* Allocation goes on where it was. */
    for (size_t i = 0; i < 1000; i++) table_add(&table, mi_heap_malloc(heap, sizes[k]), sizes[k]);
    table_sort(&table);
    audit_heap(heap, &table);
    mi_heap_destroy(heap);
  }
}

/* What the backing heap gave up because it was full is its own as long as nobody takes it. */
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
  /* Deleted heaps' blocks come to it. */
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

/* ---- when there is nothing to visit, and stopping ----------------------------------- */

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
  CHECK(!mi_heap_visit_blocks(heap, true, &on_count, NULL)); /* types.md 16: 10 */
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
  /* The heap is as it was. */
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

/* ---- while others work (D7.61) ------------------------------------------------------ */

static int stop; /* atomic */
static int ready;

/* Releases the blocks that may go, in no order, then waits for more. */
static entry_t* goers[TABLE_MAX];
static size_t goer_count;
static size_t goer_next; /* atomic */

static void* release_goers(void* arg) {
  (void)arg;
  while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) sched_yield();
  for (;;) {
    size_t i = __atomic_fetch_add(&goer_next, 1, __ATOMIC_RELAXED);
    if (i >= goer_count) return NULL;
    mi_free(goers[i]->p);
    if (i % 64 == 0) sched_yield();
  }
}

static void visits_while_others_free(void) {
  for (size_t round = 0; round < check_scaled(8); round++) {
    rng_t rng = {round + 100};
    mi_heap_t* heap = round % 4 == 3 ? mi_heap_get_backing() : mi_heap_new();
    REQUIRE(heap != NULL);
    table.count = 0;
    fill_randomly(heap, &table, 4000, &rng);
    for (size_t i = 0; i < 6000; i++) table_add(&table, mi_heap_malloc(heap, 24), 24);
    for (size_t i = 0; i < 20; i++) table_add(&table, mi_heap_malloc(heap, 100000), 100000);
    table_sort(&table);
    goer_count = 0;
    goer_next = 0;
    for (size_t i = 0; i < table.count; i++) {
      if (i % 4 == 0) continue;
      table.entries[i].may_go = true;
      goers[goer_count++] = &table.entries[i];
    }
    for (size_t i = goer_count; i > 1; i--) {
      size_t k = rng_below(&rng, i);
      entry_t* swapped = goers[i - 1];
      goers[i - 1] = goers[k];
      goers[k] = swapped;
    }
    pthread_t threads[3];
    __atomic_store_n(&ready, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
      threads[i] = thread_start(&release_goers, NULL);
    }
    __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    size_t visits = 0;
    do {
      audit_t a;
      audit_begin(&a, &table, heap);
      CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &a));
      audit_end(&a);
      if (heap != mi_heap_get_backing()) CHECK_EQ(a.strange, 0);
      visits++;
    } while (__atomic_load_n(&goer_next, __ATOMIC_RELAXED) < goer_count);
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    audit_t a;
    audit_begin(&a, &table, heap);
    CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &a));
    audit_end(&a);
    size_t left = 0;
    for (size_t i = 0; i < table.count; i++) left += table.entries[i].seen;
    /* Freed before this visit began: not seen, or an address used by somebody else. */
    if (heap != mi_heap_get_backing()) CHECK_EQ(left, table.count - goer_count);
    for (size_t i = 0; i < table.count; i++) {
      if (!table.entries[i].may_go) mi_free(table.entries[i].p);
    }
    check_note("%zu visits while %zu of %zu blocks were released\n", visits, goer_count,
               table.count);
    if (heap != mi_heap_get_backing()) mi_heap_delete(heap);
  }
}

/* Allocates and frees for itself, and hands blocks to the visitor's thread and back. */
static void* passing[128]; /* exchanged atomically */

static void* work_in_company(void* arg) {
  rng_t rng = {(uintptr_t)arg};
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
    void** slot = &passing[rng_below(&rng, COUNT_OF(passing))];
    void* p = mi_heap_malloc(rng_below(&rng, 2) == 0 ? heap : NULL,
                             rng_size(&rng, rng_below(&rng, 100) == 0 ? 300000 : 2000));
    REQUIRE(p != NULL);
    mi_free(__atomic_exchange_n(slot, p, __ATOMIC_ACQ_REL));
    if (rng_below(&rng, 1000) == 0) {
      mi_heap_delete(heap);
      heap = mi_heap_new();
      REQUIRE(heap != NULL);
    }
  }
  return NULL; /* with a live heap */
}

static void* start_and_end_threads(void* arg) {
  while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
    pthread_t two[2];
    for (size_t i = 0; i < COUNT_OF(two); i++) two[i] = thread_start((void* (*)(void*))arg, NULL);
    for (size_t i = 0; i < COUNT_OF(two); i++) thread_join(two[i]);
  }
  return NULL;
}

static void* short_work(void* arg) {
  rng_t rng = {(uintptr_t)&rng};
  (void)arg;
  for (int i = 0; i < 200; i++) {
    void** slot = &passing[rng_below(&rng, COUNT_OF(passing))];
    void* p = mi_malloc(rng_size(&rng, 3000));
    REQUIRE(p != NULL);
    mi_free(__atomic_exchange_n(slot, p, __ATOMIC_ACQ_REL));
  }
  return NULL;
}

static void release_passing(void) {
  for (size_t i = 0; i < COUNT_OF(passing); i++) {
    mi_free(__atomic_exchange_n(&passing[i], NULL, __ATOMIC_ACQ_REL));
  }
}

static void visits_while_others_allocate_start_and_end(void) {
  rng_t rng = {55};
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  table.count = 0;
  fill_randomly(heap, &table, 6000, &rng);
  free_part(&table, 3, true, &rng);
  table_sort(&table);
  pthread_t threads[3];
  threads[0] = thread_start(&work_in_company, (void*)1);
  threads[1] = thread_start(&work_in_company, (void*)2);
  threads[2] = thread_start(&start_and_end_threads, (void*)&short_work);
  double end = now_seconds() + 0.8 * check_scale();
  size_t visits = 0;
  while (now_seconds() < end) {
    audit_heap(heap, &table);
    audit_t a;
    memset(&a, 0, sizeof a);
    a.heap = mi_heap_main();
    a.with_blocks = true;
    CHECK(mi_abandoned_visit_blocks(NULL, -1, true, &on_audit, &a));
    /* The heap itself changes between visits, too. */
    for (int i = 0; i < 50; i++) {
      size_t at = rng_below(&rng, table.count);
      void** slot = &passing[rng_below(&rng, COUNT_OF(passing))];
      void* mine = table_take(&table, at);
      mi_free(__atomic_exchange_n(slot, mine, __ATOMIC_ACQ_REL));
    }
    fill_randomly(heap, &table, 50, &rng);
    table_sort(&table);
    visits++;
    /* What of ours is still in the slots would be visited, too. */
    release_passing();
    /* A worker may have taken it and not freed it yet. Only the table matters then. */
    audit_t b;
    audit_begin(&b, &table, heap);
    CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &b));
    audit_end(&b);
    for (int tries = 0; b.strange > 0 && CHECK_LE(tries, 2000); tries++) {
      sleep_ms(1);
      audit_begin(&b, &table, heap);
      CHECK(mi_heap_visit_blocks(heap, true, &on_audit, &b));
    }
  }
  check_note("%zu visits\n", visits);
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  release_passing();
  audit_heap(heap, &table);
  mi_heap_destroy(heap);
}

/* ---- what ended threads left -------------------------------------------------------- */

typedef struct leaver_s {
  int tag;
  int kind; /* 0: the backing heap; 1: a heap; 2: one that is deleted before the thread ends */
  size_t from, to; /* in the table */
  uint64_t seed;
} leaver_t;

/* Blocks enough for several full pages and some partly used ones, and large ones. */
static void* leave_blocks(void* arg) {
  const leaver_t* l = (const leaver_t*)arg;
  rng_t rng = {l->seed};
  mi_heap_t* heap = l->kind == 0 ? mi_heap_get_backing() : mi_heap_new_ex(l->tag, true, 0);
  REQUIRE(heap != NULL);
  for (size_t i = l->from; i < l->to; i++) {
    size_t size = i % 3 == 0 ? 64 : rng_size(&rng, i % 250 == 0 ? 2 * MIB : 3000);
    entry_t e = {(char*)(i % 7 == 0 ? mi_heap_malloc_aligned_at(heap, size, 128, 8)
                                    : mi_heap_malloc(heap, size)),
                 size, 0, false};
    REQUIRE(e.p != NULL);
    table.entries[i] = e;
  }
  if (l->kind == 2) mi_heap_delete(heap);
  return NULL;
}

/* `strange`: how many blocks of others may be there. */
static void audit_abandoned(table_t* t, int tag, size_t strange, size_t expected) {
  audit_t a;
  audit_begin(&a, t, mi_heap_main());
  CHECK(mi_abandoned_visit_blocks(NULL, tag, true, &on_audit, &a));
  audit_area_end(&a);
  size_t seen = 0;
  size_t twice = 0;
  for (size_t i = 0; i < t->count; i++) {
    seen += t->entries[i].seen > 0;
    twice += t->entries[i].seen > 1;
  }
  bool ok = CHECK_EQ(seen, expected);
  ok = CHECK_EQ(twice, 0) && ok;
  ok = CHECK_LE(a.strange, strange) && ok;
  if (!ok) check_fail("of tag %d: %zu areas, %zu blocks\n", tag, a.areas, a.blocks);
}

#define PER_LEAVER 3000

static void blocks_of_ended_threads_are_visited_once(void) {
  static leaver_t leavers[] = {{0, 0, 0, 0, 1}, {0, 1, 0, 0, 2},   {3, 1, 0, 0, 3},
                               {3, 1, 0, 0, 4}, {255, 1, 0, 0, 5}, {9, 2, 0, 0, 6},
                               {0, 0, 0, 0, 7}, {0, 2, 0, 0, 8}};
  /* Before the others: a thread that begins later takes over what some that ended left. */
  mi_free(mi_malloc(1));
  table.count = COUNT_OF(leavers) * PER_LEAVER;
  for (size_t i = 0; i < COUNT_OF(leavers); i++) {
    leavers[i].from = i * PER_LEAVER;
    leavers[i].to = (i + 1) * PER_LEAVER;
    thread_join(thread_start(&leave_blocks, &leavers[i]));
  }
  table_sort(&table);
  size_t left_over = 100; /* the C library's, for its threads */
  size_t n = PER_LEAVER;
  audit_abandoned(&table, -1, left_over, 8 * n);
  audit_abandoned(&table, 3, 0, 2 * n);
  audit_abandoned(&table, 255, 0, n);
  audit_abandoned(&table, 4, 0, 0);
  audit_abandoned(&table, 256, 0, 0);
  audit_abandoned(&table, 9, 0, n);
  audit_abandoned(&table, 0, left_over, 4 * n);
  audit_t a;
  audit_begin(&a, &table, mi_heap_main());
  CHECK(mi_heap_visit_abandoned_blocks(NULL, true, &on_audit, &a));
  audit_end(&a);
  for (size_t i = 0; i < table.count; i++) {
    CHECK_SAME(mi_heap_of(table.entries[i].p), mi_heap_main());
    CHECK(mi_any_heap_contains(table.entries[i].p));
  }
  /* A live heap's blocks are not among them. */
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  CHECK_NOT_NULL(mi_heap_malloc(heap, 5 * MIB));
  audit_abandoned(&table, -1, left_over, 8 * n);
  mi_heap_destroy(heap);
  /* The visit changes nothing: all can be released. */
  rng_t rng = {9};
  free_part(&table, 2, false, &rng);
  table_sort(&table);
  audit_abandoned(&table, -1, left_over, table.count);
  free_part(&table, 1, true, &rng);
  audit_abandoned(&table, -1, left_over, 0);
}

/* A new thread may have taken over what an ended one left: each block is visited once, in the
 * thread's own heap, which then says that it has it, or as abandoned. */
static void* sees_each_block_once(void* arg) {
  mi_heap_t* backing = mi_heap_get_backing();
  size_t visited = 0;
  size_t contained = 0;
  (void)arg;
  audit_t a;
  audit_begin(&a, &table, backing);
  mi_heap_visit_blocks(backing, true, &on_audit, &a);
  for (size_t i = 0; i < table.count; i++) {
    CHECK_LE(table.entries[i].seen, 1);
    visited += table.entries[i].seen;
    contained += mi_heap_contains_block(backing, table.entries[i].p);
  }
  CHECK_EQ(visited, contained);
  audit_t abandoned;
  audit_begin(&abandoned, &table, mi_heap_main());
  CHECK(mi_heap_visit_abandoned_blocks(NULL, true, &on_audit, &abandoned));
  for (size_t i = 0; i < table.count; i++) {
    bool ours = mi_heap_contains_block(backing, table.entries[i].p);
    CHECK_EQ(table.entries[i].seen, ours ? 0 : 1);
  }
  return NULL;
}

/* A heap record, a thread's id and its stack are used again by the next thread. */
static void blocks_of_an_ended_thread_are_in_one_place(void) {
  static leaver_t leaver = {0, 0, 0, 20000, 1};
  table.count = leaver.to;
  mi_free(mi_malloc(1)); /* the first thread's record is never used again */
  thread_join(thread_start(&leave_blocks, &leaver));
  table_sort(&table);
  thread_join(thread_start(&sees_each_block_once, NULL));
}

/* "what a heap with a tag other than 0 leaves behind is taken over by nobody" */
static void* allocate_much(void* arg) {
  (void)arg;
  mi_heap_t* heap = mi_heap_new();
  mi_heap_t* backing = mi_heap_get_backing();
  REQUIRE(heap != NULL);
  rng_t rng = {77};
  size_t taken = 0;
  for (int i = 0; i < 40000; i++) {
    size_t size = i % 3 == 0 ? 64 : rng_size(&rng, 3000);
    CHECK_NOT_NULL(mi_heap_malloc(i % 2 == 0 ? heap : backing, size));
  }
  for (size_t i = 0; i < table.count; i++) {
    taken += mi_heap_of(table.entries[i].p) != mi_heap_main();
  }
  CHECK_EQ(taken, 0);
  audit_abandoned(&table, 21, 0, table.count);
  return NULL;
}
static void nobody_takes_over_what_a_tagged_heap_left(void) {
  static leaver_t leaver = {21, 1, 0, 20000, 1};
  rng_t rng = {10};
  table.count = leaver.to;
  thread_join(thread_start(&leave_blocks, &leaver));
  free_part(&table, 2, false, &rng);
  table_sort(&table);
  audit_abandoned(&table, 21, 0, table.count);
  thread_join(thread_start(&allocate_much, NULL));
  free_part(&table, 2, true, &rng);
  table_sort(&table);
  thread_join(thread_start(&allocate_much, NULL));
  free_part(&table, 1, true, &rng);
}

/* Threads come and go; blocks with a tag are left to all, and each visit sees each of them. */
static void abandoned_blocks_are_visited_while_threads_start_and_end(void) {
  static leaver_t leaver = {33, 1, 0, 6000, 1};
  table.count = leaver.to;
  thread_join(thread_start(&leave_blocks, &leaver));
  table_sort(&table);
  pthread_t threads[2];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&start_and_end_threads, (void*)&short_work);
  }
  double end = now_seconds() + 0.6 * check_scale();
  size_t visits = 0;
  while (now_seconds() < end) {
    audit_abandoned(&table, 33, 0, table.count);
    visits++;
  }
  check_note("%zu visits\n", visits);
  __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  release_passing();
}

/* Others release the abandoned blocks meanwhile: the last of a page, too. */
static void abandoned_blocks_are_visited_while_others_free_them(void) {
  for (size_t round = 0; round < check_scaled(5); round++) {
    static leaver_t leaver = {0, 0, 0, 9000, 1};
    leaver.tag = 40 + (int)round % 50;
    leaver.kind = 1;
    table.count = leaver.to;
    thread_join(thread_start(&leave_blocks, &leaver));
    table_sort(&table);
    goer_count = goer_next = 0;
    for (size_t i = 0; i < table.count; i++) {
      if (i % 50 == 0) continue; /* few stay, so that pages become empty */
      table.entries[i].may_go = true;
      goers[goer_count++] = &table.entries[i];
    }
    pthread_t threads[2];
    __atomic_store_n(&ready, 0, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
      threads[i] = thread_start(&release_goers, NULL);
    }
    __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    do {
      audit_t a;
      audit_begin(&a, &table, mi_heap_main());
      CHECK(mi_abandoned_visit_blocks(NULL, leaver.tag, true, &on_audit, &a));
      audit_end(&a);
      CHECK_EQ(a.strange, 0);
    } while (__atomic_load_n(&goer_next, __ATOMIC_RELAXED) < goer_count);
    for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
    audit_abandoned(&table, leaver.tag, 0, table.count - goer_count);
    for (size_t i = 0; i < table.count; i++) {
      if (!table.entries[i].may_go) mi_free(table.entries[i].p);
    }
    audit_abandoned(&table, leaver.tag, 0, 0);
  }
}

/* Two visits of abandoned memory at the same time: "of two such visits at the same time each leaves
 * out what the other is looking at". */
static size_t too_many; /* atomic */
static bool on_meet(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                    void* arg) {
  size_t* seen = (size_t*)arg;
  (void)heap;
  (void)area;
  (void)size;
  if (block != NULL && ++*seen % 100 == 0) sched_yield();
  return true;
}
static void* visit_abandoned_often(void* arg) {
  size_t expected = (size_t)(uintptr_t)arg;
  for (size_t i = 0; i < check_scaled(100); i++) {
    size_t seen = 0;
    CHECK(mi_abandoned_visit_blocks(NULL, 50, true, &on_meet, &seen));
    if (seen > expected) __atomic_fetch_add(&too_many, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}
static void two_threads_visit_abandoned_blocks_at_the_same_time(void) {
  static leaver_t leaver = {50, 1, 0, 9000, 1};
  table.count = leaver.to;
  thread_join(thread_start(&leave_blocks, &leaver));
  pthread_t threads[2];
  for (size_t i = 0; i < COUNT_OF(threads); i++) {
    threads[i] = thread_start(&visit_abandoned_often, (void*)(uintptr_t)table.count);
  }
  for (size_t i = 0; i < COUNT_OF(threads); i++) thread_join(threads[i]);
  CHECK_EQ(__atomic_load_n(&too_many, __ATOMIC_RELAXED), 0);
  table_sort(&table);
  audit_abandoned(&table, 50, 0, table.count);
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
    CASE(visits_while_others_free),
    CASE(visits_while_others_allocate_start_and_end),
    CASE(blocks_of_ended_threads_are_visited_once),
    CASE(blocks_of_an_ended_thread_are_in_one_place),
    CASE(nobody_takes_over_what_a_tagged_heap_left),
    CASE(abandoned_blocks_are_visited_while_threads_start_and_end),
    CASE(abandoned_blocks_are_visited_while_others_free_them),
    CASE(two_threads_visit_abandoned_blocks_at_the_same_time),
};
int main(int argc, char** argv) {
  mi_free(mi_malloc(1)); /* the first thread has a heap of its own before any other ends */
  return CHECK_MAIN(argc, argv, cases);
}
