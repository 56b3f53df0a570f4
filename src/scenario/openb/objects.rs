//! Nodes and pods of the trace as Kubernetes objects, and the schedulers that are compared.
//!
//! As the trace's own simulator makes them: nodes with `cpu`, `memory`, `pods: 1001`, the GPUs as extended resources and the
//! label `alibabacloud.com/gpu-card-model`; pods with requests equal to limits. Kubernetes can't share a card, so there a share is an annotation;
//! here it is an amount of an extended resource, or a whole card.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::Time;
use crate::manifest::{Problem, Source, render_all};
use crate::model::affinity::NodeSelectorOperator;
use crate::model::condition::ConditionStatus;
use crate::model::{
    Affinity, Bytes, Condition, Container, Labels, Meta, MilliCpu, Name, Node, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, Object, Pod, PodSpec, Resources, Text,
};
use crate::scheduler::Config;

use super::super::scheduler_config;
use super::trace::{TraceNode, TracePod};

/// How GPUs become resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gpus {
    /// `alibabacloud.com/gpu-milli`: thousandths, of all cards of a node together.
    #[default]
    Milli,
    /// `nvidia.com/gpu`: whole cards; a share takes one.
    Whole,
}

const GPU_MILLI: &str = "alibabacloud.com/gpu-milli";
const GPU_COUNT: &str = "alibabacloud.com/gpu-count";
const WHOLE_GPU: &str = "nvidia.com/gpu";
const MODEL_LABEL: &str = "alibabacloud.com/gpu-card-model";
const PODS: i64 = 1001;

/// A node of the trace as an object.
pub(super) fn node(node: &TraceNode, gpus: Gpus) -> Object {
    let name = Name::new(&node.name);
    let mut labels = vec![(Name::new(crate::model::node::HOSTNAME_LABEL), name)];
    if !node.model.is_empty() {
        labels.push((Name::new(MODEL_LABEL), Name::new(&node.model)));
    }
    let mut capacity = Resources {
        cpu: MilliCpu(node.cpu_milli),
        memory: Bytes(node.memory_mib << 20),
        pods: PODS,
        ..Resources::default()
    };
    if node.gpus > 0 {
        match gpus {
            Gpus::Milli => {
                capacity.set_extended(Name::new(GPU_COUNT), node.gpus);
                capacity.set_extended(Name::new(GPU_MILLI), node.gpus * 1000);
            }
            Gpus::Whole => capacity.set_extended(Name::new(WHOLE_GPU), node.gpus),
        }
    }
    let mut object = Node { meta: Meta::named("", name), ..Node::default() };
    object.meta.labels = Labels::new(labels);
    object.status.allocatable = capacity.clone();
    object.status.capacity = capacity;
    object.status.conditions.push(Condition {
        kind: Name::new("Ready"),
        status: ConditionStatus::True,
        reason: Name::new("KubeletReady"),
        message: Text::default(),
        last_transition: Time::ZERO,
        last_update: Time::ZERO,
    });
    Object::Node(Arc::new(object))
}

/// The specs of the trace's pods. Pods that ask for the same share one, as replicas of a template do.
pub(super) fn specs(pods: &[TracePod], gpus: Gpus) -> Vec<Arc<PodSpec>> {
    let mut known: BTreeMap<_, Arc<PodSpec>> = BTreeMap::new();
    let shared = pods.iter().map(|pod| {
        let asked = (pod.cpu_milli, pod.memory_mib, pod.gpus, pod.gpu_milli, pod.models.as_slice());
        known.entry(asked).or_insert_with(|| Arc::new(spec(pod, gpus))).clone()
    });
    shared.collect()
}

fn spec(pod: &TracePod, gpus: Gpus) -> PodSpec {
    let mut container =
        Container { name: Name::new("main"), image: Name::new("tensorflow:latest"), ..Container::default() };
    let requests = &mut container.resources.requests;
    requests.cpu = Some(MilliCpu(pod.cpu_milli));
    requests.memory = Some(Bytes(pod.memory_mib << 20));
    match gpus {
        Gpus::Milli if pod.milli() > 0 => requests.extended.push((Name::new(GPU_MILLI), pod.milli())),
        Gpus::Whole if pod.gpus > 0 => requests.extended.push((Name::new(WHOLE_GPU), pod.gpus)),
        _ => {}
    }
    container.resources.limits = container.resources.requests.clone();
    let affinity = (!pod.models.is_empty()).then(|| {
        let models = NodeSelectorRequirement {
            key: Name::new(MODEL_LABEL),
            operator: NodeSelectorOperator::In,
            values: pod.models.iter().map(Name::from).collect(),
        };
        let term = NodeSelectorTerm { expressions: vec![models], fields: Vec::new() };
        Arc::new(Affinity { node_required: Some(NodeSelector { terms: vec![term] }), ..Affinity::default() })
    });
    PodSpec { containers: Arc::new([container]), affinity, ..PodSpec::default() }
}

/// A pod of this spec and name.
pub(super) fn pod(spec: &Arc<PodSpec>, name: Name) -> Object {
    Object::Pod(Arc::new(Pod { meta: Meta::named("default", name), spec: spec.clone(), ..Pod::default() }))
}

/// Nodes and pods of a trace as objects, for files.
pub fn objects(nodes: &[TraceNode], pods: &[TracePod], gpus: Gpus) -> (Vec<Object>, Vec<Object>) {
    let specs = specs(pods, gpus);
    let pods = pods.iter().zip(&specs).map(|(one, spec)| pod(spec, Name::new(&one.name)));
    (nodes.iter().map(|one| node(one, gpus)).collect(), pods.collect())
}

/// The scheduler's settings of a KubeSchedulerConfiguration, for experiments: with a client that is not limited.
///
/// # Errors
/// What is wrong with it, rendered.
pub fn scheduler_of(source: &Source) -> Result<Config, String> {
    let (config, problems) = scheduler_config::read(source, Config::default(), &[]);
    let errors: Vec<Problem> = problems.into_iter().filter(Problem::is_error).collect();
    match config {
        Some(config) if errors.is_empty() => Ok(Config { client_qps: 0, ..config }),
        _ => Err(render_all(source, &errors, false)),
    }
}
