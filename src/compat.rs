//! The modules of `mimalloc2-rust-sys` 2.1.7-source and `mimalloc-rust-sys`, so that programs written
//! for them compile: the same items under the old paths.
//!
//! Two declarations were wrong there and are right here: `mi_reserve_huge_os_pages_interleave` takes
//! the number of nodes as a `usize`, and `mi_heap_area_t` has all six fields. One that was wrong is
//! kept in form, and does what its users meant: see [`runtime_options::mi_option_set_enabled`].

/// Aligned allocation, under its path in older crates of this name.
pub mod aligned_allocation {
    pub use crate::{
        mi_calloc_aligned, mi_calloc_aligned_at, mi_malloc_aligned, mi_malloc_aligned_at,
        mi_realloc_aligned, mi_realloc_aligned_at, mi_zalloc_aligned, mi_zalloc_aligned_at,
    };
}

/// Basic allocation, under its path in older crates of this name.
pub mod basic_allocation {
    pub use crate::{
        mi_calloc, mi_expand, mi_free, mi_malloc, mi_mallocn, mi_realloc, mi_reallocf, mi_reallocn,
        mi_realpath, mi_recalloc, mi_strdup, mi_strndup, mi_zalloc,
    };
}

/// Callbacks, statistics and the like, under their path in older crates of this name.
pub mod extended_functions {
    pub use crate::{
        mi_collect, mi_deferred_free_fun, mi_error_fun, mi_good_size, mi_is_in_heap_region,
        mi_malloc_small, mi_output_fun, mi_process_info, mi_register_deferred_free,
        mi_register_error, mi_register_output, mi_reserve_huge_os_pages_at,
        mi_reserve_huge_os_pages_interleave, mi_stats_merge, mi_stats_print, mi_stats_print_out,
        mi_stats_reset, mi_thread_done, mi_thread_init, mi_thread_stats_print_out, mi_usable_size,
        mi_zalloc_small, MI_SMALL_SIZE_MAX,
    };
}

/// First-class heaps, under their path in older crates of this name.
pub mod heap {
    pub use crate::{
        mi_block_visit_fun, mi_check_owned, mi_heap_area_t, mi_heap_calloc, mi_heap_calloc_aligned,
        mi_heap_calloc_aligned_at, mi_heap_check_owned, mi_heap_collect, mi_heap_contains_block,
        mi_heap_delete, mi_heap_destroy, mi_heap_get_backing, mi_heap_get_default, mi_heap_malloc,
        mi_heap_malloc_aligned, mi_heap_malloc_aligned_at, mi_heap_malloc_small, mi_heap_mallocn,
        mi_heap_new, mi_heap_realloc, mi_heap_realloc_aligned, mi_heap_realloc_aligned_at,
        mi_heap_reallocf, mi_heap_reallocn, mi_heap_realpath, mi_heap_recalloc,
        mi_heap_recalloc_aligned, mi_heap_recalloc_aligned_at, mi_heap_rezalloc,
        mi_heap_rezalloc_aligned, mi_heap_rezalloc_aligned_at, mi_heap_set_default, mi_heap_strdup,
        mi_heap_strndup, mi_heap_visit_blocks, mi_heap_zalloc, mi_heap_zalloc_aligned,
        mi_heap_zalloc_aligned_at,
    };
}

/// Options, under their path in older crates of this name.
pub mod runtime_options {
    // The two functions below replace those that the glob brings.
    pub use crate::extended::options::*;

    /// Sets `option` to 1.
    ///
    /// Older crates declared the C function without its second argument, so that it read an
    /// undefined value. This keeps their form. The C function itself is
    /// [`mi_option_set_enabled`](crate::mi_option_set_enabled) at the root.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    #[deprecated(note = "use `mi_option_enable`, or the function of this name at the root")]
    pub unsafe fn mi_option_set_enabled(option: mi_option_t) {
        unsafe { crate::mi_option_set_enabled(option, true) }
    }

    /// Sets `option` to 1 while neither the environment nor the program has set it.
    ///
    /// In the form of older crates, as [`mi_option_set_enabled`]. The C function itself is
    /// [`mi_option_set_enabled_default`](crate::mi_option_set_enabled_default) at the root.
    ///
    /// # Safety
    ///
    /// No conditions of its own; see the option.
    #[deprecated(note = "use `mi_option_set_default`, or the function of this name at the root")]
    pub unsafe fn mi_option_set_enabled_default(option: mi_option_t) {
        unsafe { crate::mi_option_set_enabled_default(option, true) }
    }
}

/// Types, under their path in older crates of this name.
///
/// Older crates declared the inside of a 1.x allocator here, which no 2.x library has. Of those types
/// only the names are left, for code that passes pointers to them on. [`mi_heap_t`](types::mi_heap_t)
/// and the statistics are real.
pub mod types {
    use core::ffi::c_uint;

