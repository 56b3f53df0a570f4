//! `simlet run`: what happens?

use std::path::PathBuf;

use clap::Args;

use crate::kernel::Duration;
use crate::scenario::{self, Options};

use super::{Outcome, length, recorded, terminal};

/// Run a scenario, or Kubernetes manifests as they are, and tell what happened
///
/// Without a scenario the manifests are applied at 0s to a cluster of 3 nodes (8 CPU, 32 GiB each); Node objects among them
/// take their place, and what carries a uid (a dump by `kubectl get -o yaml`) is there at the start.
#[derive(Debug, Args)]
pub struct Run {
    /// Scenarios, manifests, folders, dumps; `-` is standard input
    #[arg(required = true)]
    files: Vec<String>,
    /// Write report.html, plots, the trace and the final objects into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The seed of all random numbers [default: the scenario's]
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes the default cluster has
    #[arg(long)]
    nodes: Option<u32>,
    /// End after this time, such as 10m [default: the scenario's, or when nothing is left to happen]
    #[arg(long, value_parser = length, value_name = "TIME")]
    until: Option<Duration>,
    /// Record every node's verdict and scores for every scheduling attempt
    #[arg(long)]
    explain: bool,
    /// Record what each call of a container runtime takes, for `simlet calibrate`
    #[arg(long)]
    calls: bool,
}

impl Run {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let watch = terminal::Stopwatch::start();
        let scenario = recorded::load(&self.files, self.nodes)?;
        let Run { seed, until, explain, calls, .. } = self;
        let options = Options { seed, until, explain, calls, ..Options::default() };
        let header = recorded::header_of(&scenario, options.seed.unwrap_or(scenario.seed), self.command());
        let run = |sink| scenario::run(&scenario, &options, sink);
        let recorded = match &self.out {
            None => recorded::into_memory(header, run),
            Some(folder) => recorded::into_folder(folder, header, scenario.epoch(), run)?,
        };
        recorded::tell(&recorded, self.out.as_deref(), watch.elapsed());
        Ok(recorded::verdict(&recorded))
    }

    /// The command that makes the run again.
    fn command(&self) -> String {
        let mut words = vec!["simlet run".to_owned()];
        words.extend(self.files.iter().cloned());
        words.extend(self.seed.map(|seed| format!("--seed {seed}")));
        words.extend(self.nodes.map(|nodes| format!("--nodes {nodes}")));
        words.extend(self.until.map(|until| format!("--until {until}")));
        words.extend(self.calls.then(|| "--calls".to_owned()));
        words.join(" ")
    }
}
