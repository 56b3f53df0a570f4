//! Kubernetes files: text to spanned tree to `k8s-openapi` object, with every problem of a file at its place.
//!
//! Read in this order: `source` (a named text), `tree` (what it says, and where), `documents` with `yaml`, `scalar` and
//! `json` (from one to the other, as kubectl does it), `decode` (from the tree to typed objects, as strict as the API
//! server), `kinds` (which kinds there are), `load` (all of it for a set of files), `finer` (where exactly), `problem` (what can
//! be wrong, and how it is shown). No file is opened here: `cli` reads them.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

pub mod compile;
mod decode;
mod documents;
pub mod epoch;
mod finer;
mod json;
pub mod kinds;
pub mod load;
pub mod not_modelled;
mod older;
pub mod print;
pub mod problem;
mod scalar;
pub mod source;
pub mod tree;
mod yaml;

pub use compile::{Compiled, Compiler, Invalid};
pub use epoch::Epoch;
pub use kinds::Decoded;
pub use load::{Loaded, LoadedObject, load};
pub use not_modelled::NotModelled;
pub use problem::{Kind, Kind as ProblemKind, Problem, Severity, nearest, render_all};
pub use source::Source;
pub use tree::{Key, Node, Value};

/// The documents of a text, whatever they say: for what stands beside Kubernetes' objects in a file. Their problems are
/// those that [`load`](load()) finds.
pub fn documents(source: &Source) -> Vec<Node<'_>> {
    documents::read(source, &mut Vec::new())
}

/// The same with the problems of the text.
pub fn documents_and_problems(source: &Source) -> (Vec<Node<'_>>, Vec<Problem>) {
    let mut problems = Vec::new();
    let documents = documents::read(source, &mut problems);
    (documents, problems)
}

/// An object of a text as a type of somebody else's, as strictly as the API server decodes its own: fields that the type does
/// not have are problems, and so are values of other types. `object` names it for people; `path` is where it stands in the
/// object that problems tell of.
pub fn decode<'t, T: serde::Deserialize<'t> + Default>(
    source: &'t Source,
    node: &'t Node<'t>,
    object: &str,
    path: &str,
) -> (T, Vec<Problem>) {
    let context = decode::Context::new(source.text(), object.to_owned(), false);
    let decoded = context.decode(node).unwrap_or_default();
    let mut problems = context.into_problems();
    if !path.is_empty() {
        for problem in &mut problems {
            let dot = if problem.field.is_empty() || problem.field.starts_with('[') { "" } else { "." };
            problem.field = format!("{path}{dot}{}", problem.field);
        }
    }
    (decoded, problems)
}
