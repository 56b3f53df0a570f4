//! Probes and hooks: the kubelet says "probe this", an actor answers: the model of what programs do, or a real
//! HTTP, TCP, gRPC or exec probe.
//!
//! Kubernetes: pkg/probe, pkg/kubelet/lifecycle/handlers.go.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::kernel::{Duration, Time};
use crate::model::{Container, Text};

use super::cri::ContainerId;

/// A probe (or hook) to be done once.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: ProbeId,
    pub container: ContainerId,
    /// The pod's address, or the node's for pods on the host's network.
    pub ip: Ipv4Addr,
    pub purpose: Purpose,
    /// The container's spec, where the handler and the named ports are.
    pub spec: Arc<[Container]>,
    /// Index into `spec`.
    pub index: u32,
    /// Zero: none, as for hooks.
    pub timeout: Duration,
}

/// The kubelet's number for a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// What the request is for; says which of the container's handlers is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    Startup,
    Readiness,
    Liveness,
    PostStart,
    PreStop,
}

impl Purpose {
    /// As Kubernetes' messages begin: `Readiness`.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Startup => "Startup",
            Purpose::Readiness => "Readiness",
            Purpose::Liveness => "Liveness",
            Purpose::PostStart => "PostStart",
            Purpose::PreStop => "PreStop",
        }
    }
}

/// The answer to a probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub id: ProbeId,
    pub outcome: Outcome,
    pub holds: Holds,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// Counts as success, and an event shows the text.
    Warning(Text),
    /// With the text that the event shows.
    Failure(Text),
    /// The probe could not be done; counts as nothing.
    Error(Text),
}

/// For how long every further probe of this kind would come out the same, at the same cost. A worker whose result can
/// change nothing sleeps that long on its period's grid, instead of probing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nobody knows: a real program answered.
    Once,
    /// Until this moment, or a [`Changed`] before it.
    Until(Time),
    /// Until a [`Changed`].
    UntilChanged,
}

/// The answers of this container's probes may be different from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    pub container: ContainerId,
}
