//! The story of a run: what was notable, a thousand pods like one, each line with its cause.

mod groups;
mod render;
#[cfg(test)]
mod tests;

pub use groups::lines;
pub use render::{expectations, story};

pub(super) use groups::{last_message, reasons_of, reasons_only};
pub(super) use render::{evidence, final_state, summary, title, unwell_reason};

use crate::kernel::{Cause, Time};
use crate::model::Source;

/// A line of the story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub time: Time,
    /// When the last of what is told here happened.
    pub until: Time,
    /// The first record of it.
    pub id: Cause,
    /// Something bad that was done to the cluster, or that the cluster could not do.
    pub alarm: bool,
    pub what: String,
    pub why: String,
    /// The line that says this, or that it is about.
    pub source: Option<Source>,
    /// The line of the action or fault that it goes back to.
    pub root: Option<Source>,
    /// The objects that it is about, as `pod/checkout-x`, for filters; of very many the first.
    pub objects: Vec<String>,
}
