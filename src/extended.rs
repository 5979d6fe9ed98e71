//! The rest of the C interface: arrays, zeroing reallocation, POSIX and C++ names, callbacks,
//! statistics, arenas, options.
//!
//! Everything here is re-exported at the root of the crate; the rules at the top of the [crate] hold
//! here too.

use core::ffi::{c_char, c_int, c_long, c_ulonglong, c_void};
use core::mem::size_of;

/// The largest size that [`mi_malloc_small`] and [`mi_zalloc_small`] accept: 128 pointers.
pub const MI_SMALL_SIZE_MAX: usize = 128 * size_of::<*mut c_void>();

/// Called now and then from allocations, and on every [`mi_collect`], so that the program may free
/// what it put aside.
///
/// `force` is that of the collect, `heartbeat` grows strictly on each thread, `arg` is what was
/// registered. The function may allocate and free; it is not entered twice by one thread.
pub type mi_deferred_free_fun =
    Option<unsafe extern "C" fn(force: bool, heartbeat: c_ulonglong, arg: *mut c_void)>;

/// Receives a piece of text of the library, `msg`, with the `arg` that was registered.
pub type mi_output_fun = Option<unsafe extern "C" fn(msg: *const c_char, arg: *mut c_void)>;

/// Receives the code of an error, `err`, with the `arg` that was registered.
pub type mi_error_fun = Option<unsafe extern "C" fn(err: c_int, arg: *mut c_void)>;

/// The number of an option, one of the `mi_option_...` constants.
///
/// Each option is read from the environment variable `MIMALLOC_<NAME>` when the process starts,
/// except in set-uid programs.
pub type mi_option_t = c_int;

/// Print errors and warnings (0 or 1).
pub const mi_option_show_errors: mi_option_t = 0;
/// Print statistics when the process ends (0 or 1).
pub const mi_option_show_stats: mi_option_t = 1;
/// Print what the library does (level 0, 1 or 2).
pub const mi_option_verbose: mi_option_t = 2;
/// Make fresh memory accessible at once and not by need (0 or 1).
pub const mi_option_eager_commit: mi_option_t = 3;
/// The same for whole arenas: 0 no, 1 yes, 2 where the system overcommits.
pub const mi_option_arena_eager_commit: mi_option_t = 4;
/// How a purge gives memory back: 1 at once, 0 lazily (0 or 1).
pub const mi_option_purge_decommits: mi_option_t = 5;
/// Use large OS pages where possible (0 or 1).
pub const mi_option_allow_large_os_pages: mi_option_t = 6;
/// Huge OS pages of 1 GiB to reserve at start-up (count).
pub const mi_option_reserve_huge_os_pages: mi_option_t = 7;
/// The NUMA node of [`mi_option_reserve_huge_os_pages`]; -1 spreads them over all nodes.
pub const mi_option_reserve_huge_os_pages_at: mi_option_t = 8;
/// Memory to reserve at start-up (KiB).
pub const mi_option_reserve_os_memory: mi_option_t = 9;
/// Without effect, kept for its number.
pub const mi_option_deprecated_segment_cache: mi_option_t = 10;
/// Deprecated.
pub const mi_option_deprecated_page_reset: mi_option_t = 11;
/// Purge the free memory of a thread as soon as the thread ends (0 or 1).
pub const mi_option_abandoned_page_purge: mi_option_t = 12;
/// Without effect, kept for its number.
pub const mi_option_deprecated_segment_reset: mi_option_t = 13;
/// How much of a thread's first memory is made accessible by need all the same (count).
pub const mi_option_eager_commit_delay: mi_option_t = 14;
/// Time before unused memory is given back (milliseconds; 0 at once, negative never).
pub const mi_option_purge_delay: mi_option_t = 15;
/// NUMA nodes to assume; 0 asks the system (count).
pub const mi_option_use_numa_nodes: mi_option_t = 16;
/// Allocate from reserved arenas only, never from the system (0 or 1).
pub const mi_option_disallow_os_alloc: mi_option_t = 17;
/// The tag of our memory on macOS (100 to 255).
pub const mi_option_os_tag: mi_option_t = 18;
/// Errors printed at most; negative for no limit (count).
pub const mi_option_max_errors: mi_option_t = 19;
/// Warnings printed at most; negative for no limit (count).
pub const mi_option_max_warnings: mi_option_t = 20;
/// Share of abandoned memory that an attempt to take it over looks at (percent).
pub const mi_option_max_segment_reclaim: mi_option_t = 21;
/// Release all memory when the process ends (0 or 1); unsafe while anything still uses it.
pub const mi_option_destroy_on_exit: mi_option_t = 22;
/// Size of the arenas that are reserved by need (KiB); 0 for none.
pub const mi_option_arena_reserve: mi_option_t = 23;
/// Factor on [`mi_option_purge_delay`] for arenas.
pub const mi_option_arena_purge_mult: mi_option_t = 24;
/// Delay that is added when more of the same memory is freed (milliseconds).
pub const mi_option_purge_extend_delay: mi_option_t = 25;
/// A free into memory of an ended thread may take that memory over (0 or 1).
pub const mi_option_abandoned_reclaim_on_free: mi_option_t = 26;
/// Do not allocate from arenas, except from one that is asked for (0 or 1).
pub const mi_option_disallow_arena_alloc: mi_option_t = 27;
/// Time for which a refused commit is tried again on Windows (milliseconds; 0 not at all).
pub const mi_option_retry_on_oom: mi_option_t = 28;
/// The number of options.
pub const _mi_option_last: mi_option_t = 29;

