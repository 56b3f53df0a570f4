//! Job: runs pods until enough of them have succeeded, or too many have failed.
//!
//! A user meets it as pods that come again 10, 20, 40 … s after a failure, and as the conditions `Complete` and `Failed`.
//! Example: `kubectl create job pi --image=perl -- perl -e 'print 1'`.
//!
//! Kubernetes: pkg/controller/job. Pods carry a finalizer until they are counted; `uncountedTerminatedPods` itself is not
//! kept, so a sync writes its status first, takes the finalizers off and then writes the counts. Hostnames of indexed pods
//! and successPolicy are not modelled.
#![expect(
    clippy::disallowed_methods,
    reason = "taking out of the middle of a large set must not cost its size; the order stays a function of the history, and who depends on an order sorts"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexSet;
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use crate::kernel::{Duration, Time};
use crate::model::pod::RestartPolicy;
use crate::model::workload::{Job, JobStatus, PodFailureAction};
use crate::model::{Condition, ConditionStatus, Key, Kind, Name, Object, Phase, Pod, Text, Uid, condition};
use crate::protocol::api::{Answer, Call, Patch, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::job_rules::{
    Backoff, INDEX, INDEX_FAILURES, delay, failure_action, finished_at, format_indexes, index_failures, index_of,
    parse_indexes,
};
use super::pod_control::{BURST_REPLICAS, SlowStart, delete_pod, in_deletion_order, pod_from_template};
use super::replica_set::failed_other_than_gone;
use super::workqueue::{Expectations, WorkQueue};

/// The finalizer of pods that are not counted yet.
pub const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Pod events are answered after this long, so that several make one status write.
const BATCH_PERIOD: Duration = Duration::from_secs(1);

/// The Job controller.
#[derive(Debug, Default)]
pub struct JobController {
    expectations: Expectations,
    jobs: FxHashMap<Uid, Known>,
    syncs: FxHashMap<Key, Sync>,
}

/// What is remembered of a Job between syncs.
#[derive(Debug, Default)]
struct Known {
    /// Pods that run or are not counted.
    open: IndexSet<Name, FxBuildHasher>,
    /// Counted pods whose finalizer is still seen.
    counted: FxHashSet<Uid>,
    backoff: Backoff,
    indexes: Option<Indexes>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Indexes {
    completed: BTreeSet<i32>,
    failed: BTreeSet<i32>,
    /// All below are completed or failed.
    low: i32,
}

/// A sync that waits for answers.
#[derive(Debug)]
struct Sync {
    job: Arc<Job>,
    status: JobStatus,
    /// Pods to count once their finalizers are off.
    uncounted: Vec<Arc<Pod>>,
    counts: Counts,
    indexes: Option<Indexes>,
    backoff: Backoff,
    stage: Stage,
    failed: bool,
    /// The Event of the Job's end.
    end: Option<(bool, Name, Text)>,
    suspended: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    succeeded: i32,
    failed: i32,
}

#[derive(Debug)]
enum Stage {
    Creating(SlowStart, Vec<(i32, u32)>),
    Deleting(Vec<Arc<Pod>>),
    FirstStatus,
    Finalizers,
    LastStatus,
}

fn is_tracked(pod: &Pod) -> bool {
    pod.meta.finalizers.iter().any(|finalizer| *finalizer == *TRACKING)
}

/// True if a new pod comes only when the old one is terminal.
fn replaces_failed_only(job: &Job) -> bool {
    job.replace_failed_only || !job.pod_failure_policy.is_empty()
}

fn has_ended(job: &Job) -> bool {
    condition::is_true(&job.status.conditions, "Complete") || condition::is_true(&job.status.conditions, "Failed")
}

fn release(key: Key) -> Call {
    Call::Patch(key, Patch::RemoveFinalizer(Name::new(TRACKING)))
}

impl JobController {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new.or(old) else { return };
        let Some(owner) = pod.meta.owner.filter(|owner| owner.kind == Kind::Job) else { return };
        if change.deletion_begins() {
            self.expectations.deleted(owner.uid, pod.meta.uid);
        } else if old.is_none() {
            self.expectations.created(owner.uid);
        }
        let Some(job) = cx.cache.key_of(owner.uid) else {
            if new.is_some_and(|pod| is_tracked(pod)) {
                cx.enqueue(change.key());
            }
            return;
        };
        let known = self.jobs.entry(owner.uid).or_default();
        if new.is_some_and(|pod| !pod.status.phase.is_terminal() || is_tracked(pod)) {
            known.open.insert(pod.meta.name);
        } else {
            known.open.swap_remove(&pod.meta.name);
            known.counted.remove(&pod.meta.uid);
        }
        cx.enqueue_after(job, BATCH_PERIOD);
    }

    /// Works out what this sync does.
    fn plan(&mut self, key: Key, job: Arc<Job>, cx: &mut Context<'_>) -> Sync {
        let known = self.jobs.entry(job.meta.uid).or_default();
        let mut pods: Vec<Arc<Pod>> =
            known.open.iter().filter_map(|&name| cx.cache.pod(key.namespace, name).cloned()).collect();
        pods.sort_by_key(|pod| pod.meta.uid);
        let mut status = job.status.clone();
        let mut sync = Sync {
            status: JobStatus::default(),
            uncounted: Vec::new(),
            counts: Counts { succeeded: status.succeeded, failed: status.failed },
            indexes: None,
            backoff: known.backoff,
            stage: Stage::FirstStatus,
            failed: false,
            end: None,
            suspended: None,
            job: job.clone(),
        };
        if status.start_time.is_none() && !job.suspend {
            status.start_time = Some(cx.now.truncated_to_second());
        }
        if job.indexed {
            sync.indexes = Some(known.indexes.clone().unwrap_or_else(|| Indexes {
                completed: parse_indexes(&status.completed_indexes),
                failed: parse_indexes(&status.failed_indexes),
                low: 0,
            }));
        }
        let counted = &known.counted;
        let open = |pod: &&Arc<Pod>| is_tracked(pod) && !counted.contains(&pod.meta.uid);
        let fail_job = count_ended(&mut sync, &job, pods.iter().filter(open).cloned().collect(), cx.now);
        let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pod.is_active()).cloned().collect();
        let terminating = pods.iter().filter(|pod| pod.is_terminating() && !pod.status.phase.is_terminal()).count();
        status.active = active.len() as i32;
        status.ready = active.iter().filter(|pod| pod.is_ready()).count() as i32;
        status.terminating = terminating as i32;

        let may_manage = self.expectations.are_met(job.meta.uid, cx.now);
        let verdict = verdict(&job, &sync, &status, &active, fail_job, cx);
        if let Some((kind, reason, message)) = verdict {
            if condition::find(&status.conditions, kind).is_none() {
                push(&mut status, kind, reason, message, cx.now);
            }
            // Whatever runs is deleted, and counts as failed unless it succeeded.
            let uncounted: FxHashSet<Uid> = sync.uncounted.iter().map(|pod| pod.meta.uid).collect();
            for pod in pods.iter().filter(open).filter(|pod| !uncounted.contains(&pod.meta.uid)) {
                if kind == "FailureTarget" || !pod.is_active() {
                    sync.counts.failed += 1;
                }
                sync.uncounted.push(pod.clone());
            }
            status.active = 0;
            status.ready = 0;
            status.terminating += active.len() as i32;
            sync.stage = Stage::Deleting(active);
        } else if may_manage && job.meta.deletion.is_none() {
            self.manage(key, &mut sync, &mut status, active, &pods, cx);
        }
        sync.status = status;
        sync
    }

    /// Creates or deletes pods so that as many run as should.
    fn manage(
        &mut self,
        key: Key,
        sync: &mut Sync,
        status: &mut JobStatus,
        active: Vec<Arc<Pod>>,
        pods: &[Arc<Pod>],
        cx: &mut Context<'_>,
    ) {
        let job = &sync.job;
        let was_suspended = condition::is_true(&status.conditions, "Suspended");
        if job.suspend != was_suspended {
            let (reason, message) =
                if job.suspend { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
            if job.suspend || condition::find(&status.conditions, "Suspended").is_some() {
                let kind = Name::new("Suspended");
                condition::set(
                    &mut status.conditions,
                    cx.now,
                    kind,
                    job.suspend.into(),
                    Name::new(reason),
                    message.into(),
                );
                sync.suspended = Some(job.suspend);
            }
            status.start_time = (!job.suspend).then_some(cx.now.truncated_to_second());
        }
        let running = active.len() as i32;
        let wanted = if job.suspend {
            0
        } else {
            match job.completions {
                None if sync.counts.succeeded > 0 => running.min(job.parallelism),
                None => job.parallelism,
                Some(completions) => job.parallelism.min((completions - sync.counts.succeeded).max(0)),
            }
        };
        if running > wanted {
            let mut victims = in_deletion_order(active, cx.now, |_| 0);
            victims.truncate((running - wanted) as usize);
            status.active -= victims.len() as i32;
            status.ready -= victims.iter().filter(|pod| pod.is_ready()).count() as i32;
            status.terminating += victims.len() as i32;
            sync.stage = Stage::Deleting(victims);
            return;
        }
        let blocked = if replaces_failed_only(job) { status.terminating } else { 0 };
        let missing = wanted - running - blocked;
        if missing <= 0 {
            return;
        }
        let until = sync.backoff.until();
        if job.backoff_limit_per_index.is_none() && until > cx.now {
            // Kubernetes reports no active pod while it holds creation back.
            status.active = 0;
            let wait = until.since(cx.now);
            cx.decided(key, "job-controller", format!("back-off {wait} after {} failures", sync.backoff.failures));
            cx.enqueue_at(key, until);
            return;
        }
        let count = (missing as usize).min(BURST_REPLICAS);
        let indexes = match &mut sync.indexes {
            None => vec![(0, 0); count],
            Some(indexes) => {
                let (indexes, next) = pick_indexes(job, indexes, pods, count, cx.now);
                if let Some(next) = next {
                    cx.enqueue_at(key, next);
                }
                indexes
            }
        };
        if !indexes.is_empty() {
            sync.stage = Stage::Creating(SlowStart::new(indexes.len()), indexes);
        }
    }

    fn begin(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        match &sync.stage {
            Stage::Creating(_, indexes) => {
                self.expectations.expect_creations(sync.job.meta.uid, indexes.len() as i32, cx.now);
                create_batch(&mut sync, cx);
            }
            Stage::Deleting(pods) if !pods.is_empty() => {
                let uids = pods.iter().map(|pod| pod.meta.uid).collect();
                self.expectations.expect_deletions(sync.job.meta.uid, uids, cx.now);
                pods.iter().for_each(|pod| cx.request(delete_pod(pod)));
            }
            _ => return self.first_status(key, sync, cx),
        }
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    fn created(&mut self, sync: &mut Sync, replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = Object::Job(sync.job.clone());
        for reply in replies {
            match reply {
                Ok(Answer::Object(pod)) => {
                    sync.status.active += 1;
                    cx.normal(&object, "SuccessfulCreate", format!("Created pod: {}", pod.meta().name));
                }
                Ok(_) => {}
                Err(error) => {
                    self.expectations.created(sync.job.meta.uid);
                    sync.failed = true;
                    cx.warning(&object, "FailedCreate", format!("Error creating: {}", error.message));
                }
            }
        }
        if sync.failed
            && let Stage::Creating(slow_start, _) = &mut sync.stage
        {
            self.expectations.creations_fell(sync.job.meta.uid, slow_start.abort() as i32);
        }
    }

    fn deleted(&mut self, sync: &mut Sync, victims: &[Arc<Pod>], replies: Vec<Reply>, cx: &mut Context<'_>) {
        let object = Object::Job(sync.job.clone());
        for (pod, reply) in victims.iter().zip(replies) {
            match reply {
                Ok(_) => cx.normal(&object, "SuccessfulDelete", format!("Deleted pod: {}", pod.meta.name)),
                Err(error) => {
                    self.expectations.deleted(sync.job.meta.uid, pod.meta.uid);
                    sync.failed |= error.reason != StatusReason::NotFound;
                }
            }
        }
    }

    /// The status without the new counts, but for those of indexes, and without the condition that ends the Job.
    fn first_status(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        if let Some(indexes) = &sync.indexes {
            sync.status.succeeded = sync.counts.succeeded;
            sync.status.completed_indexes = format_indexes(&indexes.completed);
            sync.status.failed_indexes = format_indexes(&indexes.failed);
        }
        if sync.status == sync.job.status {
            return self.finalizers(key, sync, cx);
        }
        sync.stage = Stage::FirstStatus;
        self.write(key, sync, cx)
    }

    fn finalizers(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        if sync.uncounted.is_empty() {
            return self.last_status(key, sync, cx);
        }
        sync.stage = Stage::Finalizers;
        sync.uncounted.iter().for_each(|pod| cx.request(release(pod.meta.key(Kind::Pod))));
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    fn last_status(&mut self, key: Key, mut sync: Sync, cx: &mut Context<'_>) -> Progress {
        let status = &mut sync.status;
        (status.succeeded, status.failed) = (sync.counts.succeeded, sync.counts.failed);
        if status.active == 0 && status.terminating == 0 {
            for (target, kind) in [("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")] {
                if let Some(met) = condition::find(&status.conditions, target).cloned() {
                    push(status, kind, met.reason.as_str(), met.message.clone(), cx.now);
                    if kind == "Complete" {
                        status.completion_time = Some(cx.now.truncated_to_second());
                    }
                    sync.end = Some((kind == "Complete", met.reason, met.message));
                    break;
                }
            }
        }
        if sync.status == sync.job.status {
            self.ended(&sync, cx);
            return if sync.failed { Progress::Retry } else { Progress::Done };
        }
        sync.stage = Stage::LastStatus;
        self.write(key, sync, cx)
    }

    fn write(&mut self, key: Key, sync: Sync, cx: &mut Context<'_>) -> Progress {
        let updated = Job { status: sync.status.clone(), ..(*sync.job).clone() };
        cx.request(Call::UpdateStatus(Object::Job(updated.into())));
        self.syncs.insert(key, sync);
        Progress::Wait
    }

    /// Takes the finalizers off the pods of a Job that has ended or is being deleted.
    fn release_all(&mut self, key: Key, job: Arc<Job>, cx: &mut Context<'_>) -> Progress {
        let names: Vec<Name> =
            self.jobs.get(&job.meta.uid).map(|known| known.open.iter().copied().collect()).unwrap_or_default();
        let pods = names.into_iter().filter_map(|name| cx.cache.pod(key.namespace, name).cloned());
        let mut pods: Vec<Arc<Pod>> = pods.filter(|pod| is_tracked(pod)).collect();
        pods.sort_by_key(|pod| pod.meta.name);
        pods.iter().for_each(|pod| cx.request(release(pod.meta.key(Kind::Pod))));
        Progress::Wait
    }

    fn ended(&mut self, sync: &Sync, cx: &mut Context<'_>) {
        let object = Object::Job(sync.job.clone());
        match &sync.end {
            Some((true, ..)) => cx.normal(&object, "Completed", "Job completed"),
            Some((false, reason, message)) => cx.warning(&object, reason.as_str(), message.clone()),
            None => {}
        }
        match sync.suspended {
            Some(true) => cx.normal(&object, "Suspended", "Job suspended"),
            Some(false) => cx.normal(&object, "Resumed", "Job resumed"),
            None => {}
        }
    }
}

/// Counts the pods that have ended since the last sync; the message if the failure policy ends the Job.
fn count_ended(sync: &mut Sync, job: &Job, open: Vec<Arc<Pod>>, now: Time) -> Option<String> {
    let terminating_fails = !replaces_failed_only(job);
    let (mut failures, mut success, mut fail_job) = (Vec::new(), None::<Time>, None);
    let with_successor =
        |pod: &Pod, index| open.iter().any(|other| other.meta.uid > pod.meta.uid && index_of(other) == Some(index));
    for pod in &open {
        let succeeded = pod.status.phase == Phase::Succeeded;
        let failed = pod.status.phase == Phase::Failed || (terminating_fails && pod.is_terminating() && !succeeded);
        if !succeeded && !failed {
            continue;
        }
        let index = if job.indexed { index_of(pod) } else { None };
        let end = finished_at(pod, now);
        if succeeded {
            success = Some(success.map_or(end, |success| success.max(end)));
            match (&mut sync.indexes, index) {
                (Some(indexes), Some(index)) => {
                    if job.completions.is_some_and(|completions| index < completions) && indexes.completed.insert(index)
                    {
                        sync.counts.succeeded += 1;
                    }
                }
                (Some(_), None) => {}
                (None, _) => sync.counts.succeeded += 1,
            }
            sync.uncounted.push(pod.clone());
            continue;
        }
        let action = failure_action(job, pod);
        let mut fails_index = false;
        match action {
            Some((PodFailureAction::Ignore, _)) => {
                sync.uncounted.push(pod.clone());
                continue;
            }
            Some((PodFailureAction::FailJob, message)) => fail_job = Some(message),
            Some((PodFailureAction::FailIndex, _)) => fails_index = true,
            Some((PodFailureAction::Count, _)) | None => {}
        }
        if let (Some(limit), Some(index), Some(indexes)) = (job.backoff_limit_per_index, index, &mut sync.indexes) {
            fails_index |= index_failures(pod) + 1 > limit.max(0) as u32;
            if fails_index {
                indexes.failed.insert(index);
            } else if !with_successor(pod, index) && fail_job.is_none() {
                // It is counted when its successor is there, which takes its number of failures over.
                continue;
            }
        }
        failures.push(end);
        sync.counts.failed += 1;
        sync.uncounted.push(pod.clone());
    }
    sync.backoff = sync.backoff.add(failures, success);
    fail_job
}

/// Whether the Job is to end, and how: condition, reason, message.
fn verdict(
    job: &Job,
    sync: &Sync,
    status: &JobStatus,
    active: &[Arc<Pod>],
    fail_job: Option<String>,
    cx: &mut Context<'_>,
) -> Option<(&'static str, &'static str, Text)> {
    for kind in ["FailureTarget", "SuccessCriteriaMet"] {
        if condition::is_true(&status.conditions, kind) {
            return Some((kind, "", Text::default()));
        }
    }
    if let Some(message) = fail_job {
        return Some(("FailureTarget", "PodFailurePolicy", message.into()));
    }
    let restarts: u32 = active.iter().map(|pod| pod.restarts()).sum();
    let limit = job.backoff_limit.max(0);
    let restarted = job.template.spec.restart_policy == RestartPolicy::OnFailure
        && restarts > 0
        && i64::from(restarts) >= i64::from(limit);
    if sync.counts.failed > limit || restarted {
        let message = "Job has reached the specified backoff limit";
        return Some(("FailureTarget", "BackoffLimitExceeded", message.into()));
    }
    if let (Some(deadline), Some(start), false) = (job.active_deadline, status.start_time, job.suspend) {
        let end = start.truncated_to_second() + deadline;
        if cx.now >= end {
            let message = "Job was active longer than specified deadline";
            return Some(("FailureTarget", "DeadlineExceeded", message.into()));
        }
        cx.enqueue_at(job.meta.key(Kind::Job), end);
    }
    if let (Some(indexes), Some(_)) = (&sync.indexes, job.backoff_limit_per_index) {
        let failed = indexes.failed.len() as i32;
        if job.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("FailureTarget", "MaxFailedIndexesExceeded", message.into()));
        }
        if failed > 0 && failed + sync.counts.succeeded >= job.completions.unwrap_or(0) {
            return Some(("FailureTarget", "FailedIndexes", "Job has failed indexes".into()));
        }
    }
    let complete = match job.completions {
        None => sync.counts.succeeded > 0 && active.is_empty(),
        Some(completions) => sync.counts.succeeded >= completions && !job.suspend,
    };
    let message = "Reached expected number of succeeded pods";
    complete.then(|| ("SuccessCriteriaMet", "CompletionsReached", message.into()))
}

/// The lowest indexes that have no pod, with their numbers of failures, and when the next one's back-off ends.
fn pick_indexes(
    job: &Job,
    indexes: &mut Indexes,
    pods: &[Arc<Pod>],
    count: usize,
    now: Time,
) -> (Vec<(i32, u32)>, Option<Time>) {
    let mut taken = FxHashSet::default();
    let mut failed: FxHashMap<i32, (u32, Time)> = FxHashMap::default();
    for pod in pods {
        let Some(index) = index_of(pod) else { continue };
        let blocks = replaces_failed_only(job) && !pod.status.phase.is_terminal();
        if pod.is_active() || blocks {
            taken.insert(index);
        } else if job.backoff_limit_per_index.is_some() && pod.status.phase != Phase::Succeeded {
            let failures = index_failures(pod) + 1;
            let end = finished_at(pod, now) + delay(failures);
            let entry = failed.entry(index).or_insert((failures, end));
            *entry = (*entry).max((failures, end));
        }
    }
    let completions = job.completions.unwrap_or(0);
    while indexes.completed.contains(&indexes.low) || indexes.failed.contains(&indexes.low) {
        indexes.low += 1;
    }
    let (mut picked, mut next) = (Vec::new(), None::<Time>);
    for index in indexes.low..completions {
        if picked.len() >= count {
            break;
        }
        if taken.contains(&index) || indexes.completed.contains(&index) || indexes.failed.contains(&index) {
            continue;
        }
        match failed.get(&index) {
            Some(&(_, until)) if until > now => next = Some(next.map_or(until, |next| next.min(until))),
            Some(&(failures, _)) => picked.push((index, failures)),
            None => picked.push((index, 0)),
        }
    }
    (picked, next)
}

fn push(status: &mut JobStatus, kind: &str, reason: &str, message: Text, now: Time) {
    status.conditions.push(Condition {
        kind: Name::new(kind),
        status: ConditionStatus::True,
        reason: Name::new(reason),
        message,
        last_transition: now,
        last_update: now,
    });
}

fn create_batch(sync: &mut Sync, cx: &mut Context<'_>) -> bool {
    let Stage::Creating(slow_start, indexes) = &mut sync.stage else { return false };
    let batch = slow_start.next_batch();
    for (index, failures) in indexes.drain(..batch) {
        let pod = pod_of(&sync.job, index, failures);
        cx.request(Call::Create(Object::Pod(pod.into())));
    }
    batch > 0
}

fn pod_of(job: &Job, index: i32, failures: u32) -> Pod {
    let mut pod = pod_from_template(Kind::Job, &job.meta, &job.template);
    let uid = Name::from(job.meta.uid.to_string());
    let mut labels: Vec<(Name, Name)> = pod.meta.labels.iter().collect();
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", job.meta.name),
        ("controller-uid", uid),
        ("job-name", job.meta.name),
    ] {
        labels.push((Name::new(key), value));
    }
    if job.indexed {
        let value = Name::from(index.to_string());
        labels.push((Name::new(INDEX), value));
        pod.meta.annotations = pod.meta.annotations.with(Name::new(INDEX), value);
        pod.meta.generate_name = Name::from(format!("{}-{index}-", job.meta.name));
        if job.backoff_limit_per_index.is_some() {
            let failures = Name::from(failures.to_string());
            pod.meta.annotations = pod.meta.annotations.with(Name::new(INDEX_FAILURES), failures);
        }
    }
    pod.meta.labels = crate::model::Labels::new(labels);
    pod.meta.finalizers.push(Name::new(TRACKING));
    pod
}

