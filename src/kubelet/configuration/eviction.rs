//! Eviction thresholds: signals, amounts, grace periods and reclaims, and what the kubelet refuses of them.
//!
//! Kubernetes: pkg/kubelet/eviction/helpers.go, ParseThresholdConfig.

use crate::kernel::Duration;
use crate::model::quantity::{Format, Quantity};

use super::types::{KubeletConfiguration, Texts};
use super::words::Length;
use crate::kubelet::config::{Amount, Eviction, Signal, Threshold};
use crate::model::configuration::Problems;

/// The settings of eviction that the file says.
pub(super) fn compile(given: &KubeletConfiguration, problems: &mut Problems) -> Eviction {
    let mut eviction = Eviction::default();
    let reclaims = reclaims(&given.eviction_minimum_reclaim, problems);
    let reclaim = |signal| reclaims.iter().find(|(of, _)| *of == signal).map(|(_, amount)| *amount);
    let grace_periods = grace_periods(&given.eviction_soft_grace_period, problems);
    // A map, even an empty one, takes the place of the defaults.
    if let Some(hard) = &given.eviction_hard {
        let mut thresholds = amounts("evictionHard", hard, problems);
        if given.merge_default_eviction_settings == Some(true) {
            let others = eviction.thresholds.iter().filter(|one| !hard.contains_key(one.signal.as_str()));
            thresholds.extend(others.copied());
            thresholds.sort_by_key(|one| one.signal);
        }
        eviction.thresholds = thresholds;
    }
    for threshold in amounts("evictionSoft", given.eviction_soft.as_ref().unwrap_or(&Texts::new()), problems) {
        let signal = threshold.signal;
        let Some((_, grace)) = grace_periods.iter().find(|(of, _)| *of == signal) else {
            let path = format!("evictionSoft[{}]", signal.as_str());
            let signal = signal.as_str();
            problems.say(path, format!("grace period must be specified for the soft eviction threshold {signal}"));
            continue;
        };
        eviction.thresholds.push(Threshold { grace: Some(*grace), ..threshold });
    }
    for threshold in &mut eviction.thresholds {
        threshold.minimum_reclaim = reclaim(threshold.signal);
    }
    let period = "evictionPressureTransitionPeriod";
    if let Some(length) = Length::of(&given.eviction_pressure_transition_period, period, problems)
        && !length.length.is_zero()
    {
        eviction.pressure_transition_period = length.or_zero();
    }
    let grace = given.eviction_max_pod_grace_period.unwrap_or_default().max(0);
    eviction.max_pod_grace_period = Duration::from_secs(u64::from(grace.unsigned_abs()));
    eviction
}

/// The signal of this name. Those of containerfs follow from others, whatever is said of them.
fn signal(path: &str, name: &str, problems: &mut Problems) -> Option<Signal> {
    let known = Signal::ALL.into_iter().find(|signal| signal.as_str() == name);
    if known.is_none() {
        let path = format!("{path}[{name}]");
        if matches!(name, "containerfs.available" | "containerfs.inodesFree" | "allocatableMemory.available") {
            problems.warn(path, format!("the kubelet computes the threshold of {name} itself and ignores this one"));
        } else {
            problems.say(path, format!("unknown eviction signal {name}"));
        }
    }
    known
}

/// The thresholds of one map as hard ones, in the signals' order.
fn amounts(path: &str, given: &Texts, problems: &mut Problems) -> Vec<Threshold> {
    let mut amounts = Vec::new();
    for (name, text) in given {
        let Some(signal) = signal(path, name, problems) else { continue };
        let path = format!("{path}[{name}]");
        match amount(text) {
            // The way to say that there is no threshold.
            Ok(Amount::Percent(0.0 | 100.0)) => {}
            Ok(Amount::Percent(percent)) if percent < 0.0 => {
                problems.say(path, format!("eviction percentage threshold {name} must be >= 0%: {text}"));
            }
            Ok(Amount::Percent(percent)) if percent > 100.0 => {
                problems.say(path, format!("eviction percentage threshold {name} must be <= 100%: {text}"));
            }
            Ok(Amount::Quantity(..=0)) => {
                problems.say(path, format!("eviction threshold {name} must be positive: {text}"));
            }
            Ok(amount) => {
                let format = text.parse().map_or(Format::BinarySI, Quantity::format);
                amounts.push(Threshold { signal, amount, format, grace: None, minimum_reclaim: None });
            }
            Err(message) => problems.say(path, message),
        }
    }
    amounts.sort_by_key(|threshold| threshold.signal);
    amounts
}

fn amount(text: &str) -> Result<Amount, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let parsed = percent.parse::<f32>().ok().filter(|percent| percent.is_finite());
        let invalid = || format!("strconv.ParseFloat: parsing {percent:?}: invalid syntax");
        return parsed.map(Amount::Percent).ok_or_else(invalid);
    }
    let quantity: Quantity = text.parse().map_err(|error: crate::model::quantity::QuantityError| error.to_string())?;
    Ok(Amount::Quantity(quantity.value_rounding_up()))
}

fn grace_periods(given: &Option<Texts>, problems: &mut Problems) -> Vec<(Signal, Duration)> {
    let path = "evictionSoftGracePeriod";
    let mut periods = Vec::new();
    for (name, text) in given.iter().flatten() {
        let Some(signal) = signal(path, name, problems) else { continue };
        match Length::parse(text) {
            Ok(length) if length.negative => {
                let message = format!("invalid eviction grace period specified: {text}, must be a positive value");
                problems.say(format!("{path}[{name}]"), message);
            }
            Ok(length) => periods.push((signal, length.length)),
            Err(message) => problems.say(format!("{path}[{name}]"), message),
        }
    }
    periods
}

fn reclaims(given: &Option<Texts>, problems: &mut Problems) -> Vec<(Signal, Amount)> {
    let path = "evictionMinimumReclaim";
    let mut reclaims = Vec::new();
    for (name, text) in given.iter().flatten() {
        let Some(signal) = signal(path, name, problems) else { continue };
        match amount(text) {
            Ok(Amount::Percent(percent)) if percent <= 0.0 => {
                let message = format!("eviction percentage minimum reclaim {name} must be positive: {text}");
                problems.say(format!("{path}[{name}]"), message);
            }
            Ok(Amount::Quantity(..0)) => {
                problems
                    .say(format!("{path}[{name}]"), format!("negative eviction minimum reclaim specified for {name}"));
            }
            Ok(amount) => reclaims.push((signal, amount)),
            Err(message) => problems.say(format!("{path}[{name}]"), message),
        }
    }
    reclaims
}
