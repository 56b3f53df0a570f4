//! The arithmetic of Jobs: back-off, sets of indexes, pod failure policies, when a pod ended.
//!
//! Kubernetes: pkg/controller/job/{backoff_utils,indexed_job_utils,pod_failure_policy}.go.

use std::collections::BTreeSet;

use crate::kernel::{Duration, Time};
use crate::model::pod::Terminated;
use crate::model::workload::{Job, PodFailureAction, PodFailureMatch};
use crate::model::{ContainerState, ContainerStatus, Name, Pod, Text, condition};

pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

const BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);

/// The failures since the last success, and when the last pod failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    pub failures: u32,
    pub last: Time,
}

impl Backoff {
    /// Takes in pods that have ended; a success makes what failed before it forgotten.
    pub fn add(mut self, mut failed: Vec<Time>, succeeded: Option<Time>) -> Backoff {
        if let Some(success) = succeeded {
            self = Backoff::default();
            failed.retain(|&at| at > success);
        }
        self.failures += failed.len() as u32;
        self.last = failed.into_iter().max().unwrap_or(self.last).max(self.last);
        self
    }

    /// Until when no pod is created.
    pub fn until(self) -> Time {
        match self.failures {
            0 => Time::ZERO,
            failures => self.last + delay(failures),
        }
    }
}

/// 10 s, doubled with each failure after the first, up to 10 min.
pub fn delay(failures: u32) -> Duration {
    let nanos = BACKOFF.as_nanos() << failures.saturating_sub(1).min(10);
    Duration::from_nanos(nanos).min(LONGEST_BACKOFF)
}

fn terminated(status: &ContainerStatus) -> Option<&Terminated> {
    match &status.state {
        ContainerState::Terminated(terminated) => Some(terminated),
        _ => None,
    }
}

/// When the pod ended, in whole seconds: when its last container did, else when it was not ready any more.
pub fn finished_at(pod: &Pod, now: Time) -> Time {
    let containers = pod.status.containers.iter().chain(&pod.status.init_containers);
    let finished = containers.filter_map(terminated).map(|terminated| terminated.finished_at.time()).max();
    let ready = || condition::find(&pod.status.conditions, "Ready").map(|ready| ready.last_transition);
    let deletion = || pod.meta.deletion.map(|deletion| deletion.at.saturating_sub(deletion.grace));
    finished.or_else(ready).or_else(deletion).unwrap_or(now).truncated_to_second()
}

/// The completion index of a pod of an Indexed Job.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.meta.annotations.get(Name::new(INDEX))?.parse().ok()
}

/// How often the pod's index had failed before it.
pub fn index_failures(pod: &Pod) -> u32 {
    pod.meta.annotations.get(Name::new(INDEX_FAILURES)).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Reads `0-3,5`.
pub fn parse_indexes(text: &str) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend(first..=last);
        }
    }
    indexes
}

/// Writes `0-3,5`; two neighbours are written as `0,1`.
pub fn format_indexes(indexes: &BTreeSet<i32>) -> Text {
    let mut text = String::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while rest.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if last > first {
            text.push(if last > first + 1 { '-' } else { ',' });
            text.push_str(&last.to_string());
        }
    }
    Text::new(text)
}

/// What the Job's policy says of a failed pod, with the message of `FailJob`; None if no rule matches.
pub fn failure_action(job: &Job, pod: &Pod) -> Option<(PodFailureAction, String)> {
    let full_name = pod.full_name();
    job.pod_failure_policy.iter().enumerate().find_map(|(index, rule)| match &rule.matches {
        PodFailureMatch::ExitCodes { container, negated, codes } => {
            let containers = pod.status.containers.iter().chain(&pod.status.init_containers);
            let named = containers.filter(|status| container.is_empty() || status.name == *container);
            let mut ended = named.filter_map(|status| Some((status.name, terminated(status)?.exit_code)));
            let (name, code) = ended.find(|(_, code)| *code != 0 && (codes.contains(code) != *negated))?;
            let text = format!(
                "Container {name} for pod {full_name} failed with exit code {code} matching FailJob rule at index {index}"
            );
            Some((rule.action, text))
        }
        PodFailureMatch::Conditions(wanted) => {
            let has = |(kind, status): &&(Name, _)| {
                condition::find(&pod.status.conditions, kind).is_some_and(|condition| condition.status == *status)
            };
            let (kind, _) = wanted.iter().find(has)?;
            let text = format!("Pod {full_name} has condition {kind} matching FailJob rule at index {index}");
            Some((rule.action, text))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_intervals_and_read_back() {
        for text in ["", "0", "0,1", "0-2", "1,3-5", "0,1,3", "2-4,7,8,10-12"] {
            assert_eq!(format_indexes(&parse_indexes(text)).as_str(), text);
        }
    }

    #[test]
    fn the_back_off_doubles_from_10_seconds_to_10_minutes() {
        let delays: Vec<u64> = (1..9).map(|failures| delay(failures).as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 320, 600, 600]);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let at = Time::from_secs;
        let backoff = Backoff::default().add(vec![at(5), at(9)], None);
        assert_eq!(backoff.until(), at(29));
        let backoff = backoff.add(vec![at(30), at(50)], Some(at(40)));
        assert_eq!(backoff, Backoff { failures: 1, last: at(50) });
    }
}
