//! What `build.rs` makes of targets that this machine cannot build for (D13.98 to D13.102): the build
//! script runs in an environment as Cargo makes it for the target, with a compiler that only writes
//! down how it was called.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use common::{cargo_build, run, scratch, text};

/// Answers what `cc` asks of a compiler, and writes the arguments of each call into a file.
const COMPILER: &str = r#"#!/bin/sh
echo "$0 $*" >>"$RECORD"
for argument; do
  case $argument in
    -E) exec cc -E -x c "$(eval echo \$$#)" ;;
    '-?') case $0 in *cl.exe) exit 0 ;; *) exit 1 ;; esac ;;
  esac
done
output=
while [ $# -gt 0 ]; do
  case $1 in
    -o) output=$2 ;;
    -Fo* | /Fo*) output=${1#?Fo} ;;
    -out:* | /out:*) output=${1#?out:} ;;
  esac
  shift
done
[ -z "$output" ] || : >"$output"
"#;

/// What the build script said and asked for.
struct Build {
    output: String,
    /// The call that compiled the library, with a space at each end.
    command: String,
}

impl Build {
    fn has(&self, flag: &str) -> bool {
        self.command.contains(&format!(" {flag} "))
    }

    fn libraries(&self) -> Vec<&str> {
        let prefix = "cargo:rustc-link-lib=";
        let names = self.output.lines().filter_map(|line| line.strip_prefix(prefix));
        names.filter(|name| !name.starts_with("static=")).collect()
    }
}

fn build_script() -> PathBuf {
    static PROGRAM: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut program = PROGRAM.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    program
        .get_or_insert_with(|| {
            cargo_build("build_script", "debug/build_script", "build-script", &[])
        })
        .clone()
}

/// `target` is a triple, `cfg` what rustc says of it: family, os, arch, env, pointer width, atomics.
fn build(target: &str, cfg: [&str; 6], features: &[&str]) -> Build {
    // The tests run at the same time, and some ask for the same target.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = scratch().join(format!("{target}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    let msvc = target.ends_with("msvc");
    let tool = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, COMPILER).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    };
    let compiler = tool(if msvc { "cl.exe" } else { "gcc" });
    // The archive need not be one.
    let archiver = tool(if msvc { "lib.exe" } else { "ar" });
    let record = folder.join("record");
    let mut command = Command::new(build_script());
    command.env_clear();
    for name in ["PATH", "HOME"] {
        command.env(name, std::env::var_os(name).unwrap_or_default());
    }
    let names = ["FAMILY", "OS", "ARCH", "ENV", "POINTER_WIDTH", "HAS_ATOMIC"];
    for (name, value) in names.iter().zip(cfg) {
        command.env(format!("CARGO_CFG_TARGET_{name}"), value);
    }
    for feature in features {
        command.env(format!("CARGO_FEATURE_{}", feature.to_uppercase().replace('-', "_")), "1");
    }
    command
        .env("TARGET", target)
        .env("HOST", "x86_64-unknown-linux-gnu")
        .env("OUT_DIR", &folder)
        .env("OPT_LEVEL", "0")
        .env("DEBUG", "false")
        .env("PROFILE", "debug")
        .env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"))
        .env("CC", &compiler)
        .env("AR", &archiver)
        .env("SDKROOT", "/")
        .env("RECORD", &record)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = text(&run(target, &mut command));
    let record = fs::read_to_string(&record).expect("calls of the compiler");
    let calls: Vec<&str> = record.lines().filter(|call| call.contains("all.c")).collect();
    assert_eq!(calls.len(), 1, "{target}: one file is compiled once\n{record}");
    Build { output, command: format!(" {} ", calls[0]) }
}

const MANY: &str = "8,16,32,64,ptr";
const FEW: &str = "8,16,32,ptr";

fn linux(triple: &str, arch: &str, env: &str, width: &str, atomics: &str) -> Build {
    build(triple, ["unix", "linux", arch, env, width, atomics], &[])
}

#[test]
fn glibc_has_initial_exec_variables_and_its_library_of_threads() {
    for (triple, arch) in
        [("x86_64-unknown-linux-gnu", "x86_64"), ("aarch64-unknown-linux-gnu", "aarch64")]
    {
        let b = linux(triple, arch, "gnu", "64", MANY);
        assert!(b.has("-ftls-model=initial-exec"), "{}", b.command);
        assert!(b.has("-O3") && b.has("-std=gnu11") && b.has("-fvisibility=hidden"));
        assert_eq!(b.libraries(), ["pthread"]);
    }
}

/// No instruction set is asked for: the baseline of the target is what counts. [D13.97]
#[test]
fn no_target_gets_instructions_above_its_baseline() {
    for (triple, arch, width) in [
        ("x86_64-unknown-linux-gnu", "x86_64", "64"),
        ("aarch64-unknown-linux-gnu", "aarch64", "64"),
        ("i686-unknown-linux-gnu", "x86", "32"),
    ] {
        let b = linux(triple, arch, "gnu", width, MANY);
        for flag in ["-march=native", "-mcpu=native", "-march=armv8.1-a", "-mavx", "-mpopcnt"] {
            assert!(!b.has(flag), "{triple}: {flag}");
        }
        assert!(!b.command.contains("+lse"), "{triple}");
    }
}

