//! What the kubelet refuses to start with, in its words.
//!
//! Kubernetes: pkg/kubelet/apis/config/validation/validation.go, after the defaults of v1beta1. Not checked: what depends on
//! the machine's operating system, reserved memory by NUMA node, certificates, and the patterns of image allow lists.

use std::fmt::Display;

use super::types::{KubeletConfiguration, Taint};
use super::words::Length;
use super::{Gates, effect};
use crate::model::configuration::Problems;
use crate::model::feature_gates;

/// Says all that is wrong with `given`.
pub(super) fn validate(given: &KubeletConfiguration, gates: &Gates, problems: &mut Problems) {
    gates_are_known(given, problems);
    numbers(given, problems);
    images(given, problems);
    names(given, gates, problems);
    shutdown(given, gates, problems);
    crash_loop(given, gates, problems);
    allocatable(given, problems);
    lengths(given, problems);
    taints(given, problems);
    paths(given, problems);
    others(given, gates, problems);
}

fn gates_are_known(given: &KubeletConfiguration, problems: &mut Problems) {
    for (name, on) in given.feature_gates.iter().flatten() {
        let path = format!("featureGates[{name}]");
        if let Some(why) = feature_gates::refusal(name, *on) {
            problems.say(path, why);
        }
    }
}

/// `field (--flag) value` with what is wrong about it.
fn flag(problems: &mut Problems, field: &str, flag: &str, value: impl Display, why: &str) {
    problems.invalid_configuration(field, format!("{field} (--{flag}) {value} {why}"));
}

fn numbers(given: &KubeletConfiguration, problems: &mut Problems) {
    if given.node_lease_duration_seconds.is_some_and(|seconds| seconds < 0) {
        problems.invalid_configuration("nodeLeaseDurationSeconds", "nodeLeaseDurationSeconds must be greater than 0");
    }
    for (field, name, value) in [
        ("eventBurst", "event-burst", given.event_burst.map(i64::from)),
        ("eventRecordQPS", "event-qps", given.event_record_qps.map(i64::from)),
        ("kubeAPIBurst", "kube-api-burst", given.kube_api_burst.map(i64::from)),
        ("kubeAPIQPS", "kube-api-qps", given.kube_api_qps.map(i64::from)),
        ("maxOpenFiles", "max-open-files", given.max_open_files),
        ("maxPods", "max-pods", given.max_pods.map(i64::from)),
        ("podsPerCore", "pods-per-core", given.pods_per_core.map(i64::from)),
        ("registryBurst", "registry-burst", given.registry_burst.map(i64::from)),
        ("registryPullQPS", "registry-qps", given.registry_pull_qps.map(i64::from)),
    ] {
        if let Some(value) = value.filter(|value| *value < 0) {
            flag(problems, field, name, value, "must not be a negative number");
        }
    }
    for (field, name, value, least, most) in [
        ("imageGCHighThresholdPercent", "image-gc-high-threshold", given.image_gc_high_threshold_percent, 0, 100),
        ("imageGCLowThresholdPercent", "image-gc-low-threshold", given.image_gc_low_threshold_percent, 0, 100),
        ("iptablesDropBit", "iptables-drop-bit", given.iptables_drop_bit, 0, 31),
        ("iptablesMasqueradeBit", "iptables-masquerade-bit", given.iptables_masquerade_bit, 0, 31),
        ("oomScoreAdj", "oom-score-adj", given.oom_score_adj, -1000, 1000),
        ("healthzPort", "healthz-port", given.healthz_port.filter(|port| *port != 0), 1, 65535),
        ("port", "port", given.port.filter(|port| *port != 0), 1, 65535),
    ] {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            flag(problems, field, name, value, &format!("must be between {least} and {most}, inclusive"));
        }
    }
    if let Some(port) = given.read_only_port.filter(|port| !(0..=65535).contains(port)) {
        flag(problems, "readOnlyPort", "read-only-port", port, "must be between 0 and 65535, inclusive");
    }
    if let Some(images) = given.node_status_max_images.filter(|images| *images < -1) {
        flag(problems, "nodeStatusMaxImages", "node-status-max-images", images, "must be -1 or greater");
    }
    if given.container_log_max_workers.is_some_and(|workers| workers < 1) {
        problems.invalid_configuration(
            "containerLogMaxWorkers",
            "containerLogMaxWorkers must be greater than or equal to 1",
        );
    }
    if given.container_log_max_files.is_some_and(|files| files <= 1) {
        problems.invalid_configuration("containerLogMaxFiles", "containerLogMaxFiles must be greater than 1");
    }
    if let Some(factor) = given.memory_throttling_factor.filter(|factor| !(*factor > 0.0 && *factor <= 1.0)) {
        let why = format!("memoryThrottlingFactor {factor} must be greater than 0 and less than or equal to 1.0");
        problems.invalid_configuration("memoryThrottlingFactor", why);
    }
}

