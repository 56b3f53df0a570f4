//! An axis of lengths of time.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::kernel::Duration;

use super::super::style::length;
use super::{Area, Drawn, Frame, GRID, SOFT, line, soft, text};

/// An axis of lengths of time: linear from 0, or logarithmic where they span more than a factor of 50.
pub(super) struct Axis {
    least: f64,
    most: f64,
    log: bool,
}

impl Axis {
    /// The axis on which all of these have room.
    pub(super) fn over(lengths: impl Iterator<Item = Duration>) -> Axis {
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
            least: if log { (least / 1.3).max(most / 1e8) } else { 0.0 },
            most: most * if log { 1.5 } else { 1.06 },
            log,
        }
    }

    /// Where on the axis a length lies, from 0 to 1.
    pub(super) fn share(&self, seconds: f64) -> f64 {
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
            // Minutes and hours go on where seconds end: 10s, 1m, 10m, 1h.
            let decades = (0..10).map(|exponent| libm::exp10(f64::from(exponent) - 9.0));
            let units: Vec<f64> = decades.chain([10.0, 60.0, 600.0, 3600.0, 36_000.0]).collect();
            for (at, unit) in units.iter().enumerate() {
                let next = units.get(at + 1).copied().unwrap_or(f64::MAX);
                let steps = (1..10).map(|times| (unit * f64::from(times), matches!(times, 1 | 2 | 5)));
                let inside = |seconds: f64| seconds >= self.least && seconds <= self.most && seconds < next * 0.99;
                ticks.extend(steps.filter(|(seconds, _)| inside(*seconds)));
            }
            // Ten labels are enough.
            if ticks.iter().filter(|(_, labelled)| *labelled).count() > 12 {
                for (seconds, labelled) in &mut ticks {
                    *labelled = units.iter().any(|unit| libm::fabs(unit / *seconds - 1.0) < 1e-6);
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

    /// Draws the axis with its labels below the frame, and lines through it.
    pub(super) fn draw<B: DrawingBackend>(&self, area: &Area<'_, B>, frame: Frame) -> Drawn {
        let mut last_label = -100;
        for (seconds, labelled) in self.ticks() {
            let x = frame.x(self.share(seconds));
            if labelled {
                line(area, (x, frame.top), (x, frame.bottom), GRID)?;
                if x - last_label > 44 {
                    text(area, &words(seconds), (x, frame.bottom + 7), soft(12), HPos::Center, VPos::Top)?;
                    last_label = x;
                }
            } else {
                line(area, (x, frame.bottom), (x, frame.bottom + 4), SOFT)?;
            }
        }
        line(area, (frame.left, frame.bottom), (frame.right, frame.bottom), SOFT)?;
        let scale = if self.log { "time, logarithmic" } else { "time" };
        text(area, scale, ((frame.left + frame.right) / 2, frame.bottom + 29), soft(12), HPos::Center, VPos::Top)?;
        Ok(())
    }
}

fn words(seconds: f64) -> String {
    length(Duration::from_nanos((seconds * 1e9).round() as u64))
}
