//! The families of the interface beyond plain allocation, called through the bindings: heaps,
//! arenas, statistics, calls that return sizes, names of other systems. Each once, so that a
//! binding that passes something wrong shows; what the functions do at their edges is for the C
//! tests.
#![cfg(feature = "extended")]

use std::ffi::{c_char, c_int, c_ushort, c_void, CStr, CString};
use std::ptr::{addr_of_mut, null, null_mut};
use std::thread;

use mimalloc2_rust_sys::*;

const EINVAL: c_int = 22;

unsafe fn is_zero(p: *mut c_void, size: usize) -> bool {
    let bytes = unsafe { std::slice::from_raw_parts(p.cast::<u8>(), size) };
    bytes.iter().all(|byte| *byte == 0)
}

fn is_aligned(p: *mut c_void, alignment: usize) -> bool {
    p as usize % alignment == 0
}

/// Collects the text of the library in the `String` that `arg` points to.
unsafe extern "C" fn append(text: *const c_char, arg: *mut c_void) {
    let (text, to) = unsafe { (CStr::from_ptr(text), &mut *arg.cast::<String>()) };
    to.push_str(&text.to_string_lossy());
}

fn printed(print: impl FnOnce(mi_output_fun, *mut c_void)) -> String {
    let mut text = String::new();
    print(Some(append), (&mut text as *mut String).cast());
    text
}

// ---- heaps --------------------------------------------------------------------------------------

#[test]
fn a_heap_allocates_in_every_way() {
    unsafe {
        let heap = mi_heap_new();
        let text = CString::new("text").expect("no zero in it");
        let blocks = [
            mi_heap_malloc(heap, 100),
            mi_heap_zalloc(heap, 100),
            mi_heap_calloc(heap, 10, 10),
            mi_heap_mallocn(heap, 10, 10),
            mi_heap_malloc_small(heap, 100),
            mi_heap_zalloc_small(heap, 100),
            mi_heap_realloc(heap, null_mut(), 100),
            mi_heap_reallocn(heap, null_mut(), 10, 10),
            mi_heap_reallocf(heap, null_mut(), 100),
            mi_heap_rezalloc(heap, null_mut(), 100),
            mi_heap_recalloc(heap, null_mut(), 10, 10),
            mi_heap_malloc_aligned(heap, 100, 64),
            mi_heap_malloc_aligned_at(heap, 100, 64, 8),
            mi_heap_zalloc_aligned(heap, 100, 64),
            mi_heap_zalloc_aligned_at(heap, 100, 64, 8),
            mi_heap_calloc_aligned(heap, 10, 10, 64),
            mi_heap_calloc_aligned_at(heap, 10, 10, 64, 8),
            mi_heap_realloc_aligned(heap, null_mut(), 100, 64),
            mi_heap_realloc_aligned_at(heap, null_mut(), 100, 64, 8),
            mi_heap_rezalloc_aligned(heap, null_mut(), 100, 64),
            mi_heap_rezalloc_aligned_at(heap, null_mut(), 100, 64, 8),
            mi_heap_recalloc_aligned(heap, null_mut(), 10, 10, 64),
            mi_heap_recalloc_aligned_at(heap, null_mut(), 10, 10, 64, 8),
            mi_heap_alloc_new(heap, 100),
            mi_heap_alloc_new_n(heap, 10, 10),
            mi_heap_strdup(heap, text.as_ptr()).cast(),
            mi_heap_strndup(heap, text.as_ptr(), 2).cast(),
            mi_heap_realpath(heap, b"/\0".as_ptr().cast(), null_mut()).cast(),
        ];
        for (index, p) in blocks.iter().enumerate() {
            assert!(mi_heap_contains_block(heap, *p), "block {index}");
            assert!(mi_heap_contains(heap, *p) && mi_any_heap_contains(*p));
            assert!(mi_heap_check_owned(heap, *p));
            assert_eq!(mi_heap_of(*p), heap);
        }
        for p in [blocks[1], blocks[2], blocks[5], blocks[13], blocks[15]] {
            assert!(is_zero(p, 100));
        }
        for p in [blocks[11], blocks[13], blocks[15], blocks[17], blocks[19], blocks[21]] {
            assert!(is_aligned(p, 64));
        }
        for p in [blocks[12], blocks[14], blocks[16], blocks[18], blocks[20], blocks[22]] {
            assert!(is_aligned(p.cast::<u8>().add(8).cast(), 64));
        }
        assert_eq!(CStr::from_ptr(blocks[26].cast()).to_bytes(), b"te");
        // One by itself; the rest goes with the heap.
        mi_free(blocks[0]);
        mi_heap_collect(heap, true);
        mi_heap_destroy(heap);
    }
}

