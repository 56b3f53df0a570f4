//! CronJob: makes a Job at each time of a schedule.
//!
//! A user meets it as Jobs named `<cronjob>-<minutes since 1970>`. Example: `schedule: "*/5 * * * *"`.
//!
//! Kubernetes: pkg/controller/cronjob/cronjob_controllerv2.go. The wall clock is the scenario's start plus the time that has
//! passed; without `timeZone` schedules are in UTC.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Time};
use crate::model::workload::{ConcurrencyPolicy, CronJob, Job, JobStatus};
use crate::model::{Key, Kind, Meta, Name, Object, condition};
use crate::protocol::api::{Answer, Call, DeleteOptions, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::cron_schedule::{self, Schedule};
use super::informer::Change;
use super::pod_control::controller_reference;
use super::replica_set::{failed_other_than_gone, namespace_terminates};

/// A run begins this long after its time.
const DELAY: Duration = Duration::from_millis(100);
/// More missed times than this make a warning.
const MANY_MISSED: usize = 100;

/// The CronJob controller.
#[derive(Debug, Default)]
pub struct CronJobController {
    /// The status to write once the Job under way is made.
    creating: FxHashMap<Key, (Arc<CronJob>, CronJob)>,
}

fn ended_as(job: &Job) -> Option<&'static str> {
    ["Complete", "Failed"].into_iter().find(|kind| condition::is_true(&job.status.conditions, kind))
}

fn job_key(cron: &CronJob, name: Name) -> Key {
    Key { kind: Kind::Job, namespace: cron.meta.namespace, name }
}

/// The time in seconds since 1970.
fn unix(time: Time, cx: &Context<'_>) -> i64 {
    cx.config.start_unix_seconds + time.as_secs() as i64
}

fn time_of(unix: i64, cx: &Context<'_>) -> Time {
    Time::from_secs(u64::try_from(unix - cx.config.start_unix_seconds).unwrap_or(0))
}

impl CronJobController {
    /// Takes note of Jobs that have ended, and deletes the oldest of them.
    fn tidy(&self, cron: &Arc<CronJob>, updated: &mut CronJob, cx: &mut Context<'_>) {
        let object = Object::CronJob(cron.clone());
        let mut jobs: Vec<Arc<Job>> =
            cx.cache.owned_by(cron.meta.uid).filter_map(|key| cx.cache.job(key.namespace, key.name).cloned()).collect();
        jobs.sort_by_key(|job| (job.status.start_time, job.meta.name));
        for job in &jobs {
            let Some(end) = ended_as(job) else { continue };
            if let Some(at) = updated.active.iter().position(|&name| name == job.meta.name) {
                updated.active.remove(at);
                let text = format!("Saw completed job: {}, condition: {end}", job.meta.name);
                cx.normal(&object, "SawCompletedJob", text);
            }
            if end == "Complete" {
                updated.last_successful = updated.last_successful.max(job.status.completion_time);
            }
        }
        updated.active.retain(|&name| {
            let key = job_key(cron, name);
            cx.cache.get(key).is_some() || cx.cache.is_stale(key)
        });
        for (end, keep) in [("Complete", cron.successful_history), ("Failed", cron.failed_history)] {
            let ended: Vec<&Arc<Job>> = jobs.iter().filter(|job| ended_as(job) == Some(end)).collect();
            let surplus = ended.len().saturating_sub(keep.max(0) as usize);
            for job in ended.into_iter().take(surplus).filter(|job| job.meta.deletion.is_none()) {
                cx.post(Call::Delete(job.meta.key(Kind::Job), DeleteOptions::default()));
                cx.normal(&object, "SuccessfulDelete", format!("Deleted job {}", job.meta.name));
            }
        }
    }

