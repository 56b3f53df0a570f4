//! A diff as Markdown, for a comment on a pull request: at most 60 kB, for GitHub takes 65,536 characters.

use std::fmt::Write as _;

use super::{Diff, Filled};

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
    for at in 0..diff.comparison.workloads.len() {
        let told = diff.told(at);
        let name = match &told.place {
            Some(place) => format!("{} `{}`", cell(&told.name), code(place)),
            None => cell(&told.name),
        };
        let what: Vec<String> = told.lines.iter().map(|(_, line)| cell(line)).collect();
        let causes: Vec<String> =
            told.causes.iter().map(|cause| format!("`{}`", code(cause).replace('|', "\\|"))).collect();
        let row = format!("| {name} | {} | {} | {} |\n", what.join("<br>"), cell(&told.spread), causes.join("<br>"));
        if text.len() + row.len() > LONGEST - 8_000 {
            let _ = writeln!(text, "\n… and {} more workloads", diff.comparison.workloads.len() - at);
            break;
        }
        text.push_str(&row);
    }
    for line in diff.preempted() {
        let _ = writeln!(text, "\n- preempted {}", cell(&line));
    }
    if let Some(ready) = diff.ready() {
        let _ = writeln!(text, "\nPod ready: {ready}");
    }
    let events = diff.new_events();
    if !events.is_empty() {
        let _ = writeln!(text, "\nWarning Events: {}", cell(&events));
    }
    if !diff.comparison.is_empty() {
        text.push_str("\n<details><summary>How full zones and nodes are</summary>\n\n");
        text.push_str("| | nodes | pods | cpu asked for | memory asked for |\n| --- | --- | --- | --- | --- |\n");
        for (what, [name, nodes, pods, cpu, memory]) in diff.usage() {
            let name = if what == Filled::Zone { format!("**{}**", cell(&name)) } else { cell(&name) };
            let _ = writeln!(text, "| {name} | {nodes} | {pods} | {cpu} | {memory} |");
        }
        if let Some(more) = diff.more_nodes() {
            let _ = writeln!(text, "\n{more}");
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
