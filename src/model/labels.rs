//! Labels and label selectors.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/labels/selector.go.

use std::sync::Arc;

use super::Name;

/// Labels or annotations: pairs in the order of their keys, shared by the objects that have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Option<Arc<[(Name, Name)]>>);

impl Labels {
    /// These pairs; of equal keys the last counts.
    pub fn new(pairs: impl IntoIterator<Item = (Name, Name)>) -> Labels {
        let mut sorted: Vec<(Name, Name)> = Vec::new();
        for (key, value) in pairs {
            match sorted.binary_search_by(|(existing, _)| existing.cmp(&key)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (key, value)),
            }
        }
        Labels((!sorted.is_empty()).then(|| sorted.into()))
    }

    /// The value of `key`.
    pub fn get(&self, key: Name) -> Option<Name> {
        self.iter().find(|(existing, _)| *existing == key).map(|(_, value)| value)
    }

    /// The pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (Name, Name)> + '_ {
        self.0.as_deref().unwrap_or_default().iter().copied()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// These labels with `key` set to `value`.
    pub fn with(&self, key: Name, value: Name) -> Labels {
        Labels::new(self.iter().chain([(key, value)]))
    }

    /// These labels without `key`.
    pub fn without(&self, key: Name) -> Labels {
        Labels::new(self.iter().filter(|(existing, _)| *existing != key))
    }
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The label has one of these values.
    In(Name, Vec<Name>),
    /// The label is missing or has none of these values.
    NotIn(Name, Vec<Name>),
    /// The label is there.
    Exists(Name),
    /// The label is missing.
    DoesNotExist(Name),
}

impl Requirement {
    /// True if `labels` meet this requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        match self {
            Requirement::In(key, values) => labels.get(*key).is_some_and(|value| values.contains(&value)),
            Requirement::NotIn(key, values) => labels.get(*key).is_none_or(|value| !values.contains(&value)),
            Requirement::Exists(key) => labels.get(*key).is_some(),
            Requirement::DoesNotExist(key) => labels.get(*key).is_none(),
        }
    }
}

/// A label selector: all its requirements must hold; without any it matches everything. Where Kubernetes tells an empty
/// selector from a missing one (which matches nothing), the field is an `Option<Selector>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The requirements: first `matchLabels` in the order of their keys, as `In` with one value, then `matchExpressions`.
    pub requirements: Arc<[Requirement]>,
}

impl Selector {
    /// The selector with these requirements.
    pub fn new(requirements: Vec<Requirement>) -> Selector {
        Selector { requirements: requirements.into() }
    }

    /// The selector that wants these labels.
    pub fn from_labels(labels: &Labels) -> Selector {
        Selector::new(labels.iter().map(|(key, value)| Requirement::In(key, vec![value])).collect())
    }

    /// True if `labels` meet all requirements.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
    }

    /// True for the selector that matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}
