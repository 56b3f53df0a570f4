//! Small made-up traces for the tests of the reports: a builder, and the outage of a zone.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::{Cause, Duration, Time};
use crate::model::condition::{self, Condition};
use crate::model::service::{Endpoint, EndpointSlice};
use crate::model::taint::{NOT_READY, TolerationOperator, UNREACHABLE};
use crate::model::workload::{
    Deployment, DeploymentStatus, DeploymentStrategy, Job, JobStatus, PodTemplate, ReplicaSet,
};
use crate::model::{
    Bytes, ConditionStatus, Container, ContainerState, ContainerStatus, Deletion, Event, EventType, Kind, Labels, Meta,
    MilliCpu, Name, Node, NodeStatus, Object, ObjectReference, OwnerReference, Phase, Pod, PodSpec, Resources,
    Selector, Source, Taint, TaintEffect, Text, Toleration, Uid,
};
use crate::trace::{
    CausedBy, Change, Diagnosis, Entry, Expectation, Footer, Header, Outcome, PodRef, Record, Sink, SourceFile, Stage,
    StageEdge,
};

use super::journal::Journal;

/// A finished made-up run.
pub struct Sample {
    pub header: Header,
    pub entries: Vec<Entry>,
    pub footer: Footer,
}

impl Sample {
    pub fn journal(&self) -> Journal {
        let mut journal = Journal::new();
        for entry in &self.entries {
            journal.take(entry);
        }
        journal
    }
}

/// Builds a trace. Times are milliseconds; what happens to one object is told in order, different objects in any order.
#[derive(Default)]
pub struct World {
    entries: Vec<Entry>,
    pods: BTreeMap<String, Pod>,
    nodes: BTreeMap<String, Node>,
    deployments: BTreeMap<String, Deployment>,
    uid: u64,
    random: u64,
    pub header: Header,
    pub footer: Footer,
}

