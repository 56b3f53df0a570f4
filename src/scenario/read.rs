//! Reads the fields of a mapping one by one, and collects what is wrong with them.

use std::ops::Range;

use crate::manifest::{Node, Problem, ProblemKind, Value, nearest};

/// The problems of one file, with the path at which the reader stands.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) found: Vec<Problem>,
}

impl Problems {
    /// Something is wrong at `at`.
    pub(super) fn add(&mut self, at: Range<usize>, field: &str, message: impl Into<String>, hint: Option<String>) {
        let kind = ProblemKind::Scenario { message: message.into(), hint };
        self.found.push(Problem { at, field: field.to_owned(), object: String::new(), kind });
    }
}

/// A mapping whose fields are being read. Dropping it unread is fine; [`Fields::end`] reports the fields that nobody knows.
pub(super) struct Fields<'n, 'a> {
    path: String,
    node: &'n Node<'a>,
    known: Vec<&'static str>,
}

impl<'n, 'a> Fields<'n, 'a> {
    /// The fields of `node`, which must be a mapping.
    pub(super) fn new(node: &'n Node<'a>, path: &str, problems: &mut Problems) -> Option<Fields<'n, 'a>> {
        match node.value {
            Value::Map(_) => Some(Fields { path: path.to_owned(), node, known: Vec::new() }),
            _ => {
                let message = format!("{} where a mapping is expected", node.describe());
                problems.add(node.span.clone(), path, message, None);
                None
            }
        }
    }

    /// The path of a field of this mapping.
    pub(super) fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The mapping's own place.
    pub(super) fn span(&self) -> Range<usize> {
        self.node.span.clone()
    }

    /// The place of a field's value; of the mapping if it is not there.
    pub(super) fn place_of(&self, name: &str) -> Range<usize> {
        self.node.get(name).map_or_else(|| self.span(), |node| node.span.clone())
    }

    /// The value of a field; absent and null are the same.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'n Node<'a>> {
        self.known.push(name);
        self.node.get(name).filter(|node| node.value != Value::Null)
    }

    /// A field's text. Numbers and booleans are no text: they must be quoted, as in Kubernetes.
    pub(super) fn text(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'n str> {
        let node = self.get(name)?;
        let text = node.as_str();
        if text.is_none() {
            let message = format!("{} where a string is expected", node.describe());
            problems.add(node.span.clone(), &self.path(name), message, Some("write it in quotes".to_owned()));
        }
        text
    }

    /// A field's integer.
    pub(super) fn integer(&mut self, name: &'static str, problems: &mut Problems) -> Option<i64> {
        let node = self.get(name)?;
        match node.value {
            Value::Int(number) => Some(number),
            _ => {
                let message = format!("{} where an integer is expected", node.describe());
                problems.add(node.span.clone(), &self.path(name), message, None);
                None
            }
        }
    }

    /// A field's number.
    pub(super) fn number(&mut self, name: &'static str, problems: &mut Problems) -> Option<f64> {
        let node = self.get(name)?;
        match node.value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => {
                let message = format!("{} where a number is expected", node.describe());
                problems.add(node.span.clone(), &self.path(name), message, None);
                None
            }
        }
    }

    /// A field's boolean.
    pub(super) fn boolean(&mut self, name: &'static str, problems: &mut Problems) -> Option<bool> {
        let node = self.get(name)?;
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                let message = format!("{} where true or false is expected", node.describe());
                problems.add(node.span.clone(), &self.path(name), message, None);
                None
            }
        }
    }

    /// A field's list.
    pub(super) fn list(&mut self, name: &'static str, problems: &mut Problems) -> &'n [Node<'a>] {
        let Some(node) = self.get(name) else { return &[] };
        match &node.value {
            Value::Seq(items) => items,
            _ => {
                let message = format!("{} where a list is expected", node.describe());
                problems.add(node.span.clone(), &self.path(name), message, None);
                &[]
            }
        }
    }

    /// A field's mapping.
    pub(super) fn fields(&mut self, name: &'static str, problems: &mut Problems) -> Option<Fields<'n, 'a>> {
        let node = self.get(name)?;
        Fields::new(node, &self.path(name), problems)
    }

    /// The pairs of a field that is a mapping of texts, such as labels.
    pub(super) fn pairs(&mut self, name: &'static str, problems: &mut Problems) -> Vec<(&'n str, &'n str)> {
        let Some(node) = self.get(name) else { return Vec::new() };
        let Value::Map(entries) = &node.value else {
            let message = format!("{} where a mapping is expected", node.describe());
            problems.add(node.span.clone(), &self.path(name), message, None);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (key, value) in entries {
            match value.as_str() {
                Some(text) => pairs.push((key.name.as_ref(), text)),
                None => {
                    let message = format!("{} where a string is expected", value.describe());
                    let hint = Some("write it in quotes".to_owned());
                    problems.add(value.span.clone(), &format!("{}[{}]", self.path(name), key.name), message, hint);
                }
            }
        }
        pairs
    }

    /// Reports every field that was not asked for.
    pub(super) fn end(self, problems: &mut Problems) {
        let Value::Map(entries) = &self.node.value else { return };
        for (key, _) in entries {
            if !self.known.contains(&key.name.as_ref()) {
                let hint = match nearest(&key.name, self.known.iter().copied()) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known here: {}", self.known.join(", ")),
                };
                problems.add(
                    key.span.clone(),
                    &self.path(&key.name),
                    format!("unknown field `{}`", key.name),
                    Some(hint),
                );
            }
        }
    }
}
