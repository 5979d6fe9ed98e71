/* option_list.h - all options: name, range, flags, names in other versions, defaults.
 *
 * OPTION(name, NAME, least, largest, flags, legacy name or NULL, another or NULL)
 *
 * docs/guide.md says what the values mean and which options have an effect. An option is CLAMPED if
 * the interface documents that, or if all negative numbers mean the same. 3.4.3 reads
 * abandoned_reclaim_on_free as page_reclaim_on_free. Here it is no legacy name, because it is the
 * name of another option.
 */
#ifndef MI_OPTION_LIST_H
#define MI_OPTION_LIST_H

#include "../base/base.h"

enum {
  CLAMPED = 1, /* a number out of range becomes the nearest number in range */
  KIB = 2,     /* counts KiB; a text gives a size in bytes or with a unit */
  OR_ZERO = 4  /* 0 is allowed besides the range */
};

#define ANY_MIN LONG_MIN

#define ANY_MAX LONG_MAX

#define KIB_MAX (ALLOC_MAX / KiB < LONG_MAX ? (long)(ALLOC_MAX / KiB) : LONG_MAX)

/* clang-format off */
#define OPTION_LIST(OPTION) \
  OPTION(show_errors, SHOW_ERRORS, 0, 1, 0, NULL, NULL) \
  OPTION(show_stats, SHOW_STATS, 0, 1, 0, NULL, NULL) \
  OPTION(verbose, VERBOSE, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(eager_commit, EAGER_COMMIT, 0, 1, 0, "deprecated_eager_commit", NULL) \
  OPTION(arena_eager_commit, ARENA_EAGER_COMMIT, 0, 2, 0, "eager_region_commit", NULL) \
  OPTION(purge_decommits, PURGE_DECOMMITS, 0, 1, 0, "reset_decommits", NULL) \
  OPTION(allow_large_os_pages, ALLOW_LARGE_OS_PAGES, 0, 1, 0, "large_os_pages", NULL) \
  OPTION(reserve_huge_os_pages, RESERVE_HUGE_OS_PAGES, 0, 131072, CLAMPED, NULL, NULL) \
  OPTION(reserve_huge_os_pages_at, RESERVE_HUGE_OS_PAGES_AT, -1, INT_MAX, 0, NULL, NULL) \
  OPTION(reserve_os_memory, RESERVE_OS_MEMORY, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(deprecated_segment_cache, DEPRECATED_SEGMENT_CACHE, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(deprecated_page_reset, DEPRECATED_PAGE_RESET, 0, 1, 0, NULL, NULL) \
  OPTION(abandoned_page_purge, ABANDONED_PAGE_PURGE, 0, 1, 0, "abandoned_page_reset", "deprecated_abandoned_page_purge") \
  OPTION(deprecated_segment_reset, DEPRECATED_SEGMENT_RESET, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(eager_commit_delay, EAGER_COMMIT_DELAY, 0, ANY_MAX, 0, "deprecated_eager_commit_delay", NULL) \
  OPTION(purge_delay, PURGE_DELAY, -1, ANY_MAX, CLAMPED, "reset_delay", NULL) \
  OPTION(use_numa_nodes, USE_NUMA_NODES, 0, INT_MAX, 0, NULL, NULL) \
  OPTION(disallow_os_alloc, DISALLOW_OS_ALLOC, 0, 1, 0, "limit_os_alloc", NULL) \
  OPTION(os_tag, OS_TAG, 100, 255, 0, NULL, NULL) \
  OPTION(max_errors, MAX_ERRORS, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(max_warnings, MAX_WARNINGS, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(max_segment_reclaim, MAX_SEGMENT_RECLAIM, 0, 100, CLAMPED, "deprecated_max_segment_reclaim", NULL) \
  OPTION(destroy_on_exit, DESTROY_ON_EXIT, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(arena_reserve, ARENA_RESERVE, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_purge_mult, ARENA_PURGE_MULT, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(purge_extend_delay, PURGE_EXTEND_DELAY, 0, ANY_MAX, 0, "decommit_extend_delay", "deprecated_purge_extend_delay") \
  OPTION(abandoned_reclaim_on_free, ABANDONED_RECLAIM_ON_FREE, 0, 1, 0, NULL, NULL) \
  OPTION(disallow_arena_alloc, DISALLOW_ARENA_ALLOC, 0, 1, 0, NULL, NULL) \
  OPTION(retry_on_oom, RETRY_ON_OOM, 0, 2000, CLAMPED, NULL, NULL) \
  OPTION(visit_abandoned, VISIT_ABANDONED, 0, 1, 0, NULL, NULL) \
  OPTION(guarded_min, GUARDED_MIN, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_max, GUARDED_MAX, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_precise, GUARDED_PRECISE, 0, 1, 0, NULL, NULL) \
  OPTION(guarded_sample_rate, GUARDED_SAMPLE_RATE, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(guarded_sample_seed, GUARDED_SAMPLE_SEED, ANY_MIN, ANY_MAX, 0, NULL, NULL) \
  OPTION(target_segments_per_thread, TARGET_SEGMENTS_PER_THREAD, 0, 1024, CLAMPED, NULL, NULL) \
  OPTION(generic_collect, GENERIC_COLLECT, 1, 1000000, CLAMPED, NULL, NULL) \
  OPTION(allow_thp, ALLOW_THP, 0, 2, 0, NULL, NULL) \
  OPTION(page_reclaim_on_free, PAGE_RECLAIM_ON_FREE, -1, 1, 0, NULL, NULL) \
  OPTION(page_full_retain, PAGE_FULL_RETAIN, -1, 32, CLAMPED, NULL, NULL) \
  OPTION(page_max_candidates, PAGE_MAX_CANDIDATES, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(max_vabits, MAX_VABITS, 32, 64, OR_ZERO, NULL, NULL) \
  OPTION(pagemap_commit, PAGEMAP_COMMIT, 0, 1, 0, NULL, NULL) \
  OPTION(page_commit_on_demand, PAGE_COMMIT_ON_DEMAND, 0, 2, 0, NULL, NULL) \
  OPTION(page_max_reclaim, PAGE_MAX_RECLAIM, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(page_cross_thread_max_reclaim, PAGE_CROSS_THREAD_MAX_RECLAIM, -1, ANY_MAX, CLAMPED, NULL, NULL) \
  OPTION(minimal_purge_size, MINIMAL_PURGE_SIZE, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_max_object_size, ARENA_MAX_OBJECT_SIZE, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(arena_is_numa_local, ARENA_IS_NUMA_LOCAL, 0, 1, 0, NULL, NULL) \
  OPTION(show_leaks, SHOW_LEAKS, 0, ANY_MAX, 0, NULL, NULL) \
  OPTION(limit_hard, LIMIT_HARD, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(limit_soft, LIMIT_SOFT, 0, KIB_MAX, CLAMPED | KIB, NULL, NULL) \
  OPTION(limit_container, LIMIT_CONTAINER, 0, 100, 0, NULL, NULL)
/* clang-format on */

/* ---- defaults ----
 *
 * A build may set each of them with -DMI_DEFAULT_<NAME>=value, a number in the unit that
 * docs/guide.md names. The values here are the defaults of 2.1.7, and of the later version that
 * added the option. */
#ifndef MI_DEFAULT_SHOW_ERRORS
#define MI_DEFAULT_SHOW_ERRORS (MI_SHOW_ERRORS || MI_DEBUG > 0)
#endif
#ifndef MI_DEFAULT_SHOW_STATS
#define MI_DEFAULT_SHOW_STATS 0
#endif
#ifndef MI_DEFAULT_VERBOSE
#define MI_DEFAULT_VERBOSE 0
#endif
#ifndef MI_DEFAULT_EAGER_COMMIT
#define MI_DEFAULT_EAGER_COMMIT 1
#endif
#ifndef MI_DEFAULT_ARENA_EAGER_COMMIT
#define MI_DEFAULT_ARENA_EAGER_COMMIT 2
#endif
#ifndef MI_DEFAULT_PURGE_DECOMMITS
#define MI_DEFAULT_PURGE_DECOMMITS 1
#endif
#ifndef MI_DEFAULT_ALLOW_LARGE_OS_PAGES
#define MI_DEFAULT_ALLOW_LARGE_OS_PAGES 0
#endif
#ifndef MI_DEFAULT_RESERVE_HUGE_OS_PAGES
#define MI_DEFAULT_RESERVE_HUGE_OS_PAGES 0
#endif
#ifndef MI_DEFAULT_RESERVE_HUGE_OS_PAGES_AT
#define MI_DEFAULT_RESERVE_HUGE_OS_PAGES_AT -1
#endif
#ifndef MI_DEFAULT_RESERVE_OS_MEMORY
#define MI_DEFAULT_RESERVE_OS_MEMORY 0
#endif
#ifndef MI_DEFAULT_DEPRECATED_SEGMENT_CACHE
#define MI_DEFAULT_DEPRECATED_SEGMENT_CACHE 0
#endif
#ifndef MI_DEFAULT_DEPRECATED_PAGE_RESET
#define MI_DEFAULT_DEPRECATED_PAGE_RESET 0
#endif
#ifndef MI_DEFAULT_ABANDONED_PAGE_PURGE
#define MI_DEFAULT_ABANDONED_PAGE_PURGE 0
#endif
#ifndef MI_DEFAULT_DEPRECATED_SEGMENT_RESET
#define MI_DEFAULT_DEPRECATED_SEGMENT_RESET 0
#endif
#ifndef MI_DEFAULT_EAGER_COMMIT_DELAY
#define MI_DEFAULT_EAGER_COMMIT_DELAY 1
#endif
#ifndef MI_DEFAULT_PURGE_DELAY
#define MI_DEFAULT_PURGE_DELAY 10
#endif
#ifndef MI_DEFAULT_USE_NUMA_NODES
#define MI_DEFAULT_USE_NUMA_NODES 0
#endif
#ifndef MI_DEFAULT_DISALLOW_OS_ALLOC
#define MI_DEFAULT_DISALLOW_OS_ALLOC 0
#endif
#ifndef MI_DEFAULT_OS_TAG
#define MI_DEFAULT_OS_TAG 100
#endif
#ifndef MI_DEFAULT_MAX_ERRORS
#define MI_DEFAULT_MAX_ERRORS 32
#endif
#ifndef MI_DEFAULT_MAX_WARNINGS
#define MI_DEFAULT_MAX_WARNINGS 32
#endif
#ifndef MI_DEFAULT_MAX_SEGMENT_RECLAIM
#define MI_DEFAULT_MAX_SEGMENT_RECLAIM 10
#endif
#ifndef MI_DEFAULT_DESTROY_ON_EXIT
#define MI_DEFAULT_DESTROY_ON_EXIT 0
#endif
#ifndef MI_DEFAULT_ARENA_RESERVE
#define MI_DEFAULT_ARENA_RESERVE (UINTPTR_MAX > UINT32_MAX ? 1024L * 1024 : 128L * 1024)
#endif
#ifndef MI_DEFAULT_ARENA_PURGE_MULT
#define MI_DEFAULT_ARENA_PURGE_MULT 10
#endif
#ifndef MI_DEFAULT_PURGE_EXTEND_DELAY
#define MI_DEFAULT_PURGE_EXTEND_DELAY 1
#endif
#ifndef MI_DEFAULT_ABANDONED_RECLAIM_ON_FREE
#define MI_DEFAULT_ABANDONED_RECLAIM_ON_FREE 1
#endif
#ifndef MI_DEFAULT_DISALLOW_ARENA_ALLOC
#define MI_DEFAULT_DISALLOW_ARENA_ALLOC 0
#endif
#ifndef MI_DEFAULT_RETRY_ON_OOM
#define MI_DEFAULT_RETRY_ON_OOM 400
#endif
#ifndef MI_DEFAULT_VISIT_ABANDONED
#define MI_DEFAULT_VISIT_ABANDONED 0
#endif
#ifndef MI_DEFAULT_GUARDED_MIN
#define MI_DEFAULT_GUARDED_MIN 0
#endif
#ifndef MI_DEFAULT_GUARDED_MAX
#define MI_DEFAULT_GUARDED_MAX 1073741824
#endif
#ifndef MI_DEFAULT_GUARDED_PRECISE
#define MI_DEFAULT_GUARDED_PRECISE 0
#endif
#ifndef MI_DEFAULT_GUARDED_SAMPLE_RATE
#define MI_DEFAULT_GUARDED_SAMPLE_RATE 0
#endif
#ifndef MI_DEFAULT_GUARDED_SAMPLE_SEED
#define MI_DEFAULT_GUARDED_SAMPLE_SEED 0
#endif
#ifndef MI_DEFAULT_TARGET_SEGMENTS_PER_THREAD
#define MI_DEFAULT_TARGET_SEGMENTS_PER_THREAD 0
#endif
#ifndef MI_DEFAULT_GENERIC_COLLECT
#define MI_DEFAULT_GENERIC_COLLECT 10000
#endif
#ifndef MI_DEFAULT_ALLOW_THP
#define MI_DEFAULT_ALLOW_THP 1
#endif
#ifndef MI_DEFAULT_PAGE_RECLAIM_ON_FREE
#define MI_DEFAULT_PAGE_RECLAIM_ON_FREE 0
#endif
#ifndef MI_DEFAULT_PAGE_FULL_RETAIN
#define MI_DEFAULT_PAGE_FULL_RETAIN 2
#endif
#ifndef MI_DEFAULT_PAGE_MAX_CANDIDATES
#define MI_DEFAULT_PAGE_MAX_CANDIDATES 4
#endif
#ifndef MI_DEFAULT_MAX_VABITS
#define MI_DEFAULT_MAX_VABITS 0
#endif
#ifndef MI_DEFAULT_PAGEMAP_COMMIT
#define MI_DEFAULT_PAGEMAP_COMMIT 0
#endif
#ifndef MI_DEFAULT_PAGE_COMMIT_ON_DEMAND
#define MI_DEFAULT_PAGE_COMMIT_ON_DEMAND 0
#endif
#ifndef MI_DEFAULT_PAGE_MAX_RECLAIM
#define MI_DEFAULT_PAGE_MAX_RECLAIM -1
#endif
#ifndef MI_DEFAULT_PAGE_CROSS_THREAD_MAX_RECLAIM
#define MI_DEFAULT_PAGE_CROSS_THREAD_MAX_RECLAIM 32
#endif
#ifndef MI_DEFAULT_MINIMAL_PURGE_SIZE
#define MI_DEFAULT_MINIMAL_PURGE_SIZE 0
#endif
#ifndef MI_DEFAULT_ARENA_MAX_OBJECT_SIZE
#define MI_DEFAULT_ARENA_MAX_OBJECT_SIZE (UINTPTR_MAX > UINT32_MAX ? 2048L * 1024 : 256L * 1024)
#endif
#ifndef MI_DEFAULT_ARENA_IS_NUMA_LOCAL
#define MI_DEFAULT_ARENA_IS_NUMA_LOCAL 0
#endif
#ifndef MI_DEFAULT_SHOW_LEAKS
#define MI_DEFAULT_SHOW_LEAKS 0
#endif
#ifndef MI_DEFAULT_LIMIT_HARD
#define MI_DEFAULT_LIMIT_HARD 0
#endif
#ifndef MI_DEFAULT_LIMIT_SOFT
#define MI_DEFAULT_LIMIT_SOFT 0
#endif
#ifndef MI_DEFAULT_LIMIT_CONTAINER
#define MI_DEFAULT_LIMIT_CONTAINER 0
#endif

#endif
