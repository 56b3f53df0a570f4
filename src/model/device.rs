//! Devices by Dynamic Resource Allocation: what nodes have (slices), what pods may ask for (classes), what they ask for
//! (claims and their templates) and what they got (allocations).
//!
//! Kubernetes: staging/src/k8s.io/api/resource/v1/types.go. Parameters for drivers (`config`) are not held: no driver
//! runs here.

use std::sync::Arc;

use super::quantity::Quantity;
use super::{Kind, Labels, Meta, Name, NodeSelector, Pod, TaintEffect, Toleration, Uid};
use crate::kernel::Time;

/// Keeps an allocated claim until its devices are given back.
pub const CLAIM_FINALIZER: &str = "resource.kubernetes.io/delete-protection";
/// The name that a pod gave a claim that was made from a template for it.
pub const POD_CLAIM_NAME: &str = "resource.kubernetes.io/pod-claim-name";
/// Marks the claim that the scheduler makes for extended resources.
pub const EXTENDED_RESOURCE_CLAIM: &str = "resource.kubernetes.io/extended-resource-claim";
/// Each class can be asked for as an extended resource of this prefix and its name.
pub const IMPLICIT_EXTENDED_RESOURCE: &str = "deviceclass.resource.kubernetes.io/";
/// More pods can't share a claim.
pub const MOST_CONSUMERS: usize = 256;
/// More devices can't be allocated to a claim.
pub const MOST_DEVICES: usize = 32;
/// More alternatives can't be given for a request.
pub const MOST_ALTERNATIVES: usize = 8;

/// A DeviceClass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceClass {
    pub meta: Meta,
    /// CEL expressions, all of which must hold.
    pub selectors: Vec<Name>,
    /// `extendedResourceName`: the resource that stands for a device of this class; empty: only the implicit one.
    pub extended_resource: Name,
}

/// A ResourceSlice: devices of a pool, or (with the others of the pool) what they share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceSlice {
    pub meta: Meta,
    pub driver: Name,
    pub pool: Name,
    /// `pool.generation`: slices of an older one are out of date.
    pub generation: i64,
    /// `pool.resourceSliceCount`: how many slices of this generation there are when all are published.
    pub slices: i64,
    pub nodes: DeviceNodes,
    pub devices: Vec<Device>,
    pub shared_counters: Vec<CounterSet>,
}

/// From which nodes devices can be reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DeviceNodes {
    /// Nothing is said, as in a device whose slice says it.
    #[default]
    Unsaid,
    Node(Name),
    All,
    Selected(NodeSelector),
    /// `perDeviceNodeSelection`: each device of the slice says it.
    PerDevice,
}

impl DeviceNodes {
    /// True if they can be reached from the node of this name with these labels. Never, if the devices say so each.
    pub fn reach(&self, node: Name, labels: &Labels) -> bool {
        match self {
            DeviceNodes::Unsaid | DeviceNodes::PerDevice => false,
            DeviceNodes::Node(name) => *name == node,
            DeviceNodes::All => true,
            DeviceNodes::Selected(selector) => selector.matches(node, labels),
        }
    }
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    pub name: Name,
    /// By name, with or without a domain, in text order.
    pub attributes: Vec<(Name, Attribute)>,
    pub capacity: Vec<(Name, Capacity)>,
    pub consumes: Vec<CounterSet>,
    /// Said where the slice says `perDeviceNodeSelection`.
    pub nodes: DeviceNodes,
    pub taints: Vec<DeviceTaint>,
    /// `allowMultipleAllocations`: requests share its capacity.
    pub shareable: bool,
    /// `bindsToNode`: the allocation is for the node that was chosen, whatever nodes could reach the device.
    pub binds_to_node: bool,
    /// What must be said of the allocated device before the pod is bound, and what ends the wait.
    pub binding_conditions: Vec<Name>,
    pub binding_failure_conditions: Vec<Name>,
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    Int(i64),
    Bool(bool),
    Text(Name),
    /// A semantic version.
    Version(Name),
}

/// How much of something a device has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    pub value: Quantity,
    pub policy: Option<RequestPolicy>,
}

/// How a request for a share of a capacity is rounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestPolicy {
    pub default: Option<Quantity>,
    /// In ascending order; empty: not given.
    pub valid_values: Vec<Quantity>,
    pub valid_range: Option<ValidRange>,
}

/// `validRange`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValidRange {
    pub min: Quantity,
    pub max: Option<Quantity>,
    pub step: Option<Quantity>,
}

