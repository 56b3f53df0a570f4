//! From `k8s-openapi` objects to the model: versioned defaulting, validation in Kubernetes' words, sharing of what is
//! equal, and the statuses of a dump as the state from which a run begins.
//!
//! Each object is compiled alone: what needs the rest of a cluster (admission, references to missing objects, quotas)
//! is the API server's. What the model does not hold is found by comparing the input with what is printed of the
//! result; see [`super::not_modelled`].
//!
//! Read `path` and `context`, then `pod` with `container`, `volume`, `resources` and `placement`, then the rest.
//!
//! Kubernetes: pkg/apis/*/v1/defaults.go, pkg/apis/*/validation/validation.go.

mod batch;
mod config;
mod container;
mod context;
mod cron;
mod csi;
mod device;
mod loaded;
mod meta;
mod network;
mod node;
mod path;
mod placement;
mod pod;
pub(crate) mod policy;
mod resources;
mod status;
mod storage;
mod volume;
mod workload;

use std::fmt;

use crate::model::Object;

use super::Decoded;
use super::epoch::Epoch;

pub use context::WhereIs;
use context::{Context, Shared, Uids};
pub use loaded::Compiled;

/// Something that Kubernetes' validation would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// As Kubernetes writes it: `spec.containers[0].image`. Empty for the whole object.
    pub field: String,
    /// `Unsupported value: "Sometimes": supported values: "Always", "Never"`.
    pub message: String,
}

/// As Kubernetes says it: `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Compiles the objects of one run. It remembers identities, so that owners find what they own, and what is equal, so
/// that a thousand pods of a dump share a spec.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    /// The gate TaintTolerationComparisonOperators: tolerations with `Gt` and `Lt` are valid.
    pub comparison_operators: bool,
    epoch: Epoch,
    uids: Uids,
    shared: Shared,
}

impl Compiler {
    /// A compiler for a run that begins at `epoch`.
    pub fn new(epoch: Epoch) -> Compiler {
        Compiler { epoch, ..Compiler::default() }
    }

    /// The moment at which the run begins.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Compiles one object. `where_is` tells the line of a field (`spec.template.spec.containers[0]`, or the empty text
    /// for the object) where it is known. `Ok(None)` for the kinds that are read but not simulated.
    ///
    /// # Errors
    /// Everything that is wrong with the object.
    pub fn compile(&mut self, decoded: &Decoded, where_is: WhereIs<'_>) -> Result<Option<Object>, Vec<Invalid>> {
        let mut cx = Context {
            epoch: self.epoch,
            uids: &mut self.uids,
            shared: &mut self.shared,
            where_is,
            stored: false,
            comparing: self.comparison_operators,
            invalid: Vec::new(),
        };
        let object = match decoded {
            Decoded::Pod(pod) => cx.pod(pod),
            Decoded::Node(node) => cx.node(node),
            Decoded::Namespace(namespace) => cx.namespace(namespace),
            Decoded::ReplicaSet(set) => cx.replica_set(set),
            Decoded::ReplicationController(controller) => cx.replication_controller(controller),
            Decoded::Deployment(deployment) => cx.deployment(deployment),
            Decoded::StatefulSet(set) => cx.stateful_set(set),
            Decoded::DaemonSet(set) => cx.daemon_set(set),
            Decoded::ControllerRevision(revision) => cx.controller_revision(revision),
            Decoded::Job(job) => cx.job(job),
            Decoded::CronJob(job) => cx.cron_job(job),
            Decoded::Service(service) => cx.service(service),
            Decoded::EndpointSlice(slice) => cx.endpoint_slice(slice),
            Decoded::ConfigMap(map) => cx.config_map(map),
            Decoded::Secret(secret) => cx.secret(secret),
            Decoded::PersistentVolumeClaim(claim) => cx.claim(claim),
            Decoded::PersistentVolume(volume) => cx.volume(volume),
            Decoded::StorageClass(class) => cx.storage_class(class),
            Decoded::CSINode(node) => cx.csi_node(node),
            Decoded::CSIDriver(driver) => cx.csi_driver(driver),
            Decoded::CSIStorageCapacity(capacity) => cx.csi_storage_capacity(capacity),
            Decoded::VolumeAttachment(attachment) => cx.volume_attachment(attachment),
            Decoded::DeviceClass(class) => cx.device_class(class),
            Decoded::ResourceClaim(claim) => cx.resource_claim(claim),
            Decoded::ResourceClaimTemplate(template) => cx.resource_claim_template(template),
            Decoded::ResourceSlice(slice) => cx.resource_slice(slice),
            Decoded::PodDisruptionBudget(budget) => cx.disruption_budget(budget),
            Decoded::PriorityClass(class) => cx.priority_class(class),
            Decoded::LimitRange(range) => cx.limit_range(range),
            Decoded::ResourceQuota(quota) => cx.quota(quota),
            Decoded::Lease(lease) => cx.lease(lease),
            Decoded::HorizontalPodAutoscaler(scaler) => {
                cx.autoscaler(scaler.spec.min_replicas, scaler.spec.max_replicas);
                return if cx.invalid.is_empty() { Ok(None) } else { Err(cx.invalid) };
            }
            Decoded::HorizontalPodAutoscalerV1(scaler) => {
                cx.autoscaler(scaler.spec.min_replicas, scaler.spec.max_replicas);
                return if cx.invalid.is_empty() { Ok(None) } else { Err(cx.invalid) };
            }
            Decoded::Event(event) => match cx.event(event) {
                Some(event) => event,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if cx.invalid.is_empty() { Ok(Some(object)) } else { Err(cx.invalid) }
    }
}
