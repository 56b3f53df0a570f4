//! Files to decoded objects: all documents of all sources, Lists flattened, each kind counted that is passed over, and
//! all problems of all files.
//!
//! Kubernetes: what `kubectl apply -R -f` does before it talks to a server (`cli-runtime/pkg/resource/builder.go`,
//! `visitor.go`), and what the API server's decoder does then.

use std::ops::Range;

use indexmap::IndexMap;
use rustc_hash::FxHashSet;

use super::decode::Context;
use super::documents;
use super::kinds::{Decoded, Known, Served, group_of, look_up};
use super::problem::{Kind, Problem, nearest};
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
    /// Its place in the List that it stands in.
    pub item: Option<usize>,
    /// It comes from a cluster: it has a uid, or its file is a dump.
    pub stored: bool,
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
        let path = path.into();
        let object = object_name_of(self.decoded.api_version_and_kind().1, &self.node);
        let at = match &kind {
            Kind::Invalid { message } => super::finer::place(&self.node, &path, message),
            _ => self.place(&path),
        };
        Problem { at, field: in_list(self.item, path), object, kind }
    }

    /// Whether validation need not say this, because what was reported before explains it: a problem at this field, around
    /// it or inside it; and of what is required, any field that could not be read, which may be it under a wrong name.
    pub fn is_explained(&self, path: &str, message: &str) -> bool {
        self.is_reported(path) || (message.starts_with("Required value") && !self.reported.is_empty())
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

/// What is passed over, a line each in the order of first sight, for people. Empty if nothing is.
pub fn render_passed_over(loaded: &Loaded<'_>, sources: &[Source]) -> String {
    let mut text = String::new();
    for (KindName { api_version, kind }, passed_over) in &loaded.passed_over {
        let Some(source) = sources.get(passed_over.source) else { continue };
        let line = source.place(passed_over.at.start).line;
        let count = passed_over.count;
        text += &format!(
            "warning: {kind} ({api_version}) is not simulated; {count} passed over, first at {}:{line}\n",
            source.name
        );
    }
    text
}

/// Loads sources in their order. Never fails: what is wrong is in `problems`.
pub fn load(sources: &[Source]) -> Loaded<'_> {
    let mut loaded = Loaded { problems: vec![Vec::new(); sources.len()], ..Loaded::default() };
    for (idx, source) in sources.iter().enumerate() {
        let mut file = File { idx, source, loaded: &mut loaded, problems: Vec::new(), seen: FxHashSet::default() };
        let documents = documents::read(source, &mut file.problems);
        if documents.iter().all(|node| node.value == Value::Null) && !file.problems.iter().any(Problem::is_error) {
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

/// An object whose kind is known.
struct Found<'a> {
    node: Node<'a>,
    api_version: String,
    kind: String,
    item: Option<usize>,
    stored: bool,
}

struct File<'a, 'l> {
    idx: usize,
    source: &'a Source,
    loaded: &'l mut Loaded<'a>,
    problems: Vec<Problem>,
    /// Group, kind, namespace and name of the objects so far. Looked up, never iterated.
    seen: FxHashSet<(&'static str, &'static str, String, String)>,
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
        self.object(node, None, None);
    }

    /// A range without what stands after its first line.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let text = self.source.text().get(span.clone()).unwrap_or_default();
        span.start..span.start + text.find(['\n', '\r']).unwrap_or(text.len())
    }

    /// An object, or a List of them. `of_list` is what a list around it says about it.
    fn object(&mut self, node: Node<'a>, of_list: Option<&ItemKind>, item: Option<usize>) {
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
        // What has a uid was in a cluster once, and all its fields were fields there.
        let stored = self.source.is_dump || node.at_path("metadata.uid").is_some();
        match look_up(&api_version, &kind) {
            Known::Served(served) => self.decode(served, Found { node, api_version, kind, item, stored }),
            Known::Foreign => self.pass_over(&node, api_version, kind),
            Known::NotServed => {
                let not_served = Kind::NotServed { kind: kind.clone(), api_version: api_version.clone() };
                self.report(&node, "apiVersion", not_served);
                self.pass_over(&node, api_version, kind);
            }
            Known::Elsewhere { served, .. } if stored => {
                let read_as = served.api_version;
                let old = Kind::OldVersion { kind: kind.clone(), api_version: api_version.clone(), served: read_as };
                self.report(&node, "apiVersion", old);
                self.decode(served, Found { node, api_version, kind, item, stored });
            }
            Known::Elsewhere { served, group } => {
                // A group that exists has another kind's place: its name is wrong. Else the whole line is.
                let exists = group && group_of(&api_version) != "extensions";
                let at = node.place("apiVersion");
                let key = node.place_of_key("apiVersion");
                let at = if exists || key.start > at.start { at } else { key.start..at.end };
                let kind = Kind::WrongVersion { kind, api_version, served: served.api_version };
                self.report_at(&node, at, "apiVersion", kind);
            }
            Known::Unknown { nearest } => {
                self.report(&node, "kind", Kind::UnknownKind { kind, api_version, nearest });
            }
        }
    }

    fn decode(&mut self, served: &Served, found: Found<'a>) {
        let Found { node, api_version, kind, item, stored } = found;
        let cx = Context::new(self.source.text(), object_name_of(&kind, &node), stored);
        let decoded = (served.decode)(&cx, &node);
        let problems = cx.into_problems();
        let reported = problems.iter().map(|p| p.field.clone()).collect();
        self.problems.extend(problems);
        let Some(decoded) = decoded else { return self.pass_over(&node, api_version, kind) };
        self.warn_if_double(&node, served);
        self.loaded.objects.push(LoadedObject { source: self.idx, node, decoded, item, stored, reported });
    }

    /// With `kubectl apply` the second of two objects of one name wins; it is almost always a slip.
    fn warn_if_double(&mut self, node: &Node<'a>, served: &Served) {
        let text = |path: &str| node.at_path(path).and_then(Node::as_str).map(str::to_owned);
        let Some(name) = text("metadata.name") else { return };
        let namespace = text("metadata.namespace").unwrap_or_default();
        if !self.seen.insert((group_of(served.api_version), served.kind, namespace, name)) {
            self.report(node, "metadata.name", Kind::DuplicateObject);
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
                problem.field = in_list(Some(idx), String::new());
                self.problems.push(problem);
                continue;
            }
            let before = self.problems.len();
            self.object(item, Some(item_kind), Some(idx));
            for problem in self.problems.iter_mut().skip(before) {
                problem.field = in_list(Some(idx), std::mem::take(&mut problem.field));
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
                    self.report(node, field, Kind::WrongType { wanted: "a string", found, write: None });
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
                None => self.missing(node, "kind", Kind::MissingKind),
            },
            (None, Some(kind)) => match from_list {
                Some(list) => Some((list.api_version.clone(), kind)),
                None => self.missing(node, "apiVersion", Kind::MissingApiVersion),
            },
        }
    }

    /// Points at the object's beginning, or at the key that was meant.
    fn missing<T>(&mut self, node: &Node<'a>, field: &str, kind: Kind) -> Option<T> {
        let keys = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        let meant = keys.iter().find(|(key, _)| key.name != field && nearest(&key.name, [field]).is_some());
        let at = meant.map_or(&node.span, |(key, _)| &key.span);
        self.report_at(node, at.clone(), "", kind);
        None
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

/// The path of a field from the top of its document.
fn in_list(item: Option<usize>, path: String) -> String {
    match item {
        None => path,
        Some(idx) if path.is_empty() => format!("items[{idx}]"),
        Some(idx) => format!("items[{idx}].{path}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The objects with their line and kind, what was passed over, and the problems.
    #[track_caller]
    fn check(text: &str, objects: &[&str], passed_over: &[&str], problems: &[&str]) {
        let sources = [Source::new("f", text)];
        let loaded = load(&sources);
        let line = |at: &Range<usize>| sources[0].place(at.start).line;
        let got: Vec<_> =
            loaded.objects.iter().map(|o| format!("{} {}", line(&o.node.span), object_name(&o.node))).collect();
        assert_eq!(got, objects);
        let got: Vec<_> = loaded
            .passed_over
            .iter()
            .map(|(name, p)| format!("{} {} {}", p.count, name.api_version, name.kind))
            .collect();
        assert_eq!(got, passed_over);
        let got: Vec<_> =
            loaded.problems[0].iter().map(|p| format!("{} {} {}", line(&p.at), p.kind.code(), p.field)).collect();
        assert_eq!(got, problems);
    }

    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

    #[test]
    fn documents_and_lists_become_objects_in_their_order() {
        let other = NAMESPACE.replace("name: a", "name: b");
        check(&format!("{NAMESPACE}---\n{other}"), &["1 Namespace a", "5 Namespace b"], &[], &[]);
        check(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n",
            &["4 Pod", "5 Node n1"],
            &[],
            &[],
        );
        check("{apiVersion: v1, kind: PodList, items: [{metadata: {name: p}}]}", &["1 p"], &[], &[]);
        check("{apiVersion: v1, kind: PodList, items: null}", &[], &[], &[]);
    }

    #[test]
    fn lists_that_kubectl_does_not_read_are_refused() {
        check("{apiVersion: v1, kind: List}", &[], &[], &["1 E0117 kind"]);
        check(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: []\n- text\n- {kind: Pod}\n",
            &[],
            &[],
            &["5 E0117 items[0].kind", "7 E0118 items[1]", "8 E0113 items[2]"],
        );
    }

    #[test]
    fn kinds_that_are_not_simulated_are_counted() {
        let foreign = "{apiVersion: example.dev/v1, kind: Widget, any: thing}";
        let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, rule: []}";
        let alpha = "{apiVersion: scheduling.k8s.io/v1alpha2, kind: Workload}";
        check(
            &format!("{foreign}\n---\n{role}\n---\n{foreign}\n---\n{alpha}"),
            &[],
            &[
                "2 example.dev/v1 Widget",
                "1 rbac.authorization.k8s.io/v1 Role",
                "1 scheduling.k8s.io/v1alpha2 Workload",
            ],
            &["3 E0107 rule", "7 E0116 apiVersion"],
        );
        check(
            "{apiVersion: example.dev/v1, kind: WidgetList, items: [{}, {}]}",
            &[],
            &["2 example.dev/v1 Widget"],
            &[],
        );
    }

    #[test]
    fn an_object_that_stands_twice_in_a_file_is_a_warning() {
        let pod = |name: &str, namespace: &str| {
            format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}}}")
        };
        let text = [pod("a", "x"), pod("b", "x"), pod("a", "z"), pod("a", "x")].join("\n---\n");
        check(&text, &["1 Pod a", "3 Pod b", "5 Pod a", "7 Pod a"], &[], &["7 E0126 metadata.name"]);
    }

    #[test]
    fn what_is_passed_over_is_said_in_a_line_for_each_kind() {
        let sources = [Source::new("f.yaml", "\n{apiVersion: example.dev/v1, kind: WidgetList, items: [{}, {}]}")];
        let text = render_passed_over(&load(&sources), &sources);
        assert_eq!(text, "warning: Widget (example.dev/v1) is not simulated; 2 passed over, first at f.yaml:2\n");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        check("text", &[], &[], &["1 E0118 "]);
        check("{a: 1}", &[], &[], &["1 E0113 "]);
        check("{apiVersion: 1, kind: Pod}", &[], &[], &["1 E0108 apiVersion"]);
        check("# nothing\n---\n", &[], &[], &["1 E0119 "]);
        check("null\n---\n~\n", &[], &[], &["1 E0119 "]);
        check("apiVersion: v1\nKind: Pod\n", &[], &[], &["2 E0113 "]);
        check("{apiVersion: '', kind: Pod}", &[], &[], &["1 E0113 "]);
    }

    #[test]
    fn a_pod_or_node_without_its_kind_is_known_by_its_fields() {
        check("{metadata: {name: p}, spec: {containers: []}}", &["1 p"], &[], &["1 E0124 "]);
        check("{metadata: {name: n1}, status: {nodeInfo: {}}}", &["1 n1"], &[], &["1 E0124 "]);
    }

    #[test]
    fn a_folder_gives_its_manifests_in_kubectls_order() {
        let listing = ["b.yaml", "a/c.yml", "README.md", "a-b.json", "a.yaml", "a/b/d.json", "yaml", "x.yaml.bak"];
        assert_eq!(files_of_folder(listing), ["a/b/d.json", "a/c.yml", "a-b.json", "a.yaml", "b.yaml"]);
    }

    #[test]
    fn fields_that_have_a_problem_are_known() {
        let text = "{apiVersion: v1, kind: Pod, spec: {containers: [{image: 5}]}}";
        let sources = [Source::new("f", text)];
        let loaded = load(&sources);
        let pod = &loaded.objects[0];
        let asked = [
            "spec.containers[0].image",
            "spec.containers",
            "spec.containers[0].image.x",
            "spec.containers[1]",
            "spec.con",
        ];
        assert_eq!(asked.map(|path| pod.is_reported(path)), [true, true, true, false, false]);
        assert_eq!(text.get(pod.place("spec.containers[0].image")), Some("5"));
    }
}
