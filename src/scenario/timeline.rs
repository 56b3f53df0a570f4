//! What happens, and when.

use std::sync::Arc;

use crate::client;
use crate::kernel::{Distribution, Duration, Time};
use crate::manifest::Node;
use crate::model::{Name, Object, Pod, Source};

use super::condition::Condition;
use super::fault::FaultSpec;
use super::file::Reading;
use super::read::Fields;
use super::values;

/// One entry of the timeline.
#[derive(Clone, Debug)]
pub(super) struct Happening {
    pub(super) when: When,
    pub(super) what: What,
    /// After this it is undone; faults only.
    pub(super) lasts: Option<Duration>,
    pub(super) source: Source,
}

/// When it happens.
#[derive(Clone, Debug)]
pub(super) enum When {
    At(Time),
    /// Once, as soon as the condition holds, but not before `from`.
    Condition {
        condition: Box<Condition>,
        from: Time,
    },
    /// Again and again.
    Every {
        period: Distribution,
        from: Time,
        until: Option<Time>,
    },
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum What {
    Client {
        text: String,
        verb: Arc<client::Verb>,
    },
    Fault(FaultSpec),
    /// A node's manifest folder changes.
    StaticPods(StaticPods),
}

/// A change of a node's manifest folder.
#[derive(Clone, Debug)]
pub(super) struct StaticPods {
    pub(super) node: Name,
    pub(super) write: Vec<Arc<Pod>>,
    pub(super) remove: Vec<Name>,
    /// As stories tell it.
    pub(super) text: String,
}

impl Happening {
    pub(super) fn read(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Happening> {
        let source = reading.source_of(node);
        let mut fields = Fields::new(node, path, reading.problems)?;
        let when = read_when(&mut fields, reading);
        let kubectl = fields.get("kubectl");
        let fault = fields.get("fault");
        let apply = fields.get("apply");
        let lasts = fields.get("for").and_then(|n| values::duration(n, &fields.path("for"), reading.problems));
        let lasts_span = fields.get("for").map(|node| node.span.clone());
        let static_pods = fields.get("staticPods");
        let given = [kubectl, fault, apply, static_pods].iter().flatten().count();
        if given != 1 {
            let hint = "one of kubectl, fault, apply, staticPods".to_owned();
            let message = if given == 0 { "nothing happens here" } else { "more than one thing happens here" };
            reading.problems.add(fields.span(), path, message, Some(hint));
        }
        let what = if let Some(words) = kubectl {
            read_kubectl(words, &fields.path("kubectl"), reading)
        } else if let Some(fault) = fault {
            let text = fault_in_words(&reading.one_line(fault));
            FaultSpec::read(fault, &fields.path("fault"), &text, reading.problems).map(What::Fault)
        } else if let Some(files) = apply {
            read_apply(files, &fields.path("apply"), reading)
        } else if let Some(node) = static_pods {
            read_static_pods(node, &fields.path("staticPods"), reading)
        } else {
            None
        };
        fields.end(reading.problems);
        if let (Some(at), Some(What::Client { .. } | What::StaticPods(_))) = (lasts_span, &what) {
            reading.problems.add(at, &format!("{path}.for"), "only a fault can be undone", None);
        }
        Some(Happening { when: when?, what: what?, lasts, source })
    }
}

fn read_when(fields: &mut Fields<'_, '_>, reading: &mut Reading<'_>) -> Option<When> {
    let (at, when, every) = (fields.get("at"), fields.get("when"), fields.get("every"));
    let from = fields.get("from").and_then(|n| values::duration(n, &fields.path("from"), reading.problems));
    let until = fields.get("until").and_then(|n| values::duration(n, &fields.path("until"), reading.problems));
    let from = Time::ZERO + from.unwrap_or_default();
    match (at, when, every) {
        (Some(at), None, None) => {
            values::duration(at, &fields.path("at"), reading.problems).map(|at| When::At(Time::ZERO + at))
        }
        (None, Some(text), None) => {
            let condition = Box::new(reading.condition(text, &fields.path("when"))?);
            Some(When::Condition { condition, from })
        }
        (None, None, Some(period)) => {
            let span = period.span.clone();
            let period = values::distribution(period, &fields.path("every"), reading.problems)?;
            if period.median().is_zero() {
                let path = fields.path("every");
                reading.problems.add(span, &path, "a period of no time never lets anything else happen", None);
                return None;
            }
            Some(When::Every { period, from, until: until.map(|until| Time::ZERO + until) })
        }
        _ => {
            let path = fields.path("at");
            let hint = "one of at: 5m, when: <condition>, every: 1m".to_owned();
            reading.problems.add(fields.span(), &path, "this does not say when it happens", Some(hint));
            None
        }
    }
}

fn read_kubectl(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<What> {
    let Some(words) = node.as_str() else {
        reading.problems.add(node.span.clone(), path, "kubectl's words are expected as a string", None);
        return None;
    };
    let words = words.trim();
    let stripped = words.strip_prefix("kubectl ").unwrap_or(words);
    match client::parse::parse(stripped, Name::new("default")) {
        Ok(verb) => Some(What::Client { text: format!("kubectl {stripped}"), verb: Arc::new(verb) }),
        Err(error) => {
            let at = reading.inside(node, words.len() - stripped.len() + error.at);
            let hint = error.nearest.map(|nearest| format!("did you mean `{nearest}`?"));
            reading.problems.add(at, path, error.message, hint);
            None
        }
    }
}

fn read_apply(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<What> {
    let Some(file) = node.as_str() else {
        reading.problems.add(node.span.clone(), path, "a file's name is expected", None);
        return None;
    };
    let objects: Vec<Object> = reading.manifests(file, node.span.clone(), path)?;
    Some(What::Client { text: format!("kubectl apply -f {file}"), verb: Arc::new(client::Verb::Apply(objects.into())) })
}

/// `{node: n4, write: static.yaml}` or `{node: n4, remove: static}`.
fn read_static_pods(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<What> {
    let mut fields = Fields::new(node, path, reading.problems)?;
    let on = fields.text("node", reading.problems).map(Name::new);
    let write = fields.get("write").map(|file| (file, fields.path("write")));
    let remove = fields.text("remove", reading.problems).map(Name::new);
    let span = fields.span();
    fields.end(reading.problems);
    let (Some(on), true) = (on, write.is_some() != remove.is_some()) else {
        let hint = Some("{node: n4, write: pod.yaml} or {node: n4, remove: pod}".to_owned());
        reading.problems.add(span, path, "not a change of a node's manifest folder", hint);
        return None;
    };
    let mut pods = Vec::new();
    let mut text = format!("node {on}, static pod {} removed", remove.unwrap_or_default());
    if let Some((file, path)) = write {
        pods = static_pods_of(file, &path, reading)?;
        text = format!("node {on}, static pods of {} written", file.as_str().unwrap_or_default());
    }
    Some(What::StaticPods(StaticPods { node: on, write: pods, remove: remove.into_iter().collect(), text }))
}

/// The pods of a file that the scenario names.
pub(super) fn static_pods_of(file: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Vec<Arc<Pod>>> {
    let Some(name) = file.as_str() else {
        reading.problems.add(file.span.clone(), path, "a file's name is expected", None);
        return None;
    };
    let objects = reading.manifests(name, file.span.clone(), path)?;
    let pods: Vec<Arc<Pod>> = objects.iter().filter_map(|object| object.as_pod().cloned()).collect();
    if pods.is_empty() {
        reading.problems.add(file.span.clone(), path, "this file holds no Pod", None);
    }
    Some(pods)
}

/// `zone eu-a, power off` for `{zone: eu-a, power: off}`: a fault as stories tell it.
fn fault_in_words(written: &str) -> String {
    let inside = written.trim().trim_start_matches('{').trim_end_matches('}');
    inside.replace(": ", " ").replace('{', "(").replace('}', ")")
}
