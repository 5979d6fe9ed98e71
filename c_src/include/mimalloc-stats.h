/* mimalloc-stats.h - statistics as a struct and as JSON. As text: mi_stats_print_out and related
 * functions in mimalloc.h.
 *
 * The struct is that of 2.4.1: a program written for 2.4.1 compiles and finds the same fields.
 * Every function may be called from any thread at any time. Each call scans the memory anew: malloc
 * and free count nothing for statistics. docs/guarantees.md says how exact the numbers are.
 *
 * Three numbers of a count:
 *   - current: now. Exact while no other thread is inside the allocator, with one exception: blocks
 *     that another thread holds ready for its next allocations count as live, until that thread
 *     ends, collects or calls mi_stats_merge. Those of the calling thread are put back first.
 *   - peak: the highest `current` that a request has seen since the start or the last
 *     mi_stats_reset; the real peak may be higher.
 *   - total: everything added since the start or the last mi_stats_reset. Where only the present
 *     amount is known, the peak stands here: see the fields.
 */
#pragma once
#ifndef MIMALLOC_STATS_H
#define MIMALLOC_STATS_H

#include "mimalloc.h"
#include <string.h>

#define MI_HAS_STATS 1

#define MI_STAT_VERSION 4 /* of mi_stats_t; 4 is the one of 2.4.1 */

/* A count that goes up and down. */
typedef struct mi_stat_count_s {
  int64_t total;
  int64_t peak;
  int64_t current;
} mi_stat_count_t;

/* A count that only goes up. */
typedef struct mi_stat_counter_s {
  int64_t total;
} mi_stat_counter_t;

/* All fields in their order: define MI_STAT_COUNT(name) and MI_STAT_COUNTER(name), expand this,
 * and undefine them.
 *
 * "Small" blocks have up to 64 KiB and share pages with others of their size; "large" blocks are
 * above that, and each has its own memory. Statistics of a heap cover its blocks and pages; the
 * fields about memory, threads and calls are of the process and 0 there.
 *
 *   pages                 runs of memory with blocks of one size; a large block counts as one
 *   reserved              bytes of address space of arenas and of blocks above 512 MiB;
 *                         total = peak
 *   committed             bytes that may be resident: slices of 64 KiB allocated at least once
 *                         since they were last given back to the OS, arenas that are never purged
 *                         as a whole; total = peak. With arena_eager_commit=0 or strict overcommit:
 *                         bytes that are readable and writable
 *   reset                 0: bytes given back lazily count as purged
 *   purged                bytes given back to the OS, lazily or not
 *   page_committed        bytes of memory that pages lie in; total = peak
 *   pages_abandoned       pages of small blocks that an ended heap left; total = peak
 *   threads               threads that have a heap
 *   malloc_normal         bytes of small blocks, as mi_usable_size says
 *   malloc_huge           bytes of large blocks; growing in place adds to the total; total of one
 *                         heap = peak
 *   malloc_requested      requested sizes are not known: the sum of the two above
 *   mmap_calls, commit_calls, reset_calls
 *                         0: not counted
 *   purge_calls           system calls that gave memory back
 *   arena_count           arenas added
 *   malloc_normal_count   allocations of small blocks
 *   malloc_huge_count     allocations of large blocks
 *   malloc_guarded_count  allocations with a guard page, see guarded_sample_rate; they count as
 *                         large too
 *   arena_rollback_count  0: there are none
 *   arena_purges          as purge_calls: all purges are of arenas
 *   pages_extended        0: not counted
 *   pages_retire          pages of small blocks that became empty and were given back
 *   page_searches, page_searches_count
 *                         0: not counted
 *   segments, segments_abandoned, segments_cache, _segments_reserved
 *                         0: there are no segments
 *   pages_reclaim_on_alloc, pages_reclaim_on_free, pages_reabandon_full, pages_unabandon_busy_wait
 *                         0: not counted */
#define MI_STAT_FIELDS()                                                                           \
  MI_STAT_COUNT(pages)                                                                             \
  MI_STAT_COUNT(reserved)                                                                          \
  MI_STAT_COUNT(committed)                                                                         \
  MI_STAT_COUNTER(reset)                                                                           \
  MI_STAT_COUNTER(purged)                                                                          \
  MI_STAT_COUNT(page_committed)                                                                    \
  MI_STAT_COUNT(pages_abandoned)                                                                   \
  MI_STAT_COUNT(threads)                                                                           \
  MI_STAT_COUNT(malloc_normal)                                                                     \
  MI_STAT_COUNT(malloc_huge)                                                                       \
  MI_STAT_COUNT(malloc_requested)                                                                  \
  MI_STAT_COUNTER(mmap_calls)                                                                      \
  MI_STAT_COUNTER(commit_calls)                                                                    \
  MI_STAT_COUNTER(reset_calls)                                                                     \
  MI_STAT_COUNTER(purge_calls)                                                                     \
  MI_STAT_COUNTER(arena_count)                                                                     \
  MI_STAT_COUNTER(malloc_normal_count)                                                             \
  MI_STAT_COUNTER(malloc_huge_count)                                                               \
  MI_STAT_COUNTER(malloc_guarded_count)                                                            \
  MI_STAT_COUNTER(arena_rollback_count)                                                            \
  MI_STAT_COUNTER(arena_purges)                                                                    \
  MI_STAT_COUNTER(pages_extended)                                                                  \
  MI_STAT_COUNTER(pages_retire)                                                                    \
  MI_STAT_COUNTER(page_searches)                                                                   \
  MI_STAT_COUNTER(page_searches_count)                                                             \
  MI_STAT_COUNT(segments)                                                                          \
  MI_STAT_COUNT(segments_abandoned)                                                                \
  MI_STAT_COUNT(segments_cache)                                                                    \
  MI_STAT_COUNT(_segments_reserved)                                                                \
  MI_STAT_COUNTER(pages_reclaim_on_alloc)                                                          \
  MI_STAT_COUNTER(pages_reclaim_on_free)                                                           \
  MI_STAT_COUNTER(pages_reabandon_full)                                                            \
  MI_STAT_COUNTER(pages_unabandon_busy_wait)

