//! The discrete-event kernel: time, the event queue, effects, links, random streams, causes, the digest, the two
//! clocks. It knows nothing of Kubernetes.
//!
//! Read `time`, `effects`, `queue`, then the kernel itself in `run`.

mod effects;
mod random;
mod time;

pub use effects::{Effect, Effects, Recorded};
pub use random::{Distribution, Stream, Streams};
pub use time::{Duration, Time};

/// An actor's address: dense, given by the cluster when it wires the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId(pub u32);

/// Why something happens: the id of the trace record that led to it. One integer an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause(u32);

impl Cause {
    /// Nothing led to it: the beginning of a run.
    pub const NONE: Cause = Cause(0);

    /// The cause that is the record with this id.
    pub const fn from_raw(id: u32) -> Cause {
        Cause(id)
    }

    /// The record's id; 0 for none.
    pub const fn raw(self) -> u32 {
        self.0
    }
}
