//! The kernel: what time it is, what comes next, and the digest of what has happened.
//!
//! It hands out one event after another; whoever runs it (`cluster/`) gives the event to its actor and schedules what the
//! actor wants. `Kernel::pop` is simulation alone; `Kernel::next` asks a [`Clock`] when an event may happen, and lets in
//! what comes from outside.

use super::clock::{Arrival, Clock, Wait};
use super::{ActorId, Cause, Digest, Fold, Queue, Streams, Time};

/// One run: its time, its events to come, its random streams and its digest. `M` is the closed set of messages.
#[derive(Debug)]
pub struct Kernel<M> {
    now: Time,
    queue: Queue<Scheduled<M>>,
    timers: Timers,
    streams: Streams,
    events: u64,
    digest: Digest,
}

/// A message that reaches an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<M> {
    /// When it happens.
    pub time: Time,
    /// Whom it reaches.
    pub to: ActorId,
    /// The record that led to it.
    pub cause: Cause,
    /// What it says.
    pub message: M,
}

/// Names a message that was scheduled so that it can be cancelled. Once the message has come or was cancelled, the name
/// means nothing any more, and does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

/// What waits in the queue.
#[derive(Debug)]
struct Scheduled<M> {
    /// The actor; with [`CANCELLABLE`] if `cause` is the slot of a timer, where the cause is then found.
    to: u32,
    cause: u32,
    message: M,
}

const CANCELLABLE: u32 = 1 << 31;

// With its time an event with a small message takes half a cache line in the queue.
const _: () = assert!(size_of::<(Time, Scheduled<[u64; 2]>)>() <= 32);
const _: () = assert!(size_of::<(Time, Scheduled<[u64; 3]>)>() <= 40);

impl<M> Kernel<M> {
    /// A run at its start, with nothing to come.
    pub fn new(seed: u64) -> Kernel<M> {
        Kernel {
            now: Time::ZERO,
            queue: Queue::new(),
            timers: Timers::default(),
            streams: Streams::new(seed),
            events: 0,
            digest: Digest::new(),
        }
    }

    /// The time of the last event, or what [`Kernel::advance_to`] made it.
    #[inline]
    pub fn now(&self) -> Time {
        self.now
    }

    /// The run's random streams.
    pub fn streams(&self) -> Streams {
        self.streams
    }

    /// How many events have happened.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many messages are still to come.
    pub fn pending(&self) -> usize {
        self.queue.len() - self.timers.cancelled
    }

    /// Stands for all events so far: their times, actors and messages, in order. Causes are not in it, so that recording
    /// more or less of a run does not change its digest.
    pub fn digest(&self) -> u64 {
        self.digest.value()
    }

    /// Sends `message` to `to` at `at`, or now if `at` is past; after all that were scheduled before for the same moment.
    ///
    /// # Panics
    ///
    /// If the actor's number is 2³¹ or more.
    #[inline]
    pub fn schedule(&mut self, at: Time, to: ActorId, cause: Cause, message: M) {
        assert!(to.0 < CANCELLABLE, "actors are numbered densely from 0");
        self.queue.push(at.max(self.now), Scheduled { to: to.0, cause: cause.raw(), message });
    }

    /// As [`Kernel::schedule`], for a message that may be taken back.
    ///
    /// # Panics
    ///
    /// If the actor's number is 2³¹ or more.
    pub fn schedule_cancellable(&mut self, at: Time, to: ActorId, cause: Cause, message: M) -> TimerId {
        assert!(to.0 < CANCELLABLE, "actors are numbered densely from 0");
        let timer = self.timers.start(cause);
        self.queue.push(at.max(self.now), Scheduled { to: to.0 | CANCELLABLE, cause: timer.slot, message });
        timer
    }

