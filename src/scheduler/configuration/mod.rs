//! KubeSchedulerConfiguration: from what a file says to the scheduler's settings.
//!
//! `types` is the file, `profiles` which plug-ins run where, `args` their arguments, `words` some grammar. Whoever reads the
//! file hands [`compile`] the decoded object and a way to decode the arguments, and gets every problem with its path.
//!
//! Kubernetes: cmd/kube-scheduler/app/options/configfile.go, pkg/scheduler/apis/config/v1/defaults.go,
//! pkg/scheduler/apis/config/validation/validation.go. Extenders are named as not simulated.

mod args;
mod profiles;
pub mod types;
mod words;

use std::sync::Arc;

use crate::kernel::Duration;
use crate::model::configuration::{Problem, Problems};

use super::Config;
use super::framework::Plugin;
use super::plugins::Args;

use types::{Decode, Extender, KubeSchedulerConfiguration, KubeSchedulerProfile, PluginArgs};

/// The only group and version that kube-scheduler 1.36 reads.
pub const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";

/// Plug-ins that kube-scheduler has behind switches that are off; they are passed over.
const NOT_SIMULATED: [&str; 3] = ["GangScheduling", "TopologyPlacementGenerator", "PodGroupPodsCount"];

/// The scheduler's settings that the file says. `others` are plug-ins that kube-scheduler does not have and that the file may
/// name. What the file does not say is as in `base`, profiles and back-offs as Kubernetes has them.
///
/// The settings are there only if kube-scheduler would start with the file.
pub fn compile(
    given: &KubeSchedulerConfiguration,
    base: Config,
    others: &[Arc<dyn Plugin>],
    decoder: &mut impl Decode,
) -> (Option<Config>, Vec<Problem>) {
    let mut problems = Problems::default();
    let mut config = base;
    let profiles = match given.profiles.as_slice() {
        [] => &[KubeSchedulerProfile::default()][..],
        some => some,
    };
    let mut all_args = Vec::new();
    for (index, profile) in profiles.iter().enumerate() {
        let mut args = plugin_config(profile, &format!("profiles[{index}]"), decoder, &mut problems);
        args.gates = config.feature_gates;
        all_args.push(args);
    }
    client_connection(given, &mut config, &mut problems);
    leader_election(given, &mut problems);
    if given.parallelism.is_some_and(|parallelism| parallelism <= 0) {
        let why = "should be an integer value greater than zero";
        problems.invalid("parallelism".to_owned(), given.parallelism.unwrap_or(0), why);
    }
    if let Some(parallelism) = given.parallelism {
        config.parallelism = parallelism.unsigned_abs() as usize;
    }
    let mut names: Vec<&str> = Vec::new();
    for (index, profile) in profiles.iter().enumerate() {
        let path = format!("profiles[{index}]");
        let default = if profiles.len() == 1 { "default-scheduler" } else { "" };
        let name = profile.scheduler_name.as_deref().unwrap_or(default);
        if name.is_empty() {
            problems.required(format!("{path}.schedulerName"), "");
        }
        let percentage = profile.percentage_of_nodes_to_score;
        check_percentage(percentage, &format!("{path}.percentageOfNodesToScore"), &mut problems);
        if let Some(before) = names.iter().position(|other| *other == name) {
            problems.duplicate(format!("{path}.schedulerName"), &format!("profiles[{before}].schedulerName"));
        }
        names.push(name);
    }
    queue_sort(profiles, &mut problems);
    const MOST_PLUGINS: usize = 64;
    if others.len() > MOST_PLUGINS - 20 {
        problems.say(String::new(), format!("{} plug-ins beside kube-scheduler's are too many", others.len()));
    }
    check_percentage(given.percentage_of_nodes_to_score, "percentageOfNodesToScore", &mut problems);
    backoff(given, &mut config, &mut problems);
    extenders(&given.extenders, &mut problems);
    if problems.is_usable() {
        config.profiles.clear();
        for (index, ((profile, args), name)) in profiles.iter().zip(all_args).zip(names).enumerate() {
            let path = format!("profiles[{index}]");
            // kube-scheduler ends at the first profile that it can't make; here each is told of.
            if let Some(mut made) = profiles::profile(profile, &path, name, args, others, &mut problems) {
                let percentage = profile.percentage_of_nodes_to_score.or(given.percentage_of_nodes_to_score);
                made.percentage_of_nodes_to_score = percentage.unwrap_or(0).unsigned_abs();
                config.profiles.push(made);
            }
        }
    }
    (problems.is_usable().then_some(config), problems.0)
}

