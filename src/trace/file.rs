//! Writing a trace to a file, line by line, as things happen.
//!
//! The file is JSON lines: first a header with `format` and `version`, then a line a record, last a line with `end`. Lines with
//! `spec` give the parts of a pod's spec that reports need, once for all replicas. The names of the fields are in `wire`.

use std::io;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::condition::Conditions;
use crate::model::pod::{RestartPolicy, Terminated};
use crate::model::resources::ResourceList;
use crate::model::taint::TolerationOperator;
use crate::model::workload::PodTemplate;
use crate::model::{
    Container, ContainerState, ContainerStatus, Event, Key, Meta, Name, Node, Object, Pod, PodSpec, Resources,
};

use super::wire::{self, *};
use super::{Change, Diagnosis, Entry, Footer, Header, Outcome, PodRef, Record, Sink, Stage, StageEdge, Verdict};

/// Writes a trace. It holds one line and the specs that it has written, never the trace.
///
/// A [`Sink`] cannot fail, so the first error is kept, nothing more is written, and [`Writer::finish`] returns it.
pub struct Writer<W: io::Write> {
    to: io::BufWriter<W>,
    error: Option<io::Error>,
    specs: Specs,
}

impl<W: io::Write> Writer<W> {
    /// Begins the trace of the run that `header` tells of.
    pub fn new(to: W, header: &Header) -> Writer<W> {
        let mut writer = Writer { to: io::BufWriter::with_capacity(1 << 16, to), error: None, specs: Specs::default() };
        writer.line(&header_line(header));
        writer
    }

    /// Ends the trace. The error is the first that occurred while it was written.
    pub fn finish(mut self, footer: &Footer) -> io::Result<W> {
        self.line(&end_line(footer));
        match self.error {
            Some(error) => Err(error),
            None => self.to.into_inner().map_err(io::IntoInnerError::into_error),
        }
    }

    fn line(&mut self, line: &impl serde::Serialize) {
        if self.error.is_none() {
            self.error = write_line(&mut self.to, line).err();
        }
    }
}

impl<W: io::Write> Sink for Writer<W> {
    fn take(&mut self, entry: &Entry) {
        if self.error.is_some() {
            return;
        }
        let Entry { id, cause, time, what } = entry;
        let what = self.specs.what(what);
        for line in std::mem::take(&mut self.specs.new) {
            self.line(&line);
        }
        self.line(&RecordLine { id: *id, cause: *cause, time: *time, what });
    }
}

fn write_line(to: &mut impl io::Write, line: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line).map_err(io::Error::from)?;
    to.write_all(b"\n")
}

fn header_line(header: &Header) -> HeaderLine {
    HeaderLine {
        format: FORMAT.to_owned(),
        version: VERSION,
        name: header.name.clone(),
        description: header.description.clone(),
        seed: header.seed,
        kubernetes: header.kubernetes.clone(),
        command: header.command.clone(),
        epoch: header.epoch,
        sources: header
            .sources
            .iter()
            .map(|file| SourceFileLine { name: file.name.clone(), text: file.text.clone() })
            .collect(),
        passed_over: header
            .passed_over
            .iter()
            .map(|(kind, count)| PassedOver { kind: kind.clone(), count: *count })
            .collect(),
        not_modelled: header
            .not_modelled
            .iter()
            .map(|(kind, field, count)| NotModelled { kind: kind.clone(), field: field.clone(), count: *count })
            .collect(),
        warnings: header.warnings.clone(),
    }
}

fn end_line(footer: &Footer) -> EndLine {
    EndLine {
        end: footer.end,
        reason: footer.reason.clone(),
        events: footer.events,
        digest: format!("{:016x}", footer.digest),
        expectations: footer
            .expectations
            .iter()
            .map(|expectation| ExpectationLine {
                name: expectation.name.clone(),
                when: expectation.when.clone(),
                text: expectation.text.clone(),
                source: expectation.source.map(At::from),
                held: expectation.held,
                measured: expectation.measured.clone(),
                broken: expectation.broken.clone(),
                error: expectation.error.clone(),
                objects: expectation.objects.clone(),
                details: expectation.details.clone(),
                share: expectation.share.map(|share| (share.least, share.most, share.held_here)),
            })
            .collect(),
        invariants: footer.invariants.clone(),
    }
}

