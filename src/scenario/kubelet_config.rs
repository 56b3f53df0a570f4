//! KubeletConfiguration files as the settings of kubelets, with every problem at its place.
//!
//! A file may be kubeadm's, in which the KubeletConfiguration stands beside other documents. Further files are laid over the
//! first, as the kubelet does it with the drop-ins of `--config-dir`.

use crate::kubelet::KubeletConfiguration;
use crate::kubelet::configuration::types::{self, Overlay};
use crate::kubelet::configuration::{self, API_VERSION};
use crate::manifest::{self, Node, Problem, ProblemKind, Source, Value, nearest};
use crate::model::feature_gates;

const KIND: &str = "KubeletConfiguration";

/// What came of the files.
#[derive(Debug, Default)]
pub struct Read {
    /// The settings, if the kubelet would start with the files.
    pub settings: Option<KubeletConfiguration>,
    /// The problems with their file, as an index into the sources.
    pub problems: Vec<(usize, Problem)>,
    /// The fields that the files name and from which nothing follows in a simulation: `logging.verbosity`.
    pub without_effect: Vec<String>,
}

/// Reads the files, the first one first.
pub fn read(sources: &[&Source]) -> Read {
    let mut read = Read::default();
    let texts: Vec<(Vec<Node<'_>>, Vec<Problem>)> =
        sources.iter().map(|source| manifest::documents_and_problems(source)).collect();
    let mut whole = types::KubeletConfiguration::default();
    let mut found: Vec<(usize, &Node<'_>)> = Vec::new();
    for (index, ((documents, problems), source)) in texts.iter().zip(sources).enumerate() {
        read.problems.extend(problems.iter().map(|problem| (index, problem.clone())));
        match document(documents) {
            Ok(document) => {
                let (given, problems) = manifest::decode::<types::KubeletConfiguration>(source, document, KIND, "");
                read.problems.extend(problems.into_iter().map(|problem| (index, problem)));
                whole.overlay(given);
                found.push((index, document));
            }
            // A text that can't be read has said why.
            Err(_) if problems.iter().any(Problem::is_error) => {}
            Err(problem) => read.problems.push((index, *problem)),
        }
    }
    let (settings, problems) = configuration::compile(&whole);
    for problem in problems {
        // The file that says it last is the one that means it.
        let says = |(_, document): &&(usize, &Node<'_>)| document.at_path(&problem.path).is_some();
        let Some((index, document)) = found.iter().rev().find(says).or(found.first()) else { continue };
        let kind = match problem.is_warning {
            true => ProblemKind::Remark { message: problem.message },
            false => ProblemKind::Scenario { hint: hint(&problem.path), message: problem.message },
        };
        let at = document.place(&problem.path);
        // A value of the wrong type has been told of.
        if read.problems.iter().any(|(of, known)| of == index && known.at == at && known.is_error()) {
            continue;
        }
        read.problems.push((*index, Problem { at, field: problem.path, object: KIND.to_owned(), kind }));
    }
    for (_, document) in &found {
        fields_without_effect(document, "", &mut read.without_effect);
    }
    read.problems.sort_by_key(|(index, problem)| (*index, problem.at.start));
    let usable = !found.is_empty() && !read.problems.iter().any(|(_, problem)| problem.is_error());
    read.settings = settings.filter(|_| usable);
    read
}

/// The KubeletConfiguration among the documents of a file.
fn document<'n, 'a>(documents: &'n [Node<'a>]) -> Result<&'n Node<'a>, Box<Problem>> {
    let text_of = |node: &Node<'_>, field: &str| node.get(field).and_then(Node::as_str).unwrap_or_default().to_owned();
    let some = |node: &&Node<'_>| node.value != Value::Null;
    let ours = documents.iter().filter(some).find(|node| text_of(node, "kind") == KIND);
    let (at, message) = match (ours, documents.iter().find(some)) {
        (Some(node), _) if text_of(node, "apiVersion") == API_VERSION => return Ok(node),
        (Some(node), _) => {
            let version = text_of(node, "apiVersion");
            (node.place("apiVersion"), format!("no kind {KIND:?} is registered for version {version:?}"))
        }
        (None, Some(node)) => {
            let at = node.place("kind");
            match (text_of(node, "apiVersion"), text_of(node, "kind")) {
                (_, kind) if kind.is_empty() => (at, format!("a {KIND} is expected here")),
                (version, kind) => (at, format!("a {KIND} is expected here, not {version} {kind}")),
            }
        }
        (None, None) => (0..0, format!("a {KIND} is expected here")),
    };
    let hint = Some(format!("the kubelet of 1.36 reads {API_VERSION} {KIND} only"));
    let kind = ProblemKind::Scenario { message, hint };
    Err(Box::new(Problem { at, field: String::new(), object: String::new(), kind }))
}

/// The gate that was meant.
fn hint(path: &str) -> Option<String> {
    let name = path.strip_prefix("featureGates[")?.trim_end_matches(']');
    match nearest(name, feature_gates::names()) {
        Some(known) if known != name => Some(format!("did you mean `{known}`?")),
        Some(_) => None,
        None => Some("Kubernetes 1.36 has no such gate, and its kubelet does not start with it".to_owned()),
    }
}

/// Collects the paths of the scalars and lists that stand in `node` and have no effect.
fn fields_without_effect(node: &Node<'_>, path: &str, into: &mut Vec<String>) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let path = if path.is_empty() { key.name.to_string() } else { format!("{path}.{}", key.name) };
                if !configuration::has_effect(&path) {
                    fields_without_effect(value, &path, into);
                }
            }
        }
        Value::Null => {}
        _ if into.iter().any(|known| known == path) => {}
        _ => into.push(path.to_owned()),
    }
}