#[test]
fn a_default_heap_serves_malloc() {
    unsafe {
        let (before, heap) = (mi_heap_get_default(), mi_heap_new());
        assert_eq!(before, mi_heap_get_backing());
        assert_eq!(mi_heap_set_default(heap), before);
        assert_eq!(mi_heap_get_default(), heap);
        let p = mi_malloc(100);
        assert!(mi_heap_contains_block(heap, p) && mi_check_owned(p));
        assert_eq!(mi_heap_set_default(before), heap);
        assert!(!mi_check_owned(p));
        mi_heap_delete(heap);
        assert!(mi_heap_contains_block(before, p), "a deleted heap leaves its blocks");
        mi_free(p);
        assert!(!mi_heap_main().is_null());
        assert!(!mi_heap_contains_block(null_mut(), p));
    }
}

#[derive(Default)]
struct Visited {
    areas: usize,
    blocks: Vec<*mut c_void>,
}

unsafe extern "C" fn note(
    _heap: *const mi_heap_t,
    area: *const mi_heap_area_t,
    block: *mut c_void,
    size: usize,
    arg: *mut c_void,
) -> bool {
    let (area, visited) = unsafe { (&*area, &mut *arg.cast::<Visited>()) };
    if block.is_null() {
        visited.areas += 1;
    } else {
        assert_eq!(size, area.block_size);
        visited.blocks.push(block);
    }
    true
}

#[test]
fn a_visit_finds_every_block_once() {
    let mut visited = Visited::default();
    unsafe {
        let heap = mi_heap_new();
        let mut blocks: Vec<*mut c_void> =
            (1..200).map(|index| mi_heap_malloc(heap, index * 50)).collect();
        let arg: *mut Visited = &mut visited;
        assert!(mi_heap_visit_blocks(heap, true, Some(note), arg.cast()));
        visited.blocks.sort();
        blocks.sort();
        assert_eq!(visited.blocks, blocks);
        assert!(visited.areas > 1);
        mi_heap_destroy(heap);
    }
}

/// A visit finds the blocks of an ended thread; the heap has a tag, so no thread claims them.
#[test]
fn a_visit_finds_blocks_of_ended_threads() {
    const TAG: c_int = 77;
    unsafe { mi_option_set(mi_option_visit_abandoned, 1) };
    let left = thread::spawn(|| unsafe {
        let heap = mi_heap_new_ex(TAG, true, 0);
        mi_heap_malloc(heap, 5000) as usize
    });
    let left = left.join().expect("no panic") as *mut c_void;
    let mut visited = Visited::default();
    unsafe {
        let arg: *mut Visited = &mut visited;
        assert!(mi_abandoned_visit_blocks(null_mut(), TAG, true, Some(note), arg.cast()));
        assert_eq!(visited.blocks, [left]);
        let mut all = Visited::default();
        let arg: *mut Visited = &mut all;
        assert!(mi_heap_visit_abandoned_blocks(null_mut(), true, Some(note), arg.cast()));
        assert!(all.blocks.contains(&left));
        mi_free(left);
    }
}

#[test]
fn a_sparse_page_differs_from_a_full_one() {
    unsafe {
        let heap = mi_heap_new();
        let blocks: Vec<*mut c_void> = (0..5000).map(|_| mi_heap_malloc(heap, 64)).collect();
        let is_sparse = |p| mi_unsafe_heap_page_is_under_utilized(heap, p, 50);
        assert!(!is_sparse(blocks[0]));
        // Of 64, one stays.
        for (index, p) in blocks.iter().enumerate() {
            if index % 64 != 0 {
                mi_free(*p);
            }
        }
        mi_heap_collect(heap, false);
        assert!(is_sparse(blocks[0]));
        mi_heap_destroy(heap);
    }
}

