//! What differs between two placements, and whether that is more than is tolerated.

use std::collections::BTreeMap;

use crate::model::Source;

use super::{Placed, Placement};

/// At what grain pods are told to have moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    #[default]
    Node,
    /// A move within a zone counts as none.
    Zone,
}

/// How many of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Count(u32),
    /// Of all pods, in percent.
    Percent(u32),
}

impl Allowed {
    /// Reads `5` or `10%`.
    pub fn parse(text: &str) -> Option<Allowed> {
        match text.trim().strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Allowed::Percent),
            None => text.trim().parse().ok().map(Allowed::Count),
        }
    }

    fn of(self, pods: u32) -> u32 {
        match self {
            Allowed::Count(count) => count,
            Allowed::Percent(percent) => (u64::from(pods) * u64::from(percent) / 100) as u32,
        }
    }
}

/// How much may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Pods that are elsewhere, new or gone.
    pub changed: Allowed,
    /// Pods that have no node and had one, or are new; and pods that are preempted more than before.
    pub pending: u32,
}

impl Default for Tolerance {
    fn default() -> Tolerance {
        Tolerance { changed: Allowed::Count(0), pending: 0 }
    }
}

/// What became of pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// From a node (or zone) to another.
    Moved { from: String, to: String },
    /// It has no node any more, for this reason; `from` is empty for a pod that was not there.
    Pending { from: String, reason: String },
    /// It had no node, and has one.
    Placed { to: String },
    /// A pod that was not there.
    Added { to: String },
    /// A pod that is there no more; `from` is empty if it had no node.
    Removed { from: String },
}

/// A workload that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    pub workload: String,
    /// Its line in the files of the later placement.
    pub source: Option<Source>,
    /// With how many pods each, in order.
    pub changes: BTreeMap<Change, u32>,
    /// Pods by zone, before and after: only if they differ.
    pub spread: BTreeMap<String, [u32; 2]>,
    /// The moves by zone; empty without zones.
    pub zones: BTreeMap<(String, String), u32>,
    /// Up to so many kinds of moves are told node by node, more by zone.
    pub told_one_by_one: usize,
}

/// What differs between two placements.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    pub workloads: Vec<Changed>,
    /// Victim and preemptor, where the numbers of preemptions differ: before and after.
    pub preempted: BTreeMap<(String, String), [u32; 2]>,
    /// Pods of the earlier placement.
    pub pods: u32,
}

impl Comparison {
    /// Compares.
    pub fn of(before: &Placement, after: &Placement, by: By) -> Comparison {
        let mut keys: Vec<&String> = before.workloads.keys().chain(after.workloads.keys()).collect();
        keys.sort();
        keys.dedup();
        let nothing = Placed::default();
        let mut found = Comparison { pods: before.pods(), ..Comparison::default() };
        for key in keys {
            let was = before.workloads.get(key).unwrap_or(&nothing);
            let is = after.workloads.get(key).unwrap_or(&nothing);
            let mut changes = BTreeMap::new();
            match_up(&places(before, was, by), &places(after, is, by), (before, after), &mut changes);
            if changes.is_empty() {
                continue;
            }
            let mut spread: BTreeMap<String, [u32; 2]> = BTreeMap::new();
            for (at, placement, placed) in [(0, before, was), (1, after, is)] {
                for (node, count) in &placed.nodes {
                    spread.entry(zone(placement, node)).or_default()[at] += count;
                }
            }
            if spread.values().all(|[was, is]| was == is) || spread.keys().all(String::is_empty) {
                spread.clear();
            }
            let mut zones: BTreeMap<(String, String), u32> = BTreeMap::new();
            for (change, count) in &changes {
                if let Change::Moved { from, to } = change {
                    let pair = (zone(before, from), zone(after, to));
                    *zones.entry(pair).or_default() += count;
                }
            }
            if zones.keys().any(|(from, to)| from.is_empty() || to.is_empty()) {
                zones.clear();
            }
            let changed =
                Changed { workload: key.clone(), source: is.source, changes, spread, zones, told_one_by_one: 4 };
            found.workloads.push(changed);
        }
        for (at, placement) in [(0, before), (1, after)] {
            for (victim, by) in &placement.preempted {
                for (preemptor, count) in by {
                    found.preempted.entry((victim.clone(), preemptor.clone())).or_default()[at] += count;
                }
            }
        }
        found.preempted.retain(|_, [was, is]| was != is);
        found
    }

