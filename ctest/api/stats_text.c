/* stats_text.c - the statistics as text: the tables of the process, of threads and of heaps, in
 * whole units, and to which function they go.
 */
#include "arena_blocks.h"
#include "json.h"
#include "printed.h"
#include "probe.h"
#include "text_page.h"
#include <mimalloc-stats.h>

/* ---- text ---- */

static bool has_line(const char* name) {
  size_t length = strlen(name);
  for (const char* at = page.text; (at = strstr(at, name)) != NULL; at += length)
    if (at == page.text || at[-1] == '\n') return true;
  return false;
}

static void check_lines(const char* const* names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!has_line(names[i])) check_fail("no line %s in\n%s", names[i], page.text);
  CHECK(page.used > 0 && page.text[page.used - 1] == '\n');
  CHECK_NULL(strstr(page.text, " \n"));
}

static void statistics_of_the_process_are_a_table(void) {
  static const char* const names[] = {
      "process ",          "small blocks: ", "large blocks: ",  "pages: ",    "in pages: ",
      "abandoned pages: ", "committed: ",    "reserved: ",      "threads: ",  "heaps: ",
      "arenas: ",          "allocations: ",  "metadata: ",      "resident: ", "page faults: ",
      "purged: ",          "heaps keep: ",   "heaps may keep: "};
  void* kept = mi_malloc(40 * MIB);
  mi_stats_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  CHECK_NULL(strstr(page.text, "blocks of size"));
  mi_free(kept);
  /* Sizes are listed only with the option verbose. */
  page.used = 0;
  mi_option_set(mi_option_verbose, 1);
  kept = mi_malloc(3000);
  mi_stats_print_out(&on_text, &page);
  CHECK(has_line("blocks of size "));
  CHECK(has_line("  3072: "));
  mi_free(kept);
  mi_option_set(mi_option_verbose, 0);
}

static void statistics_of_threads_and_heaps_are_a_table(void) {
  static const char* const names[] = {"small blocks: ", "large blocks: ", "pages: ", "in pages: "};
  void* kept = mi_malloc(40 * MIB);
  mi_thread_stats_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(has_line("thread "));
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  page.used = 0;
  mi_heap_t* heap = mi_heap_new();
  mi_heap_stats_print_out(heap, &on_text, &page);
  check_lines(names, COUNT_OF(names));
  CHECK(has_line("heap "));
  CHECK_NULL(strstr(page.text, "40.0 MiB"));
  page.used = 0;
  mi_heap_stats_print_out(NULL, &on_text, &page);
  CHECK(strstr(page.text, "40.0 MiB") != NULL);
  mi_heap_delete(heap);
  mi_free(kept);
}

static void* print_without_a_heap(void* arg) {
  mi_thread_stats_print_out(&on_text, arg);
  return NULL;
}

static void thread_that_never_allocated_has_nothing(void) {
#if !defined(MI_TEST_OVERRIDE)
  void* kept = mi_malloc(40 * MIB);
  thread_join(thread_start(&print_without_a_heap, &page));
  CHECK(has_line("small blocks:                0 B"));
  CHECK(has_line("large blocks:                0 B"));
  mi_free(kept);
#else
  thread_join(thread_start(&print_without_a_heap, &page)); /* the start of a thread allocates */
  CHECK(has_line("small blocks: "));
#endif
}

static void on_text_without_argument(const char* message, void* arg) {
  CHECK_NULL(arg);
  on_text(message, &page);
}

static void old_form_takes_a_function_or_a_handle(void) {
  mi_register_output(&on_text, &page);
  page.used = 0;
  mi_stats_print(NULL);
  CHECK(has_line("small blocks: "));
  page.used = 0;
  mi_stats_print(stdout);
  CHECK(has_line("small blocks: "));
  page.used = 0;
  mi_stats_print(stderr);
  CHECK(has_line("small blocks: "));
  mi_register_output(NULL, NULL);
  page.used = 0;
  mi_stats_print((void*)(uintptr_t)&on_text_without_argument);
  CHECK(has_line("small blocks: "));
}

