//! What a file says: test cases with their workloads, each workload with its operations, parameters filled in.
//!
//! Field names are matched without regard to case, as there. A parameter that is missing, of another type than wanted or
//! never used is a problem of its workload.
//!
//! Kubernetes: test/integration/scheduler_perf/scheduler_perf.go (testCase, workload, op and its kinds).

use std::borrow::Cow;

use crate::kernel::Duration;
use crate::manifest::{self, Node, Problem, Source, Value, render_all};
use crate::model::{Labels, Name, Selector};

use super::super::read::{Fields, Problems};
use super::super::values;

/// A test case.
#[derive(Clone, Debug)]
pub struct TestCase {
    pub name: String,
    /// The file of the pods that name none, as written.
    pub(super) pod_template: Option<String>,
    /// A KubeSchedulerConfiguration, as written.
    pub(super) scheduler_config: Option<String>,
    pub workloads: Vec<Workload>,
}

/// A size to run a test case with.
#[derive(Clone, Debug)]
pub struct Workload {
    /// `SchedulingBasic/5000Nodes_10000Pods`.
    pub name: String,
    /// The case's and its own.
    pub labels: Vec<String>,
    /// The case's, then its own, which win.
    pub(super) feature_gates: Vec<(String, bool)>,
    /// What the measured value must exceed.
    pub threshold: Option<Threshold>,
    pub(super) ops: Vec<Op>,
    /// How many features each node declares: a parameter of which the test of that topic knows, no operation.
    pub(super) declared_features: u32,
}

/// A pass mark.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    pub value: f64,
    /// The metric, if it is not the throughput.
    pub other_metric: Option<String>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    CreateNodes {
        count: u32,
        template: Option<String>,
        prepare: Prepare,
    },
    CreateNamespaces {
        count: u32,
        prefix: String,
        template: Option<String>,
    },
    CreatePods(CreatePods),
    CreatePodSets {
        count: u32,
        prefix: String,
        pods: CreatePods,
    },
    DeletePods {
        namespace: String,
        selector: Selector,
        per_second: u32,
        wait: bool,
    },
    Churn(Churn),
    Barrier {
        namespaces: Vec<String>,
        selector: Selector,
        attempted: bool,
    },
    Sleep(Duration),
    CreateAny {
        count: u32,
        template: String,
        namespace: Option<String>,
    },
    UpdateAny {
        count: u32,
        template: String,
        namespace: Option<String>,
        per_second: u32,
        subresources: Vec<String>,
    },
    StartCollecting {
        namespaces: Vec<String>,
        selector: Selector,
    },
    StopCollecting,
    /// Publishes a driver's devices: on each node whose name matches `nodes`, so many.
    CreateResourceDriver {
        driver: String,
        nodes: String,
        devices: u32,
    },
    /// Allocates the claims of a namespace, as a scheduler did before.
    AllocClaims {
        namespace: String,
    },
}

/// What is done to nodes as they are created.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Prepare {
    #[default]
    Nothing,
    /// Values handed out in turn.
    Label {
        key: String,
        values: Vec<String>,
    },
    UniqueLabel {
        key: String,
    },
    Allocatable(Allocatable),
}

/// `nodeAllocatableStrategy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Allocatable {
    pub(super) node: Vec<(String, String)>,
    /// By driver.
    pub(super) csi: Vec<(String, i32)>,
    pub(super) migrated: Vec<String>,
}

/// `createPods`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CreatePods {
    pub(super) count: u32,
    pub(super) namespace: Option<String>,
    pub(super) template: Option<String>,
    pub(super) collect: bool,
    pub(super) wait: bool,
    /// For so long, batch after batch.
    pub(super) steady: Option<Duration>,
    pub(super) volumes: Option<(String, String)>,
}

/// `churn`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Churn {
    pub(super) recreate: bool,
    /// 0: no end.
    pub(super) number: u32,
    pub(super) interval: Duration,
    pub(super) templates: Vec<String>,
    pub(super) namespace: Option<String>,
}

