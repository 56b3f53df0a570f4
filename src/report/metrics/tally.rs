//! Counts what happens, record by record, as the components' own metrics do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::kernel::{Duration, Time};
use crate::model::pod::{ImagePullPolicy, VolumeSource};
use crate::model::{ContainerState, Event, Kind, Name, Node, Object, Phase, Pod, Uid, condition};
use crate::trace::{Change, Entry, Outcome, PodRef, Record, Sink, Stage, StageEdge};

use super::kubelet::NodeTally;
use super::page::{Histogram, exponential};

/// What the components have counted.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pods: BTreeMap<Uid, PodTally>,
    pub(super) nodes: BTreeMap<Name, NodeTally>,
    /// By kind: how many there are, and how many changes there were.
    pub(super) objects: BTreeMap<Kind, (i64, u64)>,
    /// Scheduling attempts by profile and result.
    pub(super) attempts: BTreeMap<(Name, &'static str), u64>,
    pub(super) attempts_of_pods: Option<Histogram>,
    /// By the attempts label.
    pub(super) scheduling: BTreeMap<String, Histogram>,
    /// Nodes that were tainted `NoExecute` for their health, by zone.
    pub(super) evictions: BTreeMap<String, u64>,
    pub(super) taint_deletions: u64,
    /// By completion mode, reason and result.
    pub(super) jobs_finished: BTreeMap<(&'static str, Name, &'static str), u64>,
    /// By completion mode and result.
    pub(super) job_pods_finished: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) slice_changes: BTreeMap<&'static str, u64>,
    /// Jobs by uid: whether they are indexed, and whether they have finished.
    jobs: FxHashMap<Uid, (bool, bool)>,
    tainted: BTreeSet<Name>,
}

/// What has to be remembered of a pod to count it.
#[derive(Clone, Debug)]
struct PodTally {
    last: Arc<Pod>,
    created: Time,
    /// The kubelet has seen it.
    seen: Option<Time>,
    /// Stages under way, by container.
    begun: SmallVec<[(Name, Stage, Time); 2]>,
    pulls: SmallVec<[(Time, Time); 1]>,
    /// It was running when its kubelet first said something of it, or has been counted.
    counted_running: bool,
    counted_start: bool,
    unschedulable: bool,
    attempts: u32,
    finished: bool,
}

impl Sink for Tally {
    fn take(&mut self, entry: &Entry) {
        let time = entry.time;
        match &entry.what {
            Record::Written(change, object) => self.written(time, *change, object),
            Record::Event(event) => self.event(event),
            Record::Attempt { pod, outcome, .. } => self.attempt(time, pod, outcome),
            Record::Stage { pod, container, stage, edge } => self.stage(time, pod, *container, *stage, edge),
            Record::Exited { pod, container, exit_code, reason, .. } => {
                let Some(life) = self.pods.get(&pod.uid) else { return };
                let kind = container_type(&life.last, *container);
                let Some(node) = life.last.node else { return };
                *self.node(node).terminated.entry((kind, *exit_code, *reason)).or_default() += 1;
            }
            Record::Probed { pod, container, purpose, success: false, .. } => {
                let Some(node) = self.pods.get(&pod.uid).and_then(|life| life.last.node) else { return };
                let key = (purpose.as_str(), pod.namespace, pod.name, *container, pod.uid);
                *self.node(node).failed_probes.entry(key).or_default() += 1;
            }
            _ => {}
        }
    }
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Tally {
        Tally::default()
    }

    fn node(&mut self, name: Name) -> &mut NodeTally {
        self.nodes.entry(name).or_default()
    }

    /// The pods that are there, by node; without one under the empty name.
    pub(super) fn pods_left(&self) -> impl Iterator<Item = &Arc<Pod>> {
        let mut pods: Vec<&Arc<Pod>> = self.pods.values().map(|life| &life.last).collect();
        pods.sort_by_key(|pod| (pod.node, pod.meta.namespace, pod.meta.name, pod.meta.uid));
        pods.into_iter()
    }

    /// True if the last scheduling attempt of the pod found no node.
    pub(super) fn is_unschedulable(&self, uid: Uid) -> bool {
        self.pods.get(&uid).is_some_and(|life| life.unschedulable)
    }

