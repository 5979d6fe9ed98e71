//! A program sets options before its first allocation. A test program of its own, because the
//! symbol counts for the whole process.
#![cfg(feature = "extended")]

mod common;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{cargo, describe, one_at_a_time, target};
use mimalloc2_rust_sys::*;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

mi_default_options!("purge_delay=123, arena_reserve=256MiB");

#[test]
fn the_program_beats_the_build() {
    unsafe {
        assert_eq!(mi_option_get(mi_option_purge_delay), 123);
        assert_eq!(mi_option_get_size(mi_option_arena_reserve), 256 << 20);
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
    assert!(mi_default_options.ends_with(b"256MiB\0"));
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

/// Builds a program whose options are this text.
fn build_with(options: &str) -> Output {
    let mut command = cargo("build", "default_options");
    command.env("DEFAULT_OPTIONS", options).output().expect("Cargo")
}

#[test]
fn wrong_options_do_not_compile() {
    let _one = one_at_a_time("default_options");
    for (options, says) in [
        ("purge_dely=0", "no such option: purge_dely=0"),
        ("purge_delay=0, MIMALLOC_VERBOSES", "no such option: MIMALLOC_VERBOSES"),
        ("arena_reserve = 1GiB", "no such option: =  "),
        ("MIMALLOC_MIMALLOC_VERBOSE=1", "no such option: MIMALLOC_MIMALLOC_VERBOSE=1"),
        ("mi_option_verbose=1", "no such option: mi_option_verbose=1"),
        ("purge_delay=10ms", "neither a number nor a word for on or off: purge_delay=10ms"),
        ("max_errors=many", "neither a number nor a word for on or off: max_errors=many"),
        ("verbose=-", "neither a number"),
        ("größe=1", "no such option: größe=1"),
    ] {
        let output = build_with(options);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(says), "{options}: {errors}");
    }
}

#[test]
fn valid_options_compile() {
    let _one = one_at_a_time("default_options");
    for (options, expected) in [
        ("", 10),
        (" ;, ", 10),
        ("purge_delay", 1),
        ("PURGE_DELAY=+7", 7),
        ("mimalloc_reset_delay=-1;show_leaks=off", -1),
        ("arena_reserve=64MiB\tpurge_delay=5 reserve_os_memory=0B", 5),
    ] {
        let output = build_with(options);
        assert!(output.status.success(), "{options}: {}", describe(&output));
        let program = target("default_options").join("debug/default_options");
        let output = Command::new(program).output().expect("the program");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{expected}\n"), "{options}");
    }
}

/// The list of names that Rust has is that of the C code, with those of other versions.
#[test]
fn every_name_that_c_knows_compiles() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c_src/src/runtime/option_list.h");
    let source = fs::read_to_string(source).expect("the options");
    let (_, table) = source.split_once("#define OPTION_LIST(OPTION)").expect("a table");
    let (table, _) = table.split_once("/* clang-format on */").expect("its end");
    let (mut current, mut older) = (0, 0);
    for entry in table.split("OPTION(").skip(1) {
        let (name, rest) = entry.split_once(',').expect("a name");
        check_default_options(name);
        current += 1;
        for legacy in rest.split('"').skip(1).step_by(2) {
            check_default_options(legacy);
            older += 1;
        }
    }
    assert_eq!((current, older), (MiOption::ALL.len() + 2, 12), "and show_leaks, purger");
}
