//! From what the commands measured to report/: JSON, charts and text, now or again later.

use crate::options::Options;
use crate::targets::Data;
use crate::{
    calibration, machine, markdown, memory_chart, overview, race_chart, record, scaling_chart,
    sections, targets, tools,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn file(options: &Options, kind: &str, extension: &str) -> PathBuf {
    tools::report().join(format!("{}.{extension}", options.stem(kind)))
}

/// A report that was written before.
pub fn read(options: &Options, kind: &str) -> Result<Value, String> {
    let file = file(options, kind, "json");
    serde_json::from_str(&tools::read(&file)?).map_err(|e| format!("{}: {e}", tools::shown(&file)))
}

/// What a command other than the race measured: its table on the terminal, and its file.
pub fn keep(options: &Options, kind: &str, report: &Value) -> Result<(), String> {
    show(kind, report);
    tools::keep(&options.stem(kind), report)
}

fn show(kind: &str, report: &Value) {
    if let Some(text) = sections::of(kind, report) {
        println!("{text}");
    }
}

fn caption(report: &Value, what: &str) -> String {
    let date = report["date"].as_str().unwrap_or_default();
    let rounds = &report["rounds"];
    format!("{date}, {what}{rounds} rounds. {}", machine::line(&report["machine"]))
}

fn labels(report: &Value) -> Vec<String> {
    let libraries = report["libraries"].as_array().into_iter().flatten();
    let label =
        |l: &Value| l["short"].as_str().or(l["name"].as_str()).unwrap_or_default().to_owned();
    libraries.map(label).collect()
}

/// A table on the terminal, and one chart.
fn charted(
    options: &Options,
    kind: &str,
    report: &Value,
    draw: fn(&Path, &Value, &str) -> Result<(), String>,
) -> Result<(), String> {
    show(kind, report);
    let file = file(options, kind, "svg");
    draw(&file, report, &caption(report, ""))?;
    println!("written: {}", tools::shown(&file));
    Ok(())
}

pub fn scaling(options: &Options, report: &Value) -> Result<(), String> {
    charted(options, "scaling", report, scaling_chart::draw)
}

pub fn memory(options: &Options, report: &Value) -> Result<(), String> {
    charted(options, "memory", report, memory_chart::draw)
}

/// The race with all figures that follow from it, and with the tables of the other commands.
pub fn race(options: &Options, mut report: Value) -> Result<(), String> {
    let race = record::parse(&report)?;
    record::add_figures(&mut report, &race);
    let [count, touch, latency] =
        ["count", "touch", "latency"].map(|kind| read(options, kind).ok());
    let lines = calibration::compare(&race, calibration::published()?);
    let data = Data {
        race: &race,
        report: &report,
        count: count.as_ref(),
        touch: touch.as_ref(),
        latency: latency.as_ref(),
    };
    let targets = targets::all(&data);
    let mut text = markdown::render(&data, &lines, &targets);
    for kind in ["touch", "count", "latency", "hugepages", "scaling", "memory"] {
        if let Some(section) = read(options, kind).ok().and_then(|r| sections::of(kind, &r)) {
            text += &section;
        }
    }
    report["calibration"] = calibration::to_json(&lines);
    report["calibration_verdict"] = Value::from(calibration::verdict(&lines));
    report["targets"] = targets::to_json(&targets);
    println!("\n{text}");
    tools::make_dir(&tools::report())?;
    let [json_file, svg_file, md_file] = ["json", "svg", "md"].map(|e| file(options, "race", e));
    let overview_file = file(options, "overview", "svg");
    tools::write_json(&json_file, &report)?;
    tools::write_text(&md_file, &text)?;
    let (labels, caption) = (labels(&report), caption(&report, ""));
    race_chart::draw(&svg_file, &race, &labels, &caption)?;
    overview::draw(&overview_file, &race, &labels, &caption)?;
    let written = [&json_file, &svg_file, &overview_file, &md_file].map(|f| tools::shown(f));
    println!("written: {}", written.join(", "));
    Ok(())
}