/// nodedeclaredfeatures/: the test adds so many features to each node.
const DECLARED_FEATURES: &str = "numNodeDeclaredFeatures";
const OPCODES: &[&str] = &[
    "allocResourceClaims",
    "barrier",
    "churn",
    "createAny",
    "createNamespaces",
    "createNodes",
    "createPodSets",
    "createPods",
    "createResourceClaims",
    "createResourceDriver",
    "deletePods",
    "sleep",
    "startCollectingMetrics",
    "stopCollectingMetrics",
    "updateAny",
];

/// Reads the test cases of a file.
///
/// # Errors
/// Everything that is wrong with it, rendered.
pub fn load(source: &Source, colour: bool) -> Result<Vec<TestCase>, String> {
    let (cases, problems) = read(source);
    if problems.is_empty() { Ok(cases) } else { Err(render_all(source, &problems, colour)) }
}

fn read(source: &Source) -> (Vec<TestCase>, Vec<Problem>) {
    let (documents, found) = manifest::documents_and_problems(source);
    let mut problems = Problems { found };
    let mut cases = Vec::new();
    let document = documents.into_iter().find(|document| document.value != Value::Null);
    match document.map(canonical) {
        Some(Node { value: Value::Seq(items), .. }) => {
            for (index, item) in items.iter().enumerate() {
                cases.extend(case(item, &format!("[{index}]"), source, &mut problems));
            }
        }
        Some(Node { span, .. }) => problems.add(span, "", "a list of test cases is expected here", None),
        None => problems.add(0..0, "", "a list of test cases is expected here", None),
    }
    let mut found = problems.found;
    found.sort_by_key(|problem| problem.at.start);
    // Operations are read once for each workload: what is wrong with them would be said as often.
    found.dedup();
    (cases, found)
}

/// Names that a field may be written for.
const FIELDS: &[&str] = &[
    "collectMetrics",
    "count",
    "countParam",
    "createPodsOp",
    "csiNodeAllocatable",
    "defaultPodTemplatePath",
    "defaultThresholdMetricSelector",
    "deletePodsPerSecond",
    "driverName",
    "duration",
    "durationParam",
    "expectLower",
    "featureGates",
    "intervalMilliseconds",
    "labelKey",
    "labelNodePrepareStrategy",
    "labelSelector",
    "labelValues",
    "labels",
    "maxClaimsPerNode",
    "maxClaimsPerNodeParam",
    "metricsCollectorConfig",
    "migratedPlugins",
    "mode",
    "name",
    "namespace",
    "namespacePrefix",
    "namespaceTemplatePath",
    "namespaces",
    "nodeAllocatable",
    "nodeAllocatableStrategy",
    "nodeTemplatePath",
    "nodes",
    "number",
    "opcode",
    "params",
    "persistentVolumeClaimTemplatePath",
    "persistentVolumeTemplatePath",
    "podTemplatePath",
    "prefix",
    "schedulerConfigPath",
    "skipWaitToCompletion",
    "stageRequirement",
    "steadyState",
    "steadyStateParam",
    "subresources",
    "templatePath",
    "templatePaths",
    "threshold",
    "thresholdMetricSelector",
    "uniqueNodeLabelStrategy",
    "updatePerSecond",
    "workloadTemplate",
    "workloads",
];

/// The node with its fields' names in the case in which they are documented. What is below these is the user's own.
fn canonical(mut node: Node<'_>) -> Node<'_> {
    const USERS: &[&str] =
        &["csiNodeAllocatable", "featureGates", "labelSelector", "nodeAllocatable", "params", "threshold"];
    match &mut node.value {
        Value::Seq(items) => {
            *items = std::mem::take(items).into_iter().map(canonical).collect();
        }
        Value::Map(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(mut key, value)| {
                    if let Some(name) = FIELDS.iter().find(|name| name.eq_ignore_ascii_case(&key.name)) {
                        key.name = Cow::Borrowed(name);
                    }
                    let users = USERS.contains(&key.name.as_ref());
                    (key, if users { value } else { canonical(value) })
                })
                .collect();
        }
        _ => {}
    }
    node
}

