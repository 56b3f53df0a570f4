//! A workload, a budget or a slice of endpoints from JSON, as facts care for it: what is counted in spec and status, its conditions.
//!
//! Both sides come through here: recordings are JSON, and a simulated object is printed as kubectl would print it.

use serde_json::Value;

use super::read::{conditions, deletion, list, owner, text_of, time_of};
use super::seen::{Field, Seen, without_random};

/// The kinds whose facts are compared, beside pods and nodes.
pub(super) const KINDS: &[&str] = &[
    "CronJob",
    "DaemonSet",
    "Deployment",
    "EndpointSlice",
    "Job",
    "PodDisruptionBudget",
    "ReplicaSet",
    "ReplicationController",
    "Service",
    "StatefulSet",
];

/// What of a spec changes while a workload lives.
const SPEC: &[&str] = &["replicas", "paused", "suspend", "parallelism", "completions"];

/// What of a status has no counterpart: bookkeeping between two writes.
const PASSING: &[&str] = &["uncountedTerminatedPods", "collisionCount"];

/// The object's state.
pub(super) fn seen(object: &Value) -> Seen {
    let none = Value::Null;
    let part = |name: &str| object.get(name).unwrap_or(&none);
    let (meta, status) = (part("metadata"), part("status"));
    let mut fields = Vec::new();
    for name in SPEC {
        fields.extend(part("spec").get(*name).and_then(|value| field(&format!("spec {name}"), value)));
    }
    for (name, value) in status.as_object().into_iter().flatten() {
        if name != "conditions" && !PASSING.contains(&name.as_str()) {
            fields.extend(field(&format!("status {name}"), value));
        }
    }
    fields.extend(list(object, "endpoints").map(endpoint));
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let mut conditions = conditions(status);
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    Seen {
        kind: text_of(object, "kind"),
        namespace: text_of(meta, "namespace"),
        name: text_of(meta, "name"),
        uid: text_of(meta, "uid"),
        owner: owner(meta),
        created: time_of(meta, "creationTimestamp").unwrap_or_default(),
        conditions,
        deletion: deletion(meta),
        fields,
        ..Seen::default()
    }
}

/// A field unless it has its default; lists and maps by how much is in them.
fn field(name: &str, value: &Value) -> Option<Field> {
    let (value, shown, own, gone) = match value {
        Value::Number(number) if number.as_i64() != Some(0) => {
            (number.to_string(), format!(" {number}"), None, format!("{name} 0"))
        }
        Value::Bool(true) => ("true".to_owned(), " true".to_owned(), None, format!("{name} false")),
        Value::String(text) if !text.is_empty() => {
            let own = time_of(&serde_json::json!({"at": text}), "at");
            // When it came tells when it was; which one it is tells its own time.
            let shown = if own.is_some() { String::new() } else { format!(" {}", without_random(text)) };
            (text.clone(), shown, own, format!("{name} gone"))
        }
        Value::Array(items) if !items.is_empty() => {
            (format!("{items:?}"), format!(" {}", items.len()), None, format!("{name} 0"))
        }
        Value::Object(items) if !items.is_empty() => {
            (format!("{items:?}"), format!(" {}", items.len()), None, format!("{name} 0"))
        }
        _ => return None,
    };
    let words = format!("{name}{shown}");
    Some(Field { name: name.to_owned(), value, words, gone, own })
}

/// `endpoint web-*-* ready serving`.
fn endpoint(endpoint: &Value) -> Field {
    let none = Value::Null;
    let conditions = endpoint.get("conditions").unwrap_or(&none);
    let pod = match text_of(endpoint.get("targetRef").unwrap_or(&none), "name") {
        none if none.is_empty() => list(endpoint, "addresses").filter_map(Value::as_str).collect(),
        pod => pod,
    };
    let is = |condition: &str| conditions.get(condition) == Some(&Value::Bool(true));
    let mut value = String::new();
    for condition in ["ready", "serving", "terminating"] {
        if is(condition) {
            value.push(' ');
            value.push_str(condition);
        }
    }
    let shown = format!("endpoint {}", without_random(&pod));
    let words = if value.is_empty() { format!("{shown} unready") } else { format!("{shown}{value}") };
    Field { name: format!("endpoint {pod}"), value, words, gone: format!("{shown} gone"), own: None }
}
