/* mimalloc.h - the public interface of the allocator.
 *
 * Sizes and alignments are in bytes. Every function may be called from any thread at any time, also
 * before main(), unless its comment says otherwise. Functions that return a block return NULL when
 * memory runs out; the blocks that were passed in stay valid then. Every block is released with
 * mi_free or a function of its family, by any thread.
 *
 * "Since" names the version of the mimalloc interface that introduced a function. Everything
 * without a note is part of 2.1.7; "extension" marks what only this library has.
 *
 * Families beyond 2.1.7 have macros that a program can test: MI_HAS_ALIGN8, MI_HAS_LIMITS,
 * MI_HAS_UBLOCK, MI_HAS_SMALL_EXTRA, MI_HAS_PRINT, MI_HAS_HEAP_QUERY, MI_HAS_HEAP_EX,
 * MI_HAS_VISIT_ABANDONED, MI_HAS_ARENA_QUERY, MI_HAS_RELEASE, MI_HAS_DEFAULT_OPTIONS,
 * MI_HAS_HEAP_STL_ALLOCATOR, and MI_HAS_STATS in mimalloc-stats.h.
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

/* For functions that return a new block, or a resized one. The numbers are those of the parameters
 * with its size, or with the number and the size of its elements. */
#define mi_decl_copy mi_decl_nodiscard mi_decl_export mi_decl_restrict mi_attr_malloc
#define mi_decl_alloc(size) mi_decl_copy mi_attr_alloc_size(size)
#define mi_decl_alloc_n(n, size) mi_decl_copy mi_attr_alloc_size2(n, size)
#define mi_decl_realloc(size) mi_decl_nodiscard mi_decl_export mi_attr_alloc_size(size)
#define mi_decl_realloc_n(n, size) mi_decl_nodiscard mi_decl_export mi_attr_alloc_size2(n, size)

