//! One YAML document to a tree with places, with kubectl's rules for scalars, keys, tags, aliases and merges.
//! The only file that knows the parser (`granit-parser`).
//!
//! Kubernetes: `sigs.k8s.io/yaml` over its `goyaml.v2`: `decode.go` for aliases and merge keys, `resolve.go` for tags.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};
use rustc_hash::FxHashMap;

use super::problem::{Kind, Problem};
use super::scalar;
use super::tree::{Entries, Key, MAX_DEPTH, Node, Value};

/// Reads the first document of a text that stands at offset `base` of its file. `None` if it is empty or cannot be
/// read; what is wrong is added to `problems`.
pub(super) fn read<'a>(text: &'a str, base: usize, problems: &mut Vec<Problem>) -> Option<Node<'a>> {
    if let Some(offset) = control_character(text) {
        let message = "control characters are not allowed".to_owned();
        let utf16 = text.as_bytes().get(offset) == Some(&0);
        let hint = utf16.then_some("is this UTF-16 without a byte-order mark? save it as UTF-8");
        let at = base + offset..base + offset + 1;
        problems.push(Problem::of_text(at, Kind::Syntax { message, hint }));
        return None;
    }
    let mut builder = Builder {
        text,
        base,
        stack: Vec::new(),
        anchors: FxHashMap::default(),
        root: None,
        nodes: 0,
        aliased: 0,
        expanded: 0,
        worst: None,
        problems,
    };
    if let Err(problem) = builder.document() {
        builder.problems.push(*problem);
        return None;
    }
    if let Some((size, at)) = builder.worst {
        let nodes = builder.expanded.max(size);
        builder.problems.push(Problem::of_text(at, Kind::ExcessiveAliases { nodes }));
        return None;
    }
    builder.root
}

