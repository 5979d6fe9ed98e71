/* os/os.h - all that the allocator asks of an operating system.
 *
 * Owns:    os_info.
 * Always:  true means success; NULL means that nothing was changed. Functions for memory keep
 *          errno; any other function that may change errno says so.
 * Threads: any.
 *
 * One source file per system implements it. No code above this folder tests for a system.
 * docs/design.md tells how to add a system.
 */
#pragma once

#include "system.h"

typedef struct os_info_s {
  size_t page_size; /* of an OS page, bytes */
  bool overcommits; /* the system charges memory when it is touched, not when it becomes writable */
  bool can_move;    /* os_move may work */
  bool can_advise_huge; /* os_advise_huge may work, and os_resident tells the truth */
  size_t ahead_max; /* reserve at most so many bytes of address space ahead of demand at a time */
  /* Each change of access within a range makes a mapping, and a process may have only so many. */
  bool holes_are_mappings;
} os_info_t;
static os_info_t os_info;

/* False: the range ends above ADDRESS_BITS. */
static inline bool is_addressable(const void* p, size_t size) {
  return (((uintptr_t)p + size - 1) >> (ADDRESS_BITS - 1) >> 1) == 0;
}

/* Fills os_info. Allocates nothing; may run twice. */
INTERNAL void os_init(void);

/* ---- memory: addresses and sizes are multiples of the OS page ---- */

typedef enum os_access_e {
  OS_INACCESSIBLE, /* address space only */
  OS_LAZY,         /* readable, writable, zero; charged when touched, where the OS allows that */
  OS_COMMITTED     /* the same, but the OS may refuse more than it could ever provide */
} os_access_t;
/* Address space for `size` bytes at a multiple of `align` (a power of two), never above
 * ADDRESS_BITS. */
INTERNAL void* os_reserve(size_t size, size_t align, os_access_t access);
/* Readable and writable memory. If the system has enough large OS pages (2 MiB), the memory is in
 * these, and `*non_purgeable` is true: they cannot be given back in part, and a forked child that
 * writes to them needs as many spare ones. Otherwise as OS_LAZY, with advice to use huge pages. */
INTERNAL void* os_reserve_large(size_t size, size_t align, bool* non_purgeable);

#define OS_HUGE_SIZE GiB
typedef struct os_huge_s {
  void* start;  /* NULL if none could be allocated */
  size_t pages; /* allocated, side by side; zero, resident, non-purgeable as above */
  bool bound;   /* to the node, or there was no node to choose */
} os_huge_t;
/* Allocates up to `pages` huge OS pages (1 GiB each), on the `numa_node`-th node (-1: any) if that
 * has memory. Stops after the first page that ends later than `timeout_ms` (0: no limit). */
INTERNAL os_huge_t os_reserve_huge(size_t pages, int numa_node, size_t timeout_ms);
/* The number of nodes that have memory; 1 if the system does not tell. */
INTERNAL size_t os_numa_nodes(void);
/* Unmaps all that one call reserved, or the end of it. */
INTERNAL void os_release(void* p, size_t size);
/* Makes reserved memory readable, writable and zero. */
INTERNAL bool os_commit(void* p, size_t size);
/* Gives the memory back and makes the addresses inaccessible. */
INTERNAL bool os_decommit(void* p, size_t size);
/* Gives the memory back; the addresses stay usable. `*zero`: the range reads as zero afterwards. */
INTERNAL bool os_purge(void* p, size_t size, bool decommits, bool* zero);
/* Makes the range inaccessible; the memory is kept. */
INTERNAL bool os_protect(void* p, size_t size);
/* Makes the range inaccessible, drops its contents and gives its memory back. The range becomes a
 * mapping of its own. The call takes time only for memory that was touched. False: the range is
 * accessible, and its contents may be lost. */
INTERNAL bool os_shut(void* p, size_t size);
/* The same without a mapping, where the system can do that: then the system fills page tables,
 * eight bytes for each OS page. Elsewhere as os_shut. */
INTERNAL bool os_guard(void* p, size_t size);
/* Makes a range that was shut, or a part of it, accessible and zero. False: it is still
 * inaccessible, and the caller may try again. os_unguard undoes os_guard in the same way. */
INTERNAL bool os_open(void* p, size_t size);
INTERNAL bool os_unguard(void* p, size_t size);
/* The first os_guard finds out which kind of guard the system has. Light guards are no mappings.
 * The others are, and a process may have only a limited number of mappings. */
INTERNAL bool os_guards_are_light(void);
INTERNAL bool os_guards_are_mappings(void);
/* Replaces a mapping of the library by fresh zero memory, so that it can merge with its
 * neighbours. */
INTERNAL bool os_remap(void* p, size_t size);
/* Moves the OS pages of [src, src + size) to dst; both are mappings of the library. src reads as
 * zero afterwards. False: nothing was moved. */
INTERNAL bool os_move(void* dst, void* src, size_t size);
/* For a process that has locked its memory (mlockall) and has reached the limit. The first reserves
 * memory as OS_LAZY that is not locked; NULL if the system cannot do that. The second unlocks the
 * whole OS pages of a range. */
INTERNAL void* os_reserve_unlocked(size_t size);
INTERNAL bool os_munlock(void* p, size_t size);
/* No transparent huge pages in what the library maps from now on. The rest of the process is not
 * changed, nor are programs that it starts: they would inherit a choice for the process. */
INTERNAL void os_disable_huge_pages(void);
/* Advises the system to use huge pages for a range, or not to. */
INTERNAL void os_advise_huge(void* p, size_t size, bool use);
/* Core files and debuggers leave out what they find in a range, or no longer do. Where the system
 * has no such advice, or refuses it, core files are larger. */
