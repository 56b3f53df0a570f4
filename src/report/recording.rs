//! A recording of a real cluster beside simulated runs: the facts of pods, nodes and workloads in order, with their times
//! since the object's creation: real, simulated, difference.
//!
//! A recording is what `kubectl get pods -w --output-watch-events -o json` prints, plain objects of `-o json -w`, or lines that
//! say besides when they came (`{"t": 1.25, "type": "MODIFIED", "object": …}`); Events, nodes and workloads may be among
//! them. Without the times of receipt, facts have those that the objects tell, in whole seconds, on both sides.
//!
//! Read `seen` (an object as facts care for it, and the facts between two states), `read` (from JSON), `yaml` (from YAML to JSON), `workload` (those that
//! make pods), `simulated` (from a trace), `align` (which fact is which), `render`.

mod align;
mod read;
mod render;
mod seen;
mod simulated;
mod workload;
mod yaml;

pub use align::{Line, Outcome, PodBeside, RecordingBeside};
pub use read::{ReadError, is_recording, read, read_all};
pub use render::{json, markdown, text};
pub use simulated::Simulated;

use indexmap::IndexMap;

/// What was seen of objects of one sort, in the order in which they were first seen.
type Objects = IndexMap<String, ObjectHistory>;

/// The pods of one cluster and what was seen of them; and its nodes and workloads.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By uid, in the order in which they were first seen.
    pods: Objects,
    /// Events about pods and nodes that were not seen yet: another watch may be faster.
    early: IndexMap<String, Vec<Fact>>,
    /// By name: what the control plane and the kubelets said of the nodes, in the same form.
    nodes: Objects,
    /// By uid: workloads, budgets, slices of endpoints.
    workloads: Objects,
    /// Facts have the times at which they came; else those that objects tell.
    received: bool,
}

/// What was seen of a pod or another object.
#[derive(Clone, Debug)]
struct ObjectHistory {
    last: seen::Seen,
    /// States in their order.
    facts: Vec<Fact>,
    /// Events, which come by another watch, in their order.
    events: Vec<Fact>,
}

/// Something that became so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fact {
    /// What: two facts with equal words are the same.
    what: String,
    /// The text of a condition or an Event.
    message: String,
    /// When it came, in nanoseconds of Unix time.
    received: Option<i64>,
    /// When it says that it became so, in whole seconds.
    own: Option<i64>,
}

/// A fact of an object.
#[derive(Clone, Debug)]
pub struct Told<'h> {
    /// A pod's name, else `Deployment/web`.
    pub object: String,
    pub what: &'h str,
    /// The text of a condition or an Event.
    pub message: &'h str,
    /// When it came, in nanoseconds of Unix time; in a simulated run since its start.
    pub received: Option<i64>,
    /// When it says that it became so, in the same way, cut to the second.
    pub own: Option<i64>,
}

impl History {
    /// True if nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.nodes.is_empty() && self.workloads.is_empty()
    }

    /// What became so, by pod: its name, what, and when it came, in nanoseconds of Unix time. Events come last.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str, Option<i64>)> {
        self.pods.values().flat_map(|pod| {
            let facts = pod.facts.iter().chain(&pod.events);
            facts.map(|fact| (pod.last.name.as_str(), fact.what.as_str(), fact.received))
        })
    }

    /// Everything that became so, object by object; of each its states before its Events.
    pub fn told(&self) -> impl Iterator<Item = Told<'_>> {
        let all = self.pods.values().chain(self.nodes.values()).chain(self.workloads.values());
        all.flat_map(|one| {
            let object = one.last.title();
            one.facts.iter().chain(&one.events).map(move |fact| Told {
                object: object.clone(),
                what: &fact.what,
                message: &fact.message,
                received: fact.received,
                own: fact.own,
            })
        })
    }

    fn take(&mut self, seen: seen::Seen, received: Option<i64>, gone: bool) {
        let all = self.of_kind(&seen.kind);
        let known = all.get_mut(&seen.uid);
        let new = seen::facts(known.as_ref().map(|pod| &pod.last), &seen, gone);
        let facts = new.into_iter().map(|(what, message, own)| Fact { what, message, received, own });
        match known {
            Some(pod) => {
                pod.facts.extend(facts);
                // An orphan is still what it was made as.
                let owner = seen.owner.clone().or(pod.last.owner.take());
                pod.last = seen::Seen { owner, ..seen };
            }
            None => {
                let facts = facts.collect();
                let events = self.early.shift_remove(&seen.uid).unwrap_or_default();
                self.of_kind(&seen.kind).insert(seen.uid.clone(), ObjectHistory { last: seen, facts, events });
            }
        }
    }

    fn of_kind(&mut self, kind: &str) -> &mut Objects {
        match kind {
            "Pod" => &mut self.pods,
            "Node" => &mut self.nodes,
            _ => &mut self.workloads,
        }
    }

    /// Takes an Event about the node of this name.
    fn node_event(&mut self, name: &str, event: Fact) {
        match self.nodes.get_mut(name) {
            Some(node) => node.events.push(event),
            // A kubelet speaks of it before it is registered.
            None => self.early.entry(name.to_owned()).or_default().push(event),
        }
    }

    /// Takes an Event about the object of this kind with this uid; some controllers say only its namespace and name. Its count
    /// may have grown by more than one.
    fn event(&mut self, kind: &str, uid: &str, namespace: &str, name: &str, event: Fact) {
        let all = self.of_kind(kind);
        let is_it = |one: &&mut ObjectHistory| {
            one.last.name == name && one.last.namespace == namespace && one.last.kind == kind
        };
        let one = match uid {
            "" => all.values_mut().rfind(is_it),
            uid => all.get_mut(uid),
        };
        match one {
            Some(one) => one.events.push(event),
            None if !uid.is_empty() => self.early.entry(uid.to_owned()).or_default().push(event),
            None => {}
        }
    }
}

impl ObjectHistory {
    /// When it was created, in nanoseconds of Unix time.
    fn created(&self, by_receipt: bool) -> i64 {
        let first = self.facts.first().and_then(|fact| fact.received).filter(|_| by_receipt);
        first.unwrap_or(self.last.created)
    }
}

#[cfg(test)]
mod tests;
