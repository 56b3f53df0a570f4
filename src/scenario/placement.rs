//! `placement: FILE` among the expectations: the pods are where a baseline says that they are.
//!
//! A baseline that is not there yet fails; `simlet test --bless` writes it, and accepts what has changed later.

use crate::apiserver::Store;
use crate::kernel::Time;
use crate::manifest::{Node, Value};
use crate::model::{Key, Kind, Object, Pod, Source, condition};
use crate::trace::placement::{Allowed, By, Comparison, Placement, Tolerance, preemptor, workload_key};
use crate::trace::{Change, Expectation, Header};

use super::file::Reading;
use super::read::Fields;
use super::values;

/// How many workloads are told of beside a failure.
const SHOWN: usize = 8;

/// An expectation about where pods are.
#[derive(Clone, Debug)]
pub(super) struct Baseline {
    name: String,
    /// As the scenario names it, relative to its own file.
    pub(super) file: String,
    /// None: at the end.
    pub(super) at: Option<Time>,
    by: By,
    tolerance: Tolerance,
    /// None: the file is not there yet.
    wanted: Option<Placement>,
    source: Source,
}

impl Baseline {
    /// True for an expectation of this kind.
    pub(super) fn is(node: &Node<'_>) -> bool {
        node.get("placement").is_some()
    }

