//! The queue of events to come: a radix heap over integer time.
//!
//! Time only grows, so an event need not be ordered against all others, only be told apart from the time that was
//! popped last. Time is read as digits of six bits; an event waits in the bucket of the highest digit in which its time
//! differs from the last popped time, and of that digit's value. The first bucket of the lowest level that has one holds
//! the next events: it is opened, its least time becomes the last popped time, and its events spread over the lower
//! levels. An event moves down at most once a level; in practice two to four times, whatever the number of pending ones.
//!
//! **Order.** Events come out by (time, push order), and no sequence number is stored. Which bucket an event waits in
//! depends on its time and the last popped time alone, so equal times always share a bucket, where they stand in push
//! order; a bucket is opened from front to back, into levels that are empty.
//!
//! **Memory.** Buckets are lists of chunks from one pool, so the queue holds what its fullest moment needed, however the
//! events moved about, and allocates nothing once it has been as full as it gets.

use std::collections::VecDeque;

use super::Time;

/// Bits of a digit. Six, so that the occupied buckets of a level are one word.
const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// Entries of a chunk: long enough to be read as a stream, short enough that half-full ones stay in the cache.
const CHUNK: usize = 64;

/// Events in order of (time, push order), for a time that never runs backwards.
#[derive(Debug)]
pub struct Queue<T> {
    /// The last popped time. Nothing in the queue is before it.
    last: u64,
    /// What is due at `last`, in push order.
    due: VecDeque<T>,
    /// `DIGITS` buckets a level, the lowest level first.
    buckets: Box<[Bucket<T>]>,
    /// One bit for each level that has an occupied bucket.
    levels: u16,
    /// For each level, one bit for each occupied bucket.
    occupied: [u64; LEVELS],
    /// Empty chunks, the one used last on top.
    pool: Vec<Vec<Entry<T>>>,
    len: usize,
}

#[derive(Debug)]
struct Entry<T> {
    time: u64,
    value: T,
}

/// Events that differ from the last popped time in the same digit, in push order: the full chunks, then `tail`.
/// As large as a cache line, and on one.
#[derive(Debug)]
#[repr(align(64))]
struct Bucket<T> {
    /// The least time in the bucket; the greatest number if the bucket is empty.
    min: u64,
    tail: Vec<Entry<T>>,
    full: Vec<Vec<Entry<T>>>,
}

impl<T> Bucket<T> {
    const EMPTY: Bucket<T> = Bucket { min: u64::MAX, tail: Vec::new(), full: Vec::new() };
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue::new()
    }
}

// What one event goes through is inlined whole (a fifth faster): otherwise the entry is copied through memory at each call.
impl<T> Queue<T> {
    /// An empty queue, at the start of time.
    pub fn new() -> Queue<T> {
        Queue {
            last: 0,
            due: VecDeque::new(),
            buckets: (0..LEVELS * DIGITS).map(|_| Bucket::EMPTY).collect(),
            levels: 0,
            occupied: [0; LEVELS],
            pool: Vec::new(),
            len: 0,
        }
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no event waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an event after all that were pushed before for the same time. A time before the last popped one, which the
    /// kernel never asks for, counts as that one.
    #[inline(always)]
    pub fn push(&mut self, time: Time, value: T) {
        self.len += 1;
        let time = time.as_nanos();
        debug_assert!(time >= self.last, "pushed into the past");
        self.place(Entry { time: time.max(self.last), value });
    }

    /// The time of the next event. Moves nothing: an earlier event may still be pushed, down to the last popped time.
    #[inline(always)]
    pub fn next_time(&self) -> Option<Time> {
        if !self.due.is_empty() {
            return Some(Time::from_nanos(self.last));
        }
        self.first_bucket().map(|(level, digit)| Time::from_nanos(self.buckets[level * DIGITS + digit].min))
    }

    /// Takes out the next event.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<(Time, T)> {
        let value = match self.due.pop_front() {
            Some(value) => value,
            None => self.open_first_bucket()?,
        };
        self.len -= 1;
        Some((Time::from_nanos(self.last), value))
    }

