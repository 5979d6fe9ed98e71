/* huge_pages.c - arenas in large (2 MiB) and huge (1 GiB) OS pages, and their NUMA nodes.
 * os_pages.c plays the system, which has as many pages as a case plans. */
#include "arenas.h"
#include "os_pages.h"
#include <math.h>

/* ---- large pages --------------------------------------------------------------------------- */

static void plan_large(size_t pages) {
  os_pages.active = true;
  os_pages.large_pages = pages;
  mi_option_enable(mi_option_allow_large_os_pages);
}

static void large_pages_are_used_where_there_are_any(void) {
  plan_large(100);
  mi_arena_id_t id;
  REQUIRE(mi_reserve_os_memory_ex(64 * MIB, true, true, false, &id) == 0);
  CHECK_EQ(os_pages.large_asked, 1);
  REQUIRE(os_pages.map_count == 1);
  CHECK_EQ(os_pages.map[0].size, 64 * MIB);
  CHECK_SAME(os_pages.map[0].at, area_of(id).start);
  /* Without this flag the kernel reserves the pages; otherwise it would kill the program at the
   * first touch of a missing one. */
  CHECK_EQ(os_pages.map[0].flags & MAP_NORESERVE, 0);
  CHECK_EQ(area_of(id).size, 64 * MIB);
  CHECK(is_aligned(area_of(id).start, 2 * MIB));
  CHECK_EQ(os_pages.advised, 0);
  for (int i = 0; i < 3; i++) {
    use_and_release(20 * MIB, 0xEE);
    mi_collect(true);
  }
  CHECK_EQ(os_pages.purges, 0); /* they cannot be given back in part */
  void* z = mi_zalloc(20 * MIB);
  CHECK(z != NULL && all_bytes_are(z, 20 * MIB, 0));
  mi_free(z);
}

static void large_pages_are_not_used_unasked(void) {
  plan_large(1000);
  CHECK_EQ(mi_reserve_os_memory(4 * MIB, true, false), 0);
  CHECK_EQ(mi_reserve_os_memory(4 * MIB, false, true), 0);
  CHECK_EQ(mi_reserve_os_memory(4 * MIB + UNIT, true, true), 0); /* no multiple of the page size */
  CHECK_EQ(mi_reserve_os_memory(0, true, true), ENOMEM);
  CHECK_EQ(mi_reserve_os_memory(SIZE_MAX, true, true), ENOMEM);
  CHECK_EQ(os_pages.large_asked, 0);
  os_pages.advised = 0;
  mi_option_disable(mi_option_allow_large_os_pages);
  CHECK_EQ(mi_reserve_os_memory(4 * MIB, true, true), 0);
  CHECK_EQ(os_pages.large_asked, 0);
  CHECK_EQ(os_pages.advised, 0);
}

/* After a failure the library skips the next 8 attempts. */
static void without_large_pages_there_is_advice(void) {
  plan_large(3);
  mi_arena_id_t id;
  for (size_t i = 1; i <= 12; i++) {
    size_t advised = os_pages.advised;
    REQUIRE(mi_reserve_os_memory_ex(8 * MIB, true, true, false, &id) == 0);
    CHECK_EQ(os_pages.large_asked, i < 10 ? 1 : 2);
    CHECK_EQ(os_pages.advised - advised, 8 * MIB);
    CHECK(is_aligned(area_of(id).start, 2 * MIB));
    CHECK_EQ(area_of(id).size, 8 * MIB);
  }
  CHECK_EQ(os_pages.map_count, 0);
  use_and_release(6 * MIB, 0xEE);
  mi_collect(true);
  CHECK_GE(os_pages.purges, 1); /* ordinary memory in the end */
  plan_large(4);
  for (size_t i = 0; i < 6; i++) REQUIRE(mi_reserve_os_memory(8 * MIB, true, true) == 0);
  CHECK_EQ(os_pages.map_count, 0); /* still skipped */
  REQUIRE(mi_reserve_os_memory(8 * MIB, true, true) == 0);
  CHECK_EQ(os_pages.map_count, 1);
  REQUIRE(mi_reserve_os_memory(8 * MIB, true, true) == 0);
  CHECK_EQ(os_pages.large_asked, 4);
}