fn case(node: &Node<'_>, path: &str, source: &Source, problems: &mut Problems) -> Option<TestCase> {
    let mut fields = Fields::new(node, path, problems)?;
    let name = fields.text("name", problems).unwrap_or_default().to_owned();
    if name.is_empty() {
        problems.add(fields.span(), &fields.path("name"), "a test case needs a name", None);
    }
    let labels = texts(fields.list("labels", problems), &fields.path("labels"), problems);
    let gates = gates(&mut fields, problems);
    let pod_template = fields.text("defaultPodTemplatePath", problems).map(str::to_owned);
    let scheduler_config = fields.text("schedulerConfigPath", problems).map(str::to_owned);
    fields.get("metricsCollectorConfig");
    let default_metric = metric(&mut fields, "defaultThresholdMetricSelector", problems);
    let ops = fields.list("workloadTemplate", problems);
    let workloads = fields.list("workloads", problems);
    let (ops_path, workloads_path) = (fields.path("workloadTemplate"), fields.path("workloads"));
    fields.end(problems);
    let mut read = Vec::new();
    for (index, workload) in workloads.iter().enumerate() {
        let path = format!("{workloads_path}[{index}]");
        let Some(mut fields) = Fields::new(workload, &path, problems) else { continue };
        let own = fields.text("name", problems).unwrap_or_default();
        let mut all_labels = labels.clone();
        all_labels.extend(texts(fields.list("labels", problems), &fields.path("labels"), problems));
        let mut feature_gates = gates.clone();
        for (gate, on) in self::gates(&mut fields, problems) {
            feature_gates.retain(|(known, _)| *known != gate);
            feature_gates.push((gate, on));
        }
        let other_metric = metric(&mut fields, "thresholdMetricSelector", problems).or(default_metric.clone());
        let threshold = threshold(&mut fields, source, problems).map(|value| Threshold { value, other_metric });
        let mut params = Params { name: own.to_owned(), given: Vec::new() };
        if let Some(node) = fields.get("params") {
            match &node.value {
                Value::Map(entries) => params.given = entries.iter().map(|(key, value)| (key, value, false)).collect(),
                _ => problems.add(node.span.clone(), &fields.path("params"), "a mapping is expected here", None),
            }
        }
        fields.end(problems);
        let mut list = Vec::new();
        for (index, node) in ops.iter().enumerate() {
            list.extend(op(node, &format!("{ops_path}[{index}]"), &mut params, problems));
        }
        let mut declared_features = 0;
        for (key, value, used) in &params.given {
            if let (DECLARED_FEATURES, Value::Int(number)) = (key.name.as_ref(), &value.value) {
                declared_features = u32::try_from(*number).unwrap_or(0);
            } else if !used {
                let message = format!("no operation uses the parameter `{}`", key.name);
                problems.add(key.span.clone(), &format!("{path}.params.{}", key.name), message, None);
            }
        }
        let name = format!("{name}/{own}");
        read.push(Workload { name, labels: all_labels, feature_gates, threshold, ops: list, declared_features });
    }
    Some(TestCase { name, pod_template, scheduler_config, workloads: read })
}

/// A workload's parameters, each with whether it was used.
struct Params<'n, 'a> {
    name: String,
    given: Vec<(&'n manifest::tree::Key<'a>, &'n Node<'a>, bool)>,
}

