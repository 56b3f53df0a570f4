//! Two runs, or two sets of runs, side by side: how long each stage of a pod took, within which tolerance they agree, and in
//! which facts they differ. Made for a simulated run beside a real one; either may be either.
//!
//! Pods are matched by what made them, not by their names, which are random. Read `samples` (what is taken from runs),
//! `interval` (how sure a percentile is), `facts` (how pods ended, restarts, reasons, Events), `render` (terminal, Markdown,
//! JSON). The plot is in `plot`.

mod facts;
mod interval;
mod render;
mod samples;

pub use facts::{Difference, Facts};
pub use interval::Interval;
pub use render::{json, markdown, text};
pub use samples::{Samples, Stage};

use crate::kernel::Duration;

use super::journal::Journal;
use super::latency::percentile;

/// The percentiles that are compared.
pub const PERCENTS: [u64; 3] = [50, 90, 99];

/// How far two runs may be apart and still agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// By [`PERCENTS`], in thousandths of the second run's value; None: not judged.
    pub per_thousand: [Option<u64>; 3],
    /// A difference that is not longer than this is none.
    pub least: Duration,
}

impl Default for Tolerance {
    /// Medians within 10 %, p90 within 25 %; p99 is shown and not judged. Below 5 ms nothing is a difference.
    fn default() -> Tolerance {
        Tolerance { per_thousand: [Some(100), Some(250), None], least: Duration::from_millis(5) }
    }
}

impl Tolerance {
    /// Reads `p50=10%,p90=25%,p99=none,least=5ms`; what is not named stays as by default.
    ///
    /// # Errors
    /// What is wrong, and what is expected.
    pub fn parse(text: &str) -> Result<Tolerance, String> {
        let mut tolerance = Tolerance::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let expected = || format!("`{part}` is no tolerance: such as p50=10%, p99=none or least=5ms");
            let (name, value) = part.split_once('=').ok_or_else(expected)?;
            let (name, value) = (name.trim(), value.trim());
            if name == "least" {
                tolerance.least = Duration::parse_go(value).ok_or_else(expected)?;
                continue;
            }
            let at = PERCENTS.iter().position(|percent| name == format!("p{percent}")).ok_or_else(expected)?;
            tolerance.per_thousand[at] = match value {
                "none" => None,
                value => {
                    let percent: f64 = value.strip_suffix('%').unwrap_or(value).parse().map_err(|_| expected())?;
                    if !(0.0..=10_000.0).contains(&percent) {
                        return Err(expected());
                    }
                    Some((percent * 10.0).round() as u64)
                }
            };
        }
        Ok(tolerance)
    }
}

/// One or several runs under one name.
#[derive(Clone, Debug, Default)]
pub struct Side {
    pub name: String,
    pub runs: usize,
    samples: Samples,
    facts: Vec<Facts>,
}

impl Side {
    /// No run yet.
    pub fn new(name: &str) -> Side {
        Side { name: name.to_owned(), ..Side::default() }
    }

    /// Takes a run.
    pub fn take(&mut self, journal: &Journal) {
        self.runs += 1;
        self.samples.take(journal);
        self.facts.push(Facts::of(journal));
    }
}

/// One percentile of one stage on both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beside {
    pub values: [Duration; 2],
    /// Where the values lie with 95 % confidence, if there are enough to say.
    pub intervals: [Interval; 2],
    /// The first in relation to the second, in thousandths; None if the second is zero.
    pub difference: Option<i64>,
    /// Between which differences the true one lies with at least 95 % confidence, in thousandths.
    pub bounds: Option<(i64, i64)>,
    pub verdict: Verdict,
}

/// Whether two values agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Agrees,
    /// They are further apart than the tolerance, and that is no accident.
    Differs,
    /// They are further apart than the tolerance, but so few samples may be by accident.
    Unclear,
    /// Nothing is asked, or one side has nothing.
    Unjudged,
}

/// A stage on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub stage: Stage,
    pub counts: [usize; 2],
    /// By [`PERCENTS`]; empty if one side has none.
    pub percentiles: Vec<Beside>,
}

impl Row {
    /// The percentiles with their numbers, without those that are the same samples as the one before: of few samples p90 and
    /// p99 are the longest.
    pub fn told(&self) -> impl Iterator<Item = (&Beside, u64)> {
        let ranks = |percent: u64| self.counts.map(|count| (count as u64 * percent).div_ceil(100));
        let mut before = None;
        self.percentiles.iter().zip(PERCENTS).filter(move |(_, percent)| {
            let ranks = Some(ranks(*percent));
            ranks != std::mem::replace(&mut before, ranks)
        })
    }

