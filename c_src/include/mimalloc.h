/* mimalloc.h - the public interface of the allocator.
 *
 * Sizes and alignments are in bytes. Every function may be called from any
 * thread at any time, also before main(), unless its comment says otherwise.
 * A block may be released by any thread. Functions that return a block return
 * NULL when memory runs out; what was passed in stays valid then. "Since"
 * names the version of the mimalloc interface that introduced a function;
 * everything without a note is part of 2.1.7, "extension" is ours alone.
 */
#pragma once
#ifndef MIMALLOC_H
#define MIMALLOC_H

#define MI_MALLOC_VERSION 217 /* major * 100 + minor * 10 + patch */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- attributes ---------------------------------------------------------- */

#if !defined(__cplusplus)
#define mi_attr_noexcept
#elif (__cplusplus >= 201103L) || (defined(_MSC_VER) && _MSC_VER >= 1900)
#define mi_attr_noexcept noexcept
#else
#define mi_attr_noexcept throw()
#endif

#if defined(__cplusplus) && (__cplusplus >= 201703L)
#define mi_decl_nodiscard [[nodiscard]]
#elif defined(__GNUC__)
#define mi_decl_nodiscard __attribute__((warn_unused_result))
#elif defined(_HAS_NODISCARD)
#define mi_decl_nodiscard _NODISCARD
#elif defined(_MSC_VER) && (_MSC_VER >= 1700)
#define mi_decl_nodiscard _Check_return_
#else
#define mi_decl_nodiscard
#endif

#if defined(_WIN32)
#if !defined(MI_SHARED_LIB)
#define mi_decl_export
#elif defined(MI_SHARED_LIB_EXPORT)
#define mi_decl_export __declspec(dllexport)
#else
#define mi_decl_export __declspec(dllimport)
#endif
#elif defined(__GNUC__) && defined(MI_SHARED_LIB) && defined(MI_SHARED_LIB_EXPORT)
#define mi_decl_export __attribute__((visibility("default")))
#else
#define mi_decl_export
#endif

#if defined(_MSC_VER)
#if (_MSC_VER >= 1900) && !defined(__EDG__)
#define mi_decl_restrict __declspec(allocator) __declspec(restrict)
#else
#define mi_decl_restrict __declspec(restrict)
#endif
#else
#define mi_decl_restrict
#endif

#if defined(_WIN32)
#define mi_cdecl __cdecl
#else
#define mi_cdecl
#endif

#if defined(__GNUC__)
#define mi_attr_malloc __attribute__((malloc))
#else
#define mi_attr_malloc
#endif

#if defined(__GNUC__) && !defined(_WIN32)
#define mi_attr_alloc_size(s) __attribute__((alloc_size(s)))
#define mi_attr_alloc_size2(s1, s2) __attribute__((alloc_size(s1, s2)))
#define mi_attr_alloc_align(p) __attribute__((alloc_align(p)))
#else
#define mi_attr_alloc_size(s)
#define mi_attr_alloc_size2(s1, s2)
#define mi_attr_alloc_align(p)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- basic allocation ---------------------------------------------------- */

/* A block of at least `size` bytes with unspecified contents, 16-byte aligned
 * (8-byte aligned when `size` is 0). `size` 0 gives a distinct block that must be
 * released like any other. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_malloc(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);

/* A zeroed block for `count` elements of `size` bytes; NULL when the product
 * overflows. The whole usable size is zero. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_calloc(size_t count, size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size2(1, 2);

/* Resizes `p` to `newsize` bytes and returns the block, which may have moved;
 * the first min(old, new) bytes keep their contents. NULL `p` allocates. A
 * `newsize` of 0 gives a minimal block, never NULL. On failure NULL, `p` stays valid. */
mi_decl_nodiscard mi_decl_export void* mi_realloc(void* p, size_t newsize) mi_attr_noexcept
    mi_attr_alloc_size(2);

/* `p` when the block can hold `newsize` bytes where it is, else NULL. Never moves
 * and never releases; `p` stays valid either way. */
mi_decl_nodiscard mi_decl_export void* mi_expand(void* p, size_t newsize) mi_attr_noexcept
    mi_attr_alloc_size(2);

/* Releases a block. NULL is ignored; errno is kept. */
mi_decl_export void mi_free(void* p) mi_attr_noexcept;

/* A copy of the string `s`; NULL for NULL. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict char*
mi_strdup(const char* s) mi_attr_noexcept mi_attr_malloc;

/* A copy of at most `n` bytes of `s`, which need not be terminated within them,
 * and a terminator; NULL for NULL. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict char*
mi_strndup(const char* s, size_t n) mi_attr_noexcept mi_attr_malloc;

/* The absolute path of `fname`. With a caller's buffer (at least PATH_MAX bytes) the
 * same as realpath(); with NULL a block to be released with mi_free. NULL and errno
 * on failure. */
