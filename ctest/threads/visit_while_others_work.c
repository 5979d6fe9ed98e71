/* visit_while_others_work.c - visits of heaps while other threads free, allocate, start and end,
 * and visits of the blocks of ended threads: each live block is visited once.
 */
#include "visit_audit.h"

/* ---- while others work ------------------------------------------------------ */

static int stop; /* atomic */

static int ready;

/* Frees the marked blocks in random order, then waits for more. */
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
    /* Freed before this visit began: not seen, or another block has the address now. */
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
    /* Blocks of this heap that are still in the slots would be visited, too. */
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

/* `strange`: how many blocks of other threads there may be. */
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
  /* Before the others: a thread that begins later reclaims pages of ended threads. */
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

/* A new thread may have reclaimed pages of an ended one. Each block is visited once: in the heap of
 * the new thread, and then mi_heap_of says so, or as abandoned. */
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

/* The next thread reuses the heap struct, the thread id and the stack. */
static void blocks_of_an_ended_thread_are_in_one_place(void) {
  static leaver_t leaver = {0, 0, 0, 20000, 1};
  table.count = leaver.to;
  mi_free(mi_malloc(1)); /* the heap struct of the first thread is never reused */
  thread_join(thread_start(&leave_blocks, &leaver));
  table_sort(&table);
  thread_join(thread_start(&sees_each_block_once, NULL));
}

/* "no thread takes over what a heap with a tag other than 0 leaves behind" */
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

static void pages_of_a_tagged_heap_are_not_claimed(void) {
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

/* Threads come and go and leave blocks of tagged heaps; each visit sees each of these blocks. */
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

/* Other threads free the abandoned blocks meanwhile, also the last block of a page. */
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
    CASE(visits_while_others_free),
    CASE(visits_while_others_allocate_start_and_end),
    CASE(blocks_of_ended_threads_are_visited_once),
    CASE(blocks_of_an_ended_thread_are_in_one_place),
    CASE(pages_of_a_tagged_heap_are_not_claimed),
    CASE(abandoned_blocks_are_visited_while_threads_start_and_end),
    CASE(abandoned_blocks_are_visited_while_others_free_them),
    CASE(two_threads_visit_abandoned_blocks_at_the_same_time),
};

int main(int argc, char** argv) {
  mi_free(mi_malloc(1)); /* the first thread has a heap of its own before any other ends */
  return CHECK_MAIN(argc, argv, cases);
}