INTERNAL void os_advise_dump(void* p, size_t size, bool dump);
/* The range is a part of a transparent huge page, or of none. If the system can, it splits that
 * huge page, so that a purge of another part of it gives memory back. The contents stay. */
INTERNAL void os_split_huge(void* p, size_t size);
/* How many mappings the system allows a process; SIZE_MAX: there is no such limit. */
INTERNAL size_t os_mapping_limit(void);
/* The number of bytes of [p, p + size) that are resident. */
INTERNAL size_t os_resident(const void* p, size_t size);

/* ---- time and process ---- */

INTERNAL uint64_t os_clock_ms(void); /* monotonic; may be coarse (a few ms) */
typedef struct os_process_s {
  size_t user_ms, system_ms, rss, peak_rss, page_faults;
} os_process_t;
INTERNAL void os_process(os_process_t* info);
INTERNAL uintptr_t os_thread_id(void);
#if MI_SECURE > 0
/* Fills `*random`. False: the system gave no random number, and the result is made from weaker
 * sources: what the system gave the process at its start, or the clock and addresses. */
INTERNAL bool os_random(uint64_t* random);
/* A new word, initially 0, that the system sets to 0 in each child process, whichever call made the
 * child. NULL if the system cannot do that. */
INTERNAL _Atomic(uint64_t)* os_word_of_process(void);
#endif
INTERNAL void os_nap(unsigned us); /* sleeps about so many microseconds, at least a moment */
INTERNAL _Noreturn void os_abort(void);
/* True for a set-uid or otherwise privileged process, which must not trust its environment. */
INTERNAL bool os_is_privileged(void);
/* The i-th entry "NAME=value" of the environment; NULL after the last. */
INTERNAL const char* os_environment(size_t i);
INTERNAL void os_write_error(const char* text, size_t length);
/* The least memory limit, in bytes, of the container that the process is in, and of those around
 * it; SIZE_MAX if there is none, or the system does not tell. `root` (NULL: none) stands before the
 * names of the system's files. */
INTERNAL size_t os_container_limit(const char* root);
/* Stores the absolute path without links in `resolved`, which has room for OS_PATH_MAX bytes. NULL,
 * with errno set, if there is no such file. */
#define OS_PATH_MAX 4096
INTERNAL char* os_real_path(const char* path, char* resolved);

/* ---- symbols of the program and of its libraries, see elf.c; NULL: not found ---- */

typedef enum os_where_e {
  OS_DEFINED_AT, /* in the object that contains the address, if that object defines the name */
  OS_BOUND_AT,   /* what the loader has bound the name to there, if the object holds it as data */
  OS_ANYWHERE    /* in the first loaded object that defines it */
} os_where_t;
#if OS_TELLS_SYMBOLS
INTERNAL void* os_symbol(os_where_t where, const void* address, const char* name);
#else
static inline void* os_symbol(os_where_t where, const void* address, const char* name) {
  return (void)where, (void)address, (void)name, NULL;
}
#endif

/* ---- threads ---- */

INTERNAL void os_lock(os_lock_t* lock);
INTERNAL void os_unlock(os_lock_t* lock);
INTERNAL void os_lock_reset(os_lock_t* lock); /* in the child of a fork */

/* Between the two calls the calling thread cannot be cancelled. A cancelled thread would leave its
 * locks taken, and no function of the library is a cancellation point. The pairs nest. */
INTERNAL int os_cancel_off(void);
INTERNAL void os_cancel_restore(int state);

/* Calls `hook(value)` at the end of each thread that has set a non-NULL value. */
INTERNAL bool os_thread_hook(void (*hook)(void*));
INTERNAL void os_thread_hook_set(void* value);
/* No thread enters the hook after this; some may still be inside. */
INTERNAL void os_thread_hook_remove(void);
/* Between the two calls os_lock and os_unlock do nothing in the calling thread. It holds all locks,
 * and the program's own fork handlers may allocate. */
INTERNAL void os_fork_begin(void);
INTERNAL void os_fork_end(void);
INTERNAL void os_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* ---- the library's own thread, see unix_helper.c ---- */

#define OS_NO_LIMIT UINT_MAX
#if OS_HAS_HELPER
/* Starts a thread that calls `run`. One thread at a time may start or join it. False: the system
 * cannot or will not. Keeps errno, as all functions of this section. */
INTERNAL bool os_helper_start(void (*run)(void));
/* Waits until the thread that was started last has ended. False: not in `ms` milliseconds, and the
 * caller may try again. */
INTERNAL bool os_helper_join(unsigned ms);
/* Sleeps while `*word` is `value`, for `ms` milliseconds at most, or until os_wake; may return
 * early. */
INTERNAL void os_wait(_Atomic(uint32_t)* word, uint32_t value, unsigned ms);
INTERNAL void os_wake(_Atomic(uint32_t)* word);
INTERNAL uintptr_t os_process_id(void);
#else
static inline bool os_helper_start(void (*run)(void)) { return (void)run, false; }
static inline bool os_helper_join(unsigned ms) { return (void)ms, true; }
static inline void os_wait(_Atomic(uint32_t)* word, uint32_t value, unsigned ms) {
  (void)word, (void)value, (void)ms;
}
static inline void os_wake(_Atomic(uint32_t)* word) { (void)word; }
static inline uintptr_t os_process_id(void) { return 0; }
#endif

/* ---- the image that contains the library: a program, or a shared library ---- */

/* To be called from the function of OS_AT_START. If the image is unloaded while the process goes
 * on, `unload` is called after the destructors of all objects of the image. The system then forgets
 * the fork hooks. */
INTERNAL void os_at_unload(void (*unload)(void));
/* To be called from the function of OS_AT_END. */
INTERNAL void os_image_ends(void);
