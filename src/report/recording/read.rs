//! Reads a recording: JSON documents one after another, on lines of their own or not.

use k8s_openapi::jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::seen::{Condition, Container, Field, Seen, State};
use super::{Fact, History, workload, yaml};

/// The counts of Events, by uid.
type Counts = FxHashMap<String, u64>;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is no JSON from some line on.
    #[error("{file}:{line}:{column}: {problem}")]
    Json { file: String, line: usize, column: usize, problem: String },
    /// There is no pod in it, nor a node or a workload.
    #[error(
        "{file}: no pod, node or workload in it; record with `kubectl get pods -w --output-watch-events -o json > {file}` and stop it by Ctrl-C"
    )]
    NoPods { file: String },
}

/// True for a text that is a recording of a cluster: watch events, several objects or Events one after another, or a list of
/// pods and Events only. In YAML, whose documents may as well be manifests, an object must come twice, unless they are watch
/// events.
pub fn is_recording(text: &str) -> bool {
    if !text.trim_start().starts_with('{') {
        return yaml::is_recording(text);
    }
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let first = match documents.next() {
        Some(Ok(first)) => first,
        // A watch that was stopped within its first document.
        Some(Err(problem)) => return problem.is_eof() && begins_as_watch(text),
        None => return false,
    };
    let goes_on = matches!(documents.next(), Some(Ok(_)));
    let is_list = |items: &Vec<Value>| {
        let small = |object: &Value| matches!(text_of(object, "kind").as_str(), "Pod" | "Event");
        !items.is_empty() && items.iter().all(|item| is_seen(item) && (goes_on || small(item)))
    };
    is_watch_event(&first)
        || is_seen(&first) && goes_on
        || first.get("items").and_then(Value::as_array).is_some_and(is_list)
}

fn is_watch_event(document: &Value) -> bool {
    document.get("type").is_some() && document.get("object").is_some()
}

/// An object of a cluster whose facts are told, not one that is to be made.
pub(super) fn is_seen(object: &Value) -> bool {
    let kind = text_of(object, "kind");
    let stored = || object.get("metadata").is_some_and(|meta| meta.get("resourceVersion").is_some());
    match kind.as_str() {
        "Event" => true,
        "Pod" => object.get("status").is_some(),
        "Node" => stored(),
        kind => workload::KINDS.contains(&kind) && stored(),
    }
}

/// `{"type": "ADDED", "object": …`
fn begins_as_watch(text: &str) -> bool {
    let begin: String = text.chars().filter(|char| !char.is_whitespace()).take(40).collect();
    begin.starts_with("{\"type\":\"") && begin.contains("\"object\":")
}

/// Reads a recording; `file` is its name in problems. The last document may be cut off, as Ctrl-C does it.
///
/// # Errors
/// Where it is no JSON, or that there is no pod.
pub fn read(text: &str, file: &str) -> Result<History, ReadError> {
    read_all(&[(file, text)])
}

/// Reads a recording of several files with their names: kubectl watches only one kind at a time.
///
/// # Errors
/// As [`read`].
pub fn read_all(files: &[(&str, &str)]) -> Result<History, ReadError> {
    let mut history = History { received: true, ..History::default() };
    let mut counts = Counts::default();
    for (file, text) in files {
        read_into(&mut history, &mut counts, text, file)?;
    }
    if history.is_empty() {
        let file = files.first().map_or("", |(file, _)| file);
        return Err(ReadError::NoPods { file: file.to_owned() });
    }
    Ok(history)
}

fn read_into(history: &mut History, counts: &mut Counts, text: &str, file: &str) -> Result<(), ReadError> {
    if !text.trim_start().starts_with('{') {
        yaml::documents(text).iter().for_each(|document| one(history, counts, document));
        return Ok(());
    }
    let mut is_first = true;
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = match document {
            Ok(document) => document,
            Err(problem) if problem.is_eof() && !is_first => break,
            Err(problem) => {
                let (line, column) = (problem.line(), problem.column());
                let problem = problem.to_string();
                let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
                return Err(ReadError::Json { file: file.to_owned(), line, column, problem });
            }
        };
        is_first = false;
        one(history, counts, &document);
    }
    Ok(())
}

