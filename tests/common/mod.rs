//! Building packages of tests/fixtures with a Cargo of their own, for several test programs.
// Not each of them uses all of it.
#![allow(dead_code)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

pub fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

pub fn run(what: &str, command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(output.status.success(), "{what}: {}", describe(&output));
    output
}

pub fn describe(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Where the package is built.
pub fn target(package: &str) -> PathBuf {
    scratch().join(format!("target-{package}"))
}

/// One build of a package at a time within a test program: they write to the same folder.
pub fn one_at_a_time(package: &str) -> MutexGuard<'static, ()> {
    static PROGRAM: Mutex<()> = Mutex::new(());
    static PLUGIN: Mutex<()> = Mutex::new(());
    static OTHER: Mutex<()> = Mutex::new(());
    let building = match package {
        "program" => &PROGRAM,
        "plugin" => &PLUGIN,
        _ => &OTHER,
    };
    // Another test that failed while it built has left nothing half done: Cargo starts anew.
    building.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Builds a package of the fixtures and returns a copy, under the name `output`, of what came out.
///
/// Its dependencies are those of this crate, so they are there, and no network is needed.
pub fn cargo_build(package: &str, artifact: &str, output: &str, arguments: &[&str]) -> PathBuf {
    let mut command = cargo("build", package);
    command.args(arguments);
    let output = scratch().join(output);
    let _one = one_at_a_time(package);
    run("cargo build", &mut command);
    fs::copy(target(package).join(artifact), &output).expect("what Cargo built");
    output
}

/// A Cargo for a package of the fixtures.
pub fn cargo(what: &str, package: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    // What the outer Cargo sets for this package is not for that one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_of_cargo = name.starts_with("CARGO_") && name != "CARGO_HOME";
        if is_of_cargo || name == "RUSTFLAGS" || name.starts_with("MI_DEFAULT_") {
            command.env_remove(name);
        }
    }
    command
        .args([what, "--offline", "--package", package, "--target-dir"])
        .arg(target(package))
        .current_dir(fixtures());
    command
}

/// A line of the form `NAME: value`.
pub fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no line {name:?} in\n{text}"))
}
