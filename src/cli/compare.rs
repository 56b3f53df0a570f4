//! `simlet compare`: is the one as the other?

use std::path::PathBuf;
use std::slice;

use clap::{Args, ValueEnum};

use crate::kernel::Duration;
use crate::report::compare::{self, Comparison, Side, Tolerance};
use crate::report::plot::{Format, Plot};
use crate::report::recording::{self, RecordingBeside, Simulated};
use crate::trace::Sink;

use super::recorded::{Nowhere, Recorded, Shared, Wanted};
use super::{Outcome, error, files, recorded, terminal};

/// Compare two runs stage by stage: a simulated one beside a real one, or any two
///
/// A side is a folder that `live` or `run --out` wrote, a folder of such folders (several runs, taken together), a trace, or a
/// scenario or manifest to be run now. Pods are matched by what made them, not by their names.
///
/// B may also be a recording of your cluster's pods, `kubectl get pods -w --output-watch-events -o json > pods.json`, with
/// others of its Events, nodes or workloads beside it or not, plain or packed (.gz): then facts are compared, one by one, with
/// the times since each object's creation.
#[derive(Debug, Args)]
pub struct Compare {
    /// The run that is looked at
    #[arg(value_name = "A")]
    first: String,
    /// The run that it is held against, or several, or the files of a recording
    #[arg(value_name = "B", required = true)]
    second: Vec<String>,
    /// How far apart percentiles may be, in percent of B; differences up to `least` are none
    #[arg(long, value_parser = Tolerance::parse, default_value = "p50=10%,p90=25%,p99=none,least=5ms")]
    tolerance: Tolerance,
    /// With a recording: times that are so far apart, or a tenth of the time since the creation, are the same
    #[arg(long, value_parser = super::length, default_value = "1.5s", value_name = "TIME")]
    within: Duration,
    /// With a recording: print all facts, also those that agree
    #[arg(long)]
    all: bool,
    /// Exit with 1 if a stage is outside the tolerance or a fact differs
    #[arg(long)]
    check: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Print::Text)]
    format: Print,
    /// Draw the stages side by side into this file; its name ends in .svg or .png
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Runs that are made now are made with so many seeds, one after another from their own on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// The first seed of runs that are made now
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    Text,
    Markdown,
    Json,
}

impl Compare {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let format = match self.output.as_ref().map(|file| file.extension().and_then(|extension| extension.to_str())) {
            None => None,
            Some(Some("svg")) => Some(Format::Svg),
            Some(Some("png")) => Some(Format::Png),
            Some(_) => return Err(error("the plot's name ends in neither .svg nor .png")),
        };
        if let Some(real) = recorded::recording(&self.second)? {
            return self.beside_recording(&real);
        }
        let comparison =
            Comparison::of(&self.side(slice::from_ref(&self.first))?, &self.side(&self.second)?, self.tolerance);
        let said = match self.format {
            Print::Text => compare::text(&comparison, &terminal::style(std::time::Duration::ZERO)),
            Print::Markdown => compare::markdown(&comparison),
            Print::Json => compare::json(&comparison),
        };
        terminal::print(&said);
        if let (Some(file), Some(format)) = (&self.output, format) {
            let drawn = Plot::Compare(&comparison).draw(format).map_err(error)?;
            files::write(file, &drawn).map_err(error)?;
            terminal::complain(&format!("plot {}\n", file.display()));
        }
        Ok(if self.check && !comparison.agrees() { Outcome::Failed } else { Outcome::Fine })
    }

    /// Facts one by one, instead of stages.
    fn beside_recording(&self, real: &recording::History) -> Result<Outcome, String> {
        if self.output.is_some() {
            return Err(error("there is no plot of a recording: --output goes with two runs"));
        }
        let mut simulated = Vec::new();
        self.each_run(&self.first, Simulated::new, |_, sink| simulated.push(sink.history()))?;
        let beside = RecordingBeside::of(real, &simulated, self.within);
        let said = match self.format {
            Print::Text => recording::text(&beside, self.all, &terminal::style(std::time::Duration::ZERO)),
            Print::Markdown => recording::markdown(&beside),
            Print::Json => recording::json(&beside),
        };
        terminal::print(&said);
        Ok(if self.check && !beside.agrees() { Outcome::Failed } else { Outcome::Fine })
    }

    /// All runs that arguments mean, as one side.
    fn side(&self, arguments: &[String]) -> Result<Side, String> {
        let mut side = Side::new("");
        for argument in arguments {
            self.each_run(
                argument,
                || Nowhere,
                |recorded, _| {
                    if side.name.is_empty() {
                        side.name.clone_from(&recorded.header.name);
                    }
                    side.take(&recorded.journal);
                },
            )?;
        }
        Ok(side)
    }

    /// Hands on every run that an argument means, each with a sink of its own that took its records.
    fn each_run<S: Sink + 'static>(
        &self,
        argument: &str,
        sink: impl Fn() -> S,
        mut take: impl FnMut(Recorded, S),
    ) -> Result<(), String> {
        let mut one = |argument: &str, seed: Option<u64>, quiet: bool| {
            let shared = Shared::new(sink());
            let recorded = recorded::open_with(argument, &Wanted { seed, quiet, ..Wanted::default() }, shared.share())?;
            let seed = recorded.header.seed;
            let sink = shared.into_inner().ok_or_else(|| error("a run's records are still being written"))?;
            take(recorded, sink);
            Ok::<u64, String>(seed)
        };
        let runs = recorded::runs_in(argument).map_err(error)?;
        for run in &runs {
            one(run, None, false)?;
        }
        if runs.is_empty() {
            let first = one(argument, self.seed, false)?;
            let more = if recorded::is_recorded(argument) { 1 } else { self.seeds };
            for further in 1..more {
                one(argument, Some(first.wrapping_add(u64::from(further))), true)?;
            }
        }
        Ok(())
    }
}