static void helper_large_on_demand(void) {
  void* p = mi_malloc(100000);
  REQUIRE(p != NULL);
  range_t a = area_of(1);
  CHECK_GE(a.size, 32 * MIB);
  CHECK_GE(os_pages.large_asked, 1);
  if (os_pages.map_count > 0) {
    CHECK_SAME(os_pages.map[0].at, a.start);
    CHECK_EQ(os_pages.map[0].size, a.size);
  } else {
    CHECK_EQ(os_pages.advised, a.size);
  }
  use_and_release(10 * MIB, 0xEE);
  mi_free(p);
}
static void arenas_on_demand_use_large_pages_if_allowed(void) {
  RUN_HELPER(helper_large_on_demand, "MIMALLOC_DISALLOW_OS_ALLOC=0",
             "MIMALLOC_ALLOW_LARGE_OS_PAGES=1", "OS_PAGES_LARGE=0");
  RUN_HELPER(helper_large_on_demand, "MIMALLOC_DISALLOW_OS_ALLOC=0",
             "MIMALLOC_ALLOW_LARGE_OS_PAGES=1", "OS_PAGES_LARGE=10000");
}

/* ---- huge pages ---------------------------------------------------------------------------- */

static void plan_huge(size_t pages) {
  os_pages.active = true;
  os_pages.huge_pages = pages;
}

static size_t binds_to(unsigned node) {
  size_t n = 0;
  for (size_t i = 0; i < os_pages.map_count; i++) n += os_pages.map[i].nodes == 1UL << node;
  return n;
}

static void huge_pages_make_one_arena(void) {
  plan_huge(100);
  size_t commit = commit_now();
  mi_arena_id_t id = 99;
  REQUIRE(mi_reserve_huge_os_pages_at_ex(3, -1, 0, false, &id) == 0);
  CHECK_EQ(id, 1);
  range_t a = area_of(id);
  CHECK_EQ(a.size, 3 * GIB);
  CHECK(is_aligned(a.start, GIB));
  CHECK_EQ(os_pages.map_count, 3);
  for (size_t i = 0; i < os_pages.map_count; i++) {
    CHECK_SAME(os_pages.map[i].at, a.start + i * GIB);
    CHECK_EQ(os_pages.map[i].flags & MAP_NORESERVE, 0);
  }
  CHECK_EQ(os_pages.populated, 3);
  CHECK_EQ(os_pages.binds, 0);
  CHECK_EQ(commit_now() - commit, 3 * GIB);
  for (int i = 0; i < 2; i++) {
    void* p = mi_malloc(20 * MIB);
    REQUIRE(p != NULL && mi_arena_contains(id, p));
    memset(p, 0xEE, 20 * MIB);
    mi_free(p);
    mi_collect(true);
  }
  CHECK_EQ(os_pages.purges, 0);
  char* across = (char*)mi_malloc(2 * GIB); /* larger than an arena block usually is */
  CHECK(across != NULL && mi_arena_contains(id, across + 2 * GIB - 1));
  mi_free(across);
}

static void a_part_of_the_huge_pages_is_kept_and_accounted(void) {
  plan_huge(2);
  print_start();
  size_t mapped = mapped_bytes(), commit = commit_now();
  mi_arena_id_t id = 99;
  REQUIRE(mi_reserve_huge_os_pages_at_ex(6, -1, 0, false, &id) == 0);
  range_t a = area_of(id);
  CHECK_EQ(a.size, 2 * GIB);
  CHECK_EQ(os_pages.huge_asked, 3); /* the third failed, and no other was tried */
  CHECK_EQ(commit_now() - commit, 2 * GIB);
  CHECK_GE(mapped_bytes() - mapped, 2 * GIB);
  /* Plus our metadata; secure builds reserve two bytes for each possible block. */
  CHECK_LE(mapped_bytes() - mapped, 2 * GIB + (MI_TEST_SECURE > 0 ? 640 : 64) * MIB);
  CHECK(is_mapped(a.start + 2 * GIB - 1));
  for (size_t i = 2; i < 6; i++) CHECK(!is_mapped(a.start + i * GIB));
  CHECK(strstr(printed, "2 of 6 huge pages") != NULL);
  void* p = mi_malloc(MIB);
  CHECK(p != NULL && range_has(a, p, MIB));
  mi_free(p);
}

