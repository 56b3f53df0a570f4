//! A KubeletConfiguration file as the settings of a kubelet, with every problem at its place, and the fields without effect.
//!
//! Kubernetes: staging/src/k8s.io/kubelet/config/v1beta1/types.go, ValidateKubeletConfiguration in
//! pkg/kubelet/apis/config/validation/validation.go, ParseThresholdConfig in pkg/kubelet/eviction/helpers.go. Of a file with
//! several documents, as kubeadm takes them, the first KubeletConfiguration counts.

use crate::kernel::Duration;
use crate::kubelet::KubeletConfiguration;
use crate::kubelet::config::ShutdownPeriod;
use crate::kubelet::eviction::thresholds::{Amount, Signal, Threshold, default_hard};
use crate::manifest::{self, Node, Problem, Source, Value};
use crate::model::quantity::Quantity;
use crate::model::{Bytes, MilliCpu, Name, Resources};

use super::read::{Fields, Problems};
use super::values;

const KIND: &str = "KubeletConfiguration";
const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";

/// What a field holds.
#[derive(Clone, Copy, PartialEq)]
enum Type {
    Text,
    Integer,
    Number,
    Boolean,
    Duration,
    List,
    Map,
}

use Type::{Boolean, Duration as Time, Integer, List, Map, Number, Text};

/// The fields that have an effect.
const EFFECTIVE: &[(&str, Type)] = &[
    ("crashLoopBackOff", Map),
    ("evictionHard", Map),
    ("evictionMaxPodGracePeriod", Integer),
    ("evictionMinimumReclaim", Map),
    ("evictionPressureTransitionPeriod", Time),
    ("evictionSoft", Map),
    ("evictionSoftGracePeriod", Map),
    ("imageGCHighThresholdPercent", Integer),
    ("imageGCLowThresholdPercent", Integer),
    ("imageMaximumGCAge", Time),
    ("imageMinimumGCAge", Time),
    ("kubeReserved", Map),
    ("maxParallelImagePulls", Integer),
    ("maxPods", Integer),
    ("mergeDefaultEvictionSettings", Boolean),
    ("nodeStatusUpdateFrequency", Time),
    ("podsPerCore", Integer),
    ("registryBurst", Integer),
    ("registryPullQPS", Integer),
    ("serializeImagePulls", Boolean),
    ("shutdownGracePeriod", Time),
    ("singleProcessOOMKill", Boolean),
    ("shutdownGracePeriodByPodPriority", List),
    ("shutdownGracePeriodCriticalPods", Time),
    ("systemReserved", Map),
    ("volumeStatsAggPeriod", Time),
];