    fn written(&mut self, time: Time, change: Change, object: &Object) {
        let (there, changes) = self.objects.entry(object.kind()).or_default();
        *changes += 1;
        *there += match change {
            Change::Created => 1,
            Change::Modified => 0,
            Change::Deleted => -1,
        };
        match object {
            Object::Pod(pod) => self.pod_written(time, change, pod),
            Object::Node(node) => self.node_written(change, node),
            Object::Job(job) => {
                let known = self.jobs.entry(job.meta.uid).or_insert((job.indexed, false));
                let ended = ["Complete", "Failed"].into_iter().find_map(|kind| {
                    let found = condition::find(&job.status.conditions, kind)?;
                    condition::is_true(&job.status.conditions, kind).then_some((kind, found.reason))
                });
                if let Some((kind, reason)) = ended.filter(|_| !known.1) {
                    known.1 = true;
                    let result = if kind == "Complete" { "succeeded" } else { "failed" };
                    *self.jobs_finished.entry((mode(known.0), reason, result)).or_default() += 1;
                }
                if change == Change::Deleted {
                    self.jobs.remove(&job.meta.uid);
                }
            }
            Object::EndpointSlice(_) => {
                let operation = match change {
                    Change::Created => "create",
                    Change::Modified => "update",
                    Change::Deleted => "delete",
                };
                *self.slice_changes.entry(operation).or_default() += 1;
            }
            _ => {}
        }
    }

    fn pod_written(&mut self, time: Time, change: Change, pod: &Arc<Pod>) {
        let uid = pod.meta.uid;
        if change == Change::Deleted {
            self.pods.remove(&uid);
            return;
        }
        let running = pod.status.phase != Phase::Pending;
        let life = self.pods.entry(uid).or_insert_with(|| PodTally {
            last: pod.clone(),
            created: time,
            seen: None,
            begun: SmallVec::new(),
            pulls: SmallVec::new(),
            counted_running: running,
            counted_start: running,
            unschedulable: false,
            attempts: 0,
            finished: pod.status.phase.is_terminal(),
        });
        life.last = pod.clone();
        let Some(node) = pod.node else { return };
        if running && !life.counted_running {
            life.counted_running = true;
            if let Some(seen) = life.seen {
                self.nodes.entry(node).or_default().pod_start.add(time.since(seen));
            }
        }
        let is_started = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
        if !life.counted_start
            && !pod.status.containers.is_empty()
            && pod.status.containers.iter().all(|one| is_started(&one.state))
        {
            life.counted_start = true;
            if !life.unschedulable && is_stateless(pod) {
                let node = self.nodes.entry(node).or_default();
                // The API has whole seconds.
                let total = time.since(life.created.truncated_to_second());
                let sli = total.saturating_sub(union(&mut life.pulls)).saturating_sub(init_time(pod));
                node.pod_start_total.add(total);
                node.pod_start_sli.add(sli);
                if !pod.spec.host_network {
                    node.first_network_pod.get_or_insert(sli);
                }
            }
        }
        let terminal = pod.status.phase.is_terminal();
        if terminal && !life.finished {
            life.finished = true;
            let job = pod.meta.owner.and_then(|owner| self.jobs.get(&owner.uid));
            if let Some((indexed, _)) = job {
                let result = if pod.status.phase == Phase::Succeeded { "succeeded" } else { "failed" };
                *self.job_pods_finished.entry((mode(*indexed), result)).or_default() += 1;
            }
        }
    }

    fn node_written(&mut self, change: Change, node: &Node) {
        use crate::model::TaintEffect;
        use crate::model::taint::{NOT_READY, UNREACHABLE};
        let name = node.meta.name;
        let sick = change != Change::Deleted
            && node.spec.taints.iter().any(|taint| {
                taint.effect == TaintEffect::NoExecute && (taint.key == NOT_READY || taint.key == UNREACHABLE)
            });
        let was = if sick { !self.tainted.insert(name) } else { self.tainted.remove(&name) };
        if sick && !was {
            *self.evictions.entry(zone_key(node)).or_default() += 1;
        }
    }

    fn attempt(&mut self, time: Time, pod: &PodRef, outcome: &Outcome) {
        let Some(life) = self.pods.get_mut(&pod.uid) else { return };
        life.attempts += 1;
        let profile = life.last.spec.scheduler_name;
        let result = match outcome {
            Outcome::Scheduled { .. } => "scheduled",
            Outcome::Unschedulable { .. } => "unschedulable",
            Outcome::Error { .. } => "error",
        };
        *self.attempts.entry((profile, result)).or_default() += 1;
        life.unschedulable |= result == "unschedulable";
        if result == "scheduled" {
            let label = if life.attempts >= 15 { "15+".to_owned() } else { life.attempts.to_string() };
            let buckets = || Histogram::new(&exponential(0.01, 2.0, 20));
            self.scheduling.entry(label).or_insert_with(buckets).add(time.since(life.created));
            let buckets = || Histogram::new(&exponential(1.0, 2.0, 5));
            self.attempts_of_pods.get_or_insert_with(buckets).add_number(u64::from(life.attempts));
        }
    }