/// The specs that have a number. They are kept, so that no other spec comes to lie where one of them lay.
#[derive(Default)]
struct Specs {
    numbers: FxHashMap<*const PodSpec, u32>,
    kept: Vec<Arc<PodSpec>>,
    /// Lines to write before the record at hand.
    new: Vec<SpecLine>,
}

impl Specs {
    fn number(&mut self, spec: &Arc<PodSpec>) -> u32 {
        if let Some(number) = self.numbers.get(&Arc::as_ptr(spec)) {
            return *number;
        }
        self.kept.push(Arc::clone(spec));
        let number = self.kept.len() as u32;
        self.numbers.insert(Arc::as_ptr(spec), number);
        self.new.push(spec_line(number, spec));
        number
    }

    fn what(&mut self, record: &Record) -> What {
        match record {
            Record::Action { text, by } => What::Action { text: text.clone(), source: by.source.map(At::from) },
            Record::Fault { text, undone, by } => {
                What::Fault { text: text.clone(), undone: *undone, source: by.source.map(At::from) }
            }
            Record::Written(change, object) => {
                What::Written { change: Name::new(change.as_str()), object: Box::new(self.object(object)) }
            }
            Record::Event(event) => What::Event(Box::new(event_line(event))),
            Record::Attempt { pod, attempt, outcome, diagnosis } => {
                let (word, node, message) = match outcome {
                    Outcome::Scheduled { node } => ("scheduled", *node, Default::default()),
                    Outcome::Unschedulable { message } => ("unschedulable", Name::default(), message.clone()),
                    Outcome::Error { message } => ("error", Name::default(), message.clone()),
                };
                What::Attempt {
                    pod: pod_line(pod),
                    attempt: *attempt,
                    outcome: Name::new(word),
                    node,
                    message,
                    diagnosis: diagnosis.as_deref().map(diagnosis_lines),
                    weights: diagnosis.as_deref().map(|diagnosis| diagnosis.weights.clone()).unwrap_or_default(),
                    remedies: diagnosis.as_deref().map(|diagnosis| diagnosis.remedies.clone()).unwrap_or_default(),
                }
            }
            Record::Stage { pod, container, stage, edge } => {
                let (edge, message) = match edge {
                    StageEdge::Begin => ("begin", Default::default()),
                    StageEdge::End => ("end", Default::default()),
                    StageEdge::Failed(message) => ("failed", message.clone()),
                };
                What::Stage {
                    pod: pod_line(pod),
                    container: *container,
                    stage: Name::new(stage.as_str()),
                    edge: Name::new(edge),
                    message,
                }
            }
            Record::Exited { pod, container, exit_code, reason, after } => What::Exited {
                pod: pod_line(pod),
                container: *container,
                exit_code: *exit_code,
                reason: *reason,
                after: *after,
            },
            Record::Probed { pod, container, purpose, success, message } => What::Probed {
                pod: pod_line(pod),
                container: *container,
                probe: Name::new(purpose.as_str()),
                success: *success,
                message: message.clone(),
            },
            Record::Decided { object, by, text } => {
                What::Decided { object: key_line(object), by: *by, text: text.clone() }
            }
            Record::Called { node, method, took, failed } => {
                What::Called { node: *node, method: *method, took: *took, failed: *failed }
            }
            Record::NodeFault { node, what } => What::NodeFault { node: *node, what: what.clone() },
            Record::Invariant { text } => What::Invariant { text: text.clone() },
        }
    }

