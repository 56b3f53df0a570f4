//! Static pods: those of the node's manifest folder, which run without an API server, and their mirrors, by which the API
//! server knows of them.
//!
//! Kubernetes: pkg/kubelet/config/{file,common}.go, pkg/kubelet/pod/mirror_client.go, tryReconcileMirrorPods in
//! pkg/kubelet/kubelet.go. Files are read at once when they change (inotify). A mirror has another uid than its static pod;
//! both have the same name, by which they are found.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::kernel::Duration;
use crate::model::taint::TolerationOperator;
use crate::model::{Container, Key, Kind, Meta, Name, Object, OwnerReference, Pod, TaintEffect, Toleration, Uid};
use crate::protocol::api::{Answer, Call, DeleteOptions, Propagation, Status};

use super::calls::ApiOwner;
use super::pod_worker::Update;
use super::{Fx, In, Kubelet, Timer};

/// The annotation of a mirror: the hash of the static pod that it shows.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";
const SOURCE: &str = "kubernetes.io/config.source";
/// A worker looks again at its pod after this time, and up to half as much more.
const RESYNC: Duration = Duration::from_secs(60);

/// Namespace and name.
type FullName = (Name, Name);

/// What the kubelet knows of its static pods.
#[derive(Debug, Default)]
pub struct StaticPods {
    /// The pods of the manifest folder that have been seen.
    pods: BTreeMap<FullName, Uid>,
    /// Pods of changed files, which wait until what ran under their name is gone.
    waiting: Vec<Arc<Pod>>,
    /// As the API server has them.
    mirrors: BTreeMap<FullName, Arc<Pod>>,
    /// The node has a manifest folder. Without one mirrors are pods like others: those of a cluster's dump, which says
    /// nothing of folders.
    has_folder: bool,
    /// What the folder holds was said before the sync loop ran.
    unread: Option<Arc<[Arc<Pod>]>>,
}

/// True for a pod of the manifest folder.
pub fn is_static(pod: &Pod) -> bool {
    pod.meta.annotations.get(Name::new(SOURCE)).is_some_and(|source| source == *"file")
}

/// True for a mirror.
pub fn is_mirror(pod: &Pod) -> bool {
    !pod.meta.annotations.is_empty() && pod.meta.annotations.get(Name::new(MIRROR)).is_some()
}

fn full_name(pod: &Pod) -> FullName {
    (pod.meta.namespace, pod.meta.name)
}

/// The pod that a manifest makes on this node: its name gets the node's, its uid follows from what it says.
fn of_manifest(manifest: &Pod, node: Name) -> Pod {
    let mut pod = manifest.clone();
    let mut text = String::new();
    // What the file says, not where it stands in it.
    let mut spec = (*pod.spec).clone();
    spec.source = None;
    for list in [&mut spec.containers, &mut spec.init_containers] {
        *list = list.iter().map(|container| Container { source: None, ..container.clone() }).collect();
    }
    let _ = write!(text, "{node}/{:?}/{:?}/{:?}/{spec:?}", pod.meta.namespace, pod.meta.name, pod.meta.labels);
    let hash = xxh3_64(text.as_bytes());
    if pod.meta.namespace.is_empty() {
        pod.meta.namespace = Name::new("default");
    }
    pod.meta.name = Name::from(format!("{}-{node}", pod.meta.name));
    // Among the identities that no API server gives.
    pod.meta.uid = Uid(1 << 47 | hash >> 18);
    pod.node = Some(node);
    let everything = Toleration {
        key: Name::default(),
        operator: TolerationOperator::Exists,
        value: Name::default(),
        effect: Some(TaintEffect::NoExecute),
        seconds: None,
    };
    if !spec.tolerations.contains(&everything) {
        spec.tolerations = spec.tolerations.iter().cloned().chain([everything]).collect();
    }
    (spec.containers, spec.init_containers) = (pod.spec.containers.clone(), pod.spec.init_containers.clone());
    // No service account: nothing of the API server is needed.
    spec.automount_token = false;
    spec.source = pod.spec.source;
    pod.spec = Arc::new(spec);
    let hash = Name::from(format!("{hash:016x}"));
    pod.meta.annotations = pod.meta.annotations.with(Name::new(HASH), hash).with(Name::new(SOURCE), Name::new("file"));
    pod
}

