/* report.c - statistics as text, and what runs at the start and the end of the process.
 *
 * Owns:    the flag that the end of the process was handled.
 * Always:  all numbers of a report are gathered before its first line is printed: the output
 *          function may allocate, free, and request statistics itself.
 * Threads: any.
 */
#include "../memory/slice_reuse.h"
#include "stats.h"
#include "../runtime/log.h"
#include "../memory/meta.h"
#include "../runtime/options.h"
#include "../heap/keep.h"
#include "../thread/purger.h"
#include "../thread/init.h"
#include "../base/checker.h"
#include "../thread/heap_registry.h"
#include "../memory/arena_reserve.h"
#include <stdio.h>

void mi_options_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept {
  mi_process_init();
  log_print(out, arg,
            "mimalloc: version %d, release %d, debug level %d, secure level %d, override %d\n",
            mi_version(), mi_release(), MI_DEBUG, MI_SECURE, MI_MALLOC_OVERRIDE);
  options_print(out, arg);
}
void mi_options_print(void) mi_attr_noexcept { mi_options_print_out(NULL, NULL); }

/* ---- rows and lines ---- */

#define CELL 24 /* room for any number with its unit */

/* Like "12.3 MiB". */
static const char* bytes_text(char* text, int64_t bytes) {
  static const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  unsigned long long whole = bytes < 0 ? 0 : (unsigned long long)bytes, rest = 0;
  size_t unit = 0;
  for (; whole >= 1024; unit++) {
    rest = whole % 1024;
    whole /= 1024;
  }
  if (unit == 0)
    format_text(text, CELL, "%llu B", whole);
  else
    format_text(text, CELL, "%llu.%llu %s", whole, rest * 10 / 1024, units[unit]);
  return text;
}

static const char* number_text(char* text, int64_t number) {
  format_text(text, CELL, "%lld", (long long)number);
  return text;
}

static const char* seconds_text(char* text, size_t ms) {
  format_text(text, CELL, "%zu.%zu%zu s", ms / 1000, ms / 100 % 10, ms / 10 % 10);
  return text;
}

typedef struct sink_s {
  mi_output_fun* out;
  void* arg;
} sink_t;

static void print_row(const sink_t* to, const char* name, const char* current, const char* peak,
                      const char* total, const char* number) {
  char row[6 * CELL];
  size_t n =
      format_text(row, sizeof(row), "%-20s%12s%12s%12s%14s", name, current, peak, total, number);
  while (n > 0 && row[n - 1] == ' ') row[--n] = 0; /* where the last columns are empty */
  log_print(to->out, to->arg, "%s\n", row);
}

typedef const char* cell_fun(char* text, int64_t number);

/* `number` (may be NULL) goes into the last column, as it is. */
static void print_count(const sink_t* to, const char* name, cell_fun* cell,
                        const mi_stat_count_t* c, const int64_t* number) {
  char current[CELL], peak[CELL], total[CELL], last[CELL] = "";
  if (number != NULL) number_text(last, *number);
  print_row(to, name, cell(current, c->current), cell(peak, c->peak), cell(total, c->total), last);
}

/* A line without columns; `text` stands in the first one. */
static void print_line(const sink_t* to, const char* name, const char* text) {
  log_print(to->out, to->arg, "%-20s%12s\n", name, text);
}
static void print_number(const sink_t* to, const char* name, size_t number) {
  char text[CELL];
  print_line(to, name, number_text(text, (int64_t)number));
}

/* ---- statistics ---- */

static void print_blocks(const sink_t* to, const char* what, const mi_stats_t* s) {
  print_row(to, what, "current", "peak", "total", "allocations");
  print_count(to, "small blocks:", &bytes_text, &s->malloc_normal, &s->malloc_normal_count.total);
  print_count(to, "large blocks:", &bytes_text, &s->malloc_huge, &s->malloc_huge_count.total);
  print_count(to, "pages:", &number_text, &s->pages, NULL);
  print_count(to, "in pages:", &bytes_text, &s->page_committed, NULL);
}