mi_decl_nodiscard mi_decl_export char* mi_realpath(const char* fname,
                                                   char* resolved_name) mi_attr_noexcept;

/* ---- extended ------------------------------------------------------------ */

#define MI_SMALL_WSIZE_MAX (128)
#define MI_SMALL_SIZE_MAX (MI_SMALL_WSIZE_MAX * sizeof(void*))

/* mi_malloc and mi_zalloc for a `size` of at most MI_SMALL_SIZE_MAX. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_malloc_small(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_zalloc_small(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);

/* mi_malloc whose whole usable size is zero. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_zalloc(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);

/* mi_malloc for `count` elements of `size` bytes; NULL when the product overflows. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_mallocn(size_t count, size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size2(1, 2);

/* mi_realloc to `count` elements of `size` bytes; NULL when the product overflows,
 * `p` stays valid. */
mi_decl_nodiscard mi_decl_export void* mi_reallocn(void* p, size_t count,
                                                   size_t size) mi_attr_noexcept
    mi_attr_alloc_size2(2, 3);

/* mi_realloc that releases `p` when it fails. */
mi_decl_nodiscard mi_decl_export void* mi_reallocf(void* p, size_t newsize) mi_attr_noexcept
    mi_attr_alloc_size(2);

/* Bytes that may be used from `p` to the end of its block; at least what was asked
 * for. 0 for NULL and for an address that is not ours. */
mi_decl_nodiscard mi_decl_export size_t mi_usable_size(const void* p) mi_attr_noexcept;

/* The usable size that a request of `size` bytes would get; `size` itself when no
 * request of that size can succeed. */
mi_decl_nodiscard mi_decl_export size_t mi_good_size(size_t size) mi_attr_noexcept;

/* Takes back what other threads freed, runs the deferred-free callback, releases
 * empty pages of the calling thread and purges what is due; with `force` purges all
 * free memory of the process at once. */
mi_decl_export void mi_collect(bool force) mi_attr_noexcept;

/* MI_MALLOC_VERSION of the library in use. */
mi_decl_export int mi_version(void) mi_attr_noexcept;

/* Entry points for requests whose alignment is known to be 8 or less (extension).
 * They may use 8-byte-granular size classes (24, 40, 56, ...) and return blocks that
 * are only 8-byte aligned; release with mi_free. */
