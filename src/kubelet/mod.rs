//! The kubelet: sync loop, admission, pod workers, pod actions, PLEG, images, probes, status, lease.
//!
//! The same code drives a simulated runtime in virtual time and a real one in wall time: it speaks CRI messages only.

use std::sync::Arc;

use crate::protocol::{api, cri, probe};

/// What the kubelet hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    /// The process starts: at the machine's boot, or again over running containers.
    Start,
    Watch(Arc<api::WatchEvent>),
    Api(Box<api::Response>),
    Cri(Box<cri::Response>),
    /// GetContainerEvents, where the runtime has it.
    CriEvent(Box<cri::ContainerEvent>),
    Probe(Box<probe::Answer>),
    ProbeChanged(probe::Changed),
    Timer(Timer),
}

/// The kubelet's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the kubelet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Api(Box<api::Request>),
    Cri(Box<cri::Request>),
    Probe(Box<probe::Request>),
}
