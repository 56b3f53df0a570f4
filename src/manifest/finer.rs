//! Where exactly something is wrong that Kubernetes only says a collection for: its `metadata.labels: Invalid value: "x"`
//! means the label with the value `x`.

use std::ops::Range;

use super::tree::{Key, Node, Value};

/// The place of what `message` complains about at `path`: as [`Node::place`], or an entry of the collection there that
/// the message quotes or that is too big.
pub(super) fn place(object: &Node<'_>, path: &str, message: &str) -> Range<usize> {
    finer(object, path, message).unwrap_or_else(|| object.place(path))
}

fn finer(object: &Node<'_>, path: &str, message: &str) -> Option<Range<usize>> {
    let quoted = message.split('"').nth(1);
    if let Some((element, fields)) = path.rsplit_once(".{") {
        return the_double(object, element, fields.trim_end_matches('}'));
    }
    let Some(node) = object.at_path(path) else {
        // `spec.resources[storage]`: what should be somewhere below.
        let (around, _) = path.strip_suffix(']')?.rsplit_once('[')?;
        let (key, _) = entries(object.at_path(around)?).first()?;
        return message.starts_with("Required value").then(|| key.span.clone());
    };
    if message.starts_with("Too long") {
        return biggest(node);
    }
    let quoted = quoted?;
    let is_it = |node: &Node<'_>| node.as_str() == Some(quoted);
    if matches!(node.value, Value::Map(_)) {
        let by_key = entries(node).iter().find(|(key, _)| key.name == quoted).map(|(key, _)| key.span.clone());
        let by_value = || entries(node).iter().find(|(_, value)| is_it(value)).map(|(_, value)| value.span.clone());
        return by_key.or_else(by_value);
    }
    // The value of a field beside it, which does not go with this one.
    let (around, _) = path.rsplit_once('.')?;
    let beside = || entries(object.at_path(around)?).iter().find(|(_, value)| is_it(value));
    if node.as_str().is_some_and(|text| text != quoted) { beside().map(|(_, value)| value.span.clone()) } else { None }
}

fn entries<'n, 'a>(node: &'n Node<'a>) -> &'n [(Key<'a>, Node<'a>)] {
    match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

/// The key of the biggest entry, as deep as there are entries.
fn biggest(node: &Node<'_>) -> Option<Range<usize>> {
    let (key, value) = entries(node).iter().max_by_key(|(_, value)| value.span.len())?;
    biggest(value).or_else(|| Some(key.span.clone()))
}

/// The later element of a list that has the same values in these fields as the one at `element`.
fn the_double(object: &Node<'_>, element: &str, fields: &str) -> Option<Range<usize>> {
    let (list, index) = element.strip_suffix(']')?.rsplit_once('[')?;
    let Value::Seq(items) = &object.at_path(list)?.value else { return None };
    let index: usize = index.parse().ok()?;
    let first = items.get(index)?;
    let same = |other: &&Node<'_>| {
        fields
            .split(", ")
            .all(|field| other.get(field).map(|node| &node.value) == first.get(field).map(|node| &node.value))
    };
    items.get(index + 1..)?.iter().find(same).map(|node| node.span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Source, documents};

    #[track_caller]
    fn check(text: &str, path: &str, message: &str, line: usize, column: usize) {
        let source = Source::new("f", text);
        let documents = documents(&source);
        let at = source.place(place(&documents[0], path, message).start);
        assert_eq!((at.line, at.column), (line, column), "{path}: {message}");
    }

    #[test]
    fn an_entry_that_the_message_quotes_or_that_is_too_big_is_the_place() {
        let text =
            "metadata:\n  labels:\n    a: b\n    app: xx\n  annotations:\n    long: aaaaaaaaaaaa\nspec: {a: 1}\n";
        check(text, "metadata.labels", "Invalid value: \"xx\": must be short", 4, 10);
        check(text, "metadata.labels", "Invalid value: {\"app\":\"xx\"}: does not match", 4, 5);
        check(text, "metadata.labels", "Invalid value: \"yy\": must be short", 2, 3);
        check(text, "metadata.annotations", "Too long: may not be more than 5 bytes", 6, 5);
        check(text, "", "Too long: may not be more than 5 bytes", 6, 5);
        check(text, "spec[b]", "Required value", 7, 8);
        check(text, "spec.a", "Invalid value: 1: must be 2", 7, 11);
    }

    #[test]
    fn a_value_that_does_not_go_with_its_neighbour_and_an_element_that_stands_twice_are_found() {
        let text = "list:\n- {a: x, b: w}\n- {a: z, b: w}\n- {a: x, b: w}\n";
        check(text, "list[0].a", "Invalid value: \"w\": must be empty", 2, 13);
        check(text, "list[0].{a, b}", "Duplicate value: \"{x, w}\"", 4, 3);
        check(text, "list[1].{a, b}", "Duplicate value: \"{z, w}\"", 3, 3);
    }
}
