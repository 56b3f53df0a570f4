//! A recording of a real cluster's pods beside simulated runs: facts in their order, with their times since the pod's
//! creation: real, simulated, difference.
//!
//! A recording is what `kubectl get pods -w --output-watch-events -o json` prints, plain objects of `-o json -w`, or lines that
//! say besides when they came (`{"t": 1.25, "type": "MODIFIED", "object": …}`); Events may be among them. Without the times of
//! receipt, facts have those that the objects tell, in whole seconds, on both sides.
//!
//! Read `seen` (a pod as facts care for it, and the facts between two states), `read` (from JSON), `simulated` (from a
//! trace), `align` (which fact is which), `render`.

mod align;
mod read;
mod render;
mod seen;
mod simulated;

pub use align::{Line, Outcome, PodBeside, RecordingBeside};
pub use read::{ReadError, is_recording, read, read_all};
pub use render::{json, markdown, text};
pub use simulated::Simulated;

use indexmap::IndexMap;

/// The pods of one cluster and what was seen of them; and its nodes.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By uid, in the order in which they were first seen.
    pods: IndexMap<String, PodHistory>,
    /// Events about pods that were not seen yet: another watch may be faster.
    early: IndexMap<String, Vec<Fact>>,
    /// By name: what the control plane and the kubelets said of the nodes, in the same form.
    nodes: IndexMap<String, PodHistory>,
    /// Facts have the times at which they came; else those that objects tell.
    received: bool,
}

/// What was seen of a pod.
#[derive(Clone, Debug)]
struct PodHistory {
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

impl History {
    /// True if nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// What became so, by pod: its name, what, and when it came, in nanoseconds of Unix time. Events come last.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str, Option<i64>)> {
        self.pods.values().flat_map(|pod| {
            let facts = pod.facts.iter().chain(&pod.events);
            facts.map(|fact| (pod.last.name.as_str(), fact.what.as_str(), fact.received))
        })
    }

    /// The same history of the nodes instead of the pods.
    #[must_use]
    pub fn of_nodes(&self) -> History {
        History { pods: self.nodes.clone(), received: self.received, ..History::default() }
    }

    fn take(&mut self, seen: seen::Seen, received: Option<i64>, gone: bool) {
        let known = History::of(seen.is_node, &mut self.pods, &mut self.nodes).get_mut(&seen.uid);
        let new = seen::facts(known.as_ref().map(|pod| &pod.last), &seen, gone);
        let facts = new.into_iter().map(|(what, message, own)| Fact { what, message, received, own });
        match known {
            Some(pod) => {
                pod.facts.extend(facts);
                pod.last = seen;
            }
            None => {
                let facts = facts.collect();
                let events = self.early.shift_remove(&seen.uid).unwrap_or_default();
                let all = History::of(seen.is_node, &mut self.pods, &mut self.nodes);
                all.insert(seen.uid.clone(), PodHistory { last: seen, facts, events });
            }
        }
    }

    fn of<'h>(
        nodes: bool,
        pods: &'h mut IndexMap<String, PodHistory>,
        of_nodes: &'h mut IndexMap<String, PodHistory>,
    ) -> &'h mut IndexMap<String, PodHistory> {
        if nodes { of_nodes } else { pods }
    }

    /// Takes an Event about the node of this name.
    fn node_event(&mut self, name: &str, event: Fact) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.events.push(event);
        }
    }

    /// Takes an Event about the pod with this uid; some controllers say only its namespace and name. Its count may have grown
    /// by more than one.
    fn event(&mut self, uid: &str, namespace: &str, name: &str, event: Fact) {
        let pod = match uid {
            "" => self.pods.values_mut().rfind(|pod| pod.last.name == name && pod.last.namespace == namespace),
            uid => self.pods.get_mut(uid),
        };
        match pod {
            Some(pod) => pod.events.push(event),
            None if !uid.is_empty() => self.early.entry(uid.to_owned()).or_default().push(event),
            None => {}
        }
    }
}

impl PodHistory {
    /// When it was created, in nanoseconds of Unix time.
    fn created(&self, by_receipt: bool) -> i64 {
        let first = self.facts.first().and_then(|fact| fact.received).filter(|_| by_receipt);
        first.unwrap_or(self.last.created)
    }
}

#[cfg(test)]
mod tests;
