//! Plots, as SVG and as PNG from one drawing function each.
//!
//! Text is measured with a font that simlet brings along, so that the same trace gives the same bytes everywhere.

mod axis;
mod cdf;
mod compare;
mod lines;
mod nodes;
mod phases;
mod png;
mod stages;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use crate::trace::{Footer, Header};

use super::compare::Comparison;
use super::journal::Journal;
use super::latency::Latency;

pub use lines::{Line, Lines};

/// A set of pod starts under a name: a run, or the pods with a label.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub latency: Latency,
}

/// The file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Svg,
    Png,
}

/// A plot that can be drawn.
#[derive(Clone, Copy, Debug)]
pub enum Plot<'a> {
    /// The cumulative distribution of pod starts, one line a series; with one series its steps too.
    Cdf(&'a [Series]),
    /// Where the time goes: one bar a series and percentile, made of steps.
    Stages(&'a [Series]),
    /// Stages of two runs side by side.
    Compare(&'a Comparison),
    /// Pods over time by phase.
    Phases(&'a Journal, &'a Footer),
    /// Nodes and what befell them over time.
    Nodes(&'a Journal, &'a Footer),
    /// Lines over a number.
    Lines(&'a Lines),
}

/// A plot that could not be drawn: the drawing library's words.
#[derive(Debug, thiserror::Error)]
#[error("can't draw: {0}")]
pub struct PlotError(String);

type Area<'a, B> = DrawingArea<B, Shift>;
type Drawn = Result<(), PlotError>;

impl Plot<'_> {
    /// Columns and rows of pixels.
    fn size(&self) -> (u32, u32) {
        match self {
            Plot::Cdf(_) => (1000, 560),
            Plot::Stages(series) => (1000, (190 + 34 * 4 * series.len() as u32).clamp(260, 1200)),
            Plot::Compare(comparison) => (1000, compare::height(comparison)),
            Plot::Phases(..) => (1000, 420),
            Plot::Nodes(journal, _) => (1000, nodes::height(journal)),
            Plot::Lines(_) => (1000, 560),
        }
    }

    /// The file's bytes.
    pub fn draw(&self, format: Format) -> Result<Vec<u8>, PlotError> {
        register_fonts();
        let (width, height) = self.size();
        match format {
            Format::Svg => {
                let mut text = String::new();
                {
                    let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
                    self.draw_on(&area)?;
                    area.present().map_err(error)?;
                }
                Ok(text.into_bytes())
            }
            Format::Png => {
                let mut pixels = vec![0; (width * height * 3) as usize];
                {
                    let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
                    self.draw_on(&area)?;
                    area.present().map_err(error)?;
                }
                Ok(png::encode(&pixels, width, height))
            }
        }
    }

    fn draw_on<B: DrawingBackend>(&self, area: &Area<'_, B>) -> Drawn {
        area.fill(&WHITE).map_err(error)?;
        match self {
            Plot::Cdf(series) => cdf::draw(area, series),
            Plot::Stages(series) => stages::draw(area, series),
            Plot::Compare(comparison) => compare::draw(area, comparison),
            Plot::Phases(journal, footer) => phases::draw(area, journal, footer),
            Plot::Nodes(journal, footer) => nodes::draw(area, journal, footer),
            Plot::Lines(lines) => lines::draw(area, lines),
        }
    }
}

/// The plots of one run, as `--out` writes them: file names and contents.
pub fn plots(header: &Header, journal: &Journal, footer: &Footer) -> Result<Vec<(String, Vec<u8>)>, PlotError> {
    let series = [Series { name: header.name.clone(), latency: Latency::of(journal) }];
    let mut files = Vec::new();
    let mut all = vec![("pods", Plot::Phases(journal, footer)), ("nodes", Plot::Nodes(journal, footer))];
    if !series[0].latency.starts.is_empty() {
        all.insert(0, ("latency", Plot::Cdf(&series)));
        all.insert(1, ("stages", Plot::Stages(&series)));
    }
    for (name, plot) in all {
        files.push((format!("{name}.svg"), plot.draw(Format::Svg)?));
        files.push((format!("{name}.png"), plot.draw(Format::Png)?));
    }
    Ok(files)
}

fn register_fonts() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // They are sound fonts, compiled in; a failure shows as an error of the first drawing.
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font("sans-serif", FontStyle::Bold, dejavu::sans::bold());
    });
}

fn error<E: std::fmt::Debug>(error: E) -> PlotError {
    PlotError(format!("{error:?}"))
}

const INK: RGBColor = RGBColor(0x22, 0x2b, 0x36);
const SOFT: RGBColor = RGBColor(0x5f, 0x6b, 0x7a);
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xec);
/// A node that is Ready.
const CALM_GOOD: RGBColor = RGBColor(0x63, 0xb6, 0x84);
const BAD: RGBColor = RGBColor(0xd0, 0x3b, 0x3b);
const GOOD: RGBColor = RGBColor(0x2f, 0x9e, 0x5b);
const WARN: RGBColor = RGBColor(0xe0, 0xa0, 0x30);
const CALM: RGBColor = RGBColor(0x3b, 0x74, 0xc9);

/// Colours for lines that must be told apart, also by people who see colours differently (Okabe and Ito's, without yellow).
const LINES: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x55, 0x55, 0x55),
];