    fn object(&mut self, object: &Object) -> ObjectLine {
        let mut line = meta_line(object);
        match object {
            Object::Pod(pod) => line.pod = Some(self.pod(pod)),
            Object::Node(node) => line.node = Some(node_body(node)),
            Object::ReplicaSet(set) | Object::ReplicationController(set) => {
                line.workload = Some(WorkloadBody {
                    spec: self.number(&set.template.spec),
                    restarted_at: restarted_at(&set.template),
                    replicas: set.replicas,
                    current: set.status.replicas,
                    ready: set.status.ready,
                    available: set.status.available,
                    terminating: set.status.terminating,
                    observed_generation: set.status.observed_generation,
                    conditions: condition_lines(&set.status.conditions),
                    ..WorkloadBody::default()
                });
            }
            Object::Deployment(deployment) => {
                let status = &deployment.status;
                line.workload = Some(WorkloadBody {
                    spec: self.number(&deployment.template.spec),
                    restarted_at: restarted_at(&deployment.template),
                    replicas: deployment.replicas,
                    current: status.replicas,
                    ready: status.ready,
                    updated: status.updated,
                    available: status.available,
                    unavailable: status.unavailable,
                    terminating: status.terminating,
                    observed_generation: status.observed_generation,
                    paused: deployment.paused,
                    progress_deadline: deployment.progress_deadline,
                    conditions: condition_lines(&status.conditions),
                });
            }
            Object::StatefulSet(set) => {
                line.workload = Some(WorkloadBody {
                    spec: self.number(&set.template.spec),
                    restarted_at: restarted_at(&set.template),
                    replicas: set.replicas,
                    current: set.status.replicas,
                    ready: set.status.ready,
                    updated: set.status.updated,
                    available: set.status.available,
                    observed_generation: set.status.observed_generation,
                    conditions: condition_lines(&set.status.conditions),
                    ..WorkloadBody::default()
                });
            }
            Object::DaemonSet(set) => {
                line.workload = Some(WorkloadBody {
                    spec: self.number(&set.template.spec),
                    restarted_at: restarted_at(&set.template),
                    replicas: set.status.desired_scheduled,
                    current: set.status.current_scheduled,
                    ready: set.status.ready,
                    updated: set.status.updated_scheduled,
                    available: set.status.available,
                    unavailable: set.status.unavailable,
                    observed_generation: set.status.observed_generation,
                    conditions: condition_lines(&set.status.conditions),
                    ..WorkloadBody::default()
                });
            }
            Object::Job(job) => {
                line.job = Some(JobBody {
                    spec: self.number(&job.template.spec),
                    parallelism: job.parallelism,
                    completions: job.completions,
                    backoff_limit: job.backoff_limit,
                    suspend: job.suspend,
                    active: job.status.active,
                    ready: job.status.ready,
                    succeeded: job.status.succeeded,
                    failed: job.status.failed,
                    start_time: job.status.start_time,
                    completion_time: job.status.completion_time,
                    conditions: condition_lines(&job.status.conditions),
                });
            }
            Object::EndpointSlice(slice) => {
                line.endpoints = Some(EndpointsBody {
                    service: slice.service,
                    endpoints: slice
                        .endpoints
                        .iter()
                        .map(|endpoint| EndpointLine {
                            pod: endpoint.pod,
                            ip: endpoint.ip,
                            node: endpoint.node,
                            zone: endpoint.zone,
                            ready: endpoint.ready,
                            serving: endpoint.serving,
                            terminating: endpoint.terminating,
                        })
                        .collect(),
                });
            }
            _ => {}
        }
        line
    }

    fn pod(&mut self, pod: &Pod) -> PodBody {
        let status = &pod.status;
        PodBody {
            spec: self.number(&pod.spec),
            node: pod.node,
            nominated_node: status.nominated_node,
            phase: Name::new(status.phase.as_str()),
            reason: status.reason,
            message: status.message.clone(),
            start_time: status.start_time,
            pod_ip: status.pod_ip,
            conditions: condition_lines(&status.conditions),
            init_containers: status.init_containers.iter().map(container_line).collect(),
            containers: status.containers.iter().map(container_line).collect(),
            ephemeral_containers: status.ephemeral_containers.iter().map(container_line).collect(),
        }
    }
}

