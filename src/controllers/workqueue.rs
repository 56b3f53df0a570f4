//! What the controllers of Kubernetes share from client-go: the work queue, the client's rate limit, expectations.
//!
//! Kubernetes: staging/src/k8s.io/client-go/util/workqueue, …/util/flowcontrol, pkg/controller/controller_utils.go
//! (ControllerExpectations).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rustc_hash::FxHashMap;

use crate::kernel::{Cause, Duration, Time};
use crate::model::{Key, Uid};

/// A token bucket that books ahead: it says how long a caller has to wait for its token.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    /// Time for one token; zero: no limit.
    interval: Duration,
    burst: u64,
    /// When the bucket would be full again.
    full_at: Time,
}

impl TokenBucket {
    /// A full bucket of `burst` tokens that gains one each `interval`.
    pub fn new(interval: Duration, burst: u64) -> TokenBucket {
        TokenBucket { interval, burst: burst.max(1), full_at: Time::ZERO }
    }

    /// A full bucket that gains `per_second` tokens a second; no limit if that is not positive.
    pub fn per_second(per_second: f64, burst: u64) -> TokenBucket {
        TokenBucket::new(interval_of(per_second).unwrap_or(Duration::ZERO), burst)
    }

    /// Takes a token and says how long to wait until it is there.
    pub fn reserve(&mut self, now: Time) -> Duration {
        let full_at = self.full_at.max(now);
        self.full_at = full_at + self.interval;
        full_at.saturating_sub(self.interval * (self.burst - 1)).since(now)
    }
}

/// The time between two events of a rate, rounded to nanoseconds; None if the rate is not positive.
pub fn interval_of(per_second: f64) -> Option<Duration> {
    (per_second > 0.0).then(|| Duration::from_nanos((1e9 / per_second).round() as u64))
}

/// A queue of keys: each is there once; one that is added while it is being worked on comes again afterwards; failures
/// come back later and later.
#[derive(Debug)]
pub struct WorkQueue {
    ready: VecDeque<Key>,
    states: FxHashMap<Key, State>,
    delayed: BinaryHeap<Reverse<(Time, u64, Key)>>,
    waiting: FxHashMap<Key, (Time, Cause)>,
    failures: FxHashMap<Key, u32>,
    retries: TokenBucket,
    sequence: u64,
    first_delay: Duration,
    longest_delay: Duration,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Queued(Cause),
    Running { again: Option<Cause> },
}

impl Default for WorkQueue {
    fn default() -> WorkQueue {
        WorkQueue {
            ready: VecDeque::new(),
            states: FxHashMap::default(),
            delayed: BinaryHeap::new(),
            waiting: FxHashMap::default(),
            failures: FxHashMap::default(),
            retries: TokenBucket::per_second(10.0, 100),
            sequence: 0,
            first_delay: Duration::from_millis(5),
            longest_delay: Duration::from_secs(1000),
        }
    }
}

impl WorkQueue {
    /// A queue whose failures wait `first_delay`, doubled each time, up to `longest_delay`.
    pub fn with_backoff(first_delay: Duration, longest_delay: Duration) -> WorkQueue {
        WorkQueue { first_delay, longest_delay, ..WorkQueue::default() }
    }

    /// Queues `key`, unless it is queued already; the first cause is kept.
    pub fn add(&mut self, key: Key, cause: Cause) {
        match self.states.get_mut(&key) {
            None => {
                self.states.insert(key, State::Queued(cause));
                self.ready.push_back(key);
            }
            Some(State::Queued(_)) => {}
            Some(State::Running { again }) => {
                again.get_or_insert(cause);
            }
        }
    }

    /// Queues `key` at `at`. Of several such wishes for a key the earliest counts and the others are dropped.
    pub fn add_at(&mut self, key: Key, at: Time, now: Time, cause: Cause) {
        if at <= now {
            return self.add(key, cause);
        }
        if self.waiting.get(&key).is_some_and(|&(earlier, _)| earlier <= at) {
            return;
        }
        self.waiting.insert(key, (at, cause));
        self.sequence += 1;
        self.delayed.push(Reverse((at, self.sequence, key)));
    }

    /// Queues `key` again after a failure, later each time.
    pub fn add_rate_limited(&mut self, key: Key, now: Time, cause: Cause) {
        let failures = self.failures.entry(key).or_insert(0);
        let shift = (*failures).min(40);
        *failures += 1;
        let nanos = (u128::from(self.first_delay.as_nanos()) << shift).min(u128::from(self.longest_delay.as_nanos()));
        let delay = Duration::from_nanos(nanos as u64).max(self.retries.reserve(now));
        self.add_at(key, now + delay, now, cause);
    }

    /// Forgets the failures of `key`: it succeeded.
    pub fn forget(&mut self, key: Key) {
        self.failures.remove(&key);
    }

    /// Takes the next key to work on at `now`, with its cause.
    pub fn take(&mut self, now: Time) -> Option<(Key, Cause)> {
        self.promote(now);
        let key = self.ready.pop_front()?;
        let state = self.states.insert(key, State::Running { again: None });
        let Some(State::Queued(cause)) = state else { unreachable!("only queued keys are ready") };
        Some((key, cause))
    }

    /// Says that the work on `key` has ended.
    pub fn done(&mut self, key: Key) {
        if let Some(State::Running { again }) = self.states.remove(&key)
            && let Some(cause) = again
        {
            self.add(key, cause);
        }
    }

