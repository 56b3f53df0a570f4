//! Reading a trace file back.

use std::io;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::condition::{Condition, Conditions};
use crate::model::pod::{ContainerState, ContainerStatus, RestartPolicy, Terminated};
use crate::model::resources::ResourceList;
use crate::model::service::{Endpoint, EndpointSlice};
use crate::model::taint::TolerationOperator;
use crate::model::workload::{
    DaemonSet, DaemonSetStatus, DaemonSetUpdate, Deployment, DeploymentStatus, DeploymentStrategy, IntOrPercent, Job,
    JobStatus, PodTemplate, ReplicaSet, ReplicaSetStatus, StatefulSet, StatefulSetStatus, StatefulSetUpdate,
};
use crate::model::{
    Bytes, Container, Deletion, Event, EventType, Key, Kind, Labels, Meta, MilliCpu, Name, Node, NodeSpec, NodeStatus,
    Object, ObjectReference, OwnerReference, Phase, Pod, PodSpec, PodStatus, Resources, Selector, Source, Taint,
    TaintEffect, Toleration, TopologySpreadConstraint,
};
use crate::protocol::probe::Purpose;

use super::wire::{self, *};
use super::{
    CausedBy, Change, Diagnosis, Entry, Expectation, Footer, Header, NodeVerdict, Outcome, PodRef, Record, Share,
    SourceFile, Stage, StageEdge, Verdict,
};

/// Reads a trace: the header at once, then entries until there are no more, then the footer.
pub struct Reader<R> {
    from: R,
    file: String,
    line: u32,
    text: String,
    header: Header,
    specs: Vec<Arc<PodSpec>>,
    footer: Option<Footer>,
}

/// Why a trace can't be read: the file, the line (counted from 1), and what is wrong there.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ReadError {
    pub file: String,
    pub line: u32,
    pub problem: Problem,
}

/// What is wrong with a line of a trace.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    #[error("is not a trace: the first line should begin with {{\"format\":\"{FORMAT}\"")]
    NotATrace,
    #[error(
        "is a trace of version {0}, and this simlet reads version {VERSION}; run the scenario again to make a new one"
    )]
    Version(u32),
    #[error("{0}")]
    Json(String),
    #[error("there is no spec {0} above this line")]
    UnknownSpec(u32),
    #[error("`{word}` is not {expected}")]
    UnknownWord { word: String, expected: &'static str },
    #[error("the trace ends here without a line with \"end\"; the run that wrote it was cut short")]
    CutShort,
}

type Decoded<T> = Result<T, Problem>;

impl<R: io::BufRead> Reader<R> {
    /// Opens the trace; `file` is its name for errors.
    pub fn new(from: R, file: &str) -> Result<Reader<R>, ReadError> {
        let mut reader = Reader {
            from,
            file: file.to_owned(),
            line: 0,
            text: String::new(),
            header: Header::default(),
            specs: Vec::new(),
            footer: None,
        };
        reader.header = match reader.next_line() {
            Ok(true) => read_header(&reader.text),
            Ok(false) => Err(Problem::NotATrace),
            Err(problem) => Err(problem),
        }
        .map_err(|problem| reader.error(problem))?;
        Ok(reader)
    }