impl Kubelet {
    /// The manifest folder holds these pods now.
    pub(super) fn static_pods_read(&mut self, manifests: Arc<[Arc<Pod>]>, fx: &mut Fx) {
        self.static_pods.has_folder = true;
        if self.is_paused() {
            self.static_pods.unread = Some(manifests);
            return;
        }
        let node = self.config.name();
        let pods: Vec<Arc<Pod>> = manifests.iter().map(|manifest| Arc::new(of_manifest(manifest, node))).collect();
        let gone: Vec<(FullName, Uid)> = self
            .static_pods
            .pods
            .iter()
            .filter(|(_, uid)| !pods.iter().any(|pod| pod.meta.uid == **uid))
            .map(|(name, uid)| (*name, *uid))
            .collect();
        for (name, uid) in gone {
            self.static_pods.pods.remove(&name);
            self.pod_removed(uid, fx);
        }
        self.static_pods.waiting.retain(|waiting| pods.iter().any(|pod| pod.meta.uid == waiting.meta.uid));
        for pod in pods {
            let name = full_name(&pod);
            if self.static_pods.pods.contains_key(&name) {
                continue;
            }
            self.static_pods.pods.insert(name, pod.meta.uid);
            if self.pods.values().any(|entry| full_name(&entry.pod) == name && is_static(&entry.pod)) {
                self.static_pods.waiting.push(pod);
            } else {
                self.pod_added(&pod, fx);
            }
        }
    }

    /// True for a pod that only shows a static pod of this node.
    pub(super) fn shows_static(&self, pod: &Pod) -> bool {
        self.static_pods.has_folder && is_mirror(pod)
    }

    /// The sync loop runs: what the folder holds is read.
    pub(super) fn read_static_pods(&mut self, fx: &mut Fx) {
        if let Some(unread) = self.static_pods.unread.take() {
            self.static_pods_read(unread, fx);
        }
    }

    /// A pod is gone: a static pod that waited for its name begins.
    pub(super) fn static_pod_may_begin(&mut self, fx: &mut Fx) {
        if let Some(at) = self.static_pods.waiting.iter().position(|waiting| {
            !self.pods.values().any(|entry| full_name(&entry.pod) == full_name(waiting) && is_static(&entry.pod))
        }) {
            let pod = self.static_pods.waiting.remove(at);
            self.pod_added(&pod, fx);
        }
    }

    /// What the API server shows of a pod, and is written there: of a static pod its mirror, if it has one.
    pub(super) fn shown_pod(&self, uid: Uid) -> Option<Arc<Pod>> {
        let entry = self.pods.get(&uid)?;
        if self.static_pods.pods.is_empty() || !is_static(&entry.pod) {
            return Some(entry.pod.clone());
        }
        self.static_pods.mirrors.get(&full_name(&entry.pod)).filter(|mirror| is_of(mirror, &entry.pod)).cloned()
    }

    /// The pod of this uid, or the static pod whose mirror has it.
    pub(super) fn static_pod_of(&self, name: FullName) -> Option<Uid> {
        self.static_pods.pods.get(&name).copied()
    }

    /// The step of a sync that sees to the mirror: one that is of another pod or is being deleted goes, one that is missing
    /// is made.
    pub(super) fn sync_mirror(&mut self, uid: Uid, fx: &mut Fx) {
        let Some(entry) = self.pods.get(&uid) else { return };
        let name = full_name(&entry.pod);
        if !entry.desired || self.static_pods.pods.get(&name) != Some(&uid) {
            return;
        }
        let pod = entry.pod.clone();
        match self.static_pods.mirrors.get(&name) {
            Some(mirror) if mirror.meta.deletion.is_none() && is_of(mirror, &pod) => {}
            Some(mirror) => {
                let mirror = mirror.clone();
                self.delete_mirror(&mirror, fx);
            }
            None => self.create_mirror(&pod, fx),
        }
    }

    fn create_mirror(&mut self, pod: &Arc<Pod>, fx: &mut Fx) {
        let node = self.known_node();
        if !self.watches_pods || node.meta.uid == Uid::NONE {
            // The node isn't known yet: again when it is.
            return;
        }
        let mut meta = Meta::named(pod.meta.namespace, pod.meta.name);
        meta.labels = pod.meta.labels.clone();
        let hash = pod.meta.annotations.get(Name::new(HASH)).unwrap_or_default();
        meta.annotations = pod.meta.annotations.with(Name::new(MIRROR), hash);
        meta.source = pod.meta.source;
        let (kind, name, uid) = (Kind::Node, node.meta.name, node.meta.uid);
        meta.owner = Some(OwnerReference { kind, name, uid, block_deletion: false });
        let mirror = Pod { meta, spec: pod.spec.clone(), node: pod.node, ..Pod::default() };
        self.calls.api(ApiOwner::Mirror(pod.meta.uid), Call::Create(Object::Pod(Arc::new(mirror))), fx);
    }

    fn delete_mirror(&mut self, mirror: &Pod, fx: &mut Fx) {
        let options = DeleteOptions {
            grace: Some(Duration::ZERO),
            propagation: Propagation::Background,
            uid: Some(mirror.meta.uid),
        };
        let key: Key = mirror.meta.key(Kind::Pod);
        let of = self.static_pod_of(full_name(mirror)).unwrap_or(Uid::NONE);
        self.calls.api(ApiOwner::Mirror(of), Call::Delete(key, options), fx);
    }