    /// True if a key can be taken now.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next delayed key becomes ready.
    pub fn next_delayed(&mut self) -> Option<Time> {
        while let Some(&Reverse((at, _, key))) = self.delayed.peek() {
            if self.waiting.get(&key).is_some_and(|&(due, _)| due == at) {
                return Some(at);
            }
            self.delayed.pop();
        }
        None
    }

    /// Moves the delayed keys that are due to the ready ones.
    fn promote(&mut self, now: Time) {
        while let Some(at) = self.next_delayed() {
            if at > now {
                return;
            }
            if let Some(Reverse((_, _, key))) = self.delayed.pop()
                && let Some((_, cause)) = self.waiting.remove(&key)
            {
                self.add(key, cause);
            }
        }
    }
}

/// The creations and deletions that a controller has asked for and not yet seen, by owner: until they are seen, or for
/// five minutes, the cache is known to be stale and the controller creates and deletes nothing.
#[derive(Debug, Default)]
pub struct Expectations {
    by_owner: FxHashMap<Uid, Expected>,
}

#[derive(Debug, Default)]
struct Expected {
    creations: i32,
    deletions: Vec<Uid>,
    since: Time,
}

/// After this long the controller acts again, whatever it has seen.
const EXPECTATIONS_TIMEOUT: Duration = Duration::from_secs(300);

impl Expectations {
    /// True if all that was asked for has been seen.
    pub fn are_met(&self, owner: Uid, now: Time) -> bool {
        self.by_owner.get(&owner).is_none_or(|expected| {
            (expected.creations <= 0 && expected.deletions.is_empty())
                || now.since(expected.since) > EXPECTATIONS_TIMEOUT
        })
    }

    /// From now on `count` creations are awaited.
    pub fn expect_creations(&mut self, owner: Uid, count: i32, now: Time) {
        self.by_owner.insert(owner, Expected { creations: count, deletions: Vec::new(), since: now });
    }

    /// From now on the deletion of these pods is awaited.
    pub fn expect_deletions(&mut self, owner: Uid, pods: Vec<Uid>, now: Time) {
        self.by_owner.insert(owner, Expected { creations: 0, deletions: pods, since: now });
    }

    /// A creation was seen, or has failed.
    pub fn created(&mut self, owner: Uid) {
        self.creations_fell(owner, 1);
    }

    /// `count` creations will not come.
    pub fn creations_fell(&mut self, owner: Uid, count: i32) {
        if let Some(expected) = self.by_owner.get_mut(&owner) {
            expected.creations -= count;
        }
    }

    /// The pod's deletion was seen, or has failed.
    pub fn deleted(&mut self, owner: Uid, pod: Uid) {
        if let Some(expected) = self.by_owner.get_mut(&owner)
            && let Some(at) = expected.deletions.iter().position(|&uid| uid == pod)
        {
            expected.deletions.swap_remove(at);
        }
    }

    /// The owner is gone.
    pub fn forget(&mut self, owner: Uid) {
        self.by_owner.remove(&owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Job, "default", name)
    }

    #[test]
    fn a_key_is_queued_once_and_again_if_it_was_added_while_worked_on() {
        let mut queue = WorkQueue::default();
        queue.add(key("a"), Cause::from_raw(1));
        queue.add(key("a"), Cause::from_raw(2));
        assert_eq!(queue.take(Time::ZERO), Some((key("a"), Cause::from_raw(1))));
        assert_eq!(queue.take(Time::ZERO), None);
        queue.add(key("a"), Cause::from_raw(3));
        assert_eq!(queue.take(Time::ZERO), None);
        queue.done(key("a"));
        assert_eq!(queue.take(Time::ZERO), Some((key("a"), Cause::from_raw(3))));
    }

    #[test]
    fn the_earliest_of_several_delays_counts() {
        let mut queue = WorkQueue::default();
        queue.add_at(key("a"), Time::from_secs(9), Time::ZERO, Cause::NONE);
        queue.add_at(key("a"), Time::from_secs(5), Time::ZERO, Cause::NONE);
        queue.add_at(key("a"), Time::from_secs(7), Time::ZERO, Cause::NONE);
        assert_eq!(queue.next_delayed(), Some(Time::from_secs(5)));
        assert!(queue.take(Time::from_secs(5)).is_some());
        queue.done(key("a"));
        assert_eq!(queue.next_delayed(), None);
    }

    #[test]
    fn failures_double_the_delay_from_5ms_to_1000s() {
        let mut queue = WorkQueue::default();
        let mut delays = Vec::new();
        for round in 0..20 {
            let now = Time::from_secs(round * 10_000);
            queue.add_rate_limited(key("a"), now, Cause::NONE);
            let at = queue.next_delayed().expect("it was delayed");
            delays.push(at.since(now).as_millis());
            queue.take(at);
            queue.done(key("a"));
        }
        assert_eq!(delays[..4], [5, 10, 20, 40]);
        assert_eq!(delays[17..], [655_360, 1_000_000, 1_000_000]);
    }

    #[test]
    fn a_bucket_lets_its_burst_pass_and_then_its_rate() {
        let mut bucket = TokenBucket::per_second(20.0, 30);
        let now = Time::from_secs(100);
        let waits: Vec<u64> = (0..33).map(|_| bucket.reserve(now).as_millis()).collect();
        assert_eq!(waits[29], 0);
        assert_eq!(waits[30..], [50, 100, 150]);
        assert_eq!(bucket.reserve(now + Duration::from_secs(60)), Duration::ZERO);
    }
}
