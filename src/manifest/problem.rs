//! What can be wrong in a file that a user gave us, and how it is shown: code, place, the offending text, one hint.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::source::Source;

/// One thing that is wrong in a file. All problems of a file are reported at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the file's text.
    pub at: Range<usize>,
    /// As Kubernetes writes it: `spec.containers[0].image`. Empty for the whole object or the text itself.
    pub field: String,
    /// Whose field it is, for people: `Deployment web`. Empty for the text itself.
    pub object: String,
    /// What is wrong.
    pub kind: Kind,
}

/// Whether a file can be used in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Said, then passed over.
    Warning,
    /// Nothing runs.
    Error,
}

/// What a user can do wrong. The messages start in lower case and have no full stop; `hint` says what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The text is neither YAML nor JSON.
    #[error("{message}")]
    Syntax {
        /// What the parser missed.
        message: String,
        /// What usually is behind it.
        hint: Option<&'static str>,
    },
    /// Nested deeper than we read.
    #[error("nested more than {} levels deep", super::tree::MAX_DEPTH)]
    TooDeep,
    /// Aliases that expand to far more than the text.
    #[error("this document's aliases expand to {nodes} values")]
    ExcessiveAliases {
        /// How many.
        nodes: u64,
    },
    /// `*name` without `&name` before it in the same document.
    #[error("unknown anchor `{name}`")]
    UnknownAnchor {
        /// The name after the `*`.
        name: String,
    },
    /// An alias inside the value of its own anchor, or a merge of what is no mapping.
    #[error("{message}")]
    BadAlias {
        /// What is wrong with it.
        message: &'static str,
    },
    /// A mapping's key that is no scalar.
    #[error("this cannot be the key of a mapping")]
    InvalidKey {
        /// It looks like a template that was not rendered.
        template: bool,
    },
    /// A key that stands twice; the last value counts.
    #[error("the key `{key}` stands twice; the first value is lost")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A field that the kind does not have.
    #[error("unknown field `{name}`")]
    UnknownField {
        /// As written.
        name: String,
        /// The most similar field of the same object.
        nearest: Option<&'static str>,
        /// The field of the same object under which one of this name stands.
        belongs_under: Option<&'static str>,
        /// It begins with no-break spaces, as copied from a web page.
        no_break_space: bool,
        /// The object comes from a cluster, whose version had the field: passed over.
        stored: bool,
    },
    /// A value of another type than the field's.
    #[error("{found} where {wanted} is expected")]
    WrongType {
        /// What the field takes.
        wanted: &'static str,
        /// What was found.
        found: String,
        /// What would be right: the same in quotes, or without them.
        write: Option<String>,
    },
    /// A number that does not fit the field.
    #[error("{text} does not fit {wanted}")]
    OutOfRange {
        /// As written.
        text: String,
        /// What the field takes.
        wanted: &'static str,
    },
    /// A text where an amount belongs.
    #[error("`{text}` is not a quantity such as 500m, 2 or 1Gi")]
    NotAQuantity {
        /// As written.
        text: String,
    },
    /// A text where a time belongs.
    #[error("`{text}` is not a time such as 2026-01-31T12:00:00Z")]
    NotATime {
        /// As written.
        text: String,
    },
    /// Data that is not base64.
    #[error("this is not base64")]
    NotBase64,
    /// An object without `kind`.
    #[error("`kind` is not set")]
    MissingKind,
    /// An object without `apiVersion`.
    #[error("`apiVersion` is not set")]
    MissingApiVersion,
    /// A kind that its group does not have.
    #[error("there is no kind `{kind}` in {api_version}")]
    UnknownKind {
        /// As written.
        kind: String,
        /// As written.
        api_version: String,
        /// The most similar one, as `apps/v1 Deployment`.
        nearest: Option<String>,
    },
    /// A kind under a version that is gone or never was.
    #[error("{api_version} {kind} is not served by Kubernetes 1.36")]
    WrongVersion {
        /// As written.
        kind: String,
        /// As written.
        api_version: String,
        /// The version that is.
        served: &'static str,
    },
    /// The same of an object that comes from a cluster: read as the version that is served.
    #[error("{api_version} {kind} is not served by Kubernetes 1.36; read as {served}")]
    OldVersion {
        /// As written.
        kind: String,
        /// As written.
        api_version: String,
        /// The version that is.
        served: &'static str,
    },
    /// A kind that Kubernetes has or had, but that a default cluster does not serve.
    #[error("{api_version} {kind} is not served by a default Kubernetes 1.36; passed over")]
    NotServed {
        /// As written.
        kind: String,
        /// As written.
        api_version: String,
    },
    /// A List among the items of a List.
    #[error("a List inside a List; kubectl does not read it")]
    ListInList,
    /// A List without `items`.
    #[error("a List without `items`")]
    ListWithoutItems,
    /// A document that is no object.
    #[error("{found} where a Kubernetes object is expected")]
    NotAnObject {
        /// What was found.
        found: &'static str,
    },
    /// A file, found in a folder, whose document is no Kubernetes object.
    #[error("not a Kubernetes object (neither `apiVersion` nor `kind`); passed over")]
    NotKubernetes,
    /// A file without any object.
    #[error("no object in this file")]
    NoObjects,
    /// Bytes that are no text.
    #[error("the file is not UTF-8; what could not be read became U+FFFD")]
    NotUtf8,
    /// An object on the line of the separator.
    #[error("text on the line of the document separator; kubectl does not read it")]
    TextOnSeparator,
    /// A directive.
    #[error("a YAML directive; kubectl does not read it")]
    Directive,
    /// A second document in what kubectl takes for one.
    #[error("what follows here is passed over: kubectl reads one document up to the next `---`")]
    DocumentPassedOver,
    /// An object without apiVersion and kind whose fields show what it is.
    #[error("neither `apiVersion` nor `kind` is set; read as {taken_for}")]
    KindGuessed {
        /// What it was taken for, as `v1 Pod`.
        taken_for: &'static str,
    },
    /// The same object a second time in one file.
    #[error("this object stands twice in this file; the second wins")]
    DuplicateObject,
    /// What the API server's validation would refuse, in its words.
    #[error("{message}")]
    Invalid {
        /// `Invalid value: -1: must be greater than or equal to 0`.
        message: String,
    },
    /// What the API server takes, though hardly anybody means it, or what is done in the user's stead.
    #[error("{message}")]
    Remark {
        /// What is so, and what comes of it.
        message: String,
    },
    /// Something in a scenario.
    #[error("{message}")]
    Scenario {
        /// What was found.
        message: String,
        /// The nearest right thing.
        hint: Option<String>,
    },
    /// A decoder of an outer type did not like it.
    #[error("{message}")]
    Undecodable {
        /// Its words.
        message: String,
    },
}

