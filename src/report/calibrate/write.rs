//! The profile's file, and the table for the terminal.

use std::fmt::Write as _;

use crate::kernel::{Distribution, Duration};
use crate::runtime::simulated::{Latencies, Profile};

use super::super::style::{table, thousands, three_figures};
use super::measure::Measured;
use super::rounded;

impl Measured {
    /// The profile as a file that `runtime:` takes. `like` is the name of the runtime that it is like, `from` what was measured.
    pub fn yaml(&self, like: &str, name: &str, from: &str) -> String {
        let mut text = String::new();
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let _ = writeln!(text, "# A container runtime as measured, for `runtime:` of a scenario's nodes.");
        let _ = writeln!(text, "apiVersion: simlet.dev/v1\nkind: RuntimeProfile");
        let _ = writeln!(text, "metadata:\n  name: {}\n  description: {}", quoted(name), quoted(from));
        let _ = writeln!(text, "# What is not said below is as that runtime has it.\nlike: {like}\nlatency:");
        let mut latency = self.profile.latency.clone();
        let measured = |name: &str| self.samples.iter().find(|samples| samples.name == name);
        for (name, field) in Latencies::NAMED {
            let remark = match (measured(name), name) {
                (Some(samples), _) => format!(
                    "{}; p50 {}, p90 {}, p99 {}",
                    calls(samples.sorted.len()),
                    three_figures(samples.percent(50)),
                    three_figures(samples.percent(90)),
                    three_figures(samples.percent(99))
                ),
                (None, "resolve") if self.pulls.count > 0 => pulls_in_words(self),
                (None, "cniAdd") if measured("sandbox").is_some() => "part of sandbox".to_owned(),
                _ => format!("not seen, as {like}"),
            };
            let _ = writeln!(text, "  # {remark}\n  {name}: {}", value(field(&mut latency), 4));
        }
        let Profile { contention_per_thousand, contention_cap, .. } = self.profile;
        let share = contention_per_thousand as f64 / 1000.0;
        let _ = writeln!(text, "# Each further sandbox, creation or start under way slows all by this share.");
        let _ = writeln!(text, "contention: {{perOperation: {share}, cap: {contention_cap}}}");
        if let Some(each) = &self.profile.pull_per_mebibyte {
            let _ = writeln!(text, "pull:\n  # {}", pulls_in_words(self));
            let _ = writeln!(text, "  perMebibyte: {}", value(each, 4));
        }
        text
    }

    /// What was measured, for people.
    pub fn text(&self) -> String {
        let mut rows = vec![["latency", "calls", "p50", "p90", "p99"].map(str::to_owned).to_vec()];
        for samples in &self.samples {
            let mut row = vec![samples.name.to_owned(), thousands(samples.sorted.len() as u64)];
            row.extend([50, 90, 99].map(|percent| three_figures(samples.percent(percent))));
            rows.push(row);
        }
        let mut text = table(&rows, 3, &[1, 2, 3, 4]);
        if self.pulls.count > 0 {
            let _ = writeln!(text, "\npulls        {}", pulls_in_words(self));
        }
        let share = self.profile.contention_per_thousand / 10;
        let _ = writeln!(text, "contention   each further operation under way slows all by {share} %");
        text
    }
}

fn pulls_in_words(measured: &Measured) -> String {
    let pulls = &measured.pulls;
    let seconds = pulls.took.as_secs_f64().max(1e-9);
    let rate = pulls.bytes as f64 / seconds / (1u64 << 20) as f64;
    format!("{} of {} MiB, {rate:.1} MiB/s", count(pulls.count, "pull"), thousands(pulls.bytes >> 20))
}

fn calls(number: usize) -> String {
    count(number, "call")
}

fn count(number: usize, noun: &str) -> String {
    super::super::style::count(number, noun)
}

/// A distribution as scenarios write it, in lines of at most 100 columns.
fn value(distribution: &Distribution, indent: usize) -> String {
    let shown = |length: &Duration| rounded(*length).to_string();
    match distribution {
        Distribution::Constant(length) => shown(length),
        Distribution::LogNormal { p50, p99 } => format!("{{p50: {}, p99: {}}}", shown(p50), shown(p99)),
        Distribution::Uniform { min, max } => format!("{{uniform: [{}, {}]}}", shown(min), shown(max)),
        Distribution::Exponential { mean } => format!("{{exponential: {}}}", shown(mean)),
        Distribution::Samples(marks) | Distribution::Quantiles(marks) => {
            let mut lines = String::from("{quantiles: [");
            let mut line = String::new();
            for (at, mark) in marks.iter().enumerate() {
                let word = format!("{}{}", shown(mark), if at + 1 < marks.len() { ", " } else { "]}" });
                if at % 10 == 0 && marks.len() > 10 {
                    let _ = write!(lines, "{}\n{}", line.trim_end(), " ".repeat(indent));
                    line.clear();
                }
                line.push_str(&word);
            }
            lines + &line
        }
    }
}
