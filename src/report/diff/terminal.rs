//! A diff on a terminal, as `terraform plan` would say it: only what differs, and the sum at the end.

use std::fmt::Write as _;

use super::super::style::{Paint, Style, count, length, table, wrap};
use super::{Diff, SHOWN_NODES, SHOWN_WORKLOADS, both, shown, zone_name};

/// How many lines a workload has.
const SHOWN_LINES: usize = 12;

/// The whole text.
pub fn terminal(diff: &Diff, style: &Style) -> String {
    let mut text = format!("{} → {}\n", diff.before.name, diff.after.name);
    workloads(&mut text, diff, style);
    preempted(&mut text, diff, style);
    if !diff.comparison.is_empty() {
        usage(&mut text, diff);
    }
    if let Some((was, is, change)) = diff.slower() {
        let _ = writeln!(
            text,
            "\n  pod ready    p50 {} → {}   p99 {} → {} ({change})",
            length(was.p50),
            length(is.p50),
            length(was.p99),
            length(is.p99)
        );
    }
    let events = diff.new_events();
    if !events.is_empty() {
        for (at, part) in wrap(&events, style.width.saturating_sub(15).max(24)).iter().enumerate() {
            let _ = writeln!(text, "{}{part}", if at == 0 { "\n  events       " } else { "               " });
        }
    }
    let _ = writeln!(text, "\nPlan: {}.", diff.comparison.summary());
    for beyond in &diff.beyond {
        let _ = writeln!(text, "{} {beyond}", style.paint(Paint::Bad, "beyond the tolerance:"));
    }
    text
}

fn workloads(text: &mut String, diff: &Diff, style: &Style) {
    for (at, changed) in diff.comparison.workloads.iter().enumerate() {
        if at == SHOWN_WORKLOADS {
            let more = diff.comparison.workloads.len() - at;
            let _ = writeln!(text, "\n  and {} more", count(more, "workload"));
            break;
        }
        let place = changed.source.map(|source| format!("   {}", diff.after.header.place(source)));
        let name = style.paint(Paint::Bold, &shown(&changed.workload));
        let _ = writeln!(text, "\n  {name}{}", place.unwrap_or_default());
        let lines = changed.lines();
        for (mark, line) in lines.iter().take(SHOWN_LINES) {
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
        if lines.len() > SHOWN_LINES {
            let _ = writeln!(text, "      and {} more", count(lines.len() - SHOWN_LINES, "line"));
        }
        let spread = changed.spread_text();
        let cause = diff.causes.get(at).and_then(Option::as_ref).map(|cause| cause.text());
        for (label, words) in [("spread", spread), ("cause", cause.unwrap_or_default())] {
            if !words.is_empty() {
                for (at, part) in wrap(&words, style.width.saturating_sub(15).max(24)).iter().enumerate() {
                    let _ = writeln!(text, "      {:<8} {part}", if at == 0 { label } else { "" });
                }
            }
        }
    }
}

fn preempted(text: &mut String, diff: &Diff, style: &Style) {
    if diff.comparison.preempted.is_empty() {
        return;
    }
    text.push_str("\n  preempted\n");
    for ((victim, by), [was, is]) in diff.comparison.preempted.iter().take(SHOWN_WORKLOADS) {
        let mark = style.paint(Paint::Bad, "!");
        let _ = writeln!(text, "    {mark} {was} → {is} of {} by {}", shown(victim), shown(by));
    }
}

fn usage(text: &mut String, diff: &Diff) {
    let mut rows = vec![["zone", "nodes", "pods", "cpu asked for", "memory asked for"].map(str::to_owned).to_vec()];
    for (zone, [was, is]) in diff.zones() {
        let number = |was: i64, is: i64| if was == is { was.to_string() } else { format!("{was} → {is}") };
        rows.push(vec![
            zone_name(&zone),
            number(was.nodes.into(), is.nodes.into()),
            number(was.pods[0], is.pods[0]),
            both(was.cpu, is.cpu),
            both(was.memory, is.memory),
        ]);
    }
    let nodes = diff.nodes();
    if !nodes.is_empty() {
        rows.push(["node", "", "", "", ""].map(str::to_owned).to_vec());
    }
    for (node, [was, is]) in nodes.iter().take(SHOWN_NODES) {
        let there = match (was.nodes, is.nodes) {
            (0, _) => "new",
            (_, 0) => "gone",
            _ => "",
        };
        let pods = if was.pods[0] == is.pods[0] {
            was.pods[0].to_string()
        } else {
            format!("{} → {}", was.pods[0], is.pods[0])
        };
        rows.push(vec![node.clone(), there.to_owned(), pods, both(was.cpu, is.cpu), both(was.memory, is.memory)]);
    }
    text.push('\n');
    for line in table(&rows, 3, &[]).lines() {
        let _ = writeln!(text, "  {}", line.trim_end());
    }
    if nodes.len() > SHOWN_NODES {
        let _ = writeln!(text, "  and {} more that are fuller or emptier", count(nodes.len() - SHOWN_NODES, "node"));
    }
}
