//! `simlet diff`: what changed?

mod git;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::manifest::Source;
use crate::report::diff::{Diff as Report, Side, github, junit, markdown, terminal as plan};
use crate::scenario::{Files, Options, Scenario};
use crate::trace::Placement;
use crate::trace::placement::{Allowed, By, Tolerance};

use super::files::{self, Disk};
use super::recorded::{self, Nowhere, Recorded};
use super::{Outcome, error, terminal};
use git::Revision;

/// Where do pods go before and after a change? Pods that moved, lost their node, preempted others, and the line that did it
///
/// BEFORE and AFTER are manifests, scenarios, dumps, folders that `run --out` wrote, baselines of `placement:`, or
/// KubeSchedulerConfigurations (then `--with` says what is to be scheduled). Or two git revisions and the files to take from
/// them: `simlet diff main..HEAD ci/peak.yaml`. Exits 1 if more has changed than is tolerated.
#[derive(Debug, Args)]
pub struct Diff {
    /// BEFORE AFTER, or REVISION..REVISION FILE…
    #[arg(required = true, num_args = 2.., value_name = "BEFORE AFTER")]
    inputs: Vec<String>,
    /// Files that belong to both sides: the manifests for two scheduler configurations, the nodes for two manifests
    #[arg(long, value_name = "FILE")]
    with: Vec<String>,
    /// How many pods may be elsewhere, new or gone: 5, or 10%
    #[arg(long, default_value = "0", value_parser = allowed)]
    tolerance: Allowed,
    /// How many pods may newly have no node, and how many more may be preempted
    #[arg(long, default_value_t = 0, value_name = "PODS")]
    allow_pending: u32,
    /// Whether a pod that stays in its zone has moved
    #[arg(long, value_enum, default_value_t = Grain::Node)]
    by: Grain,
    /// The seed of both runs [default: the scenarios']
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes the default cluster has
    #[arg(long)]
    nodes: Option<u32>,
    /// Write the difference as Markdown, for a comment on a pull request
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write it as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Say it as GitHub annotations, too, at the lines that differ
    #[arg(long)]
    github: bool,
}

/// What counts as a move.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Grain {
    Node,
    Zone,
}

fn allowed(text: &str) -> Result<Allowed, String> {
    Allowed::parse(text).ok_or_else(|| "a number of pods or a share such as 10%".to_owned())
}

impl Diff {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let (before, after) = self.sides()?;
        let by = match self.by {
            Grain::Node => By::Node,
            Grain::Zone => By::Zone,
        };
        let tolerance = Tolerance { changed: self.tolerance, pending: self.allow_pending };
        let diff = Report::of(before, after, by, &tolerance);
        terminal::print(&plan(&diff, &terminal::style(std::time::Duration::ZERO)));
        if self.github {
            terminal::print(&github(&diff));
        }
        if let Some(file) = &self.markdown {
            files::write(file, markdown(&diff).as_bytes()).map_err(error)?;
        }
        if let Some(file) = &self.junit {
            files::write(file, junit(&diff).as_bytes()).map_err(error)?;
        }
        Ok(if diff.is_tolerated() { Outcome::Fine } else { Outcome::Failed })
    }

    fn sides(&self) -> Result<(Side, Side), String> {
        let load: (Input, Input) = match self.inputs.as_slice() {
            [revisions, paths @ ..] if git::is_range(revisions) => {
                let (old, new) = git::range(revisions).map_err(error)?;
                let before = self.of_revision(&old, paths)?;
                (before, self.of_revision(&new, paths)?)
            }
            [before, after] => (self.of_disk(before)?, self.of_disk(after)?),
            _ => {
                let hint = "two inputs are compared; for two git revisions write them as main..HEAD before the files";
                return Err(error(hint));
            }
        };
        let (before, after) = rayon::join(|| self.side(load.0), || self.side(load.1));
        Ok((before, after))
    }

    fn of_revision(&self, revision: &Revision, paths: &[String]) -> Result<Input, String> {
        let mut sources = Vec::new();
        for path in paths {
            sources.extend(revision.read(path, "").map_err(error)?);
        }
        for path in &self.with {
            sources.extend(files::read(path).map_err(error)?);
        }
        let name = format!("{} {}", revision.name(), paths.join(" "));
        Ok(Input::Scenario(name, Box::new(recorded::load_from(sources, revision, self.nodes)?)))
    }

    fn of_disk(&self, argument: &str) -> Result<Input, String> {
        if let Some(trace) = recorded::trace_file(argument) {
            return Ok(Input::Run(argument.to_owned(), Box::new(recorded::read_back(&trace, Nowhere)?)));
        }
        if let Some(placement) = baseline(argument)? {
            return Ok(Input::Baseline(argument.to_owned(), placement));
        }
        let mut sources: Vec<Source> = files::read(argument).map_err(error)?;
        for path in &self.with {
            sources.extend(files::read(path).map_err(error)?);
        }
        let scenario = recorded::load_from(sources, &Disk, self.nodes)?;
        Ok(Input::Scenario(argument.to_owned(), Box::new(scenario)))
    }

    fn side(&self, input: Input) -> Side {
        match input {
            Input::Baseline(name, placement) => Side::of_baseline(name, placement),
            Input::Run(name, run) => Side::of_run(name, &run.header, &run.journal),
            Input::Scenario(name, scenario) => {
                let options = Options { seed: self.seed, ..Options::default() };
                let run = recorded::run(&scenario, &options, format!("simlet run {name}"));
                Side::of_run(name, &run.header, &run.journal)
            }
        }
    }
}

/// What is compared.
enum Input {
    Baseline(String, Placement),
    Run(String, Box<Recorded>),
    Scenario(String, Box<Scenario>),
}

/// The baseline that a file is; None if it is something else.
fn baseline(argument: &str) -> Result<Option<Placement>, String> {
    let path = Path::new(argument);
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    match files::read_text(path) {
        Some(text) if text.contains("\"kind\": \"Placement\"") => {
            Placement::from_file(&text).map(Some).map_err(|problem| error(format!("{argument}: {problem}")))
        }
        _ => Ok(None),
    }
}
