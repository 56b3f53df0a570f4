//! Volumes outside pods.

use super::{Bytes, Labels, Meta, Name, NodeSelector, Selector};

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
    pub node_affinity: Option<NodeSelector>,
    /// The CSI driver or the in-tree kind.
    pub driver: Name,
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

/// The annotation that named a class before there was a field for it; it still counts, and before the field.
pub const BETA_CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
