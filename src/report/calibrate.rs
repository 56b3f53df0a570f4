//! What a run says of its container runtime: how long each kind of call took, as a profile that `runtime:` of a scenario takes.
//!
//! Calls that were recorded count ([`Record::Called`](crate::trace::Record::Called)); in a run without them the stages of pod
//! starts stand for RunPodSandbox, CreateContainer and StartContainer. Pulls are read from the kubelet's Events. What the
//! kubelet itself waits for stays modelled. Read `measure` (what is taken from a run), `contention` (what operations take
//! alone, though they were in each other's way), `write` (the file).

mod contention;
mod measure;
mod write;

pub use measure::{Measure, Measured, Pulls, Samples};

use crate::kernel::{Distribution, Duration};

/// Fewer calls than these tell where the middle is, but not how far they spread.
const FEW: usize = 10;
/// So many marks of a distribution are written: one each 2.5 %.
const MARKS: usize = 41;

/// The length below which a share of `at` / `of` lies: between two neighbours in proportion.
fn quantile(sorted: &[Duration], at: u64, of: u64) -> Duration {
    let position = sorted.len().saturating_sub(1) as u64 * at;
    let (index, rest) = ((position / of.max(1)) as usize, position % of.max(1));
    let low = sorted.get(index).copied().unwrap_or_default();
    let high = sorted.get(index + 1).copied().unwrap_or(low);
    low + Duration::from_nanos(high.saturating_sub(low).as_nanos() / of.max(1) * rest)
}

/// The distribution of these lengths. Of few only the middle is taken, with the spread of `like`.
fn distribution(sorted: &[Duration], like: &Distribution) -> Option<Distribution> {
    if sorted.is_empty() {
        return None;
    }
    if sorted.len() < FEW {
        let p50 = rounded(quantile(sorted, 1, 2));
        return Some(match like {
            Distribution::LogNormal { p50: usual, p99 } if !usual.is_zero() && !p50.is_zero() => {
                let nanos = u128::from(p50.as_nanos()) * u128::from(p99.as_nanos()) / u128::from(usual.as_nanos());
                let p99 = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
                Distribution::LogNormal { p50, p99: rounded(p99).max(p50) }
            }
            _ => Distribution::Constant(p50),
        });
    }
    let marks = sorted.len().min(MARKS) as u64;
    let all = (0..marks).map(|at| rounded(quantile(sorted, at, marks - 1)));
    Some(Distribution::Quantiles(all.collect()))
}

/// Four figures are enough.
fn rounded(length: Duration) -> Duration {
    let nanos = length.as_nanos();
    let mut unit = 1;
    while nanos / unit >= 10_000 {
        unit *= 10;
    }
    Duration::from_nanos((nanos + unit / 2) / unit * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(lengths: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        lengths.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn many_calls_give_their_own_distribution_and_few_the_spread_of_the_runtime_that_it_is_like() {
        let like = Distribution::LogNormal { p50: Duration::from_millis(10), p99: Duration::from_millis(40) };
        assert_eq!(distribution(&[], &like), None);
        assert_eq!(
            distribution(&millis([20, 30, 50]), &like),
            Some(Distribution::LogNormal { p50: Duration::from_millis(30), p99: Duration::from_millis(120) })
        );
        assert_eq!(distribution(&millis(1..=10), &like), Some(Distribution::Quantiles(millis(1..=10))));
        let Some(Distribution::Quantiles(marks)) = distribution(&millis(0..=400), &like) else {
            panic!("no quantiles")
        };
        assert_eq!(marks, millis((0..=40).map(|at| at * 10)));
    }

    #[test]
    fn lengths_keep_four_figures() {
        for (nanos, kept) in
            [(0, 0), (1_234, 1_234), (123_456, 123_500), (99_999, 100_000), (1_234_567_890, 1_235_000_000)]
        {
            assert_eq!(rounded(Duration::from_nanos(nanos)).as_nanos(), kept);
        }
    }
}