/* Blocks by size, where there were any; only with the option verbose. */
static void print_bins(const sink_t* to, const mi_stats_t* s) {
  if (option_value(mi_option_verbose) == 0) return;
  print_row(to, "blocks of size", "current", "peak", "total", "pages");
  for (size_t bin = 0; bin <= MI_BIN_HUGE; bin++) {
    const mi_stat_count_t* blocks = &s->malloc_bins[bin];
    char name[CELL] = "  large:";
    if (blocks->total == 0 && blocks->current == 0) continue;
    if (bin != MI_BIN_HUGE) format_text(name, CELL, "  %zu:", mi_stats_get_bin_size(bin));
    print_count(to, name, &number_text, blocks, &s->page_bins[bin].current);
  }
}

static void print_process(const sink_t* to, const process_info_t* p) {
  char text[CELL], peak[CELL];
  print_row(to, "resident:", bytes_text(text, (int64_t)p->os.rss),
            bytes_text(peak, (int64_t)p->os.peak_rss), "", "");
  print_number(to, "page faults:", p->os.page_faults);
  print_line(to, "elapsed:", seconds_text(text, p->elapsed_ms));
  print_line(to, "user:", seconds_text(text, p->os.user_ms));
  print_line(to, "system:", seconds_text(text, p->os.system_ms));
}

void mi_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept {
  sink_t to = {out, arg};
  char text[CELL];
  mi_stats_t_decl(s);
  thread_stats_t threads;
  arena_stats_t arenas;
  process_info_t process;
  (void)mi_stats_get(&s);
  thread_stats(&threads);
  arena_stats(&arenas);
  stats_process_info(&process);
  keep_stats_t keep;
  keep_stats(&keep);
  size_t metadata = meta_resident();
  print_blocks(&to, "process", &s);
  print_count(&to, "abandoned pages:", &number_text, &s.pages_abandoned, NULL);
  print_count(&to, "committed:", &bytes_text, &s.committed, NULL);
  print_count(&to, "reserved:", &bytes_text, &s.reserved, NULL);
  print_count(&to, "threads:", &number_text, &s.threads, NULL);
  print_bins(&to, &s);
  print_number(
      &to, "allocations:", (size_t)s.malloc_normal_count.total + (size_t)s.malloc_huge_count.total);
  print_number(&to, "heaps:", threads.heaps);
  print_number(&to, "heaps lost to fork:", threads.heaps_lost);
  print_number(&to, "arenas:", arenas.arenas);
  print_number(&to, "purges:", (size_t)s.purge_calls.total);
  print_line(&to, "purged:", bytes_text(text, s.purged.total));
  format_text(text, CELL, "%zu bytes", metadata);
  print_line(&to, "metadata:", text);
  print_line(&to, "heaps keep:", bytes_text(text, (int64_t)keep.credits));
  print_line(&to, "heaps may keep:", bytes_text(text, (int64_t)keep.allowance));
  print_process(&to, &process);
}

/* Old programs pass stdout or stderr for the default output. */
void mi_stats_print(void* out) mi_attr_noexcept {
  if (out == (void*)stdout || out == (void*)stderr) out = NULL;
  mi_stats_print_out((mi_output_fun*)(uintptr_t)out, NULL);
}

static void print_heaps(const sink_t* to, const char* what, const mi_stats_t* s) {
  print_blocks(to, what, s);
  print_bins(to, s);
}

void mi_thread_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept {
  sink_t to = {out, arg};
  mi_stats_t s;
  stats_of_thread(&s);
  print_heaps(&to, "thread", &s);
}

void mi_heap_stats_print_out(mi_heap_t* heap, mi_output_fun* out, void* arg) mi_attr_noexcept {
  sink_t to = {out, arg};
  mi_stats_t_decl(s);
  if (mi_heap_stats_get(heap, &s)) print_heaps(&to, "heap", &s);
}

/* ---- the process ---- */

void mi_process_info(size_t* elapsed_msecs, size_t* user_msecs, size_t* system_msecs,
                     size_t* current_rss, size_t* peak_rss, size_t* current_commit,
                     size_t* peak_commit, size_t* page_faults) mi_attr_noexcept {
  process_info_t p;
  stats_process_info(&p);
  if (elapsed_msecs != NULL) *elapsed_msecs = p.elapsed_ms;
  if (user_msecs != NULL) *user_msecs = p.os.user_ms;
  if (system_msecs != NULL) *system_msecs = p.os.system_ms;
  if (current_rss != NULL) *current_rss = p.os.rss;
  if (peak_rss != NULL) *peak_rss = p.os.peak_rss;
  if (current_commit != NULL) *current_commit = p.commit;
  if (peak_commit != NULL) *peak_commit = p.peak_commit;
  if (page_faults != NULL) *page_faults = p.os.page_faults;
}

