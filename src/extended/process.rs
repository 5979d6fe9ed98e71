//! The process as a whole: callbacks, collecting, set-up and end of process and threads, what is
//! printed.

use core::ffi::{c_char, c_int, c_ulonglong, c_void};

#[cfg(doc)]
use crate::*;

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

/// Called after `used` bytes have risen above the soft limit, `limit` bytes, with the `arg` that was
/// registered. It may allocate and free; it is not entered twice by one thread. *Extension.*
pub type mi_limit_fun = Option<unsafe extern "C" fn(used: usize, limit: usize, arg: *mut c_void)>;

/// [`mi_limit_set`] and related functions are there.
pub const MI_HAS_LIMITS: c_int = 1;
/// [`mi_release`] and [`mi_release_text`] are there.
pub const MI_HAS_RELEASE: c_int = 1;
/// The printing functions from [`mi_options_print`] to [`mi_arenas_print`] are there.
pub const MI_HAS_PRINT: c_int = 1;

// Collecting and callbacks.
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

    /// `mi_collect(true)`, after which the calling thread keeps at most `target_thread_owned` bytes
    /// of partly used pages for itself; the others can be used by all. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_collect`].
    pub fn mi_collect_reduce(target_thread_owned: usize);

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
}

// Limits.
extern "C" {
    /// Sets the soft and the hard limit of the process, in bytes that count as [`mi_limit_used`]
    /// says; 0 for none. False, without effect, if the soft one is above the hard one.
    ///
    /// Above the hard limit an allocation returns null, after the library has given back all that it
    /// could; later ones succeed as soon as there is room. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_limit_set(soft: usize, hard: usize) -> bool;

    /// The bytes that count: memory of the system in use, or free and not given back yet; and the
    /// library's own metadata. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_limit_used() -> usize;

    /// Registers the one function for the soft limit; `None` removes it. It runs once for each rise
    /// above the limit, in the thread that crossed it. The next rise counts after the bytes have
    /// fallen to 15/16 of the limit. *Extension.*
    ///
    /// # Safety
    ///
    /// The function may be called by any thread from now on, with `arg`, and must not unwind.
    pub fn mi_register_limit(fun: mi_limit_fun, arg: *mut c_void);
}

// Process and threads.
extern "C" {
    /// The release of this implementation: major * 10000 + minor * 100 + patch. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_release() -> c_int;

    /// The release of this implementation as text like "2.3.0+2.1.7", with the interface
    /// after the plus sign. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions; the text lives as long as the program.
    pub fn mi_release_text() -> *const c_char;

    /// Sets the process up. Happens by itself at the first allocation, and may be repeated.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_process_init();

    /// Does the work of process exit: prints statistics where options ask for them, and gives all
    /// unused memory back with [`mi_option_destroy_on_exit`]. Blocks stay valid. *Since 2.4.1.*
    ///
    /// Runs once, by itself; a value of that option above 1 leaves the call to the program.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_process_done();

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
    /// The heaps of this thread are not used afterwards.
    pub fn mi_thread_done();

    /// For a thread that is about to rest: gives up all memory of the calling thread that no live
    /// block needs.
    ///
    /// Its blocks and heaps stay valid. Other threads can use its partly used pages, and empty pages
    /// go back to the system. The thread may allocate and free afterwards as before. First-class
    /// heaps keep their pages with live blocks. *Extension.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_thread_idle();

    /// Marks the calling thread as one of a pool; accepted, without effect. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_thread_set_in_threadpool();

    /// Whether a redirection DLL routes the allocation of the C runtime to this library; always
    /// false outside Windows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_is_redirected() -> bool;

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

// What is printed, line by line, through `out`; `None` means the registered receiver or standard
// error. Figures as a structure or as JSON: module stats.
extern "C" {
    /// Prints the statistics of the process, line by line, through `out`; `None` means the
    /// registered receiver or standard error.
    ///
    /// # Safety
    ///
    /// `out` is called with `arg` before this function returns, and must not unwind.
    pub fn mi_stats_print_out(out: mi_output_fun, arg: *mut c_void);

    /// Older form of [`mi_stats_print_out`]: `out` is null or a function of that type.
    ///
    /// # Safety
    ///
    /// `out` is null or the address of a function as in [`mi_output_fun`], which must not unwind and
    /// is called with a null `arg`.
    pub fn mi_stats_print(out: *mut c_void);

    /// [`mi_stats_print_out`] for the heaps of the calling thread.
    ///
    /// # Safety
    ///
    /// As [`mi_stats_print_out`].
    pub fn mi_thread_stats_print_out(out: mi_output_fun, arg: *mut c_void);

    /// From now on totals count from here, and peaks start at the current value.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_stats_reset();

    /// Puts what the calling thread holds ready for allocation back into its pages, so that the
    /// figures of others about it are exact.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_stats_merge();

    /// Prints the options and their values to the registered receiver or standard error.
    /// *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// No conditions of its own; the registered receiver is called.
    pub fn mi_options_print();

    /// [`mi_options_print`] through `out`, as in [`mi_stats_print_out`]. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// As [`mi_stats_print_out`].
    pub fn mi_options_print_out(out: mi_output_fun, arg: *mut c_void);

    /// Prints what [`mi_process_info`] tells to the registered receiver or standard error.
    /// *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// As [`mi_options_print`].
    pub fn mi_process_info_print();

    /// [`mi_process_info_print`] through `out`, as in [`mi_stats_print_out`]. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// As [`mi_stats_print_out`].
    pub fn mi_process_info_print_out(out: mi_output_fun, arg: *mut c_void);

    /// Prints the arenas to the registered receiver or standard error. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_options_print`].
    pub fn mi_arenas_print();
}
