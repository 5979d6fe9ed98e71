//! `guard`: a check that ours has not become slower, from counts that repeat on any machine.
//!
//! Three gates: instructions of a pair of malloc and free, system calls and page faults of quick
//! runs of some workloads, each against bounds.toml. Times are printed and not judged. Only ours is
//! built. `--record` writes the bounds, `--self-test` plants a fault for each gate and expects that
//! gate to fail.

use crate::bounds::{self, Bounds, Entry, Gate};
use crate::launch::Launcher;
use crate::library::{self, Kind, Library};
use crate::probe::Prober;
use crate::syscalls::Tracer;
use crate::workload::{self, Workload};
use crate::{count, make, tools, Options};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Enough for a digit behind the point.
const PAIRS: usize = 500_000;
/// The smallest count of this many runs: what disturbs a run only adds to it.
const RUNS: usize = 2;
const NO_HUGE: [(&str, &str); 1] = [("BENCH_NO_HUGE", "1")];

/// A change that must be found: text put behind the only place where `after` stands in `file`.
struct Fault {
    name: &'static str,
    gate: Gate,
    file: &'static str,
    after: &'static str,
    insert: &'static str,
}

const FAULTS: [Fault; 3] = [
    Fault {
        name: "loop",
        gate: Gate::Instructions,
        file: "src/alloc.h",
        after: "static inline void* alloc_any_in(heap_t* heap, size_t size) {",
        insert: "for (volatile int turn = 0; turn < 1; turn++) {\n}",
    },
    Fault {
        name: "purge",
        gate: Gate::Calls,
        file: "src/arena.c",
        after: "static long purge_delay_ms(void) {",
        insert: "return 0;",
    },
    Fault {
        name: "carve",
        gate: Gate::Faults,
        file: "src/page.c",
        after: "INTERNAL block_t* page_carve(page_t* page, size_t* count) {",
        insert: "for (size_t at = page->capacity; at < page->reserved; at++)\n\
            *(volatile char*)(page_start(page) + at * page->block_size) = 0;",
    },
];

struct Guard {
    bounds: Bounds,
    workloads: Vec<Workload>,
    launcher: Launcher,
    tracer: Tracer,
    prober: Prober,
    pairs: PathBuf,
}

pub fn run(options: &Options) -> Result<(), String> {
    let guard = Guard::new(options.record)?;
    let ours = library::ours()?;
    make::build(&ours)?;
    let counts = guard.measure(&ours)?;
    if options.record {
        let args: Vec<_> =
            guard.workloads.iter().map(|w| (w.name.clone(), w.args.join(" "))).collect();
        bounds::record(&counts, &args)?;
        println!("recorded in bounds.toml");
        return Ok(());
    }
    let above = guard.judge(&counts);
    if !above.is_empty() {
        let list: Vec<String> = above.iter().map(|(_, text)| format!("  {text}")).collect();
        return Err(format!("above the bounds of bounds.toml:\n{}", list.join("\n")));
    }
    println!("guard: all counts are within their bounds");
    if options.self_test {
        guard.self_test()?;
    }
    Ok(())
}

impl Guard {
    fn new(record: bool) -> Result<Guard, String> {
        let bounds = bounds::read()?;
        let options = Options {
            only: Some(bounds.workloads.iter().map(|w| w.name.clone()).collect()),
            quick: true,
            ..Options::default()
        };
        let chosen = workload::chosen(&options)?;
        if let Some((name, why)) = chosen.missing.first() {
            return Err(format!("workload {name}: {why}"));
        }
        for (workload, listed) in chosen
            .ready
            .iter()
            .flat_map(|w| bounds.workloads.iter().filter(|l| l.name == w.name).map(move |l| (w, l)))
        {
            if !record && workload.args.join(" ") != listed.args {
                return Err(format!(
                    "the quick arguments of {} are no longer '{}': guard --record",
                    listed.name, listed.args
                ));
            }
        }
        Ok(Guard {
            bounds,
            workloads: chosen.ready,
            launcher: Launcher::new()?,
            tracer: Tracer::new()?,
            prober: Prober::new()?,
            pairs: count::program()?,
        })
    }

