//! `scaling`: the workloads that take a number of threads, with 1, 2, 4, ... up to the cores.
//!
//! A workload says by `threads_arg` which of its arguments the number is. Most of them do as much in
//! each thread as with one, so that a level line is the best there can be.

use crate::figures::Measure;
use crate::launch::Launcher;
use crate::options::Options;
use crate::race::{header, proven, race_one, workload_json};
use crate::workload;
use serde_json::{json, Map, Value};

const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

pub fn run(options: &Options) -> Result<Option<Value>, String> {
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let mut chosen = workload::chosen(options)?;
    chosen.ready.retain(|w| w.threads_arg.is_some());
    if chosen.ready.is_empty() {
        println!("scaling: no workload of these has `threads_arg`");
        return Ok(None);
    }
    let libraries = proven(options)?;
    let launcher = Launcher::new()?;
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let counts: Vec<usize> = THREADS.into_iter().filter(|n| *n <= cores).collect();
    let mut workloads = Vec::new();
    for workload in &chosen.ready {
        let (mut times, mut runs) = (Map::new(), Map::new());
        for (library, _) in &libraries {
            times.insert(library.name.clone(), json!({}));
        }
        for threads in &counts {
            let Some(scaled) = workload.with_threads(*threads) else { continue };
            print!("{threads:>2} threads: ");
            let (cells, answer) = race_one(&launcher, &scaled, &libraries, rounds);
            for ((library, _), cell) in libraries.iter().zip(&cells) {
                if let Some(time) = cell.done().and_then(|s| Measure::TimeMin.of(s)) {
                    times[&library.name][threads.to_string()] = json!(time);
                }
            }
            let row = workload_json(&scaled, &libraries, &cells, &answer);
            runs.insert(threads.to_string(), row);
        }
        workloads.push(json!({ "name": workload.name, "time_min": times, "runs": runs }));
    }
    let mut report = header(&libraries, rounds, options.quick);
    report["threads"] = json!(counts);
    report["workloads"] = Value::Array(workloads);
    Ok(Some(report))
}
