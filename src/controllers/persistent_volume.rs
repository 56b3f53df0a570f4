//! Persistent volumes: binds claims to volumes, has volumes made for those that find none, makes the claims of ephemeral
//! volumes.
//!
//! A user meets it as a claim that stays Pending: `waiting for first consumer to be created before binding`. Example: a
//! StatefulSet with `volumeClaimTemplates`.
//!
//! Kubernetes: pkg/controller/volume/persistentvolume, pkg/controller/volume/ephemeral, and an external provisioner, which
//! stands here for whatever CSI driver a class names. Provisioned volumes are reachable from every node; attaching,
//! expansion, protection finalizers and lost claims are not modelled.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::pod::VolumeSource;
use crate::model::storage::{
    BIND_COMPLETED, ClaimPhase, PersistentVolume, PersistentVolumeClaim, SELECTED_NODE, StorageClass, VolumePhase,
};
use crate::model::{Key, Kind, Meta, Name, Object, Pod};
use crate::protocol::api::{Call, DeleteOptions, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::controller_reference;

const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The controller of claims and volumes.
#[derive(Debug, Default)]
pub struct PersistentVolumes {
    /// Claims without a volume.
    unbound: BTreeSet<Key>,
    /// By claim, the pods that use it.
    users: FxHashMap<Key, BTreeSet<Name>>,
    /// By claim, when its volume will have been made.
    provisioning: FxHashMap<Key, Time>,
}

fn volume_key(name: Name) -> Key {
    Key { kind: Kind::PersistentVolume, namespace: Name::default(), name }
}

/// The claims that a pod names.
fn claims_of(pod: &Pod) -> impl Iterator<Item = Key> + '_ {
    pod.spec.volumes.iter().filter_map(|volume| {
        let name = match &volume.source {
            VolumeSource::Claim { name, .. } => *name,
            VolumeSource::Ephemeral { .. } => ephemeral_name(pod, volume.name),
            _ => return None,
        };
        Some(Key { kind: Kind::PersistentVolumeClaim, namespace: pod.meta.namespace, name })
    })
}

fn ephemeral_name(pod: &Pod, volume: Name) -> Name {
    Name::from(format!("{}-{volume}", pod.meta.name))
}

/// True if the volume can be the claim's.
fn fits(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    class: Name,
    node: Option<Name>,
    cx: &Context<'_>,
) -> bool {
    let own = (claim.meta.namespace, claim.meta.name);
    let spec = &claim.spec;
    let near = |node: Name| {
        let labels = cx.cache.node(node).map(|node| node.meta.labels.clone()).unwrap_or_default();
        volume.node_affinity.as_ref().is_none_or(|affinity| affinity.matches(node, &labels))
    };
    volume.meta.deletion.is_none()
        && (volume.claim == Some(own) || (volume.claim.is_none() && volume.phase != VolumePhase::Bound))
        && volume.storage_class == class
        && volume.capacity >= spec.request
        && volume.block == spec.block
        && spec.access_modes.iter().all(|mode| volume.access_modes.contains(mode))
        && spec.selector.as_ref().is_none_or(|selector| selector.matches(&volume.meta.labels))
        && node.is_none_or(near)
}

