//! `count`: instructions per pair of malloc and free, by callgrind.
//!
//! Two runs of the same program that differ only in the number of pairs; the difference of what
//! each shared object executed itself, divided by the difference of pairs. Slow paths that the
//! pairs cause are in it, start and end of the process cancel out.

use crate::library::Library;
use crate::tools::{self, output};
use crate::{machine, race, Options};
use serde_json::{json, Map, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAIRS: usize = 1_000_000;
const QUICK_PAIRS: usize = 100_000;
const LIVE: [usize; 2] = [64, 4096];

/// Instructions by the path of the object that executed them.
type Objects = HashMap<String, u64>;

/// Per pair.
pub struct Count {
    /// In the allocator's own shared object.
    pub library: f64,
    /// In it and in all that it calls (C library, dynamic linker): all but the program.
    outside: f64,
}

pub fn run(options: &Options) -> Result<(), String> {
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
    println!("  version");
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
        println!("  {}", proof.version);
        row.insert("version".to_owned(), json!(proof.version));
        rows.insert(library.name.clone(), Value::Object(row));
    }
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
    });
    tools::keep(&options.stem("count"), &report)
}

/// The program whose instructions are counted.
pub fn program() -> Result<PathBuf, String> {
    tools::compile(&tools::root().join("workloads/pairs.c"), &["-fno-builtin"])
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
    let short = callgrind(program, library, live, pairs)?;
    let long = callgrind(program, library, live, 2 * pairs)?;
    let (object, program) = (real(object), real(program));
    let mut inside = 0.0;
    let mut outside = 0.0;
    for (name, instructions) in &long {
        let more = *instructions as f64 - short.get(name).copied().unwrap_or(0) as f64;
        // Code in a section of its own has no object for callgrind: tcmalloc's fast paths.
        if name == "???" || real(Path::new(name)) == object {
            inside += more;
        }
        if real(Path::new(name)) != program {
            outside += more;
        }
    }
    if inside <= 0.0 {
        return Err("no instruction was executed in it".to_owned());
    }
    Ok(Count { library: inside / pairs as f64, outside: outside / pairs as f64 })
}

fn callgrind(
    program: &Path,
    library: &Library,
    live: usize,
    pairs: usize,
) -> Result<Objects, String> {
    let dir = tools::out().join("scratch");
    tools::make_dir(&dir)?;
    let profile: PathBuf = dir.join("callgrind");
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args([live.to_string(), pairs.to_string()]);
    // The program checks that malloc is of this library, also in here.
    match library.file() {
        Some(file) => command.env("LD_PRELOAD", &file).env("BENCH_LIBRARY", &file),
        None => command.env_remove("LD_PRELOAD").env_remove("BENCH_LIBRARY"),
    };
    output(&mut command)?;
    Ok(by_object(&tools::read(&profile)?))
}

/// Self cost by object. In callgrind's format `ob=` opens an object, a line that begins with a
/// position carries self cost, and the one line after `calls=` the cost of the callee, which
/// is counted where the callee is listed.
fn by_object(profile: &str) -> Objects {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut objects = Objects::new();
    let mut current = String::new();
    let mut callee_line = false;
    for line in profile.lines() {
        if let Some(rest) = line.strip_prefix("ob=") {
            current = named(rest, &mut names);
        } else if let Some(rest) = line.strip_prefix("cob=") {
            named(rest, &mut names);
        } else if line.starts_with("calls=") {
            callee_line = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            if !callee_line {
                let cost = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
                *objects.entry(current.clone()).or_default() += cost.unwrap_or(0);
            }
            callee_line = false;
        }
    }
    objects
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
    fn self_cost_is_summed_by_object_without_the_lines_of_callees() {
        let profile = "events: Ir\n\
            ob=(1) /bin/program\nfl=(1) a.c\nfn=(1) main\n16 4\n+1 6\n\
            cob=(2) /lib/x.so\ncfn=(2) malloc\ncalls=1 0\n* 500\n* 1\n\
            ob=(2)\nfn=(2)\n0 20\n";
        let objects = by_object(profile);
        assert_eq!(objects["/bin/program"], 11);
        assert_eq!(objects["/lib/x.so"], 20);
    }
}