#ifdef __cplusplus
extern "C" {
#endif

/* ---- basic allocation ---------------------------------------------------- */

/* Allocates a block of at least `size` bytes with unspecified contents, aligned to 16 bytes (8
 * bytes when `size` is 0). A `size` of 0 returns a distinct block that must be released like any
 * other. */
mi_decl_alloc(1) void* mi_malloc(size_t size) mi_attr_noexcept;

/* Allocates a zeroed block for `count` elements of `size` bytes; NULL when the product overflows.
 * The whole usable size is zero. */
mi_decl_alloc_n(1, 2) void* mi_calloc(size_t count, size_t size) mi_attr_noexcept;

/* Resizes `p` to `newsize` bytes and returns the block, which may have moved; the first min(old,
 * new) bytes keep their contents. NULL `p` allocates. A `newsize` of 0 returns a minimal block,
 * never NULL. On failure returns NULL; `p` stays valid. */
mi_decl_realloc(2) void* mi_realloc(void* p, size_t newsize) mi_attr_noexcept;

/* Returns `p` if the block can hold `newsize` bytes in place, else NULL. Never moves and never
 * releases; `p` stays valid either way. */
mi_decl_realloc(2) void* mi_expand(void* p, size_t newsize) mi_attr_noexcept;

/* Releases a block. NULL is ignored; errno is kept. */
mi_decl_export void mi_free(void* p) mi_attr_noexcept;

/* A copy of the string `s`; NULL for NULL. */
mi_decl_copy char* mi_strdup(const char* s) mi_attr_noexcept;

/* A copy of at most `n` bytes of `s`, which need not be terminated within them,
 * and a terminator; NULL for NULL. */
mi_decl_copy char* mi_strndup(const char* s, size_t n) mi_attr_noexcept;

/* The absolute path of `fname`. With a buffer of the caller (at least PATH_MAX bytes) the same as
 * realpath(); with NULL a block that is released with mi_free. On failure returns NULL and sets
 * errno. */
mi_decl_nodiscard mi_decl_export char* mi_realpath(const char* fname, char* resolved_name)
    mi_attr_noexcept;

/* ---- extended ------------------------------------------------------------ */

#define MI_SMALL_WSIZE_MAX (128)
#define MI_SMALL_SIZE_MAX (MI_SMALL_WSIZE_MAX * sizeof(void*))

/* mi_malloc and mi_zalloc for a `size` of at most MI_SMALL_SIZE_MAX. */
mi_decl_alloc(1) void* mi_malloc_small(size_t size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_zalloc_small(size_t size) mi_attr_noexcept;

/* mi_malloc whose whole usable size is zero. */
mi_decl_alloc(1) void* mi_zalloc(size_t size) mi_attr_noexcept;

/* mi_malloc for `count` elements of `size` bytes; NULL when the product overflows. */
mi_decl_alloc_n(1, 2) void* mi_mallocn(size_t count, size_t size) mi_attr_noexcept;

/* mi_realloc to `count` elements of `size` bytes; NULL when the product overflows,
 * `p` stays valid. */
mi_decl_realloc_n(2, 3) void* mi_reallocn(void* p, size_t count, size_t size) mi_attr_noexcept;

/* mi_realloc that releases `p` when it fails. */
mi_decl_realloc(2) void* mi_reallocf(void* p, size_t newsize) mi_attr_noexcept;

/* The usable bytes from `p` to the end of its block, at least the requested size. 0 for NULL and
 * for an address that the allocator does not manage. */
mi_decl_nodiscard mi_decl_export size_t mi_usable_size(const void* p) mi_attr_noexcept;

/* The usable size that a request of `size` bytes would get; `size` itself when no
 * request of that size can succeed. */
mi_decl_nodiscard mi_decl_export size_t mi_good_size(size_t size) mi_attr_noexcept;

/* Reclaims what other threads freed, runs the deferred-free callback, releases the empty pages of
 * the calling thread, and purges memory whose purge_delay has passed. With `force` purges all free
 * memory of the process at once, unless a negative purge_delay forbids it. */
mi_decl_export void mi_collect(bool force) mi_attr_noexcept;

/* MI_MALLOC_VERSION of the library in use: the version of the interface. */
mi_decl_export int mi_version(void) mi_attr_noexcept;

/* The release of this implementation, as major * 10000 + minor * 100 + patch, and as text like
 * "2.3.0+2.1.7", followed by the interface version (static memory) (extension). */
#define MI_HAS_RELEASE 1
mi_decl_export int mi_release(void) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export const char* mi_release_text(void) mi_attr_noexcept;

/* mi_free for a block from one of the `_small` functions. Since 2.4.1. */
#define MI_HAS_SMALL_EXTRA 1
mi_decl_export void mi_free_small(void* p) mi_attr_noexcept;

/* mi_collect(true). Then the calling thread keeps at most `target_thread_owned` bytes of partly
 * used pages; other threads may use the rest. Since 2.4.1. */
mi_decl_export void mi_collect_reduce(size_t target_thread_owned) mi_attr_noexcept;

/* Variants that also return the usable size of the block: `*block_size` (may be NULL) is written
 * on success only; for aligned requests it counts from the returned pointer. mi_urealloc returns
 * the usable size before (0 for NULL `p`) and after, mi_ufree that of the released block. Since
 * 2.4.1. */
#define MI_HAS_UBLOCK 1
mi_decl_alloc(1) void* mi_umalloc(size_t size, size_t* block_size) mi_attr_noexcept;
mi_decl_alloc_n(1, 2) void* mi_ucalloc(size_t count, size_t size, size_t* block_size)
    mi_attr_noexcept;
mi_decl_realloc(2) void* mi_urealloc(void* p, size_t newsize, size_t* block_size_pre,
                                     size_t* block_size_post) mi_attr_noexcept;
mi_decl_export void mi_ufree(void* p, size_t* block_size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_umalloc_aligned(size_t size, size_t alignment, size_t* block_size)
    mi_attr_noexcept mi_attr_alloc_align(2);
mi_decl_alloc(1) void* mi_uzalloc_aligned(size_t size, size_t alignment, size_t* block_size)
    mi_attr_noexcept mi_attr_alloc_align(2);
mi_decl_alloc(1) void* mi_umalloc_small(size_t size, size_t* block_size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_uzalloc_small(size_t size, size_t* block_size) mi_attr_noexcept;

/* Entry points for requests whose alignment is known to be 8 or less (extension). They may use size
 * classes in steps of 8 bytes (24, 40, 56, ...) and return blocks that are only 8-byte aligned;
 * release with mi_free. */
#define MI_HAS_ALIGN8 1
mi_decl_alloc(1) void* mi_malloc_align8(size_t size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_zalloc_align8(size_t size) mi_attr_noexcept;
mi_decl_realloc(2) void* mi_realloc_align8(void* p, size_t newsize) mi_attr_noexcept;

/* ---- callbacks ----------------------------------------------------------- */

/* Registers a callback in which a program may free what it has put aside. It is called on every
 * collect, and by allocation: between two calls lie at most as many allocations as there are free
 * blocks ready (up to 8,192 for each heap and block size in use). `heartbeat` grows strictly on
 * each thread. The callback may allocate and free; a thread does not enter it again while it is
 * inside. */
typedef void(mi_cdecl mi_deferred_free_fun)(bool force, unsigned long long heartbeat, void* arg);
mi_decl_export void mi_register_deferred_free(mi_deferred_free_fun* deferred_free, void* arg)
    mi_attr_noexcept;

/* Receives every message of the library; NULL restores standard error. A newly registered function
 * first receives the messages printed before (at most 32 KiB). */
typedef void(mi_cdecl mi_output_fun)(const char* msg, void* arg);
mi_decl_export void mi_register_output(mi_output_fun* out, void* arg) mi_attr_noexcept;

/* Receives the code of every error (ENOMEM, EINVAL, EAGAIN, EFAULT, EOVERFLOW) instead of the
 * default reaction; NULL restores the default: the program continues, or aborts on a memory-safety
 * violation in debug and secure builds. */
typedef void(mi_cdecl mi_error_fun)(int err, void* arg);
mi_decl_export void mi_register_error(mi_error_fun* fun, void* arg) mi_attr_noexcept;

/* ---- limits (extension) ------------------------------------------------- */

/* A limit is a number of bytes that the library opens at most: OS pages in use, or free and not yet
 * given back; blocks that have a mapping of their own; its metadata, and what is in quarantine.
 * Above the hard limit an allocation returns NULL, with errno ENOMEM, after the library has given
 * back all that it could. Blocks stay valid, and later calls succeed as soon as there is room. When
 * the bytes rise above the soft limit, a function of the program runs, and the library gives back
 * what waits for that. docs/guide.md has the details, and how operators set limits. */
#define MI_HAS_LIMITS 1
/* Sets the options limit_soft and limit_hard, in bytes (0: no limit), rounded down to KiB. False,
 * without effect, if `soft` is above `hard`. */
mi_decl_export bool mi_limit_set(size_t soft, size_t hard) mi_attr_noexcept;
/* The bytes that count towards the limits now. Without a limit it takes time to find out. */
mi_decl_export size_t mi_limit_used(void) mi_attr_noexcept;
/* Registers the function for the soft limit (in bytes, like `used`); NULL: none. It runs once for
 * each rise above the limit, in the thread whose allocation crossed it, before that returns. The
 * next rise counts after `used` has fallen to 15/16 of the limit. The function may allocate and
 * free. It is not entered again by the thread that is inside. */
typedef void(mi_cdecl mi_limit_fun)(size_t used, size_t limit, void* arg);
mi_decl_export void mi_register_limit(mi_limit_fun* fun, void* arg) mi_attr_noexcept;

/* ---- process, threads, statistics ---------------------------------------- */

/* Set up the process and the calling thread. The first allocation does both; the calls may be
 * repeated. */
mi_decl_export void mi_process_init(void) mi_attr_noexcept;
mi_decl_export void mi_thread_init(void) mi_attr_noexcept;

/* Ends the use of the allocator by the calling thread: its blocks stay valid, its pages become
 * available to other threads. Thread exit does this by itself; a later allocation starts the thread
 * anew. */
mi_decl_export void mi_thread_done(void) mi_attr_noexcept;

/* For a thread that is about to rest: gives up all memory of the calling thread that no live block
 * needs. Its blocks and heaps stay valid, other threads can use its partly used pages, and empty
 * pages go back to the system. The thread may allocate and free afterwards as before. Any thread
 * may call it, at any time. First-class heaps keep their pages with live blocks (extension). */
mi_decl_export void mi_thread_idle(void) mi_attr_noexcept;

/* Marks the calling thread as one of a pool; accepted, without effect. Since 2.4.1. */
mi_decl_export void mi_thread_set_in_threadpool(void) mi_attr_noexcept;

/* Does the work of process exit: prints statistics if options ask for them, and returns all unused
 * memory with mi_option_destroy_on_exit. Runs once. The exit of the process calls it; with a value
 * of that option above 1 only the program does. Since 2.4.1. */
mi_decl_export void mi_process_done(void) mi_attr_noexcept;

/* True when a redirection DLL routes the allocation of the C runtime to this library (Windows only;
 * false elsewhere). */
mi_decl_nodiscard mi_decl_export bool mi_is_redirected(void) mi_attr_noexcept;

/* Prints statistics of the process, line by line, through `out` (NULL: the registered function or
 * standard error). As a struct or as JSON: mimalloc-stats.h. */
mi_decl_export void mi_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept;
/* The same; `out` is NULL, or an mi_output_fun*. Prefer mi_stats_print_out. */
mi_decl_export void mi_stats_print(void* out) mi_attr_noexcept;
/* Statistics of the calling thread's heaps. */
mi_decl_export void mi_thread_stats_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept;
/* Resets statistics: totals count from 0, and peaks start at the current value. */
mi_decl_export void mi_stats_reset(void) mi_attr_noexcept;
/* Puts the blocks that the calling thread holds ready for allocation back into its pages. Then
 * statistics that other threads request are exact for this thread. */
mi_decl_export void mi_stats_merge(void) mi_attr_noexcept;

/* Prints what the name says, line by line; `out` as in mi_stats_print_out.
 * mi_options_print and mi_arenas_print since 2.4.1, the others since 3.4.3. */
#define MI_HAS_PRINT 1
mi_decl_export void mi_options_print(void) mi_attr_noexcept;
mi_decl_export void mi_options_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept;
mi_decl_export void mi_process_info_print(void) mi_attr_noexcept;
mi_decl_export void mi_process_info_print_out(mi_output_fun* out, void* arg) mi_attr_noexcept;
mi_decl_export void mi_arenas_print(void) mi_attr_noexcept;

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
mi_decl_alloc(1) void* mi_malloc_aligned(size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(2);
mi_decl_alloc(1) void* mi_malloc_aligned_at(size_t size, size_t alignment, size_t offset)
    mi_attr_noexcept;
mi_decl_alloc(1) void* mi_zalloc_aligned(size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(2);
mi_decl_alloc(1) void* mi_zalloc_aligned_at(size_t size, size_t alignment, size_t offset)
    mi_attr_noexcept;
mi_decl_alloc_n(1, 2) void* mi_calloc_aligned(size_t count, size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(3);
mi_decl_alloc_n(1, 2) void* mi_calloc_aligned_at(size_t count, size_t size, size_t alignment,
                                                 size_t offset) mi_attr_noexcept;
mi_decl_realloc(2) void* mi_realloc_aligned(void* p, size_t newsize, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(3);
mi_decl_realloc(2) void* mi_realloc_aligned_at(void* p, size_t newsize, size_t alignment,
                                               size_t offset) mi_attr_noexcept;

/* ---- zero-initialised re-allocation ---------------------------------------- */

/* Reallocate blocks that came from a zero-initialising call: everything from the old usable size to
 * the new usable size is zero. */
mi_decl_realloc(2) void* mi_rezalloc(void* p, size_t newsize) mi_attr_noexcept;
mi_decl_realloc_n(2, 3) void* mi_recalloc(void* p, size_t newcount, size_t size) mi_attr_noexcept;
mi_decl_realloc(2) void* mi_rezalloc_aligned(void* p, size_t newsize, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(3);
mi_decl_realloc(2) void* mi_rezalloc_aligned_at(void* p, size_t newsize, size_t alignment,
                                                size_t offset) mi_attr_noexcept;
mi_decl_realloc_n(2, 3) void* mi_recalloc_aligned(void* p, size_t newcount, size_t size,
                                                  size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(4);
mi_decl_realloc_n(2, 3) void* mi_recalloc_aligned_at(void* p, size_t newcount, size_t size,
                                                     size_t alignment, size_t offset)
    mi_attr_noexcept;

/* ---- first-class heaps ------------------------------------------------------- */

/* A heap is a set of pages that one thread allocates from. Each thread has a backing
 * heap, which is its default heap at first; more are made with mi_heap_new.
 *
 * Only the thread that created a heap may allocate from it, change it or delete it
 * (debug builds abort otherwise); blocks may be released and resized by any thread. A
 * NULL heap means the calling thread's default heap, unless its comment says otherwise.
 * Heaps that still exist when their thread ends are deleted then: live blocks stay
 * valid. */
struct mi_heap_s;
typedef struct mi_heap_s mi_heap_t;

/* A new heap of the calling thread; NULL when memory runs out. */
mi_decl_nodiscard mi_decl_export mi_heap_t* mi_heap_new(void);
/* Removes a heap; its live blocks move to the thread's backing heap and stay valid,
 * also while other threads are releasing them. (Blocks in an exclusive arena, or of a heap
 * with a tag, move to no heap.) NULL and backing heaps: no effect. */
mi_decl_export void mi_heap_delete(mi_heap_t* heap);
/* Removes a heap together with all its live blocks, in time proportional to its pages.
 * NULL: no effect. A backing heap, and one made with `allow_destroy` false, is treated
 * as by mi_heap_delete. */
mi_decl_export void mi_heap_destroy(mi_heap_t* heap);
/* Makes `heap` the one that mi_malloc and related functions use in the calling thread; returns the
 * previous one. NULL: no effect, and returns NULL. */
mi_decl_export mi_heap_t* mi_heap_set_default(mi_heap_t* heap);
/* The calling thread's default heap, and its backing heap; NULL only when memory runs
 * out at a thread's first call, and after the thread's end (in late destructors). */
mi_decl_export mi_heap_t* mi_heap_get_default(void);
mi_decl_export mi_heap_t* mi_heap_get_backing(void);
/* mi_collect for one heap. */
mi_decl_export void mi_heap_collect(mi_heap_t* heap, bool force) mi_attr_noexcept;

/* Allocation from a heap. The rules of the functions without `heap` apply. The reallocating forms
 * take a new block, if one is needed, from `heap`; a block that can stay in place stays in its
 * heap. */
mi_decl_alloc(2) void* mi_heap_malloc(mi_heap_t* heap, size_t size) mi_attr_noexcept;
mi_decl_alloc(2) void* mi_heap_zalloc(mi_heap_t* heap, size_t size) mi_attr_noexcept;
mi_decl_alloc_n(2, 3) void* mi_heap_calloc(mi_heap_t* heap, size_t count, size_t size)
    mi_attr_noexcept;
mi_decl_alloc_n(2, 3) void* mi_heap_mallocn(mi_heap_t* heap, size_t count, size_t size)
    mi_attr_noexcept;
mi_decl_alloc(2) void* mi_heap_malloc_small(mi_heap_t* heap, size_t size) mi_attr_noexcept;
/* Since 2.4.1. */
mi_decl_alloc(2) void* mi_heap_zalloc_small(mi_heap_t* heap, size_t size) mi_attr_noexcept;
mi_decl_realloc(3) void* mi_heap_realloc(mi_heap_t* heap, void* p, size_t newsize) mi_attr_noexcept;
mi_decl_realloc_n(3, 4) void* mi_heap_reallocn(mi_heap_t* heap, void* p, size_t count, size_t size)
    mi_attr_noexcept;
mi_decl_realloc(3) void* mi_heap_reallocf(mi_heap_t* heap, void* p, size_t newsize)
    mi_attr_noexcept;
mi_decl_copy char* mi_heap_strdup(mi_heap_t* heap, const char* s) mi_attr_noexcept;
mi_decl_copy char* mi_heap_strndup(mi_heap_t* heap, const char* s, size_t n) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export char* mi_heap_realpath(mi_heap_t* heap, const char* fname,
                                                        char* resolved_name) mi_attr_noexcept;

mi_decl_alloc(2) void* mi_heap_malloc_aligned(mi_heap_t* heap, size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(3);
mi_decl_alloc(2) void* mi_heap_malloc_aligned_at(mi_heap_t* heap, size_t size, size_t alignment,
                                                 size_t offset) mi_attr_noexcept;
mi_decl_alloc(2) void* mi_heap_zalloc_aligned(mi_heap_t* heap, size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(3);
mi_decl_alloc(2) void* mi_heap_zalloc_aligned_at(mi_heap_t* heap, size_t size, size_t alignment,
                                                 size_t offset) mi_attr_noexcept;
mi_decl_alloc_n(2, 3) void* mi_heap_calloc_aligned(mi_heap_t* heap, size_t count, size_t size,
                                                   size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(4);
mi_decl_alloc_n(2, 3) void* mi_heap_calloc_aligned_at(mi_heap_t* heap, size_t count, size_t size,
                                                      size_t alignment, size_t offset)
    mi_attr_noexcept;
mi_decl_realloc(3) void* mi_heap_realloc_aligned(mi_heap_t* heap, void* p, size_t newsize,
                                                 size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(4);
mi_decl_realloc(3) void* mi_heap_realloc_aligned_at(mi_heap_t* heap, void* p, size_t newsize,
                                                    size_t alignment, size_t offset)
    mi_attr_noexcept;

mi_decl_realloc(3) void* mi_heap_rezalloc(mi_heap_t* heap, void* p, size_t newsize)
    mi_attr_noexcept;
mi_decl_realloc_n(3, 4) void* mi_heap_recalloc(mi_heap_t* heap, void* p, size_t newcount,
                                               size_t size) mi_attr_noexcept;
mi_decl_realloc(3) void* mi_heap_rezalloc_aligned(mi_heap_t* heap, void* p, size_t newsize,
                                                  size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(4);
mi_decl_realloc(3) void* mi_heap_rezalloc_aligned_at(mi_heap_t* heap, void* p, size_t newsize,
                                                     size_t alignment, size_t offset)
    mi_attr_noexcept;
mi_decl_realloc_n(3, 4) void* mi_heap_recalloc_aligned(mi_heap_t* heap, void* p, size_t newcount,
                                                       size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(5);
mi_decl_realloc_n(3, 4) void* mi_heap_recalloc_aligned_at(mi_heap_t* heap, void* p, size_t newcount,
                                                          size_t size, size_t alignment,
                                                          size_t offset) mi_attr_noexcept;

/* mi_new and mi_new_n from a heap. */
mi_decl_alloc(2) void* mi_heap_alloc_new(mi_heap_t* heap, size_t size);
mi_decl_alloc_n(2, 3) void* mi_heap_alloc_new_n(mi_heap_t* heap, size_t count, size_t size);

/* ---- looking at heaps ---------------------------------------------------------- */

/* True when the block that `p` points into belongs to `heap`. Any `p` may be passed; a
 * NULL heap gives false. */
mi_decl_export bool mi_heap_contains_block(mi_heap_t* heap, const void* p);
/* True when `p` is word-aligned and lies in the memory that blocks of `heap` may occupy,
 * live or not. Any `p` may be passed; a NULL heap gives false. */
mi_decl_export bool mi_heap_check_owned(mi_heap_t* heap, const void* p);
/* mi_heap_check_owned of the calling thread's default heap. */
mi_decl_export bool mi_check_owned(const void* p);

/* One area: memory with blocks of one size. */
typedef struct mi_heap_area_s {
  void* blocks;           /* start of the blocks */
  size_t reserved;        /* bytes of address space */
  size_t committed;       /* bytes that blocks lie in so far */
  size_t used;            /* number of live blocks */
  size_t block_size;      /* usable bytes of each block */
  size_t full_block_size; /* distance from one block to the next, bytes */
} mi_heap_area_t;

/* Called once for each area with `block` NULL, then, if requested, for each live block of the area;
 * false ends the visit. The visitor may allocate from heaps other than the visited one. It must not
 * release blocks of the visited heap. */
typedef bool(mi_cdecl mi_block_visit_fun)(const mi_heap_t* heap, const mi_heap_area_t* area,
                                          void* block, size_t block_size, void* arg);

/* Visits all areas of a heap of the calling thread, and with `visit_all_blocks` all live blocks,
 * each once. False when the visitor ended the visit, when there is no area, and for a NULL heap or
 * visitor. Other threads may release blocks meanwhile; those may be visited or not. Takes time
 * proportional to the memory of the whole process. The backing heap of a thread may have reclaimed
 * memory of ended threads. */
mi_decl_export bool mi_heap_visit_blocks(const mi_heap_t* heap, bool visit_all_blocks,
                                         mi_block_visit_fun* visitor, void* arg);

/* The same for the memory of ended threads that no thread has reclaimed; the visitor receives
 * mi_heap_main() as its heap. True when there was nothing to visit. Of two such visits at the same
 * time each may miss the pages that the other visits at this moment.
 * mi_abandoned_visit_blocks (since 2.4.1) accepts one sub-process, NULL. `heap_tag` selects what
 * heaps with this tag left, -1 everything. mi_heap_visit_abandoned_blocks (since 3.4.3) takes any
 * heap of the calling thread, or NULL, and visits everything. */
#define MI_HAS_VISIT_ABANDONED 1
typedef void* mi_subproc_id_t;
mi_decl_export bool mi_abandoned_visit_blocks(mi_subproc_id_t subproc_id, int heap_tag,
                                              bool visit_blocks, mi_block_visit_fun* visitor,
                                              void* arg);
mi_decl_export bool mi_heap_visit_abandoned_blocks(mi_heap_t* heap, bool visit_blocks,
                                                   mi_block_visit_fun* visitor, void* arg);

/* Questions about any address, from any thread, since 3.4.3.
 * mi_heap_of: the heap of the block at `p` (mi_heap_main() for blocks of ended threads); NULL when
 * `p` lies in no block of the allocator.
 * mi_heap_contains: true when that is `heap` (NULL: mi_heap_main()). mi_any_heap_contains: true
 * when there is one. mi_heap_main: the backing heap of the first thread, which always exists. Only
 * that thread may allocate from it, and no thread after its mi_thread_done. */
#define MI_HAS_HEAP_QUERY 1
mi_decl_nodiscard mi_decl_export mi_heap_t* mi_heap_of(const void* p);
mi_decl_nodiscard mi_decl_export bool mi_heap_contains(const mi_heap_t* heap, const void* p);
mi_decl_nodiscard mi_decl_export bool mi_any_heap_contains(const void* p);
mi_decl_nodiscard mi_decl_export mi_heap_t* mi_heap_main(void);

/* True when moving the block `p` elsewhere could help to release its page: the page belongs to
 * `heap` (NULL: any), is not the active page of its size class, has no memory that was never used,
 * is not full, and at most `perc_threshold` percent of its blocks are in use. The caller must be
 * the only user of the page. Since 2.4.1. */
mi_decl_export bool mi_unsafe_heap_page_is_under_utilized(mi_heap_t* heap, void* p,
                                                          size_t perc_threshold) mi_attr_noexcept;

/* ---- arenas ---------------------------------------------------------------------- */

/* An arena is address space that pages are taken from. The id 0 means "no particular arena". */
typedef int mi_arena_id_t;

/* Gives `size` bytes at `start` to the allocator as a shared arena. The allocator uses them until
 * the process ends and never unmaps them. `start` and `size` are narrowed to multiples of 64 KiB.
 * `is_committed`: accessible now; `is_large`: backed by large OS pages, hence never purged;
 * `is_zero`: all zero now; `numa_node` is a hint, -1 for any. False when less than 64 KiB remain,
 * when the allocator cannot represent the addresses or manages them already, or when there are 192
 * arenas. */
mi_decl_export bool mi_manage_os_memory(void* start, size_t size, bool is_committed, bool is_large,
                                        bool is_zero, int numa_node) mi_attr_noexcept;
/* Reserves `size` bytes (rounded up to 64 KiB) as a shared arena, accessible at once with
 * `commit`, in large OS pages where possible with `allow_large`. 0, or ENOMEM (also for size 0). */
mi_decl_export int mi_reserve_os_memory(size_t size, bool commit, bool allow_large)
    mi_attr_noexcept;
/* Reserves `pages` huge OS pages of 1 GiB as a shared arena, on `numa_node` (-1: any, taken modulo
 * the number of nodes) within `timeout_msecs` (0: no limit). Returns 0 when at least one page was
 * obtained or `pages` is 0, else ENOMEM. */
mi_decl_export int mi_reserve_huge_os_pages_at(size_t pages, int numa_node, size_t timeout_msecs)
    mi_attr_noexcept;
/* The same, spread evenly over `numa_nodes` nodes (0: all nodes). Stops at the first node that
 * fails, with its error. */
mi_decl_export int mi_reserve_huge_os_pages_interleave(size_t pages, size_t numa_nodes,
                                                       size_t timeout_msecs) mi_attr_noexcept;
/* Deprecated: mi_reserve_huge_os_pages_interleave(pages, 0, max_secs * 1000);
 * `*pages_reserved` is `pages` or, on error, 0. */
mi_decl_export int mi_reserve_huge_os_pages(size_t pages, double max_secs, size_t* pages_reserved)
    mi_attr_noexcept;

/* The same, and the arena's id in `*arena_id` (may be NULL; 0 when there is none). Only heaps
 * that are bound to an `exclusive` arena use it. */
mi_decl_export bool mi_manage_os_memory_ex(void* start, size_t size, bool is_committed,
                                           bool is_large, bool is_zero, int numa_node,
                                           bool exclusive, mi_arena_id_t* arena_id)
    mi_attr_noexcept;
mi_decl_export int mi_reserve_os_memory_ex(size_t size, bool commit, bool allow_large,
                                           bool exclusive, mi_arena_id_t* arena_id)
    mi_attr_noexcept;
mi_decl_export int mi_reserve_huge_os_pages_at_ex(size_t pages, int numa_node, size_t timeout_msecs,
                                                  bool exclusive, mi_arena_id_t* arena_id)
    mi_attr_noexcept;

/* Start and `*size` (may be NULL) of an arena; NULL and 0 when there is none of that id. */
mi_decl_export void* mi_arena_area(mi_arena_id_t arena_id, size_t* size) mi_attr_noexcept;
/* Prints which slices of the arenas are in use, hold abandoned pages, wait for purge. */
mi_decl_export void mi_debug_show_arenas(bool show_inuse, bool show_abandoned, bool show_purge)
    mi_attr_noexcept;

/* Alignment and least size of memory for an arena, bytes; whether `p` lies in an arena.
 * Since 3.4.3. */
#define MI_HAS_ARENA_QUERY 1
mi_decl_nodiscard mi_decl_export size_t mi_arena_min_alignment(void) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_arena_min_size(void) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export bool mi_arena_contains(mi_arena_id_t arena_id, const void* p)
    mi_attr_noexcept;

/* A heap whose blocks all lie in the given arena (0: in any). Its allocations return NULL
 * when the arena is full. NULL for an id that does not exist. */
#if MI_MALLOC_VERSION >= 182
mi_decl_nodiscard mi_decl_export mi_heap_t* mi_heap_new_in_arena(mi_arena_id_t arena_id);
#endif
/* mi_heap_new_in_arena with a tag from 0 to 255, for mi_abandoned_visit_blocks: no thread reclaims
 * the memory that a heap with a tag other than 0 leaves. With `allow_destroy` false,
 * mi_heap_destroy acts as mi_heap_delete. NULL for a tag out of range. Since 2.4.1. */
#define MI_HAS_HEAP_EX 1
mi_decl_nodiscard mi_decl_export mi_heap_t* mi_heap_new_ex(int heap_tag, bool allow_destroy,
                                                           mi_arena_id_t arena_id);
/* New pages of `heap` come from arenas on `numa_node` where there are any (negative: no
 * preference). Since 3.4.3. */
mi_decl_export void mi_heap_set_numa_affinity(mi_heap_t* heap, int numa_node) mi_attr_noexcept;

/* Limits the bytes of the heap's pages and large blocks; 0: no limit. Above it, allocation from the
 * heap returns NULL with errno ENOMEM. Of a backing heap, what it holds from now on counts. A heap
 * of another thread: false, without effect. Extension, see mi_limit_set. */
mi_decl_export bool mi_heap_set_limit(mi_heap_t* heap, size_t bytes) mi_attr_noexcept;

/* ---- options ---------------------------------------------------------------- */

/* Options are read from the environment variables MIMALLOC_<NAME> at start-up, except in set-uid
 * programs. Units and effects: docs/guide.md. The numbers are those of 2.1.7, then those of 2.4.1;
 * options that 3.4.3 added follow.
 *
 * A program may define a string that is read before the environment (extension):
 *     const char mi_default_options[] = "purge_delay=0, arena_reserve=256MiB";
 * Values are parsed as in the environment. In C++ it needs extern "C"; a program that loads the
 * library as a shared one must export the symbol (-rdynamic). */
#define MI_HAS_DEFAULT_OPTIONS 1
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
  mi_option_visit_abandoned, /* from here on since 2.4.1 */
  mi_option_guarded_min,
  mi_option_guarded_max,
  mi_option_guarded_precise,
  mi_option_guarded_sample_rate,
  mi_option_guarded_sample_seed,
  mi_option_target_segments_per_thread,
  mi_option_generic_collect,
  mi_option_allow_thp,
  mi_option_page_reclaim_on_free, /* from here on since 3.4.3 */
  mi_option_page_full_retain,
  mi_option_page_max_candidates,
  mi_option_max_vabits,
  mi_option_pagemap_commit,
  mi_option_page_commit_on_demand,
  mi_option_page_max_reclaim,
  mi_option_page_cross_thread_max_reclaim,
  mi_option_minimal_purge_size,
  mi_option_arena_max_object_size,
  mi_option_arena_is_numa_local,

  mi_option_limit_hard, /* extension, and the next two */
  mi_option_limit_soft,
  mi_option_limit_container,

  _mi_option_last,
  mi_option_large_os_pages = mi_option_allow_large_os_pages,
  mi_option_eager_region_commit = mi_option_arena_eager_commit,
  mi_option_reset_decommits = mi_option_purge_decommits,
  mi_option_reset_delay = mi_option_purge_delay,
  mi_option_abandoned_page_reset = mi_option_abandoned_page_purge,
  mi_option_limit_os_alloc = mi_option_disallow_os_alloc,
  mi_option_deprecated_eager_commit = mi_option_eager_commit,
  mi_option_deprecated_abandoned_page_purge = mi_option_abandoned_page_purge,
  mi_option_deprecated_eager_commit_delay = mi_option_eager_commit_delay,
  mi_option_deprecated_max_segment_reclaim = mi_option_max_segment_reclaim,
  mi_option_deprecated_purge_extend_delay = mi_option_purge_extend_delay
} mi_option_t;

/* An option out of range reads as 0; setting it has no effect. */
mi_decl_nodiscard mi_decl_export bool mi_option_is_enabled(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_enable(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_disable(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_set_enabled(mi_option_t option, bool enable) mi_attr_noexcept;
mi_decl_export void mi_option_set_enabled_default(mi_option_t option, bool enable) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export long mi_option_get(mi_option_t option) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export long mi_option_get_clamp(mi_option_t option, long min, long max)
    mi_attr_noexcept;
/* The value in bytes: options counted in KiB are multiplied by 1024. */
mi_decl_nodiscard mi_decl_export size_t mi_option_get_size(mi_option_t option) mi_attr_noexcept;
mi_decl_export void mi_option_set(mi_option_t option, long value) mi_attr_noexcept;
/* Sets the value only while neither the environment nor the program has set it. */
mi_decl_export void mi_option_set_default(mi_option_t option, long value) mi_attr_noexcept;

/* ---- POSIX and Unix names ----------------------------------------------------- */

/* mi_free that ignores an address that the allocator does not manage. */
mi_decl_export void mi_cfree(void* p) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_size(const void* p) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_good_size(size_t size) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export size_t mi_malloc_usable_size(const void* p) mi_attr_noexcept;

/* Returns 0 with the block in `*p`, or EINVAL (NULL `p`; alignment not a power of two or not a
 * multiple of sizeof(void*)), or ENOMEM. On an error `*p` stays unchanged. errno is kept. */
mi_decl_export int mi_posix_memalign(void** p, size_t alignment, size_t size) mi_attr_noexcept;
mi_decl_alloc(2) void* mi_memalign(size_t alignment, size_t size)
    mi_attr_noexcept mi_attr_alloc_align(1);
mi_decl_alloc(1) void* mi_valloc(size_t size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_pvalloc(size_t size) mi_attr_noexcept;
mi_decl_alloc(2) void* mi_aligned_alloc(size_t alignment, size_t size)
    mi_attr_noexcept mi_attr_alloc_align(1);

/* mi_reallocn that sets errno: EOVERFLOW when the product overflows, else ENOMEM. */
mi_decl_realloc_n(2, 3) void* mi_reallocarray(void* p, size_t count, size_t size) mi_attr_noexcept;

/* The NetBSD function: `p` is the address of a block pointer, which is updated. Returns 0 or an
 * error that is also left in errno: EINVAL (NULL `p`), EOVERFLOW, ENOMEM. On an error the pointer
 * stays unchanged. A `count` or `size` of 0 releases the block and stores NULL. */
mi_decl_export int mi_reallocarr(void* p, size_t count, size_t size) mi_attr_noexcept;

/* ---- Microsoft names ------------------------------------------------------------ */

/* mi_expand that sets errno to ENOMEM when it returns NULL. */
mi_decl_export void* mi__expand(void* p, size_t newsize) mi_attr_noexcept;
/* mi_recalloc_aligned and mi_recalloc_aligned_at. */
mi_decl_nodiscard mi_decl_export void* mi_aligned_recalloc(void* p, size_t newcount, size_t size,
                                                           size_t alignment) mi_attr_noexcept;
mi_decl_nodiscard mi_decl_export void* mi_aligned_offset_recalloc(void* p, size_t newcount,
                                                                  size_t size, size_t alignment,
                                                                  size_t offset) mi_attr_noexcept;
/* Copies of a string of 16-bit units, and of bytes; NULL for NULL. */
mi_decl_copy unsigned short* mi_wcsdup(const unsigned short* s) mi_attr_noexcept;
mi_decl_copy unsigned char* mi_mbsdup(const unsigned char* s) mi_attr_noexcept;
/* A copy of the environment variable `name` in `*buf` and its length with the terminator in
 * `*size` (may be NULL); NULL and 0 when there is none. 0, EINVAL (NULL `buf` or `name`) or
 * ENOMEM. The wide form is for Windows; elsewhere NULL, 0 and EINVAL. */
mi_decl_export int mi_dupenv_s(char** buf, size_t* size, const char* name) mi_attr_noexcept;
mi_decl_export int mi_wdupenv_s(unsigned short** buf, size_t* size, const unsigned short* name)
    mi_attr_noexcept;

/* ---- C++ and sized release ------------------------------------------------------ */

/* mi_free with the size or alignment of the request; the values are used for checks only. */
mi_decl_export void mi_free_size(void* p, size_t size) mi_attr_noexcept;
mi_decl_export void mi_free_size_aligned(void* p, size_t size, size_t alignment) mi_attr_noexcept;
mi_decl_export void mi_free_aligned(void* p, size_t alignment) mi_attr_noexcept;

/* Allocation by the C++ protocol: a failed request calls the new-handler and tries again, as long
 * as there is a handler. Then it throws std::bad_alloc if there is a C++ runtime, else the program
 * aborts. */
mi_decl_alloc(1) void* mi_new(size_t size);
mi_decl_alloc(1) void* mi_new_aligned(size_t size, size_t alignment) mi_attr_alloc_align(2);
/* The same, but returns NULL instead of throwing std::bad_alloc. */
mi_decl_alloc(1) void* mi_new_nothrow(size_t size) mi_attr_noexcept;
mi_decl_alloc(1) void* mi_new_aligned_nothrow(size_t size, size_t alignment)
    mi_attr_noexcept mi_attr_alloc_align(2);
/* Arrays, and reallocation. No new-handler can fix an overflowing product, so it is called once
 * only. `p` stays valid until the call succeeds. */
mi_decl_alloc_n(1, 2) void* mi_new_n(size_t count, size_t size);
mi_decl_realloc(2) void* mi_new_realloc(void* p, size_t newsize);
mi_decl_realloc_n(2, 3) void* mi_new_reallocn(void* p, size_t newcount, size_t size);

#ifdef __cplusplus
}
#endif

/* ---- typed allocation ------------------------------------------------------------- */

#define mi_malloc_tp(tp) ((tp*)mi_malloc(sizeof(tp)))
#define mi_zalloc_tp(tp) ((tp*)mi_zalloc(sizeof(tp)))
#define mi_calloc_tp(tp, n) ((tp*)mi_calloc(n, sizeof(tp)))
#define mi_mallocn_tp(tp, n) ((tp*)mi_mallocn(n, sizeof(tp)))
#define mi_reallocn_tp(p, tp, n) ((tp*)mi_reallocn(p, n, sizeof(tp)))
#define mi_recalloc_tp(p, tp, n) ((tp*)mi_recalloc(p, n, sizeof(tp)))
#define mi_heap_malloc_tp(hp, tp) ((tp*)mi_heap_malloc(hp, sizeof(tp)))
#define mi_heap_zalloc_tp(hp, tp) ((tp*)mi_heap_zalloc(hp, sizeof(tp)))
#define mi_heap_calloc_tp(hp, tp, n) ((tp*)mi_heap_calloc(hp, n, sizeof(tp)))
#define mi_heap_mallocn_tp(hp, tp, n) ((tp*)mi_heap_mallocn(hp, n, sizeof(tp)))
#define mi_heap_reallocn_tp(hp, p, tp, n) ((tp*)mi_heap_reallocn(hp, p, n, sizeof(tp)))
#define mi_heap_recalloc_tp(hp, p, tp, n) ((tp*)mi_heap_recalloc(hp, p, n, sizeof(tp)))

/* ---- allocators for the containers of C++ ------------------------------------------ */

#ifdef __cplusplus

#include <cstddef>
#include <new>

/* From C++11 on: allocators for containers with a heap of their own. */
#if (__cplusplus >= 201103L) || (defined(_MSC_VER) && _MSC_VER >= 1900)
#define MI_HAS_HEAP_STL_ALLOCATOR 1
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>
#endif

/* What all allocators share. C++20 removed `construct`, `destroy` and `address` from
 * std::allocator; here they stay. */
template <class T> struct _mi_stl_allocator_common {
  typedef T value_type;
  typedef std::size_t size_type;
  typedef std::ptrdiff_t difference_type;
  typedef value_type& reference;
  typedef value_type const& const_reference;
  typedef value_type* pointer;
  typedef value_type const* const_pointer;

#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  using propagate_on_container_copy_assignment = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  template <class U, class... Args> void construct(U* p, Args&&... args) {
    ::new (const_cast<void*>(static_cast<const volatile void*>(p))) U(std::forward<Args>(args)...);
  }
  template <class U> void destroy(U* p) mi_attr_noexcept { p->~U(); }
  pointer address(reference x) const mi_attr_noexcept { return std::addressof(x); }
  const_pointer address(const_reference x) const mi_attr_noexcept { return std::addressof(x); }
#else
  void construct(pointer p, value_type const& value) {
    ::new (static_cast<void*>(p)) value_type(value);
  }
  void destroy(pointer p) { p->~value_type(); }
  pointer address(reference x) const { return &x; }
  const_pointer address(const_reference x) const { return &x; }
#endif

  size_type max_size() const mi_attr_noexcept {
    return static_cast<size_type>(-1) / 2 / sizeof(value_type); /* PTRDIFF_MAX bytes */
  }
};

/* Allocates with mi_new_n and releases with mi_free, so any allocator can release the block of
 * another. Types with an alignment above 16 bytes get it from C++11 on; every block has 16. */
template <class T> struct mi_stl_allocator : public _mi_stl_allocator_common<T> {
  typedef typename _mi_stl_allocator_common<T>::size_type size_type;
  template <class U> struct rebind { typedef mi_stl_allocator<U> other; };
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
  using is_always_equal = std::true_type;
#endif

  mi_stl_allocator() mi_attr_noexcept {}
  template <class U> mi_stl_allocator(const mi_stl_allocator<U>&) mi_attr_noexcept {}
  mi_stl_allocator select_on_container_copy_construction() const { return *this; }

  mi_decl_nodiscard T* allocate(size_type count) {
#if defined(MI_HAS_HEAP_STL_ALLOCATOR)
    if (alignof(T) > 16 && count <= this->max_size())
      return static_cast<T*>(mi_new_aligned(count * sizeof(T), alignof(T)));
#endif
    return static_cast<T*>(mi_new_n(count, sizeof(T)));
  }
  mi_decl_nodiscard T* allocate(size_type count, const void*) { return allocate(count); }
  void deallocate(T* p, size_type) mi_attr_noexcept { mi_free(p); }
};

template <class T, class U>
bool operator==(const mi_stl_allocator<T>&, const mi_stl_allocator<U>&) mi_attr_noexcept {
  return true;
}
template <class T, class U>
bool operator!=(const mi_stl_allocator<T>&, const mi_stl_allocator<U>&) mi_attr_noexcept {
  return false;
}

#if defined(MI_HAS_HEAP_STL_ALLOCATOR)

/* The new-handler protocol for requests that no C function covers: calls the handler and returns.
 * Without a handler throws std::bad_alloc, or terminates if exceptions are off. */
inline void _mi_stl_out_of_memory() {
  std::new_handler handler = std::get_new_handler();
  if (handler != nullptr) return handler();
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
  throw std::bad_alloc();
#else
  std::terminate();
#endif
}

/* An allocator and its copies, also those for other types, share one heap and are equal. Either the
 * program owns the heap, or the copies do. In the second case the end of the last copy deletes the
 * heap or, with `_mi_destroy`, destroys it.
 *
 * The rules for heaps hold for the container: it allocates only on the thread that created the
 * heap, and the last copy must end on that thread before the thread ends. */
template <class T, bool _mi_destroy>
struct _mi_heap_stl_allocator_common : public _mi_stl_allocator_common<T> {
  typedef typename _mi_stl_allocator_common<T>::size_type size_type;
  using is_always_equal = std::false_type;

  /* The program's heap, which must outlive the allocator and its copies. */
  _mi_heap_stl_allocator_common(mi_heap_t* hp) mi_attr_noexcept
      : heap(std::shared_ptr<mi_heap_t>(), hp) {}

  mi_decl_nodiscard T* allocate(size_type count) {
    if (alignof(T) > 16 && count <= this->max_size()) return allocate_aligned(count);
    return static_cast<T*>(mi_heap_alloc_new_n(heap.get(), count, sizeof(T)));
  }
  mi_decl_nodiscard T* allocate(size_type count, const void*) { return allocate(count); }

  /* mi_heap_collect. */
  void collect(bool force) { mi_heap_collect(heap.get(), force); }

  template <class U> bool is_equal(const _mi_heap_stl_allocator_common<U, _mi_destroy>& x) const {
    return heap == x.heap;
  }

protected:
  std::shared_ptr<mi_heap_t> heap;
  template <class U, bool> friend struct _mi_heap_stl_allocator_common;

  _mi_heap_stl_allocator_common() {
    mi_heap_t* hp;
    while ((hp = mi_heap_new()) == nullptr) _mi_stl_out_of_memory();
    heap.reset(hp, _mi_destroy ? &mi_heap_destroy : &mi_heap_delete);
  }
  template <class U>
  _mi_heap_stl_allocator_common(const _mi_heap_stl_allocator_common<U, _mi_destroy>& x)
      mi_attr_noexcept : heap(x.heap) {}
  /* Copies only: an allocator that was moved from must stay as it was. */
  _mi_heap_stl_allocator_common(const _mi_heap_stl_allocator_common&) = default;
  _mi_heap_stl_allocator_common& operator=(const _mi_heap_stl_allocator_common&) = default;

private:
  T* allocate_aligned(size_type count) {
    void* p;
    while ((p = mi_heap_malloc_aligned(heap.get(), count * sizeof(T), alignof(T))) == nullptr)
      _mi_stl_out_of_memory();
    return static_cast<T*>(p);
  }
};

template <class T, class U, bool _mi_destroy>
bool operator==(const _mi_heap_stl_allocator_common<T, _mi_destroy>& x,
                const _mi_heap_stl_allocator_common<U, _mi_destroy>& y) mi_attr_noexcept {
  return x.is_equal(y);
}
template <class T, class U, bool _mi_destroy>
bool operator!=(const _mi_heap_stl_allocator_common<T, _mi_destroy>& x,
                const _mi_heap_stl_allocator_common<U, _mi_destroy>& y) mi_attr_noexcept {
  return !x.is_equal(y);
}

/* Blocks are released one by one. Blocks that are live when an owned heap is deleted stay valid. */
template <class T> struct mi_heap_stl_allocator : public _mi_heap_stl_allocator_common<T, false> {
  typedef typename _mi_stl_allocator_common<T>::size_type size_type;
  template <class U> struct rebind { typedef mi_heap_stl_allocator<U> other; };

  mi_heap_stl_allocator() {}
  mi_heap_stl_allocator(mi_heap_t* hp) mi_attr_noexcept
      : _mi_heap_stl_allocator_common<T, false>(hp) {}
  template <class U>
  mi_heap_stl_allocator(const mi_heap_stl_allocator<U>& x) mi_attr_noexcept
      : _mi_heap_stl_allocator_common<T, false>(x) {}
  mi_heap_stl_allocator select_on_container_copy_construction() const { return *this; }

  void deallocate(T* p, size_type) mi_attr_noexcept { mi_free(p); }
};

/* No block is released before the heap is destroyed: for containers that only grow, or live for a
 * short time. */
template <class T>
struct mi_heap_destroy_stl_allocator : public _mi_heap_stl_allocator_common<T, true> {
  typedef typename _mi_stl_allocator_common<T>::size_type size_type;
  template <class U> struct rebind { typedef mi_heap_destroy_stl_allocator<U> other; };

  mi_heap_destroy_stl_allocator() {}
  mi_heap_destroy_stl_allocator(mi_heap_t* hp) mi_attr_noexcept
      : _mi_heap_stl_allocator_common<T, true>(hp) {}
  template <class U>
  mi_heap_destroy_stl_allocator(const mi_heap_destroy_stl_allocator<U>& x) mi_attr_noexcept
      : _mi_heap_stl_allocator_common<T, true>(x) {}
  mi_heap_destroy_stl_allocator select_on_container_copy_construction() const { return *this; }

  void deallocate(T*, size_type) mi_attr_noexcept {}
};

#endif /* MI_HAS_HEAP_STL_ALLOCATOR */
#endif /* __cplusplus */

#endif /* MIMALLOC_H */
