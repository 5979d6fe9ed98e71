//! `touch`: the workload `vector` against writing as many pages of a fresh mapping, with and without
//! MADV_HUGEPAGE.
//!
//! What a first touch costs depends on what the machine did just before: a virtual machine may have
//! handed memory back to its host meanwhile. So each library's run stands between two touches of its
//! own, in each round.

use crate::launch::{Job, Launcher};
use crate::markdown::{table, words};
use crate::race::{header, proven};
use crate::syscalls::Tracer;
use crate::{record, tools, workload, Options};
use serde_json::{json, Map, Value};
use std::io::Write;

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;
const WORKLOAD: &str = "vector";
/// What runs in a round.
const KINDS: [&str; 3] = ["plain", "huge", "vector"];

pub fn run(options: &Options) -> Result<(), String> {
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let libraries = proven(options)?;
    let launcher = Launcher::new()?;
    let tracer = Tracer::new();
    let only = Some(vec![WORKLOAD.to_owned()]);
    let chosen = workload::chosen(&Options { quick: options.quick, only, ..Options::default() })?;
    let vector = chosen.ready.first().ok_or(format!("there is no workload {WORKLOAD}"))?;
    let program = workload::compiled("touch.c")?;
    let size = vector.args.first().cloned().unwrap_or_default();
    let job = |advice: Option<&str>| Job {
        program: program.clone(),
        args: std::iter::once(size.as_str()).chain(advice).map(str::to_owned).collect(),
        env: Vec::new(),
    };
    let (plain, huge) = (job(None), job(Some("huge")));
    let mut runs = vec![[Vec::new(), Vec::new(), Vec::new()]; libraries.len()];
    print!("touch ");
    for _ in 0..rounds {
        for ((library, _), runs) in libraries.iter().zip(&mut runs) {
            let start =
                vector.start(library).ok_or(format!("no {WORKLOAD} for {}", library.name))?;
            runs[0].push(launcher.run(&plain, None)?.0);
            runs[1].push(launcher.run(&huge, None)?.0);
            runs[2].push(launcher.run(&start.job, start.preload.as_deref())?.0);
        }
        print!(".");
        let _ = std::io::stdout().flush();
    }
    println!();
    let mut results = Map::new();
    for ((library, _), runs) in libraries.iter().zip(&runs) {
        let advises = match (&tracer, vector.start(library)) {
            (Ok(tracer), Some(start)) => tracer.advises_huge(&launcher, &start).ok(),
            _ => None,
        };
        let mut result = json!({ "advice": advises.map(|a| if a { "huge" } else { "plain" }) });
        for (kind, runs) in KINDS.iter().zip(runs) {
            result[*kind] = record::runs_json(runs);
        }
        results.insert(library.name.clone(), result);
    }
    let mut report = header(&libraries, rounds, options.quick);
    report["mebibytes"] = json!(size);
    report["results"] = Value::Object(results);
    if let Some(text) = section(&report) {
        println!("{text}");
    }
    tools::keep(&options.stem("touch"), &report)
}

/// Of a library, the least time of its vector by the least time of touching with this advice.
pub fn ratio(report: &Value, library: &str, advice: &str) -> Option<f64> {
    let of = |kind: &str| {
        record::parse_runs(&report["results"][library][kind]).iter().map(|run| run.wall_ns).min()
    };
    Some(of("vector")? as f64 / of(advice)? as f64)
}

/// The advice that the library gives for such a block.
pub fn advice<'a>(report: &'a Value, library: &str) -> Option<&'a str> {
    report["results"][library]["advice"].as_str()
}

pub fn section(report: &Value) -> Option<String> {
    let results = report["results"].as_object()?;
    let rows: Vec<Vec<String>> = results
        .keys()
        .map(|name| {
            let of = |advice: &str| {
                ratio(report, name, advice).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
            };
            let advice = advice(report, name).unwrap_or("-").to_owned();
            vec![name.clone(), of("plain"), of("huge"), advice]
        })
        .collect();
    Some(format!(
        "\n## Workload {WORKLOAD} against touching a fresh mapping of {} MiB\n\n\
         Measured on {}. Minima of whole processes, {} rounds; each run of an allocator stands \
         between touches without advice and with MADV_HUGEPAGE. The last column says which of the \
         two the allocator asks for.\n\n{}",
        report["mebibytes"].as_str()?,
        report["date"].as_str()?,
        report["rounds"],
        table(&words(&["allocator", "of plain", "of huge", "advice"]), &rows)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_minima() {
        let run = |ns: u64| json!({ "wall_ns": ns });
        let report = json!({ "results": { "a": {
            "advice": "huge", "vector": [run(30), run(20)], "huge": [run(10), run(40)], "plain": [],
        } } });
        assert_eq!(ratio(&report, "a", "huge"), Some(2.0));
        assert_eq!(ratio(&report, "a", "plain"), None);
        assert_eq!(advice(&report, "a"), Some("huge"));
    }
}