pub fn ms(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

pub fn at_line(line: u32) -> Option<Source> {
    Some(Source { file: 0, line })
}

impl World {
    pub fn new(name: &str) -> World {
        let header = Header {
            name: name.to_owned(),
            seed: 7,
            kubernetes: "1.36".to_owned(),
            command: format!("simlet run {name}.yaml --seed 7"),
            epoch: 1_767_225_600,
            sources: vec![SourceFile { name: format!("{name}.yaml"), text: String::new() }],
            ..Header::default()
        };
        let footer = Footer { reason: "until".to_owned(), digest: 0x5f2c_91d0_a1b2_c3d4, ..Footer::default() };
        World { header, footer, random: 42, ..World::default() }
    }

    /// A number below `limit`, from a stream of its own.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit.max(1)
    }

    pub fn record(&mut self, at: u64, cause: Cause, what: Record) -> Cause {
        let id = Cause::from_raw(self.entries.len() as u32 + 1);
        self.entries.push(Entry { id, cause, time: ms(at), what });
        id
    }

    pub fn action(&mut self, at: u64, text: &str, line: u32) -> Cause {
        self.record(at, Cause::NONE, Record::Action { text: Text::new(text), by: CausedBy { source: at_line(line) } })
    }

    pub fn fault(&mut self, at: u64, text: &str, undone: bool, line: u32) -> Cause {
        let by = CausedBy { source: at_line(line) };
        self.record(at, Cause::NONE, Record::Fault { text: Text::new(text), undone, by })
    }

    pub fn node_fault(&mut self, at: u64, cause: Cause, node: &str, what: &str) -> Cause {
        self.record(at, cause, Record::NodeFault { node: Name::new(node), what: Text::new(what) })
    }

    fn meta(&mut self, namespace: &str, name: &str, at: u64) -> Meta {
        self.uid += 1;
        Meta { uid: Uid(self.uid), created: ms(at), ..Meta::named(namespace, name) }
    }

    pub fn node(&mut self, name: &str, zone: &str) {
        let mut meta = self.meta("", name, 0);
        meta.labels = Labels::new([(Name::new(crate::model::node::ZONE_LABEL), Name::new(zone))]);
        let allocatable = Resources { cpu: MilliCpu(8000), memory: Bytes(32 << 30), pods: 110, ..Resources::default() };
        let node = Node { meta, status: NodeStatus { allocatable, ..NodeStatus::default() }, ..Node::default() };
        self.nodes.insert(name.to_owned(), node);
        self.node_ready(0, Cause::NONE, name, ConditionStatus::True);
    }

    fn write_node(&mut self, at: u64, cause: Cause, name: &str) -> Cause {
        let node = Arc::new(self.nodes[name].clone());
        let first = !self.entries.iter().any(
            |entry| matches!(&entry.what, Record::Written(_, Object::Node(other)) if other.meta.uid == node.meta.uid),
        );
        let change = if first { Change::Created } else { Change::Modified };
        self.record(at, cause, Record::Written(change, Object::Node(node)))
    }

    pub fn node_ready(&mut self, at: u64, cause: Cause, name: &str, status: ConditionStatus) -> Cause {
        let node = self.nodes.get_mut(name).expect("the node was made before");
        let (reason, message) = match status {
            ConditionStatus::True => ("KubeletReady", "kubelet is posting ready status"),
            _ => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
        };
        condition::set(
            &mut node.status.conditions,
            ms(at),
            Name::new("Ready"),
            status,
            Name::new(reason),
            Text::new(message),
        );
        self.write_node(at, cause, name)
    }

    pub fn taint(&mut self, at: u64, cause: Cause, name: &str, on: bool) -> Cause {
        let node = self.nodes.get_mut(name).expect("the node was made before");
        let mut taint = Taint::new(UNREACHABLE, TaintEffect::NoExecute);
        taint.added = Some(ms(at));
        node.spec.taints.retain(|each| !each.is_same(&taint));
        if on {
            node.spec.taints.push(taint);
        }
        self.write_node(at, cause, name)
    }

    pub fn deployment(&mut self, at: u64, cause: Cause, name: &str, replicas: i32, image: &str, line: u32) -> Cause {
        let mut meta = self.meta("shop", name, at);
        meta.source = at_line(line);
        meta.generation = 1;
        let deployment = Deployment {
            meta,
            replicas,
            selector: Selector::default(),
            template: template(image, line + 10),
            strategy: DeploymentStrategy::Recreate,
            min_ready: Duration::ZERO,
            revision_history_limit: 10,
            progress_deadline: Duration::from_secs(600),
            paused: false,
            status: DeploymentStatus::default(),
        };
        self.deployments.insert(name.to_owned(), deployment.clone());
        let id =
            self.record(at, cause, Record::Written(Change::Created, Object::Deployment(Arc::new(deployment.clone()))));
        let mut meta = self.meta("shop", &format!("{name}-7f9c"), at + 5);
        meta.owner = Some(owner(Kind::Deployment, &deployment.meta));
        let set = ReplicaSet { meta, replicas, template: deployment.template, ..ReplicaSet::default() };
        self.record(at + 5, id, Record::Written(Change::Created, Object::ReplicaSet(Arc::new(set))))
    }

    pub fn scale(&mut self, at: u64, cause: Cause, name: &str, replicas: i32) -> Cause {
        let deployment = self.deployments.get_mut(name).expect("the deployment was made before");
        deployment.replicas = replicas;
        let object = Object::Deployment(Arc::new(deployment.clone()));
        self.record(at, cause, Record::Written(Change::Modified, object))
    }

    pub fn new_image(&mut self, at: u64, cause: Cause, name: &str, image: &str, line: u32) -> Cause {
        let deployment = self.deployments.get_mut(name).expect("the deployment was made before");
        deployment.template = template(image, line);
        deployment.meta.generation += 1;
        let object = Object::Deployment(Arc::new(deployment.clone()));
        self.record(at, cause, Record::Written(Change::Modified, object))
    }

    /// The deployment's roll-out exceeded its deadline.
    pub fn stuck(&mut self, at: u64, cause: Cause, name: &str) -> Cause {
        let deployment = self.deployments.get_mut(name).expect("the deployment was made before");
        let message = format!("ReplicaSet \"{name}-7f9c\" has timed out progressing.");
        let (kind, reason) = (Name::new("Progressing"), Name::new("ProgressDeadlineExceeded"));
        condition::set(
            &mut deployment.status.conditions,
            ms(at),
            kind,
            ConditionStatus::False,
            reason,
            Text::new(message),
        );
        let object = Object::Deployment(Arc::new(deployment.clone()));
        self.record(at, cause, Record::Written(Change::Modified, object))
    }

    pub fn job(&mut self, at: u64, cause: Cause, name: &str, ended: u64, complete: bool) -> Cause {
        let mut meta = self.meta("shop", name, at);
        meta.source = at_line(70);
        let mut job = Job {
            meta,
            parallelism: 1,
            completions: Some(3),
            active_deadline: None,
            backoff_limit: 6,
            backoff_limit_per_index: None,
            max_failed_indexes: None,
            selector: None,
            template: template("busybox", 75),
            ttl: None,
            indexed: false,
            suspend: false,
            pod_failure_policy: Arc::new([]),
            replace_failed_only: false,
            status: JobStatus::default(),
        };
        let id = self.record(at, cause, Record::Written(Change::Created, Object::Job(Arc::new(job.clone()))));
        job.status.succeeded = if complete { 3 } else { 1 };
        let (kind, reason, message) = if complete {
            ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        } else {
            ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        };
        condition::set(
            &mut job.status.conditions,
            ms(ended),
            Name::new(kind),
            ConditionStatus::True,
            Name::new(reason),
            Text::new(message),
        );
        self.record(ended, id, Record::Written(Change::Modified, Object::Job(Arc::new(job))))
    }

    /// A pod of a deployment, or without an owner if that is empty.
    pub fn pod(&mut self, at: u64, cause: Cause, name: &str, deployment: &str) -> Cause {
        let mut meta = self.meta("shop", name, at);
        let mut spec = template("web:v1", 20).spec.clone();
        if let Some(above) = self.deployments.get(deployment) {
            spec = Arc::clone(&above.template.spec);
            let set = Name::from(format!("{deployment}-7f9c"));
            let found = self.entries.iter().rev().find_map(|entry| match &entry.what {
                Record::Written(_, Object::ReplicaSet(found)) if found.meta.name == set => Some(found.meta.clone()),
                _ => None,
            });
            meta.owner = found.map(|found| owner(Kind::ReplicaSet, &found));
        }
        let pod = Pod { meta, spec, ..Pod::default() };
        self.pods.insert(name.to_owned(), pod.clone());
        self.record(at, cause, Record::Written(Change::Created, Object::Pod(Arc::new(pod))))
    }

    pub fn pod_ref(&self, name: &str) -> PodRef {
        let meta = &self.pods[name].meta;
        PodRef { namespace: meta.namespace, name: meta.name, uid: meta.uid }
    }

    pub fn write_pod(&mut self, at: u64, cause: Cause, name: &str, change: impl FnOnce(&mut Pod)) -> Cause {
        let pod = self.pods.get_mut(name).expect("the pod was made before");
        change(pod);
        let object = Object::Pod(Arc::new(pod.clone()));
        self.record(at, cause, Record::Written(Change::Modified, object))
    }

    pub fn remove_pod(&mut self, at: u64, cause: Cause, name: &str) -> Cause {
        let pod = Arc::new(self.pods[name].clone());
        self.record(at, cause, Record::Written(Change::Deleted, Object::Pod(pod)))
    }

    pub fn unschedulable(&mut self, at: u64, cause: Cause, name: &str, attempt: u32, message: &str) -> Cause {
        self.unschedulable_with(at, cause, name, attempt, message, None)
    }

    pub fn unschedulable_with(
        &mut self,
        at: u64,
        cause: Cause,
        name: &str,
        attempt: u32,
        message: &str,
        diagnosis: Option<Diagnosis>,
    ) -> Cause {
        let pod = self.pod_ref(name);
        let outcome = Outcome::Unschedulable { message: Text::new(message) };
        self.record(at, cause, Record::Attempt { pod, attempt, outcome, diagnosis: diagnosis.map(Arc::new) })
    }

    pub fn place(&mut self, at: u64, cause: Cause, name: &str, attempt: u32, node: &str) -> Cause {
        let (pod, node) = (self.pod_ref(name), Name::new(node));
        let outcome = Outcome::Scheduled { node };
        let id = self.record(at, cause, Record::Attempt { pod, attempt, outcome, diagnosis: None });
        self.write_pod(at + 6, id, name, |pod| pod.node = Some(node))
    }

    pub fn stage(&mut self, name: &str, container: &str, stage: Stage, from: u64, until: u64, cause: Cause) -> Cause {
        let (pod, container) = (self.pod_ref(name), Name::new(container));
        let begin = Record::Stage { pod, container, stage, edge: StageEdge::Begin };
        let id = self.record(from, cause, begin);
        self.record(until, id, Record::Stage { pod, container, stage, edge: StageEdge::End })
    }

    /// From the binding at `at` until the pod is Ready: how long sandbox, pull and readiness take. The moment at which it is.
    pub fn start(&mut self, at: u64, cause: Cause, name: &str, sandbox: u64, pull: u64, ready: u64) -> u64 {
        let mut now = at + 4;
        let mut id = self.stage(name, "", Stage::Watch, now, now, cause);
        for (container, stage, took) in [
            ("", Stage::Sandbox, sandbox),
            ("server", Stage::Pull, pull),
            ("server", Stage::Create, 60),
            ("server", Stage::Start, 90),
        ] {
            if took > 0 {
                id = self.stage(name, container, stage, now, now + took, id);
                now += took;
            }
        }
        let started = now;
        id = self.write_pod(now + 20, id, name, |pod| {
            pod.status.phase = Phase::Running;
            pod.status.containers = vec![status(ContainerState::Running { started_at: ms(started).into() }, 0)];
        });
        now += 20 + ready;
        self.write_pod(now, id, name, |pod| set_ready(pod, now, true));
        now
    }

    pub fn unready(&mut self, at: u64, cause: Cause, name: &str) -> Cause {
        self.write_pod(at, cause, name, |pod| set_ready(pod, at, false))
    }

    /// The taint manager deletes the pod; on a dead node it stays terminating.
    pub fn evict(&mut self, at: u64, cause: Cause, name: &str) -> Cause {
        self.write_pod(at, cause, name, |pod| {
            let kind = Name::new("DisruptionTarget");
            let (reason, message) = ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
            let (reason, message) = (Name::new(reason), Text::new(message));
            condition::set(&mut pod.status.conditions, ms(at), kind, ConditionStatus::True, reason, message);
        });
        self.write_pod(at + 3, cause, name, |pod| {
            pod.meta.deletion = Some(Deletion { at: ms(at + 30_003), grace: Duration::from_secs(30) });
        })
    }

    pub fn exit(&mut self, at: u64, cause: Cause, name: &str, exit_code: i32, reason: &str, after: u64) -> Cause {
        let (pod, reason) = (self.pod_ref(name), Name::new(reason));
        let after = Duration::from_millis(after);
        self.record(at, cause, Record::Exited { pod, container: Name::new("server"), exit_code, reason, after })
    }

    /// Its container waits.
    pub fn waiting(&mut self, at: u64, cause: Cause, name: &str, reason: &str, message: &str, restarts: u32) -> Cause {
        let state = ContainerState::Waiting { reason: Name::new(reason), message: Text::new(message) };
        self.write_pod(at, cause, name, |pod| {
            set_ready(pod, at, false);
            let image = pod.spec.containers[0].image;
            pod.status.containers = vec![ContainerStatus { image, ..status(state, restarts) }];
        })
    }

    pub fn event(&mut self, at: u64, cause: Cause, name: &str, kind: EventType, reason: &str, message: &str) -> Cause {
        let pod = self.pod_ref(name);
        let known = self.entries.iter().rev().find_map(|entry| match &entry.what {
            Record::Event(event) if event.involved.uid == pod.uid && event.reason == *reason => Some(Arc::clone(event)),
            _ => None,
        });
        let event = Event {
            meta: Meta::named(pod.namespace, format!("{}.{reason}", pod.name)),
            involved: ObjectReference {
                kind: Kind::Pod,
                namespace: pod.namespace,
                name: pod.name,
                uid: pod.uid,
                field_path: Name::new("spec.containers{server}"),
            },
            kind,
            reason: Name::new(reason),
            message: Text::new(message),
            count: known.as_ref().map_or(1, |known| known.count + 1),
            first: known.map_or(ms(at), |known| known.first),
            last: ms(at),
            component: Name::new("kubelet"),
            host: Name::default(),
        };
        self.record(at, cause, Record::Event(Arc::new(event)))
    }

    /// The run, in the order of time, with the statuses of Deployments and the endpoints that follow from its pods.
    pub fn finish(mut self, end: u64) -> Sample {
        self.footer.end = ms(end);
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_by_key(|entry| entry.time);
        let mut renamed: BTreeMap<u32, u32> = BTreeMap::new();
        let mut out: Vec<Entry> = Vec::new();
        let mut deployments: BTreeMap<Name, (Deployment, BTreeMap<Uid, Pod>)> = BTreeMap::new();
        for mut entry in entries {
            let id = out.len() as u32 + 1;
            renamed.insert(entry.id.raw(), id);
            entry.cause = Cause::from_raw(renamed.get(&entry.cause.raw()).copied().unwrap_or(0));
            entry.id = Cause::from_raw(id);
            let (time, cause) = (entry.time, entry.id);
            let mut follows = None;
            match &mut entry.what {
                Record::Written(_, Object::Deployment(deployment)) => {
                    let known = deployments
                        .entry(deployment.meta.name)
                        .or_insert_with(|| ((**deployment).clone(), BTreeMap::new()));
                    let mut status = known.0.status.clone();
                    status.conditions = deployment.status.conditions.clone();
                    Arc::make_mut(deployment).status = status;
                    known.0 = (**deployment).clone();
                }
                Record::Written(change, Object::Pod(pod)) => {
                    let name = pod.meta.owner.map(|owner| Name::new(owner.name.as_str().trim_end_matches("-7f9c")));
                    if let Some(found) = name.and_then(|name| deployments.get_mut(&name)) {
                        let before = found.1.get(&pod.meta.uid).is_some_and(Pod::is_ready);
                        if *change == Change::Deleted {
                            found.1.remove(&pod.meta.uid);
                        } else {
                            found.1.insert(pod.meta.uid, (**pod).clone());
                        }
                        if before != (*change != Change::Deleted && pod.is_ready()) {
                            follows = name;
                        }
                    }
                }
                _ => {}
            }
            out.push(entry);
            if let Some((deployment, pods)) = follows.and_then(|name| deployments.get_mut(&name)) {
                let ready: Vec<&Pod> = pods.values().filter(|pod| pod.is_ready()).collect();
                deployment.status.ready = ready.len() as i32;
                deployment.status.available = ready.len() as i32;
                let endpoint = |pod: &&Pod| Endpoint {
                    pod: pod.meta.name,
                    ip: [10, 0, 0, 1].into(),
                    node: pod.node,
                    zone: None,
                    ready: true,
                    serving: true,
                    terminating: false,
                };
                let slice = EndpointSlice {
                    meta: Meta::named("shop", format!("{}-abcde", deployment.meta.name)),
                    service: deployment.meta.name,
                    ports: Vec::new(),
                    endpoints: ready.iter().map(endpoint).collect(),
                };
                for object in [Object::Deployment(Arc::new(deployment.clone())), Object::EndpointSlice(Arc::new(slice))]
                {
                    let id = Cause::from_raw(out.len() as u32 + 1);
                    out.push(Entry { id, cause, time, what: Record::Written(Change::Modified, object) });
                }
            }
        }
        self.footer.events = out.len() as u64 * 12;
        Sample { header: self.header, entries: out, footer: self.footer }
    }
}

