//! Devices of a test driver, and claims that are allocated before a test begins.
//!
//! Kubernetes: test/integration/scheduler_perf/dra.go.

use std::sync::Arc;

use crate::apiserver::Store;
use crate::kernel::Stream;
use crate::manifest::Source;
use crate::model::device::{Attribute, Capacity, Device, DeviceNodes, ResourceClaim, ResourceSlice};
use crate::model::{Kind, Meta, Name, Node, Object};
use crate::scheduler::plugins::dynamic_resources::allocator;
use crate::scheduler::plugins::dynamic_resources::catalog::Devices;

/// The slice that the driver publishes for a node.
pub(super) fn slice(driver: &str, node: Name, devices: u32) -> Object {
    let device = |number: u32| Device {
        name: Name::from(format!("instance-{number}")),
        attributes: vec![
            (Name::new("dra.example.com/numa"), Attribute::Int(i64::from(number))),
            (Name::new("driverVersion"), Attribute::Version(Name::new("1.2.3"))),
            (Name::new("family"), Attribute::Text(Name::new("GRID"))),
            (Name::new("model"), Attribute::Text(Name::new("A100"))),
        ],
        capacity: vec![(Name::new("memory"), Capacity { value: "1Gi".parse().unwrap_or_default(), policy: None })],
        ..Device::default()
    };
    Object::ResourceSlice(Arc::new(ResourceSlice {
        meta: Meta { name: node, ..Meta::default() },
        driver: Name::new(driver),
        pool: node,
        generation: 0,
        slices: 1,
        nodes: DeviceNodes::Node(node),
        devices: (0..devices).map(device).collect(),
        shared_counters: Vec::new(),
    }))
}

/// The claims of a namespace with an allocation each, on nodes drawn at random.
pub(super) fn allocate(store: &Store, namespace: Name, draws: &mut Stream) -> Result<Vec<Arc<ResourceClaim>>, String> {
    let mut devices = Devices::default();
    for object in store.sorted(Kind::ResourceSlice) {
        if let Object::ResourceSlice(slice) = object {
            devices.set_slice(None, Some(slice));
        }
    }
    let mut open = Vec::new();
    for object in store.sorted(Kind::ResourceClaim) {
        let Object::ResourceClaim(claim) = object else { continue };
        devices.set_claim(None, Some(claim));
        if claim.meta.namespace == namespace && claim.status.allocation.is_none() {
            open.push(claim.clone());
        }
    }
    // In the order of their creation: names have no leading zeros.
    open.sort_by_key(|claim| claim.meta.uid);
    let class = |name: Name| {
        let key = crate::model::Key { kind: Kind::DeviceClass, namespace: Name::default(), name };
        match store.get(&key) {
            Some(Object::DeviceClass(class)) => Some(class.clone()),
            _ => None,
        }
    };
    let mut nodes: Vec<Arc<Node>> =
        store.sorted(Kind::Node).into_iter().filter_map(|node| node.as_node().cloned()).collect();
    let total = open.len();
    let mut allocated = Vec::with_capacity(total);
    for (number, claim) in open.into_iter().enumerate() {
        let wanted = [claim.clone()];
        let mut found = None;
        for place in 0..nodes.len() {
            // The next of a random order of all nodes.
            let left = (nodes.len() - place) as u64;
            nodes.swap(place, place + usize::try_from(draws.next_u64() % left).unwrap_or(0));
            let Some(node) = nodes.get(place) else { break };
            let view = devices.view(node);
            if let Ok(mut one) = allocator::allocate(&devices, &view, &wanted, &class, node.meta.name) {
                found = one.pop();
                break;
            }
        }
        let Some(found) = found else { return Err(format!("could not allocate claim {number} of {total}")) };
        let mut claim = ResourceClaim::clone(&claim);
        claim.status.allocation = Some(Arc::new(found.allocation));
        let claim = Arc::new(claim);
        devices.set_claim(None, Some(&claim));
        allocated.push(claim);
    }
    Ok(allocated)
}

/// True for objects that a scheduler with default gates does not look at.
pub(super) fn is_without_effect(source: &Source) -> bool {
    source.text().lines().any(|line| line.trim() == "kind: DeviceTaintRule")
}
