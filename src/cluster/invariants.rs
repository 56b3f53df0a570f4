//! What must hold in every run, checked while it runs: the cheap ones at every record, the dear ones by
//! [`Cluster::check_all`](super::Cluster::check_all).

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kernel::Time;
use crate::model::device::{AllocatedDevice, Allocation, ResourceClaim};
use crate::model::{Key, Name, Object, Phase, Pod, PodSpec, Resources, Uid};
use crate::protocol::api::{Call, Patch, Request};
use crate::trace::{Change, Entry, Outcome, Record};

use super::Cluster;

/// Watches the records of a run.
#[derive(Default)]
pub(super) struct Invariants {
    last_version: u64,
    pods: FxHashMap<Uid, Seen>,
    nodes: FxHashMap<Name, NodeAccount>,
    /// Devices that one claim has for itself, by driver, pool and name.
    devices: FxHashMap<(Name, Name, Name), Uid>,
    /// The allocation of each claim.
    allocations: FxHashMap<Uid, Arc<Allocation>>,
    broken: Vec<String>,
}

/// What was seen of a pod.
#[derive(Default)]
struct Seen {
    node: Option<Name>,
    phase: Phase,
    /// Where the scheduler has placed it.
    placed: Option<Name>,
    /// While it counts against its node: with these requests.
    counted: Option<Arc<PodSpec>>,
}

#[derive(Default)]
struct NodeAccount {
    allocatable: Resources,
    requested: Resources,
    pods: i64,
    known: bool,
}

/// Beyond this many the first ones say enough.
const REPORTED_AT_MOST: usize = 20;

impl Invariants {
    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }

    pub(super) fn report(&mut self, at: Time, digest: u64, text: String) {
        if self.broken.len() < REPORTED_AT_MOST {
            let seconds = at.as_nanos() as f64 / 1e9;
            self.broken.push(format!("at {seconds:.9}s, digest {digest:016x}: {text}"));
        }
    }

    pub(super) fn observe(&mut self, entry: &Entry, digest: u64) {
        let found = match &entry.what {
            Record::Written(change, object) => self.written(*change, object),
            Record::Attempt { pod, outcome: Outcome::Scheduled { node }, .. } => {
                if let Some(seen) = self.pods.get_mut(&pod.uid) {
                    seen.placed = Some(*node);
                }
                None
            }
            _ => None,
        };
        if let Some(text) = found {
            self.report(entry.time, digest, text);
        }
    }

    fn written(&mut self, change: Change, object: &Object) -> Option<String> {
        let version = object.meta().resource_version;
        if change != Change::Deleted {
            if version <= self.last_version {
                return Some(format!("{} got version {version} after {}", object.key(), self.last_version));
            }
            self.last_version = version;
        }
        match object {
            Object::Pod(pod) => self.pod(change, pod),
            Object::Node(node) => {
                if change == Change::Deleted {
                    self.nodes.remove(&node.meta.name);
                } else {
                    let account = self.nodes.entry(node.meta.name).or_default();
                    account.allocatable.clone_from(&node.status.allocatable);
                    account.known = true;
                }
                None
            }
            Object::ResourceClaim(claim) => self.claim(change, claim),
            _ => None,
        }
    }

    /// A device is allocated to one claim, unless it is shared or an administrator looks at it.
    fn claim(&mut self, change: Change, claim: &ResourceClaim) -> Option<String> {
        let uid = claim.meta.uid;
        let owned = |one: &&AllocatedDevice| !one.admin_access && one.share.is_empty();
        let key_of = |device: &AllocatedDevice| (device.driver, device.pool, device.device);
        if let Some(before) = self.allocations.remove(&uid) {
            for device in before.devices.iter().filter(owned) {
                self.devices.remove(&key_of(device));
            }
        }
        let allocation = claim.status.allocation.as_ref().filter(|_| change != Change::Deleted)?;
        self.allocations.insert(uid, allocation.clone());
        let mut found = None;
        for device in allocation.devices.iter().filter(owned) {
            let key = key_of(device);
            if self.devices.insert(key, uid).is_some_and(|other| other != uid) {
                let (device, pool, name) = (device.device, device.pool, claim.meta.name);
                found = Some(format!("device {device} of pool {pool} was allocated to claim {name}, and is another's"));
            }
        }
        found
    }

    fn pod(&mut self, change: Change, pod: &Pod) -> Option<String> {
        let Invariants { pods, nodes, .. } = self;
        if change == Change::Deleted {
            if let Some(mut seen) = pods.remove(&pod.meta.uid) {
                seen.release(nodes);
            }
            return None;
        }
        let seen = pods.entry(pod.meta.uid).or_default();
        let (node, phase) = (seen.node, seen.phase);
        (seen.node, seen.phase) = (pod.node, pod.status.phase);
        if pod.status.phase.is_terminal() {
            seen.release(nodes);
        }
        if node.is_some() && node != pod.node {
            return Some(format!("pod {} was bound twice: {node:?}, then {:?}", pod.full_name(), pod.node));
        }
        if phase.is_terminal() && phase != pod.status.phase {
            let (was, is) = (phase.as_str(), pod.status.phase.as_str());
            return Some(format!("pod {} was {was} and became {is}", pod.full_name()));
        }
        seen.resized(pod, nodes);
        if node.is_none() && !pod.status.phase.is_terminal() { seen.bound(pod, nodes) } else { None }
    }
}

