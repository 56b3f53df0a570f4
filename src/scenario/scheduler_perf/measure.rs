//! SchedulingThroughput as scheduler_perf measures it: pods scheduled in each second, and their mean.
//!
//! Kubernetes: test/integration/scheduler_perf/util.go (throughputCollector).

use crate::kernel::{Duration, Time};

const SECOND: Duration = Duration::from_secs(1);

/// The mean of the samples, in pods a second; None if there is none. `start` is when collecting began, `end` when it ended; `times`
/// are those of the bindings between, in order.
///
/// It is sampled each second. The first second with pods is dropped, for it is rarely a whole one; seconds without a new pod
/// are folded into the next sample, which then counts as often.
pub(super) fn average_throughput(start: Time, end: Time, times: &[Time]) -> Option<f64> {
    let (mut samples, mut sum) = (0u32, 0.0);
    let (mut seen, mut skipped, mut started) = (0, 0u32, false);
    let mut tick = start + SECOND;
    while tick <= end {
        let until = times.partition_point(|time| *time <= tick);
        let new = until - seen;
        if new == 0 {
            skipped += u32::from(started);
        } else {
            if started {
                let seconds = skipped + 1;
                samples += seconds;
                sum += new as f64;
            }
            started = true;
            (seen, skipped) = (until, 0);
        }
        tick += SECOND;
    }
    (samples > 0).then(|| sum / f64::from(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(end: u64, times: &[u64], wanted: Option<f64>) {
        let at = |millis: u64| Time::ZERO + Duration::from_millis(millis);
        let times: Vec<Time> = times.iter().map(|&time| at(time)).collect();
        assert_eq!(average_throughput(Time::ZERO, at(end), &times), wanted);
    }

    #[test]
    fn the_first_second_with_pods_is_dropped() {
        check(900, &[100, 200], None);
        check(1000, &[100, 200], None);
        check(2000, &[100, 200, 1100, 1200, 1300], Some(3.0));
        check(3000, &[1100, 2500], Some(1.0));
    }

    #[test]
    fn seconds_without_pods_are_folded_into_the_next_sample() {
        // 6 pods in the three seconds after the first.
        check(4000, &[100, 3100, 3200, 3300, 3400, 3500, 3600], Some(2.0));
        // What is after the last sample does not count.
        check(5000, &[100, 1100, 1200], Some(2.0));
    }
}
