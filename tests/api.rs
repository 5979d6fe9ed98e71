//! Every function of the interface once, above all at its edges: size 0, null, sizes and products
//! that overflow, alignments that are none. What callbacks and options do is in files of their own.
#![cfg(feature = "extended")]

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::io;
use std::ptr::{addr_of_mut, null, null_mut};
use std::thread;

use mimalloc2_rust_sys::*;

/// No request of this size can succeed, and no rounding of it may wrap around.
const TOO_LARGE: [usize; 4] =
    [usize::MAX, usize::MAX - 7, isize::MAX as usize, isize::MAX as usize + 1];
/// Products of two that overflow; the last is a small number after wrapping around.
const OVERFLOWS: [(usize, usize); 3] =
    [(usize::MAX, 2), (2, usize::MAX), (1 << (usize::BITS / 2), 1 << (usize::BITS / 2))];
const NO_ALIGNMENTS: [usize; 5] = [0, 3, 24, 4095, usize::MAX];

const ZEROES: [u8; 4096] = [0; 4096];

const EINVAL: c_int = 22;
const ENOMEM: c_int = 12;

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Leaves a value in `errno` that no function of ours sets.
fn dirty_errno() -> c_int {
    let missing = std::fs::metadata("no such file").expect_err("there is no such file");
    missing.raw_os_error().expect("a code of the system")
}

fn is_aligned(p: *const c_void, alignment: usize) -> bool {
    p as usize % alignment == 0
}

unsafe fn is_zero(p: *const c_void, size: usize) -> bool {
    let bytes = unsafe { std::slice::from_raw_parts(p.cast::<u8>(), size) };
    // In chunks, so that memcmp does the work: a loop over bytes is slow in the dev profile.
    bytes.chunks(ZEROES.len()).all(|chunk| chunk == &ZEROES[..chunk.len()])
}

/// Checks and releases a block that must hold `size` bytes.
#[track_caller]
unsafe fn check(p: *mut c_void, size: usize, alignment: usize) {
    assert!(!p.is_null());
    assert!(is_aligned(p, alignment), "{p:p} is not a multiple of {alignment}");
    unsafe {
        assert!(mi_usable_size(p) >= size);
        p.write_bytes(0xa5, mi_usable_size(p));
        mi_free(p);
    }
}

/// `check` for a block whose whole usable size must be zero.
#[track_caller]
unsafe fn check_zero(p: *mut c_void, size: usize, alignment: usize) {
    assert!(!p.is_null());
    unsafe {
        assert!(is_zero(p, mi_usable_size(p)));
        check(p, size, alignment);
    }
}

// ---- basic ------------------------------------------------------------------------------------

#[test]
fn null_is_accepted_everywhere() {
    unsafe {
        mi_free(null_mut());
        mi_cfree(null_mut());
        mi_free_size(null_mut(), 10);
        mi_free_size_aligned(null_mut(), 10, 64);
        mi_free_aligned(null_mut(), 64);
        assert_eq!(mi_usable_size(null()), 0);
        assert_eq!(mi_malloc_size(null()), 0);
        assert_eq!(mi_malloc_usable_size(null()), 0);
        assert!(!mi_is_in_heap_region(null()));
        assert!(mi_expand(null_mut(), 10).is_null());
        assert!(mi_strdup(null()).is_null());
        assert!(mi_strndup(null(), 5).is_null());
    }
}