/// The first character that YAML does not allow and that goyaml's reader refuses (`readerc.go`).
fn control_character(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let suspect = |&b: &u8| (b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r')) || b == 0x7f || b == 0xc2;
    let mut from = 0;
    while let Some(found) = bytes.get(from..)?.iter().position(suspect) {
        let at = from + found;
        let next = bytes.get(at + 1).copied().unwrap_or_default();
        // U+0080 to U+009F, but for U+0085, which ends a line.
        if bytes.get(at) != Some(&0xc2) || (next < 0xa0 && next != 0x85) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Why a document cannot be read further.
type Refused = Box<Problem>;

fn refused(at: Range<usize>, kind: Kind) -> Refused {
    Box::new(Problem::of_text(at, kind))
}

struct Builder<'a, 'p> {
    text: &'a str,
    base: usize,
    stack: Vec<Frame<'a>>,
    anchors: FxHashMap<usize, Anchored<'a>>,
    root: Option<Node<'a>>,
    /// Nodes so far, those of aliases included, and how many of them are of aliases.
    nodes: u64,
    aliased: u64,
    /// What the document would have if no limit had stopped the expansion.
    expanded: u64,
    /// The alias of the largest value of those that were not expanded.
    worst: Option<(u64, Range<usize>)>,
    problems: &'p mut Vec<Problem>,
}

struct Anchored<'a> {
    node: Node<'a>,
    size: u64,
    depth: usize,
}

/// A collection that has begun.
struct Frame<'a> {
    collection: Collection<'a>,
    start: usize,
    flow: bool,
    anchor: usize,
    /// `expanded` when it began, so that its size is known at its end.
    before: u64,
    /// Levels below it.
    depth: usize,
}

enum Collection<'a> {
    Seq(Vec<Node<'a>>),
    Map { entries: Entries<'a>, key: Option<PendingKey<'a>> },
}

enum PendingKey<'a> {
    Key(Key<'a>),
    /// `<<`, unquoted.
    Merge(Range<usize>),
}

/// A value that is complete, with its size in nodes and its levels.
struct Done<'a> {
    node: Node<'a>,
    size: u64,
    depth: usize,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<(), Refused> {
        let mut options = granit_parser::options! {
            // Both limits are beyond ours, which names the place.
            flow_nesting_limit: MAX_DEPTH + 8,
            block_nesting_limit: MAX_DEPTH + 8,
            bom_inside_document_as_content: true,
            block_scalar_eof_without_line_feed: true,
        };
        options.set_emit_comments(false);
        let mut documents = 0;
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => return Err(Box::new(self.scan_problem(&error))),
            };
            match event {
                Event::DocumentStart(..) => {
                    documents += 1;
                    if documents == 2 {
                        let at = self.range(&span);
                        self.problems.push(Problem::of_text(at, Kind::DocumentPassedOver));
                        return Ok(());
                    }
                }
                Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag.as_deref(), &span)?,
                Event::SequenceStart(style, anchor, _) => {
                    self.begin(Collection::Seq(Vec::new()), style, anchor, &span)?;
                }
                Event::MappingStart(style, anchor, _) => {
                    let map = Collection::Map { entries: Entries::default(), key: None };
                    self.begin(map, style, anchor, &span)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.end(&span)?,
                Event::Alias(id) => self.alias(id, &span)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn range(&self, span: &Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        self.base + range.start..self.base + range.end
    }

    fn begin(
        &mut self,
        collection: Collection<'a>,
        style: StructureStyle,
        anchor: usize,
        span: &Span,
    ) -> Result<(), Refused> {
        let at = self.range(span);
        self.no_key(&at)?;
        if self.stack.len() >= MAX_DEPTH {
            return Err(Box::new(self.too_deep(at.start)));
        }
        self.count(1);
        self.stack.push(Frame {
            collection,
            start: at.start,
            flow: style == StructureStyle::Flow,
            anchor,
            before: self.expanded - 1,
            depth: 0,
        });
        Ok(())
    }

    /// A collection cannot be a key.
    fn no_key(&self, at: &Range<usize>) -> Result<(), Refused> {
        let Some(Frame { collection: Collection::Map { key: None, .. }, start, .. }) = self.stack.last() else {
            return Ok(());
        };
        let rest = self.text.get(start.saturating_sub(self.base)..).unwrap_or_default();
        let template = rest.starts_with("{{");
        let (from, length) = match rest.find("}}").filter(|_| template) {
            Some(end) => (*start, end + 2),
            None => (at.start, 1),
        };
        Err(refused(from..from + length, Kind::InvalidKey { template }))
    }

    /// The place of the outermost of the brackets that open in a row before `at`.
    fn too_deep(&self, at: usize) -> Problem {
        let before = self.text.get(..at.saturating_sub(self.base)).unwrap_or_default();
        let start = self.base + before.trim_end_matches(['[', '{', ' ', '-']).len();
        let blanks = self.text.get(start - self.base..).unwrap_or_default();
        let start = start + (blanks.len() - blanks.trim_start().len());
        Problem::of_text(start.min(at)..at + 1, Kind::TooDeep)
    }

    fn count(&mut self, nodes: u64) {
        self.nodes += nodes;
        self.expanded = self.expanded.saturating_add(nodes);
    }

    fn end(&mut self, span: &Span) -> Result<(), Refused> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let after = self.range(span).end;
        let (value, last, first) = match frame.collection {
            Collection::Seq(items) => {
                let last = items.last().map(|node| node.span.end);
                (Value::Seq(items), last, None)
            }
            Collection::Map { entries, .. } => {
                let last = entries.last_end();
                let entries = entries.into_vec();
                let first = entries.iter().map(|(key, _)| key.span.start).min();
                (Value::Map(entries), last, first)
            }
        };
        // A block collection's end event stands at the next token, behind blanks and comments.
        let (start, end) = match (frame.flow, last) {
            (false, Some(last)) => (first.unwrap_or(frame.start), last),
            _ => (frame.start, after),
        };
        let node = Node { value, span: start..end.max(start) };
        let size = self.expanded - frame.before;
        self.add(Done { node, size, depth: frame.depth + 1 }, frame.anchor)
    }

    fn scalar(
        &mut self,
        text: Cow<'a, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<(), Refused> {
        let mut at = self.range(span);
        let plain = style == ScalarStyle::Plain;
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            // The parser's span ends where the next token begins.
            let written = self.text.get(at.start - self.base..at.end - self.base).unwrap_or_default();
            at.end = at.start + written.trim_end().len();
        }
        let expects_key =
            matches!(self.stack.last(), Some(Frame { collection: Collection::Map { key: None, .. }, .. }));
        if expects_key && plain && tag.is_none() && text == "<<" {
            return self.key(PendingKey::Merge(at));
        }
        let value = match tag {
            None if plain => scalar::resolve(&text).unwrap_or(Value::String(text)),
            None => Value::String(text),
            Some(tag) => tagged(tag, text),
        };
        if expects_key {
            self.count(1);
            let Some(name) = key_name(value) else {
                return Err(refused(at, Kind::InvalidKey { template: false }));
            };
            if anchor != 0 {
                let node = Node { value: Value::String(name.clone()), span: at.clone() };
                self.anchors.insert(anchor, Anchored { node, size: 1, depth: 1 });
            }
            return self.key(PendingKey::Key(Key { name, span: at }));
        }
        self.count(1);
        self.add(Done { node: Node { value, span: at }, size: 1, depth: 1 }, anchor)
    }

    fn key(&mut self, pending: PendingKey<'a>) -> Result<(), Refused> {
        if let Some(Frame { collection: Collection::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(pending);
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<(), Refused> {
        let at = self.range(span);
        let Some(anchored) = self.anchors.get(&id) else {
            let message = "an alias inside the value of its own anchor";
            return Err(refused(at, Kind::BadAlias { message }));
        };
        if self.stack.len() + anchored.depth > MAX_DEPTH {
            return Err(refused(at, Kind::TooDeep));
        }
        let expects_key =
            matches!(self.stack.last(), Some(Frame { collection: Collection::Map { key: None, .. }, .. }));
        if expects_key {
            let Some(name) = key_name(anchored.node.value.clone()) else {
                return Err(refused(at, Kind::InvalidKey { template: false }));
            };
            return self.key(PendingKey::Key(Key { name, span: at }));
        }
        let (size, depth) = (anchored.size, anchored.depth);
        // The alias itself counts too.
        self.expanded = self.expanded.saturating_add(size + 1);
        let aliased = self.aliased.saturating_add(size);
        let nodes = self.nodes.saturating_add(size + 1);
        if too_many(aliased, nodes) {
            if self.worst.as_ref().is_none_or(|(worst, _)| size > *worst) {
                self.worst = Some((size, at.clone()));
            }
            let node = Node { value: Value::Null, span: at };
            return self.add(Done { node, size, depth }, 0);
        }
        let node = Node { value: anchored.node.value.clone(), span: at };
        (self.aliased, self.nodes) = (aliased, nodes);
        self.add(Done { node, size, depth }, 0)
    }

    fn add(&mut self, done: Done<'a>, anchor: usize) -> Result<(), Refused> {
        let Done { node, size, depth } = done;
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size, depth });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.depth = frame.depth.max(depth);
        match &mut frame.collection {
            Collection::Seq(items) => items.push(node),
            Collection::Map { entries, key } => match key.take() {
                Some(PendingKey::Key(key)) => {
                    let doubled = entries.insert(key.clone(), node);
                    if doubled {
                        let kind = Kind::DuplicateKey { key: key.name.into_owned() };
                        self.problems.push(Problem::of_text(key.span, kind));
                    }
                }
                Some(PendingKey::Merge(at)) => merge(entries, node, &at)?,
                // A collection or an alias as a key was refused before.
                None => {}
            },
        }
        Ok(())
    }

    fn scan_problem(&self, error: &ScanError) -> Problem {
        let offset = error.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        let at = |offset: usize| self.base + offset..self.base + offset + 1;
        let kind = match error.kind() {
            ErrorKind::UnknownAnchor => {
                let rest = self.text.get(offset..).unwrap_or_default().trim_start_matches('*');
                let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len());
                let name = rest.get(..end).unwrap_or_default().to_owned();
                let start = self.base + offset;
                return Problem::of_text(start..start + name.len() + 1, Kind::UnknownAnchor { name });
            }
            ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
                // The tab, not what it indents.
                let before = self.text.get(..offset).unwrap_or_default();
                let start = before.trim_end_matches(['\t', ' ']).len();
                let kind =
                    Kind::Syntax { message: "a tab in the indentation".to_owned(), hint: Some("indent with spaces") };
                return Problem::of_text(self.base + start..self.base + offset.max(start + 1), kind);
            }
            ErrorKind::RecursionLimitExceeded => return self.too_deep(self.base + offset),
            ErrorKind::UnexpectedCharacter { character } => Kind::Syntax {
                message: format!("`{character}` cannot begin a value"),
                hint: hint(error.kind(), self.text, offset),
            },
            _ => Kind::Syntax { message: error.info(), hint: hint(error.kind(), self.text, offset) },
        };
        let line = line_around(self.text, offset);
        let written = self.text.get(line.clone()).unwrap_or_default();
        // A template is marked from its braces, a quoted text that is wrong inside to the end of its line.
        if let Some(found) = written.get(..offset + 1 - line.start).and_then(|before| before.rfind("{{")) {
            let length = written.get(found..).and_then(|rest| rest.find("}}")).map_or(2, |end| end + 2);
            let start = self.base + line.start + found;
            return Problem::of_text(start..start + length, kind);
        }
        let quoted = self.text.get(offset..).is_some_and(|rest| rest.starts_with(['"', '\'']));
        if quoted {
            return Problem::of_text(self.base + offset..self.base + line.end, kind);
        }
        Problem::of_text(at(offset), kind)
    }
}

