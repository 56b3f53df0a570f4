//! One model of a container runtime, with containerd, CRI-O and Docker Engine as profiles, and of what the programs in
//! containers do.

mod shell;
mod shell_syntax;

use crate::protocol::{cri, probe, pull};

/// What the runtime hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Cri(Box<cri::Request>),
    Pull(Box<pull::Response>),
    Probe(Box<probe::Request>),
    /// Something that a fault does to it.
    Fault(Box<Fault>),
    Timer(Timer),
}

/// What can happen to a runtime and to its containers.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// The machine lost power: every sandbox and container stops, nothing is answered.
    PowerOff,
    /// The machine is on again: images are still there, sandboxes are not ready, containers have exited.
    PowerOn,
    /// The runtime's process stopped: calls fail with Unavailable; containers run on.
    Stopped,
    /// The runtime's process hangs: calls get no answer.
    Hung,
    /// The runtime's process works again.
    Restored,
    /// These containers' programs exit with this code. Names are pod namespace, pod name, container (empty: all).
    Exit { namespace: crate::model::Name, pod: crate::model::Name, container: crate::model::Name, code: i32 },
    /// The kernel's OOM killer takes them.
    Oom { namespace: crate::model::Name, pod: crate::model::Name, container: crate::model::Name },
    /// They stop answering probes (true) or answer again (false).
    Hang { namespace: crate::model::Name, pod: crate::model::Name, container: crate::model::Name, hangs: bool },
}

/// The runtime's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What the runtime says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Cri(Box<cri::Response>),
    Event(Box<cri::ContainerEvent>),
    /// To the registry of this host.
    Pull {
        host: crate::model::Name,
        request: Box<pull::Request>,
    },
    Probe(Box<probe::Answer>),
    ProbeChanged(probe::Changed),
}
