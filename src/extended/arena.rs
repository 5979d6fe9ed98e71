//! Arenas: address space that pages are taken from.

use core::ffi::{c_int, c_void};

use super::mi_heap_t;
#[cfg(doc)]
use crate::*;

/// The number of an arena; 0 means none in particular.
pub type mi_arena_id_t = c_int;

/// The functions from [`mi_arena_min_alignment`] to [`mi_arena_contains`] are there.
pub const MI_HAS_ARENA_QUERY: c_int = 1;
/// [`mi_heap_new_ex`] and [`mi_heap_set_numa_affinity`] are there.
pub const MI_HAS_HEAP_EX: c_int = 1;

// Memory for arenas.
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
    /// The flags are true of the memory, which no other code uses or unmaps from now on.
    pub fn mi_manage_os_memory(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_large: bool,
        is_zero: bool,
        numa_node: c_int,
    ) -> bool;

    /// Reserves `size` bytes (rounded up to 64 KiB) as an arena for all; 0, or `ENOMEM`, also for
    /// a `size` of 0.
    ///
    /// With `commit` it is accessible at once, with `allow_large` in large OS pages where possible.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_reserve_os_memory(size: usize, commit: bool, allow_large: bool) -> c_int;

    /// Reserves `pages` huge OS pages of 1 GiB as an arena for all, within `timeout_msecs` (0: no
    /// limit).
    ///
    /// They lie on `numa_node`, taken modulo the number of nodes; -1 for any. 0 when at least one
    /// page was reserved or `pages` is 0; else `ENOMEM`.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_reserve_huge_os_pages_at(
        pages: usize,
        numa_node: c_int,
        timeout_msecs: usize,
    ) -> c_int;

    /// [`mi_reserve_huge_os_pages_at`] spread evenly over `numa_nodes` nodes (0: as many as there
    /// are); ends with the first error.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_reserve_huge_os_pages_interleave(
        pages: usize,
        numa_nodes: usize,
        timeout_msecs: usize,
    ) -> c_int;

    /// Old form of `mi_reserve_huge_os_pages_interleave(pages, 0, max_secs * 1000)`; stores `pages`
    /// or, on error, 0 in `*pages_reserved`.
    ///
    /// # Safety
    ///
    /// `pages_reserved` is null or may be written to.
    pub fn mi_reserve_huge_os_pages(
        pages: usize,
        max_secs: f64,
        pages_reserved: *mut usize,
    ) -> c_int;

    /// [`mi_manage_os_memory`] that stores the number of the arena in `*arena_id` (0 when there is
    /// none). Only heaps that are bound to an `exclusive` arena use it.
    ///
    /// # Safety
    ///
    /// As [`mi_manage_os_memory`]; `arena_id` is null or may be written to.
    pub fn mi_manage_os_memory_ex(
        start: *mut c_void,
        size: usize,
        is_committed: bool,
        is_large: bool,
        is_zero: bool,
        numa_node: c_int,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> bool;

    /// [`mi_reserve_os_memory`] with `exclusive` and `arena_id` as in [`mi_manage_os_memory_ex`].
    ///
    /// # Safety
    ///
    /// `arena_id` is null or may be written to.
    pub fn mi_reserve_os_memory_ex(
        size: usize,
        commit: bool,
        allow_large: bool,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> c_int;

    /// [`mi_reserve_huge_os_pages_at`] with `exclusive` and `arena_id` as in
    /// [`mi_manage_os_memory_ex`].
    ///
    /// # Safety
    ///
    /// `arena_id` is null or may be written to.
    pub fn mi_reserve_huge_os_pages_at_ex(
        pages: usize,
        numa_node: c_int,
        timeout_msecs: usize,
        exclusive: bool,
        arena_id: *mut mi_arena_id_t,
    ) -> c_int;
}

// Questions about arenas.
extern "C" {
    /// The start of an arena, and its size in `*size`; null and 0 when there is none of that number.
    ///
    /// # Safety
    ///
    /// `size` is null or may be written to.
    pub fn mi_arena_area(arena_id: mi_arena_id_t, size: *mut usize) -> *mut c_void;

    /// Prints which slices of the arenas are in use, hold memory of ended threads, wait for a purge.
    ///
    /// # Safety
    ///
    /// No conditions of its own; the registered receiver is called.
    pub fn mi_debug_show_arenas(show_inuse: bool, show_abandoned: bool, show_purge: bool);

    /// What memory for an arena is aligned to, bytes. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_arena_min_alignment() -> usize;

    /// The least memory for an arena, bytes. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_arena_min_size() -> usize;

    /// Whether `p` lies in the arena. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions: `p` is not followed, any address may be passed.
    pub fn mi_arena_contains(arena_id: mi_arena_id_t, p: *const c_void) -> bool;
}

// Heaps that are bound to an arena.
extern "C" {
    /// A heap whose blocks all lie in the given arena (0: in any); null when there is none of that
    /// number.
    ///
    /// Its allocations return null when the arena is full.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_new`].
    pub fn mi_heap_new_in_arena(arena_id: mi_arena_id_t) -> *mut mi_heap_t;

    /// [`mi_heap_new_in_arena`] with a tag from 0 to 255, for [`mi_abandoned_visit_blocks`]; null
    /// for a tag out of range. *Since 2.4.1.*
    ///
    /// No thread claims the pages that a heap with a tag other than 0 leaves. Without
    /// `allow_destroy`, [`mi_heap_destroy`] acts as [`mi_heap_delete`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_new`].
    pub fn mi_heap_new_ex(
        heap_tag: c_int,
        allow_destroy: bool,
        arena_id: mi_arena_id_t,
    ) -> *mut mi_heap_t;

    /// New pages of `heap` come from arenas on `numa_node` where there are any (negative: no
    /// preference). *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread.
    pub fn mi_heap_set_numa_affinity(heap: *mut mi_heap_t, numa_node: c_int);

    /// Limits the bytes of the heap's pages and large blocks; 0 for no limit. Above it, allocations
    /// from the heap return null. False, without effect: the heap is another thread's. *Extension.*
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap that has not ended.
    pub fn mi_heap_set_limit(heap: *mut mi_heap_t, bytes: usize) -> bool;
}
