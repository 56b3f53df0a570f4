//! Stages side by side: two runs' medians and 90th percentiles, with error bars.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Duration;

use super::super::compare::{Beside, Comparison, Row, Verdict};
use super::super::style::{count, cut, three_figures};
use super::axis::Axis;
use super::{Area, BAD, Drawn, Frame, GRID, LINES, WARN, bar, bold, error, font, legend, line, soft, text, titled};

/// The height of a stage's row.
const ROW: i32 = 62;

/// Where the axis begins at the latest.
const SHORTEST: Duration = Duration::from_millis(1);

/// The stages that both sides have, and that took any time.
fn rows(comparison: &Comparison) -> Vec<&Row> {
    let took = |row: &&Row| row.percentiles.iter().any(|beside| beside.values.iter().all(|value| !value.is_zero()));
    comparison.rows.iter().filter(took).collect()
}

/// Rows of pixels that the plot needs.
pub(super) fn height(comparison: &Comparison) -> u32 {
    (64 + 40 + 60 + ROW * rows(comparison).len().max(2) as i32) as u32
}

pub(super) fn draw<B: DrawingBackend>(area: &Area<'_, B>, comparison: &Comparison) -> Drawn {
    let names = [0, 1].map(|side| {
        let runs = count(comparison.runs[side], "run");
        format!("{}: {} ({runs})", ["A", "B"][side], cut(&comparison.names[side], 44))
    });
    let below = "p50 (filled) and p90 (open) of each stage; bars: 95 % confidence; right: A in relation to B";
    let area = titled(area, "Stages side by side", below)?;
    let (width, height) = area.dim_in_pixel();
    let colors = [LINES[0], LINES[1]];
    let entries: Vec<(String, RGBColor)> = names.into_iter().zip(colors).collect();
    legend(&area, (26, 12), width as i32 - 24, &entries)?;
    let frame = Frame { left: 130, top: 36, right: width as i32 - 236, bottom: height as i32 - 52 };
    let rows = rows(comparison);
    let shown = rows.iter().flat_map(|row| {
        row.percentiles.iter().take(2).flat_map(|beside| {
            let bounds = beside.intervals.into_iter().filter_map(|interval| interval.bounds);
            beside.values.into_iter().chain(bounds.flat_map(|(low, high)| [low, high]))
        })
    });
    // What takes no time worth seeing stands at the edge.
    let axis = Axis::over(shown.map(|length| length.max(SHORTEST)));
    axis.draw(&area, frame)?;
    let right = [frame.right + 108, frame.right + 212];
    for (x, words) in right.into_iter().zip(["p50", "p90"]) {
        text(&area, words, (x, frame.top - 10), soft(12), HPos::Right, VPos::Center)?;
    }
    for (at, row) in rows.iter().enumerate() {
        let top = frame.top + ROW * at as i32;
        let middle = top + ROW / 2;
        if at > 0 {
            line(&area, (24, top), (width as i32 - 24, top), GRID)?;
        }
        text(&area, row.stage.as_str(), (frame.left - 14, middle - 8), bold(13), HPos::Right, VPos::Center)?;
        let counts = format!("{} · {}", row.counts[0], row.counts[1]);
        text(&area, &counts, (frame.left - 14, middle + 9), soft(11), HPos::Right, VPos::Center)?;
        for (side, color) in colors.into_iter().enumerate() {
            // p50 and p90 lie on the same line where their bars leave room, else a few pixels apart.
            for (percentile, beside) in row.percentiles.iter().take(2).enumerate() {
                let y = middle + [-12, 12][side] + [-4, 5][percentile];
                mark(&area, frame, &axis, (side, percentile), y, beside, color)?;
            }
        }
        for (x, beside) in right.into_iter().zip(&row.percentiles) {
            relation(&area, (x, middle), beside)?;
        }
    }
    Ok(())
}

/// A value with its error bar.
fn mark<B: DrawingBackend>(
    area: &Area<'_, B>,
    frame: Frame,
    axis: &Axis,
    (side, percentile): (usize, usize),
    y: i32,
    beside: &Beside,
    color: RGBColor,
) -> Drawn {
    let at = |length: Duration| frame.x(axis.share(length.as_secs_f64()).clamp(0.0, 1.0));
    let x = at(beside.values[side]);
    if let Some((low, high)) = beside.intervals[side].bounds {
        let (low, high) = (at(low), at(high));
        bar(area, (low, y - 1), (high.max(low + 1), y + 1), color.mix(0.55).filled())?;
        for end in [low, high] {
            bar(area, (end - 1, y - 4), (end + 1, y + 4), color.mix(0.55).filled())?;
        }
    }
    area.draw(&Circle::new((x, y), 5, WHITE.filled())).map_err(error)?;
    area.draw(&Circle::new((x, y), 4, if percentile == 0 { color.filled() } else { color.stroke_width(2) }))
        .map_err(error)
}

/// A's value in relation to B's, and both values below it.
fn relation<B: DrawingBackend>(area: &Area<'_, B>, (x, middle): (i32, i32), beside: &Beside) -> Drawn {
    let style = match beside.verdict {
        Verdict::Differs => bold(13).color(&BAD),
        Verdict::Unclear => bold(13).color(&WARN),
        Verdict::Agrees | Verdict::Unjudged => font(13),
    };
    text(area, &beside.relation(), (x, middle - 8), style, HPos::Right, VPos::Center)?;
    let values = format!("{} / {}", three_figures(beside.values[0]), three_figures(beside.values[1]));
    text(area, &values, (x, middle + 9), soft(11), HPos::Right, VPos::Center)
}