    /// The latest time that was missed; the next one is queued.
    fn due(&self, key: Key, cron: &Arc<CronJob>, cx: &mut Context<'_>) -> Option<i64> {
        let object = Object::CronJob(cron.clone());
        let schedule: Schedule = match cron_schedule::parse(&cron.schedule) {
            Ok(schedule) => schedule,
            Err(error) => {
                let text = format!("unparseable schedule: {} : {error}", cron.schedule);
                cx.warning(&object, "UnparseableSchedule", text);
                return None;
            }
        };
        let zone = if cron.time_zone.is_empty() { Ok(TimeZone::UTC) } else { TimeZone::get(&cron.time_zone) };
        let Ok(zone) = zone else {
            let text = format!("invalid timeZone: \"{}\"", cron.time_zone);
            cx.warning(&object, "UnknownTimeZone", text);
            return None;
        };
        let now = unix(cx.now, cx);
        let mut earliest = unix(cron.last_schedule.unwrap_or(cron.meta.created), cx);
        if let Some(deadline) = cron.starting_deadline {
            earliest = earliest.max(now - deadline.as_secs() as i64);
        }
        let (mut latest, mut missed, mut at) = (None, 0, earliest);
        let next = loop {
            match schedule.next(at, &zone) {
                Some(next) if next <= now => {
                    latest = Some(next);
                    missed += 1;
                    at = next;
                }
                next => break next,
            }
        };
        if let Some(next) = next {
            cx.enqueue_at(key, time_of(next, cx) + DELAY);
        }
        if missed > MANY_MISSED {
            let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            cx.warning(&object, "TooManyMissedTimes", text);
        }
        let late =
            cron.starting_deadline.zip(latest).is_some_and(|(deadline, at)| at + (deadline.as_secs() as i64) < now);
        if late {
            cx.warning(&object, "MissSchedule", "Missed scheduled time to start a job");
            return None;
        }
        latest
    }

    fn write(&self, cron: &CronJob, updated: CronJob, cx: &mut Context<'_>) -> Progress {
        if updated != *cron {
            cx.request(Call::UpdateStatus(Object::CronJob(updated.into())));
        }
        Progress::Wait
    }
}

fn new_job(cron: &CronJob, scheduled: i64) -> Job {
    let template = &cron.job_template;
    let stamp = Timestamp::from_second(scheduled).map(|time| time.to_string()).unwrap_or_default();
    let annotation = Name::new("batch.kubernetes.io/cronjob-scheduled-timestamp");
    Job {
        meta: Meta {
            namespace: cron.meta.namespace,
            name: Name::from(format!("{}-{}", cron.meta.name, scheduled / 60)),
            labels: template.meta.labels.clone(),
            annotations: template.meta.annotations.with(annotation, Name::from(stamp)),
            owner: Some(controller_reference(Kind::CronJob, &cron.meta)),
            source: template.meta.source.or(cron.meta.source),
            ..Meta::default()
        },
        status: JobStatus::default(),
        ..(**template).clone()
    }
}