/// `<<: *name` and `<<: [*name, *other]`. Takes the place of keys that stand before it, as goyaml.v2 has it; of
/// several mappings the first wins.
fn merge<'a>(entries: &mut Entries<'a>, node: Node<'a>, at: &Range<usize>) -> Result<(), Refused> {
    let maps = match node.value {
        Value::Map(map) => vec![map],
        Value::Seq(items) => items
            .into_iter()
            .rev()
            .map(|item| match item.value {
                Value::Map(map) => Ok(map),
                _ => Err(no_mapping(at)),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(no_mapping(at)),
    };
    for (key, node) in maps.into_iter().flatten() {
        entries.merge(key, node);
    }
    Ok(())
}

fn no_mapping(at: &Range<usize>) -> Refused {
    refused(at.clone(), Kind::BadAlias { message: "a merge key takes a mapping or a list of mappings" })
}

/// The share of aliases that goyaml allows: nearly all of a small document, a tenth of a large one.
/// Kubernetes: `allowedAliasRatio` in goyaml.v2's `decode.go`.
fn too_many(aliased: u64, nodes: u64) -> bool {
    const SMALL: u64 = 400_000;
    const LARGE: u64 = 4_000_000;
    let allowed_in_1000 = match nodes {
        0..=SMALL => 990,
        LARGE.. => 100,
        _ => 990 - 890 * (nodes - SMALL) / (LARGE - SMALL),
    };
    aliased > 100 && nodes > 1000 && u128::from(aliased) * 1000 > u128::from(nodes) * u128::from(allowed_in_1000)
}

/// The string that JSON has as a key for this scalar. `sigs.k8s.io/yaml` refuses null.
fn key_name(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(b) => Some(Cow::Borrowed(if b { "true" } else { "false" })),
        Value::Int(i) => Some(Cow::Owned(i.to_string())),
        Value::Float(f) => Some(Cow::Owned(f.to_string())),
        _ => None,
    }
}