    pub use crate::{mi_heap_t, mi_stat_count_t, mi_stat_counter_t, mi_stats_t};

    macro_rules! names_only {
        ($($name:ident)*) => {$(
            /// A name without an inside: nothing of this kind exists here.
            #[repr(C)]
            #[derive(Debug)]
            pub struct $name {
                _opaque: [u8; 0],
            }
        )*};
    }

    names_only! {
        mi_block_t mi_os_tld_t mi_page_flags_t mi_page_queue_t mi_page_t mi_random_ctx_t
        mi_segment_queue_t mi_segment_t mi_segments_tld_s mi_tld_t
    }

    /// The same as [`mi_segments_tld_s`].
    pub type mi_segments_tld_t = mi_segments_tld_s;
    /// A number without use here.
    pub type mi_thread_free_t = usize;

    /// A number without use here.
    pub type mi_page_kind_t = c_uint;
    /// A number without use here.
    pub const mi_page_kind_MI_PAGE_SMALL: mi_page_kind_t = 0;
    /// A number without use here.
    pub const mi_page_kind_MI_PAGE_MEDIUM: mi_page_kind_t = 1;
    /// A number without use here.
    pub const mi_page_kind_MI_PAGE_LARGE: mi_page_kind_t = 2;
    /// A number without use here.
    pub const mi_page_kind_MI_PAGE_HUGE: mi_page_kind_t = 3;

    /// A number without use here.
    pub type mi_delayed_t = c_uint;
    /// A number without use here.
    pub const mi_delayed_t_MI_USE_DELAYED_FREE: mi_delayed_t = 0;
    /// A number without use here.
    pub const mi_delayed_t_MI_DELAYED_FREEING: mi_delayed_t = 1;
    /// A number without use here.
    pub const mi_delayed_t_MI_NO_DELAYED_FREE: mi_delayed_t = 2;
    /// A number without use here.
    pub const mi_delayed_t_MI_NEVER_DELAYED_FREE: mi_delayed_t = 3;
}

/// What older crates of this name had to take bit fields apart.
pub mod utils {
    /// The bits of `Storage`, counted as a C compiler counts the bit fields of a structure: from
    /// the lowest bit of the first byte on little-endian machines, from the highest on others.
    #[repr(C)]
    #[derive(Copy, Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct BitField<Storage> {
        storage: Storage,
    }

    impl<Storage> BitField<Storage> {
        /// The bits of `storage`.
        pub const fn new(storage: Storage) -> BitField<Storage> {
            BitField { storage }
        }
    }

    /// The place of bit `index` in its byte.
    fn mask(index: usize) -> u8 {
        let place = index % 8;
        1 << if cfg!(target_endian = "big") { 7 - place } else { place }
    }

    /// The place in the value of the bit that is `step` bits after the start of its field.
    fn place_in_value(step: usize, width: u8) -> usize {
        if cfg!(target_endian = "big") {
            usize::from(width) - 1 - step
        } else {
            step
        }
    }

    impl<Storage: AsRef<[u8]> + AsMut<[u8]>> BitField<Storage> {
        /// Bit `index`.
        ///
        /// # Panics
        ///
        /// When there is no such bit.
        pub fn get_bit(&self, index: usize) -> bool {
            self.storage.as_ref()[index / 8] & mask(index) != 0
        }

        /// Sets bit `index` to `value`.
        ///
        /// # Panics
        ///
        /// When there is no such bit.
        pub fn set_bit(&mut self, index: usize, value: bool) {
            let byte = &mut self.storage.as_mut()[index / 8];
            if value {
                *byte |= mask(index);
            } else {
                *byte &= !mask(index);
            }
        }

        /// The number in the `bit_width` bits (at most 64) from `bit_offset` on.
        ///
        /// # Panics
        ///
        /// When there are fewer bits.
        pub fn get(&self, bit_offset: usize, bit_width: u8) -> u64 {
            (0..usize::from(bit_width)).fold(0, |value, step| {
                let bit = u64::from(self.get_bit(bit_offset + step));
                value | bit << place_in_value(step, bit_width)
            })
        }

        /// Puts the lowest `bit_width` bits (at most 64) of `val` where [`get`](Self::get) finds them.
        ///
        /// # Panics
        ///
        /// When there are fewer bits.
        pub fn set(&mut self, bit_offset: usize, bit_width: u8, val: u64) {
            for step in 0..usize::from(bit_width) {
                let bit = val >> place_in_value(step, bit_width) & 1 == 1;
                self.set_bit(bit_offset + step, bit);
            }
        }
    }
}