static void without_huge_pages_nothing_is_left_behind(void) {
  plan_huge(0);
  print_start();
  size_t mapped = mapped_bytes();
  mi_arena_id_t id = 99;
  CHECK_EQ(mi_reserve_huge_os_pages_at_ex(4, -1, 0, false, &id), ENOMEM);
  CHECK_EQ(id, 0);
  CHECK_EQ(mi_reserve_huge_os_pages_at(4, 0, 100), ENOMEM);
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(4, 2, 100), ENOMEM);
  size_t reserved = 99;
  CHECK_EQ(mi_reserve_huge_os_pages(4, 0.5, &reserved), ENOMEM);
  CHECK_EQ(reserved, 0);
  CHECK_EQ(mi_reserve_huge_os_pages(4, 0.5, NULL), ENOMEM);
  CHECK_EQ(mapped_bytes(), mapped);
  CHECK_NULL(mi_arena_area(1, NULL));
  CHECK_GE(occurrences(printed, "of 4 huge pages"), 4);
  CHECK_GE(occurrences(printed, "deprecated"), 2);
}

/* A real machine may have huge pages or none; the result must be consistent in both cases. */
static void the_real_system_answers_in_one_piece(void) {
  mi_arena_id_t id = 99;
  int error = mi_reserve_huge_os_pages_at_ex(1, 0, 0, true, &id);
  check_note("one huge page: error %d\n", error);
  CHECK_EQ(error, id != 0 ? 0 : ENOMEM);
  CHECK_EQ(area_of(id).size, id != 0 ? GIB : 0);
  mi_option_enable(mi_option_allow_large_os_pages);
  REQUIRE(mi_reserve_os_memory_ex(4 * MIB, true, true, false, &id) == 0);
  check_note("large pages: %s\n", os_pages.advised == 0 ? "yes" : "no");
  use_and_release(3 * MIB, 1);
}

static void no_huge_page_wanted_is_no_error(void) {
  plan_huge(9);
  mi_arena_id_t id = 99;
  CHECK_EQ(mi_reserve_huge_os_pages_at_ex(0, 3, 7, true, &id), 0);
  CHECK_EQ(id, 0);
  CHECK_EQ(mi_reserve_huge_os_pages_at(0, -1, 0), 0);
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(0, 0, 0), 0);
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(0, 4, 100), 0);
  size_t reserved = 99;
  CHECK_EQ(mi_reserve_huge_os_pages(0, 1, &reserved), 0);
  CHECK_EQ(reserved, 0);
  CHECK_EQ(os_pages.huge_asked, 0);
}

static void more_huge_pages_than_addresses_are_requested(void) {
  static const size_t many[] = {131072, 262144, SIZE_MAX / GIB, SIZE_MAX};
  for (size_t i = 0; i < COUNT_OF(many); i++) {
    plan_huge(2);
    mi_arena_id_t id = 99;
    CHECK_EQ(mi_reserve_huge_os_pages_at_ex(many[i], -1, 0, false, &id), 0);
    CHECK_EQ(area_of(id).size, 2 * GIB);
  }
}

/* A control group may allow fewer pages than the system has set aside. */
static void pages_that_may_not_be_touched_are_not_kept(void) {
  plan_huge(9);
  os_pages.huge_touch = 2;
  mi_arena_id_t id;
  REQUIRE(mi_reserve_huge_os_pages_at_ex(4, -1, 0, false, &id) == 0);
  CHECK_EQ(area_of(id).size, 2 * GIB);
  CHECK(!is_mapped(area_of(id).start + 2 * GIB));
  CHECK(!is_mapped(area_of(id).start + 3 * GIB));
  /* A system without populate: the library assumes that the pages are there. */
  os_pages.old_populate = true;
  REQUIRE(mi_reserve_huge_os_pages_at_ex(4, -1, 0, false, &id) == 0);
  CHECK_EQ(area_of(id).size, 4 * GIB);
}

