//! Resource claims: makes the claims of pods' templates, keeps `reservedFor` true, gives devices back when the last pod that
//! used a claim has ended, and removes claims that were made for a pod with it.
//!
//! A user meets it as a pod that stays Pending with `ResourceClaim not created yet`: the template is missing. Example: a Job whose
//! pods each get a GPU by `resourceClaimTemplateName`.
//!
//! Kubernetes: pkg/controller/resourceclaim/controller.go.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::device::{CLAIM_FINALIZER, Consumer, POD_CLAIM_NAME, PodClaim, ResourceClaim, ResourceClaimTemplate};
use crate::model::{Key, Kind, Meta, Name, Object, Pod, Uid};
use crate::protocol::api::{Answer, Call, ClaimChange, DeleteOptions, Patch, StatusReason};

use super::controller::{Context, Controller, Progress, Reply};
use super::informer::Change;
use super::pod_control::controller_reference;

/// The controller of resource claims.
#[derive(Debug, Default)]
pub struct ResourceClaims {
    /// The claims that a pod has or is known to have had, so that they are looked at when it ends.
    used: FxHashMap<Uid, Vec<Name>>,
}

/// True if the pod uses its claims no more.
fn is_done(pod: &Pod) -> bool {
    pod.status.phase.is_terminal() || (pod.is_terminating() && pod.node.is_none())
}

fn claim_key(namespace: Name, name: Name) -> Key {
    Key { kind: Kind::ResourceClaim, namespace, name }
}

fn claim_of(cx: &Context<'_>, namespace: Name, name: Name) -> Option<Arc<ResourceClaim>> {
    match cx.cache.get(claim_key(namespace, name))? {
        Object::ResourceClaim(claim) => Some(claim.clone()),
        _ => None,
    }
}

/// The names of the claims of a pod, as far as its status has them.
fn claim_names(pod: &Pod) -> Vec<Name> {
    let extended = pod.status.extended_claim.as_ref().map(|extended| extended.claim);
    pod.claim_names().filter_map(|(_, found)| Some(found?.0)).chain(extended).collect()
}

impl ResourceClaims {
    fn observe_pod(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        let (old, new) = change.pods();
        let Some(pod) = new.or(old) else { return };
        if pod.spec.resource_claims.is_empty() && pod.status.extended_claim.is_none() {
            return;
        }
        let names = claim_names(pod);
        let ended = new.is_none_or(|new| is_done(new));
        let known = self.used.entry(pod.meta.uid).or_default();
        for name in names {
            if !known.contains(&name) {
                known.push(name);
            }
        }
        if ended {
            for name in self.used.remove(&pod.meta.uid).unwrap_or_default() {
                cx.enqueue(claim_key(pod.meta.namespace, name));
            }
        } else {
            let same = old.is_some_and(|old| old.node == pod.node && old.status.claims == pod.status.claims);
            if !same {
                cx.enqueue(change.key());
            }
        }
    }

    fn sync_pod(&mut self, pod: &Arc<Pod>, cx: &mut Context<'_>) -> Progress {
        if is_done(pod) || pod.is_terminating() {
            return Progress::Done;
        }
        let mut made = pod.status.claims.clone();
        let mut asked = false;
        for one in pod.spec.resource_claims.iter() {
            let Some(template) = one.template else { continue };
            let known = pod.status.claims.iter().find(|(name, _)| *name == one.name);
            match known {
                Some((_, None)) => continue,
                Some((_, Some(name))) if claim_of(cx, pod.meta.namespace, *name).is_some() => continue,
                _ => {}
            }
            if let Some(name) = own_claim(pod, one, cx) {
                set(&mut made, one.name, name);
                continue;
            }
            let key = Key { kind: Kind::ResourceClaimTemplate, namespace: pod.meta.namespace, name: template };
            let Some(Object::ResourceClaimTemplate(template)) = cx.cache.get(key).cloned() else {
                let (name, object) = (one.name, Object::Pod(pod.clone()));
                let why = format!("resourceclaimtemplate.resource.k8s.io \"{template}\" not found");
                let text = format!("PodResourceClaim {name}: resource claim template \"{template}\": {why}");
                cx.warning(&object, "FailedResourceClaimCreation", text);
                return Progress::Retry;
            };
            cx.request(Call::Create(Object::ResourceClaim(Arc::new(claim_from(pod, one, &template)))));
            asked = true;
        }
        if asked {
            return Progress::Wait;
        }
        if made != pod.status.claims {
            cx.request(Call::Patch(pod.meta.key(Kind::Pod), Patch::PodClaims(made)));
            return Progress::Wait;
        }
        self.reserve(pod, cx)
    }

