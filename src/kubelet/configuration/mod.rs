//! KubeletConfiguration: from what a file says to the kubelet's settings.
//!
//! `types` is the file, `validation` what the kubelet refuses, `eviction` the grammar of thresholds, `words` that of lengths
//! and amounts. Whoever reads the file hands [`compile`] the decoded object and gets every problem
//! with its path; [`has_effect`] says of each field whether anything comes of it.
//!
//! Kubernetes: cmd/kubelet/app/server.go, pkg/kubelet/apis/config/v1beta1/defaults.go, pkg/kubelet/kubelet.go.

mod eviction;
pub mod types;
mod validation;
mod words;

use crate::kernel::Duration;
use crate::model::configuration::{Problem, Problems};
use crate::model::feature_gates::FeatureGates as Gates;
use crate::model::quantity::Quantity;
use crate::model::{Bytes, MilliCpu, Name, Resources, Taint, TaintEffect};

use super::config::{FeatureGates, KubeletConfiguration};
use types::Texts;
use words::Length;

/// The only group and version that the kubelet of 1.36 reads.
pub const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";

/// Fields from which something follows; the others are only checked. Entries of mappings are named by the mapping.
const EFFECTIVE: &[&str] = &[
    "allowedUnsafeSysctls",
    "apiVersion",
    "kind",
    "cpuCFSQuota",
    "cpuCFSQuotaPeriod",
    "cpuManagerPolicy",
    "crashLoopBackOff.maxContainerRestartPeriod",
    "evictionHard",
    "evictionMaxPodGracePeriod",
    "evictionMinimumReclaim",
    "evictionPressureTransitionPeriod",
    "evictionSoft",
    "evictionSoftGracePeriod",
    "featureGates.ChangeContainerStatusOnKubeletRestart",
    "featureGates.EnvFiles",
    "featureGates.GracefulNodeShutdown",
    "featureGates.GracefulNodeShutdownBasedOnPodPriority",
    "featureGates.KubeletCrashLoopBackOffMax",
    "featureGates.ReduceDefaultCrashLoopBackOffDecay",
    "imageGCHighThresholdPercent",
    "imageGCLowThresholdPercent",
    "imageMaximumGCAge",
    "imageMinimumGCAge",
    "kubeReserved",
    "maxParallelImagePulls",
    "maxPods",
    "memoryManagerPolicy",
    "mergeDefaultEvictionSettings",
    "nodeLeaseDurationSeconds",
    "nodeStatusMaxImages",
    "nodeStatusReportFrequency",
    "nodeStatusUpdateFrequency",
    "podPidsLimit",
    "podsPerCore",
    "providerID",
    "registerWithTaints",
    "registryBurst",
    "registryPullQPS",
    "runtimeRequestTimeout",
    "serializeImagePulls",
    "shutdownGracePeriod",
    "shutdownGracePeriodByPodPriority",
    "shutdownGracePeriodCriticalPods",
    "singleProcessOOMKill",
    "systemReserved",
    "volumeStatsAggPeriod",
];

/// True for a field, such as `logging.verbosity`, by which something changes in a simulation.
pub fn has_effect(path: &str) -> bool {
    EFFECTIVE.contains(&path)
}

/// The settings that the file says; what it does not say is as Kubernetes has it. They are there only if the kubelet would
/// start with the file.
pub fn compile(given: &types::KubeletConfiguration) -> (Option<KubeletConfiguration>, Vec<Problem>) {
    let mut problems = Problems::default();
    let gates = Gates(given.feature_gates.iter().flatten().map(|(name, on)| (name.clone(), *on)).collect());
    validation::validate(given, &gates, &mut problems);
    let mut config = KubeletConfiguration::default();
    numbers(given, &mut config);
    lengths(given, &gates, &mut config, &mut problems);
    config.system_reserved = reserved("systemReserved", "--system-reserved", &given.system_reserved, &mut problems);
    config.kube_reserved = reserved("kubeReserved", "--kube-reserved", &given.kube_reserved, &mut problems);
    config.eviction = eviction::compile(given, &mut problems);
    config.register_with_taints = given.register_with_taints.iter().flatten().filter_map(taint).collect();
    config.feature_gates = FeatureGates {
        change_container_status_on_kubelet_restart: gates.on("ChangeContainerStatusOnKubeletRestart"),
        no_env_files: !gates.on("EnvFiles"),
    };
    (problems.is_usable().then_some(config), problems.0)
}