    /// Takes the message back. False if it has already come or was already cancelled.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        self.timers.cancel(timer)
    }

    /// When something is to happen next; nothing happens before it. It may be the time of a cancelled message, for which
    /// [`Kernel::pop`] then finds nothing to hand out.
    #[inline]
    pub fn next_time(&self) -> Option<Time> {
        self.queue.next_time()
    }

    /// Goes to the next event, if it happens at `limit` or before. Otherwise nothing comes out and the time does not
    /// pass `limit`; it may have moved to that of a cancelled message.
    #[inline]
    pub fn pop(&mut self, limit: Time) -> Option<Event<M>>
    where
        M: Fold,
    {
        loop {
            if self.queue.next_time()? > limit {
                return None;
            }
            let (time, scheduled) = self.queue.pop()?;
            // After `advance_to` the events that were jumped over happen late.
            self.now = self.now.max(time);
            let cause = if scheduled.to & CANCELLABLE == 0 {
                Some(Cause::from_raw(scheduled.cause))
            } else {
                self.timers.end(scheduled.cause)
            };
            let Some(cause) = cause else { continue };
            let to = ActorId(scheduled.to & !CANCELLABLE);
            self.events += 1;
            self.now.fold(&mut self.digest);
            to.fold(&mut self.digest);
            scheduled.message.fold(&mut self.digest);
            return Some(Event { time: self.now, to, cause, message: scheduled.message });
        }
    }

    /// The next event that happens at `limit` or before, when the clock says that it is time for it. What comes from
    /// outside in the meantime is scheduled. `None` once `limit` has come without one, or, where nothing can come from
    /// outside, as soon as that is certain.
    #[inline]
    pub fn next(&mut self, clock: &mut impl Clock<M>, limit: Time) -> Option<Event<M>>
    where
        M: Fold,
    {
        loop {
            let next = self.next_time().filter(|&time| time <= limit);
            match clock.wait(self.now, self.events, next.unwrap_or(limit)) {
                Wait::Outside(Arrival { time, to, message, .. }) => self.schedule(time, to, Cause::NONE, message),
                Wait::Due => match self.pop(next?) {
                    Some(event) => return Some(event),
                    // It was cancelled.
                    None => continue,
                },
            }
        }
    }

    /// Lets time pass without an event: to `time`, unless it is past already. Events before `time` that are still to
    /// come happen at `time`.
    pub fn advance_to(&mut self, time: Time) {
        self.now = self.now.max(time);
    }
}

/// The cancellable messages that are in the queue, by slot. A slot is used again once its message has left the queue.
#[derive(Debug, Default)]
struct Timers {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// How many messages in the queue are cancelled.
    cancelled: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Grows when the slot's message comes or is cancelled, so that old names no longer fit.
    generation: u32,
    cause: Cause,
    cancelled: bool,
}

impl Timers {
    fn start(&mut self, cause: Cause) -> TimerId {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.cause = cause;
            return TimerId { slot, generation: entry.generation };
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2³² timers wait at once");
        self.slots.push(Slot { generation: 0, cause, cancelled: false });
        TimerId { slot, generation: 0 }
    }

    fn cancel(&mut self, timer: TimerId) -> bool {
        let Some(slot) = self.slots.get_mut(timer.slot as usize) else { return false };
        if slot.generation != timer.generation || slot.cancelled {
            return false;
        }
        slot.cancelled = true;
        self.cancelled += 1;
        true
    }

