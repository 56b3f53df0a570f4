//! How records look in a trace file: the shapes of its lines, with their names, and nothing else.
//!
//! A line is a JSON object. Its names are Kubernetes' own where Kubernetes has one, in `snake_case`; times and durations
//! are integers of nanoseconds; what is empty, zero or false is left out. Digests are texts of 16 hexadecimal digits,
//! because many JSON readers round integers beyond 2⁵³.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kernel::{Cause, Duration, Moment, Time};
use crate::model::{ConditionStatus, Kind, Name, Source, Text, Uid};

/// The first line's `format`.
pub(super) const FORMAT: &str = "simlet-trace";
/// What `rollout restart` sets.
pub(super) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Grows with each change that an older reader would misread.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub format: String,
    pub version: u32,
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub description: String,
    pub seed: u64,
    pub kubernetes: String,
    pub command: String,
    /// Unix time of time 0, in seconds.
    pub epoch: i64,
    #[serde(default)]
    pub sources: Vec<SourceFileLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub passed_over: Vec<PassedOver>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub not_modelled: Vec<NotModelled>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub warnings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SourceFileLine {
    pub name: String,
    pub text: String,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct PassedOver {
    pub kind: String,
    pub count: u32,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct NotModelled {
    pub kind: String,
    pub field: String,
    pub count: u32,
}

/// A record.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordLine {
    pub id: Cause,
    pub cause: Cause,
    pub time: Time,
    #[serde(flatten)]
    pub what: What,
}

/// The last line.
#[derive(Serialize, Deserialize)]
pub(super) struct EndLine {
    pub end: Time,
    pub reason: String,
    pub events: u64,
    pub digest: String,
    #[serde(default)]
    pub expectations: Vec<ExpectationLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub invariants: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ExpectationLine {
    pub name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub when: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Option<At>,
    pub held: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub measured: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub broken: Vec<(Time, Option<Time>)>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub error: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub objects: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub details: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub share: Option<(u32, u32, bool)>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct At {
    pub file: u32,
    pub line: u32,
}

/// What a record says; `record` names its kind.
#[derive(Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(super) enum What {
    Action {
        text: Text,
        #[serde(default, skip_serializing_if = "is_default")]
        source: Option<At>,
    },
    Fault {
        text: Text,
        #[serde(default, skip_serializing_if = "is_default")]
        undone: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        source: Option<At>,
    },
    Written {
        change: Name,
        object: Box<ObjectLine>,
    },
    Event(Box<EventLine>),
    Attempt {
        pod: PodLine,
        attempt: u32,
        outcome: Name,
        #[serde(default, skip_serializing_if = "is_default")]
        node: Name,
        #[serde(default, skip_serializing_if = "is_default")]
        message: Text,
        #[serde(default, skip_serializing_if = "is_default")]
        diagnosis: Option<Vec<VerdictLine>>,
        #[serde(default, skip_serializing_if = "is_default")]
        weights: Vec<(Name, i64)>,
        #[serde(default, skip_serializing_if = "is_default")]
        remedies: Vec<Text>,
    },
    Stage {
        pod: PodLine,
        #[serde(default, skip_serializing_if = "is_default")]
        container: Name,
        stage: Name,
        edge: Name,
        #[serde(default, skip_serializing_if = "is_default")]
        message: Text,
    },
    Exited {
        pod: PodLine,
        container: Name,
        exit_code: i32,
        #[serde(default, skip_serializing_if = "is_default")]
        reason: Name,
        after: Duration,
    },
    Probed {
        pod: PodLine,
        container: Name,
        probe: Name,
        success: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        message: Text,
    },
    Decided {
        object: KeyLine,
        by: Name,
        text: Text,
    },
    Called {
        node: Name,
        method: Name,
        took: Duration,
        #[serde(default, skip_serializing_if = "is_default")]
        failed: bool,
    },
    NodeFault {
        node: Name,
        what: Text,
    },
    Invariant {
        text: Text,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct PodLine {
    pub namespace: Name,
    pub name: Name,
    pub uid: Uid,
}

#[derive(Serialize, Deserialize)]
pub(super) struct KeyLine {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Name,
    pub name: Name,
}

/// One node's verdict: `rejected_by` with `reasons`, or `score` with `scores` (plug-in, raw, final), or neither (not tried).
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct VerdictLine {
    pub node: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub rejected_by: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reasons: Vec<Text>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scores: Vec<(Name, i64, i64)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EventLine {
    pub namespace: Name,
    pub name: Name,
    pub about: KeyLine,
    pub about_uid: Uid,
    #[serde(default, skip_serializing_if = "is_default")]
    pub field_path: Name,
    #[serde(rename = "type")]
    pub kind: Name,
    pub reason: Name,
    pub message: Text,
    pub count: u32,
    pub first: Time,
    pub last: Time,
    pub component: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub host: Name,
}

/// What the reports need of an object. Not the whole Kubernetes object: `final/*.yaml` has that.
#[derive(Serialize, Deserialize)]
pub(super) struct ObjectLine {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespace: Name,
    pub name: Name,
    pub uid: Uid,
    pub resource_version: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub generation: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub owner: Option<OwnerLine>,
    pub created: Time,
    #[serde(default, skip_serializing_if = "is_default")]
    pub deletion: Option<DeletionLine>,
    #[serde(default, skip_serializing_if = "is_default", with = "pairs")]
    pub labels: Vec<(Name, Name)>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Option<At>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod: Option<PodBody>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Option<NodeBody>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub workload: Option<WorkloadBody>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub job: Option<JobBody>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub endpoints: Option<EndpointsBody>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct OwnerLine {
    pub kind: Kind,
    pub name: Name,
    pub uid: Uid,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct DeletionLine {
    pub at: Time,
    pub grace: Duration,
}

/// A pod. `spec` is the number of a spec line.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PodBody {
    pub spec: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub nominated_node: Option<Name>,
    pub phase: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Text,
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_time: Option<Time>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pod_ip: Option<std::net::Ipv4Addr>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<ConditionLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub init_containers: Vec<ContainerLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub containers: Vec<ContainerLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ephemeral_containers: Vec<ContainerLine>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct ConditionLine {
    #[serde(rename = "type")]
    pub kind: Name,
    pub status: ConditionStatus,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Text,
    /// `lastTransitionTime`.
    pub since: Time,
    /// `lastHeartbeatTime`, `lastUpdateTime` or `lastProbeTime`.
    pub updated: Time,
}

/// A container's status; `state` is `waiting`, `running` or `terminated`.
#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct ContainerLine {
    pub name: Name,
    pub state: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Text,
    #[serde(default, skip_serializing_if = "is_default")]
    pub started_at: Option<Moment>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminated: Option<TerminatedLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_terminated: Option<TerminatedLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ready: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub started: Option<bool>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub restarts: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub image: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub container_id: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime_id: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_id: Name,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct TerminatedLine {
    pub exit_code: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub signal: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: Text,
    pub started_at: Moment,
    pub finished_at: Moment,
    #[serde(default, skip_serializing_if = "is_default")]
    pub container_id: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub runtime_id: Name,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeBody {
    #[serde(default, skip_serializing_if = "is_default")]
    pub unschedulable: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub taints: Vec<TaintLine>,
    pub conditions: Vec<ConditionLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub allocatable: AmountsLine,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct TaintLine {
    pub key: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Name,
    pub effect: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub added: Option<Time>,
}

/// CPU in thousandths of a core, memory and storage in bytes.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AmountsLine {
    #[serde(default, skip_serializing_if = "is_default")]
    pub cpu: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ephemeral_storage: Option<i64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub pods: i64,
    #[serde(default, skip_serializing_if = "is_default", with = "amounts")]
    pub extended: Vec<(Name, i64)>,
}

/// A Deployment, ReplicaSet, ReplicationController, StatefulSet or DaemonSet. Of a DaemonSet `replicas` is
/// `desiredNumberScheduled`.
#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct WorkloadBody {
    /// The template's spec line.
    pub spec: u32,
    /// The template's annotation `kubectl.kubernetes.io/restartedAt`, by which `rollout restart` changes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restarted_at: Name,
    /// Wanted.
    pub replicas: i32,
    /// `status.replicas`, or `currentNumberScheduled`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub current: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ready: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub updated: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub available: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub unavailable: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminating: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub observed_generation: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress_deadline: Duration,
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<ConditionLine>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct JobBody {
    pub spec: u32,
    pub parallelism: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub completions: Option<i32>,
    pub backoff_limit: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspend: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub active: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ready: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub succeeded: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub failed: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub start_time: Option<Time>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub completion_time: Option<Time>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub conditions: Vec<ConditionLine>,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct EndpointsBody {
    pub service: Name,
    pub endpoints: Vec<EndpointLine>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct EndpointLine {
    pub pod: Name,
    pub ip: std::net::Ipv4Addr,
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub zone: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ready: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub serving: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub terminating: bool,
}

/// What the reports need of a pod's spec. Stands before the first record that refers to it; replicas share one.
#[derive(Serialize, Deserialize)]
pub(super) struct SpecLine {
    pub spec: u32,
    pub containers: Vec<ContainerSpecLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub init_containers: Vec<ContainerSpecLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ephemeral_containers: Vec<ContainerSpecLine>,
    pub restart_policy: Name,
    /// `terminationGracePeriodSeconds`.
    pub termination_grace: Duration,
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheduler_name: Name,
    #[serde(default, skip_serializing_if = "is_default", with = "pairs")]
    pub node_selector: Vec<(Name, Name)>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tolerations: Vec<TolerationLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub topology_spread: Vec<SpreadLine>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub scheduling_gates: Vec<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Option<At>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct ContainerSpecLine {
    pub name: Name,
    pub image: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub sidecar: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    pub requests: AmountsLine,
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: AmountsLine,
    #[serde(default, skip_serializing_if = "is_default")]
    pub source: Option<At>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct TolerationLine {
    #[serde(default, skip_serializing_if = "is_default")]
    pub key: Name,
    pub operator: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub value: Name,
    #[serde(default, skip_serializing_if = "is_default")]
    pub effect: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub seconds: Option<Duration>,
}

#[derive(PartialEq, Serialize, Deserialize)]
pub(super) struct SpreadLine {
    pub max_skew: i64,
    pub topology_key: Name,
    /// `DoNotSchedule`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hard: bool,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Pairs as an object, in their order.
mod pairs {
    use super::*;

    pub fn serialize<S: Serializer>(pairs: &[(Name, Name)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(pairs.iter().copied())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Name, Name)>, D::Error> {
        std::collections::BTreeMap::<Name, Name>::deserialize(from).map(|map| map.into_iter().collect())
    }
}

/// The same for amounts.
mod amounts {
    use super::*;

    pub fn serialize<S: Serializer>(pairs: &[(Name, i64)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(pairs.iter().copied())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(Name, i64)>, D::Error> {
        std::collections::BTreeMap::<Name, i64>::deserialize(from).map(|map| map.into_iter().collect())
    }
}

impl From<Source> for At {
    fn from(source: Source) -> At {
        At { file: source.file, line: source.line }
    }
}

impl From<At> for Source {
    fn from(at: At) -> Source {
        Source { file: at.file, line: at.line }
    }
}

macro_rules! as_text {
    ($type:ty, $write:expr, $read:expr, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(($write)(self))
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($what)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        ($read)(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
                    }
                }
                from.deserialize_str(Visitor)
            }
        }
    };
}

as_text!(Name, |name: &Name| name.as_str(), |text: &str| Some(Name::new(text)), "a text");
as_text!(Text, Text::as_str, |text: &str| Some(Text::new(text)), "a text");
as_text!(
    Kind,
    |kind: &Kind| kind.as_str(),
    |text: &str| Kind::ALL.iter().copied().find(|kind| kind.as_str() == text),
    "a kind such as Pod"
);
as_text!(
    ConditionStatus,
    |status: &ConditionStatus| status.as_str(),
    |text: &str| {
        let all = [ConditionStatus::True, ConditionStatus::False, ConditionStatus::Unknown];
        all.into_iter().find(|status| status.as_str() == text)
    },
    "True, False or Unknown"
);

macro_rules! as_integer {
    ($type:ty, $integer:ty, $write:expr, $read:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                ($write)(*self).serialize(to)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
                <$integer>::deserialize(from).map($read)
            }
        }
    };
}

as_integer!(Time, u64, Time::as_nanos, Time::from_nanos);
as_integer!(Moment, i64, Moment::as_nanos, Moment::from_nanos);
as_integer!(Duration, u64, Duration::as_nanos, Duration::from_nanos);
as_integer!(Uid, u64, |uid: Uid| uid.0, Uid);
as_integer!(Cause, u32, Cause::raw, Cause::from_raw);