fn images(given: &KubeletConfiguration, problems: &mut Problems) {
    let high = given.image_gc_high_threshold_percent.unwrap_or(85);
    let low = given.image_gc_low_threshold_percent.unwrap_or(80);
    if low >= high {
        let said = given.image_gc_low_threshold_percent.is_some();
        let field = if said { "imageGCLowThresholdPercent" } else { "imageGCHighThresholdPercent" };
        let why = format!(
            "imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
        );
        problems.invalid_configuration(field, why);
    }
    let default = Length { negative: false, length: crate::kernel::Duration::from_secs(120) };
    let youngest = Length::of(&given.image_minimum_gc_age, "imageMinimumGCAge", problems);
    let youngest = youngest.filter(|age| age.nanos() != 0).unwrap_or(default);
    let oldest = Length::of(&given.image_maximum_gc_age, "imageMaximumGCAge", problems).unwrap_or_default();
    for (field, age) in [("imageMinimumGCAge", youngest), ("imageMaximumGCAge", oldest)] {
        if age.negative {
            problems.invalid_configuration(field, format!("{field} {age} must not be negative"));
        }
    }
    if oldest.nanos() > 0 && oldest.nanos() <= youngest.nanos() {
        let why = format!("imageMaximumGCAge {oldest} must be greater than imageMinimumGCAge {youngest}");
        problems.invalid_configuration("imageMaximumGCAge", why);
    }
    if let Some(most) = given.max_parallel_image_pulls {
        if most < 1 {
            problems.invalid_configuration(
                "maxParallelImagePulls",
                format!("maxParallelImagePulls {most} must be a positive number"),
            );
        }
        if given.serialize_image_pulls == Some(true) && most > 1 {
            let why = "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls (--serialize-image-pulls) is set to false";
            problems.invalid_configuration("maxParallelImagePulls", why);
        }
    }
}

fn quoted(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| format!("{word:?}")).collect()
}

fn names(given: &KubeletConfiguration, gates: &Gates, problems: &mut Problems) {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    const POLICIES: [&str; 4] = ["none", "best-effort", "restricted", "single-numa-node"];
    if let Some(policy) = said(&given.topology_manager_policy).filter(|policy| !POLICIES.contains(&policy.as_str())) {
        let why = format!("must be one of: [{}]", quoted(&POLICIES).join(" "));
        flag(problems, "topologyManagerPolicy", "topology-manager-policy", format_args!("{policy:?}"), &why);
    }
    if let Some(scope) =
        said(&given.topology_manager_scope).filter(|scope| !matches!(scope.as_str(), "container" | "pod"))
    {
        let why = "must be one of: \"container\", or \"pod\"";
        flag(problems, "topologyManagerScope", "topology-manager-scope", format_args!("{scope:?}"), why);
    }
    const HAIRPIN: [&str; 3] = ["none", "hairpin-veth", "promiscuous-bridge"];
    if let Some(mode) = said(&given.hairpin_mode).filter(|mode| !HAIRPIN.contains(&mode.as_str())) {
        let why = format!(
            "option {mode:?} specified for hairpinMode (--hairpin-mode). Valid options are \"none\", \"hairpin-veth\" or \"promiscuous-bridge\""
        );
        problems.invalid_configuration("hairpinMode", why);
    }
    let swap = said(&given.memory_swap.swap_behavior);
    if let Some(swap) = swap.filter(|swap| !matches!(swap.as_str(), "NoSwap" | "LimitedSwap")) {
        let why = format!("memorySwap.swapBehavior {swap:?} must be one of: \"\", \"LimitedSwap\" or \"NoSwap\"");
        problems.invalid_configuration("memorySwap.swapBehavior", why);
    }
    const VERIFY: [&str; 4] =
        ["NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"];
    let field = "imagePullCredentialsVerificationPolicy";
    let verification = said(&given.image_pull_credentials_verification_policy);
    let allowed = given.preloaded_images_verification_allowlist.as_ref().is_some_and(|list| !list.is_empty());
    if gates.on("KubeletEnsureSecretPulledImages") {
        if let Some(policy) = verification.as_ref().filter(|policy| !VERIFY.contains(&policy.as_str())) {
            let [a, b, c, d] = VERIFY;
            let why =
                format!("option {policy:?} specified for {field}. Valid options are {a:?}, {b:?}, {c:?} or {d:?}");
            problems.invalid_configuration(field, why);
        }
        if allowed && verification.as_deref() != Some("NeverVerifyAllowlistedImages") {
            let why = "can't set `preloadedImagesVerificationAllowlist` if `imagePullCredentialsVertificationPolicy` is not \"NeverVerifyAllowlistedImages\"";
            problems.invalid_configuration("preloadedImagesVerificationAllowlist", why);
        }
    } else {
        for (field, is_set) in [(field, verification.is_some()), ("preloadedImagesVerificationAllowlist", allowed)] {
            if is_set {
                let why =
                    format!("`{field}` must not be set if KubeletEnsureSecretPulledImages feature gate is not enabled");
                problems.invalid_configuration(field, why);
            }
        }
    }
    let reservation = said(&given.memory_reservation_policy);
    match reservation.as_deref() {
        None | Some("None") => {}
        Some("TieredReservation") if gates.on("MemoryQoS") => {}
        Some("TieredReservation") => {
            let why = "memoryReservationPolicy \"TieredReservation\" requires MemoryQoS feature gate to be enabled";
            problems.invalid_configuration("memoryReservationPolicy", why);
        }
        Some(policy) => {
            let why = format!(
                "option {policy:?} specified for memoryReservationPolicy. Valid options are \"None\" or \"TieredReservation\""
            );
            problems.invalid_configuration("memoryReservationPolicy", why);
        }
    }
    for (field, policy, known) in [
        ("cpuManagerPolicy", said(&given.cpu_manager_policy), ["none", "static"].as_slice()),
        ("memoryManagerPolicy", said(&given.memory_manager_policy), &["None", "Static"]),
    ] {
        if let Some(policy) = policy.filter(|policy| !known.contains(&policy.as_str())) {
            problems.say(field, format!("unknown policy: {policy:?}"));
        }
    }
    let format = said(&given.logging.format);
    if let Some(format) = format.filter(|format| !matches!(format.as_str(), "text" | "json")) {
        problems.say("logging.format", format!("logging.format: Invalid value: {format:?}: Unsupported log format"));
    }
}

