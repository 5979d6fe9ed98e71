//! The chart for a first look: the geometric means of time and of peak memory with their intervals, a row
//! for each allocator, a column for each kind of program.

use crate::bootstrap::{mean_interval, Interval};
use crate::chart::{self, Scale, LABELS, MARGIN, SOFT, WIDTH};
use crate::figures::{Group, Measure, Race, SCOPES};
use crate::library::BASE;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const TOP: i32 = 82;
const ROW: i32 = 26;
const BOTTOM: i32 = 52;
const GAP: i32 = 14;
/// Between time and memory.
const MIDDLE: i32 = 24;
const MEASURES: [(Measure, &str); 2] =
    [(Measure::TimeMedian, "time"), (Measure::Peak, "peak memory")];

/// The ratio of medians, and where it has one its interval.
struct Mean {
    mean: f64,
    interval: Option<Interval>,
}

/// In the order of `race.names`.
fn means(race: &Race, groups: &[Group], measure: Measure) -> Vec<Option<Mean>> {
    let base = race.index(BASE);
    let mean = |at: usize| {
        let (mean, _) = race.mean(groups, at, measure)?;
        let other = base.filter(|base| *base != at);
        let interval = other.and_then(|base| mean_interval(race, groups, at, base, measure));
        Some(Mean { mean, interval })
    };
    (0..race.names.len()).map(mean).collect()
}

fn kind(scope: &str, count: usize) -> String {
    match scope {
        "own" => format!("{count} C programs"),
        "real" => format!("{count} real programs"),
        _ => format!("{count} Rust programs"),
    }
}

pub fn draw(file: &Path, race: &Race, labels: &[String], caption: &str) -> Result<(), String> {
    let scopes: Vec<_> = SCOPES[..Group::ALL.len()]
        .iter()
        .map(|(scope, groups)| (*scope, *groups, race.rows_of(groups).count()))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    let rows = race.names.len() as i32 * ROW;
    let panels = scopes.len() as i32;
    let half = (WIDTH - 2 * MARGIN - LABELS - MIDDLE) / 2;
    let width = (half - (panels - 1) * GAP) / panels.max(1);
    let area = chart::area(file, TOP + rows + BOTTOM)?;
    let base = chart::base_label(&race.names, labels);
    let title = format!("Time and peak memory relative to {base}: left of 1 is better");
    chart::write(&area, &title, (MARGIN, 20), 17, HPos::Left)?;
    for (row, (name, label)) in race.names.iter().zip(labels).enumerate() {
        chart::row_label(&area, name, label, (TOP + row as i32 * ROW, ROW))?;
    }
    for (at, (measure, what)) in MEASURES.into_iter().enumerate() {
        let left = MARGIN + LABELS + at as i32 * (half + MIDDLE);
        chart::write(&area, what, (left, 46), 14, HPos::Left)?;
        let columns: Vec<_> =
            scopes.iter().map(|(_, groups, _)| means(race, groups, measure)).collect();
        let drawn = columns.iter().flatten().flatten().flat_map(|m| {
            let i = m.interval.unwrap_or(Interval { low: m.mean, high: m.mean });
            [m.mean, i.low, i.high]
        });
        let ends = chart::ends(drawn);
        for (column, (scope, _, count)) in columns.iter().zip(&scopes) {
            let number = scopes.iter().position(|s| s.0 == *scope).unwrap_or(0) as i32;
            let scale = Scale::new(left + number * (width + GAP), width, ends);
            let at = (left + number * (width + GAP), 66);
            chart::write_in(&area, &kind(scope, *count), at, 12, HPos::Left, SOFT)?;
            scale.grid(&area, TOP, TOP + rows)?;
            for (row, mean) in column.iter().enumerate() {
                let Some(Mean { mean, interval }) = mean else { continue };
                let y = TOP + row as i32 * ROW + ROW / 2;
                scale.figure(&area, y, *mean, *interval, &[], chart::colour(&race.names[row]))?;
            }
        }
    }
    let note = "Geometric means of ratios of medians with 95 % intervals; logarithmic scales. ";
    let at = (MARGIN, TOP + rows + 36);
    chart::write_in(&area, &format!("{note}{caption}"), at, 11, HPos::Left, SOFT)?;
    area.present().map_err(|e| e.to_string())
}