fn restarted_at(template: &PodTemplate) -> Name {
    template.annotations.get(Name::new(RESTARTED_AT)).unwrap_or_default()
}

fn meta_line(object: &Object) -> ObjectLine {
    let meta: &Meta = object.meta();
    ObjectLine {
        kind: object.kind(),
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        resource_version: meta.resource_version,
        generation: meta.generation,
        owner: meta.owner.map(|owner| OwnerLine { kind: owner.kind, name: owner.name, uid: owner.uid }),
        created: meta.created,
        deletion: meta.deletion.map(|deletion| DeletionLine { at: deletion.at, grace: deletion.grace }),
        labels: meta.labels.iter().collect(),
        source: meta.source.map(At::from),
        pod: None,
        node: None,
        workload: None,
        job: None,
        endpoints: None,
    }
}

fn pod_line(pod: &PodRef) -> PodLine {
    PodLine { namespace: pod.namespace, name: pod.name, uid: pod.uid }
}

fn key_line(key: &Key) -> KeyLine {
    KeyLine { kind: key.kind, namespace: key.namespace, name: key.name }
}

fn event_line(event: &Event) -> EventLine {
    let involved = &event.involved;
    EventLine {
        namespace: event.meta.namespace,
        name: event.meta.name,
        about: KeyLine { kind: involved.kind, namespace: involved.namespace, name: involved.name },
        about_uid: involved.uid,
        field_path: involved.field_path,
        kind: Name::new(event.kind.as_str()),
        reason: event.reason,
        message: event.message.clone(),
        count: event.count,
        first: event.first,
        last: event.last,
        component: event.component,
        host: event.host,
    }
}

fn diagnosis_lines(diagnosis: &Diagnosis) -> Vec<VerdictLine> {
    let line = |node| VerdictLine { node, rejected_by: None, reasons: Vec::new(), score: None, scores: Vec::new() };
    diagnosis
        .nodes
        .iter()
        .map(|verdict| match &verdict.verdict {
            Verdict::Rejected { plugin, reasons } => {
                VerdictLine { rejected_by: Some(*plugin), reasons: reasons.clone(), ..line(verdict.node) }
            }
            Verdict::Scored { total, scores } => {
                VerdictLine { score: Some(*total), scores: scores.clone(), ..line(verdict.node) }
            }
            Verdict::NotTried => line(verdict.node),
        })
        .collect()
}

fn condition_lines(conditions: &Conditions) -> Vec<ConditionLine> {
    conditions
        .iter()
        .map(|condition| ConditionLine {
            kind: condition.kind,
            status: condition.status,
            reason: condition.reason,
            message: condition.message.clone(),
            since: condition.last_transition,
            updated: condition.last_update,
        })
        .collect()
}

fn container_line(status: &ContainerStatus) -> ContainerLine {
    let mut line = ContainerLine {
        name: status.name,
        state: Name::new("waiting"),
        reason: Name::default(),
        message: Default::default(),
        started_at: None,
        terminated: None,
        last_terminated: status.last_terminated.as_deref().map(terminated_line),
        ready: status.ready,
        started: status.started,
        restarts: status.restart_count,
        image: status.image,
        container_id: status.container_id,
        runtime_id: status.runtime_id,
        image_id: status.image_id,
    };
    match &status.state {
        ContainerState::Waiting { reason, message } => {
            line.reason = *reason;
            line.message = message.clone();
        }
        ContainerState::Running { started_at } => {
            line.state = Name::new("running");
            line.started_at = Some(*started_at);
        }
        ContainerState::Terminated(terminated) => {
            line.state = Name::new("terminated");
            line.terminated = Some(terminated_line(terminated));
        }
    }
    line
}

fn terminated_line(terminated: &Terminated) -> TerminatedLine {
    TerminatedLine {
        exit_code: terminated.exit_code,
        signal: terminated.signal,
        reason: terminated.reason,
        message: terminated.message.clone(),
        started_at: terminated.started_at,
        finished_at: terminated.finished_at,
        container_id: terminated.container_id,
        runtime_id: terminated.runtime_id,
    }
}