fn shutdown(given: &KubeletConfiguration, gates: &Gates, problems: &mut Problems) {
    const ALL: &str = "shutdownGracePeriod";
    const CRITICAL: &str = "shutdownGracePeriodCriticalPods";
    let all = Length::of(&given.shutdown_grace_period, ALL, problems).unwrap_or_default();
    let critical = Length::of(&given.shutdown_grace_period_critical_pods, CRITICAL, problems).unwrap_or_default();
    let field = "shutdownGracePeriodByPodPriority";
    let by_priority = given.shutdown_grace_period_by_pod_priority.as_ref().is_some_and(|list| !list.is_empty());
    let some = all.nanos() > 0 || critical.nanos() > 0;
    if gates.on("GracefulNodeShutdown") {
        if critical.nanos() > all.nanos() {
            problems.invalid_configuration(CRITICAL, format!("{CRITICAL} {critical} must be <= {ALL} {all}"));
        }
        for (field, length) in [(ALL, all), (CRITICAL, critical)] {
            if length.nanos() != 0 && length.nanos() < 1_000_000_000 {
                problems.invalid_configuration(
                    field,
                    format!("{field} {length} must be either zero or otherwise >= 1 sec"),
                );
            }
        }
    } else if some {
        let why = format!("specifying {ALL} or {CRITICAL} requires feature gate GracefulNodeShutdown");
        problems.invalid_configuration(if all.nanos() > 0 { ALL } else { CRITICAL }, why);
    }
    if !by_priority {
        return;
    }
    if !gates.on("GracefulNodeShutdownBasedOnPodPriority") {
        let why = format!("Specifying {field} requires feature gate GracefulNodeShutdownBasedOnPodPriority");
        problems.invalid_configuration(field, why);
    } else if some {
        problems.invalid_configuration(field, format!("Cannot specify both {field} and {ALL} at the same time"));
    }
}

fn crash_loop(given: &KubeletConfiguration, gates: &Gates, problems: &mut Problems) {
    let path = "crashLoopBackOff.maxContainerRestartPeriod";
    let Some(most) = Length::of(&given.crash_loop_back_off.max_container_restart_period, path, problems) else {
        return;
    };
    let field = "CrashLoopBackOff.MaxContainerRestartPeriod";
    if !gates.on("KubeletCrashLoopBackOffMax") {
        let why = format!("FeatureGate KubeletCrashLoopBackOffMax not enabled, {field} must not be set");
        problems.invalid_configuration(path, why);
    } else if !(1_000..=300_000).contains(&(most.nanos() / 1_000_000)) {
        let seconds = most.nanos() as f64 / 1e9;
        problems
            .invalid_configuration(path, format!("{field} (got: {seconds} seconds) must be set between 1s and 300s"));
    }
}

