//! `simlet run`: what happens?

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::kernel::Duration;
use crate::report;
use crate::scenario::{self, Options, Scenario};
use crate::trace::{Sink, Writer};

use super::recorded::{self, Both, Nowhere, Recorded, Shared};
use super::{Outcome, error, files, length, outputs, terminal};

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
        let options =
            Options { seed: self.seed, until: self.until, explain: self.explain, calls: self.calls, polling: false };
        let recorded = match &self.out {
            None => recorded::run(&scenario, &options, self.command(), Nowhere),
            Some(folder) => self.run_into(folder, &scenario, &options)?,
        };
        let style = terminal::style(watch.elapsed());
        terminal::print(&report::story(&recorded.header, &recorded.journal, &recorded.footer, &style));
        if let Some(folder) = &self.out {
            let folder = folder.display();
            terminal::print(&format!(
                "  report {folder}/report.html · trace {folder}/trace.jsonl · plots {folder}/*.svg\n"
            ));
        }
        Ok(verdict(&recorded))
    }

    /// The command that makes the run again.
    fn command(&self) -> String {
        let mut words = vec!["simlet run".to_owned()];
        words.extend(self.files.iter().cloned());
        words.extend(self.seed.map(|seed| format!("--seed {seed}")));
        words.extend(self.nodes.map(|nodes| format!("--nodes {nodes}")));
        words.extend(self.until.map(|until| format!("--until {until}")));
        words.join(" ")
    }

    /// Runs with the trace streamed into the folder, then writes the rest. The trace has its name only once it is whole.
    fn run_into(&self, folder: &Path, scenario: &Scenario, options: &Options) -> Result<Recorded, String> {
        let say = |problem: std::io::Error| error(format!("{}: {problem}", folder.display()));
        fs::create_dir_all(folder).map_err(say)?;
        let (half, whole) = (folder.join("trace.part"), folder.join("trace.jsonl"));
        let file = File::create(&half).map_err(say)?;
        let header = recorded::header_of(scenario, options.seed.unwrap_or(scenario.seed), self.command());
        let writer = Shared::new(Writer::new(BufWriter::new(file), &header));
        let journal = Shared::new(report::Journal::new());
        let sink: Box<dyn Sink> = Box::new(Both(journal.share(), writer.share()));
        let end = scenario::run(scenario, options, sink);
        let mut written = outputs::final_objects(end.cluster.store(), scenario.epoch());
        drop(end.cluster);
        let recorded = Recorded { header, journal: journal.into_inner().unwrap_or_default(), footer: end.footer };
        if let Some(writer) = writer.into_inner() {
            writer.finish(&recorded.footer).map_err(say)?;
        }
        fs::rename(&half, &whole).map_err(say)?;
        written.extend(outputs::render(&recorded.header, &recorded.journal, &recorded.footer)?);
        for (name, bytes) in written {
            files::write(&folder.join(name), &bytes).map_err(error)?;
        }
        Ok(recorded)
    }
}

/// How a run ended.
fn verdict(recorded: &Recorded) -> Outcome {
    if !recorded.footer.invariants.is_empty() {
        Outcome::Broken
    } else if recorded.footer.expectations.iter().any(|expectation| !expectation.held) {
        Outcome::Failed
    } else {
        Outcome::Fine
    }
}
