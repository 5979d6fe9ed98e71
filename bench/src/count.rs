//! `count`: instructions per pair of malloc and free, by callgrind.
//!
//! Two runs of the same program that differ only in the number of pairs; the difference of what
//! each shared object executed itself, divided by the difference of pairs. Slow paths that the
//! pairs cause are in it, start and end of the process cancel out.
//!
//! The same of blocks of one size, which the compiler knows: by C, and by Rust's global allocator,
//! which is linked into the program. There the program's own function is left out.
//!
//! And the same of the kinds of replace in workloads/replaces.c, with all that the library calls.

use crate::library::Library;
use crate::options::Options;
use crate::probe::Proof;
use crate::tools::{self, output};
use crate::{machine, race};
use serde_json::{json, Map, Value};
use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAIRS: usize = 1_000_000;
const QUICK_PAIRS: usize = 100_000;
const LIVE: [usize; 2] = [64, 4096];
/// Bytes of all blocks where the size is constant, as in rust/programs/src/pairs.rs.
const CONSTANT: usize = 48;
const CONSTANT_LIVE: usize = 64;
/// The functions that only call the allocator.
const DRIVER: &str = "pairs::run";

/// A row of the second table: arguments of workloads/replaces.c, and at most so many instructions.
pub struct Replace {
    pub name: &'static str,
    kind: &'static str,
    live: usize,
    sizes: [usize; 2],
    target: u32,
}

const fn replace(
    name: &'static str,
    kind: &'static str,
    live: usize,
    sizes: [usize; 2],
    target: u32,
) -> Replace {
    Replace { name, kind, live, sizes, target }
}

const KIB: usize = 1024;
pub const REPLACES: [Replace; 9] = [
    replace("16-400", "malloc", 64, [16, 400], 30),
    replace("16-1000", "malloc", 4096, [16, 1000], 32),
    replace("1K-8K", "malloc", 256, [KIB, 8 * KIB], 61),
    replace("8K-64K", "malloc", 256, [8 * KIB, 64 * KIB], 61),
    replace("64K-1M", "malloc", 64, [64 * KIB + 1, 1024 * KIB], 176),
    replace("batch-1K-32K", "batch", 1000, [KIB, 32 * KIB], 126),
    replace("calloc-16-400", "calloc", 64, [16, 400], 66),
    replace("realloc-16-2000", "realloc", 64, [16, 2000], 86),
    replace("grow-8K", "grow", 64, [64, 8 * KIB], 71),
];
/// In the shorter run; for the slow paths a multiple of all live blocks and their rounds.
pub const REPLACED: usize = 100_000;

/// Instructions by the path of the object that executed them, and the name of the function.
type Profile = HashMap<(String, String), u64>;

/// Per pair.
pub struct Count {
    /// In the allocator's own shared object.
    pub library: f64,
    /// In it and in all that it calls (C library, dynamic linker): all but the program.
    outside: f64,
}

pub fn run(options: &Options) -> Result<Value, String> {
    output(Command::new("valgrind").arg("--version"))?;
    let live = options.live.clone().unwrap_or(LIVE.to_vec());
    let pairs = options.pairs.unwrap_or(if options.quick { QUICK_PAIRS } else { PAIRS });
    let libraries = race::proven(options)?;
    let program = program()?;

    println!("instructions per pair, in the library / in it and all that it calls");
    print!("{:<10}", "");
    for live in &live {
        print!(" {:>20}", format!("{live} live"));
    }
    let constant = format!("{CONSTANT} bytes: C, Rust");
    println!(" {constant:>20}  version");
    let mut rows = Map::new();
    let mut failures = Vec::new();
    for (library, proof) in &libraries {
        print!("{:<10}", library.name);
        let mut row = Map::new();
        for live in &live {
            let shown = match count(&program, library, &proof.path, *live, pairs) {
                Ok(c) => {
                    row.insert(
                        live.to_string(),
                        json!({ "library": tenths(c.library), "outside": tenths(c.outside) }),
                    );
                    format!("{:.1} / {:.1}", c.library, c.outside)
                }
                Err(why) => {
                    row.insert(live.to_string(), json!({ "failed": why }));
                    failures.push(format!("{} with {live} live: {why}", library.name));
                    "does not start".to_owned()
                }
            };
            print!(" {shown:>20}");
        }
        let c = constant_in_c(&program, library, &proof.path, pairs);
        let rust = constant_in_rust(library, pairs);
        let shown = |count: &Result<f64, String>| {
            count.as_ref().map_or("-".to_owned(), |count| format!("{count:.1}"))
        };
        println!(" {:>20}  {}", format!("{}, {}", shown(&c), shown(&rust)), proof.version);
        let kept = |count: Result<f64, String>| count.ok().map(tenths);
        row.insert("constant".to_owned(), json!({ "c": kept(c), "rust": kept(rust) }));
        row.insert("version".to_owned(), json!(proof.version));
        rows.insert(library.name.clone(), Value::Object(row));
    }
    let replaces = table_of_replaces(&libraries, &mut failures)?;
    for failure in failures {
        println!("{}", failure.lines().next().unwrap_or_default());
    }
    let report = json!({
        "date": machine::date(),
        "machine": machine::describe(),
        "command": machine::command(),
        "valgrind": tools::first_line("valgrind", &["--version"]),
        "what": "instructions per pair of free and malloc, 16 to 400 bytes, by live blocks",
        "pairs": pairs,
        "counts": rows,
        "replaced": REPLACED,
        "replaces": replaces,
    });
    Ok(report)
}