void mi_process_info_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept {
  sink_t to = {out, arg};
  char text[CELL], peak[CELL];
  process_info_t p;
  stats_process_info(&p);
  print_row(&to, "process", "current", "peak", "", "");
  print_row(&to, "committed:", bytes_text(text, (int64_t)p.commit),
            bytes_text(peak, (int64_t)p.peak_commit), "", "");
  print_process(&to, &p);
}
void mi_process_info_print(void) mi_attr_noexcept { mi_process_info_print_out(NULL, NULL); }

OS_AT_START(process_begin) {
  os_at_unload(&process_unload); /* before other code registers exit handlers, see os.h */
  mi_process_init();
  if (option_value(mi_option_verbose) != 0) mi_options_print();
}

/* ---- blocks in use at the end ---- */

typedef struct leaks_s {
  long lines; /* left to print */
  size_t blocks, bytes;
} leaks_t;

#define SHOWN_BYTES 16

static bool count_leak(const mi_heap_t* heap, const mi_heap_area_t* area, void* block, size_t size,
                       void* arg) {
  leaks_t* leaks = arg;
  (void)heap, (void)area;
  if (block == NULL) return true;
  leaks->blocks++;
  leaks->bytes += size;
  if (leaks->lines-- <= 0) return leaks->lines = 0, true;
  char text[SHOWN_BYTES + 1] = "";
  track_enter();
  track_open(block, SHOWN_BYTES);
  for (size_t i = 0; i < SHOWN_BYTES && size >= SHOWN_BYTES; i++) { /* size 0: inaccessible */
    char c = ((const char*)block)[i];
    text[i] = c >= ' ' && c <= '~' ? c : '.';
  }
  track_leave();
  log_print(NULL, NULL, "mimalloc: in use at exit: %p, %zu bytes: %s\n", block, size, text);
  return true;
}

/* Prints blocks of the calling thread and of ended threads. */
static void print_leaks(void) {
  leaks_t leaks = {option_value(mi_option_show_leaks), 0, 0};
  if (leaks.lines == 0) return;
  heap_t* backing = thread_backing();
  if (backing == NULL) return;
  FOR_HEAPS_OF(backing, h) mi_heap_visit_blocks(h, true, &count_leak, &leaks);
  mi_abandoned_visit_blocks(NULL, -1, true, &count_leak, &leaks);
  log_print(NULL, NULL, "mimalloc: in use at exit: %zu blocks, %zu bytes\n", leaks.blocks,
            leaks.bytes);
}

/* Returns unused memory to the OS at once. Blocks in use and heap structs stay: destructors of
 * other libraries may follow, which own blocks and allocate more, and other threads may run. */
static void release_unused(void) {
  if (heap_is_real(heap_default)) {
    heap_t* backing = heap_backing(heap_default);
    heap_enter(backing);
    heap_collect(backing);
    heap_leave(backing);
  }
  arena_purge_due(true);
}

static _Atomic(int) process_is_done;

/* Allocation still works after this. */
void mi_process_done(void) mi_attr_noexcept {
  mi_process_init();
  if (or_relaxed(&process_is_done, 1) != 0) return; /* relaxed: only one thread gets the 0 */
  purger_forbid(PURGER_WAIT_MS);
  slices_report();
  if (MI_DEBUG > 0 && !MI_SKIP_COLLECT_ON_EXIT) mi_collect(true);
  print_leaks();
  if (option_value(mi_option_show_stats) != 0 || option_value(mi_option_verbose) != 0)
    mi_stats_print_out(NULL, NULL);
  if (option_value(mi_option_destroy_on_exit) != 0) release_unused();
}

OS_AT_END(process_end) {
  os_image_ends();
  if (option_value(mi_option_destroy_on_exit) <= 1) mi_process_done();
}
