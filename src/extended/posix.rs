//! The functions under names of POSIX, of other Unix systems, and of Microsoft's C library.

use core::ffi::{c_char, c_int, c_uchar, c_ushort, c_void};

#[cfg(doc)]
use crate::*;

// POSIX and Unix names.
extern "C" {
    /// [`mi_free`] for an address that may not be ours: those are ignored.
    ///
    /// # Safety
    ///
    /// `p` is a live block or an address outside the memory of the allocator; it is not used
    /// afterwards in the first case.
    pub fn mi_cfree(p: *mut c_void);

    /// The same as [`mi_usable_size`].
    ///
    /// # Safety
    ///
    /// As [`mi_usable_size`].
    pub fn mi_malloc_size(p: *const c_void) -> usize;

    /// The same as [`mi_good_size`].
    ///
    /// # Safety
    ///
    /// No conditions.
    pub fn mi_malloc_good_size(size: usize) -> usize;

    /// The same as [`mi_usable_size`].
    ///
    /// # Safety
    ///
    /// As [`mi_usable_size`].
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

    /// [`mi_malloc_aligned`] with its arguments in the other order.
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

    /// [`mi_malloc_aligned`] with its arguments in the other order; `size` need not be a multiple of
    /// `alignment`.
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

    /// The function of NetBSD: `p` is the *address* of a pointer to a block, which is updated.
    ///
    /// Returns 0, or an error that is also left in `errno`, with the pointer as it was: `EINVAL` for
    /// a null `p`, `EOVERFLOW`, `ENOMEM`. A `count` or `size` of 0 releases the block and stores
    /// null.
    ///
    /// # Safety
    ///
    /// `p` is null or the address of a pointer that is null or a live block; the block is not used
    /// afterwards when the call succeeds.
    pub fn mi_reallocarr(p: *mut c_void, count: usize, size: usize) -> c_int;
}

// Microsoft names.
extern "C" {
    /// [`mi_expand`] that sets `errno` to `ENOMEM` when it returns null.
    ///
    /// # Safety
    ///
    /// As [`mi_expand`].
    pub fn mi__expand(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// The same as [`mi_recalloc_aligned`].
    ///
    /// # Safety
    ///
    /// As [`mi_recalloc_aligned`].
    pub fn mi_aligned_recalloc(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
    ) -> *mut c_void;

    /// The same as [`mi_recalloc_aligned_at`].
    ///
    /// # Safety
    ///
    /// As [`mi_recalloc_aligned_at`].
    pub fn mi_aligned_offset_recalloc(
        p: *mut c_void,
        newcount: usize,
        size: usize,
        alignment: usize,
        offset: usize,
    ) -> *mut c_void;

    /// A copy of the string `s` of 16-bit units in a new block; null for null.
    ///
    /// # Safety
    ///
    /// `s` is null or points to a string with a terminator.
    pub fn mi_wcsdup(s: *const c_ushort) -> *mut c_ushort;

    /// A copy of the string `s` of bytes in a new block; null for null.
    ///
    /// # Safety
    ///
    /// `s` is null or points to a string with a terminator.
    pub fn mi_mbsdup(s: *const c_uchar) -> *mut c_uchar;

    /// Stores a copy of the environment variable `name` in `*buf` and its length with the terminator
    /// in `*size`; null and 0 when there is no such variable.
    ///
    /// Returns 0, `EINVAL` when `buf` or `name` is null, or `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `buf` and `size` are each null or may be written to; `name` is null or a string with a
    /// terminator. No other thread changes the environment meanwhile.
    pub fn mi_dupenv_s(buf: *mut *mut c_char, size: *mut usize, name: *const c_char) -> c_int;

    /// [`mi_dupenv_s`] with strings of 16-bit units, on Windows; elsewhere null, 0 and `EINVAL`.
    ///
    /// # Safety
    ///
    /// As [`mi_dupenv_s`].
    pub fn mi_wdupenv_s(buf: *mut *mut c_ushort, size: *mut usize, name: *const c_ushort) -> c_int;
}
