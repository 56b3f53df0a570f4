//! The digest of a run that the reports share: the lives of pods, nodes, workloads and services, Kubernetes Events, what was
//! done to the cluster, and the chain of causes.
//!
//! It is fed entry by entry and keeps what changed, not the records: its size follows the pods and what happened to them.

mod fact;
mod life;
mod take;

pub use fact::{Fact, Happened, Loss};
pub use life::{
    Done, Happening, Moment, NodeLife, Note, PodLife, Replicas, Rollout, ServiceLife, WorkloadLife,
    describe as describe_happening,
};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::kernel::{Cause, Time};
use crate::model::{Event, Key, Kind, Name, Object, Text, Uid};
use crate::trace::{Entry, Sink};

/// What happened in a run.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// By uid, in the order of their creation.
    pub pods: IndexMap<Uid, PodLife, FxBuildHasher>,
    /// In the order in which they were first heard of.
    pub nodes: IndexMap<Name, NodeLife, FxBuildHasher>,
    /// Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs and CronJobs by uid, in the order of their creation.
    pub workloads: IndexMap<Uid, WorkloadLife, FxBuildHasher>,
    /// By namespace and name of the Service.
    pub services: BTreeMap<(Name, Name), ServiceLife>,
    /// Kubernetes Events as last written, by namespace and name, in the order in which they were first written.
    pub events: IndexMap<(Name, Name), Arc<Event>, FxBuildHasher>,
    /// What users did.
    pub actions: Vec<Done>,
    /// Faults and their ends.
    pub faults: Vec<Done>,
    /// The notable, in the order in which it happened.
    pub facts: Vec<Fact>,
    /// Calls of container runtimes, in the order of their answers. Few runs record them.
    pub calls: Vec<Call>,
    /// Broken invariants of simlet itself.
    pub invariants: Vec<(Time, Text)>,
    /// The last state of every object that is neither pod, node nor workload.
    pub others: BTreeMap<Key, Object>,
    /// Scheduling attempts that placed a pod, that found no node, and that failed.
    pub attempts: [u64; 3],
    /// How many records there were.
    pub records: u64,
    links: Vec<Link>,
    subjects: IndexSet<Key, FxBuildHasher>,
    texts: IndexSet<Text, FxBuildHasher>,
    /// The namespaces of pods.
    namespaces: BTreeSet<Name>,
    /// The youngest pod of each name.
    pod_by_name: FxHashMap<(Name, Name), Uid>,
    /// The youngest workload of each key.
    workload_by_key: FxHashMap<Key, Uid>,
}

/// A call of a container runtime.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    pub node: Name,
    /// `RunPodSandbox`, as CRI calls it.
    pub method: Name,
    pub begin: Time,
    pub end: Time,
    pub failed: bool,
}

/// A record in the chain of causes.
#[derive(Clone, Copy, Debug)]
struct Link {
    cause: u32,
    /// Index into `subjects`, plus one.
    subject: u32,
    /// Index into `texts`, `actions` or `faults`.
    text: LinkText,
    time: Time,
}

#[derive(Clone, Copy, Debug)]
enum LinkText {
    None,
    Text(u32),
    Action(u32),
    Fault(u32),
}

/// A step of a chain of causes, for showing.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub id: Cause,
    pub time: Time,
    /// What it is about; None for actions and faults.
    pub subject: Option<Key>,
    pub text: String,
    /// The line of a scenario or manifest.
    pub source: Option<crate::model::Source>,
}

impl Sink for Journal {
    fn take(&mut self, entry: &Entry) {
        self.take_entry(entry);
    }
}

impl Journal {
    /// An empty journal.
    pub fn new() -> Journal {
        Journal::default()
    }

