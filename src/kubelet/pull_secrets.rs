//! A sync reads the pod's pull secrets before it starts anything.
//!
//! Kubernetes: getPullSecretsForPod in pkg/kubelet/kubelet_pods.go. The real kubelet has them in a cache that it watches, and
//! looks at each sync; here a sync that starts nothing reads none, so it repeats no event either.

use crate::model::{EventType, Key, Kind, Name, Object, Text, Uid};
use crate::protocol::api::{Answer, Call, Status};

use super::calls::ApiOwner;
use super::credentials::Keyring;
use super::sync_pod::{Step, Sync};
use super::{Fx, Kubelet};

/// What a sync knows of the pod's pull secrets.
#[derive(Debug, Default)]
pub struct PullSecrets {
    /// Read so far.
    read: usize,
    /// Could not be read.
    failed: Vec<Name>,
    pub(super) keyring: Keyring,
}

impl Kubelet {
    /// Reads the pod's pull secrets one by one; then the sync goes on.
    pub(super) fn read_pull_secrets(&mut self, uid: Uid, mut sync: Box<Sync>, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let pod = entry.pod.clone();
        if let Some(name) = pod.spec.image_pull_secrets.get(sync.secrets.read).copied() {
            let key = Key { kind: Kind::Secret, namespace: pod.meta.namespace, name };
            sync.step = Step::PullSecrets;
            self.put_sync(uid, sync);
            return self.calls.api(ApiOwner::PullSecret(uid), Call::Get(key), fx);
        }
        if !sync.secrets.failed.is_empty() {
            let names: Vec<&str> = sync.secrets.failed.iter().map(|name| name.as_str()).collect();
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                names.join(", ")
            );
            let reason = "FailedToRetrieveImagePullSecret";
            self.pod_event(&pod, None, EventType::Warning, reason, Text::from(message), fx);
        }
        self.sync_actions(uid, sync, fx);
    }

    /// The API server answered about a pull secret.
    pub(super) fn pull_secret_answered(&mut self, uid: Uid, result: Result<Answer, Status>, fx: &mut Fx) {
        let Some(mut sync) = self.take_sync(uid) else { return };
        if !matches!(sync.step, Step::PullSecrets) {
            return self.put_sync(uid, sync);
        }
        let Some(entry) = self.pods.get(&uid) else { return };
        let name = entry.pod.spec.image_pull_secrets.get(sync.secrets.read).copied();
        sync.secrets.read += 1;
        match result {
            Ok(Answer::Object(Object::Secret(secret))) => sync.secrets.keyring.add(&secret),
            Ok(_) | Err(_) => sync.secrets.failed.extend(name),
        }
        self.read_pull_secrets(uid, sync, fx);
    }
}