impl Kind {
    /// The stable code, for `simlet explain`. E01.. is the text and the shape of objects; validation has E02...
    pub fn code(&self) -> &'static str {
        match self {
            Kind::Syntax { .. } => "E0101",
            Kind::TooDeep => "E0102",
            Kind::ExcessiveAliases { .. } => "E0103",
            Kind::UnknownAnchor { .. } | Kind::BadAlias { .. } => "E0104",
            Kind::InvalidKey { .. } => "E0105",
            Kind::DuplicateKey { .. } => "E0106",
            Kind::UnknownField { .. } => "E0107",
            Kind::WrongType { .. } => "E0108",
            Kind::OutOfRange { .. } => "E0109",
            Kind::NotAQuantity { .. } => "E0110",
            Kind::NotATime { .. } => "E0111",
            Kind::NotBase64 => "E0112",
            Kind::MissingKind | Kind::MissingApiVersion => "E0113",
            Kind::UnknownKind { .. } => "E0114",
            Kind::WrongVersion { .. } | Kind::OldVersion { .. } => "E0115",
            Kind::NotServed { .. } => "E0116",
            Kind::ListInList | Kind::ListWithoutItems => "E0117",
            Kind::NotAnObject { .. } | Kind::NotKubernetes => "E0118",
            Kind::NoObjects => "E0119",
            Kind::NotUtf8 => "E0120",
            Kind::TextOnSeparator => "E0121",
            Kind::Directive => "E0122",
            Kind::DocumentPassedOver => "E0123",
            Kind::KindGuessed { .. } => "E0124",
            Kind::Invalid { .. } => "E0201",
            Kind::Remark { .. } => "E0202",
            Kind::Scenario { .. } => "E0301",
            Kind::Undecodable { .. } => "E0125",
            Kind::DuplicateObject => "E0126",
        }
    }

    /// Whether the file can be used all the same.
    pub fn severity(&self) -> Severity {
        match self {
            Kind::DuplicateKey { .. }
            | Kind::DuplicateObject
            | Kind::UnknownField { stored: true, .. }
            | Kind::OldVersion { .. }
            | Kind::NotServed { .. }
            | Kind::NotKubernetes
            | Kind::NoObjects
            | Kind::NotUtf8
            | Kind::DocumentPassedOver
            | Kind::Remark { .. }
            | Kind::KindGuessed { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The one hint: the nearest right thing.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Kind::Scenario { hint, .. } => return hint.clone(),
            Kind::Syntax { hint, .. } => return hint.map(str::to_owned),
            Kind::UnknownField { no_break_space: true, .. } => {
                "no-break spaces (U+00A0) come before it; indent with spaces"
            }
            Kind::UnknownField { nearest: Some(nearest), .. } => return Some(format!("did you mean `{nearest}`?")),
            Kind::UnknownField { belongs_under: Some(parent), .. } => {
                return Some(format!("it belongs under `{parent}`"));
            }
            Kind::UnknownKind { nearest: Some(nearest), .. } => return Some(format!("did you mean {nearest}?")),
            Kind::WrongVersion { served, .. } => return Some(format!("use {served}")),
            Kind::WrongType { write: Some(right), .. } => return Some(format!("write {right}")),
            Kind::InvalidKey { template: true } => {
                "this looks like a template; render it first, as with `helm template`"
            }
            Kind::UnknownAnchor { name } if !name.starts_with(|c: char| c.is_alphanumeric()) => {
                "`*` begins an alias; put the value in quotes"
            }
            Kind::UnknownAnchor { .. } => "an anchor ends with its document",
            Kind::MissingKind => "such as `kind: Deployment`",
            Kind::MissingApiVersion => "such as `apiVersion: apps/v1`",
            Kind::TextOnSeparator => "begin the object on the next line",
            Kind::Directive => "leave it out",
            Kind::NotAnObject { found: "a list" } => {
                "write a document for each, with `---` between them, or a `kind: List`"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

impl Problem {
    /// A problem of the text itself.
    pub(super) fn of_text(at: Range<usize>, kind: Kind) -> Problem {
        Problem { at, field: String::new(), object: String::new(), kind }
    }

    /// Whether it keeps the file from being used.
    pub fn is_error(&self) -> bool {
        self.kind.severity() == Severity::Error
    }
}

/// Shows a problem as rustc shows its own: code and message, file with line and column, the line with carets, the hint.
/// Colour only where asked for. Ends with a line end.
pub fn render(source: &Source, problem: &Problem, colour: bool) -> String {
    let at = source.clamp(&problem.at);
    let place = source.place(at.start);
    let line = source.line(place.line);
    // Only the one line: long files stay cheap, and a collection's end is of no use.
    let (excerpt, start) = excerpt(source.text(), &line, at.start);
    let begin = at.start - start;
    let end = at.end.saturating_sub(start).clamp(begin, excerpt.len().max(begin));
    let level = if problem.is_error() { Level::ERROR } else { Level::WARNING };
    let title = problem.kind.to_string();
    let hint = problem.kind.hint();
    let mut annotation = AnnotationKind::Primary.span(begin..end);
    if let Some(hint) = &hint {
        annotation = annotation.label(hint.as_str());
    }
    let snippet = Snippet::source(excerpt).line_start(place.line).annotation(annotation);
    let group = level.primary_title(title.as_str()).id(problem.kind.code());
    let mut group = if start == line.start {
        group.element(snippet.path(source.name.as_str()))
    } else {
        // annotate-snippets would count the column in the excerpt.
        let origin = Origin::path(source.name.as_str()).line(place.line).char_column(place.column);
        group.element(origin).element(snippet)
    };
    let whose = match (problem.object.as_str(), problem.field.as_str()) {
        ("", field) => field.to_owned(),
        (object, "") => object.to_owned(),
        (object, field) => format!("{object}, {field}"),
    };
    if !whose.is_empty() {
        group = group.element(Level::NOTE.no_name().message(whose.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.decor_style(DecorStyle::Ascii).render(&[group]);
    text.push('\n');
    text
}

/// So many problems of a file are shown; more would only scroll away.
const SHOWN: usize = 100;

/// Shows the problems of a file, those at the top of the file first, and closes with how many errors there are.
/// Empty if there are none. Errors are shown before warnings are left out.
pub fn render_all(source: &Source, problems: &[Problem], colour: bool) -> String {
    let mut text = String::new();
    let room_for_warnings = SHOWN.saturating_sub(problems.iter().filter(|p| p.is_error()).count());
    let (mut shown_errors, mut shown_warnings) = (0, 0);
    for problem in problems {
        let (shown, room) =
            if problem.is_error() { (&mut shown_errors, SHOWN) } else { (&mut shown_warnings, room_for_warnings) };
        if *shown < room {
            *shown += 1;
            text.push_str(&render(source, problem, colour));
        }
    }
    let more = problems.len() - shown_errors - shown_warnings;
    if more > 0 {
        text.push_str(&format!("{more} more in {}\n", source.name));
    }
    let errors = problems.iter().filter(|p| p.is_error()).count();
    if errors > 0 {
        let plural = if errors == 1 { "" } else { "s" };
        text.push_str(&format!("{errors} error{plural} in {}; nothing was run\n", source.name));
    }
    text
}

/// Lines up to this many bytes are shown whole.
const LONG_LINE: usize = 400;

/// The part of a line that is shown, and where it begins in the text.
fn excerpt<'t>(text: &'t str, line: &Range<usize>, at: usize) -> (&'t str, usize) {
    if line.len() <= LONG_LINE {
        return (text.get(line.clone()).unwrap_or_default(), line.start);
    }
    let boundary = |mut offset: usize| {
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    };
    let start = boundary(at.saturating_sub(80).max(line.start));
    let end = boundary((at + 160).min(line.end)).max(start);
    (text.get(start..end).unwrap_or_default(), start)
}

/// The most similar of several names, if one is similar enough to have been meant: the same but for case, or at most
/// one change for each three letters.
pub fn nearest<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Too long to be a slip of the hand, and the table would cost.
    if name.len() > 64 {
        return None;
    }
    let allowed = (name.chars().count() / 3).max(1);
    let scored = candidates.into_iter().map(|candidate| {
        let same_but_for_case = candidate.eq_ignore_ascii_case(name);
        (if same_but_for_case { 0 } else { edit_distance(name, candidate) }, candidate)
    });
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Insertions, deletions, changes and swaps of neighbours that turn one name into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (row, a) in from.chars().enumerate() {
        let mut current = Vec::with_capacity(above.len());
        current.push(row + 1);
        let mut previous_b = None;
        for (column, &b) in to.iter().enumerate() {
            let up = above.get(column + 1).copied().unwrap_or(usize::MAX);
            let diagonal = above.get(column).copied().unwrap_or(usize::MAX);
            let left = current.last().copied().unwrap_or(usize::MAX);
            let mut best = (up + 1).min(left + 1).min(diagonal + usize::from(a != b));
            if last == Some(b) && previous_b == Some(a) {
                let swapped = column.checked_sub(1).and_then(|c| before.get(c)).copied().unwrap_or(usize::MAX - 1);
                best = best.min(swapped + 1);
            }
            current.push(best);
            previous_b = Some(b);
        }
        last = Some(a);
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let fields = ["containers", "replicas", "nodeSelector", "type", "port", "ports"];
        for (name, want) in [
            ("container", Some("containers")),
            ("replica", Some("replicas")),
            ("nodeSelectors", Some("nodeSelector")),
            ("Type", Some("type")),
            ("prot", Some("port")),
            ("NODESELECTOR", Some("nodeSelector")),
            ("requests", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, fields), want, "{name}");
        }
    }

    #[test]
    fn an_unknown_field_shows_its_line_and_the_nearest_name() {
        let source = Source::new("shop.yaml", "spec:\n  tolerationSecond: 30\n");
        let problem = Problem {
            at: 8..24,
            field: "spec.tolerationSecond".into(),
            object: "Deployment checkout".into(),
            kind: Kind::UnknownField {
                name: "tolerationSecond".into(),
                nearest: Some("tolerationSeconds"),
                belongs_under: None,
                no_break_space: false,
                stored: false,
            },
        };
        insta::assert_snapshot!(render_all(&source, &[problem], false), @r"
        error[E0107]: unknown field `tolerationSecond`
         --> shop.yaml:2:3
          |
        2 |   tolerationSecond: 30
          |   ^^^^^^^^^^^^^^^^ did you mean `tolerationSeconds`?
          |
          = Deployment checkout, spec.tolerationSecond
        1 error in shop.yaml; nothing was run
        ");
    }

    #[test]
    fn a_long_line_is_cut_but_its_column_is_not() {
        let source = Source::new("a.json", format!("{}x{}", "-".repeat(1000), "+".repeat(1000)));
        let problem = Problem::of_text(1000..1001, Kind::NotBase64);
        let text = render(&source, &problem, false);
        assert!(text.contains("a.json:1:1001"), "{text}");
        assert!(text.lines().all(|line| line.len() < 300), "{text}");
    }
}
