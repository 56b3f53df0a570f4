//! Random streams by name, and the distributions over them.
//!
//! Each actor and each purpose draws from a ChaCha stream of its own, derived from (seed, name): a node or a draw that
//! is added in one place moves no number elsewhere, so two variants of a scenario meet common random numbers.
//! Mappings are ours, over `next_u64`, because a library may change its sampling in a minor release.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Duration;

/// Hands out the streams of one run.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a run with this seed.
    pub fn new(seed: u64) -> Streams {
        Streams { seed }
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream called `owner` for `purpose`, such as (`kubelet/worker-3`, `backoff-jitter`). The same names give the
    /// same numbers, however many other streams there are.
    pub fn stream(&self, owner: &str, purpose: &str) -> Stream {
        let mut key = [0u8; 32];
        let mut hash = self.seed;
        for chunk in key.chunks_exact_mut(8) {
            hash = xxh3_64_with_seed(owner.as_bytes(), hash);
            hash = xxh3_64_with_seed(purpose.as_bytes(), hash ^ 0x9e37_79b9_7f4a_7c15);
            chunk.copy_from_slice(&hash.to_le_bytes());
        }
        Stream(ChaCha8Rng::from_seed(key))
    }
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; 0 if `bound` is 0. The bias of the multiplication is below 2⁻³² for every bound used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// `d + U[0,1)·factor·d`, Kubernetes' jitter (`wait.Jitter` in apimachinery), rounded down to nanoseconds.
    pub fn jitter(&mut self, d: Duration, factor: f64) -> Duration {
        let extra = self.unit() * factor * d.as_nanos() as f64;
        d + Duration::from_nanos(extra as u64)
    }

    /// A draw from `distribution`.
    pub fn draw(&mut self, distribution: &Distribution) -> Duration {
        distribution.draw(self)
    }
}

/// How long something takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(Duration),
    /// A log-normal through its median and its 99th percentile.
    LogNormal { p50: Duration, p99: Duration },
    /// Each length between the two with the same probability.
    Uniform { min: Duration, max: Duration },
    /// Exponential with this mean.
    Exponential { mean: Duration },
    /// One of these, each with the same probability.
    Samples(Vec<Duration>),
    /// As measured: these lengths, shortest first, divide the draws into equal shares; between two neighbours each length has
    /// the same probability. The first is the shortest draw, the last the longest.
    Quantiles(Vec<Duration>),
}

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326_347_874_040_841;

impl Distribution {
    /// Draws a length. Every kind takes exactly one number from the stream, except a constant, which takes none.
    pub fn draw(&self, stream: &mut Stream) -> Duration {
        match self {
            Distribution::Constant(length) => *length,
            Distribution::LogNormal { p50, p99 } => {
                let z = inverse_normal(stream.unit());
                let (low, high) = (p50.as_nanos().max(1) as f64, p99.as_nanos().max(1) as f64);
                let sigma = libm::log(high / low) / Z99;
                round(low * libm::exp(sigma * z))
            }
            Distribution::Uniform { min, max } => {
                *min + Duration::from_nanos(stream.below(max.saturating_sub(*min).as_nanos().saturating_add(1)))
            }
            Distribution::Exponential { mean } => round(-libm::log(1.0 - stream.unit()) * mean.as_nanos() as f64),
            Distribution::Samples(samples) if samples.is_empty() => Duration::ZERO,
            Distribution::Samples(samples) => samples[stream.below(samples.len() as u64) as usize],
            Distribution::Quantiles(marks) => quantile(marks, stream.next_u64()),
        }
    }

    /// The distribution's middle: half of the draws are shorter.
    pub fn median(&self) -> Duration {
        match self {
            Distribution::Constant(length) => *length,
            Distribution::LogNormal { p50, .. } => *p50,
            Distribution::Uniform { min, max } => *min + max.saturating_sub(*min) / 2,
            Distribution::Exponential { mean } => round(mean.as_nanos() as f64 * std::f64::consts::LN_2),
            Distribution::Samples(samples) => {
                let mut sorted = samples.clone();
                sorted.sort();
                sorted.get(sorted.len() / 2).copied().unwrap_or_default()
            }
            Distribution::Quantiles(marks) => quantile(marks, 1 << 63),
        }
    }
}

/// The length below which `share` / 2⁶⁴ of the draws lie; zero if there are no marks.
fn quantile(marks: &[Duration], share: u64) -> Duration {
    let position = u128::from(share) * marks.len().saturating_sub(1) as u128;
    let (index, rest) = ((position >> 64) as usize, position as u64);
    let Some(&low) = marks.get(index) else { return Duration::ZERO };
    let high = marks.get(index + 1).copied().unwrap_or(low);
    let part = (u128::from(high.saturating_sub(low).as_nanos()) * u128::from(rest)) >> 64;
    low + Duration::from_nanos(part as u64)
}

/// To whole nanoseconds at once, so that no float decides a time later.
fn round(nanos: f64) -> Duration {
    Duration::from_nanos(libm::rint(nanos.clamp(0.0, 9.0e18)) as u64)
}

