//! Conditions of pods, nodes and workloads.

use smallvec::SmallVec;

use crate::kernel::Time;

use super::{Name, Text};

/// A condition's status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionStatus {
    True,
    False,
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> ConditionStatus {
        if holds { ConditionStatus::True } else { ConditionStatus::False }
    }
}

/// A condition of an object's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// `type`: `Ready`, `PodScheduled`, `Progressing`, …
    pub kind: Name,
    pub status: ConditionStatus,
    pub reason: Name,
    pub message: Text,
    /// When the status last changed. Printed cut to the second.
    pub last_transition: Time,
    /// When it was last written: `lastHeartbeatTime` of nodes, `lastUpdateTime` of Deployments, `lastProbeTime`.
    pub last_update: Time,
}

/// The conditions of one object, in the order in which Kubernetes lists them.
pub type Conditions = SmallVec<[Condition; 0]>;

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == *kind)
}

/// True if there is a condition of this type with the status `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == ConditionStatus::True)
}

/// Sets the condition of this type; its transition time moves only when the status changes. True if anything changed.
pub fn set(
    conditions: &mut Conditions,
    now: Time,
    kind: Name,
    status: ConditionStatus,
    reason: Name,
    message: Text,
) -> bool {
    match conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(condition) => {
            if condition.status == status && condition.reason == reason && condition.message == message {
                return false;
            }
            if condition.status != status {
                condition.last_transition = now;
            }
            condition.status = status;
            condition.reason = reason;
            condition.message = message;
            condition.last_update = now;
            true
        }
        None => {
            conditions.push(Condition { kind, status, reason, message, last_transition: now, last_update: now });
            true
        }
    }
}