    /// True if nothing differs.
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.preempted.is_empty()
    }

    fn count(&self, which: impl Fn(&Change) -> bool) -> u32 {
        let all = self.workloads.iter().flat_map(|changed| &changed.changes);
        all.filter(|(change, _)| which(change)).map(|(_, count)| count).sum()
    }

    /// Pods that are elsewhere.
    pub fn moved(&self) -> u32 {
        self.count(|change| matches!(change, Change::Moved { .. }))
    }

    /// Pods that newly have no node.
    pub fn pending(&self) -> u32 {
        self.count(|change| matches!(change, Change::Pending { .. }))
    }

    /// Pods that had no node, and have one.
    pub fn placed(&self) -> u32 {
        self.count(|change| matches!(change, Change::Placed { .. }))
    }

    /// Pods that were not there, and have a node.
    pub fn added(&self) -> u32 {
        self.count(|change| matches!(change, Change::Added { .. }))
    }

    /// Pods that are no more.
    pub fn removed(&self) -> u32 {
        self.count(|change| matches!(change, Change::Removed { .. }))
    }

    /// Pods that are preempted more than before.
    pub fn newly_preempted(&self) -> u32 {
        self.preempted.values().map(|[was, is]| is.saturating_sub(*was)).sum()
    }

    /// What is more than is tolerated, in words; empty if nothing.
    pub fn beyond(&self, tolerance: &Tolerance) -> Vec<String> {
        let mut beyond = Vec::new();
        let changed = self.moved() + self.added() + self.removed();
        let allowed = tolerance.changed.of(self.pods);
        if changed > allowed {
            beyond.push(format!("{changed} of {} pods are elsewhere, new or gone, {allowed} tolerated", self.pods));
        }
        if self.pending() > tolerance.pending {
            beyond.push(format!("{} new pending, {} tolerated", self.pending(), tolerance.pending));
        }
        if self.newly_preempted() > tolerance.pending {
            beyond.push(format!("{} more preempted, {} tolerated", self.newly_preempted(), tolerance.pending));
        }
        beyond
    }

    /// `40 moved, 2 new pending`: everything that differs, in one line.
    pub fn summary(&self) -> String {
        let counts = [
            (self.moved(), "moved"),
            (self.pending(), "new pending"),
            (self.placed(), "no longer pending"),
            (self.added(), "new"),
            (self.removed(), "gone"),
            (self.newly_preempted(), "more preempted"),
        ];
        let parts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        match (parts.is_empty(), self.preempted.is_empty()) {
            (false, _) => parts.join(", "),
            (true, true) => "nothing moved".to_owned(),
            (true, false) => "nothing moved, fewer preempted".to_owned(),
        }
    }
}

impl Changed {
    /// What became of its pods, a line for each kind of change, with its mark: `~` moved, `!` without a node, `+` come, `-`
    /// gone.
    pub fn lines(&self) -> Vec<(char, String)> {
        let mut lines = Vec::new();
        let moves = self.changes.keys().filter(|change| matches!(change, Change::Moved { .. })).count();
        let by_zone = moves > self.told_one_by_one && !self.zones.is_empty();
        if by_zone {
            lines.extend(self.zones.iter().map(|((from, to), count)| match from == to {
                true => ('~', format!("{count} moved within {from}")),
                false => ('~', format!("{count} moved  {from} → {to}")),
            }));
        }
        let mut pending: BTreeMap<&str, Vec<(&str, u32)>> = BTreeMap::new();
        for (change, count) in &self.changes {
            if let Change::Pending { from, reason } = change {
                pending.entry(reason).or_default().push((from, *count));
            }
        }
        for (change, count) in &self.changes {
            match change {
                Change::Moved { from, to } if !by_zone => lines.push(('~', format!("{count} moved  {from} → {to}"))),
                Change::Moved { .. } => {}
                // All of one reason stand in one line.
                Change::Pending { reason, .. } => {
                    if let Some(from) = pending.remove(reason.as_str()) {
                        lines.push(('!', pending_line(reason, &from)));
                    }
                }
                Change::Placed { to } => lines.push(('+', format!("{count} on {to}, was pending"))),
                Change::Added { to } => lines.push(('+', format!("{count} new on {to}"))),
                Change::Removed { from } if from.is_empty() => lines.push(('-', format!("{count} gone, was pending"))),
                Change::Removed { from } => lines.push(('-', format!("{count} gone from {from}"))),
            }
        }
        lines
    }

    /// `eu-a 3 → 1, eu-b 3 → 5`; empty if it is spread as before.
    pub fn spread_text(&self) -> String {
        let zones = self.spread.iter().map(|(zone, [was, is])| {
            let zone = if zone.is_empty() { "no zone" } else { zone };
            if was == is { format!("{zone} {was}") } else { format!("{zone} {was} → {is}") }
        });
        zones.collect::<Vec<_>>().join(", ")
    }
}

