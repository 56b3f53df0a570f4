//! What differs between two runs as to where pods are: moved, without a node, preempted; how they spread over zones, how full
//! nodes are, how long starts take; and the lines of the input that differ.
//!
//! `cause` finds the lines; `terminal`, `markdown` and `checks` (JUnit and annotations) show it.

mod cause;
mod checks;
mod markdown;
mod terminal;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::kernel::Duration;
use crate::model::{EventType, Key, Kind, Name};
use crate::trace::Header;
use crate::trace::placement::{By, Comparison, Placement, Tolerance, preemptor, workload_key};

use super::journal::{Journal, PodLife};
use super::latency::{Latency, percentile};
use super::style::{count, length};

pub use cause::Cause;
pub use checks::{github, junit};
pub use markdown::markdown;
pub use terminal::terminal;

/// One of the two.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// As the user named it.
    pub name: String,
    /// Empty for a baseline's file.
    pub header: Header,
    pub placement: Placement,
    /// None for a baseline's file.
    pub starts: Option<Starts>,
    /// Warning Events by their reasons: how many of them.
    pub warnings: BTreeMap<Name, u32>,
}

/// How long pods took from their creation until they were Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Starts {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
}

impl Side {
    /// A run.
    pub fn of_run(name: impl Into<String>, header: &Header, journal: &Journal) -> Side {
        let totals = Latency::of(journal).totals();
        let starts = Starts { count: totals.len(), p50: percentile(&totals, 50), p99: percentile(&totals, 99) };
        let mut warnings: BTreeMap<Name, u32> = BTreeMap::new();
        for event in journal.events.values().filter(|event| event.kind == EventType::Warning) {
            *warnings.entry(event.reason).or_default() += event.count.max(1);
        }
        Side {
            name: name.into(),
            header: header.clone(),
            placement: placement_of(journal),
            starts: (starts.count > 0).then_some(starts),
            warnings,
        }
    }

    /// A baseline's file.
    pub fn of_baseline(name: impl Into<String>, placement: Placement) -> Side {
        Side { name: name.into(), placement, ..Side::default() }
    }
}

/// Where the pods are at the end of a run.
pub fn placement_of(journal: &Journal) -> Placement {
    let mut placement = Placement::default();
    for node in journal.nodes.values().filter(|node| node.gone.is_none()) {
        if let Some(node) = &node.last {
            placement.add_node(node);
        }
    }
    let key_of = |pod: &PodLife| match journal.top(pod) {
        Some(workload) => workload_key(&workload.key, &pod.last),
        None => {
            // Of a dump that does not hold the owner its name is known.
            let (meta, owner) = (&pod.last.meta, pod.last.meta.owner);
            let owner = owner.filter(|owner| owner.kind != Kind::Node);
            let key = owner.map(|owner| Key { kind: owner.kind, namespace: meta.namespace, name: owner.name });
            workload_key(&key.unwrap_or_else(|| meta.key(Kind::Pod)), &pod.last)
        }
    };
    for pod in journal.final_pods() {
        let source = journal.top(pod).map_or(pod.last.meta.source, |workload| workload.source);
        placement.add_pod(&pod.last, key_of(pod), source);
    }
    for event in journal.events.values().filter(|event| event.reason == *"Preempted") {
        let Some(victim) = journal.pods.get(&event.involved.uid) else { continue };
        let by = preemptor(&event.message);
        let by = journal.pods.values().find(|pod| by.is_some_and(|by| pod.last.meta.uid.to_string() == by));
        placement.add_preemption(key_of(victim), by.map_or_else(|| "another pod".to_owned(), key_of));
    }
    placement
}

/// Everything that differs.
#[derive(Clone, Debug, Default)]
pub struct Diff {
    pub before: Side,
    pub after: Side,
    pub comparison: Comparison,
    /// For each workload of the comparison the lines of the input that explain it, if any differ.
    pub causes: Vec<Vec<Cause>>,
    /// What is beyond the tolerance, in words; empty if nothing is.
    pub beyond: Vec<String>,
}

