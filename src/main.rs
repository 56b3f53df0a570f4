//! Parses flags, calls `cli`, turns the outcome into an exit code.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "the command line comes in here")]
fn main() -> ExitCode {
    ExitCode::from(simlet::cli::main(std::env::args_os()).code())
}