    /// Reserves allocated claims for a pod that did not come by the scheduler.
    fn reserve(&self, pod: &Pod, cx: &mut Context<'_>) -> Progress {
        if pod.node.is_none() {
            return Progress::Done;
        }
        for name in claim_names(pod) {
            let Some(claim) = claim_of(cx, pod.meta.namespace, name) else { continue };
            let is_free = claim.status.allocation.is_some() && claim.has_room() && claim.meta.deletion.is_none();
            if is_free && !claim.is_reserved_for(pod.meta.uid) {
                let consumer = Consumer { pod: pod.meta.name, uid: pod.meta.uid };
                let change = Patch::Claim(ClaimChange::Reserve(consumer));
                cx.request(Call::Patch(claim_key(pod.meta.namespace, name), change));
            }
        }
        Progress::Wait
    }

    fn sync_claim(&mut self, key: Key, claim: &ResourceClaim, cx: &mut Context<'_>) -> Progress {
        let uses = |consumer: &&Consumer| {
            let pod = cx.cache.pod(key.namespace, consumer.pod);
            pod.is_some_and(|pod| pod.meta.uid == consumer.uid && !is_done(pod))
        };
        let (kept, gone): (Vec<&Consumer>, Vec<&Consumer>) = claim.status.reserved_for.iter().partition(uses);
        let gone: Vec<Uid> = gone.into_iter().map(|consumer| consumer.uid).collect();
        let nobody = kept.is_empty();
        let has_finalizer = claim.meta.finalizers.iter().any(|name| *name == *CLAIM_FINALIZER);
        if !gone.is_empty() {
            cx.request(Call::Patch(key, Patch::Claim(ClaimChange::Release(gone.clone()))));
        }
        let ends = !gone.is_empty() || claim.meta.deletion.is_some();
        if nobody && ends && has_finalizer {
            cx.request(Call::Patch(key, Patch::Claim(ClaimChange::Unallocate)));
        }
        if nobody && claim.meta.deletion.is_none() {
            let owner = claim.meta.owner.filter(|owner| owner.kind == Kind::Pod);
            let pod = owner.and_then(|owner| cx.cache.pod(key.namespace, owner.name));
            let done = pod.is_some_and(|pod| owner.is_some_and(|owner| owner.uid == pod.meta.uid) && is_done(pod));
            if done {
                let options = DeleteOptions { uid: Some(claim.meta.uid), ..DeleteOptions::default() };
                cx.request(Call::Delete(key, options));
            }
        }
        Progress::Wait
    }
}

fn set(made: &mut Vec<(Name, Option<Name>)>, name: Name, claim: Name) {
    match made.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = Some(claim),
        None => made.push((name, Some(claim))),
    }
}

/// The claim that was made for this template of the pod, whose name did not get into the pod's status.
fn own_claim(pod: &Pod, one: &PodClaim, cx: &Context<'_>) -> Option<Name> {
    let mut own: Vec<Key> = cx.cache.owned_by(pod.meta.uid).filter(|key| key.kind == Kind::ResourceClaim).collect();
    own.sort();
    own.into_iter().map(|key| key.name).find(|name| {
        let claim = claim_of(cx, pod.meta.namespace, *name);
        claim.is_some_and(|claim| claim.meta.annotations.get(Name::new(POD_CLAIM_NAME)) == Some(one.name))
    })
}

