//! One model of a container runtime, with containerd, CRI-O and Docker Engine as profiles, and of what the programs in
//! containers do.
//!
//! Read `runtime` (the state, and how calls are answered), `sandboxes` and `containers` (their lives), `images` (pulls),
//! `probes`, `faults`; then `behavior`, `program` and `shell` for what programs do, `profile` for what tells runtimes apart.
//!
//! A container's life is a handful of messages; while it runs and nothing is asked, it costs nothing.
//!
//! Left out: CPU contention between containers, reclaim and swap, log files, streaming (attach, port-forward), user
//! namespaces, checkpoints, cancelling a pull that makes no progress.

pub mod behavior;
mod containers;
mod contention;
mod cpu;
mod faults;
mod images;
mod network;
mod preload;
mod probes;
mod profile;
mod program;
mod runtime;
mod sandboxes;
mod shell;
mod shell_syntax;
mod shell_words;
#[cfg(test)]
mod tests;
mod usage;
mod volumes;

use crate::kernel::Time;
use crate::model::Name;
use crate::protocol::{cri, probe, pull, stats, volume};

pub use images::PresentImage;
pub use network::Subnet;
pub use profile::{Dialect, Latencies, LatencyField, OnRepeat, Profile, StartFailure, bridge_cni, overlay_cni};
pub use runtime::{Config, Mirror, Runtime};
pub use usage::{Available, Machine, Others, Scarce};

/// What the runtime hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Cri(Box<cri::Request>),
    Pull(Box<pull::Response>),
    Probe(Box<probe::Request>),
    /// What the kubelet itself does on the machine: it needs no runtime for it.
    Volume(Box<volume::Request>),
    /// The kubelet measures: `cAdvisor`, not the runtime.
    Stats(stats::Request),
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
    /// The kubelet's process ended: nobody waits for answers any more.
    CallerGone,
    /// CNI ADD does not come back (true) or works again (false): RunPodSandbox hangs.
    NetworkHangs(bool),
    /// These containers' programs exit with this code. Names are pod namespace, pod name, container (empty: all).
    Exit { namespace: Name, pod: Name, container: Name, code: i32 },
    /// The kernel's OOM killer takes them.
    Oom { namespace: Name, pod: Name, container: Name },
    /// They stop answering probes (true) or answer again (false).
    Hang { namespace: Name, pod: Name, container: Name, hangs: bool },
    /// Others leave only so much of something, or (None) as much as before.
    Scarce { what: Scarce, available: Option<Available> },
}

/// The runtime's timers. Those that carry a boot mean nothing after the machine lost power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The sandbox, create or start operation that was to end at this moment may have ended.
    Operation { boot: u32, at: Time },
    /// The program that was to end at this moment may have ended.
    Program { container: cri::ContainerId, at: Time },
    /// The image of this pull is unpacked.
    Unpacked { boot: u32, pull: u64 },
    /// A command in a container has ended, or its time is over.
    Exec { boot: u32, exec: u64 },
    /// All memory may be used.
    MemoryFull { boot: u32, at: Time },
}

/// What the runtime says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Cri(Box<cri::Response>),
    Event(Box<cri::ContainerEvent>),
    /// To the registry of this host.
    Pull {
        host: Name,
        request: Box<pull::Request>,
    },
    Probe(Box<probe::Answer>),
    ProbeChanged(probe::Changed),
    Stats(Box<stats::Summary>),
    /// What is used grows otherwise from now on.
    UsageChanged,
    /// The kernel's log: all memory was used, and it killed a process. What the kubelet's OOM watcher reads.
    SystemOom {
        process: Name,
        pid: u32,
    },
    Volume(Box<volume::Answer>),
}
