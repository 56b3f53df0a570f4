//! A file's text to its documents, cut as kubectl cuts it: at lines that begin with `---`, before anything is parsed.
//!
//! Kubernetes: `apimachinery/pkg/util/yaml/decoder.go`, `YAMLReader` and `YAMLOrJSONDecoder`: a document that begins
//! with `{` is tried as JSON first, several objects one after the other are fine, and what is no JSON is read as YAML.

use std::ops::Range;

use super::problem::{Kind, Problem};
use super::source::Source;
use super::tree::Node;
use super::{json, yaml};

/// The documents of a text that are not empty. What is wrong is added to `problems`, and reading goes on behind it.
pub(super) fn read<'a>(source: &'a Source, problems: &mut Vec<Problem>) -> Vec<Node<'a>> {
    if let Some(at) = source.not_utf8() {
        problems.push(Problem::of_text(at..at + '\u{fffd}'.len_utf8(), Kind::NotUtf8));
    }
    let text = source.text();
    let mut nodes = Vec::new();
    for chunk in chunks(text, problems) {
        let Some(part) = text.get(chunk.clone()) else { continue };
        if part.trim_start().starts_with('{') && read_json(text, &chunk, &mut nodes, problems) {
            continue;
        }
        nodes.extend(yaml::read(part, chunk.start, problems));
    }
    nodes
}

/// JSON values one after the other. Answers whether it was JSON to the end, or at least began as such.
fn read_json<'a>(text: &'a str, chunk: &Range<usize>, nodes: &mut Vec<Node<'a>>, problems: &mut Vec<Problem>) -> bool {
    let Some(up_to) = text.get(..chunk.end) else { return false };
    let mut at = chunk.start;
    let mut doubled = Vec::new();
    let before = nodes.len();
    while at < chunk.end {
        match json::read(up_to, at, &mut doubled) {
            Ok((node, end)) => {
                nodes.push(node);
                at = end;
            }
            Err(_) if nodes.len() == before => return false,
            Err(_) => {
                // The objects before it were read; YAML says what is wrong with this one.
                let rest = up_to.get(at..).unwrap_or_default();
                nodes.extend(yaml::read(rest, at, problems));
                break;
            }
        }
    }
    let doubled = doubled.into_iter().map(|(key, at)| Problem::of_text(at, Kind::DuplicateKey { key }));
    problems.extend(doubled);
    true
}

/// The byte ranges between separators. A separator is a line that begins with `---` and has nothing else but blanks
/// and a comment; a line that begins with `---` and goes on otherwise is refused.
fn chunks(text: &str, problems: &mut Vec<Problem>) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let length = line_length(rest.as_bytes());
        let line = rest.get(..length).unwrap_or_default();
        if let Some(after) = line.strip_prefix("---") {
            let trimmed = after.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                chunks.push(start..at);
                start = at + length;
            } else if after.starts_with([' ', '\t']) {
                let offset = at + 3 + (after.len() - after.trim_start().len());
                problems.push(Problem::of_text(offset..offset + trimmed.len(), Kind::TextOnSeparator));
                // What stands there is read all the same, so that its problems are seen too.
                chunks.push(start..at);
                start = at + 3;
            }
        } else if line.starts_with("%YAML") || line.starts_with("%TAG") {
            let before = text.get(start..at).unwrap_or_default();
            if before.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
                problems.push(Problem::of_text(at..at + line.trim_end().len(), Kind::Directive));
                start = at + length;
            }
        }
        at += length;
    }
    chunks.push(start..text.len());
    chunks.retain(|chunk| text.get(chunk.clone()).is_some_and(|part| !part.trim().is_empty()));
    chunks
}

/// The length of the first line with its end: LF, CRLF or a lone CR.
fn line_length(bytes: &[u8]) -> usize {
    match bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
        None => bytes.len(),
        Some(end) if bytes.get(end..end + 2) == Some(b"\r\n") => end + 2,
        Some(end) => end + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many documents, and the codes of the problems.
    fn check(text: &str, documents: usize, codes: &[&str]) {
        let source = Source::new("f", text);
        let mut problems = Vec::new();
        let nodes = read(&source, &mut problems);
        let got: Vec<_> = problems.iter().map(|p| p.kind.code()).collect();
        assert_eq!((nodes.len(), got.as_slice()), (documents, codes), "{text:?}");
    }

    #[test]
    fn documents_are_cut_at_separator_lines() {
        check("a: 1\n---\nb: 2\n", 2, &[]);
        check("---\n---\n# x\n---\na: 1\n---\n", 1, &[]);
        check("--- # one\r\na: 1\r\n--- # two\r\nb: 1", 2, &[]);
        check("a: |\n  ---\n  x\n", 1, &[]);
        check("a: 1\n---- b\n", 0, &["E0101"]);
        check("", 0, &[]);
        check("a: 1\r---\rb: 1", 2, &[]);
    }

    #[test]
    fn json_objects_may_follow_each_other_and_fall_back_to_yaml() {
        check("{\"a\": 1}\n{\"b\": 2}{\"c\": 3}", 3, &[]);
        check("{\"a\": 1,}", 1, &[]);
        check("{a: 1, # comment\n}", 1, &[]);
        check("{\"a\": 1}\n---\n{\"b\": 2}", 2, &[]);
        check("{\"a\": 1}\n{\"b\": }, 2", 1, &["E0101"]);
    }

    #[test]
    fn what_kubectl_does_not_read_is_named() {
        check("--- {a: 1}\n", 1, &["E0121"]);
        check("%YAML 1.1\n---\na: 1\n", 1, &["E0122"]);
        check("a: 1\n...\nb: 2\n", 1, &["E0123"]);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_others() {
        check("a: [\n---\nb: 1\n---\nc: 'x\n", 1, &["E0101", "E0101"]);
    }
}