static void slow_pages_end_with_the_time(void) {
  plan_huge(30);
  os_pages.huge_ms = 60;
  mi_arena_id_t id;
  REQUIRE(mi_reserve_huge_os_pages_at_ex(8, -1, 100, false, &id) == 0);
  CHECK_GE(area_of(id).size, GIB);
  CHECK_LE(area_of(id).size, 2 * GIB);
  CHECK(!is_mapped(area_of(id).start + area_of(id).size));
  REQUIRE(mi_reserve_huge_os_pages_at_ex(4, -1, 1, false, &id) == 0);
  CHECK_EQ(area_of(id).size, GIB);
  REQUIRE(mi_reserve_huge_os_pages_at_ex(4, -1, 0, false, &id) == 0); /* no limit */
  CHECK_EQ(area_of(id).size, 4 * GIB);
  /* If the pages are spread over nodes, each node has its share of the time plus 50 ms. */
  os_pages.huge_ms = 80;
  size_t asked = os_pages.huge_asked;
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(12, 2, 300), 0);
  CHECK_LE(os_pages.huge_asked - asked, 2 * 3);
  asked = os_pages.huge_asked;
  CHECK_EQ(mi_reserve_huge_os_pages(3, 0.0001, NULL), 0); /* a tiny limit is not "no limit" */
  CHECK_EQ(os_pages.huge_asked - asked, 1);
}

/* Another mapping may take the place between the end of our reservation and the page; and a failed
 * mapping may leave a hole. */
static void mappings_of_others_in_a_gap_stay(void) {
  for (int before = 0; before < 2; before++) {
    plan_huge(2);
    os_pages.hole_is_taken = before == 0;
    os_pages.gap_taken = before == 0 ? 0 : 2;
    os_pages.taken_count = 0;
    mi_arena_id_t id;
    REQUIRE(mi_reserve_huge_os_pages_at_ex(4, -1, 0, false, &id) == 0);
    size_t pages = before == 0 ? 2 : 1;
    CHECK_EQ(area_of(id).size, pages * GIB);
    REQUIRE(os_pages.taken_count == 1);
    CHECK_SAME(os_pages.taken[0], area_of(id).start + pages * GIB);
    REQUIRE(is_mapped(os_pages.taken[0]));
    CHECK(all_bytes_are(os_pages.taken[0], OS_PAGE, 0x5A));
    CHECK(!is_mapped(os_pages.taken[0] + OS_PAGE));
    for (size_t i = pages + 1; i < 4; i++) CHECK(!is_mapped(area_of(id).start + i * GIB));
  }
}

/* ---- nodes ---------------------------------------------------------------------------------- */

/* Numbers that are missing, nodes without memory, files that are not there. */
static void nodes_are_counted_by_their_list(void) {
  static const struct {
    const char* nodes;
    const char* online;
    unsigned expected[5]; /* node of each page; 99: not bound */
  } lists[] = {
      {"0\n", NULL, {99, 99, 99, 99, 99}},
      {NULL, NULL, {99, 99, 99, 99, 99}},
      {"\n", "0-3\n", {99, 99, 99, 99, 99}},
      {"none\n", NULL, {99, 99, 99, 99, 99}},
      {"0-1\n", NULL, {0, 0, 0, 1, 1}},
      {NULL, "0-1\n", {0, 0, 0, 1, 1}},
      {"0-1,4\n", "0-5\n", {0, 0, 1, 1, 4}},
      {"2,7\n", NULL, {2, 2, 2, 7, 7}},
      {"0,2,5-7,9\n", NULL, {0, 2, 5, 6, 7}}, /* more nodes than pages */
      {"1-3,junk", NULL, {1, 1, 2, 2, 3}},
      {"3-1", NULL, {99, 99, 99, 99, 99}},
      {"5000-9000000", NULL, {99, 99, 99, 99, 99}},
      {"0-99999999999999999999", NULL, {99, 99, 99, 99, 99}},
  };
  for (size_t i = 0; i < COUNT_OF(lists); i++) {
    plan_huge(5);
    os_pages.nodes = lists[i].nodes;
    os_pages.online = lists[i].online;
    os_pages.map_count = os_pages.binds = 0;
    CHECK_EQ(mi_reserve_huge_os_pages_interleave(5, 0, 0), 0);
    CHECK_EQ(os_pages.map_count, 5);
    for (size_t k = 0; k < os_pages.map_count; k++) {
      unsigned node = lists[i].expected[k];
      if (!CHECK_EQ(os_pages.map[k].nodes, node == 99 ? 0 : 1UL << node))
        check_note("page %zu with nodes %s\n", k, lists[i].nodes);
    }
    CHECK_EQ(os_pages.binds, lists[i].expected[0] == 99 ? 0 : 5);
  }
}

