//! The Rust workloads: what programs in Rust ask of a global allocator.
//!
//! `rust-programs WORKLOAD [NUMBER...]` runs one of them and prints a checksum that depends
//! neither on threads nor on addresses. Each package beside this one names an allocator and calls
//! [`main`]. Nothing here knows which allocator serves.

mod rng;

mod aligned;
mod boxes;
mod btree;
mod channels;
mod compress;
mod futures;
mod graph;
mod hashmap;
mod interpreter;
mod json;
mod pairs;
mod regexes;
mod scopes;
mod strings;
mod vectors;
mod zeroed;

use std::process::ExitCode;

/// A workload: its numbers in, its checksum out.
type Workload = fn(&[usize]) -> u64;

/// Name, how many numbers it takes, what runs.
const WORKLOADS: [(&str, usize, Workload); 16] = [
    ("aligned", 1, aligned::run),
    ("boxes", 2, boxes::run),
    ("btree", 1, btree::run),
    ("channels", 2, channels::run),
    ("compress", 1, compress::run),
    ("futures", 2, futures::run),
    ("graph", 2, graph::run),
    ("hashmap", 1, hashmap::run),
    ("interpreter", 1, interpreter::run),
    ("json", 1, json::run),
    ("pairs", 2, pairs::run),
    ("regex", 1, regexes::run),
    ("scopes", 2, scopes::run),
    ("strings", 1, strings::run),
    ("vectors", 1, vectors::run),
    ("zeroed", 1, zeroed::run),
];

/// Runs the workload `name`, or says why it cannot.
pub fn run(name: &str, args: &[String]) -> Result<u64, String> {
    let (_, count, workload) =
        WORKLOADS.iter().find(|w| w.0 == name).ok_or(format!("no workload is called '{name}'"))?;
    let numbers: Vec<usize> = args
        .iter()
        .map(|a| a.parse().ok().filter(|n| *n > 0).ok_or(format!("'{a}' is not a positive number")))
        .collect::<Result<_, _>>()?;
    if numbers.len() != *count {
        return Err(format!("{name} takes {count} number(s)"));
    }
    Ok(workload(&numbers))
}

/// `main` of a package whose allocator answers `mi_version`, which has to be one of these releases.
/// A macro, because only such a package has the function.
#[macro_export]
macro_rules! main_with_mi_version {
    ($releases:pat) => {
        extern "C" {
            fn mi_version() -> std::ffi::c_int;
        }

        fn check() -> Result<(), String> {
            // SAFETY: takes nothing and only returns a constant.
            match unsafe { mi_version() } {
                $releases => Ok(()),
                other => Err(format!("mi_version() is {other}")),
            }
        }

        fn main() -> std::process::ExitCode {
            $crate::main(check)
        }
    };
}

/// The whole program. `allocator` proves that the package's allocator serves.
pub fn main(allocator: fn() -> Result<(), String>) -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = allocator().and_then(|()| {
        if name == "check" {
            return Ok(None);
        }
        run(&name, &rest).map(Some)
    });
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(checksum)) => {
            println!("rust-{name} seed={} checksum={checksum:016x}", rng::SEED);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("rust-programs: {why}");
            ExitCode::from(2)
        }
    }
}