#[test]
fn size_zero_gives_distinct_blocks() {
    unsafe {
        let blocks = [
            mi_malloc(0),
            mi_malloc(0),
            mi_zalloc(0),
            mi_calloc(0, 8),
            mi_calloc(8, 0),
            mi_mallocn(0, 8),
            mi_malloc_small(0),
            mi_zalloc_small(0),
            mi_malloc_align8(0),
            mi_zalloc_align8(0),
            mi_realloc(null_mut(), 0),
            mi_realloc_align8(null_mut(), 0),
            mi_reallocn(null_mut(), 0, 8),
            mi_reallocf(null_mut(), 0),
            mi_reallocarray(null_mut(), 8, 0),
            mi_rezalloc(null_mut(), 0),
            mi_recalloc(null_mut(), 0, 8),
            mi_malloc_aligned(0, 64),
            mi_zalloc_aligned(0, 64),
            mi_calloc_aligned(0, 8, 64),
            mi_malloc_aligned_at(0, 64, 8),
            mi_zalloc_aligned_at(0, 64, 8),
            mi_calloc_aligned_at(0, 8, 64, 8),
            mi_realloc_aligned(null_mut(), 0, 64),
            mi_memalign(64, 0),
            mi_aligned_alloc(64, 0),
            mi_valloc(0),
            mi_pvalloc(0),
            mi_new(0),
            mi_new_nothrow(0),
            mi_new_aligned(0, 64),
            mi_new_aligned_nothrow(0, 64),
        ];
        for (index, p) in blocks.iter().enumerate() {
            assert!(!p.is_null(), "block {index}");
            assert!(is_aligned(*p, 8));
            assert!(!blocks[..index].contains(p), "block {index} is also another");
        }
        blocks.into_iter().for_each(|p| mi_free(p));
    }
}

#[test]
fn basic_functions_give_blocks() {
    for size in [1, 7, 8, 16, 17, 100, 512, 1000, 5000, 100_000, 3 << 20] {
        unsafe {
            check(mi_malloc(size), size, 16);
            check_zero(mi_zalloc(size), size, 16);
            check_zero(mi_calloc(size, 3), size * 3, 16);
            check(mi_mallocn(size, 3), size * 3, 16);
            check(mi_malloc_align8(size), size, 8);
            check_zero(mi_zalloc_align8(size), size, 8);
            check(mi_new(size), size, 16);
            check(mi_new_nothrow(size), size, 16);
            if size <= MI_SMALL_SIZE_MAX {
                check(mi_malloc_small(size), size, 16);
                check_zero(mi_zalloc_small(size), size, 16);
            }
        }
    }
}

#[test]
fn sizes_that_cannot_be_served_give_null() {
    for size in TOO_LARGE {
        unsafe {
            assert!(mi_malloc(size).is_null());
            assert!(mi_zalloc(size).is_null());
            assert!(mi_calloc(1, size).is_null());
            assert!(mi_calloc(size, 1).is_null());
            assert!(mi_mallocn(1, size).is_null());
            assert!(mi_malloc_align8(size).is_null());
            assert!(mi_zalloc_align8(size).is_null());
            assert!(mi_malloc_aligned(size, 64).is_null());
            assert!(mi_zalloc_aligned(size, 64).is_null());
            assert!(mi_malloc_aligned_at(size, 64, 8).is_null());
            assert!(mi_memalign(64, size).is_null());
            assert!(mi_aligned_alloc(64, size).is_null());
            assert!(mi_valloc(size).is_null());
            assert!(mi_pvalloc(size).is_null());
            assert!(mi_new_nothrow(size).is_null());
            assert!(mi_new_aligned_nothrow(size, 64).is_null());
            assert!(mi_realloc(null_mut(), size).is_null());
            assert!(mi_reallocf(null_mut(), size).is_null());
        }
    }
}

#[test]
fn products_that_overflow_give_null() {
    for (count, size) in OVERFLOWS {
        unsafe {
            assert!(mi_calloc(count, size).is_null());
            assert!(mi_mallocn(count, size).is_null());
            assert!(mi_calloc_aligned(count, size, 64).is_null());
            assert!(mi_calloc_aligned_at(count, size, 64, 8).is_null());
            let p = mi_zalloc(40);
            assert!(mi_reallocn(p, count, size).is_null());
            assert!(mi_recalloc(p, count, size).is_null());
            assert!(mi_recalloc_aligned(p, count, size, 64).is_null());
            assert!(mi_recalloc_aligned_at(p, count, size, 64, 8).is_null());
            assert!(mi_reallocarray(p, count, size).is_null());
            #[cfg(target_os = "linux")]
            assert_eq!(errno(), 75, "EOVERFLOW");
            check_zero(p, 40, 16);
        }
    }
}