impl<'n, 'a> Params<'n, 'a> {
    /// The value of `$name`, as a field of that ending in `Param` has it.
    fn get(
        &mut self,
        fields: &mut Fields<'_, '_>,
        field: &'static str,
        problems: &mut Problems,
    ) -> Option<&'n Node<'a>> {
        let text = fields.text(field, problems)?;
        let at = fields.place_of(field);
        let Some(name) = text.strip_prefix('$') else {
            problems.add(at, &fields.path(field), "the name of a parameter begins with `$`", None);
            return None;
        };
        match self.given.iter_mut().find(|(key, _, _)| key.name == name) {
            Some((_, node, used)) => {
                *used = true;
                Some(node)
            }
            None => {
                let message = format!("workload `{}` has no parameter `{name}`", self.name);
                problems.add(at, &fields.path(field), message, None);
                None
            }
        }
    }
}

fn op(node: &Node<'_>, path: &str, params: &mut Params<'_, '_>, problems: &mut Problems) -> Option<Op> {
    let mut fields = Fields::new(node, path, problems)?;
    let opcode = fields.text("opcode", problems).unwrap_or_default().to_owned();
    let op = match opcode.as_str() {
        "createNodes" => Op::CreateNodes {
            count: count(&mut fields, params, problems),
            template: fields.text("nodeTemplatePath", problems).map(str::to_owned),
            prepare: prepare(&mut fields, problems),
        },
        "createNamespaces" => Op::CreateNamespaces {
            count: count(&mut fields, params, problems),
            prefix: required(&mut fields, "prefix", problems),
            template: fields.text("namespaceTemplatePath", problems).map(str::to_owned),
        },
        "createPods" => Op::CreatePods(create_pods(&mut fields, params, problems)),
        "createPodSets" => {
            let count = count(&mut fields, params, problems);
            let prefix = required(&mut fields, "namespacePrefix", problems);
            let mut pods = CreatePods::default();
            match fields.fields("createPodsOp", problems) {
                Some(mut inner) => {
                    inner.get("opcode");
                    pods = create_pods(&mut inner, params, problems);
                    inner.end(problems);
                }
                None => problems.add(fields.span(), &fields.path("createPodsOp"), "required", None),
            }
            Op::CreatePodSets { count, prefix, pods }
        }
        "deletePods" => Op::DeletePods {
            namespace: required(&mut fields, "namespace", problems),
            selector: selector(&mut fields, problems),
            per_second: natural(&mut fields, "deletePodsPerSecond", problems).unwrap_or(0),
            wait: !fields.boolean("skipWaitToCompletion", problems).unwrap_or(false),
        },
        "churn" => churn(&mut fields, problems),
        "barrier" => Op::Barrier {
            namespaces: texts(fields.list("namespaces", problems), &fields.path("namespaces"), problems),
            selector: selector(&mut fields, problems),
            attempted: match fields.text("stageRequirement", problems) {
                None | Some("" | "Scheduled") => false,
                Some("Attempted") => true,
                Some(other) => {
                    let message = format!("unknown stage `{other}`");
                    let hint = Some("Scheduled or Attempted".to_owned());
                    problems.add(fields.place_of("stageRequirement"), &fields.path("stageRequirement"), message, hint);
                    false
                }
            },
        },
        "sleep" => Op::Sleep(duration(&mut fields, params, problems).unwrap_or_default()),
        "createAny" => Op::CreateAny {
            count: count_or(&mut fields, Some(1), params, problems),
            template: required(&mut fields, "templatePath", problems),
            namespace: fields.text("namespace", problems).map(str::to_owned),
        },
        "updateAny" => Op::UpdateAny {
            count: count_or(&mut fields, Some(1), params, problems),
            template: required(&mut fields, "templatePath", problems),
            namespace: fields.text("namespace", problems).map(str::to_owned),
            per_second: natural(&mut fields, "updatePerSecond", problems).unwrap_or(0),
            subresources: texts(fields.list("subresources", problems), &fields.path("subresources"), problems),
        },
        "startCollectingMetrics" => {
            fields.text("name", problems);
            Op::StartCollecting {
                namespaces: texts(fields.list("namespaces", problems), &fields.path("namespaces"), problems),
                selector: selector(&mut fields, problems),
            }
        }
        "stopCollectingMetrics" => Op::StopCollecting,
        "createResourceClaims" => Op::CreateAny {
            count: count(&mut fields, params, problems),
            template: required(&mut fields, "templatePath", problems),
            namespace: Some(required(&mut fields, "namespace", problems)),
        },
        "createResourceDriver" => Op::CreateResourceDriver {
            driver: required(&mut fields, "driverName", problems),
            nodes: required(&mut fields, "nodes", problems),
            devices: match fields.get("maxClaimsPerNodeParam") {
                None => natural(&mut fields, "maxClaimsPerNode", problems).unwrap_or(0),
                Some(_) => {
                    fields.get("maxClaimsPerNode");
                    let node = params.get(&mut fields, "maxClaimsPerNodeParam", problems);
                    let number = node.and_then(|node| match node.value {
                        Value::Int(number) => u32::try_from(number).ok().filter(|number| *number <= MOST),
                        _ => None,
                    });
                    if let (Some(node), None) = (node, number) {
                        problems.add(node.span.clone(), "", "a count is expected here", None);
                    }
                    number.unwrap_or(0)
                }
            },
        },
        "allocResourceClaims" => Op::AllocClaims { namespace: required(&mut fields, "namespace", problems) },
        unknown => {
            let hint = manifest::nearest(unknown, OPCODES.iter().copied());
            let hint = hint.map_or_else(|| OPCODES.join(", "), |name| format!("did you mean `{name}`?"));
            let message = if unknown.is_empty() { "an operation needs an opcode" } else { "unknown opcode" };
            problems.add(fields.place_of("opcode"), &fields.path("opcode"), message, Some(hint));
            return None;
        }
    };
    fields.end(problems);
    Some(op)
}