// ---- arenas -------------------------------------------------------------------------------------

#[test]
fn a_heap_in_an_arena_stays_in_it() {
    let (mut arena, mut size) = (0, 0);
    unsafe {
        assert_eq!(mi_reserve_os_memory_ex(64 << 20, true, false, true, &mut arena), 0);
        let start = mi_arena_area(arena, &mut size);
        assert!(!start.is_null() && size >= 64 << 20);
        assert!(is_aligned(start, mi_arena_min_alignment()) && size >= mi_arena_min_size());
        let heap = mi_heap_new_in_arena(arena);
        mi_heap_set_numa_affinity(heap, -1);
        for size in [10, 1000, 100_000, 5 << 20] {
            assert!(mi_arena_contains(arena, mi_heap_malloc(heap, size)), "{size} bytes");
        }
        assert!(mi_heap_malloc(heap, 128 << 20).is_null(), "larger than the arena");
        let other = mi_malloc(1000);
        assert!(!mi_arena_contains(arena, other), "it is exclusive");
        mi_free(other);
        mi_heap_destroy(heap);
        assert!(mi_heap_new_in_arena(12_345).is_null());
        assert!(mi_arena_area(12_345, &mut size).is_null());
    }
    assert_eq!(size, 0);
}

#[test]
fn memory_of_the_program_becomes_an_arena() {
    const SIZE: usize = 4 << 20;
    // Not from any allocator: under feature `override` that would be ours already.
    static mut MEMORY: [u8; SIZE] = [0; SIZE];
    let (mut arena, start) = (0, addr_of_mut!(MEMORY).cast::<c_void>());
    unsafe {
        let ok = mi_manage_os_memory_ex(start, SIZE, true, false, true, -1, true, &mut arena);
        assert!(ok);
        let heap = mi_heap_new_in_arena(arena);
        let p = mi_heap_malloc(heap, 100_000);
        assert!((start..start.cast::<u8>().add(SIZE).cast()).contains(&p));
        mi_heap_destroy(heap);
    }
}

#[test]
fn reserving_says_whether_it_worked() {
    let mut pages = 77;
    unsafe {
        assert_eq!(mi_reserve_os_memory(4 << 20, false, false), 0);
        assert_ne!(mi_reserve_os_memory(0, false, false), 0);
        // None asked for is no failure, and asks the system for nothing.
        assert_eq!(mi_reserve_huge_os_pages_at(0, -1, 0), 0);
        assert_eq!(mi_reserve_huge_os_pages_at_ex(0, -1, 0, false, null_mut()), 0);
        assert_eq!(mi_reserve_huge_os_pages_interleave(0, 0, 0), 0);
        assert_eq!(mi_reserve_huge_os_pages(0, 0.5, &mut pages), 0);
    }
    assert_eq!(pages, 0);
}

// ---- calls that return sizes ----------------------------------------------------------------------

#[test]
fn usable_size_variants_return_the_usable_size() {
    unsafe {
        let mut size = 0;
        let size_of = |p: *mut c_void, size: usize| {
            assert_eq!(size, mi_usable_size(p));
            mi_free(p);
        };
        let p = mi_umalloc(100, &mut size);
        size_of(p, size);
        let p = mi_ucalloc(10, 10, &mut size);
        size_of(p, size);
        let p = mi_umalloc_aligned(100, 64, &mut size);
        assert!(is_aligned(p, 64));
        size_of(p, size);
        let p = mi_uzalloc_aligned(100, 64, &mut size);
        assert!(is_zero(p, size));
        size_of(p, size);
        let p = mi_umalloc_small(100, &mut size);
        size_of(p, size);
        let p = mi_uzalloc_small(100, &mut size);
        assert!(is_zero(p, size));
        let (mut before, mut after) = (0, 0);
        let p = mi_urealloc(p, 5000, &mut before, &mut after);
        assert_eq!((before, after), (size, mi_usable_size(p)));
        mi_ufree(p, &mut size);
        assert_eq!(size, after);
        mi_free_small(mi_malloc_small(100));
    }
}