/// Older name of [`mi_option_allow_large_os_pages`].
pub const mi_option_large_os_pages: mi_option_t = mi_option_allow_large_os_pages;
/// Older name of [`mi_option_arena_eager_commit`].
pub const mi_option_eager_region_commit: mi_option_t = mi_option_arena_eager_commit;
/// Older name of [`mi_option_purge_decommits`].
pub const mi_option_reset_decommits: mi_option_t = mi_option_purge_decommits;
/// Older name of [`mi_option_purge_delay`].
pub const mi_option_reset_delay: mi_option_t = mi_option_purge_delay;
/// Older name of [`mi_option_abandoned_page_purge`].
pub const mi_option_abandoned_page_reset: mi_option_t = mi_option_abandoned_page_purge;
/// Older name of [`mi_option_disallow_os_alloc`].
pub const mi_option_limit_os_alloc: mi_option_t = mi_option_disallow_os_alloc;

// Allocation.
extern "C" {
    /// [`mi_malloc`](crate::mi_malloc) for a `size` of at most [`MI_SMALL_SIZE_MAX`].
    ///
    /// # Safety
    ///
    /// `size` is at most [`MI_SMALL_SIZE_MAX`].
    pub fn mi_malloc_small(size: usize) -> *mut c_void;

    /// [`mi_zalloc`](crate::mi_zalloc) for a `size` of at most [`MI_SMALL_SIZE_MAX`].
    ///
    /// # Safety
    ///
    /// `size` is at most [`MI_SMALL_SIZE_MAX`].
    pub fn mi_zalloc_small(size: usize) -> *mut c_void;

    /// [`mi_malloc`](crate::mi_malloc) for `count` elements of `size` bytes; null also when the
    /// product overflows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_mallocn(count: usize, size: usize) -> *mut c_void;

    /// [`mi_realloc`](crate::mi_realloc) to `count` elements of `size` bytes; null also when the
    /// product overflows, and `p` stays valid.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`](crate::mi_realloc).
    pub fn mi_reallocn(p: *mut c_void, count: usize, size: usize) -> *mut c_void;

    /// [`mi_realloc`](crate::mi_realloc) that releases `p` when it fails.
    ///
    /// # Safety
    ///
    /// `p` is null or a live block, and is not used afterwards in any case.
    pub fn mi_reallocf(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// The usable size that a request of `size` bytes would get; `size` itself when no request of
    /// that size can succeed.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_good_size(size: usize) -> usize;
}

// Zero-initialised reallocation: for blocks that came from a zeroing function, of this group or
// another. Everything from the old usable size to the new usable size is zero.
extern "C" {
    /// [`mi_realloc`](crate::mi_realloc) of a zeroed block; what it gains is zero.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`](crate::mi_realloc). What is gained is zero only if the block came from a
    /// zeroing function.
    pub fn mi_rezalloc(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// [`mi_rezalloc`] to `newcount` elements of `size` bytes; null also when the product
    /// overflows, and `p` stays valid.
    ///
    /// # Safety
    ///
    /// As [`mi_rezalloc`].
    pub fn mi_recalloc(p: *mut c_void, newcount: usize, size: usize) -> *mut c_void;

    /// [`mi_rezalloc`] whose result is a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_rezalloc`].
    pub fn mi_rezalloc_aligned(p: *mut c_void, newsize: usize, alignment: usize) -> *mut c_void;

    /// [`mi_rezalloc`] with a result `q` such that `q + offset` is a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_rezalloc`].
    pub fn mi_rezalloc_aligned_at(
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_recalloc`] whose result is a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_rezalloc`].
    pub fn mi_recalloc_aligned(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_recalloc`] with a result `q` such that `q + offset` is a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// As [`mi_rezalloc`].
    pub fn mi_recalloc_aligned_at(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
}

// Collecting, callbacks, process, threads, statistics.
extern "C" {
    /// Takes back what other threads freed, calls the deferred-free function, releases the empty
    /// pages of this thread and purges what is due.
    ///
    /// With `force` it purges all free memory of the process at once.
    ///
    /// # Safety
    ///
    /// No conditions of its own; the registered deferred-free function is called.
    pub fn mi_collect(force: bool);

    /// Registers the one deferred-free function of the process; `None` removes it.
    ///
    /// # Safety
    ///
    /// The function may be called by any thread from now on, with `arg`, and must not unwind.
    pub fn mi_register_deferred_free(deferred_free: mi_deferred_free_fun, arg: *mut c_void);

    /// Registers the one receiver of all text that the library prints; `None` restores standard
    /// error.
    ///
    /// A new receiver first gets what was printed before, at most 32 KiB of it.
    ///
    /// # Safety
    ///
    /// The function may be called by any thread from now on, with `arg`, and must not unwind.
    pub fn mi_register_output(out: mi_output_fun, arg: *mut c_void);

    /// Registers the one receiver of error codes (`ENOMEM`, `EINVAL`, `EAGAIN`, `EFAULT`,
    /// `EOVERFLOW`), called in place of the default reaction; `None` restores the default.
    ///
    /// The default is to go on, or to abort on a violation of memory safety in debug and secure
    /// builds.
    ///
    /// # Safety
    ///
    /// The function may be called by any thread from now on, with `arg`, and must not unwind.
    pub fn mi_register_error(fun: mi_error_fun, arg: *mut c_void);

    /// Sets the process up. Happens by itself at the first allocation, and may be repeated.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_process_init();

    /// Sets the calling thread up. Happens by itself at its first allocation, and may be repeated.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_thread_init();

    /// Ends the use of the allocator by the calling thread; happens by itself when a thread ends.
    ///
    /// Its blocks stay valid, its memory becomes available to other threads. A later allocation
    /// starts the thread anew.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_thread_done();

    /// Prints the statistics of the process, line by line, through `out`; `None` means the
    /// registered receiver or standard error.
    ///
    /// # Safety
    ///
    /// `out` is called with `arg` before this function returns, and must not unwind.
    pub fn mi_stats_print_out(out: mi_output_fun, arg: *mut c_void);

    /// Tells what the process used so far; null pointers are skipped.
    ///
    /// Times since start, in user mode and in the system are in milliseconds; resident memory (as
    /// the system reports it) and committed memory, now and at most, in bytes; page faults are those
    /// that needed the disk.
    ///
    /// # Safety
    ///
    /// Each pointer is null or may be written to.
    pub fn mi_process_info(
        elapsed_msecs: *mut usize,
        user_msecs: *mut usize,
        system_msecs: *mut usize,
        current_rss: *mut usize,
        peak_rss: *mut usize,
        current_commit: *mut usize,
        peak_commit: *mut usize,
        page_faults: *mut usize,
    );

    /// True when `p` lies in memory that the allocator manages, in a live block or not.
    ///
    /// # Safety
    ///
    /// No conditions: `p` is not followed, any address may be passed.
    pub fn mi_is_in_heap_region(p: *const c_void) -> bool;
}

// Arenas.
extern "C" {
    /// Gives the `size` bytes at `start` to the allocator, which uses them until the process ends.
    ///
    /// Both are narrowed to multiples of 64 KiB. `is_committed`: accessible now. `is_large`: made of
    /// large OS pages, hence never purged. `is_zero`: all zero now. `numa_node`: a hint, -1 for any.
    /// False when less than 64 KiB remain or the addresses cannot be managed; the memory is the
    /// caller's as before then.
    ///
    /// # Safety
    ///
    /// The flags are true of the memory, which nobody else uses or unmaps from now on.
    pub fn mi_manage_os_memory(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_large: bool,
        is_zero: bool,
        numa_node: c_int,
    ) -> bool;
}

// Options. One that does not exist reads as 0 and ignores being set.
extern "C" {
    /// Whether the value of `option` is not 0.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_is_enabled(option: mi_option_t) -> bool;

    /// Sets `option` to 1.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_enable(option: mi_option_t);

    /// Sets `option` to 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_disable(option: mi_option_t);

    /// Sets `option` to 1 or 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_enabled(option: mi_option_t, enable: bool);

    /// [`mi_option_set_default`] to 1 or 0.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_enabled_default(option: mi_option_t, enable: bool);

    /// The value of `option` in its own unit.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get(option: mi_option_t) -> c_long;

    /// The value of `option`, but at least `min` and at most `max`.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get_clamp(option: mi_option_t, min: c_long, max: c_long) -> c_long;

    /// The value of `option` in bytes: options counted in KiB are multiplied by 1024.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_option_get_size(option: mi_option_t) -> usize;

    /// Sets `option` to `value`, over the environment.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set(option: mi_option_t, value: c_long);

    /// Sets `option` to `value` while neither the environment nor the program has set it.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    pub fn mi_option_set_default(option: mi_option_t, value: c_long);
}

// POSIX and Unix names.
extern "C" {
    /// [`mi_free`](crate::mi_free) for an address that may not be ours: those are ignored.
    ///
    /// # Safety
    ///
    /// `p` is a live block or an address outside the memory of the allocator; it is not used
    /// afterwards in the first case.
    pub fn mi_cfree(p: *mut c_void);

    /// The same as [`mi_usable_size`](crate::mi_usable_size).
    ///
    /// # Safety
    ///
    /// As [`mi_usable_size`](crate::mi_usable_size).
    pub fn mi_malloc_size(p: *const c_void) -> usize;

    /// The same as [`mi_good_size`].
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc_good_size(size: usize) -> usize;

    /// The same as [`mi_usable_size`](crate::mi_usable_size).
    ///
    /// # Safety
    ///
    /// As [`mi_usable_size`](crate::mi_usable_size).
    pub fn mi_malloc_usable_size(p: *const c_void) -> usize;

    /// Stores a block of `size` bytes, aligned to `alignment`, in `*p` and returns 0.
    ///
    /// `EINVAL` when `p` is null or `alignment` is not a power of two or not a multiple of the size
    /// of a pointer; `ENOMEM` when there is no memory. `*p` and `errno` stay as they were then.
    ///
    /// # Safety
    ///
    /// `p` is null or may be written to.
    pub fn mi_posix_memalign(p: *mut *mut c_void, alignment: usize, size: usize) -> c_int;

    /// [`mi_malloc_aligned`](crate::mi_malloc_aligned) with its arguments in the other order.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_memalign(alignment: usize, size: usize) -> *mut c_void;

    /// A block of `size` bytes at the start of an OS page.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_valloc(size: usize) -> *mut c_void;

    /// A block of whole OS pages, enough for `size` bytes.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_pvalloc(size: usize) -> *mut c_void;

    /// [`mi_malloc_aligned`](crate::mi_malloc_aligned) with its arguments in the other order; `size`
    /// need not be a multiple of `alignment`.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;

    /// [`mi_reallocn`] that sets `errno`: `EOVERFLOW` when the product overflows, else `ENOMEM`.
    ///
    /// # Safety
    ///
    /// As [`mi_reallocn`].
    pub fn mi_reallocarray(p: *mut c_void, count: usize, size: usize) -> *mut c_void;
}

// C++.
extern "C" {
    /// [`mi_free`](crate::mi_free) for a block that was asked for with `alignment`; used for checks.
    ///
    /// # Safety
    ///
    /// As [`mi_free`](crate::mi_free); `p` is a multiple of `alignment`.
    pub fn mi_free_aligned(p: *mut c_void, alignment: usize);

    /// [`mi_malloc`](crate::mi_malloc) that does not return null: it calls the C++ new-handler until
    /// that gives up, then throws `std::bad_alloc` where there is a C++ runtime, and aborts
    /// elsewhere.
    ///
    /// # Safety
    ///
    /// A C++ exception must not reach a Rust function: use [`mi_new_nothrow`] in programs with C++.
    pub fn mi_new(size: usize) -> *mut c_void;

    /// [`mi_new`] with an `alignment`; one that is not a power of two counts as a failure.
    ///
    /// # Safety
    ///
    /// As [`mi_new`].
    pub fn mi_new_aligned(size: usize, alignment: usize) -> *mut c_void;

    /// [`mi_new`] that returns null in the end.
    ///
    /// # Safety
    ///
    /// The new-handler of the program, if any, must not throw.
    pub fn mi_new_nothrow(size: usize) -> *mut c_void;

    /// [`mi_new_aligned`] that returns null in the end.
    ///
    /// # Safety
    ///
    /// As [`mi_new_nothrow`].
    pub fn mi_new_aligned_nothrow(size: usize, alignment: usize) -> *mut c_void;
}
