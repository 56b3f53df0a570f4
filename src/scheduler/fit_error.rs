//! The text of a failed attempt: `0/3 nodes are available: 3 Insufficient cpu. …`
//!
//! Kubernetes: pkg/scheduler/framework/types.go (FitError).

use std::collections::BTreeMap;

use super::framework::{Code, Status};
use super::node_table::NodeId;
use super::profile::{PluginIdx, PluginSet};

/// The text when there are no nodes at all.
pub const NO_NODES: &str = "no nodes available to schedule pods";

/// Why no node fits.
#[derive(Clone, Debug)]
pub struct FitError {
    nodes: usize,
    /// Said for all nodes at PreFilter.
    pre_filter: Option<String>,
    reasons: Histogram,
    /// The plug-ins that rejected.
    pub rejectors: PluginSet,
    /// Those that did with `Pending`.
    pub pending: PluginSet,
}

impl FitError {
    /// None of `nodes` nodes fits.
    pub fn new(nodes: usize) -> FitError {
        FitError {
            nodes,
            pre_filter: None,
            reasons: Histogram::default(),
            rejectors: PluginSet::default(),
            pending: PluginSet::default(),
        }
    }

    /// PreFilter rejected the pod for all nodes.
    pub fn reject_all(&mut self, status: &Status) {
        self.pre_filter = Some(status.message());
    }

    /// Filter rejected these nodes; the others have the status `absent`.
    pub fn reject(
        &mut self,
        nodes: &[(NodeId, &Status)],
        absent: &Status,
        plugin_of: impl Fn(&Status) -> Option<PluginIdx>,
    ) {
        // A handful of statuses stands for thousands of nodes, often in one place each: count them first, by address where
        // that is enough.
        let mut counts: Vec<(&Status, usize)> = Vec::new();
        for &(_, status) in nodes {
            let known = counts.iter().position(|(known, _)| std::ptr::eq(*known, status));
            match known.or_else(|| counts.iter().position(|(known, _)| *known == status)) {
                Some(at) => counts[at].1 += 1,
                None => counts.push((status, 1)),
            }
        }
        for (status, count) in counts {
            self.reasons.add(status, count);
            if let Some(plugin) = plugin_of(status) {
                self.rejectors.insert(plugin);
                if status.code == Code::Pending {
                    self.pending.insert(plugin);
                }
            }
        }
        self.reasons.add(absent, self.nodes.saturating_sub(nodes.len()));
    }

    /// The whole text; `post_filter` is what the PostFilter plug-ins said, or empty.
    pub fn text(&self, post_filter: &str) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        match &self.pre_filter {
            Some(message) => {
                text.push(' ');
                text.push_str(message);
                text.push('.');
            }
            None => text.push_str(&self.reasons.text()),
        }
        if !post_filter.is_empty() {
            text.push(' ');
            text.push_str(post_filter);
        }
        text
    }
}

/// How many nodes gave each reason.
#[derive(Clone, Debug, Default)]
pub struct Histogram(BTreeMap<String, usize>);

impl Histogram {
    /// `count` nodes have this status.
    pub fn add(&mut self, status: &Status, count: usize) {
        if count == 0 {
            return;
        }
        for reason in &status.reasons {
            match self.0.get_mut(reason.as_ref()) {
                Some(known) => *known += count,
                None => {
                    self.0.insert(reason.to_string(), count);
                }
            }
        }
    }

    /// ` 10 Insufficient cpu, 2 Too many pods.`, sorted as texts, count first; empty without reasons.
    pub fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut parts: Vec<String> = self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort_unstable();
        format!(" {}.", parts.join(", "))
    }
}

/// As an event shows a message: cut to 1024 bytes, the last four of them ` ...`.
pub fn event_note(message: &str) -> String {
    const LIMIT: usize = 1024;
    if message.len() <= LIMIT {
        return message.to_owned();
    }
    let mut end = LIMIT - 4;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} ...", &message[..end])
}
