//! Files to decoded objects: all documents of all sources, Lists flattened, each kind counted that is passed over, and
//! all problems of all files.
//!
//! Kubernetes: what `kubectl apply -R -f` does before it talks to a server (`cli-runtime/pkg/resource/builder.go`,
//! `visitor.go`), and what the API server's decoder does then.

use std::ops::Range;

use indexmap::IndexMap;

use super::decode::Context;
use super::documents;
use super::kinds::{Decoded, Known, group_of, look_up};
use super::problem::{Kind, Problem};
use super::source::Source;
use super::tree::{Node, Value};

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Loaded<'a> {
    /// The objects of kinds that we know, in the order of the files.
    pub objects: Vec<LoadedObject<'a>>,
    /// What is passed over because we do not simulate it, in order of first sight.
    pub passed_over: IndexMap<KindName, PassedOver>,
    /// The problems of each source, by its index, in the order of its text.
    pub problems: Vec<Vec<Problem>>,
}

/// An apiVersion and a kind as a file has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KindName {
    /// `cert-manager.io/v1`.
    pub api_version: String,
    /// `Certificate`.
    pub kind: String,
}

/// How often a kind was passed over, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// How many objects.
    pub count: usize,
    /// The source of the first.
    pub source: usize,
    /// Its `kind` there.
    pub at: Range<usize>,
}

/// An object of a kind that we know.
#[derive(Debug)]
pub struct LoadedObject<'a> {
    /// The index of its source.
    pub source: usize,
    /// The object's tree, for the places of its fields.
    pub node: Node<'a>,
    /// Decoded; fields that had a problem are at their type's zero.
    pub decoded: Decoded,
    /// The fields that already have a problem, so that validation need not repeat it.
    pub reported: Vec<String>,
}

impl LoadedObject<'_> {
    /// The place of a field (`spec.template.spec.containers[0].image`); see `Node::place`.
    pub fn place(&self, path: &str) -> Range<usize> {
        self.node.place(path)
    }

    /// A problem of a field of this object, for validation.
    pub fn problem(&self, path: impl Into<String>, kind: Kind) -> Problem {
        let field = path.into();
        Problem { at: self.place(&field), field, object: object_name(&self.node), kind }
    }

    /// Whether a problem was reported at this field, around it or inside it.
    pub fn is_reported(&self, path: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.reported.iter().any(|field| within(path, field) || within(field, path))
    }
}

impl Loaded<'_> {
    /// Whether any file has a problem that keeps it from being used.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().flatten().any(Problem::is_error)
    }
}

/// Loads sources in their order. Never fails: what is wrong is in `problems`.
pub fn load(sources: &[Source]) -> Loaded<'_> {
    let mut loaded = Loaded { problems: vec![Vec::new(); sources.len()], ..Loaded::default() };
    for (idx, source) in sources.iter().enumerate() {
        let mut file = File { idx, source, loaded: &mut loaded, problems: Vec::new() };
        let documents = documents::read(source, &mut file.problems);
        if documents.is_empty() && !file.problems.iter().any(Problem::is_error) {
            file.problems.push(Problem::of_text(0..0, Kind::NoObjects));
        }
        for document in documents {
            file.document(document);
        }
        let mut problems = file.problems;
        problems.sort_by_key(|problem| problem.at.start);
        if let Some(slot) = loaded.problems.get_mut(idx) {
            *slot = problems;
        }
    }
    loaded
}

/// The files of a folder that are read, in the order in which kubectl reads them: `.json`, `.yaml` and `.yml`, at any
/// depth, each folder's entries by name. Paths have `/` between their parts. Kubernetes: `resource.FileExtensions`,
/// `filepath.Walk`.
pub fn files_of_folder<P: AsRef<str>>(listing: impl IntoIterator<Item = P>) -> Vec<P> {
    let wanted = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').is_some_and(|(_, extension)| matches!(extension, "json" | "yaml" | "yml"))
    };
    let mut files: Vec<P> = listing.into_iter().filter(|path| wanted(path.as_ref())).collect();
    files.sort_by(|a, b| a.as_ref().split('/').cmp(b.as_ref().split('/')));
    files
}

