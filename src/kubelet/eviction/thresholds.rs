//! What the eviction manager watches: signals, thresholds, and which of them are met.
//!
//! Kubernetes: pkg/kubelet/eviction/api/types.go, ParseThresholdConfig, thresholdsMet and its siblings in
//! pkg/kubelet/eviction/helpers.go.

use std::collections::BTreeMap;

use crate::kernel::Duration;
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
    /// All that a configuration may name.
    pub const CONFIGURABLE: [Signal; 6] = [
        Signal::MemoryAvailable,
        Signal::NodeFsAvailable,
        Signal::NodeFsInodesFree,
        Signal::ImageFsAvailable,
        Signal::ImageFsInodesFree,
        Signal::PidAvailable,
    ];

    /// Its name in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Signal::MemoryAvailable => "memory.available",
            Signal::AllocatableMemoryAvailable => "allocatableMemory.available",
            Signal::NodeFsAvailable => "nodefs.available",
            Signal::NodeFsInodesFree => "nodefs.inodesFree",
            Signal::ImageFsAvailable => "imagefs.available",
            Signal::ImageFsInodesFree => "imagefs.inodesFree",
            Signal::PidAvailable => "pid.available",
        }
    }

    /// The signal of this name.
    pub fn named(name: &str) -> Option<Signal> {
        Signal::CONFIGURABLE.into_iter().find(|signal| signal.as_str() == name)
    }

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

/// An amount: as it was written, or a part of what there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    Quantity(Quantity),
    /// In thousandths of a percent.
    Part(i64),
}

impl Amount {
    /// Reads `100Mi` or `5%`.
    pub fn parse(text: &str) -> Option<Amount> {
        let Some(percent) = text.trim().strip_suffix('%') else {
            return text.trim().parse().ok().map(Amount::Quantity);
        };
        let percent: f64 = percent.trim().parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(Amount::Part((percent * 1000.0).round() as i64))
    }

    /// How much it is of `capacity`.
    pub fn of(self, capacity: i64) -> i64 {
        self.quantity(capacity).value_rounding_up()
    }

    /// The same as messages show it.
    pub fn quantity(self, capacity: i64) -> Quantity {
        match self {
            Amount::Quantity(quantity) => quantity,
            Amount::Part(part) => {
                let amount = i128::from(capacity) * i128::from(part) / 100_000;
                Quantity::from_units(amount as i64, Format::BinarySI)
            }
        }
    }
}

/// When something counts as scarce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub signal: Signal,
    pub value: Amount,
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
    /// A hard threshold.
    pub fn hard(signal: Signal, value: Amount) -> Threshold {
        Threshold { signal, value, grace: None, min_reclaim: None }
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

/// The thresholds that Kubernetes has by itself.
pub fn default_hard() -> Vec<Threshold> {
    let memory = Amount::Quantity(Quantity::from_units(100 << 20, Format::BinarySI));
    vec![
        Threshold::hard(Signal::MemoryAvailable, memory),
        Threshold::hard(Signal::NodeFsAvailable, Amount::Part(10_000)),
        Threshold::hard(Signal::NodeFsInodesFree, Amount::Part(5_000)),
        Threshold::hard(Signal::ImageFsAvailable, Amount::Part(15_000)),
        Threshold::hard(Signal::ImageFsInodesFree, Amount::Part(5_000)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_quantities_or_parts() {
        for (text, of_1000, shown) in
            [("100", Some(100), "100"), ("15%", Some(150), "150"), ("1Ki", Some(1024), "1Ki"), ("0.5%", Some(5), "5")]
        {
            let amount = Amount::parse(text);
            assert_eq!(amount.map(|amount| amount.of(1000)), of_1000, "{text}");
            assert_eq!(amount.map(|amount| amount.quantity(1000).to_string()), Some(shown.to_owned()));
        }
        for wrong in ["", "x", "101%", "-1%", "5%%"] {
            assert_eq!(Amount::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_threshold_that_was_met_asks_for_its_reclaim_too() {
        let amount = |text: &str| Amount::parse(text).unwrap();
        let mut threshold = Threshold::hard(Signal::MemoryAvailable, amount("100"));
        threshold.min_reclaim = Some(amount("50"));
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
