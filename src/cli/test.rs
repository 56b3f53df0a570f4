//! `simlet test`: does it hold?

use std::path::{Path, PathBuf};

use clap::Args;
use rayon::prelude::*;

use crate::manifest::Source;
use crate::report::junit::{Case, junit};
use crate::report::story;
use crate::report::testrun::{self, TestRun};
use crate::scenario::{Options, Scenario};

use super::recorded::{self, Recorded};
use super::{Outcome, error, files, terminal};

/// Check the expectations of scenarios, all in parallel
///
/// Exits 0 if all hold, 1 if one does not, 2 if a file is wrong, 3 if simlet broke an invariant of its own.
#[derive(Debug, Args)]
pub struct Test {
    /// Scenario files, or folders with scenarios in them
    #[arg(required = true)]
    paths: Vec<String>,
    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The seeds to run each scenario with, such as 1..50 (both included) [default: each scenario's own]
    #[arg(long, value_parser = seeds, value_name = "FROM..TO")]
    seeds: Option<(u64, u64)>,
    /// The seed to run each scenario with
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Say failures as GitHub annotations, too
    #[arg(long)]
    github: bool,
    /// Write the baselines of `placement:` expectations as the pods are now placed, then check
    #[arg(long, conflicts_with = "seeds", conflicts_with = "seed")]
    bless: bool,
    /// How many runs at once [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
}

/// Reads `1..50`.
pub(super) fn seeds(text: &str) -> Result<(u64, u64), String> {
    let parsed = text.split_once("..").and_then(|(from, to)| {
        let to = to.strip_prefix('=').unwrap_or(to);
        Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
    });
    match parsed {
        Some((from, to)) if from <= to => Ok((from, to)),
        _ => Err("seeds are written as 1..50".to_owned()),
    }
}

impl Test {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let sources = files::scenarios(&self.paths).map_err(error)?;
        if sources.is_empty() {
            return Err(error("there is no scenario (apiVersion: simlet.dev/v1) in what was named"));
        }
        let mut scenarios = load_all(&sources)?;
        if self.bless && bless(&scenarios)? {
            scenarios = load_all(&sources)?;
        }
        let results = match self.threads {
            None => self.run_all(&scenarios),
            Some(threads) => {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(error)?;
                pool.install(|| self.run_all(&scenarios))
            }
        };
        let style = terminal::style(std::time::Duration::ZERO);
        let mut runs = Vec::new();
        for (run, wall) in results {
            let wall = terminal::is_terminal().then_some(wall);
            terminal::print(&testrun::line(&run, wall, &style));
            runs.push(run);
        }
        terminal::print(&testrun::summary(&runs, &style));
        if self.github {
            terminal::print(&testrun::github(&runs));
        }
        if let Some(file) = &self.junit {
            let cases: Vec<Case<'_>> =
                runs.iter().map(|run| Case { header: &run.header, footer: &run.footer, wall: None }).collect();
            files::write(file, junit(&cases).as_bytes()).map_err(error)?;
        }
        Ok(if runs.iter().any(|run| !run.footer.invariants.is_empty()) {
            Outcome::Broken
        } else if runs.iter().any(|run| !run.passed()) {
            Outcome::Failed
        } else {
            Outcome::Fine
        })
    }

    fn run_all(&self, scenarios: &[(String, Scenario)]) -> Vec<(TestRun, std::time::Duration)> {
        scenarios.par_iter().map(|(file, scenario)| self.run_one(file, scenario)).collect()
    }

