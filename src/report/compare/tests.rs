//! Comparisons of runs.

use super::*;

fn millis(lengths: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    let mut sorted: Vec<Duration> = lengths.into_iter().map(Duration::from_millis).collect();
    sorted.sort();
    sorted
}

fn verdict(first: Vec<Duration>, second: Vec<Duration>) -> Verdict {
    beside(&[first, second], 50, Tolerance::default(), 0).verdict
}

#[test]
fn a_median_beyond_the_tolerance_differs_when_there_are_enough_samples_and_is_unclear_when_not() {
    for (first, second, expected) in [
        (millis(900..1100), millis(920..1120), Verdict::Agrees),
        (millis(900..1100), millis(1300..1500), Verdict::Differs),
        (millis([100, 300]), millis([200, 400]), Verdict::Unclear),
        // Twice as long, but only by milliseconds.
        (millis([4; 50]), millis([2; 50]), Verdict::Agrees),
        (millis([20; 50]), millis([0; 50]), Verdict::Differs),
    ] {
        assert_eq!(verdict(first.clone(), second.clone()), expected, "{first:?} {second:?}");
    }
}

#[test]
fn a_relation_is_rounded_to_a_thousandth_away_from_zero_or_not_at_all() {
    let relation = |a: u64, b: u64| relative(Duration::from_nanos(a), Duration::from_nanos(b));
    assert_eq!(relation(110, 100), Some(100));
    assert_eq!(relation(90, 100), Some(-100));
    assert_eq!(relation(20_001, 20_000), Some(0));
    assert_eq!(relation(20_010, 20_000), Some(1));
    assert_eq!(relation(1, 0), None);
}

#[test]
fn tolerances_are_read_and_mistakes_are_named() {
    let read = Tolerance::parse("p50=5%, p99=60, least=20ms").unwrap();
    assert_eq!(read.per_thousand, [Some(50), Some(250), Some(600)]);
    assert_eq!(read.least, Duration::from_millis(20));
    assert_eq!(Tolerance::parse("p90=none").unwrap().per_thousand, [Some(100), None, None]);
    for wrong in ["p95=1%", "p50", "p50=-1%", "least=fast", "p50=1e9%"] {
        assert!(Tolerance::parse(wrong).unwrap_err().contains(wrong), "{wrong}");
    }
}
