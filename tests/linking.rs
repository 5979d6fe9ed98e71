//! The allocator in programs and libraries of other shapes than a plain Rust program:
//! with C code in it, wholly static, as a shared library in a C program, with link-time optimisation.
//! Each is built from tests/fixtures by a Cargo of its own and run.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{cargo, cargo_build, fixtures, line, one_at_a_time, run, scratch, target, text};

/// Compiles a C file of the fixtures.
fn cc(file: &str, output: &str, flags: &[&str]) -> PathBuf {
    let output = scratch().join(output);
    let compiler = env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-std=gnu11", "-D_GNU_SOURCE", "-O1"]).arg(fixtures().join(file));
    run("the C compiler", command.arg("-o").arg(&output).args(flags).args(["-ldl", "-lpthread"]));
    output
}

/// The C program, for this test alone.
fn host(test: &str) -> PathBuf {
    cc("host.c", &format!("host-{test}"), &[])
}

/// The program, for this test alone.
fn program(test: &str) -> PathBuf {
    cargo_build("program", "debug/program", &format!("program-{test}"), &[])
}

/// The library `plugin` with these features, for this test alone.
fn plugin(test: &str, features: &str) -> PathBuf {
    let output = format!("plugin-{test}-{}.so", features.replace(' ', "-"));
    cargo_build("plugin", "debug/libplugin.so", &output, &["--features", features])
}

/// Rust, the C code in the program and a shared library in C exchange blocks in both directions.
#[test]
fn override_reaches_c_in_the_program_and_in_shared_libraries() {
    let program = program("c");
    let shared = cc("c_side.c", "libshared.so", &["-shared", "-fPIC", "-DSIDE(n)=shared_##n"]);
    let output = run("the program", &mut Command::new(&program));
    assert_eq!(line(&text(&output), "c"), "ours");
    let output = text(&run("the program", Command::new(&program).arg("shared").arg(shared)));
    assert_eq!(line(&output, "shared"), "ours");
    assert_eq!(Path::new(line(&output, "malloc of")), program);
}

/// Nothing in the program refers to us.
#[test]
fn override_needs_no_call_of_ours() {
    for (profile, folder) in [("dev", "debug"), ("fat", "fat")] {
        let arguments = ["--bin", "bare", "--profile", profile];
        let artifact = format!("{folder}/bare");
        let program = cargo_build("program", &artifact, &format!("bare-{profile}"), &arguments);
        let output = run("the program", &mut Command::new(&program));
        assert_eq!(Path::new(line(&text(&output), "malloc of")), program, "{profile}");
    }
}

/// With the C library of the GNU system: a musl target may not be there.
#[test]
fn override_works_in_a_static_executable() {
    let target = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let config = format!("target.{target}.rustflags=['-Ctarget-feature=+crt-static']");
    let arguments = ["--target", &target, "--config", &config];
    let artifact = format!("{target}/debug/program");
    let program = cargo_build("program", &artifact, "program-static", &arguments);
    let elf = run("readelf", Command::new("readelf").arg("-lW").arg(&program));
    assert!(!text(&elf).contains("INTERP"), "no dynamic loader");
    let output = run("the program", &mut Command::new(&program));
    assert_eq!(line(&text(&output), "c"), "ours");
}

/// Its own code allocates from us, with `override` also what it calls `malloc`. The program around it
/// keeps the allocator it has.
#[test]
fn a_rust_library_in_a_c_program_allocates_from_us() {
    let host = host("apart");
    for (features, blocks) in [("", "not ours"), ("override", "ours")] {
        let plugin = plugin("apart", features);
        let output = text(&run("the host", Command::new(&host).arg(&plugin)));
        assert_eq!(line(&output, "blocks of malloc in the library"), blocks);
        assert_eq!(line(&output, "blocks of the program"), "not ours");
        let is_inside = Path::new(line(&output, "malloc of the library in")) == plugin;
        assert_eq!(is_inside, features == "override");
        assert!(line(&output, "malloc of the program in").contains("libc"), "{output}");
        assert!(output.ends_with("done\n"));
    }
}

