//! Kubernetes Events, and the recorder that counts and limits them.
//!
//! Kubernetes: staging/src/k8s.io/client-go/tools/record/events_cache.go (EventCorrelator).

use crate::kernel::Time;

use super::{Kind, Meta, Name, Text, Uid};

/// An Event object, as `kubectl get events` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub meta: Meta,
    pub involved: ObjectReference,
    pub kind: EventType,
    pub reason: Name,
    pub message: Text,
    pub count: u32,
    pub first: Time,
    pub last: Time,
    /// `source.component` or `reportingController`: `kubelet`, `default-scheduler`, `deployment-controller`, …
    pub component: Name,
    /// `source.host`: the node's name for the kubelet, else empty.
    pub host: Name,
}

/// The object that an Event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectReference {
    pub kind: Kind,
    pub namespace: Name,
    pub name: Name,
    pub uid: Uid,
    /// `spec.containers{app}`, or empty.
    pub field_path: Name,
}

/// `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventType {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Normal => "Normal",
            EventType::Warning => "Warning",
        }
    }
}