/// The arguments of a profile's plug-ins.
fn plugin_config(
    profile: &KubeSchedulerProfile,
    path: &str,
    decoder: &mut impl Decode,
    problems: &mut Problems,
) -> Args {
    const REMOVED: [&str; 4] = ["AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"];
    let removed =
        format!("was invalid in version {API_VERSION:?} (KubeSchedulerConfiguration is version {API_VERSION:?})");
    if let Some(plugins) = &profile.plugins {
        let multi_point = ("multiPoint", &plugins.multi_point);
        for (field, set) in plugins.points().into_iter().chain([multi_point]) {
            for (index, plugin) in set.enabled.iter().enumerate() {
                let path = format!("{path}.plugins.{field}.enabled[{index}]");
                if REMOVED.contains(&plugin.name.as_str()) {
                    problems.invalid(path, format_args!("{:?}", plugin.name), &removed);
                } else if NOT_SIMULATED.contains(&plugin.name.as_str()) {
                    problems.warn(path, format!("{} is not simulated; pods are placed without it", plugin.name));
                }
            }
        }
    }
    let mut args = Args::default();
    for (index, config) in profile.plugin_config.iter().enumerate() {
        let path = format!("{path}.pluginConfig[{index}]");
        let name = config.name.as_str();
        if profile.plugin_config[..index].iter().any(|before| before.name == name) {
            problems.duplicate(path.clone(), name);
        }
        if REMOVED.contains(&name) {
            problems.invalid(path.clone(), format_args!("{name:?}"), &removed);
        }
        let path = format!("{path}.args");
        let Some(given) = PluginArgs::decode(name, &path, decoder) else { continue };
        let (api_version, kind) = given.type_meta();
        let wanted = format!("{name}Args");
        if !api_version.is_empty() && api_version != API_VERSION {
            let text = format!(
                "decoding args for plugin {name}: no kind {kind:?} is registered for version {api_version:?} in scheme"
            );
            problems.say(path, text);
        } else if !kind.is_empty() && kind != wanted {
            let group = "kubescheduler.config.k8s.io";
            problems.say(path, format!("args for plugin {name} were not of type {wanted}.{group}, got {kind}.{group}"));
        } else {
            args::apply(&given, &path, &mut args, problems);
        }
    }
    args
}

fn check_percentage(given: Option<i32>, path: &str, problems: &mut Problems) {
    if let Some(percentage) = given.filter(|percentage| !(0..=100).contains(percentage)) {
        problems.invalid(path.to_owned(), percentage, "not in valid range [0-100]");
    }
}

/// All profiles must sort the one queue that there is alike.
fn queue_sort(profiles: &[KubeSchedulerProfile], problems: &mut Problems) {
    let set = |profile: &KubeSchedulerProfile| {
        profile.plugins.as_ref().map(|plugins| plugins.queue_sort.clone()).unwrap_or_default()
    };
    let Some((first, others)) = profiles.split_first() else { return };
    let first = set(first);
    if first.enabled.len() > 1 {
        let path = "profiles[0].plugins.queueSort.enabled".to_owned();
        problems.invalid(path, first.enabled.len(), "only one queue sort plugin can be enabled");
    }
    for (index, other) in others.iter().enumerate() {
        let other = set(other);
        if other != first {
            let names: Vec<&str> = other.enabled.iter().map(|plugin| plugin.name.as_str()).collect();
            let path = format!("profiles[{}].plugins.queueSort", index + 1);
            problems.invalid(path, format_args!("[{}]", names.join(" ")), "must be the same for all profiles");
        }
    }
}

fn client_connection(given: &KubeSchedulerConfiguration, config: &mut Config, problems: &mut Problems) {
    let connection = &given.client_connection;
    if connection.burst < 0 {
        problems.invalid("clientConnection.burst".to_owned(), connection.burst, "must be non-negative");
    }
    // 0 is Kubernetes' default; below 0 client-go limits nothing, which is 0 here.
    if connection.qps < 0.0 {
        config.client_qps = 0;
    } else if connection.qps > 0.0 {
        config.client_qps = (connection.qps as u32).max(1);
    }
    if connection.burst > 0 {
        config.client_burst = connection.burst.unsigned_abs();
    }
}

