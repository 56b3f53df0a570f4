//! What does an event cost in the kernel, and does that grow with the number of events that wait?
//!
//! The hold model: so many events wait; the next one happens, and its actor schedules another at a random delay for a
//! random actor. Handlers are empty, so this is the kernel's share of a run. Beside it the same load on the kernel's
//! queue alone, and on a binary heap of (time, sequence), as most simulators have one. Delays are uniform up to 10 s.
//!
//! Times are CPU times where the system tells them, as other work may run beside. `cargo bench --bench kernel -- --quick`
//! is done in half a minute; the first lines give events per CPU second and the digests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
#[expect(clippy::disallowed_types, reason = "a benchmark measures time")]
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use simlet::kernel::{ActorId, Cause, Digest, Duration, Fold, Kernel, Queue, Time, Virtual};

const PENDING: [usize; 5] = [16, 1_000, 10_000, 100_000, 1_000_000];
const ACTORS: u64 = 1_000;
const LONGEST_DELAY: u64 = 10_000_000_000;

/// A message of 16 bytes: what it is about, and a number.
#[derive(Clone, Copy)]
struct Message {
    subject: u64,
    number: u64,
}

impl Fold for Message {
    #[inline]
    fn fold(&self, digest: &mut Digest) {
        digest.word(self.subject);
        digest.word(self.number);
    }
}

/// Cheap random numbers (SplitMix64), the same for every contestant.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn delay(&mut self) -> Duration {
        Duration::from_nanos(self.below(LONGEST_DELAY))
    }

    fn actor(&mut self) -> ActorId {
        ActorId(self.below(ACTORS) as u32)
    }
}

/// A contestant: loaded once, then asked to let so many events happen.
trait Hold {
    fn load(pending: usize) -> Self;
    fn events(&mut self, count: u64);
}

/// The whole kernel: clock, queue, causes, digest.
struct WholeKernel {
    kernel: Kernel<Message>,
    random: Random,
}

impl Hold for WholeKernel {
    fn load(pending: usize) -> Self {
        let mut random = Random(1);
        let mut kernel = Kernel::new(1);
        for number in 0..pending as u64 {
            let message = Message { subject: 0, number };
            kernel.schedule(Time::ZERO + random.delay(), random.actor(), Cause::NONE, message);
        }
        WholeKernel { kernel, random }
    }

    fn events(&mut self, count: u64) {
        for _ in 0..count {
            let event = self.kernel.next(&mut Virtual, Time::MAX).expect("each event schedules another");
            let message = Message { subject: u64::from(event.to.0), number: event.message.number };
            let at = event.time + self.random.delay();
            self.kernel.schedule(at, self.random.actor(), event.cause, message);
        }
    }
}

/// An event as the queues alone hold it: 32 bytes with its time, and with its sequence where one is needed.
type Item = (u32, u32, Message);

struct QueueAlone {
    queue: Queue<Item>,
    random: Random,
}

impl Hold for QueueAlone {
    fn load(pending: usize) -> Self {
        let mut random = Random(1);
        let mut queue = Queue::new();
        for number in 0..pending as u64 {
            queue.push(Time::ZERO + random.delay(), (0, 0, Message { subject: 0, number }));
        }
        QueueAlone { queue, random }
    }

    fn events(&mut self, count: u64) {
        for _ in 0..count {
            let (time, item) = self.queue.pop().expect("each event schedules another");
            self.queue.push(time + self.random.delay(), black_box(item));
        }
    }
}

/// Ordered by time, then by sequence.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ordered {
    time: u64,
    sequence: u64,
    actor: u64,
    number: u64,
}

struct StdHeap {
    heap: BinaryHeap<Reverse<Ordered>>,
    random: Random,
    sequence: u64,
}

impl StdHeap {
    fn push(&mut self, now: u64, actor: u64, number: u64) {
        let time = now + self.random.delay().as_nanos();
        self.heap.push(Reverse(Ordered { time, sequence: self.sequence, actor, number }));
        self.sequence += 1;
    }
}

impl Hold for StdHeap {
    fn load(pending: usize) -> Self {
        let mut heap = StdHeap { heap: BinaryHeap::new(), random: Random(1), sequence: 0 };
        for number in 0..pending as u64 {
            heap.push(0, 0, number);
        }
        heap
    }

    fn events(&mut self, count: u64) {
        for _ in 0..count {
            let Reverse(event) = self.heap.pop().expect("each event schedules another");
            self.push(event.time, black_box(event.actor), event.number);
        }
    }
}

/// The CPU time of this thread so far, if the system tells it.
fn cpu_time() -> Option<std::time::Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos = text.split(' ').next()?.parse().ok()?;
    (nanos > 0).then(|| std::time::Duration::from_nanos(nanos))
}

/// How long `work` takes: CPU time where the system tells it and the work is long enough for its coarse ticks, else wall
/// time.
fn measure(work: impl FnOnce()) -> std::time::Duration {
    const LONG: std::time::Duration = std::time::Duration::from_millis(40);
    #[expect(clippy::disallowed_types, reason = "a benchmark measures time")]
    let (cpu, wall) = (cpu_time(), Instant::now());
    work();
    let wall = wall.elapsed();
    match (cpu, cpu_time()) {
        (Some(before), Some(after)) if wall >= LONG => after - before,
        _ => wall,
    }
}

fn hold<H: Hold>(criterion: &mut Criterion, name: &str) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.sample_size(10);
    for pending in PENDING {
        group.bench_function(BenchmarkId::from_parameter(pending), |bencher| {
            let mut load = H::load(pending);
            // Once through, so that the load is in its steady state.
            load.events(2 * pending as u64);
            bencher.iter_custom(|count| measure(|| load.events(count)));
        });
    }
    group.finish();
}

/// The work done, so that doing less is not mistaken for being faster, and the contestants' ratio in one sitting.
fn summary(_: &mut Criterion) {
    const EVENTS: u64 = 4_000_000;
    for pending in PENDING {
        let mut whole = WholeKernel::load(pending);
        whole.events(2 * pending as u64);
        let kernel = measure(|| whole.events(EVENTS)).as_secs_f64();
        let mut heap = StdHeap::load(pending);
        heap.events(2 * pending as u64);
        let heap = measure(|| heap.events(EVENTS)).as_secs_f64();
        eprintln!(
            "{pending:>9} pending: {} events, digest {:016x}; {:.1} M events per CPU second, {:.1} ns each; \
             {:.1} times as fast as a binary heap alone",
            whole.kernel.events(),
            whole.kernel.digest(),
            EVENTS as f64 / kernel / 1e6,
            kernel * 1e9 / EVENTS as f64,
            heap / kernel,
        );
    }
}

fn kernel(criterion: &mut Criterion) {
    summary(criterion);
    hold::<WholeKernel>(criterion, "kernel");
    hold::<QueueAlone>(criterion, "queue");
    hold::<StdHeap>(criterion, "binary heap");
}

criterion_group!(benches, kernel);
criterion_main!(benches);
