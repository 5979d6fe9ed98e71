//! Allocation beyond the basic functions: small blocks, arrays, zeroing reallocation, calls that tell
//! the usable size.

use core::ffi::{c_int, c_void};
use core::mem::size_of;

#[cfg(doc)]
use crate::*;

/// [`MI_SMALL_SIZE_MAX`] in pointers.
pub const MI_SMALL_WSIZE_MAX: usize = 128;
/// The largest size that [`mi_malloc_small`] and the other functions of that name accept: 128
/// pointers.
pub const MI_SMALL_SIZE_MAX: usize = MI_SMALL_WSIZE_MAX * size_of::<*mut c_void>();

/// [`mi_free_small`], [`mi_collect_reduce`] and [`mi_heap_zalloc_small`] are there.
pub const MI_HAS_SMALL_EXTRA: c_int = 1;
/// The functions that tell the usable size, from [`mi_umalloc`] on, are there.
pub const MI_HAS_UBLOCK: c_int = 1;

// Small blocks and arrays.
extern "C" {
    /// [`mi_malloc`] for a `size` of at most [`MI_SMALL_SIZE_MAX`].
    ///
    /// # Safety
    ///
    /// `size` is at most [`MI_SMALL_SIZE_MAX`].
    pub fn mi_malloc_small(size: usize) -> *mut c_void;

    /// [`mi_zalloc`] for a `size` of at most [`MI_SMALL_SIZE_MAX`].
    ///
    /// # Safety
    ///
    /// `size` is at most [`MI_SMALL_SIZE_MAX`].
    pub fn mi_zalloc_small(size: usize) -> *mut c_void;

    /// [`mi_free`] for a block that one of the `_small` functions returned. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_free`]; a block that is not null came from a function with `_small` in its name.
    pub fn mi_free_small(p: *mut c_void);

    /// [`mi_malloc`] for `count` elements of `size` bytes; null also when the product overflows.
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_mallocn(count: usize, size: usize) -> *mut c_void;

    /// [`mi_realloc`] to `count` elements of `size` bytes; null also when the product overflows, and
    /// `p` stays valid.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`].
    pub fn mi_reallocn(p: *mut c_void, count: usize, size: usize) -> *mut c_void;

    /// [`mi_realloc`] that releases `p` when it fails.
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
    /// [`mi_realloc`] of a zeroed block; what it gains is zero.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`]. What is gained is zero only if the block came from a zeroing function.
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

// Calls that also tell the usable size of the block. `*block_size` is written on success only; for
// aligned requests it counts from the block that is returned. All since 2.4.1.
extern "C" {
    /// [`mi_malloc`] that stores the usable size of the block in `*block_size`. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// `block_size` is null or may be written to.
    pub fn mi_umalloc(size: usize, block_size: *mut usize) -> *mut c_void;

    /// [`mi_calloc`] that stores the usable size of the block in `*block_size`. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_umalloc`].
    pub fn mi_ucalloc(count: usize, size: usize, block_size: *mut usize) -> *mut c_void;

    /// [`mi_realloc`] that stores the usable size before (0 for a null `p`) in `*block_size_pre` and
    /// that after in `*block_size_post`. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`]; the other pointers are null or may be written to.
    pub fn mi_urealloc(
        p: *mut c_void,
        newsize: usize,
        block_size_pre: *mut usize,
        block_size_post: *mut usize,
    ) -> *mut c_void;

    /// [`mi_free`] that stores the usable size of the block in `*block_size`. *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_free`]; `block_size` is null or may be written to.
    pub fn mi_ufree(p: *mut c_void, block_size: *mut usize);

    /// [`mi_malloc_aligned`] that stores the usable size of the block in `*block_size`.
    /// *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_umalloc`].
    pub fn mi_umalloc_aligned(size: usize, alignment: usize, block_size: *mut usize)
        -> *mut c_void;

    /// [`mi_zalloc_aligned`] that stores the usable size of the block in `*block_size`.
    /// *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_umalloc`].
    pub fn mi_uzalloc_aligned(size: usize, alignment: usize, block_size: *mut usize)
        -> *mut c_void;

    /// [`mi_malloc_small`] that stores the usable size of the block in `*block_size`.
    /// *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_malloc_small`] and [`mi_umalloc`].
    pub fn mi_umalloc_small(size: usize, block_size: *mut usize) -> *mut c_void;

    /// [`mi_zalloc_small`] that stores the usable size of the block in `*block_size`.
    /// *Since 2.4.1.*
    ///
    /// # Safety
    ///
    /// As [`mi_malloc_small`] and [`mi_umalloc`].
    pub fn mi_uzalloc_small(size: usize, block_size: *mut usize) -> *mut c_void;
}