#define MI_HAS_ALIGN8 1
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_malloc_align8(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_zalloc_align8(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export void* mi_realloc_align8(void* p, size_t newsize) mi_attr_noexcept
    mi_attr_alloc_size(2);

/* ---- callbacks ----------------------------------------------------------- */

/* Called at a bounded number of allocations apart and on every collect, so that a
 * program may free what it put aside. `heartbeat` grows strictly on each thread.
 * The callback may allocate and free; it is not entered twice by one thread. */
typedef void(mi_cdecl mi_deferred_free_fun)(bool force, unsigned long long heartbeat, void* arg);
mi_decl_export void mi_register_deferred_free(mi_deferred_free_fun* deferred_free,
                                              void* arg) mi_attr_noexcept;

/* Receives every message of the library; NULL restores standard error. A newly
 * registered sink first receives what was printed before (at most 32 KiB). */
typedef void(mi_cdecl mi_output_fun)(const char* msg, void* arg);
mi_decl_export void mi_register_output(mi_output_fun* out, void* arg) mi_attr_noexcept;

/* Receives the code of every error (ENOMEM, EINVAL, EAGAIN, EFAULT, EOVERFLOW) in
 * place of the default reaction; NULL restores the default, which is to go on, or to
 * abort on a memory-safety violation in debug and secure builds. */
typedef void(mi_cdecl mi_error_fun)(int err, void* arg);
mi_decl_export void mi_register_error(mi_error_fun* fun, void* arg) mi_attr_noexcept;

/* ---- process, threads, statistics ---------------------------------------- */

/* Set-up of the process and of the calling thread. Both happen by themselves at the
 * first allocation and may be repeated. */
mi_decl_export void mi_process_init(void) mi_attr_noexcept;
mi_decl_export void mi_thread_init(void) mi_attr_noexcept;

/* Ends the use of the allocator by the calling thread: its blocks stay valid, its
 * pages become available to others. Happens by itself at thread exit; a later
 * allocation starts the thread anew. */
mi_decl_export void mi_thread_done(void) mi_attr_noexcept;

/* Statistics of the process, line by line, through `out` (NULL: the registered sink
 * or standard error). */
mi_decl_export void mi_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept;

/* Time since start, CPU time (milliseconds), resident and committed memory (bytes)
 * and page faults that needed the disk; NULL pointers are skipped. `current_rss` is
 * what the OS reports as resident. */
mi_decl_export void mi_process_info(size_t* elapsed_msecs, size_t* user_msecs, size_t* system_msecs,
                                    size_t* current_rss, size_t* peak_rss, size_t* current_commit,
                                    size_t* peak_commit, size_t* page_faults) mi_attr_noexcept;

/* True when `p` lies in memory that the allocator manages, live block or not. Any
 * value may be passed. */
mi_decl_nodiscard mi_decl_export bool mi_is_in_heap_region(const void* p) mi_attr_noexcept;

/* ---- aligned allocation --------------------------------------------------- */

/* `alignment` must be a power of two, otherwise NULL. The `_at` forms align
 * `p + offset` instead of `p`. Release with mi_free. The reallocating forms always
 * align the result, and keep the block in place only if it is aligned already. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_malloc_aligned(size_t size, size_t alignment) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(1) mi_attr_alloc_align(2);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_malloc_aligned_at(size_t size, size_t alignment, size_t offset) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_zalloc_aligned(size_t size, size_t alignment) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(1) mi_attr_alloc_align(2);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_zalloc_aligned_at(size_t size, size_t alignment, size_t offset) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_calloc_aligned(size_t count, size_t size, size_t alignment) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size2(1, 2) mi_attr_alloc_align(3);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_calloc_aligned_at(size_t count, size_t size, size_t alignment,
                     size_t offset) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size2(1, 2);
mi_decl_nodiscard mi_decl_export void* mi_realloc_aligned(void* p, size_t newsize,
                                                          size_t alignment) mi_attr_noexcept
    mi_attr_alloc_size(2) mi_attr_alloc_align(3);
mi_decl_nodiscard mi_decl_export void*
mi_realloc_aligned_at(void* p, size_t newsize, size_t alignment, size_t offset) mi_attr_noexcept
    mi_attr_alloc_size(2);

/* ---- zero-initialised re-allocation ---------------------------------------- */

/* Reallocation of blocks that came from a zero-initialising call: everything from the
 * old usable size to the new usable size is zero. */
mi_decl_nodiscard mi_decl_export void* mi_rezalloc(void* p, size_t newsize) mi_attr_noexcept
    mi_attr_alloc_size(2);
mi_decl_nodiscard mi_decl_export void* mi_recalloc(void* p, size_t newcount,
                                                   size_t size) mi_attr_noexcept
    mi_attr_alloc_size2(2, 3);
mi_decl_nodiscard mi_decl_export void* mi_rezalloc_aligned(void* p, size_t newsize,
                                                           size_t alignment) mi_attr_noexcept
    mi_attr_alloc_size(2) mi_attr_alloc_align(3);
mi_decl_nodiscard mi_decl_export void*
mi_rezalloc_aligned_at(void* p, size_t newsize, size_t alignment, size_t offset) mi_attr_noexcept
    mi_attr_alloc_size(2);
mi_decl_nodiscard mi_decl_export void* mi_recalloc_aligned(void* p, size_t newcount, size_t size,
                                                           size_t alignment) mi_attr_noexcept
    mi_attr_alloc_size2(2, 3) mi_attr_alloc_align(4);
mi_decl_nodiscard mi_decl_export void* mi_recalloc_aligned_at(void* p, size_t newcount, size_t size,
                                                              size_t alignment,
                                                              size_t offset) mi_attr_noexcept
    mi_attr_alloc_size2(2, 3);

/* ---- arenas given by the user ---------------------------------------------- */

/* Hands `size` bytes at `start` to the allocator as a shared arena; they are used
 * until the process ends and never unmapped by us. `start` and `size` are narrowed to
 * multiples of 64 KiB. `is_committed`: accessible now; `is_large`: backed by large OS
 * pages, hence never purged; `is_zero`: all zero now; `numa_node` is a hint, -1 for
 * any. False when less than 64 KiB remain or the addresses cannot be named. */
mi_decl_export bool mi_manage_os_memory(void* start, size_t size, bool is_committed, bool is_large,
                                        bool is_zero, int numa_node) mi_attr_noexcept;

/* ---- options ---------------------------------------------------------------- */

/* Read from the environment variables MIMALLOC_<NAME> at start-up, except in set-uid
 * programs. Units and effects: docs/options.md. */
typedef enum mi_option_e {
  mi_option_show_errors,
  mi_option_show_stats,
  mi_option_verbose,
  mi_option_eager_commit,
  mi_option_arena_eager_commit,
  mi_option_purge_decommits,
  mi_option_allow_large_os_pages,
  mi_option_reserve_huge_os_pages,
  mi_option_reserve_huge_os_pages_at,
  mi_option_reserve_os_memory,
  mi_option_deprecated_segment_cache,
  mi_option_deprecated_page_reset,
  mi_option_abandoned_page_purge,
  mi_option_deprecated_segment_reset,
  mi_option_eager_commit_delay,
  mi_option_purge_delay,
  mi_option_use_numa_nodes,
  mi_option_disallow_os_alloc,
  mi_option_os_tag,
  mi_option_max_errors,
  mi_option_max_warnings,
  mi_option_max_segment_reclaim,
  mi_option_destroy_on_exit,
  mi_option_arena_reserve,
  mi_option_arena_purge_mult,
  mi_option_purge_extend_delay,
  mi_option_abandoned_reclaim_on_free,
  mi_option_disallow_arena_alloc,
  mi_option_retry_on_oom,
  _mi_option_last,
  mi_option_large_os_pages = mi_option_allow_large_os_pages,
  mi_option_eager_region_commit = mi_option_arena_eager_commit,
  mi_option_reset_decommits = mi_option_purge_decommits,
  mi_option_reset_delay = mi_option_purge_delay,
  mi_option_abandoned_page_reset = mi_option_abandoned_page_purge,
  mi_option_limit_os_alloc = mi_option_disallow_os_alloc
} mi_option_t;

/* An option out of range reads as 0 and ignores being set. */
mi_decl_nodiscard mi_decl_export bool mi_option_is_enabled(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_enable(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_disable(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_set_enabled(mi_option_t option, bool enable) mi_attr_noexcept;
mi_decl_export void mi_option_set_enabled_default(mi_option_t option, bool enable) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export long mi_option_get(mi_option_t option) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export long mi_option_get_clamp(mi_option_t option, long min,
                                                          long max) mi_attr_noexcept;
/* The value in bytes: options counted in KiB are multiplied by 1024. */
mi_decl_nodiscard mi_decl_export size_t mi_option_get_size(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_set(mi_option_t option, long value) mi_attr_noexcept;
/* Sets the value only while neither the environment nor the program has set it. */
mi_decl_export void mi_option_set_default(mi_option_t option, long value) mi_attr_noexcept;

/* ---- POSIX and Unix names ----------------------------------------------------- */

/* mi_free for an address that may not be ours; those are ignored. */
mi_decl_export void mi_cfree(void* p) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_size(const void* p) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_good_size(size_t size) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_usable_size(const void* p) mi_attr_noexcept;

/* 0 and the block in `*p`, or EINVAL (NULL `p`; alignment no power of two or no multiple
 * of sizeof(void*)), or ENOMEM; `*p` and errno are untouched then. */
mi_decl_export int mi_posix_memalign(void** p, size_t alignment, size_t size) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_memalign(size_t alignment, size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(2)
    mi_attr_alloc_align(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_valloc(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_pvalloc(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_aligned_alloc(size_t alignment, size_t size) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(2) mi_attr_alloc_align(1);

/* mi_reallocn that sets errno: EOVERFLOW when the product overflows, else ENOMEM. */
mi_decl_nodiscard mi_decl_export void* mi_reallocarray(void* p, size_t count,
                                                       size_t size) mi_attr_noexcept
    mi_attr_alloc_size2(2, 3);

/* ---- C++ and sized release ------------------------------------------------------ */

/* mi_free that is told what was asked for; the values serve checks only. */
mi_decl_export void mi_free_size(void* p, size_t size) mi_attr_noexcept;
mi_decl_export void mi_free_size_aligned(void* p, size_t size, size_t alignment) mi_attr_noexcept;
mi_decl_export void mi_free_aligned(void* p, size_t alignment) mi_attr_noexcept;

/* Allocation by the C++ protocol: the new-handler is called until it gives up; then
 * std::bad_alloc is thrown where a C++ runtime is present, else the program aborts. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void* mi_new(size_t size) mi_attr_malloc
    mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_new_aligned(size_t size, size_t alignment) mi_attr_malloc mi_attr_alloc_size(1)
    mi_attr_alloc_align(2);
/* The same, but NULL in the end. */
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_new_nothrow(size_t size) mi_attr_noexcept mi_attr_malloc mi_attr_alloc_size(1);
mi_decl_nodiscard mi_decl_export mi_decl_restrict void*
mi_new_aligned_nothrow(size_t size, size_t alignment) mi_attr_noexcept mi_attr_malloc
    mi_attr_alloc_size(1) mi_attr_alloc_align(2);

#ifdef __cplusplus
}
#endif

#endif /* MIMALLOC_H */
