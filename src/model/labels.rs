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

    /// Reads a selector as kubectl's `-l` takes it: `app=web,tier in (a, b),stage!=dev,!legacy,owner`.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut requirements = Vec::new();
        let mut at = 0;
        for part in split_outside_parentheses(text) {
            let start = at + part.len() - part.trim_start().len();
            at += part.len() + 1;
            let part = part.trim();
            if part.is_empty() {
                if text.trim().is_empty() {
                    break;
                }
                return Err(SelectorError { at: start, message: "a requirement such as app=web is missing here" });
            }
            requirements.push(parse_requirement(part).map_err(|message| SelectorError { at: start, message })?);
        }
        Ok(Selector::new(requirements))
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

/// Why a text is no selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SelectorError {
    /// The byte at which the wrong requirement begins.
    pub at: usize,
    pub message: &'static str,
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, &'static str> {
    let key = |text: &str| {
        let text = text.trim();
        if is_key(text) { Ok(Name::new(text)) } else { Err("this is not the key of a label") }
    };
    let value = |text: &str| {
        let text = text.trim();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if plain && text.len() <= 63 { Ok(Name::new(text)) } else { Err("this is not the value of a label") }
    };
    if let Some(absent) = part.strip_prefix('!') {
        return Ok(Requirement::DoesNotExist(key(absent)?));
    }
    if let Some((before, values)) = part.split_once('(') {
        let values = values.trim_end().strip_suffix(')').ok_or("the parenthesis is not closed")?;
        let values = values.split(',').map(value).collect::<Result<Vec<Name>, _>>()?;
        let mut words = before.split_whitespace();
        let (label, operator) = (words.next().unwrap_or_default(), words.next());
        return match (operator, words.next()) {
            (Some("in"), None) => Ok(Requirement::In(key(label)?, values)),
            (Some("notin"), None) => Ok(Requirement::NotIn(key(label)?, values)),
            _ => Err("`in` or `notin` is expected before the parenthesis"),
        };
    }
    if let Some((label, unwanted)) = part.split_once("!=") {
        return Ok(Requirement::NotIn(key(label)?, vec![value(unwanted)?]));
    }
    if let Some((label, wanted)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Requirement::In(key(label)?, vec![value(wanted)?]));
    }
    Ok(Requirement::Exists(key(part)?))
}

fn is_key(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 63 && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().map(|(key, value)| (Name::new(key), Name::new(value))))
    }

    #[test]
    fn selectors_are_read_as_kubectl_takes_them() {
        let web = labels(&[("app", "web"), ("tier", "b"), ("example.com/owner", "me")]);
        for (text, matches) in [
            ("", true),
            ("app=web", true),
            ("app == web", true),
            ("app=web,tier in (a, b),!legacy", true),
            ("tier notin (a,c)", true),
            ("app!=web", false),
            ("stage!=dev", true),
            ("example.com/owner", true),
            ("legacy", false),
            ("app=", false),
        ] {
            let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(&web), matches, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused_with_its_place() {
        for (text, at) in [("app=web,", 8), ("app=web,,b", 8), ("a in b", 0), ("x,a in (b", 2), ("=x", 0), ("a=b c", 0)]
        {
            assert_eq!(Selector::parse(text).map_err(|error| error.at), Err(at), "{text}");
        }
    }
}
