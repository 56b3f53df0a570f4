//! What the benchmarks of whole clusters share: a cluster from a scenario's text, and what a process has used.

use simlet::cluster::{Cluster, Config};
use simlet::manifest::Source;
use simlet::scenario::{self, Files, LoadOptions};
use simlet::trace::{Entry, Sink};

/// No files: all there is stands in the text.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, path: &str, _: &str) -> Result<Vec<Source>, String> {
        Err(format!("{path} is not there"))
    }
}

/// Keeps nothing: what is measured is the run, not its output.
pub struct Nothing;

impl Sink for Nothing {
    fn take(&mut self, _: &Entry) {}
}

/// The scenario with this text.
pub fn scenario(text: &str) -> scenario::Scenario {
    let loaded = scenario::load(vec![Source::new("bench.yaml", text)], &NoFiles, &LoadOptions::default());
    loaded.unwrap_or_else(|problems| panic!("{problems}")).scenario
}

/// A cluster at its start, with nothing applied.
pub fn cluster(config: Config) -> Cluster {
    Cluster::new(config, Box::new(Nothing))
}

/// What this process has used so far.
#[derive(Clone, Copy)]
pub struct Used {
    pub cpu_seconds: f64,
    /// Resident now, and at most so far.
    pub resident_kib: u64,
    pub peak_kib: u64,
}

/// Reads what the process has used (Linux; zeros elsewhere).
pub fn used() -> Used {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let nanos: f64 =
        read("/proc/self/schedstat").split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0.0);
    Used { cpu_seconds: nanos / 1e9, resident_kib: field("VmRSS:"), peak_kib: field("VmHWM:") }
}

/// True if the benchmark was started with this argument.
pub fn asked(argument: &str) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a benchmark is its own command line")]
    std::env::args().any(|given| given == argument)
}

/// Writes a line of results.
pub fn say(line: &str) {
    #[expect(clippy::disallowed_macros, reason = "a benchmark's output")]
    {
        println!("{line}");
    }
}
