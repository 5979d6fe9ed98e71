//! What a race leaves: JSON with every run, from which all figures can be made again.

use crate::bootstrap::{interval, mean_interval, Interval, INTERVALS};
use crate::figures::{Calls, Cell, Group, Race, Row, Sample, MEASURES, SCOPES};
use crate::launch::Run;
use crate::library::BASE;
use serde_json::{json, Map, Value};

fn run_json(run: &Run) -> Value {
    json!({
        "wall_ns": run.wall_ns,
        "user_us": run.user_us,
        "sys_us": run.sys_us,
        "peak_kib": run.peak_kib,
        "minor_faults": run.minor_faults,
        "major_faults": run.major_faults,
    })
}

pub fn runs_json(runs: &[Run]) -> Value {
    runs.iter().map(run_json).collect()
}

/// What was measured, without any figure that follows from it.
pub fn cell_json(cell: &Cell) -> Value {
    match cell {
        Cell::Absent => json!({ "absent": true }),
        Cell::Failed(why) => json!({ "failed": why }),
        Cell::Done(sample) => {
            let mut value = json!({ "runs": runs_json(&sample.runs) });
            if let Some(calls) = sample.calls {
                value["calls"] = json!({ "total": calls.total, "memory": calls.memory });
            }
            value
        }
    }
}

pub fn parse_runs(value: &Value) -> Vec<Run> {
    let number = |run: &Value, key: &str| run[key].as_u64().unwrap_or_default();
    let run = |run: &Value| Run {
        wall_ns: number(run, "wall_ns"),
        user_us: number(run, "user_us"),
        sys_us: number(run, "sys_us"),
        peak_kib: number(run, "peak_kib"),
        minor_faults: number(run, "minor_faults"),
        major_faults: number(run, "major_faults"),
    };
    value.as_array().into_iter().flatten().map(run).collect()
}

fn parse_cell(value: &Value) -> Cell {
    if let Some(why) = value["failed"].as_str() {
        return Cell::Failed(why.to_owned());
    }
    let runs = parse_runs(&value["runs"]);
    if runs.is_empty() {
        return Cell::Absent;
    }
    let call = |key: &str| value["calls"][key].as_u64();
    let calls = match (call("total"), call("memory")) {
        (Some(total), Some(memory)) => Some(Calls { total, memory }),
        _ => None,
    };
    Cell::Done(Sample { runs, calls })
}

pub fn parse(report: &Value) -> Result<Race, String> {
    let list = |key: &str| report[key].as_array().ok_or(format!("the report has no '{key}'"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = list("libraries")?.iter().map(|l| text(&l["name"])).collect();
    let mut rows = Vec::new();
    for workload in list("workloads")? {
        let name = text(&workload["name"]);
        let group = Group::named(workload["group"].as_str().unwrap_or_default())
            .ok_or(format!("{name} has no group"))?;
        rows.push(Row {
            group,
            weight: workload["weight"].as_f64().unwrap_or(1.0),
            cells: names.iter().map(|n| parse_cell(&workload["results"][n])).collect(),
            workload: name,
        });
    }
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