/// The others, with the value that Kubernetes assumes where that is one word.
const WITHOUT_EFFECT: &[(&str, Type, &str)] = &[
    ("address", Text, "0.0.0.0"),
    ("allowedUnsafeSysctls", List, ""),
    ("authentication", Map, ""),
    ("authorization", Map, ""),
    ("cgroupDriver", Text, "cgroupfs"),
    ("cgroupRoot", Text, ""),
    ("cgroupsPerQOS", Boolean, "true"),
    ("clusterDNS", List, ""),
    ("clusterDomain", Text, ""),
    ("configMapAndSecretChangeDetectionStrategy", Text, "Watch"),
    ("containerLogMaxFiles", Integer, "5"),
    ("containerLogMaxSize", Text, "10Mi"),
    ("containerLogMaxWorkers", Integer, "1"),
    ("containerLogMonitorInterval", Time, "10s"),
    ("containerRuntimeEndpoint", Text, "unix:///run/containerd/containerd.sock"),
    ("contentType", Text, "application/vnd.kubernetes.protobuf"),
    ("cpuCFSQuota", Boolean, "true"),
    ("cpuCFSQuotaPeriod", Time, "100ms"),
    ("cpuManagerPolicy", Text, "none"),
    ("cpuManagerPolicyOptions", Map, ""),
    ("cpuManagerReconcilePeriod", Time, "10s"),
    ("enableContentionProfiling", Boolean, "false"),
    ("enableControllerAttachDetach", Boolean, "true"),
    ("enableDebugFlagsHandler", Boolean, "true"),
    ("enableDebuggingHandlers", Boolean, "true"),
    ("enableProfilingHandler", Boolean, "true"),
    ("enableServer", Boolean, "true"),
    ("enableSystemLogHandler", Boolean, "true"),
    ("enableSystemLogQuery", Boolean, "false"),
    ("enforceNodeAllocatable", List, ""),
    ("eventBurst", Integer, "100"),
    ("eventRecordQPS", Integer, "50"),
    ("experimentalMemoryQoS", Boolean, "false"),
    ("failCgroupV1", Boolean, "true"),
    ("failSwapOn", Boolean, "true"),
    ("featureGates", Map, ""),
    ("fileCheckFrequency", Time, "20s"),
    ("hairpinMode", Text, "promiscuous-bridge"),
    ("healthzBindAddress", Text, "127.0.0.1"),
    ("healthzPort", Integer, "10248"),
    ("httpCheckFrequency", Time, "20s"),
    ("imagePullCredentialsVerificationPolicy", Text, "NeverVerifyPreloadedImages"),
    ("imageServiceEndpoint", Text, ""),
    ("iptablesDropBit", Integer, "15"),
    ("iptablesMasqueradeBit", Integer, "14"),
    ("kernelMemcgNotification", Boolean, "false"),
    ("kubeAPIBurst", Integer, "100"),
    ("kubeAPIQPS", Integer, "50"),
    ("kubeReservedCgroup", Text, ""),
    ("kubeletCgroups", Text, ""),
    ("localStorageCapacityIsolation", Boolean, "true"),
    ("logging", Map, ""),
    ("makeIPTablesUtilChains", Boolean, "true"),
    ("maxOpenFiles", Integer, "1000000"),
    ("memoryManagerPolicy", Text, "None"),
    ("memoryReservationPolicy", Text, "None"),
    ("memorySwap", Map, ""),
    ("memoryThrottlingFactor", Number, "0.9"),
    ("nodeLeaseDurationSeconds", Integer, "40"),
    ("nodeStatusMaxImages", Integer, "50"),
    ("nodeStatusReportFrequency", Time, "5m0s"),
    ("oomScoreAdj", Integer, "-999"),
    ("podCIDR", Text, ""),
    ("podLogsDir", Text, "/var/log/pods"),
    ("podPidsLimit", Integer, "-1"),
    ("port", Integer, "10250"),
    ("preloadedImagesVerificationAllowlist", List, ""),
    ("protectKernelDefaults", Boolean, "false"),
    ("providerID", Text, ""),
    ("qosReserved", Map, ""),
    ("readOnlyPort", Integer, "0"),
    ("registerNode", Boolean, "true"),
    ("registerWithTaints", List, ""),
    ("reservedMemory", List, ""),
    ("reservedSystemCPUs", Text, ""),
    ("resolvConf", Text, "/etc/resolv.conf"),
    ("rotateCertificates", Boolean, "false"),
    ("runOnce", Boolean, "false"),
    ("runtimeRequestTimeout", Time, "2m0s"),
    ("seccompDefault", Boolean, "false"),
    ("serverTLSBootstrap", Boolean, "false"),
    ("showHiddenMetricsForVersion", Text, ""),
    ("staticPodPath", Text, ""),
    ("staticPodURL", Text, ""),
    ("staticPodURLHeader", Map, ""),
    ("streamingConnectionIdleTimeout", Time, "4h0m0s"),
    ("syncFrequency", Time, "1m0s"),
    ("systemCgroups", Text, ""),
    ("systemReservedCgroup", Text, ""),
    ("tlsCertFile", Text, ""),
    ("tlsCipherSuites", List, ""),
    ("tlsCurvePreferences", List, ""),
    ("tlsMinVersion", Text, ""),
    ("tlsPrivateKeyFile", Text, ""),
    ("topologyManagerPolicy", Text, "none"),
    ("topologyManagerPolicyOptions", Map, ""),
    ("topologyManagerScope", Text, "container"),
    ("tracing", Map, ""),
    ("userNamespaces", Map, ""),
    ("volumePluginDir", Text, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"),
];

/// What came of a file.
#[derive(Debug)]
pub struct Read {
    /// None if the kubelet would not start with it.
    pub configuration: Option<KubeletConfiguration>,
    pub problems: Vec<Problem>,
    /// Fields that are set to something else than usual and have no effect.
    pub without_effect: Vec<String>,
}

/// Reads the first KubeletConfiguration of `source`; `base` has what it does not say.
pub fn read(source: &Source, base: &KubeletConfiguration) -> Read {
    let (documents, found) = manifest::documents_and_problems(source);
    let mut problems = Problems { found };
    let kind_of = |node: &Node<'_>| node.get("kind").and_then(Node::as_str).unwrap_or_default().to_owned();
    let document = documents.iter().find(|node| kind_of(node) == KIND);
    let Some(document) = document else {
        let at = documents.first().map_or(0..0, |node| node.span.clone());
        let hint = Some(format!("apiVersion: {API_VERSION}, kind: {KIND}"));
        problems.add(at, "kind", format!("a {KIND} is expected here"), hint);
        return Read { configuration: None, problems: problems.found, without_effect: Vec::new() };
    };
    let mut configuration = base.clone();
    let mut without_effect = Vec::new();
    if let Some(mut fields) = Fields::new(document, "", &mut problems) {
        fields.get("kind");
        if let Some(version) = fields.get("apiVersion").filter(|node| node.as_str() != Some(API_VERSION)) {
            let message =
                format!("no kind \"{KIND}\" is registered for version {:?}", version.as_str().unwrap_or_default());
            problems.add(version.span.clone(), "apiVersion", message, Some(format!("write {API_VERSION}")));
        }
        for (name, kind) in EFFECTIVE {
            typed(&mut fields, name, *kind, &mut problems);
        }
        for (name, kind, usual) in WITHOUT_EFFECT {
            let Some(node) = typed(&mut fields, name, *kind, &mut problems) else { continue };
            let is_empty = matches!(&node.value, Value::Map(entries) if entries.is_empty())
                || matches!(&node.value, Value::Seq(items) if items.is_empty());
            let same = match &node.value {
                Value::Bool(value) => value.to_string() == *usual,
                Value::Int(value) => value.to_string() == *usual,
                Value::Float(value) => value.to_string() == *usual,
                _ => node.as_str().is_some_and(|text| text == *usual || text.is_empty() || same_time(text, usual)),
            };
            if !is_empty && !same {
                without_effect.push((*name).to_owned());
            }
        }
        take(document, &mut configuration, &mut problems);
        fields.end(&mut problems);
    }
    problems.found.sort_by_key(|problem| problem.at.start);
    let failed = problems.found.iter().any(Problem::is_error);
    Read { configuration: (!failed).then_some(configuration), problems: problems.found, without_effect }
}

fn same_time(text: &str, usual: &str) -> bool {
    Duration::parse_go(text).is_some_and(|time| Duration::parse_go(usual) == Some(time))
}

/// A field that must hold this type.
fn typed<'n, 'a>(
    fields: &mut Fields<'n, 'a>,
    name: &'static str,
    kind: Type,
    problems: &mut Problems,
) -> Option<&'n Node<'a>> {
    let node = fields.get(name)?;
    let (fits, expected) = match kind {
        Type::Text => (node.as_str().is_some(), "a string"),
        Type::Integer => (matches!(node.value, Value::Int(_)), "an integer"),
        Type::Number => (matches!(node.value, Value::Int(_) | Value::Float(_)), "a number"),
        Type::Boolean => (matches!(node.value, Value::Bool(_)), "true or false"),
        Type::Duration => {
            let is_time = node.as_str().is_some_and(|text| Duration::parse_go(text).is_some());
            (is_time || matches!(node.value, Value::Int(0)), "a duration such as 1m30s")
        }
        Type::List => (matches!(node.value, Value::Seq(_)), "a list"),
        Type::Map => (matches!(node.value, Value::Map(_)), "a mapping"),
    };
    if !fits {
        let message = format!("{} where {expected} is expected", node.describe());
        problems.add(node.span.clone(), name, message, None);
    }
    fits.then_some(node)
}

/// Takes the fields with an effect out of the file. What has the wrong type was told already.
fn take(document: &Node<'_>, into: &mut KubeletConfiguration, problems: &mut Problems) {
    let integer = |field: &str| match document.get(field).map(|node| &node.value) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    let boolean = |field: &str| match document.get(field).map(|node| &node.value) {
        Some(Value::Bool(value)) => Some(*value),
        _ => None,
    };
    let time = |field: &str| document.get(field).and_then(Node::as_str).and_then(Duration::parse_go);
    let count = |field: &str| integer(field).map(|number| u32::try_from(number.max(0)).unwrap_or(u32::MAX));
    set(&mut into.max_pods, integer("maxPods"));
    set(&mut into.pods_per_core, integer("podsPerCore"));
    set(&mut into.max_parallel_image_pulls, count("maxParallelImagePulls"));
    set(&mut into.registry_pull_qps, count("registryPullQPS"));
    set(&mut into.registry_burst, count("registryBurst"));
    set(&mut into.serialize_image_pulls, boolean("serializeImagePulls"));
    set(&mut into.single_process_oom_kill, boolean("singleProcessOOMKill"));
    set(&mut into.node_status_update_frequency, time("nodeStatusUpdateFrequency"));
    let backoff = document.get("crashLoopBackOff");
    let longest = backoff.and_then(|node| node.get("maxContainerRestartPeriod"));
    set(&mut into.max_container_restart_period, longest.and_then(Node::as_str).and_then(Duration::parse_go));
    // Zero means the default.
    let transition = time("evictionPressureTransitionPeriod").filter(|period| !period.is_zero());
    set(&mut into.eviction_pressure_transition_period, transition);
    let grace = integer("evictionMaxPodGracePeriod").map(|seconds| Duration::from_secs(seconds.max(0) as u64));
    set(&mut into.eviction_max_pod_grace_period, grace);
    let percent = |field: &str| integer(field).map(|number| number.clamp(0, 100) as i32);
    set(&mut into.image_gc_high_threshold_percent, percent("imageGCHighThresholdPercent"));
    set(&mut into.image_gc_low_threshold_percent, percent("imageGCLowThresholdPercent"));
    set(&mut into.image_minimum_gc_age, time("imageMinimumGCAge"));
    set(&mut into.image_maximum_gc_age, time("imageMaximumGCAge"));
    set(&mut into.volume_stats_agg_period, time("volumeStatsAggPeriod").filter(|period| !period.is_zero()));
    let high = into.image_gc_high_threshold_percent;
    if into.image_gc_low_threshold_percent >= high && high < 100 {
        let at = document.place("imageGCLowThresholdPercent");
        let message = format!("must be less than imageGCHighThresholdPercent ({high})");
        problems.add(at, "imageGCLowThresholdPercent", message, None);
    }
    if let (Some(true), Some(most)) = (boolean("serializeImagePulls"), integer("maxParallelImagePulls"))
        && most > 1
    {
        let at = document.place("maxParallelImagePulls");
        problems.add(at, "maxParallelImagePulls", "cannot be larger than 1 unless serializeImagePulls is false", None);
    }
    if let Some(most) = integer("maxParallelImagePulls").filter(|most| *most > 1)
        && boolean("serializeImagePulls").is_none()
    {
        // The default follows the number of parallel pulls.
        into.serialize_image_pulls = most < 2;
    }
    for (field, into) in [("systemReserved", &mut into.system_reserved), ("kubeReserved", &mut into.kube_reserved)] {
        if let Some(node) = document.get(field) {
            *into = reserved(node, field, problems);
        }
    }
    thresholds(document, boolean("mergeDefaultEvictionSettings") == Some(true), into, problems);
    shutdown(document, time("shutdownGracePeriod"), time("shutdownGracePeriodCriticalPods"), into, problems);
}

fn entries<'n, 'a>(document: &'n Node<'a>, field: &str) -> &'n [(manifest::Key<'a>, Node<'a>)] {
    match document.get(field).map(|node| &node.value) {
        Some(Value::Map(entries)) => entries,
        _ => &[],
    }
}