fn owner(kind: Kind, meta: &Meta) -> OwnerReference {
    OwnerReference { kind, name: meta.name, uid: meta.uid, block_deletion: true }
}

fn template(image: &str, line: u32) -> Arc<PodTemplate> {
    let mut server = Container { name: Name::new("server"), image: Name::new(image), ..Container::default() };
    server.resources.requests.cpu = Some(MilliCpu(500));
    server.resources.requests.memory = Some(Bytes(256 << 20));
    let toleration = |key: &str| Toleration {
        key: Name::new(key),
        operator: TolerationOperator::Exists,
        value: Name::default(),
        effect: Some(TaintEffect::NoExecute),
        seconds: Some(Duration::from_secs(300)),
    };
    let spec = PodSpec {
        containers: Arc::new([server]),
        tolerations: Arc::new([toleration(NOT_READY), toleration(UNREACHABLE)]),
        source: at_line(line),
        ..PodSpec::default()
    };
    Arc::new(PodTemplate { spec: Arc::new(spec), ..PodTemplate::default() })
}

fn status(state: ContainerState, restart_count: u32) -> ContainerStatus {
    let ready = matches!(state, ContainerState::Running { .. });
    ContainerStatus {
        name: Name::new("server"),
        state,
        last_terminated: None,
        ready,
        started: Some(ready),
        restart_count,
        image: Name::new("web:v1"),
        container_id: 1,
        runtime_id: Name::default(),
        image_id: Name::default(),
    }
}

