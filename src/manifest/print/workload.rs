//! Objects that make pods.

use serde_json::{Value, json};

use crate::kernel::Duration;
use crate::manifest::epoch::Epoch;
use crate::model::workload::{
    ConcurrencyPolicy, ControllerRevision, CronJob, DaemonSet, DaemonSetUpdate, Deployment, DeploymentStrategy, Job,
    PodFailureAction, PodFailureMatch, ReplicaSet, StatefulSet, StatefulSetUpdate,
};
use crate::model::{Condition, Name, Requirement};

use super::fields::{Fields, int_or_percent};
use super::placement::selector;
use super::pod::template;
use super::storage::claim_template;

/// A condition of a workload; `update` is the name of its second time, if its kind has one.
pub(super) fn condition(condition: &Condition, epoch: Epoch, update: Option<&str>) -> Value {
    let mut fields = Fields::new();
    let updated = update.map(|field| (field, epoch.rfc3339(condition.last_update)));
    let early = updated.as_ref().is_some_and(|(field, _)| *field < "lastTransitionTime");
    if let (true, Some((field, time))) = (early, &updated) {
        fields.put(field, time.as_str());
    }
    fields.put("lastTransitionTime", epoch.rfc3339(condition.last_transition));
    if let (false, Some((field, time))) = (early, &updated) {
        fields.put(field, time.as_str());
    }
    fields.text("message", &condition.message);
    fields.text("reason", &condition.reason);
    fields.put("status", condition.status.as_str());
    fields.put("type", condition.kind.as_str());
    fields.done()
}

fn min_ready(fields: &mut Fields, length: Duration) {
    fields.number("minReadySeconds", length.as_secs() as i64);
}

pub(super) fn replica_set(set: &ReplicaSet, epoch: Epoch, fields: &mut Fields) {
    fields.put("spec", replica_set_spec(set, selector(&set.selector)));
    fields.put("status", replica_set_status(set, epoch));
}

/// The same with a map of labels as selector.
pub(super) fn replication_controller(controller: &ReplicaSet, epoch: Epoch, fields: &mut Fields) {
    let mut labels = Fields::new();
    for requirement in controller.selector.requirements.iter() {
        if let Requirement::In(key, values) = requirement {
            labels.some(key, values.first().map(|value| value.as_str()));
        }
    }
    fields.put("spec", replica_set_spec(controller, labels.done()));
    fields.put("status", replica_set_status(controller, epoch));
}

fn replica_set_spec(set: &ReplicaSet, selector: Value) -> Value {
    let mut spec = Fields::new();
    min_ready(&mut spec, set.min_ready);
    spec.put("replicas", set.replicas);
    spec.put("selector", selector);
    spec.put("template", template(&set.template));
    spec.done()
}

fn replica_set_status(set: &ReplicaSet, epoch: Epoch) -> Value {
    let status = &set.status;
    let mut fields = Fields::new();
    fields.number("availableReplicas", status.available);
    fields.list("conditions", &status.conditions, |one| condition(one, epoch, None));
    fields.number("fullyLabeledReplicas", status.fully_labeled);
    fields.number("observedGeneration", status.observed_generation);
    fields.number("readyReplicas", status.ready);
    fields.put("replicas", status.replicas);
    fields.number("terminatingReplicas", status.terminating);
    fields.done()
}

pub(super) fn deployment(deployment: &Deployment, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    min_ready(&mut spec, deployment.min_ready);
    spec.flag("paused", deployment.paused);
    spec.seconds("progressDeadlineSeconds", deployment.progress_deadline);
    spec.put("replicas", deployment.replicas);
    spec.put("revisionHistoryLimit", deployment.revision_history_limit);
    spec.put("selector", selector(&deployment.selector));
    let strategy = match deployment.strategy {
        DeploymentStrategy::Recreate => json!({"type": "Recreate"}),
        DeploymentStrategy::RollingUpdate { max_unavailable, max_surge } => json!({
            "rollingUpdate": {
                "maxSurge": int_or_percent(max_surge),
                "maxUnavailable": int_or_percent(max_unavailable),
            },
            "type": "RollingUpdate",
        }),
    };
    spec.put("strategy", strategy);
    spec.put("template", template(&deployment.template));
    fields.put("spec", spec.done());
    let status = &deployment.status;
    let mut out = Fields::new();
    out.number("availableReplicas", status.available);
    out.number("collisionCount", status.collision_count);
    out.list("conditions", &status.conditions, |one| condition(one, epoch, Some("lastUpdateTime")));
    out.number("observedGeneration", status.observed_generation);
    out.number("readyReplicas", status.ready);
    out.number("replicas", status.replicas);
    out.number("terminatingReplicas", status.terminating);
    out.number("unavailableReplicas", status.unavailable);
    out.number("updatedReplicas", status.updated);
    fields.put("status", out.done());
}

