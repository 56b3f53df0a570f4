//! A recording in YAML, as `kubectl get pods -w -o yaml` prints it, as JSON.

use rustc_hash::FxHashSet;
use serde_json::Value;

use crate::manifest::{self, Source};

use super::read::{is_seen, text_of};

/// The documents of a text; what is cut off at its end is left out.
pub(super) fn documents(text: &str) -> Vec<Value> {
    let source = Source::new("recording", text);
    let (documents, _) = manifest::documents_and_problems(&source);
    documents.iter().map(value).collect()
}

/// True if these are watch events, or if some object stands there in two states: manifests have each once.
pub(super) fn is_recording(text: &str) -> bool {
    let mentions = |words: &str| text.contains(words);
    if !(mentions("resourceVersion:") && mentions("uid:")) {
        return false;
    }
    let mut uids = FxHashSet::default();
    documents(text).iter().any(|document| {
        if document.get("type").is_some() && document.get("object").is_some_and(is_seen) {
            return true;
        }
        let uid = document.get("metadata").map(|meta| text_of(meta, "uid")).unwrap_or_default();
        is_seen(document) && !uid.is_empty() && !uids.insert(uid)
    })
}

fn value(node: &manifest::Node<'_>) -> Value {
    match &node.value {
        manifest::Value::Null => Value::Null,
        manifest::Value::Bool(value) => Value::from(*value),
        manifest::Value::Int(value) => Value::from(*value),
        manifest::Value::Float(value) => Value::from(*value),
        manifest::Value::String(text) => Value::from(text.as_ref()),
        manifest::Value::Seq(items) => items.iter().map(value).collect(),
        manifest::Value::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.name.to_string(), value(node))).collect())
        }
    }
}
