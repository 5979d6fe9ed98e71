/* arena_heaps.c - heaps that are bound to an arena, and exclusive arenas. */
#include "arenas.h"

/* ---- heaps in arenas ------------------------------------------------------------------------ */

/* Fills the arena through `heap` until it returns NULL; checks that each block lies in it. */
static size_t heap_fill(mi_heap_t* heap, range_t r, size_t size, chain_t* c) {
  size_t bytes = 0;
  void* p;
  while (bytes <= r.size && (p = mi_heap_malloc(heap, size)) != NULL) {
    if (!CHECK(range_has(r, p, size))) check_note("block %p of %zu bytes\n", p, size);
    chain_add(c, p);
    bytes += size;
  }
  return bytes;
}

/* Heaps that are not bound to the arena never use it. */
static void exclusive_arena_is_for_its_heaps_alone(void) {
  mi_arena_id_t shared = arena_new(16 * MIB, false);
  mi_arena_id_t own = arena_new(64 * MIB, true);
  range_t s = area_of(shared), o = area_of(own);
  mi_register_error(&error_count, NULL);
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  REQUIRE(heap != NULL);
  static const size_t kinds[] = {16, 1000, 20000, 100000, MIB, 9 * MIB};
  chain_t in = {0}, out = {0};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    CHECK_GE(heap_fill(heap, o, kinds[k], &in), o.size / 10 * 7);
    CHECK_GE(errors_seen[ENOMEM], 1); /* full and reported, while the other one is empty */
    errors_seen[ENOMEM] = 0;
    size_t bytes = 0;
    void* p;
    while ((p = mi_malloc(kinds[k])) != NULL && bytes <= s.size) {
      CHECK(range_has(s, p, kinds[k]));
      chain_add(&out, p);
      bytes += kinds[k];
    }
    CHECK_GE(bytes, s.size / 2);
    /* Other heaps do not get memory that returns to the exclusive arena either. */
    chain_free(&in);
    mi_collect(true);
    CHECK_NULL(mi_malloc(10 * MIB));
    CHECK_NULL(mi_malloc_aligned(9 * MIB, MIB));
    CHECK_NULL(mi_realloc(NULL, 12 * MIB));
    chain_free(&out);
    mi_collect(true);
    errors_seen[ENOMEM] = 0;
  }
  mi_heap_destroy(heap);
}

static void each_way_to_allocate_stays_in_the_arena(void) {
  arena_new(64 * MIB, false);
  mi_arena_id_t own = arena_new(64 * MIB, true);
  range_t o = area_of(own);
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  REQUIRE(heap != NULL);
  static const size_t kinds[] = {24, 3000, 70000, 500000, 5 * MIB};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    size_t n = kinds[k];
    CHECK(range_has(o, mi_heap_zalloc(heap, n), n));
    CHECK(range_has(o, mi_heap_calloc(heap, 2, n / 2), n));
    CHECK(range_has(o, mi_heap_malloc_aligned(heap, n, 4096), n));
    char* p = (char*)mi_heap_malloc_aligned(heap, n, MIB);
    CHECK(range_has(o, p, n) && is_aligned(p, MIB));
    p = (char*)mi_heap_malloc(heap, n);
    p = (char*)mi_heap_realloc(heap, p, n + n / 3);
    CHECK(range_has(o, p, n + n / 3));
    p = (char*)mi_heap_realloc(heap, p, 2 * n);
    CHECK(range_has(o, p, 2 * n));
    p = (char*)mi_heap_rezalloc(heap, p, 3 * n);
    CHECK(range_has(o, p, 3 * n));
    CHECK(range_has(o, mi_heap_strdup(heap, "arena"), 6));
  }
  /* A block of another heap moves into this heap when this heap resizes it. */
  char* q = (char*)mi_malloc(100);
  CHECK(!range_has(o, q, 100));
  q = (char*)mi_heap_realloc(heap, q, 200000);
  CHECK(range_has(o, q, 200000));
  mi_free(q);
  mi_heap_t* before = mi_heap_set_default(heap);
  CHECK(range_has(o, mi_malloc(100), 100));
  CHECK(range_has(o, mi_malloc(MIB), MIB));
  mi_heap_set_default(before);
  CHECK(!range_has(o, mi_malloc(100), 100));
  mi_heap_destroy(heap);
}