    fn stage(&mut self, time: Time, pod: &PodRef, container: Name, stage: Stage, edge: &StageEdge) {
        let Some(life) = self.pods.get_mut(&pod.uid) else { return };
        let Some(node) = life.last.node else { return };
        let kind = container_type(&life.last, container);
        let node = self.nodes.entry(node).or_default();
        if *edge == StageEdge::Begin {
            life.begun.retain(|(of, which, _)| (*of, *which) != (container, stage));
            life.begun.push((container, stage, time));
            match stage {
                Stage::Sandbox => node.started_pods += 1,
                Stage::Pull => *node.started_containers.entry(kind).or_default() += 1,
                _ => {}
            }
            return;
        }
        if stage == Stage::Watch {
            life.seen.get_or_insert(time);
            node.containers_per_pod.add_number(life.last.spec.containers.len() as u64);
            return;
        }
        let at = life.begun.iter().position(|(of, which, _)| (*of, *which) == (container, stage));
        let took = at.map(|at| life.begun.remove(at).2).map(|begun| (begun, time.since(begun)));
        let failed = match edge {
            StageEdge::Failed(message) => Some(message.as_str()),
            _ => None,
        };
        let operation = match stage {
            Stage::Sandbox => "run_podsandbox",
            Stage::Create => "create_container",
            Stage::Start => "start_container",
            Stage::Pull => {
                if let Some((begun, _)) = took {
                    life.pulls.push((begun, time));
                }
                ""
            }
            _ => "",
        };
        // A container whose configuration can't be made is not created.
        if let Some((_, length)) = took.filter(|_| !operation.is_empty()) {
            node.operation(operation, length, failed.is_some());
        }
        if let Some(message) = failed {
            match error_of(stage, message) {
                Some(code) => *node.started_containers_errors.entry((kind, code)).or_default() += 1,
                None if stage == Stage::Sandbox => node.started_pods_errors += 1,
                None => {}
            }
        }
        if let (Stage::Sandbox, Some((_, length))) = (stage, took) {
            node.sandboxes.add(length);
            node.sandbox_errors += u64::from(failed.is_some());
        }
    }