/// A scalar with a tag. Tags that are not YAML's own are dropped and leave a string, as in goyaml's `resolve`.
fn tagged<'a>(tag: &Tag, text: Cow<'a, str>) -> Value<'a> {
    match tag.core_suffix() {
        Some("null" | "bool" | "int") => scalar::resolve(&text).unwrap_or(Value::String(text)),
        Some("float") => match scalar::resolve(&text) {
            Some(Value::Int(i)) => Value::Float(i as f64),
            Some(value) => value,
            None => Value::String(text),
        },
        _ => Value::String(text),
    }
}

/// The line that an offset is in, without its end.
fn line_around(text: &str, offset: usize) -> Range<usize> {
    let start = text.get(..offset).and_then(|before| before.rfind(['\n', '\r'])).map_or(0, |end| end + 1);
    let rest = text.get(offset..).unwrap_or_default();
    start..offset + rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// What usually is behind a syntax error.
fn hint(kind: &ErrorKind, text: &str, offset: usize) -> Option<&'static str> {
    let range = line_around(text, offset);
    let before = text.get(..range.start)?.lines().next_back().unwrap_or_default().trim_start();
    let line = text.get(range)?.trim_start();
    if line.contains("{{") {
        return Some("this looks like a template; render it first, as with `helm template`");
    }
    match kind {
        ErrorKind::MissingAnchorOrAliasName => Some("`*` begins an alias; put the value in quotes"),
        ErrorKind::UnclosedQuotedScalar => Some("the quote is never closed"),
        ErrorKind::UnexpectedCharacter { .. } => Some("put the value in quotes"),
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            Some("write `\\\\` for a backslash, or use single quotes")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar => Some("write `''` for a quote inside single quotes"),
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed => Some("is this line indented as it should be?"),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidSimpleKey | ErrorKind::ExpectedFlowMappingSeparator
            if line.matches(": ").count() > 1 =>
        {
            Some("a value with `: ` in it must stand in quotes")
        }
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            Some("is a comma missing before this?")
        }
        _ if before.starts_with('-') && !before.starts_with("- ") && !before.starts_with("--") => {
            Some("is there a blank behind the `-` of the line before?")
        }
        _ if before.contains(':') && !before.contains(": ") && !before.ends_with(':') => {
            Some("is there a blank behind the `:` of the line before?")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> (Option<Node<'_>>, Vec<Problem>) {
        let mut problems = Vec::new();
        let node = read(text, 0, &mut problems);
        (node, problems)
    }

    /// What stands at a path, and the text of its place.
    #[track_caller]
    fn check(text: &str, path: &str, value: Value<'_>, place: &str) {
        let (node, problems) = read_all(text);
        assert_eq!(problems, []);
        let node = node.expect("a document");
        assert_eq!(node.at_path(path).map(|n| &n.value), Some(&value));
        assert_eq!(text.get(node.place(path)), Some(place));
    }

    #[test]
    fn scalars_keep_their_place() {
        let text = "a:\n- b: 'x y'\n  c: 1.10\n  d: |\n    one\n    two\n  e:\n";
        check(text, "a[0].b", Value::String("x y".into()), "'x y'");
        check(text, "a[0].c", Value::Float(1.1), "1.10");
        check(text, "a[0].d", Value::String("one\ntwo\n".into()), "one\n    two");
        check(text, "a[0].e", Value::Null, "e");
    }

    #[test]
    fn keys_become_strings() {
        check("on: 1", "true", Value::Int(1), "1");
        check("1: x", "1", Value::String("x".into()), "x");
        check("'on': 1", "on", Value::Int(1), "1");
    }

    #[test]
    fn tags_do_what_goyaml_does() {
        check("a: !!str 1", "a", Value::String("1".into()), "1");
        check("a: !!int '1'", "a", Value::Int(1), "'1'");
        check("a: !!float 1", "a", Value::Float(1.0), "1");
        check("a: !Ref yes", "a", Value::String("yes".into()), "yes");
    }

    #[test]
    fn aliases_stand_for_their_value_and_merges_add_keys() {
        let text = "a: &x {k: 1, l: 2}\nb: *x\nc:\n  l: 3\n  <<: *x\n  k: 4\nd:\n  <<: [{k: 5}, *x]\n";
        check(text, "b.k", Value::Int(1), "1");
        check(text, "c.k", Value::Int(4), "4");
        // goyaml.v2 lets a merge take the place of a key before it.
        check(text, "c.l", Value::Int(2), "2");
        check(text, "d.k", Value::Int(5), "5");
        check(text, "d.l", Value::Int(2), "2");
    }

    #[test]
    fn what_cannot_be_read_is_a_problem_not_a_panic() {
        for text in [
            "a: &a [*a]",
            "? [a]\n: b",
            "{{ x }}: 1",
            "a: *nope",
            "<<: 1",
            "a: 'x",
            "a: [",
            "- a\nb: c",
            "~: 1",
            "%YAML 1.1\n---\na: @",
            "a: \0",
            "a: \u{80}",
            "a\0:\0",
        ] {
            let (node, problems) = read_all(text);
            assert!(node.is_none() && problems.len() == 1, "{text}: {node:?} {problems:?}");
        }
    }

    #[test]
    fn syntax_errors_say_what_usually_is_behind_them() {
        for (text, place, hint) in [
            ("a: b: c", ":", "a value with `: ` in it must stand in quotes"),
            ("{\"a\": \"1\"\n\"b\": 2}", "\"b\": 2}", "is a comma missing before this?"),
            ("a: {{ .b }}\nc: d", "{{ .b }}", "this looks like a template; render it first, as with `helm template`"),
            (
                "{{- if .x }}\na: b",
                "{{- if .x }}",
                "this looks like a template; render it first, as with `helm template`",
            ),
            ("a:\n\tb: c", "\t", "indent with spaces"),
            ("a: */5 * * * *", "*/5", "`*` begins an alias; put the value in quotes"),
            ("a: \"\\d\"", "\"\\d\"", "write `\\\\` for a backslash, or use single quotes"),
            ("a: @b", "@", "put the value in quotes"),
            ("a:\n  b: c\n d: e", "d", "is this line indented as it should be?"),
            ("a:b\nc: d", ":", "is there a blank behind the `:` of the line before?"),
        ] {
            let (_, problems) = read_all(text);
            let got: Vec<_> = problems.iter().map(|p| (text.get(p.at.clone()), p.kind.hint())).collect();
            assert_eq!(got, [(Some(place), Some(hint.to_owned()))], "{text}");
        }
    }

    #[test]
    fn a_doubled_key_is_a_warning_and_the_last_counts() {
        let (node, problems) = read_all("a: 1\nb: 2\na: 3\n");
        assert_eq!(node.expect("a document").get("a").map(|n| &n.value), Some(&Value::Int(3)));
        assert_eq!(problems, [Problem::of_text(10..11, Kind::DuplicateKey { key: "a".into() })]);
    }

    #[test]
    fn many_uses_of_one_anchor_are_fine() {
        let mut text = "a: &x {k: 1, l: 2}\nb:\n".to_owned();
        text.push_str(&"- *x\n".repeat(500));
        let (node, problems) = read_all(&text);
        assert!(node.is_some() && problems.is_empty(), "{problems:?}");
    }
}