// ---- names of other systems ---------------------------------------------------------------------

#[test]
fn names_of_other_systems_behave_as_there() {
    unsafe {
        let mut p = mi_malloc(100);
        assert_eq!(mi_reallocarr((&mut p as *mut *mut c_void).cast(), 10, 100), 0);
        assert!(mi_usable_size(p) >= 1000);
        assert_eq!(mi_reallocarr((&mut p as *mut *mut c_void).cast(), 0, 100), 0);
        assert!(p.is_null());

        let p = mi_malloc(100);
        assert_eq!(mi__expand(p, 50), p);
        let p = mi_aligned_recalloc(p, 10, 100, 64);
        assert!(is_aligned(p, 64));
        let p = mi_aligned_offset_recalloc(p, 20, 100, 64, 8);
        assert!(is_aligned(p.cast::<u8>().add(8).cast(), 64));
        mi_free(p);

        let wide: [c_ushort; 3] = [0x3b1, 0x3b2, 0];
        let copy = mi_wcsdup(wide.as_ptr());
        assert_eq!(std::slice::from_raw_parts(copy, 3), wide);
        mi_free(copy.cast());
        let copy = mi_mbsdup(b"text\0".as_ptr());
        assert_eq!(CStr::from_ptr(copy.cast()).to_bytes(), b"text");
        mi_free(copy.cast());

        let (mut copy, mut size) = (null_mut(), 0);
        assert_eq!(mi_dupenv_s(&mut copy, &mut size, b"PATH\0".as_ptr().cast()), 0);
        assert_eq!(CStr::from_ptr(copy).to_bytes_with_nul().len(), size);
        mi_free(copy.cast());
        if cfg!(not(windows)) {
            let mut wide = null_mut();
            assert_eq!(mi_wdupenv_s(&mut wide, &mut size, null()), EINVAL);
        }

        let p = mi_new_n(10, 10);
        let p = mi_new_realloc(p, 500);
        let p = mi_new_reallocn(p, 10, 1000);
        assert!(mi_usable_size(p) >= 10_000);
        mi_free(p);
        assert!(!mi_is_redirected());
    }
}

// ---- what the library reports ---------------------------------------------------------------------

#[test]
fn statistics_come_as_a_structure() {
    unsafe {
        let p = mi_malloc(3 << 20);
        let mut stats = mi_stats_t::default();
        assert!(mi_stats_get(&mut stats));
        assert!(stats.malloc_huge.current >= 3 << 20, "{:?}", stats.malloc_huge);
        assert!(stats.threads.current >= 1 && stats.reserved.current > stats.committed.current / 2);
        assert!(stats.malloc_bins[MI_BIN_HUGE].current >= 1);
        let mut of_heap = mi_stats_t::default();
        assert!(mi_heap_stats_get(mi_heap_get_default(), &mut of_heap));
        assert!(of_heap.malloc_huge.current >= 3 << 20);
        assert!(of_heap.malloc_huge.current <= stats.malloc_huge.current);
        mi_free(p);
        let mut other = mi_stats_t { version: 3, ..Default::default() };
        assert!(!mi_stats_get(&mut other) && !mi_stats_get(null_mut()));
        assert!(mi_stats_get_bin_size(10) > mi_stats_get_bin_size(9));
        mi_stats_merge();
        mi_stats_reset();
    }
}

#[test]
fn statistics_come_as_json() {
    unsafe {
        let heap = mi_heap_get_default();
        let mut stats = mi_stats_t::default();
        assert!(mi_stats_get(&mut stats));
        for json in [
            mi_stats_get_json(0, null_mut()),
            mi_stats_as_json(&mut stats, 0, null_mut()),
            mi_heap_stats_get_json(heap, 0, null_mut()),
        ] {
            let text = CStr::from_ptr(json).to_string_lossy().into_owned();
            assert!(text.starts_with('{') && text.contains("\"stat_version\": 4"), "{text}");
            mi_free(json.cast());
        }
        let mut small = [0; 10];
        assert!(mi_stats_get_json(small.len(), small.as_mut_ptr()).is_null());
    }
}

