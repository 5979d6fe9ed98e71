//! The report for people: Markdown whose tables are padded, so that it reads well on a terminal.

use crate::bootstrap::{interval, mean_interval};
use crate::calibration::{self, Line};
use crate::figures::{Cell, Group, Measure, Race, Row, SCOPES};
use crate::library::BASE;
use crate::machine;
use crate::targets::{Data, Target};
use serde_json::Value;

/// A table whose first column is left-aligned and whose others are right-aligned.
pub fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let column = rows.iter().filter_map(|row| row.get(at)).chain(header.get(at));
        column.map(|text| text.chars().count()).max().unwrap_or(0).max(3)
    };
    let line = |cells: &[String]| {
        let mut text = String::from("|");
        for (at, cell) in cells.iter().enumerate() {
            let width = width(at);
            text +=
                &if at == 0 { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") };
        }
        text + "\n"
    };
    let mut text = line(header) + "|";
    for at in 0..header.len() {
        let dashes = "-".repeat(width(at));
        text += &if at == 0 { format!(" {dashes} |") } else { format!(" {}: |", &dashes[1..]) };
    }
    text.push('\n');
    rows.iter().for_each(|row| text += &line(row));
    text
}

pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Where, when, by which command, and who took part.
pub fn head(title: &str, report: &Value) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or("unknown").to_owned();
    let mut out = format!(
        "# {title}\n\n- date: {}\n- machine: {}, {}\n- compiler: {}\n- command: `{}`\n- rounds: {}\n",
        text("date"),
        machine::line(&report["machine"]),
        report["machine"]["memory"].as_str().unwrap_or("memory unknown"),
        report["machine"]["compiler"].as_str().unwrap_or("unknown"),
        text("command"),
        report["rounds"],
    );
    if report["quick"] == true {
        out += "- quick: smaller runs, to see that all works; not to quote\n";
    }
    let rows: Vec<Vec<String>> = report["libraries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| words(&["name", "label", "version"].map(|k| l[k].as_str().unwrap_or("-"))))
        .collect();
    out + "\n" + &table(&words(&["name", "what", "version"]), &rows)
}

pub fn render(data: &Data, lines: &[Line], targets: &[Target]) -> String {
    let (race, report) = (data.race, data.report);
    let mut out = head("The race", report);
    out += "\nRatios are to mimalloc 2.1.7, below 1 is better. In brackets: the interval of the \
            ratio of medians that holds 95 % of 2,000 bootstrap draws of the rounds. A star marks \
            a mean without the workloads that an allocator did not finish; FAILED and - (no such \
            program) say which.\n";
    for (scope, groups) in SCOPES {
        let count = race.rows_of(groups).count();
        if count > 0 {
            out += &format!("\n## Geometric means, {scope} ({count} workloads)\n\n");
            out += &means(race, groups, count);
        }
    }
    for (title, measure) in [
        ("Time, ratio of minima", Measure::TimeMin),
        ("Time, ratio of medians", Measure::TimeMedian),
        ("CPU time, ratio of minima", Measure::CpuMin),
        ("Peak resident memory, ratio of medians", Measure::Peak),
        ("Minor page faults, ratio of medians", Measure::Faults),
    ] {
        out += &format!(
            "\n## {title}\n\n{}",
            per_workload(race, |at, row, library| {
                let ratio = race.ratio(row, library, measure)?;
                let interval = race
                    .index(BASE)
                    .filter(|base| *base != library)
                    .and_then(|base| interval((at, row), library, base, measure))
                    .filter(|_| measure == Measure::TimeMedian || measure == Measure::Peak);
                Some(match interval {
                    Some(i) => format!("{ratio:.2} [{:.2}, {:.2}]", i.low, i.high),
                    None => format!("{ratio:.2}"),
                })
            })
        );
    }
    out += "\n## System calls, all / for memory, one quick run\n\n";
    out += &per_workload(race, |_, row, library| {
        let calls = row.cells[library].done()?.calls?;
        Some(format!("{} / {}", calls.total, calls.memory))
    });
    out += &calibration_text(lines);
    out += &targets_text(targets);
    out + &failures(race)
}

