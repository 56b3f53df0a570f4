//! Pods over time by what they were: ready, running, pending, succeeded, failed.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::trace::Footer;

use super::super::journal::Journal;
use super::super::series::{PodClass, pods_over_time};
use super::{
    Area, BAD, CALM, Drawn, Frame, GOOD, GRID, RGBColor, SOFT, WARN, error, legend, line, soft, text, time_axis, titled,
};

fn color(class: PodClass) -> RGBColor {
    match class {
        PodClass::Ready => GOOD,
        PodClass::Running => CALM,
        PodClass::Pending => WARN,
        PodClass::Succeeded => RGBColor(0xb4, 0xc2, 0xb8),
        PodClass::Failed => BAD,
    }
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, journal: &Journal, footer: &Footer) -> Drawn {
    let end = footer.end.as_secs_f64().max(1.0);
    let series = pods_over_time(journal);
    let area = titled(area, "Pods over time", "by what they were; dashed lines are faults and their ends")?;
    let (width, height) = area.dim_in_pixel();
    let frame = Frame { left: 62, top: 40, right: width as i32 - 28, bottom: height as i32 - 40 };
    let entries: Vec<(String, RGBColor)> = PodClass::ALL
        .iter()
        .filter(|class| series.iter().any(|(_, counts)| counts[**class as usize] > 0))
        .map(|class| (class.as_str().to_owned(), color(*class)))
        .collect();
    legend(&area, (26, 12), width as i32 - 24, &entries)?;
    let most = series.iter().map(|(_, counts)| counts.iter().sum::<u32>()).max().unwrap_or(0).max(1);
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]
        .into_iter()
        .find(|step| most / step <= 6)
        .unwrap_or(most / 5);
    let top = f64::from(most) * 1.04;
    let mut at = 0;
    while at <= most {
        let y = frame.y(f64::from(at) / top);
        line(&area, (frame.left, y), (frame.right, y), GRID)?;
        let label = super::super::style::thousands(u64::from(at));
        text(&area, &label, (frame.left - 8, y), soft(12), HPos::Right, VPos::Center)?;
        at += step;
    }
    time_axis(&area, frame, end)?;
    // One column of pixels shows the last state within it.
    let columns = (frame.right - frame.left) as usize + 1;
    let mut at_column: Vec<Option<[u32; 5]>> = vec![None; columns];
    for (time, counts) in &series {
        let column = (time.as_secs_f64() / end * (columns - 1) as f64) as usize;
        at_column[column.min(columns - 1)] = Some(*counts);
    }
    let mut base: Vec<u32> = vec![0; columns];
    for class in PodClass::ALL {
        let mut current = [0u32; 5];
        let mut upper: Vec<(i32, i32)> = Vec::new();
        let mut lower: Vec<(i32, i32)> = Vec::new();
        let mut any = false;
        for (column, known) in at_column.iter().enumerate() {
            current = known.unwrap_or(current);
            let x = frame.left + column as i32;
            let from = base[column];
            let until = from + current[class as usize];
            any |= until > from;
            let (low, high) = (frame.y(f64::from(from) / top), frame.y(f64::from(until) / top));
            for (points, y) in [(&mut lower, low), (&mut upper, high)] {
                if let Some(last) = points.last().copied().filter(|last: &(i32, i32)| last.1 != y) {
                    points.push((x, last.1));
                }
                points.push((x, y));
            }
            base[column] = until;
        }
        if any {
            for points in [&mut upper, &mut lower] {
                simplify(points);
            }
            lower.reverse();
            upper.extend(lower);
            area.draw(&Polygon::new(upper, color(class).filled())).map_err(error)?;
        }
    }
    for fault in &journal.faults {
        let x = frame.x(fault.time.as_secs_f64() / end);
        let style = if fault.undone { SOFT } else { BAD };
        let mut y = frame.top;
        while y < frame.bottom {
            line(&area, (x, y), (x, (y + 5).min(frame.bottom)), style)?;
            y += 9;
        }
    }
    Ok(())
}

/// Drops points in the middle of a straight horizontal line.
fn simplify(points: &mut Vec<(i32, i32)>) {
    let mut kept: Vec<(i32, i32)> = Vec::new();
    for point in points.drain(..) {
        let straight = kept.len() >= 2 && kept[kept.len() - 1].1 == point.1 && kept[kept.len() - 2].1 == point.1;
        if straight {
            kept.pop();
        }
        kept.push(point);
    }
    *points = kept;
}
