//! The global allocator under Miri, which interprets Rust and has no C code to call.
//!
//! Blocks come from the interpreter itself. It then checks each release against the layout of the
//! allocation, and finds leaks, as it does for a program without a global allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_int;

use crate::{MiMalloc, MI_MALLOC_VERSION};

// Of the functions that Miri offers to crates without `std`.
extern "Rust" {
    fn miri_alloc(size: usize, align: usize) -> *mut u8;
    fn miri_dealloc(ptr: *mut u8, size: usize, align: usize);
}

impl MiMalloc {
    /// The version of the C interface, 217 for 2.1.7.
    pub fn version(&self) -> c_int {
        MI_MALLOC_VERSION
    }

    /// See the function of this name without Miri.
    ///
    /// # Safety
    ///
    /// None: it panics.
    pub unsafe fn usable_size(&self, _p: *const u8) -> usize {
        unimplemented!("Miri does not tell the size of a block")
    }
}

// SAFETY: Miri's allocations have the size and alignment that they are asked for. `realloc` is the
// trait's own, which allocates, copies and releases.
unsafe impl GlobalAlloc for MiMalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's size is not 0.
        unsafe { miri_alloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what `alloc` returned for this layout.
        unsafe { miri_dealloc(ptr, layout.size(), layout.align()) }
    }
}
