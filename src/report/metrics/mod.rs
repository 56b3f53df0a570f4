//! `metrics.prom`: the run's numbers under the names that real components and kube-state-metrics give them, as OpenMetrics.
//!
//! Histograms and counters are over the whole run, gauges are the state at its end; all samples carry the moment of its end.
//! Each kubelet's numbers carry the label `node`, as a scraper adds it. What a [`Tally`] counts is counted while the run's
//! records go by; nobody pays for it who does not ask. Left out is what a simulation does not know: how long a component's
//! own code runs, and periodic work that sleeps while nothing changes (relists, successful probes, lists of the runtime).

mod control_plane;
mod kubelet;
mod objects;
mod page;
mod tally;

use crate::trace::{Footer, Header};

use super::journal::Journal;
use page::Page;
pub use tally::Tally;

/// The page.
pub fn metrics(header: &Header, journal: &Journal, tally: &Tally, footer: &Footer) -> String {
    let end = footer.end.as_nanos();
    let at = format!("{}.{:03}", header.epoch.saturating_add((end / 1_000_000_000) as i64), end / 1_000_000 % 1_000);
    let mut page = Page::new(at);
    kubelet::write(&mut page, tally);
    control_plane::write(&mut page, journal, tally);
    objects::write(&mut page, journal);
    page.text.push_str("# EOF\n");
    page.text
}

#[cfg(test)]
mod tests;
