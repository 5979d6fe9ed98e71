//! `race`: all workloads under all allocators, interleaved.

use crate::figures::{Cell, Measure, Sample};
use crate::launch::{Launcher, Run};
use crate::library::{self, Library};
use crate::options::Options;
use crate::probe::{Prober, Proof};
use crate::syscalls::Tracer;
use crate::workload::{self, Kind, Start, Workload};
use crate::{machine, record};
use serde_json::{json, Map, Value};
use std::io::Write;

const ROUNDS: usize = 5;
const QUICK_ROUNDS: usize = 2;

/// Those that pass the probe; the others are named with the reason.
pub fn proven(options: &Options) -> Result<Vec<(Library, Proof)>, String> {
    let prober = Prober::new()?;
    let mut ready = Vec::new();
    for library in library::chosen(options)? {
        match prober.probe(&library) {
            Ok(proof) => ready.push((library, proof)),
            Err(why) => println!("{} does not take part: {why}", library.name),
        }
    }
    if ready.iter().any(|(library, _)| library.name == library::BASE) {
        Ok(ready)
    } else {
        Err(format!("the base of all ratios, {}, is missing", library::BASE))
    }
}

/// The runs, without any figure that follows from them.
pub fn run(options: &Options) -> Result<Value, String> {
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let libraries = proven(options)?;
    let chosen = workload::chosen(options)?;
    for (name, why) in &chosen.missing {
        println!("workload {name} is left out: {why}");
    }
    let launcher = Launcher::new()?;
    let tracer = Tracer::new();
    if let Err(why) = &tracer {
        println!("system calls are left out: {why}");
    }
    let tracer = tracer.ok();
    let small = workload::chosen(&Options {
        quick: true,
        only: options.only.clone(),
        ..Options::default()
    })?;
    let mut rows = Vec::new();
    for workload in &chosen.ready {
        let (mut cells, answer) = race_one(&launcher, workload, &libraries, rounds);
        if let Some(tracer) = &tracer {
            let small = small.ready.iter().find(|w| w.name == workload.name);
            count_calls(tracer, &launcher, small.unwrap_or(workload), &libraries, &mut cells);
        }
        rows.push(workload_json(workload, &libraries, &cells, &answer));
    }
    let mut raw = header(&libraries, rounds, options.quick);
    raw["workloads"] = Value::Array(rows);
    Ok(raw)
}

/// Where, when, by which command, and who took part.
pub fn header(libraries: &[(Library, Proof)], rounds: usize, quick: bool) -> Value {
    let libraries: Vec<Value> = libraries
        .iter()
        .map(|(l, proof)| {
            json!({
                "name": l.name,
                "label": l.label,
                "short": short_label(l, proof),
                "version": proof.version,
            })
        })
        .collect();
    json!({
        "date": machine::date(),
        "machine": machine::describe(),
        "command": machine::command(),
        "rounds": rounds,
        "quick": quick,
        "base": library::BASE,
        "units": "time in ns, cpu in us, peak in KiB; ratios and means are to the base",
        "libraries": libraries,
    })
}

pub fn workload_json(
    workload: &Workload,
    libraries: &[(Library, Proof)],
    cells: &[Cell],
    answer: &str,
) -> Value {
    let results: Map<String, Value> = libraries
        .iter()
        .zip(cells)
        .map(|((library, _), cell)| (library.name.clone(), record::cell_json(cell)))
        .collect();
    json!({
        "name": workload.name,
        "group": workload.group.name(),
        "about": workload.about,
        "arguments": workload.args,
        "program": workload.version(),
        "weight": workload.weight,
        "answer": answer,
        "results": results,
    })
}

/// A B C, then B C A, ...: close in time, and no library always runs first.
pub fn race_one(
    launcher: &Launcher,
    workload: &Workload,
    libraries: &[(Library, Proof)],
    rounds: usize,
) -> (Vec<Cell>, String) {
    print!("{:<14}", workload.name);
    let starts: Vec<Option<Start>> = libraries.iter().map(|(l, _)| workload.start(l)).collect();
    let mut answer: Option<String> = None;
    let mut cells: Vec<Cell> = starts
        .iter()
        .map(|start| {
            let Some(start) = start else { return Cell::Absent };
            if workload.kind == Kind::Foreign {
                if let Err(why) = launcher.verify(&start.job, start.preload.as_deref()) {
                    return Cell::Failed(why);
                }
            }
            Cell::Done(Sample { runs: Vec::new(), calls: None })
        })
        .collect();
    for round in 0..rounds {
        for at in 0..cells.len() {
            let at = (at + round) % cells.len();
            let (Cell::Done(sample), Some(start)) = (&mut cells[at], &starts[at]) else { continue };
            match run_one(launcher, start, &mut answer) {
                Ok(run) => sample.runs.push(run),
                Err(why) => cells[at] = Cell::Failed(why),
            }
        }
        print!(".");
        let _ = std::io::stdout().flush();
    }
    let times = cells.iter().filter_map(|cell| Measure::TimeMin.of(cell.done()?));
    match times.min_by(f64::total_cmp) {
        Some(best) => println!(" fastest {:.2} s", best / 1e9),
        None => println!(" no run succeeded"),
    }
    (cells, answer.unwrap_or_default())
}

/// The first answer counts as right; an allocator under which a program answers otherwise has
/// corrupted its memory.
fn run_one(launcher: &Launcher, start: &Start, answer: &mut Option<String>) -> Result<Run, String> {
    let (run, said) = launcher.run(&start.job, start.preload.as_deref())?;
    match answer {
        None => *answer = Some(said),
        Some(answer) if *answer != said => return Err(format!("WRONG ANSWER: {said}")),
        Some(_) => {}
    }
    Ok(run)
}

/// In the quick form, because strace makes a program with many calls a hundred times slower. A cell
/// whose calls cannot be counted keeps its times: strace changes the timing of threads.
fn count_calls(
    tracer: &Tracer,
    launcher: &Launcher,
    workload: &Workload,
    libraries: &[(Library, Proof)],
    cells: &mut [Cell],
) {
    for ((library, _), cell) in libraries.iter().zip(cells) {
        let (Cell::Done(sample), Some(start)) = (cell, workload.start(library)) else { continue };
        match tracer.count(launcher, &start, &[]) {
            Ok(calls) => sample.calls = Some(calls),
            Err(why) => println!("  system calls under {}: {why}", library.name),
        }
    }
}

/// The label of a peer is its version as far as it says one: "jemalloc 5.3.1".
fn short_label(library: &Library, proof: &Proof) -> String {
    if matches!(library.kind, library::Kind::Cmake { .. }) {
        return library.label.clone();
    }
    let version = proof.version.split(" (").next().unwrap_or_default();
    let Some((name, number)) = version.split_once(' ') else { return library.label.clone() };
    let number = number.split(['-', '+']).next().unwrap_or_default();
    match name {
        "gperftools" => format!("tcmalloc (gperftools {number})"),
        _ if matches!(library.kind, library::Kind::Given(_)) => library.label.clone(),
        _ => format!("{name} {number}"),
    }
}
