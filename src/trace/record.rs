//! The records.

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::{Key, Name, Object, Source, Text, Uid};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A user acted: a line of the timeline, a file applied, an action of the command line.
    Action { text: Text, by: CausedBy },
    /// A fault began or (undone) ended.
    Fault { text: Text, undone: bool, by: CausedBy },
    /// The API server stored a change. Events and computed lease renewals are not among them.
    Written(Change, Object),
    /// The API server stored an Event (again, with a greater count).
    Event(Arc<crate::model::Event>),
    /// A scheduling attempt ended.
    Attempt { pod: PodRef, attempt: u32, outcome: Outcome, diagnosis: Option<Arc<Diagnosis>> },
    /// A stage of a pod's start began or ended, as the kubelet saw it.
    Stage { pod: PodRef, container: Name, stage: Stage, edge: StageEdge },
    /// A container's process ended.
    Exited { pod: PodRef, container: Name, exit_code: i32, reason: Name, after: Duration },
    /// A probe's result was published after it changed, or a probe failed.
    Probed { pod: PodRef, container: Name, purpose: crate::protocol::probe::Purpose, success: bool, message: Text },
    /// A kubelet or controller decided something that no other record shows, in plain words about an object:
    /// "back-off 10s", "wait for the next relist".
    Decided { object: Key, by: Name, text: Text },
    /// A runtime answered a kubelet's call. Recorded where containers are real, and where a run is asked for it.
    Called { node: Name, method: Name, took: Duration, failed: bool },
    /// A node's power, kubelet, runtime or network changed by a fault or its end.
    NodeFault { node: Name, what: Text },
    /// An invariant of simlet itself was broken.
    Invariant { text: Text },
}

/// The line that a user wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CausedBy {
    pub source: Option<Source>,
}

/// How an object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Created,
    Modified,
    Deleted,
}

/// A pod by namespace, name and uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    pub namespace: Name,
    pub name: Name,
    pub uid: Uid,
}

/// How a scheduling attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Scheduled {
        node: Name,
    },
    Unschedulable {
        message: Text,
    },
    /// A plug-in or the binding failed.
    Error {
        message: Text,
    },
}

/// Every node's verdict in one attempt. Made only when the run is asked to explain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// In the order of the nodes' names.
    pub nodes: Vec<NodeVerdict>,
    /// The weights of the plug-ins that scored: a final score is the normalised one times the weight.
    pub weights: Vec<(Name, i64)>,
    /// What would let the pod in, each on its own and each tried out: `800m less cpu`. The least first.
    pub remedies: Vec<Text>,
}

/// One node's verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeVerdict {
    pub node: Name,
    pub verdict: Verdict,
}

/// What a node's filters and scores said.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The first plug-in that rejected it, with all its reasons.
    Rejected { plugin: Name, reasons: Vec<Text> },
    /// By plug-in: raw score, and final (normalised and weighted) score.
    Scored { total: i64, scores: Vec<(Name, i64, i64)> },
    /// Not looked at, because enough nodes were found before.
    NotTried,
}

/// A stage of a pod's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From the binding until the kubelet has heard of it.
    Watch,
    /// Waiting for volumes.
    Volumes,
    /// RunPodSandbox.
    Sandbox,
    /// From wanting the image until it is there, queueing included.
    Pull,
    /// CreateContainer.
    Create,
    /// StartContainer.
    Start,
    /// postStart hook.
    PostStart,
    /// From the start of the last container until the pod's Ready condition is True.
    Ready,
}

/// The beginning or the end of a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum StageEdge {
    Begin,
    End,
    /// With the error's text.
    Failed(Text),
}
