//! Before the first sandbox of a pod with resource claims: each must be allocated and reserved for it, then the drivers
//! prepare the devices, which takes a while.
//!
//! Kubernetes: PrepareResources in pkg/kubelet/cm/dra/manager.go, called by SyncPod before the sandbox is created. Drivers
//! are not modelled: preparing takes [`PREPARE`] and never fails; devices are given back without delay.

use crate::kernel::Duration;
use crate::model::{EventType, Key, Kind, Object, Text, Uid};
use crate::protocol::api::{Answer, Call, Status};

use super::calls::ApiOwner;
use super::pod_worker::Outcome;
use super::sync_pod::{Step, Sync};
use super::{Fx, In, Kubelet, Timer};

/// What the drivers take for the devices of a pod (NodePrepareResources).
pub const PREPARE: Duration = Duration::from_millis(50);

/// How far a sync is with the pod's claims.
#[derive(Debug, Default)]
pub struct PodClaims {
    /// Looked at so far.
    read: usize,
    pub(super) prepared: bool,
}

impl Kubelet {
    /// Looks at the pod's claims one by one, then has their devices prepared; then the sync goes on.
    pub(super) fn prepare_claims(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let extended = pod.status.extended_claim.as_ref().map(|extended| Some((extended.claim, true)));
        let next = pod.claim_names().map(|(_, found)| found).chain(extended).nth(sync.claims.read);
        sync.step = Step::Claims;
        match next {
            Some(Some((name, _))) => {
                self.put_sync(uid, sync);
                let key = Key { kind: Kind::ResourceClaim, namespace: pod.meta.namespace, name };
                self.calls.api(ApiOwner::Claim(uid), Call::Get(key), fx);
            }
            Some(None) => {
                self.prepare_failed(uid, &format!("pod \"{}\": ResourceClaim not created yet", pod.full_name()), fx)
            }
            None => {
                self.put_sync(uid, sync);
                fx.wake_after(PREPARE, In::Timer(Timer::Prepared { pod: uid }));
            }
        }
    }

    /// The API server answered about a claim.
    pub(super) fn claim_answered(&mut self, uid: Uid, result: Result<Answer, Status>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        if !matches!(sync.step, Step::Claims) {
            return self.put_sync(uid, sync);
        }
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let why = match result {
            Ok(Answer::Object(Object::ResourceClaim(claim))) if claim.status.allocation.is_none() => {
                format!("ResourceClaim {} is not allocated", claim.meta.name)
            }
            Ok(Answer::Object(Object::ResourceClaim(claim))) if !claim.is_reserved_for(uid) => {
                let (pod, name) = (pod.meta.name, claim.meta.name);
                format!("pod {pod} ({uid}) is not allowed to use ResourceClaim {name} ({})", claim.meta.uid)
            }
            Ok(_) => {
                sync.claims.read += 1;
                return self.prepare_claims(uid, sync, fx);
            }
            Err(status) => format!("failed to fetch ResourceClaim referenced by pod {}: {status}", pod.meta.name),
        };
        self.prepare_failed(uid, &why, fx);
    }

    fn prepare_failed(&mut self, uid: Uid, why: &str, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        let message = Text::from(format!("Failed to prepare dynamic resources: {why}"));
        self.pod_event(&pod, None, EventType::Warning, "FailedPrepareDynamicResources", message, fx);
        self.complete(uid, Outcome::Failed, fx);
    }

    /// The drivers have prepared the pod's devices.
    pub(super) fn prepared(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        if matches!(sync.step, Step::Claims) {
            sync.claims.prepared = true;
            self.sync_on(uid, sync, fx);
        } else {
            self.put_sync(uid, sync);
        }
    }
}
