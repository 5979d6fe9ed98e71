//! From the raw results of a race to report/: JSON, chart and text, now or again later.

use crate::targets::Data;
use crate::{calibration, chart, machine, markdown, record, sections, targets, tools, Options};
use serde_json::Value;
use std::path::PathBuf;

fn file(options: &Options, kind: &str, extension: &str) -> PathBuf {
    tools::report().join(format!("{}.{extension}", options.stem(kind)))
}

/// A report of another command, if it was written.
fn other(options: &Options, kind: &str) -> Option<Value> {
    let text = std::fs::read_to_string(file(options, kind, "json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// Makes chart, text and figures again from the runs that are kept.
pub fn rerender(options: &Options) -> Result<(), String> {
    let file = file(options, "race", "json");
    let raw = serde_json::from_str(&tools::read(&file)?)
        .map_err(|e| format!("{}: {e}", tools::shown(&file)))?;
    write(options, raw)
}

pub fn write(options: &Options, mut report: Value) -> Result<(), String> {
    let race = record::parse(&report)?;
    record::add_figures(&mut report, &race);
    let [count, touch, latency] = ["count", "touch", "latency"].map(|kind| other(options, kind));
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
    for kind in ["touch", "count", "latency", "hugepages", "scaling"] {
        if let Some(section) = other(options, kind).and_then(|r| sections::of(kind, &r)) {
            text += &section;
        }
    }
    report["calibration"] = calibration::to_json(&lines);
    report["calibration_verdict"] = Value::from(calibration::verdict(&lines));
    report["targets"] = targets::to_json(&targets);
    println!("\n{text}");
    tools::make_dir(&tools::report())?;
    let [json_file, svg_file, md_file] = ["json", "svg", "md"].map(|e| file(options, "race", e));
    tools::write_json(&json_file, &report)?;
    tools::write_text(&md_file, &text)?;
    let labels: Vec<String> = report["libraries"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| l["short"].as_str().or(l["name"].as_str()).unwrap_or_default().to_owned())
        .collect();
    let caption = format!(
        "{}, {} rounds. {}",
        report["date"].as_str().unwrap_or_default(),
        report["rounds"],
        machine::line(&report["machine"])
    );
    chart::draw(&svg_file, &race, &labels, &caption)?;
    let shown = [&json_file, &svg_file, &md_file].map(|f| tools::shown(f));
    println!("written: {}", shown.join(", "));
    Ok(())
}
