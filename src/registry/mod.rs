//! An image registry: what images it holds, their layers, its bandwidth and limits, its faults.

use crate::model::{Name, Text};
use crate::protocol::pull;

/// The address of a node's runtime, given by the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeId(pub u32);

/// What a registry hears.
#[derive(Clone, Debug, PartialEq)]
pub enum In {
    Request {
        from: RuntimeId,
        request: Box<pull::Request>,
    },
    /// A node is gone (power, network): its connections end.
    Disconnected(RuntimeId),
    Fault(Box<Fault>),
    Timer(Timer),
}

/// What can happen to a registry. Each replaces an earlier one of its kind; `None` and `false` end it.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    Down(bool),
    /// Bytes per second for all nodes together; None: as configured.
    Bandwidth(Option<u64>),
    /// This share of requests fails with 500.
    ErrorRate(f64),
    /// Requests beyond this many in a window are refused with 429 and these words.
    RateLimit(Option<(u32, crate::kernel::Duration, Text)>),
    /// Images matching this pattern are (true) or are no longer (false) missing.
    Missing {
        pattern: Name,
        missing: bool,
    },
}

/// The registry's timers.
#[derive(Clone, Debug, PartialEq)]
pub enum Timer {}

/// What a registry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Respond { to: RuntimeId, response: Box<pull::Response> },
}
