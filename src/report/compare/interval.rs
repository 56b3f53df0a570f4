//! How sure a percentile is: between which of the samples the true one lies.
//!
//! Exact, by order statistics, and free of assumptions about the distribution: how many of n samples are below the true
//! percentile is binomial, so two ranks hold it with a probability that can be reckoned.

use crate::kernel::Duration;

/// A percentile's confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// The bounds; None if there are too few samples for both to exist.
    pub bounds: Option<(Duration, Duration)>,
}

impl Interval {
    /// The interval of the `percent`-th percentile of these samples that misses it in at most `miss` of a thousand cases, half
    /// of them on each side.
    pub fn of_percentile(sorted: &[Duration], percent: u64, miss: u64) -> Interval {
        let count = sorted.len();
        let share = percent as f64 / 100.0;
        let tail = miss as f64 / 2000.0;
        // The sum over k of the binomial probabilities, by k; beyond some thousands of samples from where they begin to count.
        let (mut below, mut lower, mut upper) = (0.0, None, None);
        let spread = libm::sqrt(count as f64 * share * (1.0 - share));
        let from = (count as f64 * share - 12.0 * spread - 12.0).max(0.0) as usize;
        for rank in from..=count {
            // `below`: fewer than `rank` samples are below the percentile.
            if below <= tail {
                lower = Some(rank);
            }
            below += probability(count, share, rank);
            // At most `rank` samples are below it; the next sample is above.
            if upper.is_none() && below >= 1.0 - tail && rank < count {
                upper = Some(rank);
            }
            if upper.is_some() {
                break;
            }
        }
        // Sample number `lower` (from 1) is below or at the percentile, unless it is the zeroth.
        let low = lower.and_then(|rank| rank.checked_sub(1)).and_then(|at| sorted.get(at));
        let high = upper.and_then(|at| sorted.get(at));
        Interval { bounds: low.copied().zip(high.copied()) }
    }
}

/// That exactly `hits` of `count` tries succeed.
fn probability(count: usize, share: f64, hits: usize) -> f64 {
    let (n, k) = (count as f64, hits as f64);
    let ways = libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0);
    libm::exp(ways + k * libm::log(share) + (n - k) * libm::log(1.0 - share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Distribution, Streams};

    fn ranks(count: u64, percent: u64) -> Option<(u64, u64)> {
        let sorted: Vec<Duration> = (1..=count).map(Duration::from_secs).collect();
        let bounds = Interval::of_percentile(&sorted, percent, 50).bounds;
        bounds.map(|(low, high)| (low.as_secs(), high.as_secs()))
    }

    #[test]
    fn the_ranks_are_those_of_the_tables() {
        // Of the median: the sign test's tables.
        for (count, expected) in
            [(5, None), (6, Some((1, 6))), (10, Some((2, 9))), (20, Some((6, 15))), (100, Some((40, 61)))]
        {
            assert_eq!(ranks(count, 50), expected, "{count} samples");
        }
        assert_eq!(ranks(20, 90), None, "the largest of 20 may be below the true p90");
        assert_eq!(ranks(100, 90), Some((84, 96)));
        assert_eq!(ranks(0, 50), None);
    }

    #[test]
    fn the_interval_holds_the_true_median_in_95_of_100_cases() {
        let like = Distribution::LogNormal { p50: Duration::from_millis(100), p99: Duration::from_millis(900) };
        let mut stream = Streams::new(7).stream("test", "interval");
        let mut held = 0;
        for _ in 0..1000 {
            let mut sorted: Vec<Duration> = (0..40).map(|_| stream.draw(&like)).collect();
            sorted.sort();
            let (low, high) = Interval::of_percentile(&sorted, 50, 50).bounds.expect("40 are enough");
            held += u32::from(low <= Duration::from_millis(100) && Duration::from_millis(100) <= high);
        }
        assert!((940..=985).contains(&held), "{held} of 1000");
    }

    #[test]
    fn many_samples_take_no_longer_than_they_need() {
        let (low, high) = ranks(1_000_000, 50).unwrap();
        assert_eq!((low, high), (499_020, 500_981));
    }
}
