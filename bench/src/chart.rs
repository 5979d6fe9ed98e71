//! The chart: geometric means as bars on top, a block for each group of workloads and one for all;
//! every workload as a strip of dots below.
//! Left half time, right half peak memory, both as ratios to the base on a logarithmic scale.

use crate::figures::{Group, Measure, Race, SCOPES};
use crate::library::BASE;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub const WIDTH: i32 = 1100;
pub const MARGIN: i32 = 20;
pub const LABELS: i32 = 190;
const GAP: i32 = 40;
const BAR: i32 = 18;
/// Between blocks, with the block's title in it.
const BLOCK: i32 = 46;
const DOT_STEP: i32 = 5;
const TITLE: i32 = 76;
const AXIS: i32 = 30;

/// Ratios beyond these are drawn at the edge.
const LOWEST: f64 = 0.25;
const HIGHEST: f64 = 4.0;
const TICKS: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

const INK: RGBColor = RGBColor(34, 34, 34);
pub const FAINT: RGBColor = RGBColor(222, 222, 222);
const STRIPE: RGBColor = RGBColor(246, 247, 249);
/// For the base, and for ours.
pub const GREY: RGBColor = RGBColor(120, 120, 120);
const RED: RGBColor = RGBColor(208, 40, 60);
/// For the others, in order; chosen to stay apart for colour-blind eyes.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(148, 103, 60),
    RGBColor(110, 70, 170),
    RGBColor(60, 60, 60),
];

/// One half of the picture.
struct Panel {
    left: i32,
    right: i32,
    measure: Measure,
    title: &'static str,
}

impl Panel {
    fn x(&self, ratio: f64) -> i32 {
        let place = (ratio.clamp(LOWEST, HIGHEST) / LOWEST).log2() / (HIGHEST / LOWEST).log2();
        self.left + (place * f64::from(self.right - self.left)).round() as i32
    }
}

pub fn colours(names: &[String]) -> Vec<RGBColor> {
    let mut others = COLOURS.iter().cycle();
    let mut of = |name: &str| match name {
        BASE => GREY,
        "ours" => RED,
        _ => *others.next().unwrap_or(&INK),
    };
    names.iter().map(|name| of(name)).collect()
}

pub fn write(area: &Area, text: &str, at: (i32, i32), size: i32, h: HPos) -> Result<(), String> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&INK)
        .pos(Pos::new(h, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(|e| e.to_string())
}

pub fn fill(area: &Area, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<(), String> {
    area.draw(&Rectangle::new([from, to], colour.filled())).map_err(|e| e.to_string())
}

pub fn line(area: &Area, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<(), String> {
    area.draw(&PathElement::new(vec![from, to], colour.stroke_width(1))).map_err(|e| e.to_string())
}

fn grid(area: &Area, panel: &Panel, top: i32, bottom: i32) -> Result<(), String> {
    for tick in TICKS {
        let x = panel.x(tick);
        let colour = if tick == 1.0 { GREY } else { FAINT };
        line(area, (x, top), (x, bottom), colour)?;
        write(area, &format!("{tick}"), (x, bottom + 12), 12, HPos::Center)?;
    }
    Ok(())
}

fn bars(area: &Area, race: &Race, groups: &[Group], panel: &Panel, top: i32) -> Result<(), String> {
    let colours = colours(&race.names);
    for (at, colour) in colours.iter().enumerate() {
        let y = top + at as i32 * BAR;
        let Some((mean, _)) = race.mean(groups, at, panel.measure) else {
            continue;
        };
        let (from, to) = (panel.x(mean.min(1.0)), panel.x(mean.max(1.0)));
        fill(area, (from, y + 4), (to.max(from + 1), y + BAR - 4), *colour)?;
        let (x, side) = if mean < 1.0 { (from - 6, HPos::Right) } else { (to + 6, HPos::Left) };
        write(area, &format!("{mean:.2}"), (x, y + BAR / 2), 13, side)?;
    }
    Ok(())
}

fn dots(area: &Area, race: &Race, panel: &Panel, top: i32, height: i32) -> Result<(), String> {
    let colours = colours(&race.names);
    for (number, row) in race.rows.iter().enumerate() {
        let y = top + number as i32 * height;
        for (at, colour) in colours.iter().enumerate() {
            let Some(ratio) = race.ratio(row, at, panel.measure) else {
                continue;
            };
            let centre = (panel.x(ratio), y + (at as i32 + 1) * DOT_STEP);
            let radius = if race.names[at] == "ours" { 5 } else { 3 };
            area.draw(&Circle::new(centre, radius, colour.filled())).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// `labels` in the order of `race.names`.
pub fn draw(file: &Path, race: &Race, labels: &[String], caption: &str) -> Result<(), String> {
    let strip = (race.names.len() as i32 + 1) * DOT_STEP;
    let bars_top = TITLE;
    let bars_height = race.names.len() as i32 * BAR;
    let blocks: Vec<_> =
        SCOPES.into_iter().filter(|(_, groups)| race.rows_of(groups).count() > 0).collect();
    let dots_top = bars_top + blocks.len() as i32 * (bars_height + BLOCK) + 6;
    let dots_bottom = dots_top + race.rows.len() as i32 * strip;
    let height = dots_bottom + AXIS + MARGIN;

    let half = (WIDTH - 2 * MARGIN - LABELS - GAP) / 2;
    let left = MARGIN + LABELS;
    let panels = [
        Panel { left, right: left + half, measure: Measure::TimeMin, title: "time (minimum)" },
        Panel {
            left: left + half + GAP,
            right: left + 2 * half + GAP,
            measure: Measure::Peak,
            title: "peak resident memory (median)",
        },
    ];

    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| e.to_string())?;
    let title = "Ratio to mimalloc 2.1.7, left of 1 is better; dots at the edge lie beyond it";
    write(&area, title, (MARGIN, 20), 18, HPos::Left)?;
    write(&area, caption, (MARGIN, 42), 12, HPos::Left)?;
    for (block, (scope, groups)) in blocks.iter().enumerate() {
        let top = bars_top + block as i32 * (bars_height + BLOCK);
        let count = race.rows_of(groups).count();
        write(&area, &format!("{scope}: {count} workloads"), (MARGIN, top - 12), 13, HPos::Left)?;
        for (at, label) in labels.iter().enumerate() {
            let y = top + at as i32 * BAR + BAR / 2;
            area.draw(&Circle::new((MARGIN + 5, y), 5, colours(&race.names)[at].filled()))
                .map_err(|e| e.to_string())?;
            write(&area, label, (MARGIN + 16, y), 13, HPos::Left)?;
        }
        for panel in &panels {
            let means = format!("{}, geometric mean", panel.title);
            write(&area, &means, (panel.left, top - 12), 13, HPos::Left)?;
            grid(&area, panel, top, top + bars_height)?;
            bars(&area, race, groups, panel, top)?;
        }
    }
    for (number, row) in race.rows.iter().enumerate() {
        let y = dots_top + number as i32 * strip;
        if number % 2 == 0 {
            fill(&area, (MARGIN, y), (WIDTH - MARGIN, y + strip), STRIPE)?;
        }
        write(&area, &row.workload, (MARGIN + 16, y + strip / 2), 13, HPos::Left)?;
    }
    for panel in &panels {
        write(&area, panel.title, (panel.left, dots_top - 12), 13, HPos::Left)?;
        grid(&area, panel, dots_top, dots_bottom)?;
        dots(&area, race, panel, dots_top, strip)?;
    }
    area.present().map_err(|e| e.to_string())
}
