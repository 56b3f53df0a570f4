//! What a controller is, and what it is given to act with: the cache, its queue, its client with a rate limit, its
//! event recorder.

use std::collections::BTreeSet;
use std::fmt::Debug;

use rustc_hash::FxHashMap;

use crate::kernel::{Duration, Stream, Time};
use crate::model::{EventRecorder, EventType, Key, Kind, Name, Object, ObjectReference, Text};
use crate::protocol::api::{Answer, Call, Request, Status, Tag};
use crate::trace::{Effects, Record};

use super::informer::{Cache, Change};
use super::workqueue::{TokenBucket, WorkQueue};
use super::{Config, In, Out, Timer};

/// One controller of the controller manager. To add one, write a file with an implementation and add a line to
/// [`super::all`].
///
/// Its loop is Kubernetes': event handlers put keys into a queue, workers take them out and bring the world nearer to
/// what is wanted. Where Kubernetes' worker waits for an answer of the API server, [`Controller::sync`] ends with
/// [`Progress::Wait`] and goes on in [`Controller::resume`]; meanwhile the key counts as being worked on.
pub trait Controller: Debug {
    /// The controller's name, as `--controllers` spells it.
    fn name(&self) -> &'static str;

    /// The component that its Events name.
    fn component(&self) -> &'static str;

    /// The kinds that it watches.
    fn kinds(&self) -> &'static [Kind];

    /// How many keys are worked on at once.
    fn workers(&self) -> usize {
        5
    }

    /// Its client's rate limit as a multiple of `--kube-api-qps`.
    fn qps_factor(&self) -> f64 {
        1.0
    }

    /// Its work queue, where it isn't the usual one.
    fn queue(&self) -> WorkQueue {
        WorkQueue::default()
    }

    /// All kinds have been listed; now it observes what is there.
    fn begins(&mut self, _cx: &mut Context<'_>) {}

    /// All kinds have been listed and observed once.
    fn started(&mut self, _cx: &mut Context<'_>) {}

    /// An object of its kinds was added, changed or deleted; the cache has it already.
    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>);

    /// Works on a key.
    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress;

    /// All requests that the work on this key has sent are answered, in the order in which they were sent.
    fn resume(&mut self, _key: Key, replies: Vec<Reply>, _cx: &mut Context<'_>) -> Progress {
        if replies.iter().any(Result::is_err) { Progress::Retry } else { Progress::Done }
    }
}

/// The next point after `time` of a grid that begins at `grid`.
pub fn grid_after(grid: Time, period: Duration, time: Time) -> Time {
    match time < grid {
        true => grid,
        false => grid + period * (time.since(grid).as_nanos() / period.as_nanos() + 1),
    }
}

/// How the work on a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// Failed: again, after a back-off.
    Retry,
    /// Requests are under way; `resume` goes on. Without any this is `Done`.
    Wait,
}

/// The answer to a request.
pub type Reply = Result<Answer, Status>;

/// What the manager keeps for each controller.
#[derive(Debug)]
pub struct Hub {
    /// The controller's place in the list.
    pub index: u8,
    pub queue: WorkQueue,
    pub limiter: TokenBucket,
    pub recorder: EventRecorder,
    pub stream: Stream,
    /// Keys whose requests are under way.
    pub running: FxHashMap<Key, Running>,
    /// The work timers that have not fired.
    pub wakes: BTreeSet<Time>,
}

/// The requests of one key.
#[derive(Debug, Default)]
pub struct Running {
    pub replies: Vec<Option<Reply>>,
    pub outstanding: usize,
}

/// The requests under way.
#[derive(Debug, Default)]
pub struct Requests {
    pub last_tag: u64,
    pub pending: FxHashMap<Tag, Pending>,
}

/// Who waits for an answer, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    pub controller: u8,
    pub key: Key,
    pub index: usize,
    pub sent: Time,
    /// The request creates an object.
    pub creates: bool,
}

/// What a controller may use while it handles one matter.
pub struct Context<'a> {
    pub now: Time,
    pub cache: &'a Cache,
    pub config: &'a Config,
    pub(super) hub: &'a mut Hub,
    pub(super) requests: &'a mut Requests,
    pub(super) fx: &'a mut Effects<In, Out>,
    /// The key that is being worked on.
    pub(super) key: Option<Key>,
    /// The process was running before the run began.
    pub settled: bool,
}

impl Context<'_> {
    /// Queues a key.
    pub fn enqueue(&mut self, key: Key) {
        self.hub.queue.add(key, self.fx.cause());
    }

    /// Queues a key at a time.
    pub fn enqueue_at(&mut self, key: Key, at: Time) {
        self.hub.queue.add_at(key, at, self.now, self.fx.cause());
    }

    /// Queues a key after some time.
    pub fn enqueue_after(&mut self, key: Key, delay: Duration) {
        self.enqueue_at(key, self.now + delay);
    }

    /// Sends a request whose answer the work on the present key waits for.
    pub fn request(&mut self, call: Call) {
        let Some(key) = self.key else { return self.post(call) };
        self.requests.last_tag += 1;
        let tag = Tag(self.requests.last_tag);
        let running = self.hub.running.entry(key).or_default();
        let pending = Pending {
            controller: self.hub.index,
            key,
            index: running.replies.len(),
            sent: self.now,
            creates: matches!(call, Call::Create(_)),
        };
        running.replies.push(None);
        running.outstanding += 1;
        self.requests.pending.insert(tag, pending);
        self.send(tag, call);
    }

    /// Sends a request whose answer nobody waits for.
    pub fn post(&mut self, call: Call) {
        self.send(Tag::NONE, call);
    }

    /// Takes a token of the client's limit for a request that is not simulated.
    pub fn charge(&mut self) {
        self.hub.limiter.reserve(self.now);
    }

    fn send(&mut self, tag: Tag, call: Call) {
        let delay = self.hub.limiter.reserve(self.now);
        self.fx.send_after(delay, Out::Api(Box::new(Request { tag, call })));
    }

    /// Writes an Event about an object.
    pub fn event(&mut self, about: ObjectReference, kind: EventType, reason: &str, message: impl Into<Text>) {
        if let Some(event) = self.hub.recorder.record(self.now, about, kind, reason, message) {
            let call = Call::Create(Object::Event(event.into()));
            self.fx.send(Out::Api(Box::new(Request { tag: Tag::NONE, call })));
        }
    }

    /// Writes a Normal Event about an object.
    pub fn normal(&mut self, about: &Object, reason: &str, message: impl Into<Text>) {
        self.event(reference(about), EventType::Normal, reason, message);
    }

    /// Writes a Warning Event about an object.
    pub fn warning(&mut self, about: &Object, reason: &str, message: impl Into<Text>) {
        self.event(reference(about), EventType::Warning, reason, message);
    }

    /// Records a decision that nothing else shows.
    pub fn decided(&mut self, object: Key, by: &'static str, text: impl Into<Text>) {
        self.fx.note(Record::Decided { object, by: Name::new(by), text: text.into() });
    }

    /// Where the grid of periodic work begins: now, but anywhere in its period where the process has been running before.
    pub fn grid(&mut self, period: Duration) -> Time {
        match self.settled {
            true => self.now + Duration::from_nanos(self.hub.stream.below(period.as_nanos())),
            false => self.now,
        }
    }

    /// The controller's stream of random numbers.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.hub.stream
    }
}

/// The reference by which an Event names an object.
pub fn reference(object: &Object) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        kind: object.kind(),
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        field_path: Name::default(),
    }
}

/// The timer of a controller's work.
pub fn work_timer(index: u8) -> In {
    In::Timer(Timer::Work(index))
}
