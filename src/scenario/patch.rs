//! `kubectl patch`: a strategic merge patch, a JSON merge patch or a JSON patch of what the API server holds.
//!
//! The object is printed, the patch is applied to its JSON, and the result is compiled as a manifest is; the API server
//! then validates it as an update. The status stays as it is: subresources are not patched here.
//!
//! Kubernetes: staging/src/k8s.io/apimachinery/pkg/util/strategicpatch, …/pkg/util/jsonmergepatch, the merge keys of
//! staging/src/k8s.io/api/core/v1/types.go; RFC 7386 and RFC 6902.

use serde_json::{Map, Value};

use crate::client::PatchKind;
use crate::manifest::epoch::Epoch;
use crate::manifest::{Compiler, Source, load, print};
use crate::model::Object;

/// The object with the patch.
///
/// # Errors
/// Why it can't be applied, as kubectl prints it.
pub(super) fn patched(old: &Object, kind: PatchKind, patch: &Value, epoch: Epoch) -> Result<Object, String> {
    let mut json = print::json(old, epoch);
    match kind {
        PatchKind::Strategic => strategic(&mut json, patch),
        PatchKind::Merge => merge(&mut json, patch),
        PatchKind::Json => {
            for operation in patch.as_array().into_iter().flatten() {
                apply(&mut json, operation)?;
            }
        }
    }
    let source = Source::new("patch.json", json.to_string());
    let sources = [source];
    let loaded = load(&sources);
    if let Some(problem) = loaded.problems.iter().flatten().find(|problem| problem.is_error()) {
        return Err(format!("{}: {}", problem.field, problem.kind));
    }
    let object = loaded.objects.first().ok_or("the patch leaves no object")?;
    let mut new = match Compiler::new(epoch).compile(&object.decoded, &|_| None) {
        Ok(Some(new)) => new,
        Ok(None) => return Err("objects of this kind are not simulated".to_owned()),
        Err(invalid) => return Err(invalid.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    // Who it is, a patch does not change.
    let mut meta = old.meta().clone();
    let changed = new.meta();
    meta.labels = changed.labels.clone();
    meta.annotations = changed.annotations.clone();
    meta.finalizers = changed.finalizers.clone();
    meta.resource_version = 0;
    *new.meta_mut() = meta;
    Ok(new)
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *into = patch.clone();
        return;
    };
    let fields = as_map(into);
    for (name, change) in changes {
        match change {
            Value::Null => drop(fields.shift_remove(name)),
            change => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// The field by which the items of a list are told apart; None for lists that are replaced whole.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => "name",
        "taints" => "key",
        "conditions" => "type",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "ports" => "containerPort",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        _ => return None,
    })
}

fn strategic(into: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *into = patch.clone();
        return;
    };
    if changes.get("$patch").and_then(Value::as_str) == Some("replace") {
        *into = patch.clone();
        as_map(into).shift_remove("$patch");
        return;
    }
    let fields = as_map(into);
    for (name, change) in changes.iter().filter(|(name, _)| !name.starts_with('$')) {
        match change {
            Value::Null => drop(fields.shift_remove(name)),
            Value::Array(items) => {
                let list = fields.entry(name.clone()).or_insert(Value::Null);
                // A Service's ports are told apart by `port`.
                let by_port = name == "ports" && items.iter().all(|item| item.get("port").is_some());
                match merge_key(name).map(|key| if by_port { "port" } else { key }) {
                    Some(key) => merge_list(list, items, key),
                    None if name == "finalizers" => add_to_set(list, items),
                    None => *list = change.clone(),
                }
            }
            change => strategic(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

fn merge_list(into: &mut Value, items: &[Value], key: &str) {
    let replaced = items.iter().any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"));
    let list = as_list(into);
    if replaced {
        list.clear();
    }
    for item in items {
        let is_it = |other: &Value| other.get(key).is_some_and(|name| Some(name) == item.get(key));
        match item.get("$patch").and_then(Value::as_str) {
            Some("delete") => list.retain(|other| !is_it(other)),
            Some("replace") => {}
            _ => match list.iter_mut().find(|other| is_it(other)) {
                Some(known) => strategic(known, item),
                None => list.push(item.clone()),
            },
        }
    }
}

fn add_to_set(into: &mut Value, items: &[Value]) {
    let list = as_list(into);
    for item in items {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made one")
}

fn as_list(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().expect("it was just made one")
}

/// One operation of RFC 6902.
fn apply(whole: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |field: &str| operation.get(field).and_then(Value::as_str).unwrap_or_default();
    let path = text("path");
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match text("op") {
        "add" => put(whole, path, value()),
        "replace" => {
            take(whole, path)?;
            put(whole, path, value())
        }
        "remove" => take(whole, path).map(drop),
        "move" => {
            let moved = take(whole, text("from"))?;
            put(whole, path, moved)
        }
        "copy" => {
            let copied = whole.pointer(text("from")).cloned().ok_or_else(|| missing(text("from")))?;
            put(whole, path, copied)
        }
        "test" if whole.pointer(path) == Some(&value()) => Ok(()),
        "test" => Err(format!("testing path {path} failed")),
        other => Err(format!("unexpected kind of operation: {other}")),
    }
}

fn missing(path: &str) -> String {
    format!("the path {path} is missing")
}

/// The last step of a path, and what holds it.
fn holder<'v>(whole: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    let last = last.replace("~1", "/").replace("~0", "~");
    Ok((whole.pointer_mut(parent).ok_or_else(|| missing(path))?, last))
}

fn put(whole: &mut Value, path: &str, value: Value) -> Result<(), String> {
    match holder(whole, path)? {
        (Value::Object(fields), name) => {
            fields.insert(name, value);
        }
        (Value::Array(items), at) => {
            let at = if at == "-" { items.len() } else { at.parse().map_err(|_| missing(path))? };
            if at > items.len() {
                return Err(missing(path));
            }
            items.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn take(whole: &mut Value, path: &str) -> Result<Value, String> {
    match holder(whole, path)? {
        (Value::Object(fields), name) => fields.shift_remove(&name).ok_or_else(|| missing(path)),
        (Value::Array(items), at) => {
            let at: usize = at.parse().map_err(|_| missing(path))?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(missing(path)) }
        }
        _ => Err(missing(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_patch_changes_what_it_says() {
        let object =
            json!({"spec": {"a": 1, "containers": [{"name": "x", "image": "x:1"}, {"name": "y"}], "args": [1]}});
        let check = |kind, patch: Value, expected: Value| {
            let mut object = object.clone();
            match kind {
                PatchKind::Strategic => strategic(&mut object, &patch),
                PatchKind::Merge => merge(&mut object, &patch),
                PatchKind::Json => patch.as_array().unwrap().iter().for_each(|one| apply(&mut object, one).unwrap()),
            }
            assert_eq!(object["spec"], expected, "{patch}");
        };
        check(
            PatchKind::Strategic,
            json!({"spec": {"a": null, "containers": [{"name": "x", "image": "x:2"}, {"name": "z"}], "args": [2, 3]}}),
            json!({"containers": [{"name": "x", "image": "x:2"}, {"name": "y"}, {"name": "z"}], "args": [2, 3]}),
        );
        check(
            PatchKind::Strategic,
            json!({"spec": {"containers": [{"name": "x", "$patch": "delete"}]}}),
            json!({"a": 1, "containers": [{"name": "y"}], "args": [1]}),
        );
        check(
            PatchKind::Merge,
            json!({"spec": {"a": null, "containers": [{"name": "z"}]}}),
            json!({"containers": [{"name": "z"}], "args": [1]}),
        );
        check(
            PatchKind::Json,
            json!([
                {"op": "remove", "path": "/spec/containers/0"},
                {"op": "add", "path": "/spec/args/-", "value": 2},
                {"op": "replace", "path": "/spec/a", "value": 5},
            ]),
            json!({"containers": [{"name": "y"}], "args": [1, 2], "a": 5}),
        );
        let mut object = object.clone();
        let problem = apply(&mut object, &json!({"op": "remove", "path": "/spec/nothing"}));
        assert_eq!(problem, Err("the path /spec/nothing is missing".to_owned()));
    }
}