static void pages_are_spread_evenly_over_nodes(void) {
  static const struct {
    size_t pages, nodes;
    size_t arenas[6]; /* pages of each */
  } wanted[] = {
      {6, 3, {2, 2, 2}}, {5, 3, {2, 2, 1}},           {2, 3, {1, 1}}, {7, 1, {7}},
      {3, 0, {2, 1}},    {4, SIZE_MAX, {1, 1, 1, 1}}, {1, 0, {1}},    {6, 4, {2, 2, 1, 1}},
  };
  os_pages.nodes = "0-1\n";
  mi_arena_id_t id = 1;
  for (size_t i = 0; i < COUNT_OF(wanted); i++) {
    plan_huge(wanted[i].pages);
    CHECK_EQ(mi_reserve_huge_os_pages_interleave(wanted[i].pages, wanted[i].nodes, 0), 0);
    CHECK_EQ(os_pages.huge_pages, 0);
    for (size_t k = 0; wanted[i].arenas[k] != 0; k++) {
      if (!CHECK_EQ(area_of(id).size, wanted[i].arenas[k] * GIB)) check_note("row %zu\n", i);
      id++;
    }
    CHECK_NULL(mi_arena_area(id, NULL));
  }
}

static void spreading_ends_with_the_first_node_that_has_none(void) {
  plan_huge(3);
  os_pages.nodes = "0-3\n";
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(8, 0, 0), ENOMEM);
  CHECK_EQ(area_of(1).size, 2 * GIB);
  CHECK_EQ(area_of(2).size, GIB); /* fewer pages than requested are no error */
  CHECK_NULL(mi_arena_area(3, NULL));
  CHECK_EQ(os_pages.huge_asked, 5);
  plan_huge(8);
  size_t reserved = 99;
  CHECK_EQ(mi_reserve_huge_os_pages(8, 100, &reserved), 0);
  CHECK_EQ(reserved, 8);
}

static void a_node_is_taken_modulo_their_number(void) {
  os_pages.nodes = "0,2,4\n";
  static const int wanted[][2] = {{0, 0}, {1, 2}, {2, 4}, {3, 0}, {7, 2}, {INT32_MAX, 2}};
  for (size_t i = 0; i < COUNT_OF(wanted); i++) {
    plan_huge(1);
    os_pages.map_count = 0;
    CHECK_EQ(mi_reserve_huge_os_pages_at(1, wanted[i][0], 0), 0);
    CHECK_EQ(binds_to((unsigned)wanted[i][1]), 1);
  }
  size_t binds = os_pages.binds;
  plan_huge(2);
  CHECK_EQ(mi_reserve_huge_os_pages_at(1, -1, 0), 0);
  CHECK_EQ(mi_reserve_huge_os_pages_at(1, INT32_MIN, 0), 0);
  CHECK_EQ(os_pages.binds, binds);
}

static void the_number_of_nodes_can_be_pretended(void) {
  plan_huge(6);
  os_pages.nodes = "0-1\n";
  print_start();
  mi_option_set(mi_option_use_numa_nodes, 3);
  CHECK_EQ(mi_reserve_huge_os_pages_interleave(6, 0, 0), 0);
  for (mi_arena_id_t id = 1; id <= 3; id++) CHECK_EQ(area_of(id).size, 2 * GIB);
  CHECK_EQ(binds_to(0), 2);
  CHECK_EQ(binds_to(1), 2);
  CHECK_EQ(os_pages.binds, 4); /* there is no third */
  CHECK_EQ(occurrences(printed, "other nodes"), 1);
}

static void a_binding_that_fails_is_a_warning_only(void) {
  plan_huge(4);
  os_pages.nodes = "0-1\n";
  os_pages.bind_error = EPERM;
  print_start();
  mi_arena_id_t id;
  CHECK_EQ(mi_reserve_huge_os_pages_at_ex(2, 1, 0, false, &id), 0);
  CHECK_EQ(area_of(id).size, 2 * GIB);
  CHECK_EQ(occurrences(printed, "other nodes than node 1"), 1);
  os_pages.bind_error = 0;
  CHECK_EQ(mi_reserve_huge_os_pages_at(1, 1, 0), 0);
  CHECK_EQ(occurrences(printed, "other nodes"), 1);
}

static void odd_seconds_are_taken(void) {
  static const double seconds[] = {0, -1, 1e300, 3e6, 0.25};
  for (size_t i = 0; i <= COUNT_OF(seconds); i++) {
    plan_huge(1);
    size_t reserved = 99;
    double s = i == COUNT_OF(seconds) ? (double)NAN : seconds[i];
    CHECK_EQ(mi_reserve_huge_os_pages(1, s, &reserved), 0);
    CHECK_EQ(reserved, 1);
  }
}

