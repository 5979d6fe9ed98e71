/* report.c - what we tell about ourselves.
 *
 * Owns:    nothing.
 * Threads: any.
 * Uses:    every room's statistics, log.h.          Used by: the program; start and end of it.
 */
#include "arena.h"
#include "large.h"
#include "log.h"
#include "meta.h"
#include "options.h"
#include "os/os.h"
#include "thread.h"

int mi_version(void) mi_attr_noexcept { return MI_MALLOC_VERSION; }

/* Version, build and options. */
static void report_build(mi_output_fun* out, void* arg) {
  log_print(out, arg, "mimalloc: version %d, debug level %d, override %d\n", MI_MALLOC_VERSION,
            MI_DEBUG, MI_MALLOC_OVERRIDE);
  options_print(out, arg);
}

static void line(mi_output_fun* out, void* arg, const char* name, size_t value, const char* unit) {
  log_print(out, arg, "%s: %zu%s%s\n", name, value, *unit != 0 ? " " : "", unit);
}

void mi_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept {
  arena_stats_t arenas;
  thread_stats_t threads;
  large_stats_t direct;
  os_process_t process;
  arena_stats(&arenas);
  thread_stats(&threads);
  large_stats(&direct);
  os_process(&process);
  size_t allocations = threads.large;
  for (size_t class = 0; class < CLASS_COUNT; class ++) allocations += threads.detached[class];
  line(out, arg, "allocations", allocations, "");
  line(out, arg, "large allocations", threads.large, "");
  line(out, arg, "threads", threads.threads, "");
  line(out, arg, "heaps lost to fork", threads.heaps_lost, "");
  line(out, arg, "arenas", arenas.arenas, "");
  line(out, arg, "reserved", arenas.reserved + direct.reserved, "bytes");
  line(out, arg, "committed", arenas.committed + direct.reserved, "bytes");
  line(out, arg, "in use", arenas.in_use + direct.reserved, "bytes");
  line(out, arg, "purges", arenas.purges, "");
  line(out, arg, "purged", arenas.purged, "bytes");
  line(out, arg, "metadata", meta_resident(), "bytes");
  line(out, arg, "resident", process.rss, "bytes");
  line(out, arg, "peak resident", process.peak_rss, "bytes");
  line(out, arg, "page faults", process.page_faults, "");
  log_print(out, arg, "processor: %zu ms user, %zu ms system\n", process.user_ms,
            process.system_ms);
}

void mi_process_info(size_t* elapsed_msecs, size_t* user_msecs, size_t* system_msecs,
                     size_t* current_rss, size_t* peak_rss, size_t* current_commit,
                     size_t* peak_commit, size_t* page_faults) mi_attr_noexcept {
  mi_process_init();
  os_process_t process;
  arena_stats_t arenas;
  large_stats_t direct;
  os_process(&process);
  arena_stats(&arenas);
  large_stats(&direct);
  size_t commit = arenas.committed + direct.reserved;
  if (elapsed_msecs != NULL) *elapsed_msecs = (size_t)(os_clock_ms() - process_started_ms());
  if (user_msecs != NULL) *user_msecs = process.user_ms;
  if (system_msecs != NULL) *system_msecs = process.system_ms;
  if (current_rss != NULL) *current_rss = process.rss;
  if (peak_rss != NULL) *peak_rss = process.peak_rss;
  if (current_commit != NULL) *current_commit = commit;
  if (peak_commit != NULL) *peak_commit = max_size(commit, process.peak_rss);
  if (page_faults != NULL) *page_faults = process.page_faults;
}

/* ---- start and end of the process ---- */

/* As early as a library may: fork handlers of others then run inside ours. */
static void __attribute__((constructor(101))) process_begin(void) {
  mi_process_init();
  if (option_value(mi_option_verbose) != 0) report_build(NULL, NULL);
}

/* Allocation goes on after this: destructors of others may follow. */
static void __attribute__((destructor)) process_end(void) {
  heap_t* heap = heap_default;
#if MI_DEBUG > 0 && !MI_SKIP_COLLECT_ON_EXIT
  mi_collect(true);
#endif
  if (option_value(mi_option_show_stats) == 0 && option_value(mi_option_verbose) == 0) return;
  if (heap_is_real(heap)) { /* exact counts need the detached lists put back */
    heap_enter(heap);
    heap_return_lists(heap);
    heap_leave(heap);
  }
  mi_stats_print_out(NULL, NULL);
}
