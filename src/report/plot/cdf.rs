//! How many pods were ready after how long: the cumulative distribution of pod starts.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Duration;

use super::super::latency::percentile;
use super::super::style::{count, length};
use super::axis::Axis;
use super::{Area, Drawn, Frame, GRID, LINES, Series, bold, error, font, line, soft, step_color, text, titled};

/// One line of the plot.
struct Curve {
    name: String,
    color: RGBColor,
    width: u32,
    sorted: Vec<Duration>,
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, series: &[Series]) -> Drawn {
    let mut curves: Vec<Curve> = Vec::new();
    if let [one] = series {
        for step in one.latency.steps() {
            let sorted = one.latency.step(step);
            // What takes no time worth seeing is in the table.
            if percentile(&sorted, 99) * 200 > percentile(&one.latency.totals(), 99) {
                curves.push(Curve { name: step.as_str().to_owned(), color: step_color(step), width: 2, sorted });
            }
        }
        let sorted = one.latency.totals();
        curves.push(Curve { name: "whole start".to_owned(), color: super::INK, width: 3, sorted });
    } else {
        for (at, each) in series.iter().enumerate() {
            let color = LINES[at % LINES.len()];
            curves.push(Curve { name: each.name.clone(), color, width: 3, sorted: each.latency.totals() });
        }
    }
    curves.retain(|curve| !curve.sorted.is_empty());
    let pods: usize = series.iter().map(|each| each.latency.starts.len()).sum();
    let title = match series {
        [one] => format!("Pod start-up, {}", one.name),
        many => format!("Pod start-up, {} compared", many.len()),
    };
    let below =
        format!("from creation to Ready, {}; share of pods that were through within a time", count(pods, "pod"));
    let area = titled(area, &title, &below)?;
    let (width, height) = area.dim_in_pixel();
    let frame =
        Frame { left: 62, top: 12, right: width as i32 - 190 - names_width(&curves), bottom: height as i32 - 52 };
    let axis = Axis::over(curves.iter().flat_map(|curve| curve.sorted.iter().copied()));
    for percent in [0u32, 25, 50, 75, 90, 99, 100] {
        let y = frame.y(f64::from(percent) / 100.0);
        line(&area, (frame.left, y), (frame.right, y), GRID)?;
        if percent != 99 {
            text(&area, &format!("{percent}%"), (frame.left - 8, y), soft(12), HPos::Right, VPos::Center)?;
        }
    }
    axis.draw(&area, frame)?;
    for curve in &curves {
        let number = curve.sorted.len() as f64;
        let mut points = Vec::with_capacity(curve.sorted.len() * 2 + 1);
        let mut y = frame.y(0.0);
        for (at, each) in curve.sorted.iter().enumerate() {
            let x = frame.x(axis.share(each.as_secs_f64()));
            if points.is_empty() {
                points.push((x, y));
            }
            // Steps of the same column are one.
            if points.last().is_none_or(|last: &(i32, i32)| last.0 != x) {
                points.push((x, y));
            }
            y = frame.y((at + 1) as f64 / number);
            points.push((x, y));
        }
        points.push((frame.right, y));
        points.dedup();
        area.draw(&PathElement::new(points, curve.color.stroke_width(curve.width))).map_err(error)?;
    }
    // The percentiles are marked on the whole start, or on each series.
    for curve in curves.iter().filter(|curve| curve.width == 3) {
        for percent in [50, 90, 99] {
            let value = percentile(&curve.sorted, percent);
            let (x, y) = (frame.x(axis.share(value.as_secs_f64())), frame.y(percent as f64 / 100.0));
            area.draw(&Circle::new((x, y), 5, WHITE.filled())).map_err(error)?;
            area.draw(&Circle::new((x, y), 4, curve.color.filled())).map_err(error)?;
        }
    }
    table(&area, frame, &curves)
}

/// The most characters of a line's name that are shown.
const LONGEST_NAME: usize = 28;

/// The name of a line as the table has it.
fn shown_name(curve: &Curve) -> String {
    if curve.name == "whole start" { "start".to_owned() } else { super::super::style::cut(&curve.name, LONGEST_NAME) }
}

/// Pixels for the names in the table: bold letters of 12 pixels take 8 at most.
fn names_width(curves: &[Curve]) -> i32 {
    8 * curves.iter().map(|curve| shown_name(curve).chars().count()).max().unwrap_or(0) as i32
}

/// The names of the lines with their percentiles, right of the plot.
fn table<B: DrawingBackend>(area: &Area<'_, B>, frame: Frame, curves: &[Curve]) -> Drawn {
    let left = frame.right + 22;
    let first = left + 66 + names_width(curves);
    let columns = [first, first + 50, first + 100];
    for (x, percent) in columns.into_iter().zip(["p50", "p90", "p99"]) {
        text(area, percent, (x, frame.top + 4), soft(12), HPos::Right, VPos::Center)?;
    }
    // Slowest first, as the lines lie from right to left.
    let mut order: Vec<&Curve> = curves.iter().collect();
    order.sort_by_key(|curve| (std::cmp::Reverse(curve.width), std::cmp::Reverse(percentile(&curve.sorted, 50))));
    for (at, curve) in order.iter().take(18).enumerate() {
        let y = frame.top + 27 + 22 * at as i32;
        line(area, (left, y), (left + 14, y), curve.color.stroke_width(curve.width))?;
        let style = if curve.width == 3 { bold(12) } else { font(12) };
        text(area, &shown_name(curve), (left + 20, y), style, HPos::Left, VPos::Center)?;
        for (x, percent) in columns.into_iter().zip([50, 90, 99]) {
            text(area, &length(percentile(&curve.sorted, percent)), (x, y), font(12), HPos::Right, VPos::Center)?;
        }
    }
    Ok(())
}