/* ---- options that reserve at start ------------------------------------------------------ */

static void helper_start_at_a_node(void) {
  CHECK_EQ(area_of(1).size, 3 * GIB);
  CHECK_EQ(binds_to(4), 3);
  CHECK_EQ(area_of(2).size, 64 * MIB);
  CHECK_EQ(os_pages.large_asked, 1); /* large pages are allowed there */
  CHECK_NULL(mi_arena_area(3, NULL));
  void* p = mi_malloc(10 * MIB);
  CHECK(p != NULL && mi_arena_contains(1, p));
  mi_free(p);
}
static void helper_start_on_all_nodes(void) {
  CHECK_EQ(area_of(1).size, 2 * GIB);
  CHECK_EQ(area_of(2).size, GIB);
  CHECK_EQ(binds_to(0), 2);
  CHECK_EQ(binds_to(4), 1);
  CHECK_NULL(mi_arena_area(3, NULL));
}
static void helper_start_without_any(void) {
  CHECK_NULL(mi_arena_area(1, NULL));
  CHECK_NULL(mi_malloc(100));
}
static void helper_start_with_too_many(void) {
  print_start(); /* and the messages before that */
  CHECK(strstr(printed, "0 of 131072 huge pages") != NULL);
}
static void options_reserve_at_start(void) {
  RUN_HELPER(helper_start_at_a_node, "OS_PAGES_NODES=0,4\n", "OS_PAGES_HUGE=5",
             "MIMALLOC_RESERVE_HUGE_OS_PAGES=3", "MIMALLOC_RESERVE_HUGE_OS_PAGES_AT=1",
             "MIMALLOC_ALLOW_LARGE_OS_PAGES=1", "MIMALLOC_RESERVE_OS_MEMORY=64MiB");
  RUN_HELPER(helper_start_on_all_nodes, "OS_PAGES_NODES=0,4\n", "OS_PAGES_HUGE=5",
             "MIMALLOC_RESERVE_HUGE_OS_PAGES=3");
  RUN_HELPER(helper_start_without_any, "OS_PAGES_HUGE=0", "MIMALLOC_RESERVE_HUGE_OS_PAGES=100");
  RUN_HELPER(helper_start_with_too_many, "OS_PAGES_HUGE=0", "MIMALLOC_SHOW_ERRORS=1",
             "MIMALLOC_RESERVE_HUGE_OS_PAGES=999999999");
  RUN_HELPER(helper_start_without_any, "OS_PAGES_HUGE=5", "MIMALLOC_RESERVE_HUGE_OS_PAGES=-3");
}

static const check_case_t cases[] = {
    CASE(large_pages_are_used_where_there_are_any),
    CASE(large_pages_are_not_used_unasked),
    CASE(without_large_pages_there_is_advice),
    CASE(arenas_on_demand_use_large_pages_if_allowed),
    CASE(huge_pages_make_one_arena),
    CASE(a_part_of_the_huge_pages_is_kept_and_accounted),
    CASE(without_huge_pages_nothing_is_left_behind),
    CASE(the_real_system_answers_in_one_piece),
    CASE(no_huge_page_wanted_is_no_error),
    CASE(more_huge_pages_than_addresses_are_requested),
    CASE(pages_that_may_not_be_touched_are_not_kept),
    CASE(slow_pages_end_with_the_time),
    CASE(mappings_of_others_in_a_gap_stay),
    CASE(nodes_are_counted_by_their_list),
    CASE(pages_are_spread_evenly_over_nodes),
    CASE(spreading_ends_with_the_first_node_that_has_none),
    CASE(a_node_is_taken_modulo_their_number),
    CASE(the_number_of_nodes_can_be_pretended),
    CASE(a_binding_that_fails_is_a_warning_only),
    CASE(odd_seconds_are_taken),
    CASE(options_reserve_at_start),
};
static const check_case_t helpers[] = {
    CASE(helper_large_on_demand),     CASE(helper_start_at_a_node),
    CASE(helper_start_on_all_nodes),  CASE(helper_start_without_any),
    CASE(helper_start_with_too_many),
};

int main(int argc, char** argv) {
  return arenas_main(argc, argv, cases, COUNT_OF(cases), helpers, COUNT_OF(helpers));
}