    /// The chain of causes of the record `id`, from itself back to its first cause. Records that told nothing new are left out.
    pub fn chain(&self, id: Cause) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = id.raw();
        while let Some(link) = self.link(at) {
            if let Some((text, source)) = self.link_text(link.text) {
                let subject =
                    (link.subject as usize).checked_sub(1).and_then(|at| self.subjects.get_index(at)).copied();
                steps.push(Step { id: Cause::from_raw(at), time: link.time, subject, text, source });
            }
            if link.cause >= at {
                break; // A cause comes before its effect; a trace that says otherwise is not followed.
            }
            at = link.cause;
        }
        steps
    }

    /// The action or fault at the beginning of the chain of `id`.
    pub fn root(&self, id: Cause) -> Option<&Done> {
        let mut at = id.raw();
        let mut found = None;
        while let Some(link) = self.link(at) {
            match link.text {
                LinkText::Action(index) => found = self.actions.get(index as usize),
                LinkText::Fault(index) => found = self.faults.get(index as usize),
                LinkText::None | LinkText::Text(_) => {}
            }
            if link.cause >= at {
                break;
            }
            at = link.cause;
        }
        found
    }

    /// The record that led to the record `id`.
    pub fn cause_of(&self, id: Cause) -> Cause {
        self.link(id.raw()).map_or(Cause::NONE, |link| Cause::from_raw(link.cause))
    }

    fn link(&self, id: u32) -> Option<&Link> {
        self.links.get((id as usize).checked_sub(1)?)
    }

    fn link_text(&self, text: LinkText) -> Option<(String, Option<crate::model::Source>)> {
        match text {
            LinkText::None => None,
            LinkText::Text(at) => self.texts.get_index(at as usize).map(|text| (text.as_str().to_owned(), None)),
            LinkText::Action(at) => {
                self.actions.get(at as usize).map(|done| (done.text.as_str().to_owned(), done.source))
            }
            LinkText::Fault(at) => self.faults.get(at as usize).map(|done| {
                let text = if done.undone { format!("{} ends", done.text) } else { done.text.as_str().to_owned() };
                (text, done.source)
            }),
        }
    }

    /// The workload at the top of a pod's owners: the Deployment above the ReplicaSet, the CronJob above the Job.
    pub fn top(&self, pod: &PodLife) -> Option<&WorkloadLife> {
        let mut workload = self.workloads.get(&pod.last.meta.owner?.uid)?;
        while let Some(owner) = workload.owner.and_then(|owner| self.workloads.get(&owner)) {
            workload = owner;
        }
        Some(workload)
    }

    /// The Job that made the pod.
    pub fn job_of(&self, pod: &PodLife) -> Option<&WorkloadLife> {
        self.workloads.get(&pod.last.meta.owner?.uid).filter(|workload| workload.key.kind == Kind::Job)
    }

    /// What to call a pod's workload in reports: the top owner's name, or the pod's own.
    pub fn family(&self, pod: &PodLife) -> Name {
        match (self.top(pod), pod.last.meta.owner) {
            (Some(workload), _) => workload.key.name,
            (None, Some(owner)) => owner.name,
            (None, None) => pod.last.meta.name,
        }
    }

    /// A pod's name, with its namespace where pods of several were in the run.
    pub fn name_of(&self, pod: &PodLife) -> String {
        let meta = &pod.last.meta;
        if self.namespaces.len() > 1 { format!("{}/{}", meta.namespace, meta.name) } else { meta.name.to_string() }
    }

    /// The zone of a node; an empty name if it has none.
    pub fn zone(&self, node: Name) -> Name {
        self.nodes.get(&node).and_then(|life| life.last.as_ref()?.zone()).unwrap_or_default()
    }

    /// The workloads that no other owns, as users know them, in the order of their keys.
    pub fn top_workloads(&self) -> Vec<&WorkloadLife> {
        let mut found: Vec<&WorkloadLife> = self
            .workloads
            .values()
            .filter(|workload| workload.owner.is_none_or(|owner| !self.workloads.contains_key(&owner)))
            .collect();
        found.sort_by_key(|workload| (workload.key, workload.uid));
        found
    }

    /// The pods that are there at the end.
    pub fn final_pods(&self) -> impl Iterator<Item = &PodLife> {
        self.pods.values().filter(|pod| pod.gone.is_none())
    }

    /// The youngest pod of this name.
    pub fn pod_named(&self, namespace: Name, name: Name) -> Option<&PodLife> {
        self.pods.get(self.pod_by_name.get(&(namespace, name))?)
    }

    /// The youngest workload of this key.
    pub fn workload_named(&self, key: &Key) -> Option<&WorkloadLife> {
        self.workloads.get(self.workload_by_key.get(key)?)
    }
}
