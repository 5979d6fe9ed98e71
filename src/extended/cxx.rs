//! Release with an alignment, and allocation by the protocol of C++.

use core::ffi::c_void;

#[cfg(doc)]
use crate::*;

extern "C" {
    /// [`mi_free`] for a block that was asked for with `alignment`; used for checks.
    ///
    /// # Safety
    ///
    /// As [`mi_free`]; `p` is a multiple of `alignment`.
    pub fn mi_free_aligned(p: *mut c_void, alignment: usize);

    /// [`mi_malloc`] that does not return null: it calls the C++ new-handler until that gives up,
    /// then throws `std::bad_alloc` where there is a C++ runtime, and aborts elsewhere.
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

    /// [`mi_new`] for `count` elements of `size` bytes. A product that overflows is a failure that
    /// the new-handler cannot cure: it is called once.
    ///
    /// # Safety
    ///
    /// As [`mi_new`].
    pub fn mi_new_n(count: usize, size: usize) -> *mut c_void;

    /// [`mi_realloc`] that fails like [`mi_new`]; `p` stays valid until the call succeeds.
    ///
    /// # Safety
    ///
    /// As [`mi_realloc`] and [`mi_new`].
    pub fn mi_new_realloc(p: *mut c_void, newsize: usize) -> *mut c_void;

    /// [`mi_new_realloc`] to `newcount` elements of `size` bytes, overflow as in [`mi_new_n`].
    ///
    /// # Safety
    ///
    /// As [`mi_new_realloc`].
    pub fn mi_new_reallocn(p: *mut c_void, newcount: usize, size: usize) -> *mut c_void;
}
