//! DynamicResources: devices by resource claims. A pod's claims must be allocated, to devices that its node can reach.
//!
//! *When you meet it:* "cannot allocate all claims", `pod "default/web": ResourceClaim not created yet`, `request gpu: device class
//! gpu.example.com does not exist`; and in every failure message: its PostFilter comes before preemption and says "no new claims to
//! deallocate" of pods without claims; if PreFilter ended before its turn it fails with "not found", and preemption is not tried.
//!
//! Read `claims` (a pod's claims), `catalog` (which devices there are and which are in use), `allocator` (which ones a claim gets),
//! `extended` (extended resources that device classes stand for).
//!
//! Kubernetes: pkg/scheduler/framework/plugins/dynamicresources/dynamicresources.go. The allocation is searched again when it takes
//! effect, on what is then known. Left out: the limit of 10 s for one node, DeviceTaintRules (their API is off by default), resources
//! of the node that devices stand for.

pub mod allocator;
pub mod catalog;
mod claims;
mod extended;

use std::sync::{Arc, Mutex};

use crate::kernel::Duration;
use crate::model::device::{CLAIM_FINALIZER, Consumer, DeviceStatus, ExtendedClaim, MOST_ALTERNATIVES, ResourceClaim};
use crate::model::{Kind, Name, Node, Object};
use crate::protocol::api::{Call, ClaimChange, DeleteOptions, Patch};
use crate::scheduler::events::{Action, Change, ClusterEvent, Resource};
use crate::scheduler::framework::{
    Code, EnqueueExtensions, Failed, Filter, Hint, Nomination, Plugin, PostFilter, PreBind, PreEnqueue, PreFilter,
    PreFiltered, Reserve, Score, State, Status, default_normalize, state_of,
};
use crate::scheduler::listers::World;
use crate::scheduler::node_table::{NodeId, NodeInfo};
use crate::scheduler::pod_info::PodInfo;

use allocator::Found;
use catalog::View;
use claims::Claims;

const NOT_ON_NODE: &str = "resourceclaim not available on the node";
const IMPOSSIBLE: &str = "cannot allocate all claims";
const LEFT_OVER: &str = "cannot schedule extended resource claim";

/// See the module.
#[derive(Clone, Debug)]
pub struct DynamicResources {
    /// `bindingTimeout`: how long a binding waits for the conditions of its devices.
    pub binding_timeout: Duration,
}

impl Default for DynamicResources {
    fn default() -> Self {
        DynamicResources { binding_timeout: Duration::from_secs(600) }
    }
}

/// True if the plug-in has anything to do with the pod.
fn concerns(pod: &PodInfo, world: &World) -> bool {
    !pod.pod.spec.resource_claims.is_empty() || (!pod.spec.requests.extended.is_empty() && extended::asks(pod, world))
}

/// What PreFilter found.
#[derive(Clone, Debug)]
struct Looked {
    claims: Claims,
    asks_extended: bool,
    /// A claim for extended resources of an attempt before.
    is_left_over: bool,
    /// What the allocator said of views without extended resources, so that nodes that reach the same are asked once.
    known: Arc<Mutex<Vec<Known>>>,
}

/// What the allocator said of what a node reaches.
type Known = (Arc<View>, Result<(), allocator::Failed>);

/// What is to be allocated on a node.
struct OnNode {
    found: Vec<Found>,
    claims: Vec<Arc<ResourceClaim>>,
}

/// The claims of the pod that have to be allocated on the node, the one for extended resources last.
fn open_on(
    claims: &Claims,
    asks_extended: bool,
    pod: &PodInfo,
    node: &Node,
    world: &World,
) -> Result<(Vec<Arc<ResourceClaim>>, Option<ExtendedClaim>), Status> {
    let mut open = claims.open.clone();
    let mut extended = None;
    if asks_extended && let Some((claim, mapped)) = extended::claim_on(pod, &node.status.allocatable, world)? {
        open.push(Arc::new(claim));
        extended = Some(mapped);
    }
    Ok((open, extended))
}

