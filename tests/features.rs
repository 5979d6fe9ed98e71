//! Each Cargo feature can be seen from outside. ci/checks/features runs this with every feature and every pair
//! of them; what is seen in the object file instead (`asm`, `local-dynamic-tls`, `valgrind`, `asan`) is
//! looked at there, and what the memory checkers find in ci/checks/checkers.
//!
//! The C functions are declared here because `extended` may be off.

use std::env;
use std::ffi::{c_int, c_long, c_ulonglong, c_void};
use std::process::{Command, Output};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};

use mimalloc2_rust_sys::*;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

mod c {
    use super::*;

    type Error = unsafe extern "C" fn(c_int, *mut c_void);
    type DeferredFree = unsafe extern "C" fn(bool, c_ulonglong, *mut c_void);

    extern "C" {
        pub fn malloc(size: usize) -> *mut c_void;
        pub fn free(p: *mut c_void);
        pub fn mi_is_in_heap_region(p: *const c_void) -> bool;
        pub fn mi_option_get(option: c_int) -> c_long;
        pub fn mi_register_error(error: Option<Error>, arg: *mut c_void);
        pub fn mi_register_deferred_free(free: Option<DeferredFree>, arg: *mut c_void);
    }
}

/// Of the interface.
const ALLOW_THP: c_int = 37;
const SHOW_ERRORS: c_int = 0;
const EINVAL: c_int = 22;

/// In the two profiles of Cargo the debug information comes with the assertions.
const IS_DEBUG: bool =
    cfg!(feature = "debug") || (cfg!(feature = "debug_in_debug") && cfg!(debug_assertions));
const IS_SECURE: bool = cfg!(feature = "secure");
/// They see for themselves what the higher levels look for.
const HAS_CHECKER: bool = cfg!(any(feature = "valgrind", feature = "asan"));
/// AddressSanitizer brings a malloc of its own.
const IS_OVERRIDDEN: bool =
    cfg!(feature = "override") && !cfg!(all(feature = "asan", not(feature = "valgrind")));

/// Runs one of the ignored tests below in a process of its own.
fn run_child(name: &str, variable: (&str, &str)) -> Output {
    let output = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(variable.0, variable.1)
        .env("FEATURES_TEST_CHILD", "1")
        .output()
        .expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
    output
}

fn is_child() -> bool {
    env::var_os("FEATURES_TEST_CHILD").is_some()
}

/// The number after `name` in the line that a verbose program starts with.
fn level(line: &str, name: &str) -> u32 {
    let rest = line.split(name).nth(1).unwrap_or_else(|| panic!("no {name:?} in {line:?}"));
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number after {name:?} in {line:?}"))
}

#[test]
fn the_library_knows_how_it_was_built() {
    let output = run_child("child_does_nothing", ("MIMALLOC_VERBOSE", "1"));
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.contains("debug level")).expect("the first line");
    assert_eq!(level(line, "version"), 217);
    assert_eq!(level(line, "debug level"), if IS_DEBUG { 3 } else { 0 });
    let is_full = cfg!(feature = "secure-full") && !HAS_CHECKER;
    let secure = if is_full { 4 } else { u32::from(IS_SECURE) };
    assert_eq!(level(line, "secure level"), secure);
    assert_eq!(level(line, "override"), u32::from(IS_OVERRIDDEN));
}

#[test]
#[ignore = "a part of the_library_knows_how_it_was_built"]
fn child_does_nothing() {}

#[test]
fn debug_shows_errors() {
    assert_eq!(unsafe { c::mi_option_get(SHOW_ERRORS) }, c_long::from(IS_DEBUG));
}

static LAST_ERROR: AtomicI32 = AtomicI32::new(0);

unsafe extern "C" fn note_error(code: c_int, _arg: *mut c_void) {
    LAST_ERROR.store(code, Ordering::Relaxed);
}

/// Without these features it is undefined behaviour, and cannot be tried.
#[test]
fn secure_and_debug_check_what_is_freed() {
    if IS_DEBUG || IS_SECURE {
        unsafe {
            c::mi_register_error(Some(note_error), null_mut());
            let p = mi_malloc(100);
            mi_free(p.cast::<u8>().add(16).cast());
            c::mi_register_error(None, null_mut());
            assert_eq!(LAST_ERROR.load(Ordering::Relaxed), EINVAL);
            p.write_bytes(1, 100);
            mi_free(p);
        }
    }
}

#[test]
#[cfg(not(windows))]
fn override_makes_malloc_ours() {
    unsafe {
        let p = c::malloc(100);
        assert_eq!(c::mi_is_in_heap_region(p), IS_OVERRIDDEN);
        c::free(p);
    }
}

#[test]
fn no_thp_is_the_default_of_the_option() {
    if env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        let expected = if cfg!(feature = "no_thp") { 0 } else { 1 };
        assert_eq!(unsafe { c::mi_option_get(ALLOW_THP) }, expected);
    }
}

unsafe extern "C" fn tell(force: bool, _heartbeat: c_ulonglong, _arg: *mut c_void) {
    // Without force it is a call on the way, which may happen in any build.
    if force {
        eprintln!("deferred free");
    }
}

/// A debug build collects at the end, which calls the deferred-free function.
#[test]
fn skip_collect_on_exit_skips_it() {
    let output = run_child("child_has_a_deferred_free", ("MIMALLOC_VERBOSE", "0"));
    let is_told = String::from_utf8_lossy(&output.stderr).contains("deferred free");
    assert_eq!(is_told, IS_DEBUG && !cfg!(feature = "skip-collect-on-exit"));
}

#[test]
#[ignore = "a part of skip_collect_on_exit_skips_it"]
fn child_has_a_deferred_free() {
    if is_child() {
        unsafe { c::mi_register_deferred_free(Some(tell), null_mut()) };
    }
}

/// Clashes with the binding of the same name, if that is there without its feature.
#[cfg(not(feature = "extended"))]
mod instead {
    pub const MI_SMALL_SIZE_MAX: usize = 0;
}
#[cfg(not(feature = "extended"))]
use instead::*;

#[test]
fn extended_has_the_other_bindings() {
    assert_eq!(MI_SMALL_SIZE_MAX != 0, cfg!(feature = "extended"));
}

#[test]
fn the_global_allocator_works() {
    let words: Vec<String> = (0..10_000_u32).map(|number| number.to_string()).collect();
    assert!(unsafe { c::mi_is_in_heap_region(words.as_ptr().cast()) });
    assert_eq!(words.concat().len(), 38_890);
}
