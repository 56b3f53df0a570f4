//! Reads a recording: JSON documents one after another, on lines of their own or not.

use k8s_openapi::jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::seen::{Condition, Container, Seen, State};
use super::{Fact, History};

/// The counts of Events, by uid.
type Counts = FxHashMap<String, u64>;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text is no JSON from some line on.
    #[error("{file}:{line}:{column}: {problem}")]
    Json { file: String, line: usize, column: usize, problem: String },
    /// There is no pod in it.
    #[error(
        "{file}: no pod in it; record with `kubectl get pods -w --output-watch-events -o json > {file}` and stop it by Ctrl-C"
    )]
    NoPods { file: String },
}

/// True for a text that is a recording of a cluster: watch events, several pods or Events one after another, or a list of
/// nothing else.
pub fn is_recording(text: &str) -> bool {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let first = match documents.next() {
        Some(Ok(first)) => first,
        // A watch that was stopped within its first document.
        Some(Err(problem)) => return problem.is_eof() && begins_as_watch(text),
        None => return false,
    };
    let is_ours = |object: &Value| {
        let is_pod = text_of(object, "kind") == "Pod" && object.get("status").is_some();
        is_pod || text_of(object, "kind") == "Event"
    };
    let is_watch_event = first.get("type").is_some() && first.get("object").is_some();
    let is_list = |items: &Vec<Value>| !items.is_empty() && items.iter().all(is_ours);
    is_watch_event
        || is_ours(&first) && matches!(documents.next(), Some(Ok(_)))
        || first.get("items").and_then(Value::as_array).is_some_and(is_list)
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
        let received = document.get("t").and_then(Value::as_f64).map(|seconds| (seconds * 1e9) as i64);
        let kind = text_of(&document, "type");
        match document.get("object").filter(|_| !kind.is_empty()) {
            Some(object) => {
                history.received &= received.is_some();
                take(history, object, &kind, received, counts);
            }
            None => {
                history.received = false;
                match document.get("items").and_then(Value::as_array) {
                    Some(items) => items.iter().for_each(|item| take(history, item, "ADDED", None, counts)),
                    None => take(history, &document, "MODIFIED", None, counts),
                }
            }
        }
    }
    Ok(())
}

fn take(history: &mut History, object: &Value, kind: &str, received: Option<i64>, counts: &mut Counts) {
    if kind == "BOOKMARK" || kind == "ERROR" {
        return;
    }
    match object.get("kind").and_then(Value::as_str) {
        Some("Pod") => history.take(pod(object), received, kind == "DELETED"),
        Some("Node") => history.take(node(object), received, kind == "DELETED"),
        // Their end says nothing.
        Some("Event") if kind != "DELETED" => event(history, object, received, counts),
        _ => {}
    }
}

fn event(history: &mut History, object: &Value, received: Option<i64>, counts: &mut Counts) {
    let about = object.get("involvedObject").or_else(|| object.get("regarding"));
    let is_known = |about: &&Value| matches!(text_of(about, "kind").as_str(), "Pod" | "Node");
    let Some(about) = about.filter(is_known) else { return };
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
        match text_of(about, "kind").as_str() {
            "Node" => history.node_event(&text_of(about, "name"), fact.clone()),
            _ => history.event(&pod, &text_of(about, "namespace"), &text_of(about, "name"), fact.clone()),
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
        is_node: true,
        uid: name.clone(),
        name,
        created: time_of(meta, "creationTimestamp").unwrap_or_default(),
        conditions,
        ..Seen::default()
    }
}

fn conditions(status: &Value) -> Vec<Condition> {
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
    let owners = meta.get("ownerReferences").and_then(Value::as_array);
    let owner = owners.and_then(|owners| {
        owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true))).or(owners.first())
    });
    let mut conditions = conditions(status);
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    let containers = |field: &str| {
        let mut containers: Vec<Container> = list(status, field).map(container).collect();
        containers.sort_by(|a, b| a.name.cmp(&b.name));
        containers
    };
    let grace = meta.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let deletion = time_of(meta, "deletionTimestamp").map(|at| (at - grace * 1_000_000_000, grace));
    Seen {
        is_node: false,
        namespace: text_of(meta, "namespace"),
        name: text_of(meta, "name"),
        uid: text_of(meta, "uid"),
        owner: owner.map(|owner| (text_of(owner, "kind"), text_of(owner, "name"))),
        created: time_of(meta, "creationTimestamp").unwrap_or_default(),
        node: text_of(spec, "nodeName"),
        phase: text_of(status, "phase"),
        reason: text_of(status, "reason"),
        message: text_of(status, "message"),
        conditions,
        containers: ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
            .map(containers)
            .concat(),
        deletion,
    }
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
    Container { name: text_of(status, "name"), state, restarts }
}

fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text_of(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn time_of(value: &Value, field: &str) -> Option<i64> {
    let moment: Timestamp = value.get(field)?.as_str()?.parse().ok()?;
    i64::try_from(moment.as_nanosecond()).ok()
}
