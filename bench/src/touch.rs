//! `touch`: the workload `vector` against writing as many pages of a fresh mapping, with and without
//! MADV_HUGEPAGE.
//!
//! The cost of a first touch depends on what the machine did before: a virtual machine may have returned memory to its host. So each library's run stands between two touches of its
//! own, in each round.

use crate::launch::{Job, Launcher};
use crate::options::Options;
use crate::race::{header, proven};
use crate::syscalls::Tracer;
use crate::workload;
use serde_json::{json, Map, Value};
use std::io::Write;

const ROUNDS: usize = 9;
const QUICK_ROUNDS: usize = 3;
pub const WORKLOAD: &str = "vector";
/// What runs in a round.
const KINDS: [&str; 3] = ["plain", "huge", "vector"];

pub fn run(options: &Options) -> Result<Value, String> {
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
            result[*kind] = json!(runs);
        }
        results.insert(library.name.clone(), result);
    }
    let mut report = header(&libraries, rounds, options.quick);
    report["mebibytes"] = json!(size);
    report["results"] = Value::Object(results);
    Ok(report)
}