/// `3 pending: Insufficient cpu (1 new, was on n1, n2)`.
fn pending_line(reason: &str, from: &[(&str, u32)]) -> String {
    let all: u32 = from.iter().map(|(_, count)| count).sum();
    let new: u32 = from.iter().filter(|(node, _)| node.is_empty()).map(|(_, count)| count).sum();
    let nodes: Vec<&str> = from.iter().map(|(node, _)| *node).filter(|node| !node.is_empty()).collect();
    let mut whence = Vec::new();
    if new > 0 {
        whence.push(format!("{new} new"));
    }
    if !nodes.is_empty() {
        let more = if nodes.len() > 3 { ", …" } else { "" };
        whence.push(format!("was on {}{more}", nodes[..nodes.len().min(3)].join(", ")));
    }
    format!("{all} pending: {reason} ({})", whence.join(", "))
}

fn zone(placement: &Placement, node: &str) -> String {
    placement.nodes.get(node).map(|room| room.zone.clone()).unwrap_or_default()
}

/// The pods of a workload by place, and those without one by reason.
struct Places {
    on: BTreeMap<String, u32>,
    pending: BTreeMap<String, u32>,
}

fn places(placement: &Placement, placed: &Placed, by: By) -> Places {
    let mut on: BTreeMap<String, u32> = BTreeMap::new();
    for (node, count) in &placed.nodes {
        let place = match by {
            By::Node => node.clone(),
            // A node without a zone is a place of its own.
            By::Zone => Some(zone(placement, node)).filter(|zone| !zone.is_empty()).unwrap_or_else(|| node.clone()),
        };
        *on.entry(place).or_default() += count;
    }
    Places { on, pending: placed.pending.clone() }
}

/// Pairs the pods before with those after, so that as few as possible have changed, and those that moved stayed in their
/// zone where they can have.
fn match_up(
    before: &Places,
    after: &Places,
    (old, new): (&Placement, &Placement),
    changes: &mut BTreeMap<Change, u32>,
) {
    let mut left: Vec<(&str, u32)> = Vec::new();
    for (place, count) in &before.on {
        let still = after.on.get(place).copied().unwrap_or(0);
        left.extend((*count > still).then(|| (place.as_str(), count - still)));
    }
    let mut come: Vec<(&str, u32)> = Vec::new();
    for (place, count) in &after.on {
        let already = before.on.get(place).copied().unwrap_or(0);
        come.extend((*count > already).then(|| (place.as_str(), count - already)));
    }
    let was_pending: u32 = before.pending.values().sum();
    let is_pending: u32 = after.pending.values().sum();
    let mut note = |change: Change, count: u32| {
        if count > 0 {
            *changes.entry(change).or_default() += count;
        }
    };
    for within_zone in [true, false] {
        for (from, gone) in &mut left {
            for (to, more) in &mut come {
                let same = zone(old, from) == zone(new, to) && !zone(old, from).is_empty();
                if same || !within_zone {
                    let count = (*gone).min(*more);
                    note(Change::Moved { from: (*from).to_owned(), to: (*to).to_owned() }, count);
                    *gone -= count;
                    *more -= count;
                }
            }
        }
    }
    // Pods that were pending took the places that are still open, and pods that lost their place are pending.
    let mut placed = was_pending.saturating_sub(is_pending);
    for (to, more) in come {
        let count = more.min(placed);
        placed -= count;
        note(Change::Placed { to: to.to_owned() }, count);
        note(Change::Added { to: to.to_owned() }, more - count);
    }
    note(Change::Removed { from: String::new() }, placed);
    let mut newly = is_pending.saturating_sub(was_pending);
    let mut reasons: Vec<(&str, u32)> = Vec::new();
    for (reason, count) in &after.pending {
        let already = before.pending.get(reason).copied().unwrap_or(0);
        let count = count.saturating_sub(already).min(newly);
        newly -= count;
        reasons.extend((count > 0).then_some((reason.as_str(), count)));
    }
    for (from, mut gone) in left {
        for (reason, open) in &mut reasons {
            let count = gone.min(*open);
            note(Change::Pending { from: from.to_owned(), reason: (*reason).to_owned() }, count);
            gone -= count;
            *open -= count;
        }
        note(Change::Removed { from: from.to_owned() }, gone);
    }
    for (reason, open) in reasons {
        note(Change::Pending { from: String::new(), reason: reason.to_owned() }, open);
    }
}
