//! `hugepages`: the race's own group under each way in which the system can have transparent huge
//! pages. That is a setting of the whole machine; it is restored in any case.

use crate::figures::{Group, Measure, MEASURES};
use crate::launch::Launcher;
use crate::options::Options;
use crate::race::{header, proven, race_one, workload_json};
use crate::record::{self, rounded};
use crate::{machine, workload};
use serde_json::{json, Map, Value};
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// Of transparent huge pages, as the system names them.
pub const MODES: [&str; 3] = ["never", "madvise", "always"];

const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const ROUNDS: usize = 3;
const QUICK_ROUNDS: usize = 1;

/// Restores the setting when this process ends, however it ends: a shell that ignores signals waits
/// for the end of its input, which the system closes with this process.
struct Restorer {
    shell: Option<Child>,
}

impl Restorer {
    fn new(mode: &str) -> Result<Restorer, String> {
        let script = format!("trap '' INT TERM HUP; read -r _; echo {mode} > {SETTING}");
        let shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        Ok(Restorer { shell: Some(shell) })
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

fn set(mode: &str) -> Result<(), String> {
    std::fs::write(SETTING, mode).map_err(|e| e.to_string())?;
    match machine::huge_pages() {
        Some(now) if now == mode => Ok(()),
        now => Err(format!("it stays {}", now.unwrap_or("unknown".to_owned()))),
    }
}

pub fn run(options: &Options) -> Result<Option<Value>, String> {
    let Some(before) = machine::huge_pages() else {
        println!("hugepages: this system has no {SETTING}");
        return Ok(None);
    };
    let rounds = options.rounds_or(ROUNDS, QUICK_ROUNDS);
    let libraries = proven(options)?;
    let mut chosen = workload::chosen(options)?;
    chosen.ready.retain(|w| w.group == Group::Own);
    let launcher = Launcher::new()?;
    let mut report = header(&libraries, rounds, options.quick);
    let mut modes = Map::new();
    // Without the right to change it there is nothing to restore.
    let writable = std::fs::OpenOptions::new().write(true).open(SETTING).is_ok();
    let restorer = if writable { Some(Restorer::new(&before)?) } else { None };
    for mode in MODES {
        println!("\nhuge pages: {mode}");
        if let Err(why) = set(mode) {
            if mode != before {
                println!("  cannot be set: {why}");
                modes.insert(mode.to_owned(), json!({ "not_set": why }));
                continue;
            }
        }
        let rows: Vec<Value> = chosen
            .ready
            .iter()
            .map(|workload| {
                let (cells, answer) = race_one(&launcher, workload, &libraries, rounds);
                workload_json(workload, &libraries, &cells, &answer)
            })
            .collect();
        modes.insert(mode.to_owned(), json!({ "workloads": rows }));
    }
    drop(restorer);
    println!("\nhuge pages: {} again", machine::huge_pages().unwrap_or_default());
    let _ = std::io::stdout().flush();
    report["modes"] = Value::Object(modes);
    add_means(&mut report, &before)?;
    Ok(Some(report))
}

/// Ratios of each mode to the base in the same mode.
fn add_means(report: &mut Value, before: &str) -> Result<(), String> {
    report["mode_before"] = Value::from(before);
    for mode in MODES {
        if report["modes"][mode]["workloads"].is_null() {
            continue;
        }
        let of_mode = json!({
            "libraries": report["libraries"],
            "workloads": report["modes"][mode]["workloads"],
        });
        let race = record::parse(&of_mode)?;
        let mut means = Map::new();
        for (at, name) in race.names.iter().enumerate() {
            let mut row = Map::new();
            for (measure, key) in MEASURES {
                if measure == Measure::Calls {
                    continue;
                }
                if let Some((mean, count)) = race.mean(&[Group::Own], at, measure) {
                    row.insert(key.to_owned(), json!(rounded(mean)));
                    row.insert("workloads".to_owned(), json!(count));
                }
            }
            means.insert(name.clone(), Value::Object(row));
        }
        report["modes"][mode]["geometric_means"] = Value::Object(means);
    }
    Ok(())
}
