//! What of a workload is not simulated: said for each workload, before it runs.

use super::file::Workload;

/// A feature gate as kube-scheduler 1.36 is simulated: on or off, and what that means.
const GATES: &[(&str, bool, &str)] = &[
    ("DRAConsumableCapacity", true, "it is always on"),
    ("DRADeviceTaints", true, "taints of slices count; DeviceTaintRules do not, as where DRADeviceTaintRules is off"),
    ("DRAExtendedResource", true, "it is always on"),
    ("DRAPartitionableDevices", true, "it is always on"),
    ("DRAPrioritizedList", true, "it is always on"),
    ("DRAResourceClaimDeviceStatus", true, "it is always on"),
    ("DynamicResourceAllocation", true, "it is always on"),
    ("InPlacePodVerticalScaling", true, ""),
    ("NodeDeclaredFeatures", true, "the plug-in is always on"),
    ("NodeInclusionPolicyInPodTopologySpread", true, "it can't be switched off since 1.33"),
    ("PodLevelResources", true, ""),
    ("SchedulerAsyncAPICalls", false, "the scheduling cycle waits for the status that a failure writes"),
    ("SchedulerAsyncPreemption", true, "victims are deleted while the next pods are scheduled"),
    ("SchedulerPopFromBackoffQ", true, ""),
    ("SchedulerQueueingHints", true, "hints are always used; the gate is locked since 1.34"),
];

/// Gates of which nothing that is simulated depends.
const HARMLESS: &[&str] = &["OpportunisticBatching"];

/// What is simulated otherwise than the workload asks, though it can be run.
pub(super) fn remarks(workload: &Workload) -> Vec<String> {
    let mut remarks = Vec::new();
    for (gate, on) in &workload.feature_gates {
        match GATES.iter().find(|(name, ..)| name == gate) {
            Some((_, ours, _)) if ours == on => {}
            Some((_, _, "")) => remarks.push(format!("{gate}={on} is not simulated")),
            Some((_, _, why)) => remarks.push(format!("{gate}={on} is not simulated: {why}")),
            None if HARMLESS.contains(&gate.as_str()) => {}
            None => remarks.push(format!("{gate}={on} is not simulated")),
        }
    }
    remarks
}