fn claim_from(pod: &Pod, one: &PodClaim, template: &ResourceClaimTemplate) -> ResourceClaim {
    let meta = Meta {
        namespace: pod.meta.namespace,
        generate_name: Name::from(format!("{}-{}-", pod.meta.name, one.name)),
        labels: template.labels.clone(),
        annotations: template.annotations.with(Name::new(POD_CLAIM_NAME), one.name),
        owner: Some(controller_reference(Kind::Pod, &pod.meta)),
        source: template.meta.source,
        ..Meta::default()
    };
    ResourceClaim { meta, spec: template.spec.clone(), ..ResourceClaim::default() }
}

impl Controller for ResourceClaims {
    fn name(&self) -> &'static str {
        "resourceclaim-controller"
    }

    fn component(&self) -> &'static str {
        "resource_claim"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Pod, Kind::ResourceClaim, Kind::ResourceClaimTemplate]
    }

    fn workers(&self) -> usize {
        50
    }

    fn observe(&mut self, change: &Change<'_>, cx: &mut Context<'_>) {
        match change.object() {
            Object::Pod(_) => self.observe_pod(change, cx),
            Object::ResourceClaim(claim)
                if change.new.is_some() && (!claim.status.reserved_for.is_empty() || claim.meta.deletion.is_some()) =>
            {
                cx.enqueue(change.key());
            }
            _ => {}
        }
    }

    fn sync(&mut self, key: Key, cx: &mut Context<'_>) -> Progress {
        if cx.cache.is_stale(key) {
            return Progress::Done;
        }
        match cx.cache.get(key).cloned() {
            Some(Object::Pod(pod)) => self.sync_pod(&pod, cx),
            Some(Object::ResourceClaim(claim)) => self.sync_claim(key, &claim, cx),
            _ => Progress::Done,
        }
    }

    fn resume(&mut self, key: Key, replies: Vec<Reply>, cx: &mut Context<'_>) -> Progress {
        let harmless = [StatusReason::NotFound];
        let failed = |reply: &Reply| reply.as_ref().is_err_and(|status| !harmless.contains(&status.reason));
        let mut created = Vec::new();
        for reply in &replies {
            if let (Kind::Pod, Ok(Answer::Object(Object::ResourceClaim(claim)))) = (key.kind, reply) {
                let name = claim.meta.annotations.get(Name::new(POD_CLAIM_NAME));
                created.extend(name.filter(|_| claim.status.allocation.is_none()).map(|name| (name, claim.meta.name)));
            }
        }
        let pod = cx.cache.get(key).and_then(Object::as_pod).cloned();
        if let (false, Some(pod)) = (created.is_empty(), &pod) {
            let mut made = pod.status.claims.clone();
            created.into_iter().for_each(|(name, claim)| set(&mut made, name, claim));
            cx.request(Call::Patch(key, Patch::PodClaims(made)));
            return Progress::Wait;
        }
        if let (Some(pod), Some(Err(status))) = (&pod, replies.iter().find(|reply| failed(reply))) {
            let text = format!("PodResourceClaim: {status}");
            cx.warning(&Object::Pod(pod.clone()), "FailedResourceClaimCreation", text);
        }
        if replies.iter().any(failed) { Progress::Retry } else { Progress::Done }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::fake_api::World;
    use super::*;
    use crate::kernel::Duration;
    use crate::model::PodSpec;
    use crate::model::device::{Allocation, ClaimStatus};

    fn template() -> Object {
        Object::ResourceClaimTemplate(
            ResourceClaimTemplate { meta: Meta::named("default", "gpus"), ..ResourceClaimTemplate::default() }.into(),
        )
    }

    /// A pod with a claim `gpu`: of a template, or else of this name.
    fn pod(claim: Option<&str>) -> Object {
        let template = claim.is_none().then(|| Name::new("gpus"));
        let one = PodClaim { name: Name::new("gpu"), claim: claim.map(Name::new), template };
        let spec = Arc::new(PodSpec { resource_claims: Arc::new([one]), ..PodSpec::default() });
        Object::Pod(Pod { meta: Meta::named("default", "web"), spec, ..Pod::default() }.into())
    }

    fn claims(world: &World) -> Vec<Arc<ResourceClaim>> {
        let claim = |object: &Object| match object {
            Object::ResourceClaim(claim) => Some(claim.clone()),
            _ => None,
        };
        world.objects.values().filter_map(claim).collect()
    }

    /// The scheduler allocates the claim for this pod.
    fn allocate(world: &mut World, name: Name, pod: Uid) {
        world.change(claim_key(Name::new("default"), name), |object| {
            let Object::ResourceClaim(claim) = object else { return };
            let claim = Arc::make_mut(claim);
            claim.meta.finalizers.push(Name::new(CLAIM_FINALIZER));
            let reserved_for = vec![Consumer { pod: Name::new("web"), uid: pod }];
            let allocation = Some(Arc::new(Allocation::default()));
            claim.status = ClaimStatus { allocation, reserved_for, devices: Vec::new() };
        });
    }

    fn uid_of_web(world: &World) -> Uid {
        world.pods().first().map(|pod| pod.meta.uid).expect("the pod is there")
    }

    #[test]
    fn a_claim_is_made_of_the_template_once_and_goes_when_its_pod_has_ended() {
        let mut world = World::new(Config::default(), vec![template()]);
        world.kubelet.exits = Some((Duration::from_secs(30), 0));
        world.upsert(pod(None));
        world.run_until(5.0);
        let made = claims(&world);
        let [claim] = made.as_slice() else { panic!("{made:?}") };
        assert!(claim.meta.name.starts_with("web-gpu-"), "{}", claim.meta.name);
        assert_eq!(claim.meta.annotations.get(Name::new(POD_CLAIM_NAME)), Some(Name::new("gpu")));
        assert_eq!(world.texts("claims of web").len(), 1);
        let uid = uid_of_web(&world);
        allocate(&mut world, claim.meta.name, uid);
        world.run_until(20.0);
        assert_eq!(world.texts("release").len(), 0);
        world.run_until(60.0);
        assert_eq!((world.texts("release").len(), world.texts("unallocate").len()), (1, 1));
        assert!(claims(&world).is_empty());
    }

    #[test]
    fn a_claim_of_its_own_stays_and_is_free_when_its_last_pod_is_gone() {
        let own = ResourceClaim { meta: Meta::named("default", "shared"), ..ResourceClaim::default() };
        let mut world = World::new(Config::default(), vec![Object::ResourceClaim(own.into())]);
        world.upsert(pod(Some("shared")));
        world.run_until(1.0);
        let uid = uid_of_web(&world);
        allocate(&mut world, Name::new("shared"), uid);
        world.run_until(10.0);
        world.call(Call::Delete(Key::new(Kind::Pod, "default", "web"), DeleteOptions::default()));
        world.run_until(30.0);
        let there = claims(&world);
        assert!(there.len() == 1 && there[0].status.allocation.is_none() && there[0].meta.finalizers.is_empty());
    }

    #[test]
    fn a_template_that_is_missing_is_told_and_waited_for() {
        let mut world = World::new(Config::default(), Vec::new());
        world.upsert(pod(None));
        world.run_until(1.0);
        let told = world.texts("FailedResourceClaimCreation");
        assert!(!told.is_empty() && claims(&world).is_empty());
        world.upsert(template());
        world.run_until(30.0);
        assert_eq!(claims(&world).len(), 1);
    }
}