fn allocatable(given: &KubeletConfiguration, problems: &mut Problems) {
    const FIELD: &str = "enforceNodeAllocatable";
    const FLAG: &str = "enforceNodeAllocatable (--enforce-node-allocatable)";
    let list = given.enforce_node_allocatable.as_deref().unwrap_or_default();
    let has = |word: &str| list.iter().any(|one| one == word);
    for part in ["system", "kube"] {
        let (some, all) = (format!("{part}-reserved-compressible"), format!("{part}-reserved"));
        if has(&some) && has(&all) {
            problems.invalid_configuration(
                FIELD,
                format!("both {some:?} and {all:?} cannot be specified together in {FLAG}"),
            );
        }
    }
    for (index, word) in list.iter().enumerate() {
        let path = format!("{FIELD}[{index}]");
        if list.iter().take(index).any(|before| before == word) {
            problems.invalid_configuration(path, format!("duplicated enforcements {word:?} in {FLAG}"));
            continue;
        }
        let cgroup = |part: &str, group: &Option<String>, problems: &mut Problems| {
            if group.as_deref().unwrap_or_default().is_empty() {
                let why = format!(
                    "{part}ReservedCgroup (--{part}-reserved-cgroup) must be specified when \"{part}-reserved\" or \"{part}-reserved-compressible\" included in {FLAG}"
                );
                problems.invalid_configuration(path.clone(), why);
            }
        };
        match word.as_str() {
            "pods" => {}
            "system-reserved" | "system-reserved-compressible" => {
                cgroup("system", &given.system_reserved_cgroup, problems);
            }
            "kube-reserved" | "kube-reserved-compressible" => cgroup("kube", &given.kube_reserved_cgroup, problems),
            "none" => {
                if list.len() > 1 {
                    let why = format!("{FLAG} may not contain additional enforcements when \"none\" is specified");
                    problems.invalid_configuration(path, why);
                }
                continue;
            }
            other => {
                let why = format!(
                    "option {other:?} specified for {FLAG}. Valid options are \"pods\", \"system-reserved\", \"system-reserved-compressible\", \"kube-reserved\", \"kube-reserved-compressible\" or \"none\""
                );
                problems.invalid_configuration(path, why);
                continue;
            }
        }
        if given.cgroups_per_qos == Some(false) {
            let why =
                format!("cgroupsPerQOS (--cgroups-per-qos) must be set to true when {word:?} contained in {FLAG}");
            problems.invalid_configuration(path, why);
        }
    }
    // Enforcing pods is the default, so a file that says nothing enforces them.
    if given.enforce_node_allocatable.is_none() && given.cgroups_per_qos == Some(false) {
        let why = format!("cgroupsPerQOS (--cgroups-per-qos) must be set to true when \"pods\" contained in {FLAG}");
        problems.invalid_configuration("cgroupsPerQOS", why);
    }
}

fn lengths(given: &KubeletConfiguration, problems: &mut Problems) {
    if let Some(period) = Length::of(&given.cpu_cfs_quota_period, "cpuCFSQuotaPeriod", problems)
        && period.nanos() != 0
        && !(1_000_000..=1_000_000_000).contains(&period.nanos())
    {
        let why = "must be between 1ms and 1sec, inclusive";
        flag(problems, "cpuCFSQuotaPeriod", "cpu-cfs-quota-period", period, why);
    }
    let field = "containerLogMonitorInterval";
    if let Some(interval) = Length::of(&given.container_log_monitor_interval, field, problems)
        && interval.nanos() != 0
        && interval.nanos() < 3_000_000_000
    {
        problems.invalid_configuration(
            field,
            format!("{field} must be a positive time duration greater than or equal to 3s"),
        );
    }
    // No rule but that they are lengths of time.
    let authentication = &given.authentication.webhook.cache_ttl;
    let authorization = &given.authorization.webhook;
    for (field, text) in [
        ("authentication.webhook.cacheTTL", authentication),
        ("authorization.webhook.cacheAuthorizedTTL", &authorization.cache_authorized_ttl),
        ("authorization.webhook.cacheUnauthorizedTTL", &authorization.cache_unauthorized_ttl),
        ("httpCheckFrequency", &given.http_check_frequency),
        ("streamingConnectionIdleTimeout", &given.streaming_connection_idle_timeout),
        ("volumeStatsAggPeriod", &given.volume_stats_agg_period),
        ("cpuManagerReconcilePeriod", &given.cpu_manager_reconcile_period),
    ] {
        Length::of(text, field, problems);
    }
}