    fn event(&mut self, event: &Event) {
        match (event.component.as_str(), event.reason.as_str()) {
            (_, "TaintManagerEviction") if event.message.starts_with("Marking") => self.taint_deletions += 1,
            ("kubelet", reason) if !event.host.is_empty() => {
                let pod = self.pods.get(&event.involved.uid).map(|life| life.last.clone());
                let node = self.node(event.host);
                match reason {
                    "Pulled" => {
                        if let Some((length, size)) = pulled(&event.message) {
                            let buckets = || Histogram::new(super::kubelet::PULL);
                            node.pulls.entry(size_label(size)).or_insert_with(buckets).add(length);
                            node.operation("pull_image", length, false);
                        } else if let Some(policy) = pod.and_then(|pod| policy(&pod, event.involved.field_path)) {
                            *node.ensure_image.entry((true, policy, false)).or_default() += 1;
                        }
                    }
                    "Pulling" => {
                        if let Some(policy) = pod.and_then(|pod| policy(&pod, event.involved.field_path)) {
                            *node.ensure_image.entry((false, policy, true)).or_default() += 1;
                        }
                    }
                    "Failed" if event.message.starts_with("Failed to pull image") => {
                        node.operation_failed("pull_image");
                    }
                    "Evicted" => {
                        if let Some(signal) = signal(&event.message) {
                            *node.evictions.entry(signal).or_default() += 1;
                        }
                    }
                    _ if is_rejection(reason) => *node.rejections.entry(event.reason).or_default() += 1,
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn mode(indexed: bool) -> &'static str {
    if indexed { "Indexed" } else { "NonIndexed" }
}

/// `region::zone`, as the node lifecycle controller calls a zone, but for the NUL in its middle, which would make a page that
/// nobody can search (component-helpers/node/topology/helpers.go).
pub(super) fn zone_key(node: &Node) -> String {
    let label = |key: &str| node.meta.labels.get(Name::new(key)).unwrap_or_default();
    let (region, zone) = (label("topology.kubernetes.io/region"), label(crate::model::node::ZONE_LABEL));
    if region.is_empty() && zone.is_empty() { String::new() } else { format!("{region}::{zone}") }
}

/// `container`, `init_container`, `ephemeral_container`: which list of the pod it is in.
fn container_type(pod: &Pod, container: Name) -> &'static str {
    let is_in = |list: &[crate::model::Container]| list.iter().any(|one| one.name == container);
    match (is_in(&pod.spec.init_containers), is_in(&pod.spec.ephemeral_containers)) {
        (true, _) => "init_container",
        (false, true) => "ephemeral_container",
        (false, false) => "container",
    }
}

/// Pods with volumes that have to be attached say nothing of the kubelet's speed.
fn is_stateless(pod: &Pod) -> bool {
    pod.spec.volumes.iter().all(|volume| {
        matches!(
            volume.source,
            VolumeSource::EmptyDir { .. }
                | VolumeSource::ConfigMap { .. }
                | VolumeSource::Secret { .. }
                | VolumeSource::Projected { .. }
                | VolumeSource::DownwardApi { .. }
        )
    })
}

/// How long at least one of the spans lasted.
fn union(spans: &mut SmallVec<[(Time, Time); 1]>) -> Duration {
    spans.sort();
    let (mut total, mut covered) = (Duration::ZERO, Time::ZERO);
    for (from, until) in spans.iter() {
        let from = covered.max(*from);
        total += until.since(from);
        covered = covered.max(*until);
    }
    total
}

/// How long the init containers ran that have ended.
fn init_time(pod: &Pod) -> Duration {
    let mut total = Duration::ZERO;
    for (one, spec) in pod.status.init_containers.iter().zip(pod.spec.init_containers.iter()) {
        if let ContainerState::Terminated(end) = &one.state
            && !spec.is_sidecar()
        {
            total += end.finished_at.since(end.started_at);
        }
    }
    total
}

/// The code under which the kubelet counts a start that failed; None for what is no start of a container.
fn error_of(stage: Stage, message: &str) -> Option<&'static str> {
    Some(match stage {
        Stage::Pull if message.starts_with("Back-off pulling image") => "ImagePullBackOff",
        Stage::Pull if message.ends_with("is not present with pull policy of Never") => "ErrImageNeverPull",
        Stage::Pull if message.starts_with("Failed to inspect image") => "ImageInspectError",
        Stage::Pull if message.contains("couldn't parse image") || message.contains("failed to parse image") => {
            "InvalidImageName"
        }
        Stage::Pull => "ErrImagePull",
        Stage::Create if message.starts_with("rpc error") => "CreateContainerError",
        Stage::Create => "CreateContainerConfigError",
        Stage::Start => "RunContainerError",
        Stage::PostStart => "PostStartHookError",
        _ => return None,
    })
}

/// `Successfully pulled image "x" in 1.2s (1.3s including waiting). Image size: 12 bytes.`
fn pulled(message: &str) -> Option<(Duration, u64)> {
    let rest = message.strip_prefix("Successfully pulled image ")?;
    let (_, rest) = rest.split_once("\" in ")?;
    let (length, rest) = rest.split_once(" (")?;
    let (_, size) = rest.split_once("Image size: ")?;
    Some((Duration::parse_go(length)?, size.strip_suffix(" bytes.")?.parse().ok()?))
}

/// pkg/kubelet/metrics/metrics.go, GetImageSizeBucket.
fn size_label(bytes: u64) -> &'static str {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    const LABELS: [(u64, &str); 11] = [
        (10 * MIB, "0-10MB"),
        (100 * MIB, "10MB-100MB"),
        (500 * MIB, "100MB-500MB"),
        (GIB, "500MB-1GB"),
        (5 * GIB, "1GB-5GB"),
        (10 * GIB, "5GB-10GB"),
        (20 * GIB, "10GB-20GB"),
        (30 * GIB, "20GB-30GB"),
        (40 * GIB, "30GB-40GB"),
        (60 * GIB, "40GB-60GB"),
        (100 * GIB, "60GB-100GB"),
    ];
    if bytes == 0 {
        return "N/A";
    }
    LABELS.iter().find(|(below, _)| bytes < *below).map_or("GT100GB", |(_, label)| label)
}

/// The pull policy of the container that an Event's `spec.containers{app}` names.
fn policy(pod: &Pod, field_path: Name) -> Option<&'static str> {
    let name = field_path.split_once('{')?.1.strip_suffix('}')?;
    let mut containers = pod.spec.containers.iter().chain(pod.spec.init_containers.iter());
    let container = containers.find(|container| *container.name == *name)?;
    Some(match container.image_pull_policy {
        ImagePullPolicy::Always => "always",
        ImagePullPolicy::IfNotPresent => "ifnotpresent",
        ImagePullPolicy::Never => "never",
    })
}

/// The signal behind `The node was low on resource: memory.`
fn signal(message: &str) -> Option<&'static str> {
    let rest = message.strip_prefix("The node was low on resource: ")?;
    Some(match rest.split_once('.')?.0 {
        "memory" => "memory.available",
        "ephemeral-storage" => "nodefs.available",
        "inodes" => "nodefs.inodesFree",
        "pids" => "pid.available",
        _ => return None,
    })
}

/// Reasons with which a kubelet refuses a pod.
fn is_rejection(reason: &str) -> bool {
    const REASONS: [&str; 12] = [
        "AppArmor",
        "NodeAffinity",
        "NodeName",
        "NodePorts",
        "NodeShutdown",
        "PodFeatureUnsupported",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SysctlForbidden",
        "TaintToleration",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
    ];
    reason.starts_with("OutOf") || REASONS.contains(&reason)
}
