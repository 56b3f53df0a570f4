//! What happened on each side, and what happened on one only: how pods ended, restarts, reasons, exit codes, Events.
//!
//! Facts are told by workload, as pods of a workload have random names. With several runs a side, a fact differs if no run of
//! one side is as any run of the other.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Time;
use crate::model::{ContainerState, Key, Kind, Name};

use super::super::journal::{Happening, Journal, PodLife};

/// What is told of: a workload, a pod of its own, or any other object that has Events.
pub type Subject = String;

/// What a kubelet says of its node as it starts. The nodes of a simulated cluster have started before, real ones with the run.
const KUBELET_STARTS: [&str; 6] = [
    "Starting",
    "InvalidDiskCapacity",
    "NodeAllocatableEnforced",
    "NodeHasSufficientMemory",
    "NodeHasNoDiskPressure",
    "NodeHasSufficientPID",
];
/// Until then a kubelet starts with the run.
const STARTING: Time = Time::from_secs(10);

/// The facts of one run.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    facts: BTreeMap<(Subject, What), Value>,
}

/// What a fact says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// How many pods there were in all.
    Pods,
    /// How many of them were in a state at the end, as kubectl's STATUS column says it.
    State(String),
    /// Restarts of containers, in all.
    Restarts,
    /// A container waited or ended for this reason.
    Reason(String),
    /// An Event: its type and reason.
    Event(String),
}

impl What {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            What::Pods => "pods".to_owned(),
            What::State(state) => format!("pods at the end: {state}"),
            What::Restarts => "restarts".to_owned(),
            What::Reason(reason) => format!("container {reason}"),
            What::Event(event) => format!("event {event}"),
        }
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Count(u64),
    /// It happened; how often is a matter of chance.
    Seen,
}

/// A fact that is another on each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub subject: Subject,
    pub what: What,
    /// `3`, `3 to 5`, `yes`, `no`.
    pub values: [String; 2],
}

impl Facts {
    /// The facts of a run.
    pub fn of(journal: &Journal) -> Facts {
        let mut facts = Facts::default();
        for life in journal.pods.values() {
            let subject = subject(journal, life);
            facts.count(&subject, What::Pods, 1);
            let state = if life.gone.is_some() { "gone".to_owned() } else { state(life) };
            facts.count(&subject, What::State(state), 1);
            facts.count(&subject, What::Restarts, u64::from(life.last.restarts()));
            let mut reasons: BTreeSet<String> = BTreeSet::new();
            for moment in &life.moments {
                reasons.extend(reason(&moment.what));
            }
            let all = life.last.status.init_containers.iter().chain(&life.last.status.containers);
            for container in all {
                if let ContainerState::Terminated(ended) = &container.state {
                    reasons.extend(reason(&Happening::Terminated {
                        container: container.name,
                        exit_code: ended.exit_code,
                        reason: ended.reason,
                    }));
                }
            }
            for reason in reasons {
                facts.seen(&subject, What::Reason(reason));
            }
        }
        for event in journal.events.values() {
            let about = &event.involved;
            if about.kind == Kind::Node && event.first < STARTING && KUBELET_STARTS.contains(&event.reason.as_str()) {
                continue;
            }
            let subject = match journal.pods.get(&about.uid).filter(|_| about.kind == Kind::Pod) {
                Some(life) => subject(journal, life),
                None => top_of(journal, about.kind, about.namespace, about.name),
            };
            facts.seen(&subject, What::Event(format!("{} {}", event.kind.as_str(), event.reason)));
        }
        facts
    }

    fn count(&mut self, subject: &str, what: What, number: u64) {
        match self.facts.entry((subject.to_owned(), what)).or_insert(Value::Count(0)) {
            Value::Count(count) => *count += number,
            Value::Seen => {}
        }
    }

    fn seen(&mut self, subject: &str, what: What) {
        self.facts.insert((subject.to_owned(), what), Value::Seen);
    }
}

/// kubectl's word for the pod, without what changes from moment to moment.
fn state(life: &PodLife) -> String {
    let word = life.status_word();
    if word == "ContainerCreating" { "Pending".to_owned() } else { word }
}

fn subject(journal: &Journal, life: &PodLife) -> Subject {
    let meta = &life.last.meta;
    match (journal.top(life), meta.owner) {
        (Some(top), _) => named(top.key.kind.as_str(), meta.namespace, top.key.name),
        (None, Some(owner)) => named(owner.kind.as_str(), meta.namespace, owner.name),
        (None, None) => named("Pod", meta.namespace, meta.name),
    }
}

/// The workload above an object that Events are about: a ReplicaSet has a random name, its Deployment has not.
fn top_of(journal: &Journal, kind: Kind, namespace: Name, name: Name) -> Subject {
    let mut top = journal.workload_named(&Key::new(kind, namespace, name));
    while let Some(above) = top.and_then(|workload| workload.owner).and_then(|owner| journal.workloads.get(&owner)) {
        top = Some(above);
    }
    match top {
        Some(top) => named(top.key.kind.as_str(), namespace, top.key.name),
        None => named(kind.as_str(), namespace, name),
    }
}

fn named(kind: &str, namespace: Name, name: Name) -> Subject {
    let kind = kind.to_ascii_lowercase();
    match namespace.as_str() {
        "" | "default" => format!("{kind}/{name}"),
        namespace => format!("{kind}/{namespace}/{name}"),
    }
}

fn reason(what: &Happening) -> Option<String> {
    match what {
        // Every pod passes these.
        Happening::Waiting { reason, .. } if *reason == "ContainerCreating" || *reason == "PodInitializing" => None,
        Happening::Waiting { reason, .. } => Some(format!("waits: {reason}")),
        Happening::Terminated { exit_code, reason, .. } | Happening::Exited { exit_code, reason, .. } => {
            Some(format!("ended: {reason} {exit_code}"))
        }
        _ => None,
    }
}

/// The facts in which the runs of two sides differ.
pub(super) fn differences(first: &[Facts], second: &[Facts]) -> Vec<Difference> {
    if first.is_empty() || second.is_empty() {
        return Vec::new();
    }
    let keys: BTreeSet<&(Subject, What)> = first.iter().chain(second).flat_map(|facts| facts.facts.keys()).collect();
    let mut differences = Vec::new();
    for key in keys {
        let values = [first, second].map(|side| side.iter().map(|facts| facts.facts.get(key)).collect::<Vec<_>>());
        let range = |values: &[Option<&Value>]| {
            let numbers = values.iter().map(|value| match value {
                Some(Value::Count(count)) => *count,
                Some(Value::Seen) => 1,
                None => 0,
            });
            numbers.fold((u64::MAX, 0), |(low, high), number| (low.min(number), high.max(number)))
        };
        let (a, b) = (range(&values[0]), range(&values[1]));
        if a.1 < b.0 || b.1 < a.0 {
            let is_count = values.iter().flatten().any(|value| matches!(value, Some(Value::Count(_))));
            let words = |(low, high): (u64, u64)| match (is_count, low == high) {
                (false, _) if high == 0 => "no".to_owned(),
                (false, _) => "yes".to_owned(),
                (true, true) => low.to_string(),
                (true, false) => format!("{low} to {high}"),
            };
            differences.push(Difference { subject: key.0.clone(), what: key.1.clone(), values: [words(a), words(b)] });
        }
    }
    differences
}
