//! What `kubectl` does: apply, scale, drain, cordon, delete, rollout, set image.
//!
//! Each action is a run of kubectl of its own: it sends its requests one after the other, as kubectl does, and goes on
//! after an error where kubectl goes on. What it would print about errors is recorded; what it does is seen in what the
//! API server writes, caused by the user's line.
//!
//! Read `parse` (kubectl's words), `sequence` (most verbs), `apply`, `rollout`, `drain`.
//!
//! Kubernetes: staging/src/k8s.io/kubectl/pkg/cmd, …/pkg/drain, …/pkg/polymorphichelpers.

mod apply;
mod debug;
mod drain;
pub mod parse;
mod resize;
mod rollout;
mod sequence;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::{Cause, Duration};
use crate::model::{Key, Kind, Name, Object, Selector, Source, Text};
use crate::protocol::api::{Answer, Call, Propagation, Request, Response, Status, StatusReason, Tag};
use crate::trace::{CausedBy, Record};

/// What the client hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// A user acts.
    Do(Box<Action>),
    Api(Box<Response>),
    Timer(Timer),
}

/// A user's action: `kubectl …`, with the line where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// As the user wrote it, for reports.
    pub text: Text,
    pub source: Option<Source>,
    pub verb: Verb,
}

/// What kubectl is told to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// `apply -f`: creates what is missing, updates what differs.
    Apply(Arc<[Object]>),
    Scale {
        target: Key,
        replicas: i32,
        current: Option<i32>,
    },
    Delete {
        target: Target,
        grace: Option<Duration>,
        force: bool,
        propagation: Propagation,
        /// `--field-selector`.
        fields: Vec<FieldRequirement>,
    },
    Cordon {
        nodes: Target,
    },
    Uncordon {
        nodes: Target,
    },
    Drain(Drain),
    /// One request to the eviction subresource for each pod, as the plug-in `kubectl evict-pod` makes it.
    Evict {
        pods: Target,
        grace: Option<Duration>,
    },
    /// Each taint to add (true) or to take away.
    Taint {
        nodes: Target,
        taints: Vec<(crate::model::Taint, bool)>,
    },
    Label {
        target: Target,
        labels: Vec<(Name, Option<Name>)>,
    },
    Annotate {
        target: Target,
        annotations: Vec<(Name, Option<Name>)>,
    },
    /// Container (`*`: all) and image.
    SetImage {
        target: Key,
        images: Vec<(Name, Name)>,
    },
    /// `patch --subresource resize`.
    Resize {
        target: Key,
        changes: Arc<[crate::protocol::api::ResizeRequest]>,
    },
    /// `debug`.
    Debug {
        target: Key,
        debug: Box<debug::Debug>,
    },
    /// The ephemeral containers of a pod as a patch makes them, or why it can't be made.
    EphemeralContainers {
        target: Key,
        containers: Result<Arc<[crate::model::Container]>, Text>,
    },
    /// `patch`. What comes of it is [`Verb::Put`], of `--subresource ephemeralcontainers` [`Verb::EphemeralContainers`]: who
    /// knows the object as JSON reckons it.
    Patch {
        target: Key,
        /// `--subresource ephemeralcontainers`.
        ephemeral_containers: bool,
        kind: PatchKind,
        patch: Arc<serde_json::Value>,
    },
    /// An object as a patch makes it, or why it can't be made.
    Put {
        target: Key,
        object: Result<Object, Text>,
    },
    RolloutRestart {
        target: Key,
    },
    RolloutUndo {
        target: Key,
        to_revision: Option<i64>,
    },
    RolloutPause {
        target: Key,
        paused: bool,
    },
}

/// One requirement of a field selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    pub field: Field,
    /// `=`, or (false) `!=`.
    pub is: bool,
    pub value: Name,
}

/// The fields by which objects can be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Name,
    Namespace,
    /// `spec.nodeName` of pods.
    NodeName,
    /// `status.phase` of pods.
    Phase,
}

