//! The Kubernetes API as its clients use it: requests, answers, watches.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/api/errors/errors.go for the errors, pkg/registry for the verbs.

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::condition::Condition;
use crate::model::device::{Allocation, Consumer, ExtendedClaim};
use crate::model::pod::PodStatus;
use crate::model::resources::ResourceList;
use crate::model::workload::PodTemplate;
use crate::model::{Container, Key, Kind, Name, Object, Selector, Taint, Text, Uid};

/// A request of a client. The cluster adds the sender's address and brings the answer back with the same `tag`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The client's own mark for the answer; [`Tag::NONE`] if it wants none.
    pub tag: Tag,
    pub call: Call,
}

/// A client's mark on a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// No answer is wanted: the client fires and forgets, as event recorders do.
    pub const NONE: Tag = Tag(0);
}

/// The address of a client of the API server, given by the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

/// What a client asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// POST. The object passes defaulting, admission and validation.
    Create(Object),
    /// PUT of everything but the status; `metadata.resourceVersion` is the version read before (0: whatever is there).
    Update(Object),
    /// PUT of the status subresource, with the same rule.
    UpdateStatus(Object),
    /// PATCH: no version is needed, nothing else of the object changes.
    Patch(Key, Patch),
    /// GET.
    Get(Key),
    /// LIST of a kind, in one namespace if it is not empty; `selector` narrows by labels.
    List { kind: Kind, namespace: Name, selector: Selector },
    /// A list, then a watch from there on: the answer is [`Answer::Watching`], the objects come as [`WatchEvent`]s.
    Watch(Watch),
    /// DELETE.
    Delete(Key, DeleteOptions),
    /// POST to `pods/binding`.
    Bind { pod: Key, uid: Uid, node: Name },
    /// POST to `pods/eviction`: a deletion that respects PodDisruptionBudgets; refused with 429.
    Evict { pod: Key, grace: Option<Duration>, dry_run: bool },
    /// The kubelet says that from now on it renews its node's lease (period `every`, jitter 0.04), until it says something
    /// else or is cut off; and that it writes its status each `reports` though it stays the same. Stands for the periodic PUTs
    /// and PATCHes, whose effect is known in advance.
    RenewLease { node: Name, every: Duration, reports: Duration },
}

/// What a patch changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// The kubelet's status of a pod, if the pod is still the one with this uid. Conditions that the kubelet doesn't own stay.
    PodStatus { uid: Uid, status: Box<PodStatus> },
    /// One condition of a pod or node (by type), as the scheduler and the controllers write it.
    Condition(Condition),
    /// `status.nominatedNodeName` of a pod; None clears it.
    NominatedNode(Option<Name>),
    /// A node's taints to add and to take away (same key and effect).
    Taints { add: Vec<Taint>, remove: Vec<Taint> },
    /// `spec.unschedulable` of a node.
    Unschedulable(bool),
    /// `spec.replicas` through the scale subresource.
    Replicas(i32),
    /// Labels to set, or (None) to take away.
    Labels(Vec<(Name, Option<Name>)>),
    /// Annotations likewise.
    Annotations(Vec<(Name, Option<Name>)>),
    /// A workload's pod template: `set image`, `rollout restart`.
    Template(Arc<PodTemplate>),
    /// The resize subresource of a pod: amounts of containers to set; what is not named stays.
    Resize(Arc<[ResizeRequest]>),
    /// The ephemeralcontainers subresource of a pod: the whole list as it shall be.
    EphemeralContainers(Arc<[Container]>),
    /// `spec.suspend` of a Job or CronJob.
    Suspend(bool),
    /// `spec.paused` of a Deployment.
    Paused(bool),
    /// A finalizer to take away.
    RemoveFinalizer(Name),
    /// The claims that were made for a pod's templates, by their names in the pod.
    PodClaims(Vec<(Name, Option<Name>)>),
    /// The claim that the scheduler made for a pod's extended resources.
    ExtendedClaim(Arc<ExtendedClaim>),
    /// A change of a ResourceClaim's finalizer or status.
    Claim(ClaimChange),
    /// The controller of a pod that is adopted or (None) released.
    Owner(Option<crate::model::OwnerReference>),
}

/// What is changed of a ResourceClaim, as it is when the request comes: Kubernetes reads, changes and writes until nobody else
/// has written meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub enum ClaimChange {
    /// The finalizer, before an allocation is written.
    Protect,
    /// The allocation together with its first consumer. A conflict if the claim is allocated already.
    Allocate(Arc<Allocation>, Consumer),
    /// One more consumer of an allocated claim.
    Reserve(Consumer),
    /// Consumers that use it no more.
    Release(Vec<Uid>),
    /// The allocation and all consumers go, unless another pod than this uses the claim.
    Deallocate(Uid),
    /// The allocation of a claim that nobody uses goes, and its finalizer.
    Unallocate,
}

