//! What the charts share: a white area that reads well on any background, text, and logarithmic
//! scales that are as wide as the figures on them.

use crate::bootstrap::Interval;
use crate::library::{BASE, OURS};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub const WIDTH: i32 = 1000;
pub const MARGIN: i32 = 16;
/// Where the names of the allocators are.
pub const LABELS: i32 = 168;

const INK: RGBColor = RGBColor(34, 34, 34);
pub const SOFT: RGBColor = RGBColor(110, 110, 110);
pub const FAINT: RGBColor = RGBColor(225, 225, 225);
/// The tint of our row.
const TINT: RGBColor = RGBColor(232, 242, 250);
/// Ours and the others: rows have names, so that colours need not tell them apart.
const BLUE: RGBColor = RGBColor(0, 98, 168);
const GREY: RGBColor = RGBColor(95, 95, 95);
/// The width of a scale with only one figure.
const NARROWEST: f64 = 1.1;
/// Where a scale may have marks, and how far apart these are at least.
const MARKS: [f64; 17] =
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0];
const MARK_GAP: i32 = 24;

pub fn colour(name: &str) -> RGBColor {
    if name == OURS {
        BLUE
    } else {
        GREY
    }
}

pub fn area(file: &Path, height: i32) -> Result<Area<'_>, String> {
    let area = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE).map_err(|e| e.to_string())?;
    Ok(area)
}

pub fn write(area: &Area, text: &str, at: (i32, i32), size: i32, h: HPos) -> Result<(), String> {
    write_in(area, text, at, size, h, INK)
}

pub fn write_in(
    area: &Area,
    text: &str,
    at: (i32, i32),
    size: i32,
    h: HPos,
    colour: RGBColor,
) -> Result<(), String> {
    let style = TextStyle::from(("sans-serif", size).into_font())
        .color(&colour)
        .pos(Pos::new(h, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(|e| e.to_string())
}

pub fn fill(area: &Area, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Result<(), String> {
    area.draw(&Rectangle::new([from, to], colour.filled())).map_err(|e| e.to_string())
}

pub fn line(
    area: &Area,
    from: (i32, i32),
    to: (i32, i32),
    colour: RGBColor,
    width: u32,
) -> Result<(), String> {
    let style = colour.stroke_width(width);
    area.draw(&PathElement::new(vec![from, to], style)).map_err(|e| e.to_string())
}

pub fn dot(
    area: &Area,
    at: (i32, i32),
    radius: i32,
    colour: RGBColor,
    hollow: bool,
) -> Result<(), String> {
    let draw = |radius: i32, style: ShapeStyle| {
        area.draw(&Circle::new(at, radius, style)).map_err(|e| e.to_string())
    };
    draw(radius, colour.filled())?;
    if hollow {
        draw(radius - 1, WHITE.filled())?;
    }
    Ok(())
}

/// The name of an allocator at the left of its row, which has the height `height`. Our whole row
/// has a tint.
pub fn row_label(
    area: &Area,
    name: &str,
    label: &str,
    (top, height): (i32, i32),
) -> Result<(), String> {
    if name == OURS {
        fill(area, (MARGIN - 8, top), (WIDTH - MARGIN + 8, top + height), TINT)?;
    }
    write_in(area, label, (MARGIN, top + height / 2), 13, HPos::Left, colour(name))
}

/// A logarithmic scale from left to right.
pub struct Scale {
    left: i32,
    right: i32,
    low: f64,
    high: f64,
}

/// The ends that hold all figures and 1, with a little room at both.
pub fn ends(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = figures.fold((1.0_f64, 1.0_f64), |(l, h), f| (l.min(f), h.max(f)));
    let room = (high / low).max(NARROWEST).powf(0.06);
    (low / room, high * room)
}

impl Scale {
    pub fn new(left: i32, width: i32, (low, high): (f64, f64)) -> Scale {
        Scale { left, right: left + width, low, high }
    }

    pub fn x(&self, ratio: f64) -> i32 {
        let ratio = ratio.clamp(self.low, self.high);
        let place = (ratio / self.low).ln() / (self.high / self.low).ln();
        self.left + (place * f64::from(self.right - self.left)).round() as i32
    }

    /// 1, and as many others as have room.
    fn marks(&self) -> Vec<f64> {
        let mut shown: Vec<f64> = vec![1.0];
        let mut inside: Vec<f64> =
            MARKS.into_iter().filter(|m| (self.low..=self.high).contains(m)).collect();
        // Round ones first.
        inside.sort_by_key(|m| ![0.5, 2.0, 4.0].contains(m));
        for mark in inside {
            if shown.iter().all(|s| (self.x(*s) - self.x(mark)).abs() >= MARK_GAP) {
                shown.push(mark);
            }
        }
        shown
    }

    pub fn grid(&self, area: &Area, top: i32, bottom: i32) -> Result<(), String> {
        for mark in self.marks() {
            let x = self.x(mark);
            let colour = if mark == 1.0 { SOFT } else { FAINT };
            line(area, (x, top), (x, bottom), colour, 1)?;
            write_in(area, &format!("{mark}"), (x, bottom + 10), 11, HPos::Center, SOFT)?;
        }
        Ok(())
    }

    /// A dot with its interval, and the figure where there is room beside it and beside the
    /// `others`.
    pub fn figure(
        &self,
        area: &Area,
        y: i32,
        figure: f64,
        interval: Option<Interval>,
        others: &[f64],
        colour: RGBColor,
    ) -> Result<(), String> {
        let x = self.x(figure);
        let (mut from, mut to) = (x, x);
        if let Some(i) = interval {
            (from, to) = (self.x(i.low), self.x(i.high));
            line(area, (from, y), (to, y), colour, 2)?;
            for end in [from, to] {
                line(area, (end, y - 3), (end, y + 3), colour, 1)?;
            }
        }
        dot(area, (x, y), 4, colour, false)?;
        for other in others {
            (from, to) = (from.min(self.x(*other) - 3), to.max(self.x(*other) + 3));
        }
        let text = format!("{figure:.2}");
        if to + 34 <= self.right {
            write_in(area, &text, (to + 6, y), 12, HPos::Left, colour)
        } else {
            write_in(area, &text, (from - 6, y), 12, HPos::Right, colour)
        }
    }
}

/// "mimalloc 2.1.7": what the base of all ratios is called.
pub fn base_label(names: &[String], labels: &[String]) -> String {
    let at = names.iter().position(|name| name == BASE);
    at.and_then(|at| labels.get(at)).cloned().unwrap_or(BASE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_as_wide_as_its_figures() {
        let (low, high) = ends([0.8, 1.6].into_iter());
        assert!(low > 0.75 && low < 0.8 && high > 1.6 && high < 1.7);
        let scale = Scale::new(0, 100, (low, high));
        assert!(scale.x(0.8) < 10 && scale.x(1.6) > 90);
        assert!(scale.marks().contains(&1.0));
    }

    #[test]
    fn marks_have_room_between_them() {
        let scale = Scale::new(0, 120, (0.2, 5.0));
        let mut places: Vec<i32> = scale.marks().iter().map(|m| scale.x(*m)).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|w| w[1] - w[0] >= MARK_GAP));
    }
}
