//! TTL after finished: deletes Jobs some time after they have ended.
//!
//! A user meets it with `ttlSecondsAfterFinished`. Example: `spec: {ttlSecondsAfterFinished: 60}`.
//!
//! Kubernetes: pkg/controller/ttlafterfinished/ttlafterfinished_controller.go. The time counts from the condition's
//! timestamp in whole seconds.

use crate::kernel::Time;
use crate::model::workload::Job;
use crate::model::{ConditionStatus, Key, Kind, Object};
use crate::protocol::api::{Call, DeleteOptions, Propagation};

use super::controller::{Context, Controller, Progress};
use super::informer::Change;

/// The TTL-after-finished controller.
#[derive(Debug, Default)]
pub struct TtlAfterFinished;

/// When the Job is to be deleted.
fn expires(job: &Job) -> Option<Time> {
    let mut ends = job.status.conditions.iter().filter(|condition| {
        condition.status == ConditionStatus::True && (condition.kind == *"Complete" || condition.kind == *"Failed")
    });
    let end = ends.next().filter(|_| job.meta.deletion.is_none())?;
    Some(end.last_transition.truncated_to_second() + job.ttl?)
}

impl Controller for TtlAfterFinished {
    fn name(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn component(&self) -> &'static str {
        "ttl-after-finished-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Job]
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        if let Some(Object::Job(job)) = change.new
            && let Some(at) = expires(job)
        {
            cx.enqueue_at(change.key(), at);
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        let Some(job) = cx.cache.job(key.namespace, key.name).cloned() else { return Progress::Done };
        match expires(&job) {
            Some(at) if at <= cx.now => {
                let options =
                    DeleteOptions { uid: Some(job.meta.uid), propagation: Propagation::Foreground, grace: None };
                cx.request(Call::Delete(key, options));
                Progress::Wait
            }
            Some(at) => {
                cx.enqueue_at(key, at);
                Progress::Done
            }
            None => Progress::Done,
        }
    }
}