fn means(race: &Race, groups: &[Group], count: usize) -> String {
    let header = words(&[
        "allocator",
        "time, min",
        "time, median",
        "CPU",
        "peak memory",
        "page faults",
        "system calls",
    ]);
    let base = race.index(BASE);
    let rows: Vec<Vec<String>> = (0..race.names.len())
        .map(|at| {
            let mean = |measure, with_interval: bool| {
                let Some((mean, of)) = race.mean(groups, at, measure) else {
                    return "-".to_owned();
                };
                let star = if of < count { "*" } else { "" };
                let interval = base
                    .filter(|base| with_interval && *base != at)
                    .and_then(|base| mean_interval(race, groups, at, base, measure));
                match interval {
                    Some(i) => format!("{mean:.3}{star} [{:.2}, {:.2}]", i.low, i.high),
                    None => format!("{mean:.3}{star}"),
                }
            };
            vec![
                race.names[at].clone(),
                mean(Measure::TimeMin, false),
                mean(Measure::TimeMedian, true),
                mean(Measure::CpuMin, false),
                mean(Measure::Peak, true),
                mean(Measure::Faults, false),
                mean(Measure::Calls, false),
            ]
        })
        .collect();
    table(&header, &rows)
}

/// One row for each workload, one column for each allocator.
fn per_workload(race: &Race, shown: impl Fn(usize, &Row, usize) -> Option<String>) -> String {
    let mut header = words(&["workload"]);
    header.extend(race.names.iter().cloned());
    let rows: Vec<Vec<String>> = race
        .rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let mut line = vec![row.workload.clone()];
            line.extend(row.cells.iter().enumerate().map(|(library, cell)| match cell {
                Cell::Failed(_) => "FAILED".to_owned(),
                _ => shown(at, row, library).unwrap_or("-".to_owned()),
            }));
            line
        })
        .collect();
    table(&header, &rows)
}

fn calibration_text(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let pair = |there: f64, here: Option<f64>| match here {
                Some(here) => {
                    (format!("{there:.2}"), format!("{here:.2}"), format!("{:+.2}", here - there))
                }
                None => (format!("{there:.2}"), "-".to_owned(), "-".to_owned()),
            };
            let time = pair(line.reference.time, line.time);
            let memory = pair(line.reference.memory, line.memory);
            let verdict = match (&line.reference.note, line.within) {
                (Some(note), _) => note.as_str(),
                (None, Some(true)) => "calibrated",
                (None, Some(false)) => "off",
                (None, None) => "not measured",
            };
            vec![
                line.reference.library.clone(),
                time.0,
                time.1,
                time.2,
                memory.0,
                memory.1,
                memory.2,
                verdict.to_owned(),
            ]
        })
        .collect();
    let header = words(&[
        "peer",
        "time there",
        "here",
        "off by",
        "memory there",
        "here",
        "off by",
        "verdict",
    ]);
    format!(
        "\n## Calibration: {}\n\nMeans of own and real workloads against those that are published \
         (calibration.toml), both relative to mimalloc 2.1.7.\n\n{}",
        calibration::verdict(lines),
        table(&header, &rows)
    )
}

fn targets_text(targets: &[Target]) -> String {
    let rows: Vec<Vec<String>> =
        targets.iter().map(|t| words(&[&t.what, t.verdict(), &t.figure])).collect();
    "\n## Targets\n\n".to_owned() + &table(&words(&["target", "verdict", "figure"]), &rows)
}

fn failures(race: &Race) -> String {
    let mut out = String::new();
    for row in &race.rows {
        for (name, cell) in race.names.iter().zip(&row.cells) {
            if let Cell::Failed(why) = cell {
                out += &format!("- {} under {name}: {}\n", row.workload, why.replace('\n', "; "));
            }
        }
    }
    if out.is_empty() {
        return out;
    }
    "\n## Failures\n\n".to_owned() + &out
}
