//! `$(VAR)` in commands, arguments, values of variables and sub-paths.
//!
//! Kubernetes: third_party/forked/golang/expansion/expand.go. `$(VAR)` becomes the variable's value, or stays if there is
//! none; `$$` is a `$` that expands nothing.

use std::sync::Arc;

use crate::model::{Name, Text};

/// The text with its references replaced; None if it has none, so that it can be shared.
pub fn expand<'a>(text: &str, mut value: impl FnMut(&str) -> Option<&'a str>) -> Option<String> {
    if !text.contains("$(") && !text.contains("$$") {
        return None;
    }
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        made.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            made.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(value) => made.push_str(value),
                None => made.extend(["$(", name, ")"]),
            }
            rest = after;
        } else {
            made.push('$');
        }
    }
    made.push_str(rest);
    Some(made)
}

/// The value of a variable among those that were made.
pub fn lookup<'a>(variables: &'a [(Name, Text)], name: &str) -> Option<&'a str> {
    variables.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.as_str())
}

/// The words of a command; shared with the template if nothing in them expands.
pub fn words(words: &Arc<[Text]>, variables: &[(Name, Text)]) -> Arc<[Text]> {
    let has_reference = |word: &Text| word.contains("$(") || word.contains("$$");
    if !words.iter().any(has_reference) {
        return words.clone();
    }
    let each = |word: &Text| expand(word, |name| lookup(variables, name)).map_or_else(|| word.clone(), Text::from);
    words.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_values_and_two_dollars_become_one() {
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(B)z", "x1y2z"),
            ("$(NONE)", "$(NONE)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$(A", "$(A"),
            ("$A $$ $", "$A $ $"),
            ("$($(A))", "$($(A))"),
            ("$()", "$()"),
            ("plain", "plain"),
            ("é$(A)é", "é1é"),
        ] {
            let value = |name: &str| match name {
                "A" => Some("1"),
                "B" => Some("2"),
                _ => None,
            };
            assert_eq!(expand(text, value).as_deref().unwrap_or(text), expected, "{text}");
        }
    }
}
