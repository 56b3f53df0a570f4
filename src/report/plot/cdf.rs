//! How many pods were ready after how long: the cumulative distribution of pod starts.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Duration;

use super::super::latency::percentile;
use super::super::style::{count, length};
use super::{Area, Drawn, Frame, GRID, LINES, SOFT, Series, bold, error, font, line, soft, step_color, text, titled};

/// An axis of lengths of time: linear from 0, or logarithmic where they span more than a factor of 50.
struct Axis {
    least: f64,
    most: f64,
    log: bool,
}

impl Axis {
    fn over(lengths: impl Iterator<Item = Duration>) -> Axis {
        let mut least = f64::MAX;
        let mut most = 0.0f64;
        for length in lengths.filter(|length| !length.is_zero()) {
            least = least.min(length.as_secs_f64());
            most = most.max(length.as_secs_f64());
        }
        if most == 0.0 {
            return Axis { least: 0.0, most: 1.0, log: false };
        }
        let log = most / least > 50.0;
        // Room for the ends to be seen.
        Axis {
            least: if log { (least / 1.3).max(most / 1e5) } else { 0.0 },
            most: most * if log { 1.5 } else { 1.06 },
            log,
        }
    }

    fn share(&self, seconds: f64) -> f64 {
        if self.log {
            libm::log(seconds.max(self.least) / self.least) / libm::log(self.most / self.least)
        } else {
            (seconds - self.least) / (self.most - self.least)
        }
    }

    /// Round lengths with whether they have a label.
    fn ticks(&self) -> Vec<(f64, bool)> {
        let mut ticks = Vec::new();
        if self.log {
            let mut decade = 1e-9;
            while decade < self.most {
                for times in 1..10 {
                    let seconds = decade * f64::from(times);
                    if seconds >= self.least && seconds <= self.most {
                        ticks.push((seconds, matches!(times, 1 | 2 | 5)));
                    }
                }
                decade *= 10.0;
            }
            // Ten labels are enough.
            if ticks.iter().filter(|(_, labelled)| *labelled).count() > 12 {
                for (seconds, labelled) in &mut ticks {
                    let exponent = libm::log10(*seconds);
                    *labelled = libm::fabs(exponent - libm::round(exponent)) < 1e-6;
                }
            }
        } else {
            let step = [
                1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0,
                600.0, 1800.0, 3600.0,
            ]
            .into_iter()
            .find(|step| self.most / step <= 10.0)
            .unwrap_or(self.most / 8.0);
            let mut index = 0.0;
            while index * step <= self.most {
                ticks.push((index * step, true));
                index += 1.0;
            }
        }
        ticks
    }
}

fn words(seconds: f64) -> String {
    length(Duration::from_nanos((seconds * 1e9).round() as u64))
}

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
    let mut last_label = -100;
    for (seconds, labelled) in axis.ticks() {
        let x = frame.x(axis.share(seconds));
        if labelled {
            line(&area, (x, frame.top), (x, frame.bottom), GRID)?;
            if x - last_label > 44 {
                text(&area, &words(seconds), (x, frame.bottom + 7), soft(12), HPos::Center, VPos::Top)?;
                last_label = x;
            }
        } else {
            line(&area, (x, frame.bottom), (x, frame.bottom + 4), SOFT)?;
        }
    }
    line(&area, (frame.left, frame.bottom), (frame.right, frame.bottom), SOFT)?;
    let scale = if axis.log { "time, logarithmic" } else { "time" };
    text(&area, scale, ((frame.left + frame.right) / 2, frame.bottom + 29), soft(12), HPos::Center, VPos::Top)?;
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