fn reserved(node: &Node<'_>, field: &str, problems: &mut Problems) -> Resources {
    let mut reserved = Resources::default();
    let Value::Map(entries) = &node.value else { return reserved };
    for (key, value) in entries {
        let path = format!("{field}[{}]", key.name);
        let Some(quantity) = value.as_str().and_then(|text| text.parse::<Quantity>().ok()) else {
            problems.add(value.span.clone(), &path, "not a quantity", Some("such as \"500m\" or \"1Gi\"".to_owned()));
            continue;
        };
        match key.name.as_ref() {
            "cpu" => reserved.cpu = MilliCpu(quantity.milli_rounding_up()),
            "memory" => reserved.memory = Bytes(quantity.value_rounding_up()),
            "ephemeral-storage" => reserved.ephemeral_storage = Bytes(quantity.value_rounding_up()),
            "pid" => {}
            _ => problems.add(key.span.clone(), &path, "this resource cannot be reserved", None),
        }
    }
    reserved
}

fn thresholds(document: &Node<'_>, merge: bool, into: &mut KubeletConfiguration, problems: &mut Problems) {
    let mut hard: Vec<Threshold> = into.thresholds.iter().filter(|one| one.grace.is_none()).copied().collect();
    let mut soft: Vec<Threshold> = into.thresholds.iter().filter(|one| one.grace.is_some()).copied().collect();
    if document.get("evictionHard").is_some() {
        let given = amounts(document, "evictionHard", problems);
        let usual = default_hard();
        let kept = usual.into_iter().filter(|one| merge && !given.iter().any(|(signal, _)| *signal == one.signal));
        hard = given.iter().map(|(signal, value)| Threshold::hard(*signal, *value)).chain(kept).collect();
    }
    if document.get("evictionSoft").is_some() {
        soft.clear();
        for (signal, value) in amounts(document, "evictionSoft", problems) {
            let graces = entries(document, "evictionSoftGracePeriod");
            let grace = graces.iter().find(|(key, _)| key.name == signal.as_str());
            match grace.map(|(_, node)| (node.as_str().and_then(Duration::parse_go), node)) {
                Some((Some(grace), _)) => {
                    soft.push(Threshold { signal, value, grace: Some(grace), min_reclaim: None });
                }
                Some((None, node)) => {
                    let path = format!("evictionSoftGracePeriod[{}]", signal.as_str());
                    values::duration(node, &path, problems);
                }
                None => {
                    let message =
                        format!("grace period must be specified for the soft eviction threshold {}", signal.as_str());
                    problems.add(document.place("evictionSoft"), "evictionSoft", message, None);
                }
            }
        }
    }
    let reclaim = amounts(document, "evictionMinimumReclaim", problems);
    for threshold in hard.iter_mut().chain(&mut soft) {
        if let Some((_, amount)) = reclaim.iter().find(|(signal, _)| *signal == threshold.signal) {
            threshold.min_reclaim = Some(*amount);
        }
    }
    // 0 and 0% are never met.
    into.thresholds = hard.into_iter().chain(soft).filter(|one| one.value.of(1 << 40) > 0).collect();
}

