//! What `kubectl` does: apply, scale, drain, cordon, delete, rollout, set image.

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::{Key, Kind, Name, Object, Selector, Source, Text};
use crate::protocol::api::{Propagation, Request, Response};

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
    },
    Cordon {
        nodes: Target,
    },
    Uncordon {
        nodes: Target,
    },
    Drain(Drain),
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
    SetImage {
        target: Key,
        images: Vec<(Name, Name)>,
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

/// Which objects an action is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    Names(Vec<Key>),
    Matching { kind: Kind, namespace: Name, selector: Selector },
    All { kind: Kind, namespace: Name },
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
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the client says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<Request>),
}