/// A document: a watch event, a list or an object.
fn one(history: &mut History, counts: &mut Counts, document: &Value) {
    let received = document.get("t").and_then(Value::as_f64).map(|seconds| (seconds * 1e9) as i64);
    match document.get("object").filter(|_| is_watch_event(document)) {
        Some(object) => {
            history.received &= received.is_some();
            take(history, object, &text_of(document, "type"), received, counts);
        }
        None => {
            history.received = false;
            match document.get("items").and_then(Value::as_array) {
                Some(items) => items.iter().for_each(|item| take(history, item, "ADDED", None, counts)),
                None => take(history, document, "MODIFIED", None, counts),
            }
        }
    }
}

fn take(history: &mut History, object: &Value, kind: &str, received: Option<i64>, counts: &mut Counts) {
    if kind == "BOOKMARK" || kind == "ERROR" {
        return;
    }
    match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => history.take(pod(object), received, kind == "DELETED"),
        Some("Node") => history.take(node(object), received, kind == "DELETED"),
        Some(other) if workload::KINDS.contains(&other) => {
            history.take(workload::seen(object), received, kind == "DELETED");
        }
        // Their end says nothing.
        Some("Event") if kind != "DELETED" => event(history, object, received, counts),
        _ => {}
    }
}

fn event(history: &mut History, object: &Value, received: Option<i64>, counts: &mut Counts) {
    let about = object.get("involvedObject").or_else(|| object.get("regarding"));
    let Some(about) = about else { return };
    let kind = text_of(about, "kind");
    if !matches!(kind.as_str(), "Pod" | "Node") && !workload::KINDS.contains(&kind.as_str()) {
        return;
    }
    let series = object.get("series").and_then(|series| series.get("count")).and_then(Value::as_u64);
    let count = object.get("count").and_then(Value::as_u64).or(series).unwrap_or(1).max(1);
    let uid = text_of(object.get("metadata").unwrap_or(&Value::Null), "uid");
    // One that was there before the recording began has come once in it.
    let before = counts.insert(uid, count).unwrap_or(count - 1);
    let pod = text_of(about, "uid");
    let message = object.get("message").or_else(|| object.get("note")).and_then(Value::as_str).unwrap_or_default();
    let fact = Fact {
        what: event_words(&text_of(object, "type"), &text_of(object, "reason"), &text_of(about, "fieldPath")),
        message: message.to_owned(),
        received,
        own: ["lastTimestamp", "eventTime", "firstTimestamp"].iter().find_map(|field| time_of(object, field)),
    };
    for _ in before..count {
        match kind.as_str() {
            "Node" => history.node_event(&text_of(about, "name"), fact.clone()),
            _ => history.event(&kind, &pod, &text_of(about, "namespace"), &text_of(about, "name"), fact.clone()),
        }
    }
}

/// `event Normal Started main`.
pub(super) fn event_words(kind: &str, reason: &str, path: &str) -> String {
    let container = path.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}')).unwrap_or_default();
    format!("event {kind} {reason} {container}").trim_end().to_owned()
}

fn node(object: &Value) -> Seen {
    let none = Value::Null;
    let (meta, spec) = (object.get("metadata").unwrap_or(&none), object.get("spec").unwrap_or(&none));
    let mut conditions = conditions(object.get("status").unwrap_or(&none));
    conditions.extend(list(spec, "taints").map(|taint| Condition {
        kind: format!("taint {}:{}", text_of(taint, "key"), text_of(taint, "effect")),
        status: text_of(taint, "value"),
        since: time_of(taint, "timeAdded").unwrap_or_default(),
        ..Condition::default()
    }));
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    let name = text_of(meta, "name");
    Seen {
        kind: "Node".to_owned(),
        uid: name.clone(),
        name,
        created: time_of(meta, "creationTimestamp").unwrap_or_default(),
        conditions,
        ..Seen::default()
    }
}