#[test]
fn free_keeps_errno() {
    unsafe {
        for size in [10, 1000, 50_000, 4 << 20] {
            let p = mi_malloc(size);
            let before = dirty_errno();
            mi_free(p);
            assert_eq!(errno(), before);
        }
    }
}

// ---- resizing -----------------------------------------------------------------------------------

#[test]
fn realloc_follows_the_rules_of_c() {
    unsafe {
        let p = mi_realloc(null_mut(), 20).cast::<u8>();
        p.write_bytes(7, 20);
        let p = mi_realloc(p.cast(), 50_000).cast::<u8>();
        assert!((0..20).all(|index| p.add(index).read() == 7));
        for size in TOO_LARGE {
            assert!(mi_realloc(p.cast(), size).is_null());
            assert!(mi_realloc_align8(p.cast(), size).is_null());
            assert!(mi_realloc_aligned(p.cast(), size, 64).is_null());
            assert!(mi_rezalloc(p.cast(), size).is_null());
        }
        let p = mi_realloc_align8(p.cast(), 10).cast::<u8>();
        assert!((0..10).all(|index| p.add(index).read() == 7));
        let p = mi_realloc(p.cast(), 0);
        check(p, 0, 8);
    }
}

/// A C block is 16-byte aligned, wherever it comes from.
#[test]
fn realloc_of_an_8_byte_aligned_block_aligns_it() {
    unsafe {
        for size in (8..=112).step_by(8) {
            let blocks: Vec<*mut c_void> = (0..20).map(|_| mi_malloc_align8(size)).collect();
            for p in blocks {
                check(mi_realloc(p, size.max(16)), size, 16);
            }
        }
    }
}

#[test]
fn reallocf_releases_the_block_when_it_fails() {
    unsafe {
        let p = mi_reallocf(mi_malloc(10), 3000);
        assert!(!p.is_null());
        // Whether `p` is free now cannot be asked; a leak or a double free is for the sanitizers.
        assert!(mi_reallocf(p, usize::MAX).is_null());
    }
}

#[test]
fn reallocn_and_reallocarray_multiply() {
    unsafe {
        let p = mi_reallocn(null_mut(), 10, 100);
        assert!(mi_usable_size(p) >= 1000);
        let p = mi_reallocarray(p, 20, 100);
        assert!(mi_usable_size(p) >= 2000);
        assert!(mi_reallocarray(p, 1, isize::MAX as usize).is_null());
        assert_eq!(errno(), ENOMEM);
        check(p, 2000, 16);
    }
}

#[test]
fn expand_never_moves() {
    unsafe {
        let p = mi_malloc(100);
        let usable = mi_usable_size(p);
        assert_eq!(mi_expand(p, 1), p);
        assert_eq!(mi_expand(p, usable), p);
        for size in [1 << 30, usize::MAX] {
            assert!(mi_expand(p, size).is_null());
        }
        check(p, 100, 16);
    }
}