/// The program whose instructions are counted.
pub fn program() -> Result<PathBuf, String> {
    tools::compile(&tools::root().join("workloads/pairs.c"), &["-fno-builtin"])
}

/// The second table: a line for each kind of replace, a column for each library.
fn table_of_replaces(
    libraries: &[(Library, Proof)],
    failures: &mut Vec<String>,
) -> Result<Map<String, Value>, String> {
    let program = program_of_replaces()?;
    println!("\ninstructions per replace, in the library and all that it calls");
    print!("{:<16} {:>8}", "", "target");
    libraries.iter().for_each(|(library, _)| print!(" {:>10}", library.name));
    println!();
    let mut rows = Map::new();
    for replace in &REPLACES {
        print!("{:<16} {:>8}", replace.name, replace.target);
        let mut row = Map::new();
        row.insert("target".to_owned(), json!(replace.target));
        for (library, proof) in libraries {
            let shown = match count_replaces(&program, library, &proof.path, replace) {
                Ok(count) => {
                    row.insert(library.name.clone(), json!(tenths(count)));
                    format!("{count:.1}")
                }
                Err(why) => {
                    failures.push(format!("{} with {}: {why}", library.name, replace.name));
                    "-".to_owned()
                }
            };
            print!(" {shown:>10}");
            let _ = std::io::stdout().flush();
        }
        println!();
        rows.insert(replace.name.to_owned(), Value::Object(row));
    }
    Ok(rows)
}

pub fn program_of_replaces() -> Result<PathBuf, String> {
    tools::compile(&tools::root().join("workloads/replaces.c"), &["-fno-builtin"])
}

pub fn count_replaces(
    program: &Path,
    library: &Library,
    object: &Path,
    replace: &Replace,
) -> Result<f64, String> {
    let run = |count: usize| {
        let [smallest, largest] = replace.sizes;
        let numbers = [replace.live, count, smallest, largest].map(|n| n.to_string());
        callgrind(program, Some(library), &[&[replace.kind.to_owned()], &numbers[..]].concat())
    };
    Ok(of_pairs(&run(REPLACED)?, &run(2 * REPLACED)?, object, program, REPLACED)?.outside)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// One name for a file that is reached through links: /lib is /usr/lib.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or(path.to_owned())
}

pub fn count(
    program: &Path,
    library: &Library,
    object: &Path,
    live: usize,
    pairs: usize,
) -> Result<Count, String> {
    let run =
        |pairs: usize| callgrind(program, Some(library), &[live.to_string(), pairs.to_string()]);
    of_pairs(&run(pairs)?, &run(2 * pairs)?, object, program, pairs)
}

fn of_pairs(
    short: &Profile,
    long: &Profile,
    object: &Path,
    program: &Path,
    pairs: usize,
) -> Result<Count, String> {
    let (object, program) = (real(object), real(program));
    // Callgrind names no object for code in a section of its own: tcmalloc's fast paths.
    let inside = more(short, long, |name, _| name == "???" || real(Path::new(name)) == object);
    let outside = more(short, long, |name, _| real(Path::new(name)) != program);
    if inside <= 0.0 {
        return Err("no instruction was executed in it".to_owned());
    }
    Ok(Count { library: inside / pairs as f64, outside: outside / pairs as f64 })
}

