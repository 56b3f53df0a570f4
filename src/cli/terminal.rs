//! Standard output and standard error: results go to the one, everything else to the other.

use std::io::{self, IsTerminal, Write};

use crate::kernel::Duration;
use crate::report::Style;

/// Writes to standard output. A closed pipe ends the output quietly.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    // Nobody reads any more: there is nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes to standard error.
pub fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// How results are shown: in colour on a terminal that wants it, plain and always the same elsewhere.
pub fn style(wall: std::time::Duration) -> Style {
    if io::stdout().is_terminal() {
        Style { color: wants_colour(), wall: Some(wall), ..Style::PLAIN }
    } else {
        Style::PLAIN
    }
}

/// True if errors may be in colour.
pub fn colour_on_stderr() -> bool {
    io::stderr().is_terminal() && wants_colour()
}

/// Results of the machine, such as wall times, are shown on a terminal only.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

#[expect(clippy::disallowed_methods, reason = "the edge reads the user's wish for colour")]
fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A stopwatch for what a terminal shows.
#[expect(clippy::disallowed_types, reason = "wall times are shown on terminals, and nowhere else")]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts it.
    #[expect(clippy::disallowed_types, reason = "wall times are shown on terminals, and nowhere else")]
    pub fn start() -> Stopwatch {
        Stopwatch(std::time::Instant::now())
    }

    /// What it shows.
    pub fn elapsed(&self) -> std::time::Duration {
        self.0.elapsed()
    }
}

/// How much CPU time this thread has used (Linux); elsewhere how much time has passed.
pub fn cpu_time() -> Duration {
    #[expect(clippy::disallowed_types, reason = "benchmarks measure the machine")]
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(|| Stopwatch::start().0);
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = used.and_then(|used| used.split_whitespace().next()?.parse().ok()).filter(|nanos| *nanos > 0);
    Duration::from_nanos(nanos.unwrap_or_else(|| u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)))
}