fn create_pods(fields: &mut Fields<'_, '_>, params: &mut Params<'_, '_>, problems: &mut Problems) -> CreatePods {
    let text =
        |fields: &mut Fields<'_, '_>, name, problems: &mut Problems| fields.text(name, problems).map(str::to_owned);
    let volume = text(fields, "persistentVolumeTemplatePath", problems);
    let claim = text(fields, "persistentVolumeClaimTemplatePath", problems);
    let steady = match fields.get("steadyStateParam") {
        Some(_) => {
            let node = params.get(fields, "steadyStateParam", problems);
            let value = node.map(|node| &node.value);
            if let (Some(node), false) = (node, matches!(value, Some(Value::Bool(_)))) {
                problems.add(node.span.clone(), "", "true or false is expected here", None);
            }
            value == Some(&Value::Bool(true))
        }
        None => fields.boolean("steadyState", problems).unwrap_or(false),
    };
    fields.get("steadyState");
    let duration = duration(fields, params, problems);
    let pods = CreatePods {
        count: count(fields, params, problems),
        namespace: text(fields, "namespace", problems),
        template: text(fields, "podTemplatePath", problems),
        collect: fields.boolean("collectMetrics", problems).unwrap_or(false),
        wait: !fields.boolean("skipWaitToCompletion", problems).unwrap_or(false),
        steady: duration.filter(|_| steady),
        volumes: volume.zip(claim),
    };
    let mut refuse = |name: &str, message: &str| problems.add(fields.span(), &fields.path(name), message, None);
    if pods.collect && !pods.wait {
        refuse("collectMetrics", "collectMetrics and skipWaitToCompletion cannot be true at the same time");
    }
    if steady && !pods.wait {
        refuse("steadyState", "steadyState and skipWaitToCompletion cannot be true at the same time");
    }
    if steady && duration.is_none_or(|duration| duration.is_zero()) {
        refuse("duration", "a steady state needs a duration greater than 0");
    }
    pods
}