/// New amounts for a container, or (empty name) for the pod as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResizeRequest {
    pub container: Name,
    pub requests: ResourceList,
    pub limits: ResourceList,
}

/// Options of a deletion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DeleteOptions {
    /// None: the object's own (for pods `terminationGracePeriodSeconds`). Zero removes at once.
    pub grace: Option<Duration>,
    pub propagation: Propagation,
    /// Only the object with this uid.
    pub uid: Option<Uid>,
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// What a client wants to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Watch {
    pub kind: Kind,
    /// The field selector `spec.nodeName=…` of pods or `metadata.name=…` of nodes: a kubelet watches only its own.
    pub node: Option<Name>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub tag: Tag,
    pub result: Result<Answer, Status>,
}

/// A successful answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The object as it is now stored (or as it was, for a deletion).
    Object(Object),
    List(Vec<Object>),
    /// The watch is established.
    Watching,
    /// Done; there is no object to show: binding, eviction, lease.
    Done,
}

/// An error, as Kubernetes' `Status` says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub reason: StatusReason,
    pub message: Text,
    /// Seconds after which to try again: `Retry-After` of 429s.
    pub retry_after: Option<Duration>,
}

/// The reason of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusReason {
    /// 404.
    NotFound,
    /// 409: the name is taken.
    AlreadyExists,
    /// 409: somebody else has written since.
    Conflict,
    /// 422: validation.
    Invalid,
    /// 403: quota, admission.
    Forbidden,
    /// 429: a disruption budget, or flow control.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503, or the connection was refused.
    ServiceUnavailable,
    /// No answer in time.
    Timeout,
    /// 410: the watch's version is too old.
    Expired,
}

impl StatusReason {
    /// The HTTP status.
    pub fn code(self) -> u16 {
        match self {
            StatusReason::NotFound => 404,
            StatusReason::AlreadyExists | StatusReason::Conflict => 409,
            StatusReason::Invalid => 422,
            StatusReason::Forbidden => 403,
            StatusReason::TooManyRequests => 429,
            StatusReason::InternalError => 500,
            StatusReason::ServiceUnavailable => 503,
            StatusReason::Timeout => 504,
            StatusReason::Expired => 410,
        }
    }
}

impl Status {
    /// `pods "web" not found`.
    pub fn not_found(key: &Key) -> Status {
        let resource = qualified(key.kind);
        Status::new(StatusReason::NotFound, format!("{resource} \"{}\" not found", key.name))
    }

    /// `pods "web" already exists`.
    pub fn already_exists(key: &Key) -> Status {
        let resource = qualified(key.kind);
        Status::new(StatusReason::AlreadyExists, format!("{resource} \"{}\" already exists", key.name))
    }

    /// `Operation cannot be fulfilled on …: the object has been modified; please apply your changes to the latest version and try again`.
    pub fn conflict(key: &Key) -> Status {
        let resource = qualified(key.kind);
        Status::new(
            StatusReason::Conflict,
            format!(
                "Operation cannot be fulfilled on {resource} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
                key.name
            ),
        )
    }

    /// An error with this reason and message.
    pub fn new(reason: StatusReason, message: impl Into<Text>) -> Status {
        Status { reason, message: message.into(), retry_after: None }
    }
}

/// `deployments.apps`, `pods`: how errors name a resource.
fn qualified(kind: Kind) -> String {
    match kind.api_version().split_once('/') {
        Some((group, _)) => format!("{}.{group}", kind.plural()),
        None => kind.plural().to_owned(),
    }
}

/// What a watch delivers.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The beginning of a watch, or of a new one after it broke: all objects there are, in the order of their keys. Replaces
    /// what the client knew of this watch's kind.
    Listed(Watch, Box<[Object]>),
    Added(Object),
    Modified(Object),
    /// The object's last state.
    Deleted(Object),
    /// The watch broke: the connection was cut or the API server went away. The client lists and watches again, after a
    /// back-off.
    Broken(Watch),
}

impl WatchEvent {
    /// The object that was added, modified or deleted.
    pub fn object(&self) -> Option<&Object> {
        match self {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => Some(object),
            WatchEvent::Listed(..) | WatchEvent::Broken(_) => None,
        }
    }
}