/// Checked and otherwise without effect: a fault stands for a scheduler that lost its lease.
fn leader_election(given: &KubeSchedulerConfiguration, problems: &mut Problems) {
    let election = &given.leader_election;
    let at = |field: &str| format!("leaderElection.{field}");
    let mut length = |field: &str, text: &Option<String>, default: u64| {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else { return Duration::from_secs(default) };
        if words::is_negative(text, at(field), problems) {
            problems.invalid(at(field), format_args!("{text:?}"), "must be greater than zero");
        }
        match Duration::parse_go(text) {
            Some(length) if !length.is_zero() => length,
            _ => Duration::from_secs(default),
        }
    };
    let lease = length("leaseDuration", &election.lease_duration, 15);
    let renew = length("renewDeadline", &election.renew_deadline, 10);
    let retry = length("retryPeriod", &election.retry_period, 2);
    if election.leader_elect == Some(false) {
        return;
    }
    if lease <= renew {
        let why = "LeaseDuration must be greater than RenewDeadline";
        problems.invalid(at("leaseDuration"), format_args!("{renew}"), why);
    }
    if renew <= retry {
        let why = "RenewDeadline must be greater than RetryPeriod";
        problems.invalid(at("renewDeadline"), format_args!("{retry}"), why);
    }
    if !matches!(election.resource_lock.as_str(), "" | "leases") {
        let shown = format!("{:?}", election.resource_lock);
        problems.invalid(at("resourceLock"), shown, "resourceLock value must be \"leases\"");
    }
}

fn backoff(given: &KubeSchedulerConfiguration, config: &mut Config, problems: &mut Problems) {
    let initial = given.pod_initial_backoff_seconds.unwrap_or(1);
    let most = given.pod_max_backoff_seconds.unwrap_or(10);
    if initial <= 0 {
        problems.invalid("podInitialBackoffSeconds".to_owned(), initial, "must be greater than 0");
    }
    if most < initial {
        let why = "must be greater than or equal to PodInitialBackoffSeconds";
        problems.invalid("podMaxBackoffSeconds".to_owned(), most, why);
    }
    // Longer than any run; keeps the arithmetic of back-offs from overflowing.
    const LONGEST: i64 = 100 * 365 * 86_400;
    let seconds = |seconds: i64| Duration::from_secs(seconds.clamp(0, LONGEST).unsigned_abs());
    config.queue.initial_backoff = seconds(initial);
    config.queue.max_backoff = seconds(most);
}

fn extenders(given: &[Extender], problems: &mut Problems) {
    let mut managed: Vec<&str> = Vec::new();
    for (index, extender) in given.iter().enumerate() {
        let path = format!("extenders[{index}]");
        if !extender.prioritize_verb.is_empty() && extender.weight <= 0 {
            let why = "must have a positive weight applied to it";
            problems.invalid(format!("{path}.weight"), extender.weight, why);
        }
        for (at, resource) in extender.managed_resources.iter().enumerate() {
            let path = format!("{path}.managedResources[{at}].name");
            let name = resource.name.as_str();
            if let Some(problem) = words::label_key(name) {
                problems.invalid(path.clone(), format_args!("{name:?}"), &problem);
            } else if !name.contains('/') || name.starts_with("requests.") || name.contains("kubernetes.io/") {
                problems.invalid(path.clone(), format_args!("{name:?}"), "is an invalid extended resource name");
            }
            if managed.contains(&name) {
                problems.invalid(path, format_args!("{name:?}"), "duplicate extender managed resource name");
            }
            managed.push(name);
        }
        let text = format!("extenders are not simulated; pods are placed without {}", extender.url_prefix);
        problems.warn(path, text);
    }
    let binders = given.iter().filter(|extender| !extender.bind_verb.is_empty()).count();
    if binders > 1 {
        let shown = format!("\"found {binders} extenders implementing bind\"");
        problems.invalid("extenders".to_owned(), shown, "only one extender can implement bind");
    }
}