pub(super) fn conditions(status: &Value) -> Vec<Condition> {
    let conditions = list(status, "conditions").map(|condition| Condition {
        kind: text_of(condition, "type"),
        status: text_of(condition, "status"),
        reason: text_of(condition, "reason"),
        message: text_of(condition, "message"),
        since: time_of(condition, "lastTransitionTime").unwrap_or_default(),
    });
    conditions.collect()
}

fn pod(object: &Value) -> Seen {
    let none = Value::Null;
    let (meta, spec) = (object.get("metadata").unwrap_or(&none), object.get("spec").unwrap_or(&none));
    let status = object.get("status").unwrap_or(&none);
    let mut conditions = conditions(status);
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    let containers = |field: &str| {
        let mut containers: Vec<Container> = list(status, field).map(container).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    };
    let gates: Vec<String> = list(spec, "schedulingGates").map(|gate| text_of(gate, "name")).collect();
    let fields = [
        ("nominated", text_of(status, "nominatedNodeName")),
        ("gates", gates.join(",")),
        ("podIP", text_of(status, "podIP")),
    ];
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields = fields.map(|(name, value)| Field::of_pod(name, value)).collect();
    Seen {
        kind: "Pod".to_owned(),
        namespace: text_of(meta, "namespace"),
        name: text_of(meta, "name"),
        uid: text_of(meta, "uid"),
        owner: owner(meta),
        created: time_of(meta, "creationTimestamp").unwrap_or_default(),
        node: text_of(spec, "nodeName"),
        phase: text_of(status, "phase"),
        reason: text_of(status, "reason"),
        message: text_of(status, "message"),
        conditions,
        containers: ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
            .map(containers)
            .concat(),
        deletion: deletion(meta),
        fields,
    }
}

/// The kind and name of what made it.
pub(super) fn owner(meta: &Value) -> Option<(String, String)> {
    let owners = meta.get("ownerReferences").and_then(Value::as_array)?;
    let controller = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    controller.or(owners.first()).map(|owner| (text_of(owner, "kind"), text_of(owner, "name")))
}

/// When the deletion was asked for, and the grace period in seconds.
pub(super) fn deletion(meta: &Value) -> Option<(i64, i64)> {
    let grace = meta.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    time_of(meta, "deletionTimestamp").map(|at| (at - grace * 1_000_000_000, grace))
}

fn container(status: &Value) -> Container {
    let state = status.get("state").unwrap_or(&Value::Null);
    let state = if let Some(running) = state.get("running") {
        State::Running { since: time_of(running, "startedAt").unwrap_or_default() }
    } else if let Some(ended) = state.get("terminated") {
        State::Terminated {
            reason: text_of(ended, "reason"),
            message: text_of(ended, "message"),
            exit_code: ended.get("exitCode").and_then(Value::as_i64).unwrap_or_default(),
            finished: time_of(ended, "finishedAt").unwrap_or_default(),
        }
    } else {
        let waiting = state.get("waiting").unwrap_or(&Value::Null);
        State::Waiting { reason: text_of(waiting, "reason"), message: text_of(waiting, "message") }
    };
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or_default();
    let flag = |field: &str| status.get(field) == Some(&Value::Bool(true));
    let last = status.get("lastState").and_then(|last| last.get("terminated")).map(|ended| {
        let exit_code = ended.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
        (text_of(ended, "reason"), exit_code, time_of(ended, "finishedAt").unwrap_or_default())
    });
    let (ready, started) = (flag("ready"), flag("started"));
    Container { name: text_of(status, "name"), state, restarts, ready, started, last }
}

pub(super) fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn text_of(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(super) fn time_of(value: &Value, field: &str) -> Option<i64> {
    let moment: Timestamp = value.get(field)?.as_str()?.parse().ok()?;
    i64::try_from(moment.as_nanosecond()).ok()
}