static void an_alignment_that_the_arena_cannot_have_gives_null(void) {
  NEEDS_64_BITS("an alignment of 4 GiB");
  mi_arena_id_t own = arena_new(32 * MIB, true);
  arena_new(256 * MIB, false);
  mi_register_error(&error_count, NULL);
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  REQUIRE(heap != NULL);
  CHECK_NULL(mi_heap_malloc_aligned(heap, 40 * MIB, 16));
  CHECK_EQ(errors_seen[ENOMEM], 1);
  static const size_t large[] = {GIB, 4 * GIB};
  for (size_t i = 0; i < COUNT_OF(large); i++) {
    void* p = mi_heap_malloc_aligned(heap, 100, large[i]);
    if (p == NULL) {
      CHECK_EQ(errors_seen[ENOMEM], 2 + (int)i);
    } else { /* the arena has such an address by chance */
      CHECK(mi_arena_contains(own, p) && is_aligned(p, large[i]));
      errors_seen[ENOMEM]++;
    }
  }
  mi_heap_delete(heap);
}

/* The same where memory of the OS is allowed: a bound heap must not use it. */
static void helper_system_at_hand(void) {
  void* before = mi_malloc(100);
  mi_arena_id_t own = arena_new(32 * MIB, true);
  range_t o = area_of(own);
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  REQUIRE(before != NULL && heap != NULL);
  static const size_t kinds[] = {100, 5000, 100000, 20 * MIB};
  for (size_t k = 0; k < COUNT_OF(kinds); k++) {
    chain_t c = {0};
    CHECK_GE(heap_fill(heap, o, kinds[k], &c), o.size / 2);
    chain_free(&c);
    mi_heap_collect(heap, true);
  }
  CHECK_NULL(mi_heap_malloc(heap, 40 * MIB));
  CHECK_NULL(mi_heap_malloc(heap, 700 * MIB)); /* other heaps get this OS-mapped */
  void* p = mi_heap_malloc_aligned(heap, 100, 4 * GIB);
  CHECK(p == NULL || mi_arena_contains(own, p));
  char* q = (char*)mi_heap_malloc(heap, 10 * MIB);
  REQUIRE(q != NULL && range_has(o, q, 10 * MIB));
  pages_mark(q, 0, 10 * MIB);
  CHECK_NULL(mi_heap_realloc(heap, q, 33 * MIB));
  CHECK_NULL(mi_heap_realloc(heap, q, 600 * MIB));
  CHECK(pages_hold(q, 0, 10 * MIB, 1));
  mi_free(q);
  mi_free(p);
  void* other = mi_malloc(40 * MIB);
  CHECK(other != NULL && !mi_arena_contains(own, other));
  mi_free(other);
  mi_free(before);
  mi_heap_destroy(heap);
}
static void a_bound_heap_never_turns_to_the_system(void) {
  RUN_HELPER(helper_system_at_hand, "MIMALLOC_DISALLOW_OS_ALLOC=0");
}

static void* free_chain(void* arg) {
  chain_free((chain_t*)arg);
  return NULL;
}

