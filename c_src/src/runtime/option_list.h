/* option_list.h - all options: name, default, range, flags, names in other versions.
 *
 * OPTION(name, NAME, default, least, largest, flags, legacy name or NULL, another or NULL)
 *
 * The defaults are those of 2.1.7, and of the later version that added the option. A build may set
 * each of them with -DMI_DEFAULT_<NAME>=value, a number in the unit that docs/guide.md names.
 * docs/guide.md says what the values mean and which options have an effect. An option is CLAMPED if
 * the interface documents that, or if all negative numbers mean the same. 3.4.3 reads
 * abandoned_reclaim_on_free as page_reclaim_on_free. Here it is no legacy name, because it is the
 * name of another option.
 */
#pragma once

#include "../base/base.h"

enum {
  CLAMPED = 1, /* a number out of range becomes the nearest number in range */
  KIB = 2,     /* counts KiB; a text gives a size in bytes or with a unit */
  OR_ZERO = 4  /* 0 is allowed besides the range */
};

#define ANY_MIN LONG_MIN

#define ANY_MAX LONG_MAX

#define KIB_MAX (ALLOC_MAX / KiB < LONG_MAX ? (long)(ALLOC_MAX / KiB) : LONG_MAX)

#define ON_64(wide, narrow) (UINTPTR_MAX > UINT32_MAX ? (wide) : (narrow)) /* by pointers */

