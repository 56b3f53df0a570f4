//! A diff on a terminal, as `terraform plan` would say it: only what differs, and the sum at the end.

use std::fmt::Write as _;

use super::super::style::{Paint, Style, count, table, wrap};
use super::{Diff, Filled, SHOWN_WORKLOADS, Told};

/// The whole text.
pub fn terminal(diff: &Diff, style: &Style) -> String {
    let mut text = format!("{} → {}\n", diff.before.name, diff.after.name);
    for at in 0..diff.comparison.workloads.len() {
        if at == SHOWN_WORKLOADS {
            let more = diff.comparison.workloads.len() - at;
            let _ = writeln!(text, "\n  and {} more", count(more, "workload"));
            break;
        }
        workload(&mut text, &diff.told(at), style);
    }
    let preempted = diff.preempted();
    if !preempted.is_empty() {
        text.push_str("\n  preempted\n");
        for line in preempted {
            let _ = writeln!(text, "    {} {line}", style.paint(Paint::Bad, "!"));
        }
    }
    if !diff.comparison.is_empty() {
        usage(&mut text, diff);
    }
    if let Some(ready) = diff.ready() {
        let _ = writeln!(text, "\n  pod ready    {ready}");
    }
    let events = diff.new_events();
    if !events.is_empty() {
        text.push('\n');
        labelled(&mut text, "  events      ", &[events], style);
    }
    let _ = writeln!(text, "\nPlan: {}.", diff.comparison.summary());
    for beyond in &diff.beyond {
        let _ = writeln!(text, "{} {beyond}", style.paint(Paint::Bad, "beyond the tolerance:"));
    }
    text
}

fn workload(text: &mut String, told: &Told, style: &Style) {
    let name = style.paint(Paint::Bold, &told.name);
    let _ = writeln!(text, "\n  {name}{}", told.place.as_ref().map(|place| format!("   {place}")).unwrap_or_default());
    for (mark, line) in &told.lines {
        let paint = match mark {
            '!' => Paint::Bad,
            '+' => Paint::Good,
            _ => Paint::Warn,
        };
        let parts = wrap(line, style.width.saturating_sub(6).max(24));
        let _ = writeln!(text, "    {} {}", style.paint(paint, &mark.to_string()), parts[0]);
        for part in &parts[1..] {
            let _ = writeln!(text, "      {part}");
        }
    }
    if !told.spread.is_empty() {
        labelled(text, "      spread  ", std::slice::from_ref(&told.spread), style);
    }
    labelled(text, "      cause   ", &told.causes, style);
}

/// Words that begin in the same column, the first with a label.
fn labelled(text: &mut String, label: &str, all: &[String], style: &Style) {
    let mut label = label.to_owned();
    for words in all {
        for part in wrap(words, style.width.saturating_sub(15).max(24)) {
            let _ = writeln!(text, "{label} {part}");
            label = " ".repeat(label.len());
        }
    }
}

fn usage(text: &mut String, diff: &Diff) {
    let mut rows = vec![["zone", "nodes", "pods", "cpu asked for", "memory asked for"].map(str::to_owned).to_vec()];
    let mut nodes = false;
    for (what, row) in diff.usage() {
        if what == Filled::Node && !std::mem::replace(&mut nodes, true) {
            rows.push(["node", "", "", "", ""].map(str::to_owned).to_vec());
        }
        rows.push(row.to_vec());
    }
    text.push('\n');
    for line in table(&rows, 3, &[]).lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    if let Some(more) = diff.more_nodes() {
        let _ = writeln!(text, "  {more}");
    }
}
