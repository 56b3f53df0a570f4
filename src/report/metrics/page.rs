//! A page of OpenMetrics: families with their samples, and histograms.

use std::fmt::Write as _;

use crate::kernel::Duration;

/// Values in buckets. Lengths of time are counted in seconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    upper: Vec<f64>,
    counts: Vec<u64>,
    /// In thousand-millionths, so that the order of adding doesn't matter.
    sum: u128,
    number: u64,
}

impl Histogram {
    /// With these upper bounds, which rise.
    pub(super) fn new(upper: &[f64]) -> Histogram {
        Histogram { counts: vec![0; upper.len()], upper: upper.to_vec(), sum: 0, number: 0 }
    }

    /// Counts a length of time.
    pub(super) fn add(&mut self, length: Duration) {
        self.add_nanos(length.as_nanos());
    }

    /// Counts something else than time.
    pub(super) fn add_number(&mut self, number: u64) {
        self.add_nanos(number.saturating_mul(1_000_000_000));
    }

    /// How many values there were.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn add_nanos(&mut self, nanos: u64) {
        self.sum += u128::from(nanos);
        self.number += 1;
        let value = nanos as f64 / 1e9;
        for (upper, count) in self.upper.iter().zip(&mut self.counts) {
            *count += u64::from(value <= *upper);
        }
    }
}

/// The page being written.
pub(super) struct Page {
    pub(super) text: String,
    /// The moment of all samples.
    at: String,
}

impl Page {
    pub(super) fn new(at: String) -> Page {
        Page { text: String::new(), at }
    }

    /// Begins a family. A counter's name has no `_total`, which its samples have.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &str) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if at == 0 { "{" } else { "," });
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value} {}", self.at);
    }

    /// A sample of a counter.
    pub(super) fn count(&mut self, family: &str, labels: &[(&str, &str)], value: u64) {
        self.sample(&format!("{family}_total"), labels, &value.to_string());
    }

    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (upper, count) in histogram.upper.iter().zip(&histogram.counts) {
            // With a fraction, as OpenMetrics wants it.
            let le = format!("{upper:?}");
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", le.as_str())]).collect();
            self.sample(&bucket, &labels, &count.to_string());
        }
        let labels_inf: Vec<(&str, &str)> = labels.iter().copied().chain([("le", "+Inf")]).collect();
        self.sample(&bucket, &labels_inf, &histogram.number.to_string());
        self.sample(&format!("{name}_sum"), labels, &decimal(histogram.sum));
        self.sample(&format!("{name}_count"), labels, &histogram.number.to_string());
    }
}

/// Thousand-millionths as a decimal.
fn decimal(nanos: u128) -> String {
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:09}").trim_end_matches('0').to_owned()
}

/// Prometheus' `ExponentialBuckets`.
pub(super) fn exponential(start: f64, factor: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(start), |bound| Some(bound * factor)).take(count).collect()
}