    /// What was run.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next record, or None after the last one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        self.read_entry().map_err(|problem| self.error(problem))
    }

    /// How the run ended, once [`Reader::next_entry`] has said that there are no more records.
    pub fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// Hands every record to `sink`; afterwards how the run ended.
    pub fn read_all(mut self, sink: &mut dyn super::Sink) -> Result<(Header, Footer), ReadError> {
        while let Some(entry) = self.next_entry()? {
            sink.take(&entry);
        }
        match self.footer {
            Some(footer) => Ok((self.header, footer)),
            None => Err(ReadError { file: self.file, line: self.line, problem: Problem::CutShort }),
        }
    }

    fn read_entry(&mut self) -> Decoded<Option<Entry>> {
        if self.footer.is_some() {
            return Ok(None);
        }
        loop {
            if !self.next_line()? {
                return Err(Problem::CutShort);
            }
            match which_line(&self.text)? {
                LineKind::Record => {
                    let line: RecordLine = parse(&self.text)?;
                    let what = self.record(line.what)?;
                    return Ok(Some(Entry { id: line.id, cause: line.cause, time: line.time, what }));
                }
                LineKind::Spec => {
                    let line: SpecLine = parse(&self.text)?;
                    let expected = self.specs.len() as u32 + 1;
                    if line.spec != expected {
                        return Err(Problem::Json(format!("spec {} where spec {expected} should be", line.spec)));
                    }
                    self.specs.push(Arc::new(read_spec(line)?));
                }
                LineKind::End => {
                    self.footer = Some(read_footer(parse(&self.text)?)?);
                    return Ok(None);
                }
            }
        }
    }

    /// Reads the next line that is not empty. False at the end of the file.
    fn next_line(&mut self) -> Decoded<bool> {
        loop {
            self.text.clear();
            if self.from.read_line(&mut self.text)? == 0 {
                return Ok(false);
            }
            self.line += 1;
            if !self.text.trim().is_empty() {
                return Ok(true);
            }
        }
    }

    fn error(&self, problem: Problem) -> ReadError {
        ReadError { file: self.file.clone(), line: self.line.max(1), problem }
    }

    fn spec(&self, number: u32) -> Decoded<Arc<PodSpec>> {
        let found = (number as usize).checked_sub(1).and_then(|at| self.specs.get(at));
        found.cloned().ok_or(Problem::UnknownSpec(number))
    }

    fn template(&self, number: u32, restarted_at: Name) -> Decoded<Arc<PodTemplate>> {
        let restarted = (!restarted_at.is_empty()).then(|| (Name::new(RESTARTED_AT), restarted_at));
        let annotations = Labels::new(restarted);
        Ok(Arc::new(PodTemplate { spec: self.spec(number)?, annotations, ..PodTemplate::default() }))
    }

    fn record(&self, what: What) -> Decoded<Record> {
        Ok(match what {
            What::Action { text, source } => Record::Action { text, by: caused_by(source) },
            What::Fault { text, undone, source } => Record::Fault { text, undone, by: caused_by(source) },
            What::Written { change, object } => {
                let all = [Change::Created, Change::Modified, Change::Deleted];
                Record::Written(word(change, &all, Change::as_str, "a change")?, self.object(*object)?)
            }
            What::Event(event) => Record::Event(Arc::new(read_event(*event)?)),
            What::Attempt { pod, attempt, outcome, node, message, diagnosis, weights, remedies } => Record::Attempt {
                pod: read_pod_ref(pod),
                attempt,
                outcome: match outcome.as_str() {
                    "scheduled" => Outcome::Scheduled { node },
                    "unschedulable" => Outcome::Unschedulable { message },
                    "error" => Outcome::Error { message },
                    other => return Err(unknown(other, "an outcome: scheduled, unschedulable or error")),
                },
                diagnosis: diagnosis.map(|lines| Arc::new(Diagnosis { weights, remedies, ..read_diagnosis(lines) })),
            },
            What::Stage { pod, container, stage, edge, message } => Record::Stage {
                pod: read_pod_ref(pod),
                container,
                stage: word(stage, &Stage::ALL, Stage::as_str, "a stage")?,
                edge: match edge.as_str() {
                    "begin" => StageEdge::Begin,
                    "end" => StageEdge::End,
                    "failed" => StageEdge::Failed(message),
                    other => return Err(unknown(other, "an edge: begin, end or failed")),
                },
            },
            What::Exited { pod, container, exit_code, reason, after } => {
                Record::Exited { pod: read_pod_ref(pod), container, exit_code, reason, after }
            }
            What::Probed { pod, container, probe, success, message } => {
                let all =
                    [Purpose::Startup, Purpose::Readiness, Purpose::Liveness, Purpose::PostStart, Purpose::PreStop];
                let purpose = word(probe, &all, Purpose::as_str, "a probe")?;
                Record::Probed { pod: read_pod_ref(pod), container, purpose, success, message }
            }
            What::Decided { object, by, text } => Record::Decided { object: read_key(object), by, text },
            What::Called { node, method, took, failed } => Record::Called { node, method, took, failed },
            What::NodeFault { node, what } => Record::NodeFault { node, what },
            What::Invariant { text } => Record::Invariant { text },
        })
    }

    /// The object with what the trace says of it; everything else is as it is by default.
    fn object(&self, mut line: ObjectLine) -> Decoded<Object> {
        let meta = read_meta(&mut line);
        Ok(match line.kind {
            Kind::Pod => {
                let body = line.pod.unwrap_or_default();
                let spec = self.spec(body.spec)?;
                Object::Pod(Arc::new(read_pod(meta, spec, body)?))
            }
            Kind::Node => Object::Node(Arc::new(read_node(meta, line.node.unwrap_or_default())?)),
            Kind::ReplicaSet | Kind::ReplicationController => {
                let body = line.workload.unwrap_or_default();
                let set = Arc::new(ReplicaSet {
                    meta,
                    replicas: body.replicas,
                    template: self.template(body.spec, body.restarted_at)?,
                    status: ReplicaSetStatus {
                        replicas: body.current,
                        ready: body.ready,
                        available: body.available,
                        terminating: body.terminating,
                        observed_generation: body.observed_generation,
                        conditions: read_conditions(body.conditions),
                        ..ReplicaSetStatus::default()
                    },
                    ..ReplicaSet::default()
                });
                if line.kind == Kind::ReplicaSet { Object::ReplicaSet(set) } else { Object::ReplicationController(set) }
            }
            Kind::Deployment => {
                let body = line.workload.unwrap_or_default();
                Object::Deployment(Arc::new(Deployment {
                    meta,
                    replicas: body.replicas,
                    selector: Selector::default(),
                    template: self.template(body.spec, body.restarted_at)?,
                    strategy: DeploymentStrategy::Recreate,
                    min_ready: Default::default(),
                    revision_history_limit: 10,
                    progress_deadline: body.progress_deadline,
                    paused: body.paused,
                    status: DeploymentStatus {
                        replicas: body.current,
                        updated: body.updated,
                        ready: body.ready,
                        available: body.available,
                        unavailable: body.unavailable,
                        terminating: body.terminating,
                        observed_generation: body.observed_generation,
                        conditions: read_conditions(body.conditions),
                        ..DeploymentStatus::default()
                    },
                }))
            }
            Kind::StatefulSet => {
                let body = line.workload.unwrap_or_default();
                Object::StatefulSet(Arc::new(StatefulSet {
                    meta,
                    replicas: body.replicas,
                    selector: Selector::default(),
                    template: self.template(body.spec, body.restarted_at)?,
                    service_name: Name::default(),
                    parallel: false,
                    update: StatefulSetUpdate::OnDelete,
                    min_ready: Default::default(),
                    start_ordinal: 0,
                    claim_templates: Arc::new([]),
                    revision_history_limit: 10,
                    status: StatefulSetStatus {
                        replicas: body.current,
                        ready: body.ready,
                        available: body.available,
                        updated: body.updated,
                        observed_generation: body.observed_generation,
                        conditions: read_conditions(body.conditions),
                        ..StatefulSetStatus::default()
                    },
                }))
            }
            Kind::DaemonSet => {
                let body = line.workload.unwrap_or_default();
                Object::DaemonSet(Arc::new(DaemonSet {
                    meta,
                    selector: Selector::default(),
                    template: self.template(body.spec, body.restarted_at)?,
                    update: DaemonSetUpdate::RollingUpdate {
                        max_unavailable: IntOrPercent::Int(1),
                        max_surge: IntOrPercent::Int(0),
                    },
                    min_ready: Default::default(),
                    revision_history_limit: 10,
                    status: DaemonSetStatus {
                        desired_scheduled: body.replicas,
                        current_scheduled: body.current,
                        ready: body.ready,
                        updated_scheduled: body.updated,
                        available: body.available,
                        unavailable: body.unavailable,
                        observed_generation: body.observed_generation,
                        conditions: read_conditions(body.conditions),
                        ..DaemonSetStatus::default()
                    },
                }))
            }
            Kind::Job => Object::Job(Arc::new(self.job(meta, line.job.unwrap_or_default())?)),
            Kind::EndpointSlice => {
                Object::EndpointSlice(Arc::new(read_slice(meta, line.endpoints.unwrap_or_default())))
            }
            other => bare(other, meta)?,
        })
    }

    fn job(&self, meta: Meta, body: JobBody) -> Decoded<Job> {
        Ok(Job {
            meta,
            parallelism: body.parallelism,
            completions: body.completions,
            active_deadline: None,
            backoff_limit: body.backoff_limit,
            backoff_limit_per_index: None,
            max_failed_indexes: None,
            selector: None,
            template: self.template(body.spec, Name::default())?,
            ttl: None,
            indexed: false,
            suspend: body.suspend,
            pod_failure_policy: Arc::new([]),
            replace_failed_only: false,
            status: JobStatus {
                active: body.active,
                ready: body.ready,
                succeeded: body.succeeded,
                failed: body.failed,
                start_time: body.start_time,
                completion_time: body.completion_time,
                conditions: read_conditions(body.conditions),
                ..JobStatus::default()
            },
        })
    }
}

