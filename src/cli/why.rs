//! `simlet why`: why is it so?

use clap::Args;

use crate::kernel::{Duration, Time};
use crate::report;

use super::{Outcome, error, length, recorded, terminal};

/// The chain of causes of an object's state, up to the line of the scenario or manifest that led to it
#[derive(Debug, Args)]
pub struct Why {
    /// What: pod/checkout-7f9c, deployment/web, node/worker-1
    object: String,
    /// The run: a folder that `run --out` wrote, its trace, or a scenario or manifest to be run now
    #[arg(default_value = "out")]
    run: String,
    /// At this moment of the run, such as 6m52s [default: at its end]
    #[arg(long, value_parser = length, value_name = "TIME")]
    at: Option<Duration>,
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
        let style = terminal::style(std::time::Duration::ZERO);
        let (header, journal, footer) = (&recorded.header, &recorded.journal, &recorded.footer);
        let text = report::why(header, journal, footer, &self.object, &self.namespace, at, &style).map_err(error)?;
        terminal::print(&text);
        Ok(Outcome::Fine)
    }
}
