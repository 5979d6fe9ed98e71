/* os/os.h - all that the allocator asks of an operating system.
 *
 * Results: a bool is true when it worked; NULL means that nothing was changed.
 * errno:   any of these may change it; callers that must keep it save it.
 * Threads: any.
 * Uses:    system.h.          Used by: every floor above. One source file per system implements it;
 *          no system conditional stands above this folder. docs/porting.md tells how to add one.
 */
#ifndef MI_OS_H
#define MI_OS_H

#include "system.h"

typedef struct os_info_s {
  size_t page_size; /* of an OS page, bytes */
  bool overcommits; /* address space can be made writable without being paid for */
  bool can_move;    /* os_move is worth trying */
  size_t ahead_max; /* bytes of address space to reserve at a time ahead of need, at most */
} os_info_t;
INTERNAL_DATA os_info_t os_info;

/* Fills os_info. Allocates nothing; may run twice. */
INTERNAL void os_init(void);

/* ---- memory: addresses and sizes are multiples of the OS page ---- */

typedef enum os_access_e {
  OS_INACCESSIBLE, /* address space only */
  OS_LAZY,         /* readable, writable, zero; paid for when touched, where the OS allows that */
  OS_COMMITTED     /* the same, but the OS may refuse what it could never pay for */
} os_access_t;
/* Address space for `size` bytes at a multiple of `align` (a power of two), never above
 * ADDRESS_BITS. */
INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access);
/* Readable and writable, in large OS pages (2 MiB) where the system has as many to spare: then
 * `*pinned`, for they cannot be given back in part, and a child of a fork that writes to them needs
 * spare ones as well. Elsewhere as OS_LAZY, with the wish for large pages. */
INTERNAL void* os_reserve_large(size_t size, size_t align, bool* pinned);

#define OS_HUGE_SIZE GiB
typedef struct os_huge_s {
  void* start;  /* NULL: not one was had */
  size_t pages; /* as many were had, side by side; zero, resident and pinned as above */
  bool bound;   /* to the node, or no choice was to be made */
} os_huge_t;
/* Up to `pages` huge OS pages (1 GiB each), on the `numa_node`-th node (-1: any) if that has
 * memory. Stops behind the page with which `timeout_ms` are over (0: never). */
INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms);
/* Nodes that have memory; 1 where the system does not tell. */
INTERNAL size_t os_numa_nodes(void);
/* All that one call reserved, or its end. */
INTERNAL void os_release(void* p, size_t size);
/* Makes reserved memory readable, writable and zero. */
INTERNAL bool os_commit(void* p, size_t size);
/* Gives the memory back and makes the addresses inaccessible. */
INTERNAL bool os_decommit(void* p, size_t size);
/* Gives the memory back; the addresses stay usable. `*zero`: they read as zero from now on. */
INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero);
/* Inaccessible from now on. */
INTERNAL bool os_protect(void* p, size_t size);
/* The same for a while; memory and contents are given back. As mappings of their own, in a time
 * that only what was touched counts for; false: the range is accessible, the contents may be lost.
 */
INTERNAL bool os_shut(void* p, size_t size);
/* The same, where the system can do that without mappings: then it fills page tables for it, eight
 * bytes for each OS page. Elsewhere as os_shut. */
INTERNAL bool os_guard(void* p, size_t size);
/* What was shut or guarded, or a part of it, is accessible and zero; false: it is inaccessible
 * still, and may be tried again. os_unguard undoes what os_guard does. */
INTERNAL bool os_open(void* p, size_t size);
INTERNAL bool os_unguard(void* p, size_t size);
/* What is known of guards since the first one: that they are no mappings of their own; that they
 * are such mappings, of which a process may have only so many. */
#if OS_UNIX
INTERNAL bool os_guards_are_light(void);
INTERNAL bool os_guards_are_mappings(void);
#else
static inline bool os_guards_are_light(void) { return false; }
static inline bool os_guards_are_mappings(void) { return false; }
#endif
/* Replaces a mapping of ours by fresh zero memory, so that it can merge with its neighbours. */
INTERNAL bool os_renew(void* p, size_t size);
/* Moves the OS pages of [src, src + size) to dst, both mappings of ours; src reads as zero
 * afterwards. False: nothing was moved. */
