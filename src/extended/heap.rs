//! First-class heaps: what they are, allocation from them, questions about them.

use core::ffi::{c_char, c_int, c_void};
use core::fmt;
use core::marker::{PhantomData, PhantomPinned};

#[cfg(doc)]
use crate::*;

/// A heap: a set of pages that one thread allocates from. Only ever seen behind a pointer.
///
/// Each thread has a backing heap, which is its default heap at first; more are made with
/// [`mi_heap_new`]. Only the thread that made a heap may allocate from it, change it or delete it
/// (debug builds abort otherwise); its blocks may be released and resized by any thread. Where a
/// function takes a heap, null means the default heap of the calling thread, unless its text says
/// otherwise. Heaps that still exist when their thread ends are deleted then: live blocks stay valid.
#[repr(C)]
pub struct mi_heap_t {
    _opaque: [u8; 0],
    /// Rust knows nothing of the struct: not whether it may be sent to, used by, or moved
    /// under another thread.
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A heap belongs to its thread.
///
/// ```compile_fail,E0277
/// fn send<T: Send>() {}
/// send::<mimalloc2_rust_sys::mi_heap_t>();
/// ```
///
/// ```compile_fail,E0277
/// fn share<T: Sync>() {}
/// share::<mimalloc2_rust_sys::mi_heap_t>();
/// ```
///
/// Only the C side makes one.
///
/// ```compile_fail,E0451
/// let _ = mimalloc2_rust_sys::mi_heap_t { _opaque: [], _marker: std::marker::PhantomData };
/// ```
#[cfg(doctest)]
struct WhatAHeapIsNot;

impl fmt::Debug for mi_heap_t {
    /// The name of the type and nothing else: its memory belongs to the C side.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mi_heap_t")
    }
}

/// The functions from [`mi_heap_of`] to [`mi_heap_main`] are there.
pub const MI_HAS_HEAP_QUERY: c_int = 1;
/// [`mi_abandoned_visit_blocks`] and [`mi_heap_visit_abandoned_blocks`] are there.
pub const MI_HAS_VISIT_ABANDONED: c_int = 1;

// Life and default of heaps.
extern "C" {
    /// A new heap of the calling thread; null when memory runs out.
    ///
    /// # Safety
    ///
    /// No conditions of its own; the heap is used by this thread only.
    pub fn mi_heap_new() -> *mut mi_heap_t;

    /// Removes a heap; its live blocks move to the backing heap of the thread and stay valid, also
    /// while other threads are releasing them. Null and backing heaps: no effect.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread, and is not used afterwards.
    pub fn mi_heap_delete(heap: *mut mi_heap_t);

    /// Removes a heap together with all its live blocks, in time proportional to its pages.
    ///
    /// Null: no effect. A backing heap, and one made with `allow_destroy` false, is treated as by
    /// [`mi_heap_delete`].
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread; neither it nor its blocks are used
    /// afterwards, by any thread.
    pub fn mi_heap_destroy(heap: *mut mi_heap_t);

    /// Makes `heap` the one that [`mi_malloc`] and the like use in the calling thread; returns the
    /// previous one. Null: no effect, and returns null.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread.
    pub fn mi_heap_set_default(heap: *mut mi_heap_t) -> *mut mi_heap_t;

    /// The default heap of the calling thread; null only when memory runs out at its first call.
    ///
    /// # Safety
    ///
    /// No conditions of its own; the heap is used by this thread only.
    pub fn mi_heap_get_default() -> *mut mi_heap_t;

    /// The backing heap of the calling thread; null only when memory runs out at its first call.
    ///
    /// # Safety
    ///
    /// No conditions of its own; the heap is used by this thread only.
    pub fn mi_heap_get_backing() -> *mut mi_heap_t;

    /// [`mi_collect`] for one heap.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread.
    pub fn mi_heap_collect(heap: *mut mi_heap_t, force: bool);
}

