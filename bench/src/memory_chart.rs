//! The chart of `memory`: resident memory over time, a panel for each pattern that memory.toml marks.

use crate::chart::{self, Area, FAINT, MARGIN, SOFT, WIDTH};
use crate::library::OURS;
use plotters::style::text_anchor::HPos;
use plotters::style::RGBColor;
use serde_json::Value;
use std::path::Path;

const COLUMNS: i32 = 2;
const TOP: i32 = 92;
const HEIGHT: i32 = 170;
/// Below a panel: its scale, and room for the title of the next.
const BELOW: i32 = 64;
/// Left of a panel for its scale, right of it for the names.
const SCALE: i32 = 44;
const NAMES: i32 = 112;
const NAME_GAP: i32 = 13;

/// The others are told apart by their colour where their curves cross.
const PEERS: [RGBColor; 8] = [
    RGBColor(200, 90, 30),
    RGBColor(150, 120, 20),
    RGBColor(90, 130, 50),
    RGBColor(20, 140, 130),
    RGBColor(110, 90, 180),
    RGBColor(180, 60, 130),
    RGBColor(130, 80, 60),
    RGBColor(95, 95, 95),
];

struct Curve {
    colour: RGBColor,
    name: String,
    label: String,
    points: Vec<(f64, f64)>,
}

struct Panel {
    title: String,
    about: String,
    curves: Vec<Curve>,
}

fn panel(row: &Value, names: &[(String, String)]) -> Panel {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let curve = |(at, (name, label)): (usize, &(String, String))| {
        let looks = row["results"][name]["looks"].as_array()?;
        let points: Vec<(f64, f64)> =
            looks.iter().filter_map(|l| Some((l[0].as_f64()?, l[1].as_f64()? / 1024.0))).collect();
        let ours = name == OURS;
        let colour = if ours { chart::colour(OURS) } else { PEERS[at % PEERS.len()] };
        let label = label.split(" (").next().unwrap_or_default().to_owned();
        (!points.is_empty()).then(|| Curve { colour, name: name.clone(), label, points })
    };
    let mut curves: Vec<Curve> = names.iter().enumerate().filter_map(curve).collect();
    curves.sort_by_key(|c| c.name == OURS); // ours is drawn last, over the others
    Panel { title: text("name"), about: text("about"), curves }
}

/// 1, 2 or 5 times a power of ten: about five marks up to `most`.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / 5.0).max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| most / s <= 6.0).unwrap_or(most)
}

/// Places for names at these heights, in order, none nearer to the next than NAME_GAP.
fn spread(mut heights: Vec<(i32, usize)>, bottom: i32) -> Vec<(i32, usize)> {
    heights.sort_unstable();
    let mut at = i32::MIN / 2;
    for (y, _) in &mut heights {
        *y = (*y).max(at + NAME_GAP);
        at = *y;
    }
    let over = (at - bottom).max(0);
    let mut limit = i32::MAX;
    for (y, _) in heights.iter_mut().rev() {
        *y = if over > 0 { (*y).min(limit - NAME_GAP).min(bottom) } else { *y };
        limit = *y;
    }
    heights
}

fn draw_panel(
    area: &Area,
    panel: &Panel,
    (left, top, width): (i32, i32, i32),
) -> Result<(), String> {
    chart::write(area, &panel.title, (left, top - 26), 13, HPos::Left)?;
    chart::write_in(area, &panel.about, (left, top - 11), 10, HPos::Left, SOFT)?;
    let points = || panel.curves.iter().flat_map(|c| &c.points);
    let (end, most) = points().fold((1.0_f64, 1.0_f64), |(e, m), p| (e.max(p.0), m.max(p.1)));
    let (x0, x1) = (left + SCALE, left + width - NAMES);
    let x = |ms: f64| x0 + (ms / end * f64::from(x1 - x0)).round() as i32;
    let y = |mib: f64| top + HEIGHT - (mib / (most * 1.05) * f64::from(HEIGHT)).round() as i32;
    let mut mark = 0.0;
    while mark <= most * 1.05 {
        chart::line(area, (x0, y(mark)), (x1, y(mark)), FAINT, 1)?;
        chart::write_in(area, &format!("{mark}"), (x0 - 6, y(mark)), 11, HPos::Right, SOFT)?;
        mark += step(most);
    }
    let mut second = 0.0;
    while second <= end / 1000.0 {
        let at = (x(second * 1000.0), top + HEIGHT + 11);
        chart::write_in(area, &format!("{second}"), at, 11, HPos::Center, SOFT)?;
        second += step(end / 1000.0);
    }
    let mut heights = Vec::new();
    for (at, curve) in panel.curves.iter().enumerate() {
        let width = if curve.name == OURS { 3 } else { 1 };
        for pair in curve.points.windows(2) {
            let place = |p: (f64, f64)| (x(p.0), y(p.1));
            chart::line(area, place(pair[0]), place(pair[1]), curve.colour, width)?;
        }
        if let Some(last) = curve.points.last() {
            heights.push((y(last.1), at));
        }
    }
    for (height, at) in spread(heights, top + HEIGHT) {
        let curve = &panel.curves[at];
        let last = curve.points.last().map_or(0.0, |p| p.1);
        let text = format!("{last:.0} {}", curve.label);
        chart::write_in(area, &text, (x1 + 6, height), 11, HPos::Left, curve.colour)?;
    }
    Ok(())
}

pub fn draw(file: &Path, report: &Value, caption: &str) -> Result<(), String> {
    let list = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: Vec<(String, String)> =
        list("libraries").iter().map(|l| (text(&l["name"]), text(&l["short"]))).collect();
    let marked = |row: &&Value| row["chart"].as_bool().unwrap_or(false);
    let panels: Vec<Panel> =
        list("rows").iter().filter(marked).map(|row| panel(row, &names)).collect();
    let lines = (panels.len() as i32 + COLUMNS - 1) / COLUMNS;
    let area = chart::area(file, TOP + lines * (HEIGHT + BELOW))?;
    chart::write(&area, "Resident memory over time", (MARGIN, 20), 17, HPos::Left)?;
    let legend = "MiB over seconds; lower is better; at the right what stays";
    chart::write_in(&area, legend, (MARGIN, 42), 12, HPos::Left, SOFT)?;
    let width = (WIDTH - 2 * MARGIN) / COLUMNS;
    for (at, panel) in panels.iter().enumerate() {
        let (column, line) = (at as i32 % COLUMNS, at as i32 / COLUMNS);
        draw_panel(&area, panel, (MARGIN + column * width, TOP + line * (HEIGHT + BELOW), width))?;
    }
    let foot = (WIDTH - MARGIN, TOP + lines * (HEIGHT + BELOW) - 14);
    chart::write_in(&area, caption, foot, 11, HPos::Right, SOFT)?;
    area.present().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_has_about_five_marks() {
        assert_eq!(step(320.0), 100.0);
        assert_eq!(step(1.0), 0.2);
        assert_eq!(step(45.0), 10.0);
    }

    #[test]
    fn names_have_room_between_them() {
        let places = spread(vec![(100, 0), (101, 1), (99, 2), (170, 3), (169, 4)], 170);
        assert!(places.windows(2).all(|w| w[1].0 - w[0].0 >= NAME_GAP));
        assert!(places.iter().all(|(y, _)| *y <= 170));
        assert_eq!(places.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [2, 0, 1, 4, 3]);
    }
}