#[test]
fn zeroing_reallocation_zeroes_what_is_gained() {
    let steps = [1, 30, 100, 1000, 999, 20_000, 300_000, 5 << 20];
    unsafe {
        let mut p = mi_rezalloc(null_mut(), 1);
        for size in steps {
            p = mi_rezalloc(p, size);
            assert!(!p.is_null() && is_zero(p, mi_usable_size(p)), "{size} bytes");
        }
        check_zero(mi_recalloc(p, 1000, 20), 20_000, 16);

        for alignment in [8, 64, 4096] {
            let mut p = mi_rezalloc_aligned(null_mut(), 1, alignment);
            for size in steps {
                p = mi_rezalloc_aligned(p, size, alignment);
                assert!(is_aligned(p, alignment) && is_zero(p, mi_usable_size(p)));
            }
            check_zero(mi_recalloc_aligned(p, 100, 20, alignment), 2000, alignment);

            let at = |p: *mut c_void| is_aligned(p.cast::<u8>().wrapping_add(24).cast(), alignment);
            let mut p = mi_rezalloc_aligned_at(null_mut(), 1, alignment, 24);
            for size in steps {
                p = mi_rezalloc_aligned_at(p, size, alignment, 24);
                assert!(at(p) && is_zero(p, mi_usable_size(p)));
            }
            p = mi_recalloc_aligned_at(p, 100, 20, alignment, 24);
            assert!(at(p));
            check_zero(p, 2000, 8);
        }
    }
}

// ---- sizes --------------------------------------------------------------------------------------

#[test]
fn good_size_is_the_size_of_malloc() {
    unsafe {
        for size in (0..=20_000).chain([100_000, 1 << 20, (1 << 20) + 1]) {
            let good = mi_good_size(size);
            assert!(good >= size);
            assert_eq!(mi_malloc_good_size(size), good);
            let p = mi_malloc(size);
            assert!(mi_usable_size(p) >= size && good <= mi_usable_size(p));
            assert_eq!(mi_malloc_size(p), mi_usable_size(p));
            assert_eq!(mi_malloc_usable_size(p), mi_usable_size(p));
            mi_free(p);
        }
        for size in TOO_LARGE {
            assert_eq!(mi_good_size(size), size);
        }
    }
}

#[test]
fn addresses_that_are_not_ours_are_recognised() {
    let on_the_stack = 0_u64;
    let stack: *const c_void = (&on_the_stack as *const u64).cast();
    unsafe {
        let p = mi_malloc(100);
        assert!(mi_is_in_heap_region(p));
        for foreign in [stack, usize::MAX as *const c_void, 1 as *const c_void] {
            assert!(!mi_is_in_heap_region(foreign));
            mi_cfree(foreign as *mut c_void);
        }
        assert_eq!(mi_usable_size(stack), 0);
        mi_cfree(p);
    }
}

// ---- aligned ------------------------------------------------------------------------------------

#[test]
fn aligned_functions_align() {
    for shift in 0..=26 {
        let alignment: usize = 1 << shift;
        for size in [1, 100, 5000] {
            unsafe {
                check(mi_malloc_aligned(size, alignment), size, alignment);
                check_zero(mi_zalloc_aligned(size, alignment), size, alignment);
                check_zero(mi_calloc_aligned(size, 2, alignment), 2 * size, alignment);
                check(mi_memalign(alignment, size), size, alignment);
                check(mi_aligned_alloc(alignment, size), size, alignment);
                check(mi_new_aligned(size, alignment), size, alignment);
                check(mi_new_aligned_nothrow(size, alignment), size, alignment);
                let p = mi_realloc_aligned(mi_malloc(10), size, alignment);
                assert!(is_aligned(p, alignment));
                mi_free_size_aligned(p, size, alignment);
                mi_free_aligned(mi_malloc_aligned(size, alignment), alignment);
            }
        }
    }
}

#[test]
fn offsets_move_the_aligned_address() {
    for alignment in [8, 16, 64, 4096, 65_536] {
        for offset in [0, 8, 24, 100, 5000] {
            let check_at = |p: *mut c_void| unsafe {
                assert!(is_aligned(p.cast::<u8>().wrapping_add(offset).cast(), alignment));
                check(p, 200, 1);
            };
            unsafe {
                check_at(mi_malloc_aligned_at(200, alignment, offset));
                let p = mi_zalloc_aligned_at(200, alignment, offset);
                assert!(is_zero(p, 200));
                check_at(p);
                let p = mi_calloc_aligned_at(50, 4, alignment, offset);
                assert!(is_zero(p, 200));
                check_at(p);
                check_at(mi_realloc_aligned_at(mi_malloc(5), 200, alignment, offset));
            }
        }
    }
}