/// The loader keeps a little room for libraries that need a fixed place in the memory of each thread,
/// and refuses when it is used up. With `local-dynamic-tls` a library needs no such place.
#[test]
fn local_dynamic_tls_needs_no_static_tls_block() {
    const COPIES: usize = 24;
    let host = host("tls");
    for (features, is_static) in
        [("override", true), ("local-dynamic-tls", false), ("override local-dynamic-tls", false)]
    {
        let plugin = plugin("tls", features);
        let copies: Vec<PathBuf> = (0..COPIES)
            .map(|number| {
                let copy = plugin.with_file_name(format!("copy-{number}.so"));
                fs::copy(&plugin, &copy).expect("room for a copy");
                copy
            })
            .collect();
        let elf = run("readelf", Command::new("readelf").arg("-dW").arg(&plugin));
        assert_eq!(text(&elf).contains("STATIC_TLS"), is_static, "{features}");

        let mut command = Command::new(&host);
        command.args(&copies).env("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=0");
        let output = text(&run("the host", &mut command));
        let loaded: usize = line(&output, "loaded").parse().expect("a number");
        if is_static {
            assert!((1..COPIES).contains(&loaded), "{output}");
            assert!(line(&output, "error").contains("static TLS block"), "{output}");
        } else {
            assert_eq!(loaded, COPIES, "{output}");
        }
        assert!(output.ends_with("done\n"), "those that were loaded work");
    }
}

/// A thread that has used the library and unloaded it ends as any other, and nothing stays.
#[test]
fn a_rust_library_may_be_unloaded_before_its_threads_end() {
    let host = host("unload");
    for features in ["", "override", "secure-full"] {
        let plugin = plugin("unload", features);
        let output = text(&run("the host", Command::new(&host).arg("unload").arg(&plugin)));
        let left: i64 = line(&output, "mappings left").parse().expect("a number");
        assert!(left <= 4, "{features}: {output}");
        assert!(output.ends_with("done\n"));
    }
}

#[test]
fn two_copies_in_one_process_keep_apart() {
    let program = program("copies");
    for features in ["", "override"] {
        let plugin = plugin("copies", features);
        let output = text(&run("the program", Command::new(&program).arg("copy").arg(&plugin)));
        assert_eq!(Path::new(line(&output, "mi_malloc of")), plugin);
        assert_eq!(line(&output, "copies"), "apart");
    }
}

#[test]
fn link_time_optimisation_keeps_what_is_needed() {
    let host = host("fat");
    let fat = ["--profile", "fat", "--features", "override"];
    let plugin = cargo_build("plugin", "fat/libplugin.so", "plugin-fat.so", &fat);
    let output = text(&run("the host", Command::new(&host).arg(&plugin)));
    assert_eq!(line(&output, "blocks of malloc in the library"), "ours");
    assert!(output.ends_with("done\n"));
    let program = cargo_build("program", "fat/program", "program-fat", &fat[..2]);
    let output = run("the program", &mut Command::new(&program));
    assert_eq!(line(&text(&output), "c"), "ours");
}

/// And nothing is said on standard error.
#[test]
fn a_dev_profile_with_another_opt_level_works() {
    let arguments = ["--profile", "dev-opt"];
    let program = cargo_build("program", "dev-opt/program", "program-dev-opt", &arguments);
    let output = run("the program", &mut Command::new(program));
    assert_eq!(line(&text(&output), "c"), "ours");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Distributions set such flags for all that they build, and testers for what they look at.
#[test]
fn flags_of_the_environment_leave_a_program_that_links_and_works() {
    for (name, flags) in [
        ("lto", "-O2 -flto=auto"),
        ("tested", "-O1 -fsanitize=address,undefined --coverage -fprofile-generate -pg"),
        ("strict", "-std=c99 -fPIE -fvisibility=default -Werror -Wconversion -Wmissing-prototypes"),
    ] {
        let _one = one_at_a_time("plain");
        let mut command = cargo("build", "plain");
        run(name, command.args(["--features", "override"]).env("CFLAGS", flags));
        let output = run(name, &mut Command::new(target("plain").join("debug/plain")));
        assert_eq!(line(&text(&output), "malloc"), "ours", "{name}");
    }
}
