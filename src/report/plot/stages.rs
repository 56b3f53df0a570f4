//! Where the time of pod starts goes: bars made of steps, for the typical pod and for the slow ones.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Duration;

use super::super::latency::{PodStart, Step};
use super::super::style::{count, cut, length};
use super::{Area, Drawn, Frame, GRID, SOFT, Series, bar, bold, font, legend, line, soft, step_color, text, titled};

/// The starts around a percentile, averaged step by step: single pods differ too much in their steps to stand for others.
struct Row {
    label: String,
    series: Option<String>,
    steps: [Duration; 12],
}

fn rows(series: &[Series]) -> Vec<Row> {
    let mut rows = Vec::new();
    for each in series {
        let mut starts: Vec<&PodStart> = each.latency.starts.iter().collect();
        starts.sort_by_key(|start| (start.total(), start.pod));
        if starts.is_empty() {
            continue;
        }
        for (at, (label, from, until)) in
            [("all, mean", 0, 100), ("around p50", 45, 55), ("slowest 10%", 90, 100), ("slowest 1%", 99, 100)]
                .into_iter()
                .enumerate()
        {
            let first = (starts.len() * from / 100).min(starts.len() - 1);
            let last = (starts.len() * until).div_ceil(100).clamp(first + 1, starts.len());
            let mut steps = [Duration::ZERO; 12];
            for start in &starts[first..last] {
                for (sum, length) in steps.iter_mut().zip(start.steps) {
                    *sum += length;
                }
            }
            for sum in &mut steps {
                *sum = *sum / (last - first) as u64;
            }
            let series = (at == 0 && series.len() > 1).then(|| each.name.clone());
            rows.push(Row { label: label.to_owned(), series, steps });
        }
    }
    rows
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, series: &[Series]) -> Drawn {
    let rows = rows(series);
    let pods: usize = series.iter().map(|each| each.latency.starts.len()).sum();
    let title = match series {
        [one] => format!("Where pod start-up time goes, {}", one.name),
        many => format!("Where pod start-up time goes, {} compared", many.len()),
    };
    let below = format!("mean time in each step from creation to Ready, {}", count(pods, "pod"));
    let area = titled(area, &title, &below)?;
    let (width, height) = area.dim_in_pixel();
    let steps: Vec<Step> =
        Step::ALL.into_iter().filter(|step| rows.iter().any(|row| !row.steps[*step as usize].is_zero())).collect();
    let entries: Vec<(String, RGBColor)> =
        steps.iter().map(|step| (step.as_str().to_owned(), step_color(*step))).collect();
    legend(&area, (26, 12), width as i32 - 24, &entries)?;
    let left = if series.len() > 1 { 230 } else { 120 };
    let frame = Frame { left, top: 36, right: width as i32 - 90, bottom: height as i32 - 38 };
    let total = |row: &Row| row.steps.iter().fold(Duration::ZERO, |sum, each| sum + *each);
    let most = rows.iter().map(total).max().unwrap_or_default().as_secs_f64().max(1e-3);
    let step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0]
        .into_iter()
        .find(|step| most / step <= 9.0)
        .unwrap_or(most / 8.0);
    let mut at = 0.0;
    while at <= most {
        let x = frame.x(at / most);
        line(&area, (x, frame.top), (x, frame.bottom), GRID)?;
        let words = length(Duration::from_nanos((at * 1e9).round() as u64));
        text(&area, &words, (x, frame.bottom + 7), soft(12), HPos::Center, VPos::Top)?;
        at += step;
    }
    line(&area, (frame.left, frame.bottom), (frame.right, frame.bottom), SOFT)?;
    let pitch = (frame.bottom - frame.top) / rows.len().max(1) as i32;
    for (at, row) in rows.iter().enumerate() {
        let top = frame.top + pitch * at as i32;
        let middle = top + pitch / 2;
        let (upper, lower) = (top + pitch / 6, top + pitch - pitch / 6);
        text(&area, &row.label, (frame.left - 10, middle), font(12), HPos::Right, VPos::Center)?;
        if let Some(name) = &row.series {
            text(&area, &cut(name, 18), (24, middle), bold(12), HPos::Left, VPos::Center)?;
        }
        let mut sum = Duration::ZERO;
        for step in &steps {
            let length = row.steps[*step as usize];
            let from = frame.x(sum.as_secs_f64() / most);
            sum += length;
            let until = frame.x(sum.as_secs_f64() / most);
            if until > from {
                bar(&area, (from, upper), (until, lower), step_color(*step).filled())?;
            }
        }
        let end = frame.x(sum.as_secs_f64() / most);
        text(&area, &length(sum), (end + 7, middle), bold(12), HPos::Left, VPos::Center)?;
    }
    Ok(())
}