/* clang-format off */
#define OPTION_LIST(OPTION) \
  OPTION(show_errors, SHOW_ERRORS, MI_SHOW_ERRORS || MI_DEBUG > 0, 0, 1, 0, NULL, NULL) \
  OPTION(show_stats, SHOW_STATS, 0, 0, 1, 0, NULL, NULL) \
  OPTION(verbose, VERBOSE, 0, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(eager_commit, EAGER_COMMIT, 1, 0, 1, 0, "deprecated_eager_commit", NULL) \
  OPTION(arena_eager_commit, ARENA_EAGER_COMMIT, 2, 0, 2, 0, "eager_region_commit", NULL) \
  OPTION(purge_decommits, PURGE_DECOMMITS, 1, 0, 1, 0, "reset_decommits", NULL) \
  OPTION(allow_large_os_pages, ALLOW_LARGE_OS_PAGES, 0, 0, 1, 0, "large_os_pages", NULL) \
  OPTION(reserve_huge_os_pages, RESERVE_HUGE_OS_PAGES, 0, 0, 131072, CLAMPED, NULL, NULL) \
  OPTION(reserve_huge_os_pages_at, RESERVE_HUGE_OS_PAGES_AT, -1, -1, INT_MAX, 0, NULL, NULL) \
  OPTION(reserve_os_memory, RESERVE_OS_MEMORY, 0, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(deprecated_segment_cache, DEPRECATED_SEGMENT_CACHE, 0, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(deprecated_page_reset, DEPRECATED_PAGE_RESET, 0, 0, 1, 0, NULL, NULL) \
  OPTION(abandoned_page_purge, ABANDONED_PAGE_PURGE, 0, 0, 1, 0, "abandoned_page_reset", "deprecated_abandoned_page_purge") \
  OPTION(deprecated_segment_reset, DEPRECATED_SEGMENT_RESET, 0, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(eager_commit_delay, EAGER_COMMIT_DELAY, 1, 0, ANY_MAX, 0, "deprecated_eager_commit_delay", NULL) \
  OPTION(purge_delay, PURGE_DELAY, 10, -1, ANY_MAX, CLAMPED, "reset_delay", NULL) \
  OPTION(use_numa_nodes, USE_NUMA_NODES, 0, 0, INT_MAX, 0, NULL, NULL) \
  OPTION(disallow_os_alloc, DISALLOW_OS_ALLOC, 0, 0, 1, 0, "limit_os_alloc", NULL) \
  OPTION(os_tag, OS_TAG, 100, 100, 255, 0, NULL, NULL) \
  OPTION(max_errors, MAX_ERRORS, 32, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(max_warnings, MAX_WARNINGS, 32, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(max_segment_reclaim, MAX_SEGMENT_RECLAIM, 10, 0, 100, CLAMPED, "deprecated_max_segment_reclaim", NULL) \
  OPTION(destroy_on_exit, DESTROY_ON_EXIT, 0, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(arena_reserve, ARENA_RESERVE, ON_64(1024, 128) * 1024, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_purge_mult, ARENA_PURGE_MULT, 10, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(purge_extend_delay, PURGE_EXTEND_DELAY, 1, 0, ANY_MAX, 0, "decommit_extend_delay", "deprecated_purge_extend_delay") \
  OPTION(abandoned_reclaim_on_free, ABANDONED_RECLAIM_ON_FREE, 1, 0, 1, 0, NULL, NULL) \
  OPTION(disallow_arena_alloc, DISALLOW_ARENA_ALLOC, 0, 0, 1, 0, NULL, NULL) \
  OPTION(retry_on_oom, RETRY_ON_OOM, 400, 0, 2000, CLAMPED, NULL, NULL) \
  OPTION(visit_abandoned, VISIT_ABANDONED, 0, 0, 1, 0, NULL, NULL) \
  OPTION(guarded_min, GUARDED_MIN, 0, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_max, GUARDED_MAX, 1073741824, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_precise, GUARDED_PRECISE, 0, 0, 1, 0, NULL, NULL) \
  OPTION(guarded_sample_rate, GUARDED_SAMPLE_RATE, 0, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_sample_seed, GUARDED_SAMPLE_SEED, 0, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(target_segments_per_thread, TARGET_SEGMENTS_PER_THREAD, 0, 0, 1024, CLAMPED, NULL, NULL) \
  OPTION(generic_collect, GENERIC_COLLECT, 10000, 1, 1000000, CLAMPED, NULL, NULL) \
  OPTION(allow_thp, ALLOW_THP, 1, 0, 2, 0, NULL, NULL) \
  OPTION(page_reclaim_on_free, PAGE_RECLAIM_ON_FREE, 0, -1, 1, 0, NULL, NULL) \
  OPTION(page_full_retain, PAGE_FULL_RETAIN, 2, -1, 32, CLAMPED, NULL, NULL) \
  OPTION(page_max_candidates, PAGE_MAX_CANDIDATES, 4, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(max_vabits, MAX_VABITS, 0, 32, 64, OR_ZERO, NULL, NULL) \
  OPTION(pagemap_commit, PAGEMAP_COMMIT, 0, 0, 1, 0, NULL, NULL) \
  OPTION(page_commit_on_demand, PAGE_COMMIT_ON_DEMAND, 0, 0, 2, 0, NULL, NULL) \
  OPTION(page_max_reclaim, PAGE_MAX_RECLAIM, -1, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(page_cross_thread_max_reclaim, PAGE_CROSS_THREAD_MAX_RECLAIM, 32, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(minimal_purge_size, MINIMAL_PURGE_SIZE, 0, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_max_object_size, ARENA_MAX_OBJECT_SIZE, ON_64(2048, 256) * 1024, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_is_numa_local, ARENA_IS_NUMA_LOCAL, 0, 0, 1, 0, NULL, NULL) \
  OPTION(show_leaks, SHOW_LEAKS, 0, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(limit_hard, LIMIT_HARD, 0, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(limit_soft, LIMIT_SOFT, 0, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(limit_container, LIMIT_CONTAINER, 0, 0, 100, 0, NULL, NULL) \
  OPTION(purger, PURGER, 1, 0, 1, 0, NULL, NULL)
/* clang-format on */

/* The build's default of an option. -DMI_DEFAULT_<NAME>=5 makes of it the number 5L. Without that,
 * the L ends the name of a constant, which has the default of the list. */
#define OPTION_DEFAULT(NAME) OPTION_LONG(MI_DEFAULT_##NAME)
#define OPTION_LONG(number) OPTION_LONG_(number)
#define OPTION_LONG_(number) number##L

#define OPTION_CONSTANT(name, NAME, value, min, max, flags, legacy1, legacy2)                      \
  MI_DEFAULT_##NAME##L = (value),
enum { OPTION_LIST(OPTION_CONSTANT) };