impl Capacity {
    /// The least that a request can take of it, named or not.
    pub fn least(&self) -> Quantity {
        let Some(policy) = &self.policy else { return Quantity::ZERO };
        let unnamed = policy.default.unwrap_or(self.value);
        match (policy.valid_range, policy.valid_values.first()) {
            (Some(range), _) => unnamed.min(range.min),
            (None, Some(first)) => unnamed.min(*first),
            (None, None) => Quantity::ZERO,
        }
    }

    /// How much a request takes of it (None: the request doesn't name it); None if the policy does not allow that much.
    ///
    /// Kubernetes: consumable_capacity.go (calculateConsumedCapacity, violatesPolicy).
    pub fn consumed(&self, requested: Option<Quantity>) -> Option<Quantity> {
        let Some(policy) = &self.policy else { return Some(requested.unwrap_or(self.value)) };
        let Some(requested) = requested else { return Some(policy.default.unwrap_or(self.value)) };
        if let Some(range) = policy.valid_range {
            let mut amount = requested.max(range.min);
            if let Some(step) = range.step.filter(|step| step.nanos() > 0) {
                let over = amount.nanos() - range.min.nanos();
                let rest = over % step.nanos();
                if rest != 0 {
                    amount = amount.plus(step).minus_nanos(rest);
                }
            }
            return Some(amount).filter(|amount| range.max.is_none_or(|max| *amount <= max));
        }
        if policy.valid_values.is_empty() {
            return Some(requested);
        }
        policy.valid_values.iter().copied().find(|value| *value >= requested)
    }
}

/// Counters by name: what the devices of a pool share, or what one of them takes of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CounterSet {
    pub name: Name,
    pub counters: Vec<(Name, Quantity)>,
}

/// A taint of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceTaint {
    pub key: Name,
    pub value: Name,
    /// None: it has no effect (`effect: None`).
    pub effect: Option<TaintEffect>,
}

impl DeviceTaint {
    /// True if a request without these tolerations is kept away.
    pub fn keeps_away(&self, tolerations: &[Toleration]) -> bool {
        let Some(effect) = self.effect else { return false };
        let taint = super::Taint { key: self.key, value: self.value, effect, added: None };
        !tolerations.iter().any(|toleration| toleration.tolerates(&taint))
    }
}

/// A ResourceClaim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceClaim {
    pub meta: Meta,
    pub spec: Arc<DeviceClaim>,
    pub status: ClaimStatus,
}

/// `status` of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimStatus {
    pub allocation: Option<Arc<Allocation>>,
    /// `reservedFor`: the pods that use it.
    pub reserved_for: Vec<Consumer>,
    /// `devices`: what drivers say of the allocated devices.
    pub devices: Vec<DeviceStatus>,
}

/// A pod that uses a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    pub pod: Name,
    pub uid: Uid,
}

/// What a driver says of an allocated device: the conditions that are True.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceStatus {
    pub driver: Name,
    pub pool: Name,
    pub device: Name,
    pub conditions: Vec<Name>,
}

impl ResourceClaim {
    /// True if the claim is reserved for the pod.
    pub fn is_reserved_for(&self, pod: Uid) -> bool {
        self.status.reserved_for.iter().any(|consumer| consumer.uid == pod)
    }

    /// True if one more pod may use it.
    pub fn has_room(&self) -> bool {
        self.status.reserved_for.len() < MOST_CONSUMERS
    }

    /// True if it was made for the pod.
    pub fn is_for(&self, pod: &Pod) -> bool {
        self.meta.owner.is_some_and(|owner| owner.kind == Kind::Pod && owner.uid == pod.meta.uid)
    }
}

/// A ResourceClaimTemplate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceClaimTemplate {
    pub meta: Meta,
    /// `spec.metadata` of the claims to be made.
    pub labels: Labels,
    pub annotations: Labels,
    pub spec: Arc<DeviceClaim>,
}

/// `spec.devices` of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceClaim {
    pub requests: Vec<DeviceRequest>,
    pub constraints: Vec<DeviceConstraint>,
}

/// A request for devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceRequest {
    pub name: Name,
    /// One without a name (`exactly`), or several of which the first that can be had is taken (`firstAvailable`).
    pub alternatives: Vec<ExactRequest>,
    pub is_list: bool,
}

/// What exactly is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactRequest {
    /// Of a sub-request; else empty.
    pub name: Name,
    pub class: Name,
    /// CEL expressions, all of which must hold besides those of the class.
    pub selectors: Vec<Name>,
    /// None: all devices that there are (`allocationMode: All`).
    pub count: Option<i64>,
    /// For administrators: devices count neither as used nor as free.
    pub admin_access: bool,
    pub tolerations: Arc<[Toleration]>,
    /// `capacity.requests`.
    pub capacity: Vec<(Name, Quantity)>,
}