/* Bins group block sizes, see mi_stats_get_bin_size. The last bin counts all large blocks. */
#define MI_BIN_HUGE 73

#define MI_STAT_COUNT(stat) mi_stat_count_t stat;
#define MI_STAT_COUNTER(stat) mi_stat_counter_t stat;
/* The caller sets the first two fields: they say which struct it was compiled with. */
typedef struct mi_stats_s {
  size_t size;    /* sizeof(mi_stats_t) */
  size_t version; /* MI_STAT_VERSION */
  MI_STAT_FIELDS()
  mi_stat_count_t _stat_reserved[4]; /* 0 */
  mi_stat_counter_t _stat_counter_reserved[4];
  mi_stat_count_t malloc_bins[MI_BIN_HUGE + 1]; /* blocks, by bin */
  mi_stat_count_t page_bins[MI_BIN_HUGE + 1];   /* pages, by bin; total of one heap = peak */
} mi_stats_t;
#undef MI_STAT_COUNT
#undef MI_STAT_COUNTER

#ifdef __cplusplus
extern "C" {
#endif

/* mi_stats_header_init sets size and version only; mi_stats_init also zeroes all else. Since
 * 3.4.3. */
static inline void mi_stats_header_init(mi_stats_t* stats) {
  stats->size = sizeof(*stats);
  stats->version = MI_STAT_VERSION;
}
static inline void mi_stats_init(mi_stats_t* stats) {
  memset(stats, 0, sizeof(*stats));
  mi_stats_header_init(stats);
}

/* Declares a variable that is ready for the functions below. */
#define mi_stats_t_decl(name)                                                                      \
  mi_stats_t name;                                                                                 \
  mi_stats_init(&name)

/* Statistics of the process. False, with nothing written, when `stats` is NULL or its size or
 * version differs from the library's. Since 2.4.1. */
mi_decl_export bool mi_stats_get(mi_stats_t* stats) mi_attr_noexcept;

/* The same and the numbers of mi_process_info, as JSON text. With `buf` the text and its terminator
 * go there; if `buf_size` bytes are too few, NULL is returned and nothing is written. Without `buf`
 * the result is a block that is released with mi_free, or NULL when memory runs out.
 *
 * The text has one member for each field of the struct, under its name (an object for a count, a
 * number for a counter), besides `stat_version`, `mimalloc_version` and `process`. All numbers are
 * integers. `page_size` is what a page of the bin takes, 0 where each block has memory to itself;
 * `page_faults` needed the disk. Readers should expect further members. Since 2.4.1. */
mi_decl_export char* mi_stats_get_json(size_t buf_size, char* buf) mi_attr_noexcept;

/* Any struct of this kind as JSON text; NULL also for a `stats` that mi_stats_get would refuse. The
 * numbers about the process are present ones. Since 3.4.3. */
mi_decl_export char* mi_stats_as_json(mi_stats_t* stats, size_t buf_size, char* buf)
    mi_attr_noexcept;

/* The largest size of the small blocks of a bin, bytes: 8, 16, 32, 48 and 64 for the bins 1 to 5,
 * then four bins per doubling (80, 96, 112, 128, 160, ...). Bin 0 (8 bytes) counts the requests of
 * size 0. MI_BIN_HUGE counts all large blocks; its size is the largest possible request. 0 for a
 * higher bin. Since 3.4.3. */
mi_decl_export size_t mi_stats_get_bin_size(size_t bin) mi_attr_noexcept;

/* The same for one live heap (NULL: the heap of the first thread); false, or NULL, also when there
 * is none. Totals count from the start of the heap, regardless of mi_stats_reset, and peaks are the
 * present values. Blocks that a heap takes from a deleted heap or an ended thread count in
 * `current` but not in `total`. Since 3.4.3. */
mi_decl_export bool mi_heap_stats_get(mi_heap_t* heap, mi_stats_t* stats) mi_attr_noexcept;
mi_decl_export char* mi_heap_stats_get_json(mi_heap_t* heap, size_t buf_size, char* buf)
    mi_attr_noexcept;
/* As mi_stats_print_out. */
mi_decl_export void mi_heap_stats_print_out(mi_heap_t* heap, mi_output_fun* out, void* arg)
    mi_attr_noexcept;

#ifdef __cplusplus
}
#endif

#endif /* MIMALLOC_STATS_H */