fn status_of(failed: allocator::Failed) -> Status {
    match failed {
        allocator::Failed::Impossible => Status::unresolvable(IMPOSSIBLE),
        allocator::Failed::OnNode(why) => Status::unresolvable(why),
        allocator::Failed::Wrong(why) => Status::error(why),
    }
}

/// What all of the pod's open claims get on a node.
fn allocate_on(pod: &PodInfo, node: &Node, world: &World) -> Result<OnNode, Status> {
    let claims = Claims::of(pod, world)?;
    let (open, _) = open_on(&claims, extended::asks(pod, world), pod, node, world)?;
    let view = world.devices.view(node);
    let class = |name: Name| claims::class(name, world);
    let found = allocator::allocate(&world.devices, &view, &open, &class, node.meta.name).map_err(status_of)?;
    Ok(OnNode { found, claims: open })
}

/// True if the node can't reach the devices of an allocated claim.
fn is_out_of_reach(claim: &ResourceClaim, node: &Node) -> bool {
    let nodes = claim.status.allocation.as_ref().and_then(|allocation| allocation.nodes.as_ref());
    nodes.is_some_and(|nodes| !nodes.matches(node.meta.name, &node.meta.labels))
}

impl Plugin for DynamicResources {
    fn name(&self) -> &'static str {
        "DynamicResources"
    }
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        Some(self)
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }
    fn as_enqueue_extensions(&self) -> Option<&dyn EnqueueExtensions> {
        Some(self)
    }
}

impl PreEnqueue for DynamicResources {
    fn pre_enqueue(&self, pod: &PodInfo, world: &World) -> Result<(), Status> {
        if pod.pod.spec.resource_claims.is_empty() {
            return Ok(());
        }
        claims::of_pod(&pod.pod, world).map(drop).map_err(Status::unresolvable)
    }
}

impl PreFilter for DynamicResources {
    fn pre_filter(&self, pod: &PodInfo, world: &World) -> Result<PreFiltered, Status> {
        if !concerns(pod, world) {
            return Ok(PreFiltered::skip());
        }
        let claims = Claims::of(pod, world)?;
        let asks_extended = extended::asks(pod, world);
        let is_left_over = asks_extended && extended::left_over(&pod.pod, world).is_some();
        if claims.all.is_empty() && !asks_extended {
            return Ok(PreFiltered::skip());
        }
        let known = Arc::default();
        Ok(PreFiltered::with(Looked { claims, asks_extended, is_left_over, known }))
    }
}

impl Filter for DynamicResources {
    fn filter(&self, state: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<(), Status> {
        let Some(looked) = state_of::<Looked>(state) else { return Ok(()) };
        if looked.is_left_over {
            return Err(Status::unresolvable(LEFT_OVER));
        }
        let node = &node.node;
        let (open, extended) = open_on(&looked.claims, looked.asks_extended, pod, node, world)?;
        if !open.is_empty() {
            let view = world.devices.view(node);
            let class = |name: Name| claims::class(name, world);
            let ask = || {
                let found = allocator::allocate(&world.devices, &view, &open, &class, node.meta.name);
                found.map(drop)
            };
            let answer = if extended.is_some() {
                ask()
            } else {
                let mut known = looked.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match known.iter().find(|(other, _)| Arc::ptr_eq(other, &view)) {
                    Some((_, answer)) => answer.clone(),
                    None => {
                        let answer = ask();
                        // Views of one node alone are not met again.
                        if Arc::strong_count(&view) > 3 {
                            known.push((view.clone(), answer.clone()));
                        }
                        answer
                    }
                }
            };
            answer.map_err(status_of)?;
        }
        if looked.claims.all.iter().any(|claim| is_out_of_reach(claim, node)) {
            return Err(Status::unresolvable(NOT_ON_NODE));
        }
        Ok(())
    }
}

/// An allocated claim that is out of reach of a node that was looked at, and that nobody else uses.
fn to_deallocate<'w>(failed: &Failed<'w>) -> Option<&'w Arc<ResourceClaim>> {
    let claims = claims::of_pod(&failed.pod.pod, failed.world).ok()?;
    claims.into_iter().find(|claim| {
        let reserved = &claim.status.reserved_for;
        let is_free = reserved.iter().all(|consumer| consumer.uid == failed.pod.uid());
        is_free && failed.nodes.iter().any(|(id, _)| is_out_of_reach(claim, &failed.world.nodes.get(*id).node))
    })
}

