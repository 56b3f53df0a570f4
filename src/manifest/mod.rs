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
pub use tree::{Node, Value};

/// The documents of a text, whatever they say: for what stands beside Kubernetes' objects in a file. Their problems are
/// those that [`load`](load()) finds.
pub fn documents(source: &Source) -> Vec<Node<'_>> {
    documents::read(source, &mut Vec::new())
}
