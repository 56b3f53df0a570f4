//! Changes of the cluster as the queue sees them: which kind of event a change is, and who wants to hear of it.
//!
//! Kubernetes: staging/src/k8s.io/kube-scheduler/framework/types.go (ClusterEvent),
//! pkg/scheduler/framework/events.go (NodeSchedulingPropertiesChange, PodSchedulingPropertiesChange).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::{Node, Object, Pod};

use super::pod_info::SpecInfo;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Registrations for `Pod` hear of assigned and unscheduled ones.
    Pod,
    AssignedPod,
    UnscheduledPod,
    Node,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    CSINode,
    CSIDriver,
    CSIStorageCapacity,
    VolumeAttachment,
    DeviceClass,
    ResourceClaim,
    ResourceSlice,
    /// Everything.
    Wildcard,
}

/// A set of ways in which a resource changes. The order of the bits is Kubernetes'.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(pub u16);

impl Action {
    pub const ADD: Action = Action(1);
    pub const DELETE: Action = Action(1 << 1);
    pub const NODE_ALLOCATABLE: Action = Action(1 << 2);
    pub const NODE_LABEL: Action = Action(1 << 3);
    pub const NODE_TAINT: Action = Action(1 << 4);
    pub const NODE_CONDITION: Action = Action(1 << 5);
    pub const NODE_ANNOTATION: Action = Action(1 << 6);
    pub const NODE_DECLARED_FEATURE: Action = Action(1 << 7);
    pub const POD_LABEL: Action = Action(1 << 8);
    pub const POD_SCALE_DOWN: Action = Action(1 << 9);
    pub const POD_TOLERATION: Action = Action(1 << 10);
    pub const POD_GATES_ELIMINATED: Action = Action(1 << 11);
    pub const POD_GENERATED_CLAIM: Action = Action(1 << 12);
    /// A change that none of the above names.
    pub const UPDATE_OTHER: Action = Action(1 << 13);
    /// Every update.
    pub const UPDATE: Action = Action(((1 << 14) - 1) & !3);
    pub const ALL: Action = Action((1 << 14) - 1);

    /// Both.
    pub const fn or(self, other: Action) -> Action {
        Action(self.0 | other.0)
    }

    /// True if the two have something in common.
    pub const fn meets(self, other: Action) -> bool {
        self.0 & other.0 != 0
    }
}

/// A kind of change, as it happens or as a plug-in registers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterEvent {
    pub resource: Resource,
    pub action: Action,
}

impl ClusterEvent {
    /// Pods that wait too long are tried again whatever rejected them.
    pub const UNSCHEDULABLE_TIMEOUT: ClusterEvent = ClusterEvent { resource: Resource::Wildcard, action: Action::ALL };
    /// An assigned pod is gone.
    pub const ASSIGNED_POD_DELETE: ClusterEvent =
        ClusterEvent { resource: Resource::AssignedPod, action: Action::DELETE };

    /// The event of this resource and action.
    pub const fn new(resource: Resource, action: Action) -> ClusterEvent {
        ClusterEvent { resource, action }
    }

    /// True if a plug-in that registered for `self` hears of `event`.
    pub fn hears(self, event: ClusterEvent) -> bool {
        let resource = self.resource == event.resource
            || self.resource == Resource::Wildcard
            || event.resource == Resource::Wildcard
            || (self.resource == Resource::Pod
                && matches!(event.resource, Resource::AssignedPod | Resource::UnscheduledPod));
        resource && self.action.meets(event.action)
    }
}

/// An object before and after; one of them is missing when it was added or deleted.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Pod(Option<&'a Pod>, Option<&'a Pod>),
    Node(Option<&'a Node>, Option<&'a Node>),
    /// Volumes and classes.
    Other(Option<&'a Object>, Option<&'a Object>),
    None,
}

/// A change that is remembered while pods are in flight.
#[derive(Clone, Debug)]
pub struct OwnedChange {
    pub event: ClusterEvent,
    old: Option<Object>,
    new: Option<Object>,
}

