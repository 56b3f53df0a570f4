//! Validation: what is wrong with an object by itself, in Kubernetes' words.
//!
//! Kubernetes: pkg/apis/{core,apps,batch,policy}/validation, staging/src/k8s.io/apimachinery/pkg/util/validation. Thin:
//! what the model can show and users meet. Wrong enum words, missing fields without a default and texts that are no
//! quantities are found when a file is compiled into the model.
//!
//! `names` has the grammars, `pod`, `container` and `affinity` the pod's spec, `workload` what makes pods, `small` the
//! rest, `update` what may not change, `cron` the schedule's grammar.

mod affinity;
mod container;
mod cron;
mod names;
mod pod;
mod small;
mod update;
mod workload;

use std::fmt;

use super::FeatureGates;
use crate::model::{Kind, Labels, Meta, Name, Object};

pub use update::validate_update;

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As Kubernetes writes it: `spec.containers[0].image`. Keys of maps stand in brackets (`resources.requests[cpu]`).
    pub field: String,
    /// What is wrong, beginning with the kind of mistake: `Invalid value: -1: must be greater than or equal to 0`.
    pub message: String,
}

impl Invalid {
    /// The mistake `message` at `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Invalid {
        Invalid { field: field.into(), message: message.into() }
    }
}

/// `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything that is wrong with a new object, in Kubernetes' order. Empty if nothing is. A missing name is not among
/// it: names may be generated.
pub fn validate(object: &Object, gates: FeatureGates) -> Vec<Invalid> {
    let mut problems = Problems(Vec::new(), gates);
    meta(object.kind(), object.meta(), &mut problems);
    match object {
        Object::Pod(pod) => pod::pod(pod, &mut problems),
        Object::Node(node) => small::node(node, &mut problems),
        Object::ReplicaSet(set) | Object::ReplicationController(set) => workload::replica_set(set, &mut problems),
        Object::Deployment(deployment) => workload::deployment(deployment, &mut problems),
        Object::StatefulSet(set) => workload::stateful_set(set, &mut problems),
        Object::DaemonSet(set) => workload::daemon_set(set, &mut problems),
        Object::Job(job) => workload::job(job, &mut problems),
        Object::CronJob(cron_job) => workload::cron_job(cron_job, &mut problems),
        Object::Service(service) => small::service(service, &mut problems),
        Object::ConfigMap(data) | Object::Secret(data) => small::config(data, &mut problems),
        Object::PersistentVolumeClaim(claim) => small::claim(claim, &mut problems),
        Object::PersistentVolume(volume) => small::volume(volume, &mut problems),
        Object::PodDisruptionBudget(budget) => small::budget(budget, &mut problems),
        Object::PriorityClass(class) => small::priority_class(class, &mut problems),
        Object::LimitRange(range) => small::limit_range(range, &mut problems),
        Object::ResourceQuota(quota) => small::quota(quota, &mut problems),
        Object::ControllerRevision(_)
        | Object::EndpointSlice(_)
        | Object::Namespace(_)
        | Object::StorageClass(_)
        | Object::CSINode(_)
        | Object::CSIDriver(_)
        | Object::CSIStorageCapacity(_)
        | Object::VolumeAttachment(_)
        | Object::DeviceClass(_)
        | Object::ResourceClaim(_)
        | Object::ResourceClaimTemplate(_)
        | Object::ResourceSlice(_)
        | Object::Lease(_)
        | Object::Event(_) => {}
    }
    problems.0
}

/// What is wrong with an object only because it is new.
pub fn validate_create(object: &Object) -> Option<Invalid> {
    let pod = object.as_pod()?;
    let brings = !pod.spec.ephemeral_containers.is_empty();
    brings.then(|| Invalid::new("spec.ephemeralContainers", "Forbidden: cannot be set on create"))
}

/// What is wrong with an object's metadata alone.
pub fn validate_meta(object: &Object) -> Vec<Invalid> {
    let mut problems = Problems::default();
    meta(object.kind(), object.meta(), &mut problems);
    problems.0
}

/// The message of a 422: `Pod "x" is invalid: …`, with brackets around several problems.
pub fn message(kind: Kind, name: Name, problems: &[Invalid]) -> String {
    let group = kind.api_version().split_once('/').map(|(group, _)| format!(".{group}")).unwrap_or_default();
    let texts: Vec<String> = problems.iter().map(Invalid::to_string).collect();
    let list = match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    format!("{}{group} \"{name}\" is invalid: {list}", kind.as_str())
}

/// The problems found so far.
#[derive(Debug, Default)]
struct Problems(Vec<Invalid>, FeatureGates);

impl Problems {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Invalid::new(field, message));
    }

    fn required(&mut self, field: impl Into<String>) {
        self.add(field, "Required value");
    }

    /// `value` as Go's `%#v` shows a number or JSON an object: unquoted.
    fn invalid(&mut self, field: impl Into<String>, value: impl fmt::Display, why: impl fmt::Display) {
        self.add(field, format!("Invalid value: {value}: {why}"));
    }

    fn invalid_text(&mut self, field: impl Into<String>, value: &str, why: impl fmt::Display) {
        self.add(field, format!("Invalid value: {value:?}: {why}"));
    }

    fn duplicate(&mut self, field: impl Into<String>, value: impl fmt::Display) {
        self.add(field, format!("Duplicate value: \"{value}\""));
    }

    fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.add(field, format!("Forbidden: {why}"));
    }

    fn not_negative(&mut self, field: &str, number: i32) {
        if number < 0 {
            self.invalid(field, number, NOT_NEGATIVE);
        }
    }

    /// The complaints of a grammar about `text`.
    fn grammar(&mut self, field: &str, text: &str, grammar: fn(&str) -> Vec<String>) {
        for why in grammar(text) {
            self.invalid_text(field, text, why);
        }
    }
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const PORT_RANGE: &str = "must be between 1 and 65535, inclusive";

/// All annotations together.
const MAX_ANNOTATIONS: usize = 256 * 1024;

fn meta(kind: Kind, meta: &Meta, problems: &mut Problems) {
    if !meta.name.is_empty() && kind != Kind::Event {
        let grammar = if matches!(kind, Kind::Namespace | Kind::Service) { names::label } else { names::subdomain };
        problems.grammar("metadata.name", &meta.name, grammar);
        // A CronJob's Jobs have eleven characters more than it, and a label's length at most.
        if kind == Kind::CronJob && meta.name.len() > 52 {
            problems.invalid_text("metadata.name", &meta.name, "must be no more than 52 characters");
        }
    }
    labels("metadata.labels", &meta.labels, problems);
    annotations("metadata.annotations", &meta.annotations, problems);
}

fn labels(field: &str, labels: &Labels, problems: &mut Problems) {
    for (key, value) in labels.iter() {
        problems.grammar(field, &key, names::qualified);
        problems.grammar(field, &value, names::label_value);
    }
}

fn annotations(field: &str, annotations: &Labels, problems: &mut Problems) {
    let mut size = 0;
    for (key, value) in annotations.iter() {
        for why in names::qualified(&key.to_lowercase()) {
            problems.invalid_text(field, &key, why);
        }
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        problems.add(field, format!("Too long: may not be more than {MAX_ANNOTATIONS} bytes"));
    }
}

/// Labels as JSON, as error messages show them.
fn labels_json(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{:?}:{:?}", &*key, &*value)).collect();
    format!("{{{}}}", pairs.join(","))
}