impl Diff {
    /// Compares two sides.
    pub fn of(before: Side, after: Side, by: By, tolerance: &Tolerance) -> Diff {
        let comparison = Comparison::of(&before.placement, &after.placement, by);
        let hunks = cause::hunks(&before.header, &after.header);
        let causes = comparison.workloads.iter();
        let causes = causes.map(|changed| cause::of(changed.source, &hunks, &after.header)).collect();
        let beyond = comparison.beyond(tolerance);
        Diff { before, after, comparison, causes, beyond }
    }

    /// True if it is tolerated.
    pub fn is_tolerated(&self) -> bool {
        self.beyond.is_empty()
    }

    /// CPU, memory and pods by zone: what is asked for and what there is, before and after.
    fn zones(&self) -> BTreeMap<String, [Usage; 2]> {
        let mut zones: BTreeMap<String, [Usage; 2]> = BTreeMap::new();
        for (at, side) in [&self.before, &self.after].into_iter().enumerate() {
            for room in side.placement.nodes.values() {
                zones.entry(room.zone.clone()).or_default()[at].add(room);
            }
        }
        zones
    }

    /// The nodes that are fuller or emptier than before, those that changed most first.
    fn nodes(&self) -> Vec<(String, [Usage; 2])> {
        let mut nodes: BTreeMap<&String, [Usage; 2]> = BTreeMap::new();
        for (at, side) in [&self.before, &self.after].into_iter().enumerate() {
            for (name, room) in &side.placement.nodes {
                nodes.entry(name).or_default()[at].add(room);
            }
        }
        let mut nodes: Vec<(String, [Usage; 2])> =
            nodes.into_iter().filter(|(_, [was, is])| was != is).map(|(name, both)| (name.clone(), both)).collect();
        let by_how_much = |[was, is]: &[Usage; 2]| {
            std::cmp::Reverse((was.cpu[0] - is.cpu[0]).abs().max((was.pods[0] - is.pods[0]).abs()))
        };
        nodes.sort_by(|(a, one), (b, other)| by_how_much(one).cmp(&by_how_much(other)).then(a.cmp(b)));
        nodes
    }

    /// What every form shows of the workload at this place.
    fn told(&self, at: usize) -> Told {
        let Some(changed) = self.comparison.workloads.get(at) else { return Told::default() };
        let mut lines = changed.lines();
        let more = lines.len().saturating_sub(SHOWN_LINES);
        if more > 0 {
            lines.truncate(SHOWN_LINES);
            lines.push((' ', format!("and {} more", count(more, "line"))));
        }
        let all = self.causes.get(at).map_or(&[][..], Vec::as_slice);
        let mut causes: Vec<String> = all.iter().take(SHOWN_CAUSES).map(Cause::text).collect();
        if all.len() > SHOWN_CAUSES {
            causes.push(format!("and {} more", count(all.len() - SHOWN_CAUSES, "line")));
        }
        Told {
            name: shown(&changed.workload),
            place: changed.source.map(|source| self.after.header.place(source)).filter(|place| !place.is_empty()),
            lines,
            spread: changed.spread_text(),
            causes,
        }
    }

    /// `1 → 3 of Deployment batch by Deployment web`, one for each pair of workloads.
    fn preempted(&self) -> Vec<String> {
        let all = self.comparison.preempted.iter();
        let told = all.map(|((victim, by), [was, is])| format!("{was} → {is} of {} by {}", shown(victim), shown(by)));
        let mut lines: Vec<String> = told.take(SHOWN_WORKLOADS).collect();
        let more = self.comparison.preempted.len() - lines.len();
        if more > 0 {
            lines.push(format!("and {} more", count(more, "pair")));
        }
        lines
    }

    /// `p50 2s → 2s   p99 3s → 4s (+33 %)`, if starts take another time.
    fn ready(&self) -> Option<String> {
        let (was, is) = (self.before.starts?, self.after.starts?);
        if was == is {
            return None;
        }
        let (old, new) = (was.p99.as_millis() as i64, is.p99.as_millis() as i64);
        let change = if old == 0 { 0 } else { (new - old) * 100 / old };
        let both = |was: Duration, is: Duration| format!("{} → {}", length(was), length(is));
        Some(format!("p50 {}   p99 {} ({change:+} %)", both(was.p50, is.p50), both(was.p99, is.p99)))
    }