impl Seen {
    /// Counts a pod on its node, if it has one now. Only the scheduler promises that it fits: pods with a `nodeName` of
    /// their own do not.
    fn bound(&mut self, pod: &Pod, nodes: &mut FxHashMap<Name, NodeAccount>) -> Option<String> {
        let (node, requests) = (pod.node?, pod.spec.requests());
        let account = nodes.entry(node).or_default();
        account.requested.add(&requests);
        account.pods += 1;
        self.counted = Some(Arc::clone(&pod.spec));
        let promised = self.placed == Some(node) && account.known;
        let mut asked = requests;
        if let Some(extended) = &pod.status.extended_claim {
            // A device stands for it: the node need not have it.
            asked.extended.retain(|(name, _)| !extended.mappings.iter().any(|(_, resource, _)| resource == name));
        }
        let wrong = promised.then(|| account.excess(&asked)).flatten();
        wrong.map(|what| format!("node {node} was over-committed with {what} by pod {}", pod.full_name()))
    }

    /// A pod that counts asks for something else than before. Whether that fits is its kubelet's to say.
    fn resized(&mut self, pod: &Pod, nodes: &mut FxHashMap<Name, NodeAccount>) {
        if let (Some(counted), Some(node)) = (&mut self.counted, pod.node)
            && !Arc::ptr_eq(counted, &pod.spec)
            && let Some(account) = nodes.get_mut(&node)
        {
            account.requested.subtract(&counted.requests());
            account.requested.add(&pod.spec.requests());
            *counted = Arc::clone(&pod.spec);
        }
    }

    fn release(&mut self, nodes: &mut FxHashMap<Name, NodeAccount>) {
        if let (Some(spec), Some(node)) = (self.counted.take(), self.node)
            && let Some(account) = nodes.get_mut(&node)
        {
            account.requested.subtract(&spec.requests());
            account.pods -= 1;
        }
    }
}

impl NodeAccount {
    /// What of `requests` the node has too little of.
    fn excess(&self, requests: &Resources) -> Option<String> {
        let over = |what: &str, asked: i64, requested: i64, allocatable: i64| {
            (asked > 0 && requested > allocatable).then(|| format!("{what} {requested} of {allocatable}"))
        };
        let (requested, allocatable) = (&self.requested, &self.allocatable);
        over("cpu", requests.cpu.0, requested.cpu.0, allocatable.cpu.0)
            .or_else(|| over("memory", requests.memory.0, requested.memory.0, allocatable.memory.0))
            .or_else(|| over("pods", 1, self.pods, allocatable.pods))
            .or_else(|| {
                requests.extended.iter().find_map(|&(name, asked)| {
                    over(name.as_str(), asked, requested.extended(name), allocatable.extended(name))
                })
            })
    }
}

impl Cluster {
    /// A kubelet never acts on another node's pod.
    pub(super) fn check_kubelet_request(&mut self, index: usize, request: &Request) {
        let (key, uid): (&Key, Option<Uid>) = match &request.call {
            Call::Patch(key, Patch::PodStatus { uid, .. }) => (key, Some(*uid)),
            Call::Delete(key, options) => (key, options.uid),
            _ => return,
        };
        let Some(Object::Pod(pod)) = self.api.store().get(key) else { return };
        if uid.is_some_and(|uid| uid != pod.meta.uid) {
            return; // Meant for an earlier pod of this name; the API server refuses it.
        }
        let name = self.nodes[index].name;
        if pod.node != Some(name) {
            let text = format!("the kubelet of {name} wrote to pod {} of node {:?}", pod.full_name(), pod.node);
            let (now, digest) = (self.now(), self.digest());
            self.invariants.report(now, digest, text);
        }
    }
}
