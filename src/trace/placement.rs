//! Where the pods of each workload are at a moment: what `placement:` compares with its baseline and `simlet diff` compares
//! between two runs; and the file of a baseline.
//!
//! Pods of a Deployment have no lasting names, so a placement counts them by node; those of a StatefulSet are told apart.

mod compare;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::{ConditionStatus, Key, Kind, Node, Pod, Source, condition};

pub use compare::{Allowed, By, Change, Changed, Comparison, Tolerance};

/// The pods of a cluster by workload and node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// By name.
    pub nodes: BTreeMap<String, Room>,
    /// By [`workload_key`].
    pub workloads: BTreeMap<String, Placed>,
    /// How many pods of a workload were preempted by pods of another: victims first.
    pub preempted: BTreeMap<String, BTreeMap<String, u32>>,
}

/// What a node has, and what the pods on it ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// `topology.kubernetes.io/zone`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Thousandths of a core: asked for, and allocatable.
    pub cpu: [i64; 2],
    /// Bytes: asked for, and allocatable.
    pub memory: [i64; 2],
    /// How many there are, and how many there may be.
    pub pods: [i64; 2],
}

/// Where the pods of a workload are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// How many on each node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, u32>,
    /// How many have no node, by the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<String, u32>,
    /// The line of the manifest. Not part of the file.
    #[serde(skip)]
    pub source: Option<Source>,
}

/// The file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FileText {
    api_version: String,
    kind: String,
    nodes: BTreeMap<String, Room>,
    workloads: BTreeMap<String, Placed>,
    #[serde(default)]
    preempted: BTreeMap<String, BTreeMap<String, u32>>,
}

const API_VERSION: &str = "simlet.dev/v1";
const KIND: &str = "Placement";

/// `Deployment shop/checkout`; for a pod of a StatefulSet `StatefulSet shop/db db-0`, because it is no other's equal.
pub fn workload_key(top: &Key, pod: &Pod) -> String {
    let key = format!("{} {}/{}", top.kind.as_str(), top.namespace, top.name);
    if top.kind == Kind::StatefulSet { format!("{key} {}", pod.meta.name) } else { key }
}

impl Placement {
    /// Adds a node.
    pub fn add_node(&mut self, node: &Node) {
        let room = self.nodes.entry(node.meta.name.to_string()).or_default();
        let allocatable = &node.status.allocatable;
        room.zone = node.zone().map(|zone| zone.to_string()).unwrap_or_default();
        room.cpu[1] = allocatable.cpu.0;
        room.memory[1] = allocatable.memory.0;
        room.pods[1] = allocatable.pods;
    }

    /// Adds a pod of the workload with this key, see [`workload_key`]. The workload's line is `source`.
    pub fn add_pod(&mut self, pod: &Pod, workload: String, source: Option<Source>) {
        let placed = self.workloads.entry(workload).or_default();
        placed.source = placed.source.or(source);
        let Some(node) = pod.node else {
            *placed.pending.entry(reason(pod)).or_default() += 1;
            return;
        };
        *placed.nodes.entry(node.to_string()).or_default() += 1;
        if pod.status.phase.is_terminal() {
            return; // It takes no room any more.
        }
        let room = self.nodes.entry(node.to_string()).or_default();
        let requests = pod.spec.requests();
        room.cpu[0] += requests.cpu.0;
        room.memory[0] += requests.memory.0;
        room.pods[0] += 1;
    }

    /// A pod of `victim` was preempted by one of `by`.
    pub fn add_preemption(&mut self, victim: String, by: String) {
        *self.preempted.entry(victim).or_default().entry(by).or_default() += 1;
    }

    /// How many pods it has, with and without nodes.
    pub fn pods(&self) -> u32 {
        self.workloads.values().map(|placed| placed.nodes.values().chain(placed.pending.values()).sum::<u32>()).sum()
    }

    /// The file: JSON with a line a node and a line a workload, so that a review shows what moved.
    pub fn to_file(&self) -> String {
        let mut text = format!("{{\n  \"apiVersion\": \"{API_VERSION}\",\n  \"kind\": \"{KIND}\"");
        section(&mut text, "nodes", &self.nodes);
        section(&mut text, "workloads", &self.workloads);
        if !self.preempted.is_empty() {
            section(&mut text, "preempted", &self.preempted);
        }
        text.push_str("\n}\n");
        text
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_file(text: &str) -> Result<Placement, String> {
        let file: FileText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if file.api_version != API_VERSION || file.kind != KIND {
            return Err(format!("a {API_VERSION} {KIND} is expected, not a {} {}", file.api_version, file.kind));
        }
        Ok(Placement { nodes: file.nodes, workloads: file.workloads, preempted: file.preempted })
    }
}

fn section<T: Serialize>(text: &mut String, name: &str, entries: &BTreeMap<String, T>) {
    let _ = write!(text, ",\n  \"{name}\": {{");
    for (at, (key, value)) in entries.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Strings and numbers always have a text.
        let (key, value) = (serde_json::to_string(key), serde_json::to_string(value));
        let _ = write!(text, "{comma}\n    {}: {}", key.unwrap_or_default(), value.unwrap_or_default());
    }
    text.push_str(if entries.is_empty() { "}" } else { "\n  }" });
}

/// The uid of the pod for which another was preempted, of the message of its Event.
pub fn preemptor(message: &str) -> Option<&str> {
    message.strip_prefix("Preempted by pod ")?.split(' ').next()
}

/// Why the pod has no node, without the numbers of nodes, which change with every node: `Insufficient cpu, …`.
fn reason(pod: &Pod) -> String {
    let scheduled = condition::find(&pod.status.conditions, "PodScheduled");
    let Some(condition) = scheduled.filter(|condition| condition.status == ConditionStatus::False) else {
        return "not tried".to_owned();
    };
    if condition.message.is_empty() {
        return condition.reason.to_string();
    }
    let message = condition.message.as_str();
    let message = message.split(" preemption: ").next().unwrap_or_default();
    let message = message.split_once(" nodes are available: ").map_or(message, |(_, reasons)| reasons);
    // What PostFilter plug-ins said follows the reasons.
    let message = message.split(". ").next().unwrap_or_default();
    let mut reasons: Vec<&str> = message.trim_end_matches('.').split(", ").map(without_count).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.join(", ")
}

/// `Insufficient cpu` of `18 Insufficient cpu`.
fn without_count(reason: &str) -> &str {
    match reason.split_once(' ') {
        Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => reason,
    }
}
