//! What a trace says about its run before and after the records.

use crate::kernel::{Duration, Time};
use crate::model::Source;

/// The first line of a trace: what was run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// The scenario's name, or the first manifest's.
    pub name: String,
    pub description: String,
    pub seed: u64,
    /// Whose rules: `1.36`.
    pub kubernetes: String,
    /// The command that makes the run again, without paths of the machine: `simlet run zone-outage.yaml --seed 7`.
    pub command: String,
    /// The date of time 0, in seconds of Unix time.
    pub epoch: i64,
    /// The files of the run, as the user named them, with their texts; [`Source::file`] indexes them.
    pub sources: Vec<SourceFile>,
    /// Kinds that were passed over, with their numbers.
    pub passed_over: Vec<(String, u32)>,
    /// Fields that were accepted and have no effect: kind, field, how often.
    pub not_modelled: Vec<(String, String, u32)>,
    /// Warnings about the input, for the user.
    pub warnings: Vec<String>,
}

/// A file of the run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFile {
    pub name: String,
    pub text: String,
}

/// The last line of a trace: how the run ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Footer {
    pub end: Time,
    /// Why it ended: "nothing left to happen", "until", …
    pub reason: String,
    pub events: u64,
    pub digest: u64,
    pub expectations: Vec<Expectation>,
    /// Broken invariants of simlet itself.
    pub invariants: Vec<String>,
}

/// What came of an expectation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// Its own name, or its text.
    pub name: String,
    /// `at 20m`, `within 2m`, `always`, `never`, or empty for one that is checked at the end.
    pub when: String,
    /// The expression, or the baseline's file.
    pub text: String,
    pub source: Option<Source>,
    pub held: bool,
    /// Measured values beside it, for those that held and those that did not: "worst 0 ready for 48s".
    pub measured: String,
    /// When it was broken: from, and until (None: to the end).
    pub broken: Vec<(Time, Option<Time>)>,
    /// An error in evaluating it, which counts as broken.
    pub error: String,
    /// The objects that the expression is about, most telling first, as `pod/checkout-x`, for "next: simlet why …".
    pub objects: Vec<String>,
    /// More about what is broken, a line each: the pods that moved, for a placement.
    pub details: Vec<String>,
    /// It is expected in some of the seeds only; it then breaks no run by itself.
    pub share: Option<Share>,
}

/// In which part of the seeds something is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Percent of the seeds, both included.
    pub least: u32,
    pub most: u32,
    /// Whether it held in this run.
    pub held_here: bool,
}

impl Share {
    /// `1 % to 99 % of the seeds`.
    pub fn text(&self) -> String {
        match (self.least, self.most) {
            (least, most) if least == most => format!("{least} % of the seeds"),
            (least, 100) => format!("at least {least} % of the seeds"),
            (0, most) => format!("at most {most} % of the seeds"),
            (least, most) => format!("{least} % to {most} % of the seeds"),
        }
    }

    /// True if `held` of `seeds` runs are such a part.
    pub fn is_met(&self, held: usize, seeds: usize) -> bool {
        let (held, seeds) = (held * 100, seeds);
        held >= seeds * self.least as usize && held <= seeds * self.most as usize
    }
}

impl Header {
    /// `zone-outage.yaml:44`, for a line of one of the files.
    pub fn place(&self, source: Source) -> String {
        match self.sources.get(source.file as usize) {
            Some(file) => format!("{}:{}", file.name, source.line),
            None => format!("line {}", source.line),
        }
    }
}

impl Expectation {
    /// For how long it was broken in all, in a run that ended at `end`.
    pub fn broken_for(&self, end: Time) -> Duration {
        self.broken.iter().fold(Duration::ZERO, |sum, (from, to)| sum + to.unwrap_or(end).since(*from))
    }
}