/* Blocks that any thread frees at any time return to the arena; nothing leaks. */
static void deleted_heaps_leave_the_arena_whole(void) {
  arena_new(32 * MIB, false);
  mi_arena_id_t own = arena_new(16 * MIB, true);
  range_t o = area_of(own);
  for (size_t round = 0; round < check_scaled(40); round++) {
    static const size_t kinds[] = {64, 2000, 30000, 200000};
    size_t kind = kinds[round % COUNT_OF(kinds)];
    mi_heap_t* heap = mi_heap_new_in_arena(own);
    REQUIRE(heap != NULL);
    chain_t half[2] = {{0}, {0}};
    size_t bytes = 0;
    void* p;
    while ((p = mi_heap_malloc(heap, kind)) != NULL) {
      CHECK(range_has(o, p, kind));
      chain_add(&half[(bytes / kind) % 2], p);
      bytes += kind;
    }
    CHECK_GE(bytes, o.size / 10 * 7);
    pthread_t thread = thread_start(&free_chain, &half[0]);
    switch (round % 3) {
    case 0: /* deleted while other threads free; the remaining blocks are freed later */
      mi_heap_delete(heap);
      chain_free(&half[1]);
      break;
    case 1:
      chain_free(&half[1]);
      mi_heap_delete(heap);
      break;
    default: /* destroyed with its live blocks */
      thread_join(thread);
      mi_heap_destroy(heap);
      continue;
    }
    thread_join(thread);
  }
  /* One block can take all slices again. */
  mi_collect(true);
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  void* all = mi_heap_malloc(heap, o.size - (LARGE_BLOCKS_END_AT_GUARDS ? UNIT : 0));
  CHECK_SAME(all, o.start);
  mi_free(all);
  mi_heap_delete(heap);
}

/* Only the arena's own heaps may reuse the pages that a deleted heap or an ended thread leaves in
 * an exclusive arena. */
static void* leave_blocks(void* arg) {
  mi_arena_id_t own = *(mi_arena_id_t*)arg;
  static chain_t left;
  mi_heap_t* heap = mi_heap_new_in_arena(own);
  REQUIRE(heap != NULL);
  chain_t all = {0};
  for (int i = 0; i < 4000; i++) {
    chain_add(&all, mi_heap_malloc(heap, 500));
    if (i % 100 == 0) chain_add(&left, mi_heap_malloc(heap, 500));
  }
  chain_free(&all); /* pages with few live blocks are left */
  return &left;
}
static void pages_left_in_an_exclusive_arena_are_not_claimed(void) {
  mi_arena_id_t shared = arena_new(32 * MIB, false);
  mi_arena_id_t own = arena_new(32 * MIB, true);
  pthread_t thread = thread_start(&leave_blocks, &own);
  void* left;
  REQUIRE(pthread_join(thread, &left) == 0);
  for (int deleted = 0; deleted < 2; deleted++) {
    chain_t c = {0};
    mi_collect(true); /* reclaims what ended threads have left */
    for (int i = 0; i < 20000; i++) {
      void* p = mi_malloc(500);
      REQUIRE(p != NULL);
      if (!CHECK(mi_arena_contains(shared, p))) break;
      chain_add(&c, p);
    }
    chain_free(&c);
    if (deleted == 0) { /* the same by a heap of this thread that is deleted */
      mi_heap_t* heap = mi_heap_new_in_arena(own);
      for (int i = 0; i < 4000; i++) {
        void* p = mi_heap_malloc(heap, 500);
        if (i % 100 == 0)
          chain_add((chain_t*)left, p);
        else
          chain_add(&c, p);
      }
      chain_free(&c);
      mi_heap_delete(heap);
    }
  }
  for (void* p = ((chain_t*)left)->last; p != NULL; p = chain_next(p))
    CHECK(mi_arena_contains(own, p));
  chain_free((chain_t*)left);
}

/* A heap that is bound to a shared arena uses only this arena; other heaps may use it too. */
static void heap_in_a_shared_arena(void) {
  mi_arena_id_t a = arena_new(16 * MIB, false), b = arena_new(16 * MIB, false);
  mi_heap_t* heap = mi_heap_new_in_arena(b);
  REQUIRE(heap != NULL);
  chain_t c = {0};
  CHECK_GE(heap_fill(heap, area_of(b), 5000, &c), 11 * MIB);
  void* p = mi_malloc(5000);
  CHECK(mi_arena_contains(a, p));
  mi_free(p);
  chain_free(&c);
  mi_heap_delete(heap);
  p = mi_malloc(14 * MIB);
  void* q = mi_malloc(14 * MIB);
  CHECK(mi_arena_contains(a, p) && mi_arena_contains(b, q));
  mi_free(p);
  mi_free(q);
  heap = mi_heap_new_in_arena(0); /* any */
  CHECK_NOT_NULL(heap);
  p = mi_heap_malloc(heap, 100);
  CHECK_NOT_NULL(p);
  mi_free(p);
  mi_heap_delete(heap);
}

