//! What other commands measured, as sections of the race's text.

use crate::hugepages::MODES;
use crate::latency::{CALLS, PERCENTILES};
use crate::markdown::{table, words};
use crate::touch::WORKLOAD;
use crate::touch_ratio::{advice, ratio};
use serde_json::Value;

pub fn of(kind: &str, report: &Value) -> Option<String> {
    match kind {
        "count" => count(report),
        "touch" => touch(report),
        "latency" => latency(report),
        "hugepages" => huge_pages(report),
        "scaling" => scaling(report),
        "memory" => memory(report),
        _ => None,
    }
}

/// The time and the state of our sources: a section may be older than the race.
fn origin(report: &Value) -> String {
    format!("Measured on {}.\n\n", report["date"].as_str().unwrap_or("an unknown day"))
}

fn count(report: &Value) -> Option<String> {
    let counts = report["counts"].as_object()?;
    let live: Vec<&String> =
        counts.values().next()?.as_object()?.keys().filter(|k| k.parse::<u64>().is_ok()).collect();
    let mut header = words(&["allocator", "version"]);
    header.extend(live.iter().map(|live| format!("{live} live")));
    header.extend(words(&["48 bytes, C", "48 bytes, Rust"]));
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
            line.extend(["c", "rust"].map(|language| {
                let count = row["constant"][language].as_f64();
                count.map_or("-".to_owned(), |count| format!("{count:.1}"))
            }));
            line
        })
        .collect();
    Some(format!(
        "\n## Instructions per pair, in the library / in it and all that it calls\n\n{}{}{}",
        origin(report),
        table(&header, &rows),
        replaces(report).unwrap_or_default()
    ))
}

fn replaces(report: &Value) -> Option<String> {
    let names: Vec<&String> = report["counts"].as_object()?.keys().collect();
    let mut header = words(&["sizes", "target"]);
    header.extend(names.iter().map(|name| (*name).clone()));
    let rows: Vec<Vec<String>> = report["replaces"]
        .as_object()?
        .iter()
        .map(|(name, row)| {
            let mut line = vec![name.clone(), row["target"].to_string()];
            line.extend(names.iter().map(|library| {
                row[library.as_str()].as_f64().map_or("-".to_owned(), |count| format!("{count:.1}"))
            }));
            line
        })
        .collect();
    let title = "Instructions per replace, in the library and all that it calls";
    Some(format!("\n## {title}\n\n{}", table(&header, &rows)))
}

fn latency(report: &Value) -> Option<String> {
    let results = report["results"].as_object()?;
    let mut out = format!("\n## Latency of single calls, ns\n\n{}", origin(report));
    out += &format!(
        "{} threads, a quarter of the blocks freed by the other; medians of {} runs.\n",
        report["threads"], report["rounds"]
    );
    for call in CALLS {
        let mut header = words(&[call]);
        header.extend(words(&PERCENTILES));
        let rows: Vec<Vec<String>> = results
            .iter()
            .map(|(name, result)| {
                let mut line = vec![name.clone()];
                line.extend(PERCENTILES.iter().map(|p| {
                    let figure = result["median"][call][p].as_f64();
                    figure.map_or("-".to_owned(), |ns| format!("{ns:.0}"))
                }));
                line
            })
            .collect();
        out += &format!("\n{}", table(&header, &rows));
    }
    Some(out)
}

fn memory(report: &Value) -> Option<String> {
    let names: Vec<&str> =
        report["libraries"].as_array()?.iter().filter_map(|l| l["name"].as_str()).collect();
    let mut header = words(&["pattern", "live", "target"]);
    header.extend(names.iter().map(|name| (*name).to_owned()));
    let rows: Vec<Vec<String>> = report["rows"]
        .as_array()?
        .iter()
        .map(|row| {
            let mut line = vec![row["name"].as_str().unwrap_or_default().to_owned()];
            line.extend(["live_mib", "target_mib"].map(|key| row[key].to_string()));
            line.extend(names.iter().map(|name| {
                let kib = row["results"][name]["stays_kib"].as_f64();
                kib.map_or("failed".to_owned(), |kib| format!("{:.0}", kib / 1024.0))
            }));
            line
        })
        .collect();
    Some(format!(
        "\n## What stays resident, MiB\n\n{}The middle of {} runs; memory.toml says what each pattern does.\n\n{}",
        origin(report),
        report["rounds"],
        table(&header, &rows)
    ))
}

fn huge_pages(report: &Value) -> Option<String> {
    let modes = report["modes"].as_object()?;
    let mut header = words(&["allocator"]);
    header.extend(MODES.iter().map(|mode| format!("{mode}: time / peak")));
    let rows: Vec<Vec<String>> = report["libraries"]
        .as_array()?
        .iter()
        .filter_map(|library| library["name"].as_str())
        .map(|name| {
            let mut line = words(&[name]);
            line.extend(MODES.iter().map(|mode| {
                let of = |key: &str| modes.get(*mode)?["geometric_means"][name][key].as_f64();
                match (of("time_min"), of("peak_median")) {
                    (Some(time), Some(peak)) => format!("{time:.2} / {peak:.2}"),
                    _ => "not set".to_owned(),
                }
            }));
            line
        })
        .collect();
    Some(format!(
        "\n## The own workloads by mode of transparent huge pages\n\n{}Geometric means to \
         mimalloc 2.1.7 in the same mode; the race itself ran under `{}`.\n\n{}",
        origin(report),
        report["mode_before"].as_str().unwrap_or("unknown"),
        table(&header, &rows)
    ))
}

fn scaling(report: &Value) -> Option<String> {
    let counts: Vec<u64> = report["threads"].as_array()?.iter().filter_map(Value::as_u64).collect();
    let workloads = report["workloads"].as_array().filter(|list| !list.is_empty())?;
    let mut out = format!("\n## Time by number of threads, ms\n\n{}", origin(report));
    for workload in workloads {
        let mut header = words(&[workload["name"].as_str().unwrap_or_default()]);
        header.extend(counts.iter().map(|n| format!("{n} threads")));
        let rows: Vec<Vec<String>> = report["libraries"]
            .as_array()?
            .iter()
            .filter_map(|library| library["name"].as_str())
            .map(|name| {
                let mut line = words(&[name]);
                line.extend(counts.iter().map(|n| {
                    let ns = workload["time_min"][name][n.to_string()].as_f64();
                    ns.map_or("-".to_owned(), |ns| format!("{:.1}", ns / 1e6))
                }));
                line
            })
            .collect();
        out += &format!("\n{}", table(&header, &rows));
    }
    Some(out)
}

fn touch(report: &Value) -> Option<String> {
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
