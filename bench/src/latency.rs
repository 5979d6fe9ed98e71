//! `latency`: percentiles of single calls of malloc and of free, by workloads/latency.c.
//!
//! Each library runs several times, interleaved like a race; a figure is the median of the runs'
//! percentiles. The largest value of a run belongs to the scheduler more than to any allocator.

use crate::figures::median;
use crate::launch::{Job, Launcher};
use crate::options::Options;
use crate::race::{header, proven};
use crate::workload;
use serde_json::{json, Map, Value};
use std::io::Write;

/// What is timed, and what is reported of each.
pub const CALLS: [&str; 2] = ["malloc", "free"];
pub const PERCENTILES: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;
const THREADS: usize = 2;
const STEPS: usize = 3_000_000;
const QUICK_STEPS: usize = 300_000;

/// Nanoseconds by call and percentile.
type Times = [[f64; PERCENTILES.len()]; CALLS.len()];

pub fn run(options: &Options) -> Result<Value, String> {
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let steps = if options.quick { QUICK_STEPS } else { STEPS };
    let libraries = proven(options)?;
    let launcher = Launcher::new()?;
    let job = Job {
        program: workload::compiled("latency.c")?,
        args: vec![THREADS.to_string(), steps.to_string()],
        env: Vec::new(),
    };
    let mut results: Vec<Result<Vec<Times>, String>> =
        libraries.iter().map(|_| Ok(Vec::new())).collect();
    print!("latency ");
    for round in 0..rounds {
        for at in 0..libraries.len() {
            let at = (at + round) % libraries.len();
            let Ok(runs) = &mut results[at] else { continue };
            let file = libraries[at].0.file();
            match launcher.run(&job, file.as_deref()).and_then(|(_, said)| parse(&said)) {
                Ok(times) => runs.push(times),
                Err(why) => results[at] = Err(why),
            }
        }
        print!(".");
        let _ = std::io::stdout().flush();
    }
    println!();
    let mut report = header(&libraries, rounds, options.quick);
    report["units"] = Value::from("ns; each figure is the median of the runs' percentiles");
    report["threads"] = json!(THREADS);
    report["steps_per_thread"] = json!(steps);
    let results: Map<String, Value> = libraries
        .iter()
        .zip(&results)
        .map(|((library, _), result)| (library.name.clone(), result_json(result)))
        .collect();
    report["results"] = Value::Object(results);
    Ok(report)
}

fn parse(said: &str) -> Result<Times, String> {
    let mut times = [[0.0; PERCENTILES.len()]; CALLS.len()];
    for (call, row) in CALLS.iter().zip(&mut times) {
        let numbers = said
            .lines()
            .find_map(|line| line.strip_prefix(call)?.strip_prefix(' '))
            .ok_or(format!("latency said '{said}'"))?;
        let numbers: Vec<f64> = numbers.split(' ').filter_map(|n| n.parse().ok()).collect();
        *row = numbers.try_into().map_err(|_| format!("latency said '{said}'"))?;
    }
    Ok(times)
}

fn times_json(times: &Times) -> Value {
    let row = |row: &[f64; PERCENTILES.len()]| -> Map<String, Value> {
        PERCENTILES.iter().zip(row).map(|(p, ns)| ((*p).to_owned(), json!(ns))).collect()
    };
    CALLS
        .iter()
        .zip(times)
        .map(|(call, times)| ((*call).to_owned(), Value::Object(row(times))))
        .collect::<Map<_, _>>()
        .into()
}

fn result_json(result: &Result<Vec<Times>, String>) -> Value {
    let runs = match result {
        Ok(runs) => runs,
        Err(why) => return json!({ "failed": why }),
    };
    let mut medians = [[0.0; PERCENTILES.len()]; CALLS.len()];
    for (call, row) in medians.iter_mut().enumerate() {
        for (at, figure) in row.iter_mut().enumerate() {
            let mut values: Vec<f64> = runs.iter().map(|run| run[call][at]).collect();
            *figure = median(&mut values);
        }
    }
    json!({
        "median": times_json(&medians),
        "runs": runs.iter().map(times_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_the_median_of_each_percentile() {
        let run =
            |ns: u32| parse(&format!("malloc {ns} 2 3 4 5 6\nfree 7 8 9 10 11 {ns}")).unwrap();
        let result = result_json(&Ok(vec![run(30), run(10), run(20)]));
        assert_eq!(result["median"]["malloc"]["p50"], 20.0);
        assert_eq!(result["median"]["free"]["p99.99"], 11.0);
        assert!(parse("malloc 1 2\nfree 1 2").is_err());
    }
}
