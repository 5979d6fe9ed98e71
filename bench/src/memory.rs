//! `memory`: how much stays resident after patterns of workloads/residence.c, as memory.toml lists them.

use crate::launch::{Job, Launcher};
use crate::library::BASE;
use crate::options::Options;
use crate::race::{header, proven};
use crate::{tools, workload};
use serde::Deserialize;
use serde_json::{json, Map, Value};
use std::io::Write;

const ROUNDS: usize = 3;
const QUICK_ROUNDS: usize = 1;

/// One entry of memory.toml.
#[derive(Deserialize)]
struct Row {
    name: String,
    about: String,
    args: Vec<String>,
    live: u64,
    target: Option<u64>,
    #[serde(default)]
    chart: bool,
}

#[derive(Deserialize)]
struct Rows {
    row: Vec<Row>,
}

fn rows(options: &Options) -> Result<Vec<Row>, String> {
    let text = tools::read(&tools::root().join("memory.toml"))?;
    let mut rows = toml::from_str::<Rows>(&text).map_err(|e| format!("memory.toml: {e}"))?.row;
    if let Some(wanted) = &options.only {
        if let Some(name) = wanted.iter().find(|name| !rows.iter().any(|row| row.args[0] == **name))
        {
            return Err(format!("there is no pattern '{name}' in memory.toml"));
        }
        rows.retain(|row| wanted.contains(&row.args[0]));
    }
    Ok(rows)
}

/// What one run printed.
#[derive(Debug, PartialEq)]
struct Residence {
    stays_kib: u64,
    /// Milliseconds and KiB.
    looks: Vec<(u64, u64)>,
}

fn parse(said: &str) -> Result<Residence, String> {
    let wrong = || format!("residence said '{said}'");
    let mut looks = Vec::new();
    let mut stays = None;
    for line in said.lines() {
        let mut words = line.split(' ');
        let word = words.next();
        let numbers: Vec<u64> = words.filter_map(|n| n.parse().ok()).collect();
        match (word, &numbers[..]) {
            (Some("at"), [ms, kib]) => looks.push((*ms, *kib)),
            (Some("stays"), [kib]) => stays = Some(*kib),
            _ => return Err(wrong()),
        }
    }
    Ok(Residence { stays_kib: stays.ok_or_else(wrong)?, looks })
}

/// The run in the middle, with the figures of all.
fn result_json(result: Result<Vec<Residence>, String>) -> Value {
    let mut runs = match result {
        Ok(runs) => runs,
        Err(why) => return json!({ "failed": why }),
    };
    runs.sort_by_key(|run| run.stays_kib);
    let all: Vec<u64> = runs.iter().map(|run| run.stays_kib).collect();
    let middle = &runs[(runs.len() - 1) / 2];
    json!({ "stays_kib": middle.stays_kib, "runs_kib": all, "looks": middle.looks })
}

/// The target of a row that has none of its own.
fn of_peers(results: &Map<String, Value>) -> Option<u64> {
    let stays = |name: &str| results.get(name)?["stays_kib"].as_f64();
    let better = [BASE, "jemalloc"].into_iter().filter_map(stays).reduce(f64::min)?;
    Some((better * 1.15 / 1024.0) as u64)
}

pub fn run(options: &Options) -> Result<Value, String> {
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let rows = rows(options)?;
    let libraries = proven(options)?;
    let launcher = Launcher::new()?;
    let program = workload::compiled("residence.c")?;
    let mut measured = Vec::new();
    for row in &rows {
        print!("{:<24}", row.name);
        let job = Job { program: program.clone(), args: row.args.clone(), env: Vec::new() };
        let mut results: Vec<Result<Vec<Residence>, String>> =
            libraries.iter().map(|_| Ok(Vec::new())).collect();
        for _ in 0..rounds {
            for ((library, _), result) in libraries.iter().zip(&mut results) {
                let Ok(runs) = result else { continue };
                let file = library.file();
                match launcher.run(&job, file.as_deref()).and_then(|(_, said)| parse(&said)) {
                    Ok(run) => runs.push(run),
                    Err(why) => *result = Err(why),
                }
            }
            print!(".");
            let _ = std::io::stdout().flush();
        }
        println!();
        let results: Map<String, Value> = libraries
            .iter()
            .zip(results)
            .map(|((library, _), result)| (library.name.clone(), result_json(result)))
            .collect();
        measured.push(json!({
            "name": row.name, "about": row.about, "live_mib": row.live,
            "target_mib": row.target.or_else(|| of_peers(&results)),
            "chart": row.chart, "results": results,
        }));
    }
    let mut report = header(&libraries, rounds, options.quick);
    report["units"] = Value::from("KiB resident, looks as [ms, KiB]; of the run in the middle");
    report["rows"] = Value::Array(measured);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_that_of_the_run_in_the_middle() {
        let run = |kib: u64| parse(&format!("at 5 {}\nstays {kib}", kib + 1)).unwrap();
        let result = result_json(Ok(vec![run(30), run(10), run(20)]));
        assert_eq!(result["stays_kib"], 20);
        assert_eq!(result["looks"], json!([[5, 21]]));
        assert_eq!(result["runs_kib"], json!([10, 20, 30]));
    }

    #[test]
    fn a_row_without_target_has_that_of_the_better_peer() {
        let results =
            json!({ BASE: { "stays_kib": 200 << 10 }, "jemalloc": { "stays_kib": 100 << 10 } });
        assert_eq!(of_peers(results.as_object().unwrap()), Some(115));
        let failed = json!({ BASE: { "stays_kib": 200 << 10 }, "jemalloc": { "failed": "so" } });
        assert_eq!(of_peers(failed.as_object().unwrap()), Some(230));
        assert_eq!(of_peers(&Map::new()), None);
    }

    #[test]
    fn output_without_a_figure_is_refused() {
        assert!(parse("at 5 7").is_err() && parse("stays").is_err() && parse("").is_err());
    }

    #[test]
    fn the_file_can_be_read() {
        let rows = rows(&Options::default()).unwrap();
        assert!(
            rows.iter().any(|row| row.chart)
                && rows.iter().all(|row| row.target.is_none_or(|t| t >= row.live))
        );
        let only = Some(vec!["nothing".to_owned()]);
        assert!(super::rows(&Options { only, ..Options::default() }).is_err());
    }
}