/// An object of a kind of which the trace keeps the metadata only.
fn bare(kind: Kind, meta: Meta) -> Decoded<Object> {
    macro_rules! bare {
        ($($kind:ident($path:path)),*) => {
            match kind {
                $(Kind::$kind => Object::$kind(Arc::new({
                    let mut object = <$path>::default();
                    object.meta = meta;
                    object
                })),)*
                other => return Err(unknown(other.as_str(), "a kind that a trace's `written` may have")),
            }
        };
    }
    use crate::model::{config, device, policy, service, storage, workload};
    // A CronJob's default is written out, because its template has none.
    if kind == Kind::CronJob {
        let template = Job {
            meta: Meta::default(),
            parallelism: 1,
            completions: None,
            active_deadline: None,
            backoff_limit: 6,
            backoff_limit_per_index: None,
            max_failed_indexes: None,
            selector: None,
            template: Arc::default(),
            ttl: None,
            indexed: false,
            suspend: false,
            pod_failure_policy: Arc::new([]),
            replace_failed_only: false,
            status: JobStatus::default(),
        };
        return Ok(Object::CronJob(Arc::new(workload::CronJob {
            meta,
            schedule: Name::default(),
            time_zone: Name::default(),
            starting_deadline: None,
            concurrency: Default::default(),
            suspend: false,
            successful_history: 3,
            failed_history: 1,
            job_template: Arc::new(template),
            last_schedule: None,
            last_successful: None,
            active: Vec::new(),
        })));
    }
    Ok(bare!(
        ControllerRevision(workload::ControllerRevision),
        Service(service::Service),
        Namespace(config::Namespace),
        ConfigMap(config::ConfigData),
        Secret(config::ConfigData),
        PersistentVolumeClaim(storage::PersistentVolumeClaim),
        PersistentVolume(storage::PersistentVolume),
        StorageClass(storage::StorageClass),
        CSINode(storage::CsiNode),
        CSIDriver(storage::CsiDriver),
        CSIStorageCapacity(storage::CsiStorageCapacity),
        VolumeAttachment(storage::VolumeAttachment),
        DeviceClass(device::DeviceClass),
        ResourceClaim(device::ResourceClaim),
        ResourceClaimTemplate(device::ResourceClaimTemplate),
        ResourceSlice(device::ResourceSlice),
        PodDisruptionBudget(policy::PodDisruptionBudget),
        PriorityClass(policy::PriorityClass),
        LimitRange(policy::LimitRange),
        ResourceQuota(policy::ResourceQuota),
        Lease(config::Lease)
    ))
}