/// Signals with their amounts.
fn amounts(document: &Node<'_>, field: &str, problems: &mut Problems) -> Vec<(Signal, Amount)> {
    let mut found = Vec::new();
    for (key, value) in entries(document, field) {
        let path = format!("{field}[{}]", key.name);
        let derived = key.name.starts_with("containerfs.");
        match Signal::named(&key.name) {
            None if derived => {
                // Kubernetes takes them from nodefs or imagefs, whatever is said here.
                continue;
            }
            None => {
                let known = Signal::CONFIGURABLE.map(Signal::as_str);
                let hint = manifest::nearest(&key.name, known).map(|name| format!("did you mean `{name}`?"));
                let hint = hint.or_else(|| Some(format!("one of {}", known.join(", "))));
                problems.add(key.span.clone(), &path, format!("unknown eviction signal {}", key.name), hint);
            }
            Some(signal) => match value.as_str().and_then(Amount::parse) {
                Some(amount) => found.push((signal, amount)),
                None => {
                    let hint = Some("such as \"100Mi\" or \"10%\"".to_owned());
                    problems.add(value.span.clone(), &path, "not an eviction threshold", hint);
                }
            },
        }
    }
    found
}

/// The periods of a graceful shutdown, the lowest priority first (pkg/kubelet/nodeshutdown).
fn shutdown(
    document: &Node<'_>,
    all: Option<Duration>,
    critical: Option<Duration>,
    into: &mut KubeletConfiguration,
    problems: &mut Problems,
) {
    let by_priority = document.get("shutdownGracePeriodByPodPriority");
    let (period, critical) = (all.unwrap_or_default(), critical.unwrap_or_default());
    if critical > period {
        let at = document.place("shutdownGracePeriodCriticalPods");
        let message = format!("{critical} must be <= shutdownGracePeriod {period}");
        problems.add(at, "shutdownGracePeriodCriticalPods", message, None);
    }
    let Some(Value::Seq(items)) = by_priority.map(|node| &node.value) else {
        if !period.is_zero() {
            let critical_from = 2_000_000_000;
            into.shutdown_grace_periods = vec![
                ShutdownPeriod { priority: i32::MIN, period: period.saturating_sub(critical) },
                ShutdownPeriod { priority: critical_from, period: critical },
            ];
        }
        return;
    };
    if !period.is_zero() && !items.is_empty() {
        let at = document.place("shutdownGracePeriodByPodPriority");
        let message = "cannot be given together with shutdownGracePeriod";
        problems.add(at, "shutdownGracePeriodByPodPriority", message, None);
    }
    let mut periods = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("shutdownGracePeriodByPodPriority[{index}]");
        let Some(mut fields) = Fields::new(item, &path, problems) else { continue };
        let priority = fields.integer("priority", problems).unwrap_or(0);
        let seconds = fields.integer("shutdownGracePeriodSeconds", problems).unwrap_or(0);
        fields.end(problems);
        periods.push(ShutdownPeriod {
            priority: i32::try_from(priority).unwrap_or(i32::MAX),
            period: Duration::from_secs(seconds.max(0) as u64),
        });
    }
    periods.sort_by_key(|one| one.priority);
    if let Some(first) = periods.first_mut() {
        // Pods of lower priorities than any that is named go with the first.
        first.priority = i32::MIN;
    }
    into.shutdown_grace_periods = periods;
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// As reports list what has no effect.
pub(super) fn kind() -> Name {
    Name::new(KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (Option<KubeletConfiguration>, Vec<String>) {
        let source = Source::new("kubelet.yaml", text);
        let read = read(&source, &KubeletConfiguration::default());
        let line = |problem: &Problem| {
            let place = source.place(problem.at.start);
            format!("{}:{}: {}: {}", place.line, place.column, problem.field, problem.kind)
        };
        (read.configuration, read.problems.iter().map(line).collect())
    }

    fn with(fields: &str) -> (Option<KubeletConfiguration>, Vec<String>) {
        read_text(&format!("apiVersion: {API_VERSION}\nkind: {KIND}\n{fields}\n"))
    }

    #[test]
    fn files_of_others_load_but_for_those_that_are_broken() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/configs/kubelet");
        let mut files = 0;
        for entry in std::fs::read_dir(&folder).expect("the folder of the files") {
            let path = entry.expect("a file").path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.ends_with(".md") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).expect("a text");
            // Templates, and pieces of documentation that are no YAML of one document each.
            let is_broken = name.contains("invalid")
                || text.contains("{{")
                || text.contains("  ...\n")
                || (text.matches("\nkind:").count() > text.matches("\n---").count() + 1);
            let (configuration, problems) = read_text(&text);
            assert_eq!(configuration.is_none(), is_broken, "{name}: {problems:#?}");
        }
        assert!(files > 10, "{files} files in {}", folder.display());
    }

    #[test]
    fn thresholds_replace_the_defaults_unless_they_are_to_be_merged() {
        let hard = "evictionHard: {memory.available: 500Mi, nodefs.available: 0%}";
        let signals = |fields: &str| {
            let (configuration, problems) = with(fields);
            assert!(problems.is_empty(), "{problems:?}");
            let thresholds = configuration.unwrap_or_default().thresholds;
            thresholds.iter().map(|one| one.signal.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(signals(hard), ["memory.available"]);
        assert_eq!(signals(&format!("{hard}\nmergeDefaultEvictionSettings: true")).len(), 4);
        assert_eq!(signals("maxPods: 5").len(), 5);
        let soft = "evictionSoft: {memory.available: 1Gi}\nevictionSoftGracePeriod: {memory.available: 90s}";
        assert_eq!(signals(soft).last(), Some(&"memory.available"));
    }

    #[test]
    fn what_is_wrong_is_said_at_its_place() {
        for (fields, said) in [
            ("maxPods: many", "3:10: maxPods: a string where an integer is expected"),
            ("maxPod: 5", "3:1: maxPod: unknown field `maxPod`"),
            ("evictionHard: {memory.avail: 1Gi}", "3:16: evictionHard[memory.avail]: unknown eviction signal memory.avail"),
            ("evictionHard: {memory.available: lots}", "evictionHard[memory.available]: not an eviction threshold"),
            ("evictionSoft: {memory.available: 1Gi}", "grace period must be specified for the soft eviction threshold"),
            ("imageGCHighThresholdPercent: 50\nimageGCLowThresholdPercent: 60", "must be less than imageGCHighThresholdPercent"),
            ("shutdownGracePeriod: 10s\nshutdownGracePeriodCriticalPods: 20s", "20s must be <= shutdownGracePeriod 10s"),
            ("systemReserved: {gpu: \"1\"}", "this resource cannot be reserved"),
        ] {
            let (configuration, problems) = with(fields);
            assert!(configuration.is_none(), "{fields}");
            assert!(problems.iter().any(|problem| problem.contains(said)), "{fields}: {problems:?}");
        }
        assert!(read_text("kind: Pod\n").1[0].contains("a KubeletConfiguration is expected here"));
    }
}
