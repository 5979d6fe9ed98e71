//! bounds.toml: what `guard` recorded, and how much more it allows.

use crate::tools;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a gate compares.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Gate {
    Instructions,
    Replaces,
    Calls,
    Faults,
}

impl Gate {
    pub fn name(self) -> &'static str {
        match self {
            Gate::Instructions => "instructions per pair",
            Gate::Replaces => "instructions, replace",
            Gate::Calls => "system calls",
            Gate::Faults => "page faults",
        }
    }
}

/// A count that was taken or recorded: of a workload, a number of live blocks, a kind of replace.
#[derive(Clone)]
pub struct Entry {
    pub gate: Gate,
    pub of: String,
    pub count: f64,
}

#[derive(Deserialize)]
pub struct Listed {
    pub name: String,
    #[serde(default)]
    pub threads: bool,
    /// Of the quick run; other arguments make other counts.
    #[serde(default)]
    pub args: String,
    calls: f64,
    faults: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Slack {
    instructions_percent: f64,
    calls_percent: f64,
    calls: f64,
    faults_percent: f64,
    faults: f64,
}

/// bounds.toml.
#[derive(Deserialize)]
struct File {
    slack: Slack,
    #[serde(default)]
    slack_of_threads: Slack,
    /// By the number of live blocks.
    #[serde(default)]
    instructions: BTreeMap<String, f64>,
    /// By the name of a row of count::REPLACES.
    #[serde(default)]
    replaces: BTreeMap<String, f64>,
    #[serde(default)]
    workload: Vec<Listed>,
}

pub struct Bounds {
    slack: Slack,
    slack_of_threads: Slack,
    pub workloads: Vec<Listed>,
    pub live: Vec<usize>,
    pub recorded: Vec<Entry>,
}

fn file() -> PathBuf {
    tools::root().join("bounds.toml")
}

pub fn read() -> Result<Bounds, String> {
    parse(&tools::read(&file())?)
}

fn parse(text: &str) -> Result<Bounds, String> {
    let file: File = toml::from_str(text).map_err(|e| format!("bounds.toml: {e}"))?;
    let mut recorded = Vec::new();
    let mut live = Vec::new();
    for (of, count) in file.instructions {
        let blocks =
            of.parse().map_err(|_| format!("bounds.toml: '{of}' is no number of blocks"))?;
        live.push(blocks);
        recorded.push(Entry { gate: Gate::Instructions, of, count });
    }
    live.sort_unstable();
    for (of, count) in file.replaces {
        recorded.push(Entry { gate: Gate::Replaces, of, count });
    }
    for w in &file.workload {
        recorded.push(Entry { gate: Gate::Calls, of: w.name.clone(), count: w.calls });
        recorded.push(Entry { gate: Gate::Faults, of: w.name.clone(), count: w.faults });
    }
    let File { slack, slack_of_threads, workload: workloads, .. } = file;
    Ok(Bounds { slack, slack_of_threads, workloads, live, recorded })
}

impl Bounds {
    /// The percentage, and what comes on top of it.
    fn slack(&self, gate: Gate, threads: bool) -> (f64, f64) {
        let slack = if threads { &self.slack_of_threads } else { &self.slack };
        match gate {
            Gate::Instructions | Gate::Replaces => (slack.instructions_percent, 0.0),
            Gate::Calls => (slack.calls_percent, slack.calls),
            Gate::Faults => (slack.faults_percent, slack.faults),
        }
    }

    pub fn recorded(&self, gate: Gate, of: &str) -> Option<f64> {
        self.recorded.iter().find(|e| e.gate == gate && e.of == of).map(|e| e.count)
    }

    /// The most that passes.
    pub fn bound(&self, gate: Gate, of: &str) -> Option<f64> {
        let threads = self.workloads.iter().any(|w| w.name == of && w.threads);
        let (percent, more) = self.slack(gate, threads);
        Some(self.recorded(gate, of)? * (1.0 + percent / 100.0) + more)
    }
}

/// Replaces the numbers in the file; all else in it stays.
pub fn record(counts: &[Entry], args: &[(String, String)]) -> Result<(), String> {
    let text = tools::read(&file())?;
    tools::write(&file(), &replaced(&text, counts, args))
}

fn replaced(text: &str, counts: &[Entry], args: &[(String, String)]) -> String {
    let (mut section, mut name) = (String::new(), String::new());
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        let Some((key, value)) = line.split_once(" = ") else {
            lines.push(line.to_owned());
            continue;
        };
        if key == "name" {
            name = value.trim_matches('"').to_owned();
        }
        let count = |gate: Gate, of: &str| {
            let entry = counts.iter().find(|e| e.gate == gate && e.of == of)?;
            Some(format!("{key} = {}", entry.count))
        };
        let new = match (section.as_str(), key) {
            ("[instructions]", live) => count(Gate::Instructions, live),
            ("[replaces]", name) => count(Gate::Replaces, name),
            ("[[workload]]", "calls") => count(Gate::Calls, &name),
            ("[[workload]]", "faults") => count(Gate::Faults, &name),
            ("[[workload]]", "args") => {
                args.iter().find(|(of, _)| *of == name).map(|(_, a)| format!("args = \"{a}\""))
            }
            _ => None,
        };
        lines.push(new.unwrap_or(line.to_owned()));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[slack]\ncalls_percent = 10\ncalls = 20\n# kept\n[instructions]\n64 = 20\n\
        [replaces]\n1K-8K = 90\n\
        [[workload]]\nname = \"tree\"\nargs = \"9\"\ncalls = 100\nfaults = 5\n";

    #[test]
    fn a_bound_is_the_record_with_percentage_and_absolute_slack() {
        let bounds = parse(FILE).unwrap();
        assert!((bounds.bound(Gate::Calls, "tree").unwrap() - 130.0).abs() < 1e-9);
        assert_eq!(bounds.bound(Gate::Faults, "tree"), Some(5.0));
        assert_eq!(bounds.bound(Gate::Calls, "other"), None);
    }

    #[test]
    fn recording_changes_numbers_only() {
        let entry = |gate, of: &str, count| Entry { gate, of: of.to_owned(), count };
        let counts = [
            entry(Gate::Calls, "tree", 7.0),
            entry(Gate::Faults, "tree", 8.0),
            entry(Gate::Instructions, "64", 21.5),
            entry(Gate::Replaces, "1K-8K", 81.5),
        ];
        let text = replaced(FILE, &counts, &[("tree".to_owned(), "10".to_owned())]);
        let wanted = FILE
            .replace("calls = 100", "calls = 7")
            .replace("faults = 5", "faults = 8")
            .replace("64 = 20", "64 = 21.5")
            .replace("8K = 90", "8K = 81.5")
            .replace("args = \"9\"", "args = \"10\"");
        assert_eq!(text, wanted);
    }
}