enum LineKind {
    Record,
    Spec,
    End,
}

/// What a line is: by its beginning as simlet writes it, else by its fields.
fn which_line(text: &str) -> Decoded<LineKind> {
    for (beginning, kind) in
        [("{\"id\":", LineKind::Record), ("{\"spec\":", LineKind::Spec), ("{\"end\":", LineKind::End)]
    {
        if text.starts_with(beginning) {
            return Ok(kind);
        }
    }
    let fields: serde_json::Map<String, serde_json::Value> = parse(text)?;
    if fields.contains_key("record") {
        Ok(LineKind::Record)
    } else if fields.contains_key("end") {
        Ok(LineKind::End)
    } else if fields.contains_key("spec") {
        Ok(LineKind::Spec)
    } else {
        Err(Problem::Json("neither a record, nor a spec, nor the end".to_owned()))
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Decoded<T> {
    serde_json::from_str(text).map_err(|error| {
        // The line is ours to say; serde_json's is always 1.
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or(&text);
        Problem::Json(format!("{text}, at column {}", error.column()))
    })
}

fn read_header(text: &str) -> Decoded<Header> {
    let fields: serde_json::Value = serde_json::from_str(text).map_err(|_| Problem::NotATrace)?;
    if fields.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
        return Err(Problem::NotATrace);
    }
    let version = fields.get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if version != u64::from(VERSION) {
        return Err(Problem::Version(version as u32));
    }
    let line: HeaderLine = parse(text)?;
    Ok(Header {
        name: line.name,
        description: line.description,
        seed: line.seed,
        kubernetes: line.kubernetes,
        command: line.command,
        epoch: line.epoch,
        sources: line.sources.into_iter().map(|file| SourceFile { name: file.name, text: file.text }).collect(),
        passed_over: line.passed_over.into_iter().map(|kind| (kind.kind, kind.count)).collect(),
        not_modelled: line.not_modelled.into_iter().map(|field| (field.kind, field.field, field.count)).collect(),
        warnings: line.warnings,
    })
}

fn read_footer(line: EndLine) -> Decoded<Footer> {
    let digest = u64::from_str_radix(&line.digest, 16)
        .map_err(|_| unknown(&line.digest, "a digest of 16 hexadecimal digits"))?;
    let expectations = line.expectations.into_iter().map(|line| Expectation {
        name: line.name,
        when: line.when,
        text: line.text,
        source: line.source.map(Source::from),
        held: line.held,
        measured: line.measured,
        broken: line.broken,
        error: line.error,
        objects: line.objects,
        details: line.details,
        share: line.share.map(|(least, most, held_here)| Share { least, most, held_here }),
    });
    Ok(Footer {
        end: line.end,
        reason: line.reason,
        events: line.events,
        digest,
        expectations: expectations.collect(),
        invariants: line.invariants,
    })
}

fn unknown(word: &str, expected: &'static str) -> Problem {
    Problem::UnknownWord { word: word.to_owned(), expected }
}

fn word<T: Copy>(word: Name, all: &[T], as_str: fn(T) -> &'static str, expected: &'static str) -> Decoded<T> {
    all.iter().copied().find(|each| word == *as_str(*each)).ok_or_else(|| unknown(&word, expected))
}

fn caused_by(source: Option<At>) -> CausedBy {
    CausedBy { source: source.map(Source::from) }
}

fn read_pod_ref(line: PodLine) -> PodRef {
    PodRef { namespace: line.namespace, name: line.name, uid: line.uid }
}

fn read_key(line: KeyLine) -> Key {
    Key { kind: line.kind, namespace: line.namespace, name: line.name }
}

fn read_event(line: EventLine) -> Decoded<Event> {
    let about = line.about;
    Ok(Event {
        meta: Meta { namespace: line.namespace, name: line.name, ..Meta::default() },
        involved: ObjectReference {
            kind: about.kind,
            namespace: about.namespace,
            name: about.name,
            uid: line.about_uid,
            field_path: line.field_path,
        },
        kind: word(line.kind, &[EventType::Normal, EventType::Warning], EventType::as_str, "Normal or Warning")?,
        reason: line.reason,
        message: line.message,
        count: line.count,
        first: line.first,
        last: line.last,
        component: line.component,
        host: line.host,
    })
}

fn read_diagnosis(lines: Vec<VerdictLine>) -> Diagnosis {
    let verdict = |line: VerdictLine| NodeVerdict {
        node: line.node,
        verdict: match (line.rejected_by, line.score) {
            (Some(plugin), _) => Verdict::Rejected { plugin, reasons: line.reasons },
            (None, Some(total)) => Verdict::Scored { total, scores: line.scores },
            (None, None) => Verdict::NotTried,
        },
    };
    Diagnosis { nodes: lines.into_iter().map(verdict).collect(), ..Diagnosis::default() }
}

fn read_meta(line: &mut ObjectLine) -> Meta {
    Meta {
        namespace: line.namespace,
        name: line.name,
        uid: line.uid,
        resource_version: line.resource_version,
        generation: line.generation,
        labels: Labels::new(std::mem::take(&mut line.labels)),
        owner: line.owner.take().map(|owner| OwnerReference {
            kind: owner.kind,
            name: owner.name,
            uid: owner.uid,
            block_deletion: false,
        }),
        created: line.created,
        deletion: line.deletion.take().map(|deletion| Deletion { at: deletion.at, grace: deletion.grace }),
        source: line.source.map(Source::from),
        ..Meta::default()
    }
}

fn read_conditions(lines: Vec<ConditionLine>) -> Conditions {
    lines
        .into_iter()
        .map(|line| Condition {
            kind: line.kind,
            status: line.status,
            reason: line.reason,
            message: line.message,
            last_transition: line.since,
            last_update: line.updated,
        })
        .collect()
}

fn read_pod(meta: Meta, spec: Arc<PodSpec>, body: PodBody) -> Decoded<Pod> {
    let all = [Phase::Pending, Phase::Running, Phase::Succeeded, Phase::Failed, Phase::Unknown];
    let containers = |lines: Vec<ContainerLine>| lines.into_iter().map(read_container).collect::<Decoded<Vec<_>>>();
    Ok(Pod {
        meta,
        spec,
        node: body.node,
        status: PodStatus {
            phase: word(body.phase, &all, Phase::as_str, "a phase")?,
            reason: body.reason,
            message: body.message,
            conditions: read_conditions(body.conditions),
            init_containers: containers(body.init_containers)?,
            containers: containers(body.containers)?,
            ephemeral_containers: containers(body.ephemeral_containers)?,
            start_time: body.start_time,
            pod_ip: body.pod_ip,
            host_ip: None,
            nominated_node: body.nominated_node,
            claims: Vec::new(),
            extended_claim: None,
            // Not written: what containers run with while a resize is under way.
            resizing: None,
        },
    })
}

fn read_container(line: ContainerLine) -> Decoded<ContainerStatus> {
    let state = match (line.state.as_str(), line.terminated) {
        ("waiting", _) => ContainerState::Waiting { reason: line.reason, message: line.message },
        ("running", _) => ContainerState::Running { started_at: line.started_at.unwrap_or_default() },
        ("terminated", Some(terminated)) => ContainerState::Terminated(Box::new(read_terminated(terminated))),
        (other, _) => {
            return Err(unknown(other, "a state: waiting, running, or terminated with `terminated` beside it"));
        }
    };
    Ok(ContainerStatus {
        name: line.name,
        state,
        last_terminated: line.last_terminated.map(|line| Box::new(read_terminated(line))),
        ready: line.ready,
        started: line.started,
        restart_count: line.restarts,
        image: line.image,
        container_id: line.container_id,
        runtime_id: line.runtime_id,
        image_id: line.image_id,
    })
}

fn read_terminated(line: TerminatedLine) -> Terminated {
    Terminated {
        exit_code: line.exit_code,
        signal: line.signal,
        reason: line.reason,
        message: line.message,
        started_at: line.started_at,
        finished_at: line.finished_at,
        container_id: line.container_id,
        runtime_id: line.runtime_id,
    }
}

fn read_effect(effect: Name) -> Decoded<TaintEffect> {
    let all = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];
    word(effect, &all, TaintEffect::as_str, "a taint's effect")
}

