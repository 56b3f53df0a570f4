//! `simlet plot`: where does the time go?

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::report::Latency;
use crate::report::latency;
use crate::report::plot::{self, Format, Series};

use super::recorded::Recorded;
use super::{Outcome, error, files, recorded, terminal};

/// Plot the latency of pod starts: its CDF, or its stages; several runs on one picture
#[derive(Debug, Args)]
pub struct Plot {
    /// Runs: folders that `run --out` wrote, traces, or scenarios or manifests to be run now
    #[arg(required = true)]
    runs: Vec<String>,
    /// What to draw
    #[arg(long, value_enum, default_value_t = What::Cdf)]
    what: What,
    /// The file; its name ends in .svg or .png
    #[arg(short, long, default_value = "latency.svg", value_name = "FILE")]
    output: PathBuf,
    /// The seed of runs that are made now
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The share of pods that were ready after each time, and of each stage
    Cdf,
    /// Queue, schedule, bind, watch, sandbox, pull, create, start, ready at p50, p90, p99
    Stages,
    /// Pods over time by phase (one run)
    Pods,
    /// Nodes over time (one run)
    Nodes,
}

impl Plot {
    /// Runs the command.
    ///
    /// # Errors
    /// What is wrong with the input, rendered.
    pub fn carry_out(self) -> Result<Outcome, String> {
        let format = match self.output.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err(error(format!("{}: the name ends in neither .svg nor .png", self.output.display()))),
        };
        let runs: Vec<Recorded> =
            self.runs.iter().map(|run| recorded::open(run, self.seed, false)).collect::<Result<_, _>>()?;
        let series: Vec<Series> = runs.iter().map(series_of).collect();
        let drawn = match self.what {
            What::Cdf => plot::Plot::Cdf(&series).draw(format),
            What::Stages => plot::Plot::Stages(&series).draw(format),
            What::Pods | What::Nodes => {
                let [run] = runs.as_slice() else { return Err(error("this plot is of one run")) };
                match self.what {
                    What::Pods => plot::Plot::Phases(&run.journal, &run.footer).draw(format),
                    _ => plot::Plot::Nodes(&run.journal, &run.footer).draw(format),
                }
            }
        };
        let drawn = drawn.map_err(error)?;
        files::write(&self.output, &drawn).map_err(error)?;
        for (run, series) in runs.iter().zip(&series) {
            terminal::print(&format!("{}\n{}", series.name, latency::text(&run.journal, &series.latency)));
        }
        terminal::print(&format!("plot {}\n", self.output.display()));
        Ok(Outcome::Fine)
    }
}

fn series_of(run: &Recorded) -> Series {
    Series { name: run.header.name.clone(), latency: Latency::of(&run.journal) }
}
