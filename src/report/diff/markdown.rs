//! A diff as Markdown, for a comment on a pull request: at most 60 kB, for GitHub takes 65,536 characters.

use std::fmt::Write as _;

use super::super::style::length;
use super::{Diff, SHOWN_NODES, both, shown, zone_name};

/// GitHub refuses comments of more than 65,536 characters.
const LONGEST: usize = 60_000;

/// The whole comment.
pub fn markdown(diff: &Diff) -> String {
    let mark = if diff.is_tolerated() { "✅" } else { "❌" };
    let mut text = format!("### {mark} Placement: {}\n\n", diff.comparison.summary());
    let _ = writeln!(text, "`{}` → `{}`", code(&diff.before.name), code(&diff.after.name));
    for beyond in &diff.beyond {
        let _ = writeln!(text, "\n**Beyond the tolerance:** {beyond}");
    }
    if !diff.comparison.workloads.is_empty() {
        text.push_str("\n| workload | what | spread | cause |\n| --- | --- | --- | --- |\n");
    }
    for (at, changed) in diff.comparison.workloads.iter().enumerate() {
        let cause = diff.causes.get(at).and_then(Option::as_ref);
        let cause =
            cause.map_or_else(String::new, |cause| format!("`{}:{}` `{}`", cause.file, cause.line, code(&cause.what)));
        let mut lines: Vec<String> = changed.lines().into_iter().map(|(_, line)| line).collect();
        if lines.len() > 8 {
            let more = lines.len() - 8;
            lines.truncate(8);
            lines.push(format!("and {more} more"));
        }
        let what: Vec<String> = lines.iter().map(|line| cell(line)).collect();
        let row = format!(
            "| {} | {} | {} | {} |\n",
            cell(&shown(&changed.workload)),
            what.join("<br>"),
            cell(&changed.spread_text()),
            cause.replace('|', "\\|")
        );
        if text.len() + row.len() > LONGEST - 8_000 {
            let _ = writeln!(text, "\n… and {} more workloads", diff.comparison.workloads.len() - at);
            break;
        }
        text.push_str(&row);
    }
    for ((victim, by), [was, is]) in diff.comparison.preempted.iter().take(SHOWN_NODES) {
        let _ = writeln!(text, "\n- preempted {was} → {is} of {} by {}", cell(&shown(victim)), cell(&shown(by)));
    }
    if let Some((was, is, change)) = diff.slower() {
        let _ = writeln!(
            text,
            "\nPod ready: p50 {} → {}, p99 {} → {} ({change})",
            length(was.p50),
            length(is.p50),
            length(was.p99),
            length(is.p99)
        );
    }
    let events = diff.new_events();
    if !events.is_empty() {
        let _ = writeln!(text, "\nWarning Events: {}", cell(&events));
    }
    if !diff.comparison.is_empty() {
        text.push_str("\n<details><summary>How full zones and nodes are</summary>\n\n");
        text.push_str("| | pods | cpu asked for | memory asked for |\n| --- | --- | --- | --- |\n");
        let zones = diff.zones().into_iter().map(|(zone, both)| (format!("**{}**", zone_name(&zone)), both));
        for (name, [was, is]) in zones.chain(diff.nodes().into_iter().take(SHOWN_NODES)) {
            let (cpu, memory) = (both(was.cpu, is.cpu), both(was.memory, is.memory));
            let _ = writeln!(text, "| {} | {} → {} | {cpu} | {memory} |", cell(&name), was.pods[0], is.pods[0]);
        }
        text.push_str("\n</details>\n");
    }
    text
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;")
}

/// Text between backquotes.
fn code(text: &str) -> String {
    text.replace('`', "'")
}