    /// The API server answered about a mirror. What could not be done is tried again when the pod is looked at again.
    pub(super) fn mirror_answered(&mut self, uid: Uid, result: &Result<Answer, Status>, fx: &mut Fx) {
        if result.is_err() && self.pods.contains_key(&uid) {
            let wait = self.streams.requeue.jitter(RESYNC, 0.5);
            fx.wake_after(wait, In::Timer(Timer::Mirror { pod: uid }));
        }
        // The sync that deletes a mirror makes the next one at once.
        let Ok(answer) = result else { return };
        let Some(pod) = self.pods.get(&uid).filter(|entry| entry.desired).map(|entry| entry.pod.clone()) else {
            return;
        };
        // Of a deletion the answer shows the mirror as it was.
        let deleted = matches!(answer, Answer::Object(object) if object.meta().deletion.is_some());
        let known = self.static_pods.mirrors.get(&full_name(&pod));
        if deleted && known.is_none_or(|mirror| mirror.meta.deletion.is_some() || !is_of(mirror, &pod)) {
            self.create_mirror(&pod, fx);
        }
    }

    /// Looks after one static pod's mirror again, or after all.
    pub(super) fn look_at_mirrors(&mut self, only: Option<Uid>, fx: &mut Fx) {
        let all: Vec<Uid> = match only {
            Some(uid) => vec![uid],
            None => self.static_pods.pods.values().copied().collect(),
        };
        for uid in all {
            if self.pods.get(&uid).is_some_and(|entry| entry.worker.is_syncing()) {
                self.sync_mirror(uid, fx);
            }
        }
    }

    /// The watch shows a mirror.
    pub(super) fn mirror_seen(&mut self, mirror: &Arc<Pod>, fx: &mut Fx) {
        let name = full_name(mirror);
        self.static_pods.mirrors.insert(name, mirror.clone());
        let Some(uid) = self.static_pod_of(name) else { return self.arm_housekeeping(fx) };
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        if !entry.status.is_known() {
            entry.status.adopt(mirror);
        }
        if mirror.meta.deletion.is_some() || !is_of(mirror, &entry.pod) {
            self.update_pod(uid, Update::Sync, fx);
        } else {
            self.reconcile_later(uid, fx);
        }
    }

    /// A mirror is gone.
    pub(super) fn mirror_gone(&mut self, mirror: &Pod, fx: &mut Fx) {
        let name = full_name(mirror);
        if self.static_pods.mirrors.get(&name).is_some_and(|known| known.meta.uid == mirror.meta.uid) {
            self.static_pods.mirrors.remove(&name);
        }
        if let Some(uid) = self.static_pod_of(name) {
            if let Some(entry) = self.pods.get_mut(&uid) {
                entry.status.undelivered();
            }
            self.update_pod(uid, Update::Sync, fx);
        }
    }

    /// A new list of all pods: mirrors that it lacks are gone.
    pub(super) fn mirrors_listed(&mut self, objects: &[Object], fx: &mut Fx) {
        let listed = |uid: Uid| objects.iter().any(|object| object.meta().uid == uid);
        let gone: Vec<Arc<Pod>> =
            self.static_pods.mirrors.values().filter(|mirror| !listed(mirror.meta.uid)).cloned().collect();
        for mirror in gone {
            self.mirror_gone(&mirror, fx);
        }
        self.look_at_mirrors(None, fx);
    }

    /// Housekeeping: mirrors without a static pod go, once nothing of the pod runs.
    pub(super) fn delete_orphaned_mirrors(&mut self, fx: &mut Fx) {
        let orphans: Vec<Arc<Pod>> = self
            .static_pods
            .mirrors
            .iter()
            .filter(|(name, _)| !self.static_pods.pods.contains_key(*name))
            .filter(|(name, _)| {
                !self.pods.values().any(|entry| is_static(&entry.pod) && full_name(&entry.pod) == **name)
            })
            .map(|(_, mirror)| mirror.clone())
            .collect();
        for mirror in orphans {
            self.delete_mirror(&mirror, fx);
        }
    }

    /// True if there are mirrors that may have to go.
    pub(super) fn has_mirrors(&self) -> bool {
        !self.static_pods.mirrors.is_empty()
    }
}

/// True if the mirror shows this very pod (`IsMirrorPodOf`).
fn is_of(mirror: &Pod, pod: &Pod) -> bool {
    let hash = mirror.meta.annotations.get(Name::new(MIRROR));
    hash.is_some() && hash == pod.meta.annotations.get(Name::new(HASH))
}