fn read_node(meta: Meta, body: NodeBody) -> Decoded<Node> {
    let taint = |line: TaintLine| {
        Ok(Taint { key: line.key, value: line.value, effect: read_effect(line.effect)?, added: line.added })
    };
    let allocatable = Resources {
        cpu: MilliCpu(body.allocatable.cpu.unwrap_or(0)),
        memory: Bytes(body.allocatable.memory.unwrap_or(0)),
        ephemeral_storage: Bytes(body.allocatable.ephemeral_storage.unwrap_or(0)),
        pods: body.allocatable.pods,
        extended: SmallVec::from_vec(body.allocatable.extended),
    };
    Ok(Node {
        meta,
        spec: NodeSpec {
            unschedulable: body.unschedulable,
            taints: body.taints.into_iter().map(taint).collect::<Decoded<_>>()?,
            provider_id: Name::default(),
        },
        status: NodeStatus { allocatable, conditions: read_conditions(body.conditions), ..NodeStatus::default() },
    })
}

fn read_slice(meta: Meta, body: EndpointsBody) -> EndpointSlice {
    let endpoint = |line: EndpointLine| Endpoint {
        pod: line.pod,
        ip: line.ip,
        node: line.node,
        zone: line.zone,
        ready: line.ready,
        serving: line.serving,
        terminating: line.terminating,
    };
    EndpointSlice {
        meta,
        service: body.service,
        ports: Vec::new(),
        endpoints: body.endpoints.into_iter().map(endpoint).collect(),
    }
}