/// Everything that is no length of time.
fn numbers(given: &types::KubeletConfiguration, config: &mut KubeletConfiguration) {
    let unless_zero = |field: &mut i64, value: Option<i32>| {
        if let Some(value) = value.filter(|value| *value != 0) {
            *field = i64::from(value);
        }
    };
    unless_zero(&mut config.max_pods, given.max_pods);
    config.pods_per_core = i64::from(given.pods_per_core.unwrap_or_default());
    config.pod_pids_limit = given.pod_pids_limit.unwrap_or(-1);
    config.node_status_max_images = i64::from(given.node_status_max_images.unwrap_or(50));
    config.image_gc_high_threshold_percent = i64::from(given.image_gc_high_threshold_percent.unwrap_or(85));
    config.image_gc_low_threshold_percent = i64::from(given.image_gc_low_threshold_percent.unwrap_or(80));
    let most = given.max_parallel_image_pulls;
    config.max_parallel_image_pulls = most.unwrap_or_default().unsigned_abs();
    config.serialize_image_pulls = given.serialize_image_pulls.unwrap_or(most.is_none_or(|most| most < 2));
    config.registry_pull_qps = given.registry_pull_qps.unwrap_or(5).unsigned_abs();
    config.registry_burst = given.registry_burst.filter(|burst| *burst != 0).unwrap_or(10).unsigned_abs();
    config.single_process_oom_kill = given.single_process_oom_kill;
    config.cpu_cfs_quota = given.cpu_cfs_quota.unwrap_or(true);
    config.static_cpu_manager = given.cpu_manager_policy.as_deref() == Some("static");
    config.static_memory_manager = given.memory_manager_policy.as_deref() == Some("Static");
    let name = |text: &Option<String>| Name::new(text.as_deref().unwrap_or_default());
    config.static_pod_path = name(&given.static_pod_path);
    config.provider_id = name(&given.provider_id);
    config.allowed_unsafe_sysctls =
        given.allowed_unsafe_sysctls.iter().flatten().map(|sysctl| Name::new(sysctl)).collect();
}

fn lengths(
    given: &types::KubeletConfiguration,
    gates: &Gates,
    config: &mut KubeletConfiguration,
    problems: &mut Problems,
) {
    let mut length = |field: &mut Duration, path: &str, text: &Option<String>| {
        // Zero is the default's word for "not said".
        let said = Length::of(text, path, problems).map(Length::or_zero);
        if let Some(said) = said.filter(|said| !said.is_zero()) {
            *field = said;
        }
    };
    let update = given.node_status_update_frequency.as_ref();
    length(&mut config.volume_stats_agg_period, "volumeStatsAggPeriod", &given.volume_stats_agg_period);
    length(&mut config.file_check_frequency, "fileCheckFrequency", &given.file_check_frequency);
    length(&mut config.sync_frequency, "syncFrequency", &given.sync_frequency);
    length(&mut config.image_minimum_gc_age, "imageMinimumGCAge", &given.image_minimum_gc_age);
    length(&mut config.image_maximum_gc_age, "imageMaximumGCAge", &given.image_maximum_gc_age);
    length(&mut config.runtime_request_timeout, "runtimeRequestTimeout", &given.runtime_request_timeout);
    length(&mut config.cpu_cfs_quota_period, "cpuCFSQuotaPeriod", &given.cpu_cfs_quota_period);
    length(&mut config.node_status_update_frequency, "nodeStatusUpdateFrequency", &given.node_status_update_frequency);
    // Who sets how often the status is computed, and not how often it is written, sets both.
    if update.is_some() {
        config.node_status_report_frequency = config.node_status_update_frequency;
    }
    length(&mut config.node_status_report_frequency, "nodeStatusReportFrequency", &given.node_status_report_frequency);
    let lease = given.node_lease_duration_seconds.filter(|seconds| *seconds > 0);
    config.node_lease_duration = Duration::from_secs(u64::from(lease.unwrap_or(40).unsigned_abs()));
    if gates.on("ReduceDefaultCrashLoopBackOffDecay") {
        config.initial_container_restart_period = Duration::from_secs(1);
        config.max_container_restart_period = Duration::from_secs(60);
    }
    length(
        &mut config.max_container_restart_period,
        "crashLoopBackOff.maxContainerRestartPeriod",
        &given.crash_loop_back_off.max_container_restart_period,
    );
    config.initial_container_restart_period =
        config.initial_container_restart_period.min(config.max_container_restart_period);
    config.shutdown_grace_periods = shutdown(given, gates, problems);
}