impl OwnedChange {
    /// Remembers what `change` shows; costs two reference counts.
    pub fn new(event: ClusterEvent, old: Option<Object>, new: Option<Object>) -> OwnedChange {
        OwnedChange { event, old, new }
    }

    /// The change.
    pub fn change(&self) -> Change<'_> {
        match (&self.old, &self.new) {
            (None, None) => Change::None,
            (Some(Object::Pod(old)), None) => Change::Pod(Some(old), None),
            (None, Some(Object::Pod(new))) => Change::Pod(None, Some(new)),
            (Some(Object::Pod(old)), Some(Object::Pod(new))) => Change::Pod(Some(old), Some(new)),
            (Some(Object::Node(old)), None) => Change::Node(Some(old), None),
            (None, Some(Object::Node(new))) => Change::Node(None, Some(new)),
            (Some(Object::Node(old)), Some(Object::Node(new))) => Change::Node(Some(old), Some(new)),
            (old, new) => Change::Other(old.as_ref(), new.as_ref()),
        }
    }
}

/// The events that a node's update is: one for each aspect that changed, none for a mere heartbeat.
pub fn node_update(old: &Node, new: &Node) -> SmallVec<[ClusterEvent; 2]> {
    let mut events = SmallVec::new();
    let mut push = |changed: bool, action| {
        if changed {
            events.push(ClusterEvent::new(Resource::Node, action));
        }
    };
    push(old.status.allocatable != new.status.allocatable, Action::NODE_ALLOCATABLE);
    push(old.meta.labels != new.meta.labels, Action::NODE_LABEL);
    push(old.spec.taints != new.spec.taints, Action::NODE_TAINT);
    // Becoming schedulable counts as one more change of taints; becoming unschedulable helps nobody.
    push(old.spec.unschedulable && !new.spec.unschedulable, Action::NODE_TAINT);
    let conditions = |node: &Node| -> SmallVec<[_; 8]> {
        node.status.conditions.iter().map(|condition| (condition.kind, condition.status)).collect()
    };
    push(conditions(old) != conditions(new), Action::NODE_CONDITION);
    push(old.meta.annotations != new.meta.annotations, Action::NODE_ANNOTATION);
    push(old.status.declared_features != new.status.declared_features, Action::NODE_DECLARED_FEATURE);
    events
}

/// The events that a pod's update is; `UPDATE_OTHER` if none of the aspects that have one changed.
pub fn pod_update(old: &Pod, new: &Pod, resource: Resource) -> SmallVec<[ClusterEvent; 2]> {
    let mut events: SmallVec<[ClusterEvent; 2]> = SmallVec::new();
    let mut push = |changed: bool, action| {
        if changed {
            events.push(ClusterEvent::new(resource, action));
        }
    };
    push(old.meta.labels != new.meta.labels, Action::POD_LABEL);
    push(scaled_down(old, new), Action::POD_SCALE_DOWN);
    let gates = |pod: &Pod| pod.spec.scheduling_gates.is_empty();
    push(!gates(old) && gates(new), Action::POD_GATES_ELIMINATED);
    push(old.status.claims != new.status.claims, Action::POD_GENERATED_CLAIM);
    push(old.spec.tolerations.len() != new.spec.tolerations.len(), Action::POD_TOLERATION);
    if events.is_empty() {
        events.push(ClusterEvent::new(resource, Action::UPDATE_OTHER));
    }
    events
}

/// True if the pod now requests less of something.
fn scaled_down(old: &Pod, new: &Pod) -> bool {
    if Arc::ptr_eq(&old.spec, &new.spec) && SpecInfo::counts_alike(old, new) {
        return false;
    }
    let (before, after) = (SpecInfo::of(old).requests, SpecInfo::of(new).requests);
    after.cpu < before.cpu
        || after.memory < before.memory
        || after.ephemeral_storage < before.ephemeral_storage
        || before.extended.iter().any(|&(name, amount)| after.extended(name) < amount)
}
