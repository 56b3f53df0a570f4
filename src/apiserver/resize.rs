//! The resize subresource of pods: new CPU and memory for containers that run.
//!
//! Kubernetes: pkg/registry/core/pod/strategy.go (podResizeStrategy), ValidatePodResize in
//! pkg/apis/core/validation/validation.go; the admission plug-ins that look at it: LimitRanger, the one that refuses what the
//! node can never hold (1.36), and ResourceQuota, which counts what is asked for beyond what the pod has.

use std::sync::Arc;

use super::admission::{self, quota::Usage};
use super::ephemeral::MIRROR;
use super::write::invalid;
use super::{ApiServer, Fx, validation};
use crate::model::pod::ResourceRequirements;
use crate::model::resources::ResourceList;
use crate::model::{Container, Kind, Name, Object, Pod, PodSpec};
use crate::protocol::api::{ResizeRequest, Status};

impl ApiServer {
    /// PATCH of `pods/resize`. The object as stored.
    pub(super) fn resize(
        &mut self,
        old: &Object,
        pod: &Arc<Pod>,
        changes: &[ResizeRequest],
        fx: &mut Fx,
    ) -> Result<Object, Status> {
        if pod.meta.annotations.get(Name::new(MIRROR)).is_some() {
            return invalid(old, vec![validation::Invalid::new("", "Forbidden: static pods cannot be resized")])
                .map(|()| old.clone());
        }
        let mut problems = Vec::new();
        let mut spec = PodSpec::clone(&pod.spec);
        for change in changes {
            if change.container.is_empty() {
                let mut resources = spec.resources.as_deref().cloned().unwrap_or_default();
                set(&mut resources, change);
                spec.resources = Some(Box::new(resources));
                continue;
            }
            let only = validation::Invalid::new("spec", "Forbidden: only cpu and memory resources are mutable");
            let regular = with_change(&spec.containers, change);
            let init = with_change(&spec.init_containers, change);
            match (regular, init) {
                (Some(containers), _) => spec.containers = containers,
                (None, Some(containers)) => {
                    let sidecar = containers.iter().any(|one| one.name == change.container && one.is_sidecar());
                    if !sidecar {
                        let message = "Forbidden: resources for non-sidecar init containers are immutable";
                        problems.push(validation::Invalid::new("spec.initContainers", message));
                    }
                    spec.init_containers = containers;
                }
                (None, None) => problems.push(only.clone()),
            }
            let others = |list: &ResourceList| list.ephemeral_storage.is_some() || !list.extended.is_empty();
            if others(&change.requests) || others(&change.limits) {
                problems.push(only);
            }
        }
        let (before, after) = (pod.spec.qos(), spec.qos());
        if before != after {
            let message =
                format!("Invalid value: \"{}\": Pod QOS Class may not change as a result of resizing", after.as_str());
            problems.push(validation::Invalid::new("spec", message));
        }
        let mut new = Pod::clone(pod);
        let wants = spec.requests();
        new.spec = Arc::new(spec);
        if new.spec == pod.spec {
            return Ok(old.clone());
        }
        let new_object = Object::Pod(Arc::new(new.clone()));
        problems.extend(validation::validate(&new_object, self.gates()));
        invalid(&new_object, problems)?;
        admission::limits_allow(self.store(), &new)?;
        let node = pod.node.and_then(|node| self.store().node(node));
        if let Some(node) = node {
            let has = &node.status.allocatable;
            let short = [("cpu", wants.cpu.0, has.cpu.0), ("memory", wants.memory.0, has.memory.0)];
            if let Some((name, wants, has)) = short.into_iter().find(|(_, wants, has)| wants > has) {
                let why = format!("Node didn't have enough capacity: {name}, requested: {wants}, capacity: {has}");
                return Err(admission::forbidden(Kind::Pod, pod.meta.name, why));
            }
        }
        if self.has_quotas(pod.meta.namespace) {
            let more = Usage::of_pod(&new).beyond(&Usage::of_pod(pod));
            self.check_quotas(&new_object, &more)?;
        }
        new.meta.generation += 1;
        let stored = self.replace_changed(old, Object::Pod(Arc::new(new)), fx);
        if self.has_quotas(pod.meta.namespace)
            && let Object::Pod(new) = &stored
        {
            let new = new.clone();
            self.charge_quotas(pod.meta.namespace, &Usage::of_pod(pod), &Usage::of_pod(&new), fx);
        }
        Ok(stored)
    }
}

/// Takes over what the change names.
fn set(resources: &mut ResourceRequirements, change: &ResizeRequest) {
    for (list, new) in [(&mut resources.requests, &change.requests), (&mut resources.limits, &change.limits)] {
        list.cpu = new.cpu.or(list.cpu);
        list.memory = new.memory.or(list.memory);
    }
}

/// The containers with the change; None if none of them is meant.
fn with_change(containers: &[Container], change: &ResizeRequest) -> Option<Arc<[Container]>> {
    containers.iter().any(|container| container.name == change.container).then(|| {
        let changed = containers.iter().map(|container| {
            let mut container = container.clone();
            if container.name == change.container {
                set(&mut container.resources, change);
            }
            container
        });
        changed.collect()
    })
}