struct File<'a, 'l> {
    idx: usize,
    source: &'a Source,
    loaded: &'l mut Loaded<'a>,
    problems: Vec<Problem>,
}

/// The apiVersion and kind that a typed list gives its items.
#[derive(Clone)]
struct ItemKind {
    api_version: String,
    kind: String,
}

impl<'a> File<'a, '_> {
    fn document(&mut self, node: Node<'a>) {
        if !matches!(node.value, Value::Map(_)) {
            // Text with nothing but comments is no document; `null` is one that kubectl passes over.
            if !matches!(node.value, Value::Null) {
                let kind = Kind::NotAnObject { found: node.describe() };
                self.problems.push(Problem::of_text(self.first_line(&node.span), kind));
            }
            return;
        }
        self.object(node, None);
    }

    /// A range without what stands after its first line.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let text = self.source.text().get(span.clone()).unwrap_or_default();
        span.start..span.start + text.find(['\n', '\r']).unwrap_or(text.len())
    }

    /// An object, or a List of them. `of_list` is what a list around it says about it.
    fn object(&mut self, node: Node<'a>, of_list: Option<&ItemKind>) {
        let Some((api_version, kind)) = self.type_meta(&node, of_list) else { return };
        let items = matches!(node.get("items").map(|n| &n.value), Some(Value::Seq(_) | Value::Null));
        let is_list = kind == "List" && api_version == "v1";
        let typed = kind.strip_suffix("List").filter(|item| !item.is_empty());
        if is_list || (typed.is_some() && items) {
            if of_list.is_some() {
                self.report(&node, "kind", Kind::ListInList);
                return;
            }
            if !items {
                self.report(&node, "kind", Kind::ListWithoutItems);
                return;
            }
            let item_kind = typed.map(|kind| ItemKind { api_version, kind: kind.to_owned() });
            let nothing = ItemKind { api_version: String::new(), kind: String::new() };
            self.items(node, &item_kind.unwrap_or(nothing));
            return;
        }
        match look_up(&api_version, &kind) {
            Known::Served(served) => {
                let cx = Context::new(self.source.text(), object_name_of(&kind, &node));
                let decoded = (served.decode)(&cx, &node);
                let problems = cx.into_problems();
                let reported = problems.iter().map(|p| p.field.clone()).collect();
                self.problems.extend(problems);
                match decoded {
                    Some(decoded) => {
                        self.loaded.objects.push(LoadedObject { source: self.idx, node, decoded, reported });
                    }
                    None => self.pass_over(&node, api_version, kind),
                }
            }
            Known::Foreign => self.pass_over(&node, api_version, kind),
            Known::NotServed => {
                self.report(
                    &node,
                    "apiVersion",
                    Kind::NotServed { kind: kind.clone(), api_version: api_version.clone() },
                );
                self.pass_over(&node, api_version, kind);
            }
            Known::Elsewhere { served, group } => {
                // A group that exists has another kind's place: its name is wrong. Else the whole line is.
                let exists = group && group_of(&api_version) != "extensions";
                let at = node.place("apiVersion");
                let key = node.place_of_key("apiVersion");
                let at = if exists || key.start > at.start { at } else { key.start..at.end };
                let kind = Kind::WrongVersion { kind, api_version, served };
                self.report_at(&node, at, "apiVersion", kind);
            }
            Known::Unknown { nearest } => {
                self.report(&node, "kind", Kind::UnknownKind { kind, api_version, nearest });
            }
        }
    }

    /// Each item of a List. An item without apiVersion and kind takes those of its typed list.
    fn items(&mut self, node: Node<'a>, item_kind: &ItemKind) {
        let Value::Map(entries) = node.value else { return };
        let items = entries.into_iter().find(|(key, _)| key.name == "items");
        let Some((_, Node { value: Value::Seq(items), .. })) = items else { return };
        for (idx, item) in items.into_iter().enumerate() {
            if !matches!(item.value, Value::Map(_)) {
                let kind = Kind::NotAnObject { found: item.describe() };
                let mut problem = Problem::of_text(self.first_line(&item.span), kind);
                problem.field = format!("items[{idx}]");
                self.problems.push(problem);
                continue;
            }
            let before = self.problems.len();
            self.object(item, Some(item_kind));
            for problem in self.problems.iter_mut().skip(before) {
                let dot = if problem.field.is_empty() { "" } else { "." };
                problem.field = format!("items[{idx}]{dot}{}", problem.field);
            }
        }
    }

    /// The apiVersion and kind of an object, or a problem.
    fn type_meta(&mut self, node: &Node<'a>, of_list: Option<&ItemKind>) -> Option<(String, String)> {
        let mut read = |field: &str| match node.get(field) {
            None => Ok(None),
            Some(Node { value: Value::Null, .. }) => Ok(None),
            Some(value) => match value.as_str() {
                Some("") => Ok(None),
                Some(text) => Ok(Some(text.to_owned())),
                None => {
                    let found = value.describe().to_owned();
                    self.report(node, field, Kind::WrongType { wanted: "a string", found, quote: None });
                    Err(())
                }
            },
        };
        let (api_version, kind) = (read("apiVersion").ok()?, read("kind").ok()?);
        let from_list = of_list.filter(|list| !list.kind.is_empty());
        match (api_version, kind) {
            (Some(api_version), Some(kind)) => Some((api_version, kind)),
            (None, None) if from_list.is_some() => from_list.map(|l| (l.api_version.clone(), l.kind.clone())),
            (None, None) => self.without_type_meta(node),
            (api_version, None) => match from_list {
                Some(list) => Some((api_version.unwrap_or_default(), list.kind.clone())),
                None => {
                    self.report_at(node, self.first_line(&node.span), "", Kind::MissingKind);
                    None
                }
            },
            (None, Some(kind)) => match from_list {
                Some(list) => Some((list.api_version.clone(), kind)),
                None => {
                    self.report_at(node, self.first_line(&node.span), "", Kind::MissingApiVersion);
                    None
                }
            },
        }
    }

    /// Some tools store objects without saying what they are: pods and nodes show it by their fields.
    fn without_type_meta(&mut self, node: &Node<'a>) -> Option<(String, String)> {
        let has = |path: &str| node.at_path(path).is_some();
        let at = self.first_line(&node.span);
        let guessed = match () {
            () if !has("metadata.name") => None,
            () if has("spec.containers") => Some(("v1 Pod", "Pod")),
            () if has("status.nodeInfo") || has("status.allocatable") => Some(("v1 Node", "Node")),
            () => None,
        };
        if let Some((taken_for, kind)) = guessed {
            self.problems.push(Problem::of_text(at, Kind::KindGuessed { taken_for }));
            return Some(("v1".to_owned(), kind.to_owned()));
        }
        let kind = if self.source.from_folder { Kind::NotKubernetes } else { Kind::MissingKind };
        self.problems.push(Problem::of_text(at, kind));
        None
    }

    fn pass_over(&mut self, node: &Node<'a>, api_version: String, kind: String) {
        let (source, at) = (self.idx, node.place("kind"));
        let entry = self.loaded.passed_over.entry(KindName { api_version, kind });
        entry.or_insert(PassedOver { count: 0, source, at }).count += 1;
    }

    fn report(&mut self, node: &Node<'a>, field: &str, kind: Kind) {
        self.report_at(node, node.place(field), field, kind);
    }

    fn report_at(&mut self, node: &Node<'a>, at: Range<usize>, field: &str, kind: Kind) {
        let at = self.first_line(&at);
        self.problems.push(Problem { at, field: field.to_owned(), object: object_name(node), kind });
    }
}

/// `Deployment web`, for messages.
fn object_name(node: &Node<'_>) -> String {
    object_name_of(node.get("kind").and_then(Node::as_str).unwrap_or_default(), node)
}

fn object_name_of(kind: &str, node: &Node<'_>) -> String {
    let name = node.at_path("metadata.name").and_then(Node::as_str).unwrap_or_default();
    format!("{kind} {name}").trim().to_owned()
}
