//! The rate at which the scheduler's API client sends requests: a token bucket.
//!
//! Kubernetes: staging/src/k8s.io/client-go/util/flowcontrol/throttle.go, with `clientConnection.qps` and `burst`.

use crate::kernel::{Duration, Time};

/// A token bucket. Requests wait their turn; none is refused.
#[derive(Clone, Debug)]
pub struct Limiter {
    /// The time in which one token comes; None: no limit.
    interval: Option<Duration>,
    burst: u64,
    /// When the bucket would be full again.
    full_at: Time,
}

impl Limiter {
    /// `qps` tokens a second (0: no limit), at most `burst` at once.
    pub fn new(qps: u32, burst: u32) -> Limiter {
        let interval = (qps > 0).then(|| Duration::from_nanos(1_000_000_000 / u64::from(qps)));
        Limiter { interval, burst: u64::from(burst.max(1)), full_at: Time::ZERO }
    }

    /// Takes a token; gives how long the request must wait for it.
    pub fn take(&mut self, now: Time) -> Duration {
        let Some(interval) = self.interval else { return Duration::ZERO };
        self.full_at = self.full_at.max(now) + interval;
        self.full_at.since(now).saturating_sub(interval * self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut limiter = Limiter::new(50, 3);
        let now = Time::from_secs(7);
        let waits: Vec<u64> = (0..5).map(|_| limiter.take(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 20, 40]);
        assert_eq!(limiter.take(Time::from_secs(9)).as_millis(), 0);
    }
}
