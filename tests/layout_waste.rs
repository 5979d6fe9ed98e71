//! How much a block is larger than its request: the memory that size classes cost.
//!
//! Rust states its alignments, so a request with an alignment of at most 8 gets classes of 8 bytes
//! apart; this file is what keeps that promise from being lost without notice.

use std::ffi::c_void;

use mimalloc2_rust_sys::{
    mi_free, mi_malloc, mi_malloc_align8, mi_malloc_aligned, mi_realloc_align8, mi_usable_size,
    mi_zalloc, mi_zalloc_align8,
};

/// Up to here the waste is bounded in bytes, above as a share.
const SMALL_MAX: usize = 112;
const MEDIUM_MAX: usize = 64 << 10;
/// The largest part of a block that may be unused, as a divisor: 12.5 %.
const SHARE: usize = 8;

unsafe fn usable_size_of(size: usize, p: *mut c_void) -> usize {
    assert!(!p.is_null(), "{size} bytes: null");
    unsafe {
        let usable = mi_usable_size(p);
        assert!(usable >= size, "{size} bytes: only {usable} usable");
        mi_free(p);
        usable
    }
}

#[track_caller]
fn assert_waste(size: usize, usable: usize, waste_max: usize) {
    let waste = usable - size;
    assert!(waste <= waste_max, "{size} bytes get {usable}: {waste} more, {waste_max} allowed");
}

#[test]
fn small_requests_of_alignment_8_waste_at_most_7_bytes() {
    for size in 1..=SMALL_MAX {
        unsafe {
            assert_waste(size, usable_size_of(size, mi_malloc_align8(size)), 7);
            assert_waste(size, usable_size_of(size, mi_zalloc_align8(size)), 7);
            let moved = mi_realloc_align8(std::ptr::null_mut(), size);
            assert_waste(size, usable_size_of(size, moved), 7);
        }
    }
}

/// All small sizes: an alignment of 16 costs nothing beyond the multiple of 16.
#[test]
fn small_requests_of_alignment_16_waste_at_most_15_bytes() {
    for size in 1..=SMALL_MAX {
        unsafe {
            assert_waste(size, usable_size_of(size, mi_malloc(size)), 15);
            assert_waste(size, usable_size_of(size, mi_zalloc(size)), 15);
            assert_waste(size, usable_size_of(size, mi_malloc_aligned(size, 16)), 15);
        }
    }
}

#[test]
fn medium_requests_waste_at_most_an_eighth_of_the_block() {
    for size in SMALL_MAX + 1..=MEDIUM_MAX {
        unsafe {
            let usable = usable_size_of(size, mi_malloc_align8(size));
            assert_waste(size, usable, usable / SHARE);
            let usable = usable_size_of(size, mi_malloc(size));
            assert_waste(size, usable, usable / SHARE);
        }
    }
}

/// What the classes are for: neighbours in memory, not only in the figures. The checked variant
/// may place blocks otherwise.
#[cfg(not(feature = "debug"))]
#[test]
fn blocks_of_24_bytes_lie_24_bytes_apart() {
    const BLOCKS: usize = 1000;
    let blocks: Vec<*mut c_void> = (0..BLOCKS).map(|_| unsafe { mi_malloc_align8(24) }).collect();
    let mut addresses: Vec<usize> = blocks.iter().map(|&p| p as usize).collect();
    addresses.sort_unstable();
    let distances = || addresses.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(distances().all(|distance| distance >= 24));
    let adjacent = distances().filter(|&distance| distance == 24).count();
    assert!(
        adjacent > BLOCKS * 9 / 10,
        "only {adjacent} of {BLOCKS} blocks have a close neighbour"
    );
    blocks.into_iter().for_each(|p| unsafe { mi_free(p) });
}
