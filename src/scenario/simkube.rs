//! SimKube's traces as scenarios: objects that were applied to a cluster and deleted from it, each at its second.
//!
//! Read are the traces as JSON (version 2). What SimKube recorded of pods' lives is not used: how long pods run is a matter of
//! `behaviors`. SimKube: sk-store/src/lib.rs.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Files of a scenario: names and contents.
pub type Written = Vec<(String, String)>;

/// Namespaces that every cluster has.
const THERE: &[&str] = &["", "default", "kube-system", "kube-public", "kube-node-lease"];

/// The scenario of a trace, by the name of its file.
///
/// # Errors
/// It is no trace of SimKube's.
pub fn convert(file: &str, text: &str) -> Result<Written, String> {
    let trace: Value = serde_json::from_str(text).map_err(|error| format!("{file}: {error}"))?;
    let version = trace.get("version").and_then(Value::as_u64);
    let Some(events) = trace.get("events").and_then(Value::as_array).filter(|_| version == Some(2)) else {
        return Err(format!("{file}: no trace of SimKube's (version 2, with `events`) is in it"));
    };
    let mut steps = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let Some(second) = event.get("ts").and_then(Value::as_i64) else {
            return Err(format!("{file}: event {index} has no `ts`"));
        };
        steps.push((second, objects(event, "applied_objs"), objects(event, "deleted_objs")));
    }
    steps.sort_by_key(|(second, ..)| *second);
    let start = steps.first().map_or(0, |(second, ..)| *second);
    let mut written = Written::new();
    let mut timeline = String::new();
    let mut namespaces: BTreeSet<&str> = BTreeSet::new();
    let mut last = 0;
    for (index, (second, applied, deleted)) in steps.iter().enumerate() {
        let at = second.saturating_sub(start);
        last = at;
        if !applied.is_empty() {
            let name = format!("step-{index:03}.json");
            namespaces.extend(applied.iter().filter_map(|object| text_at(object, "/metadata/namespace")));
            let list = json!({"apiVersion": "v1", "kind": "List", "items": applied});
            written.push((name.clone(), format!("{list:#}\n")));
            timeline.push_str(&format!("  - {{at: {at}s, apply: {name}}}\n"));
        }
        for object in deleted {
            let Some(command) = delete(object) else {
                return Err(format!("{file}: event {index} deletes an object without kind or name"));
            };
            timeline.push_str(&format!("  - {{at: {at}s, kubectl: {}}}\n", Value::String(command)));
        }
    }
    let missing: Vec<Value> = namespaces
        .iter()
        .filter(|name| !THERE.contains(name))
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    let mut manifests = "";
    if !missing.is_empty() {
        manifests = "manifests: [namespaces.json]\n";
        let list = json!({"apiVersion": "v1", "kind": "List", "items": missing});
        written.push(("namespaces.json".to_owned(), format!("{list:#}\n")));
    }
    let timeline = if timeline.is_empty() { String::new() } else { format!("timeline:\n{timeline}") };
    let text = format!(
        "# {} events of {file}\napiVersion: simlet.dev/v1\nkind: Scenario\nmetadata: {{name: {}}}\nuntil: {}s\n\
         cluster: {{nodes: [{{count: 10, name: \"node-{{index}}\", zones: [a, b, c], capacity: {{cpu: \"32\", memory: 128Gi}}}}]}}\n\
         {manifests}{timeline}",
        steps.len(),
        Value::String(stem(file).to_owned()),
        last + 600,
    );
    written.push(("scenario.yaml".to_owned(), text));
    Ok(written)
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(".json").unwrap_or(name)
}

/// The objects of one list of an event, without what a cluster had given them.
fn objects(event: &Value, list: &str) -> Vec<Value> {
    let mut objects = event.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
    for object in &mut objects {
        if let Value::Object(fields) = object {
            fields.remove("status");
            if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
                strip(meta);
            }
            if let Some(Value::Object(meta)) = object.pointer_mut("/spec/template/metadata") {
                meta.remove("creationTimestamp");
            }
        }
    }
    objects
}

fn strip(meta: &mut Map<String, Value>) {
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"] {
        meta.remove(field);
    }
}

fn text_at<'v>(object: &'v Value, path: &str) -> Option<&'v str> {
    object.pointer(path).and_then(Value::as_str)
}

/// `delete deployment web -n shop`.
fn delete(object: &Value) -> Option<String> {
    let kind = text_at(object, "/kind")?.to_ascii_lowercase();
    let name = text_at(object, "/metadata/name")?;
    let namespace = text_at(object, "/metadata/namespace").filter(|namespace| !namespace.is_empty());
    let namespace = namespace.map_or(String::new(), |namespace| format!(" -n {namespace}"));
    Some(format!("delete {kind} {name}{namespace}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scenario without its first lines, or the error.
    #[track_caller]
    fn check(events: Value, wanted: Result<&str, &str>, files: &[&str]) {
        let text = json!({"version": 2, "events": events}).to_string();
        let written = convert("a/trace.json", &text);
        let scenario = written.as_ref().map(|written| {
            let text = written.last().map_or("", |(_, text)| text.as_str());
            text.split_once("]}\n").map_or(text, |(_, rest)| rest)
        });
        assert_eq!(scenario.map_err(String::as_str), wanted);
        let names: Vec<&str> = written.iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert!(names.starts_with(files), "{names:?}");
    }

    fn deployment(namespace: &str) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace, "uid": "x"}})
    }

    #[test]
    fn events_become_a_timeline_from_the_first_on() {
        check(
            json!([
                {"ts": 1100, "applied_objs": [], "deleted_objs": [deployment("shop")]},
                {"ts": 1000, "applied_objs": [deployment("shop"), deployment("default")], "deleted_objs": []},
            ]),
            Ok("manifests: [namespaces.json]\ntimeline:\n  - {at: 0s, apply: step-000.json}\n  \
                - {at: 100s, kubectl: \"delete deployment web -n shop\"}\n"),
            &["step-000.json", "namespaces.json", "scenario.yaml"],
        );
        check(json!([{"ts": 5}]), Ok(""), &["scenario.yaml"]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        check(json!([{"applied_objs": []}]), Err("a/trace.json: event 0 has no `ts`"), &[]);
        check(
            json!([{"ts": 1, "deleted_objs": [{"kind": "Pod"}]}]),
            Err("a/trace.json: event 0 deletes an object without kind or name"),
            &[],
        );
        assert_eq!(
            convert("x.json", "{}"),
            Err("x.json: no trace of SimKube's (version 2, with `events`) is in it".to_owned())
        );
    }

    #[test]
    fn what_a_cluster_gave_an_object_is_left_out() {
        let text = json!({"version": 2, "events": [{"ts": 1, "applied_objs": [deployment("default")]}]}).to_string();
        let written = convert("t.json", &text).unwrap_or_default();
        assert!(written[0].1.contains("\"web\"") && !written[0].1.contains("uid"), "{}", written[0].1);
    }
}
