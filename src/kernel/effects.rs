//! What an actor does in answer to a message: messages to others, timers for itself, records for the trace.

use super::{Cause, Duration, Time};

/// Collects the effects of one call of an actor's `handle`. The cluster owns one buffer a part and uses it again and
/// again, so that an event allocates nothing here.
///
/// `In` is what the actor hears (its timers are messages to itself), `Out` what it says to other actors, `Record` what
/// it writes to the trace.
///
/// **Causes.** While a message is handled, everything that is sent, timed or recorded is caused by [`Effects::cause`].
/// That begins as the cause that the message came with; [`Effects::record`] makes its record the cause of what follows.
/// An actor that handles several matters in one call says which one it is at with [`Effects::because`].
#[derive(Debug)]
pub struct Effects<In, Out, Record> {
    now: Time,
    cause: Cause,
    next_record: u32,
    effects: Vec<(Cause, Effect<In, Out>)>,
    records: Vec<Recorded<Record>>,
}

/// One effect, in the order in which the actor had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<In, Out> {
    /// A message to another actor, `delay` after now (before the link's own latency).
    Send { delay: Duration, message: Out },
    /// A message of the actor to itself.
    Wake { at: Time, message: In },
}

/// A record with its own id and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<Record> {
    /// The record's id, by which others name it as their cause.
    pub id: Cause,
    /// The record that led to this one.
    pub cause: Cause,
    /// When it happened.
    pub time: Time,
    /// What happened.
    pub what: Record,
}

impl<In, Out, Record> Default for Effects<In, Out, Record> {
    fn default() -> Self {
        Effects { now: Time::ZERO, cause: Cause::NONE, next_record: 1, effects: Vec::new(), records: Vec::new() }
    }
}

impl<In, Out, Record> Effects<In, Out, Record> {
    /// Makes the buffer ready for a message that came `now` because of `cause`; records get ids from `next_record` on.
    /// The buffer must have been drained.
    pub fn begin(&mut self, now: Time, cause: Cause, next_record: u32) {
        debug_assert!(self.effects.is_empty() && self.records.is_empty(), "effects were drained");
        self.now = now;
        self.cause = cause;
        self.next_record = next_record;
    }

    /// The moment at which the message is handled.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What causes that which is sent, timed and recorded from here on.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Says that what follows was caused by `cause`, for an actor that handles several matters in one call.
    pub fn because(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// Writes to the trace; what follows is caused by this record.
    pub fn record(&mut self, what: Record) -> Cause {
        let id = self.note(what);
        self.cause = id;
        id
    }

    /// Writes to the trace without becoming the cause of what follows.
    pub fn note(&mut self, what: Record) -> Cause {
        let id = Cause::from_raw(self.next_record);
        self.next_record += 1;
        self.records.push(Recorded { id, cause: self.cause, time: self.now, what });
        id
    }

    /// Sends to another actor, now.
    pub fn send(&mut self, message: Out) {
        self.send_after(Duration::ZERO, message);
    }

    /// Sends to another actor, `delay` from now: for work that takes time without being observable in between.
    pub fn send_after(&mut self, delay: Duration, message: Out) {
        self.effects.push((self.cause, Effect::Send { delay, message }));
    }

    /// Sends `message` to oneself at `at`, or now if `at` is past. A timer is not cancelled: when it fires, the state
    /// says whether it still means something.
    pub fn wake_at(&mut self, at: Time, message: In) {
        self.effects.push((self.cause, Effect::Wake { at: at.max(self.now), message }));
    }

    /// Sends `message` to oneself `delay` from now.
    pub fn wake_after(&mut self, delay: Duration, message: In) {
        self.wake_at(self.now + delay, message);
    }

    /// The id that the next record would get.
    pub fn next_record(&self) -> u32 {
        self.next_record
    }

    /// Takes out the effects, in order, each with its cause.
    pub fn drain_effects(&mut self) -> std::vec::Drain<'_, (Cause, Effect<In, Out>)> {
        self.effects.drain(..)
    }

    /// Takes out the records, in order.
    pub fn drain_records(&mut self) -> std::vec::Drain<'_, Recorded<Record>> {
        self.records.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fx = Effects<&'static str, &'static str, &'static str>;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// Lets an actor act at 100 ns because of record 5, records beginning at 10: its effects and its records, each with
    /// its cause.
    fn check(act: impl FnOnce(&mut Fx), effects: &[(u32, Effect<&str, &str>)], records: &[(u32, u32, &str)]) {
        let mut fx = Fx::default();
        fx.begin(at(100), Cause::from_raw(5), 10);
        act(&mut fx);
        let found: Vec<_> = fx.drain_effects().map(|(cause, effect)| (cause.raw(), effect)).collect();
        assert_eq!(found, effects);
        let found: Vec<_> = fx.drain_records().map(|r| (r.id.raw(), r.cause.raw(), r.time, r.what)).collect();
        let records: Vec<_> = records.iter().map(|&(id, cause, what)| (id, cause, at(100), what)).collect();
        assert_eq!(found, records);
        // The next message finds the buffer empty.
        fx.begin(at(200), Cause::NONE, fx.next_record());
    }

    fn send(message: &str) -> Effect<&str, &str> {
        Effect::Send { delay: Duration::ZERO, message }
    }

    #[test]
    fn what_is_sent_and_recorded_is_caused_by_the_message_that_came() {
        let act = |fx: &mut Fx| {
            fx.send("bind");
            fx.note("seen");
            fx.send("status");
        };
        check(act, &[(5, send("bind")), (5, send("status"))], &[(10, 5, "seen")]);
    }

    #[test]
    fn a_record_causes_what_follows_it_and_because_changes_the_matter() {
        let act = |fx: &mut Fx| {
            let evicted = fx.record("evicted");
            fx.send("delete");
            fx.record("killed");
            fx.because(evicted);
            fx.send("event");
            assert_eq!((fx.cause(), fx.next_record()), (evicted, 12));
        };
        check(act, &[(10, send("delete")), (10, send("event"))], &[(10, 5, "evicted"), (11, 10, "killed")]);
    }

    #[test]
    fn timers_of_the_past_fire_now_and_delays_are_kept() {
        let act = |fx: &mut Fx| {
            fx.wake_at(at(40), "late");
            fx.wake_after(Duration::from_nanos(7), "soon");
            fx.send_after(Duration::from_nanos(3), "slow");
        };
        let effects = [
            (5, Effect::Wake { at: at(100), message: "late" }),
            (5, Effect::Wake { at: at(107), message: "soon" }),
            (5, Effect::Send { delay: Duration::from_nanos(3), message: "slow" }),
        ];
        check(act, &effects, &[]);
    }
}
