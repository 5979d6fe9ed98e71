/* stats_json.c - the statistics as JSON: valid, whole or not at all, and with all figures.
 */
#include "json.h"
#include "probe.h"
#include <mimalloc-stats.h>
#include <mimalloc.h>

static mi_stats_t stats_now(void) {
  mi_stats_t_decl(stats);
  REQUIRE(mi_stats_get(&stats));
  return stats;
}

/* ---- JSON ---- */

static void checker_of_json_finds_faults(void) {
  CHECK(is_json("{}"));
  CHECK(is_json("{ \"a\": [ { \"b\": -1 }, 20, \"c\" ], \"d\": { } }\n"));
  static const char* const wrong[] = {"",
                                      "[]",
                                      "{",
                                      "{ \"a\" }",
                                      "{ \"a\": 1, }",
                                      "{ \"a\": }",
                                      "{} {}",
                                      "{ \"a\": 01 }",
                                      "{ a: 1 }",
                                      "{ \"a\": [1 2] }",
                                      "{ \"a\": - }",
                                      "{ \"a\": [1 }",
                                      "{ \"a\": 1",
                                      "{ \"a\": 1 \"b\": 2 }",
                                      "{ \"a: 1 }",
                                      "{ \"a\": 1.}"};
  for (size_t i = 0; i < COUNT_OF(wrong); i++)
    if (is_json(wrong[i])) check_fail("taken for JSON: %s\n", wrong[i]);
}