/// The colour of a step, the same in every plot and in the HTML report.
pub(super) const STEP_COLORS: [(u8, u8, u8); 12] = [
    (0xa6, 0xb1, 0xbd), // queue
    (0x7d, 0x8b, 0x99), // schedule
    (0x56, 0x63, 0x70), // bind
    (0xb8, 0x9b, 0xd9), // watch
    (0x8a, 0x63, 0xc0), // volumes
    (0x2f, 0x7f, 0xc4), // sandbox
    (0xe0, 0x8a, 0x2c), // pull
    (0x6d, 0xc0, 0xd5), // create
    (0x2a, 0xa1, 0x98), // start
    (0xc4, 0x5a, 0x9a), // hook
    (0x4c, 0xaf, 0x50), // ready
    (0xd8, 0xd2, 0xc4), // other
];

fn step_color(step: super::latency::Step) -> RGBColor {
    let (red, green, blue) = STEP_COLORS[step as usize];
    RGBColor(red, green, blue)
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn soft(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&SOFT)
}

fn bold(size: u32) -> TextStyle<'static> {
    ("sans-serif", size, FontStyle::Bold).into_font().color(&INK)
}

/// Writes a title, and a smaller line below it, at the top left; what is left below them.
fn titled<'a, B: DrawingBackend>(area: &Area<'a, B>, title: &str, below: &str) -> Result<Area<'a, B>, PlotError> {
    area.draw(&Text::new(title.to_owned(), (24, 16), bold(19))).map_err(error)?;
    area.draw(&Text::new(below.to_owned(), (24, 41), soft(13))).map_err(error)?;
    Ok(area.split_vertically(64).1)
}

/// Round moments for an axis from 0 to `end` seconds, at most about `wanted`, each with its label.
pub(super) fn time_ticks(end: f64, wanted: usize) -> Vec<(f64, String)> {
    const STEPS: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400];
    let fits = |step: &&u64| end / **step as f64 <= wanted as f64;
    let step = STEPS.iter().find(fits).copied().unwrap_or((end / wanted as f64) as u64 + 1);
    (0..)
        .map(|index| index * step)
        .take_while(|seconds| *seconds as f64 <= end)
        .map(|seconds| (seconds as f64, super::style::moment(crate::kernel::Time::from_secs(seconds))))
        .collect()
}

/// A box in pixels with axes of our own: the libraries' labels can't be placed as we want them.
#[derive(Clone, Copy)]
struct Frame {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Frame {
    fn x(&self, share: f64) -> i32 {
        self.left + (share.clamp(0.0, 1.0) * f64::from(self.right - self.left)).round() as i32
    }

    fn y(&self, share: f64) -> i32 {
        self.bottom - (share.clamp(0.0, 1.0) * f64::from(self.bottom - self.top)).round() as i32
    }
}

fn line<B: DrawingBackend>(
    area: &Area<'_, B>,
    from: (i32, i32),
    to: (i32, i32),
    style: impl Into<ShapeStyle>,
) -> Drawn {
    area.draw(&PathElement::new(vec![from, to], style)).map_err(error)
}

fn text<B: DrawingBackend>(
    area: &Area<'_, B>,
    words: &str,
    at: (i32, i32),
    style: TextStyle<'static>,
    horizontal: plotters::style::text_anchor::HPos,
    vertical: plotters::style::text_anchor::VPos,
) -> Drawn {
    let anchor = plotters::style::text_anchor::Pos::new(horizontal, vertical);
    area.draw(&Text::new(words.to_owned(), at, style.pos(anchor))).map_err(error)
}

fn bar<B: DrawingBackend>(area: &Area<'_, B>, from: (i32, i32), to: (i32, i32), style: impl Into<ShapeStyle>) -> Drawn {
    area.draw(&Rectangle::new([from, to], style)).map_err(error)
}

/// The axis of the run's time below a frame, with grid lines through it.
fn time_axis<B: DrawingBackend>(area: &Area<'_, B>, frame: Frame, end: f64) -> Drawn {
    use plotters::style::text_anchor::{HPos, VPos};
    for (seconds, label) in time_ticks(end, 10) {
        let x = frame.x(seconds / end);
        line(area, (x, frame.top), (x, frame.bottom), GRID)?;
        text(area, &label, (x, frame.bottom + 7), soft(12), HPos::Center, VPos::Top)?;
    }
    line(area, (frame.left, frame.bottom), (frame.right, frame.bottom), SOFT)?;
    Ok(())
}

/// Legend entries in a row from `at` on, breaking into rows at `right`.
fn legend<B: DrawingBackend>(area: &Area<'_, B>, at: (i32, i32), right: i32, entries: &[(String, RGBColor)]) -> Drawn {
    use plotters::style::text_anchor::{HPos, VPos};
    let (mut x, mut y) = at;
    for (name, color) in entries {
        let (width, _) = area.estimate_text_size(name, &font(13)).map_err(error)?;
        if x + 20 + width as i32 > right && x > at.0 {
            x = at.0;
            y += 20;
        }
        bar(area, (x, y - 5), (x + 11, y + 6), color.filled())?;
        text(area, name, (x + 17, y), font(13), HPos::Left, VPos::Center)?;
        x += 17 + width as i32 + 20;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
