//! All kinds that the API server keeps, in one closed set.

use std::fmt;
use std::sync::Arc;

use super::config::{ConfigData, Lease, Namespace};
use super::device::{DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice};
use super::event::Event;
use super::node::Node;
use super::pod::Pod;
use super::policy::{LimitRange, PodDisruptionBudget, PriorityClass, ResourceQuota};
use super::service::{EndpointSlice, Service};
use super::storage::{
    CsiDriver, CsiNode, CsiStorageCapacity, PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment,
};
use super::workload::{ControllerRevision, CronJob, DaemonSet, Deployment, Job, ReplicaSet, StatefulSet};
use super::{Meta, Name};

macro_rules! kinds {
    ($($kind:ident($type:ty) = $plural:literal, $group_version:literal, $short:literal, $namespaced:literal;)*) => {
        /// A kind of object that simlet simulates.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind,)*];

            /// The kind's name: `Pod`.
            pub fn as_str(self) -> &'static str {
                match self { $(Kind::$kind => stringify!($kind),)* }
            }

            /// The resource's name: `pods`.
            pub fn plural(self) -> &'static str {
                match self { $(Kind::$kind => $plural,)* }
            }

            /// `apiVersion`: `apps/v1`.
            pub fn api_version(self) -> &'static str {
                match self { $(Kind::$kind => $group_version,)* }
            }

            /// kubectl's short name, or an empty text: `po`.
            pub fn short_name(self) -> &'static str {
                match self { $(Kind::$kind => $short,)* }
            }

            /// False for cluster-scoped kinds.
            pub fn is_namespaced(self) -> bool {
                match self { $(Kind::$kind => $namespaced,)* }
            }

            /// The kind that a user means by `word`: its name, plural, singular or short name in any case, with or without
            /// `.group` behind it.
            pub fn parse(word: &str) -> Option<Kind> {
                let lower = word.to_ascii_lowercase();
                let (resource, group) = lower.split_once('.').unwrap_or((&lower, ""));
                Kind::ALL.iter().copied().find(|kind| {
                    let of_kind = kind.api_version().split_once('/').map_or("", |(group, _)| group);
                    (group.is_empty() || of_kind == group)
                        && (resource == kind.plural()
                            || resource == kind.as_str().to_ascii_lowercase()
                            || (!kind.short_name().is_empty() && resource == kind.short_name()))
                })
            }
        }

        /// An object, shared.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object { $($kind(Arc<$type>),)* }

        impl Object {
            /// The object's kind.
            pub fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind,)* }
            }

            /// The object's metadata.
            pub fn meta(&self) -> &Meta {
                match self { $(Object::$kind(object) => &object.meta,)* }
            }

            /// The object's metadata to change; copies the object if it is shared.
            pub fn meta_mut(&mut self) -> &mut Meta {
                match self { $(Object::$kind(object) => &mut Arc::make_mut(object).meta,)* }
            }
        }
    };
}

kinds! {
    Pod(Pod) = "pods", "v1", "po", true;
    Node(Node) = "nodes", "v1", "no", false;
    ReplicaSet(ReplicaSet) = "replicasets", "apps/v1", "rs", true;
    ReplicationController(ReplicaSet) = "replicationcontrollers", "v1", "rc", true;
    Deployment(Deployment) = "deployments", "apps/v1", "deploy", true;
    StatefulSet(StatefulSet) = "statefulsets", "apps/v1", "sts", true;
    DaemonSet(DaemonSet) = "daemonsets", "apps/v1", "ds", true;
    Job(Job) = "jobs", "batch/v1", "", true;
    CronJob(CronJob) = "cronjobs", "batch/v1", "cj", true;
    ControllerRevision(ControllerRevision) = "controllerrevisions", "apps/v1", "", true;
    Service(Service) = "services", "v1", "svc", true;
    EndpointSlice(EndpointSlice) = "endpointslices", "discovery.k8s.io/v1", "", true;
    Namespace(Namespace) = "namespaces", "v1", "ns", false;
    ConfigMap(ConfigData) = "configmaps", "v1", "cm", true;
    Secret(ConfigData) = "secrets", "v1", "", true;
    PersistentVolumeClaim(PersistentVolumeClaim) = "persistentvolumeclaims", "v1", "pvc", true;
    PersistentVolume(PersistentVolume) = "persistentvolumes", "v1", "pv", false;
    StorageClass(StorageClass) = "storageclasses", "storage.k8s.io/v1", "sc", false;
    PodDisruptionBudget(PodDisruptionBudget) = "poddisruptionbudgets", "policy/v1", "pdb", true;
    PriorityClass(PriorityClass) = "priorityclasses", "scheduling.k8s.io/v1", "pc", false;
    LimitRange(LimitRange) = "limitranges", "v1", "limits", true;
    ResourceQuota(ResourceQuota) = "resourcequotas", "v1", "quota", true;
    Lease(Lease) = "leases", "coordination.k8s.io/v1", "", true;
    Event(Event) = "events", "v1", "ev", true;
    CSINode(CsiNode) = "csinodes", "storage.k8s.io/v1", "", false;
    CSIDriver(CsiDriver) = "csidrivers", "storage.k8s.io/v1", "", false;
    CSIStorageCapacity(CsiStorageCapacity) = "csistoragecapacities", "storage.k8s.io/v1", "", true;
    VolumeAttachment(VolumeAttachment) = "volumeattachments", "storage.k8s.io/v1", "", false;
    DeviceClass(DeviceClass) = "deviceclasses", "resource.k8s.io/v1", "", false;
    ResourceClaim(ResourceClaim) = "resourceclaims", "resource.k8s.io/v1", "", true;
    ResourceClaimTemplate(ResourceClaimTemplate) = "resourceclaimtemplates", "resource.k8s.io/v1", "", true;
    ResourceSlice(ResourceSlice) = "resourceslices", "resource.k8s.io/v1", "", false;
}

impl Object {
    /// The object's key.
    pub fn key(&self) -> Key {
        self.meta().key(self.kind())
    }

    /// The pod, if it is one.
    pub fn as_pod(&self) -> Option<&Arc<Pod>> {
        match self {
            Object::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    /// The node, if it is one.
    pub fn as_node(&self) -> Option<&Arc<Node>> {
        match self {
            Object::Node(node) => Some(node),
            _ => None,
        }
    }
}

/// What names an object: kind, namespace (empty for cluster-scoped kinds) and name. Ordered as `kubectl get` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub namespace: Name,
    pub name: Name,
}

impl Key {
    /// The key of the object of this kind, namespace and name.
    pub fn new(kind: Kind, namespace: impl Into<Name>, name: impl Into<Name>) -> Key {
        Key { kind, namespace: namespace.into(), name: name.into() }
    }
}

/// `Pod/shop/checkout-7f9c`, without the namespace where there is none.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind.as_str(), self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
        }
    }
}