#[test]
fn an_alignment_that_is_none_gives_null() {
    for alignment in NO_ALIGNMENTS {
        unsafe {
            assert!(mi_malloc_aligned(10, alignment).is_null());
            assert!(mi_malloc_aligned_at(10, alignment, 8).is_null());
            assert!(mi_zalloc_aligned(10, alignment).is_null());
            assert!(mi_zalloc_aligned_at(10, alignment, 8).is_null());
            assert!(mi_calloc_aligned(10, 1, alignment).is_null());
            assert!(mi_calloc_aligned_at(10, 1, alignment, 8).is_null());
            assert!(mi_memalign(alignment, 10).is_null());
            assert!(mi_aligned_alloc(alignment, 10).is_null());
            assert!(mi_new_aligned_nothrow(10, alignment).is_null());
        }
    }
}

#[test]
fn posix_memalign_reports_through_its_result() {
    unsafe {
        let untouched = 0x1234 as *mut c_void;
        let mut p = untouched;
        let before = dirty_errno();
        for alignment in NO_ALIGNMENTS.into_iter().chain([1, 2]) {
            assert_eq!(mi_posix_memalign(&mut p, alignment, 10), EINVAL);
        }
        assert_eq!(mi_posix_memalign(null_mut(), 64, 10), EINVAL);
        for size in TOO_LARGE {
            assert_eq!(mi_posix_memalign(&mut p, 64, size), ENOMEM);
        }
        assert_eq!(p, untouched);
        assert_eq!(errno(), before);
        for alignment in [8, 16, 64, 4096, 1 << 20] {
            assert_eq!(mi_posix_memalign(&mut p, alignment, 100), 0);
            check(p, 100, alignment);
        }
    }
}

#[test]
fn valloc_and_pvalloc_start_at_an_os_page() {
    unsafe {
        check(mi_valloc(100), 100, 4096);
        let p = mi_pvalloc(100);
        assert!(mi_usable_size(p) >= 4096);
        check(p, 100, 4096);
    }
}

// ---- strings --------------------------------------------------------------------------------------

#[test]
fn strings_are_copied() {
    unsafe {
        let take = |p: *mut c_char| {
            let text = CStr::from_ptr(p).to_str().expect("ASCII").to_owned();
            mi_free(p.cast());
            text
        };
        let text = CString::new("a text").expect("no zero inside");
        assert_eq!(take(mi_strdup(text.as_ptr())), "a text");
        assert_eq!(take(mi_strndup(text.as_ptr(), 3)), "a t");
        assert_eq!(take(mi_strndup(text.as_ptr(), 0)), "");
        assert_eq!(take(mi_strndup(text.as_ptr(), usize::MAX)), "a text");
        let unterminated = [b'x' as c_char; 4];
        assert_eq!(take(mi_strndup(unterminated.as_ptr(), 4)), "xxxx");
    }
}

#[cfg(unix)]
#[test]
fn realpath_allocates_or_uses_the_buffer() {
    unsafe {
        let root = CString::new("/.//").expect("no zero inside");
        let p = mi_realpath(root.as_ptr(), null_mut());
        assert_eq!(CStr::from_ptr(p).to_bytes(), b"/");
        assert!(mi_usable_size(p.cast()) >= 2, "it comes from us");
        mi_free(p.cast());
        let mut buffer: [c_char; 4096] = [1; 4096];
        assert_eq!(mi_realpath(root.as_ptr(), buffer.as_mut_ptr()), buffer.as_mut_ptr());
        assert_eq!(CStr::from_ptr(buffer.as_ptr()).to_bytes(), b"/");
        let missing = CString::new("/no/such/file").expect("no zero inside");
        assert!(mi_realpath(missing.as_ptr(), null_mut()).is_null());
        assert_eq!(errno(), dirty_errno(), "ENOENT");
    }
}

