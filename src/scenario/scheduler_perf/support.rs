//! What of a workload is not simulated: said for each workload, before it runs.

use crate::{apiserver, scheduler};

use super::file::{Op, Workload};

/// Gates that can't be set otherwise in 1.36, and what holds instead.
const LOCKED: &[(&str, &str)] = &[
    ("DynamicResourceAllocation", "without claims it changes nothing"),
    ("InPlacePodVerticalScaling", "it can't be switched off since 1.35"),
    ("NodeInclusionPolicyInPodTopologySpread", "it can't be switched off since 1.33"),
    ("SchedulerQueueingHints", "hints are always used; the gate is locked since 1.34"),
];

/// Gates of which nothing that is simulated depends.
const HARMLESS: &[&str] = &["OpportunisticBatching"];

/// Why the workload can't be run at all: operations that need what is not there.
pub(super) fn missing(workload: &Workload) -> Vec<String> {
    let mut missing = Vec::new();
    for op in &workload.ops {
        if let Op::NotSimulated { opcode } = op {
            missing.push(format!("{opcode}: Dynamic Resource Allocation is not simulated"));
        }
    }
    missing.dedup();
    missing
}

/// What is simulated otherwise than the workload asks, though it can be run.
pub(super) fn remarks(workload: &Workload) -> Vec<String> {
    let mut remarks = Vec::new();
    for (gate, on) in &workload.feature_gates {
        let modelled =
            apiserver::FeatureGates::NAMES.contains(&&**gate) || scheduler::FeatureGates::NAMES.contains(&&**gate);
        match LOCKED.iter().find(|(name, _)| name == gate) {
            _ if modelled => {}
            Some(_) if *on => {}
            Some((_, why)) => remarks.push(format!("{gate}={on} is not simulated: {why}")),
            None if HARMLESS.contains(&gate.as_str()) => {}
            None if gate.starts_with("DRA") && !on => {}
            None => remarks.push(format!("{gate}={on} is not simulated")),
        }
    }
    remarks
}
