//! What a race leaves: JSON with every run, from which all figures can be made again.

use crate::bootstrap::{interval, mean_interval, Interval, INTERVALS};
use crate::figures::{Calls, Cell, Group, Race, Row, Sample, MEASURES, SCOPES};
use crate::launch::Run;
use crate::library::BASE;
use serde::{Deserialize, Serialize};
use serde_json::{json, Map, Value};
use std::collections::HashMap;

/// The measurements of one allocator over one workload. A report also has figures that follow from
/// them; they are computed anew.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct CellRecord {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runs: Vec<Run>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<Calls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    absent: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The part of a report that a race needs.
#[derive(Deserialize)]
struct Report {
    libraries: Vec<Named>,
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Workload {
    name: String,
    group: Group,
    #[serde(default = "one")]
    weight: f64,
    results: HashMap<String, CellRecord>,
}

fn one() -> f64 {
    1.0
}

impl From<CellRecord> for Cell {
    fn from(record: CellRecord) -> Cell {
        match record {
            CellRecord { failed: Some(why), .. } => Cell::Failed(why),
            CellRecord { runs, .. } if runs.is_empty() => Cell::Absent,
            CellRecord { runs, calls, .. } => Cell::Done(Sample { runs, calls }),
        }
    }
}

/// What was measured, without any figure that follows from it.
pub fn cell_json(cell: &Cell) -> Value {
    json!(match cell {
        Cell::Absent => CellRecord { absent: true, ..CellRecord::default() },
        Cell::Failed(why) => CellRecord { failed: Some(why.clone()), ..CellRecord::default() },
        Cell::Done(sample) =>
            CellRecord { runs: sample.runs.clone(), calls: sample.calls, ..CellRecord::default() },
    })
}

/// Empty where there are none.
pub fn parse_runs(value: &Value) -> Vec<Run> {
    Vec::deserialize(value).unwrap_or_default()
}

pub fn parse(report: &Value) -> Result<Race, String> {
    let report = Report::deserialize(report).map_err(|e| format!("the report: {e}"))?;
    let names: Vec<String> = report.libraries.into_iter().map(|l| l.name).collect();
    let rows = report.workloads.into_iter().map(|mut w| Row {
        cells: names.iter().map(|n| w.results.remove(n).unwrap_or_default().into()).collect(),
        workload: w.name,
        group: w.group,
        weight: w.weight,
    });
    let rows = rows.collect();
    Ok(Race { names, rows })
}

/// Puts beside the runs all figures that follow from them.
pub fn add_figures(report: &mut Value, race: &Race) {
    for (at, row) in race.rows.iter().enumerate() {
        for (library, name) in race.names.iter().enumerate() {
            let cell = &mut report["workloads"][at]["results"][name];
            cell_figures(cell, race, (at, row), library);
        }
    }
    let mut means = Map::new();
    for (scope, groups) in SCOPES {
        let of = |at: usize| (race.names[at].clone(), means_json(race, groups, at));
        means.insert(scope.to_owned(), Value::Object((0..race.names.len()).map(of).collect()));
    }
    report["geometric_means"] = Value::Object(means);
}

fn cell_figures(cell: &mut Value, race: &Race, (at, row): (usize, &Row), library: usize) {
    let Some(sample) = row.cells[library].done() else { return };
    let mut ratios = Map::new();
    for (measure, name) in MEASURES {
        if let Some(figure) = measure.of(sample) {
            cell[name] = json!(figure);
        }
        if let Some(ratio) = race.ratio(row, library, measure) {
            ratios.insert(name.to_owned(), json!(rounded(ratio)));
        }
    }
    cell["ratios"] = Value::Object(ratios);
    let Some(base) = race.index(BASE) else { return };
    let mut intervals = Map::new();
    for (measure, name) in INTERVALS {
        if let Some(i) = interval((at, row), library, base, measure) {
            intervals.insert(name.to_owned(), interval_json(i));
        }
    }
    cell["intervals"] = Value::Object(intervals);
}

fn means_json(race: &Race, groups: &[Group], at: usize) -> Value {
    let mut means = Map::new();
    for (measure, name) in MEASURES {
        if let Some((mean, count)) = race.mean(groups, at, measure) {
            means.insert(name.to_owned(), json!(rounded(mean)));
            means.insert("workloads".to_owned(), json!(count));
        }
    }
    let Some(base) = race.index(BASE) else { return Value::Object(means) };
    for (measure, name) in INTERVALS {
        if let Some(i) = mean_interval(race, groups, at, base, measure) {
            means.insert(format!("{name}_interval"), interval_json(i));
        }
    }
    Value::Object(means)
}

fn interval_json(interval: Interval) -> Value {
    json!([rounded(interval.low), rounded(interval.high)])
}

/// More digits than these are noise.
pub fn rounded(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::race_of;
    use crate::figures::Measure;

    #[test]
    fn figures_come_back_from_the_report() {
        let race = race_of(&[(&[20, 30], &[10, 12], Group::Own)]);
        let cells: Map<String, Value> =
            race.names.iter().cloned().zip(race.rows[0].cells.iter().map(cell_json)).collect();
        let mut report = json!({
            "libraries": [{ "name": "ours" }, { "name": BASE }],
            "workloads": [{ "name": "w0", "group": "own", "weight": 1.0, "results": cells }],
        });
        let again = parse(&report).unwrap();
        assert_eq!(again.ratio(&again.rows[0], 0, Measure::TimeMin), Some(2.0));
        add_figures(&mut report, &again);
        assert_eq!(report["geometric_means"]["own"]["ours"]["time_min"], 2.0);
        assert_eq!(report["workloads"][0]["results"]["ours"]["ratios"]["time_min"], 2.0);
    }
}
