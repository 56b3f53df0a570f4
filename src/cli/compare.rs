//! `simlet compare`: is the one as the other?

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::report::compare::{self, Comparison, Side, Tolerance};
use crate::report::plot::{Format, Plot};

use super::recorded::Wanted;
use super::{Outcome, error, files, recorded, terminal};

/// Compare two runs stage by stage: a simulated one beside a real one, or any two
///
/// A side is a folder that `live` or `run --out` wrote, a folder of such folders (several runs, taken together), a trace, or a
/// scenario or manifest to be run now. Pods are matched by what made them, not by their names.
#[derive(Debug, Args)]
pub struct Compare {
    /// The run that is looked at
    #[arg(value_name = "A")]
    first: String,
    /// The run that it is held against
    #[arg(value_name = "B")]
    second: String,
    /// How far apart percentiles may be, in percent of B; differences up to `least` are none
    #[arg(long, value_parser = Tolerance::parse, default_value = "p50=10%,p90=25%,p99=none,least=5ms")]
    tolerance: Tolerance,
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
        let comparison = Comparison::of(&self.side(&self.first)?, &self.side(&self.second)?, self.tolerance);
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

    /// All runs that an argument means.
    fn side(&self, argument: &str) -> Result<Side, String> {
        let mut side = Side::new("");
        let runs = recorded::runs_in(argument).map_err(error)?;
        let made_now = runs.is_empty() && !recorded::is_recorded(argument);
        let name = |side: &mut Side, of: &str| {
            if side.name.is_empty() {
                of.clone_into(&mut side.name);
            }
        };
        for run in &runs {
            let recorded = recorded::open(run, None, false)?;
            name(&mut side, &recorded.header.name);
            side.take(&recorded.journal);
        }
        if runs.is_empty() {
            let recorded = recorded::open_as(argument, &Wanted { seed: self.seed, ..Wanted::default() })?;
            name(&mut side, &recorded.header.name);
            side.take(&recorded.journal);
            let more = if made_now { self.seeds } else { 1 };
            for further in 1..more {
                let seed = Some(recorded.header.seed.wrapping_add(u64::from(further)));
                side.take(&recorded::open_as(argument, &Wanted { seed, ..Wanted::default() })?.journal);
            }
        }
        Ok(side)
    }
}
