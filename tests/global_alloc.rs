//! `MiMalloc` as the global allocator: what `GlobalAlloc` promises for every layout, and what Rust
//! programs do with it. The whole test program runs on it.

use std::alloc::{alloc, alloc_zeroed, dealloc, realloc, Layout};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::channel;
use std::thread;

use mimalloc2_rust_sys::{mi_free_size, mi_malloc_align8, MiMalloc};

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

const ALIGN_MAX: usize = 4096;
const ZEROES: [u8; 4096] = [0; 4096];

fn alignments() -> impl Iterator<Item = usize> {
    (0..).map(|shift| 1 << shift).take_while(|&align| align <= ALIGN_MAX)
}

/// Around each boundary that a size class might have, up to a few hundred KiB.
fn sizes() -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=130).collect();
    for shift in 7..=18 {
        let power = 1 << shift;
        sizes.extend([power - 1, power, power + 1, power + power / 2, power + power / 2 + 1]);
    }
    sizes
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

/// Different for neighbours and for each `salt`.
fn pattern(index: usize, salt: usize) -> u8 {
    (index.wrapping_mul(31) ^ (index >> 8) ^ salt.wrapping_mul(77)) as u8
}

unsafe fn fill(p: *mut u8, size: usize, salt: usize) {
    for index in 0..size {
        unsafe { p.add(index).write(pattern(index, salt)) };
    }
}

unsafe fn has_pattern(p: *const u8, size: usize, salt: usize) -> bool {
    (0..size).all(|index| unsafe { p.add(index).read() } == pattern(index, salt))
}

unsafe fn is_zero(p: *const u8, size: usize) -> bool {
    let bytes = unsafe { std::slice::from_raw_parts(p, size) };
    // In chunks, so that memcmp does the work: a loop over bytes is slow in the dev profile.
    bytes.chunks(ZEROES.len()).all(|chunk| chunk == &ZEROES[..chunk.len()])
}

#[track_caller]
fn assert_aligned(p: *mut u8, size: usize, align: usize) {
    assert!(!p.is_null(), "{size} bytes, alignment {align}: null");
    assert_eq!(p as usize % align, 0, "{size} bytes, alignment {align}: {p:p}");
}

#[test]
fn every_layout_is_aligned_and_large_enough() {
    for align in alignments() {
        // Two blocks of each layout are alive at once, so that an overlap would show.
        for size in sizes() {
            let layout = layout(size, align);
            unsafe {
                let (p, q) = (alloc(layout), alloc(layout));
                assert_aligned(p, size, align);
                assert_aligned(q, size, align);
                assert!(GLOBAL.usable_size(p) >= size);
                fill(p, size, 1);
                fill(q, size, 2);
                assert!(has_pattern(p, size, 1) && has_pattern(q, size, 2));
                dealloc(p, layout);
                dealloc(q, layout);
            }
        }
    }
}

/// Also when the block was at an address of higher or lower alignment before.
#[test]
fn realloc_keeps_alignment_and_contents() {
    let steps =
        [1, 8, 24, 17, 100, 99, 1000, 5000, 4999, 70_000, 300_000, 2_000_000, 60_000, 40, 3];
    for align in alignments() {
        for salt in 0..4 {
            let mut size = steps[salt];
            unsafe {
                let mut p = alloc(layout(size, align));
                assert_aligned(p, size, align);
                fill(p, size, salt);
                for &new_size in &steps {
                    p = realloc(p, layout(size, align), new_size);
                    assert_aligned(p, new_size, align);
                    assert!(has_pattern(p, size.min(new_size), salt), "{size} -> {new_size}");
                    size = new_size;
                    fill(p, size, salt);
                }
                dealloc(p, layout(size, align));
            }
        }
    }
}

/// A vector that grows byte by byte within its block stays where it is.
#[test]
fn realloc_within_the_block_does_not_move() {
    unsafe {
        let p = alloc(layout(33, 1));
        let usable = GLOBAL.usable_size(p);
        assert_eq!(realloc(p, layout(33, 1), usable), p);
        dealloc(p, layout(usable, 1));
    }
}

#[test]
fn zeroed_memory_is_zero_after_reuse() {
    for align in alignments() {
        for size in sizes() {
            let layout = layout(size, align);
            unsafe {
                let dirty: Vec<*mut u8> = (0..4).map(|_| alloc(layout)).collect();
                for &p in &dirty {
                    p.write_bytes(0xff, size);
                }
                dirty.into_iter().for_each(|p| dealloc(p, layout));
                for _ in 0..2 {
                    let p = alloc_zeroed(layout);
                    assert_aligned(p, size, align);
                    assert!(is_zero(p, size), "{size} bytes, alignment {align}");
                    p.write_bytes(0xff, size);
                    dealloc(p, layout);
                }
            }
        }
    }
}

/// The size that `dealloc` passes on is the one last asked for, also after a realloc in place.
#[test]
fn sized_free_accepts_every_size_of_the_block() {
    for size in 1..=1024 {
        unsafe {
            let p = mi_malloc_align8(size);
            assert!(!p.is_null());
            mi_free_size(p, size);
        }
    }
}