static void options_and_process_are_printed(void) {
  static const char* const names[] = {
      "process ", "committed: ", "resident: ", "page faults: ", "elapsed: ", "user: ", "system: "};
  char first[200];
  mi_options_print_out(&on_text, &page);
  snprintf(first, sizeof first, "mimalloc: version %d, release %d, debug level ", MI_MALLOC_VERSION,
           mi_release());
  CHECK_EQ(strncmp(page.text, first, strlen(first)), 0);
  char* end = strchr(page.text, '\n');
  REQUIRE(end != NULL);
  *end = 0;
  CHECK(strstr(page.text, ", secure level ") != NULL);
#if defined(MI_TEST_OVERRIDE)
  CHECK(strstr(page.text, ", override 1") != NULL);
#else
  CHECK(strstr(page.text, ", override 0") != NULL);
#endif
  *end = '\n';
  CHECK(has_line("mimalloc: option purge_delay: "));
  size_t length = page.used;
  mi_register_output(&on_text, &page);
  page.used = 0;
  mi_options_print();
  CHECK_EQ(page.used, length);
  page.used = 0;
  mi_process_info_print();
  check_lines(names, COUNT_OF(names));
  mi_register_output(NULL, NULL);
  page.used = 0;
  mi_process_info_print_out(&on_text, &page);
  check_lines(names, COUNT_OF(names));
}

/* An output function that does everything a program may do, during a report. */
static size_t busy_calls;

static void on_text_busy(const char* message, void* arg) {
  void** held = (void**)arg;
  mi_stats_t_decl(stats);
  REQUIRE(message[0] != 0);
  for (size_t i = 0; i < 64; i++) {
    mi_free(held[i]);
    held[i] = mi_malloc((busy_calls * 977 + i * 131) % 200000);
    REQUIRE(held[i] != NULL);
  }
  CHECK(mi_stats_get(&stats));
  mi_free(mi_stats_get_json(0, NULL));
  mi_stats_print_out(&on_text_busy, arg); /* inside an output function nothing is printed */
  mi_stats_merge();
  if (busy_calls++ % 4 == 0) mi_stats_reset();
  mi_collect(busy_calls % 5 == 0);
}

static void output_function_may_allocate_and_ask(void) {
  static void* held[64];
  mi_option_set(mi_option_verbose, 1);
  for (int i = 0; i < 5; i++) mi_stats_print_out(&on_text_busy, held);
  CHECK_GE(busy_calls, 5 * 16);
  CHECK_LE(busy_calls, 5 * 100);
  mi_thread_stats_print_out(&on_text_busy, held);
  mi_heap_stats_print_out(NULL, &on_text_busy, held);
  mi_process_info_print_out(&on_text_busy, held);
  for (size_t i = 0; i < COUNT_OF(held); i++) mi_free(held[i]);
  mi_option_set(mi_option_verbose, 0);
}

/* ---- messages ------------------------------------------------------------------------------- */

/* report-unit-too-small */
static void whole_units_are_printed_in_that_unit(void) {
  allow_os();
  mi_heap_t* heap = mi_heap_new();
  REQUIRE(heap != NULL && mi_heap_malloc(heap, MIB) != NULL);
  print_start();
  mi_heap_stats_print_out(heap, &print_collect, NULL);
  char* row = strstr(printed, "large blocks:");
  REQUIRE(row != NULL);
  *strchr(row, '\n') = 0;
  CHECK_EQ(occurrences(row, "1.0 MiB"), 3);
  mi_heap_destroy(heap);
}

static const check_case_t cases[] = {
    CASE(statistics_of_the_process_are_a_table),
    CASE(statistics_of_threads_and_heaps_are_a_table),
    CASE(thread_that_never_allocated_has_nothing),
    CASE(old_form_takes_a_function_or_a_handle),
    CASE(options_and_process_are_printed),
    CASE(output_function_may_allocate_and_ask),
    CASE(whole_units_are_printed_in_that_unit),
};

int main(int argc, char** argv) { return CHECK_MAIN(argc, argv, cases); }
