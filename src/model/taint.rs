//! Taints and tolerations.
//!
//! Kubernetes: staging/src/k8s.io/api/core/v1/toleration.go, staging/src/k8s.io/component-helpers/scheduling/corev1/helpers.go.

use crate::kernel::{Duration, Time};

use super::Name;

/// What a taint does to pods that don't tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaintEffect {
    NoSchedule,
    PreferNoSchedule,
    NoExecute,
}

impl TaintEffect {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        }
    }
}

/// A taint of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taint {
    pub key: Name,
    pub value: Name,
    pub effect: TaintEffect,
    /// `timeAdded`, set for `NoExecute` taints of the node lifecycle controller.
    pub added: Option<Time>,
}

impl Taint {
    /// The taint `key:effect` without a value.
    pub fn new(key: &str, effect: TaintEffect) -> Taint {
        Taint { key: Name::new(key), value: Name::default(), effect, added: None }
    }

    /// True if both are the same taint: same key and effect, whatever the value (`MatchTaint` in Kubernetes).
    pub fn is_same(&self, other: &Taint) -> bool {
        self.key == other.key && self.effect == other.effect
    }
}

/// A toleration's operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TolerationOperator {
    #[default]
    Equal,
    Exists,
    /// The taint's value is a greater integer; alpha, off: TaintTolerationComparisonOperators.
    Gt,
    /// The taint's value is a lesser integer.
    Lt,
}

/// A toleration of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// Empty with `Exists`: every key.
    pub key: Name,
    pub operator: TolerationOperator,
    pub value: Name,
    /// None: every effect.
    pub effect: Option<TaintEffect>,
    /// `tolerationSeconds`; None: for ever. Zero and negative are 0: evicted at once.
    pub seconds: Option<Duration>,
}

impl Toleration {
    /// True if this toleration tolerates `taint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if self.effect.is_some_and(|effect| effect != taint.effect) {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => self.value == taint.value,
            TolerationOperator::Gt | TolerationOperator::Lt => false,
        }
    }

    /// The same with the gate TaintTolerationComparisonOperators: `Gt` and `Lt` compare integers. Values that are none are
    /// not tolerated.
    pub fn tolerates_comparing(&self, taint: &Taint) -> bool {
        let of = |name: Name| integer(&name);
        let order = match self.operator {
            TolerationOperator::Gt => std::cmp::Ordering::Greater,
            TolerationOperator::Lt => std::cmp::Ordering::Less,
            _ => return self.tolerates(taint),
        };
        let effect = self.effect.is_none_or(|effect| effect == taint.effect);
        let key = self.key.is_empty() || self.key == taint.key;
        effect && key && of(taint.value).zip(of(self.value)).is_some_and(|(there, here)| there.cmp(&here) == order)
    }
}

/// The integer that `text` is, written as Kubernetes wants it: no plus, no leading zeros.
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" && !text.starts_with('-') || !digits.starts_with('0');
    let plain = plain && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// The first of `taints` that has an effect in `effects` and that no toleration tolerates.
pub fn first_untolerated<'a>(
    taints: &'a [Taint],
    tolerations: &[Toleration],
    effects: &[TaintEffect],
) -> Option<&'a Taint> {
    taints.iter().find(|taint| {
        effects.contains(&taint.effect) && !tolerations.iter().any(|toleration| toleration.tolerates(taint))
    })
}

/// Set by the node lifecycle controller while Ready is False.
pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Set by the node lifecycle controller while Ready is Unknown.
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set while `spec.unschedulable`.
pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Set under memory pressure.
pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// Set under disk pressure.
pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// Set under pressure of process ids.
pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
/// Set while the network is not there.
pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
/// Set by an operator who knows that a node is off.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
