//! a program that asks for nothing sees nothing of the allocator on standard error, in the
//! dev profile too. A program of its own because the question is about a whole process.
#![cfg(not(any(feature = "debug", feature = "debug_in_debug")))]

use std::env;
use std::process::Command;

use mimalloc2_rust_sys::MiMalloc;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

const CHILD: &str = "QUIET_TEST_CHILD";

#[test]
fn nothing_is_printed_unless_asked_for() {
    let mut child = Command::new(env::current_exe().expect("a path"));
    child.args(["--exact", "child_works", "--ignored", "--test-threads=1"]).env(CHILD, "1");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("MIMALLOC_") {
            child.env_remove(name);
        }
    }
    let output = child.output().expect("this program can be started again");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
#[ignore = "a part of nothing_is_printed_unless_asked_for, which runs it in a process of its own"]
fn child_works() {
    if env::var_os(CHILD).is_none() {
        return; // run by hand with --ignored
    }
    let words: Vec<String> = (0..100_000).map(|number: u32| number.to_string()).collect();
    assert_eq!(words.len(), 100_000);
    assert!(Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err());
}