#[test]
fn printed_text_reaches_the_receiver() {
    unsafe {
        assert!(printed(|out, arg| mi_stats_print_out(out, arg)).contains("resident"));
        assert!(!printed(|out, arg| mi_thread_stats_print_out(out, arg)).is_empty());
        let heap = mi_heap_get_default();
        assert!(!printed(|out, arg| mi_heap_stats_print_out(heap, out, arg)).is_empty());
        assert!(printed(|out, arg| mi_options_print_out(out, arg)).contains("purge_delay"));
        assert!(!printed(|out, arg| mi_process_info_print_out(out, arg)).is_empty());
    }
}

#[test]
fn the_release_is_the_version_of_the_crate() {
    let part = |text: &str| text.parse::<c_int>().expect("a number");
    let major = part(env!("CARGO_PKG_VERSION_MAJOR"));
    let minor = part(env!("CARGO_PKG_VERSION_MINOR"));
    let patch = part(env!("CARGO_PKG_VERSION_PATCH"));
    unsafe {
        assert_eq!(CStr::from_ptr(mi_release_text()).to_str(), Ok(env!("CARGO_PKG_VERSION")));
        assert_eq!(mi_release(), major * 10_000 + minor * 100 + patch);
        assert_eq!(mi_version(), 217);
    }
    assert!(env!("CARGO_PKG_VERSION").ends_with("+2.1.7"), "the interface");
}

/// The receiver is one for the whole process, so these stand together.
#[test]
fn output_without_receiver_goes_to_the_registered_one() {
    static PRINTS: [unsafe extern "C" fn(); 3] =
        [mi_options_print, mi_process_info_print, mi_arenas_print];
    for print in PRINTS {
        let text = printed(|out, arg| unsafe {
            mi_register_output(out, arg);
            // The receiver first gets what was printed before.
            arg.cast::<String>().write(String::new());
            print();
            mi_register_output(None, null_mut());
        });
        assert!(!text.is_empty());
    }
    let text = printed(|out, arg| unsafe {
        mi_register_output(out, arg);
        mi_stats_print(null_mut());
        mi_debug_show_arenas(true, true, true);
        mi_register_output(None, null_mut());
    });
    assert!(!text.is_empty());
}

#[test]
fn a_limited_heap_refuses_and_goes_on() {
    unsafe {
        let heap = mi_heap_new();
        assert!(mi_heap_set_limit(heap, 1 << 20));
        assert!(mi_heap_malloc(heap, 2 << 20).is_null());
        let p = mi_heap_malloc(heap, 100);
        assert!(!p.is_null() && mi_heap_set_limit(heap, 0));
        let q = mi_heap_malloc(heap, 2 << 20);
        assert!(!q.is_null());
        mi_heap_destroy(heap);
    }
}

#[test]
fn limits_of_the_process_are_options() {
    unsafe extern "C" fn count(used: usize, limit: usize, calls: *mut c_void) {
        assert!(used > limit);
        *calls.cast::<usize>() += 1;
    }
    let far = 1 << 40; // the other tests of this program run at the same time
    unsafe {
        let mut calls = 0_usize;
        mi_register_limit(Some(count), (&mut calls as *mut usize).cast());
        assert!(!mi_limit_set(far, far - 1024));
        assert!(mi_limit_set(far - 1024, far));
        assert_eq!(mi_option_get_size(mi_option_limit_hard), far);
        assert!(mi_limit_used() > 0);
        mi_register_limit(None, null_mut());
        assert!(mi_limit_set(0, 0));
        assert_eq!(calls, 0);
    }
}

#[test]
fn a_thread_may_end_its_use_and_go_on() {
    let thread = thread::spawn(|| unsafe {
        mi_thread_init();
        mi_thread_set_in_threadpool();
        let p = mi_malloc(100);
        mi_thread_done();
        mi_free(p);
        let p = mi_malloc(100);
        mi_thread_idle();
        mi_collect_reduce(0);
        mi_free(p);
        mi_process_init();
    });
    thread.join().expect("no panic");
}
