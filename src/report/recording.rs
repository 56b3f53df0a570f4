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
pub use read::{ReadError, is_recording, read};
pub use render::{json, markdown, text};
pub use simulated::Simulated;

use indexmap::IndexMap;

/// The pods of one cluster and what was seen of them.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By uid, in the order in which they were first seen.
    pods: IndexMap<String, PodHistory>,
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

    fn take(&mut self, seen: seen::Seen, received: Option<i64>, gone: bool) {
        let known = self.pods.get_mut(&seen.uid);
        let new = seen::facts(known.as_ref().map(|pod| &pod.last), &seen, gone);
        let facts = new.into_iter().map(|(what, message, own)| Fact { what, message, received, own });
        match known {
            Some(pod) => {
                pod.facts.extend(facts);
                pod.last = seen;
            }
            None => {
                let facts = facts.collect();
                self.pods.insert(seen.uid.clone(), PodHistory { last: seen, facts, events: Vec::new() });
            }
        }
    }

    /// Takes an Event about the pod with this uid. Its count may have grown by more than one.
    fn event(&mut self, uid: &str, event: Fact) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.events.push(event);
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
