//! What the environment of a build does: `MI_DEFAULT_<OPTION>` sets the default of an option.
#![cfg(all(target_os = "linux", feature = "extended"))]

mod common;

use std::process::Command;

use common::{cargo, line, one_at_a_time, run, target, text};
use mimalloc2_rust_sys::MiOption;

/// Builds the program that prints all options, and returns what it prints.
fn options_of_a_build(variables: &[(&str, &str)]) -> String {
    let _one = one_at_a_time("program");
    let mut command = cargo("build", "program");
    command.args(["--bin", "options"]).envs(variables.iter().copied());
    run("cargo build", &mut command);
    text(&run("the program", &mut Command::new(target("program").join("debug/options"))))
}

#[test]
fn the_build_sets_defaults() {
    let variables = [
        ("MI_DEFAULT_PURGE_DELAY", "77"),
        ("MI_DEFAULT_ARENA_RESERVE", "131072"),
        ("MI_DEFAULT_PAGE_RECLAIM_ON_FREE", "-1"),
        ("MI_DEFAULT_ALLOW_THP", " 2 "),
    ];
    let output = options_of_a_build(&variables);
    assert_eq!(line(&output, "purge_delay"), "77");
    assert_eq!(line(&output, "arena_reserve"), "131072", "KiB");
    assert_eq!(line(&output, "page_reclaim_on_free"), "-1");
    assert_eq!(line(&output, "allow_thp"), "2");
    assert_eq!(line(&output, "max_errors"), "32", "what is not named stays");

    // Cargo builds again when the environment changes.
    let output = options_of_a_build(&[]);
    assert_eq!(line(&output, "purge_delay"), "10");
    assert_eq!(line(&output, "allow_thp"), "1");
}

#[test]
fn a_value_that_is_no_integer_stops_the_build() {
    for value in ["soon", "", "1.5", "10ms", "99999999999999999999"] {
        let _one = one_at_a_time("program");
        let mut command = cargo("build", "program");
        let output = command.env("MI_DEFAULT_PURGE_DELAY", value).output().expect("Cargo");
        assert!(!output.status.success(), "{value:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        let says = format!("MI_DEFAULT_PURGE_DELAY is \"{value}\" in the environment");
        assert!(text.contains(&says) && text.contains("must be an integer"), "{text}");
    }
}

/// The build script reads the names from the header: it declares a variable for each option.
#[test]
fn every_option_has_a_variable() {
    let _one = one_at_a_time("program");
    let mut command = cargo("build", "program");
    // An error makes Cargo print what the build script said: in the last one, all are declared.
    let output = command.env("MI_DEFAULT_LIMIT_CONTAINER", "?").output().expect("Cargo");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for option in MiOption::ALL {
        let says = format!("rerun-if-env-changed=MI_DEFAULT_{}\n", option.name().to_uppercase());
        assert!(text.contains(&says), "{option}");
    }
}
