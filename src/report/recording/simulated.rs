//! The same facts from the trace of a simulated run.

use crate::kernel::Time;
use crate::model::{ContainerState, ContainerStatus, Event, Kind, Object, Pod};
use crate::trace::{Change, Entry, Record, Sink};

use super::seen::{Condition, Container, Seen, State};
use super::{Fact, History, read};

const SECOND: i64 = 1_000_000_000;

/// Collects the facts of a run.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// Unix time of time 0, in seconds.
    epoch: i64,
    history: History,
    counts: std::collections::BTreeMap<(crate::model::Name, crate::model::Name), u32>,
}

impl Simulated {
    /// Of a run that begins at this second of Unix time.
    pub fn new(epoch: i64) -> Simulated {
        let history = History { received: true, ..History::default() };
        Simulated { epoch, history, counts: Default::default() }
    }

    /// What was collected.
    pub fn history(self) -> History {
        self.history
    }

    /// A moment of the run as it came.
    fn received(&self, time: Time) -> i64 {
        self.epoch * SECOND + i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 2)
    }

    /// A moment of the run as Kubernetes writes it: cut to the second.
    fn written(&self, time: Time) -> i64 {
        self.received(time).div_euclid(SECOND) * SECOND
    }

    fn pod(&self, pod: &Pod) -> Seen {
        let meta = &pod.meta;
        let mut conditions: Vec<Condition> = pod
            .status
            .conditions
            .iter()
            .map(|condition| Condition {
                kind: condition.kind.to_string(),
                status: condition.status.as_str().to_owned(),
                reason: condition.reason.to_string(),
                message: condition.message.to_string(),
                since: self.written(condition.last_transition),
            })
            .collect();
        conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
        let containers = |statuses: &[ContainerStatus]| {
            let mut containers: Vec<Container> = statuses.iter().map(|status| self.container(status)).collect();
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            containers
        };
        let deletion = meta.deletion.map(|deletion| {
            let grace = deletion.grace.as_secs() as i64;
            (self.written(deletion.at) - grace * SECOND, grace)
        });
        Seen {
            namespace: meta.namespace.to_string(),
            name: meta.name.to_string(),
            uid: meta.uid.to_string(),
            owner: meta.owner.map(|owner| (owner.kind.as_str().to_owned(), owner.name.to_string())),
            created: self.written(meta.created),
            node: pod.node.map(|node| node.to_string()).unwrap_or_default(),
            phase: pod.status.phase.as_str().to_owned(),
            reason: pod.status.reason.to_string(),
            message: pod.status.message.to_string(),
            conditions,
            containers: [containers(&pod.status.init_containers), containers(&pod.status.containers)].concat(),
            deletion,
        }
    }

    fn container(&self, status: &ContainerStatus) -> Container {
        let state = match &status.state {
            ContainerState::Waiting { reason, message } => {
                State::Waiting { reason: reason.to_string(), message: message.to_string() }
            }
            ContainerState::Running { started_at } => State::Running { since: self.written(*started_at) },
            ContainerState::Terminated(ended) => State::Terminated {
                reason: ended.reason.to_string(),
                message: ended.message.to_string(),
                exit_code: i64::from(ended.exit_code),
                finished: self.written(ended.finished_at),
            },
        };
        Container { name: status.name.to_string(), state, restarts: u64::from(status.restart_count) }
    }

    fn event(&mut self, event: &Event, time: Time) {
        let about = &event.involved;
        if about.kind != Kind::Pod {
            return;
        }
        let uid = about.uid.to_string();
        let Some(pod) = self.history.pods.get(&uid) else { return };
        let known = self.counts.entry((event.meta.namespace, event.meta.name)).or_insert(0);
        let new = event.count.saturating_sub(*known).max(1);
        *known = event.count;
        let fact = Fact {
            what: read::event_words(event.kind.as_str(), &event.reason, &about.field_path),
            message: pod.last.plain(&event.message),
            received: Some(self.received(time)),
            own: Some(self.written(event.last)),
        };
        for _ in 0..new {
            self.history.event(&uid, fact.clone());
        }
    }
}

impl Sink for Simulated {
    fn take(&mut self, entry: &Entry) {
        match &entry.what {
            Record::Written(change, Object::Pod(pod)) => {
                let seen = self.pod(pod);
                self.history.take(seen, Some(self.received(entry.time)), *change == Change::Deleted);
            }
            Record::Event(event) => self.event(event, entry.time),
            _ => {}
        }
    }
}
