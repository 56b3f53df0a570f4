//! `simlet replay`: a live run again, in virtual time.

use std::path::PathBuf;

use clap::Args;

use crate::cluster::Nobody;
use crate::kernel;
use crate::scenario;

use super::recording::Recording;
use super::{Outcome, recorded, terminal};

/// Walk again through a recorded live run, in virtual time and without a runtime
///
/// The recording holds all that came from outside; the same states follow, to the same digest, with the same reports.
#[derive(Debug, Args)]
pub struct Replay {
    /// What `simlet live --out` wrote: its folder, or recording.jsonl in it
    recording: PathBuf,
    /// Write report.html, plots, the trace and the final objects into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Replay {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the recording.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let watch = terminal::Stopwatch::start();
        let recording = Recording::read(&self.recording)?;
        let (opening, scenario) = (&recording.opening, &recording.scenario);
        let header = recorded::header_of(scenario, opening.seed(scenario), opening.command.clone());
        let mut clock = kernel::Replay::new(recording.arrivals.iter().cloned());
        let run = |sink| scenario::run_with(scenario, &recording.options(), sink, &mut clock, Box::new(Nobody));
        let again = match &self.out {
            None => recorded::into_memory(header, run),
            Some(folder) => recorded::into_folder(folder, header, scenario.epoch(), run)?,
        };
        recorded::tell(&again, self.out.as_deref(), watch.elapsed());
        if let Some(difference) = recording.difference(&again.footer) {
            terminal::complain(&super::error(difference));
            return Ok(Outcome::Broken);
        }
        Ok(recorded::verdict(&again))
    }
}
