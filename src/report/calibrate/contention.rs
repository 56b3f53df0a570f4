//! What operations would have taken alone. A runtime's sandboxes, creations and starts get in each other's way: with n in
//! flight each goes on at 1000 / (1000 + k · (n − 1)) of its speed. Of all k the one is taken under which operations of a kind
//! differ least.

use crate::kernel::{Duration, Time};

/// An operation: which kind, where, from and until.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub kind: usize,
    pub place: usize,
    pub begin: Time,
    pub end: Time,
}

/// How much each further operation slows all, in thousandths, and what each operation takes alone.
pub(super) fn alone(operations: &[Operation], usual: u64, cap: u64) -> (u64, Vec<Duration>) {
    let crowds = Crowd::all(operations);
    let of = |per_thousand: u64| works(operations, &crowds, per_thousand, cap);
    let (usually, at_usual) = (spread(operations, &of(usual)), usual);
    let best = (0..=60).map(|step| step * 50).map(|k| (spread(operations, &of(k)), k));
    let best = best.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((usually, at_usual));
    // The usual one stays unless the operations make another e³ times as likely, if their logarithms are normal.
    let enough = libm::exp(-6.0 / operations.len().max(1) as f64);
    let k = if best.0 < usually * enough { best.1 } else { usual };
    (k, of(k))
}

/// How many operations were in flight in one place, from each moment on.
struct Crowd {
    since: Vec<(Time, u64)>,
}

impl Crowd {
    fn all(operations: &[Operation]) -> Vec<Crowd> {
        let places = operations.iter().map(|operation| operation.place + 1).max().unwrap_or(0);
        let mut edges: Vec<Vec<(Time, i64)>> = vec![Vec::new(); places];
        for operation in operations {
            edges[operation.place].extend([(operation.begin, 1), (operation.end, -1)]);
        }
        let crowd = |mut edges: Vec<(Time, i64)>| {
            edges.sort();
            let mut since: Vec<(Time, u64)> = Vec::new();
            let mut in_flight = 0i64;
            for (time, change) in edges {
                in_flight += change;
                since.push((time, in_flight.max(0) as u64));
            }
            Crowd { since }
        };
        edges.into_iter().map(crowd).collect()
    }

    /// The work that one operation could have done by each edge, in nanoseconds.
    fn done(&self, per_thousand: u64, cap: u64) -> Vec<(Time, u64)> {
        let mut done = Vec::with_capacity(self.since.len());
        let (mut sum, mut before): (u64, Option<(Time, u64)>) = (0, None);
        for &(time, in_flight) in &self.since {
            if let Some((since, crowd)) = before {
                let slowness = 1000 + per_thousand * (crowd.clamp(1, cap.max(1)) - 1);
                sum += (u128::from(time.since(since).as_nanos()) * 1000 / u128::from(slowness)) as u64;
            }
            done.push((time, sum));
            before = Some((time, in_flight));
        }
        done
    }
}

fn works(operations: &[Operation], crowds: &[Crowd], per_thousand: u64, cap: u64) -> Vec<Duration> {
    let done: Vec<Vec<(Time, u64)>> = crowds.iter().map(|crowd| crowd.done(per_thousand, cap)).collect();
    let by = |place: usize, time: Time| {
        let edges = &done[place];
        edges[edges.partition_point(|(edge, _)| *edge < time)].1
    };
    operations
        .iter()
        .map(|one| Duration::from_nanos(by(one.place, one.end).saturating_sub(by(one.place, one.begin))))
        .collect()
}

/// How much operations of a kind differ: the squares of their logarithms' distances from their mean, summed.
fn spread(operations: &[Operation], works: &[Duration]) -> f64 {
    let kinds = operations.iter().map(|operation| operation.kind + 1).max().unwrap_or(0);
    let mut sums = vec![(0.0, 0.0, 0.0); kinds];
    for (operation, work) in operations.iter().zip(works) {
        let log = libm::log(work.as_nanos().max(1) as f64);
        let (count, sum, squares) = &mut sums[operation.kind];
        *count += 1.0;
        *sum += log;
        *squares += log * log;
    }
    sums.iter().filter(|(count, ..)| *count > 0.0).map(|(count, sum, squares)| squares - sum * sum / count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn operation(begin: u64, end: u64) -> Operation {
        Operation { kind: 0, place: 0, begin: at(begin), end: at(end) }
    }

    #[test]
    fn what_operations_take_alone_is_found_from_how_they_slow_each_other() {
        // 100 ms of work each: one alone, two together at half as much again, four together at two and a half times.
        let mut operations = vec![operation(0, 100)];
        operations.extend([operation(1000, 1150); 2]);
        operations.extend([operation(2000, 2250); 4]);
        let (per_thousand, works) = alone(&operations, 0, 16);
        assert_eq!(per_thousand, 500);
        assert!(works.iter().all(|work| *work == Duration::from_millis(100)), "{works:?}");
    }

    #[test]
    fn operations_that_never_meet_say_nothing_of_it() {
        let operations: Vec<Operation> = (0..20).map(|at| operation(at * 1000, at * 1000 + 50 + at)).collect();
        assert_eq!(alone(&operations, 500, 16).0, 500);
    }
}
