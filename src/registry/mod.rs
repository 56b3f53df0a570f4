//! An image registry: what images it holds (`images`), how downloads share its bandwidth (`flows`), and how it answers,
//! limits and fails (`server`).
//!
//! Left out: tokens, uploads, garbage collection, and the transport's own dynamics (slow start, loss).

mod flows;
mod images;
mod server;

use crate::kernel::Time;
use crate::model::{Name, Text};
use crate::protocol::pull;

pub use flows::Limits;
pub use images::{BASES, ImageRule, SHARES, UNPACKED_PER_THOUSAND, manifest};
pub use server::{Config, DOCKER_HUB_LIMIT_TEXT, MANIFEST_ROUND_TRIPS, Registry};

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
    /// Manifest requests beyond this many in a window are refused with 429 and these words (empty: Docker Hub's own). As at
    /// Docker Hub, layers do not count. The window begins with the first request, and anew with the first after its end.
    RateLimit(Option<(u32, crate::kernel::Duration, Text)>),
    /// No credentials are good (true): all requests are answered 401.
    Unauthorized(bool),
    /// Layers of images matching this pattern come with other content than their digest says (true).
    Corrupt {
        pattern: Name,
        corrupt: bool,
    },
    /// Images matching this pattern are (true) or are no longer (false) missing.
    Missing {
        pattern: Name,
        missing: bool,
    },
}

/// The registry's timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The download that was to end at this moment may have ended.
    FlowEnds { at: Time },
}

/// What a registry says.
#[derive(Clone, Debug, PartialEq)]
pub enum Out {
    Respond { to: RuntimeId, response: Box<pull::Response> },
}