#[test]
fn a_request_that_cannot_be_served_gives_null() {
    let huge = layout(isize::MAX as usize - ALIGN_MAX, 8);
    unsafe {
        // Volatile: else the optimiser drops an allocation that the program does not use.
        let p = alloc(huge);
        assert!(std::ptr::read_volatile(&p).is_null());
        let p = alloc_zeroed(huge);
        assert!(std::ptr::read_volatile(&p).is_null());
        let small = layout(100, 16);
        let p = alloc(small);
        fill(p, 100, 9);
        assert!(realloc(p, small, isize::MAX as usize - ALIGN_MAX).is_null());
        assert!(has_pattern(p, 100, 9), "the old block is intact");
        dealloc(p, small);
    }
    assert!(Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err());
}

#[test]
fn collections_keep_their_contents() {
    let mut by_hash: HashMap<String, Vec<u64>> = HashMap::new();
    let mut by_order: BTreeMap<u64, String> = BTreeMap::new();
    for number in 0..20_000_u64 {
        by_hash.entry(format!("key {}", number % 500)).or_default().push(number);
        by_order
            .insert(number.wrapping_mul(0x9e37_79b9) % 10_000, "x".repeat(number as usize % 90));
    }
    assert_eq!(by_hash.len(), 500);
    assert_eq!(by_hash.values().map(Vec::len).sum::<usize>(), 20_000);
    assert!(by_hash["key 17"].iter().all(|number| number % 500 == 17));
    assert!(by_order.keys().zip(by_order.keys().skip(1)).all(|(a, b)| a < b));
    assert!(by_order.values().all(|text| text.bytes().all(|byte| byte == b'x')));
    by_hash.retain(|key, _| key.ends_with('7'));
    by_hash.shrink_to_fit();
    assert_eq!(by_hash.len(), 50);
}

/// Each message is allocated by one thread and released by another, small and huge ones.
#[test]
fn ownership_travels_through_channels() {
    const MESSAGES: usize = 5_000;
    let (first, second_in) = channel::<(usize, Vec<u8>)>();
    let (second, third_in) = channel::<(usize, Box<[u8]>)>();
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let first = first.clone();
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    let size = if number % 1000 == 0 { 3 << 20 } else { number % 2000 };
                    let bytes = (0..size).map(|index| pattern(index, number)).collect();
                    first.send((number, bytes)).expect("a receiver");
                }
            })
        })
        .collect();
    drop(first);
    let middle = thread::spawn(move || {
        for (number, bytes) in second_in {
            second.send((number, bytes.into_boxed_slice())).expect("a receiver");
        }
    });
    let mut received = 0;
    for (number, bytes) in third_in {
        assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == pattern(index, number)));
        received += 1;
    }
    assert_eq!(received, 3 * MESSAGES);
    senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
    middle.join().expect("no panic");
}

#[test]
fn blocks_of_finished_threads_stay_valid() {
    for round in 0..20 {
        let blocks: Vec<Vec<u8>> = thread::spawn(move || {
            let sizes = [8, 24, 100, 1000, 20_000, 200_000, 5 << 20];
            sizes.iter().map(|&size| vec![round as u8; size]).collect()
        })
        .join()
        .expect("no panic");
        for mut block in blocks {
            assert!(block.iter().all(|&byte| byte == round as u8));
            block.push(0); // grows a block of a thread that is gone
            drop(block);
        }
    }
}

/// Keeps memory until its thread ends, and allocates while it is dropped.
struct Hoard(RefCell<Vec<String>>);

impl Drop for Hoard {
    fn drop(&mut self) {
        let kept = self.0.borrow();
        let joined = kept.join(",");
        assert_eq!(joined.len(), kept.iter().map(String::len).sum::<usize>() + kept.len() - 1);
    }
}

thread_local! {
    static EARLY: Hoard = Hoard(RefCell::new(vec![String::from("early")]));
    static LATE: Hoard = Hoard(RefCell::new(vec![String::from("late")]));
}

/// Rust promises no order for these destructors; some run after the allocator's own.
#[test]
fn thread_local_destructors_may_allocate_and_free() {
    let threads: Vec<_> = (0..100)
        .map(|number| {
            thread::spawn(move || {
                EARLY.with(|hoard| hoard.0.borrow_mut().push(number.to_string()));
                let memory = vec![number; 1000];
                LATE.with(|hoard| hoard.0.borrow_mut().push(format!("{memory:?}")));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn many_threads_work_on_their_own_memory() {
    let threads: Vec<_> = (0..8)
        .map(|salt| {
            thread::spawn(move || {
                let mut blocks: Vec<Vec<u8>> = Vec::new();
                for step in 0..20_000_usize {
                    let size = step.wrapping_mul(2_654_435_761) % 700;
                    blocks.push((0..size).map(|index| pattern(index, salt)).collect());
                    if blocks.len() > 300 {
                        let block = blocks.swap_remove(step % 300);
                        assert!(block.iter().enumerate().all(|(i, &b)| b == pattern(i, salt)));
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn the_version_is_that_of_the_interface() {
    assert_eq!(GLOBAL.version(), 217);
    assert_eq!(unsafe { GLOBAL.usable_size(std::ptr::null()) }, 0);
}