/// The grace periods by priority, in ascending order; the two older fields are such a list with two entries
/// (pkg/kubelet/nodeshutdown/nodeshutdown_manager.go, migrateConfig).
fn shutdown(given: &types::KubeletConfiguration, gates: &Gates, problems: &mut Problems) -> Vec<(i32, Duration)> {
    if !gates.on("GracefulNodeShutdown") {
        return Vec::new();
    }
    let mut length = |path, text| Length::of(text, path, problems).map(Length::or_zero).unwrap_or_default();
    let all = length("shutdownGracePeriod", &given.shutdown_grace_period);
    let critical = length("shutdownGracePeriodCriticalPods", &given.shutdown_grace_period_critical_pods);
    let whole = |length: Duration| Duration::from_secs(length.as_secs());
    let by_priority = given.shutdown_grace_period_by_pod_priority.as_deref().unwrap_or_default();
    if !by_priority.is_empty() {
        let each = |one: &types::ShutdownGracePeriodByPodPriority| {
            (one.priority, Duration::from_secs(one.shutdown_grace_period_seconds.max(0).unsigned_abs()))
        };
        let mut periods: Vec<(i32, Duration)> = by_priority.iter().map(each).collect();
        periods.sort_by_key(|(priority, _)| *priority);
        return periods;
    }
    if all.is_zero() {
        return Vec::new();
    }
    const SYSTEM_CRITICAL: i32 = 2_000_000_000;
    vec![(0, whole(all.saturating_sub(critical))), (SYSTEM_CRITICAL, whole(critical))]
}

/// `systemReserved` or `kubeReserved` (cmd/kubelet/app/server.go, parseResourceList).
fn reserved(path: &str, flag: &str, given: &Option<Texts>, problems: &mut Problems) -> Resources {
    let mut resources = Resources::default();
    for (resource, text) in given.iter().flatten() {
        let mut say =
            |why: String| problems.say(format!("{path}[{resource}]"), format!("{flag} value failed to parse: {why}"));
        if !matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage" | "pid") {
            say(format!("cannot reserve {resource:?} resource"));
            continue;
        }
        let quantity = match text.parse::<Quantity>() {
            Ok(quantity) => quantity,
            Err(error) => {
                say(format!("failed to parse quantity {text:?} for {resource:?} resource: {error}"));
                continue;
            }
        };
        if quantity < Quantity::ZERO {
            say(format!("resource quantity for {resource:?} cannot be negative: {text}"));
            continue;
        }
        match resource.as_str() {
            "cpu" => resources.cpu = MilliCpu(quantity.milli_rounding_up()),
            "memory" => resources.memory = Bytes(quantity.value_rounding_up()),
            "ephemeral-storage" => resources.ephemeral_storage = Bytes(quantity.value_rounding_up()),
            // Processes are not counted against the node's allocatable.
            _ => {}
        }
    }
    resources
}

fn effect(text: &str) -> Option<TaintEffect> {
    match text {
        "NoSchedule" => Some(TaintEffect::NoSchedule),
        "PreferNoSchedule" => Some(TaintEffect::PreferNoSchedule),
        "NoExecute" => Some(TaintEffect::NoExecute),
        _ => None,
    }
}

fn taint(given: &types::Taint) -> Option<Taint> {
    let effect = effect(&given.effect)?;
    Some(Taint { key: Name::new(&given.key), value: Name::new(&given.value), effect, added: None })
}

#[cfg(test)]
mod tests;
