//! The three callbacks, which belong to the process: hence a program of its own with one test,
//! whose steps would disturb each other if they ran at the same time.
#![cfg(feature = "extended")]

use std::ffi::{c_char, c_int, c_ulonglong, c_void, CStr};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use mimalloc2_rust_sys::*;

/// The same on every system that we know.
const ENOMEM: c_int = 12;

/// What the callbacks saw; the tests pass its address as `arg`.
#[derive(Default)]
struct Seen {
    bytes: AtomicUsize,
    errors: AtomicUsize,
    last_error: AtomicI32,
    deferred: AtomicUsize,
    forced: AtomicUsize,
    heartbeat: AtomicU64,
}

impl Seen {
    fn as_arg(&self) -> *mut c_void {
        (self as *const Seen as *mut Seen).cast::<c_void>()
    }

    unsafe fn from_arg<'a>(arg: *mut c_void) -> &'a Seen {
        unsafe { &*arg.cast::<Seen>() }
    }
}

unsafe extern "C" fn output(text: *const c_char, arg: *mut c_void) {
    let length = unsafe { CStr::from_ptr(text) }.to_bytes().len();
    unsafe { Seen::from_arg(arg) }.bytes.fetch_add(length, Ordering::SeqCst);
}

unsafe extern "C" fn error(code: c_int, arg: *mut c_void) {
    let seen = unsafe { Seen::from_arg(arg) };
    seen.errors.fetch_add(1, Ordering::SeqCst);
    seen.last_error.store(code, Ordering::SeqCst);
}

unsafe extern "C" fn deferred(force: bool, heartbeat: c_ulonglong, arg: *mut c_void) {
    let seen = unsafe { Seen::from_arg(arg) };
    seen.deferred.fetch_add(1, Ordering::SeqCst);
    seen.forced.fetch_add(usize::from(force), Ordering::SeqCst);
    let before = seen.heartbeat.swap(heartbeat, Ordering::SeqCst);
    assert!(heartbeat > before, "the heartbeat grows: {before}, {heartbeat}");
    // It may allocate and free, and is not entered again by that.
    unsafe { mi_free(mi_malloc(3000)) };
}

fn deferred_free_is_called_on_collect() {
    let seen = Seen::default();
    unsafe {
        mi_register_deferred_free(Some(deferred), seen.as_arg());
        mi_collect(false);
        assert!(seen.deferred.load(Ordering::SeqCst) > 0);
        assert_eq!(seen.forced.load(Ordering::SeqCst), 0);
        mi_collect(true);
        assert!(seen.forced.load(Ordering::SeqCst) > 0);
    }
    let collects = seen.deferred.load(Ordering::SeqCst);
    let blocks: Vec<*mut c_void> = (0..200_000).map(|_| unsafe { mi_malloc(64) }).collect();
    assert!(seen.deferred.load(Ordering::SeqCst) > collects, "called now and then by allocations");
    unsafe {
        mi_register_deferred_free(None, null_mut());
        blocks.into_iter().for_each(|p| mi_free(p));
        let calls = seen.deferred.load(Ordering::SeqCst);
        mi_collect(true);
        assert_eq!(seen.deferred.load(Ordering::SeqCst), calls);
    }
}

fn errors_reach_the_callback_with_their_code() {
    let seen = Seen::default();
    unsafe {
        mi_register_error(Some(error), seen.as_arg());
        assert!(mi_malloc(isize::MAX as usize).is_null());
        assert!(seen.errors.load(Ordering::SeqCst) > 0);
        assert_eq!(seen.last_error.load(Ordering::SeqCst), ENOMEM);
        mi_register_error(None, null_mut());
        let errors = seen.errors.load(Ordering::SeqCst);
        assert!(mi_malloc(isize::MAX as usize).is_null());
        assert_eq!(seen.errors.load(Ordering::SeqCst), errors);
    }
}

fn output_goes_to_the_callback() {
    let (registered, given) = (Seen::default(), Seen::default());
    unsafe {
        mi_register_output(Some(output), registered.as_arg());
        mi_stats_print_out(None, null_mut());
        let bytes = registered.bytes.load(Ordering::SeqCst);
        assert!(bytes > 0);
        mi_stats_print_out(Some(output), given.as_arg());
        assert!(given.bytes.load(Ordering::SeqCst) > 0);
        assert_eq!(registered.bytes.load(Ordering::SeqCst), bytes, "only one of them is called");
        mi_register_output(None, null_mut());
    }
}

/// What each callback is for; the C tests have threads that allocate meanwhile.
#[test]
fn callbacks_are_called_and_can_be_removed() {
    output_goes_to_the_callback();
    errors_reach_the_callback_with_their_code();
    deferred_free_is_called_on_collect();
}
