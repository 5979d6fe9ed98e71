//! Runs the C and C++ tests of `ctest/`: configures and builds them with CMake and runs CTest.
//!
//! `MI_CTEST_ARGS` in the environment is passed on to ctest, for example
//! `MI_CTEST_ARGS="-L quick -R api"`. Without CMake the test fails and says what to install.

use std::path::Path;
use std::process::Command;

fn run(program: &str, what: &str, command: &mut Command) {
    match command.status() {
        Ok(status) => assert!(status.success(), "{what} failed ({status})"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => panic!(
            "{program} was not found: the C tests need it. Install CMake (package \"cmake\") \
             and a C and C++ compiler (Debian: \"build-essential\")."
        ),
        Err(error) => panic!("{program} could not be started for {what}: {error}"),
    }
}

#[test]
fn c_and_cxx_tests_pass() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("ctest");
    let build = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ctest");
    let jobs = std::thread::available_parallelism().map_or(1, |n| n.get()).to_string();

    run(
        "cmake",
        "configuring the C tests",
        Command::new("cmake")
            .arg("-S")
            .arg(&source)
            .arg("-B")
            .arg(&build)
            .arg("-DCMAKE_BUILD_TYPE=Release"),
    );
    run(
        "cmake",
        "building the C tests",
        Command::new("cmake").arg("--build").arg(&build).args(["--parallel", &jobs]),
    );
    let extra = std::env::var("MI_CTEST_ARGS").unwrap_or_default();
    run(
        "ctest",
        "running the C tests",
        Command::new("ctest")
            .current_dir(&build)
            .arg("--output-on-failure")
            .arg("--no-tests=error")
            .args(["--parallel", &jobs])
            .args(extra.split_whitespace()),
    );
}