/// What the longer run executed more, in the objects and functions that are wanted.
fn more(short: &Profile, long: &Profile, wanted: impl Fn(&str, &str) -> bool) -> f64 {
    long.iter()
        .filter(|((object, function), _)| wanted(object, function))
        .map(|(key, count)| *count as f64 - short.get(key).copied().unwrap_or(0) as f64)
        .sum()
}

fn constant_in_c(
    program: &Path,
    library: &Library,
    object: &Path,
    pairs: usize,
) -> Result<f64, String> {
    let size = CONSTANT.to_string();
    let run = |pairs: usize| {
        let numbers = [CONSTANT_LIVE.to_string(), pairs.to_string(), size.clone(), size.clone()];
        callgrind(program, Some(library), &numbers)
    };
    Ok(of_pairs(&run(pairs)?, &run(2 * pairs)?, object, program, pairs)?.library)
}

/// Of the libraries that have a Rust crate of a global allocator.
fn constant_in_rust(library: &Library, pairs: usize) -> Result<f64, String> {
    if !tools::root().join("rust").join(&library.name).is_dir() {
        return Err("no crate".to_owned());
    }
    let program = tools::out().join("rust").join(&library.name).join("rust-programs");
    let run = |pairs: usize| {
        let numbers = ["pairs".to_owned(), CONSTANT_LIVE.to_string(), pairs.to_string()];
        callgrind(&program, None, &numbers)
    };
    let more = more(&run(pairs)?, &run(2 * pairs)?, |_, function| !function.contains(DRIVER));
    Ok(more / pairs as f64)
}

fn callgrind(
    program: &Path,
    library: Option<&Library>,
    numbers: &[String],
) -> Result<Profile, String> {
    let dir = tools::out().join("scratch");
    tools::make_dir(&dir)?;
    let profile: PathBuf = dir.join("callgrind");
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(numbers);
    // The program checks here too that malloc is of this library.
    match library.and_then(Library::file) {
        Some(file) => command.env("LD_PRELOAD", &file).env("BENCH_LIBRARY", &file),
        None => command.env_remove("LD_PRELOAD").env_remove("BENCH_LIBRARY"),
    };
    output(&mut command)?;
    Ok(by_function(&tools::read(&profile)?))
}

/// Self cost by function. In callgrind's format `ob=` opens an object and `fn=` a function, a line
/// that begins with a position carries self cost, and the one line after `calls=` the cost of the
/// callee, which is counted where the callee is listed.
fn by_function(text: &str) -> Profile {
    let (mut objects, mut functions) = (HashMap::new(), HashMap::new());
    let mut profile = Profile::new();
    let mut current = (String::new(), String::new());
    let mut callee_line = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("ob=") {
            current.0 = named(rest, &mut objects);
        } else if let Some(rest) = line.strip_prefix("cob=") {
            named(rest, &mut objects);
        } else if let Some(rest) = line.strip_prefix("fn=") {
            current.1 = named(rest, &mut functions);
        } else if let Some(rest) = line.strip_prefix("cfn=") {
            named(rest, &mut functions);
        } else if line.starts_with("calls=") {
            callee_line = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            if !callee_line {
                let cost = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
                *profile.entry(current.clone()).or_default() += cost.unwrap_or(0);
            }
            callee_line = false;
        }
    }
    profile
}

/// "(3) /usr/lib/x.so" defines 3, "(3)" refers to it.
fn named<'a>(text: &'a str, names: &mut HashMap<&'a str, &'a str>) -> String {
    let (id, name) = text.split_once(' ').unwrap_or((text, ""));
    if !name.is_empty() {
        names.insert(id, name);
    }
    names.get(id).copied().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn self_cost_is_summed_without_the_lines_of_callees() {
        let text = "events: Ir\n\
            ob=(1) /bin/program\nfl=(1) a.c\nfn=(1) main\n16 4\n+1 6\n\
            cob=(2) /lib/x.so\ncfn=(2) malloc\ncalls=1 0\n* 500\n* 1\n\
            ob=(2)\nfn=(2)\n0 20\n";
        let profile = by_function(text);
        let of = |object: &str, function: &str| profile[&(object.into(), function.into())];
        assert_eq!(of("/bin/program", "main"), 11);
        assert_eq!(of("/lib/x.so", "malloc"), 20);
        let none = Profile::new();
        assert_eq!(more(&none, &profile, |_, function| function != "main"), 20.0);
    }
}
