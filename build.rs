//! Compiles the C library and tells Cargo how to link it.
//!
//! What the target is comes from `CARGO_CFG_*` and what was asked for from `CARGO_FEATURE_*`:
//! `cfg!` in a build script describes the machine that builds, which is wrong when cross-compiling.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{exit, Command};

#[path = "build/advice.rs"]
mod advice;
#[path = "build/flags.rs"]
mod flags;

/// The whole library as one translation unit.
const SOURCE: &str = "c_src/src/all.c";
const INCLUDE_DIR: &str = "c_src/include";
/// Declares the options.
const HEADER: &str = "c_src/include/mimalloc.h";

fn main() {
    let target = Target::from_env();
    rerun_when_inputs_change();
    publish_include_dir();
    if target.is_miri {
        return; // it interprets Rust only; src/global.rs does without C there
    }

    if target.is_wasm() && target.has_atomics {
        fail("WebAssembly with threads is not supported: the allocator takes the only thread for granted");
    }
    flags::remove_unfit(&target);
    let mut build = cc::Build::new();
    build.file(SOURCE).include(INCLUDE_DIR);
    check_compiler(&build, &target);
    select_optimisation(&mut build);
    select_warnings(&mut build, &target);
    select_defines(&mut build, &target);
    select_checker(&mut build, &target);
    select_default_options(&mut build, &target);
    select_code_generation(&mut build, &target);
    keep_assembly(&mut build, &target);

    if let Err(error) = build.try_compile("mimalloc") {
        explain_failed_compilation(&target, &error);
        exit(1);
    }
    link_system_libraries(&target);
}

/// What we need to know about the machine that will run the program, and about the build.
struct Target {
    triple: String,
    /// The triple of the machine that builds.
    host: String,
    /// "unix", "windows", "wasm"; several of them are separated by commas.
    family: String,
    os: String,
    arch: String,
    env: String,
    endian: String,
    pointer_width: String,
    /// The processor has instructions for atomics of 64 bits.
    has_atomic64: bool,
    /// The instructions or the system have threads, where that is a choice.
    has_atomics: bool,
    /// Those that rustc was asked for (`-Zsanitizer=`).
    sanitizers: Vec<String>,
    is_miri: bool,
}

impl Target {
    fn from_env() -> Target {
        let get = |name: &str| env::var(name).unwrap_or_default();
        let has = |name: &str, word: &str| get(name).split(',').any(|listed| listed == word);
        let sanitizers = get("CARGO_CFG_SANITIZE");
        Target {
            triple: get("TARGET"),
            host: get("HOST"),
            family: get("CARGO_CFG_TARGET_FAMILY"),
            os: get("CARGO_CFG_TARGET_OS"),
            arch: get("CARGO_CFG_TARGET_ARCH"),
            env: get("CARGO_CFG_TARGET_ENV"),
            endian: get("CARGO_CFG_TARGET_ENDIAN"),
            pointer_width: get("CARGO_CFG_TARGET_POINTER_WIDTH"),
            has_atomic64: has("CARGO_CFG_TARGET_HAS_ATOMIC", "64"),
            has_atomics: has("CARGO_CFG_TARGET_FEATURE", "atomics"),
            sanitizers: sanitizers
                .split(',')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            is_miri: env::var_os("CARGO_CFG_MIRI").is_some(),
        }
    }

    fn is_host(&self) -> bool {
        self.triple == self.host
    }

    fn is_unix(&self) -> bool {
        self.family.split(',').any(|family| family == "unix")
    }

    fn is_windows(&self) -> bool {
        self.os == "windows"
    }

    fn is_wasm(&self) -> bool {
        self.family.split(',').any(|family| family == "wasm")
    }

    fn is_msvc(&self) -> bool {
        self.env == "msvc"
    }

    /// The sanitizer brings a `malloc` of its own and needs every call of it.
    fn has_malloc_of_a_sanitizer(&self) -> bool {
        const WITHOUT: [&str; 4] = ["cfi", "kcfi", "safestack", "shadow-call-stack"];
        self.sanitizers.iter().any(|sanitizer| !WITHOUT.contains(&sanitizer.as_str()))
    }

    fn has_sanitizer(&self, name: &str) -> bool {
        self.sanitizers.iter().any(|sanitizer| sanitizer == name)
    }

    /// Their loaders refuse a library with initial-exec variables once the program runs.
    fn has_no_static_tls_to_spare(&self) -> bool {
        self.env == "musl" || self.os == "android"
    }

