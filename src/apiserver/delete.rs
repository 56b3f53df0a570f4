//! Deletion: grace periods of pods, finalizers, propagation.
//!
//! Kubernetes: staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go (BeforeDelete),
//! …/registry/generic/registry/store.go (Delete, deletionFinalizersForGarbageCollection),
//! pkg/registry/core/pod/strategy.go (CheckGracefulDelete). Dependents are the garbage collector's, a controller: here
//! an owner only gets or loses the finalizers by which it acts.

use smallvec::SmallVec;

use super::parts::{is_released, mark_deleting};
use super::{ApiServer, Fx, admission};
use crate::kernel::{Duration, Time};
use crate::model::{Deletion, Key, Kind, Meta, Name, Object, Pod};
use crate::protocol::api::{DeleteOptions, Propagation, Status, StatusReason};

/// The finalizer of an owner that waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner whose dependents are to be set free first.
const ORPHAN: &str = "orphan";

impl ApiServer {
    /// DELETE. The object as it is now, or as it was last.
    pub(super) fn delete(&mut self, key: &Key, options: DeleteOptions, fx: &mut Fx) -> Result<Object, Status> {
        let old = self.get(key)?.clone();
        let meta = old.meta();
        if let Some(uid) = options.uid
            && uid != meta.uid
        {
            return Err(Status::new(
                StatusReason::Conflict,
                format!(
                    "Operation cannot be fulfilled on {} \"{}\": the UID in the precondition ({uid}) does not match the UID in \
                         record ({}). The object might have been deleted and then recreated",
                    admission::qualified(key.kind),
                    key.name,
                    meta.uid
                ),
            ));
        }
        if key.kind == Kind::Namespace {
            admission::namespace_may_go(key.name)?;
        }
        let mut new = old.clone();
        let changed = wanted_finalizers(meta, options.propagation);
        if let Some(finalizers) = changed {
            new.meta_mut().finalizers = finalizers;
        }
        match &old {
            Object::Pod(pod) => {
                let Some(deletion) = graceful(pod, options.grace, fx.now()) else {
                    // Already being deleted, and not to go sooner.
                    return Ok(old);
                };
                let meta = new.meta_mut();
                if meta.deletion.is_none() {
                    meta.generation += 1;
                }
                meta.deletion = Some(deletion);
            }
            _ if new.meta().finalizers.is_empty() => return Ok(self.remove(&old, fx)),
            _ => mark_deleting(new.meta_mut(), fx.now()),
        }
        if new == old && !is_released(new.meta()) {
            return Ok(old);
        }
        // A pod that goes at once is marked first: a watcher sees its grace period become 0, then its end.
        let stored = if new == old { old } else { self.replace_changed(&old, new, fx) };
        if is_released(stored.meta()) {
            return Ok(self.remove(&stored, fx));
        }
        Ok(stored)
    }
}

/// The pod's deletion after this request, or None if the request changes nothing.
fn graceful(pod: &Pod, grace: Option<Duration>, now: Time) -> Option<Deletion> {
    let second = |time: Time| time.truncated_to_second();
    if let Some(deletion) = pod.meta.deletion {
        if deletion.grace.is_zero() {
            return Some(deletion);
        }
        let grace = grace.filter(|grace| *grace < deletion.grace)?;
        let requested = deletion.at.saturating_sub(deletion.grace);
        let at = requested + grace;
        if at >= second(now) {
            return Some(Deletion { at, grace });
        }
        // Its time would be over already: it gets a second, unless it is to go at once.
        let grace = if grace.is_zero() { grace } else { Duration::from_secs(1) };
        return Some(Deletion { at: second(now) + grace, grace });
    }
    let at_once = pod.node.is_none() || pod.status.phase.is_terminal();
    let grace = if at_once { Duration::ZERO } else { grace.unwrap_or(pod.spec.termination_grace) };
    Some(Deletion { at: second(now) + grace, grace })
}

/// The finalizers that the propagation asks for, if they differ from those that are there.
fn wanted_finalizers(meta: &Meta, propagation: Propagation) -> Option<SmallVec<[Name; 1]>> {
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let is_collectors = |name: Name| name == *FOREGROUND || name == *ORPHAN;
    let mut finalizers: SmallVec<[Name; 1]> =
        meta.finalizers.iter().copied().filter(|&name| !is_collectors(name) || wanted == Some(name.as_str())).collect();
    if let Some(wanted) = wanted
        && !finalizers.iter().any(|name| *name == *wanted)
    {
        finalizers.push(Name::new(wanted));
    }
    (finalizers != meta.finalizers).then_some(finalizers)
}