impl PersistentVolumes {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new.or(old) else { return };
        if pod.spec.volumes.is_empty() || (new.is_some() && old.is_some_and(|old| old.node == pod.node)) {
            return;
        }
        for key in claims_of(pod) {
            let users = self.users.entry(key).or_default();
            if new.is_some() {
                users.insert(pod.meta.name);
            } else {
                users.remove(&pod.meta.name);
            }
            if self.unbound.contains(&key) {
                cx.enqueue(key);
            }
        }
        if new.is_some() && old.is_none() && !pod.is_terminating() {
            self.make_ephemeral_claims(pod, cx);
        }
    }

    fn make_ephemeral_claims(&self, pod: &Pod, cx: &mut Context<'_>) {
        for volume in pod.spec.volumes.iter() {
            let VolumeSource::Ephemeral { template } = &volume.source else { continue };
            let name = ephemeral_name(pod, volume.name);
            if cx.cache.claim(pod.meta.namespace, name).is_none() {
                let owner = Some(controller_reference(Kind::Pod, &pod.meta));
                let meta = Meta { owner, ..Meta::named(pod.meta.namespace, name) };
                let claim = PersistentVolumeClaim { meta, spec: (**template).clone(), ..Default::default() };
                cx.post(Call::Create(Object::PersistentVolumeClaim(claim.into())));
            }
        }
    }

    fn class_of(&self, claim: &PersistentVolumeClaim, cx: &Context<'_>) -> Option<Arc<StorageClass>> {
        match claim.spec.storage_class {
            Some(name) => cx.cache.storage_class(name).cloned(),
            None => {
                let classes = cx.cache.list(Kind::StorageClass, Name::default());
                let defaults = classes.filter_map(|object| match object {
                    Object::StorageClass(class) if class.is_default => Some(class),
                    _ => None,
                });
                defaults.max_by_key(|class| (class.meta.created, class.meta.uid)).cloned()
            }
        }
    }

    fn sync_claim(&mut self, key: Key, claim: &Arc<PersistentVolumeClaim>, cx: &mut Context<'_>) -> Progress {
        let object = Object::PersistentVolumeClaim(claim.clone());
        let class = self.class_of(claim, cx);
        let class_name = class.as_ref().map_or(claim.spec.storage_class.unwrap_or_default(), |class| class.meta.name);
        let users: Vec<Name> = self.users.get(&key).into_iter().flatten().copied().collect();
        let bound_user = users.iter().find_map(|&pod| cx.cache.pod(key.namespace, pod)?.node);
        let node = claim.meta.annotations.get(Name::new(SELECTED_NODE)).or(bound_user);
        let waits = class.as_ref().is_some_and(|class| class.wait_for_first_consumer) && node.is_none();
        let volumes = cx.cache.list(Kind::PersistentVolume, Name::default()).filter_map(|object| match object {
            Object::PersistentVolume(volume) if fits(volume, claim, class_name, node, cx) => Some(volume),
            _ => None,
        });
        let own = Some((key.namespace, key.name));
        let volumes = volumes.filter(|volume| !waits || volume.claim == own);
        let best = volumes.min_by_key(|volume| (volume.claim.is_none(), volume.capacity, volume.meta.name)).cloned();
        if let Some(volume) = best {
            self.provisioning.remove(&key);
            return bind(&volume, claim, cx);
        }
        if waits {
            if users.is_empty() {
                let text = "waiting for first consumer to be created before binding";
                cx.normal(&object, "WaitForFirstConsumer", text);
            } else {
                let pods: Vec<&str> = users.iter().map(|name| name.as_str()).collect();
                let noun = if pods.len() == 1 { "pod" } else { "pods" };
                let text = format!("waiting for {noun} {} to be scheduled", pods.join(","));
                cx.normal(&object, "WaitForPodScheduled", text);
            }
            return Progress::Done;
        }
        match class {
            Some(class) if !class.provisioner.is_empty() && class.provisioner != *NO_PROVISIONER => {
                self.provision(key, claim, &class, cx)
            }
            _ => {
                let text = "no persistent volumes available for this claim and no storage class is set";
                cx.normal(&object, "FailedBinding", text);
                Progress::Done
            }
        }
    }

    fn provision(
        &mut self,
        key: Key,
        claim: &Arc<PersistentVolumeClaim>,
        class: &StorageClass,
        cx: &mut Context<'_>,
    ) -> Progress {
        let object = Object::PersistentVolumeClaim(claim.clone());
        let Some(&due) = self.provisioning.get(&key) else {
            let text = format!(
                "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
                class.provisioner
            );
            cx.normal(&object, "ExternalProvisioning", text);
            let distribution = cx.config.provisioning.clone();
            let due = cx.now + cx.stream().draw(&distribution);
            self.provisioning.insert(key, due);
            cx.enqueue_at(key, due);
            return Progress::Done;
        };
        if cx.now < due {
            cx.enqueue_at(key, due);
            return Progress::Done;
        }
        let name = Name::from(format!("pvc-{}", claim.meta.uid));
        let volume = PersistentVolume {
            meta: Meta { name, ..Meta::default() },
            capacity: claim.spec.request,
            access_modes: claim.spec.access_modes.clone(),
            storage_class: class.meta.name,
            block: claim.spec.block,
            claim: Some((key.namespace, key.name)),
            claim_uid: claim.meta.uid,
            driver: class.provisioner,
            handle: name,
            retain: class.retain,
            ..PersistentVolume::default()
        };
        if cx.cache.volume(name).is_none() && !cx.cache.is_stale(volume_key(name)) {
            cx.normal(&object, "ProvisioningSucceeded", format!("Successfully provisioned volume {name}"));
            cx.request(Call::Create(Object::PersistentVolume(volume.into())));
        }
        Progress::Wait
    }

    fn sync_volume(&mut self, volume: &Arc<PersistentVolume>, cx: &mut Context<'_>) -> Progress {
        let key = volume_key(volume.meta.name);
        let phase = match volume.claim {
            None if volume.phase == VolumePhase::Pending => VolumePhase::Available,
            Some((namespace, name))
                if volume.phase == VolumePhase::Bound && cx.cache.claim(namespace, name).is_none() =>
            {
                if !volume.retain && !volume.driver.is_empty() {
                    cx.request(Call::Delete(key, DeleteOptions::default()));
                    return Progress::Wait;
                }
                VolumePhase::Released
            }
            _ => return Progress::Done,
        };
        let updated = PersistentVolume { phase, ..(**volume).clone() };
        cx.request(Call::UpdateStatus(Object::PersistentVolume(updated.into())));
        Progress::Wait
    }
}

