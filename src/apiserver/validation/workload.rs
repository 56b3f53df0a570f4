//! Objects that make pods.
//!
//! Kubernetes: pkg/apis/apps/validation/validation.go, pkg/apis/batch/validation/validation.go.

use super::container::not_found;
use super::{Invalid, Problems, cron, labels_json, pod, small};
use crate::model::Selector;
use crate::model::pod::RestartPolicy;
use crate::model::workload::{
    CronJob, DaemonSet, DaemonSetUpdate, Deployment, DeploymentStrategy, IntOrPercent, Job, PodTemplate, ReplicaSet,
    StatefulSet, StatefulSetUpdate,
};

pub(super) fn replica_set(set: &ReplicaSet, problems: &mut Problems) {
    problems.not_negative("spec.replicas", set.replicas);
    selected_template("ReplicaSet", "replicaset", &set.selector, &set.template, problems);
}

pub(super) fn deployment(deployment: &Deployment, problems: &mut Problems) {
    problems.not_negative("spec.replicas", deployment.replicas);
    selected_template("ReplicaSet", "deployment", &deployment.selector, &deployment.template, problems);
    if let DeploymentStrategy::RollingUpdate { max_unavailable, max_surge } = deployment.strategy {
        let field = "spec.strategy.rollingUpdate";
        share(&format!("{field}.maxUnavailable"), max_unavailable, true, problems);
        share(&format!("{field}.maxSurge"), max_surge, false, problems);
        if is_zero(max_unavailable) && is_zero(max_surge) {
            let why = "may not be 0 when `maxSurge` is 0";
            problems.invalid(format!("{field}.maxUnavailable"), shown(max_unavailable), why);
        }
    }
    problems.not_negative("spec.revisionHistoryLimit", deployment.revision_history_limit);
    // A deadline of i32::MAX seconds means none, and is always the longer one.
    if deployment.progress_deadline <= deployment.min_ready {
        let seconds = deployment.progress_deadline.as_secs();
        problems.invalid("spec.progressDeadlineSeconds", seconds, "must be greater than minReadySeconds");
    }
}

pub(super) fn stateful_set(set: &StatefulSet, problems: &mut Problems) {
    if let StatefulSetUpdate::RollingUpdate { partition, max_unavailable } = set.update {
        problems.not_negative("spec.updateStrategy.rollingUpdate.partition", partition);
        if let Some(max_unavailable) = max_unavailable {
            let field = "spec.updateStrategy.rollingUpdate.maxUnavailable";
            share(field, max_unavailable, true, problems);
            if is_zero(max_unavailable) {
                problems.invalid(field, shown(max_unavailable), "cannot be 0");
            }
        }
    }
    problems.not_negative("spec.replicas", set.replicas);
    problems.not_negative("spec.ordinals.start", set.start_ordinal);
    problems.not_negative("spec.revisionHistoryLimit", set.revision_history_limit);
    for (idx, claim) in set.claim_templates.iter().enumerate() {
        small::claim_spec(&format!("spec.volumeClaimTemplates[{idx}].spec"), &claim.spec, problems);
    }
    // The claims that the set makes are volumes of its pods, though the template doesn't name them.
    let from_template = problems.0.len();
    selected_template("StatefulSet", "statefulset", &set.selector, &set.template, problems);
    let claimed: Vec<String> = set.claim_templates.iter().map(|claim| not_found(claim.name)).collect();
    let of_template = problems.0.split_off(from_template);
    let of_claims = |problem: &Invalid| problem.field.contains(".volumeMounts[") && claimed.contains(&problem.message);
    problems.0.extend(of_template.into_iter().filter(|problem| !of_claims(problem)));
}

pub(super) fn daemon_set(set: &DaemonSet, problems: &mut Problems) {
    selected_template("DaemonSet", "daemonset", &set.selector, &set.template, problems);
    if let DaemonSetUpdate::RollingUpdate { max_unavailable, max_surge } = set.update {
        let field = "spec.updateStrategy.rollingUpdate";
        share(&format!("{field}.maxUnavailable"), max_unavailable, true, problems);
        share(&format!("{field}.maxSurge"), max_surge, true, problems);
        match (is_zero(max_unavailable), is_zero(max_surge)) {
            (true, true) => {
                problems.add(format!("{field}.maxUnavailable"), "Required value: cannot be 0 when maxSurge is 0");
            }
            (false, false) => {
                let why = "may not be set when maxUnavailable is non-zero";
                problems.invalid(format!("{field}.maxSurge"), shown(max_surge), why);
            }
            _ => {}
        }
    }
    problems.not_negative("spec.revisionHistoryLimit", set.revision_history_limit);
}

