//! What the eviction manager watches: signals, thresholds, and which of them are met.
//!
//! Kubernetes: pkg/kubelet/eviction/api/types.go, thresholdsMet and its siblings in pkg/kubelet/eviction/helpers.go. What a
//! configuration says stands in `config.rs`.

use std::collections::BTreeMap;

use crate::kernel::Duration;
use crate::kubelet::config::{self, Amount};
use crate::model::quantity::{Format, Quantity};

/// Something that can run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    MemoryAvailable,
    /// Of the part of the memory that pods may use. Nobody sets it: it has the threshold of the node's memory.
    AllocatableMemoryAvailable,
    NodeFsAvailable,
    NodeFsInodesFree,
    ImageFsAvailable,
    ImageFsInodesFree,
    PidAvailable,
}

/// A condition of the node that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    Memory,
    Disk,
    Pid,
}

impl Pressure {
    /// The condition's type.
    pub fn condition(self) -> &'static str {
        match self {
            Pressure::Memory => "MemoryPressure",
            Pressure::Disk => "DiskPressure",
            Pressure::Pid => "PIDPressure",
        }
    }
}

impl Signal {
    /// The condition that tells of it.
    pub fn pressure(self) -> Pressure {
        match self {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => Pressure::Memory,
            Signal::PidAvailable => Pressure::Pid,
            _ => Pressure::Disk,
        }
    }

    /// What is to be reclaimed, as messages call it.
    pub fn resource(self) -> &'static str {
        match self {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => "memory",
            Signal::NodeFsAvailable | Signal::ImageFsAvailable => "ephemeral-storage",
            Signal::NodeFsInodesFree | Signal::ImageFsInodesFree => "inodes",
            Signal::PidAvailable => "pids",
        }
    }
}

impl From<config::Signal> for Signal {
    fn from(signal: config::Signal) -> Signal {
        match signal {
            config::Signal::MemoryAvailable => Signal::MemoryAvailable,
            config::Signal::NodefsAvailable => Signal::NodeFsAvailable,
            config::Signal::NodefsInodesFree => Signal::NodeFsInodesFree,
            config::Signal::ImagefsAvailable => Signal::ImageFsAvailable,
            config::Signal::ImagefsInodesFree => Signal::ImageFsInodesFree,
            config::Signal::PidAvailable => Signal::PidAvailable,
        }
    }
}

/// When something counts as scarce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    pub value: Amount,
    /// How an amount that is no percentage was written.
    pub format: Format,
    /// How long it must be met; None: it is a hard one.
    pub grace: Option<Duration>,
    /// How much more must be there again until it is met no more.
    pub min_reclaim: Option<Amount>,
}

/// What there is of a signal, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    pub available: i64,
    pub capacity: i64,
}

/// The observations of one look.
pub type Observations = BTreeMap<Signal, Observation>;

impl Threshold {
    /// What a configuration says.
    pub fn of(given: &config::Threshold) -> Threshold {
        let config::Threshold { signal, amount, format, grace, minimum_reclaim } = *given;
        Threshold { signal: signal.into(), value: amount, format, grace, min_reclaim: minimum_reclaim }
    }

    /// The amount below which it is met, as messages show it.
    pub fn quantity(&self, capacity: i64) -> Quantity {
        let format = if matches!(self.value, Amount::Quantity(_)) { self.format } else { Format::BinarySI };
        Quantity::from_units(self.value.of(capacity), format)
    }

    /// True if it is met; `was_met` asks for the reclaim on top.
    pub fn is_met(&self, observations: &Observations, was_met: bool) -> bool {
        let Some(seen) = observations.get(&self.signal) else { return false };
        let mut wanted = self.value.of(seen.capacity);
        if let Some(reclaim) = self.min_reclaim.filter(|_| was_met) {
            wanted = wanted.saturating_add(reclaim.of(seen.capacity));
        }
        seen.available < wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_as_it_was_written() {
        for (amount, format, expected) in [
            (Amount::Quantity(1_073_741_824), Format::DecimalSI, "1073741824"),
            (Amount::Quantity(1_073_741_824), Format::BinarySI, "1Gi"),
            (Amount::Percent(50.0), Format::DecimalSI, "512Mi"),
        ] {
            let given = config::Threshold {
                signal: config::Signal::MemoryAvailable,
                amount,
                format,
                grace: None,
                minimum_reclaim: None,
            };
            assert_eq!(Threshold::of(&given).quantity(1 << 30).to_string(), expected);
        }
    }

    #[test]
    fn a_threshold_that_was_met_asks_for_its_reclaim_too() {
        let given = config::Threshold {
            signal: config::Signal::MemoryAvailable,
            amount: Amount::Percent(10.0),
            format: Format::BinarySI,
            grace: None,
            minimum_reclaim: Some(Amount::Quantity(50)),
        };
        let threshold = Threshold::of(&given);
        let with =
            |available| Observations::from([(Signal::MemoryAvailable, Observation { available, capacity: 1000 })]);
        for (available, fresh, still) in [(99, true, true), (100, false, true), (149, false, true), (150, false, false)]
        {
            assert_eq!(threshold.is_met(&with(available), false), fresh, "{available}");
            assert_eq!(threshold.is_met(&with(available), true), still, "{available}");
        }
        assert!(!threshold.is_met(&Observations::new(), true));
    }
}
