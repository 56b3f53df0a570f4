//! What happened and why: the types of the records, their file, reading them back.
//!
//! Every record has an id and names the record that caused it; `why` walks these back to the line of a scenario or
//! manifest. Parts write records through their effects; a [`Sink`] takes them as they happen, so that nothing needs to be
//! held whole.

mod file;
mod header;
pub mod placement;
mod read;
mod record;
mod wire;

#[cfg(test)]
mod file_tests;

pub use file::Writer;
pub use header::{Expectation, Footer, Header, Share, SourceFile};
pub use placement::Placement;
pub use read::{Problem, ReadError, Reader};
pub use record::{CausedBy, Change, Diagnosis, NodeVerdict, Outcome, PodRef, Record, Stage, StageEdge, Verdict};

/// A record with its id, its cause and its time.
pub type Entry = crate::kernel::Recorded<Record>;

/// The effects of a simlet actor: kernel effects that record [`Record`]s.
pub type Effects<In, Out> = crate::kernel::Effects<In, Out, Record>;

/// Takes records as they happen.
pub trait Sink {
    /// Takes one record. Records come in the order of their ids.
    fn take(&mut self, entry: &Entry);
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn take(&mut self, entry: &Entry) {
        (**self).take(entry);
    }
}
