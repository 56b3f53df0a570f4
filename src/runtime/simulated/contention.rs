//! Operations that get in each other's way: each has its work to do, and all that are in flight do it at the same, slower
//! rate.
//!
//! With n in flight, work advances at 1000 / (1000 + k · (min(n, cap) − 1)) of its speed alone. All advance together, so
//! one counter of work done serves for all, and an operation ends when the counter reaches its mark.

use std::collections::BTreeMap;

use crate::kernel::{Duration, Time};

/// Operations in flight.
#[derive(Clone, Debug)]
pub struct Contention<Job> {
    per_thousand: u64,
    cap: u64,
    counted: Time,
    /// Work that each operation in flight could have done since there was one, in thousandths of nanoseconds.
    done: u64,
    jobs: BTreeMap<(u64, u64), Job>,
    next: u64,
    /// The earliest wake-up under way.
    armed: Option<Time>,
}

impl<Job> Contention<Job> {
    /// Nothing in flight. See [`super::Profile`] for the two numbers.
    pub fn new(per_thousand: u64, cap: u64) -> Contention<Job> {
        let jobs = BTreeMap::new();
        Contention { per_thousand, cap, counted: Time::ZERO, done: 0, jobs, next: 0, armed: None }
    }

    /// An operation begins that would take `work` alone.
    pub fn begin(&mut self, now: Time, work: Duration, job: Job) {
        self.count_to(now);
        let ends_at = self.done.saturating_add(work.as_nanos().saturating_mul(1000));
        self.jobs.insert((ends_at, self.next), job);
        self.next += 1;
    }

    /// Takes out the next operation that has ended by `now`.
    pub fn pop(&mut self, now: Time) -> Option<Job> {
        self.count_to(now);
        let first = self.jobs.first_entry()?;
        if first.key().0 > self.done {
            return None;
        }
        let job = first.remove();
        if self.jobs.is_empty() {
            self.done = 0;
        }
        Some(job)
    }

    /// All operations, in the order in which they would end; none is left.
    pub fn clear(&mut self) -> Vec<Job> {
        self.done = 0;
        self.armed = None;
        std::mem::take(&mut self.jobs).into_values().collect()
    }

    /// Those in flight.
    pub fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.jobs.values_mut()
    }

    /// When to wake up for the next end, if no earlier wake-up is under way. To be asked after every change.
    pub fn arm(&mut self) -> Option<Time> {
        let (&(ends_at, _), _) = self.jobs.first_key_value()?;
        let left = u128::from(ends_at.saturating_sub(self.done));
        let nanos = (left * u128::from(self.slowness())).div_ceil(1_000_000);
        let at = self.counted + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        if self.armed.is_some_and(|armed| armed <= at) {
            return None;
        }
        self.armed = Some(at);
        Some(at)
    }

    /// A wake-up for this moment came.
    pub fn woken(&mut self, at: Time) {
        if self.armed == Some(at) {
            self.armed = None;
        }
    }

    /// In thousandths.
    fn slowness(&self) -> u64 {
        let in_flight = (self.jobs.len() as u64).min(self.cap).max(1);
        1000 + self.per_thousand * (in_flight - 1)
    }

    fn count_to(&mut self, now: Time) {
        let passed = u128::from(now.since(self.counted).as_nanos());
        self.counted = self.counted.max(now);
        if !self.jobs.is_empty() {
            let done = passed * 1_000_000 / u128::from(self.slowness());
            self.done = self.done.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(works: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut contention = Contention::new(500, 16);
        let mut ended = Vec::new();
        let mut starts = works.iter().copied().enumerate().peekable();
        loop {
            let wake = contention.arm().or(contention.armed);
            let start = starts.peek().map(|(_, (at, _))| Time::from_nanos(at * 1_000_000));
            let now = match (wake, start) {
                (None, None) => return ended,
                (wake, start) => wake.unwrap_or(Time::MAX).min(start.unwrap_or(Time::MAX)),
            };
            if Some(now) == start {
                let (number, (_, work)) = starts.next().unwrap();
                contention.begin(now, Duration::from_millis(work), number as u64);
            } else {
                contention.woken(now);
            }
            while let Some(number) = contention.pop(now) {
                // Counting again before the end costs up to a nanosecond.
                ended.push((number, now.as_nanos() / 1_000_000));
            }
        }
    }

    #[test]
    fn operations_slow_each_other_down_while_they_overlap() {
        for (works, expected) in [
            (vec![(0, 100)], vec![(0, 100)]),
            (vec![(0, 100), (0, 100)], vec![(0, 150), (1, 150)]),
            (vec![(0, 100), (0, 100), (0, 100)], vec![(0, 200), (1, 200), (2, 200)]),
            (vec![(0, 100), (50, 100)], vec![(0, 125), (1, 175)]),
            (vec![(0, 100), (100, 100)], vec![(0, 100), (1, 200)]),
            (vec![(0, 0)], vec![(0, 0)]),
        ] {
            assert_eq!(ends(&works), expected, "{works:?}");
        }
        let twenty = ends(&[(0, 100); 20]);
        assert!(twenty.iter().all(|(_, end)| *end == 850), "{twenty:?}");
    }
}
