//! Programs that were written for the modules of `mimalloc2-rust-sys` 2.1.7-source compile, and
//! what they get is the same as at the root.
#![cfg(feature = "extended")]
// The forms that are kept for them are deprecated, and are what this is about.
#![allow(deprecated)]

use std::ffi::{c_int, c_long, c_ulonglong, c_void};
use std::mem::size_of;
use std::ptr::null_mut;

/// Together, as the wrapper crate imports them.
mod together {
    #[allow(unused_imports)]
    pub use mimalloc2_rust_sys::{
        aligned_allocation::*, basic_allocation::*, extended_functions::*, heap::*,
        runtime_options::*, types::*, utils::*,
    };
}
use together::*;

#[test]
fn glob_imports_of_all_modules_do_not_clash() {
    unsafe {
        let p: *mut c_void = mi_malloc_aligned(100, 64);
        assert!(mi_usable_size(p) >= 100 && mi_is_in_heap_region(p));
        mi_free(mi_realloc_aligned(p, 5000, 128));
        let heap: *mut mi_heap_t = mi_heap_new();
        assert!(mi_heap_contains_block(heap, mi_heap_malloc(heap, 10)));
        mi_heap_destroy(heap);
        let value: c_long = mi_option_get(mi_option_max_warnings);
        mi_option_set(mi_option_max_warnings, value);
        let option: mi_option_t = mi_option_show_stats;
        assert!(!mi_option_is_enabled(option));
    }
}

/// The C function has a second argument, which older crates did not declare.
#[test]
fn enabling_an_option_takes_one_argument_here_and_two_at_the_root() {
    let option = mi_option_abandoned_page_purge;
    unsafe {
        mi_option_set_enabled(option);
        assert_eq!(mi_option_get(option), 1);
        mimalloc2_rust_sys::mi_option_set_enabled(option, false);
        assert_eq!(mi_option_get(option), 0);
        mi_option_set_enabled_default(option);
        assert_eq!(mi_option_get(option), 0, "it was set by the program");
        let option = mi_option_deprecated_page_reset;
        mi_option_set_enabled_default(option);
        assert_eq!(mi_option_get(option), 1);
        mimalloc2_rust_sys::mi_option_set_enabled_default(option, false);
        assert_eq!(mi_option_get(option), 0);
    }
}

#[test]
fn a_heap_is_printed_without_a_look_inside() {
    let heap = unsafe { &*mi_heap_get_default() };
    assert_eq!(format!("{heap:?}"), "mi_heap_t");
    // The same through a dangling pointer.
    assert_eq!(size_of::<mi_heap_t>(), 0);
}

#[test]
fn an_area_has_the_six_fields_of_c() {
    assert_eq!(size_of::<mi_heap_area_t>(), 6 * size_of::<usize>());
    unsafe extern "C" fn add(
        heap: *const mi_heap_t,
        area: *const mi_heap_area_t,
        block: *mut c_void,
        _size: usize,
        sum: *mut c_void,
    ) -> bool {
        assert!(!heap.is_null() && block.is_null());
        let area = unsafe { *area };
        assert!(area.committed >= area.used && area.full_block_size >= area.block_size);
        unsafe { *sum.cast::<usize>() += area.used };
        true
    }
    let visitor: mi_block_visit_fun = Some(add);
    let mut used = 0_usize;
    unsafe {
        let heap = mi_heap_new();
        let blocks = [mi_heap_malloc(heap, 100), mi_heap_malloc(heap, 100_000)];
        let sum: *mut usize = &mut used;
        assert!(mi_heap_visit_blocks(heap, false, visitor, sum.cast()));
        assert!(!mi_heap_visit_blocks(heap, false, None, null_mut()));
        mi_heap_delete(heap);
        blocks.into_iter().for_each(|p| mi_free(p));
    }
    assert_eq!(used, 2);
}

#[test]
fn callbacks_have_their_types() {
    unsafe extern "C" fn free(_force: bool, _beat: c_ulonglong, _arg: *mut c_void) {}
    unsafe extern "C" fn error(_code: c_int, _arg: *mut c_void) {}
    let (free, error): (mi_deferred_free_fun, mi_error_fun) = (Some(free), Some(error));
    unsafe {
        mi_register_deferred_free(free, null_mut());
        mi_register_deferred_free(None, null_mut());
        mi_register_error(error, null_mut());
        mi_register_error(None, null_mut());
    }
    assert_eq!(size_of::<mi_output_fun>(), size_of::<usize>());
}

/// For code that passes them on; they do nothing.
#[test]
fn names_of_internal_types_can_be_named() {
    type Pointers = (*mut mi_page_t, *mut mi_segment_t, *mut mi_tld_t, *mut mi_segments_tld_t);
    assert_eq!(size_of::<Pointers>(), 4 * size_of::<usize>());
    let kind: mi_page_kind_t = mi_page_kind_MI_PAGE_HUGE;
    let delayed: mi_delayed_t = mi_delayed_t_MI_NEVER_DELAYED_FREE;
    assert_eq!((kind, delayed), (3, 3));
}

#[test]
fn a_bit_field_counts_as_c_does() {
    let mut field = BitField::new([0_u8; 2]);
    field.set(3, 7, 0b101_1010);
    assert_eq!(field.get(3, 7), 0b101_1010);
    assert_eq!(field.get(0, 3), 0, "neighbours stay");
    assert_eq!(field.get(10, 6), 0);
    field.set_bit(15, true);
    assert!(field.get_bit(15) && !field.get_bit(14));
    if cfg!(target_endian = "little") {
        assert_eq!(field, BitField::new([0b1101_0000, 0b1000_0010]));
    }
    field.set(3, 7, 0);
    assert_eq!(field.get(0, 15), 0);
}
