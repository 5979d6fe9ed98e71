//! The chart of `scaling`: a panel for each workload, a row for each allocator. Its dots are the median
//! times with each number of threads, relative to the base with one; the last one has its interval.

use crate::bootstrap::interval;
use crate::chart::{self, Area, Scale, LABELS, MARGIN, SOFT, WIDTH};
use crate::figures::{Cell, Group, Measure, Row, Sample};
use crate::library::BASE;
use crate::record::parse_runs;
use plotters::style::text_anchor::HPos;
use serde_json::Value;
use std::path::Path;

const COLUMNS: i32 = 3;
const TOP: i32 = 84;
const ROW: i32 = 22;
const GAP: i32 = 22;
/// Below the rows of a panel: its scale, and room for the title of the next.
const BELOW: i32 = 58;

/// The runs of one workload: by allocator, then by number of threads.
struct Panel {
    title: String,
    rows: Vec<Vec<Option<Row>>>,
}

fn sample(workload: &Value, count: u64, name: &str) -> Cell {
    let runs = parse_runs(&workload["runs"][count.to_string()]["results"][name]["runs"]);
    if runs.is_empty() {
        Cell::Absent
    } else {
        Cell::Done(Sample { runs, calls: None })
    }
}

/// Two cells: an allocator with so many threads, and the base with one.
fn pair(workload: &Value, count: u64, name: &str) -> Option<Row> {
    let cells = vec![sample(workload, count, name), sample(workload, 1, BASE)];
    cells.iter().all(|cell| cell.done().is_some()).then(|| Row {
        workload: String::new(),
        group: Group::Own,
        weight: 1.0,
        cells,
    })
}

fn ratio(row: &Row) -> Option<f64> {
    let of = |at: usize| Measure::TimeMedian.of(row.cells[at].done()?);
    Some(of(0)? / of(1)?)
}

fn panel(workload: &Value, names: &[String], counts: &[u64]) -> Panel {
    Panel {
        title: workload["name"].as_str().unwrap_or_default().to_owned(),
        rows: names
            .iter()
            .map(|name| counts.iter().map(|count| pair(workload, *count, name)).collect())
            .collect(),
    }
}

fn draw_panel(
    area: &Area,
    panel: &Panel,
    names: &[String],
    (left, top, width): (i32, i32, i32),
) -> Result<(), String> {
    chart::write(area, &panel.title, (left, top - 12), 13, HPos::Left)?;
    let ratios = panel.rows.iter().flatten().flatten().filter_map(ratio);
    let intervals = panel.rows.iter().filter_map(|row| {
        let i = interval((0, row.last()?.as_ref()?), 0, 1, Measure::TimeMedian)?;
        Some([i.low, i.high])
    });
    let figures: Vec<f64> = ratios.chain(intervals.flatten()).collect();
    let scale = Scale::new(left, width, chart::ends(figures.into_iter()));
    scale.grid(area, top, top + names.len() as i32 * ROW)?;
    for (at, (row, name)) in panel.rows.iter().zip(names).enumerate() {
        let y = top + at as i32 * ROW + ROW / 2;
        let colour = chart::colour(name);
        let Some((Some(last), before)) = row.split_last() else { continue };
        let Some(end) = ratio(last) else { continue };
        let fewer: Vec<f64> = before.iter().flatten().filter_map(ratio).collect();
        for ratio in &fewer {
            chart::line(area, (scale.x(*ratio), y), (scale.x(end), y), chart::FAINT, 2)?;
        }
        for ratio in &fewer {
            chart::dot(area, (scale.x(*ratio), y), 4, colour, true)?;
        }
        let interval = interval((0, last), 0, 1, Measure::TimeMedian);
        scale.figure(area, y, end, interval, &fewer, colour)?;
    }
    Ok(())
}

pub fn draw(file: &Path, report: &Value, caption: &str) -> Result<(), String> {
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let libraries = list("libraries");
    let names: Vec<String> = libraries.iter().map(|l| text(&l["name"])).collect();
    let labels: Vec<String> = libraries.iter().map(|l| text(&l["short"])).collect();
    let counts: Vec<u64> = list("threads").iter().filter_map(Value::as_u64).collect();
    let panels: Vec<Panel> = list("workloads").iter().map(|w| panel(w, &names, &counts)).collect();

    let lines = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let rows = names.len() as i32 * ROW;
    let area = chart::area(file, TOP + lines * (rows + BELOW))?;
    let most = counts.last().copied().unwrap_or(1);
    let base = chart::base_label(&names, &labels);
    let title = format!("Time with 1 to {most} threads, relative to {base} with one");
    chart::write(&area, &title, (MARGIN, 20), 17, HPos::Left)?;
    let legend = format!(
        "left is better; hollow: fewer threads, filled: {most} with the 95 % interval; medians, \
         logarithmic scales"
    );
    chart::write_in(&area, &legend, (MARGIN, 42), 12, HPos::Left, SOFT)?;
    let width = (WIDTH - 2 * MARGIN - LABELS) / COLUMNS - GAP;
    for line in 0..lines {
        let top = TOP + line * (rows + BELOW);
        for (row, (name, label)) in names.iter().zip(&labels).enumerate() {
            chart::row_label(&area, name, label, (top + row as i32 * ROW, ROW))?;
        }
    }
    for (at, panel) in panels.iter().enumerate() {
        let (column, line) = (at as i32 % COLUMNS, at as i32 / COLUMNS);
        let left = MARGIN + LABELS + column * (width + GAP);
        draw_panel(&area, panel, &names, (left, TOP + line * (rows + BELOW), width))?;
    }
    let foot = (WIDTH - MARGIN, TOP + lines * (rows + BELOW) - 14);
    chart::write_in(&area, caption, foot, 11, HPos::Right, SOFT)?;
    area.present().map_err(|e| e.to_string())
}
