//! The command line: one file a command. With `runtime/live/` the only place with files, the terminal, threads and the
//! environment.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod bench_scheduler;
mod calibrate;
mod compare;
mod diff;
mod files;
mod import;
#[cfg(feature = "cri")]
mod live;
mod outputs;
mod plot;
mod recorded;
mod recording;
mod replay;
mod run;
#[cfg(feature = "cri")]
mod serve;
mod terminal;
mod test;
mod why;

use clap::{Parser, Subcommand};

pub use files::Disk;
pub use outputs::{outputs_of, render};

/// How a command ended; `main` makes an exit code of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0.
    Fine,
    /// 1: an expectation failed.
    Failed,
    /// 2: something is wrong with what the user gave.
    BadInput,
    /// 3: simlet broke an invariant of its own.
    Broken,
}

impl Outcome {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Fine => 0,
            Outcome::Failed => 1,
            Outcome::BadInput => 2,
            Outcome::Broken => 3,
        }
    }
}

/// What will the cluster do, and why did it do that?
///
/// simlet runs Kubernetes 1.36, down to the kubelet and the container runtime, in virtual time: the same files and the same
/// seed give the same bytes on every machine.
#[derive(Debug, Parser)]
#[command(name = "simlet", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Test(test::Test),
    Why(why::Why),
    Diff(diff::Diff),
    Plot(plot::Plot),
    Compare(compare::Compare),
    Calibrate(calibrate::Calibrate),
    #[cfg(feature = "cri")]
    Live(live::Live),
    Replay(replay::Replay),
    BenchScheduler(bench_scheduler::BenchScheduler),
    Import(import::Import),
    #[cfg(feature = "cri")]
    Serve(serve::Serve),
}

/// Carries out the command line.
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Outcome {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render();
            let shown = if terminal::colour_on_stderr() { text.ansi().to_string() } else { text.to_string() };
            if error.use_stderr() {
                terminal::complain(&shown);
                return Outcome::BadInput;
            }
            terminal::print(&shown);
            return Outcome::Fine;
        }
    };
    let result = match cli.command {
        Command::Run(run) => run.carry_out(),
        Command::Test(test) => test.carry_out(),
        Command::Why(why) => why.carry_out(),
        Command::Diff(diff) => diff.carry_out(),
        Command::Plot(plot) => plot.carry_out(),
        Command::Compare(compare) => compare.carry_out(),
        Command::Calibrate(calibrate) => calibrate.carry_out(),
        #[cfg(feature = "cri")]
        Command::Live(live) => live.carry_out(),
        Command::Replay(replay) => replay.carry_out(),
        Command::BenchScheduler(bench) => bench.carry_out(),
        Command::Import(import) => import.carry_out(),
        #[cfg(feature = "cri")]
        Command::Serve(serve) => serve.carry_out(),
    };
    result.unwrap_or_else(|message| {
        terminal::complain(&message);
        Outcome::BadInput
    })
}

/// An error without a place: `error: …`.
fn error(message: impl std::fmt::Display) -> String {
    format!("error: {message}\n")
}

/// Reads a length of time as a flag's value: `5m`, `+6m52s`.
fn length(text: &str) -> Result<crate::kernel::Duration, String> {
    let plain = text.strip_prefix('+').unwrap_or(text);
    crate::kernel::Duration::parse_go(plain).ok_or_else(|| "not a duration such as 30s, 6m52s or 2h".to_owned())
}