static void heap_prefers_its_node(void) {
  for (int node = 0; node < 3; node++)
    REQUIRE(mi_manage_os_memory(range_new(16 * MIB, PROT_READ | PROT_WRITE).start, 16 * MIB, true,
                                false, true, node));
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL);
  static const int nodes[] = {2, 1, 0, 2};
  for (size_t i = 0; i < COUNT_OF(nodes); i++) {
    mi_heap_set_numa_affinity(heap, nodes[i]);
    void* p = mi_heap_malloc(heap, 5 * MIB);
    CHECK(mi_arena_contains(nodes[i] + 1, p));
    mi_free(p);
  }
  mi_heap_set_numa_affinity(heap, 1);
  chain_t c = {0};
  for (int i = 0; i < 6; i++)
    CHECK(chain_add(&c, mi_heap_malloc(heap, 5 * MIB))); /* a preference */
  /* A preference does not open an exclusive arena. */
  mi_arena_id_t own;
  REQUIRE(mi_manage_os_memory_ex(range_new(16 * MIB, PROT_READ | PROT_WRITE).start, 16 * MIB, true,
                                 false, true, 77, true, &own));
  mi_heap_set_numa_affinity(heap, 77);
  void* p = mi_heap_malloc(heap, 100);
  CHECK(p != NULL && !mi_arena_contains(own, p));
  CHECK(chain_add(&c, mi_heap_malloc(heap, 5 * MIB)));
  chain_free(&c);
  mi_heap_delete(heap);
}

#define LEFT_BLOCKS 20000
static void* left_behind[LEFT_BLOCKS / 10];

/* Ends with one of ten blocks still in use, so that its pages are abandoned with free blocks. */
static void* leave_pages_behind(void* arg) {
  (void)arg;
  static void* blocks[LEFT_BLOCKS];
  for (size_t i = 0; i < LEFT_BLOCKS; i++) {
    blocks[i] = mi_malloc(112);
    REQUIRE(blocks[i] != NULL);
  }
  for (size_t i = 0; i < LEFT_BLOCKS; i++) {
    if (i % 10 == 0)
      left_behind[i / 10] = blocks[i];
    else
      mi_free(blocks[i]);
  }
  return NULL;
}

/* Arenas that the heap may not use do not end its search. */
static void abandoned_pages_are_found_beside_exclusive_arenas(void) {
  static const size_t counts[] = {0, 3, 4, 5, 40}; /* exclusive arenas in a row */
  size_t made = 0;
  for (size_t k = 0; k < COUNT_OF(counts); k++) {
    for (; made < counts[k]; made++) arena_new(UNIT, true);
    if (k == 0) arena_new(64 * MIB, false); /* heaps use the first shared one */
    if (k == 2) arena_new(64 * MIB, false);
    pthread_t thread;
    size_t first = 0;
    for (int round = 0; round < 8; round++) {
      REQUIRE(pthread_create(&thread, NULL, &leave_pages_behind, NULL) == 0);
      pthread_join(thread, NULL);
      mi_collect(true);
      if (round == 0) first = commit_now();
    }
    /* Each round leaves a tenth of its blocks. All other blocks come from pages of earlier
     * rounds. */
    CHECK_LE(commit_now(), first + 8 * LEFT_BLOCKS / 10 * 112 * 2);
  }
}

static const check_case_t cases[] = {
    CASE(exclusive_arena_is_for_its_heaps_alone),
    CASE(each_way_to_allocate_stays_in_the_arena),
    CASE(an_alignment_that_the_arena_cannot_have_gives_null),
    CASE(a_bound_heap_never_turns_to_the_system),
    CASE(deleted_heaps_leave_the_arena_whole),
    CASE(pages_left_in_an_exclusive_arena_are_not_claimed),
    CASE(heap_in_a_shared_arena),
    CASE(abandoned_pages_are_found_beside_exclusive_arenas),
    CASE(heap_prefers_its_node),
};

static const check_case_t helpers[] = {CASE(helper_system_at_hand)};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), helpers, COUNT_OF(helpers));
}
