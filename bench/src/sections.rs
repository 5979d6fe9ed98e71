//! What other commands measured, as sections of the race's text.

use crate::markdown::{table, words};
use serde_json::Value;

pub fn of(kind: &str, report: &Value) -> Option<String> {
    match kind {
        "count" => count(report),
        _ => None,
    }
}

/// When, and of which state of ours: a section may be older than the race.
fn origin(report: &Value) -> String {
    format!("Measured on {}.\n\n", report["date"].as_str().unwrap_or("an unknown day"))
}

fn count(report: &Value) -> Option<String> {
    let counts = report["counts"].as_object()?;
    let live: Vec<&String> =
        counts.values().next()?.as_object()?.keys().filter(|k| *k != "version").collect();
    let mut header = words(&["allocator", "version"]);
    header.extend(live.iter().map(|live| format!("{live} live")));
    let rows: Vec<Vec<String>> = counts
        .iter()
        .map(|(name, row)| {
            let mut line = vec![name.clone(), row["version"].as_str().unwrap_or("-").to_owned()];
            line.extend(live.iter().map(|live| {
                let of = |key: &str| row[live.as_str()][key].as_f64();
                match (of("library"), of("outside")) {
                    (Some(library), Some(outside)) => format!("{library:.1} / {outside:.1}"),
                    _ => "does not start".to_owned(),
                }
            }));
            line
        })
        .collect();
    Some(format!(
        "\n## Instructions per pair, in the library / in it and all that it calls\n\n{}{}",
        origin(report),
        table(&header, &rows)
    ))
}
