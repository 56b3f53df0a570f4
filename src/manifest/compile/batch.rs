//! Jobs and CronJobs.
//!
//! Kubernetes: pkg/apis/batch/v1/defaults.go, pkg/apis/batch/validation/validation.go.

use std::sync::Arc;

use k8s_openapi::api::batch::v1 as batch;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use crate::kernel::Duration;
use crate::model::workload::{
    ConcurrencyPolicy, CronJob, Job, JobStatus, PodFailureAction, PodFailureMatch, PodFailureRule,
};
use crate::model::{Conditions, Kind, Meta, Name, Object, Text};

use super::context::{Context, name, plain_labels, text};
use super::cron;
use super::meta::condition_status;
use super::path::Path;
use super::pod::Of;
use super::workload::conditions;

impl Context<'_> {
    pub(super) fn job(&mut self, job: &batch::Job) -> Object {
        let meta = self.meta(Kind::Job, &job.metadata);
        let none = batch::JobSpec::default();
        let mut compiled = self.job_spec(&Path::Root.field("spec"), job.spec.as_ref().unwrap_or(&none), meta);
        if let Some(status) = &job.status {
            compiled.status = self.job_status(status);
        }
        Object::Job(Arc::new(compiled))
    }

    fn job_status(&mut self, status: &batch::JobStatus) -> JobStatus {
        JobStatus {
            active: status.active.unwrap_or(0),
            ready: status.ready.unwrap_or(0),
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            terminating: status.terminating.unwrap_or(0),
            start_time: self.optional_time(status.start_time.as_ref()),
            completion_time: self.optional_time(status.completion_time.as_ref()),
            completed_indexes: Text::new(text(status.completed_indexes.as_ref())),
            failed_indexes: Text::new(text(status.failed_indexes.as_ref())),
            conditions: conditions!(self, status.conditions, last_probe_time),
        }
    }

    fn job_spec(&mut self, at: &Path<'_>, spec: &batch::JobSpec, meta: Meta) -> Job {
        let template = self.template(&at.field("template"), &spec.template, Of::Job);
        let completion_at = at.field("completionMode");
        let indexed = self.word_or(
            &completion_at,
            spec.completion_mode.as_ref(),
            false,
            &[("Indexed", true), ("NonIndexed", false)],
        );
        let completions_at = at.field("completions");
        let completions = match (spec.completions, spec.parallelism) {
            (None, None) if !indexed => Some(1),
            (None, _) if indexed => {
                self.required(&completions_at, "when completion mode is Indexed");
                None
            }
            (completions, _) => completions,
        };
        let completions = completions.map(|number| self.count(&completions_at, number));
        let per_index = spec.backoff_limit_per_index;
        if per_index.is_some() && !indexed {
            self.bad(&at.field("backoffLimitPerIndex"), per_index.unwrap_or(0), "requires indexed completion mode");
        }
        let default_backoff = if per_index.is_some() { i32::MAX } else { 6 };
        let policy = spec.pod_failure_policy.as_ref();
        let policy_at = at.field("podFailurePolicy");
        let pod_failure_policy = self.pod_failure_rules(&policy_at.field("rules"), policy);
        if policy.is_some() && template.spec.restart_policy != crate::model::pod::RestartPolicy::Never {
            let template_at = at.field("template");
            let spec_at = template_at.field("spec");
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            let word = match template.spec.restart_policy {
                crate::model::pod::RestartPolicy::Always => "Always",
                _ => "OnFailure",
            };
            self.bad(&spec_at.field("restartPolicy"), word, detail);
        }
        let replace_failed_only = self.word_or(
            &at.field("podReplacementPolicy"),
            spec.pod_replacement_policy.as_ref(),
            policy.is_some(),
            &[("Failed", true), ("TerminatingOrFailed", false)],
        );
        // Without `manualSelector` the API server makes the selector, and a dump shows what it made.
        let manual = spec.manual_selector == Some(true);
        let selector = spec.selector.as_ref().filter(|_| manual);
        Job {
            meta,
            parallelism: self.count(&at.field("parallelism"), spec.parallelism.unwrap_or(1)),
            completions,
            active_deadline: spec
                .active_deadline_seconds
                .map(|seconds| self.seconds(&at.field("activeDeadlineSeconds"), seconds)),
            backoff_limit: self.count(&at.field("backoffLimit"), spec.backoff_limit.unwrap_or(default_backoff)),
            backoff_limit_per_index: per_index.map(|limit| self.count(&at.field("backoffLimitPerIndex"), limit)),
            max_failed_indexes: spec.max_failed_indexes.map(|limit| self.count(&at.field("maxFailedIndexes"), limit)),
            selector: selector.map(|selector| self.selector(&at.field("selector"), selector)),
            template,
            ttl: spec
                .ttl_seconds_after_finished
                .map(|seconds| self.seconds(&at.field("ttlSecondsAfterFinished"), seconds)),
            indexed,
            suspend: spec.suspend == Some(true),
            pod_failure_policy,
            replace_failed_only,
            status: JobStatus::default(),
        }
    }

    fn pod_failure_rules(&mut self, at: &Path<'_>, policy: Option<&batch::PodFailurePolicy>) -> Arc<[PodFailureRule]> {
        let compile = |(index, rule): (usize, &batch::PodFailurePolicyRule)| {
            let here = at.index(index);
            let action = self.word(
                &here.field("action"),
                &rule.action,
                &[
                    ("Count", PodFailureAction::Count),
                    ("FailIndex", PodFailureAction::FailIndex),
                    ("FailJob", PodFailureAction::FailJob),
                    ("Ignore", PodFailureAction::Ignore),
                ],
            )?;
            let matches = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
                (Some(codes), _) => {
                    let codes_at = here.field("onExitCodes");
                    let negated =
                        self.word(&codes_at.field("operator"), &codes.operator, &[("In", false), ("NotIn", true)])?;
                    if codes.values.is_empty() {
                        self.bad(&codes_at.field("values"), "[]", "at least one value is required");
                    }
                    PodFailureMatch::ExitCodes {
                        container: name(codes.container_name.as_ref()),
                        negated,
                        codes: codes.values.clone(),
                    }
                }
                (None, Some(patterns)) => PodFailureMatch::Conditions(
                    patterns
                        .iter()
                        .map(|pattern| {
                            let status = pattern.status.as_deref().unwrap_or("True");
                            (Name::from(&pattern.type_), condition_status(status))
                        })
                        .collect(),
                ),
                (None, None) => {
                    self.bad(&here, "\"\"", "specifying one of OnExitCodes and OnPodConditions is required");
                    return None;
                }
            };
            Some(PodFailureRule { action, matches })
        };
        policy.into_iter().flat_map(|policy| &policy.rules).enumerate().filter_map(compile).collect()
    }

    pub(super) fn cron_job(&mut self, cron_job: &batch::CronJob) -> Object {
        let meta = self.meta(Kind::CronJob, &cron_job.metadata);
        let at = Path::Root.field("spec");
        let spec = &cron_job.spec;
        let schedule_at = at.field("schedule");
        if spec.schedule.is_empty() {
            self.required(&schedule_at, "");
        } else if spec.schedule.contains("TZ") {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            self.bad(&schedule_at, format!("{:?}", spec.schedule), detail);
        } else if let Err(error) = cron::check(&spec.schedule) {
            self.bad(&schedule_at, format!("{:?}", spec.schedule), &error);
        }
        let zone = name(spec.time_zone.as_ref());
        if !zone.is_empty() && k8s_openapi::jiff::tz::TimeZone::get(&zone).is_err() {
            let detail = format!("unknown time zone {zone}");
            self.bad(&at.field("timeZone"), format!("{:?}", zone.as_str()), &detail);
        }
        let template_at = at.field("jobTemplate");
        let no_meta = meta::ObjectMeta::default();
        let template_meta = spec.job_template.metadata.as_ref().unwrap_or(&no_meta);
        let metadata_at = template_at.field("metadata");
        let job_meta = Meta {
            labels: self.labels(&metadata_at.field("labels"), template_meta.labels.as_ref()),
            annotations: plain_labels(template_meta.annotations.as_ref()),
            ..Meta::default()
        };
        let none = batch::JobSpec::default();
        let job_spec = spec.job_template.spec.as_ref().unwrap_or(&none);
        let job_template = self.job_spec(&template_at.field("spec"), job_spec, job_meta);
        let status = cron_job.status.as_ref();
        Object::CronJob(Arc::new(CronJob {
            meta,
            schedule: Name::from(&spec.schedule),
            time_zone: zone,
            starting_deadline: spec
                .starting_deadline_seconds
                .map(|seconds: i64| -> Duration { self.seconds(&at.field("startingDeadlineSeconds"), seconds) }),
            concurrency: self.word_or(
                &at.field("concurrencyPolicy"),
                spec.concurrency_policy.as_ref(),
                ConcurrencyPolicy::Allow,
                &[
                    ("Allow", ConcurrencyPolicy::Allow),
                    ("Forbid", ConcurrencyPolicy::Forbid),
                    ("Replace", ConcurrencyPolicy::Replace),
                ],
            ),
            suspend: spec.suspend == Some(true),
            successful_history: self
                .count(&at.field("successfulJobsHistoryLimit"), spec.successful_jobs_history_limit.unwrap_or(3)),
            failed_history: self
                .count(&at.field("failedJobsHistoryLimit"), spec.failed_jobs_history_limit.unwrap_or(1)),
            job_template: Arc::new(job_template),
            last_schedule: self.optional_time(status.and_then(|status| status.last_schedule_time.as_ref())),
            last_successful: self.optional_time(status.and_then(|status| status.last_successful_time.as_ref())),
            active: status
                .into_iter()
                .flat_map(|status| status.active.iter().flatten())
                .map(|reference| name(reference.name.as_ref()))
                .collect(),
        }))
    }
}
