//! The ephemeralcontainers subresource of pods: containers that are added to a pod that is there.
//!
//! Kubernetes: pkg/registry/core/pod/strategy.go (podEphemeralContainersStrategy), ValidatePodEphemeralContainersUpdate in
//! pkg/apis/core/validation/validation.go. No admission plug-in looks at it, and quotas don't count it.

use std::sync::Arc;

use super::validation::{self, Invalid};
use super::write::invalid;
use super::{ApiServer, Fx};
use crate::model::{Container, Name, Object, Pod, PodSpec};
use crate::protocol::api::Status;

/// The annotation of a mirror, the shadow of a static pod.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

impl ApiServer {
    /// PATCH of `pods/ephemeralcontainers`: `containers` is the whole list as it shall be. The object as stored.
    pub(super) fn ephemeral_containers(
        &mut self,
        old: &Object,
        pod: &Arc<Pod>,
        containers: Arc<[Container]>,
        fx: &mut Fx,
    ) -> Result<Object, Status> {
        let spec = PodSpec { ephemeral_containers: containers, ..PodSpec::clone(&pod.spec) };
        if spec == *pod.spec {
            return Ok(old.clone());
        }
        let mut new = Pod::clone(pod);
        new.spec = Arc::new(spec);
        new.meta.generation += 1;
        let new_object = Object::Pod(Arc::new(new));
        let problems = if pod.meta.annotations.get(Name::new(MIRROR)).is_some() {
            vec![Invalid::new("", "Forbidden: static pods do not support ephemeral containers")]
        } else {
            let mut problems = validation::validate(&new_object, self.gates());
            problems.extend(changes(&pod.spec, &new_object));
            problems
        };
        invalid(&new_object, problems)?;
        Ok(self.replace_changed(old, new_object, fx))
    }
}

/// Those that are there stay as they are; their order doesn't matter.
fn changes(old: &PodSpec, new: &Object) -> Vec<Invalid> {
    let at = "spec.ephemeralContainers";
    let Some(new) = new.as_pod() else { return Vec::new() };
    let problem = |old: &Container| {
        let (name, found) = (old.name, new.spec.ephemeral_containers.iter().find(|one| one.name == old.name));
        match found {
            None => Some(Invalid::new(
                at,
                format!("Forbidden: existing ephemeral containers \"{name}\" may not be removed\n"),
            )),
            Some(found) if found != old => Some(Invalid::new(
                at,
                format!("Forbidden: existing ephemeral containers \"{name}\" may not be changed\n"),
            )),
            Some(_) => None,
        }
    };
    old.ephemeral_containers.iter().filter_map(problem).collect()
}
