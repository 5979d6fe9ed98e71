//! Options and statistics from inside a program: `cargo run --release --example options`.
//!
//! The same options can be given from outside: `MIMALLOC_PURGE_DELAY=500 MIMALLOC_SHOW_STATS=1 ...`.

use std::ffi::{c_char, c_void, CStr};
use std::ptr::null_mut;

use mimalloc2_rust_sys::{
    mi_collect, mi_option_get, mi_option_purge_delay, mi_option_set, mi_process_info,
    mi_stats_print_out, MiMalloc,
};

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

/// Collects the text of the library in the `String` that `arg` points to.
unsafe extern "C" fn append(text: *const c_char, arg: *mut c_void) {
    let (text, report) = unsafe { (CStr::from_ptr(text), &mut *arg.cast::<String>()) };
    report.push_str(&text.to_string_lossy());
}

/// Resident memory of the process in KiB.
fn resident_kib() -> usize {
    let mut bytes = 0;
    let none = null_mut();
    // SAFETY: the one pointer that is not null may be written to.
    unsafe { mi_process_info(none, none, none, &mut bytes, none, none, none, none) };
    bytes / 1024
}

fn main() {
    // SAFETY: options may be read and set at any time.
    unsafe {
        println!("purge delay: {} ms", mi_option_get(mi_option_purge_delay));
        mi_option_set(mi_option_purge_delay, 500);
        println!("set to:      {} ms", mi_option_get(mi_option_purge_delay));
    }

    let blocks: Vec<Vec<u8>> = (0..200_000).map(|i| vec![1; i % 500]).collect();
    println!("200,000 vectors:     {:>8} KiB resident", resident_kib());
    drop(blocks);
    println!("after dropping them: {:>8} KiB", resident_kib());
    // SAFETY: no deferred-free function is registered.
    unsafe { mi_collect(true) };
    println!("after mi_collect:    {:>8} KiB\n", resident_kib());

    let mut report = String::new();
    // SAFETY: `append` gets the string that it expects, which lives until the call returns.
    unsafe { mi_stats_print_out(Some(append), (&mut report as *mut String).cast::<c_void>()) };
    print!("{report}");
}
