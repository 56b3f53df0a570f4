//! Numbers over time, made from a journal: pods by class, replicas by workload, spans of nodes.

use crate::kernel::Time;
use crate::model::{ConditionStatus, Phase};

use super::journal::{Happening, Journal, NodeLife, PodLife};

/// What a pod counts as in plots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PodClass {
    Ready,
    /// Running without being Ready.
    Running,
    Pending,
    Succeeded,
    Failed,
}

impl PodClass {
    pub const ALL: [PodClass; 5] =
        [PodClass::Ready, PodClass::Running, PodClass::Pending, PodClass::Succeeded, PodClass::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            PodClass::Ready => "ready",
            PodClass::Running => "running, not ready",
            PodClass::Pending => "pending",
            PodClass::Succeeded => "succeeded",
            PodClass::Failed => "failed",
        }
    }
}

/// The classes of one pod, each from when on, until it is gone.
pub(super) fn classes(pod: &PodLife) -> Vec<(Time, PodClass)> {
    let mut classes = vec![(pod.created, PodClass::Pending)];
    let (mut phase, mut ready) = (Phase::Pending, false);
    for moment in &pod.moments {
        match moment.what {
            Happening::Phase(new) => phase = new,
            Happening::Ready(new) => ready = new,
            _ => continue,
        }
        let class = match phase {
            Phase::Succeeded => PodClass::Succeeded,
            Phase::Failed => PodClass::Failed,
            _ if ready => PodClass::Ready,
            Phase::Running | Phase::Unknown => PodClass::Running,
            Phase::Pending => PodClass::Pending,
        };
        if let Some(last) = classes.last_mut().filter(|(time, _)| *time == moment.time) {
            last.1 = class;
        } else if classes.last().is_some_and(|(_, last)| *last != class) {
            classes.push((moment.time, class));
        }
    }
    classes
}

/// How many pods were of each class, from when on.
pub(super) fn pods_over_time(journal: &Journal) -> Vec<(Time, [u32; 5])> {
    let mut changes: Vec<(Time, PodClass, bool)> = Vec::new();
    for pod in journal.pods.values() {
        let classes = classes(pod);
        for (at, (time, class)) in classes.iter().enumerate() {
            changes.push((*time, *class, true));
            let until = classes.get(at + 1).map(|(time, _)| *time).or(pod.gone);
            if let Some(until) = until {
                changes.push((until.max(*time), *class, false));
            }
        }
    }
    changes.sort();
    let mut counts = [0i64; 5];
    let mut series: Vec<(Time, [u32; 5])> = Vec::new();
    for (time, class, more) in changes {
        counts[class as usize] += if more { 1 } else { -1 };
        let now = counts.map(|count| count.max(0) as u32);
        match series.last_mut() {
            Some(last) if last.0 == time => last.1 = now,
            _ => series.push((time, now)),
        }
    }
    series
}

/// What a node was over a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeClass {
    Ready,
    NotReady,
    /// Before it registered, or after it was deleted.
    Absent,
}

/// A node's classes over the run, one after another, without gaps.
pub(super) fn node_spans(node: &NodeLife, end: Time) -> Vec<(Time, Time, NodeClass)> {
    let mut edges: Vec<(Time, NodeClass)> = vec![(Time::ZERO, NodeClass::Absent)];
    for (time, status) in &node.ready {
        let class = if *status == ConditionStatus::True { NodeClass::Ready } else { NodeClass::NotReady };
        edges.push((*time, class));
    }
    if let Some(gone) = node.gone {
        edges.push((gone, NodeClass::Absent));
    }
    let mut spans: Vec<(Time, Time, NodeClass)> = Vec::new();
    for (at, (from, class)) in edges.iter().enumerate() {
        let until = edges.get(at + 1).map_or(end, |(time, _)| *time).min(end);
        match spans.last_mut() {
            Some(last) if last.2 == *class => last.1 = until,
            _ if until > *from => spans.push((*from, until, *class)),
            _ => {}
        }
    }
    spans
}

/// The spans in which a node was under a fault: from one that takes something away to the one that gives it back.
pub(super) fn node_faults(node: &NodeLife, end: Time) -> Vec<(Time, Time, String)> {
    let mut spans: Vec<(Time, Time, String)> = Vec::new();
    let mut open: Vec<(Time, String)> = Vec::new();
    for note in &node.faults {
        // What faults are called when they end is `cluster`'s wording; here all that matters is that something is over.
        let over = ["again", "started"].iter().any(|word| note.text.contains(word));
        if over {
            // The oldest that is still open; a node seldom has two.
            if !open.is_empty() {
                let (from, text) = open.remove(0);
                spans.push((from, note.time, text));
            }
        } else {
            open.push((note.time, note.text.to_string()));
        }
    }
    spans.extend(open.into_iter().map(|(from, text)| (from, end, text)));
    spans
}

/// Nodes in the order in which they are shown: by zone, then by name with numbers as numbers.
pub(super) fn nodes_in_order(journal: &Journal) -> Vec<&NodeLife> {
    let mut nodes: Vec<&NodeLife> = journal.nodes.values().collect();
    nodes.sort_by_cached_key(|node| (journal.zone(node.name), natural(node.name.as_str())));
    nodes
}

/// A key by which `n-10` comes after `n-9`.
fn natural(name: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(words);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        parts.push((0, word.to_owned()));
        if !number.is_empty() {
            parts.push((number.parse().unwrap_or(u64::MAX), String::new()));
        }
        rest = tail;
    }
    parts
}