#[test]
fn musl_and_android_load_libraries_with_local_dynamic_variables_only() {
    let b = linux("x86_64-unknown-linux-musl", "x86_64", "musl", "64", MANY);
    assert!(b.has("-ftls-model=local-dynamic") && !b.has("-ftls-model=initial-exec"));
    assert!(b.libraries().is_empty(), "a static musl has no libpthread");
    let android = ["unix", "android", "aarch64", "", "64", MANY];
    let b = build("aarch64-linux-android", android, &[]);
    assert!(b.has("-ftls-model=local-dynamic"), "{}", b.command);
    assert!(b.libraries().is_empty(), "Bionic has its threads in libc");
}

#[test]
fn the_feature_asks_for_local_dynamic_variables() {
    let cfg = ["unix", "linux", "x86_64", "gnu", "64", MANY];
    let b = build("x86_64-unknown-linux-gnu", cfg, &["local-dynamic-tls"]);
    assert!(b.has("-ftls-model=local-dynamic"), "{}", b.command);
}

/// D13.101.
#[test]
fn libatomic_is_linked_where_the_processor_lacks_64_bits() {
    let b = linux("armv7-unknown-linux-gnueabihf", "arm", "gnu", "32", MANY);
    assert_eq!(b.libraries(), ["pthread"], "ARMv7 has ldrexd");
    let b = linux("i686-unknown-linux-gnu", "x86", "gnu", "32", MANY);
    assert_eq!(b.libraries(), ["pthread"], "i686 has cmpxchg8b");
    let b = linux("armv5te-unknown-linux-gnueabi", "arm", "gnu", "32", FEW);
    assert_eq!(b.libraries(), ["pthread", "atomic"]);
    let b = linux("powerpc-unknown-linux-gnu", "powerpc", "gnu", "32", FEW);
    assert_eq!(b.libraries(), ["pthread", "atomic"]);
}

#[test]
fn apple_has_no_library_to_add() {
    for (triple, arch) in [("aarch64-apple-darwin", "aarch64"), ("x86_64-apple-darwin", "x86_64")] {
        let b = build(triple, ["unix", "macos", arch, "", "64", MANY], &["override"]);
        assert!(b.libraries().is_empty(), "{triple}: {:?}", b.libraries());
        assert!(b.has("-DMI_MALLOC_OVERRIDE=1"), "{}", b.command);
        assert!(!b.has("-DMI_OSX_ZONE=1"), "no source asks for it");
    }
}

#[test]
fn systems_of_the_bsd_family_have_their_threads_in_a_library() {
    for (triple, os) in [
        ("x86_64-unknown-freebsd", "freebsd"),
        ("x86_64-unknown-netbsd", "netbsd"),
        ("x86_64-unknown-openbsd", "openbsd"),
        ("x86_64-unknown-illumos", "illumos"),
    ] {
        let b = build(triple, ["unix", os, "x86_64", "", "64", MANY], &[]);
        assert_eq!(b.libraries(), ["pthread"], "{triple}");
    }
}

/// MinGW is a GCC like others, but there is no TLS model to choose and nothing to link.
#[test]
fn mingw_has_no_tls_model_and_no_dll() {
    let cfg = ["windows", "windows", "x86_64", "gnu", "64", MANY];
    let b = build("x86_64-pc-windows-gnu", cfg, &["override"]);
    assert!(!b.command.contains("-ftls-model"), "{}", b.command);
    assert!(b.has("-std=gnu11") && !b.command.contains("MI_SHARED_LIB"), "{}", b.command);
    assert!(b.libraries().is_empty(), "{:?}", b.libraries());
}

/// Flags of GCC would be warnings or errors there.
#[test]
fn msvc_gets_its_own_flags_only() {
    for (triple, arch) in
        [("x86_64-pc-windows-msvc", "x86_64"), ("aarch64-pc-windows-msvc", "aarch64")]
    {
        let b = build(triple, ["windows", "windows", arch, "msvc", "64", MANY], &[]);
        let is_c11 = ["-std:c11", "/std:c11"].iter().any(|flag| b.has(flag));
        assert!(is_c11 && b.has("/experimental:c11atomics"), "{}", b.command);
        for flag in ["-f", "-std=", "-Wundef", "-Wstrict", "-O3"] {
            assert!(!b.command.contains(&format!(" {flag}")), "{triple} {flag}: {}", b.command);
        }
        assert!(b.libraries().is_empty(), "{:?}", b.libraries());
    }
}

#[test]
fn wasm_has_neither_threads_nor_exceptions() {
    for (triple, os) in [("wasm32-wasip1", "wasi"), ("wasm32-unknown-emscripten", "emscripten")] {
        let family = if os == "emscripten" { "unix,wasm" } else { "wasm" };
        let b = build(triple, [family, os, "wasm32", "", "32", MANY], &[]);
        assert!(!b.has("-fexceptions") && !b.command.contains("-ftls-model"), "{}", b.command);
        assert!(b.libraries().is_empty(), "{:?}", b.libraries());
    }
}

/// `opt-level` of the profile is for the program, not for the allocator.
#[test]
fn features_become_definitions_on_every_target() {
    let windows = ["windows", "windows", "x86_64", "gnu", "64", MANY];
    let b = build("x86_64-pc-windows-gnu", windows, &["secure", "skip-collect-on-exit"]);
    for flag in ["-DMI_SECURE=1", "-DMI_SKIP_COLLECT_ON_EXIT=1", "-DMI_DEBUG=0", "-O3"] {
        assert!(b.has(flag), "{flag}: {}", b.command);
    }
}