    /// `FailedScheduling 0 → 3, BackOff 2 → 0`: Warning Events that only one of two runs had. Empty if one side is a file.
    fn new_events(&self) -> String {
        if self.before.header.sources.is_empty() || self.after.header.sources.is_empty() {
            return String::new();
        }
        let mut reasons: Vec<Name> = self.before.warnings.keys().chain(self.after.warnings.keys()).copied().collect();
        reasons.sort();
        reasons.dedup();
        let of = |side: &Side, reason: &Name| side.warnings.get(reason).copied().unwrap_or(0);
        let told = reasons.iter().map(|reason| (reason, of(&self.before, reason), of(&self.after, reason)));
        let told = told.filter(|(_, was, is)| (*was == 0) != (*is == 0));
        told.map(|(reason, was, is)| format!("{reason} {was} → {is}")).collect::<Vec<_>>().join(", ")
    }

    /// How full zones are, then the nodes that are fuller or emptier than before: name, nodes, pods, CPU, memory.
    fn usage(&self) -> Vec<(Filled, [String; 5])> {
        let number = |was: i64, is: i64| if was == is { was.to_string() } else { format!("{was} → {is}") };
        let row = |name: String, there: String, was: &Usage, is: &Usage| {
            [name, there, number(was.pods[0], is.pods[0]), both(was.cpu, is.cpu), both(was.memory, is.memory)]
        };
        let zones = self.zones().into_iter().map(|(zone, [was, is])| {
            (Filled::Zone, row(zone_name(&zone), number(was.nodes.into(), is.nodes.into()), &was, &is))
        });
        let nodes = self.nodes().into_iter().take(SHOWN_NODES).map(|(node, [was, is])| {
            let there = match (was.nodes, is.nodes) {
                (0, _) => "new",
                (_, 0) => "gone",
                _ => "",
            };
            (Filled::Node, row(node, there.to_owned(), &was, &is))
        });
        zones.chain(nodes).collect()
    }

    /// `and 3 nodes more that are fuller or emptier`, if there are more than [`Diff::usage`] has.
    fn more_nodes(&self) -> Option<String> {
        let more = self.nodes().len().saturating_sub(SHOWN_NODES);
        (more > 0).then(|| format!("and {} more that are fuller or emptier", count(more, "node")))
    }
}

/// What every form shows of a workload that differs.
#[derive(Clone, Debug, Default)]
struct Told {
    name: String,
    /// The line of its manifest.
    place: Option<String>,
    /// What became of its pods, with the marks of [`Changed::lines`](crate::trace::placement::Changed::lines).
    lines: Vec<(char, String)>,
    spread: String,
    causes: Vec<String>,
}

/// What a row of [`Diff::usage`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    Zone,
    Node,
}

/// What nodes have, and what is asked of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    nodes: u32,
    cpu: [i64; 2],
    memory: [i64; 2],
    pods: [i64; 2],
}

impl Usage {
    fn add(&mut self, room: &crate::trace::placement::Room) {
        self.nodes += 1;
        for (sum, part) in [(&mut self.cpu, room.cpu), (&mut self.memory, room.memory), (&mut self.pods, room.pods)] {
            sum[0] += part[0];
            sum[1] += part[1];
        }
    }
}

/// `62 %` of what there is; `-` of nothing.
fn percent([used, all]: [i64; 2]) -> String {
    if all <= 0 { "-".to_owned() } else { format!("{} %", (used * 100 + all / 2) / all) }
}

/// `62 % → 71 %`, or one number if it is the same.
fn both(was: [i64; 2], is: [i64; 2]) -> String {
    let (was, is) = (percent(was), percent(is));
    if was == is { was } else { format!("{was} → {is}") }
}

/// A workload as people write it: `Deployment checkout`, with its namespace if it is not the default one.
fn shown(workload: &str) -> String {
    workload.replace(" default/", " ")
}

/// How many workloads and nodes are told of one by one.
const SHOWN_WORKLOADS: usize = 40;
const SHOWN_NODES: usize = 10;
/// How many lines a workload has, and of how many lines of the input that explain it is told.
const SHOWN_LINES: usize = 12;
const SHOWN_CAUSES: usize = 8;

/// The name of a zone in tables.
fn zone_name(zone: &str) -> String {
    if zone.is_empty() { "(no zone)".to_owned() } else { Name::new(zone).to_string() }
}
