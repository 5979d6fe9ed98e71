//! The chart of the race: a table of all workloads, one row each, with the ratio of medians of each
//! allocator to the base, in time and in peak memory. A cell has a colour where its interval leaves 1 out.

use crate::bootstrap::interval;
use crate::chart::{self, Area, MARGIN, SOFT, WIDTH};
use crate::figures::{Cell, Group, Measure, Race, Row, SCOPES};
use crate::library::BASE;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use std::path::Path;

const NAMES: i32 = 128;
const GAP: i32 = 16;
const TOP: i32 = 104;
const ROW: i32 = 17;
/// A heading of a group, with room above it.
const HEADING: i32 = 30;
const BETTER: RGBColor = RGBColor(0, 98, 168);
const WORSE: RGBColor = RGBColor(214, 96, 0);
/// A ratio of this, or its inverse, has the full colour.
const FULL: f64 = 2.0;
const MEASURES: [(Measure, &str); 2] =
    [(Measure::TimeMedian, "time"), (Measure::Peak, "peak memory")];

/// Where the cells of one measure are.
struct Block {
    left: i32,
    width: i32,
    measure: Measure,
}

fn mixed(colour: RGBColor, share: f64) -> RGBColor {
    let mix = |c: u8| (255.0 - (255.0 - f64::from(c)) * share).round() as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

fn shade(ratio: f64) -> RGBColor {
    let share = 0.15 + 0.6 * (ratio.ln().abs() / FULL.ln()).min(1.0);
    mixed(if ratio < 1.0 { BETTER } else { WORSE }, share)
}

/// The number at the end of a label: "tcmalloc (gperftools 2.10)" has 2.10.
fn version(label: &str) -> String {
    let mut numbers = label.split(|c: char| !c.is_ascii_digit() && c != '.');
    numbers.rfind(|n| n.contains('.')).unwrap_or_default().to_owned()
}

fn cell(
    area: &Area,
    race: &Race,
    (at, row): (usize, &Row),
    library: usize,
    block: &Block,
    (x, y): (i32, i32),
) -> Result<(), String> {
    let place = (x + block.width / 2, y + ROW / 2);
    let Some(ratio) = race.ratio(row, library, block.measure) else {
        let text = if matches!(row.cells[library], Cell::Failed(_)) { "failed" } else { "–" };
        return chart::write_in(area, text, place, 11, HPos::Center, SOFT);
    };
    let base = race.index(BASE).unwrap_or(library);
    let apart = interval((at, row), library, base, block.measure)
        .is_some_and(|i| i.low > 1.0 || i.high < 1.0);
    if apart {
        chart::fill(area, (x, y), (x + block.width - 1, y + ROW - 1), shade(ratio))?;
        chart::write(area, &format!("{ratio:.2}"), place, 11, HPos::Center)
    } else {
        chart::write_in(area, &format!("{ratio:.2}"), place, 11, HPos::Center, SOFT)
    }
}

fn heading(scope: &str, count: usize) -> String {
    match scope {
        "own" => format!("C programs, {count}"),
        "real" => format!("Programs of the system, {count}"),
        _ => format!("Rust programs, {count}"),
    }
}

/// `labels` in the order of `race.names`.
pub fn draw(file: &Path, race: &Race, labels: &[String], caption: &str) -> Result<(), String> {
    // The base is 1 everywhere.
    let columns: Vec<usize> = (0..race.names.len()).filter(|at| race.names[*at] != BASE).collect();
    let scopes: Vec<_> = SCOPES[..Group::ALL.len()]
        .iter()
        .filter(|(_, groups)| race.rows_of(groups).count() > 0)
        .collect();
    let half = (WIDTH - 2 * MARGIN - NAMES - GAP) / 2;
    let width = half / (columns.len() as i32).max(1);
    let height = TOP + race.rows.len() as i32 * ROW + scopes.len() as i32 * HEADING + MARGIN;
    let area = chart::area(file, height)?;
    let base = chart::base_label(&race.names, labels);
    let title = format!("Each program: ratio of medians to {base}");
    chart::write(&area, &title, (MARGIN, 20), 17, HPos::Left)?;
    let legend = "blue: better, orange: worse, without a colour: the 95 % interval holds 1";
    chart::write_in(&area, legend, (MARGIN, 42), 12, HPos::Left, SOFT)?;
    chart::write_in(&area, caption, (WIDTH - MARGIN, 42), 11, HPos::Right, SOFT)?;
    let blocks = [0, 1].map(|at| Block {
        left: MARGIN + NAMES + at * (half + GAP),
        width,
        measure: MEASURES[at as usize].0,
    });
    for (block, (_, what)) in blocks.iter().zip(MEASURES) {
        chart::write(&area, what, (block.left, 64), 14, HPos::Left)?;
        for (number, at) in columns.iter().enumerate() {
            let x = block.left + number as i32 * width + width / 2;
            let name = &race.names[*at];
            chart::write_in(&area, name, (x, 82), 11, HPos::Center, chart::colour(name))?;
            chart::write_in(&area, &version(&labels[*at]), (x, 95), 10, HPos::Center, SOFT)?;
        }
    }
    let mut y = TOP;
    for (scope, groups) in scopes {
        let text = heading(scope, race.rows_of(groups).count());
        chart::write(&area, &text, (MARGIN, y + HEADING - 12), 13, HPos::Left)?;
        y += HEADING;
        for (at, row) in race.rows_of(groups) {
            chart::write(&area, &row.workload, (MARGIN, y + ROW / 2), 12, HPos::Left)?;
            for block in &blocks {
                for (number, library) in columns.iter().enumerate() {
                    let x = block.left + number as i32 * width;
                    cell(&area, race, (at, row), *library, block, (x, y))?;
                }
            }
            y += ROW;
        }
    }
    area.present().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_last_number_of_a_label() {
        assert_eq!(version("tcmalloc (gperftools 2.10)"), "2.10");
        assert_eq!(version("mimalloc 2.3.2"), "2.3.2");
        assert_eq!(version("this project"), "");
    }

    #[test]
    fn colours_are_stronger_further_from_1() {
        let red = |ratio: f64| shade(ratio).0;
        assert!(red(0.9) > red(0.6) && red(0.6) > red(0.3));
        assert_eq!(shade(8.0), shade(2.0));
    }
}