impl Controller for JobController {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn component(&self) -> &'static str {
        "job-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Job]
    }

    fn queue(&self) -> WorkQueue {
        WorkQueue::with_backoff(Duration::from_secs(1), Duration::from_secs(60))
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        if change.kind() == Kind::Pod {
            return self.observe_pod(change, cx);
        }
        let (key, meta) = (change.key(), change.object().meta());
        if change.new.is_none() {
            self.jobs.remove(&meta.uid);
            self.expectations.forget(meta.uid);
            let mut pods: Vec<Key> =
                cx.cache.pods_of(meta.uid).filter(|pod| is_tracked(pod)).map(|pod| pod.meta.key(Kind::Pod)).collect();
            pods.sort();
            pods.into_iter().for_each(|key| cx.enqueue(key));
        } else if change.old.is_none_or(|old| old.meta().generation != meta.generation) {
            cx.enqueue(key);
        } else {
            cx.enqueue_after(key, BATCH_PERIOD);
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if key.kind == Kind::Pod {
            // A pod whose Job is gone.
            let orphan = cx.cache.pod(key.namespace, key.name);
            let orphan =
                orphan.filter(|pod| is_tracked(pod) && pod.meta.owner.is_none_or(|o| cx.cache.key_of(o.uid).is_none()));
            if orphan.is_some() {
                cx.request(release(key));
                return Progress::Wait;
            }
            return Progress::Done;
        }
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        let Some(job) = cx.cache.job(key.namespace, key.name).cloned() else { return Progress::Done };
        if has_ended(&job) || job.meta.deletion.is_some() {
            return self.release_all(key, job, cx);
        }
        let sync = self.plan(key, job, cx);
        self.begin(key, sync, cx)
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let Some(mut sync) = self.syncs.remove(&key) else {
            return if failed_other_than_gone(&replies) { Progress::Retry } else { Progress::Done };
        };
        match &sync.stage {
            Stage::Creating(..) => {
                self.created(&mut sync, replies, cx);
                if create_batch(&mut sync, cx) {
                    self.syncs.insert(key, sync);
                    return Progress::Wait;
                }
                self.first_status(key, sync, cx)
            }
            Stage::Deleting(victims) => {
                let victims = victims.clone();
                self.deleted(&mut sync, &victims, replies, cx);
                self.first_status(key, sync, cx)
            }
            Stage::FirstStatus => match replies.into_iter().next() {
                Some(Ok(Answer::Object(Object::Job(job)))) => {
                    sync.job = job;
                    self.finalizers(key, sync, cx)
                }
                _ => Progress::Retry,
            },
            Stage::Finalizers => {
                if failed_other_than_gone(&replies) {
                    return Progress::Retry;
                }
                let known = self.jobs.entry(sync.job.meta.uid).or_default();
                known.counted.extend(sync.uncounted.iter().map(|pod| pod.meta.uid));
                known.backoff = sync.backoff;
                known.indexes.clone_from(&sync.indexes);
                self.last_status(key, sync, cx)
            }
            Stage::LastStatus => {
                if failed_other_than_gone(&replies) {
                    return Progress::Retry;
                }
                self.ended(&sync, cx);
                if sync.failed { Progress::Retry } else { Progress::Done }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::{World, app};
    use super::*;
    use crate::model::Meta;

    fn job(completions: i32, parallelism: i32, backoff_limit: i32) -> Job {
        Job {
            meta: Meta::named("default", "j"),
            parallelism,
            completions: Some(completions),
            active_deadline: None,
            backoff_limit,
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
        }
    }

    /// Runs a Job whose pods exit with this code after so many seconds; says when pods came, and how it ended.
    fn check(job: Job, seconds: u64, code: i32, pods: &[f64], end: &str) -> World {
        let mut world = World::new(Config::default(), vec![]);
        world.kubelet.exits = Some((Duration::from_secs(seconds), code));
        world.kubelet.ready_after = None;
        world.upsert(Object::Job(job.into()));
        world.run_until(2000.0);
        let times = world.times("+Pod");
        assert_eq!(times.len(), pods.len(), "{times:?}");
        for (at, expected) in times.iter().zip(pods) {
            assert!((at - expected).abs() < 1.6, "{times:?} instead of {pods:?}");
        }
        assert_eq!(ending(&world), end);
        world
    }

    fn status(world: &World) -> JobStatus {
        match &world.objects[&Key::new(Kind::Job, "default", "j")] {
            Object::Job(job) => job.status.clone(),
            _ => panic!("it is a Job"),
        }
    }

    fn ending(world: &World) -> String {
        let status = status(world);
        let conditions: Vec<String> =
            status.conditions.iter().map(|condition| format!("{}:{}", condition.kind, condition.reason)).collect();
        format!("{}+{} {}", status.succeeded, status.failed, conditions.join(" "))
    }

    const DONE: &str = "SuccessCriteriaMet:CompletionsReached Complete:CompletionsReached";
    const LIMIT: &str = "FailureTarget:BackoffLimitExceeded Failed:BackoffLimitExceeded";

    #[test]
    fn five_completions_two_at_a_time() {
        let world = check(job(5, 2, 6), 6, 0, &[0.0, 0.0, 7.5, 7.5, 15.0], &format!("5+0 {DONE}"));
        assert_eq!(world.texts("Completed"), ["Completed Job completed"]);
        assert!(world.pods().iter().all(|pod| pod.meta.finalizers.is_empty()));
    }

    #[test]
    fn a_failed_pod_is_followed_10_20_and_40_seconds_after_its_end() {
        let world = check(job(1, 1, 3), 3, 1, &[0.0, 13.0, 36.0, 79.0], &format!("0+4 {LIMIT}"));
        assert_eq!(
            world.texts("BackoffLimitExceeded"),
            ["BackoffLimitExceeded Job has reached the specified backoff limit"]
        );
    }

    #[test]
    fn eight_failures_come_in_waves_of_two_after_20_80_and_320_seconds() {
        let waves = [0.0, 0.0, 50.0, 50.0, 160.0, 160.0, 510.0, 510.0];
        check(job(8, 2, 6), 30, 42, &waves, &format!("0+8 {LIMIT}"));
    }

    #[test]
    fn indexes_are_taken_in_order_and_a_failing_one_is_tried_by_itself() {
        let indexed = Job { indexed: true, ..job(3, 2, 6) };
        let world = check(indexed, 5, 0, &[0.0, 0.0, 6.5], &format!("3+0 {DONE}"));
        assert_eq!(status(&world).completed_indexes.as_str(), "0-2");
        let per_index = Job { indexed: true, backoff_limit_per_index: Some(1), ..job(2, 2, i32::MAX) };
        let end = "0+4 FailureTarget:FailedIndexes Failed:FailedIndexes";
        let world = check(per_index, 5, 1, &[0.0, 0.0, 15.0, 15.0], end);
        assert_eq!(status(&world).failed_indexes.as_str(), "0,1");
    }

    #[test]
    fn a_deadline_deletes_what_runs_and_fails_the_job_when_it_is_gone() {
        let limited = Job { active_deadline: Some(Duration::from_secs(15)), ..job(1, 1, 6) };
        let end = "0+1 FailureTarget:DeadlineExceeded Failed:DeadlineExceeded";
        let world = check(limited, 3000, 0, &[0.0], end);
        let deleted = world.times("~Pod")[0];
        assert!((15.0..15.1).contains(&deleted), "{deleted}");
        let failed = world.times("DeadlineExceeded")[0];
        assert!(failed > 16.0 && failed < 18.5, "the pod is terminal at 16: {failed}");
        assert_eq!(world.pods().len(), 0);
    }

    #[test]
    fn a_suspended_job_runs_when_it_is_resumed() {
        let mut world = World::new(Config::default(), vec![Object::Job(Job { suspend: true, ..job(1, 1, 6) }.into())]);
        world.kubelet.exits = Some((Duration::from_secs(3), 0));
        world.run_until(20.0);
        assert_eq!(world.texts("Suspended"), ["Suspended Job suspended"]);
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
        world.change(Key::new(Kind::Job, "default", "j"), |object| {
            let Object::Job(job) = object else { panic!("it is a Job") };
            Arc::make_mut(job).suspend = false;
        });
        world.run_until(60.0);
        assert_eq!(world.texts("Resumed"), ["Resumed Job resumed"]);
        assert_eq!(ending(&world), format!("1+0 Suspended:JobResumed {DONE}"));
    }
}