    /// The worst of its verdicts.
    pub fn verdict(&self) -> Verdict {
        let is = |verdict| self.percentiles.iter().any(|beside| beside.verdict == verdict);
        [Verdict::Differs, Verdict::Unclear, Verdict::Agrees]
            .into_iter()
            .find(|verdict| is(*verdict))
            .unwrap_or(Verdict::Unjudged)
    }
}

/// Two sides, compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub names: [String; 2],
    pub runs: [usize; 2],
    pub tolerance: Tolerance,
    /// In the order of a pod's life; stages that neither side has are left out.
    pub rows: Vec<Row>,
    /// What differs in facts.
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Compares two sides.
    pub fn of(first: &Side, second: &Side, tolerance: Tolerance) -> Comparison {
        let mut rows = Vec::new();
        for stage in Stage::ALL {
            let sorted = [first.samples.sorted(stage), second.samples.sorted(stage)];
            let counts = [sorted[0].len(), sorted[1].len()];
            if counts == [0, 0] {
                continue;
            }
            let both = counts[0] > 0 && counts[1] > 0;
            let beside = |(at, percent): (usize, &u64)| beside(&sorted, *percent, tolerance, at);
            let percentiles = if both { PERCENTS.iter().enumerate().map(beside).collect() } else { Vec::new() };
            rows.push(Row { stage, counts, percentiles });
        }
        let differences = facts::differences(&first.facts, &second.facts);
        Comparison {
            names: [first.name.clone(), second.name.clone()],
            runs: [first.runs, second.runs],
            tolerance,
            rows,
            differences,
        }
    }

    /// The stages that are further apart than the tolerance.
    pub fn outside(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict(), Verdict::Differs | Verdict::Unclear))
    }

    /// True if every stage is within the tolerance and no fact differs.
    pub fn agrees(&self) -> bool {
        self.outside().next().is_none() && self.differences.is_empty() && self.judged() > 0
    }

    /// How many stages were judged.
    pub fn judged(&self) -> usize {
        self.rows.iter().filter(|row| row.verdict() != Verdict::Unjudged).count()
    }
}

fn beside(sorted: &[Vec<Duration>; 2], percent: u64, tolerance: Tolerance, at: usize) -> Beside {
    let values = [percentile(&sorted[0], percent), percentile(&sorted[1], percent)];
    // Two intervals of 97.5 % each hold at once in 95 % of all cases.
    let sure = |side: usize| Interval::of_percentile(&sorted[side], percent, 25);
    let wide = [sure(0), sure(1)];
    let intervals = [0, 1].map(|side| Interval::of_percentile(&sorted[side], percent, 50));
    let bounds = match (wide[0].bounds, wide[1].bounds) {
        (Some((low, high)), Some((other_low, other_high))) => {
            relative(low, other_high).zip(relative(high, other_low)).filter(|(low, high)| low <= high)
        }
        _ => None,
    };
    let difference = relative(values[0], values[1]);
    let gap = values[0].saturating_sub(values[1]).max(values[1].saturating_sub(values[0]));
    let verdict = match tolerance.per_thousand[at] {
        None => Verdict::Unjudged,
        Some(_) if gap <= tolerance.least => Verdict::Agrees,
        Some(allowed) => {
            let allowed = i64::try_from(allowed).unwrap_or(i64::MAX);
            match (difference, bounds) {
                (Some(difference), _) if difference.abs() <= allowed => Verdict::Agrees,
                (Some(_), Some((low, high))) if low > allowed || high < -allowed => Verdict::Differs,
                (Some(_), _) => Verdict::Unclear,
                (None, _) => Verdict::Differs,
            }
        }
    };
    Beside { values, intervals, difference, bounds, verdict }
}

/// How much `value` is above (or below) `base`, in thousandths; None if that is zero.
fn relative(value: Duration, base: Duration) -> Option<i64> {
    if base.is_zero() {
        return None;
    }
    let difference = i128::from(value.as_nanos()) - i128::from(base.as_nanos());
    let nanos = i128::from(base.as_nanos());
    let rounded = (difference * 2000 + nanos * difference.signum()) / (nanos * 2);
    i64::try_from(rounded).ok()
}

#[cfg(test)]
mod tests;