impl PostFilter for DynamicResources {
    fn post_filter(&self, failed: &Failed<'_>) -> Result<Nomination, Status> {
        if !failed.pre_filter_ran {
            return Err(Status::error("not found"));
        }
        if !concerns(failed.pod, failed.world) {
            return Err(Status::unschedulable("no new claims to deallocate"));
        }
        if to_deallocate(failed).is_some() {
            return Err(Status::unschedulable("deallocation of ResourceClaim completed"));
        }
        if extended::asks(failed.pod, failed.world) && extended::left_over(&failed.pod.pod, failed.world).is_some() {
            return Err(Status::unschedulable("deletion of ResourceClaim completed"));
        }
        Err(Status::unschedulable("still not schedulable"))
    }

    fn calls(&self, failed: &Failed<'_>) -> Vec<Call> {
        if !failed.pre_filter_ran || !concerns(failed.pod, failed.world) {
            return Vec::new();
        }
        if let Some(claim) = to_deallocate(failed) {
            let change = Patch::Claim(ClaimChange::Deallocate(failed.pod.uid()));
            return vec![Call::Patch(claim.meta.key(Kind::ResourceClaim), change)];
        }
        let left_over = extended::left_over(&failed.pod.pod, failed.world);
        let Some(claim) = left_over.filter(|_| extended::asks(failed.pod, failed.world)) else { return Vec::new() };
        let key = claim.meta.key(Kind::ResourceClaim);
        let finalizer = Name::new(CLAIM_FINALIZER);
        vec![Call::Patch(key, Patch::RemoveFinalizer(finalizer)), Call::Delete(key, DeleteOptions::default())]
    }
}

/// True if a claim of the pod has alternatives, which are all that is scored.
fn has_alternatives(pod: &PodInfo, world: &World) -> bool {
    !pod.pod.spec.resource_claims.is_empty()
        && claims::of_pod(&pod.pod, world).is_ok_and(|claims| {
            let open = claims.iter().filter(|claim| claim.status.allocation.is_none());
            open.into_iter().any(|claim| claim.spec.requests.iter().any(|request| request.is_list))
        })
}

