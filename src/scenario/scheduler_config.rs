//! A KubeSchedulerConfiguration file as the settings of the scheduler, with every problem at its place.
//!
//! A ConfigMap that wraps one is read too, as the charts of other schedulers have it.

use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;

use crate::manifest::{self, Node, Problem, ProblemKind, Source, Value};
use crate::scheduler::Config;
use crate::scheduler::configuration::types::{Decode, KubeSchedulerConfiguration};
use crate::scheduler::configuration::{self, API_VERSION};
use crate::scheduler::framework::Plugin;

const KIND: &str = "KubeSchedulerConfiguration";

/// Reads the first object of `source`. `base` has what the file does not say; `others` are plug-ins that kube-scheduler does
/// not have and that the file may name. The settings are there only if kube-scheduler would start with the file.
pub fn read(source: &Source, base: Config, others: &[Arc<dyn Plugin>]) -> (Option<Config>, Vec<Problem>) {
    let (documents, mut problems) = manifest::documents_and_problems(source);
    let document = documents.iter().find(|document| document.value != Value::Null);
    let Some(document) = document else {
        problems.push(problem(0..0, "", say(format!("a {KIND} is expected here"), None)));
        return (None, problems);
    };
    if let Some(wrapped) = wrapped(document) {
        let text = wrapped.as_str().unwrap_or_default();
        let inner = Source::new(source.name.clone(), text);
        let (config, found) = read(&inner, base, others);
        let outer = Outer::new(source, wrapped, text);
        problems.extend(found.into_iter().map(|problem| Problem { at: outer.place(&problem.at), ..problem }));
        return (config.filter(|_| !problems.iter().any(Problem::is_error)), problems);
    }
    let text_of = |field: &str| document.get(field).and_then(Node::as_str).unwrap_or_default();
    let (api_version, kind) = (text_of("apiVersion"), text_of("kind"));
    if kind != KIND || api_version != API_VERSION {
        let message = match (api_version, kind) {
            (_, "") => format!("a {KIND} is expected here"),
            _ => format!("no kind {kind:?} is registered for version {api_version:?}"),
        };
        let at = document.place(if kind == KIND { "apiVersion" } else { "kind" });
        let hint = format!("kube-scheduler 1.36 reads {API_VERSION} {KIND} only");
        problems.push(problem(at, "", say(message, Some(hint))));
        return (None, problems);
    }
    let (given, found): (KubeSchedulerConfiguration, _) = manifest::decode(source, document, KIND, "");
    problems.extend(found);
    let mut decoder = Decoder { source, document, problems: Vec::new() };
    let (config, found) = configuration::compile(&given, base, others, &mut decoder);
    problems.append(&mut decoder.problems);
    for one in found {
        let kind = if one.is_warning {
            ProblemKind::Remark { message: one.message }
        } else if one.message.ends_with("does not exist") {
            let hint = "kube-scheduler has no such plug-in; those of other builds are not simulated";
            say(one.message, Some(hint.to_owned()))
        } else {
            ProblemKind::Invalid { message: one.message }
        };
        problems.push(problem(document.place(&one.path), &one.path, kind));
    }
    problems.sort_by_key(|problem| problem.at.start);
    (config.filter(|_| !problems.iter().any(Problem::is_error)), problems)
}

fn say(message: String, hint: Option<String>) -> ProblemKind {
    ProblemKind::Scenario { message, hint }
}

fn problem(at: Range<usize>, path: &str, kind: ProblemKind) -> Problem {
    Problem { at, field: path.to_owned(), object: KIND.to_owned(), kind }
}

/// The configuration inside a ConfigMap.
fn wrapped<'n, 'a>(document: &'n Node<'a>) -> Option<&'n Node<'a>> {
    if document.get("kind").and_then(Node::as_str) != Some("ConfigMap") {
        return None;
    }
    let Value::Map(entries) = &document.get("data")?.value else { return None };
    entries.iter().map(|(_, value)| value).find(|value| value.as_str().is_some_and(|text| text.contains(KIND)))
}

/// Decodes the arguments of plug-ins.
struct Decoder<'t> {
    source: &'t Source,
    document: &'t Node<'t>,
    problems: Vec<Problem>,
}

impl Decode for Decoder<'_> {
    fn decode<T: for<'t> Deserialize<'t> + Default>(&mut self, path: &str) -> T {
        let Some(node) = self.document.at_path(path) else { return T::default() };
        let (object, problems) = manifest::decode(self.source, node, KIND, path);
        self.problems.extend(problems);
        object
    }
}

/// Where the lines of a block scalar stand in the file around it.
struct Outer {
    /// The beginnings of the text's lines, and of the same lines in the file.
    lines: Vec<(usize, usize)>,
    all: Range<usize>,
}

impl Outer {
    fn new(source: &Source, node: &Node<'_>, text: &str) -> Outer {
        let written = source.text().get(node.span.clone()).unwrap_or_default();
        let mut lines = Vec::new();
        let mut inner = 0;
        let mut outer = node.span.start;
        let mut rest = text.split_inclusive('\n').peekable();
        for line in written.split_inclusive('\n') {
            // The first line may be the block's header; then lines follow one another, indented.
            if let Some(next) = rest.peek() {
                let content = next.trim_end_matches(['\r', '\n']);
                if let Some(at) = line.find(content).filter(|at| line[..*at].trim().is_empty()) {
                    lines.push((inner, outer + at));
                    inner += next.len();
                    rest.next();
                }
            }
            outer += line.len();
        }
        Outer { lines, all: node.span.clone() }
    }

    fn place(&self, at: &Range<usize>) -> Range<usize> {
        match self.lines.iter().rfind(|(inner, _)| *inner <= at.start) {
            Some((inner, outer)) => {
                let start = outer + (at.start - inner);
                start..start + at.len().min(80)
            }
            None => self.all.clone(),
        }
    }
}