    /// The bucket that holds the next event, if nothing is due at `last`.
    #[inline(always)]
    fn first_bucket(&self) -> Option<(usize, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros() as usize;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// Puts an entry where its time belongs, as seen from `last`.
    #[inline(always)]
    fn place(&mut self, entry: Entry<T>) {
        let differing = entry.time ^ self.last;
        if differing == 0 {
            self.due.push_back(entry.value);
            return;
        }
        let level = differing.ilog2() / DIGIT_BITS;
        let digit = (entry.time >> (level * DIGIT_BITS)) as usize % DIGITS;
        let level = level as usize;
        self.levels |= 1 << level;
        self.occupied[level] |= 1 << digit;
        let bucket = &mut self.buckets[level * DIGITS + digit];
        bucket.min = bucket.min.min(entry.time);
        if bucket.tail.len() == bucket.tail.capacity() {
            let chunk = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK));
            let full = std::mem::replace(&mut bucket.tail, chunk);
            if !full.is_empty() {
                bucket.full.push(full);
            }
        }
        bucket.tail.push(entry);
    }

    /// Goes to the least time of the first bucket, spreads the bucket over the lower levels, and takes out its first
    /// entry of that time. The caller has seen that nothing was due before.
    #[inline(always)]
    fn open_first_bucket(&mut self) -> Option<T> {
        let (level, digit) = self.first_bucket()?;
        self.occupied[level] &= !(1 << digit);
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
        let index = level * DIGITS + digit;
        let bucket = &mut self.buckets[index];
        self.last = std::mem::replace(&mut bucket.min, u64::MAX);
        let mut tail = std::mem::take(&mut bucket.tail);
        // Where events are sparse most buckets hold one: no need to go through the lower levels.
        if tail.len() == 1 && bucket.full.is_empty() {
            let only = tail.pop().map(|entry| entry.value);
            self.pool.push(tail);
            return only;
        }
        let mut full = std::mem::take(&mut bucket.full);
        for mut chunk in full.drain(..) {
            self.spread(&mut chunk);
            self.pool.push(chunk);
        }
        self.buckets[index].full = full;
        self.spread(&mut tail);
        self.pool.push(tail);
        self.due.pop_front()
    }

    fn spread(&mut self, chunk: &mut Vec<Entry<T>>) {
        for entry in chunk.drain(..) {
            self.place(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    /// What a test does with both queues.
    #[derive(Clone, Debug)]
    enum Step {
        /// Pushes at the last popped time and this much more.
        Push(u64),
        Pop,
        Peek,
    }

    /// Plays the steps on the queue and on a binary heap of (time, sequence), then empties both.
    fn check(steps: &[Step]) {
        let mut queue = Queue::new();
        let mut model = BinaryHeap::new();
        let mut last = 0u64;
        for (sequence, step) in (0u64..).zip(steps) {
            match step {
                Step::Push(after) => {
                    let time = last.saturating_add(*after);
                    queue.push(Time::from_nanos(time), sequence);
                    model.push(Reverse((time, sequence)));
                }
                Step::Pop => pop_both(&mut queue, &mut model, &mut last),
                Step::Peek => {
                    let expected = model.peek().map(|Reverse((time, _))| Time::from_nanos(*time));
                    assert_eq!(queue.next_time(), expected);
                }
            }
            assert_eq!(queue.len(), model.len());
        }
        while !model.is_empty() {
            pop_both(&mut queue, &mut model, &mut last);
        }
        assert_eq!(queue.pop(), None);
    }

    fn pop_both(queue: &mut Queue<u64>, model: &mut BinaryHeap<Reverse<(u64, u64)>>, last: &mut u64) {
        let expected = model.pop().map(|Reverse((time, sequence))| (Time::from_nanos(time), sequence));
        assert_eq!(queue.pop(), expected);
        if let Some((time, _)) = expected {
            *last = time.as_nanos();
        }
    }

    /// Lengths on every scale, with many ties: few values near each power of two, and the ends of time.
    fn any_length() -> impl Strategy<Value = u64> {
        prop_oneof![
            4 => 0u64..4,
            4 => (0u32..40, 0u64..3).prop_map(|(bits, more)| (1u64 << bits) + more),
            2 => (0u64..8).prop_map(|seconds| seconds * 1_000_000_000),
            2 => 0u64..20_000_000_000,
            1 => any::<u64>(),
            1 => Just(u64::MAX),
        ]
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![5 => any_length().prop_map(Step::Push), 4 => Just(Step::Pop), 1 => Just(Step::Peek)]
    }

    proptest! {
        #[test]
        fn events_come_out_by_time_then_push_order(steps in proptest::collection::vec(any_step(), 0..600)) {
            check(&steps);
        }

        #[test]
        fn many_ties_in_full_buckets_keep_their_order(lengths in proptest::collection::vec(0u64..50, 200..2_000)) {
            let pushes = lengths.iter().map(|length| Step::Push(length << 20));
            check(&pushes.collect::<Vec<_>>());
        }
    }

    #[test]
    fn looking_at_the_next_time_still_lets_an_earlier_event_in() {
        use Step::{Peek, Pop, Push};
        check(&[Push(1_000), Pop, Push(5_000_000), Peek, Push(3), Peek, Push(0), Peek, Pop, Push(1), Pop, Pop, Pop]);
    }

    #[test]
    fn a_run_with_random_delays_is_in_the_order_of_a_binary_heap() {
        let mut state = 1u64;
        let steps: Vec<Step> = (0..40_000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let length = (state >> 33) * 1_000 % 10_000_000_000;
                if i < 2_000 || i % 2 == 0 { Step::Push(length) } else { Step::Pop }
            })
            .collect();
        check(&steps);
    }

    #[test]
    fn a_steady_load_allocates_no_new_chunks() {
        let mut queue = Queue::new();
        let mut state = 7u64;
        let mut delay = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Time::from_nanos(state >> 31).since(Time::ZERO)
        };
        for _ in 0..1_000 {
            queue.push(Time::ZERO + delay(), ());
        }
        let mut chunks_after = [0; 2];
        for chunks in &mut chunks_after {
            for _ in 0..200_000 {
                let (now, ()) = queue.pop().expect("each pop is followed by a push");
                queue.push(now + delay(), ());
            }
            *chunks = chunks_held(&queue);
        }
        // Chance may once more fill one bucket more than before.
        assert!(chunks_after[1] <= chunks_after[0] + 8, "{chunks_after:?}");
        assert!(chunks_after[1] < 250, "{chunks_after:?}");
    }

    fn chunks_held<T>(queue: &Queue<T>) -> usize {
        let in_buckets = queue.buckets.iter().map(|bucket| bucket.full.len() + usize::from(bucket.tail.capacity() > 0));
        queue.pool.len() + in_buckets.sum::<usize>()
    }
}
