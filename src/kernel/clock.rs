//! The clocks: what decides when the next event may happen, and what comes from outside. This is the one seam between
//! simulation and live mode.
//!
//! - [`Virtual`] never waits: a simulation.
//! - [`Wall`] sleeps until the event's time, or until the outside answers: a live run. It keeps what came in.
//! - [`Replay`] never waits and says again what a [`Wall`] heard: the same states, to the same digest.
//!
//! No other file of the library may look at the machine's clock.

#![expect(clippy::disallowed_types, reason = "the wall clock is what live mode runs on")]

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Instant;

use super::{ActorId, Duration, Time};

/// Says when time has come.
pub trait Clock<M> {
    /// Waits until `until`, or until something comes from outside before it; [`Time::MAX`] is never reached. The kernel
    /// is at `now`, after so many `events`.
    fn wait(&mut self, now: Time, events: u64, until: Time) -> Wait<M>;
}

/// Why a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait<M> {
    /// It is time; or, as far as this clock can know, nothing will happen before.
    Due,
    /// Something has come from outside. Its time may be later than what was waited for, never earlier than `now`.
    Outside(Arrival<M>),
}

/// A message from outside. These are all that a run depends on beside its scenario and its seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<M> {
    /// How many events had happened when the kernel took it in, which settles its place among others of the same time.
    pub after_events: u64,
    /// When it came.
    pub time: Time,
    /// Whom it is for.
    pub to: ActorId,
    /// What it says.
    pub message: M,
}

/// The clock of a simulation: the next event's time has always come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Virtual;

impl<M> Clock<M> for Virtual {
    #[inline]
    fn wait(&mut self, _: Time, _: u64, _: Time) -> Wait<M> {
        Wait::Due
    }
}

/// The clock of a simulation of what a live run has recorded.
#[derive(Clone, Debug)]
pub struct Replay<M> {
    arrivals: VecDeque<Arrival<M>>,
}

impl<M> Replay<M> {
    /// Replays these arrivals, in the order in which they were recorded.
    pub fn new(arrivals: impl IntoIterator<Item = Arrival<M>>) -> Replay<M> {
        Replay { arrivals: arrivals.into_iter().collect() }
    }
}

impl<M> Clock<M> for Replay<M> {
    fn wait(&mut self, now: Time, events: u64, until: Time) -> Wait<M> {
        // As the wall clock did, at the same event.
        let comes_in = |arrival: &Arrival<M>| arrival.after_events <= events && arrival.time <= until.max(now);
        if self.arrivals.front().is_some_and(comes_in) {
            return self.arrivals.pop_front().map_or(Wait::Due, Wait::Outside);
        }
        Wait::Due
    }
}

/// The clock of a live run: the kernel's time follows the machine's monotonic clock.
#[derive(Debug)]
pub struct Wall<M> {
    origin: Origin,
    outside: Receiver<Stamped<M>>,
    /// Came in, but after what was waited for.
    held: Option<Stamped<M>>,
    recording: Vec<Arrival<M>>,
}

/// The outside's end of a [`Wall`] clock. Clones go to threads and tasks.
#[derive(Debug)]
pub struct Outside<M> {
    origin: Origin,
    sender: Sender<Stamped<M>>,
}

#[derive(Debug)]
struct Stamped<M> {
    time: Time,
    to: ActorId,
    message: M,
}

/// The moment of the machine's clock that is the kernel's [`Time::ZERO`].
#[derive(Clone, Copy, Debug)]
struct Origin(Instant);

