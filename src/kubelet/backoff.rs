//! Back-offs of container restarts and image pulls: exponential, without jitter of their own.
//!
//! Kubernetes: staging/src/k8s.io/client-go/util/flowcontrol/backoff.go; doBackOff in
//! pkg/kubelet/kuberuntime/kuberuntime_manager.go for restarts, pkg/kubelet/images/image_manager.go for pulls.

use crate::kernel::{Duration, Time};

/// The first back-off of both kinds by default.
pub const INITIAL: Duration = Duration::from_secs(10);
/// The longest back-off of pulls, and of restarts by default.
pub const MAX: Duration = Duration::from_secs(300);

/// One entry: how long to wait, and when that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub wait: Duration,
    pub updated: Time,
}

impl Backoff {
    /// True if an event that happened at `event` comes so long after the last decision that the entry counts no more.
    fn has_expired(self, event: Time, max: Duration) -> bool {
        event.since(self.updated) > max * 2
    }
}

/// When the wait that counts from `event` ends; None if it is over or there was none (`IsInBackOffSince`).
pub fn blocked_until(entry: Option<Backoff>, event: Time, now: Time, max: Duration) -> Option<Time> {
    let entry = entry.filter(|entry| !entry.has_expired(event, max))?;
    (now.since(event) < entry.wait).then(|| event + entry.wait)
}

/// The entry after another attempt because of `event` (`Next`).
pub fn next(entry: Option<Backoff>, event: Time, now: Time, initial: Duration, max: Duration) -> Backoff {
    let wait = match entry.filter(|entry| !entry.has_expired(event, max)) {
        Some(entry) => (entry.wait * 2).min(max),
        None => initial.min(max),
    };
    Backoff { wait, updated: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_exits_at_once_waits_0_10_20_40_80_160_300_300_seconds() {
        let (mut entry, mut now, mut waits) = (None, Time::from_secs(5), Vec::new());
        for _ in 0..8 {
            let exited = now;
            let start = blocked_until(entry, exited, now, MAX).unwrap_or(now);
            waits.push(start.since(exited).as_secs());
            now = start;
            entry = Some(next(entry, exited, now, INITIAL, MAX));
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_run_of_more_than_twice_the_maximum_begins_anew() {
        let entry = Some(Backoff { wait: MAX, updated: Time::from_secs(100) });
        for (exited, blocked, then) in [(700, true, 300), (701, false, 10)] {
            let at = Time::from_secs(exited);
            assert_eq!(blocked_until(entry, at, at, MAX).is_some(), blocked, "{exited}");
            assert_eq!(next(entry, at, at, INITIAL, MAX).wait.as_secs(), then, "{exited}");
        }
    }

    #[test]
    fn a_short_maximum_shortens_the_first_wait_too() {
        let max = Duration::from_secs(3);
        assert_eq!(next(None, Time::ZERO, Time::ZERO, INITIAL, max).wait, max);
    }
}
