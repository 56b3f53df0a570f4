//! What people and programs read about a run: story, reasons, latencies, plots, HTML, Perfetto, metrics, Events, JUnit.
//!
//! Everything here consumes a trace: a [`Header`](crate::trace::Header), the entries (through a [`Journal`], which is a
//! [`Sink`](crate::trace::Sink)), and a [`Footer`](crate::trace::Footer). Nothing here knows the cluster or reads a clock,
//! and the same trace gives the same bytes. Read `journal`, then `story`.

pub mod calibrate;
pub mod compare;
pub mod conformance;
pub mod diff;
pub mod events;
pub mod html;
pub mod journal;
pub mod junit;
pub mod latency;
pub mod metrics;
pub mod perfetto;
pub mod plot;
pub mod recording;
#[cfg(test)]
mod sample;
mod series;
pub mod story;
pub mod style;
pub mod testrun;
pub mod why;

pub use events::events;
pub use html::html;
pub use journal::Journal;
pub use junit::junit;
pub use latency::Latency;
pub use metrics::{Tally, metrics};
pub use perfetto::perfetto;
pub use plot::plots;
pub use story::story;
pub use style::Style;
pub use why::why;