INTERNAL bool os_move(void* dst, void* src, size_t size);
/* No transparent huge pages from now on, in this process and in programs that it starts. */
INTERNAL bool os_disable_huge_pages(void);
/* Advises the system to use huge pages for a range, or not to. */
INTERNAL void os_advise_huge(void* p, size_t size, bool use);
/* Bytes of [p, p + size) that are resident now. */
INTERNAL size_t os_resident(const void* p, size_t size);

/* ---- time and process ---- */

INTERNAL uint64_t os_clock_ms(void); /* monotonic; may be coarse (a few ms) */
typedef struct os_process_s {
  size_t user_ms, system_ms, rss, peak_rss, page_faults;
} os_process_t;
INTERNAL void os_process(os_process_t* info);
INTERNAL uintptr_t os_thread_id(void);
#if MI_SECURE > 0
/* Fills `*random`. False: the system gave no random number, so less than that must do: what it gave
 * the process at its start, or the clock and addresses. */
INTERNAL bool os_random(uint64_t* random);
/* A new word, 0 at first, that is 0 again in each child process, whichever call made that; NULL
 * where the system has no such thing. */
INTERNAL _Atomic(uint64_t)* os_word_of_process(void);
#endif
INTERNAL void os_nap(unsigned us); /* sleeps about so many microseconds, at least a moment */
INTERNAL _Noreturn void os_abort(void);
/* True for a set-uid or otherwise privileged process, whose environment is not to be trusted. */
INTERNAL bool os_is_privileged(void);
/* The i-th entry "NAME=value" of the environment; NULL behind the last. */
INTERNAL const char* os_environment(size_t i);
INTERNAL void os_write_error(const char* text, size_t length);
/* The absolute path without links in `resolved`, which has room for OS_PATH_MAX bytes; NULL with
 * errno where there is no such file. */
#define OS_PATH_MAX 4096
INTERNAL char* os_real_path(const char* path, char* resolved);

/* ---- symbols of the program and of its libraries, see elf.c; NULL: not found ---- */

#if OS_TELLS_SYMBOLS
/* `name` as it is defined by the object that `address` lies in. */
INTERNAL void* os_symbol_of(const void* address, const char* name);
/* What `name` means in the object that `address` lies in, if it has the address of that as data. */
INTERNAL void* os_symbol_bound(const void* address, const char* name);
/* `name` as the first object defines it that does, in the order of loading. */
INTERNAL void* os_symbol_any(const char* name);
#else
static inline void* os_symbol_of(const void* address, const char* name) {
  return (void)address, (void)name, NULL;
}
static inline void* os_symbol_bound(const void* address, const char* name) {
  return (void)address, (void)name, NULL;
}
static inline void* os_symbol_any(const char* name) { return (void)name, NULL; }
#endif

/* ---- threads ---- */

INTERNAL void os_lock(os_lock_t* lock);
INTERNAL void os_unlock(os_lock_t* lock);
INTERNAL void os_lock_reset(os_lock_t* lock); /* in the child of a fork */

/* Between the two calls the calling thread cannot be cancelled: what it holds would stay taken, and
 * no function of ours is a cancellation point. They nest. */
INTERNAL int os_cancel_off(void);
INTERNAL void os_cancel_restore(int state);

/* Calls `hook(value)` when a thread that has set a non-NULL value ends. */
INTERNAL bool os_thread_hook(void (*hook)(void*));
INTERNAL void os_thread_hook_set(void* value);
/* No thread calls the hook any more, but for those that are inside. */
INTERNAL void os_thread_hook_remove(void);
/* Between the two calls the locks are no locks for the calling thread, which holds them all: the
 * fork handlers of others may allocate. */
INTERNAL void os_fork_begin(void);
INTERNAL void os_fork_end(void);
INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* ---- the image that we are part of: a program, or a library ---- */

/* From the function of OS_AT_START: calls `unload` when the image is taken out of the process while
 * that goes on, after the destructors of all its objects. The system forgets the fork hooks then.
 */
INTERNAL void os_at_unload(void (*unload)(void));
/* From the function of OS_AT_END. */
INTERNAL void os_image_ends(void);

#endif
