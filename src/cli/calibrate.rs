//! `simlet calibrate`: how long does this runtime take?

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::model::Name;
use crate::report::calibrate::Measure;
use crate::runtime::simulated::Profile;

use super::recorded::Wanted;
use super::{Outcome, error, files, recorded, terminal};

/// Measure a container runtime from a run, for `runtime:` in scenarios
///
/// Takes what each call of the runtime took in a live run, or in a run with `--calls`, and writes a profile. In a cluster of
/// real and simulated nodes only the real ones count.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// Runs: folders that `live` or `run --out` wrote, traces, or scenarios or manifests to be run now
    #[arg(required = true)]
    runs: Vec<String>,
    /// The profile's file
    #[arg(short, long, default_value = "profile.yaml", value_name = "FILE")]
    output: PathBuf,
    /// The runtime that it is like: its words and ways, and all that the runs do not show
    #[arg(long, value_enum, default_value_t = Like::Containerd)]
    like: Like,
    /// Only this node; may be given several times
    #[arg(long, value_name = "NAME")]
    node: Vec<String>,
    /// The seed of runs that are made now
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Like {
    Containerd,
    CriO,
    Docker,
}

impl Like {
    fn profile(self) -> (&'static str, Profile) {
        match self {
            Like::Containerd => ("containerd", Profile::containerd()),
            Like::CriO => ("cri-o", Profile::cri_o()),
            Like::Docker => ("docker", Profile::docker()),
        }
    }
}

impl Calibrate {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let nodes: Vec<Name> = self.node.iter().map(|node| Name::new(node)).collect();
        let mut measure = Measure::new();
        let mut names = Vec::new();
        for run in &self.runs {
            let wanted = Wanted { seed: self.seed, calls: true, ..Wanted::default() };
            let recorded = recorded::open_as(run, &wanted)?;
            for node in &nodes {
                if !recorded.journal.nodes.contains_key(node) {
                    let known: Vec<&str> = recorded.journal.nodes.keys().map(|node| node.as_str()).collect();
                    return Err(error(format!("{run}: no node `{node}`; there are {}", known.join(", "))));
                }
            }
            measure.take(&recorded.journal, &nodes, crate::cluster::TO_RUNTIME);
            names.push(recorded.header.name);
        }
        let (like, profile) = self.like.profile();
        let measured = measure.profile(&profile);
        if measured.samples.iter().all(|samples| samples.name != "sandbox") {
            return Err(error("no pod was started in this run: there is nothing to measure"));
        }
        names.dedup();
        let name = names.join(", ");
        let text = measured.yaml(like, &name, &format!("measured in {name}"));
        files::write(&self.output, text.as_bytes()).map_err(error)?;
        let file = self.output.display();
        terminal::print(&measured.text());
        terminal::print(&format!(
            "\nprofile {file}\nnext    runtime: {file}   in cluster.nodes of a scenario beside it\n"
        ));
        Ok(Outcome::Fine)
    }
}