    /// Frees the slot of a message that has left the queue. Its cause, or `None` if it was cancelled.
    fn end(&mut self, slot: u32) -> Option<Cause> {
        let entry = &mut self.slots[slot as usize];
        let cancelled = std::mem::take(&mut entry.cancelled);
        self.cancelled -= usize::from(cancelled);
        // A slot whose generations are used up is left alone, so that no old name ever fits again.
        if entry.generation < u32::MAX {
            entry.generation += 1;
            self.free.push(slot);
        }
        (!cancelled).then_some(entry.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Delivery, Distribution, Duration, Link};
    use super::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// Pops up to `limit`: each event as `time actor message`.
    fn play(kernel: &mut Kernel<u64>, limit: u64) -> String {
        let events = std::iter::from_fn(|| kernel.pop(at(limit)));
        let lines = events.map(|event| format!("{} {} {}", event.time.as_nanos(), event.to.0, event.message));
        lines.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn events_happen_by_time_and_ties_in_the_order_in_which_they_were_scheduled() {
        let mut kernel = Kernel::new(1);
        for (time, to, message) in [(30, 1, 10), (10, 2, 11), (30, 0, 12), (10, 1, 13), (0, 9, 14)] {
            kernel.schedule(at(time), ActorId(to), Cause::NONE, message);
        }
        assert_eq!(play(&mut kernel, 100), "0 9 14, 10 2 11, 10 1 13, 30 1 10, 30 0 12");
        assert_eq!((kernel.events(), kernel.now()), (5, at(30)));
    }

    #[test]
    fn a_limit_is_not_passed_and_events_at_the_limit_happen() {
        let mut kernel = Kernel::new(1);
        kernel.schedule(at(10), ActorId(0), Cause::NONE, 1);
        kernel.schedule(at(20), ActorId(0), Cause::NONE, 2);
        assert_eq!(play(&mut kernel, 9), "");
        assert_eq!(kernel.now(), at(0));
        assert_eq!(play(&mut kernel, 10), "10 0 1");
        kernel.schedule(at(11), ActorId(0), Cause::NONE, 3);
        assert_eq!(kernel.next_time(), Some(at(11)));
        assert_eq!(play(&mut kernel, 30), "11 0 3, 20 0 2");
        assert_eq!((kernel.now(), kernel.next_time()), (at(20), None));
    }

    #[test]
    fn what_is_scheduled_in_the_past_happens_now() {
        let mut kernel = Kernel::new(1);
        kernel.schedule(at(10), ActorId(0), Cause::NONE, 1);
        assert_eq!(play(&mut kernel, 10), "10 0 1");
        kernel.schedule(at(3), ActorId(0), Cause::NONE, 2);
        assert_eq!(play(&mut kernel, 10), "10 0 2");
    }

    #[test]
    fn events_that_time_jumped_over_happen_late_and_in_order() {
        let mut kernel = Kernel::new(1);
        kernel.schedule(at(10), ActorId(0), Cause::NONE, 1);
        kernel.schedule(at(20), ActorId(0), Cause::NONE, 2);
        kernel.advance_to(at(50));
        kernel.advance_to(at(40));
        kernel.schedule(at(45), ActorId(0), Cause::NONE, 3);
        assert_eq!(play(&mut kernel, 50), "50 0 1, 50 0 2, 50 0 3");
    }

    #[test]
    fn an_event_carries_the_cause_it_was_scheduled_with() {
        let mut kernel = Kernel::new(1);
        kernel.schedule(at(1), ActorId(0), Cause::from_raw(7), 1u64);
        kernel.schedule_cancellable(at(2), ActorId(0), Cause::from_raw(8), 2);
        assert_eq!(kernel.pop(at(9)).map(|event| event.cause), Some(Cause::from_raw(7)));
        assert_eq!(kernel.pop(at(9)).map(|event| event.cause), Some(Cause::from_raw(8)));
    }

    #[test]
    fn a_cancelled_message_does_not_come_and_is_not_counted() {
        let mut kernel = Kernel::new(1);
        let first = kernel.schedule_cancellable(at(10), ActorId(3), Cause::NONE, 1);
        let second = kernel.schedule_cancellable(at(10), ActorId(3), Cause::NONE, 2);
        assert_eq!(kernel.pending(), 2);
        assert!(kernel.cancel(first));
        assert!(!kernel.cancel(first), "a second time");
        assert_eq!(kernel.pending(), 1);
        assert_eq!(play(&mut kernel, 100), "10 3 2");
        assert!(!kernel.cancel(second), "after it has come");
        assert_eq!((kernel.events(), kernel.pending()), (1, 0));
    }

    #[test]
    fn an_old_name_does_not_cancel_the_message_that_uses_its_slot_again() {
        let mut kernel = Kernel::new(1);
        let old = kernel.schedule_cancellable(at(10), ActorId(0), Cause::NONE, 1);
        assert!(kernel.cancel(old));
        // The cancelled message still holds the slot.
        kernel.schedule_cancellable(at(11), ActorId(0), Cause::NONE, 2);
        assert_eq!(play(&mut kernel, 10), "");
        let new = kernel.schedule_cancellable(at(12), ActorId(0), Cause::NONE, 3);
        assert_eq!(new.slot, old.slot);
        assert!(!kernel.cancel(old));
        assert_eq!(play(&mut kernel, 100), "11 0 2, 12 0 3");
    }

    #[test]
    fn after_a_cancelled_message_was_passed_time_does_not_run_backwards() {
        let mut kernel = Kernel::new(1);
        let timer = kernel.schedule_cancellable(at(10), ActorId(0), Cause::NONE, 1);
        kernel.cancel(timer);
        kernel.schedule(at(100), ActorId(0), Cause::NONE, 2);
        assert_eq!(play(&mut kernel, 50), "");
        let now = kernel.now();
        assert!(now <= at(50));
        kernel.schedule(at(5), ActorId(0), Cause::NONE, 3);
        assert_eq!(play(&mut kernel, 100), format!("{} 0 3, 100 0 2", now.as_nanos()));
    }

    #[test]
    fn the_digest_tells_times_actors_messages_and_order_apart_but_not_causes_or_cancelled_messages() {
        let digest = |events: &[(u64, u32, u32, u64)], cancelled: Option<u64>| {
            let mut kernel = Kernel::new(1);
            if let Some(time) = cancelled {
                let timer = kernel.schedule_cancellable(at(time), ActorId(0), Cause::NONE, 99);
                kernel.cancel(timer);
            }
            for &(time, to, cause, message) in events {
                kernel.schedule(at(time), ActorId(to), Cause::from_raw(cause), message);
            }
            play(&mut kernel, u64::MAX);
            kernel.digest()
        };
        let base = digest(&[(1, 2, 3, 4), (1, 5, 6, 7)], None);
        assert_eq!(base, digest(&[(1, 2, 30, 4), (1, 5, 60, 7)], None), "other causes");
        assert_eq!(base, digest(&[(1, 2, 3, 4), (1, 5, 6, 7)], Some(1)), "one cancelled");
        for (what, events) in [
            ("a time", [(1, 2, 3, 4), (2, 5, 6, 7)]),
            ("an actor", [(1, 2, 3, 4), (1, 6, 6, 7)]),
            ("a message", [(1, 2, 3, 4), (1, 5, 6, 8)]),
            ("the order", [(1, 5, 6, 7), (1, 2, 3, 4)]),
        ] {
            assert_ne!(base, digest(&events, None), "{what}");
        }
    }

    /// A small world: each of five actors answers another over a jittery, lossy link, and sometimes cancels its timer.
    fn small_world(seed: u64) -> Kernel<u64> {
        let mut kernel = Kernel::new(seed);
        let mut choices = kernel.streams().stream("world", "choices");
        let mut luck = kernel.streams().stream("link", "latency");
        let latency = Distribution::LogNormal { p50: Duration::from_micros(300), p99: Duration::from_millis(20) };
        let mut link = Link::new(latency);
        link.loss = 0.1;
        for actor in 0..5 {
            kernel.schedule(Time::ZERO, ActorId(actor), Cause::NONE, 0);
        }
        while kernel.events() < 10_000 {
            let Some(event) = kernel.pop(Time::MAX) else { break };
            let to = ActorId(choices.below(5) as u32);
            // What is lost is sent again a second later.
            let at = match link.deliver_at(event.time, &mut luck) {
                Delivery::At(time) => time,
                Delivery::Lost => event.time + Duration::from_secs(1),
            };
            kernel.schedule(at, to, event.cause, event.message + 1);
            let timer = kernel.schedule_cancellable(at + Duration::from_millis(5), to, event.cause, 0);
            if choices.chance(0.9) {
                kernel.cancel(timer);
            }
        }
        kernel
    }

    #[test]
    fn the_same_seed_walks_to_the_same_digest_on_every_machine() {
        let world = small_world(7);
        assert_eq!((world.events(), format!("{:016x}", world.digest())), (10_000, "690167f8ff58fc30".to_owned()));
        assert_eq!(small_world(7).digest(), world.digest());
        assert_ne!(small_world(8).digest(), world.digest());
    }
}
