//! Flags of the environment that do not fit (`CFLAGS`, and the variables for one target).
//!
//! `cc` puts the flags of the environment behind ours, so that they win. That is right for most of
//! them: a distribution chooses how to optimise and to harden. Those below make an object that
//! Rust's linker cannot use, or take away what the allocator stands on. They are removed from the
//! variables before `cc` reads them.

use std::env;

use crate::{has_feature, warn, Target};

/// A group of flags with one reason; a `*` at the end stands for anything.
struct Unfit {
    flags: &'static [&'static str],
    why: &'static str,
    /// Who sets such a flag waits for its effect, so a warning says that there is none.
    is_missed: bool,
}

const UNFIT: &[Unfit] = &[
    Unfit {
        flags: &[
            "-flto*",
            "-ffat-lto-objects",
            "-fno-fat-lto-objects",
            "-fuse-linker-plugin",
            "-fwhole-program*",
            "-fsplit-lto-unit",
            "-fvirtual-function-elimination",
        ],
        why: "Rust's linker needs machine code with visible names (where rustc itself is told \
              `-Clinker-plugin-lto`, the C code takes part in it)",
        is_missed: false,
    },
    Unfit {
        flags: &["-fsanitize*", "-fno-sanitize*"],
        why: "an allocator touches freed memory, and Rust links the runtime of its own sanitizers \
              only; see the feature `asan`",
        is_missed: true,
    },
    Unfit {
        flags: &[
            "--coverage",
            "-coverage",
            "-ftest-coverage",
            "-fcoverage-mapping",
            "-fcondition-coverage",
            "-fprofile-arcs",
            "-fprofile-generate*",
            "-fprofile-instr-generate*",
            "-fcs-profile-generate*",
            "-fmemory-profile*",
            "-finstrument-functions*",
            "-fxray-instrument",
            "-pg",
        ],
        why: "the code would call a runtime that Rust does not link, and that allocates",
        is_missed: true,
    },
    Unfit {
        flags: &["-Werror*", "-pedantic-errors", "/WX", "-WX"],
        why: "a compiler that is newer than this source may know new warnings",
        is_missed: false,
    },
    Unfit {
        flags: &["-fpie", "-fPIE", "-fno-pic", "-fno-PIC", "-fno-pie", "-fno-PIE", "-fsplit-stack"],
        why: "the object may become part of a shared library",
        is_missed: false,
    },
    Unfit {
        flags: &["-std=*", "-ansi", "-fno-asm"],
        why: "the source is C11 with inline assembly",
        is_missed: false,
    },
    Unfit {
        flags: &["-fvisibility*", "-ftls-model=*", "-fno-exceptions", "-fbuiltin*"],
        why: "the build script chooses it by target and feature",
        is_missed: false,
    },
];

/// The flags behind these belong to another program.
const WITH_ARGUMENT: &[&str] = &["-Xclang", "-Xlinker", "-Xassembler", "-Xpreprocessor", "-mllvm"];

/// Takes what does not fit out of the variables that `cc` reads. The build script has one thread.
pub(crate) fn remove_unfit(target: &Target) {
    for name in variables(&target.triple) {
        let Some(value) = env::var_os(&name) else { continue };
        let value = value.to_string_lossy().into_owned();
        let mut fit = Vec::new();
        let (mut is_argument, mut is_changed) = (false, false);
        for flag in value.split_ascii_whitespace() {
            match reason(flag, target) {
                Some((why, is_missed)) if !is_argument => {
                    tell(&name, flag, why, is_missed);
                    is_changed = true;
                }
                _ => fit.push(flag),
            }
            is_argument = WITH_ARGUMENT.contains(&flag);
        }
        if is_changed {
            env::set_var(&name, fit.join(" "));
        }
    }
}

/// Linking is by LLVM then; `cc` passes on to Clang what that needs.
pub(crate) fn is_linker_plugin_lto() -> bool {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    flags.contains("linker-plugin-lto")
}

/// Those that versions of `cc` read.
fn variables(triple: &str) -> [String; 5] {
    [
        "CFLAGS".to_owned(),
        "HOST_CFLAGS".to_owned(),
        "TARGET_CFLAGS".to_owned(),
        format!("CFLAGS_{triple}"),
        format!("CFLAGS_{}", triple.replace('-', "_")),
    ]
}

/// Why the flag does not fit, and whether its effect will be missed.
fn reason(flag: &str, target: &Target) -> Option<(&'static str, bool)> {
    // With CC_SHELL_ESCAPED_FLAGS it may stand in quotes.
    let flag = flag.trim_matches(|c| c == '"' || c == '\'');
    if is_of_another_width(flag, target) {
        return Some(("Cargo chooses the target", true));
    }
    if is_of_the_same_sanitizer(flag, target) && !has_feature("asan") {
        return None;
    }
    let unfit = UNFIT.iter().find(|unfit| unfit.flags.iter().any(|known| matches(flag, known)))?;
    Some((unfit.why, unfit.is_missed))
}

/// rustc links the runtime, so the C code may take part. A fuzzer comes with a sanitizer.
fn is_of_the_same_sanitizer(flag: &str, target: &Target) -> bool {
    if target.sanitizers.is_empty() {
        return false;
    }
    match flag.strip_prefix("-fsanitize=") {
        Some(names) => {
            names.split(',').all(|name| target.has_sanitizer(name) || name.starts_with("fuzzer"))
        }
        None => flag.contains("sanitize-"),
    }
}

fn matches(flag: &str, known: &str) -> bool {
    match known.strip_suffix('*') {
        Some(start) => flag.starts_with(start),
        None => flag == known,
    }
}

/// `cc` itself passes the right one where the compiler needs to be told.
fn is_of_another_width(flag: &str, target: &Target) -> bool {
    match flag {
        "-m16" | "-mx32" => true,
        "-m31" | "-m32" => target.pointer_width != "32",
        "-m64" => target.pointer_width != "64",
        _ => false,
    }
}

fn tell(variable: &str, flag: &str, why: &str, is_missed: bool) {
    let text = format!("{flag} of {variable} is left out: {why}");
    if is_missed {
        warn(&text);
    } else {
        // Cargo keeps it in the file `output` of this build and shows it with -vv.
        println!("{text}");
    }
}
