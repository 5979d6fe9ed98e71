//! A program sets options before its first allocation. A program of its own because the symbol counts
//! for the whole process.
#![cfg(feature = "extended")]

use std::env;
use std::process::Command;

use mimalloc2_rust_sys::*;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

mi_default_options!("purge_delay=123, arena_reserve=256MiB, max_errors=many");

#[test]
fn the_program_beats_the_build() {
    unsafe {
        assert_eq!(mi_option_get(mi_option_purge_delay), 123);
        assert_eq!(mi_option_get_size(mi_option_arena_reserve), 256 << 20);
        assert_eq!(mi_option_get(mi_option_max_errors), 32, "what makes no sense is left out");
        assert_eq!(mi_option_get(mi_option_os_tag), 100, "what is not named keeps its default");
    }
}

/// The arena that serves the first allocations is reserved by then.
#[test]
fn the_first_allocation_knows_of_it() {
    let text = String::from("in an arena");
    let mut size = 0;
    unsafe {
        assert!(!mi_arena_area(1, &mut size).is_null());
        assert!(mi_arena_contains(1, text.as_ptr().cast()));
    }
    assert_eq!(size, 256 << 20);
}

#[test]
fn it_is_a_c_string() {
    assert!(mi_default_options.ends_with(b"many\0"));
}

#[test]
fn the_environment_beats_the_program() {
    let output = Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "child_has_a_variable", "--ignored"])
        .env("MIMALLOC_PURGE_DELAY", "77")
        .output()
        .expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "a part of the_environment_beats_the_program, which runs it in a process of its own"]
fn child_has_a_variable() {
    if env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        return; // run by hand with --ignored
    }
    assert_eq!(unsafe { mi_option_get(mi_option_purge_delay) }, 77);
    assert_eq!(unsafe { mi_option_get_size(mi_option_arena_reserve) }, 256 << 20);
}