fn taints(given: &KubeletConfiguration, problems: &mut Problems) {
    for (index, taint) in given.register_with_taints.iter().flatten().enumerate() {
        let path = format!("registerWithTaints[{index}]");
        if !is_valid(taint) {
            let Taint { key, value, effect, .. } = taint;
            problems.say(path.clone(), format!("invalid taint: {{{key} {value} {effect} <nil>}}"));
        }
        if taint.time_added.is_some() {
            problems.invalid_configuration(path, "taint.TimeAdded is not nil");
        }
    }
}

fn is_valid(taint: &Taint) -> bool {
    let is_name = |text: &str| {
        let end = |c: char| c.is_ascii_alphanumeric();
        let inside = |c: char| end(c) || matches!(c, '-' | '_' | '.');
        text.len() <= 63 && text.starts_with(end) && text.ends_with(end) && text.chars().all(inside)
    };
    let key = match taint.key.split_once('/') {
        Some((prefix, name)) => !prefix.is_empty() && is_name(name),
        None => is_name(&taint.key),
    };
    key && (taint.value.is_empty() || is_name(&taint.value))
        && (taint.effect.is_empty() || effect(&taint.effect).is_some())
}

fn paths(given: &KubeletConfiguration, problems: &mut Problems) {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(logs) = said(&given.pod_logs_dir) {
        if !logs.starts_with('/') {
            problems.invalid_configuration("podLogsDir", format!("pod logs path {logs:?} must be absolute path"));
        }
        let is_clean = |path: &str| {
            let parts = path.strip_prefix('/').unwrap_or(path);
            parts.is_empty() || parts.split('/').all(|part| !matches!(part, "" | "." | ".."))
        };
        if !is_clean(&logs) {
            problems.invalid_configuration("podLogsDir", format!("pod logs path {logs:?} must be normalized"));
        }
        if !logs.is_ascii() {
            problems.invalid_configuration(
                "podLogsDir",
                format!("pod logs path {logs:?} mut contains ASCII characters only"),
            );
        }
    }
    if said(&given.system_cgroups).is_some() && said(&given.cgroup_root).is_none() {
        let why = "systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified";
        problems.invalid_configuration("systemCgroups", why);
    }
    if let Some(cpus) = said(&given.reserved_system_cpus) {
        if said(&given.system_reserved_cgroup).is_some() || said(&given.kube_reserved_cgroup).is_some() {
            let why = "can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup (--system-reserved-cgroup) or kubeReservedCgroup (--kube-reserved-cgroup)";
            problems.invalid_configuration("reservedSystemCPUs", why);
        }
        let number = |text: &str| text.parse::<u32>().is_ok();
        let range = |part: &str| match part.split_once('-') {
            Some((from, to)) => number(from) && number(to),
            None => number(part),
        };
        if let Some(bad) = cpus.split(',').find(|part| !range(part)) {
            let why = format!(
                "unable to parse reservedSystemCPUs (--reserved-cpus) {cpus}, error: strconv.Atoi: parsing {bad:?}: invalid syntax"
            );
            problems.invalid_configuration("reservedSystemCPUs", why);
        }
    }
}

fn others(given: &KubeletConfiguration, gates: &Gates, problems: &mut Problems) {
    if given.server_tls_bootstrap == Some(true) && !gates.on("RotateKubeletServerCertificate") {
        let why = "serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate";
        problems.invalid_configuration("serverTLSBootstrap", why);
    }
    if given.run_once == Some(true) {
        let why = "runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set";
        problems.invalid_configuration("runOnce", why);
    }
    if given.enable_system_log_query == Some(true) {
        if !gates.on("NodeLogQuery") {
            problems.invalid_configuration(
                "enableSystemLogQuery",
                "NodeLogQuery feature gate is required for enableSystemLogQuery",
            );
        }
        if given.enable_system_log_handler == Some(false) {
            problems.invalid_configuration(
                "enableSystemLogQuery",
                "enableSystemLogHandler is required for enableSystemLogQuery",
            );
        }
    }
    if let Some(rate) = given.tracing.sampling_rate_per_million {
        let at = "tracing.samplingRatePerMillion";
        if rate < 0 {
            problems.say(at, format!("{at}: Invalid value: {rate}: sampling rate must be positive"));
        } else if rate > 1_000_000 {
            let why = "sampling rate per million must be less than or equal to one million";
            problems.say(at, format!("{at}: Invalid value: {rate}: {why}"));
        }
    }
}