impl Field {
    const ALL: [(&'static str, Field); 4] = [
        ("metadata.name", Field::Name),
        ("metadata.namespace", Field::Namespace),
        ("spec.nodeName", Field::NodeName),
        ("status.phase", Field::Phase),
    ];
}

impl FieldRequirement {
    fn holds(&self, object: &Object) -> bool {
        let pod = object.as_pod();
        let value = match self.field {
            Field::Name => object.meta().name,
            Field::Namespace => object.meta().namespace,
            Field::NodeName => pod.and_then(|pod| pod.node).unwrap_or_default(),
            Field::Phase => pod.map_or(Name::default(), |pod| Name::new(pod.status.phase.as_str())),
        };
        (value == self.value) == self.is
    }
}

/// `--type` of `kubectl patch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchKind {
    #[default]
    Strategic,
    Merge,
    Json,
}

/// Which objects an action is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Names(Vec<Key>),
    /// An empty namespace is all of them.
    Matching {
        kind: Kind,
        namespace: Name,
        selector: Selector,
    },
    All {
        kind: Kind,
        namespace: Name,
    },
}

/// `kubectl drain` with its flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Drain {
    pub nodes: Target,
    pub ignore_daemonsets: bool,
    pub delete_emptydir_data: bool,
    pub force: bool,
    pub disable_eviction: bool,
    pub grace: Option<Duration>,
    /// Zero: for ever.
    pub timeout: Duration,
    pub pod_selector: Option<Selector>,
}

/// The client's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The 5 s after a refused eviction are over.
    RetryEviction { task: u64, pod: u32 },
    /// Time to look whether an evicted pod is gone.
    LookForPod { task: u64, pod: u32 },
}

/// What the client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}

/// The effects of the client.
pub type Effects = crate::trace::Effects<In, Out>;

/// All the kubectls that run.
#[derive(Debug)]
pub struct Client {
    /// Seconds between 1970 and the run's start, for the annotation of `rollout restart`.
    epoch_seconds: i64,
    last_tag: u64,
    last_task: u64,
    /// What an answer is for: the task, and the task's own mark.
    asked: FxHashMap<Tag, (u64, u32)>,
    /// By the number of the task, in the order in which they began.
    tasks: BTreeMap<u64, Task>,
    /// What was applied last, which decides what a later apply takes away.
    applied: FxHashMap<Key, Object>,
}

/// One run of kubectl.
#[derive(Debug)]
struct Task {
    /// The user's action.
    cause: Cause,
    work: Work,
}

/// What a run of kubectl is at.
#[derive(Debug)]
enum Work {
    Sequence(sequence::Sequence),
    Apply(apply::Apply),
    Rollout(rollout::Rollout),
    Drain(Box<drain::Draining>),
}

/// What a task needs of the client while it works.
struct Hands<'c, 'f> {
    task: u64,
    last_tag: &'c mut u64,
    asked: &'c mut FxHashMap<Tag, (u64, u32)>,
    applied: &'c mut FxHashMap<Key, Object>,
    epoch_seconds: i64,
    fx: &'f mut Effects,
}

impl Client {
    /// A client in a run that begins `epoch_seconds` after 1970.
    pub fn new(epoch_seconds: i64) -> Client {
        Client {
            epoch_seconds,
            last_tag: 0,
            last_task: 0,
            asked: FxHashMap::default(),
            tasks: BTreeMap::new(),
            applied: FxHashMap::default(),
        }
    }

    /// True while an action is not finished.
    pub fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Takes a message.
    pub fn handle(&mut self, message: In, fx: &mut Effects) {
        match message {
            In::Do(action) => self.begin(*action, fx),
            In::Api(response) => {
                let Some((task, mark)) = self.asked.remove(&response.tag) else { return };
                self.with_task(task, fx, |work, hands| match work {
                    Work::Sequence(sequence) => sequence.answered(response.result, hands),
                    Work::Apply(apply) => apply.answered(response.result, hands),
                    Work::Rollout(rollout) => rollout.answered(response.result, hands),
                    Work::Drain(drain) => drain.answered(mark, response.result, hands),
                });
            }
            In::Timer(Timer::RetryEviction { task, pod }) => self.with_task(task, fx, |work, hands| match work {
                Work::Drain(drain) => drain.retry(pod, hands),
                _ => Progress::Done,
            }),
            In::Timer(Timer::LookForPod { task, pod }) => self.with_task(task, fx, |work, hands| match work {
                Work::Drain(drain) => drain.look(pod, hands),
                _ => Progress::Done,
            }),
        }
    }

