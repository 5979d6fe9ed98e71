//! `race`: all workloads under all allocators, interleaved.

use crate::figures::{Cell, Measure, Race, Row, MEASURES};
use crate::launch::{Launcher, Run};
use crate::library::{self, Library};
use crate::probe::{Prober, Proof};
use crate::workload::{self, Workload};
use crate::{chart, machine, tools, Options};
use serde_json::{json, Map, Value};
use std::io::Write;
use std::path::Path;

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

pub fn run(options: &Options) -> Result<(), String> {
    let rounds = match (options.rounds, options.quick) {
        (Some(rounds), _) => rounds,
        (None, true) => QUICK_ROUNDS,
        (None, false) => ROUNDS,
    };
    let libraries = proven(options)?;
    let chosen = workload::chosen(options)?;
    for (name, why) in &chosen.missing {
        println!("workload {name} is left out: {why}");
    }
    let launcher = Launcher::new()?;
    let mut race =
        Race { names: libraries.iter().map(|(l, _)| l.name.clone()).collect(), rows: Vec::new() };
    let mut answers = Vec::new();
    for workload in &chosen.ready {
        let (row, answer) = race_one(&launcher, workload, &libraries, rounds);
        race.rows.push(row);
        answers.push(answer);
    }
    println!("\n{}", race.table());
    println!("below 1 is better than mimalloc 2.1.7; * means some workloads failed");
    for row in &race.rows {
        for (name, cell) in race.names.iter().zip(&row.cells) {
            if let Err(why) = cell {
                println!("{} under {name}: {why}", row.workload);
            }
        }
    }
    write_report(options, rounds, &libraries, &chosen.ready, &race, &answers)
}

/// A B C, then B C A, ...: close in time, and nobody always runs first.
fn race_one(
    launcher: &Launcher,
    workload: &Workload,
    libraries: &[(Library, Proof)],
    rounds: usize,
) -> (Row, String) {
    print!("{:<14}", workload.name);
    let files: Vec<_> = libraries.iter().map(|(l, _)| l.file()).collect();
    let mut answer: Option<String> = None;
    let mut cells: Vec<Cell> = files
        .iter()
        .map(|file| {
            if workload.foreign {
                launcher.verify(&workload.job, file.as_deref())?;
            }
            Ok(Vec::new())
        })
        .collect();
    for round in 0..rounds {
        for at in 0..cells.len() {
            let at = (at + round) % cells.len();
            let Ok(runs) = &mut cells[at] else { continue };
            match run_one(launcher, workload, files[at].as_deref(), &mut answer) {
                Ok(run) => runs.push(run),
                Err(why) => cells[at] = Err(why),
            }
        }
        print!(".");
        let _ = std::io::stdout().flush();
    }
    let best =
        cells.iter().flatten().map(|runs| Measure::TimeMin.of(runs)).fold(f64::INFINITY, f64::min);
    println!(" fastest {:.2} s", best / 1e9);
    let row = Row { workload: workload.name.clone(), weight: workload.weight, cells };
    (row, answer.unwrap_or_default())
}

/// The first answer is the right one; an allocator that makes a program say something else has
/// corrupted its memory.
fn run_one(
    launcher: &Launcher,
    workload: &Workload,
    library: Option<&Path>,
    answer: &mut Option<String>,
) -> Result<Run, String> {
    let (run, said) = launcher.run(&workload.job, library)?;
    match answer {
        None => *answer = Some(said),
        Some(answer) if *answer != said => return Err(format!("WRONG ANSWER: {said}")),
        Some(_) => {}
    }
    Ok(run)
}

fn cell_json(race: &Race, row: &Row, at: usize) -> Value {
    let runs = match &row.cells[at] {
        Ok(runs) => runs,
        Err(why) => return json!({ "failed": why }),
    };
    let mut value = Map::new();
    let mut ratios = Map::new();
    for (measure, name) in MEASURES {
        value.insert(name.to_owned(), json!(measure.of(runs)));
        if let Some(ratio) = race.ratio(row, at, measure) {
            ratios.insert(name.to_owned(), json!(rounded(ratio)));
        }
    }
    value.insert("ratios".to_owned(), Value::Object(ratios));
    let runs: Vec<Value> = runs
        .iter()
        .map(|r| {
            json!({
                "wall_ns": r.wall_ns,
                "user_us": r.user_us,
                "sys_us": r.sys_us,
                "peak_kib": r.peak_kib,
                "minor_faults": r.minor_faults,
                "major_faults": r.major_faults,
            })
        })
        .collect();
    value.insert("runs".to_owned(), json!(runs));
    Value::Object(value)
}

/// More digits than these are noise.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn means_json(race: &Race, at: usize) -> Value {
    let mut means = Map::new();
    for (measure, name) in MEASURES {
        if let Some((mean, count)) = race.mean(at, measure) {
            means.insert(name.to_owned(), json!(rounded(mean)));
            means.insert("workloads".to_owned(), json!(count));
        }
    }
    Value::Object(means)
}

fn write_report(
    options: &Options,
    rounds: usize,
    libraries: &[(Library, Proof)],
    workloads: &[Workload],
    race: &Race,
    answers: &[String],
) -> Result<(), String> {
    let machine = machine::describe();
    let date = machine::date();
    let rows: Vec<Value> = workloads
        .iter()
        .zip(&race.rows)
        .zip(answers)
        .map(|((workload, row), answer)| {
            let cells: Map<String, Value> = (0..race.names.len())
                .map(|at| (race.names[at].clone(), cell_json(race, row, at)))
                .collect();
            json!({
                "name": workload.name,
                "about": workload.about,
                "arguments": workload.args,
                "program": version_of(workload),
                "weight": workload.weight,
                "answer": answer,
                "results": cells,
            })
        })
        .collect();
    let means: Map<String, Value> =
        (0..race.names.len()).map(|at| (race.names[at].clone(), means_json(race, at))).collect();
    let libraries_json: Vec<Value> = libraries
        .iter()
        .map(|(l, proof)| json!({ "name": l.name, "label": l.label, "version": proof.version }))
        .collect();
    let report = json!({
        "date": date,
        "machine": machine,
        "rounds": rounds,
        "quick": options.quick,
        "base": library::BASE,
        "units": "time in ns, cpu in us, peak in KiB; ratios and means are to the base",
        "libraries": libraries_json,
        "workloads": rows,
        "geometric_means": means,
    });
    let dir = tools::report();
    tools::make_dir(&dir)?;
    // Only a whole race may replace the figures that are kept.
    let stem = match options {
        Options { quick: true, .. } => "quick",
        Options { only: None, allocators: None, .. } => "race",
        _ => "partial",
    };
    let json_file = dir.join(format!("{stem}.json"));
    tools::write_json(&json_file, &report)?;
    let svg_file = dir.join(format!("{stem}.svg"));
    let labels: Vec<String> = libraries.iter().map(|(l, p)| short_label(l, p)).collect();
    let caption = format!("{date}, {rounds} rounds. {}", machine::line(&machine));
    chart::draw(&svg_file, race, &labels, &caption)?;
    println!("written: {}, {}", tools::shown(&json_file), tools::shown(&svg_file));
    Ok(())
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

fn version_of(workload: &Workload) -> String {
    if workload.foreign {
        tools::first_line(&workload.job.program.display().to_string(), &["--version"])
    } else {
        "workloads/".to_owned()
            + &workload
                .job
                .program
                .file_name()
                .map_or(String::new(), |n| format!("{}.c", n.to_string_lossy()))
    }
}
