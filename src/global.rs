//! The global allocator on top of the C functions; under Miri miri.rs stands in for this file.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_int, c_void};

use crate::{
    mi_free_size, mi_free_size_aligned, mi_malloc, mi_malloc_align8, mi_malloc_aligned, mi_realloc,
    mi_realloc_align8, mi_realloc_aligned, mi_usable_size, mi_version, mi_zalloc, mi_zalloc_align8,
    mi_zalloc_aligned, MiMalloc,
};

/// Rust states the alignment of each request, and mostly it is 8 or less: then the classes that
/// are odd multiples of 8 (24, 40, 56, ...) may serve it.
const ALIGN_SMALL: usize = 8;
/// What every block of at least one byte has anyway.
const ALIGN_MALLOC: usize = 16;

impl MiMalloc {
    /// The version of the C interface, 217 for 2.1.7.
    #[inline]
    pub fn version(&self) -> c_int {
        // SAFETY: takes nothing and only returns a constant.
        unsafe { mi_version() }
    }

    /// The bytes that may be used in the block at `p`, at least what was asked for.
    ///
    /// # Panics
    ///
    /// Under Miri, where nothing tells the size of a block.
    ///
    /// # Safety
    ///
    /// `p` must be null (the result is 0 then) or a live block of this allocator.
    #[inline]
    pub unsafe fn usable_size(&self, p: *const u8) -> usize {
        unsafe { mi_usable_size(p.cast::<c_void>()) }
    }
}

// SAFETY: the C functions keep what the trait asks for: a block of at least the given size and
// alignment or null, no unwinding, and contents that stay when a block is resized. Sizes are never
// 0 here, so the 8-byte alignment of empty blocks does not occur.
unsafe impl GlobalAlloc for MiMalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let p = unsafe {
            if align <= ALIGN_SMALL {
                mi_malloc_align8(size)
            } else if align <= ALIGN_MALLOC {
                mi_malloc(size)
            } else {
                mi_malloc_aligned(size, align)
            }
        };
        p.cast::<u8>()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let p = unsafe {
            if align <= ALIGN_SMALL {
                mi_zalloc_align8(size)
            } else if align <= ALIGN_MALLOC {
                mi_zalloc(size)
            } else {
                mi_zalloc_aligned(size, align)
            }
        };
        p.cast::<u8>()
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let (size, align) = (layout.size(), layout.align());
        let p = ptr.cast::<c_void>();
        unsafe {
            if align <= ALIGN_MALLOC {
                mi_free_size(p, size);
            } else {
                mi_free_size_aligned(p, size, align);
            }
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let align = layout.align();
        let p = ptr.cast::<c_void>();
        let p = unsafe {
            if align <= ALIGN_SMALL {
                mi_realloc_align8(p, new_size)
            } else if align <= ALIGN_MALLOC {
                mi_realloc(p, new_size)
            } else {
                mi_realloc_aligned(p, new_size, align)
            }
        };
        p.cast::<u8>()
    }
}