// Allocation from a heap. The reallocating functions take a new block, if one is needed, from
// `heap`; a block that can stay where it is stays in the heap that it came from.
extern "C" {
    /// [`mi_malloc`] from `heap`.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread.
    pub fn mi_heap_malloc(heap: *mut mi_heap_t, size: usize) -> *mut c_void;

    /// [`mi_zalloc`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_zalloc(heap: *mut mi_heap_t, size: usize) -> *mut c_void;

    /// [`mi_calloc`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_calloc(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;

    /// [`mi_mallocn`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_mallocn(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;

    /// [`mi_malloc_small`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_malloc_small`].
    pub fn mi_heap_malloc_small(heap: *mut mi_heap_t, size: usize) -> *mut c_void;

    /// [`mi_zalloc_small`] from `heap`. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_zalloc_small`].
    pub fn mi_heap_zalloc_small(heap: *mut mi_heap_t, size: usize) -> *mut c_void;

    /// [`mi_realloc`]; a new block comes from `heap`, one that can stay where it is stays in its own.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_realloc`].
    pub fn mi_heap_realloc(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;

    /// [`mi_reallocn`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_realloc`].
    pub fn mi_heap_reallocn(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        count: usize,
        size: usize,
    ) -> *mut c_void;

    /// [`mi_reallocf`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_reallocf`].
    pub fn mi_heap_reallocf(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;

    /// [`mi_strdup`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_strdup`].
    pub fn mi_heap_strdup(heap: *mut mi_heap_t, s: *const c_char) -> *mut c_char;

    /// [`mi_strndup`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_strndup`].
    pub fn mi_heap_strndup(heap: *mut mi_heap_t, s: *const c_char, n: usize) -> *mut c_char;

    /// [`mi_realpath`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_realpath`].
    pub fn mi_heap_realpath(
        heap: *mut mi_heap_t,
        fname: *const c_char,
        resolved_name: *mut c_char,
    ) -> *mut c_char;
}

// Aligned allocation from a heap.
extern "C" {
    /// [`mi_malloc_aligned`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_malloc_aligned(
        heap: *mut mi_heap_t,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_malloc_aligned_at`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_malloc_aligned_at(
        heap: *mut mi_heap_t,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_zalloc_aligned`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_zalloc_aligned(
        heap: *mut mi_heap_t,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_zalloc_aligned_at`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_zalloc_aligned_at(
        heap: *mut mi_heap_t,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_calloc_aligned`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_calloc_aligned(
        heap: *mut mi_heap_t,
        count: usize,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_calloc_aligned_at`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`].
    pub fn mi_heap_calloc_aligned_at(
        heap: *mut mi_heap_t,
        count: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_realloc_aligned`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_realloc`].
    pub fn mi_heap_realloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_realloc_aligned_at`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_realloc`].
    pub fn mi_heap_realloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
}

// Zero-initialised reallocation from a heap.
extern "C" {
    /// [`mi_rezalloc`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_rezalloc`].
    pub fn mi_heap_rezalloc(heap: *mut mi_heap_t, p: *mut c_void, newsize: usize) -> *mut c_void;

    /// [`mi_recalloc`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_rezalloc`].
    pub fn mi_heap_recalloc(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newcount: usize,
        size: usize,
    ) -> *mut c_void;

    /// [`mi_rezalloc_aligned`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_rezalloc`].
    pub fn mi_heap_rezalloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_rezalloc_aligned_at`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_rezalloc`].
    pub fn mi_heap_rezalloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newsize: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// [`mi_recalloc_aligned`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_rezalloc`].
    pub fn mi_heap_recalloc_aligned(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// [`mi_recalloc_aligned_at`] with a heap as in [`mi_heap_realloc`].
    ///
    /// # Safety
    ///
    /// As [`mi_heap_rezalloc`].
    pub fn mi_heap_recalloc_aligned_at(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;
}

// Allocation from a heap by the protocol of C++.
extern "C" {
    /// [`mi_new`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_new`].
    pub fn mi_heap_alloc_new(heap: *mut mi_heap_t, size: usize) -> *mut c_void;

    /// [`mi_new_n`] from `heap`.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_malloc`] and [`mi_new`].
    pub fn mi_heap_alloc_new_n(heap: *mut mi_heap_t, count: usize, size: usize) -> *mut c_void;
}

/// Memory of a heap with blocks of one size.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct mi_heap_area_t {
    /// Where the blocks start.
    pub blocks: *mut c_void,
    /// Bytes of address space.
    pub reserved: usize,
    /// Bytes that blocks have been made of so far.
    pub committed: usize,
    /// The number of live blocks.
    pub used: usize,
    /// Bytes that may be used of each block.
    pub block_size: usize,
    /// Bytes from one block to the next.
    pub full_block_size: usize,
}

/// Called once for each area with a null `block`, then, if asked for, for each live block of it;
/// false ends the visit.
///
/// The function may allocate from other heaps than the visited one, and must not release blocks of
/// that.
pub type mi_block_visit_fun = Option<
    unsafe extern "C" fn(
        heap: *const mi_heap_t,
        area: *const mi_heap_area_t,
        block: *mut c_void,
        block_size: usize,
        arg: *mut c_void,
    ) -> bool,
>;

/// The number of a sub-process. There is one, the process, and its number is null.
pub type mi_subproc_id_t = *mut c_void;

// Looking at heaps.
extern "C" {
    /// Whether the block that `p` points into belongs to `heap`; false for a null heap.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread. Any `p` may be passed.
    pub fn mi_heap_contains_block(heap: *mut mi_heap_t, p: *const c_void) -> bool;

    /// Whether `p` is a multiple of the size of a pointer and lies in memory that blocks of `heap`
    /// may occupy, live or not; false for a null heap.
    ///
    /// # Safety
    ///
    /// As [`mi_heap_contains_block`].
    pub fn mi_heap_check_owned(heap: *mut mi_heap_t, p: *const c_void) -> bool;

    /// [`mi_heap_check_owned`] of the default heap of the calling thread.
    ///
    /// # Safety
    ///
    /// No conditions: any `p` may be passed.
    pub fn mi_check_owned(p: *const c_void) -> bool;

    /// Visits all areas of a heap and, with `visit_all_blocks`, all live blocks, each once.
    ///
    /// False when the visitor ended the visit, when there is no area, and for a null heap or
    /// visitor. Other threads may release blocks meanwhile; those may be visited or not. Takes time
    /// in proportion to the memory of the whole process.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread. `visitor` is called with `arg` before this
    /// function returns, and must not unwind.
    pub fn mi_heap_visit_blocks(
        heap: *const mi_heap_t,
        visit_all_blocks: bool,
        visitor: mi_block_visit_fun,
        arg: *mut c_void,
    ) -> bool;

    /// [`mi_heap_visit_blocks`] for the pages of ended threads that no thread has claimed; true
    /// when there was nothing to visit. *Since 2.4.1.*
    ///
    /// The heap that the visitor is given is [`mi_heap_main`]. `subproc_id` is null; `heap_tag`
    /// selects what heaps of that tag left, -1 all of it.
    ///
    /// # Safety
    ///
    /// `visitor` is called with `arg` before this function returns, and must not unwind.
    pub fn mi_abandoned_visit_blocks(
        subproc_id: mi_subproc_id_t,
        heap_tag: c_int,
        visit_blocks: bool,
        visitor: mi_block_visit_fun,
        arg: *mut c_void,
    ) -> bool;

    /// [`mi_abandoned_visit_blocks`] of all that is there, whatever its tag. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// `heap` is null or any heap of the calling thread. `visitor` is called with `arg` before this
    /// function returns, and must not unwind.
    pub fn mi_heap_visit_abandoned_blocks(
        heap: *mut mi_heap_t,
        visit_blocks: bool,
        visitor: mi_block_visit_fun,
        arg: *mut c_void,
    ) -> bool;

    /// The heap that the block at `p` belongs to ([`mi_heap_main`] for blocks of threads that have
    /// ended); null when `p` is not in a block of ours. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions: any `p` may be passed. The heap may belong to another thread.
    pub fn mi_heap_of(p: *const c_void) -> *mut mi_heap_t;

    /// Whether the block at `p` belongs to `heap`; null stands for [`mi_heap_main`]. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions: any `p` may be passed, and the heap is not followed.
    pub fn mi_heap_contains(heap: *const mi_heap_t, p: *const c_void) -> bool;

    /// Whether `p` lies in a block of any heap. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions: any `p` may be passed.
    pub fn mi_any_heap_contains(p: *const c_void) -> bool;

    /// The backing heap of the first thread, which always exists; only that thread may allocate from
    /// it. *Since 3.4.3.*
    ///
    /// # Safety
    ///
    /// No conditions of its own.
    pub fn mi_heap_main() -> *mut mi_heap_t;

    /// Whether moving the block `p` elsewhere could help to release its page. *Since 2.4.1.*
    ///
    /// True when the page belongs to `heap` (null: any), is not the one that is allocated from, has
    /// been made into blocks up to its end, is not full, and at most `perc_threshold` percent of its
    /// blocks are in use.
    ///
    /// # Safety
    ///
    /// `heap` is null or a heap of the calling thread; `p` is a live block, and no other thread uses
    /// blocks of the same page.
    pub fn mi_unsafe_heap_page_is_under_utilized(
        heap: *mut mi_heap_t,
        p: *mut c_void,
        perc_threshold: usize,
    ) -> bool;
}