fn read_list(line: AmountsLine) -> ResourceList {
    ResourceList {
        cpu: line.cpu.map(MilliCpu),
        memory: line.memory.map(Bytes),
        ephemeral_storage: line.ephemeral_storage.map(Bytes),
        extended: SmallVec::from_vec(line.extended),
    }
}

fn read_spec(line: SpecLine) -> Decoded<PodSpec> {
    let containers = |lines: Vec<ContainerSpecLine>| -> Arc<[Container]> {
        let container = |line: ContainerSpecLine| Container {
            name: line.name,
            image: line.image,
            restart_policy: line.sidecar.then_some(RestartPolicy::Always),
            resources: crate::model::pod::ResourceRequirements {
                requests: read_list(line.requests),
                limits: read_list(line.limits),
            },
            source: line.source.map(Source::from),
            ..Container::default()
        };
        lines.into_iter().map(container).collect()
    };
    let toleration = |line: TolerationLine| {
        Ok(Toleration {
            key: line.key,
            operator: match line.operator.as_str() {
                "Equal" => TolerationOperator::Equal,
                "Exists" => TolerationOperator::Exists,
                "Gt" => TolerationOperator::Gt,
                "Lt" => TolerationOperator::Lt,
                other => return Err(unknown(other, "a toleration's operator")),
            },
            value: line.value,
            effect: line.effect.map(read_effect).transpose()?,
            seconds: line.seconds,
        })
    };
    let spread = |line: wire::SpreadLine| TopologySpreadConstraint {
        max_skew: line.max_skew,
        topology_key: line.topology_key,
        hard: line.hard,
        selector: None,
        min_domains: None,
        honor_node_affinity: true,
        honor_node_taints: false,
        match_label_keys: Vec::new(),
    };
    Ok(PodSpec {
        containers: containers(line.containers),
        init_containers: containers(line.init_containers),
        ephemeral_containers: containers(line.ephemeral_containers),
        restart_policy: match line.restart_policy.as_str() {
            "Always" => RestartPolicy::Always,
            "OnFailure" => RestartPolicy::OnFailure,
            "Never" => RestartPolicy::Never,
            other => return Err(unknown(other, "a restart policy")),
        },
        termination_grace: line.termination_grace,
        priority: line.priority,
        scheduler_name: line.scheduler_name,
        node_selector: Labels::new(line.node_selector),
        tolerations: line.tolerations.into_iter().map(toleration).collect::<Decoded<Vec<_>>>()?.into(),
        topology_spread: line.topology_spread.into_iter().map(spread).collect(),
        scheduling_gates: line.scheduling_gates.into(),
        source: line.source.map(Source::from),
        ..PodSpec::default()
    })
}
