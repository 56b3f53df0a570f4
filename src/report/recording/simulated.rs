//! The same facts from the trace of a simulated run.

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::manifest::{self, Epoch};
use crate::model::{ContainerState, ContainerStatus, Event, Kind, Name, Node, Object, Pod};
use crate::trace::{Change, Entry, Record, Sink};

use super::seen::{Condition, Container, Field, Seen, State};
use super::{Fact, History, read, workload};

const SECOND: i64 = 1_000_000_000;

/// Collects the facts of a run.
#[derive(Clone, Debug)]
pub struct Simulated {
    history: History,
    /// By namespace and name of the Event.
    counts: FxHashMap<(Name, Name), u32>,
}

impl Default for Simulated {
    fn default() -> Simulated {
        Simulated::new()
    }
}

impl Simulated {
    /// Nothing yet.
    pub fn new() -> Simulated {
        let history = History { received: true, ..History::default() };
        Simulated { history, counts: FxHashMap::default() }
    }

    /// What was collected.
    pub fn history(self) -> History {
        self.history
    }

    fn pod(pod: &Pod) -> Seen {
        let meta = &pod.meta;
        let mut conditions = conditions(&pod.status.conditions);
        conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
        let containers = |statuses: &[ContainerStatus]| {
            let mut containers: Vec<Container> = statuses.iter().map(Simulated::container).collect();
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            containers
        };
        let deletion = meta.deletion.map(|deletion| {
            let grace = deletion.grace.as_secs() as i64;
            (written(deletion.at) - grace * SECOND, grace)
        });
        let gates: Vec<&str> = pod.spec.scheduling_gates.iter().map(|gate| gate.as_str()).collect();
        let fields = [
            ("nominated", pod.status.nominated_node.map(|node| node.to_string()).unwrap_or_default()),
            ("gates", gates.join(",")),
            ("podIP", pod.status.pod_ip.map(|ip| ip.to_string()).unwrap_or_default()),
        ];
        let fields = fields.iter().filter(|(_, value)| !value.is_empty());
        let fields = fields.map(|(name, value)| Field::of_pod(name, value)).collect();
        Seen {
            kind: "Pod".to_owned(),
            namespace: meta.namespace.to_string(),
            name: meta.name.to_string(),
            uid: meta.uid.to_string(),
            owner: meta.owner.map(|owner| (owner.kind.as_str().to_owned(), owner.name.to_string())),
            created: written(meta.created),
            node: pod.node.map(|node| node.to_string()).unwrap_or_default(),
            phase: pod.status.phase.as_str().to_owned(),
            reason: pod.status.reason.to_string(),
            message: pod.status.message.to_string(),
            conditions,
            containers: [&pod.status.init_containers, &pod.status.containers, &pod.status.ephemeral_containers]
                .map(|list| containers(list))
                .concat(),
            deletion,
            fields,
        }
    }

    fn node(node: &Node) -> Seen {
        let mut conditions = conditions(&node.status.conditions);
        conditions.extend(node.spec.taints.iter().map(|taint| Condition {
            kind: format!("taint {}:{}", taint.key, taint.effect.as_str()),
            status: taint.value.to_string(),
            since: taint.added.map_or(0, written),
            ..Condition::default()
        }));
        conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
        let name = node.meta.name.to_string();
        Seen {
            kind: "Node".to_owned(),
            uid: name.clone(),
            name,
            created: written(node.meta.created),
            conditions,
            ..Seen::default()
        }
    }

    fn container(status: &ContainerStatus) -> Container {
        let state = match &status.state {
            ContainerState::Waiting { reason, message } => {
                State::Waiting { reason: reason.to_string(), message: message.to_string() }
            }
            ContainerState::Running { started_at } => State::Running { since: written(started_at.time()) },
            ContainerState::Terminated(ended) => State::Terminated {
                reason: ended.reason.to_string(),
                message: ended.message.to_string(),
                exit_code: i64::from(ended.exit_code),
                finished: written(ended.finished_at.time()),
            },
        };
        let last = status
            .last_terminated
            .as_ref()
            .map(|ended| (ended.reason.to_string(), i64::from(ended.exit_code), written(ended.finished_at.time())));
        Container {
            name: status.name.to_string(),
            state,
            restarts: u64::from(status.restart_count),
            ready: status.ready,
            started: status.started == Some(true),
            last,
        }
    }

    fn event(&mut self, event: &Event, time: Time) {
        let about = &event.involved;
        if !matches!(about.kind, Kind::Pod | Kind::Node) && !workload::KINDS.contains(&about.kind.as_str()) {
            return;
        }
        let uid = about.uid.to_string();
        let known = self.counts.entry((event.meta.namespace, event.meta.name)).or_insert(0);
        let new = event.count.saturating_sub(*known).max(1);
        *known = event.count;
        let fact = Fact {
            what: read::event_words(event.kind.as_str(), &event.reason, &about.field_path),
            message: event.message.to_string(),
            received: Some(received(time)),
            own: Some(written(event.last)),
        };
        for _ in 0..new {
            match about.kind {
                Kind::Node => self.history.node_event(about.name.as_str(), fact.clone()),
                kind => {
                    let (namespace, name) = (about.namespace.as_str(), about.name.as_str());
                    self.history.event(kind.as_str(), &uid, namespace, name, fact.clone());
                }
            }
        }
    }
}

fn conditions(conditions: &[crate::model::Condition]) -> Vec<Condition> {
    let conditions = conditions.iter().map(|condition| Condition {
        kind: condition.kind.to_string(),
        status: condition.status.as_str().to_owned(),
        reason: condition.reason.to_string(),
        message: condition.message.to_string(),
        since: written(condition.last_transition),
    });
    conditions.collect()
}

/// A moment of the run. Runs begin at a whole second, and only differences of moments are compared.
fn received(time: Time) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 2)
}

/// A moment of the run as Kubernetes writes it: cut to the second.
fn written(time: Time) -> i64 {
    received(time).div_euclid(SECOND) * SECOND
}

impl Sink for Simulated {
    fn take(&mut self, entry: &Entry) {
        match &entry.what {
            Record::Written(change, Object::Pod(pod)) => {
                let seen = Simulated::pod(pod);
                self.history.take(seen, Some(received(entry.time)), *change == Change::Deleted);
            }
            Record::Written(change, Object::Node(node)) => {
                let seen = Simulated::node(node);
                self.history.take(seen, Some(received(entry.time)), *change == Change::Deleted);
            }
            Record::Written(change, object) if workload::KINDS.contains(&object.kind().as_str()) => {
                let seen = workload::seen(&manifest::print::json(object, Epoch::at_nanos(0)));
                self.history.take(seen, Some(received(entry.time)), *change == Change::Deleted);
            }
            Record::Event(event) => self.event(event, entry.time),
            _ => {}
        }
    }
}
