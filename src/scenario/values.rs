//! The values of the scenario language: durations, rates, distributions.

use std::ops::Range;

use crate::kernel::{Distribution, Duration};
use crate::manifest::{Node, Value};
use crate::model::Bytes;
use crate::model::quantity::Quantity;

use super::read::{Fields, Problems};

/// Reads a duration as Go and Kubernetes write it: `1m30s`.
pub(super) fn duration(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<Duration> {
    if let Value::Int(0) = node.value {
        return Some(Duration::ZERO);
    }
    let parsed = node.as_str().and_then(Duration::parse_go);
    if parsed.is_none() {
        let shown = node.as_str().map_or_else(|| node.describe().to_owned(), |text| format!("`{text}`"));
        let hint = Some("such as 30s, 1m30s or 2h".to_owned());
        problems.add(node.span.clone(), path, format!("{shown} is not a duration"), hint);
    }
    parsed
}

/// Reads an amount of bytes: `180Mi`.
pub(super) fn bytes(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<Bytes> {
    let parsed = match &node.value {
        Value::Int(number) => Some(Bytes(*number)),
        _ => node.as_str().and_then(|text| text.parse::<Quantity>().ok()).map(|q| Bytes(q.value_rounding_up())),
    };
    match parsed.filter(|bytes| bytes.0 >= 0) {
        Some(bytes) => Some(bytes),
        None => {
            let hint = Some("such as 180Mi, 2Gi or 1500000".to_owned());
            problems.add(node.span.clone(), path, "not an amount of bytes", hint);
            None
        }
    }
}

/// Reads bytes per second: `200Mi/s`.
pub(super) fn bytes_per_second(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<u64> {
    let parsed = node.as_str().and_then(|text| {
        let amount = text.strip_suffix("/s")?;
        let bytes = amount.trim().parse::<Quantity>().ok()?.value_rounding_up();
        u64::try_from(bytes).ok()
    });
    if parsed.is_none() {
        let hint = Some("such as 200Mi/s".to_owned());
        problems.add(node.span.clone(), path, "not a bandwidth", hint);
    }
    parsed
}

/// Reads bytes per minute: `5Mi/min`; also per second and per hour.
pub(super) fn bytes_per_minute(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<u64> {
    let parsed = node.as_str().and_then(|text| {
        let (amount, unit) = text.split_once('/')?;
        let bytes = amount.trim().parse::<Quantity>().ok()?.value_rounding_up();
        let bytes = u64::try_from(bytes).ok()?;
        match unit.trim() {
            "s" => bytes.checked_mul(60),
            "min" | "m" => Some(bytes),
            "h" => Some(bytes / 60),
            _ => None,
        }
    });
    if parsed.is_none() {
        problems.add(node.span.clone(), path, "not a growth", Some("such as 5Mi/min".to_owned()));
    }
    parsed
}

/// Reads a distribution: a plain duration is constant; `{p50, p99}`, `{uniform: [a, b]}`, `{exponential: mean}`,
/// `{quantiles: [a, b, c]}`.
pub(super) fn distribution(node: &Node<'_>, path: &str, problems: &mut Problems) -> Option<Distribution> {
    if !matches!(node.value, Value::Map(_)) {
        return duration(node, path, problems).map(Distribution::Constant);
    }
    let mut fields = Fields::new(node, path, problems)?;
    let (p50, p99) = (fields.get("p50"), fields.get("p99"));
    let uniform = fields.get("uniform");
    let exponential = fields.get("exponential");
    let quantiles = fields.get("quantiles");
    let span = fields.span();
    fields.end(problems);
    let read =
        |node: &Node<'_>, name: &str, problems: &mut Problems| duration(node, &format!("{path}.{name}"), problems);
    match (p50, p99, uniform, exponential, quantiles) {
        (Some(p50), Some(p99), None, None, None) => {
            let at = p99.span.clone();
            let (p50, p99) = (read(p50, "p50", problems)?, read(p99, "p99", problems)?);
            if p99 < p50 {
                problems.add(at, &format!("{path}.p99"), format!("p99 ({p99}) is less than p50 ({p50})"), None);
                return None;
            }
            Some(Distribution::LogNormal { p50, p99 })
        }
        (None, None, Some(bounds), None, None) => match &bounds.value {
            Value::Seq(items) if items.len() == 2 => {
                let (min, max) = (read(&items[0], "uniform[0]", problems)?, read(&items[1], "uniform[1]", problems)?);
                ordered(min, max, bounds.span.clone(), path, problems)?;
                Some(Distribution::Uniform { min, max })
            }
            _ => {
                problems.add(bounds.span.clone(), path, "`uniform` takes a list of two durations", None);
                None
            }
        },
        (None, None, None, Some(mean), None) => {
            Some(Distribution::Exponential { mean: read(mean, "exponential", problems)? })
        }
        (None, None, None, None, Some(marks)) => match &marks.value {
            Value::Seq(items) if !items.is_empty() => {
                let mut lengths = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let length = read(item, &format!("quantiles[{index}]"), problems)?;
                    let before = lengths.last().copied().unwrap_or_default();
                    ordered(before, length, item.span.clone(), &format!("{path}.quantiles"), problems)?;
                    lengths.push(length);
                }
                Some(Distribution::Quantiles(lengths))
            }
            _ => {
                let message = "`quantiles` takes a list of durations, shortest first";
                problems.add(marks.span.clone(), path, message, None);
                None
            }
        },
        _ => {
            let hint = "a duration, {p50: …, p99: …}, {uniform: [a, b]}, {exponential: mean} or {quantiles: [a, b, …]}"
                .to_owned();
            problems.add(span, path, "not a distribution", Some(hint));
            None
        }
    }
}

fn ordered(min: Duration, max: Duration, at: Range<usize>, path: &str, problems: &mut Problems) -> Option<()> {
    if min > max {
        problems.add(at, path, format!("{min} is more than {max}"), None);
        return None;
    }
    Some(())
}