fn node_body(node: &Node) -> NodeBody {
    NodeBody {
        unschedulable: node.spec.unschedulable,
        taints: node
            .spec
            .taints
            .iter()
            .map(|taint| TaintLine {
                key: taint.key,
                value: taint.value,
                effect: Name::new(taint.effect.as_str()),
                added: taint.added,
            })
            .collect(),
        conditions: condition_lines(&node.status.conditions),
        allocatable: amounts_line(&node.status.allocatable),
    }
}

fn amounts_line(amounts: &Resources) -> AmountsLine {
    let some = |amount: i64| (amount != 0).then_some(amount);
    AmountsLine {
        cpu: some(amounts.cpu.0),
        memory: some(amounts.memory.0),
        ephemeral_storage: some(amounts.ephemeral_storage.0),
        pods: amounts.pods,
        extended: amounts.extended.to_vec(),
    }
}

fn list_line(list: &ResourceList) -> AmountsLine {
    AmountsLine {
        cpu: list.cpu.map(|cpu| cpu.0),
        memory: list.memory.map(|memory| memory.0),
        ephemeral_storage: list.ephemeral_storage.map(|storage| storage.0),
        pods: 0,
        extended: list.extended.to_vec(),
    }
}

fn spec_line(number: u32, spec: &PodSpec) -> SpecLine {
    let containers = |containers: &[Container]| {
        containers
            .iter()
            .map(|container| ContainerSpecLine {
                name: container.name,
                image: container.image,
                sidecar: container.is_sidecar(),
                requests: list_line(&container.resources.requests),
                limits: list_line(&container.resources.limits),
                source: container.source.map(At::from),
            })
            .collect()
    };
    SpecLine {
        spec: number,
        containers: containers(&spec.containers),
        init_containers: containers(&spec.init_containers),
        ephemeral_containers: containers(&spec.ephemeral_containers),
        restart_policy: Name::new(match spec.restart_policy {
            RestartPolicy::Always => "Always",
            RestartPolicy::OnFailure => "OnFailure",
            RestartPolicy::Never => "Never",
        }),
        termination_grace: spec.termination_grace,
        priority: spec.priority,
        scheduler_name: spec.scheduler_name,
        node_selector: spec.node_selector.iter().collect(),
        tolerations: spec
            .tolerations
            .iter()
            .map(|toleration| TolerationLine {
                key: toleration.key,
                operator: Name::new(match toleration.operator {
                    TolerationOperator::Equal => "Equal",
                    TolerationOperator::Exists => "Exists",
                    TolerationOperator::Gt => "Gt",
                    TolerationOperator::Lt => "Lt",
                }),
                value: toleration.value,
                effect: toleration.effect.map(|effect| Name::new(effect.as_str())),
                seconds: toleration.seconds,
            })
            .collect(),
        topology_spread: spec
            .topology_spread
            .iter()
            .map(|spread| wire::SpreadLine {
                max_skew: spread.max_skew,
                topology_key: spread.topology_key,
                hard: spread.hard,
            })
            .collect(),
        scheduling_gates: spec.scheduling_gates.to_vec(),
        source: spec.source.map(At::from),
    }
}

impl Change {
    /// As the trace file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Created => "created",
            Change::Modified => "modified",
            Change::Deleted => "deleted",
        }
    }
}

impl Stage {
    /// Every stage, in the order of a pod's start.
    pub const ALL: [Stage; 8] = [
        Stage::Watch,
        Stage::Volumes,
        Stage::Sandbox,
        Stage::Pull,
        Stage::Create,
        Stage::Start,
        Stage::PostStart,
        Stage::Ready,
    ];

    /// As reports and the trace file write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Watch => "watch",
            Stage::Volumes => "volumes",
            Stage::Sandbox => "sandbox",
            Stage::Pull => "pull",
            Stage::Create => "create",
            Stage::Start => "start",
            Stage::PostStart => "post_start",
            Stage::Ready => "ready",
        }
    }
}