    pub(super) fn read(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Baseline> {
        let source = reading.source_of(node);
        let mut fields = Fields::new(node, path, reading.problems)?;
        let name = fields.text("name", reading.problems).unwrap_or_default().to_owned();
        let file = fields.text("placement", reading.problems);
        let file_node = fields.get("placement");
        let at = fields.get("at");
        let at = at.and_then(|node| values::duration(node, &format!("{path}.at"), reading.problems));
        let by = fields.get("by").map(|node| (node.as_str(), node.span.clone()));
        let by = match by {
            None | Some((Some("node"), _)) => By::Node,
            Some((Some("zone"), _)) => By::Zone,
            Some((_, span)) => {
                reading.problems.add(span, &format!("{path}.by"), "`node` or `zone` is expected", None);
                By::Node
            }
        };
        let tolerance = fields.get("tolerance");
        let tolerance = tolerance.map_or(Some(Tolerance::default()), |node| read_tolerance(node, path, reading));
        fields.end(reading.problems);
        let (file, file_node) = (file?, file_node?);
        let wanted = match reading.file_if_there(file) {
            None => None,
            Some(text) => match Placement::from_file(&text) {
                Ok(placement) => Some(placement),
                Err(error) => {
                    let message = format!("`{file}` is no baseline: {error}");
                    let hint = "`simlet test --bless` writes it".to_owned();
                    reading.problems.add(file_node.span.clone(), &format!("{path}.placement"), message, Some(hint));
                    return None;
                }
            },
        };
        let at = at.map(|at| Time::ZERO + at);
        Some(Baseline { name, file: file.to_owned(), at, by, tolerance: tolerance?, wanted, source })
    }

    /// The result, of pods that were so at `at`. `header` knows the names of files.
    pub(super) fn result(&self, at: Time, is: &Placement, header: &Header) -> Expectation {
        let when =
            self.at.map_or_else(|| "placement".to_owned(), |at| format!("at {} placement", at.since(Time::ZERO)));
        let name = if self.name.is_empty() { self.file.clone() } else { self.name.clone() };
        let mut result = Expectation { name, when, text: self.file.clone(), ..Expectation::default() };
        result.source = Some(self.source);
        let Some(wanted) = &self.wanted else {
            result.error = "there is no such baseline yet; `simlet test --bless` writes it".to_owned();
            result.broken = vec![(at, None)];
            return result;
        };
        let comparison = Comparison::of(wanted, is, self.by);
        let beyond = comparison.beyond(&self.tolerance);
        result.held = beyond.is_empty();
        result.measured = comparison.summary();
        if result.held {
            return result;
        }
        result.broken = vec![(at, None)];
        result.details = beyond;
        for changed in comparison.workloads.iter().take(SHOWN) {
            if let Some(source) = changed.source {
                result.details.push(format!("{} is at {}", changed.workload, header.place(source)));
            }
            for (_, line) in changed.lines().into_iter().take(SHOWN) {
                result.details.push(format!("{}: {line}", changed.workload));
            }
            let spread = changed.spread_text();
            if !spread.is_empty() {
                result.details.push(format!("{}: {spread}", changed.workload));
            }
        }
        if comparison.workloads.len() > SHOWN {
            result.details.push(format!("and {} more workloads", comparison.workloads.len() - SHOWN));
        }
        result.details.push("`simlet test --bless` accepts it".to_owned());
        result
    }
}

/// `tolerance: 10%`, or `{changed: 10%, pending: 1}`.
fn read_tolerance(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Tolerance> {
    let path = format!("{path}.tolerance");
    let mut tolerance = Tolerance::default();
    let Value::Map(_) = &node.value else {
        tolerance.changed = allowed(node, &path, reading)?;
        return Some(tolerance);
    };
    let mut fields = Fields::new(node, &path, reading.problems)?;
    let changed = fields.get("changed");
    let pending = fields.integer("pending", reading.problems);
    fields.end(reading.problems);
    if let Some(node) = changed {
        tolerance.changed = allowed(node, &format!("{path}.changed"), reading)?;
    }
    tolerance.pending = pending.map_or(0, |pending| u32::try_from(pending).unwrap_or(0));
    Some(tolerance)
}

fn allowed(node: &Node<'_>, path: &str, reading: &mut Reading<'_>) -> Option<Allowed> {
    let allowed = match &node.value {
        Value::Int(count) => u32::try_from(*count).ok().map(Allowed::Count),
        _ => node.as_str().and_then(Allowed::parse),
    };
    if allowed.is_none() {
        reading.problems.add(node.span.clone(), path, "a number of pods or a share such as 10% is expected", None);
    }
    allowed
}

/// The preemptions of a run: they can't be seen in the end.
#[derive(Debug, Default)]
pub(super) struct Preemptions {
    victims: Vec<std::sync::Arc<Pod>>,
    /// Uid of the victim, and of whom it had to make room for, as texts.
    by: Vec<(crate::model::Uid, String)>,
}

impl Preemptions {
    pub(super) fn observe(&mut self, change: Change, object: &Object) {
        match object {
            Object::Pod(pod) if change == Change::Modified => {
                let disrupted = condition::find(&pod.status.conditions, "DisruptionTarget");
                let preempted = disrupted.is_some_and(|condition| condition.reason == *"PreemptionByScheduler");
                if preempted && self.victims.iter().all(|known| known.meta.uid != pod.meta.uid) {
                    self.victims.push(std::sync::Arc::clone(pod));
                }
            }
            Object::Event(event) if event.reason == *"Preempted" => {
                if let Some(by) = preemptor(&event.message) {
                    let pair = (event.involved.uid, by.to_owned());
                    if !self.by.contains(&pair) {
                        self.by.push(pair);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Where the pods of the store are.
pub(super) fn of_store(store: &Store, preemptions: &Preemptions) -> Placement {
    let mut placement = Placement::default();
    for object in store.sorted(Kind::Node) {
        if let Object::Node(node) = object {
            placement.add_node(node);
        }
    }
    let pods: Vec<&std::sync::Arc<Pod>> = store.sorted(Kind::Pod).into_iter().filter_map(Object::as_pod).collect();
    for pod in &pods {
        let (key, source) = top(store, pod);
        placement.add_pod(pod, workload_key(&key, pod), source);
    }
    for victim in &preemptions.victims {
        let by = preemptions.by.iter().find(|(uid, _)| *uid == victim.meta.uid).map(|(_, by)| by.as_str());
        let by = pods.iter().find(|pod| by.is_some_and(|by| pod.meta.uid.to_string() == by));
        let by = by.map_or_else(|| "another pod".to_owned(), |pod| workload_key(&top(store, pod).0, pod));
        placement.add_preemption(workload_key(&top(store, victim).0, victim), by);
    }
    placement
}

/// The workload at the top of a pod's owners, and its line.
fn top(store: &Store, pod: &Pod) -> (Key, Option<Source>) {
    let (mut key, mut source) = (pod.meta.key(Kind::Pod), pod.meta.source);
    let mut owner = pod.meta.owner;
    while let Some(above) = owner {
        if above.kind == Kind::Node {
            break;
        }
        key = Key { kind: above.kind, namespace: pod.meta.namespace, name: above.name };
        let object = store.get(&key);
        source = object.and_then(|object| object.meta().source).or(source);
        owner = object.and_then(|object| object.meta().owner);
    }
    (key, source)
}
