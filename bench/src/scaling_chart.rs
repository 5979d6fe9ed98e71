//! The chart of `scaling`: a panel for each workload, a line for each allocator; time against the
//! number of threads, relative to the base with one thread, both axes logarithmic.

use crate::chart::{colours, line, write, Area, FAINT, GREY, LABELS, MARGIN, WIDTH};
use crate::library::{BASE, OURS};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use serde_json::Value;
use std::path::Path;

const COLUMNS: i32 = 3;
const PANEL: i32 = 240;
const GAP: i32 = 46;
const TOP: i32 = 90;

/// Times beyond these, relative to the base with one thread, are drawn at the edge.
const LOWEST: f64 = 0.25;
const HIGHEST: f64 = 16.0;
const TICKS: [f64; 7] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

struct Panel {
    left: i32,
    top: i32,
    width: i32,
    last: usize,
}

impl Panel {
    fn x(&self, at: usize) -> i32 {
        self.left + self.width * at as i32 / self.last.max(1) as i32
    }

    fn y(&self, ratio: f64) -> i32 {
        let place = (ratio.clamp(LOWEST, HIGHEST) / LOWEST).log2() / (HIGHEST / LOWEST).log2();
        self.top + PANEL - (place * f64::from(PANEL)).round() as i32
    }
}

fn panel(
    area: &Area,
    panel: &Panel,
    workload: &Value,
    names: &[String],
    counts: &[u64],
) -> Result<(), String> {
    let title = workload["name"].as_str().unwrap_or_default();
    write(area, title, (panel.left, panel.top - 14), 14, HPos::Left)?;
    for tick in TICKS {
        let y = panel.y(tick);
        let colour = if tick == 1.0 { GREY } else { FAINT };
        line(area, (panel.left, y), (panel.left + panel.width, y), colour)?;
        write(area, &format!("{tick}"), (panel.left - 6, y), 11, HPos::Right)?;
    }
    for (at, count) in counts.iter().enumerate() {
        let below = (panel.x(at), panel.top + PANEL + 12);
        write(area, &count.to_string(), below, 11, HPos::Center)?;
    }
    let time = |name: &str, count: u64| workload["time_min"][name][count.to_string()].as_f64();
    let Some(one) = counts.first().and_then(|count| time(BASE, *count)) else { return Ok(()) };
    for (name, colour) in names.iter().zip(colours(names)) {
        let points: Vec<(i32, i32)> = counts
            .iter()
            .enumerate()
            .filter_map(|(at, count)| Some((panel.x(at), panel.y(time(name, *count)? / one))))
            .collect();
        let width = if name == OURS { 3 } else { 1 };
        for point in &points {
            area.draw(&Circle::new(*point, 2 + width as i32 / 2, colour.filled()))
                .map_err(|e| e.to_string())?;
        }
        area.draw(&PathElement::new(points, colour.stroke_width(width)))
            .map_err(|e| e.to_string())?;
    }
    Ok(())
}

pub fn draw(file: &Path, report: &Value, caption: &str) -> Result<(), String> {
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let (libraries, workloads) = (list("libraries"), list("workloads"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = libraries.iter().map(|l| text(&l["name"])).collect();
    let counts: Vec<u64> = list("threads").iter().filter_map(Value::as_u64).collect();

    let rows = (workloads.len() as i32 + COLUMNS - 1) / COLUMNS;
    let height = (TOP + rows * (PANEL + GAP) + MARGIN).max(TOP + names.len() as i32 * 20);
    let width = (WIDTH - 2 * MARGIN - LABELS) / COLUMNS - GAP;
    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| e.to_string())?;
    let title = "Time by number of threads, relative to mimalloc 2.1.7 with one; lower is better";
    write(&area, title, (MARGIN, 20), 18, HPos::Left)?;
    write(&area, caption, (MARGIN, 42), 12, HPos::Left)?;
    for (at, (library, colour)) in libraries.iter().zip(colours(&names)).enumerate() {
        let y = TOP + at as i32 * 20;
        area.draw(&Circle::new((MARGIN + 5, y), 5, colour.filled())).map_err(|e| e.to_string())?;
        write(&area, &text(&library["short"]), (MARGIN + 16, y), 13, HPos::Left)?;
    }
    for (at, workload) in workloads.iter().enumerate() {
        let (column, row) = (at as i32 % COLUMNS, at as i32 / COLUMNS);
        let place = Panel {
            left: MARGIN + LABELS + GAP + column * (width + GAP),
            top: TOP + row * (PANEL + GAP),
            width,
            last: counts.len().saturating_sub(1),
        };
        panel(&area, &place, workload, &names, &counts)?;
    }
    area.present().map_err(|e| e.to_string())
}
