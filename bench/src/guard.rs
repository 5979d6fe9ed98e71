//! `guard`: a check that ours has not become slower, by counts that repeat on any machine.
//!
//! Three gates: instructions of a pair of malloc and free, and of the kinds of replace of `count`;
//! system calls and page faults of quick runs of some workloads, each against bounds.toml. Times are printed and not judged. Only ours is
//! built. `--record` writes the bounds. `ci/faults guard` plants a fault for each gate and expects that gate
//! to fail.

use crate::bounds::{self, Bounds, Entry, Gate};
use crate::launch::Launcher;
use crate::library::{self, Library};
use crate::options::Options;
use crate::probe::Prober;
use crate::syscalls::Tracer;
use crate::workload::{self, Workload};
use crate::{count, make};
use std::path::PathBuf;

/// Enough for a digit after the point.
const PAIRS: usize = 500_000;
/// The smallest count of this many runs: a disturbance only adds to a count.
const RUNS: usize = 2;
const NO_HUGE: [(&str, &str); 1] = [("BENCH_NO_HUGE", "1")];

struct Guard {
    bounds: Bounds,
    workloads: Vec<Workload>,
    launcher: Launcher,
    tracer: Tracer,
    prober: Prober,
    pairs: PathBuf,
    replaces: PathBuf,
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
        let list: Vec<String> = above.iter().map(|text| format!("  {text}")).collect();
        return Err(format!("above the bounds of bounds.toml:\n{}", list.join("\n")));
    }
    println!("guard: all counts are within their bounds");
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
            replaces: count::program_of_replaces()?,
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
        for replace in &count::REPLACES {
            let per = count::count_replaces(&self.replaces, library, &proof.path, replace)?;
            let (of, count) = (replace.name.to_owned(), (per * 10.0).round() / 10.0);
            counts.push(Entry { gate: Gate::Replaces, of, count });
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
            "{:<22} {:<15} {:>9.1}  recorded {:>9.1}, at most {:>9.1}{more}",
            entry.gate.name(),
            entry.of,
            entry.count,
            self.bounds.recorded(entry.gate, &entry.of).unwrap_or(0.0),
            self.bounds.bound(entry.gate, &entry.of).unwrap_or(0.0),
        );
    }

    /// What is above its bound.
    fn judge(&self, counts: &[Entry]) -> Vec<String> {
        counts
            .iter()
            .filter_map(|entry| {
                let bound = self.bounds.bound(entry.gate, &entry.of)?;
                let gate = entry.gate.name();
                (entry.count > bound)
                    .then(|| format!("{gate}, {}: {} > {bound:.1}", entry.of, entry.count))
            })
            .collect()
    }
}