static void json_has_all_figures_of_the_struct(void) {
  void* kept = mi_malloc(100000);
  mi_stats_t stats = stats_now();
  char* text = mi_stats_as_json(&stats, 0, NULL);
  REQUIRE(text != NULL);
  CHECK(is_json(text));
  CHECK_EQ(json_find(text, NULL, "stat_version"), MI_STAT_VERSION);
  CHECK_EQ(json_find(text, NULL, "mimalloc_version"), MI_MALLOC_VERSION);
  static const char* const process[] = {"elapsed_msecs",  "user_msecs",  "system_msecs",
                                        "page_faults",    "rss_current", "rss_peak",
                                        "commit_current", "commit_peak"};
  for (size_t i = 0; i < COUNT_OF(process); i++)
    CHECK_GE(json_find(text, "process", process[i]), 0);
  CHECK_GE(json_find(text, "process", "rss_peak"), json_find(text, "process", "rss_current"));
  CHECK_GE(json_find(text, "process", "rss_current"), (long long)(100 * KIB));
#define MI_STAT_COUNT(name)                                                                        \
  CHECK_EQ(json_find(text, #name, "total"), stats.name.total);                                     \
  CHECK_EQ(json_find(text, #name, "peak"), stats.name.peak);                                       \
  CHECK_EQ(json_find(text, #name, "current"), stats.name.current);
#define MI_STAT_COUNTER(name) CHECK_EQ(json_find(text, NULL, #name), stats.name.total);
  MI_STAT_FIELDS()
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER
  const char* at = strstr(text, "\"malloc_bins\": ");
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    at = strchr(at + 1, '{');
    REQUIRE(at != NULL);
    CHECK_EQ(json_find(at, NULL, "total"), stats.malloc_bins[bin].total);
    CHECK_EQ(json_find(at, NULL, "peak"), stats.malloc_bins[bin].peak);
    CHECK_EQ(json_find(at, NULL, "current"), stats.malloc_bins[bin].current);
    CHECK_EQ(json_find(at, NULL, "block_size"), mi_stats_get_bin_size(bin));
    size_t size = mi_stats_get_bin_size(bin);
    size_t page_size = size > 64 * KIB ? 0 : 64 * KIB; /* more than one slice above 8 KiB */
    while (page_size > 0 && page_size < 8 * size) page_size *= 2;
    CHECK_EQ(json_find(at, NULL, "page_size"), page_size);
  }
  at = strstr(text, "\"page_bins\": ");
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    at = strchr(at + 1, '{');
    REQUIRE(at != NULL);
    CHECK_EQ(json_find(at, NULL, "current"), stats.page_bins[bin].current);
  }
  CHECK_NULL(strchr(at + 1, '{'));
  mi_free(text);
  mi_free(kept);
  text = mi_stats_get_json(0, NULL);
  CHECK(text != NULL && is_json(text));
  mi_free(text);
  text = mi_heap_stats_get_json(NULL, 0, NULL);
  CHECK(text != NULL && is_json(text));
  mi_free(text);
}

/* Any numbers give valid text: the program fills the struct. */
static void json_of_a_struct_with_extreme_numbers_is_valid(void) {
  for (int fill = 0; fill < 2; fill++) {
    mi_stats_t stats;
    memset(&stats, fill == 0 ? 0x80 : 0x7F, sizeof stats);
    mi_stats_header_init(&stats);
    char* text = mi_stats_as_json(&stats, 0, NULL);
    REQUIRE(text != NULL);
    CHECK(is_json(text));
    CHECK_EQ(json_find(text, "pages", "peak"), stats.pages.peak);
    CHECK_EQ(json_find(text, NULL, "pages_retire"), stats.pages_retire.total);
    mi_free(text);
  }
}

/* Writes all or nothing, and no byte after the buffer. The length changes from call to call,
 * because the elapsed time is part of the text. */
static void json_goes_into_a_buffer_whole_or_not_at_all(void) {
  enum { SLACK = 64, GUARD = 16 };
  static char buf[64 * KIB];
  mi_stats_t stats = stats_now();
  char* text = mi_stats_as_json(&stats, 0, NULL);
  REQUIRE(text != NULL);
  size_t length = strlen(text), given = 0;
  mi_free(text);
  REQUIRE(length + SLACK + GUARD < sizeof buf);
  /* Sanitizers are too slow for all of them. */
  size_t stride = RSS_IS_MEANINGFUL ? 1 : 97;
  for (size_t size = 0; size <= length + SLACK; size++) {
    if (size > 200 && size + 2 * SLACK < length && size % stride != 0) continue;
    memset(buf, 0x5A, size + GUARD);
    char* got = mi_stats_as_json(&stats, size, buf);
    if (got == NULL) {
      CHECK_LE(size, length + SLACK / 2);
      CHECK(all_bytes_are(buf, size + GUARD, 0x5A));
    } else {
      given++;
      CHECK_SAME(got, buf);
      CHECK_GE(size + SLACK, length);
      CHECK_LE(strlen(buf), size - 1);
      CHECK(all_bytes_are(buf + size, GUARD, 0x5A));
      CHECK(is_json(buf));
    }
  }
  CHECK_GE(given, SLACK / 2);
  CHECK_LE(given, 2 * SLACK);
  CHECK_NULL(mi_stats_get_json(0, buf));
  CHECK_NULL(mi_stats_get_json(100, buf));
  CHECK_SAME(mi_stats_get_json(sizeof buf, buf), buf);
  CHECK(is_json(buf));
  CHECK_NULL(mi_heap_stats_get_json(NULL, 100, buf));
  CHECK_SAME(mi_heap_stats_get_json(NULL, sizeof buf, buf), buf);
  CHECK(is_json(buf));
}

/* Python as an independent reader. */
static void json_is_read_by_python(void) {
  if (system("python3 -c pass 2>/dev/null") != 0) {
    check_note("python3 is not there\n");
    return;
  }
  static const char script[] =
      "python3 -c 'import json, sys; j = json.load(sys.stdin); "
      "assert len(j[\"malloc_bins\"]) == 74 and len(j[\"page_bins\"]) == 74, len(j); "
      "assert j[\"malloc_normal\"][\"current\"] >= 5000, j[\"malloc_normal\"]; "
      "assert all(set(b) == {\"total\", \"peak\", \"current\", \"block_size\", \"page_size\"} "
      "for b in j[\"malloc_bins\"] + j[\"page_bins\"]); "
      "assert len(j[\"process\"]) == 8 and len(j) == 3 + 33 + 2, list(j)'";
  void* kept = mi_malloc(5000);
  char* text = mi_stats_get_json(0, NULL);
  REQUIRE(text != NULL);
  FILE* python = popen(script, "w");
  REQUIRE(python != NULL);
  CHECK_EQ(fwrite(text, 1, strlen(text), python), strlen(text));
  CHECK_EQ(pclose(python), 0);
  mi_free(text);
  mi_free(kept);
}

static const check_case_t cases[] = {
    CASE(checker_of_json_finds_faults),
    CASE(json_has_all_figures_of_the_struct),
    CASE(json_of_a_struct_with_extreme_numbers_is_valid),
    CASE(json_goes_into_a_buffer_whole_or_not_at_all),
    CASE(json_is_read_by_python),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