fn churn(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Op {
    let mode = required(fields, "mode", problems);
    if !matches!(mode.as_str(), "create" | "recreate") {
        let hint = Some("create or recreate".to_owned());
        problems.add(fields.place_of("mode"), &fields.path("mode"), format!("unknown mode `{mode}`"), hint);
    }
    let number = natural(fields, "number", problems).unwrap_or(0);
    let recreate = mode == "recreate";
    if recreate && number == 0 {
        problems.add(fields.span(), &fields.path("number"), "must be greater than 0 to recreate", None);
    }
    let templates = texts(fields.list("templatePaths", problems), &fields.path("templatePaths"), problems);
    if templates.is_empty() {
        problems.add(fields.span(), &fields.path("templatePaths"), "at least one template is needed", None);
    }
    let millis = natural(fields, "intervalMilliseconds", problems).filter(|millis| *millis > 0).unwrap_or(500);
    Op::Churn(Churn {
        recreate,
        number: number.max(u32::from(recreate)),
        interval: Duration::from_millis(u64::from(millis)),
        templates,
        namespace: fields.text("namespace", problems).map(str::to_owned),
    })
}

fn prepare(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Prepare {
    let mut found = Vec::new();
    if let Some(mut inner) = fields.fields("labelNodePrepareStrategy", problems) {
        let key = required(&mut inner, "labelKey", problems);
        let values = texts(inner.list("labelValues", problems), &inner.path("labelValues"), problems);
        if values.is_empty() {
            problems.add(inner.span(), &inner.path("labelValues"), "at least one value is needed", None);
        }
        inner.end(problems);
        found.push(Prepare::Label { key, values });
    }
    if let Some(mut inner) = fields.fields("uniqueNodeLabelStrategy", problems) {
        let key = required(&mut inner, "labelKey", problems);
        inner.end(problems);
        found.push(Prepare::UniqueLabel { key });
    }
    if let Some(mut inner) = fields.fields("nodeAllocatableStrategy", problems) {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut given = Allocatable {
            node: inner.pairs("nodeAllocatable", problems).into_iter().map(own).collect(),
            migrated: texts(inner.list("migratedPlugins", problems), &inner.path("migratedPlugins"), problems),
            ..Allocatable::default()
        };
        if let Some(node) = inner.get("csiNodeAllocatable")
            && let Value::Map(drivers) = &node.value
        {
            for (driver, limits) in drivers {
                let path = format!("{}[{}]", inner.path("csiNodeAllocatable"), driver.name);
                let Some(mut limits) = Fields::new(limits, &path, problems) else { continue };
                let count = natural(&mut limits, "count", problems).unwrap_or(0);
                limits.end(problems);
                given.csi.push((driver.name.to_string(), i32::try_from(count).unwrap_or(i32::MAX)));
            }
        }
        inner.end(problems);
        found.push(Prepare::Allocatable(given));
    }
    if found.len() > 1 {
        problems.add(fields.span(), &fields.path(""), "at most one strategy for the nodes can be given", None);
    }
    found.pop().unwrap_or_default()
}

fn required(fields: &mut Fields<'_, '_>, name: &'static str, problems: &mut Problems) -> String {
    let before = problems.found.len();
    let text = fields.text(name, problems).unwrap_or_default().to_owned();
    if text.is_empty() && problems.found.len() == before {
        problems.add(fields.span(), &fields.path(name), format!("`{name}` is needed here"), None);
    }
    text
}

/// More objects than this are no benchmark but a slip.
const MOST: u32 = 10_000_000;

/// A number that is not negative.
fn natural(fields: &mut Fields<'_, '_>, name: &'static str, problems: &mut Problems) -> Option<u32> {
    let number = fields.integer(name, problems)?;
    let natural = u32::try_from(number).ok().filter(|number| *number <= MOST);
    if natural.is_none() {
        problems.add(fields.place_of(name), &fields.path(name), format!("{number} is not a count"), None);
    }
    natural
}

fn count(fields: &mut Fields<'_, '_>, params: &mut Params<'_, '_>, problems: &mut Problems) -> u32 {
    count_or(fields, None, params, problems)
}

/// `count`, or the parameter of `countParam`; else `default`, or a problem.
fn count_or(
    fields: &mut Fields<'_, '_>,
    default: Option<u32>,
    params: &mut Params<'_, '_>,
    problems: &mut Problems,
) -> u32 {
    if fields.get("countParam").is_some() {
        fields.get("count");
        let Some(node) = params.get(fields, "countParam", problems) else { return 0 };
        let number = match node.value {
            Value::Int(number) => u32::try_from(number).ok().filter(|number| *number <= MOST),
            _ => None,
        };
        if number.is_none() {
            problems.add(node.span.clone(), "", "a count is expected here", None);
        }
        return number.unwrap_or(0);
    }
    match natural(fields, "count", problems).filter(|count| *count > 0).or(default) {
        Some(count) => count,
        None => {
            problems.add(fields.span(), &fields.path("count"), "`count` or `countParam` is needed here", None);
            0
        }
    }
}

fn duration(fields: &mut Fields<'_, '_>, params: &mut Params<'_, '_>, problems: &mut Problems) -> Option<Duration> {
    if fields.get("durationParam").is_some() {
        fields.get("duration");
        let node = params.get(fields, "durationParam", problems)?;
        return values::duration(node, "", problems);
    }
    let path = fields.path("duration");
    values::duration(fields.get("duration")?, &path, problems)
}

/// A mapping of labels, all of which must be there.
fn selector(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Selector {
    let pairs = fields.pairs("labelSelector", problems);
    Selector::from_labels(&Labels::new(pairs.into_iter().map(|(key, value)| (Name::new(key), Name::new(value)))))
}

fn texts(nodes: &[Node<'_>], path: &str, problems: &mut Problems) -> Vec<String> {
    let mut found = Vec::new();
    for node in nodes {
        match node.as_str() {
            Some(text) => found.push(text.to_owned()),
            None => problems.add(node.span.clone(), path, "a string is expected here", None),
        }
    }
    found
}

fn gates(fields: &mut Fields<'_, '_>, problems: &mut Problems) -> Vec<(String, bool)> {
    let Some(node) = fields.get("featureGates") else { return Vec::new() };
    let path = fields.path("featureGates");
    let Value::Map(entries) = &node.value else {
        problems.add(node.span.clone(), &path, "a mapping is expected here", None);
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, value) in entries {
        match value.value {
            Value::Bool(on) => found.push((key.name.to_string(), on)),
            _ => problems.add(value.span.clone(), &path, "true or false is expected here", None),
        }
    }
    found
}

/// The metric that a threshold is for, if it is not the default.
fn metric(fields: &mut Fields<'_, '_>, name: &'static str, problems: &mut Problems) -> Option<String> {
    let node = fields.get(name)?;
    let metric = node.get("name").and_then(Node::as_str).unwrap_or("SchedulingThroughput");
    if !matches!(node.value, Value::Map(_)) {
        problems.add(node.span.clone(), &fields.path(name), "a mapping is expected here", None);
    }
    let bucket = node.at_path("labels.Metric").or_else(|| node.get("dataBucket")).and_then(Node::as_str);
    let is_default = metric == "SchedulingThroughput" && bucket.is_none_or(|bucket| bucket == "Average");
    (!is_default).then(|| bucket.map_or_else(|| metric.to_owned(), |bucket| format!("{metric} {bucket}")))
}

/// A number, or a mapping of topics to numbers, of which the folder's name picks one.
fn threshold(fields: &mut Fields<'_, '_>, source: &Source, problems: &mut Problems) -> Option<f64> {
    let node = fields.get("threshold")?;
    let number = match &node.value {
        Value::Map(topics) => {
            let mut folders = source.name.rsplit('/').skip(1);
            let topic = folders.find_map(|folder| topics.iter().find(|(topic, _)| topic.name == folder));
            match topic.or(topics.first()) {
                Some((_, number)) => number,
                None => return None,
            }
        }
        _ => node,
    };
    let value = match number.value {
        Value::Int(number) => number as f64,
        Value::Float(number) => number,
        _ => {
            problems.add(number.span.clone(), &fields.path("threshold"), "a number is expected here", None);
            return None;
        }
    };
    (value > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The workloads with their operations, or the problems by line.
    #[track_caller]
    fn check(text: &str, wanted: &[&str]) {
        let (cases, problems) = read(&Source::new("misc/performance-config.yaml", text));
        let lines = Source::new("", text);
        let problems = problems.iter().map(|p| format!("{} {}: {}", lines.place(p.at.start).line, p.field, p.kind));
        let workloads = cases.iter().flat_map(|case| &case.workloads);
        let workloads =
            workloads.map(|w| format!("{} {:?} {:?}", w.name, w.threshold.as_ref().map(|t| t.value), w.ops));
        let got: Vec<String> = problems.chain(workloads).collect();
        let got: Vec<&str> = got.iter().map(String::as_str).collect();
        assert_eq!(got, wanted);
    }

    #[test]
    fn parameters_are_filled_in_for_each_workload() {
        check(
            "- name: A\n  workloadTemplate: [{opcode: createNamespaces, countParam: $pods, prefix: p}, {Opcode: sleep, Duration: 5s}]\n  \
             workloads: [{name: one, params: {pods: 1}, threshold: 7}, {name: two, params: {pods: 2}, threshold: {misc: 3.5, dra: 1}}]\n",
            &[
                "A/one Some(7.0) [CreateNamespaces { count: 1, prefix: \"p\", template: None }, Sleep(Duration(5000000000))]",
                "A/two Some(3.5) [CreateNamespaces { count: 2, prefix: \"p\", template: None }, Sleep(Duration(5000000000))]",
            ],
        );
    }

    #[test]
    fn a_parameter_that_is_missing_wrong_or_unused_is_a_problem() {
        check(
            "- name: A\n  workloadTemplate:\n  - {opcode: createNamespaces, prefix: p, countParam: $pods}\n  workloads:\n  - {name: one, params: {m: 1}}\n  - {name: two, params: {pods: many}}\n",
            &[
                "3 [0].workloadTemplate[0].countParam: workload `one` has no parameter `pods`",
                "5 [0].workloads[0].params.m: no operation uses the parameter `m`",
                "6 : a count is expected here",
                "A/one None [CreateNamespaces { count: 0, prefix: \"p\", template: None }]",
                "A/two None [CreateNamespaces { count: 0, prefix: \"p\", template: None }]",
            ],
        );
    }

    #[test]
    fn what_is_wrong_with_an_operation_is_told_once_and_at_its_place() {
        check(
            "- name: A\n  workloadTemplate:\n  - {opcode: createPod, count: 1}\n  - {opcode: sleep, duration: 5 s}\n  - {opcode: barrier, stage: Scheduled}\n  \
             - {opcode: createPods, count: 1, collectMetrics: true, skipWaitToCompletion: true}\n  workloads: [{name: one}, {name: two}]\n",
            &[
                "3 [0].workloadTemplate[0].opcode: unknown opcode",
                "4 [0].workloadTemplate[1].duration: `5 s` is not a duration",
                "5 [0].workloadTemplate[2].stage: unknown field `stage`",
                "6 [0].workloadTemplate[3].collectMetrics: collectMetrics and skipWaitToCompletion cannot be true at the same time",
                "A/one None [Sleep(Duration(0)), Barrier { namespaces: [], selector: Selector { requirements: [] }, attempted: false }, CreatePods(CreatePods { count: 1, namespace: None, template: None, collect: true, wait: false, steady: None, volumes: None })]",
                "A/two None [Sleep(Duration(0)), Barrier { namespaces: [], selector: Selector { requirements: [] }, attempted: false }, CreatePods(CreatePods { count: 1, namespace: None, template: None, collect: true, wait: false, steady: None, volumes: None })]",
            ],
        );
    }

    #[test]
    fn what_is_no_list_of_cases_is_refused() {
        check("apiVersion: v1\n", &["1 : a list of test cases is expected here"]);
        check("", &["1 : a list of test cases is expected here"]);
    }
}