fn set_ready(pod: &mut Pod, at: u64, ready: bool) {
    let status = ConditionStatus::from(ready);
    let kind = Name::new("Ready");
    match pod.status.conditions.iter_mut().find(|each| each.kind == kind) {
        Some(found) if found.status == status => {}
        Some(found) => {
            found.status = status;
            found.last_transition = ms(at);
        }
        None => pod.status.conditions.push(Condition {
            kind,
            status,
            reason: Name::default(),
            message: Text::default(),
            last_transition: ms(at),
            last_update: ms(at),
        }),
    }
}

/// A zone loses its power; what was there is evicted, and only a part of it finds room elsewhere. `scale` 1 is small enough to
/// read; 10 is a cluster of 30 nodes.
pub fn zone_outage(scale: u64) -> Sample {
    let mut world = World::new("zone-outage");
    world.header.description = "Zone a dies while the registry is slow. Does checkout keep serving?".to_owned();
    world.header.passed_over = vec![("Ingress".to_owned(), 2), ("NetworkPolicy".to_owned(), 1)];
    world.header.not_modelled = vec![("Pod".to_owned(), "spec.dnsPolicy".to_owned(), 3)];
    world.header.sources[0].text = (1..=90)
        .map(|line| match line {
            12 => "kind: Deployment".to_owned(),
            44 => "  - at: 6m    # the zone goes".to_owned(),
            45 => "    fault: {zone: eu-a, power: off}".to_owned(),
            61 => "  - always: endpoints(\"checkout\").ready >= 2".to_owned(),
            line => format!("# line {line}: \"quoted\" & <tagged>"),
        })
        .collect::<Vec<_>>()
        .join("\n");
    let zones = ["eu-a", "eu-b", "eu-c"];
    let nodes: Vec<(String, &str)> = (0..3 * scale)
        .map(|index| (format!("worker-{}-{}", zones[(index % 3) as usize], index / 3), zones[(index % 3) as usize]))
        .collect();
    for (name, zone) in &nodes {
        world.node(name, zone);
    }
    let apply = world.action(0, "apply -f zone-outage.yaml", 0);
    let mut pods: Vec<(String, String, usize)> = Vec::new();
    let mut index = 0;
    for (deployment, replicas, line) in [("checkout", 3, 12), ("catalog", 2 * scale, 30), ("search", 3 * scale, 50)] {
        let id = world.deployment(10, apply, deployment, replicas as i32, &format!("{deployment}:v1"), line);
        for replica in 0..replicas {
            let name = format!("{deployment}-7f9c-{replica:03}");
            let at = 60 + world.below(40);
            let id = world.pod(at, id, &name, deployment);
            let queue = 5 + world.below(300 * scale);
            let node = if deployment == "checkout" && replica == 1 { 0 } else { index % nodes.len() };
            index += 1;
            let bound = world.place(at + queue, id, &name, 1, &nodes[node].0);
            let (sandbox, ready) = (300 + world.below(500), 1_000 + world.below(4_000));
            let pull = if world.below(4) == 0 { 0 } else { 2_000 + world.below(9_000) };
            let pull = if world.below(60) == 1 { pull + 24_000 } else { pull };
            world.start(at + queue + 6, bound, &name, sandbox, pull, ready);
            pods.push((name, deployment.to_owned(), node));
        }
    }
    world.job(1_000, apply, "report", 61_000, true);
    // One pod of search crashes a few times.
    let mut at = 90_000;
    let mut id = apply;
    for restart in 0..4u64 {
        id = world.exit(at, id, "search-7f9c-001", 1, "Error", 4_200);
        let message =
            format!("back-off {}s restarting failed container=server pod=search-7f9c-001_shop(1)", 10 << restart);
        id = world.waiting(at + 10, id, "search-7f9c-001", "CrashLoopBackOff", &message, restart as u32 + 1);
        id = world.event(at + 20, id, "search-7f9c-001", EventType::Warning, "BackOff", &message);
        at += (10_000 << restart) + 6_000;
    }
    world.write_pod(at, id, "search-7f9c-001", |pod| {
        pod.status.containers = vec![status(ContainerState::Running { started_at: ms(at).into() }, 4)];
    });
    world.write_pod(at + 1_000, id, "search-7f9c-001", |pod| set_ready(pod, at + 1_000, true));

    let fault = world.fault(360_000, "zone eu-a lost power", false, 45);
    let mut replacements = 0;
    let mut down = 0;
    for (node, (name, zone)) in nodes.iter().enumerate() {
        if *zone != "eu-a" {
            continue;
        }
        let off = world.node_fault(360_000, fault, name, "lost power");
        let unknown = world.node_ready(412_000, off, name, ConditionStatus::Unknown);
        let tainted = world.taint(412_000 + 10_000 * down, unknown, name, true);
        let evicted_at = 712_000 + 10_000 * down;
        down += 1;
        for (pod, deployment, on) in &pods {
            if *on != node {
                continue;
            }
            world.unready(412_050, unknown, pod);
            let deleted = world.evict(evicted_at, tainted, pod);
            let name = format!("{pod}r");
            let id = world.pod(evicted_at + 40, deleted, &name, deployment);
            replacements += 1;
            if replacements % 4 == 0 {
                let message = format!(
                    "0/{} nodes are available: {} Insufficient cpu, {} node(s) had untolerated taint {{node.kubernetes.io/unreachable: }}. preemption: 0/{} nodes are available: {} Preemption is not helpful for scheduling.",
                    nodes.len(),
                    nodes.len() * 2 / 3,
                    nodes.len() / 3,
                    nodes.len(),
                    nodes.len()
                );
                world.unschedulable(evicted_at + 60, id, &name, 1, &message);
                world.event(evicted_at + 61, id, &name, EventType::Warning, "FailedScheduling", &message);
            } else {
                let free: Vec<&(String, &str)> = nodes.iter().filter(|(_, zone)| *zone != "eu-a").collect();
                let target = free[replacements % free.len()].0.clone();
                let bound = world.place(evicted_at + 60, id, &name, 1, &target);
                let pull = 20_000 + world.below(30_000);
                world.start(evicted_at + 70, bound, &name, 400, pull, 2_000);
            }
        }
    }
    let back = world.fault(1_260_000, "zone eu-a lost power", true, 45);
    for (name, zone) in &nodes {
        if *zone == "eu-a" {
            let on = world.node_fault(1_260_000, back, name, "has power again");
            let ready = world.node_ready(1_290_000, on, name, ConditionStatus::True);
            world.taint(1_290_100, ready, name, false);
            for (pod, _, on) in &pods {
                if nodes[*on].0 == *name {
                    world.remove_pod(1_290_500, ready, pod);
                }
            }
        }
    }
    let scale_up = world.action(1_300_000, "kubectl scale deployment/checkout --replicas=5", 48);
    let scaled = world.scale(1_300_010, scale_up, "checkout", 5);
    for replica in 3..5 {
        let name = format!("checkout-7f9c-{replica:03}");
        let id = world.pod(1_300_050, scaled, &name, "checkout");
        let bound = world.place(1_300_080, id, &name, 1, &nodes[1].0);
        world.start(1_300_090, bound, &name, 350, 0, 1_500);
    }
    let image = world.action(1_400_000, "kubectl set image deployment/catalog server=catalog:v3-typo", 50);
    let changed = world.new_image(1_400_010, image, "catalog", "catalog:v3-typo", 40);
    let id = world.pod(1_400_050, changed, "catalog-7f9c-new", "catalog");
    let bound = world.place(1_400_080, id, "catalog-7f9c-new", 1, &nodes[1].0);
    let message = "failed to pull and unpack image \"catalog:v3-typo\": not found";
    let failed = world.waiting(1_402_000, bound, "catalog-7f9c-new", "ErrImagePull", message, 0);
    let message = "Back-off pulling image \"catalog:v3-typo\"";
    world.waiting(1_414_000, failed, "catalog-7f9c-new", "ImagePullBackOff", message, 0);
    world.stuck(2_000_100, changed, "catalog");
    world.footer.expectations = vec![
        Expectation {
            name: "all start".to_owned(),
            when: "within 2m".to_owned(),
            text: "pods(\"app=checkout\").filter(p, p.ready).size() == 3".to_owned(),
            held: true,
            measured: "after 14.2s".to_owned(),
            source: at_line(58),
            ..Expectation::default()
        },
        Expectation {
            name: "endpoints(\"checkout\").ready >= 2".to_owned(),
            when: "always, after 2m".to_owned(),
            text: "endpoints(\"checkout\").ready >= 2".to_owned(),
            source: at_line(61),
            held: false,
            measured: "worst 1 ready for 5m37s".to_owned(),
            broken: vec![(ms(412_050), Some(ms(749_000)))],
            objects: vec!["pod/checkout-7f9c-000".to_owned()],
            ..Expectation::default()
        },
    ];
    world.finish(2_100_000)
}
