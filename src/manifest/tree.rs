//! The tree of a document: values with the place where each stands, independent of YAML and JSON.
//!
//! Strings borrow from the text where they can. Field paths are Kubernetes': `spec.containers[0].image`,
//! `metadata.labels[app.kubernetes.io/name]`.

use std::borrow::Cow;
use std::ops::Range;

use rustc_hash::FxHashMap;

/// Deeper documents are refused: what reads them recurses.
pub const MAX_DEPTH: usize = 128;

/// A value and the bytes of the text that it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// What it is.
    pub value: Value<'a>,
    /// Where it stands, in bytes of the source's text. Empty where a value was left out (`key:`).
    pub span: Range<usize>,
}

/// A value as JSON knows it; what YAML has besides is resolved by the reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`, `~`, or nothing.
    Null,
    /// `true`, and in YAML `yes`, `on`, `y`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// Any other number. The span has its text.
    Float(f64),
    /// A string.
    String(Cow<'a, str>),
    /// A list.
    Seq(Vec<Node<'a>>),
    /// A mapping, in the order of the text, each key once.
    Map(Vec<(Key<'a>, Node<'a>)>),
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Key<'a> {
    /// As a string, which is what JSON has: `on:` is `true`, `1:` is `1`.
    pub name: Cow<'a, str>,
    /// Where it stands.
    pub span: Range<usize>,
}

impl<'a> Node<'a> {
    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key and the value of a mapping's key.
    pub fn entry(&self, key: &str) -> Option<(&Key<'a>, &Node<'a>)> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(k, _)| k.name == key).map(|(k, node)| (k, node))
    }

    /// The string that it is, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for people: "a string", "an object".
    pub fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::String(_) => "a string",
            Value::Seq(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    /// The place of a field for a message about it: the value of a scalar or of an empty collection, the key of a
    /// collection, the beginning of a list's element. Of a field that is not there, the place of the innermost
    /// thing around it that is. `self` is the object that the path begins in.
    pub fn place(&self, path: &str) -> Range<usize> {
        let mut node = self;
        let mut at = self.span.clone();
        for step in steps(path) {
            let next = match (step, &node.value) {
                (Step::Key(name), Value::Map(entries)) => entries.iter().find(|(k, _)| k.name == name).map(|(k, n)| {
                    let whole = matches!(&n.value, Value::Map(e) if !e.is_empty())
                        || matches!(&n.value, Value::Seq(items) if !items.is_empty())
                        || n.span.is_empty();
                    (n, if whole { k.span.clone() } else { n.span.clone() })
                }),
                (Step::Index(idx), Value::Seq(items)) => items.get(idx).map(|n| (n, n.span.clone())),
                _ => None,
            };
            match next {
                Some((inner, place)) => (node, at) = (inner, place),
                None => break,
            }
        }
        at
    }

    /// The node at a path, if it is there.
    pub fn at_path(&self, path: &str) -> Option<&Node<'a>> {
        steps(path).try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(name), Value::Map(_)) => node.get(name),
            (Step::Index(idx), Value::Seq(items)) => items.get(idx),
            _ => None,
        })
    }

    /// The place of the key under which a path's last field stands; else as `place`.
    pub fn place_of_key(&self, path: &str) -> Range<usize> {
        let steps: Vec<Step<'_>> = steps(path).collect();
        let Some((Step::Key(last), before)) = steps.split_last() else { return self.place(path) };
        let parent = before.iter().try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(name), Value::Map(_)) => node.get(name),
            (Step::Index(idx), Value::Seq(items)) => items.get(*idx),
            _ => None,
        });
        match parent.and_then(|node| node.entry(last)) {
            Some((key, _)) => key.span.clone(),
            None => self.place(path),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

/// The steps of a field path. What stands in brackets is an index if it is a number.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches('.');
        if rest.is_empty() {
            return None;
        }
        if let Some(inside) = rest.strip_prefix('[') {
            let (name, after) = inside.split_once(']').unwrap_or((inside, ""));
            rest = after;
            return Some(name.parse().map_or(Step::Key(name), Step::Index));
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        Some(Step::Key(name))
    })
}

/// A mapping being read, which keeps each key once: the last value wins, as kubectl does it.
#[derive(Debug, Default)]
pub(super) struct Entries<'a> {
    entries: Vec<(Key<'a>, Node<'a>)>,
    /// Filled once there are many; looked up, never iterated.
    index: FxHashMap<Cow<'a, str>, usize>,
    /// Which of them came by a merge, so that writing them again is no slip.
    merged: Vec<usize>,
}

/// Below this many keys a scan is faster than a table.
const FEW: usize = 16;

impl<'a> Entries<'a> {
    /// Adds a key; answers whether it was written before.
    pub(super) fn insert(&mut self, key: Key<'a>, node: Node<'a>) -> bool {
        match self.position(&key.name) {
            Some(at) => {
                if let Some(slot) = self.entries.get_mut(at) {
                    *slot = (key, node);
                }
                let merged = self.merged.iter().position(|&idx| idx == at);
                if let Some(found) = merged {
                    self.merged.swap_remove(found);
                }
                merged.is_none()
            }
            None => {
                if !self.index.is_empty() {
                    self.index.insert(key.name.clone(), self.entries.len());
                }
                self.entries.push((key, node));
                if self.entries.len() == FEW {
                    self.index = self.entries.iter().enumerate().map(|(i, (k, _))| (k.name.clone(), i)).collect();
                }
                false
            }
        }
    }

    /// Adds a key of a mapping that is merged into this one.
    pub(super) fn merge(&mut self, key: Key<'a>, node: Node<'a>) {
        let at = self.position(&key.name).unwrap_or(self.entries.len());
        self.insert(key, node);
        if !self.merged.contains(&at) {
            self.merged.push(at);
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        if self.index.is_empty() {
            self.entries.iter().position(|(key, _)| key.name == name)
        } else {
            self.index.get(name).copied()
        }
    }

    pub(super) fn last_end(&self) -> Option<usize> {
        self.entries.last().map(|(key, node)| node.span.end.max(key.span.end))
    }

    pub(super) fn into_vec(self) -> Vec<(Key<'a>, Node<'a>)> {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_as_kubernetes_writes_them() {
        let cut: Vec<_> = steps("spec.containers[0].resources.limits[nvidia.com/gpu]").collect();
        let want = ["spec", "containers", "0", "resources", "limits", "nvidia.com/gpu"];
        let want: Vec<_> = want.iter().map(|s| s.parse().map_or(Step::Key(s), Step::Index)).collect();
        assert_eq!(cut, want);
        assert_eq!(steps("").count(), 0);
        assert_eq!(steps("a[").collect::<Vec<_>>(), [Step::Key("a"), Step::Key("")]);
    }

    #[test]
    fn a_doubled_key_keeps_its_last_value() {
        let key = |i: usize| Key { name: Cow::Owned(format!("k{}", i % 40)), span: i..i };
        let mut entries = Entries::default();
        for i in 0..80 {
            let doubled = entries.insert(key(i), Node { value: Value::Int(i as i64), span: i..i });
            assert_eq!(doubled, i >= 40);
        }
        let values: Vec<_> = entries.into_vec().into_iter().map(|(_, node)| node.value).collect();
        assert_eq!(values, (40..80).map(Value::Int).collect::<Vec<_>>());
    }
}
