//! What a cluster would refuse or take silently, and a user of files should hear of: namespaces that nobody makes,
//! priority classes that there are not, schedulers that do not run, amounts that are not whole bytes.
//!
//! Kubernetes: plugin/pkg/admission/{namespace/lifecycle,priority}, pkg/api/pod/warnings.go.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::manifest::{LoadedObject, Node, ProblemKind, Value};
use crate::model::config::Namespace;
use crate::model::quantity::Quantity;
use crate::model::{Kind, Meta, Name, Object, PodSpec};

use super::file::Compiled;

/// What each cluster has, without anybody's doing.
const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
const PRIORITY_CLASSES: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// What there is for objects to refer to. Looked up, never iterated.
pub(super) struct Known {
    namespaces: FxHashSet<Name>,
    priority_classes: FxHashSet<Name>,
    schedulers: FxHashSet<Name>,
}

impl Known {
    /// What the objects of all files bring, beside what each cluster has.
    pub(super) fn of(objects: &[Compiled]) -> Known {
        let named = |kind: Kind, always: &[&str]| {
            let brought = objects.iter().filter(|compiled| compiled.object.kind() == kind);
            brought
                .map(|compiled| compiled.object.meta().name)
                .chain(always.iter().map(|name| Name::new(name)))
                .collect()
        };
        Known {
            namespaces: NAMESPACES.iter().map(|name| Name::new(name)).collect(),
            priority_classes: named(Kind::PriorityClass, &PRIORITY_CLASSES),
            schedulers: FxHashSet::from_iter([Name::new("default-scheduler")]),
        }
    }

    /// The namespace of an object if nobody has made it before: the first time that it is met. To be asked of all objects
    /// in their order.
    pub(super) fn new_namespace(&mut self, object: &Object) -> Option<Object> {
        if object.kind() == Kind::Namespace {
            self.namespaces.insert(object.meta().name);
        }
        let namespace = object.meta().namespace;
        let is_new = object.kind().is_namespaced() && !namespace.is_empty() && self.namespaces.insert(namespace);
        is_new.then(|| Object::Namespace(Arc::new(Namespace { meta: Meta::named(Name::default(), namespace) })))
    }

    /// What is to be said of an object that is new to the cluster: fields and problems.
    pub(super) fn remarks(&self, object: &Object, loaded: &LoadedObject<'_>) -> Vec<(String, ProblemKind)> {
        let mut remarks = Vec::new();
        if let Some((at, spec)) = pod_spec(object) {
            let class = spec.priority_class;
            if object.kind() == Kind::Pod && !class.is_empty() && !self.priority_classes.contains(&class) {
                // In a template it is the controller that fails to create pods, and its events say so.
                let message = format!("Forbidden: no PriorityClass with name {class} was found");
                remarks.push((format!("{at}.priorityClassName"), ProblemKind::Invalid { message }));
            }
            if !self.schedulers.contains(&spec.scheduler_name) {
                let message =
                    format!("no scheduler `{}` runs here; the pods wait for it for ever", spec.scheduler_name);
                remarks.push((format!("{at}.schedulerName"), ProblemKind::Remark { message }));
            }
            if let Some(node) = loaded.node.at_path(at) {
                for list in ["initContainers", "containers"] {
                    let Some(Value::Seq(containers)) = node.get(list).map(|node| &node.value) else { continue };
                    for (index, container) in containers.iter().enumerate() {
                        fractions(container, &format!("{at}.{list}[{index}]"), &mut remarks);
                    }
                }
            }
        }
        remarks
    }
}

/// Amounts of memory and disk that are not whole bytes: `100m` is a tenth of a byte, and meant as something else.
fn fractions(container: &Node<'_>, at: &str, remarks: &mut Vec<(String, ProblemKind)>) {
    for list in ["limits", "requests"] {
        for resource in ["memory", "ephemeral-storage"] {
            let field = format!("resources.{list}[{resource}]");
            let text = container.at_path(&field).and_then(Node::as_str).unwrap_or_default();
            if text.parse::<Quantity>().is_ok_and(|quantity| !quantity.is_whole()) {
                let message = format!("fractional byte value {text:?} is invalid, must be an integer");
                remarks.push((format!("{at}.{field}"), ProblemKind::Remark { message }));
            }
        }
    }
}

/// The pod spec that an object has, and where.
fn pod_spec(object: &Object) -> Option<(&'static str, &PodSpec)> {
    let template = match object {
        Object::Pod(pod) => return Some(("spec", &pod.spec)),
        Object::ReplicaSet(set) | Object::ReplicationController(set) => &set.template,
        Object::Deployment(deployment) => &deployment.template,
        Object::StatefulSet(set) => &set.template,
        Object::DaemonSet(set) => &set.template,
        Object::Job(job) => &job.template,
        Object::CronJob(cron_job) => {
            return Some(("spec.jobTemplate.spec.template.spec", &cron_job.job_template.template.spec));
        }
        _ => return None,
    };
    Some(("spec.template.spec", &template.spec))
}
