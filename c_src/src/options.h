/* options.h - what the environment and the program ask for, and what the build decided. */
#ifndef MI_OPTIONS_H
#define MI_OPTIONS_H

#include "base.h"
#include "mimalloc.h"

/* Reads the program's default string and the environment once; a privileged process ignores the
 * environment. Allocates nothing. */
INTERNAL void options_init(void);
INTERNAL void options_print(mi_output_fun* out, void* arg);
/* The value, without a look at the environment: for paths that run often. */
INTERNAL long option_value(mi_option_t option);

/* Of our own, known to the environment and the default string only: the numbers of the interface
 * are not ours to continue. */
#define mi_option_show_leaks _mi_option_last
#define OPTION_COUNT (_mi_option_last + 1)

/* ---- defaults ----
 *
 * Each can be given when the library is built, -DMI_DEFAULT_<NAME>=value, as a number in the unit
 * that docs/options.md tells. Those that are not given are the defaults of 2.1.7, and of later
 * versions for options that these added. */

#ifndef MI_DEFAULT_SHOW_ERRORS
#define MI_DEFAULT_SHOW_ERRORS (MI_SHOW_ERRORS || MI_DEBUG > 0)
#endif
#ifndef MI_DEFAULT_SHOW_STATS
#define MI_DEFAULT_SHOW_STATS 0
#endif
#ifndef MI_DEFAULT_SHOW_LEAKS
#define MI_DEFAULT_SHOW_LEAKS 0
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

#endif
