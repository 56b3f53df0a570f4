//! The notable things of a run, one by one; the story puts them together.

use crate::kernel::{Cause, Time};
use crate::model::{ConditionStatus, Key, Name, Text, Uid};

/// A notable thing, with the record that told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub time: Time,
    pub id: Cause,
    pub what: Happened,
}

/// What is notable.
#[derive(Clone, Debug, PartialEq)]
pub enum Happened {
    /// A user created a workload or a pod.
    Applied {
        key: Key,
    },
    /// An action, by its place in the journal.
    Action {
        index: usize,
    },
    /// A fault or its end, by its place in the journal.
    Fault {
        index: usize,
    },
    /// A node's Ready condition changed; `heard` is when the kubelet was last heard of.
    NodeReady {
        node: Name,
        ready: ConditionStatus,
        heard: Time,
        message: Text,
    },
    /// A `NoExecute` taint came or went.
    Tainted {
        node: Name,
        key: Name,
        on: bool,
    },
    Cordoned {
        node: Name,
        on: bool,
    },
    /// A pod was taken away by something else than its owner's wish.
    Lost {
        pod: Uid,
        loss: Loss,
    },
    /// A pod was made in place of a lost one.
    Replacement {
        pod: Uid,
    },
    /// A container ended, badly or against its restart policy.
    Crashed {
        pod: Uid,
        container: Name,
        exit_code: i32,
        reason: Name,
    },
    /// A liveness or startup probe had a container killed.
    ProbeKilled {
        pod: Uid,
        container: Name,
        message: Text,
    },
    ImageFailed {
        pod: Uid,
        image: Name,
        message: Text,
    },
    /// A pod's first attempt without a node.
    Unschedulable {
        pod: Uid,
        message: Text,
    },
    RolloutBegun {
        workload: Uid,
    },
    RolloutDone {
        workload: Uid,
    },
    RolloutStuck {
        workload: Uid,
        message: Text,
    },
    Scaled {
        workload: Uid,
        from: i32,
        to: i32,
    },
    JobEnded {
        workload: Uid,
        complete: bool,
        message: Text,
    },
    Endpoints {
        namespace: Name,
        service: Name,
        from: i32,
        to: i32,
    },
    /// Any other Warning Event.
    Warning {
        reason: Name,
        about: Key,
        message: Text,
    },
    Invariant {
        text: Text,
    },
}

/// How a pod was lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Loss {
    /// The taint manager deleted it: the node's first untolerated taint came then.
    Taint {
        since: Option<Time>,
    },
    /// The eviction API: drains.
    Evicted,
    Preempted {
        message: Text,
    },
    /// The pod garbage collector: its node is gone, or out of service.
    Collected,
    /// The kubelet evicted or rejected it.
    Kubelet {
        reason: Name,
        message: Text,
    },
    /// A user deleted it.
    User,
}
