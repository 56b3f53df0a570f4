//! A recording beside simulated runs for the terminal, as Markdown and as JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::super::style::{Paint, Style, count, cut, thousands, wrap};
use super::align::{Line, Outcome, RecordingBeside};

impl Outcome {
    /// As tables and JSON write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Agrees => "agrees",
            Outcome::Time => "time",
            Outcome::Message => "text",
            Outcome::Order => "order",
            Outcome::OnlyReal => "only real",
            Outcome::OnlySimulated => "only simulated",
        }
    }
}

/// Columns for what a fact is, in the table for the terminal.
const WHAT: usize = 34;

/// For the terminal, in 80 columns: of pods that differ what differs, or all.
pub fn text(beside: &RecordingBeside, all: bool, style: &Style) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<WHAT$}  {:>7}  {:>15}  {:>7}", "seconds since creation", "real", "simulated", "late");
    for pod in &beside.pods {
        let shown: Vec<&Line> = pod.lines.iter().filter(|line| all || line.outcome != Outcome::Agrees).collect();
        let agree = pod.lines.iter().filter(|line| line.outcome == Outcome::Agrees).count();
        let words = match pod.alone {
            Some(outcome) => style.paint(Paint::Bad, outcome.as_str()),
            None if agree == pod.lines.len() => style.paint(Paint::Good, &format!("all {} agree", facts(agree))),
            None => format!("{} of {} agree", thousands(agree as u64), facts(pod.lines.len())),
        };
        let _ = writeln!(text, "\n{}  {words}", style.paint(Paint::Bold, &pod.name));
        if let Some(outcome) = pod.alone {
            for line in wrap(&advice(outcome, &pod.sought), style.width.saturating_sub(2)) {
                let _ = writeln!(text, "  {line}");
            }
        }
        for line in shown {
            let what = cut(&line.what, WHAT - 2);
            let late = late(line);
            let (real, simulated) = (line.real.map(seconds).unwrap_or_default(), range(line));
            let outcome = match line.outcome {
                Outcome::Agrees => String::new(),
                Outcome::OnlySimulated => style.paint(Paint::Bad, "only sim"),
                Outcome::OnlyReal => style.paint(Paint::Bad, "only real"),
                other => style.paint(Paint::Warn, other.as_str()),
            };
            let row = format!("  {what:<width$}  {real:>7}  {simulated:>15}  {late:>7}  {outcome}", width = WHAT - 2);
            let _ = writeln!(text, "{}", row.trim_end());
        }
    }
    let paint = if beside.agrees() { Paint::Good } else { Paint::Bad };
    text.push('\n');
    for line in wrap(&summary(beside), style.width) {
        let _ = writeln!(text, "{}", style.paint(paint, &line));
    }
    text
}

/// As a Markdown document, with every fact.
pub fn markdown(beside: &RecordingBeside) -> String {
    let mut text = format!("# Recording beside simulation\n\n{}\n\n{}\n", summary(beside), notes(beside));
    for pod in &beside.pods {
        let _ = writeln!(text, "\n## {}\n", pod.name);
        if let Some(outcome) = pod.alone {
            let _ = writeln!(text, "{}: {}", outcome.as_str(), advice(outcome, &pod.sought));
            continue;
        }
        text.push_str("| fact | real | simulated | late | |\n| --- | ---: | ---: | ---: | --- |\n");
        let mut texts = Vec::new();
        for line in &pod.lines {
            let outcome = if line.outcome == Outcome::Agrees { "" } else { line.outcome.as_str() };
            let late = late(line);
            let (what, real) = (line.what.replace('|', "\\|"), line.real.map(seconds).unwrap_or_default());
            let _ = writeln!(text, "| {what} | {real} | {} | {late} | {outcome} |", range(line));
            if let Some((real, simulated)) = &line.texts {
                texts.push(format!("- {what}: real `{real}`, simulated `{simulated}`"));
            }
        }
        if !texts.is_empty() {
            let _ = writeln!(text, "\n{}", texts.join("\n"));
        }
    }
    text
}

