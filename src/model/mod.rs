//! Kubernetes objects as simlet holds them: compact, interned, shared; and the facts about Kubernetes that several
//! parts know: selectors, taints, conditions, resources, the event recorder.
//!
//! It leaves out everything that does not change what a cluster does; `manifest/` compiles real objects into these and
//! prints these as real objects. Strings that repeat are [`Name`]s, specs that replicas share are `Arc`s, times are
//! [`Time`](crate::kernel::Time)s since the scenario's start.
//!
//! Read `name`, `meta`, `pod`, `node`, then the workloads, then `object`, which holds them all.

pub mod affinity;
pub mod condition;
pub mod config;
pub mod configuration;
pub mod device;
pub mod device_selector;
pub mod event;
pub mod event_recorder;
pub mod feature_gates;
pub mod glob;
pub mod image;
pub mod labels;
pub mod meta;
pub mod name;
pub mod node;
pub mod object;
pub mod pod;
pub mod pod_resources;
pub mod policy;
pub mod quantity;
pub mod resources;
pub mod service;
pub mod storage;
pub mod taint;
pub mod workload;

pub use affinity::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, TopologySpreadConstraint,
};
pub use condition::{Condition, ConditionStatus, Conditions};
pub use event::{Event, EventType, ObjectReference};
pub use event_recorder::EventRecorder;
pub use labels::{Labels, Requirement, Selector};
pub use meta::{Deletion, Meta, OwnerReference, Source, Uid};
pub use name::{Name, Text};
pub use node::{Node, NodeImage, NodeSpec, NodeStatus};
pub use object::{Key, Kind, Object};
pub use pod::{Container, ContainerState, ContainerStatus, Phase, Pod, PodSpec, PodStatus, Probe};
pub use resources::{Bytes, MilliCpu, Resources};
pub use taint::{Taint, TaintEffect, Toleration};