/// Volume and claim name each other; then both are Bound.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim, cx: &mut Context<'_>) -> Progress {
    let mut volume = volume.clone();
    let mut claim = claim.clone();
    volume.meta.resource_version = 0;
    claim.meta.resource_version = 0;
    volume.claim = Some((claim.meta.namespace, claim.meta.name));
    volume.claim_uid = claim.meta.uid;
    claim.volume = volume.meta.name;
    claim.meta.annotations = claim.meta.annotations.with(Name::new(BIND_COMPLETED), Name::new("yes"));
    cx.request(Call::Update(Object::PersistentVolume(volume.clone().into())));
    cx.request(Call::Update(Object::PersistentVolumeClaim(claim.clone().into())));
    volume.phase = VolumePhase::Bound;
    claim.phase = ClaimPhase::Bound;
    cx.request(Call::UpdateStatus(Object::PersistentVolume(volume.into())));
    cx.request(Call::UpdateStatus(Object::PersistentVolumeClaim(claim.into())));
    Progress::Wait
}

impl Controller for PersistentVolumes {
    fn name(&self) -> &'static str {
        "persistentvolume-binder-controller"
    }

    fn component(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::Node, Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::StorageClass]
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let key = change.key();
        match change.object() {
            Object::Pod(_) => self.observe_pod(change, cx),
            Object::PersistentVolumeClaim(claim) => {
                if change.new.is_none() {
                    self.unbound.remove(&key);
                    self.provisioning.remove(&key);
                    if !claim.volume.is_empty() {
                        cx.enqueue(volume_key(claim.volume));
                    }
                } else if claim.phase == ClaimPhase::Pending {
                    self.unbound.insert(key);
                    cx.enqueue(key);
                } else {
                    self.unbound.remove(&key);
                }
            }
            Object::PersistentVolume(_) => {
                cx.enqueue(key);
                self.unbound.iter().for_each(|&claim| cx.enqueue(claim));
            }
            Object::StorageClass(_) => self.unbound.iter().for_each(|&claim| cx.enqueue(claim)),
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        match cx.cache.get(key).cloned() {
            Some(Object::PersistentVolumeClaim(claim))
                if claim.phase == ClaimPhase::Pending && claim.meta.deletion.is_none() =>
            {
                self.sync_claim(key, &claim, cx)
            }
            Some(Object::PersistentVolume(volume)) => self.sync_volume(&volume, cx),
            _ => Progress::Done,
        }
    }

    fn resume(&mut self, _key: Key, replies: Vec<Reply>, _cx: &mut Context<'_>) -> Progress {
        let harmless = [StatusReason::NotFound, StatusReason::AlreadyExists];
        let failed = |reply: &Reply| reply.as_ref().is_err_and(|status| !harmless.contains(&status.reason));
        if replies.iter().any(failed) { Progress::Retry } else { Progress::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::World;
    use super::*;
    use crate::model::Bytes;
    use crate::model::pod::{PodSpec, Volume};
    use crate::model::storage::ClaimSpec;

    fn class(wait: bool) -> Object {
        let class = StorageClass {
            meta: Meta::named("", "fast"),
            provisioner: Name::new("csi.example.com"),
            wait_for_first_consumer: wait,
            ..StorageClass::default()
        };
        Object::StorageClass(class.into())
    }

    fn claim() -> Object {
        let spec = ClaimSpec { storage_class: Some(Name::new("fast")), request: Bytes(10), ..ClaimSpec::default() };
        Object::PersistentVolumeClaim(
            PersistentVolumeClaim { meta: Meta::named("default", "data"), spec, ..Default::default() }.into(),
        )
    }

    fn bound(world: &World) -> String {
        match &world.objects[&Key::new(Kind::PersistentVolumeClaim, "default", "data")] {
            Object::PersistentVolumeClaim(claim) if claim.phase == ClaimPhase::Bound => claim.volume.to_string(),
            _ => String::new(),
        }
    }

    #[test]
    fn a_class_that_binds_at_once_has_a_volume_made_in_a_second() {
        let mut world = World::new(Config::default(), vec![class(false), claim()]);
        world.run_until(0.9);
        assert_eq!(bound(&world), "");
        world.run_until(1.2);
        assert!(bound(&world).starts_with("pvc-"));
        assert_eq!(world.texts("ProvisioningSucceeded").len(), 1);
        world.call(Call::Delete(Key::new(Kind::PersistentVolumeClaim, "default", "data"), DeleteOptions::default()));
        world.run_until(20.0);
        assert_eq!(world.texts("-PersistentVolume pvc-").len(), 1, "the policy is Delete");
        assert_eq!(world.waiting(), 0, "the cluster sleeps");
    }

    #[test]
    fn a_class_that_waits_binds_when_a_pod_has_a_node() {
        let mut world = World::new(Config::default(), vec![class(true), claim()]);
        world.run_until(20.0);
        assert_eq!(bound(&world), "");
        assert_eq!(world.texts("WaitForFirstConsumer").len(), 1);
        let source = VolumeSource::Claim { name: Name::new("data"), read_only: false };
        let volumes = Arc::new([Volume { name: Name::new("data"), source }]);
        let spec = Arc::new(PodSpec { volumes, ..PodSpec::default() });
        world.upsert(Object::Pod(Pod { meta: Meta::named("default", "web"), spec, ..Pod::default() }.into()));
        world.run_until(22.0);
        assert!(bound(&world).starts_with("pvc-"));
    }

    #[test]
    fn the_smallest_volume_that_fits_is_taken() {
        let volume = |name: &str, size| {
            Object::PersistentVolume(
                PersistentVolume {
                    meta: Meta::named("", name),
                    capacity: Bytes(size),
                    storage_class: Name::new("fast"),
                    ..PersistentVolume::default()
                }
                .into(),
            )
        };
        let objects = vec![claim(), class(false), volume("a", 30), volume("b", 20), volume("c", 5)];
        let mut world = World::new(Config::default(), objects);
        world.run_until(5.0);
        assert_eq!(bound(&world), "b");
    }
}