impl Controller for CronJobController {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn component(&self) -> &'static str {
        "cronjob-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Job, Kind::CronJob]
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        if change.kind() == Kind::CronJob {
            return cx.enqueue(change.key());
        }
        let owner = change.object().meta().owner.filter(|owner| owner.kind == Kind::CronJob);
        if let Some(key) = owner.and_then(|owner| cx.cache.key_of(owner.uid)) {
            cx.enqueue(key);
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(cron) = cx.cache.cron_job(key.namespace, key.name).cloned() else { return Progress::Done };
        let mut updated = (*cron).clone();
        self.tidy(&cron, &mut updated, cx);
        if cron.meta.deletion.is_some() || cron.suspend {
            return self.write(&cron, updated, cx);
        }
        let Some(scheduled) = self.due(key, &cron, cx) else { return self.write(&cron, updated, cx) };
        let object = Object::CronJob(cron.clone());
        let job = new_job(&cron, scheduled);
        if cx.cache.get(job_key(&cron, job.meta.name)).is_some() {
            return self.write(&cron, updated, cx);
        }
        if !updated.active.is_empty() {
            match cron.concurrency {
                ConcurrencyPolicy::Allow => {}
                ConcurrencyPolicy::Forbid => {
                    let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
                    cx.normal(&object, "JobAlreadyActive", text);
                    return self.write(&cron, updated, cx);
                }
                ConcurrencyPolicy::Replace => {
                    for name in std::mem::take(&mut updated.active) {
                        cx.post(Call::Delete(job_key(&cron, name), DeleteOptions::default()));
                        cx.normal(&object, "SuccessfulDelete", format!("Deleted job {name}"));
                    }
                }
            }
        }
        updated.active.push(job.meta.name);
        updated.last_schedule = Some(time_of(scheduled, cx));
        cx.request(Call::Create(Object::Job(job.into())));
        self.creating.insert(key, (cron, updated));
        Progress::Wait
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some((cron, updated)) = self.creating.remove(&key) else {
            return if failed_other_than_gone(&replies) { Progress::Retry } else { Progress::Done };
        };
        let object = Object::CronJob(cron.clone());
        match replies.into_iter().next() {
            Some(Ok(Answer::Object(job))) => {
                cx.normal(&object, "SuccessfulCreate", format!("Created job {}", job.meta().name));
                self.write(&cron, updated, cx)
            }
            Some(Err(error)) if error.reason == StatusReason::AlreadyExists => self.write(&cron, updated, cx),
            Some(Err(error)) => {
                if !namespace_terminates(&error) {
                    cx.warning(&object, "FailedCreate", format!("Error creating job: {}", error.message));
                }
                Progress::Retry
            }
            _ => Progress::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;

    /// A CronJob each minute, from second 40 of a minute on, whose Jobs take so many seconds.
    fn check(concurrency: ConcurrencyPolicy, seconds: u64, made: &[f64]) -> World {
        let template = Job {
            meta: Meta::default(),
            parallelism: 1,
            completions: Some(1),
            active_deadline: None,
            backoff_limit: 6,
            backoff_limit_per_index: None,
            max_failed_indexes: None,
            selector: None,
            template: app("app:1").1,
            ttl: None,
            indexed: false,
            suspend: false,
            pod_failure_policy: Arc::new([]),
            replace_failed_only: false,
            status: JobStatus::default(),
        };
        let cron = CronJob {
            meta: Meta::named("default", "c"),
            schedule: Name::new("* * * * *"),
            time_zone: Name::default(),
            starting_deadline: None,
            concurrency,
            suspend: false,
            successful_history: 2,
            failed_history: 1,
            job_template: template.into(),
            last_schedule: None,
            last_successful: None,
            active: Vec::new(),
        };
        let config = Config { start_unix_seconds: 1_767_225_640, ..Config::default() };
        let mut world = World::new(config, vec![]);
        world.kubelet.exits = Some((Duration::from_secs(seconds), 0));
        world.upsert(Object::CronJob(cron.into()));
        world.run_until(300.0);
        let times: Vec<f64> = world.times("+Job").into_iter().map(|at| (at * 10.0).round() / 10.0).collect();
        assert_eq!(times, made);
        world
    }

    #[test]
    fn a_job_is_made_a_tenth_of_a_second_after_the_full_minute() {
        let world = check(ConcurrencyPolicy::Allow, 5, &[20.1, 80.1, 140.1, 200.1, 260.1]);
        assert_eq!(world.texts("+Job")[0], "+Job c-29453761");
        assert_eq!(world.texts("-Job").len(), 3, "two successful ones are kept");
    }

    #[test]
    fn with_forbid_a_missed_run_begins_when_the_one_before_ends() {
        let world = check(ConcurrencyPolicy::Forbid, 80, &[20.1, 101.6, 183.1, 264.7]);
        assert!(!world.texts("JobAlreadyActive").is_empty());
    }

    #[test]
    fn with_replace_the_old_job_is_deleted() {
        let world = check(ConcurrencyPolicy::Replace, 80, &[20.1, 80.1, 140.1, 200.1, 260.1]);
        assert_eq!(world.texts("-Job").len(), 4);
    }
}
