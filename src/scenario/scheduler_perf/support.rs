//! What of a workload is not simulated: said for each workload, before it runs.

use crate::{apiserver, scheduler};

use super::file::Workload;

/// Gates that are always on here, and why.
const LOCKED: &[(&str, &str)] = &[
    ("DRAConsumableCapacity", "it is always on"),
    ("DRADeviceTaints", "it is always on"),
    ("DRAExtendedResource", "it is always on"),
    ("DRAPartitionableDevices", "it is always on"),
    ("DRAPrioritizedList", "it is always on"),
    ("DRAResourceClaimDeviceStatus", "it is always on"),
    ("DynamicResourceAllocation", "it can't be switched off since 1.36"),
    ("InPlacePodVerticalScaling", "it can't be switched off since 1.35"),
    ("NodeInclusionPolicyInPodTopologySpread", "it can't be switched off since 1.33"),
    ("SchedulerQueueingHints", "hints are always used; the gate is locked since 1.34"),
];

/// Gates of which nothing that is simulated depends.
const HARMLESS: &[&str] = &["OpportunisticBatching"];

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
            None => remarks.push(format!("{gate}={on} is not simulated")),
        }
    }
    remarks
}
