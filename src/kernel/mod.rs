//! The discrete-event kernel: time, the event queue, effects, links, random streams, causes, the digest, the two
//! clocks. It knows nothing of Kubernetes.
//!
//! One thread, one run: runs in parallel each have a kernel of their own. What actors do with a message, and which actors
//! there are, is decided above, in `cluster/`.
//!
//! Read `time`, `effects`, `queue`, then the kernel itself in `run`, and how it waits in `clock`. `random`, `link`, `grid`
//! and `digest` stand by themselves.

mod clock;
mod digest;
mod effects;
mod grid;
mod link;
mod queue;
mod random;
mod run;
mod time;

pub use clock::{Arrival, Clock, Outside, Replay, Virtual, Wait, Wall};
pub use digest::{Digest, Fold};
pub use effects::{Effect, Effects, Recorded};
pub use grid::Grid;
pub use link::{Delivery, Link};
pub use queue::Queue;
pub use random::{Distribution, Stream, Streams};
pub use run::{Event, Kernel, TimerId};
pub use time::{Duration, Moment, Time};

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