    /// Of the type `long` in C.
    fn largest_long(&self) -> i64 {
        if self.is_windows() || self.pointer_width != "64" {
            i64::from(i32::MAX)
        } else {
            i64::MAX
        }
    }
}

/// `feature` as it is spelled in Cargo.toml.
fn has_feature(feature: &str) -> bool {
    let name = feature.to_uppercase().replace('-', "_");
    env::var_os(format!("CARGO_FEATURE_{name}")).is_some()
}

fn is_debug() -> bool {
    // Cargo's own variable: whether the profile has debug information.
    let has_information = env::var("DEBUG").map_or(false, |value| value == "true");
    has_feature("debug") || (has_feature("debug_in_debug") && has_information)
}

/// Cargo stops watching the package as soon as one rerun line is printed, and `cc` prints some, so
/// each file is named here; the folders too, for files that come or go.
fn rerun_when_inputs_change() {
    let mut paths = vec![PathBuf::from("build.rs")];
    collect_paths(Path::new("build"), &mut paths);
    collect_paths(Path::new("c_src"), &mut paths);
    paths.sort();
    for path in paths {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

fn collect_paths(dir: &Path, paths: &mut Vec<PathBuf>) {
    paths.push(dir.to_path_buf());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => fail(&format!("cannot read {}: {error}", dir.display())),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_paths(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// Dependents read this as `DEP_MIMALLOC_INCLUDE_DIR`.
fn publish_include_dir() {
    let root = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    println!("cargo:INCLUDE_DIR={}", root.join(INCLUDE_DIR).display());
}

/// An allocator at -O0 slows a whole debug build down, so the profile does not count here; only
/// `debug` and `debug_in_debug` ask for code that a debugger can follow.
fn select_optimisation(build: &mut cc::Build) {
    if is_debug() {
        build.opt_level(1).debug(true);
    } else {
        build.opt_level(3).force_frame_pointer(false);
    }
}

fn select_warnings(build: &mut cc::Build, target: &Target) {
    build.warnings(true).extra_warnings(true);
    if !target.is_msvc() {
        build
            .flag_if_supported("-Wundef")
            .flag_if_supported("-Wshadow")
            .flag_if_supported("-Wstrict-prototypes");
    }
}

/// The knobs of the C library, spelled as in CMakeLists.txt; each is a value, never a mere
/// definition.
fn select_defines(build: &mut cc::Build, target: &Target) {
    if is_debug() {
        build.define("MI_DEBUG", "3").define("MI_SHOW_ERRORS", "1");
    } else {
        build.define("MI_DEBUG", "0").define("NDEBUG", None);
    }
    if has_feature("secure-full") {
        build.define("MI_SECURE", "4");
    } else if has_feature("secure") {
        build.define("MI_SECURE", "1");
    }
    if has_feature("skip-collect-on-exit") {
        build.define("MI_SKIP_COLLECT_ON_EXIT", "1");
    }
    if has_feature("override") && can_override(target) {
        build.define("MI_MALLOC_OVERRIDE", "1");
        if !target.is_windows() {
            // Blocks travel between the program and its shared libraries then; these two make the
            // mi_* functions visible to them. On Windows they would mean a DLL, which this is not.
            build.define("MI_SHARED_LIB", "1").define("MI_SHARED_LIB_EXPORT", "1");
        }
    }
}

/// A replaced `malloc` would be called before the sanitizer's own memory is set up, and the
/// program would crash before `main`.
fn can_override(target: &Target) -> bool {
    if target.has_malloc_of_a_sanitizer() {
        let names = target.sanitizers.join(",");
        warn(&format!("`override` is off: the sanitizer ({names}) brings a malloc of its own"));
        return false;
    }
    if has_feature("asan") && !has_feature("valgrind") {
        warn("`override` is off: AddressSanitizer (feature `asan`) brings a malloc of its own");
        return false;
    }
    true
}

/// Memory checkers: the library tells them where blocks begin and end to exist.
fn select_checker(build: &mut cc::Build, target: &Target) {
    if target.has_sanitizer("address") && !target.is_msvc() {
        // New versions of `cc` watch the C code then. It touches what it has told to be free.
        build.flag("-fno-sanitize=address");
    }
    if has_feature("valgrind") {
        if has_feature("asan") {
            warn("`asan` is off: it does not go together with `valgrind`");
        }
        if !has_headers(build, &["valgrind/memcheck.h"]) {
            fail(
                "the feature `valgrind` needs the header valgrind/memcheck.h.\n\n\
                 \x20 Debian, Ubuntu, Arch   the package valgrind\n\
                 \x20 Fedora, openSUSE       valgrind-devel\n\
                 \x20 Alpine                 valgrind-dev",
            );
        }
        build.define("MI_TRACK_VALGRIND", "1");
    } else if has_feature("asan") {
        if !target.sanitizers.is_empty() && !target.has_sanitizer("address") {
            fail("the feature `asan` is for AddressSanitizer, and rustc was asked for another one");
        }
        if !has_headers(build, &["sanitizer/asan_interface.h"]) {
            fail(
                "the feature `asan` needs the header sanitizer/asan_interface.h. It belongs to \
                 GCC (libasan) and to Clang (compiler-rt).",
            );
        }
        build.define("MI_TRACK_ASAN", "1");
    } else if target.has_sanitizer("thread") {
        // It must see how the allocator hands blocks from thread to thread, or it takes the next
        // use of a block for a race with the one before.
        build.flag("-fsanitize=thread");
    }
}

/// What an option is when neither the program nor its environment says anything: of the build's
/// environment, `MI_DEFAULT_<OPTION>`, in the unit of the option. C checks the range.
fn select_default_options(build: &mut cc::Build, target: &Target) {
    let options = option_names();
    refuse_unknown_options(&options);
    for option in options {
        let variable = format!("MI_DEFAULT_{}", option.to_uppercase());
        println!("cargo:rerun-if-env-changed={variable}");
        let value = match env::var(&variable) {
            Ok(value) => value,
            Err(env::VarError::NotPresent) if option == "allow_thp" && has_feature("no_thp") => {
                "0".to_owned()
            }
            Err(env::VarError::NotPresent) => continue,
            Err(env::VarError::NotUnicode(value)) => value.to_string_lossy().into_owned(),
        };
        let largest = target.largest_long();
        match value.trim().parse::<i64>() {
            Ok(number) if number >= -largest && number <= largest => {
                build.define(&variable, number.to_string().as_str());
            }
            _ => fail(&format!(
                "{variable} is \"{value}\" in the environment of this build.\n\
                 It becomes the default of the option {option} and must be an integer that fits \
                 into a C `long`,\nwithout a unit. Sizes count KiB."
            )),
        }
    }
}

/// Cargo does not start a build again because of such a variable, so this sees those of a first
/// build and of one that another change has started.
fn refuse_unknown_options(options: &[String]) {
    for (variable, _) in env::vars_os() {
        let variable = variable.to_string_lossy();
        let Some(name) = variable.strip_prefix("MI_DEFAULT_") else { continue };
        let name = name.to_lowercase();
        if options.contains(&name) && variable.to_uppercase() == variable {
            continue;
        }
        let nearest = options.iter().min_by_key(|option| distance(&name, option));
        let nearest = nearest.map(|option| option.to_uppercase()).unwrap_or_default();
        fail(&format!(
            "the environment of this build has {variable}, and no option has this name.\n\
             The nearest is MI_DEFAULT_{nearest}."
        ));
    }
}

/// How many characters must be inserted, removed or replaced to make one of the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (k, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[k + 1];
            row[k + 1] = replaced.min(row[k].min(diagonal) + 1);
        }
    }
    row[to.len()]
}

/// The names of the enumeration in the header, without aliases, prefix and `_mi_option_last`, and the
/// options that have no number.
fn option_names() -> Vec<String> {
    let header = match fs::read_to_string(HEADER) {
        Ok(header) => header,
        Err(error) => fail(&format!("cannot read {HEADER}: {error}")),
    };
    let names = header
        .lines()
        .skip_while(|line| !line.starts_with("typedef enum mi_option_e"))
        .take_while(|line| !line.contains("_mi_option_last"))
        .filter_map(|line| line.trim_start().strip_prefix("mi_option_")?.split(',').next());
    names.chain(["show_leaks", "purger"]).map(str::to_owned).collect()
}

fn select_code_generation(build: &mut cc::Build, target: &Target) {
    if target.is_msvc() {
        // C11 atomics still need a switch there.
        build.std("c11").flag_if_supported("/experimental:c11atomics");
        return;
    }
    // With the extensions: inline assembly, and what `_GNU_SOURCE` declares.
    build.std("gnu11");
    // Those that every compiler has are not asked for "if supported": the question is a compilation
    // with the flags of the environment, and where these lead to any warning the answer is no.
    // Two copies of the library in one process must not see each other's symbols.
    build.flag("-fvisibility=hidden");
    // The compiler must not replace what we do by what it knows about malloc.
    build.flag("-fno-builtin-malloc");
    if !flags::is_linker_plugin_lto() {
        // Also where the compiler is called `gcc -flto`.
        build.flag("-fno-lto");
    }
    if !target.is_wasm() {
        // With `override` our functions are visible; calls between them need no look at who else
        // is.
        build.flag_if_supported("-fno-semantic-interposition");
        // A C++ exception of the new-handler passes through mi_new.
        build.flag("-fexceptions");
    }
    if target.is_unix() && !target.is_wasm() {
        // initial-exec is the fastest model for a static library; a library that is loaded with
        // dlopen() finds little room for it, hence the feature, and none at all under musl and
        // Android. In an executable the linker makes the same of both.
        let dynamic = has_feature("local-dynamic-tls") || target.has_no_static_tls_to_spare();
        let model = if dynamic { "local-dynamic" } else { "initial-exec" };
        build.flag(format!("-ftls-model={model}"));
    }
}

/// The listing goes beside the object file in OUT_DIR, not into the current directory.
fn keep_assembly(build: &mut cc::Build, target: &Target) {
    if !has_feature("asm") {
        return;
    }
    if target.is_wasm() {
        // Clang makes the object from the listing then, and does not understand its own.
        warn("`asm` is off: there is no listing for WebAssembly");
    } else {
        build.flag_if_supported("-save-temps=obj");
    }
}

fn link_system_libraries(target: &Target) {
    let libraries: &[&str] = match target.os.as_str() {
        // The libc of these has its threads in a library of their own, at least in old releases.
        // musl, Android and Apple have them in the libc, and a static musl has no such file.
        "linux" if target.env == "gnu" => &["pthread"],
        "freebsd" | "netbsd" | "openbsd" | "dragonfly" | "solaris" | "illumos" => &["pthread"],
        // Windows: kernel32 is always there.
        _ => &[],
    };
    for library in libraries {
        println!("cargo:rustc-link-lib={library}");
    }
    if target.os == "linux" && !target.has_atomic64 {
        // ARMv5, MIPS, PowerPC, RISC-V of 32 bits: the compiler calls libatomic.
        println!("cargo:rustc-link-lib=atomic");
    }
}

/// Stops with advice when there is no C compiler at all; `cc` alone would name a program that the
/// reader may never have heard of.
fn check_compiler(build: &cc::Build, target: &Target) {
    let advice = || advice::install(target);
    let compiler = match build.try_get_compiler() {
        Ok(compiler) => compiler,
        Err(error) => fail(&format!("no C compiler was found ({error}).\n\n{}", advice())),
    };
    // Whether it understands the flag does not matter, only whether there is a program.
    if let Err(error) = Command::new(compiler.path()).arg("--version").output() {
        fail(&format!(
            "the C compiler `{}` cannot be started: {error}.\n\n{}",
            compiler.path().display(),
            advice()
        ));
    }
    if !has_headers(build, &["stdlib.h", "string.h"]) {
        fail(&format!(
            "the compiler `{}` works, but the headers of the C library are missing.\n\n{}",
            compiler.path().display(),
            advice()
        ));
    }
}

/// Of the tools `cc` needs an archiver, too.
fn explain_failed_compilation(target: &Target, error: &cc::Error) {
    eprintln!("\nerror: mimalloc2-rust-sys: the C library did not compile: {error}");
    if error.to_string().starts_with("ToolNotFound") {
        eprintln!("\n{}", advice::install(target));
    }
}

fn has_headers(build: &cc::Build, names: &[&str]) -> bool {
    let out_dir = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let probe = out_dir.join("probe.c");
    let text: String = names.iter().map(|name| format!("#include <{name}>\n")).collect();
    if fs::write(&probe, text).is_err() {
        return true; // the compilation will tell
    }
    let compiler = build.get_compiler();
    let mut command = compiler.to_command();
    command.arg(if compiler.is_like_msvc() { "/EP" } else { "-E" }).arg(&probe);
    !matches!(command.output(), Ok(output) if !output.status.success())
}

/// Cargo shows it, unless the crate comes from a registry.
fn warn(message: &str) {
    println!("cargo:warning={message}");
}

fn fail(message: &str) -> ! {
    eprintln!("\nerror: mimalloc2-rust-sys: {message}");
    exit(1);
}