    fn measure(&self, library: &Library) -> Result<Vec<Entry>, String> {
        let proof = self.prober.probe(library)?;
        let mut counts = Vec::new();
        for live in &self.bounds.live {
            let pair = count::count(&self.pairs, library, &proof.path, *live, PAIRS)?;
            let count = (pair.library * 10.0).round() / 10.0;
            counts.push(Entry { gate: Gate::Instructions, of: live.to_string(), count });
            self.print(&counts[counts.len() - 1], "");
        }
        for workload in &self.workloads {
            let start = workload.start(library).ok_or(format!("{}: no program", workload.name))?;
            let (mut calls, mut faults, mut time) = (u64::MAX, u64::MAX, u64::MAX);
            for _ in 0..RUNS {
                let preload = start.preload.as_deref();
                let (run, _) = self.launcher.run_with(&start.job, preload, &NO_HUGE)?;
                faults = faults.min(run.minor_faults + run.major_faults);
                time = time.min(run.wall_ns);
                calls = calls.min(self.tracer.count(&self.launcher, &start, &NO_HUGE)?.total);
            }
            let time = format!("  ({:.2} s)", time as f64 / 1e9);
            for (gate, count) in [(Gate::Calls, calls), (Gate::Faults, faults)] {
                counts.push(Entry { gate, of: workload.name.clone(), count: count as f64 });
                self.print(&counts[counts.len() - 1], if gate == Gate::Calls { &time } else { "" });
            }
        }
        Ok(counts)
    }

    fn print(&self, entry: &Entry, more: &str) {
        println!(
            "{:<22} {:<12} {:>9.1}  recorded {:>9.1}, at most {:>9.1}{more}",
            entry.gate.name(),
            entry.of,
            entry.count,
            self.bounds.recorded(entry.gate, &entry.of).unwrap_or(0.0),
            self.bounds.bound(entry.gate, &entry.of).unwrap_or(0.0),
        );
    }

    /// What is above its bound.
    fn judge(&self, counts: &[Entry]) -> Vec<(Gate, String)> {
        counts
            .iter()
            .filter_map(|entry| {
                let bound = self.bounds.bound(entry.gate, &entry.of)?;
                let gate = entry.gate.name();
                (entry.count > bound).then(|| {
                    let text = format!("{gate}, {}: {} > {bound:.1}", entry.of, entry.count);
                    (entry.gate, text)
                })
            })
            .collect()
    }

    fn self_test(&self) -> Result<(), String> {
        let mut missed = Vec::new();
        for fault in &FAULTS {
            println!("\nplanted: {} in {}", fault.name, fault.file);
            let counts = self.measure(&planted(fault)?)?;
            let above = self.judge(&counts);
            for (_, text) in &above {
                println!("found: {text}");
            }
            if !above.iter().any(|(gate, _)| *gate == fault.gate) {
                missed.push(format!("{} did not show in {}", fault.name, fault.gate.name()));
            }
        }
        if !missed.is_empty() {
            return Err(format!("self-test: {}", missed.join("; ")));
        }
        println!("\nguard: each gate failed on the fault that was planted for it");
        Ok(())
    }
}

/// Builds a copy of ours with one fault.
fn planted(fault: &Fault) -> Result<Library, String> {
    let ours = library::ours()?;
    let Kind::Cmake { source, file } = &ours.kind else {
        return Err("ours is not built by CMake".to_owned());
    };
    let dir = tools::out().join("planted").join(fault.name);
    let copy = dir.join("c_src");
    let _ = std::fs::remove_dir_all(&copy);
    tools::make_dir(&dir)?;
    tools::output(Command::new("cp").arg("-R").arg(tools::root().join(source)).arg(&copy))?;
    plant(fault, &copy.join(fault.file))?;
    let library = Library {
        name: format!("planted-{}", fault.name),
        label: ours.label.clone(),
        // As libraries.toml has it, relative to this package.
        kind: Kind::Cmake { source: tools::shown(&copy), file: file.clone() },
        version: None,
        by_name: false,
    };
    make::build(&library)?;
    Ok(library)
}

fn plant(fault: &Fault, file: &Path) -> Result<(), String> {
    let text = tools::read(file)?;
    let [before, after] = text.split(fault.after).collect::<Vec<_>>()[..] else {
        return Err(format!("{}: `{}` does not stand there once", fault.file, fault.after));
    };
    tools::write(file, &format!("{before}{}\n{}\n{after}", fault.after, fault.insert))
}