/// The standard normal quantile of `p`, by Acklam's rational approximation (relative error below 1.2e-9), on `libm`
/// alone, so that its last bit is the same everywhere.
fn inverse_normal(p: f64) -> f64 {
    const A: [f64; 6] = [
        -39.696_830_286_653_76,
        220.946_098_424_520_5,
        -275.928_510_446_968_7,
        138.357_751_867_269,
        -30.664_798_066_147_16,
        2.506_628_277_459_239,
    ];
    const B: [f64; 5] = [
        -54.476_098_798_224_06,
        161.585_836_858_040_9,
        -155.698_979_859_886_6,
        66.801_311_887_719_72,
        -13.280_681_552_885_72,
    ];
    const C: [f64; 6] = [
        -0.007_784_894_002_430_293,
        -0.322_396_458_041_136_5,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 4] =
        [0.007_784_695_709_041_462, 0.322_467_129_070_039_8, 2.445_134_137_142_996, 3.754_408_661_907_416];
    const LOW: f64 = 0.024_25;
    let p = p.clamp(1e-12, 1.0 - 1e-12);
    let tail = |q: f64| {
        (((((C[0] * q + C[1]) * q + C[2]) * q + C[3]) * q + C[4]) * q + C[5])
            / ((((D[0] * q + D[1]) * q + D[2]) * q + D[3]) * q + 1.0)
    };
    if p < LOW {
        tail(libm::sqrt(-2.0 * libm::log(p)))
    } else if p > 1.0 - LOW {
        -tail(libm::sqrt(-2.0 * libm::log(1.0 - p)))
    } else {
        let q = p - 0.5;
        let r = q * q;
        (((((A[0] * r + A[1]) * r + A[2]) * r + A[3]) * r + A[4]) * r + A[5]) * q
            / (((((B[0] * r + B[1]) * r + B[2]) * r + B[3]) * r + B[4]) * r + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn log_normal() -> Distribution {
        Distribution::LogNormal { p50: MS * 100, p99: MS * 900 }
    }

    fn draws(distribution: &Distribution, count: usize) -> Vec<Duration> {
        let mut stream = Streams::new(42).stream("test", "draws");
        std::iter::repeat_with(|| stream.draw(distribution)).take(count).collect()
    }

    /// The length below which this share of 100,000 draws lies.
    fn quantile(distribution: &Distribution, share: f64) -> Duration {
        let mut lengths = draws(distribution, 100_000);
        lengths.sort();
        lengths[(share * lengths.len() as f64) as usize]
    }

    fn assert_near(what: &str, found: Duration, expected: Duration) {
        let (found_nanos, expected_nanos) = (found.as_nanos() as f64, expected.as_nanos() as f64);
        assert!((found_nanos / expected_nanos - 1.0).abs() < 0.03, "{what}: {found} is not near {expected}");
    }

    #[test]
    fn the_streams_are_the_ones_that_recorded_runs_were_made_with() {
        let first_two = |seed, owner, purpose| {
            let mut stream = Streams::new(seed).stream(owner, purpose);
            [stream.next_u64(), stream.next_u64()]
        };
        assert_eq!(first_two(0, "", ""), [0x4030_422d_ea39_9535, 0x5d78_9a0a_910c_5f19]);
        assert_eq!(first_two(42, "kubelet/worker-3", "backoff-jitter"), [0x6f45_506b_27b4_5726, 0xcac2_74e5_2eed_49f6]);
    }

    #[test]
    fn the_distributions_are_the_ones_that_recorded_runs_were_made_with() {
        let nanos = |distribution: Distribution| {
            draws(&distribution, 3).into_iter().map(Duration::as_nanos).collect::<Vec<_>>()
        };
        // 0.831, 0.0098 and 0.042 on [0, 1).
        assert_eq!(nanos(Distribution::Constant(MS)), [1_000_000; 3]);
        assert_eq!(nanos(log_normal()), [247_193_699, 11_036_794, 19_540_753]);
        assert_eq!(nanos(Distribution::Uniform { min: MS, max: MS * 2 }), [1_831_016, 1_009_812, 1_041_939]);
        assert_eq!(nanos(Distribution::Exponential { mean: MS * 10 }), [17_779_482, 98_606, 428_439]);
        assert_eq!(nanos(Distribution::Samples(vec![MS, MS * 2, MS * 3, MS * 4])), [4_000_000, 1_000_000, 1_000_000]);
        let marks = Distribution::Quantiles(vec![MS, MS * 2, MS * 10]);
        assert_eq!(marks.median(), MS * 2);
        assert_eq!(nanos(marks), [7_296_247, 1_019_624, 1_083_878]);
        assert_eq!(nanos(Distribution::Quantiles(vec![MS])), [1_000_000; 3]);
        assert_eq!(nanos(Distribution::Quantiles(Vec::new())), [0; 3]);
        let mut stream = Streams::new(42).stream("test", "draws");
        assert_eq!(stream.jitter(MS * 1_000, 0.04).as_nanos(), 1_033_240_619);
        assert_eq!(stream.below(1_000), 9);
    }

    #[test]
    fn a_stream_depends_on_seed_owner_and_purpose_and_on_no_other_stream() {
        let firsts = [(1, "a", "b"), (2, "a", "b"), (1, "b", "a"), (1, "ab", ""), (1, "", "ab"), (1, "a", "c")]
            .map(|(seed, owner, purpose)| Streams::new(seed).stream(owner, purpose).next_u64());
        for (i, first) in firsts.iter().enumerate() {
            assert!(!firsts[..i].contains(first), "stream {i} is an earlier one");
        }
        let streams = Streams::new(1);
        let (mut other, mut again) = (streams.stream("x", "y"), streams.stream("a", "b"));
        other.next_u64();
        assert_eq!(again.next_u64(), firsts[0]);
    }

    #[test]
    fn a_log_normal_goes_through_its_median_and_its_99th_percentile() {
        assert_near("p50", quantile(&log_normal(), 0.50), MS * 100);
        assert_near("p99", quantile(&log_normal(), 0.99), MS * 900);
        // One standard deviation above the median: 100 ms · 9^(1/2.326).
        assert_near("p84", quantile(&log_normal(), 0.841_34), Duration::from_micros(257_200));
    }

    #[test]
    fn the_normal_quantile_is_that_of_the_tables() {
        for (p, z) in [
            (0.5, 0.0),
            (0.841_344_746_068_543, 1.0),
            (0.975, 1.959_963_984_540_054),
            (0.99, Z99),
            (0.999_999, 4.753_424_308_822_899),
            (0.025, -1.959_963_984_540_054),
            (0.01, -Z99),
            (0.001, -3.090_232_306_167_813),
        ] {
            let found = inverse_normal(p);
            assert!((found - z).abs() < 1e-8, "{p}: {found} is not {z}");
        }
        assert!(inverse_normal(0.0).is_finite() && inverse_normal(1.0).is_finite());
    }

    #[test]
    fn quantiles_are_those_of_each_distribution() {
        let uniform = Distribution::Uniform { min: MS * 10, max: MS * 30 };
        assert_near("uniform p25", quantile(&uniform, 0.25), MS * 15);
        assert_near("uniform p75", quantile(&uniform, 0.75), MS * 25);
        let exponential = Distribution::Exponential { mean: MS * 10 };
        assert_near("exponential p50", quantile(&exponential, 0.5), exponential.median());
        assert_near("exponential p99", quantile(&exponential, 0.99), Duration::from_micros(46_052));
        let samples = Distribution::Samples(vec![MS * 3, MS, MS * 2, MS * 4]);
        for (share, expected) in [(0.2, MS), (0.3, MS * 2), (0.7, MS * 3), (0.8, MS * 4)] {
            assert_eq!(quantile(&samples, share), expected, "samples at {share}");
        }
    }

    #[test]
    fn each_kind_but_a_constant_takes_one_number() {
        let kinds = [
            (log_normal(), 1),
            (Distribution::Uniform { min: MS, max: MS * 2 }, 1),
            (Distribution::Exponential { mean: MS }, 1),
            (Distribution::Samples(vec![MS, MS * 2]), 1),
            (Distribution::Constant(MS), 0),
        ];
        for (distribution, numbers) in kinds {
            let mut stream = Streams::new(1).stream("a", "b");
            let mut expected = stream.clone();
            stream.draw(&distribution);
            for _ in 0..numbers {
                expected.next_u64();
            }
            assert_eq!(stream.next_u64(), expected.next_u64(), "{distribution:?}");
        }
    }

    #[test]
    fn odd_parameters_give_a_length_and_no_panic() {
        for distribution in [
            Distribution::LogNormal { p50: Duration::ZERO, p99: Duration::ZERO },
            Distribution::LogNormal { p50: MS * 2, p99: MS },
            Distribution::LogNormal { p50: Duration::MAX, p99: Duration::MAX },
            Distribution::Uniform { min: MS * 2, max: MS },
            Distribution::Uniform { min: Duration::ZERO, max: Duration::MAX },
            Distribution::Exponential { mean: Duration::ZERO },
            Distribution::Exponential { mean: Duration::MAX },
            Distribution::Samples(vec![]),
        ] {
            assert_eq!(draws(&distribution, 1_000).len(), 1_000);
            distribution.median();
        }
        assert!(draws(&Distribution::Uniform { min: MS, max: MS }, 10).iter().all(|&length| length == MS));
    }

    #[test]
    fn jitter_adds_up_to_its_factor_and_chance_has_its_probability() {
        let mut stream = Streams::new(1).stream("a", "b");
        let jittered: Vec<Duration> = (0..1_000).map(|_| stream.jitter(MS * 100, 0.5)).collect();
        assert!(jittered.iter().all(|&length| MS * 100 <= length && length < MS * 150));
        assert!(jittered.iter().any(|&length| length < MS * 102) && jittered.iter().any(|&length| length > MS * 148));
        let hits = (0..10_000).filter(|_| stream.chance(0.25)).count();
        assert!((2_350..2_650).contains(&hits), "{hits}");
        assert!((0..100).all(|_| !stream.chance(0.0) && stream.chance(1.0)));
        assert_eq!(stream.below(0), 0);
    }
}