/// As JSON; times in nanoseconds since the pod's creation.
pub fn json(beside: &RecordingBeside) -> String {
    let line = |line: &Line| {
        json!({
            "fact": line.what,
            "real_ns": line.real,
            "simulated_ns": line.simulated.map(|(low, high)| [low, high]),
            "late_ns": line.late(),
            "outcome": line.outcome.as_str(),
            "texts": line.texts.as_ref().map(|(real, simulated)| [real, simulated]),
        })
    };
    let pods: Vec<_> = beside
        .pods
        .iter()
        .map(|pod| {
            let lines: Vec<_> = pod.lines.iter().map(line).collect();
            json!({"pod": pod.name, "only": pod.alone.map(Outcome::as_str), "facts": lines})
        })
        .collect();
    let whole = json!({
        "runs": beside.runs,
        "within_ns": beside.within.as_nanos(),
        "whole_seconds": !beside.received,
        "agrees": beside.agrees(),
        "pods": pods,
    });
    format!("{whole:#}\n")
}

/// What to do about an object that is on one side only.
fn advice(outcome: Outcome, sought: &str) -> String {
    match outcome {
        Outcome::OnlyReal => format!(
            "the scenario makes no {sought}, or fewer: add its manifest with this namespace and name, or record less (kubectl's -n and \
             -l)"
        ),
        _ => format!("the recording has no {sought}, or fewer: record longer, or take it out of the scenario"),
    }
}

fn summary(beside: &RecordingBeside) -> String {
    let all: usize = beside.pods.iter().map(|pod| pod.lines.len()).sum();
    let of = |outcome| beside.apart().filter(|line| line.outcome == outcome).count();
    let apart = beside.apart().count();
    let mut words = format!(
        "{}, {}: {} agree",
        count(beside.pods.len(), "pod"),
        facts(all),
        if apart == 0 { "all".to_owned() } else { thousands((all - apart) as u64) }
    );
    for (outcome, text) in [
        (Outcome::Time, "at another time"),
        (Outcome::Order, "in another order"),
        (Outcome::Message, "with another text"),
        (Outcome::OnlyReal, "only real"),
        (Outcome::OnlySimulated, "only simulated"),
    ] {
        if of(outcome) > 0 {
            let _ = write!(words, ", {} {text}", of(outcome));
        }
    }
    let alone = beside.pods.iter().filter(|pod| pod.alone.is_some()).count();
    if alone > 0 {
        let _ = write!(words, "; {} on one side only", count(alone, "pod"));
    }
    words
}

fn notes(beside: &RecordingBeside) -> String {
    let times = if beside.received { "as they came" } else { "in whole seconds, as objects tell them" };
    let runs = count(beside.runs, "simulated run");
    format!("Times since each pod's creation, {times}; {runs}; the same within {} or a tenth.", beside.within)
}

fn facts(number: usize) -> String {
    count(number, "fact")
}

/// Seconds with two decimals.
fn seconds(nanos: i64) -> String {
    let hundredths = (nanos.unsigned_abs() + 5_000_000) / 10_000_000;
    let sign = if nanos < 0 && hundredths > 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", hundredths / 100, hundredths % 100)
}

/// How late it is; empty for less than a hundredth of a second.
fn late(line: &Line) -> String {
    line.late().filter(|late| late.abs() >= 5_000_000).map(signed).unwrap_or_default()
}

fn signed(nanos: i64) -> String {
    let sign = if nanos < 0 { "" } else { "+" };
    format!("{sign}{}", seconds(nanos))
}

fn range(line: &Line) -> String {
    match line.simulated {
        None => String::new(),
        Some((low, high)) if seconds(low) == seconds(high) => seconds(low),
        Some((low, high)) => format!("{}-{}", seconds(low), seconds(high)),
    }
}
