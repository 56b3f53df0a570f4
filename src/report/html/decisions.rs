//! Scheduling decisions in the HTML report, where a run was made with `--explain`: why pods wait, with what they would fit,
//! and the scores of decisions that were made.

use std::fmt::Write as _;

use crate::kernel::Time;
use crate::model::Name;
use crate::trace::{Diagnosis, Outcome, Verdict};

use super::super::journal::{Happening, Journal, PodLife};
use super::super::style::moment;
use super::escape;

/// How many pods that wait, decisions, and nodes of a decision are shown.
const WAITING: usize = 30;
const DECISIONS: usize = 20;
const NODES: usize = 12;

/// Writes both parts; a line that says how to get them if nothing was recorded.
pub(super) fn write(text: &mut String, journal: &Journal) {
    let (mut waiting, mut decided) = (Vec::new(), Vec::new());
    for pod in journal.pods.values() {
        match last_attempt(pod) {
            Some((at, Outcome::Scheduled { node }, diagnosis)) => decided.push((pod, at, *node, diagnosis)),
            Some((at, _, diagnosis)) if pod.gone.is_none() => waiting.push((pod, at, diagnosis)),
            _ => {}
        }
    }
    if waiting.is_empty() && decided.is_empty() {
        text.push_str(
            "<p class=\"soft\">With <code>--explain</code> every node's verdict and scores stand here; <code>simlet why pod/x FILE</code> shows those of one pod.</p>\n",
        );
        return;
    }
    if !waiting.is_empty() {
        text.push_str("<h3>Pods without a node</h3>\n");
    }
    for (pod, at, diagnosis) in waiting.iter().take(WAITING) {
        let _ = write!(
            text,
            "<details><summary>{}: attempt at {}</summary><ul>",
            escape(&journal.name_of(pod)),
            moment(*at)
        );
        for remedy in &diagnosis.remedies {
            let _ = write!(text, "<li>would fit with {}</li>", escape(remedy.as_str()));
        }
        text.push_str("</ul>");
        rejections(text, diagnosis);
        text.push_str("</details>\n");
    }
    if waiting.len() > WAITING {
        let _ = writeln!(text, "<p class=\"soft\">and {} more</p>", waiting.len() - WAITING);
    }
    if !decided.is_empty() {
        text.push_str("<h3>Decisions</h3>\n<p class=\"soft\">By plug-in: raw, normalised and weighted score.</p>\n");
    }
    for (pod, at, node, diagnosis) in decided.iter().take(DECISIONS) {
        let _ = write!(
            text,
            "<details><summary>{} → {} at {}</summary>",
            escape(&journal.name_of(pod)),
            escape(node.as_str()),
            moment(*at)
        );
        scores(text, *node, diagnosis);
        rejections(text, diagnosis);
        text.push_str("</details>\n");
    }
    if decided.len() > DECISIONS {
        let _ = writeln!(text, "<p class=\"soft\">and {} more</p>", decided.len() - DECISIONS);
    }
}

fn last_attempt(pod: &PodLife) -> Option<(Time, &Outcome, &Diagnosis)> {
    pod.moments.iter().rev().find_map(|moment| match &moment.what {
        Happening::Attempt { outcome, diagnosis: Some(diagnosis), .. } => Some((moment.time, outcome, &**diagnosis)),
        _ => None,
    })
}

fn rejections(text: &mut String, diagnosis: &Diagnosis) {
    let rejected: Vec<(Name, Name, String)> = diagnosis
        .nodes
        .iter()
        .filter_map(|node| match &node.verdict {
            Verdict::Rejected { plugin, reasons } => {
                let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
                Some((node.node, *plugin, reasons.join(", ")))
            }
            _ => None,
        })
        .collect();
    if rejected.is_empty() {
        return;
    }
    text.push_str("<table><tr><th>node</th><th>rejected by</th><th>because</th></tr>\n");
    for (node, plugin, reasons) in rejected.iter().take(NODES) {
        let (node, plugin) = (escape(node.as_str()), escape(plugin.as_str()));
        let _ = writeln!(text, "<tr><td>{node}</td><td>{plugin}</td><td>{}</td></tr>", escape(reasons));
    }
    text.push_str("</table>\n");
    if rejected.len() > NODES {
        let _ = writeln!(text, "<p class=\"soft\">and {} more nodes</p>", rejected.len() - NODES);
    }
}

fn scores(text: &mut String, chosen: Name, diagnosis: &Diagnosis) {
    let mut scored: Vec<_> = diagnosis
        .nodes
        .iter()
        .filter_map(|node| match &node.verdict {
            Verdict::Scored { total, scores } => Some((node.node, *total, scores)),
            _ => None,
        })
        .collect();
    scored.sort_by_key(|(node, total, _)| (*node != chosen, std::cmp::Reverse(*total), *node));
    let Some((_, _, first)) = scored.first() else { return };
    let weight = |plugin: Name| diagnosis.weights.iter().find(|(name, _)| *name == plugin).map_or(1, |(_, w)| *w);
    text.push_str("<table><tr><th>node</th><th class=\"n\">total</th>");
    for (plugin, ..) in *first {
        let _ = write!(text, "<th class=\"n\">{} ×{}</th>", escape(plugin.as_str()), weight(*plugin));
    }
    text.push_str("</tr>\n");
    for (node, total, scores) in scored.iter().take(NODES) {
        let mark = if *node == chosen { "→ " } else { "" };
        let _ = write!(text, "<tr><td>{mark}{}</td><td class=\"n\">{total}</td>", escape(node.as_str()));
        for (plugin, raw, last) in *scores {
            let weight = weight(*plugin);
            let normalised = if weight == 0 { 0 } else { last / weight };
            let _ = write!(text, "<td class=\"n\">{raw}/{normalised}/{last}</td>");
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table>\n");
    if scored.len() > NODES {
        let _ = writeln!(text, "<p class=\"soft\">and {} more nodes</p>", scored.len() - NODES);
    }
}