pub(super) fn stateful_set(set: &StatefulSet, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    min_ready(&mut spec, set.min_ready);
    if set.start_ordinal != 0 {
        spec.put("ordinals", json!({"start": set.start_ordinal}));
    }
    spec.put("podManagementPolicy", if set.parallel { "Parallel" } else { "OrderedReady" });
    spec.put("replicas", set.replicas);
    spec.put("revisionHistoryLimit", set.revision_history_limit);
    spec.put("selector", selector(&set.selector));
    spec.put("serviceName", set.service_name.as_str());
    spec.put("template", template(&set.template));
    let update = match set.update {
        StatefulSetUpdate::OnDelete => json!({"type": "OnDelete"}),
        StatefulSetUpdate::RollingUpdate { partition, max_unavailable } => {
            let mut rolling = Fields::new();
            rolling.some("maxUnavailable", max_unavailable.map(int_or_percent));
            rolling.put("partition", partition);
            json!({"rollingUpdate": rolling.done(), "type": "RollingUpdate"})
        }
    };
    spec.put("updateStrategy", update);
    spec.list("volumeClaimTemplates", set.claim_templates.iter(), claim_template);
    fields.put("spec", spec.done());
    let status = &set.status;
    let mut out = Fields::new();
    out.put("availableReplicas", status.available);
    out.number("collisionCount", status.collision_count);
    out.list("conditions", &status.conditions, |one| condition(one, epoch, None));
    out.number("currentReplicas", status.current);
    out.text("currentRevision", &status.current_revision);
    out.number("observedGeneration", status.observed_generation);
    out.number("readyReplicas", status.ready);
    out.put("replicas", status.replicas);
    out.text("updateRevision", &status.update_revision);
    out.number("updatedReplicas", status.updated);
    fields.put("status", out.done());
}

pub(super) fn daemon_set(set: &DaemonSet, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    min_ready(&mut spec, set.min_ready);
    spec.put("revisionHistoryLimit", set.revision_history_limit);
    spec.put("selector", selector(&set.selector));
    spec.put("template", template(&set.template));
    let update = match set.update {
        DaemonSetUpdate::OnDelete => json!({"type": "OnDelete"}),
        DaemonSetUpdate::RollingUpdate { max_unavailable, max_surge } => json!({
            "rollingUpdate": {
                "maxSurge": int_or_percent(max_surge),
                "maxUnavailable": int_or_percent(max_unavailable),
            },
            "type": "RollingUpdate",
        }),
    };
    spec.put("updateStrategy", update);
    fields.put("spec", spec.done());
    let status = &set.status;
    let mut out = Fields::new();
    out.number("collisionCount", status.collision_count);
    out.list("conditions", &status.conditions, |one| condition(one, epoch, None));
    out.put("currentNumberScheduled", status.current_scheduled);
    out.put("desiredNumberScheduled", status.desired_scheduled);
    out.number("numberAvailable", status.available);
    out.put("numberMisscheduled", status.misscheduled);
    out.put("numberReady", status.ready);
    out.number("numberUnavailable", status.unavailable);
    out.number("observedGeneration", status.observed_generation);
    out.number("updatedNumberScheduled", status.updated_scheduled);
    fields.put("status", out.done());
}

pub(super) fn controller_revision(revision: &ControllerRevision, fields: &mut Fields) {
    fields.put("revision", revision.revision);
}

/// What a revision holds of its workload.
pub(super) fn revision_data(revision: &ControllerRevision) -> Value {
    json!({"spec": {"template": template(&revision.template)}})
}

pub(super) fn job(job: &Job, epoch: Epoch, fields: &mut Fields) {
    fields.put("spec", job_spec(job));
    let status = &job.status;
    let mut out = Fields::new();
    out.number("active", status.active);
    out.text("completedIndexes", &status.completed_indexes);
    out.time("completionTime", epoch, status.completion_time);
    out.list("conditions", &status.conditions, |one| condition(one, epoch, Some("lastProbeTime")));
    out.number("failed", status.failed);
    out.text("failedIndexes", &status.failed_indexes);
    out.number("ready", status.ready);
    out.time("startTime", epoch, status.start_time);
    out.number("succeeded", status.succeeded);
    out.number("terminating", status.terminating);
    fields.put("status", out.done());
}

