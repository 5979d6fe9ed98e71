//! The machine and the time, which belong to each figure.

use crate::tools;
use serde_json::{json, Value};

fn after_colon(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// "always [madvise] never" -> "madvise"
fn bracketed(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

/// How the system has transparent huge pages.
pub fn huge_pages() -> Option<String> {
    bracketed(&file("/sys/kernel/mm/transparent_hugepage/enabled"))
}

pub fn describe() -> Value {
    let unknown = || "unknown".to_owned();
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    json!({
        "cpu": after_colon(&file("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
        "cores": cores,
        "memory": after_colon(&file("/proc/meminfo"), "MemTotal").unwrap_or_else(unknown),
        "kernel": numbers_of(&file("/proc/sys/kernel/osrelease")),
        "huge_pages": huge_pages().unwrap_or_else(unknown),
        "compiler": tools::first_line(&tools::cc(), &["--version"]),
        "system": file("/etc/os-release").lines()
            .find_map(|l| l.strip_prefix("PRETTY_NAME="))
            .map_or_else(unknown, |name| name.trim_matches('"').to_owned()),
    })
}

/// One line for people.
pub fn line(machine: &Value) -> String {
    let word = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    format!(
        "{}, {} cores, {}, Linux {}, huge pages: {}",
        word("cpu"),
        machine["cores"],
        word("system"),
        word("kernel"),
        word("huge_pages")
    )
}

/// Days by the clock of the world, so that two reports can be put in order.
pub fn date() -> String {
    tools::first_line("date", &["-u", "+%Y-%m-%d"])
}

/// The numbers of a version, without the name of a build after them.
fn numbers_of(version: &str) -> &str {
    let end = version.find(|c: char| c != '.' && !c.is_ascii_digit());
    &version[..end.unwrap_or(version.len())]
}

/// The command line, without the folders of this machine.
pub fn command() -> String {
    let mut words = vec!["allocator-race".to_owned()];
    for word in std::env::args().skip(1) {
        words.push(match word.split_once('=') {
            Some((name, path)) if path.contains('/') => format!("{name}=..."),
            _ => word,
        });
    }
    words.join(" ")
}