fn score_on(pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status> {
    let on = allocate_on(pod, &node.node, world)?;
    let mut score = 0;
    for (claim, found) in on.claims.iter().zip(&on.found) {
        for (request, alternative) in claim.spec.requests.iter().zip(&found.alternatives) {
            if request.is_list {
                score += MOST_ALTERNATIVES as i64 - *alternative as i64;
            }
        }
    }
    Ok(score)
}

impl Score for DynamicResources {
    fn score(&self, _: Option<&dyn State>, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<i64, Status> {
        if has_alternatives(pod, world) { score_on(pod, node, world) } else { Ok(0) }
    }

    fn score_all(
        &self,
        _: Option<&dyn State>,
        pod: &PodInfo,
        nodes: &[NodeId],
        world: &World,
        scores: &mut [i64],
    ) -> Result<(), Status> {
        if !has_alternatives(pod, world) {
            return Ok(());
        }
        for (node, score) in nodes.iter().zip(scores) {
            *score = score_on(pod, world.nodes.get(*node), world)?;
        }
        Ok(())
    }

    fn normalizes(&self) -> bool {
        true
    }

    fn normalize(&self, _: Option<&dyn State>, _: &[NodeId], scores: &mut [i64]) {
        default_normalize(false, scores);
    }
}

impl Reserve for DynamicResources {
    fn reserve(&self, pod: &PodInfo, node: Name, world: &mut World) -> Result<(), Status> {
        if !concerns(pod, world) {
            return Ok(());
        }
        let Some(id) = world.nodes.find(node) else { return Ok(()) };
        let on = allocate_on(pod, &world.nodes.get(id).node.clone(), world)?;
        for (claim, found) in on.claims.iter().zip(on.found) {
            let mut claim = ResourceClaim::clone(claim);
            claim.status.allocation = Some(Arc::new(found.allocation));
            world.devices.decide(claim);
        }
        Ok(())
    }

    fn unreserve(&self, pod: &PodInfo, _: Name, world: &mut World) {
        if pod.spec.requests.extended.is_empty() && pod.pod.spec.resource_claims.is_empty() {
            return;
        }
        let shown: Vec<Arc<ResourceClaim>> = pod
            .pod
            .claim_names()
            .filter_map(|(_, found)| world.listers.resource_claims.get(&(pod.pod.meta.namespace, found?.0)).cloned())
            .collect();
        for claim in shown {
            world.devices.take_back(claim.meta.uid, Some(&claim));
        }
        world.devices.take_back(catalog::extended_uid(pod.uid()), None);
    }
}

impl PreBind for DynamicResources {
    fn pre_bind(&self, pod: &PodInfo, node: &NodeInfo, world: &World) -> Result<Vec<Call>, Status> {
        if !concerns(pod, world) {
            return Ok(Vec::new());
        }
        let consumer = Consumer { pod: pod.pod.meta.name, uid: pod.uid() };
        let mut calls = Vec::new();
        let mut write = |claim: &ResourceClaim, decided: Option<&Arc<ResourceClaim>>| {
            let key = claim.meta.key(Kind::ResourceClaim);
            match decided.and_then(|decided| decided.status.allocation.clone()) {
                Some(allocation) => {
                    if !claim.meta.finalizers.iter().any(|name| *name == *CLAIM_FINALIZER) {
                        calls.push(Call::Patch(key, Patch::Claim(ClaimChange::Protect)));
                    }
                    let change = ClaimChange::Allocate(allocation, consumer);
                    calls.push(Call::Patch(key, Patch::Claim(change)));
                }
                None if !claim.is_reserved_for(pod.uid()) => {
                    calls.push(Call::Patch(key, Patch::Claim(ClaimChange::Reserve(consumer))));
                }
                None => {}
            }
        };
        for claim in claims::of_pod(&pod.pod, world).map_err(Status::error)? {
            write(claim, world.devices.decided(claim.meta.uid));
        }
        let uid = catalog::extended_uid(pod.uid());
        if let Some(decided) = world.devices.decided(uid) {
            let mut made = ResourceClaim::clone(decided);
            made.meta.uid = crate::model::Uid::NONE;
            made.status = Default::default();
            write(&made, Some(decided));
            let create = Call::Create(Object::ResourceClaim(Arc::new(made)));
            let place = calls.len().saturating_sub(2);
            calls.insert(place, create);
            if let Ok(Some((_, mapped))) = extended::claim_on(pod, &node.node.status.allocatable, world) {
                let key = pod.pod.meta.key(Kind::Pod);
                calls.push(Call::Patch(key, Patch::ExtendedClaim(Arc::new(mapped))));
            }
        }
        Ok(calls)
    }

    /// Binding conditions (gate DRADeviceBindingConditions, beta and on in 1.36).
    fn is_done(&self, pod: &PodInfo, _: Name, world: &World) -> Result<bool, Status> {
        if pod.pod.spec.resource_claims.is_empty() {
            return Ok(true);
        }
        for claim in claims::of_pod(&pod.pod, world).map_err(Status::error)? {
            let known = world.devices.decided(claim.meta.uid).unwrap_or(claim);
            for device in known.status.allocation.iter().flat_map(|allocation| &allocation.devices) {
                let is_it = |status: &&DeviceStatus| {
                    (status.driver, status.pool, status.device) == (device.driver, device.pool, device.device)
                };
                let said = known.status.devices.iter().find(is_it);
                let has = |kind: &Name| said.is_some_and(|said| said.conditions.contains(kind));
                if let Some(failure) = device.binding_failure_conditions.iter().find(|kind| has(kind)) {
                    let text = format!(
                        "claim {} binding failed: {failure} is set for device {}",
                        claim.meta.name, device.device
                    );
                    return Err(Status::error(text));
                }
                if !device.binding_conditions.iter().all(has) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn poll(&self) -> (Duration, Duration) {
        (Duration::from_secs(5), self.binding_timeout)
    }

    fn timed_out(&self) -> &'static str {
        "device binding timeout"
    }
}

impl EnqueueExtensions for DynamicResources {
    fn events(&self) -> Vec<ClusterEvent> {
        let changed = Action::ADD.or(Action::UPDATE);
        vec![
            ClusterEvent::new(Resource::Node, Action::ADD.or(Action::NODE_LABEL).or(Action::NODE_ALLOCATABLE)),
            ClusterEvent::new(Resource::ResourceClaim, changed),
            ClusterEvent::new(Resource::Pod, Action::POD_GENERATED_CLAIM),
            ClusterEvent::new(Resource::DeviceClass, changed),
            ClusterEvent::new(Resource::ResourceSlice, changed),
        ]
    }

    fn hint(&self, pod: &PodInfo, _: ClusterEvent, change: &Change<'_>, world: &World) -> Hint {
        let helps = match *change {
            Change::Pod(_, Some(new)) => new.meta.uid == pod.uid() && claims::of_pod(new, world).is_ok(),
            Change::Other(old, Some(Object::ResourceClaim(new))) => {
                let old = match old {
                    Some(Object::ResourceClaim(old)) => Some(old),
                    _ => None,
                };
                match claims::of_pod(&pod.pod, world) {
                    Err(_) => false,
                    Ok(claims) => {
                        let was_allocated = old.is_some_and(|old| old.status.allocation.is_some());
                        let uses = claims.iter().any(|claim| claim.meta.uid == new.meta.uid);
                        (was_allocated && new.status.allocation.is_none())
                            || (uses && old.is_none_or(|old| old.status != new.status))
                    }
                }
            }
            _ => true,
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }
}

/// Why a claim of the pod finds no device on a node, in a few words; None if it does.
pub fn obstacle(pod: &PodInfo, node: &NodeInfo, world: &World) -> Option<String> {
    let claims = Claims::of(pod, world).ok()?;
    let (open, _) = open_on(&claims, extended::asks(pod, world), pod, &node.node, world).ok()?;
    let view = world.devices.view(&node.node);
    let class = |name: Name| claims::class(name, world);
    let mut found = Vec::new();
    for claim in &open {
        for request in &claim.spec.requests {
            let mut texts = Vec::new();
            for exact in &request.alternatives {
                let class = class(exact.class)?;
                texts.push(allocator::supply(&world.devices, &view, exact, &class));
            }
            found.push(format!("{}/{}: {}", claim.meta.name, request.name, texts.join(" or ")));
        }
    }
    let is_rejected = allocate_on(pod, &node.node, world).is_err_and(|status| status.code != Code::Error);
    (is_rejected && !found.is_empty()).then(|| found.join("; "))
}

/// What was decided for the pod's claims and is not written yet: `claim web-gpu: device gpu-3 of pool node-1 (gpu.example.com) for request gpu`.
pub fn decisions(pod: &PodInfo, world: &World) -> Vec<String> {
    if pod.spec.requests.extended.is_empty() && pod.pod.spec.resource_claims.is_empty() {
        return Vec::new();
    }
    let named = claims::of_pod(&pod.pod, world).unwrap_or_default();
    let uids = named.iter().map(|claim| claim.meta.uid).chain([catalog::extended_uid(pod.uid())]);
    let mut texts = Vec::new();
    for claim in uids.filter_map(|uid| world.devices.decided(uid)) {
        for device in claim.status.allocation.iter().flat_map(|allocation| &allocation.devices) {
            let (name, request, driver) = (claim.meta.name, device.request, device.driver);
            let (device, pool) = (device.device, device.pool);
            texts.push(format!("claim {name}: device {device} of pool {pool} ({driver}) for request {request}"));
        }
    }
    texts
}