fn job_spec(job: &Job) -> Value {
    let mut spec = Fields::new();
    spec.some("activeDeadlineSeconds", job.active_deadline.map(|length| length.as_secs()));
    spec.put("backoffLimit", job.backoff_limit);
    spec.some("backoffLimitPerIndex", job.backoff_limit_per_index);
    spec.put("completionMode", if job.indexed { "Indexed" } else { "NonIndexed" });
    spec.some("completions", job.completions);
    spec.flag("manualSelector", job.selector.is_some());
    spec.some("maxFailedIndexes", job.max_failed_indexes);
    spec.put("parallelism", job.parallelism);
    if !job.pod_failure_policy.is_empty() {
        let rules: Vec<Value> = job
            .pod_failure_policy
            .iter()
            .map(|rule| {
                let mut fields = Fields::new();
                let action = match rule.action {
                    PodFailureAction::FailJob => "FailJob",
                    PodFailureAction::FailIndex => "FailIndex",
                    PodFailureAction::Ignore => "Ignore",
                    PodFailureAction::Count => "Count",
                };
                fields.put("action", action);
                match &rule.matches {
                    PodFailureMatch::ExitCodes { container, negated, codes } => {
                        let mut exit = Fields::new();
                        exit.text("containerName", container);
                        exit.put("operator", if *negated { "NotIn" } else { "In" });
                        exit.put("values", codes.clone());
                        fields.put("onExitCodes", exit.done());
                    }
                    PodFailureMatch::Conditions(patterns) => {
                        fields.list(
                            "onPodConditions",
                            patterns,
                            |(kind, status)| json!({"status": status.as_str(), "type": kind.as_str()}),
                        );
                    }
                }
                fields.done()
            })
            .collect();
        spec.put("podFailurePolicy", json!({"rules": rules}));
    }
    spec.put("podReplacementPolicy", if job.replace_failed_only { "Failed" } else { "TerminatingOrFailed" });
    spec.some("selector", job.selector.as_ref().map(selector));
    spec.put("suspend", job.suspend);
    spec.put("template", template(&job.template));
    spec.some("ttlSecondsAfterFinished", job.ttl.map(|length| length.as_secs()));
    spec.done()
}

pub(super) fn cron_job(cron_job: &CronJob, epoch: Epoch, fields: &mut Fields) {
    let mut spec = Fields::new();
    let concurrency = match cron_job.concurrency {
        ConcurrencyPolicy::Allow => "Allow",
        ConcurrencyPolicy::Forbid => "Forbid",
        ConcurrencyPolicy::Replace => "Replace",
    };
    spec.put("concurrencyPolicy", concurrency);
    spec.put("failedJobsHistoryLimit", cron_job.failed_history);
    let mut metadata = Fields::new();
    metadata.labels("annotations", &cron_job.job_template.meta.annotations);
    metadata.labels("labels", &cron_job.job_template.meta.labels);
    spec.put("jobTemplate", json!({"metadata": metadata.done(), "spec": cron_job_spec(&cron_job.job_template)}));
    spec.put("schedule", cron_job.schedule.as_str());
    spec.some("startingDeadlineSeconds", cron_job.starting_deadline.map(|length| length.as_secs()));
    spec.put("successfulJobsHistoryLimit", cron_job.successful_history);
    spec.put("suspend", cron_job.suspend);
    spec.text("timeZone", &cron_job.time_zone);
    fields.put("spec", spec.done());
    let mut status = Fields::new();
    let namespace = cron_job.meta.namespace;
    status.list("active", &cron_job.active, |name: &Name| {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": name.as_str(),
            "namespace": namespace.as_str(),
        })
    });
    status.time("lastScheduleTime", epoch, cron_job.last_schedule);
    status.time("lastSuccessfulTime", epoch, cron_job.last_successful);
    fields.put("status", status.done());
}

/// A Job template holds what was written; the API server fills in a Job's defaults when the Job is made.
fn cron_job_spec(job: &Job) -> Value {
    let mut spec = job_spec(job);
    if let Some(fields) = spec.as_object_mut() {
        let defaults = [
            ("backoffLimit", Value::from(6)),
            ("completionMode", Value::from("NonIndexed")),
            ("completions", Value::from(1)),
            ("parallelism", Value::from(1)),
            ("podReplacementPolicy", Value::from("TerminatingOrFailed")),
            ("suspend", Value::from(false)),
        ];
        for (field, default) in defaults {
            if fields.get(field) == Some(&default) {
                fields.shift_remove(field);
            }
        }
    }
    spec
}
