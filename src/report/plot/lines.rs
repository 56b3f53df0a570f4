//! Lines over a number: allocation over load, cost over size.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Area, Drawn, Frame, GRID, LINES, SOFT, error, font, line, soft, text, titled};

/// What is drawn: lines on two linear or logarithmic axes.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    pub title: String,
    /// A smaller line below the title.
    pub below: String,
    /// What the axes mean.
    pub x: String,
    pub y: String,
    /// The least and the greatest value of the axes.
    pub x_range: (f64, f64),
    pub y_range: (f64, f64),
    /// Both axes are logarithmic.
    pub log: bool,
    /// Marks of the axes.
    pub x_ticks: Vec<f64>,
    pub y_ticks: Vec<f64>,
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
    /// It is what others are compared with: thin and grey.
    pub is_reference: bool,
}

fn share(value: f64, (least, most): (f64, f64), log: bool) -> f64 {
    let share = if log { libm::log(value / least) / libm::log(most / least) } else { (value - least) / (most - least) };
    if share.is_finite() { share } else { 0.0 }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value}") }
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, lines: &Lines) -> Drawn {
    let area = titled(area, &lines.title, &lines.below)?;
    let (width, height) = area.dim_in_pixel();
    let longest = lines.lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0) as i32;
    let frame = Frame { left: 74, top: 14, right: width as i32 - 40 - 8 * longest, bottom: height as i32 - 56 };
    let x_of = |value| frame.x(share(value, lines.x_range, lines.log));
    let y_of = |value| frame.y(share(value, lines.y_range, lines.log));
    for &tick in &lines.y_ticks {
        let y = y_of(tick);
        line(&area, (frame.left, y), (frame.right, y), GRID)?;
        text(&area, &number(tick), (frame.left - 8, y), soft(12), HPos::Right, VPos::Center)?;
    }
    for &tick in &lines.x_ticks {
        let x = x_of(tick);
        line(&area, (x, frame.top), (x, frame.bottom), GRID)?;
        text(&area, &number(tick), (x, frame.bottom + 7), soft(12), HPos::Center, VPos::Top)?;
    }
    line(&area, (frame.left, frame.bottom), (frame.right, frame.bottom), SOFT)?;
    let middle = (frame.left + frame.right) / 2;
    text(&area, &lines.x, (middle, frame.bottom + 29), soft(12), HPos::Center, VPos::Top)?;
    text(&area, &lines.y, (frame.left, frame.top - 6), soft(12), HPos::Left, VPos::Bottom)?;
    // References lie below.
    let mut order: Vec<usize> = (0..lines.lines.len()).collect();
    order.sort_by_key(|&at| !lines.lines[at].is_reference);
    let mut labels: Vec<(i32, usize)> = Vec::new();
    let mut color_of = vec![SOFT; lines.lines.len()];
    for (at, color) in (0..lines.lines.len()).filter(|&at| !lines.lines[at].is_reference).zip(LINES.iter().cycle()) {
        color_of[at] = *color;
    }
    for at in order {
        let one = &lines.lines[at];
        let points: Vec<(i32, i32)> = one.points.iter().map(|&(x, y)| (x_of(x), y_of(y))).collect();
        let style = color_of[at].stroke_width(if one.is_reference { 1 } else { 3 });
        area.draw(&PathElement::new(points.clone(), style)).map_err(error)?;
        for &point in points.iter().filter(|_| !one.is_reference) {
            area.draw(&Circle::new(point, 4, color_of[at].filled())).map_err(error)?;
        }
        labels.extend(points.last().map(|&(_, y)| (y, at)));
    }
    // Names at the lines' ends, pushed apart.
    labels.sort_unstable();
    let mut next = i32::MIN;
    for (y, at) in labels {
        let place = y.max(next);
        next = place + 16;
        line(&area, (frame.right + 4, y), (frame.right + 16, place), color_of[at])?;
        text(&area, &lines.lines[at].name, (frame.right + 20, place), font(12), HPos::Left, VPos::Center)?;
    }
    Ok(())
}