pub(super) fn job(job: &Job, problems: &mut Problems) {
    job_spec("spec", job, problems);
}

pub(super) fn cron_job(cron_job: &CronJob, problems: &mut Problems) {
    if cron_job.schedule.is_empty() {
        problems.required("spec.schedule");
    } else if let Err(why) = cron::check(&cron_job.schedule) {
        problems.invalid_text("spec.schedule", &cron_job.schedule, why);
    }
    job_spec("spec.jobTemplate.spec", &cron_job.job_template, problems);
    problems.not_negative("spec.successfulJobsHistoryLimit", cron_job.successful_history);
    problems.not_negative("spec.failedJobsHistoryLimit", cron_job.failed_history);
}

fn job_spec(field: &str, job: &Job, problems: &mut Problems) {
    problems.not_negative(&format!("{field}.parallelism"), job.parallelism);
    if let Some(completions) = job.completions {
        problems.not_negative(&format!("{field}.completions"), completions);
    }
    problems.not_negative(&format!("{field}.backoffLimit"), job.backoff_limit);
    if let Some(limit) = job.backoff_limit_per_index {
        let field = format!("{field}.backoffLimitPerIndex");
        problems.not_negative(&field, limit);
        if !job.indexed {
            problems.invalid(field, limit, "requires indexed completion mode");
        }
    }
    if let Some(most) = job.max_failed_indexes {
        let field = format!("{field}.maxFailedIndexes");
        problems.not_negative(&field, most);
        if job.completions.is_some_and(|completions| most > completions) {
            problems.invalid(field, most, "must be less than or equal to completions");
        }
    }
    if job.indexed && job.completions.is_none() {
        problems.add(format!("{field}.completions"), "Required value: when completion mode is Indexed");
    }
    pod::template(&format!("{field}.template"), &job.template, problems);
    let policy = format!("{field}.template.spec.restartPolicy");
    match job.template.spec.restart_policy {
        RestartPolicy::Always => {
            problems.add(policy, "Required value: valid values: \"OnFailure\", \"Never\"");
        }
        RestartPolicy::OnFailure if !job.pod_failure_policy.is_empty() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            problems.invalid_text(policy, "OnFailure", why);
        }
        RestartPolicy::OnFailure | RestartPolicy::Never => {}
    }
}

/// A selector and the template whose pods it must select.
fn selected_template(kind: &str, lower: &str, selector: &Selector, template: &PodTemplate, problems: &mut Problems) {
    if selector.is_empty() {
        problems.invalid("spec.selector", "{}", format_args!("empty selector is invalid for {lower}"));
    } else if !selector.matches(&template.labels) {
        let labels = labels_json(&template.labels);
        problems.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
    }
    pod::template("spec.template", template, problems);
    let policy = match template.spec.restart_policy {
        RestartPolicy::Always => None,
        RestartPolicy::OnFailure => Some("OnFailure"),
        RestartPolicy::Never => Some("Never"),
    };
    if let Some(policy) = policy {
        let message = format!("Unsupported value: \"{policy}\": supported values: \"Always\"");
        problems.add("spec.template.spec.restartPolicy", message);
    }
    if template.spec.active_deadline.is_some() {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        problems.forbidden("spec.template.spec.activeDeadlineSeconds", &why);
    }
}

/// A number or a share, at most 100 % if it is `of_all`.
pub(super) fn share(field: &str, share: IntOrPercent, of_all: bool, problems: &mut Problems) {
    match share {
        IntOrPercent::Int(number) => problems.not_negative(field, number),
        IntOrPercent::Percent(percent) if percent < 0 => {
            let why = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for \
                       validation is '[0-9]+%')";
            problems.invalid(field, shown(share), why);
        }
        IntOrPercent::Percent(percent) if of_all && percent > 100 => {
            problems.invalid(field, shown(share), "must not be greater than 100%");
        }
        IntOrPercent::Percent(_) => {}
    }
}

/// As error messages show it: numbers bare, shares quoted.
pub(super) fn shown(share: IntOrPercent) -> String {
    match share {
        IntOrPercent::Int(number) => number.to_string(),
        IntOrPercent::Percent(percent) => format!("\"{percent}%\""),
    }
}

fn is_zero(share: IntOrPercent) -> bool {
    matches!(share, IntOrPercent::Int(0) | IntOrPercent::Percent(0))
}