impl Origin {
    /// The kernel's time by the machine's clock.
    fn now(self) -> Time {
        Time::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl<M> Wall<M> {
    /// A clock that starts now, at [`Time::ZERO`], and the end at which the outside answers.
    pub fn start() -> (Wall<M>, Outside<M>) {
        let origin = Origin(Instant::now());
        let (sender, outside) = channel();
        (Wall { origin, outside, held: None, recording: Vec::new() }, Outside { origin, sender })
    }

    /// Takes out what has come in since this was last asked, in order, for the recording of the run.
    pub fn drain_recording(&mut self) -> std::vec::Drain<'_, Arrival<M>> {
        self.recording.drain(..)
    }

    /// What has come from outside, waiting for it until `until` at most.
    fn receive(&mut self, until: Time) -> Option<Stamped<M>> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        loop {
            match self.outside.try_recv() {
                Ok(stamped) => return Some(stamped),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    // Nothing can come any more: sleep, unless it were for ever.
                    if until < Time::MAX {
                        sleep(until - self.origin.now());
                    }
                    return None;
                }
            }
            let left = until - self.origin.now();
            if left.is_zero() {
                return None;
            }
            match self.outside.recv_timeout(std::time::Duration::from_nanos(left.as_nanos())) {
                Ok(stamped) => return Some(stamped),
                // Once more, to see what else is true by now.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the wall clock is what live mode runs on")]
fn sleep(length: Duration) {
    std::thread::sleep(std::time::Duration::from_nanos(length.as_nanos()));
}

impl<M: Clone> Clock<M> for Wall<M> {
    fn wait(&mut self, now: Time, events: u64, until: Time) -> Wait<M> {
        let Some(Stamped { time, to, message }) = self.receive(until) else { return Wait::Due };
        // Later than the kernel's time, so that a replay, which does not know how often was waited at one moment, takes it
        // in at the same wait.
        let time = time.max(now + Duration::from_nanos(1));
        if time > until {
            // However much comes in, it does not keep back what is due before it.
            self.held = Some(Stamped { time, to, message });
            return Wait::Due;
        }
        let arrival = Arrival { after_events: events, time, to, message };
        self.recording.push(arrival.clone());
        Wait::Outside(arrival)
    }
}

impl<M> Outside<M> {
    /// Tells `to` something, stamped with the time at which this is called. False if the run has ended.
    pub fn send(&self, to: ActorId, message: M) -> bool {
        self.sender.send(Stamped { time: self.origin.now(), to, message }).is_ok()
    }
}

impl<M> Clone for Outside<M> {
    fn clone(&self) -> Self {
        Outside { origin: self.origin, sender: self.sender.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cause, Kernel};
    use super::*;

    const NODE: ActorId = ActorId(1);

    /// Runs to `limit`, answering each message `n` below 100 with `n + 100` 2 ms later: the messages in order.
    fn run(kernel: &mut Kernel<u64>, clock: &mut impl Clock<u64>, limit: Time) -> Vec<u64> {
        let mut heard = Vec::new();
        while let Some(event) = kernel.next(clock, limit) {
            heard.push(event.message);
            if event.message < 100 {
                kernel.schedule(event.time + Duration::from_millis(2), NODE, event.cause, event.message + 100);
            }
        }
        heard
    }

    fn with_timers(millis: &[u64]) -> Kernel<u64> {
        let mut kernel = Kernel::new(1);
        for &after in millis {
            kernel.schedule(Time::ZERO + Duration::from_millis(after), NODE, Cause::NONE, after);
        }
        kernel
    }

    #[expect(clippy::disallowed_methods, reason = "the outside lives on another thread")]
    fn on_another_thread(work: impl FnOnce() + Send + 'static) {
        std::thread::spawn(work);
    }

    #[test]
    fn in_virtual_time_years_pass_at_once_and_the_limit_is_kept() {
        let mut kernel = Kernel::new(1);
        let year = Time::from_secs(31_536_000);
        kernel.schedule(year, NODE, Cause::NONE, 200);
        kernel.schedule(year + Duration::from_nanos(1), NODE, Cause::NONE, 201);
        assert_eq!(run(&mut kernel, &mut Virtual, year), [200]);
        assert_eq!(run(&mut kernel, &mut Virtual, Time::MAX), [201]);
    }

    #[test]
    fn a_wall_clock_waits_for_the_time_of_each_event() {
        let (mut wall, outside) = Wall::start();
        let mut kernel = with_timers(&[1, 5]);
        let origin = wall.origin;
        while let Some(event) = kernel.next(&mut wall, Time::from_nanos(8_000_000)) {
            assert!(origin.now() >= event.time, "{event:?} came early");
        }
        assert!(origin.now() >= Time::from_nanos(8_000_000), "the limit came early");
        assert_eq!(kernel.events(), 2);
        drop(outside);
    }

    #[test]
    fn what_comes_from_outside_is_heard_before_a_later_timer_and_answered_in_time() {
        let (mut wall, outside) = Wall::start();
        let mut kernel = with_timers(&[0, 400]);
        on_another_thread(move || {
            sleep(Duration::from_millis(3));
            assert!(outside.send(NODE, 50));
        });
        // Long before the limit: the wait ends when the message comes. The far timer never fires.
        let mut heard = Vec::new();
        while heard.last() != Some(&150) {
            let event = kernel.next(&mut wall, Time::from_secs(20)).expect("the answer comes before the limit");
            heard.push(event.message);
            if event.message == 50 {
                assert!(event.time >= Time::from_nanos(3_000_000), "{event:?} has the time at which it came");
                kernel.schedule(event.time + Duration::from_millis(1), NODE, event.cause, 150);
            }
        }
        assert_eq!(heard.iter().filter(|&&message| message != 400).collect::<Vec<_>>(), [&0, &50, &150]);
        let recorded: Vec<_> = wall.drain_recording().map(|arrival| (arrival.to, arrival.message)).collect();
        assert_eq!(recorded, [(NODE, 50)]);
        assert!(wall.drain_recording().next().is_none(), "each is handed out once");
    }

    #[test]
    fn with_nothing_to_come_a_wall_clock_waits_for_the_outside_and_ends_with_it() {
        let (mut wall, outside) = Wall::start();
        let mut kernel = Kernel::new(1);
        on_another_thread(move || {
            sleep(Duration::from_millis(2));
            outside.send(NODE, 300);
        });
        assert_eq!(run(&mut kernel, &mut wall, Time::MAX), [300]);
    }

    #[test]
    fn what_came_after_a_due_event_does_not_go_before_it() {
        let (mut wall, outside) = Wall::start();
        let mut kernel = with_timers(&[0]);
        sleep(Duration::from_millis(1));
        // Both are ready when the kernel looks, and the timer's time is the earlier one.
        outside.send(NODE, 300);
        drop(outside);
        let first_two = [(); 2].map(|()| kernel.next(&mut wall, Time::MAX).map(|event| event.message));
        assert_eq!(first_two, [Some(0), Some(300)]);
    }

    #[test]
    fn a_replay_of_what_came_in_walks_to_the_same_digest() {
        let timers = [0, 1, 2, 3, 4, 5];
        let (mut wall, outside) = Wall::start();
        on_another_thread(move || {
            for message in 10..40 {
                outside.send(NODE, message);
                sleep(Duration::from_micros(150));
            }
        });
        let mut live = with_timers(&timers);
        let heard = run(&mut live, &mut wall, Time::MAX);
        let mut replay = Replay::new(wall.drain_recording().collect::<Vec<_>>());
        let mut again = with_timers(&timers);
        assert_eq!(run(&mut again, &mut replay, Time::MAX), heard);
        assert_eq!((again.digest(), again.events()), (live.digest(), 72));
    }

    #[test]
    fn a_cancelled_timer_wakes_nobody_and_what_follows_it_waits_for_its_own_time() {
        let (mut wall, _outside) = Wall::start();
        let mut kernel = with_timers(&[6]);
        let timer = kernel.schedule_cancellable(Time::from_nanos(1_000_000), NODE, Cause::NONE, 9);
        kernel.cancel(timer);
        let event = kernel.next(&mut wall, Time::from_secs(20)).expect("a timer is left");
        assert_eq!(event.message, 6);
        assert!(wall.origin.now() >= event.time);
    }

    #[test]
    fn a_run_that_ended_is_noticed_by_the_outside() {
        let (wall, outside) = Wall::<u64>::start();
        drop(wall);
        assert!(!outside.clone().send(NODE, 1));
    }
}
