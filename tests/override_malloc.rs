//! Feature `override`: the `malloc` of the program and of its shared libraries is ours, although
//! Rust itself uses its system allocator here.
#![cfg(all(feature = "override", feature = "extended", not(windows)))]

use std::ffi::{c_char, c_int, c_void, CStr};

use mimalloc2_rust_sys::{mi_free, mi_is_in_heap_region, mi_malloc, mi_usable_size};

extern "C" {
    fn malloc(size: usize) -> *mut c_void;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn realloc(p: *mut c_void, size: usize) -> *mut c_void;
    fn free(p: *mut c_void);
    fn posix_memalign(p: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
    /// Allocates inside the C library.
    fn strdup(s: *const c_char) -> *mut c_char;
    fn realpath(name: *const c_char, resolved: *mut c_char) -> *mut c_char;
}

const ROOT: &[u8] = b"/\0";

fn is_ours(p: *const c_void) -> bool {
    unsafe { mi_is_in_heap_region(p) }
}

#[test]
fn malloc_and_its_family_are_ours() {
    unsafe {
        let p = malloc(100);
        assert!(is_ours(p) && mi_usable_size(p) >= 100);
        let p = realloc(p, 10_000);
        assert!(is_ours(p));
        free(p);
        let p = calloc(10, 10);
        assert!(is_ours(p));
        free(p);
        let mut p = std::ptr::null_mut();
        assert_eq!(posix_memalign(&mut p, 256, 100), 0);
        assert!(is_ours(p) && p as usize % 256 == 0);
        free(p);
    }
}

#[test]
fn blocks_pass_both_ways() {
    unsafe {
        mi_free(malloc(50));
        free(mi_malloc(50));
    }
}

#[test]
fn the_c_library_allocates_from_us() {
    unsafe {
        let copy = strdup(ROOT.as_ptr().cast::<c_char>());
        assert!(is_ours(copy.cast::<c_void>()));
        free(copy.cast::<c_void>());
        let path = realpath(ROOT.as_ptr().cast::<c_char>(), std::ptr::null_mut());
        assert!(is_ours(path.cast::<c_void>()));
        assert_eq!(CStr::from_ptr(path).to_bytes(), b"/");
        mi_free(path.cast::<c_void>());
    }
}

#[test]
fn the_system_allocator_of_rust_is_ours() {
    let text = String::from("allocated through malloc");
    assert!(is_ours(text.as_ptr().cast::<c_void>()));
}