    /// Runs a scenario under all seeds; what is kept is the first run that failed, else the first.
    fn run_one(&self, file: &str, scenario: &Scenario) -> (TestRun, std::time::Duration) {
        let watch = terminal::Stopwatch::start();
        let seeds: Vec<u64> = match (self.seeds, self.seed) {
            (Some((from, to)), _) => (from..=to).collect(),
            (None, Some(seed)) => vec![seed],
            (None, None) => vec![scenario.seed],
        };
        let results: Vec<(bool, Recorded)> = seeds
            .par_iter()
            .map(|&seed| {
                let command = format!("simlet run {file} --seed {seed}");
                let options = Options { seed: Some(seed), ..Options::default() };
                let recorded = recorded::run(scenario, &options, command);
                (held(&recorded), recorded)
            })
            .collect();
        let count = results.len();
        let shares = shares(results.iter().map(|(_, recorded)| recorded));
        let held = results.iter().filter(|(held, _)| *held).count();
        let mut shown = None;
        for (held, recorded) in results {
            if shown.is_none() || !held {
                shown = Some((held, recorded));
                if !held {
                    break;
                }
            }
        }
        let Some((passed, mut recorded)) = shown else {
            // There is at least one seed; an empty range was refused.
            return (TestRun { header: scenario.header.clone(), file: file.to_owned(), ..empty() }, watch.elapsed());
        };
        let mut passed = passed;
        if count > 1 {
            for (expectation, in_seeds) in recorded.footer.expectations.iter_mut().zip(shares) {
                let Some(share) = expectation.share else { continue };
                expectation.measured = format!("holds in {in_seeds} of {count} seeds; expected in {}", share.text());
                expectation.held = share.is_met(in_seeds, count);
                passed &= expectation.held;
            }
        }
        let story =
            if passed { Vec::new() } else { story::lines(&recorded.header, &recorded.journal, &recorded.footer) };
        let run = TestRun {
            story: story.into_iter().filter(|line| line.alarm).take(SHOWN_LINES).collect(),
            header: recorded.header,
            footer: recorded.footer,
            file: file.to_owned(),
            seeds: count,
            held,
        };
        (run, watch.elapsed())
    }
}

/// In how many of the runs each expectation held.
fn shares<'r>(runs: impl Iterator<Item = &'r Recorded>) -> Vec<usize> {
    let mut shares = Vec::new();
    for run in runs {
        let expectations = &run.footer.expectations;
        shares.resize(expectations.len().max(shares.len()), 0);
        for (count, expectation) in shares.iter_mut().zip(expectations) {
            *count += usize::from(expectation.share.map_or(expectation.held, |share| share.held_here));
        }
    }
    shares
}

/// Loads every scenario.
fn load_all(sources: &[Source]) -> Result<Vec<(String, Scenario)>, String> {
    let mut scenarios = Vec::new();
    let mut problems = String::new();
    for source in sources {
        match recorded::load_sources(vec![source.clone()], None) {
            Ok(scenario) => scenarios.push((source.name.clone(), scenario)),
            Err(text) => problems.push_str(&text),
        }
    }
    if problems.is_empty() { Ok(scenarios) } else { Err(problems) }
}

/// Writes the baselines that differ from what comes out now. True if there are any.
fn bless(scenarios: &[(String, Scenario)]) -> Result<bool, String> {
    let with: Vec<&(String, Scenario)> =
        scenarios.iter().filter(|(_, scenario)| scenario.baselines().next().is_some()).collect();
    let measured: Vec<_> = with
        .par_iter()
        .map(|(file, scenario)| recorded::run(scenario, &Options::default(), format!("simlet run {file}")).placements)
        .collect();
    let mut written = false;
    for ((file, _), placements) in with.iter().zip(measured) {
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        for placement in placements {
            let path = folder.join(&placement.file);
            let text = placement.is.to_file();
            if files::read_text(&path).as_deref() == Some(&text) {
                continue;
            }
            files::write(&path, text.as_bytes()).map_err(error)?;
            terminal::complain(&format!("blessed {}\n", path.display()));
            written = true;
        }
    }
    Ok(written)
}

/// How many lines of the story stand beside a failure.
const SHOWN_LINES: usize = 8;

fn held(recorded: &Recorded) -> bool {
    recorded.footer.invariants.is_empty() && recorded.footer.expectations.iter().all(|expectation| expectation.held)
}

fn empty() -> TestRun {
    TestRun {
        header: Default::default(),
        footer: Default::default(),
        file: String::new(),
        seeds: 0,
        held: 0,
        story: Vec::new(),
    }
}
