//! What `build.rs` makes of targets that this machine cannot build for, and of
//! environments: the build script runs as Cargo would start it for the target, with a compiler that
//! only writes down how it was called.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use common::{cargo_build, run, scratch, text};

/// Answers the questions of `cc`, and writes the arguments of each call into a file.
const COMPILER: &str = r#"#!/bin/sh
echo "$0 $*" >>"$RECORD"
case $* in *probe.c) exit "${HEADERS_MISSING:-0}" ;; esac
for argument; do
  case $argument in
    -E) exec cc -E -x c "$(eval echo \$$#)" ;;
    '-?') case $0 in *cl.exe) exit 0 ;; *) exit 1 ;; esac ;;
  esac
done
[ -z "$COMPLAINT" ] || echo "$COMPLAINT" >&2
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

/// The output of the build script, and the calls of the compiler.
struct Build {
    output: String,
    /// The call that compiled the library, with a space at each end.
    command: String,
}

impl Build {
    /// Whether Cargo shows the reader a line with this text.
    fn warns(&self, text: &str) -> bool {
        self.output.lines().any(|line| line.starts_with("cargo:warning=") && line.contains(text))
    }

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

/// `target` is a triple, `cfg` what rustc says of it: family, os, arch, env, pointer width,
/// atomics.
fn build(target: &str, cfg: [&str; 6], features: &[&str]) -> Build {
    build_in(target, cfg, features, &[])
}

/// With these variables in the environment as well.
fn build_in(target: &str, cfg: [&str; 6], features: &[&str], more: &[(&str, &str)]) -> Build {
    let (mut command, folder) = prepare(target, cfg, features);
    let output = text(&run(target, command.envs(more.iter().copied())));
    let record = fs::read_to_string(folder.join("record")).expect("calls of the compiler");
    let calls: Vec<&str> = record.lines().filter(|call| call.contains("all.c")).collect();
    assert_eq!(calls.len(), 1, "{target}: one file is compiled once\n{record}");
    Build { output, command: format!(" {} ", calls[0]) }
}

/// What the build script says when it fails, as it does here.
fn refusal(target: &str, cfg: [&str; 6], features: &[&str], more: &[(&str, &str)]) -> String {
    let (mut command, _) = prepare(target, cfg, features);
    let output = command.envs(more.iter().copied()).output().expect("the build script");
    assert!(!output.status.success(), "{target}: {}", text(&output));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The build script in a folder of its own, which is returned too.
fn prepare(target: &str, cfg: [&str; 6], features: &[&str]) -> (Command, PathBuf) {
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
        .env("CARGO_CFG_TARGET_ENDIAN", "little")
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
        .env("RECORD", folder.join("record"))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    (command, folder)
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

/// No instruction set is asked for: the baseline of the target is what counts.
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
        // Clang has a warning for each build with it.
        assert!(!b.has("-fno-semantic-interposition"), "{}", b.command);
        assert!(b.libraries().is_empty(), "{:?}", b.libraries());
    }
}

/// Clang's assembler refuses what its compiler writes for us.
#[test]
fn wasm_has_no_listing() {
    let cfg = ["wasm", "wasi", "wasm32", "", "32", MANY];
    let b = build("wasm32-wasip1", cfg, &["asm"]);
    assert!(!b.command.contains("-save-temps") && b.warns("`asm` is off"), "{}", b.command);
}

/// The allocator's locks do nothing there.
#[test]
fn wasm_with_threads_is_refused() {
    let cfg = ["wasm", "wasi", "wasm32", "", "32", MANY];
    let atomics = ("CARGO_CFG_TARGET_FEATURE", "bulk-memory,atomics,sign-ext");
    let says = refusal("wasm32-wasip1-threads", cfg, &[], &[atomics]);
    assert!(says.contains("WebAssembly with threads is not supported"), "{says}");
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

const HOST: &str = "x86_64-unknown-linux-gnu";
const HOST_CFG: [&str; 6] = ["unix", "linux", "x86_64", "gnu", "64", MANY];

fn on_host(features: &[&str], more: &[(&str, &str)]) -> Build {
    build_in(HOST, HOST_CFG, features, more)
}

/// Each of them makes an object that Rust's linker cannot use, or takes away what the build
/// chooses.
#[test]
fn flags_of_the_environment_that_do_not_fit_are_left_out() {
    let quiet = "-flto -flto=auto -flto=thin -ffat-lto-objects -fwhole-program -fPIE -fno-pic \
                 -Werror -Werror=format-security -pedantic-errors -std=c99 -ansi -fno-exceptions \
                 -fvisibility=default -ftls-model=local-exec";
    let missed = "-fsanitize=address,undefined -fsanitize=fuzzer-no-link -fsanitize-recover=all --coverage -fprofile-arcs \
                  -fprofile-generate -fprofile-instr-generate=x -finstrument-functions -pg -m32";
    let fine = "-O2 -g -march=x86-64 -m64 -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIC \
                -fprofile-use -Wformat";
    let flags = [quiet, missed, fine].join(" ");
    for variable in [
        "CFLAGS",
        "TARGET_CFLAGS",
        "CFLAGS_x86_64_unknown_linux_gnu",
        "CFLAGS_x86_64-unknown-linux-gnu",
    ] {
        // TARGET_CFLAGS is for builds for another machine.
        let host = if variable.starts_with("TARGET") { "aarch64-unknown-linux-gnu" } else { HOST };
        let b = on_host(&[], &[(variable, &flags), ("HOST", host)]);
        for flag in quiet.split_whitespace().chain(missed.split_whitespace()) {
            assert!(!b.has(flag), "{variable}: {flag} in {}", b.command);
            assert!(b.output.contains(&format!("{flag} of {variable} is left out: ")), "{flag}");
        }
        for flag in missed.split_whitespace() {
            assert!(b.warns(flag), "{variable}: {flag}");
        }
        assert!(!b.warns("-flto"), "a distribution sets it for all that it builds");
        for flag in fine.split_whitespace() {
            assert!(b.has(flag), "{variable}: {flag} is not in {}", b.command);
        }
        for flag in ["-std=gnu11", "-fvisibility=hidden", "-ftls-model=initial-exec", "-fno-lto"] {
            assert!(b.has(flag), "{variable}: {flag} is not in {}", b.command);
        }
    }
}

/// `cc` asks the compiler for a flag with those of the environment. One that leads to a warning
/// there used to take away what two copies in a process, or `dlopen`, need.
#[test]
fn needed_flags_do_not_depend_on_those_of_the_environment() {
    let b = on_host(&[], &[("CFLAGS", "-Wno-such-warning"), ("COMPLAINT", "unknown")]);
    for flag in ["-fvisibility=hidden", "-fno-builtin-malloc", "-ftls-model=initial-exec"] {
        assert!(b.has(flag), "{flag} is not in {}", b.command);
    }
}

/// What belongs to another option is not looked at.
#[test]
fn arguments_of_other_programs_stay() {
    let b = on_host(&[], &[("CFLAGS", "-Xclang -fsanitize=address -O1")]);
    assert!(b.command.contains(" -Xclang -fsanitize=address -O1 "), "{}", b.command);
}

/// rustc says that it takes code of LLVM then.
#[test]
fn link_time_optimisation_by_rustc_stays_possible() {
    let b = on_host(&[], &[("CARGO_ENCODED_RUSTFLAGS", "-Clinker-plugin-lto")]);
    assert!(!b.has("-fno-lto"), "{}", b.command);
}

#[test]
fn flags_for_another_width_are_left_out() {
    let cfg = ["unix", "linux", "x86", "gnu", "32", MANY];
    let b = build_in("i686-unknown-linux-gnu", cfg, &[], &[("CFLAGS", "-m64")]);
    assert!(!b.has("-m64") && b.has("-m32"), "{}", b.command);
}

#[test]
fn override_is_off_where_a_sanitizer_has_its_own_malloc() {
    for sanitizers in ["address", "thread", "memory", "leak", "hwaddress", "cfi,leak"] {
        let b = on_host(&["override"], &[("CARGO_CFG_SANITIZE", sanitizers)]);
        assert!(!b.command.contains("MI_MALLOC_OVERRIDE"), "{sanitizers}: {}", b.command);
        assert!(b.warns(&format!("`override` is off: the sanitizer ({sanitizers})")));
    }
    for sanitizers in ["", "cfi", "kcfi,shadow-call-stack"] {
        let b = on_host(&["override"], &[("CARGO_CFG_SANITIZE", sanitizers)]);
        assert!(b.has("-DMI_MALLOC_OVERRIDE=1"), "{sanitizers}: {}", b.command);
        assert!(!b.warns("override"));
    }
    let b = on_host(&["override", "asan"], &[]);
    assert!(!b.command.contains("MI_MALLOC_OVERRIDE") && b.warns("`override` is off"));
}

/// Without it a block that goes from thread to thread looks like a race.
#[test]
fn the_thread_sanitizer_sees_the_c_code() {
    let b = on_host(&[], &[("CARGO_CFG_SANITIZE", "thread")]);
    assert!(b.has("-fsanitize=thread"), "{}", b.command);
    // And what the caller asks for stays, if the program has its runtime.
    let flags = ("CFLAGS", "-fsanitize=memory -fsanitize-memory-track-origins");
    let b = on_host(&[], &[("CARGO_CFG_SANITIZE", "memory"), flags]);
    assert!(b.has("-fsanitize=memory") && b.has("-fsanitize-memory-track-origins"));
    let b = on_host(&[], &[("CARGO_CFG_SANITIZE", "address"), flags]);
    assert!(!b.has("-fsanitize=memory"), "{}", b.command);
    let fuzzed = ("CFLAGS", "-fsanitize=address -fsanitize=fuzzer-no-link");
    let b = on_host(&[], &[("CARGO_CFG_SANITIZE", "address"), fuzzed]);
    assert!(b.has("-fsanitize=address") && b.has("-fsanitize=fuzzer-no-link"), "{}", b.command);
}

#[test]
fn memory_checkers_are_features() {
    let b = on_host(&["valgrind"], &[]);
    assert!(b.has("-DMI_TRACK_VALGRIND=1") && !b.command.contains("MI_TRACK_ASAN"));
    let b = on_host(&["asan"], &[("CARGO_CFG_SANITIZE", "address")]);
    assert!(b.has("-DMI_TRACK_ASAN=1") && b.has("-fno-sanitize=address"), "{}", b.command);
    let b = on_host(&["asan", "valgrind"], &[]);
    assert!(b.has("-DMI_TRACK_VALGRIND=1") && b.warns("`asan` is off"), "{}", b.output);
    let says = refusal(HOST, HOST_CFG, &["asan"], &[("CARGO_CFG_SANITIZE", "thread")]);
    assert!(says.contains("AddressSanitizer, and rustc was asked for another one"), "{says}");
}

/// There is no C to compile, and none to link.
#[test]
fn nothing_is_compiled_for_miri() {
    let (mut command, folder) = prepare(HOST, HOST_CFG, &["override"]);
    let output = text(&run("Miri", command.env("CARGO_CFG_MIRI", "")));
    assert!(!output.contains("rustc-link"), "{output}");
    assert!(!folder.join("record").exists(), "no compiler was called");
}

/// Each with the package, by name, that has its compiler.
const CROSS: &[(&str, [&str; 6], &[&str])] = &[
    (
        "aarch64-unknown-linux-gnu",
        ["unix", "linux", "aarch64", "gnu", "64", MANY],
        &[
            "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
            "pacman -S aarch64-linux-gnu-gcc",
        ],
    ),
    (
        "armv7-unknown-linux-gnueabihf",
        ["unix", "linux", "arm", "gnu", "32", MANY],
        &["apt install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"],
    ),
    (
        "powerpc64le-unknown-linux-gnu",
        ["unix", "linux", "powerpc64", "gnu", "64", MANY],
        &["apt install gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross"],
    ),
    (
        "i686-unknown-linux-gnu",
        ["unix", "linux", "x86", "gnu", "32", MANY],
        &["apt install gcc-multilib", "glibc-devel.i686", "lib32-glibc"],
    ),
    (
        "x86_64-unknown-linux-musl",
        ["unix", "linux", "x86_64", "musl", "64", MANY],
        &["apt install musl-tools", "dnf install musl-gcc", "pacman -S musl"],
    ),
    (
        "aarch64-unknown-linux-musl",
        ["unix", "linux", "aarch64", "musl", "64", MANY],
        &["musl-cross-make"],
    ),
    (
        "x86_64-pc-windows-gnu",
        ["windows", "windows", "x86_64", "gnu", "64", MANY],
        &["gcc-mingw-w64-x86-64", "mingw64-gcc", "pacman -S mingw-w64-gcc"],
    ),
    (
        "x86_64-pc-windows-msvc",
        ["windows", "windows", "x86_64", "msvc", "64", MANY],
        &["Visual Studio", "cargo-xwin"],
    ),
    (
        "wasm32-wasip1",
        ["wasm", "wasi", "wasm32", "p1", "32", MANY],
        &[
            "WASI_SDK_PATH",
            "apt install clang llvm wasi-libc",
            "CFLAGS_wasm32_wasip1=--target=wasm32-wasi",
        ],
    ),
    (
        "wasm32-unknown-emscripten",
        ["unix,wasm", "emscripten", "wasm32", "", "32", MANY],
        &["apt install emscripten"],
    ),
    (
        "wasm32-unknown-unknown",
        ["wasm", "unknown", "wasm32", "", "32", MANY],
        &["has no C library", "wasm32-wasip1"],
    ),
    (
        "aarch64-linux-android",
        ["unix", "android", "aarch64", "", "64", MANY],
        &["NDK", "cargo-ndk"],
    ),
    (
        "aarch64-apple-darwin",
        ["unix", "macos", "aarch64", "", "64", MANY],
        &["xcode-select --install", "SDKROOT"],
    ),
    ("x86_64-unknown-freebsd", ["unix", "freebsd", "x86_64", "", "64", MANY], &["--sysroot="]),
];

#[test]
fn a_missing_cross_compiler_is_named_with_its_package() {
    for (target, cfg, packages) in CROSS {
        let says = refusal(target, *cfg, &[], &[("CC", "no-such-compiler"), ("PATH", "/nowhere")]);
        assert!(says.contains("`no-such-compiler` cannot be started"), "{says}");
        assert!(says.contains(target), "{says}");
        for package in *packages {
            assert!(says.contains(package), "{package} in {says}");
        }
        assert!(!says.contains("apt install gcc libc6-dev\n"), "that is for this machine: {says}");
    }
}

#[test]
fn missing_headers_of_a_target_are_named_with_their_package() {
    for (target, cfg, packages) in CROSS {
        let says = refusal(target, *cfg, &[], &[("HEADERS_MISSING", "1")]);
        assert!(says.contains("the headers of the C library are missing"), "{says}");
        assert!(says.contains(packages[0]) && says.contains(target), "{says}");
    }
}

#[test]
fn a_missing_compiler_of_this_machine_is_named_with_its_package() {
    let says = refusal(HOST, HOST_CFG, &[], &[("CC", "no-such-compiler"), ("PATH", "/nowhere")]);
    for package in ["apt install gcc libc6-dev", "dnf install gcc glibc-devel", "pacman -S gcc"] {
        assert!(says.contains(package), "{says}");
    }
    assert!(says.contains("CC_x86_64_unknown_linux_gnu"), "{says}");
    let says = refusal(HOST, HOST_CFG, &["valgrind"], &[("HEADERS_MISSING", "1")]);
    assert!(says.contains("headers"), "{says}");
}

/// Cargo's own tests of values are in tests/build_script.rs.
#[test]
fn a_default_of_no_option_stops_the_build() {
    for (variable, nearest) in [
        ("MI_DEFAULT_PURGE_DELY", "MI_DEFAULT_PURGE_DELAY"),
        ("MI_DEFAULT_reset_delay", "MI_DEFAULT_PURGE_DELAY"),
        ("MI_DEFAULT_purge_delay", "MI_DEFAULT_PURGE_DELAY"),
        ("MI_DEFAULT_SHOW_LEAK", "MI_DEFAULT_SHOW_LEAKS"),
        ("MI_DEFAULT_", "MI_DEFAULT_"),
    ] {
        let says = refusal(HOST, HOST_CFG, &[], &[(variable, "1")]);
        assert!(says.contains(&format!("has {variable}, and no option has this name")), "{says}");
        assert!(says.contains(&format!("The nearest is {nearest}")), "{says}");
    }
    let b = on_host(&[], &[("MI_DEFAULT_SHOW_LEAKS", "5"), ("MI_DEFAULTS", "1")]);
    assert!(b.has("-DMI_DEFAULT_SHOW_LEAKS=5"), "{}", b.command);
}