// ---- process, threads, arenas ---------------------------------------------------------------------

#[test]
fn the_version_is_2_1_7() {
    assert_eq!(unsafe { mi_version() }, 217);
}

#[test]
fn setting_up_and_ending_may_be_repeated() {
    thread::spawn(|| unsafe {
        mi_process_init();
        mi_process_init();
        mi_thread_init();
        mi_thread_init();
        let (small, large) = (mi_malloc(100), mi_malloc(1 << 20));
        mi_thread_done();
        mi_thread_done();
        check(small, 100, 16);
        check(mi_malloc(100), 100, 16);
        check(large, 1 << 20, 16);
        mi_thread_done();
    })
    .join()
    .expect("no panic");
}

#[test]
fn collecting_keeps_live_blocks() {
    unsafe {
        let p = mi_zalloc(1000);
        mi_collect(false);
        mi_collect(true);
        check_zero(p, 1000, 16);
    }
}

#[test]
fn process_info_fills_the_requested_fields() {
    let mut values = [usize::MAX; 8];
    unsafe {
        let block = mi_zalloc(8 << 20);
        block.write_bytes(1, 8 << 20);
        let [a, b, c, d, e, f, g, h] = &mut values;
        mi_process_info(a, b, c, d, e, f, g, h);
        mi_free(block);
        let none = null_mut();
        mi_process_info(none, none, none, none, none, none, none, none);
    }
    assert!(values.iter().all(|&value| value != usize::MAX));
    let [_, _, _, rss, peak_rss, commit, peak_commit, _] = values;
    assert!(rss >= 8 << 20 && peak_rss >= rss, "{values:?}");
    assert!(commit >= 8 << 20 && peak_commit >= commit, "{values:?}");
}

#[test]
fn statistics_are_printed_as_text() {
    unsafe extern "C" fn append(text: *const c_char, arg: *mut c_void) {
        let (text, report) = unsafe { (CStr::from_ptr(text), &mut *arg.cast::<String>()) };
        report.push_str(text.to_str().expect("plain text"));
    }
    let mut report = String::new();
    unsafe { mi_stats_print_out(Some(append), (&mut report as *mut String).cast()) };
    assert!(report.ends_with('\n'), "{report:?}");
}

/// In part: the memory is accepted; what its flags do is tested in C.
#[test]
fn memory_of_the_caller_is_taken_from_64_kib_on() {
    const SLICE: usize = 64 << 10;
    // Not from any allocator: under feature `override` that would be ours already.
    static mut MEMORY: [u8; 18 * SLICE] = [0; 18 * SLICE];
    unsafe {
        let memory = addr_of_mut!(MEMORY).cast::<u8>();
        let start = memory.add(memory.align_offset(SLICE));
        assert!(!mi_manage_os_memory(null_mut(), 0, true, false, true, -1));
        assert!(!mi_manage_os_memory(start.cast(), SLICE - 1, true, false, true, -1));
        assert!(!mi_manage_os_memory(start.add(1).cast(), SLICE, true, false, true, -1));
        assert!(mi_manage_os_memory(start.cast(), 16 * SLICE, true, false, true, -1));
        assert!(mi_is_in_heap_region(start.cast()));
    }
}

/// An abort takes the process with it, so it happens in a child: the same program, this test alone.
#[cfg(unix)]
#[test]
fn mi_new_aborts_when_nothing_else_is_left() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    const CHILD: &str = "API_TEST_CHILD";
    const SIGABRT: i32 = 6;
    if std::env::var_os(CHILD).is_some() {
        let p = unsafe { mi_new(isize::MAX as usize) };
        unreachable!("mi_new returned {p:p}");
    }
    let child = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "mi_new_aborts_when_nothing_else_is_left", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("this program can be started again");
    assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
}
