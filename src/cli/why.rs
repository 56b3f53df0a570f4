//! `simlet why`: why is it so?

use clap::Args;

use crate::kernel::{Duration, Time};
use crate::report::why::{Detail, why_with};

use super::{Outcome, error, length, recorded, terminal};

/// The chain of causes of an object's state, up to the line of the scenario or manifest that led to it
#[derive(Debug, Args)]
pub struct Why {
    /// What: pod/checkout-7f9c, deployment/web, node/worker-1; or `pending`: all pods without a node; or `slow`: where the time
    /// of pods' starts went
    object: String,
    /// The run: a folder that `run --out` wrote, its trace, or a scenario or manifest to be run now
    #[arg(default_value = "out")]
    run: String,
    /// At this moment of the run, such as 6m52s [default: at its end]
    #[arg(long, value_parser = length, value_name = "TIME")]
    at: Option<Duration>,
    /// As of this scheduling attempt of a pod: 1 is the first
    #[arg(long, conflicts_with = "at", value_name = "NUMBER")]
    attempt: Option<u32>,
    /// Show every node's verdict or scores, however many there are
    #[arg(long)]
    all_nodes: bool,
    /// The object's namespace [default: wherever there is one of this name]
    #[arg(short, long, default_value = "", hide_default_value = true)]
    namespace: String,
    /// The seed, if the run is made now
    #[arg(long)]
    seed: Option<u64>,
}

impl Why {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let recorded = recorded::open(&self.run, self.seed, true)?;
        let at = self.at.map(|at| Time::ZERO + at);
        let detail = Detail { at, attempt: self.attempt, all_nodes: self.all_nodes };
        let style = terminal::style(std::time::Duration::ZERO);
        let (header, journal, footer) = (&recorded.header, &recorded.journal, &recorded.footer);
        let (object, namespace) = (&self.object, &self.namespace);
        let text = why_with(header, journal, footer, object, namespace, &detail, &style).map_err(error)?;
        terminal::print(&text);
        Ok(Outcome::Fine)
    }
}