/// What must hold for the devices of several requests together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceConstraint {
    /// `request` or `request/sub-request`; none: all.
    pub requests: Vec<Name>,
    pub attribute: Name,
    /// `distinctAttribute`: no two alike, instead of all alike.
    pub distinct: bool,
}

impl DeviceConstraint {
    /// True if it is about the devices of this request and sub-request (which may be empty).
    pub fn is_about(&self, request: Name, sub: Name) -> bool {
        self.requests.is_empty()
            || self.requests.iter().any(|named| match named.split_once('/') {
                None => *named == request,
                Some((main, below)) => request == *main && sub == *below,
            })
    }
}

/// What was allocated to a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allocation {
    pub devices: Vec<AllocatedDevice>,
    /// The nodes from which all devices can be reached; None: all.
    pub nodes: Option<NodeSelector>,
    /// Set where binding waits for conditions.
    pub at: Option<Time>,
}

/// A device that was allocated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AllocatedDevice {
    /// `request` or `request/sub-request`.
    pub request: Name,
    pub driver: Name,
    pub pool: Name,
    pub device: Name,
    pub admin_access: bool,
    pub tolerations: Arc<[Toleration]>,
    /// Set for devices that requests share, with what this one takes.
    pub share: Name,
    pub consumed: Vec<(Name, Quantity)>,
    pub binding_conditions: Vec<Name>,
    pub binding_failure_conditions: Vec<Name>,
}

/// One of a pod's `spec.resourceClaims`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodClaim {
    pub name: Name,
    /// A claim by its name, or else
    pub claim: Option<Name>,
    /// the template from which one is made for the pod.
    pub template: Option<Name>,
}

/// `status.extendedResourceClaimStatus` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedClaim {
    pub claim: Name,
    /// Container, resource, request.
    pub mappings: Vec<(Name, Name, Name)>,
}

impl Pod {
    /// The names of the pod's claims: for each of `spec.resourceClaims` the name of the object, as far as it is known, and whether it was
    /// made for the pod. A template that made none is left out.
    ///
    /// Kubernetes: staging/src/k8s.io/dynamic-resource-allocation/resourceclaim/claim.go (Name).
    pub fn claim_names(&self) -> impl Iterator<Item = (PodClaim, Option<(Name, bool)>)> + '_ {
        self.spec.resource_claims.iter().filter_map(|&one| match one.claim {
            Some(name) => Some((one, Some((name, false)))),
            None => match self.status.claims.iter().find(|(name, _)| *name == one.name) {
                None => Some((one, None)),
                Some((_, Some(made))) => Some((one, Some((*made, true)))),
                Some((_, None)) => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect("a quantity")
    }

    #[test]
    fn a_request_for_a_share_is_rounded_up_as_the_policy_says() {
        let range = |step: Option<&str>| Capacity {
            value: quantity("80Gi"),
            policy: Some(RequestPolicy {
                default: Some(quantity("1Gi")),
                valid_range: Some(ValidRange {
                    min: quantity("1Gi"),
                    max: Some(quantity("10Gi")),
                    step: step.map(quantity),
                }),
                ..RequestPolicy::default()
            }),
        };
        let values = Capacity {
            value: quantity("8"),
            policy: Some(RequestPolicy {
                valid_values: vec![quantity("2"), quantity("4")],
                ..RequestPolicy::default()
            }),
        };
        let whole = Capacity { value: quantity("8"), policy: None };
        let check = |capacity: &Capacity, requested: Option<&str>, wanted: Option<&str>| {
            assert_eq!(capacity.consumed(requested.map(quantity)), wanted.map(quantity), "{requested:?}");
        };
        check(&range(None), None, Some("1Gi"));
        check(&range(None), Some("1Mi"), Some("1Gi"));
        check(&range(Some("2Gi")), Some("4Gi"), Some("5Gi"));
        check(&range(Some("2Gi")), Some("5Gi"), Some("5Gi"));
        check(&range(None), Some("11Gi"), None);
        check(&values, Some("3"), Some("4"));
        check(&values, Some("5"), None);
        check(&whole, None, Some("8"));
        check(&whole, Some("3"), Some("3"));
    }

    #[test]
    fn a_constraint_names_requests_or_their_alternatives() {
        let check = |named: &str, request: &str, sub: &str, wanted: bool| {
            let requests = if named.is_empty() { Vec::new() } else { vec![Name::new(named)] };
            let constraint = DeviceConstraint { requests, ..DeviceConstraint::default() };
            assert_eq!(constraint.is_about(Name::new(request), Name::new(sub)), wanted, "{named} {request}/{sub}");
        };
        check("", "gpu", "", true);
        check("gpu", "gpu", "large", true);
        check("gpu/large", "gpu", "large", true);
        check("gpu/small", "gpu", "large", false);
        check("nic", "gpu", "", false);
    }
}
