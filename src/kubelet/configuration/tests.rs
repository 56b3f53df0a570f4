//! What comes of fields, and what the kubelet refuses.

use super::*;
use crate::kubelet::config::{Amount, Signal, Threshold};

fn compiled(json: &str) -> (Option<KubeletConfiguration>, Vec<Problem>) {
    let given: types::KubeletConfiguration = serde_json::from_str(json).expect("the test's text is JSON of the type");
    compile(&given)
}

#[track_caller]
fn settings(json: &str) -> KubeletConfiguration {
    let (settings, problems) = compiled(json);
    settings.unwrap_or_else(|| panic!("{json} is refused: {problems:?}"))
}

#[track_caller]
fn refused(json: &str, wanted: &[(&str, &str)]) {
    let (settings, problems) = compiled(json);
    let found: Vec<(&str, &str)> = problems.iter().map(|one| (one.path.as_str(), one.message.as_str())).collect();
    assert_eq!(found, wanted, "{json}");
    assert!(settings.is_none(), "{json} is taken");
}

#[test]
fn a_file_that_says_nothing_says_the_defaults() {
    assert_eq!(settings("{}"), KubeletConfiguration::default());
    // Zero is the word for the default where Kubernetes has no pointer.
    let zeroes = r#"{"maxPods": 0, "nodeLeaseDurationSeconds": 0, "registryBurst": 0, "syncFrequency": "0s",
        "evictionPressureTransitionPeriod": "0s", "runtimeRequestTimeout": "0"}"#;
    assert_eq!(settings(zeroes), KubeletConfiguration::default());
    assert_eq!(settings(r#"{"registryPullQPS": 0}"#).registry_pull_qps, 0);
}

#[test]
fn pulls_are_parallel_once_more_than_one_may_run() {
    for (json, serial) in [
        (r#"{"maxParallelImagePulls": 1}"#, true),
        (r#"{"maxParallelImagePulls": 2}"#, false),
        (r#"{"serializeImagePulls": false}"#, false),
        (r#"{"serializeImagePulls": true, "maxParallelImagePulls": 1}"#, true),
    ] {
        assert_eq!(settings(json).serialize_image_pulls, serial, "{json}");
    }
}

#[test]
fn eviction_thresholds_take_the_place_of_all_defaults_unless_they_are_merged() {
    let hard = |settings: &KubeletConfiguration, signal| settings.eviction.hard(signal);
    let one = settings(r#"{"evictionHard": {"memory.available": "1Gi", "imagefs.available": "0%"}}"#);
    assert_eq!(hard(&one, Signal::MemoryAvailable), Some(Amount::Quantity(1 << 30)));
    assert_eq!(hard(&one, Signal::NodefsAvailable), None);
    let merged = r#"{"evictionHard": {"memory.available": "5%", "imagefs.available": "0%"}, "mergeDefaultEvictionSettings": true}"#;
    let merged = settings(merged);
    assert_eq!(hard(&merged, Signal::MemoryAvailable), Some(Amount::Percent(5.0)));
    assert_eq!(hard(&merged, Signal::NodefsAvailable), Some(Amount::Percent(10.0)));
    assert_eq!(hard(&merged, Signal::ImagefsAvailable), None);
    assert_eq!(settings(r#"{"evictionHard": {}}"#).eviction.thresholds, []);
}

#[test]
fn a_soft_threshold_has_its_grace_period_and_its_reclaim() {
    let soft = settings(
        r#"{"evictionHard": {}, "evictionSoft": {"memory.available": "1Gi"}, "evictionMaxPodGracePeriod": 60,
            "evictionSoftGracePeriod": {"memory.available": "1m30s"}, "evictionMinimumReclaim": {"memory.available": "500Mi"}}"#,
    );
    let wanted = Threshold {
        signal: Signal::MemoryAvailable,
        amount: Amount::Quantity(1 << 30),
        format: crate::model::quantity::Format::BinarySI,
        grace: Some(Duration::from_secs(90)),
        minimum_reclaim: Some(Amount::Quantity(500 << 20)),
    };
    assert_eq!(soft.eviction.thresholds, [wanted]);
    assert_eq!(soft.eviction.max_pod_grace_period, Duration::from_secs(60));
    refused(
        r#"{"evictionSoft": {"memory.available": "1Gi"}}"#,
        &[(
            "evictionSoft[memory.available]",
            "grace period must be specified for the soft eviction threshold memory.available",
        )],
    );
}

#[test]
fn thresholds_that_mean_nothing_are_refused() {
    refused(
        r#"{"evictionHard": {"memory.avail": "1Gi", "memory.available": "0", "nodefs.available": "110%", "pid.available": "-5%", "imagefs.available": "ten"}}"#,
        &[
            (
                "evictionHard[imagefs.available]",
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            ("evictionHard[memory.avail]", "unknown eviction signal memory.avail"),
            ("evictionHard[memory.available]", "eviction threshold memory.available must be positive: 0"),
            ("evictionHard[nodefs.available]", "eviction percentage threshold nodefs.available must be <= 100%: 110%"),
            ("evictionHard[pid.available]", "eviction percentage threshold pid.available must be >= 0%: -5%"),
        ],
    );
}

#[test]
fn shutdown_periods_are_by_priority_whichever_field_says_them() {
    let secs = Duration::from_secs;
    let both = r#"{"shutdownGracePeriod": "2m30s", "shutdownGracePeriodCriticalPods": "30s"}"#;
    assert_eq!(settings(both).shutdown_grace_periods, [(0, secs(120)), (2_000_000_000, secs(30))]);
    let by_priority = r#"{"shutdownGracePeriodByPodPriority": [
        {"priority": 1000, "shutdownGracePeriodSeconds": 20}, {"priority": 0, "shutdownGracePeriodSeconds": 60}]}"#;
    assert_eq!(settings(by_priority).shutdown_grace_periods, [(0, secs(60)), (1000, secs(20))]);
    let gate = r#"{"featureGates": {"GracefulNodeShutdown": false}}"#;
    assert_eq!(settings(gate).shutdown_grace_periods, []);
    refused(
        r#"{"shutdownGracePeriod": "10s", "shutdownGracePeriodCriticalPods": "30s"}"#,
        &[(
            "shutdownGracePeriodCriticalPods",
            "invalid configuration: shutdownGracePeriodCriticalPods 30s must be <= shutdownGracePeriod 10s",
        )],
    );
}

#[test]
fn a_gate_shortens_the_back_off_of_crash_loops() {
    let gate = settings(r#"{"featureGates": {"ReduceDefaultCrashLoopBackOffDecay": true}}"#);
    assert_eq!((gate.initial_container_restart_period.as_secs(), gate.max_container_restart_period.as_secs()), (1, 60));
    let most = settings(r#"{"crashLoopBackOff": {"maxContainerRestartPeriod": "4s"}}"#);
    assert_eq!((most.initial_container_restart_period.as_secs(), most.max_container_restart_period.as_secs()), (4, 4));
    refused(
        r#"{"crashLoopBackOff": {"maxContainerRestartPeriod": "10m"}}"#,
        &[(
            "crashLoopBackOff.maxContainerRestartPeriod",
            "invalid configuration: CrashLoopBackOff.MaxContainerRestartPeriod (got: 600 seconds) must be set between 1s and 300s",
        )],
    );
}

#[test]
fn gates_are_those_of_1_36() {
    refused(
        r#"{"featureGates": {"NodeSwap": false, "PodSecurity": true, "KubeletTracing": true}}"#,
        &[
            ("featureGates[NodeSwap]", "cannot set feature gate NodeSwap to false, feature is locked to true"),
            ("featureGates[PodSecurity]", "unrecognized feature gate: PodSecurity"),
        ],
    );
}

#[test]
fn what_the_kubelet_refuses_is_refused_in_its_words() {
    for (json, path, message) in [
        (r#"{"maxPods": -1}"#, "maxPods", "maxPods (--max-pods) -1 must not be a negative number"),
        (
            r#"{"imageGCHighThresholdPercent": 101}"#,
            "imageGCHighThresholdPercent",
            "imageGCHighThresholdPercent (--image-gc-high-threshold) 101 must be between 0 and 100, inclusive",
        ),
        (
            r#"{"imageGCHighThresholdPercent": 70}"#,
            "imageGCHighThresholdPercent",
            "imageGCLowThresholdPercent (--image-gc-low-threshold) 80 must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) 70",
        ),
        (
            r#"{"imageMaximumGCAge": "1m"}"#,
            "imageMaximumGCAge",
            "imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s",
        ),
        (
            r#"{"serializeImagePulls": true, "maxParallelImagePulls": 5}"#,
            "maxParallelImagePulls",
            "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) is set to false",
        ),
        (
            r#"{"cpuCFSQuotaPeriod": "2s"}"#,
            "cpuCFSQuotaPeriod",
            "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) 2s must be between 1ms and 1sec, inclusive",
        ),
        (
            r#"{"memorySwap": {"swapBehavior": "UnlimitedSwap"}}"#,
            "memorySwap.swapBehavior",
            "memorySwap.swapBehavior \"UnlimitedSwap\" must be one of: \"\", \"LimitedSwap\" or \"NoSwap\"",
        ),
        (
            r#"{"topologyManagerPolicy": "numa"}"#,
            "topologyManagerPolicy",
            "topologyManagerPolicy (--topology-manager-policy) \"numa\" must be one of: [\"none\" \"best-effort\" \"restricted\" \"single-numa-node\"]",
        ),
        (
            r#"{"enforceNodeAllocatable": ["kube-reserved"]}"#,
            "enforceNodeAllocatable[0]",
            "kubeReservedCgroup (--kube-reserved-cgroup) must be specified when \"kube-reserved\" or \"kube-reserved-compressible\" included in enforceNodeAllocatable (--enforce-node-allocatable)",
        ),
        (r#"{"containerLogMaxFiles": 1}"#, "containerLogMaxFiles", "containerLogMaxFiles must be greater than 1"),
        (
            r#"{"podLogsDir": "/var/log/../pods"}"#,
            "podLogsDir",
            "pod logs path \"/var/log/../pods\" must be normalized",
        ),
    ] {
        refused(json, &[(path, &format!("invalid configuration: {message}"))]);
    }
    for (json, path, message) in [
        (r#"{"syncFrequency": "1d"}"#, "syncFrequency", "time: unknown unit \"d\" in duration \"1d\""),
        (r#"{"syncFrequency": "60"}"#, "syncFrequency", "time: missing unit in duration \"60\""),
        (
            r#"{"kubeReserved": {"gpu": "1"}}"#,
            "kubeReserved[gpu]",
            "--kube-reserved value failed to parse: cannot reserve \"gpu\" resource",
        ),
        (
            r#"{"systemReserved": {"cpu": "-1"}}"#,
            "systemReserved[cpu]",
            "--system-reserved value failed to parse: resource quantity for \"cpu\" cannot be negative: -1",
        ),
        (
            r#"{"registerWithTaints": [{"key": "a", "effect": "Never"}]}"#,
            "registerWithTaints[0]",
            "invalid taint: {a  Never <nil>}",
        ),
    ] {
        refused(json, &[(path, message)]);
    }
}