    fn begin(&mut self, action: Action, fx: &mut Effects) {
        let cause = fx.record(Record::Action { text: action.text, by: CausedBy { source: action.source } });
        let work = match action.verb {
            Verb::Apply(objects) => Work::Apply(apply::Apply::new(objects)),
            Verb::SetImage { target, images } => Work::Rollout(rollout::Rollout::set_image(target, images)),
            Verb::RolloutRestart { target } => Work::Rollout(rollout::Rollout::restart(target)),
            Verb::RolloutUndo { target, to_revision } => Work::Rollout(rollout::Rollout::undo(target, to_revision)),
            Verb::RolloutPause { target, paused } => Work::Rollout(rollout::Rollout::pause(target, paused)),
            Verb::Drain(drain) => Work::Drain(Box::new(drain::Draining::new(drain))),
            other => match sequence::Sequence::new(other) {
                Some(sequence) => Work::Sequence(sequence),
                None => return,
            },
        };
        self.last_task += 1;
        let task = self.last_task;
        self.tasks.insert(task, Task { cause, work });
        self.with_task(task, fx, |work, hands| match work {
            Work::Sequence(sequence) => sequence.begin(hands),
            Work::Apply(apply) => apply.next(hands),
            Work::Rollout(rollout) => rollout.begin(hands),
            Work::Drain(drain) => drain.begin(hands),
        });
    }

    /// Lets a task work, because of the user's action, and forgets it when it is done.
    fn with_task(&mut self, task: u64, fx: &mut Effects, step: impl FnOnce(&mut Work, &mut Hands<'_, '_>) -> Progress) {
        let Some(running) = self.tasks.get_mut(&task) else { return };
        fx.because(running.cause);
        let mut hands = Hands {
            task,
            last_tag: &mut self.last_tag,
            asked: &mut self.asked,
            applied: &mut self.applied,
            epoch_seconds: self.epoch_seconds,
            fx,
        };
        if step(&mut running.work, &mut hands) == Progress::Done {
            self.tasks.remove(&task);
        }
    }
}

/// Whether a task has more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Done,
}

impl Hands<'_, '_> {
    /// Sends a request; its answer comes back to the task with `mark`.
    fn ask(&mut self, mark: u32, call: Call) {
        *self.last_tag += 1;
        let tag = Tag(*self.last_tag);
        self.asked.insert(tag, (self.task, mark));
        self.fx.send(Out::Api(Box::new(Request { tag, call })));
    }

    /// Records what kubectl says about an object; what follows is still caused by the user's action.
    fn say(&mut self, object: Key, text: impl Into<Text>) -> Cause {
        self.fx.note(Record::Decided { object, by: Name::new("kubectl"), text: text.into() })
    }

    /// Records an error of the server, as kubectl prints it.
    fn say_error(&mut self, object: Key, status: &Status) {
        let reason = match status.reason {
            StatusReason::NotFound => "NotFound",
            StatusReason::AlreadyExists => "AlreadyExists",
            StatusReason::Conflict => "Conflict",
            StatusReason::Invalid => {
                self.say(object, status.message.clone());
                return;
            }
            StatusReason::Forbidden => "Forbidden",
            StatusReason::TooManyRequests => "TooManyRequests",
            StatusReason::InternalError => "InternalError",
            StatusReason::ServiceUnavailable => "ServiceUnavailable",
            StatusReason::Timeout => "Timeout",
            StatusReason::Expired => "Expired",
        };
        self.say(object, format!("Error from server ({reason}): {}", status.message));
    }
}

/// The object of an answer.
fn object_of(result: Result<Answer, Status>) -> Result<Object, Status> {
    match result? {
        Answer::Object(object) => Ok(object),
        _ => Err(Status::new(StatusReason::InternalError, "the answer holds no object")),
    }
}

/// The objects of an answer.
fn list_of(result: Result<Answer, Status>) -> Result<Vec<Object>, Status> {
    match result? {
        Answer::List(objects) => Ok(objects),
        _ => Err(Status::new(StatusReason::InternalError, "the answer holds no list")),
    }
}

/// `deployment.apps/web`, as kubectl names an object.
fn shown(key: &Key) -> String {
    let kind = key.kind.as_str().to_ascii_lowercase();
    match key.kind.api_version().split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", key.name),
        None => format!("{kind}/{}", key.name),
    }
}

#[cfg(test)]
mod tests;
