//! bounds.toml: what `guard` recorded, and how much more it allows.

use crate::tools;
use std::path::PathBuf;

/// What a gate compares.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Gate {
    Instructions,
    Calls,
    Faults,
}

impl Gate {
    pub fn name(self) -> &'static str {
        match self {
            Gate::Instructions => "instructions per pair",
            Gate::Calls => "system calls",
            Gate::Faults => "page faults",
        }
    }
}

/// A count that was taken or recorded: of a workload, or of a number of live blocks.
#[derive(Clone)]
pub struct Entry {
    pub gate: Gate,
    pub of: String,
    pub count: f64,
}

pub struct Listed {
    pub name: String,
    pub threads: bool,
    /// Of the quick run; other arguments make other counts.
    pub args: String,
}

pub struct Bounds {
    table: toml::Table,
    pub workloads: Vec<Listed>,
    pub live: Vec<usize>,
    pub recorded: Vec<Entry>,
}

fn file() -> PathBuf {
    tools::root().join("bounds.toml")
}

fn number(value: Option<&toml::Value>) -> Option<f64> {
    match value? {
        toml::Value::Integer(n) => Some(*n as f64),
        toml::Value::Float(n) => Some(*n),
        _ => None,
    }
}

pub fn read() -> Result<Bounds, String> {
    parse(&tools::read(&file())?)
}

fn parse(text: &str) -> Result<Bounds, String> {
    let fault = |what: String| format!("bounds.toml: {what}");
    let table: toml::Table = text.parse().map_err(|e| fault(format!("{e}")))?;
    let (mut workloads, mut live, mut recorded) = (Vec::new(), Vec::new(), Vec::new());
    let instructions = table.get("instructions").and_then(toml::Value::as_table);
    for (key, value) in instructions.into_iter().flatten() {
        let blocks = key.parse().map_err(|_| fault(format!("'{key}' is no number of blocks")))?;
        let count = number(Some(value)).ok_or(fault(format!("'{key}' has no count")))?;
        live.push(blocks);
        recorded.push(Entry { gate: Gate::Instructions, of: key.clone(), count });
    }
    let listed = table.get("workload").and_then(toml::Value::as_array);
    for entry in listed.into_iter().flatten().filter_map(toml::Value::as_table) {
        let text = |key: &str| entry.get(key).and_then(toml::Value::as_str).map(str::to_owned);
        let name = text("name").ok_or(fault("a workload has no name".to_owned()))?;
        for (gate, key) in [(Gate::Calls, "calls"), (Gate::Faults, "faults")] {
            let count =
                number(entry.get(key)).ok_or(fault(format!("{name} has no number of {key}")))?;
            recorded.push(Entry { gate, of: name.clone(), count });
        }
        workloads.push(Listed {
            threads: entry.get("threads").and_then(toml::Value::as_bool).unwrap_or(false),
            args: text("args").unwrap_or_default(),
            name,
        });
    }
    live.sort_unstable();
    Ok(Bounds { table, workloads, live, recorded })
}

impl Bounds {
    fn slack(&self, gate: Gate, threads: bool) -> (f64, f64) {
        let name = if threads { "slack_of_threads" } else { "slack" };
        let of = |key: &str| {
            let slack = self.table.get(name).and_then(toml::Value::as_table);
            number(slack.and_then(|slack| slack.get(key))).unwrap_or(0.0)
        };
        match gate {
            Gate::Instructions => (of("instructions_percent"), 0.0),
            Gate::Calls => (of("calls_percent"), of("calls")),
            Gate::Faults => (of("faults_percent"), of("faults")),
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

/// Puts the numbers in the place of those that stand there; all else in the file stays.
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
        ];
        let text = replaced(FILE, &counts, &[("tree".to_owned(), "10".to_owned())]);
        let wanted = FILE
            .replace("calls = 100", "calls = 7")
            .replace("faults = 5", "faults = 8")
            .replace("64 = 20", "64 = 21.5")
            .replace("args = \"9\"", "args = \"10\"");
        assert_eq!(text, wanted);
    }
}
