//! Volumes outside pods.

use super::{Bytes, Labels, Meta, Name, NodeSelector, Selector, Uid};

/// A PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersistentVolumeClaim {
    pub meta: Meta,
    pub spec: ClaimSpec,
    /// The bound volume's name; empty while unbound.
    pub volume: Name,
    pub phase: ClaimPhase,
}

/// `spec` of a claim, without the volume's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimSpec {
    /// None: the default class; an empty name: no class.
    pub storage_class: Option<Name>,
    pub request: Bytes,
    pub access_modes: Vec<Name>,
    pub selector: Option<Selector>,
    /// `volumeMode: Block`.
    pub block: bool,
}

/// A claim's phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimPhase {
    #[default]
    Pending,
    Bound,
    Lost,
}

/// One of a StatefulSet's `volumeClaimTemplates`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimTemplate {
    pub name: Name,
    pub labels: Labels,
    pub annotations: Labels,
    pub spec: ClaimSpec,
}

/// A PersistentVolume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersistentVolume {
    pub meta: Meta,
    pub capacity: Bytes,
    pub access_modes: Vec<Name>,
    /// Empty: no class.
    pub storage_class: Name,
    pub block: bool,
    /// Namespace and name of the claim that it is bound to or meant for.
    pub claim: Option<(Name, Name)>,
    /// The uid of that claim; [`Uid::NONE`] if it was not said.
    pub claim_uid: Uid,
    pub node_affinity: Option<NodeSelector>,
    /// The CSI driver or the in-tree kind.
    pub driver: Name,
    /// What names the volume to its driver: `csi.volumeHandle`, or the disk's id.
    pub handle: Name,
    /// `persistentVolumeReclaimPolicy: Retain`; else Delete.
    pub retain: bool,
    pub phase: VolumePhase,
}

/// A volume's phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumePhase {
    #[default]
    Pending,
    Available,
    Bound,
    Released,
    Failed,
}

/// A StorageClass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageClass {
    pub meta: Meta,
    pub provisioner: Name,
    /// `volumeBindingMode: WaitForFirstConsumer`.
    pub wait_for_first_consumer: bool,
    pub is_default: bool,
    pub retain: bool,
    pub allowed_topologies: Vec<super::NodeSelectorTerm>,
}

/// A CSINode: the CSI drivers of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsiNode {
    pub meta: Meta,
    pub drivers: Vec<CsiNodeDriver>,
}

/// One driver of a CSINode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsiNodeDriver {
    pub name: Name,
    pub node_id: Name,
    /// `allocatable.count`: how many of its volumes the node takes; None: any number.
    pub limit: Option<i32>,
}

/// A CSIDriver.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsiDriver {
    pub meta: Meta,
    /// `storageCapacity`: the scheduler looks at CSIStorageCapacity objects before it lets a volume be made.
    pub storage_capacity: bool,
    /// `attachRequired`, true by default.
    pub attach_required: bool,
}

/// A CSIStorageCapacity: how much room there is for volumes of a class in a part of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CsiStorageCapacity {
    pub meta: Meta,
    pub storage_class: Name,
    /// `nodeTopology`: which nodes it is about; None: none.
    pub topology: Option<Selector>,
    pub capacity: Option<Bytes>,
    /// Counts instead of the capacity where it is given.
    pub maximum_volume_size: Option<Bytes>,
}

impl CsiStorageCapacity {
    /// The greatest volume for which there is room.
    pub fn limit(&self) -> Option<Bytes> {
        self.maximum_volume_size.or(self.capacity)
    }
}

/// A VolumeAttachment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeAttachment {
    pub meta: Meta,
    /// The driver.
    pub attacher: Name,
    pub node: Name,
    /// The PersistentVolume; empty for an inline volume.
    pub volume: Name,
    pub attached: bool,
}

/// Set by whoever binds: the claim is bound for good.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// Set by the scheduler on a claim whose volume is to be made for this node.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The annotation that named a class before there was a field for it; it still counts, and before the field.
pub const BETA_CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
